"""GARCH(1,1) fitted by maximum likelihood: a variance that passes from day to day, as one loop.

python examples/garch.py --days 20000
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np

from fastgrad import Value, compile, scan
from fastgrad.optim import Adam


def simulated(days: int, omega: float, alpha: float, beta: float) -> np.ndarray:
    """Return the returns of so many days."""
    rng = np.random.default_rng(1)
    returns = np.empty(days)
    variance = omega / (1 - alpha - beta)
    for day in range(days):
        returns[day] = np.sqrt(variance) * rng.normal()
        variance = omega + alpha * returns[day] ** 2 + beta * variance
    return returns


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=int, default=20000)
    parser.add_argument("--steps", type=int, default=1000)
    options = parser.parse_args(arguments)

    returns = simulated(options.days, 0.05, 0.1, 0.85)
    # The logarithm of omega, and of alpha and beta as shares of what is below 1.
    parameters = [Value(-2.0), Value(-2.0), Value(1.0)]

    def coefficients() -> tuple[Value, Value, Value]:
        omega, alpha, beta = (parameter.exp() for parameter in parameters)
        total = 1.0 + alpha + beta
        return omega, alpha / total, beta / total

    @compile
    def loss(r):
        """The negative log-likelihood of one row, whose columns are the days."""
        omega, alpha, beta = coefficients()

        def day(state, today):
            variance, total = state
            square = today * today
            return (
                omega + alpha * square + beta * variance,
                total + variance.log() + square / variance,
            ), None

        (_, total), _ = scan(day, (1.0, 0.0), r)
        return total / (2 * options.days)

    optimizer = Adam(parameters, lr=0.05)
    start = time.perf_counter()
    for _ in range(options.steps):
        optimizer.zero_grad()
        value = loss.backward(returns[None, :])
        optimizer.step()
    seconds = time.perf_counter() - start
    print(f"loss {value:.6f}, {1e9 * seconds / options.steps / options.days:.0f} ns a day and gradient")
    print("omega {:.3f} alpha {:.3f} beta {:.3f}".format(*(each.data for each in coefficients())))


if __name__ == "__main__":
    main()
