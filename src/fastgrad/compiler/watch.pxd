"""Snapshot: the contents of cells, names and functions at a trace."""


cdef class Snapshot:
    cdef readonly list cells
    cdef readonly list names
    cdef readonly list functions

    cpdef bint is_current(self) except -1
