from typing import Any

from typing_extensions import disjoint_base

__all__ = ["StructureError", "describe_signature", "prepare_arguments"]

class StructureError(TypeError): ...

# One argument of a call, ready for it.
@disjoint_base
class Prepared: ...

def prepare_arguments(arguments: tuple[object, ...], names: tuple[str, ...]) -> list[Any]: ...
def describe_signature(signature: tuple[int, ...]) -> list[tuple[str, int | None]]: ...
