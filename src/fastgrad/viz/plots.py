"""Curves of losses and decision boundaries, drawn with matplotlib."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, SupportsFloat

from fastgrad.engine import Value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_decision_boundary", "plot_losses"]


@contextlib.contextmanager
def explained(function: str) -> Iterator[None]:
    """If a package that the function in this block imports is missing, say in the error how to get it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'{function} needs {error.name}: pip install "fastgrad[viz]"', name=error.name
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
    """Colour the plane by a model's score, with lines where it is -1, 0 and 1, and draw the points over it.

    The line at 0 is the boundary, the others are the margins of a max-margin loss.
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
    axes.contourf(
        across, up, scores, levels=np.linspace(-3, 3, 13), cmap="Spectral", alpha=0.7, extend="both"
    )
    # matplotlib warns if no score crosses any of the levels.
    if any(scores.min() < level < scores.max() for level in (-1, 0, 1)):
        axes.contour(
            across,
            up,
            scores,
            levels=[-1, 0, 1],
            colors="black",
            linewidths=[0.6, 1.4, 0.6],
            linestyles=["--", "-", "--"],
        )
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
    """Return a model's scores for some points as an array; ValueError unless there is one for each."""
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
    from fastgrad.compiler.program import Programs

    return isinstance(model, Programs)
