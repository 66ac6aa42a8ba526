"""Comparing the variables of the two worlds. The reference then takes over numbers that are near enough.

Otherwise rounding errors would grow from line to line. So every line is compared on its own: `data` to the
bit where the docs promise bits, everything else to 1e-12.
"""

import gc
import math
from typing import Any
from weakref import WeakValueDictionary

import numpy

import fastgrad
import reference
from reference.compiling import Approximate

TOLERANCE = 1e-12
# A few of the smallest steps between floats: near 0 a relative error means nothing.
SMALLEST = 16 * 5e-324


class DifferenceError(AssertionError):
    """The engine and the reference disagree."""

    line: int | None = None


def same_bits(left, right):
    """The same number, signed zeros told apart; any nan equals any other."""
    if left == right:
        return left != 0.0 or math.copysign(1.0, left) == math.copysign(1.0, right)
    return left != left and right != right


def near(left, right, error):
    """Whether the numbers agree to the error; if it is not finite, overflow depends on the order of sums."""
    return same_bits(left, right) or not abs(left - right) > error + SMALLEST or not math.isfinite(error)


def parameters_of(model):
    """The parameters, or why there are none: a program may put anything into a model."""
    try:
        return model.parameters()
    except Exception as error:
        return type(error).__name__


class Comparison:
    """Remembers which node of the engine is which node of the reference, without keeping them alive."""

    def __init__(self):
        self.by_address: WeakValueDictionary[int, reference.Value] = WeakValueDictionary()

    def outcomes(self, engine: tuple[str, str] | None, other: tuple[str, str] | None):
        """Both succeeded, or both raised the same type, and the engine says what the reference says."""
        if engine is None or other is None:
            same = engine is other
        else:
            same = engine[0] == other[0] and other[1] in engine[1].replace("fastgrad.engine.Value", "Value")
            # A loop's step is read, and may be refused, when it is traced: before what follows it is reached.
            same = same or (engine[0] == "TracingError" and reference.value.has_loop)
        if not same:
            raise DifferenceError(f"engine: {engine}, but reference: {other}")

    def objects(self, engine: Any, other: Any, where: str):
        """Compare two objects of any kind, recursively."""
        if isinstance(other, reference.Value):
            self.nodes(engine, other, where)
        elif isinstance(other, Approximate):
            if not near(float(engine), other.number, other.error):
                raise DifferenceError(
                    f"{where}: {engine!r}, but reference {other.number!r} +- {other.error!r}"
                )
        elif isinstance(other, float):
            if type(engine) is not type(other) or not same_bits(engine, other):
                raise DifferenceError(f"{where}: {engine!r}, but reference {other!r}")
        elif isinstance(other, (list, tuple)):
            self.sequences(engine, other, where)
        elif isinstance(other, dict):
            if list(engine) != list(other):
                raise DifferenceError(f"{where}: keys {list(engine)}, but reference {list(other)}")
            for key in other:
                self.objects(engine[key], other[key], f"{where}[{key!r}]")
        elif isinstance(other, (set, frozenset)):
            if len(engine) != len(other):
                raise DifferenceError(f"{where}: {len(engine)} elements, but reference {len(other)}")
        elif isinstance(other, reference.nn.Module):
            self.objects(parameters_of(engine), parameters_of(other), f"{where}.parameters()")
        elif isinstance(other, reference.optim.Optimizer):
            parameters = [each for group in engine.param_groups for each in group["params"]]
            self.sequences(parameters, other.parameters, f"{where}.parameters")
        elif isinstance(other, (str, int, type(None))) and (
            type(engine) is not type(other) or engine != other
        ):
            raise DifferenceError(f"{where}: {engine!r}, but reference {other!r}")

    def sequences(self, engine, other, where):
        if isinstance(engine, numpy.ndarray):
            engine = engine.tolist()
        if not isinstance(engine, (list, tuple)) or len(engine) != len(other):
            raise DifferenceError(f"{where}: {engine!r}, but reference {other!r}")
        for index, (left, right) in enumerate(zip(engine, other, strict=True)):
            self.objects(left, right, f"{where}[{index}]")

    def nodes(self, engine, other, where):
        if not isinstance(engine, fastgrad.Value):
            raise DifferenceError(f"{where}: {engine!r}, but reference has a Value")
        if other.twin is None:
            self.pair(engine, other, where)
        elif other.twin != id(engine):
            raise DifferenceError(f"{where}: another node than before")
        # Almost always equal; what follows is then not worth a call.
        if not (engine.data == other._data != 0.0 and engine.grad == other._grad != 0.0):
            self.field("data", engine, other, other.data_bound, where)
            self.field("grad", engine, other, other.grad_bound, where)
        # What is added to a gradient from now on rounds with it.
        other.data_bound, other.grad_bound = 0.0, abs(other._grad)

    def pair(self, engine, other, where):
        """See a node for the first time."""
        known = self.by_address.get(id(engine))
        if known is not None:
            del known
            gc.collect()
            known = self.by_address.get(id(engine))
            if known is not None and known is not other:
                raise DifferenceError(f"{where}: one node of the engine is two of the reference: {known!r}")
        other.twin = id(engine)
        self.by_address[id(engine)] = other
        if (type(engine) is fastgrad.Value) != (type(other) is reference.Value):
            raise DifferenceError(f"{where}: {type(engine)}, but reference {type(other)}")
        self.objects(engine.label, other.label, f"{where}.label")
        self.objects(engine._op, other._op, f"{where}._op")

    def field(self, name, engine, other, bound, where):
        number, expected = getattr(engine, name), getattr(other, f"_{name}")
        if not same_bits(number, expected):
            # A bound of 0 is one of no rounding, or for a gradient one that underflowed.
            if (bound == 0.0 and name == "data") or not near(number, expected, TOLERANCE * bound):
                raise DifferenceError(f"{where}.{name}: {number!r}, but reference {expected!r}")
            setattr(other, f"_{name}", number)

    def variables(self, engine: dict[str, Any], other: dict[str, Any]):
        """Compare all variables of a program."""
        if engine.keys() != other.keys():
            raise DifferenceError(
                f"variables: {sorted(engine.keys() ^ other.keys())} exist in one world only"
            )
        for name, value in other.items():
            self.objects(engine[name], value, name)

    def graphs(self, engine: dict[str, Any], other: dict[str, Any]):
        """Look at everything below the variables that are nodes."""
        todo = [
            (engine[name], value, name) for name, value in other.items() if isinstance(value, reference.Value)
        ]
        seen = set()
        while todo and len(seen) < 400:
            left, right, where = todo.pop()
            self.nodes(left, right, where)
            if id(right) in seen:
                continue
            seen.add(id(right))
            self.objects(left._op, right._op, f"{where}._op")
            self.objects(left.label, right.label, f"{where}.label")
            mine, theirs = left._children, right._children
            self.sequences(mine, theirs, f"{where}._children")
            todo += [
                (child, expected, f"{where}._children[{index}]")
                for index, (child, expected) in enumerate(zip(mine, theirs, strict=True))
            ]
