"""Calls of a compiled function: what they accept and refuse, threads, interruption, pickling."""

import array
import collections
import concurrent.futures
import contextlib
import copy
import ctypes
import functools
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import time
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import fastgrad.functional as F
from evidence.branches import NOT_CHOSEN
from fastgrad import TracingError, Value, compile, take

# The path on which another process finds this file and its imports.
PATH = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda thing: pickle.loads(pickle.dumps(thing))}

p = Value(2.0)


@compile
def squares(x):
    return (p * x) ** 2


@compile
def pairs(x, y):
    return x[0] * p + x[1] * y


@compile
def chosen(x, i):
    return take(x, i) * p


class Narrow(array.array):
    """An array of another library that never gives float64, as JAX's."""

    dtype = np.dtype("f4")

    def astype(self, kind, **_):
        return self

    def __array__(self, *_, **__):
        return np.array(self.tolist(), "f4")


def calls(compiled):
    return [compiled, compiled.backward, compiled.input_gradients]


@pytest.fixture(autouse=True)
def reset():
    p.data, p.grad = 2.0, 0.0


class AsArray:
    """An object that only numpy can read, by `__array__`."""

    def __init__(self, numbers):
        self.numbers = np.array(numbers)

    def __array__(self):
        return self.numbers


class Column:
    """A column of a table: it has numpy's methods, but no buffer."""

    def __init__(self, numbers):
        self.numbers = np.array(numbers)
        self.dtype = self.numbers.dtype

    def __len__(self):
        return len(self.numbers)

    def __array__(self):
        return self.numbers


class Tensor:
    """An array with `__len__` for any number of axes, and `tolist`."""

    def __init__(self, numbers):
        self.numbers = numbers

    def __len__(self):
        return len(self.numbers)

    def tolist(self):
        return self.numbers


@pytest.mark.parametrize(
    "x",
    [
        [1.0, 2.0],
        [1, 2],
        (1.0, 2),
        array.array("d", [1, 2]),
        array.array("f", [1, 2]),
        array.array("i", [1, 2]),
        np.array([1, 2]),
        np.array([1, 2], "float32"),
        np.array([1, 2], ">f8"),
        np.array([1, 2], object),
        np.array([1, 9, 2, 9.0])[::2],
        memoryview(np.array([1.0, 2.0])),
        memoryview(np.array([1.0, 2.0])).cast("B").cast("@d"),
        [np.float32(1), np.int8(2)],
        np.array([2.0, 1.0])[::-1],
        AsArray([1.0, 2.0]),
        Column([1.0, 2.0]),
        Column([1, 2]),
        Tensor([1.0, 2.0]),
        np.array([1, 2], "u8"),
        Narrow("f", [1.0, 2.0]),
        (ctypes.c_float * 2)(1.0, 2.0),
        (ctypes.c_double * 2)(1.0, 2.0),
    ],
    ids=lambda x: f"{type(x).__name__} {getattr(x, 'dtype', '')}",
)
def test_numbers_of_any_kind_are_converted(x):
    np.testing.assert_array_equal(squares(x), [4.0, 16.0])


@pytest.mark.parametrize(
    "x",
    [
        3,
        3.0,
        Fraction(3),
        Decimal(3),
        np.float32(3),
        np.int16(3),
        np.array(3.0),
        np.array(3),
        np.array(3, object),
        Tensor(3.0),
    ],
    ids=lambda x: type(x).__name__,
)
def test_a_number_of_any_kind_is_the_same_for_all_rows(x):
    assert squares(x) == 36.0


@pytest.mark.parametrize(
    "x", [2**70, [2**70], [2**70, 0.5], 2**63, [2**63], np.array([2**63], "u8")], ids=repr
)
def test_an_integer_beyond_64_bits_is_the_nearest_double(x):
    nearest = float(np.ravel(x)[0])
    assert np.ravel(squares(x))[0] == (2.0 * nearest) ** 2


def test_a_null_is_nan():
    np.testing.assert_array_equal(squares(Arrow()), [4.0, np.nan])


