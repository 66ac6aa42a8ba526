"""Prepared: one argument of a call as addresses."""

from libc.stdint cimport int64_t


cdef class Prepared:
    cdef Py_buffer view
    cdef bint held
    cdef int kind
    # The rows are -1 for a number, the columns -1 for a number or an array of one dimension.
    cdef Py_ssize_t rows
    cdef Py_ssize_t columns
    cdef Py_ssize_t row_step
    cdef Py_ssize_t column_step
    cdef const char *data
    cdef double number
    cdef int64_t whole

    cdef int hold(self, object source) except -1
    cdef int adopt(self, str name) except -1
    cdef Py_ssize_t key(self) noexcept
    cdef bint overlaps(self, const char *first, const char *end) noexcept


cdef object find_numpy()
cdef bint is_aligned(const Py_buffer *view) noexcept
cdef bint is_code(const char *format, char code) noexcept
cpdef list prepare_arguments(tuple arguments, tuple names, tuple shared=*)
cpdef Prepared prepare_numbers(object source, str name, bint shared)
cdef tuple signature_of(list ready)
