"""Workload 8: compiled functions: a function of one row over all rows of a batch.

The digits classifier at larger batches and a larger network, the character-level GPT over 32 documents of one
length, an Asian option over 100,000 paths, a tiny program on 10 rows, and two threads against one.
"""

import os

import numpy
import pytest

from benchmarks import gpt_batch, mlp, option
from benchmarks.case import Case, one_step, test_agreement, test_speed  # noqa: F401

datasets = pytest.importorskip("sklearn.datasets")

PATHS = 100_000
# All paths would take them seconds and minutes.
SHARES = {"fastgrad": 10, "xad": 200}


def digits(batch: int) -> mlp.Training:
    """The images again and again until a batch is full."""
    from benchmarks.test_digits import script

    images, labels = datasets.load_digits(return_X_y=True)
    rows = numpy.arange(batch) % len(labels)
    return mlp.Training((64, 32, 10), [(images[rows] / 16.0, labels[rows])], False, 0.0, script)


def large() -> mlp.Training:
    """Images of 784 random pixels, as many as a batch of MNIST's."""
    from benchmarks.test_digits import script

    draw = numpy.random.default_rng(mlp.SEED)
    batch = draw.uniform(size=(256, 784)), draw.integers(0, 10, size=256)
    return mlp.Training((784, 128, 10), [batch], False, 0.0, script)


def both_cores(prepare):
    """The case on all cores; the report runs everything else on one."""

    def with_all() -> Case:
        case = prepare()
        if not hasattr(os, "sched_setaffinity"):
            return case

        def step() -> None:
            before = os.sched_getaffinity(0)
            os.sched_setaffinity(0, range(os.cpu_count()))
            case.steps["step"]()
            os.sched_setaffinity(0, before)

        return Case({"step": step}, case.numbers)

    return with_all


def of_training(training: mlp.Training, *names: str):
    every = mlp.cases(training)
    return {name: every[name] for name in names}


def tiny(rows: int, compiled: bool):
    """A program of two operations, forward only."""

    def prepare() -> Case:
        import fastgrad
        from fastgrad import Value

        x = numpy.linspace(-1, 1, rows)
        w, b = Value(2.0), Value(0.5)
        state = {}
        line = fastgrad.compile(lambda x: (w * x + b).relu()) if compiled else None

        def step() -> None:
            state["y"] = line(x) if compiled else [(w * v + b).relu().data for v in x.tolist()]

        return Case({"step": step}, lambda: [float(v) for v in state["y"]])

    return prepare


def digits_on_threads():
    training = digits(4096)
    cases = of_training(training, "fastgrad", "compiled", "torch", "jax")
    return {**cases, "threads": both_cores(mlp.on_compiled(training, threads=2))}


AGAINST = ("fastgrad", "compiled", "torch", "jax", "c")
WORKLOADS = [
    one_step("digits-256", "digits, 256 images", of_training(digits(256), *AGAINST)),
    one_step("mlp-784", "MLP(784, [128, 10]), 256 images", of_training(large(), *AGAINST[:-1]), rounds=5),
    one_step("gpt-32", "scalar GPT, 32 documents", gpt_batch.CASES),
    one_step(
        "asian",
        f"Asian option, {PATHS} paths, price and gradient",
        option.cases(PATHS, SHARES),
        rounds=5,
        shares=SHARES,
    ),
    one_step("tiny", "a tiny program on 10 rows", {"fastgrad": tiny(10, False), "compiled": tiny(10, True)}),
    one_step("threads", "digits, 4096 images, two threads", digits_on_threads()),
]
# Minutes on plain Values, and the same code as in others.
TIMED_ONLY = ("asian", "mlp-784", "threads")


@pytest.mark.parametrize("implementation", option.cases(1))
def test_agreement_on_a_few_paths(implementation):
    test_agreement(one_step("asian", "a few paths", option.cases(640)), implementation)
