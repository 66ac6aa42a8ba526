"""Tables are parameters that only `take` reads: a call of few rows reads and changes few of them."""

import numpy as np
import pytest

from fastgrad import Value, compile, take

# All functions have the same parameters.
pytestmark = pytest.mark.thread_unsafe

ENTRIES, COLUMNS = 400, 3
FEW, MANY = 5, 4 * ENTRIES


@pytest.fixture
def table():
    draw = np.random.default_rng(1)
    return [[Value(a) for a in row] for row in draw.normal(size=(ENTRIES, COLUMNS)).tolist()]


def near(table):
    """The mean square of the distance from a row of the table, times a parameter that every row uses."""
    scale = Value(1.5)

    @compile
    def loss(index, target):
        return scale * sum((a - b) ** 2 for a, b in zip(take(table, index), target))

    return loss, scale


def batch(rows, seed=2):
    draw = np.random.default_rng(seed)
    return draw.integers(0, ENTRIES, size=rows), draw.normal(size=(rows, COLUMNS))


def data_of(table):
    return np.array([[a.data for a in row] for row in table])


def gradients_of(table):
    return np.array([[a.grad for a in row] for row in table])


def clear(table):
    for row in table:
        for a in row:
            a.grad = 0.0


def by_hand(table, scale, index, target):
    """The loss, the gradient by the table and that by the scale."""
    error = data_of(table)[index] - target
    gradient = np.zeros((ENTRIES, COLUMNS))
    np.add.at(gradient, index, 2 * scale * error / len(index))
    return scale * (error**2).sum(1).mean(), gradient, (error**2).sum(1).mean()


def test_calls_of_few_and_of_many_rows_take_turns(table):
    loss, scale = near(table)
    for number, rows in enumerate((FEW, MANY, FEW, 1, 2 * FEW, MANY, FEW)):
        index, target = batch(rows, number)
        clear(table)
        scale.grad = 0.0
        mean, gradient, by_scale = by_hand(table, scale.data, index, target)
        assert loss.backward(index, target) == pytest.approx(mean, rel=1e-12)
        np.testing.assert_allclose(gradients_of(table), gradient, rtol=1e-12, atol=1e-15)
        assert scale.grad == pytest.approx(by_scale, rel=1e-12)
        for row in table[:: number + 1]:
            row[0].data += 0.25


def test_what_two_rows_take_has_both_gradients(table):
    loss, _ = near(table)
    target = np.arange(3.0 * COLUMNS).reshape(3, COLUMNS)
    loss.backward(np.array([7, 7, 9]), target)
    gradient = by_hand(table, 1.5, np.array([7, 7, 9]), target)[1]
    np.testing.assert_allclose(gradients_of(table), gradient, rtol=1e-12, atol=1e-15)


