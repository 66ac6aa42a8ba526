"""Value as its user meets it: making one, reading and writing it, operators, classes, numpy."""

import abc
import inspect
import itertools
import math
import operator
import re
from decimal import Decimal
from fractions import Fraction

import numpy
import pytest

from fastgrad import Value, nn
from fastgrad.engine import _Arithmetic, apply
from fastgrad.engine import _dot as dot
from fastgrad.engine import _reduce as reduce

# Making a Value.


def test_leaf_has_data_no_gradient_no_children():
    x = Value(3.0)
    assert (x.data, x.grad, x._prev, x._children, x._op, x.label) == (3.0, 0.0, set(), (), "", "")


@pytest.mark.parametrize(
    "number",
    [2, 2.0, True, -0.0, math.inf, Fraction(1, 3), Decimal("0.1")]
    + [numpy.float64(2), numpy.float32(0.5), numpy.int8(3)],
    ids=repr,
)
def test_data_of_any_real_number_is_its_float(number):
    assert repr(Value(number).data) == repr(float(number))


def test_data_may_be_another_value():
    """float(v) is its data, and so Value(v) is a new leaf with that data."""
    x = Value(2.0)
    copy = Value(x)
    assert copy.data == 2.0
    assert copy._children == ()


def test_arguments_may_be_given_by_position():
    a, b = Value(1.0), Value(2.0)
    out = Value(3.0, (a, b), "op", "name")
    assert (out.data, out._children, out._op, out.label) == (3.0, (a, b), "op", "name")


def test_arguments_may_be_given_by_keyword():
    a, b = Value(1.0), Value(2.0)
    out = Value(data=3.0, _children=(a, b), _op="op", label="name")
    assert (out.data, out._children, out._op, out.label) == (3.0, (a, b), "op", "name")


@pytest.mark.parametrize("collect", [tuple, list, set, dict.fromkeys, iter, lambda xs: (x for x in xs)])
def test_children_may_be_any_iterable(collect):
    a, b = Value(1.0), Value(2.0)
    assert Value(3.0, collect([a, b]), "op")._prev == {a, b}


def test_children_may_be_made_while_they_are_iterated():
    """The operands are then younger than the node; backward still reaches them."""
    x = Value(2.0)
    out = Value(10.0, (x * factor for factor in (2, 3)), (1.0, 1.0))
    out.backward()
    assert x.grad == 5.0


def test_children_keep_their_order_and_repetitions():
    a, b = Value(1.0), Value(2.0)
    out = Value(0.0, (b, a, b), "op")
    assert out._children == (b, a, b)
    assert out._prev == {a, b}


class Sub(Value):
    pass


ORDERS = list(itertools.permutations(["_prev", "_op", "_backward", "use"]))


@pytest.mark.parametrize("cls", [Value, Sub])
@pytest.mark.parametrize(
    "order", list(itertools.permutations(["_prev", "_op", "_backward", "use"])), ids="-".join
)
def test_a_leaf_becomes_an_operation_by_assignments_in_any_order(cls, order):
    x = Value(2.0)
    out = cls(9.0)

    def backward():
        x.grad += 5.0 * out.grad

    given = {"_prev": {x}, "_op": "mine", "_backward": backward}
    for name in order:
        if name == "use":
            result = out * 3.0
        else:
            setattr(out, name, given[name])
    result.backward()
    assert (out._children, out._op, out.data, x.grad) == ((x,), "mine", 9.0, 15.0)


def test_a_leaf_without_children_stays_one():
    x = Value(2.0)
    x._prev = set()
    (x * 3).backward()
    assert (x._children, x.grad) == ((), 3.0)


@pytest.mark.parametrize("collect", [tuple, list])
def test_tuple_or_list_as_third_argument_holds_local_derivatives(collect):
    a, b = Value(2.0), Value(3.0)
    out = Value(6.0, (a, b), collect([3.0, 2.0]))
    out.backward()
    assert (a.grad, b.grad) == (3.0, 2.0)


def test_node_with_local_derivatives_has_no_symbol():
    assert Value(6.0, (Value(2.0),), (3.0,))._op == ""


