"""fastgrad.functional against PyTorch, and against values worked out by hand."""

import copy
import itertools
import math
import random
import re
import sysconfig

import mpmath
import numpy
import pytest

import fastgrad
import fastgrad.functional as F
from evidence.branches import NOT_CHOSEN
from fastgrad import Value
from fastgrad.engine import apply
from fastgrad.operations import FUNCTIONS, TABLE
from fastgrad.testing import gradcheck

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
VECTORS = {
    "ordinary": [0.5, -1.25, 2.0, 0.1, -3.0],
    "equal": [1.5, 1.5, 1.5],
    "single": [0.75],
    "large": [1000.0, -1000.0, 999.0],
    "tiny": [1e-300, -1e-300, 0.0],
}
ORDINARY = VECTORS["ordinary"]
TARGETS = [0.25, -1.0, 1.0, 0.0, 2.0]
SIGNS = [1, -1, -1, 1, 1]
BITS = [0, 1, 1, 0, 0.5]
LOGITS = [[0.5, -1.25, 2.0], [1000.0, -1000.0, 3.0], [0.0, 0.0, 0.0], [-5.0, -6.0, -1000.0]]
CLASSES = [2, 0, 1, 2]
REDUCTIONS = ["mean", "sum", "none"]


def leaves(numbers):
    return [Value(number) for number in numbers]


def total(result):
    """One node of whatever a function returns, each part weighted differently."""
    if isinstance(result, Value):
        return result
    return sum(value * (index + 1) for index, value in enumerate(result))


def numbers_of(result):
    return [result.data] if isinstance(result, Value) else [value.data for value in result]


def close(numbers, expected):
    assert numbers == pytest.approx(expected, rel=1e-12, abs=1e-14, nan_ok=True)


def agree_with_torch(torch, ours, theirs, *vectors):
    """Compare values and, through `total`, gradients of functions of vectors."""
    values = [leaves(vector) for vector in vectors]
    result = ours(*values)
    total(result).backward()
    tensors = [torch.tensor(vector, dtype=torch.float64, requires_grad=True) for vector in vectors]
    expected = theirs(*tensors)
    weights = torch.arange(1, expected.numel() + 1, dtype=torch.float64)
    (expected.reshape(-1) * weights).sum().backward()
    close(numbers_of(result), expected.reshape(-1).tolist())
    for own, tensor in zip(values, tensors, strict=True):
        close([value.grad for value in own], tensor.grad.tolist())


VECTOR_FUNCTIONS = {
    "sum": lambda torch, x: x.sum(),
    "mean": lambda torch, x: x.mean(),
    "logsumexp": lambda torch, x: x.logsumexp(0),
    "softmax": lambda torch, x: x.softmax(0),
    "log_softmax": lambda torch, x: x.log_softmax(0),
    "l2": lambda torch, x: (x * x).sum(),
    "rms_norm": lambda torch, x: torch.nn.functional.rms_norm(x, x.shape, eps=1e-5),
}


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
@pytest.mark.parametrize("name", VECTOR_FUNCTIONS)
def test_functions_of_a_vector_agree_with_torch(torch, name, vector):
    agree_with_torch(torch, getattr(F, name), lambda x: VECTOR_FUNCTIONS[name](torch, x), vector)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    ("name", "targets"),
    [("mse_loss", TARGETS), ("binary_cross_entropy_with_logits", BITS)],
)
def test_losses_agree_with_torch(torch, name, targets, reduction):
    theirs = getattr(torch.nn.functional, name)
    agree_with_torch(
        torch,
        lambda x, t: getattr(F, name)(x, t, reduction=reduction),
        lambda x, t: theirs(x, t, reduction=reduction),
        ORDINARY,
        [float(target) for target in targets],
    )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_losses_of_a_batch_of_classes_agree_with_torch(torch, name, reduction):
    width = len(LOGITS[0])
    theirs = getattr(torch.nn.functional, name)
    agree_with_torch(
        torch,
        lambda x: getattr(F, name)(
            [x[i : i + width] for i in range(0, len(x), width)], CLASSES, reduction=reduction
        ),
        lambda x: theirs(x.reshape(-1, width), torch.tensor(CLASSES), reduction=reduction),
        [logit for row in LOGITS for logit in row],
    )


