"""The checks of docs/reliability.md, one command each: `nox --list` names them, `nox -s NAME` runs one.

The quick ones are part of `.ci/run`, which makes its own environments and does not need nox.
"""

import nox

nox.options.sessions = ["tests"]
nox.options.reuse_existing_virtualenvs = True
nox.options.default_venv_backend = "venv"

PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]


@nox.session(python=PYTHONS)
def tests(session):
    """The suite on an installed package, on every Python that is here."""
    session.install(".[test]")
    session.run("python", "-m", "pytest", *session.posargs)
