"""What a compiled function may do with its arguments, and what it is told when it may not."""

import functools
import pickle
import random
import sys
import threading
import types

import numpy as np
import pytest

import fastgrad
import fastgrad.functional as F
from fastgrad import TracingError, Value, compile, engine, take
from fastgrad.nn import MLP, Dropout

X = np.array([0.5, 2.0, -1.0])

READINGS = {
    "data": lambda v: v.data,
    "grad": lambda v: v.grad,
    "float": float,
    "bool": bool,
    "if": lambda v: 1 if v else 2,
    "not": lambda v: not v,
    "less": lambda v: v < 1,
    "greater": lambda v: Value(1) > v,
    "less than a Value": lambda v: v < Value(1),
    "equal": lambda v: v == 0,
    "unequal": lambda v: v != 0.0,
    "max": lambda v: max(v, Value(0.0)),
    "max of data": lambda v: max(v.data, 0.0),
    "sorted": lambda v: sorted([v, Value(0.0)]),
    "repr": repr,
    "format": lambda v: f"{v}",
    "format of the data": lambda v: f"{v:.2f}",
    "array": lambda v: np.array([v], dtype=float),
}
EFFECTS = {
    "backward": lambda v: v.backward(),
    "setting data": lambda v: setattr(v, "data", 1.0),
    "setting grad": lambda v: setattr(v, "grad", 0.0),
}


class Parameter(Value):
    """A leaf of it is from outside, whoever makes it."""


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
@pytest.mark.parametrize(
    "which", ["argument", "result", "leaf from outside", "leaf of a subclass", "uniform argument"]
)
def test_a_number_that_would_be_frozen_cannot_be_read(reading, which):
    p = Value(2.0)
    places = {"leaf from outside": p, "leaf of a subclass": Parameter(2.0)}

    def function(x, k):
        reading({"argument": x, "result": x * p, "uniform argument": k, **places}[which])
        return x * p

    with pytest.raises(TracingError):
        compile(function)(X, 3.0)


@pytest.mark.parametrize("effect", EFFECTS.values(), ids=EFFECTS)
def test_what_would_happen_only_once_is_refused(effect):
    p = Value(2.0)

    def function(x):
        effect(p)
        return x * p

    with pytest.raises(TracingError):
        compile(function)(X)
    assert (p.data, p.grad) == (2.0, 0.0)


def test_a_leaf_made_inside_may_be_read_and_is_a_constant():
    def function(x):
        c = Value(3.0)
        c.data = c.data + 1
        return x * c if c.data > 2 and float(c) == 4 and repr(c) else x

    np.testing.assert_array_equal(compile(function)(X), 4 * X)


def test_reading_is_allowed_again_after_a_trace_and_after_one_that_failed():
    p = Value(2.0)
    compile(lambda x: x * p)(X)
    with pytest.raises(TracingError):
        compile(lambda x: x * p.data)(X)
    for leaf in (p, Parameter(2.0)):
        assert (leaf.data, float(leaf), bool(leaf), leaf == 2) == (2.0, 2.0, True, False)
        assert repr(leaf) == "Value(data=2.0, grad=0.0)"
        with pytest.raises(TypeError):
            leaf < 3  # noqa: B015


def test_a_subclass_made_while_tracing_is_ordered_by_itself_afterwards():
    made = []

    def function(x):
        made.append(type("Made", (Parameter,), {}))
        return x

    compile(function)(X)
    with pytest.raises(TypeError):
        made[0](2.0) < 3  # noqa: B015


def test_a_subclass_keeps_its_own_order():
    class Ordered(Value):
        def __lt__(self, other):
            return self.data < other

    q = Ordered(2.0)
    with pytest.raises(TracingError):
        compile(lambda x: x if q < 3 else -x)(X)
    assert q < 3


def test_identity_is_no_reading():
    def function(x):
        return x * 2 if x in {x} and [x].index(x) == 0 and x == x and x is not None else x

    np.testing.assert_array_equal(compile(function)(X), 2 * X)


def test_operations_raise_nothing_while_their_numbers_are_unknown():
    p = Value(0.0)
    compiled = compile(lambda x: x + p.log())
    p.data = 1.0
    np.testing.assert_array_equal(compiled(X), X)
    p.data = 0.0
    np.testing.assert_array_equal(compiled(X), [-np.inf] * 3)


