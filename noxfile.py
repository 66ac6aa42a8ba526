"""The checks of docs/reliability.md, one command each: `nox --list` names them, `nox -s NAME` runs one.

The quick ones are part of `.ci/run`, which makes its own environments and does not need nox.
"""

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


@nox.session
def fuzz(session):
    """Random programs compared with the reference: `nox -s fuzz -- --seconds 3600`, a minute if not told."""
    session.install(".[test]")
    session.run("python", "tests/fuzz.py", *(session.posargs or ["--seconds", "60"]))


@nox.session
def fuzz_assertions(session):
    """The same on the assertion build, which checks the pool and the graph every few lines."""
    session.install(".[test]", env={"FASTGRAD_ASSERTIONS": "1"})
    session.run("python", "tests/fuzz.py", *(session.posargs or ["--seconds", "60"]))
