"""micrograd's scalar autograd, compiled."""

from fastgrad.engine import TracingError, Value

__version__ = "0.1.0"

__all__ = ["TracingError", "Value", "check", "compile", "take"]

# Not from typing, whose import takes as long as all of fastgrad's.
TYPE_CHECKING = False
if TYPE_CHECKING:
    # By the same name once more: this is how type checkers know that they are meant for others.
    from fastgrad import data as data
    from fastgrad import export as export
    from fastgrad import functional as functional
    from fastgrad import nn as nn
    from fastgrad import optim as optim
    from fastgrad import saving as saving
    from fastgrad import testing as testing
    from fastgrad import viz as viz
    from fastgrad.compiling import compile
    from fastgrad.diagnosis import check
    from fastgrad.running import load_ipython_extension as load_ipython_extension
    from fastgrad.running import unload_ipython_extension as unload_ipython_extension
    from fastgrad.tracing import take

LAZY = {
    "check": "diagnosis",
    "compile": "compiling",
    "load_ipython_extension": "running",
    "take": "tracing",
    "unload_ipython_extension": "running",
}
SUBMODULES = ("data", "export", "functional", "nn", "optim", "saving", "testing", "viz")


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
