"""What each operation is worth, its partial derivatives and what it refuses, in Python floats.

`value` and `partials` follow IEEE and never raise; `refusal` is the exception that the engine raises
instead of a result that is not finite. `partials` take the operands and the result.
"""

import math
from collections.abc import Callable
from typing import NamedTuple


def exp(a):
    try:
        return math.exp(a)
    except OverflowError:
        return math.inf


def log(a):
    if a == 0.0:
        return -math.inf
    return math.log(a) if a > 0.0 else math.nan


def divide(a, b):
    if b != 0.0:
        return a / b
    return math.nan if a == 0.0 or a != a else math.copysign(math.inf, a) * math.copysign(1.0, b)


def power(a, b):
    odd = math.isfinite(b) and b % 2.0 == 1.0
    try:
        return math.pow(a, b)
    except OverflowError:
        return -math.inf if a < 0.0 and odd else math.inf
    except ValueError:
        if a != 0.0:
            return math.nan
        return math.copysign(math.inf, a) if odd else math.inf


def periodic(function, a):
    return math.nan if math.isinf(a) else function(a)


def sigmoid(a):
    return 1.0 / (1.0 + exp(-a)) if a >= 0.0 else exp(a) / (1.0 + exp(a))


def step(condition):
    return 1.0 if condition else 0.0


def no_refusal(*operands):
    return None


class Rule(NamedTuple):
    symbol: str
    value: Callable[..., float]
    partials: Callable[..., tuple[float, ...]]
    refusal: Callable[..., Exception | None] = no_refusal


def too_large(*operands):
    return OverflowError("the result is too large") if all(map(math.isfinite, operands)) else None


def refused_division(a, b):
    if b == 0.0:
        return ZeroDivisionError("division by zero")
    return OverflowError("1 / right is too large") if math.isinf(divide(1.0, b)) else None


def refused_power(a, b):
    if a == 0.0 and b < 0.0 and math.isfinite(b):
        return ZeroDivisionError("zero cannot be raised to a negative power")
    if a < 0.0 and math.isfinite(a) and math.isfinite(b) and not b.is_integer():
        return ValueError("a negative number has no real fractional power")
    return too_large(a, b)


def power_partials(a, b, out):
    by_base = 2.0 * a if b == 2.0 else 0.0 if b == 0.0 else b * power(a, b - 1.0)
    by_exponent = 0.0 if a == 0.0 and b >= 0.0 else out * log(a)
    return by_base, by_exponent


def extreme_partials(a, b, first):
    if a == b:
        return 0.5, 0.5
    # A nan is neither larger nor smaller: both get the gradient.
    if a != a or b != b:
        return 1.0, 1.0
    return (1.0, 0.0) if first else (0.0, 1.0)


RULES = {
    "abs": Rule("abs", abs, lambda a, out: (step(a > 0.0) - step(a < 0.0),)),
    "relu": Rule("ReLU", lambda a: 0.0 if a < 0.0 else a, lambda a, out: (step(out > 0.0),)),
    "tanh": Rule("tanh", math.tanh, lambda a, out: (1.0 - out * out,)),
    "exp": Rule("exp", exp, lambda a, out: (out,), too_large),
    "log": Rule(
        "log",
        log,
        lambda a, out: (divide(1.0, a),),
        lambda a: ValueError("the operand must be positive") if a <= 0.0 else None,
    ),
    "softplus": Rule(
        "softplus",
        lambda a: (a if a > 0.0 or a != a else 0.0) + math.log1p(exp(-abs(a))),
        lambda a, out: (sigmoid(a),),
    ),
    "silu": Rule(
        "silu",
        lambda a: a * sigmoid(a),
        lambda a, out: (sigmoid(a) + out * sigmoid(-a),),
    ),
    "leaky_relu": Rule(
        "leaky_relu",
        lambda a, b: a if a > 0.0 else a * b,
        lambda a, b, out: (1.0, 0.0) if a > 0.0 else (b, a),
    ),
    "sigmoid": Rule("sigmoid", sigmoid, lambda a, out: (out * (1.0 - out),)),
    "sqrt": Rule(
        "sqrt",
        lambda a: math.sqrt(a) if a >= 0.0 else math.nan,
        lambda a, out: (divide(0.5, out),),
        lambda a: ValueError("the operand must not be negative") if a < 0.0 else None,
    ),
    "sin": Rule(
        "sin",
        lambda a: periodic(math.sin, a),
        lambda a, out: (periodic(math.cos, a),),
        lambda a: ValueError("the operand must be finite") if math.isinf(a) else None,
    ),
    "cos": Rule(
        "cos",
        lambda a: periodic(math.cos, a),
        lambda a, out: (-periodic(math.sin, a),),
        lambda a: ValueError("the operand must be finite") if math.isinf(a) else None,
    ),
    "add": Rule("+", lambda a, b: a + b, lambda a, b, out: (1.0, 1.0)),
    "sub": Rule("+", lambda a, b: a - b, lambda a, b, out: (1.0, -1.0)),
    "mul": Rule("*", lambda a, b: a * b, lambda a, b, out: (b, a)),
    "div": Rule(
        "*",
        lambda a, b: a * divide(1.0, b),
        lambda a, b, out: (divide(1.0, b), -a * divide(1.0, b) * divide(1.0, b)),
        refused_division,
    ),
    "pow": Rule(
        "**",
        lambda a, b: a * a if b == 2.0 else divide(1.0, a) if b == -1.0 else power(a, b),
        power_partials,
        refused_power,
    ),
    "maximum": Rule(
        "maximum",
        lambda a, b: a if a > b or a != a else b,
        lambda a, b, out: extreme_partials(a, b, a > b),
    ),
    "minimum": Rule(
        "minimum",
        lambda a, b: a if a < b or a != a else b,
        lambda a, b, out: extreme_partials(a, b, a < b),
    ),
    "softmax": Rule("softmax", lambda a, b: exp(a - b), lambda a, b, out: (out, -out)),
    "hinge": Rule(
        "hinge",
        lambda a, b: 0.0 if 1.0 - a * b < 0.0 else 1.0 - a * b,
        lambda a, b, out: (-b, -a) if out > 0.0 else (0.0, 0.0),
    ),
    "logistic": Rule(
        "logistic",
        lambda a, b: (a if a > 0.0 or a != a else 0.0) - a * b + math.log1p(exp(-abs(a))),
        lambda a, b, out: (sigmoid(a) - b, -a),
    ),
    "where": Rule(
        "where",
        lambda a, b, c: b if a > 0.0 else c,
        lambda a, b, c, out: (0.0, 1.0, 0.0) if a > 0.0 else (0.0, 0.0, 1.0),
    ),
}

