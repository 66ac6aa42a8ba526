"""Lowering: from the graph to steps over ids."""

from libc.stdint cimport int32_t

from fastgrad.compiler.graph cimport Graph, Loop
from fastgrad.compiler.memory cimport Integers
from fastgrad.compiler.transforms cimport Divided

cdef enum Purpose:
    FORWARD
    # BACKWARD: the gradient of the outputs' sum over the rows, by the parameters. The next also by the
    # numbers that all rows share.
    BACKWARD
    INPUTS
    SHARED

cdef struct Step:
    int32_t opcode
    # The id of its result, if it has one.
    int32_t out
    # left, right and third, as opcodes.py describes them for the opcode; ids in the place of registers.
    int32_t fields[3]


cdef class WideStep:
    """The operands of a step that has any number of them, as ids."""

    # Where the operands begin in Lowering.ids, and how many there are; in a list of pairs all left ones come
    # first.
    cdef Py_ssize_t start
    cdef Py_ssize_t size
    cdef bint pairs
    # Whether all are uniform numbers that are copied into a bundle; they lie side by side in Plan.packed.
    cdef bint uniform
    # In a matrix: the results, the weights of each result in turn, and a bias for each result.
    cdef list results
    cdef list weights
    cdef list biases
    # The row of the activation that is applied to each result, or 0.
    cdef int activation


cdef class Scope:
    # Which of the step's numbers from outside vary by row, and which of them want a gradient.
    cdef list outside_varies
    cdef list outside_active
    cdef list states_active
    cdef list inputs_active
    # Whether the step reads an input.
    cdef list inputs_used
    # For each number of the state, whether an output that is read depends on it.
    cdef list states_read
    # For each y of the step, whether it wants a gradient, and whether it is read.
    cdef list made_active
    cdef list made_used
    # The step loads its states, numbers from outside and inputs, and stores its ys, like arguments: the first
    # of these arguments.
    cdef Py_ssize_t base
    # Of a step whose lanes are steps, and not rows: how it is divided. Else None.
    cdef Divided divided

    cdef Scope over_steps(self, Divided divided)


cdef class LoopStep:
    cdef Loop loop
    cdef Scope scope
    # Its number among all loops of the program.
    cdef Py_ssize_t number
    # The ids of the results that are read, each with the number of the state.
    cdef list results
    # For each input that is a list: where its elements begin among the operands of the step.
    cdef list offsets
    cdef bint active


cdef class Layout:
    # Counters for all plans of a program: of its loops, and of its arguments, including those that stand for
    # the states, numbers from outside, inputs and ys of loops.
    cdef Py_ssize_t loops
    cdef Py_ssize_t arguments


cdef class Lowering:
    cdef Graph graph
    cdef int purpose
    cdef tuple kinds
    # None unless this is the step of a loop.
    cdef Scope scope
    cdef Layout layout
    # The loops, by record.
    cdef dict loops
    # For each record, whether an output that is read depends on it.
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
    # Of each step for every row, whether it runs step by step, as Divided.stepwise says it of records.
    cdef Integers stepwise
    cdef int is_stepwise
    # Of each step for every row, 0, or how many members the bundle has that it computes; see bundles.pxi.
    cdef Integers members
    # For each id: the bundle that it is a member of, or -1, and its number there; of a bundle, its size.
    cdef Integers bundle
    cdef Integers number
    cdef Integers size
    # Operands of wide instructions, as ids.
    cdef Integers ids
    cdef list wides
    cdef dict matrices
    cdef dict constants
    # Of a uniform number that is an output: the id of lanes that hold it.
    cdef dict spread
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


cdef inline Py_ssize_t states_of(Lowering self) except -1:
    """Of a loop's step: how many numbers its state has."""
    return self.graph.taken[1] if self.scope.divided is None else self.scope.divided.states


cdef Lowering lowered(Graph graph, int purpose, tuple kinds, Scope scope, Layout layout, bint one_row)
