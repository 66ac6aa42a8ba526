"""Compiled functions and their programs in pickles: the saved form, and the functions that load it.

Pickles name the functions of this module, so none of them may move or take other arguments. A saved program
names its operations and the kinds of its arguments, as their numbers differ between versions, and has a
format. Loading raises ValueError for an unknown name or format.
"""

from __future__ import annotations

import importlib
import inspect
import operator
import sys
from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

from fastgrad.compiler.arguments import describe_signature
from fastgrad.compiler.graph import OPERATION_ROWS, Graph, Input, Loop
from fastgrad.compiler.program import Program
from fastgrad.engine import Value

__all__ = ["load_compiled", "load_function", "load_method", "load_program", "saved_program"]

if TYPE_CHECKING:
    from fastgrad.compiler.compiled import Compiled
    from fastgrad.compiler.structures import Structure

# Raised when a field of SavedProgram, or what it means, changes.
FORMAT = 1
KINDS = ("real", "index", "number", "whole number")
OPERATION_NAMES = {row: name for name, row in OPERATION_ROWS.items()}


class SavedGraph(TypedDict):
    """A graph in a pickle; `records` and `operands` are 32-bit integers, the lowest byte first."""

    operations: list[str]
    # Three integers a node, of which the first is an index into `operations`; see records.pxi.
    records: bytes
    operands: bytes
    constants: list[float]
    parameters: tuple[Value, ...]
    leaves: list[tuple[int, int]]
    selections: list[tuple[int, int]]
    outputs: list[int]


class SavedLoop(SavedGraph):
    """A loop in a pickle: its step's graph, and the rest of graph.Loop."""

    step: str
    steps: int
    states: int
    outside: int
    inputs: list[Any]
    loops: list[SavedLoop]


class SavedProgram(SavedGraph):
    """A program in a pickle."""

    format: int
    # The version that saved it.
    fastgrad: str
    name: str
    # (name, kind, columns) of each; the columns are None if a row has one number.
    arguments: list[tuple[str, str, int | None]]
    # Whether the function returns one Value and not a list of them.
    single: bool
    # Missing in programs saved by versions that had no loops.
    loops: list[SavedLoop]


def little_endian(numbers: array[int]) -> bytes:
    """Return the integers as bytes, the lowest first."""
    if sys.byteorder == "big":  # no cover: no machine of the tests
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def integers(saved: bytes) -> array[int]:
    """Return what little_endian() wrote; ValueError if the last integer is incomplete."""
    numbers = array("i")
    numbers.frombytes(saved)
    if sys.byteorder == "big":  # no cover: no machine of the tests
        numbers.byteswap()
    return numbers


Parts: TypeAlias = tuple[bytes, bytes, list[float], tuple[Value, ...], list[Any], list[Any], list[int]]


def saved_graph(parts: Parts) -> SavedGraph:
    """Return a graph as it is pickled."""
    records, operands, constants, parameters, leaves, selections, outputs = parts
    numbers = array("i", records)
    used = sorted(set(numbers[::3]))
    places = {row: place for place, row in enumerate(used)}
    numbers[::3] = array("i", [places[row] for row in numbers[::3]])
    return SavedGraph(
        operations=[OPERATION_NAMES[row] for row in used],
        records=little_endian(numbers),
        operands=little_endian(array("i", operands)),
        constants=constants,
        parameters=parameters,
        leaves=leaves,
        selections=selections,
        outputs=outputs,
    )


def saved_loop(loop: Loop) -> SavedLoop:
    """Return a loop as it is pickled."""
    return SavedLoop(
        **saved_graph(loop.body._parts()),
        step=loop.name,
        steps=loop.steps,
        states=loop.states,
        outside=loop.outside,
        inputs=[(each.kind, each.source, each.number, each.first, each.stride) for each in loop.inputs],
        loops=[saved_loop(inner) for inner in loop.body._loops()],
    )


def saved_program(
    graph: Graph, signature: tuple[int, ...], names: tuple[str, ...], name: str, single: bool
) -> SavedProgram:
    """Return a program of this graph as it is pickled."""
    from fastgrad import __version__

    return SavedProgram(
        **saved_graph(graph._parts()),
        format=FORMAT,
        fastgrad=__version__,
        name=name,
        arguments=[
            (argument, kind, columns)
            for argument, (kind, columns) in zip(names, describe_signature(signature), strict=True)
        ],
        single=single,
        loops=[saved_loop(loop) for loop in graph._loops()],
    )


