"""fastgrad.overfit: whether a model can learn one batch by heart."""

import random

import pytest

import fastgrad
import fastgrad.functional as F
from fastgrad import Value, nn

X = [[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]
Y = [1.0, 1.0, -1.0, -1.0]


@pytest.fixture
def model():
    random.seed(3)
    return nn.MLP(2, [8, 1], activation="tanh")


def squared(model):
    return lambda X, Y: F.mse_loss([model(x) for x in X], Y)


def test_a_model_that_learns_one_batch_says_yes(model):
    result = fastgrad.overfit(model, squared(model), (X, Y))
    assert result
    assert str(result).startswith(f"yes: the loss fell from {result.losses[0]:.4g}")
    assert result.losses[-1] <= 0.01 * result.losses[0] < result.losses[-2]


def test_a_model_that_is_too_small_says_no():
    random.seed(3)
    linear = nn.MLP(2, [1])
    result = fastgrad.overfit(linear, squared(linear), (X, Y), steps=50)
    assert not result
    assert len(result.losses) == 51
    assert "has a mistake, or is too small" in str(result)


def test_what_check_finds_is_said(model):
    wrong = [Value(0.5, label="unused"), *model.parameters()]
    result = fastgrad.overfit(wrong, lambda: Value(2.0) + 0.0 * model([1.0, 1.0]), steps=3)
    assert [finding.kind for finding in result.findings] == ["no gradient", "no gradient"]
    assert "the loss does not depend on unused" in str(result)


def test_parameters_and_gradients_are_put_back(model):
    for k, parameter in enumerate(model.parameters()):
        parameter.grad = float(k)
    before = [(parameter.data, parameter.grad) for parameter in model.parameters()]
    fastgrad.overfit(model, squared(model), (X, Y), steps=5)
    assert [(parameter.data, parameter.grad) for parameter in model.parameters()] == before

    def fail():
        raise KeyError

    with pytest.raises(KeyError):
        fastgrad.overfit(model, fail)
    assert [(parameter.data, parameter.grad) for parameter in model.parameters()] == before


def test_a_loss_that_is_no_number_ends_it(model):
    result = fastgrad.overfit(model, lambda: model([1.0, 1.0]) * float("nan"))
    assert not result
    assert len(result.losses) == 1


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (([], lambda: Value(1.0)), {}, ValueError, "no parameters"),
        (([Value(1.0)], lambda: 3.0), {}, TypeError, "the loss must be a Value, not float"),
        (([Value(1.0)], lambda: Value(1.0)), {"steps": 0}, ValueError, "steps must be at least 1, not 0"),
        (([3.0], lambda: Value(1.0)), {}, TypeError, "parameters must be Values"),
    ],
)
def test_nonsense_is_refused(arguments, options, error, message):
    with pytest.raises(error, match=message):
        fastgrad.overfit(*arguments, **options)
