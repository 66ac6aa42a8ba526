"""What each operation means: the one place outside of the package that says it.

Every harness takes it from here. `duals.py` computes the exact value and, by calculus, the exact derivatives
from `definition`; `rounding_bounds.py` knows the functions of the C library from here; the fuzzer's reference
takes symbols, methods and refusals, and in Python's floats the value, to the last bit, and the derivatives,
which follow IEEE and never raise. Nothing here reads the package's table.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import mpmath


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


def sqrt(a):
    return math.sqrt(a) if a >= 0.0 else math.nan


def sin(a):
    return math.nan if math.isinf(a) else math.sin(a)


def cos(a):
    return math.nan if math.isinf(a) else math.cos(a)


def sigmoid(a):
    return 1.0 / (1.0 + exp(-a)) if a >= 0.0 else exp(a) / (1.0 + exp(a))


def step(condition):
    return 1.0 if condition else 0.0


def no_refusal(*operands):
    return None


class Meaning(NamedTuple):
    """An operation; `definition` is in `a`, `b`, `c`, or `x`, a list of operands.

    At a kink it settles the derivative. `partials` take the operands and the result. `value` is how floats
    are computed where the definition, as it is written, overflows or rounds otherwise. `refusal` is the
    exception raised instead of a result that is not finite.
    """

    symbol: str
    definition: str
    partials: Callable[..., tuple[float, ...]]
    value: Callable[..., float] | None = None
    refusal: Callable[..., Exception | None] = no_refusal
    method: str = ""
    commutes: bool = False
    # What is not chosen gets no gradient, and hands none on.
    selects: bool = False


class Function(NamedTuple):
    """A function of one operand, in mpmath's numbers; `floats` is the same as IEEE has it.

    `spread(x, e, y)` bounds generously how far an error e of the operand x moves the value y, and `ulp`
    what the library adds: what glibc's manual and measurements allow (Zimmermann et al., "Accuracy of
    Mathematical Functions", 2024).
    """

    value: Callable
    floats: Callable
    derivative: Callable
    spread: Callable
    ulp: float


def by_slope(x, e, y):
    """The spread of what is nowhere steeper than the identity."""
    return e


FUNCTIONS = {
    "exp": Function(mpmath.exp, exp, mpmath.exp, lambda x, e, y: y * mpmath.expm1(e), 1),
    "log": Function(
        mpmath.log, log, lambda x: 1 / x, lambda x, e, y: e / (x - e) if e < x else mpmath.inf, 1
    ),
    "log1p": Function(
        mpmath.log1p,
        math.log1p,
        lambda x: 1 / (1 + x),
        lambda x, e, y: e / (1 + x - e) if e < 1 + x else mpmath.inf,
        2,
    ),
    "sqrt": Function(
        mpmath.sqrt, sqrt, lambda x: 1 / (2 * mpmath.sqrt(x)) if x else mpmath.inf, lambda x, e, y: e / y, 0.5
    ),
    "tanh": Function(mpmath.tanh, math.tanh, lambda x: mpmath.sech(x) ** 2, by_slope, 3),
    "sin": Function(mpmath.sin, sin, mpmath.cos, by_slope, 1),
    "cos": Function(mpmath.cos, cos, lambda x: -mpmath.sin(x), by_slope, 1),
}


def too_large(*operands):
    return OverflowError("the result is too large") if all(map(math.isfinite, operands)) else None


def refused_infinity(a):
    return ValueError("the operand must be finite") if math.isinf(a) else None


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


OPERATIONS = {
    "abs": Meaning("abs", "fabs(a)", lambda a, out: (step(a > 0.0) - step(a < 0.0),), method="__abs__"),
    "relu": Meaning(
        "ReLU",
        "a if a > 0 else 0 * a",
        lambda a, out: (step(out > 0.0),),
        value=lambda a: 0.0 if a < 0.0 else a,
        method="relu",
    ),
    "tanh": Meaning("tanh", "tanh(a)", lambda a, out: (1.0 - out * out,), method="tanh"),
    "exp": Meaning("exp", "exp(a)", lambda a, out: (out,), refusal=too_large, method="exp"),
    "log": Meaning(
        "log",
        "log(a)",
        lambda a, out: (divide(1.0, a),),
        refusal=lambda a: ValueError("the operand must be positive") if a <= 0.0 else None,
        method="log",
    ),
    "sigmoid": Meaning(
        "sigmoid",
        "1 / (1 + exp(-a))",
        lambda a, out: (out * (1.0 - out),),
        value=sigmoid,
        method="sigmoid",
    ),
    "sqrt": Meaning(
        "sqrt",
        "sqrt(a)",
        lambda a, out: (divide(0.5, out),),
        refusal=lambda a: ValueError("the operand must not be negative") if a < 0.0 else None,
        method="sqrt",
    ),
    "sin": Meaning("sin", "sin(a)", lambda a, out: (cos(a),), refusal=refused_infinity, method="sin"),
    "cos": Meaning("cos", "cos(a)", lambda a, out: (-sin(a),), refusal=refused_infinity, method="cos"),
    "add": Meaning("+", "a + b", lambda a, b, out: (1.0, 1.0), method="__add__", commutes=True),
    "sub": Meaning("+", "a - b", lambda a, b, out: (1.0, -1.0), method="__sub__"),
    "mul": Meaning("*", "a * b", lambda a, b, out: (b, a), method="__mul__", commutes=True),
    "div": Meaning(
        "*",
        "a / b",
        lambda a, b, out: (divide(1.0, b), -a * divide(1.0, b) * divide(1.0, b)),
        value=lambda a, b: a * divide(1.0, b),
        refusal=refused_division,
        method="__truediv__",
    ),
    "pow": Meaning(
        "**",
        "pow(a, b)",
        power_partials,
        value=lambda a, b: a * a if b == 2.0 else divide(1.0, a) if b == -1.0 else power(a, b),
        refusal=refused_power,
        method="__pow__",
    ),
    "softplus": Meaning(
        "softplus",
        "a + log1p(exp(-a)) if a > 0 else log1p(exp(a))",
        lambda a, out: (sigmoid(a),),
        value=lambda a: (a if a > 0.0 or a != a else 0.0) + math.log1p(exp(-abs(a))),
    ),
    "silu": Meaning(
        "silu",
        "a / (1 + exp(-a))",
        lambda a, out: (sigmoid(a) + out * sigmoid(-a),),
        value=lambda a: a * sigmoid(a),
    ),
    "leaky_relu": Meaning(
        "leaky_relu",
        "a if a > 0 else a * b",
        lambda a, b, out: (1.0, 0.0) if a > 0.0 else (b, a),
        value=lambda a, b: a if a > 0.0 and b == b else a * b,
    ),
    "maximum": Meaning(
        "maximum",
        "a if a > b else b if b > a else (a + b) / 2",
        lambda a, b, out: extreme_partials(a, b, a > b),
        value=lambda a, b: a if a > b or a != a else b,
        commutes=True,
        selects=True,
    ),
    "minimum": Meaning(
        "minimum",
        "a if a < b else b if b < a else (a + b) / 2",
        lambda a, b, out: extreme_partials(a, b, a < b),
        value=lambda a, b: a if a < b or a != a else b,
        commutes=True,
        selects=True,
    ),
    "softmax": Meaning("softmax", "exp(a - b)", lambda a, b, out: (out, -out)),
    "hinge": Meaning(
        "hinge",
        "1 - a * b if 1 - a * b > 0 else 0 * a",
        lambda a, b, out: (-b, -a) if out > 0.0 else (0.0, 0.0),
        value=lambda a, b: 0.0 if 1.0 - a * b < 0.0 else 1.0 - a * b,
        commutes=True,
    ),
    "logistic": Meaning(
        "logistic",
        "(a + log1p(exp(-a)) if a > 0 else log1p(exp(a))) - a * b",
        lambda a, b, out: (sigmoid(a) - b, -a),
        value=lambda a, b: (a if a > 0.0 or a != a else 0.0) - a * b + math.log1p(exp(-abs(a))),
    ),
    "where": Meaning(
        "where",
        "b if a > 0 else c",
        lambda a, b, c, out: (0.0, 1.0, 0.0) if a > 0.0 else (0.0, 0.0, 1.0),
        selects=True,
    ),
}

REDUCTIONS = {
    "sum": Meaning("sum", "add(x)", lambda *xs: (1.0,) * (len(xs) - 1)),
    "mean": Meaning("mean", "add(x) / len(x)", lambda *xs: (1.0 / (len(xs) - 1),) * (len(xs) - 1)),
    "square_sum": Meaning("square_sum", "add(v * v for v in x)", lambda *xs: tuple(2.0 * a for a in xs[:-1])),
    "square_mean": Meaning(
        "square_mean",
        "add(v * v for v in x) / len(x)",
        lambda *xs: tuple(2.0 * a / (len(xs) - 1) for a in xs[:-1]),
    ),
    "logsumexp": Meaning(
        "logsumexp",
        "log(add(exp(v - largest(x)) for v in x)) + largest(x)",
        lambda *xs: tuple(exp(a - xs[-1]) for a in xs[:-1]),
        value=logsumexp,
    ),
}


def with_values(rows: dict[str, Meaning], parameters: str | None = None) -> dict[str, Meaning]:
    """The rows, those whose definition says how floats are computed with that as their value."""
    names = {name: function.floats for name, function in FUNCTIONS.items()}
    names |= {"fabs": abs, "add": left_to_right}
    completed = {}
    for name, row in rows.items():
        arguments = parameters or ", ".join("abc"[: operands_of(row)])
        value = row.value or eval(f"lambda {arguments}: {row.definition}", names)
        completed[name] = row._replace(value=value)
    return completed


def operands_of(row: Meaning) -> int:
    """The number of an operation's operands."""
    return row.partials.__code__.co_argcount - 1


OPERATIONS = with_values(OPERATIONS)
REDUCTIONS = with_values(REDUCTIONS, "*x")
MEANINGS = OPERATIONS | REDUCTIONS
