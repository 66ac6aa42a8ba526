"""Workload 3: building, differentiating and freeing a graph, timed separately.

`chain`: y = y * w + b over and over; every node uses the one before it. `layered`: a hundred nodes wide; one
layer adds neighbours, the next multiplies by weights, as a network does.

If dropping the result does not free a graph, "free" is what does: the cyclic collector for micrograd,
rewinding the tape for xad. jax and CasADi have no row: they compile a program, so that building and
differentiating cannot be timed separately. micrograd, xad and torch's scalars stop at 1e5 nodes, which take
them a second. torch runs the layered graph as vectors; a node is then an element.
"""

import ctypes
import sys
from collections.abc import Callable
from itertools import repeat

from benchmarks.case import Case, Workload, test_agreement, test_speed  # noqa: F401
from benchmarks.scalars import SCALARS

WIDTH = 100
LEAVES = {
    "chain": [0.5, 0.999, 0.001],
    "layered": [0.01 * i for i in range(WIDTH)] + [0.5 - 1e-6 * i for i in range(WIDTH)],
}
SIZES = {"1e3": 1_000, "1e5": 100_000, "1e7": 10_000_000}


def chain(leaves: list, operations: int):
    """One long line of multiplications and additions."""
    y, w, b = leaves
    for _ in repeat(None, operations // 2):
        y = y * w + b
    return y


def layered(leaves: list, operations: int):
    """Layers of WIDTH sums of neighbours and WIDTH products, then the sum of the last layer."""
    xs, ws = leaves[:WIDTH], leaves[WIDTH:]
    for _ in repeat(None, operations // (2 * WIDTH)):
        xs = [x + y for x, y in zip(xs, xs[1:] + xs[:1])]
        xs = [x * w for x, w in zip(xs, ws)]
    total = xs[0]
    for x in xs[1:]:
        total = total + x
    return total


SHAPES: dict[str, Callable] = {"chain": chain, "layered": layered}


def on_scalars(name: str, shape: str, operations: int):
    def prepare() -> Case:
        scalars = SCALARS[name]()
        leaves = list(map(scalars.leaf, LEAVES[shape]))
        build = SHAPES[shape]
        graph = []
        values = []
        if name == "micrograd":
            # Its depth-first search recurses once a node.
            sys.setrecursionlimit(max(sys.getrecursionlimit(), 3 * operations))

        def look() -> None:
            # Once, while the graph is there: the leaves' gradients add up from pass to pass.
            if not values:
                values.append(scalars.value(graph[0]))
                if name != "float":
                    values.extend(map(scalars.gradient, leaves))

        def free() -> None:
            graph.clear()
            scalars.release()

        steps = {
            "start": lambda: scalars.start(leaves),
            "build": lambda: graph.append(build(leaves, operations)),
            "backward": lambda: scalars.backward(graph[0]),
            "look": look,
            "free": free,
        }
        if name == "float":
            del steps["backward"], steps["free"]
            steps["clear"] = graph.clear
        return Case(steps, lambda: values)

    return prepare


def layers_on_torch(operations: int):
    def prepare() -> Case:
        import torch

        leaves = torch.tensor(LEAVES["layered"], dtype=torch.float64, requires_grad=True)
        graph = []
        values = []

        def build() -> None:
            xs, ws = leaves[:WIDTH], leaves[WIDTH:]
            for _ in repeat(None, operations // (2 * WIDTH)):
                xs = (xs + xs.roll(-1)) * ws
            graph.append(xs.sum())

        steps = {
            "build": build,
            "backward": lambda: graph[0].backward(),
            "value": lambda: values.append(graph[0].item()),
            "free": graph.clear,
        }
        return Case(steps, lambda: values[:1] + leaves.grad.tolist())

    return prepare


def on_c(shape: str, operations: int):
    def prepare() -> Case:
        from benchmarks import native

        library = native.load("tape")
        leaves = (ctypes.c_double * len(LEAVES[shape]))(*LEAVES[shape])
        gradients = (ctypes.c_double * len(leaves))()
        value = ctypes.c_double()
        size_t = ctypes.c_size_t
        library.record_chain.restype = library.record_layers.restype = ctypes.c_void_p
        tape = []

        def build() -> None:
            if shape == "chain":
                made = library.record_chain(leaves, size_t(operations // 2), ctypes.byref(value))
            else:
                layers = operations // (2 * WIDTH)
                made = library.record_layers(leaves, size_t(WIDTH), size_t(layers), ctypes.byref(value))
            tape.append(ctypes.c_void_p(made))

        steps = {
            "build": build,
            "backward": lambda: library.reverse(tape[0], gradients),
            "free": lambda: library.free_tape(tape.pop()),
        }
        return Case(steps, lambda: [value.value, *gradients])

    return prepare


def cases(shape: str, operations: int) -> dict[str, Callable[[], Case]]:
    """The implementations that can do this many operations in seconds."""
    small = operations <= 100_000
    chosen = {name: on_scalars(name, shape, operations) for name in SCALARS if small or name in FAST}
    if shape == "layered":
        chosen["torch"] = layers_on_torch(operations)
    chosen["c"] = on_c(shape, operations)
    return chosen


FAST = ("fastgrad", "float")

WORKLOADS = [
    Workload(
        key=f"{shape}-{size}",
        title=f"{shape} graph of {size} nodes",
        steps=("build", "backward", "free"),
        operations=operations,
        unit="ns",
        cases=cases(shape, operations),
        rounds=3 if operations > 1_000_000 else 11,
    )
    for shape in SHAPES
    for size, operations in SIZES.items()
]
