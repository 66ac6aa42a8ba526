"""The meanings that the tests know: every operation has one, and its two halves agree."""

import math
from itertools import product

import pytest

from evidence.duals import exact
from evidence.meanings import MEANINGS, OPERATIONS, REDUCTIONS, operands_of
from fastgrad import operations

ROWS = {row.name: row for row in (*operations.BY_NAME.values(), *operations.REDUCTIONS)}
ORDINARY = (-2.5, -0.75, 0.5, 1.25, 3.0)


def test_every_operation_has_a_meaning():
    assert set(OPERATIONS) == set(operations.BY_NAME)
    assert set(REDUCTIONS) == {row.name for row in operations.REDUCTIONS}


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_table_has_the_same_method_and_number_of_operands(name):
    row, meaning = ROWS[name], OPERATIONS[name]
    assert row.method == meaning.method
    assert row.operands == operands_of(meaning)
    assert (row.commutes, row.selects) == (meaning.commutes, meaning.selects)


@pytest.mark.parametrize("name", MEANINGS)
def test_the_float_formulas_follow_from_the_definition(name):
    meaning = MEANINGS[name]
    for numbers in product(ORDINARY, repeat=3 if name in REDUCTIONS else operands_of(meaning)):
        value = meaning.value(*numbers)
        if math.isnan(value):
            continue
        found = exact(ROWS[name], numbers)
        assert value == pytest.approx(float(found.value), rel=1e-14)
        partials = meaning.partials(*numbers, value)
        expected = list(map(float, found.partials))
        assert partials == pytest.approx(expected, rel=1e-12, abs=1e-15, nan_ok=True), numbers