def test_an_array_may_have_a_mask_that_masks_nothing():
    np.testing.assert_array_equal(squares(np.ma.array([1.0, 2.0])), [4.0, 16.0])


def test_rows_may_be_named_tuples():
    np.testing.assert_array_equal(pairs([Batch(1.0, 2.0), Batch(3.0, 4.0)], [1.0, 1.0]), [4.0, 10.0])


@pytest.mark.parametrize("strict", [False, True])
def test_no_rows_give_no_results(strict):
    p.grad = 5.0
    several = compile(lambda x, i: [x[0] * p, x[1]])
    assert squares([], strict=strict).shape == (0,)
    assert several(np.empty((0, 2)), np.empty(0, int), strict=strict).shape == (0, 2)
    assert squares.input_gradients(np.empty(0), strict=strict).shape == (0,)
    gradient, none = several.input_gradients(np.empty((0, 2)), np.empty(0, int), strict=strict)
    assert gradient.shape == (2, 0, 2)
    assert none is None
    for call in (lambda: squares.backward([]), lambda: several.backward(np.empty((0, 2)), np.empty(0, int))):
        with pytest.raises(ValueError, match="has no mean"):
            call()
    assert p.grad == 5.0


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_is_read_where_it_is(order):
    x = np.asarray(np.arange(12.0).reshape(6, 2), order=order)
    y = np.arange(12.0)[::2]
    np.testing.assert_array_equal(pairs(x, y), 2 * x[:, 0] + x[:, 1] * y)
    np.testing.assert_array_equal(pairs(x[::-2], y[:3]), 2 * x[::-2, 0] + x[::-2, 1] * y[:3])
    np.testing.assert_array_equal(pairs(x.tolist(), y.tolist()), 2 * x[:, 0] + x[:, 1] * y)


def as_wide(numbers):
    """An array whose items have 8 bytes: numpy's own integers have 4 where pointers have."""
    return np.array(numbers, "d" if isinstance(numbers[0], float) else "q")


def off_by_one(numbers):
    """The same numbers at an address that is not aligned, as an array and as a buffer."""
    array = as_wide(numbers)
    memory = bytearray(array.nbytes + 8)
    view = np.frombuffer(memory, array.dtype, array.size, offset=1)
    view[:] = array
    return view


def in_records(numbers):
    """The same numbers as a field of records of nine bytes."""
    records = np.zeros(len(numbers), np.dtype([("sign", "i1"), ("number", as_wide(numbers).dtype)]))
    records["number"] = numbers
    return records["number"]


@pytest.mark.parametrize("displaced", [off_by_one, in_records, lambda x: memoryview(off_by_one(x))])
def test_numbers_may_lie_at_any_address(displaced):
    np.testing.assert_array_equal(squares(displaced([1.0, 2.0, 3.0])), [4.0, 16.0, 36.0])
    rows = np.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(chosen(rows, displaced([0, 1, 0])), [0.0, 6.0, 8.0])


Batch = collections.namedtuple("Batch", "x y")


class Sparse:
    """A sparse matrix: it has no length."""

    def __len__(self):
        raise TypeError("the length of a sparse matrix is ambiguous")

    def toarray(self):
        return np.zeros(2)


class Arrow:
    """A column of pyarrow, whose lists have None for a null."""

    null_count = 1

    def __len__(self):
        return 2

    def tolist(self):
        return [1.0, None]


