# Before its sweep, a backward() of a build without the pool collects the nodes that it may reach, in the
# order of their numbers, and finds whether other threads add to the gradients of their leaves.
#
# A node's place is the root's number less its own. The collection goes over the places from the root's on. It
# meets each node after all nodes that use it, and puts the node's operands at later places: so nothing needs
# sorting.
# Nodes whose numbers lie too far apart, or in another order, go into a list instead.
#
# A leaf belongs to the thread that is first to add to its gradient. Once a thread meets a leaf of another
# thread, all threads add atomically. So a model that one thread trains costs no atomic addition (one takes
# 5 ns). The change is made while no thread is in the middle of a backward().

from libc.stdlib cimport qsort
from libc.string cimport memcpy

from cpython.mem cimport PyMem_RawCalloc, PyMem_RawRealloc

cdef extern from "engine.src/node/thread_state.h":
    # All NULL but from a collection to the end of its sweep.
    Node **places "((struct __pyx_t_8fastgrad_6engine_Node **)fastgrad_here.places)"
    void **room_for_places "fastgrad_here.places"
    size_t place_room "fastgrad_here.place_room"
    Node **listed_nodes "((struct __pyx_t_8fastgrad_6engine_Node **)fastgrad_here.nodes)"
    void **room_for_nodes "fastgrad_here.nodes"
    size_t room "fastgrad_here.room"
    Py_ssize_t live_here "fastgrad_here.live_count"
    void stay_a_branch "fastgrad_stay_a_branch"() noexcept

cdef enum:
    # Tuples of weights that were looked at last: most are those of a few neurons, one for each row.
    KNOWN_TUPLES = 64
    # Operands are fetched so many places before they are looked at, and nodes.
    PLACES_AHEAD = 6
    NODES_AHEAD = 20
    # Graphs of fewer nodes are in the cache: there a prefetch adds a third to the time of a node. In larger
    # ones it halves that time (1e6 nodes: 38 -> 18 ns each).
    PLACES_IN_CACHE = 16384
    # Places behind the last node that may be read.
    PLACES_AFTER = 24
    # 32 MB of address space a thread, more where it has more nodes.
    PLACES_AT_LEAST = 2097152

cdef struct Collection:
    # False for a node's rule alone.
    bint whole_graph
    # Whether the nodes are in listed_nodes: `count` of them. Otherwise in `places`.
    bint listed
    size_t count
    # The root's number, the place of the node that is looked at, and the last place in use.
    uint64_t newest
    size_t place
    size_t last_place
    # Whether the nodes cannot be put in places, and need a list.
    bint scattered
    # Whether every operand has a smaller number than its result.
    bint in_order
    # Whether a leaf belongs to another thread.
    bint met_another
    # Whether there is no memory for the nodes.
    bint is_full
    # Whether leaves are to be looked at for irregular ones, and whether a node is.
    bint irregular_leaves
    bint irregular
    # The inputs of the dot product looked at last, and the number of that.
    PyObject *inputs
    uint64_t user_of_inputs
    PyObject *known[KNOWN_TUPLES]

# Whether some leaf is used by two threads.
cdef bint leaves_are_shared = False


cdef void share_leaves(void *_) noexcept:
    global leaves_are_shared
    leaves_are_shared = True


cdef inline bint belongs_elsewhere(Node *leaf) noexcept nogil:
    """Take a leaf that no thread has added to; whether it is another thread's."""
    cdef uint32_t *user = &chunk_of(leaf).link.user
    return claimed(user) != thread_id and not claim(user, thread_id)


cdef int grow_nodes() noexcept:
    global room_for_nodes, room
    cdef size_t wanted = 2 * room + 1024
    cdef void *grown = PyMem_RawRealloc(room_for_nodes, wanted * sizeof(void *))
    if grown == NULL:
        return -1
    room_for_nodes = <void **>grown
    room = wanted
    return 0


