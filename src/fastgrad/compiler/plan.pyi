from typing_extensions import disjoint_base

__all__: list[str] = []

# Instructions for one purpose.
@disjoint_base
class Plan:
    bytes: int

# The working state of the passes over the steps.
@disjoint_base
class Allocation: ...

# A loop of a plan.
@disjoint_base
class LoopPlan: ...
