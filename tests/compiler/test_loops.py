"""Compiled scan and while_loop give what the plain loop gives, in a program that does not grow."""

import pickle
import signal
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastgrad.functional as F
from evidence.compiled import assert_close
from evidence.loop_programs import PROGRAMS, W, accumulate
from fastgrad import TracingError, Value, compile, grad, scan, take, while_loop
from fastgrad.derivatives import jvp

# All programs have the same parameters.
pytestmark = pytest.mark.thread_unsafe

RNG = np.random.default_rng(0)


def eager(function, *arrays):
    """Return outputs, the mean's gradients by W, and the gradients by the arrays, row by row."""
    rows = len(arrays[0])
    outputs, gradients = [], [np.zeros(a.shape) for a in arrays]
    total = np.zeros(len(W))
    for row in range(rows):
        leaves = [[Value(float(v)) for v in np.atleast_1d(a[row])] for a in arrays]
        for w in W:
            w.grad = 0.0
        output = function(*[each if a.ndim == 2 else each[0] for each, a in zip(leaves, arrays, strict=True)])
        output.backward()
        outputs.append(output.data)
        total += [w.grad for w in W]
        for each, gradient in zip(leaves, gradients, strict=True):
            gradient[row] = [v.grad for v in each] if gradient.ndim == 2 else each[0].grad
    return outputs, total / rows, gradients


def assert_agrees(function, *arrays, **options):
    """All calls of the compiled function against the plain loop."""
    outputs, by_parameter, by_input = eager(function, *arrays)
    compiled = compile(function)
    assert_close(compiled(*arrays, **options), outputs)
    for w in W:
        w.grad = 0.0
    assert_close(compiled.backward(*arrays, **options), np.mean(outputs))
    assert_close([w.grad for w in W], by_parameter)
    found = compiled.input_gradients(*arrays, **options)
    for gradient, expected in zip(found if len(arrays) > 1 else [found], by_input, strict=True):
        assert_close(gradient, expected)
    return compiled


@pytest.mark.parametrize("rows", [1, 3, 300])
@pytest.mark.parametrize("function", PROGRAMS, ids=lambda f: f.__name__)
def test_a_compiled_loop_is_the_plain_loop(function, rows):
    assert_agrees(function, RNG.normal(size=rows), RNG.normal(size=(rows, 4)))


@pytest.mark.parametrize("function", PROGRAMS, ids=lambda f: f.__name__)
def test_with_numbers_for_arguments(function):
    compiled = compile(function)
    x, u = 0.4, np.array([[0.5, -0.2, 1.5, 0.3]])
    outputs, _, (by_x, by_u) = eager(function, np.array([x]), u)
    assert_close(compiled(x, u), outputs)
    found = compiled.input_gradients(x, u)
    assert_close(found[0], by_x)
    assert_close(found[1], by_u)


@pytest.mark.parametrize("function", PROGRAMS, ids=lambda f: f.__name__)
def test_strict_calls_raise_nothing_where_all_is_well(function):
    assert_agrees(function, RNG.normal(size=2), RNG.normal(size=(2, 4)) + 0.1, strict=True)


@pytest.mark.parametrize("function", PROGRAMS, ids=lambda f: f.__name__)
def test_threads_and_blocks_change_no_bit(function):
    x, u = RNG.normal(size=4000), RNG.normal(size=(4000, 4))
    compiled = compile(function)
    found = []
    for options in ({}, {"threads": 3}):
        for w in W:
            w.grad = 0.0
        mean = compiled.backward(x, u, **options)
        found.append([mean, *[w.grad for w in W], *compiled(x, u, **options)])
    assert found[0] == found[1]
    assert_close(compiled(x, u, block=1), compiled(x, u))


