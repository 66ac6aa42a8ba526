from typing_extensions import disjoint_base

__all__: list[str] = []

# The working state of the passes.
@disjoint_base
class Lowering: ...

# The operands of a step that has any number of them.
@disjoint_base
class WideStep: ...

# What is known of the numbers that a loop's step reads.
@disjoint_base
class Scope: ...

# A loop as a step.
@disjoint_base
class LoopStep: ...

# What finds like steps side by side.
@disjoint_base
class Bundling: ...

def _bundle_from(members: int) -> int: ...

# What all plans of a program share.
@disjoint_base
class Layout: ...
