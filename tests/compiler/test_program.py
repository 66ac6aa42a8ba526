"""A compiled function gives the engine's numbers: for every operation, and for random functions."""

import itertools
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastgrad.functional as F
from evidence.compiled import BINARY, INSIDE, UNARY, applied, assert_close
from evidence.meanings import power
from fastgrad import Value, compile, take
from fastgrad.engine import _dot as dot
from fastgrad.engine import _reduce as reduce
from fastgrad.engine import apply
from fastgrad.nn import MLP
from fastgrad.operations import FUNCTIONS, REDUCTIONS


class Eager:
    """What the engine computes for every row: outputs, the mean's gradients, the inputs' gradients."""

    def __init__(self, function, parameters, columns):
        rows = len(columns[0][0])
        self.outputs, self.input_gradients = [], []
        totals = np.zeros(len(parameters))
        for row in range(rows):
            arguments, leaves = [], []
            for column, width in columns:
                values = [Value(float(v)) for v in np.atleast_1d(column[row])]
                leaves.append(values)
                arguments.append(values[0] if width is None else values)
            for p in parameters:
                p.grad = 0.0
            output = function(*arguments)
            output.backward()
            self.outputs.append(output.data)
            self.input_gradients.append([[v.grad for v in values] for values in leaves])
            totals += [p.grad for p in parameters]
        self.parameters = parameters
        self.mean = sum(self.outputs) / rows
        self.gradients = totals / rows


def assert_agrees(function, parameters, *arrays, **options):
    """All calls of the compiled function that give first derivatives against the engine."""
    eager = Eager(function, parameters, [(a, None if a.ndim == 1 else a.shape[1]) for a in arrays])
    compiled = compile(function)
    assert_close(compiled(*arrays, **options), eager.outputs)
    for p in parameters:
        p.grad = 0.0
    assert_close(compiled.backward(*arrays, **options), eager.mean)
    assert_close([p.grad for p in parameters], eager.gradients)
    gradients = compiled.input_gradients(*arrays, **options)
    for position, array in enumerate(arrays):
        got = gradients if len(arrays) == 1 else gradients[position]
        expected = np.array([row[position] for row in eager.input_gradients])
        assert_close(got, expected[:, 0] if array.ndim == 1 else expected)
    derivatives_agree(function, compiled, eager, arrays, options)


def derivatives_agree(function, compiled, eager, arrays, options):
    """Compare Jacobians in reverse and forward mode, and reduced ones, of the program and of derivatives."""
    expected = [[np.concatenate([by for by, array in zip(row, arrays)]) for row in eager.input_gradients]]
    width = len(expected[0][0])
    every = tuple(range(len(arrays)))
    scale = max(1.0, np.abs(expected).max())
    for outputs in (1, width + 1):
        several = compile(lambda *x: [function(*x)] * outputs) if outputs > 1 else compiled
        value, found = several.value_and_grad(*arrays, argnums=every, **options)
        found = np.concatenate([by.reshape(len(eager.outputs), outputs, -1) for by in found], axis=2)
        assert_close(value.reshape(-1, outputs), np.repeat(np.reshape(eager.outputs, (-1, 1)), outputs, 1))
        assert_close(found, np.repeat(np.swapaxes(expected, 0, 1), outputs, 1), scale)
    by_parameters = compiled.jacobian(*arrays, argnums="parameters", **options).mean(axis=0)
    mean, gradient = compiled.value_and_grad(
        *arrays,
        argnums="parameters",
        reduction="mean",
        row_weights=np.full(len(eager.outputs), 0.5),
        **options,
    )
    wanted = dict(zip(map(id, eager.parameters), eager.gradients))
    for parameter, by, also in zip(compiled.parameters, by_parameters, gradient):
        if id(parameter) in wanted:
            assert_close([by, also], [wanted[id(parameter)]] * 2, max(1.0, np.abs(eager.gradients).max()))
    assert_close(mean, eager.mean)


