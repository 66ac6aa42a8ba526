"""micrograd's scalar autograd, compiled."""

from fastgrad.engine import Value

__all__ = ["Value"]
