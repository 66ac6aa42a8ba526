"""backward(): order, accumulation, and nodes whose `_backward` is the user's own."""

import functools
import gc
import math
import random

import micrograd.engine
import pytest

import fastgrad.functional as F
from evidence.oracles import in_reverse_order
from fastgrad import Value
from fastgrad.engine import _pool_statistics
from fastgrad.nn import Neuron

LIBRARIES = pytest.mark.parametrize("library", [Value, micrograd.engine.Value], ids=["fastgrad", "micrograd"])


def squared(x):
    """A node as micrograd's lectures make them: a Value with children, then its closure."""
    library = type(x)
    out = library(x.data * x.data, (x,), "squared")

    def _backward():
        x.grad += 2 * x.data * out.grad

    out._backward = _backward
    return out


def squared_by_derivative(x):
    return Value(x.data * x.data, (x,), (2 * x.data,))


# Accumulation.


def test_the_root_has_gradient_one():
    out = Value(2.0) * 3
    out.grad = 17.0
    out.backward()
    assert out.grad == 1.0


def test_backward_of_a_leaf_sets_its_gradient():
    x = Value(2.0)
    assert x.backward() is None
    assert x.grad == 1.0


def test_every_intermediate_node_gets_its_gradient():
    x = Value(2.0)
    h = x * 3
    y = h * h
    y.backward()
    assert (y.grad, h.grad, x.grad) == (1.0, 12.0, 36.0)


def test_gradients_accumulate_over_graphs():
    x = Value(2.0)
    (x * 3).backward()
    (x * 5).backward()
    assert x.grad == 8.0


def test_gradients_accumulate_until_zeroed():
    x = Value(2.0)
    out = x * 3
    out.backward()
    x.grad = 0.0
    out.backward()
    assert x.grad == 3.0


@LIBRARIES
def test_second_backward_accumulates_in_intermediate_nodes_too(library):
    x = library(2.0)
    h = x * 3
    out = h * 5
    out.backward()
    out.backward()
    assert h.grad == 10.0
    assert x.grad == 15.0 + 30.0


@LIBRARIES
def test_gradient_given_by_hand_flows_on(library):
    """A gradient that a node has before backward() is part of what it passes on."""
    x = library(2.0)
    h = x * 3
    h.grad = 5.0
    (h * 2).backward()
    assert x.grad == 3 * 7.0


@LIBRARIES
def test_gradient_given_by_hand_flows_on_below_a_node_without_a_rule(library):
    x = library(2.0)
    h = x * 3
    h.grad = 5.0
    library(1.0, (h,), "no rule").backward()
    assert x.grad == 15.0


def test_nodes_that_the_root_was_not_computed_from_are_left_alone():
    x = Value(2.0)
    unused = x * 7
    above = (x * 3) * 2
    root = x * 5
    late = root * 11
    root.backward()
    assert x.grad == 5.0
    assert (unused.grad, above.grad, late.grad) == (0.0, 0.0, 0.0)


def test_a_constant_gets_no_gradient_of_its_own():
    x = Value(2.0)
    (3 * x - 1).backward()
    assert x.grad == 3.0


@pytest.mark.parametrize("depth", [1, 2, 10, 100, 1000])
def test_a_ladder_of_diamonds(depth):
    """Each node is used twice by the next: a wrong order loses or repeats half of every gradient."""
    x = Value(1.0)
    out = x
    for _ in range(depth):
        out = out * 0.25 + out * 0.75
    out.backward()
    assert x.grad == 1.0


def test_a_diamond_with_arms_of_unequal_length():
    x = Value(2.0)
    long = x
    for _ in range(50):
        long = long + 1
    out = long * x
    out.backward()
    assert x.grad == long.data + x.data


@pytest.mark.usefixtures("depth_first")
def test_a_diamond_with_arms_of_unequal_length_depth_first():
    test_a_diamond_with_arms_of_unequal_length()


@pytest.mark.usefixtures("depth_first")
@pytest.mark.parametrize("depth", [1, 2, 10, 100])
def test_a_ladder_of_diamonds_depth_first(depth):
    test_a_ladder_of_diamonds(depth)


def test_the_same_program_gives_the_same_bits():
    def gradients():
        chance = random.Random(5)
        leaves = [Value(chance.uniform(-1, 1)) for _ in range(30)]
        nodes = list(leaves)
        for _ in range(300):
            nodes.append((chance.choice(nodes) * chance.choice(nodes) + chance.choice(nodes)).tanh())
        sum(nodes).backward()
        return [leaf.grad.hex() for leaf in leaves]

    first = gradients()
    assert any(math.isfinite(float.fromhex(gradient)) for gradient in first)
    clutter = []
    for _ in range(3):
        clutter.append([Value(1.0) * 2 for _ in range(101)])
        assert gradients() == first