GRID = np.array([0.3, 1.7, 2.5, 0.01, 4.0, 1.0, 0.7])
TERNARY = [operation for operation in FUNCTIONS if operation.operands == 3]


@pytest.mark.parametrize("operation", UNARY, ids=lambda o: o.name)
def test_an_operation_of_one_operand(operation):
    p = Value(0.4)
    assert_agrees(lambda x: applied(operation, x * p), [p], GRID)


@pytest.mark.parametrize("operation", BINARY, ids=lambda o: o.name)
@pytest.mark.parametrize("kinds", ["xx", "xy", "xp", "px", "pq", "xc", "cx"])
def test_an_operation_of_two_operands(operation, kinds):
    p, q = Value(0.6), Value(1.3)

    def function(x, y):
        pool = {"x": x, "y": y, "p": p, "q": q, "c": Value(1.5)}
        if operation.name == "polygamma":
            return applied(operation, pool[kinds[0]], pool[kinds[1]]) + 0 * (x + y + p + q)
        return apply(operation.name, pool[kinds[0]], pool[kinds[1]]) + 0 * (x + y + p + q)

    assert_agrees(function, [p, q], GRID, GRID[::-1].copy())


@pytest.mark.parametrize("operation", [*UNARY, *BINARY], ids=lambda o: o.name)
@pytest.mark.parametrize("kinds", ["xy", "xp", "px"])
@pytest.mark.parametrize("also_used", [False, True])
def test_a_gradient_is_an_operands_first_or_adds_to_others(operation, kinds, also_used):
    p = Value(0.6)

    def function(x, y):
        pool = {"x": x * 1.1, "y": y * 0.9, "p": p}
        operands = [pool[kind] for kind in kinds[: operation.operands]]
        inside = operation.name in INSIDE or operation.name == "polygamma"
        out = applied(operation, *operands) if inside else apply(operation.name, *operands)
        # Used after the operation, and so with a gradient before it on the way back.
        return out * operands[0] * operands[-1] if also_used else out

    assert_agrees(function, [p], GRID, GRID[::-1].copy())


@pytest.mark.parametrize("reduction", REDUCTIONS, ids=lambda r: r.name)
@pytest.mark.parametrize("also_used", [False, True])
def test_a_gradient_of_a_reduction_is_an_operands_first_or_adds_to_others(reduction, also_used):
    p = Value(0.6)

    def function(x, y):
        u, v = x * 1.1, y * 0.9
        out = reduce(reduction.name, [u, p, v, 1.5, u])
        return out * u * v if also_used else out

    assert_agrees(function, [p], GRID, GRID[::-1].copy())


@pytest.mark.parametrize("operation", TERNARY, ids=lambda o: o.name)
@pytest.mark.parametrize("kinds", ["xyz", "xxy", "pxy", "xpq", "xcp", "pqc", "yxc"])
def test_an_operation_of_three_operands(operation, kinds):
    p, q = Value(0.6), Value(-1.3)

    def function(x, y):
        pool = {"x": x - 1, "y": y * y, "z": x * y, "p": p, "q": q, "c": 1.5}
        return apply(operation.name, *[pool[kind] for kind in kinds]) * 2 + 0 * (x + y + p + q)

    assert_agrees(function, [p, q], GRID, GRID[::-1].copy())