BAD = [
    (squares, (np.ma.array([1.0, 2.0], mask=[False, True]),), ValueError, "x has masked"),
    (squares, (np.ma.array([1, 2], "i4", mask=[False, True]),), ValueError, "x has masked"),
    (squares, (np.ma.masked,), ValueError, "x has masked"),
    (squares, (Sparse(),), TypeError, r"x is sparse.*x\.toarray"),
    (squares, (np.empty((0, 2, 2)),), ValueError, "x"),
    (squares, (np.empty((2, 2, 2)),), ValueError, "x"),
    (squares, ([[[1.0]]],), ValueError, "x"),
    (squares, (Tensor([[[1.0]]]),), ValueError, "x"),
    (squares, (functools.reduce(lambda inner, _: [inner], range(10_000), 1.0),), ValueError, "x"),
    (squares, (["a"],), TypeError, "x"),
    (squares, ("ab",), TypeError, "x"),
    (squares, (None,), TypeError, "x"),
    (squares, ([None],), TypeError, "x"),
    (squares, ([1j],), TypeError, "x"),
    (squares, (1j,), TypeError, "x"),
    (squares, (np.array([1j]),), TypeError, "x"),
    (squares, ({1: 2},), TypeError, "x"),
    (squares, (np.array(["2020-01-01"], "datetime64[D]"),), TypeError, "x"),
    (squares, (np.array([1], "datetime64[ns]"),), TypeError, "x"),
    (squares, (np.array([1], "timedelta64[ns]"),), TypeError, "x"),
    (squares, (Column(["a"]),), TypeError, "x"),
    (squares, (b"ab",), TypeError, "x"),
    (squares, (bytearray(b"ab"),), TypeError, "x"),
    (squares, ([["a"]],), TypeError, "x"),
    (chosen, (np.ones((1, 3)), np.array([2**63], "u8")), TypeError, "index"),
    (squares, (np.array(["a"]),), TypeError, "x"),
    (squares, (p,), TypeError, "x"),
    (squares, (ctypes.c_double(1.0),), TypeError, "x"),
    (squares, (np.array(1j),), TypeError, "x"),
    (squares, ([p],), TypeError, "x"),
    (squares, ([10**400],), OverflowError, "x"),
    (squares, ([10**400, 0.5],), OverflowError, "x"),
    (squares, (-(10**400),), OverflowError, "x"),
    (pairs, ([[1.0, 2.0], [3.0]], [1.0, 2.0]), ValueError, "x"),
    (pairs, ([[1.0, 2.0], 3.0], [1.0, 2.0]), ValueError, "x"),
    (pairs, (np.ones((3, 2)), np.ones(2)), ValueError, "y"),
    (pairs, (np.ones((0, 2)), np.ones(2)), ValueError, "y has 2 rows and x has 0"),
    (chosen, (np.ones((2, 3)), np.array([0, 3])), IndexError, r"i\[1\]"),
    (chosen, (np.ones((2, 3)), np.array([-1, 0])), IndexError, r"i\[0\]"),
    (chosen, (np.ones((2, 3)), 3), IndexError, "i"),
]


@pytest.mark.parametrize(("compiled", "arguments", "error", "name"), BAD, ids=range(len(BAD)))
def test_a_bad_argument_is_named_and_touches_no_gradient(compiled, arguments, error, name):
    p.grad = 5.0
    for call in calls(compiled):
        with pytest.raises(error, match=name):
            call(*arguments)
    assert p.grad == 5.0


@pytest.mark.parametrize("call", [0, 1], ids=["forward", "backward"])
def test_indices_that_another_thread_changes_in_the_middle_of_a_call_reach_no_foreign_memory(call):
    table = [Value(float(k)) for k in range(50)]
    compiled = compile(lambda i: take(table, i).tanh().exp().sin())
    indices = np.zeros(200_000, np.int64)
    ended = threading.Event()

    def change():
        while not ended.is_set():
            indices[150_000:] = 2**40
            indices[150_000:] = 0

    changer = threading.Thread(target=change)
    changer.start()
    for _ in range(30):
        with contextlib.suppress(IndexError):
            calls(compiled)[call](indices)
    ended.set()
    changer.join()


@pytest.mark.parametrize("option", ["threads", "block"])
@pytest.mark.parametrize(
    ("number", "error"),
    [("0", TypeError), (None, TypeError), (1.5, TypeError), (-1, ValueError), (10**10, ValueError)],
)
def test_a_bad_option_is_named_with_its_value(option, number, error):
    for call in (
        lambda **options: compile(lambda x: x, **options),
        lambda **options: squares([1.0], **options),
    ):
        with pytest.raises(error, match=rf"{option} must be .*{number}"):
            call(**{option: number})


