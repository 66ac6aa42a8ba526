"""Neurons, layers and multi-layer perceptrons of Values, with micrograd's interface."""

from __future__ import annotations

import operator
import random
import reprlib
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, SupportsFloat

from fastgrad.engine import (
    Value,
    _dot,
    _flattened,
    _forward,
    _is_leaf,
    _is_tracing,
    _layer_forward,
    _LayerFields,
    _NeuronFields,
    _own_parameters,
    zero_grad,
)
from fastgrad.functional import listed
from fastgrad.operations import ACTIVATIONS

# The names that `from micrograd.nn import *` brings.
__all__ = ["MLP", "Layer", "Module", "Neuron", "Value", "random"]

KIND = {"relu": "ReLU", "tanh": "Tanh", "sigmoid": "Sigmoid", "linear": "Linear"}

Inputs = Iterable[Value | SupportsFloat]


class Module:
    """The base of everything that has parameters.

    A subclass may define `parameters()`, as in micrograd. Otherwise this class finds Values, Modules, and
    lists, tuples, dicts and numpy object arrays of them among its attributes. It skips attributes whose
    names begin with _, and Values that were computed, such as a kept activation or loss.
    """

    @property
    def training(self) -> bool:
        """Whether the module is in training mode, which Dropout looks at; set by `train` and `eval`.

        A compiled function that read it in its trace is traced anew when it changes.
        """
        attributes = vars(self)
        if _is_tracing():
            from fastgrad.compiler.tracing import modes_read
            from fastgrad.compiler.watch import ABSENT

            kept = attributes.get("_training", ABSENT)
            modes_read[id(attributes), "_training"] = (attributes, "_training", kept)
        mode: bool = attributes.get("_training", True)
        return mode

    @training.setter
    def training(self, mode: bool) -> None:
        vars(self)["_training"] = bool(mode)

    def zero_grad(self) -> None:
        """Set the gradient of every parameter to 0.0."""
        zero_grad(self.parameters())

    def parameters(self) -> list[Value]:
        """Return the parameters, each once, in the order in which the attributes were set.

        Of a Module among the attributes, they are those that its own `parameters()` returns.
        """
        # By identity: a subclass of Value may have an == of its own.
        return list({id(parameter): parameter for parameter in values_below(self)}.values())

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Value]]:
        """Yield (name, Value) pairs; a name is the path to its Value: `layers.0.neurons.1.w.0`."""
        return named_values(self, prefix)

    def state_dict(self) -> dict[str, float]:
        """Return the parameters' data by name.

        Raises ValueError if `parameters()`, here or of a module below, returns one that has no name.
        """
        return {name: parameter.data for name, parameter in all_named(self).items()}

    def load_state_dict(self, state: Mapping[str, SupportsFloat]) -> None:
        """Set the parameters' data by name.

        Raises ValueError, and changes nothing, if a name is missing or unknown, if a value is no number, or
        if a parameter has no name; TypeError if the state is no mapping.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"a state is a dict of numbers by name, not a {type(state).__name__}")
        named = all_named(self)
        missing = [name for name in named if name not in state]
        unknown = [str(name) for name in state if name not in named]
        if missing or unknown:
            raise ValueError(
                f"the state has {len(state)} entries for {len(named)} parameters; "
                f"missing: {summary(missing)}; unknown: {summary(unknown)}"
            )
        numbers = {name: number_of(name, state[name]) for name in named}
        for name, parameter in named.items():
            parameter.data = numbers[name]

    def _parts(self) -> Iterator[tuple[str, Any]]:
        """Yield the attributes in which parameters and modules are looked for, by name."""
        yield from ((name, part) for name, part in vars(self).items() if not name.startswith("_"))

    def modules(self) -> Iterator[Module]:
        """Yield this module and every module below it."""
        yield self
        for _, child in children(self):
            yield from child.modules()

    def train(self, mode: bool = True) -> Module:
        """Set the training mode of this module and all below it, which Dropout looks at; return self."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Set evaluation mode for this module and all below it: `train(False)`; return self."""
        return self.train(False)

    @reprlib.recursive_repr("...")
    def __repr__(self) -> str:
        """Show the modules among the attributes by name, as torch does, and count the parameters."""
        lines = [f"\n({name}): {shown}".replace("\n", "\n  ") for name, shown in shown_parts(self)]
        return f"{type(self).__name__}({''.join(lines)}{chr(10) if lines else ''})"


# To see whether a subclass has its own.
MODULE_PARAMETERS = Module.parameters


def summary(names: Sequence[str]) -> str:
    """Name the first few of a list of names."""
    if not names:
        return "none"
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def number_of(name: str, value: Any) -> float:
    """Return the state's value of this name as a float; raise ValueError if it is no number."""
    try:
        if isinstance(value, (str, bytes, bytearray, memoryview)):
            raise TypeError("text that reads as a number is none")
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} is not a number: {value!r}") from error


