# What a user sees of a node: its operation, its operands, its attributes.
#
# Inspection shows micrograd's graph. Where one node stands for several of micrograd's (`a - b`,
# a constant, a whole dot product), the first look makes those nodes and gives the inspected node
# its place among them; `data` and `grad` of the new nodes are derived from the values at that time.

cdef extern from "Python.h":
    object PyObject_GenericGetAttr(object, object)
    int PyObject_GenericSetAttr(object, object, void *) except -1
    PyObject *PyDict_GetItemWithError(object, object) except? NULL
    bint PyDescr_IsData(PyObject *) noexcept
    PyObject *_PyType_Lookup(PyTypeObject *, object) noexcept


cdef inline int activation_row(int code) noexcept nogil:
    """The activation of a dot product, kept in the two bits that are another operation's kind."""
    cdef int which = code & 3
    if which == 1:
        return ROW_RELU
    elif which == 2:
        return ROW_TANH
    elif which == 3:
        return ROW_SIGMOID
    return ROW_LEAF


cdef inline Node *leaf(double data, double grad) except NULL:
    cdef Node *node = new_node(CODE_LEAF, data)
    node.grad = grad
    return node


cdef int replace(Node *node, int code, Node *left, Node *right) except -1:
    """Give a node other operands, whose references it takes over; it keeps data and grad."""
    global expansions
    mark_irregular(node)
    expansions += 1
    node.left = <PyObject *>left
    node.right.node = <PyObject *>right
    chunk_of(node).code[slot_of(node)] = <unsigned char>code
    if is_tracked(left) or (right != NULL and is_tracked(right)):
        track(node)
    return 0


cdef Node *reciprocal_or_negative(int row, Node *operand, double grad) except NULL:
    """The inner node of `a - b` and `a / b`; takes over the reference to its operand."""
    cdef int kind = NODE_INTEGER if row == ROW_POW else NODE_CONSTANT
    cdef Node *node = new_node(row << 2 | kind, binary_value(row, operand.data, -1.0))
    node.grad = grad
    node.right.constant = -1.0
    node.left = <PyObject *>operand
    if is_tracked(operand):
        track(node)
    return node


cdef int expand(Node *node) except -1:
    """Replace a node of the pool that stands for several by the outermost of them."""
    cdef int code = code_of(node)
    cdef int row = code >> 2
    cdef int kind = code & 3
    cdef int outer = outer_row(row)
    cdef double a, b
    cdef Node *left = <Node *>node.left
    if row == ROW_DOT:
        return expand_dot(node, code)
    if row < ROW_FIRST_BINARY or row >= ROW_TABLE_END:
        return 0
    if kind == NODE_NODE:
        if outer == ROW_LEAF:
            return 0
        a, b = left.data, binary_value(inner_row(row), (<Node *>node.right.node).data, -1.0)
        right = reciprocal_or_negative(
            inner_row(row),
            <Node *>node.right.node,
            right_derivative(outer, a, b, node.data) * node.grad,
        )
        return replace(node, outer << 2 | NODE_NODE, left, right)
    if kind == CONSTANT_NODE and outer != ROW_LEAF:
        # c - a is (-a) + c and c / a is a**-1 * c.
        a, b = binary_value(inner_row(row), left.data, -1.0), node.right.constant
        right = leaf(b, right_derivative(outer, a, b, node.data) * node.grad)
        left = reciprocal_or_negative(
            inner_row(row), left, left_derivative(outer, a, b, node.data) * node.grad
        )
        return replace(node, outer << 2 | NODE_NODE, left, right)
    if kind == CONSTANT_NODE:
        a, b = node.right.constant, left.data
        right = left
        left = leaf(a, left_derivative(row, a, b, node.data) * node.grad)
        return replace(node, row << 2 | NODE_NODE, left, right)
    if row == ROW_POW:
        # micrograd's `x**2` has one operand; the exponent is in its symbol.
        return 0
    a, b = left.data, node.right.constant
    right = leaf(b, right_derivative(row, a, b, node.data) * node.grad)
    return replace(node, row << 2 | NODE_NODE, left, right)


cdef Value new_binary(int row, Value left, Value right, double grad):
    """A plain node of two operands, as the user's own arithmetic would have made it."""
    cdef Value node = node_of_two(row, <Node *><PyObject *>left, <Node *><PyObject *>right)
    node.grad = grad
    return node


