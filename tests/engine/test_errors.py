"""Bad input raises at the line that has it, naming operation and value; nothing is half-built."""

import copy
import math
import time
import traceback
from pathlib import Path

import numpy
import pytest

import fastgrad
from fastgrad import Value, engine
from fastgrad.compiler import arguments, replay
from fastgrad.engine import _pool_statistics
from fastgrad.nn import MLP
from fastgrad.operations import TABLE
from fastgrad.optim import updates

BINARY = [row for row in TABLE if row.operands == 2 and row.method.startswith("__")]
NAMED = [row for row in TABLE if row.operands == 2 and row not in BINARY]

# The computation, the exception, and what its message must contain.
REFUSED = {
    "Value(0)**-1": (lambda x: x(0.0) ** -1, ZeroDivisionError, ["0.0 ** -1.0"]),
    "Value(0)**-0.5": (lambda x: x(0.0) ** -0.5, ZeroDivisionError, ["0.0 ** -0.5"]),
    "0**Value(-1)": (lambda x: 0 ** x(-1.0), ZeroDivisionError, ["0.0 ** -1.0"]),
    "Value(0)**Value(-1)": (lambda x: x(0.0) ** x(-1.0), ZeroDivisionError, ["0.0 ** -1.0"]),
    "Value(1)/0": (lambda x: x(1.0) / 0, ZeroDivisionError, ["1.0 / 0.0", "zero"]),
    "1/Value(0)": (lambda x: 1 / x(0.0), ZeroDivisionError, ["1.0 / 0.0", "zero"]),
    "Value(1)/Value(-0.0)": (lambda x: x(1.0) / x(-0.0), ZeroDivisionError, ["1.0 / -0.0"]),
    "Value(0)/Value(0)": (lambda x: x(0.0) / x(0.0), ZeroDivisionError, ["0.0 / 0.0"]),
    "Value(nan)/0": (lambda x: x(math.nan) / 0, ZeroDivisionError, ["nan / 0.0"]),
    "Value(1)/5e-324": (lambda x: x(1.0) / 5e-324, OverflowError, ["1.0 / 5e-324"]),
    "exp(1000)": (lambda x: x(1000.0).exp(), OverflowError, ["exp(1000.0)"]),
    "Value(1e200)**2": (lambda x: x(1e200) ** 2, OverflowError, ["1e+200 ** 2.0"]),
    "2**Value(2000)": (lambda x: 2 ** x(2000.0), OverflowError, ["2.0 ** 2000.0"]),
    "log(0)": (lambda x: x(0.0).log(), ValueError, ["log(0.0)"]),
    "log(-1)": (lambda x: x(-1.0).log(), ValueError, ["log(-1.0)"]),
    "log(-inf)": (lambda x: x(-math.inf).log(), ValueError, ["log(-inf)"]),
    "sqrt(-4)": (lambda x: x(-4.0).sqrt(), ValueError, ["sqrt(-4.0)"]),
    "sin(inf)": (lambda x: x(math.inf).sin(), ValueError, ["sin(inf)"]),
    "cos(-inf)": (lambda x: x(-math.inf).cos(), ValueError, ["cos(-inf)"]),
    "Value(-8)**0.5": (lambda x: x(-8.0) ** 0.5, ValueError, ["-8.0 ** 0.5"]),
    "(-8)**Value(0.5)": (lambda x: (-8) ** x(0.5), ValueError, ["-8.0 ** 0.5"]),
}

each_refused = pytest.mark.parametrize("name", REFUSED)


@each_refused
def test_an_operation_without_a_result_raises_and_names_itself(name):
    compute, exception, parts = REFUSED[name]
    with pytest.raises(exception) as caught:
        compute(Value)
    assert type(caught.value) is exception
    for part in parts:
        assert part in str(caught.value)


@each_refused
def test_the_operands_are_untouched_and_no_node_is_left(name):
    compute, exception, _ = REFUSED[name]
    operands = []

    def operand(data):
        operands.append(Value(data))
        operands[-1].grad = 0.25
        return operands[-1]

    before = _pool_statistics()["nodes"]
    with pytest.raises(exception):
        compute(operand)
    assert _pool_statistics()["nodes"] == before + len(operands)
    for node in operands:
        assert node.grad == 0.25
        assert node._children == ()
        assert (node * 1 + 1).data == node.data + 1 or math.isnan(node.data)


@each_refused
def test_the_exception_is_caught_and_computing_goes_on(name):
    compute, exception, _ = REFUSED[name]
    x = Value(3.0)
    h = x * 2
    with pytest.raises(exception):
        compute(Value)
    (h * h).backward()
    assert x.grad == 24.0


