# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False, binding=False
"""A program as text, made from the plans that run."""

from libc.stdint cimport int32_t

from fastgrad.compiler.graph cimport Graph, Loop
from fastgrad.compiler.graph import in_words, repeated
from fastgrad.compiler.instructions cimport Instruction, Wide
from fastgrad.compiler.lowering cimport BACKWARD, FORWARD
from fastgrad.compiler.plan cimport LoopPlan, Plan
from fastgrad.compiler.program cimport Program
from fastgrad.compiler.replay cimport block_bytes, chosen_kernels
from fastgrad.compiler.source_lines import shown as shown_lines
from fastgrad.ops cimport *

__all__ = ["listing"]

cdef enum:
    MOST_LINES = 200
    # Operands of one instruction.
    MOST_NAMES = 6
    # Source lines stand in a column behind instructions of at most this width.
    WIDEST = 60


def listing(Program program not None, dict lines=None):
    """Return the program as text: counts, and the instructions once a batch, for every row, and back.

    lines: by the id of a graph, the source lines of each of its records.
    """
    cdef Graph graph = program.graph
    cdef Plan backward = program.plan_shown(BACKWARD)
    cdef Plan forward = program.plan_for(FORWARD, 1 if backward.most_members else -1)
    cdef Reader reader = Reader(program, backward, graph, lines)
    arguments = ", ".join([f"{name}: {kind_of(key)}" for name, key in zip(program.names, program.signature)])
    reader.read()
    repeats = repeated(graph)
    return "\n".join([
        f"{program.name}({arguments})",
        f"  {nodes_of(graph)} nodes, {len(graph.parameters)} parameters, {len(graph.outputs)} outputs",
        f"  {forward.once_count} instructions once a batch, {forward.forward_count} for every row, "
        f"{backward.backward_count} on the way back",
        f"  {forward.registers} registers forward, {backward.registers} with the way back; "
        f"{forward.bytes + backward.bytes + bytes_of(graph)} bytes, "
        f"and {block_bytes(backward)} for a block of rows in each thread; "
        f"{forward.flops:.0f} flops a row; kernels: {chosen_kernels()}",
        *([] if repeats is None else [f"  {in_words(repeats)}"]),
        *reader.section("once a batch:", reader.once, backward.once_count),
        *reader.section("for every row:", reader.forward, backward.forward_count),
        *reader.section("and back:", reader.backward, backward.backward_count),
        *loops_of(program, backward, lines),
    ])


cdef Py_ssize_t nodes_of(Graph graph) except -1:
    """The nodes of a graph and of the steps of its loops."""
    return graph.size + sum([nodes_of((<Loop>loop).body) for loop in graph.loops])


cdef Py_ssize_t bytes_of(Graph graph) except -1:
    """The memory of a graph and of the steps of its loops."""
    cdef Py_ssize_t own = len(graph.records_bytes) + len(graph.operands_bytes)
    return own + sum([bytes_of((<Loop>loop).body) for loop in graph.loops])


cdef list loops_of(Program program, Plan root, dict source_lines):
    """The step of each loop, by its number."""
    cdef LoopPlan loop
    cdef Reader reader
    cdef list lines = []
    for number, loop in enumerate(root.all_loops):
        reader = Reader(program, loop.body, loop.loop.body, source_lines)
        reader.loop = loop
        reader.read()
        lines.append(
            f"loop {number}: {loop.code.steps} steps of {loop.loop.name}, "
            f"a state of {loop.code.states} numbers, {loop.code.registers} registers"
        )
        if loop.over_steps is not None:
            lines.append(
                f"  of one row, {loop.over_steps.stepwise} of {loop.over_steps.forward_count} instructions "
                "run step by step, the others over many steps at once"
            )
        lines += reader.section("  once a batch:", reader.once, loop.body.once_count)
        lines += reader.section("  in every step:", reader.forward, loop.body.forward_count)
        lines += reader.section("  and back:", reader.backward, loop.body.backward_count)
    return lines


cdef str kind_of(key):
    """An argument's kind in words."""
    kind = ("real", "index", "number", "whole number")[key % 4]
    columns = key // 4 - 1
    return kind if columns < 0 else f"{columns} {kind}s"


