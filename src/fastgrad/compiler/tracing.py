"""The trace of a function: one run on placeholders, and the graph that this run makes."""

from __future__ import annotations

import functools
import operator
import random
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, repeat
from typing import Any, NamedTuple, NoReturn, SupportsFloat, SupportsIndex, TypeVar, overload

from fastgrad.compiler import source_lines
from fastgrad.compiler.arguments import describe_signature
from fastgrad.compiler.captures import Name, Reads, is_fixed
from fastgrad.compiler.generators import numpy_state
from fastgrad.compiler.graph import OPERATION_ROWS, Graph, Input, Loop
from fastgrad.compiler.interruptions import interrupts_run
from fastgrad.compiler.program import Program
from fastgrad.compiler.source_lines import Line, Lines
from fastgrad.compiler.transforms import simplified
from fastgrad.engine import (
    TracingError,
    Value,
    _first_refusal,
    _graph_order,
    _is_tracing,
    _make_unknown,
    _read_graph,
    _refused,
    _require_known,
    _traced,
)

__all__ = ["lines_of_program", "take", "trace"]

Item = TypeVar("Item")
# What a note to a TypeError says: int(x), round(x) and x % 1 would need a number.
NO_NUMBER = ". A Value has no number yet: operations such as x.exp(), abs(x), where and maximum take it"
# The end of the error about random numbers while there are other threads.
OTHER_THREADS = (
    ". If it was another thread that drew, have that draw from a generator of its own: random.Random(), "
    "numpy.random.default_rng()"
)
# The training modes that the function asks modules for while it is traced: see nn.Module.training.
modes_read: dict[tuple[int, str], Name] = {}
MANY_COLUMNS = 10_000
# Whether the function has taken derivatives while it was traced.
takes_derivatives = False


class Index(Value):
    """The placeholder of an integer argument: an index for `take`, or a number."""

    def __init__(self, origin: str) -> None:
        super().__init__(float("nan"))
        self.origin = origin

    def refuse(self, *_: object) -> NoReturn:
        """Raise TracingError: the index of one row would be frozen into the program."""
        raise _refused(
            "an index is only known when the program runs: select with fastgrad.take(values, index); an "
            "integer that the function needs while it is traced is no argument: set it with "
            "functools.partial, or as the default of a parameter after a *"
        )

    __index__ = __int__ = __bool__ = __lt__ = __le__ = __gt__ = __ge__ = refuse

    def __eq__(self, other: object) -> bool:
        if self is other or not hasattr(other, "__float__"):
            return self is other
        return self.refuse()

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = Value.__hash__


class Selection:
    """The operation of the nodes that `take` makes while tracing."""

    _compiles = True

    def __init__(self, index: Index) -> None:
        self.index = index

    def __repr__(self) -> str:
        return "take"


@overload
def take(values: Iterable[Item], index: SupportsIndex) -> Item: ...
@overload
def take(values: Iterable[Value | SupportsFloat], index: Value) -> Value: ...
@overload
def take(values: Iterable[Sequence[Value | SupportsFloat]], index: Value) -> list[Value]: ...
def take(values: Iterable[Any], index: Value | SupportsIndex) -> Item | Value | list[Value]:
    """Return values[index]; in a compiled function the index may differ from row to row.

    values: Values or numbers, or lists of them of equal length. From lists, the result is a list, taken
    element by element: `take(table, token)` is a row of an embedding. Raises IndexError unless
    0 <= index < len(values); TypeError if the index is no integer; ValueError if there are no values or
    the lists differ in length.
    """
    if isinstance(values, (str, bytes, dict, set, frozenset)):
        raise TypeError(f"take chooses from a list of Values or numbers, not from a {type(values).__name__}")
    values = list(values)
    if not values:
        raise ValueError("take needs at least one value")
    lengths = {length_of(row) for row in values}
    if len(lengths) != 1:
        raise ValueError("take needs Values or numbers, or rows of equal length")
    if isinstance(index, Index):
        if lengths != {None}:
            row: list[Value] = alike(values[0], [take(each, index) for each in zip(*values, strict=True)])
            return row
        if not _is_tracing():
            _require_known(index)
        leaves = [value if isinstance(value, Value) else Value(value) for value in values]
        selected = Value(float("nan"), leaves, Selection(index))  # type: ignore[arg-type]
        _make_unknown(selected, index.origin)
        return selected
    if isinstance(index, Value):
        raise TypeError("the index of take must be an argument of integers, or an integer, not a Value")
    if not isinstance(index, SupportsIndex):
        raise TypeError(f"the index of take must be an integer, not {index!r}")
    position = operator.index(index)
    if not 0 <= position < len(values):
        raise IndexError(f"take has {len(values)} values to choose from, not number {position}")
    chosen: Item = values[position]
    return chosen


