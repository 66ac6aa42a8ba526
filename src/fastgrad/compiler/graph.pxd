"""Graph: the records of a traced function, checked."""

cimport cython
from libc.stdint cimport int32_t

from fastgrad.ops cimport *


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
    # For each node of `take`: (argument, column) of its index.
    cdef tuple selections
    cdef tuple outputs

    cdef int validate(self) except -1
    cdef bint is_valid(self, Py_ssize_t index) noexcept
    cdef int mark_operands(self, Py_ssize_t index, bytearray used) except -1
    cdef tuple parts(self)

    cdef inline int row(self, Py_ssize_t index) noexcept nogil:
        return self.records[3 * index]

    cdef inline int32_t first(self, Py_ssize_t index) noexcept nogil:
        return self.records[3 * index + 1]

    cdef inline int32_t second(self, Py_ssize_t index) noexcept nogil:
        return self.records[3 * index + 2]


cdef inline bint has_many_operands(int row) noexcept nogil:
    return row >= ROW_TABLE_END


cdef inline bint has_two_operands(int row) noexcept nogil:
    return ROW_FIRST_BINARY <= row < ROW_TABLE_END
