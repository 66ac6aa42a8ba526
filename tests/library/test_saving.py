"""Parameters written to a file come back bit for bit, and a damaged file changes nothing."""

import contextlib
import json
import math
import os
import pickle
import random
import stat
import struct
import sys
import zipfile

import numpy as np
import pytest

from fastgrad import Value, nn, optim, saving

ENDINGS = ("json", "npz")
each_format = pytest.mark.parametrize("ending", ENDINGS)

NUMBERS = [
    *(0.0, -0.0, 1.0, -1.5, 0.1, 1 / 3, 5e-324, -2.2250738585072014e-308, 1.7976931348623157e308),
    *(math.inf, -math.inf, math.nan, -math.nan),
    *(struct.unpack(">d", bytes.fromhex(bits))[0] for bits in ("7ff800000000beef", "fff8123456789abc")),
]


def bits(state):
    return {name: struct.pack(">d", number) for name, number in state.items()}


@pytest.fixture
def model():
    random.seed(4)
    return nn.MLP(3, [4, 2])


@each_format
def test_module_comes_back_bit_for_bit(ending, model, tmp_path):
    path = tmp_path / f"model.{ending}"
    for parameter, number in zip(model.parameters(), NUMBERS, strict=False):
        parameter.data = number
    state = model.state_dict()
    saving.save(model, path)
    other = nn.MLP(3, [4, 2])
    assert bits(saving.load(path, other)) == bits(state)
    assert bits(other.state_dict()) == bits(state)
    assert list(saving.load(path)) == list(state)


@each_format
def test_gradients_are_neither_saved_nor_touched(ending, model, tmp_path):
    path = tmp_path / f"model.{ending}"
    model.parameters()[0].grad = 3.0
    saving.save(model, path)
    saving.load(path, model)
    assert model.parameters()[0].grad == 3.0


@each_format
@pytest.mark.parametrize("number", NUMBERS)
def test_every_number_keeps_its_bits(ending, number, tmp_path):
    path = tmp_path / f"state.{ending}"
    saving.save({"x": number}, path)
    assert bits(saving.load(path)) == bits({"x": number})


@each_format
@pytest.mark.parametrize(
    "state", [{}, {"": 1.0}, {"ä.β.0": 2.0, 'a "b"\n': 3.0}, {"n": np.float32(0.5)}, {"i": 7}]
)
def test_states_of_any_names_and_numbers(ending, state, tmp_path):
    path = tmp_path / f"state.{ending}"
    saving.save(state, path)
    assert saving.load(path) == state


def test_json_is_strict_and_says_what_it_is(tmp_path):
    path = tmp_path / "state.json"
    saving.save({"a": 0.25, "b": math.inf}, path)

    def refuse(word):
        raise AssertionError(word)

    assert json.loads(path.read_text(), parse_constant=refuse) == {
        "format": "fastgrad state",
        "version": 1,
        "parameters": {"a": 0.25, "b": "inf 7ff0000000000000"},
    }


def test_npz_holds_plain_arrays(tmp_path):
    path = tmp_path / "state.npz"
    saving.save({"a": 0.25, "b": 2.0}, path)
    with np.load(path, allow_pickle=False) as arrays:
        assert arrays["version"] == 1
        assert arrays["names"].tolist() == ["a", "b"]
        assert arrays["values"].tolist() == [0.25, 2.0]


def test_json_needs_no_numpy(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "numpy", None)
    saving.save({"a": 1.0}, tmp_path / "state.json")
    assert saving.load(tmp_path / "state.json") == {"a": 1.0}


@pytest.mark.parametrize("use", [lambda path: saving.save({}, path), saving.load], ids=["save", "load"])
def test_without_numpy_the_error_says_how_to_install_it(use, monkeypatch, tmp_path):
    path = tmp_path / "state.npz"
    saving.save({"a": 1.0}, path)
    before = path.read_bytes()
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs numpy: pip install numpy;"):
        use(path)
    assert path.read_bytes() == before


@each_format
@pytest.mark.parametrize("value", ["1.0", "x", None, [1.0], 1j, 10**400], ids=repr)
def test_what_is_no_number_is_not_saved(ending, value, tmp_path):
    path = tmp_path / f"state.{ending}"
    with pytest.raises(ValueError, match=r"^b is not a number"):
        saving.save({"a": 1.0, "b": value}, path)
    assert list(tmp_path.iterdir()) == []


