"""A picture of one step of a training, as SVG with bitmaps in it, for where no page is shown."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Plane", "picture_of", "png_of"]

# The colours of labels below the middle or at it, and of labels above it.
COLOURS = ((214, 84, 72), (52, 118, 196))
ON = (40, 150, 100)
CROSS = "&#215;"
SIDE = 300
STRIP = 60
GAP = 24
Grid = tuple[tuple[float, float], tuple[float, float]]


class Plane(NamedTuple):
    """Scores on a square grid of `size` points, row by row from below, and points with their labels."""

    grid: Grid
    size: int
    scores: Sequence[float]
    points: Sequence[Sequence[float]]
    labels: Sequence[float]


def png_of(width: int, height: int, pixels: bytes) -> bytes:
    """Return a PNG file of red, green and blue bytes, row by row from above."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    rows = b"".join(b"\0" + pixels[3 * width * row : 3 * width * (row + 1)] for row in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def tinted(colour: Sequence[int], strength: float) -> tuple[int, int, int]:
    """Return a colour on white: white for a strength of 0, the colour itself for 1."""
    red, green, blue = (round(255 + (part - 255) * strength) for part in colour)
    return red, green, blue


def colour(number: float, least: float = 0.0, most: float = 1.0) -> tuple[int, int, int]:
    """Return the colour of a number: by its sign, and from `least` at 0 to `most` at -1 and 1 by its size."""
    if number != number:
        return 128, 128, 128
    return tinted(COLOURS[number > 0], least + (most - least) * min(1.0, abs(number)))


def picture_of(
    plane: Plane | None,
    losses: Sequence[tuple[int, float]],
    active: Sequence[Sequence[float]],
    sizes: Sequence[Sequence[float]],
) -> str:
    """Return an SVG picture of the plane and the losses by step, of each layer's ReLUs and of the parameters.

    `active` are the shares of the points for which each ReLU is on, `sizes` rows of numbers from -1 to 1.
    """
    columns = 2 if plane or active else 1
    width, height = columns * (SIDE + GAP) - GAP, SIDE + GAP + STRIP
    at = SIDE + GAP if plane else 0
    below = SIDE + GAP
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width + 16} {height + 32}" '
        f'width="{width + 16}" '
        'style="max-width:100%;height:auto;background:#fff" role="img" aria-label="a training run">',
        "<style>text{font:12px system-ui,sans-serif;fill:#333}.sharp{image-rendering:pixelated}</style>"
        '<g transform="translate(8 22)">',
        *(plane_lines(plane) if plane else []),
        *curve(losses, at),
        *neurons(active, below),
        *strips(sizes, SIDE + GAP if columns == 2 else 0, below),
        "</g></svg>",
    ]
    return "\n".join(lines)


def bitmap(rows: Sequence[Sequence[tuple[int, int, int]]], kind: str, x: int, y: int, height: int) -> str:
    """Return an element of rows of colours, from above, as wide as the plane, 'sharp' or 'smooth'."""
    pixels = bytes(part for row in rows for pixel in row for part in pixel)
    encoded = base64.b64encode(png_of(len(rows[0]), len(rows), pixels)).decode()
    return (
        f'<image class="{kind}" x="{x}" y="{y}" width="{SIDE}" height="{height}" preserveAspectRatio="none" '
        f'href="data:image/png;base64,{encoded}"/>'
    )


def plane_lines(plane: Plane) -> list[str]:
    """Return the elements of the plane, in a square."""
    (left, right), (low, high) = plane.grid
    size, labels = plane.size, plane.labels
    rows = [
        [colour(score, 0.15, 0.75) for score in plane.scores[row * size : (row + 1) * size]]
        for row in reversed(range(size))
    ]
    lines = [bitmap(rows, "smooth", 0, 0, SIDE)]
    between = (min(labels) + max(labels)) / 2 if labels else 0.0
    for index, (x, y) in enumerate(plane.points):
        red, green, blue = COLOURS[bool(labels) and labels[index] > between]
        place = f'cx="{SIDE * (x - left) / (right - left):.1f}" cy="{SIDE * (high - y) / (high - low):.1f}"'
        lines.append(f'<circle {place} r="4" fill="rgb({red},{green},{blue})" stroke="#222"/>')
    return lines


def neurons(active: Sequence[Sequence[float]], y: int) -> list[str]:
    """Return the elements of the ReLUs, a row a layer: the share of the points for which each is on."""
    if not active:
        return []
    lines = [f'<text y="{y - 6}">ReLUs: on for how many points; {CROSS} is dead</text>']
    tall = STRIP / len(active)
    for row, layer in enumerate(active):
        wide = SIDE / len(layer)
        for k, share in enumerate(layer):
            red, green, blue = tinted(ON, 0.08 + 0.85 * share)
            place = f'x="{k * wide:.1f}" y="{y + row * tall:.1f}"'
            lines.append(
                f'<rect {place} width="{wide - 1:.1f}" height="{tall - 2:.1f}" '
                f'fill="rgb({red},{green},{blue})"/>'
            )
            if not share:
                middle = f'x="{(k + 0.5) * wide - 4:.1f}" y="{y + (row + 0.5) * tall + 3:.1f}"'
                lines.append(f"<text {middle}>{CROSS}</text>")
    return lines


def strips(sizes: Sequence[Sequence[float]], x: int, y: int) -> list[str]:
    """Return the elements of the parameters and their gradients: one pixel each, stretched."""
    return [
        f'<text x="{x}" y="{y - 6}">each parameter, and below it its gradient</text>',
        bitmap([[colour(size) for size in row] for row in sizes], "sharp", x, y, STRIP),
    ]


def curve(losses: Sequence[tuple[int, float]], at: int) -> list[str]:
    """Return the elements of the losses: on a logarithmic axis if all are above 0."""
    finite = [(step, loss) for step, loss in losses if math.isfinite(loss)]
    if not finite:
        return []
    logarithmic = all(loss > 0 for _, loss in finite)
    heights = [math.log(loss) if logarithmic else loss for _, loss in finite]
    low, high = min(heights), max(heights)
    last = max(step for step, _ in finite) or 1
    points = " ".join(
        f"{at + SIDE * step / last:.1f},{SIDE - SIDE * (height - low) / ((high - low) or 1.0):.1f}"
        for (step, _), height in zip(finite, heights, strict=True)
    )
    step, loss = finite[-1]
    return [
        f'<rect x="{at}" width="{SIDE}" height="{SIDE}" fill="none" stroke="#bbb"/>',
        f'<polyline points="{points}" fill="none" stroke="#e07b00" stroke-width="2"/>',
        f'<text x="{at}" y="-7">step {step}: loss {loss:.4g}</text>',
    ]
