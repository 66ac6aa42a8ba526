"""The numbers of the problems: ADBench's files from the folder of `--adbench`, else drawn from a seed."""

from pathlib import Path
from typing import NamedTuple

import numpy

SEED = 31337
chosen: Path | None = None


def choose(folder: Path) -> None:
    """Read ADBench's files from this folder."""
    global chosen
    chosen = folder


class Mixture(NamedTuple):
    """A mixture's parameters, the points, and the prior's scale and degrees of freedom.

    `factors` has a row a component: the logarithms of the diagonal of a triangle, then what is below the
    diagonal, by columns.
    """

    alphas: numpy.ndarray
    means: numpy.ndarray
    factors: numpy.ndarray
    points: numpy.ndarray
    gamma: float
    degrees: int


def mixture(dimension: int, components: int, points: int = 1000) -> Mixture:
    triangle = dimension * (dimension + 1) // 2
    path = None if chosen is None else chosen / f"gmm_d{dimension}_K{components}.txt"
    if path is not None and path.exists() and points == 1000:
        numbers = iter(path.read_text().split())
        d, k, n = (int(next(numbers)) for _ in range(3))

        def matrix(rows: int, columns: int) -> numpy.ndarray:
            return numpy.array([float(next(numbers)) for _ in range(rows * columns)]).reshape(rows, columns)

        alphas, means, factors = matrix(k, 1)[:, 0], matrix(k, d), matrix(k, triangle)
        return Mixture(alphas, means, factors, matrix(n, d), float(next(numbers)), int(next(numbers)))
    draw = numpy.random.default_rng(SEED)
    return Mixture(
        draw.normal(size=components),
        draw.uniform(size=(components, dimension)),
        draw.normal(size=(components, triangle)),
        draw.normal(size=(points, dimension)),
        1.0,
        0,
    )


class Adjustment(NamedTuple):
    """A bundle adjustment's observations: the rows of all arrays are those that belong together."""

    cameras: numpy.ndarray
    points: numpy.ndarray
    weights: numpy.ndarray
    features: numpy.ndarray


def adjustment(name: str, observations: int) -> Adjustment:
    """The file's one record again and again, as ADBench does."""
    paths = [] if chosen is None else sorted(chosen.glob(f"{name}_*.txt"))
    if paths:
        text = paths[0].read_text().split("\n", 1)
        observations = int(text[0].split()[2])
        numbers = numpy.array(text[1].split(), dtype=float)
    else:
        draw = numpy.random.default_rng(SEED)
        camera = [-0.76, -1.11, -0.85, 34.6, 39.7, 53.9, 419.2, 5.9, -8.5, 0.088, 0.0027]
        numbers = numpy.concatenate([camera, [7.2, 0.0011, 3.0, 0.417], draw.uniform(200, 900, 2)])
    rows = numpy.tile(numbers, (observations, 1))
    parts = rows[:, :11], rows[:, 11:14], rows[:, 14], rows[:, 15:17]
    return Adjustment(*map(numpy.ascontiguousarray, parts))


class Sequence(NamedTuple):
    """A long short-term memory's parameters and state, and the characters that it reads, as bits."""

    main: numpy.ndarray
    extra: numpy.ndarray
    state: numpy.ndarray
    characters: numpy.ndarray


def sequence(layers: int, length: int) -> Sequence:
    bits = 14
    path = None if chosen is None else chosen / f"lstm_l{layers}_c1024.txt"
    if path is not None and path.exists():
        numbers = numpy.array(path.read_text().split()[3:], dtype=float)
        sizes = 2 * layers * 4 * bits, 2 * layers * bits, 3 * bits
        main, state, extra, rest = numpy.split(numbers, numpy.cumsum(sizes))
    else:
        draw = numpy.random.default_rng(SEED)
        main, state, extra = (draw.uniform(size=n * bits) for n in (2 * layers * 4, 2 * layers, 3))
        rest = draw.integers(0, 2, size=length * bits).astype(float)
    return Sequence(
        main.reshape(-1, 4 * bits),
        extra.reshape(3, bits),
        state.reshape(-1, bits),
        rest[: length * bits].reshape(length, bits),
    )
