"""Random graphs of polynomial and rational operations, whose gradients `fractions.Fraction` has exactly.

The same graph is built of Values and evaluated in fractions at the exact values of the leaves' doubles.
Each exact number has a bound of the rounding error (running error analysis, as in rounding_bounds.py): half a
unit for each operation, and sums in any order, because compiled programs add in an order of their own.
"""

import math
import random
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from fastgrad import Value
from fastgrad import functional as F

UNIT = 2.0**-53
# Longer fractions take long to compute, and doubles have far fewer digits.
MOST_BITS = 1500
RANGE = 2.0**100


class Step(NamedTuple):
    """An operation, the numbers of the nodes it takes, and a constant that some take."""

    kind: str
    operands: tuple[int, ...]
    constant: float = 0.0


class Graph(NamedTuple):
    """Leaves, and steps each making the next node; the last node is the root."""

    leaves: tuple[float, ...]
    steps: tuple[Step, ...]


class Number:
    """An exact value with a bound of its error; as a sum, its terms with their sizes and errors."""

    def __init__(self, value: Fraction, error: float = 0.0, terms: Sequence["Number"] = ()):
        self.value = value
        self.size = abs(float(value))
        self.error = error
        self.count, self.sizes, self.errors = 1, self.size + error, error
        if terms:
            self.count = sum(term.count for term in terms)
            self.sizes = sum(term.sizes for term in terms)
            self.errors = sum(term.errors for term in terms)
            self.error = self.errors + self.count * UNIT * self.sizes


class Refused(Exception):  # noqa: N818 - the generator draws another operation
    """The operation divides by (nearly) zero, leaves the range, or branches on a rounding error."""


class Local(NamedTuple):
    """A derivative by one operand, and a bound of its error."""

    value: Fraction
    error: float = 0.0


def product(a: Number, b: Number) -> Number:
    error = a.size * b.error + b.size * a.error + a.error * b.error
    return Number(a.value * b.value, error + UNIT * (a.size * b.size + error))


def relative(a: Number) -> float:
    """The relative error of a number that may be divided by."""
    if not a.size or a.error > a.size / 16:
        raise Refused
    return a.error / a.size


def power(a: Number, exponent: int) -> Number:
    value = a.value**exponent if exponent > 0 or a.value else None
    if value is None:
        raise Refused
    if exponent > 0:
        spread = (a.size + a.error) ** exponent - a.size**exponent
        return Number(value, spread * (1 + 1e-9) + 4 * UNIT * (float(abs(value)) + spread))
    return Number(value, float(abs(value)) * (1.5 * abs(exponent) * relative(a) + 4 * UNIT))


def scaled(a: Number, factor: Fraction, units: float) -> Number:
    size = float(abs(factor))
    return Number(a.value * factor, size * a.error + units * UNIT * size * (a.size + a.error))


def sign(a: Number) -> int:
    """The sign of a number, if rounding cannot change it."""
    if a.error >= a.size and a.error:
        raise Refused
    return (a.value > 0) - (a.value < 0)


ONE = Local(Fraction(1))
ZERO = Local(Fraction(0))


def reciprocal_square(a: Number, b: Number) -> Local:
    """-a / b**2."""
    square = b.size * b.size
    value = -a.value / b.value**2
    return Local(value, a.error / square * 1.5 + float(abs(value)) * (3 * relative(b) + 5 * UNIT))


def chosen(condition: int) -> tuple[Local, Local]:
    """Which of two operands a comparison selects; equal ones share."""
    half = Local(Fraction(1, 2))
    return (half, half) if condition == 0 else (ONE, ZERO) if condition > 0 else (ZERO, ONE)


