"""The page of a graph: what it is given, shows and says, and what its controls do, in a real browser."""

import gc
import json
import random
import re
import sys

import pytest

from evidence.oracles import close
from fastgrad import Value, nn, viz
from fastgrad.engine import _pool_statistics
from fastgrad.viz import pages
from pages.browser import Opened


def lecture():
    """e = a * b, d = e + c, and L = d * f, with their labels."""
    a, b, c, f = (Value(x, label=label) for x, label in ((2.0, "a"), (-3.0, "b"), (10.0, "c"), (-2.0, "f")))
    e = a * b
    e.label = "e"
    d = e + c
    d.label = "d"
    out = d * f
    out.label = "L"
    return out


def neuron():
    leaves = {"x1": 1.5, "x2": -0.5, "w1": 0.8, "w2": 1.2, "b": 0.1}
    x1, x2, w1, w2, b = (Value(x, label=label) for label, x in leaves.items())
    return (x1 * w1 + x2 * w2 + b).tanh()


def network():
    random.seed(5)
    model = nn.MLP(2, [3, 2, 1])
    return (1 - model([Value(1.5, label="x"), Value(-0.5, label="y")])).relu(), model


def own(overwrites=False):
    """A square of the user's, as in the lecture."""
    a = Value(3.0, label="a")
    out = Value(a.data**2, (a,), "square")

    def backward():
        given = 2 * a.data * out.grad
        a.grad = given if overwrites else a.grad + given

    out._backward = backward
    return a, out


EXPRESSIONS = {
    "lecture": lecture,
    "neuron": neuron,
    "network": lambda: network()[0],
    "a + a": lambda: (lambda a: a + a)(Value(3.0, label="a")),
    "differences": lambda: (lambda a, b: (a - b) / (a + 1) ** 2 - 3 / b)(Value(2.0), Value(-3.0)),
    "powers": lambda: (lambda a, b: a**b + 2**b + a**0.5)(Value(2.0), Value(-3.0)),
    "choices": lambda: __import__("fastgrad").functional.cross_entropy(
        [Value(1.0), Value(2.0), Value(0.5)], 1
    ),
    "own": lambda: own()[1] * 2,
    "given derivatives": lambda: (lambda a: Value(4.0, (a, a), (3.0, 5.0)) * 2)(Value(2.0)),
}


def page_data(page):
    return json.loads(re.search(r'id="description">(.*?)</script>', page.document, re.DOTALL)[1])


# What the page is given.


def test_boxes_are_micrograds_nodes_with_two_arrows_for_an_operand_used_twice():
    a = Value(3.0, label="a")
    boxes = page_data(viz.explore(a + a, open=False))["boxes"]
    assert [(box["title"], box["symbol"], box["operands"]) for box in boxes] == [
        ("a", "", []),
        ("a + a", "+", [[0], [0]]),
    ]


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_boxes_are_those_of_trace(name):
    root = EXPRESSIONS[name]()
    boxes = page_data(viz.explore(root, open=False))["boxes"]
    if name != "own":
        assert len(boxes) == len(viz.trace(root)[0])
    assert boxes[-1]["data"] == root.data
    # Operands come before results.
    assert all(
        operand[0] < at
        for at, box in enumerate(boxes)
        for operand in box["operands"]
        if isinstance(operand, list)
    )


def test_kinds_are_told_apart():
    loss, model = network()
    boxes = page_data(viz.explore(loss, model, open=False))["boxes"]
    kinds = {
        kind: [box["title"] for box in boxes if box["kind"] == kind]
        for kind in ("leaf", "parameter", "constant")
    }
    assert kinds["leaf"] == ["x", "y"]
    assert len(kinds["parameter"]) == len(model.parameters())
    assert "l0.n1.w0" in kinds["parameter"]
    assert "-1" in kinds["constant"]


def test_a_long_expression_is_called_by_its_operation():
    a = Value(2.0, label="a_rather_long_name")
    boxes = page_data(viz.explore((a * a).exp() + 1, open=False))["boxes"]
    assert [box["title"] for box in boxes if box["operands"]] == [
        "product1",
        "exp(product1)",
        "exp(product1) + 1",
    ]
    assert boxes[1]["name"] == "product1 = a_rather_long_name*a_rather_long_name"


def test_neurons_layers_and_networks_are_groups():
    loss, model = network()
    groups = page_data(viz.explore(loss, model, open=False))["groups"]
    assert [group["name"] for group in groups if group["kind"] == "network"] == ["network"]
    assert [group["name"] for group in groups if group["kind"] == "layer"] == [
        "layers.0: 3 neurons",
        "layers.1: 2 neurons",
    ]
    assert sum(group["kind"] == "neuron" for group in groups) == 6


