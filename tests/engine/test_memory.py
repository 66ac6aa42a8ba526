"""Depth, size and leaks. Node counts are exact, so most leaks are found without measuring memory."""

import copy
import gc
import os
import pickle
import sys
import sysconfig
from pathlib import Path

import pytest

import fastgrad.functional as F
from fastgrad import Value
from fastgrad.engine import _linear as linear
from fastgrad.engine import _Matrix as Matrix
from fastgrad.engine import _pool_statistics, apply
from fastgrad.nn import MLP, Layer, Neuron

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
linux_only = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc/self/statm")
# It keeps what is freed, to see who uses it after that.
not_sanitized = pytest.mark.skipif("ASAN_OPTIONS" in os.environ, reason="AddressSanitizer frees no memory")


def closure_node(*children):
    """A node in a reference cycle: its closure holds it."""
    out = Value(sum(child.data for child in children), children, "closure")

    def _backward():
        for child in children:
            child.grad += out.grad

    out._backward = _backward
    return out


def hooked(node):
    """A hook on a node that holds the node."""
    before = node._backward

    def _backward():
        before()
        node.seen = node.grad

    node._backward = _backward
    return node


class Sub(Value):
    pass


class Collecting:
    def __del__(self):
        gc.collect()


# Depth.


@pytest.mark.parametrize(
    ("form", "depth"),
    [
        ("operations", 10_000_000),
        ("diamonds", 1_000_000),
        ("derivatives", 300_000),
        ("closures", 300_000),
        ("subclass", 300_000),
    ],
)
def test_a_deep_chain_is_built_run_and_freed_without_recursion(run_script, form, depth):
    gradient, left = run_script("deep_chain.py", depth, form).split()
    # Each diamond doubles the gradient, which soon is infinite.
    assert gradient == ("inf" if form == "diamonds" else "1.0")
    assert left == "1"


@linux_only
@not_sanitized
@pytest.mark.skipif(FREE_THREADED, reason="without the pool a node takes what CPython's allocator takes")
def test_a_node_takes_at_most_80_bytes(run_script):
    assert 60 < float(run_script("node_size.py", 1_000_000)) <= 80


# No growth.


@linux_only
@not_sanitized
@pytest.mark.parametrize("form", ["operations", "closures"])
def test_training_does_not_grow(run_script, form):
    resident, nodes, chunks, irregular = map(int, run_script("training.py", 10_000, form).split())
    assert nodes == 0
    assert irregular == 0
    assert chunks <= 1
    # Without the pool, late frees of the collector leave holes: 13 MB after 30,000 steps and after 60,000.
    assert resident < (2**24 if FREE_THREADED else 2**20)


def test_chunks_of_a_freed_graph_are_used_for_the_next():
    def build():
        out = Value(1.0)
        for _ in range(10_000):
            out = out + 1.0
        return out

    build()
    before = _pool_statistics()
    for _ in range(20):
        build()
    assert _pool_statistics() == before


FORMS = (
    "operations errors custom_node cycles failing_backward layers optimizers programs compilations survivors"
)


@linux_only
@not_sanitized
@pytest.mark.skipif(FREE_THREADED, reason="its allocator keeps memory of the first 100,000 graphs")
@pytest.mark.parametrize("form", FORMS.split())
def test_nothing_is_left_of_many_graphs(run_script, form):
    """One million of each: `nox -s leaks`."""
    run_script("../reliability/leaks.py", "--only", form, "--graphs", 20_000)


# Freed at once.