@pytest.mark.parametrize("name", ["maximum", "minimum"])
@pytest.mark.parametrize(
    ("a", "b"),
    [
        (1.0, 2.0),
        (2.0, 1.0),
        (1.0, 1.0),
        (0.0, -0.0),
        (math.inf, -math.inf),
        (math.nan, 1.0),
        (1.0, math.nan),
    ],
)
def test_the_larger_and_the_smaller_agree_with_torch(torch, name, a, b):
    agree_with_torch(
        torch, lambda x, y: getattr(F, name)(x[0], y[0]), lambda x, y: getattr(torch, name)(x, y), [a], [b]
    )


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_equal_operands_share_the_gradient(name):
    a, b = Value(3.0), Value(3.0)
    getattr(F, name)(a, b).backward()
    assert (a.grad, b.grad) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("x", "chosen"), [(2.0, 0), (-2.0, 1), (0.0, 1), (math.nan, 1), (True, 0), (False, 1)]
)
@pytest.mark.parametrize("as_value", [True, False])
def test_where_takes_the_first_only_where_the_condition_is_positive(x, chosen, as_value):
    branches = Value(5.0), Value(math.inf)
    out = F.where(Value(x) if as_value else x, *branches)
    out.backward()
    assert out.data == branches[chosen].data
    assert [branch.grad for branch in branches] == [1.0 - chosen, float(chosen)]


@pytest.mark.parametrize("name", NOT_CHOSEN)
@pytest.mark.parametrize("searched", [False, True])
def test_no_gradient_reaches_what_was_not_chosen(name, searched):
    """Neither in the sweep nor in the order by search, for which a _backward of the user's is alive."""
    function, slope = NOT_CHOSEN[name]
    x, own = Value(0.0), Value(1.0)
    passed = Value(0.0, (x,), "own")
    if searched:
        own = passed
        own._backward = lambda: None
    (function(x) + 0.0 * own).backward()
    assert x.grad == slope


def test_what_was_not_chosen_is_not_visited():
    x = Value(0.0)
    ran = []
    node = Value(0.0, (x,), "own")
    node._backward = lambda: ran.append(node)
    F.where(x, node * 2, 1.0).backward()
    assert not ran


def test_what_is_used_elsewhere_too_gets_that_gradient():
    x = Value(4.0)
    root = x.sqrt()
    (F.where(Value(0.0), root * 100, 1.0) + root).backward()
    assert (root.grad, x.grad) == (1.0, 0.25)


def test_a_zero_gradient_elsewhere_is_multiplied():
    """0 times an infinite derivative is nan, as in micrograd; only a choice avoids it."""
    x = Value(0.0)
    (x.sqrt() * 0.0).backward()
    assert math.isnan(x.grad)


def test_where_is_one_node_of_its_operands():
    a, b, c = leaves([1, 2, 3])
    out = F.where(a, b, c)
    assert (out._op, out._children) == ("where", (a, b, c))


@pytest.mark.parametrize("row", FUNCTIONS, ids=lambda row: row.name)
def test_derivatives_of_the_rows_without_a_method(row):
    draw = random.Random(row.name)
    for _ in range(20):
        operands = [draw.uniform(-2, 2) for _ in range(row.operands)]
        if row.name == "polygamma":
            assert gradcheck(lambda x: F.polygamma(2, x), [abs(operands[1]) + 0.1])
        else:
            assert gradcheck(lambda *values: apply(row.name, *values), operands)


@pytest.mark.parametrize("row", FUNCTIONS, ids=lambda row: row.name)
def test_a_number_is_the_same_as_a_leaf(row):
    numbers = [2.0 if row.name == "polygamma" else 0.75, -1.5, 2.0][: row.operands]
    expected = apply(row.name, *leaves(numbers)).data
    for place in range(row.operands):
        mixed = [Value(number) if index == place else number for index, number in enumerate(numbers)]
        out = apply(row.name, *mixed)
        assert out.data == expected
        out.backward()
    assert apply(row.name, *numbers).data == expected


NUMBERS = (-2.5, -1.0, -0.75, -0.5, 0.0, 0.3, 0.5, 1.0, 1.5, 2.0, 3.0)
# The functions that torch has, too, by their names there.
IN_TORCH = {
    name: (lambda torch, name=name: getattr(torch, name))
    for name in (
        *(
            "erf",
            "erfc",
            "expm1",
            "log1p",
            "log2",
            "log10",
            "lgamma",
            "tan",
            "asin",
            "acos",
            "atan",
            "sinh",
            "cosh",
        ),
        *("asinh", "acosh", "atanh", "floor", "ceil", "round", "sign"),
    )
} | {
    "ndtr": lambda torch: torch.special.ndtr,
    "gelu": lambda torch: torch.nn.functional.gelu,
    "atan2": lambda torch: torch.atan2,
    "hypot": lambda torch: torch.hypot,
    "fmod": lambda torch: torch.fmod,
    "remainder": lambda torch: torch.remainder,
    "clip": lambda torch: torch.clip,
}


