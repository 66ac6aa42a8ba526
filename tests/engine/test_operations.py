"""Every operation of the table, for every kind of operand, on a grid of ordinary and special numbers."""

import math
import operator
import sys
from itertools import product

import pytest

from evidence.oracles import (
    GRID,
    IN_MICROGRAD,
    NUMBERS,
    ORDINARY,
    VALUE,
    BackwardError,
    Outcome,
    apply,
    close,
    exact_outcome,
    is_complex_power,
    micrograd_outcome,
    outcome,
    same,
    torch_outcome,
    within_ulps,
    writable,
)
from fastgrad import Value
from fastgrad.operations import BY_NAME, TABLE

UNARY = [operation for operation in TABLE if operation.operands == 1]
BINARY = [operation for operation in TABLE if operation.operands == 2]
OPERATORS = [operation for operation in BINARY if operation.method.startswith("__")]
# Operands for operations that do not take the common ones.
INSIDE = {"asin": (0.25, 0.5), "acos": (0.25, 0.5), "atanh": (0.25, 0.5), "acosh": (1.5, 2.5)}
PAIRS = [(VALUE, VALUE), *((VALUE, kind) for kind in NUMBERS), *((kind, VALUE) for kind in NUMBERS)]
INEXACT_IN_MICROGRAD = ("div", "pow")


def named(parameter):
    """A test's id: the name of an operation, a pair of kinds as `float, Value`."""
    if isinstance(parameter, tuple) and not hasattr(parameter, "name"):
        return ", ".join(kind.name for kind in parameter)
    return parameter.name


each_operation = pytest.mark.parametrize("operation", TABLE, ids=named)
each_unary = pytest.mark.parametrize("operation", UNARY, ids=named)
each_binary = pytest.mark.parametrize("operation", BINARY, ids=named)
each_operator = pytest.mark.parametrize("operation", OPERATORS, ids=named)
each_pair = pytest.mark.parametrize("kinds", PAIRS, ids=named)


def grids(operation, kinds=None):
    """All combinations of the grid's numbers that the kinds of operands can stand for."""
    kinds = kinds or (VALUE,) * operation.operands
    return product(*map(writable, kinds))


def written(numbers, kinds=None):
    kinds = kinds or (VALUE,) * len(numbers)
    return [kind.write(number) for kind, number in zip(kinds, numbers, strict=True)]


def differentiable(kinds):
    return tuple(kind is VALUE for kind in kinds)


def test_the_row_of_each_operation_is_a_method_of_value():
    for operation in TABLE:
        assert getattr(Value, operation.method).__doc__
        assert BY_NAME[operation.name] is operation


# Against micrograd.


def out_of_micrograds_range(operation, numbers, kinds):
    """Whether micrograd's derivative is wrong here; each such case has a test of its own below."""
    right = numbers[1]
    if operation.name == "div":
        # It computes b**-2 by itself, which has left the range of floats.
        return kinds[1] is VALUE and not sys.float_info.min <= abs(right) ** -2.0 <= sys.float_info.max
    if operation.name == "pow":
        return right == 0.0
    return False


def has_micrograds(operation, kinds):
    """micrograd has no exponent that is a Value."""
    return operation.name in IN_MICROGRAD or (operation.name == "pow" and kinds[1] is not VALUE)


@pytest.mark.parametrize(
    ("operation", "kinds"),
    [pair for pair in product(BINARY, PAIRS) if has_micrograds(*pair)],
    ids=named,
)
def test_binary_operation_is_micrograds(operation, kinds):
    differences = []
    for numbers in grids(operation, kinds):
        ours = outcome(operation, *written(numbers, kinds))
        try:
            theirs = micrograd_outcome(operation, numbers, differentiable(kinds))
        except BackwardError:
            assert isinstance(ours, Outcome), "only micrograd's backward() raises"
            continue
        if isinstance(theirs, type) or isinstance(ours, type):
            agree = ours is theirs
        else:
            ulps = 1 if operation.name in INEXACT_IN_MICROGRAD else 0
            agree = within_ulps(ours.value, theirs.value, ulps)
            if not out_of_micrograds_range(operation, numbers, kinds):
                agree &= all(map(close, ours.gradients, theirs.gradients))
        if not agree:
            differences.append((numbers, ours, theirs))
    assert not differences