def test_at_least_one_thread():
    with pytest.raises(ValueError, match="threads must be at least 1"):
        squares([1.0], threads=0)


def test_a_leaf_that_has_been_given_operands_is_refused():
    class Parameter(Value):
        pass

    w = Parameter(1.0)
    compiled = compile(lambda x: w * x)
    compiled([1.0])
    w.__init__(1.0, (Value(1.0),))
    for call in calls(compiled):
        with pytest.raises(ValueError, match="leaf"):
            call([1.0])


def test_strict_names_row_instruction_and_value():
    compiled = compile(lambda x, y: (x * p).log() + 1 / y, strict=True)
    ones = np.ones(5)
    compiled(ones, ones)
    bad = np.array([1.0, 1, 1, -3.0, 1])
    with pytest.raises(ValueError, match=r"row 3, instruction v\d+: log\(-6\.0\)"):
        compiled.backward(bad, ones)
    with pytest.raises(ZeroDivisionError, match="row 2, instruction"):
        compiled(ones, np.array([1.0, 1, 0, 1, 1]))
    assert p.grad == 0.0
    assert np.isnan(compiled(bad, ones, strict=False)[3])


@pytest.mark.parametrize("name", NOT_CHOSEN)
@pytest.mark.parametrize("rows", [1, 7, 300])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_branch_that_a_row_does_not_choose_gives_it_no_gradient(name, rows, threads):
    function, _ = NOT_CHOSEN[name]
    x, w = np.where(np.arange(rows) % 3 == 0, 0.0, 4.0), Value(0.5)
    slopes = []
    for number in x.tolist():
        leaf = Value(number)
        function(leaf).backward()
        slopes.append(leaf.grad)
    np.testing.assert_allclose(compile(function)(x).shape, (rows,))
    np.testing.assert_allclose(compile(function).input_gradients(x, threads=threads), slopes, rtol=1e-12)
    # The same by a parameter, which all rows share.
    compile(lambda x: function(w * x)).backward(x, threads=threads)
    expected = 0.0
    for number in x.tolist():
        leaf = Value(0.5)
        function(leaf * number).backward()
        expected += leaf.grad / rows
    np.testing.assert_allclose(w.grad, expected, rtol=1e-12)


@pytest.mark.parametrize("name", NOT_CHOSEN)
def test_a_branch_that_is_not_chosen_once_a_batch_gives_no_gradient(name):
    function, slope = NOT_CHOSEN[name]
    w = Value(0.0)
    compile(lambda: function(w)).backward()
    assert w.grad == slope
    w.grad = 0.0
    compile(lambda x: function(w) + x).backward([1.0, 2.0])
    assert w.grad == pytest.approx(slope)


def test_a_missing_target_takes_no_part():
    w, x, y = Value(2.0), np.arange(1.0, 401.0), np.arange(1.0, 401.0)
    known = np.arange(400) % 5 != 0
    loss = compile(lambda x, y, known: F.where(known, (w * x - y) ** 2, 0.0))
    loss.backward(x, np.where(known, y, np.nan), known.astype(int))
    assert w.grad == pytest.approx(np.mean(known * 2 * (2 * x - y) * x), rel=1e-12)


def test_the_derivatives_of_several_outputs_past_a_branch():
    f = compile(lambda x: [F.where(x, x.sqrt(), 0.0), x * x, x.sqrt()])
    np.testing.assert_array_equal(f.input_gradients([0.0, 4.0]), [[0.0, 0.25], [0.0, 8.0], [np.inf, 0.25]])


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: (p * x).sqrt(), r"row 2, instruction v\d+: the derivative of sqrt\(0\.0\) is inf"),
        (lambda x: (p * x) ** 0.5, r"the derivative of 0\.0 ?\*\* ?0\.5 by the left operand is inf"),
        (lambda x: (p * 1e200) * (1 / (x + 1)) * (p * x + 1e200), r"row 0, .*: the gradient .* is inf"),
    ],
)
def test_strict_names_the_first_derivative_that_is_not_finite(function, message):
    compiled = compile(function, strict=True)
    x = np.array([1.0, 4.0, 0.0, 1.0])
    compiled(x)
    for call in (compiled.backward, compiled.input_gradients):
        with pytest.raises(FloatingPointError, match=message):
            call(x)
    assert p.grad == 0.0


