"""Derivatives that are Values: the first order against backward(), higher ones against mpmath and torch."""

import math
import random
import re
from itertools import combinations_with_replacement, pairwise, product

import mpmath
import numpy
import pytest

import fastgrad
import fastgrad.functional as F
from evidence.meanings import FUNCTIONS as LIBRARY
from evidence.oracles import GRID, ORDINARY
from fastgrad import Value, grad, nn
from fastgrad.derivatives import hessian, hvp, jacobian, jvp, vjp
from fastgrad.derivatives.expressions import function_of
from fastgrad.engine import _dot as dot
from fastgrad.engine import _linear as linear
from fastgrad.engine import _operate as operate
from fastgrad.engine import _pool_statistics, _take_apart, apply
from fastgrad.engine import _reduce as reduce
from fastgrad.nn import Neuron
from fastgrad.operations import FUNCTIONS, REDUCTIONS, TABLE

ROWS = TABLE + FUNCTIONS
each_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
each_reduction = pytest.mark.parametrize("name", [row.name for row in REDUCTIONS])


def close(found, expected, tolerance=1e-12):
    """Whether two numbers agree, infinite ones exactly, and nan with nan."""
    if math.isfinite(found) and math.isfinite(expected):
        return abs(found - expected) <= tolerance * max(1.0, abs(expected))
    return repr(found) == repr(expected)


def all_close(found, expected, tolerance=1e-12):
    return len(found) == len(expected) and all(map(close, found, expected, [tolerance] * len(found)))


def backward_of(y, leaves):
    for leaf in leaves:
        leaf.grad = 0.0
    y.backward()
    return [leaf.grad for leaf in leaves]


def agrees_with_backward(y, leaves):
    found = [each.data for each in grad(y, leaves)]
    return all_close(found, backward_of(y, leaves))


# Derivative expressions.


@each_row
def test_operations_of_numbers_alone_are_numbers(row):
    numbers = {"acosh": [1.5], "polygamma": [2.0, 1.5]}.get(row.name, [0.5, 1.5, -2.0][: row.operands])
    expected = apply(row.name, *numbers).data
    found = operate(row.name, *numbers)
    assert type(found) is float
    assert found == expected
    assert operate(row.name, Value(numbers[0]), *numbers[1:]).data == expected


# The first order.


@each_row
def test_the_first_order_is_that_of_backward(row):
    for numbers in product(GRID + ORDINARY if row.operands < 3 else GRID, repeat=row.operands):
        leaves = [Value(number) for number in numbers]
        try:
            y = apply(row.name, *leaves)
        except (ArithmeticError, ValueError):
            continue
        assert agrees_with_backward(y, leaves), numbers


@each_row
def test_the_first_order_in_a_compiled_function_is_that_of_backward(row):
    points, expected = [], []
    for numbers in product(GRID + ORDINARY if row.operands < 3 else GRID, repeat=row.operands):
        leaves = [Value(number) for number in numbers]
        try:
            apply(row.name, *leaves).backward()
        except (ArithmeticError, ValueError):
            continue
        points.append(numbers)
        expected.append([leaf.grad for leaf in leaves])
    compiled = fastgrad.compile(lambda x: apply(row.name, *[x[at] for at in range(row.operands)]))
    by_grad = fastgrad.compile(lambda x: grad(apply(row.name, *[x[at] for at in range(row.operands)]), x))
    for found in (compiled.jacobian(numpy.array(points)), by_grad(numpy.array(points))):
        assert numpy.allclose(found, expected, rtol=1e-12, atol=0.0, equal_nan=True)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("row", [row for row in ROWS if row.operands == 2], ids=lambda row: row.name)
def test_an_operand_may_be_a_number(row, side):
    for numbers in product(GRID + ORDINARY, repeat=2):
        leaf = Value(numbers[side])
        try:
            y = apply(row.name, *((leaf, numbers[1]) if side == 0 else (numbers[0], leaf)))
        except (ArithmeticError, ValueError):
            continue
        assert agrees_with_backward(y, [leaf]), numbers


@each_reduction
def test_the_first_order_of_a_reduction_is_that_of_backward(name):
    leaves = [Value(number) for number in ORDINARY]
    assert agrees_with_backward(reduce(name, [*leaves, leaves[0], 0.5]), leaves)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", nn.ACTIVATIONS)
