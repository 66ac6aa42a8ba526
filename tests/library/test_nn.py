"""nn: micrograd's interface, and what is added to it."""

import copy
import pickle
import random
import re
import sysconfig

import numpy
import pytest

import fastgrad
from fastgrad import Value, nn
from fastgrad import functional as F
from fastgrad.nn import MLP, Dropout, Layer, Module, Neuron
from fastgrad.optim import SGD

oracle = pytest.importorskip("micrograd.nn")

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
SHAPES = [(2, [16, 16, 1]), (3, [4, 4, 1]), (1, [1]), (4, [2])]


@pytest.mark.parametrize(("nin", "nouts"), SHAPES)
def test_a_seed_gives_micrograds_weights_in_micrograds_order(nin, nouts):
    random.seed(7)
    ours = MLP(nin, nouts)
    random.seed(7)
    theirs = oracle.MLP(nin, nouts)
    assert [p.data for p in ours.parameters()] == [p.data for p in theirs.parameters()]


@pytest.mark.parametrize(("nin", "nouts"), SHAPES)
def test_reprs_are_micrograds(nin, nouts):
    assert repr(MLP(nin, nouts)) == repr(oracle.MLP(nin, nouts))
    assert repr(Layer(nin, nouts[0])) == repr(oracle.Layer(nin, nouts[0]))
    assert repr(Neuron(nin, nonlin=False)) == repr(oracle.Neuron(nin, nonlin=False))


@pytest.mark.parametrize(("nin", "nouts"), SHAPES)
def test_outputs_and_gradients_are_micrograds(nin, nouts):
    models = []
    for module in (nn, oracle):
        random.seed(11)
        model = module.MLP(nin, nouts)
        out = model([0.5 * i - 0.7 for i in range(nin)])
        out = out if isinstance(out, list) else [out]
        loss = sum((value * value for value in out), out[0])
        loss.backward()
        models.append(([value.data for value in out], [p.grad for p in model.parameters()]))
    assert models[0][0] == models[1][0]
    assert models[0][1] == pytest.approx(models[1][1], rel=1e-12, abs=0)


def test_a_fused_neuron_shows_micrograds_graph():
    def shape(value):
        return (value.data, value._op, sorted(shape(child) for child in value._prev))

    graphs = []
    for module in (nn, oracle):
        random.seed(5)
        graphs.append(shape(module.MLP(2, [3, 1])([1.0, -2.0])))
    assert graphs[0] == graphs[1]


def test_gradients_of_an_inspected_neuron_are_those_of_micrograd():
    def gradients(value):
        return (value.grad, value._op, sorted(gradients(child) for child in value._prev))

    graphs = []
    for module in (nn, oracle):
        random.seed(5)
        out = module.MLP(2, [3, 1])([1.0, -2.0])
        out.backward()
        graphs.append(gradients(out))
    assert graphs[0] == graphs[1]


def test_inputs_may_be_values_or_numbers_of_any_iterable():
    model = MLP(2, [3, 1])
    expected = model([1.0, 2.0]).data
    assert model([Value(1.0), Value(2.0)]).data == expected
    assert model((1, Value(2))).data == expected
    assert model(x for x in (1, 2)).data == expected


def test_gradients_reach_inputs_that_are_values():
    x = [Value(0.5), Value(-1.0)]
    n = Neuron(2, nonlin=False)
    n(x).backward()
    assert [value.grad for value in x] == [w.data for w in n.w]


