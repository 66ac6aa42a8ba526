"""micrograd's scalar autograd, compiled."""

from fastgrad.engine import TracingError, Value

__version__ = "0.1.0.dev0"

# `compile` is missing: a star import must not replace the builtin.
__all__ = ["TracingError", "Value", "check", "overfit", "scan", "take", "while_loop"]

# Not from typing: importing that takes as long as importing all of fastgrad.
TYPE_CHECKING = False
if TYPE_CHECKING:
    # `import x as x` tells type checkers that the name is public.
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
    from fastgrad.compiler import scan as scan
    from fastgrad.compiler import take as take
    from fastgrad.compiler import while_loop as while_loop
    from fastgrad.derivatives import grad as grad
    from fastgrad.diagnosis import check, overfit

LAZY = {
    "check": "diagnosis",
    "compile": "compiler",
    "grad": "derivatives",
    "load_ipython_extension": "commands.run",
    "overfit": "diagnosis",
    "scan": "compiler",
    "take": "compiler",
    "unload_ipython_extension": "commands.run",
    "while_loop": "compiler",
}
SUBMODULES = ("data", "derivatives", "export", "functional", "nn", "optim", "saving", "testing", "viz")


def __getattr__(name: str) -> object:
    """Import a submodule, or a name of one, at its first use: that halves the time of `import fastgrad`."""
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
