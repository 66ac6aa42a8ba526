"""A graph as a page: stepped through forward and backward, with numbers that can be moved."""

from __future__ import annotations

from typing import Any

from fastgrad.diagnosis import names_of
from fastgrad.engine import Value, _take_apart
from fastgrad.viz.description import Description, describe
from fastgrad.viz.drawing import draw_svg
from fastgrad.viz.graphs import require_value
from fastgrad.viz.pages import Page, in_notebook, whole_page
from fastgrad.viz.walking import too_many, walk

__all__ = ["explore", "page_of"]

SCRIPTS = (
    "page/dagre.min.js",
    "page/special_functions.js",
    "generated/arithmetic.js",
    "page/tape.js",
    "page/explorer.js",
)
# Boxes that fit a screen; of a larger graph, neurons and layers are folded when it opens.
FOLD_ABOVE = 60


def explore(
    root: Value,
    parameters: Any = (),
    *,
    limit: int | None = 1000,
    open: bool | None = None,  # noqa: A002
) -> Page:
    """Return a page of the graph below a root, which steps through backpropagation.

    It shows the graph that micrograd would show. It goes forward and backward a step at a time, one arrow
    each, in words and numbers; its sliders move a leaf, and the page computes everything again; it shows the
    classic mistakes and gradient descent. It needs nothing but a browser. parameters: a Module or Values,
    which are shown by name and moved by gradient descent. open: whether to open the page in the browser; None
    does so unless a notebook shows it in place.

    A `_backward` of the user's is called twice, to see what it adds and whether it overwrites; gradients
    are put back, and the graph is left as it is. Raises TypeError if the root is no Value;
    TooManyNodesError, a ValueError, for a graph of more than `limit` nodes (None: no limit).

    >>> a, b = Value(2.0, label="a"), Value(-3.0, label="b")
    >>> explore(a * b + a, open=False)
    <page of a*b + a: .open() shows it in the browser, .save(path) writes it>
    """
    require_value(root)
    names = names_of(parameters)
    page = page_of(root, names, limit, run=True)
    if open or (open is None and not in_notebook()):
        page.open()
    return page


def page_of(root: Value, names: dict[Value, str], limit: int | None, run: bool) -> Page:
    """Return the page of a graph; with `run`, each `_backward` of the user's is called to see its effect."""
    nodes = walk(root, lambda node: _take_apart(node)[2], limit)
    description = describe(root, names, nodes, run)
    if limit is not None and len(description.boxes) > limit:
        raise too_many(root, limit)
    title = description.boxes[-1].name
    picture = draw_svg(description)
    document = whole_page(title, "explorer", SCRIPTS, data_of(description), picture)
    return Page(title, document, picture, height=max(560, min(760, 500 + 6 * len(description.boxes))))


def data_of(description: Description) -> dict[str, Any]:
    """Return a description as JSON data: an operand that is a box is [index], one that is a number itself."""
    boxes = []
    for box in description.boxes:
        operands = [[operand] if isinstance(operand, int) else operand for operand in box.operands]
        boxes.append({**box._asdict(), "operands": operands})
    return {
        "boxes": boxes,
        "groups": [group._asdict() for group in description.groups],
        "foldAbove": FOLD_ABOVE,
    }