def test_relu_is_micrograds():
    for number in GRID:
        ours = outcome(BY_NAME["relu"], Value(number))
        theirs = micrograd_outcome(BY_NAME["relu"], (number,), (True,))
        assert same(ours.value, theirs.value), number
        assert same(*ours.gradients, *theirs.gradients), number


def test_negation_is_micrograds():
    for number in GRID:
        operand = Value(number)
        result = -operand
        result.backward()
        assert same(result.data, number * -1)
        assert operand.grad == -1.0


# Against Python's numbers.


# math's floor and ceil are integers.
@pytest.mark.parametrize(
    "operation", [row for row in UNARY if hasattr(math, row.name) and not row.selects], ids=named
)
def test_value_and_exception_are_those_of_the_math_module(operation):
    for number in GRID:
        try:
            expected = getattr(math, operation.name)(number)
        except (ValueError, OverflowError) as error:
            with pytest.raises(type(error)):
                apply(operation, Value(number))
        else:
            # Python computes lgamma by itself, and not as well.
            ulps = 128 if operation.name == "lgamma" else 0
            assert within_ulps(apply(operation, Value(number)).data, expected, ulps), number


def test_value_of_abs_is_pythons():
    for number in GRID:
        assert same(abs(Value(number)).data, abs(number))


@pytest.mark.parametrize("kinds", [pair for pair in PAIRS if pair[1] is VALUE], ids=named)
def test_value_and_exception_of_a_power_are_pythons(kinds):
    for base, exponent in grids(BY_NAME["pow"], kinds):
        operands = written((base, exponent), kinds)
        if is_complex_power(BY_NAME["pow"], (base, exponent)):
            with pytest.raises(ValueError, match="no real fractional power"):
                operator.pow(*operands)
            continue
        try:
            expected = base**exponent
        except ArithmeticError as error:
            with pytest.raises(type(error)):
                operator.pow(*operands)
        else:
            assert within_ulps(operator.pow(*operands).data, expected, 1), (base, exponent)


# Against PyTorch.


def torch_disagrees(operation, numbers):
    """Whether fastgrad follows micrograd and not torch here; each such case has a test of its own below."""
    if operation.name in ("abs", "relu", "sign"):
        return math.isnan(numbers[0])
    # torch computes the square of an operand, which leaves the range of doubles, or its own trigamma.
    if operation.name in ("asinh", "acosh", "atan2"):
        return any(number and not 1e-150 < abs(number) < 1e150 for number in numbers)
    if operation.name == "log10":
        return numbers[0] > 1e307
    return operation.name == "digamma" or (operation.name == "fmod" and math.inf in map(abs, numbers))


@pytest.mark.parametrize(
    ("operation", "kinds"),
    [(row, (VALUE,)) for row in UNARY]
    + list(product(BINARY, [(VALUE, VALUE), (VALUE, NUMBERS[0]), (NUMBERS[0], VALUE)])),
    ids=named,
)
def test_gradient_is_torchs(torch, operation, kinds):
    if not hasattr(torch, operation.name):
        pytest.skip(f"torch has no {operation.name}")
    differences = []
    for numbers in grids(operation, kinds):
        ours = outcome(operation, *written(numbers, kinds))
        if isinstance(ours, type) or torch_disagrees(operation, numbers):
            continue
        theirs = torch_outcome(torch, operation, numbers, differentiable(kinds))
        if not (close(ours.value, theirs.value) and all(map(close, ours.gradients, theirs.gradients))):
            differences.append((numbers, ours, theirs))
    assert not differences


