# Where nodes live. Everything that counts references by hand, casts pointers or knows CPython's
# object layout is in this file.
#
# A node is 64 bytes, one cache line: CPython's two-word collector head, then the Value itself.
# Nodes are handed out in address order from chunks of 4 KiB, and chunks are linked in the order
# in which they were opened, so creation order can be read off (chunk, slot). A slot is not used
# again before its whole chunk is empty. Operands exist before their results, so creation order is
# a topological order: backward() is one sweep from the root down the chunks.
#
# A node of a Python subclass is allocated by CPython, outside the pool ("foreign"). It is a leaf
# or a custom node, never the result of an operation of the table.
#
# What a pool node owns, by its code:
#     leaf                      nothing
#     table, NODE_NODE          left and right: references to Values
#     table, other kinds        left: a reference to a Value; right: a constant
#     ROW_CUSTOM                left: tuple of Values; right: the symbol, any object
#     ROW_LOCAL                 left: tuple of Values; right: tuple of floats, one a Value
#     ROW_INNER                 left: tuple (w1 .. wn) or (w1 .. wn, bias); right: tuple (x1 .. xn)
#     ROW_DOT                   the same where all of left are leaves, which need no visit
#     a reduction, three        left: tuple of Values; right: nothing
#     operands
# What a foreign node owns: left: NULL or a tuple of Values; right: NULL or its Extras.

from libc.stdint cimport uint64_t, uintptr_t
from libc.string cimport memset

from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree, PyMem_RawMalloc
from cpython.object cimport PyObject

from fastgrad.ops cimport *

cdef extern from *:
    """
    #if defined(Py_GIL_DISABLED)
    #error "fastgrad's pool of nodes needs the global interpreter lock"
    #endif
    #if UINTPTR_MAX != UINT64_MAX
    #error "fastgrad needs a 64-bit target"
    #endif

    #if defined(_MSC_VER)
    #include <intrin.h>
    static inline int fastgrad_highest_bit(uint64_t word) {
        unsigned long index;
        _BitScanReverse64(&index, word);
        return (int)index;
    }
    static inline void fastgrad_prefetch(const void *address) { (void)address; }
    #else
    static inline void fastgrad_prefetch(const void *address) { __builtin_prefetch(address); }
    static inline int fastgrad_highest_bit(uint64_t word) {
        return 63 - __builtin_clzll(word);
    }
    #endif

    #include <stdlib.h>
    #if defined(__linux__)
    #include <sys/mman.h>
    #endif
    /* Aligned to its size, which is that of a huge page: a page fault for every 4 KiB costs more
       than building the 62 nodes in it (7 us on a virtual machine, 0.1 us on bare metal). */
    static inline void *fastgrad_allocate_arena(size_t size) {
        void *memory = NULL;
    #if defined(_WIN32)
        memory = _aligned_malloc(size, size);
    #else
        if (posix_memalign(&memory, size, size) != 0) return NULL;
    #if defined(__linux__) && defined(MADV_HUGEPAGE)
        madvise(memory, size, MADV_HUGEPAGE);
    #endif
    #endif
        return memory;
    }
    static inline void fastgrad_free_arena(void *memory) {
    #if defined(_WIN32)
        _aligned_free(memory);
    #else
        free(memory);
    #endif
    }

    #ifdef FASTGRAD_ASSERTIONS
    #define fastgrad_expect(condition, message) \\
        do { if (!(condition)) Py_FatalError(message); } while (0)
    #else
    #define fastgrad_expect(condition, message) ((void)(message))
    #endif
    """
    int highest_bit "fastgrad_highest_bit"(uint64_t) noexcept nogil
    void prefetch "fastgrad_prefetch"(const void *) noexcept nogil
    void expect "fastgrad_expect"(bint, const char *) noexcept nogil
    char *allocate_arena "fastgrad_allocate_arena"(size_t) noexcept
    void free_arena "fastgrad_free_arena"(void *) noexcept
    # A cast that hands the caller's reference over to Cython.
    object owned "(PyObject *)"(void *)

