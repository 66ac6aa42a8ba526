# The invariants of the pool and of the graph between any two operations. A build with FASTGRAD_ASSERTIONS=1
# checks the node just made and its chunk after every operation, a node as it is freed, and every chunk after
# a backward() and in _check_invariants(). In other builds CHECKED is 0, and the C compiler drops all of this.
# A broken invariant ends the process with its text.
#
# A chunk is walked without allocating anything, so that the checks hold where memory is short, too.

from libc.string cimport memset

cdef enum:
    # The code of a slot whose node was freed.
    CODE_FREED = 255
    # A backward() is followed by a walk if there are at most so many chunks, and else every WALK_EVERY-th.
    FEW_CHUNKS = 32
    WALK_EVERY = 64

cdef Py_ssize_t large_backwards = 0


# -- one node, one chunk ------------------------------------------------------------------------


cdef int popcount(uint64_t word) noexcept nogil:
    cdef int count = 0
    while word != 0:
        word &= word - 1
        count += 1
    return count


cdef uint64_t check_chunk(Chunk *chunk) noexcept:
    """Check a chunk's header and masks; return the slots whose nodes are alive."""
    cdef uint64_t handed = handed_out(chunk)
    cdef uint64_t alive = 0, slots = handed, bit
    cdef int slot, counted
    expect(chunk.arena != NULL, "a chunk in use has no arena")
    expect(
        <char *>chunk >= chunk.arena.memory
        and <char *>chunk < chunk.arena.memory + ARENA_CHUNKS * CHUNK_BYTES,
        "a chunk lies outside its arena",
    )
    expect(0 < chunk.arena.used <= ARENA_CHUNKS, "an arena's count of chunks is wrong")
    expect(chunk.leaves & ~handed == 0, "a slot not handed out yet is among the leaves")
    expect(chunk.extended & ~handed == 0, "a slot not handed out yet has Extras")
    expect(chunk.pulled & ~handed == 0, "a slot not handed out yet has passed on its gradient")
    expect(not any_reached(chunk), "a search is over, and nodes are still marked as reached")
    while slots != 0:
        slot = highest_bit(slots)
        bit = (<uint64_t>1) << slot
        slots ^= bit
        if node_at(chunk, slot).head.refcount > 0:
            alive |= bit
        else:
            expect(node_at(chunk, slot).head.refcount == 0, "a reference count is negative")
        if chunk.extras != NULL and not chunk.extended & bit:
            expect(chunk.extras[slot] == NULL, "a node without Extras has a pointer to some")
    counted = popcount(alive) + (SLOTS - FIRST_SLOT - popcount(handed))
    # While a graph is freed, queued nodes count as alive but have no reference.
    expect(
        chunk.code[LIVE_NODES] == counted or ((draining or abandoned) and chunk.code[LIVE_NODES] > counted),
        "a chunk's count of living nodes is wrong",
    )
    return alive


cdef void check_operand(Node *node, PyObject *operand) noexcept:
    """Check a reference to a Value that a node owns, directly or in a tuple."""
    expect(operand != NULL and (<Node *>operand).head.refcount > 0, "an operand is not alive")
    expect(operand != <PyObject *>node, "a node is its own operand")
    expect(is_value(operand), "an operand is no Value")
    expect(
        is_tracked(node) or not is_tracked(operand),
        "the collector sees an operand but not the node computed from it",
    )
    if in_pool(operand):
        expect(chunk_of(operand).code[slot_of(operand)] != CODE_FREED, "an operand was freed")


cdef void check_operands(Node *node, PyObject *operands) noexcept:
    """Check a tuple of Values that a node owns."""
    cdef Py_ssize_t index
    expect(operands != NULL and PyTuple_CheckExact(operands), "a node's operands are no tuple")
    expect((<Node *>operands).head.refcount > 0, "a node's tuple of operands is not alive")
    expect(is_tracked(operands), "the collector does not see a node's tuple of operands")
    for index in range(PyTuple_GET_SIZE(operands)):
        check_operand(node, PyTuple_GET_ITEM(operands, index))