# Operands that are not numbers.

NO_NUMBERS = ["1", None, 1j, [], (1.0,), {}, b"1", object(), print]
no_number = pytest.mark.parametrize("other", NO_NUMBERS, ids=lambda o: type(o).__name__)
each_binary = pytest.mark.parametrize("operation", BINARY, ids=lambda o: o.name)


@each_binary
@no_number
def test_an_operand_that_is_no_number_raises_type_error(operation, other):
    x = Value(2.0)
    before = _pool_statistics()["nodes"]
    with pytest.raises(TypeError):
        eval(f"x {operation.symbol} other")
    with pytest.raises(TypeError):
        eval(f"other {operation.symbol} x")
    assert _pool_statistics()["nodes"] == before
    assert x.data == 2.0


@pytest.mark.parametrize("operation", NAMED, ids=lambda o: o.name)
@no_number
def test_a_method_of_two_operands_names_what_is_no_number(operation, other):
    with pytest.raises(
        TypeError, match=f"{operation.name} needs Values or numbers, not {type(other).__name__}"
    ):
        getattr(Value(2.0), operation.method)(other)


@each_binary
def test_the_type_error_names_both_types(operation):
    with pytest.raises(TypeError, match=r"Value.*NoneType|NoneType.*Value"):
        eval(f"x {operation.symbol} None", {"x": Value(2.0)})


def test_an_operand_gets_the_chance_to_handle_the_value():
    """NotImplemented is returned, not raised: another class may know what to do."""

    class Money:
        def __radd__(self, other):
            return ("money", other.data)

        def __add__(self, other):
            return (other.data, "money")

    assert Value(2.0) + Money() == ("money", 2.0)
    assert Money() + Value(2.0) == (2.0, "money")


def test_an_exception_of_an_operands_own_conversion_comes_through():
    class Broken:
        def __float__(self):
            raise KeyError("broken")

    for compute in (lambda: Value(1.0) + Broken(), lambda: Broken() * Value(1.0), lambda: Value(Broken())):
        with pytest.raises(KeyError, match="broken"):
            compute()


def test_an_integer_too_large_for_a_float_raises_overflow_error():
    for compute in (lambda: Value(10**400), lambda: Value(1.0) + 10**400, lambda: 10**400 * Value(1.0)):
        with pytest.raises(OverflowError):
            compute()


def test_a_power_with_a_modulus_raises_type_error():
    with pytest.raises(TypeError):
        pow(Value(2.0), 2, 3)


# The constructor and assignment.


@no_number
def test_data_that_is_no_number_raises_type_error(other):
    with pytest.raises(TypeError, match="data must be a real number, not " + type(other).__name__):
        Value(other)


@pytest.mark.parametrize("name", ["data", "grad"])
@no_number
def test_assigning_what_is_no_number_raises_type_error_and_changes_nothing(name, other):
    x = Value(2.0)
    x.grad = 2.0
    with pytest.raises(TypeError, match=f"{name} must be a real number"):
        setattr(x, name, other)
    assert getattr(x, name) == 2.0


@pytest.mark.parametrize("name", ["data", "grad", "label", "_op", "_prev", "_backward"])
def test_what_every_value_has_cannot_be_deleted(name):
    with pytest.raises(AttributeError, match=name):
        delattr(Value(2.0), name)


def test_data_is_required():
    with pytest.raises(TypeError):
        Value()


def test_an_unknown_argument_raises_type_error():
    with pytest.raises(TypeError):
        Value(1.0, colour="red")
    with pytest.raises(TypeError):
        Value(1.0, (), "", "", "one too many")


@pytest.mark.parametrize("children", [[1.0], [None], ["x"], [Value(1.0), 2.0]], ids=repr)
def test_a_child_that_is_no_value_raises_type_error(children):
    with pytest.raises(TypeError, match="a child of a Value must be a Value"):
        Value(1.0, children, "op")


def test_children_that_cannot_be_iterated_raise_type_error():
    with pytest.raises(TypeError):
        Value(1.0, Value(2.0), "op")
    with pytest.raises(TypeError):
        Value(1.0, 5, "op")


@pytest.mark.parametrize("derivatives", [(), (1.0,), (1.0, 2.0, 3.0)])
def test_another_number_of_derivatives_than_children_raises_value_error(derivatives):
    with pytest.raises(ValueError, match="2 children"):
        Value(1.0, (Value(1.0), Value(2.0)), derivatives)


def test_a_derivative_that_is_no_number_raises_type_error():
    with pytest.raises(TypeError, match="derivative must be a real number, not str"):
        Value(1.0, (Value(1.0),), ("1",))


