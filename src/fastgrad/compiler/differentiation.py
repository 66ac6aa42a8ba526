"""The calls of a compiled function that differentiate it, in the words of jax and scipy."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypeVar, overload

from fastgrad.compiler.arguments import StructureError, describe_signature, prepare_numbers
from fastgrad.compiler.program import (
    Program,
    Programs,
    data_of,
    gradients_by_passes,
    hessian_by_passes,
    set_data,
    sums_by_passes,
)
from fastgrad.engine import Value

if TYPE_CHECKING:
    import numpy
    from numpy.typing import ArrayLike, NDArray

    # Without numpy, a memoryview of doubles.
    Array: TypeAlias = NDArray[numpy.float64]
    # A float64 array that a call fills; None for a new one.
    Out: TypeAlias = Array | memoryview | None

__all__ = ["Differentiable"]

Returned = TypeVar("Returned", covariant=True)
Reduction: TypeAlias = Literal["mean", "sum"]
# A leaf: (argument, column), (-1, parameter), or None for a parameter that the program does not have.
Column: TypeAlias = "tuple[int, int] | None"
# A number of the call's arguments, or a name.
Argnum: TypeAlias = "int | str"
# The name in `argnums` for the leaves from outside, as one array.
PARAMETERS = "parameters"
# The kinds of float arguments in a signature: by row, and shared by all rows.
REALS, NUMBER = 0, 2
# The most instructions that the Hessian of a reduction may take as one program; a larger one is computed
# column by column.
MOST_OF_HESSIAN = 300_000


class Chosen(NamedTuple):
    """What the derivatives are by: for each of `argnums`, its columns and its shape in a row."""

    columns: tuple[tuple[Column, ...], ...]
    shapes: tuple[tuple[int, ...], ...]
    # The signatures of tangents, and whether all rows share them.
    tangents: tuple[int, ...]
    shared: tuple[bool, ...]
    # The name of the first argument that differs by row, or None.
    by_row: str | None

    # All columns.
    flat: tuple[Column, ...]
    # Whether `argnums` are a tuple.
    several: bool
    # The shapes of the value and of the derivatives of one row.
    results: list[tuple[int, ...]]
    # The programs of the first derivatives, with the values and without.
    programs: dict[bool, Program]


class Differentiable(Programs[Returned]):
    """Value and derivatives of every row, by arguments or parameters, and of the rows' mean or sum."""

    # The name of a parameter `*xs`, or None.
    rest: str | None
    # By program and `argnums`: the choice. It is found again when another program may have more parameters.
    chosen: dict[tuple[Program, Any], Chosen]
    # Compiled's methods for arguments that are named tuples or dataclasses.
    _of_structures: Callable[..., Any]
    _all_programs: Callable[[], list[Program]]

    @property
    def parameters(self) -> list[Value]:
        """The leaves that the programs read, in the order of their first use; empty before the first call."""
        return list(
            {id(leaf): leaf for program in self._all_programs() for leaf in program.parameters}.values()
        )

    def get_parameters(self) -> Array:
        """Return the data of `parameters` as one array (p,); without any before the first call."""
        return data_of(self.parameters)

    def set_parameters(self, theta: ArrayLike) -> None:
        """Set the data of `parameters` to the numbers of one array (p,).

        Raises ValueError for another number of them: before its first call, a function has no parameters.
        """
        set_data(self.parameters, theta)

    @overload
    def value_and_grad(
        self,
        *arguments: object,
        argnums: Argnum = 0,
        out: tuple[Out, Out] | None = None,
        reduction: Reduction | None = None,
        row_weights: ArrayLike | None = None,
        **options: object,
    ) -> tuple[float | Array, float | Array]: ...
    @overload
    def value_and_grad(
        self,
        *arguments: object,
        argnums: tuple[Argnum, ...],
        out: tuple[Out, tuple[Out, ...] | None] | None = None,
        reduction: Reduction | None = None,
        row_weights: ArrayLike | None = None,
        **options: object,
    ) -> tuple[float | Array, tuple[float | Array, ...]]: ...
    def value_and_grad(
        self,
        *arguments: object,
        argnums: Argnum | tuple[Argnum, ...] = 0,
        out: tuple[Out, Out | tuple[Out, ...]] | None = None,
        reduction: Reduction | None = None,
        row_weights: ArrayLike | None = None,
        **options: object,
    ) -> tuple[float | Array, float | Array | tuple[float | Array, ...]]:
        """Return (value, derivatives) of every row, in one call.

        argnums: which arguments the derivatives are by: the number or the name of one; "row.x", a field of a
        named tuple or a dataclass; the name of `*xs`, all of them as one array; "parameters", the leaves from
        outside as one array; or several in a tuple. By an argument with fields they are of its class.
        The value is (N,), or (N, k) for a list of k outputs, the derivatives (N, ...) or (N, k, ...) with the
        shape of the argument in a row: nothing for a number or an array (N,), d for (N, d) or d numbers that
        all rows share, p for parameters. If no argument has rows, there is no N, and single numbers are
        floats.
        reduction: "mean" or "sum" over the rows, so that N is missing; only by what all rows share.
        row_weights: an array (N,) that weighs the rows of a reduction, the mean divided by their sum.
        out: (array, array), float64 of these shapes, for the value and the derivatives, which are a tuple
        if `argnums` is; None for one that is new.
        Raises TypeError and ValueError that name what is wrong.
        """
        found: tuple[float | Array, float | Array] = self._differentiate(
            "value_and_grad", arguments, argnums, reduction, row_weights, options, out
        )
        return found

    @overload
    def jacobian(
        self,
        *arguments: object,
        argnums: Argnum = 0,
        out: Out = None,
        reduction: Reduction | None = None,
        row_weights: ArrayLike | None = None,
        **options: object,
    ) -> float | Array: ...
    @overload
    def jacobian(
        self,
        *arguments: object,
        argnums: tuple[Argnum, ...],
        out: tuple[Out, ...] | None = None,
        reduction: Reduction | None = None,
        row_weights: ArrayLike | None = None,
        **options: object,
    ) -> tuple[float | Array, ...]: ...
    def jacobian(
        self,
        *arguments: object,
        argnums: Argnum | tuple[Argnum, ...] = 0,
        out: Out | tuple[Out, ...] = None,
        reduction: Reduction | None = None,
        row_weights: ArrayLike | None = None,
        **options: object,
    ) -> float | Array | tuple[float | Array, ...]:
        """Return the derivatives alone: see `value_and_grad`.

        By forward mode where there are at most as many columns as outputs, else by reverse mode.
        """
        found: float | Array = self._differentiate(
            "jacobian", arguments, argnums, reduction, row_weights, options, out
        )
        return found

    @overload
    def hessian(
        self,
        *arguments: object,
        argnums: Argnum = 0,
        out: Out = None,
        reduction: Reduction | None = None,
        row_weights: ArrayLike | None = None,
        **options: object,
    ) -> float | Array: ...
    @overload
    def hessian(
        self,
        *arguments: object,
        argnums: tuple[Argnum, ...],
        out: None = None,
        reduction: Reduction | None = None,
        row_weights: ArrayLike | None = None,
        **options: object,
    ) -> tuple[tuple[Array, ...], ...]: ...
    def hessian(
        self,
        *arguments: object,
        argnums: Argnum | tuple[Argnum, ...] = 0,
        out: Out = None,
        reduction: Reduction | None = None,
        row_weights: ArrayLike | None = None,
        **options: object,
    ) -> float | Array | tuple[tuple[Array, ...], ...]:
        """Return the second derivatives by arguments or "parameters".

        By one of them: of every row (N, d, d) or (N, k, d, d), by a single number (N,) or (N, k); of a
        reduction without N. By a tuple of them: a tuple for each, of the mixed derivatives by it and each
        (this needs numpy, and takes no `out`). Options as for `value_and_grad`; with `strict=True`
        FloatingPointError names what is not finite.
        """
        strict = options.get("strict", self.strict)
        begun, found = self._begin("hessian", arguments, options, argnums, reduction, row_weights, out)
        if begun is None:
            return found
        program, chosen, ready, threads, block = begun
        if chosen.several and out is not None:
            raise ValueError("out is for a Hessian by one argument")
        columns, found = chosen.flat, None
        shape = (len(columns),) if chosen.several else chosen.shapes[0]
        shapes = [(*program.output_shape, *shape, *shape)]
        if reduction is None and row_weights is None:
            if program.has_loops:
                found = hessian_by_passes(program, ready, threads, block, columns, shapes, [out])
            else:
                derived = program.derived(("hessian", columns))
                found = derived.fill(ready, threads, block, shapes, [out])[0]
        else:
            base, ready, scale = reduced(program, ready, chosen, reduction, row_weights)
            small = len(base.output_shape) > 0 or len(columns) * base.size <= MOST_OF_HESSIAN
            if small and not program.has_loops:
                derived = base.derived(("hessian", columns))
                found = derived.sums(ready, threads, block, scale, shapes, [out])[0]
            else:
                found = base.hessian_by_columns(ready, threads, block, scale, columns, shapes, [out])
        if strict:
            require_finite(found, "hessian")
        return blocks_of(found, chosen.shapes) if chosen.several else found

    def hvp(
        self,
        *arguments: object,
        tangents: ArrayLike,
        argnums: Argnum = 0,
        out: Out = None,
        reduction: Reduction | None = None,
        row_weights: ArrayLike | None = None,
        **options: object,
    ) -> float | Array:
        """Return the products of the Hessian and the tangents, without the Hessian.

        tangents: an array of the shape of the argument, (p,) for parameters. The result has the shape of the
        derivatives that `value_and_grad` returns; the options are the same.
        """
        strict = options.get("strict", self.strict)
        begun, found = self._begin(
            "hvp", arguments, options, argnums, reduction, row_weights, out, tangents=tangents
        )
        if begun is None:
            return found
        program, chosen, ready, threads, block = begun
        if len(chosen.columns) != 1:
            raise TypeError("hvp is by one argument: argnums is a number or a name")
        (columns,), (shape,) = chosen.columns, chosen.shapes
        shapes = [(*program.output_shape, *shape)]
        direction = prepare_numbers(tangents, "tangents", chosen.shared[0])
        if direction.signature != chosen.tangents[0]:
            wanted = shape if chosen.shared[0] else ("N", *shape)
            raise ValueError(
                f"tangents must have the shape of what they are tangents of, "
                f"{'a single number' if wanted == () else '(' + ', '.join(map(str, wanted)) + ')'}"
            )
        base, scale = program, 1.0
        if reduction is not None or row_weights is not None:
            base, ready, scale = reduced(program, ready, chosen, reduction, row_weights)
        along = base.derived(("tangent", columns), (direction.signature,))
        ready = [*ready, direction]
        if reduction is None:
            (found,) = filled(along, ready, threads, block, (columns,), False, shapes, [out])
        elif program.output_shape:
            (found,) = summed(along, ready, threads, block, scale, (columns,), False, shapes, [out])
        else:
            _, (found,) = along.reduced(ready, threads, block, scale, columns, shapes, [out])
        if strict:
            require_finite(found, "hvp")
        return found

    def _begin(
        self,
        call: str,
        arguments: tuple[Any, ...],
        options: dict[str, Any],
        argnums: Any,
        reduction: Reduction | None,
        row_weights: Any,
        out: Any,
        **more: Any,
    ) -> tuple[tuple[Program, Chosen, list[Any], int, int] | None, Any]:
        """Return what _begun() does, and None; for arguments that have structures, None and the result.

        Short by intent: past its first 256 instructions, CPython needs memory to handle an exception, and
        tries again and again if there is none.
        """
        try:
            return self._begun(call, argnums, arguments, options), None
        except StructureError:
            more.update(argnums=argnums, reduction=reduction, row_weights=row_weights, out=out)
        return None, self._of_structures(call, arguments, options, **more)

    def _begun(
        self, call: str, argnums: Any, arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> tuple[Program, Chosen, list[Any], int, int]:
        """Return the program of a call, what `argnums` choose, the prepared arguments, threads and block."""
        function, arguments = self._receiver(arguments)
        what = "backward" if argnums == PARAMETERS else "input_gradients"
        program, *prepared = function._prepared(call, what, arguments, options)
        return (program, function._chosen(program, argnums), *prepared)

    def _differentiate(
        self,
        call: str,
        arguments: tuple[Any, ...],
        argnums: Any,
        reduction: Reduction | None,
        row_weights: Any,
        options: dict[str, Any],
        out: Any,
    ) -> Any:
        """Compute first derivatives, and the value if the call is `value_and_grad`."""
        begun, found = self._begin(call, arguments, options, argnums, reduction, row_weights, out)
        if begun is None:
            return found
        program, chosen, ready, threads, block = begun
        several, values = chosen.several, call == "value_and_grad"
        if out is not None and not values:
            out = (None, out)
        outs = None if out is None else outputs_given(out, len(chosen.shapes), several)
        shapes = chosen.results
        if not values:
            shapes = shapes[1:]
            outs = outs and outs[1:]
        if reduction is None and row_weights is None:
            derived = chosen.programs.get(values)
            if derived is not None:
                found = derived.fill(ready, threads, block, shapes, outs)
            else:
                found = filled(program, ready, threads, block, chosen.columns, values, shapes, outs)
                if not program.needs_passes(chosen.columns):
                    chosen.programs[values] = program.derived(("jacobian", chosen.columns, values))
        else:
            base, ready, scale = reduced(program, ready, chosen, reduction, row_weights)
            if program.output_shape:
                found = summed(base, ready, threads, block, scale, chosen.columns, values, shapes, outs)
            else:
                if values and outs is not None and outs.pop(0) is not None:
                    raise ValueError("the value of a reduction is a number: out is (None, derivatives)")
                sums, found = base.reduced(
                    ready, threads, block, scale, chosen.flat, chosen.results[1:], outs
                )
                found = [*sums, *found] if values else found
        derivatives = tuple(found[1:] if values else found) if several else found[-1]
        return (found[0], derivatives) if values else derivatives

    def _backward(self, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Return the reduction of the outputs, and add its gradient to that of the parameters."""
        function, arguments = self._receiver(arguments)
        reduction, row_weights = options.pop("reduction", "mean"), options.pop("row_weights", None)
        program, ready, threads, block = function._prepared("backward", "backward", arguments, options)
        base, ready, scale = reduced(program, ready, None, reduction, row_weights)
        sums, _ = base.reduced(ready, threads, block, scale, None, [])
        return sums if program.output_shape else sums[0]

    def _chosen(self, program: Program, argnums: Any) -> Chosen:
        """Return what `argnums` choose; TypeError or ValueError in words."""
        try:
            found = self.chosen.get((program, argnums))
        except TypeError:
            # A list or an array has no hash, nor has an item that is neither a number nor a name.
            argnums, found = tuple(argnums), None
        if found is None:
            found = self._choose(program, argnums)
            self.chosen[program, argnums] = found
        return found

    def _choose(self, program: Program, given: Any) -> Chosen:
        several = not isinstance(given, str) and isinstance(given, Iterable)
        argnums = tuple(given) if several else (given,)
        parameters = self.parameters
        described = describe_signature(program.signature)
        columns: list[tuple[Column, ...]] = []
        shapes: list[tuple[int, ...]] = []
        shared: list[bool] = []
        by_row = None
        for each in argnums:
            if each == PARAMETERS and each not in program.names:
                places = {id(leaf): (-1, place) for place, leaf in enumerate(program.parameters)}
                columns.append(tuple([places.get(id(leaf)) for leaf in parameters]))
                shapes.append((len(parameters),))
                shared.append(True)
                continue
            numbers = self._numbers_of(program, each)
            for number in numbers:
                kind, width = described[number]
                if kind == "index":
                    raise TypeError(
                        f"{program.names[number]} has integers, by which there is no derivative: give floats"
                    )
                if len(numbers) > 1 and width is not None:
                    raise ValueError(f"{program.names[number]} has columns: choose it alone")
                if kind == "real" and by_row is None:
                    by_row = program.names[number]
            width = described[numbers[0]][1] if each != self.rest else len(numbers)
            if each == self.rest:
                columns.append(tuple([(number, 0) for number in numbers]))
            else:
                columns.append(
                    tuple([(numbers[0], column) for column in range(1 if width is None else width)])
                )
            shapes.append(() if width is None else (width,))
            shared.append("real" not in [described[number][0] for number in numbers])
        flat = [column for group in columns for column in group]
        known = [column for column in flat if column is not None]
        if len(set(known)) < len(known):
            raise ValueError(f"argnums {argnums!r} have one argument twice")
        if not argnums:
            raise ValueError("argnums are empty: there is nothing to differentiate by")
        tangents = [
            (NUMBER if same else REALS) + (0 if shape == () else 4 * (shape[0] + 1))
            for shape, same in zip(shapes, shared, strict=True)
        ]
        results = [program.output_shape, *[(*program.output_shape, *shape) for shape in shapes]]
        return Chosen(
            tuple(columns),
            tuple(shapes),
            tuple(tangents),
            tuple(shared),
            by_row,
            tuple(flat),
            several,
            results,
            {},
        )

    def _numbers_of(self, program: Program, argnum: Any) -> list[int]:
        """Return which arguments of a call this is: one, or those of `*xs`."""
        names = program.names
        if isinstance(argnum, str) and argnum not in names and argnum == self.rest:
            numbers = [at for at, name in enumerate(names) if name.startswith(f"{argnum}[")]
            if numbers:
                return numbers
        return [number_of(argnum, names, self.name)]


def number_of(argnum: Any, names: Sequence[str], function: str) -> int:
    """Return which of these arguments a number or a name means; TypeError or ValueError if none."""
    if isinstance(argnum, str):
        if argnum in names:
            return names.index(argnum)
        raise ValueError(
            f"{function} has no argument {argnum!r}: argnums are numbers or names of its arguments, or "
            f"{PARAMETERS!r}"
        )
    try:
        number = operator.index(argnum)
    except TypeError:
        raise TypeError(f"argnums are numbers and names of arguments, not {argnum!r}") from None
    if not -len(names) <= number < len(names):
        raise ValueError(f"argnums is {number}, but {function} has {len(names)} arguments")
    return number % len(names)


def blocks_of(found: Array, shapes: tuple[tuple[int, ...], ...]) -> tuple[tuple[Array, ...], ...]:
    """Return the blocks of a Hessian by several arguments: an array for each pair of them."""
    ends = list(itertools.accumulate(map(math.prod, shapes)))
    parts = [slice(end - math.prod(shape), end) for end, shape in zip(ends, shapes, strict=True)]
    return tuple(
        tuple(
            found[..., rows, columns].reshape((*found.shape[:-2], *first, *second))[()]
            for columns, second in zip(parts, shapes, strict=True)
        )
        for rows, first in zip(parts, shapes, strict=True)
    )


def require_finite(found: Any, call: str) -> None:
    """Raise FloatingPointError for second derivatives that are not finite."""
    for place, number in entries(found if isinstance(found, float) else found.tolist(), ()):
        if not math.isfinite(number):
            raise FloatingPointError(
                f"{call}{list(place) or ''} is {number}: values and first derivatives are finite, this is not"
            )


def entries(found: Any, place: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], float]]:
    """Yield the place and the number of all entries of lists in lists."""
    if isinstance(found, float):
        yield place, found
        return
    for at, each in enumerate(found):
        yield from entries(each, (*place, at))


def outputs_given(out: Any, count: int, several: bool) -> list[Any]:
    """Return the array for the value and those for the derivatives, None where a new one is wanted."""
    if not isinstance(out, (tuple, list)) or len(out) != 2:
        raise TypeError(
            "out is (array for the value, array for the derivatives), either of which may be None"
        )
    value, derivatives = out
    if not several:
        return [value, derivatives]
    if derivatives is None:
        return [value, *[None] * count]
    if not isinstance(derivatives, (tuple, list)) or len(derivatives) != count:
        raise TypeError(f"out has an array, or None, for each of {count} argnums")
    return [value, *derivatives]


def filled(
    program: Program,
    ready: list[Any],
    threads: int,
    block: int,
    columns: tuple[tuple[Column, ...], ...],
    values: bool,
    shapes: list[tuple[int, ...]],
    outs: list[Any] | None,
) -> list[Any]:
    """Return the outputs, if wanted, and the derivatives by each group of columns, row by row."""
    if program.needs_passes(columns):
        return gradients_by_passes(program, ready, threads, block, columns, values, shapes, outs)
    return program.derived(("jacobian", columns, values)).fill(ready, threads, block, shapes, outs)


def summed(
    program: Program,
    ready: list[Any],
    threads: int,
    block: int,
    scale: float,
    columns: tuple[tuple[Column, ...], ...],
    values: bool,
    shapes: list[tuple[int, ...]],
    outs: list[Any] | None,
) -> list[Any]:
    """Return the outputs and derivatives as above, but summed over the rows and times `scale`."""
    if program.needs_passes(columns):
        return sums_by_passes(program, ready, threads, block, scale, columns, values, shapes, outs)
    derived = program.derived(("jacobian", columns, values))
    return derived.sums(ready, threads, block, scale, shapes, outs)


def reduced(
    program: Program, ready: list[Any], chosen: Chosen | None, reduction: Any, row_weights: Any
) -> tuple[Program, list[Any], float]:
    """Return (program, arguments, factor); the reduction is factor * the program's sum over the rows."""
    if reduction not in ("mean", "sum"):
        if reduction is None:
            raise ValueError("row_weights are for a reduction: give reduction='mean' or 'sum'")
        raise ValueError(f"reduction is 'mean' or 'sum', not {reduction!r}")
    if chosen is not None and chosen.by_row is not None:
        raise ValueError(
            f"{chosen.by_row} differs by row, so its derivatives do, too: a reduction is for parameters and "
            "for what all rows share"
        )
    if row_weights is None:
        rows = program.count_rows_of(ready)
        if reduction == "mean" and rows == 0:
            raise ValueError(f"{program.name} has no mean output: its arguments have no rows")
        return program, ready, 1.0 / rows if reduction == "mean" else 1.0
    weights = prepare_numbers(row_weights, "row_weights", False)
    if weights.signature != REALS:
        raise ValueError("row_weights must be an array (N,): a weight for each row")
    weighted = program.derived(("weighted",), (REALS,))
    ready = [*ready, weights]
    weighted.count_rows_of(ready)
    if reduction == "sum":
        return weighted, ready, 1.0
    total = weights.total()
    if total == 0.0:
        raise ZeroDivisionError(f"{program.name} has no mean output: the sum of row_weights is 0")
    return weighted, ready, 1.0 / total
