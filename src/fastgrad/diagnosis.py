"""`fastgrad.check` finds the classic mistakes of training in a graph, and names them in words."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import takewhile
from types import CodeType
from typing import Any, NamedTuple

from fastgrad.engine import Value, _dot, _graph_order, _reduce, _take_apart, apply
from fastgrad.nn import MLP, Dropout, Layer, Module, Neuron
from fastgrad.operations import ACTIVATIONS, BY_NAME, REDUCTIONS
from fastgrad.optim import Adam
from fastgrad.testing import kept_gradients

__all__ = ["Finding", "Overfit", "check", "overfit"]

# A neuron with fewer outputs than this may be off, or at its limit, by chance.
ENOUGH = 16
# |tanh| above 0.99 passes less than 2 % of the gradient.
SATURATED = 0.99
DOT = {"dot", "inner"}
# The activations that are operations, too, and the symbols of these.
CURVED = ACTIVATIONS[1:]
SYMBOLS = {BY_NAME[name].symbol: name for name in CURVED}
REDUCED = {reduction.name for reduction in REDUCTIONS}
# The form, as _take_apart returns it, of a node whose left operand is a constant.
CONSTANT_NODE = 2
# The loss of a training that goes well stays below this, even a sum over unscaled data.
EXPLODED = 1e15
# The operations between a neuron's parameters and its activation.
AFFINE = {"add", "sub", "mul", "div", "sum", "mean", *DOT, "+", "-", "*", "/"}


class Finding(NamedTuple):
    """A mistake: its kind for programs, a message for people, and its nodes."""

    kind: str
    message: str
    nodes: tuple[Value, ...]


class Findings(list[Finding]):
    """The findings of `check`, an empty list if there are none; prints as a list of messages.

    `unseen` has a message for each comparison that was left out, with the reason.
    """

    def __init__(self, findings: Iterable[Finding] = (), unseen: Iterable[str] = ()) -> None:
        super().__init__(findings)
        self.unseen = tuple(unseen)

    def __str__(self) -> str:
        found = [f"- {finding.message}" for finding in self] or ["no mistake found"]
        return "\n".join([*found, *(f"not looked at: {what}" for what in self.unseen)])

    __repr__ = __str__


class Node(NamedTuple):
    """A node of the graph: the operation, a dot product's activation, and `grad`, d loss / d node.

    `moved` says that its data is not the result of the operation on its operands any more.
    """

    value: Value
    operation: str
    activation: str
    operands: tuple[Value, ...]
    constant: float | None
    grad: float
    moved: bool


class Graph(NamedTuple):
    """The input of the rules: nodes, operands before results; parameters' names; the gradients found."""

    loss: Value
    nodes: dict[Value, Node]
    names: dict[Value, str]
    found: dict[Value, float]
    loss_grad: float
    modules: tuple[Module, ...]

    def moved(self) -> Node | None:
        """Return the first node whose operands were changed after it was computed."""
        return next((node for node in self.nodes.values() if node.moved), None)

    def fresh(self, value: Value) -> float:
        """Return the gradient that backward() gives from zero."""
        return self.nodes[value].grad if value in self.nodes else 0.0

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
    in the graph; without parameters, check sees only whether backward() has run at all. After the step
    the parameters have other data than the loss was computed from, and gradients are not compared.
    `unseen` of the result names each comparison that was left out, and why.

    Reports, by their `kind`: 'no backward', 'gradients not zeroed', 'gradients zeroed after backward',
    'no gradient' (a parameter, of those given, that the loss does not depend on, or only through
    derivatives of 0), 'not finite' (the first node where nan or inf arose), 'gradient not finite',
    'exploded' (a loss beyond 1e15), 'dead ReLU' (a neuron that passed no gradient for any input),
    'saturated' (one that passed almost none: a tanh beyond 0.99 either way or a sigmoid beyond 0.995 or
    0.005), 'symmetry' (neurons of equal weights, outputs and gradients, which stay equal), 'eval mode' (a
    Dropout, or a Module whose own code reads `training`, if a Module is given), 'softmax before
    cross_entropy', 'sigmoid before binary_cross_entropy_with_logits', 'no logarithm before nll_loss',
    'labels of hinge_loss' (Values of 0). A dead or saturated neuron is reported if it had at least 16
    inputs, as with fewer it may be chance; if all neurons are dead or saturated, one input is enough.
    Raises TypeError if the loss or a parameter is no Value.

    >>> w = Value(2.0, label="w")
    >>> for _ in range(2):
    ...     loss = (w * 3 - 1) ** 2
    ...     loss.backward()
    >>> check(loss, [w])
    - gradients were not zeroed before backward(): that of w is 60.0, of which this loss gave 30.0
    """
    if not isinstance(loss, Value):
        raise no_loss(loss)
    names = names_of(parameters)
    modules = tuple(parameters.modules()) if isinstance(parameters, Module) else ()
    found = {value: value.grad for value in names or leaves_below(loss)}
    loss_grad = loss.grad
    with kept_gradients(loss, names) as order:
        loss.backward()
        nodes = {value: taken_apart(value) for value in order}
    graph = Graph(loss, nodes, names, found, loss_grad, modules)
    return Findings((finding for rule in RULES for finding in rule(graph)), not_looked_at(graph))


class Overfit(NamedTuple):
    """Whether a model learned one batch by heart, in words, the losses of the steps, and what `check` finds.

    It is true or false as `learned` is.
    """

    learned: bool
    message: str
    losses: tuple[float, ...]
    findings: Findings

    def __bool__(self) -> bool:
        return self.learned

    def __repr__(self) -> str:
        return self.message


def overfit(
    model: Any,
    loss: Callable[..., Value],
    batch: tuple[Any, ...] = (),
    *,
    steps: int = 500,
    lr: float = 0.05,
    share: float = 0.01,
) -> Overfit:
    """Return whether a model can learn one small batch by heart; if it cannot, it will learn nothing else.

    Trains `loss(*batch)` by Adam for at most `steps`, until it is `share` of the first loss, and puts the
    parameters and gradients back. `model` is a Module, or its parameters. If it fails, the message has what
    `check` finds. Raises TypeError if the loss or a parameter is no Value, ValueError if there are no
    parameters, or for steps below 1.

    >>> w = Value(0.5, label="w")
    >>> overfit([w], lambda x, y: (w * x - y) ** 2, (2.0, 3.0))
    yes: the loss fell from 4 to 0.02566 in 21 steps
    >>> overfit([w], lambda x, y: (w * 0 + x - y) ** 2, (2.0, 3.0)).learned
    False
    """
    names = names_of(model)
    parameters = list(names)
    if not parameters:
        raise ValueError("the model has no parameters")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    kept = [(parameter, parameter.data, parameter.grad) for parameter in parameters]
    optimizer = Adam(parameters, lr=lr)
    losses: list[float] = []
    try:
        while True:
            current = loss(*batch)
            if not isinstance(current, Value):
                raise no_loss(current)
            losses.append(current.data)
            optimizer.zero_grad()
            current.backward()
            # False for nan, too.
            learned = current.data <= share * losses[0]
            if learned or len(losses) > steps or not math.isfinite(current.data):
                break
            optimizer.step()
        findings = Findings() if learned else check(current, model)
    finally:
        for parameter, data, grad in kept:
            parameter.data, parameter.grad = data, grad
    fell = f"the loss fell from {losses[0]:.4g} to {losses[-1]:.4g} in {len(losses) - 1} steps"
    if learned:
        return Overfit(True, f"yes: {fell}", tuple(losses), findings)
    went = fell if losses[-1] < losses[0] else f"the loss went from {losses[0]:.4g} to {losses[-1]:.4g}"
    message = (
        f"no: {went}, and not to {share * losses[0]:.4g}. A model that cannot learn one batch by heart has a "
        f"mistake, or is too small\n{findings}"
    )
    return Overfit(False, message, tuple(losses), findings)


def no_loss(given: object) -> TypeError:
    """Return the error for a loss that is no Value; most often it is the result of a compiled function."""
    message = f"the loss must be a Value, not {type(given).__name__}"
    if isinstance(given, float) or hasattr(given, "__array__") or hasattr(given, "input_gradients"):
        message += (
            "; the numbers of a compiled function do not know how they were computed: call the function "
            "itself, its __wrapped__, with one row, and backward() and check on the Value that it returns"
        )
    return TypeError(message)


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
        # A Module may have parameters without a name.
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
    moved = has_moved(value.data, operation, kind & 3, operands, detail)
    # The kind of a dot product is the index of its activation.
    activation = ACTIVATIONS[kind & 3] if operation in DOT and kind & 3 else ""
    if operation == "custom":
        operation = SYMBOLS.get(detail, str(detail))
    if operation in CURVED:
        activation = operation
    constant = detail if isinstance(detail, float) else None
    return Node(value, operation, activation, operands, constant, value.grad, moved)


def has_moved(data: float, operation: str, kind: int, operands: tuple[Value, ...], detail: Any) -> bool:
    """Whether an operation of the library gives other data for its operands than the node has."""
    # New leaves, so that the result does not become a part of the graph.
    given = [Value(operand.data) for operand in operands]
    try:
        if operation in DOT:
            inputs = given[detail:]
            bias = given[len(inputs)] if detail > len(inputs) else None
            result = _dot(given[: len(inputs)], inputs, bias, ACTIVATIONS[kind])
        elif operation in REDUCED:
            result = _reduce(operation, given)
        elif operation not in BY_NAME or not given:
            return False
        elif detail is None:
            result = apply(operation, *given)
        else:
            result = apply(operation, *((detail, *given) if kind == CONSTANT_NODE else (*given, detail)))
    except (ArithmeticError, ValueError):
        return True
    return not same(result.data, data)


def listed(names: Iterable[str]) -> str:
    """Name the first few."""
    names = list(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


# The rules.


def gradients_of_this_loss(graph: Graph) -> Iterator[Finding]:
    """Gradients other than backward() computes when all were zero before."""
    different = [value for value, grad in graph.found.items() if not same(grad, graph.fresh(value))]
    if not different:
        return
    all_zero = all(grad == 0.0 for grad in graph.found.values())
    # backward() leaves 1 in the loss itself.
    if graph.loss_grad == 0.0:
        seen = "all gradients are 0" if all_zero else "the gradients are those of another loss"
        yield Finding("no backward", f"{seen}: backward() has not run on this loss", tuple(different))
    elif graph.moved() or graph.loss_grad != 1.0:
        return
    elif all_zero:
        message = "all gradients were set to 0 after backward(): zero_grad() belongs before it"
        yield Finding("gradients zeroed after backward", message, tuple(different))
    elif graph.names:
        # Without names, some leaves are data, whose gradients no training zeroes.
        first = different[0]
        others = f" ({len(different)} parameters in all)" if len(different) > 1 else ""
        yield Finding(
            "gradients not zeroed",
            f"gradients were not zeroed before backward(): that of {graph.name(first)} is "
            f"{graph.found[first]!r}, of which this loss gave {graph.fresh(first)!r}{others}",
            tuple(different),
        )


def not_looked_at(graph: Graph) -> Iterator[str]:
    """Yield a message for each comparison that was left out, with the reason."""
    moved = graph.moved()
    if moved:
        yield (
            f"gradients, as data was changed after the loss was computed, by a step for instance: "
            f"{graph.name(moved.value)} is no longer {moved.value.data:.6g}. "
            "Call check between backward() and the step"
        )
    elif graph.loss_grad not in (0.0, 1.0):
        yield (
            f"gradients, as that of this loss is {graph.loss_grad:.6g} and not 1: backward() has run on "
            "something that was computed from it. Check that"
        )
    if not graph.names:
        yield (
            "parameters, as none were given: whether their gradients were zeroed, whether they have any, and "
            "whether neurons are alike. Call check(loss, model) or check(loss, parameters)"
        )


def same(left: float, right: float) -> bool:
    """Whether two gradients agree to rounding; nan agrees with nan."""
    return math.isclose(left, right, rel_tol=1e-9) or (math.isnan(left) and math.isnan(right))


def parameters_without_gradient(graph: Graph) -> Iterator[Finding]:
    """Parameters that the loss does not depend on, or only through derivatives that are 0."""
    unused = tuple(value for value in graph.names if value not in graph.nodes)
    if unused:
        # Without a Module, nothing tells the rows of a table from others.
        may_be_right = not graph.modules or set(unused) <= rows_not_picked(graph)
        unless = "; for rows that these inputs do not pick, that is right" if may_be_right else ""
        yield Finding(
            "no gradient",
            f"the loss does not depend on {listed(graph.names[value] for value in unused)}{unless}",
            unused,
        )
    flat = [value for value in graph.names if value in graph.nodes and graph.nodes[value].grad == 0.0]
    idle = idle_weights(graph) | weights_that_wait(graph) if flat else set()
    flat = [value for value in flat if value not in idle]
    if flat:
        yield Finding(
            "no gradient",
            f"the gradient of {listed(graph.names[value] for value in flat)} is exactly 0: "
            "every path from there to the loss goes through a ReLU that is 0, a factor of 0 or the like",
            tuple(flat),
        )


def rows_not_picked(graph: Graph) -> set[Value]:
    """Return the parameters, such as `table.5.0`, in unused rows of tables of which other rows are used."""
    places = {value: name.rsplit(".", 2) for value, name in graph.names.items()}
    elements = {
        value: (place[0], place[1])
        for value, place in places.items()
        if len(place) == 3 and place[1].isdecimal() and place[2].isdecimal()
    }
    rows = {row for value, row in elements.items() if value in graph.nodes}
    tables = {table for table, _ in rows}
    return {value for value, row in elements.items() if row[0] in tables and row not in rows}


def weights_that_wait(graph: Graph) -> set[Value]:
    """Return the parameters of neurons that are off for every input, where so few inputs may be chance."""
    neurons = neurons_of(graph, "relu")
    off = [neuron for neuron, outputs in neurons.items() if all(output.data <= 0.0 for output in outputs)]
    few = [neuron for neuron in off if len(neurons[neuron]) < ENOUGH]
    return {value for neuron in few for value in neuron} if len(off) < len(neurons) else set()


def idle_weights(graph: Graph) -> set[Value]:
    """Return the parameters that meet data of 0, a dark pixel for instance, wherever a gradient passes."""
    idle: dict[Value, bool] = {}
    for node in graph.nodes.values():
        mine = [operand for operand in node.operands if operand in graph.names]
        if node.operation in DOT:
            # If one of a neuron's parameters has a gradient, then all have whose input is not 0.
            is_idle = any(graph.nodes[parameter].grad != 0.0 for parameter in mine)
        else:
            others = [operand for operand in node.operands if operand not in graph.names]
            is_zero = node.constant == 0.0 or any(is_zero_data(graph, other) for other in others)
            is_idle = node.operation == "mul" and is_zero
        for parameter in mine:
            idle[parameter] = is_idle and idle.get(parameter, True)
    return {value for value, is_idle in idle.items() if is_idle}


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
    neurons = neurons_of(graph, activation)
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


def neurons_of(graph: Graph, activation: str) -> dict[frozenset[Value], list[Value]]:
    """Return the outputs of an activation, grouped by neuron."""
    neurons: dict[frozenset[Value], list[Value]] = defaultdict(list)
    for node in graph.nodes.values():
        if node.activation == activation:
            neurons[neuron_of(graph, node)].append(node.value)
    return neurons


def neuron_name(graph: Graph, output: Value) -> str:
    """Return the common beginning of the names of a neuron's parameters, or describe its output."""
    neuron = neuron_of(graph, graph.nodes[output])
    names = [graph.names[value] for value in neuron if value in graph.names]
    levels = zip(*(name.split(".") for name in names), strict=False)
    return ".".join(level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels)) or (
        graph.name(output)
    )