# Against mpmath.


@each_operation
def test_value_and_derivatives_are_those_of_mpmath(operation):
    compared = 0
    for numbers in product(ORDINARY, repeat=operation.operands):
        ours = outcome(operation, *written(numbers))
        if isinstance(ours, type):
            continue
        exact = exact_outcome(operation, numbers)
        assert within_ulps(ours.value, exact.value, 2), numbers
        # 1 - tanh**2 keeps few digits where tanh is near 1: hence the absolute tolerance.
        for mine, theirs in zip(ours.gradients, exact.gradients, strict=True):
            assert close(mine, theirs) or abs(mine - theirs) < sys.float_info.epsilon, numbers
        compared += 1
    # An inverse hyperbolic tangent takes only half of the operands.
    assert compared >= 2


# The same for all operations.


@pytest.mark.parametrize("operation", [row for row in TABLE if not row.errors], ids=named)
def test_an_operation_that_lists_no_errors_never_raises(operation):
    for numbers in grids(operation):
        assert isinstance(outcome(operation, *written(numbers)), Outcome)


@each_operation
def test_backward_never_raises(operation):
    for numbers in grids(operation):
        try:
            result = apply(operation, *written(numbers))
        except (ArithmeticError, ValueError):
            continue
        result.backward()


@each_operation
def test_backward_multiplies_by_the_gradient_of_the_result(operation):
    for numbers in product(ORDINARY, repeat=operation.operands):
        alone = outcome(operation, *written(numbers))
        if isinstance(alone, type):
            continue
        operands = written(numbers)
        (apply(operation, *operands) * -3.0).backward()
        for operand, gradient in zip(operands, alone.gradients, strict=True):
            assert close(operand.grad, -3.0 * gradient), numbers


@each_operation
def test_backward_uses_the_data_of_that_moment(operation):
    """Assigning `data` between an operation and its backward changes the derivative, as in micrograd."""
    before, after = (0.5, 2.0), (2.0, 3.0)
    if operation.name in INSIDE:
        before, after = INSIDE[operation.name][:1], INSIDE[operation.name][1:]
    operands = written(before[: operation.operands])
    result = apply(operation, *operands)
    for operand, number in zip(operands, after, strict=False):
        operand.data = number
    result.data = apply(operation, *operands).data
    result.backward()
    fresh = outcome(operation, *written(after[: operation.operands]))
    assert tuple(operand.grad for operand in operands) == fresh.gradients


@each_binary
def test_repeated_operand_gets_both_contributions(operation):
    for number in GRID:
        left, right = Value(number), Value(number)
        apart = outcome(operation, left, right)
        x = Value(number)
        together = outcome(operation, x, x)
        if isinstance(apart, type):
            assert together is apart
        else:
            assert same(together.value, apart.value)
            assert same(x.grad, left.grad + right.grad), number


@each_binary
@each_pair
def test_result_of_any_pair_of_operands_is_a_value(operation, kinds):
    result = apply(operation, *written((1.0, 1.0), kinds))
    assert type(result) is Value
    assert type(result.data) is float


@each_operator
def test_operator_method_can_be_called_by_name(operation):
    direct = operation.method
    reflected = direct.replace("__", "__r", 1)
    assert getattr(Value(2.0), direct)(3.0).data == apply(operation, 2.0, Value(3.0)).data
    assert getattr(Value(2.0), reflected)(3.0).data == apply(operation, 3.0, Value(2.0)).data
    assert getattr(Value(2.0), direct)(Value(3.0)).data == apply(operation, Value(2.0), Value(3.0)).data


@each_operator
def test_assigning_operator_makes_a_new_node(operation):
    symbol = operation.symbol
    names = {"x": Value(2.0), "y": Value(3.0)}
    x = names["x"]
    exec(f"x {symbol}= y", names)
    assert names["x"] is not x
    assert names["x"].data == apply(operation, Value(2.0), Value(3.0)).data
    assert x.data == 2.0


