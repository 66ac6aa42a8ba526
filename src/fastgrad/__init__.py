"""micrograd's scalar autograd, compiled."""

from fastgrad.engine import TracingError, Value

__version__ = "0.1.0"

# Not compile, which would replace the builtin of who imports *.
__all__ = ["TracingError", "Value", "check", "take"]

# Not from typing, whose import takes as long as all of fastgrad's.
TYPE_CHECKING = False
if TYPE_CHECKING:
    # By the same name once more: this is how type checkers know that they are meant for others.
    from fastgrad import data as data
    from fastgrad import derivatives as derivatives
    from fastgrad import export as export
    from fastgrad import functional as functional
    from fastgrad import nn as nn
    from fastgrad import optim as optim
    from fastgrad import saving as saving
    from fastgrad import testing as testing
    from fastgrad import viz as viz
    from fastgrad.commands.run import load_ipython_extension as load_ipython_extension
    from fastgrad.commands.run import unload_ipython_extension as unload_ipython_extension
    from fastgrad.compiler import compile as compile
    from fastgrad.compiler import take as take
    from fastgrad.derivatives import grad as grad
    from fastgrad.diagnosis import check

LAZY = {
    "check": "diagnosis",
    "compile": "compiler",
    "grad": "derivatives",
    "load_ipython_extension": "commands.run",
    "take": "compiler",
    "unload_ipython_extension": "commands.run",
}
SUBMODULES = ("data", "derivatives", "export", "functional", "nn", "optim", "saving", "testing", "viz")


def __getattr__(name: str) -> object:
    """Load what few programs use at its first use: that halves the time of `import fastgrad`."""
    if name not in LAZY and name not in SUBMODULES:
        raise AttributeError(f"module 'fastgrad' has no attribute {name!r}")
    from importlib import import_module

    found: object = import_module(f"fastgrad.{LAZY.get(name, name)}")
    if name in LAZY:
        found = getattr(found, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *LAZY, *SUBMODULES})
