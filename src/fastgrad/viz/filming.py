"""A training run recorded step by step, and the page that shows it."""

from __future__ import annotations

import base64
import math
import operator
import threading
import time
import weakref
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any, SupportsFloat

from fastgrad.compiler import compile  # noqa: A004
from fastgrad.diagnosis import names_of
from fastgrad.engine import TracingError, Value
from fastgrad.nn import MLP
from fastgrad.optim.updates import copy_numbers
from fastgrad.viz.bitmaps import Plane, picture_of
from fastgrad.viz.pages import Page, whole_page
from fastgrad.viz.plots import is_compiled

__all__ = ["Film", "watch"]

# Points of the grid on which the score is computed, across and up.
GRID = 40
# Steps that the page shows of a longer run, and that are kept in memory.
SHOWN = 100
KEPT = 1000
# A live picture is shown at most so often.
PICTURES_A_SECOND = 20
# The score at which the page's colours are full: three times the margin of a max-margin loss.
FULL = 3.0
# Weights of which the page shows each one.
MOST_WEIGHTS = 2000
SMALLEST = 1e-6


class Frame:
    """One recorded step: its number, the loss, and every parameter's data and gradient."""

    __slots__ = ("data", "grads", "loss", "step")

    def __init__(self, step: int, loss: float, data: array[float], grads: array[float]) -> None:
        self.step = step
        self.loss = loss
        self.data = data
        self.grads = grads


