"""compile: a function of one row, written in Values, as a program that runs over all rows of arrays."""

from __future__ import annotations

import copy
import dis
import functools
import importlib
import inspect
import operator
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import CodeType, FunctionType, MethodType
from typing import Any, NoReturn

from fastgrad.engine import TracingError, Value, _begin_tracing, _end_tracing, _is_tracing, _read_graph
from fastgrad.program import Graph, Program, Programs, Snapshot, describe_signature, prepare_arguments

__all__ = ["Compiled", "Index", "TracingError", "compile", "take"]

# One function at a time is traced; others wait.
TRACING = threading.Lock()
OPTIONS = ("threads", "check", "block")
# The largest int of C, in which the options are kept.
MOST = 2**31 - 1
# What a pickled function says about itself.
DESCRIPTION = ("__module__", "__name__", "__qualname__", "__doc__")
# The instructions that read a global.
READ_GLOBAL = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")


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
        if hasattr(values[0], "__len__"):
            if len({len(row) for row in values}) != 1:
                raise ValueError("take needs rows of equal length")
            return alike(values[0], [take(column, index) for column in zip(*values, strict=True)])
        leaves = [value if isinstance(value, Value) else Value(value) for value in values]
        return Value(float("nan"), leaves, Selection(index.place))  # type: ignore[arg-type]
    if isinstance(index, Value):
        raise TypeError("the index of take must be an argument of integers, or an integer, not a Value")
    position = operator.index(index)
    if not 0 <= position < len(values):
        raise IndexError(f"take has {len(values)} values to choose from, not number {position}")
    return values[position]


def alike(row: Any, items: list[Any]) -> Any:
    """Return the items as a list, or as an array of objects if the row is one of numpy's."""
    if not hasattr(row, "astype"):
        return items
    array = row.astype(object)
    array[:] = items
    return array


def placeholder(kind: str, argument: int, column: int) -> Value:
    if kind in ("index", "whole number"):
        return Index(argument, column)
    return Value(float("nan"))


def trace(
    function: Callable[..., Any],
    signature: tuple[int, ...],
    names: tuple[str, ...],
    positional: int,
    name: str,
) -> Program:
    """Run the function on placeholders and return its program; TracingError if it cannot be one.

    positional: how many of the arguments are given by position, the others by name.
    """
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
            named = dict(zip(names[positional:], arguments[positional:], strict=True))
            output = function(*arguments[:positional], **named)
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
    # In any form but the legacy one, which only one of numpy's generators has.
    return comparable(generator.get_state(legacy=False))


def comparable(state: Any) -> Any:
    """Return a generator's state, dicts of numbers and arrays, with bytes for the arrays."""
    if isinstance(state, dict):
        return {name: comparable(part) for name, part in state.items()}
    return state.tobytes() if hasattr(state, "tobytes") else state


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


def snapshot(compiled: Compiled) -> Snapshot:
    """Look at the cells and globals that the function and its helpers read, and at the mode of modules.

    Helpers are the Python functions that cells and globals contain, and those behind methods, partials
    and compiled functions; what attributes and containers contain is not looked at.
    """
    names: dict[tuple[int, str], tuple[dict[str, Any], str, object]] = {}
    cells: dict[int, tuple[Any, object]] = {}
    nn = sys.modules.get("fastgrad.nn")
    if nn is not None:
        names[0, ""] = (vars(nn), "mode_changes", nn.mode_changes)
    seen: dict[int, object] = {}
    waiting: list[object] = [compiled]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen[id(thing)] = thing
        waiting += called_by(thing)
        if isinstance(thing, FunctionType) and not is_ours(thing):
            read = {(id(scope), name): (scope, name, bound) for scope, name, bound in globals_of(thing)}
            closed = {id(cell): (cell, cell.cell_contents) for cell in filled_cells(thing)}
            names |= read
            cells |= closed
            waiting += [entry[-1] for entry in (*read.values(), *closed.values())]
    return Snapshot(list(cells.values()), list(names.values()))


def called_by(thing: object) -> list[object]:
    """Return what is behind a compiled function, a partial or a method: what may be a function."""
    if isinstance(thing, Compiled):
        return [thing.function, inspect.getattr_static(type(thing.function), "__call__", None)]
    if isinstance(thing, functools.partial):
        return [thing.func, *thing.args, *thing.keywords.values()]
    if isinstance(thing, (MethodType, staticmethod)):
        return [thing.__func__]
    return []


def is_ours(function: FunctionType) -> bool:
    """Return whether a function is one of this package, whose names stay what they are."""
    module: str = function.__globals__.get("__name__") or ""
    return module.partition(".")[0] == "fastgrad"


