"""compile: a function of one row, written in Values, as a program that runs over all rows of arrays."""

from __future__ import annotations

import functools
import importlib
import inspect
import operator
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import CodeType
from typing import Any, NoReturn

from fastgrad.engine import TracingError, Value, _begin_tracing, _end_tracing, _is_tracing, _read_graph
from fastgrad.program import Graph, Program, Programs, Snapshot, describe_signature

__all__ = ["Compiled", "Index", "TracingError", "compile", "take"]

# One function at a time is traced; others wait.
TRACING = threading.Lock()
OPTIONS = ("threads", "check", "block")


def reset_after_fork() -> None:
    """In a new process, release the lock if a thread that is not in it was tracing."""
    global TRACING
    if not _is_tracing():
        TRACING = threading.Lock()  # no cover: runs in a forked child, whose counts are lost with it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=reset_after_fork)


class Index(Value):
    """What an integer argument is while its function is traced: an index for `take`, or a number."""

    def __init__(self, argument: int, column: int) -> None:
        super().__init__(float("nan"))
        self.place = (argument, column)

    def refuse(self, *_: object) -> NoReturn:
        """Raise TracingError: the index of one row would be frozen into the program."""
        raise TracingError(
            "an index is only known when the program runs: select with fastgrad.take(values, index)"
        )

    __index__ = __int__ = __bool__ = __lt__ = __le__ = __gt__ = __ge__ = refuse

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Value) or not hasattr(other, "__float__"):
            return self is other
        return self.refuse()

    __hash__ = Value.__hash__


class Selection:
    """The operation of the nodes that `take` makes while tracing."""

    _compiles = True

    def __init__(self, place: tuple[int, int]) -> None:
        self.place = place

    def __repr__(self) -> str:
        return "take"


def take(values: Sequence[Any], index: Any) -> Any:
    """Return values[index]; in a compiled function the index may differ from row to row.

    values: Values or numbers, or lists of them of equal length, of which a list is then taken
    element by element: `take(table, token)` is a row of an embedding. Raises IndexError unless
    0 <= index < len(values), TypeError if the index is no integer, ValueError for rows of unequal length.
    """
    values = list(values)
    if not values:
        raise ValueError("take needs at least one value")
    if isinstance(index, Index):
        if isinstance(values[0], (list, tuple)):
            if len({len(row) for row in values}) != 1:
                raise ValueError("take needs rows of equal length")
            return [take(column, index) for column in zip(*values, strict=True)]
        leaves = [value if isinstance(value, Value) else Value(value) for value in values]
        return Value(float("nan"), leaves, Selection(index.place))  # type: ignore[arg-type]
    position = operator.index(index)
    if not 0 <= position < len(values):
        raise IndexError(f"take has {len(values)} values to choose from, not number {position}")
    return values[position]


def placeholder(kind: str, argument: int, column: int) -> Value:
    if kind in ("index", "whole number"):
        return Index(argument, column)
    return Value(float("nan"))


def trace(
    function: Callable[..., Any], signature: tuple[int, ...], names: tuple[str, ...], name: str
) -> Program:
    """Run the function on placeholders and return its program; TracingError if it cannot be one."""
    places: dict[int, tuple[int, int]] = {}
    arguments: list[Any] = []
    for number, (kind, columns) in enumerate(describe_signature(signature)):
        row = [placeholder(kind, number, column) for column in range(1 if columns is None else columns)]
        places.update((id(value), (number, column)) for column, value in enumerate(row))
        arguments.append(row[0] if columns is None else row)
    with TRACING:
        drawn = random.getstate()
        drawn_by_numpy = numpy_state()
        _begin_tracing()
        try:
            output = function(*arguments)
            single, outputs = flat_outputs(output)
            records, operands, constants, leaves, symbols, numbers = _read_graph(outputs)
        finally:
            _end_tracing()
        if random.getstate() != drawn or numpy_state() != drawn_by_numpy:
            raise TracingError(
                f"{name} draws random numbers: they would be the same in every row and call; "
                "pass them as an argument"
            )
    parameters = [leaf for leaf in leaves if id(leaf) not in places]
    numbered = {id(leaf): number for number, leaf in enumerate(parameters)}
    leaf_places = [places.get(id(leaf)) or (-1, numbered[id(leaf)]) for leaf in leaves]
    selections = [symbol.place for symbol in symbols]
    graph = Graph(records, operands, constants, tuple(parameters), leaf_places, selections, numbers)
    return Program(graph, signature, names, name, single)


