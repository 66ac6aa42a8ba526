# The rules of nodes of many operands; those of one and two are generated.


cdef inline void pull_local(Node *node, double g, Sweep *sweep) noexcept nogil:
    """grad of child i += derivative i * g."""
    cdef Py_ssize_t index
    for index in range(PyTuple_GET_SIZE(node.left)):
        give(
            <Node *>PyTuple_GET_ITEM(node.left, index),
            derivative_number(PyTuple_GET_ITEM(node.right.node, index)) * g,
            sweep,
        )


cdef inline void pull_nothing(Node *node, Sweep *sweep) noexcept nogil:
    """A node without a rule adds nothing, but its operands may have gradients to pass on."""
    cdef Py_ssize_t index
    for index in range(PyTuple_GET_SIZE(node.left)):
        mark(<Node *>PyTuple_GET_ITEM(node.left, index), sweep)


cdef inline bint is_computed(Node *node) noexcept nogil:
    return in_pool(node) and chunk_of(node).code[slot_of(node)] > CODE_FRESH


cdef inline void mark_inputs(PyObject *inputs, Sweep *sweep) noexcept nogil:
    cdef Py_ssize_t index
    sweep.marked_inputs = inputs
    sweep.inputs_computed = True
    for index in range(PyTuple_GET_SIZE(inputs)):
        mark(<Node *>PyTuple_GET_ITEM(inputs, index), sweep)
        if not is_computed(<Node *>PyTuple_GET_ITEM(inputs, index)):
            sweep.inputs_computed = False


cdef inline double before_activation(Node *node, int code) noexcept nogil:
    """The gradient by the sum of a dot product; the activation's derivative needs only its value."""
    return node.grad * activation_derivative(code, node.data)


cdef inline Node *dot_before(Node *node, PyObject *inputs, Node **at) noexcept nogil:
    """The node made before this one if it is to be pulled: a dot product of leaves with these inputs."""
    cdef Node *before = made_before(node, at)
    if before == NULL or not chunk_of(before).reached[slot_of(before)]:
        return NULL
    if not is_dot(chunk_of(before).code[slot_of(before)]):
        return NULL
    return before if before.right.node == inputs else NULL


cdef inline bint begins_four(Node **four, Sweep *sweep) noexcept nogil:
    """Find the three nodes made before a dot product; whether they are those of the same layer's neurons.

    A node that uses one of the four is younger than all of them, so it has been pulled. If a weight or an
    input is used twice, bits depend on the order of the additions: so the four may lie in two chunks.
    """
    cdef int which
    if not sweep.inputs_computed:
        return False
    for which in range(3):
        four[which + 1] = dot_before(four[which], four[0].right.node, sweep.at + which)
        if four[which + 1] == NULL:
            return False
    return True


cdef inline void pull_four_dots(Node **four, Sweep *sweep) noexcept nogil:
    """pull_dot for four neurons: an input is read and written once, not four times (moons: 68 -> 57 us)."""
    cdef Chunk *chunk
    cdef PyObject *inputs = four[0].right.node
    cdef Py_ssize_t size = PyTuple_GET_SIZE(inputs)
    cdef Py_ssize_t index
    cdef PyObject *weights[4]
    cdef double g[4]
    cdef double x_data, x_grad
    cdef Node *x
    cdef Node *w
    cdef int which
    for which in range(4):
        chunk = chunk_of(four[which])
        weights[which] = four[which].left
        g[which] = before_activation(four[which], chunk.code[slot_of(four[which])])
        chunk.reached[slot_of(four[which])] = False
        chunk.pulled |= bit_of(four[which])
        if PyTuple_GET_SIZE(weights[which]) > size:
            add_gradient(<Node *>PyTuple_GET_ITEM(weights[which], size), g[which], sweep)
    sweep.pending -= 3
    for index in range(size):
        x = <Node *>PyTuple_GET_ITEM(inputs, index)
        x_data, x_grad = x.data, x.grad
        for which in range(4):
            w = <Node *>PyTuple_GET_ITEM(weights[which], index)
            x_grad += w.data * g[which]
            add_gradient(w, x_data * g[which], sweep)
        x.grad = x_grad


cdef inline void pull_dot(Node *node, int code, Sweep *sweep) noexcept nogil:
    """out = activation(w1 * x1 + ... + wn * xn + bias)."""
    cdef Py_ssize_t size = PyTuple_GET_SIZE(node.right.node)
    cdef Py_ssize_t index
    cdef Node *w
    cdef Node *x
    cdef Node *four[4]
    cdef double w_data, g
    # Leaves need no mark, nor do inputs that the node before had, too. Marking is half of the work.
    if not is_dot(code):
        for index in range(size):
            mark(<Node *>PyTuple_GET_ITEM(node.left, index), sweep)
    if sweep.marked_inputs != node.right.node:
        mark_inputs(node.right.node, sweep)
    four[0] = node
    if is_dot(code) and begins_four(four, sweep):
        pull_four_dots(four, sweep)
        return
    g = before_activation(node, code)
    for index in range(size):
        w = <Node *>PyTuple_GET_ITEM(node.left, index)
        x = <Node *>PyTuple_GET_ITEM(node.right.node, index)
        w_data = w.data
        add_gradient(w, x.data * g, sweep)
        add_gradient(x, w_data * g, sweep)
    if PyTuple_GET_SIZE(node.left) > size:
        give(<Node *>PyTuple_GET_ITEM(node.left, size), g, sweep)


cdef inline void pull_reduction(Node *node, int row, double g, Sweep *sweep) noexcept nogil:
    cdef Py_ssize_t size = PyTuple_GET_SIZE(node.left)
    cdef Py_ssize_t index
    cdef Node *x
    for index in range(size):
        x = <Node *>PyTuple_GET_ITEM(node.left, index)
        give(x, reduction_derivative(row, x.data, <double>size, node.data) * g, sweep)


cdef inline void pull_ternary(Node *node, int row, double g, Sweep *sweep) noexcept nogil:
    cdef Node *first = <Node *>PyTuple_GET_ITEM(node.left, 0)
    cdef Node *second = <Node *>PyTuple_GET_ITEM(node.left, 1)
    cdef Node *third = <Node *>PyTuple_GET_ITEM(node.left, 2)
    cdef double a = first.data, b = second.data, c = third.data
    # Each of them selects.
    give_chosen(first, ternary_da(row, a, b, c, node.data), g, sweep)
    give_chosen(second, ternary_db(row, a, b, c, node.data), g, sweep)
    give_chosen(third, ternary_dc(row, a, b, c, node.data), g, sweep)