def test_the_error_names_a_way_out():
    with pytest.raises(TracingError, match=r"F\.where, F\.maximum, relu\. F\.softmax"):
        compile(lambda x: x if x.data > 0 else 0 * x)(X)


def test_a_node_with_a_closure_is_named():
    def cube(x):
        out = Value(0.0, (x,), "cube")
        out._backward = lambda: None
        return out

    with pytest.raises(TracingError, match="cube"):
        compile(lambda x: cube(x) + 1)(X)


def test_a_node_without_a_rule_is_named():
    with pytest.raises(TracingError, match="mystery"):
        compile(lambda x: Value(0.0, (x,), "mystery") + 1)(X)


def test_a_node_given_by_its_derivatives_is_refused():
    with pytest.raises(TracingError, match="local derivatives"):
        compile(lambda x: Value(0.0, (x,), (1.0,)) + 1)(X)


def test_a_closure_on_a_node_of_the_table_is_refused():
    def function(x):
        out = x * 2
        out._backward = lambda: None
        return out

    with pytest.raises(TracingError, match="_backward"):
        compile(function)(X)


@pytest.mark.parametrize("draw", [random.random, np.random.normal], ids=["random", "numpy"])
def test_random_numbers_would_be_frozen(draw):
    with pytest.raises(TracingError, match="random"):
        compile(lambda x: x * draw())(X)


@pytest.fixture
def other_numpy_generator():
    if not hasattr(np.random, "set_bit_generator"):
        pytest.skip("this numpy has one global generator")
    before = np.random.get_bit_generator()
    np.random.set_bit_generator(np.random.PCG64(0))
    yield
    np.random.set_bit_generator(before)


@pytest.mark.usefixtures("other_numpy_generator")
def test_random_numbers_of_another_numpy_generator_are_noticed_too():
    np.testing.assert_array_equal(compile(lambda x: x * 2)(X), 2 * X)
    draw = np.random.normal
    with pytest.raises(TracingError, match="random"):
        compile(lambda x: x * draw())(X)


@pytest.mark.parametrize(
    "output", [None, "x", {"a": 1}, [], [None], [[Value(1.0)]], np.zeros((2, 2))], ids=repr
)
def test_a_function_returns_values(output):
    with pytest.raises(TracingError, match="return"):
        compile(lambda x: output)(X)


def test_a_trace_is_kept_for_its_signature_and_made_anew_for_another():
    traces = []

    @compile
    def function(x, k):
        traces.append(type(x))
        return (sum(x) if isinstance(x, list) else x) * k

    for x, k in (
        (X, 1.0),
        (X[:2], 2.0),
        (np.ones((4, 2)), 1.0),
        (np.ones((9, 2)), 1.0),
        (np.ones((4, 3)), 1.0),
        (X, X),
        (2.0, 1.0),
        (X, 5.0),
    ):
        function(x, k)
    assert len(traces) == 5


def test_a_name_bound_to_another_object_is_traced_again():
    scale, p = 2.0, Value(1.0)
    compiled = compile(lambda x: x * scale * p)
    np.testing.assert_array_equal(compiled(X), 2 * X)
    scale = 3.0
    np.testing.assert_array_equal(compiled(X), 3 * X)
    p = Value(10.0)
    np.testing.assert_array_equal(compiled(X), 30 * X)


@compile
def weighted(x):
    return sum(w * x for w in later_weights)  # noqa: F821


def test_a_global_bound_after_the_function_is_watched_too(monkeypatch):
    for factor in (1.0, 5.0):
        monkeypatch.setitem(globals(), "later_weights", [Value(factor)])
        np.testing.assert_array_equal(weighted(X), factor * X)


