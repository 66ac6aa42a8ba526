"""The trace of a function: one run of it on placeholders, and the graph that this run leaves."""

from __future__ import annotations

import functools
import operator
import random
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, NoReturn, SupportsFloat, SupportsIndex, TypeVar, overload

from fastgrad.compiler.arguments import describe_signature
from fastgrad.compiler.captures import Name, Reads
from fastgrad.compiler.graph import Graph
from fastgrad.compiler.interruptions import interrupts_run
from fastgrad.compiler.program import Program
from fastgrad.engine import (
    TracingError,
    Value,
    _first_refusal,
    _is_tracing,
    _make_unknown,
    _read_graph,
    _refused,
    _require_known,
    _traced,
)

__all__ = ["take", "trace"]

Item = TypeVar("Item")
# What a note to a TypeError says: int(x), round(x) and x % 1 would need a number.
NO_NUMBER = ". A Value has no number yet: operations such as x.exp(), abs(x), where and maximum take it"
# The end of the error about random numbers while there are other threads.
OTHER_THREADS = (
    ". If it was another thread that drew, have that draw from a generator of its own: random.Random(), "
    "numpy.random.default_rng()"
)
# The modes of modules that the function asks for while it is traced: see nn.Module.training.
modes_read: dict[tuple[int, str], Name] = {}
# Whether the function takes derivatives while it is traced.
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


def placeholder(kind: str, origin: str) -> Value:
    """Return the Value that stands for a number of an argument: an Index if it is an integer."""
    value = Index(origin) if kind in ("index", "whole number") else Value(float("nan"))
    _make_unknown(value, origin)
    return value


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
    if (found.drew_random and (alone or reads.names_random)) or (
        found.drew_numpy and (alone or reads.names_numpy)
    ):
        raise TracingError(
            f"{name} draws random numbers: they would be the same in every row and call; pass them as an "
            "argument" + ("" if alone else OTHER_THREADS)
        )
    return Program(found.graph, signature, names, name, found.single), found.modes


def described(signature: tuple[int, ...], names: tuple[str, ...]) -> str:
    """Return what each argument is inside the function."""
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
    places: dict[int, tuple[int, int]] = {}
    arguments: list[Any] = []
    for number, (kind, columns) in enumerate(describe_signature(signature)):
        origin = f"the argument {names[number]} of {name}"
        row = [placeholder(kind, origin) for _ in range(1 if columns is None else columns)]
        places.update((id(value), (number, column)) for column, value in enumerate(row))
        arguments.append(row[0] if columns is None else row)
    named = dict(zip(names[positional:], arguments[positional:], strict=True))
    before, before_numpy = random.getstate(), numpy_state()
    single, graph = _traced(name, graph_of, function, arguments[:positional], named)
    records, operands, constants, leaves, symbols, numbers = graph
    parameters = [leaf for leaf in leaves if id(leaf) not in places]
    indices = [symbol.index for symbol in symbols]
    for leaf in parameters + [index for index in indices if id(index) not in places]:
        # An argument of another trace.
        _require_known(leaf)
    numbered = {id(leaf): number for number, leaf in enumerate(parameters)}
    leaf_places = [places.get(id(leaf)) or (-1, numbered[id(leaf)]) for leaf in leaves]
    selections = [places[id(index)] for index in indices]
    graph = Graph(records, operands, constants, tuple(parameters), leaf_places, selections, numbers, True)
    return Trace(graph, single, dict(modes_read), random.getstate() != before, numpy_state() != before_numpy)


def note_derivatives() -> None:
    """Have the graph of the function that is traced simplified."""
    global takes_derivatives
    takes_derivatives = True


def graph_of(
    function: Callable[..., Any], arguments: list[Any], named: dict[str, Any]
) -> tuple[bool, tuple[Any, ...]]:
    """Run the function; return whether its output is a single Value, and its graph."""
    global takes_derivatives
    modes_read.clear()
    takes_derivatives = False
    output = function(*arguments, **named)
    refusal = _first_refusal()
    if refusal is not None:
        raise refusal
    single, outputs = flat_outputs(output)
    graph = _read_graph(outputs)
    if takes_derivatives:
        from fastgrad.compiler.simplify import Records, simplified

        graph = simplified(Records(*graph))
    return single, graph


# The engine asks this before it refuses something.
interrupts = functools.partial(interrupts_run, graph_of.__code__)


def numpy_state() -> Any:
    """Return the state of numpy's global generator in a form that compares, None if numpy is not loaded."""
    numpy = sys.modules.get("numpy")
    generator = getattr(numpy, "random", None) if numpy else None
    if generator is None:
        return None
    # Only one of numpy's generators has the legacy form.
    return comparable(generator.get_state(legacy=False))


def comparable(state: Any) -> Any:
    """Return a generator's state, dicts of numbers and arrays, with bytes for the arrays."""
    if isinstance(state, dict):
        return {name: comparable(part) for name, part in state.items()}
    return state.tobytes() if hasattr(state, "tobytes") else state


def flat_outputs(output: object) -> tuple[bool, list[Value]]:
    """Return whether the output is a single Value, and the output as a list of Values."""
    if hasattr(output, "tolist"):
        # numpy's arrays of Values.
        output = output.tolist()
    single = not isinstance(output, (list, tuple))
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
