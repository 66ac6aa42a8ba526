"""The calls of a compiled function that differentiate it: numbers, shapes, given arrays, refusals."""

import copy
import itertools
import pickle
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_program import FUNCTIONAL, assert_close, programs

import fastgrad.functional as F
from fastgrad import TracingError, Value, compile, derivatives, take
from fastgrad.engine import _reduce as reduce
from fastgrad.engine import apply
from fastgrad.nn import MLP
from fastgrad.operations import FUNCTIONS, REDUCTIONS, TABLE

# The rows whose operand is between -1 and 1.
BETWEEN_ONES = ("asin", "acos", "atanh")
POINTS = np.random.default_rng(5).normal(size=(6, 3)) + 0.1


def numbers(values):
    return np.array(values, dtype=float)


def second_order_agrees(function, X):
    """Compare every row's Hessian, and its products with tangents, with derivatives that are Values."""
    compiled = compile(function)
    expected = np.array([numbers(derivatives.hessian(function)(list(row))) for row in X])
    scale = max(1.0, np.abs(expected[np.isfinite(expected)]).max(initial=0.0))
    assert_close(compiled.hessian(X), expected, scale)
    tangents = np.cos(np.arange(X.size)).reshape(X.shape)
    products = (expected @ tangents[:, :, None])[:, :, 0]
    assert_close(compiled.hvp(X, tangents=tangents), products, 10 * scale)


# Numbers.


@pytest.mark.parametrize("row", [*TABLE, *FUNCTIONS], ids=lambda row: row.name)
def test_second_derivatives_of_every_row_of_the_table(row):
    def function(x):
        operands = [F.softplus(x[k]) + 0.3 * x[k - 1] + 0.5 for k in range(row.operands)]
        if row.name in BETWEEN_ONES:
            operands = [operand.tanh() for operand in operands]
        if row.name == "polygamma":
            operands[0] = Value(1.0)
        return apply(row.name, *operands) * x[0]

    second_order_agrees(function, np.abs(POINTS))


@pytest.mark.parametrize("reduction", REDUCTIONS, ids=lambda row: row.name)
def test_second_derivatives_of_every_reduction(reduction):
    second_order_agrees(lambda x: reduce(reduction.name, [x[0] * x[1], x[2].tanh(), x[0]]) ** 2, POINTS)


@pytest.mark.parametrize("name", [*F.__all__, "sum"])
def test_second_derivatives_of_every_function(name):
    second_order_agrees(FUNCTIONAL[name], np.random.default_rng(1).normal(size=(5, 4)))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs(), st.sampled_from([1, 9]))
def test_second_derivatives_of_random_functions(program, rows):
    builder, seed, count = program
    rng = np.random.default_rng(seed)
    parameters = [Value(v) for v in rng.normal(size=count)]
    function = builder.function(parameters)
    second_order_agrees(lambda x: function(x[:-1], x[-1]), rng.normal(size=(rows, builder.width + 1)))


def test_a_network_agrees_with_torch():
    torch = pytest.importorskip("torch")
    from torch.autograd.functional import hessian, jacobian

    model = MLP(2, [5, 1], activation="tanh")
    loss = compile(lambda x, y: (model(x) - y) ** 2)
    X, y = POINTS[:, :2].copy(), POINTS[:, 2].copy()
    loss(X, y)
    order = {id(p): k for k, p in enumerate(loss.parameters)}
    places = torch.tensor([order[id(p)] for p in model.parameters()])
    weights = torch.tensor([0.5, 1.0, 2.0, 0.0, 3.0, 0.25], dtype=torch.float64)

    def losses(theta, X, y):
        first, last = theta[places][:15].reshape(5, 3), theta[places][15:]
        hidden = torch.tanh(X @ first[:, :2].T + first[:, 2])
        return (hidden @ last[:5] + last[5] - y) ** 2

    def mean(theta):
        return (weights * losses(theta, TX, Ty)).sum() / weights.sum()

    T, TX, Ty = torch.tensor(loss.get_parameters()), torch.tensor(X), torch.tensor(y)
    by_parameters = {"argnums": "parameters"}
    of_mean = {**by_parameters, "reduction": "mean", "row_weights": weights.numpy()}
    close = partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-10)
    close(loss.jacobian(X, y, **by_parameters), jacobian(lambda theta: losses(theta, TX, Ty), T))
    for row, found in enumerate(loss.hessian(X, y, **by_parameters)):
        close(found, hessian(lambda theta: losses(theta, TX, Ty)[row], T))
    value, gradient = loss.value_and_grad(X, y, **of_mean)
    close(value, mean(T))
    close(gradient, jacobian(mean, T))
    expected = hessian(mean, T)
    close(loss.hessian(X, y, **of_mean), expected)
    v = torch.linspace(-1, 1, len(T), dtype=torch.float64)
    close(loss.hvp(X, y, tangents=v.numpy(), **of_mean), expected @ v)
    by_inputs = jacobian(lambda X, y: losses(T, X, y).sum(), (TX, Ty))
    for found, wanted in zip(loss.jacobian(X, y, argnums=(0, 1)), by_inputs, strict=True):
        close(found, wanted)


