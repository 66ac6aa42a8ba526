"""What print(f) and errors say of a program: the line of each instruction, what the trace has fixed."""

import linecache
import pickle
import sys

import numpy as np
import pytest

import fastgrad
import fastgrad.functional as F
from fastgrad import Value, compile, nn, scan

P, Q = Value(2.0), Value(3.0)
RATE = 0.5
TABLE = np.arange(6.0)
X = np.array([0.5, 1.5])


def source_of(compiled, instruction):
    """The source lines that stand behind the first line with this text."""
    for line in str(compiled).splitlines():
        if instruction in line:
            return line.partition("test_explaining.py:")[2]
    raise AssertionError(f"no {instruction} in\n{compiled}")


def helper(x, slope=0.25):
    return (x * slope).sin()


def test_each_instruction_has_its_line():
    @compile
    def function(x):
        first = x.tanh()
        second = P * first + Q
        return first * second.exp()

    function(X)
    assert source_of(function, "= tanh x").endswith("  first = x.tanh()")
    assert source_of(function, "= multiply_add").endswith("  second = P * first + Q")
    assert source_of(function, "= exp").endswith("  return first * second.exp()")
    number, text = source_of(function, "= exp").split("  ")
    assert linecache.getline(__file__, int(number)).strip() == text


def test_the_way_back_has_the_lines_of_the_way_forward():
    @compile
    def function(x):
        first = x.tanh()
        return first.exp() * P

    function.backward(X)
    assert source_of(function, "through mul").endswith("  return first.exp() * P")


def test_loads_and_outputs_have_a_name_and_no_line():
    function = compile(lambda x: x.exp())
    function(X)
    lines = str(function).splitlines()
    assert "  load x" in lines
    assert any(line.startswith("  output 0 = v") and ".py" not in line for line in lines)


def test_what_a_function_of_the_users_computes_has_the_line_in_it():
    function = compile(lambda x: helper(x) + 1.0)
    function(X)
    assert source_of(function, "= sin").endswith("  return (x * slope).sin()")
    assert source_of(function, "= add").endswith("function = compile(lambda x: helper(x) + 1.0)")


def test_what_a_library_computes_has_the_line_that_calls_it():
    network = nn.MLP(1, [2, 1])

    @compile
    def function(x):
        y = network([x])
        return F.mse_loss([y], [1.0])

    function(X)
    assert source_of(function, "= relu").endswith("  y = network([x])")
    assert source_of(function, "= square_mean").endswith("  return F.mse_loss([y], [1.0])")


def test_generators_and_comprehensions_keep_the_line():
    @compile
    def function(x):
        parts = [each.exp() for each in x]
        return F.logsumexp(
            each.sin()
            for each in parts
        )  # fmt: skip

    function(np.ones((2, 2)))
    assert source_of(function, "= exp x[1]").endswith("parts = [each.exp() for each in x]")
    assert source_of(function, "= sin").endswith("  each.sin()")


def test_a_matrix_has_the_lines_of_its_results():
    @compile
    def function(x):
        first = P * x[0] + Q * x[1]
        second = Q * x[0] + P * x[1]
        return first * second

    function(np.ones((2, 2)))
    first, second = source_of(function, "= matrix 2 x 2").split(", ")
    assert int(second) == int(first) + 1


def test_the_step_of_a_loop_has_lines():
    @compile
    def function(x):
        def step(state, _):
            new = state * P
            return new.sin(), None

        return scan(step, x, None, 5)[0]

    function(X)
    assert source_of(function, "= loop 0").endswith("return scan(step, x, None, 5)[0]")
    assert source_of(function, "= sin").endswith("  return new.sin(), None")


def test_what_derivatives_share_has_the_lines_of_all():
    @compile
    def function(x):
        first = (x * x).sin()
        second = x * x
        return fastgrad.grad(first * second, [x])[0]

    function(X)
    one, other = source_of(function, "= mul x, x").split(", ")
    assert int(other) == int(one) + 1
    assert source_of(function, "= cos").endswith("return fastgrad.grad(first * second, [x])[0]")


def test_what_lowering_adds_has_the_line_of_what_needs_it():
    @compile
    def function(x):
        return P * x[0] + Q * x[1] + x[0] * x[1] + x[1] * x[2]

    function(np.ones((2, 3)))
    assert source_of(function, "= matrix").partition("  ")[2].startswith("return P * x[0]")
    assert source_of(function, "= matrix") == source_of(function, "= inner")


def test_a_function_that_computes_something_else_by_now_has_no_lines():
    numbers = [1.0]
    function = compile(lambda x: x * numbers[0] + 1.0)
    function(X)
    assert "test_explaining" in str(function)
    numbers[0] = 2.0
    assert "test_explaining" not in str(function)
    assert "source lines are not shown" in str(function)
    numbers.clear()
    assert "multiply_add" in str(function)


def test_an_unpickled_program_has_no_lines():
    function = compile(lambda x: x * P)
    function(X)
    loaded = pickle.loads(pickle.dumps(function))
    assert "mul x, p0" in str(loaded)
    assert "test_explaining" not in str(loaded)


def test_a_tracer_that_was_set_is_set_afterwards():
    function = compile(lambda x: x.exp())
    function(X)

    def tracer(*_):
        return None

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        str(function)
        assert sys.gettrace() is tracer
    finally:
        sys.settrace(before)


def test_printing_in_another_trace_shows_no_lines():
    inner = compile(lambda x: x.exp())
    inner(X)
    texts = []

    def outer(x):
        texts.append(str(inner))
        return x + 1.0

    compile(outer)(X)
    assert "exp x" in texts[0]
    assert "test_explaining" not in texts[0]


