"""Fewer records for the graph of a function that takes derivatives: these repeat much of it.

What is equal is computed once, what follows from constants is one, and what no output needs is left out.
Other functions keep their graph, and with it the bits of their gradients.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import Any

from fastgrad.compiler.graph import OPERATION_ROWS
from fastgrad.compiler.tracing import Records, Repeat, Selection
from fastgrad.engine import _number_of
from fastgrad.operations import BY_NAME

__all__ = ["simplified"]

NAMES = {row: name for name, row in OPERATION_ROWS.items()}
WITH_SYMBOLS = ("take", "loop", "result")
# How many operands the record of a row holds itself; those of other rows are in a list.
COUNTS = {OPERATION_ROWS[name]: row.operands for name, row in BY_NAME.items() if row.operands < 3}


# A leaf has no operands and its number in the place of detail, a constant its value; a `take`, a loop or its
# result what is equal for equal ones, see `key_of`.
Node = tuple[str, tuple[int, ...], Any]


class Simplifier:
    """The new nodes, each of which is another one."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.numbers: dict[Any, int] = {}
        # Of each node: its number if it is a constant.
        self.constants: list[float | None] = []

    def add(self, name: str, operands: tuple[int, ...] = (), detail: Any = None) -> int:
        """Return the number of a node, which may be there already."""
        key: Any = name, operands, detail
        if (name == "add" or name == "mul") and operands[0] > operands[1]:
            key = name, (operands[1], operands[0]), detail
        elif name == "constant":
            # 0.0 and -0.0 are equal, and nan is not.
            key = name, detail.hex()
        new = len(self.nodes)
        found = self.numbers.setdefault(key, new)
        if found == new:
            self.nodes.append((name, operands, detail))
            self.constants.append(detail if name == "constant" else None)
        return found

    def constant(self, node: int) -> float | None:
        return self.constants[node]

    def operation(self, name: str, operands: tuple[int, ...], detail: Any) -> int:
        """Return the number of an operation, or of what has the same value for all operands."""
        constants = self.constants
        for operand in operands:
            if constants[operand] is not None:
                return self.folded(name, operands, detail)
        return self.selection(*operands) if name == "where" else self.add(name, operands, detail)

    def folded(self, name: str, operands: tuple[int, ...], detail: Any) -> int:
        """Return the same of an operation with a constant among its operands."""
        known = [self.constants[operand] for operand in operands]
        if name in BY_NAME and None not in known:
            value = _number_of(name, *known)  # type: ignore[arg-type]
            if math.isfinite(value):
                return self.add("constant", detail=value)
        if name == "mul":
            return self.multiple(*operands)
        if name == "div" and known[1] == 1.0:
            return operands[0]
        if name == "where":
            return self.selection(*operands)
        return self.add(name, operands, detail)

    def multiple(self, left: int, right: int) -> int:
        """Return a product with a constant: (x * c) * d is x * (c * d)."""
        x, factor = (
            (left, self.constant(right)) if self.constant(left) is None else (right, self.constant(left))
        )
        assert factor is not None
        if factor == 1.0:
            return x
        name, operands, _ = self.nodes[x]
        if name == "mul":
            for inner, other in (operands, operands[::-1]):
                number = self.constant(other)
                # Neither overflow nor underflow, where the order of the products would matter.
                if number is not None and 1e-100 < abs(number * factor) < 1e100:
                    return self.multiple(inner, self.add("constant", detail=number * factor))
        return self.add("mul", (x, self.add("constant", detail=factor)))

    def selection(self, condition: int, then: int, other: int) -> int:
        """Return what a condition selects, which may be another's answer in numbers, or known."""
        sign = self.constant(condition)
        if sign is not None:
            return then if sign > 0.0 else other
        then, other = self.given(condition, then, 1), self.given(condition, other, 2)
        if then == other:
            return then
        name, operands, _ = self.nodes[condition]
        if name == "where":
            holds, fails = self.constant(operands[1]), self.constant(operands[2])
            if holds is not None and fails is not None and (holds > 0.0) != (fails > 0.0):
                return self.selection(operands[0], *((then, other) if holds > 0.0 else (other, then)))
        return self.add("where", (condition, then, other))

    def given(self, condition: int, node: int, side: int) -> int:
        """Return what a node is where the condition holds (1), or does not (2)."""
        while self.selects(condition, node):
            node = self.nodes[node][1][side]
        name, operands, detail = self.nodes[node]
        if name == "mul" and any(self.selects(condition, each) for each in operands):
            chosen = [
                self.nodes[each][1][side] if self.selects(condition, each) else each for each in operands
            ]
            return self.operation(name, tuple(chosen), detail)
        return node

    def selects(self, condition: int, node: int) -> bool:
        name, operands, _ = self.nodes[node]
        return name == "where" and operands[0] == condition


