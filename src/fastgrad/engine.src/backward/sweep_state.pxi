# What a sweep knows as it goes, and how a rule gives a gradient.

cdef struct Sweep:
    # How many nodes are reached and not pulled yet.
    Py_ssize_t pending
    # False for a node's rule alone, which reaches no operand.
    bint whole_graph
    # The inputs of the dot product pulled last: they are pending until everything that uses them,
    # being younger, has been pulled.
    PyObject *marked_inputs
    # Whether all of those are computed, so that none is a leaf among the weights as well.
    bint inputs_computed
    # Without a pool: where in the order the sweep is, and whether other threads add to its leaves' gradients.
    Node **at
    bint shared


cdef inline void mark(Node *node, Sweep *sweep) noexcept nogil:
    """Have a computed node of the pool visited; leaves have nothing to propagate."""
    cdef Chunk *chunk
    cdef int slot
    if not in_pool(node):
        return
    chunk = chunk_of(node)
    slot = slot_of(node)
    if chunk.code[slot] > CODE_FRESH and not chunk.reached[slot] and sweep.whole_graph:
        chunk.reached[slot] = True
        sweep.pending += 1


cdef inline void add_gradient(Node *operand, double amount, Sweep *sweep) noexcept nogil:
    if not POOL and (sweep.shared or not in_pool(operand)):
        add_atomically(&operand.grad, amount)
    else:
        operand.grad += amount


cdef inline void give(Node *operand, double amount, Sweep *sweep) noexcept nogil:
    """Add to an operand's gradient and see to it that the operand is visited."""
    add_gradient(operand, amount, sweep)
    mark(operand, sweep)


cdef void give_chosen(Node *operand, double derivative, double g, Sweep *sweep) noexcept nogil:
    """give() of a row that selects: what was not chosen is not reached, nor is what only it uses."""
    if derivative != 0.0:
        give(operand, derivative * g, sweep)