cdef class Reader:
    """Goes through a plan in its order, and knows the name of the number in each register."""

    cdef Program program
    cdef Plan plan
    cdef list once
    cdef list forward
    cdef list backward
    # Not None in the step of a loop.
    cdef LoopPlan loop
    # By register, and by index of a uniform number.
    cdef dict held
    cdef dict uniform
    # For each record the source lines that it computes; None if they are not known.
    cdef list lines

    def __cinit__(self, Program program not None, Plan plan not None, Graph graph not None, dict lines):
        self.program = program
        self.plan = plan
        self.lines = (lines or {}).get(id(graph))
        self.once, self.forward, self.backward = [], [], []
        self.held, self.uniform = {}, {}

    cdef int read(self) except -1:
        cdef Plan plan = self.plan
        cdef Py_ssize_t at
        # The forward instructions of the backward instructions that are shown.
        cdef list sources = []
        cdef dict shown = {plan.origin[at]: None for at in range(min(plan.backward_count, MOST_LINES))}
        cdef const Instruction *i
        for at in range(plan.once_count):
            i = &plan.once[at]
            self.uniform[i.out] = name = f"v{plan.made_once[at]}"
            if at < MOST_LINES:
                self.once.append((self.line(i, [name], True), self.source([plan.made_once[at]]) or ""))
        for at in range(plan.forward_count):
            i = &plan.forward[at]
            results = self.results(i, plan.made[at])
            source = self.source_of(i, plan.made[at])
            if at < MOST_LINES:
                self.forward.append((self.line(i, results, False), source))
            if at in shown:
                shown[at] = results, self.operands(i, False)
            self.keep(i, results)
            sources.append(source)
        for at in range(plan.forward_count - 2, -1, -1):
            if sources[at] is None:
                # An instruction that lowering has added stands before the one that needs it.
                sources[at] = sources[at + 1]
        self.forward = [(text, source or "") for (text, _), source in zip(self.forward, sources)]
        for at in range(min(plan.backward_count, MOST_LINES)):
            results, operands = shown[plan.origin[at]]
            text = self.line_back(&plan.backward[at], results, operands)
            self.backward.append((text, sources[plan.origin[at]] or ""))
        return 0

    cdef list section(self, str title, list lines, Py_ssize_t count):
        """A title and the lines below it, or nothing where there are none."""
        if not lines:
            return []
        more = [f"  .. and {count - len(lines)} more"] if count > len(lines) else []
        width = max([len(text) for text, source in lines if source and len(text) <= WIDEST] or [0])
        return [title, *[f"{text:<{width}}    {source}" if source else text for text, source in lines], *more]

    cdef str source_of(self, const Instruction *i, int32_t made):
        """The source line of an instruction for every row; none for loads, whose argument is named."""
        cdef const Roles *roles = roles_of(i.opcode)
        cdef const Wide *wide
        cdef Py_ssize_t at
        if roles.fields[0] == ROLE_MATRIX:
            wide = &self.plan.wides[i.left]
            return self.source([self.plan.table[wide.made + at] for at in range(wide.outputs)])
        if roles.fields[0] == ROLE_ARGUMENT or not (roles.out or roles.fields[1] == ROLE_LOOP):
            return ""
        return self.source([made])

    cdef str source(self, list records):
        """The source lines of these records; None if they are not known, as of what lowering adds."""
        cdef Py_ssize_t record
        cdef dict found = {}
        for record in records:
            if self.lines is not None and record < len(self.lines):
                found.update(dict.fromkeys(self.lines[record]))
        return shown_lines(list(found)) if found else None

    cdef list results(self, const Instruction *i, int32_t made):
        """The names of an instruction's results; a load has the name of its argument."""
        cdef const Roles *roles = roles_of(i.opcode)
        cdef const Wide *wide
        cdef Py_ssize_t at
        if roles.fields[0] == ROLE_ARGUMENT:
            return [self.argument(i.left, i.right)]
        if roles.fields[0] == ROLE_MATRIX:
            wide = &self.plan.wides[i.left]
            return [f"v{self.plan.table[wide.made + at]}" for at in range(wide.outputs)]
        if roles.fields[1] == ROLE_LOOP:
            return [f"loop {i.right}[{at}]" for at in range(self.loop_plan(i).code.states)]
        return [f"v{made}"] if roles.out else []

    cdef LoopPlan loop_plan(self, const Instruction *i):
        return self.plan.loops[self.plan.loop_numbers.index(i.right)]

    cdef int keep(self, const Instruction *i, list results) except -1:
        cdef const Wide *wide
        cdef Py_ssize_t at
        if i.members and results:
            for at in range(i.members):
                self.held[i.out + at] = f"{results[0]}.{at}"
            return 0
        if roles_of(i.opcode).fields[0] == ROLE_MATRIX:
            wide = &self.plan.wides[i.left]
            for at in range(wide.outputs):
                self.held[self.plan.table[wide.out + at]] = results[at]
        elif roles_of(i.opcode).fields[1] == ROLE_LOOP:
            for at in range(len(results)):
                if self.loop_plan(i).code.results[at] >= 0:
                    self.held[self.loop_plan(i).code.results[at]] = results[at]
        elif results:
            self.held[i.out] = results[0]
        return 0

    cdef str argument(self, Py_ssize_t argument, Py_ssize_t column):
        if argument >= len(self.program.names):
            return self.given(argument, column)
        name = self.program.names[argument]
        return name if self.program.signature[argument] // 4 == 0 else f"{name}[{column}]"

    cdef str given(self, Py_ssize_t argument, Py_ssize_t column):
        """The name of an argument that stands for a number of a loop: a state, an input, a result."""
        cdef LoopPlan loop
        cdef Py_ssize_t at
        for loop in [self.loop] if self.loop is not None else []:
            at = argument - loop.code.base
            if 0 <= at < loop.code.states:
                return f"state[{at}]"
            at -= loop.code.states
            if 0 <= at < loop.code.outside:
                return f"outside[{at}]"
            at -= loop.code.outside
            if 0 <= at < loop.code.inputs:
                return f"x[{at}]"
        for number, loop in zip(self.plan.loop_numbers, self.plan.loops):
            at = argument - loop.code.base - loop.code.states - loop.code.outside - loop.code.inputs
            if 0 <= at < loop.code.makes:
                return f"loop {number}'s y[{at}] of step {column}"
        return f"argument {argument}"  # no cover: every argument is one of these

    cdef str name(self, int32_t operand, bint once):
        """The name of an operand."""
        cdef Plan plan = self.plan
        if operand >= 0 and not once:
            return self.held[operand]
        operand = operand if once else ~operand
        if operand in self.uniform:
            return self.uniform[operand]
        if operand < plan.parameters:
            return f"p{operand}" if self.loop is None else f"outside[{operand}]"
        if operand < plan.parameters + plan.shared_count:
            operand -= <int32_t>plan.parameters
            return self.argument(plan.shared[2 * operand], plan.shared[2 * operand + 1])
        return f"{plan.initial[operand]:.6g}"

    cdef str stored(self, const Instruction *i):
        """The name of what a step stores: a number of the next state, or a y."""
        states = self.loop.code.states
        return f"next state[{i.right}]" if i.right < states else f"y[{i.right - states}]"

    cdef list operands(self, const Instruction *i, bint once):
        """The names of the operands: those of a list, pair by pair, then those of the fields."""
        cdef const Roles *roles = roles_of(i.opcode)
        cdef const int32_t *fields = &i.left
        cdef const int32_t *table = self.plan.table
        cdef const Wide *wide
        cdef list names = []
        cdef Py_ssize_t at
        cdef int field
        for field in range(3):
            if roles.fields[field] == ROLE_OPERAND or roles.fields[field] == ROLE_RESULT:
                names.append(self.name(fields[field], once))
            elif roles.fields[field] == ROLE_UNIFORM:
                wide = &self.plan.wides[fields[field]]
                names += [self.name(table[wide.left + at], once) for at in range(i.members)]
            elif roles.fields[field] >= ROLE_EACH:
                wide = &self.plan.wides[fields[field]]
                for at in range(wide.inputs):
                    names.append(self.name(table[wide.left + at], once))
                    if roles.fields[field] == ROLE_PAIRS or roles.fields[field] == ROLE_GIVEN:
                        names.append(self.name(table[wide.right + at], once))
        return names

    cdef str line(self, const Instruction *i, list results, bint once):
        cdef const Roles *roles = roles_of(i.opcode)
        cdef const Wide *wide
        cdef str what = roles.name.decode()
        cdef list operands = self.operands(i, once)
        if roles.fields[0] == ROLE_ARGUMENT:
            return f"  load {results[0]}" + (f" and {i.members - 1} beside it" if i.members else "")
        if roles.fields[1] == ROLE_LOOP:
            return f"  {few(results) or 'nothing'} = loop {i.right} from {few(operands)}"
        if roles.fields[1] == ROLE_NEXT:
            beside = f" and {i.members - 1} beside it" if i.members else ""
            return f"  {self.stored(i)} = {operands[0]}{beside}"
        if roles.fields[1] == ROLE_OUTPUT:
            return f"  output {i.right} = {operands[0]}"
        if roles.fields[1] == ROLE_ARGUMENT:
            what += f" number {self.argument(i.right, i.third)} of"
        elif roles.fields[0] == ROLE_MATRIX:
            wide = &self.plan.wides[i.left]
            what += f" {wide.outputs} x {wide.inputs} of"
            if wide.activation:
                what = f"{roles_of(wide.activation << 2).name.decode()} of {what}"
        elif roles.fields[0] == ROLE_PAIRS:
            what += f" {operands.pop()} + {self.plan.wides[i.left].inputs} products:"
        elif roles.fields[0] == ROLE_GIVEN:
            what += f" {operands.pop()} with the derivatives by {self.plan.wides[i.left].inputs} operands:"
        if i.members:
            what = f"{i.members} x {what}"
        return f"  {few(results)} = {what} {few(operands)}".rstrip()

    cdef str line_back(self, const Instruction *i, list results, list operands):
        """Which gradients an instruction reads, and which it adds to."""
        cdef const Roles *roles = roles_of(i.opcode)
        cdef const int32_t *adjoints = &i.left_adjoint
        cdef const int32_t *table = self.plan.table
        cdef const Wide *wide
        cdef list wanted = []
        cdef Py_ssize_t at
        cdef int field
        for field in range(3):
            if roles.fields[field] == ROLE_OPERAND:
                wanted.append(adjoints[field] >= 0)
            elif roles.fields[field] == ROLE_UNIFORM:
                wide = &self.plan.wides[i.right if field == 1 else i.third]
                wanted += [wide.gradient >= 0] * i.members
            elif roles.fields[field] >= ROLE_EACH:
                wide = &self.plan.wides[i.left]
                for at in range(wide.inputs):
                    wanted.append(table[wide.left_adjoint + at] >= 0)
                    if roles.fields[field] == ROLE_GIVEN:
                        wanted.append(False)
                    elif roles.fields[field] == ROLE_PAIRS:
                        wanted.append(table[wide.right_adjoint + at] >= 0)
        if roles.fields[0] == ROLE_OPERAND and not roles.out and roles.fields[1] == ROLE_NONE:
            return f"  the gradients of {i.members} members are cleared"
        given = [f"d{name}" for name, asked in zip(operands, wanted) if asked]
        if roles.fields[0] == ROLE_MATRIX and self.plan.wides[i.left].gradient >= 0:
            weights = self.plan.wides[i.left].fresh_right
            given.append("those of its weights" if weights else "those of its biases")
        read = few([f"d{name}" for name in results]) or f"the seed of output {i.right}"
        if roles.fields[0] == ROLE_ARGUMENT:
            return f"  the gradient by {results[0]} from d{results[0]}"
        if roles.fields[1] == ROLE_NEXT:
            read = f"d{self.stored(i)}"
        return f"  {few(given)} from {read} through {roles.name.decode()}"


cdef str few(list names):
    """The first names, and how many there are."""
    shown = names[:MOST_NAMES]
    return ", ".join(shown) + (f", .. {len(names)} in all" if len(names) > MOST_NAMES else "")
