"""Derivatives of functions of Values, in the words of jax and torch.func.

An argument is a number or a Value, or a list of them; lists, tuples and arrays of one dimension are given to
the function as lists of Values. A function returns a Value or a list of Values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import SupportsFloat, SupportsIndex, TypeAlias, overload

from fastgrad.derivatives.reverse import pull_back
from fastgrad.engine import Value, _is_tracing, apply

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vjp"]

Number: TypeAlias = Value | SupportsFloat
Argument: TypeAlias = Number | Iterable[Number]
# One Value, or a list of them.
Values: TypeAlias = Value | list[Value]


def as_value(number: Number) -> Value:
    return number if isinstance(number, Value) else Value(number)


def apart(values: Values) -> Values:
    """Return new Values with the same data, each computed from its original.

    Derivatives by them are partial, even if one argument is computed from another or is the same object.
    """
    if isinstance(values, list):
        return [value for each in values for value in flat(apart(each), "an argument")]
    # An Index has no derivative, and must stay an Index for `take`.
    return apply("mul", values, 1.0) if type(values) is Value else values


def as_argument(argument: Argument) -> Values:
    if isinstance(argument, Value) or not hasattr(argument, "__iter__"):
        return as_value(argument)
    if type(argument) in (str, dict):
        raise TypeError(f"an argument is a number or a list of numbers, not a {type(argument).__name__}")
    # An array without dimensions has __iter__, but is a single number.
    if getattr(argument, "ndim", 1) == 0:
        return as_value(argument)  # type: ignore[arg-type]
    values = []
    for number in argument:
        if hasattr(number, "__iter__") and getattr(number, "ndim", 1) > 0:
            raise TypeError(
                "an argument is a number or a list of numbers, not a list of lists: give its rows as "
                "arguments of their own, or all numbers in one list"
            )
        values.append(as_value(number))
    return values


def flat(values: object, what: str) -> list[Value]:
    """Return a Value, or a list of Values, as a list; TypeError for anything else."""
    items = [values] if isinstance(values, Value) else values
    if hasattr(items, "tolist"):
        items = items.tolist()
    if not isinstance(items, (list, tuple)):
        raise TypeError(f"{what} is a Value or a list of Values, not {type(values).__name__}")
    for item in items:
        if not isinstance(item, (Value, int, float)):
            raise TypeError(f"{what} is a Value or a list of Values, not one with a {type(item).__name__}")
    return [as_value(item) for item in items]


def like(structure: object, values: list[Value]) -> Values:
    """Return a single Value where the structure is one, else the list."""
    return values[0] if isinstance(structure, Value) else values


def result_of(
    function: Callable[..., object],
    arguments: Sequence[Values],
    named: Mapping[str, object] | None = None,
) -> tuple[object, list[Value]]:
    """Return the function's result, with a number as a Value, and the same as a flat list."""
    if hasattr(function, "input_gradients") and not _is_tracing():
        name = getattr(function, "name", "the function")
        raise TypeError(
            f"{name} is compiled, and runs on numbers: its derivatives are {name}.jacobian(...), "
            f"{name}.hessian(...) and {name}.hvp(...)"
        )
    result = function(*arguments, **(named or {}))
    if isinstance(result, (int, float)):
        result = Value(result)
    return result, flat(result, f"what {getattr(function, '__name__', 'the function')} returns")


def chosen(arguments: Sequence[Values], argnums: int) -> list[Value]:
    if not isinstance(argnums, SupportsIndex):
        raise TypeError(f"argnums is the number of one argument, not {argnums!r}")
    if not -len(arguments) <= argnums < len(arguments):
        raise ValueError(f"argnums is {argnums}, but there are {len(arguments)} arguments")
    return flat(arguments[argnums], "an argument")


def along(directions: Sequence[Argument], arguments: Sequence[Values], what: str) -> list[Value]:
    """Return the directions as one list; ValueError unless they have the shapes of the arguments."""
    if len(directions) != len(arguments):
        raise ValueError(f"{len(arguments)} arguments need as many {what}, not {len(directions)}")
    found: list[Value] = []
    for place, (direction, argument) in enumerate(zip(directions, arguments, strict=True)):
        ready = as_argument(direction)
        wanted, given = (len(each) if isinstance(each, list) else None for each in (argument, ready))
        if wanted != given:
            raise ValueError(f"{what}[{place}] is {shown(given)}, but the argument {shown(wanted)}")
        found += flat(ready, what)
    return found


def shown(length: int | None) -> str:
    return "a single number" if length is None else f"a list of {length}"


def push_forward(outputs: list[Value], xs: list[Value], tangents: list[Value]) -> list[Value]:
    """Return the derivative of each output along the tangents.

    The product of a seed and the Jacobian is linear in the seed: its derivative by the seed is the Jacobian.
    """
    seeds = [Value(0.0) for _ in outputs]
    products = pull_back(outputs, list(seeds), xs)
    return pull_back(products, list(tangents), seeds)


