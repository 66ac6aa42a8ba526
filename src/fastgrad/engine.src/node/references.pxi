# Which references a node owns, and where they are given up. All code that counts references by hand, that
# tells the collector of a node, or that stores something else in the beginning of an object is in this file.
#
# What a pool node owns, by its code:
#     leaf                      nothing; left is NULL
#     table, NODE_NODE          left and right: references to Values
#     table, other forms        left: a reference to a Value; right: a constant
#     ROW_CUSTOM                left: tuple of Values; right: the symbol, any object
#     ROW_LOCAL                 left: tuple of Values; right: tuple of their derivatives, each a float or a
#                               Value, and perhaps two more entries: the rule that gives the derivatives as
#                               functions of Values, or None; and in a trace, the Value of the result
#     ROW_INNER                 left: tuple (w1 .. wn) or (w1 .. wn, bias); right: tuple (x1 .. xn)
#     ROW_DOT                   the same where all of left are leaves, which need no visit
#     a reduction, three        left: tuple of Values; right: nothing
#     operands
# What a foreign node owns: left: NULL or a tuple of Values; right: NULL or its Extras.
#
# A cycle can go through a node only if the node leads to an object that the collector knows. So a node is
# untracked until it holds an object of the user's or has a tracked operand. CPython makes tuples tracked, and
# they stay so: a tuple may outlive its node, or a layer may keep it. So the Values in a node's tuples decide
# whether the node is tracked, not the tuples.

cdef extern from "Python.h":
    ctypedef int (*visitproc)(PyObject *, void *) noexcept
    bint PyObject_IS_GC(void *) noexcept nogil
    bint PyObject_GC_IsTracked(void *) noexcept nogil
    void PyObject_GC_Track(void *) noexcept
    void PyObject_GC_UnTrack(void *) noexcept
    void Py_INCREF(void *) noexcept
    void Py_DECREF(void *) noexcept
    Py_ssize_t Py_REFCNT(void *) noexcept nogil

# How often a node was tracked or given operands after it may have been used: see Rows.
cdef Py_ssize_t late_tracks = 0
# How often a node's operands were replaced: see replace().
cdef Py_ssize_t expansions = 0
# Whether another thread was freeing a node when this process was forked: that node stays half freed.
cdef bint abandoned = False


# -- counting and queueing, without CPython's macros where there is a pool ------------------------


cdef inline void take(void *reference) noexcept:
    """Count one more reference to a Value or a tuple, neither of which is ever immortal."""
    if POOL:
        (<Node *>reference).head.refcount += 1
    else:
        Py_INCREF(reference)


cdef inline bint give_up(Node *node) noexcept:
    """Drop one reference; return whether it was the last, so that the caller must doom the node.

    Without a pool, if another thread ever had a reference, the answer is False: CPython calls deallocate(),
    which dooms the node.
    """
    if POOL:
        node.head.refcount -= 1
        return node.head.refcount == 0
    return drop_last(<PyObject *>node)


cdef inline bint is_alive(Node *node) noexcept nogil:
    if POOL:
        return node.head.refcount != 0
    return Py_REFCNT(node) != 0


cdef inline bint is_tracked(void *candidate) noexcept nogil:
    """Whether the cycle collector knows the object: the first word of its head is then not 0."""
    if POOL:
        return (<uintptr_t *>(<char *>candidate - HEAD_BYTES))[0] != 0
    return PyObject_GC_IsTracked(candidate)


cdef int check_internals() except -1:
    """Raise ImportError if CPython keeps other things of an object than docs/decisions/internals.md says."""
    cdef list probe = []
    cdef Node *head = <Node *><PyObject *>probe
    cdef Py_ssize_t count = head.head.refcount
    cdef bint is_as_known
    Py_INCREF(head)
    is_as_known = head.head.refcount == count + 1 and head.head.type == Py_TYPE(head)
    Py_DECREF(head)
    PyObject_GC_UnTrack(head)
    is_as_known = is_as_known and not is_tracked(head)
    PyObject_GC_Track(head)
    if not (is_as_known and is_tracked(head)):
        raise ImportError("fastgrad does not know this version of CPython")  # no cover: nor do the tests
    return 0


if POOL:
    check_internals()


cdef inline void set_next(Node *node, Node *next) noexcept:
    """Link the queue of nodes to be freed."""
    place_of_next(node)[0] = next


cdef inline Node *next_of(Node *node) noexcept:
    return place_of_next(node)[0]


cdef inline void restore_type(Node *node) noexcept:
    """Write the type again, which set_next overwrote."""
    if POOL:
        node.head.type = value_type


# -- making a node ----------------------------------------------------------------------------


cdef Extras require_extras(Node *node):
    """The node's Extras, made if it has none; MemoryError leaves the node as it was."""
    cdef PyObject *found = extras_of(node)
    cdef Extras extras
    if found != NULL:
        return <Extras>found
    extras = Extras()
    if in_pool(node):
        found = put_extras(node, <PyObject *>extras)
    else:
        found = publish(&node.right.node, <PyObject *>extras)
    if found == <PyObject *>extras:
        Py_INCREF(found)
    return <Extras>found


