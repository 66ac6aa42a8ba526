"""Mutation testing of the table of operations: every mutant must be killed by a test.

    python tests/reliability/mutants.py                      # build once, then every mutant: ten minutes
    python tests/reliability/mutants.py --rows tanh,sub      # those of some rows
    python tests/reliability/mutants.py --directory /tmp/m   # keep the build, and use it again

A copy of the checkout is built once with all mutants in it, each behind `if mutant == number`; the number
is in a file that every process maps, so that a mutant costs a fork and not a build.
First the mutant is everywhere: in the engine, in programs and in the rows that the tests read, so that only
independent knowledge of the tests can kill it. Then it is tried in one place alone: in programs without rows,
and in the kernels over lanes. Needs POSIX.
"""

import argparse
import contextlib
import ctypes
import functools
import importlib
import mmap
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest
from equivalents import reason_of
from mutations import Mutant, changed, mutants, switched

ROOT = Path(__file__).resolve().parent.parent.parent
PLACES = ("engine", "uniform", "lanes")
SECONDS = 300

# mutants.h in the copy: it reads the number of the mutant from a file that every process maps.
HEADER = """\
#ifndef FASTGRAD_MUTANTS_H
#define FASTGRAD_MUTANTS_H
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#if defined(__PYX_HAVE__fastgrad__engine)
#define FASTGRAD_PLACE 0
#elif defined(__PYX_HAVE__fastgrad__compiler__replay)
#define FASTGRAD_PLACE 1
#else
#define FASTGRAD_PLACE 2
#endif
static const volatile int *fastgrad_mutants;
static inline int fastgrad_mutant(void) {
    if (!fastgrad_mutants) {
        int file = open(getenv("FASTGRAD_MUTANTS"), O_RDONLY);
        void *memory = mmap(NULL, 3 * sizeof(int), PROT_READ, MAP_SHARED, file, 0);
        if (memory == MAP_FAILED) abort();
        fastgrad_mutants = (const volatile int *)memory;
    }
    return fastgrad_mutants[FASTGRAD_PLACE];
}
#endif
"""
SWITCH = """
cdef extern from "{header}" nogil:
    const int mutant "fastgrad_mutant()"

"""

# The tests of test_accuracy.py that are called first, with the row alone: no pytest has to start for them.
DIRECT = {
    "everywhere": "test_the_engine_is_as_accurate_as_the_rows_expressions",
    "uniform": "test_a_program_without_rows_is_as_accurate",
    "lanes": "test_each_instruction_sets_lanes_are_as_accurate",
}
# Then these are tried in turn until a test fails: files, and a pattern for the names of tests.
ROWS = ("engine/test_operations.py", "library/test_functional.py", "evidence/test_accuracy.py")
OTHERS = ("engine/test_errors.py", "evidence/test_exact_fractions.py", "engine/test_value.py")
STAGES = ((ROWS, "({row}) and not avx"), (ROWS, "not ({row}) and not avx"), (OTHERS, "not avx"))
# Imported before the forks, and again where the table has been mutated.
REFERENCE = tuple(
    f"evidence.{name}"
    for name in ("meanings", "duals", "rounding_bounds", "operands", "backends", "errors", "test_accuracy")
)


def load_rows():
    sys.path.insert(0, str(ROOT / "codegen"))
    from render import load_table

    table = load_table()
    return (*table.TABLE, *table.FUNCTIONS, *table.REDUCTIONS)


