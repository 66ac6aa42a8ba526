"""Pictures of graphs of Values, of models and of their training."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, SupportsFloat

from fastgrad.engine import Value, _put_together, _take_apart

if TYPE_CHECKING:
    import graphviz
    from matplotlib.axes import Axes

# A notebook shows the graph of an expression of at most so many nodes; 0 turns that off.
NOTEBOOK_LIMIT = 60

RANKDIRS = ("LR", "TB", "RL", "BT")


class TooManyNodesError(ValueError):
    """A graph is larger than the limit given for it."""


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
    package. Rendering raises graphviz.ExecutableNotFound, which says how to get it, without the program
    `dot`.
    """
    require_value(root)
    if rankdir not in RANKDIRS:
        raise ValueError(f"rankdir must be one of {', '.join(RANKDIRS)}, not {rankdir!r}")
    try:
        from fastgrad import drawing
    except ModuleNotFoundError as error:
        if error.name != "graphviz":
            raise
        raise ModuleNotFoundError(
            "draw_dot needs the graphviz package: pip install 'fastgrad[viz]'", name="graphviz"
        ) from None
    return drawing.draw(*graph_of(likeness(root, limit), limit), format, rankdir)


def require_value(root: object) -> None:
    """Raise TypeError unless this is a Value."""
    if not isinstance(root, Value):
        raise TypeError(f"root must be a Value, not {type(root).__name__}")


def notebook_display(root: Value) -> dict[str, str]:
    """Return what a notebook shows of a Value: text, and the graph of a small expression as SVG.

    A leaf is text only, and so is everything where graphviz or its program `dot` is missing. The cost
    does not depend on the graph's size, and the graph is left as it is: displaying a Value changes
    no bit of a later backward() and does not slow it down.
    """
    shown = {"text/plain": repr(root)}
    if _take_apart(root)[0] != "leaf" and shows_pictures() and shutil.which("dot") is not None:
        with contextlib.suppress(ModuleNotFoundError, TooManyNodesError):
            shown["image/svg+xml"] = draw_dot(root, limit=NOTEBOOK_LIMIT).pipe(format="svg", encoding="utf-8")
    return shown


def shows_pictures() -> bool:
    """Whether what IPython shows may be a picture: not in a terminal."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is None or "image/svg+xml" in shell.display_formatter.active_types


def walk(root: Value, operands: Callable[[Value], Iterable[Value]], limit: int | None) -> list[Value]:
    """Return the nodes below a root, operands before results; the order is that of the operands.

    Raises TooManyNodesError as soon as there are more than `limit`.
    """
    order: dict[Value, None] = {}
    met = {root}
    waiting = [(root, iter(operands(root)))]
    while waiting:
        node, rest = waiting[-1]
        operand = next((operand for operand in rest if operand not in met), None)
        if operand is None:
            order[node] = None
            waiting.pop()
            continue
        met.add(operand)
        if limit is not None and len(met) > limit:
            raise TooManyNodesError(
                f"the graph below {root!r} has more than {limit} nodes, too many to look at; "
                f"draw a part of it, or give a larger limit"
            )
        waiting.append((operand, iter(operands(operand))))
    return list(order)


def graph_of(root: Value, limit: int | None) -> tuple[list[Value], list[tuple[Value, Value]]]:
    """Return micrograd's nodes and edges below a root, each once, in a fixed order."""
    nodes = walk(root, lambda node: node._children, limit)
    return nodes, [(operand, node) for node in nodes for operand in dict.fromkeys(node._children)]


def likeness(root: Value, limit: int | None) -> Value:
    """Return a copy of the graph below a root to be looked at: inspection replaces nodes.

    It has the nodes' symbols, labels and colours, and no `_backward` of the user's.
    """
    copies: dict[Value, Value] = {}
    for node in walk(root, lambda node: _take_apart(node)[2], limit):
        operation, kind, operands, detail = _take_apart(node)
        copy = _put_together(
            Value,
            operation,
            kind,
            node.data,
            node.grad,
            tuple(copies[operand] for operand in operands),
            detail,
        )
        copy._op, copy.label = node._op, node.label
        if hasattr(node, "_vis_color"):
            copy._vis_color = node._vis_color
        copies[node] = copy
    return copies[root]


