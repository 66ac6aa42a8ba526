from typing_extensions import disjoint_base

# The working state of the passes.
@disjoint_base
class Lowering: ...

# The operands of a step that has any number of them.
@disjoint_base
class WideStep: ...
