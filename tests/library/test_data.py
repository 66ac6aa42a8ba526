"""Mini-batches: what is in them, in which order, and what is refused."""

import random

import numpy as np
import pytest

from fastgrad.data import batches


@pytest.mark.parametrize(("size", "lengths"), [(1, [1] * 5), (2, [2, 2, 1]), (5, [5]), (9, [5])])
def test_every_row_comes_once_and_the_last_batch_may_be_shorter(size, lengths):
    found = list(batches("abcde", range(5), size))
    assert [len(x) for x, _ in found] == lengths
    assert [pair for x, y in found for pair in zip(x, y, strict=True)] == list(
        zip("abcde", range(5), strict=True)
    )


def test_no_rows_give_no_batches():
    assert list(batches([], [], 3)) == []


def test_shuffling_keeps_pairs_together():
    pairs = [
        pair for x, y in batches(range(50), range(50), 7, shuffle=True) for pair in zip(x, y, strict=True)
    ]
    assert sorted(pairs) == [(i, i) for i in range(50)]
    assert all(a == b for a, b in pairs)


@pytest.mark.parametrize("make", [random.Random, np.random.default_rng])
def test_a_generators_seed_fixes_the_order(make):
    first, again, other = (list(batches(range(50), range(50), 50, True, make(seed))) for seed in (1, 1, 2))
    assert first == again != other


def test_without_a_generator_random_seed_fixes_the_order():
    orders = []
    for _ in range(2):
        random.seed(7)
        orders.append(list(batches(range(50), range(50), 50, shuffle=True)))
    assert orders[0] == orders[1]
    assert orders[0] != list(batches(range(50), range(50), 50))


def test_arrays_give_arrays():
    X, y = np.arange(12.0).reshape(6, 2), np.arange(6)
    x, labels = next(batches(X, y, 4))
    assert isinstance(x, np.ndarray)
    assert x.shape == (4, 2)
    assert labels.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(([1, 2], [1], 1), "X has 2 rows and y has 1"), (([1], [1], 0), "batch_size must be at least 1, not 0")],
)
def test_wrong_sizes_are_refused_at_the_call(arguments, message):
    with pytest.raises(ValueError, match=message):
        batches(*arguments)


@pytest.mark.parametrize("size", [1.5, 2.0, "2", None], ids=repr)
def test_a_batch_size_that_is_no_integer_raises_type_error_at_the_call(size):
    with pytest.raises(TypeError, match=f"batch_size must be an integer, not {size!r}"):
        batches([1, 2], [1, 2], size)
