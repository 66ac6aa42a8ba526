from typing import Any

from typing_extensions import disjoint_base

__all__ = ["StructureError", "describe_signature", "prepare_arguments", "prepare_numbers"]

class StructureError(TypeError): ...

# One argument of a call, ready for it.
@disjoint_base
class Prepared:
    @property
    def signature(self) -> int: ...
    def total(self) -> float: ...

def prepare_arguments(
    arguments: tuple[object, ...], names: tuple[str, ...], shared: tuple[str, ...] = ()
) -> list[Any]: ...
def prepare_numbers(source: object, name: str, shared: bool) -> Prepared: ...
def describe_signature(signature: tuple[int, ...]) -> list[tuple[str, int | None]]: ...