def test_strict_passes_over_derivatives_that_nobody_wants():
    """Infinite derivatives are ignored by a constant, an operand not chosen, and arguments in backward()."""
    compiled = compile(lambda x: p * x.sqrt() + F.where(x, (p * x).sqrt(), 1.0) + (-p) ** 2, strict=True)
    compiled.backward([0.0, 1.0])
    with pytest.raises(FloatingPointError, match="row 0"):
        compiled.input_gradients([0.0, 1.0])


def test_strict_computes_every_row():
    x = np.ones(100_000)
    x[-1] = 0.0
    with pytest.raises(ZeroDivisionError, match="row 99999, instruction"):
        compile(lambda x: p / x, strict=True)(x)


def test_strict_computes_every_kind_of_instruction():
    def function(x, y, i):
        return F.logsumexp([x[0], y, p]) + F.dot(x, x, p) + F.dot(x, [y, p]) + take([y, p, 1.0], i) * i

    x, y = np.arange(6.0).reshape(3, 2), np.ones(3)
    for i in (np.array([0, 1, 2]), 1):
        np.testing.assert_array_equal(compile(function, strict=True)(x, y, i), compile(function)(x, y, i))


def heavy(x):
    for _ in range(3000):
        x = (x * p).sin()
    return x


@pytest.mark.processes
def test_an_interrupt_stops_within_a_fifth_of_a_second_and_leaves_gradients():
    script = textwrap.dedent("""
        import os, signal, sys, threading, time
        import numpy as np
        sys.path[:0] = sys.argv[1:3]
        from test_calls import heavy, p
        from fastgrad import compile
        # A shell starts what runs in the background with interrupts ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        compiled = compile(heavy)
        compiled.backward(np.ones(8))
        p.grad = 7.0
        for threads in (1, 2):
            sent = []
            def interrupt():
                time.sleep(0.3)
                sent.append(time.perf_counter())
                os.kill(os.getpid(), signal.SIGINT)
            threading.Thread(target=interrupt).start()
            try:
                compiled.backward(np.ones(10_000_000), threads=threads)
            except KeyboardInterrupt:
                print(time.perf_counter() - sent[0], p.grad)
            else:
                print("finished")
    """)
    output = subprocess.run(
        [sys.executable, "-c", script, *PATH], capture_output=True, text=True, check=True
    ).stdout
    for line in output.splitlines():
        seconds, gradient = line.split()
        # Stated for an idle machine: 0.2 s; what is tested is that the run, of minutes, was cut short, also
        # where all of it is a hundred times slower.
        assert float(seconds) < 20.0
        assert gradient == "7.0"
    assert len(output.splitlines()) == 2


def test_an_exception_of_a_signal_handler_comes_through(alarm):
    class AlarmError(Exception):
        pass

    def handler(*_):
        raise AlarmError

    with pytest.raises(AlarmError), alarm(handler, 0.2):
        compile(heavy).backward(np.ones(10_000_000))
    assert p.grad == 0.0


@pytest.mark.parametrize("turn", [1, 2, 3, 4])
def test_an_interrupt_is_seen_within_a_block_of_many_instructions(alarm, turn):
    def long(x):
        for _ in range(10_000):
            x = (x * p).sin()
        return x

    compiled = compile(long)
    compiled.backward([1.0])
    p.grad = 0.0
    turns = []

    class AlarmError(Exception):
        pass

    def run(x):
        compiled.backward(x, block=2000)

    def handler(_, frame):
        # In a destructor, for example, the exception would be lost.
        if frame.f_code is run.__code__:
            turns.append(None)
            if len(turns) == turn:
                raise AlarmError

    # The signal may come at any time: before a block, on its way forward or back.
    with pytest.raises(AlarmError), alarm(handler, 0.001, 0.001):
        run(np.ones(100_000))
    assert p.grad == 0.0


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux tells about memory")
def test_threads_that_cannot_be_started_are_done_without():
    script = textwrap.dedent("""
        import resource, sys
        import numpy as np
        sys.path[:0] = sys.argv[1:3]
        from test_calls import heavy
        from fastgrad import compile
        x = np.linspace(-1, 1, 2000)
        compiled = compile(heavy)
        expected = compiled(x)
        # Room for the call's memory, not for the stack of another thread.
        with open("/proc/self/statm") as status:
            used = int(status.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (6 << 20), resource.RLIM_INFINITY))
        np.testing.assert_array_equal(compiled(x, threads=3), expected)
    """)
    subprocess.run([sys.executable, "-c", script, *PATH], check=True)