@pytest.mark.parametrize("make", [Neuron, lambda nin: Layer(nin, 2), lambda nin: MLP(nin, [2, 1])])
@pytest.mark.parametrize("count", [0, 2, 4])
def test_a_wrong_number_of_inputs_raises_value_error(make, count):
    with pytest.raises(ValueError, match=f"3 inputs was given {count}"):
        make(3)([1.0] * count)


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "linear"])
def test_activations(activation):
    neuron = Neuron(2, activation=activation)
    x = [0.3, -0.4]
    total = neuron.b.data + neuron.w[0].data * x[0] + neuron.w[1].data * x[1]
    expected = Value(total) if activation == "linear" else getattr(Value(total), activation)()
    out = neuron(x)
    assert out.data == expected.data
    assert Layer.__call__(layer_of(neuron), x).data == expected.data
    expected.backward()
    out.backward()
    slope = 1.0 if activation == "linear" else expected.grad
    assert slope == 1.0
    assert neuron.b.grad == pytest.approx(derivative(activation, total), rel=1e-14)


def derivative(activation, x):
    value = Value(x)
    if activation != "linear":
        getattr(value, activation)().backward()
        return value.grad
    return 1.0


def layer_of(neuron):
    layer = Layer(len(neuron.w), 1)
    layer.neurons = [neuron]
    return layer


def test_an_unknown_activation_raises_value_error():
    with pytest.raises(ValueError, match="'softplus'"):
        Neuron(2, activation="softplus")


def test_a_last_layer_is_linear_and_the_others_are_not():
    model = MLP(2, [3, 1], activation="tanh")
    assert repr(model.layers[0].neurons[0]) == "TanhNeuron(2)"
    assert repr(model.layers[1].neurons[0]) == "LinearNeuron(3)"


def replace_weight(layer):
    layer.neurons[0].w[1] = Value(10.0)


def replace_weights(layer):
    layer.neurons[0].w = [Value(10.0), Value(-3.0)]


def replace_bias(layer):
    layer.neurons[0].b = Value(10.0)


def replace_neuron(layer):
    layer.neurons[0] = Neuron(2)


def add_neuron(layer):
    layer.neurons.append(Neuron(2))


def make_linear(layer):
    layer.neurons[0].nonlin = False


def change_activation(layer):
    layer.neurons[0].activation = "tanh"


@pytest.mark.parametrize(
    "change",
    [
        replace_weight,
        replace_weights,
        replace_bias,
        replace_neuron,
        add_neuron,
        make_linear,
        change_activation,
    ],
)
def test_a_layer_sees_every_change_of_its_neurons(change):
    random.seed(1)
    layer = Layer(2, 2)
    x = [-0.5, 0.25]
    layer(x)
    change(layer)
    assert [value.data for value in layer(x)] == [neuron(x).data for neuron in layer.neurons]


def test_weights_that_are_computed_pass_their_gradient_on():
    layer = Layer(2, 1, nonlin=False)
    source = Value(2.0)
    layer.neurons[0].w[0] = source * 3.0
    layer([0.5, 1.0]).backward()
    assert source.grad == 1.5


def test_a_layer_calls_neurons_of_a_subclass():
    class Doubled(Neuron):
        def __call__(self, x):
            return super().__call__(x) * 2

    layer = Layer(2, 1)
    plain = layer.neurons[0]([1.0, 2.0]).data
    doubled = Doubled(2)
    doubled.w, doubled.b = layer.neurons[0].w, layer.neurons[0].b
    layer.neurons = [doubled]
    assert layer([1.0, 2.0]).data == 2 * plain


def leaky(self):
    return self * (1.0 if self.data > 0 else 0.5)


@pytest.mark.parametrize("make", [lambda: Neuron(1), lambda: Layer(1, 1), lambda: MLP(1, [1, 1]).layers[0]])
def test_neurons_use_an_activation_assigned_on_value(monkeypatch, make):
    module = make()
    module.parameters()[0].data = -3.0
    assert module([1.0]).data == 0.0
    monkeypatch.setattr(Value, "relu", leaky)
    assert module([1.0]).data == -1.5
    monkeypatch.undo()
    assert module([1.0]).data == 0.0


