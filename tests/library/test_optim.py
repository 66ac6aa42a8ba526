"""Optimizers and schedules against PyTorch over fifty steps, and their first steps by hand."""

import json
import math
import random
import re
from fractions import Fraction

import pytest

import fastgrad.functional as F
from fastgrad import Value, optim
from fastgrad.nn import MLP

STEPS = 50

# One row a setting: the class's name and its options.
OPTIMIZERS = [
    ("SGD", {}),
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.05, "momentum": 0.9}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.01, "weight_decay": 0.1, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.05, "betas": (0.8, 0.99), "eps": 1e-6}),
    ("Adam", {"lr": 0.05, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.01, "maximize": True}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.2}),
]
SCHEDULES = [
    ("LambdaLR", {"lr_lambda": lambda epoch: 0.95**epoch / (1 + epoch)}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.1, "end_factor": 0.5, "total_iters": 20}),
    ("StepLR", {"step_size": 7}),
    ("StepLR", {"step_size": 3, "gamma": 0.5}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("CosineAnnealingLR", {"T_max": 50}),
    ("CosineAnnealingLR", {"T_max": 10, "eta_min": 0.001}),
]


def named(rows):
    return [f"{name}-{'-'.join(options) or 'defaults'}-{index}" for index, (name, options) in enumerate(rows)]


def small_network(seed=0):
    """A network, its data and its loss: two tanh layers, three classes."""
    random.seed(seed)
    model = MLP(2, [4, 3], activation="tanh")
    X = [[random.gauss(0, 1), random.gauss(0, 1)] for _ in range(6)]
    y = [random.randrange(3) for _ in X]
    return model, lambda: F.cross_entropy([model(x) for x in X], y)


def train(optimizer, loss, steps=STEPS, schedule=None):
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()


