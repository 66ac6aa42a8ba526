# Loops over the nodes of a trace and of a sweep, for builds in which no list holds all nodes.


cdef inline void track_younger(Node *node) noexcept:
    """Nothing: every computed node is tracked when it is made, see track_new()."""


cdef inline Node *made_before(Node *node, Node **at) noexcept nogil:
    """The node that the same thread made right before this one, if the sweep has it, else NULL.

    `at` is this node's place in the sweep.
    """
    cdef Node *before = (at + 1)[0]
    return before if before != NULL and chunk_of(before).number + 1 == chunk_of(node).number else NULL


cdef inline bint is_traced(Node *node, Node *first) noexcept:
    """Whether the traced function made a node; its number cannot tell, as other threads draw numbers, too."""
    return chunk_of(node).traced != 0


cdef list living_traced():
    """The nodes that the traced function made and that are alive."""
    cdef list found = []
    cdef uint32_t index
    cdef Node *node
    for index in range(traced_count):
        PyMutex_Lock(&traced_lock)
        node = traced_nodes[index]
        if node != NULL and not PyUnstable_TryIncRef(<PyObject *>node):
            node = NULL
        PyMutex_Unlock(&traced_lock)
        if node != NULL:
            found.append(owned(node))
    return found


cdef bint is_used(Node *leaf) except -1:
    """Whether a node of the trace that is alive has this one as an operand."""
    cdef Py_ssize_t index
    cdef PyObject *operand
    cdef Node *node
    for value in living_traced():
        node = <Node *><PyObject *>value
        index = 0
        operand = operand_at(node, 0)
        while operand != NULL:
            if operand == <PyObject *>leaf:
                return True
            index += 1
            operand = operand_at(node, index)
    return False


cdef void forget_all_traced() noexcept:
    global traced_count
    cdef uint32_t index
    PyMutex_Lock(&traced_lock)
    for index in range(traced_count):
        if traced_nodes[index] != NULL:
            chunk_of(traced_nodes[index]).traced = 0
    traced_count = 0
    PyMutex_Unlock(&traced_lock)


cdef list computed_since(Node *first):
    """The nodes with operands that the traced function made and that are alive; the trace is over."""
    cdef list found = living_traced()
    forget_all_traced()
    return [value for value in found if code_of(<Node *><PyObject *>value) > CODE_FRESH]