def test_a_node_cannot_be_given_other_children():
    out = Value(1.0) + Value(2.0)
    with pytest.raises(TypeError, match="in use"):
        out.__init__(1.0, (Value(1.0),), "op")
    assert (out.data, out._op) == (3.0, "+")


class Incomparable:
    def __ne__(self, other):
        raise RuntimeError("not to be compared")


@pytest.mark.parametrize("arguments", [(Incomparable(), "new"), ("new", Incomparable())])
def test_a_constructor_that_raises_changes_nothing(arguments):
    node = Value(1.0, (), "old", "old")
    with pytest.raises(RuntimeError, match="not to be compared"):
        node.__init__(2.0, (), *arguments)
    assert (node.data, node._op, node.label) == (1.0, "old", "old")


def test_a_constructor_that_raises_leaves_no_node(live_nodes):
    child = Value(1.0)

    def children():
        yield child * 2
        raise KeyError("broken")

    before = live_nodes()
    with pytest.raises(KeyError):
        Value(1.0, children(), "op")
    with pytest.raises(TypeError):
        Value(1.0, (child, 5), "op")
    with pytest.raises(ValueError, match="1 children"):
        Value(1.0, (child,), (1.0, 2.0))
    with pytest.raises(TypeError):
        Value("1", (child,), "op")
    assert live_nodes() == before


@pytest.mark.parametrize("rule", [None, 1, "closure"])
def test_a_rule_that_cannot_be_called_raises_type_error(rule):
    x = Value(2.0)
    out = x * 3
    with pytest.raises(TypeError, match="_backward must be callable"):
        out._backward = rule
    out.backward()
    assert x.grad == 3.0


@pytest.mark.parametrize("name", ["_prev", "_children"])
def test_the_children_of_a_computed_node_cannot_be_assigned(name):
    out = Value(2.0) + 1
    with pytest.raises(AttributeError, match=name):
        setattr(out, name, ())


def test_prev_takes_values_alone():
    out = Value(2.0)
    with pytest.raises(TypeError, match="a child of a Value must be a Value, not float"):
        out._prev = {1.0}
    assert out._prev == set()


def test_a_value_is_not_its_own_child():
    out = Value(2.0)
    with pytest.raises(ValueError, match="its own child"):
        out._prev = {out}
    fresh = Value.__new__(Value)
    with pytest.raises(ValueError, match="its own child"):
        fresh.__init__(1.0, (fresh,), "op")


def test_an_array_that_is_no_scalar_is_no_data():
    with pytest.raises(TypeError):
        Value(numpy.array([1.0, 2.0]))
    x = Value(1.0)
    with pytest.raises(TypeError):
        x.data = numpy.array([1.0, 2.0])
    assert x.data == 1.0


# Exceptions in the user's own code.


class ProgramError(Exception):
    """An error of the program that uses the package."""


class Broken:
    """An operand with a conversion or an operator that raises."""

    def fail(self, *_):
        raise ProgramError


BROKEN = {
    "__float__": lambda b: [lambda x: x + b, lambda x: Value(b), lambda x: Value(1.0, (x,), (b,))],
    "__index__": lambda b: [lambda x: x * b, lambda x: b - x, lambda x: engine._dot([x * 2], [b])],
    "__radd__": lambda b: [lambda x: (x * 2) + b],
    "__pow__": lambda b: [lambda x: b ** (x * 2)],
    "__iter__": lambda b: [lambda x: Value(1.0, b), lambda x: engine._dot([x * 2], b), engine_sum],
}


def engine_sum(x):
    def values():
        yield x * 2
        raise ProgramError

    return engine._reduce("sum", values())


@pytest.mark.parametrize("method", BROKEN)
def test_an_exception_of_an_operand_comes_through_and_changes_nothing(method, live_nodes):
    broken = type("Operand", (Broken,), {method: Broken.fail})()
    x = Value(3.0)
    x.grad = 0.25
    before = live_nodes()
    for compute in BROKEN[method](broken):
        with pytest.raises(ProgramError):
            compute(x)
    assert live_nodes() == before
    assert (x.data, x.grad, x._children) == (3.0, 0.25, ())


@pytest.mark.parametrize("name", ["data", "grad"])
def test_a_failing_assignment_leaves_the_number(name):
    x = Value(3.0)
    x.grad = 0.25
    with pytest.raises(ProgramError):
        setattr(x, name, type("Operand", (Broken,), {"__float__": Broken.fail})())
    assert (x.data, x.grad) == (3.0, 0.25)