def train_torch(torch, parameters, make_optimizer, make_schedule=None):
    """Train the same network on a flat tensor of its parameters."""
    flat = torch.tensor([p.data for p in parameters], dtype=torch.float64, requires_grad=True)
    random.seed(0)
    MLP(2, [4, 3])
    X = torch.tensor([[random.gauss(0, 1), random.gauss(0, 1)] for _ in range(6)], dtype=torch.float64)
    y = torch.tensor([random.randrange(3) for _ in X])
    optimizer = make_optimizer([flat])
    schedule = make_schedule and make_schedule(optimizer)
    rates = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        first, second = flat[:12].reshape(4, 3), flat[12:].reshape(3, 5)
        hidden = (X @ first[:, :2].T + first[:, 2]).tanh()
        torch.nn.functional.cross_entropy(hidden @ second[:, :4].T + second[:, 4], y).backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()
        rates.append(optimizer.param_groups[0]["lr"])
    return flat.tolist(), rates


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=named(OPTIMIZERS))
def test_fifty_steps_agree_with_torch(torch, name, options):
    model, loss = small_network()
    expected, _ = train_torch(
        torch, model.parameters(), lambda flat: getattr(torch.optim, name)(flat, **options)
    )
    train(getattr(optim, name)(model.parameters(), **options), loss)
    assert [p.data for p in model.parameters()] == pytest.approx(expected, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize(("name", "options"), SCHEDULES, ids=named(SCHEDULES))
def test_fifty_steps_on_a_schedule_agree_with_torch(torch, name, options):
    model, loss = small_network()
    expected, rates = train_torch(
        torch,
        model.parameters(),
        lambda flat: torch.optim.SGD(flat, lr=0.1, momentum=0.5),
        lambda optimizer: getattr(torch.optim.lr_scheduler, name)(optimizer, **options),
    )
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.5)
    schedule = getattr(optim, name)(optimizer, **options)
    ours = []
    for _ in range(STEPS):
        train(optimizer, loss, 1, schedule)
        ours += schedule.get_last_lr()
    assert ours == pytest.approx(rates, rel=1e-12, abs=1e-15)
    assert [p.data for p in model.parameters()] == pytest.approx(expected, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_the_defaults_are_torchs(torch, name):
    ours = getattr(optim, name)([Value(0.0)]).defaults
    theirs = getattr(torch.optim, name)([torch.zeros(1, requires_grad=True)]).defaults
    assert ours == {option: theirs[option] for option in ours}


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
@pytest.mark.parametrize("second", [-0.25, 1e-20, -3e-200, 1e20], ids="a second gradient of {}".format)
def test_adam_without_averages_ends_exactly_where_torchs_does(torch, name, second):
    options = {"lr": 0.1, "betas": (0.0, 0.0), "eps": 0}
    p = Value(1.5)
    tensor = torch.tensor([1.5], dtype=torch.float64, requires_grad=True)
    ours, theirs = getattr(optim, name)([p], **options), getattr(torch.optim, name)([tensor], **options)
    for grad in (4.0, second, 2.0):
        p.grad, tensor.grad = grad, torch.tensor([grad], dtype=torch.float64)
        ours.step()
        theirs.step()
        assert p.data == tensor.item()


# By hand.


def parameter(data, grad):
    value = Value(data)
    value.grad = grad
    return value


def test_sgd_with_momentum_by_hand():
    p = parameter(1.0, 2.0)
    optimizer = optim.SGD([p], lr=0.1, momentum=0.5)
    optimizer.step()
    assert p.data == 1.0 - 0.1 * 2.0
    optimizer.step()
    assert p.data == pytest.approx(0.8 - 0.1 * (0.5 * 2.0 + 2.0), rel=1e-15)


def test_adams_first_step_is_the_rate_against_the_gradients_sign():
    values = [parameter(1.0, 5.0), parameter(1.0, -1e-3), parameter(1.0, 0.0)]
    optim.Adam(values, lr=0.01).step()
    assert [v.data for v in values] == pytest.approx([0.99, 1.01, 1.0], rel=1e-6)


def test_adamw_shrinks_parameters_without_gradient():
    p = parameter(2.0, 0.0)
    optim.AdamW([p], lr=0.1, weight_decay=0.5).step()
    assert p.data == 2.0 * (1 - 0.1 * 0.5)


def test_more_parameters_than_a_block_are_all_updated():
    values = [parameter(float(index), 1.0) for index in range(1000)]
    optim.Adam(values, lr=0.5).step()
    assert [v.data for v in values] == pytest.approx([index - 0.5 for index in range(1000)], abs=1e-7)


def test_zero_grad_sets_gradients_to_zero():
    values = [parameter(1.0, 2.0), parameter(1.0, math.nan)]
    optim.SGD(values).zero_grad()
    assert [v.grad for v in values] == [0.0, 0.0]


def test_step_returns_what_the_closure_returns_after_running_it():
    x = Value(3.0)
    optimizer = optim.SGD([x], lr=0.5)

    def closure():
        loss = x * x
        loss.backward()
        return loss

    assert optimizer.step(closure).data == 9.0
    assert x.data == 0.0


def test_groups_have_options_of_their_own_that_may_change():
    a, b = parameter(1.0, 1.0), parameter(1.0, 1.0)
    optimizer = optim.SGD([{"params": [a]}, {"params": b, "lr": 0.5}], lr=0.1)
    optimizer.step()
    assert (a.data, b.data) == (0.9, 0.5)
    optimizer.param_groups[0]["lr"] = 0.4
    optimizer.step()
    assert (a.data, b.data) == (0.5, 0.0)
    c = parameter(1.0, 1.0)
    optimizer.add_param_group({"params": [c], "lr": 1.0})
    optimizer.step()
    assert c.data == 0.0


class Subclass(Value):
    """A Value outside the pool."""


def test_parameters_of_a_subclass_are_updated():
    p = Subclass(1.0)
    p.grad = 1.0
    optim.Adam([p], lr=0.5).step()
    assert p.data == pytest.approx(0.5)


@pytest.mark.parametrize("schedule", ["LinearLR", "ExponentialLR"])
def test_schedules_act_together(torch, schedule):
    options = {"gamma": 0.9} if schedule == "ExponentialLR" else {}
    rates = []
    for module, schedules, p in [
        (optim, optim, Value(1.0)),
        (torch.optim, torch.optim.lr_scheduler, torch.zeros(1, requires_grad=True)),
    ]:
        optimizer = module.SGD([p], lr=1.0)
        both = [getattr(schedules, schedule)(optimizer, **options), schedules.StepLR(optimizer, 3)]
        rates.append([])
        for _ in range(10):
            optimizer.step()
            for each in both:
                each.step()
            rates[-1].append(optimizer.param_groups[0]["lr"])
    assert rates[0] == pytest.approx(rates[1], rel=1e-12)


# Saving.


@pytest.mark.parametrize("through_json", [False, True])
@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=named(OPTIMIZERS))
def test_training_goes_on_from_a_saved_state(name, options, through_json):
    straight, loss = small_network()
    optimizer = getattr(optim, name)(straight.parameters(), **options)
    train(optimizer, loss, 10)
    state, weights = optimizer.state_dict(), straight.state_dict()
    train(optimizer, loss, 10)

    resumed, loss = small_network()
    resumed.load_state_dict(weights)
    again = getattr(optim, name)(resumed.parameters(), lr=123.0)
    again.load_state_dict(json.loads(json.dumps(state)) if through_json else state)
    train(again, loss, 10)
    assert resumed.state_dict() == straight.state_dict()


