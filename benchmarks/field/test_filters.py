"""The likelihoods of 100,000 rows with state between them: GARCH(1,1) and a Kalman filter."""

import ctypes

import numpy

from benchmarks.case import Case, one_step, test_agreement, test_speed  # noqa: F401
from benchmarks.field.data import SEED
from benchmarks.field.programs import Rows, flat, on_compiled, on_jax

ROWS = 100_000
# Omega, alpha, beta; how much of the mean stays, the variances of state and measurement.
GARCH, KALMAN = (0.05, 0.1, 0.85), (0.95, 0.2, 0.5)


def measured() -> numpy.ndarray:
    return numpy.random.default_rng(SEED).normal(size=ROWS)


def garch(parameters, state, x, log):
    omega, alpha, beta = parameters
    variance, total = state
    return omega + alpha * x * x + beta * variance, total + log(variance) + x * x / variance


def kalman(parameters, state, x, log):
    stays, of_state, of_measurement = parameters
    mean, variance, total = state
    mean, variance = stays * mean, stays * stays * variance + of_state
    error, spread = x - mean, variance + of_measurement
    gain = variance / spread
    return mean + gain * error, (1.0 - gain) * variance, total + log(spread) + error * error / spread


def of_one_row(step, numbers, first) -> Rows:
    """All rows are the columns of one."""
    from fastgrad import Value, scan

    parameters = [Value(a) for a in numbers]

    def likelihood(rows):
        return scan(lambda state, x: (step(parameters, state, x, Value.log), None), first, rows)[0][-1]

    return Rows(likelihood, (measured()[None, :],), parameters)


def of_jax(step, numbers, first):
    import jax
    import jax.numpy as jnp

    def likelihood(parameters, rows):
        last, _ = jax.lax.scan(lambda state, x: (step(parameters, state, x, jnp.log), None), first, rows)
        return last[-1]

    return jax.value_and_grad(likelihood), (jnp.array(numbers), measured())


def on_c(name, numbers):
    def prepare() -> Case:
        from benchmarks import native

        library = native.load("filters", f"ROWS={ROWS}")
        rows, out = measured(), numpy.empty(4)
        parameters = [ctypes.c_double(a) for a in numbers]
        pointers = ctypes.c_void_p(rows.ctypes.data), ctypes.c_void_p(out.ctypes.data)

        def step() -> None:
            getattr(library, name)(pointers[0], *parameters, pointers[1])

        return Case({"step": step}, lambda: flat([out]))

    return prepare


def workload(step, numbers, first, title):
    cases = {
        "compiled": on_compiled(lambda: of_one_row(step, numbers, first)),
        "jax": on_jax(lambda: of_jax(step, numbers, first)),
        "c": on_c(step.__name__, numbers),
    }
    title = f"{title}, {ROWS:,} rows with state, value and gradient"
    return one_step(step.__name__, title, cases, reference="compiled", tolerance=1e-8)


WORKLOADS = [
    workload(garch, GARCH, (1.0, 0.0), "GARCH(1,1)"),
    workload(kalman, KALMAN, (0.0, 1.0, 0.0), "Kalman filter"),
]
