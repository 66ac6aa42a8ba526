"""Minimise the Rosenbrock function by Newton's method, and solve an oscillator's equation with a network.

The Hessian is `fastgrad.derivatives.hessian`, compiled: each call computes value, gradient and Hessian at all
starting points. The network y(t) is trained on the equation y'' = -y alone (Raissi et al., "Physics-informed
neural networks", 2019): its second derivative by t is part of the compiled loss.

    python examples/newton.py --epochs 1500
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Sequence

import numpy as np

from fastgrad import Value, compile, grad
from fastgrad.derivatives import hessian
from fastgrad.nn import MLP
from fastgrad.optim import Adam


def rosenbrock(x: Sequence[Value]) -> Value:
    """Return a function with a curved valley, whose minimum is 0 at (1, 1)."""
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


@compile
def everything(x: Sequence[Value]) -> list[Value]:
    """Return the value, the gradient and the rows of the Hessian."""
    value = rosenbrock(x)
    return [value, *grad(value, x), *(entry for row in hessian(rosenbrock)(x) for entry in row)]


def newton(starts: np.ndarray, steps: int) -> np.ndarray:
    """Return where Newton's steps lead from each of the starting points."""
    points = starts.copy()
    for step in range(steps):
        found = everything(points)
        gradients, hessians = found[:, 1:3], found[:, 3:].reshape(-1, 2, 2)
        print(f"step {step} largest value {found[:, 0].max():.3e}")
        points -= np.linalg.solve(hessians, gradients[:, :, None])[:, :, 0]
    return points


def oscillate(epochs: int) -> float:
    """Return the largest error of a network that solves y'' = -y, y(0) = 0, y'(0) = 1 up to t = pi."""
    random.seed(0)
    model = MLP(1, [12, 12, 1], activation="tanh")
    optimizer = Adam(model.parameters(), lr=0.01)

    @compile
    def solution(t: Value) -> Value:
        # Right at 0, whatever the network says.
        return t + t * t * model([t])

    @compile
    def residual(t: Value) -> Value:
        y = solution(t)
        return (grad(grad(y, t), t) + y) ** 2

    times = np.linspace(0.0, math.pi, 64)
    for epoch in range(epochs):
        optimizer.zero_grad()
        loss = residual.backward(times)
        optimizer.step()
        if epoch % 500 == 0:
            print(f"epoch {epoch} loss {loss:.3e}")
    return float(np.abs(solution(times) - np.sin(times)).max())


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--epochs", type=int, default=1500)
    options = parser.parse_args()
    found = newton(np.array([[-1.2, 1.0], [0.0, 0.0], [2.0, 2.0]]), 8)
    print("minimum at", found.round(6).tolist())
    print(f"largest error of the oscillator {oscillate(options.epochs):.2e}")


if __name__ == "__main__":
    main()
