"""`python -m fastgrad examples`, and the command `fastgrad`."""

import json
import sys
from pathlib import Path

import pytest

from fastgrad import __main__ as command

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def content(file):
    """A script's text, or the sources of a notebook's cells: wheels have notebooks without outputs."""
    text = file.read_text("utf-8")
    if file.suffix == ".py":
        return text
    return [cell["source"] for cell in json.loads(text)["cells"]]


def test_every_notebook_and_script_is_copied(tmp_path, capsys):
    command.main(["examples", str(tmp_path / "lessons")])
    copies = {path.name: content(path) for path in (tmp_path / "lessons").iterdir()}
    assert copies == {
        file.name: content(file) for file in EXAMPLES.glob("*.*") if file.suffix in (".py", ".ipynb")
    }
    assert str(tmp_path / "lessons" / "moons.ipynb") in capsys.readouterr().out


def test_a_file_that_is_there_is_kept_and_nothing_is_copied(tmp_path):
    own = tmp_path / "moons.ipynb"
    own.write_text("mine")
    with pytest.raises(SystemExit, match=r"has moons\.ipynb already: nothing was copied"):
        command.main(["examples", str(tmp_path)])
    assert own.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [own]


def test_a_directory_that_cannot_be_made_is_refused_in_words(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="examples: error: "):
        command.main(["examples", str(tmp_path / "file" / "lessons")])


@pytest.mark.parametrize(
    ("typed", "shown"),
    [("/usr/bin/fastgrad", "fastgrad"), ("fastgrad.exe", "fastgrad"), ("__main__.py", "python -m fastgrad")],
)
def test_the_usage_names_the_command_that_was_typed(typed, shown, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [typed])
    with pytest.raises(SystemExit):
        command.main(["examples"])
    assert capsys.readouterr().err.startswith(f"usage: {shown} examples ")
