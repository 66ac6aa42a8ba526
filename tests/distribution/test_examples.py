"""Every example script runs, says what it does, and finds what it should."""

import ast
import importlib
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastgrad import check
from fastgrad.testing import gradcheck

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SCRIPTS = sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem != "progress")


def skip_without_its_packages(name):
    tree = ast.parse((EXAMPLES / f"{name}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not (EXAMPLES / f"{node.module}.py").exists():
            pytest.importorskip(node.module)


@pytest.fixture
def example(monkeypatch):
    """A function that imports examples/<name>.py."""
    monkeypatch.syspath_prepend(EXAMPLES)

    def import_example(name):
        skip_without_its_packages(name)
        return importlib.import_module(name)

    return import_example


@pytest.mark.processes
@pytest.mark.parametrize("name", SCRIPTS)
def test_help_tells_what_the_script_is_for(name):
    skip_without_its_packages(name)
    path = EXAMPLES / f"{name}.py"
    result = subprocess.run([sys.executable, path, "--help"], capture_output=True, text=True)
    assert result.returncode == 0
    assert result.stdout.startswith("usage:")
    purpose = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))).split()[:6]
    assert " ".join(purpose) in " ".join(result.stdout.split())


def test_the_gpt_learns_from_the_interpreters_modules_and_makes_up_names(example, capsys):
    example("names_gpt").main(["--steps", "30", "--samples", "3"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{len(sys.stdlib_module_names)} names")
    assert sum(line.startswith("step ") for line in lines) == 30
    assert "3 new names:" in lines
    assert len(lines) == lines.index("3 new names:") + 4


def test_the_gpts_loss_falls_on_names_from_a_file(example, tmp_path, capsys):
    path = tmp_path / "names.txt"
    path.write_text("anna\nhannah\n\nbob\n")
    module = example("names_gpt")
    module.main([str(path), "--steps", "60", "--samples", "0"])
    out = capsys.readouterr().out
    assert out.startswith("3 names, 6 tokens")
    losses = [float(line.split()[-1]) for line in out.splitlines() if line.startswith("step ")]
    assert losses[-1] < losses[0] - 0.5


def test_the_gpts_derivatives_are_right(example):
    module = example("names_gpt")
    random.seed(0)
    model = module.GPT(4)
    some = random.sample(model.parameters(), 40)
    assert gradcheck(lambda *values: model.loss([3, 0, 1, 2, 3]), some)


def test_positions_beyond_a_document_are_all_that_the_gpt_leaves_out(example):
    module = example("names_gpt")
    random.seed(0)
    text = module.Text(["abc", "cab"])
    model = module.GPT(text.vocabulary)
    loss = model.loss(text.documents[0])
    loss.backward()
    unused = next(finding for finding in check(loss, model) if "does not depend" in finding.message)
    assert unused.nodes == tuple(p for row in model.positions[4:] for p in row)


def test_the_digits_are_learnt(example, capsys):
    example("digits").main(["--epochs", "2", "--batches", "20"])
    out = capsys.readouterr().out
    assert "batch    40 of 40: loss" in out
    assert float(out.split("accuracy ")[1].split("%")[0]) > 75


def test_the_fit_finds_the_constants_with_their_uncertainties(example, capsys):
    optimize = pytest.importorskip("scipy.optimize")
    module = example("curve_fit")
    module.main(["--points", "100", "--steps", "25"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if "+-" in line]
    found = np.array([float(line[2]) for line in lines])
    deviations = np.array([float(line[4]) for line in lines])
    truth = np.array([true for _, true, _ in module.CONSTANTS.values()])
    assert (np.abs(found - truth) < 4 * deviations).all()

    random.seed(1)
    times = np.linspace(0, 10, 100)

    def model(t, a, g, w, p, rest):
        return a * np.exp(-g * t) * np.cos(w * t + p) + rest

    measured = model(times, *truth) + [random.gauss(0, 0.05) for _ in times]
    expected, covariance = optimize.curve_fit(model, times, measured, truth)
    assert found == pytest.approx(expected, abs=2e-4)
    assert deviations == pytest.approx(np.sqrt(np.diag(covariance)), abs=2e-4)


def test_a_fit_needs_more_points_than_constants(example, capsys):
    with pytest.raises(SystemExit):
        example("curve_fit").main(["--points", "5"])
    assert "more than 5 points" in capsys.readouterr().err