def simplified(graph: Records) -> Records:
    """Return a graph with the same outputs."""
    simplifier = Simplifier()
    numbers = array("i", graph.records)
    operands = array("i", graph.operands)
    keys = [key_of(symbol) for symbol in graph.symbols]
    symbols = dict(zip(keys, graph.symbols, strict=True))
    new: list[int] = []
    for row, first, second in zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True):
        name = NAMES[row]
        detail: Any = None
        if name == "leaf":
            new.append(simplifier.add(name, (), first))
            continue
        if name == "constant":
            new.append(simplifier.add(name, (), graph.constants[first]))
            continue
        count = COUNTS.get(row)
        if count == 1:
            new.append(simplifier.operation(name, (new[first],), None))
            continue
        if count == 2:
            new.append(simplifier.operation(name, (new[first], new[second]), None))
            continue
        given: Sequence[int] = operands[first : first + second]
        if name in WITH_SYMBOLS:
            detail, given = keys[given[0]], given[1:]
        new.append(simplifier.operation(name, tuple(new[each] for each in given), detail))
    return written(graph, simplifier.nodes, [new[output] for output in graph.outputs], symbols)


def key_of(symbol: Any) -> tuple[str, int]:
    """Return what is equal for symbols that make the same node of the same operands."""
    if isinstance(symbol, Selection):
        return "take", id(symbol.index)
    return ("loop", id(symbol)) if isinstance(symbol, Repeat) else ("result", symbol.number)


def written(graph: Records, nodes: list[Node], outputs: list[int], symbols: dict[Any, Any]) -> Records:
    """Return the records of the nodes that the outputs need."""
    needed = bytearray(len(nodes))
    for output in outputs:
        needed[output] = True
    for number in range(len(nodes) - 1, -1, -1):
        if needed[number]:
            for operand in nodes[number][1]:
                needed[operand] = True
    # The number of each node's record.
    places = [0] * len(nodes)
    count = 0
    records: list[int] = []
    operands = array("i")
    found = Records(b"", b"", [], [], [], [])
    for number, (name, given, detail) in enumerate(nodes):
        if not needed[number]:
            continue
        row = OPERATION_ROWS[name]
        first, second = 0, 0
        if row in COUNTS:
            first = places[given[0]]
            second = places[given[1]] if len(given) == 2 else 0
        elif name == "leaf":
            first = len(found.leaves)
            found.leaves.append(graph.leaves[detail])
        elif name == "constant":
            first = len(found.constants)
            found.constants.append(detail)
        else:
            first = len(operands)
            if name in WITH_SYMBOLS:
                operands.append(len(found.symbols))
                found.symbols.append(symbols[detail])
            operands.extend([places[each] for each in given])
            second = len(operands) - first
        places[number] = count
        count += 1
        records += (row, first, second)
    return found._replace(
        records=array("i", records).tobytes(),
        operands=operands.tobytes(),
        outputs=[places[output] for output in outputs],
    )