def test_the_state_has_torchs_form(torch):
    values = [parameter(1.0, 0.5), parameter(2.0, -0.25)]
    tensor = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    tensor.grad = torch.tensor([0.5, -0.25], dtype=torch.float64)
    ours, theirs = optim.Adam(values), torch.optim.Adam([tensor])
    ours.step()
    theirs.step()
    state, expected = ours.state_dict(), theirs.state_dict()
    assert state.keys() == expected.keys()
    assert state["param_groups"][0].keys() <= expected["param_groups"][0].keys()
    assert state["param_groups"][0]["params"] == [0, 1]
    for number in range(2):
        assert state["state"][number].keys() == expected["state"][0].keys()
        average = expected["state"][0]["exp_avg"][number].item()
        assert state["state"][number]["exp_avg"] == pytest.approx(average)


@pytest.mark.parametrize(
    ("name", "options"),
    [("SGD", {"momentum": 0.9}), ("Adam", {}), ("AdamW", {})],
    ids=["SGD", "Adam", "AdamW"],
)
def test_training_goes_on_from_torchs_state(torch, name, options):
    values, tensors = [], []
    for data, gradient in ((1.0, 0.5), (2.0, -0.25)):
        values.append(parameter(data, gradient))
        tensors.append(torch.tensor(data, dtype=torch.float64, requires_grad=True))
        tensors[-1].grad = torch.tensor(gradient, dtype=torch.float64)
    theirs = getattr(torch.optim, name)(tensors, lr=0.1, **options)
    theirs.step()
    for value, tensor in zip(values, tensors, strict=True):
        value.data = tensor.item()
    ours = getattr(optim, name)(values)
    ours.load_state_dict(theirs.state_dict())
    ours.step()
    theirs.step()
    assert [value.data for value in values] == pytest.approx([tensor.item() for tensor in tensors], rel=1e-14)


def test_torchs_amsgrad_is_refused(torch):
    theirs = torch.optim.Adam([torch.zeros(1, requires_grad=True)], amsgrad=True)
    with pytest.raises(ValueError, match="Adam has no amsgrad here"):
        optim.Adam([Value(0.0)]).load_state_dict(theirs.state_dict())


