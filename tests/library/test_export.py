"""Exported networks give the same outputs in PyTorch and onnxruntime, and come back unchanged."""

import random
import sys
import warnings

import numpy as np
import pytest

from fastgrad import Value, export, nn
from fastgrad.operations import ACTIVATIONS


@pytest.fixture(scope="module")
def torch():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("torch")


def mlp(sizes, activation="relu"):
    random.seed(sum(sizes))
    model = nn.MLP(sizes[0], sizes[1:], activation=activation)
    for parameter in model.parameters():
        parameter.data += random.gauss(0, 0.5)
    return model


def inputs(nin, rows=7):
    return np.random.default_rng(nin).normal(size=(rows, nin))


def outputs(model, X):
    """(rows, nout), one row at a time."""
    rows = [model(row) for row in X.tolist()]
    return np.array([[float(y) for y in (row if isinstance(row, list) else [row])] for row in rows])


MODELS = {
    **{
        f"{activation} {sizes}": (sizes, activation) for activation in ACTIVATIONS for sizes in [(3, 5, 4, 2)]
    },
    "one layer": ((4, 3), "relu"),
    "one output": ((2, 16, 16, 1), "relu"),
    "one neuron": ((1, 1), "tanh"),
    "wide": ((200, 50, 10), "sigmoid"),
}
each_model = pytest.mark.parametrize("name", MODELS)


@each_model
def test_torch_gives_the_same_outputs(torch, name):
    model = mlp(*MODELS[name])
    X = inputs(MODELS[name][0][0])
    exported = export.to_torch(model)
    assert isinstance(exported, torch.nn.Sequential)
    with torch.no_grad():
        result = exported(torch.from_numpy(X)).numpy()
    assert result.dtype == np.float64
    np.testing.assert_allclose(result, outputs(model, X), rtol=1e-12, atol=1e-12)


