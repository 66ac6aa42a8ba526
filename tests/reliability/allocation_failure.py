"""Make every allocation of a scenario fail in turn.

    python tests/reliability/allocation_failure.py [--every N] [--only NAME]

Each attempt lets one allocation of raw memory or of a Python object fail, or that one and all that
follow. It must end in the result or in a MemoryError; after an error nothing has changed, no node is
left, and the same work succeeds. Prints the number of attempts and of errors of each scenario.

Where most of the work is Python code, only raw memory fails, which is the engine's and the programs':
CPython 3.11 to 3.13 itself crashes when a generator, a closure or the clearing of weak references has
no memory. Needs a C compiler for failing_allocator.c. If the engine was built with FASTGRAD_ASSERTIONS=1, the
allocation of the pool's arenas fails as well.
"""

import argparse
import array
import copy
import gc
import importlib.util
import pickle
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

# Without numpy, which has allocators and bugs of its own: every failure is then fastgrad's.
sys.modules["numpy"] = None

from fastgrad import Value, compile, engine, grad, nn, optim, saving, scan, take  # noqa: A004, E402
from fastgrad.derivatives import custom_jvp  # noqa: E402
from fastgrad.engine import _pool_statistics  # noqa: E402

MOST_ATTEMPTS = 100_000
# Until 3.12 CPython itself loses the arguments of a call whose frame has no memory.
PYTHON_LOSES_NONE = sys.version_info >= (3, 13)
DIRECTORY = tempfile.TemporaryDirectory()


def load_allocator():
    """Compile failing_allocator.c and import it."""
    library = Path(DIRECTORY.name) / f"failing_allocator{sysconfig.get_config_var('EXT_SUFFIX')}"
    source = Path(__file__).with_name("failing_allocator.c")
    compiler = sysconfig.get_config_var("CC").split()
    include = f"-I{sysconfig.get_paths()['include']}"
    subprocess.run([*compiler, "-shared", "-fPIC", "-O1", include, source, "-o", library], check=True)
    specification = importlib.util.spec_from_file_location("failing_allocator", library)
    return importlib.util.module_from_spec(specification)


allocator = load_allocator()


class Sub(Value):
    pass


class Record:
    """A prepared scenario: the work, and the Values that it changes as a whole or not at all.

    If Python code takes part in backward(), the gradients may have been added up in part.
    """

    def __init__(self, work, *values, partial=False, objects=True):
        self.work = work
        self.values = values
        self.partial = partial
        self.objects = objects

    def state(self):
        return [(value.data, value.grad, value.label, value._op) for value in self.values]


def leaves(count=3):
    values = [Value(0.5 + index) for index in range(count)]
    for value in values:
        value.grad = 0.25
    return values


def nothing():
    """A rule that allocates nothing: if a rule itself fails, backward() is done in part."""


# The engine.


def arithmetic():
    a, b, c = leaves()

    def work():
        out = ((a * b + 2) / c - 1.5 * b**2).tanh() + (a.exp() - b.relu()).sigmoid() ** a
        out.backward()

    return Record(work, a, b, c)


def arenas():
    """More nodes than there is room for in the arenas that are open."""
    x = Value(1.0)
    filler = x
    for _ in range(62 * _pool_statistics()["chunks_free"]):
        filler = filler + 1.0

    def work():
        out = filler
        for _ in range(200):
            out = out * 1.0
        return out.data - filler.data

    return Record(work, x)


def layers():
    values = leaves(8)

    def work():
        hidden = engine._linear(values[:2], [values[2:4], values[4:6]], values[6:], "tanh")
        out = engine._reduce("logsumexp", [*hidden, engine._dot(hidden, hidden)])
        out = out + sum(engine._softmax(hidden)) + engine.apply("where", values[0], hidden[0], 2.0)
        out.backward()

    return Record(work, *values)


def attributes():
    a, b, _ = leaves()

    def work():
        out = Sub(1.0, (a, b), (2.0, 3.0)) * Value(2.0, (a,), "mine") * Value(1.0, [b], (1.0,), "label")
        out.label = "out"
        out.note = ["a", "note"]
        vars(out)["other"] = 1
        return out.label, out.note, out._op, repr(out), len(out._prev), vars(out)

    return Record(work, a, b)


def construction():
    """A node older than its operands is given them, a symbol and a label, or is as it was."""
    fresh = Value.__new__(Value)
    a, b, _ = leaves()

    def work():
        fresh.__init__(2.0, (a, b), "mine", "label")

    return Record(work, fresh, a, b)