@pytest.mark.parametrize("name", ["__add__", "__mul__"])
def test_neurons_use_an_operator_assigned_on_value(monkeypatch, name):
    calls, own = [], getattr(Value, name)
    monkeypatch.setattr(Value, name, lambda self, other: calls.append(name) or own(self, other))
    Layer(3, 2)([Value(1.0), Value(2.0), Value(3.0)])
    assert len(calls) == 6


def test_neurons_are_one_node_whatever_else_is_assigned_on_value(monkeypatch):
    monkeypatch.setattr(Value, "tanh", leaky)
    neurons = Layer(1, 2), Layer(1, 2, activation="tanh")
    monkeypatch.setattr(Value, "swish", leaky, raising=False)
    one, other = (layer([1.0])[0] for layer in neurons)
    assert (one._op, other._op) == ("ReLU", "*")


def test_a_layer_calls_a_neuron_call_assigned_on_the_class(monkeypatch):
    monkeypatch.setattr(Neuron, "__call__", lambda self, x: Value(42.0))
    assert Layer(2, 1)([1.0, 2.0]).data == 42.0


def test_a_model_calls_what_is_assigned_on_its_layers_class(monkeypatch):
    monkeypatch.setattr(Layer, "__call__", lambda self, x: [Value(42.0)])
    assert MLP(2, [1])([1.0, 2.0])[0].data == 42.0


def test_a_model_calls_a_neuron_call_assigned_on_the_class(monkeypatch):
    monkeypatch.setattr(Neuron, "__call__", lambda self, x: Value(42.0))
    assert MLP(2, [3, 1])([1.0, 2.0]).data == 42.0


class Reversed(Layer):
    """It gets a list, as in micrograd, whatever the layer before it returned."""

    def __call__(self, x):
        assert type(x) is list
        return super().__call__(x[::-1])


class Outside:
    """A layer that is not a Layer."""

    def __init__(self, layer):
        self.layer = layer

    def __call__(self, x):
        assert type(x) is list
        return tuple(self.layer(x))


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("kind", ["subclass", "other", "tuple of neurons", "neurons of a subclass"])
def test_a_model_runs_layers_of_the_users_own_between_its_own(kind, place):
    random.seed(1)
    model = MLP(2, [2, 2, 2])
    x = [-0.5, 0.25]
    plain = model.layers[place]
    if kind == "subclass":
        model.layers[place] = Reversed(2, 2)
        model.layers[place].neurons = plain.neurons
    elif kind == "other":
        model.layers[place] = Outside(plain)
    elif kind == "tuple of neurons":
        plain.neurons = tuple(plain.neurons)
    else:
        plain.neurons = [type("Own", (Neuron,), {})(2) for _ in range(2)]
    expected = x
    for layer in model.layers:
        expected = layer(expected if type(expected) is tuple else list(expected))
        expected = list(expected)
    assert [out.data for out in model(x)] == [out.data for out in expected]


def test_a_model_of_inner_layers_of_one_neuron_fails_as_in_micrograd():
    with pytest.raises(TypeError):
        MLP(2, [1, 1])([1.0, 2.0])


@pytest.mark.parametrize("nouts", [1, None, 2.0])
def test_the_sizes_of_a_models_layers_are_a_list(nouts):
    with pytest.raises(TypeError, match=f"nouts must be a list of the layers' sizes, .*, not {nouts}"):
        MLP(2, nouts)


def test_a_model_takes_the_parameters_of_a_neuron_subclass(monkeypatch):
    model = MLP(2, [2])
    monkeypatch.setattr(Neuron, "parameters", lambda self: [self.b])
    assert model.parameters() == [neuron.b for neuron in model.layers[0].neurons]


def test_parameters_of_a_module_of_the_users_own_as_in_micrograd():
    class Mine(Module):
        def __init__(self):
            self.a = Value(1.0)
            self.b = Value(2.0)

        def parameters(self):
            return [self.b]

    mine = Mine()
    mine.a.grad = mine.b.grad = 3.0
    mine.zero_grad()
    assert (mine.a.grad, mine.b.grad) == (3.0, 0.0)