def neuron_of(graph: Graph, node: Node) -> frozenset[Value]:
    """Return the parameters that identify a neuron: those in which its activation's operand is affine."""
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


def exploded(graph: Graph) -> Iterator[Finding]:
    """A loss that is finite, but beyond EXPLODED."""
    if EXPLODED < abs(graph.loss.data) < math.inf:
        message = (
            f"the loss is {graph.loss.data:.6g}, it has exploded: the learning rate is too large, "
            "or the data is not scaled"
        )
        yield Finding("exploded", message, (graph.loss,))


def symmetry(graph: Graph) -> Iterator[Finding]:
    """Neurons that began alike, and are moved alike ever after."""
    for activation in CURVED:
        alike: dict[Any, list[Value]] = defaultdict(list)
        neurons = neurons_of(graph, activation)
        for neuron, outputs in neurons.items():
            if not neuron <= graph.names.keys():
                continue
            weights = sorted(value.data for value in neuron)
            passed = [(output.data, graph.nodes[output].grad) for output in outputs]
            alike[tuple(weights), tuple(passed)].append(outputs[0])
        bad = [output for group in alike.values() if len(group) > 1 for output in group]
        if bad:
            yield Finding(
                "symmetry",
                f"{len(bad)} of {len(neurons)} {activation} neurons have the weights, outputs and gradients "
                "of another, and will always have: draw the weights at random: "
                f"{listed(neuron_name(graph, output) for output in bad)}",
                tuple(bad),
            )