def test_order_is_that_of_backward():
    ran = []
    a, first = own()
    second = Value(1.0, (a, first), "second")
    root = Value(2.0, (first, second), "root")
    for node in (first, second, root):
        node._backward = lambda node=node: ran.append(node._op)
    root.backward()
    backward = list(ran)
    boxes = page_data(viz.explore(root, open=False))["boxes"]
    assert [box["symbol"] for box in reversed(boxes) if box["symbol"]] == backward


@pytest.mark.parametrize("overwrites", [False, True])
def test_own_nodes_are_run_once_for_what_they_give(overwrites):
    a, out = own(overwrites)
    a.grad, out.grad = 7.0, 8.0
    box = page_data(viz.explore(out, open=False))["boxes"][-1]
    assert (box["kind"], box["row"], box["given"], box["overwrites"]) == ("own", "", [6.0], overwrites)
    assert (a.grad, out.grad) == (7.0, 8.0)


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_looking_changes_nothing(name):
    root = EXPRESSIONS[name]()
    root.backward()
    # Garbage of earlier tests must not be freed in between.
    gc.collect()
    before = _pool_statistics()
    viz.explore(root, open=False)
    after = _pool_statistics()
    assert (after["nodes"], after["irregular"]) == (before["nodes"], before["irregular"])


def test_a_graph_over_the_limit_says_how_to_see_less():
    x = sum((Value(1.0) for _ in range(20)), Value(0.0))
    with pytest.raises(viz.TooManyNodesError, match=r"more than 30 nodes, .* take a part of it"):
        viz.explore(x, limit=30, open=False)


def test_the_limit_is_of_micrograds_nodes():
    (neuron,) = [nn.Neuron(4)([1.0, 2.0, 3.0, 4.0])]
    assert len(page_data(viz.explore(neuron, limit=20, open=False))["boxes"]) <= 20
    with pytest.raises(viz.TooManyNodesError, match=r"more than 12 nodes, .* take a part of it"):
        viz.explore(neuron, limit=12, open=False)


@pytest.mark.parametrize("root", [None, 3.0, "a"])
def test_only_a_value_has_a_page(root):
    with pytest.raises(TypeError, match="root must be a Value"):
        viz.explore(root, open=False)


def test_text_of_labels_cannot_end_the_page():
    page = viz.explore(Value(1.0, label="</script><b>&\"'") * 2, open=False)
    assert page.document.count("</script>") == 6
    assert "<b>" not in page.document
    assert "<b>" not in page.picture


@pytest.mark.parametrize("shows", [False, True])
def test_a_script_opens_the_browser_and_a_notebook_does_not(shows, monkeypatch, tmp_path):
    opened = []
    monkeypatch.setattr(pages.webbrowser, "open", opened.append)
    monkeypatch.setattr(pages.tempfile, "tempdir", str(tmp_path))

    class Shell:
        class display_formatter:  # noqa: N801
            active_types = ("text/html",) if shows else ("text/plain",)

        @classmethod
        def get_ipython(cls):
            return cls

    monkeypatch.setitem(sys.modules, "IPython", Shell)
    viz.explore(Value(1.0) * 2)
    assert len(opened) == (0 if shows else 1)
    assert all(address.startswith("file:") for address in opened)


