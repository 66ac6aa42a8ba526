"""Compiled methods: one for each instance, which copies and pickles with it."""

import abc
import copy
import functools
import gc
import pickle
import weakref

import numpy as np
import pytest

import fastgrad
from fastgrad import Value
from fastgrad.nn import Module

X = np.array([0.5, 2.0, -1.0])

COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
}
DEEP_COPIES = {name: function for name, function in COPIES.items() if name != "copy"}


class Model(Module):
    def __init__(self, w=2.0):
        self.w = Value(w)
        self.stored = fastgrad.compile(self._plain)

    def _plain(self, x):
        return self.w * x

    @fastgrad.compile
    def loss(self, x):
        return self.w * x

    renamed = fastgrad.compile(_plain)
    nameless = fastgrad.compile(lambda self, x: self.w * x)


class Shifted(Model):
    @fastgrad.compile
    def loss(self, x):
        return super().loss(x) + 100


class ShiftedEagerly(Model):
    def loss(self, x):
        return super().loss(x) + 100


METHODS = ["loss", "renamed", "nameless"]


def test_each_instance_has_its_own_parameters():
    a, b = Model(2.0), Model(3.0)
    for _ in range(2):
        np.testing.assert_array_equal(a.loss(X), 2 * X)
        np.testing.assert_array_equal(b.loss(X), 3 * X)


@pytest.mark.parametrize("kind", [Shifted, ShiftedEagerly])
def test_an_override_that_calls_its_parents_method_stays_what_it_is(kind):
    model = kind(2.0)
    for _ in range(3):
        np.testing.assert_array_equal(model.loss(X), 2 * X + 100)
    np.testing.assert_array_equal(super(kind, model).loss(X), 2 * X)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_kept_by_its_instance_under_whatever_name(name):
    model = Model()
    assert getattr(model, name) is getattr(model, name)
    assert getattr(model, name) is not getattr(Model(), name)


def test_what_an_instance_keeps_is_no_part_of_a_module():
    model = Model()
    model.loss(X)
    assert model.parameters() == [model.w]
    assert list(model.state_dict()) == ["w"]


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("kind", [Model, Shifted])
@pytest.mark.parametrize("name", METHODS)
def test_a_copy_of_an_instance_computes_with_its_own_parameters(copied, kind, name):
    model = kind(2.0)
    before = getattr(model, name)(X)
    other = copied(model)
    other.w = Value(3.0)
    np.testing.assert_array_equal(getattr(other, name)(X), before + X)
    np.testing.assert_array_equal(getattr(model, name)(X), before)
    assert getattr(other, name).parameters == [other.w]
    assert getattr(other, name) is getattr(other, name)


@pytest.mark.parametrize("copied", DEEP_COPIES.values(), ids=DEEP_COPIES)
@pytest.mark.parametrize("name", [*METHODS, "stored"])
def test_a_copied_method_is_that_of_a_copied_instance(copied, name):
    model = Shifted(2.0)
    expected = getattr(model, name)(X)
    method, other = copied((getattr(model, name), model))
    assert method is getattr(other, name)
    np.testing.assert_array_equal(method(X), expected)
    np.testing.assert_array_equal(copied(getattr(model, name))(X), expected)
    assert method.parameters == [other.w]


@pytest.mark.parametrize("copied", DEEP_COPIES.values(), ids=DEEP_COPIES)
def test_a_parents_method_is_copied_as_the_parents(copied):
    model = Shifted(2.0)
    inherited = super(Shifted, model).loss
    np.testing.assert_array_equal(copied(inherited)(X), 2 * X)


def test_a_shallow_copy_of_a_method_is_a_method_of_the_same_instance():
    model = Model(2.0)
    expected = model.loss(X)
    method = copy.copy(model.loss)
    assert method is not model.loss
    np.testing.assert_array_equal(method(X), expected)
    assert method.parameters == [model.w]


def test_an_instance_with_compiled_methods_is_freed_by_the_collector():
    model = Model()
    model.loss(X)
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None


def test_the_class_itself_gives_the_function():
    assert isinstance(Model.loss, fastgrad.compiler.compiled.Compiled)
    assert Model.loss is Model.loss


def test_a_method_may_be_called_on_its_class():
    model = Model()
    np.testing.assert_array_equal(Model.loss(model, X), 2 * X)
    assert Model.loss.backward(model, X) == pytest.approx(2 * X.mean())
    assert model.loss.latest is not None
    with pytest.raises(TypeError, match="self must be"):
        Model.loss(Late(), X)


class Late:
    """An object that is not a Model."""


def test_a_method_that_is_set_when_the_class_is_there_is_kept_too():
    class Late:
        def __init__(self):
            self.w = Value(2.0)

    Late.loss = fastgrad.compile(lambda self, x: self.w * x)
    model = Late()
    np.testing.assert_array_equal(model.loss(X), 2 * X)
    assert model.loss is model.loss


def test_a_method_that_no_class_has_is_bound_at_each_access():
    class Partial:
        w = Value(2.0)
        double = functools.partialmethod(fastgrad.compile(lambda self, k, x: self.w * k * x), 2.0)

    np.testing.assert_array_equal(Partial().double(X), 4 * X)


def test_a_method_put_in_the_place_of_another_is_the_one_that_is_called():
    class Changing:
        @fastgrad.compile
        def loss(self, x):
            return x * 2

    model = Changing()
    model.loss(X)
    Changing.loss = fastgrad.compile(lambda self, x: x * 3)
    Changing.loss.__set_name__(Changing, "loss")
    np.testing.assert_array_equal(model.loss(X), 3 * X)


class Doubler:
    def __call__(self, x):
        return x * 2


NOT_BOUND = {
    "static method": fastgrad.compile(staticmethod(lambda x: x * 2)),
    "compiled static method": staticmethod(fastgrad.compile(lambda x: x * 2)),
    "callable object": fastgrad.compile(Doubler()),
    "method of another object": fastgrad.compile(Doubler().__call__),
}


@pytest.mark.parametrize("function", NOT_BOUND.values(), ids=NOT_BOUND)
def test_what_takes_no_instance_is_not_bound_to_one(function):
    kind = type("Kind", (), {"function": function, "__slots__": ()})
    np.testing.assert_array_equal(kind().function(X), 2 * X)
    assert kind().function is kind().function


def test_an_instance_without_a_dict_cannot_keep_a_method():
    class Slotted:
        __slots__ = ("w",)

        @fastgrad.compile
        def loss(self, x):
            return self.w * x

    with pytest.raises(TypeError, match=r"Slotted.*loss.*__dict__"):
        Slotted().loss(X)


def test_a_class_method_cannot_be_compiled():
    class Model:
        @classmethod
        @fastgrad.compile
        def loss(cls, x):
            return x

    # Some versions of Python bind it like a method, others call it with the class.
    with pytest.raises(TypeError, match=r"'type' objects cannot keep|cls must be"):
        Model.loss(X)
    with pytest.raises(TypeError, match="classmethod"):
        fastgrad.compile(classmethod(lambda cls, x: x))


def test_an_abstract_method_may_be_compiled():
    class Abstract(abc.ABC):
        @abc.abstractmethod
        @fastgrad.compile
        def loss(self, x):
            return x

    with pytest.raises(TypeError, match="abstract"):
        Abstract()