@each_format
@pytest.mark.parametrize("state", [{1: 1.0, "1": 2.0}, {"None": 1.0, None: 2.0}], ids=repr)
def test_two_keys_of_one_name_are_not_saved(ending, state, tmp_path):
    with pytest.raises(ValueError, match=r"^(1|None) is there twice"):
        saving.save(state, tmp_path / f"state.{ending}")
    assert list(tmp_path.iterdir()) == []


@each_format
@pytest.mark.parametrize(
    ("source", "kind"),
    [(optim.SGD([Value(1.0)]), "SGD"), ([1, 2], "list"), (Value(1.0), "Value"), (None, "NoneType")],
    ids=["an optimizer", "a list", "a Value", "None"],
)
def test_what_has_no_names_is_not_saved(ending, source, kind, tmp_path):
    with pytest.raises(TypeError, match=f"save takes a Module or a dict .*, not a {kind}$"):
        saving.save(source, tmp_path / f"state.{ending}")
    assert list(tmp_path.iterdir()) == []


@each_format
def test_a_module_with_parameters_that_have_no_name_is_not_saved(ending, tmp_path):
    module = nn.Module()
    module._layer = nn.Layer(2, 1)
    module.parameters = module._layer.parameters
    with pytest.raises(ValueError, match="not found under a name of their own: 3"):
        saving.save(module, tmp_path / f"state.{ending}")
    assert list(tmp_path.iterdir()) == []


@each_format
@pytest.mark.parametrize("module", [Value(1.0), {}, optim.SGD([Value(1.0)])], ids=["Value", "dict", "SGD"])
def test_parameters_are_loaded_into_modules_only(ending, module, tmp_path):
    path = tmp_path / f"state.{ending}"
    saving.save({"a": 1.0}, path)
    with pytest.raises(TypeError, match=f"to a Module, not to a {type(module).__name__}$"):
        saving.load(path, module)


