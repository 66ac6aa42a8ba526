"""Parameters in a file: JSON, which anyone can read, or numpy's .npz.

A JSON file is one object:

    {"format": "fastgrad state", "version": 1, "parameters": {"layers.0.neurons.0.w.0": 0.25, ...}}

Numbers are written with enough digits to give back every bit. JSON has no infinity and no nan: these are
strings, a word and the 16 hexadecimal digits of the bits, `"inf 7ff0000000000000"`,
`"nan 7ff8000000000000"`; the digits decide. An .npz file holds the same in three arrays: `version`,
`names` and `values` (float64), each with a checksum. JSON has no checksum, so a damaged digit is another
number. Reading either never runs code from the file. Loading a pickle may, one of Values or programs too:
load pickles only from sources that you would take a program from.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, SupportsFloat

from fastgrad.nn import Module, number_of

__all__ = ["load", "save"]

FORMAT = "fastgrad state"
VERSION = 1

# An archive that claims to unpack to more than this many times its size is refused; a large network
# shrinks to a thirtieth.
MOST_EXPANSION = 200
SMALL_FILE = 1 << 24


class DamagedError(Exception):
    """An error in a file's contents; `load` adds the file's name."""


def save(source: Module | Mapping[str, SupportsFloat], path: str | os.PathLike[str]) -> None:
    """Write a module's parameters, or a state_dict, to a file whose name ends in .json or .npz.

    A file of that name, or the file that a link of that name leads to, is replaced at once and as a whole
    and keeps its permissions: an interrupted save leaves it as it was. Raises ValueError for another ending,
    a value that is not a number, and a name that occurs twice; TypeError for another source; OSError that
    names the file if it cannot be written. An .npz file needs numpy.
    """
    if not isinstance(source, (Module, Mapping)):
        raise TypeError(f"save takes a Module or a dict of numbers by name, not a {type(source).__name__}")
    state = source.state_dict() if isinstance(source, Module) else source
    numbers: dict[str, float] = {}
    for key, value in state.items():
        name = str(key)
        if name in numbers:
            raise ValueError(f"{name} is there twice, as {key!r} and under another key that reads the same")
        numbers[name] = number_of(name, value)
    path = Path(path)
    contents = to_npz(numbers) if is_npz(path) else to_json(numbers)
    replace_file(path, contents)


def load(path: str | os.PathLike[str], module: Module | None = None) -> dict[str, float]:
    """Return the parameters in a file by name, bit for bit, and give them to the module if there is one.

    Raises ValueError that names the file, and leaves the module unchanged, if the file is damaged, has an
    unknown version, or does not fit the module; OSError if it cannot be read; TypeError if `module` is no
    Module.
    """
    if module is not None and not isinstance(module, Module):
        raise TypeError(f"load gives the parameters to a Module, not to a {type(module).__name__}")
    path = Path(path)
    read = from_npz if is_npz(path) else from_json
    contents = path.read_bytes()
    try:
        state = read(contents)
        if module is not None:
            module.load_state_dict(state)
    except (DamagedError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    return state


def is_npz(path: Path) -> bool:
    """Whether the file is .npz, not .json; ValueError if it is neither."""
    if path.suffix not in (".json", ".npz"):
        raise ValueError(f"{path}: the name must end in .json or .npz")
    return path.suffix == ".npz"


def replace_file(path: Path, contents: bytes) -> None:
    """Write a file beside the old one and put it in its place, with the permissions of the old one."""
    # If the path is a link, the file it leads to is replaced.
    asked, path = path, Path(os.path.realpath(path))
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            # Before anything is written, as it may be secret. Fails without an old file or without
            # permissions.
            with contextlib.suppress(OSError):
                shutil.copymode(path, temporary)
            file.write(contents)
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.errno is not None:
            # Name the file that the caller asked for, not the temporary one.
            raise OSError(error.errno, error.strerror, str(asked)) from error
        raise


def check_version(version: object) -> None:
    """Raise DamagedError unless this is the version written here."""
    # True is no version, though it equals 1.
    if type(version) is not int or version != VERSION:
        raise DamagedError(f"version {version!r} of the format is not known, only {VERSION}")


# The JSON format.


def to_json(state: Mapping[str, float]) -> bytes:
    """Return the file for a state, one parameter a line."""
    parameters = {
        name: number if math.isfinite(number) else spelled(number) for name, number in state.items()
    }
    document = {"format": FORMAT, "version": VERSION, "parameters": parameters}
    return (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()


def from_json(contents: bytes) -> dict[str, float]:
    """Return the state in a JSON file."""
    try:
        document = json.loads(contents, object_pairs_hook=unique_names, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"not a JSON file, or cut short: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise DamagedError(f"not a file of parameters: there is no {FORMAT!r} in it")
    check_version(document.get("version"))
    parameters = document.get("parameters")
    if not isinstance(parameters, dict):
        raise DamagedError("there are no parameters in it")
    return {name: number_in(name, value) for name, value in parameters.items()}


def unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of these pairs; DamagedError if a name is there twice."""
    result: dict[str, Any] = {}
    for name, value in pairs:
        if name in result:
            raise DamagedError(f"{name} is there twice")
        result[name] = value
    return result