WEIGHT = [[Value(0.1 * (i - j)) for j in range(4)] for i in range(3)]
BIAS = [Value(0.5 * i) for i in range(3)]
FUNCTIONAL = {
    "add": lambda x: F.sum(F.add(x, WEIGHT[0])) * x[0],
    "scale": lambda x: F.dot(F.scale(x, BIAS[1]), x),
    "binary_cross_entropy_with_logits": lambda x: F.binary_cross_entropy_with_logits(
        x, [1, 0, BIAS[1], x[0]]
    ),
    "cross_entropy": lambda x: F.cross_entropy(x, 2),
    "dot": lambda x: F.dot(WEIGHT[0], x, BIAS[0]),
    "hinge_loss": lambda x: F.hinge_loss(x, [1, -1, -1, 1], reduction="sum"),
    "l2": lambda x: F.l2(x) + F.l2(BIAS),
    "leaky_relu": lambda x: F.leaky_relu(x[0]) * F.leaky_relu(BIAS[1] * x[1], 0.2),
    "linear": lambda x: F.sum(F.linear(x, WEIGHT, BIAS, "tanh")),
    "Matrix": lambda x: F.sum(F.linear(x, F.Matrix(WEIGHT), BIAS)),
    "log_softmax": lambda x: F.log_softmax(x)[1],
    "logsumexp": lambda x: F.logsumexp([*x, *BIAS]),
    "maximum": lambda x: F.maximum(x[0], x[1]) + F.maximum(x[2], 0.5),
    "mean": lambda x: F.mean(x) * F.mean([*x, *BIAS]),
    "minimum": lambda x: F.minimum(x[0], x[1]) + F.minimum(0.5, x[2]),
    "mse_loss": lambda x: F.mse_loss(x, [1, 2, BIAS[0], x[0]]),
    "nll_loss": lambda x: F.nll_loss(F.log_softmax(x), 3),
    "rms_norm": lambda x: F.dot(F.rms_norm(x, WEIGHT[0]), x),
    "silu": lambda x: F.silu(x[0]) * F.silu(BIAS[1]),
    "softplus": lambda x: F.softplus(x[0]) * F.softplus(BIAS[1]),
    "softmax": lambda x: F.dot(F.softmax(x), WEIGHT[2]),
    "sum": lambda x: F.sum(x) * F.sum([x[0], BIAS[0], 2.0]),
    "polygamma": lambda x: F.polygamma(1, x[0] * x[0] + BIAS[1]),
    "clip": lambda x: F.clip(x[0] * BIAS[1], -0.25, x[1]) + F.clip(x[2], max=0.5),
    "gelu": lambda x: F.gelu(x[0]) * F.gelu(BIAS[1] * x[1], "tanh"),
    "acosh": lambda x: F.acosh(1.5 + x[0] * x[0]),
    "where": lambda x: F.where(x[0] - 0.5, x[1] * BIAS[1], F.where(True, x[2], 0.0)),
}


OPERANDS = {
    **dict.fromkeys(
        ("erf", "erfc", "expm1", "tan", "atan", "sinh", "cosh", "asinh"), lambda x: [x[0] * BIAS[1]]
    ),
    **dict.fromkeys(("floor", "ceil", "sign", "ndtr", "logical_not", "cbrt"), lambda x: [x[0] * BIAS[1]]),
    **dict.fromkeys(("log1p", "log2", "log10", "lgamma", "digamma"), lambda x: [x[0] * x[0] + BIAS[1]]),
    **dict.fromkeys(("asin", "acos", "atanh"), lambda x: [0.5 * x[0].tanh()]),
    **dict.fromkeys(
        ("atan2", "hypot", "fmod", "remainder", "equal", "not_equal"), lambda x: [x[0], x[1] * BIAS[1]]
    ),
    **dict.fromkeys(("greater", "greater_equal", "less", "less_equal"), lambda x: [BIAS[1], x[1]]),
    **dict.fromkeys(("logical_and", "logical_or"), lambda x: [x[0], x[1]]),
}


def on_operands(function, operands):
    return lambda x: function(*operands(x)) * x[2]


FUNCTIONAL |= {name: on_operands(getattr(F, name), operands) for name, operands in OPERANDS.items()}


@pytest.mark.thread_unsafe
@pytest.mark.parametrize("name", [*F.__all__, "sum"])
def test_every_function_of_functional_compiles(name):
    X = np.random.default_rng(1).normal(size=(9, 4))
    assert_agrees(FUNCTIONAL[name], [*itertools.chain(*WEIGHT), *BIAS], X)