def test_a_schedule_goes_on_from_a_saved_state():
    first, second = optim.SGD([Value(0.0)], lr=1.0), optim.SGD([Value(0.0)], lr=1.0)
    schedule = optim.CosineAnnealingLR(first, 20)
    for _ in range(5):
        schedule.step()
    state, optimizer_state = schedule.state_dict(), first.state_dict()
    other = optim.CosineAnnealingLR(second, 7)
    second.load_state_dict(optimizer_state)
    other.load_state_dict(state)
    schedule.step()
    other.step()
    assert other.get_last_lr() == schedule.get_last_lr()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state["param_groups"].append({"params": []}), "2 parameter groups, not 1"),
        (lambda state: state["param_groups"][0]["params"].pop(), "1 parameters, not 2"),
        (lambda state: state["param_groups"][0].update(lr=-1.0), "Invalid learning rate"),
        (lambda state: state["state"].pop(1), "some parameters of a group only"),
        (lambda state: state["state"][1].update(step=7), "not all at the same step"),
        (
            lambda state: state["param_groups"][0].update(betas=(0.9,)),
            r"betas must be two numbers, not \(0.9,\)",
        ),
        (lambda state: state["param_groups"][0].update(betas=[0.9] * 3), "betas must be two numbers"),
        (
            lambda state: state["param_groups"][0].update(betas=0.9),
            "not the state of Adam: .*betas must be two numbers, not 0.9",
        ),
        (
            lambda state: state["param_groups"][0].update(lr="fast"),
            "not the state of Adam: .*lr must be a number, not 'fast'",
        ),
        (
            lambda state: state["state"][1].update(exp_avg="much"),
            "not the state of Adam: .*exp_avg must be a number, not 'much'",
        ),
        (
            lambda state: [moments.update(step="two") for moments in state["state"].values()],
            "not the state of Adam: .*step must be a whole number, not 'two'",
        ),
        (
            lambda state: state["state"].update(first={}),
            "not the state of Adam: .*a parameter's number must be a whole number, not 'first'",
        ),
        (
            lambda state: state["param_groups"][0].update(params=[0, "x"]),
            "not the state of Adam: .*a parameter's number must be a whole number, not 'x'",
        ),
        (
            lambda state: [moments.update(step=math.inf) for moments in state["state"].values()],
            "not the state",
        ),
        (lambda state: state["param_groups"][0].pop("params"), "not the state of Adam: KeyError"),
        (lambda state: state.pop("state"), "not the state of Adam: KeyError"),
        (dict.clear, "not the state of Adam: KeyError"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(change, message):
    values = [parameter(1.0, 1.0), parameter(2.0, 1.0)]
    optimizer = optim.Adam(values)
    optimizer.step()
    state = optimizer.state_dict()
    before = optimizer.state_dict()
    change(state)
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(state)
    assert optimizer.state_dict() == before


@pytest.mark.parametrize("state", [None, [], 3, "state", {"param_groups": None, "state": {}}], ids=repr)
def test_what_is_no_state_is_refused_and_changes_nothing(state):
    optimizer = optim.Adam([parameter(1.0, 1.0)])
    optimizer.step()
    before = optimizer.state_dict()
    with pytest.raises(ValueError, match="not the state of Adam"):
        optimizer.load_state_dict(state)
    assert optimizer.state_dict() == before


@pytest.mark.parametrize(
    ("name", "other", "message"),
    [
        ("SGD", "Adam", "has step, exp_avg, exp_avg_sq, where SGD has momentum_buffer"),
        ("AdamW", "SGD", "has momentum_buffer, where AdamW has step, exp_avg, exp_avg_sq"),
    ],
)
def test_the_moments_of_another_optimizer_are_refused_and_change_nothing(name, other, message):
    def stepped(name):
        options = {"momentum": 0.9} if name == "SGD" else {}
        optimizer = getattr(optim, name)([parameter(1.0, 1.0)], **options)
        optimizer.step()
        return optimizer

    optimizer = stepped(name)
    before = optimizer.state_dict()
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(stepped(other).state_dict())
    assert optimizer.state_dict() == before


# Clipping.


@pytest.mark.parametrize("max_norm", [0.5, 100.0])
@pytest.mark.parametrize("order", [1.0, 2.0, 3.0, math.inf])
def test_clipping_agrees_with_torch(torch, max_norm, order):
    grads = [3.0, -4.0, 0.5]
    values = [parameter(0.0, grad) for grad in grads]
    tensor = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    tensor.grad = torch.tensor(grads, dtype=torch.float64)
    expected = torch.nn.utils.clip_grad_norm_([tensor], max_norm, order).item()
    assert optim.clip_grad_norm_(values, max_norm, order) == pytest.approx(expected, rel=1e-12)
    assert [v.grad for v in values] == pytest.approx(tensor.grad.tolist(), rel=1e-12)


def test_clipping_by_hand():
    values = [parameter(0.0, 3.0), parameter(0.0, -4.0)]
    assert optim.clip_grad_norm_(values, 1.0) == 5.0
    assert [v.grad for v in values] == pytest.approx([0.6, -0.8], rel=1e-6)
    assert optim.clip_grad_norm_(values, 10.0) == pytest.approx(1.0, rel=1e-6)
    assert [v.grad for v in values] == pytest.approx([0.6, -0.8], rel=1e-6)


@pytest.mark.parametrize("limit", [0.5, 0, -0.5, math.inf])
def test_clipping_each_gradient_agrees_with_torch(torch, limit):
    gradients = [3.0, -3.0, 0.25, -0.0, math.inf, -math.inf, math.nan]
    values = [parameter(1.0, gradient) for gradient in gradients]
    tensor = torch.zeros(len(gradients), dtype=torch.float64, requires_grad=True)
    tensor.grad = torch.tensor(gradients, dtype=torch.float64)
    optim.clip_grad_value_(values, limit)
    torch.nn.utils.clip_grad_value_([tensor], limit)
    assert [p.grad for p in values] == pytest.approx(tensor.grad.tolist(), rel=0, abs=0, nan_ok=True)


def test_clipping_takes_one_value_and_refuses_what_is_none():
    p = parameter(1.0, 3.0)
    optim.clip_grad_value_(p, 1.0)
    assert p.grad == 1.0
    with pytest.raises(TypeError, match="must be a Value, not str"):
        optim.clip_grad_value_(["p"], 1.0)
    with pytest.raises(TypeError, match=r"is a MLP: pass its \.parameters\(\)"):
        optim.clip_grad_norm_(MLP(2, [1]), 1.0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_norm": -1.0}, ValueError, "max_norm must be at least 0, not -1.0"),
        ({"max_norm": math.nan}, ValueError, "max_norm must be at least 0, not nan"),
        ({"max_norm": "1"}, TypeError, "max_norm must be a number, not '1'"),
        ({"max_norm": 1.0, "norm_type": 0.0}, ValueError, "norm_type must be positive, not 0.0"),
        ({"max_norm": 1.0, "norm_type": -math.inf}, ValueError, "norm_type must be positive, not -inf"),
    ],
)
def test_a_norm_that_is_none_is_refused_and_changes_nothing(options, error, message):
    p = parameter(1.0, 3.0)
    with pytest.raises(error, match=message):
        optim.clip_grad_norm_(p, **options)
    assert p.grad == 3.0