cdef extern from "Python.h":
    ctypedef int (*visitproc)(PyObject *, void *) noexcept
    ctypedef struct PyTypeObject:
        PyObject *(*tp_alloc)(PyTypeObject *, Py_ssize_t) noexcept
        void (*tp_free)(void *) noexcept
        Py_ssize_t tp_dictoffset
    PyTypeObject *Py_TYPE(void *) noexcept nogil
    bint PyObject_TypeCheck(void *, PyTypeObject *) noexcept nogil
    bint PyObject_IS_GC(void *) noexcept nogil
    void PyObject_GC_Track(void *) noexcept
    void PyObject_GC_UnTrack(void *) noexcept
    void Py_INCREF(void *) noexcept
    void Py_DECREF(void *) noexcept
    void Py_XDECREF(void *) noexcept
    Py_ssize_t PyTuple_GET_SIZE(void *) noexcept nogil
    PyObject *PyTuple_GET_ITEM(void *, Py_ssize_t) noexcept nogil
    double PyFloat_AS_DOUBLE(void *) noexcept nogil

cdef enum:
    CHUNK_BYTES = 4096
    SLOT_BYTES = 64
    HEAD_BYTES = 16
    FIRST_SLOT = 3
    SLOTS = 64
    ARENA_CHUNKS = 512
    # 64 MiB are kept for the next graph when one is freed; the rest goes back to the system.
    SPARE_CHUNKS = 16384

# The entries of a chunk's `code` that belong to no slot: how many of its nodes are alive or not handed
# out yet, and whether the collector is known to know all that are computed.
cdef enum:
    LIVE_NODES = 0
    ALL_TRACKED = 1

cdef enum Kind:
    NODE_NODE
    NODE_CONSTANT
    CONSTANT_NODE
    NODE_INTEGER

cdef enum:
    CODE_LEAF = 0
    # Made by __new__, not yet by __init__.
    CODE_FRESH = 1

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
    # Masks with a bit a slot: nodes without operands, nodes with Extras.
    uint64_t leaves
    uint64_t extended
    # Nodes that have passed their gradient on to their operands.
    uint64_t pulled
    unsigned char code[SLOTS]
    # Whether a search has reached the node. A byte each: through one word, each mark waits for the last.
    unsigned char reached[SLOTS]

cdef PyTypeObject *value_type = NULL
cdef char *next_slot = NULL
cdef Chunk *newest = NULL
cdef Chunk *free_chunks = NULL
cdef Py_ssize_t free_count = 0
cdef Py_ssize_t used_count = 0
cdef Py_ssize_t arena_count = 0
# Live nodes that the sweep cannot serve: with a backward of the user's own, or younger operands.
cdef Py_ssize_t irregular_count = 0
# How often a node was tracked after it may have been used: tuples made before may hide it.
cdef Py_ssize_t late_tracks = 0
cdef Node *doomed = NULL
cdef Node *last_doomed = NULL
cdef bint draining = False


# -- reading a node ---------------------------------------------------------------------------


cdef inline bint in_pool(void *node) noexcept nogil:
    """Whether a Value is exactly a Value: then, and only then, its chunk's header describes it."""
    return Py_TYPE(node) == value_type


cdef inline bint is_value(void *candidate) noexcept nogil:
    return Py_TYPE(candidate) == value_type or PyObject_TypeCheck(candidate, value_type)


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


cdef inline int code_of(Node *node) noexcept:
    if in_pool(node):
        return chunk_of(node).code[slot_of(node)]
    if node.left == NULL:
        return CODE_LEAF
    if node.right.node != NULL and (<Extras>node.right.node).derivatives is not None:
        return ROW_LOCAL << 2
    return ROW_CUSTOM << 2


cdef inline bint owns_right(int code) noexcept nogil:
    cdef int row = code >> 2
    if row < ROW_TABLE_END:
        return row >= ROW_FIRST_BINARY and code & 3 == NODE_NODE
    return row < ROW_FIRST_REDUCTION


