"""Snapshot: the contents of cells, names, functions and containers at a trace."""


cdef class Snapshot:
    cdef readonly list cells
    cdef readonly list names
    cdef readonly list functions
    cdef readonly list contents

    cpdef bint is_current(self) except -1
