"""Fixtures that several test files share."""

import contextlib
import gc
import inspect
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import hypothesis
import pytest

import fastgrad
from fastgrad import engine
from fastgrad.engine import _pool_statistics
from pages.browser import chromium

hypothesis.settings.register_profile("fastgrad", deadline=None, print_blob=True)
# Fewer examples, for builds that are ten or a hundred times slower: `pytest --hypothesis-profile=sanitized`.
hypothesis.settings.register_profile(
    "sanitized", max_examples=10, deadline=None, suppress_health_check=list(hypothesis.HealthCheck)
)
hypothesis.settings.load_profile("fastgrad")

SCRIPTS = Path(__file__).resolve().parent / "scripts"


# These fixtures measure the whole process, or hold what tests change. A seed and mpmath's precision belong to
# the process, too.
FIXTURES_OF_ONE_THREAD = {"live_nodes", "alarm", "saved", "served"}
SETTERS_OF_THE_PROCESS = {"seed", "workdps"}


def has_one_thread(item):
    """Whether a test uses what threads share, itself or by a function of its module."""
    test = inspect.unwrap(item.function)
    called = map(test.__globals__.get, test.__code__.co_names)
    functions = filter(inspect.isfunction, (test, *called))
    return not FIXTURES_OF_ONE_THREAD.isdisjoint(item.fixturenames) or any(
        not SETTERS_OF_THE_PROCESS.isdisjoint(each.__code__.co_names) for each in functions
    )


def pytest_collection_modifyitems(items):
    for item in items:
        if "run_script" in item.fixturenames:
            item.add_marker("processes")
        if has_one_thread(item):
            item.add_marker("thread_unsafe")


@pytest.fixture(autouse=True)
def _invariants():
    """After every test, every invariant of the pool and the graph, in a build with FASTGRAD_ASSERTIONS=1."""
    yield
    if hasattr(engine, "_check_invariants"):
        engine._check_invariants()


@pytest.fixture(scope="session")
def torch():
    """PyTorch in double precision on one thread; tests that ask for it are skipped without it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = pytest.importorskip("torch")
    module.set_num_threads(1)
    return module


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium for a file of tests."""
    with chromium() as found:
        yield found


@pytest.fixture
def live_nodes():
    """A function that collects garbage and returns the number of nodes alive."""

    def count():
        gc.collect()
        return _pool_statistics()["nodes"]

    return count


@pytest.fixture
def run_script():
    """A function that runs tests/scripts/<name> in a fresh interpreter and returns what it printed."""

    def run(name, *arguments, environment=None):
        path = [str(Path(fastgrad.__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")]
        finished = subprocess.run(
            [sys.executable, "-X", "faulthandler", str(SCRIPTS / name), *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path)), **(environment or {})},
            capture_output=True,
            text=True,
        )
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    return run


@pytest.fixture
def depth_first(monkeypatch):
    """Have backward() order graphs by depth-first search: their roots get a `_backward` of their own."""
    sweep_or_search = fastgrad.Value.backward

    def search(root):
        root._backward = root._backward
        before = _pool_statistics()["searches"]
        sweep_or_search(root)
        assert _pool_statistics()["searches"] == before + 1

    monkeypatch.setattr(fastgrad.Value, "backward", search)


@pytest.fixture
def alarm():
    """`with alarm(handler, seconds, interval=0)` calls the handler after so long; skip without a timer."""
    if not hasattr(signal, "setitimer"):
        pytest.skip("this system has no timers")

    @contextlib.contextmanager
    def alarm(handler, seconds, interval=0.0):
        before = signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, seconds, interval)
        try:
            yield
        finally:
            # Ignored at first: one that is on its way would end the process if that is the default.
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    return alarm
