"""micrograd's moons demo: a two-layer network learns to tell two half moons apart."""

from __future__ import annotations

import itertools
import math
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import make_moons
from tqdm import tqdm

import fastgrad.functional as F
from fastgrad.compiler import compile
from fastgrad.engine import Value
from fastgrad.nn import MLP
from fastgrad.optim import SGD
from fastgrad.viz import plot_decision_boundary, watch
from fastgrad.viz.filming import PICTURES_A_SECOND
from fastgrad.viz.serving import Served

__all__ = ["picture_path", "train_moons", "watch_moons"]

ALPHA = 1e-4


def moons(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Seed random and numpy and return 100 points (100, 2) and their labels (100,), -1 or 1."""
    np.random.seed(seed)  # noqa: NPY002  (the generator that make_moons draws from)
    random.seed(seed)
    X, y = make_moons(n_samples=100, noise=0.1)
    return X, y * 2 - 1


def score_of(model: MLP, x: list[Value]) -> Value:
    """Return the output of a model that has one."""
    score = model(x)
    assert isinstance(score, Value)
    return score


def max_margin_loss(model: MLP, parameters: list[Value], X: np.ndarray, y: np.ndarray) -> tuple[Value, float]:
    """Return the mean max-margin ("svm") loss plus L2 regularisation, and the accuracy."""
    inputs = [list(map(Value, row)) for row in X]
    scores = [score_of(model, x) for x in inputs]
    losses = [(1 + -target * score).relu() for target, score in zip(y, scores, strict=True)]
    data_loss = sum(losses) * (1.0 / len(losses))
    penalty = ALPHA * sum(p * p for p in parameters)
    hits = [(target > 0) == (score.data > 0) for target, score in zip(y, scores, strict=True)]
    return data_loss + penalty, sum(hits) / len(hits)


Step = Callable[[float], tuple[float, float]]


def eager_step(model: MLP, X: np.ndarray, y: np.ndarray) -> Step:
    """Return a full-batch step as in micrograd's notebook: from the rate to the loss and the accuracy."""
    parameters = model.parameters()

    def step(rate: float) -> tuple[float, float]:
        loss, accuracy = max_margin_loss(model, parameters, X, y)
        model.zero_grad()
        loss.backward()
        for p in parameters:
            p.data -= rate * p.grad
        return loss.data, accuracy

    return step


def compiled_step(model: MLP, X: np.ndarray, y: np.ndarray) -> Step:
    """Return the same step with the loss and the score of one point compiled."""
    parameters = model.parameters()
    optimizer = SGD(parameters, lr=1.0)

    @compile
    def loss_and_score(x: list[Value], target: Value) -> list[Value]:
        score = score_of(model, x)
        return [(1 + -target * score).relu() + ALPHA * F.l2(parameters), score]

    loss = compile(lambda x, target: loss_and_score(x, target)[0])

    def step(rate: float) -> tuple[float, float]:
        scores = loss_and_score(X, y)[:, 1]
        optimizer.zero_grad()
        mean = loss.backward(X, y)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        return mean, float(np.mean((y > 0) == (scores > 0)))

    return step


def picture_path(output: str) -> Path:
    """Return the path of the picture, with .png if it has no suffix; ValueError if it cannot be written."""
    if not output:
        raise ValueError("the picture needs a name")
    path = Path(output).resolve()
    if not path.is_dir() and not path.suffix.strip("."):
        path = path.with_name(path.name.rstrip(".") + ".png")
    if path.is_dir():
        raise ValueError(f"{str(path)!r} is a directory")
    if not path.parent.is_dir():
        raise ValueError(f"there is no directory {str(path.parent)!r}")
    try:
        # Looking at permissions is not enough: the file system may be read-only, or the user root.
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise ValueError(f"nothing can be written in {str(path.parent)!r}: {error.strerror}") from error
    known = Figure().canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in known:
        raise ValueError(f"matplotlib writes {', '.join(sorted(known))}, not {path.suffix!r}")
    return path


def free_path(path: Path) -> Path:
    """Return a path at which there is no file: the given one, or it with the next number, `moons-2.png`."""
    numbered = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in itertools.count(2))
    return next(free for free in itertools.chain([path], numbered) if not free.exists())


