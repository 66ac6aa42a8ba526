"""Operations of the user's own, eager and compiled: local derivatives that are Values, and custom_jvp."""

import copy
import gc
import math
import pickle
import weakref

import mpmath
import numpy
import pytest

import fastgrad
import fastgrad.functional as F
from fastgrad import Value, grad
from fastgrad.derivatives import custom_jvp, hessian, jacobian
from fastgrad.engine import TracingError, _pool_statistics, _put_together

POINTS = [-2.0, -0.3, 0.7, 1.9]


def given_softplus(x):
    return Value((1.0 + x.exp()).log(), (x,), (x.sigmoid(),))


@custom_jvp
def softplus(x):
    return (1.0 + x.exp()).log()


@softplus.defjvp
def softplus_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    return softplus(x), x.sigmoid() * dx


@custom_jvp
def log1p(x):
    """Computed with Python's numbers, so eager only."""
    return math.log1p(x.data)


log1p.defjvps(lambda t, ans, x: t / (1.0 + x))


@custom_jvp
def tanh(x):
    return x.tanh()


# The rule uses the result, which is a function of x as well.
tanh.defjvps(lambda t, ans, x: t * (1.0 - ans * ans))


@custom_jvp
def sine(x):
    return x.sin()


@custom_jvp
def cosine(x):
    return x.cos()


sine.defjvps(lambda t, ans, x: t * cosine(x))
cosine.defjvps(lambda t, ans, x: -t * sine(x))


@custom_jvp
def sqrt(x):
    y = Value(1.0)
    for _ in range(12):
        y = 0.5 * (y + x / y)
    return y


sqrt.defjvps(lambda t, ans, x: t / (2.0 * ans))

FUNCTIONS = [
    (given_softplus, lambda x: mpmath.log1p(mpmath.exp(x)), POINTS),
    (softplus, lambda x: mpmath.log1p(mpmath.exp(x)), POINTS),
    (log1p, mpmath.log1p, [0.1, 2.0]),
    (tanh, mpmath.tanh, POINTS),
    (sine, mpmath.sin, POINTS),
    (sqrt, mpmath.sqrt, [0.5, 3.0]),
]
COMPILABLE = [each for each in FUNCTIONS if each[0] is not log1p]
each_function = pytest.mark.parametrize(
    ("function", "exact", "points"), FUNCTIONS, ids=lambda each: getattr(each, "__name__", "")
)
each_compilable = pytest.mark.parametrize(
    ("function", "exact", "points"), COMPILABLE, ids=lambda each: getattr(each, "__name__", "")
)


def orders(function, x):
    """The value and the first three derivatives, as Values."""
    found = [function(x)]
    for _ in range(3):
        found.append(grad(found[-1], x))
    return found


def expected_orders(exact, points):
    with mpmath.workdps(40):
        return [
            [float(mpmath.diff(exact, mpmath.mpf(point), order)) for order in range(4)] for point in points
        ]


# Eager.


@each_function
def test_three_orders_are_mpmaths(function, exact, points):
    found = [[each.data for each in orders(function, Value(point))] for point in points]
    assert numpy.allclose(found, expected_orders(exact, points), rtol=1e-12, atol=1e-13)


@each_function
def test_backward_has_the_first_order(function, exact, points):
    for point, expected in zip(points, expected_orders(exact, points), strict=True):
        x = Value(point)
        (3.0 * function(x)).backward()
        assert x.grad == pytest.approx(3.0 * expected[1], rel=1e-13)


@each_function
def test_backward_goes_through_derivatives(function, exact, points):
    """A gradient penalty: backward() through first derivatives."""
    for point, expected in zip(points, expected_orders(exact, points), strict=True):
        x = Value(point)
        (grad(function(x), x) ** 2).backward()
        assert x.grad == pytest.approx(2.0 * expected[1] * expected[2], rel=1e-12, abs=1e-13)


def test_the_result_is_one_node_with_the_functions_name():
    x = Value(0.5)
    y = softplus(x)
    assert y._op == "softplus"
    assert y._children == (x,)
    assert y._prev == {x}
    assert y._local_grads == pytest.approx((1 / (1 + math.exp(-0.5)),))
    assert type(y) is Value


