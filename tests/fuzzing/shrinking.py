"""Dropping the lines of a program that its failure does not need."""

from collections.abc import Callable, Sequence


def shrunk(lines: Sequence[str], fails: Callable[[list[str]], bool]) -> list[str]:
    """Return lines that still fail, of which no single one can be left out.

    Runs of lines are tried first, half of all, then a quarter, and so on. A line that needs one which
    is gone raises the same NameError in both worlds, so any lines of a program are a program.
    """
    kept = list(lines)
    size = len(kept) // 2 or 1
    while True:
        before = len(kept)
        # From the end: what is computed last is needed least.
        for start in range(len(kept) - 1, -1, -size):
            candidate = kept[: max(0, start - size + 1)] + kept[start + 1 :]
            if fails(candidate):
                kept = candidate
        if size > 1:
            size //= 2
        elif len(kept) == before:
            return kept
