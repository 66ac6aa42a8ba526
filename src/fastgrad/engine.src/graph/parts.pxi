# A node taken apart into plain objects and put together again, for copies and pickles.

# Added to the form of a node that has given its gradient to its operands.
cdef enum:
    HAS_PASSED_ON = 4
    # Added to the form of a computed node whose data was set.
    OWN_DATA = 8

cdef dict ROWS = {**OPERATION_ROWS, **REDUCTION_ROWS}
ROWS.update(leaf=ROW_LEAF, custom=ROW_CUSTOM, local=ROW_LOCAL, dot=ROW_DOT, inner=ROW_INNER)
cdef dict ROW_NAMES = {row: name for name, row in ROWS.items()}


def _graph_order(list roots not None):
    """Return the nodes below the roots and the roots, operands before results; TypeError for no Value."""
    require_values(roots)
    return topological_order(roots)


cdef int require_values(list nodes) except -1:
    for node in nodes:
        if not is_value(<PyObject *>node):
            raise TypeError(f"a node is a Value, not {type(node).__name__}")
    return 0


def _take_apart(Value self not None):
    """Return (operation, form, operands, detail): how the node was made, without expanding it.

    The detail is a constant operand, the symbol of a custom node, the number of weights of a dot product, or
    the local derivatives with their rule if there is one. A derivative that is a Value is None in there, and
    follows the operands proper. A symbol that is no string may lead back to the node, so _get_extras returns
    it.
    """
    require_known(self.data)
    return taken_apart(self)


def _operands_in_trace(Value self not None):
    """Return all Values that a node holds: its operands, and given derivatives with their result.

    It works during a trace, on placeholders, too.
    """
    cdef Node *node = <Node *><PyObject *>self
    cdef Py_ssize_t index = 0
    cdef PyObject *operand = operand_at(node, 0)
    cdef list found = []
    refuse_unknown(self.data, 0.0)
    while operand != NULL:
        found.append(<object>operand)
        index += 1
        operand = operand_at(node, index)
    return found


def _age(Value self not None):
    """Return a number that is larger for nodes made later; -1 for an instance of a subclass."""
    cdef Node *node = <Node *><PyObject *>self
    if not in_pool(node):
        return -1
    return <Py_ssize_t>chunk_of(node).number * SLOTS + slot_of(node)


def _has_own_backward(Value self not None):
    """Return whether the node's `_backward` is code of the user's."""
    cdef PyObject *extras = extras_of(<Node *><PyObject *>self)
    return extras != NULL and (<Extras>extras).backward is not None


cdef tuple local_parts(Node *node, int form):
    """What _take_apart() returns for a node of ROW_LOCAL."""
    cdef tuple derivatives = (<tuple>derivatives_of(node))[:PyTuple_GET_SIZE(node.left)]
    cdef list values = [each for each in derivatives if is_value(<PyObject *>each)]
    cdef list detail = [None if is_value(<PyObject *>each) else each for each in derivatives]
    rule = rule_of(node)
    if rule is not None:
        detail.append(rule)
    return "local", form, (*<tuple>node.left, *values), tuple(detail)


cdef int require_rule(rule) except -1:
    if rule is not None and (is_value(<PyObject *>rule) or not hasattr(rule, "derivatives")):
        raise ValueError(f"local cannot have the rule {rule!r}")
    return 0


cdef int put_local(Value result, double data, tuple operands, object detail) except -1:
    """Make a new node the one that local_parts() described; ValueError if the parts do not fit together."""
    cdef Py_ssize_t count
    if type(detail) is not tuple:
        raise ValueError(f"local cannot have the detail {detail!r}")
    count = len(operands) - detail.count(None)
    if count < 1 or len(detail) not in (count, count + 1):
        raise ValueError(f"local cannot have {len(operands)} operands and {detail!r}")
    values = iter(operands[count:])
    derivatives = [next(values) if each is None else each for each in detail[:count]]
    rule = detail[count] if len(detail) > count else None
    require_rule(rule)
    return initialise(result, data, operands[:count], derivatives, "", rule)


