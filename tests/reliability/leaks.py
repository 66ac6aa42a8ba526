"""Build many graphs of each form and measure what is left of them.

    python tests/reliability/leaks.py [--graphs N] [--only FORM]

After a tenth of the graphs as a warm-up, prints for each form by how much resident memory, CPython's
blocks, the pool's nodes, chunks and irregular nodes, and the objects that graphs held have grown; it fails if
any has. "survivors" keeps one node of each graph and prints how many bytes a survivor costs.
"""

import argparse
import contextlib
import gc
import os
import sys
import weakref
from pathlib import Path

import numpy

from fastgrad import Value, compile, engine, grad, scan  # noqa: A004
from fastgrad.derivatives import custom_jvp
from fastgrad.engine import _pool_statistics
from fastgrad.nn import MLP
from fastgrad.optim import AdamW

# Growth that the collector and the allocators may cause by themselves.
SLACK_BYTES = 1 << 20
SLACK_BLOCKS = 50
SURVIVORS_NODES = 1000
SURVIVOR_BYTES = 4096 + 1

x, w = Value(0.5), Value(-1.5)
model = MLP(2, [3, 1], activation="tanh")
optimizer = AdamW(model.parameters())
program = compile(lambda row: model(row) ** 2)
slopes = numpy.empty((1, len(model.parameters())))
held = weakref.WeakSet()


class Held:
    """Something that a node holds."""


class Sub(Value):
    pass


class Failing:
    """An operand whose conversion fails, in the middle of an operation."""

    def __float__(self):
        raise KeyError("no number")


def hold(node):
    node.note = Held()
    held.add(node.note)
    return node


def operations():
    (((x * w + 2) / 3 - w**2).tanh() * x).backward()


def errors():
    """Errors in the middle of an operation."""
    for compute in (
        lambda: hold(x * w) + "text",
        lambda: (x * w).log() + hold(x * 2),
        lambda: engine._dot([x * w, w * 2], [1.0, Failing()]),
        lambda: engine._linear([x * w], [[x], [Failing()]]),
        lambda: Value(1.0, (x * w, None)),
        lambda: Sub(1.0, (x * w,), (Failing(),)),
        lambda: Value(Failing(), (hold(x * w),)),
    ):
        try:
            compute()
        except (TypeError, ValueError, KeyError):
            continue
        raise AssertionError("no error")


def custom_node():
    h = x * w
    out = Value(h.data, (h,), "mine")

    def _backward():
        h.grad += out.grad

    out._backward = _backward
    (out * 2 + Sub(1.0, (h,), (2.0,))).backward()


def cycles():
    h = hold(x * w)
    out = h * 2 + 1
    h.later = [out]
    out.me = out
    out._children[0].label = [out]


def failing_backward():
    """An exception in the middle of a backward pass."""
    out = Value(1.0, (x * w,), "mine")
    out._backward = lambda: hold(out) / 0
    try:
        (out * 2).backward()
    except TypeError:
        pass
    except ZeroDivisionError:
        pass


@custom_jvp
def own(a):
    return (a * 2.0).tanh()


own.defjvps(lambda t, ans, a: 2.0 * t * (1.0 - ans * ans))


def derivatives():
    """Of the second order, through nodes given by their derivatives, which are part of a cycle."""
    a = Value(0.5)
    slope = hold(a * 3.0)
    out = Value(a * a, (a,), (slope,)) * own(a) + Sub(1.0, (a,), (slope,))
    slope.out = out
    grad(grad(out, a), a).backward()


def layers():
    loss = model([x, 2.0]) ** 2
    loss.backward()
    loss._children[0]._prev  # noqa: B018


def optimizers():
    model([1.0, 2.0]).backward()
    optimizer.step()
    optimizer.zero_grad()


def programs():
    program.backward([[0.5, 1.0]])
    program([[0.5, 1.0]])


def derivatives_of_programs():
    X = [[0.5, 1.0]]
    program.value_and_grad(X)
    program.jacobian(X, argnums="parameters", out=slopes)
    program.hvp(X, tangents=[[1.0, 0.0]])
    program.hessian(X, argnums="parameters", reduction="sum", row_weights=[2.0])
    with contextlib.suppress(ValueError):
        program.value_and_grad(X, out=(slopes, None))


def compilations():
    function = compile(lambda row: (w * row).tanh())
    function([1.0])
    function.hessian([1.0])
    function.jacobian([1.0])
    loop = compile(lambda row: scan(lambda s, each: ((s * w + each).tanh(), s), 1.0, row)[0])
    loop.hessian([[1.0, 2.0]])
    loop.jacobian([[1.0, 2.0]], argnums="parameters")


FORMS = {
    function.__name__: function
    for function in (
        operations,
        errors,
        custom_node,
        cycles,
        failing_backward,
        derivatives,
        layers,
        optimizers,
        programs,
        derivatives_of_programs,
        compilations,
    )
}
# These take much longer than a graph.
EVERY = {"compilations": 50, "errors": 5, "derivatives": 10}


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure():
    gc.collect()
    pool = _pool_statistics()
    counts = sys.getallocatedblocks(), pool["nodes"], pool["chunks_used"], pool["irregular"], len(held)
    return resident(), *counts


def check(name, graphs):
    build = FORMS[name]
    graphs = max(graphs // EVERY.get(name, 1), 1)
    for _ in range(max(graphs // 10, 200)):
        build()
    # The first measure makes what the later ones find.
    measure()
    before = measure()
    for _ in range(graphs):
        build()
    grown = [now - then for now, then in zip(measure(), before, strict=True)]
    print(
        f"{name}: {graphs} graphs; growth: {grown[0]} bytes, {grown[1]} blocks, {grown[2]} nodes, "
        f"{grown[3]} chunks, {grown[4]} irregular, {grown[5]} held objects",
        flush=True,
    )
    assert grown[0] <= SLACK_BYTES
    assert grown[1] <= SLACK_BLOCKS
    assert grown[3] <= 1
    assert grown[2] == grown[4] == grown[5] == 0


def large_graph():
    """A graph of many nodes; return one from its middle that holds only a leaf."""
    out = x * 2
    for _ in range(SURVIVORS_NODES // 2):
        out = out + 1.0
    survivor = w * 3
    for _ in range(SURVIVORS_NODES // 2):
        out = out + survivor
    return survivor


def check_survivors(graphs):
    survivors = [large_graph()] * graphs
    before = resident()
    for index in range(graphs):
        survivors[index] = large_graph()
    each = (resident() - before) / len(survivors)
    print(f"survivors: {graphs} of graphs of {SURVIVORS_NODES} nodes, {each:.0f} bytes each", flush=True)
    # The node's chunk is 4 KiB.
    assert each <= SURVIVOR_BYTES


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--graphs", type=int, default=1_000_000)
    parser.add_argument("--only", choices=[*FORMS, "survivors"])
    options = parser.parse_args()
    for name in [options.only] if options.only else FORMS:
        if name in FORMS:
            check(name, options.graphs)
    if options.only in (None, "survivors"):
        check_survivors(max(options.graphs // 10, 1))


if __name__ == "__main__":
    main()
