"""Build a chain of argv[1] operations, run backward through it, free it, and print what is left of it."""

import sys

from fastgrad import Value
from fastgrad.engine import _pool_statistics

depth, form = int(sys.argv[1]), sys.argv[2]
x = Value(1.0)


def closure(node):
    out = Value(node.data, (node,), "same")

    def _backward():
        node.grad += out.grad

    out._backward = _backward
    return out


def derivative(node):
    return Value(node.data, (node,), (1.0,))


class Link(Value):
    """A node outside the pool."""


def subclass(node):
    return Link(node.data, (node,), (1.0,))


out = x
if form == "operations":
    for _ in range(depth):
        out = out + 1.0
elif form == "diamonds":
    for _ in range(depth):
        out = out * out
else:
    step = {"closures": closure, "derivatives": derivative, "subclass": subclass}[form]
    for _ in range(depth):
        out = step(out)
out.backward()
print(x.grad)
del out
if form == "closures":
    import gc

    gc.collect()
print(_pool_statistics()["nodes"])
