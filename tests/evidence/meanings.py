"""The meaning of each operation: the one place outside of the package that defines it.

Every harness takes it from here. `duals.py` computes the exact value and, by calculus, the exact derivatives
from `definition`; `rounding_bounds.py` knows the functions of the C library from here; the fuzzer's reference
takes symbols, methods and refusals, and in Python's floats the value, to the last bit, and the derivatives,
which follow IEEE and never raise. Nothing here reads the package's table.
"""

import math
import operator
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


def total(function, outside=math.nan, above=math.inf):
    """Make a function of the math module return where it raises: nan, or inf of an operand's sign."""

    def call(a):
        try:
            return function(a)
        except OverflowError:
            return math.copysign(above, a)
        except ValueError:
            return outside

    return call


def at_poles(function, poles, infinite):
    """total() of a function with poles, where the result is infinite."""
    inside = total(function)
    return lambda a: infinite(a) if a in poles else inside(a)


def cbrt(a):
    with mpmath.workprec(120):
        return math.copysign(float(mpmath.cbrt(abs(a))), a) if math.isfinite(a) else a


def by_mpmath(function):
    """A function that Python does not have; nan where it has no result."""

    def call(*operands):
        if not all(map(math.isfinite, operands)):
            return math.nan
        with mpmath.workprec(320):
            try:
                found = function(*map(mpmath.mpf, operands))
            except (ValueError, ZeroDivisionError):
                return math.nan
            return float(mpmath.re(found))

    return call


def log_gamma(x):
    """The logarithm of |gamma(x)|; mpmath has that of gamma, which is complex where gamma is negative."""
    return mpmath.re(mpmath.loggamma(x))


def psi(n, x):
    """The derivative number n of digamma: mpmath's takes minutes for numbers that are not of ordinary size.

    The recurrence leads to 60 or more, where 60 terms of the asymptotic series have more than 320 bits.
    """
    n = int(n)
    if x <= 0 and x == mpmath.floor(x):
        raise ValueError("a pole")
    if x < -100:
        # By reflection; each derivative of cot is a polynomial in cot.
        coefficients = [0, 1]
        for _ in range(n):
            slopes = [k * c for k, c in enumerate(coefficients)][1:]
            coefficients = [
                -sum(slopes[k - shift] for shift in (0, 2) if 0 <= k - shift < len(slopes))
                for k in range(len(slopes) + 2)
            ]
        cot = mpmath.cot(mpmath.pi * x)
        return (-1) ** n * psi(n, 1 - x) - mpmath.pi ** (n + 1) * mpmath.polyval(coefficients[::-1], cot)
    sign, factorial, total = (-1) ** (n + 1), mpmath.factorial(n), mpmath.mpf(0)
    while x < 60 + n:
        total += factorial / x ** (n + 1)
        x = x + 1
    tail = factorial / (2 * x ** (n + 1)) + (mpmath.factorial(n - 1) / x**n if n else -mpmath.log(x))
    for k in range(1, 60):
        ratio = mpmath.rf(2 * k + 1, n - 1) if n else 1 / mpmath.mpf(2 * k)
        tail += mpmath.bernoulli(2 * k) * ratio / x ** (2 * k + n)
    return sign * (total + tail)


def is_pole(a):
    return a <= 0.0 and math.isfinite(a) and a == math.floor(a)


def lgamma(a):
    return math.inf if math.isinf(a) or is_pole(a) else by_mpmath(log_gamma)(a)


def digamma(a):
    if a == 0.0:
        return math.copysign(math.inf, -a)
    return a if a == math.inf else by_mpmath(lambda x: psi(0, x))(a)


def polygamma(n, x):
    if not 0.0 <= n <= 100.0 or n != math.floor(n):
        return math.nan
    if n == 0.0:
        return digamma(x)
    if is_pole(x) and n % 2.0:
        return math.inf
    return 0.0 if x == math.inf else by_mpmath(psi)(n, x)


def rint(a):
    return math.copysign(float(round(a)), a) if math.isfinite(a) else a


def mod(a, b):
    return a % b if b != 0.0 and not math.isinf(a) else math.nan


def fmod(a, b):
    return math.fmod(a, b) if b != 0.0 and not math.isinf(a) else math.nan


