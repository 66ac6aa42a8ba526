"""compile: a function of one row, written in Values, as a program that runs over all rows of arrays."""

from __future__ import annotations

import copy
import functools
import inspect
import operator
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from types import MethodType
from typing import Any, Protocol, TypeVar, overload

from fastgrad.compiler.binding import Methods
from fastgrad.compiler.captures import Reads, changed_data
from fastgrad.compiler.graph import Graph, in_words, repeated
from fastgrad.compiler.program import Program
from fastgrad.compiler.signature import (
    OPTIONS,
    arguments_of,
    block_option,
    may_be_given,
    portable,
    require_shared,
    shared_option,
    threads_option,
)
from fastgrad.compiler.source_lines import Lines, shown
from fastgrad.compiler.structures import (
    Structure,
    columns_named,
    columns_of,
    differentiated,
    flattened,
    rebuilt,
    structure_of,
)
from fastgrad.compiler.tracing import lines_of_program, trace
from fastgrad.engine import TracingError, _one_at_a_time, _refused

__all__ = ["Compiled"]

# What the function returns for one row: a Value or a list of them.
Returned = TypeVar("Returned")
# Which change of the data read from outside is warned of: one or two may be settings tried by hand.
CHANGES = 3
OTHER_SOURCE = "source lines are not shown: traced now, the function would be another program"
# A program of more records takes a quarter of a second to trace.
MANY_RECORDS = 100_000
# The attributes that describe a function in its pickle.
DESCRIPTION = ("__module__", "__name__", "__qualname__", "__doc__")