cdef inline PyObject *extras_of(Node *node) noexcept nogil:
    """The node's Extras, borrowed, or NULL."""
    cdef Chunk *chunk
    if not in_pool(node):
        return node.right.node
    chunk = chunk_of(node)
    if chunk.extended & bit_of(node):
        return chunk.extras[slot_of(node)]
    return NULL


cdef Extras require_extras(Node *node):
    """The node's Extras, made if it has none; MemoryError leaves the node as it was."""
    cdef PyObject *found = extras_of(node)
    cdef Extras extras
    cdef Chunk *chunk
    if found != NULL:
        return <Extras>found
    extras = Extras()
    if in_pool(node):
        chunk = chunk_of(node)
        if chunk.extras == NULL:
            chunk.extras = <PyObject **>PyMem_RawCalloc(SLOTS, sizeof(PyObject *))
            if chunk.extras == NULL:
                raise MemoryError("no memory for the attributes of a Value")
        chunk.extras[slot_of(node)] = <PyObject *>extras
        chunk.extended |= bit_of(node)
    else:
        node.right.node = <PyObject *>extras
    Py_INCREF(<PyObject *>extras)
    return extras


cdef inline void prefetch_operands(Node *node) noexcept nogil:
    """Have the operands' cache lines fetched; whatever the slot holds, a prefetch cannot fault."""
    prefetch(node.left)
    prefetch(node.right.node)


# -- making a node ----------------------------------------------------------------------------


cdef Chunk *new_arena() noexcept:
    """Put the chunks of a new arena on the free list and return one of them, or NULL."""
    global free_chunks, free_count, arena_count
    cdef Arena *arena = <Arena *>PyMem_RawMalloc(sizeof(Arena))
    cdef Chunk *chunk
    cdef Py_ssize_t index
    if arena == NULL:
        return NULL
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
        push_free(chunk)
    return free_chunks


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
    global next_slot, newest, used_count
    cdef Chunk *chunk = free_chunks
    if chunk == NULL:
        chunk = new_arena()
        if chunk == NULL:
            raise MemoryError("no memory for another Value")
    remove_free(chunk)
    chunk.arena.used += 1
    used_count += 1
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
    (<uintptr_t *>slot)[0] = 0
    (<uintptr_t *>slot)[1] = 0
    node = <Node *>(slot + HEAD_BYTES)
    node.refcount = 1
    node.type = value_type
    node.data = data
    node.grad = 0.0
    chunk_of(slot).code[slot_of(slot)] = <unsigned char>code
    if code <= CODE_FRESH:
        chunk_of(slot).leaves |= bit_of(slot)
    return node


cdef inline void track(void *node) noexcept:
    if not is_tracked(node):
        PyObject_GC_Track(node)


cdef inline void set_left(Node *node, void *operand) noexcept:
    """Take a reference; what the collector sees of an operand it must see of the result."""
    Py_INCREF(operand)
    node.left = <PyObject *>operand
    if is_tracked(operand):
        track(node)


cdef inline void set_right(Node *node, void *operand) noexcept:
    """Like set_left, for the second operand."""
    Py_INCREF(operand)
    node.right.node = <PyObject *>operand
    if is_tracked(operand):
        track(node)


cdef inline Node *binary_node(int code, double data, void *left, void *right) except NULL:
    """A computed node of two Values or tuples, whose references may be counted without Python's macros."""
    cdef Node *node = new_node(code, data)
    (<Node *>left).refcount += 1
    (<Node *>right).refcount += 1
    node.left = <PyObject *>left
    node.right.node = <PyObject *>right
    if is_tracked(left) or is_tracked(right):
        PyObject_GC_Track(node)
    return node


cdef inline object new_binary(int code, double data, Node *left, Node *right):
    return owned(binary_node(code, data, left, right))


cdef inline object new_unary(int code, double data, Node *operand, double constant):
    """A computed node of one Value and perhaps a constant."""
    cdef Node *node = new_node(code, data)
    operand.refcount += 1
    node.left = <PyObject *>operand
    node.right.constant = constant
    if is_tracked(operand):
        PyObject_GC_Track(node)
    return owned(node)


