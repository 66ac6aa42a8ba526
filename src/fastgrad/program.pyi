from collections.abc import Callable
from typing import Any

from typing_extensions import disjoint_base

from fastgrad.engine import Value

_ABSENT: object

@disjoint_base
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

@disjoint_base
class Program:
    signature: tuple[int, ...]
    name: str
    @property
    def parameters(self) -> tuple[Value, ...]: ...
    def __init__(
        self, graph: Graph, signature: tuple[int, ...], names: tuple[str, ...], name: str, single: bool
    ) -> None: ...
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

# What a call, and the way to a program, are made of; not for use.
@disjoint_base
class Plan:
    bytes: int

@disjoint_base
class Lowering: ...

@disjoint_base
class Allocation: ...

@disjoint_base
class Prepared: ...

@disjoint_base
class Results: ...

@disjoint_base
class Workspace: ...
