"""The types that a type checker finds in a program that uses fastgrad."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastgrad

pytest.importorskip("mypy")
pytest.importorskip("numpy.typing")

PROGRAM = """\
import numpy as np

import fastgrad
import fastgrad.functional as F
from fastgrad import Value, nn, take

w = Value(2.0)
x = np.array([1.0, 2.0])


@fastgrad.compile
def loss(x: Value, y: Value) -> Value:
    return (w * x - y) ** 2


@fastgrad.compile(threads=2, strict=True)
def both(x: Value) -> list[Value]:
    return [w * x, loss(x, w)]


class Model(nn.Module):
    @fastgrad.compile
    def loss(self, x: Value) -> Value:
        return w * x


"""
# Large libraries that fastgrad uses if they are there.
SETTINGS = """\
[mypy]
strict = true
follow_imports = silent
[mypy-graphviz.*,matplotlib.*,onnx.*,sklearn.*,torch.*,tqdm.*]
follow_imports = skip
"""
ARRAY = "numpy.ndarray[tuple[Any, ...], numpy.dtype[numpy.float64]]"
# The type of each expression, without the modules that names of fastgrad come from.
TYPES = {
    "loss": "Compiled[Value]",
    "both": "Compiled[list[Value]]",
    "Model().loss": "Compiled[Value]",
    "loss.parameters": "list[Value]",
    "loss(x, x)": ARRAY,
    "loss([1.0], 2.0)": ARRAY,
    "loss(1.0, 2)": "float",
    "loss(x, x, threads=2)": ARRAY,
    "both(x)": ARRAY,
    "both(3.0)": "list[float]",
    "loss(w, w)": "Value",
    "loss.backward(x, x)": "float",
    "both.backward(x)": "list[float]",
    "Model().loss.backward(x)": "float",
    "take([w, w], 1)": "Value",
    "take([w, w], w)": "Value",
    "take([[w], [w]], 1)": "list[Value]",
    "take([[w], [w]], w)": "list[Value]",
    "F.mse_loss([w], [1.0])": "Value",
    "F.mse_loss([w], [1.0], reduction='none')": "list[Value]",
    "F.hinge_loss([w], [1.0], 'sum')": "Value",
    "F.hinge_loss([w], [1.0], 'none')": "list[Value]",
    "F.binary_cross_entropy_with_logits([w], [1.0])": "Value",
    "F.binary_cross_entropy_with_logits([w], [1.0], 'none')": "list[Value]",
    "F.cross_entropy([w, w], 1)": "Value",
    "F.cross_entropy([[w, w]], [1])": "Value",
    "F.cross_entropy([[w, w]], [1], 'none')": "list[Value]",
    "F.nll_loss([w, w], 1)": "Value",
    "F.nll_loss([[w, w]], [1], 'none')": "list[Value]",
    "F.dot([w], [1.0])": "Value",
    "F.softmax([w, w])": "list[Value]",
    "nn.Neuron(2)([w, w])": "Value",
    "nn.Layer(2, 2)([w, 1.0])": "Value | list[Value]",
    "nn.MLP(2, [2, 1])([w, 1.0])": "Value | list[Value]",
    "nn.Dropout()([w, w])": "list[Value]",
}


@pytest.fixture(scope="module")
def revealed(tmp_path_factory):
    """The type of each expression as mypy shows it."""
    folder = tmp_path_factory.mktemp("types")
    source = PROGRAM + "".join(f"reveal_type({expression})\n" for expression in TYPES)
    (folder / "program.py").write_text(source)
    (folder / "mypy.ini").write_text(SETTINGS)
    finished = subprocess.run(
        [sys.executable, "-m", "mypy", "program.py"],
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(Path(fastgrad.__file__).parent.parent)},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    types = re.findall(r'Revealed type is "(.*)"', finished.stdout)
    return dict(zip(TYPES, types, strict=True))


@pytest.mark.processes
@pytest.mark.parametrize("expression", TYPES)
def test_an_expression_has_its_type_under_mypy_strict(revealed, expression):
    shown = re.sub(r"fastgrad\.[a-z.]*", "", revealed[expression]).replace("builtins.", "")
    assert shown == TYPES[expression]