@pytest.mark.parametrize("name", IN_TORCH)
def test_values_and_gradients_are_torchs(torch, name):
    theirs = IN_TORCH[name](torch)
    compared = 0
    count = 3 if name == "clip" else getattr(F, name).__code__.co_argcount - (name == "gelu")
    for numbers in itertools.product(NUMBERS, repeat=count):
        operands = leaves(numbers)
        try:
            out = getattr(F, name)(*operands)
        except (ArithmeticError, ValueError):
            continue
        tensors = [torch.tensor(number, dtype=torch.float64, requires_grad=True) for number in numbers]
        expected = theirs(*tensors)
        expected.backward()
        out.backward()
        assert out.data == pytest.approx(expected.item(), rel=1e-13, abs=1e-15), numbers
        for mine, tensor in zip(operands, tensors, strict=True):
            assert mine.grad == pytest.approx(tensor.grad.item(), rel=1e-12, abs=1e-15, nan_ok=True), numbers
        compared += 1
    assert compared >= 4


def test_the_other_gelu_is_torchs(torch):
    for number in (-30.0, *NUMBERS, 30.0):
        x = Value(number)
        F.gelu(x, approximate="tanh").backward()
        tensor = torch.tensor(number, dtype=torch.float64, requires_grad=True)
        expected = torch.nn.functional.gelu(tensor, approximate="tanh")
        expected.backward()
        assert F.gelu(number, "tanh").data == pytest.approx(expected.item(), rel=1e-12, abs=1e-15)
        assert x.grad == pytest.approx(tensor.grad.item(), rel=1e-9, abs=1e-14)
    with pytest.raises(ValueError, match="one of none, tanh"):
        F.gelu(1.0, "erf")


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: F.polygamma(1.5, 2.0), TypeError, "the order of polygamma must be an integer, not 1.5"),
        (lambda: F.polygamma(101, 2.0), ValueError, "from 0 to 100"),
        (lambda: F.polygamma(-1, 2.0), ValueError, "from 0 to 100"),
        (lambda: F.polygamma(1, -3.0), ValueError, "a pole"),
        (lambda: F.digamma(0.0), ValueError, "a pole"),
        (lambda: F.lgamma(-2), ValueError, "a pole"),
        (lambda: F.clip(1.0), TypeError, "a min or a max"),
        (lambda: F.remainder(1.0, Value(0.0)), ZeroDivisionError, "division by zero"),
        (lambda: F.asin(1.5), ValueError, "between -1 and 1"),
    ],
)
def test_what_has_no_value_is_refused_in_words(call, error, text):
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize("order", [0, 1, 2, 5, 20, 100])
def test_polygamma_is_mpmaths(order):
    for x in (1e-3, 0.5, 1.0, 1.4616321449683622, 7.5, 40.0, 1e6, -0.5, -3.25, -20.1):
        expected = mpmath.psi(order, mpmath.mpf(x))
        if abs(expected) < 1e300:
            assert F.polygamma(order, x).data == pytest.approx(float(expected), rel=1e-11)


def test_conditions_are_those_of_where():
    x = Value(1.0)
    for condition in (F.greater(x, 0.5), F.logical_and(x, F.less(x, 2)), F.logical_not(F.equal(x, 2.0))):
        assert condition.data == 1.0
        y = F.where(condition, 3 * x, x.sqrt())
        x.grad = 0.0
        y.backward()
        assert x.grad == 3.0
    assert F.logical_or(-1.0, 0.0).data == 0.0
    assert F.logical_and(math.nan, 1.0).data == 0.0
    assert [F.greater_equal(1, 1).data, F.less_equal(2, 1).data, F.not_equal(1, 1).data] == [1.0, 0.0, 0.0]


def test_a_step_hands_no_gradient_on():
    """The infinite derivative below is not reached, not even times 0."""
    x = Value(0.0)
    (x.sqrt().floor() + x).backward()
    assert x.grad == 1.0
    compiled = fastgrad.compile(lambda x: x.sqrt().floor() + F.greater(x.sqrt(), 1.0) + x)
    assert compiled.input_gradients(numpy.array([0.0, 4.0])).tolist() == [1.0, 1.0]


