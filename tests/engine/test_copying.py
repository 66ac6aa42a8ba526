"""Copies and pickles of Values and graphs."""

import array
import copy
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastgrad.functional as F
from fastgrad import Value, compile, operations  # noqa: A004
from fastgrad.compiler import pickling
from fastgrad.compiler.arguments import prepare_arguments
from fastgrad.engine import _reduce as reduce
from fastgrad.engine import apply
from fastgrad.nn import MLP


def through_pickle(protocol):
    return lambda thing: pickle.loads(pickle.dumps(thing, protocol))


DUPLICATE = [
    pytest.param(copy.deepcopy, id="deepcopy"),
    *[
        pytest.param(through_pickle(protocol), id=f"pickle {protocol}")
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)
    ],
]


class Named(Value):
    pass


def operands():
    return Value(0.75, label="a"), Value(1.25)


def expressions():
    """Every kind of node, by name, as a function of two leaves."""
    for operation in operations.TABLE:
        if operation.operands == 1:
            # An inverse hyperbolic cosine is of at least 1.
            at = operation.name == "acosh"
            yield operation.name, lambda a, b, at=at, method=operation.method: getattr((a, b)[at], method)()
        else:
            yield operation.name, lambda a, b, method=operation.method: getattr(a, method)(b)
            yield f"{operation.name} constant", lambda a, b, method=operation.method: getattr(a, method)(3)
            yield f"constant {operation.name}", lambda a, b, o=operation: apply(o.name, 2.5, a)
    for operation in operations.FUNCTIONS:
        if operation.name != "polygamma":
            yield operation.name, lambda a, b, o=operation: apply(o.name, *(a, b, a)[: o.operands])
    yield "polygamma", lambda a, b: apply("polygamma", 2.0, a)
    for reduction in operations.REDUCTIONS:
        yield reduction.name, lambda a, b, name=reduction.name: reduce(name, [a, b, a])
    yield "same operand twice", lambda a, b: a * a
    yield "derivatives", lambda a, b: Value(1.0, (a, b), (2.0, 3.0))
    yield "symbol", lambda a, b: Value(1.0, (a, b), "mine")
    yield "network", lambda a, b: MLP(2, [3, 1], activation="tanh")([a, b])
    yield "leaf", lambda a, b: a


EXPRESSIONS = [pytest.param(function, id=name) for name, function in expressions()]


def flat(root):
    """The graph as a list: data, gradient, symbol, label and the places of the operands."""
    nodes, places = [], {}

    def visit(node):
        if id(node) not in places:
            children = [visit(child) for child in node._children]
            places[id(node)] = len(nodes)
            nodes.append((node.data, node.grad, node._op, node.label, type(node), children))
        return places[id(node)]

    visit(root)
    return nodes


@pytest.mark.parametrize("duplicate", DUPLICATE)
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_duplicate_is_the_same_graph_of_new_nodes(duplicate, expression):
    a, b = operands()
    root = expression(a, b)
    root.backward()
    other = duplicate(root)
    assert other is not root
    assert flat(other) == flat(root)


@pytest.mark.parametrize("duplicate", DUPLICATE)
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_duplicate_has_gradients_of_its_own(duplicate, expression):
    a, b = operands()
    root = expression(a, b)
    other_a, other_b, other = duplicate((a, b, root))
    other.backward()
    assert (a.grad, b.grad) == (0.0, 0.0)
    root.backward()
    assert (other_a.grad, other_b.grad) == (a.grad, b.grad)


@pytest.mark.parametrize("duplicate", DUPLICATE)
def test_nodes_duplicated_together_stay_connected(duplicate):
    a, b = operands()
    hidden = a * b
    root = hidden.tanh() + hidden
    other_hidden, other_root, other_a = duplicate([hidden, root, a])
    assert other_root._prev == {other_hidden, *(other_root._prev - {other_hidden})}
    assert other_hidden in other_root._prev
    assert other_a in other_hidden._prev