@pytest.mark.parametrize(
    "loss", [lambda z, t: F.cross_entropy(z, t), lambda z, t: F.nll_loss(F.log_softmax(z), t)]
)
def test_a_target_that_differs_from_row_to_row(loss):
    X, target = np.random.default_rng(1).normal(size=(5, 3)), np.array([2, 0, 1, 1, 2])
    compiled = compile(loss)
    assert_close(compiled(X, target), [loss(list(x), int(t)).data for x, t in zip(X, target)])
    with pytest.raises(IndexError, match="is 3: take"):
        compiled(X, target + 1)


@pytest.mark.parametrize("reduction", REDUCTIONS, ids=lambda r: r.name)
@pytest.mark.parametrize("mixed", [False, True], ids=["rows", "rows and parameters"])
def test_a_reduction(reduction, mixed):
    p = Value(0.6)
    X = np.linspace(-2, 3, 21).reshape(7, 3)
    assert_agrees(lambda x: reduce(reduction.name, [*x, p, p] if mixed else x) * p, [p], X)


@pytest.mark.parametrize("activation", ["linear", "relu", "tanh", "sigmoid"])
def test_a_dot_product(activation):
    w = [Value(0.1 * k - 0.2) for k in range(5)]
    b = Value(0.3)
    X = np.linspace(-2, 3, 35).reshape(7, 5)
    assert_agrees(lambda x: dot(w, x, b, activation), [*w, b], X)
    assert_agrees(lambda x: dot(x, list(reversed(x)), x[0] * b, activation), [b], X)


def test_what_a_function_of_its_parameters_alone_gives_is_computed_once():
    p, q = Value(0.5), Value(2.0)
    assert_agrees(lambda x: p * q + (p / q).exp() + 0 * x, [p, q], GRID)


def test_a_weight_that_occurs_twice_and_lanes_that_occur_twice():
    w, v = Value(0.5), Value(-1.5)
    X = np.linspace(-2, 3, 14).reshape(7, 2)
    assert_agrees(lambda x: w * x[0] + v * x[0] + w * x[1] + x[1] * x[1] + x[0], [w, v], X)


class Builder:
    """Draws a random function: a list of choices, replayed alike on Values of either kind."""

    def __init__(self, draw, width):
        self.choices = [
            (draw(st.sampled_from(sorted(STEPS))), draw(st.integers(0, 10**6)))
            for _ in range(draw(st.integers(1, 25)))
        ]
        self.width = width

    def function(self, parameters):
        def f(x, y):
            pool = [*x, y, *parameters]
            for name, seed in self.choices:
                pick = random.Random(seed)
                pool.append(
                    STEPS[name](lambda: pick.choice(pool[-12:] if pick.random() < 0.7 else pool), pick)
                )
            return sum(pool[-3:])

        return f


def positive(v):
    return v * v + 0.5


STEPS = {
    "add": lambda v, pick: v() + v(),
    "sub": lambda v, pick: v() - v(),
    "mul": lambda v, pick: (v() * v()).tanh(),
    "div": lambda v, pick: v() / positive(v()),
    "constant": lambda v, pick: pick.uniform(-1, 1) * v() - pick.uniform(-1, 1),
    "reflected": lambda v, pick: pick.uniform(-1, 1) / positive(v()) - v(),
    "relu": lambda v, pick: v().relu(),
    "abs": lambda v, pick: abs(v()),
    "tanh": lambda v, pick: v().tanh(),
    "sigmoid": lambda v, pick: v().sigmoid(),
    "exp": lambda v, pick: v().tanh().exp(),
    "log": lambda v, pick: positive(v()).log(),
    "sqrt": lambda v, pick: positive(v()) ** 0.5,
    "sin": lambda v, pick: v().sin(),
    "cos": lambda v, pick: v().cos(),
    "square": lambda v, pick: v().tanh() ** 2,
    "cube": lambda v, pick: v().tanh() ** 3,
    "reciprocal": lambda v, pick: positive(v()) ** -1,
    "power": lambda v, pick: positive(v().tanh()) ** v().tanh(),
    "sum": lambda v, pick: sum(v() for _ in range(pick.randint(1, 6))),
    "products": lambda v, pick: sum(v().tanh() * v().tanh() for _ in range(pick.randint(1, 6))),
    "difference": lambda v, pick: v() - v().tanh() * v().tanh() - v() + 2 * v(),
    "dot": lambda v, pick: dot([v().tanh() for _ in range(3)], [v().tanh() for _ in range(3)], v(), "tanh"),
    "maximum": lambda v, pick: F.maximum(v(), v()),
    "where": lambda v, pick: F.where(v(), v(), v()),
    "softmax": lambda v, pick: F.softmax([v().tanh() for _ in range(3)])[1],
    "logsumexp": lambda v, pick: reduce("logsumexp", [v() for _ in range(4)]),
    "square_mean": lambda v, pick: reduce("square_mean", [v().tanh() for _ in range(3)]),
    "mean": lambda v, pick: reduce("mean", [v() for _ in range(3)]),
}


