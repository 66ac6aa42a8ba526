"""A graph computed one row at a time, by the engine's own rules."""

from libc.stdint cimport int32_t

from fastgrad.compiler.graph cimport Graph
from fastgrad.compiler.instructions cimport Argument

cdef struct RowGraph:
    Py_ssize_t size
    const int32_t *records
    const int32_t *operands
    double *constants
    # Of each leaf: argument, column, and the number of its record; of each selection: argument, column.
    int32_t *leaves
    Py_ssize_t leaf_count
    Py_ssize_t parameter_count
    int32_t *selections
    int32_t *outputs
    Py_ssize_t output_count
    # Of each record, whether its gradient is wanted.
    char *active

cdef struct RowState:
    double *values
    double *gradients
    char *reached

# The first product of a gradient and a derivative that is not finite; record is -1 if there is none.
cdef struct Singular:
    Py_ssize_t record
    Py_ssize_t operand
    double gradient
    double derivative


cdef class RowProgram:
    cdef RowGraph of
    cdef Graph graph


cdef bint any_selects(Graph graph) noexcept
cdef double value_in_row(
    const RowGraph *of, Py_ssize_t index, const double *values, const Argument *arguments,
    const double *parameters, Py_ssize_t row
) noexcept nogil
cdef Singular gradients_in_row(
    const RowGraph *of, RowState *state, const Argument *arguments, const double *seeds, Py_ssize_t row
) noexcept nogil
cdef void differentiate_row(
    const RowGraph *of, RowState *state, const Argument *arguments, const double *parameters,
    const double *seeds, Py_ssize_t row, double *amounts
) noexcept nogil
cdef bint all_finite(const double *numbers, Py_ssize_t count) noexcept nogil