def inspection():
    """The first look at a node replaces it by several; without memory it stays as it is."""
    a, b, c = leaves()
    out = engine._dot([a, b], [c, a], b, "tanh") - a / b + (3 - c)

    def work():
        waiting = [out]
        while waiting:
            node = waiting.pop()
            waiting.extend(node._children)
        out.backward()

    return Record(work, a, b, c, partial=True)


def closures():
    a, b, _ = leaves()

    def work():
        out = Value(a.data * b.data, (a, b), "mine")
        out._backward = nothing
        loss = out * 2 + Sub(1.0, (a,), (1.0,))
        return loss.data, out._op

    return Record(work, a, b)


@custom_jvp
def own(a):
    return a.tanh()


own.defjvps(lambda t, ans, a: t * (1.0 - ans * ans))


def derivatives():
    """Nodes given by derivatives that are Values or a rule, and the walk of grad through them."""
    a, b, _ = leaves()

    def work():
        out = Value(a * b, (a, b), (b * 1.0, 2.0)) * own(a) + Sub(1.0, (a,), (b,))
        return [each.data for each in grad(grad(out, a), [a, b])]

    return Record(work, a, b, objects=False)


def ordered():
    """A backward pass ordered by depth-first search; the rules allocate nothing."""
    a, b, c = leaves()
    hook = a * b
    hook._backward = nothing
    out = Sub(0.0, (hook,), (1.0,)) * c
    for _ in range(100):
        out = out + hook
    out.grad = 5.0

    return Record(out.backward, a, b, c, hook, partial=True)


def copies():
    a, b, _ = leaves()
    out = engine._dot([a, b], [b, a]) * Sub(1.0, (a,), (2.0,)) + Value(1.0, (b,), "mine")
    out.note = [1, 2]

    def work():
        first, second = copy.deepcopy(out), pickle.loads(pickle.dumps(out))
        shallow = copy.copy(a)
        return first.data, first.note, second.data, second.note, shallow.data

    return Record(work, a, b, objects=False)


# Modules, optimizers, files.


def modules():
    model = nn.MLP(2, [3, 1], activation="tanh")
    for index, parameter in enumerate(model.parameters()):
        parameter.data = 0.1 * index

    def work():
        loss = model([1.0, Value(2.0)]) ** 2
        loss.backward()

    return Record(work, *model.parameters())


def optimizer(make):
    def scenario():
        values = leaves()
        steps = make(values)
        return Record(steps.step, *values)

    return scenario


def states():
    model = nn.MLP(2, [2])
    for parameter in model.parameters():
        parameter.data = 1.0
    path = Path(DIRECTORY.name) / "state.json"
    saving.save(dict.fromkeys(model.state_dict(), 2.0), path)

    def work():
        saving.load(path, model)

    return Record(work, *model.parameters(), objects=False)


# Compiled programs.


def function_of(a, b, c, loops=True):
    def function(x, i):
        hidden = engine._linear(x, [[a, b], [b, c]], [c, a], "tanh")
        if loops:
            state, ys = scan(lambda s, each: ((s * c + each).tanh(), s * a), x[0], x)
            hidden += [state, scan(lambda s, each: (s + each * b, None), 0.0, ys)[0]]
        return engine._reduce("logsumexp", [*hidden, x[0] * b]) + take([a, b * x[1], x[0]], i) ** 2

    return function


ROWS = [[0.5, 1.0], [1.5, -1.0], [0.25, 2.0]]


def tracing():
    a, b, c = leaves()

    def work():
        compiled = compile(function_of(a, b, c))
        return compiled(ROWS, [0, 1, 2]).tolist()

    return Record(work, a, b, c, objects=False)


def reading():
    """The engine's part of tracing."""
    a, b, c = leaves()
    out = function_of(a, b, c)([Value(1.0), Value(2.0)], 1)

    def work():
        records, operands, constants, *_ = engine._traced("reading", engine._read_graph, [out])
        return records, operands, constants

    return Record(work, a, b, c)


def program_of(call, loops=True):
    def scenario():
        a, b, c = leaves()
        compiled = compile(function_of(a, b, c, loops))
        compiled(ROWS, [0, 1, 2])
        in_python = call in (list_instructions, pickle_program)
        return Record(lambda: call(compiled), a, b, c, objects=not in_python)

    return scenario


def run_backward(compiled):
    compiled.backward(ROWS, [0, 1, 2])


# Enough rows for two parts.
MANY_ROWS = memoryview(array.array("d", [0.5] * 20_000)).cast("B").cast("d", (10_000, 2))
MANY_INDICES = array.array("q", [1] * 10_000)


def run_in_threads(compiled):
    compiled.backward(MANY_ROWS, MANY_INDICES, threads=2)


