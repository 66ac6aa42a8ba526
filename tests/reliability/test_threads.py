"""The promises of docs/threads.md, each tested with threads that start at the same moment.

On a free-threaded interpreter they run side by side; elsewhere they take turns, a few microseconds each.
Numbers are small integers: sums are then the same in every order.
"""

import copy
import gc
import itertools
import pickle
import subprocess
import sys
import sysconfig
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import fastgrad
from fastgrad import Value
from fastgrad import functional as F
from fastgrad.derivatives import grad
from fastgrad.engine import _make_unknown, _pool_statistics
from fastgrad.nn import MLP
from fastgrad.optim import SGD, Adam

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
THREADS = 4
ROUNDS = 30


@pytest.fixture(autouse=True)
def _quick_turns():
    """Have threads take turns often where there is a lock."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def at_once(work, rounds=ROUNDS, threads=THREADS):
    """Run work(number, round) in all threads; return for every round the list of the threads' results."""
    barrier = threading.Barrier(threads)

    def run(number):
        found = []
        for turn in range(rounds):
            barrier.wait(60)
            found.append(work(number, turn))
        return found

    def guarded(number):
        try:
            return run(number)
        except threading.BrokenBarrierError:
            return None
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(guarded, number) for number in range(threads)]
    # The first failure, of which those that waited for the others know nothing.
    results = [future.result() for future in futures]
    return [list(turn) for turn in zip(*results, strict=True)]


# Shared leaves.


def test_no_addition_to_the_gradient_of_a_shared_leaf_is_lost():
    leaf = Value(3.0)

    def work(number, turn):
        for _ in range(50):
            (leaf * (number + 1)).backward()

    at_once(work)
    assert leaf.grad == ROUNDS * 50 * sum(range(1, THREADS + 1))


def test_no_addition_is_lost_where_a_node_has_many_operands():
    weights = [Value(float(k)) for k in range(1, 9)]
    model = MLP(8, [8, 1], activation="linear")
    for parameter in model.parameters():
        parameter.data = 1.0

    def work(number, turn):
        model(weights).backward()
        model.layers[0].neurons[0](weights).backward()

    at_once(work)
    calls = ROUNDS * THREADS
    # Each weight reaches the output through eight neurons, and the first one's once more.
    assert [w.grad for w in weights] == [calls * 9.0] * 8
    assert [w.grad for w in model.layers[0].neurons[0].w] == [calls * 2.0 * k for k in range(1, 9)]
    assert [w.grad for w in model.layers[0].neurons[1].w] == [calls * 1.0 * k for k in range(1, 9)]


def test_no_addition_is_lost_between_graphs_and_programs():
    leaf = Value(2.0)
    function = fastgrad.compile(lambda x: leaf * x)

    def work(number, turn):
        if number % 2:
            function.backward([1.0, 3.0])
        else:
            (leaf * 2).backward()

    at_once(work)
    assert leaf.grad == ROUNDS * THREADS * 2.0


def test_no_addition_is_lost_to_a_leaf_of_a_subclass():
    class Weight(Value):
        pass

    leaf = Weight(3.0)
    at_once(lambda number, turn: [(leaf * 2).backward() for _ in range(50)])
    assert leaf.grad == ROUNDS * THREADS * 100.0


def test_the_data_of_a_shared_leaf_is_read_whole():
    leaf = Value(1.0)

    def work(number, turn):
        if number == 0:
            for _ in range(200):
                leaf.data = -1e300 if leaf.data == 1.0 else 1.0
        return all((leaf * 1).data in (1.0, -1e300) for _ in range(200))

    assert all(all(turn) for turn in at_once(work))


def test_separate_attributes_of_a_shared_leaf_are_all_kept():
    leaves = [Value(1.0) for _ in range(ROUNDS)]

    def work(number, turn):
        setattr(leaves[turn], f"name{number}", number)
        leaves[turn].label = f"label {number}"
        return leaves[turn].label.startswith("label")

    assert all(all(turn) for turn in at_once(work))
    assert all(leaf.__dict__ == {f"name{k}": k for k in range(THREADS)} for leaf in leaves)


# Graphs.


def test_a_thread_gets_the_bits_that_it_gets_alone():
    def gradients():
        xs = [Value(0.1 * k) for k in range(1, 20)]
        y = sum((a * b + (a - b).tanh() / 3 for a, b in itertools.pairwise(xs)), Value(0.0))
        for _ in range(3):
            y = y * 0.7 + xs[3].exp() * y
        y.backward()
        return [x.grad for x in xs]

    alone = gradients()
    assert all(found == alone for turn in at_once(lambda number, turn: gradients()) for found in turn)


def test_a_graph_goes_on_in_the_next_thread():
    made = [Value(1.0) for _ in range(THREADS)]
    leaves = list(made)

    def work(number, turn):
        # The graph that another thread has made in the last round.
        at = (number + turn) % THREADS
        made[at] = made[at] * 2 + made[at]

    at_once(work, rounds=8)
    for root in made:
        root.backward()
    assert [leaf.grad for leaf in leaves] == [3.0**8] * THREADS


