"""A multi-layer perceptron with ReLU in several forms, all from the same initial weights.

`Training` describes a task; `on_values`, `on_torch`, ... return a case whose one pass is one training step:
forward, loss, zeroing the gradients, backward, update. The case's numbers are the loss before the step
and the weights after it, in micrograd's order (neuron by neuron, weights and then bias).
"""

import ctypes
import importlib
import random
from collections.abc import Callable
from itertools import count, pairwise
from typing import NamedTuple

import numpy

from benchmarks.case import Case
from benchmarks.scalars import SCALARS

SEED = 1337


class Training(NamedTuple):
    """A task: the sizes of the layers, the batches, and the loss.

    `scalar_loss(model, inputs, targets, parameters, scalars)` is the loss as a script over scalars
    writes it, from the raw rows of a batch; `hinge` chooses between the two losses for the other forms.
    """

    sizes: tuple[int, ...]
    batches: list[tuple[numpy.ndarray, numpy.ndarray]]
    hinge: bool
    alpha: float
    scalar_loss: Callable

    def lr(self, step: int) -> float:
        """Return the learning rate of micrograd's demo: from 1 down to 0.1 in a hundred steps."""
        return max(0.1, 1.0 - 0.9 * step / 100)

    def batch(self, step: int):
        """Return the rows and the targets of a step."""
        return self.batches[step % len(self.batches)]


def initial_weights(sizes) -> list[float]:
    """Return the weights that micrograd's MLP draws with the seed; biases are 0."""
    draw = random.Random(SEED).uniform
    weights = []
    for inputs, outputs in pairwise(sizes):
        for _ in range(outputs):
            weights += [*(draw(-1, 1) for _ in range(inputs)), 0.0]
    return weights


def initial_matrices(sizes) -> list[numpy.ndarray]:
    """Return the same weights as one matrix a layer; the last column holds the biases."""
    flat = iter(initial_weights(sizes))
    return [
        numpy.array([[next(flat) for _ in range(inputs + 1)] for _ in range(outputs)])
        for inputs, outputs in pairwise(sizes)
    ]


def on_values(name: str, training: Training):
    """The script on a package with micrograd's interface: fastgrad or micrograd itself."""

    def prepare() -> Case:
        nn = importlib.import_module(f"{name}.nn")
        scalars = SCALARS[name]()
        model = nn.MLP(training.sizes[0], list(training.sizes[1:]))
        for p, number in zip(model.parameters(), initial_weights(training.sizes)):
            p.data = number
        steps = count()
        state = {}

        def step() -> None:
            k = next(steps)
            total_loss = training.scalar_loss(model, *training.batch(k), model.parameters(), scalars)
            model.zero_grad()
            total_loss.backward()
            lr = training.lr(k)
            for p in model.parameters():
                p.data -= lr * p.grad
            state["loss"] = total_loss.data

        return Case({"step": step}, lambda: [state["loss"], *(p.data for p in model.parameters())])

    return prepare


def on_compiled(training: Training, threads: int = 1):
    """The loss of one row, compiled; the optimizer is the package's own."""

    def prepare() -> Case:
        import fastgrad
        import fastgrad.functional as F
        from fastgrad import nn, optim

        model = nn.MLP(training.sizes[0], list(training.sizes[1:]))
        parameters = model.parameters()
        for p, number in zip(parameters, initial_weights(training.sizes)):
            p.data = number
        optimizer = optim.SGD(parameters, lr=1.0)
        steps = count()
        state = {}

        @fastgrad.compile(threads=threads)
        def loss(x, target):
            scores = model(x)
            result = (1 - target * scores).relu() if training.hinge else F.cross_entropy(scores, target)
            return result + training.alpha * F.l2(parameters) if training.alpha else result

        def step() -> None:
            k = next(steps)
            optimizer.zero_grad()
            state["loss"] = loss.backward(*training.batch(k))
            optimizer.param_groups[0]["lr"] = training.lr(k)
            optimizer.step()

        return Case({"step": step}, lambda: [state["loss"], *(p.data for p in parameters)])

    return prepare