def test_several_arguments_and_lists():
    @custom_jvp
    def weighted(w, x, scale):
        return scale * F.dot(w, x)

    @weighted.defjvp
    def weighted_jvp(primals, tangents):
        (w, x, scale), (dw, dx, dscale) = primals, tangents
        return weighted(w, x, scale), scale * (F.dot(dw, x) + F.dot(w, dx)) + dscale * F.dot(w, x)

    def plain(values):
        return values[4] * (values[0] * values[2] + values[1] * values[3])

    def own(values):
        return weighted(values[:2], values[2:4], values[4])

    point = [1.0, -2.0, 3.0, 0.5, 1.5]
    for derivative in (jacobian, hessian):
        found, expected = (numpy.array(derivative(each)(point), float) for each in (own, plain))
        assert numpy.allclose(found, expected, rtol=1e-14)


def test_an_argument_without_a_derivative():
    @custom_jvp
    def power(x, n):
        return x**n

    power.defjvps(lambda t, ans, x, n: t * n * ans / x, None)
    x, n = Value(2.0), Value(3.0)
    y = power(x, n)
    y.backward()
    assert (x.grad, n.grad) == (12.0, 0.0)
    assert [each.data for each in grad(y, [x, n])] == [12.0, 0.0]
    assert grad(grad(y, x), x).data == 12.0


def test_a_function_without_any_derivative():
    @custom_jvp
    def rounded(x):
        return float(round(x.data))

    rounded.defjvps(None)
    x = Value(1.7)
    y = rounded(x) * 3.0
    y.backward()
    assert (y.data, x.grad, grad(y, x).data) == (6.0, 0.0, 0.0)


def test_numbers_are_arguments():
    assert softplus(0.0).data == math.log(2.0)
    assert softplus(numpy.float64(0.0))._children[0].data == 0.0


def test_a_method_of_value():
    class Own(Value):
        softplus = softplus

    assert Own(0.0).softplus().data == math.log(2.0)


def test_rules_do_not_run_without_end():
    """The rule of each polygamma uses the next: it runs where a gradient asks for it."""
    asked = []

    def power_of_exp(n):
        @custom_jvp
        def function(x):
            asked.append(n)
            return (x * 2.0).exp() * 2.0**n

        function.defjvps(lambda t, ans, x: t * power_of_exp(n + 1)(x))
        return function

    x = Value(0.5)
    y = power_of_exp(0)(x)
    assert max(asked) == 1
    assert grad(grad(y, x), x).data == pytest.approx(4.0 * math.exp(1.0))


def test_a_rule_that_differentiates_goes_through_other_rules():
    """The root of y + log(1 + y) = x, by a logarithm whose body has no derivative."""

    def residual(y, x):
        return y + log1p(y) - x

    @custom_jvp
    def root(x):
        y = Value(1.0)
        for _ in range(20):
            y = Value((y - residual(y, x) / jacobian(residual, 0)(y, x)).data)
        return y

    root.defjvps(lambda t, y, x: -jacobian(residual, 1)(y, x) / jacobian(residual, 0)(y, x) * t)
    x = Value(2.0)
    y = root(x)
    s = 1.0 + y.data
    first = s / (1.0 + s)
    assert y.data + math.log1p(y.data) == pytest.approx(2.0)
    y.backward()
    assert x.grad == pytest.approx(first)
    assert grad(y, x).data == pytest.approx(first)
    assert grad(grad(y, x), x).data == pytest.approx(first / (1.0 + s) ** 2)


def test_a_derivative_that_is_a_value_is_read_when_backward_runs():
    x, slope = Value(2.0), Value(3.0)
    y = Value(1.0, (x,), (slope,))
    slope.data = 5.0
    y.backward()
    assert x.grad == 5.0
    assert slope.grad == 0.0
    assert y._local_grads == (5.0,)


