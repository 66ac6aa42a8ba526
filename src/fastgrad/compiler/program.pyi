from collections.abc import Callable, Sequence
from types import GenericAlias
from typing import Any, Generic, Self, TypeAlias, TypeVar, overload

import numpy
from numpy.typing import ArrayLike, NDArray
from typing_extensions import disjoint_base

from fastgrad.compiler.graph import Graph
from fastgrad.compiler.plan import Plan
from fastgrad.compiler.watch import Snapshot
from fastgrad.engine import Value

__all__ = [
    "Program",
    "Programs",
    "data_of",
    "gradients_by_passes",
    "hessian_by_passes",
    "set_data",
    "sums_by_passes",
]

@disjoint_base
class Program:
    @property
    def signature(self) -> tuple[int, ...]: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def name(self) -> str: ...
    def _graph(self) -> Graph: ...
    def _plans_shown(self) -> tuple[Plan, Plan, int, str]: ...
    def _names(self) -> tuple[str, ...]: ...
    @property
    def parameters(self) -> tuple[Value, ...]: ...
    @property
    def output_shape(self) -> tuple[int, ...]: ...
    @property
    def size(self) -> int: ...
    @property
    def has_loops(self) -> bool: ...
    def __new__(
        cls, graph: Graph, signature: tuple[int, ...], names: tuple[str, ...], name: str, single: bool
    ) -> Program: ...
    def outputs(self, arguments: list[Any], threads: int, block: int) -> Any: ...
    def backward(self, arguments: list[Any], threads: int, block: int) -> Any: ...
    def input_gradients(self, arguments: list[Any], threads: int, block: int) -> Any: ...
    def derived(self, key: tuple[Any, ...], more: tuple[int, ...] = ()) -> Program: ...
    def count_rows_of(self, arguments: list[Any]) -> int: ...
    def fill(
        self,
        arguments: list[Any],
        threads: int,
        block: int,
        shapes: list[tuple[int, ...]],
        outs: Sequence[Any] | None = None,
    ) -> list[Any]: ...
    def sums(
        self,
        arguments: list[Any],
        threads: int,
        block: int,
        scale: float,
        shapes: list[tuple[int, ...]],
        outs: Sequence[Any] | None = None,
    ) -> list[Any]: ...
    def reduced(
        self,
        arguments: list[Any],
        threads: int,
        block: int,
        scale: float,
        columns: tuple[tuple[int, int] | None, ...] | None,
        shapes: list[tuple[int, ...]],
        outs: Sequence[Any] | None = None,
    ) -> tuple[list[float], Any]: ...
    def hessian_by_columns(
        self,
        arguments: list[Any],
        threads: int,
        block: int,
        scale: float,
        columns: tuple[tuple[int, int] | None, ...],
        shapes: list[tuple[int, ...]],
        outs: Sequence[Any] | None = None,
    ) -> Any: ...
    def needs_passes(self, columns: tuple[tuple[tuple[int, int] | None, ...], ...]) -> bool: ...
    def _verify(
        self,
        arguments: list[Any],
        what: str = "outputs",
        locate: Callable[[Graph, int], str] | None = None,
    ) -> None: ...

# The result of the compiled function for one row.
_Returned = TypeVar("_Returned", covariant=True)
# Without numpy, a memoryview of doubles.
_Array: TypeAlias = NDArray[numpy.float64]
_Traced: TypeAlias = Value | Sequence[Value]
# The gradient by a number, by an array, or by indices (None).
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
    shared: tuple[str, ...]
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
    def _prepared(
        self, call: str, what: str, arguments: tuple[object, ...], options: dict[str, Any]
    ) -> tuple[Program, list[Any], int, int]: ...
    def _receiver(self, arguments: tuple[object, ...]) -> tuple[Any, tuple[object, ...]]: ...
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

def data_of(leaves: list[Value]) -> _Array: ...
def gradients_by_passes(
    self: Program,
    arguments: list[Any],
    threads: int,
    block: int,
    columns: tuple[tuple[tuple[int, int] | None, ...], ...],
    values: bool,
    shapes: list[tuple[int, ...]],
    outs: Sequence[Any] | None = None,
) -> list[Any]: ...
def hessian_by_passes(
    self: Program,
    arguments: list[Any],
    threads: int,
    block: int,
    columns: tuple[tuple[int, int] | None, ...],
    shapes: list[tuple[int, ...]],
    outs: Sequence[Any] | None = None,
) -> Any: ...
def sums_by_passes(
    self: Program,
    arguments: list[Any],
    threads: int,
    block: int,
    scale: float,
    columns: tuple[tuple[tuple[int, int] | None, ...], ...],
    values: bool,
    shapes: list[tuple[int, ...]],
    outs: Sequence[Any] | None = None,
) -> list[Any]: ...
def set_data(leaves: list[Value], theta: ArrayLike) -> None: ...

# An array that a call fills.
@disjoint_base
class Results: ...