class Compiled(Methods[Returned]):
    """A function that `compile` has compiled; `Compiled[Value]` is one that returns a Value."""

    def __init__(
        self,
        function: Callable[..., Returned],
        threads: int,
        strict: bool,
        block: int,
        shared: tuple[str, ...] = (),
    ) -> None:
        # Without updated=(), the attributes of a callable object would be copied, too.
        functools.update_wrapper(self, function, updated=())
        self.function = function
        name = getattr(function, "__name__", type(function).__name__)
        self._set(name, arguments_of(function, name), (threads, strict, block, shared), [])

    def _set(
        self,
        name: str,
        parameters: inspect.Signature,
        options: tuple[Any, ...],
        programs: list[Program],
    ) -> None:
        """Set everything but the function."""
        self.name = name
        self.parameters_of_function = parameters
        self.names = tuple(parameters.parameters)
        # The defaults that cannot be arguments, by parameter.
        self.unusable = {
            name: parameter.default
            for name, parameter in parameters.parameters.items()
            if not may_be_given(parameter)
        }
        # The name of a parameter `*xs`, or None.
        self.rest = next(
            (one.name for one in parameters.parameters.values() if one.kind is one.VAR_POSITIONAL), None
        )
        kinds = [parameter.kind for parameter in parameters.parameters.values()]
        self.positional = len(kinds) - kinds.count(inspect.Parameter.KEYWORD_ONLY)
        self.by_position = self.positional == len(kinds) and self.rest is None
        # Older pickles have no names of shared arguments.
        self.threads, self.strict, self.block, self.shared = (*options, ())[:4]
        require_shared(self.shared, self.names, self.rest, self.name)
        self.programs = {program.signature: program for program in programs}
        self.latest = programs[-1] if programs else None
        self.chosen = {}
        self.reads = Reads()
        self.snapshot = self.reads.snapshot()
        # How often data that the function reads from outside has changed.
        self.changes = 0
        # The function of all columns, for arguments that are named tuples or dataclasses; and of such a
        # function, the one that has arguments with fields.
        self.of_structures: dict[tuple[Structure | None, ...], Compiled[Any]] = {}
        self.outer: Compiled[Any] | None = None

    def _inlined(self, arguments: tuple[Any, ...], options: dict[str, Any]) -> Returned:
        """Call the function itself: the caller is another function that is traced."""
        if self.function is None:
            raise _refused(
                f"{self.name} cannot be part of another compiled function: it was unpickled with its "
                "programs, without the function itself"
            )
        given = {name: option for name, option in options.items() if name not in OPTIONS}
        found: Returned = self.function(*arguments, **given)
        return found

    def _prepare(
        self, what: str, arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> tuple[Program, list[Any], int, int]:
        """Find or trace the program for these arguments, and make them ready for it."""
        threads, strict, block = self.threads, self.strict, self.block
        if self.function is None and not self._all_programs():
            raise self._unknown_call()
        if options:
            # The caller needs them again if an argument is a named tuple.
            options = options.copy()
            threads = threads_option(options.pop("threads", threads))
            strict = options.pop("strict", strict)
            block = block_option(options.pop("block", block))
        if options or not self.by_position or len(arguments) != len(self.names):
            arguments = self._bound(arguments, options)
        _, ready, program = self._find(arguments, self._names_of(len(arguments)))
        if program is None:
            program = _one_at_a_time(self._found_or_traced, arguments)
        if strict:
            program._verify(ready, what, functools.partial(self._line, program))
        return program, ready, threads, block

    def _bound(self, arguments: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, ...]:
        """Return the arguments in the order of the parameters, with defaults; TypeError for wrong ones."""
        unknown = [name for name in options if name not in self.names]
        for name in unknown:
            if self.function is not None and name in inspect.signature(self.function).parameters:
                raise TypeError(
                    f"{name} is no argument of the compiled {self.name}, as its default is a whole number "
                    "or cannot be an argument: set it with functools.partial, and compile the result"
                )
        bound = self.parameters_of_function.bind(*arguments, **options)
        for name, default in self.unusable.items():
            if name not in bound.arguments:
                raise TypeError(
                    f"{name} must be given: its default, {default!r}, is neither a number nor an array; "
                    f"after a * in the parameters of {self.name}, {name} would be left to the function"
                )
        bound.apply_defaults()
        ready: list[Any] = []
        for name, argument in bound.arguments.items():
            ready += argument if name == self.rest else [argument]
        return tuple(ready)

    def _of_structures(
        self, what: str, arguments: tuple[Any, ...], options: dict[str, Any], **settings: Any
    ) -> Any:
        """Call the function that takes the columns of named tuples and dataclasses as single arguments.

        Derivatives by a named tuple or a dataclass are returned as one of the same class. `settings` are what
        the calls that differentiate take beside options.
        """
        function, arguments = self._receiver(arguments)
        if function is not self:
            return function._of_structures(what, arguments, options, **settings)
        if self.rest is not None:
            raise TypeError(f"{self.name} takes *{self.rest}: each of them is a column, or a list of columns")
        for name in (*OPTIONS, "reduction", "row_weights"):
            if name in options and name not in self.names:
                settings[name] = options[name]
        options = {name: given for name, given in options.items() if name not in settings}
        arguments = self._bound(arguments, options)
        structures = tuple([structure_of(argument) for argument in arguments])
        inner = self._of_columns(structures)
        columns = columns_of(arguments)
        if what == "outputs":
            return inner(*columns, **settings)
        call = getattr(inner, what)
        if "argnums" in settings:
            return differentiated(call, columns, self.name, self.names, structures, **settings)
        result = call(*columns, **settings)
        if what != "input_gradients":
            return result
        gradients = rebuilt(result if len(columns) > 1 else [result], structures)
        return tuple(gradients) if len(gradients) > 1 else gradients[0]

    def _of_columns(self, structures: tuple[Structure | None, ...]) -> Compiled[Any]:
        """Return the function that takes all columns of arguments of these structures."""
        inner = self.of_structures.get(structures)
        if inner is not None:
            return inner
        if self.function is None:
            raise self._unknown_call()
        named = zip(self.names, columns_named(self.names, structures), strict=True)
        made: Compiled[Any] = Compiled(
            flattened(self.function, self.name, self.names, self.positional, structures),
            self.threads,
            self.strict,
            self.block,
            tuple([column for name, columns in named if name in self.shared for column in columns]),
        )
        made.outer = self
        return self.of_structures.setdefault(structures, made)

    def _family(self) -> Iterator[Compiled[Any]]:
        """Yield the function with all those of its columns, whose parameters are its own."""
        waiting: list[Compiled[Any]] = [self]
        while waiting[0].outer is not None:
            waiting[0] = waiting[0].outer
        while waiting:
            each = waiting.pop()
            yield each
            waiting += each.of_structures.values()

    def _all_programs(self) -> list[Program]:
        """Return the programs of all these functions."""
        return [program for each in self._family() for program in each.programs.values()]

    def _names_of(self, count: int) -> tuple[str, ...]:
        """Return the names of a call's arguments, those of `*xs` being xs[0], xs[1] and so on."""
        if self.rest is None:
            return self.names
        at, more = self.names.index(self.rest), count - len(self.names) + 1
        return (*self.names[:at], *(f"{self.rest}[{k}]" for k in range(more)), *self.names[at + 1 :])

    def forget(self) -> None:
        """Drop all programs: the next call traces anew.

        Call it after changing what is not watched: what a container of another kind than list, dict, set
        and array holds, or a very large one, or what the standard library keeps, such as os.environ.
        """
        self.programs.clear()
        self.chosen.clear()
        self.of_structures.clear()
        self.reads = Reads()
        self.latest, self.snapshot = None, self.reads.snapshot()

    def _found_or_traced(self, arguments: tuple[Any, ...]) -> Program:
        """Return the program for the arguments, traced unless another thread has done so meanwhile."""
        signature, _, program = self._find(arguments, self._names_of(len(arguments)))
        if program is None:
            program = self.latest = self._traced(signature)
        return program

    def _traced(self, signature: tuple[int, ...]) -> Program:
        """Trace the function for a signature; first drop all programs if a watched name has changed."""
        if self.function is None:
            raise self._unknown_call()
        if not self.snapshot.is_current():
            self._count_changes()
            self.forget()
        reads = Reads(self)
        names = self._names_of(len(signature))
        positional = len(names) - (len(self.names) - self.positional)
        program, modes = trace(self.function, signature, names, positional, self.name, reads)
        reads.names |= modes
        self.reads.add(reads)
        self.snapshot = self.reads.snapshot()
        self.programs[signature] = program
        for each in self._family():
            each.chosen.clear()
        repeats = repeated(program._graph()) if program.size > MANY_RECORDS else None
        if repeats is not None:
            warnings.warn(
                f"{self.name} is a loop that is unrolled, which takes long to trace: {in_words(repeats)}",
                RuntimeWarning,
                stacklevel=callers_level(),
            )
        return program

    def _count_changes(self) -> None:
        """Warn, once, if data that the function reads from outside has changed for the third time."""
        changed = changed_data(self.snapshot)
        self.changes += bool(changed)
        if changed and self.changes == CHANGES:
            warnings.warn(
                f"{self.name} is traced anew each time that {' or '.join(changed)} changes, which takes much "
                "longer than a call: make it an argument, which may change at no cost, or a Value whose data "
                "you set",
                RuntimeWarning,
                stacklevel=callers_level(),
            )

    def _unknown_call(self) -> TracingError:
        return TracingError(
            f"{self.name} was unpickled or deep-copied, and knows only the calls it was traced for: "
            "call it once with arguments of these kinds before pickling"
        )

    def __str__(self) -> str:
        """Return the program of each signature as text, in the order of their traces.

        Each instruction has its source line, for which the function is traced once more. The numbers that the
        traces have read from outside follow.
        """
        # Most programs are never printed.
        from fastgrad.compiler.listing import listing

        texts = []
        for program in self.programs.values():
            lines = self._lines(program)
            changed = [] if lines or self.function is None else [OTHER_SOURCE]
            texts.append(
                "\n".join([listing(program, lines), *changed, *self.reads.names_of(program.parameters)])
            )
        texts += map(str, self.of_structures.values())
        if not texts:
            return f"{self.name}: not traced yet; call it first"
        fixed = self.reads.fixed()
        return "\n\n".join([*texts, "\n".join(fixed)] if fixed else texts)

    def _lines(self, program: Program) -> Lines:
        """Return the source lines of a program's records; none if the function is not what was traced."""
        if self.function is None:
            return {}
        positional = len(program.names) - (len(self.names) - self.positional)
        return lines_of_program(program, self.function, positional)

    def _line(self, program: Program, graph: Graph, record: int) -> str:
        """Return the place of one record in the source, and the text of that line."""
        lines = self._lines(program).get(id(graph))
        return shown(lines[record]) if lines else ""

    def __copy__(self) -> Compiled[Returned]:
        copied = Compiled.__new__(Compiled)
        vars(copied).update(vars(self))
        copied.function = self.function
        copied.key, copied.instance, copied.origin = self.key, self.instance, self.origin
        copied._set(
            self.name,
            self.parameters_of_function,
            (self.threads, self.strict, self.block, self.shared),
            list(self.programs.values()),
        )
        copied.latest, copied.snapshot = self.latest, self.snapshot
        copied.reads.add(self.reads)
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> Compiled[Returned]:
        """Copy the programs with their parameters; without programs, copy the function that is compiled.

        A function is shared by the copies. A callable object is copied, as it may own parameters.
        """
        rebuild, arguments = self.__reduce__()
        if not self._all_programs() and self.function is not None and self.instance is None:
            rebuild, arguments = (
                Compiled,
                (
                    self.function,
                    self.threads,
                    self.strict,
                    self.block,
                    self.shared,
                ),
            )
        arguments = copy.deepcopy(arguments, memo)
        # Copying a method's instance may have copied this, too, as one of its attributes.
        copied: Compiled[Returned] = memo.get(id(self)) or rebuild(*arguments)
        return copied

    def __reduce__(self) -> tuple[Any, ...]:
        # pickling.py imports this module.
        from fastgrad.compiler.pickling import load_compiled, load_function, load_method

        options = self.threads, self.strict, self.block, self.shared
        if self.instance is not None and self.home is not None:
            return load_method, (*self.home, self.instance)
        if isinstance(self.function, MethodType):
            return load_compiled, (self.function, *options)
        where = None if self.parameters else reference(self)
        return load_function, (
            where,
            {name: getattr(self, name, None) for name in DESCRIPTION},
            self.name,
            portable(self.parameters_of_function),
            options,
            list(self.programs.values()),
            # A function that is found again can be traced again; its classes need not be found.
            {} if where else self.of_structures,
        )


def callers_level() -> int:
    """Return the stack level at which a warning names a line outside of this package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith("fastgrad."):
        level, frame = level + 1, frame.f_back
    return level


def reference(compiled: Compiled[Any]) -> tuple[str, str] | None:
    """Return (module, name) if the function or its compiled form can be imported by these; else None."""
    function = compiled.function
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "<lambda>")
    try:
        found = operator.attrgetter(name)(sys.modules[module or ""])
    except (KeyError, AttributeError):
        return None
    if isinstance(found, Compiled):
        found = found.function
    return (module, name) if module and found is function else None


class Decorator(Protocol):
    """The decorator that `compile` returns if it is called with options only."""

    def __call__(self, function: Callable[..., Returned], /) -> Compiled[Returned]:
        """Compile the function."""


@overload
def compile(
    function: Callable[..., Returned],
    *,
    threads: int = 1,
    strict: bool = False,
    block: int = 0,
    shared: str | Sequence[str] = (),
) -> Compiled[Returned]: ...
@overload
def compile(
    function: None = None,
    *,
    threads: int = 1,
    strict: bool = False,
    block: int = 0,
    shared: str | Sequence[str] = (),
) -> Decorator: ...
def compile(
    function: Callable[..., Returned] | None = None,
    *,
    threads: int = 1,
    strict: bool = False,
    block: int = 0,
    shared: str | Sequence[str] = (),
) -> Compiled[Returned] | Decorator:
    """Compile a function, written in Values for one row, into a program that runs over all rows at once.

    Use it as a decorator, with or without options, each of which a call may also give:

    threads: how many threads share the rows; the results are the same to the bit for any number.
    strict: raise the error that the engine raises, naming row, instruction and value; otherwise the
    program goes on with inf or nan.
    block: how many rows are computed together; 0 chooses by the size of the cache.

    shared: the names of arguments that are the same in all rows: a number, or an array (d,) that the function
    gets as a list of d Values. It is no option of calls.

    A row is one element of each array. An argument is a number, the same for all rows; an array (N,),
    one Value a row; an array (N, d), a list of d Values a row. Arrays are float64 buffers, used without a
    copy, or anything that converts. An array, list or number of integers may be used as numbers or as the
    index of `take`.

    The function is traced, that is run once on placeholders, for each signature of its arguments. Leaves
    from outside are parameters, read at each call; the trace fixes every other number. The function is
    traced anew if a name that it, or a function it calls, reads is bound to something else. Raises
    TracingError if the function reads, compares or prints a number that is only known when the program
    runs.

    >>> from fastgrad import Value
    >>> w = Value(2.0)
    >>> @compile
    ... def loss(x, y):
    ...     return (w * x - y) ** 2
    >>> loss.backward([1.0, 2.0], [2.0, 5.0])
    0.5
    >>> w.grad
    -2.0
    """
    threads, block, names = threads_option(threads), block_option(block), shared_option(shared)
    if function is None:
        return lambda function: Compiled(function, threads, strict, block, names)
    if not callable(function):
        raise TypeError(f"compile needs a function, not {type(function).__name__}")
    return Compiled(function, threads, strict, block, names)
