# What a backward() of a build without the pool needs to know before it begins: the nodes that it may reach,
# and whether other threads add to the gradients of their leaves.
#
# A leaf belongs to the thread that is first to add to its gradient. Where a thread meets a leaf of
# another's, all threads add atomically from then on. So a model that one thread trains costs no atomic
# addition (one takes 5 ns). The change is made while no thread is in the middle of a backward().

from libc.stdlib cimport qsort

from cpython.mem cimport PyMem_RawRealloc

cdef extern from "engine.src/node/threads.h":
    # The first place is empty: what is made before the first node is no node.
    Node **collected_nodes "((struct __pyx_t_8fastgrad_6engine_Node **)fastgrad_here.nodes)"
    void **room_for_nodes "fastgrad_here.nodes"
    size_t room "fastgrad_here.room"
    Node **numbered_places "((struct __pyx_t_8fastgrad_6engine_Node **)fastgrad_here.places)"
    void **room_for_places "fastgrad_here.places"
    size_t place_room "fastgrad_here.place_room"

cdef enum:
    # Tuples of weights that were looked at last: most are those of a few neurons, one for each row.
    KNOWN_TUPLES = 64

cdef struct Collection:
    # The last place in use of collected_nodes.
    size_t count
    # Whether every operand has a smaller number than its result.
    bint in_order
    # Whether a leaf belongs to another thread.
    bint met_another
    # Whether there is no memory for the nodes.
    bint is_full
    # Whether leaves are to be looked at for irregular ones, and whether a node is.
    bint irregular_leaves
    bint irregular
    uint64_t smallest
    uint64_t largest
    PyObject *inputs
    PyObject *known[KNOWN_TUPLES]

# Whether some leaf is used by two threads.
cdef bint leaves_are_shared = False


cdef void share_leaves(void *_) noexcept:
    global leaves_are_shared
    leaves_are_shared = True


cdef inline bint belongs_elsewhere(Node *leaf) noexcept nogil:
    """Take a leaf that no thread has added to; whether it is another thread's."""
    cdef uint32_t *user = &chunk_of(leaf).link.user
    return user[0] != thread_id and not claim(user, thread_id)


cdef int grow_nodes() noexcept:
    global room_for_nodes, room
    cdef size_t wanted = 2 * room + 1024
    cdef void *grown = PyMem_RawRealloc(room_for_nodes, wanted * sizeof(void *))
    if grown == NULL:
        return -1
    room_for_nodes = <void **>grown
    room_for_nodes[0] = NULL
    room = wanted
    return 0


cdef inline void collect(Node *node, Collection *all) noexcept:
    """Add a computed node of the pool to those that were found."""
    cdef uint64_t number = chunk_of(node).number
    if all.count + 1 >= room and grow_nodes() < 0:
        all.is_full = True
        return
    chunk_of(node).collected = True
    all.count += 1
    collected_nodes[all.count] = node
    all.smallest = min(all.smallest, number)
    all.largest = max(all.largest, number)


cdef inline void find(Node *operand, Node *result, Collection *all) noexcept:
    cdef Chunk *chunk
    if not in_pool(operand):
        all.irregular = all.irregular or (all.irregular_leaves and is_irregular(operand))
        return
    chunk = chunk_of(operand)
    if chunk.code[FIRST_SLOT] <= CODE_FRESH:
        all.met_another = all.met_another or belongs_elsewhere(operand)
        all.irregular = all.irregular or (all.irregular_leaves and is_irregular(operand))
        return
    all.in_order = all.in_order and chunk.number < chunk_of(result).number
    if not chunk.collected:
        collect(operand, all)


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
    if CODE_DOT <= code < CODE_FIRST_REDUCTION and node.right.node != all.inputs:
        all.inputs = node.right.node
        find_all(node.right.node, node, all)


cdef void collect_below(Node *root, Collection *all) noexcept:
    """Find the computed nodes of the pool below a root, and the root itself."""
    cdef size_t index = 0
    memset(all, 0, sizeof(Collection))
    all.in_order = True
    all.smallest = chunk_of(root).number
    all.irregular_leaves = counted(&irregular_leaf_count) > 0
    collect(root, all)
    while index < all.count:
        index += 1
        if index + 4 <= all.count:
            prefetch_operands(collected_nodes[index + 4])
        find_below(collected_nodes[index], all)
    for index in range(1, all.count + 1):
        chunk_of(collected_nodes[index]).collected = False


cdef bint holds_irregular(Node *root) except -1:
    """Whether a node that the sweep cannot serve is the root or below it."""
    cdef Collection all
    if not in_pool(root) or chunk_of(root).code[FIRST_SLOT] <= CODE_FRESH:
        return is_irregular(root)
    collect_below(root, &all)
    if all.is_full:
        raise MemoryError("no memory to order the graph for backward()")
    return all.irregular


cdef int compare_ages(const void *left, const void *right) noexcept nogil:
    cdef uint64_t first = chunk_of((<Node **>left)[0]).number
    cdef uint64_t second = chunk_of((<Node **>right)[0]).number
    return (first > second) - (first < second)


cdef int order_by_numbers(Collection *all) noexcept:
    """Put the nodes in the order of their numbers; -1 without the memory for it."""
    global room_for_places, place_room
    cdef size_t range_of_numbers = all.largest - all.smallest + 1
    cdef size_t index, count = 0
    cdef void *grown
    if range_of_numbers > 4 * all.count + 64:
        qsort(collected_nodes + 1, all.count, sizeof(void *), compare_ages)
        return 0
    if place_room < range_of_numbers:
        grown = PyMem_RawRealloc(room_for_places, 2 * range_of_numbers * sizeof(void *))
        if grown == NULL:
            return -1
        room_for_places = <void **>grown
        place_room = 2 * range_of_numbers
    memset(room_for_places, 0, range_of_numbers * sizeof(void *))
    for index in range(1, all.count + 1):
        room_for_places[chunk_of(collected_nodes[index]).number - all.smallest] = collected_nodes[index]
    for index in range(range_of_numbers):
        if room_for_places[index] != NULL:
            count += 1
            room_for_nodes[count] = room_for_places[index]
    all.count = count
    return 0
