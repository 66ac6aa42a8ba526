"""Scalar types on which one and the same program runs, operation by operation."""

import gc
import importlib
import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple


class Scalars(NamedTuple):
    """A scalar type: how to make a leaf, its functions, and how to differentiate.

    `start` is called before a program records anything, `backward` with its result; `release` gives back the
    memory of a graph whose result has been dropped, where that takes more than dropping it.
    """

    leaf: Callable[[float], Any]
    relu: Callable[[Any], Any]
    tanh: Callable[[Any], Any]
    exp: Callable[[Any], Any]
    log: Callable[[Any], Any]
    value: Callable[[Any], float]
    gradient: Callable[[Any], float]
    start: Callable[[list], None]
    backward: Callable[[Any], None]
    release: Callable[[], object]


def nothing(*arguments: object) -> None:
    """Do what a type without gradients does to differentiate."""


def of_values(Value: Any, release: Callable[[], object]) -> Scalars:
    """Values as micrograd has them; their functions are methods."""
    return Scalars(
        leaf=Value,
        relu=Value.relu,
        tanh=Value.tanh,
        exp=Value.exp,
        log=Value.log,
        value=lambda scalar: scalar.data,
        gradient=lambda scalar: scalar.grad,
        start=nothing,
        backward=Value.backward,
        release=release,
    )


def of_fastgrad() -> Scalars:
    """Values of fastgrad."""
    from fastgrad import Value

    return of_values(Value, nothing)


def of_micrograd() -> Scalars:
    """Values of micrograd, to whose class tanh, exp and log are added as its lecture adds tanh."""
    Value = importlib.import_module("micrograd.engine").Value

    def method(symbol: str, function: Callable, derivative: Callable) -> Callable:
        def forward(self):
            out = Value(function(self.data), (self,), symbol)

            def _backward():
                self.grad += derivative(self.data, out.data) * out.grad

            out._backward = _backward
            return out

        return forward

    Value.tanh = method("tanh", math.tanh, lambda x, y: 1.0 - y * y)
    Value.exp = method("exp", math.exp, lambda x, y: y)
    Value.log = method("log", math.log, lambda x, y: 1.0 / x)
    # Its closures form cycles.
    return of_values(Value, gc.collect)


def of_float() -> Scalars:
    """Python's own floats: the values without the gradients."""
    return Scalars(
        leaf=float,
        relu=lambda x: x if x > 0.0 else 0.0,
        tanh=math.tanh,
        exp=math.exp,
        log=math.log,
        value=float,
        gradient=nothing,
        start=nothing,
        backward=nothing,
        release=nothing,
    )


def of_torch() -> Scalars:
    """Tensors without dimensions."""
    import torch

    return Scalars(
        leaf=lambda number: torch.tensor(number, dtype=torch.float64, requires_grad=True),
        relu=torch.relu,
        tanh=torch.tanh,
        exp=torch.exp,
        log=torch.log,
        value=torch.Tensor.item,
        gradient=lambda scalar: scalar.grad.item(),
        start=nothing,
        backward=torch.Tensor.backward,
        release=nothing,
    )


@cache
def of_xad() -> Scalars:
    """xad's reals, recorded on the one tape a thread may have, wound back before each program."""
    import xad.math
    from xad.adj_1st import Real, Tape

    tape = Tape()
    tape.activate()

    def start(leaves: list) -> None:
        tape.registerInputs(leaves)
        tape.newRecording()

    def backward(result) -> None:
        tape.registerOutput(result)
        result.setDerivative(1.0)
        tape.computeAdjoints()

    return Scalars(
        leaf=Real,
        relu=lambda x: xad.math.max(x, 0.0),
        tanh=xad.math.tanh,
        exp=xad.math.exp,
        log=xad.math.log,
        value=Real.getValue,
        gradient=Real.getDerivative,
        start=start,
        backward=backward,
        release=tape.newRecording,
    )


SCALARS: dict[str, Callable[[], Scalars]] = {
    "fastgrad": of_fastgrad,
    "micrograd": of_micrograd,
    "float": of_float,
    "torch": of_torch,
    "xad": of_xad,
}