cdef inline void track_tuple(PyObject *operands) noexcept:
    if not is_tracked(operands):
        PyObject_GC_Track(operands)


cdef inline uint64_t handed_out(Chunk *chunk) noexcept nogil:
    """The slots of a chunk that hold a node or held one."""
    cdef uint64_t slots = ~(<uint64_t>0) << FIRST_SLOT
    if chunk == newest and not next_chunk_is_due():
        slots &= bit_of(next_slot) - 1
    return slots


cdef void track_computed(Chunk *chunk, uint64_t slots) noexcept:
    """Track those of a chunk's computed nodes that are alive, with their tuples of operands."""
    cdef Node *node
    cdef int slot, row
    slots &= handed_out(chunk) & ~chunk.leaves
    while slots != 0:
        slot = highest_bit(slots)
        slots ^= (<uint64_t>1) << slot
        node = node_at(chunk, slot)
        if node.refcount == 0:
            continue
        track(node)
        row = chunk.code[slot] >> 2
        if row >= ROW_TABLE_END:
            track_tuple(node.left)
        if row == ROW_DOT or row == ROW_INNER:
            track_tuple(node.right.node)


cdef void track_used(Node *node) noexcept:
    """Track a node after it may have been used.

    What was computed from it is younger and may now be part of a cycle through it; a node that the
    collector does not know would hide that cycle. Chunks are remembered, so that nodes may be
    tracked one by one in any order.
    """
    global late_tracks
    cdef Chunk *chunk = newest
    if is_tracked(node):
        return
    PyObject_GC_Track(node)
    late_tracks += 1
    if not in_pool(node):
        return
    while chunk != chunk_of(node):
        if not chunk.code[ALL_TRACKED]:
            track_computed(chunk, ~(<uint64_t>0))
            chunk.code[ALL_TRACKED] = chunk != newest
        chunk = chunk.older
    if not chunk.code[ALL_TRACKED]:
        track_computed(chunk, ~(2 * bit_of(node) - 1))


cdef inline void track_holder(Node *node, object held) noexcept:
    """Track a node that was given an object which may lead back to it."""
    if PyObject_IS_GC(<PyObject *>held):
        track_used(node)


cdef inline bint is_youngest(Node *node) noexcept nogil:
    return <char *>node - HEAD_BYTES + SLOT_BYTES == next_slot


cdef tuple values_tuple(object values):
    """A new tuple that the collector sees only if it must: untracked when none of its Values is."""
    cdef tuple result = tuple(values)
    cdef Py_ssize_t index
    for index in range(PyTuple_GET_SIZE(<PyObject *>result)):
        if is_tracked(PyTuple_GET_ITEM(<PyObject *>result, index)):
            return result
    if PyTuple_GET_SIZE(<PyObject *>result):
        PyObject_GC_UnTrack(<PyObject *>result)
    return result


cdef int mark_irregular(Node *node) except -1:
    """Have backward() order graphs by depth-first search for as long as this node lives."""
    global irregular_count
    cdef Extras extras = require_extras(node)
    if not extras.irregular:
        extras.irregular = True
        irregular_count += 1
    return 0


# -- freeing a node ---------------------------------------------------------------------------


cdef void release_arena(Arena *arena) noexcept:
    global arena_count
    cdef Py_ssize_t index
    for index in range(ARENA_CHUNKS):
        remove_free(<Chunk *>(arena.memory + index * CHUNK_BYTES))
    free_arena(arena.memory)
    PyMem_RawFree(arena)
    arena_count -= 1


cdef void recycle(Chunk *chunk) noexcept:
    """Take back an empty chunk: the newest is filled again from its start, others become free."""
    global next_slot, used_count
    expect(not any_reached(chunk), "an empty chunk has nodes that a search has reached")
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