GRAPHS = {
    "operations": lambda x: (x * 2 + 1).tanh() / x - x**2,
    "shared": lambda x: (x + 1) * (x + 1) * x,
    "local derivatives": lambda x: Value(1.0, (x, x * 2), (1.0, 2.0)) * 3,
    "subclass": lambda x: Sub(1.0, (x,), (1.0,)) * x,
    "label": lambda x: labelled(x * 2, "h") + 1,
    "attribute": lambda x: coloured(x * 2, "lightblue") + 1,
}
CYCLES = {
    "closure": lambda x: closure_node(x) * 2,
    "closure of several": lambda x: closure_node(x, x * 2, x),
    "closures in a row": lambda x: closure_node(closure_node(closure_node(x) * 2) + 1),
    "hook on an operation": lambda x: hooked(x * 2) + 1,
    "hook on a leaf": lambda x: hooked(Value(2.0)) * x,
    "hooks stacked": lambda x: hooked(hooked(x * 2)),
    "hook on local derivatives": lambda x: hooked(Value(1.0, (x,), (1.0,))) * 2,
    "hook on a subclass": lambda x: hooked(Sub(1.0, (x,), (1.0,))) * 2,
    "attribute that is the node": lambda x: own_attribute(x * 2),
    "attribute that leads to the node": lambda x: attribute_list(x * 2),
    "attribute that leads to a later node": lambda x: later_attribute(x * 2),
    "dict that leads to a later node": lambda x: later_dict(x * 2),
    "label that leads to the node": lambda x: label_list(x * 2),
    "hook that leads to a later node": lambda x: later_hook(x * 2),
    "attribute of a node that was not made yet": lambda x: shown_attribute(x - x * 2),
    "attribute of a constant that was not made yet": lambda x: shown_attribute(x + 2),
    "operand of its own operand": lambda x: operand_of_its_operand(x * 2),
    "children that were assigned": lambda x: assigned_children(x * 2) * 3,
    "children that were assigned and used the node": lambda x: assigned_operand(x * 2),
    "label given to the constructor": lambda x: held(lambda box: Value(1.0, label=box)) * x,
    "label given to a subclass": lambda x: held(lambda box: Sub(1.0, label=box)) * x,
    "label given again": lambda x: labelled_again() * x,
    "symbol of a leaf": lambda x: held(lambda box: Value(1.0, (), Symbol(box))) * x,
    "symbol of a custom node": lambda x: held(lambda box: Value(1.0, (x * 2,), Symbol(box))) * x,
    "symbol of a subclass": lambda x: held(lambda box: Sub(1.0, (x,), Symbol(box))) * x,
    "symbol assigned": lambda x: held(lambda box: symbolised(x * 2, [box])) * x,
    "label of local derivatives": lambda x: held(lambda box: Value(1.0, (x * 2,), (2.0,), box)) * x,
    "label of derivatives of a subclass": lambda x: held(lambda box: Sub(1.0, (x,), (2.0,), box)) * x,
    "label of what is computed meanwhile": lambda x: held(lambda box: Value(1.0, [x * 2], "", box)) * x,
    "children of a reduction": lambda x: kept_children(lambda a: F.logsumexp([a, x * 2])) * x,
    "children of a choice": lambda x: kept_children(lambda a: F.where(a, x, a * 2)) * x,
    "children of an operation of the table": lambda x: kept_children(lambda a: apply("where", a, x, a)) * x,
    "children of a copied reduction": lambda x: kept_children(lambda a: copy.copy(F.sum([a, x]))) * x,
    "children of local derivatives": lambda x: kept_children(lambda a: Value(1.0, (a, x), (1.0, 2.0))) * x,
    "children of a custom node": lambda x: kept_children(lambda a: Value(1.0, (a, x), "mine")) * x,
    "children of a dot product": lambda x: kept_children(lambda a: F.dot([a], [x])) * x,
    "children given as a tuple": lambda x: given_tuple(lambda operands: F.logsumexp(operands)) * x,
    "inputs given as a tuple": lambda x: given_tuple(lambda operands: F.dot(operands, [x, x])) * x,
    "layer kept on its weight": lambda x: owned_layer(Layer(2, 2)),
    "network kept on its weight": lambda x: owned_network(MLP(2, [4, 1])),
    "neuron kept on its weight": lambda x: owned_neuron(Neuron(2)),
    "matrix kept on its weight": lambda x: owned_matrix(Matrix([[Value(1.0)], [Value(2.0)]])),
    "attributes taken out": lambda x: taken_attributes(x * 2),
}


class Box(list):
    """A container that may be put into itself."""


class Symbol:
    """A symbol that is an object and holds another."""

    def __init__(self, content):
        self.content = content


def held(make):
    """A node made of a container, which then holds what is computed from the node."""
    box = Box()
    node = make(box)
    box.append(node * 2)
    return node