@st.composite
def programs(draw):
    width = draw(st.integers(1, 4))
    seed = draw(st.integers(0, 10**6))
    return Builder(draw, width), seed, draw(st.integers(1, 5))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs(), st.sampled_from([1, 7, 64]), st.sampled_from([0, 1, 5, 16]), st.sampled_from([1, 2, 3]))
def test_random_functions_agree_with_the_engine(program, rows, block, threads):
    builder, seed, count = program
    rng = np.random.default_rng(seed)
    parameters = [Value(v) for v in rng.normal(size=count)]
    X, y = rng.normal(size=(rows, builder.width)), rng.normal(size=rows)
    assert_agrees(builder.function(parameters), parameters, X, y, block=block, threads=threads)


def thousand_rows():
    rng = np.random.default_rng(3)
    w = [[Value(v) for v in row] for row in rng.normal(size=(5, 4))]
    b = [Value(v) for v in rng.normal(size=5)]

    def function(x, y):
        hidden = [sum((wi * xi for wi, xi in zip(row, x)), bias).tanh() for row, bias in zip(w, b)]
        return (hidden[0] * hidden[1] + sum(hidden) - y) ** 2

    return function, [*itertools.chain(*w), *b], rng.normal(size=(1000, 4)), rng.normal(size=1000)


def test_a_thousand_rows_agree_with_the_engine():
    function, parameters, X, y = thousand_rows()
    assert_agrees(function, parameters, X, y)


@pytest.mark.parametrize("block", [0, 1, 7, 8, 64, 1000])
def test_the_number_of_threads_changes_no_bit(block):
    function, parameters, X, y = thousand_rows()
    X, y = np.tile(X, (20, 1)), np.tile(y, 20)
    compiled = compile(function, block=block)
    seen = set()
    for threads in (1, 2, 3, 8):
        for p in parameters:
            p.grad = 0.0
        mean = compiled.backward(X, y, threads=threads)
        results = [np.array([mean]), np.array([p.grad for p in parameters]), compiled(X, y, threads=threads)]
        results += compiled.input_gradients(X, y, threads=threads)
        seen.add(b"".join(array.tobytes() for array in results))
    assert len(seen) == 1


@pytest.mark.parametrize("kind", ["rows", "parameters"])
def test_take_selects_by_row(kind):
    table = [[Value(0.1 * i - j) for j in range(3)] for i in range(5)]
    parameters = list(itertools.chain(*table))
    index = np.array([4, 0, 1, 1, 3, 2, 4])
    X = np.linspace(-1, 1, 35).reshape(7, 5)

    def chosen(x, row, i):
        return row(i)[0] * x[0] + row(i)[2] if kind == "parameters" else row(i) ** 2 + table[0][0] * x[1]

    compiled = compile(
        lambda x, i: chosen(x, lambda i: take(table, i) if kind == "parameters" else take(x, i), i)
    )
    expected, gradients = [], np.zeros(len(parameters))
    for x, i in zip(X, index):
        leaves = [Value(v) for v in x]
        for p in parameters:
            p.grad = 0.0
        out = chosen(leaves, lambda i: take(table if kind == "parameters" else leaves, i), int(i))
        out.backward()
        expected.append((out.data, [v.grad for v in leaves]))
        gradients += [p.grad for p in parameters]
    for p in parameters:
        p.grad = 0.0
    assert_close(compiled(X, index), [out for out, _ in expected])
    assert_close(compiled.backward(X, index), np.mean([out for out, _ in expected]))
    assert_close([p.grad for p in parameters], gradients / 7)
    dx, di = compiled.input_gradients(X, index)
    assert_close(dx, [row for _, row in expected])
    assert di is None


