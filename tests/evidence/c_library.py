"""The functions of the C library that rows may call: what each means, and how far off it may be."""

from collections.abc import Callable
from typing import NamedTuple

import mpmath


class Function(NamedTuple):
    """A function of one operand, in mpmath's numbers.

    `spread(x, e, y)` bounds generously how far an error e of the operand x moves the value y, and `ulp`
    what the library adds: what glibc's manual and measurements allow (Zimmermann et al., "Accuracy of
    Mathematical Functions", 2024).
    """

    value: Callable
    derivative: Callable
    spread: Callable
    ulp: float


def by_slope(x, e, y):
    """The spread of what is nowhere steeper than the identity."""
    return e


FUNCTIONS = {
    "exp": Function(mpmath.exp, mpmath.exp, lambda x, e, y: y * mpmath.expm1(e), 1),
    "log": Function(mpmath.log, lambda x: 1 / x, lambda x, e, y: e / (x - e) if e < x else mpmath.inf, 1),
    "log1p": Function(
        mpmath.log1p,
        lambda x: 1 / (1 + x),
        lambda x, e, y: e / (1 + x - e) if e < 1 + x else mpmath.inf,
        2,
    ),
    "sqrt": Function(
        mpmath.sqrt, lambda x: 1 / (2 * mpmath.sqrt(x)) if x else mpmath.inf, lambda x, e, y: e / y, 0.5
    ),
    "tanh": Function(mpmath.tanh, lambda x: mpmath.sech(x) ** 2, by_slope, 3),
    "sin": Function(mpmath.sin, mpmath.cos, by_slope, 1),
    "cos": Function(mpmath.cos, lambda x: -mpmath.sin(x), by_slope, 1),
}