def labelled_again():
    node = Value(1.0)
    out = node * 2
    node.__init__(1.0, label=[out])
    return out


def symbolised(node, symbol):
    node._op = symbol
    return node


def kept_children(make):
    """An operand that keeps the tuple of operands of a freed node."""
    operand = Value(0.5)
    node = make(operand)
    children = node._children
    del node
    operand.children = children
    return operand


def given_tuple(make):
    operands = (Value(0.5), Value(0.25))
    node = make(operands)
    operands[0].used_in = operands
    return node


def owned_layer(layer):
    """A cycle of a layer and its weight; the layer also remembers the last of its calls."""
    layer([1.0, 2.0])
    layer.neurons[0].w[0].owner = layer
    return layer.neurons[0].b * 2


def owned_network(network):
    network([1.0, 2.0])
    network.layers[1].neurons[0].b.owner = network
    return network.layers[0].neurons[0].b * 2


def owned_neuron(neuron):
    neuron([1.0, 2.0])
    neuron.w[1].owner = neuron
    return neuron.b * 2


def owned_matrix(matrix):
    linear([1.0], matrix)
    matrix[0][0].owner = matrix
    return matrix[1][0] * 2


def taken_attributes(node):
    node.note = "text"
    attributes = node.__reduce_ex__(2)[1][0].__reduce__()[2][0][0][2]
    attributes["later"] = out = node * 3
    return out


def labelled(node, label):
    node.label = label
    return node


def coloured(node, colour):
    node._vis_color = colour
    return node


def own_attribute(node):
    node.itself = node
    return node


def attribute_list(node):
    node.history = [node]
    return node


def later_attribute(node):
    out = node * 3 + 1
    node.history = [out]
    return out


def later_dict(node):
    out = node * 3 + 1
    vars(node)["out"] = out
    return out


def label_list(node):
    node.label = [node]
    return node


def shown_attribute(node):
    node._children[1].note = node
    return node * 2


def assigned_children(*children):
    out = Value(1.0)
    out._prev = children
    out._backward = lambda: out
    return out


def assigned_operand(node):
    leaf = Value(1.0)
    out = leaf * node
    leaf._prev = {out}
    return out


def operand_of_its_operand(node):
    fresh = Value.__new__(Value)
    out = fresh * node
    fresh.__init__(1.0, (out,), "late")
    return out


def later_hook(node):
    out = closure_free(node * 3)
    node._backward = lambda: out.grad
    return out


def closure_free(node):
    return node.tanh() * node + 1


def look_below(out):
    waiting = [out]
    while waiting:
        waiting.extend(waiting.pop()._prev)


@pytest.mark.parametrize("use", [Value.backward, look_below])
@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_without_cycles_is_freed_at_once(name, use, live_nodes):
    x = Value(0.5)
    before = live_nodes()
    gc.disable()
    try:
        use(GRAPHS[name](x))
        assert _pool_statistics()["nodes"] == before
    finally:
        gc.enable()


@pytest.mark.parametrize("name", [*GRAPHS, *CYCLES])
def test_a_graph_is_collected_by_one_collection(name, live_nodes):
    x = Value(0.5)
    before, irregular = live_nodes(), _pool_statistics()["irregular"]
    for _ in range(3):
        out = (GRAPHS | CYCLES)[name](x)
        out.backward()
        del out
    assert live_nodes() == before
    assert _pool_statistics()["irregular"] == irregular


def test_hooks_added_to_a_finished_graph_in_any_order_are_collected(live_nodes):
    x = Value(1.0)
    before = live_nodes()
    for start, step in ((0, 1), (0, -1), (500, 7)):
        nodes = [x * 1.0]
        for _ in range(1000):
            nodes.append(nodes[-1] * 1.0)
        out = nodes[-1]
        for index in range(start, 1000, step) if step > 0 else range(999, -1, step):
            hooked(nodes[index])
            nodes[index].loss = out
        del nodes, out
    assert live_nodes() == before