def all_named(module: Module) -> dict[str, Value]:
    """Return the parameters by name; raise ValueError if a module has parameters without a name."""
    named = dict(module.named_parameters())
    known = {id(parameter) for parameter in named.values()}
    nameless = {
        id(parameter): parameter
        for part in module.modules()
        for parameter in asked_parameters(part)
        if isinstance(parameter, Value) and _is_leaf(parameter) and id(parameter) not in known
    }
    if nameless:
        raise ValueError(
            f"parameters of the {type(module).__name__} that are not found under a name of their own: "
            f"{len(nameless)}; keep them in attributes that do not begin with _, or in lists or dicts there"
        )
    return named


def asked_parameters(module: Module) -> Iterable[Value]:
    """Return a module's parameters; without those of modules below if Module.parameters finds them."""
    if getattr(module.parameters, "__func__", None) is not MODULE_PARAMETERS:
        return module.parameters()
    # all_named asks each module: with those below, the time would grow with the square of the depth.
    return values_below(module, with_modules=False)


def is_object_array(holder: object) -> bool:
    """Whether this is an array of Python objects; without numpy, nothing is."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(holder, numpy.ndarray) and bool(holder.dtype == object)


def attributes(holder: Any) -> Iterator[tuple[str, Any]]:
    """Yield the named parts of a Module, list, tuple, dict or numpy object array."""
    if is_object_array(holder):
        holder = holder.tolist()
    if isinstance(holder, Module):
        yield from holder._parts()
    elif isinstance(holder, (list, tuple)):
        yield from ((str(index), part) for index, part in enumerate(holder))
    elif isinstance(holder, dict):
        yield from ((str(key), part) for key, part in holder.items())


def named_values(holder: object, prefix: str) -> Iterator[tuple[str, Value]]:
    """Yield the leaves below a Module or container, each by its path."""
    for name, part in attributes(holder):
        path = f"{prefix}.{name}" if prefix else name
        if isinstance(part, Value):
            if _is_leaf(part):
                yield path, part
        elif isinstance(part, Module):
            yield from part.named_parameters(path)
        else:
            yield from named_values(part, path)


def values_below(holder: object, with_modules: bool = True) -> Iterator[Value]:
    """Yield the leaves in a Module's attributes or a container, and the parameters of Modules there."""
    for _, part in attributes(holder):
        if isinstance(part, Value):
            if _is_leaf(part):
                yield part
        elif not isinstance(part, Module):
            yield from values_below(part, with_modules)
        elif with_modules:
            yield from part.parameters()


def children(holder: object) -> Iterator[tuple[str, Module]]:
    """Yield the Modules directly below a Module, through lists, tuples and dicts."""
    for name, part in attributes(holder):
        if isinstance(part, Module):
            yield name, part
        elif not isinstance(part, Value):
            yield from children(part)


def shown_parts(module: Module) -> Iterator[tuple[str, str]]:
    """Yield the lines of a module's repr: the name of an attribute, and its text."""
    for name, part in module._parts():
        modules = list(modules_in(name, part))
        yield from ((path, repr(child)) for path, child in modules)
        theirs = {id(parameter) for _, child in modules for _, parameter in child.named_parameters()}
        count = sum(id(parameter) not in theirs for _, parameter in named_values({name: part}, ""))
        if count:
            yield name, f"{count} parameter{'s' if count > 1 else ''}"


def modules_in(path: str, part: object) -> Iterator[tuple[str, Module]]:
    """Yield a Module, or the Modules directly in a list, tuple or dict, by path."""
    if isinstance(part, Module):
        yield path, part
    elif not isinstance(part, Value):
        for name, below in attributes(part):
            yield from modules_in(f"{path}.{name}", below)


def size_of(name: str, number: Any, least: int) -> int:
    """Return a number of neurons or inputs; TypeError if it is no whole number, ValueError if too small."""
    try:
        size = operator.index(number)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, not {number!r}") from None
    if size < least:
        raise ValueError(f"{name} must be at least {least}, not {size}")
    return size


