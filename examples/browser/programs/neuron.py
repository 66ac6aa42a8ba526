"""A neuron of two inputs learns to say 1: ten steps down the slope of its loss."""

import random

from fastgrad import nn, viz

random.seed(3)
neuron = nn.Neuron(2, activation="tanh")
for step in range(10):
    loss = (neuron([2.0, -1.0]) - 1.0) ** 2
    neuron.zero_grad()
    loss.backward()
    for p in neuron.parameters():
        p.data -= 0.1 * p.grad
    print(f"step {step}: loss {loss.data:.4f}")

viz.explore(loss, neuron)