def test_the_first_order_of_a_fused_product_is_that_of_backward(activation, bias):
    w, x = [Value(n) for n in (0.3, -0.2, 0.5)], [Value(n) for n in (1.0, 2.0, 0.7)]
    b = Value(0.1)
    given = (w, x, b, activation) if bias else (w, x, None, activation)
    assert agrees_with_backward(dot(*given), [*w, *x, b])
    # Of computed weights, of which one is an input as well.
    computed = [each.tanh() for each in w]
    y = dot(computed, [*x[:2], computed[0]], b if bias else None, activation)
    assert agrees_with_backward(y, [*w, *x, b])


def test_the_first_order_of_a_layer_is_that_of_backward():
    random.seed(1)
    model = nn.MLP(3, [8, 4, 1])
    x = [Value(0.5), Value(-1.0), Value(2.0)]
    assert agrees_with_backward(model(x) ** 2, [*model.parameters(), *x])


def test_a_node_with_local_derivatives_has_these_constants():
    a, b = Value(2.0), Value(3.0)
    y = Value(6.0, (a * a, b), (3.0, 2.0)) ** 2
    assert agrees_with_backward(y, [a, b])
    first = grad(y, a)
    # d (2 y * 3 * 2a) / da with dy/da = 6a.
    assert grad(first, a).data == pytest.approx(2 * 36 * 4 + 2 * 6 * 6)


def test_an_input_that_is_not_reached_gets_zero():
    x, other = Value(2.0), Value(3.0)
    assert [each.data for each in grad(x * x, [other, x])] == [0.0, 4.0]


def test_the_derivative_by_a_computed_node_and_by_the_result_itself():
    x = Value(2.0)
    h = x * x
    y = h * h
    assert [each.data for each in grad(y, (y, h, x))] == [1.0, 8.0, 32.0]


def test_one_value_gives_one_and_several_give_a_list():
    x = Value(2.0)
    assert type(grad(x * x, x)) is Value
    assert [each.data for each in grad(x * x, (each for each in [x, x]))] == [4.0, 4.0]


@pytest.mark.parametrize(
    "choice", [F.where, lambda c, a, b: F.maximum(a, b), lambda c, a, b: F.minimum(b, a)]
)
def test_what_was_not_chosen_is_not_reached(choice):
    x = Value(0.0)
    y = choice(-1.0, x.sqrt(), 1.0 + x * 0.0)
    if choice is not F.where:
        y = choice(0.0, x.sqrt(), Value(1.0)) if y.data == 1.0 else F.minimum(x.sqrt() + 2.0, Value(1.0))
    assert agrees_with_backward(y, [x])
    assert grad(y, x).data == 0.0
    assert grad(grad(y, x), x).data == 0.0


def test_no_gradient_changes():
    x = Value(2.0)
    h = x * x
    y = h.exp()
    x.grad, h.grad, y.grad = 5.0, 6.0, 7.0
    grad(grad(y, x), x)
    assert (x.grad, h.grad, y.grad) == (5.0, 6.0, 7.0)


def test_a_look_by_grad_changes_no_graph():
    w, x = [Value(1.0), Value(2.0)], [Value(3.0), Value(4.0)]
    y = dot(w, x, None, "tanh") - 1.0 / x[0]
    before = _take_apart(y), _pool_statistics().get("irregular", 0)
    grad(y, w)
    assert _take_apart(y) == before[0]
    assert _take_apart(_take_apart(y)[2][0])[0] in ("dot", "inner")


def test_what_is_returned_is_no_node_of_the_graph():
    a, b = Value(2.0), Value(3.0)
    found = grad(a * b, [a, b, a])
    assert not {a, b} & set(found)
    assert len(set(found)) == 3
    assert grad(found[0], b).data == 1.0


def test_a_derivative_can_be_used_in_a_loss():
    x, w = Value(0.5), Value(2.0)
    y = (w * x).tanh()
    loss = (y - 1.0) ** 2 + 0.1 * grad(y, x) ** 2
    loss.backward()
    h = 1e-6

    def number(w):
        t = math.tanh(w * 0.5)
        return (t - 1) ** 2 + 0.1 * (w * (1 - t * t)) ** 2

    assert w.grad == pytest.approx((number(2 + h) - number(2 - h)) / (2 * h), rel=1e-8)