class Neuron(Module, _NeuronFields):
    """activation(w1 * x1 + ... + wn * xn + b).

    The weights are drawn from `random.uniform(-1, 1)` and b is 0, so that a seed gives micrograd's
    weights. `activation` is 'relu', 'tanh', 'sigmoid' or 'linear'; `nonlin=False` means 'linear'. Raises
    ValueError for another activation, and if nin is less than 0.
    """

    def __init__(self, nin: int, nonlin: bool = True, activation: str = "relu") -> None:
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, not {activation!r}")
        self.w = [Value(random.uniform(-1, 1)) for _ in range(size_of("nin", nin, 0))]
        self.b = Value(0)
        self.nonlin = nonlin
        self.activation = activation

    def __call__(self, x: Inputs) -> Value:
        """Return the neuron's output for nin inputs, Values or numbers; ValueError for another count."""
        x = listed("a neuron", x)
        if len(x) != len(self.w):
            raise ValueError(f"a neuron of {len(self.w)} inputs was given {len(x)}")
        activation = self.activation if self.nonlin else "linear"
        if x and not self._uses_replaced():
            return _dot(self.w, x, self.b, activation)
        out: Value = sum((w * each for w, each in zip(self.w, x, strict=True)), self.b)
        return out if activation == "linear" else getattr(out, activation)()

    def parameters(self) -> list[Value]:
        """Return the weights, then the bias, without those that were computed."""
        return _own_parameters(self)

    def _parts(self) -> Iterator[tuple[str, Any]]:
        """Yield w and b, then the other attributes."""
        yield "w", self.w
        yield "b", self.b
        yield from super()._parts()

    def __repr__(self) -> str:
        kind = KIND.get(self.activation, self.activation) if self.nonlin else "Linear"
        return f"{kind}Neuron({len(self.w)})"


# A user's own Neuron.__call__ must be called: the C functions get None for the class if it was assigned.
NEURON_CALL = Neuron.__call__
NEURON_PARAMETERS = Neuron.parameters


class Layer(Module, _LayerFields):
    """nout neurons over the same nin inputs; keyword arguments go to every Neuron.

    Raises ValueError if nin or nout is less than 0.
    """

    def __init__(self, nin: int, nout: int, **kwargs: Any) -> None:
        nin = size_of("nin", nin, 0)
        self.neurons = [Neuron(nin, **kwargs) for _ in range(size_of("nout", nout, 0))]

    def __call__(self, x: Inputs) -> Value | list[Value]:
        """Return the list of the neurons' outputs, or the output itself if there is one neuron."""
        return _layer_forward(self, Neuron if Neuron.__call__ is NEURON_CALL else None, x)

    def parameters(self) -> list[Value]:
        """Return the parameters neuron by neuron."""
        return _flattened(self.neurons, Neuron if Neuron.parameters is NEURON_PARAMETERS else None)

    def _parts(self) -> Iterator[tuple[str, Any]]:
        """Yield the neurons, then the other attributes."""
        yield "neurons", self.neurons
        yield from super()._parts()

    def __repr__(self) -> str:
        return f"Layer of [{', '.join(str(neuron) for neuron in self.neurons)}]"


LAYER_CALL = Layer.__call__


class MLP(Module):
    """Layers of nouts neurons after nin inputs; the last is linear, the others have the activation.

    Only the last layer may have one neuron: as in micrograd, it then returns a Value and not a list, and
    the next layer could not take it. Raises TypeError if nouts is no list; ValueError if a size is below 1.
    """

    def __init__(self, nin: int, nouts: Sequence[int], activation: str = "relu") -> None:
        if not isinstance(nouts, Collection):
            raise TypeError(f"nouts must be a list of the layers' sizes, such as [16, 1], not {nouts!r}")
        least = 1 if nouts else 0
        sizes = [size_of("nin", nin, least), *(size_of("a layer's size", nout, least) for nout in nouts)]
        self.layers = [
            Layer(sizes[i], sizes[i + 1], nonlin=i != len(nouts) - 1, activation=activation)
            for i in range(len(nouts))
        ]

    def __call__(self, x: Inputs) -> Value | list[Value]:
        """Return the last layer's outputs for nin inputs, Values or numbers."""
        return _forward(
            self.layers,
            Layer if Layer.__call__ is LAYER_CALL else None,
            Neuron if Neuron.__call__ is NEURON_CALL else None,
            x,
        )

    def parameters(self) -> list[Value]:
        """Return the parameters layer by layer."""
        parameters: list[Value] = []
        for layer in self.layers:
            # A list at a time takes a third of the time of one by one.
            parameters += layer.parameters()
        return parameters

    def __repr__(self) -> str:
        return f"MLP of [{', '.join(str(layer) for layer in self.layers)}]"


class Dropout(Module):
    """Set each value to 0 with probability p while training, and scale the others by 1 / (1 - p).

    The draws come from `random.random()`, so that `random.seed` fixes them. Raises ValueError unless
    0 <= p < 1.
    """

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p < 1:
            raise ValueError(f"p must be at least 0 and less than 1, not {p}")
        self.p = p

    def __call__(self, x: Iterable[Value]) -> list[Value]:
        """Return the values, dropped out if `training` is set."""
        x = listed("Dropout", x)
        if not self.training or self.p == 0:
            return x
        scale = 1.0 / (1.0 - self.p)
        return [value * (0.0 if random.random() < self.p else scale) for value in x]

    def __repr__(self) -> str:
        return f"Dropout(p={self.p})"


# `export` can write these; a subclass with a __call__ of its own computes something else.
OWN_CALLS = {Neuron: NEURON_CALL, Layer: LAYER_CALL, MLP: MLP.__call__, Dropout: Dropout.__call__}
