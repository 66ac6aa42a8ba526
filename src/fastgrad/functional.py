"""Losses and vector functions of Values: `import fastgrad.functional as F`.

Names, formulas and defaults are PyTorch's where it has the function, on vectors: there is no `dim` and
there are no class weights. A vector is any iterable of Values and numbers, a batch any iterable of
vectors.

Inspection (`_op`, `_prev`, a drawing) shows some of these functions as one node with their name, others
as the arithmetic they stand for:

=========================================  =====================================================
`sum` `mean` `logsumexp` `l2`              one node, of the row's name in operations.REDUCTIONS
`maximum` `minimum` `where`                one node of that name
`leaky_relu` `softplus` `silu` `gelu`      one node of that name
`erf` to `clip`, one row of the table      one node of that name, or with its symbol: `>`, `%`
`softmax`                                  a `softmax` node a value, of it and of a `logsumexp`
`hinge_loss`                               a `hinge` node a score, and the reduction
`binary_cross_entropy_with_logits`         a `logistic` node a logit, and the reduction
`dot` `linear`                             products and partial sums, as micrograd would draw them
`log_softmax` `cross_entropy`              arithmetic on a `logsumexp` a vector, and the reduction
`nll_loss`                                 a product with -1 a row, and the reduction
`mse_loss` `rms_norm`                      arithmetic, with `square_mean` or `square_sum` in it
`add` `scale`                              a sum or product a value
=========================================  =====================================================
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, SupportsFloat, SupportsIndex, TypeAlias, TypeVar, overload

from fastgrad.engine import Value, _is_tracing, apply
from fastgrad.engine import _add as add
from fastgrad.engine import _dot as dot
from fastgrad.engine import _linear as linear
from fastgrad.engine import _Matrix as Matrix
from fastgrad.engine import _reduce as reduce
from fastgrad.engine import _scale as scale
from fastgrad.engine import _softmax as softmax

# Neither sum nor round: a star import must not replace a builtin.
__all__ = [
    "Matrix",
    "acos",
    "acosh",
    "add",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "binary_cross_entropy_with_logits",
    "cbrt",
    "ceil",
    "clip",
    "cosh",
    "cross_entropy",
    "digamma",
    "dot",
    "equal",
    "erf",
    "erfc",
    "expm1",
    "floor",
    "fmod",
    "gelu",
    "greater",
    "greater_equal",
    "hinge_loss",
    "hypot",
    "l2",
    "leaky_relu",
    "less",
    "less_equal",
    "lgamma",
    "linear",
    "log1p",
    "log2",
    "log10",
    "log_softmax",
    "logical_and",
    "logical_not",
    "logical_or",
    "logsumexp",
    "maximum",
    "mean",
    "minimum",
    "mse_loss",
    "ndtr",
    "nll_loss",
    "not_equal",
    "polygamma",
    "remainder",
    "rms_norm",
    "scale",
    "sign",
    "silu",
    "sinh",
    "softmax",
    "softplus",
    "tan",
    "where",
]

Number: TypeAlias = SupportsFloat | SupportsIndex
Scalar: TypeAlias = Value | Number
Vector: TypeAlias = Iterable[Scalar]
Item = TypeVar("Item")
Loss: TypeAlias = Value | list[Value]
Reduced: TypeAlias = Literal["mean", "sum"]
REDUCTIONS = ("mean", "sum", "none")

# help() and pickles find the engine's functions by this name.
for _function in (add, dot, linear, scale, softmax):
    _function.__module__ = __name__


def sum(values: Vector) -> Value:  # noqa: A001
    """Return x1 + ... + xn as one node; ValueError if there are no values."""
    return reduce("sum", values)


def mean(values: Vector) -> Value:
    """Return (x1 + ... + xn) / n as one node; ValueError if there are no values."""
    return reduce("mean", values)


def logsumexp(values: Vector) -> Value:
    """Return log(exp(x1) + ... + exp(xn)), which does not overflow; ValueError if there are no values."""
    return reduce("logsumexp", values)


def l2(parameters: Vector) -> Value:
    """Return x1**2 + ... + xn**2 as one node; ValueError if there are no values."""
    return reduce("square_sum", vector("l2", parameters))


def maximum(left: Scalar, right: Scalar) -> Value:
    """Return the larger of two: equal ones share the gradient, nan propagates, as in torch."""
    return apply("maximum", left, right)


def minimum(left: Scalar, right: Scalar) -> Value:
    """Return the smaller of two: equal ones share the gradient, nan propagates, as in torch."""
    return apply("minimum", left, right)


def leaky_relu(x: Scalar, negative_slope: Scalar = 0.01) -> Value:
    """Return x where it is positive, else negative_slope * x."""
    return apply("leaky_relu", x, negative_slope)


def softplus(x: Scalar) -> Value:
    """Return log(1 + exp(x)), which does not overflow."""
    return apply("softplus", x)


def silu(x: Scalar) -> Value:
    """Return x * sigmoid(x), also known as swish."""
    return apply("silu", x)


def where(condition: Scalar | bool, left: Scalar, right: Scalar) -> Value:
    """Return left if the condition is positive (or True), else right; only the chosen one gets gradient.

    The other one gets none even if it is nan or has an infinite derivative: `where(x, x.sqrt(), 0.0)` has
    the derivative 0 at 0, where torch and jax give nan.

    The condition may be a Value, whose sign then decides: `where(x - 2, a, b)` is a where x > 2.
    """
    return apply("where", condition, left, right)


# The rows of the table, one node each.


def erf(x: Scalar) -> Value:
    """Return the error function of x: 2 / sqrt(pi) times the integral of exp(-t**2) from 0 to x."""
    return apply("erf", x)


def erfc(x: Scalar) -> Value:
    """Return 1 - erf(x), also of a large x in full."""
    return apply("erfc", x)


def expm1(x: Scalar) -> Value:
    """Return exp(x) - 1, also of a small x in full; OverflowError above 709.78."""
    return apply("expm1", x)


def log1p(x: Scalar) -> Value:
    """Return log(1 + x), also of a small x in full; ValueError unless x is above -1."""
    return apply("log1p", x)


def log2(x: Scalar) -> Value:
    """Return the logarithm of x to base 2; ValueError unless x is positive."""
    return apply("log2", x)


def log10(x: Scalar) -> Value:
    """Return the logarithm of x to base 10; ValueError unless x is positive."""
    return apply("log10", x)


def cbrt(x: Scalar) -> Value:
    """Return the cube root of x, of the sign of x."""
    return apply("cbrt", x)


def lgamma(x: Scalar) -> Value:
    """Return the logarithm of |gamma(x)|; ValueError at 0 and negative integers."""
    return apply("lgamma", x)


def digamma(x: Scalar) -> Value:
    """Return the derivative of lgamma at x; ValueError at 0 and negative integers."""
    return apply("digamma", x)


def tan(x: Scalar) -> Value:
    """Return the tangent of x, in radians; ValueError if x is infinite."""
    return apply("tan", x)


def asin(x: Scalar) -> Value:
    """Return the inverse sine of x, in radians; ValueError unless -1 <= x <= 1."""
    return apply("asin", x)


def acos(x: Scalar) -> Value:
    """Return the inverse cosine of x, in radians; ValueError unless -1 <= x <= 1."""
    return apply("acos", x)


def atan(x: Scalar) -> Value:
    """Return the inverse tangent of x, in radians."""
    return apply("atan", x)


def sinh(x: Scalar) -> Value:
    """Return the hyperbolic sine of x; OverflowError beyond +-710.47."""
    return apply("sinh", x)


def cosh(x: Scalar) -> Value:
    """Return the hyperbolic cosine of x; OverflowError beyond +-710.47."""
    return apply("cosh", x)


def asinh(x: Scalar) -> Value:
    """Return the inverse hyperbolic sine of x."""
    return apply("asinh", x)


def acosh(x: Scalar) -> Value:
    """Return the inverse hyperbolic cosine of x; ValueError below 1."""
    return apply("acosh", x)


def atanh(x: Scalar) -> Value:
    """Return the inverse hyperbolic tangent of x; ValueError unless -1 < x < 1."""
    return apply("atanh", x)


def floor(x: Scalar) -> Value:
    """Return the largest integer that is not above x, as a Value; the derivative is 0."""
    return apply("floor", x)


def ceil(x: Scalar) -> Value:
    """Return the smallest integer that is not below x, as a Value; the derivative is 0."""
    return apply("ceil", x)


def round(x: Scalar) -> Value:  # noqa: A001
    """Return the integer nearest to x, the even one of two, as a Value; the derivative is 0."""
    return apply("round", x)


def sign(x: Scalar) -> Value:
    """Return -1, 0 or 1, the sign of x; nan of nan. The derivative is 0."""
    return apply("sign", x)


def ndtr(x: Scalar) -> Value:
    """Return the probability that a standard normal number is at most x, as torch.special.ndtr."""
    return apply("ndtr", x)


def logical_not(x: Scalar) -> Value:
    """Return 0 where x holds, that is, is positive, else 1; the derivative is 0."""
    return apply("logical_not", x)


def atan2(y: Scalar, x: Scalar) -> Value:
    """Return the angle of the point (x, y), from -pi to pi; at the origin both derivatives are 0."""
    return apply("atan2", y, x)


def hypot(x: Scalar, y: Scalar) -> Value:
    """Return sqrt(x**2 + y**2), which does not overflow; at the origin both derivatives are nan."""
    return apply("hypot", x, y)


def fmod(x: Scalar, y: Scalar) -> Value:
    """Return the remainder of x / y that has the sign of x; ZeroDivisionError if y is 0."""
    return apply("fmod", x, y)


def greater(x: Scalar, y: Scalar) -> Value:
    """Return 1 where x > y, else 0, as a Value; the derivatives are 0."""
    return apply("greater", x, y)


def greater_equal(x: Scalar, y: Scalar) -> Value:
    """Return 1 where x >= y, else 0, as a Value; the derivatives are 0."""
    return apply("greater_equal", x, y)


def less(x: Scalar, y: Scalar) -> Value:
    """Return 1 where x < y, else 0, as a Value; the derivatives are 0."""
    return apply("less", x, y)


def less_equal(x: Scalar, y: Scalar) -> Value:
    """Return 1 where x <= y, else 0, as a Value; the derivatives are 0."""
    return apply("less_equal", x, y)


def equal(x: Scalar, y: Scalar) -> Value:
    """Return 1 where x == y, else 0, as a Value; the derivatives are 0."""
    return apply("equal", x, y)


def not_equal(x: Scalar, y: Scalar) -> Value:
    """Return 1 where x != y, else 0, as a Value; the derivatives are 0."""
    return apply("not_equal", x, y)


def logical_and(x: Scalar, y: Scalar) -> Value:
    """Return 1 where both hold, that is, are positive, else 0; the derivatives are 0."""
    return apply("logical_and", x, y)


def logical_or(x: Scalar, y: Scalar) -> Value:
    """Return 1 where one of both holds, that is, is positive, else 0; the derivatives are 0."""
    return apply("logical_or", x, y)


def remainder(x: Scalar, y: Scalar) -> Value:
    """Return x % y = x - y * floor(x / y), of the sign of y; ZeroDivisionError if y is 0."""
    return apply("mod", x, y)


def polygamma(n: SupportsIndex, x: Scalar) -> Value:
    """Return the derivative number n of digamma at x.

    n: an integer from 0 to 100; TypeError for no integer, ValueError for another one, and at the poles of x,
    0 and the negative integers.
    """
    if not isinstance(n, SupportsIndex):
        raise TypeError(f"the order of polygamma must be an integer, not {n!r}")
    return apply("polygamma", operator.index(n), x)


def clip(x: Scalar, min: Scalar | None = None, max: Scalar | None = None) -> Value:  # noqa: A002
    """Return x, at least min and at most max, either of which may be None; max wins if it is below min.

    The derivative by x is 1 from min to max, these included, and else 0, as torch's clamp has it. Raises
    TypeError if both are None.
    """
    if min is None and max is None:
        raise TypeError("clip needs a min or a max")
    return apply("clip", x, -math.inf if min is None else min, math.inf if max is None else max)


def gelu(x: Scalar, approximate: Literal["none", "tanh"] = "none") -> Value:
    """Return x * ndtr(x); with approximate="tanh" 0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))).

    After Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016). Raises ValueError for another word.
    """
    if approximate == "none":
        return apply("gelu", x)
    if approximate != "tanh":
        raise ValueError(f"approximate must be one of none, tanh, not {approximate!r}")
    # 1 + tanh(u) is 2 * sigmoid(2 * u), where nothing cancels.
    x = apply("add", x, 0.0) if not isinstance(x, Value) else x
    return x * (x * (1.5957691216057308 + 0.07135481627260025 * x * x)).sigmoid()


# Vectors and losses.


def log_softmax(values: Vector) -> list[Value]:
    """Return the logarithm of each value's softmax, without computing it; ValueError if there are none."""
    values = vector("log_softmax", values)
    total = reduce("logsumexp", values)
    return [value - total for value in values]


