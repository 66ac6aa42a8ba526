# Leaves, many at a time: for optimizers and compiled programs.


cdef inline int read_leaf(tuple leaves, Py_ssize_t index, double *out) except -1:
    cdef Node *node = <Node *>PyTuple_GET_ITEM(<PyObject *>leaves, index)
    # A leaf's is NULL; the code is further away.
    if node.left != NULL and code_of(node) > CODE_FRESH:
        raise ValueError(f"parameter {index} of the program is a leaf no more: it was given operands")
    out[0] = node.data
    return 0


cdef int read_leaves(tuple leaves, double *out) except -1:
    """Copy the data of each leaf to `out`; ValueError if one has been given operands."""
    cdef Py_ssize_t index
    for index in range(PyTuple_GET_SIZE(<PyObject *>leaves)):
        read_leaf(leaves, index, out + index)
    return 0


cdef int read_leaves_at(
    tuple leaves, const int32_t *places, Py_ssize_t count, double *out, bint packed
) except -1:
    """read_leaves() for the leaves at these places, or none at -1; `packed`: one after the other."""
    cdef Py_ssize_t index
    for index in range(count):
        if places[index] >= 0:
            read_leaf(leaves, places[index], out + (index if packed else places[index]))
    return 0


cdef void add_gradients(tuple leaves, const double *amounts) noexcept:
    """Add amounts[i] to the gradient of leaf i."""
    cdef Py_ssize_t index
    cdef bint shared = use_leaves(leaves)
    for index in range(PyTuple_GET_SIZE(<PyObject *>leaves)):
        add_to_leaf(<Node *>PyTuple_GET_ITEM(<PyObject *>leaves, index), amounts[index], shared)


cdef void add_gradients_at(
    tuple leaves, const int32_t *places, Py_ssize_t count, const double *amounts, bint packed
) noexcept:
    """add_gradients() for the leaves at these places; `packed`: as in read_leaves_at()."""
    cdef Py_ssize_t index
    cdef bint shared = use_leaves(leaves)
    for index in range(count):
        if places[index] >= 0:
            add_to_leaf(
                <Node *>PyTuple_GET_ITEM(<PyObject *>leaves, places[index]),
                amounts[index if packed else places[index]], shared,
            )


def zero_grad(values):
    """Set the gradient of every Value to 0.0."""
    cdef list items
    cdef Py_ssize_t index = 0
    cdef PyObject *item
    refuse_effect("zero_grad()")
    items = values if type(values) is list else list(values)
    while index < PyList_GET_SIZE(items):
        # Borrowed: counting references takes longer than writing, and nothing is called in between.
        item = PyList_GET_ITEM(items, index)
        if in_pool(item):
            (<Node *>item).grad = 0.0
        else:
            (<object>item).grad = 0.0
        index += 1
