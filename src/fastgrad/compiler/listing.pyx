# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""A program as text."""

from libc.stdint cimport int32_t

from fastgrad.compiler.graph cimport Graph, has_many_operands, has_two_operands
from fastgrad.compiler.instructions cimport *
from fastgrad.compiler.lowering cimport BACKWARD, CODE_TERMS, FORWARD, STEP, Lowering, lowered
from fastgrad.compiler.plan cimport Plan
from fastgrad.compiler.program cimport Program
from fastgrad.compiler.replay cimport block_bytes, chosen_kernels
from fastgrad.ops cimport *

cdef dict CODE_NAMES = {
    CODE_LOAD: "load",
    CODE_OUTPUT: "output",
    CODE_BROADCAST: "broadcast",
    CODE_MATRIX: "matrix",
    CODE_INNER: "inner",
    CODE_MULTIPLY_ADD: "multiply_add",
    CODE_TAKE: "take",
    CODE_TERMS: "terms",
}
cdef Py_ssize_t MOST_LINES = 200


def listing(Program self not None):
    """Return the program as text: its counts, what is computed once a batch, and what for every row."""
    cdef Graph graph = self.graph
    cdef Lowering lowering = lowered(graph, FORWARD, self.kinds)
    cdef Plan forward = self.plan_for(FORWARD)
    cdef Plan backward = self.plan_for(BACKWARD)
    cdef Py_ssize_t at
    cdef list lines, once, rows
    once = [uniform_line(self, lowering, at) for at in range(shown(lowering.uniform_steps.size // 4))]
    rows = [row_line(self, lowering, at) for at in range(shown(lowering.steps.size // STEP))]
    arguments = ", ".join(
        [f"{name}: {describe(key)}" for name, key in zip(self.names, self.signature)]
    )
    lines = [
        f"{self.name}({arguments})",
        f"  {graph.size} nodes, {len(graph.parameters)} parameters, {len(graph.outputs)} outputs",
        f"  {forward.uniform_count} instructions once a batch, {forward.forward_count} for every row, "
        f"{backward.backward_count} on the way back",
        f"  {forward.slots} registers forward, {backward.slots} with the way back; "
        f"{forward.bytes + backward.bytes + len(graph.records_bytes) + len(graph.operands_bytes)} bytes, "
        f"and {block_bytes(backward)} for a block of rows in each thread; "
        f"{forward.flops:.0f} flops a row; kernels: {chosen_kernels()}",
    ]
    if once:
        lines += ["once a batch:", *once, *rest(lowering.uniform_steps.size // 4)]
    lines += ["for every row:", *rows, *rest(lowering.steps.size // STEP)]
    return "\n".join(lines)


cdef Py_ssize_t shown(Py_ssize_t count) noexcept:
    return min(count, MOST_LINES)


cdef list rest(Py_ssize_t count):
    return [f"  .. and {count - MOST_LINES} more"] if count > MOST_LINES else []


cdef str describe(key):
    """Return one argument's kind in words."""
    kind = ("real", "index", "number", "whole number")[key % 4]
    columns = key // 4 - 1
    return kind if columns < 0 else f"{columns} {kind}s"


cdef str operand_name(Program self, Lowering lowering, int32_t operand):
    cdef Graph graph = self.graph
    if operand < graph.size:
        if graph.row(operand) == ROW_CONSTANT:
            return f"{graph.constants[graph.first(operand)]:.6g}"
        if graph.row(operand) == ROW_LEAF:
            argument, column = graph.leaves[graph.first(operand)]
            if argument < 0:
                return f"p{column}"
            return argument_name(self, argument, column)
    for number, known in lowering.constants.items():
        if known == operand:
            return f"{number:.6g}"
    return f"v{operand}"


cdef str argument_name(Program self, argument, column):
    name = self.names[argument]
    return name if self.signature[argument] // 4 == 0 else f"{name}[{column}]"


cdef str names_of(Program self, Lowering lowering, list operands):
    few = [operand_name(self, lowering, operand) for operand in operands[:6]]
    if len(operands) > 6:
        few.append(f".. {len(operands)} in all")
    return ", ".join(few)


cdef str uniform_line(Program self, Lowering lowering, Py_ssize_t at):
    cdef int32_t *step = lowering.uniform_steps.items + 4 * at
    cdef int32_t *terms
    cdef int row = step[0] >> 2
    cdef Py_ssize_t k
    if step[0] == CODE_TERMS:
        terms = lowering.terms.items + step[2]
        products = [terms[2 + k] for k in range(2 * terms[0])]
        singles = [terms[2 + 2 * terms[0] + 2 * k] for k in range(terms[1])]
        return f"  v{step[1]} = sum of {terms[0]} products and {terms[1]} terms: " \
            f"{names_of(self, lowering, products + singles)}"
    if has_many_operands(row):
        operands = [self.graph.operands[step[2] + k] for k in range(step[3])]
    else:
        operands = [step[2], step[3]] if has_two_operands(row) else [step[2]]
    return f"  v{step[1]} = {row_name(row).decode()} {names_of(self, lowering, operands)}"


cdef str row_line(Program self, Lowering lowering, Py_ssize_t at):
    cdef int32_t *step = lowering.steps.items + STEP * at
    cdef int32_t code = step[0]
    cdef Py_ssize_t k
    cdef list wide
    name = CODE_NAMES[code] if code >= CODE_LOAD else row_name(code >> 2).decode()
    if code == CODE_LOAD:
        return f"  v{step[1]} = load {argument_name(self, step[2], step[3])}"
    if code == CODE_OUTPUT:
        return f"  output {step[3]} = {operand_name(self, lowering, step[2])}"
    if code == CODE_MULTIPLY_ADD:
        return f"  v{step[1]} = multiply_add {names_of(self, lowering, [step[2], step[3], step[4]])}"
    if code < CODE_LOAD and code >> 2 < ROW_TABLE_END or code == CODE_BROADCAST:
        operands = [step[2], step[3]] if has_two_operands(code >> 2) else [step[2]]
        return f"  v{step[1]} = {name} {names_of(self, lowering, operands)}"
    wide = lowering.wides[step[2]]
    operands = [lowering.ids.items[<Py_ssize_t>wide[0] + k] for k in range(wide[1])]
    if code == CODE_MATRIX:
        return f"  {', '.join([f'v{out}' for out in wide[3][:4]])}{', ..' if len(wide[3]) > 4 else ''} = " \
            f"{row_name(wide[6]).decode() + ' of ' if wide[6] else ''}" \
            f"matrix {len(wide[3])} x {wide[1]} of {names_of(self, lowering, operands)}"
    if code == CODE_INNER:
        operands = [
            lowering.ids.items[<Py_ssize_t>wide[0] + k + side * <Py_ssize_t>wide[1]]
            for k in range(wide[1]) for side in range(2)
        ]
        return f"  v{step[1]} = inner {operand_name(self, lowering, step[4])} + " \
            f"{wide[1]} products: {names_of(self, lowering, operands)}"
    if code == CODE_TAKE:
        return f"  v{step[1]} = take number {argument_name(self, step[3], step[4])} " \
            f"of {names_of(self, lowering, operands)}"
    return f"  v{step[1]} = {name} {names_of(self, lowering, operands)}"
