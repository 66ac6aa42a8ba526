"""The kernels' own exp, log, tanh and powers: their accuracy, and IEEE's special cases."""

import math

import mpmath
import numpy as np
import pytest

import fastgrad.functional as F
from evidence.meanings import power
from fastgrad import Value, compile
from fastgrad.compiler.replay import available_kernels, use_kernels

ULPS = 2.0
RNG = np.random.default_rng(7)
POINTS = {
    "exp": np.concatenate(
        [RNG.uniform(-1, 1, 1000), RNG.uniform(-708, 709.7, 1000), RNG.uniform(-40, 40, 500)]
    ),
    "log": np.concatenate(
        [RNG.uniform(0.5, 2, 1000), np.exp(RNG.uniform(-700, 700, 1000)), 1 + RNG.uniform(-1e-3, 1e-3, 500)]
    ),
    "tanh": np.concatenate(
        [RNG.uniform(-1, 1, 1000), RNG.uniform(-20, 20, 1000), np.exp(RNG.uniform(-300, 0, 300))]
    ),
}
INF, NAN = math.inf, math.nan
SPECIAL = {
    "exp": [
        (0, 1),
        (-0.0, 1),
        (INF, INF),
        (-INF, 0),
        (NAN, NAN),
        (710, INF),
        (1e300, INF),
        (-746, 0),
        (-1e300, 0),
    ],
    "log": [(1, 0), (0, -INF), (-0.0, -INF), (INF, INF), (-INF, NAN), (NAN, NAN), (-1, NAN), (-5e-324, NAN)],
    "tanh": [(0, 0), (INF, 1), (-INF, -1), (NAN, NAN), (1000, 1), (-1000, -1), (5e-324, 5e-324)],
}


@pytest.fixture(params=["baseline", "avx2", "avx512"])
def evaluate(request):
    if request.param not in available_kernels():
        pytest.skip(f"this processor has no {request.param}")
    use_kernels(request.param)
    yield lambda name, x: compile(lambda x: getattr(x, name)())(np.asarray(x, dtype=float))
    use_kernels("")


@pytest.mark.parametrize("name", POINTS)
def test_within_two_units_in_the_last_place(evaluate, name):
    x = POINTS[name]
    with mpmath.workprec(120):
        for point, result in zip(x, evaluate(name, x)):
            exact = getattr(mpmath, name)(mpmath.mpf(float(point)))
            assert abs(mpmath.mpf(float(result)) - exact) <= ULPS * float(np.spacing(abs(float(exact)))), (
                point
            )


@pytest.mark.parametrize("name", SPECIAL)
def test_special_values(evaluate, name):
    points, results = zip(*SPECIAL[name])
    np.testing.assert_array_equal(evaluate(name, points), results)


def test_subnormal_numbers(evaluate):
    x = np.array([-709.0, -720.0, -744.0])
    np.testing.assert_allclose(evaluate("exp", x), np.exp(x), rtol=0, atol=1e-323)
    x = np.array([5e-324, 1e-310, 2.2e-308])
    np.testing.assert_allclose(evaluate("log", x), np.log(x), rtol=1e-15)


@pytest.mark.parametrize("count", range(20))
def test_every_length_is_computed_and_nothing_beyond(evaluate, count):
    x = np.linspace(-1, 1, count)
    np.testing.assert_allclose(evaluate("tanh", x), np.tanh(x), rtol=1e-15)


HALF_TURNS = np.round(RNG.uniform(-1e6, 1e6, 500)) * (np.pi / 2)


@pytest.mark.parametrize("name", ["sin", "cos"])
@pytest.mark.parametrize("last", [1.0, 1e7, 1e300, NAN], ids=["near", "far", "farther", "nan"])
def test_sines_next_to_multiples_of_a_half_turn_and_beyond_the_vector_loop(name, last):
    """One operand that is too large for the vector loop sends all lanes to the C library."""
    x = np.concatenate([HALF_TURNS, RNG.uniform(-1.6e6, 1.6e6, 500), [0.0, 5e-324, last]])
    found = compile(lambda x: getattr(x, name)())(x)
    with mpmath.workprec(200):
        for point, result in zip(x[:-1], found):
            exact = getattr(mpmath, name)(mpmath.mpf(float(point)))
            assert abs(mpmath.mpf(float(result)) - exact) <= 1.0 * np.spacing(abs(float(exact))), point
    assert found[-1] == getattr(math, name)(last) or last != last != found[-1] != found[-1]


def test_the_sine_of_a_zero_keeps_its_sign():
    np.testing.assert_array_equal(np.signbit(compile(lambda x: x.sin())([0.0, -0.0])), [False, True])


