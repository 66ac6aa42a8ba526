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
    # For `print`: the id of what each instruction makes, and which instruction each goes back through.
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
    # Uniform numbers: parameters, then arguments that are numbers, constants, and what is computed.
    cdef Py_ssize_t uniforms
    cdef Py_ssize_t parameters
    cdef Py_ssize_t arguments
    cdef double *initial
    # Accumulators: the sums of the outputs, the gradients of uniform numbers, those of matrices; and
    # the uniform number that each of them is a gradient of.
    cdef int32_t *accumulated
    cdef Py_ssize_t accumulators
    # The biases and weights of matrices in the order in which they are used, and the numbers that they are.
    cdef Py_ssize_t packed
    cdef int32_t *packed_from
    cdef double flops
    # (argument, column, number of choices) of every index.
    cdef list ranges
    cdef list workspaces
    # The graph row by row if it selects and has a way back, else None, and the first of the accumulators
    # of the parameters' gradients that come from there.
    cdef RowProgram rows
    cdef Py_ssize_t by_row


cdef Plan make_plan(Graph graph, int purpose, tuple kinds)
