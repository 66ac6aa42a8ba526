"""Run each workload twice, print a digest of its bits; argv[1] shifts addresses, argv[2] counts threads."""

import hashlib
import math
import random
import struct
import sys
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import fastgrad
import fastgrad.functional as F
from evidence.rational_graphs import build, draw_graph
from fastgrad import Value, optim
from fastgrad.nn import MLP

THREADS = int(sys.argv[2])


def moons(count):
    """Two half circles with noise, and labels -1 and 1."""
    draw = random.Random(2)
    rows, labels = [], []
    for index in range(count):
        angle, label = draw.uniform(0, math.pi), index % 2
        x = [math.cos(angle), math.sin(angle)] if label else [1 - math.cos(angle), 0.5 - math.sin(angle)]
        rows.append([part + draw.gauss(0, 0.1) for part in x])
        labels.append(2.0 * label - 1.0)
    return rows, labels


def numbers_of(parameters):
    return [number for p in parameters for number in (p.data, p.grad)]


def loss_of(model, rows, labels):
    scores = [model(row) for row in rows]
    losses = [(1 + -label * score).relu() for label, score in zip(labels, scores, strict=True)]
    return sum(losses) * (1.0 / len(losses)) + 1e-4 * sum(p * p for p in model.parameters())


def train_on_moons():
    random.seed(1)
    model, data = MLP(2, [8, 8, 1]), moons(30)
    for _ in range(5):
        model.zero_grad()
        loss = loss_of(model, *data)
        loss.backward()
        yield loss.data
        for p in model.parameters():
            p.data -= 0.5 * p.grad
    yield from numbers_of(model.parameters())


def inspected_training():
    """Looking at the graph replaces fused nodes, whose `_prev` are sets."""
    random.seed(1)
    model, data = MLP(2, [4, 1]), moons(6)
    loss = loss_of(model, *data)
    seen, waiting = set(), [loss]
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting.extend(node._prev)
    loss.backward()
    yield from numbers_of(model.parameters())
    yield math.fsum(node.grad for node in seen)


def train_gpt():
    """One head of attention over five tokens, written out in Values."""
    draw = random.Random(3)

    def matrix(rows, columns):
        return [[Value(draw.gauss(0, 0.3)) for _ in range(columns)] for _ in range(rows)]

    def linear(weight, x):
        return [sum(w * xi for w, xi in zip(row, x, strict=True)) for row in weight]

    tokens, query, key, value, logits = (matrix(6, 4), *(matrix(4, 4) for _ in range(3)), matrix(6, 4))
    parameters = [p for weights in (tokens, query, key, value, logits) for row in weights for p in row]
    optimizer = optim.Adam(parameters, lr=0.05)
    text = [0, 3, 1, 4, 1, 5]
    for _ in range(3):
        keys, values, losses = [], [], []
        for token, target in pairwise(text):
            x = F.rms_norm(tokens[token])
            q = linear(query, x)
            keys.append(linear(key, x))
            values.append(linear(value, x))
            exponentials = [(sum(a * b for a, b in zip(q, k, strict=True)) * 0.5).exp() for k in keys]
            total = sum(exponentials)
            mixed = [
                sum(e / total * v[i] for e, v in zip(exponentials, values, strict=True)) for i in range(4)
            ]
            losses.append(
                F.cross_entropy(linear(logits, [a + b for a, b in zip(x, mixed, strict=True)]), target)
            )
        loss = F.mean(losses)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.data
    yield from numbers_of(parameters)


def random_graphs(prepare=lambda root: None):
    for number in range(60):
        graph, _ = draw_graph(random.Random(number))
        leaves = [Value(leaf) for leaf in graph.leaves]
        root = build(graph, leaves)
        prepare(root)
        root.backward()
        yield root.data
        yield from numbers_of(leaves)


def random_graphs_depth_first():
    """A graph whose root has a rule of its own is ordered by depth-first search."""
    yield from random_graphs(lambda root: setattr(root, "_backward", root._backward))


def compiled_training():
    random.seed(1)
    model = MLP(2, [16, 16, 1])
    rows, labels = moons(1000)
    loss = fastgrad.compile(lambda x, y: (1 - y * model(x)).relu() + 1e-4 * F.l2(model.parameters()))
    for _ in range(3):
        model.zero_grad()
        yield loss.backward(rows, labels, threads=THREADS)
        for p in model.parameters():
            p.data -= 0.5 * p.grad
    yield from numbers_of(model.parameters())
    for row in loss.input_gradients(rows, labels, threads=THREADS)[0]:
        yield from row


def optimized(make):
    def train():
        random.seed(4)
        model, data = MLP(2, [4, 1]), moons(8)
        optimizer = make(model.parameters())
        schedule = optim.ExponentialLR(optimizer, 0.9)
        for _ in range(4):
            optimizer.zero_grad()
            loss_of(model, *data).backward()
            yield optim.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            schedule.step()
        yield from numbers_of(model.parameters())

    return train


WORKLOADS = {
    "moons": train_on_moons,
    "inspected": inspected_training,
    "gpt": train_gpt,
    "random graphs": random_graphs,
    "random graphs depth first": random_graphs_depth_first,
    "compiled": compiled_training,
    "SGD": optimized(lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True)),
    "Adam": optimized(lambda p: optim.Adam(p, lr=0.1)),
    "AdamW": optimized(lambda p: optim.AdamW(p, lr=0.1, weight_decay=0.1)),
}


def digest(workload):
    numbers = list(workload())
    return len(numbers), hashlib.sha256(struct.pack(f"<{len(numbers)}d", *numbers)).hexdigest()


ballast = [Value(float(index)) for index in range(int(sys.argv[1]))]
for name, workload in WORKLOADS.items():
    first = digest(workload)
    ballast += [object() for _ in range(int(sys.argv[1]))]
    assert digest(workload) == first, f"{name} differs in the second run"
    print(name, *first)
