"""What a function reads from outside: a program is traced anew when a name is bound to something else."""

from __future__ import annotations

import dis
import functools
import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType, MethodType
from typing import Any, TypeAlias

from fastgrad.compiler.program import Programs

__all__ = ["what_is_read"]

# A closure's cell and its contents; a scope, a name in it and the object of that name.
Cell: TypeAlias = tuple[Any, object]
Name: TypeAlias = tuple[dict[str, Any], str, object]
# The instructions that read a global.
READ_GLOBAL = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")


def what_is_read(compiled: Programs) -> tuple[list[Cell], list[Name]]:
    """Return the cells and the globals that the function and its helpers read, with what they contain.

    Helpers are the Python functions that cells and globals contain, and those behind methods, partials
    and compiled functions; what attributes and containers contain is not looked at.
    """
    names: dict[tuple[int, str], Name] = {}
    cells: dict[int, Cell] = {}
    seen: dict[int, object] = {}
    waiting: list[object] = [compiled]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen[id(thing)] = thing
        waiting += called_by(thing)
        if isinstance(thing, FunctionType) and not is_ours(thing):
            read = {(id(scope), name): (scope, name, bound) for scope, name, bound in globals_of(thing)}
            closed = {id(cell): (cell, cell.cell_contents) for cell in filled_cells(thing)}
            names |= read
            cells |= closed
            waiting += [entry[-1] for entry in (*read.values(), *closed.values())]
    return list(cells.values()), list(names.values())


def called_by(thing: object) -> list[object]:
    """Return what is behind a compiled function, a partial or a method: what may be a function."""
    if isinstance(thing, Programs):
        return [thing.function, inspect.getattr_static(type(thing.function), "__call__", None)]
    if isinstance(thing, functools.partial):
        return [thing.func, *thing.args, *thing.keywords.values()]
    if isinstance(thing, (MethodType, staticmethod)):
        return [thing.__func__]
    return []


def is_ours(function: FunctionType) -> bool:
    """Return whether a function is one of this package, whose names stay what they are."""
    module: str = function.__globals__.get("__name__") or ""
    return module.partition(".")[0] == "fastgrad"


def globals_of(function: FunctionType) -> Iterator[Name]:
    """Yield the scope, name and object of each global that the function's code reads."""
    scope = function.__globals__
    for code in codes(function.__code__):
        for instruction in dis.get_instructions(code):
            if instruction.opname in READ_GLOBAL and instruction.argval in scope:
                yield scope, instruction.argval, scope[instruction.argval]


def codes(code: CodeType) -> Iterator[CodeType]:
    """Yield a function's code and that of the functions and comprehensions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


def filled_cells(function: FunctionType) -> Iterator[Any]:
    """Yield the cells of a function's closure that are bound to something."""
    for cell in function.__closure__ or ():
        try:
            cell.cell_contents  # noqa: B018
        except ValueError:
            continue
        yield cell
