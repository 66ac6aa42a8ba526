"""What is installed, what an sdist contains, and that other projects can compile against the engine."""

import importlib.machinery
import importlib.metadata
import math
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import textwrap
from pathlib import Path, PurePosixPath

import pytest

import fastgrad
from evidence import meanings
from fastgrad import operations

ROOT = Path(__file__).resolve().parents[2]
# The package's own sources but its Python files, by their suffix.
SOURCES = {".pyx", ".pxi", ".c", ".h", ".in"}
IN_AN_SDIST = SOURCES - {".c"} | {".py", ".pyi", ".pxd", ".typed", ".js", ".css", ".html", ".txt"}


def run(*command, cwd, **settings):
    # Where fastgrad was found, which may be the source tree.
    environment = os.environ | {"PYTHONPATH": str(Path(fastgrad.__file__).parent.parent), **settings}
    finished = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


NEEDED_BY_A_BUILD = ("LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.py")
TEXTS = ("CHANGELOG.md", "CONTRIBUTING.md", "noxfile.py")


def copy_sources(folder, *ignored):
    """Copy what a build needs to a folder; skip where the sources are not."""
    for name in ("building", "codegen", "src"):
        if not (ROOT / name).is_dir():
            pytest.skip("the sources are not here")
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", *ignored))
    for name in NEEDED_BY_A_BUILD:
        shutil.copy(ROOT / name, folder)


@pytest.fixture(scope="module")
def installed():
    """The installed files, by their path inside the package."""
    try:
        files = importlib.metadata.files("fastgrad") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    inside = {PurePosixPath(*file.parts[1:]) for file in files if file.parts[0] == "fastgrad"}
    if not inside:
        pytest.skip("fastgrad is not installed from a wheel")
    return inside


@pytest.fixture(scope="module")
def compiler():
    pytest.importorskip("Cython")
    pytest.importorskip("setuptools")
    command = os.environ.get("CC") or sysconfig.get_config_var("CC")
    if sys.platform != "win32" and not (command and shutil.which(command.split()[0])):
        pytest.skip("there is no C compiler")


def test_no_two_files_of_the_sources_share_a_name_but_those_of_one_module():
    package = ROOT / "src" / "fastgrad"
    if not package.is_dir():
        pytest.skip("the sources are not here")
    parts = {}
    for path in sorted(package.rglob("*.p*")) + sorted(package.rglob("*.h")):
        if path.suffix in {".py", ".pyx", ".pxd", ".pyi", ".pxi", ".h"} and path.stem not in {
            "__init__",
            "__main__",
        }:
            module = path.suffix in {".pyx", ".pxd", ".pyi"}
            parts.setdefault(path.stem, []).append(path.parent if module else path)
    assert {stem: paths for stem, paths in parts.items() if len(set(paths)) > 1} == {}


def test_the_version_is_that_of_the_metadata(installed):
    assert fastgrad.__version__ == importlib.metadata.version("fastgrad")


def test_a_wheel_holds_each_extension_module_with_its_stub(installed):
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    modules = {
        file.with_name(file.name.removesuffix(suffix)) for file in installed if file.name.endswith(suffix)
    }
    assert PurePosixPath("engine") in modules
    # Python never calls the kernels: the compiler takes their functions as C pointers.
    modules = {module for module in modules if module.parent.name != "kernels"}
    assert {module.with_suffix(".pyi") for module in modules} <= installed


def test_a_wheel_holds_every_example(installed):
    examples = {file.name for file in (ROOT / "examples").iterdir() if file.suffix in {".py", ".ipynb"}}
    found = {file.name for file in installed if file.parent.name == "examples" and file.suffix != ".pyc"}
    assert found == examples


def test_a_wheel_says_that_it_is_typed(installed):
    assert PurePosixPath("py.typed") in installed


def test_a_wheel_holds_no_sources_of_extension_modules(installed):
    # `export.to_c` writes this one into the files it makes.
    written = PurePosixPath("engine.src/arithmetic/special.h")
    assert [file for file in installed if file.suffix in SOURCES and file != written] == []


def test_a_wheel_holds_every_pxd_that_its_pxds_cimport(installed):
    package = Path(fastgrad.__file__).parent
    declared = {file for file in installed if file.suffix == ".pxd"}
    assert PurePosixPath("engine.pxd") in declared
    for file in declared:
        needed = re.findall(
            r"^(?:from|cimport) fastgrad\.([\w.]+)", (package / file).read_text(), re.MULTILINE
        )
        assert {PurePosixPath(name.replace(".", "/") + ".pxd") for name in needed} <= declared


@pytest.mark.usefixtures("installed")
def test_an_installation_needs_nothing_else():
    requirements = importlib.metadata.requires("fastgrad") or []
    assert [line for line in requirements if "extra ==" not in line] == []


