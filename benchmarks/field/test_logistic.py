"""Logistic regression on 100,000 rows of 20 numbers: the mean loss and its gradient, beside numpy by hand."""

import numpy

from benchmarks.case import one_step, test_agreement, test_speed  # noqa: F401
from benchmarks.field.data import SEED
from benchmarks.field.programs import Rows, on_compiled, on_jax, on_numpy

ROWS, COLUMNS = 100_000, 20


def problem():
    """Rows, labels, weights and bias."""
    draw = numpy.random.default_rng(SEED)
    x, w = draw.normal(size=(ROWS, COLUMNS)), draw.normal(size=COLUMNS)
    return x, (x @ w + draw.normal(size=ROWS) > 0).astype(float), w / 2, 0.1


def of_one_row() -> Rows:
    import fastgrad.functional as F
    from fastgrad import Value

    x, y, w, b = problem()
    weights, bias = [Value(a) for a in w.tolist()], Value(b)

    def loss(x, y):
        return F.binary_cross_entropy_with_logits([F.dot(weights, x) + bias], [y])

    return Rows(loss, (x, y), [*weights, bias])


def by_hand(x, y, w, b):
    z = x @ w + b
    small = numpy.exp(-numpy.abs(z))
    loss = numpy.mean(numpy.maximum(z, 0) - z * y + numpy.log1p(small))
    error = (numpy.where(z >= 0, 1, small) / (1 + small) - y) / len(z)
    return loss, error @ x, error.sum()


def of_jax():
    import jax
    import jax.numpy as jnp

    def loss(w, b, x, y):
        z = x @ w + b
        return jnp.mean(jnp.maximum(z, 0) - z * y + jnp.log1p(jnp.exp(-jnp.abs(z))))

    x, y, w, b = problem()
    return jax.value_and_grad(loss, (0, 1)), (w, b, x, y)


WORKLOADS = [
    one_step(
        "logistic",
        "logistic regression, 100,000 rows of 20, loss and gradient",
        {
            "compiled": on_compiled(of_one_row),
            "jax": on_jax(of_jax),
            "numpy": lambda: on_numpy(by_hand, *problem())(),
        },
        reference="compiled",
    )
]
