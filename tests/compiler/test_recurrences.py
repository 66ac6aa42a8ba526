"""Loops over steps: in a call of one row only recurrences run step by step, with the same results."""

import re

import numpy as np
import pytest

import fastgrad.functional as F
from evidence.compiled import assert_close
from fastgrad import Value, compile, scan, take
from fastgrad.compiler import plan

A, B, C = PARAMETERS = [Value(0.3), Value(-0.7), Value(1.1)]
RNG = np.random.default_rng(0)
# The ends of chunks, which have 256 steps, and the fewest steps that are divided by themselves.
STEPS = (1, 2, 31, 32, 255, 256, 257, 700)


@pytest.fixture(autouse=True)
def divided():
    """Divide every loop, however few its steps are."""
    before = plan._divide_from(1)
    yield
    plan._divide_from(before)


# Each takes a row of numbers: three that all steps use, then those of the steps.


def running_sum(row):
    return scan(lambda total, x: (total + A * x, None), B, row[3:])[0]


def discounted(row):
    return scan(lambda s, x: (0.9 * s + B * x * x, None), row[0], row[3:])[0]


def growing_by_what_varies(row):
    return scan(lambda s, x: (s * x.tanh() - A * x, None), C, row[3:])[0]


def divided_by_what_varies(row):
    return scan(lambda s, x: ((s + x) / (2.0 + x * x) + A, None), C, row[3:])[0]


def mean_that_follows(row):
    return scan(lambda mean, x: (mean + 0.1 * A * (x - mean), None), row[0], row[3:])[0]


def sums_of_many(row):
    return scan(lambda s, x: (0.3 * F.mean([s, x, A, x * B, s]), None), C, row[3:])[0]


def garch(row):
    def step(state, x):
        variance, total = state
        return (0.1 + A * A * x * x + 0.5 * variance, total + variance.log() + x * x / variance), None

    return scan(step, (Value(1.0), 0.0), row[3:])[0][1]


def kalman(row):
    def step(state, x):
        mean, variance, total = state
        mean, variance = 0.9 * mean, 0.8 * variance + A * A
        error, spread = x - mean, variance + C
        gain = variance / spread
        return (
            mean + gain * error,
            (1.0 - gain) * variance,
            total + spread.log() + error * error / spread,
        ), None

    return scan(step, (0.0, Value(1.0), 0.0), row[3:])[0][2]


def of_itself_alone(row):
    return scan(lambda s, x: ((A * s + x).tanh(), None), row[0], row[3:])[0]


def used_on_the_way(row):
    def step(state, x):
        s, total = state
        inner = (B * s + x).tanh()
        return (inner * C, total + inner * s * x), None

    return sum(scan(step, (row[0], row[1]), row[3:])[0])


def chooses(row):
    def step(s, x):
        return F.where(x - s, A * s + x, s * s * B), s * x

    last, made = scan(step, row[0], row[3:])
    return last + sum(made[:2]) + made[-1]


def several_of_all_kinds(row):
    def step(state, x):
        p, q, r, s, t, u, total = state
        p, q = (p * A + q * x).tanh(), (p - q * B).sigmoid()
        r = (r * C + p).sin()
        s, t = s * t * 0.5 + r, s.cos() * q
        return (p, q, r, s, t, u * 0.9 + s, total + t * x * u), p * t

    last, made = scan(step, (row[0], row[1], row[2], A, B, 0.0, C), row[3:])
    return sum(last) + made[0] + made[-1]


def five_that_turn(row):
    def step(state, x):
        return ((state[-1] * A + x).tanh(), *[each.sin() * B for each in state[:-1]]), None

    return sum(scan(step, tuple(row[:3]) + (A, B), row[3:])[0])


def chooses_always_the_same(row):
    return scan(lambda s, x: (s * s * 0.1 + F.where(-1.0, x, s * B), None), row[0], row[3:])[0]


def two_that_turn(row):
    def step(state, x):
        p, q = state
        return (0.9 * p - 0.3 * q * C + x, 0.3 * p + 0.9 * q), None

    return sum(scan(step, (row[0], row[1]), row[3:])[0])


def two_that_turn_and_more(row):
    def step(state, x):
        p, q, total, before = state
        return (q.sin() + A * x, p * 0.5 - before * B, total + p * q * before, x * C), p * q

    last, made = scan(step, (row[0], row[1], 0.0, row[2]), row[3:])
    return sum(last) + made[-1]


def exchanged(row):
    return scan(lambda s, x: ((s[1], s[0] + 0.0 * x), None), (row[0], A * row[1]), row[3:])[0][0]


def what_was_before(row):
    def step(state, x):
        before, twice_before, total = state
        return (x, before, total + A * x * before - twice_before * B), None

    return scan(step, (row[0], C, 0.0), row[3:])[0][2]


def last_one(row):
    last, _ = scan(lambda state, x: ((A * x, C), None), (0.0, row[0]), row[3:])
    return last[0] * last[1]


def stays(row):
    return scan(lambda s, x: ((s[0], s[1] + s[0] * x), None), (row[0] * A, 0.0), row[3:])[0][1]


def makes(row):
    last, made = scan(lambda s, x: (0.5 * s + x, A * s * x), row[0], row[3:], reverse=True)
    again, more = scan(lambda s, x: (s * 0.7 + x, s), 0.0, made)
    return last * again + more[0] + more[-1] + made[-1]


def lists(row):
    xs = [A, row[0] * B, C, 0.5, row[1]] * 60
    return scan(lambda s, x: (0.9 * s + x * row[2], None), 0.0, xs)[0]