def whole(function):
    """math.floor or math.ceil as a float, -0.0 for what is between -1 and 0."""
    return lambda a: math.copysign(float(function(a)), a) if math.isfinite(a) else a


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
    # An operand that is not chosen gets no gradient, and passes none on.
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
    # The number whose ulps count, if that is not the result: for a difference, the size of its parts.
    size: Callable = lambda x: 0


def reciprocal_root(x):
    return 1 / mpmath.sqrt(x) if x > 0 else mpmath.inf


def by_slope(x, e, y):
    """The spread of a function that is nowhere steeper than the identity."""
    return e


def of_exact(x, e, y):
    """The spread of a function that no row applies to a rounded number."""
    return mpmath.inf


def poles_between(x):
    """Left of 0, where reflection makes the function a difference, the size of the terms that cancel."""
    return 2 + mpmath.pi / abs(mpmath.tan(mpmath.pi * x)) if x < 0 else 0


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
    "tan": Function(mpmath.tan, total(math.tan), lambda x: mpmath.sec(x) ** 2, of_exact, 1),
    "asin": Function(mpmath.asin, total(math.asin), lambda x: reciprocal_root(1 - x * x), of_exact, 1),
    "acos": Function(mpmath.acos, total(math.acos), lambda x: -reciprocal_root(1 - x * x), of_exact, 1),
    "atan": Function(mpmath.atan, math.atan, lambda x: 1 / (1 + x * x), by_slope, 1),
    "sinh": Function(mpmath.sinh, total(math.sinh), mpmath.cosh, of_exact, 2),
    "cosh": Function(mpmath.cosh, lambda a: total(math.cosh)(abs(a)), mpmath.sinh, of_exact, 2),
    "asinh": Function(mpmath.asinh, math.asinh, lambda x: reciprocal_root(1 + x * x), by_slope, 2),
    "acosh": Function(mpmath.acosh, total(math.acosh), lambda x: reciprocal_root(x * x - 1), of_exact, 2),
    "atanh": Function(
        mpmath.atanh,
        at_poles(math.atanh, (-1.0, 1.0), lambda a: math.copysign(math.inf, a)),
        lambda x: 1 / (1 - x * x) if abs(x) != 1 else mpmath.inf,
        of_exact,
        2,
    ),
    "expm1": Function(mpmath.expm1, total(math.expm1), mpmath.exp, of_exact, 1),
    "log2": Function(
        lambda x: mpmath.log(x) / mpmath.ln2,
        at_poles(math.log2, (0.0,), lambda a: -math.inf),
        lambda x: 1 / (x * mpmath.ln2),
        of_exact,
        1,
    ),
    "log10": Function(
        mpmath.log10,
        at_poles(math.log10, (0.0,), lambda a: -math.inf),
        lambda x: 1 / (x * mpmath.ln10),
        of_exact,
        2,
    ),
    "cbrt": Function(
        lambda x: mpmath.cbrt(x) if x >= 0 else -mpmath.cbrt(-x),
        cbrt,
        lambda x: 1 / (3 * mpmath.cbrt(abs(x)) ** 2) if x else mpmath.inf,
        of_exact,
        4,
    ),
    "erf": Function(
        mpmath.erf, math.erf, lambda x: 2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-x * x), of_exact, 1
    ),
    "erfc": Function(
        mpmath.erfc,
        math.erfc,
        lambda x: -2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-x * x),
        lambda x, e, y: 1.2 * e * mpmath.exp(-(max(abs(x) - e, 0) ** 2)),
        5,
    ),
    "lgamma": Function(log_gamma, lgamma, lambda x: psi(0, x), of_exact, 4),
    "digamma": Function(lambda x: psi(0, x), digamma, lambda x: psi(1, x), of_exact, 4, size=poles_between),
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


def refused_pole(a):
    if a <= 0.0 and math.isfinite(a) and a == math.floor(a):
        return ValueError("the operand is 0 or a negative integer, a pole")
    return None


def refused_gamma(a):
    return refused_pole(a) or too_large(a)


def outside(holds, text):
    """The refusal of operands for which a condition does not hold; nan is not refused."""
    return lambda a: None if a != a or holds(a) else ValueError(text)


def refused_polygamma(n, x):
    if n < 0.0 or n > 100.0 or math.floor(n) < n:
        return ValueError("the order must be a whole number from 0 to 100")
    return None if n != n else refused_pole(x) or too_large(n, x)


def refused_zero(a, b):
    return ZeroDivisionError("division by zero") if b == 0.0 else None


def bell(a):
    return exp(-a * a)


