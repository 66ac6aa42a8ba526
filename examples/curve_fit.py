"""A physical model fitted to measurements: a damped oscillation, its constants and their uncertainties.

The displacement of a damped oscillator, x(t) = A exp(-g t) cos(w t + p) + x0, is written in plain
arithmetic for one instant, and compiled. scipy's method of least squares gets its residuals, and their
derivatives by the five constants, exact and without a formula worked out by hand; the uncertainties follow
from these.

    python examples/curve_fit.py --noise 0.05 --points 200
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence

import numpy as np
from scipy.optimize import OptimizeResult, least_squares

from fastgrad import Value, compile

# Constants: start of the search, what the measurements are made with, unit.
CONSTANTS = {
    "amplitude": (1.0, 1.3, "m"),
    "damping": (0.1, 0.25, "1/s"),
    "frequency": (3.5, 4.0, "rad/s"),
    "phase": (0.0, 0.6, "rad"),
    "rest": (0.0, 0.2, "m"),
}


@compile(shared="constants")
def displacement(constants: Sequence[Value], t: Value) -> Value:
    """Return the model's answer for one instant t in seconds."""
    amplitude, damping, frequency, phase, rest = constants
    return amplitude * (-damping * t).exp() * (frequency * t + phase).cos() + rest


@compile(shared="constants")
def residual(constants: Sequence[Value], t: Value, measured: Value) -> Value:
    """Return how far the model is from a measurement."""
    return displacement(constants, t) - measured


def fit(times: np.ndarray, measured: np.ndarray, evaluations: int) -> OptimizeResult:
    """Return scipy's account of the fit; `jac` has the derivatives (N, 5) at the end."""
    start = [start for start, _, _ in CONSTANTS.values()]
    return least_squares(
        residual, start, residual.jacobian, args=(times, measured), xtol=1e-12, max_nfev=evaluations
    )


def deviations_of(found: OptimizeResult) -> np.ndarray:
    """Return the constants' standard deviations, to first order in the noise."""
    variance = found.fun @ found.fun / (len(found.fun) - len(found.x))
    return np.sqrt(np.diag(variance * np.linalg.inv(found.jac.T @ found.jac)))


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=200, help="measurements, over 10 s (default: 200)")
    parser.add_argument(
        "--noise", type=float, default=0.05, help="their standard deviation in m (default: 0.05)"
    )
    parser.add_argument("--steps", type=int, default=50, help="of the fit, at most (default: 50)")
    parser.add_argument("--seed", type=int, default=1, help="of the noise (default: 1)")
    options = parser.parse_args(arguments)
    if options.points <= len(CONSTANTS):
        parser.error(f"{len(CONSTANTS)} constants need more than {len(CONSTANTS)} points")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Make measurements, and find the constants that they were made with."""
    options = parse(arguments)
    random.seed(options.seed)
    times = np.linspace(0.0, 10.0, options.points)
    exact = displacement([truth for _, truth, _ in CONSTANTS.values()], times)
    measured = exact + np.array([random.gauss(0, options.noise) for _ in times])

    start = time.perf_counter()
    found = fit(times, measured, options.steps)
    elapsed = time.perf_counter() - start

    print(f"{options.points} measurements, {found.nfev} steps in {elapsed * 1e3:.0f} ms")
    for name, constant, deviation in zip(CONSTANTS, found.x, deviations_of(found), strict=True):
        _, truth, unit = CONSTANTS[name]
        print(f"  {name:9} = {constant:8.4f} +- {deviation:.4f} {unit:5}  (made with {truth})")
    print(f"  standard deviation of the residuals: {np.std(found.fun):.4f} m")


if __name__ == "__main__":
    main()
