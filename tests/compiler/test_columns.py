"""Columns of arrays and outputs: eight side by side are moved together; any number gives the same."""

import os
import subprocess
import sys

import numpy as np
import pytest

from fastgrad import compile
from fastgrad.compiler.replay import available_kernels

RNG = np.random.default_rng(3)
ROWS = (1, 3, 4, 7, 8, 9, 31, 300)
COLUMNS = (1, 2, 3, 4, 5, 7, 8, 9, 11, 17)


def weighed(columns):
    """A program whose outputs, and derivatives, differ by column."""

    def function(x):
        return [(k + 2) * x[k] * x[k] for k in range(columns)]

    return compile(function), lambda x: (np.arange(columns) + 2) * x * x


@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("rows", ROWS)
def test_every_column_is_loaded_and_every_output_stored(rows, columns):
    program, expected = weighed(columns)
    x = RNG.normal(size=(rows, columns))
    assert np.array_equal(program(x), expected(x))


LAYOUTS = {
    "by columns": np.asfortranarray,
    "every second row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "every second column": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "backwards": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "whole numbers": lambda x: np.rint(10 * x).astype(np.int64),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("columns", [3, 8, 11])
def test_an_array_may_lie_in_memory_in_any_way(layout, columns):
    program, expected = weighed(columns)
    x = LAYOUTS[layout](RNG.normal(size=(37, columns)))
    assert np.array_equal(program(x), expected(x.astype(float)))


def test_nothing_beyond_the_columns_is_read_or_written():
    columns, rows = 11, 37
    program, expected = weighed(columns)
    inside = np.full((rows + 2, columns + 2), np.nan)
    inside[1:-1, 1:-1] = RNG.normal(size=(rows, columns))
    x = inside[1:-1, 1:-1]
    assert np.array_equal(program(x), expected(x))
    out = np.full((rows + 2, columns, columns + 2), 7.0)
    program.jacobian(x, out=out[1:-1, :, 1:-1])
    beside = [out[0], out[-1], out[:, :, 0], out[:, :, -1]]
    assert all((part == 7.0).all() for part in beside)
    diagonal = 2 * (np.arange(columns) + 2) * x
    assert np.array_equal(out[1:-1, :, 1:-1], diagonal[:, None, :] * np.eye(columns))


@pytest.mark.parametrize("columns", COLUMNS)
def test_every_columns_gradient_is_stored(columns):
    program = compile(lambda x: sum((k + 2) * a * a for k, a in enumerate(x)))
    x = RNG.normal(size=(37, columns))
    gradient = program.input_gradients(x)
    assert np.allclose(gradient, 2 * (np.arange(columns) + 2) * x, rtol=1e-15, atol=0)


def test_columns_that_nobody_reads_have_no_gradient():
    program = compile(lambda x: x[1] * x[2] * x[9])
    gradient = program.input_gradients(RNG.normal(size=(37, 12)))
    assert not gradient[:, [0, 3, 4, 5, 6, 7, 8, 10, 11]].any()
    assert gradient[:, [1, 2, 9]].all()


def test_outputs_may_be_numbers_columns_and_the_same_twice():
    def function(x):
        y = x[0] * x[1]
        return [y, 1.5, x[2], y, x[0], y + 1.0, x[1], 2.5, x[2], y]

    x = RNG.normal(size=(37, 3))
    a, b, c = x.T
    one = np.ones(37)
    y = a * b
    expected = np.stack([y, 1.5 * one, c, y, a, y + 1.0, b, 2.5 * one, c, y], 1)
    assert np.array_equal(compile(function)(x), expected)


@pytest.mark.parametrize("divisor", [2.0, -3.0, 1e-100, 1e100])
def test_both_derivatives_of_a_quotient(divisor):
    """Both operands are the same: the gradients of x / x cancel."""
    program = compile(lambda a, b: a / b)
    a, b = RNG.normal(size=37), divisor * np.linspace(1.0, 2.0, 37)
    by_a, by_b = program.input_gradients(a, b)
    assert np.array_equal(by_a, 1.0 / b)
    assert np.array_equal(by_b, -a * (1.0 / b) * (1.0 / b))
    itself = compile(lambda x: x / x).input_gradients(b[:5])
    assert np.allclose(itself * b[:5], 0.0, atol=1e-15)


@pytest.mark.parametrize("kernels", available_kernels())
def test_with_the_kernels_of_each_instruction_set(kernels):
    if os.environ.get("FASTGRAD_COLUMNS"):
        pytest.skip("this is the run with other kernels")
    environment = {**os.environ, "FASTGRAD_KERNELS": kernels, "FASTGRAD_COLUMNS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