cdef int grow_places(size_t place) noexcept:
    """Have so many places and more; -1 if they are too many, or without the memory for them."""
    global room_for_places, place_room
    cdef size_t wanted = 2 * place + 1024
    cdef void *grown
    if place >= PLACES_AT_LEAST and place >= 4 * <size_t>max(live_here, 0):
        return -1
    # Pages that are not used cost nothing.
    grown = PyMem_RawCalloc(wanted + PLACES_AFTER, sizeof(void *))
    if grown == NULL:
        return -1
    if room_for_places != NULL:
        memcpy(grown, room_for_places, place_room * sizeof(void *))
    PyMem_RawFree(room_for_places)
    room_for_places = <void **>grown
    place_room = wanted
    return 0


cdef inline void enlist(Node *node, Collection *all) noexcept:
    """Add a computed node of the pool to the list."""
    cdef uint64_t place = all.newest - chunk_of(node).number
    if all.count + PLACES_AFTER >= room and grow_nodes() < 0:
        all.is_full = True
        return
    if place < place_room:
        # It may have been put there before the list was found to be needed.
        places[place] = NULL
    chunk_of(node).collected = True
    listed_nodes[all.count] = node
    all.count += 1


cdef inline void put_in_place(Node *node, uint64_t number, Collection *all) noexcept:
    """Put a computed node of the pool in its place, which is behind that of what uses it."""
    cdef uint64_t place = all.newest - number
    if place <= all.place or (place >= place_room and grow_places(place) < 0):
        all.scattered = True
        return
    places[place] = node
    all.last_place = max(all.last_place, place)


cdef inline void find(Node *operand, Node *result, Collection *all) noexcept:
    cdef Chunk *chunk
    if not in_pool(operand):
        all.irregular = all.irregular or (all.irregular_leaves and is_irregular(operand))
        return
    chunk = chunk_of(operand)
    if chunk.code[FIRST_SLOT] <= CODE_FRESH:
        all.met_another = all.met_another or belongs_elsewhere(operand)
        all.irregular = all.irregular or (all.irregular_leaves and is_irregular(operand))
    elif not all.listed:
        put_in_place(operand, chunk.number, all)
    else:
        all.in_order = all.in_order and chunk.number < chunk_of(result).number
        if not chunk.collected:
            enlist(operand, all)


cdef inline void find_all(PyObject *operands, Node *result, Collection *all) noexcept:
    cdef Py_ssize_t index
    for index in range(PyTuple_GET_SIZE(operands)):
        find(<Node *>PyTuple_GET_ITEM(operands, index), result, all)