cdef tuple taken_apart(Value self):
    cdef Node *node = <Node *><PyObject *>self
    cdef int code = code_of(node)
    cdef int row = row_of(code)
    cdef int form = form_of(code)
    cdef PyObject *extras = extras_of(node)
    cdef int has_passed_on = HAS_PASSED_ON if in_pool(node) and chunk_of(node).pulled & bit_of(node) else 0
    cdef int own_data = OWN_DATA if extras != NULL and (<Extras>extras).own_data else 0
    cdef str name = ROW_NAMES[row]
    if row == ROW_LEAF:
        return name, 0, (), None
    if row == ROW_CUSTOM:
        symbol = symbol_of(self)
        return name, own_data, <tuple>node.left, symbol if is_plain_symbol(symbol) else ""
    if row == ROW_LOCAL:
        return local_parts(node, own_data)
    if row == ROW_DOT or row == ROW_INNER:
        form |= has_passed_on | own_data
        return name, form, <tuple>node.left + <tuple>node.right.node, len(<tuple>node.left)
    if row >= ROW_FIRST_REDUCTION:
        return name, own_data, <tuple>node.left, None
    if row < ROW_FIRST_BINARY:
        return name, own_data, (<object>node.left,), None
    if form == NODE_NODE:
        return name, form | has_passed_on | own_data, (<object>node.left, <object>node.right.node), None
    return name, form | has_passed_on | own_data, (<object>node.left,), node.right.constant


def _given(data, tuple operands not None, tuple derivatives not None, rule):
    """Return a node that is given by its local derivatives and the rule that gives them for any operands.

    rule.derivatives(node, operands) returns the derivatives as Values that can be differentiated again, and
    rule.__name__ is the node's symbol.
    """
    require_rule(rule)
    cdef Value result = owned(new_node(CODE_FRESH, 0.0))
    initialise(result, data, operands, derivatives, "", rule)
    return result


def _captured(list values not None, tuple own not None, Value first not None, Value wanted=None):
    """Return a node older than `first` that these Values were computed from, or None.

    The search does not go below the nodes in `own`. With `wanted`, it looks for that node only.
    """
    cdef list left = list(values)
    cdef set seen = {<uintptr_t><PyObject *>each for each in own}
    cdef uintptr_t address
    cdef PyObject *operand
    cdef Py_ssize_t index
    cdef Node *node
    require_values(left)
    if not in_pool(<PyObject *>first):
        raise TypeError("only a Value of no subclass has an age")
    while left:
        value = left.pop()
        address = <uintptr_t><PyObject *>value
        if address in seen:
            continue
        seen.add(address)
        node = <Node *><PyObject *>value
        if value is wanted:
            return value
        if not in_pool(node) or not is_younger(node, <Node *><PyObject *>first):
            if wanted is None:
                return value
            continue
        index = 0
        operand = operand_at(node, 0)
        while operand != NULL:
            left.append(<object>operand)
            index += 1
            operand = operand_at(node, index)
    return None


def _number_of(str operation not None, double a, double b=0.0, double c=0.0):
    """Return the value of an operation on floats, inf or nan where the operation raises."""
    cdef int row = OPERATION_ROWS[operation]
    if row < ROW_FIRST_BINARY:
        return unary_value(row, a)
    if row >= ROW_FIRST_TERNARY:
        return ternary_value(row, a, b, c)
    return binary_value(row, a, b)


