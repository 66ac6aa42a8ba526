"""Random graphs: data exactly micrograd's, gradients to 1e-12 micrograd's and torch's.

A graph is drawn as a list of steps, each an operation on earlier nodes, so sharing, diamonds, repeated
operands and unused branches all occur. A gradient is a sum of products along paths. Its rounding error is
proportional to the sum of the absolute products, which is the gradient of the same graph with every number
made positive and every minus made a plus. The tolerance is 1e-12 of that.
"""

from typing import NamedTuple

import micrograd.engine
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from evidence.oracles import in_reverse_order
from fastgrad import Value


class Step(NamedTuple):
    """An operation on the nodes with these numbers, or with one and a constant."""

    name: str
    left: int
    right: int
    constant: float


class Graph(NamedTuple):
    """Leaves, then steps; the last node is the root, however many nodes it does not depend on."""

    leaves: tuple[float, ...]
    steps: tuple[Step, ...]


# Signs and binary fractions: sums and products of a few are exact, and often cancel.
EXACT_NUMBERS = st.sampled_from([-3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0])
SMOOTH_NUMBERS = st.floats(0.5, 2.0)

EXACT_STEPS = {
    "add": lambda a, b, c: a + b,
    "sub": lambda a, b, c: a - b,
    "mul": lambda a, b, c: a * b,
    "neg": lambda a, b, c: -a,
    "relu": lambda a, b, c: a.relu(),
    "twice": lambda a, b, c: a + a,
    "square": lambda a, b, c: a * a,
    "nothing": lambda a, b, c: a - a,
    "add constant": lambda a, b, c: a + c,
    "constant minus": lambda a, b, c: c - a,
    "times constant": lambda a, b, c: c * a,
    "closure": lambda a, b, c: weighted_sum(a, b, c),
    "derivatives": lambda a, b, c: product_by_derivatives(a, b),
}
# Divisors and bases are |x| * |x| + 1, far from 0, so that errors stay small.
SMOOTH_STEPS = {
    "add": EXACT_STEPS["add"],
    "sub": EXACT_STEPS["sub"],
    "mul": EXACT_STEPS["mul"],
    "neg": EXACT_STEPS["neg"],
    "closure": EXACT_STEPS["closure"],
    "derivatives": EXACT_STEPS["derivatives"],
    "divide by constant": lambda a, b, c: a / c,
    "square": lambda a, b, c: a**2,
    "cube": lambda a, b, c: a**3.0,
}
# Each takes a leaf as the operand b, which is positive.
LEAF_STEPS = {
    "divide by leaf": lambda a, b, c: a / b,
    "constant over leaf": lambda a, b, c: c / b + a,
    "root of leaf": lambda a, b, c: a * b**0.5,
    "leaf to a negative power": lambda a, b, c: a + b**-1.5,
}


def weighted_sum(a, b, c):
    """2 * a + c * b as a node with a closure, in every library that has closures."""
    library = type(a)
    if library not in (Value, micrograd.engine.Value, Positive):
        return 2 * a + c * b
    out = library(2 * a.data + c * b.data, (a, b), "weighted")

    def _backward():
        a.grad += 2 * out.grad
        b.grad += c * out.grad

    out._backward = _backward
    return out


def product_by_derivatives(a, b):
    """a * b as a node with local derivatives, where the library has them."""
    if type(a) is Value:
        return Value(a.data * b.data, (a, b), (b.data, a.data))
    return a * b


class Positive(micrograd.engine.Value):
    """micrograd's Value, in whose arithmetic nothing cancels: the bound of a graph's rounding errors."""

    def __init__(self, data, _children=(), _op=""):
        super().__init__(abs(data), _children, _op)

    def __add__(self, other):
        return self._as_positive(super().__add__(as_positive(other)))

    def __mul__(self, other):
        return self._as_positive(super().__mul__(as_positive(other)))

    def __pow__(self, other):
        out = Positive(self.data**other, (self,))

        def _backward():
            self.grad += abs(other) * self.data ** (other - 1) * out.grad

        out._backward = _backward
        return out

    def __neg__(self):
        return self

    def __sub__(self, other):
        return self + other

    def __rsub__(self, other):
        return self + other

    def __truediv__(self, other):
        return self * as_positive(other) ** -1

    def relu(self):
        return self * 1.0

    @staticmethod
    def _as_positive(node):
        """Change the node in place and return it: micrograd's closures refer to it."""
        node.__class__ = Positive
        return node


def as_positive(operand):
    return operand if isinstance(operand, Positive) else Positive(operand)


@st.composite
def graphs(draw, numbers, steps, leaf_steps=()):
    leaves = draw(st.lists(numbers, min_size=1, max_size=4))
    drawn = []
    for size in range(len(leaves), len(leaves) + draw(st.integers(1, 25))):
        name = draw(st.sampled_from([*steps, *leaf_steps]))
        # Recent nodes are likelier, for depth.
        left = draw(st.one_of(st.integers(0, size - 1), st.integers(max(0, size - 3), size - 1)))
        right = draw(st.integers(0, (len(leaves) if name in leaf_steps else size) - 1))
        drawn.append(Step(name, left, right, draw(numbers)))
    return Graph(tuple(leaves), tuple(drawn))


