"""The parameters and the options of a compiled function's calls."""

from __future__ import annotations

import inspect
import numbers
import operator
from collections.abc import Callable
from typing import Any

from fastgrad.compiler.arguments import prepare_arguments

__all__ = [
    "arguments_of",
    "block_option",
    "may_be_given",
    "portable",
    "require_shared",
    "shared_option",
    "threads_option",
]

OPTIONS = ("threads", "strict", "block")
# The largest int of C, in which the options are kept.
MOST = 2**31 - 1


def arguments_of(function: Callable[..., Any], name: str) -> inspect.Signature:
    """Return the parameters that are arguments of the compiled function.

    A keyword-only parameter keeps its default, and is no argument, if the default is a whole number or cannot
    be an argument: `functools.partial(loss, model=model)`, `*, layers=3`. Raises TypeError for a parameter
    that a compiled function cannot have.
    """
    parameters = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            raise TypeError(f"{name} takes **{parameter.name}: a compiled function's arguments need names")
        if parameter.name in OPTIONS:
            raise TypeError(f"{name} has a parameter {parameter.name!r}, which is an option of its calls")
        if parameter.kind is not parameter.KEYWORD_ONLY or (
            may_be_given(parameter) and not isinstance(parameter.default, numbers.Integral)
        ):
            parameters.append(parameter)
    return inspect.Signature(parameters)


def may_be_given(parameter: inspect.Parameter) -> bool:
    """Return whether a parameter has no default, or a default that could be an argument.

    True and False are no numbers here: they are settings of the function.
    """
    if parameter.default is parameter.empty:
        return True
    if isinstance(parameter.default, bool):
        return False
    if isinstance(parameter.default, (list, tuple)) and not parameter.default:
        # An empty list has no rows; it is most often a place to collect results in.
        return False
    try:
        prepare_arguments((parameter.default,), (parameter.name,))
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def portable(signature: inspect.Signature) -> inspect.Signature:
    """Return a signature that pickles: no annotations, and None for defaults that cannot be arguments."""
    return inspect.Signature(
        [
            parameter.replace(
                annotation=parameter.empty, default=parameter.default if may_be_given(parameter) else None
            )
            for parameter in signature.parameters.values()
        ]
    )


def whole_option(name: str, option: Any, lowest: int) -> int:
    """Check an option that is a whole number; raise TypeError or ValueError that names it."""
    try:
        number = operator.index(option)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, not {option!r}") from None
    if not lowest <= number <= MOST:
        raise ValueError(f"{name} must be at least {lowest} and at most {MOST}, not {number}")
    return number


def threads_option(threads: Any) -> int:
    """Check the number of threads."""
    return whole_option("threads", threads, 1)


def block_option(block: Any) -> int:
    """Check the number of rows of a block; with 0 the program chooses."""
    return whole_option("block", block, 0)


def shared_option(shared: Any) -> tuple[str, ...]:
    """Return the names of the arguments that all rows share; TypeError if they are no names."""
    names = (shared,) if isinstance(shared, str) else shared
    if not isinstance(names, (tuple, list)) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"shared is the name of an argument, or a list of names, not {shared!r}")
    return tuple(names)


def require_shared(shared: tuple[str, ...], names: tuple[str, ...], rest: str | None, function: str) -> None:
    """Raise TypeError for a shared argument that the function does not have."""
    for name in shared:
        if name not in names:
            raise TypeError(f"{function} has no argument {name!r} that rows could share")
        if name == rest:
            raise TypeError(f"*{name} cannot be shared: numbers are the same in all rows, give these")
