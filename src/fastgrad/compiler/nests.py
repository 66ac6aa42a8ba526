"""Nests: Values in lists, tuples and dicts, taken apart and put together again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from fastgrad.engine import Value

__all__ = ["Nest", "described", "leaves_of", "nest_of", "rebuilt"]


class Nest(NamedTuple):
    """The shape of a nest: its class, its keys if it has names, and its parts; None is a nest of no parts.

    A leaf, which is a Value or a number, has the class Value.
    """

    kind: type
    keys: tuple[Any, ...]
    parts: tuple[Nest, ...]


LEAF = Nest(Value, (), ())


def parts_of(nest: Any) -> tuple[type, tuple[Any, ...], list[Any]] | None:
    """Return a nest's class, keys and parts; None for a leaf. An array is a list."""
    if isinstance(nest, Value):
        return None
    if nest is None:
        return type(None), (), []
    if isinstance(nest, dict):
        keys = in_order(nest)
        return dict, keys, [nest[key] for key in keys]
    if isinstance(nest, tuple):
        return type(nest), getattr(nest, "_fields", ()), list(nest)
    if isinstance(nest, list):
        return list, (), nest
    if hasattr(nest, "tolist"):
        items = nest.tolist()
        return (list, (), items) if isinstance(items, list) else None
    return None


def in_order(keys: Iterable[Any]) -> tuple[Any, ...]:
    """Return the keys of a dict sorted, so that dicts of the same keys have the same shape, as in jax."""
    try:
        return tuple(sorted(keys))
    except TypeError:
        return tuple(keys)


def nest_of(nest: Any) -> Nest:
    """Return the shape of a nest."""
    found = parts_of(nest)
    if found is None:
        return LEAF
    kind, keys, parts = found
    return Nest(kind, keys, tuple([nest_of(part) for part in parts]))


def leaves_of(nest: Any) -> Iterator[Any]:
    """Yield the leaves of a nest in their order."""
    found = parts_of(nest)
    if found is None:
        yield nest
    else:
        for part in found[2]:
            yield from leaves_of(part)


def rebuilt(shape: Nest, leaves: Iterator[Any]) -> Any:
    """Return a nest of this shape with these leaves."""
    if shape.kind is Value:
        return next(leaves)
    parts = [rebuilt(part, leaves) for part in shape.parts]
    return assembled(shape, parts)


def assembled(shape: Nest, parts: Sequence[Any]) -> Any:
    """Return the outermost part of a nest with these parts."""
    if shape.kind is type(None):
        return None
    if shape.kind is dict:
        return dict(zip(shape.keys, parts, strict=True))
    make: Callable[..., Any] = shape.kind
    return make(*parts) if shape.keys else make(parts)


def described(shape: Nest) -> str:
    """Return a shape in words: a Value, (a Value, a list of 3)."""
    if shape.kind is Value:
        return "a Value"
    if shape.kind is type(None):
        return "None"
    if shape.kind is dict:
        inside = ", ".join(
            f"{key!r}: {described(part)}" for key, part in zip(shape.keys, shape.parts, strict=True)
        )
        return f"{{{inside}}}"
    if len(shape.parts) > 3 and len(set(shape.parts)) == 1:
        return f"a {shape.kind.__name__} of {len(shape.parts)}, each {described(shape.parts[0])}"
    inside = ", ".join(map(described, shape.parts))
    if shape.kind is list:
        return f"[{inside}]"
    return f"{shape.kind.__name__}({inside})" if shape.keys else f"({inside})"
