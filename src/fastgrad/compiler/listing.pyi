from typing_extensions import disjoint_base

from fastgrad.compiler.program import Program

__all__ = ["listing"]

# Goes through a plan as it runs.
@disjoint_base
class Reader: ...

# The lines by graph and record, as source_lines has them.
def listing(program: Program, lines: dict[int, list[tuple[tuple[str, int], ...]]] | None = None) -> str: ...
