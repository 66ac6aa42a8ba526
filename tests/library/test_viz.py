"""Pictures: the graph that is drawn is micrograd's, and drawing it leaves the graph alone."""

import html
import math
import random
import re
import shutil
import sys
from collections import Counter
from pathlib import Path

import micrograd.engine
import micrograd.nn
import numpy as np
import pytest

import fastgrad
from fastgrad import Value, nn, viz
from fastgrad.engine import _pool_statistics

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="the program `dot` is not installed")

EXPRESSIONS = {
    "a + a": lambda a, b: a + a,
    "a * b + a": lambda a, b: a * b + a,
    "a + 1": lambda a, b: a + 1,
    "3 * a": lambda a, b: 3 * a,
    "a - b": lambda a, b: a - b,
    "1 - a": lambda a, b: 1 - a,
    "-a": lambda a, b: -a,
    "a / b": lambda a, b: a / b,
    "4 / a": lambda a, b: 4 / a,
    "a / 4": lambda a, b: a / 4,
    "a**2": lambda a, b: a**2,
    "a**-0.5": lambda a, b: a**-0.5,
    "a.relu()": lambda a, b: a.relu(),
    "sum of differences": lambda a, b: sum((a - k * b) ** 2 for k in range(5)) / 5,
    "diamond": lambda a, b: (a * b + a) * (a * b - b),
    "MLP": None,
    "loss of an MLP": None,
}


def on(library, layers, name):
    """The expression and its leaves, made with one library."""
    if EXPRESSIONS[name] is not None:
        a, b = library.Value(2.0), library.Value(-3.0)
        return EXPRESSIONS[name](a, b)
    random.seed(5)
    model = layers.MLP(2, [3, 2, 1])
    score = model([library.Value(1.5), library.Value(-0.5)])
    return score if name == "MLP" else (1 - score).relu() + 0.1 * sum(p * p for p in model.parameters())


def notebook_trace(root):
    """The walk of micrograd's notebook."""
    nodes, edges, waiting = {root}, set(), [root]
    while waiting:
        node = waiting.pop()
        for operand in node._prev:
            edges.add((operand, node))
            if operand not in nodes:
                nodes.add(operand)
                waiting.append(operand)
    return nodes, edges


def text(node):
    """The text for a node in the notebook, where 0 is an int, and a gradient may be -0.0 or 0.0."""
    return f"data {node.data:.4f} | grad {node.grad + 0.0:.4f} {node._op}"


def described(nodes, edges):
    """Nodes and edges with texts for nodes, to compare graphs of two libraries."""
    return Counter(map(text, nodes)), Counter((text(a), text(b)) for a, b in edges)


@pytest.fixture(params=[False, True], ids=["forward", "after backward"])
def backward(request):
    return request.param


@pytest.fixture(params=EXPRESSIONS)
def pair(request, backward):
    """The same expression on fastgrad and on micrograd."""
    found = on(fastgrad, nn, request.param), on(micrograd.engine, micrograd.nn, request.param)
    if backward:
        for root in found:
            root.backward()
    return found


def test_trace_is_micrograds(pair):
    ours, theirs = pair
    nodes, edges = viz.trace(ours)
    assert type(nodes) is set
    assert type(edges) is set
    assert described(nodes, edges) == described(*notebook_trace(theirs))


def statements(picture):
    """(kind, attributes) of every statement of a picture: records, ovals and edges."""
    lines = [line.strip() for line in picture.body]
    records = [line for line in lines if "shape=record" in line]
    edges = [line for line in lines if "->" in line]
    ovals = [line for line in lines if line not in records and line not in edges]
    return records, ovals, edges


def test_picture_has_micrograds_records_ovals_and_arrows(pair):
    ours, theirs = pair
    records, ovals, arrows = statements(viz.draw_dot(ours))
    nodes, edges = notebook_trace(theirs)
    computed = [node for node in nodes if node._op]
    shown = Counter(line.split('"')[1].replace("grad -0.0000", "grad 0.0000") for line in records)
    assert shown == Counter(f"{{ data {n.data:.4f} | grad {n.grad + 0.0:.4f} }}" for n in nodes)
    symbols = Counter(line.split("label=")[1].rstrip("]").strip('"') for line in ovals)
    assert symbols == Counter(node._op for node in computed)
    assert len(arrows) == len(edges) + len(computed)