def globals_of(function: FunctionType) -> Iterator[tuple[dict[str, Any], str, object]]:
    """Yield the scope, name and object of each global that the function's code reads."""
    scope = function.__globals__
    for code in codes(function.__code__):
        for instruction in dis.get_instructions(code):
            if instruction.opname in READ_GLOBAL and instruction.argval in scope:
                yield scope, instruction.argval, scope[instruction.argval]


def codes(code: CodeType) -> Iterator[CodeType]:
    """Yield a function's code and that of the functions and comprehensions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


def filled_cells(function: FunctionType) -> Iterator[Any]:
    """Yield the cells of a function's closure that are bound to something."""
    for cell in function.__closure__ or ():
        try:
            cell.cell_contents  # noqa: B018
        except ValueError:
            continue
        yield cell


def arguments_of(function: Callable[..., Any], name: str) -> inspect.Signature:
    """Return the parameters that are arguments of the compiled function; TypeError for what cannot be one.

    One that must be named, and whose default is nothing to compute with, is left to the function:
    `functools.partial(loss, model=model)`.
    """
    parameters = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(f"{name} takes *{parameter.name}: a compiled function's arguments need names")
        if parameter.name in OPTIONS:
            raise TypeError(f"{name} has a parameter {parameter.name!r}, which is an option of its calls")
        if parameter.kind is not parameter.KEYWORD_ONLY or may_be_given(parameter):
            parameters.append(parameter)
    return inspect.Signature(parameters)


def may_be_given(parameter: inspect.Parameter) -> bool:
    """Return whether a parameter has no default, or one that could be given as an argument."""
    if parameter.default is parameter.empty:
        return True
    try:
        prepare_arguments((parameter.default,), (parameter.name,))
    except (TypeError, ValueError):
        return False
    return True


def portable(signature: inspect.Signature) -> inspect.Signature:
    """Return a signature that pickles: without annotations, and None for defaults that are no arguments."""
    return inspect.Signature(
        [
            parameter.replace(
                annotation=parameter.empty, default=parameter.default if may_be_given(parameter) else None
            )
            for parameter in signature.parameters.values()
        ]
    )