def length_of(row: Any) -> int | None:
    """Return the length of a row, None for a Value or a number."""
    # A Value is asked first: to find that it lacks an attribute takes a microsecond.
    return len(row) if not isinstance(row, Value) and hasattr(row, "__len__") else None


def alike(row: Any, items: list[Any]) -> Any:
    """Return the items as a list, or as an array of objects if the row is one of numpy's."""
    if not hasattr(row, "astype"):
        return items
    array = row.astype(object)
    array[:] = items
    return array


class Records(NamedTuple):
    """The result of engine._read_graph; the engine's records.pxi describes it."""

    records: bytes
    operands: bytes
    constants: list[float]
    leaves: list[Value]
    # The symbols of nodes that have one: those of `take`, of loops and of their results.
    symbols: list[Any]
    outputs: list[int]
    # By the number of a record that a function with a derivative of its own has made: the rule that gives it.
    rules: dict[int, Any]
    # For each record the lines that it computes, if they are asked for.
    lines: list[tuple[Line, ...]] | None = None


def read_records(
    outputs: list[Value], order: list[Value] | None = None, captured: set[int] | None = None
) -> Records:
    """Return the graph below the outputs, as engine._read_graph does."""
    found = Records(*_read_graph(outputs, order, captured))
    recorder = source_lines.here.recorder
    if recorder is None:
        return found
    nodes = _graph_order(outputs) if order is None else order
    return recorder.lines_of(found, nodes, set() if captured is None else captured)


class Places:
    """The place of every placeholder of an argument, by its id: (argument, column)."""

    def __init__(self, rows: Sequence[Sequence[Value]]) -> None:
        self.rows = rows
        self.ends = list(accumulate(map(len, rows)))
        # Made at its first use: for 100,000 columns that takes 20 ms.
        self.numbers: dict[int, int] | None = None
        if not rows or self.ends[-1] < MANY_COLUMNS:
            self.get(0)

    def get(self, key: int) -> tuple[int, int] | None:
        """Return the place of the placeholder with this id, None for other ids."""
        if self.numbers is None:
            # A dict of numbers takes a third of the time that one of pairs takes.
            self.numbers = {key: number for number, key in enumerate(map(id, chain(*self.rows)))}
        number = self.numbers.get(key)
        if number is None:
            return None
        argument = bisect_right(self.ends, number)
        return argument, number - (self.ends[argument - 1] if argument else 0)

    def of_leaf(self, leaf: Value) -> tuple[int, int] | None:
        """Return the place of a leaf, None if it is no placeholder of an argument."""
        return None if self.numbers is None and is_known(leaf) else self.get(id(leaf))


def is_known(leaf: Value) -> bool:
    """Return whether a leaf is no placeholder."""
    try:
        _require_known(leaf)
    except TracingError:
        return False
    return True


@dataclass(eq=False, repr=False)
class Repeat:
    """The operation of a loop: the graph of its step, how often it is repeated, and its inputs."""

    _compiles = True
    _record = OPERATION_ROWS["loop"]

    name: str
    records: Records
    # By the id of each leaf and index of the step: its place, as graph.pxd describes it.
    places: dict[int, tuple[int, int]]
    # How many steps there are; how many numbers a step has as state, takes from outside, and makes.
    steps: int
    states: int
    outside: int
    makes: int
    # The arguments of graph.Input, for each input.
    inputs: list[tuple[int, int, int, int, int]]
    # The inputs as scanning.Source, in the order of the lists; whether the steps go from the last to the
    # first; and the step whose trace the loop is part of.
    sources: list[Any]
    reverse: bool
    level: object

    def __repr__(self) -> str:
        return f"loop of {self.name}"

    def loop(self, arguments: Places) -> Loop:
        """Return the loop as a graph has it; `arguments` has the places of the function's arguments by id."""
        taken = self.outside, self.states, len(self.inputs)
        body = graph_of_records(self.records, (), self.places, arguments, taken)
        inputs = tuple([Input(*each) for each in self.inputs])
        return Loop(body, self.name, self.steps, self.states, self.outside, inputs)


