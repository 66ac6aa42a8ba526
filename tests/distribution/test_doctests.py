"""Every example in a docstring of the package, the README and the documentation is true."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import fastgrad

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

MODULES = ["fastgrad"] + [
    module.name
    for module in pkgutil.walk_packages(fastgrad.__path__, "fastgrad.")
    # Kernels have no docstrings with examples, and need processors that have their instructions.
    if not module.name.endswith("__main__") and ".kernels." not in module.name
]
NEEDS = {
    "fastgrad.commands.demo": ("matplotlib", "sklearn"),
    "fastgrad.commands.race": ("matplotlib", "micrograd", "sklearn"),
    "fastgrad.viz.dot": ("matplotlib",),
}
NEEDS |= {"docs/derivatives.md": ("scipy",)}
DOCUMENTS = [
    str(path.relative_to(ROOT))
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if path.exists()
]


@pytest.fixture(autouse=True)
def _in_a_directory_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    for package in NEEDS.get(name, ()):
        pytest.importorskip(package)
    result = doctest.testmod(importlib.import_module(name), optionflags=OPTIONS)
    assert result.failed == 0


def test_the_examples_of_extension_modules_are_found():
    assert doctest.testmod(fastgrad.engine).attempted > 0


@pytest.mark.parametrize("name", DOCUMENTS)
def test_examples_in_documents(name):
    for package in NEEDS.get(name, ()):
        pytest.importorskip(package)
    # A fence after the last line of output would be taken for a part of it.
    text = re.sub(r"^```.*$", "", (ROOT / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
    examples = doctest.DocTestParser().get_doctest(text, {}, name, name, 0)
    assert doctest.DocTestRunner(optionflags=OPTIONS).run(examples).failed == 0
