from typing import Any, final

from typing_extensions import disjoint_base

from fastgrad.engine import Value

__all__ = ["OPERATION_ROWS", "Graph", "Input", "Loop", "in_words", "repeated"]

OPERATION_ROWS: dict[str, int]

# An input of a loop's step; graph.pxd describes the fields.
@disjoint_base
class Input:
    kind: int
    source: int
    number: int
    first: int
    stride: int
    def __new__(cls, kind: int, source: int, number: int = 0, first: int = 0, stride: int = 1) -> Input: ...

@disjoint_base
class Loop:
    body: Graph
    name: str
    steps: int
    states: int
    outside: int
    inputs: tuple[Input, ...]
    def __new__(
        cls, body: Graph, name: str, steps: int, states: int, outside: int, inputs: tuple[Input, ...]
    ) -> Loop: ...

@final
class Graph:
    def __new__(
        cls,
        records: bytes,
        operands: bytes,
        constants: list[float],
        parameters: tuple[Value, ...],
        leaves: list[tuple[int, int]],
        selections: list[tuple[int, int]],
        outputs: list[int],
        numbered_here: bool = False,
        loops: tuple[Loop, ...] = (),
        taken: tuple[int, int, int] | None = None,
    ) -> Graph: ...
    def is_valid_place(self, leaf: int, column: int) -> bool: ...
    def places(self) -> Any: ...
    def _read_by(self, outputs: set[int]) -> tuple[list[int], set[tuple[int, int]]]: ...
    def _needed_by(self, read: set[int] | None = None) -> tuple[bytearray, dict[int, set[int]]]: ...
    def _taken(self) -> tuple[int, int, int]: ...
    def _loops(self) -> tuple[Loop, ...]: ...
    def _parts(
        self,
    ) -> tuple[bytes, bytes, list[float], tuple[Value, ...], list[Any], list[Any], list[int]]: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

def repeated(graph: Graph) -> tuple[int, int, int] | None: ...
def in_words(repeats: tuple[int, int, int]) -> str: ...
