"""Workload 1: one operation, and making a leaf.

CasADi builds a symbolic node without a value. jax and C have no row: neither records one operation
from Python, so nothing they could run is the same work.
"""

import timeit

from benchmarks.case import Case, Workload, test_agreement, test_speed  # noqa: F401
from benchmarks.scalars import SCALARS

REPEATS = 1000
OPERANDS = (2.0, -0.75)

STATEMENTS = {
    "mul": "a * b",
    "add": "a + b",
    "mul_constant": "a * 2.0",
    "tanh": "tanh(a)",
    "leaf": "leaf(0.5)",
}
TITLES = {
    "mul": "`a * b`",
    "add": "`a + b`",
    "mul_constant": "`a * 2.0`",
    "tanh": "`a.tanh()`",
    "leaf": "`Value(0.5)`",
}


def on_scalars(name: str, key: str):
    """The statement as `python -m timeit` runs it, with its operands in local variables."""

    def prepare() -> Case:
        scalars = SCALARS[name]()
        a, b = map(scalars.leaf, OPERANDS)
        namespace = {"a": a, "b": b, "tanh": scalars.tanh, "leaf": scalars.leaf}
        timer = timeit.Timer(
            STATEMENTS[key],
            setup="a, b, tanh, leaf = operands",
            globals={"operands": tuple(namespace.values())},
        )

        def numbers() -> list[float]:
            scalars.start([a, b])
            result = eval(STATEMENTS[key], namespace)
            value = scalars.value(result)
            if name == "float":
                return [value]
            if key == "leaf":
                return [value, 0.0, 0.0]
            if name in ("fastgrad", "micrograd"):
                a.grad = b.grad = 0.0
            scalars.backward(result)
            grads = [scalars.gradient(a)]
            grads.append(scalars.gradient(b) if key in ("mul", "add") else 0.0)
            return [value, *grads]

        # A tape would otherwise grow from one round to the next.
        steps = {
            "start": lambda: scalars.start([a, b]),
            "run": lambda: timer.timeit(REPEATS),
        }
        return Case(steps, numbers)

    return prepare


def on_casadi(key: str):
    """A node of CasADi's scalar expressions."""

    def prepare() -> Case:
        import casadi

        def leaf(number):
            return casadi.SX(number)

        a, b = casadi.SX.sym("a"), casadi.SX.sym("b")
        names = {"a": a, "b": b, "tanh": casadi.tanh, "leaf": leaf}
        timer = timeit.Timer(
            STATEMENTS[key], setup="a, b, tanh, leaf = operands", globals={"operands": tuple(names.values())}
        )

        def numbers() -> list[float]:
            result = eval(STATEMENTS[key], names)
            gradient = casadi.gradient(result, casadi.vertcat(a, b))
            evaluated = casadi.Function("f", [a, b], [result, gradient])(*OPERANDS)
            return [float(evaluated[0]), *map(float, evaluated[1].full().ravel())]

        return Case({"run": lambda: timer.timeit(REPEATS)}, numbers)

    return prepare


WORKLOADS = [
    Workload(
        key=key,
        title=TITLES[key],
        steps=("run",),
        operations=REPEATS,
        unit="ns",
        cases={**{name: on_scalars(name, key) for name in SCALARS}, "casadi": on_casadi(key)},
        rounds=51,
    )
    for key in STATEMENTS
]