HELPERS = """
def score(x):
    return p * x

def plain(x):
    return score(x)

def inside(x):
    return sum(score(each) for each in [x])

def nested(x):
    def inner(x):
        return score(x)
    return inner(x)

def closed(score):
    def call(x):
        return score(x)
    return call

def recursive(x, depth=1):
    return recursive(x, depth - 1) if depth else score(x)

def passed(helper, x):
    return helper(x)

class Callable:
    def __call__(self, x):
        return score(x)

    def method(self, x):
        return score(x)

closure = closed(score)
compiled_score = compile(score)
bound = Callable().method
kept = Callable()
whole = functools.partial(passed, score)
by_name = functools.partial(passed, helper=score)
"""
REACHED = {
    "a global": "lambda x: p * x",
    "a helper": "score",
    "a helper's helper": "plain",
    "a helper in a comprehension": "inside",
    "a helper in a function inside": "nested",
    "a helper that calls itself": "lambda x: recursive(x)",
    "a helper in a closure": "lambda x: closure(x)",
    "a compiled function": "lambda x: compiled_score(x)",
    "a compiled callable object": "lambda x: compiled_object(x)",
    "a method": "bound",
    "a helper that is a method": "lambda x: bound(x)",
    "a callable object": "kept",
    "a partial": "whole",
    "a partial's keyword": "lambda x: by_name(x=x)",
}


@pytest.mark.parametrize("expression", REACHED.values(), ids=REACHED)
def test_a_global_that_a_helper_reads_is_watched(expression):
    scope = {"compile": compile, "functools": functools, "p": Value(2.0), "__name__": "helpers"}
    exec(HELPERS, scope)
    scope["compiled_object"] = compile(scope["kept"])
    compiled = compile(eval(expression, scope))
    np.testing.assert_array_equal(compiled(X), 2 * X)
    scope["p"] = Value(3.0)
    compiled.backward(X)
    assert scope["p"].grad == pytest.approx(X.mean())


def test_a_helper_that_is_replaced_is_watched_no_more():
    scope = {"p": Value(2.0)}
    exec("def score(x): return p * x", scope)
    traces = []
    scope["traces"] = traces
    compiled = compile(eval("lambda x: traces.append(1) or score(x)", scope))
    compiled(X)
    scope["score"] = lambda x: x
    for scope["p"] in (Value(3.0), Value(4.0)):
        np.testing.assert_array_equal(compiled(X), X)
    assert len(traces) == 2


def test_an_attribute_named_like_a_global_is_none():
    traces = []
    scope = {"w": 1, "traces": traces, "holder": types.SimpleNamespace(w=2.0)}
    compiled = compile(eval("lambda x: traces.append(1) or holder.w * x", scope))
    for scope["w"] in range(3):
        np.testing.assert_array_equal(compiled(X), 2 * X)
    assert len(traces) == 1


def test_a_compiled_function_within_another_is_part_of_it():
    inner = compile(lambda x: x * x)
    np.testing.assert_array_equal(compile(lambda x: inner(x) + 1)(X), X * X + 1)


def test_options_of_a_call_within_another_are_left_out():
    inner = compile(lambda x: x * x)
    outer = compile(lambda x: inner(x, threads=2, check=True, block=8) + 1)
    np.testing.assert_array_equal(outer(X), X * X + 1)


@pytest.mark.parametrize("traced", [True, False])
@pytest.mark.parametrize("call", ["backward", "input_gradients"])
def test_derivatives_of_another_compiled_function_would_be_frozen(call, traced):
    p = Value(2.0)
    inner = compile(lambda x: p * x)
    if traced:
        inner(1.0)
    with pytest.raises(TracingError, match=f"<lambda>.{call} has no place"):
        compile(lambda x: getattr(inner, call)(1.0) * x)(X)
    assert p.grad == 0.0
    assert inner.backward(1.0) == 2.0


def test_other_threads_may_call_what_is_compiled_while_one_traces():
    p = Value(2.0)
    inner = compile(lambda x: p * x)
    inner(1.0)

    def function(x):
        thread = threading.Thread(target=inner.backward, args=(1.0,))
        thread.start()
        thread.join()
        return x

    compile(function)(X)
    assert p.grad == 1.0


def test_a_function_without_its_source_is_no_part_of_another():
    inner = compile(lambda x: x * 2)
    inner(1.0)
    unpickled = pickle.loads(pickle.dumps(inner))
    with pytest.raises(TracingError, match=r"cannot be part of another .* without the function"):
        compile(lambda x: unpickled(x) + 1)(1.0)


def named(x, *, k, shift=1.0):
    return x * k + shift


def test_parameters_that_must_be_named():
    compiled = compile(named)
    np.testing.assert_array_equal(compiled(X, k=2.0), 2 * X + 1)
    np.testing.assert_array_equal(compiled(shift=X, k=2.0, x=X), 3 * X)
    with pytest.raises(TypeError, match="positional"):
        compiled(X, 2.0, 1.0)
    with pytest.raises(TypeError, match="missing"):
        compiled(X)


