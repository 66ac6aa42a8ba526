"""A graph as an SVG picture, without a program that draws and without scripts."""

from __future__ import annotations

import html
import math
from itertools import pairwise

from fastgrad.viz.description import Box, Description
from fastgrad.viz.layering import Layout, place_boxes

__all__ = ["draw_svg"]

LETTER = 6.7
ROW = 15
MARGIN = 8
LEAST = 15

STYLE = """
svg{--ink:#1b2430;--soft:#5b6675;--line:#9aa5b3;--box:#fff;--leaf:#e8f1fd;--parameter:#efe7fb;--constant:#f0f1f3;\
--own:#fdf3dc;--positive:20,130,90;--negative:205,60,50}
@media(prefers-color-scheme:dark){svg{--ink:#e6eaef;--soft:#9aa5b3;--line:#5b6675;--box:#1d232a;--leaf:#1b2c42;\
--parameter:#2d2340;--constant:#262a30;--own:#3a2f16;--positive:70,200,140;--negative:245,110,95}}
text{font:11px ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;fill:var(--ink)}
.title{font-weight:600}.soft{fill:var(--soft)}.end{text-anchor:end}
.edge{fill:none;stroke:var(--line);stroke-width:1.3}.head{fill:var(--line)}
.body{fill:var(--box);stroke:var(--line)}.leaf{fill:var(--leaf)}.parameter{fill:var(--parameter);stroke-width:2}
.constant{fill:var(--constant);stroke-dasharray:2 2}.own{fill:var(--own);stroke-dasharray:5 3}"""


def draw_svg(description: Description, direction: str = "LR") -> str:
    """Return the picture of a graph: a box for each node, coloured by the sign and size of its gradient.

    The direction is 'LR', from left to right, 'TB', 'RL' or 'BT'.
    """
    boxes = description.boxes
    arrows = [
        (operand, index)
        for index, box in enumerate(boxes)
        for operand in box.operands
        if isinstance(operand, int)
    ]
    layout = place_boxes([size_of(box) for box in boxes], arrows, direction)
    largest = max((abs(box.grad) for box in boxes if math.isfinite(box.grad)), default=0.0)
    width, height = round(layout.width + 2 * MARGIN), round(layout.height + 2 * MARGIN)
    name = html.escape(boxes[-1].name)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{-MARGIN} {-MARGIN} {width} {height}" '
            f'width="{width}" style="max-width:100%;height:auto" role="img" '
            f'aria-label="the graph of {name}">',
            f"<style>{STYLE}</style>",
            '<defs><marker id="h" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto"><path class="head" d="M0 0.5 8 4 0 7.5z"/></marker></defs>',
            *lines_of(layout, arrows, direction in ("TB", "BT")),
            *(text for index, box in enumerate(boxes) for text in box_lines(box, layout, index, largest)),
            "</svg>",
        ]
    )


def size_of(box: Box) -> tuple[float, float]:
    """Return the width and height that a box's texts need."""
    letters = max(LEAST, len(box.title) + (len(box.symbol) + 2 if box.symbol else 0))
    return letters * LETTER + 14, 3 * ROW + 9


def lines_of(layout: Layout, arrows: list[tuple[int, int]], upright: bool) -> list[str]:
    """Return the arrows; those of an operand that occurs twice run beside one another."""
    lines = []
    seen: dict[tuple[int, int], int] = {}
    for arrow, points in zip(arrows, layout.edges, strict=True):
        again = seen[arrow] = seen.get(arrow, -1) + 1
        shifted = [(x + 9 * again, y) if upright else (x, y + 9 * again) for x, y in points]
        path = f"M{shifted[0][0]:.1f} {shifted[0][1]:.1f}"
        for (x, y), (to_x, to_y) in pairwise(shifted):
            # It leaves and arrives in the direction of the layers.
            if upright:
                turn, to_turn = (x, (y + to_y) / 2), (to_x, (y + to_y) / 2)
            else:
                turn, to_turn = ((x + to_x) / 2, y), ((x + to_x) / 2, to_y)
            path += "C{:.1f} {:.1f} {:.1f} {:.1f} {:.1f} {:.1f}".format(*turn, *to_turn, to_x, to_y)
        lines.append(f'<path class="edge" marker-end="url(#h)" d="{path}"/>')
    return lines


def box_lines(box: Box, layout: Layout, index: int, largest: float) -> list[str]:
    """Return the elements of one box."""
    x, y, width, height = layout.places[index]
    radius = 3 if box.operands else 11
    symbol = (
        f'<text class="soft end" x="{x + width - 6:.1f}" y="{y + 13:.1f}">{html.escape(box.symbol)}</text>'
    )
    lines = [
        f"<g><title>{html.escape(f'{box.name}: data {box.data!r}, grad {box.grad!r}')}</title>",
        f'<rect class="body {box.kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}" '
        f'rx="{radius}"/>',
    ]
    if box.grad and largest and box.grad == box.grad:
        strength = 0.12 + 0.45 * min(1.0, abs(box.grad) / largest)
        sign = "negative" if box.grad < 0 else "positive"
        lines.append(
            f'<rect style="fill:rgba(var(--{sign}),{strength:.2f})" x="{x + 3:.1f}" '
            f'y="{y + 13 + ROW + 4:.1f}" '
            f'width="{width - 6:.1f}" height="{ROW - 1}" rx="2"/>'
        )
    lines.append(f'<text class="title" x="{x + 7:.1f}" y="{y + 13:.1f}">{html.escape(box.title)}</text>')
    lines += [symbol] if box.symbol else []
    for row, (name, number) in enumerate((("data", box.data), ("grad", box.grad)), 1):
        base = y + 13 + row * ROW
        lines.append(f'<text class="soft" x="{x + 7:.1f}" y="{base:.1f}">{name}</text>')
        lines.append(f'<text class="end" x="{x + width - 7:.1f}" y="{base:.1f}">{number:.4g}</text>')
    return [*lines, "</g>"]