cdef void check_node(Node *node) noexcept:
    """Check a living node of the pool: its code, what it owns, its Extras."""
    cdef Chunk *chunk = chunk_of(node)
    cdef int slot = slot_of(node)
    cdef int code = chunk.code[slot]
    cdef int row = row_of(code)
    cdef Py_ssize_t index
    cdef PyObject *extras
    expect(node.head.refcount > 0 and node.head.type == value_type, "a living node is no Value")
    expect(code < CODE_END, "a node has a code that no operation has")
    expect(
        (chunk.leaves >> slot & 1) == (code <= CODE_FRESH),
        "a node's bit among the leaves is not what its code says",
    )
    if chunk.extended >> slot & 1:
        expect(chunk.extras != NULL and chunk.extras[slot] != NULL, "a node's Extras are missing")
        extras = chunk.extras[slot]
        expect((<Node *>extras).head.refcount > 0, "a node's Extras are not alive")
        expect(type(<object>extras) is Extras, "a node's Extras are something else")
        expect(
            (<Extras>extras).backward is None or (<Extras>extras).irregular,
            "a node with a backward of its own is not counted as irregular",
        )
        expect((<Extras>extras).derivatives is None, "a node of the pool keeps derivatives in its Extras")
    if code <= CODE_FRESH:
        expect(node.left == NULL, "a leaf has an operand")
        return
    if chunk.code[ALL_TRACKED]:
        expect(is_tracked(node), "a chunk that the collector knows has a node that it does not know")
    if row < ROW_TABLE_END:
        check_operand(node, node.left)
        if owns_right(code):
            check_operand(node, node.right.node)
        return
    check_operands(node, node.left)
    if row == ROW_CUSTOM:
        expect((<Node *>node.right.node).head.refcount > 0, "a symbol is not alive")
    elif row == ROW_LOCAL:
        expect(PyTuple_CheckExact(node.right.node), "local derivatives are no tuple")
        check_derivatives(node)
    elif row == ROW_DOT or row == ROW_INNER:
        check_operands(node, node.right.node)
        index = PyTuple_GET_SIZE(node.left) - PyTuple_GET_SIZE(node.right.node)
        expect(index == 0 or index == 1, "a dot product has another number of weights than inputs")
        if row == ROW_DOT:
            for index in range(PyTuple_GET_SIZE(node.left)):
                check_weight(<Node *>PyTuple_GET_ITEM(node.left, index))
    elif row >= ROW_FIRST_TERNARY:
        expect(PyTuple_GET_SIZE(node.left) == 3, "an operation of three operands has another number")


cdef void check_derivatives(Node *node) noexcept:
    """Check the tuple of local derivatives of a node of the pool."""
    cdef Py_ssize_t size = PyTuple_GET_SIZE(node.left), index
    cdef PyObject *item
    expect(
        PyTuple_GET_SIZE(node.right.node) == size or PyTuple_GET_SIZE(node.right.node) == size + 2,
        "there are not as many local derivatives as operands",
    )
    for index in range(PyTuple_GET_SIZE(node.right.node)):
        item = PyTuple_GET_ITEM(node.right.node, index)
        if is_value(item):
            expect(index != size, "a Value is in the place of a rule")
            check_operand(node, item)
        elif index < size:
            expect(type(<object>item) is float, "a local derivative is neither a float nor a Value")
        elif index == size + 1:
            expect(<object>item is None, "what stands for the result of a node is no Value")


cdef void check_weight(Node *weight) noexcept:
    # An irregular weight may have been a leaf when it was used; no sweep serves a graph that holds it.
    expect(
        not in_pool(weight) or code_of(weight) <= CODE_FRESH or is_irregular(weight),
        "a weight of a dot product needs a visit",
    )


cdef void check_made(void *address) noexcept:
    """Called after every operation: check the node that it made, and that node's chunk."""
    cdef Node *node = <Node *>address
    if not in_pool(node):
        return
    expect(check_chunk(chunk_of(node)) & bit_of(node) != 0, "a new node is not alive")
    expect(
        <char *>newest < next_slot <= <char *>newest + CHUNK_BYTES, "the next slot is not in the newest chunk"
    )
    check_node(node)


cdef void check_freed(void *address) noexcept:
    """Called as a node is freed: check that it may be, then overwrite it so that no later use goes unseen."""
    cdef Node *node = <Node *>address
    cdef Chunk *chunk = chunk_of(node)
    cdef int slot = slot_of(node)
    expect(handed_out(chunk) >> slot & 1, "a node that was never made is freed")
    expect(chunk.code[slot] != CODE_FREED, "a node is freed twice")
    expect(node.head.refcount == 0, "a node with references is freed")
    expect(not is_tracked(node), "a node that the collector knows is freed")
    expect(not chunk.extended >> slot & 1, "a node is freed before its Extras")
    expect(not chunk.reached[slot], "a node is freed that a search has yet to visit")
    chunk.code[slot] = CODE_FREED
    memset(&node.data, 0xFB, sizeof(Node) - sizeof(node.head))


# -- the whole pool -----------------------------------------------------------------------------