def test_what_a_partial_gives_by_name_may_be_given_again():
    compiled = compile(functools.partial(lambda x, k: x * k, k=2.0))
    np.testing.assert_array_equal(compiled(X), 2 * X)
    np.testing.assert_array_equal(compiled(X, k=X), X * X)


def test_what_a_partial_gives_and_no_program_computes_with_is_left_to_the_function():
    p = Value(3.0)
    compiled = compile(functools.partial(lambda x, w, name: w * x if name == "w" else x, w=p, name="w"))
    np.testing.assert_array_equal(compiled(X), 3 * X)
    assert compiled.parameters == [p]
    with pytest.raises(TypeError, match="name is no argument"):
        compiled(X, name="x")


def test_keywords_and_defaults():
    compiled = compile(lambda x, k=2.0: x * k)
    np.testing.assert_array_equal(compiled(X), 2 * X)
    np.testing.assert_array_equal(compiled(k=3.0, x=X), 3 * X)
    with pytest.raises(TypeError, match="missing"):
        compiled()
    with pytest.raises(TypeError, match="unexpected"):
        compiled(X, j=1)


@pytest.mark.parametrize("default", [None, True, "tanh", Value(2.0)], ids=["None", "bool", "str", "Value"])
def test_a_default_that_is_nothing_to_compute_with_is_for_the_function_after_a_star(default):
    def choose(x, *, how=default):
        assert how is default
        return 2 * x

    compiled = compile(choose)
    np.testing.assert_array_equal(compiled(X), 2 * X)
    with pytest.raises(TypeError, match="how is no argument"):
        compiled(X, how=default)
    with pytest.raises(TypeError, match="how must be given"):
        compile(lambda x, how=default: x)(X)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions have no notes yet")
@pytest.mark.parametrize(
    ("function", "note"),
    [
        (lambda x, y: x - y, "x is a Value, y is a list of 1, each a Value"),
        (lambda x, i: sum(x for _ in range(i[0])), "x is a Value, i is a list of 1, each a Value"),
    ],
)
def test_an_error_in_the_function_says_what_its_arguments_are(function, note):
    with pytest.raises((TypeError, TracingError)) as caught:
        compile(function)(X, X.reshape(3, 1))
    assert note in caught.value.__notes__[0]


@pytest.mark.parametrize("function", [lambda *xs: xs[0], lambda **xs: 1, lambda threads: threads])
def test_a_signature_that_cannot_be_compiled(function):
    with pytest.raises(TypeError):
        compile(function)


def test_a_refusal_that_the_function_catches_is_raised_in_the_end():
    def absolute(x):
        try:
            if x > 0:
                return x
        except TracingError:
            pass
        return -x

    with pytest.raises(TracingError, match="order"):
        compile(absolute)(X)


@pytest.mark.parametrize(
    ("divisor", "error"), [(0, ZeroDivisionError), (-0.0, ZeroDivisionError), (5e-324, OverflowError)]
)
def test_a_division_by_a_constant_is_refused_in_the_trace(divisor, error):
    with pytest.raises(error, match=r"\.\.\. / "):
        compile(lambda x: x / divisor)(X)


@pytest.fixture
def drawing_thread():
    """A thread that draws random numbers all the time."""
    ended = threading.Event()

    def draw():
        while not ended.is_set():
            random.random()

    thread = threading.Thread(target=draw)
    thread.start()
    yield
    ended.set()
    thread.join()


@pytest.mark.usefixtures("drawing_thread")
def test_what_other_threads_draw_is_their_own_affair():
    for _ in range(5):
        # Long enough for the other thread to have its turn.
        compile(lambda x: F.sum([(x * k).tanh() for k in range(5_000)]))(X)
    for draw in (random.random, lambda: random.gauss(0.0, 1.0), lambda: random.random() < 2, np.random.rand):
        with pytest.raises(TracingError, match="random"):
            compile(functools.partial(lambda x, *, draw: x * draw(), draw=draw))(X)


def test_an_array_of_values_may_be_returned():
    compiled = compile(lambda x: np.array(x) * 2)
    np.testing.assert_array_equal(compiled(np.ones((3, 2))), np.full((3, 2), 2.0))
    np.testing.assert_array_equal(compile(lambda x: np.array(x * 3))(X), 3 * X)


