"""Every name that tab completion offers, called with anything, raises or works, and ends no process."""

import array
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastgrad
from fastgrad import Value, engine, nn
from fastgrad.compiler import arguments, graph, program, replay, watch

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "surface.py"
MODULES = ["fastgrad", *(found.name for found in pkgutil.walk_packages(fastgrad.__path__, "fastgrad."))]


def traced():
    """A program of two arguments, and arguments ready for it."""
    compiled = fastgrad.compile(lambda x, y: x * y)
    compiled([1.0, 2.0], 3.0)
    return compiled.latest, compiled._find(([1.0, 2.0], 3.0), compiled.names)[1]


@pytest.mark.processes
@pytest.mark.parametrize("name", MODULES)
def test_every_callable_of_a_module_raises_or_works(name, tmp_path):
    package, _, last = name.rpartition(".")
    if package.endswith(".kernels") and last not in replay.available_kernels():
        pytest.skip("this processor has not its instructions")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name} is not installed")
    log = tmp_path / "log"
    log.write_bytes(bytes(2000))
    finished = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(SCRIPT), name, str(log)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, log.read_bytes().decode().strip("\0 ") + "\n" + finished.stderr


@pytest.mark.parametrize("threads", [0, -1])
@pytest.mark.parametrize("name", ["outputs", "backward", "input_gradients"])
def test_a_program_needs_a_thread(name, threads):
    made, ready = traced()
    with pytest.raises(ValueError, match=f"threads must be at least 1, not {threads}"):
        getattr(made, name)(ready, threads, 0)


def test_a_compiled_functions_number_of_threads_is_looked_at_when_it_runs():
    compiled = fastgrad.compile(lambda x: x * 2.0)
    compiled([1.0])
    compiled.threads = 0
    with pytest.raises(ValueError, match="threads must be at least 1"):
        compiled([1.0])


@pytest.mark.parametrize("kind", [graph.Graph, program.Program])
def test_there_is_no_program_without_its_parts(kind):
    with pytest.raises(TypeError):
        kind.__new__(kind)


def test_what_a_program_was_saved_as_is_not_what_it_runs():
    made, ready = traced()
    before = made.outputs(ready, 1, 0).tolist()
    _, (saved,) = made.__reduce__()
    saved["leaves"][:] = [(10**8, 0)] * 9
    saved["constants"].clear()
    saved["outputs"].append(10**8)
    assert made.outputs(ready, 1, 0).tolist() == before


def test_what_a_graph_was_made_of_cannot_be_changed():
    w, leaves = Value(2.0), [[-1, 0]]
    record = array.array("i", [0, 0, 0]).tobytes()
    made = graph.Graph(record, b"", [], (w,), leaves, [], [0], True)
    leaves[0][1] = 10**8
    assert program.Program(made, (), (), "name", True).outputs([], 1, 0) == 2.0


def test_a_second_init_changes_nothing():
    made, ready = traced()
    before = made.outputs(ready, 1, 0).tolist()
    record = array.array("i", [0, 0, 0]).tobytes()
    other = graph.Graph(record, b"", [], (Value(2.0),), [(-1, 0)], [], [0], True)
    made.__init__(other, (), (), "name", True)
    assert made.outputs(ready, 1, 0).tolist() == before


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (engine._flattened, ([3], int)),
        (engine._layer_forward, (nn.Layer(1, 1), int, [1.0])),
        (engine._forward, ([None], type(None), None, [1.0])),
        (engine._forward, ([[]], None, list, [1.0])),
    ],
)
def test_the_class_of_neurons_and_layers_is_one_of_them(function, arguments):
    with pytest.raises(TypeError, match="is no class of such"):
        function(*arguments)


@pytest.mark.parametrize("function", [engine._graph_order, engine._read_graph])
@pytest.mark.parametrize("nodes", [[None], [3], [Value(1.0), "exp"]])
def test_a_graph_is_of_values(function, nodes):
    with pytest.raises(TypeError, match="a node is a Value, not"):
        function(nodes)


def test_a_graph_is_read_in_a_trace_only():
    with pytest.raises(RuntimeError, match="at the end of a trace"):
        engine._read_graph([Value(1.0)])


def test_arguments_need_as_many_names():
    with pytest.raises(TypeError, match="1 arguments for the names"):
        arguments.prepare_arguments((1.0,), ())


@pytest.mark.parametrize(
    "entries",
    [
        ([()], [], [], []),
        ([], [({}, "name")], [], []),
        ([], [], [(len, None)], []),
        ([], [], [], [[]]),
    ],
)
def test_a_snapshot_is_of_cells_names_functions_and_contents(entries):
    with pytest.raises(ValueError, match="triples of cells and names"):
        watch.Snapshot(*entries)


@pytest.mark.parametrize("thing", [1, "text", (1, 2), b"bytes"])
def test_contents_are_those_of_a_container(thing):
    with pytest.raises(TypeError, match="contents are a container's"):
        watch.Contents(thing)


@pytest.mark.parametrize("name", ["Extras", "GraphReader", "Rows"])
def test_what_the_engine_alone_uses_has_no_name(name):
    assert not hasattr(engine, name)