def build(directory: Path, rows, all_mutants: list[Mutant]) -> None:
    """Copy the checkout and build its extensions with every mutant in them."""
    ignored = shutil.ignore_patterns(
        ".git", "build", "*.so", "*.c", ".hypothesis", "__pycache__", ".nox", "*.egg-info"
    )
    shutil.copytree(ROOT, directory, ignore=ignored, dirs_exist_ok=True)
    table = directory / "src" / "fastgrad" / "operations.py"
    original = table.read_text()
    text = {name: [] for name in ("TABLE", "FUNCTIONS", "REDUCTIONS")}
    for row in rows:
        switch = switched(row, all_mutants)
        group = "REDUCTIONS" if hasattr(row, "step") else "TABLE" if row.method else "FUNCTIONS"
        text[group].append(repr(switch))
    lines = [f"{group} = ({', '.join(members)},)" for group, members in text.items()]
    table.write_text(original + "\n" + "\n".join(lines) + "\n")
    header = directory.resolve() / "mutants.h"
    switch = SWITCH.format(header=header)
    render = directory / "codegen" / "render.py"
    render.write_text(
        render.read_text()
        # A mutated row is no row that anyone would write.
        .replace("    verify(operations, instructions)\n", "")
        .replace(
            "def write_if_changed(path: Path, text: str) -> None:\n",
            "def write_if_changed(path: Path, text: str) -> None:\n"
            "    if path.name in ('ops.pxd', 'row_functions.pxi'):\n"
            f"        text = text.replace('\\ncdef ', {switch!r} + '\\ncdef ', 1)\n",
        )
    )
    header.write_text(HEADER)
    # All kernels come from the same lines: the baseline's stand for them.
    setup = directory / "setup.py"
    setup.write_text(setup.read_text().replace('"-O3"', '"-O1", "-w"').replace("if X86:", "if False:"))
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "-i"],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": "src"},
        check=True,
    )
    # What the tests read is the table as it is; `use` mutates it.
    table.write_text(original)


class Result:
    """A pytest plugin that remembers the first test that fails."""

    def __init__(self):
        self.killer = ""

    def pytest_runtest_logreport(self, report):
        if report.failed and not self.killer:
            self.killer = report.nodeid

    def pytest_collectreport(self, report):
        if report.failed and not self.killer:
            self.killer = f"collection of {report.nodeid}"


def use(m: Mutant) -> None:
    """Have the tests read the mutant's row."""
    operations = importlib.import_module("fastgrad.operations")
    for group in ("TABLE", "FUNCTIONS", "REDUCTIONS"):
        setattr(operations, group, tuple(changed(row, m) for row in getattr(operations, group)))
    operations.BY_NAME = {row.name: row for row in operations.TABLE + operations.FUNCTIONS}


def in_a_child(work, described: str) -> str:
    """Return what `work()` returns in a process of its own: the test that fails, or nothing."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        with os.fdopen(reading) as pipe:
            said = pipe.read()
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code == 3:
            raise RuntimeError(f"the tests of {described} could not be run: {said}")
        # A signal: the mutant has crashed the interpreter, or does not end.
        return said or ("" if code == 0 else f"exit status {code}")
    try:
        os.close(reading)
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.alarm(SECONDS)
        os.write(writing, work().encode())
        os._exit(0)
    except BaseException as error:
        os.write(writing, repr(error).encode())
        os._exit(3)


def by_pytest(files, keyword: str) -> str:
    for name in REFERENCE:
        sys.modules.pop(name, None)
    result = Result()
    arguments = ["-x", "-q", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:faulthandler"]
    status = pytest.main([*arguments, "-k", keyword, *files], plugins=[result])
    if status not in (0, 1, 2, 5):
        raise RuntimeError(f"pytest's status is {status}")
    return result.killer or ("" if status in (0, 5) else "collection")


def directly(place: str, row) -> str:
    """Call the likeliest test without pytest."""
    tests = sys.modules["evidence.test_accuracy"]
    arguments = [row]
    if place == "lanes":
        arguments.append(lambda row: tests.by_size(row, tests.numbers_of(row), tests.lanes))
    try:
        getattr(tests, DIRECT[place])(*arguments)
    except Exception:
        return f"evidence/test_accuracy.py::{DIRECT[place]}"
    return ""


def killer_of(m: Mutant, row, place: str, switches) -> str:
    """The test that kills a mutant in a place, or nothing."""
    everywhere = place == "everywhere"
    for at, name in enumerate(PLACES):
        switches[at] = m.number if everywhere or name == place else 0

    def direct():
        return directly(place, changed(row, m) if everywhere else row)

    def staged(files, keyword):
        if everywhere:
            use(m)
        return by_pytest(files, keyword.format(row=m.row))

    killer = "" if m.part.startswith("error") else in_a_child(direct, str(m))
    for files, keyword in STAGES:
        killer = killer or in_a_child(functools.partial(staged, files, keyword), str(m))
    return killer


def control(rows) -> None:
    """Raise unless every test that can kill a mutant passes without one."""
    for place in DIRECT:
        for row in rows:
            if killer := in_a_child(functools.partial(directly, place, row), "no mutant"):
                raise RuntimeError(f"without a mutant, {killer} fails")
    for files, keyword in ((ROWS, "not avx"), (OTHERS, "not avx")):
        if killer := in_a_child(functools.partial(by_pytest, files, keyword), "no mutant"):
            raise RuntimeError(f"without a mutant, {killer} fails")


def prepare(directory: Path):
    """Import what tests need, from the mutated build, and return the memory that chooses the mutant."""
    os.chdir(ROOT / "tests")
    sys.path[:0] = [str(directory / "src"), str(ROOT / "tests")]
    chosen = directory / "mutants"
    chosen.write_bytes(bytes(ctypes.sizeof(ctypes.c_int) * len(PLACES)))
    with chosen.open("r+b") as file:
        switches = (ctypes.c_int * len(PLACES)).from_buffer(mmap.mmap(file.fileno(), 0))
    os.environ["FASTGRAD_MUTANTS"] = str(chosen)
    os.environ["FASTGRAD_KERNELS"] = "baseline"
    os.environ["PYTHONPATH"] = str(directory / "src")
    for name in (
        "numpy",
        "mpmath",
        "hypothesis",
        "micrograd.engine",
        "fastgrad",
        "fastgrad.nn",
        "fastgrad.functional",
        "fastgrad.testing",
    ):
        importlib.import_module(name)
    for name in REFERENCE:
        importlib.import_module(name)
    sys.modules["evidence.errors"].exact = remembered(sys.modules["evidence.duals"].exact)
    module = sys.modules["fastgrad"]
    assert Path(module.__file__).is_relative_to(directory), module.__file__
    for row in named_rows().values():
        sys.modules["evidence.test_accuracy"].wanted(row)
    return switches


def remembered(exact):
    """Compute the exact numbers once for all mutants: they do not depend on the table's expressions."""
    known = {}

    def look_up(row, numbers):
        key = (row.name, numbers)
        if key not in known:
            known[key] = exact(row, numbers)
        return known[key]

    return look_up


