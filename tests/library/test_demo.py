"""`python -m fastgrad demo`."""

import csv
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fastgrad.__main__ import main

pytestmark = pytest.mark.processes

for needed in ("numpy", "sklearn", "matplotlib", "tqdm"):
    pytest.importorskip(needed)

the_demo = pytest.importorskip("fastgrad.demo")


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


def result(shown):
    """Return the loss and the accuracy in per cent of the line about the result."""
    return tuple(map(float, re.search(r"loss (\S+), accuracy (\d+)%, ", shown).groups()))


def test_a_hundred_steps_are_micrograds(in_process, capsys):
    in_process("--steps", "100")
    losses = [float(line.split()[3][:-1]) for line in capsys.readouterr().out.splitlines()[:100]]
    with (Path(__file__).parents[1] / "data" / "moons_demo_losses.csv").open(encoding="utf-8") as file:
        expected = [float(row["loss"]) for row in csv.DictReader(file)]
    assert losses == pytest.approx(expected, rel=1e-12)


def test_more_steps_make_the_loss_smaller(in_process, capsys):
    found = []
    for steps in ("100", "400", "1600"):
        in_process("--compiled", "--steps", steps)
        found.append(result(capsys.readouterr().out.splitlines()[-2]))
    losses, accuracies = zip(*found, strict=True)
    assert sorted(losses, reverse=True) == list(losses)
    assert set(accuracies) == {100.0}


@pytest.mark.parametrize("steps", [1, 10, 112, 3000])
def test_the_rate_falls_from_1_to_a_tenth_over_the_steps(steps, monkeypatch, tmp_path):
    rates = []

    def step(rate):
        rates.append(rate)
        return 0.5, 1.0

    monkeypatch.setattr(the_demo, "eager_step", lambda *arguments: step)
    the_demo.train_moons(steps, 1, tmp_path / "moons.png", plain=True)
    assert len(rates) == steps
    assert rates[0] == 1.0
    assert rates == sorted(rates, reverse=True)
    assert min(rates) > 0.1


def after(monkeypatch, *steps):
    """Have the demo take these steps: (loss, accuracy), or an exception."""
    left = list(steps)

    def step(rate):
        if isinstance(left[0], type):
            raise left[0]
        return left.pop(0)

    monkeypatch.setattr(the_demo, "eager_step", lambda *arguments: step)


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_a_failure(loss, in_process, monkeypatch, tmp_path):
    after(monkeypatch, (0.5, 0.5), (loss, 0.5))
    with pytest.raises(SystemExit, match=f"the loss is {loss} at step 1"):
        in_process("--steps", "3")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_ends_the_training_with_its_result(in_process, monkeypatch, tmp_path, capsys):
    after(monkeypatch, (0.5, 0.25), (0.375, 0.75), KeyboardInterrupt)
    with pytest.raises(SystemExit) as caught:
        in_process("--steps", "50")
    assert caught.value.code == 130
    shown = capsys.readouterr()
    line, picture = shown.out.splitlines()[-2:]
    assert line.startswith("interrupted after 2 of 50 steps: loss 0.375000, accuracy 75%")
    assert picture == f"decision boundary: {tmp_path / 'moons.png'}"
    assert (tmp_path / "moons.png").read_bytes().startswith(b"\x89PNG")
    assert shown.err == ""


def test_an_interrupt_before_the_first_step_is_one_line(in_process, monkeypatch, tmp_path, capsys):
    after(monkeypatch, KeyboardInterrupt)
    with pytest.raises(SystemExit) as caught:
        in_process()
    assert caught.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_is_there_is_kept(in_process, tmp_path, capsys):
    (tmp_path / "moons.png").write_bytes(b"mine")
    for number in (2, 3):
        in_process()
        line = capsys.readouterr().out.splitlines()[-1]
        assert line == f"decision boundary: {tmp_path / f'moons-{number}.png'} (moons.png was there)"
    assert (tmp_path / "moons.png").read_bytes() == b"mine"
    assert len(list(tmp_path.iterdir())) == 3


def test_a_directory_that_cannot_be_written_is_refused_before_training(
    in_process, monkeypatch, tmp_path, capsys
):
    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(the_demo.tempfile, "TemporaryFile", refuse)
    with pytest.raises(SystemExit) as caught:
        in_process()
    assert caught.value.code == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.endswith(f"nothing can be written in {str(tmp_path)!r}: Permission denied\n")


def test_a_picture_that_cannot_be_written_after_all_is_said_in_a_line(in_process, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(the_demo.Figure, "savefig", refuse)
    with pytest.raises(SystemExit, match="No space left on device"):
        in_process()
