"""scan and while_loop: loops of one step; a compiled function has the step once, not unrolled."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, SupportsFloat, SupportsIndex, TypeAlias, TypeVar, overload

from fastgrad.compiler.graph import OPERATION_ROWS
from fastgrad.compiler.nests import (
    LEAF,
    Nest,
    described,
    items_of,
    leaves_of,
    nest_of,
    parts_of,
    rebuilt,
    with_arrays,
    without_arrays,
)
from fastgrad.compiler.tracing import (
    Index,
    Records,
    Repeat,
    Selection,
    columns_of_argument,
    placeholder,
    read_records,
)
from fastgrad.engine import (
    Value,
    _age,
    _graph_order,
    _is_tracing,
    _make_unknown,
    _operands_in_trace,
    _refused,
    apply,
)

__all__ = ["Made", "Source", "Steps", "order_of", "scan", "traced", "while_loop"]

State = TypeVar("State")
Number: TypeAlias = Value | SupportsFloat


class Source(NamedTuple):
    """One input of a step: in each step it is another element of a list."""

    # If all elements are columns of one argument, `columns` is (argument, first, stride); if they are results
    # of another loop, `made` is its Steps.
    elements: Sequence[Any]
    columns: tuple[int, int, int] | None = None
    made: Steps | None = None


class Made:
    """The operation of a loop's result: a number of the last state, or a number that a step makes."""

    _compiles = True
    _record = OPERATION_ROWS["result"]

    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        return "result"


@dataclass(eq=False, repr=False)
class Steps(Sequence[Value]):
    """The results of all steps of a loop in a compiled function: a Value for an index, Steps for a slice.

    The Values are made when they are asked for; another loop that reads all of them needs none.
    """

    node: Value
    number: int
    steps: range
    level: object
    known: dict[int, Value]

    def __len__(self) -> int:
        return len(self.steps)

    @overload
    def __getitem__(self, place: SupportsIndex) -> Value: ...
    @overload
    def __getitem__(self, place: slice) -> Steps: ...
    def __getitem__(self, place: SupportsIndex | slice) -> Value | Steps:
        if isinstance(place, slice):
            return Steps(self.node, self.number, self.steps[place], self.level, self.known)
        step = self.steps[operator.index(place)]
        if step not in self.known:
            repeat: Repeat = self.node._op
            self.known[step] = result(self.node, repeat.states + step * repeat.makes + self.number)
        return self.known[step]

    def __repr__(self) -> str:
        return f"<what a loop makes in {len(self)} steps>"


# Identifies the trace that is going on: of a step, or None for that of the function.
level: object = None


def name_of(function: object) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def as_value(number: Any, what: str) -> Value:
    """Return a number as a Value; TypeError for anything else."""
    if isinstance(number, Value):
        return number
    if isinstance(number, str) or not hasattr(number, "__float__"):
        raise TypeError(f"{what} is made of Values and numbers, not of {type(number).__name__}")
    return Value(number)


def result(node: Value, number: int) -> Value:
    found = Value(float("nan"), (node,), Made(number))  # type: ignore[arg-type]
    _make_unknown(found, "the result of a loop")
    return found


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
) -> tuple[Any, Any]:
    """Return (last state, ys), where each step computes state, y = f(state, x) for the next x of xs.

    In a compiled function it is one loop: the program and its trace do not grow with the number of steps.
    Arguments and results are those of jax's `lax.scan`.

    f: takes a state and an x, returns a state of the same shape and a y.
    init: the first state: a Value or a number, or a nest of them in lists, tuples, dicts and arrays of numpy.
    xs: a list or an array, whose elements are a Value, a number or a nest; or a tuple or dict of such lists,
    so that x is a tuple or a dict; or None, for `length` steps in which x is None.
    reverse: go from the last x to the first; ys keeps the order of xs.

    ys has the shape of y, with a list over all steps in the place of each Value; in a compiled function it is
    another sequence. Raises TypeError that names f if the state does not keep its shape, or if x does not
    have the same shape in each step; ValueError if lists differ in length.

    >>> total, ys = scan(lambda total, x: (total + x, total * x), 0.0, [1.0, 2.0, 3.0])
    >>> total.data, [y.data for y in ys]
    (6.0, [0.0, 2.0, 9.0])
    """
    if not callable(f):
        raise TypeError(f"scan repeats a function, not {type(f).__name__}")
    name = name_of(f)
    shape, sources = sources_of(xs, name)
    steps = steps_of(sources, length, name)
    first = [as_value(leaf, f"the state of {name}") for leaf in leaves_of(init)]
    if steps == 0 or not _is_tracing():
        return repeated(f, name, with_arrays(init), first, shape, sources, steps, reverse)
    return traced(f, name, with_arrays(init), first, shape, sources, steps, reverse)


