"""Random programs of API calls: fastgrad does what the reference does, call by call.

`python tests/fuzz.py --seconds 3600` goes on with other seeds.
"""

import pytest
from fuzzing.campaign import Campaign
from fuzzing.shrinking import shrunk
from reference import rules

from fastgrad import operations


@pytest.mark.parametrize("seed", range(0, 400, 100))
def test_random_programs_do_what_they_do_in_the_reference(seed):
    finding = Campaign(seed).run(programs=100)
    assert finding is None, finding.script()


def test_the_reference_has_every_operation():
    assert set(rules.RULES) == set(operations.BY_NAME)
    assert set(rules.REDUCTIONS) == {row.name for row in operations.REDUCTIONS}


def test_shrinking_leaves_the_lines_that_matter():
    lines = [str(number) for number in range(100)]
    assert shrunk(lines, lambda kept: {"3", "50", "97"} <= set(kept)) == ["3", "50", "97"]