def on_scalars(name: str, training: Training):
    """The same script over lists of scalars: plain floats, which stop at the loss, or xad."""

    def prepare() -> Case:
        scalars = SCALARS[name]()
        parameters = [scalars.leaf(number) for number in initial_weights(training.sizes)]
        steps = count()
        state = {}

        def model(x):
            start = 0
            for layer, (inputs, outputs) in enumerate(pairwise(training.sizes), start=2):
                y = []
                for _ in range(outputs):
                    ws, bias = parameters[start : start + inputs], parameters[start + inputs]
                    out = sum((w * xi for w, xi in zip(ws, x)), bias)
                    y.append(out if layer == len(training.sizes) else scalars.relu(out))
                    start += inputs + 1
                x = y
            return x[0] if len(x) == 1 else x

        def step() -> None:
            k = next(steps)
            scalars.start(parameters)
            total_loss = training.scalar_loss(model, *training.batch(k), parameters, scalars)
            state["loss"] = scalars.value(total_loss)
            if name != "float":
                scalars.backward(total_loss)
                lr = training.lr(k)
                parameters[:] = [
                    scalars.leaf(scalars.value(p) - lr * scalars.gradient(p)) for p in parameters
                ]

        def numbers() -> list[float]:
            return [state["loss"]] + ([] if name == "float" else list(map(scalars.value, parameters)))

        return Case({"step": step}, numbers)

    return prepare


def on_torch(training: Training):
    """The whole batch at once, in PyTorch's own layers and optimizer."""

    def prepare() -> Case:
        import torch

        layers = []
        for matrix in initial_matrices(training.sizes):
            linear = torch.nn.Linear(matrix.shape[1] - 1, matrix.shape[0], dtype=torch.float64)
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(matrix[:, :-1]))
                linear.bias.copy_(torch.from_numpy(matrix[:, -1]))
            layers += [linear, torch.nn.ReLU()]
        model = torch.nn.Sequential(*layers[:-1])
        parameters = list(model.parameters())
        optimizer = torch.optim.SGD(parameters, lr=1.0)
        batches = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in training.batches]
        steps = count()
        state = {}

        def step() -> None:
            k = next(steps)
            x, y = batches[k % len(batches)]
            scores = model(x)
            if training.hinge:
                loss = (1 - y * scores[:, 0]).relu().mean()
            else:
                loss = torch.nn.functional.cross_entropy(scores, y)
            if training.alpha:
                loss = loss + training.alpha * sum((p * p).sum() for p in parameters)
            optimizer.zero_grad()
            loss.backward()
            optimizer.param_groups[0]["lr"] = training.lr(k)
            optimizer.step()
            state["loss"] = loss.item()

        def numbers() -> list[float]:
            neurons = []
            for weight, bias in zip(parameters[::2], parameters[1::2]):
                neurons += torch.cat([weight, bias[:, None]], dim=1).ravel().tolist()
            return [state["loss"], *neurons]

        return Case({"step": step}, numbers)

    return prepare


def on_jax(training: Training):
    """The whole batch at once, the step compiled."""

    def prepare() -> Case:
        import jax
        import jax.numpy as jnp

        batches = [(jnp.array(x), jnp.array(y)) for x, y in training.batches]
        state = {"weights": [jnp.array(matrix) for matrix in initial_matrices(training.sizes)]}
        steps = count()

        def loss_of(weights, x, y):
            for layer, matrix in enumerate(weights, start=1):
                x = x @ matrix[:, :-1].T + matrix[:, -1]
                x = x if layer == len(weights) else jax.nn.relu(x)
            if training.hinge:
                loss = jax.nn.relu(1 - y * x[:, 0]).mean()
            else:
                loss = -jax.nn.log_softmax(x)[jnp.arange(len(y)), y].mean()
            return loss + training.alpha * sum((matrix * matrix).sum() for matrix in weights)

        @jax.jit
        def compiled(weights, x, y, lr):
            loss, gradients = jax.value_and_grad(loss_of)(weights, x, y)
            return loss, [matrix - lr * g for matrix, g in zip(weights, gradients)]

        def step() -> None:
            k = next(steps)
            loss, state["weights"] = compiled(state["weights"], *batches[k % len(batches)], training.lr(k))
            state["loss"] = float(loss)

        def numbers() -> list[float]:
            return [state["loss"], *(w for matrix in state["weights"] for w in matrix.ravel().tolist())]

        return Case({"step": step}, numbers)

    return prepare


