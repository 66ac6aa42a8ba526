"""What a compiled function may do with its arguments, and the errors for what it may not do."""

import collections
import contextlib
import copy
import functools
import gc
import math
import pickle
import random
import signal
import sys
import threading
import types
import warnings
import weakref

import numpy as np
import pytest

import fastgrad
import fastgrad.functional as F
from fastgrad import TracingError, Value, compile, engine, optim, take
from fastgrad.nn import MLP, Dropout, Module
from fastgrad.optim import updates

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
    "a new start": lambda v: v.__init__(1.0),
    "zero_grad": lambda v: engine.zero_grad([v]),
    "a step of SGD": lambda v: optim.SGD([v], lr=0.1).step(),
    "a step of Adam": lambda v: optim.Adam([v]).step(),
    "a step of AdamW": lambda v: optim.AdamW([v]).step(),
    "zero_grad of an optimizer": lambda v: optim.SGD([v], lr=0.1).zero_grad(),
    "clip_grad_norm_": lambda v: optim.clip_grad_norm_([v], 0.1),
    "clip_grad_value_": lambda v: optim.clip_grad_value_([v], 0.1),
    "updates": lambda v: updates.scale_gradients([v], 0.5),
    "recording": lambda v: updates.copy_numbers([v]),
    "load_state_dict": lambda v: Holder(v).load_state_dict({"v": 1.0}),
    "backward": lambda v: v.backward(),
    "setting data": lambda v: setattr(v, "data", 1.0),
    "setting grad": lambda v: setattr(v, "grad", 0.0),
}


class Holder(Module):
    def __init__(self, v):
        self.v = v


class Parameter(Value):
    """A subclass: its leaves are parameters, wherever they are made."""


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
    p.grad = 3.0

    def function(x):
        # The call raises TracingError although the function catches it.
        with contextlib.suppress(TracingError):
            effect(p)
        return x * p

    with pytest.raises(TracingError):
        compile(function)(X)
    assert (p.data, p.grad) == (2.0, 3.0)


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam])
def test_an_optimizer_is_as_it_was_after_a_step_that_was_refused(kind):
    optimizer = kind([Value(2.0)], lr=0.1)
    schedule = optim.StepLR(optimizer, 1)
    before = optimizer.state_dict(), schedule.state_dict()
    for effect in (optimizer.step, schedule.step, lambda: optimizer.load_state_dict(before[0])):
        with pytest.raises(TracingError, match="only once"):
            compile(lambda x, *, effect=effect: (effect(), x)[1])(X)
    assert (optimizer.state_dict(), schedule.state_dict()) == before


def test_a_constant_is_set_only_before_it_is_used():
    def before(x):
        constants = [Value(1.0), Value(2.0)]
        constants[0].data = 3.0
        return x * constants[0]

    def after(x):
        constant = Value(1.0)
        out = x * constant
        constant.data = 3.0
        return out

    np.testing.assert_array_equal(compile(before)(X), 3 * X)
    with pytest.raises(TracingError, match="make a new Value"):
        compile(after)(X)


def test_what_follows_from_constants_is_one():
    np.testing.assert_array_equal(compile(lambda x: x * (Value(2.0) * 3).data)(X), 6 * X)
    p = Value(2.0)
    with pytest.raises(TracingError):
        compile(lambda x: x * (p * 3).data)(X)


COMPARISONS = {
    "==": lambda p, q: 1.0 if p == q else 0.0,
    "!=": lambda p, q: 1.0 if p != q else 0.0,
    "in": lambda p, q: 1.0 if p in [q] else 0.0,
    "index": lambda p, q: [q, p].index(p) + 0.0,
    "count": lambda p, q: [p, q].count(p) + 0.0,
    "tuples": lambda p, q: 1.0 if (p,) == (q,) else 0.0,
    "a key": lambda p, q: {p: 1.0}.get(q, 0.0),
    "a key among numbers": lambda p, q: {0: 1.0}.get(q, 0.0),
    "a set": lambda p, q: 1.0 if p in {q} else 0.0,
    "results": lambda p, q: 1.0 if p * 1 == q * 1 else 0.0,
    "a number": lambda p, q: 1.0 if p == 1 else 0.0,
    "a parameter": lambda p, q: 1.0 if p in [Value(1.0)] else 0.0,
}


@pytest.mark.parametrize("compare", COMPARISONS.values(), ids=COMPARISONS)
@pytest.mark.parametrize("kinds", [(int, int), (float, float), (int, float), (float, int)], ids=repr)
def test_arguments_are_equal_in_some_rows_and_not_in_others(compare, kinds):
    with pytest.raises(TracingError):
        compile(compare)([kinds[0](x) for x in (0, 2)], [kinds[1](x) for x in (0, 1)])


def kept_of_a_trace(failing=False):
    """Values that a traced function may keep, by name, and a parameter that it used."""
    w, kept = Value(2.0), {}

    def function(x, row, i):
        kept.update(
            argument=x,
            index=i,
            column=row[1],
            product=w * x,
            dot=F.dot([w, w], row),
            one=F.where(w, 1.0, x),
            power=x**0,
            taken=take([w, w], i),
            reduction=F.logsumexp([x, w]),
            own=Value(1.0, (x,), "own"),
            foreign=Parameter(1.0, (x,), "own"),
        )
        return 1 / 0 if failing else w * x

    try:
        compile(function)(X, np.ones((3, 2)), [0, 1, 1])
    except ZeroDivisionError as error:
        assert failing
        kept["error"] = error
    return kept, w