def test_many_outputs_agree_with_jax():
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)

    def trajectory(theta, sqrt):
        x, v, found = 1.0, 0.0, []
        for _ in range(20):
            v = v - 0.1 * (theta[0] * x + theta[1] * v)
            x = x + 0.1 * v * sqrt(theta[2])
            found += [x, v]
        return found

    theta = np.array([1.5, 0.3, 0.8])
    motion = compile(lambda theta: trajectory(theta, Value.sqrt), shared="theta")
    expected = jax.jacfwd(lambda theta: jax.numpy.stack(trajectory(theta, jax.numpy.sqrt)))(theta)
    np.testing.assert_allclose(motion.jacobian(theta), expected, rtol=1e-10)


def test_the_hessian_of_many_parameters_is_computed_by_columns_and_the_same(monkeypatch):
    model = MLP(2, [4, 1])
    loss = compile(lambda x: model(x) ** 2 + F.l2(model.parameters()))
    X = POINTS[:, :2]
    options = {"argnums": "parameters", "reduction": "sum"}
    whole = loss.hessian(X, **options)
    monkeypatch.setattr("fastgrad.compiler.differentiation.MOST_OF_HESSIAN", 0)
    np.testing.assert_allclose(loss.hessian(X, **options), whole, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(loss.hessian(X, argnums="parameters").sum(axis=0), whole, atol=1e-12)


def test_what_a_row_did_not_choose_counts_for_nothing_even_if_it_is_infinite():
    root = compile(lambda x, y: F.where(x, x.sqrt() * y, y))
    x, y = np.array([-1.0, 0.0, 4.0]), np.array([3.0, 5.0, 7.0])
    for outputs in (root, compile(lambda x, y: [F.where(x, x.sqrt() * y, y)] * 3)):
        value, (by_x, by_y) = outputs.value_and_grad(x, y, argnums=(0, 1))
        np.testing.assert_array_equal(value.reshape(3, -1)[:, 0], [3.0, 5.0, 14.0])
        np.testing.assert_array_equal(by_x.reshape(3, -1)[:, 0], [0.0, 0.0, 1.75])
        np.testing.assert_array_equal(by_y.reshape(3, -1)[:, 0], [1.0, 1.0, 2.0])
    np.testing.assert_array_equal(root.hessian(x, y), [0.0, 0.0, -7 / 32])
    np.testing.assert_array_equal(root.hvp(x, y, tangents=np.ones(3)), [0.0, 0.0, -7 / 32])
    scale = Value(2.0)
    mean = compile(lambda x: F.where(x, (scale * x).sqrt(), scale))
    value, gradient = mean.value_and_grad(x, argnums="parameters", reduction="sum")
    assert (value, gradient.tolist()) == (4.0 + 8.0**0.5, [2.0 + 8.0**-0.5 * 2])


def test_an_infinite_shared_number_that_a_row_did_not_choose():
    choice = compile(lambda s, x: F.where(x, (s * x).sqrt(), s[0] if isinstance(s, list) else s), shared="s")
    value, gradient = choice.value_and_grad(2.0, [-1.0, 0.0, 4.0], reduction="sum")
    assert (value, gradient) == (4.0 + 8.0**0.5, 2.0 + 8.0**-0.5 * 2)
    together = compile(lambda s, x: F.where(x, (s[0] * x).sqrt(), s[1]), shared="s")
    _, gradient = together.value_and_grad([2.0, 3.0], [-1.0, 0.0, 4.0], reduction="sum")
    np.testing.assert_allclose(gradient, [8.0**-0.5 * 2, 2.0])


@pytest.mark.parametrize("outputs", [1, 9])
def test_take_is_differentiated_to_every_order(outputs):
    table = [Value(0.5), Value(-1.0), Value(2.0)]
    index, X = np.array([2, 0, 0, 1]), np.linspace(0.5, 2.0, 8).reshape(4, 2)

    def function(x, i):
        chosen = take(table, i)
        return (chosen * x[0]).exp() * take(x, i) * chosen

    def eager(x, i):
        return function(x, int(i))

    compiled = compile(lambda x, i: [function(x, i)] * outputs)
    with pytest.raises(IndexError):
        compiled.jacobian(X, index)
    X = np.hstack([X, X[:, :1] ** 2])
    by_x = compiled.jacobian(X, index)
    by_table = compiled.jacobian(X, index, argnums="parameters")
    hessian = compiled.hessian(X, index)
    for row in range(4):
        expected = numbers(derivatives.jacobian(lambda x: eager(x, index[row]))(X[row]))
        assert_close(by_x[row], np.tile(expected, (outputs, 1)))
        expected = numbers(derivatives.hessian(lambda x: eager(x, index[row]))(X[row]))
        assert_close(hessian[row], np.tile(expected, (outputs, 1, 1)))
        slopes = numbers(derivatives.grad(eager([Value(v) for v in X[row]], index[row]), compiled.parameters))
        assert_close(by_table[row], np.tile(slopes, (outputs, 1)))


def test_an_index_is_in_range_even_where_the_derivatives_do_not_need_it():
    function = compile(lambda i, x, y: take([W[0], W[1]], i) + x * y)
    for call in (function.jacobian, function.hessian, partial(function.hvp, tangents=[1.0])):
        assert call([1], [2.0], [3.0], argnums=1).shape == (1,)
        with pytest.raises(IndexError, match=r"i\[0\] is 2: take\(\) has 2 values"):
            call([2], [2.0], [3.0], argnums=1)


@pytest.mark.parametrize("rows", [None, 0, 5])
def test_input_gradients_of_many_outputs_are_those_of_each(rows):
    def function(x, y, i, n):
        a, b = (x[0], x[1]) if isinstance(x, list) else (x, x * 2.0)
        return [a * y, F.where(a, b * n, y), take([a, y], i), a**2, b.exp() * y * n]

    rng = np.random.default_rng(2)
    x, y, i, n = (
        (0.5, -0.25, 1, 3.0)
        if rows is None
        else (rng.normal(size=(rows, 2)), rng.normal(size=rows), np.arange(rows) % 2, 3.0)
    )
    found = compile(function).input_gradients(x, y, i, n)
    for place in range(5):
        one = compile(lambda *given: function(*given)[place]).input_gradients(x, y, i, n)
        for many, single in zip(found, one, strict=True):
            assert (many is None) == (single is None)
            if many is not None:
                np.testing.assert_allclose(many[place], single, rtol=1e-14, atol=1e-14)


def test_forward_mode_carries_only_the_tangents_that_reach_a_number():
    def squares(x):
        return [each.sin() * each for each in x]

    compiled = compile(squares)
    found = compiled.jacobian(np.ones((3, 40)))
    np.testing.assert_allclose(found[1], np.eye(40) * (np.cos(1.0) + np.sin(1.0)))
    derived = compiled.latest.derived(("jacobian", (tuple((0, k) for k in range(40)),), False))
    # sin, cos, a product and a sum for each of 40 outputs.
    assert derived.size <= 40 * 7 + 1


def test_the_derivatives_of_one_output_by_all_parameters_are_one_pass():
    model = MLP(8, [16, 16, 1], activation="tanh")
    loss = compile(lambda x: model(x) ** 2)
    loss.jacobian(np.ones((2, 8)), argnums="parameters")
    program = loss.latest
    columns = tuple((-1, k) for k in range(len(program.parameters)))
    derived = program.derived(("jacobian", (columns,), False))
    assert derived.size < 3 * len(columns)


def test_the_hessian_of_rosenbrock_is_as_short_as_by_hand():
    rosenbrock = compile(lambda x: (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2, shared="x")
    np.testing.assert_array_equal(rosenbrock.hessian([1.0, 2.0]), [[402.0, -400.0], [-400.0, 200.0]])
    assert "6 instructions once a batch" in str(rosenbrock.latest.derived(("hessian", (((0, 0)), ((0, 1))))))


# Shapes.

W = [Value(0.5), Value(-2.0), Value(1.5)]
SINGLE = {"single": lambda s, n, c, x: s[0] * c + s[1] * x[0] * x[1] + W[0] * W[1] * n * x[2] + W[2]}
FUNCTION = {**SINGLE, "list": lambda s, n, c, x: [SINGLE["single"](s, n, c, x), c * n]}
ARGNUMS = {0: (2,), 1: (), 2: (), 3: (3,), "x": (3,), -1: (3,), "parameters": (3,)}


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("kind", FUNCTION)
@pytest.mark.parametrize("argnums", ARGNUMS)
def test_shapes_by_row(kind, argnums, rows):
    function = compile(FUNCTION[kind], shared="s")
    arguments = [1.0, 2.0], 3.0, np.ones(rows), np.ones((rows, 3))
    k = () if kind == "single" else (2,)
    d = ARGNUMS[argnums]
    value, slopes = function.value_and_grad(*arguments, argnums=argnums)
    assert value.shape == (rows, *k)
    assert slopes.shape == (rows, *k, *d)
    assert function.jacobian(*arguments, argnums=argnums).shape == (rows, *k, *d)
    assert function.hessian(*arguments, argnums=argnums).shape == (rows, *k, *d, *d)
    by_row = argnums in (2, 3, "x", -1)
    tangents = np.ones((rows, *d) if by_row else d)
    assert function.hvp(*arguments, tangents=tangents, argnums=argnums).shape == (rows, *k, *d)


@pytest.mark.parametrize("kind", FUNCTION)
@pytest.mark.parametrize("argnums", [0, 1, "parameters"])
def test_shapes_of_a_reduction(kind, argnums):
    function = compile(FUNCTION[kind], shared="s")
    arguments = [1.0, 2.0], 3.0, np.ones(5), np.ones((5, 3))
    k, d = () if kind == "single" else (2,), ARGNUMS[argnums]
    options = {"argnums": argnums, "reduction": "sum"}
    value, slopes = function.value_and_grad(*arguments, **options)
    assert np.shape(value) == k
    assert np.shape(slopes) == (*k, *d)
    assert np.shape(function.hessian(*arguments, **options)) == (*k, *d, *d)
    assert np.shape(function.hvp(*arguments, tangents=np.ones(d), **options)) == (*k, *d)
    np.testing.assert_allclose(slopes, function.jacobian(*arguments, argnums=argnums).sum(axis=0))


def test_without_rows_single_numbers_are_floats():
    cube = compile(lambda a, b: a**3 * b)
    assert cube.value_and_grad(2.0, 5) == (40.0, 60.0)
    assert cube.value_and_grad(2.0, 5, argnums=(1, 0)) == (40.0, (8.0, 60.0))
    assert cube.jacobian(2.0, 5, argnums=(0,)) == (60.0,)
    assert cube.hessian(2.0, 5) == 60.0
    assert cube.hessian(2.0, 5, argnums=(1, 0)) == ((0.0, 12.0), (12.0, 60.0))
    assert cube.hvp(2.0, 5, tangents=3) == 180.0
    assert [type(each) for each in cube.value_and_grad(2.0, 5)] == [float, float]


def test_numbers_given_as_xs_are_one_array():
    model = compile(lambda t, *theta: theta[0] * (-theta[1] * t).exp() + theta[2])
    t = np.linspace(0.0, 1.0, 4)
    found = model.jacobian(t, 2.0, 0.5, 1.0, argnums="theta")
    np.testing.assert_allclose(found, np.stack([np.exp(-t / 2), -2 * t * np.exp(-t / 2), np.ones(4)], axis=1))
    assert model.jacobian(t, 2.0, 0.5, 1.0, argnums=2).shape == (4,)
    hessian = model.hessian(t, 2.0, 0.5, 1.0, argnums="theta", reduction="sum")
    assert hessian.shape == (3, 3)
    np.testing.assert_allclose(
        model.hvp(t, 2.0, 0.5, 1.0, argnums="theta", reduction="sum", tangents=[1.0, 2.0, 0.0]),
        hessian @ [1.0, 2.0, 0.0],
    )
    columns = compile(lambda *xs: xs[0] * xs[1])
    assert columns.jacobian(t, t, argnums="xs").tolist() == np.stack([t, t], axis=1).tolist()


def test_without_rows_or_parameters_there_is_nothing():
    square = compile(lambda x: x * x)
    value, slopes = square.value_and_grad(np.ones(0))
    assert value.shape == slopes.shape == (0,)
    assert square.hessian(np.ones(0)).shape == (0,)
    assert square.jacobian(np.ones(3), argnums="parameters").shape == (3, 0)
    assert square.value_and_grad(np.ones(3), argnums="parameters", reduction="sum")[1].shape == (0,)
    assert square.get_parameters().shape == (0,)
    scaled = compile(lambda x: W[0] * x * x)
    value, slopes = scaled.value_and_grad(np.ones(0), argnums="parameters", reduction="sum")
    assert (value, slopes.tolist()) == (0.0, [0.0])
    with pytest.raises(ValueError, match="has no mean output: its arguments have no rows"):
        scaled.value_and_grad(np.ones(0), argnums="parameters", reduction="mean")
    with pytest.raises(ValueError, match="has no mean output"):
        scaled.hessian(np.ones(0), argnums="parameters", reduction="mean")


def test_nan_stays_in_its_row():
    square = compile(lambda x: x.log() * x)
    value, slopes = square.value_and_grad([np.nan, 1.0, 0.0])
    np.testing.assert_array_equal(value, [np.nan, 0.0, np.nan])
    np.testing.assert_array_equal(slopes, [np.nan, 1.0, np.nan])
    np.testing.assert_array_equal(square.hessian([np.nan, 2.0]), [np.nan, 0.5])


# Parameters, reductions, weights.


def test_parameters_go_in_and_out_as_one_array():
    a, b = Value(1.0), Value(2.0)
    line = compile(lambda x: a * x + b)
    with pytest.raises(ValueError, match="theta is 2 numbers, but there are 0 parameters"):
        line.set_parameters([1.0, 2.0])
    line([0.0])
    assert line.get_parameters().tolist() == [1.0, 2.0]
    line.set_parameters(np.array([5.0, 0.0, 7.0, 0.0])[::2])
    assert (a.data, b.data) == (5.0, 7.0)
    line.set_parameters([3, 4])
    assert line([1.0]) == [7.0]
    for theta in (1.0, [1.0], np.ones((2, 1))):
        with pytest.raises(ValueError, match="theta"):
            line.set_parameters(theta)
    with pytest.raises(TypeError, match="theta must be numbers"):
        line.set_parameters(["a", "b"])
    assert line.get_parameters().tolist() == [3.0, 4.0]


def test_parameters_that_only_another_signature_reads_have_derivative_0():
    a, b = Value(2.0), Value(3.0)
    function = compile(lambda x: a * x[0] * x[1] if isinstance(x, list) else b * x)
    function([[1.0, 2.0]])
    function([1.0])
    assert function.jacobian([4.0], argnums="parameters").tolist() == [[0.0, 4.0]]
    value, slopes = function.value_and_grad([[1.0, 2.0]], argnums="parameters", reduction="sum")
    assert (value, slopes.tolist()) == (4.0, [2.0, 0.0])


@pytest.mark.parametrize("weights", [None, [1.0, 0.0, 3.0]])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_backward_reduces_as_it_is_told(reduction, weights):
    p = Value(2.0)
    function = compile(lambda x: [p * x, p * p])
    x = np.array([1.0, 2.0, 5.0])
    expected = np.average(x, weights=weights)
    if reduction == "sum":
        expected = np.average(x, weights=weights) * (3 if weights is None else 4)
    count = {"mean": 1, "sum": 3 if weights is None else 4}[reduction]
    found = function.backward(x, reduction=reduction, row_weights=weights)
    np.testing.assert_allclose(found, [2 * expected, 4 * count])
    assert p.grad == pytest.approx(expected + 4 * count)


def test_a_parameter_of_the_functions_own_is_not_an_option():
    p = Value(2.0)
    weighted = compile(lambda x, row_weights: p * x * row_weights)
    assert weighted.backward([1.0, 3.0], row_weights=[1.0, 2.0]) == 7.0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"reduction": "max"}, ValueError, "reduction is 'mean' or 'sum', not 'max'"),
        ({"row_weights": [1.0, 2.0]}, ValueError, "row_weights are for a reduction"),
        ({"reduction": "mean", "row_weights": [1.0]}, ValueError, "row_weights has 1 rows and x has 2"),
        ({"reduction": "mean", "row_weights": 1.0}, ValueError, "must be an array"),
        ({"reduction": "mean", "row_weights": [[1.0, 2.0]]}, ValueError, "must be an array"),
        ({"reduction": "mean", "row_weights": ["a", "b"]}, TypeError, "row_weights must be numbers"),
        ({"reduction": "mean", "row_weights": [1.0, -1.0]}, ZeroDivisionError, "sum of row_weights is 0"),
        ({"reduction": "mean", "argnums": 0}, ValueError, "x differs by row"),
        ({"argnums": 3}, ValueError, "argnums is 3, but .* has 2 arguments"),
        ({"argnums": "z"}, ValueError, "has no argument 'z'"),
        ({"argnums": 1.5}, TypeError, "argnums are numbers and names of arguments, not 1.5"),
        ({"argnums": [[]]}, TypeError, "argnums are numbers and names"),
        ({"argnums": (0, 0)}, ValueError, "one argument twice"),
        ({"argnums": (0, "x")}, ValueError, "one argument twice"),
        ({"argnums": ()}, ValueError, "argnums are empty"),
        ({"argnums": 1}, TypeError, "i has integers, by which there is no derivative"),
        ({"threads": 0}, ValueError, "threads"),
        ({"weights": 0}, TypeError, "weights"),
    ],
)
@pytest.mark.parametrize("call", ["value_and_grad", "jacobian"])
def test_options_that_are_wrong_are_refused_in_words(call, options, error, message):
    function = compile(lambda x, i: x * x * W[0])
    with pytest.raises(error, match=message):
        getattr(function, call)([1.0, 2.0], [0, 1], **{"argnums": "parameters", **options})


