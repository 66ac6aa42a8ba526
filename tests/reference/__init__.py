"""fastgrad's documented semantics in plain Python, to compare the compiled package with.

Slow and short; it shares no code with the package, not even the table of operations: what each means is
said in `evidence/meanings.py`. The files are named like those of the package.
"""

from reference import functional, nn, optim
from reference.compiling import TracingError, compile, slope_of, take  # noqa: A004
from reference.derivatives import slopes
from reference.loops import scan, while_loop
from reference.value import Value, apply, reduce

__all__ = [
    "TracingError",
    "Value",
    "apply",
    "compile",
    "functional",
    "nn",
    "optim",
    "reduce",
    "scan",
    "slope_of",
    "slopes",
    "take",
    "while_loop",
]
