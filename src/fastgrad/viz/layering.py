"""The layout of a graph's boxes in a picture: in layers, each operand left of its results."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

__all__ = ["Layout", "Place", "place_boxes"]

SWEEPS = 12
ACROSS = 30.0
DOWN = 12.0


class Place(NamedTuple):
    """The left upper corner and the size of a box."""

    x: float
    y: float
    width: float
    height: float


class Layout(NamedTuple):
    """The places of the boxes, the points that each edge runs through, and the size of the picture."""

    places: list[Place]
    edges: list[list[tuple[float, float]]]
    width: float
    height: float


def place_boxes(
    sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]], direction: str = "LR"
) -> Layout:
    """Return the layout of boxes of these sizes, operands before results, and edges (operand, result).

    The direction is 'LR', from left to right, 'TB', 'RL' or 'BT'.
    """
    upright = direction in ("TB", "BT")
    layout = left_to_right([(height, width) for width, height in sizes] if upright else sizes, edges)
    places, lines = layout.places, layout.edges
    width, height = layout.width, layout.height
    if direction in ("RL", "BT"):
        places = [Place(width - place.x - place.width, *place[1:]) for place in places]
        lines = [[(width - x, y) for x, y in line] for line in lines]
    if upright:
        places = [Place(y, x, box_height, box_width) for x, y, box_width, box_height in places]
        lines = [[(y, x) for x, y in line] for line in lines]
        width, height = height, width
    return Layout(places, lines, width, height)


def left_to_right(sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]]) -> Layout:
    """Return the layout with operands left of their results.

    After Sugiyama, Tagawa and Toda (1981): layers by the longest path, points of an edge on each layer that
    it crosses, and an order within the layers by the mean place of the neighbours.
    """
    layer = layers_of(len(sizes), edges)
    # Items are the boxes, then the points of long edges, which have the size 0.
    heights = [height for _, height in sizes]
    paths = []
    links: list[tuple[int, int]] = []
    for operand, result in edges:
        path = [operand]
        for between in range(layer[operand] + 1, layer[result]):
            layer.append(between)
            heights.append(0.0)
            path.append(len(layer) - 1)
        path.append(result)
        links += pairwise(path)
        paths.append(path)
    columns: dict[int, list[int]] = defaultdict(list)
    for item, at in enumerate(layer):
        columns[at].append(item)
    before, after = neighbours_of(len(layer), links)
    order(columns, before, after)
    middle = middles(columns, heights, before, after)
    lefts, x = {}, 0.0
    width_of = {
        at: max((sizes[item][0] for item in items if item < len(sizes)), default=0.0)
        for at, items in columns.items()
    }
    for at in sorted(columns):
        lefts[at] = x
        x += width_of[at] + ACROSS
    top = min(middle[item] - heights[item] / 2 for item in range(len(layer))) if layer else 0.0
    places = [
        Place(
            lefts[layer[item]] + (width_of[layer[item]] - width) / 2,
            middle[item] - height / 2 - top,
            width,
            height,
        )
        for item, (width, height) in enumerate(sizes)
    ]
    lines = []
    for path in paths:
        start, end = places[path[0]], places[path[-1]]
        line = [(start.x + start.width, start.y + start.height / 2)]
        for item in path[1:-1]:
            left = lefts[layer[item]]
            line += [(left, middle[item] - top), (left + width_of[layer[item]], middle[item] - top)]
        lines.append([*line, (end.x, end.y + end.height / 2)])
    bottom = max((place.y + place.height for place in places), default=0.0)
    return Layout(places, lines, max(0.0, x - ACROSS), bottom)


def layers_of(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Return each box's layer: the longest path from a leaf; a leaf is one layer before its first result."""
    layer = [0] * count
    users = defaultdict(list)
    computed = set()
    # The operands of a box come before it, so that theirs are known.
    for operand, result in sorted(edges, key=lambda edge: edge[1]):
        layer[result] = max(layer[result], layer[operand] + 1)
        users[operand].append(result)
        computed.add(result)
    for box in range(count):
        if box not in computed and users[box]:
            layer[box] = min(layer[user] for user in users[box]) - 1
    return layer


def neighbours_of(count: int, links: Sequence[tuple[int, int]]) -> tuple[list[list[int]], list[list[int]]]:
    """Return the neighbours of each item in the layer before, and in that after."""
    before: list[list[int]] = [[] for _ in range(count)]
    after: list[list[int]] = [[] for _ in range(count)]
    for left, right in links:
        before[right].append(left)
        after[left].append(right)
    return before, after


def order(columns: dict[int, list[int]], before: list[list[int]], after: list[list[int]]) -> None:
    """Sort each layer by the mean place of the neighbours, from left to right and back."""
    place = {item: float(at) for items in columns.values() for at, item in enumerate(items)}
    for sweep in range(SWEEPS):
        beside = before if sweep % 2 == 0 else after
        for at in sorted(columns, reverse=sweep % 2 == 1):
            items = columns[at]
            means = {
                item: sum(place[other] for other in beside[item]) / len(beside[item])
                if beside[item]
                else place[item]
                for item in items
            }
            items.sort(key=means.__getitem__)
            for index, item in enumerate(items):
                place[item] = float(index)


def middles(
    columns: dict[int, list[int]], heights: list[float], before: list[list[int]], after: list[list[int]]
) -> list[float]:
    """Return the height of each item's middle: near the mean of its neighbours', and none over another."""
    middle = [0.0] * len(heights)
    for items in columns.values():
        y = 0.0
        for item in items:
            middle[item] = y + heights[item] / 2
            y += heights[item] + DOWN
        for item in items:
            middle[item] -= y / 2
    for sweep in range(SWEEPS):
        for at in sorted(columns, reverse=sweep % 2 == 1):
            items = columns[at]
            wanted = []
            for item in items:
                beside = [middle[other] for other in before[item] + after[item]]
                wanted.append(sum(beside) / len(beside) if beside else middle[item])
            for item, y in zip(items, spread(items, wanted, heights), strict=True):
                middle[item] = y
    return middle


def spread(items: list[int], wanted: list[float], heights: list[float]) -> list[float]:
    """Return places as near to the wanted ones as their order and their distances permit.

    Where items would overlap they form a block, whose place is the mean of what its members want.
    """
    offsets = [0.0]
    for left, right in pairwise(items):
        offsets.append(offsets[-1] + (heights[left] + heights[right]) / 2 + DOWN)
    # (sum, count) of what the members want, without their offsets: places of blocks never fall.
    blocks: list[tuple[float, int]] = []
    for place, offset in zip(wanted, offsets, strict=True):
        total, count = place - offset, 1
        while blocks and blocks[-1][0] / blocks[-1][1] > total / count:
            last, members = blocks.pop()
            total, count = total + last, count + members
        blocks.append((total, count))
    bases = [total / count for total, count in blocks for _ in range(count)]
    return [base + offset for base, offset in zip(bases, offsets, strict=True)]