def test_an_overridden_operator_may_raise_while_graphs_are_built(live_nodes):
    class Careful(Value):
        def __add__(self, other):
            raise ProgramError

    x = Careful(1.0)
    before = live_nodes()
    for compute in (lambda: x + 1, lambda: x + x * 2):
        with pytest.raises(ProgramError):
            compute()
    assert live_nodes() == before
    (x * 2).backward()
    assert x.grad == 2.0


@pytest.mark.parametrize("error", [ProgramError, KeyboardInterrupt, MemoryError])
def test_after_an_exception_in_a_backward_younger_nodes_have_their_gradients(error):
    """As documented: rules before it have run, rules after it have not, and no object is lost."""
    x = Value(2.0)
    h = x * 3
    custom = Value(6.0, (h,), "mine")
    failing = [True]

    def _backward():
        if failing:
            raise error
        h.grad += custom.grad

    custom._backward = _backward
    out = custom * 5
    with pytest.raises(error):
        out.backward()
    assert (out.grad, custom.grad, h.grad, x.grad) == (1.0, 5.0, 0.0, 0.0)
    # Built-in graphs are as before, and so is this one when its rule no longer fails.
    (x * 7).backward()
    assert x.grad == 7.0
    failing.clear()
    engine.zero_grad([x, h, custom, out])
    out.backward()
    assert (custom.grad, h.grad, x.grad) == (5.0, 5.0, 15.0)


def test_a_node_may_lose_its_operands_to_an_exception_of_its_children():
    def children():
        yield Value(1.0)
        raise ProgramError

    node = Value.__new__(Value)
    with pytest.raises(ProgramError):
        node.__init__(2.0, children())
    assert (node.data, node._children) == (0.0, ())
    node.__init__(2.0, (Value(1.0),))
    assert (node.data, len(node._children)) == (2.0, 1)


def repeat(call):
    while True:
        call()


def test_a_sweep_is_finished_before_an_interrupt_is_raised(alarm):
    """A sweep runs no Python code, so that it cannot stop half-way: 0.15 s for ten million nodes."""

    def handler(*_):
        raise KeyboardInterrupt

    x = Value(1.0)
    out = engine._reduce("sum", [x] * 100_000)
    for _ in range(20):
        with pytest.raises(KeyboardInterrupt), alarm(handler, 0.002):
            repeat(out.backward)
        assert x.grad % 100_000 == 0.0
    assert x.grad > 0.0


def test_an_interrupt_stops_a_backward_of_the_users_own_rules(alarm):
    def handler(*_):
        raise KeyboardInterrupt

    out = Value(1.0)
    for _ in range(300):
        out = Value(1.0, (out,), "slow")
        out._backward = lambda: time.sleep(1)
    with pytest.raises(KeyboardInterrupt), alarm(handler, 0.05):
        out.backward()
    assert out.grad == 1.0


def unpicklable():
    value = Value(1.0, (Value(2.0),), "custom")
    value._backward = lambda: None
    return value


@pytest.mark.parametrize("ndigits", [1.5, "1", Value(1.0)], ids=repr)
def test_decimals_to_round_to_are_an_integer(ndigits):
    with pytest.raises(TypeError, match="ndigits must be an integer, not "):
        round(Value(2.0), ndigits)
    assert round(Value(2.25), numpy.int64(1)).data == 2.2


# Each with whether the call is of compiled code, and so the last line of the traceback.
FAILING = {
    "a number": (lambda: Value("x"), True),
    "an operation": (lambda: Value(1.0) / 0, True),
    "a method": (lambda: Value(-1.0).log(), True),
    "an attribute": (lambda: Value(1.0).none, True),
    "an assignment": (lambda: setattr(Value(1.0), "data", None), True),
    "a function": (lambda: engine._dot([1.0], []), True),
    "a sweep": (lambda: Value(1.0).backward(1), True),
    "an optimizer": (lambda: updates.sgd({}, None, True), True),
    "a choice of kernels": (lambda: replay.use_kernels("none"), True),
    "a program's arguments": (lambda: arguments.prepare_arguments((None,), ("x",)), True),
    "a layer": (lambda: MLP(2, [3, 1])([1, 2, 3]), False),
    "a trace": (lambda: fastgrad.compile(lambda x: x.data)([1.0]), True),
    "a copy": (lambda: copy.copy(unpicklable()), False),
}


@pytest.mark.parametrize("name", FAILING)
def test_a_traceback_has_lines_of_python_only(name):
    """Frames of compiled code would name other functions of the same line, and have no text to show."""
    call, last_is_the_callers = FAILING[name]
    with pytest.raises(
        (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
    ) as caught:
        call()
    files = [frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert {Path(file).suffix for file in files} == {".py"}
    assert (files[-1] == __file__) == last_is_the_callers
