"""Where a row of the table is computed: by the engine, once a batch, and over lanes."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy

import fastgrad
from fastgrad import Value
from fastgrad.engine import _reduce as reduce
from fastgrad.engine import apply
from fastgrad.operations import Operation, Reduction

TESTS = Path(__file__).resolve().parents[1]


class Answer(NamedTuple):
    """A value and the gradients of the operands; None for an operand that is a number."""

    value: float
    partials: tuple[float | None, ...]


Answers = list[Answer | type[Exception]]
Numbers = Sequence[tuple[float, ...]]


def applied(row: Operation | Reduction, operands) -> Value:
    return reduce(row.name, operands) if isinstance(row, Reduction) else apply(row.name, *operands)


def eager(row: Operation | Reduction, numbers: Numbers, constant: int | None = None) -> Answers:
    """What the engine gives, or the exception it raises; operand number `constant` is a float."""
    answers: Answers = []
    for point in numbers:
        operands = [number if at == constant else Value(number) for at, number in enumerate(point)]
        try:
            out = applied(row, operands)
        except (ArithmeticError, ValueError) as error:
            answers.append(type(error))
            continue
        out.backward()
        answers.append(Answer(out.data, tuple(getattr(operand, "grad", None) for operand in operands)))
    return answers


def uniform(row: Operation | Reduction, numbers: Numbers) -> Answers:
    """The result of a compiled program for operands that depend on no row."""
    answers: Answers = []
    leaves = [Value(1.0) for _ in numbers[0]]
    program = fastgrad.compile(lambda: applied(row, leaves))
    for point in numbers:
        for leaf, number in zip(leaves, point, strict=True):
            leaf.data, leaf.grad = number, 0.0
        answers.append(Answer(program.backward(), tuple(leaf.grad for leaf in leaves)))
    return answers


def lanes(row: Operation | Reduction, numbers: Numbers) -> Answers:
    """The result of a compiled program over rows, with the kernels that this process has chosen."""
    rows = numpy.array(numbers, dtype=float)
    program = fastgrad.compile(lambda x: applied(row, x))
    values = program(rows)
    gradients = program.input_gradients(rows)
    return [Answer(value, tuple(partials)) for value, partials in zip(values.tolist(), gradients.tolist())]


def lanes_and_uniform(row: Operation, numbers: Numbers, at: int) -> Answers:
    """The same where operand number `at` is the same in all rows: other kernels, and a summed gradient."""
    leaf = Value(1.0)
    others = [index for index in range(row.operands) if index != at]

    def function(x):
        operands = list(x)
        operands.insert(at, leaf)
        return applied(row, operands)

    program = fastgrad.compile(function)
    answers: Answers = []
    for point in numbers:
        leaf.data, leaf.grad = point[at], 0.0
        rows = numpy.array([[point[index] for index in others]])
        value = program.backward(rows)
        partials = program.input_gradients(rows)[0].tolist()
        partials.insert(at, leaf.grad)
        answers.append(Answer(value, tuple(partials)))
    return answers


def lanes_of(kernels: str, work: dict[str, Numbers]) -> dict[str, Answers]:
    """Run `lanes` in another process with the kernels of this name; results by the name of the row."""
    package = str(Path(fastgrad.__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [package, str(TESTS), os.environ.get("PYTHONPATH", "")]))
    finished = subprocess.run(
        [sys.executable, str(TESTS / "scripts" / "lanes.py")],
        input=json.dumps(work),
        env={**os.environ, "FASTGRAD_KERNELS": kernels, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    found = json.loads(finished.stdout)
    return {name: [Answer(value, tuple(partials)) for value, partials in found[name]] for name in work}


def by_size(row: Operation | Reduction, numbers: Numbers, run: Callable) -> Answers:
    """`run` on the points of each number of operands, in their order; reductions have several."""
    answers: Answers = []
    start = 0
    for end in range(1, len(numbers) + 1):
        if end == len(numbers) or len(numbers[end]) != len(numbers[start]):
            answers += run(row, numbers[start:end])
            start = end
    return answers


def finite(number: float | None) -> bool:
    return number is not None and math.isfinite(number)
