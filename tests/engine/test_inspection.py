"""A node shows micrograd's graph, however fastgrad keeps it."""

import micrograd.engine
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgrad import Value
from fastgrad.engine import _pool_statistics


def tree(node):
    """(data, op, children) with the children in a fixed order, as micrograd's are a set."""
    return (float(node.data), node._op, sorted(tree(child) for child in node._prev))


def nodes_of(root):
    """Every node below the root, each once."""
    found, waiting = set(), [root]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting.extend(node._prev)
    return found


def census(root):
    """The numbers of nodes and of edges, which tell a graph with shared nodes from a tree."""
    nodes = nodes_of(root)
    return len(nodes), sum(len(node._prev) for node in nodes)


EXPRESSIONS = {
    "a + b": lambda a, b: a + b,
    "a + a": lambda a, b: a + a,
    "a + 1": lambda a, b: a + 1,
    "1 + a": lambda a, b: 1 + a,
    "a * b": lambda a, b: a * b,
    "a * a": lambda a, b: a * a,
    "a * 2.5": lambda a, b: a * 2.5,
    "3 * a": lambda a, b: 3 * a,
    "a - b": lambda a, b: a - b,
    "a - a": lambda a, b: a - a,
    "a - 1": lambda a, b: a - 1,
    "1 - a": lambda a, b: 1 - a,
    "-a": lambda a, b: -a,
    "a / b": lambda a, b: a / b,
    "a / a": lambda a, b: a / a,
    "a / 4": lambda a, b: a / 4,
    "4 / a": lambda a, b: 4 / a,
    "a**2": lambda a, b: a**2,
    "a**2.0": lambda a, b: a**2.0,
    "a**-1": lambda a, b: a**-1,
    "a**0.5": lambda a, b: a**0.5,
    "a.relu()": lambda a, b: a.relu(),
    "sum([a, b])": lambda a, b: sum([a, b]),
    "(a - b) / (a + b)**2": lambda a, b: (a - b) / (a + b) ** 2,
}

each_expression = pytest.mark.parametrize("name", EXPRESSIONS)


def both(name):
    build = EXPRESSIONS[name]
    leaves = [[library(2.0), library(3.0)] for library in (Value, micrograd.engine.Value)]
    return (build(*leaves[0]), leaves[0]), (build(*leaves[1]), leaves[1])


@each_expression
def test_graph_is_micrograds(name):
    (ours, _), (theirs, _) = both(name)
    assert tree(ours) == tree(theirs)
    assert census(ours) == census(theirs)


@each_expression
def test_gradients_after_looking_are_micrograds(name):
    """Looking before backward() must not change what backward() does, inner nodes included."""
    (ours, our_leaves), (theirs, their_leaves) = both(name)
    nodes_of(ours)
    ours.backward()
    theirs.backward()
    expected = [leaf.grad for leaf in their_leaves]
    assert [leaf.grad for leaf in our_leaves] == pytest.approx(expected, rel=1e-15)
    assert gradients(ours) == pytest.approx(gradients(theirs), rel=1e-15)


@each_expression
def test_gradients_when_first_looked_at_after_backward_are_micrograds(name):
    (ours, _), (theirs, _) = both(name)
    ours.backward()
    theirs.backward()
    assert gradients(ours) == pytest.approx(gradients(theirs), rel=1e-15)


def gradients(root):
    return sorted(float(node.grad) for node in nodes_of(root))


@each_expression
def test_two_looks_give_the_same_objects(name):
    (ours, _), _ = both(name)
    assert nodes_of(ours) == nodes_of(ours)
    assert ours._children == ours._children
    assert set(ours._children) == ours._prev


@each_expression
def test_looking_changes_neither_data_nor_grad_nor_symbol(name):
    (ours, _), _ = both(name)
    ours.backward()
    before = (ours.data, ours.grad, ours._op)
    nodes_of(ours)
    assert (ours.data, ours.grad, ours._op) == before


@each_expression
def test_second_backward_after_looking_doubles_the_gradients_of_the_leaves(name):
    (ours, leaves), _ = both(name)
    ours.backward()
    once = [leaf.grad for leaf in leaves]
    for node in nodes_of(ours):
        if node._prev:
            node.grad = 0.0
    ours.backward()
    assert [leaf.grad for leaf in leaves] == pytest.approx([2 * gradient for gradient in once], rel=1e-15)


def test_prev_is_a_set():
    a, b = Value(1.0), Value(2.0)
    assert type((a + b)._prev) is set
    assert (a + b)._prev == {a, b}
    assert (a + a)._prev == {a}


