"""micrograd's demo, step by step: the 100 losses and accuracies printed in its notebook."""

import csv
import random
from pathlib import Path

import pytest

from fastgrad import Value
from fastgrad.nn import MLP

np = pytest.importorskip("numpy")
datasets = pytest.importorskip("sklearn.datasets")

with (Path(__file__).parents[1] / "data" / "moons_demo_losses.csv").open() as file:
    TABLE = [(float(row["loss"]), float(row["accuracy_percent"])) for row in csv.DictReader(file)]


def written_out(model):
    """The same network, operation by operation, from the model's weights."""

    def forward(x):
        for layer in model.layers:
            out = []
            for neuron in layer.neurons:
                act = neuron.b
                for w, xi in zip(neuron.w, x, strict=True):
                    act = act + w * xi
                out.append(act.relu() if neuron.nonlin else act)
            x = out
        return x[0]

    return forward


def losses_and_accuracies(wrap):
    """Train as the notebook does; `wrap` makes the forward function from the model."""
    np.random.seed(1337)
    random.seed(1337)
    X, y = datasets.make_moons(n_samples=100, noise=0.1)
    y = y * 2 - 1
    model = MLP(2, [16, 16, 1])
    forward = wrap(model)
    for k in range(100):
        scores = [forward(list(map(Value, row))) for row in X]
        losses = [(1 + -yi * score).relu() for yi, score in zip(y, scores, strict=True)]
        loss = sum(losses) * (1.0 / len(losses)) + 1e-4 * sum(p * p for p in model.parameters())
        accuracy = [(yi > 0) == (score.data > 0) for yi, score in zip(y, scores, strict=True)]
        yield loss.data, sum(accuracy) / len(accuracy) * 100
        model.zero_grad()
        loss.backward()
        for p in model.parameters():
            p.data -= (1.0 - 0.9 * k / 100) * p.grad


@pytest.mark.parametrize("wrap", [lambda model: model, written_out], ids=["nn", "operation by operation"])
def test_the_demo_reproduces_the_notebooks_table(wrap):
    results = list(losses_and_accuracies(wrap))
    assert len(results) == len(TABLE) == 100
    for (loss, accuracy), (expected_loss, expected_accuracy) in zip(results, TABLE, strict=True):
        assert loss == pytest.approx(expected_loss, rel=1e-12, abs=0)
        assert accuracy == expected_accuracy


def test_a_fused_layer_has_the_bits_of_its_operations():
    random.seed(3)
    model = MLP(3, [5, 4, 2])
    inputs = [random.gauss(0, 1) for _ in range(3)]

    def written_out_outputs(x):
        for layer in model.layers:
            sums = [sum((w * xi for w, xi in zip(n.w, x, strict=True)), n.b) for n in layer.neurons]
            x = [s.relu() if n.nonlin else s for n, s in zip(layer.neurons, sums, strict=True)]
        return [value.data for value in x]

    assert [value.data for value in model(inputs)] == written_out_outputs(inputs)
