"""The compiler: a function of one row, traced once, as a program that runs over all rows."""

from fastgrad.compiler.compiled import Compiled
from fastgrad.compiler.compiled import compile as compile
from fastgrad.compiler.scanning import scan, while_loop
from fastgrad.compiler.tracing import take

# compile is imported by name: a star import must not replace the builtin.
__all__ = ["Compiled", "scan", "take", "while_loop"]