def named_rows():
    operations = sys.modules["fastgrad.operations"]
    return {row.name: row for row in operations.TABLE + operations.FUNCTIONS + operations.REDUCTIONS}


def run(chosen: list[Mutant], switches, places) -> list[tuple[str, Mutant]]:
    """Try the mutants; return the survivors, each with the place where it survived."""
    survivors = []
    killers: Counter = Counter()
    started = time.perf_counter()
    rows = named_rows()
    control(rows.values())
    print(f"without a mutant, every test passes: {time.perf_counter() - started:.0f} s", flush=True)
    for place in places:
        killed = 0
        reasons: Counter = Counter()
        # Only the engine raises what the table refuses.
        tried = [m for m in chosen if place == "everywhere" or not m.part.startswith("error")]
        for at, m in enumerate(tried):
            if reason := reason_of(m, place):
                reasons[reason] += 1
                continue
            killer = killer_of(m, rows[m.row], place, switches)
            if killer:
                killed += 1
                killers[killer.split("[")[0]] += 1
            else:
                survivors.append((place, m))
                print(f"SURVIVED in {place}: {m.number} {m}", flush=True)
            if at % 50 == 49:
                print(
                    f"  {place}: {at + 1} of {len(tried)}, {time.perf_counter() - started:.0f} s", flush=True
                )
        print(f"{place}: {len(tried)} mutants, {killed} killed, {reasons.total()} equivalent", flush=True)
        for reason, count in reasons.most_common():
            print(f"{count:6} equivalent: {reason}")
    for name, count in killers.most_common(12):
        print(f"{count:6} killed by {name}")
    return survivors


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directory", type=Path, help="where the build is made, or found")
    parser.add_argument("--rows", default="", help="names of rows, with commas")
    parser.add_argument("--numbers", default="", help="numbers of mutants, with commas")
    parser.add_argument("--places", default="everywhere,uniform,lanes", help="where mutants are tried")
    options = parser.parse_args()
    rows = load_rows()
    chosen = all_mutants = mutants(rows)
    if options.rows:
        chosen = [m for m in chosen if m.row in options.rows.split(",")]
    if options.numbers:
        chosen = [m for m in chosen if str(m.number) in options.numbers.split(",")]
    with contextlib.ExitStack() as stack:
        directory = options.directory or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if not list((directory / "src" / "fastgrad").rglob("baseline*.so")):
            build(directory, rows, all_mutants)
        switches = prepare(directory.resolve())
        survivors = run(chosen, switches, options.places.split(","))
    print(f"{len(survivors)} survivors")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
