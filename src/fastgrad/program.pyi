from collections.abc import Callable, Iterable
from typing import Any

from typing_extensions import disjoint_base

from fastgrad.engine import Value

__all__ = ["Program", "available_kernels"]

@disjoint_base
class Graph:
    def __new__(
        cls,
        records: bytes,
        operands: bytes,
        constants: Iterable[float],
        parameters: tuple[Value, ...],
        leaves: Iterable[tuple[int, int]],
        selections: Iterable[tuple[int, int]],
        outputs: Iterable[int],
    ) -> Graph: ...
    def __reduce__(self) -> tuple[Any, ...]: ...

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
    def check(self, arguments: list[Any]) -> None: ...

@disjoint_base
class Snapshot:
    def __init__(
        self, cells: list[tuple[Any, object]], names: list[tuple[dict[str, Any], str, object]]
    ) -> None: ...
    def is_current(self) -> bool: ...

@disjoint_base
class Programs:
    function: Callable[..., Any] | None
    name: str
    names: tuple[str, ...]
    by_position: bool
    threads: int
    check: bool
    block: int
    programs: dict[tuple[int, ...], Program]
    snapshot: Snapshot
    latest: Program | None
    key: str | None
    instance: object
    origin: Programs | None
    def __get__(self, instance: object, owner: type | None = None) -> Any: ...
    def _find(self, arguments: tuple[object, ...]) -> tuple[tuple[int, ...], list[Any], Program | None]: ...
    def _outputs(self, *arguments: Any, **options: Any) -> Any: ...
    def backward(self, *arguments: Any, **options: Any) -> Any: ...
    def input_gradients(self, *arguments: Any, **options: Any) -> Any: ...

def available_kernels() -> list[str]: ...
def _forget_helpers() -> None: ...
def prepare_arguments(arguments: tuple[object, ...], names: tuple[str, ...]) -> list[Any]: ...
def describe_signature(signature: tuple[int, ...]) -> list[tuple[str, int | None]]: ...