def test_several_outputs():
    p = Value(3.0)
    compiled = compile(lambda x, y: [p * x, x * y, p])
    x, y = np.array([1.0, 2.0]), np.array([5.0, -1.0])
    np.testing.assert_array_equal(compiled(x, y), [[3, 5, 3], [6, -2, 3]])
    assert compiled.backward(x, y) == [4.5, 1.5, 3.0]
    assert p.grad == 1.5 + 1.0
    dx, dy = compiled.input_gradients(x, y)
    np.testing.assert_array_equal(dx, [[3, 3], [5, -1], [0, 0]])
    np.testing.assert_array_equal(dy, [[0, 0], [1, 2], [0, 0]])


@pytest.mark.parametrize(
    "total",
    [lambda a, b: F.sum([a]) + b, lambda a, b: a - F.sum([b]), lambda a, b: F.sum([F.sum([a])]) - F.sum([b])],
)
@pytest.mark.parametrize("varies", [False, True])
def test_the_sum_of_a_single_number_inside_a_sum(total, varies):
    a, b = Value(2.0), Value(0.5)
    compiled = compile(lambda x: total(a * x, b) if varies else total(a, b) * x)
    expected = total(a * 3.0, b) if varies else total(a, b) * 3.0
    assert compiled([3.0]) == [expected.data]
    expected.backward()
    gradients = a.grad, b.grad
    a.grad = b.grad = 0.0
    assert compiled.backward([3.0]) == expected.data
    assert (a.grad, b.grad) == gradients


def test_the_way_back_of_one_output_leaves_the_values_for_the_others():
    compiled = compile(lambda x, y: [y * x, (1.0 + x) ** 3.0])
    dx, dy = compiled.input_gradients(np.array([2.0, 0.0]), np.array([3.0, -0.25]))
    np.testing.assert_array_equal(dx, [[3.0, -0.25], [27.0, 3.0]])
    np.testing.assert_array_equal(dy, [[2.0, 0.0], [0.0, 0.0]])


def test_a_program_of_no_arguments_is_the_whole_graph():
    p, q = Value(3.0), Value(0.5)
    compiled = compile(lambda: p * q + p.log())
    expected = p * q + p.log()
    assert compiled() == pytest.approx(expected.data, rel=1e-15)
    assert compiled.backward() == pytest.approx(expected.data, rel=1e-15)
    assert (p.grad, q.grad) == (0.5 + 1 / 3, 3.0)
    p.data = 4.0
    assert compiled() == (p * q + p.log()).data


def test_a_number_is_the_same_for_all_rows():
    p = Value(2.0)
    compiled = compile(lambda x, k: p * x * k + k)
    np.testing.assert_array_equal(compiled(np.array([1.0, 2.0]), 3.0), [9.0, 15.0])
    dx, dk = compiled.input_gradients(np.array([1.0, 2.0]), 3.0)
    np.testing.assert_array_equal(dx, [6.0, 6.0])
    np.testing.assert_array_equal(dk, [3.0, 5.0])
    assert compiled(2.0, 3.0) == 15.0
    assert compiled.input_gradients(2.0, 3.0) == (6.0, 5.0)


def test_gradients_of_several_outputs_without_rows_are_floats():
    compiled = compile(lambda x, y: [x * y, x + 1])
    assert compiled.input_gradients(2.0, 3.0) == ([3.0, 1.0], [2.0, 0.0])


