"""Train argv[1] steps after a warm-up; print the growth of resident bytes, nodes and chunks."""

import gc
import os
import random
import sys
from pathlib import Path

from fastgrad import Value
from fastgrad.engine import _pool_statistics
from fastgrad.nn import MLP


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def closure_relu(x):
    """A node with a closure: a cycle in every step."""
    out = Value(max(0.0, x.data), (x,), "mine")

    def _backward():
        x.grad += (out.data > 0) * out.grad

    out._backward = _backward
    return out


def train(model, steps, activation):
    for _ in range(steps):
        x = [random.uniform(-1, 1), random.uniform(-1, 1)]
        loss = activation(model(x) - x[0] * x[1]) ** 2
        model.zero_grad()
        loss.backward()
        for p in model.parameters():
            p.data -= 0.01 * p.grad


def measure():
    gc.collect()
    statistics = _pool_statistics()
    return resident(), statistics["nodes"], statistics["chunks_used"], statistics["irregular"]


random.seed(1)
network = MLP(2, [4, 1])
rule = closure_relu if sys.argv[2] == "closures" else Value.relu
train(network, 1000, rule)
before = measure()
train(network, int(sys.argv[1]), rule)
print(*(now - then for now, then in zip(measure(), before, strict=True)))
