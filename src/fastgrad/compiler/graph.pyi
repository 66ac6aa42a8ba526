from typing import Any, final

from fastgrad.engine import Value

@final
class Graph:
    def __init__(
        self,
        records: bytes,
        operands: bytes,
        constants: list[float],
        parameters: tuple[Value, ...],
        leaves: list[tuple[int, int]],
        selections: list[tuple[int, int]],
        outputs: list[int],
    ) -> None: ...
    def __reduce__(self) -> tuple[Any, ...]: ...
