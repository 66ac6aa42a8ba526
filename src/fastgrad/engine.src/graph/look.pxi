# Looks: what a user sees of a node, its operation and its operands.
#
# Inspection shows micrograd's graph. Where one node stands for several of micrograd's (`a - b`,
# a constant, a whole dot product), the first look makes those nodes, and the inspected node becomes
# the last of them. `data` of the new nodes is computed from the operands' data at that time, `grad` from
# the gradient that the inspected node has given to its operands: 0 if backward() has not visited it.


cdef inline double passed_on(Node *node) noexcept nogil:
    """The gradient that a node of the pool has given to its operands."""
    return node.grad if chunk_of(node).pulled & bit_of(node) else 0.0


cdef inline double share(double derivative, double g) noexcept nogil:
    return derivative * g if g != 0.0 else 0.0


cdef inline void set_received(Node *node, double grad) noexcept nogil:
    """Give a node made by a look its gradient; one that is not 0 counts as given to the operands, too."""
    node.grad = grad
    if grad != 0.0:
        chunk_of(node).pulled |= bit_of(node)


cdef Value shown_leaf(double data, double grad):
    cdef Node *node = new_node(CODE_LEAF, data)
    node.grad = grad
    return owned(node)


cdef Value shown_inner(int row, Value operand, double data, double grad):
    """The inner node of `a - b` and `a / b`: `b * -1` or `b**-1`."""
    cdef int form = NODE_INTEGER if right_in_symbol(row) else NODE_CONSTANT
    cdef Node *node = new_node(code_for(row, form), data)
    set_received(node, grad)
    node.right.constant = -1.0
    set_left(node, <PyObject *>operand)
    return owned(node)


cdef Value shown_outer(int row, Value left, Value right, double grad):
    """A plain node of two operands, as the user's own arithmetic would have made it."""
    cdef Value node = node_of_two(row, <Node *><PyObject *>left, <Node *><PyObject *>right)
    set_received(<Node *><PyObject *>node, grad)
    return node


cdef int expand(Value self) except -1:
    """Replace a node of the pool that stands for several by the outermost of them."""
    cdef Node *node = <Node *><PyObject *>self
    cdef int code = code_of(node)
    cdef int row = row_of(code)
    cdef int form = form_of(code)
    cdef int outer = outer_row(row)
    if row == ROW_DOT or row == ROW_INNER:
        return expand_dot(self, code)
    if row < ROW_FIRST_BINARY or row >= ROW_TABLE_END:
        return 0
    if outer != ROW_LEAF:
        return expand_two(self, code, outer, inner_row(row))
    # The exponent of `x**2` is in its symbol, in micrograd as here.
    if form != NODE_NODE and not (right_in_symbol(row) and form != CONSTANT_NODE):
        return expand_constant(self, code)
    return 0


cdef int expand_constant(Value self, int code) except -1:
    """Show the constant operand as a leaf."""
    cdef Node *node = <Node *><PyObject *>self
    cdef int row = row_of(code), form = form_of(code)
    cdef Value operand = <Value>node.left
    cdef double constant = node.right.constant
    cdef double g = passed_on(node)
    if form == CONSTANT_NODE:
        derivative = left_derivative(row, constant, operand.data, node.data)
        replace(self, code, code_for(row, NODE_NODE), shown_leaf(constant, share(derivative, g)), operand)
    else:
        derivative = right_derivative(row, operand.data, constant, node.data)
        replace(self, code, code_for(row, NODE_NODE), operand, shown_leaf(constant, share(derivative, g)))
    return 0


cdef int expand_two(Value self, int code, int outer, int inner) except -1:
    """Show `a - b` as a + (b * -1) and `a / b` as a * b**-1; with a constant `a`, as (...) + a."""
    cdef Node *node = <Node *><PyObject *>self
    cdef Value left = <Value>node.left
    cdef Value right
    cdef double a, b, g = passed_on(node)
    if form_of(code) == NODE_NODE:
        right = <Value>node.right.node
        a, b = left.data, binary_value(inner, right.data, -1.0)
        right = shown_inner(inner, right, b, share(right_derivative(outer, a, b, node.data), g))
    else:
        a, b = binary_value(inner, left.data, -1.0), node.right.constant
        left = shown_inner(inner, left, a, share(left_derivative(outer, a, b, node.data), g))
        right = shown_leaf(b, share(right_derivative(outer, a, b, node.data), g))
    # The inner node is younger than the node that uses it, which no sweep can follow.
    mark_irregular(node)
    replace(self, code, code_for(outer, NODE_NODE), left, right)
    return 0