def test_deep_graphs_need_no_recursion():
    x = Value(1.0)
    y = x
    for _ in range(100_000):
        y = y * 1.00001
    assert agrees_with_backward(y, [x])


def test_a_graph_that_was_looked_at_has_the_same_derivatives():
    a, b = Value(2.0), Value(3.0)
    y = dot([a, b], [b, a], None, "tanh") * 1e-3 - a / b
    expected = [each.data for each in grad(y, [a, b])]
    for node in [y, *y._prev]:
        assert node._prev
    assert [each.data for each in grad(y, [a, b])] == pytest.approx(expected, rel=1e-14)


# What is refused.


def with_backward(a):
    y = a.tanh()
    y._op = "gelu"
    y._backward = lambda: None
    return y


class OwnBackward(Value):
    def _backward(self):
        raise AssertionError


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (with_backward, "gelu"),
        (lambda a: Value(1.0, (a,), "custom"), "custom"),
        (lambda a: OwnBackward(1.0, (a,), "mine"), "mine"),
    ],
)
def test_a_node_without_derivatives_is_refused_where_it_is_needed(make, name):
    a, b = Value(0.5), Value(2.0)
    y = make(a) * b
    with pytest.raises(TypeError, match=f"'{name}'.*local derivatives"):
        grad(y, a)
    assert grad(y, b).data == y.data / 2.0


@pytest.mark.parametrize("given", [(1.0, Value(1.0)), (Value(1.0), 1.0), (Value(1.0), [1.0])])
def test_what_is_no_value_is_refused(given):
    with pytest.raises(TypeError):
        grad(*given)


# Higher orders.

MPMATH = {
    "fabs": abs,
    "pow": mpmath.power,
    **{name: function.value for name, function in LIBRARY.items()},
    **{name: getattr(mpmath, name) for name in ("floor", "ceil", "atan2", "hypot")},
    "rint": mpmath.nint,
    "mod": lambda a, b: a - b * mpmath.floor(a / b),
    "fmod": lambda a, b: a - b * (mpmath.floor(a / b) if a * b > 0 else mpmath.ceil(a / b)),
    # The functions of rounding_bounds have fewer digits than differences need.
    "digamma": mpmath.digamma,
    "polygamma": lambda n, x: mpmath.psi(int(n), x),
}
POINTS = (0.7, -1.3, 2.1, -0.4, 1.6, 0.0, 3.0)
# Of these 0 is no kink.
SMOOTH_AT_0 = {"tanh", "exp", "sigmoid", "sin", "cos", "softplus", "silu", "logistic", "softmax"}
SMOOTH_AT_0 |= {"tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "atanh", "expm1", "log1p"}
SMOOTH_AT_0 |= {"erf", "erfc", "ndtr", "gelu"}


def is_between(a):
    """Whether a number is not an integer, where steps have their edges."""
    return abs(a - round(a)) > 1e-6


# Where an operation has values and derivatives, if not everywhere.
DOMAINS = {
    **dict.fromkeys(("log", "sqrt", "log2", "log10"), lambda a: a > 0.0),
    "log1p": lambda a: a > -1.0,
    **dict.fromkeys(("asin", "acos", "atanh"), lambda a: abs(a) < 1.0),
    "acosh": lambda a: a > 1.0,
    "pow": lambda a, b: a > 0.0,
    **dict.fromkeys(("floor", "ceil"), is_between),
    "round": lambda a: is_between(a + 0.5),
    **dict.fromkeys(("mod", "fmod"), lambda a, b: b != 0.0 and is_between(a / b)),
    # The order is a constant.
    "polygamma": lambda a, b: a in (1.0, 3.0),
}


def exact(row, numbers, orders):
    """The derivative of the row's value, which is an expression, by differences of many digits."""
    names = ("a", "b", "c")[: row.operands]

    def value(*point):
        # One of two ways through a kink of the expression that the function does not have.
        return eval(row.value, dict(MPMATH), dict(zip(names, point, strict=True)))

    smooth = {"sigmoid": lambda a: 1 / (1 + mpmath.exp(-a))}
    smooth["logistic"] = lambda a, b: mpmath.log(1 + mpmath.exp(a)) - a * b
    smooth["softplus"] = lambda a: mpmath.log(1 + mpmath.exp(a))
    smooth["silu"] = lambda a: a / (1 + mpmath.exp(-a))
    with mpmath.workdps(60):
        return float(mpmath.diff(smooth.get(row.name, value), tuple(map(mpmath.mpf, numbers)), orders))


def points_of(row):
    """Points at which the row's value is smooth."""
    for numbers in product(POINTS + (1.0,) * (row.name == "polygamma"), repeat=row.operands):
        if len(set(numbers)) < len(numbers) or (0.0 in numbers and row.name not in SMOOTH_AT_0):
            continue
        if not DOMAINS.get(row.name, lambda *numbers: True)(*numbers):
            continue
        if row.operands == 3 and numbers[2] not in POINTS[:2]:
            continue
        yield numbers


@pytest.mark.parametrize("order", [2, 3])
@each_row
def test_higher_orders_are_those_of_the_value(row, order):
    for numbers in points_of(row):
        for by in combinations_with_replacement(range(row.name == "polygamma", row.operands), order):
            leaves = [Value(number) for number in numbers]
            found = apply(row.name, *leaves)
            for operand in by:
                found = grad(found, leaves[operand])
            orders = tuple(map(by.count, range(row.operands)))
            assert close(found.data, exact(row, numbers, orders), 1e-11), (numbers, by)


@pytest.mark.parametrize("exponent", [2.0, 0.0, 1.0, 3.0, -1.0, 0.5])
@pytest.mark.parametrize("base", [0.7, 1.7])
def test_a_power_by_both_operands(base, exponent):
    """Derivatives take shortcuts at some exponents; these must not be constants to the next order."""
    a, b = Value(base), Value(exponent)
    mixed = base ** (exponent - 1) * (1 + exponent * math.log(base))
    assert grad(grad(a**b, a), b).data == pytest.approx(mixed, rel=1e-14)
    assert grad(grad(a**b, b), a).data == pytest.approx(mixed, rel=1e-14)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 4])
