# backward(): each node's rule, and the two orders in which the rules are run.
#
# The sweep serves graphs of built-in operations: it visits the nodes that it has reached from the
# youngest to the oldest and runs no Python code. A graph in which a node has a backward of the user's
# own, or operands younger than itself, is ordered by depth-first search instead. Only while such a node
# lives anywhere must it be found out which of the two a graph needs.

from cpython.mem cimport PyMem_RawRealloc

# Raised whenever inspection replaces a node's operands; see inspection.pxi.
cdef Py_ssize_t expansions = 0

cdef struct Sweep:
    # How many nodes are reached and not pulled yet.
    Py_ssize_t pending
    # False for a node's rule alone, which reaches no operand.
    bint whole_graph
    # The inputs of the dot product pulled last: they are pending until everything that uses them,
    # being younger, has been pulled.
    PyObject *marked_inputs
    # Whether all of those are computed, so that none is a leaf among the weights as well.
    bint inputs_computed


cdef inline void mark(Node *node, Sweep *sweep) noexcept nogil:
    """Have a computed node of the pool visited; leaves have nothing to propagate."""
    cdef Chunk *chunk
    cdef int slot
    if not in_pool(node):
        return
    chunk = chunk_of(node)
    slot = slot_of(node)
    if chunk.code[slot] > CODE_FRESH and not chunk.reached[slot] and sweep.whole_graph:
        chunk.reached[slot] = True
        sweep.pending += 1


cdef inline void give(Node *operand, double amount, Sweep *sweep) noexcept nogil:
    """Add to an operand's gradient and see to it that the operand is visited."""
    operand.grad += amount
    mark(operand, sweep)


cdef void give_chosen(Node *operand, double derivative, double g, Sweep *sweep) noexcept nogil:
    """give() of a row that selects: what was not chosen is not reached, nor is what only it uses."""
    if derivative != 0.0:
        give(operand, derivative * g, sweep)


