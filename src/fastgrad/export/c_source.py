"""to_c: a compiled function as one file of C99, with its value, its gradient and its parameters."""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fastgrad.compiler.arguments import describe_signature
from fastgrad.compiler.compiled import Compiled
from fastgrad.compiler.graph import OPERATION_ROWS, Graph, Loop
from fastgrad.compiler.program import Program
from fastgrad.export.c_expressions import c_expression, c_number, special_functions
from fastgrad.operations import FUNCTIONS, REDUCTIONS, TABLE, Operation

__all__ = ["to_c"]

NAMES = {row: name for name, row in OPERATION_ROWS.items()}
OPERATIONS = {operation.name: operation for operation in (*TABLE, *FUNCTIONS)}
FOLDS = {reduction.name: reduction for reduction in REDUCTIONS}
# The names that the file uses itself, and those of C.
TAKEN = re.compile(
    r"(v|g|t|i|o|s|n|m|x|gs|gm|go|gx|gp)\d+|g?e\d+_\d+|p|dp|out|seed|work|d_\w+|main|"
    r"auto|break|case|char|const|continue|"
    r"default|do|double|else|enum|extern|float|for|goto|if|inline|int|long|register|restrict|return|short|"
    r"signed|sizeof|static|struct|switch|typedef|union|unsigned|void|volatile|while|exp|log|log1p|expm1|sqrt|"
    r"tanh|sin|cos|tan|pow|fabs|floor|isfinite|erf|memcpy|memset|NAN|INFINITY|y[01n]|j[01n]|gamma"
)

# The names that the function of a step uses itself.
TAKEN_IN_STEP = re.compile("s|x|o|next|made|gs|go|gx|gnext|gmade")


class Argument(NamedTuple):
    """One argument of the function in C."""

    name: str
    # None if a row has one number, which C gets by value.
    columns: int | None
    whole: bool
    # Whether the step of a loop has it: all indices, and what a loop within a step goes over.
    in_steps: bool

    def declared(self) -> str:
        kind = "long long" if self.whole else "double"
        return f"{kind} {self.name}" if self.columns is None else f"const {kind} *restrict {self.name}"

    def place(self, column: str) -> str:
        return self.name if self.columns is None else f"{self.name}[{column}]"

    def element(self, column: str) -> str:
        return f"(double){self.place(column)}" if self.whole else self.place(column)

    def gradient(self, column: str) -> str | None:
        return None if self.whole else f"d_{self.name}[{column}]"


class Node(NamedTuple):
    """One record of a graph, as records.pxi describes it."""

    operation: str
    operands: Sequence[int]
    # For a leaf its place, for a constant its value, for take the place of its index, for a loop or a result
    # its number.
    detail: Any


def nodes_of(graph: Graph) -> Iterator[Node]:
    records, operands, constants, _, leaves, selections, _ = graph._parts()
    numbers, listed = array("i", records), array("i", operands)
    for at in range(0, len(numbers), 3):
        row, first, second = numbers[at : at + 3]
        name = NAMES[row]
        if name == "leaf":
            yield Node(name, (), leaves[first])
        elif name == "constant":
            yield Node(name, (), constants[first])
        elif name in OPERATIONS and OPERATIONS[name].operands < 3:
            yield Node(name, (first, second)[: OPERATIONS[name].operands], None)
        elif name in ("take", "loop", "result"):
            place = selections[listed[first]]
            yield Node(name, listed[first + 1 : first + second], place if name == "take" else place[1])
        else:
            yield Node(name, listed[first : first + second], None)


def columns_in_steps(graph: Graph, inside: bool = False) -> set[int]:
    """Return the arguments that loops within the steps of loops go over."""
    found = set()
    for loop in graph._loops():
        if inside:
            found |= {each.source for each in loop.inputs if each.kind == 0}
        found |= columns_in_steps(loop.body, True)
    return found


def passes_to(node: Node) -> Sequence[int]:
    """Return the operands to which a node passes its gradient: of given derivatives, those with one."""
    return node.operands[1::2] if node.operation == "local" else node.operands


