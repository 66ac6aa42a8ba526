# Where nodes live. Everything that counts references by hand, casts pointers or knows CPython's
# object layout is in this file and in chunks.pxi, which gives nodes their memory.
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
#     leaf                      nothing; left is NULL
#     table, NODE_NODE          left and right: references to Values
#     table, other kinds        left: a reference to a Value; right: a constant
#     ROW_CUSTOM                left: tuple of Values; right: the symbol, any object
#     ROW_LOCAL                 left: tuple of Values; right: tuple of floats, one a Value
#     ROW_INNER                 left: tuple (w1 .. wn) or (w1 .. wn, bias); right: tuple (x1 .. xn)
#     ROW_DOT                   the same where all of left are leaves, which need no visit
#     a reduction, three        left: tuple of Values; right: nothing
#     operands
# What a foreign node owns: left: NULL or a tuple of Values; right: NULL or its Extras.
#
# The collector need not know a node from which nothing leads to an object that it knows: no cycle goes
# through it. So a node is untracked until it holds an object of the user's or has a tracked operand. Tuples
# are tracked as CPython makes them: one that outlives its node, or that a layer remembers, can be part of a
# cycle of its own, so whether a node is tracked is decided by the Values in its tuples, not by the tuples.

from cython cimport internal
from libc.stdint cimport uint64_t, uintptr_t
from libc.string cimport memset

from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree, PyMem_RawMalloc
from cpython.object cimport PyObject

from fastgrad.ops cimport *

cdef extern from *:
    """
    #if UINTPTR_MAX != UINT64_MAX
    #error "fastgrad needs a 64-bit target"
    #endif
    /* Such builds of CPython have more words before an object, or a table of all objects. */
    #if defined(Py_TRACE_REFS)
    #error "fastgrad's nodes have no room for what Py_TRACE_REFS keeps"
    #endif

    #if defined(_MSC_VER)
    #include <intrin.h>
    static inline int fastgrad_highest_bit(uint64_t word) {
        unsigned long index;
        _BitScanReverse64(&index, word);
        return (int)index;
    }
    static inline void fastgrad_prefetch(const void *address) { (void)address; }
    static inline void fastgrad_prefetch_early(const void *address) { (void)address; }
    #else
    static inline void fastgrad_prefetch(const void *address) { __builtin_prefetch(address); }
    /* Into the second-level cache: the first waits for some 20 lines at a time, and no more. */
    static inline void fastgrad_prefetch_early(const void *address) { __builtin_prefetch(address, 0, 2); }
    static inline int fastgrad_highest_bit(uint64_t word) {
        return 63 - __builtin_clzll(word);
    }
    #endif

    #ifdef FASTGRAD_ASSERTIONS
    #define FASTGRAD_CHECKED 1
    #define fastgrad_expect(condition, message) \\
        do { if (!(condition)) Py_FatalError(message); } while (0)
    static void (*fastgrad_check_made)(void *);
    #define fastgrad_set_checker(function) (fastgrad_check_made = (function))
    static PyObject *fastgrad_owned(void *node) {
        fastgrad_check_made(node);
        return (PyObject *)node;
    }
    #else
    #define FASTGRAD_CHECKED 0
    #define fastgrad_expect(condition, message) ((void)(condition), (void)(message))
    #define fastgrad_set_checker(function) ((void)(function))
    #define fastgrad_owned(node) ((PyObject *)(node))
    #endif

    /* AddressSanitizer knows nothing of the pool: it is told which slots hold no node. */
    #if defined(__SANITIZE_ADDRESS__)
    #include <sanitizer/asan_interface.h>
    #define fastgrad_forbid(memory, size) ASAN_POISON_MEMORY_REGION(memory, size)
    #define fastgrad_allow(memory, size) ASAN_UNPOISON_MEMORY_REGION(memory, size)
    #else
    #define fastgrad_forbid(memory, size) ((void)(memory))
    #define fastgrad_allow(memory, size) ((void)(memory))
    #endif
    """
    int highest_bit "fastgrad_highest_bit"(uint64_t) noexcept nogil
    void prefetch "fastgrad_prefetch"(const void *) noexcept nogil
    void prefetch_early "fastgrad_prefetch_early"(const void *) noexcept nogil
    void expect "fastgrad_expect"(bint, const char *) noexcept nogil
    # A cast that hands the caller's reference to a finished node over to Cython.
    object owned "fastgrad_owned"(void *)
    # Whether this build checks what invariants.pxi says.
    bint CHECKED "FASTGRAD_CHECKED"
    void set_checker "fastgrad_set_checker"(void (*)(void *) noexcept) noexcept
    void forbid "fastgrad_forbid"(void *, size_t) noexcept
    void allow "fastgrad_allow"(void *, size_t) noexcept

