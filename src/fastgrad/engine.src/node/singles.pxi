# For builds without the global interpreter lock. Their collector visits only what CPython allocated. So
# CPython allocates each node, with a chunk for itself alone, in which it has the only slot. No list holds the
# nodes: a thread makes nodes, and frees its own and other threads', without a lock. A freed node is kept for
# the next one that its thread makes, as CPython keeps tuples.
#
# A node's number grows with its age among the nodes of a thread.

from libc.string cimport memset

from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc

cdef extern from "Python.h":
    # The extra data lies behind the object, at tp_basicsize, and is freed with it.
    void *PyUnstable_Object_GC_NewWithExtraData(PyTypeObject *, size_t) noexcept
    void PyObject_GC_Del(void *) noexcept
    bint PyUnstable_TryIncRef(PyObject *) noexcept
    void PyUnstable_EnableTryIncRef(PyObject *) noexcept
    ctypedef struct PyMutex:
        pass
    void PyMutex_Lock(PyMutex *) noexcept
    void PyMutex_Unlock(PyMutex *) noexcept

cdef extern from "engine.src/node/thread_state.h":
    Node *spare "fastgrad_here.spare"
    Py_ssize_t spare_count "fastgrad_here.spare_count"
    Py_ssize_t spare_limit "fastgrad_here.spare_limit"
    uint64_t next_number "fastgrad_here.next_number"
    uint64_t end_of_numbers "fastgrad_here.end_of_numbers"
    uint32_t thread_id "fastgrad_here.id"
    bint may_keep_more "fastgrad_may_keep_more"() noexcept
    void revive "fastgrad_revive"(PyObject *) noexcept
    enum:
        NUMBERS "FASTGRAD_NUMBERS"
    PyMutex traced_lock "fastgrad_traced_lock"
    void draw_numbers "fastgrad_draw_numbers"() noexcept
    void enter_thread "fastgrad_enter_thread"() noexcept
    void count_node "fastgrad_count_node"(Py_ssize_t) noexcept
    Py_ssize_t count_nodes "fastgrad_count_nodes"() noexcept
    uint32_t claimed "fastgrad_claimed"(const uint32_t *) noexcept nogil
    bint claim "fastgrad_claim"(uint32_t *, uint32_t) noexcept nogil
    void forget_other_threads "fastgrad_forget_other_threads"() noexcept
    void (*free_spare "fastgrad_free_spare")() noexcept

cdef union Link:
    # For a node without references: the next in a queue or among the spare nodes.
    Node *next
    # For a leaf: the thread that adds to its gradient; 0 before the first.
    uint32_t user

cdef struct Chunk:
    uint64_t number
    PyObject *extras
    Link link
    # The place, from 1, among the nodes that the traced function made; else 0.
    uint32_t traced
    unsigned char code[SLOTS]
    # Whether a sweep or a search has reached the node.
    unsigned char reached[SLOTS]
    # Whether a backward() that is collecting nodes has found the node.
    unsigned char collected
    # Whether the node has passed its gradient on to its operands.
    unsigned char pulled


cdef void check_build() noexcept:
    # codegen chose this file for the Python that ran it.
    build_assert(not POOL)
    build_assert(sizeof(Chunk) <= 32)


check_build()


cdef inline Chunk *chunk_of(void *node) noexcept nogil:
    return <Chunk *>(<char *>node + sizeof(Node))


cdef inline int slot_of(void *node) noexcept nogil:
    return FIRST_SLOT


cdef inline uint64_t bit_of(void *node) noexcept nogil:
    return 1


cdef inline void set_code(Node *node, int code) noexcept:
    """Set which operation a node is the result of; CODE_LEAF for none."""
    chunk_of(node).code[FIRST_SLOT] = <unsigned char>code


cdef inline bint has_extras(Chunk *chunk, int slot) noexcept nogil:
    return published(&chunk.extras) != NULL


cdef inline PyObject *extras_at(Chunk *chunk, int slot) noexcept nogil:
    """The Extras of a node, borrowed, or NULL."""
    return published(&chunk.extras)


cdef inline PyObject *put_extras(Node *node, PyObject *extras) except NULL:
    """Give a node Extras; return what it has then: another thread's, if that came first."""
    return publish(&chunk_of(node).extras, extras)


cdef inline void remove_extras(Node *node) noexcept:
    chunk_of(node).extras = NULL


cdef inline Node **place_of_next(Node *node) noexcept nogil:
    """Where a node without references has the next in a queue."""
    return &chunk_of(node).link.next


# -- the nodes that the traced function made -----------------------------------------------------

# One function is traced at a time. Others may free what it made.
cdef Node **traced_nodes = NULL
cdef uint32_t traced_count = 0
cdef uint32_t traced_room = 0