def test_where_there_is_no_browser_the_pages_path_is_printed(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(pages.webbrowser, "open", lambda address: False)
    monkeypatch.setattr(pages.tempfile, "tempdir", str(tmp_path))
    path = viz.explore(lecture(), open=False).open()
    assert capsys.readouterr().out == f"no browser could be opened; the page is {path}\n"
    assert path.exists()


def test_the_layout_library_comes_with_its_licence():
    document = viz.explore(lecture(), open=False).document
    assert "Copyright (c) 2012-2014 Chris Pettitt" in document
    assert "sourceMappingURL" not in document


def test_a_page_is_saved(tmp_path):
    page = viz.explore(lecture(), open=False)
    assert page.save(tmp_path / "graph.html").read_text(encoding="utf-8") == page.document


# In a browser.


@pytest.fixture
def show(browser, tmp_path):
    """A function that opens a graph's page; a complaint of the page fails the test."""
    opened = []

    def open_page(root, parameters=(), **options):
        page = Opened(browser, viz.explore(root, parameters, open=False).document, tmp_path, **options)
        opened.append(page)
        return page

    yield open_page
    for page in opened:
        assert page.complaints == []
        page.close()


def in_engine(root):
    """(data, grad) after backward() from zero, in the order of the page."""
    for node in viz.trace(root)[0]:
        node.grad = 0.0
    root.backward()
    return sorted((node.data, node.grad) for node in viz.trace(root)[0])


def all_close(left, right):
    return len(left) == len(right) and all(
        close(a, b) for x, y in zip(left, right, strict=True) for a, b in zip(x, y, strict=True)
    )


@pytest.mark.processes
@pytest.mark.parametrize("name", [name for name in EXPRESSIONS if name != "own"])
def test_stepping_to_the_end_gives_the_engines_numbers(name, show):
    root = EXPRESSIONS[name]()
    page = show(root)
    page.click("#first")
    page.click("#last")
    assert all_close(sorted(page.numbers()), in_engine(root))


@pytest.mark.processes
def test_each_arrow_is_a_step_that_says_what_is_added(show):
    page = show(lecture())
    page.click("#first")
    assert [data for data, _ in page.numbers()] == [2.0, -3.0, 10.0, -2.0, None, None, None]
    said = []
    for _ in range(10):
        page.keyboard.press("ArrowRight")
        said.append(page.sentence)
    assert said[0] == "e = a * b = 2 * -3 = -6"
    assert said[3] == "L.grad = 1: how L changes with itself."
    assert "dL/dd = f.data = -2; d.grad += -2 * L.grad = -2 * 1 = -2; 0 → -2" in said
    assert "de/da = b.data = -3; a.grad += -3 * e.grad = -3 * -2 = 6; 0 → 6" in said
    page.keyboard.press("ArrowLeft")
    assert page.sentence == said[-2]


@pytest.mark.processes
def test_a_node_used_twice_has_two_steps_and_the_second_is_added(show):
    a = Value(3.0, label="a")
    page = show(a + a)
    page.keyboard.press("End")
    assert "a.grad += 1 * (a + a).grad = 1 * 1 = 1; 1 → 2 (second path: added)" in page.sentence
    assert page.numbers()[0] == (3.0, 2.0)


@pytest.mark.processes
def test_the_address_names_a_step(show):
    page = show(lecture(), address="#5")
    assert page.sentence.startswith("dL/dd")
    page.keyboard.press("ArrowRight")
    assert page.url.endswith("#6")


@pytest.mark.processes
def test_the_sentence_is_announced(show):
    page = show(lecture())
    assert page.get_attribute("#sentence", "aria-live") == "polite"
    assert "result L" in page.get_attribute("[data-id=b6]", "aria-label")


@pytest.mark.processes
def test_a_leafs_slider_computes_everything_anew(show):
    root = neuron()
    page = show(root)
    page.focus("[data-id=b0]")
    page.keyboard.press("Enter")
    page.fill("#exact", "-0.75")
    leaf = next(node for node in viz.trace(root)[0] if node.label == "x1")
    leaf.data = -0.75
    leaves = {node.label: node for node in viz.trace(root)[0] if node.label}
    moved = (leaves["x1"] * leaves["w1"] + leaves["x2"] * leaves["w2"] + leaves["b"]).tanh()
    assert all_close(sorted(page.numbers()), in_engine(moved))


@pytest.mark.processes
def test_nudging_is_shown_beside_the_gradient(show):
    a = Value(3.0, label="a")
    page = show(a * a)
    page.click("[data-id=b0]")
    page.evaluate("document.getElementById('h').value = -3; document.getElementById('h').oninput()")
    slope, backward = re.search(r"= (\S+)\s+backward: (\S+)", page.text_content("#nudged")).groups()
    assert float(slope) == pytest.approx(6.001, rel=1e-9)
    assert float(backward) == 6.0


@pytest.mark.processes
def test_overwriting_loses_a_path(show):
    a = Value(3.0, label="a")
    page = show(a + a)
    page.check("#overwrite")
    assert "a.grad = 1 * (a + a).grad = 1 * 1 = 1; 1 → 1 (overwritten: 1 is lost)" in page.sentence
    assert page.numbers()[0] == (3.0, 1.0)


@pytest.mark.processes
def test_without_zero_grad_the_last_gradients_stay(show):
    page = show(lecture())
    page.check("#forget")
    a = next(index for index, (data, _) in enumerate(page.numbers()) if data == 2.0)
    assert page.numbers()[a] == (2.0, 12.0)


@pytest.mark.processes
def test_in_the_wrong_order_a_node_passes_its_gradient_on_too_early(show):
    a = Value(2.0, label="a")
    b = a * 3
    b.label = "b"
    # b is met first through the product, before the sum below it has had its turn.
    page = show(b * (b + 1))
    page.check("#wrong")
    said = page.evaluate("explorer.story().list.map((step) => step.sentence)")
    assert any("too late: b has passed its gradient on already" in sentence for sentence in said)
    assert page.numbers()[0] != (2.0, 39.0)


@pytest.mark.processes
@pytest.mark.parametrize(("rate", "rises"), [("0.1", False), ("1.5", True)])
def test_descending_moves_the_leaves_and_says_when_the_rate_is_too_large(rate, rises, show):
    page = show(Value(3.0, label="a") ** 2)
    page.fill("#rate", rate)
    page.click("#descend")
    assert page.numbers()[0][0] == pytest.approx(3.0 - float(rate) * 6.0)
    assert ("the rate is too large" in page.text_content("#history")) == rises


@pytest.mark.processes
def test_only_parameters_descend_where_there_are_any(show):
    loss, model = network()
    page = show(loss, model)
    before = page.numbers()
    page.click("#descend")
    data = page_data(viz.explore(loss, model, open=False))["boxes"]
    moved = {
        data[at]["kind"]
        for at, (old, new) in enumerate(zip(before, page.numbers(), strict=True))
        if old[0] != new[0]
    }
    assert moved <= {"parameter", "result"}


@pytest.mark.processes
def test_own_nodes_are_marked_as_what_the_page_cannot_compute(show):
    _, out = own(overwrites=True)
    root = out * 2
    page = show(root)
    page.keyboard.press("End")
    assert "your own _backward" in page.sentence
    assert page.numbers()[0] == (3.0, 12.0)
    page.click("[data-id=b0]")
    assert "made by your own code" in page.text_content("#nudged")


@pytest.mark.processes
def test_layers_fold_and_open(show):
    loss, model = network()
    page = show(loss, model)
    page.click("#fold")
    assert "g0" in page.evaluate("explorer.items()")
    page.focus("[data-id=g0]")
    page.keyboard.press("Enter")
    assert "g0" not in page.evaluate("explorer.items()")
    page.click("#open")
    assert len(page.evaluate("explorer.items()")) == len(
        page_data(viz.explore(loss, model, open=False))["boxes"]
    )


@pytest.mark.processes
def test_a_node_folds_what_only_it_uses(show):
    page = show(lecture())
    page.focus("[data-id=b4]")
    count = len(page.evaluate("explorer.items()"))
    page.keyboard.press("f")
    assert len(page.evaluate("explorer.items()")) == count - 2


@pytest.mark.processes
def test_hovering_shows_all_digits_and_local_derivatives(show):
    page = show(neuron())
    page.hover("[data-id=b8]")
    tip = page.text_content("#tip")
    assert "local derivative" in tip
    assert "data 0.7000000000000002" in tip


@pytest.mark.processes
def test_a_large_graph_opens(show):
    xs = [Value(0.1 * k) for k in range(38)]
    page = show(sum(((x * 1.5 - 0.3).tanh() ** 2 for x in xs), Value(0.0)))
    assert len(page.evaluate("explorer.items()")) > 300


@pytest.mark.processes
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [420, 1100])
def test_the_result_is_on_the_screen(dark, width, show):
    page = show(neuron(), dark=dark, width=width)
    box = page.locator("[data-id=b9]").bounding_box()
    assert 0 <= box["x"] <= box["x"] + box["width"] <= width
    # Nothing is wider than the window.
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.processes
def test_in_print_there_is_the_graph_and_its_sentence(show):
    page = show(lecture(), address="#6")
    page.emulate_media(media="print")
    assert page.is_visible("#sentence")
    assert page.is_visible("#graph")
    assert not page.is_visible("#panel")