# The order depends on the graph alone.


def searches():
    return _pool_statistics()["searches"]


def irregular(node):
    node._backward = node._backward
    return node


def looked_at(node):
    return node, node._children


ELSEWHERE = {
    "a difference that was looked at": lambda: looked_at(Value(5.0) - Value(3.0)),
    "a neuron that was looked at": lambda: looked_at(Neuron(2)([1.0, 2.0])),
    "a hook": lambda: irregular(Value(2.0) * 3.0),
    "a hook on a leaf": lambda: irregular(Value(2.0)),
    "a subclass with operands": lambda: Custom(1.0, (Value(1.0),), "custom"),
    "an operand of its own operand": lambda: late(lambda node: node * 2.0),
}


class Custom(Value):
    pass


def late(use):
    node = Value.__new__(Value)
    operand = use(node)
    node.__init__(1.0, (operand,), "late")
    return node


def gradients(prepare=lambda root: None):
    """The bits of a gradient that depend on the order of additions."""
    chance = random.Random(5)
    leaves = [Value(chance.uniform(-1, 1)) for _ in range(30)]
    nodes = list(leaves)
    for _ in range(300):
        nodes.append((chance.choice(nodes) * chance.choice(nodes) + chance.choice(nodes)).tanh())
    nodes += F.linear(nodes[40:80], [nodes[:40]] * 9) + [F.logsumexp(nodes[7:19]), F.where(*nodes[3:6])]
    root = (sum(nodes[::2]) - nodes[35]) * sum(nodes[1::2])
    prepare(root)
    root.backward()
    return [leaf.grad.hex() for leaf in leaves]


@pytest.mark.parametrize("elsewhere", ELSEWHERE)
def test_what_lives_elsewhere_changes_neither_order_nor_bits(elsewhere):
    gc.collect()
    expected, before = gradients(), searches()
    kept = ELSEWHERE[elsewhere]()
    assert _pool_statistics()["irregular"] > 0
    assert gradients() == expected
    assert searches() == before
    del kept


INSIDE = {
    "the root": lambda x: irregular(x * 2.0),
    "below the root": lambda x: irregular(x * 2.0) * 3.0,
    "far below": lambda x: functools.reduce(lambda out, _: out * 1.0, range(1000), irregular(x * 2.0)),
    "a leaf": lambda x: irregular(Value(2.0)) * x,
    "the root that is a leaf": lambda x: irregular(Value(2.0)),
    "a weight": lambda x: F.dot([irregular(Value(2.0))], [x]),
    "an input": lambda x: F.dot([x], [irregular(Value(2.0))]),
    "a bias": lambda x: F.dot([x], [x], irregular(Value(2.0))),
    "an operand of a reduction": lambda x: F.logsumexp([x, irregular(x * 2.0)]),
    "an operand of a choice": lambda x: F.where(x, x, irregular(x * 2.0)),
    "a child": lambda x: Value(1.0, (x, irregular(x * 2.0)), (1.0, 1.0)),
    "a difference that was looked at": lambda x: looked_at(x - x * 2.0)[0] * 3.0,
    "a neuron that was looked at": lambda x: looked_at(F.dot([x], [x * 2.0], 1.0))[0] * 3.0,
    "a node of a subclass": lambda x: Custom(1.0, (x,), (2.0,)) * 3.0,
    "a weight that was given operands": lambda x: late_weight(x),
}


def late_weight(x):
    out = []
    late(lambda node: out.append(F.dot([node], [x])) or x * 2.0)
    return out[0]


@pytest.mark.parametrize("between", [10, 3_000, 300_000])
@pytest.mark.parametrize("kept", [True, False])
def test_a_graph_of_nodes_far_apart_is_swept(between, kept):
    """Without the lock, nodes with numbers close together are put in places by their numbers."""
    leaf = Value(3.0)
    old = leaf * 2
    others = [leaf * k for k in range(between if kept else 0)]
    for _ in range(0 if kept else between):
        leaf * 5
    new = leaf * 7
    for _ in range(2):
        ((new + old) * (new * old + old)).backward()
    assert (old.grad, new.grad) == (2 * 726.0, 2 * 294.0)
    # The second time, both also pass on the gradients that they had.
    assert leaf.grad == 3 * (2 * 726.0 + 7 * 294.0)
    assert len(others) == between * kept


@pytest.mark.thread_unsafe
@pytest.mark.parametrize("where", INSIDE)
def test_an_irregular_node_in_the_graph_is_found(where):
    before = searches()
    INSIDE[where](Value(1.0)).backward()
    assert searches() == before + 1
    # No mark is left for the next sweep.
    x = Value(2.0)
    (x * x).backward()
    assert x.grad == 4.0
    assert searches() == before + 1


