"""Every row of the table against mpmath over the whole range of doubles, wherever it is computed.

`tests/reliability/measure_accuracy.py` measures the same on fifty times as many operands and writes
docs/accuracy.md. What is exact comes from meanings.py, how far off it may be from rounding_bounds.py.
"""

import functools
import math
import os
from itertools import product

import mpmath
import numpy
import pytest

from evidence.backends import by_size, eager, lanes, lanes_and_uniform, lanes_of, uniform
from evidence.errors import compare, references
from evidence.meanings import FUNCTIONS as FUNCTIONS_OF_LIBRARY
from evidence.meanings import polygamma
from evidence.operands import NOT_FINITE, SPECIAL, points
from evidence.rounding_bounds import LANES, LIBRARY
from fastgrad.compiler.replay import available_kernels
from fastgrad.engine import _number_of
from fastgrad.operations import BY_NAME, FUNCTIONS, REDUCTIONS, TABLE, Operation

# One of so many binades and operands that the long check takes.
EVERY = 50
ROWS = (*TABLE, *FUNCTIONS, *REDUCTIONS)
SEVERAL = [(row, at) for row in (*TABLE, *FUNCTIONS) if row.operands > 1 for at in range(row.operands)]
CONDITIONS = [
    row.name for row in FUNCTIONS if row.name.startswith("logical") or not row.symbol.isidentifier()
]
IEEE = (0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -2.5, -1e200, *NOT_FINITE)

each_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
each_operand = pytest.mark.parametrize(
    ("row", "at"), SEVERAL, ids=lambda part: "abc"[part] if isinstance(part, int) else part.name
)


@functools.cache
def wanted(row):
    return references(row, points(row, EVERY))


def numbers_of(row):
    return [reference.numbers for reference in wanted(row)]


def assert_accurate(row, answers, library):
    spreads, errors = compare(row, answers, wanted(row), library)
    assert not errors, errors[:5]
    assert spreads["value"].count > 20
    return spreads


@each_row
def test_the_engine_is_as_accurate_as_the_rows_expressions(row):
    spreads = assert_accurate(row, eager(row, numbers_of(row)), "libm")
    if isinstance(row, Operation):
        # Only a sum may leave the range of doubles on the way to a result that is in it.
        assert not spreads["value"].lost


@each_operand
def test_the_engine_is_as_accurate_with_a_number_for_an_operand(row, at):
    assert_accurate(row, eager(row, numbers_of(row), at), "libm")


@each_row
def test_a_program_without_rows_is_as_accurate(row):
    assert_accurate(row, by_size(row, numbers_of(row), uniform), "libm")


@each_operand
def test_a_program_is_as_accurate_with_an_operand_that_all_rows_share(row, at):
    assert_accurate(row, lanes_and_uniform(row, numbers_of(row), at), "lanes")


@pytest.fixture(scope="module", params=["baseline", "avx2", "avx512"])
def over_lanes(request):
    if request.param not in available_kernels():
        pytest.skip(f"this processor has no {request.param}")
    if os.environ.get("FASTGRAD_KERNELS") == request.param:
        return lambda row: by_size(row, numbers_of(row), lanes)
    found = lanes_of(request.param, {row.name: numbers_of(row) for row in ROWS})
    return lambda row: found[row.name]


@each_row
def test_each_instruction_sets_lanes_are_as_accurate(row, over_lanes):
    assert_accurate(row, over_lanes(row), "lanes")


# Inf, nan and the signs of zero.


def ieee(row, numbers):
    """The row's expressions in IEEE's arithmetic, as numpy does it for single numbers."""
    # numpy's own power takes a root for an exponent of one half, which differs at -inf.
    names = {**vars(numpy), "pow": numpy.float_power}
    for name in ("asin", "acos", "atan", "asinh", "acosh", "atanh", "atan2"):
        names[name] = getattr(numpy, f"arc{name[1:]}")
    for name in ("erf", "erfc", "lgamma", "digamma"):
        names[name] = lambda x, function=FUNCTIONS_OF_LIBRARY[name].floats: numpy.float64(function(float(x)))
    names["polygamma"] = lambda n, x: numpy.float64(polygamma(float(n), float(x)))
    with numpy.errstate(all="ignore"):
        names |= {name: numpy.float64(number) for name, number in zip("abc", numbers)}
        names["out"] = numpy.float64(eval(row.value, names))
        return [float(names["out"]), *(float(eval(derivative, names)) for derivative in row.derivatives)]


def alike(left, right):
    """The same special value, or nearly the same number; the sum over rows may make 0 of -0."""
    if not (math.isfinite(left) and math.isfinite(right)):
        return repr(left) == repr(right)
    return math.isclose(left, right, rel_tol=1e-12, abs_tol=1e-320)


def mistakes(row, answers, grid):
    pairs = [(numbers, ieee(row, numbers), answer) for numbers, answer in zip(grid, answers, strict=True)]
    return [
        (numbers, expected, found)
        for numbers, expected, found in pairs
        if not isinstance(found, type) and not all(map(alike, (found.value, *found.partials), expected))
    ]


@pytest.mark.parametrize("row", [*TABLE, *FUNCTIONS], ids=lambda row: row.name)
@pytest.mark.parametrize("run", [eager, uniform, lanes], ids=lambda run: run.__name__)
def test_inf_and_nan_flow_as_ieee_says(run, row):
    grid = list(product(IEEE, repeat=row.operands))
    assert not mistakes(row, run(row, grid), grid)


@pytest.mark.parametrize("run", [uniform, lanes], ids=lambda run: run.__name__)
def test_a_program_has_an_infinite_power_of_zero_where_the_engine_raises(run):
    (answer,) = run(BY_NAME["pow"], [(0.0, -0.5)])
    assert answer == (math.inf, (-math.inf, -math.inf))


@pytest.mark.parametrize("run", [eager, uniform, lanes], ids=lambda run: run.__name__)
def test_the_logistic_slope_of_a_subnormal_sigmoid_does_not_vanish(run):
    (answer,) = run(BY_NAME["logistic"], [(-720.0, 0.0)])
    assert answer.partials[0] == pytest.approx(math.exp(-720.0), rel=1e-9, abs=0)


@each_row
def test_nan_is_never_lost_in_a_value(row):
    if row.name in ("pow", "where", *CONDITIONS):
        pytest.skip("nan**0 and 1**nan are 1, where() selects, and a condition does not hold for nan")
    for point in points(row, 250)[:16]:
        for at in range(len(point)):
            numbers = [(*point[:at], math.nan, *point[at + 1 :])]
            for run in (eager, uniform, lanes):
                assert math.isnan(run(row, numbers)[0].value), (run.__name__, numbers)


# What the measurements rest on.


@pytest.mark.parametrize("name", FUNCTIONS_OF_LIBRARY)
def test_the_library_keeps_what_the_bounds_assume(name):
    for sign in (1, -1):
        for size in SPECIAL:
            x = sign * size
            # Cython's declaration of the C library's function, not Python's own lgamma.
            found = _number_of(name, x)
            if not math.isfinite(found):
                continue
            with mpmath.workprec(320):
                function = FUNCTIONS_OF_LIBRARY[name]
                try:
                    error = abs(mpmath.mpf(found) - function.value(mpmath.mpf(x)))
                except OverflowError:
                    # mpmath's erfc, of what has more digits than an exponent.
                    continue
                size = max(abs(found), float(function.size(mpmath.mpf(x))))
                assert error <= LIBRARY[name] * math.ulp(size), x


def test_lanes_promise_two_units_in_the_last_place():
    assert [LANES[name] for name in ("exp", "log", "tanh")] == [2, 2, 2]
