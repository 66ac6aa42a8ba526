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


cdef void sweep_from(Node *root, bint whole_graph) noexcept nogil:
    """Pull from the root and, in reverse order of creation, from every node it reaches.

    Every rule has its only call in here, so that the compiler puts them all, and `mark`, into the loop:
    with calls of `mark` instead, a node takes 8.3 ns, not 6.
    """
    cdef Sweep sweep
    cdef Chunk *chunk
    cdef uint64_t pulled
    cdef int slot, last
    if not in_pool(root) or chunk_of(root).code[slot_of(root)] <= CODE_FRESH:
        return
    chunk = chunk_of(root)
    slot = slot_of(root)
    last = FIRST_SLOT if whole_graph else slot
    chunk.reached[slot] = True
    sweep.pending = 1
    sweep.whole_graph = whole_graph
    sweep.marked_inputs = NULL
    sweep.inputs_computed = False
    while True:
        pulled = 0
        while slot >= last:
            if chunk.reached[slot]:
                chunk.reached[slot] = False
                pulled |= (<uint64_t>1) << slot
                # 12 nodes ahead: at 1e6 nodes, wider than the cache, 43 -> 36 ns a node.
                if slot >= FIRST_SLOT + 12:
                    prefetch_operands(node_at(chunk, slot - 12))
                sweep.pending -= 1
                pull(node_at(chunk, slot), chunk.code[slot], &sweep)
            slot -= 1
        chunk.pulled |= pulled
        if sweep.pending == 0:
            return
        slot = SLOTS - 1
        chunk = chunk.older
        while not any_reached(chunk):
            chunk = chunk.older


cdef int run_ordered(Value root) except -1:
    """backward() for graphs in which the user's own code takes part."""
    cdef list order = topological_order([root], True)
    cdef Py_ssize_t seen = expansions
    cdef object current
    cdef PyObject *extras
    # Not before the order is known: without the memory for it nothing has changed.
    root.grad = 1.0
    while order:
        if seen != expansions:
            # A `_backward` has looked at a graph, and so may have replaced operands in this one: they are
            # put before what uses them, and the order of all others stays.
            order = topological_order(order, True)
            seen = expansions
        current = order.pop()
        if not in_pool(<PyObject *>current):
            current._backward()
            continue
        extras = extras_of(<Node *><PyObject *>current)
        if extras != NULL and (<Extras>extras).backward is not None:
            (<Extras>extras).backward()
        else:
            propagate(<Node *><PyObject *>current)
    return 0


cdef int run_backward(Value root) except -1:
    global search_count
    cdef Node *node = <Node *><PyObject *>root
    refuse_effect("backward()")
    if node.data != node.data:
        require_known(node.data)
    if irregular_count > 0 and holds_irregular(node):
        search_count += 1
        run_ordered(root)
    else:
        node.grad = 1.0
        sweep_from(node, True)
    after_backward()
    return 0


cdef int propagate(Node *node) except -1:
    """The default `_backward` of any node, once, without going further."""
    cdef int code = code_of(node)
    cdef Py_ssize_t index
    cdef PyObject *derivative
    if in_pool(node):
        sweep_from(node, False)
    elif code == CODE_LOCAL:
        for index in range(PyTuple_GET_SIZE(node.left)):
            derivative = PyTuple_GET_ITEM(derivatives_of(node), index)
            (<Node *>PyTuple_GET_ITEM(node.left, index)).grad += derivative_number(derivative) * node.grad
    return 0