cdef extern from "Python.h":
    ctypedef int (*visitproc)(PyObject *, void *) noexcept
    ctypedef struct PyTypeObject:
        PyObject *(*tp_alloc)(PyTypeObject *, Py_ssize_t) noexcept
        unsigned int tp_version_tag
        void *tp_iter
        void (*tp_free)(void *) noexcept
        Py_ssize_t tp_basicsize
        Py_ssize_t tp_dictoffset
    PyTypeObject *Py_TYPE(void *) noexcept nogil
    bint PyObject_TypeCheck(void *, PyTypeObject *) noexcept nogil
    bint PyObject_IS_GC(void *) noexcept nogil
    bint PyTuple_CheckExact(void *) noexcept nogil
    void PyObject_GC_Track(void *) noexcept
    void PyObject_GC_UnTrack(void *) noexcept
    void Py_INCREF(void *) noexcept
    void Py_DECREF(void *) noexcept
    void Py_XDECREF(void *) noexcept
    Py_ssize_t Py_REFCNT(void *) noexcept nogil
    Py_ssize_t PyTuple_GET_SIZE(void *) noexcept nogil
    PyObject *PyTuple_GET_ITEM(void *, Py_ssize_t) noexcept nogil
    double PyFloat_AS_DOUBLE(void *) noexcept nogil

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

cdef PyTypeObject *value_type = NULL
# Live nodes that the sweep cannot serve: with a backward of the user's own, or younger operands.
cdef Py_ssize_t irregular_count = 0
# Those among them that are leaves, or may have been when they were used.
cdef Py_ssize_t irregular_leaf_count = 0
# How many backward() were ordered by depth-first search.
cdef Py_ssize_t search_count = 0
# How often a node was tracked or given operands after it may have been used: see Rows.
cdef Py_ssize_t late_tracks = 0
cdef Node *doomed = NULL
cdef Node *last_doomed = NULL
cdef bint draining = False
# Whether this is a new process in which a node is half freed, by a thread that is not in it.
cdef bint abandoned = False

# Made by codegen/render.py: chunks.pxi or, for a build without the global interpreter lock, singles.pxi.
include "../generated/memory.pxi"


# -- reading a node ---------------------------------------------------------------------------


cdef inline bint in_pool(void *node) noexcept nogil:
    """Whether a Value is exactly a Value: then, and only then, its chunk's header describes it."""
    return Py_TYPE(node) == value_type


cdef inline bint is_value(void *candidate) noexcept nogil:
    return Py_TYPE(candidate) == value_type or PyObject_TypeCheck(candidate, value_type)


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


@internal
cdef class Extras:
    """What few nodes have: a label, a symbol, a backward or attributes given by the user."""

    cdef dict attributes
    cdef object backward
    cdef object label
    cdef object symbol
    cdef tuple derivatives
    cdef bint irregular
    cdef bint irregular_leaf
    # Whether the data of a computed node was set, so that it need not follow from the operands.
    cdef bint own_data
    # Whether a compiled function computes the node.
    cdef bint in_program


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
                raise MemoryError("no memory for the attributes of a Value")  # no cover: in `nox -s faults`
        Py_INCREF(<PyObject *>extras)
        chunk.extras[slot_of(node)] = <PyObject *>extras
        chunk.extended |= bit_of(node)
    else:
        Py_INCREF(<PyObject *>extras)
        node.right.node = <PyObject *>extras
    return extras


