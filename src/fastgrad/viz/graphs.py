"""Graphs of Values: micrograd's trace and draw_dot, and what a notebook shows."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

from fastgrad.engine import Value, _take_apart
from fastgrad.viz.description import copies_of, describe
from fastgrad.viz.drawing import draw_svg
from fastgrad.viz.walking import TooManyNodesError, walk

if TYPE_CHECKING:
    import graphviz

__all__ = ["TooManyNodesError", "draw_dot", "notebook_display", "trace"]

RANKDIRS = ("LR", "TB", "RL", "BT")


def trace(root: Value) -> tuple[set[Value], set[tuple[Value, Value]]]:
    """Return the nodes below a root, the root among them, and the edges (operand, result): two sets.

    This is micrograd's graph. As with `_prev`, nodes that stand for several of micrograd's are
    replaced by those, and `backward()` is slower while they live; `draw_dot` leaves the graph alone.
    Raises TypeError if the root is no Value.

    >>> a = Value(2.0)
    >>> nodes, edges = trace(a * a + 1)
    >>> len(nodes), len(edges)
    (4, 3)
    """
    require_value(root)
    nodes, edges = graph_of(root, None)
    return set(nodes), set(edges)


def draw_dot(
    root: Value,
    format: str = "svg",  # noqa: A002
    rankdir: str = "LR",
    limit: int | None = 1000,
) -> graphviz.Digraph:
    """Return the picture of the graph below a root, as in micrograd's notebook.

    A record shows a node's label (if it has one), data and grad, filled with its `_vis_color` (if
    that is set); an oval shows an operation. Notebooks display the result; `.render("name")` writes a
    file of the format. rankdir is 'LR' (from left to right), 'TB', 'RL' or 'BT'. The graph itself
    is left as it is.

    Raises TypeError if the root is no Value; ValueError for another rankdir and, without having walked
    further, for a graph of more than `limit` nodes (None: no limit); ImportError without the graphviz
    package. Without the program `dot`, the picture is an SVG of another look; in another format, rendering
    raises graphviz.ExecutableNotFound, which says how to get it.
    """
    require_value(root)
    if rankdir not in RANKDIRS:
        raise ValueError(f"rankdir must be one of {', '.join(RANKDIRS)}, not {rankdir!r}")
    try:
        from fastgrad.viz import dot
    except ModuleNotFoundError as error:
        if error.name != "graphviz":
            raise
        raise ModuleNotFoundError(
            'draw_dot needs the graphviz package: pip install "fastgrad[viz]"', name="graphviz"
        ) from None
    svg = ""
    if shutil.which("dot") is None:
        nodes = walk(root, lambda node: _take_apart(node)[2], limit)
        svg = draw_svg(describe(root, {}, nodes, run=False), rankdir)
    return dot.draw(*graph_of(likeness(root, limit), limit), format, rankdir, svg)


def require_value(root: object) -> None:
    """Raise TypeError unless this is a Value."""
    if not isinstance(root, Value):
        raise TypeError(f"root must be a Value, not {type(root).__name__}")


def notebook_display(root: Value) -> dict[str, str]:
    """Return a Value's display in a notebook: text and, for an expression, its page and a picture.

    The page is that of viz.explore, but calls no `_backward` of the user's; the picture is for notebooks in
    which scripts do not run. A leaf is text only. An expression of more than viz.NOTEBOOK_LIMIT nodes is not
    drawn, at a cost that does not depend on its size. The graph is left as it is: displaying a Value changes
    no bit of a later backward() and does not slow it down.
    """
    # Imported here, as fastgrad.viz imports this module.
    from fastgrad import viz
    from fastgrad.viz.exploring import page_of

    shown = {"text/plain": repr(root)}
    limit = viz.NOTEBOOK_LIMIT
    if not limit or _take_apart(root)[0] == "leaf" or not shows_pictures():
        return shown
    try:
        page = page_of(root, {}, limit, run=False)
    except TooManyNodesError:
        shown["text/plain"] += (
            f"\n(more than {limit} nodes: not drawn. viz.explore(root) shows more of them, a part of the "
            "expression less; viz.NOTEBOOK_LIMIT is the limit)"
        )
        return shown
    return {**shown, **page._repr_mimebundle_(), "text/plain": repr(root)}


def shows_pictures() -> bool:
    """Whether IPython can show pictures: not in a terminal."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is None or "image/svg+xml" in shell.display_formatter.active_types


def graph_of(root: Value, limit: int | None) -> tuple[list[Value], list[tuple[Value, Value]]]:
    """Return micrograd's nodes and edges below a root, each once, in a fixed order."""
    nodes = walk(root, lambda node: node._children, limit)
    return nodes, [(operand, node) for node in nodes for operand in dict.fromkeys(node._children)]


def likeness(root: Value, limit: int | None) -> Value:
    """Return a copy of the graph below a root to be looked at: inspection replaces nodes.

    It has the nodes' symbols, labels and colours, and no `_backward` of the user's.
    """
    return copies_of(walk(root, lambda node: _take_apart(node)[2], limit))[root]
