"""Lowering: from the graph to steps over ids."""

from libc.stdint cimport int32_t

from fastgrad.compiler.graph cimport Graph, Loop
from fastgrad.compiler.memory cimport Integers

cdef enum Purpose:
    FORWARD
    # The outputs' sum over the rows, by the parameters; and by the numbers that all rows share, too.
    BACKWARD
    INPUTS
    SHARED

cdef struct Step:
    int32_t opcode
    # The id of what it makes, where it makes one number.
    int32_t out
    # left, right and third, as opcodes.py describes them for the opcode; ids in the place of registers.
    int32_t fields[3]


cdef class WideStep:
    """The operands of a step that has any number of them, as ids."""

    # Where the operands begin in Lowering.ids, and how many there are; of pairs, all left ones come first.
    cdef Py_ssize_t start
    cdef Py_ssize_t size
    cdef bint pairs
    # Of a matrix: its results, the weights result by result, and a bias for each result.
    cdef list results
    cdef list weights
    cdef list biases
    # The row of the operation that each result goes through, or 0.
    cdef int activation


cdef class Scope:
    # What a loop's step knows of what it is given: which numbers from outside vary by row, and of which the
    # gradient is wanted.
    cdef list outside_varies
    cdef list outside_active
    cdef list states_active
    cdef list inputs_active
    # Whether the step reads an input.
    cdef list inputs_used
    # Of each number of the state, whether anything that is read depends on it.
    cdef list states_read
    # The same of what it makes, and whether anybody reads it.
    cdef list made_active
    cdef list made_used
    # The first of the arguments that stand for what the step is given: states, outside, inputs, made.
    cdef Py_ssize_t base


cdef class LoopStep:
    cdef Loop loop
    cdef Scope scope
    # Its number among all loops of the program.
    cdef Py_ssize_t number
    # The ids of the results that are read, each with the number of the state.
    cdef list results
    # Of each input that is a list: where its elements are among the operands of the step.
    cdef list offsets
    cdef bint active


cdef class Layout:
    # What all plans of a program share: the numbers of its loops, and of the arguments, those that stand for
    # what the steps of loops are given among them.
    cdef Py_ssize_t loops
    cdef Py_ssize_t arguments


cdef class Lowering:
    cdef Graph graph
    cdef int purpose
    cdef tuple kinds
    # Of a loop's step; else None.
    cdef Scope scope
    cdef Layout layout
    # The loops, by record.
    cdef dict loops
    # Of each record, whether an output that is read depends on it.
    cdef bytearray needed
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
    # Steps for every row, and steps on uniform numbers, which run once a batch.
    cdef Integers steps
    cdef Integers once
    # Operands of wide instructions, as ids.
    cdef Integers ids
    cdef list wides
    cdef dict matrices
    cdef dict constants
    # The leaves that lie in columns side by side, until they are loaded.
    cdef dict leaves
    cdef Integers pairs
    cdef Integers singles
    cdef Integers stack

    cdef int32_t new_id(self, int varying, int active) except -1
    cdef int32_t constant(self, double number) except -1
    cdef int step(
        self, Integers *steps, int32_t opcode, int32_t out, int32_t left, int32_t right=*, int32_t third=*
    ) except -1


cdef inline bint sums_up(int purpose) noexcept nogil:
    """Whether gradients are added up over the rows."""
    return purpose == BACKWARD or purpose == SHARED


cdef Lowering lowered(Graph graph, int purpose, tuple kinds, Scope scope, Layout layout)