def test_local_derivatives_may_be_any_numbers():
    a, b, c = Value(1.0), Value(2.0), Value(3.0)
    Value(0.0, (a, b, c), (2, numpy.float32(0.5), True)).backward()
    assert (a.grad, b.grad, c.grad) == (2.0, 0.5, 1.0)


def test_repeated_child_gets_each_of_its_local_derivatives():
    a = Value(2.0)
    Value(8.0, (a, a, a), (4.0, 4.0, 4.0)).backward()
    assert a.grad == 12.0


def test_initialising_a_leaf_again_resets_it():
    x = Value(2.0)
    x.grad = 5.0
    x.__init__(3.0)
    assert (x.data, x.grad) == (3.0, 0.0)


# Data, grad, label.


def a_leaf():
    return Value(2.0)


def a_sum():
    return Value(2.0) + Value(3.0)


def a_closure_node():
    out = Value(2.0, (Value(1.0),), "custom")
    out._backward = lambda: None
    return out


def a_derivative_node():
    return Value(2.0, (Value(1.0),), (2.0,))


class Special(Value):
    pass


def a_subclass_instance():
    return Special(2.0, (Value(1.0),), "special")


every_node = pytest.mark.parametrize(
    "make", [a_leaf, a_sum, a_closure_node, a_derivative_node, a_subclass_instance], ids=lambda f: f.__name__
)


@every_node
@pytest.mark.parametrize("name", ["data", "grad"])
@pytest.mark.parametrize("number", [7, -0.5, math.inf, numpy.float32(0.25), True])
def test_data_and_grad_are_floats_and_writable(make, name, number):
    node = make()
    setattr(node, name, number)
    assert getattr(node, name) == number
    assert type(getattr(node, name)) is float


@every_node
def test_data_and_grad_support_assigning_operators(make):
    node = make()
    before = node.data
    node.data -= 0.5
    node.grad += 2
    assert (node.data, node.grad) == (before - 0.5, 2.0)


@every_node
def test_label_is_writable(make):
    node = make()
    assert node.label == ""
    node.label = "loss"
    assert node.label == "loss"


@every_node
def test_symbol_is_writable(make):
    node = make()
    node._op = "mine"
    assert node._op == "mine"


def test_repr_is_micrograds():
    x = Value(3)
    x.grad = -0.5
    assert repr(x) == "Value(data=3.0, grad=-0.5)"


def test_float_is_the_data():
    assert float(Value(2) * 1.5) == 3.0
    assert math.sqrt(Value(9.0)) == 3.0
    assert f"{float(Value(0.125)):.2f}" == "0.12"


# Attributes.


@every_node
def test_any_attribute_may_be_set_read_and_deleted(make):
    node = make()
    node._vis_color = "lightblue"
    node.momentum = [1, 2]
    assert node._vis_color == "lightblue"
    assert node.momentum == [1, 2]
    assert {"_vis_color", "momentum"} <= set(vars(node))
    del node.momentum
    assert not hasattr(node, "momentum")


@every_node
def test_missing_attribute_raises_attribute_error(make):
    node = make()
    with pytest.raises(AttributeError):
        _ = node.velocity
    with pytest.raises(AttributeError):
        del node.velocity
    assert getattr(node, "velocity", 0.0) == 0.0


def test_attributes_belong_to_one_node():
    a, b = Value(1.0), Value(1.0)
    a.m = 1.0
    assert not hasattr(b, "m")


def test_attributes_are_gone_with_their_node():
    """The next node may live at the same address."""
    for _ in range(3):
        node = Value(1.0)
        assert not hasattr(node, "m")
        assert node.label == ""
        node.m, node.label = 1.0, "old"
        del node


# Identity.


def test_equality_is_identity():
    a, b = Value(1.0), Value(1.0)
    same = a
    assert a == same
    assert a != b
    assert a != 1.0
    assert a in [b, a]
    assert a not in [b]


def test_values_are_keys():
    a, b = Value(1.0), Value(1.0)
    names = {a: "a", b: "b"}
    a.data = 5.0
    assert (names[a], names[b]) == ("a", "b")
    assert len({a, b, a}) == 2
    assert hash(a) == hash(a)


