"""Calls that differentiate go through loops: their results are those of the same program, unrolled."""

import pickle
from functools import partial

import numpy as np
import pytest

import fastgrad.functional as F
from evidence.compiled import assert_close as assert_close_to
from evidence.loop_programs import PROGRAMS, W
from fastgrad import Value, compile, grad, scan, take
from fastgrad.compiler import scanning

RNG = np.random.default_rng(1)
ROWS = 3
X, U = RNG.normal(size=ROWS), RNG.normal(size=(ROWS, 4))
ARGNUMS = [0, 1, "parameters", (1, "parameters", 0)]
assert_close = partial(assert_close_to, tolerance=1e-11)


@pytest.fixture
def unrolled(monkeypatch):
    """Compile a function with its loops unrolled, and make this call."""

    def of(function, call):
        with monkeypatch.context() as patched:
            patched.setattr(scanning, "traced", scanning.repeated)
            compiled = compile(function)
            # The parameters in the order of the loop's, not of their first use.
            compiled(X, U)
            return call(compiled)

    return of


def many(function):
    """The same with several outputs: more than W has parameters."""
    return lambda x, u: [function(x, u) * x, x * u[1], function(u[0], u[::-1]), function(x, u), W[2] * 1.0]


def few(function):
    """The same with two outputs: fewer than W has parameters."""
    return lambda x, u: [function(x, u), function(u[1], u) * W[0]]


def in_order_of_w(compiled, found):
    """Derivatives by parameters, which follow the order of their first use, in the order of W."""
    places = [[p is w for p in compiled.parameters].index(True) for w in W if w in compiled.parameters]
    return found[..., places]


@pytest.mark.parametrize("outputs", [lambda f: f, few, many], ids=["one", "few", "many"])
@pytest.mark.parametrize("argnums", ARGNUMS, ids=str)
@pytest.mark.parametrize("function", PROGRAMS, ids=lambda f: f.__name__)
def test_value_and_grad_of_every_row(function, argnums, outputs, unrolled):
    def call(compiled):
        value, slopes = compiled.value_and_grad(X, U, argnums=argnums)
        slopes = slopes if isinstance(slopes, tuple) else (slopes,)
        names = argnums if isinstance(argnums, tuple) else (argnums,)
        return value, *[
            in_order_of_w(compiled, slope) if name == "parameters" else slope
            for name, slope in zip(names, slopes, strict=True)
        ]

    compiled = compile(outputs(function))
    compiled(X, U)
    assert_close(call(compiled), unrolled(outputs(function), call))


@pytest.mark.parametrize("argnums", [0, 1, "parameters"])
@pytest.mark.parametrize("outputs", [lambda f: f, few], ids=["one", "few"])
@pytest.mark.parametrize("function", PROGRAMS, ids=lambda f: f.__name__)
def test_second_derivatives_of_every_row(function, argnums, outputs, unrolled):
    def call(compiled):
        hessian = compiled.hessian(X, U, argnums=argnums)
        count = hessian.shape[-1]
        shape = {0: (ROWS,), 1: (ROWS, 4)}.get(argnums, (count,))
        tangents = np.linspace(1.0, 2.0, count if argnums == "parameters" else np.prod(shape)).reshape(shape)
        if argnums == "parameters":
            order = np.argsort([[p is w for w in W].index(True) for p in compiled.parameters])
            tangents[order] = np.linspace(1.0, 2.0, count)
            hessian = in_order_of_w(compiled, hessian)
            hessian = in_order_of_w(compiled, np.swapaxes(hessian, -1, -2))
        product = compiled.hvp(X, U, tangents=tangents, argnums=argnums)
        return hessian, in_order_of_w(compiled, product) if argnums == "parameters" else product

    assert_close(call(compile(outputs(function))), unrolled(outputs(function), call))


