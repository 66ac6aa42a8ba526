# The pool: nodes of 64 bytes in chunks of 4 KiB. Builds without the global interpreter lock have
# singles.pxi instead, which offers the same.

from libc.string cimport memset

from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree, PyMem_RawMalloc

cdef extern from "engine.src/node/platform.h":
    char *allocate_arena "fastgrad_allocate_arena"(size_t) noexcept
    void free_arena "fastgrad_free_arena"(void *, size_t) noexcept
    # For AddressSanitizer.
    void forbid "fastgrad_forbid"(void *, size_t) noexcept
    void allow "fastgrad_allow"(void *, size_t) noexcept

# The entries of a chunk's `code` that belong to no slot. LIVE_NODES: how many nodes are alive or not handed
# out yet. ALL_TRACKED: whether all computed nodes are known to be tracked.
cdef enum:
    LIVE_NODES = 0
    ALL_TRACKED = 1

cdef enum:
    CHUNK_BYTES = 4096
    ARENA_CHUNKS = 512
    # 64 MiB are kept for the next graph when one is freed; the rest goes back to the system.
    SPARE_CHUNKS = 16384

cdef struct Arena:
    char *memory
    Py_ssize_t used

cdef struct Chunk:
    Chunk *older
    Chunk *newer
    # The arena that the chunk is part of.
    Arena *arena
    PyObject **extras
    # How many chunks had been opened before.
    uint64_t number
    # Masks with a bit a slot: nodes without operands, nodes with Extras.
    uint64_t leaves
    uint64_t extended
    # Nodes that have passed their gradient on to their operands.
    uint64_t pulled
    unsigned char code[SLOTS]
    # Whether a search has reached the node. A byte each: through one word, each mark waits for the last.
    unsigned char reached[SLOTS]


cdef void check_chunk_layout() noexcept:
    # codegen chose this file for the Python that ran it.
    build_assert(POOL)
    # An object is its count of references and its type, a word each.
    build_assert(sizeof(PyObject) == 2 * sizeof(void *))
    build_assert(PLACE_OF_TYPE == sizeof(void *))
    # Pointers of 8 bytes fill the slots, those of 4 fit.
    build_assert(sizeof(Node) + HEAD_BYTES <= SLOT_BYTES)
    build_assert((sizeof(Node) + HEAD_BYTES == SLOT_BYTES) | (sizeof(void *) == 4))
    build_assert(sizeof(Chunk) <= FIRST_SLOT * SLOT_BYTES)
    build_assert((sizeof(Chunk) == FIRST_SLOT * SLOT_BYTES) | (sizeof(void *) == 4))
    build_assert(SLOTS * SLOT_BYTES == CHUNK_BYTES)


check_chunk_layout()

cdef char *next_slot = NULL
cdef Chunk *newest = NULL
cdef Chunk *free_chunks = NULL
cdef Py_ssize_t free_count = 0
cdef Py_ssize_t used_count = 0
cdef Py_ssize_t arena_count = 0
cdef uint64_t opened_count = 0


cdef inline Chunk *chunk_of(void *node) noexcept nogil:
    return <Chunk *>(<uintptr_t>node & ~<uintptr_t>(CHUNK_BYTES - 1))


