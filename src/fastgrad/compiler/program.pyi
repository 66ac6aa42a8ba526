from collections.abc import Callable
from typing import Any

from typing_extensions import disjoint_base

from fastgrad.compiler.graph import Graph
from fastgrad.compiler.watch import Snapshot
from fastgrad.engine import Value

__all__ = ["Program", "Programs"]

@disjoint_base
class Program:
    signature: tuple[int, ...]
    name: str
    @property
    def parameters(self) -> tuple[Value, ...]: ...
    def __new__(
        cls, graph: Graph, signature: tuple[int, ...], names: tuple[str, ...], name: str, single: bool
    ) -> Program: ...
    def outputs(self, arguments: list[Any], threads: int, block: int) -> Any: ...
    def backward(self, arguments: list[Any], threads: int, block: int) -> Any: ...
    def input_gradients(self, arguments: list[Any], threads: int, block: int) -> Any: ...
    def _verify(self, arguments: list[Any], what: str = "outputs") -> None: ...

@disjoint_base
class Programs:
    function: Callable[..., Any] | None
    name: str
    names: tuple[str, ...]
    by_position: bool
    threads: int
    strict: bool
    block: int
    programs: dict[tuple[int, ...], Program]
    snapshot: Snapshot
    latest: Program | None
    key: str | None
    instance: object
    origin: Programs | None
    def __get__(self, instance: object, owner: type | None = None) -> Any: ...
    def _find(
        self, arguments: tuple[object, ...], names: tuple[str, ...]
    ) -> tuple[tuple[int, ...], list[Any], Program | None]: ...
    def _outputs(self, *arguments: Any, **options: Any) -> Any: ...
    def backward(self, *arguments: Any, **options: Any) -> Any: ...
    def input_gradients(self, *arguments: Any, **options: Any) -> Any: ...

# An array that a call fills.
@disjoint_base
class Results: ...
