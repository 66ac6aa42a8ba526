"""Solve Kepler's equation at many times, and find an orbit's eccentricity by differentiating its root.

The eccentric anomaly E of a planet at mean anomaly M on an orbit of eccentricity e is the root of
E - e sin(E) = M. It is found by Newton's steps; its derivatives are those of the implicit function theorem,
dE/dx = -f_x / f_E, not those of the steps. They are Values, so they have derivatives, too: the same function
serves one row, rows in a compiled function, and second order.

    python examples/implicit_root.py --eccentricity 0.6
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import numpy as np

from fastgrad import Value, compile, grad
from fastgrad.derivatives import custom_jvp, jacobian
from fastgrad.optim import Adam


def implicit_root(
    f: Callable[..., Value], start: Callable[..., Value], steps: int = 8
) -> Callable[..., Value]:
    """Return the function of x whose value y solves f(y, *x) = 0.

    start: where Newton's steps begin, a function of x. As many steps are made for every x, so that the
    function compiles.
    """

    @custom_jvp
    def root(*x: Value) -> Value:
        y = start(*x)
        for _ in range(steps):
            y = y - f(y, *x) / jacobian(f, 0)(y, *x)
        return y

    @root.defjvp
    def implicit(primals: Sequence[Value], tangents: Sequence[Value]) -> tuple[Value, Value]:
        y = root(*primals)
        slope = jacobian(f, 0)(y, *primals)
        by_x = [jacobian(f, place)(y, *primals) for place in range(1, len(primals) + 1)]
        return y, -sum(d * dx for d, dx in zip(by_x, tangents, strict=True)) / slope

    return root


def kepler(anomaly: Value, mean: Value, eccentricity: Value) -> Value:
    """Return what is 0 at the eccentric anomaly."""
    return anomaly - eccentricity * anomaly.sin() - mean


eccentric_anomaly = implicit_root(kepler, lambda mean, eccentricity: mean + eccentricity * mean.sin())


@compile
def motion(mean: Value, eccentricity: Value) -> list[Value]:
    """Return the anomaly, its rate by the mean anomaly, and the rate of that: one row is one moment."""
    anomaly = eccentric_anomaly(mean, eccentricity)
    rate = grad(anomaly, mean)
    return [anomaly, rate, grad(rate, mean)]


def fitted(means: np.ndarray, anomalies: np.ndarray, steps: int) -> float:
    """Return the eccentricity of the orbit on which these anomalies were seen."""
    eccentricity = Value(0.1)
    optimizer = Adam([eccentricity], lr=0.05)

    @compile
    def error(mean: Value, seen: Value) -> Value:
        return (eccentric_anomaly(mean, eccentricity) - seen) ** 2

    for step in range(steps):
        optimizer.zero_grad()
        loss = error.backward(means, anomalies)
        optimizer.step()
        if step % 20 == 0:
            print(f"step {step} loss {loss:.3e} eccentricity {eccentricity.data:.6f}")
    return eccentricity.data


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--eccentricity", type=float, default=0.6, help="of the orbit, from 0 to 0.9")
    parser.add_argument("--steps", type=int, default=200, help="of the optimizer")
    options = parser.parse_args(arguments)
    means = np.linspace(0.1, 3.0, 30)
    found = motion(means, options.eccentricity)
    for mean, (anomaly, rate, acceleration) in list(zip(means, found, strict=True))[::10]:
        print(f"M {mean:.3f} E {anomaly:.6f} dE/dM {rate:.6f} d2E/dM2 {acceleration:.6f}")
    eccentricity = fitted(means, found[:, 0], options.steps)
    print(f"the orbit's eccentricity is {options.eccentricity}, found was {eccentricity:.6f}")


if __name__ == "__main__":
    main()