def test_an_index_is_a_number_too():
    y = np.array([1, -1, 1])
    compiled = compile(lambda x, y: 1 - y * x)
    np.testing.assert_array_equal(compiled(X, y), 1 - y * X)
    np.testing.assert_array_equal(compiled(X, y.tolist()), 1 - y * X)
    np.testing.assert_array_equal(compiled(X, y.astype("int8")), 1 - y * X)
    np.testing.assert_array_equal(compiled(X, -1), 1 + X)


@pytest.mark.parametrize(
    "misuse", [lambda i: [1, 2, 3][i], lambda i: i > 0, lambda i: i == 1, bool, int, lambda i: range(3)[i]]
)
def test_an_index_selects_only_by_take(misuse):
    with pytest.raises(TracingError):
        compile(lambda i: Value(1.0) * (1 if misuse(i) else 2))(np.array([0, 1]))


@pytest.mark.parametrize("name", ["take", "cross_entropy"])
@pytest.mark.parametrize("index", [0.0, [1.0, 0.0]], ids=repr)
def test_an_index_is_an_argument_of_integers(name, index):
    select = take if name == "take" else F.cross_entropy
    with pytest.raises(TypeError, match=f"{name}.* an argument of integers"):
        compile(lambda i: select([1.0, 2.0], i))(index)


@pytest.mark.parametrize("shape", [(3,), (3, 2), (3, 2, 2)], ids=repr)
@pytest.mark.parametrize("kind", [float, Value])
def test_an_array_may_be_taken_from(shape, kind):
    numbers = np.arange(1.0, 1 + np.prod(shape)).reshape(shape)
    table = numbers if kind is float else np.vectorize(Value, otypes=[object])(numbers)
    selected = compile(lambda i: list(np.ravel(take(table, i) * 2)))([2, 0, 1])
    np.testing.assert_array_equal(selected, 2 * numbers[[2, 0, 1]].reshape(3, -1))


def test_take_outside_a_compiled_function():
    values = [Value(1.0), Value(2.0)]
    assert take(values, 1) is values[1]
    assert take([[1, 2], [3, 4]], np.int64(1)) == [3, 4]
    for index in (2, -1):
        with pytest.raises(IndexError):
            take(values, index)
    for index in (1.0, Value(1)):
        with pytest.raises(TypeError):
            take(values, index)
    with pytest.raises(ValueError, match="at least one"):
        take([], 0)


def test_the_listing_counts_and_names():
    p = Value(2.0)
    compiled = compile(lambda x, i: take([x[0], x[1]], i).exp() * p)
    assert "not traced" in str(compiled)
    compiled(np.ones((3, 2)), np.array([0, 1, 1]))
    text = str(compiled)
    for part in ("instructions", "registers", "bytes", "flops", "take", "exp", "x[1]", "p0", "output 0"):
        assert part in text


def test_a_long_program_traces_and_says_what_it_takes():
    compiled = compile(long_program)
    value = compiled.backward(np.array([0.5, 0.25]))
    assert np.isfinite(value)
    assert "100002 for every row" in str(compiled)
    assert len(str(compiled).splitlines()) < 500


def long_program(x):
    y = x
    for _ in range(50_000):
        y = (y + x).tanh()
    return y


def test_the_package_offers_the_compiler():
    assert fastgrad.compile is compile
    assert fastgrad.take is take
    with pytest.raises(AttributeError):
        fastgrad.nothing  # noqa: B018


def test_dropout_follows_the_training_mode():
    dropout = Dropout(0.5)
    compiled = compile(lambda x: sum(dropout(x)))
    dropout.eval()
    np.testing.assert_array_equal(compiled(np.ones((2, 2))), [2.0, 2.0])
    dropout.train()
    with pytest.raises(TracingError, match="random"):
        compiled(np.ones((2, 2)))
    dropout.eval()
    np.testing.assert_array_equal(compiled(np.ones((2, 2))), [2.0, 2.0])


