"""Graph: the records of a traced function, checked."""

cimport cython
from libc.stdint cimport int32_t

from fastgrad.ops cimport *

# The rows of a loop and of its results follow those of the table.
cdef enum:
    ROW_LOOP = ROW_END
    ROW_RESULT = ROW_END + 1
    # The first number of a leaf's place where the leaf is no argument: OUTSIDE is a parameter or, in a loop's
    # step, a number from outside; STATE is a number of the state; INPUT is one of the inputs.
    OUTSIDE = -1
    STATE = -2
    INPUT = -3

# The kinds of inputs of a loop's step: columns of an argument, the elements of a list, or the results of
# another loop.
cdef enum InputKind:
    COLUMNS
    ELEMENTS
    MADE


cdef class Input:
    # COLUMNS: the number of the argument, the first column, and the stride from step to step.
    # MADE: the operand that is the other loop, the number of the result, and the stride.
    # ELEMENTS: the first operand.
    cdef readonly int kind
    cdef readonly Py_ssize_t source
    cdef readonly Py_ssize_t number
    cdef readonly Py_ssize_t first
    cdef readonly Py_ssize_t stride


cdef class Loop:
    # The step's graph: its outputs are the next state, then the y that it makes.
    cdef readonly Graph body
    cdef readonly str name
    cdef readonly Py_ssize_t steps
    cdef readonly Py_ssize_t states
    cdef readonly Py_ssize_t outside
    cdef readonly tuple inputs

    cdef inline Py_ssize_t makes(self) noexcept:
        return len(self.body.outputs) - self.states


@cython.final
cdef class Graph:
    cdef bytes records_bytes
    cdef bytes operands_bytes
    cdef const int32_t *records
    cdef const int32_t *operands
    cdef Py_ssize_t size
    cdef tuple constants
    # The leaves from outside, read at each call, in the order of their first use.
    cdef tuple parameters
    # For each leaf: (argument, column), or (-1, index of the parameter).
    cdef tuple leaves
    # What records with a symbol refer to. For `take`: (argument, column) of its index. For a loop: (OUTSIDE,
    # its number in `loops`). For a result of a loop: (STATE, its number among the loop's); see result_of.
    cdef tuple selections
    cdef tuple outputs
    cdef tuple loops
    # In the step of a loop: how many numbers it takes from outside, has as state, has as inputs. Else None.
    cdef tuple taken

    cdef int validate(self) except -1
    cdef bint is_valid(self, Py_ssize_t index) except -1
    cdef bint is_valid_loop(self, Py_ssize_t index) except -1
    cdef bint is_valid_result(self, Py_ssize_t index) except -1
    cdef int mark_operands(self, Py_ssize_t index, bytearray used) except -1
    cdef dict mark_needed(self, bytearray needed)
    cdef int mark_operands_of_loop(self, Py_ssize_t index, bytearray needed, dict read) except -1
    cdef set taken_from(self, int place, bytearray needed)
    cdef bytearray needed_by(self, set outputs)
    cdef inline int row(self, Py_ssize_t index) noexcept nogil:
        return self.records[3 * index]

    cdef inline int32_t first(self, Py_ssize_t index) noexcept nogil:
        return self.records[3 * index + 1]

    cdef inline int32_t second(self, Py_ssize_t index) noexcept nogil:
        return self.records[3 * index + 2]

    cdef inline Loop loop_of(self, Py_ssize_t index):
        """The loop of a record that is one."""
        return self.loops[self.selections[self.operands[self.first(index)]][1]]

    cdef inline Py_ssize_t result_of(self, Py_ssize_t index) except -1:
        """The number of a result: first come the numbers of the last state, then each step's y."""
        return self.selections[self.operands[self.first(index)]][1]

    cdef inline int32_t loop_operand(self, Py_ssize_t index, Py_ssize_t at) noexcept:
        """The operand of a loop, or of a result, after the symbol."""
        return self.operands[self.first(index) + 1 + at]


cdef inline bint has_symbol(int row) noexcept nogil:
    """Whether the first operand is an index into the selections."""
    return row == ROW_CUSTOM or row == ROW_LOOP or row == ROW_RESULT


cdef inline bint has_many_operands(int row) noexcept nogil:
    return row >= ROW_TABLE_END


cdef inline bint has_two_operands(int row) noexcept nogil:
    return ROW_FIRST_BINARY <= row < ROW_TABLE_END
