"""Arguments of compiled functions that are named tuples or dataclasses of columns."""

import collections
import copy
import dataclasses
import pickle

import numpy as np
import pytest

from fastgrad import Value, compile
from fastgrad.export import to_c

Batch = collections.namedtuple("Batch", "x y")


@dataclasses.dataclass
class Columns:
    x: object
    y: object


def weighted(w):
    """A compiled function of an argument with fields and a column, and of a parameter."""
    return compile(lambda row, z: w * row.x**2 * row.y + z)


BATCH = Batch([1.0, 2.0], [3.0, 4.0])
Z = [1.0, 10.0]
KINDS = pytest.mark.parametrize("kind", [Batch, Columns])


@KINDS
def test_an_argument_with_fields_of_columns_has_them_in_the_function(kind):
    w = Value(2.0)
    compiled = compile(lambda row, z: w * row.x + row.y * row.y * z)
    batch = kind([1.0, 2.0], [3.0, 4.0])
    np.testing.assert_array_equal(compiled(batch, [1.0, 10.0]), [11.0, 164.0])
    assert compiled.backward(row=batch, z=[1.0, 10.0]) == 87.5
    assert w.grad == 1.5
    by_row, by_z = compiled.input_gradients(batch, [1.0, 10.0])
    assert type(by_row) is kind
    np.testing.assert_array_equal([by_row.x, by_row.y, by_z], [[2.0, 2.0], [6.0, 80.0], [9.0, 16.0]])


def test_a_field_may_be_a_list_of_columns_or_a_number():
    compiled = compile(lambda row: row.x[0] * row.x[1] + row.y)
    np.testing.assert_array_equal(compiled(Batch([[1.0, 2.0], [3.0, 4.0]], 0.5)), [2.5, 12.5])


def test_columns_and_fields_of_the_same_numbers_are_different_calls():
    compiled = compile(lambda row, z: (row.x - row.y if isinstance(row, Batch) else row) * z)
    np.testing.assert_array_equal(compiled([1.0, 2.0], [3.0, 4.0]), [3.0, 8.0])
    np.testing.assert_array_equal(compiled(Batch([1.0, 2.0], [3.0, 5.0]), [3.0, 4.0]), [-6.0, -12.0])


def test_an_error_of_a_field_names_it():
    with pytest.raises(TypeError, match="row_y must be numbers"):
        compile(lambda row: row.x * row.y)(Batch([1.0], ["a"]))


def test_arguments_of_any_number_have_no_fields():
    with pytest.raises(TypeError, match=r"takes \*rows: each of them is a column"):
        compile(lambda *rows: rows[0].x)(Batch([1.0], [2.0]))


def test_backward_reduces_as_it_is_told():
    w = Value(2.0)
    assert weighted(w).backward(BATCH, Z, reduction="sum") == 49.0
    assert w.grad == 19.0


def test_a_name_of_a_parameter_and_a_field_may_be_that_of_another_parameter():
    compiled = compile(lambda row, row_x: row.x * row_x)
    np.testing.assert_array_equal(compiled(BATCH, [10.0, 20.0]), [10.0, 40.0])


# Derivatives.


@KINDS
@pytest.mark.parametrize("argnums", [0, -2, "row"])
def test_derivatives_by_an_argument_with_fields_are_of_its_class(kind, argnums):
    compiled = weighted(Value(2.0))
    value, derivatives = compiled.value_and_grad(kind(*BATCH), Z, argnums=argnums)
    np.testing.assert_array_equal(value, [7.0, 42.0])
    for found in (derivatives, compiled.jacobian(kind(*BATCH), Z, argnums=argnums)):
        assert type(found) is kind
        np.testing.assert_array_equal([found.x, found.y], [[12.0, 32.0], [2.0, 8.0]])


def test_derivatives_are_by_a_field_by_other_arguments_and_by_parameters():
    compiled = weighted(Value(2.0))
    by_y, by_z, by_w = compiled.jacobian(BATCH, Z, argnums=("row.y", "z", "parameters"))
    np.testing.assert_array_equal([by_y, by_z, by_w[:, 0]], [[2.0, 8.0], [1.0, 1.0], [3.0, 16.0]])
    by_z, by_row = compiled.jacobian(BATCH, Z, argnums=(1, "row"))
    np.testing.assert_array_equal([by_z, by_row.x, by_row.y], [[1.0, 1.0], [12.0, 32.0], [2.0, 8.0]])


