"""micrograd's scalar autograd, compiled."""

from fastgrad.engine import Value

__version__ = "0.1.0"

__all__ = ["Value"]
