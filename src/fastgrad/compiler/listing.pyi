from typing_extensions import disjoint_base

from fastgrad.compiler.program import Program

__all__ = ["listing"]

# Goes through a plan as it runs.
@disjoint_base
class Reader: ...

def listing(program: Program) -> str: ...
