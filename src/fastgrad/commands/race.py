"""micrograd and fastgrad train the same network on two moons in turn: how far each gets in the same time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import micrograd.engine
import micrograd.nn

import fastgrad.engine
import fastgrad.nn
from fastgrad.commands.demo import ALPHA, moons

__all__ = ["Runner", "race"]


class Runner:
    """A network of one library and its training, as in micrograd's notebook; the rate falls from 1 to 0.1."""

    def __init__(
        self, name: str, value: Any, mlp: Any, seed: int, X: Sequence[Sequence[float]], y: Sequence[float]
    ) -> None:
        random.seed(seed)
        self.name = name
        self.value = value
        self.model = mlp(2, [16, 16, 1])
        self.X = X
        self.y = y
        self.steps = 0
        self.loss = 0.0

    def step(self) -> None:
        """Take a full-batch step."""
        scores = [self.model([self.value(float(number)) for number in row]) for row in self.X]
        losses = [(1 + -float(target) * score).relu() for target, score in zip(self.y, scores, strict=True)]
        parameters = self.model.parameters()
        loss = sum(losses) * (1.0 / len(losses)) + ALPHA * sum(p * p for p in parameters)
        self.model.zero_grad()
        loss.backward()
        rate = max(0.1, 1.0 - 0.9 * self.steps / 100)
        for p in parameters:
            p.data -= rate * p.grad
        self.steps += 1
        self.loss = loss.data

    def __str__(self) -> str:
        return f"{self.name}: step {self.steps:,}, loss {self.loss:.4f}"


def race(seconds: float, seed: int, clock: Callable[[], float] = time.perf_counter) -> None:
    """Train with both in turn for some seconds, and print the losses after every step of micrograd.

    After each step of micrograd, fastgrad gets as much time as it took. Both begin with the same weights and
    the same points. Ctrl-C ends the race.
    """
    X, y = moons(seed)
    slow = Runner("micrograd", micrograd.engine.Value, micrograd.nn.MLP, seed, X, y)
    fast = Runner("fastgrad", fastgrad.engine.Value, fastgrad.nn.MLP, seed, X, y)
    end = clock() + seconds
    try:
        while clock() < end:
            start = clock()
            slow.step()
            middle = clock()
            fast.step()
            while clock() - middle < middle - start:
                fast.step()
            print(f"{slow}    {fast}", flush=True)
    except KeyboardInterrupt:
        pass
    if slow.steps:
        print(f"in the same time, fastgrad took {fast.steps / slow.steps:,.0f} times as many steps")