cdef void drop_extras(Node *node) noexcept:
    """Detach and release the node's Extras; may run the user's code."""
    global irregular_count
    cdef Chunk *chunk
    cdef PyObject *extras = extras_of(node)
    if extras == NULL:
        return
    if in_pool(node):
        chunk = chunk_of(node)
        chunk.extended &= ~bit_of(node)
        chunk.extras[slot_of(node)] = NULL
    else:
        node.right.node = NULL
    if (<Extras>extras).irregular:
        (<Extras>extras).irregular = False
        irregular_count -= 1
    Py_DECREF(extras)


cdef inline void doom(Node *node) noexcept:
    """Queue a pool node without references; the queue is linked through the type field.

    First in, first out: a layered graph is then freed layer by layer, near where it was last, and by
    the time a node is freed its operands are in the cache (1e6 nodes: 53 -> 31 ns each).
    """
    global doomed, last_doomed
    prefetch_operands(node)
    node.type = NULL
    if doomed == NULL:
        doomed = node
    else:
        last_doomed.type = <PyTypeObject *>node
    last_doomed = node


cdef inline void drop(PyObject *reference) noexcept:
    """Give up a reference to an operand: a Value of the pool, a foreign one, a tuple, an object."""
    if Py_TYPE(reference) == value_type:
        (<Node *>reference).refcount -= 1
        if (<Node *>reference).refcount == 0:
            doom(<Node *>reference)
    else:
        Py_DECREF(reference)


cdef inline void free_node(Node *node) noexcept:
    """Free a node of the pool without references and give up what it owned."""
    cdef Chunk *chunk = chunk_of(node)
    cdef int slot = slot_of(node)
    cdef int code = chunk.code[slot]
    cdef PyObject *left = node.left
    cdef PyObject *right = node.right.node
    expect(chunk.code[LIVE_NODES] > 0 and slot >= FIRST_SLOT, "a node that is not alive was freed")
    if is_tracked(node):
        PyObject_GC_UnTrack(node)
    if chunk.extended >> slot & 1:
        node.type = value_type
        drop_extras(node)
    release_slot(chunk)
    if code > CODE_FRESH:
        drop(left)
        if owns_right(code):
            drop(right)


cdef void deallocate(PyObject *self) noexcept:
    """tp_dealloc. A graph is freed by a loop: what is dropped inside it only joins the queue."""
    global doomed, draining
    cdef Node *node = <Node *>self
    if not in_pool(self):
        deallocate_foreign(node)
        return
    if draining:
        doom(node)
        return
    draining = True
    free_node(node)
    while doomed != NULL:
        node = doomed
        doomed = <Node *>node.type
        free_node(node)
    draining = False


cdef void deallocate_foreign(Node *node) noexcept:
    PyObject_GC_UnTrack(node)
    clear_node(<PyObject *>node)
    node.type.tp_free(node)


cdef int traverse_node(PyObject *self, visitproc visit, void *arg) noexcept:
    """tp_traverse: the references in the table at the top of this file."""
    cdef Node *node = <Node *>self
    cdef PyObject *extras = extras_of(node)
    cdef int code = code_of(node)
    cdef int stop = 0
    if extras != NULL:
        stop = visit(extras, arg)
    if not stop and code > CODE_FRESH:
        stop = visit(node.left, arg)
        if not stop and in_pool(node) and owns_right(code):
            stop = visit(node.right.node, arg)
    return stop


cdef int clear_node(PyObject *self) noexcept:
    """tp_clear: make the node a leaf without attributes, then give up what it owned."""
    cdef Node *node = <Node *>self
    cdef int code = code_of(node)
    cdef PyObject *left = node.left
    cdef PyObject *right = node.right.node
    drop_extras(node)
    if code <= CODE_FRESH:
        return 0
    if in_pool(node):
        chunk_of(node).code[slot_of(node)] = CODE_LEAF
        chunk_of(node).leaves |= bit_of(node)
    node.left = NULL
    Py_DECREF(left)
    if in_pool(node) and owns_right(code):
        Py_DECREF(right)
    return 0


def _pool_statistics():
    """Return the pool's counters: nodes alive, chunks in use and free, arenas, irregular nodes."""
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
    }
