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
def truth(session):
    """Gradients of 100,000 random rational graphs against exact fractions, eager and compiled."""
    session.install(".", "mpmath", "numpy")
    session.run("python", "tests/reliability/exact_gradients.py", *session.posargs)


@nox.session
def accuracy(session):
    """Every row of the table against mpmath on all binades; `-- --write` writes docs/accuracy.md."""
    session.install(".", "mpmath", "numpy")
    session.run("python", "tests/reliability/measure_accuracy.py", *session.posargs)


@nox.session
def mutants(session):
    """Mutants of the table of operations, all of which the tests must kill."""
    session.install("cython>=3.3,<3.4", "setuptools>=77")
    session.install("hypothesis", "micrograd", "mpmath", "numpy", "pytest>=8")
    session.run("python", "tests/reliability/mutants.py", *session.posargs)
