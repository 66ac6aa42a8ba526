"""The checks of docs/reliability.md, one command each: `nox --list` names them, `nox -s NAME` runs one.

The quick ones are part of `.ci/run`, which makes its own environments and does not need nox.
"""

import os
from pathlib import Path

import nox

nox.options.sessions = ["tests"]
nox.options.reuse_existing_virtualenvs = True
nox.options.default_venv_backend = "venv"

PYTHONS = ["3.10", "3.11", "3.12", "3.13"]


@nox.session(python=PYTHONS)
def tests(session):
    """The suite on an installed package, on every Python that is here."""
    session.install(".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(python="3.11")
def coverage(session):
    """Every line of the package is run by the suite, except those marked `no cover` with a reason."""
    session.install(".[test]", "coverage>=7.10", "torch==2.13.0")
    session.run("python", "-m", "pip", "uninstall", "-y", "fastgrad")
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