def test_a_module_without_parameters_has_none():
    assert Module().parameters() == []


class Pair(Module):
    def __init__(self):
        self.mlp = MLP(2, [2, 1])
        self.scale = Value(2.0)
        self.extra = {"first": [Value(3.0)], "second": (Dropout(0.5), Value(4.0))}


def test_named_parameters_are_paths_of_attributes_and_indices():
    names = [name for name, _ in Pair().named_parameters()]
    assert names[:3] == [
        "mlp.layers.0.neurons.0.w.0",
        "mlp.layers.0.neurons.0.w.1",
        "mlp.layers.0.neurons.0.b",
    ]
    assert names[-3:] == ["scale", "extra.first.0", "extra.second.1"]
    assert [value for _, value in MLP(2, [3, 1]).named_parameters()] != []


def test_named_parameters_and_parameters_agree():
    for module in (MLP(2, [3, 1]), Layer(2, 3), Neuron(2), Pair()):
        assert [value for _, value in module.named_parameters()] == module.parameters()


class Tied(Module):
    def __init__(self):
        self.a = Value(1.0)
        self.rest = [Value(2.0), self.a]
        self.again = self.rest


def test_a_tied_parameter_is_listed_once_at_its_first_place():
    tied = Tied()
    assert tied.parameters() == [tied.a, tied.rest[0]]


def test_a_tied_parameter_keeps_all_its_names():
    tied = Tied()
    names = ["a", "rest.0", "rest.1", "again.0", "again.1"]
    assert [name for name, _ in tied.named_parameters()] == names
    assert list(tied.state_dict()) == names
    tied.load_state_dict(tied.state_dict())


def test_parameters_that_are_equal_and_not_the_same_are_all_listed():
    class Equal(Value):
        __hash__ = None

        def __eq__(self, other):
            return True

    module = Module()
    module.w = [Equal(1.0), Equal(2.0)]
    assert [p.data for p in module.parameters()] == [1.0, 2.0]
    assert module.state_dict() == {"w.0": 1.0, "w.1": 2.0}


def test_parameters_and_modules_in_an_object_array_are_found():
    np = pytest.importorskip("numpy")
    module = Module()
    module.w = np.array([[Value(1.0), Value(2.0)], [Value(3.0), Value(4.0)]])
    module.parts_of_it = np.array([Dropout(0.5), None], dtype=object)
    module.numbers = np.array([1.0, 2.0])
    assert module.state_dict() == {"w.0.0": 1.0, "w.0.1": 2.0, "w.1.0": 3.0, "w.1.1": 4.0}
    assert module.parameters() == list(module.w.flat)
    assert not module.eval().parts_of_it[0].training


class Subclass(Value):
    pass


def kept_by(module, x):
    return {
        "a value": lambda: setattr(module, "kept", module.w * x),
        "a loss": lambda: setattr(module, "kept", ((module.w * x) - 1.0) ** 2),
        "a list": lambda: setattr(module, "kept", [module.w * x, (module.w + x,)]),
        "a dict": lambda: setattr(module, "kept", {"h": module.w * x, "deep": [module.w.relu()]}),
        "a reduction": lambda: setattr(module, "kept", F.sum([module.w, x])),
        "a neuron's output": lambda: setattr(module, "kept", Neuron(1)([module.w])),
        "of a subclass": lambda: setattr(module, "kept", Subclass(1.0, (module.w,), "mine")),
        "in an array": lambda: setattr(module, "kept", numpy.array([module.w * x, module.w])),
        "in a module": lambda: setattr(module.inner, "kept", module.w * x),
        "a replaced parameter": lambda: setattr(module, "average", module.average * 0.9 + x),
    }


class Keeping(Module):
    def __init__(self):
        self.w, self.average, self.inner = Subclass(2.0), Value(0.0), Tied()