def run_everything_else(compiled):
    gradient = compiled.input_gradients(ROWS, [0, 1, 2])[0]
    return gradient.tolist(), compiled(ROWS, [2, 1, 0], strict=True).tolist()


def list_instructions(compiled):
    """Not the function's own listing, which has source lines: without memory, sys.settrace() of CPython 3.12
    and later leaves the interpreter tracing.
    """
    return str(compiled.latest)


def differentiate(compiled):
    """Programs of derivatives are made, and run, by rows and reduced."""
    calls = ROWS, [0, 1, 2]
    value, slopes = compiled.value_and_grad(*calls, argnums=(0, "parameters"))
    found = [value, *slopes, compiled.hessian(*calls), compiled.hvp(*calls, tangents=ROWS)]
    options = {"argnums": "parameters", "reduction": "mean", "row_weights": [1.0, 2.0, 0.5]}
    found += [compiled.jacobian(*calls, **options), compiled.hessian(*calls, **options)]
    found += [compiled.hvp(*calls, tangents=[1.0, 2.0, 3.0], **options), compiled.get_parameters()]
    return [each.tolist() for each in found]


def pickle_program(compiled):
    return pickle.loads(pickle.dumps(compiled.latest)).name


SCENARIOS = {
    function.__name__: function
    for function in (
        arithmetic,
        arenas,
        layers,
        attributes,
        construction,
        inspection,
        closures,
        derivatives,
        ordered,
        copies,
        modules,
        states,
        tracing,
        reading,
    )
} | {
    function.__name__: program_of(function)
    for function in (
        run_backward,
        run_in_threads,
        run_everything_else,
        list_instructions,
        differentiate,
        pickle_program,
    )
}
SCENARIOS["differentiate_without_loops"] = program_of(differentiate, loops=False)
SCENARIOS["sgd"] = optimizer(lambda values: optim.SGD(values, lr=0.1, momentum=0.9, dampening=0.5))
SCENARIOS["adamw"] = optimizer(lambda values: optim.AdamW(values, lr=0.1))


def counters():
    gc.collect()
    statistics = _pool_statistics()
    return statistics["nodes"], statistics["irregular"]


def is_pythons(error):
    """Whether Python's library, and not fastgrad, raised another error than MemoryError."""
    if isinstance(error, pickle.PicklingError):
        return True
    if isinstance(error, SystemError) and "Missing frame when calling profile function" in str(error):
        # CPython 3.13 had no memory for the frame that it shows to a profile function.
        return True
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    where = trace.tb_frame.f_code.co_filename
    return where != __file__ and "fastgrad" not in where


def run(record, number, last):
    """Do the work with allocations from `number` to `last` failing; return (result, failed)."""
    try:
        allocator.arm(number, last, record.objects)
        try:
            result = record.work()
        finally:
            allocator.disarm()
    except MemoryError:
        return None, True
    except Exception as error:
        if is_pythons(error):
            return None, True
        raise
    return result, False


def attempt(scenario, number, last, expected):
    """Return whether the attempt ended in an error; if so, check that the work succeeds afterwards."""
    record = scenario()
    state = record.state()
    result, failed = run(record, number, last)
    if failed and record.partial:
        assert record.work() == expected[0]
        return True
    if failed:
        assert record.state() == state, f"an error has changed {state} to {record.state()}"
        result = record.work()
    assert (result, record.state()) == expected
    return failed


def succeeded(scenario):
    record = scenario()
    return record.work(), record.state()


def check(scenario, every):
    """Return the numbers of attempts and of errors."""
    attempts = errors = 0
    for _ in range(3):
        expected = succeeded(scenario)
    before = counters()
    for number in range(0, MOST_ATTEMPTS, every):
        for last in (number, -1):
            try:
                failed = attempt(scenario, number, last, expected)
                now = counters()
                assert now == before or not PYTHON_LOSES_NONE, f"{before} nodes have become {now}"
            except Exception as error:
                raise AssertionError(
                    f"allocation {number}{' and all later ones' if last < 0 else ''}"
                ) from error
            attempts += 1
            errors += failed
        if not failed:
            return attempts, errors
    raise AssertionError("there is no end of allocations")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1, help="try only every so many allocations")
    parser.add_argument("--only", choices=SCENARIOS, help="one scenario")
    options = parser.parse_args()
    for name in [options.only] if options.only else SCENARIOS:
        attempts, errors = check(SCENARIOS[name], options.every)
        print(f"{name}: {attempts} attempts, {errors} errors", flush=True)


if __name__ == "__main__":
    main()