@contextlib.contextmanager
def explained(function: str) -> Iterator[None]:
    """Say how to get what a function of this name imports, if it is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{function} needs {error.name}: pip install 'fastgrad[viz]'", name=error.name
        ) from None


def current_axes(function: str) -> Axes:
    """Return the axes of the current figure."""
    with explained(function):
        from matplotlib import pyplot

    return pyplot.gca()


def plot_losses(losses: Iterable[Value | SupportsFloat], axes: Axes | None = None) -> Axes:
    """Draw losses, Values or numbers, one a step, counted from 0.

    Needs matplotlib. A loss that is nan or infinite leaves a gap. Returns the axes, those of the
    current figure unless given; `axes.set_yscale("log")` suits losses that fall by orders of
    magnitude. Raises ValueError if there are no losses.
    """
    with explained("plot_losses"):
        from matplotlib.ticker import MaxNLocator

    heights = [float(loss) for loss in losses]
    if not heights:
        raise ValueError("there are no losses to draw")
    axes = current_axes("plot_losses") if axes is None else axes
    # One point makes no line.
    axes.plot(range(len(heights)), heights, marker="." if len(heights) <= 50 else "")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.3)
    return axes


def plot_decision_boundary(
    model: Callable[[Sequence[float]], Any],
    X: Any,
    y: Any,
    axes: Axes | None = None,
    step: float = 0.1,
) -> Axes:
    """Colour the plane by the sign of a model's score, and draw the points over it.

    X is (N, 2), y is (N,) with labels of two values; the model maps two numbers to one Value, or is a
    compiled function that does, called once for all points. Needs numpy and matplotlib. Returns the
    axes, those of the current figure unless given. Raises ValueError for X and y of other shapes, no rows, a
    step that is not above 0, and a model that gives anything but one score.
    """
    with explained("plot_decision_boundary"):
        import numpy as np

    X, y = points_of(X, y)
    if not step > 0:
        raise ValueError(f"step must be above 0, not {step!r}")
    axes = current_axes("plot_decision_boundary") if axes is None else axes
    low, high = X.min(axis=0) - 0.5, X.max(axis=0) + 0.5
    across = np.arange(low[0], high[0] + step, step)
    up = np.arange(low[1], high[1] + step, step)
    points = [[a, b] for b in up for a in across]
    given = model(np.array(points)) if is_compiled(model) else [model(point) for point in points]
    scores = scores_of(given, len(points)).reshape(len(up), len(across))
    axes.contourf(across, up, scores > 0, levels=[-0.5, 0.5, 1.5], cmap="Spectral", alpha=0.7)
    axes.scatter(X[:, 0], X[:, 1], c=y, cmap="Spectral", edgecolors="black", s=40)
    axes.set_xlim(across[0], across[-1])
    axes.set_ylim(up[0], up[-1])
    return axes


def points_of(X: Any, y: Any) -> tuple[Any, Any]:
    """Return points and labels as arrays; ValueError unless they are (N, 2) and (N,), N at least 1."""
    import numpy as np

    X, y = np.asarray(X, dtype=float), np.asarray(y).ravel()
    if X.ndim != 2 or X.shape[1] != 2 or not len(X):
        raise ValueError(f"X must be (N, 2), N points of the plane, at least one, not {X.shape}")
    if len(y) != len(X):
        raise ValueError(f"y must have a label for each of the {len(X)} points, not {len(y)}")
    return X, y


def scores_of(given: Any, count: int) -> Any:
    """Return what a model gave for some points as an array; ValueError unless it is a score for each."""
    import numpy as np

    if len(given) != count:
        raise ValueError(f"the model gives {len(given)} scores for {count} points")
    scores = []
    for score in given:
        if not isinstance(score, Value) and np.ndim(score):
            if len(score) != 1:
                raise ValueError(
                    f"the model gives {len(score)} scores for a point, but the boundary is where one changes "
                    "its sign: give a function that returns one of them, or the difference of two"
                )
            score = score[0]
        scores.append(float(score))
    return np.array(scores)


def is_compiled(model: object) -> bool:
    """Whether this is a function that takes many rows at once."""
    from fastgrad.program import Programs

    return isinstance(model, Programs)