# What is refused.


def twice():
    value = Value(1.0)
    return [value, value]


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
@pytest.mark.parametrize(
    ("params", "options", "error", "message"),
    [
        (list, {}, ValueError, "empty parameter list"),
        (lambda: [Value(1.0)], {"lr": -0.1}, ValueError, "Invalid learning rate: -0.1"),
        (lambda: [Value(1.0)], {"weight_decay": -1.0}, ValueError, "Invalid weight_decay value: -1.0"),
        (lambda: [{"params": [Value(1.0)], "lr": -1.0}], {}, ValueError, "Invalid learning rate: -1.0"),
        (lambda: [Value(1.0) + 1], {}, ValueError, "can't optimize a Value that was computed"),
        (twice, {}, ValueError, "more than once"),
        (lambda: [{"params": [value]} for value in twice()], {}, ValueError, "more than once"),
        (lambda: Value(1.0), {}, TypeError, "iterable of Values"),
        (lambda: [1.0], {}, TypeError, "one is a float"),
        (lambda: [{"params": {Value(1.0)}}], {}, TypeError, "not in a set"),
        (lambda: [{"params": [Value(1.0)]}, Value(1.0)], {}, TypeError, "must be a dict"),
        (lambda: MLP(2, [1]), {}, TypeError, r"but is a MLP: pass its \.parameters\(\)"),
        (lambda: [{"params": MLP(2, [1])}], {}, TypeError, r"but is a MLP: pass its \.parameters\(\)"),
        (lambda: 3, {}, TypeError, "iterable of Values or of dicts, but is a int$"),
        (lambda: [{"lr": 1.0}], {}, ValueError, r"a group of parameters needs 'params', but has \['lr'\]"),
    ],
)
def test_wrong_parameters_are_refused_as_in_torch(name, params, options, error, message):
    with pytest.raises(error, match=message):
        getattr(optim, name)(params(), **options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("SGD", {"momentum": -1.0}, "Invalid momentum value: -1.0"),
        ("SGD", {"nesterov": True}, "Nesterov momentum requires a momentum"),
        ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "zero dampening"),
        ("Adam", {"eps": -1.0}, "Invalid epsilon value: -1.0"),
        ("Adam", {"betas": (1.0, 0.9)}, "Invalid beta parameter at index 0: 1.0"),
        ("AdamW", {"betas": (0.9, -0.1)}, "Invalid beta parameter at index 1: -0.1"),
    ],
)
def test_wrong_options_are_refused_as_in_torch(torch, name, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(optim, name)([Value(1.0)], **options)
    with pytest.raises(ValueError, match=message):
        getattr(torch.optim, name)([torch.zeros(1, requires_grad=True)], **options)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        *(("SGD", option) for option in ("lr", "momentum", "dampening", "weight_decay")),
        *(("Adam", option) for option in ("lr", "eps", "weight_decay")),
    ],
)
@pytest.mark.parametrize("value", ["a", None, Value(0.5), 1j], ids=repr)
def test_an_option_that_is_no_number_raises_type_error_that_names_both(name, option, value):
    with pytest.raises(TypeError, match=f"{option} must be a number, not {re.escape(repr(value))}"):
        getattr(optim, name)([Value(1.0)], **{option: value})