def to_c(f: Compiled[Any] | Program, path: str | os.PathLike[str], *, name: str | None = None) -> None:
    """Write a compiled function as one file of C99, which needs the C library alone.

    The file has, for a row: `name(arguments, p, out)` for the outputs, and `name_gradient(arguments, p, seed,
    out, d_argument.., dp)`, which adds to the gradients, times `seed`, one number an output. The parameters
    are `name_parameters`, as they are now, in hexadecimal; `p` may be these or others. Loops are loops; a
    function that has any takes room for `NAME_WORK` numbers, `work`, as its last argument. What the engine
    refuses, such as the root of a negative number, is nan or infinite here.

    f: a compiled function that was called for one kind of arguments, or one of its programs. name: of the
    function in C, in the place of f's. Raises ValueError for one that was not called, or for several kinds;
    and for a name that C does not allow.
    """
    program = program_of(f)
    name = valid_name(program.name if name is None else name, name is not None)
    text = Source(program, name).text()
    Path(os.fspath(path)).write_text(text, encoding="ascii", errors="replace", newline="\n")


def program_of(f: Any) -> Program:
    if isinstance(f, Program):
        return f
    if not isinstance(f, Compiled):
        raise TypeError(f"to_c writes a compiled function, not {type(f).__name__}")
    programs = f._all_programs()
    if not programs:
        raise ValueError(f"{f.name} has no program yet: call it first, with arguments of the kind that C has")
    if len(programs) > 1:
        raise ValueError(
            f"{f.name} has programs for {len(programs)} kinds of arguments: give one of "
            f"{f.name}.programs.values()"
        )
    return programs[0]


def valid_name(name: str, given: bool) -> str:
    found = re.sub(r"\W", "_", name, flags=re.ASCII).strip("_") or "f"
    if given and (found != name or found[0].isdigit() or TAKEN.fullmatch(name)):
        raise ValueError(f"{name!r} is no name for a function in C")
    if found[0].isdigit() or found == "lambda" or TAKEN.fullmatch(found) or TAKEN_IN_STEP.fullmatch(found):
        found = f"f_{found}" if found != "lambda" else "f"
    return found


class Source:
    """The text of a file, function by function."""

    def __init__(self, program: Program, name: str) -> None:
        self.program = program
        self.name = name
        kinds = describe_signature(program.signature)
        whole = [kind in ("index", "whole number") for kind, _ in kinds]
        inside = columns_in_steps(program._graph())
        in_steps = [one_whole or at in inside for at, one_whole in enumerate(whole)]
        self.arguments = [
            Argument(argument, columns, one_whole, in_step)
            for argument, (_, columns), one_whole, in_step in zip(
                argument_names(program._names(), in_steps), kinds, whole, in_steps, strict=True
            )
        ]
        # The functions of loops' steps, inner ones first.
        self.functions: list[str] = []
        # The names of the functions of steps, by loop and the outputs that are read.
        self.steps: dict[tuple[int, frozenset[int]], str] = {}
        self.loops = 0
        self.work = 0

    def room(self, count: int) -> str:
        """Return the address of a piece of `work`."""
        self.work += count
        return f"work + {self.work - count}"

    def text(self) -> str:
        graph = self.program._graph()
        parts = graph._parts()
        parameters = parts[3]
        value, gradient = Body(self, graph), Body(self, graph)
        value.forward(False)
        gradient.forward(True)
        outputs = [f"out[{number}] = {value.atom(output)};" for number, output in enumerate(parts[6])]
        given = [argument.declared() for argument in self.arguments]
        end = ["double *restrict work"] if self.work else []
        gradients = [f"double *restrict d_{each.name}" for each in self.arguments if not each.whole]
        common = [*given, "const double *restrict p", "double *restrict out", *end]
        head = f"void {self.name}({', '.join(common)})"
        back = (
            f"void {self.name}_gradient("
            + ", ".join(
                [
                    *given,
                    "const double *restrict p",
                    "const double *restrict seed",
                    "double *restrict out",
                    *gradients,
                    "double *restrict dp",
                    *end,
                ]
            )
            + ")"
        )
        names = [each.name for each in self.arguments]
        quiet = [f"(void){each};" for each in [*names, "p"]]
        quiet_back = [
            *quiet,
            *[f"(void)d_{each.name};" for each in self.arguments if not each.whole],
            "(void)dp;",
        ]
        upper = self.name.upper()
        numbers = ",\n    ".join(c_number(parameter.data) for parameter in parameters) or "0.0"
        code = [
            *self.functions,
            *function(head, [*quiet, *value.before(outputs)]),
            *function(back, [*quiet_back, *gradient.before(gradient.backward())]),
        ]
        lines = [
            f"/* {comment(self.program.name)}, compiled by fastgrad and written as C99: link with -lm.",
            "",
            f"   {self.name} computes the outputs of a row; {self.name}_gradient computes them, and adds",
            "   to the gradients by arguments and parameters p, where seed[k] is d result / d out[k].",
            f"   {self.name}_parameters are the parameters at the time of writing.",
            *([f"   work is room for {upper}_WORK numbers."] if self.work else []),
            "*/",
            "#include <math.h>",
            *(["#include <string.h>"] if self.loops else []),
            "",
            f"enum {{ {upper}_OUTPUTS = {len(parts[6])}, {upper}_PARAMETERS = {len(parameters)}, "
            f"{upper}_WORK = {self.work} }};",
            "",
            f"extern const double {self.name}_parameters[{max(len(parameters), 1)}];",
            f"{head};",
            f"{back};",
            "",
            f"const double {self.name}_parameters[{max(len(parameters), 1)}] = {{",
            f"    {numbers}",
            "};",
            "",
            *special_functions(code),
            *code,
        ]
        return "\n".join(lines).rstrip() + "\n"


