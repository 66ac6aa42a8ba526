"""The compiler: a function of one row, traced once, as a program that runs over all rows."""

from fastgrad.compiler.compiled import Compiled, compile
from fastgrad.compiler.tracing import take

__all__ = ["Compiled", "compile", "take"]
