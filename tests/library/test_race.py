"""`python -m fastgrad race`: micrograd and fastgrad in turn."""

import sys

import pytest

from fastgrad.__main__ import main

the_race = pytest.importorskip("fastgrad.commands.race")


def test_both_take_the_same_steps_from_the_same_weights():
    X, y = the_race.moons(1337)
    slow = the_race.Runner(
        "micrograd", the_race.micrograd.engine.Value, the_race.micrograd.nn.MLP, 1, X[:5], y[:5]
    )
    fast = the_race.Runner(
        "fastgrad", the_race.fastgrad.engine.Value, the_race.fastgrad.nn.MLP, 1, X[:5], y[:5]
    )
    for _ in range(3):
        slow.step()
        fast.step()
        assert fast.loss == pytest.approx(slow.loss, rel=1e-12)


def test_fastgrad_has_as_much_time_as_micrograds_step(monkeypatch, capsys):
    now = [0.0]

    def step(runner):
        now[0] += 3.0 if runner.name == "micrograd" else 1.0
        runner.steps += 1

    monkeypatch.setattr(the_race.Runner, "step", step)
    the_race.race(10, 1337, lambda: now[0])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("    ") for line in lines[:2]] == [
        ["micrograd: step 1, loss 0.0000", "fastgrad: step 3, loss 0.0000"],
        ["micrograd: step 2, loss 0.0000", "fastgrad: step 6, loss 0.0000"],
    ]
    assert lines[2] == "in the same time, fastgrad took 3 times as many steps"


def test_the_race_runs_from_the_command_line_until_ctrl_c(monkeypatch, capsys):
    def interrupt(runner):
        raise KeyboardInterrupt

    monkeypatch.setattr(the_race.Runner, "step", interrupt)
    main(["race", "--seconds", "3"])
    assert capsys.readouterr().out == ""


def test_what_the_race_lacks_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "micrograd", None)
    monkeypatch.setitem(sys.modules, "micrograd.engine", None)
    monkeypatch.delitem(sys.modules, "fastgrad.commands.race", raising=False)
    with pytest.raises(SystemExit, match=r"the race needs micrograd.*: pip install micrograd"):
        main(["race"])