@pytest.mark.parametrize("compare", ["__lt__", "__le__", "__gt__", "__ge__"])
@pytest.mark.parametrize("other", [Value(2.0), 2.0, 2, numpy.float64(2)], ids=repr)
def test_values_have_no_order(compare, other):
    with pytest.raises(TypeError):
        getattr(operator, compare)(Value(1.0), other)


def test_every_value_is_true():
    assert Value(0.0)
    assert Value(math.nan)
    assert bool(Value(-1.0)) is True


def test_a_value_is_no_integer_and_has_no_length():
    with pytest.raises(TypeError):
        [1, 2][Value(1.0)]
    with pytest.raises(TypeError):
        len(Value(1.0))
    with pytest.raises(TypeError):
        iter(Value(1.0))


# The class.


def cube(self):
    out = Value(self.data**3, (self,), "cube")

    def _backward():
        self.grad += 3 * self.data**2 * out.grad

    out._backward = _backward
    return out


def test_a_method_may_be_assigned_to_the_class(monkeypatch):
    monkeypatch.setattr(Value, "cube", cube, raising=False)
    x = Value(2.0)
    (x.cube() + 1).backward()
    assert x.grad == 12.0


@pytest.mark.parametrize("name", ["relu", "tanh", "backward", "__repr__", "__neg__", "__abs__", "__float__"])
def test_an_existing_method_may_be_replaced_and_put_back(monkeypatch, name):
    with monkeypatch.context() as patch:
        patch.setattr(Value, name, lambda self: 1.5 if name == "__float__" else "replaced")
        replaced = getattr(Value(2.0), name)()
        assert replaced in ("replaced", 1.5)
    assert getattr(Value(2.0), name)() != replaced


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("__add__", lambda x: x + 1),
        ("__radd__", lambda x: 1 + x),
        ("__sub__", lambda x: x - 1),
        ("__mul__", lambda x: x * 2),
        ("__truediv__", lambda x: x / 2),
        ("__rtruediv__", lambda x: 2 / x),
        ("__pow__", lambda x: x**2),
        ("__rpow__", lambda x: 2**x),
        ("__matmul__", lambda x: x @ 2),
        ("__lt__", lambda x: x < 1),
        ("__call__", lambda x: x(1)),
        ("__getitem__", lambda x: x[0]),
    ],
    ids=lambda parameter: parameter if isinstance(parameter, str) else "",
)
def test_an_operator_may_be_assigned_to_the_class_and_removed(monkeypatch, name, use):
    with monkeypatch.context() as patch:
        patch.setattr(Value, name, lambda self, other: "replaced", raising=False)
        assert use(Value(2.0)) == "replaced"
    if hasattr(object, name) or name in ("__matmul__", "__call__", "__getitem__"):
        with pytest.raises(TypeError):
            use(Value(2.0))
    else:
        assert type(use(Value(2.0))) is Value


@pytest.mark.parametrize("name", ["__add__", "__radd__", "__mul__", "__pow__", "tanh", "backward"])
def test_an_original_may_be_kept_and_assigned_back(name):
    original = getattr(Value, name)
    arguments = (2.0,) if name.startswith("__") else ()
    before = repr(getattr(Value(3.0), name)(*arguments))
    setattr(Value, name, lambda self, *arguments: original(self, *arguments))
    try:
        assert repr(getattr(Value(3.0), name)(*arguments)) == before
    finally:
        setattr(Value, name, original)
    assert repr(getattr(Value(3.0), name)(*arguments)) == before


def test_a_class_attribute_is_seen_by_every_node(monkeypatch):
    monkeypatch.setattr(Value, "units", "metres", raising=False)
    x = Value(1.0)
    assert x.units == "metres"
    assert (x + 1).units == "metres"
    x.units = "feet"
    assert x.units == "feet"
    assert Value.units == "metres"


def test_a_property_may_be_assigned_to_the_class(monkeypatch):
    monkeypatch.setattr(Value, "double", property(lambda self: self.data * 2), raising=False)
    assert Value(3.0).double == 6.0
    with pytest.raises(AttributeError):
        Value(3.0).double = 1.0