def numpy_state() -> Any:
    """Return the state of numpy's global generator in a form that compares, None if numpy is not loaded."""
    numpy = sys.modules.get("numpy")
    generator = getattr(numpy, "random", None) if numpy else None
    if generator is None:
        return None
    _, keys, *rest = generator.get_state()
    return keys.tobytes(), *rest


def flat_outputs(output: object) -> tuple[bool, list[Value]]:
    """Return whether the output is a single Value, and the list of Values that it is."""
    single = not isinstance(output, (list, tuple))
    items = [output] if single else list(output)  # type: ignore[call-overload]
    if not items:
        raise TracingError("the function returns nothing: an empty list")
    values = []
    for item in items:
        if isinstance(item, (int, float)):
            item = Value(item)
        if not isinstance(item, Value):
            raise TracingError(
                f"a compiled function returns a Value or a list of Values, not {type(item).__name__}"
            )
        values.append(item)
    return single, values


def snapshot(function: Any) -> Snapshot:
    """Look at the cells and the globals that a function's code refers to, and at the mode of modules."""
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    nn = sys.modules.get("fastgrad.nn")
    names: list[tuple[dict[str, Any], str, object]] = []
    if nn is not None:
        names.append((vars(nn), "mode_changes", nn.mode_changes))
    if code is None:
        return Snapshot([], names)
    scope = function.__globals__
    read = dict.fromkeys(name for part in codes(code) for name in part.co_names if name in scope)
    names += [(scope, name, scope[name]) for name in read]
    cells = [cell for cell in function.__closure__ or () if filled(cell)]
    return Snapshot([(cell, cell.cell_contents) for cell in cells], names)


def codes(code: CodeType) -> Iterator[CodeType]:
    """Yield a function's code and that of the functions and comprehensions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


class Compiled(Programs):
    """A function compiled by `compile`; see there."""

    def __init__(self, function: Callable[..., Any], threads: int, check: bool, block: int) -> None:
        self.function: Callable[..., Any] | None = function
        self.threads = threads
        self.check = check
        self.block = block
        functools.update_wrapper(self, function)
        self.name = getattr(function, "__name__", type(function).__name__)
        self.parameters_of_function = inspect.signature(function)
        self.names = tuple(self.parameters_of_function.parameters)
        for parameter in self.parameters_of_function.parameters.values():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise TypeError(
                    f"{self.name} takes *{parameter.name}: a compiled function's arguments need names"
                )
            if parameter.name in OPTIONS:
                raise TypeError(
                    f"{self.name} has a parameter {parameter.name!r}, which is an option of its calls"
                )
        self.programs = {}
        self.latest = None
        self.snapshot = Snapshot([], [])

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Return the outputs of all rows: (N,), or (N, k) for a list of k; floats if no argument has rows.

        In another function that is being compiled: what the function itself returns.
        """
        if _is_tracing() and self.function is not None:
            return self.function(*arguments, **options)
        return self._outputs(*arguments, **options)

    def _prepare(
        self, arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> tuple[Program, list[Any], int, int]:
        """Find or trace the program for these arguments, and make them ready for it."""
        threads, check, block = self.threads, self.check, self.block
        if options:
            threads = threads_option(options.pop("threads", threads))
            check = options.pop("check", check)
            block = block_option(options.pop("block", block))
        if options or len(arguments) != len(self.names):
            bound = self.parameters_of_function.bind(*arguments, **options)
            bound.apply_defaults()
            arguments = tuple(bound.arguments.values())
        signature, ready, program = self._find(arguments)
        if program is None:
            program = self.latest = self._traced(signature)
        if check:
            program.check(ready)
        return program, ready, threads, block

    def forget(self) -> None:
        """Drop all programs: the next call traces anew.

        For what cannot be noticed: numbers, or leaves put in the place of others, in lists and
        attributes that the function reads.
        """
        self.programs.clear()
        self.latest, self.snapshot = None, Snapshot([], [])

    def _traced(self, signature: tuple[int, ...]) -> Program:
        """Trace the function for a signature; a program for names bound otherwise is forgotten."""
        if self.function is None:
            raise TracingError(
                f"{self.name} was unpickled without its function: it knows only the calls it was traced for"
            )
        seen = snapshot(self.function)
        program = trace(self.function, signature, self.names, self.name)
        if not self.snapshot.is_current():
            self.programs.clear()
        self.snapshot = seen
        self.programs[signature] = program
        return program

    @property
    def parameters(self) -> list[Value]:
        """The leaves that the programs read, in the order of their first use; empty before the first call."""
        return list(
            {id(leaf): leaf for program in self.programs.values() for leaf in program.parameters}.values()
        )

    def __str__(self) -> str:
        if self.latest is None:
            return f"{self.name}: not traced yet; call it first"
        return str(self.latest)

    def __get__(self, instance: object, owner: type | None = None) -> Compiled:
        """Return the function of one instance, compiled on its own and kept in the instance."""
        if instance is None or self.function is None:
            return self
        bound = Compiled(self.function.__get__(instance, owner), self.threads, self.check, self.block)
        vars(instance)[self.name] = bound
        return bound

    def __reduce__(self) -> tuple[Any, ...]:
        return restored, (
            reference(self),
            self.name,
            self.names,
            self.threads,
            self.check,
            self.block,
            list(self.programs.values()),
        )


def filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def reference(compiled: Compiled) -> tuple[str, str] | None:
    """Return (module, name) if the function, or what it is compiled to, is found there; else None."""
    function = compiled.function
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "<lambda>")
    try:
        found = operator.attrgetter(name)(sys.modules[module or ""])
    except (KeyError, AttributeError):
        return None
    return (module, name) if module and (found is function or found is compiled) else None