cdef inline int slot_of(void *node) noexcept nogil:
    return <int>((<uintptr_t>node // SLOT_BYTES) & (SLOTS - 1))


cdef inline Node *node_at(Chunk *chunk, int slot) noexcept nogil:
    return <Node *>(<char *>chunk + slot * SLOT_BYTES + HEAD_BYTES)


cdef inline bint any_reached(Chunk *chunk) noexcept nogil:
    cdef uint64_t *words = <uint64_t *>chunk.reached
    cdef uint64_t found = 0
    cdef int index
    for index in range(SLOTS // 8):
        found |= words[index]
    return found != 0


cdef inline uint64_t bit_of(void *node) noexcept nogil:
    return (<uint64_t>1) << slot_of(node)


cdef inline void set_code(Node *node, int code) noexcept:
    """Set which operation a node is the result of; CODE_LEAF for none."""
    cdef Chunk *chunk = chunk_of(node)
    chunk.code[slot_of(node)] = <unsigned char>code
    if code <= CODE_FRESH:
        chunk.leaves |= bit_of(node)
    else:
        chunk.leaves &= ~bit_of(node)


cdef inline bint has_extras(Chunk *chunk, int slot) noexcept nogil:
    return (chunk.extended >> slot & 1) != 0


cdef inline PyObject *extras_at(Chunk *chunk, int slot) noexcept nogil:
    """The Extras of a node of the pool, borrowed, or NULL."""
    return chunk.extras[slot] if has_extras(chunk, slot) else NULL


cdef PyObject *put_extras(Node *node, PyObject *extras) except NULL:
    """Give a node Extras; return what it has then."""
    cdef Chunk *chunk = chunk_of(node)
    if chunk.extras == NULL:
        chunk.extras = <PyObject **>PyMem_RawCalloc(SLOTS, sizeof(PyObject *))
        if chunk.extras == NULL:
            raise MemoryError("no memory for the attributes of a Value")  # no cover: in `nox -s faults`
    chunk.extras[slot_of(node)] = extras
    chunk.extended |= bit_of(node)
    return extras


cdef inline void remove_extras(Node *node) noexcept:
    chunk_of(node).extended &= ~bit_of(node)
    chunk_of(node).extras[slot_of(node)] = NULL


cdef inline Node **place_of_next(Node *node) noexcept nogil:
    """Where a node without references has the next in a queue: in the place of its type."""
    return <Node **>&node.head.type


# -- making a node ----------------------------------------------------------------------------


cdef bint raw_memory_is_left() noexcept:
    cdef void *memory = PyMem_RawMalloc(1)
    PyMem_RawFree(memory)
    return memory != NULL


cdef Chunk *new_arena() noexcept:
    """Put the chunks of a new arena on the free list and return one of them, or NULL."""
    global free_chunks, free_count, arena_count
    cdef Arena *arena = <Arena *>PyMem_RawMalloc(sizeof(Arena))
    cdef Chunk *chunk
    cdef Py_ssize_t index
    if arena == NULL:
        return NULL  # no cover: 16 bytes that the system refuses
    arena.memory = NULL
    # The system gives the memory; asking Python first lets a test that replaces Python's allocators fail it.
    if not CHECKED or raw_memory_is_left():
        arena.memory = allocate_arena(ARENA_CHUNKS * CHUNK_BYTES)
    if arena.memory == NULL:
        PyMem_RawFree(arena)
        return NULL
    arena.used = 0
    arena_count += 1
    # From last to first, so that the list gives them in address order.
    for index in range(ARENA_CHUNKS - 1, -1, -1):
        chunk = <Chunk *>(arena.memory + index * CHUNK_BYTES)
        chunk.arena = arena
        chunk.extras = NULL
        memset(chunk.reached, 0, SLOTS)
        forbid_slots(chunk)
        push_free(chunk)
    return free_chunks


cdef inline void forbid_slots(Chunk *chunk) noexcept:
    forbid(<char *>chunk + FIRST_SLOT * SLOT_BYTES, CHUNK_BYTES - FIRST_SLOT * SLOT_BYTES)


cdef inline void push_free(Chunk *chunk) noexcept:
    global free_chunks, free_count
    chunk.newer = NULL
    chunk.older = free_chunks
    if free_chunks != NULL:
        free_chunks.newer = chunk
    free_chunks = chunk
    free_count += 1


cdef inline void remove_free(Chunk *chunk) noexcept:
    global free_chunks, free_count
    if chunk.newer != NULL:
        chunk.newer.older = chunk.older
    else:
        free_chunks = chunk.older
    if chunk.older != NULL:
        chunk.older.newer = chunk.newer
    free_count -= 1


cdef int open_chunk() except -1:
    """Make a free chunk the newest one, from which nodes are handed out."""
    global next_slot, newest, used_count, opened_count
    cdef Chunk *chunk = free_chunks
    if chunk == NULL:
        chunk = new_arena()
        if chunk == NULL:
            raise MemoryError("no memory for another Value")
    remove_free(chunk)
    chunk.arena.used += 1
    used_count += 1
    chunk.number = opened_count
    opened_count += 1
    chunk.leaves = chunk.extended = chunk.pulled = 0
    chunk.code[LIVE_NODES] = SLOTS - FIRST_SLOT
    chunk.code[ALL_TRACKED] = 0
    chunk.newer = NULL
    chunk.older = newest
    if newest != NULL:
        newest.newer = chunk
    newest = chunk
    next_slot = <char *>chunk + FIRST_SLOT * SLOT_BYTES
    return 0


cdef inline bint next_chunk_is_due() noexcept nogil:
    """Whether the newest chunk has no slot left, or there is no chunk yet: next_slot is a chunk's end."""
    return <uintptr_t>next_slot & (CHUNK_BYTES - 1) == 0


cdef inline Node *new_node(int code, double data) except NULL:
    """A node with one reference, no operands yet and a gradient of 0; untracked."""
    global next_slot
    cdef char *slot
    cdef Node *node
    if next_chunk_is_due():
        open_chunk()
    slot = next_slot
    next_slot = slot + SLOT_BYTES
    allow(slot, SLOT_BYTES)
    (<uintptr_t *>slot)[0] = 0
    (<uintptr_t *>slot)[1] = 0
    node = <Node *>(slot + HEAD_BYTES)
    node.head.refcount = 1
    node.head.type = value_type
    node.data = data
    node.grad = 0.0
    chunk_of(slot).code[slot_of(slot)] = <unsigned char>code
    if code <= CODE_FRESH:
        node.left = NULL
        chunk_of(slot).leaves |= bit_of(slot)
    return node


cdef inline uint64_t handed_out(Chunk *chunk) noexcept nogil:
    """The slots of a chunk that hold a node or held one."""
    cdef uint64_t slots = ~(<uint64_t>0) << FIRST_SLOT
    if chunk == newest and not next_chunk_is_due():
        slots &= bit_of(next_slot) - 1
    return slots


cdef inline bint is_youngest(Node *node) noexcept nogil:
    return <char *>node - HEAD_BYTES + SLOT_BYTES == next_slot


cdef inline bint is_younger(Node *node, Node *other) noexcept nogil:
    """Whether a node of the pool was made after another one."""
    if chunk_of(node) == chunk_of(other):
        return slot_of(node) > slot_of(other)
    return chunk_of(node).number > chunk_of(other).number


# -- freeing a node ---------------------------------------------------------------------------


cdef void release_arena(Arena *arena) noexcept:
    global arena_count
    cdef Py_ssize_t index
    for index in range(ARENA_CHUNKS):
        remove_free(<Chunk *>(arena.memory + index * CHUNK_BYTES))
    # Others may have these addresses next.
    allow(arena.memory, ARENA_CHUNKS * CHUNK_BYTES)
    free_arena(arena.memory, ARENA_CHUNKS * CHUNK_BYTES)
    PyMem_RawFree(arena)
    arena_count -= 1


cdef void recycle(Chunk *chunk) noexcept:
    """Take back an empty chunk: the newest is filled again from its start, others become free."""
    global next_slot, used_count
    expect(not any_reached(chunk), "an empty chunk has nodes that a search has reached")
    forbid_slots(chunk)
    if chunk == newest:
        chunk.leaves = chunk.pulled = 0
        chunk.code[LIVE_NODES] = SLOTS - FIRST_SLOT
        next_slot = <char *>chunk + FIRST_SLOT * SLOT_BYTES
        return
    if chunk.extras != NULL:
        PyMem_RawFree(chunk.extras)
        chunk.extras = NULL
    chunk.newer.older = chunk.older
    if chunk.older != NULL:
        chunk.older.newer = chunk.newer
    push_free(chunk)
    used_count -= 1
    chunk.arena.used -= 1
    if chunk.arena.used == 0 and free_count > SPARE_CHUNKS:
        release_arena(chunk.arena)


cdef inline void release_slot(Chunk *chunk) noexcept:
    # The slot's bit among the leaves stays as it is: the slot is not used before the chunk is empty.
    expect(chunk.code[LIVE_NODES] > 0, "a node that is not alive was freed")
    chunk.code[LIVE_NODES] -= 1
    if chunk.code[LIVE_NODES] == 0:
        recycle(chunk)


cdef inline void forget_other_threads() noexcept:
    """Nothing: one thread at a time runs, and all share the pool."""


def _pool_statistics():
    """Return the pool's counters: nodes alive, chunks in use and free, arenas, irregular nodes, searches.

    The last is how often backward() has ordered a graph by depth-first search.
    """
    cdef Py_ssize_t nodes = 0
    cdef Chunk *chunk = newest
    if not next_chunk_is_due():
        nodes -= SLOTS - slot_of(next_slot)
    while chunk != NULL:
        nodes += chunk.code[LIVE_NODES]
        chunk = chunk.older
    return {
        "nodes": nodes,
        "chunks_used": used_count,
        "chunks_free": free_count,
        "arenas": arena_count,
        "irregular": irregular_count,
        "searches": search_count,
    }
