from typing import TypedDict

from typing_extensions import disjoint_base

from fastgrad.compiler.graph import Loop

__all__: list[str] = []

class _Parts(TypedDict):
    made_once: list[int]
    made: list[int]
    origin: list[int]
    table: list[int]
    shared: list[tuple[int, int]]
    constants: list[float]

class _LoopParts(TypedDict):
    base: int
    makes: int
    results: list[int]

# Instructions for one purpose; plan.pxd describes the fields.
@disjoint_base
class Plan:
    once_count: int
    forward_count: int
    backward_count: int
    registers: int
    parameters: int
    flops: float
    stepwise: int
    loops: list[LoopPlan]
    loop_numbers: list[int]
    all_loops: list[LoopPlan]
    bytes: int
    def _instruction(self, way: int, at: int) -> tuple[str, bool, tuple[int, int, int], dict[str, int]]: ...
    def _wide(self, number: int) -> dict[str, int]: ...
    def _parts(self) -> _Parts: ...

# The working state of the passes over the steps.
@disjoint_base
class Allocation: ...

# A loop of a plan.
@disjoint_base
class LoopPlan:
    loop: Loop
    body: Plan
    over_steps: Plan | None
    def _parts(self) -> _LoopParts: ...