cdef inline void find_below(Node *node, Collection *all) noexcept:
    cdef int code = chunk_of(node).code[FIRST_SLOT]
    cdef size_t place
    if has_extras(chunk_of(node), FIRST_SLOT) and is_irregular(node):
        all.irregular = True
    if code < CODE_TABLE_END:
        find(<Node *>node.left, node, all)
        if owns_right(code):
            find(<Node *>node.right.node, node, all)
        return
    if is_dot(code):
        place = (<uintptr_t>node.left // 64) % KNOWN_TUPLES
        if all.known[place] != node.left:
            all.known[place] = node.left
            find_all(node.left, node, all)
    else:
        find_all(node.left, node, all)
    if CODE_DOT <= code < CODE_FIRST_REDUCTION:
        # The node with the next number has these inputs, too, and has found them; all are older than both.
        if node.right.node != all.inputs or chunk_of(node).number + 1 != all.user_of_inputs:
            find_all(node.right.node, node, all)
        all.inputs = node.right.node
        all.user_of_inputs = chunk_of(node).number


cdef void begin_collection(Node *root, Collection *all) noexcept:
    memset(all, 0, sizeof(Collection))
    all.whole_graph = True
    all.in_order = True
    all.newest = chunk_of(root).number
    all.irregular_leaves = counted(&irregular_leaf_count) > 0


cdef inline bint put_quickly(
    Node *operand, Node **table, size_t room_here, uint64_t newest, size_t place, size_t *last, Node **next,
    uint32_t here
) noexcept:
    """find() for operands of the most frequent kinds, with its state in registers; False for any other.

    `next` is set to an operand that has the next place, so that the next step need not wait to read it there.
    """
    cdef Chunk *chunk = chunk_of(operand)
    cdef uint64_t own
    if not in_pool(operand):
        return False
    if chunk.code[FIRST_SLOT] <= CODE_FRESH:
        return claimed(&chunk.link.user) == here
    own = newest - chunk.number
    if own <= place or own >= room_here:
        return False
    table[own] = operand
    last[0] = max(last[0], own)
    if own == place + 1:
        next[0] = operand
        stay_a_branch()
    return True


cdef bint fill_places(Node *root, Collection *all) noexcept:
    """Put the root and the computed nodes of the pool below it in places; False if they need a list."""
    cdef Node **table
    cdef Node *node
    cdef Node *next = NULL
    cdef Node *operand
    cdef size_t room_here, place = 0, last = 0, empty = 0
    cdef uint64_t newest = chunk_of(root).number
    cdef uint32_t here = thread_id
    cdef int code
    cdef bint quick
    begin_collection(root, all)
    if place_room == 0 and grow_places(0) < 0:
        return False
    table, room_here = places, place_room
    table[0] = root
    while place <= last:
        node = next if next != NULL else table[place]
        next = NULL
        if node != NULL:
            if last > PLACES_IN_CACHE:
                # The nodes after it are there if CPython has allocated them side by side.
                prefetch(<char *>node - NODES_AHEAD * (sizeof(Node) + sizeof(Chunk)))
                prefetch(<char *>chunk_of(node) - NODES_AHEAD * (sizeof(Node) + sizeof(Chunk)))
                if table[place + PLACES_AHEAD] != NULL:
                    prefetch_operands(table[place + PLACES_AHEAD])
            code = chunk_of(node).code[FIRST_SLOT]
            quick = code < CODE_TABLE_END and not all.irregular_leaves
            quick = quick and not has_extras(chunk_of(node), FIRST_SLOT)
            operand = <Node *>node.left
            quick = quick and put_quickly(operand, table, room_here, newest, place, &last, &next, here)
            operand = <Node *>node.right.node
            if quick and owns_right(code):
                quick = put_quickly(operand, table, room_here, newest, place, &last, &next, here)
            if not quick:
                all.place, all.last_place = place, last
                find_below(node, all)
                if all.scattered:
                    return False
                table, room_here, last = places, place_room, all.last_place
                next = NULL
        else:
            empty += 1
            if empty > 1024 + 16 * (place - empty):
                return False
        place += 1
    all.last_place = last
    return True


cdef void list_below(Node *root, Collection *all) noexcept:
    """List the root and the computed nodes of the pool below it, in any order."""
    cdef size_t index = 0
    begin_collection(root, all)
    all.listed = True
    enlist(root, all)
    while index < all.count:
        if index + 4 < all.count:
            prefetch_operands(listed_nodes[index + 4])
        find_below(listed_nodes[index], all)
        index += 1
    for index in range(all.count):
        chunk_of(listed_nodes[index]).collected = False


cdef inline void collect_below(Node *root, Collection *all) noexcept:
    """Find the root and the computed nodes of the pool below it."""
    if fill_places(root, all):
        return
    list_below(root, all)
    if all.is_full and place_room > 0:
        memset(room_for_places, 0, place_room * sizeof(void *))


cdef void forget_places(Collection *all) noexcept:
    """Take the nodes out of their places: no sweep will."""
    if not all.listed:
        memset(room_for_places, 0, (all.last_place + 1) * sizeof(void *))


cdef bint holds_irregular(Node *root) except -1:
    """Whether a node that the sweep cannot serve is the root or below it."""
    cdef Collection all
    if not in_pool(root) or chunk_of(root).code[FIRST_SLOT] <= CODE_FRESH:
        return is_irregular(root)
    collect_below(root, &all)
    forget_places(&all)
    if all.is_full:
        raise MemoryError("no memory to order the graph for backward()")
    return all.irregular


cdef int compare_ages(const void *left, const void *right) noexcept nogil:
    """For the youngest first."""
    cdef uint64_t first = chunk_of((<Node **>left)[0]).number
    cdef uint64_t second = chunk_of((<Node **>right)[0]).number
    return (first < second) - (first > second)