def test_second_derivatives_are_by_fields():
    compiled = weighted(Value(2.0))
    np.testing.assert_array_equal(compiled.hessian(BATCH, Z, argnums="row.x"), [12.0, 16.0])
    np.testing.assert_array_equal(compiled.hvp(BATCH, Z, argnums="row.x", tangents=[1.0, 2.0]), [12.0, 32.0])
    (_, by_x_and_y), _ = compiled.hessian(BATCH, Z, argnums=("row.x", "row.y"))
    np.testing.assert_array_equal(by_x_and_y, [4.0, 8.0])


def test_an_argument_with_fields_may_be_a_field():
    compiled = compile(lambda row: row.x.x * row.x.y + row.y)
    nested = Batch(Batch([1.0, 2.0], [3.0, 4.0]), [5.0, 6.0])
    found = compiled.jacobian(nested)
    np.testing.assert_array_equal([found.x.x, found.x.y, found.y], [[3.0, 4.0], [1.0, 2.0], [1.0, 1.0]])


@pytest.mark.parametrize(
    ("call", "options", "error", "message"),
    [
        ("hessian", {}, TypeError, "hessian is not by all fields of an argument: give one"),
        ("hvp", {"tangents": [1.0, 1.0]}, TypeError, "hvp is not by all fields"),
        ("jacobian", {"out": np.empty(2)}, TypeError, "out is not for derivatives by all fields"),
        ("jacobian", {"argnums": "row.w"}, ValueError, "has no argument 'row.w'"),
        ("jacobian", {"argnums": "z.x"}, ValueError, "has no argument 'z.x'"),
        ("jacobian", {"argnums": "w"}, ValueError, "has no argument 'w'"),
        ("jacobian", {"argnums": 2}, ValueError, "argnums is 2, but .* has 2 arguments"),
        ("jacobian", {"argnums": 0.5}, TypeError, "argnums are numbers and names of arguments, not 0.5"),
    ],
)
def test_what_derivatives_cannot_be_by_is_refused(call, options, error, message):
    with pytest.raises(error, match=message):
        getattr(weighted(Value(2.0)), call)(BATCH, Z, **options)


# Options, parameters, copies.


@pytest.mark.parametrize("call", ["__call__", "backward", "input_gradients", "jacobian", "hessian"])
def test_options_of_a_call_hold(call):
    compiled = compile(lambda row: row.x.sqrt())
    options = {"argnums": "row.x"} if call in ("jacobian", "hessian") else {}
    with pytest.raises(ValueError, match=r"row 1.*sqrt\(-1.0\)"):
        getattr(compiled, call)(Batch([1.0, -1.0], [0.0, 0.0]), strict=True, **options)


def test_parameters_are_the_functions_own():
    w, v = Value(2.0), Value(3.0)
    compiled = compile(lambda row: w * row.x * (v if isinstance(row, Columns) else 1.0))
    compiled(BATCH)
    assert compiled.parameters == [w]
    np.testing.assert_array_equal(compiled.jacobian(BATCH, argnums="parameters"), [[1.0], [2.0]])
    compiled(Columns(*BATCH))
    assert compiled.parameters == [w, v]
    np.testing.assert_array_equal(compiled.jacobian(BATCH, argnums="parameters"), [[1.0, 0.0], [2.0, 0.0]])
    compiled.set_parameters([5.0, 7.0])
    np.testing.assert_array_equal(compiled.get_parameters(), [w.data, v.data])


MODULE = Value(2.0)


@compile
def of_this_module(row):
    return MODULE * row.x


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
def test_copies_have_parameters_of_their_own(duplicate):
    of_this_module(BATCH)
    copied = duplicate(of_this_module)
    (leaf,) = copied.parameters
    assert leaf is not MODULE
    leaf.data = 3.0
    np.testing.assert_array_equal(copied(BATCH), [3.0, 6.0])
    np.testing.assert_array_equal(duplicate(copied)(BATCH), [3.0, 6.0])


class Model:
    def __init__(self):
        self.w = Value(2.0)

    @compile
    def loss(self, row):
        return self.w * row.x


def test_a_method_may_be_called_on_its_class():
    model = Model()
    np.testing.assert_array_equal(Model.loss(model, BATCH), [2.0, 4.0])
    np.testing.assert_array_equal(Model.loss.jacobian(model, BATCH, argnums="row.x"), [2.0, 2.0])
    assert model.loss.parameters == [model.w]


def test_c_has_a_parameter_for_each_column(tmp_path):
    compiled = weighted(Value(2.0))
    compiled(BATCH, Z)
    to_c(compiled, tmp_path / "weighted.c", name="weighted")
    assert "void weighted(double row_x, double row_y, double z," in (tmp_path / "weighted.c").read_text()
