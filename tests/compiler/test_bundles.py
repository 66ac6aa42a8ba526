"""Bundles: in a call of one row, steps of the same kind are computed as lanes, with the same results."""

import copy
import random
import re

import numpy as np
import pytest

import fastgrad.functional as F
from evidence.compiled import BINARY, UNARY, applied
from fastgrad import Value, compile, scan, take
from fastgrad.compiler import lowering
from fastgrad.nn import MLP

# Members of a bundle: the fewest; less than a whole vector, one vector, and more.
MEMBERS = (4, 5, 8, 14, 16, 23)
WEIGHTS = [Value(0.1 * k - 1.05) for k in range(23)]
BIASES = [Value(0.3 - 0.02 * k) for k in range(23)]


def row_of(count: int) -> np.ndarray:
    return np.random.default_rng(count).uniform(0.1, 0.9, count)


def results(function, row, rows: int) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """The outputs of a row, their derivatives by it, and those of their sum by the parameters."""
    compiled = compile(function)
    parameters = [*WEIGHTS, *BIASES]
    for p in parameters:
        p.grad = 0.0
    batch = np.tile(row, (rows, 1))
    compiled.backward(batch)
    gradients = np.atleast_2d(compiled.input_gradients(batch)[..., 0, :])
    return np.asarray(compiled(batch))[0], gradients, [p.grad for p in parameters]


