"""The first derivatives of a Value, in numbers: what fastgrad.grad returns as Values."""

from reference.backward import LEAST_KNOWN, partials_of, topological_order
from reference.compiling import RELATIVE, Approximate
from reference.rules import SELECTING
from reference.value import Value, numbers_of


def passing(y, wanted):
    """The nodes below y that have an operand which depends on what is wanted."""
    found = set()
    for node in topological_order([y]):
        if any(operand in wanted or operand in found for operand in values_among(node)):
            found.add(node)
    return found


def values_among(node):
    return [operand for operand in node.operands if isinstance(operand, Value)]


def slopes(y, xs):
    """The derivative of y by each of xs; no node changes."""
    if not isinstance(y, Value):
        raise TypeError("grad differentiates a Value")
    if not all(isinstance(x, Value) for x in xs):
        raise TypeError("the derivative is by a Value")
    wanted = set(xs)
    passes = passing(y, wanted)
    received, bounds = {y: 1.0}, {y: 1.0}
    for node in reversed(topological_order([y], chosen_only=True)):
        if node not in received or node not in passes:
            continue
        if node.own_backward is not None or node.name == "custom":
            raise TypeError("grad cannot differentiate the node")
        partials = numbers_of(node.detail) if node.name == "local" else partials_of(node)
        for operand, partial in zip(node.operands, partials, strict=True):
            if not isinstance(operand, Value) or not (operand in wanted or operand in passes):
                continue
            if partial == 0.0 and node.name in SELECTING:
                continue
            received[operand] = received.get(operand, 0.0) + partial * received[node]
            known = max(abs(partial), LEAST_KNOWN)
            bounds[operand] = bounds.get(operand, 0.0) + known * max(bounds[node], abs(received[node]))
    return [Approximate(received.get(x, 0.0), RELATIVE * bounds.get(x, 0.0)) for x in xs]