def test_conditions_in_a_compiled_function():
    @fastgrad.compile
    def payoff(s, k):
        return F.where(F.logical_and(F.greater(s, k), F.less(s, 3.0)), (s % 2.0).erf(), F.floor(s))

    s, k = numpy.array([0.5, 1.5, 2.5, 3.5]), 1.0
    assert payoff(s, k) == pytest.approx([0.0, math.erf(1.5), math.erf(0.5), 3.0])
    slopes = payoff.input_gradients(s, k)[0]
    assert slopes == pytest.approx(
        [0.0, *(2 / math.sqrt(math.pi) * math.exp(-(t**2)) for t in (1.5, 0.5)), 0.0]
    )


@pytest.mark.parametrize(
    "name",
    [
        *(
            "log1p",
            "expm1",
            "arctan",
            "arcsin",
            "arccos",
            "sinh",
            "cosh",
            "tanh",
            "arcsinh",
            "arctanh",
            "tan",
        ),
        *("log2", "log10", "cbrt", "rint", "floor", "ceil", "sqrt", "exp", "log", "conjugate"),
    ],
)
def test_numpys_functions_find_the_methods(name):
    numbers = numpy.array([0.25, 0.75])
    found = getattr(numpy, name)(numpy.array([Value(number) for number in numbers]))
    assert [value.data for value in found] == pytest.approx(getattr(numpy, name)(numbers).tolist(), rel=1e-15)


@pytest.mark.parametrize("name", ["arctan2", "hypot", "fmod", "remainder"])
def test_numpys_functions_of_two_find_the_methods(name):
    a, b = numpy.array([0.25, -3.5]), numpy.array([0.75, 2.0])
    values = numpy.array([Value(number) for number in a])
    expected = getattr(numpy, name)(a, b).tolist()
    assert [value.data for value in getattr(numpy, name)(values, b)] == pytest.approx(expected, rel=1e-15)
    method = getattr(values[0], {"remainder": "__mod__"}.get(name, name))
    assert [value.data for value in method(b)] == pytest.approx(getattr(numpy, name)(a[0], b).tolist())


def test_numpys_standard_deviation_of_values():
    numbers = [1.0, 2.0, 4.0]
    found = numpy.std(numpy.array([Value(number) for number in numbers]))
    assert found.data == pytest.approx(numpy.std(numbers), rel=1e-15)


def test_pythons_rounding_of_a_value_is_a_value():
    x = Value(2.675)
    assert [math.floor(x).data, math.ceil(x).data, round(x).data, round(x, 1).data] == [2.0, 3.0, 3.0, 2.7]
    assert round(Value(2.5)).data == 2.0
    assert round(Value(1234.0), -2).data == 1200.0


@pytest.mark.parametrize("name", ["erf", "lgamma", "log1p"])
def test_a_function_of_the_math_module_is_advised_against_by_the_methods_name(name):
    with pytest.raises(fastgrad.TracingError, match=rf"write x\.{name}\(\) for math\.{name}\(x\)"):
        fastgrad.compile(lambda x: getattr(math, name)(x))(numpy.array([1.0]))


def test_the_hinge_is_the_max_margin_loss_of_micrograds_demo():
    scores, ours = leaves(ORDINARY), leaves(ORDINARY)
    losses = [(1 + -target * score).relu() for score, target in zip(scores, SIGNS, strict=True)]
    expected = sum(losses) * (1.0 / len(losses))
    expected.backward()
    result = F.hinge_loss(ours, SIGNS)
    result.backward()
    close([result.data, *(v.grad for v in ours)], [expected.data, *(v.grad for v in scores)])
    none = F.hinge_loss(leaves(ORDINARY), SIGNS, reduction="none")
    assert [value.data for value in none] == [value.data for value in losses]


@pytest.mark.parametrize(
    ("logit", "target", "loss"), [(1000.0, 0, 1000.0), (1000.0, 1, 0.0), (-1000.0, 1, 1000.0)]
)
def test_logistic_loss_of_extreme_logits(logit, target, loss):
    x = Value(logit)
    out = F.binary_cross_entropy_with_logits([x], [target])
    out.backward()
    assert out.data == loss
    assert x.grad == (1.0 if logit > 0 else 0.0) - target