def test_a_look_at_another_graph_during_backward_leaves_the_order():
    def look_first(root):
        propagate = root._backward
        root._backward = lambda: (other._children, propagate())

    other = Value(5.0) - Value(3.0)
    assert gradients(look_first) == gradients(irregular)


@pytest.mark.parametrize("weights", ["shared by neurons", "used twice by a neuron", "shared with a bias"])
def test_a_layer_has_the_same_bits_wherever_its_nodes_lie(weights):
    """The sweep takes neurons in fours, also where a chunk ends among four."""

    def bits(clutter):
        chance = random.Random(3)
        shared = [Value(chance.uniform(-1, 1)) for _ in range(7)]
        inputs = [shared[0] * chance.uniform(-1, 1) for _ in range(3)]
        inputs.append(inputs[1])
        kept = [Value(0.0) for _ in range(clutter)]
        if weights == "shared by neurons":
            rows, biases = [shared[k : k + 4] for k in (0, 1, 2, 3, 2, 1)], None
        elif weights == "used twice by a neuron":
            rows, biases = [[shared[k], shared[6 - k], shared[k], shared[3]] for k in range(6)], None
        else:
            rows, biases = [shared[k : k + 4] for k in (3, 2, 1, 0, 1, 2)], shared[1:]
        out = F.linear(inputs, rows, biases, "tanh")
        sum(out).backward()
        del kept
        return [each.grad.hex() for each in shared]

    assert len({tuple(bits(clutter)) for clutter in range(64)}) == 1


# Data that changes.


@LIBRARIES
def test_backward_reads_the_data_of_that_moment(library):
    x, y = library(2.0), library(3.0)
    out = x * y
    y.data = 10.0
    out.backward()
    assert x.grad == 10.0


def test_updating_leaves_between_steps_trains():
    w = Value(5.0)
    for _ in range(60):
        loss = (w - 2) ** 2
        w.grad = 0.0
        loss.backward()
        w.data -= 0.25 * w.grad
    assert w.data == pytest.approx(2.0)


# Closures and local derivatives.


def test_a_closure_is_called_once_with_the_gradient_complete():
    calls = []
    x = Value(3.0)
    out = Value(9.0, (x,), "op")
    out._backward = lambda: calls.append(out.grad)
    (out * 2 + out * 5).backward()
    assert calls == [7.0]


@pytest.mark.parametrize("square", [squared, squared_by_derivative, lambda x: x * x, lambda x: x**2])
def test_every_form_of_a_node_mixes_with_the_others(square):
    x = Value(1.5)
    out = square(square(x * 2) + square_of_everything(x)) - x / 2
    out.backward()

    other = micrograd.engine.Value(1.5)
    expected = squared(squared(other * 2) + squared(squared(other) * other)) - other / 2
    expected.backward()
    assert out.data == expected.data
    assert x.grad == pytest.approx(other.grad, rel=1e-14)


def square_of_everything(x):
    """All the forms in one graph."""
    return squared(squared_by_derivative(x) * x)


def test_a_node_may_have_no_rule_at_all():
    x = Value(2.0)
    Value(3.0, (x,), "constant").backward()
    assert x.grad == 0.0


def test_a_closure_may_reach_nodes_that_are_not_its_children():
    """A rule runs when its node's turn comes, and may add to gradients of other nodes."""
    x, elsewhere = Value(2.0), Value(0.0)
    out = Value(2.0, (x,), "op")

    def _backward():
        elsewhere.grad += out.grad

    out._backward = _backward
    (out * 3).backward()
    assert elsewhere.grad == 3.0


def test_a_closure_of_a_leaf_is_called():
    x = Value(2.0)
    calls = []
    x._backward = lambda: calls.append(x.grad)
    (x * 3).backward()
    assert calls == [3.0]


def test_a_closure_of_the_root_is_called():
    root = Value(2.0)
    calls = []
    root._backward = lambda: calls.append(root.grad)
    root.backward()
    assert calls == [1.0]


def test_any_callable_will_do():
    class Doubling:
        def __init__(self, child, out):
            self.child, self.out = child, out

        def __call__(self):
            self.child.grad += 2 * self.out.grad

    x = Value(1.0)
    out = Value(2.0, (x,), "double")
    out._backward = Doubling(x, out)
    (out * 3).backward()
    assert x.grad == 6.0


def test_a_bound_method_of_a_subclass_may_be_the_rule():
    class Square(Value):
        def __init__(self, child):
            super().__init__(child.data**2, (child,), "square")
            self.child = child
            self._backward = self.pull

        def pull(self):
            self.child.grad += 2 * self.child.data * self.grad

    x = Value(3.0)
    (Square(x) * 2).backward()
    assert x.grad == 12.0