@pytest.mark.parametrize("duplicate", DUPLICATE)
def test_a_graph_may_be_deeper_than_the_recursion_limit(duplicate):
    x = Value(1.0)
    root = x
    for _ in range(20_000):
        root = root * 1.0001 + x
    other_x, other = duplicate((x, root))
    other.backward()
    root.backward()
    assert (other.data, other_x.grad) == (root.data, x.grad)


@pytest.mark.parametrize("duplicate", DUPLICATE)
def test_attributes_labels_and_subclasses_are_kept(duplicate):
    x = Named(2.0, label="x")
    x.history = [1, 2]
    y = x * 3
    y.note = "on a result"
    other = duplicate(y)
    (other_x,) = [child for child in other._prev if type(child) is Named]
    assert (other_x.label, other_x.history, other.note) == ("x", [1, 2], "on a result")
    assert other_x.history is not x.history


@pytest.mark.parametrize("duplicate", DUPLICATE)
@pytest.mark.parametrize("make", [lambda: Value(1.0), lambda: Value(1.0) * 2], ids=["leaf", "result"])
def test_an_attribute_may_refer_to_the_node_itself(duplicate, make):
    x = make()
    x.me = [x]
    other = duplicate(x)
    assert other.me[0] is other


@pytest.mark.parametrize("duplicate", DUPLICATE)
def test_a_backward_of_the_users_own_raises_type_error(duplicate):
    x = Value(1.0)
    out = Value(2.0, (x,), "mine")
    out._backward = lambda: None
    with pytest.raises(TypeError, match="'mine'"):
        duplicate(out + 1)


def test_a_copy_shares_the_operands():
    a, b = operands()
    root = a * b
    other = copy.copy(root)
    assert other is not root
    assert other._prev == {a, b}
    other.backward()
    assert root.grad == 0.0


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([(Value, "mul", 0, 1.0, 0.0, (7, -1), None)], "not in it"),
        ([(Value, "nonsense", 0, 1.0, 0.0, (), None)], "nonsense"),
        ([(Value, "mul", 17, 1.0, 0.0, (-1, -1), None)], "form 17"),
        ([(Value, "mul", 0, 1.0, 0.0, (-1,), None)], "1 operands"),
        ([(Value, "mul", 2, 1.0, 0.0, (-1,), 2.0)], "form 2"),
        ([(Value, "sub", 1, 1.0, 0.0, (-1,), 2.0)], "form 1"),
        ([(Value, "add", 3, 1.0, 0.0, (-1,), 2.0)], "form 3"),
        ([(Value, "where", 0, 1.0, 0.0, (-1, -1), None)], "2 operands"),
        ([(Value, "mul", 1, 1.0, 0.0, (-1,), "x")], "'x'"),
        ([(Value, "tanh", 0, 1.0, 0.0, (-1, -1), None)], "2 operands"),
        ([(Value, "dot", 0, 1.0, 0.0, (-1, -1, -1), 3)], "3 operands"),
        ([(Value, "dot", 0, 1.0, 0.0, (-1, -1, -1), -1)], "3 operands"),
        ([(Value, "sum", 0, 1.0, 0.0, (), None)], "0 operands"),
        ([(Value, "custom", 0, 1.0, 0.0, (-2,), "t")], "no Value"),
    ],
)
def test_a_damaged_pickle_raises_value_error(records, message):
    from fastgrad.copying import load_nodes

    with pytest.raises(ValueError, match=message):
        load_nodes([Value(1.0), "no Value"], records)


@pytest.mark.parametrize("duplicate", DUPLICATE)
def test_an_attribute_that_was_deleted_is_not_copied(duplicate):
    leaf = Value(1.0)
    leaf.moment = 2.0
    del leaf.moment
    assert vars(duplicate(leaf)) == {}


@pytest.mark.parametrize("duplicate", DUPLICATE)
@pytest.mark.parametrize("name", ["label", "_op", "history"])
def test_a_copy_that_is_part_of_a_cycle_is_freed(duplicate, name, live_nodes):
    before = live_nodes()
    leaf = Value(2.0)
    out = leaf * 3.0 + 1.0
    setattr(leaf, name, [out])
    copied = duplicate(out)
    del leaf, out, copied
    assert live_nodes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="limits the memory")