def test_leaves_are_read_at_each_call_and_gradients_accumulate():
    p = Value(2.0)
    compiled = compile(lambda x: p * x)
    compiled.backward(np.array([1.0, 3.0]))
    compiled.backward(np.array([1.0, 3.0]))
    assert p.grad == 4.0
    p.data = 10.0
    np.testing.assert_array_equal(compiled(np.array([1.0, 3.0])), [10.0, 30.0])


@pytest.mark.parametrize("value", [0.0, -1.0, np.inf, -np.inf, np.nan, 800.0, -800.0])
def test_a_row_that_the_engine_refuses_follows_ieee(value):
    compiled = compile(lambda x: [x.log(), x.exp(), 1 / x, x**0.5, x.tanh(), x.sigmoid(), x.relu()])
    with np.errstate(all="ignore"):
        x = np.float64(value)
        expected = [
            np.log(x),
            np.exp(x),
            1 / x,
            power(float(x), 0.5),
            np.tanh(x),
            1 / (1 + np.exp(-x)),
            max(x, 0.0),
        ]
        expected[-1] = x if np.isnan(x) else expected[-1]
    rows = compiled(np.array([1.0, value, 2.0]))
    np.testing.assert_allclose(rows[1], expected, rtol=1e-15)
    assert np.isfinite(rows[[0, 2]]).all()


def test_an_argument_or_a_parameter_as_the_output():
    p = Value(3.0)
    compiled = compile(lambda x: [x, x, p, 2.0])
    x = np.array([1.0, 5.0])
    np.testing.assert_array_equal(compiled(x), [[1, 1, 3, 2], [5, 5, 3, 2]])
    assert compiled.backward(x) == [3.0, 3.0, 3.0, 2.0]
    assert p.grad == 1.0
    np.testing.assert_array_equal(compiled.input_gradients(x), [[1, 1], [1, 1], [0, 0], [0, 0]])


@pytest.mark.parametrize("rows", [1, 7, 64, 1000])
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_networks_agree_with_the_engine_at_every_batch_size(rows, activation):
    random.seed(rows)
    model = MLP(5, [9, 7, 3], activation=activation)
    rng = np.random.default_rng(rows)
    X, target = rng.normal(size=(rows, 5)), rng.integers(0, 3, rows)
    compiled = compile(lambda x, t: F.cross_entropy(model(x), t) + 1e-3 * F.l2(model.parameters()))
    losses = [
        F.cross_entropy(model(list(row)), int(t)) + 1e-3 * F.l2(model.parameters())
        for row, t in zip(X, target)
    ]
    mean = F.mean(losses)
    mean.backward()
    expected = [p.grad for p in model.parameters()]
    model.zero_grad()
    assert_close(compiled.backward(X, target), mean.data)
    assert_close([p.grad for p in model.parameters()], expected)
    assert_close(compiled(X, target), [loss.data for loss in losses])


def test_a_parameter_added_to_products_of_inputs():
    p = Value(0.6)
    assert_agrees(lambda x, y: x * y + y * y + p, [p], GRID, GRID[::-1].copy())


def test_choices_without_a_gradient():
    p = Value(0.6)
    chosen = compile(lambda x, i: take([x * p, 1.0, p], i))
    x, i = np.array([2.0, 3.0, 4.0]), np.array([0, 1, 2])
    assert chosen.backward(x, i) == pytest.approx((1.2 + 1.0 + 0.6) / 3, rel=1e-12)
    assert p.grad == pytest.approx((2.0 + 0.0 + 1.0) / 3, rel=1e-12)
    np.testing.assert_array_equal(chosen.input_gradients(x, i)[0], [0.6, 0.0, 0.0])


def test_an_output_and_an_input_that_do_not_meet():
    p = Value(0.6)
    compiled = compile(lambda x, y, i: [x * i, p * 2, x * 0 + p])
    x, i = np.array([2.0, 3.0]), np.array([5, 7])
    gradients = compiled.input_gradients(x, x, i)
    np.testing.assert_array_equal(gradients[0], [[5.0, 7.0], [0.0, 0.0], [0.0, 0.0]])
    np.testing.assert_array_equal(gradients[1], np.zeros((3, 2)))
    assert gradients[2] is None


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_a_reduction_of_parameters_that_are_not_finite(number):
    p, q = Value(number), Value(0.5)
    compiled = compile(lambda x: F.logsumexp([p, q]) * x)
    np.testing.assert_array_equal(compiled([1.0, 2.0]), [F.logsumexp([p, q]).data * k for k in (1, 2)])