def rms_norm(values: Vector, weight: Vector | None = None, *, eps: float = 1e-5) -> list[Value]:
    """Return xi / sqrt(mean of the squares + eps) for each xi, times weight i if there are weights.

    Unlike torch's it takes no `normalized_shape`: the second argument is the weights. Raises ValueError if
    there are no values or another number of weights. After Zhang and Sennrich, "Root Mean Square Layer
    Normalization" (2019).
    """
    values = vector("rms_norm", values)
    normal = scale(values, (reduce("square_mean", values) + eps) ** -0.5)
    return normal if weight is None else pairwise("rms_norm", "mul", normal, weight)


@overload
def mse_loss(input: Vector, target: Vector, reduction: Reduced = "mean") -> Value: ...
@overload
def mse_loss(input: Vector, target: Vector, reduction: Literal["none"]) -> list[Value]: ...
def mse_loss(input: Vector, target: Vector, reduction: str = "mean") -> Loss:  # noqa: A002
    """Return the squared differences of n predictions and n targets, reduced.

    Raises ValueError if the lengths differ or are 0.
    """
    # By the operation `sub`: input - target of two numbers would be a number and not a Value.
    differences = pairwise("mse_loss", "sub", input, target)
    if reduction in ("mean", "sum"):
        return reduce(f"square_{reduction}", differences)
    return reduced([difference * difference for difference in differences], reduction)


