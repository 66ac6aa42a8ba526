"""Each rule finds its mistake, and nothing in correct programs."""

import math
import random

import pytest

import fastgrad
import fastgrad.functional as F
from fastgrad import Value, check
from fastgrad.nn import MLP, Dropout, Layer, Module, Neuron
from fastgrad.optim import SGD


def kinds(findings):
    return {finding.kind for finding in findings}


@pytest.fixture
def data():
    random.seed(3)
    return [[random.gauss(0, 1) for _ in range(3)] for _ in range(20)], [
        random.randrange(2) for _ in range(20)
    ]


def loss_of(model, data):
    X, y = data
    return F.cross_entropy([model(x) for x in X], y)


def a_healthy_model(activation):
    random.seed(8)
    return MLP(3, [6, 2], activation=activation)


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "linear"])
def test_a_healthy_step_has_no_findings(activation, data):
    model = a_healthy_model(activation)
    loss = loss_of(model, data)
    loss.backward()
    findings = check(loss, model)
    assert findings == []
    assert str(findings) == "no mistake found"


def test_looking_changes_nothing(data):
    model = a_healthy_model("tanh")
    loss = loss_of(model, data)
    loss.backward()
    loss_of(model, data).backward()
    before = [p.grad for p in model.parameters()], loss.grad, loss.data
    check(loss, model)
    assert ([p.grad for p in model.parameters()], loss.grad, loss.data) == before


def test_gradients_that_were_not_zeroed(data):
    model = a_healthy_model("tanh")
    for _ in range(2):
        loss = loss_of(model, data)
        loss.backward()
    (finding,) = check(loss, model)
    assert finding.kind == "gradients not zeroed"
    assert "layers.0.neurons.0.w.0" in finding.message
    model.zero_grad()
    loss = loss_of(model, data)
    loss.backward()
    assert check(loss, model) == []


def test_gradients_left_by_another_loss():
    w, other = Value(2.0, label="w"), Value(3.0)
    (w * other).backward()
    loss = w * 5
    loss.backward()
    (finding,) = check(loss, [w])
    assert finding.kind == "gradients not zeroed"
    assert "that of w is 8.0, of which this loss gave 5.0" in finding.message
    assert finding.nodes == (w,)


def test_backward_that_was_forgotten():
    w = Value(2.0)
    assert kinds(check(w * 3, [w])) == {"no backward"}


def test_a_parameter_that_the_loss_does_not_depend_on():
    used, unused = Value(1.0), Value(2.0, label="unused")
    loss = used * 2
    loss.backward()
    (finding,) = check(loss, [used, unused])
    assert (finding.kind, finding.nodes) == ("no gradient", (unused,))
    assert "does not depend on unused" in finding.message


def test_a_parameter_behind_a_derivative_of_zero():
    w, v = Value(-2.0, label="w"), Value(1.0)
    loss = w.relu() + v
    loss.backward()
    findings = check(loss, [w, v])
    assert "gradient of w is exactly 0" in findings[0].message


@pytest.mark.parametrize(
    ("build", "where"),
    [
        (lambda x: (x * math.inf) * 0 + 1, "inf arose in mul(1, inf)"),
        (lambda x: (x + math.inf) - (x + math.inf), "inf arose in add(1, inf)"),
        (lambda x: (Value(1e200) * (x * 1e200)).relu() * 0, "inf arose in mul(1e+200, 1e+200)"),
        (lambda x: x + Value(math.nan, label="bad"), "nan came in with bad"),
    ],
)
def test_the_first_node_that_is_not_finite(build, where):
    x = Value(1.0)
    loss = build(x)
    loss.backward()
    found = [finding for finding in check(loss, [x]) if finding.kind == "not finite"]
    assert where in found[0].message


def test_the_derivative_that_makes_a_gradient_infinite():
    x = Value(0.0)
    loss = (x * 2).sqrt() * 3
    loss.backward()
    (finding,) = [finding for finding in check(loss, [x]) if finding.kind == "gradient not finite"]
    assert "at sqrt(0)" in finding.message