def contributing():
    """The text on how to contribute, for the tests of a checkout."""
    if not (ROOT / "CONTRIBUTING.md").exists():
        pytest.skip("the sources are not here")
    return (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_git_ignores_the_environment_that_is_made_in_the_checkout():
    """What it does not ignore is copied by every check that works on a copy."""
    [folder] = re.findall(r"python -m venv (\S+)", contributing())
    assert f"{folder}/" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_example_of_a_new_operation_says_the_same_thrice():
    _, recipe = contributing().split("## Add an operation")
    row, rule, function = (
        textwrap.dedent(block) for block in re.findall(r"```\n(.*?)```", recipe, flags=re.DOTALL)
    )
    [row] = eval(f"[{row}]", vars(operations))
    [rule] = eval(f"{{{rule}}}", vars(meanings)).values()
    [function] = eval(f"{{{function}}}", vars(meanings)).values()
    for a in (-3.0, 0.0, 0.5):
        out = eval(row.value, {"a": a, row.name: getattr(math, row.name)})
        assert function.floats(a) == out == pytest.approx(float(function.value(a)), rel=1e-15)
        slope = eval(row.derivatives[0], {"a": a, "out": out})
        assert rule.partials(a, out) == (slope,) == pytest.approx((float(function.derivative(a)),), rel=1e-15)
    assert (rule.symbol, rule.method, rule.definition) == (row.symbol, row.method, row.value)
    # The page is made before the tests that look at it.
    assert recipe.index("setup.py") < recipe.index("generate_api.py") < recipe.index("pytest")


# Writes down what it is given, and leaves a file where a module is to be.
COMPILER = """#!/bin/sh
echo "$@" >>"$CALLS"
while [ $# -gt 1 ]; do
    [ "$1" != -o ] || touch "$2"
    shift
done
"""


@pytest.mark.distribution
@pytest.mark.skipif(sys.platform == "win32", reason="a compiler that is a script of the shell")
def test_a_build_with_other_flags_than_the_last_one_builds_everything(tmp_path):
    pytest.importorskip("Cython")
    pytest.importorskip("setuptools", "77")
    copy_sources(tmp_path, "*.c", "*.so")
    # Which C it is does not matter here.
    for module in (tmp_path / "src" / "fastgrad").rglob("*.pyx"):
        module.write_text("")
    for declarations in (tmp_path / "src" / "fastgrad").rglob("*.pxd"):
        declarations.unlink()
    compiler = tmp_path / "cc"
    compiler.write_text(COMPILER)
    compiler.chmod(0o755)
    calls = tmp_path / "calls"

    def compiled(**environment):
        """How often the compiler was called with assertions, and how often without."""
        calls.write_text("")
        settings = {"CC": str(compiler), "LDSHARED": str(compiler), "CALLS": str(calls), **environment}
        run(sys.executable, "setup.py", "-q", "build_ext", "--inplace", cwd=tmp_path, **settings)
        lines = [line for line in calls.read_text().splitlines() if " -c " in f" {line} "]
        return sum("FASTGRAD_ASSERTIONS" in line for line in lines), sum(
            "FASTGRAD_ASSERTIONS" not in line for line in lines
        )

    count = sum(compiled())
    assert count > 3
    assert compiled() == (0, 0)
    # The kernels have no assertions, but are compiled with other flags, too.
    assert sum(compiled(FASTGRAD_ASSERTIONS="1")) == count
    assert compiled() == (0, count)
    assert compiled() == (0, 0)
    # A module that is Python now would be hidden by what was compiled before.
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    former = tmp_path / "src" / "fastgrad" / f"former{suffix}"
    former.touch()
    assert compiled() == (0, 0)
    assert not former.exists()
    assert list(former.parent.glob(f"*{suffix}"))
    # A quick build has modules of its own, and leaves the others as they are.
    assert sum(compiled(FASTGRAD_QUICK="1")) == count
    assert compiled() == (0, 0)
    assert compiled(FASTGRAD_QUICK="1") == (0, 0)


CLIENT = """
from fastgrad.engine cimport Value

def doubled(Value node):
    return 2.0 * node.data

def give(Value node, double amount):
    node.grad += amount
"""

CLIENT_SETUP = """
from Cython.Build import cythonize
from setuptools import Extension, setup

setup(name="client", ext_modules=cythonize([Extension("client", ["client.pyx"])], language_level=3))
"""

CLIENT_USE = """
import client
from fastgrad import Value

x = Value(3.0)
y = x * 2
assert client.doubled(y) == 12.0
client.give(x, 0.5)
assert x.grad == 0.5
"""


@pytest.mark.distribution
@pytest.mark.usefixtures("compiler")
def test_another_project_can_cimport_the_engine(tmp_path):
    (tmp_path / "client.pyx").write_text(CLIENT)
    (tmp_path / "setup.py").write_text(CLIENT_SETUP)
    run(sys.executable, "setup.py", "-q", "build_ext", "--inplace", cwd=tmp_path)
    run(sys.executable, "-c", CLIENT_USE, cwd=tmp_path)


@pytest.mark.distribution
def test_an_sdist_holds_what_a_build_needs_with_tests_docs_and_examples(tmp_path):
    pytest.importorskip("Cython")
    pytest.importorskip("setuptools", "77")
    copy_sources(tmp_path, "*.egg-info")
    for folder in ("docs", "examples", "tests"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "local")
        )
    for name in TEXTS:
        shutil.copy(ROOT / name, tmp_path)

    run(sys.executable, "-c", "from setuptools import build_meta as b; b.build_sdist('.')", cwd=tmp_path)

    [archive] = tmp_path.glob("fastgrad-*.tar.gz")
    with tarfile.open(archive) as sdist:
        names = [PurePosixPath(*Path(member.name).parts[1:]) for member in sdist if member.isfile()]
    found = {str(name) for name in names if not any(part.endswith(".egg-info") for part in name.parts)}
    sources = {*NEEDED_BY_A_BUILD, *TEXTS}
    # With what was generated.
    for folder in ("building", "codegen", "src/fastgrad"):
        sources |= {
            path.relative_to(tmp_path).as_posix()
            for path in (tmp_path / folder).rglob("*")
            if path.suffix in IN_AN_SDIST
        }
    for folder in ("docs", "examples", "tests"):
        sources |= {
            path.relative_to(tmp_path).as_posix() for path in (tmp_path / folder).rglob("*") if path.is_file()
        }
    assert found == sources | {"PKG-INFO", "setup.cfg"}