def refuse_constant(word: str) -> None:
    """Raise DamagedError for NaN and Infinity, which Python reads and JSON does not have."""
    raise DamagedError(f"{word} is no JSON number")


def spelled(number: float) -> str:
    """Return an infinity or a nan in words and bits.

    >>> spelled(float("-inf"))
    '-inf fff0000000000000'
    """
    return f"{number} {struct.pack('>d', number).hex()}"


def number_in(name: str, value: object) -> float:
    """Return the number that a JSON value stands for; DamagedError if it is none."""
    try:
        if isinstance(value, str):
            bits = value.split(" ")[1]
            number: float = struct.unpack(">d", bytes.fromhex(bits))[0]
            if value != spelled(number) or math.isfinite(number):
                raise ValueError(f"neither infinite nor nan: {value}")
            return number
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return finite(float(value))
    except (ValueError, IndexError, OverflowError, struct.error) as error:
        raise DamagedError(f"{name} is not a number: {value!r}") from error
    raise DamagedError(f"{name} is not a number: {value!r}")


def finite(number: float) -> float:
    """Return the number; OverflowError if it is infinite, as one with too many digits becomes."""
    if not math.isfinite(number):
        raise OverflowError("too large")
    return number


# The .npz format.


def imported_numpy() -> Any:
    """Return numpy; ModuleNotFoundError that says how to get it."""
    try:
        import numpy
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"an .npz file needs {error.name}: pip install numpy; a .json file needs nothing", name=error.name
        ) from None
    return numpy


def to_npz(state: Mapping[str, float]) -> bytes:
    """Return the file for a state: a name and a number for each parameter, in two arrays."""
    import io

    np = imported_numpy()
    names = np.array(list(state), dtype=str)
    if names.tolist() != list(state):
        raise ValueError("a name that ends in a null character cannot be saved as .npz")
    file = io.BytesIO()
    values = np.fromiter(state.values(), dtype=np.float64, count=len(state))
    np.savez_compressed(file, version=np.int64(VERSION), names=names, values=values)
    return file.getvalue()


def from_npz(contents: bytes) -> dict[str, float]:
    """Return the state in an .npz file."""
    # numpy takes any other file for a pickle, and its message would offer to load that.
    if not contents.startswith(b"PK"):
        raise DamagedError("not an .npz file")
    np = imported_numpy()
    try:
        return state_in(contents, np)
    except DamagedError:
        raise
    except Exception as error:
        # For damaged files, numpy passes on errors of zipfile, zlib, tokenize and Python itself.
        raise DamagedError(f"not an .npz file, or cut short: {error}") from error


def state_in(contents: bytes, np: Any) -> dict[str, float]:
    """Return the state in an archive; DamagedError, or any other, if there is none."""
    import io

    with np.load(io.BytesIO(contents), allow_pickle=False) as arrays:
        missing = [name for name in ("version", "names", "values") if name not in arrays]
        if missing:
            raise DamagedError(f"not a file of parameters: there is no array {missing[0]!r} in it")
        size = sum(member.file_size for member in arrays.zip.infolist())
        if size > MOST_EXPANSION * len(contents) + SMALL_FILE:
            raise DamagedError(f"{len(contents)} bytes that claim to unpack to {size}")
        version, names, values = arrays["version"], arrays["names"], arrays["values"]
    for name, array in (("version", version), ("names", names), ("values", values)):
        # numpy returns bytes for a member that does not begin as an array does.
        if not isinstance(array, np.ndarray):
            raise DamagedError(f"{name} is not an array")
    check_version(version.item() if version.ndim == 0 else version.tolist())
    # Of either order of bytes: a file may come from a machine of the other.
    if (
        names.dtype.kind != "U"
        or (values.dtype.kind, values.dtype.itemsize) != ("f", 8)
        or names.ndim != 1
        or names.shape != values.shape
    ):
        raise DamagedError(
            f"names ({names.dtype}, {names.shape}) and values ({values.dtype}, {values.shape}) "
            "are not as many strings and float64s"
        )
    return unique_names(list(zip(names.tolist(), values.tolist(), strict=True)))