@pytest.mark.parametrize("what", kept_by(None, None))
def test_what_was_computed_is_no_parameter_of_the_module_that_keeps_it(what):
    module = Keeping()
    if what == "a replaced parameter":
        parameters = [module.w, *module.inner.parameters()]
    else:
        parameters = module.parameters()
    kept_by(module, Value(3.0))[what]()
    assert module.parameters() == parameters
    assert {id(value) for _, value in module.named_parameters()} == {id(value) for value in parameters}
    assert set(module.state_dict().values()) == {value.data for value in parameters}
    module.load_state_dict(module.state_dict())
    SGD(module.parameters(), lr=0.1).step()


def test_a_computed_weight_of_a_neuron_is_no_parameter():
    layer = Layer(2, 2)
    first, second = layer.neurons
    first.w[1] = second.w[1] * 2.0
    second.b = first.b + 1.0
    assert first.parameters() == [first.w[0], first.b]
    assert layer.parameters() == [first.w[0], first.b, *second.w]
    assert list(layer.state_dict()) == ["neurons.0.w.0", "neurons.0.b", "neurons.1.w.0", "neurons.1.w.1"]


def test_a_parameters_of_ones_own_may_return_what_is_kept():
    class All(Module):
        def __init__(self):
            self.w = Value(2.0)
            self.h = [self.w * 3.0]

        def parameters(self):
            return [self.w, *self.h]

    assert All().state_dict() == {"w": 2.0}


def test_the_training_mode_is_read_without_a_trace_of_it():
    neuron = Neuron(2)
    before = pickle.dumps(neuron)
    assert neuron.training
    assert vars(neuron) == {}
    assert pickle.dumps(neuron) == before


def test_a_training_mode_that_was_never_set_is_watched_by_a_compiled_function():
    dropout = Dropout(0.5)
    scaled = fastgrad.compile(lambda x: x * (2.0 if dropout.training else 1.0))
    assert scaled([1.0]).tolist() == [2.0]
    assert vars(dropout) == {"p": 0.5}
    assert dropout.eval() is dropout
    assert scaled([1.0]).tolist() == [1.0]
    del dropout._training
    assert scaled([1.0]).tolist() == [2.0]


def test_a_module_asks_the_modules_in_it_for_their_parameters():
    class Outer(Module):
        def __init__(self):
            self.parts = [Hidden(), Neuron(1)]

    hidden, neuron = (outer := Outer()).parts
    assert outer.parameters() == [*hidden.parameters(), *neuron.parameters()]


class Hidden(Module):
    """A module of the user's, as in micrograd; no name leads to its attribute."""

    def __init__(self):
        self._layer = Layer(2, 1)
        self.b = Value(0.0)

    def parameters(self):
        return [*self._layer.parameters(), self.b]


def below(module):
    outer = Module()
    outer.inner = [module]
    return outer


def of_two_keys():
    module = Module()
    module.w = {1: Value(1.0), "1": Value(2.0)}
    return module


def beside_a_layer():
    model = MLP(2, [2])
    model.layers.append(type("Other", (), {"parameters": lambda self: [Value(1.0)]})())
    return model


@pytest.mark.parametrize(
    ("make", "count"),
    [(Hidden, 3), (lambda: below(Hidden()), 3), (of_two_keys, 1), (beside_a_layer, 1)],
    ids=["a hidden attribute", "one in a module below", "two keys of one name", "a layer that is no Module"],
)
def test_a_state_that_would_lack_parameters_is_refused(make, count):
    module = make()
    with pytest.raises(ValueError, match=f"not found under a name of their own: {count};"):
        module.state_dict()
    with pytest.raises(ValueError, match=f"not found under a name of their own: {count};"):
        module.load_state_dict({})


def nested(depth, innermost):
    """Modules in one another, each with a parameter of its own."""
    for _ in range(depth):
        outer = Module()
        outer.own, outer.inner = Value(1.0), {"it": innermost}
        innermost = outer
    return innermost


