"""Call everything in a module of fastgrad (`surface.py MODULE LOG`) with unexpected arguments.

Each call is written to the log before it is made, so that the log names the call that ends the process. At
the end the names of everything called are printed, one a line.
"""

import array
import contextlib
import importlib
import inspect
import io
import itertools
import mmap
import random
import sys
import types
import webbrowser

import fastgrad
from fastgrad import Value, engine, nn
from fastgrad.compiler.graph import Graph
from fastgrad.derivatives.custom import Rule, custom_jvp

# Other tests look at what these show.
webbrowser.open = lambda *arguments, **options: False

LINE = 2000
# Random lists of so many arguments or, of methods, of more than one.
TRIES = 60
MOST_ARGUMENTS = 7
# These are made to end, or to change, the process that calls them, or to go on for as long as they are told.
LEFT_OUT = (
    "fastgrad.commands.demo.watch_moons",
    "fastgrad.commands.race.race",
    "fastgrad.commands.run.install_alias",
    "fastgrad.commands.run.run_script",
)


class Log:
    """Write down the next call, to be read if the process ends."""

    def __init__(self, path):
        with open(path, "r+b") as file:  # noqa: PTH123
            self.memory = mmap.mmap(file.fileno(), LINE)

    def note(self, text):
        self.memory[:] = text.encode("ascii", "replace")[:LINE].ljust(LINE)


def plain():
    """Python's own objects of many types, some of them empty."""
    return [None, 0, -1, 1, 1.5, "", "exp", b"", b"12345678" * 3, (), [], {}, [3], (None,), [None],
            [0.5], {"params": [None]}, array.array("d", [1.0, 2.0]), object(), int, type(None), Value,
            len]  # fmt: skip


def parts_of_graph(leaf):
    """The arguments of a graph of one parameter."""
    return array.array("i", [0, 0, 0]).tobytes(), b"", [], (leaf,), [(-1, 0)], [], [0], True


def step_graph():
    """The graph of a step that leaves its state."""
    return Graph(array.array("i", [0, 0, 0]).tobytes(), b"", [], (), [(-2, 0)], [], [0], True, (), (0, 1, 0))


def whole():
    """Valid objects of fastgrad; no call may damage them."""
    w = Value(2.0)
    custom, local = Value(3.0, (w,), "custom"), Value(4.0, (w, w), (1.0, 2.0))

    def function(x, i):
        state, _ = fastgrad.scan(lambda s, each: (s * each + x, None), x, [w, 2.0, x])
        return fastgrad.take([w * x, state, w], i).tanh()

    compiled = fastgrad.compile(function)
    compiled.backward([1.0, 2.0], [0, 2])
    graph = Graph(*parts_of_graph(w))
    mlp = nn.MLP(2, [2, 1])
    return [w, w * 3.0, custom, local, engine._dot([w], [w]), compiled, compiled.latest, graph,
            compiled.snapshot, mlp, mlp.layers[0], mlp.layers[0].neurons[0],
            engine._Matrix([[w, w]])]  # fmt: skip


