"""What cells, names and functions contained when a function was traced."""


cdef class Snapshot:
    cdef readonly list cells
    cdef readonly list names
    cdef readonly list functions

    cpdef bint is_current(self) except -1