@overload
def hinge_loss(input: Vector, target: Vector, reduction: Reduced = "mean") -> Value: ...
@overload
def hinge_loss(input: Vector, target: Vector, reduction: Literal["none"]) -> list[Value]: ...
def hinge_loss(input: Vector, target: Vector, reduction: str = "mean") -> Loss:  # noqa: A002
    """Return max(0, 1 - target * score) for n scores and n targets of -1 or 1, reduced.

    This is micrograd's max-margin loss `(1 + -target * score).relu()`. Raises ValueError if the
    lengths differ or are 0, or if a target is a number other than -1 and 1. A target that is a Value, such
    as an argument of a compiled function, is not looked at.
    """
    target = listed("hinge_loss", target)
    losses = pairwise("hinge_loss", "hinge", input, target)
    for index, label in enumerate(target):
        if not isinstance(label, Value) and float(label) not in (-1.0, 1.0):
            raise ValueError(f"hinge_loss: a target is -1 or 1, but number {index} is {label!r}")
    return reduced(losses, reduction)


@overload
def binary_cross_entropy_with_logits(input: Vector, target: Vector, reduction: Reduced = "mean") -> Value: ...
@overload
def binary_cross_entropy_with_logits(
    input: Vector, target: Vector, reduction: Literal["none"]
) -> list[Value]: ...
def binary_cross_entropy_with_logits(
    input: Vector,  # noqa: A002
    target: Vector,
    reduction: str = "mean",
) -> Loss:
    """Return -t * log(sigmoid(x)) - (1 - t) * log(1 - sigmoid(x)) for n logits and n targets, reduced.

    It does not overflow. Raises ValueError if the lengths differ or are 0.
    """
    return reduced(pairwise("binary_cross_entropy_with_logits", "logistic", input, target), reduction)


