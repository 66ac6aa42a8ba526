"""A benchmark: a workload, with a case for each implementation, and the tests that run on every workload.

Every file of workloads imports the tests, which run on the importing module's WORKLOADS.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import pytest

from benchmarks.implementations import require


class Case(NamedTuple):
    """One implementation of a workload, ready to run.

    `steps` run in order, again and again; those that the workload names are timed. After one pass through
    the steps, `numbers` returns the computed value followed by the gradients; an implementation without
    gradients returns the value alone.
    """

    steps: Mapping[str, Callable[[], object]]
    numbers: Callable[[], list[float]]


class Workload(NamedTuple):
    """The same computation written for several implementations.

    A time is in `unit`, for one of the `operations` that a pass through the steps does. Where all operations
    would take an implementation minutes, `shares` gives a number n, and it does one n-th of them, one after
    another, so that each takes as long as among all.
    """

    key: str
    title: str
    steps: tuple[str, ...]
    operations: int
    unit: str
    cases: Mapping[str, Callable[[], Case]]
    rounds: int = 15
    tolerance: float = 1e-9
    shares: Mapping[str, int] = {}
    # The implementation whose numbers and times the others are compared with.
    reference: str = "fastgrad"

    def prepare(self, implementation: str) -> Case:
        """Return the case; skip the calling test if the implementation is not installed."""
        require(implementation)
        return self.cases[implementation]()


def one_step(key: str, title: str, cases: Mapping[str, Callable[[], Case]], **options) -> Workload:
    """A workload of one step, in milliseconds."""
    return Workload(key, title, ("step",), 1, "ms", cases, **{"rounds": 7, **options})


def run_once(case: Case) -> None:
    """Go through the steps once, timing nothing."""
    for step in case.steps.values():
        step()


def test_speed(benchmark, workload: Workload, implementation: str, step: str) -> None:
    """Have pytest-benchmark time one step; the other steps of a pass run untimed around it."""
    case = workload.prepare(implementation)
    if step not in case.steps:
        pytest.skip(f"{implementation} has no step {step}")
    names = list(case.steps)
    before, after = names[: names.index(step)], names[names.index(step) + 1 :]
    benchmark.group = f"{workload.title}: {step}"
    benchmark.extra_info["operations"] = workload.operations / workload.shares.get(implementation, 1)
    benchmark.pedantic(
        case.steps[step],
        setup=lambda: [case.steps[name]() for name in before] and None,
        teardown=lambda: [case.steps[name]() for name in after] and None,
        rounds=workload.rounds,
        warmup_rounds=1,
    )


def test_agreement(workload: Workload, implementation: str) -> None:
    """Compare value and gradients after one pass with the reference's, 0 to rounding of the largest."""
    reference = workload.prepare(workload.reference)
    run_once(reference)
    expected = reference.numbers()
    case = workload.prepare(implementation)
    run_once(case)
    numbers = case.numbers()
    assert len(numbers) == (1 if implementation == "float" else len(expected))
    zero = 1e-12 * max(1.0, *map(abs, expected))
    # pytest.approx takes minutes for the million numbers of a Jacobian.
    wrong = [
        (number, right)
        for number, right in zip(numbers, expected)
        if not abs(number - right) <= max(zero, workload.tolerance * abs(right))
    ]
    assert wrong[:5] == []
