"""Running many programs, and making a short script of the first that fails."""

import time
from collections.abc import Iterator
from typing import NamedTuple

from fuzzing.grammar import program
from fuzzing.isolation import Failure, first_failure
from fuzzing.shrinking import shrunk

# Programs of one process: so many that its start costs little, so few that a failure is soon found.
BATCH = 250
# A program takes some milliseconds.
SECONDS_A_PROGRAM = 30.0

SCRIPT = """\
# {reason}
# Found by `python tests/fuzzing/fuzz.py --seed {seed} --programs {count}`.
# Run this with `python FILE` on a checkout.
import sys

sys.path.insert(0, "tests")
from fuzzing.running import prepare, run

prepare()
run(
    [
{lines}
    ]
)
"""


class Finding(NamedTuple):
    """A shortened program that fails, and the reason."""

    lines: list[str]
    reason: str
    seed: int
    count: int

    def script(self) -> str:
        """A script that fails in the same way."""
        lines = "\n".join(f"        {line!r}," for line in self.lines)
        return SCRIPT.format(
            reason=self.reason.replace("\n", "\n# "), seed=self.seed, count=self.count, lines=lines
        )


class Campaign:
    """Runs the programs of consecutive seeds until one fails, or a time or a number of programs is over."""

    def __init__(self, seed: int):
        self.seed = self.next = seed
        self.lines = 0

    def batches(self, programs: int | None, seconds: float | None) -> Iterator[range]:
        end = None if seconds is None else time.monotonic() + seconds
        while end is None or time.monotonic() < end:
            size = BATCH if programs is None else min(BATCH, self.seed + programs - self.next)
            if size <= 0:
                return
            yield range(self.next, self.next + size)

    def run(self, programs: int | None = None, seconds: float | None = None) -> Finding | None:
        """Return the first finding, or None."""
        for seeds in self.batches(programs, seconds):
            batch = [program(seed) for seed in seeds]
            done, failure = first_failure(batch, SECONDS_A_PROGRAM)
            self.next += done
            self.lines += sum(map(len, batch[:done]))
            if failure is not None:
                return self.finding(batch[: done + 1], failure)
        return None

    def finding(self, batch: list[list[str]], failure: Failure) -> Finding:
        """Shrink the failing program or, if it does not fail alone, what ran before it too."""
        lines = batch[-1]
        kind = kind_of(failure)

        def fails(candidate: list[str]) -> bool:
            found = first_failure([candidate], SECONDS_A_PROGRAM)[1]
            return found is not None and kind_of(found) == kind

        if not fails(lines):
            lines = [line for each in batch for line in each]
        if fails(lines):
            lines = shrunk(lines, fails)
            failure = first_failure([lines], SECONDS_A_PROGRAM)[1] or failure
        return Finding(lines, failure.reason, self.next, 1)


def kind_of(failure: Failure) -> str:
    """The kind of a failure, which a shrunk program must share: a crash, a leak, a difference."""
    return "difference" if failure.reason.startswith("after line") else failure.reason.split()[-2]
