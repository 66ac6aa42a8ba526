from collections.abc import Callable
from types import CodeType, FrameType, FunctionType
from typing import Any

from typing_extensions import disjoint_base

__all__ = ["ABSENT", "Contents", "Snapshot", "Watch", "class_table", "dotted_names"]

# Stands for the object of a name or a cell that is unbound.
ABSENT: object

def class_table(kind: type) -> dict[str, Any] | None: ...
def dotted_names(code: CodeType) -> list[tuple[str, ...]]: ...

@disjoint_base
class Contents:
    thing: Any
    def __new__(cls, thing: Any, slots: tuple[str, ...] = ()) -> Contents: ...
    def is_current(self) -> bool: ...

@disjoint_base
class Snapshot:
    cells: list[tuple[Any, object, str]]
    names: list[tuple[dict[str, Any], str, object]]
    functions: list[tuple[FunctionType, CodeType, object, object]]
    contents: list[Contents]
    def __init__(
        self,
        cells: list[tuple[Any, object, str]],
        names: list[tuple[dict[str, Any], str, object]],
        functions: list[tuple[FunctionType, CodeType, object, object]],
        contents: list[Contents],
    ) -> None: ...
    def is_current(self) -> bool: ...

@disjoint_base
class Watch:
    drew: bool
    failed: object
    def __init__(self, enter: Callable[[FrameType], bool], generator: object) -> None: ...
    def call(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> Any: ...
