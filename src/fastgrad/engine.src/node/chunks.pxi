# The pool: nodes of 64 bytes in chunks of 4 KiB. Builds without the global interpreter lock have
# singles.pxi instead, which offers the same.

cdef extern from *:
    """
    #if defined(Py_GIL_DISABLED)
    #error "fastgrad's pool of nodes needs the global interpreter lock: run setup.py with this interpreter"
    #endif

    #include <stdlib.h>
    #if defined(__linux__)
    #include <sys/mman.h>
    #endif
    /* Aligned to its size, which is that of a huge page: a page fault for every 4 KiB costs more
       than building the 61 nodes in it (7 us on a virtual machine, 0.1 us on bare metal).

       From the system, as malloc would use a page more for its own header. Memcheck can tell what was
       never written only of what malloc gave: `nox -s valgrind` builds with FASTGRAD_ARENAS_FROM_MALLOC. */
    #if defined(_WIN32)
    static inline void *fastgrad_allocate_arena(size_t size) {
        return _aligned_malloc(size, size);
    }
    static inline void fastgrad_free_arena(void *memory, size_t size) {
        (void)size;
        _aligned_free(memory);
    }
    #elif defined(__linux__) && !defined(FASTGRAD_ARENAS_FROM_MALLOC)
    static inline void *fastgrad_allocate_arena(size_t size) {
        const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
        char *memory = (char *)mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, flags, -1, 0);
        size_t before;
        if ((void *)memory == MAP_FAILED) return NULL;
        before = (size_t)(-(uintptr_t)memory & (size - 1));
        if (before != 0) munmap(memory, before);
        munmap(memory + before + size, size - before);
    #if defined(MADV_HUGEPAGE)
        madvise(memory + before, size, MADV_HUGEPAGE);
    #endif
        return memory + before;
    }
    static inline void fastgrad_free_arena(void *memory, size_t size) {
        munmap(memory, size);
    }
    #else
    static inline void *fastgrad_allocate_arena(size_t size) {
        void *memory = NULL;
        return posix_memalign(&memory, size, size) == 0 ? memory : NULL;
    }
    static inline void fastgrad_free_arena(void *memory, size_t size) {
        (void)size;
        free(memory);
    }
    #endif
    """
    char *allocate_arena "fastgrad_allocate_arena"(size_t) noexcept
    void free_arena "fastgrad_free_arena"(void *, size_t) noexcept

cdef enum:
    CHUNK_BYTES = 4096
    SLOT_BYTES = 64
    HEAD_BYTES = 16
    FIRST_SLOT = 3
    SLOTS = 64
    ARENA_CHUNKS = 512
    # 64 MiB are kept for the next graph when one is freed; the rest goes back to the system.
    SPARE_CHUNKS = 16384

cdef struct Node:
    Py_ssize_t refcount
    PyTypeObject *type
    double data
    double grad
    PyObject *left
    Operand right

cdef struct Arena:
    char *memory
    Py_ssize_t used

cdef struct Chunk:
    Chunk *older
    Chunk *newer
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

cdef extern from "Python.h":
    # Ends the compilation unless the condition holds.
    void build_assert "Py_BUILD_ASSERT"(bint) noexcept


cdef void check_layout() noexcept:
    build_assert(sizeof(Node) + HEAD_BYTES == SLOT_BYTES)
    build_assert(sizeof(Chunk) == FIRST_SLOT * SLOT_BYTES)
    build_assert(SLOTS * SLOT_BYTES == CHUNK_BYTES)
    # A node's code is a byte, and 255 is CODE_FREED.
    build_assert(ROW_END << 2 <= 255)


check_layout()

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


cdef inline bint is_tracked(void *node) noexcept nogil:
    """Whether the cycle collector knows the node: the first word of its head is then not 0."""
    return (<uintptr_t *>(<char *>node - HEAD_BYTES))[0] != 0


cdef inline void take(void *reference) noexcept:
    """Count one more reference to a Value or a tuple, neither of which is ever immortal."""
    (<Node *>reference).refcount += 1


cdef inline bint give_up(Node *node) noexcept:
    """Count one reference less; whether the caller is to doom the node, that having been the last."""
    node.refcount -= 1
    return node.refcount == 0


cdef inline bint is_alive(Node *node) noexcept nogil:
    return node.refcount != 0


cdef inline void set_next(Node *node, Node *next) noexcept:
    """Link the queue of nodes to be freed, through the type field."""
    node.type = <PyTypeObject *>next


cdef inline Node *next_of(Node *node) noexcept:
    return <Node *>node.type


cdef inline void restore_type(Node *node) noexcept:
    """What set_next overwrote."""
    node.type = value_type


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
    # Without, a test that replaces Python's allocators could not fail this one.
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
    node.refcount = 1
    node.type = value_type
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
    # Whoever has these addresses next.
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
    chunk.code[LIVE_NODES] -= 1
    if chunk.code[LIVE_NODES] == 0:
        recycle(chunk)


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


include "invariants.pxi"