cdef int expand_dot(Value self, int code) except -1:
    """activation(bias + w1 * x1 + ...) as its products and partial sums, in micrograd's order."""
    cdef Node *node = <Node *><PyObject *>self
    cdef tuple weights = <tuple>node.left
    cdef tuple inputs = <tuple>node.right.node
    cdef Py_ssize_t size = len(inputs)
    cdef int activation = activation_row(code)
    cdef double grad = share(unary_derivative(activation, 0.0, node.data), passed_on(node))
    cdef list products = [
        shown_outer(ROW_MUL, w, x, grad) for w, x in zip(weights[:size], inputs)
    ]
    # The first term of the sum is the bias or, without one, the first product.
    cdef list terms = [*weights[size:], *products]
    cdef Value total = terms[0]
    cdef Value last = terms[len(terms) - 1]
    for term in terms[1:len(terms) - 1]:
        total = shown_outer(ROW_ADD, total, term, grad)
    if activation != ROW_LEAF and len(terms) > 1:
        total = shown_outer(ROW_ADD, total, last, grad)
    mark_irregular(node)
    if activation == ROW_LEAF and len(terms) == 1:
        replace(self, code, CODE_MUL | NODE_NODE, weights[0], inputs[0])
    elif activation == ROW_LEAF:
        replace(self, code, CODE_ADD | NODE_NODE, total, last)
    else:
        replace(self, code, code_for(activation, 0), total, None)
    return 0


cdef tuple children_of(Value self):
    """The operands in order, as micrograd would have them."""
    cdef Node *node = <Node *><PyObject *>self
    cdef int code
    if in_pool(node):
        expand(self)
    code = code_of(node)
    if code <= CODE_FRESH:
        return ()
    if code >= CODE_TABLE_END:
        return <tuple>node.left
    if owns_right(code):
        return (<object>node.left, <object>node.right.node)
    return (<object>node.left,)


cdef tuple local_derivatives(Value self):
    """The derivative by each operand, as children_of shows them."""
    cdef Node *node = <Node *><PyObject *>self
    cdef PyObject *extras = extras_of(node)
    cdef tuple operands = children_of(self)
    cdef Py_ssize_t count = len(operands), index
    cdef int row = row_of(code_of(node))
    cdef double a, b, c
    if not operands:
        return ()
    if row == ROW_CUSTOM or (extras != NULL and (<Extras>extras).backward is not None):
        raise AttributeError("a node with a _backward of its own has no _local_grads")
    if row == ROW_LOCAL:
        return tuple([
            derivative_number(PyTuple_GET_ITEM(derivatives_of(node), index)) for index in range(count)
        ])
    if ROW_FIRST_REDUCTION <= row < ROW_FIRST_TERNARY:
        return tuple([reduction_derivative(row, (<Value>x).data, count, node.data) for x in operands])
    a = (<Value>operands[0]).data
    if row < ROW_FIRST_BINARY:
        return (unary_derivative(row, a, node.data),)
    b = node.right.constant if count == 1 else (<Value>operands[1]).data
    if count == 1:
        return (left_derivative(row, a, b, node.data),)
    if count == 2:
        return left_derivative(row, a, b, node.data), right_derivative(row, a, b, node.data)
    c = (<Value>operands[2]).data
    return (
        ternary_da(row, a, b, c, node.data),
        ternary_db(row, a, b, c, node.data),
        ternary_dc(row, a, b, c, node.data),
    )


cdef object rule_of(Node *node):
    """The rule that computes the derivatives of a node of ROW_LOCAL from Values, or None."""
    cdef tuple derivatives = <tuple>derivatives_of(node)
    cdef Py_ssize_t size = PyTuple_GET_SIZE(node.left)
    return derivatives[size] if len(derivatives) > size else None


cdef object symbol_of(Value self):
    cdef Node *node = <Node *><PyObject *>self
    cdef PyObject *extras = extras_of(node)
    cdef int code = code_of(node)
    cdef int row = row_of(code)
    cdef Extras given
    if extras != NULL and (<Extras>extras).symbol is not None:
        given = <Extras>extras
        with critical_section(given):
            symbol = given.symbol
        return symbol
    if row == ROW_LOCAL:
        rule = rule_of(node)
        return "" if rule is None else rule.__name__
    if row == ROW_LEAF:
        return ""
    if row == ROW_CUSTOM:
        return <object>node.right.node
    if row == ROW_DOT or row == ROW_INNER:
        row = activation_row(code)
        if row == ROW_LEAF:
            # A sum, or its only product.
            row = ROW_ADD if PyTuple_GET_SIZE(node.left) > 1 else ROW_MUL
        return SYMBOLS[row]
    if row < ROW_TABLE_END and right_in_symbol(row) and form_of(code) == NODE_CONSTANT:
        return f"{SYMBOLS[row]}{node.right.constant}"
    if row < ROW_TABLE_END and right_in_symbol(row) and form_of(code) == NODE_INTEGER:
        return f"{SYMBOLS[row]}{int(node.right.constant)}"
    return SYMBOLS[row]
