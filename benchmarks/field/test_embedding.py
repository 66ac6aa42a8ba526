"""A table of 100,000 rows of 8: the gradient of a batch of 1,024 looked up in it."""

import numpy

from benchmarks.case import Case, one_step, test_agreement, test_speed  # noqa: F401
from benchmarks.field.data import SEED
from benchmarks.field.programs import flat

ENTRIES, COLUMNS, BATCH = 100_000, 8, 1024


def problem():
    """The table, the indices of a batch, and the numbers that each row is to be near."""
    draw = numpy.random.default_rng(SEED)
    table = draw.normal(size=(ENTRIES, COLUMNS))
    return table, draw.integers(0, ENTRIES, size=BATCH), draw.normal(size=(BATCH, COLUMNS))


def on_compiled() -> Case:
    import fastgrad
    from fastgrad import Value, optim, take

    numbers, indices, targets = problem()
    table = [[Value(a) for a in row] for row in numbers.tolist()]
    touched = [p for i in sorted(set(indices.tolist())) for p in table[i]]
    optimizer = optim.SGD(touched, lr=0.1)

    @fastgrad.compile
    def loss(index, target):
        return sum((a - b) ** 2 for a, b in zip(take(table, index), target))

    state = {}

    def step() -> None:
        optimizer.zero_grad()
        state["loss"] = loss.backward(indices, targets)

    return Case({"step": step}, lambda: [state["loss"], *(p.grad for p in touched)])


def on_torch() -> Case:
    import torch

    numbers, indices, targets = problem()
    table = torch.nn.Embedding(
        ENTRIES, COLUMNS, sparse=True, dtype=torch.float64, _weight=torch.tensor(numbers)
    )
    batch, wanted = torch.tensor(indices), torch.tensor(targets)
    state = {}

    def step() -> None:
        table.weight.grad = None
        loss = ((table(batch) - wanted) ** 2).sum(1).mean()
        loss.backward()
        state["loss"] = loss.item()

    def numbers_of() -> list[float]:
        gradient = table.weight.grad.coalesce()
        return [state["loss"], *flat([gradient.values().numpy()])]

    return Case({"step": step}, numbers_of)


WORKLOADS = [
    one_step(
        "embedding",
        f"embedding of {ENTRIES:,} x {COLUMNS}, a batch of {BATCH:,}, gradient",
        {"compiled": on_compiled, "torch": on_torch},
        reference="compiled",
    )
]
