"""Lowering: from the graph to steps over ids."""

from libc.stdint cimport int32_t

from fastgrad.compiler.graph cimport Graph
from fastgrad.compiler.integers cimport Integers
from fastgrad.ops cimport ROW_END

cdef enum Purpose:
    FORWARD
    BACKWARD
    INPUTS

cdef enum:
    # The integers of a step.
    STEP = 5
    # A uniform step whose operands are terms, as a chain has them.
    CODE_TERMS = ROW_END * 4 + 7


cdef class Lowering:
    cdef Graph graph
    cdef int purpose
    cdef tuple kinds
    cdef int32_t *records
    cdef Integers varying
    cdef Integers active
    cdef Integers uses
    # The last operation of one operand that uses an id, or -1: the only user if there is one use.
    cdef Integers user
    cdef Integers absorbed
    # Offset of a chain's terms, or -1: [pairs, singles, p1, q1, .., single1, sign1, ..].
    cdef Integers chain
    cdef Integers terms
    cdef Integers steps
    cdef Integers uniform_steps
    # Operands of wide instructions, as ids.
    cdef Integers ids
    cdef list wides
    cdef dict matrices
    cdef dict constants
    cdef Integers pairs
    cdef Integers singles
    cdef Integers stack

    cdef int32_t new_id(self, int varying, int active) except -1
    cdef int32_t constant(self, double number) except -1
    cdef int step(self, int32_t code, int32_t out, int32_t left, int32_t right=*, int32_t third=*) except -1
    cdef int uniform_step(self, int32_t code, int32_t out, int32_t left, int32_t right) except -1


cdef Lowering lowered(Graph graph, int purpose, tuple kinds)
