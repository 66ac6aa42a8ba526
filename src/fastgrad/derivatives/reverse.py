"""The chain rule over a graph, in the order of backward(), with Values for numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeAlias, overload

from fastgrad.derivatives.expressions import Scalar, multiply, rules, total
from fastgrad.engine import Value, _differentiable_parts, _graph_order, _is_tracing, _reduce, apply
from fastgrad.operations import BY_NAME, REDUCTIONS

if TYPE_CHECKING:
    from fastgrad.compiler.tracing import Repeat
    from fastgrad.derivatives import loops_back

__all__ = ["grad", "pull_back"]

REDUCING = {reduction.name for reduction in REDUCTIONS}
# By the kind of a dot product.
ACTIVATIONS = ("", "relu", "tanh", "sigmoid")
CONSTANT_FIRST = 2


# What an operand receives: the operand; its derivative and what the node has received, to be multiplied; and
# of an operand there to be chosen, in a compiled function, what is positive if it was.
Share: TypeAlias = tuple[Value, Scalar, Scalar, Value | None]


@overload
def grad(y: Value, xs: Value) -> Value: ...
@overload
def grad(y: Value, xs: Iterable[Value]) -> list[Value]: ...
def grad(y: Value, xs: Value | Iterable[Value]) -> Value | list[Value]:
    """Return dy/dx for each x, as Values that can be differentiated again; no node's `grad` changes.

    xs: a Value, for one derivative, or Values, for a list of them. They may be leaves or computed; an x that
    y does not depend on gets 0. What `where`, `maximum` and `minimum` did not choose is not reached, as in
    backward(). It is torch's `autograd.grad(y, xs, create_graph=True)`.

    Raises TypeError for what is no Value, and for a node on the way whose `_backward` is Python code: that
    gives numbers.

    >>> x = Value(2.0)
    >>> first = grad(x**3, x)
    >>> first.data, grad(first, x).data, x.grad
    (12.0, 12.0, 0.0)
    """
    if not isinstance(y, Value):
        raise TypeError(f"grad differentiates a Value, not {type(y).__name__}")
    if isinstance(xs, Value):
        return pull_back([y], [1.0], [xs])[0]
    return pull_back([y], [1.0], list(xs))


def pull_back(outputs: list[Value], seeds: list[Scalar], xs: list[Value]) -> list[Value]:
    """Return for each x the sum over the outputs of seed * d output / dx, as new Values."""
    for x in xs:
        if not isinstance(x, Value):
            raise TypeError(f"the derivative is by a Value, not by {type(x).__name__}")
    tracing = _is_tracing()
    if tracing:
        from fastgrad.compiler.tracing import note_derivatives

        note_derivatives()
    order = _graph_order(outputs)
    wanted = {id(x) for x in xs}
    loops = LoopsBack() if tracing else None
    active = dependent(order, wanted, loops)
    received: dict[int, list[Scalar]] = {}
    for output, seed in zip(outputs, seeds, strict=True):
        received.setdefault(id(output), []).append(seed)
    reached = Reached(outputs) if tracing else None
    found: dict[int, Scalar] = {}
    for node in reversed(order):
        if loops is not None and loops.is_loop(node):
            for operand, part in loops.shares(node, active):
                received.setdefault(id(operand), []).append(part)
                if reached is not None:
                    reached.conditions.setdefault(id(operand), []).append(None)
            continue
        parts = received.pop(id(node), None)
        if parts is None or id(node) not in active:
            continue
        upstream = total(parts)
        if id(node) in wanted:
            found[id(node)] = upstream
        if loops is not None and loops.takes(node, upstream):
            continue
        for share in shares(node, upstream, active, tracing):
            operand, factor, by, _ = share
            part = multiply(factor, by)
            if reached is not None:
                part = reached.passed_to(share, node, part)
            if id(operand) in received:
                received[id(operand)].append(part)
            else:
                received[id(operand)] = [part]
    # Arguments that are columns a loop goes over are no operands of it.
    found.update((key, total(parts)) for key, parts in received.items() if key in wanted)
    # No node of the graph itself, and none twice: who sets its data or label would change another.
    taken = set() if tracing else {id(node) for node in order}
    return [new_value(found.get(id(x), 0.0), taken) for x in xs]


def new_value(result: Scalar, taken: set[int]) -> Value:
    if not isinstance(result, Value):
        return Value(result)
    if id(result) in taken:
        return apply("mul", result, 1.0)
    taken.add(id(result))
    return result


def dependent(order: list[Value], wanted: set[int], loops: LoopsBack | None) -> set[int]:
    """Return the ids of the nodes that depend on what is wanted, and of that itself."""
    active = set(wanted)
    for node in order:
        operands: Iterable[Value] = _differentiable_parts(node)[2]
        if loops is not None and loops.is_loop(node):
            operands = [*operands, *loops.columns(node)]
        if not active.isdisjoint(map(id, operands)):
            active.add(id(node))
    return active


class LoopsBack:
    """The loops of a function that is compiled, and what each has received; see loops_back.py."""

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

    def takes(self, node: Value, upstream: Scalar) -> bool:
        """Keep what a loop's result has received for the loop; return whether the node is a result."""
        found = self.of.loop_of_result(node, _differentiable_parts(node)[2])
        if found is not None:
            self.of_loop(found[0]).add(found[1], upstream)
        return found is not None

    def shares(self, node: Value, active: set[int]) -> list[tuple[Value, Scalar]]:
        """Return what the operands of a loop, and its arguments, receive; pass on what other loops do."""
        received = self.received.pop(id(node), None)
        if received is None or id(node) not in active:
            return []
        operands = _differentiable_parts(node)[2]
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
    """Where each node is reached, in a compiled function: what a row chose is known when the program runs.

    Of a node that is not reached the gradient is 0, but 0 * inf is not: its shares are 0 by `where`.
    """

    def __init__(self, outputs: list[Value]) -> None:
        # Conditions, any of which may hold. None always holds.
        self.conditions: dict[int, list[Value | None]] = {id(output): [None] for output in outputs}

    def where(self, node: Value) -> Value | None:
        """Return the condition under which a node is reached, once for all of its shares."""
        conditions = self.conditions[id(node)]
        if len(conditions) > 1:
            known = [condition for condition in conditions if condition is not None]
            joined = _reduce("sum", known) if len(known) == len(conditions) else None
            self.conditions[id(node)] = conditions = [joined]
        return conditions[0]

    def passed_to(self, share: Share, node: Value, part: Scalar) -> Scalar:
        """Return a part that is 0 where the operand is not reached from this node."""
        operand, factor, _, chosen = share
        condition = self.where(node)
        if chosen is not None:
            condition = chosen if condition is None else apply("where", condition, chosen, 0.0)
        self.conditions.setdefault(id(operand), []).append(condition)
        if condition is None or part is condition or (chosen is None and not isinstance(factor, Value)):
            return part
        return apply("where", condition, part, 0.0)


