# The layout of nodes and of their chunks, and what counts for all of them.
#
# A node takes 64 bytes, one cache line: the two words that CPython's collector keeps before an object, then
# the Value. On platforms with 4-byte pointers a few of the bytes stay unused.
# Nodes are handed out in address order from chunks of 4 KiB, and chunks are linked in the order
# in which they were opened, so creation order can be read off (chunk, slot). A slot is not used
# again before its whole chunk is empty. Operands exist before their results, so creation order is
# a topological order: backward() is one sweep from the root down the chunks.
#
# A node of a Python subclass is allocated by CPython, outside the pool ("foreign"). It is a leaf
# or a custom node, never the result of an operation of the table.
#
# A build without the global interpreter lock has no pool: each node has a chunk for itself alone, in which it
# has the only slot. chunks.pxi and singles.pxi say what a chunk is.

from libc.stdint cimport uint32_t, uint64_t, uintptr_t

from cpython.object cimport PyObject

from fastgrad.ops cimport *

cdef extern from "Python.h":
    ctypedef struct PyTypeObject:
        unsigned int tp_version_tag
        void *tp_iter
        void (*tp_free)(void *) noexcept
        Py_ssize_t tp_basicsize
        Py_ssize_t tp_dictoffset
    PyTypeObject *Py_TYPE(void *) noexcept nogil
    bint PyObject_TypeCheck(void *, PyTypeObject *) noexcept nogil
    bint PyTuple_CheckExact(void *) noexcept nogil
    Py_ssize_t PyTuple_GET_SIZE(void *) noexcept nogil
    PyObject *PyTuple_GET_ITEM(void *, Py_ssize_t) noexcept nogil
    double PyFloat_AS_DOUBLE(void *) noexcept nogil
    # Ends the compilation unless the condition holds.
    void build_assert "Py_BUILD_ASSERT"(bint) noexcept

cdef extern from "engine.src/node/platform.h":
    # Whether nodes live in a pool.
    bint POOL "FASTGRAD_POOL"
    enum:
        FIRST_SLOT "FASTGRAD_FIRST_SLOT"
        SLOTS "FASTGRAD_SLOTS"
        HEAD_BYTES "FASTGRAD_HEAD_BYTES"
    ctypedef union Head "fastgrad_head":
        Py_ssize_t refcount
        PyTypeObject *type
    int highest_bit "fastgrad_highest_bit"(uint64_t) noexcept nogil
    void prefetch "fastgrad_prefetch"(const void *) noexcept nogil
    void prefetch_early "fastgrad_prefetch_early"(const void *) noexcept nogil
    bint QUICK "FASTGRAD_QUICK"
    # Whether this build checks what invariants.pxi says, and when.
    bint CHECKED "FASTGRAD_CHECKED"
    void expect "fastgrad_expect"(bint, const char *) noexcept nogil
    void set_checks "fastgrad_set_checks"(
        void (*)(void *) noexcept, void (*)(void *) noexcept, void (*)() noexcept
    ) noexcept
    void made "fastgrad_made"(void *) noexcept
    void freed "fastgrad_freed"(void *) noexcept
    void after_backward "fastgrad_after_backward"() noexcept
    # A cast that hands the caller's reference to a finished node over to Cython.
    object owned "fastgrad_owned"(void *)

cdef extern from *:
    # Where Value and Node have their fields, by the names that Cython gives to the structs.
    size_t PLACE_OF_TYPE "offsetof(PyObject, ob_type)"
    size_t PLACE_OF_DATA "offsetof(struct __pyx_obj_8fastgrad_6engine_Value, data)"
    size_t PLACE_OF_GRAD "offsetof(struct __pyx_obj_8fastgrad_6engine_Value, grad)"
    size_t PLACE_OF_LEFT "offsetof(struct __pyx_obj_8fastgrad_6engine_Value, left)"
    size_t PLACE_OF_RIGHT "offsetof(struct __pyx_obj_8fastgrad_6engine_Value, right)"
    size_t PLACE_IN_NODE_OF_DATA "offsetof(struct __pyx_t_8fastgrad_6engine_Node, data)"
    size_t PLACE_IN_NODE_OF_GRAD "offsetof(struct __pyx_t_8fastgrad_6engine_Node, grad)"
    size_t PLACE_IN_NODE_OF_LEFT "offsetof(struct __pyx_t_8fastgrad_6engine_Node, left)"
    size_t PLACE_IN_NODE_OF_RIGHT "offsetof(struct __pyx_t_8fastgrad_6engine_Node, right)"

cdef enum:
    # No two nodes are closer.
    SLOT_BYTES = 64

cdef enum Form:
    NODE_NODE
    NODE_CONSTANT
    CONSTANT_NODE
    NODE_INTEGER

# The fields of a Value as a C struct, for the parts above the class; engine.pxd declares the class.
cdef struct Node:
    Head head
    double data
    double grad
    PyObject *left
    Operand right

cdef extern from "engine.src/node/thread_state.h":
    # Each thread has its own of these where threads run side by side.
    Node *doomed "fastgrad_here.doomed"
    Node *last_doomed "fastgrad_here.last_doomed"
    bint draining "fastgrad_here.draining"
    bint tracing "fastgrad_here.tracing"
    # For numbers and pointers that threads share.
    void count "fastgrad_count"(Py_ssize_t *, Py_ssize_t) noexcept nogil
    Py_ssize_t counted "fastgrad_counted"(const Py_ssize_t *) noexcept nogil
    PyObject *publish "fastgrad_publish"(PyObject **, PyObject *) noexcept nogil
    PyObject *published "fastgrad_published"(PyObject **) noexcept nogil
    void add_atomically "fastgrad_add"(double *, double) noexcept nogil
    bint drop_last "fastgrad_give_up"(PyObject *) noexcept nogil
    void run_alone "fastgrad_alone"(void (*)(void *) noexcept, void *) noexcept


cdef void check_node_layout() noexcept:
    """Node has the fields of Value, in the same places; a node's code is a byte."""
    build_assert(sizeof(Node) == sizeof(Value))
    build_assert(PLACE_OF_DATA == PLACE_IN_NODE_OF_DATA)
    build_assert(PLACE_OF_GRAD == PLACE_IN_NODE_OF_GRAD)
    build_assert(PLACE_OF_LEFT == PLACE_IN_NODE_OF_LEFT)
    build_assert(PLACE_OF_RIGHT == PLACE_IN_NODE_OF_RIGHT)
    # 255 is CODE_FREED.
    build_assert(CODE_END <= 255)


check_node_layout()

cdef PyTypeObject *value_type = NULL
# Live nodes that the sweep cannot serve: with a backward of the user's own, or younger operands.
cdef Py_ssize_t irregular_count = 0
# How many of these are leaves, or may have been when they were used.
cdef Py_ssize_t irregular_leaf_count = 0
# How many backward() were ordered by depth-first search.
cdef Py_ssize_t search_count = 0
