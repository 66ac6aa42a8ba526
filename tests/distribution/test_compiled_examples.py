"""The examples of compiled functions run as scripts, and say what they should."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.processes

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name, *arguments):
    result = subprocess.run([sys.executable, EXAMPLES / name, *arguments], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_moons_ends_at_the_loss_of_the_notebook():
    pytest.importorskip("sklearn")
    output = run("compiled_moons.py", "--print-program")
    assert "step 0 loss 0.89584410286832" in output
    assert "step 90 loss 0.0109" in output
    assert "matrix 16 x 16" in output


def test_digits_are_learned():
    pytest.importorskip("sklearn")
    accuracy = run("compiled_digits.py", "--epochs", "8").splitlines()[-2].split()[-1]
    assert float(accuracy.rstrip("%")) > 85


def test_the_gpt_learns_and_samples():
    lines = run("compiled_gpt.py", "--steps", "100", "--batch-size", "8").splitlines()
    losses = [float(line.split()[-1]) for line in lines if " loss " in line]
    assert losses[1] < losses[0] < 4
    assert len(lines) == 1 + 2 + 1 + 5


def test_the_options_sensitivities_agree_with_differences_and_the_closed_form():
    # The script compares them itself, and fails if they do not agree.
    output = run("greeks.py", "--paths", "4000", "--threads", "2")
    rows = [line.split() for line in output.splitlines() if line.split()[:1] == ["volatility"]]
    np.testing.assert_allclose([float(row[1]) for row in rows], [float(row[2]) for row in rows], rtol=0.1)


def test_gradients_summed_from_processes_train_like_one_process():
    pytest.importorskip("distributed")
    pytest.importorskip("sklearn")
    assert "equal to 1e-12" in run("data_parallel.py", "--steps", "5")


def test_newtons_method_and_the_oscillator_find_their_solutions():
    *lines, oscillator = run("newton.py", "--epochs", "600").splitlines()
    assert "minimum at [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]" in lines
    assert float(oscillator.split()[-1]) < 0.05


def test_the_implicit_root_finds_the_orbit():
    first, *_, last = run("implicit_root.py", "--eccentricity", "0.5", "--steps", "150").splitlines()
    mean, anomaly, rate, acceleration = map(float, first.split()[1::2])
    assert anomaly - 0.5 * math.sin(anomaly) == pytest.approx(mean, abs=1e-5)
    assert rate == pytest.approx(1 / (1 - 0.5 * math.cos(anomaly)), abs=1e-5)
    assert acceleration == pytest.approx(-0.5 * math.sin(anomaly) * rate**3, abs=1e-5)
    assert float(last.split()[-1]) == pytest.approx(0.5, abs=1e-3)


def test_a_network_in_c_gives_the_scores_it_was_trained_to():
    lines = run("export_c.py").splitlines()
    assert int(lines[0].split("%")[0]) > 85
    if lines[1] != "there is no C compiler here":
        assert float(lines[1].split()[-1]) < 1e-12


def test_garch_finds_the_coefficients_it_was_simulated_with():
    words = run("garch.py").splitlines()[-1].split()
    found = dict(zip(words[::2], map(float, words[1::2]), strict=True))
    assert found == pytest.approx({"omega": 0.05, "alpha": 0.1, "beta": 0.85}, abs=0.03)
