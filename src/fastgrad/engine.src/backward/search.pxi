# The order by depth-first search, for graphs that the sweep cannot serve. Nothing here runs the user's code.

from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc


cdef struct Frame:
    PyObject *node
    Py_ssize_t visited

cdef struct Stack:
    Frame *frames
    Py_ssize_t size
    Py_ssize_t room


cdef int make_room(Stack *stack) except -1:
    """Have room for one more frame, so that nothing can fail between a visit and its frame."""
    cdef Frame *grown
    if stack.size == stack.room:
        grown = <Frame *>PyMem_RawRealloc(stack.frames, (2 * stack.room + 64) * sizeof(Frame))
        if grown == NULL:
            raise MemoryError("no memory to order the graph for backward()")
        stack.frames = grown
        stack.room = 2 * stack.room + 64
    return 0


cdef inline void push(Stack *stack, PyObject *node) noexcept:
    stack.frames[stack.size].node = node
    stack.frames[stack.size].visited = 0
    stack.size += 1


cdef bint is_passed_over(Node *node, Py_ssize_t index) noexcept:
    """Whether the operand with this number gets no gradient: the node chose another operand, or this one is
    a local derivative."""
    cdef int code = code_of(node)
    cdef int row = row_of(code)
    cdef double a, b, c
    if row == ROW_LOCAL:
        return index >= PyTuple_GET_SIZE(node.left)
    if not selects(row):
        return False
    if row >= ROW_FIRST_TERNARY:
        a = (<Node *>PyTuple_GET_ITEM(node.left, 0)).data
        b = (<Node *>PyTuple_GET_ITEM(node.left, 1)).data
        c = (<Node *>PyTuple_GET_ITEM(node.left, 2)).data
        if index == 0:
            return ternary_da(row, a, b, c, node.data) == 0.0
        if index == 1:
            return ternary_db(row, a, b, c, node.data) == 0.0
        return ternary_dc(row, a, b, c, node.data) == 0.0
    a = (<Node *>node.left).data
    if row < ROW_FIRST_BINARY:
        return unary_derivative(row, a, node.data) == 0.0
    b = (<Node *>node.right.node).data if owns_right(code) else node.right.constant
    if index == 0:
        return left_derivative(row, a, b, node.data) == 0.0
    return right_derivative(row, a, b, node.data) == 0.0


cdef inline bint visit_once(PyObject *node, set unmarked) except -1:
    """Note a visit; whether it is the first. A node is visited when its visit begins, and joins the order
    after its operands. Marked as soon as a parent is pushed, diamonds would be in the wrong order.

    Without the lock no node is marked: other threads may look at the same graph.
    """
    cdef Chunk *chunk
    if POOL and in_pool(node):
        chunk = chunk_of(node)
        if chunk.reached[slot_of(node)]:
            return False
        chunk.reached[slot_of(node)] = True
        return True
    address = <uintptr_t>node
    if address in unmarked:
        return False
    unmarked.add(address)
    return True


cdef inline void unvisit(PyObject *node) noexcept:
    if POOL and in_pool(node):
        chunk_of(node).reached[slot_of(node)] = False


cdef list topological_order(list roots, bint chosen_only=False):
    """The nodes below the roots, operands before results; runs no code of the user's.

    With chosen_only those that a gradient reaches, without what only operands that were not chosen use.
    """
    cdef list order = []
    cdef set unmarked = set()
    cdef Stack stack
    cdef Frame *frame
    cdef PyObject *operand
    stack.frames = NULL
    stack.size = stack.room = 0
    try:
        for root in roots:
            make_room(&stack)
            if visit_once(<PyObject *>root, unmarked):
                push(&stack, <PyObject *>root)
            while stack.size > 0:
                make_room(&stack)
                frame = &stack.frames[stack.size - 1]
                operand = operand_at(<Node *>frame.node, frame.visited)
                frame.visited += 1
                if operand == NULL:
                    order.append(<object>frame.node)
                    stack.size -= 1
                elif chosen_only and is_passed_over(<Node *>frame.node, frame.visited - 1):
                    continue
                elif visit_once(operand, unmarked):
                    push(&stack, operand)
    finally:
        while stack.size > 0:
            stack.size -= 1
            unvisit(stack.frames[stack.size].node)
        for node in order:
            unvisit(<PyObject *>node)
        PyMem_RawFree(stack.frames)
    return order