def jvp(
    function: Callable[..., object], primals: Sequence[Argument], tangents: Sequence[Argument]
) -> tuple[Values, Values]:
    """Return (function(*primals), its derivative along the tangents).

    primals, tangents: tuples of arguments, of equal shapes. Both results have the shape of what the function
    returns. Raises ValueError for other shapes.

    >>> y, dy = jvp(lambda x: x**2, (3.0,), (1.0,))
    >>> y.data, dy.data
    (9.0, 6.0)
    """
    for what, given in (("primals", primals), ("tangents", tangents)):
        if not hasattr(given, "__iter__"):
            raise TypeError(f"{what} are a tuple of arguments, not {given!r}")
    arguments = [apart(as_argument(primal)) for primal in primals]
    directions = along(tangents, arguments, "tangents")
    result, outputs = result_of(function, arguments)
    xs = [x for argument in arguments for x in flat(argument, "an argument")]
    return like(result, outputs), like(result, push_forward(outputs, xs, directions))


def vjp(
    function: Callable[..., object], *primals: Argument
) -> tuple[Values, Callable[[Argument], tuple[Values, ...]]]:
    """Return (function(*primals), a function that pulls a cotangent back to the arguments).

    That function takes a cotangent of the shape of the result, and returns a tuple of the derivatives by each
    argument, in the argument's shape. Raises ValueError for another shape.

    >>> y, pull = vjp(lambda a, b: a * b, 2.0, 5.0)
    >>> [derivative.data for derivative in pull(1.0)]
    [5.0, 2.0]
    """
    arguments = [apart(as_argument(primal)) for primal in primals]
    result, outputs = result_of(function, arguments)

    def pull(cotangent: Argument) -> tuple[Values, ...]:
        seeds = along([cotangent], [like(result, outputs)], "the cotangent")
        xs = [x for argument in arguments for x in flat(argument, "an argument")]
        products = iter(pull_back(outputs, list(seeds), xs))
        return tuple(
            like(argument, [next(products) for _ in flat(argument, "an argument")]) for argument in arguments
        )

    return like(result, outputs), pull


@overload
def jacobian(function: Callable[..., Value], argnums: int = 0) -> Callable[..., list[Value]]: ...
@overload
def jacobian(
    function: Callable[..., Sequence[Value]], argnums: int = 0
) -> Callable[..., list[list[Value]]]: ...
def jacobian(function: Callable[..., object], argnums: int = 0) -> Callable[..., object]:
    """Return a function that computes the derivatives of a function's result by one of its arguments.

    argnums: the number of that argument; arguments that are given by name are left as they are. For a result
    that is a list of k, by a list of n, it computes a list of k lists of n Values: row i has the derivatives
    of result i. If the result or the argument is a single Value, that dimension is missing: the derivatives
    of a single Value by a list are its gradient, a list of n. Raises ValueError if there is no such argument.

    >>> rows = jacobian(lambda x: [x[0] * x[1], x[0] ** 2])([3.0, 4.0])
    >>> [[entry.data for entry in row] for row in rows]
    [[4.0, 3.0], [6.0, 0.0]]
    """

    def derivatives(*given: Argument, **named: object) -> object:
        arguments = [apart(as_argument(argument)) for argument in given]
        xs = chosen(arguments, argnums)
        result, outputs = result_of(function, arguments, named)
        rows = [like(arguments[argnums], pull_back([output], [1.0], xs)) for output in outputs]
        return rows[0] if isinstance(result, Value) else rows

    return derivatives


def hessian(function: Callable[..., Value], argnums: int = 0) -> Callable[..., list[list[Value]]]:
    """Return a function that computes the second derivatives of a single Value by one argument.

    argnums: the number of that argument. By a list of n it computes a list of n lists of n Values, by a
    single Value one Value. Raises ValueError if there is no such argument, TypeError if the function returns
    a list.

    >>> rows = hessian(lambda x: x[0] ** 2 * x[1])([3.0, 4.0])
    >>> [[entry.data for entry in row] for row in rows]
    [[8.0, 6.0], [6.0, 0.0]]
    """

    def gradient(*arguments: Values, **named: object) -> Values:
        result, outputs = result_of(function, arguments, named)
        if not isinstance(result, Value):
            raise TypeError("hessian takes a function that returns one Value, not a list")
        return like(arguments[argnums], pull_back(outputs, [1.0], chosen(arguments, argnums)))

    def derivatives(*given: Argument, **named: object) -> list[list[Value]]:
        arguments = [apart(as_argument(argument)) for argument in given]
        chosen(arguments, argnums)
        return jacobian(gradient, argnums)(*arguments, **named)  # type: ignore[return-value, arg-type]

    return derivatives


def hvp(function: Callable[..., Value], primals: Sequence[Argument], tangents: Sequence[Argument]) -> Values:
    """Return the product of a function's Hessian by its first argument and the tangents, without the Hessian.

    It is jax's `jvp(grad(function), primals, tangents)[1]`, of the shape of the first argument. Raises
    ValueError for tangents of other shapes, TypeError if the function returns a list.

    >>> product = hvp(lambda x: x[0] ** 2 * x[1], ([3.0, 4.0],), ([1.0, 0.0],))
    >>> [entry.data for entry in product]
    [8.0, 6.0]
    """

    def gradient(*arguments: Values) -> Values:
        result, outputs = result_of(function, arguments)
        if not isinstance(result, Value):
            raise TypeError("hvp takes a function that returns one Value, not a list")
        return like(arguments[0], pull_back(outputs, [1.0], chosen(arguments, 0)))

    return jvp(gradient, primals, tangents)[1]
