"""The tool's answers, message by message, against formulas of numpy."""

import json
import subprocess
import sys

import numpy
import pytest

from benchmarks.field import data, test_gmm

DRAW = numpy.random.default_rng(data.SEED)


@pytest.fixture
def ask():
    """A running tool: `ask(message)` returns its answer."""
    command = [sys.executable, "-m", "benchmarks.gradbench"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as tool:

        def message(**parts):
            tool.stdin.write(json.dumps({"id": 7, **parts}) + "\n")
            tool.stdin.flush()
            answer = json.loads(tool.stdout.readline())
            assert answer.pop("id") == 7
            return answer

        yield message
        tool.stdin.close()


def test_it_names_itself_and_knows_its_problems(ask):
    assert ask(kind="start", eval="gmm") == {"tool": "fastgrad"}
    assert ask(kind="define", module="gmm") == {"success": True}
    assert not ask(kind="define", module="particle")["success"]
    assert ask(kind="analysis", of=0, valid=True) == {}


def test_a_failure_is_an_answer(ask):
    answer = ask(kind="evaluate", module="lse", function="primal", input={})
    assert not answer["success"]
    assert "KeyError" in answer["error"]


def test_it_repeats_as_often_as_is_asked(ask):
    given = {"x": [1.0, 2.0], "min_runs": 3, "min_seconds": 0}
    answer = ask(kind="evaluate", module="lse", function="primal", input=given)
    assert [timing["name"] for timing in answer["timings"]] == ["prepare", *["evaluate"] * 3]


def differences(function, x, h=1e-6):
    """The gradient by central differences."""
    x = numpy.asarray(x, dtype=float)
    steps = numpy.eye(x.size).reshape(x.size, *x.shape) * h
    return [(function(x + step) - function(x - step)) / (2 * h) for step in steps]


def lse(x):
    return numpy.log(numpy.exp(x).sum())


def end_of_ode(x, steps=3):
    h, y = 2.0 / steps, numpy.zeros_like(x)

    def slope(y):
        return x * numpy.concatenate([[1.0], y[:-1]])

    for _ in range(steps):
        k1 = slope(y)
        k2 = slope(y + h / 2 * k1)
        k3 = slope(y + h / 2 * k2)
        k4 = slope(y + h * k3)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return y


def half_squares(x, n=10):
    t = numpy.linspace(-1, 1, n)
    return 0.5 * ((numpy.sign(t) - numpy.polynomial.polynomial.polyval(t, x)) ** 2).sum()


X, SQUARE = DRAW.uniform(size=5), DRAW.uniform(size=(4, 4))
SCALARS = {
    "lse": (lse, X, {"x": X.tolist()}),
    "llsq": (half_squares, X, {"x": X.tolist(), "n": 10}),
    "det": (numpy.linalg.det, SQUARE, {"A": SQUARE.ravel().tolist(), "ell": 4}),
}


@pytest.mark.parametrize("module", SCALARS)
def test_a_value_and_its_gradient(ask, module):
    function, x, given = SCALARS[module]
    primal = ask(kind="evaluate", module=module, function="primal", input=given)
    assert primal["output"] == pytest.approx(function(x), rel=1e-12)
    gradient = ask(kind="evaluate", module=module, function="gradient", input=given)
    assert gradient["output"] == pytest.approx(differences(function, x), rel=1e-7)


def test_the_equations_of_ode(ask):
    given = {"x": X.tolist(), "s": 3}
    primal = ask(kind="evaluate", module="ode", function="primal", input=given)
    assert primal["output"] == pytest.approx(end_of_ode(X).tolist(), rel=1e-12)
    gradient = ask(kind="evaluate", module="ode", function="gradient", input=given)
    assert gradient["output"] == pytest.approx(differences(lambda x: end_of_ode(x)[-1], X), rel=1e-7)


def test_the_newton_direction_of_kmeans_is_from_the_mean_of_a_cluster(ask):
    points, centres = DRAW.normal(size=(50, 2)), DRAW.normal(size=(3, 2))
    given = {"points": points.tolist(), "centroids": centres.tolist()}
    squares = ((points[:, None] - centres) ** 2).sum(2)
    cost = ask(kind="evaluate", module="kmeans", function="cost", input=given)
    assert cost["output"] == pytest.approx(squares.min(1).sum(), rel=1e-12)
    direction = ask(kind="evaluate", module="kmeans", function="dir", input=given)
    means = [points[squares.argmin(1) == k].mean(0) for k in range(3)]
    assert direction["output"] == pytest.approx(centres - means, rel=1e-9)


def test_the_mixture_is_that_of_the_benchmark(ask):
    m = data.mixture(3, 4, points=20)
    parts = {"alpha": m.alphas, "means": m.means, "icf": m.factors, "x": m.points}
    given = {**{k: v.tolist() for k, v in parts.items()}, "gamma": m.gamma, "m": m.degrees}
    rows = test_gmm.of_one_row(m)
    total = sum(rows.function(x).data for x in m.points.tolist())
    objective = ask(kind="evaluate", module="gmm", function="objective", input=given)
    assert objective["output"] == pytest.approx(total, rel=1e-12)
    jacobian = ask(kind="evaluate", module="gmm", function="jacobian", input=given)
    split = {k: v for k, v in given.items() if k not in ("means", "icf")}
    split.update(mu=m.means.tolist(), q=m.factors[:, :3].tolist(), l=m.factors[:, 3:].tolist())
    other = ask(kind="evaluate", module="gmm", function="jacobian", input=split)
    assert len(jacobian["output"]) == 4 + 12 + 24
    assert other["output"] == jacobian["output"]


def test_the_jacobian_of_ba_is_sparse(ask):
    a = data.adjustment("none", 1)
    given = {
        "n": 2, "m": 2, "p": 3, "cam": a.cameras[0].tolist(), "x": a.points[0].tolist(),
        "w": float(a.weights[0]), "feat": a.features[0].tolist(),
    }  # fmt: skip
    objective = ask(kind="evaluate", module="ba", function="objective", input=given)["output"]
    assert objective["w_err"] == {"element": pytest.approx(1 - given["w"] ** 2), "repeated": 3}
    jacobian = ask(kind="evaluate", module="ba", function="jacobian", input=given)["output"]
    assert jacobian["rows"] == [0, 15, 30, 45, 60, 75, 90, 91, 92, 93]
    assert jacobian["cols"][30:45] == [*range(11, 22), 25, 26, 27, 29]
    assert jacobian["vals"][-1] == -2 * given["w"]
    # The error is the weight times what does not depend on it.
    error = objective["reproj_error"]["elements"]
    assert [jacobian["vals"][14], jacobian["vals"][29]] == pytest.approx([e / given["w"] for e in error])