def by_hand(model):
    """The network op by op, without fused neurons."""

    def call(x):
        for layer in model.layers:
            out = []
            for neuron in layer.neurons:
                value = sum((w * xi for w, xi in zip(neuron.w, x, strict=True)), neuron.b)
                out.append(getattr(value, neuron.activation)() if neuron.nonlin else value)
            x = out
        return x

    return call


@pytest.mark.parametrize("written", ["fused", "by hand"])
@pytest.mark.parametrize(
    ("activation", "bias", "kind"),
    [("relu", -100.0, "dead ReLU"), ("tanh", 100.0, "saturated"), ("sigmoid", -100.0, "saturated")],
)
def test_neurons_that_pass_no_gradient(activation, bias, kind, written, data):
    model = a_healthy_model(activation)
    model.layers[0].neurons[4].b.data = bias
    loss = loss_of(model if written == "fused" else by_hand(model), data)
    loss.backward()
    (finding,) = [finding for finding in check(loss, model) if finding.kind == kind]
    assert f"1 of 6 {activation} neurons" in finding.message
    assert finding.message.endswith("layers.0.neurons.4")
    assert len(finding.nodes) == 20


@pytest.mark.parametrize(("rows", "found"), [(15, False), (16, True)])
def test_a_dead_neuron_among_others_is_reported_from_sixteen_inputs_on(rows, found, data):
    model = a_healthy_model("relu")
    model.layers[0].neurons[4].b.data = -100.0
    X, y = data
    loss = loss_of(model, (X[:rows], y[:rows]))
    loss.backward()
    dead = [finding for finding in check(loss, model) if finding.kind == "dead ReLU"]
    assert any("layers.0.neurons.4" in finding.message for finding in dead) == found


def test_dead_neurons_without_others_are_reported_at_once(data):
    model = a_healthy_model("relu")
    for neuron in model.layers[0].neurons:
        neuron.b.data = -100.0
    loss = loss_of(model, (data[0][:1], data[1][:1]))
    loss.backward()
    assert "dead ReLU" in kinds(check(loss, model))


def test_a_neuron_that_is_off_for_one_input_is_not_dead(data):
    model = a_healthy_model("relu")
    loss = loss_of(model, ([data[0][0]], [data[1][0]]))
    loss.backward()
    assert "dead ReLU" not in kinds(check(loss, model))


@pytest.mark.parametrize(
    "wrong", [F.softmax, lambda x: [e / F.sum([v.exp() for v in x]) for e in [v.exp() for v in x]]]
)
def test_softmax_before_cross_entropy(wrong, data):
    model, (X, y) = a_healthy_model("tanh"), data
    loss = F.cross_entropy([wrong(model(x)) for x in X], y)
    loss.backward()
    (finding,) = check(loss, model)
    assert finding.kind == "softmax before cross_entropy"
    assert len(finding.nodes) == 20


@pytest.mark.parametrize("right", ["cross_entropy", "softmax", "log_softmax"])
def test_the_right_uses_of_softmax(right, data):
    model, (X, y) = a_healthy_model("tanh"), data
    loss = {
        "cross_entropy": lambda: F.cross_entropy([model(x) for x in X], y),
        "softmax": lambda: F.mean([-F.softmax(model(x))[t].log() for x, t in zip(X, y, strict=True)]),
        "log_softmax": lambda: F.nll_loss([F.log_softmax(model(x)) for x in X], y),
    }[right]()
    loss.backward()
    assert check(loss, model) == []


def test_the_loss_must_be_a_value():
    with pytest.raises(TypeError, match=r"not str$"):
        check("1.0", [])