def on_casadi(training: Training):
    """One row's loss and gradient as a compiled expression, mapped over the rows of the batch."""

    def prepare() -> Case:
        import casadi

        rows = len(training.batches[0][1])
        weights = numpy.array(initial_weights(training.sizes))
        p, x, y = casadi.SX.sym("p", len(weights)), casadi.SX.sym("x", training.sizes[0]), casadi.SX.sym("y")
        units, start = x, 0
        for layer, (inputs, outputs) in enumerate(pairwise(training.sizes), start=2):
            matrix = casadi.reshape(p[start : start + (inputs + 1) * outputs], inputs + 1, outputs).T
            units = matrix[:, :-1] @ units + matrix[:, -1]
            units = units if layer == len(training.sizes) else casadi.fmax(units, 0)
            start += (inputs + 1) * outputs
        if training.hinge:
            loss = casadi.fmax(1 - y * units, 0)
        else:
            shifted = units - casadi.mmax(units)
            chosen = sum(casadi.if_else(y == c, shifted[c], 0) for c in range(training.sizes[-1]))
            loss = casadi.log(casadi.sum1(casadi.exp(shifted))) - chosen
        loss = loss + training.alpha * casadi.sumsqr(p)
        batch = casadi.Function("row", [p, x, y], [loss, casadi.gradient(loss, p)]).map(rows)
        batches = [(casadi.DM(x.T), casadi.DM(y).T) for x, y in training.batches]
        steps = count()
        state = {"weights": weights}

        def step() -> None:
            k = next(steps)
            losses, gradients = batch(state["weights"], *batches[k % len(batches)])
            state["loss"] = float(casadi.sum2(losses)) / rows
            gradient = casadi.sum2(gradients).full().ravel() / rows
            state["weights"] = state["weights"] - training.lr(k) * gradient

        return Case({"step": step}, lambda: [state["loss"], *state["weights"].tolist()])

    return prepare


def on_c(training: Training):
    """The step written out in C, the shapes known when it is compiled."""

    def prepare() -> Case:
        from benchmarks import native

        rows = len(training.batches[0][1])
        library = native.load(
            "mlp",
            f"ROWS={rows}",
            f"SIZES={','.join(map(str, training.sizes))}",
            f"ALPHA={training.alpha}",
            "HINGE" if training.hinge else "CROSS_ENTROPY",
        )
        library.step.restype = ctypes.c_double
        flat = initial_weights(training.sizes)
        weights = (ctypes.c_double * len(flat))(*flat)
        batches = [
            (
                (ctypes.c_double * x.size)(*x.ravel().tolist()),
                (ctypes.c_int * rows)(*y.tolist()),
            )
            for x, y in training.batches
        ]
        steps = count()
        state = {}

        def step() -> None:
            k = next(steps)
            x, y = batches[k % len(batches)]
            state["loss"] = library.step(weights, x, y, ctypes.c_double(training.lr(k)))

        return Case({"step": step}, lambda: [state["loss"], *weights])

    return prepare


def cases(training: Training) -> dict[str, Callable[[], Case]]:
    """Every implementation of a training step."""
    return {
        "fastgrad": on_values("fastgrad", training),
        "compiled": on_compiled(training),
        "micrograd": on_values("micrograd", training),
        "float": on_scalars("float", training),
        "torch": on_torch(training),
        "jax": on_jax(training),
        "xad": on_scalars("xad", training),
        "casadi": on_casadi(training),
        "c": on_c(training),
    }
