"""Pictures of models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_decision_boundary(
    model: Callable[[Sequence[float]], Any],
    X: Any,
    y: Any,
    axes: Axes | None = None,
    step: float = 0.1,
) -> Axes:
    """Colour the plane by the sign of a model's score, and draw the points over it.

    X is (N, 2), y is (N,) with labels of two values; the model maps two numbers to one Value. Needs
    numpy and matplotlib. Returns the axes, those of the current figure unless given.
    """
    import numpy as np

    if axes is None:
        from matplotlib import pyplot

        axes = pyplot.gca()
    X = np.asarray(X, dtype=float)
    low, high = X.min(axis=0) - 0.5, X.max(axis=0) + 0.5
    across = np.arange(low[0], high[0] + step, step)
    up = np.arange(low[1], high[1] + step, step)
    scores = np.array([[float(model([a, b])) for a in across] for b in up])
    axes.contourf(across, up, scores > 0, levels=[-0.5, 0.5, 1.5], cmap="Spectral", alpha=0.7)
    axes.scatter(X[:, 0], X[:, 1], c=y, cmap="Spectral", edgecolors="black", s=40)
    axes.set_xlim(across[0], across[-1])
    axes.set_ylim(up[0], up[-1])
    return axes