@pytest.mark.parametrize("weights", [None, np.array([1.0, 0.0, 2.5])], ids=["even", "weighted"])
@pytest.mark.parametrize("outputs", [lambda f: f, few, many], ids=["one", "few", "many"])
@pytest.mark.parametrize("function", PROGRAMS, ids=lambda f: f.__name__)
def test_reductions(function, outputs, weights, unrolled):
    options = {"argnums": "parameters", "reduction": "mean", "row_weights": weights}

    def call(compiled):
        value, slopes = compiled.value_and_grad(X, U, **options)
        hessian = in_order_of_w(compiled, compiled.hessian(X, U, **options))
        product = compiled.hvp(X, U, tangents=np.ones(len(compiled.parameters)), **options)
        return (
            value,
            in_order_of_w(compiled, slopes),
            in_order_of_w(compiled, np.swapaxes(hessian, -1, -2)),
            in_order_of_w(compiled, product),
        )

    compiled = compile(outputs(function))
    compiled(X, U)
    assert_close(call(compiled), unrolled(outputs(function), call))


# Indices, arrays of the caller, many steps.


def chosen_by_index(x, u, i):
    """A step that selects by an index from its own loop, and one within it from the argument."""

    def step(state, each):
        value, index = each
        inner, _ = scan(lambda s, k: (s * k + value, None), state, [x, take([x, value, 2.0], index)])
        return inner, inner * x

    state, ys = scan(step, x, (u, i))
    return [state, ys[1] * W[0]]


@pytest.mark.parametrize("argnums", [0, 1, "parameters"])
def test_a_step_may_select(argnums, monkeypatch):
    i = RNG.integers(0, 3, size=(ROWS, 4))

    def call(compiled):
        return (
            compiled.jacobian(X, U, i, argnums=argnums),
            compiled.hessian(X, U, i, argnums=argnums),
            compiled.jacobian(X, U, i, argnums="parameters", reduction="sum"),
        )

    with_loops = call(compile(chosen_by_index))
    monkeypatch.setattr(scanning, "traced", scanning.repeated)
    assert_close(with_loops, call(compile(chosen_by_index)))


def ode(theta, x):
    """Forty outputs of an oscillator by four numbers that all rows share."""

    def step(state, _):
        y, v = state
        a = -theta[0] * y - theta[1] * v + theta[2] * (theta[3] * y).sin()
        return (y + 0.05 * v, v + 0.05 * a), (y, v)

    _, (ys, vs) = scan(step, (x, x * 0.5), None, 20)
    return [*ys, *vs]


def test_more_outputs_than_columns_are_one_loop_in_forward_mode():
    compiled = compile(ode, shared="theta")
    theta = np.array([1.0, 0.2, 0.3, 0.7])
    found = compiled.jacobian(theta, X)
    step = 1e-6
    expected = [
        (compiled(theta + step * e, X) - compiled(theta - step * e, X)) / (2 * step) for e in np.eye(4)
    ]
    assert found.shape == (ROWS, 40, 4)
    assert np.allclose(found, np.moveaxis(expected, 0, -1), atol=1e-8)


@pytest.mark.parametrize("outputs", [lambda f: f, few, many], ids=["one", "few", "many"])
def test_given_arrays_are_filled(outputs):
    compiled = compile(outputs(PROGRAMS[3]))
    value, slope = compiled.value_and_grad(X, U, argnums=1)
    out = np.full(value.shape, np.nan), np.full(slope.shape[::-1], np.nan).T
    found = compiled.value_and_grad(X, U, argnums=1, out=out)
    assert found[0] is out[0]
    assert found[1] is out[1]
    assert_close(found, (value, slope))
    hessian = compiled.hessian(X, U, argnums=1)
    array = np.full(hessian.shape, np.nan)
    assert compiled.hessian(X, U, argnums=1, out=array) is array
    assert_close(array, hessian)


def nested(x, u):
    def step(state, each):
        return scan(lambda s, z: (0.5 * s + z * each * W[0] + u[1] * x, None), state, u[::-1])[0], None

    return scan(step, x, u)[0]