@pytest.mark.parametrize("function", PROGRAMS, ids=lambda f: f.__name__)
def test_a_pickled_loop_runs_without_its_function(function):
    x, u = RNG.normal(size=9), RNG.normal(size=(9, 4))
    compiled = compile(function)
    expected, gradients = compiled(x, u), compiled.input_gradients(x, u)
    loaded = pickle.loads(pickle.dumps(compiled))
    assert (loaded(x, u) == expected).all()
    assert all((a == b).all() for a, b in zip(loaded.input_gradients(x, u), gradients, strict=True))
    assert str(loaded.latest) == str(compiled.latest)


@pytest.mark.parametrize("steps", [1, 2, 7, 100, 1000])
@pytest.mark.parametrize("rows", [1, 40])
def test_any_number_of_steps_gives_the_unrolled_gradients(steps, rows):
    x, u = RNG.normal(size=rows), RNG.normal(size=(rows, steps))

    def of(x, u):
        return scan(lambda s, each: ((s * W[0] + each * x).tanh() + s * 0.9, None), x, u)[0]

    assert_agrees(of, x, u)


def test_outputs_of_several_numbers_have_a_jacobian():
    x, u = RNG.normal(size=5), RNG.normal(size=(5, 30))

    def of(x, u):
        state, ys = scan(lambda s, each: ([s[1] * each, (s[0] + x).tanh()], s[0]), [x, W[0]], u)
        return [state[0], state[1], ys[4]]

    jacobian = compile(of).input_gradients(x, u)
    for number in range(3):
        single = compile(lambda x, u, *, number=number: of(x, u)[number]).input_gradients(x, u)
        assert_close(jacobian[0][number], single[0])
        assert_close(jacobian[1][number], single[1])


def test_an_index_may_be_an_input():
    table = [Value(float(k)) for k in range(5)]

    def of(tokens):
        return scan(lambda s, token: (s * 0.5 + take(table, token), None), 0.0, tokens)[0]

    tokens = RNG.integers(0, 5, size=(7, 6))
    compiled = compile(of)
    expected = [of([int(t) for t in row]) for row in tokens]
    assert_close(compiled(tokens), [value.data for value in expected])
    compiled.backward(tokens)
    found = [w.grad for w in table]
    for w in table:
        w.grad = 0.0
    F.mean(expected).backward()
    assert_close(found, [w.grad for w in table])
    with pytest.raises(IndexError, match=r"tokens\[0, 3\] is 9"):
        compiled(np.array([[0, 1, 2, 9, 0, 0]]))


def test_a_program_does_not_grow_with_the_steps():
    def size(steps):
        compiled = compile(lambda x: scan(lambda s, _: ((s * W[0]).tanh() + x, None), x, None, steps)[0])
        compiled.backward(np.ones(3))
        return int(str(compiled).split(" bytes")[0].split()[-1])

    assert size(100) == size(100_000)


@pytest.mark.parametrize("bias", [None, W[1]])
def test_the_derivative_of_a_step_with_a_dot_product(bias):
    def of(x, u):
        def step(s, each):
            return F.dot([s, W[0]], [each, s], bias), None

        return grad(scan(step, x, u)[0], [x])[0]

    assert_agrees(of, RNG.normal(size=3), RNG.normal(size=(3, 4)))


def test_a_step_may_give_local_derivatives_to_a_result_from_outside():
    def of(x, u):
        def step(s, each):
            given = Value(W[0], (s, each), (0.25, s))
            return s + each * given + Value(s * each, (W[1],), (each,)), None

        return scan(step, x, u)[0]

    assert_agrees(of, RNG.normal(size=3), RNG.normal(size=(3, 5)))


@pytest.mark.skipif(sys.platform == "win32", reason="the peak is measured by POSIX")
def test_the_gradient_of_many_steps_needs_little_memory(run_script):
    assert int(run_script("long_loop.py")) < 20_000_000


def test_what_the_steps_make_may_be_returned():
    x = RNG.normal(size=(3, 4))
    compiled = compile(lambda row: scan(lambda total, each: (total + each, total + each), 0.0, row)[1])
    np.testing.assert_allclose(compiled(x), np.cumsum(x, axis=1), rtol=1e-12)