cdef void check_links() noexcept:
    """Check both lists of chunks and what the arenas count."""
    cdef Chunk *chunk
    cdef Py_ssize_t used = 0, free = 0
    expect(newest == NULL or newest.newer == NULL, "there is a chunk newer than the newest")
    chunk = newest
    while chunk != NULL:
        used += 1
        expect(used <= used_count, "more chunks are in use than are counted, or their list is a ring")
        expect(<uintptr_t>chunk & (CHUNK_BYTES - 1) == 0, "a chunk is not aligned")
        expect(chunk.older == NULL or chunk.older.newer == chunk, "the links of chunks in use disagree")
        expect(chunk.older == NULL or chunk.older.number < chunk.number, "a chunk is older than it says")
        expect(chunk == newest or chunk.code[LIVE_NODES] > 0, "an empty chunk was not recycled")
        chunk.arena.used -= 1
        chunk = chunk.older
    expect(used == used_count, "fewer chunks are in use than are counted")
    expect(free_chunks == NULL or free_chunks.newer == NULL, "the first free chunk has one before it")
    chunk = free_chunks
    while chunk != NULL:
        free += 1
        expect(free <= free_count, "more chunks are free than are counted, or their list is a ring")
        expect(chunk.older == NULL or chunk.older.newer == chunk, "the links of free chunks disagree")
        expect(chunk.extras == NULL, "a free chunk keeps Extras")
        expect(chunk.arena.used == 0 or used > 0, "an arena counts chunks that are not in use")
        chunk = chunk.older
    expect(free == free_count, "fewer chunks are free than are counted")
    expect(used + free == arena_count * ARENA_CHUNKS, "an arena's chunks are lost")
    chunk = newest
    while chunk != NULL:
        expect(chunk.arena.used == 0, "an arena counts another number of chunks than are in use")
        chunk = chunk.older
    chunk = newest
    while chunk != NULL:
        chunk.arena.used += 1
        chunk = chunk.older


cdef void check_age(Node *node, PyObject *operand) noexcept:
    """Check that an operand is older than its result, or is a leaf, which no sweep need visit.

    check_nodes() has put the chunks' ages into `newer`. The leaf that inspection makes of a constant is
    younger than its result.
    """
    cdef Chunk *chunk = chunk_of(node)
    cdef Chunk *other = chunk_of(operand)
    if not in_pool(operand) or code_of(<Node *>operand) <= CODE_FRESH:
        return
    if chunk == other:
        expect(slot_of(operand) < slot_of(node), "an operand is younger than its result")
    else:
        expect(<uintptr_t>other.newer > <uintptr_t>chunk.newer, "an operand is in a younger chunk")


cdef void check_ages(Node *node) noexcept:
    cdef PyObject *operand = operand_at(node, 0)
    cdef Py_ssize_t index = 0
    while operand != NULL:
        check_age(node, operand)
        index += 1
        operand = operand_at(node, index)


cdef Py_ssize_t check_nodes() noexcept:
    """Check every node of the pool and its age; return how many are irregular."""
    cdef Chunk *chunk = newest
    cdef Chunk *newer = NULL
    cdef Node *node
    cdef uint64_t alive
    cdef uintptr_t age = 0
    cdef Py_ssize_t irregular = 0
    cdef int slot
    while chunk != NULL:
        alive = check_chunk(chunk)
        while alive != 0:
            slot = highest_bit(alive)
            alive ^= (<uint64_t>1) << slot
            check_node(node_at(chunk, slot))
        chunk = chunk.older
    # While ages are compared, `newer` holds each chunk's age instead of a link.
    chunk = newest
    while chunk != NULL:
        chunk.newer = <Chunk *>age
        age += 1
        chunk = chunk.older
    chunk = newest
    while chunk != NULL:
        alive = handed_out(chunk)
        while alive != 0:
            slot = highest_bit(alive)
            alive ^= (<uint64_t>1) << slot
            node = node_at(chunk, slot)
            if node.head.refcount == 0:
                continue
            if is_irregular(node):
                irregular += 1
            else:
                check_ages(node)
        chunk = chunk.older
    chunk = newest
    while chunk != NULL:
        chunk.newer = newer
        newer = chunk
        chunk = chunk.older
    return irregular


cdef void check_pool() noexcept:
    """Check the whole pool. Foreign nodes are not seen, so irregular_count is only an upper bound."""
    check_links()
    expect(check_nodes() <= irregular_count, "more nodes are irregular than are counted")
    expect(draining or doomed == NULL, "nodes are queued to be freed, and nobody frees them")


cdef void check_after_backward() noexcept:
    """Called after a backward(): check the pool, a large one only after some calls."""
    global large_backwards
    if used_count > FEW_CHUNKS:
        large_backwards += 1
        if large_backwards % WALK_EVERY != 0:
            return
    check_pool()


if CHECKED:
    set_checks(check_made, check_freed, check_after_backward)

    def _check_invariants():
        """Walk every chunk and every node, and end the process at the first broken invariant."""
        import gc

        cdef Py_ssize_t irregular
        check_pool()
        irregular = check_nodes()
        # Nodes of subclasses are CPython's; it tracks all of them.
        for found in gc.get_objects():
            if is_value(<PyObject *>found) and not in_pool(<PyObject *>found):
                irregular += is_irregular(<Node *><PyObject *>found)
        expect(irregular == irregular_count, "the count of irregular nodes is wrong")
