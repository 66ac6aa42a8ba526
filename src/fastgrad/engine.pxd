"""The layout of a node, for `from fastgrad.engine cimport Value`, and what programs ask of the engine."""

from cpython.object cimport PyObject


cdef union Operand:
    PyObject *node
    double constant


cdef class Arithmetic:
    pass


cdef class Value(Arithmetic):
    cdef public double data
    cdef public double grad
    # What these two own depends on the node's operation: see pool.pxi.
    cdef PyObject *left
    cdef Operand right


cdef class Extras:
    cdef dict attributes
    cdef object backward
    cdef object label
    cdef object symbol
    cdef tuple derivatives
    cdef bint irregular
    # Whether the data of a computed node was set, so that it need not follow from the operands.
    cdef bint own_data
    # Whether a compiled function computes the node.
    cdef bint in_program


cdef int refuse_effect(str what) except -1
cdef int read_leaves(tuple leaves, double *out) except -1
cdef void add_gradients(tuple leaves, const double *amounts) noexcept
