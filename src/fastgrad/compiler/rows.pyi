from typing_extensions import disjoint_base

# A graph in plain C.
@disjoint_base
class RowProgram: ...