def test_a_program_is_traced_anew_only_for_modes_that_its_function_asked_for():
    model, dropout = MLP(1, [4, 1]), Dropout(0.5).eval()
    plain, dropping = compile(lambda x: model([x])), compile(lambda x: sum(dropout([x])))
    plain(X), dropping(X)
    programs = plain.latest, dropping.latest
    for module in (model, dropout):
        module.train()
        module.eval()
    plain(X), dropping(X)
    assert (plain.latest, dropping.latest) == programs
    dropout.training = True
    plain(X)
    assert plain.latest is programs[0]
    with pytest.raises(TracingError, match="random"):
        dropping(X)


def test_modes_are_remembered_for_every_signature():
    dropout = Dropout(0.5).eval()
    compiled = compile(lambda x: sum(dropout(x)) if isinstance(x, list) else x)
    compiled(np.ones((2, 2))), compiled(X)
    dropout.train()
    with pytest.raises(TracingError, match="random"):
        compiled(np.ones((2, 2)))


def test_what_a_program_cannot_notice_is_forgotten_on_demand():
    scales = [2.0]
    compiled = compile(lambda x: x * scales[0])
    np.testing.assert_array_equal(compiled(X), 2 * X)
    scales[0] = 3.0
    compiled.forget()
    np.testing.assert_array_equal(compiled(X), 3 * X)


def test_a_branch_that_has_run_often_is_refused_all_the_same():
    def branch(v):
        return 1 if v else 2

    # Long enough for the interpreter to specialise it to a type that is always true.
    assert all(branch(Value(0.0)) == 1 for _ in range(1000))
    with pytest.raises(TracingError):
        compile(lambda x: x * branch(x))(X)


def test_the_listing_has_a_line_for_every_kind_of_instruction():
    p, q = Value(2.0), Value(3.0)
    compiled = compile(lambda x, y: F.logsumexp([x, y, p]) * (p * q + q * q + p))
    compiled(X, X)
    text = str(compiled)
    assert "sum of 2 products and 1 terms: p0, p1, p1, p1, p0" in text
    assert "logsumexp x, y, " in text


def test_an_index_equals_only_itself():
    compile(lambda i: Value(1.0) * (i == i) * (i != "one"))(np.array([0, 1]))
    with pytest.raises(TracingError, match="take"):
        compile(lambda i: Value(1.0) * (i == 1.0))(np.array([0, 1]))


def test_rows_of_a_list_may_be_taken():
    compiled = compile(lambda i: take([[1.0, 2.0], (3.0, 4.0)], i))
    np.testing.assert_array_equal(compiled([0, 1]), [[1.0, 2.0], [3.0, 4.0]])


def test_rows_to_take_from_are_of_equal_length():
    with pytest.raises(ValueError, match="equal length"):
        compile(lambda i: take([[1.0], [1.0, 2.0]], i)[0])(np.array([0, 1]))


def test_a_name_deleted_since_the_trace_is_a_name_error():
    w = Value(2.0)

    def forget():
        nonlocal w
        del w

    compiled = compile(lambda x: w * x)
    compiled([1.0])
    forget()
    with pytest.raises(NameError):
        compiled([1.0])


def test_a_name_that_is_bound_after_the_first_call_may_be_unbound_before():
    def scope():
        compiled = compile(lambda x: x * 2 if True else later)
        compiled([1.0])
        later = None
        return compiled

    np.testing.assert_array_equal(scope()([1.0]), [2.0])


def test_a_callable_object_is_compiled():
    class Doubler:
        def __init__(self):
            self.function = self.forget = self.name = None

        def __call__(self, x):
            return x * 2

    np.testing.assert_array_equal(compile(Doubler())([1.0]), [2.0])


def test_only_one_thread_traces_at_a_time():
    engine._begin_tracing()
    try:
        with pytest.raises(RuntimeError, match="another function"):
            engine._begin_tracing()
    finally:
        engine._end_tracing()


def test_options_may_be_given_to_the_decorator():
    @compile(check=True)
    def logarithm(x):
        return x.log()

    np.testing.assert_array_equal(logarithm([1.0]), [0.0])
    with pytest.raises(ValueError, match="row 1"):
        logarithm([1.0, -1.0])


def test_only_a_function_can_be_compiled():
    with pytest.raises(TypeError, match="not float"):
        compile(1.0)


def test_a_choice_is_called_take():
    symbols = []

    def function(x, i):
        symbols.append(repr(take([x, x * 2], i)._op))
        return x

    compile(function)(X, np.array([0, 1, 0]))
    assert symbols == ["take"]
