"""Random programs of API calls: fastgrad does what the reference does, call by call.

`python tests/fuzzing/fuzz.py --seconds 3600` goes on with other seeds.
"""

import os
import subprocess
import sys
from pathlib import Path

import fastgrad
from fuzzing.shrinking import shrunk

FUZZ = Path(__file__).resolve().with_name("fuzz.py")


def test_random_programs_do_what_they_do_in_the_reference():
    # In a process of its own, which has no threads and may fork.
    path = [str(Path(fastgrad.__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")]
    finished = subprocess.run(
        [sys.executable, str(FUZZ), "--seed", "0", "--programs", "500"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "500 programs" in finished.stdout


def test_shrinking_leaves_the_lines_that_matter():
    lines = [str(number) for number in range(100)]
    assert shrunk(lines, lambda kept: {"3", "50", "97"} <= set(kept)) == ["3", "50", "97"]
