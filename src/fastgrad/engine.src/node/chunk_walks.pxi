# Loops over the nodes of the pool, chunk by chunk.


cdef void track_computed(Chunk *chunk, uint64_t slots) noexcept:
    """Track those of a chunk's computed nodes that are alive."""
    cdef Node *node
    cdef int slot
    slots &= handed_out(chunk) & ~chunk.leaves
    while slots != 0:
        slot = highest_bit(slots)
        slots ^= (<uint64_t>1) << slot
        node = node_at(chunk, slot)
        if is_alive(node):
            track(node)


cdef void track_younger(Node *node) noexcept:
    """Track what may have been computed from a node.

    Chunks are remembered, so that nodes may be tracked one by one in any order.
    """
    cdef Chunk *chunk = newest
    # A node made by a look is younger than the one that was looked at, which uses it.
    cdef Chunk *last = chunk_of(node) if expansions == 0 else NULL
    while chunk != last:
        if not chunk.code[ALL_TRACKED]:
            track_computed(chunk, ~(<uint64_t>0))
            chunk.code[ALL_TRACKED] = chunk != newest
        chunk = chunk.older
    if last != NULL and not last.code[ALL_TRACKED]:
        track_computed(last, ~(2 * bit_of(node) - 1))


cdef inline Node *made_before(Node *node, Node **at) noexcept nogil:
    """The place of the node made before this one, or NULL."""
    cdef Chunk *chunk = chunk_of(node)
    cdef int slot = slot_of(node) - 1
    if slot < FIRST_SLOT:
        chunk = chunk.older
        slot = SLOTS - 1
    return NULL if chunk == NULL else node_at(chunk, slot)


cdef bint is_used(Node *leaf) except -1:
    """Whether a node of the pool that is alive has this one as an operand."""
    cdef Chunk *chunk = newest
    cdef uint64_t slots
    cdef Py_ssize_t index
    cdef PyObject *operand
    cdef Node *node
    cdef int slot
    while True:
        slots = handed_out(chunk) & ~chunk.leaves
        while slots != 0:
            slot = highest_bit(slots)
            slots ^= (<uint64_t>1) << slot
            node = node_at(chunk, slot)
            index = 0
            operand = operand_at(node, 0) if is_alive(node) else NULL
            while operand != NULL:
                if operand == <PyObject *>leaf:
                    return True
                index += 1
                operand = operand_at(node, index)
        if chunk == chunk_of(leaf):
            return False
        chunk = chunk.older


cdef inline bint is_traced(Node *node, Node *first) noexcept:
    """Whether the traced function made a node, that is, it is younger than the first one."""
    return is_younger(node, first)


cdef inline void forget_all_traced() noexcept:
    """Nothing: what a trace made is found by its age."""


cdef list computed_since(Node *first):
    """The nodes with operands that are younger than this one and alive."""
    cdef list found = []
    cdef Chunk *chunk = newest
    cdef uint64_t slots
    cdef Node *node
    cdef int slot
    while True:
        slots = handed_out(chunk) & ~chunk.leaves
        while slots != 0:
            slot = highest_bit(slots)
            slots ^= (<uint64_t>1) << slot
            node = node_at(chunk, slot)
            if is_alive(node) and is_younger(node, first):
                found.append(<object>node)
        if chunk == chunk_of(first):
            return found
        chunk = chunk.older
