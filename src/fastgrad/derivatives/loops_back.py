"""The derivative of a loop that is compiled: another loop, over the same steps from the last to the first.

Its inputs are the states before each step, which a copy of the loop computes again; the loop's own inputs;
and the derivatives by the ys, the numbers that each step makes. Its state holds the derivatives by the loop's
state, and the sums of the derivatives by the numbers that the step takes from outside.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

from fastgrad.compiler import scanning, tracing
from fastgrad.compiler.graph import OPERATION_ROWS
from fastgrad.compiler.nests import LEAF, Nest
from fastgrad.compiler.scanning import Made, Source, Steps, order_of, traced
from fastgrad.compiler.tracing import Index, Repeat, Selection, take
from fastgrad.derivatives.expressions import Scalar
from fastgrad.engine import Value, _dot, _given, _make_unknown, _reduce, apply
from fastgrad.operations import BY_NAME

__all__ = ["Received", "columns_of", "is_loop", "loop_of_result", "loops_back"]

NAMES = {row: name for name, row in OPERATION_ROWS.items()}
# The chain rule within a step, reverse.pull_back: takes outputs, their seeds and xs, returns the derivatives
# by xs.
PullBack = Callable[[list[Value], list[Scalar], list[Value]], list[Value]]


class Received:
    """The gradients that a loop has received: parts by number of the result, and whole lists for its ys."""

    def __init__(self) -> None:
        self.results: dict[int, list[Scalar]] = {}
        self.lists: dict[int, list[Sequence[Scalar]]] = {}

    def add(self, number: int, part: Scalar) -> None:
        """Add a part to the gradient of a result."""
        self.results.setdefault(number, []).append(part)


def is_loop(node: Value) -> bool:
    """Return whether a node is a loop."""
    return type(node._op) is Repeat


def loop_of_result(node: Value, operands: Sequence[Value]) -> tuple[Value, int] | None:
    """Return the loop and the number of a result; None for other nodes."""
    symbol: object = node._op
    return (operands[0], symbol.number) if type(symbol) is Made else None


def columns_of(node: Value) -> list[Value]:
    """Return the columns of arguments that are inputs of a loop; they are no operands of its node."""
    repeat: Repeat = node._op
    found: list[Value] = []
    for source in repeat.sources:
        if source.columns is not None:
            argument, first, stride = source.columns
            found += [tracing.argument_rows[argument][first + stride * step] for step in range(repeat.steps)]
    return found


def loops_back(
    node: Value, operands: Sequence[Value], received: Received, active: set[int], pull_back: PullBack
) -> tuple[list[tuple[Value, Scalar]], list[tuple[Value, int, Steps, range]]]:
    """Return the gradients that a loop gives to its operands and columns, and those to the ys of other loops.

    The latter are (other loop, number of the y, derivatives, the other loop's steps that they belong to).
    """
    repeat: Repeat = node._op
    states, outside = repeat.states, repeat.outside
    last = [sum_of(received.results.get(number, [])) for number in range(states)]
    order = order_of(repeat)
    before = states_before(node, operands, repeat)
    sources = [*before, *repeat.sources]
    # For each y: single derivatives gathered in one list; whole lists as they are.
    weights: list[int] = []
    for number in range(repeat.makes):
        parts: dict[int, list[Scalar]] = {}
        for key, each in received.results.items():
            if key >= states and (key - states) % repeat.makes == number:
                parts[(key - states) // repeat.makes] = each
        lists = list(received.lists.get(number, []))
        if parts:
            lists.append([sum_of(parts.get(step, [])) for step in order])
        for each_list in lists:
            made = each_list if isinstance(each_list, Steps) and each_list.level is repeat.level else None
            sources.append(Source(each_list if made else list(each_list), made=made))
            weights.append(number)
    needed = {output_of(repeat, number) for number in received.results} | {states + at for at in weights}
    read, used = read_by(repeat, needed)
    kept = [at for at in range(outside) if id(operands[states + at]) in active and (-1, at) in used]
    wanted = [
        at for at, source in enumerate(repeat.sources) if is_wanted(source, active) and (-3, at) in used
    ]

    def step(state: Any, x: Any) -> tuple[Any, Any]:
        derivatives, sums = state[:states], state[states:]
        given = list(x[: len(before)])
        inputs = list(x[len(before) : len(before) + len(repeat.sources)])
        made = x[len(before) + len(repeat.sources) :]
        # A proxy stands for each number from outside, so that the chain rule ends there.
        proxies = [
            apply("mul", operands[states + at], 1.0) if at in kept else operands[states + at]
            for at in range(outside)
        ]
        outputs = instantiated(repeat, given, inputs, proxies)
        seeds: list[list[Scalar]] = [[each] for each in derivatives] + [[] for _ in range(repeat.makes)]
        for number, each in zip(weights, made, strict=True):
            seeds[states + number].append(each)
        by = [*given, *[proxies[at] for at in kept], *[inputs[at] for at in wanted]]
        found = pull_back([outputs[at] for at in read], [sum_of(seeds[at]) for at in read], by)
        after = [
            sum_of([one, other]) for one, other in zip(sums, found[states : states + len(kept)], strict=True)
        ]
        return found[:states] + [as_value(each) for each in after], found[states + len(kept) :]

    first = [as_value(each) for each in [*last, *[0.0] * len(kept)]]
    found, lists = traced(
        step,
        f"the derivative of {repeat.name}",
        Nest(list, (), (LEAF,) * len(first)),
        first,
        Nest(tuple, (), (LEAF,) * len(sources)),
        sources,
        repeat.steps,
        not repeat.reverse,
    )
    shares: list[tuple[Value, Scalar]] = [(operands[at], found[at]) for at in read if at < states]
    shares += [(operands[states + at], each) for at, each in zip(kept, found[states:], strict=True)]
    passed: list[tuple[Value, int, Steps, range]] = []
    for at, derivatives in zip(wanted, lists, strict=True):
        source = repeat.sources[at]
        if source.made is not None:
            passed.append((source.made.node, source.made.number, derivatives, source.made.steps))
        else:
            shares += [
                (element, derivatives[place])
                for place, element in enumerate(source.elements)
                if isinstance(element, Value) and id(element) in active
            ]
    return shares, passed


def sum_of(parts: Sequence[Scalar]) -> Scalar:
    """Return the sum of the parts; those that are 0 add nothing."""
    found: Scalar = 0.0
    for part in parts:
        if isinstance(part, Value) or part != 0.0:
            found = part if isinstance(found, float) and found == 0.0 else apply("add", found, part)
    return found


def as_value(scalar: Scalar) -> Value:
    return scalar if isinstance(scalar, Value) else Value(scalar)


def is_wanted(source: Source, active: set[int]) -> bool:
    if source.made is not None:
        return id(source.made.node) in active
    return any(isinstance(element, Value) and id(element) in active for element in source.elements)


def states_before(node: Value, operands: Sequence[Value], repeat: Repeat) -> list[Source]:
    """Return the states before each step, as the ys of a copy of this loop."""
    numbers = {place[1]: at for at, place in enumerate_leaves(repeat) if place[0] == -2}
    records = repeat.records
    # A state that the step does not read has no record, and is not needed.
    outputs = [*records.outputs, *[numbers[at] for at in range(repeat.states) if at in numbers]]
    more = copy(repeat)
    more.records, more.makes = records._replace(outputs=outputs), len(outputs) - repeat.states
    again = Value(float("nan"), operands, more)  # type: ignore[arg-type]
    _make_unknown(again, "a loop")
    found: list[Source] = []
    next_number = repeat.makes
    for at in range(repeat.states):
        if at in numbers:
            made = Steps(again, next_number, order_of(repeat), repeat.level, {})
            found.append(Source(made, made=made))
            next_number += 1
        else:
            found.append(Source([0.0] * repeat.steps))
    return found


def read_by(repeat: Repeat, outputs: set[int]) -> tuple[list[int], set[tuple[int, int]]]:
    """Return the outputs of the step that pass a derivative on, and the places that they are computed from.

    These are the given outputs and the states that they depend on. Others must not take part: 0 times a
    derivative that is not finite is nan.
    """
    body = repeat.loop(tracing.argument_places).body
    return body._read_by(outputs)


def output_of(repeat: Repeat, number: int) -> int:
    """Return the number of the step's output that a result of a loop comes from."""
    states = repeat.states
    return number if number < states else states + (number - states) % repeat.makes


def enumerate_leaves(repeat: Repeat) -> list[tuple[int, tuple[int, int]]]:
    """Return the number of each record that is a leaf, with the leaf's place."""
    numbers = array("i", repeat.records.records)
    leaf = OPERATION_ROWS["leaf"]
    return [
        (at // 3, repeat.places[id(repeat.records.leaves[numbers[at + 1]])])
        for at in range(0, len(numbers), 3)
        if numbers[at] == leaf
    ]


def instantiated(
    repeat: Repeat, states: Sequence[Value], inputs: Sequence[Value], outside: Sequence[Value]
) -> list[Value]:
    """Return the outputs of a loop's step, computed from these Values."""
    records = repeat.records
    numbers, listed = array("i", records.records), array("i", records.operands)
    given: dict[int, Sequence[Value]] = {-1: outside, -2: states, -3: inputs}
    nodes: list[Any] = []
    for at in range(0, len(numbers), 3):
        row, first, second = numbers[at : at + 3]
        name = NAMES[row]
        if name == "leaf":
            place, number = repeat.places[id(records.leaves[first])]
            nodes.append(given[place][number])
        elif name == "constant":
            nodes.append(records.constants[first])
        elif name in BY_NAME and BY_NAME[name].operands < 3:
            nodes.append(operation(name, [nodes[each] for each in (first, second)[: BY_NAME[name].operands]]))
        elif name in ("take", "loop", "result"):
            symbol = records.symbols[listed[first]]
            operands = [nodes[each] for each in listed[first + 1 : first + second]]
            nodes.append(with_symbol(repeat, symbol, operands, inputs))
        else:
            operands = [nodes[each] for each in listed[first : first + second]]
            nodes.append(many(name, operands, records.rules.get(at // 3)))
    return [as_value(nodes[output]) for output in records.outputs]


def operation(name: str, operands: list[Any]) -> Value:
    if not any(isinstance(operand, Value) for operand in operands):
        operands[0] = Value(operands[0])
    return apply(name, *operands)


def many(name: str, operands: list[Any], rule: Any) -> Value:
    """Return an operation of three or any number of operands; of given derivatives, with their rule."""
    if name in BY_NAME:
        return operation(name, operands)
    operands = [as_value(operand) for operand in operands]
    if name == "local":
        return _given(operands[0], tuple(operands[1::2]), tuple(operands[2::2]), rule)
    if name == "inner":
        bias = operands[-1] if len(operands) % 2 else None
        return _dot(operands[0 : len(operands) - 1 : 2], operands[1::2], bias)
    return _reduce(name, operands)


def with_symbol(repeat: Repeat, symbol: Any, operands: list[Any], inputs: Sequence[Value]) -> Value:
    """Return a node of `take`, a loop within the step, or a result of one."""
    if isinstance(symbol, Selection):
        place = repeat.places.get(id(symbol.index))
        index = symbol.index if place is None else inputs[place[1]]
        assert isinstance(index, Index)
        found: Value = take(operands, index)
        return found
    operands = [as_value(operand) for operand in operands]
    if isinstance(symbol, Repeat):
        symbol = with_operands(symbol, operands)
    node = Value(float("nan"), operands, symbol)
    _make_unknown(node, "a loop")
    return node


def with_operands(repeat: Repeat, operands: list[Value]) -> Repeat:
    """Return a loop whose inputs are among these operands."""
    again = copy(repeat)
    again.sources, again.level = [], scanning.level
    for (kind, place, number, _, _), source in zip(repeat.inputs, repeat.sources, strict=True):
        if kind == 1:
            elements = operands[place : place + repeat.steps]
            again.sources.append(Source(elements[::-1] if repeat.reverse else elements))
        elif kind == 2:
            made = Steps(operands[place], number, source.made.steps, again.level, {})
            again.sources.append(Source(made, made=made))
        else:
            again.sources.append(source)
    return again