cdef inline void prefetch_operands(Node *node) noexcept nogil:
    """Have the operands' cache lines fetched; whatever the slot holds, a prefetch cannot fault."""
    prefetch(node.left)
    prefetch(node.right.node)


# -- making a node ----------------------------------------------------------------------------


cdef inline void track(void *node) noexcept:
    if not is_tracked(node):
        PyObject_GC_Track(node)


cdef inline bint any_tracked(PyObject *operands) noexcept nogil:
    """Whether the collector knows one of the Values in a tuple."""
    cdef Py_ssize_t index
    for index in range(PyTuple_GET_SIZE(operands)):
        if is_tracked(PyTuple_GET_ITEM(operands, index)):
            return True
    return False


cdef inline void set_operands(Node *node, tuple operands) noexcept:
    """Take a reference to a tuple of Values, which is the node's left."""
    Py_INCREF(<PyObject *>operands)
    node.left = <PyObject *>operands
    if any_tracked(node.left):
        track(node)


cdef inline void set_left(Node *node, void *operand) noexcept:
    """Take a reference to a Value; what the collector sees of an operand it must see of the result."""
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


cdef inline Node *binary_node(int code, double data, void *left, void *right, bint tracked) except NULL:
    """A computed node of two Values or tuples, whose references may be counted without Python's macros."""
    cdef Node *node = new_node(code, data)
    take(left)
    take(right)
    node.left = <PyObject *>left
    node.right.node = <PyObject *>right
    if tracked:
        PyObject_GC_Track(node)
    return node


cdef inline object new_binary(int code, double data, Node *left, Node *right):
    return owned(binary_node(code, data, left, right, is_tracked(left) or is_tracked(right)))


cdef inline object new_unary(int code, double data, Node *operand, double constant):
    """A computed node of one Value and perhaps a constant."""
    cdef Node *node = new_node(code, data)
    take(operand)
    node.left = <PyObject *>operand
    node.right.constant = constant
    if is_tracked(operand):
        PyObject_GC_Track(node)
    return owned(node)


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


cdef void track_used(Node *node) noexcept:
    """Track a node after it may have been used.

    What was computed from it is younger and may now be part of a cycle through it; a node that the
    collector does not know would hide that cycle. Chunks are remembered, so that nodes may be
    tracked one by one in any order.
    """
    global late_tracks
    cdef Chunk *chunk = newest
    cdef Chunk *last
    if is_tracked(node):
        return
    PyObject_GC_Track(node)
    late_tracks += 1
    if not in_pool(node):
        return  # no cover: CPython tracks what it allocates, and untracks no Value
    # A node made by a look is younger than the one that was looked at, which uses it.
    last = chunk_of(node) if expansions == 0 else NULL
    while chunk != last:
        if not chunk.code[ALL_TRACKED]:
            track_computed(chunk, ~(<uint64_t>0))
            chunk.code[ALL_TRACKED] = chunk != newest
        chunk = chunk.older
    if last != NULL and not last.code[ALL_TRACKED]:
        track_computed(last, ~(2 * bit_of(node) - 1))


cdef inline void track_holder(Node *node, object held) noexcept:
    """Track a node that was given an object which may lead back to it."""
    if not PyObject_IS_GC(<PyObject *>held):
        return
    if is_unused(node):
        track(node)
    else:
        track_used(node)


cdef inline bint is_unused(Node *node) noexcept:
    """Whether nothing can have been computed from a node, nor anything remember it: it is being made."""
    return in_pool(node) and is_youngest(node) and Py_REFCNT(node) == 1