def test_damaged_pickles_of_values_and_programs_are_errors_or_usable(run_script):
    """Two hundred thousand of them: `nox -s files`."""
    outcomes = run_script("../reliability/damaged_pickles.py", "--count", 3000)
    assert "ValueError" in outcomes


@pytest.mark.parametrize(
    "changes",
    [
        {"records": b"\0" * 11},
        {"records": (99).to_bytes(4, "little") + b"\0" * 8},
        {"records": (1).to_bytes(4, "little") + b"\xff" * 8},
        {"operands": b"\0"},
        {"constants": ["1.0"]},
        {"parameters": (1.0,)},
        {"leaves": []},
        {"leaves": [(0, 5)]},
        {"leaves": [(7, 0)]},
        {"outputs": [-1]},
        {"outputs": [99]},
        {"outputs": []},
        {"outputs": None},
        {"operations": []},
        {"operations": ["leaf", "constant", "nonsense", "add"]},
        {"operations": ["leaf", "leaf", "leaf", "leaf"]},
        {"arguments": [("x", "nonsense", None)]},
        {"arguments": []},
        {"format": 2},
        {"format": None},
    ],
)
def test_a_program_of_other_records_is_refused(changes):
    """A program's numbers are checked when a pickle is read; the code that runs later checks no bounds."""
    compiled = compile(lambda x: (p * x).tanh() + 2.0)
    p = Value(1.5)
    compiled([1.0])
    load, (saved,) = compiled.latest.__reduce__()
    assert load(saved).parameters == (p,)
    with pytest.raises((ValueError, TypeError)):
        load({**saved, **changes})


def test_a_program_without_one_of_its_fields_is_refused():
    compiled = compile(lambda x: x * 2.0)
    compiled([1.0])
    load, (saved,) = compiled.latest.__reduce__()
    for field in saved.keys() - {"format", "fastgrad", "loops"}:
        with pytest.raises(ValueError, match=f"damaged program: it has no '{field}'"):
            load({name: part for name, part in saved.items() if name != field})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"operations": ["leaf", "airy"], "fastgrad": "9.1"},
            r"fastgrad 9\.1 and needs the operation 'airy'",
        ),
        ({"format": 7, "fastgrad": "9.1"}, r"fastgrad 9\.1 in format 7"),
    ],
)
def test_a_program_of_a_later_fastgrad_is_refused_in_words(changes, message):
    compiled = compile(lambda x: x.tanh())
    compiled([1.0])
    load, (saved,) = compiled.latest.__reduce__()
    with pytest.raises(ValueError, match=message):
        load({**saved, **changes})


def test_a_saved_program_names_its_operations_in_any_order():
    compiled = compile(lambda x: (x * 3.0).tanh() - x.exp())
    expected = compiled([0.5, 1.0])
    load, (saved,) = compiled.latest.__reduce__()
    names = saved["operations"]
    assert set(names) == {"leaf", "constant", "mul", "tanh", "exp", "sub"}
    numbers = pickling.integers(saved["records"])
    numbers[::3] = array.array("i", [len(names) - 1 - number for number in numbers[::3]])
    program = load({**saved, "operations": names[::-1], "records": pickling.little_endian(numbers)})
    ready = prepare_arguments(([0.5, 1.0],), ("x",))
    assert program.outputs(ready, 1, 0).tolist() == expected.tolist()


DATA = Path(__file__).parents[1] / "data"


def test_a_program_that_was_saved_by_numbers_is_refused():
    """It has operations as numbers of another table, and names a module that no longer exists."""
    with pytest.raises(ModuleNotFoundError, match=r"fastgrad\.compiling"):
        pickle.loads((DATA / "program_without_version.pickle").read_bytes())


def test_a_program_of_format_1_computes_what_it_did_when_it_was_saved():
    """The file is never written again: other machines and other versions have made such pickles."""
    compiled = pickle.loads((DATA / "program_of_format_1.pickle").read_bytes())
    rows = [[3.0, 1.0], [1.0, 2.0]], [1.0, 2.0], [1, 2]
    assert compiled(*rows).tolist() == pytest.approx([2.90618183996918, 3.25], rel=1e-12)
    compiled.backward(*rows)
    assert [w.grad for w in compiled.parameters] == pytest.approx(
        [0.26953125666660244, *[0.05073489178774977] * 2], rel=1e-12
    )
    assert [w.data for w in compiled.parameters] == [0.5, -1.25, 2.0]


