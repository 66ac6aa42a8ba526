# Value.__init__ in all its forms.


cdef bint is_in_use(Node *leaf) noexcept:
    """Whether a leaf has been initialised; for one outside of the pool, whether it seems so."""
    if in_pool(leaf):
        return code_of(leaf) == CODE_LEAF
    return leaf.data != 0.0 or leaf.grad != 0.0


cdef tuple checked_derivatives(object given, Py_ssize_t count, object data, object rule):
    """Local derivatives as the tuple that a node holds; references.pxi describes it."""
    cdef list derivatives = []
    if len(given) != count:
        raise ValueError(f"{count} children need as many derivatives, not {len(given)}")
    for derivative in given:
        if not is_value(<PyObject *>derivative):
            derivative = required_double(derivative, "a derivative")
        elif not traced_here():
            require_known((<Value>derivative).data)
        derivatives.append(derivative)
    if traced_here():
        # A trace needs the result as a Value, which the program computes; a number becomes a constant.
        derivatives += [rule, data if is_value(<PyObject *>data) else Value(data)]
    elif rule is not None:
        derivatives += [rule, None]
    return tuple(derivatives)


cdef tuple checked_children(Value self, object children):
    """Children as the tuple of operands that a node holds."""
    cdef object child
    if type(children) is tuple and not children:
        return children
    children = tuple(children)
    for child in children:
        if not is_value(<PyObject *>child):
            raise TypeError(f"a child of a Value must be a Value, not {named_kind(child)}")
        if child is self:
            raise ValueError("a Value cannot be its own child")
    return children


cdef int give_operands(Value self, tuple operands, object symbol, tuple derivatives) except -1:
    """Make a leaf that has its Extras, if it needs them, a node of the caller's own."""
    cdef Node *node = <Node *><PyObject *>self
    cdef int row = ROW_CUSTOM if derivatives is None else ROW_LOCAL
    if in_pool(node):
        if not is_youngest(node):
            mark_irregular(node)
        adopt(node, row, operands, symbol if derivatives is None else derivatives)
    else:
        mark_irregular(node)
        if traced_here():
            foreign_traced.append(self)
        (<Extras>node.right.node).symbol = symbol if derivatives is None else None
        (<Extras>node.right.node).derivatives = derivatives
        adopt_foreign(node, operands)
    return 0


cdef int set_children(Value self, children) except -1:
    """`leaf._prev = children`, as micrograd's programs write it beside `_backward`."""
    cdef Node *node = <Node *><PyObject *>self
    cdef tuple operands = checked_children(self, children)
    if code_of(node) > CODE_FRESH:
        raise AttributeError(
            "_prev of a computed Value cannot be set: Value(x.data) is a leaf of the same number"
        )
    refuse_setting(self, "_prev")
    refuse_unknown_among(operands)
    if operands:
        require_extras(node)
        give_operands(self, operands, symbol_of(self), None)
    return 0


cdef int initialise(Value self, data, children, op, label, rule=None) except -1:
    """Value.__init__, in all its forms; the node is unchanged if it raises.

    rule: an object that computes the derivatives from Values, as _given() describes; then `op` has them.
    """
    cdef Node *node = <Node *><PyObject *>self
    cdef bint given = type(op) is tuple or type(op) is list
    cdef double number
    cdef tuple operands
    cdef tuple derivatives = None
    cdef bint has_label, has_symbol, in_order
    if given and is_value(<PyObject *>data) and traced_here():
        number = (<Value>data).data
    else:
        number = required_double(data, "data")
    operands = checked_children(self, children)
    if given:
        derivatives = checked_derivatives(op, len(operands), data, rule)
        op = ""
    # From here on nothing can fail or run the user's code.
    has_label, has_symbol = label != "", not operands and op != ""
    # A generator of children may have computed nodes younger than this one.
    in_order = in_pool(node) and is_youngest(node)
    if has_label or has_symbol or (operands and not in_order):
        require_extras(node)
    if code_of(node) > CODE_FRESH or (operands and in_pool(node) and code_of(node) != CODE_FRESH):
        raise TypeError("a Value that is in use cannot be given other children")
    refuse_unknown(node.data, 0.0)
    refuse_unknown_among(operands)
    if traced_here() and is_in_use(node) and not made_inside(node):
        refuse_effect("setting data")
    if has_label:
        require_extras(node).label = label
        track_holder(node, label)
    if operands:
        give_operands(self, operands, op, derivatives)
    else:
        if in_pool(node):
            set_code(node, CODE_LEAF)
        if has_symbol:
            require_extras(node).symbol = op
            track_holder(node, op)
    node.data = number
    node.grad = 0.0
    made(node)
    return 0