def while_loop(
    cond_fun: Callable[[State], Number | bool],
    body_fun: Callable[[State], State],
    init_val: State,
    limit: int,
) -> State:
    """Return the state after applying body_fun while cond_fun(state) is positive, at most `limit` times.

    This is jax's `lax.while_loop` with a limit. In a compiled function each row stops by its own condition,
    but every row computes `limit` steps. A condition is a Value that is positive where the loop goes on, as
    in `where`: `lambda x: x - 1` for x > 1. A row that has not stopped after `limit` steps has the state of
    that time. Only steps before a row's stop have a gradient.

    Raises TypeError that names body_fun if the state does not keep its shape; ValueError for a limit below 1.

    >>> while_loop(lambda x: x - 1.0, lambda x: x / 2.0, Value(10.0), limit=100).data
    0.625
    """
    if not callable(cond_fun) or not callable(body_fun):
        raise TypeError("while_loop takes two functions: of a condition, and of what is repeated")
    name = name_of(body_fun)
    limit = integer(limit, f"the limit of {name}")
    if limit < 1:
        raise ValueError(f"the limit of {name} must be at least 1, not {limit}")
    shape = with_arrays(init_val)

    def step(state: Any, _: None) -> tuple[Any, None]:
        new = checked(body_fun(state), shape, name)
        going = as_value(condition(cond_fun, state), f"the condition {name_of(cond_fun)}")
        old = leaves_of(state)
        chosen = [apply("where", going, after, before) for after, before in zip(new, old, strict=True)]
        return rebuilt(shape, iter(chosen)), None

    if _is_tracing():
        step.__name__ = name
        state: State = scan(step, init_val, None, limit)[0]
        return state
    first = [as_value(leaf, f"the state of {name}") for leaf in leaves_of(init_val)]
    state = rebuilt(shape, iter(apart(first, _age(Value(0.0)))))
    for _ in range(limit):
        going = as_value(condition(cond_fun, state), f"the condition {name_of(cond_fun)}")
        if not going.data > 0.0:
            break
        state = rebuilt(shape, iter(checked(body_fun(state), shape, name)))
    return state


def integer(number: object, what: str) -> int:
    """Return an integer; TypeError that names it for anything else."""
    if not isinstance(number, SupportsIndex):
        raise TypeError(f"{what} must be an integer, not {number!r}")
    return operator.index(number)


def condition(cond_fun: Callable[[Any], Any], state: Any) -> Any:
    """Return cond_fun(state); if it compares Values, add to the error how to write a condition."""
    try:
        return cond_fun(state)
    except TypeError as error:
        error.add_note(
            "a condition of while_loop is a Value that is positive where the loop goes on: 9 - x for x < 9"
        )
        raise


def checked(state: Any, shape: Nest, name: str) -> list[Value]:
    """Return the leaves of a state as Values; TypeError if it has not this shape."""
    found = nest_of(state)
    if found != shape and found != (given := without_arrays(shape)):
        raise TypeError(f"{name} was given the state {described(given)}, and returns {described(found)}")
    return [as_value(leaf, f"the state that {name} returns") for leaf in leaves_of(state)]


# The inputs of the steps.


