"""micrograd's Neuron, Layer and MLP, with an activation."""

import random

from reference.functional import dot
from reference.value import Arithmetic, Value, listed, operands_of, refuse_effect


class Module:
    def zero_grad(self):
        refuse_effect()
        for parameter in self.parameters():
            parameter.grad = 0.0


class Neuron(Module):
    def __init__(self, nin, nonlin=True, activation=None):
        self.w = [Value(random.uniform(-1, 1)) for _ in range(nin)]
        self.b = Value(0)
        self.nonlin, self.activation = nonlin, activation or "relu"

    def __call__(self, x):
        x = listed(x)
        if len(x) != len(self.w):
            raise ValueError(f"a neuron of {len(self.w)} inputs was given {len(x)}")
        activation = self.activation if self.nonlin else "linear"
        if x and not self.uses_replaced():
            return dot(self.w, x, self.b, activation)
        out = sum((w * each for w, each in zip(self.w, x, strict=True)), self.b)
        return out if activation == "linear" else getattr(out, activation)()

    def uses_replaced(self):
        """Whether a program has assigned one of the operations that this neuron is made of."""
        names = ["__add__", "__radd__", "__mul__", "__rmul__"]
        if self.nonlin and self.activation != "linear":
            names.append(self.activation)
        return any(getattr(Value, name) is not getattr(Arithmetic, name) for name in names)

    def parameters(self):
        return [value for value in (*self.w, self.b) if getattr(value, "name", "leaf") == "leaf"]


class Layer(Module):
    def __init__(self, nin, nout, **options):
        self.neurons = [Neuron(nin, **options) for _ in range(nout)]

    def __call__(self, x):
        x = listed(x)
        if not any(neuron.uses_replaced() for neuron in self.neurons):
            x = operands_of(x)
        out = [neuron(x) for neuron in self.neurons]
        return out[0] if len(out) == 1 else out

    def parameters(self):
        return [parameter for neuron in self.neurons for parameter in neuron.parameters()]


class MLP(Module):
    def __init__(self, nin, nouts, activation="relu"):
        sizes = [nin, *nouts]
        self.layers = [
            Layer(sizes[i], sizes[i + 1], nonlin=i != len(nouts) - 1, activation=activation)
            for i in range(len(nouts))
        ]

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x

    def parameters(self):
        return [parameter for layer in self.layers for parameter in layer.parameters()]