def load_program(saved: SavedProgram) -> Program:
    """Return a pickled program; ValueError or TypeError for one that is unknown here, or damaged."""
    from fastgrad import __version__

    if saved["format"] != FORMAT:
        raise ValueError(
            f"a program saved by fastgrad {saved['fastgrad']} in format {saved['format']!r} cannot be "
            f"loaded: this is fastgrad {__version__}, whose format is {FORMAT}; "
            "compile and save the function again"
        )
    try:
        return program_of(saved)
    except KeyError as error:
        raise ValueError(f"a damaged program: it has no {error}") from None


def program_of(saved: SavedProgram) -> Program:
    """Return a pickled program."""
    signature = []
    for argument, kind, columns in saved["arguments"]:
        if kind not in KINDS:
            raise ValueError(f"a damaged program: {argument} is of an unknown kind, {kind!r}")
        signature.append(KINDS.index(kind) + (0 if columns is None else 4 * (columns + 1)))
    whose = f"{saved['name']}'s program was saved by fastgrad {saved['fastgrad']}"
    loops = tuple([loop_of(loop, whose) for loop in saved.get("loops", ())])
    names = tuple([argument for argument, _, _ in saved["arguments"]])
    graph = graph_of(saved, loops, None, whose)
    return Program(graph, tuple(signature), names, saved["name"], saved["single"])


def loop_of(saved: SavedLoop, whose: str) -> Loop:
    """Return a pickled loop."""
    taken = saved["outside"], saved["states"], len(saved["inputs"])
    body = graph_of(saved, tuple([loop_of(inner, whose) for inner in saved["loops"]]), taken, whose)
    inputs = tuple([Input(*each) for each in saved["inputs"]])
    return Loop(body, saved["step"], saved["steps"], saved["states"], saved["outside"], inputs)


def graph_of(
    saved: SavedGraph, loops: tuple[Loop, ...], taken: tuple[int, int, int] | None, whose: str
) -> Graph:
    """Return a pickled graph, its operations being those of this version that have the same names."""
    from fastgrad import __version__

    for operation in saved["operations"]:
        if operation not in OPERATION_ROWS:
            raise ValueError(
                f"{whose} and needs the operation {operation!r}, which this fastgrad, {__version__}, does "
                "not have"
            )
    rows = [OPERATION_ROWS[operation] for operation in saved["operations"]]
    numbers = integers(saved["records"])
    if not all(0 <= place < len(rows) for place in numbers[::3]):
        raise ValueError("a damaged program: there is an operation without a name in it")
    numbers[::3] = array("i", [rows[place] for place in numbers[::3]])
    return Graph(
        numbers.tobytes(),
        integers(saved["operands"]).tobytes(),
        list(saved["constants"]),
        saved["parameters"],
        list(saved["leaves"]),
        list(saved["selections"]),
        list(saved["outputs"]),
        True,
        loops,
        taken,
    )


def load_method(owner: type, name: str, instance: object) -> Any:
    """Return an instance's method as this class defines it, even if a subclass overrides the name."""
    return inspect.getattr_static(owner, name).__get__(instance, type(instance))


def load_compiled(
    function: Callable[..., Any], threads: int, strict: bool, block: int, shared: tuple[str, ...] = ()
) -> Compiled[Any]:
    """Return a compiled function without programs, which is traced at its first call."""
    from fastgrad.compiler.compiled import Compiled

    return Compiled(function, threads, strict, block, shared)


def load_function(
    where: tuple[str, str] | None,
    description: dict[str, Any],
    name: str,
    parameters: inspect.Signature,
    options: tuple[Any, ...],
    programs: list[Program],
    of_structures: dict[tuple[Structure | None, ...], Compiled[Any]] | None = None,
) -> Compiled[Any]:
    """Rebuild a pickled function: its programs and, if none of them has parameters, the function.

    With parameters, the function is left out: the programs use the parameters of the pickle, but a new trace
    would use those of this process.
    """
    from fastgrad.compiler.compiled import Compiled

    self = Compiled.__new__(Compiled)
    vars(self).update(description)
    if where is not None:
        try:
            found = operator.attrgetter(where[1])(importlib.import_module(where[0]))
        except (ImportError, AttributeError):
            found = None
        self.function = found.function if isinstance(found, Compiled) else found
    self._set(name, parameters, options, programs)
    # Missing in older pickles.
    self.of_structures = of_structures or {}
    for each in self.of_structures.values():
        each.outer = self
    return self
