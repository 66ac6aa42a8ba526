"""The two namespaces in which a program's lines are executed, and the words that programs use."""

import copy
import functools
import gc
import math
import pickle
from types import SimpleNamespace

import numpy

import fastgrad
import fastgrad.functional
import fastgrad.optim
import reference
from fastgrad import engine
from fastgrad.compiler import lowering, plan

# Loops of random programs have few steps, and little that is repeated.
plan._divide_from(1)
lowering._bundle_from(2)


class EngineSub(fastgrad.Value):
    """A subclass, which pickle must find by its name."""


class ReferenceSub(reference.Value):
    """A subclass of the reference's Value."""


# Pickle finds a class by its qualified name; messages show this one, alike in both worlds.
EngineSub.__name__ = ReferenceSub.__name__ = "Sub"


def add_gradient(child, out):
    child.grad += out.grad


def add_gradient_of_reference(child, out):
    """add_gradient() for the reference, which also adds to the bound of the gradient's error."""
    add_gradient(child, out)
    child.grad_bound += out.grad_bound


def slopes(y, xs):
    """The numbers of the first derivatives; the nodes that were made for them are gone."""
    return [each.data for each in fastgrad.grad(y, xs)]


def slope_of(function):
    """A function of one argument, compiled with its derivative."""

    def with_slope(x):
        y = function(x)
        return [y, fastgrad.grad(y, [x])[0]]

    return fastgrad.compile(with_slope)


def compile_some_by_row(function):
    """Compile a function, every second one for blocks of one row, in which the steps of loops are lanes."""
    return fastgrad.compile(function, block=len(function.__code__.co_code) // 2 % 2)


# What both libraries have by the same names.
SHARED = ("Value", "nn", "optim", "take", "scan", "while_loop")
ENGINE = SimpleNamespace(
    **{name: getattr(fastgrad, name) for name in SHARED},
    Sub=EngineSub,
    F=fastgrad.functional,
    compile=compile_some_by_row,
    slope_of=slope_of,
    apply=engine.apply,
    reduce=engine._reduce,
    slopes=slopes,
    add_gradient=add_gradient,
)
REFERENCE = SimpleNamespace(
    **{name: getattr(reference, name) for name in SHARED},
    Sub=ReferenceSub,
    F=reference.functional,
    compile=reference.compile,
    slope_of=reference.slope_of,
    apply=reference.apply,
    reduce=reference.reduce,
    slopes=reference.slopes,
    add_gradient=add_gradient_of_reference,
)


@functools.lru_cache(maxsize=20_000)
def compiled(line):
    return compile(line, line, "exec")


class World:
    """A library's names and a program's variables, in which also the statements of user code run."""

    def __init__(self, library):
        self.library = library
        self.before = {cls: dict(vars(cls)) for cls in (library.Value, library.Sub)}
        self.names = dict(
            vars(library), copy=copy, gc=gc, pickle=pickle, numpy=numpy, inf=math.inf, nan=math.nan
        )
        for word in (self.closure, self.farewell, self.hook, self.last, self.late, self.number, self.total):
            self.names[word.__name__] = word
        exec("", self.names)
        self.vocabulary = frozenset(self.names)
        self.names["reply"] = None
        self.depth = 0

    def run(self, line):
        """Execute a statement; those of user code, which may run others in turn, to a depth of 3."""
        if self.depth > 3 or not line:
            return
        self.depth += 1
        try:
            exec(compiled(line), self.names)
        finally:
            self.depth -= 1

    def variables(self):
        """What the program has assigned, by name."""
        own = self.vocabulary | {"__warningregistry__"}
        return {name: self.names[name] for name in self.names if name not in own}

    def close(self):
        """Forget the variables and take back what was assigned to the classes."""
        self.run = lambda line: None
        self.names.clear()
        for cls, before in self.before.items():
            for name in set(vars(cls)) - set(before):
                delattr(cls, name)

    # The words of programs.

    def closure(self, *children, then=""):
        """A node of the user's: the sum of its children, whose `_backward` then runs a statement."""
        data = sum(child.data for child in children)
        if len(children) == 1:
            out = self.library.Value(data)
            out._prev, out._op = children, "closure"
        else:
            out = self.library.Value(data, children, "closure")

        def _backward():
            for child in children:
                self.library.add_gradient(child, out)
            self.run(then)

        out._backward = UserCode(_backward)
        return out

    def hook(self, node, then=""):
        """Have a statement run after the node's own `_backward`."""
        before = node._backward

        def _backward():
            before()
            self.run(then)

        node._backward = UserCode(_backward)

    def late(self, data, operand):
        """A node that is older than its operand."""
        node = self.library.Value.__new__(self.library.Value)
        node.__init__(data, (operand * 2.0,), "late")
        return node

    def last(self, state, made):
        """The last state of a loop, with what its last step makes."""
        return state + made[-1]

    def total(self, state, made):
        """The last state of a loop, with all that its steps make."""
        return state + self.library.F.sum(made)

    def number(self, value, then=""):
        """A number that runs a statement whenever it is asked for its value."""
        return Number(self, value, then)

    def farewell(self, then):
        """An object that runs a statement when it is freed."""
        return Farewell(self, then)


class UserCode:
    """A function that cannot be copied; in an instance's __dict__ it is an attribute like others."""

    def __init__(self, function):
        self.function = function

    def __call__(self):
        self.function()

    def __reduce__(self):
        raise TypeError("a node with a _backward of its own")


class Number:
    def __init__(self, world, value, then):
        self.world, self.value, self.then = world, value, then

    def __float__(self):
        self.world.run(self.then)
        return self.value


class Farewell:
    def __init__(self, world, then):
        self.world, self.then = world, then

    def __del__(self):
        self.world.run(self.then)

    def __reduce__(self):
        """A copy of it is an empty string."""
        return str, ()