class Compiled(Programs):
    """A function compiled by `compile`; see there."""

    # The class and the name that a method was defined with.
    home: tuple[type, str] | None = None

    def __init__(self, function: Callable[..., Any], threads: int, check: bool, block: int) -> None:
        # The attributes of a callable object are its own.
        functools.update_wrapper(self, function, updated=())
        self.function: Callable[..., Any] | None = function
        name = getattr(function, "__name__", type(function).__name__)
        self._set(name, arguments_of(function, name), (threads, check, block), [])

    def _set(
        self,
        name: str,
        parameters: inspect.Signature,
        options: tuple[int, bool, int],
        programs: list[Program],
    ) -> None:
        """Set everything but the function."""
        self.name = name
        self.parameters_of_function = parameters
        self.names = tuple(parameters.parameters)
        kinds = [parameter.kind for parameter in parameters.parameters.values()]
        self.positional = len(kinds) - kinds.count(inspect.Parameter.KEYWORD_ONLY)
        self.by_position = self.positional == len(kinds)
        self.threads, self.check, self.block = options
        self.programs = {program.signature: program for program in programs}
        self.latest = programs[-1] if programs else None
        self.snapshot = Snapshot([], [])

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Return the outputs of all rows: (N,), or (N, k) for a list of k; floats if no argument has rows.

        In another function that is being compiled: what the function itself returns.
        """
        if not _is_tracing():
            return self._outputs(*arguments, **options)
        if self.function is None:
            raise TracingError(
                f"{self.name} cannot be part of another compiled function: it was unpickled with its "
                "programs, without the function itself"
            )
        return self.function(
            *arguments, **{name: option for name, option in options.items() if name not in OPTIONS}
        )

    def _prepare(
        self, arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> tuple[Program, list[Any], int, int]:
        """Find or trace the program for these arguments, and make them ready for it."""
        threads, check, block = self.threads, self.check, self.block
        if self.function is None and not self.programs:
            raise self._unknown_call()
        if options:
            threads = threads_option(options.pop("threads", threads))
            check = options.pop("check", check)
            block = block_option(options.pop("block", block))
        if options or not self.by_position or len(arguments) != len(self.names):
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
            raise self._unknown_call()
        seen = snapshot(self)
        program = trace(self.function, signature, self.names, self.positional, self.name)
        if not self.snapshot.is_current():
            self.programs.clear()
        self.snapshot = seen
        self.programs[signature] = program
        return program

    def _unknown_call(self) -> TracingError:
        return TracingError(
            f"{self.name} was unpickled or deep-copied, and knows only the calls it was traced for: "
            "call it once with such arguments before pickling"
        )

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

    def __set_name__(self, owner: type, name: str) -> None:
        self.home = owner, name
        self.key = f"_compiled {owner.__module__}.{owner.__qualname__}.{name}"

    def _method(self, instance: object, owner: type | None, attributes: object) -> Compiled:
        """Compile the function of an instance, to be kept in the instance's dict.

        Raises TypeError if the instance cannot keep it, having no dict, or being a class.
        """
        function = self.function
        if not hasattr(type(function), "__get__") or isinstance(function, (staticmethod, MethodType)):
            # As with any such object that is called, the instance is no argument.
            return self
        if not isinstance(attributes, dict):
            raise TypeError(
                f"{type(instance).__name__!r} objects cannot keep a compiled method {self.name!r}: "
                "it needs an instance with a __dict__"
            )
        if self.home is None:
            self._find_home(type(instance))
        method = function.__get__(instance, owner)  # type: ignore[union-attr]
        bound = Compiled(method, self.threads, self.check, self.block)
        if self.home is not None:
            bound.home, bound.instance, bound.origin = self.home, instance, self
            attributes[self.key] = bound
        return bound

    def _find_home(self, kind: type) -> None:
        """Look for the name by which a class has this method, which was set when the class was there."""
        for owner in kind.__mro__:
            for name, found in vars(owner).items():
                if found is self:
                    self.__set_name__(owner, name)
                    return

    def __copy__(self) -> Compiled:
        copied = Compiled.__new__(Compiled)
        vars(copied).update(vars(self))
        copied.key, copied.instance, copied.origin = self.key, self.instance, self.origin
        copied._set(
            self.name,
            self.parameters_of_function,
            (self.threads, self.check, self.block),
            list(self.programs.values()),
        )
        copied.latest, copied.snapshot = self.latest, self.snapshot
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> Compiled:
        """Copy the programs with their parameters; without programs, what is compiled.

        That copies a callable object, whose parameters are its own, and shares a function.
        """
        rebuild, arguments = self.__reduce__()
        if not self.programs and self.function is not None and self.instance is None:
            rebuild, arguments = Compiled, (self.function, self.threads, self.check, self.block)
        arguments = copy.deepcopy(arguments, memo)
        # The instance of a method may have copied it with its attributes.
        copied: Compiled = memo.get(id(self)) or rebuild(*arguments)
        return copied

    def __reduce__(self) -> tuple[Any, ...]:
        options = self.threads, self.check, self.block
        if self.instance is not None and self.home is not None:
            return method_of, (*self.home, self.instance)
        if isinstance(self.function, MethodType):
            return Compiled, (self.function, *options)
        return restored, (
            None if self.parameters else reference(self),
            {name: getattr(self, name, None) for name in DESCRIPTION},
            self.name,
            portable(self.parameters_of_function),
            options,
            list(self.programs.values()),
        )


def method_of(owner: type, name: str, instance: object) -> Any:
    """Return an instance's method as a class defines it, whatever other classes make of the name."""
    return inspect.getattr_static(owner, name).__get__(instance, type(instance))


def reference(compiled: Compiled) -> tuple[str, str] | None:
    """Return (module, name) if the function, or what it is compiled to, is found there; else None."""
    function = compiled.function
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "<lambda>")
    try:
        found = operator.attrgetter(name)(sys.modules[module or ""])
    except (KeyError, AttributeError):
        return None
    if isinstance(found, Compiled):
        found = found.function
    return (module, name) if module and found is function else None


def restored(
    where: tuple[str, str] | None,
    description: dict[str, Any],
    name: str,
    parameters: inspect.Signature,
    options: tuple[int, bool, int],
    programs: list[Program],
) -> Compiled:
    """Rebuild a pickled function: its programs and, if none of them has parameters, the function.

    A new trace would use this process's parameters, where the programs have those of the pickle.
    """
    self = Compiled.__new__(Compiled)
    self.function = None
    vars(self).update(description)
    if where is not None:
        try:
            found = operator.attrgetter(where[1])(importlib.import_module(where[0]))
        except (ImportError, AttributeError):
            found = None
        self.function = found.function if isinstance(found, Compiled) else found
    self._set(name, parameters, options, programs)
    return self


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
    """Check the number of rows of a block; 0 is for the program to choose."""
    return whole_option("block", block, 0)


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
    repeated if a name that it or a helper reads is bound to something else. Raises TracingError if the
    function reads, compares or prints what is only known when the program runs.

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