def test_a_program_refuses_arguments_of_another_signature():
    compiled = compile(lambda x, y: x * y)
    compiled([1.0], [2.0])
    for arguments in ([], [1.0], [None, None]):
        with pytest.raises(TypeError):
            compiled.latest.outputs(arguments, 1, 0)


@pytest.mark.parametrize(
    "function",
    [lambda x, p: apply("where", x, p, 1.0), lambda x, p: F.dot([p, p], [x, x])],
    ids=["where", "dot"],
)
def test_a_record_of_too_few_operands_is_refused(function):
    p = Value(1.5)
    compiled = compile(lambda x: function(x, p))
    compiled([1.0])
    load, (saved,) = compiled.latest.__reduce__()
    numbers = pickling.integers(saved["records"])
    numbers[-1] = 1
    with pytest.raises(ValueError, match="damaged"):
        load({**saved, "records": pickling.little_endian(numbers)})


# Symbols that are not strings.

SHALLOW_AND_DEEP = [*DUPLICATE, pytest.param(copy.copy, id="copy")]


@pytest.mark.parametrize("kind", [Value, Named])
@pytest.mark.parametrize("symbol", [(1.0, 2.0), [1.0, 2.0], (1.0,), ("a", "b"), 5])
@pytest.mark.parametrize("duplicate", SHALLOW_AND_DEEP)
def test_a_symbol_that_was_set_is_no_derivatives_in_a_copy(duplicate, symbol, kind):
    a, b = operands()
    node = kind(3.0, (a, b), "mine")
    node._op = symbol
    again = duplicate(node)
    again.backward()
    assert again._op == symbol
    assert [child.grad for child in again._children] == [0.0, 0.0]


@pytest.mark.parametrize("duplicate", SHALLOW_AND_DEEP)
def test_a_symbol_set_on_local_derivatives_leaves_them_in_a_copy(duplicate):
    node = Value(3.0, operands(), (4.0, 5.0))
    node._op = (1.0, 2.0)
    again = duplicate(node)
    again.backward()
    assert again._op == (1.0, 2.0)
    assert [child.grad for child in again._children] == [4.0, 5.0]


class Symbol:
    """A symbol that is an object."""


@pytest.mark.parametrize("kind", [Value, Named])
@pytest.mark.parametrize("duplicate", DUPLICATE)
def test_a_symbol_that_leads_back_to_its_node_is_copied_with_it(duplicate, kind):
    symbol = Symbol()
    symbol.node = kind(3.0, operands(), symbol)
    again = duplicate(symbol.node)
    assert again._op is not symbol
    assert again._op.node is again


def test_a_program_of_an_argument_without_a_kind_is_refused():
    compiled = compile(lambda x: x * 2.0)
    compiled([1.0])
    load, (saved,) = compiled.latest.__reduce__()
    with pytest.raises(ValueError, match="y is of an unknown kind"):
        load({**saved, "arguments": [*saved["arguments"], ("y", "word", None)]})


# Pickles of another class named Value, where that name now means fastgrad's.


class Slots:
    """A Value of a program of one's own, without a graph."""

    __slots__ = ("data", "grad", "label")

    def __init__(self, data, grad, label):
        self.data, self.grad, self.label = data, grad, label


class SlotsAndDict(Slots):
    """The same, whose instances have attributes as well."""


class Plain:
    def __init__(self, data, grad, label):
        self.data, self.grad, self.label = data, grad, label
        self._prev, self._op, self._backward = set(), "", None


class Local:
    """microgpt's: children and derivatives."""

    __slots__ = ("_children", "_local_grads", "data", "grad")

    def __init__(self, data, children=(), local_grads=()):
        self.data, self.grad = data, 0
        self._children, self._local_grads = children, local_grads