def _put_together(
    type cls not None, str operation, int form, double data, double grad, tuple operands not None, detail
):
    """Return a new node of these parts; ValueError if they do not fit together."""
    cdef bint has_passed_on = form & HAS_PASSED_ON
    cdef bint own_data = form & OWN_DATA
    cdef int row
    cdef Node *node
    cdef Value result
    form &= ~(HAS_PASSED_ON | OWN_DATA)
    for operand in operands:
        if not is_value(<PyObject *>operand):
            raise ValueError(f"an operand is no Value but a {type(operand).__name__}")
    if operation not in ROWS or not 0 <= form <= 3:
        raise ValueError(f"there is no operation {operation!r} of form {form}")
    row = ROWS[operation]
    if row == ROW_LEAF or row == ROW_CUSTOM or row == ROW_LOCAL:
        result = cls.__new__(cls)
        # The symbol was set to a tuple, which the constructor would take for derivatives.
        is_detail = row == ROW_CUSTOM and is_plain_symbol(detail)
        if row == ROW_LOCAL:
            put_local(result, data, operands, detail)
        else:
            initialise(result, data, operands, detail if is_detail else "", "")
        if row == ROW_CUSTOM and not is_detail:
            result._op = detail
        result.grad = grad
        if own_data:
            require_extras(<Node *><PyObject *>result).own_data = True
        return result
    if not fits(row, form, operands, detail):
        raise ValueError(f"{operation} of form {form} cannot have {len(operands)} operands and {detail!r}")
    if row == ROW_DOT or row == ROW_INNER:
        left, right = operands[:detail], operands[detail:]
        row = ROW_DOT if all_leaves(left) else ROW_INNER
        tracked = any_tracked(<PyObject *>operands)
        node = binary_node(code_for(row, form), data, <PyObject *>left, <PyObject *>right, tracked)
    elif row >= ROW_FIRST_REDUCTION:
        node = new_node(code_for(row, 0), data)
        set_operands(node, operands)
    else:
        number = 0.0 if detail is None else required_double(detail, "a constant operand")
        node = new_node(code_for(row, form), data)
        set_left(node, <PyObject *>operands[0])
        if len(operands) == 2:
            set_right(node, <PyObject *>operands[1])
        else:
            node.right.constant = number
    node.grad = grad
    if has_passed_on:
        chunk_of(node).pulled |= bit_of(node)
    result = owned(node)
    if own_data:
        require_extras(node).own_data = True
    return result


cdef inline bint is_plain_symbol(object symbol) noexcept:
    return symbol is None or type(symbol) is str


cdef bint fits(int row, int form, tuple operands, object detail) except -1:
    """Whether _take_apart could have returned these operands and this detail."""
    cdef Py_ssize_t count = len(operands)
    if row == ROW_DOT or row == ROW_INNER:
        return type(detail) is int and count > detail > 0 and count - detail in (detail, detail - 1)
    if row >= ROW_FIRST_TERNARY:
        return form == 0 and count == 3 and detail is None
    if row >= ROW_FIRST_REDUCTION:
        return form == 0 and count > 0 and detail is None
    if row < ROW_FIRST_BINARY:
        return form == 0 and count == 1 and detail is None
    if not has_form(row, form):
        return False
    if form == NODE_NODE:
        return count == 2 and detail is None
    return count == 1 and type(detail) is float


def _get_extras(Value self not None):
    """Return (label, symbol, attributes) if the node has any of them, else None; TypeError for a closure."""
    cdef Node *node = <Node *><PyObject *>self
    cdef PyObject *found = extras_of(node)
    cdef Extras extras
    cdef object symbol = None
    if code_of(node) == CODE_CUSTOM and not is_plain_symbol(symbol_of(self)):
        symbol = symbol_of(self)
    if found == NULL:
        return None if symbol is None else (None, symbol, None)
    extras = <Extras>found
    if extras.backward is not None:
        raise TypeError(
            f"a node with a _backward of its own ({symbol_of(self)!r}) cannot be copied or pickled: "
            "the closure would go on changing the original"
        )
    if extras.symbol is not None:
        symbol = extras.symbol
    if extras.label is None and symbol is None and not extras.attributes:
        return None
    # A copy: whoever has the dict of the node itself could close a cycle through it.
    return extras.label, symbol, extras.attributes and dict(extras.attributes)


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
        # Nodes computed from this one may exist already, and may be among the attributes.
        track_used(node)