def test_symbol_stands_between_the_operands_and_the_result():
    a, b = Value(2.0), Value(3.0)
    assert statements(viz.draw_dot(a * b))[2] == ["op2 -> 2", "0 -> op2", "1 -> op2"]


def test_node_with_operands_and_no_symbol_is_pointed_at_itself():
    a = Value(2.0)
    records, ovals, arrows = statements(viz.draw_dot(Value(4.0, (a,), (4.0,))))
    assert (len(records), ovals, arrows) == (2, [], ["0 -> 1"])


def test_label_comes_first():
    assert "{ x1 | data 2.0000 | grad 0.0000 }" in viz.draw_dot(Value(2.0, label="x1")).source


@needs_dot
@pytest.mark.parametrize(
    "label", ["{a|b}", "<x>", "a\\", "two words", 'a "quote"', "a\nb", "ä→β", "x:y", "R&D", 7]
)
def test_any_label_is_drawn_as_written(label):
    drawn = viz.draw_dot(Value(2.0, label=label)).pipe(format="svg", encoding="utf-8")
    for line in str(label).split("\n"):
        assert f">{line}</text>" in html.unescape(drawn)


@needs_dot
@pytest.mark.parametrize("symbol", ["x:y", "<b>", "a\\n", "{|}", 'a "quote"'])
def test_any_symbol_is_drawn_as_written(symbol):
    drawn = viz.draw_dot(Value(2.0, (Value(1.0),), symbol)).pipe(format="svg", encoding="utf-8")
    assert f">{symbol}</text>" in html.unescape(drawn)


def test_vis_color_fills_the_node():
    a = Value(2.0)
    b = a * a
    b._vis_color = "lightblue"
    records, _, _ = statements(viz.draw_dot(b))
    assert ["lightblue" in line for line in records] == [False, True]
    assert "style=filled" in records[1]


def test_colour_of_an_inner_node_that_inspection_made_is_kept():
    a, b = Value(2.0), Value(3.0)
    out = a - b
    (inner,) = out._prev - {a}
    inner._vis_color, inner.label = "pink", "minus b"
    (line,) = (line for line in statements(viz.draw_dot(out))[0] if "pink" in line)
    assert "minus" in line


def test_symbol_set_by_the_user_is_drawn():
    out = Value(1.0) - Value(2.0)
    out._op = "difference"
    assert "difference" in viz.draw_dot(out).source


def test_same_program_gives_the_same_picture():
    def source():
        random.seed(2)
        return viz.draw_dot(nn.MLP(2, [3, 1])([1.0, 2.0])).source

    assert source() == source()


@pytest.mark.parametrize("rankdir", ["LR", "TB", "RL", "BT"])
def test_rankdir_and_format_are_passed_on(rankdir):
    picture = viz.draw_dot(Value(1.0) + 1, format="png", rankdir=rankdir)
    assert picture.format == "png"
    assert f"rankdir={rankdir}" in picture.source


@pytest.mark.parametrize("look", [viz.trace, viz.draw_dot])
@pytest.mark.parametrize("root", [1.0, None, [Value(1.0)]], ids=repr)
def test_root_that_is_no_value_is_refused(look, root):
    with pytest.raises(TypeError, match=f"root must be a Value, not {type(root).__name__}"):
        look(root)


def test_unknown_rankdir_is_refused():
    with pytest.raises(ValueError, match="rankdir must be one of LR, TB, RL, BT, not 'XY'"):
        viz.draw_dot(Value(1.0), rankdir="XY")


def chain(length):
    x = Value(1.0)
    for _ in range(length):
        x = x.tanh()
    return x


def test_limit_counts_the_nodes_that_are_drawn():
    assert len(statements(viz.draw_dot(chain(9), limit=10))[0]) == 10
    with pytest.raises(viz.TooManyNodesError, match="more than 9 nodes"):
        viz.draw_dot(chain(9), limit=9)
    # One node until it is looked at.
    (neuron,) = [nn.Neuron(4)([1.0, 2.0, 3.0, 4.0])]
    with pytest.raises(ValueError, match="more than 15 nodes"):
        viz.draw_dot(neuron, limit=15)


def test_deep_graph_is_traced_without_recursion():
    nodes, edges = viz.trace(chain(100_000))
    assert (len(nodes), len(edges)) == (100_001, 100_000)


