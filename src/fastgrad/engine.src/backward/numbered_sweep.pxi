# The sweep of a build without the pool: it finds the nodes first, and puts them in the order of their
# numbers, which is that of the pool.


cdef int order_by_search(Node *root, Collection *all, list found) except -1:
    """Put the nodes in the order of a search, where the numbers are of several threads."""
    cdef size_t count = 0
    found.extend(topological_order([<object>root]))
    for value in found:
        if is_computed(<Node *><PyObject *>value):
            count += 1
            if count >= room and grow_nodes() < 0:
                raise MemoryError("no memory to order the graph for backward()")
            collected_nodes[count] = <Node *><PyObject *>value
    all.count = count
    return 0


cdef int find_order(Node *root, Collection *all, list found) except -1:
    """Order the nodes below a root, operands before results; `found` keeps those of a search alive."""
    if thread_id == 0:
        enter_thread()
    collect_below(root, all)
    if all.met_another and not leaves_are_shared and not all.is_full:
        run_alone(share_leaves, NULL)
        # Meanwhile another thread may have looked at the graph, and so have changed it.
        collect_below(root, all)
    if all.is_full or (all.in_order and order_by_numbers(all) < 0):
        raise MemoryError("no memory to order the graph for backward()")
    if not all.in_order:
        order_by_search(root, all, found)
    return 0


cdef void sweep_collected(Node *root, size_t count, bint whole_graph) noexcept nogil:
    """Pull from the root and, in reverse order, from every node it reaches."""
    cdef Sweep sweep
    cdef Chunk *chunk
    cdef Node *node
    cdef size_t index = count
    chunk_of(root).reached[FIRST_SLOT] = True
    sweep.pending = 1
    sweep.whole_graph = whole_graph
    sweep.marked_inputs = NULL
    sweep.inputs_computed = False
    sweep.shared = leaves_are_shared
    while index > 0:
        node = collected_nodes[index]
        chunk = chunk_of(node)
        if chunk.reached[FIRST_SLOT]:
            chunk.reached[FIRST_SLOT] = False
            chunk.pulled = True
            sweep.at = collected_nodes + index
            if index > 6:
                prefetch_operands(collected_nodes[index - 6])
            pull(node, chunk.code[FIRST_SLOT], &sweep)
        index -= 1


cdef int sweep_all_from(Node *root) except -1:
    """Set the root's gradient to 1 and pull from every node it reaches."""
    cdef Collection all
    cdef list found = []
    if is_computed(root):
        find_order(root, &all, found)
        root.grad = 1.0
        sweep_collected(root, all.count, True)
    else:
        root.grad = 1.0
    return 0


cdef int sweep_from(Node *node, bint whole_graph) except -1:
    """Pull from a node alone."""
    cdef Collection all
    if not is_computed(node):
        return 0
    if thread_id == 0:
        enter_thread()
    memset(&all, 0, sizeof(Collection))
    collect(node, &all)
    if all.is_full:
        raise MemoryError("no memory for the order of backward()")
    chunk_of(node).collected = False
    find_below(node, &all)
    for index in range(2, all.count + 1):
        chunk_of(collected_nodes[index]).collected = False
    if all.is_full:
        raise MemoryError("no memory for the order of backward()")
    if all.met_another and not leaves_are_shared:
        run_alone(share_leaves, NULL)
    collected_nodes[1] = node
    sweep_collected(node, 1, whole_graph)
    return 0


cdef bint use_leaves(tuple leaves) noexcept:
    """Whether other threads may add to gradients of these leaves at the same time."""
    cdef Py_ssize_t index
    cdef Node *leaf
    cdef bint met_another = False
    if thread_id == 0:
        enter_thread()
    if not leaves_are_shared:
        for index in range(PyTuple_GET_SIZE(<PyObject *>leaves)):
            leaf = <Node *>PyTuple_GET_ITEM(<PyObject *>leaves, index)
            if in_pool(leaf) and belongs_elsewhere(leaf):
                met_another = True
        if met_another:
            run_alone(share_leaves, NULL)
    return leaves_are_shared


cdef inline void add_to_leaf(Node *leaf, double amount, bint shared) noexcept:
    if shared or not in_pool(leaf):
        add_atomically(&leaf.grad, amount)
    else:
        leaf.grad += amount