def test_each_module_of_a_deep_nest_is_asked_for_its_parameters_once():
    asked = []

    class Asked(Module):
        def parameters(self):
            asked.append(self)
            return []

    assert len(nested(60, Asked()).state_dict()) == 60
    assert len(asked) == 1


def test_a_parameter_without_a_name_is_refused_however_deep_it_is():
    with pytest.raises(ValueError, match="not found under a name of their own: 3;"):
        nested(60, Hidden()).state_dict()
    with pytest.raises(ValueError, match="not found under a name of their own: 1;"):
        nested(60, of_two_keys()).state_dict()


def test_parameters_that_were_set_on_the_instance_are_refused_without_a_name():
    module = Module()
    module.w = Value(1.0)
    module.parameters = lambda: [module.w, Value(2.0)]
    with pytest.raises(ValueError, match="not found under a name of their own: 1;"):
        below(module).state_dict()


def test_a_module_may_list_fewer_parameters_than_it_names_and_in_another_order():
    class Frozen(Pair):
        def parameters(self):
            return [self.scale, self.mlp.parameters()[-1], self.scale]

    assert len(Frozen().state_dict()) == 12


def test_state_dict_round_trip():
    source, target = MLP(2, [3, 1]), MLP(2, [3, 1])
    target.load_state_dict(source.state_dict())
    assert [p.data for p in target.parameters()] == [p.data for p in source.parameters()]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda state: state.pop("layers.0.neurons.1.b"), "layers.0.neurons.1.b"),
        (lambda state: state.update(wrong=1.0), "wrong"),
        (lambda state: state.update({"layers.1.neurons.0.b": "x"}), "layers.1.neurons.0.b"),
        (lambda state: state.update({"layers.1.neurons.0.b": None}), "layers.1.neurons.0.b is not a number"),
        (
            lambda state: state.update({"layers.1.neurons.0.b": 10**400}),
            "layers.1.neurons.0.b is not a number",
        ),
        (lambda state: state.update({"layers.1.neurons.0.b": "1.5"}), "b is not a number: '1.5'"),
        (lambda state: state.update({"layers.1.neurons.0.b": b"1.5"}), "b is not a number: b'1.5'"),
        (lambda state: state.update({"layers.1.neurons.0.b": bytearray(b"1.5")}), "b is not a number"),
        (lambda state: state.update(MLP(2, [4, 1]).state_dict()), "layers.0.neurons.3.w.0"),
    ],
)
def test_a_wrong_state_raises_value_error_that_names_it_and_changes_nothing(change, named):
    model = MLP(2, [3, 1])
    before = model.state_dict()
    state = dict.fromkeys(before, 0.0)
    change(state)
    with pytest.raises(ValueError, match=named):
        model.load_state_dict(state)
    assert model.state_dict() == before


@pytest.mark.parametrize("key", [1, None, ("w", 0)], ids=repr)
def test_an_unknown_name_that_is_no_text_is_named_like_any_other(key):
    model = MLP(2, [1])
    with pytest.raises(ValueError, match=re.escape(f"unknown: {key}")):
        model.load_state_dict({**model.state_dict(), key: 1.0})


@pytest.mark.parametrize(
    "state", [3, None, [1.0], "state", MLP(2, [1])], ids=lambda state: type(state).__name__
)
def test_a_state_that_is_no_mapping_raises_type_error(state):
    with pytest.raises(TypeError, match=f"a dict of numbers by name, not a {type(state).__name__}"):
        MLP(2, [1]).load_state_dict(state)


def test_train_and_eval_reach_every_module():
    model = Pair()
    assert all(module.training for module in model.modules())
    assert model.eval() is model
    assert not any(module.training for module in model.modules())
    model.train()
    assert all(module.training for module in model.modules())