def comment(text: str) -> str:
    return text.replace("*/", "* /").replace("\\", "/")


def function(head: str, lines: list[str]) -> list[str]:
    return [head, "{", *[f"    {line}" for line in lines], "}", ""]


def argument_names(names: Sequence[str], in_steps: Sequence[bool]) -> list[str]:
    """Return names that C allows, all different."""
    found: list[str] = []
    for given, in_step in zip(names, in_steps, strict=True):
        name = re.sub(r"\W+", "_", given, flags=re.ASCII)
        if not name or name[0].isdigit() or name.startswith("d_"):
            name = f"a_{name}"
        while TAKEN.fullmatch(name) or (in_step and TAKEN_IN_STEP.fullmatch(name)) or name in found:
            name += "_"
        found.append(name)
    return found


class Body:
    """The statements of one graph: of the function, or of a loop's step."""

    def __init__(
        self, source: Source, graph: Graph, inside: bool = False, read: set[int] | None = None
    ) -> None:
        """Begin the text of a graph; `read`: the outputs of a loop's step that pass a derivative on."""
        self.source = source
        self.graph = graph
        needed, self.read_outputs = graph._needed_by(read)
        self.inside = inside
        self.nodes = list(nodes_of(graph))
        self.outputs: list[int] = graph._parts()[6]
        self.loops: dict[int, LoopText] = {}
        # By node, the statements that compute it.
        self.statements: dict[int, list[str]] = {}
        self.active: list[bool] = []
        for node in self.nodes:
            self.active.append(
                self.target_of_leaf(node.detail) is not None
                if node.operation == "leaf"
                else node.operation in ("loop", "result")
                or any(self.active[each] for each in passes_to(node))
            )
        # What only given derivatives use gets no gradient: 0 times another one may be nan.
        received = set(self.outputs)
        for number in range(len(self.nodes) - 1, -1, -1):
            if number in received:
                received.update(passes_to(self.nodes[number]))
        self.active = [
            active and needed[number] != 0 and number in received for number, active in enumerate(self.active)
        ]
        self.selects = any(self.is_choice(node) for node in self.nodes)
        self.history = False

    def is_choice(self, node: Node) -> bool:
        if node.operation == "loop":
            return Body(self.source, self.graph._loops()[node.detail].body, True).selects
        return node.operation in OPERATIONS and OPERATIONS[node.operation].selects

    def atom(self, number: int) -> str:
        """Return the text of a node's value."""
        node = self.nodes[number]
        if node.operation == "constant":
            return c_number(node.detail)
        if node.operation == "leaf":
            return self.leaf(node.detail)
        return f"v{number}"

    def leaf(self, place: tuple[int, int]) -> str:
        which, number = place
        if which >= 0:
            return self.source.arguments[which].element(str(number))
        return f"{('o', 's', 'x')[-1 - which] if self.inside else 'p'}[{number}]"

    def target_of_leaf(self, place: tuple[int, int]) -> str | None:
        if place[0] >= 0:
            return self.source.arguments[place[0]].gradient(str(place[1]))
        return f"{'g' if self.inside else 'd'}{self.leaf(place)}"

    def target(self, number: int) -> str:
        node = self.nodes[number]
        found = self.target_of_leaf(node.detail) if node.operation == "leaf" else f"g{number}"
        assert found is not None
        return found

    # The way forward.

    def forward(self, history: bool) -> None:
        """Write the statements that compute every node; with history, loops keep all states."""
        self.history = history
        for number, node in enumerate(self.nodes):
            if node.operation == "loop":
                text = LoopText(self, number, self.graph._loops()[node.detail])
                self.loops[number] = text
                self.statements[number] = text.forward()
            elif node.operation not in ("leaf", "constant"):
                self.statements[number] = self.value(number, node)

    def before(self, lines: list[str]) -> list[str]:
        """Return the statements that compute the nodes which these lines read, then the lines."""
        read = set(re.findall(r"\bv\d+", "\n".join(lines)))
        kept = [lines]
        for number in reversed(self.statements):
            if f"v{number}" in read or number in self.loops:
                kept.append(self.statements[number])
                read.update(re.findall(r"\bv\d+", "\n".join(self.statements[number])))
        return [line for statements in reversed(kept) for line in statements]

    def value(self, number: int, node: Node) -> list[str]:
        given = [self.atom(each) for each in node.operands] if node.operation != "result" else []
        if node.operation == "result":
            return [f"const double v{number} = {self.loops[node.operands[0]].result(node.detail)};"]
        if node.operation == "inner":
            count = len(given)
            first = [given[-1]] if count % 2 else []
            terms = first + [f"{given[at]} * {given[at + 1]}" for at in range(0, count - 1, 2)]
            return [f"const double v{number} = {' + '.join(terms)};"]
        if node.operation == "take":
            run = self.run_of(node.operands)
            index = self.index_of(node.detail)
            if run:
                return [f"const double v{number} = p[{run[0]} + {run[1]} * {index}];"]
            return [f"const double v{number} = (const double[]){{{', '.join(given)}}}[{index}];"]
        if node.operation == "local":
            return [f"const double v{number} = {given[0]};"]
        if node.operation in FOLDS:
            return self.fold(number, node, given)
        operation, _, texts = self.row_of(node)
        names = dict(zip("abc", texts, strict=False))
        return [f"const double v{number} = {c_expression(operation.value, names)};"]

    def row_of(self, node: Node) -> tuple[Operation, Sequence[int | None], list[str]]:
        """Return the row that computes a node, its operands (None for a number), and their texts in C.

        As in the compiler, x**2 is computed as x * x, as the row's column `simpler` says.
        """
        operation, operands = OPERATIONS[node.operation], node.operands
        texts, right = [self.atom(each) for each in operands], self.nodes[operands[-1]]
        simpler = dict(operation.simpler).get(str(right.detail), "a")
        if right.operation != "constant" or simpler == "a":
            return operation, operands, texts
        # Of the two operands, the right one is always `a`.
        left, symbol, _ = simpler.split()
        is_number = left != "a"
        return (
            next(row for row in TABLE if row.symbol == symbol and row.operands == 2),
            [None if is_number else operands[0], operands[0]],
            [c_number(float(left)) if is_number else texts[0], texts[0]],
        )

    def fold(self, number: int, node: Node, given: list[str]) -> list[str]:
        fold = FOLDS[node.operation]
        lines = []
        names = {"total": f"t{number}", "n": f"{len(given)}.0", "shift": f"i{number}"}
        if "shift" in fold.step + fold.finish:
            lines.append(f"double i{number} = -INFINITY;")
            lines += [f"i{number} = {each} > i{number} ? {each} : i{number};" for each in given]
            lines.append(f"i{number} = isfinite(i{number}) ? i{number} : 0.0;")
        lines.append(f"double t{number} = 0.0;")
        lines += [f"t{number} = {c_expression(fold.step, {**names, 'a': each})};" for each in given]
        return [*lines, f"const double v{number} = {c_expression(fold.finish, names)};"]

    def index_of(self, place: tuple[int, int]) -> str:
        which, number = place
        if which >= 0:
            return self.source.arguments[which].place(str(number))
        return f"(long)x[{number}]"

    def run_of(self, operands: Sequence[int]) -> tuple[int, int] | None:
        """Return (first, stride) if the operands are parameters at equal distances."""
        places = [
            self.nodes[each].detail if self.nodes[each].operation == "leaf" else (0, 0) for each in operands
        ]
        if self.inside or any(which != -1 for which, _ in places):
            return None
        numbers = [number for _, number in places]
        stride = numbers[1] - numbers[0] if len(numbers) > 1 else 1
        wanted = [numbers[0] + stride * at for at in range(len(numbers))]
        return (numbers[0], stride) if numbers == wanted else None

    # The way back.

    def backward(self) -> list[str]:
        """Return the statements that add to all gradients, after the outputs."""
        used = [number for number, node in enumerate(self.nodes) if self.active[number] and node.operands]
        lines = (
            []
            if self.inside
            else [f"out[{number}] = {self.atom(output)};" for number, output in enumerate(self.outputs)]
        )
        for number in used:
            if self.nodes[number].operation != "loop":
                lines.append(f"double g{number} = 0.0;")
        for place, output in enumerate(self.outputs):
            if self.active[output]:
                lines.append(f"{self.target(output)} += {self.seed(place)};")
            elif self.inside:
                lines.append(f"(void){self.seed(place).split('[')[0]};")
        if not self.inside:
            lines.append("(void)seed;")
        for number in reversed(used):
            lines += self.pull(number, self.nodes[number])
        return lines

    def seed(self, place: int) -> str:
        if not self.inside:
            return f"seed[{place}]"
        states = self.graph._taken()[1]
        return f"gnext[{place}]" if place < states else f"gmade[{place - states}]"

    def pull(self, number: int, node: Node) -> list[str]:
        """Return the statements that add a node's gradient to those of its operands."""
        if node.operation == "loop":
            return self.loops[number].backward()
        if node.operation == "result":
            return [f"{self.loops[node.operands[0]].gradient(node.detail)} += g{number};"]
        lines = list(self.shares(number, node))
        # A node that was not chosen has the gradient 0 and gives nothing, even if a derivative is infinite.
        return (
            [f"if (g{number} != 0.0) {{", *[f"    {line}" for line in lines], "}"] if self.selects else lines
        )

    def shares(self, number: int, node: Node) -> Iterator[str]:
        operands = node.operands
        given = [self.atom(each) for each in operands]
        if node.operation == "inner":
            for at in range(0, len(operands) - 1, 2):
                for one, other in ((at, at + 1), (at + 1, at)):
                    if self.active[operands[one]]:
                        yield f"{self.target(operands[one])} += g{number} * {given[other]};"
            if len(operands) % 2 and self.active[operands[-1]]:
                yield f"{self.target(operands[-1])} += g{number};"
        elif node.operation == "take":
            run, index = self.run_of(operands), self.index_of(node.detail)
            if run:
                yield f"dp[{run[0]} + {run[1]} * {index}] += g{number};"
                return
            yield f"switch ({index}) {{"
            for at, operand in enumerate(operands):
                if self.active[operand]:
                    yield f"case {at}: {self.target(operand)} += g{number}; break;"
            yield "default: break;"
            yield "}"
        elif node.operation == "local":
            for at in range(1, len(operands), 2):
                if self.active[operands[at]]:
                    yield f"{self.target(operands[at])} += {given[at + 1]} * g{number};"
        elif node.operation in FOLDS:
            for operand, each in zip(operands, given, strict=True):
                if self.active[operand]:
                    names = {"a": each, "out": f"v{number}", "n": f"{len(operands)}.0"}
                    derivative = c_expression(FOLDS[node.operation].derivative, names)
                    yield f"{self.target(operand)} += {derivative} * g{number};"
        else:
            operation, reached, texts = self.row_of(node)
            names = {**dict(zip("abc", texts, strict=False)), "out": f"v{number}"}
            for target, derivative in zip(reached, operation.derivatives, strict=True):
                if target is not None and self.active[target]:
                    yield f"{self.target(target)} += {c_expression(derivative, names)} * g{number};"


