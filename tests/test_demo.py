"""`python -m fastgrad demo`."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.processes

for needed in ("numpy", "sklearn", "matplotlib", "tqdm"):
    pytest.importorskip(needed)


def demo(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "fastgrad", "demo", *arguments], cwd=cwd, capture_output=True, text=True
    )


def test_the_demo_prints_its_result_and_draws_the_boundary(tmp_path):
    result = demo(cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "loss 0.010978, accuracy 100%" in result.stdout
    assert "ms a step" in result.stdout
    picture = tmp_path / "moons.png"
    assert str(picture) in result.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "loss=" in result.stderr


def test_plain_prints_one_line_a_step_like_the_notebook(tmp_path):
    result = demo("--plain", "--steps", "3", "--output", "other.png", cwd=tmp_path)
    lines = result.stdout.splitlines()
    assert lines[0] == "step 0 loss 0.8958441028683222, accuracy 50.0%"
    assert [line.split()[1] for line in lines[:3]] == ["0", "1", "2"]
    assert (tmp_path / "other.png").exists()
    assert result.stderr == ""


def test_compiled_gives_the_same_numbers(tmp_path):
    arguments = ("--plain", "--steps", "30")
    eager, compiled = (demo(*arguments, *more, cwd=tmp_path).stdout for more in ([], ["--compiled"]))
    for left, right in zip(eager.splitlines()[:30], compiled.splitlines()[:30], strict=True):
        first, second = (line.replace(",", "").split() for line in (left, right))
        assert first[:3] + first[4:] == second[:3] + second[4:]
        assert float(first[3]) == pytest.approx(float(second[3]), rel=1e-12)


def test_another_seed_is_another_run(tmp_path):
    first, second = (
        demo("--plain", "--steps", "1", "--seed", seed, cwd=tmp_path).stdout.splitlines()[0]
        for seed in ("1", "2")
    )
    assert first != second


@pytest.mark.parametrize("steps", ["0", "-3", "many"])
def test_a_wrong_number_of_steps_is_refused(tmp_path, steps):
    result = demo("--steps", steps, cwd=tmp_path)
    assert result.returncode == 2
    assert "--steps" in result.stderr


def test_what_the_demo_lacks_is_named(monkeypatch, capsys):
    from fastgrad.__main__ import main

    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    monkeypatch.delitem(sys.modules, "fastgrad.demo", raising=False)
    monkeypatch.setattr(sys, "argv", ["fastgrad", "demo"])
    with pytest.raises(SystemExit, match=r"the demo needs sklearn.*fastgrad\[demo\]"):
        main()