def test_a_graph_of_the_nodes_of_several_threads_is_sorted():
    leaf = Value(1.0)

    def work(number, turn):
        out = leaf
        for _ in range(5):
            out = out * 2
        return out

    parts = [part for turn in at_once(work) for part in turn]
    # A thread's numbers say nothing of another's nodes: this one made its first before those threads began.
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    total.backward()
    assert leaf.grad == 32.0 * len(parts)
    assert all(part.grad == 1.0 for part in parts)


def test_neurons_of_several_threads_with_the_same_inputs_are_sorted():
    leaf = Value(1.0)
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:

        def neuron(inputs):
            return F.dot([Value(3.0), Value(4.0)], inputs)

        # The first thread draws numbers before the second one does: its neuron's is smaller than its inputs'.
        first.submit(lambda: Value(1.0) * 2).result()
        inputs = second.submit(lambda: (leaf * 5, leaf * 7)).result()
        older = first.submit(neuron, inputs).result()
        second.submit(lambda: (neuron(inputs) + older).backward()).result()
    assert [x.grad for x in inputs] == [6.0, 8.0]
    assert leaf.grad == 6.0 * 5 + 8.0 * 7


def test_graphs_that_other_threads_made_are_freed(live_nodes):
    before = live_nodes()
    made = [None] * THREADS

    def work(number, turn):
        out = Value(1.0)
        for _ in range(100):
            out = out * 1.5 + 0.25
        out.note = [out]
        made[(number + 1) % THREADS] = out
        made[number] = None

    at_once(work)
    made.clear()
    assert live_nodes() == before


def test_cycles_through_closures_are_collected(live_nodes):
    before = live_nodes()

    def work(number, turn):
        for _ in range(10):
            a = Value(2.0)
            out = Value(a.data * 3, (a,), "triple")

            def back(a=a, out=out):
                a.grad += 3 * out.grad

            out._backward = back
            y = out * 2
            y.backward()
            assert a.grad == 6.0
            a.uses = y
        if turn % 10 == 0:
            gc.collect()

    at_once(work)
    assert live_nodes() == before


def test_looks_at_one_expression_show_all_threads_the_same_nodes():
    expressions = []
    for _ in range(ROUNDS):
        a, b = Value(1.0), Value(2.0)
        expressions.append((a - b) / (b + 3) - MLP(2, [1])([a, b]))

    def work(number, turn):
        seen, left = {}, [expressions[turn]]
        while left:
            node = left.pop()
            if id(node) not in seen:
                seen[id(node)] = node._op, [id(child) for child in node._children]
                left += node._children
        return seen

    assert all(seen == turn[0] for turn in at_once(work) for seen in turn)


def test_a_shared_graph_is_copied_and_pickled():
    a = Value(2.0, label="a")
    y = (a * a + a).tanh() / 3

    def work(number, turn):
        copied = copy.deepcopy(y) if number % 2 else pickle.loads(pickle.dumps(y))
        copied.backward()
        return copied.data

    assert all(found == y.data for turn in at_once(work) for found in turn)
    assert a.grad == 0.0


def test_derivatives_that_are_values_of_shared_leaves():
    x = Value(3.0)

    def work(number, turn):
        y = x**3 * (number + 1)
        (first,) = grad(y, [x])
        (second,) = grad(first, [x])
        return first.data, second.data

    for turn in at_once(work):
        assert turn == [(27.0 * (k + 1), 18.0 * (k + 1)) for k in range(THREADS)]


# Models and optimizers.


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_each_thread_trains_a_model_as_it_would_alone(kind):
    rows = [([0.1 * k, -0.2 * k], float(k % 2)) for k in range(6)]

    def trained(seed):
        model = MLP(2, [4, 1], activation="tanh")
        for k, parameter in enumerate(model.parameters()):
            parameter.data = ((k * 7 + seed) % 11 - 5) / 10
        optimizer = kind(model.parameters(), lr=0.05)
        for _ in range(4):
            loss = sum(((model(x) - y) ** 2 for x, y in rows), Value(0.0))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return [parameter.data for parameter in model.parameters()]

    alone = [trained(number) for number in range(THREADS)]
    assert all(turn == alone for turn in at_once(lambda number, turn: trained(number), rounds=5))


def test_a_model_is_first_called_by_all_threads_at_once():
    models = [MLP(3, [4, 1]) for _ in range(ROUNDS)]
    expected = [copy.deepcopy(model)([1.0, -2.0, 0.5]).data for model in models]
    found = at_once(lambda number, turn: models[turn]([1.0, -2.0, 0.5]).data)
    assert found == [[number] * THREADS for number in expected]


# Compiled functions.


