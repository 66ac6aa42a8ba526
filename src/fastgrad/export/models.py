"""Models go to PyTorch and ONNX, and come back from PyTorch.

An MLP, a Layer, or a list of Layers and Dropouts, one after the other, can be exported; so can instances of
subclasses that do not override `__call__`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from fastgrad.engine import Value
from fastgrad.nn import MLP, OWN_CALLS, Dropout, Layer, Module, Neuron
from fastgrad.operations import ACTIVATIONS

if TYPE_CHECKING:
    import torch

__all__ = ["from_torch", "to_onnx", "to_torch"]

# fastgrad's names of activations, torch's modules and ONNX's operators.
IN_TORCH = {"relu": "ReLU", "tanh": "Tanh", "sigmoid": "Sigmoid"}
IN_ONNX = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}
# Every onnxruntime since 1.8 (2021) reads this version.
OPSET = 13
IR_VERSION = 8


class Dense(NamedTuple):
    """A Layer as numbers: activation(weight @ x + bias), weight being a list of nout rows of nin numbers."""

    weight: list[list[float]]
    bias: list[float]
    activation: str
    training: bool


def to_torch(model: Module | Iterable[Module]) -> torch.nn.Sequential:
    """Return a torch.nn.Sequential in float64 with the same parameters: (..., nin) -> (..., nout).

    A Layer becomes a Linear and a ReLU, Tanh or Sigmoid; a Dropout becomes a Dropout. Each part keeps its
    `training`; the whole has the model's or, for a list, True if any part's is set. Raises ValueError that
    names the part for any other part, for a part whose class has a `__call__` of its own, and for a Layer
    whose neurons differ in inputs or activation. Needs torch: pip install "fastgrad[torch]".
    """
    require_torch("to_torch")
    import torch

    parts = parts_of(model)
    modules: list[torch.nn.Module] = []
    for part in parts:
        if isinstance(part, Dropout):
            modules.append(torch.nn.Dropout(part.p).train(part.training))
            continue
        weight = torch.tensor(part.weight, dtype=torch.float64)
        # skip_init draws no weights, so torch's random state stays as it is.
        linear = torch.nn.utils.skip_init(torch.nn.Linear, *reversed(weight.shape), dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(weight)
            linear.bias.copy_(torch.tensor(part.bias, dtype=torch.float64))
        modules.append(linear.train(part.training))
        if part.activation != "linear":
            modules.append(getattr(torch.nn, IN_TORCH[part.activation])().train(part.training))
    whole = torch.nn.Sequential(*modules)
    whole.training = model.training if isinstance(model, Module) else any(part.training for part in parts)
    return whole


def from_torch(module: torch.nn.Module) -> MLP:
    """Return an MLP with the parameters of a torch Linear, or a Sequential of them with activations.

    It may have Linear, ReLU, Tanh, Sigmoid, Identity, Dropout, and Sequentials of these. A Linear without
    bias gets a bias of 0, and each part keeps its `training`. Raises ValueError that names the module for
    any other module; for an activation or a Dropout that follows no Linear; for a Dropout of p = 1; for a
    Linear whose inputs are not the outputs before it; and for a Linear or Dropout after a Linear of one
    output, since a Layer of one neuron gives a Value and not a list. Needs torch: pip install
    "fastgrad[torch]".
    """
    require_torch("from_torch")
    import torch

    activations = {getattr(torch.nn, name): activation for activation, name in IN_TORCH.items()}
    layers: list[Layer | Dropout] = []
    awaits_activation = False
    for name, part in flattened(module, ""):
        if type(part) is torch.nn.Linear:
            if layers and len(last_layer(layers).neurons) != part.in_features:
                outputs = len(last_layer(layers).neurons)
                raise ValueError(f"{name}: {part} cannot follow a Linear of {outputs} outputs")
            if layers and part.in_features == 1:
                raise ValueError(
                    f"{name}: {part} follows a hidden Linear of one output, which fastgrad cannot have"
                )
            bias = [0.0] * part.out_features if part.bias is None else part.bias.tolist()
            layers.append(layer_of(Dense(part.weight.tolist(), bias, "linear", part.training)))
            awaits_activation = True
        elif type(part) in activations:
            if not awaits_activation:
                raise ValueError(f"{name}: {part} must follow a Linear")
            for neuron in last_layer(layers).neurons:
                neuron.nonlin, neuron.activation = True, activations[type(part)]
            awaits_activation = False
        elif type(part) is torch.nn.Dropout:
            layers.append(dropout_of(f"{name}: {part}", part, layers))
            awaits_activation = False
        elif type(part) is not torch.nn.Identity:
            raise ValueError(f"{name}: a {type(part).__name__} has no counterpart here")
    if not layers:
        raise ValueError("there is no Linear in the module")
    model = MLP(0, [])
    model.layers = layers  # type: ignore[assignment]
    model.training = module.training
    return model


def dropout_of(name: str, part: torch.nn.Dropout, layers: list[Layer | Dropout]) -> Dropout:
    """Return the Dropout for one of torch's after these layers; ValueError if none does the same."""
    if not layers:
        raise ValueError(f"{name} must follow a Linear")
    if len(last_layer(layers).neurons) == 1:
        raise ValueError(f"{name} follows a Linear of one output, which fastgrad cannot have")
    if part.p == 1:
        raise ValueError(f"{name} drops every value, which a Dropout of fastgrad cannot")
    dropout = Dropout(part.p)
    dropout.training = part.training
    return dropout