@pytest.mark.parametrize("betas", [0.9, Value(0.9), None], ids=repr)
def test_betas_that_are_no_pair_raise_type_error(betas):
    with pytest.raises(TypeError, match=f"betas must be two numbers, not {re.escape(repr(betas))}"):
        optim.Adam([Value(1.0)], betas=betas)


@pytest.mark.parametrize("betas", ["ab", ("a", 0.9), (0.9, Value(0.9))], ids=repr)
def test_a_beta_that_is_no_number_raises_type_error(betas):
    with pytest.raises(TypeError, match="each of betas must be a number, not "):
        optim.Adam([Value(1.0)], betas=betas)


def test_any_kind_of_number_is_an_option():
    p = parameter(1.0, 0.5)
    optim.SGD([p], lr=Fraction(1, 2), momentum=0, weight_decay=False).step()
    assert p.data == 0.75


def test_an_optimizer_of_the_users_own_has_the_options_that_it_names():
    class SignSGD(optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        def _update(self, group, state):
            for p in group["params"]:
                p.data -= math.copysign(group["lr"], p.grad)

    p = parameter(1.0, -3.0)
    SignSGD([p], 0.5).step()
    assert p.data == 1.5
    with pytest.raises(ValueError, match="Invalid learning rate: -1"):
        SignSGD([p], -1)


@pytest.mark.parametrize("options", [{"momentum": 0.5}, {"weight_decay": 0.5}], ids=str)
def test_a_parameter_that_the_loss_did_not_reach_moves_as_one_of_gradient_zero_does_in_torch(torch, options):
    p = parameter(1.0, 2.0)
    tensor = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    tensor.grad = torch.tensor([2.0], dtype=torch.float64)
    ours, theirs = optim.SGD([p], lr=0.1, **options), torch.optim.SGD([tensor], lr=0.1, **options)
    ours.step()
    theirs.step()
    before = p.data
    ours.zero_grad()
    theirs.zero_grad(set_to_none=False)
    ours.step()
    theirs.step()
    assert p.data == tensor.item() != before


def test_a_group_a_parameter_takes_linear_time():
    class Counted(Value):
        asked = 0

        def __hash__(self):
            Counted.asked += 1
            return id(self)

    parameters = [Counted(1.0) for _ in range(100)]
    optim.SGD([{"params": [p]} for p in parameters])
    assert Counted.asked <= 4 * len(parameters)


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
@pytest.mark.parametrize("betas", [(), (0.9,), [0.9, 0.99, 0.999]])
def test_betas_of_another_length_are_refused(name, betas):
    with pytest.raises(ValueError, match="betas must be two numbers, not "):
        getattr(optim, name)([Value(1.0)], betas=betas)


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
@pytest.mark.parametrize("betas", [[], [0.9], (0.9, 0.99, 0.999)])
def test_betas_that_were_changed_to_another_length_are_refused_by_the_step(name, betas):
    p = parameter(1.0, 1.0)
    optimizer = getattr(optim, name)([p])
    optimizer.param_groups[0]["betas"] = betas
    with pytest.raises(ValueError, match="unpack"):
        optimizer.step()
    assert p.data == 1.0


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("LinearLR", {"start_factor": 0.0}, "start_factor must be greater than 0 and at most 1, not 0.0"),
        ("LinearLR", {"start_factor": 1.5}, "start_factor must be greater than 0 and at most 1, not 1.5"),
        ("LinearLR", {"end_factor": -0.1}, "end_factor must be between 0 and 1, not -0.1"),
        ("LambdaLR", {"lr_lambda": [abs, abs]}, "Expected 1 lr_lambdas, but got 2"),
        ("StepLR", {"step_size": 0}, "step_size must be at least 1, not 0"),
        ("StepLR", {"step_size": -3}, "step_size must be at least 1, not -3"),
        ("CosineAnnealingLR", {"T_max": 0}, "T_max must be at least 1, not 0"),
        ("CosineAnnealingLR", {"T_max": -1}, "T_max must be at least 1, not -1"),
    ],
)
def test_wrong_schedules_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(optim, name)(optim.SGD([Value(1.0)]), **options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("LambdaLR", {"lr_lambda": 0.5}, "lr_lambda must be a function, or one for each group, not 0.5"),
        ("StepLR", {"step_size": 3, "gamma": "0.1"}, "gamma must be a number, not '0.1'"),
        ("ExponentialLR", {"gamma": None}, "gamma must be a number, not None"),
    ],
)
def test_schedules_of_what_is_no_number_or_function_are_type_errors(name, options, message):
    with pytest.raises(TypeError, match=message):
        getattr(optim, name)(optim.SGD([Value(1.0)]), **options)