def test_a_product_with_the_hessian_is_by_one_argument():
    function = compile(lambda x, y: x * y)
    with pytest.raises(TypeError, match="is by one argument"):
        function.hvp([1.0], [2.0], argnums=(0, 1), tangents=[1.0])


@pytest.mark.parametrize("outputs", [1, 2])
def test_the_hessian_by_several_arguments_has_the_mixed_derivatives(outputs):
    def value(x, y):
        return (x[0] * W[0] + x[1] * y) ** 3

    function = compile(value if outputs == 1 else lambda x, y: [value(x, y), x[0] * y])
    x, y = np.array([[1.0, 2.0], [3.0, -4.0]]), np.array([5.0, 6.0])
    joined = compile(lambda z: value(z[:2], z[2]) if outputs == 1 else [value(z[:2], z[2]), z[0] * z[2]])
    whole = joined.hessian(np.column_stack([x, y]))
    found = function.hessian(x, y, argnums=(1, "x"))
    for block, expected in zip(
        itertools.chain(*found),
        [whole[..., 2, 2], whole[..., 2, :2], whole[..., :2, 2], whole[..., :2, :2]],
        strict=True,
    ):
        assert block.shape == expected.shape
        np.testing.assert_allclose(block, expected, rtol=1e-13)


def test_the_hessian_by_several_arguments_takes_no_array():
    with pytest.raises(ValueError, match="out is for a Hessian by one argument"):
        product_of_two().hessian([1.0], [2.0], argnums=(0, 1), out=np.zeros((1, 2, 2)))