class Named(Value):
    """A subclass with a constructor of its own."""

    def __init__(self, name, data, _children=(), _op=""):
        super().__init__(data, _children, _op)
        self.name = name

    def shout(self):
        return self.name.upper()


def test_a_subclass_calls_the_constructor():
    weight = Named("w", 2.0)
    assert isinstance(weight, Value)
    assert (weight.name, weight.shout(), weight.data, weight.grad) == ("w", "W", 2.0, 0.0)


def test_arithmetic_with_a_subclass_gives_exactly_a_value():
    x = Named("x", 2.0)
    for result in (x + 1, 1 - x, x * x, x / 2, 2**x, -x, x.tanh(), abs(x)):
        assert type(result) is Value


def test_a_subclass_instance_gets_its_gradient():
    x = Named("x", 3.0)
    (x * x + 2 * x).backward()
    assert x.grad == 8.0


def test_a_subclass_may_make_nodes():
    a = Value(3.0)
    by_derivative = Named("square", a.data**2, (a,), (2 * a.data,))
    (by_derivative * 2).backward()
    assert a.grad == 12.0
    assert by_derivative._children == (a,)


def test_a_subclass_may_override_operators():
    class Modular(Value):
        def __add__(self, other):
            return Modular((self.data + float(other)) % 7)

    result = Modular(5.0) + 4
    assert type(result) is Modular
    assert result.data == 2.0


def test_a_subclass_may_have_slots_and_class_attributes():
    class Slotted(Value):
        __slots__ = ("tag",)
        kind = "slotted"

    x = Slotted(1.0)
    x.tag = "t"
    x.other = "o"
    assert (x.tag, x.other, x.kind) == ("t", "o", "slotted")


def test_unary_plus_is_the_value_itself():
    x = Value(2.0)
    assert +x is x
    assert (numpy.positive(numpy.array([x]))[0] * 3).data == 6.0


def test_a_subclass_may_be_abstract():
    class Unit(Value, abc.ABC):
        @abc.abstractmethod
        def convert(self): ...

    class Metre(Unit):
        def convert(self):
            return self * 100.0

    with pytest.raises(TypeError, match=r"abstract.*convert"):
        Unit(1.0)
    x = Metre(2.0)
    x.convert().backward()
    assert x.grad == 100.0


# Numpy.


def test_matrix_of_values_times_vector_of_values():
    W = numpy.array([[Value(1.0), Value(2.0)], [Value(3.0), Value(4.0)]])
    x = numpy.array([Value(5.0), Value(6.0)])
    out = W @ x
    assert [float(v) for v in out] == [17.0, 39.0]
    numpy.sum(out).backward()
    assert [w.grad for w in W.ravel()] == [5.0, 6.0, 5.0, 6.0]
    assert [v.grad for v in x] == [4.0, 6.0]


def test_matrix_of_numbers_times_vector_of_values():
    x = numpy.array([Value(5.0), Value(6.0)])
    out = numpy.array([[1.0, 2.0], [3.0, 4.0]]) @ x
    numpy.sum(out).backward()
    assert [v.grad for v in x] == [4.0, 6.0]


@pytest.mark.parametrize("name", ["exp", "tanh", "log", "sqrt", "sin", "cos"])
def test_numpy_function_of_an_array_of_values_calls_the_method(name):
    x = numpy.array([Value(0.5), Value(2.0)])
    out = getattr(numpy, name)(x)
    assert [v._op for v in out] == [name, name]
    assert [v.data for v in out] == [getattr(math, name)(0.5), getattr(math, name)(2.0)]


@pytest.mark.parametrize("use", [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow])
def test_array_and_value_combine_element_by_element_on_either_side(use):
    numbers = numpy.array([1.0, 2.0, 4.0])
    value = Value(2.0)
    for array in (numbers, numbers.astype(object), numpy.array([Value(n) for n in numbers])):
        assert [v.data for v in use(array, value)] == [use(n, 2.0) for n in numbers]
        assert [v.data for v in use(value, array)] == [use(2.0, n) for n in numbers]


def test_array_functions_work_on_arrays_of_values():
    x = numpy.array([Value(1.0), Value(2.0), Value(6.0)])
    assert x.mean().data == 3.0
    assert numpy.dot(x, x).data == 41.0
    assert (x**2).sum().data == 41.0
    assert numpy.abs(-x)[2].data == 6.0