class Film:
    """A training run that `watch` records: call `record(loss)` after each step, and `page()` for its page.

    A notebook shows the page by itself. `frames` are the steps that are kept: of a long run, evenly spaced
    ones.
    """

    def __init__(self, model: Any, X: Any = None, y: Any = None, every: int = 1, live: bool = False) -> None:
        if operator.index(every) < 1:
            raise ValueError(f"every must be at least 1, not {every}")
        self.model = model
        self.names = list(names_of(model).items())
        if not self.names:
            raise ValueError("the model has no parameters to watch")
        self.parameters = [parameter for parameter, _ in self.names]
        self.points = [] if X is None else rows_of(X)
        self.labels = [] if y is None else [float(label) for label in y]
        if y is not None and len(self.labels) != len(self.points):
            raise ValueError(
                f"y must have a label for each of the {len(self.points)} rows of X, not {len(self.labels)}"
            )
        # A boundary can be drawn only for points of the plane.
        self.has_plane = bool(self.points) and all(len(point) == 2 for point in self.points)
        self.frames: list[Frame] = []
        self.steps = 0
        self.every = every
        self.grid = grid_around(self.points) if self.has_plane else None
        self.scores_of = scorer(model)
        self.hidden = hidden_layers(model)
        self.live = live_view(self) if live else None
        self.next_picture = 0.0

    def record(self, loss: Value | SupportsFloat = math.nan) -> None:
        """Keep the parameters' data and gradients as they are now, and the loss.

        Call it once a step, after `backward()`. The picture of a live film is renewed, at most 20 times a
        second.
        """
        if self.steps % self.every == 0:
            self.frames.append(Frame(self.steps, float(loss), *copy_numbers(self.parameters)))
            if len(self.frames) > KEPT:
                del self.frames[1::2]
                self.every *= 2
        self.steps += 1
        if self.live is not None and time.monotonic() >= self.next_picture:
            self.live.show(self)
            self.next_picture = time.monotonic() + 1.0 / PICTURES_A_SECOND

    def added(self) -> list[tuple[list[float], float]]:
        """Return the points that were clicked into a live page since the last call, each with its label."""
        found = [] if self.live is None else self.live.added()
        for point, label in found:
            self.points.append(point)
            self.labels.append(label)
        return found

    def page(self) -> Page:
        """Return the page of the film; ValueError if nothing is recorded."""
        if not self.frames:
            raise ValueError("nothing is recorded yet: call record(loss) after each step")
        chosen = evenly(self.frames, SHOWN)
        data = {
            **self._setting(),
            "losses": self.losses(),
            "frames": [self._shown(frame) for frame in chosen],
        }
        document = whole_page("a training run", "film", ("page/film.js",), data, self.picture())
        return Page("a training run", document, self.picture(), height=580)

    def _setting(self) -> dict[str, Any]:
        """Return the data that is the same for all frames: points, grid, parameters' names, layers."""
        shown = self.names[:MOST_WEIGHTS]
        return {
            "points": self.points if self.has_plane else [],
            "labels": self.labels,
            "grid": self.grid and {"x": self.grid[0], "y": self.grid[1], "size": GRID, "full": FULL},
            "names": [name for _, name in shown],
            "parameters": len(self.parameters),
            "hidden": [[name, size] for name, size, _ in self.hidden],
            "live": False,
        }

    def losses(self) -> list[tuple[int, float]]:
        """Return the step and the loss of every kept step that has one."""
        return [(frame.step, frame.loss) for frame in self.frames if frame.loss == frame.loss]

    def _with(self, frame: Frame | None) -> tuple[list[float], list[float], list[list[float]]]:
        """Return the scores on the grid and at the points, and for how many points each ReLU is on.

        They are computed with the parameters of a frame, or for None with the current ones.
        """
        kept = [] if frame is None else copy_numbers(self.parameters)[0]
        try:
            for parameter, number in zip(self.parameters, [] if frame is None else frame.data, strict=False):
                parameter.data = number
            scores = self.scores_of(points_on(self.grid)) if self.grid else []
            at_points = self.scores_of(self.points) if self.has_plane else []
            active = [share_active(run, self.points) for _, _, run in self.hidden] if self.points else []
        finally:
            for parameter, number in zip(self.parameters, kept, strict=False):
                parameter.data = number
        return scores, at_points, active

    def _shown(self, frame: Frame, current: bool = False) -> dict[str, Any]:
        """Return a frame for the page, computed with its parameters, unless they are the current ones."""
        scores, at_points, active = self._with(None if current else frame)
        right = [
            (score > 0) == (label > middle(self.labels))
            for score, label in zip(at_points, self.labels, strict=False)
        ]
        return {
            "step": frame.step,
            "loss": frame.loss,
            "accuracy": sum(right) / len(right) if right else None,
            "scores": packed([score / FULL for score in scores]),
            "active": active,
            "weights": packed(sizes(frame.data[:MOST_WEIGHTS])),
            "grads": packed(sizes(frame.grads[:MOST_WEIGHTS])),
            "norms": [norm(frame.data), norm(frame.grads)],
        }

    def picture(self) -> str:
        """Return an SVG picture of the last step."""
        frame = self.frames[-1]
        scores, _, active = self._with(None)
        scores = [score / FULL for score in scores]
        return picture_of(
            Plane(self.grid, GRID, scores, self.points, self.labels) if self.grid else None,
            self.losses(),
            active,
            [sizes(frame.data[:MOST_WEIGHTS]), sizes(frame.grads[:MOST_WEIGHTS])],
        )

    def _repr_mimebundle_(self, **options: Any) -> dict[str, str]:
        """Return the page, for a notebook."""
        return self.page()._repr_mimebundle_() if self.frames else {"text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"<film of {self.steps} steps: .page().open() shows it in the browser>"


def watch(model: Any, X: Any = None, y: Any = None, *, every: int = 1, live: bool = False) -> Film:
    """Return a recorder of a training run: call `record(loss)` after each step, then look at its page.

    The page has a time slider: how the decision boundary moves (if X is (N, 2) and y are labels of two
    values), the loss, the size of each weight and gradient, and which ReLUs are dead (of an MLP). `model`
    is a Module, or the Values to be watched, without a boundary. With `live` it is also seen while it
    trains: in place in a notebook, else in the browser, on a page of this machine's own, where a click adds
    a point that `added()` returns.

    A step is recorded in 5 ns a parameter, which makes the moons' compiled step 1.1 times as long; all else
    is computed when the page is made. `every` leaves out steps. Raises ValueError if it is below 1, if there
    are no parameters, not as many labels as rows, or rows of different lengths or that are not finite.

    >>> from fastgrad.nn import MLP
    >>> X, y = [[0.0, 1.0], [1.0, 0.0]], [-1, 1]
    >>> model = MLP(2, [4, 1])
    >>> film = watch(model, X, y)
    >>> for _ in range(3):
    ...     loss = sum((1 - label * model(x)).relu() for x, label in zip(X, y))
    ...     model.zero_grad()
    ...     loss.backward()
    ...     for p in model.parameters():
    ...         p.data -= 0.1 * p.grad
    ...     film.record(loss)
    >>> film
    <film of 3 steps: .page().open() shows it in the browser>
    """
    return Film(model, X, y, every, live)


def rows_of(X: Any) -> list[list[float]]:
    """Return rows as lists of numbers; ValueError unless they have the same length and are finite."""
    try:
        rows = [[float(number) for number in row] for row in X]
    except TypeError:
        raise TypeError(f"X must be rows of numbers, not {X!r}") from None
    for index, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise ValueError(f"row {index} of X has {len(row)} numbers, but row 0 has {len(rows[0])}")
        if not all(map(math.isfinite, row)):
            raise ValueError(f"row {index} of X has a number that is not finite: {row}")
    return rows


def live_view(film: Film) -> Any:
    """Return the live view of a film: a notebook's output, else a page on loopback."""
    from fastgrad.viz.pages import in_ipython_notebook
    from fastgrad.viz.serving import InNotebook, Served

    view = InNotebook(film) if in_ipython_notebook() else Served(film)
    # It waits until the server has ended.
    ending = threading.Thread(target=view.close, daemon=True)
    weakref.finalize(film, ending.start).atexit = False
    return view


def scorer(model: Any) -> Callable[[Sequence[Sequence[float]]], list[float]]:
    """Return a function from points to the model's scores, compiled if the model can be."""

    def eager(points: Sequence[Sequence[float]]) -> list[float]:
        return [score_of(model(point)) for point in points]

    if not callable(model):
        return lambda points: []
    compiled = model if is_compiled(model) else compile(lambda x: first(model(x)))

    def fast(points: Sequence[Sequence[float]]) -> list[float]:
        try:
            scores = compiled(points)
            scores = scores.tolist() if hasattr(scores, "tolist") else list(scores)
            return scores if all(type(score) is float for score in scores) else list(map(score_of, scores))
        except (TracingError, TypeError):
            return eager(points)

    return fast


def first(score: Any) -> Any:
    """Return the score of a model that gives one, in a list or not."""
    return score[0] if isinstance(score, (list, tuple)) and len(score) == 1 else score


def score_of(given: Any) -> float:
    """Return a score as a number; ValueError if the model gives more than one."""
    given = first(given.tolist() if hasattr(given, "tolist") else given)
    if isinstance(given, (list, tuple)):
        raise ValueError(
            f"the model gives {len(given)} scores for a point, but the boundary is where one changes its "
            "sign: watch without X, or give a function that returns one of them"
        )
    return float(given)


def hidden_layers(model: Any) -> list[tuple[str, int, Callable[[Any], Any]]]:
    """Return (name, neurons, function from rows to their outputs) for each layer of ReLUs of an MLP."""
    if not isinstance(model, MLP):
        return []
    found: list[tuple[str, int, Callable[[Any], Any]]] = []
    for at, layer in enumerate(model.layers):
        neurons = getattr(layer, "neurons", [])
        if neurons and all(
            getattr(neuron, "nonlin", False) and neuron.activation == "relu" for neuron in neurons
        ):
            found.append((f"layer {at}", len(neurons), compile(up_to(model.layers[: at + 1]))))
    return found


def up_to(layers: Sequence[Any]) -> Callable[[Any], Any]:
    """Return the function that runs some layers."""

    def run(x: Any) -> Any:
        for layer in layers:
            x = layer(x)
            x = x if isinstance(x, list) else [x]
        return x

    return run


def share_active(run: Callable[[Any], Any], points: Sequence[Sequence[float]]) -> list[float]:
    """Return, for each neuron, the share of the points for which it is above 0."""
    rows = run(points)
    rows = rows.tolist() if hasattr(rows, "tolist") else rows
    columns = zip(*rows, strict=True)
    return [round(sum([output > 0 for output in column]) / len(points), 4) for column in columns]


def grid_around(points: Sequence[Sequence[float]]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the ends of both axes: those of the points, and half a unit more."""
    across, up = zip(*points, strict=True)
    return (min(across) - 0.5, max(across) + 0.5), (min(up) - 0.5, max(up) + 0.5)


def points_on(grid: tuple[tuple[float, float], tuple[float, float]] | None) -> list[list[float]]:
    """Return the points of the grid, row by row from below."""
    assert grid is not None
    (left, right), (low, high) = grid
    across = [left + (right - left) * k / (GRID - 1) for k in range(GRID)]
    up = [low + (high - low) * k / (GRID - 1) for k in range(GRID)]
    return [[x, y] for y in up for x in across]


def middle(labels: Sequence[float]) -> float:
    """Return the middle of two labels: a label above it belongs to a positive score."""
    return (min(labels) + max(labels)) / 2


def evenly(frames: Sequence[Frame], most: int) -> list[Frame]:
    """Return at most so many frames, the first and the last among them."""
    if len(frames) <= most:
        return list(frames)
    return [frames[round(k * (len(frames) - 1) / (most - 1))] for k in range(most)]


def packed(numbers: Sequence[float]) -> str:
    """Return numbers from -1 to 1, more being cut off, as bytes in base 64: 0 to 254; nan is 255."""
    # Without calls of min and max, which take 5 ms for 1600 scores.
    cut = [
        255 if x != x else 254 if x >= 1.0 else 0 if x <= -1.0 else int(127.5 + 127.0 * x) for x in numbers
    ]
    return base64.b64encode(bytes(cut)).decode()


def sizes(numbers: Iterable[float]) -> list[float]:
    """Return the signs and sizes of numbers, sizes by their logarithm: 0 for 1e-6 and less, 1 from 1 on."""
    decades = -math.log10(SMALLEST)
    return [
        math.nan
        if number != number
        else 0.0
        if abs(number) <= SMALLEST
        else math.copysign(1.0 + math.log10(min(1.0, abs(number))) / decades, number)
        for number in numbers
    ]


def norm(numbers: Sequence[float]) -> float:
    """Return the root of the mean square."""
    return math.sqrt(sum(number * number for number in numbers) / len(numbers))