@each_model
def test_gradients_in_torch_are_the_same(torch, name):
    model = mlp(*MODELS[name])
    X = inputs(MODELS[name][0][0], rows=3)
    exported = export.to_torch(model)
    exported(torch.from_numpy(X)).square().sum().backward()
    total = Value(0.0)
    for row in X.tolist():
        result = model(row)
        total += sum(y * y for y in (result if isinstance(result, list) else [result]))
    total.backward()
    for layer, linear in zip(
        model.layers, (part for part in exported if isinstance(part, torch.nn.Linear)), strict=True
    ):
        weight = [[w.grad for w in neuron.w] for neuron in layer.neurons]
        bias = [neuron.b.grad for neuron in layer.neurons]
        np.testing.assert_allclose(linear.weight.grad.numpy(), weight, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(linear.bias.grad.numpy(), bias, rtol=1e-9, atol=1e-9)


@each_model
def test_there_and_back_keeps_every_bit(torch, name):
    model = mlp(*MODELS[name])
    back = export.from_torch(export.to_torch(model))
    assert back.state_dict() == model.state_dict()
    assert repr(back) == repr(model)
    X = inputs(MODELS[name][0][0])
    assert outputs(back, X).tolist() == outputs(model, X).tolist()


@each_model
def test_onnxruntime_gives_the_same_outputs(name, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    model = mlp(*MODELS[name])
    X = inputs(MODELS[name][0][0])
    export.to_onnx(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (result,) = session.run(["y"], {"x": X})
    assert result.dtype == np.float64
    np.testing.assert_allclose(result, outputs(model, X), rtol=1e-12, atol=1e-12)


def test_onnx_file_takes_any_number_of_rows(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    export.to_onnx(mlp((3, 4, 2)), tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    assert [session.run(None, {"x": inputs(3, rows)})[0].shape for rows in (1, 5)] == [(1, 2), (5, 2)]


def test_export_draws_no_random_number(torch, tmp_path):
    pytest.importorskip("onnx")
    model = mlp((3, 4, 2))
    states = random.getstate(), torch.get_rng_state()
    export.from_torch(export.to_torch(model))
    export.to_onnx(model, tmp_path / "model.onnx")
    assert random.getstate() == states[0]
    assert torch.equal(torch.get_rng_state(), states[1])


def test_layers_may_have_different_activations(torch):
    layers = [
        nn.Layer(3, 4, activation="tanh"),
        nn.Layer(4, 4, nonlin=False),
        nn.Layer(4, 2, activation="sigmoid"),
    ]
    names = [type(part).__name__ for part in export.to_torch(layers)]
    assert names == ["Linear", "Tanh", "Linear", "Linear", "Sigmoid"]
    back = export.from_torch(export.to_torch(layers))
    X = inputs(3)
    expected = outputs(lambda row: layers[2](layers[1](layers[0](row))), X)
    np.testing.assert_allclose(outputs(back, X), expected, rtol=1e-15)


def test_dropout_and_the_training_mode_go_along(torch):
    model = mlp((3, 4, 2))
    model.layers.insert(1, nn.Dropout(0.25))
    exported = export.to_torch(model.eval())
    assert (exported[2].p, exported.training) == (0.25, False)
    back = export.from_torch(exported)
    assert (back.layers[1].p, back.layers[1].training) == (0.25, False)
    X = inputs(3)
    np.testing.assert_allclose(exported(torch.from_numpy(X)).detach().numpy(), outputs(model, X), rtol=1e-12)


def test_each_part_of_a_list_keeps_its_mode(torch):
    first, second, last = nn.Dropout(0.25), nn.Dropout(0.5), nn.Layer(4, 2)
    parts = [nn.Layer(3, 4), first, second, last]
    first.eval()
    exported = export.to_torch(parts)
    assert [part.training for part in exported] == [True, True, False, True, True, True]
    assert exported.training
    back = export.from_torch(exported)
    assert [part.training for part in back.layers] == [True, False, True, True]
    for part in parts:
        part.eval()
    exported = export.to_torch(parts)
    assert not any(module.training for module in exported.modules())
    assert not any(module.training for module in export.from_torch(exported).modules())


def test_a_dropout_of_a_model_keeps_a_mode_of_its_own(torch):
    model = mlp((3, 4, 2))
    model.layers.insert(1, nn.Dropout(0.25).eval())
    exported = export.to_torch(model)
    assert (exported.training, exported[2].training) == (True, False)


def test_onnx_leaves_dropout_out(tmp_path):
    onnx = pytest.importorskip("onnx")
    model = mlp((3, 4, 2))
    model.layers.insert(1, nn.Dropout(0.25))
    export.to_onnx(model, tmp_path / "model.onnx")
    assert [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node] == [
        "Gemm",
        "Relu",
        "Gemm",
    ]


def test_single_precision_parameters_are_read_exactly(torch):
    linear = torch.nn.Linear(2, 1)
    model = export.from_torch(linear)
    assert [p.data for p in model.parameters()] == [*linear.weight[0].tolist(), linear.bias.item()]


def test_nested_stacks_without_bias_are_read(torch):
    t = torch.nn
    stack = t.Sequential(
        t.Sequential(t.Linear(3, 4, bias=False), t.Identity(), t.Tanh()),
        t.Sequential(t.Linear(4, 2), t.Sigmoid()),
    ).double()
    X = inputs(3)
    expected = stack(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(outputs(export.from_torch(stack), X), expected, rtol=1e-12)


NOT_READ = {
    "another activation": (lambda t: t.Sequential(t.Linear(2, 2), t.GELU()), "^1: a GELU has no counterpart"),
    "a convolution": (lambda t: t.Conv1d(1, 1, 1), "^the module: a Conv1d has no counterpart"),
    "an activation first": (
        lambda t: t.Sequential(t.ReLU(), t.Linear(2, 2)),
        r"^0: ReLU\(\) must follow a Linear",
    ),
    "two activations": (lambda t: t.Sequential(t.Linear(2, 2), t.ReLU(), t.Tanh()), "^2: Tanh.* must follow"),
    "sizes": (
        lambda t: t.Sequential(t.Linear(2, 3), t.Linear(4, 2)),
        "^1: Linear.* cannot follow .* 3 outputs",
    ),
    "one hidden": (
        lambda t: t.Sequential(t.Linear(2, 1), t.Sequential(t.Linear(1, 2))),
        "^1.0: .* hidden Linear of one",
    ),
    "nothing": (lambda t: t.Sequential(), "^there is no Linear"),
    "a dropout first": (
        lambda t: t.Sequential(t.Dropout(), t.Linear(2, 2)),
        r"^0: Dropout\(p=0.5, .*\) must follow a Linear",
    ),
    "a dropout of everything": (
        lambda t: t.Sequential(t.Linear(2, 2), t.Dropout(1.0)),
        r"^1: Dropout\(p=1.0, .*\) drops every value",
    ),
    "a dropout of one output": (
        lambda t: t.Sequential(t.Linear(2, 1), t.Tanh(), t.Dropout(0.1)),
        r"^2: Dropout\(p=0.1, .*\) follows a Linear of one output",
    ),
}


@pytest.mark.parametrize("name", NOT_READ)
def test_what_cannot_be_read_from_torch_is_named(torch, name):
    build, match = NOT_READ[name]
    with pytest.raises(ValueError, match=match):
        export.from_torch(build(torch.nn))


class Own(nn.Module):
    pass


class Renamed(nn.MLP):
    """A subclass that computes what its base does."""


class RenamedLayer(nn.Layer):
    pass


class RenamedNeuron(nn.Neuron):
    pass


class RenamedDropout(nn.Dropout):
    pass


def doubled(base):
    """A subclass that computes something else."""

    class Doubled(base):
        def __call__(self, x):
            return super().__call__(x) * 2

    return Doubled


def with_neuron(neuron):
    layer = nn.Layer(2, 2)
    layer.neurons[1] = neuron
    return layer


def of_activation(activation):
    layer = nn.Layer(2, 1)
    layer.neurons[0].activation = activation
    return layer


def uneven(change):
    model = mlp((3, 4, 2))
    change(model.layers[0].neurons[2])
    return model


NOT_WRITTEN = {
    "a module of one's own": (Own, "^a Own cannot be exported"),
    "a number": (lambda: 3, "^a int cannot be exported: give an MLP, a Layer or a list of them"),
    "one within a list": (lambda: [nn.Layer(2, 2), Own()], "^part 1, a Own, cannot be exported"),
    "no layer": (list, "^there is no Layer"),
    "only a dropout": (lambda: nn.Dropout(0.1), "^there is no Layer"),
    "an MLP that computes something else": (
        lambda: doubled(nn.MLP)(2, [2]),
        "^the Doubled cannot be exported: its __call__ is not the library's MLP's",
    ),
    "a layer that does": (
        lambda: [nn.Layer(2, 2), doubled(nn.Layer)(2, 2)],
        "^part 1, a Doubled, cannot be exported: its __call__ is not the library's Layer's",
    ),
    "a neuron that does": (
        lambda: with_neuron(doubled(nn.Neuron)(2)),
        "^part 0, a Layer, neuron 1, a Doubled, cannot be exported: its __call__ is not .* Neuron's",
    ),
    "a neuron that is none": (lambda: with_neuron(abs), "^part 0, a Layer, neuron 1, a builtin_"),
    "a dropout that does": (
        lambda: [nn.Layer(2, 2), doubled(nn.Dropout)(0.5)],
        "^part 1, a Doubled, cannot be exported: its __call__ is not the library's Dropout's",
    ),
    "an unknown activation": (lambda: of_activation("gelu"), "^part 0, a Layer, .* activation is 'gelu'"),
    "no neurons": (lambda: nn.Layer(2, 0), "^part 0, a Layer, .* there are none"),
    "no inputs": (lambda: nn.Layer(0, 2), "^part 0, a Layer, .* no inputs"),
    "sizes": (lambda: [nn.Layer(2, 3), nn.Layer(4, 2)], "^layer 0 has 3 outputs and the next takes 4 inputs"),
    "activations": (
        lambda: uneven(lambda neuron: setattr(neuron, "activation", "tanh")),
        "^part 0, .* differ: relu of 3 inputs, tanh of 3 inputs",
    ),
    "numbers of inputs": (
        lambda: uneven(lambda neuron: neuron.w.pop()),
        "^part 0, .* differ: relu of 2 inputs, relu of 3 inputs",
    ),
}


@pytest.mark.parametrize("name", NOT_WRITTEN)
def test_what_cannot_be_exported_is_named(name, tmp_path):
    pytest.importorskip("onnx")
    build, match = NOT_WRITTEN[name]
    with pytest.raises(ValueError, match=match):
        export.to_onnx(build(), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NOT_WRITTEN)
def test_what_cannot_be_exported_to_torch_is_named(torch, name):
    build, match = NOT_WRITTEN[name]
    with pytest.raises(ValueError, match=match):
        export.to_torch(build())


@pytest.mark.parametrize("replaced", [nn.MLP, nn.Layer, nn.Neuron])
def test_a_class_whose_call_was_replaced_is_not_exported(replaced, monkeypatch, tmp_path):
    pytest.importorskip("onnx")
    monkeypatch.setattr(replaced, "__call__", lambda self, x: [Value(42.0)])
    with pytest.raises(ValueError, match=f"its __call__ is not the library's {replaced.__name__}'s"):
        export.to_onnx(mlp((2, 2)), tmp_path / "model.onnx")


def test_subclasses_that_leave_the_call_alone_are_exported(torch):
    model = Renamed(2, [2])
    layer = RenamedLayer(2, 2)
    layer.neurons[0] = RenamedNeuron(2)
    names = [type(part).__name__ for part in export.to_torch([*model.layers, RenamedDropout(0.5), layer])]
    assert names == ["Linear", "Dropout", "Linear", "ReLU"]
    assert len(export.to_torch(model)) == 1


def test_without_onnx_the_error_says_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r'needs onnx: pip install "fastgrad\[export\]"'):
        export.to_onnx(mlp((2, 2)), tmp_path / "model.onnx")


@pytest.mark.parametrize("name", ["to_torch", "from_torch"])
def test_without_torch_the_error_says_how_to_install_it(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModuleNotFoundError, match=rf'{name} needs torch: pip install "fastgrad\[torch\]"'):
        getattr(export, name)(nn.MLP(2, [1]))