def test_keywords_of_microgpt():
    x = Value(2.0)
    y = Value(x**3, children=(x,), local_grads=(3.0 * x * x,))
    assert grad(grad(y, x), x).data == 12.0


def test_numbers_and_values_are_mixed():
    a, b = Value(2.0), Value(3.0)
    y = Value(a * b + a, (a, b), (b + 1.0, 7.0))
    y.backward()
    assert (a.grad, b.grad) == (4.0, 7.0)
    assert grad(grad(y, a), b).data == 1.0
    assert grad(grad(y, b), a).data == 0.0


def test_a_derivative_is_not_a_way_to_what_it_was_computed_from():
    """Neither in a sweep nor in a search, which visits the graph."""
    for irregular in (False, True):
        x, other = Value(2.0), Value(3.0)
        slope = other * 2.0
        slope.grad = 1.0
        y = Value(1.0, (x,), (slope,))
        if irregular:
            _ = (y - 1.0)._children
            z = Value(0.0, (y,), "own")
            z._backward = lambda y=y, z=z: setattr(y, "grad", y.grad + z.grad)
            z.backward()
        else:
            y.backward()
        assert (x.grad, other.grad) == (6.0, 0.0)


def test_what_grad_returns_is_no_node_of_the_graph():
    x, slope = Value(2.0), Value(3.0)
    y = Value(1.0, (x,), (slope,))
    assert grad(y, x) is not slope


def test_a_node_of_a_subclass():
    class Sub(Value):
        pass

    x = Value(2.0)
    y = Sub(4.0, (x,), (x * 2.0,))
    (y * 1.0).backward()
    assert x.grad == 4.0
    assert grad(grad(y * 1.0, x), x).data == 2.0


# Compiled.


@each_compilable
def test_a_program_has_the_eager_numbers(function, exact, points):
    expected = numpy.array(expected_orders(exact, points))
    compiled = fastgrad.compile(lambda x: function(x))
    assert numpy.allclose(compiled(points), expected[:, 0], rtol=1e-12)
    assert numpy.allclose(compiled.input_gradients(points), expected[:, 1], rtol=1e-12)
    found = fastgrad.compile(lambda x: orders(function, x))(points)
    assert numpy.allclose(found, expected, rtol=1e-12, atol=1e-13)


def assert_compiles(function, rows, w, tolerance, **options):
    """The mean over rows, and the gradients by w and by each row, are the engine's."""
    mean = F.mean([function(Value(float(row))) for row in rows])
    mean.backward()
    expected, w.grad = w.grad, 0.0
    compiled = fastgrad.compile(function, **options)
    assert compiled.backward(rows) == pytest.approx(mean.data, rel=tolerance)
    assert w.grad == pytest.approx(expected, rel=tolerance)
    slopes = []
    for row in rows.tolist():
        x = Value(row)
        function(x).backward()
        slopes.append(x.grad)
    assert numpy.allclose(compiled.input_gradients(rows), slopes, rtol=tolerance)


@each_compilable
def test_a_program_trains_like_the_engine(function, exact, points):
    """Parameters and rows among the operands, the derivatives, and what they share with the rest."""
    rows = numpy.array(points)
    w = Value(0.9)

    def loss(x):
        y = function(w * x) * function(w) + function(x) * w.sigmoid()
        return y**2 + 0.5 * grad(function(w * x), x) ** 2

    assert_compiles(loss, rows, w, 1e-12)


@pytest.mark.parametrize("strict", [False, True])
def test_every_kind_of_operand_of_a_program(strict):
    """Lanes, uniform numbers and constants, as result, operand and derivative, in all combinations."""
    w = Value(1.5)
    rows = numpy.array([0.5, -1.0, 2.0])

    def outputs(x):
        kinds = [x * 2.0, w * 2.0, Value(3.0)]
        return [
            Value(result, (operand, x, w), (derivative, 0.5, derivative))
            for result in kinds
            for operand in kinds
            for derivative in (*kinds, 4.0)
        ]

    def total(x):
        return F.dot(outputs(x), [0.1 * (place + 1) for place in range(36)])

    assert_compiles(total, rows, w, 1e-13, strict=strict)
    expected = [[value.data for value in outputs(Value(float(row)))] for row in rows]
    assert numpy.allclose(fastgrad.compile(outputs)(rows), expected, rtol=1e-15)