def sources_of(xs: Any, name: str) -> tuple[Nest, list[Source]]:
    """Return the shape of an x, and the Source of each of its leaves."""
    if xs is None or isinstance(xs, (tuple, dict)):
        found = parts_of(xs)
        assert found is not None
        kind, keys, parts = found
        for part in parts:
            if isinstance(part, Value) or not (hasattr(part, "__len__") or hasattr(part, "__iter__")):
                raise TypeError(
                    f"the xs of {name} are a {kind.__name__}, which has a list of all steps at each place, "
                    f"not a {type(part).__name__}: give a list for one x a step"
                )
        inside = [sources_of(part, name) for part in parts]
        return Nest(kind, keys, tuple([shape for shape, _ in inside])), [
            s for _, each in inside for s in each
        ]
    if isinstance(xs, Steps):
        return LEAF, [source_of(xs)]
    if isinstance(xs, (Value, str)) or not (hasattr(xs, "__iter__") or hasattr(xs, "tolist")):
        raise TypeError(f"the xs of {name} are a list or an array, not {type(xs).__name__}")
    elements = items_of(xs) if hasattr(xs, "tolist") else list(xs)
    if not isinstance(elements, list):
        raise TypeError(f"the xs of {name} are a list or an array, not a single number")
    if are_leaves(elements):
        return LEAF, [source_of(elements)]
    shapes = list(map(nest_of, elements))
    for step, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise TypeError(
                f"the x of {name} is {described(shapes[0])} in step 0 and {described(shape)} in step {step}"
            )
    leaves = [list(leaves_of(element)) for element in elements]
    row = xs[0] if getattr(xs, "ndim", 1) > 1 else elements[0]
    return with_arrays(row), [source_of(list(each)) for each in zip(*leaves, strict=True)]


def are_leaves(elements: list[Any]) -> bool:
    # There may be 100,000 of a few classes.
    return all(issubclass(kind, (Value, float, int)) for kind in set(map(type, elements)))


def source_of(elements: Sequence[Any]) -> Source:
    if isinstance(elements, Steps):
        if elements.level is level and len(elements):
            return Source(elements, made=elements)
        # Results of a loop outside of the step that is traced: the step takes them as numbers from outside.
        return Source(list(elements))
    return Source(elements, columns=columns_of_argument(elements))


def steps_of(sources: list[Source], length: int | None, name: str) -> int:
    """Return the number of steps; ValueError if it is not the same for all."""
    lengths = {len(source.elements) for source in sources}
    if length is not None:
        lengths.add(integer(length, f"the length of {name}'s loop"))
    if not lengths:
        raise ValueError(f"scan of {name} needs xs, or a length")
    if len(lengths) > 1:
        raise ValueError(f"the xs of {name} differ in length: {', '.join(map(str, sorted(lengths)))}")
    (steps,) = lengths
    if steps < 0:
        raise ValueError(f"the length of {name}'s loop must not be negative: {steps}")
    return steps


def x_of(element: Any) -> Any:
    """Return an input as the step gets it: an integer may be an index for `take`."""
    return Value(element) if isinstance(element, float) else element


def apart(leaves: list[Value], begun: int) -> list[Value]:
    """Return Values of the same numbers, of which each is the loop's own and none is there twice.

    In a step, the derivative by a number of its state is the partial one, as in a compiled loop, even if the
    step uses the Value that the state began with, or that another number of the state is.

    begun: the age of a Value from just before the loop.
    """
    if min(map(_age, leaves), default=begun) >= begun and len(set(map(id, leaves))) == len(leaves):
        return leaves
    taken: set[int] = set()
    found = []
    for leaf in leaves:
        if type(leaf) is Value and (_age(leaf) < begun or id(leaf) in taken):
            leaf = apply("mul", leaf, 1.0)
        taken.add(id(leaf))
        found.append(leaf)
    return found


# The eager loop.


def repeated(
    f: Callable[[Any, Any], tuple[Any, Any]],
    name: str,
    kept: Nest,
    leaves: list[Value],
    shape: Nest,
    sources: list[Source],
    steps: int,
    reverse: bool,
) -> tuple[Any, Any]:
    """Return what scan does, by a plain loop."""
    made: list[list[Any]] = []
    y_shape: Nest | None = None
    begun = _age(Value(0.0))
    for step in reversed(range(steps)) if reverse else range(steps):
        x = rebuilt(shape, iter([x_of(source.elements[step]) for source in sources]))
        state, y = returned(f(rebuilt(kept, iter(apart(leaves, begun))), x), name)
        leaves = checked(state, kept, name)
        found = nest_of(y)
        if y_shape is not None and found != y_shape:
            raise TypeError(
                f"{name} makes {described(y_shape)} in one step and {described(found)} in another"
            )
        y_shape = found
        made.append([as_value(leaf, f"what {name} makes") for leaf in leaves_of(y)])
    if reverse:
        made.reverse()
    if y_shape is None:
        return rebuilt(kept, iter(leaves)), []
    return rebuilt(kept, iter(leaves)), rebuilt(
        y_shape, iter([list(each) for each in zip(*made, strict=True)])
    )


