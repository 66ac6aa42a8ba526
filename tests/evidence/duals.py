"""The exact value and derivatives of an operation: its meaning, in dual numbers of mpmath's.

The derivatives follow from the meaning by calculus. They share nothing with those of the table, nor with the
float formulas beside the meaning, so a wrong one shows.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

import mpmath
from mpmath import mpf

from evidence.meanings import FUNCTIONS, MEANINGS, psi
from fastgrad.operations import Operation, Reduction

# Enough digits for every intermediate cancellation: errors below 1e-90 are nothing to an ulp.
PRECISION = 320


class Exact(NamedTuple):
    """A value and its partial derivatives."""

    value: mpf
    partials: tuple[mpf, ...]


class Dual:
    """A number and its derivatives by each operand, by the rules of calculus."""

    def __init__(self, value, partials):
        self.value = value
        self.partials = partials

    def chain(self, value, derivative):
        return Dual(value, [derivative * partial for partial in self.partials])

    def __add__(self, other):
        if not isinstance(other, Dual):
            return Dual(self.value + other, self.partials)
        return Dual(self.value + other.value, [p + q for p, q in zip(self.partials, other.partials)])

    def __mul__(self, other):
        if not isinstance(other, Dual):
            return self.chain(self.value * other, other)
        pairs = zip(self.partials, other.partials)
        return Dual(self.value * other.value, [p * other.value + q * self.value for p, q in pairs])

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self):
        return self * -1

    def __sub__(self, other):
        return self + -other

    def __rsub__(self, other):
        return -self + other

    def __truediv__(self, other):
        return self * reciprocal(other) if isinstance(other, Dual) else self * (1 / mpf(other))

    def __rtruediv__(self, other):
        return reciprocal(self) * other

    def __lt__(self, other):
        return self.value < getattr(other, "value", other)

    def __gt__(self, other):
        return self.value > getattr(other, "value", other)

    def __eq__(self, other):
        return self.value == getattr(other, "value", other)

    def __ne__(self, other):
        return not self == other

    def __le__(self, other):
        return not self > other

    def __ge__(self, other):
        return not self < other

    __hash__ = None


def reciprocal(x):
    return x.chain(1 / x.value, -1 / x.value**2)


def power(a, b):
    """The conventions where calculus has none: 0 by the base at exponent 0, 0 by the exponent at base 0."""
    a, b = (x if isinstance(x, Dual) else Dual(mpf(x), [mpf(0)] * count(a, b)) for x in (a, b))
    value = real_power(a.value, b.value)
    by_base = b.value * real_power(a.value, b.value - 1) if b.value else mpf(0)
    by_exponent = mpf(0)
    if a.value < 0:
        by_exponent = mpmath.nan
    elif a.value > 0:
        by_exponent = value * mpmath.log(a.value)
    pairs = zip(a.partials, b.partials)
    return Dual(value, [(by_base * p if p else 0) + (by_exponent * q if q else 0) for p, q in pairs])


def real_power(base: mpf, exponent: mpf) -> mpf:
    """A power by way of exp, as mpmath multiplies for an integer exponent however large."""
    if base == 0 or abs(exponent) < 100:
        power = mpmath.inf if base == 0 and exponent < 0 else mpmath.power(base, exponent)
        if mpmath.im(power):
            raise ValueError("no real power")
        return power
    if base < 0 and exponent != mpmath.floor(exponent):
        raise ValueError("no real power")
    size = mpmath.exp(exponent * mpmath.log(abs(base)))
    return -size if base < 0 and exponent % 2 else size


def count(*candidates):
    return next(len(x.partials) for x in candidates if isinstance(x, Dual))


def chained(value, *pairs):
    """A function of several numbers, from its value and its derivative by each of them, some infinite."""
    size = count(*(x for x, _ in pairs))
    partials = [mpf(0)] * size
    for x, derivative in pairs:
        if isinstance(x, Dual):
            partials = [p + (derivative * q if q else 0) for p, q in zip(partials, x.partials)]
    return Dual(value, partials)


def hypot(a, b):
    radius = mpmath.hypot(a.value, b.value)
    return chained(radius, *((x, x.value / radius if radius else mpmath.nan) for x in (a, b)))


def atan2(a, b):
    """At the origin both derivatives are 0, as in torch."""
    if a.value == 0 and b.value < 0:
        raise ValueError("the sign of the angle is that of the zero, which mpmath's numbers have not")
    square = a.value**2 + b.value**2
    by_a, by_b = (b.value / square, -a.value / square) if square else (mpf(0), mpf(0))
    return chained(mpmath.atan2(a.value, b.value), (a, by_a), (b, by_b))


def fraction(x):
    """A double, exactly."""
    return Fraction(float(x))


def real(x: Fraction):
    return mpf(x.numerator) / mpf(x.denominator)


def mod(a, b):
    """The remainder, exactly, also if the quotient has more digits than mpmath computes with."""
    quotient = fraction(a.value) // fraction(b.value)
    return remainder(a, b, quotient)


def fmod(a, b):
    return remainder(a, b, int(fraction(a.value) / fraction(b.value)))


def remainder(a, b, quotient):
    value = fraction(a.value) - quotient * fraction(b.value)
    return chained(real(value), (a, mpf(1)), (b, mpf(-quotient)))


def polygamma(n, x):
    """The polygamma function; ValueError for an order that is no whole number."""
    order = int(n.value)
    if order != n.value or not 0 <= order <= 100:
        raise ValueError("no whole number")
    by_x = psi(order + 1, x.value)
    return chained(psi(order, x.value), (n, mpf(0)), (x, by_x))


def constant(function):
    return lambda x: x.chain(function(x.value), 0)


def absolute(a):
    return a if a > 0 else -a if a < 0 else 0 * a


def of_dual(function):
    def call(x):
        # A number without derivatives: sqrt(2).
        if not isinstance(x, Dual):
            return function.value(mpf(x))
        return x.chain(function.value(x.value), function.derivative(x.value))

    return call


NAMES: dict[str, Callable] = {
    **{name: of_dual(function) for name, function in FUNCTIONS.items()},
    "pow": power,
    "fabs": absolute,
    "floor": constant(mpmath.floor),
    "ceil": constant(mpmath.ceil),
    "rint": constant(mpmath.nint),
    "sign": constant(mpmath.sign),
    "hypot": hypot,
    "atan2": atan2,
    "mod": mod,
    "fmod": fmod,
    "polygamma": polygamma,
    "isfinite": lambda x: mpmath.isfinite(x.value),
}


def add(terms):
    total, *others = terms
    for term in others:
        total = total + term
    return total


def largest(operands):
    """A number without derivatives: logsumexp does not depend on the shift."""
    return max(operand.value for operand in operands)


def exact(row: Operation | Reduction, numbers: Sequence[float]) -> Exact:
    """The value and the partial derivatives at these very doubles; ArithmeticError where there is none."""
    size = len(numbers)
    names = {**NAMES, "add": add, "largest": largest}
    with mpmath.workprec(PRECISION):
        operands = [
            Dual(mpf(number), [mpf(at == index) for at in range(size)])
            for index, number in enumerate(numbers)
        ]
        names |= dict(zip("abc", operands)) | {"x": operands}
        result = eval(MEANINGS[row.name].definition, names)
        return Exact(result.value, tuple(result.partials))
