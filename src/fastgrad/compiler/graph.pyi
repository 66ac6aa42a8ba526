from typing import Any, final

from fastgrad.engine import Value

__all__ = ["OPERATION_ROWS", "Graph"]

OPERATION_ROWS: dict[str, int]

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
    ) -> Graph: ...
    def __reduce__(self) -> tuple[Any, ...]: ...