@pytest.mark.parametrize("keep", ["attribute", "label"])
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda node: pickle.loads(pickle.dumps(node))])
def test_a_copied_graph_that_one_of_its_leaves_refers_to_is_collected(duplicate, keep, live_nodes):
    before = live_nodes()
    leaf = Value(1.0)
    out = leaf * 2.0
    if keep == "attribute":
        leaf.result = out
    else:
        leaf.label = [out]
    duplicate(out)
    del leaf, out
    assert live_nodes() == before


def test_a_hook_on_an_input_of_a_fused_layer_is_collected(live_nodes):
    layer = Layer(2, 3)
    before = live_nodes()
    inputs = [Value(1.0) * 2, Value(3.0) * 4]
    out = sum(layer(inputs))
    inputs[0].loss = out
    del inputs, out
    assert live_nodes() == before


def test_an_output_kept_on_a_weight_that_a_layer_knows_is_collected(live_nodes):
    before = live_nodes()
    layer = Layer(2, 3)
    layer([1.0, 2.0])
    weight = layer.parameters()[0]
    weight.history = []
    weight.history.append(layer([1.0, 2.0]))
    del layer, weight
    assert live_nodes() == before


@pytest.mark.parametrize("length", [1, 10, 1000])
def test_a_chain_of_closures_is_freed_by_one_collection(length, live_nodes):
    """If the collector could not see the nodes between two closures, each closure would need a collection."""
    x = Value(1.0)
    before = live_nodes()
    out = x
    for _ in range(length):
        out = closure_node(out) * 1.0 + 0.0
    assert _pool_statistics()["nodes"] == before + 3 * length
    del out
    gc.collect()
    assert _pool_statistics()["nodes"] == before


def test_the_collector_keeps_what_is_still_used():
    x = Value(1.0)
    out = closure_node(x * 2) + hooked(x * 3)
    gc.collect()
    out.backward()
    assert x.grad == 5.0


# Sharing.


@pytest.mark.parametrize("make", [lambda x: x * 2, closure_node, lambda x: Sub(1.0, (x,), (2.0,))])
def test_freeing_half_of_a_shared_graph_leaves_the_other_half_working(make, live_nodes):
    x = Value(1.5)
    shared = make(x)
    left, right = shared * 3, shared + 1
    for _ in range(100):
        left = left * 1.0
    del left
    live_nodes()
    right.backward()
    assert shared.grad == 1.0
    assert x.grad in (1.0, 2.0)


def test_nodes_made_after_others_were_freed_do_not_disturb_their_neighbours():
    """Memory is used again while older nodes around it are alive."""
    x = Value(1.0)
    kept = []
    for _ in range(200):
        burst = [x * number for number in range(50)]
        kept.append(burst[7])
        del burst
    sum(kept).backward()
    assert x.grad == 7.0 * 200


def test_a_leaf_outlives_its_graphs():
    x = Value(1.0)
    for _ in range(1000):
        (x * 2).backward()
    assert x.grad == 2000.0


def test_the_last_reference_may_be_any_node_of_the_graph():
    def middle():
        x = Value(2.0)
        h = x * 3
        out = h * 4
        out.backward()
        return h

    h = middle()
    gc.collect()
    assert h.grad == 4.0
    assert {child.data for child in h._prev} == {2.0, 3.0}


# Errors and reference counts.


def test_errors_leak_nothing(live_nodes):
    x = Value(-1.0)

    def fail():
        for compute in (
            lambda: (x * 2).log(),
            lambda: (x * 2) ** 0.5,
            lambda: (x + 1) ** -1,
            lambda: (x * 2) + "text",
            lambda: Value("text"),
            lambda: Value(1.0, (x * 2, None)),
            lambda: Value(1.0, (x * 2,), (1.0, 2.0)),
            lambda: Sub(1.0, (x * 2, None)),
            lambda: setattr(x * 2, "data", None),
        ):
            try:
                compute()
            except (ArithmeticError, ValueError, TypeError):
                continue
            raise AssertionError("no error")

    before = live_nodes()
    for _ in range(100):
        fail()
    assert live_nodes() == before


def test_an_error_in_a_closure_leaks_nothing(live_nodes):
    x = Value(1.0)
    before = live_nodes()
    for _ in range(20):
        out = closure_node(x * 2)
        out._backward = lambda: 1 / 0
        with pytest.raises(ZeroDivisionError):
            (out + 1).backward()
        del out
    assert live_nodes() == before


