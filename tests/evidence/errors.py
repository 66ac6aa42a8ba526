"""Measured errors of a row: in ulp of the exact result, and as a share of the bound for its expression."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import mpmath
from mpmath import mpf

from evidence.duals import PRECISION, Exact, exact
from evidence.meanings import MEANINGS
from evidence.rounding_bounds import LANES, LARGEST, LIBRARY, Bounds, bounds
from fastgrad.operations import Operation, Reduction

# Where the expression's own bound is wider than this, it cancels, and an ulp of the result says little.
WELL_CONDITIONED = 16


class Reference(NamedTuple):
    """A point, the exact numbers there, and how far each library's functions may be from them."""

    numbers: tuple[float, ...]
    exact: Exact
    bounds: dict[str, Bounds]


class Error(NamedTuple):
    """One number that is wrong: further away than its bound, or not what IEEE's rules give."""

    numbers: tuple[float, ...]
    quantity: str
    found: object
    wanted: float


class Spread:
    """Errors of one quantity of one row."""

    def __init__(self):
        self.count = self.conditioned = self.lost = 0
        self.total = self.worst = self.share = 0.0
        self.worst_at: tuple[float, ...] | None = None

    def add(self, numbers, ulps, share, conditioned):
        self.count += 1
        self.share = max(self.share, share)
        if conditioned:
            self.conditioned += 1
            self.total += ulps
            if ulps > self.worst:
                self.worst, self.worst_at = ulps, numbers

    @property
    def mean(self) -> float:
        return self.total / max(self.conditioned, 1)


def references(row: Operation | Reduction, points: Iterable[tuple[float, ...]]) -> list[Reference]:
    """The points at which the row has an exact value that is a real number."""
    kept = []
    for numbers in points:
        try:
            found = exact(row, numbers)
        except (ArithmeticError, ValueError):
            continue
        if mpmath.isfinite(found.value) and not mpmath.im(found.value):
            limits = bounds(row, numbers)
            over_lanes = bounds(row, numbers, "lanes") if calls_the_lanes_functions(row) else limits
            kept.append(Reference(numbers, found, {"libm": limits, "lanes": over_lanes}))
    return kept


def calls_the_lanes_functions(row: Operation | Reduction) -> bool:
    """Whether the row's expressions call a function that has another accuracy over lanes."""
    text = " ".join(map(str, row))
    return any(f"{name}(" in text for name in LIBRARY if LANES[name] != LIBRARY[name])


def quantities(row: Operation | Reduction, count: int) -> list[str]:
    """The value, and a derivative for each operand; all those of a reduction have one rule."""
    if isinstance(row, Reduction):
        return ["value", *["d/dx"] * count]
    return ["value", *(f"d/d{name}" for name in "abc"[:count])]


def refuses(row: Operation | Reduction, numbers: Sequence[float]) -> bool:
    """Whether the engine is to raise rather than return inf or nan at these operands."""
    refusal = MEANINGS[row.name].refusal(*numbers)
    return refusal is not None and not isinstance(refusal, OverflowError)


def compare(row, found, wanted: Sequence[Reference], library: str):
    """Compare answers with references: the spread of each quantity, and the numbers that are wrong."""
    spreads: dict[str, Spread] = {}
    errors = []
    with mpmath.workprec(PRECISION):
        for reference, answer in zip(wanted, found, strict=True):
            limits = reference.bounds[library]
            if isinstance(answer, type):
                # Only where the result, or 1 / b on the way to it, leaves the range.
                if limits.value is not None and mpmath.isfinite(limits.value):
                    errors.append(Error(reference.numbers, "value", answer, float(reference.exact.value)))
                continue
            if refuses(row, reference.numbers):
                continue
            numbers = (answer.value, *answer.partials)
            exacts = (reference.exact.value, *reference.exact.partials)
            for name, number, truth, limit in zip(
                quantities(row, len(answer.partials)),
                numbers,
                exacts,
                (limits.value, *limits.partials),
                strict=True,
            ):
                if number is None or limit is None:
                    continue
                spread = spreads.setdefault(name, Spread())
                if not within(reference.numbers, number, truth, limit, spread):
                    errors.append(Error(reference.numbers, name, number, float(truth)))
    return spreads, errors


def within(numbers, number: float, truth, limit, spread: Spread) -> bool:
    if mpmath.isnan(truth):
        return math.isnan(number)
    if not mpmath.isfinite(limit):
        # Out of range on the way. If the exact result is, too, this one is inf or, by rounding, the largest.
        spread.lost += abs(truth) <= LARGEST and not math.isclose(
            number, truth, rel_tol=1e-12, abs_tol=5e-324
        )
        return abs(truth) <= LARGEST or abs(number) > 1.79e308
    if not math.isfinite(number):
        return False
    error = abs(mpf(number) - truth)
    ulp = mpf(max(math.ulp(float(truth)), 5e-324))
    if not error:
        spread.add(numbers, 0.0, 0.0, limit <= WELL_CONDITIONED * ulp)
        return True
    share = float(error / limit) if limit else math.inf
    spread.add(numbers, float(error / ulp), share, limit <= WELL_CONDITIONED * ulp)
    return error <= limit
