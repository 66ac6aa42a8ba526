from typing_extensions import disjoint_base

__all__: list[str] = []

# A graph in plain C.
@disjoint_base
class RowProgram: ...