cdef inline void track(void *node) noexcept:
    if not is_tracked(node):
        PyObject_GC_Track(node)


cdef inline bint must_track(void *operand) noexcept nogil:
    """Whether the collector must know what is computed from an operand: if it knows the operand itself."""
    return not POOL or is_tracked(operand)


cdef inline bint any_tracked(PyObject *operands) noexcept nogil:
    """Whether the collector must know what is computed from a tuple of Values."""
    cdef Py_ssize_t index
    if not POOL:
        return True
    for index in range(PyTuple_GET_SIZE(operands)):
        if is_tracked(PyTuple_GET_ITEM(operands, index)):
            return True
    return False


cdef bint any_leads_back(PyObject *held) noexcept:
    """Whether something in a tuple may be part of a cycle: a Value that the collector knows, or a rule."""
    cdef Py_ssize_t index
    cdef PyObject *item
    for index in range(PyTuple_GET_SIZE(held)):
        item = PyTuple_GET_ITEM(held, index)
        if PyObject_IS_GC(item) and is_tracked(item):
            return True
    return False


cdef inline void set_operands(Node *node, tuple operands) noexcept:
    """Take a reference to a tuple of Values as the node's left."""
    Py_INCREF(<PyObject *>operands)
    node.left = <PyObject *>operands
    if not POOL or any_tracked(node.left):
        track(node)


cdef inline void set_left(Node *node, void *operand) noexcept:
    """Take a reference to a Value as the node's left; track the node if the operand is tracked."""
    Py_INCREF(operand)
    node.left = <PyObject *>operand
    if must_track(operand):
        track(node)


cdef inline void set_right(Node *node, void *operand) noexcept:
    """Like set_left, for the second operand."""
    Py_INCREF(operand)
    node.right.node = <PyObject *>operand
    if must_track(operand):
        track(node)


cdef inline Node *binary_node(int code, double data, void *left, void *right, bint tracked) except NULL:
    """A computed node of two Values or two tuples; neither is immortal, so take() may count them."""
    cdef Node *node = new_node(code, data)
    take(left)
    take(right)
    node.left = <PyObject *>left
    node.right.node = <PyObject *>right
    if tracked or not POOL:
        PyObject_GC_Track(node)
    return node


cdef inline object new_binary(int code, double data, Node *left, Node *right):
    return owned(binary_node(code, data, left, right, must_track(left) or must_track(right)))


cdef inline object new_unary(int code, double data, Node *operand, double constant):
    """A computed node of one Value and perhaps a constant."""
    cdef Node *node = new_node(code, data)
    take(operand)
    node.left = <PyObject *>operand
    node.right.constant = constant
    if must_track(operand):
        PyObject_GC_Track(node)
    return owned(node)


# -- tracking and changing a node that may be in use ------------------------------------------

include "../generated/node_walks.pxi"


cdef inline bint is_unused(Node *node) noexcept:
    """Whether a node is still being made: nothing was computed from it, and only the maker refers to it."""
    return in_pool(node) and is_youngest(node) and Py_REFCNT(node) == 1


cdef void track_used(Node *node) noexcept:
    """Track a node after it may have been used.

    What was computed from it is younger and may now be part of a cycle through it; a node that the
    collector does not know would hide that cycle.
    """
    if is_tracked(node):
        return
    PyObject_GC_Track(node)
    count(&late_tracks, 1)
    if not in_pool(node):
        return  # no cover: CPython tracks what it allocates, and untracks no Value
    track_younger(node)


cdef inline void track_holder(Node *node, object held) noexcept:
    """Track a node that was given an object which may lead back to it."""
    if not PyObject_IS_GC(<PyObject *>held):
        return
    if is_unused(node):
        track(node)
    else:
        track_used(node)


cdef int mark_irregular(Node *node) except -1:
    """Have backward() order graphs that hold this node by depth-first search."""
    cdef Extras extras = require_extras(node)
    with critical_section(extras):
        if not extras.irregular:
            extras.irregular_leaf = not in_pool(node) or code_of(node) <= CODE_FRESH
            extras.irregular = True
            count(&irregular_count, 1)
            count(&irregular_leaf_count, extras.irregular_leaf)
    return 0


cdef struct Adoption:
    Node *node
    int code
    PyObject *left
    PyObject *right
    bint done


cdef void carry_out_adoption(void *argument) noexcept:
    cdef Adoption *adoption = <Adoption *>argument
    cdef Node *node = adoption.node
    # Another thread may have been first.
    adoption.done = code_of(node) <= CODE_FRESH
    if adoption.done:
        Py_INCREF(adoption.left)
        Py_INCREF(adoption.right)
        node.left = adoption.left
        node.right.node = adoption.right
        set_code(node, adoption.code)


