"""Workload 7: import time, wheel size, bytes a node."""

import sys

import pytest

from benchmarks import footprint
from benchmarks.goals import FOOTPRINT_GOALS
from benchmarks.implementations import require


@pytest.mark.parametrize("implementation", footprint.PACKAGES)
def test_import_time(benchmark, implementation):
    require(implementation)
    benchmark.group = "import"
    module = footprint.IMPORTED.get(implementation, implementation)
    benchmark.pedantic(footprint.seconds_to_run, args=(f"import {module}",), rounds=5, warmup_rounds=1)


@pytest.mark.skipif(sys.platform != "linux", reason="reads the resident set from /proc")
def test_bytes_a_node():
    assert 64 <= footprint.bytes_a_node("fastgrad") <= FOOTPRINT_GOALS["bytes"].limit


def test_wheel_size():
    assert 0 < footprint.wheel_megabytes("fastgrad") <= FOOTPRINT_GOALS["wheel"].limit