@pytest.mark.parametrize(
    "call",
    [
        numpy.sign,
        numpy.max,
        numpy.sort,
        lambda x: numpy.clip(x, 0.0, 1.0),
        lambda x: numpy.maximum(x, 0.0),
        lambda x: numpy.minimum(x, x),
        lambda x: numpy.where(x > 0.0, x, 0.0),
    ],
)
def test_numpys_functions_that_compare_say_what_chooses(call):
    with pytest.raises(TypeError, match="functional choose: maximum, minimum, clip, sign, where"):
        call(numpy.array([Value(1.0), Value(-2.0)]))


@pytest.mark.parametrize(
    "call",
    [
        lambda x, n: n.arctan2(x, x + 1.0),
        lambda x, n: n.hypot(x, 2.0),
        lambda x, n: n.power(x, 2),
        lambda x, n: n.square(x),
        lambda x, n: n.reciprocal(x),
        lambda x, n: n.cbrt(x),
        lambda x, n: n.floor(x),
        lambda x, n: n.round(x, 1),
        lambda x, n: n.linalg.norm(x),
        lambda x, n: n.prod(x),
        lambda x, n: n.cumsum(x),
        lambda x, n: n.std(x, ddof=1),
        lambda x, n: n.average(x, weights=[1.0, 2.0, 3.0]),
        lambda x, n: n.fmod(x, 0.7),
        lambda x, n: n.diff(x),
        lambda x, n: n.where([True, False, True], x, -x),
        lambda x, n: n.einsum("i,i", x, x),
        lambda x, n: n.outer(x, x),
    ],
)
def test_numpys_functions_of_arrays_of_values(call):
    numbers = numpy.array([0.75, 2.5, 1.25])
    found = numpy.asarray(call(numpy.array([Value(each) for each in numbers]), numpy))
    assert all(isinstance(each, Value) for each in found.ravel())
    assert found.astype(float) == pytest.approx(call(numbers, numpy), rel=1e-14)


# Both libraries, if micrograd is installed: fastgrad must do what numpy does with any object.
ENGINES = [Value]
try:
    from micrograd.engine import Value as MicrogradValue

    ENGINES.append(MicrogradValue)
except ModuleNotFoundError:
    pass

either_engine = pytest.mark.parametrize("cls", ENGINES, ids=lambda cls: cls.__module__)


def numbers_in(array):
    """Return the data of an array of Values, and whatever else it holds, as nested lists."""
    return numpy.vectorize(lambda each: float(getattr(each, "data", each)), otypes=[float])(array).tolist()


@either_engine
@pytest.mark.parametrize("shape", [(3,), (1, 3), (3, 1), ()], ids=repr)
def test_an_array_is_compared_with_a_value_by_identity_and_element(cls, shape):
    array = numpy.empty(shape, dtype=object)
    values = [cls(float(index)) for index in range(array.size)]
    array.flat[:] = values
    assert numpy.asarray(array == values[0]).ravel().tolist() == [value is values[0] for value in values]
    assert numpy.asarray(values[0] != array).ravel().tolist() == [value is not values[0] for value in values]


@either_engine
def test_a_value_is_found_in_an_array(cls):
    a = numpy.array([cls(1.0), cls(2.0), cls(1.0)])
    assert a[1] in a
    assert cls(1.0) not in a
    assert a[a == a[2]].tolist() == [a[2]]
    assert numpy.count_nonzero(a == a[1]) == 1
    assert numpy.where(a == a[1])[0].tolist() == [1]
    assert numpy.isin(a, [a[0], a[2]]).tolist() == [True, False, True]


IN_PLACE = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}


@either_engine
@pytest.mark.parametrize("use", IN_PLACE, ids=lambda use: use.__name__)
@pytest.mark.parametrize("shape", [(4,), (2, 2), (0,), ()], ids=["vector", "matrix", "empty", "without axes"])
def test_an_array_is_changed_in_place_by_a_value(cls, shape, use):
    array = numpy.empty(shape, dtype=object)
    array.flat[:] = [cls(float(index + 1)) for index in range(array.size)]
    value = cls(2.0)
    expected = numbers_in(IN_PLACE[use](array, value))
    assert use(array, value) is array
    assert numbers_in(array) == expected


