"""The classic mistakes of training, found in a graph and told in words: `fastgrad.check`."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import takewhile
from typing import Any, NamedTuple

from fastgrad.engine import Value, _graph_order, _take_apart
from fastgrad.testing import kept_gradients

__all__ = ["Finding", "check"]

# Below this many outputs a neuron may be off, or at its limit, by chance.
ENOUGH = 4
# |tanh| above 0.99 passes less than 2 % of the gradient.
SATURATED = 0.99
# Codes of a dot product's activation, as _take_apart gives them.
DOT = {"dot", "inner"}
FUSED = {1: "relu", 2: "tanh", 3: "sigmoid"}
# What a neuron computes between its parameters and its activation.
AFFINE = {"add", "sub", "mul", "div", "sum", "mean", *DOT, "+", "-", "*", "/"}


class Finding(NamedTuple):
    """A mistake: its kind, for programs, the message, for people, and the nodes it is about."""

    kind: str
    message: str
    nodes: tuple[Value, ...]


class Findings(list[Finding]):
    """The findings of `check`, empty if there are none; printed as a list of messages."""

    def __str__(self) -> str:
        return "\n".join(f"- {finding.message}" for finding in self) or "no mistake found"

    __repr__ = __str__


class Node(NamedTuple):
    """A node of the graph: the operation, with a dot product's activation, and d loss / d node."""

    value: Value
    operation: str
    activation: str
    operands: tuple[Value, ...]
    constant: float | None
    grad: float


class Graph(NamedTuple):
    """What the rules look at: nodes, operands before results; parameters; gradients as they were found."""

    loss: Value
    nodes: dict[Value, Node]
    names: dict[Value, str]
    found: dict[Value, float]

    def name(self, value: Value) -> str:
        """Return a parameter's name, a label, or the operation with its operands."""
        if value in self.names:
            return self.names[value]
        if value.label:
            return str(value.label)
        node = self.nodes[value]
        if node.operation == "leaf":
            return f"a leaf of {value.data!r}"
        numbers = [operand.data for operand in node.operands]
        if node.constant is not None:
            numbers.append(node.constant)
        shown = ", ".join(f"{number:.6g}" for number in numbers[:4])
        return f"{node.activation or node.operation}({shown}{', ...' if len(numbers) > 4 else ''})"


def check(loss: Value, parameters: Any = ()) -> Findings:
    """Look for the classic mistakes in a loss on which backward() has run; the graph stays as it was.

    Call it between `loss.backward()` and the step. `parameters` are Values, or a Module, whose names
    then appear in the messages. The gradients are computed once more from zero and compared with those
    found; without parameters, it is only seen whether backward() has run at all.

    Reports, by their `kind`: 'no backward', 'gradients not zeroed', 'no gradient' (a parameter, of those
    given, that the loss does not depend on, or only through derivatives of 0), 'not finite' (the first
    node where nan or inf arose), 'gradient not finite', 'dead ReLU' (a neuron that passed no gradient for
    any input), 'saturated' (one that passed almost none: a tanh beyond 0.99 either way or a sigmoid beyond
    0.995 or 0.005), 'softmax before cross_entropy'. A neuron that is dead or saturated is reported from 4
    inputs on, as it may be so by chance for fewer; from 1 on if all neurons are. Raises TypeError if the
    loss or a parameter is no Value.

    >>> w = Value(2.0, label="w")
    >>> for _ in range(2):
    ...     loss = (w * 3 - 1) ** 2
    ...     loss.backward()
    >>> check(loss, [w])
    - gradients were not zeroed before backward(): that of w is 60.0, of which this loss gave 30.0
    """
    if not isinstance(loss, Value):
        raise TypeError(f"the loss must be a Value, not {type(loss).__name__}")
    names = names_of(parameters)
    found = {value: value.grad for value in names or leaves_below(loss)}
    with kept_gradients(loss, names) as order:
        loss.backward()
        nodes = {value: taken_apart(value) for value in order}
    graph = Graph(loss, nodes, names, found)
    return Findings(finding for rule in RULES for finding in rule(graph))


def leaves_below(loss: Value) -> list[Value]:
    """Return the nodes that were not computed."""
    return [value for value in _graph_order([loss]) if _take_apart(value)[0] == "leaf"]