def test_dropout_scales_what_it_keeps_and_is_seeded_by_random():
    dropout = Dropout(0.25)
    values = [Value(1.0) for _ in range(4000)]
    random.seed(9)
    first = [value.data for value in dropout(values)]
    random.seed(9)
    assert [value.data for value in dropout(values)] == first
    assert set(first) == {0.0, 1 / 0.75}
    assert 0.2 < first.count(0.0) / len(first) < 0.3


def test_dropout_passes_gradients_through_what_it_keeps():
    x = Value(3.0)
    random.seed(0)
    out = Dropout(0.5)([x] * 8)
    sum(out).backward()
    assert x.grad == 2.0 * sum(value.data != 0 for value in out)


def test_dropout_does_nothing_when_not_training():
    values = [Value(1.0), Value(2.0)]
    assert Dropout(0.9).eval()(values) == values


@pytest.mark.parametrize("p", [-0.1, 1.0, 2, float("nan")])
def test_dropout_refuses_what_is_no_probability(p):
    with pytest.raises(ValueError, match="p must be"):
        Dropout(p)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_models_are_copied_and_pickled_whole(duplicate):
    model = MLP(2, [3, 1], activation="tanh")
    model.layers[0].neurons[0].note = "kept"
    model([1.0, 2.0])
    other = duplicate(model)
    assert other([1.0, 2.0]).data == model([1.0, 2.0]).data
    assert other.layers[0].neurons[0].note == "kept"
    other.parameters()[0].data += 1
    assert other.parameters()[0].data != model.parameters()[0].data


def test_a_neuron_without_inputs_is_its_bias():
    neuron = Neuron(0)
    assert neuron([]).data == 0.0
    assert Layer(0, 2)([])[0].data == 0.0


def test_reprs_of_what_micrograd_has_not():
    assert repr(Dropout(0.25)) == "Dropout(p=0.25)"
    neuron = Neuron(2)
    neuron.activation = "softplus"
    assert repr(neuron) == "softplusNeuron(2)"


def test_zero_grad_reaches_parameters_of_a_subclass():
    class Parameter(Value):
        pass

    class Model(Module):
        def __init__(self):
            self.w = [Value(1.0), Parameter(2.0)]

        def parameters(self):
            return self.w

    model = Model()
    for p in model.parameters():
        p.grad = 3.0
    model.zero_grad()
    assert [p.grad for p in model.parameters()] == [0.0, 0.0]


class Meddling:
    """A number that does something when it is asked for its value."""

    def __init__(self, action):
        self.action = action

    def __float__(self):
        self.action()
        return 1.0


def test_inputs_that_change_the_layer_while_they_are_converted():
    layer = Layer(2, 3)
    with pytest.raises(TypeError, match="not callable"):
        layer([1.0, Meddling(lambda: layer.neurons.__setitem__(0, 3))])


@pytest.mark.skipif(FREE_THREADED, reason="without the lock each call converts rows of its own")
def test_weights_that_change_the_layer_while_they_are_converted():
    layer = Layer(2, 3)

    def change():
        layer.neurons[:] = [Neuron(5)]
        layer([1.0] * 5)

    layer.neurons[0].w[0] = Meddling(change)
    with pytest.raises(RuntimeError, match="changed while they were being converted"):
        layer([1.0, 2.0])
    assert layer([1.0] * 5)._op == "ReLU"


def test_weights_that_take_a_bias_away_while_they_are_converted():
    layer = Layer(2, 3, activation="linear")
    layer.neurons[0].w[0] = Meddling(lambda: setattr(layer.neurons[1], "b", None))
    w, v = layer.neurons[1].w
    assert layer([1.0, 2.0])[1].data == w.data + v.data * 2.0


def test_a_neuron_of_a_layer_may_have_no_bias():
    layer = Layer(2, 2, activation="linear")
    layer.neurons[0].b = None
    w, v = layer.neurons[0].w
    assert layer([1.0, 2.0])[0].data == w.data + v.data * 2.0
    with pytest.raises(ValueError, match="a neuron of 2 inputs was given 1"):
        layer([1.0])