@pytest.fixture
def as_ours(monkeypatch):
    """Pickle an instance of a class of this module, and load it as if the class were fastgrad's."""

    def load(value, protocol=None):
        text = pickle.dumps(value, protocol)
        for cls in (Slots, SlotsAndDict, Plain, Local):
            monkeypatch.setitem(globals(), cls.__name__, Value)
        return pickle.loads(text)

    return load


@pytest.mark.parametrize("cls", [Slots, SlotsAndDict, Plain], ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_leaf_of_another_class_of_values_keeps_data_grad_and_attributes(as_ours, cls, protocol):
    old = cls(3, 2, "w")
    if cls is not Slots:
        old.momentum = 0.5
    loaded = as_ours(old, protocol)
    assert type(loaded) is Value
    assert (loaded.data, loaded.grad, loaded.label) == (3.0, 2.0, "w")
    assert getattr(loaded, "momentum", 0.5) == 0.5
    (loaded * 2.0).backward()
    assert loaded.grad == 4.0


def test_a_graph_of_another_class_with_derivatives_is_a_graph(as_ours):
    a, b = Local(3.0), Local(2.0)
    a, b, product = as_ours([a, b, Local(6.0, (a, b), (2.0, 3.0))])
    assert product._children == (a, b)
    product.backward()
    assert (product.data, a.grad, b.grad) == (6.0, 2.0, 3.0)


def test_a_graph_of_another_class_without_a_way_back_is_refused(as_ours):
    old = Plain(6.0, 1.0, "")
    old._prev = {Plain(3.0, 0.0, "")}
    with pytest.raises(TypeError, match=r"data 6\.0 was computed from others, but without"):
        as_ours(old)


@pytest.mark.parametrize("data", ["3", None, [1.0]], ids=repr)
def test_data_of_another_class_that_is_no_number_is_refused(as_ours, data):
    with pytest.raises(TypeError, match="data must be a real number"):
        as_ours(Slots(data, 0.0, ""))


@pytest.mark.parametrize(
    "state", [None, 3, (), {}, {"grad": 1.0}, (None, {}), (1.0, 2.0), ({}, {}, {})], ids=repr
)
def test_a_state_without_data_is_refused_in_words(state):
    with pytest.raises(TypeError, match="the pickled state of a Value has no data in it: "):
        Value(1.0).__setstate__(state)


MICROGRAD = """
import random, sys
import cloudpickle
from micrograd.engine import Value
from micrograd.nn import MLP
random.seed(1)
model, x = MLP(2, [2, 1]), Value(3.0)
x.grad = 0.5
loss = (model([x, 1.0]) - 1.0) ** 2
sys.stdout.buffer.write(cloudpickle.dumps([model, x, loss]))
"""


def test_models_and_graphs_of_micrograd_are_taken_over(tmp_path):
    pytest.importorskip("micrograd")
    pytest.importorskip("cloudpickle")
    written = subprocess.run([sys.executable, "-c", MICROGRAD], capture_output=True, check=True).stdout
    path = tmp_path / "model.pickle"
    path.write_bytes(written)
    program = (
        "import pickle, sys\n"
        "model, x, loss = pickle.load(open(sys.argv[1], 'rb'))\n"
        "loss.backward()\n"
        "print(type(model).__module__, model, x.data, loss.data, x.grad)\n"
        "print(((model([x.data, 1.0]) - 1.0) ** 2).data, [p.grad for p in model.parameters()])\n"
    )
    (tmp_path / "load.py").write_text(program)
    command = [sys.executable, str(tmp_path / "load.py"), str(path)]
    theirs, ours = (
        subprocess.run(line, capture_output=True, text=True)
        for line in (command, [sys.executable, "-m", "fastgrad", "run", *command[1:]])
    )
    assert ours.stderr == ""
    assert ours.stdout.startswith("fastgrad.nn MLP of [Layer of [ReLUNeuron(2), ReLUNeuron(2)]")

    def numbers(result):
        return [float(number) for number in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", result.stdout)]

    assert numbers(ours) == pytest.approx(numbers(theirs), rel=1e-12)