def test_changing_the_set_does_not_change_the_graph():
    out = Value(1.0) + Value(2.0)
    out._prev.clear()
    assert len(out._prev) == 2


def test_children_are_the_operands_in_order():
    a, b = Value(1.0), Value(2.0)
    assert (a + b)._children == (a, b)
    assert (b * a)._children == (b, a)
    assert (a + a)._children == (a, a)
    assert (a**b)._children == (a, b)
    assert a.tanh()._children == (a,)


def test_a_constant_is_shown_as_a_leaf():
    x = Value(2.0)
    out = x * 3
    left, constant = out._children
    assert left is x
    assert (constant.data, constant._op, constant._prev) == (3.0, "", set())


def test_a_shown_constant_has_its_gradient():
    x = Value(2.0)
    out = x * 3
    _, constant = out._children
    out.backward()
    assert constant.grad == 2.0


def test_a_shown_constant_may_be_changed():
    """A node that a look has made is a node like any other, as in micrograd."""
    x = Value(2.0)
    out = x * 3
    _, constant = out._children
    constant.data = 5.0
    out.backward()
    assert x.grad == 5.0


def test_a_node_stays_usable_after_it_was_looked_at():
    x = Value(2.0)
    h = x - 1
    nodes_of(h)
    out = h * h
    out.backward()
    assert x.grad == 2.0


def test_looking_inside_a_closure_during_backward_is_allowed():
    x = Value(3.0)
    inner = x / 2 - 1
    out = Value(inner.data, (inner,), "same")
    seen = []

    def _backward():
        inner.grad += out.grad
        seen.append(len(nodes_of(out)))

    out._backward = _backward
    (out * 4).backward()
    assert x.grad == 2.0
    assert seen == [6]


@pytest.mark.thread_unsafe
def test_backward_is_a_sweep_again_once_looked_at_nodes_are_gone():
    before = _pool_statistics()["irregular"]
    out = Value(3.0) - Value(2.0)
    nodes_of(out)
    assert _pool_statistics()["irregular"] > before
    del out
    assert _pool_statistics()["irregular"] == before


def test_shown_graph_of_deep_chain_is_walked_node_by_node():
    x = Value(1.0)
    out = x
    for _ in range(10_000):
        out = out - 1
    assert len(nodes_of(out)) == 1 + 2 * 10_000
    out.backward()
    assert x.grad == 1.0


# Random expressions.

numbers = st.sampled_from([0.5, 1.0, 2.0, 3.0, 4.0])
constants = st.one_of(numbers, st.integers(1, 4))


def combined(parts):
    return st.one_of(
        st.tuples(st.sampled_from("+-*/"), parts, parts),
        st.tuples(st.sampled_from("+-*/"), parts, constants.map(lambda c: ("constant", c))),
        st.tuples(st.sampled_from("+-*/"), constants.map(lambda c: ("constant", c)), parts),
        st.tuples(st.just("**"), parts, st.sampled_from([2, 3, -1, 2.0])),
        st.tuples(st.just("neg"), parts),
        st.tuples(st.just("relu"), parts),
        st.tuples(st.just("twice"), parts),
    )


expressions = st.recursive(st.tuples(st.just("leaf"), numbers), combined, max_leaves=8)


def build(library, expression):
    """The expression as nodes of micrograd or fastgrad."""
    kind, *parts = expression
    if kind == "leaf":
        return library(*parts)
    if kind == "constant":
        return parts[0]
    if kind == "**":
        return build(library, parts[0]) ** parts[1]
    operands = [build(library, part) for part in parts]
    if kind == "neg":
        return -operands[0]
    if kind == "relu":
        return operands[0].relu()
    if kind == "twice":
        return operands[0] + operands[0]
    left, right = operands
    if kind == "+":
        return left + right
    if kind == "-":
        return left - right
    if kind == "*":
        return left * right
    return left / right


def shape(node):
    """The graph without its numbers."""
    return (node._op, sorted(shape(child) for child in node._prev))


@given(expressions)
def test_graph_of_a_random_expression_is_micrograds(expression):
    try:
        theirs = build(micrograd.engine.Value, expression)
    except ArithmeticError:
        return
    ours = build(Value, expression)
    assert shape(ours) == shape(theirs)
    assert census(ours) == census(theirs)
    assert sorted(node.data for node in nodes_of(ours)) == pytest.approx(
        sorted(float(node.data) for node in nodes_of(theirs)), rel=1e-9, abs=1e-9
    )
