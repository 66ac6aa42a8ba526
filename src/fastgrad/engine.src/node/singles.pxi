# For builds without the global interpreter lock. Their collector visits only what CPython allocated. So
# CPython allocates each node, with a chunk for itself alone, in which it has the first slot. Chunks are
# linked in the order of creation, so that everything else is as in chunks.pxi.

from cpython.mem cimport PyMem_RawFree

cdef extern from "Python.h":
    # What is extra lies behind the object, at tp_basicsize, and is freed with it.
    void *PyUnstable_Object_GC_NewWithExtraData(PyTypeObject *, size_t) noexcept
    void PyObject_GC_Del(void *) noexcept


cdef void check_build() noexcept:
    # Written by codegen for the Python that ran it.
    build_assert(not POOL)


check_build()

cdef Chunk *newest = NULL
cdef uint64_t made_count = 0
cdef Py_ssize_t live_count = 0


cdef inline Chunk *chunk_of(void *node) noexcept nogil:
    return <Chunk *>(<char *>node + value_type.tp_basicsize)


cdef inline int slot_of(void *node) noexcept nogil:
    return FIRST_SLOT


cdef inline Node *node_at(Chunk *chunk, int slot) noexcept nogil:
    return <Node *>(<char *>chunk - value_type.tp_basicsize)


cdef inline bint any_reached(Chunk *chunk) noexcept nogil:
    return chunk.reached[FIRST_SLOT]


cdef inline uint64_t bit_of(void *node) noexcept nogil:
    return (<uint64_t>1) << FIRST_SLOT


# -- making a node ----------------------------------------------------------------------------


cdef Node *new_node(int code, double data) except NULL:
    """A node with one reference, no operands yet and a gradient of 0; untracked."""
    global newest, made_count, live_count
    cdef Node *node = <Node *>PyUnstable_Object_GC_NewWithExtraData(value_type, sizeof(Chunk))
    cdef Chunk *chunk
    if node == NULL:
        raise MemoryError("no memory for another Value")
    # The rest of the node and of its chunk is zeros.
    node.data = data
    chunk = chunk_of(node)
    chunk.number = made_count
    chunk.code[FIRST_SLOT] = <unsigned char>code
    chunk.code[LIVE_NODES] = 1
    if code <= CODE_FRESH:
        chunk.leaves = bit_of(node)
    chunk.older = newest
    if newest != NULL:
        newest.newer = chunk
    newest = chunk
    made_count += 1
    live_count += 1
    return node


cdef inline uint64_t handed_out(Chunk *chunk) noexcept nogil:
    """The slots of a chunk that hold a node."""
    return (<uint64_t>1) << FIRST_SLOT


cdef inline bint is_youngest(Node *node) noexcept nogil:
    return chunk_of(node) == newest


cdef inline bint is_younger(Node *node, Node *other) noexcept nogil:
    """Whether a node of the pool was made after another one."""
    return chunk_of(node).number > chunk_of(other).number


# -- freeing a node ---------------------------------------------------------------------------


cdef void release_slot(Chunk *chunk) noexcept:
    global newest, live_count
    expect(not any_reached(chunk), "a node that a search has reached was freed")
    if chunk.newer != NULL:
        chunk.newer.older = chunk.older
    else:
        newest = chunk.older
    if chunk.older != NULL:
        chunk.older.newer = chunk.newer
    live_count -= 1
    PyMem_RawFree(chunk.extras)
    PyObject_GC_Del(node_at(chunk, FIRST_SLOT))


def _pool_statistics():
    """Return the pool's counters: nodes alive, chunks in use and free, arenas, irregular nodes, searches.

    The last is how often backward() has ordered a graph by depth-first search.
    """
    return {
        "nodes": live_count,
        "chunks_used": live_count,
        "chunks_free": 0,
        "arenas": 0,
        "irregular": irregular_count,
        "searches": search_count,
    }
