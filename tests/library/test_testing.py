"""gradcheck accepts right derivatives and refuses wrong ones, saying where they are."""

import pytest

import fastgrad
from fastgrad import Value
from fastgrad.nn import MLP
from fastgrad.testing import GradcheckError, gradcheck


def square(x, factor):
    """x**2, with a derivative of factor * x."""
    out = Value(x.data**2, (x,), "square")

    def backward():
        x.grad += factor * x.data * out.grad

    out._backward = backward
    return out


def test_right_derivatives_pass():
    assert gradcheck(lambda x: square(x, 2), [Value(3.0)])
    assert gradcheck(lambda a, b: [a * b, a / b, (a - b).exp()], (1.5, -0.75))
    assert gradcheck(lambda x: x.tanh(), Value(0.5))


def test_a_network_passes():
    assert gradcheck(lambda *x: MLP_OF_TANH(x), [0.3, -0.6])


MLP_OF_TANH = MLP(2, [3, 2], activation="tanh")


@pytest.mark.parametrize("factor", [3, -2, 0, 2.01])
def test_a_wrong_backward_is_named_with_both_values(factor):
    def function(a, x):
        return [a * 2, a + square(x, factor)]

    with pytest.raises(GradcheckError) as caught:
        gradcheck(function, (1.0, Value(3.0, label="x")))
    message = str(caught.value)
    assert "output 1 by x (at 3.0)" in message
    assert f"analytic {3.0 * factor!r}" in message
    assert "numeric 6.0" in message or "numeric 5.99" in message


def test_an_input_without_a_label_goes_by_its_number():
    with pytest.raises(GradcheckError, match="by input 1"):
        gradcheck(lambda a, x: a + square(x, 5), (1.0, 3.0))


def test_it_can_answer_instead_of_raising():
    assert gradcheck(lambda x: square(x, 5), [3.0], raise_exception=False) is False


@pytest.mark.parametrize("factor", [2.0, 2.001, 2.0019, 2.0021, 2.01])
def test_the_tolerances_are_torchs(torch, factor):
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            return factor * ctx.saved_tensors[0] * g

    x = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    theirs = torch.autograd.gradcheck(Square.apply, (x,), raise_exception=False)
    assert gradcheck(lambda x: square(x, factor), [3.0], raise_exception=False) == theirs


def test_a_compiled_function_is_no_function_of_values():
    @fastgrad.compile
    def cube(x):
        return x**3

    with pytest.raises(TypeError, match=r"cube is compiled.*cube\.function"):
        gradcheck(cube, (0.3,))
    assert gradcheck(cube.function, (0.3,))


def test_nan_is_wrong():
    with pytest.raises(GradcheckError):
        gradcheck(lambda x: square(x, float("nan")), [3.0])


def test_values_and_gradients_are_left_as_they_were():
    x, w = Value(0.5), Value(2.0)
    x.grad, w.grad = 7.0, 8.0
    assert gradcheck(lambda x: (x * w).tanh(), [x])
    with pytest.raises(GradcheckError):
        gradcheck(lambda x: square(x * w, 3), [x])
    assert (x.data, x.grad, w.data, w.grad) == (0.5, 7.0, 2.0, 8.0)


@pytest.mark.parametrize("result", [[], (), iter(())], ids=["a list", "a tuple", "an iterator"])
def test_a_function_of_which_nothing_is_checked_raises_value_error(result):
    with pytest.raises(ValueError, match="the function returned no Values"):
        gradcheck(lambda x: result, [2.0])


@pytest.mark.parametrize("result", [1.0, None, [Value(1.0), 2.0]])
def test_a_function_that_returns_no_values_raises_type_error(result):
    with pytest.raises(
        TypeError, match="the function must return a Value or a sequence of them, but returned"
    ):
        gradcheck(lambda x: result, [1.0])