class LoopText:
    """The statements of one loop, and the functions of its step."""

    def __init__(self, outside: Body, number: int, loop: Loop) -> None:
        source = outside.source
        self.body, self.loop, self.operands = outside, loop, outside.nodes[number].operands
        # A loop that only given derivatives use has no way back.
        self.goes_back = outside.history and outside.active[number]
        self.key = source.loops
        source.loops += 1
        self.states, self.makes = loop.states, len(loop.body._parts()[6]) - loop.states
        self.given = [each for each in source.arguments if each.in_steps]
        self.read = outside.read_outputs.get(number, set())
        # Two loops may have the same step but read different outputs of it.
        key = id(loop), frozenset(self.read)
        self.name = source.steps.setdefault(key, f"{source.name}_step{self.key}")
        self.define(self.name == f"{source.name}_step{self.key}")

    def define(self, is_new: bool) -> None:
        """Write the functions of the step."""
        source = self.body.source
        given = [
            "const double *restrict o, const double *restrict s, const double *restrict x",
            *[each.declared() for each in self.given],
        ]
        quiet = ["(void)o; (void)s; (void)x; (void)work;", *[f"(void){each.name};" for each in self.given]]
        gradients = [f"d_{each.name}" for each in self.given if not each.whole]
        end = "double *restrict work"
        value = Body(source, self.loop.body, True)
        gradient = Body(source, self.loop.body, True, self.read)
        outputs = [
            f"{f'next[{at}]' if at < self.states else f'made[{at - self.states}]'} = {value.atom(output)};"
            for at, output in enumerate(value.outputs)
        ]
        if is_new:
            value.forward(False)
        common = [*given, "double *restrict next", "double *restrict made", end]
        head = f"static void {self.name}({', '.join(common)})"
        if is_new:
            source.functions += function(head, [*quiet, "(void)next; (void)made;", *value.before(outputs)])
        if not self.goes_back:
            return
        gradient.forward(True)
        lines = gradient.before(gradient.backward())
        back = (
            f"static void {self.name}_gradient("
            + ", ".join(
                [
                    *given,
                    "const double *restrict gnext, const double *restrict gmade",
                    "double *restrict go, double *restrict gs, double *restrict gx",
                    *[f"double *restrict {each}" for each in gradients],
                    end,
                ]
            )
            + ")"
        )
        quiet.append("(void)gnext; (void)gmade; (void)go; (void)gs; (void)gx;")
        quiet += [f"(void){each};" for each in gradients]
        zero = [f"gs[{at}] = 0.0;" for at in range(self.states)]
        zero += [f"gx[{at}] = 0.0;" for at in range(len(self.loop.inputs))]
        source.functions += function(back, [*quiet, *zero, *lines])

    def forward(self) -> list[str]:
        """Return the statements that run all steps."""
        k, loop, body = self.key, self.loop, self.body
        atoms = [body.atom(each) for each in self.operands[: self.states + loop.outside]]
        room = body.source.room
        states = max(self.states, 1)
        lines = [f"double o{k}[{max(loop.outside, 1)}];"]
        lines += [f"o{k}[{at}] = {atom};" for at, atom in enumerate(atoms[self.states :])]
        if body.history:
            lines.append(f"double *const s{k} = {room((loop.steps + 1) * self.states)};")
        else:
            lines += [f"double s{k}[{states}], n{k}[{states}];", f"(void)n{k}; (void)s{k};"]
        lines.append(f"double *const m{k} = {room(loop.steps * self.makes)};")
        lines += [f"s{k}[{at}] = {atom};" for at, atom in enumerate(atoms[: self.states])]
        if self.goes_back:
            lines += [
                f"double gs{k}[{states}] = {{0.0}};",
                f"double *const gm{k} = {room(loop.steps * self.makes)};",
                f"memset(gm{k}, 0, {loop.steps * self.makes} * sizeof(double));",
            ]
        for at, each in enumerate(loop.inputs):
            if each.kind == 1:
                lines += self.elements(at, self.operands[each.source : each.source + loop.steps])
        passed = "".join(f"{each.name}, " for each in self.given)
        made = f"m{k} + t{k} * {self.makes}"
        lines += [
            f"for (long t{k} = 0; t{k} < {loop.steps}; t{k}++) {{",
            *[f"    {line}" for line in self.inputs()],
        ]
        if body.history:
            lines.append(
                f"    {self.name}(o{k}, s{k} + t{k} * {self.states}, x{k}, {passed}"
                f"s{k} + (t{k} + 1) * {self.states}, {made}, work);"
            )
        else:
            lines += [
                f"    {self.name}(o{k}, s{k}, x{k}, {passed}n{k}, {made}, work);",
                f"    memcpy(s{k}, n{k}, {self.states} * sizeof(double));",
            ]
        return [*lines, "}"]

    def elements(self, at: int, operands: Sequence[int]) -> list[str]:
        """Return the statements that list the elements of an input."""
        k, body = self.key, self.body
        atoms = [body.atom(each) for each in operands]
        name = f"e{k}_{at}"
        if all(body.nodes[each].operation == "constant" for each in operands):
            return [f"static const double {name}[{len(atoms)}] = {{{', '.join(atoms)}}};"]
        lines = [f"double *const {name} = {body.source.room(len(atoms))};"]
        lines += [f"{name}[{step}] = {atom};" for step, atom in enumerate(atoms)]
        if self.goes_back:
            lines.append(f"double *const g{name} = {body.source.room(len(atoms))};")
            lines.append(f"memset(g{name}, 0, {len(atoms)} * sizeof(double));")
        return lines

    def place(self, each: Any) -> str:
        return (
            f"{each.first} + t{self.key} * {each.stride}"
            if each.stride >= 0
            else (f"{each.first} - t{self.key} * {-each.stride}")
        )

    def inputs(self) -> list[str]:
        """Return the statements that set the inputs of a step."""
        k = self.key
        lines = [f"double x{k}[{max(len(self.loop.inputs), 1)}];", f"(void)x{k};"]
        for at, each in enumerate(self.loop.inputs):
            if each.kind == 0:
                found = self.body.source.arguments[each.source].element(self.place(each))
            elif each.kind == 1:
                found = f"e{k}_{at}[t{k}]"
            else:
                other = self.body.loops[self.operands[each.source]]
                found = f"m{other.key}[({self.place(each)}) * {other.makes} + {each.number}]"
            lines.append(f"x{k}[{at}] = {found};")
        return lines

    def result(self, number: int) -> str:
        if number >= self.states:
            return f"m{self.key}[{number - self.states}]"
        return f"s{self.key}[{number + self.loop.steps * self.states if self.body.history else number}]"

    def gradient(self, number: int) -> str:
        return f"gs{self.key}[{number}]" if number < self.states else f"gm{self.key}[{number - self.states}]"

    def backward(self) -> list[str]:
        """Return the statements that go back through all steps."""
        k, loop, body = self.key, self.loop, self.body
        inputs = max(len(loop.inputs), 1)
        passed = "".join(f"{each.name}, " for each in self.given)
        gradients = "".join(f"d_{each.name}, " for each in self.given if not each.whole)
        lines = [
            f"double go{k}[{max(loop.outside, 1)}] = {{0.0}};",
            f"for (long t{k} = {loop.steps - 1}; t{k} >= 0; t{k}--) {{",
            *[f"    {line}" for line in self.inputs()],
            f"    double gx{k}[{inputs}], gp{k}[{max(self.states, 1)}];",
            f"    {self.name}_gradient(o{k}, s{k} + t{k} * {self.states}, x{k}, {passed}gs{k}, "
            f"gm{k} + t{k} * {self.makes}, go{k}, gp{k}, gx{k}, {gradients}work);",
            f"    memcpy(gs{k}, gp{k}, {self.states} * sizeof(double));",
        ]
        after = []
        for at, each in enumerate(loop.inputs):
            target: str | None
            if each.kind == 0:
                target = body.source.arguments[each.source].gradient(self.place(each))
            elif each.kind == 1:
                operands = self.operands[each.source : each.source + loop.steps]
                if all(body.nodes[operand].operation == "constant" for operand in operands):
                    continue
                target = f"ge{k}_{at}[t{k}]"
                after += [
                    f"{body.target(operand)} += ge{k}_{at}[{step}];"
                    for step, operand in enumerate(operands)
                    if body.active[operand]
                ]
            else:
                other = body.loops[self.operands[each.source]]
                target = f"gm{other.key}[({self.place(each)}) * {other.makes} + {each.number}]"
                if not other.goes_back:
                    target = None
            if target is not None:
                lines.append(f"    {target} += gx{k}[{at}];")
        lines += ["}", *after]
        for at, operand in enumerate(self.operands[: self.states + loop.outside]):
            if body.active[operand] and (at >= self.states or at in self.read):
                amount = f"gs{k}[{at}]" if at < self.states else f"go{k}[{at - self.states}]"
                lines.append(f"{body.target(operand)} += {amount};")
        return lines