def sound_calls():
    """Arguments that are accepted, by the name of what takes three or more."""
    w, x = Value(2.0), Value(3.0)
    mlp = nn.MLP(2, [2, 1])
    compiled = fastgrad.compile(lambda x, y: w * x - y)
    compiled([1.0, 2.0], 3.0)
    _, ready, _ = compiled._find(([1.0, 2.0], 3.0), compiled.names)
    graph = Graph(*parts_of_graph(w))
    group = {"params": [w, x], "lr": 0.1, "momentum": 0.9, "dampening": 0.0, "weight_decay": 0.1,
             "nesterov": False, "maximize": False, "betas": (0.9, 0.99), "eps": 1e-8}  # fmt: skip
    zeros = [array.array("d", [0.0, 0.0]) for _ in range(3)]
    return {
        "fastgrad.engine.Value": (1.0, (w, x), (1.0, 2.0), "label"),
        "fastgrad.engine.Value.__init__": (1.0, (w, x), (1.0, 2.0), "label"),
        "fastgrad.engine._put_together": (Value, "mul", 0, 6.0, 0.0, (w, x), None),
        "fastgrad.engine._captured": ([w * x], (w,), w, x),
        "fastgrad.engine._chain_rule": ([w * x], [1.0], [w], lambda name: (1, 0), list, None),
        "fastgrad.engine._described": (1, 0.0, -1.0),
        "fastgrad.engine._given": (6.0, (w, x), (3.0, w), Rule(custom_jvp(len), (None, None))),
        "fastgrad.engine._number_of": ("where", 1.0, 2.0, 3.0),
        "fastgrad.engine._operate": ("where", w, 2.0, x),
        "fastgrad.engine._read_graph": ([w], [w], set()),
        "fastgrad.engine._refuse": (1, 0.0, -1.0),
        "fastgrad.engine._set_extras": (w, "label", "symbol", {"name": 1}),
        "fastgrad.engine._traced": ("name", len, [w]),
        "fastgrad.functional.dot": ([w, x], [x, w], w, "tanh"),
        "fastgrad.engine._forward": (mlp.layers, nn.Layer, nn.Neuron, [1.0, 2.0]),
        "fastgrad.engine._layer_forward": (mlp.layers[0], nn.Neuron, [1.0, 2.0]),
        "fastgrad.functional.linear": ([w, x], [[w, x]], [w], "tanh"),
        "fastgrad.compiler.graph.Graph": parts_of_graph(w),
        "fastgrad.compiler.graph.Input": (0, 0, 0, 0, 1),
        "fastgrad.compiler.graph.Loop": (step_graph(), "step", 3, 1, 0, ()),
        "fastgrad.scan": (lambda s, each: (s, None), 1.0, [1.0], 1, False),
        "fastgrad.while_loop": (lambda s: -1.0, lambda s: s, 1.0, 1),
        "fastgrad.compiler.program.Program": (graph, (), (), "name", True),
        "fastgrad.compiler.arguments.prepare_arguments": (([1.0], 2.0), ("x", "y"), ("x",)),
        "fastgrad.compiler.arguments.prepare_numbers": ([1.0], "x", True),
        "fastgrad.compiler.program.Program.backward": (ready, 2, 1),
        "fastgrad.compiler.program.Program.derived": (("tangent", ((0, 0),)), (0,)),
        "fastgrad.compiler.program.Program.fill": (ready, 2, 1, [()], [zeros[0]]),
        "fastgrad.compiler.program.Program.hessian_by_columns": (ready, 2, 1, 1.0, ((1, 0),), [(1, 1)], None),
        "fastgrad.compiler.program.Program.reduced": (ready, 2, 1, 1.0, ((1, 0), (-1, 0)), [(2,)], None),
        "fastgrad.compiler.program.Program.sums": (ready, 2, 1, 1.0, [()], [None]),
        "fastgrad.compiler.program.gradients_by_passes": (
            compiled.latest,
            ready,
            2,
            1,
            (((1, 0), (-1, 0)), ((0, 0),)),
            True,
            [(), (2,), (1,)],
            None,
        ),
        "fastgrad.compiler.program.hessian_by_passes": (
            compiled.latest,
            ready,
            2,
            1,
            ((1, 0), (-1, 0)),
            [(2, 2)],
            None,
        ),
        "fastgrad.compiler.program.sums_by_passes": (
            compiled.latest,
            ready,
            2,
            1,
            1.0,
            (((1, 0),), ((-1, 0),)),
            True,
            [(), (1,), (1,)],
            None,
        ),
        "fastgrad.compiler.program.Program.input_gradients": (ready, 2, 1),
        "fastgrad.compiler.program.Program.outputs": (ready, 2, 1),
        "fastgrad.optim.updates.adam": (group, zeros[1], zeros[2], 1, True),
        "fastgrad.optim.updates.sgd": (group, zeros[0], True),
    }