def test_derivatives_are_computed_where_a_gradient_asks_for_them():
    w = Value(1.0)
    for function, asked in ((lambda x: softplus(w * x), True), (lambda x: softplus(x), False)):
        compiled = fastgrad.compile(function)
        compiled([0.5])
        assert ("sigmoid" in str(compiled)) == asked


def test_what_only_derivatives_use_gets_no_gradient():
    w, v = Value(2.0), Value(0.0)
    compiled = fastgrad.compile(lambda x: Value(x * 3.0, (w,), ((x + v).sqrt(),)))
    compiled.backward([4.0, 0.0])
    # The square root's derivative is infinite at 0.
    assert (w.grad, v.grad) == (1.0, 0.0)


def test_a_sum_that_only_derivatives_use_has_no_way_back():
    p = Value(0.5)

    def function(x):
        u = p * x
        return Value(1.0, (u.tanh(),), (2.0 + x.exp() + u,))

    compiled = fastgrad.compile(function)
    compiled.backward([1.0, 2.0])
    assert "matrix" in str(compiled).partition("and back:")[0]
    assert "matrix" not in str(compiled).partition("and back:")[2]


def test_a_choice_passes_over_given_derivatives():
    compiled = fastgrad.compile(lambda x: F.where(x, Value(x, (x,), (1.0 / x,)), 2.0 * x))
    assert compiled.input_gradients([2.0, 0.0]).tolist() == [0.5, 2.0]


def test_strict_names_a_derivative_that_is_not_finite():
    w = Value(1.0)
    compiled = fastgrad.compile(
        lambda x: Value(x, (w,), (F.where(x, 1.0 / (x + 1e-300), 1e308 * 1e10),)), strict=True
    )
    assert compiled.backward([2.0]) == 2.0
    with pytest.raises(FloatingPointError, match="local derivatives by operand 1 is inf"):
        compiled.backward([-2.0])


def test_a_program_is_printed_and_pickled():
    w = Value(0.5)
    compiled = fastgrad.compile(lambda x: softplus(w * x))
    rows = [0.5, -1.0]
    before = compiled.backward(rows), w.grad
    assert "local v" in str(compiled)
    found = pickle.loads(pickle.dumps(compiled))
    [parameter] = found.parameters
    parameter.grad = 0.0
    assert (found.backward(rows), parameter.grad) == before


def test_a_trace_refuses_what_was_given_outside():
    y = Value(1.0, (Value(2.0),), (3.0,))
    with pytest.raises(TracingError, match="outside of the compiled function"):
        fastgrad.compile(lambda x: x * y)(1.0)


def test_a_number_in_a_trace_is_a_constant():
    compiled = fastgrad.compile(lambda x: Value(7.0, (x,), (3.0,)))
    assert compiled([1.0, 2.0]).tolist() == [7.0, 7.0]
    assert compiled.input_gradients([1.0, 2.0]).tolist() == [3.0, 3.0]


def test_python_numbers_cannot_be_compiled():
    with pytest.raises(TracingError, match="cannot be used while its function is compiled"):
        fastgrad.compile(lambda x: log1p(x))(1.0)


def test_what_is_kept_of_a_trace_has_no_number():
    kept = []

    def function(x):
        kept.append(Value(x * 2.0, (x,), (x,)))
        kept.append(softplus(x))
        return kept[0] + kept[1]

    fastgrad.compile(function)(1.0)
    for node in kept:
        with pytest.raises(TracingError):
            node + 1.0
        with pytest.raises(TracingError):
            Value(1.0, (Value(1.0),), (node,))


# What is refused.


def nothing(x):
    return x * 1.0


W = Value(3.0, label="w")