@pytest.mark.parametrize(("logit", "target", "slope"), [(1000.0, -0.5, 1.5), (1000.0, 2.0, -1.0)])
def test_slope_of_the_logistic_loss_overflows_nowhere(logit, target, slope):
    """The same for targets that are not probabilities."""
    x = Value(logit)
    apply("logistic", x, target).backward()
    assert x.grad == pytest.approx(slope, rel=1e-9, abs=0)


def test_cross_entropy_of_extreme_logits():
    logits = leaves([1000.0, 0.0, -1000.0])
    loss = F.cross_entropy(logits, 1)
    loss.backward()
    assert loss.data == 1000.0
    assert [logit.grad for logit in logits] == [1.0, -1.0, 0.0]


def test_cross_entropy_by_hand():
    logits = leaves([math.log(1), math.log(2), math.log(5)])
    loss = F.cross_entropy(logits, 2)
    loss.backward()
    close([loss.data, *(v.grad for v in logits)], [math.log(8 / 5), 1 / 8, 2 / 8, 5 / 8 - 1])


def test_softmax_by_hand():
    close([v.data for v in F.softmax([math.log(1), math.log(3)])], [0.25, 0.75])


def test_nll_loss_of_log_softmax_is_cross_entropy():
    ours, theirs = [leaves(row) for row in LOGITS], [leaves(row) for row in LOGITS]
    F.nll_loss([F.log_softmax(row) for row in ours], CLASSES).backward()
    F.cross_entropy(theirs, CLASSES).backward()
    for row, other in zip(ours, theirs, strict=True):
        close([v.grad for v in row], [v.grad for v in other])


def test_rms_norm_with_weights():
    x, w = leaves([3.0, 4.0]), leaves([2.0, -1.0])
    scale = 1 / math.sqrt(12.5 + 1e-5)
    close([v.data for v in F.rms_norm(x, w)], [6 * scale, -4 * scale])


def test_the_epsilon_of_rms_norm_goes_by_its_name():
    close([v.data for v in F.rms_norm(leaves([3.0, 4.0]), eps=12.5)], [0.6, 0.8])
    with pytest.raises(TypeError):
        F.rms_norm(leaves([3.0, 4.0]), None, 12.5)


def test_add_and_scale_by_hand():
    x, y, factor = leaves([1, 2]), leaves([10, 20]), Value(3.0)
    assert [v.data for v in F.add(x, y)] == [11.0, 22.0]
    out = F.scale(x, factor)
    F.sum(out).backward()
    assert [v.data for v in out] == [3.0, 6.0]
    assert (x[0].grad, factor.grad) == (3.0, 3.0)
    assert [v.data for v in F.scale([1, 2], 0.5)] == [0.5, 1.0]


# Linear.


def as_lists(rows):
    return [list(row) for row in rows]


def as_tuples(rows):
    return tuple(tuple(row) for row in rows)


@pytest.fixture(params=[as_lists, as_tuples, F.Matrix], ids=["lists", "tuples", "Matrix"])
def matrix(request):
    """Each kind of weight that linear takes."""
    return request.param


def grid(rows, columns, seed=0):
    draw = random.Random(seed)
    return [[Value(draw.gauss(0, 1)) for _ in range(columns)] for _ in range(rows)]


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("activation", ["linear", "relu", "tanh", "sigmoid"])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 3), (4, 5), (5, 1), (7, 16)])
def test_linear_is_the_sum_of_the_products(matrix, rows, columns, activation, with_bias):
    w, b, (x,) = grid(rows, columns), grid(1, rows, 1)[0], grid(1, columns, 2)
    weight = matrix(w)
    for _ in range(2):
        out = F.linear(x, weight, b if with_bias else None, activation)
        expected = []
        for row, bias in zip(w, b, strict=True):
            terms = [wi * xi for wi, xi in zip(row, x, strict=True)]
            total = sum(terms, bias) if with_bias else sum(terms[1:], terms[0])
            expected.append(total if activation == "linear" else getattr(total, activation)())
        assert [value.data for value in out] == [value.data for value in expected]
        everything = [value for row in [*w, b, x] for value in row]
        gradients = []
        for result in (out, expected):
            for value in everything:
                value.grad = 0.0
            total_of = sum(value * (index + 1) for index, value in enumerate(result))
            total_of.backward()
            gradients.append([value.grad for value in everything])
        close(gradients[0], gradients[1])


