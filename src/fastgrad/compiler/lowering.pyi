from typing_extensions import disjoint_base

__all__: list[str] = []

# The working state of the passes.
@disjoint_base
class Lowering: ...

# The operands of a step that has any number of them.
@disjoint_base
class WideStep: ...
