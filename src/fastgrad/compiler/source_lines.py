"""The source lines of a program's records: found by one more trace, when `print` asks.

A trace that noted lines would take several times as long, and most programs are never printed.
"""

from __future__ import annotations

import linecache
import sys
import threading
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePath
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, TypeAlias

from fastgrad.compiler.graph import OPERATION_ROWS, Graph
from fastgrad.engine import Value, _age, _read_graph
from fastgrad.operations import BY_NAME

if TYPE_CHECKING:
    from fastgrad.compiler.tracing import Records

__all__ = ["Line", "Lines", "Recorder", "here", "recorded", "shown"]

# A file and the number of a line in it.
Line: TypeAlias = tuple[str, int]
# By the id of a graph: for each of its records, the lines that it computes.
Lines: TypeAlias = dict[int, list[tuple[Line, ...]]]
# The most lines that are named for one record or instruction.
MOST_LINES = 4

COUNTS = {OPERATION_ROWS[name]: row.operands for name, row in BY_NAME.items() if row.operands < 3}
COMMUTATIVE = OPERATION_ROWS["add"], OPERATION_ROWS["mul"]
WITH_SYMBOLS = {OPERATION_ROWS[name] for name in ("take", "loop", "result")}


class Recorder:
    """Notes the line that runs when a node is made, while it calls a function in this thread.

    A leaf, the mark, is made whenever another line begins; a node older than it was made on an earlier line.
    Lines of a library count as the line that calls it.
    """

    def __init__(self, is_library: Callable[[dict[str, Any]], bool]) -> None:
        self.is_library = is_library
        self.libraries: dict[CodeType, bool] = {}
        # The marks, kept so that their ages stay theirs alone; their ages, and the lines that began with
        # them.
        self.marks: list[Value] = []
        self.ages: list[int] = []
        self.lines: list[Line] = []
        # The graphs that were made of the records, and the lines of each record.
        self.graphs: list[tuple[Graph, list[tuple[Line, ...]]]] = []

    def call(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        """Return function(*arguments, **named)."""
        before = sys.gettrace()
        sys.settrace(self.enter)
        try:
            return function(*arguments, **named)
        finally:
            sys.settrace(before)

    def enter(self, frame: FrameType, event: str, argument: object) -> Any:
        """Called when a frame begins, or a generator's frame goes on."""
        if self.in_library(frame):
            return None
        return self.see(frame, "line", argument)

    def see(self, frame: FrameType, event: str, _: object) -> Any:
        """Called when a line begins, and at the end of a frame: then the line of its caller goes on."""
        where: FrameType | None = frame
        if event == "return":
            where = frame.f_back
            while where is not None and self.in_library(where):
                where = where.f_back
        if where is not None and event != "exception":
            self.mark((where.f_code.co_filename, where.f_lineno))
        return self.see

    def mark(self, line: Line) -> None:
        """Have nodes made from now on belong to this line."""
        if not self.lines or self.lines[-1] != line:
            mark = Value(0.0)
            self.marks.append(mark)
            self.ages.append(_age(mark))
            self.lines.append(line)

    def in_library(self, frame: FrameType) -> bool:
        """Return whether a frame runs code of fastgrad, numpy or the standard library."""
        code = frame.f_code
        if code not in self.libraries:
            # The derivatives of the table are code without a module.
            self.libraries[code] = "__name__" not in frame.f_globals or self.is_library(frame.f_globals)
        return self.libraries[code]

    def lines_of(self, records: Records, order: Sequence[Value], captured: set[int]) -> Records:
        """Return the records with the line of each, if they are of the nodes in this order."""
        order = list(order)
        numbers: list[int] = _read_graph(order, order, captured)[5]
        lines: list[tuple[Line, ...]] = []
        for node, number in zip(order, numbers, strict=True):
            # Nodes made before the trace are older than the first mark.
            place = bisect_left(self.ages, _age(node)) - 1
            line = (self.lines[place],) if place >= 0 else ()
            # Records of constants may stand before the record of the node that needs them.
            lines += [line] * (number + 1 - len(lines))
        return records._replace(lines=lines)

    def keep(self, graph: Graph, fewer: Graph, lines: list[tuple[Line, ...]]) -> None:
        """Carry the lines of a graph's records over to the simplified graph, `fewer`."""
        self.graphs.append((fewer, lines if fewer is graph else matched(graph, fewer, lines)))

    def of_program(self, graph: Graph, traced: Graph) -> Lines:
        """Return the lines by the graphs of a program; nothing if this trace's graph is another."""
        lines: Lines = {}
        by_graph = {id(one): found for one, found in self.graphs}
        waiting = [(graph, traced)]
        while waiting:
            one, other = waiting.pop()
            if not are_equal(one, other):
                return {}
            lines[id(one)] = by_graph[id(other)]
            waiting += [(a.body, b.body) for a, b in zip(one._loops(), other._loops(), strict=True)]
        return lines


def are_equal(graph: Graph, other: Graph) -> bool:
    """Return whether two graphs are the same, but for the steps of their loops."""
    parts, others = graph._parts(), other._parts()
    # By their text, as nan is not equal to itself.
    constants = repr(parts[2]) == repr(others[2])
    return (
        constants
        and parts[:2] + parts[3:] == others[:2] + others[3:]
        and (len(graph._loops()) == len(other._loops()))
    )


class Here(threading.local):
    """What notes the lines of this thread's trace, if anything does."""

    recorder: Recorder | None = None


here = Here()


@contextmanager
def recorded(is_library: Callable[[dict[str, Any]], bool]) -> Iterator[Recorder]:
    """Note the lines of what this thread traces meanwhile."""
    before, here.recorder = here.recorder, Recorder(is_library)
    try:
        yield here.recorder
    finally:
        here.recorder = before


def matched(graph: Graph, fewer: Graph, of_graph: Sequence[tuple[Line, ...]]) -> list[tuple[Line, ...]]:
    """Return for each record of a simplified graph the lines of the original records that it stands for."""
    lines: dict[int, tuple[Line, ...]] = {}
    classes: dict[Any, int] = {}
    for number, line in zip(equal_ones(graph, classes), of_graph, strict=True):
        known = lines.get(number, ())
        lines[number] = known + tuple([each for each in line if each not in known])
    return [lines.get(number, ()) for number in equal_ones(fewer, classes)]


def equal_ones(graph: Graph, classes: dict[Any, int]) -> list[int]:
    """Return a number for each record, the same for those that compute the same."""
    records, listed, constants, _, leaves, selections, _ = graph._parts()
    numbers, operands, loops = array("i", records), array("i", listed), graph._loops()
    found: list[int] = []
    for row, first, second in zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True):
        key: tuple[Any, ...]
        if row == OPERATION_ROWS["leaf"]:
            key = row, leaves[first]
        elif row == OPERATION_ROWS["constant"]:
            key = row, constants[first].hex()
        elif row in COUNTS:
            given = found[first], found[second] if COUNTS[row] == 2 else -1
            key = row, *(sorted(given) if row in COMMUTATIVE else given)
        elif row in WITH_SYMBOLS:
            place: Any = selections[operands[first]]
            # The number of a loop may change with simplification, its identity does not.
            which = id(loops[place[1]]) if row == OPERATION_ROWS["loop"] else place
            key = row, which, *[found[each] for each in operands[first + 1 : first + second]]
        else:
            key = row, *[found[each] for each in operands[first : first + second]]
        found.append(classes.setdefault(key, len(classes)))
    return found


def shown(lines: Sequence[Line]) -> str:
    """Return lines as text: `model.py:12  h = w * x + b`, or `model.py:12, 14` for several."""
    if not lines:
        return ""
    if len(lines) == 1:
        file, number = lines[0]
        return f"{PurePath(file).name}:{number}  {linecache.getline(file, number).strip()}".rstrip()
    text, before = "", None
    for file, number in sorted(lines)[:MOST_LINES]:
        text += f", {number}" if file == before else f"{', ' if text else ''}{PurePath(file).name}:{number}"
        before = file
    return text + (f", .. {len(lines)} in all" if len(lines) > MOST_LINES else "")
