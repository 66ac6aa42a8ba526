"""The nodes below a root, in a fixed order and up to a limit."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fastgrad.engine import Value

__all__ = ["TooManyNodesError", "walk"]


class TooManyNodesError(ValueError):
    """A graph is larger than the limit given for it."""


def walk(root: Value, operands: Callable[[Value], Iterable[Value]], limit: int | None) -> list[Value]:
    """Return the nodes below a root, operands before results; the order is that of the operands.

    Raises TooManyNodesError as soon as there are more than `limit`.
    """
    order: dict[Value, None] = {}
    met = {root}
    waiting = [(root, iter(operands(root)))]
    while waiting:
        node, rest = waiting[-1]
        operand = next((operand for operand in rest if operand not in met), None)
        if operand is None:
            order[node] = None
            waiting.pop()
            continue
        met.add(operand)
        if limit is not None and len(met) > limit:
            raise TooManyNodesError(
                f"the graph below {root!r} has more than {limit} nodes, too many to look at; "
                f"draw a part of it, or give a larger limit"
            )
        waiting.append((operand, iter(operands(operand))))
    return list(order)
