"""The chain rule over a graph, in the order of backward(), with Values for numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, overload

from fastgrad.derivatives.expressions import Rule, Scalar, rules
from fastgrad.engine import Value, _chain_rule, _is_tracing, _reduce, apply

if TYPE_CHECKING:
    from fastgrad.compiler.tracing import Repeat
    from fastgrad.derivatives import loops_back

__all__ = ["grad", "pull_back"]


@overload
def grad(y: Value, xs: Value) -> Value: ...
@overload
def grad(y: Value, xs: Iterable[Value]) -> list[Value]: ...
def grad(y: Value, xs: Value | Iterable[Value] | None = None) -> Value | list[Value]:
    """Return dy/dx for each x, as Values that can be differentiated again; no node's `grad` changes.

    xs: one Value, for one derivative, or several, for a list of them. They may be leaves or computed; an x
    that y does not depend on gets 0. Operands that `where`, `maximum` and `minimum` did not choose are not
    reached, as in backward(). This is torch's `autograd.grad(y, xs, create_graph=True)`.

    Raises TypeError if y or an x is no Value, and for a node in between whose `_backward` is Python code,
    which computes numbers only.

    >>> x = Value(2.0)
    >>> first = grad(x**3, x)
    >>> first.data, grad(first, x).data, x.grad
    (12.0, 12.0, 0.0)
    """
    if not isinstance(y, Value):
        hint = ": call it, or take derivatives.jacobian, jvp or vjp" if callable(y) else ""
        raise TypeError(f"grad differentiates a Value, not {type(y).__name__}{hint}")
    if xs is None:
        raise TypeError("grad(y, xs) needs the Values that y is differentiated by")
    if isinstance(xs, Value):
        return pull_back([y], [1.0], [xs])[0]
    if not hasattr(xs, "__iter__"):
        hint = ": give its .parameters()" if hasattr(xs, "parameters") else ""
        raise TypeError(f"grad is by a Value or a list of Values, not by {type(xs).__name__}{hint}")
    return pull_back([y], [1.0], list(xs))


def pull_back(outputs: list[Value], seeds: list[Scalar], xs: list[Value]) -> list[Value]:
    """Return for each x the sum over the outputs of seed * d output / dx, as new Values."""
    for x in xs:
        if not isinstance(x, Value):
            raise TypeError(f"the derivative is by a Value, not by {type(x).__name__}")
    if not _is_tracing():
        return _chain_rule(outputs, seeds, xs, rules, choices)
    from fastgrad.compiler.tracing import note_derivatives

    note_derivatives()
    return _chain_rule(outputs, seeds, xs, rules_in_trace, choices, Reached, LoopsBack())


def rules_in_trace(name: str) -> tuple[Rule | float | int, ...]:
    return rules(name, tracing=True)


class LoopsBack:
    """The loops of a function that is traced, and the gradients that each has received; see loops_back.py."""

    def __init__(self) -> None:
        from fastgrad.compiler.scanning import order_of
        from fastgrad.derivatives import loops_back

        self.of = loops_back
        self.order_of = order_of
        self.received: dict[int, loops_back.Received] = {}

    def is_loop(self, node: Value) -> bool:
        return self.of.is_loop(node)

    def columns(self, node: Value) -> list[Value]:
        return self.of.columns_of(node)

    def of_loop(self, node: Value) -> loops_back.Received:
        return self.received.setdefault(id(node), self.of.Received())

    def takes(self, node: Value, operands: tuple[Value, ...], upstream: Scalar) -> bool:
        """If the node is a loop's result, keep its gradient for the loop; return whether it is one."""
        found = self.of.loop_of_result(node, operands)
        if found is not None:
            self.of_loop(found[0]).add(found[1], upstream)
        return found is not None

    def shares(
        self, node: Value, operands: tuple[Value, ...], active: set[int]
    ) -> list[tuple[Value, Scalar]]:
        """Return the gradients of a loop's operands and columns; keep those of other loops for them."""
        received = self.received.pop(id(node), None)
        if received is None:
            return []
        shares, passed = self.of.loops_back(node, operands, received, active, pull_back)
        for other, number, derivatives, steps in passed:
            repeat: Repeat = other._op
            if steps == self.order_of(repeat):
                self.of_loop(other).lists.setdefault(number, []).append(derivatives)
            elif steps == self.order_of(repeat)[::-1]:
                self.of_loop(other).lists.setdefault(number, []).append(derivatives[::-1])
            else:
                for place, step in enumerate(steps):
                    result = repeat.states + step * repeat.makes + number
                    self.of_loop(other).add(result, derivatives[place])
        return [(operand, part) for operand, part in shares if id(operand) in active]


class Reached:
    """The condition under which each node is reached during a trace: the program finds out what a row chose.

    The gradient of a node that is not reached is 0, but 0 * inf is nan: so `where` makes the shares that it
    gives 0.
    """

    def __init__(self, outputs: list[Value]) -> None:
        # For each node, conditions of which one must hold; None always holds.
        self.conditions: dict[int, list[Value | None]] = {id(output): [None] for output in outputs}

    def where(self, node: Value) -> Value | None:
        """Return the condition under which a node is reached, made once for all of its operands."""
        conditions = self.conditions[id(node)]
        if len(conditions) > 1:
            known = [condition for condition in conditions if condition is not None]
            joined = _reduce("sum", known) if len(known) == len(conditions) else None
            self.conditions[id(node)] = conditions = [joined]
        return conditions[0]

    def reaches(self, operand: Value) -> None:
        """Note that an operand is reached in any case."""
        self.conditions.setdefault(id(operand), []).append(None)

    def passed_to(
        self, operand: Value, factor: Scalar, chosen: Value | None, node: Value, part: Scalar
    ) -> Scalar:
        """Return a share of a gradient, made 0 where the operand is not reached from this node.

        chosen: for one of several choices, a Value that is positive if it was taken.
        """
        condition = self.where(node)
        if chosen is not None:
            condition = chosen if condition is None else apply("where", condition, chosen, 0.0)
        self.conditions.setdefault(id(operand), []).append(condition)
        if condition is None or part is condition or (chosen is None and not isinstance(factor, Value)):
            return part
        return apply("where", condition, part, 0.0)


def choices(node: Value) -> list[Value]:
    """Return the derivative of `take` by each of its values during a trace: 1 for the chosen one, else 0."""
    from fastgrad.compiler.tracing import Selection, take

    selection = node._op
    if not isinstance(selection, Selection):
        raise TypeError(
            f"grad cannot differentiate the node {selection!r}: it has operands but no derivatives. Write it "
            "with the operations of Value; or give its local derivatives, Value(y, (a,), (dy_da,)), or its "
            "rule, with derivatives.custom_jvp"
        )
    places = range(len(node._children))
    return [take([Value(float(place == each)) for each in places], selection.index) for place in places]
