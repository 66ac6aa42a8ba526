"""micrograd's scalar autograd, compiled."""

from typing import TYPE_CHECKING, Any

from fastgrad.diagnosis import check
from fastgrad.engine import TracingError, Value

if TYPE_CHECKING:
    from fastgrad.compiling import compile, take

__version__ = "0.1.0"

__all__ = ["TracingError", "Value", "check", "compile", "take"]


def __getattr__(name: str) -> Any:
    """Load the compiler at its first use: most programs do without it, and start faster."""
    if name not in ("compile", "take"):
        raise AttributeError(f"module 'fastgrad' has no attribute {name!r}")
    from fastgrad import compiling

    globals().update(compile=compiling.compile, take=compiling.take)
    return globals()[name]
