from collections.abc import Callable, Sequence
from types import GenericAlias
from typing import Any, Generic, TypeAlias, TypeVar, overload

import numpy
from numpy.typing import NDArray
from typing_extensions import Self, disjoint_base

from fastgrad.compiler.graph import Graph
from fastgrad.compiler.watch import Snapshot
from fastgrad.engine import Value

__all__ = ["Program", "Programs"]

@disjoint_base
class Program:
    signature: tuple[int, ...]
    name: str
    def _graph(self) -> Graph: ...
    def _names(self) -> tuple[str, ...]: ...
    @property
    def parameters(self) -> tuple[Value, ...]: ...
    def __new__(
        cls, graph: Graph, signature: tuple[int, ...], names: tuple[str, ...], name: str, single: bool
    ) -> Program: ...
    def outputs(self, arguments: list[Any], threads: int, block: int) -> Any: ...
    def backward(self, arguments: list[Any], threads: int, block: int) -> Any: ...
    def input_gradients(self, arguments: list[Any], threads: int, block: int) -> Any: ...
    def _verify(self, arguments: list[Any], what: str = "outputs") -> None: ...

# What the compiled function returns for one row.
_Returned = TypeVar("_Returned", covariant=True)
# Without numpy, a memoryview of doubles.
_Array: TypeAlias = NDArray[numpy.float64]
_Traced: TypeAlias = Value | Sequence[Value]
# By an argument of numbers, of rows, and of indices.
_Gradient: TypeAlias = float | list[float] | list[list[float]] | _Array | None

@disjoint_base
class Programs(Generic[_Returned]):
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
    origin: Programs[Any] | None
    @classmethod
    def __class_getitem__(cls, returned: Any) -> GenericAlias: ...
    def __get__(self, instance: object, owner: type | None = None) -> Self: ...
    def _find(
        self, arguments: tuple[object, ...], names: tuple[str, ...]
    ) -> tuple[tuple[int, ...], list[Any], Program | None]: ...
    # In another function that is being compiled.
    @overload
    def __call__(self, first: _Traced, /, *arguments: object, **options: object) -> _Returned: ...
    @overload
    def __call__(  # type: ignore[overload-overlap, unused-ignore]
        self: Programs[Value], *arguments: float, **options: float
    ) -> float: ...
    @overload
    def __call__(  # type: ignore[overload-overlap, unused-ignore]
        self: Programs[Sequence[Value]], *arguments: float, **options: float
    ) -> list[float]: ...
    # A number that is no float or int gives floats, too.
    @overload
    def __call__(self, *arguments: object, **options: object) -> _Array: ...
    @overload
    def backward(self: Programs[Value], *arguments: object, **options: object) -> float: ...
    @overload
    def backward(self: Programs[Sequence[Value]], *arguments: object, **options: object) -> list[float]: ...
    @overload
    def backward(self, *arguments: object, **options: object) -> float | list[float]: ...
    def input_gradients(self, *arguments: object, **options: object) -> _Gradient | tuple[_Gradient, ...]: ...

# An array that a call fills.
@disjoint_base
class Results: ...
