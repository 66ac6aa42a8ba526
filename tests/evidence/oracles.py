"""Every implementation that fastgrad is compared with, behind one function each.

micrograd decides wherever it has the operation. Elsewhere Python's `math` and floats decide values and
exceptions, PyTorch decides gradients, and mpmath both for ordinary numbers.
"""

import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import micrograd.engine
import numpy

import fastgrad
from evidence import duals
from fastgrad.operations import Operation

GRID = (
    *(0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 3.0, -2.5, 700.0, 1000.0),
    *(math.inf, -math.inf, math.nan),
    *(5e-324, -5e-324, 1e-310, 1e308, 1e200, -1e200),
)
ORDINARY = (0.5, 1.0, 2.0, 3.0, -1.0, -2.5, 7.25, -0.125)

IN_MICROGRAD = ("relu", "add", "sub", "mul", "div")


class Outcome(NamedTuple):
    """The value of an operation and the gradients of those operands that have one."""

    value: float
    gradients: tuple[float | None, ...]


Result = Outcome | type[Exception]


class Kind(NamedTuple):
    """A kind of operand: it makes one of a float, and raises ValueError if that changes the number."""

    name: str
    write: Callable[[float], Any]


def exactly(convert, number: float):
    with numpy.errstate(all="ignore"):
        written = convert(number)
        back = float(written)
    if repr(back) != repr(number):
        raise ValueError(f"{number} cannot be written as this kind")
    return written


def small_integer(convert):
    def write(number: float):
        if not abs(number) < 2**53:
            raise ValueError(f"{number} is no small integer")
        return exactly(lambda x: convert(int(x)), number)

    return write


def integer(number: float) -> int:
    if not math.isfinite(number):
        raise ValueError(f"{number} is no integer")
    return exactly(int, number)


VALUE = Kind("Value", fastgrad.Value)
NUMBERS = (
    Kind("float", float),
    Kind("int", integer),
    Kind("bool", lambda number: exactly(bool, number)),
    Kind("numpy.float64", numpy.float64),
    Kind("numpy.float32", lambda number: exactly(numpy.float32, number)),
    Kind("numpy.int64", small_integer(numpy.int64)),
    Kind("numpy.bool", lambda number: exactly(numpy.bool_, number)),
)


def writable(kind: Kind, numbers=GRID) -> list[float]:
    """Those of the numbers that the kind of operand can stand for."""
    kept = []
    for number in numbers:
        try:
            kind.write(number)
        except (ValueError, OverflowError):
            continue
        kept.append(number)
    return kept


def apply(operation: Operation, *operands):
    """The operation as its user writes it: an operator, a built-in function or a method."""
    if operation.method.startswith("__"):
        return getattr(operator, operation.method)(*operands)
    if operation.operands == 2 and not isinstance(operands[0], fastgrad.Value):
        return fastgrad.engine.apply(operation.name, *operands)
    return getattr(operands[0], operation.method)(*operands[1:])


def outcome(operation: Operation, *operands) -> Result:
    """The outcome of an operation, backward included, in a library with micrograd's interface."""
    try:
        result = apply(operation, *operands)
    except (ArithmeticError, ValueError) as error:
        return type(error)
    result.backward()
    return Outcome(result.data, tuple(getattr(operand, "grad", None) for operand in operands))


def is_complex_power(operation: Operation, numbers: tuple[float, ...]) -> bool:
    """Whether Python's power is complex, or overflows on its way there; fastgrad raises ValueError there."""
    if operation.name != "pow":
        return False
    base, exponent = numbers
    return math.isfinite(base) and base < 0.0 and math.isfinite(exponent) and exponent != math.floor(exponent)


class BackwardError(Exception):
    """micrograd computed the value, but its own backward() raised."""


def micrograd_outcome(operation: Operation, numbers: tuple[float, ...], differentiable: tuple[bool, ...]):
    """micrograd's outcome, with a Value for each differentiable operand and a float for the others."""
    operands = [
        micrograd.engine.Value(number) if wanted else number
        for number, wanted in zip(numbers, differentiable, strict=True)
    ]
    try:
        result = apply(operation, *operands)
    except (ArithmeticError, ValueError) as error:
        return ValueError if is_complex_power(operation, numbers) else type(error)
    if isinstance(result.data, complex):
        return ValueError
    try:
        result.backward()
    except ArithmeticError as error:
        raise BackwardError(type(error).__name__) from error
    return Outcome(result.data, tuple(getattr(operand, "grad", None) for operand in operands))


def torch_outcome(torch, operation: Operation, numbers: tuple[float, ...], differentiable: tuple[bool, ...]):
    """PyTorch's outcome in double precision, from its function of the operation's name; it never raises."""
    operands = [
        torch.tensor(number, dtype=torch.float64, requires_grad=wanted)
        for number, wanted in zip(numbers, differentiable, strict=True)
    ]
    result = getattr(torch, operation.name)(*operands)
    result.backward()
    return Outcome(
        result.item(), tuple(operand.grad.item() if operand.requires_grad else None for operand in operands)
    )


def exact_outcome(operation: Operation, numbers: tuple[float, ...]) -> Outcome:
    """The exact value and partial derivatives, rounded once."""
    exact = duals.exact(operation, numbers)
    return Outcome(float(exact.value), tuple(map(float, exact.partials)))


def in_reverse_order(root):
    """Every node once, each after all nodes computed from it, as micrograd's lectures sort them."""
    order, visited = [], set()

    def visit(node):
        if node not in visited:
            visited.add(node)
            for child in node._prev:
                visit(child)
            order.append(node)

    visit(root)
    return reversed(order)


def same(left: float, right: float) -> bool:
    """The same bits, but any nan equals any other."""
    return repr(float(left)) == repr(float(right))


def within_ulps(left: float, right: float, ulps: int) -> bool:
    if not (math.isfinite(left) and math.isfinite(right)):
        return same(left, right)
    return abs(left - right) <= ulps * math.ulp(max(abs(left), abs(right)))


def close(left: float | None, right: float | None, relative: float = 1e-12) -> bool:
    """Equal to 1e-12 relative, or the same special value; among subnormals, to a few of their steps."""
    if left is None or right is None:
        return left is right
    if not (math.isfinite(left) and math.isfinite(right)):
        return same(left, right)
    return math.isclose(left, right, rel_tol=relative, abs_tol=16 * 5e-324)
