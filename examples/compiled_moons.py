"""micrograd's moons with the loss compiled: the loop of the notebook, at the speed of C.

python examples/compiled_moons.py --steps 100
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence

import numpy as np
from sklearn.datasets import make_moons

import fastgrad.functional as F
from fastgrad import compile
from fastgrad.nn import MLP
from fastgrad.optim import SGD, LambdaLR


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--print-program", action="store_true", help="show the instructions")
    options = parser.parse_args(arguments)

    np.random.seed(1337)
    random.seed(1337)
    X, y = make_moons(n_samples=100, noise=0.1)
    y = y * 2 - 1
    model = MLP(2, [16, 16, 1])
    optimizer = SGD(model.parameters(), lr=1.0)
    schedule = LambdaLR(optimizer, lambda epoch: 1.0 - 0.9 * epoch / 100)

    @compile
    def loss(x, target):
        """The loss of ONE point; the mean over the rows is the notebook's loss."""
        return (1 - target * model(x)).relu() + 1e-4 * F.l2(model.parameters())

    score = compile(lambda x: model(x))

    start = time.perf_counter()
    for step in range(options.steps):
        optimizer.zero_grad()
        value = loss.backward(X, y)
        optimizer.step()
        schedule.step()
        if step % 10 == 0:
            print(f"step {step} loss {value}, accuracy {np.mean((score(X) > 0) == (y > 0)):.0%}")
    seconds = time.perf_counter() - start
    print(f"loss {loss(X, y).mean():.6f}, {seconds / options.steps * 1e6:.0f} us a step")
    if options.print_program:
        print(loss)


if __name__ == "__main__":
    main()