def test_a_dict_is_its_keys_in_any_order():
    def step(state, _):
        return {"b": state["a"], "a": state["a"] + state["b"]}, None

    compiled = compile(lambda x: scan(step, {"a": x, "b": 0.0}, None, 5)[0]["a"])
    assert compiled(1.0) == scan(step, {"a": 1.0, "b": 0.0}, None, 5)[0]["a"].data == 8.0


@pytest.mark.parametrize("loop", [lambda x: while_loop(lambda s: s < 9.0, lambda s: s * 2.0, x, 9)])
def test_a_condition_that_compares_is_told_how_to_be_written(loop):
    for call in (lambda: loop(Value(1.0)), lambda: compile(loop)(1.0)):
        with pytest.raises(TypeError, match="'<' not supported") as failed:
            call()
        assert "9 - x for x < 9" in failed.value.__notes__[0]


def test_the_listing_shows_the_step():
    compiled = compile(accumulate)
    compiled(np.ones(2), np.ones((2, 4)))
    text = str(compiled)
    assert "= loop 0 from x" in text
    assert "loop 0: 4 steps of step, a state of 2 numbers" in text
    assert "next state[0] = " in text


def test_an_error_of_a_strict_call_names_step_and_instruction():
    def step(s, _):
        return (s - 1.0).sqrt(), None

    compiled = compile(lambda x: scan(step, x, None, 5)[0])
    with pytest.raises(ValueError, match=r"^row 1, step 2 of step, instruction v\d+: sqrt\(-1.0\)"):
        compiled(np.array([1e9, 2.0]), strict=True)


def test_a_strict_gradient_names_the_step():
    compiled = compile(lambda x: scan(lambda s, _: ((s - 1.0).sqrt(), None), x, None, 3)[0])
    with pytest.raises(FloatingPointError, match=r"row 0, step 2 of <lambda>, .* derivative of sqrt\(0.0\)"):
        compiled.input_gradients(np.array([5.0]), strict=True)


def test_what_where_did_not_choose_in_a_step_has_no_gradient():
    def of(x, u):
        return scan(lambda s, each: (F.where(each, s * each, s + each.log()), None), x, u)[0]

    x, u = np.array([1.0, 2.0]), np.array([[1.0, 0.5, 2.0], [3.0, 1.0, 0.25]])
    _, _, expected = eager(of, x, u)
    found = compile(of).input_gradients(x, u)
    assert_close(found[0], expected[0])
    assert_close(found[1], expected[1])


@pytest.mark.parametrize("function", PROGRAMS, ids=lambda f: f.__name__)
def test_grad_of_a_loop_is_that_of_the_plain_loop(function):
    def first(x, u):
        found = grad(function(x, u), [x, *u, W[0], W[1]])
        return sum([d * (k + 1.0) for k, d in enumerate(found)], Value(0.0))

    assert_agrees(first, RNG.normal(size=3), RNG.normal(size=(3, 4)))


@pytest.mark.parametrize("function", PROGRAMS, ids=lambda f: f.__name__)
def test_grad_of_a_loop_has_a_grad(function):
    def second(x, u):
        first = grad(function(x, u), [x, *u, W[0]])
        found = grad(sum([d * d for d in first], Value(0.0)), [x, u[1], W[0]])
        return sum([d * (k + 1.0) for k, d in enumerate(found)], Value(0.0))

    assert_agrees(second, RNG.normal(size=3), RNG.normal(size=(3, 4)))


def test_the_derivative_of_a_loop_is_a_loop():
    compiled = compile(lambda x: grad(scan(lambda s, _: ((s * W[0]).tanh(), None), x, None, 1000)[0], x))
    compiled(1.0)
    assert "loop 1: 1000 steps of the derivative of <lambda>" in str(compiled)


# Shapes.


