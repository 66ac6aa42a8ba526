"""Workload 4: one full-batch step of the moons demo, written as a script on scalars.

A hundred points, MLP(2, [16, 16, 1]), the hinge loss with an L2 penalty; the inputs are wrapped, the
gradients zeroed and the parameters updated in Python, as people write it. torch, jax, CasADi and C do the
same step a batch at a time; plain floats stop at the loss.
"""

import pytest

from benchmarks.case import one_step, test_agreement, test_speed  # noqa: F401
from benchmarks.mlp import SEED, Training, cases

datasets = pytest.importorskip("sklearn.datasets")

ALPHA = 1e-4


def script(model, inputs, targets, parameters, scalars):
    """The loss of the demo: the hinge loss over all points plus the penalty."""
    rows = [list(map(scalars.leaf, row)) for row in inputs]
    scores = list(map(model, rows))
    relu = scalars.relu
    losses = [relu(1 + -target * score) for target, score in zip(targets, scores)]
    data_loss = sum(losses) * (1.0 / len(losses))
    return data_loss + ALPHA * sum(p * p for p in parameters)


def training() -> Training:
    """The demo's data set, as one batch."""
    points, labels = datasets.make_moons(n_samples=100, noise=0.1, random_state=SEED)
    return Training(
        sizes=(2, 16, 16, 1),
        batches=[(points, labels * 2 - 1)],
        hinge=True,
        alpha=ALPHA,
        scalar_loss=script,
    )


WORKLOADS = [one_step("moons", "moons demo, a full-batch training step", cases(training()))]