def test_for_a_compiled_loss_it_is_said_what_to_do():
    w = Value(2.0)
    compiled = fastgrad.compile(lambda x: w * x)
    for loss in (compiled.backward([1.0, 2.0]), compiled([1.0, 2.0]), compiled):
        with pytest.raises(TypeError, match=r"the loss must be a Value.* its __wrapped__, with one row"):
            check(loss, [w])
    w.grad = 0.0
    loss = compiled.__wrapped__(1.0)
    loss.backward()
    assert check(loss, [w]) == []


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ([1.0], r"parameters must be Values, but number 0 is 1\.0"),
        ([Value(1.0), "w"], "parameters must be Values, but number 1 is 'w'"),
        (5, "parameters must be Values or a Module, not 5"),
        (None, "parameters must be Values or a Module, not None"),
    ],
    ids=["a number", "a word", "no list", "None"],
)
def test_the_parameters_must_be_values(parameters, message):
    with pytest.raises(TypeError, match=message):
        check(Value(1.0) * 2, parameters)


def test_one_value_may_be_the_parameters():
    x = Value(3.0, label="x")
    loss = x * x
    assert kinds(check(loss, x)) == {"no backward"}
    loss.backward()
    assert check(loss, x) == []


def test_without_parameters_it_is_seen_whether_backward_has_run(data):
    model = a_healthy_model("tanh")
    loss = loss_of(model, data)
    assert kinds(check(loss)) == {"no backward"}
    loss.backward()
    assert check(loss) == []
    # Values that hold data, which nobody zeroes, may be among the leaves.
    loss.backward()
    assert check(loss) == []


def test_without_parameters_a_derivative_of_zero_is_nobodys_mistake():
    loss = (Value(-2.0) * 3).relu() + Value(1.0)
    loss.backward()
    assert "no gradient" not in kinds(check(loss))


def test_parameters_that_no_name_leads_to_are_looked_at():
    module = Module()
    module.w, hidden = Value(2.0), Value(3.0)
    module.parameters = lambda: [hidden, module.w]
    (module.w * 2).backward()
    assert str(check(module.w * 2, module)) == "- the loss does not depend on parameter 0"


def test_a_tied_parameter_goes_by_its_first_name():
    module = Module()
    module.first = module.second = Value(2.0)
    assert str(check(Value(1.0) * 2, module)) == "- the loss does not depend on first"


def test_nodes_made_by_hand_are_looked_at():
    x = Value(-3.0, label="x")
    out = Value(0.0, (x,), "ReLU")

    out._backward = lambda: None
    loss = out + 1
    loss.backward()
    assert kinds(check(loss, [x])) == {"no gradient", "dead ReLU"}


def test_a_node_is_named_by_its_label():
    spoilt = Value(1e308, label="w") * 10.0
    spoilt.label = "spoilt"
    out = spoilt * 1.0
    out.backward()
    assert "spoilt" in str(check(out))


def test_parameters_of_a_module_like_micrograds_are_numbered():
    class Module:
        w = Value(2.0)

        def parameters(self):
            return [self.w]

    module = Module()
    out = module.w * 3 - 1
    module.w.grad = 1.0
    out.backward()
    assert "that of parameter 0 is 4.0" in str(check(out, module))


def test_the_derivative_to_blame_is_the_last_before_the_gradients_were_finite():
    x = Value(0.0)
    root = (x * 1.0 * 1.0).sqrt()
    out = root * 2.0
    out.backward()
    [finding] = [finding for finding in check(out, [x]) if finding.kind == "gradient not finite"]
    assert finding.nodes == (root,)


def test_a_leaf_is_named_by_its_number():
    out = Value(math.nan) * 2.0
    out.backward()
    assert "came in with a leaf of nan" in str(check(out))


def test_a_gradient_that_the_users_own_backward_spoils_is_no_derivatives_fault():
    x = Value(1.0)
    out = Value(2.0, (x,), "mine")

    def backward():
        out.grad = math.inf
        x.grad += 1.0

    out._backward = backward
    out.backward()
    assert "gradient not finite" not in kinds(check(out, [x]))


def test_a_dead_neuron_of_shared_operands_is_found():
    w, b = Value(-2.0, label="w"), Value(-1.0, label="b")
    shared = w * 1.0
    out = (shared + shared + b).relu() + Value(1.0)
    out.backward()
    assert "dead ReLU" in kinds(check(out, [w, b]))


