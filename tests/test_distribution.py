"""What is installed, what an sdist holds, and that other projects can compile against the engine."""

import importlib.machinery
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path, PurePosixPath

import pytest

import fastgrad

ROOT = Path(__file__).resolve().parent.parent
# The package's own sources but its Python files, by their suffix.
SOURCES = {".pyx", ".pxi", ".c", ".h", ".in"}
IN_AN_SDIST = SOURCES - {".c"} | {".py", ".pyi", ".pxd", ".typed"}


def run(*command, cwd):
    # Where fastgrad was found, which may be the source tree.
    environment = os.environ | {"PYTHONPATH": str(Path(fastgrad.__file__).parent.parent)}
    finished = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


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


def test_a_wheel_says_that_it_is_typed(installed):
    assert PurePosixPath("py.typed") in installed


def test_a_wheel_holds_no_sources_of_extension_modules(installed):
    assert [file for file in installed if file.suffix in SOURCES] == []


def test_a_wheel_holds_every_pxd_that_its_pxds_cimport(installed):
    package = Path(fastgrad.__file__).parent
    declared = {file for file in installed if file.suffix == ".pxd"}
    assert PurePosixPath("engine.pxd") in declared
    for file in declared:
        needed = re.findall(
            r"^(?:from|cimport) fastgrad\.([\w.]+)", (package / file).read_text(), re.MULTILINE
        )
        assert {PurePosixPath(name.replace(".", "/") + ".pxd") for name in needed} <= declared


def test_an_installation_needs_nothing_else():
    requirements = importlib.metadata.requires("fastgrad") or []
    assert [line for line in requirements if "extra ==" not in line] == []


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
def test_an_sdist_holds_what_a_build_needs_and_nothing_else(tmp_path):
    pytest.importorskip("Cython")
    pytest.importorskip("setuptools", "77")
    for name in ("codegen", "src"):
        if not (ROOT / name).is_dir():
            pytest.skip("the sources are not here")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.egg-info"))
    for name in ("LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_nothing.py").touch()

    run(sys.executable, "-c", "from setuptools import build_meta as b; b.build_sdist('.')", cwd=tmp_path)

    [archive] = tmp_path.glob("fastgrad-*.tar.gz")
    with tarfile.open(archive) as sdist:
        names = [PurePosixPath(*Path(member.name).parts[1:]) for member in sdist if member.isfile()]
    found = {str(name) for name in names if not any(part.endswith(".egg-info") for part in name.parts)}
    sources = {"LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.py"}
    # With what building it has generated.
    for folder in ("codegen", "src/fastgrad"):
        sources |= {
            path.relative_to(tmp_path).as_posix()
            for path in (tmp_path / folder).rglob("*")
            if path.suffix in IN_AN_SDIST
        }
    assert found == sources | {"PKG-INFO", "setup.cfg"}
