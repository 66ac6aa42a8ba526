# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""One row at a time, by the engine's own rules: for `strict`, and for derivatives that lanes cannot tell.

`check` uses it, and so do gradients that loops over lanes get wrong. Over lanes, the gradient of an operand
that `where` did not choose is 0 times its derivative: nan if the derivative is infinite. The engine does
not visit such an operand. So if a gradient of such a program is not finite, its rows are computed here.
"""

from libc.math cimport INFINITY, isfinite
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

from cpython.mem cimport PyMem_RawFree

from fastgrad.compiler.graph cimport Graph, has_many_operands, has_two_operands
from fastgrad.compiler.instructions cimport INDICES, REALS, Argument, choice
from fastgrad.compiler.lowering cimport INPUTS, SHARED, sums_up
from fastgrad.compiler.memory cimport zeroed
from fastgrad.ops cimport *

__all__ = []


cdef class RowProgram:
    """A graph as plain C arrays, for one purpose."""

    def __cinit__(self, Graph graph not None, int purpose, tuple kinds not None):
        cdef Py_ssize_t index, at
        cdef int32_t first, second
        cdef int row, kind
        cdef RowGraph *of = &self.of
        self.graph = graph
        of.size, of.records, of.operands = graph.size, graph.records, graph.operands
        of.leaf_count, of.output_count = len(graph.leaves), len(graph.outputs)
        of.parameter_count = len(graph.parameters)
        of.constants = <double *>zeroed(len(graph.constants), sizeof(double))
        of.leaves = <int32_t *>zeroed(3 * of.leaf_count, sizeof(int32_t))
        of.selections = <int32_t *>zeroed(2 * len(graph.selections), sizeof(int32_t))
        of.outputs = <int32_t *>zeroed(of.output_count, sizeof(int32_t))
        of.active = <char *>zeroed(of.size, 1)
        for index, number in enumerate(graph.constants):
            of.constants[index] = number
        for index, (argument, column) in enumerate(graph.leaves):
            of.leaves[3 * index], of.leaves[3 * index + 1] = argument, column
        for index, (argument, column) in enumerate(graph.selections):
            of.selections[2 * index], of.selections[2 * index + 1] = argument, column
        for index, output in enumerate(graph.outputs):
            of.outputs[index] = output
        for index in range(of.size):
            row, first, second = graph.row(index), graph.first(index), graph.second(index)
            if row == ROW_LEAF:
                of.leaves[3 * first + 2] = <int32_t>index
                if of.leaves[3 * first] < 0:
                    of.active[index] = sums_up(purpose)
                else:
                    kind = kinds[of.leaves[3 * first]]
                    of.active[index] = (purpose == INPUTS and kind != INDICES) or (
                        purpose == SHARED and kind != INDICES and kind != REALS
                    )
            elif row == ROW_CONSTANT:
                continue
            elif has_many_operands(row):
                # Of a result and pairs of an operand and its derivative, the operands.
                for at in range(first + (row == ROW_CUSTOM or row == ROW_LOCAL), first + second,
                                2 if row == ROW_LOCAL else 1):
                    of.active[index] |= of.active[of.operands[at]]
            else:
                of.active[index] = of.active[first] or (has_two_operands(row) and of.active[second])

    def __dealloc__(self):
        PyMem_RawFree(self.of.constants)
        PyMem_RawFree(self.of.leaves)
        PyMem_RawFree(self.of.selections)
        PyMem_RawFree(self.of.outputs)
        PyMem_RawFree(self.of.active)


cdef double value_of_many(int row, const int32_t *operands, int32_t count, const double *u) noexcept nogil:
    """The value of a reduction, or of an operation of three operands."""
    cdef double shift = 0.0
    cdef double total = 0.0
    cdef int32_t k
    if row >= ROW_FIRST_TERNARY:
        return ternary_value(row, u[operands[0]], u[operands[1]], u[operands[2]])
    if needs_shift(row):
        shift = -INFINITY
        for k in range(count):
            if u[operands[k]] > shift:
                shift = u[operands[k]]
        if not isfinite(shift):
            shift = 0.0
    for k in range(count):
        total = reduction_step(row, total, u[operands[k]], shift)
    return reduction_finish(row, total, <double>count, shift)


cdef bint any_selects(Graph graph) noexcept:
    """Whether the graph has an operation that chooses among its operands, such as `where`."""
    cdef Py_ssize_t index
    for index in range(graph.size):
        if graph.row(index) > 0 and selects(graph.row(index)):
            return True
    return False


cdef double read_argument(const Argument *argument, Py_ssize_t row, Py_ssize_t column) noexcept nogil:
    cdef const char *data = argument.data + row * argument.row_step + column * argument.column_step
    if argument.kind == INDICES:
        return <double>(<const int64_t *>data)[0]
    return (<const double *>data)[0]


cdef int32_t chosen_of(
    const RowGraph *of, const int32_t *record, const Argument *arguments, Py_ssize_t row
) noexcept nogil:
    """The record that a node of `take` selects in a row."""
    cdef const int32_t *place = of.selections + 2 * of.operands[record[1]]
    cdef const char *data = arguments[place[0]].data
    data += row * arguments[place[0]].row_step + place[1] * arguments[place[0]].column_step
    return of.operands[record[1] + 1 + choice(data, record[2] - 1)]


cdef double value_in_row(
    const RowGraph *of, Py_ssize_t index, const double *values, const Argument *arguments,
    const double *parameters, Py_ssize_t row
) noexcept nogil:
    """The value of one record, from those before it."""
    cdef const int32_t *record = of.records + 3 * index
    cdef const int32_t *operands = of.operands + record[1]
    cdef const int32_t *leaf
    cdef int kind = record[0]
    cdef int32_t at, count = record[2]
    cdef double out
    if kind == ROW_LEAF:
        leaf = of.leaves + 3 * record[1]
        return parameters[leaf[1]] if leaf[0] < 0 else read_argument(&arguments[leaf[0]], row, leaf[1])
    if kind == ROW_CONSTANT:
        return of.constants[record[1]]
    if kind == ROW_CUSTOM:
        return values[chosen_of(of, record, arguments, row)]
    if kind == ROW_LOCAL:
        return values[operands[0]]
    if kind == ROW_INNER:
        out = values[operands[count - 1]] if count % 2 else 0.0
        for at in range(count // 2):
            out += values[operands[2 * at]] * values[operands[2 * at + 1]]
        return out
    if has_many_operands(kind):
        return value_of_many(kind, operands, count, values)
    if has_two_operands(kind):
        return binary_value(kind, values[record[1]], values[record[2]])
    return unary_value(kind, values[record[1]])


cdef inline void give_in_row(
    const RowGraph *of, RowState *state, Py_ssize_t record, Py_ssize_t place, int32_t operand,
    double derivative, Singular *first
) noexcept nogil:
    """Add to an operand's gradient, and remember the first product that is not finite."""
    cdef double g = state.gradients[record]
    if not of.active[operand] or (derivative == 0.0 and selects(of.records[3 * record])):
        return
    if first.record < 0 and not isfinite(derivative * g):
        first.record, first.operand, first.gradient, first.derivative = record, place, g, derivative
    state.gradients[operand] += derivative * g
    state.reached[operand] = True


