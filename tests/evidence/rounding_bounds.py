"""How far a row's own expressions may be off: running error analysis (Higham 2002, section 3.3).

Each number carries a bound of its distance from the exact one. An arithmetic operation adds half a unit
in the last place, a library's function adds what the library promises, and both pass on their operands'
errors times the derivative. So the table needs no figures: a bound follows from the row, and is wide
exactly where the expression cancels, as `1 - out * out` does where tanh is near 1.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import mpmath
from mpmath import mpf

from evidence import duals
from evidence.duals import real_power
from evidence.meanings import FUNCTIONS, psi
from fastgrad.operations import Operation, Reduction

HALF_ULP = mpf(2) ** -53
SMALLEST_NORMAL = mpf(2) ** -1022
SMALLEST = mpf(2) ** -1074
LARGEST = mpf(2) ** 1024 * (1 - HALF_ULP)

# In ulp; the lanes' own functions are promised to 2, and powers, which may be products of reciprocals, to 3.
LIBRARY = {"pow": 1} | {name: function.ulp for name, function in FUNCTIONS.items()}
LANES = {**LIBRARY, "exp": 2, "log": 2, "tanh": 2, "pow": 3}


# Of a digamma function's derivatives, a sum of powers.
POLYGAMMA = 10


class Undecided(Exception):  # noqa: N818 - no error: the expression's branch depends on rounding
    """A comparison of two numbers that rounding may have put in either order."""


class Bounded:
    """An exact number, and a bound of the absolute error of the double that stands for it."""

    def __init__(self, value, error=0):
        self.value = value
        self.error = error

    def __add__(self, other):
        other = bounded(other)
        # Sums of doubles are exact among the subnormal numbers.
        return rounded(self.value + other.value, self.error + other.error, 1, 0)

    def __mul__(self, other):
        other = bounded(other)
        error = abs(self.value) * other.error + abs(other.value) * self.error + self.error * other.error
        return rounded(self.value * other.value, error, 1, SMALLEST)

    def __truediv__(self, other):
        other = bounded(other)
        least = abs(other.value) - other.error
        if least <= 0:
            return Bounded(mpmath.inf, mpmath.inf)
        value = self.value / other.value
        return rounded(value, (self.error + abs(value) * other.error) / least, 1, SMALLEST)

    def __neg__(self):
        return Bounded(-self.value, self.error)

    def __sub__(self, other):
        return self + -bounded(other)

    def __rsub__(self, other):
        return -self + other

    def __rtruediv__(self, other):
        return bounded(other) / self

    __radd__, __rmul__ = __add__, __mul__

    def decide(self, other):
        """The sign of self - other."""
        other = bounded(other)
        difference = self.value - other.value
        if abs(difference) <= self.error + other.error and (self.error or other.error):
            raise Undecided
        return mpmath.sign(difference)

    def __lt__(self, other):
        return self.decide(other) < 0

    def __gt__(self, other):
        return self.decide(other) > 0

    def __eq__(self, other):
        return self is other or self.decide(other) == 0

    def __ne__(self, other):
        return not self == other

    def __le__(self, other):
        return not self > other

    def __ge__(self, other):
        return not self < other

    __hash__ = None


def bounded(x) -> Bounded:
    return x if isinstance(x, Bounded) else Bounded(mpf(x))


def rounded(value, error, half_ulps, step) -> Bounded:
    """The result of an operation with so many half units of rounding; of steps, if it is subnormal."""
    if not mpmath.isfinite(value) or abs(value) + error > LARGEST:
        return Bounded(value, mpmath.inf)
    size = abs(value) + error
    extra = half_ulps * step / 2 if size < SMALLEST_NORMAL else 0
    return Bounded(value, error + half_ulps * HALF_ULP * size + extra)


def functions(ulps: Mapping[str, float]) -> dict:
    """The functions that rows may call, on numbers with errors."""

    def of_bounded(name, function):
        def call(x):
            x = bounded(x)
            value = function.value(x.value)
            error = function.spread(x.value, x.error, value) if x.error else 0
            found = rounded(value, error, 2 * ulps[name], SMALLEST)
            return Bounded(value, found.error + 2 * ulps[name] * HALF_ULP * function.size(x.value))

        return call

    def power(a, b):
        a, b = bounded(a), bounded(b)
        if b.error and a.value < 0:
            # From 2**53 on, b - 1 is b in doubles: even or odd, and so the sign, is left to rounding.
            if abs(b.value) >= 2**53:
                raise Undecided
            b = Bounded(b.value)
        value = real_power(a.value, b.value)
        error = 0
        if a.error or b.error:
            relative = abs(b.value) * a.error / abs(a.value) if a.error else 0
            relative += abs(mpmath.log(abs(a.value))) * b.error if b.error and a.value else 0
            error = abs(value) * relative * (1 + 2 * relative)
        return rounded(value, error, 2 * ulps["pow"], SMALLEST)

    return {
        **{name: of_bounded(name, function) for name, function in FUNCTIONS.items()},
        "pow": power,
        "fabs": lambda x: Bounded(abs(x.value), x.error),
        "floor": lambda x: Bounded(mpmath.floor(x.value)),
        "ceil": lambda x: Bounded(mpmath.ceil(x.value)),
        "rint": nearest_integer,
        "atan2": of_exact_pair(mpmath.atan2, 1),
        "hypot": of_exact_pair(mpmath.hypot, 1),
        "mod": lambda a, b: of_exact_pair(duals_value(duals.mod), 0.5)(a, b),
        "fmod": lambda a, b: of_exact_pair(duals_value(duals.fmod), 0)(a, b),
        "polygamma": polygamma,
        "real": lambda x: Bounded(mpf(x), HALF_ULP * abs(mpf(x))),
        "isfinite": lambda x: mpmath.isfinite(x.value),
    }


def nearest_integer(x):
    x = bounded(x)
    whole = mpmath.nint(x.value)
    if abs(x.value) >= 2**52:
        # Every double of that size is an integer.
        return Bounded(x.value, x.error)
    if abs(x.value - whole) + x.error >= 0.5 and x.error:
        raise Undecided
    return Bounded(whole)


def of_exact_pair(function, ulp):
    """A function of two numbers that no row applies to rounded ones."""

    def call(a, b):
        a, b = bounded(a), bounded(b)
        value = function(a.value, b.value)
        return rounded(value, mpmath.inf if a.error or b.error else 0, 2 * ulp, SMALLEST if ulp else 0)

    return call


def duals_value(function):
    return lambda a, b: function(duals.Dual(a, [mpf(0)]), duals.Dual(b, [mpf(0)])).value


def polygamma(n, x):
    """Orders are small integers, whatever the bound of a sum with 1 is.

    Left of 0 it is a difference with a polynomial in cot(pi x), whose errors grow with the order.
    """
    n, x = mpmath.nint(bounded(n).value), bounded(x)
    value = mpmath.mpf(psi(n, x.value))
    found = rounded(value, mpmath.inf if x.error else 0, 2 * POLYGAMMA, SMALLEST)
    if x.value < 0:
        parts = abs(value) + abs(psi(n, 1 - x.value))
        return Bounded(value, found.error + 2 * (POLYGAMMA + 3 * n) * HALF_ULP * parts)
    return found


class Bounds(NamedTuple):
    """The largest error of the value and of each derivative; None where rounding chooses a branch."""

    value: mpf | None
    partials: tuple[mpf | None, ...]


NAMES = {"libm": functions(LIBRARY), "lanes": functions(LANES)}


def bounds(row: Operation | Reduction, numbers: Sequence[float], library: str = "libm") -> Bounds:
    """The bounds at these operands, for the engine's functions ("libm") or the lanes' ("lanes")."""
    with mpmath.workprec(320):
        operands = [Bounded(mpf(number)) for number in numbers]
        names = dict(NAMES[library])
        if isinstance(row, Operation):
            names |= dict(zip("abc", operands))
            out = attempt(row.value, names)
            derivatives = [(derivative, names | {"out": out}) for derivative in row.derivatives]
        else:
            out = bounds_of_a_fold(row, operands, names)
            names |= {"n": Bounded(mpf(len(operands))), "out": out}
            derivatives = [(row.derivative, names | {"a": operand}) for operand in operands]
        partials = [None if out is None else attempt(*derivative) for derivative in derivatives]
        return Bounds(error_of(out), tuple(map(error_of, partials)))


def error_of(result):
    return None if result is None else bounded(result).error


def with_rounded_constants(expression):
    """A number rounded to the digits of a double: the real one is up to half a unit away."""
    return re.sub(r"\d\.\d{15,}", r"real(\g<0>)", expression)


def attempt(expression, names):
    try:
        return eval(with_rounded_constants(expression), names)
    except (Undecided, ZeroDivisionError, ValueError):
        return None


def bounds_of_a_fold(row, operands, names):
    """A sum in whatever order: compiled programs add the terms of a chain in one of their own."""
    shift = Bounded(max(operand.value for operand in operands))
    names = names | {"n": Bounded(mpf(len(operands))), "shift": shift}
    terms = [eval(row.step, names | {"a": operand, "total": Bounded(mpf(0))}) for operand in operands]
    sizes = sum(abs(term.value) + term.error for term in terms)
    error = sum(term.error for term in terms) + len(terms) * HALF_ULP * sizes
    if sizes > LARGEST:
        error = mpmath.inf
    total = Bounded(sum(term.value for term in terms), error)
    result = bounded(eval(row.finish, names | {"total": total}))
    # Programs divide a mean's terms instead of their sum: half a step for each, if they are subnormal.
    return Bounded(result.value, result.error + len(terms) * SMALLEST / 2)