def to_onnx(model: Module | Iterable[Module], path: str | os.PathLike[str]) -> None:
    """Write an ONNX file in float64: input "x" of shape (N, nin), output "y" of shape (N, nout).

    Dropouts are left out: the file is for inference. Raises ValueError as `to_torch` does; needs numpy
    and onnx: pip install "fastgrad[export]".
    """
    try:
        import numpy as np
        from onnx import TensorProto, checker, helper, numpy_helper, save
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'to_onnx needs {error.name}: pip install "fastgrad[export]"', name=error.name
        ) from None

    layers = [part for part in parts_of(model) if isinstance(part, Dense)]
    nodes, arrays = [], []
    value = "x"
    for number, layer in enumerate(layers):
        last = number == len(layers) - 1
        for name, array in (("weight", layer.weight), ("bias", layer.bias)):
            arrays.append(numpy_helper.from_array(np.array(array, dtype=np.float64), f"{number}.{name}"))
        steps = ["Gemm"] + ([IN_ONNX[layer.activation]] if layer.activation != "linear" else [])
        for step in steps:
            inputs = [value, f"{number}.weight", f"{number}.bias"] if step == "Gemm" else [value]
            value = "y" if last and step == steps[-1] else f"{number}.{step}"
            options = {"transB": 1} if step == "Gemm" else {}
            nodes.append(helper.make_node(step, inputs, [value], **options))
    shapes = {"x": len(layers[0].weight[0]), "y": len(layers[-1].weight)}
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.DOUBLE, ["N", size]) for name, size in shapes.items()
    )
    document = helper.make_model(
        helper.make_graph(nodes, "fastgrad", [x], [y], arrays),
        producer_name="fastgrad",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    checker.check_model(document, full_check=True)
    save(document, os.fspath(path))


def require_torch(function: str) -> None:
    """Raise ModuleNotFoundError that names this function, unless torch can be imported."""
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'{function} needs {error.name}: pip install "fastgrad[torch]"', name=error.name
        ) from None


def parts_of(model: Module | Iterable[Module]) -> list[Dense | Dropout]:
    """Return the layers of a model as numbers, and its Dropouts; ValueError unless they fit together."""
    if isinstance(model, (Layer, Dropout)):
        modules: list[Module] = [model]
    elif isinstance(model, MLP):
        require_own_call(f"the {type(model).__name__}", model, MLP)
        modules = list(model.layers)
    elif isinstance(model, Module) or not isinstance(model, Iterable):
        raise ValueError(
            f"a {type(model).__name__} cannot be exported: give an MLP, a Layer or a list of them"
        )
    else:
        modules = list(model)
    parts = [part_of(f"part {number}, a {type(part).__name__},", part) for number, part in enumerate(modules)]
    layers = [part for part in parts if isinstance(part, Dense)]
    if not layers:
        raise ValueError("there is no Layer to export")
    for number, (before, after) in enumerate(pairwise(layers)):
        outputs, inputs = len(before.weight), len(after.weight[0])
        if outputs != inputs:
            raise ValueError(f"layer {number} has {outputs} outputs and the next takes {inputs} inputs")
    return parts


def require_own_call(name: str, part: object, known: type[Module]) -> None:
    """Raise ValueError unless calling the part does what calling the known class does."""
    if type(part).__call__ is not OWN_CALLS[known]:
        raise ValueError(f"{name} cannot be exported: its __call__ is not the library's {known.__name__}'s")


def part_of(name: str, part: object) -> Dense | Dropout:
    """Return a Layer as numbers, or a Dropout; ValueError if it is neither."""
    if isinstance(part, Dropout):
        require_own_call(name, part, Dropout)
        return part
    if not isinstance(part, Layer):
        raise ValueError(f"{name} cannot be exported: only Layer and Dropout can")
    require_own_call(name, part, Layer)
    return dense(name, part)


def dense(name: str, layer: Layer) -> Dense:
    """Return a Layer as numbers; ValueError if its neurons are not alike, or not the library's."""
    for number, neuron in enumerate(layer.neurons):
        require_own_call(f"{name} neuron {number}, a {type(neuron).__name__},", neuron, Neuron)
    kinds = {(len(neuron.w), activation_of(neuron)) for neuron in layer.neurons}
    if len(kinds) != 1:
        shown = ", ".join(f"{activation} of {nin} inputs" for nin, activation in sorted(kinds))
        raise ValueError(f"{name} cannot be exported, since its neurons differ: {shown or 'there are none'}")
    ((nin, activation),) = kinds
    if nin == 0:
        raise ValueError(f"{name} cannot be exported: it has no inputs")
    if activation not in ACTIVATIONS:
        raise ValueError(f"{name} cannot be exported: its activation is {activation!r}")
    return Dense(
        [[w.data for w in neuron.w] for neuron in layer.neurons],
        [neuron.b.data for neuron in layer.neurons],
        activation,
        layer.training,
    )


def activation_of(neuron: Neuron) -> str:
    """Return the activation that a neuron applies."""
    return str(neuron.activation) if neuron.nonlin else "linear"


def layer_of(numbers: Dense) -> Layer:
    """Return a Layer of these numbers, without a draw from `random`."""
    layer = Layer(0, 0)
    for row, bias in zip(numbers.weight, numbers.bias, strict=True):
        neuron = Neuron(0, nonlin=numbers.activation != "linear")
        neuron.w, neuron.b = [Value(w) for w in row], Value(bias)
        layer.neurons.append(neuron)
    layer.train(numbers.training)
    return layer


def last_layer(layers: list[Layer | Dropout]) -> Layer:
    """Return the last Layer of a list that has one."""
    return next(layer for layer in reversed(layers) if isinstance(layer, Layer))


def flattened(module: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the modules in torch Sequentials, however nested, each with its path."""
    import torch

    if type(module) is not torch.nn.Sequential:
        yield name or "the module", module
        return
    for key, part in module.named_children():
        yield from flattened(part, f"{name}.{key}" if name else key)
