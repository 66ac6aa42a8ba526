"""Workload 7: a step of examples/names_gpt.py, which is workload 5 on fastgrad.functional and .optim.

Beside it the same model operation by operation on fastgrad, on torch, jax and in C, one document a step.
"""

import importlib
import sys
from itertools import cycle
from pathlib import Path

import pytest

from benchmarks import gpt, test_gpt
from benchmarks.case import Case, one_step, test_agreement, test_speed  # noqa: F401

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
# So many that the learning rate hardly falls: the other implementations have a constant one.
STEPS = 10**15


def in_one_step(prepare):
    """The case of workload 5 with forward, backward and the update as one step."""

    def prepared() -> Case:
        case = prepare()

        def step() -> None:
            for part in case.steps.values():
                part()

        return Case({"step": step}, case.numbers)

    return prepared


def on_the_example() -> Case:
    if str(EXAMPLES) not in sys.path:
        sys.path.append(str(EXAMPLES))
    pytest.importorskip("tqdm")
    example = importlib.import_module("names_gpt")
    text = gpt.load_text()
    model = example.GPT(text.vocabulary)
    for name, matrix in gpt.initial_weights(text.vocabulary).items():
        for row, numbers in zip(getattr(model, name), matrix, strict=True):
            for parameter, number in zip(row, numbers, strict=True):
                parameter.data = number
    trainer = example.Trainer(model, STEPS, lr=gpt.Adam().lr)
    documents = cycle(text.documents)
    state = {}

    def step() -> None:
        state["loss"] = trainer.step(next(documents))

    return Case({"step": step}, lambda: [state["loss"], *(p.data for p in model.parameters())])


WORKLOADS = [
    one_step(
        "names_gpt",
        "examples/names_gpt.py, a training step of one document",
        {
            "fastgrad": on_the_example,
            "operations": in_one_step(test_gpt.on_scalars("fastgrad")),
            "torch": in_one_step(test_gpt.on_torch),
            "jax": in_one_step(test_gpt.on_jax),
            "c": in_one_step(test_gpt.on_c),
        },
        rounds=15,
    )
]
