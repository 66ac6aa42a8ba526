"""Workload 6: a step of a digits classifier, a mini-batch of 32 images of 8 x 8.

MLP(64, [32, 10]) and the cross-entropy, written out over scalars; torch, jax, CasADi and C do the same step a
batch at a time; plain floats stop at the loss.
"""

import numpy
import pytest

from benchmarks.case import one_step, test_agreement, test_speed  # noqa: F401
from benchmarks.mlp import SEED, Training, cases

datasets = pytest.importorskip("sklearn.datasets")

BATCH = 32


def script(model, inputs, targets, parameters, scalars):
    """The mean over the batch of log(sum(exp(logits))) - logits[target], shifted so that exp is at most 1."""
    exp, log, value = scalars.exp, scalars.log, scalars.value
    losses = []
    for row, target in zip(inputs.tolist(), targets.tolist()):
        logits = model(row)
        largest = max(map(value, logits))
        shifted = [logit - largest for logit in logits]
        losses.append(log(sum(map(exp, shifted))) - shifted[target])
    return sum(losses) * (1.0 / len(losses))


def training() -> Training:
    """The images in a fixed random order, in batches; pixels from 0 to 1."""
    images, labels = datasets.load_digits(return_X_y=True)
    order = numpy.random.RandomState(SEED).permutation(len(labels))
    images, labels = images[order] / 16.0, labels[order]
    starts = range(0, len(labels) - BATCH + 1, BATCH)
    return Training(
        sizes=(64, 32, 10),
        batches=[
            (numpy.ascontiguousarray(images[start : start + BATCH]), labels[start : start + BATCH])
            for start in starts
        ],
        hinge=False,
        alpha=0.0,
        scalar_loss=script,
    )


WORKLOADS = [one_step("digits", "digits classifier, a training step of 32 images", cases(training()))]
