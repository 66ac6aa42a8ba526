"""A step of micrograd's moons demo: fastgrad, and micrograd itself."""

import math
import random
import statistics
import time

import micrograd.engine
import micrograd.nn

import fastgrad
from fastgrad import nn, optim

X = [[random.gauss(0, 1), random.gauss(0, 1)] for _ in range(100)]
y = [1 if math.hypot(*x) > 1 else -1 for x in X]


def eager(Value, MLP):
    """Return a step as micrograd's notebook takes it."""
    random.seed(1337)
    model = MLP(2, [16, 16, 1])
    parameters = model.parameters()

    def step():
        scores = [model(list(map(Value, x))) for x in X]
        losses = [(1 + -t * score).relu() for t, score in zip(y, scores)]
        loss = sum(losses) * (1.0 / len(losses))
        loss = loss + 1e-4 * sum(p * p for p in parameters)
        model.zero_grad()
        loss.backward()
        for p in parameters:
            p.data -= 0.1 * p.grad
        return loss.data

    return step


def compiled():
    """Return the same step, with the loss of one point compiled."""
    random.seed(1337)
    model = nn.MLP(2, [16, 16, 1])
    parameters = model.parameters()
    optimizer = optim.SGD(parameters, lr=0.1)

    @fastgrad.compile
    def loss(x, t):
        penalty = 1e-4 * sum(p * p for p in parameters)
        return (1 + -t * model(x)).relu() + penalty

    def step():
        optimizer.zero_grad()
        mean = loss.backward(X, y)
        optimizer.step()
        return mean

    return step


def measure(name, step, count):
    """Print the median time of a step, timed so many at once.

    A browser's clock goes on every 0.1 ms, so that one step is too short.
    """
    losses, times = [step(), step()], []
    for _ in range(3):
        start = time.perf_counter()
        for _ in range(count):
            step()
        times.append((time.perf_counter() - start) / count)
    milliseconds = statistics.median(times) * 1e3
    print(f"{name:20} {milliseconds:10.3f} ms a step, loss {losses[1]:.12f}")


measure("fastgrad", eager(fastgrad.Value, nn.MLP), 50)
measure("fastgrad, compiled", compiled(), 500)
measure("micrograd", eager(micrograd.engine.Value, micrograd.nn.MLP), 1)
