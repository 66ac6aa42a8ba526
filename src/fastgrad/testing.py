"""Tests of derivatives against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, SupportsFloat

from fastgrad.compiler.compiled import Compiled
from fastgrad.engine import Value, _graph_order

__all__ = ["GradcheckError", "gradcheck"]


class GradcheckError(RuntimeError):
    """A derivative that backward() gives differs from the one that finite differences give."""


def gradcheck(
    function: Callable[..., Value | Sequence[Value]],
    inputs: Sequence[Value | SupportsFloat] | Value,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Return whether the derivatives of `function(*inputs)` are right: True, or GradcheckError.

    Each input is moved by eps up and down, and the central difference of each output is compared with
    the gradient that backward() gives: |analytic - numeric| <= atol + rtol * |numeric|, with the tolerances
    of torch.autograd.gradcheck for float64. With `raise_exception=False` the result is False if a
    derivative is wrong. Values and gradients are left as they were. Raises TypeError if the function
    returns anything but Values, ValueError if it returns an empty list.

    >>> gradcheck(lambda a, b: (a * b).tanh() + a**3, (0.3, -1.2))
    True
    """
    if isinstance(function, Compiled):
        raise TypeError(
            f"{function.name} is compiled, and takes numbers: gradcheck needs the function of Values, "
            f"which is {function.name}.function"
        )
    given = [inputs] if isinstance(inputs, Value) else list(inputs)
    values = [item if isinstance(item, Value) else Value(item) for item in given]

    def outputs() -> list[Value]:
        result = function(*values)
        listed = list(result) if isinstance(result, Iterable) else [result]
        for item in listed:
            if not isinstance(item, Value):
                raise TypeError(
                    f"the function must return a Value or a sequence of them, but returned {result!r}"
                )
        if not listed:
            raise ValueError("the function returned no Values")
        return listed

    analytic = [gradients(output, values) for output in outputs()]
    for number, value in enumerate(values):
        numeric = central_differences(outputs, value, eps)
        for place, (row, expected) in enumerate(zip(analytic, numeric, strict=True)):
            if abs(row[number] - expected) <= atol + rtol * abs(expected):
                continue
            if not raise_exception:
                return False
            name = value.label or f"input {number}"
            raise GradcheckError(
                f"the derivative of output {place} by {name} (at {value.data!r}) is wrong: "
                f"analytic {row[number]!r}, numeric {expected!r}"
            )
    return True


def gradients(output: Value, inputs: Iterable[Value]) -> list[float]:
    """Return d output / d input for each input, leaving the gradients of the graph as they were."""
    with kept_gradients(output, inputs):
        output.backward()
        return [value.grad for value in inputs]


@contextmanager
def kept_gradients(output: Value, inputs: Iterable[Value] = ()) -> Iterator[list[Value]]:
    """Set all gradients of a graph and of some inputs to 0.0, and restore them afterwards.

    Yields the nodes, operands before results.
    """
    order = _graph_order([output])
    nodes = {**dict.fromkeys(order), **dict.fromkeys(inputs)}
    saved = [node.grad for node in nodes]
    for node in nodes:
        node.grad = 0.0
    try:
        yield order
    finally:
        for node, grad in zip(nodes, saved, strict=True):
            node.grad = grad


def central_differences(outputs: Callable[[], list[Value]], value: Any, eps: float) -> list[float]:
    """Return (output(value + eps) - output(value - eps)) / 2 eps for each output."""
    data = value.data
    try:
        value.data = data + eps
        above = [output.data for output in outputs()]
        value.data = data - eps
        below = [output.data for output in outputs()]
    finally:
        value.data = data
    return [(high - low) / (2 * eps) for high, low in zip(above, below, strict=True)]