def eval_mode(graph: Graph) -> Iterator[Finding]:
    """Modules in evaluation mode, though backward() has run."""
    if graph.loss_grad == 0.0 or graph.moved():
        # The loss is only evaluated, or the mode may have been set after the step.
        return
    quiet = [module for module in graph.modules if not module.training and depends_on_mode(graph, module)]
    if quiet:
        yield Finding(
            "eval mode",
            f"the model is trained in eval mode: {listed(type(module).__name__ for module in quiet)}; "
            "call train() on it",
            (),
        )


def depends_on_mode(graph: Graph, module: Module) -> bool:
    """Whether a module computes something else while training: Dropout, or one that reads `training`."""
    if isinstance(module, Dropout):
        factors = (0.0, 1.0 / (1.0 - module.p))
        # It may have been set to eval mode after the loss was computed.
        dropped = any(node.operation == "mul" and node.constant in factors for node in graph.nodes.values())
        return module.p > 0.0 and not dropped
    own = [kind for kind in type(module).__mro__ if issubclass(kind, Module) and kind not in LIBRARY]
    codes = (getattr(part, "__code__", None) for kind in own for part in vars(kind).values())
    return any(isinstance(code, CodeType) and reads_training(code) for code in codes)


def reads_training(code: CodeType) -> bool:
    """Whether a function's code, or a comprehension's in it, reads an attribute `training`."""
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return "training" in code.co_names or any(map(reads_training, inner))


