"""A network learns which of two half moons a point belongs to, and is watched; at the end, all its steps."""

import math
import random

from fastgrad import nn, viz

random.seed(1337)
X, y = [], []
for k in range(100):
    t = math.pi * random.random()
    point = (math.cos(t), math.sin(t)) if k % 2 else (1 - math.cos(t), 0.5 - math.sin(t))
    X.append([x + random.gauss(0, 0.1) for x in point])
    y.append(-1 if k % 2 else 1)

model = nn.MLP(2, [16, 16, 1])
film = viz.watch(model, X, y, live=True)
for step in range(100):
    losses = [(1 - target * model(x)).relu() for x, target in zip(X, y)]
    loss = sum(losses) / len(losses) + 1e-4 * sum(p * p for p in model.parameters())
    model.zero_grad()
    loss.backward()
    for p in model.parameters():
        p.data -= (1.0 - 0.9 * step / 100) * p.grad
    film.record(loss)

film