cdef int expand_dot(Node *node, int code) except -1:
    """activation(bias + w1 * x1 + ...) as its products and partial sums, in micrograd's order."""
    cdef tuple weights = <tuple>node.left
    cdef tuple inputs = <tuple>node.right.node
    cdef Py_ssize_t size = len(inputs)
    cdef Py_ssize_t index
    cdef int activation = activation_row(code)
    cdef double grad = node.grad * unary_derivative(activation, 0.0, node.data)
    cdef Value total = weights[size]
    cdef Value product
    for index in range(size):
        product = new_binary(ROW_MUL, weights[index], inputs[index], grad)
        if index == size - 1 and activation == ROW_LEAF:
            break
        total = new_binary(ROW_ADD, total, product, grad)
    mark_irregular(node)
    Py_INCREF(<PyObject *>total)
    if activation == ROW_LEAF:
        Py_INCREF(<PyObject *>product)
        replace(node, ROW_ADD << 2, <Node *><PyObject *>total, <Node *><PyObject *>product)
    else:
        replace(node, activation << 2, <Node *><PyObject *>total, NULL)
    Py_DECREF(<PyObject *>weights)
    Py_DECREF(<PyObject *>inputs)
    return 0


cdef tuple children_of(Value self):
    """The operands in order, as micrograd would have them."""
    cdef Node *node = <Node *><PyObject *>self
    cdef int code
    if in_pool(node):
        expand(node)
    code = code_of(node)
    if code <= CODE_FRESH:
        return ()
    if code >> 2 >= ROW_TABLE_END:
        return <tuple>node.left
    if owns_right(code):
        return (<object>node.left, <object>node.right.node)
    return (<object>node.left,)


cdef object symbol_of(Value self):
    cdef Node *node = <Node *><PyObject *>self
    cdef PyObject *extras = extras_of(node)
    cdef int code = code_of(node)
    cdef int row = code >> 2
    if extras != NULL and (<Extras>extras).symbol is not None:
        return (<Extras>extras).symbol
    if row == ROW_LEAF or row == ROW_LOCAL:
        return ""
    if row == ROW_CUSTOM:
        return <object>node.right.node
    if row == ROW_DOT:
        row = activation_row(code)
        return SYMBOLS[ROW_ADD if row == ROW_LEAF else row]
    if row == ROW_POW and code & 3 == NODE_CONSTANT:
        return f"**{node.right.constant}"
    if row == ROW_POW and code & 3 == NODE_INTEGER:
        return f"**{int(node.right.constant)}"
    return SYMBOLS[row]


# -- attributes ----------------------------------------------------------------------------------


cdef inline object get_attribute(Value self, object name):
    """Attribute look-up; `data` and `grad` first, by identity of the interned name (10 ns, not 30)."""
    cdef PyObject *extras
    cdef PyObject *found
    if in_pool(<PyObject *>self):
        if name is "data":
            return self.data
        if name is "grad":
            return self.grad
        extras = extras_of(<Node *><PyObject *>self)
        if extras != NULL and (<Extras>extras).attributes is not None:
            found = PyDict_GetItemWithError((<Extras>extras).attributes, name)
            if found != NULL:
                return <object>found
    return PyObject_GenericGetAttr(self, name)


cdef inline bint is_stored(Value self, object name) noexcept:
    """Whether an attribute of this name belongs in Extras: no descriptor and no __dict__ takes it."""
    cdef PyObject *descriptor
    if Py_TYPE(<PyObject *>self).tp_dictoffset != 0:
        return False
    descriptor = _PyType_Lookup(Py_TYPE(<PyObject *>self), name)
    return descriptor == NULL or not PyDescr_IsData(descriptor)


cdef int set_attribute(Value self, object name, object value) except -1:
    if name is "data":
        self.data = required_double(value, "data")
    elif name is "grad":
        self.grad = required_double(value, "grad")
    elif is_stored(self, name):
        attributes_of(self)[name] = value
        if PyObject_IS_GC(<PyObject *>value):
            track(<Node *><PyObject *>self)
    else:
        PyObject_GenericSetAttr(self, name, <PyObject *>value)
    return 0


cdef int delete_attribute(Value self, object name) except -1:
    cdef dict attributes
    if is_stored(self, name):
        attributes = attributes_of(self)
        if name in attributes:
            del attributes[name]
            return 0
    PyObject_GenericSetAttr(self, name, NULL)
    return 0


cdef dict attributes_of(Value self):
    """The attributes set on a node without a __dict__ of its own."""
    cdef Extras extras = require_extras(<Node *><PyObject *>self)
    if extras.attributes is None:
        extras.attributes = {}
    return extras.attributes
