"""Nests: Values in lists, tuples, dicts and arrays, taken apart and put together again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from fastgrad.engine import Value

__all__ = [
    "Nest",
    "described",
    "items_of",
    "leaves_of",
    "nest_of",
    "rebuilt",
    "with_arrays",
    "without_arrays",
]


class Nest(NamedTuple):
    """The shape of a nest: its class, its keys if it has names, and its parts; None is a nest of no parts.

    A leaf, which is a Value or a number, has the class Value.
    """

    kind: type
    keys: tuple[Any, ...]
    parts: tuple[Nest, ...]


LEAF = Nest(Value, (), ())


class Array:
    """The class of a nest that is rebuilt as an array of numpy: `2 * s` repeats a list."""


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
        items = items_of(nest)
        return (list, (), items) if isinstance(items, list) else None
    return None


def items_of(array: Any) -> Any:
    """Return an array as lists, or its number; TypeError for a tensor that requires a gradient."""
    if getattr(array, "requires_grad", False) is True:
        # Refuses it: it would lose its gradient.
        Value(array)
    return array.tolist()


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


def with_arrays(nest: Any) -> Nest:
    """Return the shape of a nest in which arrays are no lists, so that rebuilt() makes arrays of them."""
    found = parts_of(nest)
    if found is None:
        return LEAF
    kind, keys, parts = found
    if kind is list and hasattr(nest, "__array__"):
        rows = map(with_arrays, nest) if getattr(nest, "ndim", 1) > 1 else map(nest_of, parts)
        return Nest(Array, (), tuple(rows))
    return Nest(kind, keys, tuple(map(with_arrays, parts)))


def without_arrays(shape: Nest) -> Nest:
    """Return the shape that nest_of() gives."""
    kind = list if shape.kind is Array else shape.kind
    return Nest(kind, shape.keys, tuple(map(without_arrays, shape.parts)))


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
    if shape.kind is Array:
        import numpy

        return numpy.array(parts, dtype=object)
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
