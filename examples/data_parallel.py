"""Train the digits classifier on several processes, with gradients summed from the workers.

The compiled program is pickled to the workers once. In each step every worker gets the current parameters,
runs the program over its share of the batch and returns its mean loss and gradients; their sum, weighted by
the shares' sizes, is what one process computes over the whole batch, to 1e-12.

    python examples/data_parallel.py --workers 2 --steps 50

The same runs under mpi4py, where each rank keeps the program, the optimizer and its share of the rows,
and the weighted sum is one reduction (`mpirun -n 4 python train.py`):

    from mpi4py import MPI
    world = MPI.COMM_WORLD
    X, y = X[world.rank :: world.size], y[world.rank :: world.size]
    for _ in range(steps):
        optimizer.zero_grad()
        loss.backward(X, y)
        mine = np.array([p.grad for p in parameters]) * len(y)
        total = np.empty_like(mine)
        world.Allreduce(mine, total)
        for p, grad in zip(parameters, total / world.allreduce(len(y))):
            p.grad = grad
        optimizer.step()
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from dask.distributed import Client, Future, LocalCluster
from sklearn.datasets import load_digits

import fastgrad.functional as F
from fastgrad import Value, compile
from fastgrad.engine import zero_grad
from fastgrad.nn import MLP
from fastgrad.optim import SGD


def classifier(seed: int) -> tuple[MLP, Any]:
    """Return a network of seeded weights and its compiled loss for one image and its digit."""
    random.seed(seed)
    model = MLP(64, [32, 10])
    return model, compile(lambda image, digit: F.cross_entropy(model(image), digit))


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return the images (1797, 64), scaled to 0 .. 1, and their digits (1797,)."""
    images, target = load_digits(return_X_y=True)
    return images / 16.0, target.astype(np.int64)


def gradients(
    loss: Any, weights: np.ndarray, images: np.ndarray, target: np.ndarray
) -> tuple[float, np.ndarray]:
    """Return the sum of the rows' losses and its gradient: what a worker does.

    The worker's own copies of the parameters are in `loss.parameters`, in the order of the sender's.
    """
    parameters = loss.parameters
    for parameter, weight in zip(parameters, weights.tolist(), strict=True):
        parameter.data = weight
    zero_grad(parameters)
    mean = loss.backward(images, target)
    return mean * len(target), np.array([parameter.grad for parameter in parameters]) * len(target)


def train_on_one(steps: int, lr: float, seed: int = 1) -> list[float]:
    """Train in this process and return the losses."""
    images, target = digits()
    model, loss = classifier(seed)
    optimizer = SGD(model.parameters(), lr=lr)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        losses.append(loss.backward(images, target))
        optimizer.step()
    return losses


def train_on_many(client: Client, workers: int, steps: int, lr: float, seed: int = 1) -> list[float]:
    """Train on the cluster's workers and return the losses."""
    images, target = digits()
    _, loss = classifier(seed)
    # Traced here: a lambda is no function that a worker could find by its name.
    loss(images[:1], target[:1])
    parameters: list[Value] = loss.parameters
    optimizer = SGD(parameters, lr=lr)
    program = client.scatter(loss, broadcast=True)
    shares: list[tuple[Future, Future]] = [
        tuple(client.scatter([images[k::workers], target[k::workers]])) for k in range(workers)
    ]
    losses = []
    for _ in range(steps):
        weights = np.array([parameter.data for parameter in parameters])
        parts = client.gather(
            [client.submit(gradients, program, weights, *share, pure=False) for share in shares]
        )
        losses.append(sum(total for total, _ in parts) / len(target))
        for parameter, grad in zip(parameters, sum(part for _, part in parts) / len(target), strict=True):
            parameter.grad = grad
        optimizer.step()
    return losses


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--lr", type=float, default=0.5)
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    alone = train_on_one(options.steps, options.lr)
    print(
        f"one process: loss {alone[-1]:.6f} after {options.steps} steps, {time.perf_counter() - start:.2f} s"
    )
    with (
        LocalCluster(
            n_workers=options.workers, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        start = time.perf_counter()
        together = train_on_many(client, options.workers, options.steps, options.lr)
        seconds = time.perf_counter() - start
    print(f"{options.workers} processes: loss {together[-1]:.6f}, {seconds:.2f} s")
    np.testing.assert_allclose(together, alone, rtol=1e-12)
    print("the losses are equal to 1e-12")


if __name__ == "__main__":
    main()