@pytest.mark.parametrize("argnums", ["u", ("u", "parameters")])
@pytest.mark.parametrize("outputs", [lambda f: f, few], ids=["one", "few"])
@pytest.mark.parametrize("function", [*PROGRAMS, nested], ids=lambda f: f.__name__)
def test_what_all_rows_share_may_be_the_input_of_a_loop(function, outputs, argnums):
    """The derivative by a shared number is the sum over the rows, as if each row had a number of its own."""
    function = outputs(function)
    names = argnums if isinstance(argnums, tuple) else (argnums,)
    shared, by_rows = compile(lambda x, u: function(x, u), shared="u"), compile(lambda x, u: function(x, u))
    weights = np.array([0.5, 2.0, 1.5])
    rows = np.broadcast_to(U[0], U.shape)
    value, slopes = shared.value_and_grad(X, U[0], argnums=names, reduction="sum", row_weights=weights)
    hessian = shared.hessian(X, U[0], argnums=names, reduction="sum", row_weights=weights)
    assert_close(value, weights @ by_rows(X, rows))
    assert_close(
        slopes, tuple(np.tensordot(weights, each, 1) for each in by_rows.jacobian(X, rows, argnums=names))
    )
    expected = by_rows.hessian(X, rows, argnums=names)
    for found_row, expected_row in zip(hessian, expected, strict=True):
        assert_close(found_row, tuple(np.tensordot(weights, each, 1) for each in expected_row))


def test_without_rows_there_is_no_dimension_for_them():
    compiled = compile(few(PROGRAMS[0]), shared="u")
    assert compiled.jacobian(0.5, U[0], argnums=1).shape == (2, 4)
    assert compiled.hessian(0.5, U[0], argnums=1).shape == (2, 4, 4)
    by_rows = compile(few(PROGRAMS[0])).jacobian([0.5], U[:1], argnums=1)
    assert_close(compiled.jacobian(0.5, U[0], argnums=1), by_rows[0])


def test_no_rows_give_empty_arrays():
    compiled = compile(few(PROGRAMS[0]))
    assert compiled.jacobian(X[:0], U[:0], argnums=1).shape == (0, 2, 4)
    assert compiled.hessian(X[:0], U[:0], argnums="parameters").shape == (0, 2, 2, 2)


def test_input_gradients_of_many_outputs():
    compiled = compile(many(PROGRAMS[0]))
    by_x, by_u = compiled.input_gradients(X, U)
    assert_close(np.moveaxis(by_x, 0, 1), compiled.jacobian(X, U))
    assert_close(np.moveaxis(by_u, 0, 1), compiled.jacobian(X, U, argnums=1))


def test_what_was_unpickled_differentiates():
    compiled = compile(few(PROGRAMS[3]))
    expected = compiled.hessian(X, U, argnums=1), compiled.jacobian(X, U, argnums="parameters")
    loaded = pickle.loads(pickle.dumps(compiled))
    assert_close((loaded.hessian(X, U, argnums=1), loaded.jacobian(X, U, argnums="parameters")), expected)


def test_no_number_of_threads_changes_a_bit():
    x, u = RNG.normal(size=3000), RNG.normal(size=(3000, 4))
    compiled = compile(few(PROGRAMS[0]))
    for call in (compiled.jacobian, compiled.hessian):
        assert np.array_equal(call(x, u, argnums=1), call(x, u, argnums=1, threads=3))


STEPS = {
    "columns": lambda state, x: state * x + x,
    "take": lambda state, x: take([state * x, state + x], 1) * x,
    "where": lambda state, x: F.where(x - 0.5, state * x, 2.0),
    "local": lambda state, x: Value(state * x, (state, x), (x, state)),
}


@pytest.mark.parametrize("name", STEPS)
def test_grad_by_the_columns_that_a_loop_reads(name):
    def slopes(row):
        y = scan(lambda state, x: (STEPS[name](state, x), None), 1.5, row)[0]
        return [slope * row[0] for slope in grad(y**2, row)]

    rows = np.array([[0.3, 1.2, -0.4], [0.9, 0.8, 0.7]])
    expected = [[slope.data for slope in slopes([Value(x) for x in row])] for row in rows.tolist()]
    np.testing.assert_allclose(compile(slopes)(rows), expected, rtol=1e-12)


def test_grad_through_an_index_in_a_step():
    def slope(i, x):
        return grad(scan(lambda s, u: (take([s * u, s + u], i), None), x, [x, x * 2])[0], x)

    expected = [slope(0, Value(1.5)).data, slope(1, Value(2.0)).data]
    np.testing.assert_allclose(compile(slope)([0, 1], [1.5, 2.0]), expected, rtol=1e-12)