@pytest.mark.parametrize("operation", UNARY, ids=lambda operation: operation.name)
def test_an_operation_on_every_result_of_a_matrix_agrees_with_the_engine(operation):
    weights = [[Value(0.1 + 0.2 * i + 0.3 * k) for k in range(3)] for i in range(5)]

    def function(x):
        sums = [sum(w * v for w, v in zip(row, x)) + 0.1 for row in weights]
        inside = operation.name in INSIDE
        results = [applied(operation, t) if inside else getattr(t, operation.method)() for t in sums]
        return sum(result * (k - 1.5) for k, result in enumerate(results))

    assert_agrees(function, [w for row in weights for w in row], np.linspace(0.1, 1.3, 39).reshape(13, 3))


def test_a_sum_that_is_used_besides_its_activation_keeps_its_value():
    weights = [Value(0.5), Value(-0.25)]

    def function(x):
        total = weights[0] * x[0] + weights[1] * x[1]
        return total.tanh() + total * x[0]

    assert_agrees(function, weights, np.linspace(-1.0, 1.0, 18).reshape(9, 2))


def test_an_activation_is_part_of_the_matrix_instruction():
    model = MLP(3, [4, 2], activation="tanh")
    compiled = compile(lambda x: sum(model(x)))
    compiled(np.zeros((2, 3)))
    assert "tanh of matrix 4 x 3" in str(compiled)
    assert " = tanh v" not in str(compiled)


@pytest.mark.parametrize("rows", [2, 17, 130, 256])
@pytest.mark.parametrize(("height", "depth"), [(7, 24), (8, 1), (9, 25), (15, 16), (20, 50), (33, 8)])
def test_the_gradient_by_the_weights_of_a_layer_of_any_shape(height, depth, rows):
    """Of layers of 8 units and more, kernels take 24 weights of 8, 4, 2 and 1 units at a time."""
    draw = np.random.default_rng(height)
    weights = [[Value(0.0) for _ in range(depth)] for _ in range(height)]
    x, factors = draw.normal(size=(rows, depth)), draw.normal(size=(rows, height))

    def function(row, factor):
        return sum(a * b for a, b in zip(F.linear(row, weights), factor))

    compile(function).backward(x, factors, block=256)
    found = [[w.grad for w in row] for row in weights]
    np.testing.assert_allclose(found, factors.T @ x / rows, rtol=1e-12, atol=1e-14)


def test_matrices_of_the_same_weights_add_to_the_same_gradients():
    draw = random.Random(3)
    w = [[Value(draw.gauss(0, 1)) for _ in range(3)] for _ in range(2)]
    b = [Value(draw.gauss(0, 1)) for _ in range(2)]

    def both(x, y):
        # The weights over other lanes, over lanes that want no gradient, and as a matrix of another shape.
        first = F.linear(x, w, b)
        second = F.linear([a * first[0] for a in y], w, b)
        flat = [*w[0], *w[1], b[0]]
        third = sum(a * c for a, c in zip(flat, [*x, *y, *x])) + b[1]
        return sum(a * a for a in (*first, *second, third))

    rows = [[draw.gauss(0, 1) for _ in range(3)] for _ in range(40)]
    others = [[draw.gauss(0, 1) for _ in range(3)] for _ in range(40)]
    parameters = [*w[0], *w[1], *b]
    compile(both).backward(rows, others)
    found = [p.grad for p in parameters]
    for p in parameters:
        p.grad = 0.0
    total = sum(both([*map(Value, x)], [*map(Value, y)]) for x, y in zip(rows, others)) / 40
    total.backward()
    assert found == pytest.approx([p.grad for p in parameters], rel=1e-12)