cdef inline void pull_local(Node *node, double g, Sweep *sweep) noexcept nogil:
    """grad of child i += derivative i * g."""
    cdef Py_ssize_t index
    for index in range(PyTuple_GET_SIZE(node.left)):
        give(
            <Node *>PyTuple_GET_ITEM(node.left, index),
            PyFloat_AS_DOUBLE(PyTuple_GET_ITEM(node.right.node, index)) * g,
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


cdef inline Node *dot_before(Node *node, PyObject *inputs) noexcept nogil:
    """The node made before this one if it is to be pulled: a dot product of leaves with these inputs."""
    cdef Chunk *chunk = chunk_of(node)
    cdef int slot = slot_of(node) - 1
    if slot < FIRST_SLOT:
        chunk = chunk.older
        slot = SLOTS - 1
    if chunk == NULL or not chunk.reached[slot] or chunk.code[slot] >> 2 != ROW_DOT:
        return NULL
    node = node_at(chunk, slot)
    return node if node.right.node == inputs else NULL


cdef inline bint begins_four(Node **four, Sweep *sweep) noexcept nogil:
    """Find the three nodes made before a dot product; whether they are those of the same layer's neurons.

    What uses any of the four is younger than all of them, and has been pulled. Where a weight or an input is
    used twice, the order of additions shows in the bits: so a chunk's end must not part the four.
    """
    cdef int which
    if not sweep.inputs_computed:
        return False
    for which in range(3):
        four[which + 1] = dot_before(four[which], four[0].right.node)
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
            (<Node *>PyTuple_GET_ITEM(weights[which], size)).grad += g[which]
    sweep.pending -= 3
    for index in range(size):
        x = <Node *>PyTuple_GET_ITEM(inputs, index)
        x_data, x_grad = x.data, x.grad
        for which in range(4):
            w = <Node *>PyTuple_GET_ITEM(weights[which], index)
            x_grad += w.data * g[which]
            w.grad += x_data * g[which]
        x.grad = x_grad


cdef inline void pull_dot(Node *node, int code, Sweep *sweep) noexcept nogil:
    """out = activation(w1 * x1 + ... + wn * xn + bias)."""
    cdef Py_ssize_t size = PyTuple_GET_SIZE(node.right.node)
    cdef Py_ssize_t index
    cdef Node *w
    cdef Node *x
    cdef Node *four[4]
    cdef double w_data, g
    # Leaves need not be marked, nor inputs shared with the node before: that is half of the work.
    if code >> 2 != ROW_DOT:
        for index in range(size):
            mark(<Node *>PyTuple_GET_ITEM(node.left, index), sweep)
    if sweep.marked_inputs != node.right.node:
        mark_inputs(node.right.node, sweep)
    four[0] = node
    if code >> 2 == ROW_DOT and begins_four(four, sweep):
        pull_four_dots(four, sweep)
        return
    g = before_activation(node, code)
    for index in range(size):
        w = <Node *>PyTuple_GET_ITEM(node.left, index)
        x = <Node *>PyTuple_GET_ITEM(node.right.node, index)
        w_data = w.data
        w.grad += x.data * g
        x.grad += w_data * g
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


cdef inline void pull(Node *node, int code, Sweep *sweep) noexcept nogil:
    """Run the rule of a pool node: operand.grad += d node / d operand * node.grad."""
    cdef int row = code >> 2
    if row < ROW_TABLE_END:
        pull_operation(node, code, node.grad, sweep)
    elif row == ROW_DOT or row == ROW_INNER:
        pull_dot(node, code, sweep)
    elif row >= ROW_FIRST_TERNARY:
        pull_ternary(node, row, node.grad, sweep)
    elif row >= ROW_FIRST_REDUCTION:
        pull_reduction(node, row, node.grad, sweep)
    elif row == ROW_LOCAL:
        pull_local(node, node.grad, sweep)
    elif row == ROW_CUSTOM:
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


cdef struct Survey:
    # How many nodes are reached and not looked at yet.
    Py_ssize_t pending
    # The inputs of the dot product looked at last.
    PyObject *inputs
    # Whether leaves are to be looked at as well.
    bint leaves
    bint found


cdef inline void reach(Node *operand, Survey *survey) noexcept:
    cdef Chunk *chunk
    if in_pool(operand) and chunk_of(operand).code[slot_of(operand)] > CODE_FRESH:
        chunk = chunk_of(operand)
        if not chunk.reached[slot_of(operand)]:
            chunk.reached[slot_of(operand)] = True
            survey.pending += 1
    elif survey.leaves and is_irregular(operand):
        survey.found = True


cdef inline void reach_all(PyObject *operands, Survey *survey) noexcept:
    cdef Py_ssize_t index
    for index in range(PyTuple_GET_SIZE(operands)):
        reach(<Node *>PyTuple_GET_ITEM(operands, index), survey)


cdef inline void reach_below(Node *node, int code, Survey *survey) noexcept:
    cdef int row = code >> 2
    if row < ROW_TABLE_END:
        reach(<Node *>node.left, survey)
        if owns_right(code):
            reach(<Node *>node.right.node, survey)
        return
    if row != ROW_DOT or survey.leaves:
        reach_all(node.left, survey)
    if (row == ROW_DOT or row == ROW_INNER) and node.right.node != survey.inputs:
        survey.inputs = node.right.node
        reach_all(node.right.node, survey)


cdef bint holds_irregular(Node *root) noexcept:
    """Whether a node that the sweep cannot serve is the root or below it.

    All nodes above the first such one are older than their results: it is met in the order of the sweep.
    """
    cdef Survey survey
    cdef Chunk *chunk
    cdef int slot
    if not in_pool(root) or chunk_of(root).code[slot_of(root)] <= CODE_FRESH:
        return is_irregular(root)
    chunk = chunk_of(root)
    slot = slot_of(root)
    chunk.reached[slot] = True
    survey.pending = 1
    survey.inputs = NULL
    survey.leaves = irregular_leaf_count > 0
    survey.found = False
    while True:
        while slot >= FIRST_SLOT:
            if chunk.reached[slot]:
                chunk.reached[slot] = False
                survey.pending -= 1
                if slot >= FIRST_SLOT + 12:
                    prefetch_operands(node_at(chunk, slot - 12))
                if chunk.extended >> slot & 1 and is_irregular(node_at(chunk, slot)):
                    survey.found = True
                # After the first, marks are only taken back.
                if not survey.found:
                    reach_below(node_at(chunk, slot), chunk.code[slot], &survey)
            slot -= 1
        if survey.pending == 0:
            return survey.found
        slot = SLOTS - 1
        chunk = chunk.older
        while not any_reached(chunk):
            chunk = chunk.older


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
    if CHECKED:
        check_after_backward()
    return 0


cdef int propagate(Node *node) except -1:
    """The default `_backward` of any node, once, without going further."""
    cdef int code = code_of(node)
    cdef tuple children, derivatives
    if in_pool(node):
        sweep_from(node, False)
    elif code >> 2 == ROW_LOCAL:
        children = <tuple>node.left
        derivatives = (<Extras>node.right.node).derivatives
        for child, derivative in zip(children, derivatives):
            (<Value>child).grad += <double>derivative * node.grad
    return 0


# -- the order by depth-first search -------------------------------------------------------------

cdef struct Frame:
    PyObject *node
    Py_ssize_t visited


cdef struct Stack:
    Frame *frames
    Py_ssize_t size
    Py_ssize_t room


cdef int make_room(Stack *stack) except -1:
    """Have room for one more frame, so that nothing can fail between a visit and its frame."""
    cdef Frame *grown
    if stack.size == stack.room:
        grown = <Frame *>PyMem_RawRealloc(stack.frames, (2 * stack.room + 64) * sizeof(Frame))
        if grown == NULL:
            raise MemoryError("no memory to order the graph for backward()")
        stack.frames = grown
        stack.room = 2 * stack.room + 64
    return 0


cdef inline void push(Stack *stack, PyObject *node) noexcept:
    stack.frames[stack.size].node = node
    stack.frames[stack.size].visited = 0
    stack.size += 1


cdef PyObject *operand_at(Node *node, Py_ssize_t index) noexcept:
    """The operand with this number, borrowed, or NULL past the last."""
    cdef int code = code_of(node)
    cdef Py_ssize_t size
    if code <= CODE_FRESH:
        return NULL
    if code >> 2 < ROW_TABLE_END:
        if index == 0:
            return node.left
        return node.right.node if index == 1 and owns_right(code) else NULL
    size = PyTuple_GET_SIZE(node.left)
    if index < size:
        return PyTuple_GET_ITEM(node.left, index)
    index -= size
    if (code >> 2 == ROW_DOT or code >> 2 == ROW_INNER) and index < PyTuple_GET_SIZE(node.right.node):
        return PyTuple_GET_ITEM(node.right.node, index)
    return NULL


cdef bint is_passed_over(Node *node, Py_ssize_t index) noexcept:
    """Whether the operand with this number was there to be chosen, and was not."""
    cdef int code = code_of(node)
    cdef int row = code >> 2
    cdef double a, b, c
    if not selects(row):
        return False
    if row >= ROW_FIRST_TERNARY:
        a = (<Node *>PyTuple_GET_ITEM(node.left, 0)).data
        b = (<Node *>PyTuple_GET_ITEM(node.left, 1)).data
        c = (<Node *>PyTuple_GET_ITEM(node.left, 2)).data
        if index == 0:
            return ternary_da(row, a, b, c, node.data) == 0.0
        if index == 1:
            return ternary_db(row, a, b, c, node.data) == 0.0
        return ternary_dc(row, a, b, c, node.data) == 0.0
    a = (<Node *>node.left).data
    b = (<Node *>node.right.node).data if owns_right(code) else node.right.constant
    if index == 0:
        return left_derivative(row, a, b, node.data) == 0.0
    return right_derivative(row, a, b, node.data) == 0.0


cdef inline bint visit_once(PyObject *node, set foreign) except -1:
    """Whether this is the first visit. A node counts as visited when its visit begins, and joins
    the order when its operands have: marking it at the push of a parent would misorder diamonds."""
    cdef Chunk *chunk
    if in_pool(node):
        chunk = chunk_of(node)
        if chunk.reached[slot_of(node)]:
            return False
        chunk.reached[slot_of(node)] = True
        return True
    address = <uintptr_t>node
    if address in foreign:
        return False
    foreign.add(address)
    return True


cdef list topological_order(list roots, bint chosen_only=False):
    """The nodes below the roots, operands before results; runs no code of the user's.

    With chosen_only those that a gradient reaches, without what only operands that were not chosen use.
    """
    cdef list order = []
    cdef set foreign = set()
    cdef Stack stack
    cdef Frame *frame
    cdef PyObject *operand
    stack.frames = NULL
    stack.size = stack.room = 0
    try:
        for root in roots:
            make_room(&stack)
            if visit_once(<PyObject *>root, foreign):
                push(&stack, <PyObject *>root)
            while stack.size > 0:
                make_room(&stack)
                frame = &stack.frames[stack.size - 1]
                operand = operand_at(<Node *>frame.node, frame.visited)
                frame.visited += 1
                if operand == NULL:
                    order.append(<object>frame.node)
                    stack.size -= 1
                elif chosen_only and is_passed_over(<Node *>frame.node, frame.visited - 1):
                    continue
                elif visit_once(operand, foreign):
                    push(&stack, operand)
    finally:
        while stack.size > 0:
            stack.size -= 1
            unvisit(stack.frames[stack.size].node)
        for node in order:
            unvisit(<PyObject *>node)
        PyMem_RawFree(stack.frames)
    return order


cdef inline void unvisit(PyObject *node) noexcept:
    if in_pool(node):
        chunk_of(node).reached[slot_of(node)] = False


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