@pytest.mark.parametrize("tangents", [1.0, [1.0], [[1.0, 2.0]], [1.0, 2.0, 3.0], [[[1.0]]]])
def test_tangents_have_the_shape_of_what_they_are_tangents_of(tangents):
    function = compile(lambda x: x[0] * x[1])
    with pytest.raises(ValueError, match=r"shape of what they are tangents of, \(N, 2\)|rows|dimensions"):
        function.hvp([[1.0, 2.0]] * 3, tangents=tangents)


def test_options_of_a_function_that_is_traced():
    inner = compile(lambda x: x * x)
    for call in ("value_and_grad", "jacobian", "hessian"):
        with pytest.raises(TracingError, match=f"{call} has no place"):
            compile(lambda x: getattr(inner, call)(x))([1.0])


# Arrays given by `out=`.


def product_of_two():
    return compile(lambda x, y: x * y * W[0])


@pytest.mark.parametrize("step", [1, 2, -1, -3])
def test_given_arrays_are_filled_whatever_their_strides(step):
    function, x, y = product_of_two(), np.arange(4.0), np.arange(4.0) + 1
    value, by_x, by_y = (np.full(4 * abs(step), 7.0)[::step] for _ in range(3))
    found = function.value_and_grad(x, y, argnums=(0, 1), out=(value, (by_x, by_y)))
    assert found[0] is value
    assert found[1][0] is by_x
    np.testing.assert_array_equal(value, x * y / 2)
    np.testing.assert_array_equal(by_x, y / 2)
    np.testing.assert_array_equal(by_y, x / 2)
    if abs(step) > 1:
        assert (value.base.reshape(-1) == 7.0).sum() >= 4 * (abs(step) - 1)


