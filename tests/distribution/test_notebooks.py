"""The example notebooks run from top to bottom, and come with the outputs of such a run.

docs/execute_notebooks.py stores the outputs; here the notebooks run, and the outputs must be the stored ones.
"""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastgrad

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NOTEBOOKS = ("moons", "backprop")
each_notebook = pytest.mark.parametrize("name", NOTEBOOKS)

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A function that runs a notebook in a kernel of its own, once, and returns it with its outputs."""
    done = {}
    paths = [str(Path(fastgrad.__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    # The kernel shows figures in the notebook unless it is told otherwise.
    environment.pop("MPLBACKEND", None)
    # Matplotlib keeps a list of fonts in the user's cache, and warns in the notebook where that list is
    # damaged (a process that ended too early wrote it) or takes long to make. So the list is made here.
    environment["MPLCONFIGDIR"] = str(tmp_path_factory.mktemp("matplotlib"))
    subprocess.run(
        [sys.executable, "-c", "import matplotlib.font_manager"], env=environment, capture_output=True
    )

    def run(name):
        if name not in done:
            notebook = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)
            client = nbclient.NotebookClient(
                notebook, timeout=1800, resources={"metadata": {"path": str(tmp_path_factory.mktemp(name))}}
            )
            done[name] = client.execute(env=environment)
        return done[name]

    return run


def outputs_of(notebook):
    """The outputs of all cells, in order."""
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def printed(notebook):
    """All text that the cells print or show; what one cell prints may come in several outputs."""
    return "".join(
        output.get("text") or output.get("data", {}).get("text/plain", "") + "\n"
        for output in outputs_of(notebook)
    )


def pictures(notebook):
    """The kinds of the pictures, in order."""
    return [
        kind
        for output in outputs_of(notebook)
        for kind in output.get("data", {})
        if kind.startswith("image/")
    ]


@each_notebook
def test_notebook_is_valid_and_was_run_from_top_to_bottom(name):
    notebook = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert "%pip install" in code[0].source
    assert all(output.output_type != "error" for output in outputs_of(notebook))


TIME = re.compile(r"[0-9.]+ ms a step")
NUMBER = re.compile(r"(-?\d+(?:\.\d+)?(?:e[-+]?\d+)?)")


def graphs(notebook):
    """How many pages are shown, and how many of them have a picture for readers without scripts."""
    data = [output.get("data", {}) for output in outputs_of(notebook)]
    return sum("<iframe" in each.get("text/html", "") for each in data), sum(
        "image/svg+xml" in each for each in data
    )


@pytest.mark.processes
@each_notebook
def test_what_is_stored_is_what_was_seen(name, executed):
    stored = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)
    assert graphs(stored) == graphs(executed(name))
    if "PyTorch is not installed" in printed(executed(name)):
        pytest.skip("torch is not installed")
    before, now = (NUMBER.split(TIME.sub("", printed(notebook))) for notebook in (stored, executed(name)))
    assert before[::2] == now[::2]
    assert list(map(float, now[1::2])) == pytest.approx(list(map(float, before[1::2])), rel=1e-3, abs=1e-6)


@each_notebook
def test_notebook_is_stored_as_an_editor_would_store_it(name):
    text = (EXAMPLES / f"{name}.ipynb").read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), indent=1, ensure_ascii=False) + "\n"


@pytest.mark.processes
@each_notebook
def test_notebook_runs_without_error_or_warning(name, executed):
    outputs = outputs_of(executed(name))
    assert [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"] == []


@pytest.mark.processes
def test_moons_ends_like_micrograds_demo(executed):
    text = printed(executed("moons"))
    assert "before training: loss 0.8958, accuracy 50%" in text
    assert "step 100  loss 0.0110  accuracy 100%" in text
    assert pictures(executed("moons")).count("image/png") == 9


@pytest.mark.processes
def test_moons_makes_the_four_mistakes_and_names_them(executed):
    text = printed(executed("moons"))
    for named in (
        "has a mistake, or is too small\n- the loss does not depend on parameter 0",
        "- the model is trained in eval mode: Dropout",
        "- gradients were not zeroed before backward()",
        "- cross_entropy was given probabilities",
    ):
        assert named in text


@pytest.mark.processes
def test_backprop_has_the_network_written_by_hand(executed):
    assert "[0.0, 0.0, 0.0, 0.0]" in printed(executed("backprop"))
    assert "topological order: 39.0   b too early: 21.0" in printed(executed("backprop"))


@pytest.mark.processes
def test_backprop_finds_the_slopes_that_nudging_finds(executed):
    text = printed(executed("backprop"))
    # By hand, by backward(), and node by node.
    assert text.count("20.0 3.0 -1.0") == 2
    backward, nudged = re.search(r"backward: (\S+)  nudged: (\S+)", text).groups()
    assert math.isclose(float(backward), float(nudged), rel_tol=1e-6)


def test_backprop_shows_the_overwritten_gradient(executed):
    text = printed(executed("backprop"))
    assert "overwriting: 1.0" in text
    assert "adding:      2.0" in text


def test_backprop_agrees_with_pytorch_or_says_that_it_is_missing(executed):
    text = printed(executed("backprop"))
    if "PyTorch is not installed" in text:
        pytest.skip("torch is not installed")
    assert "same output: True" in text
    rows = re.findall(r"^(?:x1|x2|w1|w2|b) +(\S+) (\S+)$", text, flags=re.MULTILINE)
    assert len(rows) == 10
    assert all(math.isclose(float(left), float(right), rel_tol=1e-9) for left, right in rows)


def test_backprop_shows_what_forgetting_zero_grad_does(executed):
    text = printed(executed("backprop"))
    remembered, forgotten = re.search(r"with zero_grad: (\S+)  forgotten: (\S+)", text).groups()
    assert float(remembered) < 0.1 < float(forgotten)