def differences():
    """A loss with every fused kind of node, and its leaves."""
    random.seed(3)
    model = nn.MLP(3, [4, 1])
    x = [Value(k) for k in (0.3, -0.7, 0.11)]
    out = model(x)
    loss = (out - x[0]) / (1.7 - x[1]) + (2.0 / x[2] - 1) ** 2 + x[0] / 3 - x[1] * 0.1
    return loss, [*model.parameters(), *x]


LOOKS = {
    "draw_dot": lambda loss: viz.draw_dot(loss),
    "notebook": lambda loss: loss._repr_mimebundle_(),
    "repr": repr,
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("when", ["before", "between"])
def test_looking_changes_no_bit_of_the_gradients(look, when, monkeypatch):
    monkeypatch.setattr(viz, "NOTEBOOK_LIMIT", 500)
    results = []
    for looks in (False, True):
        loss, leaves = differences()
        if when == "between":
            loss.backward()
        if looks:
            LOOKS[look](loss)
        loss.backward()
        results.append([leaf.grad.hex() for leaf in leaves])
    assert results[0] == results[1]


@pytest.mark.parametrize("look", LOOKS)
def test_looking_leaves_no_node_that_slows_backward(look):
    before = _pool_statistics()
    loss, _ = differences()
    nodes = _pool_statistics()["nodes"]
    LOOKS[look](loss)
    assert _pool_statistics()["irregular"] == before["irregular"]
    assert _pool_statistics()["nodes"] == nodes


def test_drawing_runs_no_backward_of_the_users():
    a = Value(2.0)
    out = Value(4.0, (a,), "square")

    def fail():
        raise AssertionError

    out._backward = fail
    records, ovals, _ = statements(viz.draw_dot(out + 1))
    assert len(records) == 4
    assert "square" in ovals[0]


def test_notebook_shows_the_graph_of_a_small_expression():
    a, b = Value(2.0, label="a"), Value(-3.0)
    shown = (a * b)._repr_mimebundle_(include=None, exclude=None)
    assert shown["text/plain"] == "Value(data=-6.0, grad=0.0)"
    assert shown["text/html"].count("<iframe") == 1
    texts = re.findall(r">([^<>]+)</text>", html.unescape(shown["image/svg+xml"]))
    leaves = ["a", "data", "2", "grad", "0", "-3", "data", "-3", "grad", "0"]
    assert texts == [*leaves, "a*-3", "*", "data", "-6", "grad", "0"]


def test_notebook_shows_a_leaf_as_text():
    assert list(Value(2.0)._repr_mimebundle_()) == ["text/plain"]


def test_notebook_shows_a_large_graph_as_text_that_says_so():
    shown = chain(viz.NOTEBOOK_LIMIT)._repr_mimebundle_()
    assert list(shown) == ["text/plain"]
    assert "more than 300 nodes: not drawn. viz.explore(root) shows more of them" in shown["text/plain"]


def test_notebook_stops_counting_at_the_limit(monkeypatch):
    large = chain(100_000)
    looked_at = []
    monkeypatch.setattr(
        viz.graphs, "_take_apart", lambda node: looked_at.append(node) or fastgrad.engine._take_apart(node)
    )
    monkeypatch.setattr(shutil, "which", lambda program: program)
    large._repr_mimebundle_()
    assert 0 < len(looked_at) <= viz.NOTEBOOK_LIMIT + 2


def test_notebook_pictures_can_be_turned_off(monkeypatch):
    monkeypatch.setattr(viz, "NOTEBOOK_LIMIT", 0)
    assert list((Value(2.0) + 1)._repr_mimebundle_()) == ["text/plain"]


class Terminal:
    """What IPython's get_ipython() has in a terminal."""

    class display_formatter:  # noqa: N801
        active_types = ("text/plain",)

    @classmethod
    def get_ipython(cls):
        return cls


def test_nothing_is_drawn_for_a_terminal(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", Terminal)
    assert list((Value(2.0) + 1)._repr_mimebundle_()) == ["text/plain"]


@pytest.fixture
def _without_dot(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("_without_dot")
@pytest.mark.parametrize("show", ["pipe", "render"])
def test_without_dot_another_format_says_how_to_get_it(show, tmp_path, monkeypatch):
    import graphviz

    monkeypatch.chdir(tmp_path)
    picture = viz.draw_dot(Value(1.0) + 1, format="png")
    with pytest.raises(graphviz.ExecutableNotFound) as caught:
        getattr(picture, show)()
    for way in ("apt install graphviz", "brew install", "conda install", "winget install"):
        assert way in str(caught.value)


@pytest.mark.usefixtures("_without_dot")
@pytest.mark.parametrize("rankdir", ["LR", "TB", "RL", "BT"])
def test_without_dot_there_is_a_picture_of_our_own(rankdir, tmp_path):
    a = Value(1.0, label="a")
    picture = viz.draw_dot(a * 2 + a, rankdir=rankdir)
    shown = picture._repr_mimebundle_()["image/svg+xml"]
    assert shown == picture.pipe().decode() == picture.pipe(format="svg", encoding="utf-8")
    assert viz.draw_dot(a * 2 + a, rankdir=rankdir).svg == shown
    written = Path(picture.render(tmp_path / "graph", cleanup=True))
    assert written.name == "graph.svg"
    assert written.read_text(encoding="utf-8") == shown
    assert [path.name for path in tmp_path.iterdir()] == ["graph.svg"]
    # Where a box starts along the direction of the layers: the leaf, the product, the sum.
    (_, along) = max((len(set(found)), found) for found in (places(shown, "x"), places(shown, "y")))
    assert sorted(along, reverse=rankdir in ("RL", "BT")) == along


def places(svg, axis):
    """The places of the boxes of a, a*2 and the sum along an axis."""
    found = [float(place) for place in re.findall(rf'<rect class="body [^>]* {axis}="([-.0-9]+)"', svg)]
    return [found[0], found[-2], found[-1]]


@pytest.fixture
def _without_graphviz(monkeypatch):
    monkeypatch.setitem(sys.modules, "graphviz", None)
    monkeypatch.delitem(sys.modules, "fastgrad.viz.dot", raising=False)
    monkeypatch.delattr(viz, "dot", raising=False)


@pytest.mark.usefixtures("_without_graphviz")
def test_without_the_graphviz_package_the_error_says_how_to_install_it():
    with pytest.raises(ImportError, match=r'pip install "fastgrad\[viz\]"'):
        viz.draw_dot(Value(1.0))


@pytest.mark.usefixtures("_without_graphviz")
def test_without_the_graphviz_package_a_notebook_shows_the_page():
    assert list((Value(1.0) + 1)._repr_mimebundle_()) == ["text/plain", "text/html", "image/svg+xml"]


@needs_dot
def test_render_writes_a_file(tmp_path):
    path = viz.draw_dot(Value(1.0) + 1, format="png").render(tmp_path / "graph")
    assert (tmp_path / "graph.png").read_bytes().startswith(b"\x89PNG")
    assert path == str(tmp_path / "graph.png")


# Curves and boundaries.


@pytest.fixture
def axes():
    return pytest.importorskip("matplotlib.figure").Figure().add_subplot()


def test_losses_are_drawn_in_order(axes):
    assert viz.plot_losses([3, Value(2.0), np.float32(1.0)], axes) is axes
    (line,) = axes.lines
    assert line.get_xydata().tolist() == [[0, 3], [1, 2], [2, 1]]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "loss")


def test_losses_may_be_drawn_over_one_another(axes):
    viz.plot_losses([3.0, 2.0], axes)
    viz.plot_losses(iter([4.0, math.nan, 1.0]), axes)
    assert [len(line.get_xdata()) for line in axes.lines] == [2, 3]


def test_no_losses_are_refused(axes):
    with pytest.raises(ValueError, match="no losses"):
        viz.plot_losses([], axes)


def test_losses_go_to_the_current_figure():
    from matplotlib import pyplot

    figure = pyplot.figure()
    assert viz.plot_losses([1.0, 2.0]).figure is figure
    pyplot.close(figure)


def test_decision_boundary_colours_the_sign_of_the_score(axes):
    X, y = [[-1.0, 0.0], [1.0, 0.0]], [-1, 1]
    viz.plot_decision_boundary(lambda point: Value(point[0]), X, y, axes)
    (points,) = [artist for artist in axes.collections if len(artist.get_offsets()) == 2]
    assert points.get_offsets().tolist() == X
    assert axes.get_xlim()[0] <= -1.5
    assert axes.get_xlim()[1] >= 1.4


def test_decision_boundary_of_a_compiled_model_is_that_of_the_model(axes, monkeypatch):
    X, y = [[-1.0, 0.0], [1.0, 0.5]], [-1, 1]
    random.seed(4)
    model = nn.MLP(2, [3, 1], activation="tanh")
    drawn = []
    monkeypatch.setattr(axes, "contourf", lambda across, up, scores, **_: drawn.append(scores))
    for each in (model, fastgrad.compile(model)):
        viz.plot_decision_boundary(each, X, y, axes)
    plain, compiled = drawn
    assert plain == pytest.approx(compiled, rel=1e-12)
    # Both sides of the boundary are there.
    assert plain.min() < 0.0 < plain.max()


def test_the_boundary_and_the_margins_are_lines(axes, monkeypatch):
    lines = []
    monkeypatch.setattr(axes, "contour", lambda *_, levels, **__: lines.append(list(levels)))
    viz.plot_decision_boundary(lambda point: Value(3 * point[0]), [[-1.0, 0.0], [1.0, 0.0]], [-1, 1], axes)
    assert lines == [[-1, 0, 1]]


PLOTS = {
    "plot_losses": lambda: viz.plot_losses([1.0]),
    "plot_decision_boundary": lambda: viz.plot_decision_boundary(lambda point: point[0], [[0.0, 0.0]], [1]),
}


@pytest.mark.parametrize("name", PLOTS)
@pytest.mark.parametrize("missing", ["matplotlib", "matplotlib.pyplot"])
def test_without_matplotlib_the_error_says_how_to_install_it(name, missing, monkeypatch):
    for module in [module for module in sys.modules if module.startswith(missing)]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, missing, None)
    # A package keeps its modules as attributes, too, where `from` looks first.
    monkeypatch.delattr(matplotlib, "pyplot", raising=False)
    with pytest.raises(ModuleNotFoundError, match=rf'{name} needs matplotlib.*: pip .* "fastgrad\[viz\]"'):
        PLOTS[name]()


def test_without_numpy_the_boundary_says_how_to_install_it(axes, monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ModuleNotFoundError, match=r'boundary needs numpy: pip install "fastgrad\[viz\]"'):
        viz.plot_decision_boundary(lambda point: point[0], [[0.0, 0.0]], [1], axes)


def test_only_a_missing_graphviz_is_explained(monkeypatch):
    monkeypatch.delattr(viz, "dot", raising=False)
    monkeypatch.setitem(sys.modules, "fastgrad.viz.dot", None)
    with pytest.raises(ModuleNotFoundError, match=r"fastgrad\.viz\.dot"):
        viz.draw_dot(Value(1.0))


POINTS = [[0.0, 0.0], [1.0, 1.0]]


@pytest.mark.parametrize(
    ("model", "X", "y", "message"),
    [
        (lambda point: [Value(1.0)] * 3, POINTS, [0, 1], "the model gives 3 scores for a point"),
        (nn.MLP(2, [4, 3]), POINTS, [0, 1], "the model gives 3 scores for a point"),
        (fastgrad.compile(lambda x: [x[0], x[1]]), POINTS, [0, 1], "the model gives 2 scores for a point"),
        (nn.MLP(2, [1]), [], [], r"X must be \(N, 2\), .* at least one, not \(0,\)"),
        (nn.MLP(2, [1]), np.empty((0, 2)), [], r"at least one, not \(0, 2\)"),
        (nn.MLP(2, [1]), [1.0, 2.0], [0, 1], r"not \(2,\)"),
        (nn.MLP(3, [1]), [[1.0, 2.0, 3.0]], [0], r"not \(1, 3\)"),
        (nn.MLP(2, [1]), POINTS, [0], "a label for each of the 2 points, not 1"),
        (nn.MLP(2, [1]), POINTS, [], "a label for each of the 2 points, not 0"),
    ],
)
def test_what_has_no_boundary_is_refused_in_words(model, X, y, message, axes):
    with pytest.raises(ValueError, match=message):
        viz.plot_decision_boundary(model, X, y, axes)
    assert not axes.collections


@pytest.mark.parametrize("step", [0, -0.1, math.nan])
def test_the_boundarys_step_is_above_0(step, axes):
    with pytest.raises(ValueError, match=f"step must be above 0, not {step}"):
        viz.plot_decision_boundary(nn.MLP(2, [1]), POINTS, [0, 1], axes, step=step)


def test_a_list_of_one_score_is_a_score(axes):
    viz.plot_decision_boundary(lambda point: [Value(point[0])], POINTS, [0, 1], axes)
    assert axes.collections
