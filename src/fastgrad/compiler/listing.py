"""A program as text, made from the plans that run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from fastgrad.compiler.graph import OPERATION_ROWS, in_words, repeated
from fastgrad.compiler.opcodes import ROLES, Role
from fastgrad.compiler.source_lines import shown

if TYPE_CHECKING:
    from fastgrad.compiler.graph import Graph
    from fastgrad.compiler.plan import LoopPlan, Plan
    from fastgrad.compiler.program import Program
    from fastgrad.compiler.source_lines import Lines

__all__ = ["listing"]

MOST_LINES = 200
# Operands of one instruction.
MOST_NAMES = 6
# Source lines stand in a column behind instructions of at most this width.
WIDEST = 60

# The instructions of a plan, as Plan._instruction numbers them.
ONCE, FORWARD, BACKWARD = range(3)
NAMES = {row: name for name, row in OPERATION_ROWS.items()}
LISTS = "each", "pairs", "given", "matrix"


def listing(program: Program, lines: Lines | None = None) -> str:
    """Return the program as text: counts, and the instructions once a batch, for every row, and back.

    lines: by the id of a graph, the source lines of each of its records.
    """
    forward, backward, block_bytes, kernels = program._plans_shown()
    graph, lines = program._graph(), lines or {}
    reader = Reader(program, backward, graph, lines)
    arguments = ", ".join(
        [f"{name}: {kind_of(key)}" for name, key in zip(program.names, program.signature, strict=True)]
    )
    repeats = repeated(graph)
    size, memory = size_of(graph)
    return "\n".join(
        [
            f"{program.name}({arguments})",
            f"  {size} nodes, {len(program.parameters)} parameters, {len(graph._parts()[6])} outputs",
            f"  {forward.once_count} instructions once a batch, {forward.forward_count} for every row, "
            f"{backward.backward_count} on the way back",
            f"  {forward.registers} registers forward, {backward.registers} with the way back; "
            f"{forward.bytes + backward.bytes + memory} bytes, "
            f"and {block_bytes} for a block of rows in each thread; "
            f"{forward.flops:.0f} flops a row; kernels: {kernels}",
            *([] if repeats is None else [f"  {in_words(repeats)}"]),
            *reader.sections("once a batch:", "for every row:", "and back:"),
            *[
                line
                for at, loop in enumerate(backward.all_loops)
                for line in lines_of(program, at, loop, lines)
            ],
        ]
    )


def size_of(graph: Graph) -> tuple[int, int]:
    """Return the nodes and the bytes of a graph and of the steps of its loops."""
    records, operands = graph._parts()[:2]
    sizes = [(len(records) // 12, len(records) + len(operands))]
    sizes += [size_of(loop.body) for loop in graph._loops()]
    return sum(size for size, _ in sizes), sum(memory for _, memory in sizes)


def lines_of(program: Program, number: int, plan: LoopPlan, lines: Lines) -> list[str]:
    """Return the lines of a loop: those of its step."""
    loop = plan.loop
    reader = Reader(program, plan.body, loop.body, lines, plan)
    text = [
        f"loop {number}: {loop.steps} steps of {loop.name}, "
        f"a state of {loop.states} numbers, {plan.body.registers} registers"
    ]
    if plan.over_steps is not None:
        text.append(
            f"  of one row, {plan.over_steps.stepwise} of {plan.over_steps.forward_count} instructions "
            "run step by step, the others over many steps at once"
        )
    return text + reader.sections("  once a batch:", "  in every step:", "  and back:")


def kind_of(key: int) -> str:
    """Return an argument's kind in words."""
    kind = ("real", "index", "number", "whole number")[key % 4]
    columns = key // 4 - 1
    return kind if columns < 0 else f"{columns} {kind}s"


def section(title: str, lines: list[tuple[str, str]], count: int) -> list[str]:
    """Return a title and the lines below it, each with its source line, or nothing where there are none."""
    if not lines:
        return []
    more = [f"  .. and {count - len(lines)} more"] if count > len(lines) else []
    width = max([len(text) for text, source in lines if source and len(text) <= WIDEST] or [0])
    return [title, *[f"{text:<{width}}    {source}" if source else text for text, source in lines], *more]


def few(names: Sequence[str]) -> str:
    """Return the first names, and how many there are."""
    return ", ".join(names[:MOST_NAMES]) + (f", .. {len(names)} in all" if len(names) > MOST_NAMES else "")


class Instruction(NamedTuple):
    """An instruction, and what opcodes.py says of its fields."""

    name: str
    has_result: bool
    roles: tuple[Role, ...]
    # left, right and third.
    fields: tuple[int, int, int]
    adjoints: tuple[int, int, int]
    out: int
    members: int
    # The list that `left` is the number of, if it is one.
    wide: dict[str, int]