@pytest.mark.parametrize("exponent", [1, 2, 3, 4, 5, -1, -2, -3, -4, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5])
def test_powers_with_an_exponent_for_all_lanes_keep_ieees_special_values(exponent):
    sizes = [0.0, 5e-324, 1e-310, 1e-200, 1e-77, 0.3, 1.0, 7.0, 1e77, 1e200, 1.7e308, INF]
    x = np.array([sign * size for size in sizes for sign in (1, -1)] + [NAN])
    powers = compile(lambda x, y: x**y)
    # numpy's own power of 0.5 is a square root.
    expected = np.array([power(a, float(exponent)) for a in x])
    slopes = np.array([exponent * power(a, exponent - 1.0) for a in x.tolist()])
    found = powers(x, float(exponent))
    np.testing.assert_allclose(found, expected, rtol=1e-15, atol=5e-324)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(found[numbers]), np.signbit(expected[numbers]))
    np.testing.assert_allclose(powers.input_gradients(x, float(exponent))[0], slopes, rtol=2e-15, atol=1e-323)


EXPONENTS = [0, 0.0, 1, 2, 3, 4, 5, 6, 12, 16, 17, -1, -2, -3, -6, -12, -16, 0.5, -0.5, 1.5, -1.5, 2.5]


@pytest.mark.parametrize("exponent", EXPONENTS)
@pytest.mark.parametrize("kind", ["lanes", "number", "parameter"])
def test_a_written_exponent_gives_the_engines_number_and_slope(exponent, kind):
    """Wherever it is computed: the compiler writes some powers as products, quotients and roots."""
    for x in [0.0, -0.0, 1.0, 4.0, -2.0, 0.3, 1e-200, 1e200, INF, -INF, NAN]:
        base = Value(x)
        try:
            out = base**exponent
        except (ArithmeticError, ValueError):
            continue
        out.backward()
        if kind == "parameter":
            p = Value(x)
            compiled = compile(lambda: p**exponent)
            found = compiled()
            compiled.backward()
            slope = p.grad
        else:
            argument = [x, x] if kind == "lanes" else x
            compiled = compile(lambda x: x**exponent)
            found, slope = compiled(argument), compiled.input_gradients(argument)
            if kind == "lanes":
                found, slope = found[0], slope[0]
        # A product rounds once for each factor.
        rtol = 2e-15 if abs(exponent) <= 4 else 1e-14
        np.testing.assert_allclose([found, slope], [out.data, base.grad], rtol=rtol)
        if found == found:
            assert np.signbit(found) == np.signbit(out.data), x
        if slope == slope and slope != 0.0:
            assert np.signbit(slope) == np.signbit(base.grad), x


@pytest.mark.parametrize("exponent", [*range(-16, -1), *range(3, 17)])
def test_a_small_whole_power_is_a_product(exponent):
    x = np.random.default_rng(exponent + 16).uniform(-3.0, 3.0, 1001)
    powers = compile(lambda x: x**exponent)
    np.testing.assert_allclose(powers(x), np.float_power(x, exponent), rtol=1e-14)
    slopes = exponent * np.float_power(x, exponent - 1)
    np.testing.assert_allclose(powers.input_gradients(x), slopes, rtol=1e-14)


def test_a_product_is_as_accurate_where_the_power_is_almost_0():
    """The inverse of x**12 would be 0 there."""
    x = np.array([1e26, 3e26, -1e26])
    np.testing.assert_allclose(compile(lambda x: x**-12)(x), np.float_power(x, -12), rtol=1e-10)


@pytest.mark.parametrize(
    ("exponent", "instruction"),
    [(2, "mul"), (3, "power"), (-16, "power"), (17, "pow"), (2.5, "pow"), (-1, "div")],
)
def test_which_powers_are_products_shows_in_the_listing(exponent, instruction):
    powers = compile(lambda x: x**exponent)
    powers([1.0, 2.0])
    assert f" {instruction} " in str(powers)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, y: x * x - y * y,
        lambda x, y: x**2 - y**2,
        lambda x, y: x * x + y * y - (x * x + y * y),
        lambda x, y: 1 - (1 - x * y) - y * x,
        lambda x, y: (x * 0.3 + 0.1) - (y * 0.3 + 0.1),
        lambda x, y: F.dot([x, y], [x, y]) - (x * x + y * y),
        lambda x, y: (x + y) * (x - y) - (x * x - y * y),
    ],
)
def test_what_cancels_in_the_engine_cancels_over_lanes(function):
    """A product fused into a sum keeps bits that the engine rounds away; then the root would be nan."""
    x = np.random.default_rng(0).uniform(0.1, 3.0, 500)
    expected = [function(Value(a), Value(a)).data for a in x.tolist()]
    np.testing.assert_array_equal(compile(function)(x, x), expected)


def test_after_the_way_back_through_a_matrix_tiny_numbers_are_numbers_again():
    tiny = 5e-324
    w = [[Value(1.0), Value(2.0)], [Value(3.0), Value(4.0)]]
    loss = compile(lambda x, scale: scale * sum(y * y for y in F.linear(x, w)))
    loss.backward(np.ones((16, 2)), np.full(16, tiny))
    assert np.float64(tiny) * 1.0 == tiny
    assert loss(np.ones((16, 2)), np.full(16, tiny)).tolist() == [58 * tiny] * 16
