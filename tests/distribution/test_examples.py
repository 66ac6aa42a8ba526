"""Every example script runs, says what it does, and finds what it should."""

import ast
import importlib
import random
import subprocess
import sys
import types
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import fastgrad
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
    module.main(["--points", "100"])
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


def test_scipys_curve_fit_takes_a_model_of_numbers_and_its_jacobian(example):
    optimize = pytest.importorskip("scipy.optimize")
    module = example("curve_fit")
    model = fastgrad.compile(lambda t, *constants: module.displacement.function(constants, t))
    truth = [true for _, true, _ in module.CONSTANTS.values()]
    times = np.linspace(0.0, 10.0, 50)
    start = [start for start, _, _ in module.CONSTANTS.values()]
    jacobian = partial(model.jacobian, argnums="constants")
    found, _ = optimize.curve_fit(model, times, model(times, *truth), start, jac=jacobian)
    assert found == pytest.approx(truth, abs=1e-7)


def test_newton_cg_finds_the_minimum(example, capsys):
    module = example("minimize")
    module.main(["--numbers", "12"])
    *_, distance = capsys.readouterr().out.split()
    assert float(distance) < 1e-8
    with pytest.raises(SystemExit):
        module.main(["--numbers", "1"])


def test_prices_imply_the_volatilities_that_they_were_made_with(example, capsys):
    example("implied_volatility").main(["--options", "500"])
    *_, error = capsys.readouterr().out.split()
    assert float(error) < 1e-9


# Each example's derivatives, and those of the same formula written with jax.


def test_the_examples_derivatives_are_those_of_jax(example):
    jax = pytest.importorskip("jax")
    jnp = jax.numpy
    jax.config.update("jax_enable_x64", True)
    close = partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-10)

    def rosenbrock(x):
        return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()

    x, v = np.linspace(-1.0, 1.5, 9), np.linspace(1.0, -2.0, 9)
    ours = example("minimize").rosenbrock
    close(ours.jacobian(x), jax.grad(rosenbrock)(x))
    close(ours.hessian(x), jax.hessian(rosenbrock)(x))
    close(ours.hvp(x, tangents=v), jax.jvp(jax.grad(rosenbrock), (x,), (v,))[1])

    def displacement(c, t):
        return c[0] * jnp.exp(-c[1] * t) * jnp.cos(c[2] * t + c[3]) + c[4]

    module, times = example("curve_fit"), np.linspace(0.0, 10.0, 20)
    constants = np.array([true for _, true, _ in module.CONSTANTS.values()])
    by_row = jax.vmap(jax.jacfwd(displacement), (None, 0))(constants, times)
    close(module.residual.jacobian(constants, times, np.zeros(20)), by_row)

    module = example("implied_volatility")

    def cdf(x):
        t = 1.0 / (1.0 + 0.2316419 * jnp.where(x > 0.0, x, -x))
        tail = jnp.polyval(jnp.array([*module.COEFFICIENTS, 0.0]), t) * jnp.exp(-0.5 * x * x)
        tail = tail / jnp.sqrt(2 * jnp.pi)
        return jnp.where(x > 0.0, 1.0 - tail, tail)

    def price(volatility, spot, strike, years, rate):
        spread = volatility * jnp.sqrt(years)
        d = (jnp.log(spot / strike) + rate * years) / spread + 0.5 * spread
        return spot * cdf(d) - strike * jnp.exp(-rate * years) * cdf(d - spread)

    market = [np.array([0.2, 0.4]), np.array([100.0, 90.0]), np.array([95.0, 110.0])]
    market += [np.array([0.5, 2.0]), np.array([0.01, 0.04])]
    close(module.price.jacobian(*market), jax.vmap(jax.grad(price))(*market))
    close(module.price.hessian(*market), jax.vmap(jax.hessian(price))(*market))


def test_a_fit_needs_more_points_than_constants(example, capsys):
    with pytest.raises(SystemExit):
        example("curve_fit").main(["--points", "5"])
    assert "more than 5 points" in capsys.readouterr().err


@pytest.fixture
def shown(monkeypatch):
    """What the browser's notebook.py shows: (kind, content, place), as the page is sent it."""
    found = []
    # The notebook makes IPython's modules; all are noted here, so that nothing is left of them.
    names = ("page", "pyodide", "pyodide.code", "IPython", "IPython.display", "notebook")
    for name in names:
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    del sys.modules["notebook"]
    sys.modules["page"].show = lambda *message: found.append(message)
    sys.modules["pyodide.code"].eval_code_async = None
    monkeypatch.syspath_prepend(EXAMPLES / "browser")
    importlib.import_module("notebook").prepare()
    return found


def run_program(name):
    """Run a program of the browser's, and show the expression that it ends with."""
    tree = ast.parse((EXAMPLES / "browser" / "programs" / f"{name}.py").read_text(encoding="utf-8"))
    names = {"__name__": "__main__"}
    exec(compile(ast.Module(tree.body[:-1], []), name, "exec"), names)
    sys.modules["notebook"].display(eval(compile(ast.Expression(tree.body[-1].value), name, "eval"), names))


@pytest.mark.parametrize("name", ["expression", "neuron"])
def test_a_program_of_the_browsers_ends_with_a_page(name, shown):
    run_program(name)
    [(kind, content, _)] = shown
    assert kind == "text/html"
    assert "<iframe" in content


def test_the_browsers_moons_are_shown_in_one_place_while_they_are_learnt(shown, monkeypatch):
    # Of each step, however fast they are.
    monkeypatch.setattr("fastgrad.viz.filming.PICTURES_A_SECOND", 1e9)
    run_program("moons")
    *pictures, (kind, _, place) = shown
    assert kind == "text/html"
    assert len(pictures) > 1
    assert len({content for _, content, _ in pictures}) == len(pictures)
    [(kind, at)] = {(kind, at) for kind, _, at in pictures}
    assert kind == "text/html"
    assert at != place