LIBRARY = (Module, Neuron, Layer, MLP, Dropout)


def misused_losses(graph: Graph) -> Iterator[Finding]:
    """Losses that were given something else than they take."""
    nodes = graph.nodes
    averaged = {
        operand
        for node in nodes.values()
        if node.operation in ("sum", "mean", "add")
        for operand in node.operands
    }
    mistakes: dict[tuple[str, str], Callable[[Node], bool]] = {
        (
            "softmax before cross_entropy",
            "cross_entropy was given probabilities: it wants raw logits and takes their softmax itself",
        ): lambda node: (
            node.operation == "logsumexp" and len(node.operands) > 1 and are_probabilities(node.operands)
        ),
        (
            "sigmoid before binary_cross_entropy_with_logits",
            "binary_cross_entropy_with_logits was given probabilities: it wants raw logits and takes their "
            "sigmoid itself",
        ): lambda node: node.operation == "logistic" and is_sigmoid(graph, nodes[node.operands[0]]),
        # A mean of -p, where p is a probability, in place of -log(p).
        (
            "no logarithm before nll_loss",
            "the loss is minus a probability: nll_loss wants logarithms, as log_softmax gives them, or take "
            "cross_entropy of the raw logits",
        ): lambda node: (
            (node.operation, node.constant) == ("mul", -1.0)
            and (node.value in averaged or node.value is graph.loss)
            and is_softmax(graph, nodes[node.operands[0]])
        ),
        # Labels that are Values of 0, for which the loss is always 1; hinge_loss itself refuses numbers of 0.
        (
            "labels of hinge_loss",
            "hinge_loss was given labels of 0: it wants -1 and 1, not 0 and 1",
        ): lambda node: (
            node.operation == "hinge" and any(is_zero_data(graph, operand) for operand in node.operands)
        ),
    }
    for (kind, message), is_mistake in mistakes.items():
        if bad := tuple(node.value for node in nodes.values() if is_mistake(node)):
            yield Finding(kind, message, bad)