@overload
def cross_entropy(input: Vector, target: SupportsIndex | Value, reduction: str = "mean") -> Value: ...
@overload
def cross_entropy(
    input: Iterable[Vector],
    target: Iterable[SupportsIndex | Value],
    reduction: Reduced = "mean",
) -> Value: ...
@overload
def cross_entropy(
    input: Iterable[Vector],
    target: Iterable[SupportsIndex | Value],
    reduction: Literal["none"],
) -> list[Value]: ...
def cross_entropy(
    input: Vector | Iterable[Vector],  # noqa: A002
    target: SupportsIndex | Value | Iterable[SupportsIndex | Value],
    reduction: str = "mean",
) -> Loss:
    """Return -log(softmax(logits)[target]) of raw logits, reduced.

    Takes n logits and the number of the right class, or a batch of N such rows and N numbers. It does not
    overflow. Raises ValueError if a target is out of range, or if lengths differ or are 0; TypeError if a
    target is no integer.
    """

    def loss(logits: Vector, number: SupportsIndex) -> Value:
        logits = listed("cross_entropy", logits)
        chosen = pick("cross_entropy", logits, number)
        return reduce("logsumexp", logits) - chosen

    return over_rows("cross_entropy", loss, input, target, reduction)


@overload
def nll_loss(input: Vector, target: SupportsIndex | Value, reduction: str = "mean") -> Value: ...
@overload
def nll_loss(
    input: Iterable[Vector],
    target: Iterable[SupportsIndex | Value],
    reduction: Reduced = "mean",
) -> Value: ...
@overload
def nll_loss(
    input: Iterable[Vector],
    target: Iterable[SupportsIndex | Value],
    reduction: Literal["none"],
) -> list[Value]: ...
def nll_loss(
    input: Vector | Iterable[Vector],  # noqa: A002
    target: SupportsIndex | Value | Iterable[SupportsIndex | Value],
    reduction: str = "mean",
) -> Loss:
    """Return -input[target] of log-probabilities, as `log_softmax` gives them, reduced.

    Takes a row or a batch and raises errors as `cross_entropy` does.
    """

    def loss(logarithms: Vector, number: SupportsIndex) -> Value:
        return apply("mul", pick("nll_loss", listed("nll_loss", logarithms), number), -1.0)

    return over_rows("nll_loss", loss, input, target, reduction)


