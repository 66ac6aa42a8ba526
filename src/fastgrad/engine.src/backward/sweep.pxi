# backward(): each node's rule, and the two orders in which the rules are run.
#
# The sweep serves graphs of built-in operations: it visits the nodes that it has reached from the
# youngest to the oldest and runs no Python code. A graph in which a node has a backward of the user's
# own, or operands younger than itself, is ordered by depth-first search instead. Only while such a node
# lives anywhere must it be found out which of the two a graph needs.


cdef inline void pull(Node *node, int code, Sweep *sweep) noexcept nogil:
    """Run the rule of a pool node: operand.grad += d node / d operand * node.grad."""
    if code < CODE_TABLE_END:
        pull_operation(node, code, node.grad, sweep)
    elif CODE_DOT <= code < CODE_FIRST_REDUCTION:
        pull_dot(node, code, sweep)
    elif code >= CODE_FIRST_TERNARY:
        pull_ternary(node, row_of(code), node.grad, sweep)
    elif code >= CODE_FIRST_REDUCTION:
        pull_reduction(node, row_of(code), node.grad, sweep)
    elif code == CODE_LOCAL:
        pull_local(node, node.grad, sweep)
    elif code == CODE_CUSTOM:
        pull_nothing(node, sweep)


include "../generated/sweep_from.pxi"


cdef int run_ordered(Value root) except -1:
    """backward() for graphs in which the user's own code takes part."""
    cdef list order = topological_order([root], True)
    cdef Py_ssize_t seen = counted(&expansions)
    cdef object current
    # Not before the order is known: without the memory for it nothing has changed.
    root.grad = 1.0
    while order:
        if seen != counted(&expansions):
            # A `_backward` has looked at a graph, and so may have replaced operands in this one: they are
            # put before what uses them, and the order of all others stays.
            order = topological_order(order, True)
            seen = counted(&expansions)
        current = order.pop()
        if not in_pool(<PyObject *>current):
            current._backward()
            continue
        backward = backward_of(extras_of(<Node *><PyObject *>current))
        if backward is None:
            propagate(<Node *><PyObject *>current)
        else:
            backward()
    return 0


cdef int run_backward(Value root) except -1:
    cdef Node *node = <Node *><PyObject *>root
    refuse_effect("backward()")
    if node.data != node.data:
        require_known(node.data)
    if counted(&irregular_count) > 0 and holds_irregular(node):
        count(&search_count, 1)
        run_ordered(root)
    else:
        sweep_all_from(node)
    after_backward()
    return 0


cdef int propagate(Node *node) except -1:
    """The default `_backward` of any node, once, without going further."""
    cdef int code = code_of(node)
    cdef Py_ssize_t index
    cdef PyObject *derivative
    cdef double amount
    if in_pool(node):
        sweep_from(node, False)
    elif code == CODE_LOCAL:
        for index in range(PyTuple_GET_SIZE(node.left)):
            derivative = PyTuple_GET_ITEM(derivatives_of(node), index)
            amount = derivative_number(derivative) * node.grad
            add_atomically(&(<Node *>PyTuple_GET_ITEM(node.left, index)).grad, amount)
    return 0