@either_engine
def test_slices_masks_and_views_are_changed_in_place_by_values(cls):
    a = numpy.array([[cls(1.0), cls(2.0)], [cls(3.0), cls(4.0)]])
    a[1:] -= cls(1.0)
    a[:, 0] *= cls(10.0)
    a.T[1] += a[0].sum()
    a[numpy.array([True, False])] /= cls(2.0)
    assert numbers_in(a) == [[5.0, 7.0], [20.0, 15.0]]


def test_an_array_of_values_raised_to_a_value_in_place():
    a = numpy.array([Value(2.0), Value(3.0)])
    a **= Value(2.0)
    assert numbers_in(a) == [4.0, 9.0]


@either_engine
def test_gradients_pass_through_an_array_changed_in_place(cls):
    x = [cls(1.0), cls(2.0)]
    scores = numpy.array(x)
    scores -= x[1]
    scores *= scores
    scores.sum().backward()
    assert [value.grad for value in x] == [-2.0, 2.0]


@either_engine
@pytest.mark.parametrize("use", IN_PLACE, ids=lambda use: use.__name__)
def test_an_array_of_floats_cannot_become_values_in_place(cls, use):
    with pytest.raises(TypeError, match="Cannot cast"):
        use(numpy.array([1.0, 2.0]), cls(2.0))


SCALARS = [numpy.float64, numpy.float32, numpy.float16, numpy.longdouble, numpy.int64, numpy.int8]