@pytest.mark.thread_unsafe
@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux tells about threads")
def test_threads_are_kept_for_the_next_call():
    compiled = compile(heavy, threads=3)
    x = np.linspace(-1, 1, 2000)
    compiled(x)
    before = len(list(Path("/proc/self/task").iterdir()))
    for _ in range(20):
        compiled(x)
    assert len(list(Path("/proc/self/task").iterdir())) == before


def test_concurrent_calls_on_threads_of_their_own_give_the_same_bits():
    compiled = compile(heavy, threads=2)
    x = np.linspace(-1, 1, 2000)
    expected = compiled(x)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(compiled, x) for _ in range(40)]:
            np.testing.assert_array_equal(future.result(), expected)


@pytest.mark.thread_unsafe
def test_concurrent_calls_lose_no_gradient():
    x = np.linspace(-1, 1, 500)
    squares.backward(x)
    expected = p.grad
    p.grad = 0.0
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(squares.backward, x, threads=1 + k % 3) for k in range(200)]:
            future.result()
    assert p.grad == pytest.approx(200 * expected, rel=1e-12)


def test_concurrent_traces_do_not_disturb_each_other_nor_eager_code():
    def work(k):
        w = Value(float(k))
        compiled = compile(lambda x: sum(w * x for _ in range(50)))
        total = (w * 2 + 1).data
        assert bool(w)
        return compiled([1.0])[0] + total

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = list(pool.map(work, range(100)))
    assert results == [50.0 * k + 2 * k + 1 for k in range(100)]


def test_the_lock_is_released_while_a_program_runs():
    compiled = compile(heavy)
    compiled.backward(np.ones(8))
    ticks = []
    done = threading.Event()

    def tick():
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    ticker = threading.Thread(target=tick)
    ticker.start()
    compiled.backward(np.ones(2000))
    done.set()
    ticker.join()
    assert len(ticks) > 3


@pytest.mark.thread_unsafe
def test_a_program_survives_pickling_with_its_parameters():
    pairs(np.ones((2, 2)), np.ones(2))
    pairs(np.ones((2, 2)), 1.0)
    other = pickle.loads(pickle.dumps(pairs))
    x, y = np.arange(6.0).reshape(3, 2), np.arange(3.0)
    np.testing.assert_array_equal(other(x, y), pairs(x, y))
    assert other.backward(x, y) == pairs.backward(x, y)
    assert other.parameters[0] is not p
    assert other.parameters[0].grad == p.grad
    assert list(map(str, other.programs.values())) == list(map(str, pairs.programs.values()))


def test_parameters_pickled_together_stay_the_same():
    squares([1.0])
    other, leaf = pickle.loads(pickle.dumps((squares, p)))
    assert other.parameters[0] is leaf


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_with_programs_knows_only_their_calls(copied):
    w = Value(3.0)
    compiled = compile(lambda x: w * x)
    compiled([1.0])
    for original in (compiled, squares):
        expected = original([1.0, 2.0])
        other = copied(original)
        np.testing.assert_array_equal(other([1.0, 2.0]), expected)
        # A new trace would use the parameters of this process, not those of the copy.
        with pytest.raises(TracingError, match="knows only the calls it was traced for"):
            other(np.ones((2, 2)))
        np.testing.assert_array_equal(copied(other)([1.0, 2.0]), expected)


