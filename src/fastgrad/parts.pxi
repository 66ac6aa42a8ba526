# A node taken apart into plain objects and put together again, for copies and pickles.

# Added to the kind of a node that has given its gradient to its operands.
cdef enum:
    HAS_PASSED_ON = 4
    # Added to that of a computed node whose data was set.
    OWN_DATA = 8

cdef dict ROWS = {**OPERATION_ROWS, **REDUCTION_ROWS}
ROWS.update(leaf=ROW_LEAF, custom=ROW_CUSTOM, local=ROW_LOCAL, dot=ROW_DOT, inner=ROW_INNER)
cdef dict ROW_NAMES = {row: name for name, row in ROWS.items()}


def _graph_order(list roots):
    """Return the nodes below the roots and the roots, operands before results."""
    return topological_order(roots)


def _take_apart(Value self not None):
    """Return (operation, kind, operands, detail): how the node was made, without expanding it.

    The detail is a constant operand, the symbol of a custom node, the derivatives of one given by
    them, or the number of weights of a dot product.
    """
    cdef Node *node = <Node *><PyObject *>self
    cdef int code = code_of(node)
    cdef int row = code >> 2
    cdef int kind = code & 3
    cdef PyObject *extras = extras_of(node)
    cdef int passed_on = HAS_PASSED_ON if in_pool(node) and chunk_of(node).pulled & bit_of(node) else 0
    cdef int own_data = OWN_DATA if extras != NULL and (<Extras>extras).own_data else 0
    cdef str name = ROW_NAMES[row]
    require_known(node.data)
    if row == ROW_LEAF:
        return name, 0, (), None
    if row == ROW_CUSTOM:
        return name, 0, <tuple>node.left, symbol_of(self)
    if row == ROW_LOCAL:
        derivatives = <object>node.right.node if in_pool(node) else (<Extras>node.right.node).derivatives
        return name, 0, <tuple>node.left, derivatives
    if row == ROW_DOT or row == ROW_INNER:
        kind |= passed_on | own_data
        return name, kind, <tuple>node.left + <tuple>node.right.node, len(<tuple>node.left)
    if row >= ROW_FIRST_REDUCTION:
        return name, own_data, <tuple>node.left, None
    if row < ROW_FIRST_BINARY:
        return name, own_data, (<object>node.left,), None
    if kind == NODE_NODE:
        return name, kind | passed_on | own_data, (<object>node.left, <object>node.right.node), None
    return name, kind | passed_on | own_data, (<object>node.left,), node.right.constant


def _put_together(type cls, str operation, int kind, double data, double grad, tuple operands, detail):
    """Return a new node of these parts; ValueError if they do not fit together."""
    cdef bint passed_on = kind & HAS_PASSED_ON
    cdef bint own_data = kind & OWN_DATA
    cdef int row
    cdef Node *node
    cdef Value result
    kind &= ~(HAS_PASSED_ON | OWN_DATA)
    for operand in operands:
        if not is_value(<PyObject *>operand):
            raise ValueError(f"an operand is no Value but a {type(operand).__name__}")
    if operation not in ROWS or not 0 <= kind <= 3:
        raise ValueError(f"there is no operation {operation!r} of kind {kind}")
    row = ROWS[operation]
    if row == ROW_LEAF or row == ROW_CUSTOM or row == ROW_LOCAL:
        result = cls.__new__(cls)
        initialise(result, data, operands, "" if row == ROW_LEAF else detail, "")
        result.grad = grad
        return result
    if not fits(row, kind, operands, detail):
        raise ValueError(f"{operation} of kind {kind} cannot have {len(operands)} operands and {detail!r}")
    if row == ROW_DOT or row == ROW_INNER:
        left, right = values_tuple(operands[:detail]), values_tuple(operands[detail:])
        row = ROW_DOT if all_leaves(left) else ROW_INNER
        node = new_node(row << 2 | kind, data)
        set_left(node, <PyObject *>left)
        set_right(node, <PyObject *>right)
    elif row >= ROW_FIRST_REDUCTION:
        operands = values_tuple(operands)
        node = new_node(row << 2, data)
        set_left(node, <PyObject *>operands)
    else:
        number = 0.0 if detail is None else required_double(detail, "a constant operand")
        node = new_node(row << 2 | kind, data)
        set_left(node, <PyObject *>operands[0])
        if len(operands) == 2:
            set_right(node, <PyObject *>operands[1])
        else:
            node.right.constant = number
    node.grad = grad
    if passed_on:
        chunk_of(node).pulled |= bit_of(node)
    result = owned(node)
    if own_data:
        require_extras(node).own_data = True
    return result


cdef bint fits(int row, int kind, tuple operands, object detail) except -1:
    """Whether the operands and the detail are such as _take_apart gives."""
    cdef Py_ssize_t count = len(operands)
    if row == ROW_DOT or row == ROW_INNER:
        return type(detail) is int and count > detail > 0 and count - detail in (detail, detail - 1)
    if row >= ROW_FIRST_TERNARY:
        return kind == 0 and count == 3 and detail is None
    if row >= ROW_FIRST_REDUCTION:
        return kind == 0 and count > 0 and detail is None
    if row < ROW_FIRST_BINARY:
        return kind == 0 and count == 1 and detail is None
    if row << 2 | kind not in CODES_OF_TWO:
        return False
    if kind == NODE_NODE:
        return count == 2 and detail is None
    return count == 1 and type(detail) is float


def _get_extras(Value self not None):
    """Return (label, symbol, attributes) if the node has any of them, else None; TypeError for a closure."""
    cdef PyObject *found = extras_of(<Node *><PyObject *>self)
    cdef Extras extras
    if found == NULL:
        return None
    extras = <Extras>found
    if extras.backward is not None:
        raise TypeError(
            f"a node with a _backward of its own ({symbol_of(self)!r}) cannot be copied or pickled: "
            "the closure would go on changing the original"
        )
    if extras.label is None and extras.symbol is None and not extras.attributes:
        return None
    return extras.label, extras.symbol, extras.attributes


def _set_extras(Value self not None, label, symbol, attributes):
    """Give the node what _get_extras returned."""
    cdef Node *node = <Node *><PyObject *>self
    cdef Extras extras = require_extras(node)
    extras.label = label
    extras.symbol = symbol
    track_holder(node, label)
    track_holder(node, symbol)
    if attributes:
        extras.attributes = dict(attributes)
        # What was computed from the node is there already, and may be among the attributes.
        track_used(node)
