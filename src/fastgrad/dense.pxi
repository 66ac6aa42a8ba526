# Nodes of many operands: dot products, layers of them, and the reductions of the table.

from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from libc.math cimport INFINITY

cdef dict ACTIVATIONS = {"linear": 0, "relu": 1, "tanh": 2, "sigmoid": 3}


cdef inline int activation_row(int code) noexcept nogil:
    """The activation of a dot product, kept in the two bits that are another operation's kind."""
    cdef int which = code & 3
    if which == 1:
        return ROW_RELU
    elif which == 2:
        return ROW_TANH
    elif which == 3:
        return ROW_SIGMOID
    return ROW_LEAF


cdef int activation_code(object name) except -1:
    if name not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, not {name!r}")
    return ACTIVATIONS[name]


cdef tuple operands_of(object values):
    """The values as a tuple of Values; numbers become leaves."""
    cdef list operands = list(values)
    cdef Py_ssize_t index
    cdef object value
    for index in range(len(operands)):
        value = operands[index]
        if not is_value(<PyObject *>value):
            operands[index] = owned(new_node(CODE_LEAF, required_double(value, "an operand")))
    return values_tuple(operands)


cdef bint all_leaves(tuple values) noexcept:
    cdef Py_ssize_t index
    for index in range(PyTuple_GET_SIZE(<PyObject *>values)):
        if code_of(<Node *>PyTuple_GET_ITEM(<PyObject *>values, index)) > CODE_FRESH:
            return False
    return True


cdef object dot_node(int row, int activation, tuple weights, tuple inputs):
    """activation(bias + w1 * x1 + ... + wn * xn), added up in that order; inputs are not empty."""
    cdef PyObject *w = <PyObject *>weights
    cdef PyObject *x = <PyObject *>inputs
    cdef Py_ssize_t size = PyTuple_GET_SIZE(x)
    cdef Py_ssize_t index = 0
    cdef double total
    cdef Node *node
    if PyTuple_GET_SIZE(w) > size:
        total = (<Node *>PyTuple_GET_ITEM(w, size)).data
    else:
        total = (<Node *>PyTuple_GET_ITEM(w, 0)).data * (<Node *>PyTuple_GET_ITEM(x, 0)).data
        index = 1
    while index < size:
        total += (<Node *>PyTuple_GET_ITEM(w, index)).data * (<Node *>PyTuple_GET_ITEM(x, index)).data
        index += 1
    node = new_node(row << 2 | activation, unary_value(activation_row(activation), total))
    set_left(node, w)
    set_right(node, x)
    return owned(node)


cdef class Weights:
    """What a layer remembers between calls: the tuple (w1 .. wn, b) that each neuron's nodes share."""

    cdef list tuples
    cdef list rows

    def __cinit__(self):
        self.tuples = []
        self.rows = []

    cdef tuple refresh(self, Py_ssize_t index, list w, object b):
        """The neuron's tuple, made again if its weights are no longer the same objects."""
        cdef tuple known = self.tuples[index]
        cdef Py_ssize_t size = PyList_GET_SIZE(w)
        cdef Py_ssize_t position
        if PyTuple_GET_SIZE(<PyObject *>known) == size + 1:
            for position in range(size):
                if PyTuple_GET_ITEM(<PyObject *>known, position) != <PyObject *>PyList_GET_ITEM(w, position):
                    break
            else:
                if PyTuple_GET_ITEM(<PyObject *>known, size) == <PyObject *>b:
                    return known
        known = operands_of((*w, b))
        self.tuples[index] = known
        self.rows[index] = ROW_DOT if all_leaves(known) else ROW_INNER
        return known

    def forward(self, list neurons, inputs):
        """Return one node a neuron: activation(b + w1 * x1 + ... + wn * xn), in that order.

        The neurons have `w` (a list), `b`, `nonlin` and `activation`, read at every call. Raises
        ValueError if a neuron has another number of weights than there are inputs, or none.
        """
        cdef tuple x = operands_of(inputs)
        cdef tuple weights
        cdef Py_ssize_t index
        cdef list out = []
        if len(self.tuples) != len(neurons):
            self.tuples = [()] * len(neurons)
            self.rows = [ROW_INNER] * len(neurons)
        for index in range(len(neurons)):
            neuron = neurons[index]
            weights = self.refresh(index, neuron.w, neuron.b)
            if len(weights) != len(x) + 1 or not x:
                raise ValueError(f"a neuron of {len(weights) - 1} inputs was given {len(x)}")
            activation = activation_code(neuron.activation) if neuron.nonlin else 0
            out.append(dot_node(self.rows[index], activation, weights, x))
        return out


def dot(weights, inputs, bias=None, activation="linear"):
    """Return activation(bias + w1 * x1 + ... + wn * xn) as one node.

    The arguments may hold Values or numbers. Raises ValueError if the lengths differ or are 0.
    """
    cdef tuple x = operands_of(inputs)
    cdef tuple w = operands_of(weights)
    if len(w) != len(x) or not x:
        raise ValueError(f"dot needs as many weights as inputs, at least one: {len(w)} and {len(x)}")
    if bias is not None:
        w = values_tuple((*w, *operands_of((bias,))))
    return dot_node(ROW_DOT if all_leaves(w) else ROW_INNER, activation_code(activation), w, x)


def reduce(str name, values):
    """Return a reduction of the table over Values or numbers as one node, for example 'logsumexp'.

    Raises ValueError if there are no values.
    """
    cdef int row = REDUCTION_ROWS[name]
    cdef tuple operands = operands_of(values)
    cdef Py_ssize_t size = len(operands)
    cdef Py_ssize_t index
    cdef double total = 0.0, shift = 0.0, a
    cdef Node *node
    if size == 0:
        raise ValueError(f"{name} of no values")
    if needs_shift(row):
        shift = -INFINITY
        for index in range(size):
            a = (<Node *>PyTuple_GET_ITEM(<PyObject *>operands, index)).data
            if a > shift:
                shift = a
        if not isfinite(shift):
            shift = 0.0
    for index in range(size):
        a = (<Node *>PyTuple_GET_ITEM(<PyObject *>operands, index)).data
        total = reduction_step(row, total, a, shift)
    node = new_node(row << 2, reduction_finish(row, total, <double>size, shift))
    set_left(node, <PyObject *>operands)
    return owned(node)


def zero_grad(values):
    """Set the gradient of every Value to 0.0."""
    for value in values:
        if type(value) is Value:
            (<Value>value).grad = 0.0
        else:
            value.grad = 0.0
