"""The functions of fastgrad.functional, each as its docstring says it."""

import operator

from reference.rules import ACTIVATIONS
from reference.value import Value as Node
from reference.value import apply, binary, is_number, listed, node, operands_of, reduce, vector


def sum(values):  # noqa: A001
    return reduce("sum", values)


def mean(values):
    return reduce("mean", values)


def logsumexp(values):
    return reduce("logsumexp", values)


def l2(values):
    return reduce("square_sum", vector("l2", values))


def maximum(left, right):
    return apply("maximum", left, right)


def minimum(left, right):
    return apply("minimum", left, right)


def where(condition, left, right):
    return apply("where", condition, left, right)


def dot(w, x, b=None, activation="linear"):
    inputs, weights = operands_of(x), operands_of(w)
    if len(weights) != len(inputs) or not inputs:
        raise ValueError("dot needs as many weights as inputs, at least one")
    if b is not None:
        weights += operands_of([b])
    return node("dot", [*weights, *inputs], (len(inputs), ACTIVATIONS[activation]))


def linear(x, weight, bias=None, activation="linear"):
    inputs, weight = operands_of(x), listed(weight)
    if not inputs or not len(weight):
        raise ValueError(f"linear of {len(inputs)} inputs and {len(weight)} rows of weights")
    biases = [None] * len(weight) if bias is None else listed(bias)
    if len(biases) != len(weight):
        raise ValueError(f"was given {len(biases)} biases")
    width = len(inputs) + (bias is not None)
    rows = []
    for index, (row, b) in enumerate(zip(weight, biases, strict=True)):
        weights = operands_of(row if b is None else (*row, b))
        if len(weights) != width:
            raise ValueError(f"row {index} has {len(weights) - width + len(inputs)} weights")
        rows.append(weights)
    return [node("dot", [*row, *inputs], (len(inputs), ACTIVATIONS[activation])) for row in rows]


def softmax(values):
    operands = operands_of(vector("softmax", values))
    total = reduce("logsumexp", operands)
    return [node("softmax", (operand, total)) for operand in operands]


def scale(values, factor):
    operands = operands_of(values)
    if not is_number(factor):
        raise TypeError(f"scale needs Values or numbers, not {type(factor).__name__}")
    return [binary("mul", operand, factor) for operand in operands]


def add(left, right):
    left, right = operands_of(left), operands_of(right)
    if len(left) != len(right):
        raise ValueError(f"add needs two equally long vectors: got {len(left)} and {len(right)}")
    return [node("add", pair) for pair in zip(left, right, strict=True)]


def log_softmax(values):
    values = vector("log_softmax", values)
    total = reduce("logsumexp", values)
    return [value - total for value in values]


def rms_norm(values, weight=None, eps=1e-5):
    values = vector("rms_norm", values)
    normal = scale(values, (reduce("square_mean", values) + eps) ** -0.5)
    if weight is None:
        return normal
    weight = same_length(normal, weight)[1]
    return [apply("mul", value, w) for value, w in zip(normal, weight, strict=True)]


def same_length(left, right):
    left, right = listed(left), listed(right)
    if len(left) != len(right) or not left:
        raise ValueError("needs two equally long vectors of at least one")
    return left, right


def reduced(values, reduction):
    if reduction not in ("mean", "sum", "none"):
        raise ValueError("reduction must be one of mean, sum, none")
    return values if reduction == "none" else reduce(reduction, values)


def mse_loss(input, target, reduction="mean"):  # noqa: A002
    differences = [apply("sub", x, y) for x, y in zip(*same_length(input, target), strict=True)]
    if reduction in ("mean", "sum"):
        return reduce(f"square_{reduction}", differences)
    return reduced([difference * difference for difference in differences], reduction)


def hinge_loss(input, target, reduction="mean"):  # noqa: A002
    scores, labels = same_length(input, target)
    losses = [apply("hinge", x, y) for x, y in zip(scores, labels, strict=True)]
    if any(not isinstance(label, Node) and label not in (-1, 1) for label in labels):
        raise ValueError("a target is -1 or 1")
    return reduced(losses, reduction)


def binary_cross_entropy_with_logits(input, target, reduction="mean"):  # noqa: A002
    pairs = zip(*same_length(input, target), strict=True)
    return reduced([apply("logistic", x, y) for x, y in pairs], reduction)


def picked(values, number):
    index = operator.index(number)
    if not 0 <= index < len(values):
        raise ValueError(f"the target is {index}, but there are {len(values)} classes")
    return values[index]


def cross_entropy(input, target, reduction="mean"):  # noqa: A002
    logits = listed(input)
    if not logits:
        raise ValueError("cross_entropy of no values")
    chosen = picked(logits, target)
    return reduce("logsumexp", logits) - chosen


def nll_loss(input, target, reduction="mean"):  # noqa: A002
    values = listed(input)
    if not values:
        raise ValueError("nll_loss of no values")
    return apply("mul", picked(values, target), -1.0)
