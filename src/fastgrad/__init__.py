"""micrograd's scalar autograd, compiled."""

from fastgrad.engine import TracingError, Value

__version__ = "0.1.0"

__all__ = ["TracingError", "Value", "check", "compile", "take"]

# Not from typing, whose import takes as long as all of fastgrad's.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastgrad.compiling import compile
    from fastgrad.diagnosis import check
    from fastgrad.tracing import take

LAZY = {"check": "diagnosis", "compile": "compiling", "take": "tracing"}


def __getattr__(name: str) -> object:
    """Load what few programs use at its first use: that halves the time of `import fastgrad`."""
    if name not in LAZY:
        raise AttributeError(f"module 'fastgrad' has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(f"fastgrad.{LAZY[name]}"), name)
    globals()[name] = found
    return found
