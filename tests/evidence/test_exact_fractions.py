"""Values and gradients of random rational graphs against exact fractions.

`tests/reliability/exact_gradients.py` runs 100,000 of them; rational_graphs.py has the exact ones.
"""

import random
from fractions import Fraction

import pytest

from evidence.exact_fractions import ENGINES, Tally, check, eager
from evidence.rational_graphs import (
    MANY_OPERANDS,
    ONE_OPERAND,
    TWO_OPERANDS,
    WITH_CONSTANT,
    Graph,
    Number,
    Step,
    backward,
    draw_graph,
    evaluate,
)

GRAPHS = 400


@pytest.mark.parametrize("engine", ENGINES)
def test_gradients_are_exact_but_for_rounding(engine):
    tallies, wrong = check(0, GRAPHS, {engine: ENGINES[engine]})
    assert not wrong, wrong[:5]
    assert tallies[engine, "value"].count == GRAPHS
    # Most numbers are pinned down to a few units in the last place, not by a wide bound.
    gradients = tallies[engine, "gradient"]
    assert gradients.conditioned > 0.6 * gradients.count
    assert gradients.most_ulps < 8


def test_the_same_number_draws_the_same_graph():
    assert draw_graph(random.Random(5)) == draw_graph(random.Random(5))


def test_the_graphs_have_every_kind_of_step():
    kinds = {step.kind for number in range(200) for step in draw_graph(random.Random(number))[0].steps}
    assert kinds == {*ONE_OPERAND, *WITH_CONSTANT, *TWO_OPERANDS, *MANY_OPERANDS, "pow", "where"}


def test_the_reference_by_hand():
    """f = (x * y + 1/3 as a double) / x at (3, 5)."""
    third = 1 / 3
    graph = Graph((3.0, 5.0), (Step("mul", (0, 1)), Step("add", (2,), third), Step("div", (3, 0))))
    nodes, slopes = [Number(Fraction(3)), Number(Fraction(5))], []
    for step in graph.steps:
        node, derivatives = evaluate(step, nodes)
        nodes.append(node)
        slopes.append(derivatives)
    truth = backward(2, nodes, list(graph.steps), slopes)
    assert truth.value == (15 + Fraction(third)) / 3
    assert truth.gradients == (-Fraction(third) / 9, 1)
    assert eager(graph)[1] == pytest.approx([-1 / 27, 1.0], rel=1e-13)


def test_an_error_beyond_the_bound_is_noticed():
    tally = Tally()
    assert tally.add(1.0 + 2**-52, Fraction(1), 2.5e-16)
    assert not tally.add(1.0 + 2**-51, Fraction(1), 2.5e-16)
    assert not tally.add(float("nan"), Fraction(1), 2.5e-16)