def test_replaced_weights_are_seen(matrix):
    rows, x = grid(2, 3), leaves([1, 2, 3])
    weight = matrix(rows)
    F.linear(x, weight)
    new = Value(100.0)
    if matrix is as_tuples:
        weight = (weight[0], (weight[1][0], new, weight[1][2]))
    else:
        weight[1][1] = new
    out = F.linear(x, weight)[1]
    out.backward()
    assert new.grad == 2.0
    assert out.data == weight[1][0].data + 200.0 + 3 * weight[1][2].data
    weight = [leaves([1, 1, 1]), *weight]
    assert len(F.linear(x, weight)) == 3


def test_computed_weights_get_their_gradient(matrix):
    rows = [[Value(2.0).tanh(), Value(1.0)], [Value(3.0), Value(0.5).exp()]]
    sources = [next(iter(rows[0][0]._prev)), next(iter(rows[1][1]._prev))]
    sum(F.linear([Value(1.0), Value(10.0)], matrix(rows))).backward()
    close([v.grad for v in sources], [1 - math.tanh(2) ** 2, 10 * math.exp(0.5)])


def test_a_vector_used_by_two_layers_gets_both_gradients():
    source = leaves([0.5, -0.25])
    x = tuple(value * 2 for value in source)
    first, second = F.Matrix(grid(3, 2)), F.Matrix(grid(2, 2, 5))
    sum([*F.linear(x, first), *F.linear(x, second), *F.linear(x, first)]).backward()
    expected = [
        2 * (2 * sum(row[i].data for row in first) + sum(row[i].data for row in second)) for i in range(2)
    ]
    close([value.grad for value in source], expected)


def test_numbers_may_be_weights_inputs_and_biases(matrix):
    assert [v.data for v in F.linear([1, 2.0], matrix([[3, 4], [5, 6]]), [10, 20])] == [21.0, 37.0]


def test_a_matrix_forgets_nothing_but_keeps_no_graph_alive(live_nodes):
    before = live_nodes()
    weight, x = F.Matrix(grid(3, 2)), leaves([1, 2])
    F.linear([value * 1 for value in x], weight)
    assert live_nodes() == before + 8
    del weight, x
    assert live_nodes() == before


def test_a_matrix_whose_rows_grow_is_read_anew():
    weight = F.Matrix(grid(3, 2))
    F.linear(leaves([1, 2]), weight)
    for row in weight:
        row.append(Value(1.0))
    expected = [sum(w.data * x for w, x in zip(row, (1, 2, 3), strict=True)) for row in weight]
    close([value.data for value in F.linear(leaves([1, 2, 3]), weight)], expected)


def test_a_matrix_is_copied_as_a_list_is():
    weight = F.Matrix(grid(3, 2))
    copied = copy.deepcopy(weight)
    assert type(copied) is F.Matrix
    assert [[v.data for v in row] for row in copied] == [[v.data for v in row] for row in weight]
    assert copied[0][0] is not weight[0][0]