def graph_of_records(
    found: Records,
    parameters: tuple[Value, ...],
    places: dict[int, tuple[int, int]],
    arguments: Places,
    taken: tuple[int, int, int] | None = None,
) -> Graph:
    """Return the graph of records, its leaves and indices being at these places."""
    selections: list[tuple[int, int]] = []
    loops: list[Loop] = []
    for symbol in found.symbols:
        if isinstance(symbol, Repeat):
            selections.append((-1, len(loops)))
            loops.append(symbol.loop(arguments))
        elif isinstance(symbol, Selection):
            selections.append(place_of_index(symbol.index, places, arguments))
        else:
            selections.append((-2, symbol.number))
    graph = Graph(
        found.records,
        found.operands,
        found.constants,
        parameters,
        [places[id(leaf)] for leaf in found.leaves],
        selections,
        found.outputs,
        True,
        tuple(loops),
        taken,
    )
    # Derivatives repeat much of a graph. Other graphs stay as they are, so that gradients keep their bits.
    fewer = simplified(graph) if takes_derivatives else graph
    if source_lines.here.recorder is not None and found.lines is not None:
        source_lines.here.recorder.keep(graph, fewer, found.lines)
    return fewer


def place_of_index(index: Index, places: dict[int, tuple[int, int]], arguments: Places) -> tuple[int, int]:
    """Return the place of an index: of an argument, or of an input of the step it is used in."""
    place = places.get(id(index)) or arguments.get(id(index))
    if place is None:
        _require_known(index)
        raise TracingError(f"{index.origin} selects in the step of another loop: let that have it as an x")
    return place


# For the function that is traced: the placeholders of each argument, and the place of each placeholder by id.
argument_rows: list[list[Value]] = []
argument_places = Places([])


def columns_of_argument(elements: Sequence[Any]) -> tuple[int, int, int] | None:
    """Return (argument, first column, stride) if all elements are columns of one argument; else None."""
    for argument, row in enumerate(argument_rows):
        # The most frequent case needs no look-up: the elements are the columns of one argument, in order.
        if elements and row and elements[0] is row[0] and are_same(row, elements):
            return argument, 0, 1
    places = [argument_places.get(id(element)) for element in elements[:2]]
    if not places or places[0] is None or places[-1] is None:
        return None
    argument, first = places[0]
    stride = (places[-1][1] - first) or 1
    row = argument_rows[argument]
    end = first + len(elements) * stride
    if not 0 <= end - stride < len(row):
        return None
    return (
        (argument, first, stride)
        if are_same(row[first : end if end >= 0 else None : stride], elements)
        else None
    )


def are_same(values: Sequence[Any], others: Sequence[Any]) -> bool:
    """Return whether the others begin with the same objects as the values."""
    return len(others) <= len(values) and all(map(operator.is_, values, others))


def placeholder(kind: str, origin: str) -> Value:
    """Return the Value that stands for a number of an argument: an Index if it is an integer."""
    value = Index(origin) if kind in ("index", "whole number") else Value(float("nan"))
    _make_unknown(value, origin)
    return value


def placeholders(kind: str, origin: str, count: int) -> list[Value]:
    """Return as many placeholders of one argument, which may have 100,000 columns."""
    if kind in ("index", "whole number"):
        return [placeholder(kind, origin) for _ in range(count)]
    values = [Value(0.0) for _ in range(count)]
    # map() calls it from C: half the time of a loop.
    deque(map(_make_unknown, values, repeat(origin)), maxlen=0)
    return values


class Trace(NamedTuple):
    """The result of one run of a function on placeholders."""

    graph: Graph
    single: bool
    # The training modes of modules that the function asked for.
    modes: dict[tuple[int, str], Name]
    # Whether the states of the global generators of random numbers have changed.
    drew_random: bool
    drew_numpy: bool


def trace(
    function: Callable[..., Any],
    signature: tuple[int, ...],
    names: tuple[str, ...],
    positional: int,
    name: str,
    reads: Reads,
) -> tuple[Program, dict[tuple[int, str], Name]]:
    """Return the function's program and the modes it depends on; TracingError if it cannot be one.

    positional: how many of the arguments are given by position, the others by name. The names that the
    function reads from outside are added to `reads`.
    """
    alone = threading.active_count() == 1
    try:
        watched = functools.partial(reads.call, function)
        found = run_on_placeholders(watched, signature, names, positional, name)
    except Exception as error:
        way = NO_NUMBER if isinstance(error, TypeError) else ""
        error.add_note(f"while {name} was compiled, where {described(signature, names)}{way}")
        raise
    alone = alone and threading.active_count() == 1
    # Another thread may have drawn, unless the function names a generator.
    if (
        reads.drew()
        or (found.drew_random and (alone or reads.names_random))
        or (found.drew_numpy and (alone or reads.names_numpy))
    ):
        raise TracingError(
            f"{name} draws random numbers: they would be the same in every row and call; pass them as an "
            "argument" + ("" if alone else OTHER_THREADS)
        )
    return Program(found.graph, signature, names, name, found.single), found.modes


