"""`python -m fastgrad demo`."""

import re
import subprocess
import sys

import pytest

from fastgrad.__main__ import main

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


@pytest.fixture
def in_process(monkeypatch, tmp_path):
    """Run the demo in this process, in a directory of its own."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: main(["demo", "--plain", "--steps", "1", *arguments])


@pytest.mark.parametrize(
    ("output", "written"), [("pic", "pic.png"), ("pic.", "pic.png"), ("pic.PDF", "pic.PDF")]
)
def test_the_pictures_suffix_is_png_unless_another_is_given(output, written, in_process, tmp_path, capsys):
    in_process("--output", output)
    assert capsys.readouterr().out.splitlines()[-1] == f"decision boundary: {tmp_path / written}"
    assert [path.name for path in tmp_path.iterdir()] == [written]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("", "the picture needs a name"),
        (".", ".* is a directory"),
        ("below", ".*below' is a directory"),
        ("other", ".*other.png' is a directory"),
        ("none/pic.png", "there is no directory .*none'"),
        ("pic.txt", "matplotlib writes .*png.*, not '.txt'"),
    ],
)
def test_a_picture_that_cannot_be_written_is_refused_before_training(
    output, message, in_process, tmp_path, capsys
):
    (tmp_path / "below").mkdir()
    (tmp_path / "other.png").mkdir()
    with pytest.raises(SystemExit) as caught:
        in_process("--output", output)
    assert caught.value.code == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert re.match(f"python -m fastgrad demo: error: argument --output: {message}", line)


@pytest.mark.parametrize("seed", ["-1", str(2**32), "many"])
def test_a_wrong_seed_is_refused(seed, in_process, capsys):
    with pytest.raises(SystemExit) as caught:
        in_process(f"--seed={seed}")
    assert caught.value.code == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert re.search(f"argument --seed: .*{seed}", shown.err)


def test_the_largest_seed_is_taken(in_process):
    in_process("--seed", str(2**32 - 1))


@pytest.mark.parametrize("steps", ["0", "-3", "many"])
def test_a_wrong_number_of_steps_is_refused(tmp_path, steps):
    result = demo("--steps", steps, cwd=tmp_path)
    assert result.returncode == 2
    assert "--steps" in result.stderr


def test_what_the_demo_lacks_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    monkeypatch.delitem(sys.modules, "fastgrad.commands.demo", raising=False)
    monkeypatch.setattr(sys, "argv", ["fastgrad", "demo"])
    with pytest.raises(SystemExit, match=r"the demo needs sklearn.*fastgrad\[demo\]"):
        main()