def evaluate(step: Step, nodes: Sequence[Number]) -> tuple[Number, tuple[Local, ...]]:
    """The exact result of a step and its exact derivatives, with bounds."""
    operands = [nodes[at] for at in step.operands]
    constant = Number(Fraction(step.constant))
    kind, n = step.kind, len(operands)
    a = operands[0]
    b = operands[1] if n > 1 else constant
    if kind == "add":
        return Number(a.value + b.value, 0.0, (a, b)), (ONE, ONE)
    if kind == "sub":
        return Number(a.value - b.value, 0.0, (a, b)), (ONE, Local(Fraction(-1)))
    if kind == "reflected sub":
        return Number(constant.value - a.value, 0.0, (constant, a)), (Local(Fraction(-1)),)
    if kind == "neg":
        return Number(-a.value, 0.0, (a,)), (Local(Fraction(-1)),)
    if kind == "mul":
        return product(a, b), (Local(b.value, b.error), Local(a.value, a.error))
    if kind in ("div", "reflected div"):
        if kind == "reflected div":
            a, b = constant, a
        inverse = power(b, -1)
        derivatives = (Local(inverse.value, inverse.error), reciprocal_square(a, b))
        return product(a, inverse), derivatives if n > 1 or kind == "div" else derivatives[1:]
    if kind == "pow":
        exponent = int(step.constant)
        result, factor = power(a, exponent), abs(exponent)
        slope = power(a, exponent - 1) if exponent != 1 else Number(Fraction(1))
        return result, (
            Local(exponent * slope.value, factor * (slope.error + 2 * UNIT * (slope.size + slope.error))),
        )
    if kind == "abs":
        return Number(abs(a.value), a.error), (Local(Fraction(sign(a))),)
    if kind == "relu":
        positive = sign(a) > 0
        return Number(a.value if positive else Fraction(0), a.error), (ONE if positive else ZERO,)
    if kind in ("maximum", "minimum"):
        order = sign(Number(a.value - b.value, a.error + b.error))
        if kind == "minimum":
            order = -order
        return Number((a if order > 0 else b).value, max(a.error, b.error)), chosen(order)
    if kind == "where":
        b, c = operands[1:]
        positive = sign(a) > 0
        return Number((b if positive else c).value, max(b.error, c.error)), (
            ZERO,
            *chosen(1 if positive else -1),
        )
    if kind == "hinge":
        inside = Number(1 - a.value * b.value, 0.0, (Number(Fraction(1)), product(a, b)))
        if sign(inside) <= 0:
            return Number(Fraction(0)), (ZERO, ZERO)
        return inside, (Local(-b.value, b.error), Local(-a.value, a.error))
    if kind == "dot":
        half = n // 2
        pairs = list(zip(operands[:half], operands[half:], strict=True))
        terms = [product(w, x) for w, x in pairs]
        result = Number(sum((term.value for term in terms), Fraction(0)), 0.0, terms)
        factors = [x for _, x in pairs] + [w for w, _ in pairs]
        return result, tuple(Local(factor.value, factor.error) for factor in factors)
    terms = [product(x, x) for x in operands] if "square" in kind else operands
    total = Number(sum((term.value for term in terms), Fraction(0)), 0.0, terms)
    slopes = [Local(2 * x.value, 2 * x.error) for x in operands] if "square" in kind else [ONE] * n
    if "mean" in kind:
        share = Fraction(1, n)
        slopes = [
            Local(s.value * share, s.error / n + 3 * UNIT * (float(abs(s.value)) + s.error) / n)
            for s in slopes
        ]
        total = scaled(total, share, 3)
    return total, tuple(slopes)


ONE_OPERAND = ("neg", "abs", "relu")
WITH_CONSTANT = ("add", "sub", "mul", "div", "reflected sub", "reflected div", "maximum")
TWO_OPERANDS = ("add", "add", "sub", "mul", "mul", "mul", "div", "maximum", "minimum", "hinge")
MANY_OPERANDS = ("sum", "mean", "square_sum", "square_mean", "dot")


def draw_number(draw: random.Random) -> float:
    """A small integer, a short fraction, or a double with all its digits."""
    return draw.choice(
        (
            float(draw.randint(-4, 4)),
            draw.randint(-64, 64) / 8,
            draw.gauss(0, 1),
            draw.choice((-1, 1)) * math.ldexp(draw.uniform(1, 2), draw.randint(-12, 12)),
        )
    )


def draw_step(draw: random.Random, count: int) -> Step:
    """A step on nodes among the first `count`, the youngest more often."""

    def operand() -> int:
        return count - 1 - min(int(draw.expovariate(0.35)), count - 1)

    shape = draw.random()
    if shape < 0.12:
        return Step(draw.choice(ONE_OPERAND), (operand(),))
    if shape < 0.24:
        return Step("pow", (operand(),), draw.choice((2, 2, 3, -1, -2, 1)))
    if shape < 0.38:
        return Step(draw.choice(WITH_CONSTANT), (operand(),), draw_number(draw))
    if shape < 0.85:
        return Step(draw.choice(TWO_OPERANDS), (operand(), operand()))
    if shape < 0.88:
        return Step("where", (operand(), operand(), operand()))
    return Step(draw.choice(MANY_OPERANDS), tuple(operand() for _ in range(2 * draw.randint(1, 3))))