def lines_of_program(program: Program, function: Callable[..., Any], positional: int) -> Lines:
    """Return the source lines of a program's records; none if the function is not what was traced.

    The function is traced once more.
    """
    if _is_tracing():
        # Only one function is traced at a time.
        return {}
    with source_lines.recorded(is_fixed) as recorder:
        watched = functools.partial(recorder.call, function)
        try:
            found = run_on_placeholders(watched, program.signature, program.names, positional, program.name)
        except MemoryError:
            raise
        except Exception:
            # A function that cannot be traced any more has changed.
            return {}
        return recorder.of_program(program._graph(), found.graph)


def described(signature: tuple[int, ...], names: tuple[str, ...]) -> str:
    """Return in words what the function gets for each argument."""
    parts = []
    for name, (kind, columns) in zip(names, describe_signature(signature), strict=True):
        one = "an index" if kind in ("index", "whole number") else "a Value"
        column = f", as its array has shape (N, 1): {name}[:, 0] is {one} a row" if columns == 1 else ""
        parts.append(f"{name} is {one if columns is None else f'a list of {columns}, each {one}{column}'}")
    return ", ".join(parts) or "there are no arguments"


def run_on_placeholders(
    function: Callable[..., Any],
    signature: tuple[int, ...],
    names: tuple[str, ...],
    positional: int,
    name: str,
) -> Trace:
    """Run the function; TracingError if a placeholder was misused, even if the function caught the error."""
    rows: list[list[Value]] = []
    arguments: list[Any] = []
    for number, (kind, columns) in enumerate(describe_signature(signature)):
        rows.append(
            placeholders(kind, f"the argument {names[number]} of {name}", columns or int(columns is None))
        )
        arguments.append(rows[number][0] if columns is None else rows[number])
    places = Places(rows)
    named = dict(zip(names[positional:], arguments[positional:], strict=True))
    before, before_numpy = random.getstate(), numpy_state()
    single, found = _traced(name, graph_of, function, arguments[:positional], named, rows, places)
    of_arguments = {id(leaf): places.of_leaf(leaf) for leaf in found.leaves}
    # The graph keeps the parameters that an output needs.
    parameters = tuple([leaf for leaf in found.leaves if of_arguments[id(leaf)] is None])
    for leaf in parameters:
        # Raises for a placeholder of another trace.
        _require_known(leaf)
    numbered = {id(leaf): (-1, number) for number, leaf in enumerate(parameters)}
    everything = {key: place or numbered[key] for key, place in of_arguments.items()}
    graph = graph_of_records(found, parameters, everything, places)
    return Trace(graph, single, dict(modes_read), random.getstate() != before, numpy_state() != before_numpy)


def note_derivatives() -> None:
    """Have the graph of the function that is traced simplified."""
    global takes_derivatives
    takes_derivatives = True


def graph_of(
    function: Callable[..., Any],
    arguments: list[Any],
    named: dict[str, Any],
    rows: list[list[Value]],
    places: Places,
) -> tuple[bool, Records]:
    """Run the function; return whether its output is a single Value, and its graph."""
    global takes_derivatives, argument_rows, argument_places
    modes_read.clear()
    takes_derivatives = False
    try:
        argument_rows, argument_places = rows, places
        output = function(*arguments, **named)
    finally:
        argument_rows, argument_places = [], Places([])
    refusal = _first_refusal()
    if refusal is not None:
        raise refusal
    single, outputs = flat_outputs(output)
    return single, read_records(outputs)


# The engine asks this before it refuses something.
interrupts = functools.partial(interrupts_run, graph_of.__code__)


def flat_outputs(output: object) -> tuple[bool, list[Value]]:
    """Return whether the output is a single Value, and the output as a list of Values."""
    if hasattr(output, "tolist"):
        # numpy's arrays of Values.
        output = output.tolist()
    # The results of a loop's steps are a sequence, too.
    single = not isinstance(output, Sequence) or isinstance(output, str)
    items = [output] if single else list(output)  # type: ignore[call-overload]
    if not items:
        raise TracingError("the function returns nothing: an empty list")
    values = []
    for item in items:
        if isinstance(item, (int, float)):
            item = Value(item)
        if not isinstance(item, Value):
            found = f"{'' if single else 'a list with a '}{type(item).__name__}"
            raise TracingError(f"a compiled function returns a Value or a list of Values, not {found}")
        values.append(item)
    return single, values
