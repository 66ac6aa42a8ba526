# Reading a node: its code, its operands, its Extras. Every reference returned here is borrowed.

from cython cimport critical_section, internal

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX
    bint PyFloat_CheckExact(void *) noexcept nogil


cdef inline bint in_pool(void *node) noexcept nogil:
    """Whether a Value is exactly a Value: then, and only then, its chunk's header describes it."""
    return Py_TYPE(node) == value_type


cdef inline bint is_value(void *candidate) noexcept nogil:
    return Py_TYPE(candidate) == value_type or PyObject_TypeCheck(candidate, value_type)


@internal
cdef class Extras:
    """Data that few nodes have: a label, a symbol, a backward or attributes given by the user."""

    cdef dict attributes
    cdef object backward
    cdef object label
    cdef object symbol
    cdef tuple derivatives
    cdef bint irregular
    cdef bint irregular_leaf
    # Whether the user has set the data of a computed node, so that it need not follow from the operands.
    cdef bint own_data
    # Whether a compiled function computes the node.
    cdef bint in_program


cdef inline PyObject *extras_of(Node *node) noexcept nogil:
    """The node's Extras, borrowed, or NULL."""
    if not in_pool(node):
        return published(&node.right.node)
    return extras_at(chunk_of(node), slot_of(node))


cdef object backward_of(PyObject *found):
    """The backward that a user gave to the node with these Extras, or None."""
    cdef Extras extras
    if found == NULL:
        return None
    extras = <Extras>found
    # A `return` in here would leak a reference (Cython 3.3.1).
    with critical_section(extras):
        backward = extras.backward
    return backward


cdef inline int code_of(Node *node) noexcept:
    if in_pool(node):
        return chunk_of(node).code[slot_of(node)]
    if node.left == NULL:
        return CODE_LEAF
    if node.right.node != NULL and (<Extras>node.right.node).derivatives is not None:
        return CODE_LOCAL
    return CODE_CUSTOM


cdef inline PyObject *derivatives_of(Node *node) noexcept:
    """The tuple of derivatives of a node of ROW_LOCAL, borrowed; references.pxi describes it."""
    return node.right.node if in_pool(node) else <PyObject *>(<Extras>node.right.node).derivatives


cdef inline double derivative_number(PyObject *derivative) noexcept nogil:
    """The number of a local derivative: a float, or the data that a Value has now."""
    if PyFloat_CheckExact(derivative):
        return PyFloat_AS_DOUBLE(derivative)
    return (<Node *>derivative).data


cdef inline bint owns_right(int code) noexcept nogil:
    if code < CODE_TABLE_END:
        return code >= CODE_FIRST_BINARY and code & 3 == NODE_NODE
    return code < CODE_FIRST_REDUCTION


cdef PyObject *operand_at(Node *node, Py_ssize_t index) noexcept:
    """The Value at this index among all that the node holds, borrowed, or NULL past the last.

    A node of ROW_LOCAL gives its operands, then the entries of its tuple of derivatives; an entry that is no
    Value is replaced by the first operand.
    """
    cdef int code = code_of(node)
    cdef Py_ssize_t size
    cdef PyObject *found
    if code <= CODE_FRESH:
        return NULL
    if code < CODE_TABLE_END:
        if index == 0:
            return node.left
        return node.right.node if index == 1 and owns_right(code) else NULL
    size = PyTuple_GET_SIZE(node.left)
    if index < size:
        return PyTuple_GET_ITEM(node.left, index)
    index -= size
    if CODE_DOT <= code < CODE_FIRST_REDUCTION and index < PyTuple_GET_SIZE(node.right.node):
        return PyTuple_GET_ITEM(node.right.node, index)
    if code == CODE_LOCAL and index < PyTuple_GET_SIZE(derivatives_of(node)):
        found = PyTuple_GET_ITEM(derivatives_of(node), index)
        return found if is_value(found) else PyTuple_GET_ITEM(node.left, 0)
    return NULL


cdef inline Py_ssize_t operands_with_gradient(Node *node) noexcept:
    """An upper bound on how many Values of a node get a gradient; operand_at() gives these first."""
    if code_of(node) == CODE_LOCAL:
        return PyTuple_GET_SIZE(node.left)
    return PY_SSIZE_T_MAX


cdef inline void prefetch_operands(Node *node) noexcept nogil:
    """Have the operands' cache lines fetched; whatever the slot holds, a prefetch cannot fault."""
    prefetch(node.left)
    prefetch(node.right.node)


cdef inline bint is_irregular(Node *node) noexcept:
    cdef PyObject *extras = extras_of(node)
    return extras != NULL and (<Extras>extras).irregular