def restored(
    where: tuple[str, str] | None,
    name: str,
    names: tuple[str, ...],
    threads: int,
    check: bool,
    block: int,
    programs: list[Program],
) -> Compiled:
    """Rebuild a pickled function: the programs as they were, and the function if it can be found."""
    self = Compiled.__new__(Compiled)
    self.function = None
    self.name, self.names = name, names
    self.threads, self.check, self.block = threads, check, block
    self.parameters_of_function = inspect.Signature(
        [inspect.Parameter(each, inspect.Parameter.POSITIONAL_OR_KEYWORD) for each in names]
    )
    self.snapshot = Snapshot([], [])
    if where is not None:
        try:
            found = operator.attrgetter(where[1])(importlib.import_module(where[0]))
        except (ImportError, AttributeError):
            found = None
        self.function = found.function if isinstance(found, Compiled) else found
    self.programs = {program.signature: program for program in programs}
    self.latest = programs[-1] if programs else None
    return self


def threads_option(threads: Any) -> int:
    """Check the number of threads."""
    number = operator.index(threads)
    if number < 1:
        raise ValueError(f"threads must be at least 1, not {number}")
    return number


def block_option(block: Any) -> int:
    """Check the number of rows of a block; 0 is for the program to choose."""
    number = operator.index(block)
    if number < 0:
        raise ValueError(f"block must not be negative, not {number}")
    return number


def compile(
    function: Callable[..., Any] | None = None, *, threads: int = 1, check: bool = False, block: int = 0
) -> Any:
    """Compile a function, written in Values for one row, into a program that runs over all rows at once.

    Use it as a decorator, with or without options, each of which a call may also give:

    threads: how many threads share the rows; the results are the same to the bit for any number.
    check: raise what the engine would raise, naming row, instruction and value, where the program
    would otherwise go on with inf or nan.
    block: rows computed together; 0 chooses by the size of the cache.

    An argument is a number, the same for all rows; an array (N,), one Value a row; an array (N, d), a
    list of d Values. Arrays are float64 buffers, used without a copy, or anything that converts. An
    array, list or number of integers may be used as numbers or as the index of `take`.

    The function is traced once for each signature of its arguments. Leaves from outside are
    parameters, read at each call; every other number that it uses is fixed by the trace, which is
    repeated if a name it reads is bound to something else. Raises TracingError if the function reads,
    compares or prints what is only known when the program runs.

    >>> w = Value(2.0)
    >>> @compile
    ... def loss(x, y):
    ...     return (w * x - y) ** 2
    >>> loss.backward([1.0, 2.0], [2.0, 5.0])
    0.5
    >>> w.grad
    -2.0
    """
    threads, block = threads_option(threads), block_option(block)
    if function is None:
        return lambda function: Compiled(function, threads, check, block)
    if not callable(function):
        raise TypeError(f"compile needs a function, not {type(function).__name__}")
    return Compiled(function, threads, check, block)
