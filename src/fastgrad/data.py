"""Mini-batches of any sequences."""

from __future__ import annotations

import operator
import random
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

__all__ = ["batches"]


class Shuffler(Protocol):
    """An object that shuffles a list: `random.Random`, the `random` module, numpy's generators."""

    def shuffle(self, x: list[int], /) -> Any: ...


def batches(
    X: Sequence[Any],
    y: Sequence[Any],
    batch_size: int,
    shuffle: bool = False,
    generator: Shuffler | None = None,
) -> Iterator[tuple[Any, Any]]:
    """Return an iterator over (rows of X, rows of y), `batch_size` rows at a time; the last may be shorter.

    A numpy array gives arrays, any other sequence lists. With `shuffle` the order is the generator's,
    by default that of the module `random`, which `random.seed` fixes. Raises ValueError if the lengths
    differ or batch_size is less than 1, TypeError if that is no integer.

    >>> list(batches("abcde", range(5), 2))
    [(['a', 'b'], [0, 1]), (['c', 'd'], [2, 3]), (['e'], [4])]
    """
    if len(X) != len(y):
        raise ValueError(f"X has {len(X)} rows and y has {len(y)}")
    try:
        batch_size = operator.index(batch_size)
    except TypeError as error:
        raise TypeError(f"batch_size must be an integer, not {batch_size!r}") from error
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    order = list(range(len(X)))
    if shuffle:
        (random if generator is None else generator).shuffle(order)
    starts = range(0, len(order), batch_size)
    return ((rows(X, order[i : i + batch_size]), rows(y, order[i : i + batch_size])) for i in starts)


def rows(values: Sequence[Any], indices: list[int]) -> Any:
    """Return the rows with these indices."""
    if hasattr(values, "__array__"):
        return values[indices]  # type: ignore[call-overload]
    return [values[index] for index in indices]