def test_out_may_be_given_in_part():
    function, x, y = product_of_two(), np.arange(4.0), np.arange(4.0) + 1
    slopes = np.empty(4)
    assert function.value_and_grad(x, y, out=(None, slopes))[1] is slopes
    assert function.value_and_grad(x, y, argnums=(0, 1), out=(None, (slopes, None)))[1][0] is slopes
    assert function.jacobian(x, y, out=slopes) is slopes
    assert function.hessian(x, y, out=slopes) is slopes
    assert function.hvp(x, y, tangents=x, out=slopes) is slopes
    parameters = np.empty((1, 1)).T
    assert function.hessian(x, y, argnums="parameters", reduction="sum", out=parameters) is parameters
    single = np.empty(())
    assert function.jacobian(1.0, 3.0, out=single) is single
    assert single == 1.5
    wide = np.empty((4, 2))
    both = compile(lambda x: [x, x * x])
    both.jacobian(x, out=wide[:, ::-1])
    np.testing.assert_array_equal(wide, np.stack([2 * x, np.ones(4)], axis=1))


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_given_arrays_may_be_the_arguments(shift):
    function = compile(lambda x, y: x * y)
    memory = np.arange(2002.0)
    x, out = memory[:2000], memory[shift : shift + 2000]
    expected = x.copy() * 3
    function.value_and_grad(x, 3.0, out=(out, None))
    np.testing.assert_array_equal(out, expected)
    function.hvp(x, 3.0, tangents=np.ones(2000), out=x)
    np.testing.assert_array_equal(x, np.zeros(2000))


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.empty(4, dtype=np.float32), TypeError, "array of float64"),
        (np.empty(4, dtype=int), TypeError, "array of float64"),
        (np.empty(3), ValueError, r"out has shape \(3,\), but the result \(4,\)"),
        (np.empty((4, 1)), ValueError, "shape"),
        ([0.0] * 4, TypeError, "out must be an array of float64 that can be written, not a list"),
        (bytes(32), ValueError, "can be written"),
        (np.broadcast_to(np.empty(1), (4,)), ValueError, "can be written"),
        (np.lib.stride_tricks.as_strided(np.empty(1), (4,), (0,)), ValueError, "one place for several"),
        (np.frombuffer(bytearray(40), np.uint8)[1:33].view(np.float64), ValueError, "address"),
    ],
)
def test_arrays_that_cannot_be_filled_are_refused(out, error, message):
    function, x = product_of_two(), np.arange(4.0)
    with pytest.raises(error, match=message):
        function.jacobian(x, x, out=out)