def shares(node: Value, upstream: Scalar, active: set[int], tracing: bool) -> Iterator[Share]:
    """Yield what each operand that is active receives from a node that received `upstream`."""
    operation, kind, operands, detail = _differentiable_parts(node)
    kind &= 3
    if operation == "backward" or (type(node) is not Value and type(node)._backward is not Value._backward):
        raise TypeError(
            f"grad cannot differentiate the node {node._op!r}: its _backward is Python code, which gives "
            "numbers. Write it with the operations of Value; or give its local derivatives, which are then "
            "constants: Value(y, (a,), (dy_da,))"
        )
    if operation in ("dot", "inner"):
        weights, inputs = operands[:detail], operands[detail:]
        if kind:
            # The derivative of each activation needs its result alone.
            derivative = rules(ACTIVATIONS[kind], tracing)[0](node, node)
            upstream = multiply(derivative, upstream)
        for w, x in zip(weights, inputs, strict=False):
            if id(w) in active:
                yield w, x, upstream, None
            if id(x) in active:
                yield x, w, upstream, None
        if len(weights) > len(inputs) and id(weights[-1]) in active:
            yield weights[-1], 1.0, upstream, None
    elif operation == "local":
        for operand, number in zip(operands, detail, strict=True):
            if id(operand) in active:
                yield operand, number, upstream, None
    elif operation == "custom":
        yield from shares_of_take(node, operands, upstream, active)
    elif operation in REDUCING:
        rule = rules(operation, tracing)[0]
        for operand in operands:
            if id(operand) in active:
                yield operand, rule(operand, node, float(len(operands))), upstream, None
    elif operation != "leaf":
        given: tuple[Scalar, ...] = operands
        if detail is not None:
            given = (detail, *operands) if kind == CONSTANT_FIRST else (*operands, detail)
        selects = BY_NAME[operation].selects
        for argument, rule in zip(given, rules(operation, tracing), strict=True):
            if not isinstance(argument, Value) or id(argument) not in active:
                continue
            factor = rule(*given, node)
            if not selects:
                yield argument, factor, upstream, None
            elif isinstance(factor, Value):
                yield argument, factor, upstream, factor
            elif factor != 0.0:
                yield argument, factor, upstream, None


def shares_of_take(
    node: Value, operands: tuple[Value, ...], upstream: Scalar, active: set[int]
) -> Iterator[Share]:
    """Yield what the values of `take` receive, in a compiled function: all or nothing."""
    from fastgrad.compiler.tracing import Selection, take

    selection = node._op
    if not isinstance(selection, Selection):
        raise TypeError(
            f"grad cannot differentiate the node {selection!r}: it has operands but no derivatives. Write it "
            "with the operations of Value, or give its local derivatives: Value(y, (a,), (dy_da,))"
        )
    for place, operand in enumerate(operands):
        if id(operand) in active:
            chosen: Value = take(
                [Value(float(place == each)) for each in range(len(operands))], selection.index
            )
            yield operand, chosen, upstream, chosen