def grows(state, x=None):
    return (state, state), None


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: scan(grows, Value(1.0), [1.0]),
            TypeError,
            r"grows was given the state a Value, and returns \(",
        ),
        (lambda: scan(lambda s, x: s, Value(1.0), [1.0]), TypeError, "<lambda> must return two things"),
        (lambda: scan(lambda s, x: (s, None), 1.0), ValueError, "<lambda> needs xs, or a length"),
        (lambda: scan(lambda s, x: (s, None), 1.0, [1.0], 2), ValueError, "differ in length: 1, 2"),
        (
            lambda: scan(lambda s, x: (s, None), 1.0, ([1.0], [1.0, 2.0])),
            ValueError,
            "differ in length: 1, 2",
        ),
        (lambda: scan(lambda s, x: (s, None), 1.0, (1.0, 2.0)), TypeError, "the xs of <lambda> are a tuple"),
        (
            lambda: scan(lambda s, x: (s, None), 1.0, [1.0, [2.0]]),
            TypeError,
            r"a Value in step 0 and \[a Value\]",
        ),
        (
            lambda: scan(lambda s, x: (s, None), "a", [1.0]),
            TypeError,
            "the state of <lambda> is made of Values",
        ),
        (lambda: scan(3, 1.0, [1.0]), TypeError, "scan repeats a function, not int"),
        (
            lambda: scan(lambda s, x: (s, None), 1.0, length=2.5),
            TypeError,
            "the length of <lambda>'s loop must be an integer, not 2.5",
        ),
        (
            lambda: while_loop(lambda s: s, lambda s: s, 1.0, 2.5),
            TypeError,
            "the limit of <lambda> must be an integer, not 2.5",
        ),
        (
            lambda: while_loop(lambda s: None, lambda s: s, 1.0, 2),
            TypeError,
            "the condition <lambda> is made of Values and numbers, not of NoneType",
        ),
        (
            lambda: while_loop(lambda s: s, grows, Value(1.0), 3),
            TypeError,
            "grows was given the state a Value",
        ),
        (
            lambda: while_loop(lambda s: s, grows, Value(1.0), 0),
            ValueError,
            "the limit of grows must be at least",
        ),
        (lambda: while_loop(3, grows, Value(1.0), 3), TypeError, "while_loop takes two functions"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(call, error, message):
    with pytest.raises(error, match=message):
        call()

    def traced(x):
        call()
        return x

    with pytest.raises(error, match=message):
        compile(traced)(1.0)


def test_no_steps_leave_the_state():
    assert scan(lambda s, x: (s + x, s), 2.0, [])[0].data == 2.0
    assert compile(lambda x: scan(lambda s, each: (s + each, s), x, [])[0])(3.0) == 3.0


def test_a_number_of_the_state_cannot_leave_the_step():
    kept = []

    def step(s, x):
        kept.append(s * 2.0)
        return s + x, None

    with pytest.raises(TracingError, match="the state of step in a loop cannot be used here"):
        compile(lambda x: scan(step, x, [1.0, 2.0])[0] + kept[0])(1.0)


def test_what_steps_make_is_a_sequence():
    seen = []

    def of(x):
        _, ys = scan(lambda s, each: (s + each, s), x, [1.0, 2.0, 3.0])
        seen.append((len(ys), len(ys[1:]), len(list(ys))))
        assert ys[0] is ys[0] is ys[::-1][-1]
        return sum(ys, Value(0.0)) + ys[-1]

    assert compile(of)(1.0) == 1.0 + 2.0 + 4.0 + 4.0
    assert seen == [(3, 2, 3)]


# Calls that take long.


def long_loop(steps):
    return compile(lambda x: scan(lambda s, _: ((s * W[0]).tanh() + x, None), x, None, steps)[0])


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no timers")
@pytest.mark.parametrize("what", ["__call__", "backward"])
def test_ctrl_c_ends_a_loop(what):
    compiled = long_loop(100_000_000)
    compiled(np.ones(0))

    def interrupt(*_):
        raise KeyboardInterrupt

    def call():
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        getattr(compiled, what)(np.ones(1))

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            call()
    finally:
        signal.signal(signal.SIGALRM, before)


def test_calls_in_several_threads_at_once():
    compiled = long_loop(2000)
    x = RNG.normal(size=50)
    expected = compiled(x)
    found = [None] * 4

    def run(number):
        found[number] = compiled(x)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((each == expected).all() for each in found)


# Random steps.

CHOICES = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=12
)