def train_moons(steps: int, seed: int, path: Path, plain: bool = False, compiled: bool = False) -> bool:
    """Train for some full-batch steps, print the result, and draw the decision boundary to a file.

    The rate falls from 1 to 0.1 over the steps, as over the 100 of micrograd's notebook. With `compiled`,
    the loss is a program over all rows; the numbers are the same to 1e-12. An existing picture is kept: the
    new one gets the next free name. Ctrl-C ends the training; the result is still printed and drawn.
    Returns whether all steps were taken; raises FloatingPointError if the loss is not finite.
    """
    X, y = moons(seed)
    model = MLP(2, [16, 16, 1])
    step = (compiled_step if compiled else eager_step)(model, X, y)
    seconds: list[float] = []
    with tqdm(total=steps, unit="step", disable=plain, file=sys.stderr) as bar:
        try:
            for k in range(steps):
                start = time.perf_counter()
                loss, accuracy = step(1.0 - 0.9 * k / steps)
                if not math.isfinite(loss):
                    raise FloatingPointError(f"the loss is {loss} at step {k}: the training has failed")
                seconds.append(time.perf_counter() - start)
                if plain:
                    print(f"step {k} loss {loss}, accuracy {accuracy * 100}%")
                bar.set_postfix(loss=f"{loss:.4f}", accuracy=f"{accuracy:.0%}", refresh=False)
                bar.update()
        except KeyboardInterrupt:
            # Before the first step there is nothing to show.
            if not seconds:
                raise
    done = len(seconds)
    print(
        f"{'' if done == steps else f'interrupted after {done} of {steps} steps: '}"
        f"loss {loss:.6f}, accuracy {accuracy:.0%}, "
        f"{statistics.median(seconds) * 1e3:.3g} ms a step (median of {done})"
    )
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.add_subplot()
    plot_decision_boundary(model, X, y, axes)
    axes.set_title(f"micrograd's moons after {done} steps: accuracy {accuracy:.0%}")
    picture = free_path(path)
    figure.savefig(picture, dpi=120)
    print(f"decision boundary: {picture}{'' if picture == path else f' ({path.name} was there)'}")
    return done == steps


def watch_moons(steps: int, seed: int, compiled: bool = False) -> None:
    """Train while a page shows it, 20 pictures a second, until the page is closed or Ctrl-C is pressed.

    The page is on this machine's loopback address, and is opened in the browser. The rate falls from 1 to
    0.1 over the steps, and stays there. A click on the plane adds a point, which is trained on from then on.
    Raises FloatingPointError if the loss is not finite.
    """
    X, y = moons(seed)
    model = MLP(2, [16, 16, 1])
    make_step = compiled_step if compiled else eager_step
    step = make_step(model, X, y)
    film = watch(model, X, y, live=True)
    view = film.live
    assert isinstance(view, Served)
    print(f"to be watched at {view.url} until the page is closed, or Ctrl-C", flush=True)
    done, loss, accuracy = 0, math.nan, math.nan
    try:
        while view.is_watched():
            start = time.monotonic()
            # Train only once the page is there, so that it shows every step.
            for _ in range(view.speed if view.listening else 0):
                loss, accuracy = step(max(0.1, 1.0 - 0.9 * done / steps))
                if not math.isfinite(loss):
                    raise FloatingPointError(f"the loss is {loss} at step {done}: the training has failed")
                film.record(loss)
                done += 1
            added = film.added()
            if added:
                X = np.vstack([X, [point for point, _ in added]])
                y = np.append(y, [label for _, label in added])
                step = make_step(model, X, y)
            time.sleep(max(0.0, 1.0 / PICTURES_A_SECOND - (time.monotonic() - start)))
    except KeyboardInterrupt:
        pass
    finally:
        view.close()
    if not done:
        print("no step was taken: the page was not open")
        return
    print(f"after {done} steps on {len(y)} points: loss {loss:.6f}, accuracy {accuracy:.0%}")