class Truth(NamedTuple):
    """A graph's exact value and gradients; bounds of their errors; the sums of absolute contributions."""

    value: Fraction
    value_bound: float
    gradients: tuple[Fraction, ...]
    bounds: tuple[float, ...]
    sizes: tuple[float, ...]


def in_range(number: Fraction, size: float) -> bool:
    bits = number.numerator.bit_length() + number.denominator.bit_length()
    return bits < MOST_BITS and (not number or 1 / RANGE < size < RANGE)


def draw_graph(draw: random.Random) -> tuple[Graph, Truth]:
    """A graph of which every number is in range and every comparison is certain, with its exact results."""
    leaves = tuple(draw_number(draw) for _ in range(draw.randint(2, 5)))
    nodes = [Number(Fraction(leaf)) for leaf in leaves]
    steps: list[Step] = []
    slopes: list[tuple[Local, ...]] = []
    wanted = draw.randint(2, 20)
    for _ in range(4 * wanted):
        step = draw_step(draw, len(nodes))
        try:
            node, derivatives = evaluate(step, nodes)
        except (Refused, OverflowError):
            continue
        if in_range(node.value, node.size) and node.error < RANGE:
            steps.append(step)
            nodes.append(node)
            slopes.append(derivatives)
        if len(steps) == wanted:
            break
    return Graph(leaves, tuple(steps)), backward(len(leaves), nodes, steps, slopes)


def backward(leaves: int, nodes: list[Number], steps: list[Step], slopes: list[tuple[Local, ...]]) -> Truth:
    """Reverse mode in fractions, from the last node."""
    gradients = [Fraction(0)] * len(nodes)
    errors = [0.0] * len(nodes)
    sizes = [0.0] * len(nodes)
    counts = [0] * len(nodes)
    gradients[-1], sizes[-1] = Fraction(1), 1.0
    for at in range(len(nodes) - 1, leaves - 1, -1):
        if not sizes[at] and not errors[at]:
            continue
        # Contributions are added in some order: a unit of their sum for each.
        g, error = gradients[at], errors[at] + counts[at] * UNIT * sizes[at]
        size = abs(float(g))
        for operand, slope in zip(steps[at - leaves].operands, slopes[at - leaves], strict=False):
            amount = g * slope.value
            gradients[operand] += amount
            steep = abs(float(slope.value))
            own = size * slope.error + (steep + slope.error) * error
            errors[operand] += own + UNIT * (size * steep + own)
            sizes[operand] += sizes[at] * (steep + slope.error)
            counts[operand] += 1
    bounds = tuple(errors[at] + counts[at] * UNIT * sizes[at] for at in range(leaves))
    return Truth(nodes[-1].value, nodes[-1].error, tuple(gradients[:leaves]), bounds, tuple(sizes[:leaves]))


def build(graph: Graph, leaves: Sequence[Value]) -> Value:
    """The graph in Values, as a user writes it."""
    nodes = list(leaves)
    for step in graph.steps:
        nodes.append(built(step, [nodes[at] for at in step.operands]))
    return nodes[-1]


def built(step: Step, operands: Sequence[Value]) -> Value:
    kind = step.kind
    a = operands[0]
    b = operands[1] if len(operands) > 1 else step.constant
    if kind in MANY_OPERANDS:
        half = len(operands) // 2
        return F.dot(operands[:half], operands[half:]) if kind == "dot" else F.reduce(kind, operands)
    return {
        "add": lambda: a + b,
        "sub": lambda: a - b,
        "reflected sub": lambda: step.constant - a,
        "neg": lambda: -a,
        "mul": lambda: a * b,
        "div": lambda: a / b,
        "reflected div": lambda: step.constant / a,
        "pow": lambda: a ** int(step.constant),
        "abs": lambda: abs(a),
        "relu": lambda: a.relu(),
        "maximum": lambda: F.maximum(a, b),
        "minimum": lambda: F.minimum(a, b),
        "where": lambda: F.where(*operands),
        "hinge": lambda: F.apply("hinge", a, b),
    }[kind]()