def test_two_results_need_two_arrays():
    function, x = product_of_two(), np.arange(4.0)
    memory = np.empty(6)
    with pytest.raises(ValueError, match="out has two arrays that share memory"):
        function.value_and_grad(x, x, out=(memory[:4], memory[2:]))
    with pytest.raises(TypeError, match="out is"):
        function.value_and_grad(x, x, out=memory)
    with pytest.raises(TypeError, match="for each of 2 argnums"):
        function.value_and_grad(x, x, argnums=(0, 1), out=(None, memory))
    with pytest.raises(ValueError, match="value of a reduction is a number"):
        function.value_and_grad(x, x, argnums="parameters", reduction="sum", out=(memory, None))


# Arguments that all rows share.


def test_a_shared_argument_is_a_list_of_values_or_one():
    line = compile(lambda theta, x: theta[0] * x + theta[1], shared="theta")
    x = np.arange(3.0)
    assert line([2.0, 1.0], x).tolist() == [1.0, 3.0, 5.0]
    assert line((2, 1), x).tolist() == [1.0, 3.0, 5.0]
    assert line(np.array([2.0, 9.0, 1.0, 9.0])[::2], x).tolist() == [1.0, 3.0, 5.0]
    by_theta, by_x = line.input_gradients([2.0, 1.0], x)
    assert by_theta.tolist() == [[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]]
    assert by_x.tolist() == [2.0, 2.0, 2.0]
    assert line.backward([2.0, 1.0], x) == 3.0
    scale = compile(lambda s, x: s * x, shared=["s"])
    assert scale(2.0, x).tolist() == [0.0, 2.0, 4.0]
    assert scale.jacobian(2.0, x).tolist() == [0.0, 1.0, 2.0]
    with pytest.raises(ValueError, match="theta is shared by all rows: it must be a number or have one"):
        line([[2.0, 1.0]], x)


