"""Operands for measuring accuracy: every binade, the neighbours of special points, and what cancels."""

import math
import random
import struct

from fastgrad.operations import Operation, Reduction

SPECIAL = (
    *(0.0, 0.5, 0.625, 1.0, 2.0, 3.0, 10.0, 19.0625, 22.0, 36.75, 709.78, 710.0, 745.13, 746.0, 1e3),
    *(math.pi / 2, math.pi, 3 * math.pi / 2, 2 * math.pi, 1e5 * math.pi, 1e22, 5e-324, 2.0**-1022),
    *(1e-310, 1e-200, 1e200, 1e308, 1.7976931348623157e308),
)
NOT_FINITE = (math.inf, -math.inf, math.nan)


def any_double(draw: random.Random) -> float:
    """Any finite double, all binades alike."""
    while True:
        number = struct.unpack("<d", draw.randbytes(8))[0]
        if math.isfinite(number):
            return number


def ordinary(draw: random.Random) -> float:
    return draw.choice((-1, 1)) * math.ldexp(draw.uniform(1, 2), draw.randint(-20, 8))


def near(draw: random.Random, number: float) -> float:
    """A few units in the last place away, or a small fraction."""
    moved = number + draw.randint(-4, 4) * math.ulp(number)
    return draw.choice((moved, number * (1 + math.ldexp(draw.uniform(-1, 1), -draw.randint(1, 52)))))


def of_one(draw: random.Random, every: int) -> list[tuple[float]]:
    """Each `every`-th binade with both signs, and the neighbourhood of each special point."""
    chosen = []
    for exponent in range(-1074, 1024, every):
        size = math.ldexp(draw.uniform(1, 2), exponent)
        chosen += [size, -size]
    for number in SPECIAL:
        close = [number, math.nextafter(number, math.inf), near(draw, number), near(draw, number)]
        chosen += [sign * x for x in close for sign in (1, -1)]
    # What rounding to the range of exp, and reducing multiples of pi, are about.
    for _ in range(700 // every):
        chosen += [draw.uniform(-745, 709.7), draw.uniform(-1, 1), draw.uniform(-20, 20)]
        chosen += [near(draw, draw.randint(1, 2**20) * math.pi / 2), near(draw, 1.0)]
    return [(number,) for number in chosen if math.isfinite(number)]


def partner(draw: random.Random, a: float) -> float:
    """A second operand that cancels, or keeps a power in range, or is anything."""
    kind = draw.randrange(7)
    if kind == 0:
        return near(draw, a)
    if kind == 1 and a and abs(a) > 1e-300:
        return near(draw, 1 / a)
    if kind == 2 and abs(a) not in (0, 1):
        return draw.uniform(-1074, 1024) / math.log2(abs(a))
    if kind == 3:
        return float(draw.randint(-5, 5))
    if kind == 4:
        return draw.choice((-1, 1)) * draw.choice(SPECIAL)
    if kind == 5:
        return any_double(draw)
    return ordinary(draw)


def of_several(draw: random.Random, operands: int, count: int) -> list[tuple[float, ...]]:
    chosen = []
    while len(chosen) < count:
        first = draw.choice((any_double, ordinary, ordinary, lambda d: d.choice((-1, 1)) * d.choice(SPECIAL)))
        numbers = [first(draw)]
        while len(numbers) < operands:
            numbers.append(partner(draw, numbers[-1]))
        if all(map(math.isfinite, numbers)):
            chosen.append(tuple(numbers))
    return chosen


def of_order(draw: random.Random, count: int) -> list[tuple[float, float]]:
    """A small whole number, and any number."""
    chosen = []
    while len(chosen) < count:
        number = draw.choice((any_double, ordinary, lambda d: d.uniform(-20, 30)))(draw)
        chosen.append((float(draw.choice((0, 1, 1, 2, 3, 4, 7, 20))), number))
    return chosen


def points(row: Operation | Reduction, every: int) -> list[tuple[float, ...]]:
    """The same operands each time: all of them, or one of `every` so many."""
    draw = random.Random(row.name)
    if isinstance(row, Reduction):
        return [point for size in (1, 2, 3, 8) for point in of_several(draw, size, 1000 // every)]
    if row.name == "polygamma":
        return of_order(draw, 4000 // every)
    if row.operands == 1:
        return of_one(draw, every)
    return of_several(draw, row.operands, 4000 // every)