exact_graphs = graphs(EXACT_NUMBERS, EXACT_STEPS)
smooth_graphs = graphs(SMOOTH_NUMBERS, SMOOTH_STEPS, LEAF_STEPS)
ALL_STEPS = EXACT_STEPS | SMOOTH_STEPS | LEAF_STEPS


def built(library, graph):
    """All nodes of the graph, the root last."""
    nodes = [library(number) for number in graph.leaves]
    for name, left, right, constant in graph.steps:
        constant = abs(constant) if library is Positive else constant
        nodes.append(ALL_STEPS[name](nodes[left], nodes[right], constant))
    return nodes


def bounds(graph):
    """The magnitudes of every node's data and gradient, to which rounding errors are compared."""
    nodes = built(Positive, graph)
    assume(all(node.data < 1e100 for node in nodes))
    nodes[-1].backward()
    assume(all(node.grad < 1e100 for node in nodes))
    return [node.data for node in nodes], [node.grad for node in nodes]


def agree(ours, theirs, magnitudes):
    return all(
        abs(mine - other) <= 1e-12 * magnitude
        for mine, other, magnitude in zip(ours, theirs, magnitudes, strict=True)
    )


def data_of(nodes):
    return [float(node.data) for node in nodes]


def gradients_of(nodes):
    return [float(node.grad) for node in nodes]


# The tests.


@given(exact_graphs)
def test_exact_graph_is_micrograds(graph):
    _, magnitudes = bounds(graph)
    ours, theirs = built(Value, graph), built(micrograd.engine.Value, graph)
    assert data_of(ours) == data_of(theirs)
    ours[-1].backward()
    theirs[-1].backward()
    assert agree(gradients_of(ours), gradients_of(theirs), magnitudes)


@given(smooth_graphs)
def test_smooth_graph_is_micrograds(graph):
    sizes, magnitudes = bounds(graph)
    ours, theirs = built(Value, graph), built(micrograd.engine.Value, graph)
    assert agree(data_of(ours), data_of(theirs), sizes)
    ours[-1].backward()
    theirs[-1].backward()
    assert agree(gradients_of(ours), gradients_of(theirs), magnitudes)


@pytest.mark.parametrize("kind", [exact_graphs, smooth_graphs], ids=["exact", "smooth"])
def test_graph_is_torchs(torch, kind):
    @given(kind)
    def check(graph):
        sizes, magnitudes = bounds(graph)
        ours = built(Value, graph)
        theirs = built(lambda number: torch.tensor(number, dtype=torch.float64, requires_grad=True), graph)
        if kind is exact_graphs:
            assert data_of(ours) == [node.item() for node in theirs]
        else:
            assert agree(data_of(ours), [node.item() for node in theirs], sizes)
        ours[-1].backward()
        expected = torch.autograd.grad(theirs[-1], theirs, allow_unused=True)
        gradients = [0.0 if gradient is None else gradient.item() for gradient in expected]
        assert agree(gradients_of(ours), gradients, magnitudes)

    check()


@given(exact_graphs)
def test_nodes_the_root_does_not_need_get_no_gradient(graph):
    ours = built(Value, graph)
    ours[-1].backward()
    needed, waiting = set(), [ours[-1]]
    while waiting:
        node = waiting.pop()
        if node not in needed:
            needed.add(node)
            waiting.extend(node._prev)
    assert all(node.grad == 0.0 for node in ours if node not in needed)


@given(exact_graphs)
def test_sweep_and_depth_first_order_give_the_same_gradients(graph):
    _, magnitudes = bounds(graph)
    assume(all(step.name != "closure" for step in graph.steps))
    swept = built(Value, graph)
    swept[-1].backward()
    ordered = built(Value, graph)
    ordered[-1]._backward = ordered[-1]._backward
    ordered[-1].backward()
    assert agree(gradients_of(swept), gradients_of(ordered), magnitudes)


@given(exact_graphs)
def test_rules_run_by_hand_give_the_gradients_of_backward(graph):
    _, magnitudes = bounds(graph)
    automatic, by_hand = built(Value, graph), built(Value, graph)
    automatic[-1].backward()
    by_hand[-1].grad = 1.0
    for node in in_reverse_order(by_hand[-1]):
        node._backward()
    assert agree(gradients_of(by_hand), gradients_of(automatic), magnitudes)


@given(exact_graphs, st.data())
def test_the_graph_below_any_node_can_be_run_alone(graph, data):
    """Half of a shared graph: nodes above the chosen root are neither needed nor changed."""
    bounds(graph)
    ours, theirs = built(Value, graph), built(micrograd.engine.Value, graph)
    root = data.draw(st.integers(0, len(ours) - 1))
    ours[root].backward()
    theirs[root].backward()
    _, magnitudes = bounds(Graph(graph.leaves, graph.steps[: max(0, root + 1 - len(graph.leaves))]))
    unneeded = [0.0] * (len(ours) - len(magnitudes))
    assert agree(gradients_of(ours), gradients_of(theirs), magnitudes + unneeded)