def test_a_function_is_first_called_by_all_threads_at_once():
    w = Value(2.0)
    functions = [fastgrad.compile(lambda x, k=float(turn): w * x + k) for turn in range(ROUNDS)]

    def work(number, turn):
        return list(functions[turn]([1.0, float(number)])), functions[turn].backward([1.0])

    for turn, results in enumerate(at_once(work)):
        assert results == [([2.0 + turn, 2.0 * k + turn], 2.0 + turn) for k in range(THREADS)]
    assert w.grad == ROUNDS * THREADS
    assert all(len(function.programs) == 1 for function in functions)


def test_calls_of_other_signatures_are_traced_side_by_side():
    function = fastgrad.compile(lambda *xs: sum(xs[1:], xs[0]))
    found = at_once(
        lambda number, turn: list(function(*[[1.0, 2.0]] * (1 + number * ROUNDS // 2 + turn % 3)))
    )
    for turn, results in enumerate(found):
        counts = [1 + number * ROUNDS // 2 + turn % 3 for number in range(THREADS)]
        assert results == [[1.0 * count, 2.0 * count] for count in counts]


def test_programs_are_printed_side_by_side():
    def text(number, turn):
        w = Value(2.0)

        def function(x):
            return (x * w).tanh()

        compiled = fastgrad.compile(function)
        compiled([0.5])
        return str(compiled)

    assert all("return (x * w).tanh()" in each for turn in at_once(text, rounds=5) for each in turn)


def test_a_trace_refuses_nothing_to_other_threads():
    leaf = Value(2.0)

    def work(number, turn):
        if number == 0:
            return list(fastgrad.compile(lambda x: (x * leaf).tanh() + turn)([0.0])) == [float(turn)]
        y = leaf * (number + 1)
        y.label = f"{y.data}"
        return y.data == 2.0 * (number + 1) and bool(y) and y == y and y.label == str(y.data)

    assert all(all(turn) for turn in at_once(work))


def test_a_program_runs_in_threads_of_its_own_while_others_call_it():
    function = fastgrad.compile(lambda x: (x * 2 + 1).relu())
    rows = [float(k) for k in range(3000)]
    expected = [2 * row + 1 for row in rows]
    found = at_once(lambda number, turn: list(function(rows, threads=1 + turn % 3)) == expected, rounds=10)
    assert all(all(turn) for turn in found)


# What is the user's race: a wrong number or an error, and no more.


def test_a_race_over_one_graph_ends():
    def work(number, turn):
        y = roots[turn]
        for _ in range(20):
            y.backward()
            y.grad = 0.0
            children = y._children
            assert len(children) == 2
            children[0].data += 1.0
            y.label = children[0]

    roots = []
    for _ in range(ROUNDS):
        a = Value(1.0)
        roots.append((a * 2 - a / 3) * (a - 4) - 1)
    at_once(work)
    gc.collect()
    fresh = Value(5.0)
    (fresh * 2).backward()
    assert fresh.grad == 2.0


def test_a_race_over_one_constructor_ends():
    fresh = [Value.__new__(Value) for _ in range(ROUNDS)]
    child = Value(2.0)

    def work(number, turn):
        try:
            fresh[turn].__init__(1.0, (child,), (float(number),))
        except TypeError:
            return False
        return True

    assert all(sum(turn) == 1 for turn in at_once(work))
    before = child.grad
    for node in fresh:
        node.backward()
    assert child.grad >= before


def test_a_race_over_the_parts_of_a_model_ends():
    model = MLP(2, [3, 1])

    def work(number, turn):
        for k in range(20):
            if number == 0:
                neuron = model.layers[0].neurons[k % 3]
                neuron.w = [Value(1.0), Value(float(k))]
                neuron.b = Value(0.0)
                neuron.nonlin = k % 2 == 0
            else:
                model([1.0, 2.0]).backward()

    at_once(work)
    assert model([1.0, 2.0]).data == model([1.0, 2.0]).data


def test_placeholders_that_outlive_a_trace_are_refused_in_every_thread():
    kept = Value(1.0)
    _make_unknown(kept, "an argument of f")

    def work(number, turn):
        with pytest.raises(RuntimeError, match="an argument of f"):
            kept * 2
        return True

    assert all(all(turn) for turn in at_once(work, rounds=5))


# The interpreter.


@pytest.mark.skipif(not FREE_THREADED, reason="this interpreter has the lock")
@pytest.mark.processes
def test_the_lock_stays_off():
    modules = "fastgrad, fastgrad.nn, fastgrad.optim, fastgrad.compiler, fastgrad.derivatives"
    code = f"import sys, {modules}; fastgrad.compile(lambda x: x * 2)([1.0]); print(sys._is_gil_enabled())"
    out = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (out.stdout, out.stderr) == ("False\n", "")


def test_what_a_thread_kept_for_its_next_nodes_goes_with_it(live_nodes):
    before, kept = live_nodes(), []

    def build():
        nodes = [Value(float(k)) for k in range(1000)]
        kept.append(nodes[::100])

    for _ in range(10):
        thread = threading.Thread(target=build)
        thread.start()
        thread.join()
    assert live_nodes() == before + 100
    kept.clear()
    assert _pool_statistics()["nodes"] == before