# What is not chosen gets no gradient, and hands none on.
SELECTING = {"maximum", "minimum", "where"}
COMMUTING = {"add", "mul", "maximum", "minimum", "hinge"}


def left_to_right(numbers):
    """Their sum, as the engine adds: Python's own `sum` compensates the rounding since 3.12."""
    total = 0.0
    for number in numbers:
        total += number
    return total


def logsumexp(*numbers):
    shift = max((a for a in numbers if a == a), default=-math.inf)
    if not math.isfinite(shift):
        shift = 0.0
    return shift + log(left_to_right(exp(a - shift) for a in numbers))


REDUCTIONS = {
    "sum": Rule("sum", lambda *xs: left_to_right(xs), lambda *xs: (1.0,) * (len(xs) - 1)),
    "mean": Rule(
        "mean",
        lambda *xs: left_to_right(xs) / len(xs),
        lambda *xs: (1.0 / (len(xs) - 1),) * (len(xs) - 1),
    ),
    "square_sum": Rule(
        "square_sum",
        lambda *xs: left_to_right(a * a for a in xs),
        lambda *xs: tuple(2.0 * a for a in xs[:-1]),
    ),
    "square_mean": Rule(
        "square_mean",
        lambda *xs: left_to_right(a * a for a in xs) / len(xs),
        lambda *xs: tuple(2.0 * a / (len(xs) - 1) for a in xs[:-1]),
    ),
    "logsumexp": Rule("logsumexp", logsumexp, lambda *xs: tuple(exp(a - xs[-1]) for a in xs[:-1])),
}

ACTIVATIONS = {"linear": "", "relu": "relu", "tanh": "tanh", "sigmoid": "sigmoid"}


def dot_rule(size, activation):
    """activation([bias +] w1 * x1 + ...); the operands are the n weights, perhaps a bias, the n inputs."""

    def value(*numbers):
        weights, inputs = numbers[:size], numbers[-size:]
        products = [w * x for w, x in zip(weights, inputs, strict=True)]
        terms = [*numbers[size:-size], *products]
        total = terms[0]
        for term in terms[1:]:
            total += term
        return RULES[activation].value(total) if activation else total

    def partials(*numbers):
        *operands, out = numbers
        slope = RULES[activation].partials(0.0, out)[0] if activation else 1.0
        weights, bias, inputs = operands[:size], operands[size:-size], operands[-size:]
        return (*(x * slope for x in inputs), *(slope for _ in bias), *(w * slope for w in weights))

    return Rule(RULES[activation].symbol if activation else "+", value, partials)


def rule_of(name, detail):
    """The rule of an operation; that of a dot product depends on the node's detail."""
    if name == "dot":
        return dot_rule(*detail)
    return RULES.get(name) or REDUCTIONS[name]