@pytest.mark.parametrize("name", [*GRAPHS, *CYCLES])
def test_reference_counts_of_what_is_kept_are_restored(name):
    x = Value(0.5)
    text = "".join(["a ", "label"])
    x.label = text
    before = sys.getrefcount(x), sys.getrefcount(text)
    for _ in range(10):
        (GRAPHS | CYCLES)[name](x).backward()
    gc.collect()
    assert (sys.getrefcount(x), sys.getrefcount(text)) == before


def test_an_object_held_by_a_node_dies_with_it():
    class Tracer:
        alive = 0

        def __init__(self):
            Tracer.alive += 1

        def __del__(self):
            Tracer.alive -= 1

    for hold in (
        lambda node: setattr(node, "note", Tracer()),
        lambda node: setattr(node, "label", Tracer()),
        lambda node: setattr(node, "_op", Tracer()),
    ):
        node = Value(1.0) * 2
        hold(node)
        hold(node)
        assert Tracer.alive == 1
        del node
        gc.collect()
        assert Tracer.alive == 0


def test_a_finaliser_may_build_graphs_while_a_graph_is_freed(live_nodes):
    """Freeing is a loop. A node that a finaliser drops inside it is freed, without recursion."""
    results = []

    class Finalised:
        def __del__(self):
            y = Value(3.0)
            (y * y + y).backward()
            results.append(y.grad)

    before = live_nodes()
    out = Value(1.0)
    for _ in range(100):
        out = out + 1.0
        out.note = Finalised()
    del out
    assert live_nodes() == before
    assert results == [7.0] * 100


def test_a_finaliser_may_collect_garbage_while_a_graph_is_freed(live_nodes):
    """The collector must not meet the nodes that wait to be freed."""
    before = live_nodes()
    for _ in range(10):
        x = Value(1.0)
        nodes = [x * number for number in range(4)]
        for node in nodes:
            node.note = Collecting()
        out = (nodes[0] + nodes[1]) * closure_node(nodes[2], nodes[3])
        del nodes, node, x
        del out
    assert live_nodes() == before


@pytest.mark.parametrize("make", [lambda x: F.logsumexp([x, 2.0]), lambda x: F.where(x, 2.0, 3.0)])
def test_a_copy_does_not_hide_the_operands_of_the_original(live_nodes, make):
    before = live_nodes()
    older = Value(0.0)
    between = [Value(0.0) for _ in range(100)]
    x = Value(1.0)
    node = make(x)
    after = [Value(0.0) for _ in range(100)]
    # From now on the collector tracks the nodes of the chunks in between; the engine checks them no more.
    older.note = []
    copy.copy(node)
    x.note = node
    del older, between, x, node, after
    gc.collect()
    assert live_nodes() == before


def test_replacing_attributes_frees_the_old_ones(live_nodes):
    node = Value(1.0)
    before = live_nodes()
    for _ in range(100):
        node.note = Value(2.0) * 3
    del node.note
    assert live_nodes() == before


@pytest.mark.skipif(FREE_THREADED, reason="without the pool there are no arenas")
def test_memory_goes_back_to_the_system_in_whatever_order_nodes_are_freed(live_nodes):
    before = _pool_statistics()["arenas"]
    nodes = [Value(0.0) for _ in range(2_200_000)]
    most = _pool_statistics()["arenas"]
    # The first chunk of every arena, then the second of every arena, and so on.
    arena = 62 * 512
    for start in range(0, arena, 62):
        for chunk in range(start, len(nodes), arena):
            nodes[chunk : chunk + 62] = [None] * len(nodes[chunk : chunk + 62])
    del nodes
    assert live_nodes() < 100_000
    # 64 MiB, 32 arenas, are kept.
    assert most - before > 40
    assert _pool_statistics()["arenas"] <= before + 33


def test_a_collection_may_run_while_a_graph_is_freed(live_nodes):
    before = live_nodes()
    x = Value(1.0)
    # A cycle that is garbage: what it drops is queued behind the node being freed.
    closure_node(x * 2.0)
    node = x * 3.0
    node.note = Collecting()
    del node
    del x
    assert live_nodes() == before