def fresh(kind):
    """An instance that no __init__ has seen, None if there is none."""
    try:
        return kind.__new__(kind)
    except Exception:
        return None


def is_ours(thing):
    return (getattr(thing, "__module__", None) or "").partition(".")[0] == "fastgrad"


def classes_of(module):
    return [found for _, found in inspect.getmembers(module, inspect.isclass) if is_ours(found)]


def members(thing):
    """The names that tab completion offers, without those that any object has."""
    for name in dir(thing):
        if name != "__class__" and getattr(type(thing), name, None) is not getattr(object, name, name):
            yield name


def operands(function):
    """How many arguments a function takes by position, 0 if that cannot be found out."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 0
    return sum(parameter.kind is not parameter.KEYWORD_ONLY for parameter in parameters)


def argument_lists(objects, sound, all_pairs):
    """Lists of arguments: the short ones, some of the longer ones, and sound ones with one or two others."""
    draw = random.Random(1)
    for count in range(3 if all_pairs else 2):
        yield from itertools.product(objects, repeat=count)
    for count in range(2, MOST_ARGUMENTS + 1):
        for _ in range(TRIES):
            yield tuple(draw.choices(objects, k=count))
    for position, found in itertools.product(range(len(sound)), objects):
        changed = list(sound)
        changed[position] = found
        yield tuple(changed)
        changed[draw.randrange(len(sound))] = draw.choice(objects)
        yield tuple(changed)


def shown(value):
    """An argument in a line of the log: no method of what may be half made."""
    return repr(value) if isinstance(value, (str, bytes, int, float)) else f"<{type(value).__name__}>"


def attempt(function, *arguments):
    """Call it; it may raise anything."""
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            result = function(*arguments)
            if isinstance(result, types.GeneratorType):
                list(itertools.islice(result, 10))
            repr(result)
    except BaseException:
        pass


class Surface:
    """The calls of one module."""

    def __init__(self, module, log):
        self.module = module
        self.log = log
        self.classes = dict.fromkeys([*classes_of(engine), *classes_of(module)])

    def objects(self):
        return [*plain(), *filter(lambda one: one is not None, map(fresh, self.classes)), *whole()]

    def call(self, name, function, all_pairs):
        print(name)
        sound = sound_calls().get(name, ())
        compiled = type(function).__name__ == "cython_function_or_method"
        assert sound or not compiled or operands(function) < 3, f"{name} takes three: what would be sound?"
        for arguments in argument_lists(self.objects(), sound, all_pairs):
            self.log.note(f"{name}({', '.join(map(shown, arguments))})")
            attempt(function, *arguments)

    def visit(self, kind, thing):
        """Read, call, set and delete every attribute of an object."""
        for name in members(thing):
            full = f"{kind.__module__}.{kind.__qualname__}.{name}"
            self.log.note(f"reading {full}")
            try:
                found = getattr(thing, name)
            except Exception:
                found = None
            if callable(found):
                self.call(full, found, all_pairs=False)
            for value in self.objects():
                self.log.note(f"{full} = {shown(value)}")
                attempt(setattr, thing, name, value)
            self.log.note(f"del {full}")
            attempt(delattr, thing, name)

    def run(self):
        for name, found in inspect.getmembers(self.module, lambda found: callable(found) and is_ours(found)):
            full = f"{self.module.__name__}.{name}"
            if found.__module__ == self.module.__name__ and full not in LEFT_OUT:
                self.call(full, found, all_pairs=True)
        for kind in classes_of(self.module):
            if kind.__module__ == self.module.__name__:
                for thing in [fresh(kind), *whole()]:
                    if type(thing) is kind:
                        self.visit(kind, thing)
                        self.log.note(f"freeing a {kind.__qualname__}")
                        del thing
        self.log.note("the end")
        if hasattr(engine, "_check_invariants"):
            engine._check_invariants()


if __name__ == "__main__":
    Surface(importlib.import_module(sys.argv[1]), Log(sys.argv[2])).run()