@pytest.mark.parametrize("schedule", [optim.LRScheduler, lambda given: optim.LambdaLR(given, abs)])
def test_a_schedule_of_no_optimizer_raises_type_error(schedule):
    with pytest.raises(TypeError, match="a schedule needs an optimizer, not a list"):
        schedule([Value(1.0)])


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_a_rate_of_nan_is_refused(name):
    with pytest.raises(ValueError, match="Invalid learning rate: nan"):
        getattr(optim, name)([Value(1.0)], lr=math.nan)


def test_a_list_of_parameters_that_was_changed_is_noticed():
    optimizer = optim.Adam([Value(1.0)])
    optimizer.step()
    optimizer.param_groups[0]["params"].append(Value(2.0))
    with pytest.raises(ValueError, match="2 parameters, but the optimizer's state is of 1"):
        optimizer.step()
    optimizer.param_groups[0]["params"][:] = ["w"]
    with pytest.raises(TypeError, match="must be a Value, not str"):
        optimizer.step()


def test_the_text_lists_each_groups_options_as_torchs_does():
    groups = [{"params": [Value(1.0)]}, {"params": [Value(2.0)], "lr": 0.5}]
    assert repr(optim.SGD(groups, lr=0.1)) == "\n".join(
        [
            "SGD (",
            *("Parameter Group 0", "    dampening: 0.0", "    lr: 0.1", "    maximize: False"),
            *("    momentum: 0.0", "    nesterov: False", "    weight_decay: 0.0"),
            *("Parameter Group 1", "    dampening: 0.0", "    lr: 0.5", "    maximize: False"),
            *("    momentum: 0.0", "    nesterov: False", "    weight_decay: 0.0"),
            ")",
        ]
    )


def test_an_optimizer_without_an_update_says_so():
    class Unfinished(optim.SGD):
        _update = optim.SGD.__base__._update

    with pytest.raises(NotImplementedError):
        Unfinished([Value(1.0)], lr=0.1).step()


def test_a_schedule_without_a_factor_leaves_the_rate():
    optimizer = optim.SGD([Value(1.0)], lr=0.1)
    schedule = optim.StepLR.__base__(optimizer)
    schedule.step()
    assert schedule.get_last_lr() == [0.1]


@pytest.mark.parametrize("name", ["Adam", "SGD"])
def test_a_step_that_fails_counts_for_nothing(name):
    x = Value(1.0)
    x.grad = 0.5
    options = {"lr": 0.1} | ({"momentum": 0.9, "dampening": 0.5} if name == "SGD" else {})
    optimizer, other = (getattr(optim, name)([x], **options) for _ in range(2))
    optimizer.param_groups[0]["params"].append("no Value")
    with pytest.raises((TypeError, ValueError)):
        optimizer.step()
    optimizer.param_groups[0]["params"].pop()
    assert x.data == 1.0
    optimizer.state_dict()
    if name == "SGD":
        optimizer.step()
        after, x.data = x.data, 1.0
        other.step()
        assert x.data == after


def test_moments_of_another_type_are_refused():
    from array import array

    from fastgrad.optim.updates import adam

    group = optim.Adam([Value(1.0)]).param_groups[0]
    with pytest.raises(ValueError, match="state"):
        adam(group, array("d", [0.0]), array("f", [0.0]), 1, False)


def test_numbers_are_copied_in_the_order_of_the_parameters():
    from fastgrad.optim.updates import copy_numbers

    values = [Value(float(k)) for k in range(5)]
    for k, value in enumerate(values):
        value.grad = -0.5 * k
    data, grads = copy_numbers(values)
    values[0].data = values[0].grad = 9.0
    assert (data.tolist(), grads.tolist()) == ([0.0, 1.0, 2.0, 3.0, 4.0], [-0.0, -0.5, -1.0, -1.5, -2.0])
    with pytest.raises(TypeError, match="a parameter must be a Value, not float"):
        copy_numbers([1.0])