def names_of(parameters: Any) -> dict[Value, str]:
    """Return the parameters, or the one, with their names: of a Module, from labels, or by number.

    Raises TypeError for one that is no Value.
    """
    names: dict[Value, str] = {}
    if isinstance(parameters, Value):
        parameters = [parameters]
    if hasattr(parameters, "named_parameters"):
        for name, value in parameters.named_parameters():
            names.setdefault(value, name)
    if hasattr(parameters, "parameters"):
        # A Module may have some that no name leads to.
        parameters = parameters.parameters()
    if not isinstance(parameters, Iterable):
        raise TypeError(f"parameters must be Values or a Module, not {parameters!r}")
    for index, value in enumerate(parameters):
        if not isinstance(value, Value):
            raise TypeError(f"parameters must be Values, but number {index} is {value!r}")
        names.setdefault(value, str(value.label or f"parameter {index}"))
    return names


def taken_apart(value: Value) -> Node:
    """Describe a node; one made by hand is known by its symbol."""
    operation, kind, operands, detail = _take_apart(value)
    activation = FUSED.get(kind & 3, "") if operation in DOT else ""
    if operation == "custom":
        operation = {"ReLU": "relu"}.get(detail, str(detail))
    if operation in ("relu", "tanh", "sigmoid"):
        activation = operation
    constant = detail if isinstance(detail, float) else None
    return Node(value, operation, activation, operands, constant, value.grad)


def listed(names: Iterable[str]) -> str:
    """Name the first few."""
    names = list(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


# -- the rules ------------------------------------------------------------------------------------


def gradients_of_this_loss(graph: Graph) -> Iterator[Finding]:
    """Gradients that are not those which backward() gives from zero."""
    fresh = {value: graph.nodes[value].grad if value in graph.nodes else 0.0 for value in graph.found}
    different = [value for value, grad in graph.found.items() if not same(grad, fresh[value])]
    if not different:
        return
    if all(graph.found[value] == 0.0 for value in graph.found):
        yield Finding(
            "no backward", "all gradients are 0: backward() has not run on this loss", tuple(different)
        )
        return
    if not graph.names:
        # Leaves, of which those that hold data are nobody's to zero.
        return
    first = different[0]
    others = f" ({len(different)} parameters in all)" if len(different) > 1 else ""
    yield Finding(
        "gradients not zeroed",
        f"gradients were not zeroed before backward(): that of {graph.name(first)} is "
        f"{graph.found[first]!r}, of which this loss gave {fresh[first]!r}{others}",
        tuple(different),
    )


def same(left: float, right: float) -> bool:
    """Whether two gradients agree to rounding; nan agrees with nan."""
    return math.isclose(left, right, rel_tol=1e-9) or (math.isnan(left) and math.isnan(right))


def parameters_without_gradient(graph: Graph) -> Iterator[Finding]:
    """Parameters that the loss does not depend on, or only through derivatives that are 0."""
    unused = tuple(value for value in graph.names if value not in graph.nodes)
    if unused:
        yield Finding(
            "no gradient",
            f"the loss does not depend on {listed(graph.names[value] for value in unused)}",
            unused,
        )
    flat = tuple(value for value in graph.names if value in graph.nodes and graph.nodes[value].grad == 0.0)
    if flat:
        yield Finding(
            "no gradient",
            f"the gradient of {listed(graph.names[value] for value in flat)} is exactly 0: "
            "every path from there to the loss goes through a ReLU that is 0, a factor of 0 or the like",
            flat,
        )


def first_not_finite(graph: Graph) -> Iterator[Finding]:
    """The first node that is nan or infinite; failing that, the derivative that made a gradient so."""
    for node in graph.nodes.values():
        if not math.isfinite(node.value.data):
            verb = "came in with" if node.operation == "leaf" else "arose in"
            message = f"{node.value.data} {verb} {graph.name(node.value)}, before anywhere else in the graph"
            yield Finding("not finite", message, (node.value,))
            return
    for node in reversed(graph.nodes.values()):
        if not math.isfinite(node.grad):
            continue
        for operand in node.operands:
            if not math.isfinite(graph.nodes[operand].grad):
                message = (
                    f"the gradient becomes {graph.nodes[operand].grad} in backward() at "
                    f"{graph.name(node.value)}: the derivative there is not finite"
                )
                yield Finding("gradient not finite", message, (node.value,))
                return


def dead_relus(graph: Graph) -> Iterator[Finding]:
    """Neurons whose ReLU is 0 for every input."""
    yield from stuck(
        graph,
        "relu",
        "dead ReLU",
        lambda data: data <= 0.0,
        "dead: 0 for every input, so that no gradient passes",
    )


def saturated(graph: Graph) -> Iterator[Finding]:
    """Neurons whose tanh or sigmoid is at its limits for every input."""
    for activation, at_limit in LIMITS.items():
        yield from stuck(
            graph,
            activation,
            "saturated",
            at_limit,
            "saturated: at a limit for every input, where the derivative is almost 0",
        )


LIMITS: Mapping[str, Callable[[float], bool]] = {
    "tanh": lambda data: abs(data) > SATURATED,
    "sigmoid": lambda data: abs(2.0 * data - 1.0) > SATURATED,
}


def stuck(
    graph: Graph, activation: str, kind: str, is_stuck: Callable[[float], bool], what: str
) -> Iterator[Finding]:
    """Report neurons all of whose outputs are stuck, if they are many enough or there are no others."""
    neurons: dict[frozenset[Value], list[Value]] = defaultdict(list)
    for node in graph.nodes.values():
        if node.activation == activation:
            neurons[neuron_of(graph, node)].append(node.value)
    bad = [outputs for outputs in neurons.values() if all(is_stuck(output.data) for output in outputs)]
    if len(bad) < len(neurons):
        bad = [outputs for outputs in bad if len(outputs) >= ENOUGH]
    if not bad:
        return
    names = listed(neuron_name(graph, outputs[0]) for outputs in bad)
    verb = "are" if len(bad) > 1 else "is"
    yield Finding(
        kind,
        f"{len(bad)} of {len(neurons)} {activation} neurons {verb} {what}: {names}",
        tuple(output for outputs in bad for output in outputs),
    )


def neuron_name(graph: Graph, output: Value) -> str:
    """Return what the names of a neuron's parameters begin with alike, or describe its output."""
    neuron = neuron_of(graph, graph.nodes[output])
    names = [graph.names[value] for value in neuron if value in graph.names]
    levels = zip(*(name.split(".") for name in names), strict=False)
    return ".".join(level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels)) or (
        graph.name(output)
    )


