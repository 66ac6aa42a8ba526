# The sweep through the chunks of the pool.


cdef int sweep_from(Node *root, bint whole_graph) except -1 nogil:
    """Pull from the root and, in reverse order of creation, from every node it reaches.

    Every rule has its only call in here, so that the compiler puts them all, and `mark`, into the loop:
    with calls of `mark` instead, a node takes 8.3 ns, not 6.
    """
    cdef Sweep sweep
    cdef Chunk *chunk
    cdef uint64_t pulled
    cdef int slot, last
    if not in_pool(root) or chunk_of(root).code[slot_of(root)] <= CODE_FRESH:
        return 0
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
            return 0
        slot = SLOTS - 1
        chunk = chunk.older
        while not any_reached(chunk):
            chunk = chunk.older


cdef inline int sweep_all_from(Node *root) except -1:
    """Set the root's gradient to 1 and pull from every node it reaches."""
    root.grad = 1.0
    return sweep_from(root, True)


cdef inline bint use_leaves(tuple leaves) noexcept:
    """Whether other threads may add to gradients of these leaves at the same time."""
    return False


cdef inline void add_to_leaf(Node *leaf, double amount, bint shared) noexcept:
    leaf.grad += amount