# What is refused.


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: F.cross_entropy(leaves([1, 2, 3]), 3), "target is 3, but there are 3 classes"),
        (lambda: F.cross_entropy(leaves([1, 2, 3]), -1), "target is -1, but there are 3 classes"),
        (lambda: F.nll_loss(leaves([1, 2]), 2), "target is 2, but there are 2 classes"),
        (lambda: F.cross_entropy([leaves([1, 2])] * 3, [0, 1]), "got 3 and 2"),
        (lambda: F.cross_entropy([], []), "cross_entropy of no values"),
        (lambda: F.cross_entropy([[]], [0]), "the target is 0, but there are 0 classes"),
        (lambda: F.mse_loss(leaves([1, 2]), [1]), "got 2 and 1"),
        (lambda: F.mse_loss([], []), "got 0 and 0"),
        (lambda: F.hinge_loss(leaves([1]), [1, 1]), "got 1 and 2"),
        (lambda: F.hinge_loss(leaves([1]), [1], reduction="median"), "not 'median'"),
        (lambda: F.mse_loss(leaves([1]), [1], reduction="median"), "not 'median'"),
        (lambda: F.cross_entropy(leaves([1]), 0, reduction="median"), "not 'median'"),
        (lambda: F.binary_cross_entropy_with_logits([], []), "got 0 and 0"),
        (lambda: F.sum([]), "sum of no values"),
        (lambda: F.mean([]), "mean of no values"),
        (lambda: F.softmax([]), "softmax of no values"),
        (lambda: F.log_softmax([]), "log_softmax of no values"),
        (lambda: F.logsumexp([]), "^logsumexp of no values"),
        (lambda: F.l2([]), "l2 of no values"),
        (lambda: F.rms_norm([]), "rms_norm of no values"),
        (lambda: F.rms_norm(leaves([1, 2]), [1]), "got 2 and 1"),
        (lambda: F.dot([1, 2], leaves([1])), "2 and 1"),
        (lambda: F.linear(leaves([1, 2]), [[1, 2], [3]]), "row 1 has 1 weights for 2 inputs"),
        (lambda: F.linear(leaves([1, 2]), [[1, 2]], [1, 2]), "1 rows of weights was given 2 biases"),
        (lambda: F.linear(leaves([1, 2]), [[1, 2, 3]], [1]), "row 0 has 3 weights for 2 inputs"),
        (lambda: F.linear([], [[]]), "0 inputs"),
        (lambda: F.add([1, 2], [3]), "got 2 and 1"),
        (lambda: F.linear(leaves([1]), []), "0 rows"),
        (lambda: F.linear(leaves([1]), [[1]], None, "gelu"), "not 'gelu'"),
        (lambda: apply("median", 1, 2), "there is no operation 'median'"),
    ],
)
def test_wrong_sizes_are_value_errors_that_name_them(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: F.maximum([1], Value(2)),
        lambda: F.maximum(Value(2), "1"),
        lambda: F.where(Value(2), None, 1),
        lambda: F.sum(["a"]),
        lambda: F.cross_entropy(leaves([1, 2]), 0.5),
        lambda: F.softmax([1j]),
        lambda: F.scale([1], "2"),
        lambda: F.scale([1], [2]),
        lambda: apply("maximum", 1),
        lambda: apply("where", 1, 2),
    ],
)
def test_what_is_no_number_raises_type_error(call):
    with pytest.raises(TypeError):
        call()


A_VECTOR = [Value(1.0), Value(2.0)]
OF_ONE = ("sum", "mean", "logsumexp", "l2", "softmax", "log_softmax", "rms_norm")
OF_TWO = ("mse_loss", "hinge_loss", "binary_cross_entropy_with_logits", "dot", "linear", "add")
WITH_WRONG = [
    *((name, lambda wrong: [wrong]) for name in OF_ONE),
    *((name, lambda wrong: [wrong, A_VECTOR]) for name in OF_TWO),
    *((name, lambda wrong: [A_VECTOR, wrong]) for name in OF_TWO),
    *((name, lambda wrong: [wrong, 0]) for name in ("scale", "cross_entropy", "nll_loss")),
]


@pytest.mark.parametrize("wrong", [Value(1.0), 1.0, 3, None], ids=["Value", "float", "int", "None"])
@pytest.mark.parametrize(("name", "arguments"), WITH_WRONG)
def test_what_is_no_vector_is_named_with_the_function(name, arguments, wrong):
    message = f"^{name} needs a list of Values or numbers, not {re.escape(repr(wrong))}$"
    with pytest.raises(TypeError, match=message):
        getattr(F, name)(*arguments(wrong))


@pytest.mark.parametrize("label", [0, False, 0.0, 2, math.nan], ids=repr)
def test_the_labels_of_the_hinge_are_1_and_minus_1(label):
    with pytest.raises(ValueError, match=rf"hinge_loss: a target is -1 or 1, but number 1 is {label!r}"):
        F.hinge_loss(leaves([1, 2]), [1, label])


def test_a_value_may_be_the_label_of_a_hinge():
    assert F.hinge_loss(leaves([2]), [Value(0.25)]).data == 0.5


@pytest.mark.parametrize("error", [ValueError, TypeError])
def test_errors_of_the_users_own_values_are_passed_on(error):
    raised = error("squares of no values")

    def values():
        yield 1.0
        raise raised

    with pytest.raises(error) as caught:
        F.l2(values())
    assert caught.value is raised


@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss], ids=lambda loss: loss.__name__)
@pytest.mark.parametrize(
    ("rows", "target"),
    [([1.0, 2.0], 1.0), ([1.0, 2.0], [0, 1]), ([[1.0, 2.0]], [1.0]), ([[1.0, 2.0]], [[0, 1]])],
    ids=["a float", "one-hot", "a float in a batch", "one-hot in a batch"],
)
def test_a_target_that_is_no_integer_raises_type_error_that_says_what_it_is(loss, rows, target):
    with pytest.raises(TypeError, match=f"^{loss.__name__}: the target is the number of a class, .*, not "):
        loss(rows, target)