def test_numbers_from_outside_are_listed():
    scale, unused = 2, 3

    @compile
    def function(x, *, layers=4):
        return helper(x) * RATE * TABLE[2] * scale * layers

    function(X)
    assert unused == 3
    assert str(function).split("\n\nfixed by the trace:\n")[1].splitlines() == [
        "  RATE = 0.5",
        "  TABLE = an array (6,) of float64",
        "  function.layers = 4",
        "  helper(slope) = 0.25",
        "  scale = 2",
    ]


def test_attributes_are_listed_with_their_class():
    class Model:
        exponent = 3

        def __init__(self):
            self.scale = 0.25

        def __call__(self, x):
            return x**self.exponent * self.scale

    model = Model()
    function = compile(lambda x: model(x))
    function(X)
    text = str(function)
    assert "  Model.exponent = 3" in text
    assert "  Model.scale = 0.25" in text


@pytest.mark.parametrize(
    ("numbers", "shown"),
    [
        ([0.5, 2], "[0.5, 2]"),
        ((0.5, 2), "(0.5, 2)"),
        (list(range(9)), "[0, 1, 2, 3, .. 9 in all]"),
        (np.float64(0.5), "0.5"),
        (np.ones((2, 3)), "an array (2, 3) of float64"),
    ],
)
def test_lists_and_arrays_are_listed_in_short(numbers, shown):
    function = compile(lambda x: x * float(np.sum(numbers)))
    function(X)
    assert f"  numbers = {shown}" in str(function).splitlines()


def test_parameters_have_the_names_they_are_bound_to():
    function = compile(lambda x: x * P + Q)
    function(X)
    assert "read at each call: p0 = P, p1 = Q" in str(function).splitlines()


def test_a_strict_error_names_the_line():
    @compile(strict=True)
    def function(x):
        shifted = x - 1.0
        return shifted.log() * 2.0

    with pytest.raises(
        ValueError, match=r"row 0, instruction v\d+: log.*, at test_explaining.py:\d+  return shifted.log\(\)"
    ):
        function(X)
    with pytest.raises(FloatingPointError, match=r"sqrt.* is inf, at test_explaining.py:\d+"):
        compile(lambda x: (x - 0.5).sqrt()).input_gradients(X, strict=True)


def test_a_strict_error_in_a_step_names_the_line():
    @compile(strict=True)
    def function(x):
        def step(state, _):
            less = state - 1.0
            return less.sqrt(), None

        return scan(step, x, None, 5)[0]

    with pytest.raises(ValueError, match=r"step 2 of step, .*, at test_explaining.py:\d+  return less.sqrt"):
        function(np.array([2.0]))


# A loop that is unrolled.


def oscillator(state, step):
    x, v = state
    return x + step * v, v - step * x.sin()


def unrolled_oscillator(x):
    state = x[0], x[1]
    for _ in range(500):
        state = oscillator(state, 0.01)
    return state[0]


def unrolled_garch(x):
    variance, total = 1.0, 0.0
    for each in x:
        variance = P + Q * each**2 + P * variance
        total = total + variance.log() + each**2 / variance
    return total


def unrolled_newton(x):
    root = x[0]
    for _ in range(1000):
        root = (root + x[0] / root) / 2
    return root


@pytest.mark.parametrize(
    ("function", "steps"), [(unrolled_oscillator, 500), (unrolled_garch, 500), (unrolled_newton, 1000)]
)
def test_a_loop_that_is_unrolled_is_told_of_scan(function, steps):
    compiled = compile(function)
    compiled(np.full((1, 500), 0.5))
    [line] = [line for line in str(compiled).splitlines() if "fastgrad.scan" in line]
    found = int(line.split(" times, each time")[0].split()[-1])
    assert steps - 3 <= found <= steps


WIDE, DEEP = nn.MLP(20, [20] * 10 + [1]), nn.MLP(1, [2] * 40)


def network(x):
    return WIDE(x[:20])


def deep_network(x):
    return DEEP(x[:1])[0]


def sum_of_squares(x):
    return sum((each * P - Q) ** 2 for each in x)


def losses_side_by_side(x):
    return F.mean([F.binary_cross_entropy_with_logits([P * each + Q], [1.0]).exp() for each in x])


def attention(x):
    heads = []
    for k in range(0, 400, 8):
        weights = F.softmax([F.dot(x[k : k + 8], x[j : j + 8]) for j in range(0, 80, 8)])
        heads.append(F.dot(weights, x[k : k + 10]).tanh())
    return F.logsumexp(heads)


def scanned_garch(x):
    def step(state, each):
        variance = P + Q * each**2 + P * state[0]
        return (variance, state[1] + variance.log() + each**2 / variance), None

    return scan(step, (1.0, 0.0), x)[0][1]


@pytest.mark.parametrize(
    "function",
    [network, deep_network, sum_of_squares, losses_side_by_side, attention, scanned_garch],
    ids=lambda f: f.__name__,
)
def test_what_is_no_loop_is_not_told_of_scan(function):
    compiled = compile(function)
    compiled(np.full((1, 1000), 0.5))
    assert "fastgrad.scan" not in str(compiled)


def test_an_unrolled_loop_that_takes_long_to_trace_gets_a_warning():
    def function(x):
        for _ in range(60_000):
            x = (x * P).sin()
        return x

    with pytest.warns(
        RuntimeWarning, match="2 operations repeat .* fastgrad.scan would have them once"
    ) as seen:
        compile(function)(X)
    assert seen[0].filename == __file__