def returned(pair: Any, name: str) -> tuple[Any, Any]:
    """Return the state and the y that a step returned; TypeError if it did not return two things."""
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        shown = f"{len(pair)} things" if isinstance(pair, (tuple, list)) else f"a {type(pair).__name__}"
        raise TypeError(
            f"{name} must return two things, a state and what the step makes (or None): not {shown}"
        )
    return pair[0], pair[1]


# In a function that is compiled.


def traced(
    f: Callable[[Any, Any], tuple[Any, Any]],
    name: str,
    kept: Nest,
    first: list[Value],
    shape: Nest,
    sources: list[Source],
    steps: int,
    reverse: bool,
) -> tuple[Any, Any]:
    """Return what scan does, as the results of one node."""
    global level
    outer = level
    level = object()
    try:
        states = [placeholder("real", f"the state of {name} in a loop") for _ in first]
        inputs = [placeholder(kind_of(source, name), f"the x of {name} in a loop") for source in sources]
        state, y = returned(f(rebuilt(kept, iter(states)), rebuilt(shape, iter(inputs))), name)
        outputs = checked(state, kept, name)
        made = [as_value(leaf, f"what {name} makes") for leaf in leaves_of(y)]
        records = body_of(outputs + made, states + inputs)
    finally:
        level = outer
    places = {id(value): (-2, number) for number, value in enumerate(states)}
    places |= {id(value): (-3, number) for number, value in enumerate(inputs)}
    outside = [leaf for leaf in records.leaves if id(leaf) not in places]
    places |= {id(value): (-1, number) for number, value in enumerate(outside)}
    # A node without operands would be a leaf.
    outside = outside or [Value(0.0)]
    operands = [*first, *outside]
    given: list[tuple[int, int, int, int, int]] = []
    for source in sources:
        if source.made is not None:
            order = source.made.steps[::-1] if reverse else source.made.steps
            given.append((2, len(operands), source.made.number, order.start, order.step))
            operands.append(source.made.node)
        elif source.columns is not None:
            argument, start, stride = source.columns
            given.append(
                (0, argument, 0, *((start + (steps - 1) * stride, -stride) if reverse else (start, stride)))
            )
        else:
            given.append((1, len(operands), 0, 0, 1))
            elements = [as_value(element, f"the x of {name}") for element in source.elements]
            operands += elements[::-1] if reverse else elements
    repeat = Repeat(
        name, records, places, steps, len(states), len(outside), len(made), given, sources, reverse, level
    )
    node = Value(float("nan"), operands, repeat)  # type: ignore[arg-type]
    _make_unknown(node, "a loop")
    last = rebuilt(kept, iter([result(node, number) for number in range(len(states))]))
    ys = [Steps(node, number, order_of(repeat), level, {}) for number in range(len(made))]
    return last, rebuilt(nest_of(y), iter(ys))


def kind_of(source: Source, name: str) -> str:
    """Return the kind of an input: an index or a real number."""
    some = source.elements if source.columns is None else source.elements[:1]
    indices = [isinstance(element, Index) for element in some] if source.made is None else []
    if not indices or not all(indices):
        # Among elements that are no indices, an index counts as a number.
        return "real"
    if source.columns is None:
        raise _refused(
            f"the x of {name} is an index: it must be a column of one argument in every step, at equal "
            "distances"
        )
    return "index"


def body_of(outputs: list[Value], given: list[Value]) -> Records:
    """Return the graph of a step: the nodes that depend on its state or inputs. Others are from outside."""
    inside = {id(value) for value in given}
    needed = {id(output) for output in outputs}
    order = _graph_order(outputs)
    computed: set[int] = set()
    for node in order:
        operands = _operands_in_trace(node)
        if operands:
            computed.add(id(node))
        if not inside.isdisjoint(map(id, operands)) or selects_by(node, inside):
            inside.add(id(node))
            needed.add(id(node))
            needed.update(map(id, operands))
    kept = [node for node in order if id(node) in needed]
    return read_records(outputs, kept, computed - inside)


def selects_by(node: Value, given: set[int]) -> bool:
    """Return whether the index of a node of `take`, which is no operand, is among these."""
    symbol: object = node._op
    return isinstance(symbol, Selection) and id(symbol.index) in given


def order_of(repeat: Repeat) -> range:
    """Return the steps in the order of a loop's lists."""
    return range(repeat.steps)[::-1] if repeat.reverse else range(repeat.steps)
