"""A neuron of two inputs learns to say 1, down the slope of its loss."""

import random

from fastgrad import nn, viz

random.seed(3)
neuron = nn.Neuron(2, activation="tanh")


def loss():
    return (neuron([2.0, -1.0]) - 1.0) ** 2


for step in range(10):
    neuron.zero_grad()
    now = loss()
    now.backward()
    for p in neuron.parameters():
        p.data -= 0.1 * p.grad
    print(f"step {step}: loss {now.data:.4f}")

neuron.zero_grad()
viz.explore(loss(), neuron)
