"""Arguments that are named tuples or dataclasses of columns: the function gets one of that kind for a row."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

__all__ = ["Structure", "columns_of", "flattened", "rebuilt", "shared_columns", "structure_of"]


class Structure(NamedTuple):
    """The structure of an argument: its class and the names of its fields."""

    kind: type
    fields: tuple[str, ...]


def structure_of(argument: Any) -> Structure | None:
    """Return the structure of an argument, None for a single column, an array or a list of columns."""
    if isinstance(argument, tuple) and hasattr(argument, "_fields"):
        return Structure(type(argument), argument._fields)
    if dataclasses.is_dataclass(argument) and not isinstance(argument, type):
        return Structure(type(argument), tuple([field.name for field in dataclasses.fields(argument)]))
    return None


def columns_of(arguments: Sequence[Any]) -> list[Any]:
    """Return all columns of the arguments, one after the other."""
    columns: list[Any] = []
    for argument in arguments:
        structure = structure_of(argument)
        columns += [argument] if structure is None else [getattr(argument, name) for name in structure.fields]
    return columns


def rebuilt(columns: Sequence[Any], structures: Sequence[Structure | None]) -> list[Any]:
    """Return arguments of these structures, made of all their columns."""
    arguments, at = [], 0
    for structure in structures:
        if structure is None:
            arguments.append(columns[at])
            at += 1
        else:
            end = at + len(structure.fields)
            arguments.append(structure.kind(**dict(zip(structure.fields, columns[at:end], strict=True))))
            at = end
    return arguments


def flattened(
    function: Callable[..., Any],
    name: str,
    names: Sequence[str],
    positional: int,
    structures: Sequence[Structure | None],
) -> Callable[..., Any]:
    """Return the function with a parameter for each column: `row_x` is the field x of the argument row."""
    columns: list[str] = []
    for argument, structure in zip(names, structures, strict=True):
        columns += [argument] if structure is None else [f"{argument}_{field}" for field in structure.fields]

    def of_columns(*flat: Any) -> Any:
        arguments = rebuilt(flat, structures)
        named = dict(zip(names[positional:], arguments[positional:], strict=True))
        return function(*arguments[:positional], **named)

    kind = inspect.Parameter.POSITIONAL_ONLY
    of_columns.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(column, kind) for column in columns]
    )
    of_columns.__name__ = name
    return of_columns


def shared_columns(
    shared: Sequence[str], names: Sequence[str], structures: Sequence[Structure | None]
) -> tuple[str, ...]:
    """Return the names of the columns of the arguments that all rows share, as `flattened` names them."""
    columns: list[str] = []
    for argument, structure in zip(names, structures, strict=True):
        if argument in shared:
            columns += (
                [argument] if structure is None else [f"{argument}_{field}" for field in structure.fields]
            )
    return tuple(columns)