cdef double derivative_of_many(
    const int32_t *operands, int kind, int32_t at, int32_t count, const double *values, double out
) noexcept nogil:
    """The derivative of a reduction, or of an operation of three operands, by one of them."""
    if kind < ROW_FIRST_TERNARY:
        return reduction_derivative(kind, values[operands[at]], <double>count, out)
    if at == 0:
        return ternary_da(kind, values[operands[0]], values[operands[1]], values[operands[2]], out)
    if at == 1:
        return ternary_db(kind, values[operands[0]], values[operands[1]], values[operands[2]], out)
    return ternary_dc(kind, values[operands[0]], values[operands[1]], values[operands[2]], out)


cdef Singular gradients_in_row(
    const RowGraph *of, RowState *state, const Argument *arguments, const double *seeds, Py_ssize_t row
) noexcept nogil:
    """Compute the gradients of all records from the values of a row; return the first that is not finite."""
    cdef Singular first
    cdef const int32_t *record
    cdef const int32_t *operands
    cdef const double *values = state.values
    cdef Py_ssize_t index
    cdef int kind
    cdef int32_t at, count
    cdef double out
    first.record, first.operand, first.gradient, first.derivative = -1, 0, 0.0, 0.0
    memset(state.gradients, 0, of.size * sizeof(double))
    memset(state.reached, 0, of.size)
    for index in range(of.output_count):
        if seeds[index] != 0.0:
            state.gradients[of.outputs[index]] += seeds[index]
            state.reached[of.outputs[index]] = True
    for index in range(of.size - 1, -1, -1):
        if not state.reached[index] or not of.active[index]:
            continue
        record = of.records + 3 * index
        kind, count, out = record[0], record[2], values[index]
        operands = of.operands + record[1]
        if kind == ROW_LEAF:
            continue
        if kind == ROW_CUSTOM:
            give_in_row(of, state, index, 0, chosen_of(of, record, arguments, row), 1.0, &first)
        elif kind == ROW_LOCAL:
            for at in range(1, count, 2):
                give_in_row(of, state, index, at // 2, operands[at], values[operands[at + 1]], &first)
        elif kind == ROW_INNER:
            for at in range(count // 2):
                give_in_row(of, state, index, 0, operands[2 * at], values[operands[2 * at + 1]], &first)
                give_in_row(of, state, index, 0, operands[2 * at + 1], values[operands[2 * at]], &first)
            if count % 2:
                give_in_row(of, state, index, 0, operands[count - 1], 1.0, &first)
        elif has_many_operands(kind):
            for at in range(count):
                give_in_row(
                    of, state, index, at, operands[at],
                    derivative_of_many(operands, kind, at, count, values, out), &first,
                )
        elif has_two_operands(kind):
            give_in_row(
                of, state, index, 0, record[1],
                left_derivative(kind, values[record[1]], values[record[2]], out), &first,
            )
            give_in_row(
                of, state, index, 1, record[2],
                right_derivative(kind, values[record[1]], values[record[2]], out), &first,
            )
        else:
            give_in_row(
                of, state, index, 0, record[1], unary_derivative(kind, values[record[1]], out), &first
            )
    return first


cdef void differentiate_row(
    const RowGraph *of, RowState *state, const Argument *arguments, const double *parameters,
    const double *seeds, Py_ssize_t row, double *amounts
) noexcept nogil:
    """Add a row's gradients to those of the parameters, or store them as those of its arguments."""
    cdef const int32_t *leaf
    cdef const Argument *argument
    cdef Py_ssize_t index
    for index in range(of.size):
        state.values[index] = value_in_row(of, index, state.values, arguments, parameters, row)
    gradients_in_row(of, state, arguments, seeds, row)
    for index in range(of.leaf_count):
        leaf = of.leaves + 3 * index
        if not of.active[leaf[2]]:
            continue
        if leaf[0] < 0:
            amounts[leaf[1]] += state.gradients[leaf[2]]
        elif amounts != NULL:
            amounts[of.parameter_count + index] += state.gradients[leaf[2]]
        else:
            argument = &arguments[leaf[0]]
            argument.gradient[row * argument.columns + leaf[1]] = state.gradients[leaf[2]]


cdef bint all_finite(const double *numbers, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t at
    # Of integers, which the compiler may add in any order: vectors of numbers are looked at together.
    cdef int found = 0
    for at in range(count):
        found |= numbers[at] - numbers[at] != 0.0
    return found == 0
