"""A physical model fitted to measurements: a damped oscillation, its constants and their uncertainties.

The displacement of a damped oscillator, x(t) = A exp(-g t) cos(w t + p) + x0, is written in plain
arithmetic; backward() gives each measurement's derivatives by the five constants, exact and without a
formula worked out by hand. The method of Levenberg and Marquardt does the rest: few steps, and the
covariance of the constants for nothing.

    python examples/curve_fit.py --noise 0.05 --points 200
"""

import argparse
import random
import time

import numpy as np
from progress import Progress

from fastgrad import Value

# Constants: start of the search, what the measurements are made with, unit.
CONSTANTS = {
    "amplitude": (1.0, 1.3, "m"),
    "damping": (0.1, 0.25, "1/s"),
    "frequency": (3.5, 4.0, "rad/s"),
    "phase": (0.0, 0.6, "rad"),
    "rest": (0.0, 0.2, "m"),
}


def displacement(constants, t):
    """The model, for one instant t in seconds."""
    amplitude, damping, frequency, phase, rest = constants
    return amplitude * (-damping * t).exp() * (frequency * t + phase).cos() + rest


def linearise(constants, times, measured):
    """Return the residuals (N,) and their derivatives (N, 5) by the constants."""
    residuals, rows = [], []
    for t, x in zip(times, measured, strict=True):
        for constant in constants:
            constant.grad = 0.0
        residual = displacement(constants, t) - x
        residual.backward()
        residuals.append(residual.data)
        rows.append([constant.grad for constant in constants])
    return np.array(residuals), np.array(rows)


def fit(constants, times, measured, steps, report):
    """Minimise the sum of squares by Levenberg's and Marquardt's method; return residuals and derivatives.

    After Marquardt, "An Algorithm for Least-Squares Estimation of Nonlinear Parameters" (1963).
    """
    residuals, derivatives = linearise(constants, times, measured)
    caution = 1e-3
    for _ in range(steps):
        squares = derivatives.T @ derivatives
        change = np.linalg.solve(squares + caution * np.diag(np.diag(squares)), -derivatives.T @ residuals)
        before = [constant.data for constant in constants]
        for constant, difference in zip(constants, change, strict=True):
            constant.data += difference
        trial = linearise(constants, times, measured)
        if trial[0] @ trial[0] <= residuals @ residuals:
            residuals, derivatives = trial
            caution /= 10
        else:
            for constant, data in zip(constants, before, strict=True):
                constant.data = data
            caution *= 10
        report(f"residual {np.sqrt(np.mean(residuals**2)):.6f} m")
    return residuals, derivatives


def parse(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=200, help="measurements, over 10 s (default: 200)")
    parser.add_argument(
        "--noise", type=float, default=0.05, help="their standard deviation in m (default: 0.05)"
    )
    parser.add_argument("--steps", type=int, default=20, help="of the fit (default: 20)")
    parser.add_argument("--seed", type=int, default=1, help="of the noise (default: 1)")
    options = parser.parse_args(arguments)
    if options.points <= len(CONSTANTS):
        parser.error(f"{len(CONSTANTS)} constants need more than {len(CONSTANTS)} points")
    return options


def main(arguments=None):
    options = parse(arguments)
    random.seed(options.seed)
    true = [Value(truth) for _, truth, _ in CONSTANTS.values()]
    times = [10 * i / (options.points - 1) for i in range(options.points)]
    measured = [displacement(true, t).data + random.gauss(0, options.noise) for t in times]

    constants = [Value(start, label=name) for name, (start, _, _) in CONSTANTS.items()]
    start = time.perf_counter()
    with Progress(options.steps) as progress:
        residuals, derivatives = fit(constants, times, measured, options.steps, progress.step)
    elapsed = time.perf_counter() - start

    variance = residuals @ residuals / (len(residuals) - len(constants))
    deviations = np.sqrt(np.diag(variance * np.linalg.inv(derivatives.T @ derivatives)))
    print(f"{options.points} measurements, {options.steps} steps in {elapsed * 1e3:.0f} ms")
    for constant, deviation, (_, truth, unit) in zip(constants, deviations, CONSTANTS.values(), strict=True):
        print(f"  {constant.label:9} = {constant.data:8.4f} +- {deviation:.4f} {unit:5}  (made with {truth})")
    print(f"  standard deviation of the residuals: {np.sqrt(variance):.4f} m")


if __name__ == "__main__":
    main()
