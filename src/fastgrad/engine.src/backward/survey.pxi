# The survey goes the sweep's way, without the rules, to find a node that the sweep cannot serve.

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
    if code < CODE_TABLE_END:
        reach(<Node *>node.left, survey)
        if owns_right(code):
            reach(<Node *>node.right.node, survey)
        return
    if not is_dot(code) or survey.leaves:
        reach_all(node.left, survey)
    if CODE_DOT <= code < CODE_FIRST_REDUCTION and node.right.node != survey.inputs:
        survey.inputs = node.right.node
        reach_all(node.right.node, survey)


cdef bint holds_irregular(Node *root) noexcept:
    """Whether a node that the sweep cannot serve is the root or below it.

    The nodes above the first such node are all older than their results, so the sweep's order meets it.
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
    survey.leaves = counted(&irregular_leaf_count) > 0
    survey.found = False
    while True:
        while slot >= FIRST_SLOT:
            if chunk.reached[slot]:
                chunk.reached[slot] = False
                survey.pending -= 1
                if slot >= FIRST_SLOT + 12:
                    prefetch_operands(node_at(chunk, slot - 12))
                if has_extras(chunk, slot) and is_irregular(node_at(chunk, slot)):
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