KEPT = sorted(kept_of_a_trace()[0])
USES = {
    "*": lambda v, w: v * w,
    "reflected *": lambda v, w: w * v,
    "+ 1": lambda v, w: v + 1,
    "1 -": lambda v, w: 1 - v,
    "relu": lambda v, w: v.relu(),
    "tanh": lambda v, w: v.tanh(),
    "exp": lambda v, w: v.exp(),
    "** 0": lambda v, w: v**0,
    "1 **": lambda v, w: 1**v,
    "** Value(0)": lambda v, w: v ** Value(0.0),
    "Value(1) **": lambda v, w: Value(1.0) ** v,
    "array": lambda v, w: np.ones(2) * v,
    "maximum": lambda v, w: F.maximum(v, 1.0),
    "where": lambda v, w: F.where(v, 1.0, 2.0),
    "the other branch": lambda v, w: F.where(Value(1.0), w, v),
    "dot": lambda v, w: F.dot([w, w], [w, v]),
    "weights": lambda v, w: F.dot([v, w], [w, w]),
    "sum": lambda v, w: F.sum([w, v]),
    "logsumexp": lambda v, w: F.logsumexp([v, w]),
    "softmax": lambda v, w: F.softmax([v, w]),
    "a neuron": lambda v, w: MLP(1, [1])([v]),
    "a layer": lambda v, w: MLP(1, [5])([v]),
    "a node of one's own": lambda v, w: Value(1.0, (v,), "own"),
    "local derivatives": lambda v, w: Value(1.0, (v,), (1.0,)),
    "data": lambda v, w: v.data,
    "grad": lambda v, w: v.grad,
    "float": lambda v, w: float(v),
    "format": lambda v, w: f"{v:.2f}",
    "backward": lambda v, w: v.backward(),
    "setting data": lambda v, w: setattr(v, "data", 1.0),
    "setting grad": lambda v, w: setattr(v, "grad", 1.0),
    "copy": lambda v, w: copy.copy(v),
    "deepcopy": lambda v, w: copy.deepcopy(v),
    "pickle": lambda v, w: pickle.dumps(v),
    "an optimizer": lambda v, w: optim.SGD([v], lr=0.1),
    "another function": lambda v, w: compile(lambda x: v * x)(X),
    "a function without arguments": lambda v, w: compile(lambda: v * 2)(),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("failing", [False, True])
def test_what_outlives_its_trace_is_refused_wherever_it_is_used(use, name, failing):
    kept, w = kept_of_a_trace(failing)
    names_it = r"(argument (x|row|i) of function|that function computed)"
    with pytest.raises(TracingError, match=names_it if name not in ("own", "foreign") else "."):
        use(kept[name], w)
    assert (w.data, w.grad) == (2.0, 0.0)


def test_an_index_that_outlives_its_trace_is_none():
    kept, w = kept_of_a_trace()
    with pytest.raises(TracingError, match="the argument i of function"):
        take([w, w], kept["index"])
    for i in ([0, 1], 0):
        with pytest.raises(TracingError, match="the argument i of function"):
            compile(lambda i: take([1.0, 2.0], kept["index"]) * i)(i)
        with pytest.raises(TracingError, match="the argument i of function"):
            compile(lambda i: kept["taken"] * i)(i)


def test_what_outlives_its_trace_says_so_instead_of_a_number():
    kept, _ = kept_of_a_trace()
    assert repr(kept["argument"]) == "<the argument x of function>"
    assert f"{kept['product']}" == "<a Value that function computed while it was compiled>"


def test_constants_outlive_their_trace():
    kept = {}
    p = Value(2.0)

    def function(x):
        kept.update(leaf=Value(3.0), result=Value(3.0) * 2, of_parameter=p * 2)
        return x

    compile(function)(X)
    assert [value.data for value in kept.values()] == [3.0, 6.0, 4.0]


def test_an_ordinary_nan_is_no_argument():
    nan = Value(float("nan"))
    assert np.isnan((nan * 2 + nan.relu() + F.where(nan, 1.0, nan) + F.dot([nan], [nan])).data)
    assert (nan**0).data == 1.0
    np.testing.assert_array_equal(compile(lambda x: x * nan)(X), [np.nan] * 3)


SOURCES = {
    "*": lambda v: v * 3,
    "tanh": lambda v: v.tanh(),
    "sum": lambda v: F.sum([v, v]),
    "dot": lambda v: F.dot([v], [v]),
    "local derivatives": lambda v: Value(1.0, (v,), (2.0,)),
}
COPIES = {
    "itself": lambda v: v,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda v: pickle.loads(pickle.dumps(v)),
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_computed_node_whose_data_was_set_cannot_be_compiled(source, copied):
    u = source(Value(2.0))
    u.data = 100.0
    u = copied(u)
    assert (u * 1).data == 100.0
    with pytest.raises(TracingError, match=r"whose data was set to 100.0"):
        compile(lambda x: u * x)(X)


def test_the_data_of_a_node_that_a_program_computes_cannot_be_set():
    v = Value(2.0)
    u = v * 3
    compiled = compile(lambda x: u * x)
    np.testing.assert_array_equal(compiled(X), 6 * X)
    with pytest.raises(TracingError, match="Give the function a leaf"):
        u.data = 100.0
    assert u.data == 6.0


def test_a_result_of_the_function_cannot_be_set():
    def function(x):
        out = x * 2
        out.data = 5.0
        return out

    with pytest.raises(TracingError, match="setting data"):
        compile(function)(X)


class Interruption:
    """Runs code in the middle of a traced function that does not call it."""

    def __init__(self, run):
        self.run = run

    def signal(self):
        previous = signal.signal(signal.SIGINT, lambda *_: self.run())
        signal.raise_signal(signal.SIGINT)
        signal.signal(signal.SIGINT, previous)

    def method(self):
        run = self.run

        class Handler:
            def __call__(self, *_):
                run()

        for handler in (Handler(), functools.partial(Handler().__call__), Handler().__call__):
            previous = signal.signal(signal.SIGINT, handler)
            signal.raise_signal(signal.SIGINT)
            signal.signal(signal.SIGINT, previous)

    def finalizer(self):
        run = self.run

        class Ending:
            def __del__(self):
                run()

        ending = Ending()
        del ending
        Ending()
        [Ending()].clear()
        ending = Ending()
        ending.itself = ending
        del ending
        gc.collect()

    def callback(self):
        for make in (weakref.ref, weakref.finalize):
            held = [Parameter(1.0)]
            reference = make(held[0], lambda *_: self.run())
            held.clear()
            del reference

    def collector(self):
        def callback(*_):
            self.run()

        gc.callbacks.append(callback)
        gc.collect()
        gc.callbacks.remove(callback)

    def tracer(self):
        def tracer(*_):
            self.run()

        previous = sys.gettrace()
        sys.settrace(tracer)
        (lambda: None)()
        sys.settrace(previous)


@pytest.mark.parametrize("kind", [name for name in vars(Interruption) if not name.startswith("_")])
def test_what_interrupts_a_trace_reads_and_sets_what_it_likes(kind):
    p, unrelated = Value(2.0), Value(7.0)
    u, seen = unrelated * 2, []
    inner = compile(lambda x: unrelated * x)
    inner(1.0)

    def look():
        unrelated.grad += 1.0
        seen.append((unrelated.data, u.data, (u + 1).data, (Value(2.0) * 3).data, float(u), unrelated == 1))
        seen.append((repr(unrelated), u in [p], inner(1.0)))

    def function(x):
        getattr(Interruption(look), kind)()
        return x * p

    compiled = compile(function)
    np.testing.assert_array_equal(compiled(X), 2 * X)
    assert seen[0] == (7.0, 14.0, 15.0, 6.0, 14.0, False)
    assert seen[1][1:] == (False, 7.0)


def test_what_interrupts_a_trace_cannot_read_what_has_no_number():
    refused = []

    def look(x):
        for reading in READINGS.values():
            with pytest.raises(TracingError):
                reading(x)
            refused.append(reading)

    def function(x):
        Interruption(lambda: look(x * 2)).signal()
        return x

    np.testing.assert_array_equal(compile(function)(X), X)
    assert len(refused) == len(READINGS)


def test_a_function_compiled_in_an_interruption_waits_for_no_one():
    errors = []

    def look():
        with pytest.raises(RuntimeError, match="another function is being traced"):
            compile(lambda x: x)(1.0)
        errors.append(1)

    def function(x):
        Interruption(look).signal()
        return x

    compile(function)(X)
    assert errors


class Calls:
    """Operators, properties and protocols through which a function calls code that reads."""

    def __init__(self, read):
        self.read = read

    @property
    def attribute(self):
        return self.read()

    def __getitem__(self, _):
        return self.read()

    def __add__(self, _):
        return self.read()

    def __iter__(self):
        yield self.read()

    def __enter__(self):
        self.read()

    def __exit__(self, *_):
        self.read()

    def __contains__(self, _):
        return bool(self.read())

    def __lt__(self, _):
        return self.read()

    def __str__(self):
        return str(self.read())

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name != "read":
            self.read()

    def __delitem__(self, _):
        self.read()

    def enter(self):
        with self:
            pass

    async def wait(self):
        self.read()

    def run(self):
        with contextlib.suppress(StopIteration):
            self.wait().send(None)


CALLS = {
    "attribute": lambda calls: calls.attribute,
    "item": lambda calls: calls[0],
    "operator": lambda calls: calls + 1,
    "iteration": lambda calls: list(calls),
    "loop": lambda calls: [each for each in calls],  # noqa: C416
    "with": Calls.enter,
    "in": lambda calls: 1 in calls,
    "order": lambda calls: calls < 1,
    "text": lambda calls: f"{calls}",
    "setting": lambda calls: setattr(calls, "x", 1),
    "deleting": lambda calls: calls.__delitem__(0),
    "map": lambda calls: list(map(Calls.__str__, [calls])),
    "key": lambda calls: sorted([1, 2], key=lambda _: calls.read()),
    "generator": lambda calls: next(calls.read() for _ in [1]),
    "coroutine": Calls.run,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_a_function_calls_in_any_way_is_no_interruption(call):
    p, other = Value(2.0), Value(7.0)
    function = lambda x: (call(Calls(lambda: other.data)), x * p)[1]  # noqa: E731
    with pytest.raises(TracingError):
        compile(function)(X)


def test_an_interrupt_at_any_instruction_of_a_trace_leaves_nothing_behind():
    w = Value(2.0)
    files = {
        sys.modules[name].__file__ for name in ("fastgrad.compiler.tracing", "fastgrad.compiler.compiled")
    }
    files.add(__file__)

    def is_interrupted_at(number):
        left = number

        def look(frame, event, _):
            nonlocal left
            if frame.f_code.co_filename not in files:
                return None
            frame.f_trace_opcodes = True
            if event == "opcode":
                left -= 1
                if left < 0:
                    sys.settrace(None)
                    raise KeyboardInterrupt
            return look

        compiled, previous = compile(lambda x: w * x + (w + 1) * x), sys.gettrace()
        # Since CPython 3.12 `settrace` gives opcodes only if a frame asked for them before.
        sys._getframe().f_trace_opcodes = True
        sys.settrace(look)
        try:
            compiled([1.0, 2.0])
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(previous)
        return False

    number = 0
    while is_interrupted_at(number):
        assert (w.data, w == 2, engine._is_tracing()) == (2.0, False, False)
        assert compile(lambda x: w * x)(3.0) == 6.0
        number += 1
    assert number > 300


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
    p = Value(2.0)

    def function(x):
        return x * 2 if x in [x] and [x].index(x) == 0 and x == x and p in {p} and x is not None else x

    np.testing.assert_array_equal(compile(function)(X), 2 * X)


def test_operations_raise_nothing_while_their_numbers_are_unknown():
    p = Value(0.0)
    compiled = compile(lambda x: x + p.log())
    p.data = 1.0
    np.testing.assert_array_equal(compiled(X), X)
    p.data = 0.0
    np.testing.assert_array_equal(compiled(X), [-np.inf] * 3)


def test_the_error_names_a_way_out():
    with pytest.raises(
        TracingError, match=r"F\.where, F\.maximum, relu; F\.softmax and F\.logsumexp need no largest value"
    ):
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


def test_a_node_given_by_its_derivatives_outside_is_refused():
    given = Value(0.0, (Value(2.0),), (1.0,))
    with pytest.raises(TracingError, match="local derivatives"):
        compile(lambda x: given + x)(X)


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


class Noisy:
    def __init__(self, rng):
        self.rng = rng

    def __call__(self, x):
        return x * self.rng.random()


GENERATORS = {
    "random.Random": lambda: random.Random(0),
    "default_rng": lambda: np.random.default_rng(0),
    "RandomState": lambda: np.random.RandomState(0),
}


def helper_draws(x, rng):
    return x * rng.random()


OWN_DRAWS = {
    "a variable outside": lambda rng: lambda x: x * rng.random(),
    "an attribute": Noisy,
    "a method outside": lambda rng: (lambda draw: lambda x: x * draw())(rng.random),
    "a partial": lambda rng: functools.partial(helper_draws, rng=rng),
    "an argument of a helper": lambda rng: lambda x: helper_draws(x, rng),
}


@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
@pytest.mark.parametrize("function_of", OWN_DRAWS.values(), ids=OWN_DRAWS)
def test_draws_from_a_generator_of_ones_own_would_be_frozen(function_of, make):
    with pytest.raises(TracingError, match="draws random numbers"):
        compile(function_of(make()))(X)


@pytest.mark.parametrize("make", [random.Random, np.random.default_rng, random.SystemRandom])
def test_draws_with_a_seed_of_the_systems_would_be_frozen(make):
    with pytest.raises(TracingError, match="draws random numbers"):
        compile(lambda x: x * make().random())(X)


@pytest.mark.parametrize("make", [random.Random, np.random.default_rng])
def test_a_generator_may_be_named_and_a_seed_given(make):
    rng, expected = make(0), make(7).random()
    function = compile(lambda x: x * make(7).random() if rng is not None else x)
    np.testing.assert_array_equal(function(X), X * expected)


def test_draws_from_a_generator_of_torch_would_be_frozen():
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(TracingError, match="draws random numbers"):
        compile(lambda x: x * torch.rand((), generator=generator).item())(X)


def test_a_module_that_is_imported_inside_may_make_a_generator(tmp_path, monkeypatch):
    (tmp_path / "with_a_generator.py").write_text("import random\nrate, generator = 2.0, random.Random()\n")
    monkeypatch.syspath_prepend(tmp_path)

    def function(x):
        import with_a_generator

        return x * with_a_generator.rate

    np.testing.assert_array_equal(compile(function)(X), 2 * X)


def with_a_seed_of_its_own(make):
    def function(x):
        pick = make(7)
        draw = lambda: pick.random()  # noqa: E731
        return helper_draws(x, pick) + draw() + Noisy(pick)(x)

    return function


@pytest.mark.parametrize("make", [random.Random, np.random.default_rng])
def test_a_generator_with_a_seed_may_be_made_inside(make):
    generator = make(7)
    first, second, third = (generator.random() for _ in range(3))
    function = compile(with_a_seed_of_its_own(make))
    np.testing.assert_allclose(function(X), X * first + second + X * third, rtol=1e-14)


def test_an_old_generator_of_numpy_may_be_made_with_a_seed():
    expected = np.random.RandomState(7).random_sample()
    function = compile(lambda x: x * np.random.RandomState(7).random_sample())
    np.testing.assert_array_equal(function(X), X * expected)


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


PROGRAM = """
import functools, sys
from types import SimpleNamespace

scale = 1.0

def act(x, k=1.0, *, j=1.0):
    return x * k * j

def decorated(function):
    @functools.wraps(function)
    def wrapper(*arguments):
        return function(*arguments)
    return wrapper

@decorated
def wrapped(x):
    return x * 1.0

class Base:
    factor = 1.0

    def __init__(self):
        self.own = 1.0

    def __call__(self, x):
        return self.helper(x)

    def helper(self, x):
        return x * scale

    @property
    def computed(self):
        return scale

    @staticmethod
    def static(x):
        return x * scale

    @classmethod
    def of_class(cls, x):
        return x * cls.factor

    def of_instance(self, x):
        return x * self.own

    def in_generator(self, x):
        return sum(self.own * each for each in [x])

    def in_lambda(self, x):
        return (lambda: self.own * x)()

    @decorated
    def wrapped(self, x):
        return x * 1.0

class Inherits(Base):
    def helper(self, x):
        return super().helper(x)

model, models, functions = Inherits(), [Inherits()], [lambda x: x * 1.0]
functions.append((lambda kept: lambda x: x * kept.own)(Base()))

def closure():
    k = 1.0
    def call(x):
        return x * k
    def set_k(value):
        nonlocal k
        k = value
    return call, set_k

set_k = closure()
closures = [set_k[0]]
set_k = set_k[1]

def unfilled():
    def call(x):
        try:
            return later(x)
        except NameError:
            return x
    def fill():
        nonlocal later
        later = lambda x: 2 * x
    later = None
    del later
    return call, fill

unfilled, fill = unfilled()

def calls_what_is_absent(x):
    try:
        return absent(x)
    except NameError:
        return x

helpers = sys.modules["helpers_of_test"]
exec("scale = 1.0\\ndef act(x): return x * scale", vars(helpers))

def imports(x):
    import helpers_of_test as module
    return x * module.scale

def imports_from(x):
    from helpers_of_test import scale
    return x * scale

def imports_function(x):
    from helpers_of_test import act
    return act(x)

config = SimpleNamespace(scale=1.0, deep=SimpleNamespace(scale=1.0))
"""
DOUBLE, DOUBLE_METHOD = "(lambda x: 2 * x)", "(lambda self, x: 2 * x)"
CHANGES = {
    "a function's code": ("act(x)", f"act.__code__ = {DOUBLE}.__code__"),
    "a function's defaults": ("act(x)", "act.__defaults__ = (2.0,)"),
    "a function's defaults by name": ("act(x)", "act.__kwdefaults__ = {'j': 2.0}"),
    "one of a function's defaults by name": ("act(x)", "act.__kwdefaults__['j'] = 2.0"),
    "a function that C calls": ("list(map(act, [x]))[0]", "act.__defaults__ = (2.0,)"),
    "the code of a decorated function": ("wrapped(x)", f"wrapped.__wrapped__.__code__ = {DOUBLE}.__code__"),
    "the code of a decorated method": (
        "model.wrapped(x)",
        f"Base.wrapped.__wrapped__.__code__ = {DOUBLE_METHOD}.__code__",
    ),
    "the code of a static method": ("model.static(x)", f"Base.static.__code__ = {DOUBLE}.__code__"),
    "the code of a property": (
        "x * model.computed",
        "Base.computed.fget.__code__ = (lambda self: 2.0).__code__",
    ),
    "the code of a function in a list": ("functions[0](x)", f"functions[0].__code__ = {DOUBLE}.__code__"),
    "the code of a helper of an object in a list": (
        "models[0](x)",
        f"Base.helper.__code__ = {DOUBLE_METHOD}.__code__",
    ),
    "a global that a helper of an object reads": ("model(x)", "scale = 2.0"),
    "a global that a property reads": ("x * model.computed", "scale = 2.0"),
    "a global that a generator reads": ("sum(x * scale for _ in [0])", "scale = 2.0"),
    "a global that an expression reads": ("eval('x * scale', globals(), {'x': x})", "scale = 2.0"),
    "a property": ("x * model.computed", "Base.computed = property(lambda self: 2.0)"),
    "an inherited method": ("model(x)", f"Base.helper = {DOUBLE_METHOD}"),
    "a method": ("model(x)", f"Inherits.helper = {DOUBLE_METHOD}"),
    "a method that overrides": ("model(x)", f"Inherits.__call__ = {DOUBLE_METHOD}"),
    "a method of one instance": ("model(x)", f"model.helper = {DOUBLE}"),
    "an attribute of self": ("model.of_instance(x)", "model.own = 2.0"),
    "an attribute of self in a list": ("models[0].of_instance(x)", "models[0].own = 2.0"),
    "an attribute of self in a generator": ("model.in_generator(x)", "model.own = 2.0"),
    "an attribute of self in a function inside": ("model.in_lambda(x)", "model.own = 2.0"),
    "an attribute of an object in a closure": (
        "functions[1](x)",
        "functions[1].__closure__[0].cell_contents.own = 2.0",
    ),
    "an attribute of a class": ("model.of_class(x)", "Base.factor = 2.0"),
    "an attribute of a class that inherits": ("model.of_class(x)", "Inherits.factor = 2.0"),
    "an attribute that hides that of a class": ("x * model.factor", "model.factor = 2.0"),
    "an attribute of an object": ("x * config.scale", "config.scale = 2.0"),
    "an attribute of an attribute": ("x * config.deep.scale", "config.deep.scale = 2.0"),
    "an attribute of a parameter": ("(lambda c: x * c.scale)(config)", "config.scale = 2.0"),
    "a number of a module": ("x * helpers.scale", "helpers.scale = 2.0"),
    "a function of a module": ("helpers.act(x)", f"helpers.act = {DOUBLE}"),
    "the code of a function of a module": ("helpers.act(x)", f"helpers.act.__code__ = {DOUBLE}.__code__"),
    "a global of a function of a module": ("helpers.act(x)", "helpers.scale = 2.0"),
    "a number of a module imported inside": ("imports(x)", "helpers.scale = 2.0"),
    "a number imported inside": ("imports_from(x)", "helpers.scale = 2.0"),
    "a function imported inside": ("imports_function(x)", f"helpers.act = {DOUBLE}"),
    "a variable of a closure in a list": ("closures[0](x)", "set_k(2.0)"),
    "a variable of a closure that was not set": ("unfilled(x)", "fill()"),
    "a global that was absent": ("calls_what_is_absent(x)", f"absent = {DOUBLE}"),
    "a builtin": ("x * abs(1.0)", "abs = lambda x: 2.0"),
}


@pytest.mark.parametrize(("expression", "change"), CHANGES.values(), ids=CHANGES)
def test_what_changes_in_the_code_that_ran_is_traced_again(expression, change, monkeypatch):
    monkeypatch.setitem(sys.modules, "helpers_of_test", types.ModuleType("helpers_of_test"))
    scope = {"__name__": "program", "traces": []}
    exec(PROGRAM, scope)
    compiled = compile(eval(f"lambda x: traces.append(1) or {expression}", scope))
    for _ in range(3):
        np.testing.assert_array_equal(compiled(X), X)
    assert scope["traces"] == [1]
    exec(change, scope)
    for _ in range(3):
        np.testing.assert_array_equal(compiled(X), 2 * X)
    assert scope["traces"] == [1, 1]


def test_a_profiler_goes_on_while_a_function_is_traced():
    seen = []
    sys.setprofile(lambda frame, event, argument: seen.append(frame.f_code.co_name))
    try:
        compile(named)(X, k=2.0)
        profiler = sys.getprofile()
    finally:
        sys.setprofile(None)
    assert "named" in seen
    assert profiler is not None


@pytest.mark.parametrize("call", [lambda f: f(X), lambda f: f.backward(X)], ids=["outputs", "backward"])
def test_data_that_changes_again_and_again_is_said_once_at_the_call(call):
    scale = 0.0
    compiled = compile(lambda x: x * scale)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for scale in range(6):  # noqa: B007
            call(compiled)
    (warning,) = caught
    assert "scale changes" in str(warning.message)
    assert "argument" in str(warning.message)
    assert warning.filename == __file__


@pytest.mark.parametrize("way", ["an argument", "a Value"])
def test_the_ways_out_of_the_warning_trace_once(way):
    scale = Value(0.0)
    traces = []
    compiled = compile(lambda x, k: traces.append(1) or x * (k if way == "an argument" else scale))
    for scale.data in (1.0, 2.0, 3.0, 4.0, 5.0):
        np.testing.assert_array_equal(compiled(X, scale.data), X * scale.data)
    assert len(traces) == 1


def test_a_function_that_is_written_anew_is_no_warning(recwarn):
    scope = {}
    exec("def act(x): return x", scope)
    compiled = compile(eval("lambda x: act(x)", scope))
    for k in range(6):
        exec(f"def act(x): return x * {k}", scope)
        np.testing.assert_array_equal(compiled(X), X * k)
    assert not recwarn.list


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
    outer = compile(lambda x: inner(x, threads=2, strict=True, block=8) + 1)
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


def test_a_column_is_named_in_the_error():
    with pytest.raises(TypeError) as caught:
        compile(lambda x, y: x - y)(X, X.reshape(3, 1))
    assert "shape (N, 1): y[:, 0] is a Value a row" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("function", "words"),
    {
        "exp": (lambda x: math.exp(x), r"write x\.exp\(\) for math\.exp"),
        "pow": (lambda x: math.pow(x, 2), r"write x \*\* y"),
        "fabs": (lambda x: math.fabs(x), r"write abs\(x\)"),
        "gamma": (lambda x: math.gamma(x), "Values have no gamma"),
        "atan2": (lambda x: math.atan2(x, 1.0), r"write x\.atan2\(y\) for math\.atan2"),
        "float": (lambda x: float(x), r"x\.exp\(\)"),
    }.values(),
    ids=["exp", "pow", "fabs", "gamma", "atan2", "float"],
)
def test_a_function_of_math_is_named_with_what_to_write(function, words):
    with pytest.raises(TracingError, match=words):
        compile(lambda x: function(x))(X)


@pytest.mark.parametrize("function", [int, lambda x: x // 1], ids=["int", "//"])
def test_a_type_error_says_that_a_value_has_no_number(function):
    with pytest.raises(TypeError) as caught:
        compile(lambda x: function(x))(X)
    assert "A Value has no number yet" in caught.value.__notes__[0]


def test_any_number_of_arguments():
    compiled = compile(lambda x, *rest, k=1.0: x * k + sum(rest))
    np.testing.assert_array_equal(compiled(X), X)
    np.testing.assert_array_equal(compiled(X, X, 2.0, k=3.0), 4 * X + 2)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(compiled))(X, X, 2.0, k=3.0), 4 * X + 2)
    with pytest.raises(TypeError, match=r"rest\[1\]"):
        compiled(X, X, "x")


@pytest.mark.parametrize(
    "function",
    [
        lambda x, *, n=3: sum(x for _ in range(n)),
        functools.partial(lambda x, n: sum(x for _ in range(n)), n=3),
        functools.partial(lambda x, n: sum(x for _ in range(n)), n=np.int64(3)),
    ],
    ids=["default", "partial", "numpy's"],
)
def test_a_whole_number_after_a_star_is_a_plain_one(function):
    compiled = compile(function)
    np.testing.assert_array_equal(compiled(X), 3 * X)
    with pytest.raises(TypeError, match=r"n is no argument.* whole number.*functools\.partial"):
        compiled(X, n=2)


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


@pytest.mark.parametrize("function", [lambda **xs: 1, lambda threads: threads])
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


@pytest.fixture(params=[random.random, np.random.rand], ids=["random", "numpy"])
def drawing_thread(request):
    """A thread that draws random numbers all the time."""
    ended = threading.Event()

    def draw():
        while not ended.is_set():
            request.param()

    thread = threading.Thread(target=draw)
    thread.start()
    yield
    ended.set()
    thread.join()


@pytest.mark.usefixtures("drawing_thread")
def test_what_other_threads_draw_is_their_own_affair():
    runs = []
    for _ in range(5):
        # Long enough for the other thread to have its turn.
        compile(lambda x: runs.append(1) or F.sum([(x * k).tanh() for k in range(5_000)]))(X)
    assert len(runs) == 5


def import_and_draw():
    import numpy as numbers

    return numbers.random.rand()  # noqa: NPY002


def import_from_and_draw():
    from numpy.random import rand

    return rand()  # noqa: NPY002


def alias_and_draw():
    module = np
    return module.random.normal()


DRAWS = {
    "random": random.random,
    "a lambda": lambda: random.random() < 2,
    "gauss, which keeps every second number": lambda: random.gauss(0.0, 1.0),
    "in a list": lambda: [random.random][0](),
    "numpy": np.random.rand,
    "numpy by its dotted name": lambda: np.random.normal(),  # noqa: NPY002
    "numpy's generator": lambda: np.random.mtrand._rand.rand(),
    "a module imported inside": import_and_draw,
    "a function imported inside": import_from_and_draw,
    "another name": alias_and_draw,
    "a Dropout": lambda: Dropout(0.5)([1.0])[0],
}


@pytest.mark.usefixtures("drawing_thread")
@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_the_draws_of_a_function_are_its_own_while_other_threads_draw(draw):
    def function(x, *, draw):
        runs.append(1)
        # Long enough for the other thread to have its turn.
        return F.sum([(x * k).tanh() for k in range(5_000)]) * draw()

    runs = []
    with pytest.raises(TracingError, match=r"argument.*another thread"):
        compile(functools.partial(function, draw=draw))(X)
    assert len(runs) == 1


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


@pytest.mark.parametrize("values", ["ab", b"ab", {0: 1.0}, {1.0}, frozenset((1.0,))], ids=repr)
def test_take_chooses_from_what_has_an_order_and_numbers(values):
    with pytest.raises(TypeError, match=f"not from a {type(values).__name__}"):
        take(values, 0)


@pytest.mark.parametrize("index", [1.0, "1", None, slice(1)], ids=repr)
def test_the_index_of_take_is_an_integer(index):
    with pytest.raises(TypeError, match="the index of take must be an integer, not "):
        take([1.0, 2.0], index)


def test_the_listing_counts_and_names():
    p = Value(2.0)
    compiled = compile(lambda x, i: take([x[0], x[1]], i).exp() * p)
    assert "not traced" in str(compiled)
    compiled(np.ones((3, 2)), np.array([0, 1, 1]))
    text = str(compiled)
    for part in ("instructions", "registers", "bytes", "flops", "take", "exp", "x[1]", "p0", "output 0"):
        assert part in text


def test_the_text_has_the_program_of_each_signature():
    compiled = compile(lambda x: x + x)
    compiled([1.0])
    compiled(2.0)
    first, second = str(compiled).split("\n\n")
    assert first.startswith("<lambda>(x: real)")
    assert second.startswith("<lambda>(x: number)")


def test_a_long_program_traces_and_says_what_it_takes():
    compiled = compile(long_program)
    with pytest.warns(RuntimeWarning, match="fastgrad.scan"):
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
    scales = collections.deque([2.0])
    compiled = compile(lambda x: x * scales[0])
    np.testing.assert_array_equal(compiled(X), 2 * X)
    scales[0] = 3.0
    compiled.forget()
    np.testing.assert_array_equal(compiled(X), 3 * X)


class Box:
    def __init__(self, thing):
        self.thing = thing


class Slotted:
    __slots__ = ("thing",)

    def __init__(self, thing):
        self.thing = thing


def read_of_own(holder):
    own = holder
    return own.thing


def table_of_values():
    return np.array([[Value(2.0), Value(1.0)]])


# What is read, how, and what changes it from 2 to 5.
CONTENTS = {
    "a list": ([2.0], lambda c: c[0], lambda c: c.__setitem__(0, 5.0)),
    "a list that grows": ([2.0], sum, lambda c: c.append(3.0)),
    "a list that was sorted": ([2.0, 5.0], lambda c: c[0], lambda c: c.sort(reverse=True)),
    "a Value in a list": ([Value(2.0)], lambda c: c[0], lambda c: c.__setitem__(0, Value(5.0))),
    "a list in a list": ([[2.0]], lambda c: c[0][0], lambda c: c[0].__setitem__(0, 5.0)),
    "a list in a tuple": (([2.0],), lambda c: c[0][0], lambda c: c[0].__setitem__(0, 5.0)),
    "a dict": ({"rate": 2.0}, lambda c: c["rate"], lambda c: c.update(rate=5.0)),
    "a dict in a dict": ({"a": {"rate": 2.0}}, lambda c: c["a"]["rate"], lambda c: c["a"].update(rate=5.0)),
    "a dict with another key": ({1: 2.0}, lambda c: sum(c.values()), lambda c: c.update({2: 3.0})),
    "a set": ({2.0}, sum, lambda c: c.add(3.0)),
    "an array": (np.array([2.0]), lambda c: c[0], lambda c: c.fill(5.0)),
    "a part of an array": (np.array([2.0, 0.0, 1.0])[::2], lambda c: c[0], lambda c: c.fill(5.0)),
    "an array of Values": (table_of_values(), lambda c: c[0, 0], lambda c: c.fill(Value(5.0))),
    "a list in an attribute": (Box([2.0]), lambda c: c.thing[0], lambda c: setattr(c, "thing", [5.0])),
    "an object in an attribute": (
        Box(Box(2.0)), lambda c: c.thing.thing, lambda c: setattr(c, "thing", Box(5.0))
    ),
    "an object in a list": (
        [Box(2.0)], lambda c: sum(each.thing for each in c), lambda c: setattr(c[0], "thing", 5.0)
    ),
    "an object at a place in a list": (
        [Box(2.0)], lambda c: c[0].thing, lambda c: setattr(c[0], "thing", 5.0)
    ),
    "an object in a dict": ({"a": Box(2.0)}, lambda c: c["a"].thing, lambda c: setattr(c["a"], "thing", 5.0)),
    "an object of an object in a list": (
        [Box(Box(2.0))], lambda c: c[0].thing.thing, lambda c: setattr(c[0].thing, "thing", 5.0)
    ),
    "a slot of an object in a list": (
        [Slotted(2.0)], lambda c: c[0].thing, lambda c: setattr(c[0], "thing", 5.0)
    ),
    "an attribute named by a text": (
        Box(2.0), lambda c: getattr(c, "thing", 1.0), lambda c: setattr(c, "thing", 5.0)
    ),
    "a dict of attributes": (Box(2.0), lambda c: vars(c)["thing"], lambda c: setattr(c, "thing", 5.0)),
    "a variable of its own": (Box(2.0), read_of_own, lambda c: setattr(c, "thing", 5.0)),
    "a slot": (Slotted(2.0), lambda c: c.thing, lambda c: setattr(c, "thing", 5.0)),
    "a list in a slot": (Slotted([2.0]), lambda c: c.thing[0], lambda c: c.thing.__setitem__(0, 5.0)),
}  # fmt: skip


@pytest.mark.parametrize(("thing", "read", "change"), CONTENTS.values(), ids=CONTENTS)
def test_other_contents_are_noticed(thing, read, change):
    thing = copy.deepcopy(thing)
    runs = []

    def function(x):
        runs.append(1)
        return x * read(thing)

    compiled = compile(function)
    for _ in range(3):
        np.testing.assert_array_equal(compiled(X), 2 * X)
    assert len(runs) == 1
    change(thing)
    for _ in range(3):
        np.testing.assert_array_equal(compiled(X), 5 * X)
    assert len(runs) == 2


class OddList(list):
    def __iter__(self):
        raise RuntimeError("nobody asks for it")

    __len__ = __iter__


class OddDict(dict):
    def values(self):
        raise RuntimeError("nobody asks for it")

    items = values


@pytest.mark.parametrize("thing", [OddList([2.0]), OddDict({0: 2.0})])
def test_a_container_of_a_class_of_ones_own_is_looked_at_as_one_of_pythons(thing):
    compiled = compile(lambda x: x * thing[0])
    np.testing.assert_array_equal(compiled(X), 2 * X)
    thing[0] = 5.0
    np.testing.assert_array_equal(compiled(X), 5 * X)


def test_what_the_function_keeps_is_no_change():
    class Model:
        def __init__(self):
            self.seen, self.last = [], []

        def __call__(self, x):
            self.seen.append(x)
            self.last = [2 * x]
            return self.last[0] + 1

    model = Model()
    compiled = compile(model)
    for _ in range(3):
        compiled(X)
    assert len(model.seen) == 1


class Cell:
    """Keeps the last result, and returns it from its attribute."""

    h = None

    def __call__(self, x):
        self.h = 3 * (x[0] if isinstance(x, list) else x)
        return self.result() + 1

    def result(self):
        return self.h


def test_a_result_that_is_kept_in_an_attribute_is_no_change(recwarn):
    cell, runs = Cell(), []
    cell(Value(1.0))

    def function(x):
        runs.append(1)
        return cell(x)

    compiled = compile(function)
    for rows in (X, X[:, None]) * 3:
        np.testing.assert_array_equal(compiled(rows), 3 * X + 1)
    # One trace for each kind of arguments.
    assert len(runs) == 2
    assert not recwarn.list


def test_a_warning_names_the_container_that_changes():
    rates = [0.1]
    compiled = compile(lambda x: x * rates[0])
    for step in range(3):
        rates[0] = 0.1 * step
        compiled(X)
    rates[0] = 0.7
    with pytest.warns(RuntimeWarning, match="what is in rates"):
        compiled(X)


def test_an_array_may_be_resized_after_the_trace():
    numbers = np.array([2.0, 3.0])
    compiled = compile(lambda x: x * numbers[0])
    compiled(X)
    numbers.resize(100_000, refcheck=False)
    numbers[0] = 5.0
    np.testing.assert_array_equal(compiled(X), 5 * X)


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
    assert "inner 0 + 3 products: p0, p1, p1, p1, p0, 1" in text
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


def test_a_name_deleted_since_the_trace_raises_name_error():
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
    def function(x):
        with pytest.raises(RuntimeError, match="another function"):
            engine._traced("function", lambda: None)
        return x

    np.testing.assert_array_equal(compile(function)(X), X)


def test_options_may_be_given_to_the_decorator():
    @compile(strict=True)
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


@pytest.mark.parametrize(
    "function", [lambda x: F.dot(x, [x]), lambda x: F.logsumexp(x), lambda x: F.mse_loss(x, [x])]
)
def test_a_value_in_the_place_of_a_list_is_called_one(function):
    with pytest.raises(TypeError, match="needs a list of Values or numbers, not a Value"):
        compile(function)(X)