@settings(max_examples=60)
@given(CHOICES, st.integers(1, 3), st.integers(1, 6), st.booleans(), st.integers(1, 20))
def test_random_steps(choices, states, steps, reverse, rows):
    """Steps of random operations on states, inputs, parameters and a number from outside."""

    def of(x, u):
        def step(state, each):
            numbers = [*state, each, x, *W, x * W[0]]
            for operation, left, right in choices:
                a, b = numbers[left % len(numbers)], numbers[right % len(numbers)]
                numbers.append(
                    (
                        lambda: a * b,
                        lambda: a + b,
                        lambda: (a - b).tanh(),
                        lambda: a.sin() * 0.5,
                        lambda: F.maximum(a, b),
                        lambda: (a * a + 1.0).sqrt(),
                        lambda: F.dot([a, b], [b, a]),
                    )[operation]()
                )
            new = [value.tanh() for value in (numbers * 2)[-states:]]
            return new, numbers[-1]

        state, ys = scan(step, [x * (k + 1) for k in range(states)], u[:steps], reverse=reverse)
        return sum(state, ys[0] * W[2])

    rng = np.random.default_rng(len(choices))
    assert_agrees(of, rng.normal(size=rows), rng.normal(size=(rows, 6)))


@pytest.mark.parametrize(
    ("xs", "message"),
    [(np.array(3.0), "not a single number"), (7, "the xs of step are a list or an array, not int")],
)
def test_xs_that_are_no_list_are_refused(xs, message):
    def step(state, x):
        return state + x, state

    with pytest.raises(TypeError, match=message):
        scan(step, 0.0, xs)


def test_a_y_that_changes_its_shape_is_refused():
    def step(state, x):
        return state, (state if x.data < 1.5 else [state] * 5)

    with pytest.raises(TypeError, match="step makes a Value in one step and a list of 5, each a Value in"):
        scan(step, 0.0, [1.0, 2.0])


def test_a_dict_is_described_in_the_order_of_its_keys():
    with pytest.raises(TypeError, match=r"the state \{'a': a Value, 'b': a Value\}, and returns a Value"):
        scan(lambda state, x: (state["a"], None), {"b": 1.0, "a": 2.0}, [1.0])


def test_a_state_may_have_keys_without_an_order_or_be_an_array():
    last, _ = scan(lambda s, x: ({1: s[1] + x, "a": s["a"]}, None), {1: 0.0, "a": 2.0}, [1.0, 2.0])
    assert (last[1].data, last["a"].data) == (3.0, 2.0)
    last, _ = scan(lambda s, x: ([s[0] + x, s[1] * x], None), np.array([0.0, 1.0]), [1.0, 2.0])
    assert [each.data for each in last] == [3.0, 2.0]


