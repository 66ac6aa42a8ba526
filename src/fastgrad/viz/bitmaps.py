"""A picture of a plane and of a loss, as SVG with a bitmap in it, for where no page is shown."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Sequence

__all__ = ["picture_of", "png_of"]

# Of labels that are not above the middle, and of those that are.
COLOURS = ((214, 84, 72), (52, 118, 196))
SIDE = 300
GAP = 24
Grid = tuple[tuple[float, float], tuple[float, float]]


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


def colour(score: float) -> tuple[int, int, int]:
    """Return the colour of a score: full at -1 and 1, white at 0."""
    if score != score:
        return 128, 128, 128
    strength = 0.15 + 0.6 * min(1.0, abs(score))
    red, green, blue = (round(255 + (part - 255) * strength) for part in COLOURS[score > 0])
    return red, green, blue


def picture_of(
    grid: Grid | None,
    size: int,
    scores: Sequence[float],
    points: Sequence[Sequence[float]],
    labels: Sequence[float],
    losses: Sequence[tuple[int, float]],
) -> str:
    """Return an SVG picture: the scores on a square grid with the points over it, and the losses by step."""
    width = (SIDE + GAP if grid else 0) + SIDE
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width + 16} {SIDE + 32}" '
        f'width="{width + 16}" '
        'style="max-width:100%;height:auto;background:#fff" role="img" aria-label="a training run">',
        '<style>text{font:12px system-ui,sans-serif;fill:#333}</style><g transform="translate(8 22)">',
    ]
    if grid:
        lines += plane(grid, size, scores, points, labels)
    lines += curve(losses, SIDE + GAP if grid else 0)
    return "\n".join([*lines, "</g></svg>"])


def plane(
    grid: Grid, size: int, scores: Sequence[float], points: Sequence[Sequence[float]], labels: Sequence[float]
) -> list[str]:
    """Return the elements of the plane, in a square."""
    (left, right), (low, high) = grid
    rows = [scores[row * size : (row + 1) * size] for row in reversed(range(size))]
    image = base64.b64encode(
        png_of(size, size, bytes(part for row in rows for score in row for part in colour(score)))
    )
    lines = [
        f'<image width="{SIDE}" height="{SIDE}" preserveAspectRatio="none" '
        f'href="data:image/png;base64,{image.decode()}"/>'
    ]
    between = (min(labels) + max(labels)) / 2 if labels else 0.0
    for index, (x, y) in enumerate(points):
        red, green, blue = COLOURS[bool(labels) and labels[index] > between]
        place = f'cx="{SIDE * (x - left) / (right - left):.1f}" cy="{SIDE * (high - y) / (high - low):.1f}"'
        lines.append(f'<circle {place} r="4" fill="rgb({red},{green},{blue})" stroke="#222"/>')
    return lines


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
