"""Lorenz' equations by 500 steps of Runge and Kutta from 2,000 starts: their end by three parameters."""

import numpy

from benchmarks.case import one_step, test_agreement, test_speed  # noqa: F401
from benchmarks.field.data import SEED
from benchmarks.field.programs import Rows, on_compiled, on_jax

STEPS, ROWS, INTERVAL = 500, 2000, 0.002
PARAMETERS = (10.0, 28.0, 8.0 / 3.0)


def starts() -> numpy.ndarray:
    return numpy.random.default_rng(SEED).normal(size=(ROWS, 3)) + [0.0, 0.0, 25.0]


def lorenz(x, y, z, sigma, rho, beta):
    return sigma * (y - x), x * (rho - z) - y, x * y - beta * z


def integrated(x, parameters, steps: int):
    """The squared distance from the origin in the end, over any scalars."""

    def moved(x, slope, h):
        return [a + h * b for a, b in zip(x, slope)]

    for _ in range(steps):
        k1 = lorenz(*x, *parameters)
        k2 = lorenz(*moved(x, k1, INTERVAL / 2), *parameters)
        k3 = lorenz(*moved(x, k2, INTERVAL / 2), *parameters)
        k4 = lorenz(*moved(x, k3, INTERVAL), *parameters)
        x = [a + INTERVAL / 6 * (b + 2.0 * c + 2.0 * d + e) for a, b, c, d, e in zip(x, k1, k2, k3, k4)]
    return x[0] * x[0] + x[1] * x[1] + x[2] * x[2]


def of_one_row(steps: int = STEPS) -> Rows:
    from fastgrad import Value

    parameters = [Value(a) for a in PARAMETERS]
    return Rows(lambda x: integrated(x, parameters, steps), (starts(),), parameters)


def of_jax(steps: int = STEPS):
    import jax
    import jax.numpy as jnp

    def slope(x, parameters):
        return jnp.stack(lorenz(x[0], x[1], x[2], *parameters))

    def end(parameters, x):
        def step(x, _):
            k1 = slope(x, parameters)
            k2 = slope(x + INTERVAL / 2 * k1, parameters)
            k3 = slope(x + INTERVAL / 2 * k2, parameters)
            k4 = slope(x + INTERVAL * k3, parameters)
            return x + INTERVAL / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

        x, _ = jax.lax.scan(step, x, None, length=steps)
        return (x * x).sum(0).mean()

    # The rows are the last axis, over which jax's loops are vector code.
    return jax.value_and_grad(end), (jnp.array(PARAMETERS), starts().T)


WORKLOADS = [
    one_step(
        "lorenz",
        f"Lorenz by RK4, {STEPS} steps, {ROWS:,} rows, value and gradient",
        {"compiled": on_compiled(of_one_row), "jax": on_jax(of_jax)},
        reference="compiled",
        rounds=5,
        # The equations multiply roundings by some hundreds over one unit of time.
        tolerance=1e-8,
    )
]