@pytest.mark.parametrize("name", ["state", "state.txt", "state.pt", "state.json.gz"])
def test_other_endings_are_refused(name, tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.json or \.npz"):
        saving.save({}, tmp_path / name)
    with pytest.raises(ValueError, match=r"must end in \.json or \.npz"):
        saving.load(tmp_path / name)


@each_format
def test_missing_file_raises_oserror(ending, tmp_path):
    with pytest.raises(FileNotFoundError):
        saving.load(tmp_path / f"none.{ending}")


@each_format
@pytest.mark.parametrize(
    ("parent", "error"),
    [("none", FileNotFoundError), ("file", (NotADirectoryError, FileNotFoundError))],
    ids=["no directory", "a file for a directory"],
)
def test_a_file_that_cannot_be_written_raises_oserror_that_names_it(ending, parent, error, tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / parent / f"state.{ending}"
    with pytest.raises(error) as caught:
        saving.save({"a": 1.0}, path)
    assert caught.value.filename == str(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@each_format
def test_a_directory_of_the_files_name_raises_oserror_that_names_it(ending, tmp_path):
    path = tmp_path / f"state.{ending}"
    path.mkdir()
    with pytest.raises(OSError, match="state") as caught:
        saving.save({"a": 1.0}, path)
    assert (caught.value.filename, caught.value.filename2) == (str(path), None)
    assert list(tmp_path.iterdir()) == [path]


@each_format
def test_interrupted_save_leaves_the_old_file(ending, tmp_path, monkeypatch):
    path = tmp_path / f"state.{ending}"
    saving.save({"a": 1.0}, path)

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(KeyboardInterrupt):
        saving.save({"a": 2.0}, path)
    assert saving.load(path) == {"a": 1.0}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_file_has_ordinary_permissions(tmp_path):
    (tmp_path / "ordinary").touch()
    saving.save({}, tmp_path / "state.json")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ordinary", "state.json")]
    assert modes[0] == modes[1]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("mode", [0o600, 0o664, 0o400], ids=oct)
def test_a_file_that_is_replaced_keeps_its_permissions(mode, tmp_path):
    path = tmp_path / "state.json"
    saving.save({"a": 1.0}, path)
    path.chmod(mode)
    saving.save({"a": 2.0}, path)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert saving.load(path) == {"a": 2.0}


@each_format
@pytest.mark.parametrize("there", [True, False], ids=["of a file", "of none yet"])
def test_a_link_is_followed(ending, there, tmp_path):
    target, link = tmp_path / "elsewhere" / f"target.{ending}", tmp_path / f"link.{ending}"
    target.parent.mkdir()
    try:
        link.symlink_to(target)
    except OSError:
        pytest.skip("no symbolic links here")
    if there:
        saving.save({"a": 1.0}, target)
    saving.save({"a": 2.0}, link)
    assert link.is_symlink()
    assert saving.load(target) == {"a": 2.0}
    assert list(target.parent.iterdir()) == [target]


# Damaged files.


def refused(path, model, match):
    """load() raises a ValueError that begins with the file's name, and the model is as it was."""
    before = bits(model.state_dict())
    with pytest.raises(ValueError, match=match) as caught:
        saving.load(path, model)
    assert str(caught.value).startswith(f"{path}: ")
    assert bits(model.state_dict()) == before
    return str(caught.value)


@each_format
def test_file_cut_short_anywhere_is_refused(ending, model, tmp_path):
    path = tmp_path / f"model.{ending}"
    saving.save(model, path)
    whole = path.read_bytes()
    for length in [*range(0, len(whole) - 2, max(1, len(whole) // 40)), len(whole) - 2]:
        path.write_bytes(whole[:length])
        refused(path, model, "cut short|not an .npz file")


def test_npz_with_any_byte_changed_is_refused_or_the_same(model, tmp_path):
    path = tmp_path / "model.npz"
    saving.save(model, path)
    whole = path.read_bytes()
    state = bits(model.state_dict())
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        with contextlib.suppress(ValueError):
            assert bits(saving.load(path)) == state


def test_wrong_keys_are_refused(model, tmp_path):
    path = tmp_path / "state.json"
    saving.save({"a": 1.0}, path)
    refused(path, model, "missing: layers.0.neurons.0.w.0, .* unknown: a")


def document(**changes):
    return json.dumps({"format": "fastgrad state", "version": 1, "parameters": {"a": 1.0}} | changes)


JSON_FILES = {
    "version 2": (document(version=2), "version 2 of the format is not known"),
    "no version": (document(version=None), "version None of the format is not known"),
    "version true": (document(version=True), "version True of the format is not known"),
    "version 1.0": (document(version=1.0), "version 1.0 of the format is not known"),
    "version in words": (document(version="1"), "version '1' of the format is not known"),
    "another format": (document(format="torch"), "not a file of parameters"),
    "a list": ("[1, 2]", "not a file of parameters"),
    "no parameters": (document(parameters=[]), "there are no parameters"),
    "a word": (document(parameters={"a": "word"}), "a is not a number: 'word'"),
    "words for nan": (document(parameters={"a": "nan"}), "a is not a number: 'nan'"),
    "bits of a finite number": (document(parameters={"a": "1.0 3ff0000000000000"}), "a is not a number"),
    "words and bits that differ": (document(parameters={"a": "inf 7ff8000000000000"}), "a is not a number"),
    "a list for a number": (document(parameters={"a": [1.0]}), r"a is not a number: \[1.0\]"),
    "null": (document(parameters={"a": None}), "a is not a number: None"),
    "true": (document(parameters={"a": True}), "a is not a number: True"),
    "Python's NaN": (document(parameters={"a": math.nan}), "NaN is no JSON number"),
    "a number too large": (document(parameters={"a": 10**400}), "a is not a number"),
    "digits that overflow": (document().replace("1.0", "1e999"), "a is not a number"),
    "a name twice": (document().replace('"a": 1.0', '"a": 1.0, "a": 2.0'), "a is there twice"),
    "not text": ("\udcff", "not a JSON file"),
    "nested too deeply": ("[" * 100_000, "not a JSON file"),
}


@pytest.mark.parametrize("name", JSON_FILES)
def test_damaged_json_is_refused(name, model, tmp_path):
    contents, match = JSON_FILES[name]
    path = tmp_path / "state.json"
    path.write_text(contents, encoding="utf-8", errors="surrogateescape")
    refused(path, model, match)


class Bomb:
    """A pickle that would run code."""

    def __reduce__(self):
        return exec, ("raise SystemExit('code from the file ran')",)


ARRAYS = {
    "version 2": ({"version": 2, "names": ["a"], "values": [1.0]}, "version 2 of the format"),
    "many versions": ({"version": [1, 1], "names": ["a"], "values": [1.0]}, r"version \[1, 1\] of"),
    "version true": ({"version": True, "names": ["a"], "values": [1.0]}, "version True of the format"),
    "no names": ({"version": 1, "values": [1.0]}, "no array 'names'"),
    "fewer names": ({"version": 1, "names": ["a"], "values": [1.0, 2.0]}, "not as many"),
    "integers": ({"version": 1, "names": ["a"], "values": [1]}, "not as many strings and float64s"),
    "single precision": ({"version": 1, "names": ["a"], "values": np.float32([1])}, "not as many"),
    "numbers for names": ({"version": 1, "names": [1.0], "values": [1.0]}, "not as many strings"),
    "a name twice": ({"version": 1, "names": ["a", "a"], "values": [1.0, 2.0]}, "a is there twice"),
    "a matrix": ({"version": 1, "names": [["a"]], "values": [[1.0]]}, "not as many"),
    "objects": ({"version": 1, "names": ["a"], "values": np.array([Bomb()])}, "not an .npz file"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_damaged_npz_is_refused(name, model, tmp_path):
    arrays, match = ARRAYS[name]
    path = tmp_path / "state.npz"
    np.savez(path, **arrays)
    refused(path, model, match)


@each_format
def test_pickle_is_not_run(ending, model, tmp_path):
    path = tmp_path / f"state.{ending}"
    path.write_bytes(pickle.dumps(Bomb()))
    message = refused(path, model, "not an? ")
    assert "allow_pickle" not in message


def test_a_name_that_npz_would_cut_off_is_refused(tmp_path):
    with pytest.raises(ValueError, match="null character"):
        saving.save({"w\0": 1.0}, tmp_path / "model.npz")


# Files of which a part is missing or wrong.


def loaded(contents, ending, model, tmp_path):
    """Load damaged contents; return the state, or None if they are refused and nothing has changed."""
    before = bits(model.state_dict())
    path = tmp_path / f"damaged.{ending}"
    path.write_bytes(contents)
    state, message = None, str(path)
    try:
        state = bits(saving.load(path, model))
    except ValueError as error:
        message = str(error)
    assert str(path) in message
    assert state is not None or bits(model.state_dict()) == before
    return state


@pytest.fixture
def saved(tmp_path):
    """A small model with an infinity in it, and its file in each format."""
    model = nn.MLP(2, [1])
    model.parameters()[0].data = math.inf
    files = {}
    for ending in ENDINGS:
        saving.save(model, tmp_path / f"saved.{ending}")
        files[ending] = (tmp_path / f"saved.{ending}").read_bytes()
    return model, files


@each_format
def test_a_file_cut_short_anywhere_is_refused(ending, saved, tmp_path):
    model, files = saved
    good = files[ending].rstrip()
    for size in range(len(good)):
        assert loaded(good[:size], ending, model, tmp_path) is None


@pytest.mark.parametrize("bit", [0, 3, 7])
def test_a_flipped_bit_of_an_npz_file_changes_no_number(bit, saved, tmp_path):
    """An archive has a checksum of every array; a bit elsewhere may change a date, for example."""
    model, files = saved
    good = files["npz"]
    state = bits(model.state_dict())
    for place in range(len(good)):
        damaged = bytearray(good)
        damaged[place] ^= 1 << bit
        assert loaded(bytes(damaged), "npz", model, tmp_path) in (None, state)


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_of_a_json_file_is_refused_or_is_another_number(bit, saved, tmp_path):
    """JSON has no checksum, so a changed digit is another number. Names and structure are checked."""
    model, files = saved
    good = files["json"]
    state = model.state_dict()
    for place in range(len(good)):
        damaged = bytearray(good)
        damaged[place] ^= 1 << bit
        found = loaded(bytes(damaged), "json", model, tmp_path)
        if found is not None:
            assert found.keys() == state.keys()
            differing = [name for name, number in bits(state).items() if found[name] != number]
            assert len(differing) <= 1
        model.load_state_dict(state)


@each_format
def test_more_after_the_end_is_refused_or_ignored(ending, saved, tmp_path):
    model, files = saved
    state = bits(model.state_dict())
    for extra in (b"x", b"\0" * 100, files[ending]):
        assert loaded(files[ending] + extra, ending, model, tmp_path) in (None, state)


def archive(tmp_path, **members):
    """An .npz file whose members are given as bytes."""
    path = tmp_path / "state.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, contents in members.items():
            file.writestr(f"{name}.npy", contents)
    return path


def array_file(header, contents=b""):
    """A .npy file with this header."""
    text = repr(header).encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + contents


GOOD_ARRAYS = {
    "version": array_file({"descr": "<i8", "fortran_order": False, "shape": ()}, struct.pack("<q", 1)),
    "names": array_file({"descr": "<U1", "fortran_order": False, "shape": (1,)}, b"a\0\0\0"),
    "values": array_file({"descr": "<f8", "fortran_order": False, "shape": (1,)}, bytes(8)),
}


@pytest.mark.parametrize("order", "<>")
def test_an_archive_of_a_machine_of_either_order_of_bytes_is_read(order, tmp_path):
    members = {
        "version": array_file(
            {"descr": f"{order}i8", "fortran_order": False, "shape": ()}, struct.pack(f"{order}q", 1)
        ),
        "names": array_file(
            {"descr": f"{order}U1", "fortran_order": False, "shape": (1,)},
            "a".encode("utf-32-" + {"<": "le", ">": "be"}[order]),
        ),
        "values": array_file(
            {"descr": f"{order}f8", "fortran_order": False, "shape": (1,)}, struct.pack(f"{order}d", 1.5)
        ),
    }
    assert saving.load(archive(tmp_path, **members)) == {"a": 1.5}


@pytest.mark.parametrize("member", GOOD_ARRAYS)
@pytest.mark.parametrize("contents", [b"", b"no array"])
def test_a_member_that_is_no_array_is_refused(member, contents, model, tmp_path):
    path = archive(tmp_path, **(GOOD_ARRAYS | {member: contents}))
    refused(path, model, f"{member} is not an array|not an .npz file")


@pytest.mark.parametrize("member", GOOD_ARRAYS)
def test_a_member_of_a_name_like_an_arrays_is_refused(member, model, tmp_path):
    path = archive(tmp_path, **GOOD_ARRAYS)
    assert saving.load(path) == {"a": 0.0}
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(member, b"no array")
    refused(path, model, f"{member} is not an array")


@pytest.mark.parametrize("contents", [b"", b"no array", pickle.dumps(1)])
def test_what_else_is_in_an_archive_is_not_looked_at(contents, tmp_path):
    path = archive(tmp_path, **GOOD_ARRAYS, another=contents)
    assert saving.load(path) == {"a": 0.0}


@pytest.mark.parametrize("header", ["(", "'", '{\'descr\': """', "\\", "{'descr': 1L"])
def test_a_header_that_is_no_python_is_refused(header, model, tmp_path):
    values = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + header.encode().ljust(117) + b"\n" + bytes(8)
    refused(archive(tmp_path, **(GOOD_ARRAYS | {"values": values})), model, "not an .npz file, or cut short")


def test_names_that_are_no_text_are_refused(model, tmp_path):
    names = GOOD_ARRAYS["names"][:-4] + b"\xff\xff\xff\xff"
    refused(archive(tmp_path, **(GOOD_ARRAYS | {"names": names})), model, "not an .npz file, or cut short")


def test_an_archive_that_unpacks_to_far_more_than_its_size_is_refused(model, tmp_path):
    header = {"descr": "<f8", "fortran_order": False, "shape": (2**22,)}
    zeros = array_file(header, bytes(8 * 2**22))
    refused(archive(tmp_path, version=zeros, names=zeros, values=zeros), model, "claim to unpack to")


def test_an_array_that_claims_to_be_larger_than_it_is_is_refused(model, tmp_path):
    for size in (2, 2**20, 2**40, 2**62):
        values = array_file({"descr": "<f8", "fortran_order": False, "shape": (size,)}, bytes(8))
        names = array_file({"descr": "<U1", "fortran_order": False, "shape": (size,)}, bytes(4))
        version = array_file({"descr": "<i8", "fortran_order": False, "shape": ()}, struct.pack("<q", 1))
        refused(archive(tmp_path, version=version, names=names, values=values), model, "not an .npz file")


@pytest.mark.parametrize("descr", ["|O", "<f4,<f4", "|V8", "(", "__import__('os').abort()"])
def test_an_array_of_another_kind_is_refused_unread(descr, model, tmp_path):
    values = array_file({"descr": descr, "fortran_order": False, "shape": (1,)}, pickle.dumps(Bomb()))
    refused(
        archive(tmp_path, version=values, names=values, values=values),
        model,
        "not an .npz file|not as many|version",
    )


def test_a_large_network_is_no_suspicious_archive(tmp_path):
    """Zeros and regular names shrink to a thirtieth."""
    state = {f"layers.{k // 1000}.neurons.{k // 10 % 100}.w.{k % 10}": 0.0 for k in range(20_000)}
    saving.save(state, tmp_path / "state.npz")
    assert saving.load(tmp_path / "state.npz") == state
