# Nodes of many operands: dot products, layers of them, and the reductions of the table.

cdef extern from "Python.h":
    Py_ssize_t PyList_GET_SIZE(object) noexcept
    PyObject *PyList_GET_ITEM(object, Py_ssize_t) noexcept

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
    if name is "relu":
        return 1
    if name not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, not {name!r}")
    return ACTIVATIONS[name]


cdef tuple operands_of(object values):
    """The values as a tuple of Values; numbers become leaves."""
    # Never the caller's own tuple: values_tuple may hide it from the collector.
    cdef tuple operands = tuple(list(values) if type(values) is tuple else values)
    cdef list converted = None
    cdef PyObject *operand
    cdef Py_ssize_t index
    for index in range(PyTuple_GET_SIZE(<PyObject *>operands)):
        operand = PyTuple_GET_ITEM(<PyObject *>operands, index)
        if not is_value(operand):
            if converted is None:
                converted = list(operands)
            number = required_double(<object>operand, "an operand")
            converted[index] = owned(new_node(CODE_LEAF, number))
    return values_tuple(operands if converted is None else converted)


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


cdef class NeuronFields:
    """What a neuron is made of, at fixed places: reading 4 attributes took as long as 8 products."""

    cdef public object w
    cdef public object b
    cdef public object nonlin
    cdef public object activation

    def __getstate__(self):
        return self.w, self.b, self.nonlin, self.activation, vars(self)

    def __setstate__(self, state):
        self.w, self.b, self.nonlin, self.activation, attributes = state
        vars(self).update(attributes)


cdef class Weights:
    """What a layer remembers between calls: the tuple (w1 .. wn, b) that each neuron's nodes share."""

    cdef type neuron_type
    cdef list tuples
    cdef list rows

    def __cinit__(self, type neuron_type not None):
        self.neuron_type = neuron_type
        self.tuples = []
        self.rows = []

    def __reduce__(self):
        return Weights, (self.neuron_type,)

    cdef tuple refresh(self, Py_ssize_t index, NeuronFields neuron):
        """The neuron's tuple, made again if its weights are no longer the same objects."""
        cdef tuple known = self.tuples[index]
        cdef list w
        cdef Py_ssize_t size
        cdef Py_ssize_t position
        if type(neuron.w) is list:
            w = neuron.w
            size = PyList_GET_SIZE(w)
            if PyTuple_GET_SIZE(<PyObject *>known) == size + 1:
                for position in range(size):
                    if PyTuple_GET_ITEM(<PyObject *>known, position) != PyList_GET_ITEM(w, position):
                        break
                else:
                    if PyTuple_GET_ITEM(<PyObject *>known, size) == <PyObject *>neuron.b:
                        return known
        known = operands_of((*neuron.w, neuron.b))
        self.tuples[index] = known
        self.rows[index] = ROW_DOT if all_leaves(known) else ROW_INNER
        return known

    def forward(self, list neurons, inputs):
        """Return one node a neuron: activation(b + w1 * x1 + ... + wn * xn), in that order.

        Returns None, having done nothing, if a neuron is not exactly of the type given at first
        or there are no inputs. Raises
        ValueError if a neuron has another number of weights than there are inputs.
        """
        cdef tuple x
        cdef tuple weights
        cdef NeuronFields neuron
        cdef Py_ssize_t index
        cdef int activation
        cdef list out
        for index in range(len(neurons)):
            if Py_TYPE(PyList_GET_ITEM(neurons, index)) != <PyTypeObject *>self.neuron_type:
                return None
        x = operands_of(inputs)
        if not x:
            return None
        out = []
        if len(self.tuples) != len(neurons):
            self.tuples = [()] * len(neurons)
            self.rows = [ROW_INNER] * len(neurons)
        for index in range(len(neurons)):
            neuron = neurons[index]
            weights = self.refresh(index, neuron)
            if len(weights) != len(x) + 1:
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
    refuse_effect("zero_grad()")
    for value in values:
        if type(value) is Value:
            (<Value>value).grad = 0.0
        else:
            value.grad = 0.0
