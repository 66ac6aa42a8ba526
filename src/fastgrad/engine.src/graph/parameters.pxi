# Leaves, many at a time: for optimizers and compiled programs.


cdef inline int read_leaf(tuple leaves, Py_ssize_t index, double *out) except -1:
    cdef Node *node = <Node *>PyTuple_GET_ITEM(<PyObject *>leaves, index)
    # A leaf's is NULL; the code is further away.
    if node.left != NULL and code_of(node) > CODE_FRESH:
        raise ValueError(f"parameter {index} of the program is a leaf no more: it was given operands")
    out[index] = node.data
    return 0


cdef int read_leaves(tuple leaves, double *out) except -1:
    """Copy the data of each leaf to `out`; ValueError if one has been given operands."""
    cdef Py_ssize_t index
    for index in range(PyTuple_GET_SIZE(<PyObject *>leaves)):
        read_leaf(leaves, index, out)
    return 0


cdef int read_leaves_at(tuple leaves, const int32_t *places, Py_ssize_t count, double *out) except -1:
    """read_leaves() for the leaves at these places; a place of -1 is skipped."""
    cdef Py_ssize_t index
    for index in range(count):
        if places[index] >= 0:
            read_leaf(leaves, places[index], out)
    return 0


cdef void add_gradients(tuple leaves, const double *amounts) noexcept:
    """Add amounts[i] to the gradient of leaf i."""
    cdef Py_ssize_t index
    cdef bint shared = use_leaves(leaves)
    for index in range(PyTuple_GET_SIZE(<PyObject *>leaves)):
        add_to_leaf(<Node *>PyTuple_GET_ITEM(<PyObject *>leaves, index), amounts[index], shared)


cdef void move_gradients(tuple leaves, const int32_t *places, Py_ssize_t count, double *amounts) noexcept:
    """add_gradients() for the leaves at these places, -1 being skipped; each amount is set to 0 after."""
    cdef Py_ssize_t index
    for index in range(count):
        if places[index] >= 0:
            (<Node *>PyTuple_GET_ITEM(<PyObject *>leaves, places[index])).grad += amounts[places[index]]
            amounts[places[index]] = 0.0


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
