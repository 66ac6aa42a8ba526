"""Arguments that are named tuples or dataclasses of columns: the function gets one of that kind for a row."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from fastgrad.compiler.differentiation import PARAMETERS, number_of

__all__ = [
    "Structure",
    "columns_named",
    "columns_of",
    "differentiated",
    "flattened",
    "rebuilt",
    "structure_of",
]


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


def differentiated(
    call: Callable[..., Any],
    columns: Sequence[Any],
    function: str,
    names: Sequence[str],
    structures: Sequence[Structure | None],
    argnums: Any,
    **settings: Any,
) -> Any:
    """Return the result of a call that differentiates a function of columns, by what `argnums` choose.

    They are numbers and names of the function's arguments, or of one field, such as "row.x". The derivatives
    by an argument with fields are of its class.
    """
    several = not isinstance(argnums, str) and isinstance(argnums, Iterable)
    given = tuple(argnums) if several else (argnums,)
    chosen = [columns_chosen(each, function, names, structures) for each in given]
    flat = tuple([column for _, numbers in chosen for column in numbers])
    classes = [structure for structure, _ in chosen]
    if not any(classes):
        return call(*columns, argnums=flat if several else flat[0], **settings)
    with_value = call.__name__ == "value_and_grad"
    if not with_value and call.__name__ != "jacobian":
        raise TypeError(f"{call.__name__} is not by all fields of an argument: give one, such as 'row.x'")
    if settings["out"] is not None:
        raise TypeError("out is not for derivatives by all fields of an argument: give one, such as 'row.x'")
    found = call(*columns, argnums=flat, **settings)
    derivatives = rebuilt(found[1] if with_value else found, classes)
    result = tuple(derivatives) if several else derivatives[0]
    return (found[0], result) if with_value else result


def columns_chosen(
    argnum: Any, function: str, names: Sequence[str], structures: Sequence[Structure | None]
) -> tuple[Structure | None, list[Any]]:
    """Return the structure of the argument that is chosen, None for one column, and the columns' numbers."""
    name, _, field = argnum.partition(".") if isinstance(argnum, str) else (argnum, "", "")
    if name == PARAMETERS and name not in names:
        return None, [argnum]
    at = number_of(name, names, function)
    first = sum(map(len, columns_named(names, structures)[:at]))
    structure = structures[at]
    if structure is None and not field:
        return None, [first]
    if structure is None or (field and field not in structure.fields):
        raise ValueError(f"{function} has no argument {argnum!r}")
    if field:
        return None, [first + structure.fields.index(field)]
    return structure, list(range(first, first + len(structure.fields)))


def flattened(
    function: Callable[..., Any],
    name: str,
    names: Sequence[str],
    positional: int,
    structures: Sequence[Structure | None],
) -> Callable[..., Any]:
    """Return the function with a parameter for each column: `row_x` is the field x of the argument row."""
    columns = itertools.chain.from_iterable(columns_named(names, structures))

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


def columns_named(names: Sequence[str], structures: Sequence[Structure | None]) -> list[tuple[str, ...]]:
    """Return the names of each argument's columns: `row_x` is the field x of the argument row."""
    # A field of one argument may make the name of another.
    taken = set(names)
    columns: list[tuple[str, ...]] = []
    for argument, structure in zip(names, structures, strict=True):
        if structure is None:
            columns.append((argument,))
            continue
        of_fields = []
        for field in structure.fields:
            name = f"{argument}_{field}"
            while name in taken:
                name += "_"
            taken.add(name)
            of_fields.append(name)
        columns.append(tuple(of_fields))
    return columns