def remainder_partials(a, b, out):
    quotient = divide(a - out, b)
    return 1.0, -rint(quotient)


def hypot(a, b):
    """The C library's, as the engine calls it: math.hypot() may round to the number beside it."""
    try:
        return abs(complex(a, b))
    except OverflowError:
        return math.inf


def angle_partials(a, b, out):
    if a == 0.0 and b == 0.0:
        return 0.0, 0.0
    radius = hypot(a, b)
    return divide(divide(b, radius), radius), divide(divide(-a, radius), radius)


def nothing_of_one(a, out):
    return (0.0,)


def comparison(symbol, decide, **more):
    """A comparison: 1 or 0, and nothing is passed on."""
    return Meaning(
        symbol,
        f"a * 0 + b * 0 + (1 if a {symbol} b else 0)",
        lambda a, b, out: (0.0, 0.0),
        value=lambda a, b: step(decide(a, b)),
        selects=True,
        **more,
    )


def clipped(a, low, high):
    for number in (a, low, high):
        if number != number:
            return number
    return min(max(a, low), high)


def between(text, holds):
    return {"refusal": outside(holds, text)}


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
    "tan": Meaning(
        "tan", "tan(a)", lambda a, out: (1.0 + out * out,), refusal=refused_infinity, method="tan"
    ),
    "asin": Meaning(
        "asin",
        "asin(a)",
        lambda a, out: (divide(1.0, sqrt((1.0 - a) * (1.0 + a))),),
        method="asin",
        **between("the operand must be between -1 and 1", lambda a: abs(a) <= 1.0),
    ),
    "acos": Meaning(
        "acos",
        "acos(a)",
        lambda a, out: (divide(-1.0, sqrt((1.0 - a) * (1.0 + a))),),
        method="acos",
        **between("the operand must be between -1 and 1", lambda a: abs(a) <= 1.0),
    ),
    "atan": Meaning("atan", "atan(a)", lambda a, out: (1.0 / (1.0 + a * a),), method="atan"),
    "sinh": Meaning(
        "sinh", "sinh(a)", lambda a, out: (total(math.cosh)(abs(a)),), refusal=too_large, method="sinh"
    ),
    "cosh": Meaning(
        "cosh", "cosh(a)", lambda a, out: (total(math.sinh)(a),), refusal=too_large, method="cosh"
    ),
    "asinh": Meaning("asinh", "asinh(a)", lambda a, out: (1.0 / hypot(1.0, a),), method="asinh"),
    "acosh": Meaning(
        "acosh",
        "acosh(a)",
        lambda a, out: (divide(1.0, sqrt(a - 1.0) * sqrt(a + 1.0)),),
        method="acosh",
        **between("the operand must be at least 1", lambda a: a >= 1.0),
    ),
    "atanh": Meaning(
        "atanh",
        "atanh(a)",
        lambda a, out: (divide(1.0, (1.0 - a) * (1.0 + a)),),
        method="atanh",
        **between("the operand must be between -1 and 1, not at either", lambda a: abs(a) < 1.0),
    ),
    "expm1": Meaning("expm1", "expm1(a)", lambda a, out: (exp(a),), refusal=too_large, method="expm1"),
    "log1p": Meaning(
        "log1p",
        "log1p(a)",
        lambda a, out: (divide(1.0, 1.0 + a),),
        value=at_poles(math.log1p, (-1.0,), lambda a: -math.inf),
        method="log1p",
        **between("the operand must be greater than -1", lambda a: a > -1.0),
    ),
    "log2": Meaning(
        "log2",
        "log2(a)",
        lambda a, out: (divide(1.4426950408889634, a),),
        method="log2",
        **between("the operand must be positive", lambda a: a > 0.0),
    ),
    "log10": Meaning(
        "log10",
        "log10(a)",
        lambda a, out: (divide(0.4342944819032518, a),),
        method="log10",
        **between("the operand must be positive", lambda a: a > 0.0),
    ),
    "cbrt": Meaning("cbrt", "cbrt(a)", lambda a, out: (divide(1.0, 3.0 * out * out),), method="cbrt"),
    "erf": Meaning("erf", "erf(a)", lambda a, out: (1.1283791670955126 * bell(a),), method="erf"),
    "erfc": Meaning("erfc", "erfc(a)", lambda a, out: (-1.1283791670955126 * bell(a),), method="erfc"),
    "lgamma": Meaning(
        "lgamma", "lgamma(a)", lambda a, out: (digamma(a),), refusal=refused_gamma, method="lgamma"
    ),
    "digamma": Meaning(
        "digamma", "digamma(a)", lambda a, out: (polygamma(1.0, a),), refusal=refused_pole, method="digamma"
    ),
    "floor": Meaning(
        "floor", "floor(a)", nothing_of_one, value=whole(math.floor), method="floor", selects=True
    ),
    "ceil": Meaning("ceil", "ceil(a)", nothing_of_one, value=whole(math.ceil), method="ceil", selects=True),
    "round": Meaning("round", "rint(a)", nothing_of_one, value=rint, method="round", selects=True),
    "sign": Meaning(
        "sign",
        "sign(a)",
        nothing_of_one,
        value=lambda a: a if a != a else step(a > 0.0) - step(a < 0.0),
        method="sign",
        selects=True,
    ),
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
    "mod": Meaning("%", "mod(a, b)", remainder_partials, value=mod, refusal=refused_zero, method="__mod__"),
    "fmod": Meaning(
        "fmod", "fmod(a, b)", remainder_partials, value=fmod, refusal=refused_zero, method="fmod"
    ),
    "atan2": Meaning("atan2", "atan2(a, b)", angle_partials, value=math.atan2, method="atan2"),
    "hypot": Meaning(
        "hypot",
        "hypot(a, b)",
        lambda a, b, out: (divide(a, out), divide(b, out)),
        value=hypot,
        method="hypot",
        commutes=True,
    ),
    "ndtr": Meaning(
        "ndtr",
        "erfc(-a / sqrt(2)) / 2",
        lambda a, out: (0.3989422804014327 * exp(-0.5 * a * a),),
        value=lambda a: 0.5 * math.erfc(a * -0.7071067811865476),
    ),
    "gelu": Meaning(
        "gelu",
        "a * erfc(-a / sqrt(2)) / 2",
        lambda a, out: (
            0.5 * math.erfc(a * -0.7071067811865476) + a * 0.3989422804014327 * exp(-0.5 * a * a),
        ),
        value=lambda a: 0.5 * a * math.erfc(a * -0.7071067811865476),
    ),
    "polygamma": Meaning(
        "polygamma",
        "polygamma(a, b)",
        lambda a, b, out: (0.0, polygamma(a + 1.0, b)),
        value=polygamma,
        refusal=refused_polygamma,
    ),
    "quotient": Meaning(
        "quotient", "a / b", lambda a, b, out: (divide(1.0, b), divide(-out, b)), value=divide
    ),
    "greater": comparison(">", operator.gt),
    "greater_equal": comparison(">=", operator.ge),
    "less": comparison("<", operator.lt),
    "less_equal": comparison("<=", operator.le),
    "equal": comparison("==", operator.eq, commutes=True),
    "not_equal": comparison("!=", operator.ne, commutes=True),
    "logical_and": Meaning(
        "logical_and",
        "a * 0 + b * 0 + (1 if a > 0 and b > 0 else 0)",
        lambda a, b, out: (0.0, 0.0),
        value=lambda a, b: step(a > 0.0 and b > 0.0),
        commutes=True,
        selects=True,
    ),
    "logical_or": Meaning(
        "logical_or",
        "a * 0 + b * 0 + (1 if a > 0 or b > 0 else 0)",
        lambda a, b, out: (0.0, 0.0),
        value=lambda a, b: step(a > 0.0 or b > 0.0),
        commutes=True,
        selects=True,
    ),
    "logical_not": Meaning(
        "logical_not",
        "a * 0 + (0 if a > 0 else 1)",
        lambda a, out: (0.0,),
        value=lambda a: step(not a > 0.0),
        selects=True,
    ),
    "clip": Meaning(
        "clip",
        # Of two equal bounds neither gets a gradient from below, as in torch.
        "c if a > c or b > c else a if a >= b else b if b < c else 0 * b + b.value",
        lambda a, b, c, out: (step(b <= a <= c), step(a < b < c), step(a > c or c < b)),
        value=clipped,
        selects=True,
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
    names |= {
        "fabs": abs,
        "add": left_to_right,
        "rint": rint,
        "mod": mod,
        "fmod": fmod,
        "polygamma": polygamma,
    }
    names |= {"atan2": math.atan2, "hypot": hypot, "floor": whole(math.floor), "ceil": whole(math.ceil)}
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