# What the functions share.


def listed(function: str, values: Iterable[Item]) -> list[Item]:
    """Return the values as a list; raise TypeError that names the function if they are not iterable."""
    # A Value is asked first: to find that it lacks an attribute takes long.
    if isinstance(values, Value) or not (hasattr(values, "__iter__") or hasattr(values, "__getitem__")):
        found = "a Value" if isinstance(values, Value) and _is_tracing() else repr(values)
        raise TypeError(f"{function} needs a list of Values or numbers, not {found}")
    return list(values)


def vector(function: str, values: Iterable[Item]) -> list[Item]:
    """Return the values as a list of at least one; ValueError that names the function if there are none."""
    result = listed(function, values)
    if not result:
        raise ValueError(f"{function} of no values")
    return result


def reduced(values: list[Value], reduction: str) -> Loss:
    """Return the mean or the sum of the values; with 'none' the values themselves."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {', '.join(REDUCTIONS)}, not {reduction!r}")
    return values if reduction == "none" else reduce(reduction, values)


def same_length(function: str, left: Iterable[Any], right: Iterable[Any]) -> tuple[list[Any], list[Any]]:
    """Return two lists; ValueError unless they are of one length, and not empty."""
    left, right = listed(function, left), listed(function, right)
    if len(left) != len(right) or not left:
        raise ValueError(
            f"{function} needs two equally long vectors of at least one: got {len(left)} and {len(right)}"
        )
    return left, right


def pairwise(function: str, operation: str, left: Vector, right: Vector) -> list[Value]:
    """Return an operation of the table on each pair of two vectors."""
    return [apply(operation, a, b) for a, b in zip(*same_length(function, left, right), strict=True)]


def pick(function: str, values: Sequence[Item], number: SupportsIndex) -> Item:
    """Return values[number]; ValueError unless 0 <= number < len(values), TypeError for no integer."""
    if isinstance(number, Value):
        # In a compiled function, an index that differs from row to row.
        from fastgrad.compiler.tracing import Index, take

        if not isinstance(number, Index):
            raise TypeError(
                f"{function}: the target is the number of a class, an integer or, in a compiled function, "
                "an argument of integers, not a Value"
            )
        chosen: Item = take(values, number)
        return chosen
    try:
        index = operator.index(number)
    except TypeError as error:
        raise TypeError(
            f"{function}: the target is the number of a class, an integer, not {number!r}"
        ) from error
    if not 0 <= index < len(values):
        raise ValueError(f"{function}: the target is {index}, but there are {len(values)} classes")
    return values[index]


def over_rows(
    function: str,
    loss: Callable[[Vector, SupportsIndex], Value],
    rows: Any,
    targets: Any,
    reduction: str,
) -> Loss:
    """Return the loss of one row and one target, or the reduced losses of a batch of them."""
    rows = listed(function, rows)
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {', '.join(REDUCTIONS)}, not {reduction!r}")
    if not rows:
        raise ValueError(f"{function} of no values")
    # A Value is asked first: to find that it lacks an attribute takes long.
    if isinstance(rows[0], Value) or not (hasattr(rows[0], "__len__") or hasattr(rows[0], "__iter__")):
        return loss(rows, targets)
    if not (hasattr(targets, "__iter__") or hasattr(targets, "__getitem__")):
        raise TypeError(f"{function}: a batch needs a target for each of its {len(rows)} rows, not one")
    rows, targets = same_length(function, rows, targets)
    return reduced([loss(row, number) for row, number in zip(rows, targets, strict=True)], reduction)
