"""Parametrise the two tests of every workload's file over workloads, implementations and steps."""

from pathlib import Path

from benchmarks import documents
from benchmarks.field import data


def pytest_addoption(parser):
    parser.addoption(
        "--documents",
        type=Path,
        help="text file of one document a line for the character-level GPT",
    )
    parser.addoption("--adbench", type=Path, help="folder of ADBench's data")


def pytest_configure(config):
    chosen = config.getoption("--documents", default=None)
    if chosen is not None:
        documents.choose(chosen)
    folder = config.getoption("--adbench", default=None)
    if folder is not None:
        data.choose(folder)


def pytest_generate_tests(metafunc):
    if "workload" not in metafunc.fixturenames:
        return
    timed = "step" in metafunc.fixturenames
    rows = [
        (workload, implementation, step)
        for workload in metafunc.module.WORKLOADS
        for step in (workload.steps if timed else [""])
        for implementation in workload.cases
        if timed or workload.key not in getattr(metafunc.module, "TIMED_ONLY", ())
    ]
    identifiers = ["-".join(filter(None, (w.key, step, name))) for w, name, step in rows]
    if timed:
        metafunc.parametrize(("workload", "implementation", "step"), rows, ids=identifiers)
    else:
        metafunc.parametrize(("workload", "implementation"), [row[:2] for row in rows], ids=identifiers)
