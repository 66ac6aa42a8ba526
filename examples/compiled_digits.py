"""A classifier of scikit-learn's digits, trained on mini-batches with its loss compiled.

python examples/compiled_digits.py --epochs 30 --batch-size 32
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence

import numpy as np
from sklearn.datasets import load_digits

import fastgrad.functional as F
from fastgrad import compile
from fastgrad.data import batches
from fastgrad.nn import MLP
from fastgrad.optim import Adam


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)

    images, digits = load_digits(return_X_y=True)
    images, digits = images / 16.0, digits.astype(np.int64)
    random.seed(42)
    order = list(range(len(images)))
    random.shuffle(order)
    test, train = order[:360], order[360:]
    model = MLP(64, [32, 10])
    optimizer = Adam(model.parameters(), lr=0.003)

    loss = compile(lambda image, digit: F.cross_entropy(model(image), digit), threads=options.threads)
    logits = compile(lambda image: model(image))

    start = time.perf_counter()
    for epoch in range(options.epochs):
        total = 0.0
        for X, y in batches(images[train], digits[train], options.batch_size, shuffle=True):
            optimizer.zero_grad()
            total += loss.backward(X, y) * len(y)
            optimizer.step()
        right = np.mean(logits(images[test]).argmax(axis=1) == digits[test])
        print(f"epoch {epoch} loss {total / len(train):.4f}, test accuracy {right:.1%}")
    print(f"{time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    main()
