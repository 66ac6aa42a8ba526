"""Program: the calls that a compiled function offers, for one signature."""

from fastgrad.compiler.graph cimport Graph
from fastgrad.compiler.instructions cimport Argument
from fastgrad.compiler.plan cimport Plan
from fastgrad.compiler.replay cimport Workspace
from fastgrad.compiler.rows cimport RowProgram, RowState


cdef class Results:
    cdef Py_buffer view
    cdef bint held
    cdef object array
    cdef double *data

    cdef int adopt(self, object given, tuple shape, str name) except -1
    cdef void range_of(self, const char **first, const char **end) noexcept
    cdef Py_ssize_t size(self) noexcept
    cdef char *at(self, Py_ssize_t flat) noexcept


cdef class Program:
    cdef Graph graph
    cdef readonly tuple signature
    cdef readonly tuple names
    cdef readonly str name
    # Whether the function returns one Value and not a list of them.
    cdef bint single
    cdef dict plans
    cdef tuple kinds
    # In a program of derivatives: the indices of the function's `take`s, checked although the program may not
    # need them.
    cdef list ranges
    # Programs of derivatives of this one, by what they compute.
    cdef dict relatives

    cdef Plan plan_for(self, int purpose, Py_ssize_t rows=*)
    cdef Plan plan_shown(self, int purpose)
    cdef bint fits(self, list arguments) except -1
    cdef Py_ssize_t count_rows(self, list arguments) except -1
    cdef list index_ranges(self)
    cdef int check_indices(self, list ranges, list arguments, Py_ssize_t rows) except -1
    cdef Workspace start(
        self, Plan plan, list arguments, Py_ssize_t rows, Py_ssize_t threads, Py_ssize_t block,
        bint whole=*,
    )
    cpdef outputs(self, list arguments, Py_ssize_t threads, Py_ssize_t block)
    cdef object shaped(self, Results results, list arguments, bint by_output=*)
    cpdef backward(self, list arguments, Py_ssize_t threads, Py_ssize_t block)
    cdef Workspace run(
        self, Plan plan, list arguments, Py_ssize_t rows, Py_ssize_t threads, Py_ssize_t block, double seed,
        Py_ssize_t output=*, bint whole=*,
    )
    cdef bint has_rows(self, list arguments) except -1
    cdef Results target(self, tuple shape, object given, list arguments)
    cdef list targets(self, list shapes, object outs, list arguments, Py_ssize_t rows)
    cdef Py_ssize_t numbers_of_row(self, list targets, list arguments, Py_ssize_t rows) except -1
    cdef int aim_outputs(self, Workspace workspace, list targets, list arguments, Py_ssize_t rows) except -1
    cdef list handed_over(self, list targets, list shapes, object outs, list arguments)
    cpdef input_gradients(self, list arguments, Py_ssize_t threads, Py_ssize_t block)
    cdef object gradients_side_by_side(self, list arguments, Py_ssize_t threads, Py_ssize_t block)
    cdef object shaped_gradients(self, list gradients, list arguments)
    cdef int verify_records(
        self, RowProgram program, RowState *state, const Argument *arguments, const double *parameters,
        Py_ssize_t row, str place, Py_ssize_t *since, object locate
    ) except -1
    cdef int verify_loop(
        self, RowProgram program, RowState *state, Py_ssize_t index, const Argument *arguments,
        Py_ssize_t row, str place, Py_ssize_t *since, object locate
    ) except -1
    cdef int verify_gradients(
        self, RowProgram program, RowState *state, const Argument *arguments, const double *parameters,
        const double *seeds, Py_ssize_t row, object locate
    ) except -1