def test_what_is_shared_alone_is_computed_once():
    function = compile(lambda theta, x: (theta[0] * theta[1]).exp() * x, shared="theta")
    function([1.0, 2.0], [3.0])
    assert "2 instructions once a batch" in str(function)
    assert "theta: 2 numbers" in str(function)
    assert "mul theta[0], theta[1]" in str(function)


@pytest.mark.parametrize(
    ("shared", "message"),
    [
        ("z", "has no argument 'z' that rows could share"),
        (3, "shared is the name of an argument"),
        ([3], "shared is the name"),
        ("xs", "cannot be shared"),
    ],
)
def test_only_arguments_are_shared(shared, message):
    with pytest.raises(TypeError, match=message):
        compile(lambda x, *xs: x, shared=shared)


def test_shared_arguments_survive_copies_and_pickles():
    function = compile(weighted_sum, shared="w")
    expected = function([1.0, 2.0], [[3.0, 4.0]]).tolist()
    for other in (copy.copy(function), copy.deepcopy(function), pickle.loads(pickle.dumps(function))):
        assert other([1.0, 2.0], [[3.0, 4.0]]).tolist() == expected
        assert other.jacobian([1.0, 2.0], [[3.0, 4.0]]).tolist() == [[3.0, 4.0]]
    program = pickle.loads(pickle.dumps(function.latest))
    assert program.signature == function.latest.signature


def weighted_sum(w, x):
    return w[0] * x[0] + w[1] * x[1]


def test_a_function_that_was_unpickled_with_its_parameters_differentiates():
    w = Value(3.0)
    function = compile(lambda x: w * x * x)
    function([1.0])
    other = pickle.loads(pickle.dumps(function))
    assert other.hessian([1.0, 2.0]).tolist() == [6.0, 6.0]
    assert other.jacobian([1.0, 2.0], argnums="parameters").tolist() == [[1.0], [4.0]]


class Model:
    def __init__(self, scale):
        self.scale = Value(scale)

    @compile
    def loss(self, x):
        return self.scale * x * x

    @partial(compile, shared="theta")
    def line(self, theta, x):
        return theta[0] * x + self.scale


def test_compiled_methods_differentiate():
    model = Model(2.0)
    assert model.loss.value_and_grad([3.0]) == ([18.0], [12.0])
    assert Model.loss.jacobian(model, [3.0], argnums="parameters").tolist() == [[9.0]]
    assert Model.loss.backward(model, [3.0, 1.0], reduction="sum") == 20.0
    assert model.line.jacobian([1.0], [3.0]).tolist() == [[3.0]]
    assert pickle.loads(pickle.dumps(model)).line([1.0], [3.0]).tolist() == [5.0]


# Options, threads, interrupts.


def test_no_number_of_threads_changes_a_bit():
    model = MLP(2, [8, 1])
    loss = compile(lambda x, y: (model(x) - y) ** 2)
    X, y = np.random.default_rng(0).normal(size=(30_000, 2)), np.zeros(30_000)
    weights = np.linspace(0, 1, 30_000)
    options = {"argnums": "parameters", "reduction": "mean", "row_weights": weights}
    seen = set()
    for threads in (1, 2, 3):
        results = [
            loss.jacobian(X, y, argnums="parameters", threads=threads),
            loss.value_and_grad(X, y, threads=threads, **options)[1],
            loss.hvp(X, y, tangents=np.ones(33), threads=threads, **options),
            loss.hessian(X, y, threads=threads, **options),
        ]
        seen.add(b"".join(result.tobytes() for result in results))
    assert len(seen) == 1


