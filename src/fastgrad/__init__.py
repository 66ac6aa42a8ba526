"""micrograd's scalar autograd, compiled."""

from importlib import import_module

from fastgrad.engine import TracingError, Value

__version__ = "0.1.0"

__all__ = ["TracingError", "Value", "check", "compile", "take"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastgrad.compiling import compile, take
    from fastgrad.diagnosis import check

LATER = {"check": "diagnosis", "compile": "compiling", "take": "compiling"}


def __getattr__(name: str) -> object:
    # What few programs use is imported when it is: that halves the time of `import fastgrad`.
    if name in LATER:
        return getattr(import_module(f"fastgrad.{LATER[name]}"), name)
    raise AttributeError(f"module 'fastgrad' has no attribute {name!r}")