def is_sigmoid(graph: Graph, node: Node) -> bool:
    """Whether this is a sigmoid, or 1 / (1 + exp(...)) written out."""
    if node.activation == "sigmoid":
        return True
    if (node.operation, node.constant) not in (("div", 1.0), ("pow", -1.0)):
        return False
    below = graph.nodes[node.operands[0]]
    is_sum = below.operation == "add" and below.constant == 1.0
    return is_sum and graph.nodes[below.operands[0]].operation == "exp"


def is_softmax(graph: Graph, node: Node) -> bool:
    """Whether this is one of the probabilities of a softmax, or exp(...) / (a sum) written out."""
    if node.operation != "div" or len(node.operands) < 2:
        return node.operation == "softmax"
    above, below = (graph.nodes[operand] for operand in node.operands)
    return above.operation == "exp" and below.operation in ("sum", "add") and 0.0 < node.value.data <= 1.0


def is_zero_data(graph: Graph, value: Value) -> bool:
    """Whether this is a leaf of 0 that is no parameter."""
    return value.data == 0.0 and graph.nodes[value].operation == "leaf" and value not in graph.names


def are_probabilities(values: Iterable[Value]) -> bool:
    """Whether these look like the result of a softmax."""
    numbers = [value.data for value in values]
    return min(numbers) >= 0.0 and math.isclose(math.fsum(numbers), 1.0, rel_tol=1e-9)


RULES: tuple[Callable[[Graph], Iterator[Finding]], ...] = (
    gradients_of_this_loss,
    parameters_without_gradient,
    first_not_finite,
    exploded,
    dead_relus,
    saturated,
    symmetry,
    eval_mode,
    misused_losses,
)