def test_gradients_add_up_over_calls(table):
    loss, _ = near(table)
    index, target = batch(FEW)
    loss.backward(index, target)
    once = gradients_of(table)
    loss.backward(index, target)
    assert (gradients_of(table) == 2 * once).all()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_parts_of_the_rows_add_up_as_in_one_thread(threads):
    entries, rows = 20_000, 6_000
    table = [Value(a) for a in np.random.default_rng(0).normal(size=entries).tolist()]
    index = np.random.default_rng(1).integers(0, entries // 4, size=rows)

    @compile
    def loss(i):
        a = take(table, i)
        for _ in range(20):
            a = (a * 1.01).tanh() + 0.1
        return a

    gradients = []
    for _ in range(2):
        for a in table:
            a.grad = 0.0
        loss.backward(index, threads=threads)
        gradients.append([a.grad for a in table])
    assert gradients[0] == gradients[1]
    for a in table:
        a.grad = 0.0
    loss.backward(index, threads=1)
    assert gradients[0] == [a.grad for a in table]
    assert all(g == 0.0 for g in gradients[0][entries // 4 :])
    assert np.count_nonzero(gradients[0]) == len(set(index.tolist()))


def test_a_parameter_that_is_read_elsewhere_too_has_its_whole_gradient(table):
    column = [row[0] for row in table]

    @compile
    def loss(i):
        return take(column, i) * column[3]

    index = np.array([1, 3, 1])
    loss.backward(index)
    data = data_of(table)[:, 0]
    assert column[3].grad == pytest.approx((2 * data[1] + 2 * data[3]) / 3)
    assert column[1].grad == pytest.approx(2 * data[3] / 3)


def test_a_list_of_parameters_and_numbers_that_vary(table):
    column = [row[0] for row in table]

    @compile
    def loss(i, x):
        return take([x * x, *column, 2.0], i)

    index, x = np.array([0, 1, ENTRIES + 1, 5]), np.array([3.0, 4.0, 5.0, 6.0])
    assert loss(index, x).tolist() == [9.0, column[0].data, 2.0, column[4].data]
    loss.backward(index, x)
    assert [k for k, a in enumerate(column) if a.grad] == [0, 4]
    assert loss.input_gradients(index, x)[1].tolist() == [6.0, 0.0, 0.0, 0.0]


def test_indices_of_several_columns_and_numbers(table):
    column = [row[0] for row in table]

    @compile
    def loss(pair, one):
        return take(column, pair[0]) * take(column, pair[1]) + take(column, one)

    pairs = np.array([[9, 0], [0, 9], [4, 5]])[:, ::-1]
    data = data_of(table)[:, 0]
    assert loss(pairs, 2).tolist() == (data[pairs[:, 0]] * data[pairs[:, 1]] + data[2]).tolist()
    loss.backward(pairs, 2)
    assert [k for k, a in enumerate(column) if a.grad] == [0, 2, 4, 5, 9]
    assert column[2].grad == 1.0


def test_the_gradient_by_parameters_has_a_number_for_each(table):
    loss, _ = near(table)
    index, target = batch(FEW)
    loss.backward(index, target)
    expected = [a.grad for a in loss.parameters]
    clear(table)
    _, gradient = loss.value_and_grad(index, target, argnums="parameters", reduction="mean")
    np.testing.assert_allclose(gradient, expected, rtol=1e-12)
    assert not gradients_of(table).any()


def test_weights_of_rows(table):
    loss, _ = near(table)
    index, target = batch(FEW)
    loss.backward(index, target, row_weights=np.array([0.0, 1.0, 0.0, 0.0, 0.0]))
    gradient = by_hand(table, 1.5, index[1:2], target[1:2])[1]
    np.testing.assert_allclose(gradients_of(table), gradient, rtol=1e-12, atol=1e-15)


def test_an_index_out_of_range_is_refused(table):
    loss, _ = near(table)
    with pytest.raises(IndexError, match=f"is {ENTRIES}"):
        loss.backward(np.array([ENTRIES]), np.zeros((1, COLUMNS)))
    assert not gradients_of(table).any()


def test_a_leaf_that_is_none_any_more_is_refused_where_it_is_taken(table):
    class Parameter(Value):
        pass

    table[7][0] = Parameter(1.0)
    loss, _ = near(table)
    target = np.zeros((1, COLUMNS))
    loss.backward(np.array([8]), target)
    table[7][0].__init__(1.0, (Value(2.0),))
    with pytest.raises(ValueError, match="is a leaf no more"):
        loss.backward(np.array([7]), target)
    assert np.flatnonzero(gradients_of(table).any(1)).tolist() == [8]


def test_indices_are_read_once(table):
    """Writing into the array after the call changes no gradient."""
    loss, _ = near(table)
    index, target = batch(FEW)
    loss.backward(index, target)
    clear(table)
    index[:] = 0
    loss.backward(index, target)
    gradient = by_hand(table, 1.5, index, target)[1]
    np.testing.assert_allclose(gradients_of(table), gradient, rtol=1e-12, atol=1e-15)
