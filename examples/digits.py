"""Handwritten digits: a network of 64 inputs, 32 hidden ReLUs and 10 outputs, a scalar at a time.

scikit-learn's 1,797 pictures of 8 x 8 pixels, a fifth of them kept for the test; cross entropy, AdamW,
mini-batches of 32.

    python examples/digits.py --epochs 10
"""

import argparse
import random
import statistics
import time
from itertools import islice

from progress import Progress
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import fastgrad.functional as F
from fastgrad.data import batches
from fastgrad.nn import MLP
from fastgrad.optim import AdamW, CosineAnnealingLR

BATCH = 32


def accuracy(model, X, y):
    """Return the share of pictures whose largest output is the right digit."""
    hits = 0
    for x, target in zip(X, y, strict=True):
        scores = [score.data for score in model(x)]
        hits += scores.index(max(scores)) == target
    return hits / len(y)


def parse(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=10, help="passes over the pictures (default: 10)")
    parser.add_argument("--batches", type=int, help="stop each pass after so many batches")
    parser.add_argument("--lr", type=float, default=0.01, help="learning rate at the start (default: 0.01)")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the split, the weights, the order (default: 0)"
    )
    return parser.parse_args(arguments)


def main(arguments=None):
    options = parse(arguments)
    random.seed(options.seed)
    pictures, digits = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(
        (pictures / 16.0).tolist(), digits.tolist(), test_size=0.2, random_state=options.seed
    )
    model = MLP(64, [32, 10])
    for p in model.parameters():
        # From -1 .. 1 down to what 64 inputs call for.
        p.data *= 0.2
    rounds = min(options.batches or len(X), -(-len(X) // BATCH))
    steps = options.epochs * rounds
    optimizer = AdamW(model.parameters(), lr=options.lr)
    schedule = CosineAnnealingLR(optimizer, max(1, steps))
    print(f"{len(X)} pictures to learn from, {len(model.parameters())} parameters")

    seconds = []
    with Progress(steps, unit="batch") as progress:
        for _ in range(options.epochs):
            for x, targets in islice(batches(X, y, BATCH, shuffle=True), rounds):
                start = time.perf_counter()
                loss = F.cross_entropy([model(row) for row in x], targets)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                seconds.append(time.perf_counter() - start)
                progress.step(f"loss {loss.data:.4f}")
    print(
        f"accuracy {accuracy(model, X, y):.1%} on these, {accuracy(model, X_test, y_test):.1%} on "
        f"{len(X_test)} others; {statistics.median(seconds) * 1e3:.2f} ms a batch (median)"
    )


if __name__ == "__main__":
    main()
