"""Plan: instructions for one purpose, and where their numbers are."""

from libc.stdint cimport int32_t

from fastgrad.compiler.graph cimport Graph
from fastgrad.compiler.instructions cimport Instruction, Wide
from fastgrad.compiler.rows cimport RowProgram


cdef class Plan:
    cdef int purpose
    # For every row, on the way forward and back; and once a batch, on numbers that are the same for all.
    cdef Instruction *forward
    cdef Instruction *backward
    cdef Instruction *once
    cdef Instruction *once_back
    cdef Py_ssize_t forward_count
    cdef Py_ssize_t backward_count
    cdef Py_ssize_t once_count
    cdef Py_ssize_t once_back_count
    # For `print`: the id of each instruction's result, and of each backward instruction the forward one.
    cdef int32_t *made
    cdef int32_t *made_once
    cdef int32_t *origin
    cdef Wide *wides
    cdef Py_ssize_t wide_count
    cdef int32_t *table
    cdef Py_ssize_t table_size
    # The most operands or results of a matrix.
    cdef Py_ssize_t widest
    cdef Py_ssize_t registers
    cdef Py_ssize_t outputs
    # The uniform numbers are, in this order: parameters, columns of arguments that all rows share, constants,
    # results of `once`. `shared` has (argument, column) of each of the second.
    cdef Py_ssize_t uniforms
    cdef Py_ssize_t parameters
    cdef Py_ssize_t arguments
    cdef int32_t *shared
    cdef Py_ssize_t shared_count
    cdef double *initial
    # The accumulators are, in this order: sums of the outputs, gradients of uniform numbers, gradients of
    # matrices. `accumulated` has the uniform number that each is the gradient of.
    cdef int32_t *accumulated
    cdef Py_ssize_t accumulators
    # The biases and weights of matrices, packed in the order in which they are used; `packed_from` has the
    # uniform number of each.
    cdef Py_ssize_t packed
    cdef int32_t *packed_from
    cdef double flops
    # (argument, column, number of choices) of every index.
    cdef list ranges
    cdef list workspaces
    # For a graph that selects and has a way back: the graph row by row, and the first accumulator of the
    # parameters' gradients that it computes. Else None.
    cdef RowProgram rows
    cdef Py_ssize_t by_row


cdef Plan make_plan(Graph graph, int purpose, tuple kinds)