@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss], ids=lambda loss: loss.__name__)
def test_a_target_that_is_a_value_raises_type_error(loss):
    with pytest.raises(TypeError, match=f"^{loss.__name__}: the target is .* not a Value"):
        loss([1.0, 2.0], Value(1.0))


def test_a_target_of_floats_in_a_compiled_function_raises_type_error():
    compiled = fastgrad.compile(lambda x, y: F.cross_entropy(x, y))
    with pytest.raises(TypeError, match=r"^cross_entropy: the target is .* an argument of integers"):
        compiled([[1.0, 2.0]], [1.0])


def test_one_target_for_a_batch_raises_type_error():
    with pytest.raises(TypeError, match=r"^cross_entropy: a batch needs a target for each of its 2 rows"):
        F.cross_entropy([[1.0, 2.0], [1.0, 2.0]], 1)


@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss], ids=lambda loss: loss.__name__)
def test_a_batch_and_its_rows_may_be_any_iterables(loss):
    batch = loss((iter(row) for row in LOGITS), iter(CLASSES))
    assert batch.data == loss(LOGITS, CLASSES).data


@pytest.mark.parametrize("row", [o for o in TABLE if o.operands == 1], ids=lambda o: o.name)
def test_apply_of_one_operand_is_the_method(row):
    def outcome(call, *operands):
        try:
            return repr(call(*operands))
        except (ArithmeticError, ValueError) as error:
            return repr(error)

    for number in (0.5, -1.0, 0.0, 1e300, math.inf, -math.inf, math.nan):
        expected = outcome(getattr(Value(number), row.method))
        assert outcome(apply, row.name, number) == expected
        assert outcome(apply, row.name, Value(number)) == expected


@pytest.mark.parametrize("activation", ["linear", "tanh"])
def test_a_dot_product_of_one_pair_looks_like_micrograds(activation):
    w, x = Value(0.5), Value(0.25)
    [out] = F.linear([x], [[w]], activation=activation)
    product = out if activation == "linear" else out._children[0]
    assert (product._op, product._children) == ("*", (w, x))
    out.backward()
    assert (w.grad, x.grad) == (product.grad * 0.25, product.grad * 0.5)


class Tracking:
    """A number that has the collector track a Value when it is asked for its value."""

    def __init__(self, value):
        self.value = value

    def __float__(self):
        self.value.itself = self.value
        return 1.0


def test_a_cycle_made_while_operands_are_converted_is_freed(live_nodes):
    before = live_nodes()
    x, w = Value(2.0), Value(3.0)
    dot = F.dot([w, Tracking(x)], [x, 1.0])
    matrix = F.linear([x, 1.0], [[w, 1.0], [Tracking(w), Tracking(x)]])
    x.itself, w.itself = dot, matrix
    del x, w, dot, matrix
    assert live_nodes() == before


@pytest.mark.skipif(FREE_THREADED, reason="without the lock each call converts rows of its own")
def test_rows_that_change_while_they_are_converted_are_refused():
    class Meddling:
        def __float__(self):
            F.linear([1.0], F.Matrix([[2.0], [3.0]]))
            weight[0].append(Value(5.0))
            F.linear([1.0, 2.0, 3.0], [*weight[:1]] * 2)
            F.linear([1.0, 2.0, 3.0], weight_of_three())
            return 1.0

    def weight_of_three():
        weight[1] = [1.0, 1.0, 1.0]
        return weight

    weight = F.Matrix([leaves([1, 2]), [1.0, Meddling()]])
    with pytest.raises(RuntimeError, match="changed while"):
        F.linear([1.0, 2.0], weight)


@pytest.mark.parametrize("number", [-1000.0, -30.0, -1.0, 0.0, 0.5, 30.0, 1000.0])
@pytest.mark.parametrize("name", ["softplus", "silu", "leaky_relu"])
def test_activations_are_torchs(torch, name, number):
    x = Value(number)
    out = getattr(F, name)(x)
    out.backward()
    other = torch.tensor(number, dtype=torch.float64, requires_grad=True)
    expected = getattr(torch.nn.functional, name)(other)
    expected.backward()
    # torch's softplus is the identity above 20.
    assert out.data == pytest.approx(expected.item(), rel=1e-12, abs=1e-12)
    assert x.grad == pytest.approx(other.grad.item(), rel=1e-12, abs=1e-12)
    assert F.leaky_relu(-2.0, 0.5).data == -1.0