def test_strict_looks_at_derivatives_first():
    root = compile(lambda x: x.sqrt(), strict=True)
    with pytest.raises(FloatingPointError, match="row 1"):
        root.value_and_grad([1.0, 0.0])
    assert root.hessian([1.0]).tolist() == [-0.25]


@pytest.mark.parametrize(
    ("call", "place"),
    [
        (lambda f: f.hessian([1.0, 0.0], strict=True), r"hessian\[1\] is inf"),
        (lambda f: f.hvp([1.0, 0.0], tangents=[1.0, 1.0], strict=True), r"hvp\[1\] is inf"),
        (lambda f: f.hessian(0.0, strict=True), "hessian is inf"),
    ],
)
def test_strict_refuses_second_derivatives_that_are_not_finite(call, place):
    with pytest.raises(FloatingPointError, match=place):
        call(compile(lambda x: x**1.5))


def test_a_program_knows_which_derivatives_it_has():
    with pytest.raises(ValueError, match="no derivatives"):
        product_of_two_program().derived(("laplacian", ()))
    with pytest.raises(ValueError, match="no derivatives"):
        product_of_two_program().derived(("tangent", ((0, 0),)))


def product_of_two_program():
    function = product_of_two()
    function([1.0], [2.0])
    return function.latest


def test_an_interrupt_ends_the_making_of_derivatives(alarm):
    def long(x):
        for _ in range(3000):
            x = [a * b.tanh() + 1.0 for a, b in zip(x, x[1:] + x[:1], strict=True)]
        return x

    function = compile(long)
    X = np.ones((1, 8))
    function(X)

    def handler(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), alarm(handler, 0.02):
        function.latest.derived(("hessian", tuple((0, k) for k in range(8))))
    assert function(X).shape == (1, 8)


def test_an_index_out_of_range_is_refused_where_there_is_nothing_to_compute():
    chosen = compile(lambda i: take([-1.0], i) ** -i)
    with pytest.raises(IndexError):
        chosen.jacobian([1, 1], argnums="parameters")
    assert chosen.jacobian([0, 0], argnums="parameters").shape == (2, 0)


def test_columns_among_arguments_of_one_array_are_refused():
    function = compile(lambda *theta: theta[0][0] * theta[1])
    with pytest.raises(ValueError, match=r"theta\[0\] has columns: choose it alone"):
        function.jacobian(np.ones((3, 2)), np.ones(3), argnums="theta")


def test_derivatives_by_several_may_be_new_beside_a_given_value():
    out = np.empty(2)
    product = compile(lambda x, y: x * y)
    value, (dx, dy) = product.value_and_grad([1.0, 2.0], [3.0, 4.0], argnums=(0, 1), out=(out, None))
    assert value is out
    assert (out.tolist(), dx.tolist(), dy.tolist()) == ([3.0, 8.0], [3.0, 4.0], [1.0, 2.0])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("layout", ["side by side", "in the middle of a line", "with gaps", "by column"])
def test_outputs_that_no_cache_holds(layout, threads):
    """They are copied in whole lines where rows have no gaps; 200,001 rows fill no last block."""
    rows = 200_001
    x = np.random.default_rng(5).normal(size=(rows, 2))
    gradient = {
        "side by side": lambda: np.zeros((rows, 3, 4)),
        "in the middle of a line": lambda: np.zeros(12 * rows + 1)[1:].reshape(rows, 3, 4),
        "with gaps": lambda: np.zeros((rows, 3, 5))[:, :, :4],
        "by column": lambda: np.zeros((3, 4, rows)).transpose(2, 0, 1),
    }[layout]()
    function = compile(lambda x, c: [x[0] * x[1] * c[0], x[1] * c[1] + c[2], c[3] * 2.0])
    columns = np.ones((rows, 4)) * np.arange(1.0, 5.0)
    function.jacobian(x, columns, argnums=1, out=gradient, threads=threads)
    expected = np.zeros((rows, 3, 4))
    expected[:, 0, 0], expected[:, 1, 1], expected[:, 1, 2], expected[:, 2, 3] = (
        x[:, 0] * x[:, 1],
        x[:, 1],
        1,
        2,
    )
    np.testing.assert_array_equal(gradient, expected)
    if layout == "with gaps":
        assert not gradient.base[:, :, 4].any()


def test_derivatives_that_are_the_same_in_every_row_are_stored_with_the_others():
    function = compile(lambda x: (x[0] * x[1]).sin() + 3.0 * x[3] * x[3])
    found = function.hessian(np.ones((5, 10)))
    assert found.shape == (5, 10, 10)
    expected = np.zeros((10, 10))
    expected[:2, :2] = -np.sin(1.0)
    expected[0, 1] = expected[1, 0] = np.cos(1.0) - np.sin(1.0)
    expected[3, 3] = 6.0
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), rtol=1e-14)
