"""Line coverage of the Cython sources, as a plugin of coverage.py: one report for them and the Python files.

`FASTGRAD_COVERAGE=1` builds modules that count the lines of C they run (gcc's --coverage). Cython writes
above the C of each statement which line of which source it comes from; with that, the counts of gcov become
lines of .pyx, .pxi and .pxd files. Unlike Cython's own line tracing, this follows `include` in a `src`
folder, counts what runs without the interpreter's lock at full speed, and adds up over processes.

`python tests/reliability/cython_coverage.py` in the checkout writes the counts as data of coverage.py.
"""

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import coverage
from coverage.plugin import CoveragePlugin, FileReporter

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "fastgrad"
PLUGIN = "cython_coverage.CythonCoverage"
# Cython's comment above the C of a statement, and the one above what leaves a function.
ORIGIN = re.compile(r'\s*/\* "(src/fastgrad/[\w./]+\.(?:pyx|pxi|pxd))":(\d+)$')
FUNCTION = re.compile(r"(async )?(def|cdef|cpdef)\b.*[:(]$|@")


def c_counts(notes):
    """How often each line of C ran, by file, for one compiled module."""
    command = [shutil.which("gcov"), "--json-format", "--stdout", str(notes)]
    report = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    counts = {}
    for file in report["files"]:
        lines = counts.setdefault(file["file"], {})
        for line in file["lines"]:
            lines[line["line_number"]] = max(lines.get(line["line_number"], 0), line["count"])
    return counts


def statements(c_file):
    """The stretches of C that Cython wrote for one line of source: (source, line, first, last)."""
    text = c_file.read_text(encoding="utf-8").splitlines()
    begun = None
    for number, line in enumerate(text, 1):
        origin = ORIGIN.match(line)
        # What leaves a function runs whichever its last statement was.
        if origin or "/* function exit code */" in line or line == "}":
            if begun:
                yield *begun, number - 1
            begun = (origin[1], int(origin[2]), number) if origin else None


def ran(counts, first, last):
    """Whether a stretch of C was entered, None if it holds no code.

    The count of its first line decides: other code may jump to a label further down.
    """
    return next((counts[line] > 0 for line in range(first, last + 1) if line in counts), None)


@cache
def measured():
    """Whether each line was run in any of the compiled modules, by source file."""
    found = {}
    for notes in sorted((ROOT / "build").glob("temp.*/src/fastgrad/**/*.gcno")):
        for file, counts in c_counts(notes).items():
            if not file.startswith("src/fastgrad/"):
                continue
            if file.endswith(".h"):
                stretches = ((file, line, line, line) for line in counts)
            else:
                stretches = statements(ROOT / file)
            for source, line, first, last in stretches:
                was_run = ran(counts, first, last)
                if was_run is not None:
                    lines = found.setdefault(str(ROOT / source), {})
                    lines[line] = lines.get(line, False) or was_run
    return found


class CythonReporter(FileReporter):
    """What coverage.py asks about one source file."""

    def __init__(self, filename, marker):
        super().__init__(filename)
        self.marker = marker

    def lines(self):
        return measured()[str(Path(self.filename).resolve())].keys() - self.excluded_lines()

    def excluded_lines(self):
        """Lines with the marker, and the block below such a line: the lines that are indented more."""
        excluded, depth = set(), None
        for number, line in enumerate(self.source().splitlines(), 1):
            indent = len(line) - len(line.lstrip())
            if depth is not None and line.strip() and indent <= depth:
                depth = None
            if depth is None and re.search(self.marker, line):
                depth = indent
            if depth is not None:
                excluded.add(number)
        return excluded


class CythonCoverage(CoveragePlugin):
    """The plugin. It traces nothing, because the modules count by themselves."""

    def __init__(self, options):
        self.marker = options["marker"]

    def file_tracer(self, filename):
        return None

    def file_reporter(self, filename):
        return CythonReporter(filename, self.marker)


def coverage_init(registry, options):
    registry.add_file_tracer(CythonCoverage(options))


def main():
    data = coverage.CoverageData(basename=str(ROOT / ".coverage"), suffix="cython")
    data.erase()
    data.add_lines(
        {file: [line for line, was_run in lines.items() if was_run] for file, lines in measured().items()}
    )
    data.touch_files(measured(), PLUGIN)
    data.write()


if __name__ == "__main__":
    main()