cdef int note_traced(Node *node) except -1:
    """Remember a node that the traced function made, for as long as it lives."""
    global traced_nodes, traced_count, traced_room
    cdef Node **grown
    cdef bint fits
    # Without this, PyUnstable_TryIncRef() in living_traced() fails for objects of other threads.
    PyUnstable_EnableTryIncRef(<PyObject *>node)
    PyMutex_Lock(&traced_lock)
    if traced_count == traced_room:
        grown = <Node **>PyMem_RawRealloc(traced_nodes, (2 * <size_t>traced_room + 1024) * sizeof(Node *))
        if grown != NULL:
            traced_nodes = grown
            traced_room = 2 * traced_room + 1024
    fits = traced_count < traced_room
    if fits:
        traced_nodes[traced_count] = node
        traced_count += 1
        chunk_of(node).traced = traced_count
    PyMutex_Unlock(&traced_lock)
    if not fits:
        raise MemoryError("no memory for another Value")
    return 0


cdef void forget_traced(Node *node) noexcept:
    PyMutex_Lock(&traced_lock)
    if chunk_of(node).traced != 0:
        traced_nodes[chunk_of(node).traced - 1] = NULL
    PyMutex_Unlock(&traced_lock)


# -- making a node ----------------------------------------------------------------------------


cdef Node *allocate_node() noexcept:
    cdef Node *node
    if thread_id == 0:
        enter_thread()
    node = <Node *>PyUnstable_Object_GC_NewWithExtraData(value_type, sizeof(Chunk))
    if node != NULL:
        count_node(1)
    return node


cdef inline Node *new_node(int code, double data) except NULL:
    """A node with one reference, no operands yet and a gradient of 0; untracked."""
    global spare, spare_count, next_number
    cdef Node *node = spare
    cdef Chunk *chunk
    if node != NULL:
        spare = chunk_of(node).link.next
        spare_count -= 1
        count_node(1)
        revive(<PyObject *>node)
    else:
        node = allocate_node()
        if node == NULL:
            raise MemoryError("no memory for another Value")
    if next_number == end_of_numbers:
        draw_numbers()
    node.data = data
    node.grad = 0.0
    node.left = NULL
    node.right.node = NULL
    chunk = chunk_of(node)
    chunk.number = next_number
    next_number += 1
    chunk.extras = NULL
    chunk.link.next = NULL
    chunk.traced = 0
    chunk.code[FIRST_SLOT] = <unsigned char>code
    chunk.reached[FIRST_SLOT] = False
    chunk.collected = False
    chunk.pulled = False
    if tracing:
        note_new(node)
    return node


cdef int note_new(Node *node) except -1:
    try:
        note_traced(node)
    except MemoryError:
        chunk_of(node).code[FIRST_SLOT] = <unsigned char>CODE_LEAF
        release_slot(chunk_of(node))
        raise
    return 0


cdef inline bint is_youngest(Node *node) noexcept nogil:
    """Whether this thread made the node last of all."""
    return chunk_of(node).number + 1 == next_number


cdef inline bint is_younger(Node *node, Node *other) noexcept nogil:
    """Whether this thread made a node after another one that it made."""
    cdef uint64_t number = chunk_of(node).number
    cdef uint64_t block = number // NUMBERS
    if number <= chunk_of(other).number:
        return False
    # Numbers between the two blocks may be this thread's or another's.
    return number < next_number and (
        block == chunk_of(other).number // NUMBERS or block == (next_number - 1) // NUMBERS
        or next_number - chunk_of(other).number > 2 * NUMBERS
    )


# -- freeing a node ---------------------------------------------------------------------------


cdef void release_slot(Chunk *chunk) noexcept:
    global spare, spare_count
    cdef Node *node = <Node *>(<char *>chunk - sizeof(Node))
    if chunk.traced != 0:
        forget_traced(node)
    count_node(-1)
    if spare_count < spare_limit or may_keep_more():
        chunk.link.next = spare
        spare = node
        spare_count += 1
    else:
        PyObject_GC_Del(node)


cdef void release_spare() noexcept:
    """Free the thread's spare nodes, as it ends."""
    global spare, spare_count
    cdef Node *node
    while spare != NULL:
        node = spare
        spare = chunk_of(node).link.next
        PyObject_GC_Del(node)
    spare_count = 0


free_spare = release_spare


def _pool_statistics():
    """Return the pool's counters: nodes alive, chunks in use and free, arenas, irregular nodes, searches.

    The last is how often backward() has ordered a graph by depth-first search.
    """
    cdef Py_ssize_t nodes = count_nodes()
    return {
        "nodes": nodes,
        "chunks_used": nodes,
        "chunks_free": 0,
        "arenas": 0,
        "irregular": counted(&irregular_count),
        "searches": search_count,
    }