class Reader:
    """Goes through a plan in its order, and knows the name of the number in each register."""

    def __init__(
        self, program: Program, plan: Plan, graph: Graph, lines: Lines, loop: LoopPlan | None = None
    ) -> None:
        self.program = program
        self.plan = plan
        self.parts = plan._parts()
        # For each record the source lines that it computes, if they are known.
        self.lines = lines.get(id(graph), [])
        # Not None in the step of a loop.
        self.loop = loop
        # By its number, each loop of the plan, and where its own numbers stand.
        self.loops = {
            number: (inner.loop, inner._parts())
            for number, inner in zip(plan.loop_numbers, plan.loops, strict=True)
        }
        # By register, and by index of a uniform number.
        self.held: dict[int, str] = {}
        self.uniform: dict[int, str] = {}

    def sections(self, once: str, forward: str, back: str) -> list[str]:
        """Return the lines of the plan under these three titles."""
        made_once, made, origins = self.parts["made_once"], self.parts["made"], self.parts["origin"]
        lines_once, lines, lines_back = [], [], []
        # For each forward instruction its source line; what the backward instructions shown belong to.
        sources: list[str | None] = []
        asked = set(origins[:MOST_LINES])
        kept: dict[int, tuple[list[str], list[str]]] = {}
        for at, record in enumerate(made_once):
            i = self.instruction(ONCE, at)
            self.uniform[i.out] = name = f"v{record}"
            if at < MOST_LINES:
                lines_once.append((self.line(i, [name], self.names(i, True)), self.source([record]) or ""))
        for at, record in enumerate(made):
            i = self.instruction(FORWARD, at)
            results, registers, records = self.results(i, record)
            sources.append(self.source(records) if records else "")
            if at < MOST_LINES or at in asked:
                kept[at] = results, self.names(i)
            if at < MOST_LINES:
                lines.append(self.line(i, *kept[at]))
            if i.members and results:
                registers = range(i.out, i.out + i.members)
                results = [f"{results[0]}.{member}" for member in range(i.members)]
            self.held.update(zip(registers, results, strict=True))
        for at in range(len(made) - 2, -1, -1):
            if sources[at] is None:
                # An instruction that lowering has added stands before the one that needs it.
                sources[at] = sources[at + 1]
        texts = [source or "" for source in sources]
        for at, origin in enumerate(origins[:MOST_LINES]):
            lines_back.append((self.line_back(self.instruction(BACKWARD, at), *kept[origin]), texts[origin]))
        return [
            *section(once, lines_once, len(made_once)),
            *section(forward, list(zip(lines, texts, strict=False)), len(made)),
            *section(back, lines_back, len(origins)),
        ]

    def instruction(self, way: int, at: int) -> Instruction:
        """Return an instruction of the plan."""
        name, has_result, numbers, i = self.plan._instruction(way, at)
        roles = tuple([ROLES[number] for number in numbers])
        wide = self.plan._wide(i["left"]) if roles[0] in LISTS else {}
        fields = i["left"], i["right"], i["third"]
        adjoints = i["left_adjoint"], i["right_adjoint"], i["third_adjoint"]
        return Instruction(name, has_result, roles, fields, adjoints, i["out"], i["members"], wide)

    def numbers(self, first: int, count: int) -> list[int]:
        """Return integers of the plan's table."""
        return self.parts["table"][first : first + count]

    def operands(self, i: Instruction) -> Iterator[tuple[int, int]]:
        """The places of the operands and of their gradients: of a list, pair by pair, then of the fields."""
        table = self.parts["table"]
        for role, field, adjoint in zip(i.roles, i.fields, i.adjoints, strict=True):
            if role in ("operand", "result"):
                yield field, adjoint
            elif role == "uniform":
                # The list is longer than the bundle: it fills whole vectors.
                wide = self.plan._wide(field)
                yield from [(place, wide["gradient"]) for place in self.numbers(wide["left"], i.members)]
            elif role in LISTS:
                for at in range(i.wide["inputs"]):
                    yield table[i.wide["left"] + at], table[i.wide["left_adjoint"] + at]
                    if role in ("pairs", "given"):
                        yield table[i.wide["right"] + at], table[i.wide["right_adjoint"] + at]

    def names(self, i: Instruction, once: bool = False) -> list[str]:
        """Return the names of the operands."""
        return [self.name(place, once) for place, _ in self.operands(i)]

    def name(self, operand: int, once: bool) -> str:
        """Return the name of an operand of an instruction, or of one that runs once a batch."""
        parts = self.parts
        if operand >= 0 and not once:
            return self.held[operand]
        operand = operand if once else ~operand
        if operand in self.uniform:
            return self.uniform[operand]
        if operand < self.plan.parameters:
            return f"p{operand}" if self.loop is None else f"outside[{operand}]"
        operand -= self.plan.parameters
        if operand < len(parts["shared"]):
            return self.argument(*parts["shared"][operand])
        return f"{parts['constants'][operand - len(parts['shared'])]:.6g}"

    def argument(self, argument: int, column: int) -> str:
        """Return the name of a column of an argument."""
        if argument >= len(self.program.names):
            return self.given(argument, column)
        name = self.program.names[argument]
        return name if self.program.signature[argument] // 4 == 0 else f"{name}[{column}]"

    def given(self, argument: int, column: int) -> str:
        """Return the name of an argument that stands for a number of a loop: a state, an input, a result."""
        if self.loop is not None:
            loop, at = self.loop.loop, argument - self.loop._parts()["base"]
            for name, count in ("state", loop.states), ("outside", loop.outside), ("x", len(loop.inputs)):
                if 0 <= at < count:
                    return f"{name}[{at}]"
                at -= count
        for number, (loop, parts) in self.loops.items():
            at = argument - parts["base"] - loop.states - loop.outside - len(loop.inputs)
            if 0 <= at < parts["makes"]:
                return f"loop {number}'s y[{at}] of step {column}"
        return f"argument {argument}"  # no cover: every argument is one of these

    def stored(self, i: Instruction) -> str:
        """Return the name of what a step stores: a number of the next state, or a y."""
        assert self.loop is not None
        number, states = i.fields[1], self.loop.loop.states
        return f"next state[{number}]" if number < states else f"y[{number - states}]"

    def source(self, records: list[int]) -> str | None:
        """Return the source lines of these records; None if they are not known, as of what lowering adds."""
        known = [self.lines[record] for record in records if record < len(self.lines)]
        found = dict.fromkeys([line for lines in known for line in lines])
        return shown(list(found)) if found else None

    def results(self, i: Instruction, record: int) -> tuple[list[str], Sequence[int], list[int]]:
        """Return the names of an instruction's results, their registers, and the records that it computes.

        A load has the name of its argument, and so needs no source line.
        """
        match i.roles:
            case "argument", _, _:
                return [self.argument(*i.fields[:2])], [i.out], []
            case "matrix", _, _:
                made, count = self.numbers(i.wide["made"], i.wide["outputs"]), i.wide["outputs"]
                return [f"v{each}" for each in made], self.numbers(i.wide["out"], count), made
            case _, "loop", _:
                # Results that nothing reads have no register: -1.
                number, registers = i.fields[1], self.loops[i.fields[1]][1]["results"]
                return [f"loop {number}[{at}]" for at in range(len(registers))], registers, [record]
        return ([f"v{record}"], [i.out], [record]) if i.has_result else ([], [], [])

    def line(self, i: Instruction, results: list[str], operands: list[str]) -> str:
        """Return what an instruction computes from what."""
        beside = f" and {i.members - 1} beside it" if i.members else ""
        what, number = i.name, i.fields[1]
        match i.roles:
            case "argument", _, _:
                return f"  load {results[0]}{beside}"
            case _, "loop", _:
                return f"  {few(results) or 'nothing'} = loop {number} from {few(operands)}"
            case _, "next", _:
                return f"  {self.stored(i)} = {operands[0]}{beside}"
            case _, "output", _:
                return f"  output {number} = {operands[0]}"
            case _, "argument", _:
                what += f" number {self.argument(*i.fields[1:])} of"
            case "matrix", _, _:
                what += f" {i.wide['outputs']} x {i.wide['inputs']} of"
                if i.wide["activation"]:
                    what = f"{NAMES[i.wide['activation']]} of {what}"
            case "pairs", _, _:
                *operands, start = operands
                what += f" {start} + {i.wide['inputs']} products:"
            case "given", _, _:
                *operands, value = operands
                what += f" {value} with the derivatives by {i.wide['inputs']} operands:"
        if i.members:
            what = f"{i.members} x {what}"
        return f"  {few(results)} = {what} {few(operands)}".rstrip()

    def line_back(self, i: Instruction, results: list[str], operands: list[str]) -> str:
        """Return which gradients an instruction reads, and which it adds to."""
        if i.roles[:2] == ("operand", "") and not i.has_result:
            return f"  the gradients of {i.members} members are cleared"
        read = few([f"d{name}" for name in results]) or f"the seed of output {i.fields[1]}"
        wanted = [adjoint >= 0 for _, adjoint in self.operands(i)]
        given = [f"d{name}" for name, asked in zip(operands, wanted, strict=True) if asked]
        match i.roles:
            case "argument", _, _:
                return f"  the gradient by {results[0]} from {read}"
            case _, "next", _:
                read = f"d{self.stored(i)}"
            case "matrix", _, _ if i.wide["gradient"] >= 0:
                given.append("those of its weights" if i.wide["fresh_right"] else "those of its biases")
        return f"  {few(given)} from {read} through {i.name}"