@each_operation
def test_the_same_operation_twice_gives_the_same_bits(operation):
    for numbers in grids(operation):
        first, second = (outcome(operation, *written(numbers)) for _ in range(2))
        if isinstance(first, type):
            assert second is first
        else:
            assert same(first.value, second.value)
            assert all(map(same, first.gradients, second.gradients))


# Where fastgrad differs on purpose.


def test_gradient_of_the_exponent_at_a_negative_base_is_nan():
    exponent = Value(2.0)
    (Value(-3.0) ** exponent).backward()
    assert math.isnan(exponent.grad)


@pytest.mark.parametrize("power", [0.0, 0.5, 2.0, 1e300])
def test_gradient_of_the_exponent_at_base_zero_is_zero(power):
    exponent = Value(power)
    (Value(0.0) ** exponent).backward()
    assert exponent.grad == 0.0


def test_gradient_of_a_negative_exponent_at_base_zero_is_that_of_the_infinite_result():
    exponent = Value(-math.inf)
    (Value(0.0) ** exponent).backward()
    assert exponent.grad == -math.inf


@pytest.mark.parametrize("base", [0.0, math.nan, 5e-324, -2.0])
def test_gradient_of_the_base_at_exponent_zero_is_zero(base):
    """micrograd computes 0 * base**-1: it raises at 0 and at 5e-324, and is nan at nan."""
    x = Value(base)
    (x**0).backward()
    assert x.grad == 0.0


@pytest.mark.parametrize("exponent", [0.5, 0.25])
def test_gradient_of_a_root_at_zero_is_infinite(exponent):
    """micrograd's backward raises ZeroDivisionError."""
    x = Value(0.0)
    (x**exponent).backward()
    assert x.grad == math.inf


def test_gradient_by_a_huge_divisor_does_not_vanish():
    """micrograd's has the factor b**-2, which is 0 here."""
    divisor = Value(1e200)
    (Value(1e200) / divisor).backward()
    assert divisor.grad == -1e-200


def test_a_quotient_is_refused_only_if_the_reciprocal_is_too_large():
    """2 / b already is, but 1 / b is not: the quotient overflows as IEEE says."""
    assert (Value(1e10) / 8e-309).data == math.inf
    with pytest.raises(OverflowError, match="1 / right is too large"):
        Value(1e-10) / 1e-309


def test_negative_base_with_a_fractional_exponent_raises():
    """micrograd's result is a complex number."""
    with pytest.raises(ValueError, match="no real fractional power"):
        Value(-8.0) ** (1 / 3)


def test_gradient_of_relu_at_nan_is_zero():
    """As in micrograd; in torch it is 1."""
    x = Value(math.nan)
    x.relu().backward()
    assert x.grad == 0.0


def test_exponent_may_be_any_number():
    """micrograd asserts that it is an int or a float."""
    numpy = pytest.importorskip("numpy")
    assert (Value(3.0) ** numpy.float32(2.0)).data == 9.0
    assert (Value(3.0) ** Value(2.0)).data == 9.0
    assert (3 ** Value(2.0)).data == 9.0


@each_unary
def test_infinity_is_an_operand_like_any_other(operation):
    """inf and nan flow as IEEE 754 says; an operation without a value at an infinity raises, as in math."""
    assert math.isnan(apply(operation, Value(math.nan)).data)
    if operation.name in ("sin", "cos", "tan", "asin", "acos", "atanh"):
        with pytest.raises(ValueError, match="must be"):
            apply(operation, Value(math.inf))
    elif operation.name in ("lgamma", "digamma"):
        assert apply(operation, Value(math.inf)).data == math.inf
    else:
        assert close(apply(operation, Value(math.inf)).data, exact_outcome(operation, (math.inf,)).value)