@pytest.mark.parametrize(
    ("function", "rule", "error", "message"),
    [
        (lambda x: x * W, lambda p, t: (None, t[0]), ValueError, "uses the Value 'w', which is not among"),
        (nothing, lambda p, t: (None, t[0] * W), ValueError, "no gradient would reach it"),
        (nothing, lambda p, t: (None, t[0] * t[0]), ValueError, "not linear in the tangents"),
        (nothing, lambda p, t: (None, t[0] + 1.0), ValueError, "not linear in the tangents"),
        (nothing, lambda p, t: t[0], TypeError, "returns .result, tangent of the result., not Value"),
        (nothing, lambda p, t: (p[0], "t"), TypeError, "returns a Value as the tangent, not str"),
        (lambda x: [x], lambda p, t: (None, t[0]), TypeError, "returns a Value, not list"),
        (nothing, None, TypeError, "has no rule for its derivative"),
    ],
)
def test_what_makes_no_sense_is_refused(function, rule, error, message):
    own = custom_jvp(function)
    if rule is not None:
        own.defjvp(rule)
    with pytest.raises(error, match=message):
        own(2.0)


@pytest.mark.parametrize(
    ("function", "rule", "message"),
    [
        (lambda x: x * W, lambda p, t: (None, t[0]), "uses the Value 'w', which is not among"),
        (nothing, lambda p, t: (None, t[0] * t[0]), "not linear in the tangents"),
        (nothing, lambda p, t: (None, t[0] + 1.0), "not linear in the tangents"),
        (nothing, lambda p, t: (None, 3.0), "not linear in the tangents"),
        (nothing, lambda p, t: (None, p[0] * 2.0), "not linear in the tangents"),
    ],
)
def test_it_is_refused_in_a_compiled_function_as_well(function, rule, message):
    own = custom_jvp(function)
    own.defjvp(rule)
    with pytest.raises(ValueError, match=message):
        fastgrad.compile(lambda x: own(x))(2.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: custom_jvp(3), "takes a function, not int"),
        (lambda: custom_jvp(nothing).defjvp(3), "not int"),
        (lambda: custom_jvp(nothing).defjvps(3), "not int"),
        (lambda: softplus.defjvp(nothing), "has a rule for its derivative: define the function anew"),
        (lambda: custom_jvp(lambda: 1.0)(), "no arguments"),
        (lambda: tanh(1.0, 2.0), "takes 1 positional argument"),
        (lambda: softplus("x"), "not"),
    ],
)
def test_wrong_use_is_refused(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_a_rule_for_each_argument_is_needed():
    own = custom_jvp(lambda a, b: a * b)
    own.defjvps(lambda t, ans, a, b: t * b)
    with pytest.raises(TypeError, match="has 2 arguments and rules for 1"):
        own(1.0, 2.0)


@pytest.mark.parametrize("derivatives", [("a",), (None,), (1.0, 2.0), ([1.0],), (1j,)])
def test_derivatives_are_numbers_or_values(derivatives):
    with pytest.raises((TypeError, ValueError), match="derivative"):
        Value(1.0, (Value(1.0),), derivatives)


# Copies and memory.


def second(y, x):
    return grad(grad(y, x), x).data


@pytest.mark.parametrize("function", [given_softplus, softplus, lambda x: Value(x * x, (x, x), (x, 0.5 * x))])
def test_copies_have_the_same_derivatives(function):
    x = Value(0.7)
    y = function(x)
    expected = second(y, x)
    for x2, y2 in (copy.deepcopy((x, y)), pickle.loads(pickle.dumps((x, y))), (x, copy.copy(y))):
        assert y2 is not y
        assert (y2.data, y2._op, y2._local_grads) == (y.data, y._op, y._local_grads)
        assert second(y2, x2) == expected
        x2.grad = 0.0
        y2.backward()
        assert x2.grad == sum(y._local_grads)


@pytest.mark.parametrize(
    "detail", [None, [1.0], (), (1.0, 2.0, 3.0), (None,), (None, None), (1.0, 3.0), (None, "rule")]
)
def test_a_damaged_copy_is_refused(detail):
    with pytest.raises(ValueError, match="local cannot have"):
        _put_together(Value, "local", 0, 1.0, 0.0, (Value(2.0),), detail)


def test_a_copied_graph_shares_what_the_original_shares():
    x = Value(0.7)
    slope = x * 2.0
    y, z = copy.deepcopy((Value(1.0, (x,), (slope,)), slope))
    z.data = 9.0
    assert y._local_grads == (9.0,)


class Held:
    pass


def cycle_of_a_leaf():
    x, slope = Value(1.0), Value(2.0)
    slope.node = Value(3.0, (x,), (slope,))
    return x


def cycle_of_a_computed_derivative():
    x = Value(1.0)
    slope = x * 2.0
    slope.node = Value(3.0, (x,), (slope,)) * 2.0
    return x


def cycle_of_a_rule():
    kept = []

    @custom_jvp
    def function(x):
        return x * 2.0

    @function.defjvp
    def rule(primals, tangents):
        assert kept is not None
        return function(*primals), 2.0 * tangents[0]

    x = Value(1.0)
    kept.append(function(x) * 3.0)
    return x


@pytest.mark.parametrize("make", [cycle_of_a_leaf, cycle_of_a_computed_derivative, cycle_of_a_rule])
def test_cycles_are_collected(make):
    gc.collect()
    before = _pool_statistics()["nodes"]
    x = make()
    x.held = Held()
    reference = weakref.ref(x.held)
    del x
    gc.collect()
    assert reference() is None
    assert _pool_statistics()["nodes"] == before


def test_long_chains_do_not_recurse():
    x = Value(1.0)
    y = x
    for _ in range(100_000):
        y = Value(y.data, (y,), (y * 1.0,))
    y.backward()
    assert x.grad == 1.0
    assert grad(y, x).data == 1.0
    assert copy.deepcopy(y)._local_grads == (1.0,)
    del y
    assert len(pickle.dumps(x)) > 0


@custom_jvp
def rounded(x):
    """A function whose given derivative is not that of its body."""
    return x.round()


rounded.defjvps(lambda t, ans, x: 2.0 * ans * t)


def looped(function):
    return lambda x: fastgrad.scan(lambda state, _: (function(state * 1.0), None), x, None, length=2)[0]


@pytest.mark.parametrize("around", [lambda function: function, looped], ids=["plain", "in a loop"])
@pytest.mark.parametrize("function", [rounded, sine, sqrt], ids=lambda each: each.__name__)
def test_second_derivatives_of_a_program_are_those_of_the_rule(around, function):
    """Where a rule uses the result or other functions, `grad` differentiates these by their own rules."""
    whole = around(function)
    compiled = fastgrad.compile(lambda x: whole(x))
    points = [1.2, 2.7]
    expected = numpy.array([[each.data for each in orders(whole, Value(point))] for point in points])
    assert numpy.allclose(compiled.hessian(points), expected[:, 2], rtol=1e-12)
    assert numpy.allclose(compiled.hvp(points, tangents=[1.0, 1.0]), expected[:, 2], rtol=1e-12)
    assert numpy.allclose(fastgrad.compile(lambda x: orders(whole, x))(points), expected, rtol=1e-12)
    slope = fastgrad.compile(lambda x: grad(whole(x), x))
    assert numpy.allclose(slope.hessian(points), expected[:, 3], rtol=1e-12)


def test_a_body_may_be_a_loop_within_a_step():
    @custom_jvp
    def cube(x):
        return fastgrad.scan(lambda state, _: (state * x, None), 1.0, None, length=3)[0]

    cube.defjvps(lambda t, ans, x: 3.0 * x * x * t)

    def total(x):
        return fastgrad.scan(lambda state, each: (cube(state + each), None), 1.0, x)[0]

    rows = numpy.array([[0.1, 0.2], [-0.3, 0.4]])
    compiled = fastgrad.compile(total)
    first = 1.0 + rows[:, 0]
    last = first**3 + rows[:, 1]
    expected = numpy.stack([9.0 * last**2 * first**2, 3.0 * last**2], axis=1)
    assert numpy.allclose(compiled(rows), last**3)
    assert numpy.allclose(compiled.input_gradients(rows), expected)
