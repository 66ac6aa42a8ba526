"""A program of one row on fastgrad, and its counterpart over arrays on jax and torch, as cases."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy

from benchmarks.case import Case


class Rows(NamedTuple):
    """What a program is: a function of one row, the arrays of all rows, and the parameters.

    `scale` multiplies the mean and its gradient: the number of rows makes it a sum.
    """

    function: Callable[..., Any]
    arrays: tuple[Any, ...]
    parameters: list[Any]
    scale: float = 1.0


def on_compiled(make: Callable[[], Rows], **options: int):
    """The mean over the rows, and the gradient by the parameters."""

    def prepare() -> Case:
        import fastgrad

        rows = make()
        program = fastgrad.compile(rows.function, **options)
        state = {}

        def step() -> None:
            for parameter in rows.parameters:
                parameter.grad = 0.0
            state["value"] = program.backward(*rows.arrays)

        def numbers() -> list[float]:
            return [rows.scale * n for n in (state["value"], *(p.grad for p in rows.parameters))]

        return Case({"step": step}, numbers)

    return prepare


def on_compiled_inputs(make: Callable[[], Rows]):
    """The derivatives of every output by every argument, row by row."""

    def prepare() -> Case:
        import fastgrad

        rows = make()
        program = fastgrad.compile(rows.function)
        state = {}

        def step() -> None:
            gradients = program.input_gradients(*rows.arrays)
            state["gradients"] = gradients if isinstance(gradients, tuple) else (gradients,)

        return Case({"step": step}, lambda: flat(state["gradients"]))

    return prepare


def flat(arrays) -> list[float]:
    """All numbers of the arrays, in their order."""
    return numpy.concatenate([numpy.ravel(numpy.asarray(array)) for array in arrays]).tolist()


def on_jax(make: Callable[[], tuple[Callable[..., Any], tuple[Any, ...]]], finish=None):
    """A function under jit; `make` imports jax and returns it with its arguments."""

    def prepare() -> Case:
        import jax

        function, arguments = make()
        compiled = jax.jit(function)
        arguments = jax.tree.map(jax.numpy.asarray, arguments)
        state = {}

        def step() -> None:
            state["result"] = jax.block_until_ready(compiled(*arguments))

        return Case({"step": step}, lambda: flat(jax.tree.leaves(state["result"])))

    return prepare


def on_numpy(function: Callable[..., Any], *arguments: Any):
    """The value and the derivatives written by hand as arrays."""

    def prepare() -> Case:
        state = {}

        def step() -> None:
            state["result"] = function(*arguments)

        return Case({"step": step}, lambda: flat(state["result"]))

    return prepare