# When `check` is called.


def a_step(model, data, optimizer):
    loss = loss_of(model, data)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "linear"])
@pytest.mark.parametrize("rate", [1e-6, 0.1])
@pytest.mark.parametrize("zeroed", [False, True], ids=["", "zeroed at the end"])
def test_a_correct_loop_is_not_accused_after_its_step(activation, rate, zeroed, data):
    model = a_healthy_model(activation)
    optimizer = SGD(model.parameters(), lr=rate)
    for _ in range(3):
        loss = a_step(model, data, optimizer)
    if zeroed:
        optimizer.zero_grad()
    findings = check(loss, model)
    assert findings == []
    assert "data was changed after the loss was computed" in str(findings)
    assert "Call check between backward() and the step" in str(findings)


OPERATIONS = {
    "add": lambda w: w + 1,
    "sub": lambda w: w - 1,
    "reversed sub": lambda w: 1 - w,
    "mul": lambda w: w * 3,
    "reversed div": lambda w: 1 / w,
    "integer pow": lambda w: w**2,
    "pow": lambda w: w**2.5,
    "reversed pow": lambda w: 2**w,
    "two": lambda w: w * w / (w + 1),
    "log": lambda w: w.log(),
    "where": lambda w: F.where(w, w, -w),
    "sum": lambda w: F.sum([w, w]),
    "logsumexp": lambda w: F.logsumexp([w, 1.0]),
    "dot": lambda w: F.dot([w, w], [1.0, 2.0]),
    "dot with a bias": lambda w: F.dot([w, w], [1.0, 2.0], w),
    "neuron": lambda w: F.linear([1.0, 2.0], [[w, w]], [w], "tanh")[0],
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_data_that_no_longer_follows_from_its_operands_is_seen(name):
    w = Value(0.75)
    loss = OPERATIONS[name](w)
    loss.backward()
    assert check(loss, [w]).unseen == ()
    w.data += 0.125
    assert "data was changed" in str(check(loss, [w]))
    w.data = -1e300
    assert "data was changed" in str(check(loss, [w]))


def test_backward_that_was_forgotten_in_a_later_step(data):
    model = a_healthy_model("tanh")
    a_step(model, data, SGD(model.parameters(), lr=0.1))
    (finding,) = check(loss_of(model, data), model)
    assert finding.kind == "no backward"
    assert "the gradients are those of another loss" in finding.message


def test_zero_grad_between_backward_and_the_step(data):
    model = a_healthy_model("tanh")
    loss = loss_of(model, data)
    loss.backward()
    model.zero_grad()
    (finding,) = check(loss, model)
    assert finding.kind == "gradients zeroed after backward"


def test_a_loss_that_is_a_part_of_another_is_not_accused(data):
    model = a_healthy_model("tanh")
    loss = loss_of(model, data)
    (loss * 0.5).backward()
    findings = check(loss, model)
    assert findings == []
    assert "backward() has run on something that was computed from it" in str(findings)


def test_without_parameters_it_is_said_what_is_not_looked_at(data):
    model = a_healthy_model("tanh")
    for _ in range(2):
        loss = loss_of(model, data)
        loss.backward()
    found = check(loss)
    assert found == []
    assert str(found).splitlines()[0] == "no mistake found"
    assert "whether their gradients were zeroed" in str(found)
    assert "check(loss, model)" in str(found)
    assert check(loss, model).unseen == ()


# Mistakes that other rules do not see.


@pytest.mark.parametrize(
    "wrong", [lambda x: x.sigmoid(), lambda x: 1 / (1 + (-x).exp()), lambda x: (1 + (-x).exp()) ** -1]
)
def test_sigmoid_before_binary_cross_entropy_with_logits(wrong, data):
    X, y = data
    model = MLP(3, [6, 1], activation="tanh")
    loss = F.binary_cross_entropy_with_logits([wrong(model(x)) for x in X], y)
    loss.backward()
    (finding,) = check(loss, model)
    assert finding.kind == "sigmoid before binary_cross_entropy_with_logits"
    assert len(finding.nodes) == 20


def by_hand_softmax(x):
    powers = [value.exp() for value in x]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize("wrong", [F.softmax, by_hand_softmax])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_softmax_without_a_logarithm_before_nll_loss(wrong, reduction, data):
    model, (X, y) = a_healthy_model("tanh"), data
    loss = F.nll_loss([wrong(model(x)) for x in X], y, reduction)
    loss.backward()
    (finding,) = check(loss, model)
    assert finding.kind == "no logarithm before nll_loss"
    assert len(finding.nodes) == 20


def test_one_row_of_softmax_before_nll_loss(data):
    model, (X, y) = a_healthy_model("tanh"), data
    loss = F.nll_loss(F.softmax(model(X[0])), y[0])
    loss.backward()
    assert "no logarithm before nll_loss" in kinds(check(loss, model))


@pytest.mark.parametrize(
    "right",
    [
        lambda model, X, y: F.mean(
            [-F.softmax(model(x))[1] * reward for x, reward in zip(X, y, strict=True)]
        ),
        lambda model, X, y: F.mean([(F.softmax(model(x))[t] - 1) ** 2 for x, t in zip(X, y, strict=True)]),
        lambda model, X, y: F.mean([-model(x)[0] for x in X]),
    ],
    ids=["a policy's reward", "Brier's score", "a critic"],
)
def test_other_uses_of_minus_and_of_probabilities_are_right(right, data):
    model = a_healthy_model("tanh")
    loss = right(model, *data)
    loss.backward()
    assert "no logarithm before nll_loss" not in kinds(check(loss, model))


def test_values_of_0_as_labels_of_the_hinge(data):
    X, y = data
    model = MLP(3, [6, 1])
    loss = F.hinge_loss([model(x) for x in X], [Value(label) for label in y])
    loss.backward()
    assert "labels of hinge_loss" in kinds(check(loss, model))
    model.zero_grad()
    loss = F.hinge_loss([model(x) for x in X], [Value(2 * label - 1) for label in y])
    loss.backward()
    assert "labels of hinge_loss" not in kinds(check(loss, model))


@pytest.mark.parametrize("written", ["fused", "by hand"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("weight", [0.0, 0.1, 0.5])
def test_weights_that_are_all_equal(activation, written, weight, data):
    model = a_healthy_model(activation)
    for parameter in model.parameters():
        parameter.data = weight
    loss = loss_of(model if written == "fused" else by_hand(model), data)
    loss.backward()
    (finding,) = [finding for finding in check(loss, model) if finding.kind == "symmetry"]
    assert f"6 of 6 {activation} neurons" in finding.message
    assert "layers.0.neurons.0, layers.0.neurons.1" in finding.message


def test_an_output_layer_may_begin_with_equal_weights(data):
    model = a_healthy_model("tanh")
    for parameter in model.layers[1].parameters():
        parameter.data = 0.0
    loss = loss_of(model, data)
    loss.backward()
    assert "symmetry" not in kinds(check(loss, model))


def test_two_neurons_among_others_that_are_equal(data):
    model = a_healthy_model("tanh")
    first, second = model.layers[0].neurons[1:3]
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        other.data = one.data
    for neuron in model.layers[1].neurons:
        neuron.w[2].data = neuron.w[1].data
    loss = loss_of(model, data)
    loss.backward()
    (finding,) = check(loss, model)
    assert "2 of 6 tanh neurons" in finding.message


class Net(Module):
    def __init__(self, p=0.5):
        self.hidden = Layer(3, 6, activation="tanh")
        self.dropout = Dropout(p)
        self.out = Layer(6, 2, nonlin=False)

    def __call__(self, x):
        return self.out(self.dropout(self.hidden(x)))


class Noisy(Module):
    def __init__(self):
        self.body = MLP(3, [6, 2], activation="tanh")

    def __call__(self, x):
        return self.body([value + random.gauss(0, 0.1) if self.training else value for value in x])


@pytest.mark.parametrize(("model", "name"), [(Net, "Dropout"), (Noisy, "Noisy")])
def test_a_module_in_eval_mode_while_training(model, name, data):
    model = model()
    model.eval()
    loss = loss_of(model, data)
    assert kinds(check(loss, model)) == {"no backward"}
    loss.backward()
    (finding,) = check(loss, model)
    assert finding.kind == "eval mode"
    assert f"trained in eval mode: {name}; call train()" in finding.message
    model.train()
    model.zero_grad()
    loss = loss_of(model, data)
    loss.backward()
    assert check(loss, model) == []


@pytest.mark.parametrize(
    "model", [lambda: a_healthy_model("tanh"), lambda: Net(p=0)], ids=["without Dropout", "p = 0"]
)
def test_eval_mode_that_changes_nothing_is_no_mistake(model, data):
    model = model().eval()
    loss = loss_of(model, data)
    loss.backward()
    assert check(loss, model) == []


def test_eval_mode_after_the_loss_is_no_mistake(data):
    model = Net()
    loss = loss_of(model, data)
    loss.backward()
    model.eval()
    assert check(loss, model) == []


@pytest.mark.parametrize(("scale", "found"), [(1e100, True), (-1e100, True), (1e12, False)])
def test_a_loss_that_has_exploded(scale, found):
    w = Value(1.0)
    loss = w * scale
    loss.backward()
    assert ("exploded" in kinds(check(loss, [w]))) == found


# Correct programs.


def test_weights_of_inputs_of_0_are_no_mistake(data):
    model = a_healthy_model("tanh")
    X = [[0.0, *row[1:]] for row in data[0]]
    loss = loss_of(model, (X, data[1]))
    loss.backward()
    assert check(loss, model) == []


def test_rows_of_a_table_that_are_not_used_may_be_right():
    model = Module()
    model.table = [[Value(0.5), Value(0.25)] for _ in range(5)]
    loss = F.sum([*model.table[1], *model.table[3]])
    loss.backward()
    remark = "; for rows that these inputs do not pick, that is right"
    assert str(check(loss, model)).endswith(f"table.0.0, table.0.1, table.2.0 and 3 more{remark}")
    assert remark in str(check(loss, model.parameters()))
    for rest in ([[Value(1.0)]], [Value(1.0)], Value(1.0)):
        model.rest = rest
        assert remark not in str(check(loss, model))


def test_elements_of_a_row_that_is_used_are_looked_at():
    model = Module()
    model.table = [[Value(0.5), Value(0.25)] for _ in range(2)]
    loss = model.table[0][0] + model.table[1][0]
    loss.backward()
    assert str(check(loss, model)).endswith("does not depend on table.0.1, table.1.1")


def test_neurons_that_a_few_inputs_leave_off_are_no_mistake(data):
    model = a_healthy_model("relu")
    model.layers[0].neurons[4].b.data = -100.0
    for neuron in model.layers[1].neurons:
        neuron.w[4].data = 0.5
    loss = loss_of(model, (data[0][:5], data[1][:5]))
    loss.backward()
    assert check(loss, model) == []


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("steps", [1, 30])
def test_training_that_goes_well_has_no_findings(activation, steps, data):
    X, y = data
    random.seed(5)
    model = MLP(3, [8, 1], activation=activation)
    optimizer = SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    for _ in range(steps):
        loss = F.binary_cross_entropy_with_logits([model(x) for x in X], y) + 1e-4 * F.l2(model.parameters())
        optimizer.zero_grad()
        loss.backward()
        findings = check(loss, model)
        assert findings == []
        assert findings.unseen == ()
        optimizer.step()


def test_regression_by_one_neuron_from_zero_has_no_findings(data):
    neuron = Neuron(3, nonlin=False)
    for parameter in neuron.parameters():
        parameter.data = 0.0
    loss = F.mse_loss([neuron(x) for x in data[0]], data[1])
    loss.backward()
    assert check(loss, neuron) == []