@either_engine
@pytest.mark.parametrize("kind", SCALARS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("use", [operator.add, operator.sub, operator.mul, operator.truediv])
def test_a_numpy_scalar_on_the_left_of_a_value(cls, use, kind):
    result = use(kind(3), cls(2.0))
    assert type(result) is cls
    assert result.data == use(3.0, 2.0)


@pytest.mark.parametrize("kind", [*SCALARS, numpy.uint8, numpy.bool_], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    "use", [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.iadd]
)
def test_every_numpy_scalar_is_a_number_on_either_side(use, kind):
    results = use(kind(1), Value(2.0)), use(Value(2.0), kind(1))
    assert [type(result) for result in results] == [Value, Value]
    assert [result.data for result in results] == [use(1.0, 2.0), use(2.0, 1.0)]


@either_engine
def test_numpys_functions_take_a_bare_value(cls):
    x = cls(4.0)
    results = numpy.add(x, 2.0), numpy.multiply(0.5, x), numpy.negative(x), numpy.square(x)
    assert [result.data for result in results] == [6.0, 2.0, -4.0, 16.0]
    assert numbers_in(numpy.multiply(numpy.array([1.0, 2.0]), x)) == [4.0, 8.0]


@pytest.mark.parametrize("name", ["exp", "tanh", "log", "sqrt", "sin", "cos"])
def test_numpy_function_of_a_bare_value_calls_the_method(name):
    x = Value(0.5)
    getattr(numpy, name)(x).backward()
    y = Value(0.5)
    getattr(y, name)().backward()
    assert x.grad == y.grad


@either_engine
@pytest.mark.parametrize("name", ["max", "argmax", "argsort"])
def test_values_have_no_order_in_an_array_either(cls, name):
    with pytest.raises(TypeError, match="Value"):
        getattr(numpy, name)(numpy.array([cls(1.0), cls(2.0)]))


@either_engine
@pytest.mark.parametrize("name", ["__array__", "__array_interface__", "__array_struct__", "__array_ufunc__"])
def test_a_value_is_no_array(cls, name):
    assert not hasattr(cls(1.0), name)
    assert not hasattr(cls, name)


def test_an_array_is_no_number():
    with pytest.raises(TypeError):
        Value(numpy.array([1.0, 2.0]))


@pytest.mark.parametrize("number", [1j, numpy.complex64(1j), numpy.complex128(1j)], ids=repr)
def test_a_complex_number_is_no_number(number):
    with pytest.raises(TypeError, match="complex"):
        Value(number)
    with pytest.raises(TypeError):
        Value(1.0) * number
    with pytest.raises(TypeError):
        number - Value(1.0)


class Tensor:
    """An array that has `__len__`, also if it has no axes."""

    def __init__(self, number, ndim=0):
        self.number, self.ndim = number, ndim

    def __float__(self):
        return self.number

    def __len__(self):
        raise TypeError("len() of a 0-d tensor")


def test_a_tensor_without_axes_is_a_number():
    a = Value(2.0)
    assert ((a - Tensor(0.5)).data, (Tensor(0.5) - a).data) == (1.5, -1.5)


def test_a_tensor_of_one_element_is_no_number():
    with pytest.raises(TypeError):
        Value(2.0) - Tensor(0.5, ndim=1)


def test_an_array_without_axes_may_hold_a_value():
    a, b = Value(2.0), Value(3.0)
    (a * numpy.array(b, dtype=object)).backward()
    assert (a.grad, b.grad) == (3.0, 2.0)


def test_what_has_the_operators_and_is_no_value_is_no_operand():
    for other in (_Arithmetic(), type("Own", (_Arithmetic,), {})()):
        for left, right in ((2.0, other), (other, 2.0), (Value(2.0), other), (other, Value(2.0))):
            with pytest.raises(TypeError, match="unsupported operand"):
                left + right


def test_a_leaf_may_have_a_symbol():
    leaf = Value(1.0, (), "input")
    assert (leaf._op, leaf._children) == ("input", ())


def test_the_signature_can_be_inspected():
    assert (
        str(inspect.signature(Value))
        == "(data, _children=(), _op='', label='', *, children=None, local_grads=None)"
    )


# Values of another library.


class Foreign:
    """A Value as microgpt writes it; it takes any object of another class for a number."""

    __slots__ = ("_children", "data", "grad")

    def __init__(self, data, children=()):
        self.data, self.grad, self._children = data, 0.0, children

    def __float__(self):
        return float(self.data)

    def __add__(self, other):
        other = other if isinstance(other, Foreign) else Foreign(other)
        return Foreign(self.data + other.data, (self, other))

    def __mul__(self, other):
        other = other if isinstance(other, Foreign) else Foreign(other)
        return Foreign(self.data * other.data, (self, other))

    def __neg__(self):
        return self * -1

    def __sub__(self, other):
        return self + -other

    def __rsub__(self, other):
        return other + -self

    def __truediv__(self, other):
        return self * other**-1

    def __rtruediv__(self, other):
        return other * self**-1

    __radd__, __rmul__ = __add__, __mul__


class Ours(Value):
    """A subclass; isinstance() asks such an object for its class."""


OTHERS = [Foreign, *ENGINES[1:]]


@pytest.mark.parametrize("cls", OTHERS, ids=lambda cls: cls.__module__)
@pytest.mark.parametrize("ours", [Value, Ours])
@pytest.mark.parametrize(
    "use", [operator.add, operator.sub, operator.mul, operator.iadd, operator.imul], ids=lambda f: f.__name__
)
def test_values_of_another_library_do_not_mix_with_ours(cls, ours, use):
    name = "micrograd.engine.Value" if cls.__name__ == "Value" else cls.__name__
    words = f"a fastgrad.engine.Value cannot be mixed with a {name}: no gradient would pass"
    for left, right in ((ours(2.0), cls(3.0)), (cls(2.0), ours(3.0))):
        with pytest.raises(TypeError, match=re.escape(words)):
            use(left, right)


@pytest.mark.parametrize("cls", OTHERS, ids=lambda cls: cls.__module__)
@pytest.mark.parametrize(
    "use",
    [
        lambda theirs: Value(theirs),
        lambda theirs: Value(1.0, (theirs,)),
        lambda theirs: Value(2.0) / theirs,
        lambda theirs: Value(2.0) ** theirs,
        lambda theirs: setattr(Value(1.0), "data", theirs),
        lambda theirs: apply("maximum", theirs, 1.0),
        lambda theirs: reduce("sum", [theirs, Value(1.0)]),
        lambda theirs: dot([Value(1.0)], [theirs]),
        lambda theirs: nn.MLP(2, [2, 1])([theirs, theirs]),
        lambda theirs: numpy.array([Value(1.0)]) * theirs,
    ],
)
def test_nothing_takes_a_value_of_another_library_for_a_number(cls, use):
    name = "micrograd.engine.Value" if cls.__name__ == "Value" else cls.__name__
    with pytest.raises(TypeError, match=re.escape(name)):
        use(cls(3.0))


def test_a_class_of_ones_own_may_ask_what_it_is_given():
    class Scale:
        data = grad = 0.0

        def __mul__(self, other):
            return "a list" if isinstance(other, list) else other * 2.0

    assert (Scale() * Value(3.0)).data == 6.0
    assert Scale() * [Value(3.0)] == "a list"
    assert not isinstance(Value(1.0), (int, list))
    assert Value(1.0).__class__ is Value


# The names of microgpt and of torch.


def test_microgpts_keywords_make_a_node_with_its_derivatives():
    a, b = Value(3.0), Value(2.0)
    product = Value(6.0, children=(a, b), local_grads=(2.0, 3.0))
    product.backward()
    assert (a.grad, b.grad) == (2.0, 3.0)
    assert product._local_grads == (2.0, 3.0)
    assert Value(1.0, children=(), local_grads=())._children == ()


@pytest.mark.parametrize(
    "use",
    [
        lambda a, b: a + b,
        lambda a, b: a - b,
        lambda a, b: 2.0 / a,
        lambda a, b: a**3,
        lambda a, b: b**a,
        lambda a, b: a.tanh(),
        lambda a, b: reduce("logsumexp", [a, b]),
        lambda a, b: apply("where", a, b, 2.0),
        lambda a, b: dot([a, b], [b, a], a, "tanh"),
        lambda a, b: Value(6.0, (a, b), (2.0, 3.0)),
    ],
)
def test_a_backward_of_ones_own_may_read_the_local_derivatives(use):
    """microgpt's loop over `_children` and `_local_grads`."""
    a, b = Value(0.3), Value(0.8)
    use(a, b).backward()
    x, y = Value(0.3), Value(0.8)

    def walk(node, grad):
        node.grad += grad
        for child, local in zip(node._children, node._local_grads, strict=True):
            walk(child, local * grad)

    walk(use(x, y), 1.0)
    assert [x.grad, y.grad] == pytest.approx([a.grad, b.grad], rel=1e-12)


def test_a_closure_has_no_local_derivatives():
    node = Value(1.0, (Value(2.0),), "mine")
    with pytest.raises(AttributeError, match="_backward of its own"):
        node._local_grads  # noqa: B018
    assert Value(1.0)._local_grads == ()


@pytest.mark.parametrize(
    ("use", "value", "slope"),
    [
        (lambda x: x.pow(3), 8.0, 12.0),
        (lambda x: x.ln(), math.log(2.0), 0.5),
        (lambda x: x.log10(), math.log10(2.0), 0.5 / math.log(10.0)),
        (lambda x: x.clip(0.0, 1.0), 1.0, 0.0),
        (lambda x: x.clip(min=3.0), 3.0, 0.0),
        (lambda x: x.clip(max=3.0), 2.0, 1.0),
    ],
)
def test_methods_that_other_libraries_have(use, value, slope):
    x = Value(2.0)
    out = use(x)
    out.backward()
    assert (out.data, x.grad) == pytest.approx((value, slope), rel=1e-15)


def test_item_is_the_data():
    assert type(Value(2).item()) is float
    with pytest.raises(TypeError, match="a min or a max"):
        Value(1.0).clip()


@pytest.mark.parametrize("sign", ["<", "<=", ">", ">="])
@pytest.mark.parametrize(("other", "right"), [(Value(2.0), "b.data"), (2.0, "b"), (2, "b")])
def test_an_order_of_values_says_how_to_compare(sign, other, right):
    compare = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}[sign]
    message = f"'{sign}' not supported between .* a.data {sign} {right}, or have .*clip"
    with pytest.raises(TypeError, match=message):
        compare(Value(1.0), other)


def test_the_largest_of_values_says_how_to_compare():
    with pytest.raises(TypeError, match="compare the numbers"):
        max([Value(1.0), Value(2.0)])