def test_a_bias_of_linear_is_a_number_or_a_value():
    with pytest.raises(TypeError, match="a bias must be"):
        F.linear([1.0, 2.0], [[1.0, 2.0, 100.0]], [None])


def test_a_matrix_that_changes_while_it_is_converted():
    matrix = [[1.0, 2.0], [3.0, 4.0]]
    matrix[0][1] = Meddling(matrix.clear)
    assert [value.data for value in F.linear([1.0, 1.0], matrix)] == [2.0, 7.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MLP(0, [3]), "nin must be at least 1, not 0"),
        (lambda: MLP(-1, [3]), "nin must be at least 1, not -1"),
        (lambda: MLP(2, [3, 0, 1]), "a layer's size must be at least 1, not 0"),
        (lambda: MLP(2, [-3]), "a layer's size must be at least 1, not -3"),
        (lambda: Layer(-1, 2), "nin must be at least 0, not -1"),
        (lambda: Layer(2, -2), "nout must be at least 0, not -2"),
        (lambda: Neuron(-1), "nin must be at least 0, not -1"),
    ],
)
def test_sizes_that_no_model_has_are_refused(make, message):
    before = random.getstate()
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()
    assert random.getstate() == before


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda wrong: MLP(wrong, [1]), "nin"),
        (lambda wrong: MLP(2, [wrong]), "a layer's size"),
        (lambda wrong: Layer(wrong, 1), "nin"),
        (lambda wrong: Layer(1, wrong), "nout"),
        (lambda wrong: Neuron(wrong), "nin"),
    ],
)
@pytest.mark.parametrize("wrong", [2.0, "2", None, [2]], ids=repr)
def test_a_size_is_a_whole_number(make, name, wrong):
    with pytest.raises(TypeError, match=f"^{name} must be a whole number, not {re.escape(repr(wrong))}$"):
        make(wrong)


@pytest.mark.parametrize("wrong", [1, 1.5, Value(1.0), None], ids=["int", "float", "Value", "None"])
@pytest.mark.parametrize(
    ("model", "named"),
    [
        (MLP(2, [3, 1]), "a layer"),
        (Layer(2, 2), "a layer"),
        (Layer(2, 1, activation="tanh"), "a layer"),
        (Neuron(2), "a neuron"),
        (Dropout(0.5), "Dropout"),
    ],
    ids=["MLP", "Layer", "Layer of one", "Neuron", "Dropout"],
)
def test_inputs_that_are_no_list_are_named(model, named, wrong):
    message = f"^{named} needs a list of Values or numbers, not {re.escape(repr(wrong))}$"
    with pytest.raises(TypeError, match=message):
        model(wrong)


def test_a_module_shows_its_children_and_parameters():
    class Block(Module):
        def __init__(self):
            self.w = Value(1.0)

    class Net(Module):
        def __init__(self):
            self.size = 3
            self.body = Layer(1, 1)
            self.blocks = [Block(), {"last": Dropout(0.25)}]
            self.table = [[Value(0.0)] * 1, [Value(1.0)]]
            self.mixed = [Value(0.0), Neuron(2)]
            self._hidden = Value(2.0)

    assert repr(Net()).splitlines() == [
        "Net(",
        "  (body): Layer of [ReLUNeuron(1)]",
        "  (blocks.0): Block(",
        "    (w): 1 parameter",
        "  )",
        "  (blocks.1.last): Dropout(p=0.25)",
        "  (table): 2 parameters",
        "  (mixed.1): ReLUNeuron(2)",
        "  (mixed): 1 parameter",
        ")",
    ]


def test_a_module_without_parts_shows_its_name():
    assert repr(Module()) == "Module()"


def test_modules_that_hold_each_other_can_be_shown():
    class Child(Module):
        pass

    module = Module()
    module.child = Child()
    module.child._parent = module
    assert repr(module).splitlines() == ["Module(", "  (child): Child()", ")"]
