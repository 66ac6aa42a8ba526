"""Workload 2: `sum(w * x for w, x in zip(ws, xs))` over 16 pairs, the inside of every neuron."""

import math
from itertools import repeat

from benchmarks.case import Case, Workload, test_agreement, test_speed  # noqa: F401
from benchmarks.scalars import SCALARS

PAIRS = 16
REPEATS = 100
WEIGHTS = [math.sin(3.0 * i) for i in range(PAIRS)]
INPUTS = [math.cos(2.0 * i) for i in range(PAIRS)]


def dot_products(ws, xs) -> None:
    """Make the sum again and again; each graph is freed when the next result is there."""
    for _ in repeat(None, REPEATS):
        sum(w * x for w, x in zip(ws, xs))


def on_scalars(name: str):
    def prepare() -> Case:
        scalars = SCALARS[name]()
        ws = list(map(scalars.leaf, WEIGHTS))
        xs = list(map(scalars.leaf, INPUTS))

        def numbers() -> list[float]:
            scalars.start(ws + xs)
            result = sum(w * x for w, x in zip(ws, xs))
            value = scalars.value(result)
            if name == "float":
                return [value]
            scalars.backward(result)
            return [value, *map(scalars.gradient, ws + xs)]

        return Case({"start": lambda: scalars.start(ws + xs), "run": lambda: dot_products(ws, xs)}, numbers)

    return prepare


def on_casadi() -> Case:
    """CasADi builds the expression; it has no value before it is made a function."""
    import casadi

    ws = [casadi.SX.sym(f"w{i}") for i in range(PAIRS)]
    xs = [casadi.SX.sym(f"x{i}") for i in range(PAIRS)]

    def numbers() -> list[float]:
        result = sum(w * x for w, x in zip(ws, xs))
        leaves = casadi.vertcat(*ws, *xs)
        function = casadi.Function("f", [leaves], [result, casadi.gradient(result, leaves)])
        value, gradient = function(WEIGHTS + INPUTS)
        return [float(value), *map(float, gradient.full().ravel())]

    return Case({"run": lambda: dot_products(ws, xs)}, numbers)


WORKLOADS = [
    Workload(
        key="dot",
        title="`sum(w * x for w, x in zip(ws, xs))`, a pair",
        steps=("run",),
        operations=PAIRS * REPEATS,
        unit="ns",
        cases={**{name: on_scalars(name) for name in SCALARS}, "casadi": on_casadi},
        rounds=51,
    )
]
