"""A failure half-way leaves everything as it was: memory, threads, new processes, interpreters."""

import os
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path

import pytest

import fastgrad

RELIABILITY = Path(__file__).resolve().parent
SOURCES = str(Path(fastgrad.__file__).resolve().parent.parent)
has_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def run(script, *arguments):
    """Run a script, given as text or as a file, in a fresh interpreter; return what it printed."""
    command = [str(script)] if isinstance(script, Path) else ["-c", textwrap.dedent(script)]
    path = os.pathsep.join(filter(None, [SOURCES, os.environ.get("PYTHONPATH", "")]))
    finished = subprocess.run(
        [sys.executable, "-X", "faulthandler", *command, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        # No measure of time: an end for what hangs.
        timeout=1800,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


# Memory.


@pytest.mark.distribution
@pytest.mark.skipif(sys.platform == "win32", reason="compiles with the C compiler's Unix options")
def test_any_allocation_may_fail():
    if shutil.which((sysconfig.get_config_var("CC") or "cc").split()[0]) is None:
        pytest.skip("there is no C compiler")
    scenarios = run(RELIABILITY / "allocation_failure.py", "--every", "7").splitlines()
    assert len(scenarios) == 23
    for scenario in scenarios:
        _, counts = scenario.split(": ")
        attempts, errors = (int(count.split()[0]) for count in counts.split(", "))
        # Without the lock CPython's objects have an allocator of their own, which cannot be made to fail.
        assert errors < attempts
        assert errors > 0 or sysconfig.get_config_var("Py_GIL_DISABLED")


@pytest.mark.skipif(bool(sysconfig.get_config_var("Py_GIL_DISABLED")), reason="there are no arenas")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the address space")
def test_without_room_for_an_arena_building_raises_memory_error():
    output = run("""
        import mmap, resource, sys
        from fastgrad import Value
        from fastgrad.engine import _pool_statistics

        x = Value(1.0)
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, -1))
        try:
            mmap.mmap(-1, 2**27)
        except OSError:
            pass
        else:
            print("no limit")
            sys.exit()
        built = 0
        try:
            out = x
            while True:
                out = out + 1.0
                built += 1
        except MemoryError as error:
            print(error)
        out.backward()
        assert x.grad == 1.0 and out.data == 1.0 + built, (x.grad, out.data)
        del out
        assert _pool_statistics()["nodes"] == 1
        for _ in range(2):
            out = x * 2
            for _ in range(built // 2):
                out = out + 1.0
            out.backward()
        print(x.grad)
    """)
    if output == "no limit\n":
        pytest.skip("an emulator limits nothing")
    assert output.splitlines() == ["no memory for another Value", "5.0"]


# Threads.

THREADS = """
    import gc, sys, threading
    import fastgrad
    from fastgrad import Value
    from fastgrad.nn import MLP

    sys.setswitchinterval(1e-6)
    failures = []

    def in_threads(work, count=6):
        def guarded(number):
            try:
                work(number)
            except BaseException as error:
                failures.append(error)
                raise

        threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures
"""


def in_threads(body):
    return run(textwrap.dedent(THREADS) + textwrap.dedent(body))


def test_threads_that_share_parameters_lose_no_gradient():
    """Sums of integers are exact in any order."""
    in_threads("""
        w, v = Value(3.0), Value(2.0)
        steps = 3000

        def work(number):
            for step in range(steps):
                x = Value(float(step % 7))
                out = (w * x + v).relu() * 2 - w
                out.backward()
                assert x.grad == 6.0

        in_threads(work)
        assert w.grad == 6 * sum(2 * (step % 7) - 1 for step in range(steps)), w.grad
        assert v.grad == 6 * 2 * steps, v.grad
    """)


def test_threads_with_closures_and_collections():
    in_threads("""
        from fastgrad.engine import _pool_statistics

        w = Value(3.0)

        class Finalised:
            def __del__(self):
                (Value(2.0) * 3).backward()
                gc.collect(0)

        def work(number):
            for step in range(150):
                h = w * 2
                out = Value(h.data, (h,), "mine")
                out.note = Finalised()

                def backward(out=out, h=h):
                    gc.collect(0)
                    h.grad += out.grad

                out._backward = backward
                total = out * 1 + w
                total._children[0]._prev
                total.backward()

        gc.set_threshold(50, 2, 2)
        in_threads(work)
        assert w.grad == 6 * 150 * 3, w.grad
        del work
        gc.collect()
        assert _pool_statistics()["nodes"] == 1, _pool_statistics()
        assert _pool_statistics()["irregular"] == 0
    """)


def test_threads_that_share_a_model():
    in_threads("""
        model = MLP(3, [4, 1], activation="linear")
        for number, parameter in enumerate(model.parameters()):
            parameter.data = float(number % 5 - 2)
        model([1.0, 2.0, 3.0]).backward()
        expected = [parameter.grad for parameter in model.parameters()]
        model.zero_grad()

        def work(number):
            for _ in range(500):
                model([1.0, 2.0, 3.0]).backward()

        in_threads(work)
        assert [p.grad for p in model.parameters()] == [6 * 500 * g for g in expected]
    """)


def test_threads_that_trace_and_run_programs():
    in_threads("""
        w = Value(2.0)

        def work(number):
            for step in range(20):
                function = fastgrad.compile(lambda x: (w * x + number) * 2)
                assert function.backward([1.0, 3.0], threads=1 + step % 2) == 2 * (4 + number)
                out = w * 1
                assert bool(out)
                out.backward()

        in_threads(work)
        assert w.grad == 6 * 20 * (4 + 1), w.grad
    """)


# New processes.

FORK = """
    import os, sys, threading, time, warnings
    import fastgrad
    from fastgrad import Value

    # Python 3.12 warns of a fork while threads run, which is what is tested.
    warnings.simplefilter("ignore", DeprecationWarning)

    def in_child(work):
        child = os.fork()
        if child == 0:
            try:
                work()
            except BaseException as error:
                print("child:", repr(error), flush=True)
                os._exit(1)
            os._exit(0)
        return child

    def wait(child):
        # A child that hangs is a failure, not a test that hangs.
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                assert status == 0, status
                return
            time.sleep(0.01)
        os.kill(child, 9)
        raise AssertionError("the new process hangs")
"""


def forking(body):
    return run(textwrap.dedent(FORK) + textwrap.dedent(body))


@has_fork
def test_a_fork_in_the_middle_of_training():
    forking("""
        from fastgrad.nn import MLP

        model = MLP(2, [4, 1])
        function = fastgrad.compile(lambda x: model(x) ** 2)
        rows = [[0.5, 1.0], [2.0, -1.0]] * 20

        def train(steps):
            for _ in range(steps):
                model.zero_grad()
                loss = sum(model(row) ** 2 for row in rows)
                loss.backward()
                function.backward(rows, threads=2)
                for parameter in model.parameters():
                    parameter.data -= 1e-4 * parameter.grad
            return [parameter.data for parameter in model.parameters()]

        train(5)
        graph = model(rows[0])
        child = in_child(lambda: (graph.backward(), train(5)))
        graph.backward()
        train(5)
        wait(child)
    """)


@has_fork
def test_a_fork_while_another_thread_trains_or_traces():
    forking("""
        w = Value(2.0)
        stop, tracing = threading.Event(), threading.Event()

        def build():
            while not stop.is_set():
                ((w * 2 + 1).tanh() * w).backward()

        def slow(x):
            tracing.set()
            stop.wait(10)
            return w * x

        def trace():
            fastgrad.compile(slow)([1.0])

        threads = [threading.Thread(target=build), threading.Thread(target=trace)]
        for thread in threads:
            thread.start()
        tracing.wait()

        def work():
            assert bool(w) and w.data == 2.0
            w.grad = 0.0
            assert fastgrad.compile(lambda x: w * x).backward([3.0]) == 6.0
            assert w.grad == 3.0

        children = [in_child(work) for _ in range(5)]
        for child in children:
            wait(child)
        stop.set()
        for thread in threads:
            thread.join()
        assert fastgrad.compile(lambda x: w * x)([3.0])[0] == 6.0
    """)


@has_fork
def test_a_fork_while_another_thread_frees_a_graph():
    """The fork is in a finaliser, which pauses the loop that frees; the new process must go on freeing."""
    forking("""
        from fastgrad.engine import _pool_statistics

        paused, go_on = threading.Event(), threading.Event()

        class Pausing:
            def __del__(self):
                paused.set()
                go_on.wait(10)

        def free():
            node = Value(1.0) * 2
            node.note = Pausing()
            del node

        thread = threading.Thread(target=free)
        thread.start()
        paused.wait()

        def build():
            out = Value(1.0)
            for _ in range(1000):
                out = out + 1.0

        def work():
            before = _pool_statistics()["nodes"]
            build()
            assert _pool_statistics()["nodes"] == before

        child = in_child(work)
        wait(child)
        go_on.set()
        thread.join()
        before = _pool_statistics()["nodes"]
        build()
        assert _pool_statistics()["nodes"] == before
    """)


@has_fork
def test_a_fork_while_a_program_runs_in_threads():
    forking("""
        w = Value(1.0)

        def heavy(x):
            for _ in range(300):
                x = (x * w).sin()
            return x

        function = fastgrad.compile(heavy)
        rows = [0.5] * 3_000
        expected = function.backward(rows, threads=2)
        w.grad = 0.0
        stop = threading.Event()

        def train():
            while not stop.is_set():
                function.backward(rows, threads=2)

        thread = threading.Thread(target=train)
        thread.start()

        def work():
            w.grad = 0.0
            assert function.backward(rows, threads=2) == expected

        for _ in range(4):
            wait(in_child(work))
        stop.set()
        thread.join()
    """)


@has_fork
def test_a_fork_by_the_function_that_is_traced():
    """Python seeds `random` in a new process, which must not be taken for a draw of the function."""
    forking("""
        w = Value(2.0)
        children = []

        def function(x):
            children.append(os.fork())
            return w * x

        try:
            result = fastgrad.compile(function)([3.0])[0]
        except fastgrad.compiler.compiled.TracingError:
            assert children == [0]
        else:
            assert result == 6.0
        assert fastgrad.compile(lambda x: w + x)([3.0])[0] == 5.0
        assert bool(w)
        if children != [0]:
            wait(children[0])
    """)


@has_fork
def test_a_fork_by_another_thread_than_the_first():
    forking("""
        w = Value(2.0)
        function = fastgrad.compile(lambda x: w * x)
        function.backward([1.0] * 3_000, threads=2)

        def work():
            w.grad = 0.0
            (w * 3.0).backward()
            assert w.grad == 3.0
            assert function.backward([1.0] * 3_000, threads=2) == 2.0
            assert fastgrad.compile(lambda x: w + x)([3.0])[0] == 5.0

        thread = threading.Thread(target=lambda: wait(in_child(work)))
        thread.start()
        thread.join()
        work()
    """)


# Other interpreters, other imports.


@pytest.mark.parametrize("lock", ["shared", "own"])
@pytest.mark.parametrize("first", ["before", "after"])
def test_one_interpreter_imports_and_others_raise_an_import_error(run_script, lock, first):
    lines = run_script("second_interpreter.py", lock, first).splitlines()
    for line in lines:
        assert line == "imported" or (line.startswith("ImportError: ") and "interpreter" in line)
    assert "imported" in lines
    if first == "before":
        assert lines[0] == lines[-1] == "imported"


@pytest.mark.parametrize(
    "again",
    [
        "for name in loaded: importlib.reload(sys.modules[name])",
        "for name in loaded: del sys.modules[name]",
    ],
    ids=["reloaded", "imported again"],
)
def test_nodes_from_before_and_after_another_import_go_together(again):
    run(f"""
        import importlib, sys
        import fastgrad.nn
        from fastgrad import Value

        w = Value(2.0)
        y = w * 3.0
        loaded = [name for name in sys.modules if name.partition(".")[0] == "fastgrad"]
        {again}
        import fastgrad.engine, fastgrad.nn

        later = fastgrad.engine.Value(4.0)
        (y * later).backward()
        assert (w.grad, later.grad) == (12.0, 6.0)
        model = fastgrad.nn.MLP(1, [1])
        assert fastgrad.compile(lambda x: w * later * x)([1.0])[0] == 8.0
        assert fastgrad.compile(lambda x: model([x]))([1.0])[0] == model([1.0]).data
    """)