cdef int adopt(Node *node, int row, tuple operands, object detail) except -1:
    """Give a fresh node of the pool operands, and track it if it may join a cycle.

    Raises TypeError if it has operands already.
    """
    cdef Adoption adoption
    # Used nodes are always tracked: in a chunk marked ALL_TRACKED every computed node is. A layer may have
    # noted that a used node is a leaf: late_tracks, counted below, makes it look again.
    cdef bint unused = is_unused(node)
    cdef bint tracked = not POOL or row == ROW_CUSTOM or not unused or any_tracked(<PyObject *>operands)
    if row == ROW_LOCAL:
        tracked = tracked or any_leads_back(<PyObject *>detail)
    adoption.node, adoption.code = node, code_for(row, 0)
    adoption.left, adoption.right = <PyObject *>operands, <PyObject *>detail
    if unused:
        carry_out_adoption(&adoption)
    else:
        run_alone(carry_out_adoption, &adoption)
    if not adoption.done:
        raise TypeError("a Value that is in use cannot be given other children")
    if unused and tracked:
        track(node)
    elif tracked:
        # Its new operands may have been computed from it.
        count(&late_tracks, 1)
        track_used(node)
    return 0


cdef void adopt_foreign(Node *node, tuple operands) noexcept:
    """Give a node outside of the pool its operands."""
    Py_INCREF(<PyObject *>operands)
    node.left = <PyObject *>operands


cdef struct Replacement:
    Node *node
    int old_code
    int code
    PyObject *left
    # NULL for none.
    PyObject *right
    PyObject *old_left
    PyObject *old_right
    bint done


cdef void carry_out_replacement(void *argument) noexcept:
    cdef Replacement *replacement = <Replacement *>argument
    cdef Node *node = replacement.node
    # Another thread's look may have been first.
    replacement.done = code_of(node) == replacement.old_code
    if replacement.done:
        replacement.old_left, replacement.old_right = node.left, node.right.node
        set_code(node, replacement.code)
        set_left(node, replacement.left)
        if replacement.right != NULL:
            set_right(node, replacement.right)


cdef void replace(Value self, int old_code, int code, Value left, Value right) noexcept:
    """Give a node of the pool other operands, if it still has this code; it keeps data and grad."""
    cdef Replacement replacement
    replacement.node = <Node *><PyObject *>self
    replacement.old_code, replacement.code = old_code, code
    replacement.left = <PyObject *>left
    replacement.right = NULL if right is None else <PyObject *>right
    count(&expansions, 1)
    run_alone(carry_out_replacement, &replacement)
    if replacement.done:
        Py_DECREF(replacement.old_left)
        if owns_right(old_code):
            Py_DECREF(replacement.old_right)
        made(replacement.node)


# -- freeing a node ---------------------------------------------------------------------------


cdef void drop_extras(Node *node) noexcept:
    """Detach and release the node's Extras; may run the user's code."""
    cdef PyObject *extras = extras_of(node)
    if extras == NULL:
        return
    if in_pool(node):
        remove_extras(node)
    else:
        node.right.node = NULL
    if (<Extras>extras).irregular:
        (<Extras>extras).irregular = False
        count(&irregular_count, -1)
        count(&irregular_leaf_count, -<Py_ssize_t>(<Extras>extras).irregular_leaf)
    Py_DECREF(extras)


cdef inline void prefetch_for_freeing(Node *node) noexcept nogil:
    """Prefetch what free_node() will read of a queued node (1e7 nodes: 14 -> 6.2 ns each)."""
    prefetch_early(node.left)
    prefetch_early(node.right.node)
    prefetch_early(chunk_of(node))
    prefetch_early(&chunk_of(node).code[slot_of(node)])


cdef inline void doom(Node *node) noexcept:
    """Queue a pool node without references; the queue is linked through set_next.

    First in, first out: a layered graph is then freed layer by layer, so that neighbours in memory follow
    one another, and when a node's turn comes its operands are in the cache (1e6 nodes: 53 -> 31 ns each).
    """
    global doomed, last_doomed
    prefetch_for_freeing(node)
    # Untracked now: before the node's turn comes, the user's code may run and start a collection.
    if not POOL or is_tracked(node):
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
    if has_extras(chunk, slot):
        restore_type(node)
        drop_extras(node)
    freed(node)
    release_slot(chunk)
    if code > CODE_FRESH:
        drop(left)
        if owns_right(code):
            drop(right)


cdef inline void drain() noexcept:
    """Free the queued nodes and what they queue."""
    global doomed, draining
    cdef Node *node
    while doomed != NULL:
        node = doomed
        doomed = next_of(node)
        free_node(node)
    draining = False


cdef void deallocate(PyObject *self) noexcept:
    """tp_dealloc. A graph is freed by a loop: nodes that lose their last reference meanwhile are queued."""
    global draining
    cdef Node *node = <Node *>self
    if not in_pool(self):
        deallocate_foreign(node)
        return
    if draining:
        doom(node)
        return
    draining = True
    if not POOL or is_tracked(node):
        PyObject_GC_UnTrack(node)
    free_node(node)
    drain()


cdef void free_after_fork() noexcept:
    """In a forked process, free the queue of the thread that was freeing a graph and does not exist here."""
    global abandoned
    forget_other_threads()
    abandoned = abandoned or draining
    drain()


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
        set_code(node, CODE_LEAF)
    node.left = NULL
    Py_DECREF(left)
    if in_pool(node) and owns_right(code):
        Py_DECREF(right)
    return 0