def assert_as_over_rows(function, row) -> None:
    """One row and one of many have the same outputs, to the bit, and the same gradients."""
    one, many = results(function, row, 1), results(function, row, 3)
    np.testing.assert_array_equal(one[0], many[0])
    np.testing.assert_allclose(one[1], many[1], rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(one[2], many[2], rtol=1e-12, atol=1e-15)


def listed(function, row) -> str:
    compiled = compile(function)
    compiled.backward(row.reshape(1, -1))
    return str(compiled)


# Each takes a row of numbers.


def neurons_of_one_input(x):
    return sum((w * a + b).tanh() for w, a, b in zip(WEIGHTS, x, BIASES))


def chains_of_operations(x):
    return F.mean([((w * a).exp() - a).sigmoid() * a for w, a in zip(WEIGHTS, x)])


def products_of_two_bundles(x):
    hidden = [(w * a + b).relu() for w, a, b in zip(WEIGHTS, x, BIASES)]
    gates = [(b * a - 0.5).sigmoid() for a, b in zip(x, BIASES)]
    cells = [h * g + a * g for h, g, a in zip(hidden, gates, x)]
    return [sum(cells), sum(c * c for c in cells)]


def normalised(x):
    scale = (sum(a * a for a in x) / len(x) + 1e-5) ** -0.5
    return sum(w * (a * scale).exp() for w, a in zip(WEIGHTS, x))


def softmax_of_scores(x):
    return sum(w * s for w, s in zip(WEIGHTS, F.softmax([a * 3.0 for a in x])))


def one_member_used_before_all(x):
    members = [(w * a + b).tanh() for w, a, b in zip(WEIGHTS, x, BIASES)]
    first = members[1] * members[1] + members[0].exp()
    return sum((m * first).sin() for m in members) + members[-1]


def a_part_of_a_bundle(x):
    members = [(a * 2.0 + b).exp() for a, b in zip(x, BIASES)]
    part = [m.log() + w for m, w in zip(members[1:], WEIGHTS)]
    return sum(p * p for p in part) + sum(m.sqrt() for m in members[:-1])


def in_another_order(x):
    members = [(a * w).exp() for a, w in zip(x, WEIGHTS)]
    return sum((m * a).tanh() for m, a in zip(reversed(members), x))


def the_same_operand_twice(x):
    return sum((a * a).tanh() + (a + a).sin() * w for a, w in zip(x, WEIGHTS))


def shared_factors(x):
    return sum((a * WEIGHTS[0] + BIASES[0]).tanh() * WEIGHTS[1] for a in x)


def weights_of_which_some_are_constants(x):
    weights = [w if k % 2 else 0.5 for k, w in enumerate(WEIGHTS)]
    return sum((w * a + b).tanh() for w, a, b in zip(weights, x, BIASES))


def powers_and_quotients(x):
    return sum(w / (1.0 + a**3) + a**-2 + (2.0 / a) ** 0.5 + abs(a - 0.5) for w, a in zip(WEIGHTS, x))


def chosen_by_condition(x):
    return sum(F.where(F.sign(a - 0.5) + 1.0, a * w, a.exp()) for a, w in zip(x, WEIGHTS))


def each_from_the_one_before(x):
    total = x[0]
    for w, a in zip(WEIGHTS, x):
        total = (total * w + a).tanh()
    return total


def layers(x):
    weights = [WEIGHTS[k % 20 : k % 20 + 2] for k in range(len(x))]
    hidden = [F.linear(x[:2], [row], [b])[0].tanh() for row, b in zip(weights, BIASES)]
    return sum(h * h for h in [a.exp() * h for a, h in zip(x, hidden)])


def in_a_loop(x):
    def step(state, a):
        hidden, cells = state
        gates = [(w * h + a).sigmoid() for w, h in zip(WEIGHTS, hidden)]
        cells = [c * g + h.tanh() * a for c, g, h in zip(cells, gates, hidden)]
        return ([g * c.tanh() for g, c in zip(gates, cells)], cells), sum(cells)

    start = ([0.1 * b for b in BIASES[:6]], [x[0]] * 6)
    (hidden, cells), made = scan(step, start, x)
    return sum(hidden) + sum(cells) + sum(made)


def a_loop_over_lists(x):
    def step(state, xs):
        made = [(a * w).exp() for a, w in zip(xs * 3, WEIGHTS)]
        return [(s * 0.5).tanh() + m for s, m in zip(state, made)], state[0]

    state, made = scan(step, [Value(0.1)] * 6, (x[1:], x[:-1]))
    return sum(state) + sum(made)


FUNCTIONS_OF_A_ROW = [
    neurons_of_one_input,
    chains_of_operations,
    products_of_two_bundles,
    normalised,
    softmax_of_scores,
    one_member_used_before_all,
    a_part_of_a_bundle,
    in_another_order,
    the_same_operand_twice,
    shared_factors,
    weights_of_which_some_are_constants,
    powers_and_quotients,
    chosen_by_condition,
    each_from_the_one_before,
    layers,
    in_a_loop,
    a_loop_over_lists,
]


@pytest.mark.parametrize("count", MEMBERS)
@pytest.mark.parametrize("function", FUNCTIONS_OF_A_ROW)
def test_one_row_is_as_one_of_many(function, count):
    assert_as_over_rows(function, row_of(count))


@pytest.mark.parametrize("function", FUNCTIONS_OF_A_ROW)
def test_one_row_agrees_with_the_engine(function):
    row = row_of(14)
    x = [*map(Value, row.tolist())]
    outputs = function(x)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    for p in (*WEIGHTS, *BIASES):
        p.grad = 0.0
    sum(outputs).backward()
    found = results(function, row, 1)
    np.testing.assert_allclose(found[0], [y.data for y in outputs], rtol=1e-13)
    np.testing.assert_allclose(found[1].sum(axis=0), [a.grad for a in x], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("function", FUNCTIONS_OF_A_ROW)
def test_the_forward_program_of_one_row_is_as_one_of_many(function):
    row = row_of(14)
    compiled = compile(function)
    np.testing.assert_array_equal(compiled(row.reshape(1, -1))[0], compiled(np.tile(row, (3, 1)))[0])


@pytest.mark.parametrize("count", [4, 14])
@pytest.mark.parametrize("operation", UNARY, ids=lambda o: o.name)
def test_each_operation_of_one_operand_is_as_over_rows(operation, count):
    def function(x):
        results = [applied(operation, a * 0.5 + 0.3) for a in x]
        return sum(r * (k + 1.0) for k, r in enumerate(results))

    assert_as_over_rows(function, row_of(count))


@pytest.mark.parametrize("form", ["members", "number", "other numbers"])
@pytest.mark.parametrize("operation", BINARY, ids=lambda o: o.name)
def test_each_operation_of_two_operands_is_as_over_rows(operation, form):
    def function(x):
        left = [a + 0.25 for a in x]
        right = {"members": [a * 0.5 + 1.0 for a in x], "number": [WEIGHTS[-1]] * len(x)}.get(form, BIASES)
        return sum(applied(operation, a, b) * (k + 1.0) for k, (a, b) in enumerate(zip(left, right)))

    assert_as_over_rows(function, row_of(14))


def test_like_steps_of_one_row_are_one_instruction():
    text = listed(neurons_of_one_input, row_of(14))
    assert "14 x affine" in text
    assert "14 x tanh" in text
    assert text.count(" tanh ") == 2  # there and back


def test_of_many_rows_every_step_is_an_instruction():
    compiled = compile(neurons_of_one_input)
    compiled.backward(np.tile(row_of(14), (2, 1)))
    assert len(re.findall(r"= tanh ", str(compiled))) == 14


def test_numbers_that_lie_side_by_side_are_moved_as_one():
    def step(state, a):
        return [(s * w).tanh() for s, w in zip(state, WEIGHTS)], a

    def function(x):
        state, made = scan(step, [*x], x)
        return sum(state) + sum(made)

    text = listed(function, row_of(6))
    assert "load state[0] and 5 beside it" in text
    assert "next state[0] = " in text


def test_a_chain_is_no_bundle():
    assert not re.search(r"= \d+ x ", listed(each_from_the_one_before, row_of(14)))


def test_a_parameter_in_two_bundles_has_the_sum_of_both_gradients():
    def function(x):
        return sum((w * a).exp() for w, a in zip(WEIGHTS, x)) + sum((w * a).sin() for w, a in zip(WEIGHTS, x))

    assert_as_over_rows(function, row_of(9))


def test_choices_by_an_index_are_members():
    table = [[Value(0.1 * k * (i + 1)) for i in range(8)] for k in range(5)]

    def function(index):
        return sum((t + w).tanh() for t, w in zip(take(table, index), WEIGHTS))

    compiled = compile(function)
    found = []
    for rows in (1, 3):
        for value in (v for row in table for v in row):
            value.grad = 0.0
        compiled.backward([2] * rows)
        found.append([v.grad for row in table for v in row])
    np.testing.assert_allclose(*found, rtol=1e-13)


def test_shared_numbers_have_gradients():
    compiled = compile(lambda x, w: sum((a * b).tanh() for a, b in zip(x, w)), shared=("w",))
    row, weights = row_of(9), np.linspace(-1.0, 1.0, 9)
    batches = row.reshape(1, -1), np.tile(row, (2, 1))
    one, many = (compiled.value_and_grad(batch, weights, argnums=1)[1] for batch in batches)
    np.testing.assert_allclose(one[0], many[0], rtol=1e-12)


@pytest.mark.parametrize("kind", [int, float])
def test_whole_numbers_and_reals_are_loaded_alike(kind):
    numbers = np.arange(1, 13, dtype=kind).reshape(1, -1)
    compiled = compile(lambda x: sum((a / 20.0).exp() for a in x))
    assert compiled(numbers)[0] == pytest.approx(np.exp(numbers / 20.0).sum(), rel=1e-14)


def test_columns_may_lie_apart():
    row = np.linspace(0.1, 0.9, 28)[None, ::2]
    assert results(neurons_of_one_input, row[0], 1)[0] == compile(neurons_of_one_input)(row)[0]


def test_models_of_one_row_train_as_before():
    model = MLP(3, [12, 12, 1])
    other = copy.deepcopy(model)
    x = np.array([[0.3, -0.2, 0.9]])
    compile(lambda a: model(a)).backward(x)
    compile(lambda a: other(a)).backward(np.tile(x, (2, 1)))
    np.testing.assert_allclose(
        [p.grad for p in model.parameters()], [p.grad for p in other.parameters()], rtol=1e-12
    )


def test_fewer_repetitions_make_no_bundle():
    before = lowering._bundle_from(100)
    try:
        assert "14 x" not in listed(neurons_of_one_input, row_of(14))
    finally:
        lowering._bundle_from(before)


UNARIES = (Value.tanh, Value.sigmoid, Value.relu, abs, lambda a: a * a, lambda a: 1.5 - a, lambda a: a**3)
BINARIES = (
    lambda a, b: a * b,
    lambda a, b: a - b,
    lambda a, b: a / (b * b + 1.0),
    lambda a, b: a * b + a,
    F.maximum,
)


def of_a_random_program(draw: random.Random, members: int):
    """A function of a row that makes lists out of lists, or the steps of a loop that do."""
    made = [
        (draw.choice("uubbwsrmco"), *(draw.random() for _ in range(3)), draw.randrange(1000))
        for _ in range(draw.randint(2, 9))
    ]
    weights, biases = WEIGHTS[:members], BIASES[:members]

    def lists_of(lists):
        for kind, p, q, which, k in made:
            a, b = lists[int(p * len(lists))], lists[int(q * len(lists))]
            unary, binary = UNARIES[int(which * len(UNARIES))], BINARIES[int(which * len(BINARIES))]
            shift = 1 + k % members
            each = {
                "u": lambda: [unary(v) for v in a],
                "b": lambda: [binary(v, w) for v, w in zip(a, b)],
                "w": lambda: [w * v + c for w, v, c in zip(weights, a, biases)],
                "s": lambda: [v * (sum(a) * 0.1) for v in b],
                "r": lambda: a[::-1],
                "m": lambda: [
                    sum(w * v for w, v in zip(weights[i:] + biases[:i], a)) * 0.1 for i in range(members)
                ],
                "c": lambda: [binary(v, w) for v, w in zip(a[shift:] + a[:shift], b)],
                "o": lambda: [v * a[k % members] for v in b],
            }[kind]()
            lists.append([v.tanh() if k % 7 == 0 and not i else v for i, v in enumerate(each)])
        return lists

    def function(x):
        lists = lists_of([x[:], weights])
        return [sum(lists[-1]) + sum(lists[len(lists) // 2]), lists[-1][0] * lists[-1][-1]]

    def loop(x):
        def step(state, a):
            lists = lists_of([state, [w * a for w in weights]])
            return [(v * 0.3).tanh() for v in lists[-1]], sum(lists[-2])

        state, sums = scan(step, [*x], x)
        return [sum(state) + sum(sums), sums[0] * state[0]]

    return draw.choice([function, loop])


@pytest.mark.parametrize("seed", range(100))
def test_random_programs_of_one_row_are_as_of_many(seed):
    draw = random.Random(seed)
    members = draw.choice((2, 3, 4, 5, 8, 14, 16, 17))
    function = of_a_random_program(draw, members)
    before = lowering._bundle_from(2)
    try:
        one, many = (results(function, row_of(members) - 0.5, rows) for rows in (1, 3))
    finally:
        lowering._bundle_from(before)
    for found, expected in zip(one, many):
        scale = max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11 * scale)


def test_whole_numbers_beside_reals_are_loaded_as_they_are():
    compiled = compile(lambda a, b, c, d, e: sum(v.exp() for v in (a, b, c, d, e)))
    one, many = ([np.full(rows, v) for v in (0.5, 2, 0.25, 1, 3)] for rows in (1, 3))
    assert compiled(*one)[0] == compiled(*many)[0]
    np.testing.assert_array_equal(
        [g[0] for g in compiled.input_gradients(*one) if g is not None],
        [g[0] for g in compiled.input_gradients(*many) if g is not None],
    )
