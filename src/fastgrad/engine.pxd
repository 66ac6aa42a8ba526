"""The layout of a node, for `from fastgrad.engine cimport Value`, and what programs ask of the engine."""

from libc.stdint cimport int32_t

from cpython.object cimport PyObject


cdef union Operand:
    PyObject *node
    double constant


cdef class _Arithmetic:
    pass


cdef class Value(_Arithmetic):
    cdef public double data
    cdef public double grad
    # What these two own depends on the node's operation: see references.pxi.
    cdef PyObject *left
    cdef Operand right


cdef int refuse_effect(str what) except -1
cdef int read_leaves(tuple leaves, double *out) except -1
cdef int read_leaves_at(
    tuple leaves, const int32_t *places, Py_ssize_t count, double *out, bint packed
) except -1
cdef void add_gradients(tuple leaves, const double *amounts) noexcept
cdef void add_gradients_at(
    tuple leaves, const int32_t *places, Py_ssize_t count, const double *amounts, bint packed
) noexcept