@pytest.mark.processes
def test_a_notebook_shows_the_page_in_a_frame(browser, tmp_path):
    html = viz.explore(lecture(), open=False)._repr_html_()
    tab = browser.new_page()
    tab.set_content(html)
    frame = tab.frame_locator("iframe")
    frame.locator("#next").click()
    assert frame.locator("#sentence").text_content().startswith("L.grad = 1")
    assert not tab.is_visible("img")
    tab.close()


@pytest.mark.processes
def test_where_scripts_do_not_run_there_is_a_picture(browser, tmp_path):
    page = viz.explore(lecture(), open=False)
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.set_content(page.document)
    assert tab.is_visible("svg[role=img]")
    # An untrusted notebook removes styles and frames.
    tab.set_content(re.sub(r"<(style|iframe).*?</\1>", "", page._repr_html_(), flags=re.DOTALL))
    assert tab.is_visible("img")
    assert tab.locator("img").bounding_box()["width"] > 100
    context.close()


def test_a_number_is_not_given_twice():
    a = Value(2.0, label="a_rather_long_name")
    b = Value(3.0, label="product1")
    boxes = page_data(viz.explore((a * a) * b, open=False))["boxes"]
    titles = [box["title"] for box in boxes]
    assert titles == ["a_rather_long_name", "product1", "product2", "product2*product1"]