cdef int mark_irregular(Node *node) except -1:
    """Have backward() order graphs that hold this node by depth-first search."""
    global irregular_count, irregular_leaf_count
    cdef Extras extras = require_extras(node)
    if not extras.irregular:
        extras.irregular = True
        irregular_count += 1
        extras.irregular_leaf = not in_pool(node) or code_of(node) <= CODE_FRESH
        irregular_leaf_count += extras.irregular_leaf
    return 0


cdef inline bint is_irregular(Node *node) noexcept:
    cdef PyObject *extras = extras_of(node)
    return extras != NULL and (<Extras>extras).irregular


# -- freeing a node ---------------------------------------------------------------------------


cdef void drop_extras(Node *node) noexcept:
    """Detach and release the node's Extras; may run the user's code."""
    global irregular_count, irregular_leaf_count
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
        irregular_leaf_count -= (<Extras>extras).irregular_leaf
    Py_DECREF(extras)


cdef inline void prefetch_for_freeing(Node *node) noexcept nogil:
    """Have what free_node() will need fetched, in the order of the queue (1e7 nodes: 14 -> 6.2 ns each)."""
    prefetch_early(node.left)
    prefetch_early(node.right.node)
    prefetch_early(chunk_of(node))
    prefetch_early(&chunk_of(node).code[slot_of(node)])


cdef inline void doom(Node *node) noexcept:
    """Queue a pool node without references; the queue is linked through set_next.

    First in, first out: a layered graph is then freed layer by layer, near where it was last, and by
    the time a node is freed its operands are in the cache (1e6 nodes: 53 -> 31 ns each).
    """
    global doomed, last_doomed
    prefetch_for_freeing(node)
    # At once: until its turn comes, code of the user's may run and start a collection.
    if is_tracked(node):
        PyObject_GC_UnTrack(node)
    if doomed == NULL:
        doomed = node
    else:
        set_next(last_doomed, node)
    set_next(node, NULL)
    last_doomed = node


cdef inline void drop(PyObject *reference) noexcept:
    """Give up a reference to an operand: a Value of the pool, a foreign one, a tuple, an object."""
    if Py_TYPE(reference) == value_type:
        if give_up(<Node *>reference):
            doom(<Node *>reference)
    else:
        Py_DECREF(reference)


cdef inline void free_node(Node *node) noexcept:
    """Free an untracked node of the pool without references and give up what it owned."""
    cdef Chunk *chunk = chunk_of(node)
    cdef int slot = slot_of(node)
    cdef int code = chunk.code[slot]
    cdef PyObject *left = node.left
    cdef PyObject *right = node.right.node
    expect(chunk.code[LIVE_NODES] > 0 and slot >= FIRST_SLOT, "a node that is not alive was freed")
    if chunk.extended >> slot & 1:
        restore_type(node)
        drop_extras(node)
    if CHECKED:
        check_freed(node)
    release_slot(chunk)
    if code > CODE_FRESH:
        drop(left)
        if owns_right(code):
            drop(right)


cdef void deallocate(PyObject *self) noexcept:
    """tp_dealloc. A graph is freed by a loop: what is dropped inside it only joins the queue."""
    global draining
    cdef Node *node = <Node *>self
    if not in_pool(self):
        deallocate_foreign(node)
        return
    if draining:
        doom(node)
        return
    draining = True
    if is_tracked(node):
        PyObject_GC_UnTrack(node)
    free_node(node)
    drain()


cdef inline void drain() noexcept:
    """Free the queued nodes and what they queue."""
    global doomed, draining
    cdef Node *node
    while doomed != NULL:
        node = doomed
        doomed = next_of(node)
        free_node(node)
    draining = False


cdef void deallocate_foreign(Node *node) noexcept:
    PyObject_GC_UnTrack(node)
    clear_node(<PyObject *>node)
    Py_TYPE(node).tp_free(node)


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