@compile
def untraced(x):
    """Twice x."""
    return 2 * x


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_without_programs_has_its_function(copied):
    other = copied(untraced)
    np.testing.assert_array_equal(other([1.0]), [2.0])
    np.testing.assert_array_equal(other(1.0), 2.0)
    assert other is not untraced


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_without_parameters_has_its_function(copied):
    traced = copied(untraced)
    traced([1.0])
    assert copied(traced)(3) == 6.0


def test_a_deep_copy_without_programs_shares_a_function_that_has_no_name():
    w = Value(3.0)
    other = copy.deepcopy(compile(lambda x: w * x))
    assert other(2.0) == 6.0
    assert other.parameters == [w]


class Scale:
    def __init__(self):
        self.w = Value(3.0)

    def __call__(self, x):
        return self.w * x


@pytest.mark.parametrize("traced", [True, False])
def test_a_deep_copy_of_a_compiled_object_has_the_copied_parameters(traced):
    scale = Scale()
    compiled = compile(scale)
    if traced:
        compiled(1.0)
    other, copied = copy.deepcopy((compiled, scale))
    assert other(2.0) == 6.0
    assert other.parameters == [copied.w]


def test_a_function_that_is_gone_and_has_no_programs_says_so(monkeypatch):
    pickled = [pickle.dumps(untraced), pickle.dumps(compile(lambda x: x))]
    monkeypatch.delattr(sys.modules[__name__], "untraced")
    for each in pickled:
        for call in calls(copy.deepcopy(pickle.loads(each))):
            with pytest.raises(TracingError, match="knows only the calls it was traced for"):
                call()


def test_a_shallow_copy_shares_the_function_and_not_the_programs():
    w = Value(3.0)
    compiled = compile(lambda x: w * x, threads=2)
    compiled([1.0])
    other = copy.copy(compiled)
    assert other.programs == compiled.programs
    assert other(2.0) == 6.0
    assert len(compiled.programs) == 1
    assert str(copy.copy(compiled)) == str(compiled)
    compiled.forget()
    np.testing.assert_array_equal(other([1.0]), [3.0])
    assert (other.threads, other.parameters) == (2, [w])


def test_a_shallow_copy_notices_names_bound_since_the_trace():
    w = Value(3.0)
    compiled = compile(lambda x: w * x)
    compiled(1.0)
    other = copy.copy(compiled)
    w = Value(4.0)
    assert other(1.0) == 4.0


def scaled(x, k=2.0, *, shift: "float" = 1.0, mode=None) -> Value:
    """x scaled and shifted."""
    return x * k + shift if mode is None else x


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_is_called_like_the_original(copied):
    compiled = compile(scaled)
    compiled([1.0])
    other = copied(compiled)
    for arguments, names in (([1.0],), {}), (([1.0], 3.0), {}), (([1.0],), {"k": 3.0, "shift": 0.5}):
        np.testing.assert_array_equal(other(*arguments, **names), compiled(*arguments, **names))
    with pytest.raises(TypeError, match="positional"):
        other([1.0], 2.0, 1.0)
    assert (other.__name__, other.__doc__) == ("scaled", "x scaled and shifted.")
    assert (other.__module__, other.__qualname__) == (__name__, "scaled")


def test_a_default_that_no_program_computes_with_is_not_pickled():
    lock = threading.Lock()
    compiled = compile(lambda x, k=lock: x * k)
    compiled([1.0], 2.0)
    other = pickle.loads(pickle.dumps(compiled))
    np.testing.assert_array_equal(other([1.0], 3.0), [3.0])
    with pytest.raises(TypeError, match="k must be given"):
        other([1.0])


def gradients_of(compiled, x):
    for leaf in compiled.parameters:
        leaf.grad = 0.0
    return compiled.backward(x), [leaf.grad for leaf in compiled.parameters]


