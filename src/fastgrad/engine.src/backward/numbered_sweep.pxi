# The sweep of a build without the pool: it first collects the nodes, in the order of their numbers. The pool
# has them in the same order.


cdef int order_by_search(Node *root, Collection *all, list found) except -1:
    """Put the listed nodes in the order of a search, as several threads gave them their numbers."""
    all.count = 0
    found.extend(topological_order([<object>root]))
    for value in reversed(found):
        if is_computed(<Node *><PyObject *>value):
            if all.count + PLACES_AFTER >= room and grow_nodes() < 0:
                raise MemoryError("no memory to order the graph for backward()")
            listed_nodes[all.count] = <Node *><PyObject *>value
            all.count += 1
    return 0


cdef int find_order(Node *root, Collection *all, list found) except -1:
    """Order the nodes below a root, results before operands; `found` keeps those of a search alive."""
    if thread_id == 0:
        enter_thread()
    collect_below(root, all)
    if all.met_another and not leaves_are_shared and not all.is_full:
        forget_places(all)
        run_alone(share_leaves, NULL)
        # Meanwhile another thread may have looked at the graph, and so have changed it.
        collect_below(root, all)
    if all.is_full:
        raise MemoryError("no memory to order the graph for backward()")
    if not all.listed:
        return 0
    if all.in_order:
        qsort(listed_nodes, all.count, sizeof(void *), compare_ages)
    else:
        order_by_search(root, all, found)
    memset(listed_nodes + all.count, 0, PLACES_AFTER * sizeof(void *))
    return 0


cdef void sweep_collected(Collection *all) noexcept nogil:
    """Pull from the first node, the root, and in this order from every node it reaches; leave NULL behind.

    What differs from call to call is in the struct: as arguments gcc would make a function for each, and no
    longer put the rules, which then have two calls, into the loop.
    """
    cdef Sweep sweep
    cdef Chunk *chunk
    cdef Node *node
    cdef Node **at = listed_nodes if all.listed else places
    cdef Node **end = at + (all.count if all.listed else all.last_place + 1)
    cdef bint ahead = end - at > PLACES_IN_CACHE
    chunk_of(at[0]).reached[FIRST_SLOT] = True
    sweep.pending = 1
    sweep.whole_graph = all.whole_graph
    sweep.marked_inputs = NULL
    sweep.inputs_computed = False
    sweep.shared = leaves_are_shared
    while at != end:
        node = at[0]
        if node != NULL:
            at[0] = NULL
            chunk = chunk_of(node)
            if chunk.reached[FIRST_SLOT]:
                chunk.reached[FIRST_SLOT] = False
                chunk.pulled = True
                sweep.at = at
                if ahead:
                    prefetch(at[NODES_AHEAD])
                    prefetch(chunk_of(at[NODES_AHEAD]))
                    if at[PLACES_AHEAD] != NULL:
                        prefetch_operands(at[PLACES_AHEAD])
                pull(node, chunk.code[FIRST_SLOT], &sweep)
        at += 1


cdef int sweep_all_from(Node *root) except -1:
    """Set the root's gradient to 1 and pull from every node it reaches."""
    cdef Collection all
    cdef list found = []
    if is_computed(root):
        find_order(root, &all, found)
        root.grad = 1.0
        sweep_collected(&all)
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
    begin_collection(node, &all)
    # So that the operands are looked at, and nothing below them.
    all.listed = True
    enlist(node, &all)
    chunk_of(node).collected = False
    if not all.is_full:
        find_below(node, &all)
    for index in range(1, all.count):
        chunk_of(listed_nodes[index]).collected = False
    if all.is_full:
        raise MemoryError("no memory for the order of backward()")
    if all.met_another and not leaves_are_shared:
        run_alone(share_leaves, NULL)
    all.count = 1
    all.whole_graph = whole_graph
    memset(listed_nodes + 1, 0, PLACES_AFTER * sizeof(void *))
    sweep_collected(&all)
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
