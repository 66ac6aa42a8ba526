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


# A leaf has no operands and its number in the place of detail, a constant its value; a `take`, a loop or its
# result what is equal for equal ones, see `key_of`.
Node = tuple[str, tuple[int, ...], Any]


class Simplifier:
    """The new nodes, each of which is another one."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.numbers: dict[Any, int] = {}

    def add(self, name: str, operands: tuple[int, ...] = (), detail: Any = None) -> int:
        """Return the number of a node, which may be there already."""
        key: Any = name, operands, detail
        if name in ("add", "mul"):
            key = name, tuple(sorted(operands)), detail
        if name == "constant":
            # 0.0 and -0.0 are equal, and nan is not.
            key = name, detail.hex()
        if key not in self.numbers:
            self.numbers[key] = len(self.nodes)
            self.nodes.append((name, operands, detail))
        return self.numbers[key]

    def constant(self, node: int) -> float | None:
        name, _, detail = self.nodes[node]
        return detail if name == "constant" else None

    def operation(self, name: str, operands: tuple[int, ...], detail: Any) -> int:
        """Return the number of an operation, or of what has the same value for all operands."""
        known = [self.constant(operand) for operand in operands]
        if name in BY_NAME and None not in known:
            value = _number_of(name, *known)  # type: ignore[arg-type]
            if math.isfinite(value):
                return self.add("constant", detail=value)
        if name == "mul" and any(number is not None for number in known):
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
    for at in range(0, len(numbers), 3):
        row, first, second = numbers[at : at + 3]
        name = NAMES[row]
        detail: Any = None
        if name == "leaf":
            new.append(simplifier.add(name, (), first))
            continue
        if name == "constant":
            new.append(simplifier.add(name, (), graph.constants[first]))
            continue
        if name in BY_NAME and BY_NAME[name].operands < 3:
            given: Sequence[int] = (first, second)[: BY_NAME[name].operands]
        else:
            given = operands[first : first + second]
        if name in ("take", "loop", "result"):
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
    needed = set(outputs)
    for number in range(len(nodes) - 1, -1, -1):
        if number in needed:
            needed.update(nodes[number][1])
    places: dict[int, int] = {}
    records, operands = array("i"), array("i")
    found = Records(b"", b"", [], [], [], [])
    for number in sorted(needed):
        name, given, detail = nodes[number]
        fields = [places[each] for each in given]
        if name == "leaf":
            fields = [len(found.leaves), 0]
            found.leaves.append(graph.leaves[detail])
        elif name == "constant":
            fields = [len(found.constants), 0]
            found.constants.append(detail)
        elif name not in BY_NAME or BY_NAME[name].operands > 2:
            if name in ("take", "loop", "result"):
                fields.insert(0, len(found.symbols))
                found.symbols.append(symbols[detail])
            start = len(operands)
            operands.extend(fields)
            fields = [start, len(fields)]
        elif len(fields) == 1:
            fields.append(0)
        places[number] = len(places)
        records.extend([OPERATION_ROWS[name], *fields])
    return found._replace(
        records=records.tobytes(),
        operands=operands.tobytes(),
        outputs=[places[output] for output in outputs],
    )
