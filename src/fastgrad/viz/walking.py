"""The nodes below a root, in a fixed order and up to a limit."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fastgrad.engine import Value

__all__ = ["TooManyNodesError", "too_many", "walk"]


class TooManyNodesError(ValueError):
    """A graph is larger than the limit given for it."""


def too_many(root: Value, limit: int) -> TooManyNodesError:
    """Return the error of a graph that is larger than the limit; it says how to see less."""
    return TooManyNodesError(
        f"the graph below {root!r} has more than {limit} nodes, too many to look at: take a part of it, such "
        "as the loss of one row or a neuron's output, or give a larger limit"
    )


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
            raise too_many(root, limit)
        waiting.append((operand, iter(operands(operand))))
    return list(order)
