from typing_extensions import disjoint_base

# The working state of the passes.
@disjoint_base
class Lowering: ...
