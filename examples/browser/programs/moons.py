"""A network learns to tell two half moons apart, and is watched.

At the end, all steps are on one page, with a slider.
"""

import math
import random

from fastgrad import nn, viz

STEPS = 100

random.seed(1337)
X, y = [], []
for k in range(100):
    t = math.pi * random.random()
    upper = k % 2 == 0
    a, b = math.cos(t), math.sin(t)
    point = (a, b) if upper else (1 - a, 0.5 - b)
    X.append([x + random.gauss(0, 0.1) for x in point])
    y.append(-1 if upper else 1)

model = nn.MLP(2, [16, 16, 1])
parameters = model.parameters()
film = viz.watch(model, X, y, live=True)
for step in range(STEPS):
    losses = [(1 - t * model(x)).relu() for x, t in zip(X, y)]
    loss = sum(losses) / len(losses)
    loss += 1e-4 * sum(p * p for p in parameters)
    model.zero_grad()
    loss.backward()
    rate = 1.0 - 0.9 * step / STEPS
    for p in parameters:
        p.data -= rate * p.grad
    film.record(loss)

film