@pytest.mark.thread_unsafe
@pytest.mark.processes
def test_a_program_runs_in_other_processes():
    x = np.linspace(-1, 1, 40)
    value = squares.backward(x)
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        parts = list(pool.map(gradients_of, [squares] * 2, [x[:20], x[20:]]))
    assert sum(part for part, _ in parts) / 2 == pytest.approx(value, rel=1e-12)
    assert sum(gradient[0] for _, gradient in parts) / 2 == pytest.approx(p.grad, rel=1e-12)


@pytest.mark.processes
def test_without_numpy_results_are_views_of_doubles():
    script = textwrap.dedent("""
        import sys
        from array import array
        class WithoutNumpy:
            def find_spec(self, name, path=None, target=None):
                if name == "numpy":
                    raise ModuleNotFoundError(name=name)
        sys.meta_path.insert(0, WithoutNumpy())
        from fastgrad import Value, compile
        p = Value(2.0)
        f = compile(lambda x: [p * x[0], x[1]])
        out = f([[1, 2], [3, 4.5]])
        assert out.tolist() == [[2.0, 2.0], [6.0, 4.5]], out.tolist()
        assert f.backward([[1, 2], [3, 4.5]]) == [4.0, 3.25] and p.grad == 2.0
        g = compile(lambda x: p * x)
        assert g(array("d", [1, 2])).tolist() == [2.0, 4.0]
        assert g.input_gradients(array("d", [1, 2])).tolist() == [2.0, 2.0]
        assert g.backward([1.5]) == 3.0
        assert g([]).tolist() == compile(lambda x: [x, p])([]).tolist() == []
    """)
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.processes
@pytest.mark.parametrize("name", ["baseline", "avx2", "avx512"])
def test_every_instruction_set_gives_the_same_to_1e_12(name):
    from fastgrad.compiler.replay import available_kernels

    if name not in available_kernels():
        pytest.skip(f"this processor has no {name}")
    script = textwrap.dedent("""
        import sys
        sys.path[:0] = sys.argv[1:3]
        from test_program import assert_agrees, thousand_rows
        assert_agrees(*[thousand_rows()[k] for k in range(4)])
        from test_calls import squares
        squares([1.0])
        assert f"kernels: {sys.argv[3]}" in str(squares)
    """)
    environment = {**os.environ, "FASTGRAD_KERNELS": name}
    subprocess.run([sys.executable, "-c", script, *PATH, name], check=True, env=environment)


@pytest.mark.processes
def test_an_unknown_instruction_set_is_refused():
    script = "from fastgrad import compile; compile(lambda x: x)([1.0])"
    environment = {**os.environ, "FASTGRAD_KERNELS": "abacus"}
    result = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert result.returncode != 0
    assert "abacus" in result.stderr
    assert "baseline" in result.stderr


TENSORS = {
    "an argument": lambda f, v, tensor, one: f(tensor),
    "a number": lambda f, v, tensor, one: f(one),
    "a list of tensors": lambda f, v, tensor, one: f([one, one]),
    "a list": lambda f, v, tensor, one: f([1.0, one]),
    "rows": lambda f, v, tensor, one: f([tensor, tensor]),
    "backward": lambda f, v, tensor, one: f.backward(tensor),
    "Value": lambda f, v, tensor, one: Value(one),
    "data": lambda f, v, tensor, one: setattr(v, "data", one),
    "*": lambda f, v, tensor, one: v * one,
    "reflected *": lambda f, v, tensor, one: one * v,
    "dot": lambda f, v, tensor, one: F.dot([v], [one]),
    "maximum": lambda f, v, tensor, one: F.maximum(v, one),
}


@pytest.mark.parametrize("use", TENSORS.values(), ids=TENSORS)
def test_a_tensor_that_requires_a_gradient_is_not_cut_from_its_graph(torch, use):
    v = Value(2.0)
    compiled = compile(lambda x: v * (x[0] if isinstance(x, list) else x))
    with pytest.raises(TypeError, match="requires a gradient"):
        use(compiled, v, torch.ones(3, requires_grad=True) * 1, torch.tensor(1.0, requires_grad=True))
    use(compiled, v, torch.ones(3), torch.tensor(1.0))