def neurons(row):
    def step(state, x):
        a, b = state
        return ((A * a + B * b + C * x).tanh(), (B * a + x).relu()), None

    return scan(step, (row[0], row[1]), row[3:])[0][0]


def within_another(row):
    def outer(total, _):
        inner = scan(lambda s, x: (0.5 * s + A * x, None), total, row[3:])[0]
        return (inner * B).tanh(), None

    return scan(outer, row[0], None, 3)[0]


PROGRAMS = [
    running_sum,
    discounted,
    growing_by_what_varies,
    divided_by_what_varies,
    mean_that_follows,
    sums_of_many,
    garch,
    kalman,
    of_itself_alone,
    used_on_the_way,
    chooses,
    several_of_all_kinds,
    five_that_turn,
    chooses_always_the_same,
    two_that_turn,
    two_that_turn_and_more,
    exchanged,
    what_was_before,
    last_one,
    stays,
    makes,
    lists,
    neurons,
    within_another,
]
each_program = pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)


def numbers_of(program, rows, **options):
    """The outputs, their mean with the gradients of the parameters, and the gradients of the inputs."""
    compiled = compile(program, **options)
    for parameter in PARAMETERS:
        parameter.grad = 0.0
    mean = compiled.backward(rows)
    return [
        compiled(rows),
        np.array([mean, *(parameter.grad for parameter in PARAMETERS)]),
        compiled.input_gradients(rows),
    ]


def assert_same(found, expected):
    assert_close(tuple(found), tuple(expected), tolerance=1e-11)


@pytest.mark.parametrize("steps", STEPS)
@each_program
def test_steps_as_lanes_give_what_steps_one_by_one_give(program, steps):
    rows = RNG.normal(size=(2, 3 + steps))
    found = numbers_of(program, rows, block=1)
    plan._divide_from(10**9)
    assert_same(found, numbers_of(program, rows, block=1))


@each_program
def test_few_steps_as_lanes_give_what_the_plain_loop_gives(program):
    rows = RNG.normal(size=(1, 3 + 20))
    outputs, by_parameter, by_input = numbers_of(program, rows)
    for parameter in PARAMETERS:
        parameter.grad = 0.0
    row = [Value(float(x)) for x in rows[0]]
    output = program(row)
    output.backward()
    assert_same([outputs, by_input], [[output.data], [[x.grad for x in row]]])
    assert_same([by_parameter], [[output.data, *(parameter.grad for parameter in PARAMETERS)]])


@pytest.mark.parametrize("steps", [5, 600])
def test_the_gradients_of_several_outputs(steps):
    def several(row):
        first = kalman(row)
        return [first, garch(row) * first, two_that_turn(row)]

    rows = RNG.normal(size=(1, 3 + steps))
    found = compile(several).input_gradients(rows), compile(several).jacobian(rows)
    plan._divide_from(10**9)
    assert_same(found, [compile(several).input_gradients(rows), compile(several).jacobian(rows)])


@pytest.mark.parametrize("steps", [5, 600])
def test_an_index_in_every_step(steps):
    def chosen(x, indices):
        table = [A, B, C, x]
        return scan(lambda s, i: (s * 0.5 + take(table, i) * s.tanh(), take(table, i)), x, indices)[0]

    def all_numbers(x, indices):
        compiled = compile(chosen)
        for parameter in PARAMETERS:
            parameter.grad = 0.0
        return compiled.backward(x, indices), *(parameter.grad for parameter in PARAMETERS)

    x, indices = np.array([0.4]), RNG.integers(0, 4, size=(1, steps))
    found = all_numbers(x, indices)
    plan._divide_from(10**9)
    assert_same([found], [all_numbers(x, indices)])


def stepwise(program):
    """How many instructions run step by step, as the listing says."""
    compiled = compile(program)
    compiled.backward(RNG.normal(size=(1, 40)))
    return int(re.search(r"of one row, (\d+) of \d+ instructions run step by step", str(compiled))[1])


@pytest.mark.parametrize(
    "program",
    [
        running_sum,
        discounted,
        growing_by_what_varies,
        divided_by_what_varies,
        mean_that_follows,
        garch,
        stays,
    ],
    ids=lambda program: program.__name__,
)
def test_of_linear_recurrences_nothing_runs_step_by_step(program):
    assert stepwise(program) == 0


@pytest.mark.parametrize("program", [kalman, of_itself_alone, two_that_turn], ids=lambda p: p.__name__)
def test_other_recurrences_run_step_by_step(program):
    assert 0 < stepwise(program) < 10


def test_a_loop_of_few_steps_is_left_as_it_is():
    plan._divide_from(32)
    compiled = compile(garch)
    compiled.backward(RNG.normal(size=(1, 3 + 31)))
    assert "step by step" not in str(compiled)


@pytest.mark.parametrize("program", [garch, kalman, makes], ids=lambda program: program.__name__)
def test_a_few_rows_are_computed_one_by_one(program):
    rows = RNG.normal(size=(5, 3 + 300))
    found = numbers_of(program, rows)
    assert_same(found, numbers_of(program, rows, block=1))
    assert_same(found, numbers_of(program, rows, block=8))


def test_a_history_that_is_too_long_is_not_kept():
    def settled(x):
        return scan(lambda s, _: ((A * s + x).tanh(), None), x, None, 5_000_000)[0]

    compiled = compile(settled)
    A.grad = 0.0
    (found,) = compiled(np.array([0.4]))
    assert compiled.backward(np.array([0.4])) == found == pytest.approx(np.tanh(A.data * found + 0.4))
    # Of s = tanh(a * s + x), by the implicit function.
    slope = 1.0 - found**2
    assert A.grad == pytest.approx(slope * found / (1.0 - A.data * slope), rel=1e-12)
