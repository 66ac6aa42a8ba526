"""Errors of the engine and of compiled programs on random rational graphs, against exact fractions."""

import math
import random
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import numpy

import fastgrad
from evidence.rational_graphs import UNIT, Graph, Truth, build, draw_graph
from fastgrad import Value

# A gradient is well conditioned if the bound of its rounding errors is at most so many of its ulp.
WELL_CONDITIONED = 16


def eager(graph: Graph) -> tuple[float, list[float]]:
    leaves = [Value(leaf) for leaf in graph.leaves]
    root = build(graph, leaves)
    root.backward()
    return root.data, [leaf.grad for leaf in leaves]


def compiled(graph: Graph) -> tuple[float, list[float]]:
    """As a program without rows, whose leaves are parameters."""
    leaves = [Value(leaf) for leaf in graph.leaves]
    value = fastgrad.compile(lambda: build(graph, leaves)).backward()
    return value, [leaf.grad for leaf in leaves]


def over_lanes(graph: Graph) -> tuple[float, list[float]]:
    """As a program over one row, whose leaves are its columns."""
    program = fastgrad.compile(lambda x: build(graph, x))
    row = numpy.array([graph.leaves])
    return program.backward(row), program.input_gradients(row)[0].tolist()


ENGINES: dict[str, Callable] = {"eager": eager, "compiled": compiled, "over lanes": over_lanes}


class Wrong(NamedTuple):
    """A number further from the exact one than rounding may lead."""

    graph: int
    engine: str
    quantity: str
    found: float
    exact: float
    bounds: float


class Tally:
    """Errors of one quantity of one engine."""

    def __init__(self):
        self.count = self.conditioned = self.exact = 0
        self.ulps = self.most_ulps = self.units = self.most_units = self.share = 0.0

    def add(self, found: float, truth: Fraction, bound: float, size: float = 0.0) -> bool:
        """Count a number; return whether it is as near as it must be."""
        self.count += 1
        if not math.isfinite(found):
            return False
        error = abs(Fraction(found) - truth)
        if not error:
            self.exact += 1
        ulp = math.ulp(float(truth))
        if bound <= WELL_CONDITIONED * ulp:
            ulps = float(error / Fraction(ulp))
            self.conditioned += 1
            self.ulps += ulps
            self.most_ulps = max(self.most_ulps, ulps)
        if error:
            units = float(error) / (2 * UNIT * size) if size else 0.0
            self.units += units
            self.most_units = max(self.most_units, units)
            self.share = max(self.share, float(error) / bound if bound else math.inf)
        # What the bounds themselves lose by being computed in doubles is far less than a thousandth.
        return float(error) <= bound * 1.001

    def __str__(self):
        contributions = (
            f"ulp of the sum of absolute contributions: max {self.most_units:.2f}, "
            f"mean {self.units / max(self.count, 1):.3f}; "
        )
        return (
            f"ulp where well conditioned ({self.conditioned} of {self.count}): max {self.most_ulps:.2f}, "
            f"mean {self.ulps / max(self.conditioned, 1):.3f}; "
            f"{contributions if self.most_units else ''}"
            f"exact {100 * self.exact / max(self.count, 1):.0f} %; "
            f"at most {100 * self.share:.0f} % of the bound"
        )


def check(first: int, last: int, engines=ENGINES) -> tuple[dict[tuple[str, str], Tally], list[Wrong]]:
    """Check graphs `first` to `last - 1`, each made from its number alone, with every engine."""
    tallies = {(engine, quantity): Tally() for engine in engines for quantity in ("value", "gradient")}
    wrong = []
    for number in range(first, last):
        graph, truth = draw_graph(random.Random(number))
        for name, engine in engines.items():
            wrong += compared(number, name, engine(graph), truth, tallies)
    return tallies, wrong


def compared(number: int, name: str, found, truth: Truth, tallies) -> list[Wrong]:
    value, gradients = found
    wrong = []
    if not tallies[name, "value"].add(value, truth.value, truth.value_bound):
        wrong.append(Wrong(number, name, "value", value, float(truth.value), truth.value_bound))
    for at, (gradient, *expected) in enumerate(
        zip(gradients, truth.gradients, truth.bounds, truth.sizes, strict=True)
    ):
        if not tallies[name, "gradient"].add(gradient, *expected):
            wrong.append(Wrong(number, name, f"gradient {at}", gradient, *map(float, expected[:2])))
    return wrong
