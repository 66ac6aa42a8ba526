"""Minimise the Rosenbrock function of many numbers by Newton's method with conjugate gradients.

scipy asks for value and gradient, and for products of the Hessian and a vector; a compiled function has both.
The numbers are one argument that has no rows.

    python examples/minimize.py --numbers 50
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.optimize import OptimizeResult, minimize

from fastgrad import Value, compile


@compile(shared="x")
def rosenbrock(x: Sequence[Value]) -> Value:
    """Return a function with a long curved valley, whose minimum is 0 where all numbers are 1."""
    terms = [100.0 * (b - a**2) ** 2 + (1.0 - a) ** 2 for a, b in pairwise(x)]
    return sum(terms[1:], terms[0])


def newton_cg(start: np.ndarray) -> OptimizeResult:
    """Return scipy's account of the minimisation."""
    return minimize(
        rosenbrock.value_and_grad,
        start,
        jac=True,
        hessp=lambda x, v: rosenbrock.hvp(x, tangents=v),
        method="Newton-CG",
        options={"xtol": 1e-10},
    )


def main(arguments: list[str] | None = None) -> None:
    """Minimise from a start that is far away."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--numbers", type=int, default=20, help="how many there are (default: 20)")
    options = parser.parse_args(arguments)
    if options.numbers < 2:
        parser.error("the function has at least two numbers")
    found = newton_cg(np.resize([-1.2, 1.0], options.numbers))
    print(f"{found.nit} steps, {found.nhev} products with the Hessian")
    print(f"value {found.fun:.2e}, largest distance from 1: {abs(found.x - 1.0).max():.2e}")


if __name__ == "__main__":
    main()