TURN = np.array([[0.5, 0.1], [-0.2, 0.9]])
ARRAYS = {
    "a vector": lambda x: scan(lambda s, _: (2 * (TURN @ s) + x, None), np.array([1.0, 0.0]), None, 3)[0],
    "a matrix": lambda x: scan(lambda s, _: ((s @ s) * x, None), TURN, None, 2)[0][1],
    "in a dict": lambda x: scan(lambda s, _: ({"a": s["a"] * x}, None), {"a": np.ones(2)}, None, 2)[0]["a"],
    "of Values": lambda x: scan(lambda s, _: (s * s, None), np.array([x, 2.0 * x]), None, 2)[0],
    "the rows of xs": lambda x: scan(lambda s, row: (s + 2 * row * x, None), np.zeros(2), TURN)[0],
    "arrays in a list": lambda x: scan(lambda s, row: (s + (2 * row * x).sum(), None), 0.0, [*TURN])[0],
    "xs beside others": lambda x: scan(
        lambda s, r: (s + r[0] * 2 * r[1], None), TURN[0] * x, (TURN[0], TURN)
    )[0],
    "a state of while_loop": lambda x: while_loop(lambda s: 9.0 - s[0], lambda s: s + s * x, np.ones(2), 9),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_are_arrays_in_the_step(name):
    """As lists, `2 * s` would be twice as long, and `s + s`, too."""
    program = ARRAYS[name]
    x = Value(0.75)
    found = program(x)
    outputs = list(np.atleast_1d(found))
    compiled = compile(lambda x: list(np.atleast_1d(program(x))))
    assert compiled([0.75])[0] == pytest.approx([each.data for each in outputs])
    slopes = [grad(each, x).data for each in outputs]
    assert compiled.jacobian([0.75])[0] == pytest.approx(slopes)


def test_a_step_may_return_a_list_for_an_array():
    last, _ = scan(lambda s, x: ([s[0] * x, s[1] + s[0]], None), np.ones(2), [2.0, 3.0])
    assert type(last) is np.ndarray
    assert [each.data for each in last] == [6.0, 4.0]


LOST = {
    "a number of the state": lambda t: scan(lambda s, x: (s * x, None), t[0], [1.0]),
    "the state": lambda t: scan(lambda s, x: (s * x, None), t, [1.0]),
    "xs": lambda t: scan(lambda s, x: (s * x, None), 1.0, t),
    "a state of while_loop": lambda t: while_loop(lambda s: s - 1, lambda s: s / 2, t[0], 3),
    "a tangent": lambda t: jvp(lambda x: x * x, (Value(2.0),), (t[0],)),
}


@pytest.mark.parametrize("name", LOST)
def test_a_tensor_that_would_lose_its_gradient_is_refused(torch, name):
    with pytest.raises(TypeError, match="its gradient would be lost"):
        LOST[name](torch.tensor([2.0, 3.0], requires_grad=True))


def test_indices_of_several_arguments_are_no_steps():
    function = compile(lambda i, j: scan(lambda s, k: (s + take([1.0, 2.0], k), None), 0.0, [i, j])[0])
    with pytest.raises(TracingError, match="must be a column of one argument in every step"):
        function([0, 1], [1, 0])


PARTIAL = {
    "the first state": lambda x, a: scan(
        lambda state, each: (state - 0.1 * grad((state * each - a) ** 2, state), None), a, x
    )[0],
    "a number of the state that is another": lambda x, a: scan(
        lambda s, each: ([s[0] * each, s[0] * each + grad(s[0] * s[1] ** 2, s[1])], None), [a, a], x
    )[0][1],
    "a state from outside": lambda x, a: scan(
        lambda s, each: ([s[0] + grad(a * s[1] ** 2 * each, s[1]), a], None), [0.0, 1.0], x
    )[0][0],
    "the state of a condition": lambda x, a: while_loop(
        lambda state: state - 0.5, lambda state: 0.5 * grad(state**2 * a + x[1], state) / (a + 1.0), a, 9
    ),
}


@pytest.mark.parametrize("function", PARTIAL.values(), ids=PARTIAL)
def test_a_derivative_in_a_step_is_partial(function):
    rows, column = np.array([[0.3, 1.2, -0.7], [0.9, 0.1, 0.4]]), np.array([1.7, 0.8])
    plain = [function([Value(x) for x in row], Value(a)) for row, a in zip(rows, column, strict=True)]
    assert np.allclose(compile(function)(rows, column), [value.data for value in plain], rtol=1e-13)