def neuron_of(graph: Graph, node: Node) -> frozenset[Value]:
    """Return what tells a neuron from others: the parameters that its activation's operand is affine in."""
    if node.operation in DOT:
        return frozenset(value for value in node.operands if value in graph.names) or frozenset(node.operands)
    reached: set[Value] = set()
    seen: set[Value] = set()
    stack = list(node.operands)
    while stack:
        value = stack.pop()
        if value in seen:
            continue
        seen.add(value)
        below = graph.nodes[value]
        if value in graph.names:
            reached.add(value)
        elif below.operation in AFFINE and not below.activation:
            stack += below.operands
    return frozenset(reached or (node.value,))


def softmax_before_cross_entropy(graph: Graph) -> Iterator[Finding]:
    """A logsumexp, which cross_entropy takes of raw logits, of numbers that are probabilities."""
    bad = tuple(
        node.value
        for node in graph.nodes.values()
        if node.operation == "logsumexp" and len(node.operands) > 1 and are_probabilities(node.operands)
    )
    if bad:
        yield Finding(
            "softmax before cross_entropy",
            "cross_entropy was given probabilities: it wants raw logits and takes their softmax itself",
            bad,
        )


def are_probabilities(values: Iterable[Value]) -> bool:
    """Whether these look like the result of a softmax."""
    numbers = [value.data for value in values]
    return min(numbers) >= 0.0 and math.isclose(math.fsum(numbers), 1.0, rel_tol=1e-9)


RULES: tuple[Callable[[Graph], Iterator[Finding]], ...] = (
    gradients_of_this_loss,
    parameters_without_gradient,
    first_not_finite,
    dead_relus,
    saturated,
    softmax_before_cross_entropy,
)