def test_a_subclass_may_define_the_rule_as_a_method():
    class Square(Value):
        def __init__(self, child):
            super().__init__(child.data**2, (child,), "square")

        def _backward(self):
            (child,) = self._children
            child.grad += 2 * child.data * self.grad

    x = Value(3.0)
    (Square(x) * 2).backward()
    assert x.grad == 12.0


def test_a_closure_may_be_replaced():
    x = Value(3.0)
    out = squared(x)
    out._backward = lambda: setattr(x, "grad", -1.0)
    out.backward()
    assert x.grad == -1.0


def test_a_closure_may_use_a_graph_of_its_own():
    """Building and running another graph inside a rule disturbs neither."""
    x = Value(3.0)
    out = Value(9.0, (x,), "squared")

    def _backward():
        inner = Value(x.data)
        (inner * inner + inner * 0).backward()
        x.grad += inner.grad * out.grad

    out._backward = _backward
    (out * 2 + out).backward()
    assert x.grad == 18.0


def test_an_exception_in_a_closure_comes_through_and_backward_can_run_again():
    x = Value(3.0)
    h = x * 2
    out = Value(1.0, (h,), "fragile")

    def _backward():
        raise KeyError("broken")

    out._backward = _backward
    root = out * 5
    with pytest.raises(KeyError, match="broken"):
        root.backward()
    assert x.grad == 0.0

    def repaired():
        h.grad += out.grad

    out._backward = repaired
    out.grad = h.grad = 0.0
    root.backward()
    assert x.grad == 10.0


# Hooks: a `_backward` that wraps the one before.


def hooked(node, calls):
    before = node._backward

    def _backward():
        calls.append(node.grad)
        before()

    node._backward = _backward
    return node


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x * 3,
        lambda x: 3 * x,
        lambda x: x - 1,
        lambda x: 1 / x,
        lambda x: x.tanh(),
        lambda x: x**2,
        squared,
        squared_by_derivative,
    ],
)
def test_a_hook_sees_the_gradient_and_changes_nothing(make):
    plain, watched = Value(2.0), Value(2.0)
    (make(plain) * 5).backward()
    calls = []
    (hooked(make(watched), calls) * 5).backward()
    assert watched.grad == plain.grad
    assert calls == [5.0]


def test_hooks_may_be_stacked():
    x = Value(2.0)
    h = x * 3
    inner, outer = [], []
    hooked(hooked(h, inner), outer)
    (h * 5).backward()
    assert (x.grad, inner, outer) == (15.0, [5.0], [5.0])


def test_a_hook_may_change_the_gradient_before_it_flows_on():
    x = Value(2.0)
    h = x * 3
    before = h._backward

    def clipped():
        h.grad = max(-1.0, min(1.0, h.grad))
        before()

    h._backward = clipped
    (h * 100).backward()
    assert (h.grad, x.grad) == (1.0, 3.0)


# By hand.


def test_backward_of_one_node_is_a_callable_that_adds_to_its_operands():
    a, b = Value(2.0), Value(3.0)
    out = a * b
    out.grad = 10.0
    assert callable(out._backward)
    out._backward()
    assert (a.grad, b.grad) == (30.0, 20.0)
    out._backward()
    assert (a.grad, b.grad) == (60.0, 40.0)


def test_backward_of_a_leaf_does_nothing_by_hand():
    x = Value(2.0)
    x.grad = 1.0
    x._backward()
    assert x.grad == 1.0


@pytest.mark.parametrize("when", ["before sorting", "after sorting"])
def test_rules_by_hand_in_reverse_order_are_backward(when):
    """The root's gradient may be set before the graph is first looked at, as in micrograd's lecture."""

    def graph():
        a, b, c = Value(2.0), Value(-3.0), Value(10.0)
        d = a * b + c
        e = (d.tanh() - a) / (b * b) + 2**d
        f = squared(e) + squared_by_derivative(d) - 1 / c + e.relu() + (-a) ** 2
        return f * d, (a, b, c)

    automatic, expected = graph()
    automatic.backward()
    by_hand, leaves = graph()
    if when == "before sorting":
        by_hand.grad = 1.0
    order = list(in_reverse_order(by_hand))
    by_hand.grad = 1.0
    for node in order:
        node._backward()
    assert [leaf.grad for leaf in leaves] == pytest.approx([leaf.grad for leaf in expected], rel=1e-14)


@pytest.mark.usefixtures("depth_first")
def test_a_custom_node_of_a_subclass_that_is_used_twice_is_visited_once():
    class Custom(Value):
        pass

    x = Value(2.0)
    node = Custom(3.0, (x,), "custom")
    calls = []

    def backward():
        calls.append(node.grad)
        x.grad += node.grad

    node._backward = backward
    (node * 2.0 + node * 3.0).backward()
    assert calls == [5.0]
    assert x.grad == 5.0
