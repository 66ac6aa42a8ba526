"""A graph computed one row at a time, by the engine's own rules."""

from libc.stdint cimport int32_t

from fastgrad.compiler.graph cimport Graph
from fastgrad.compiler.instructions cimport Argument

# One input of a loop's step, as graph.pxd has it.
cdef struct RowInput:
    int kind
    Py_ssize_t source
    Py_ssize_t number
    Py_ssize_t first
    Py_ssize_t stride

cdef struct RowGraph

cdef struct RowLoop:
    const RowGraph *body
    Py_ssize_t steps
    Py_ssize_t states
    Py_ssize_t outside
    Py_ssize_t inputs
    Py_ssize_t makes
    RowInput *given

cdef struct RowGraph:
    Py_ssize_t size
    const int32_t *records
    const int32_t *operands
    double *constants
    # For each leaf: argument, column and record; for each selection: argument, column. In the step of a loop,
    # the numbers from outside, states and inputs count as parameters.
    int32_t *leaves
    Py_ssize_t leaf_count
    Py_ssize_t parameter_count
    int32_t *selections
    int32_t *outputs
    Py_ssize_t output_count
    # For each record, whether its gradient is wanted.
    char *active
    RowLoop *loops
    Py_ssize_t loop_count

cdef struct RowLoopState

cdef struct RowState:
    double *values
    double *gradients
    char *reached
    RowLoopState *loops
    # Whether to stop at the first gradient that is not finite.
    bint stops

# The numbers of a loop in one row.
cdef struct RowLoopState:
    RowState body
    # The numbers that the step reads (from outside, states, inputs), and their gradients.
    double *given
    double *given_gradients
    # The states before each step and after the last; what each step makes; the gradients of both.
    double *states
    double *made
    double *last_gradients
    double *made_gradients
    # The gradients of the step's outputs.
    double *seeds

# The first product of a gradient and a derivative that is not finite; record is -1 if there is none. If it is
# in a loop, `of` is the graph of the loop's step and `step` the number of the step.
cdef struct Singular:
    Py_ssize_t record
    Py_ssize_t operand
    double gradient
    double derivative
    const RowGraph *of
    Py_ssize_t step


cdef class RowProgram:
    cdef RowGraph of
    cdef Graph graph
    # The RowPrograms of the steps of loops.
    cdef list bodies

    cdef int add_loops(self, int purpose, tuple kinds) except -1


cdef class RowMemory:
    # The numbers of one row of a program.
    cdef RowState state
    cdef bint stops
    cdef list owned

    cdef void *room(self, Py_ssize_t count, size_t size) except NULL
    cdef int fill(self, RowState *state, const RowGraph *of) except -1


cdef bint any_selects(Graph graph) noexcept
cdef double value_in_row(
    const RowGraph *of, RowState *state, Py_ssize_t index, const Argument *arguments,
    const double *parameters, Py_ssize_t row
) noexcept nogil
cdef void begin_loop_in_row(const RowGraph *of, RowState *state, Py_ssize_t index) noexcept nogil
cdef void give_step_in_row(
    const RowGraph *of, RowState *state, Py_ssize_t index, const Argument *arguments, Py_ssize_t row,
    Py_ssize_t step
) noexcept nogil
cdef void end_step_in_row(
    const RowGraph *of, RowState *state, Py_ssize_t index, Py_ssize_t step
) noexcept nogil
cdef Singular gradients_in_row(
    const RowGraph *of, RowState *state, const Argument *arguments, const double *seeds,
    const double *parameters, Py_ssize_t row
) noexcept nogil
cdef void differentiate_row(
    const RowGraph *of, RowState *state, const Argument *arguments, const double *parameters,
    const double *seeds, Py_ssize_t row, double *amounts
) noexcept nogil
cdef bint all_finite(const double *numbers, Py_ssize_t count) noexcept nogil