def test_a_power_at_zero(exponent):
    x = Value(0.0)
    found = x**exponent
    for order in range(1, 6):
        found = grad(found, x)
        assert found.data == (math.factorial(exponent) if order == exponent else 0.0)


def test_a_power_with_a_negative_base():
    a = Value(-2.0)
    b = Value(3.0)
    assert grad(grad(a**b, a), a).data == -12.0
    assert math.isnan(grad(a**b, b).data)
    b = Value(0.0)
    assert math.isnan(grad(grad(a**b, a), b).data)


@each_reduction
def test_higher_orders_of_a_reduction(name):
    torch = pytest.importorskip("torch")
    formulas = {
        "sum": torch.sum,
        "mean": torch.mean,
        "square_sum": lambda x: (x * x).sum(),
        "square_mean": lambda x: (x * x).mean(),
        "logsumexp": lambda x: torch.logsumexp(x, 0),
    }
    x = torch.tensor(ORDINARY, dtype=torch.float64)
    expected = torch.autograd.functional.hessian(lambda x: formulas[name](x) ** 3, x)
    found = hessian(lambda x: reduce(name, x) ** 3)(ORDINARY)
    assert numpy.allclose(numpy.array(found, float), expected.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("activation", nn.ACTIVATIONS)
def test_a_gradient_penalty_of_a_network_is_torchs(activation):
    torch = pytest.importorskip("torch")
    random.seed(2)
    w1, w2 = ([[random.gauss(0, 1) for _ in range(n)] for _ in range(m)] for n, m in ((3, 5), (5, 1)))
    bias, point = [random.gauss(0, 1) for _ in range(5)], [0.3, -0.8, 1.1]

    def in_torch(w1, x):
        h = x @ w1.T + torch.tensor(bias, dtype=torch.float64)
        h = h if activation == "linear" else getattr(torch, activation)(h)
        y = (h @ torch.tensor(w2, dtype=torch.float64).T).sum()
        [slope] = torch.autograd.grad(y * y, x, create_graph=True)
        return torch.autograd.grad((slope**2).sum(), w1)[0].numpy()

    expected = in_torch(
        *(torch.tensor(each, dtype=torch.float64, requires_grad=True) for each in (w1, point))
    )
    weights = [[Value(number) for number in row] for row in w1]
    x = [Value(number) for number in point]
    [y] = linear(linear(x, weights, bias, activation), w2)
    penalty = F.l2(grad(y * y, x))
    flat = [w for row in weights for w in row]
    assert all_close([each.data for each in grad(penalty, flat)], expected.ravel().tolist(), 1e-11)
    assert agrees_with_backward(penalty, flat)


# Compiled.


def both_orders(row):
    """The row's value, its gradient and its second derivatives, as a function of as many Values."""

    def outputs(*xs):
        y = apply(row.name, *xs)
        first = grad(y, xs)
        return [y, *first, *(each for one in first for each in grad(one, xs))]

    return outputs


@each_row
def test_a_compiled_function_has_the_derivatives_of_the_eager_one(row):
    numbers = (*ORDINARY, 0.0, math.nan, 30.0)
    kept, expected = [], []
    for point in product(numbers if row.operands < 3 else (*ORDINARY[2:6], 0.0), repeat=row.operands):
        if row.name == "pow" and not point[0] > 0.0:
            continue
        if row.name == "polygamma" and not (point[0].is_integer() and 0.0 <= point[0] <= 9.0):
            continue
        try:
            outputs = [each.data for each in both_orders(row)(*map(Value, point))]
        except (ArithmeticError, ValueError):
            continue
        kept.append(point)
        expected.append(outputs)
    compiled = fastgrad.compile(lambda xs: both_orders(row)(*xs))
    columns = numpy.array(kept)
    found = compiled(columns)
    for point, here, there in zip(kept, found.tolist(), expected, strict=True):
        assert all_close(here, there), (point, here, there)


@pytest.mark.parametrize("pick", ["where", "maximum", "minimum"])
def test_what_a_row_did_not_choose_is_not_reached_in_a_compiled_function(pick):
    @fastgrad.compile
    def both(x):
        root = x.sqrt()
        # Of each but the first row it is not the root that is chosen, whose derivative is infinite at 0.
        y = {
            "where": lambda: F.where(x - 2, root, 0.5 * x),
            "maximum": lambda: F.maximum(root - 1.0, 0.5 * x),
            "minimum": lambda: F.minimum(root + 1.0, 0.5 * x),
        }[pick]()
        first = grad(y * 3.0, x)
        return [first, grad(first, x)]

    found = both(numpy.array([0.0, 1.0]))
    assert found.tolist() == [[1.5, 0.0], [1.5, 0.0]]


def test_a_shared_node_is_reached_if_any_way_to_it_was_chosen():
    @fastgrad.compile
    def slope(x, a, b):
        root = x.sqrt()
        return grad(F.where(a, root, 0.0) + F.where(b, root, 0.0), x)

    found = slope(
        numpy.array([4.0, 4.0, 4.0, 0.0]), numpy.array([1.0, -1, 1, -1]), numpy.array([1.0, 1, -1, -1])
    )
    assert found.tolist() == [0.5, 0.25, 0.25, 0.0]


def test_take_is_differentiated_in_a_compiled_function():
    @fastgrad.compile
    def slopes(x, i):
        values = [1.0 * x, x**2, x**3]
        y = fastgrad.take(values, i)
        return [grad(y, x), grad(grad(y, x), x), *grad(y, values)]

    found = slopes(numpy.array([2.0, 2.0, 2.0]), numpy.array([0, 1, 2]))
    assert found.tolist() == [[1, 0, 1, 0, 0], [4, 2, 0, 1, 0], [12, 12, 0, 0, 1]]


def test_a_compiled_gradient_penalty_trains_like_the_eager_one():
    random.seed(3)
    model = nn.MLP(2, [6, 1], activation="tanh")
    parameters = model.parameters()

    def loss(x):
        y = model(x)
        return y * y + 0.3 * F.l2(grad(y, x))

    rows = numpy.random.default_rng(0).normal(size=(20, 2))
    mean = F.mean([loss([Value(number) for number in row]) for row in rows.tolist()])
    expected = backward_of(mean, parameters)
    for leaf in parameters:
        leaf.grad = 0.0
    assert close(fastgrad.compile(loss).backward(rows), mean.data)
    assert all_close([leaf.grad for leaf in parameters], expected)


def test_parameters_are_read_at_each_call():
    w = Value(2.0)
    slope = fastgrad.compile(lambda x: grad(F.maximum(w * x, 0.0) ** 2, x))
    assert slope(3.0) == 24.0
    w.data = -1.0
    assert slope(3.0) == 0.0


# What a compiled derivative costs.


def arithmetic(function, *columns):
    """The instructions for every row that compute something, and the result of one row."""
    compiled = fastgrad.compile(function)
    found = compiled(*(numpy.array([column]) for column in columns))
    listing = re.sub(r" +test_derivatives.py:.*", "", str(compiled))
    lines = [line.split(" = ")[-1].split()[0] for line in listing.splitlines() if " = " in line]
    return [
        name for name in lines if name not in ("broadcast", *(f"v{n}" for n in range(99)), "2", "200")
    ], found


def test_a_rosenbrock_hessian_is_as_short_as_by_hand():
    def entries(a, b):
        return [entry for row in hessian(rosenbrock)([a, b]) for entry in row]

    names, found = arithmetic(entries, 1.0, 2.0)
    # 2a, -400a, 400a, a * a, b - a * a, the sum, and the product in it.
    assert sorted(names) == ["inner", "mul", "mul", "mul", "mul", "multiply_add", "sub"]
    assert found.tolist() == [[402.0, -400.0, -400.0, 200.0]]


def test_grad_of_a_function_says_what_takes_one():
    with pytest.raises(TypeError, match="not function: call it, or take derivatives"):
        grad(lambda x: x * x, Value(1.0))
    with pytest.raises(TypeError, match="not function: call it, or take derivatives"):
        grad(lambda x: x * x)(1.0)
    with pytest.raises(TypeError, match=r"grad\(y, xs\) needs the Values"):
        grad(Value(1.0))


def test_equal_nodes_are_computed_once():
    def slopes(x):
        y = x.exp().sin()
        return [y, grad(y, x), grad(grad(y, x), x)]

    names, _ = arithmetic(slopes, 0.5)
    assert [names.count(name) for name in ("exp", "sin", "cos")] == [1, 1, 1]


def test_one_choice_is_made_once():
    def slopes(x):
        y = F.where(x, x.sqrt(), 0.0)
        return [grad(y, x), grad(grad(y, x), x)]

    names, found = arithmetic(slopes, 0.0)
    assert names.count("where") == 2
    assert found.tolist() == [[0.0, 0.0]]


def test_what_follows_from_constants_is_one():
    names, found = arithmetic(lambda x: grad(3.0 * x * 2.0 + Value(2.0).exp(), x) * x, 5.0)
    assert names == ["mul"]
    assert found.tolist() == [30.0]


@pytest.mark.parametrize(
    "outputs",
    [
        lambda x, i: [x * 0.0, -0.0 * x, x * 1e200 * 1e200, x * 1e-200 * 1e-200 * 1e300],
        lambda x, i: [F.where(x != x, x, 1.0), F.where(Value(1.0), x, 0.0), F.where(x, x, x), x / 1.0],
        lambda x, i: [F.where(F.where(x, 0.0, 1.0), x, 2.0), F.where(x, F.where(x, 1.0, x), 2.0)],
        lambda x, i: [F.where(F.where(x, 1.0, 0.0), x, 2.0), F.where(x, x * F.where(x, 3.0, 4.0), 2.0)],
        lambda x, i: [fastgrad.take([x, 2.0, x * x], i), fastgrad.take([x, 2.0, x * x], i) + 1.0],
        lambda x, i: [F.logsumexp([x, 2.0, x]), F.dot([x, x], [2.0, x], x), 2.0 * x],
        lambda x, i: [Value(0.0) * x, (Value(2.0) * 3.0 - 1.0) * x, 0.0 - x, x - x],
    ],
)
def test_a_simplified_program_has_the_numbers_of_another(outputs):
    rows = numpy.array([2.5, -1.5, 0.0, -0.0, math.nan, math.inf, -math.inf, 1e-310])
    indices = numpy.arange(8) % 3

    def simplified(x, i):
        grad(x, x)
        return outputs(x, i)

    found, expected = (fastgrad.compile(each)(rows, indices) for each in (simplified, outputs))
    assert numpy.array_equal(found, expected, equal_nan=True)
    assert numpy.array_equal(numpy.signbit(found), numpy.signbit(expected))


def test_a_leaf_that_no_output_needs_is_no_parameter():
    w, v = Value(2.0), Value(3.0)
    compiled = fastgrad.compile(lambda x: grad(F.where(1.0, w * x, v * x), x))
    assert compiled(5.0) == 2.0
    assert compiled.parameters == [w]


# Derivatives of functions.


def rosenbrock(x):
    return sum(100 * (b - a**2) ** 2 + (1 - a) ** 2 for a, b in pairwise(x))


def curve(x, t):
    return [x[0] * (t * x[1]).exp(), x[0] ** 2 + x[1] * t, t * t]


def numbers_of(values):
    if isinstance(values, (list, tuple)):
        return [numbers_of(value) for value in values]
    return values.data


def test_the_shape_of_a_jacobian_is_that_of_the_result_and_the_argument():
    assert numbers_of(jacobian(lambda x: x**2)(3.0)) == 6.0
    assert numbers_of(jacobian(lambda x: x[0] * x[1])([3.0, 4.0])) == [4.0, 3.0]
    assert numbers_of(jacobian(lambda x: [x, 2 * x])(3.0)) == [1.0, 2.0]
    assert numbers_of(jacobian(lambda x: [x[0] * x[1], x[0], 1.0])((3.0, 4.0))) == [[4, 3], [1, 0], [0, 0]]


@pytest.mark.parametrize("argnums", [0, 1, -1])
def test_the_argument_that_a_jacobian_is_by(argnums):
    torch = pytest.importorskip("torch")
    x, t = torch.tensor([0.5, 2.0], dtype=torch.float64), torch.tensor(1.5, dtype=torch.float64)

    def in_torch(x, t):
        return torch.stack([x[0] * (t * x[1]).exp(), x[0] ** 2 + x[1] * t, t * t])

    expected = torch.autograd.functional.jacobian(in_torch, (x, t))[argnums].numpy()
    found = numpy.array(jacobian(curve, argnums)(numpy.array([0.5, 2.0]), 1.5), float)
    assert found.shape == expected.shape
    assert numpy.allclose(found, expected, rtol=1e-12)


def test_arguments_that_are_given_by_name_are_left_as_they_are():
    def power(x, *, n):
        return x**n

    assert jacobian(power)(2.0, n=3).data == 12.0
    assert hessian(power)(2.0, n=3).data == 12.0


def test_a_hessian_is_torchs():
    torch = pytest.importorskip("torch")
    point = [0.5, -1.0, 2.0, 0.1]
    expected = torch.autograd.functional.hessian(rosenbrock, torch.tensor(point, dtype=torch.float64))
    assert numpy.allclose(numpy.array(hessian(rosenbrock)(point), float), expected.numpy(), rtol=1e-12)


def test_a_hessian_by_a_single_value_is_one():
    assert hessian(lambda a, b: a**3 * b, 0)(2.0, 5.0).data == 60.0
    assert hessian(lambda a, b: a**3 * b, 1)(2.0, 5.0).data == 0.0


def test_a_product_with_the_hessian_is_that_of_the_matrix():
    point, direction = [0.5, -1.0, 2.0], [1.0, 0.3, -2.0]
    expected = numpy.array(hessian(rosenbrock)(point), float) @ direction
    assert numpy.allclose(numpy.array(hvp(rosenbrock, (point,), (direction,)), float), expected, rtol=1e-12)


def test_products_with_a_jacobian_are_those_of_the_matrix():
    point, t = [0.5, 2.0], 1.5
    by_x, by_t = (numpy.array(jacobian(curve, place)(point, t), float) for place in (0, 1))
    value, forward = jvp(curve, (point, t), ([1.0, -2.0], 0.5))
    assert numbers_of(value) == numbers_of(curve([Value(0.5), Value(2.0)], Value(1.5)))
    assert numpy.allclose(numbers_of(forward), by_x @ [1.0, -2.0] + by_t * 0.5, rtol=1e-12)
    value, pull = vjp(curve, point, t)
    reverse = pull([1.0, 2.0, 3.0])
    assert numpy.allclose(numbers_of(reverse[0]), by_x.T @ [1.0, 2.0, 3.0], rtol=1e-12)
    assert reverse[1].data == pytest.approx(by_t @ [1.0, 2.0, 3.0], rel=1e-12)


def test_values_given_are_those_that_are_differentiated_by():
    x = Value(2.0)
    found = jacobian(lambda x: x**3)(x)
    assert grad(found, x).data == 12.0


def test_derivatives_of_functions_compile():
    compiled = fastgrad.compile(lambda x: [each for row in hessian(rosenbrock)(x) for each in row])
    points = numpy.array([[0.5, -1.0, 2.0], [1.0, 1.0, 1.0]])
    expected = [numpy.array(hessian(rosenbrock)(point), float).ravel() for point in points]
    assert numpy.allclose(compiled(points), expected, rtol=1e-12)
    product = fastgrad.compile(lambda x, v: hvp(rosenbrock, (x,), (v,)))
    expected = [hessian.reshape(3, 3) @ [1.0, 2.0, 3.0] for hessian in expected]
    assert numpy.allclose(product(points, numpy.array([[1.0, 2, 3]] * 2)), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: jacobian(fastgrad.compile(lambda x: x))(2.0),
            TypeError,
            r"derivatives are .*jacobian\(...\)",
        ),
        (lambda: jacobian(lambda x: x, 1)(2.0), ValueError, "argnums is 1, but there are 1 arguments"),
        (
            lambda: jacobian(lambda x: x, (0,))(2.0),
            TypeError,
            r"argnums is the number of one argument, not \(0,\)",
        ),
        (lambda: jvp(lambda x: x, 2.0, 1.0), TypeError, "primals are a tuple of arguments, not 2.0"),
        (lambda: jvp(lambda x: x, (2.0,), 1.0), TypeError, "tangents are a tuple of arguments, not 1.0"),
        (lambda: grad(Value(2.0) * 3.0, 2.0), TypeError, "is by a Value or a list of Values, not by float"),
        (lambda: grad(Value(2.0) * 3.0, Neuron(1)), TypeError, r"not by Neuron: give its \.parameters\(\)"),
        (lambda: hessian(lambda x: [x])(2.0), TypeError, "one Value, not a list"),
        (lambda: hvp(lambda x: [x], (2.0,), (1.0,)), TypeError, "one Value, not a list"),
        (lambda: jacobian(lambda x: "no")(2.0), TypeError, "is a Value or a list of Values, not str"),
        (lambda: jacobian(lambda x: ["no"])(2.0), TypeError, "not one with a str"),
        (
            lambda: jvp(lambda x: x, (2.0,), (1.0, 2.0)),
            ValueError,
            "1 arguments need as many tangents, not 2",
        ),
        (lambda: jvp(lambda x: x, ([2.0],), (1.0,)), ValueError, r"tangents\[0\] is a single number"),
        (lambda: jacobian(lambda w: w[0][0])([[1.0, 2.0]]), TypeError, "not a list of lists"),
        (lambda: jacobian(lambda w: w[0][0])(numpy.eye(2)), TypeError, "not a list of lists"),
        (lambda: jacobian(lambda p: p["a"])({"a": 1.0}), TypeError, "a list of numbers, not a dict"),
        (
            lambda: vjp(lambda x: [x], 2.0)[1]([1.0, 2.0]),
            ValueError,
            "a list of 2, but the argument a list of 1",
        ),
    ],
)
def test_wrong_arguments_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_function_that_no_row_computes_has_no_derivatives_of_values():
    with pytest.raises(ValueError, match=r"airy\(a\) cannot be differentiated: no row computes it"):
        function_of("airy(a)", ("a",), False)


def test_arguments_and_results_may_be_numbers_or_arrays():
    assert jacobian(lambda x: x * x)(numpy.array(3.0)).data == 6.0
    rows = jacobian(lambda x: numpy.array([x[0] * x[1], x[1]]))([2.0, 3.0])
    assert [[entry.data for entry in row] for row in rows] == [[3.0, 2.0], [0.0, 1.0]]
    y, slope = jvp(lambda x: 3.0, (1.0,), (1.0,))
    assert (y.data, slope.data) == (3.0, 0.0)
