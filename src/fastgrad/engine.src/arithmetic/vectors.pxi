# Nodes of many operands: dot products, matrices of them, and the reductions of the table.

cdef extern from "Python.h":
    Py_ssize_t PyList_GET_SIZE(object) noexcept
    PyObject *PyList_GET_ITEM(object, Py_ssize_t) noexcept
    char *PyByteArray_AS_STRING(object) noexcept
    PyTypeObject PyList_Type
    PyTypeObject PyTuple_Type
    Py_ssize_t PySequence_Fast_GET_SIZE(void *) noexcept nogil
    PyObject **PySequence_Fast_ITEMS(void *) noexcept nogil
    bint PySequence_Check(object) noexcept

from cpython.list cimport PyList_New
from cpython.tuple cimport PyTuple_New
from libc.math cimport INFINITY
from libc.string cimport memcmp


cdef int activation_code(object name) except -1:
    if name not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, not {name!r}")
    return ACTIVATIONS.index(name)


cdef inline int require_list(object values, str asking) except -1:
    """Raise TypeError with the name of the function unless the values are iterable."""
    if Py_TYPE(<PyObject *>values).tp_iter == NULL and not PySequence_Check(values):
        # A Value has no text in a trace.
        found = "a Value" if traced_here() and is_value(<PyObject *>values) else repr(values)
        raise TypeError(f"{asking} needs a list of Values or numbers, not {found}")
    return 0


cdef tuple operands_of(object values, str asking):
    """The values as a tuple of Values; numbers become leaves."""
    require_list(values, asking)
    cdef tuple operands = tuple(values)
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
    return operands if converted is None else tuple(converted)


cdef bint all_leaves(tuple values) noexcept:
    cdef Py_ssize_t index
    for index in range(PyTuple_GET_SIZE(<PyObject *>values)):
        if code_of(<Node *>PyTuple_GET_ITEM(<PyObject *>values, index)) > CODE_FRESH:
            return False
    return True


cdef inline double product_at(PyObject *w, PyObject *x, Py_ssize_t index) noexcept nogil:
    return (<Node *>PyTuple_GET_ITEM(w, index)).data * (<Node *>PyTuple_GET_ITEM(x, index)).data


cdef inline double first_term(PyObject *w, PyObject *x) noexcept nogil:
    """The bias, which follows the weights, or else the first product."""
    cdef Py_ssize_t size = PyTuple_GET_SIZE(x)
    if PyTuple_GET_SIZE(w) > size:
        return (<Node *>PyTuple_GET_ITEM(w, size)).data
    return product_at(w, x, 0)


cdef inline double total_of(PyObject *w, PyObject *x) noexcept nogil:
    """bias + w1 * x1 + ... + wn * xn, added up in that order."""
    cdef Py_ssize_t size = PyTuple_GET_SIZE(x)
    cdef double total = first_term(w, x)
    cdef Py_ssize_t index
    for index in range(0 if PyTuple_GET_SIZE(w) > size else 1, size):
        total += product_at(w, x, index)
    return total


cdef inline void four_totals(PyObject **w, PyObject *x, double *totals) noexcept nogil:
    """total_of for four rows side by side: one sum is a chain of additions, each waiting for the last."""
    cdef Py_ssize_t size = PyTuple_GET_SIZE(x)
    cdef double first = first_term(w[0], x), second = first_term(w[1], x)
    cdef double third = first_term(w[2], x), fourth = first_term(w[3], x)
    cdef double a
    cdef Py_ssize_t index
    for index in range(0 if PyTuple_GET_SIZE(w[0]) > size else 1, size):
        a = (<Node *>PyTuple_GET_ITEM(x, index)).data
        first += (<Node *>PyTuple_GET_ITEM(w[0], index)).data * a
        second += (<Node *>PyTuple_GET_ITEM(w[1], index)).data * a
        third += (<Node *>PyTuple_GET_ITEM(w[2], index)).data * a
        fourth += (<Node *>PyTuple_GET_ITEM(w[3], index)).data * a
    totals[0] = first
    totals[1] = second
    totals[2] = third
    totals[3] = fourth


cdef inline PyObject *dot_node(
    int code, double total, PyObject *weights, PyObject *inputs, bint tracked
) except NULL:
    """The node of activation(total), where total is total_of(weights, inputs); the caller owns it."""
    return <PyObject *>binary_node(code, activation_value(code, total), weights, inputs, tracked)


cdef str CHANGED = "the weights were changed while they were being converted"


@internal
cdef class Rows:
    """The rows of a matrix, kept between calls: tuples (w1 .. wn) or (w1 .. wn, bias), shared by nodes."""

    cdef list tuples
    # The code of each row's node: ROW_DOT or ROW_INNER, and the activation.
    cdef bytearray codes
    # Whether the collector knows a weight, and so must know every node computed from the rows.
    cdef bint tracked
    # The value of the global `late_tracks` at which `codes` and `tracked` were found.
    cdef Py_ssize_t late_tracks

    def __cinit__(self):
        self.tuples = []
        self.codes = bytearray()

    cdef Rows own(self):
        """Rows that the caller may change: without the lock a copy, as other threads may read these."""
        cdef Rows copied
        if POOL:
            return self
        copied = Rows()
        copied.tuples, copied.codes = list(self.tuples), bytearray(self.codes)
        copied.tracked, copied.late_tracks = self.tracked, self.late_tracks
        return copied

    cdef inline bint fits(self, Py_ssize_t size) noexcept:
        return self.late_tracks == late_tracks and PyList_GET_SIZE(self.tuples) == size

    cdef int resize(self, Py_ssize_t size) except -1:
        """Make room for this many rows; keep those that are known."""
        if not self.fits(size):
            self.late_tracks = late_tracks
            self.tracked = False
            self.tuples = [()] * size
            self.codes = bytearray(size)
        return 0

    cdef Py_ssize_t refresh(self, Py_ssize_t index, object w, object bias, int activation) except -1:
        """Make the row's tuple again if w or bias (None for no bias) are other objects; return its size."""
        cdef PyObject *known
        cdef char *code
        cdef tuple weights
        self.require_row(index)
        known = PyList_GET_ITEM(self.tuples, index)
        if not holds(known, <PyObject *>w, <PyObject *>bias, PyTuple_GET_SIZE(known)):
            require_list(w, "linear")
            weights = operands_of(w if bias is None else (*w, bias), "linear")
            self.require_row(index)
            self.tuples[index] = weights
            known = <PyObject *>weights
            self.look_at(index)
        code = PyByteArray_AS_STRING(self.codes) + index
        code[0] = code[0] & ~3 | activation
        return PyTuple_GET_SIZE(known)

    cdef void look_at(self, Py_ssize_t index) noexcept:
        """Note whether all weights of a row are leaves, and whether the collector knows one."""
        cdef PyObject *weights = PyList_GET_ITEM(self.tuples, index)
        cdef char *code = PyByteArray_AS_STRING(self.codes) + index
        code[0] = (CODE_DOT if all_leaves(<tuple>weights) else CODE_INNER) | code[0] & 3
        self.tracked = self.tracked or any_tracked(weights)

    cdef inline int require_row(self, Py_ssize_t index) except -1:
        if index >= PyList_GET_SIZE(self.tuples):
            raise RuntimeError(CHANGED)
        return 0

    cdef int require(self, Py_ssize_t count, Py_ssize_t size) except -1:
        """Raise RuntimeError unless there are so many tuples of this size; note changes of their Values.

        Code of the user's may have used the rows, or tracked Values in them, since they were refreshed: a
        number's __float__, or a finaliser that ran as memory for the results was asked for.
        """
        cdef PyObject **rows = PySequence_Fast_ITEMS(<PyObject *>self.tuples)
        cdef bint outdated = self.late_tracks != late_tracks
        cdef Py_ssize_t index
        if PyList_GET_SIZE(self.tuples) != count:
            raise RuntimeError(CHANGED)
        for index in range(count):
            if PyTuple_GET_SIZE(rows[index]) != size:
                raise RuntimeError(CHANGED)
            if outdated:
                self.look_at(index)
        self.late_tracks = late_tracks
        return 0

    cdef int fill(self, PyObject *x, PyObject **out) except -1:
        """Put one new node a row into an array of empty places; call require() right before."""
        cdef PyObject **rows = PySequence_Fast_ITEMS(<PyObject *>self.tuples)
        cdef unsigned char *codes = <unsigned char *>PyByteArray_AS_STRING(self.codes)
        cdef Py_ssize_t size = PyList_GET_SIZE(self.tuples)
        cdef bint tracked = self.tracked or any_tracked(x)
        cdef Py_ssize_t index = 0
        cdef int which
        cdef double totals[4]
        cdef double total
        while index + 4 <= size:
            four_totals(rows + index, x, totals)
            total = totals[0] + totals[1] + totals[2] + totals[3]
            # Checked here and not in dot_node, where it is 10 % slower.
            if total != total:
                self.refuse_unknown(x)
            for which in range(4):
                out[index] = dot_node(codes[index], totals[which], rows[index], x, tracked)
                index += 1
        while index < size:
            total = total_of(rows[index], x)
            if total != total:
                self.refuse_unknown(x)
            out[index] = dot_node(codes[index], total, rows[index], x, tracked)
            index += 1
        return 0

    cdef int refuse_unknown(self, PyObject *x) except -1:
        """Raise TracingError for weights and inputs that outlived a trace."""
        refuse_unknown_among(<tuple>x)
        for weights in self.tuples:
            refuse_unknown_among(weights)
        return 0

    cdef list nodes(self, tuple inputs, Py_ssize_t width):
        """One node a row, as a list; the rows' tuples are of this width."""
        cdef list out = PyList_New(PyList_GET_SIZE(self.tuples))
        self.require(PyList_GET_SIZE(out), width)
        self.fill(<PyObject *>inputs, PySequence_Fast_ITEMS(<PyObject *>out))
        return out


cdef inline bint same_items(PyObject *first, PyObject *second, Py_ssize_t size) noexcept nogil:
    """Whether two lists or tuples begin with the same objects."""
    return not memcmp(
        PySequence_Fast_ITEMS(first), PySequence_Fast_ITEMS(second), size * sizeof(PyObject *)
    )


cdef inline bint holds(PyObject *known, PyObject *w, PyObject *bias, Py_ssize_t size) noexcept nogil:
    """Whether the tuple has this size and holds exactly the objects of w, a list or tuple, and the bias."""
    if PyTuple_GET_SIZE(known) != size:
        return False
    if bias != <PyObject *>None:
        size -= 1
        if size < 0 or PyTuple_GET_ITEM(known, size) != bias:
            return False
    if Py_TYPE(w) != &PyList_Type and Py_TYPE(w) != &PyTuple_Type or PySequence_Fast_GET_SIZE(w) != size:
        return False
    return size > 0 and same_items(known, w, size)


cdef class _Matrix(list):
    """A list of rows that `linear` reads faster: the rows' nodes share tuples made at the first call.

    It is a list in every other respect; rows and their elements may be replaced at any time.
    """

    cdef Rows rows

    def __reduce__(self):
        return type(self), (list(self),)


cdef Rows known_rows(_Matrix matrix):
    cdef Rows rows
    with critical_section(matrix):
        if matrix.rows is None:
            matrix.rows = Rows()
        rows = matrix.rows
    return rows.own()


cdef int know_rows(_Matrix matrix, Rows rows) except -1:
    with critical_section(matrix):
        matrix.rows = rows
    return 0


def dot(w, x, b=None, activation="linear"):
    """Return activation(b + w1 * x1 + ... + wn * xn) as one node, for Values or numbers.

    Raises ValueError if the lengths differ or are 0.
    """
    cdef tuple inputs = operands_of(x, "dot")
    cdef tuple weights = operands_of(w, "dot")
    cdef int code = activation_code(activation)
    cdef double total
    if len(weights) != len(inputs) or not inputs:
        raise ValueError(
            f"dot needs as many weights as inputs, at least one: {len(weights)} and {len(inputs)}"
        )
    if b is not None:
        weights = (*weights, *operands_of((b,), "dot"))
    total = total_of(<PyObject *>weights, <PyObject *>inputs)
    if total != total:
        refuse_unknown_among(weights)
        refuse_unknown_among(inputs)
    return owned(
        dot_node(
            (CODE_DOT if all_leaves(weights) else CODE_INNER) | code,
            total,
            <PyObject *>weights,
            <PyObject *>inputs,
            any_tracked(<PyObject *>weights) or any_tracked(<PyObject *>inputs),
        )
    )


def linear(x, weight, bias=None, activation="linear"):
    """Return [activation(bias[i] + weight[i][0] * x[0] + ...) for each row i], one node a row.

    `x` are n Values or numbers, `weight` is a sequence of rows of n, `bias` None or as many as there
    are rows. The sums are added up in the order written. A Matrix as the weight saves a copy of every
    row. Raises ValueError if lengths differ or are 0.
    """
    cdef tuple inputs = operands_of(x, "linear")
    require_list(weight, "linear")
    require_list(() if bias is None else bias, "linear")
    cdef list biases = None if bias is None else list(bias)
    # Copies: a number's __float__ may change the caller's lists.
    cdef list matrix = list(weight)
    cdef Rows rows
    cdef Py_ssize_t index, size
    cdef Py_ssize_t width = len(inputs) if bias is None else len(inputs) + 1
    cdef int code = activation_code(activation)
    if not inputs or not matrix:
        raise ValueError(f"linear of {len(inputs)} inputs and {len(matrix)} rows of weights")
    if biases is not None and len(biases) != len(matrix):
        raise ValueError(f"linear of {len(matrix)} rows of weights was given {len(biases)} biases")
    if biases is not None and any([b is None for b in biases]):
        raise TypeError("a bias must be a Value or a number, not NoneType")
    rows = known_rows(weight) if type(weight) is _Matrix else Rows()
    rows.resize(len(matrix))
    for index in range(len(matrix)):
        size = rows.refresh(index, matrix[index], None if biases is None else biases[index], code)
        if size != width:
            raise ValueError(
                f"row {index} has {size - width + len(inputs)} weights for {len(inputs)} inputs"
            )
    if type(weight) is _Matrix:
        know_rows(weight, rows)
    return rows.nodes(inputs, width)


def _reduce(str name, values):
    """Return a reduction of the table over Values or numbers as one node, for example 'logsumexp'.

    Raises ValueError if there are no values.
    """
    cdef int row = REDUCTION_ROWS[name]
    cdef tuple operands = operands_of(values, name)
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
    if total != total:
        refuse_unknown_among(operands)
    node = new_node(code_for(row, 0), reduction_finish(row, total, <double>size, shift))
    set_operands(node, operands)
    return owned(node)


def softmax(values):
    """Return [exp(xi) / (exp(x1) + ... + exp(xn))]: a `softmax` node a value, over one of logsumexp.

    Raises ValueError if there are no values.
    """
    cdef tuple operands = operands_of(values, "softmax")
    cdef Value total
    cdef Py_ssize_t index
    if not operands:
        raise ValueError("softmax of no values")
    total = _reduce("logsumexp", operands)
    return [
        node_of_two(
            ROW_SOFTMAX, <Node *>PyTuple_GET_ITEM(<PyObject *>operands, index), <Node *><PyObject *>total
        )
        for index in range(len(operands))
    ]


def scale(values, factor):
    """Return [x1 * factor, ..., xn * factor], one node each, for Values or numbers."""
    cdef tuple operands = operands_of(values, "scale")
    if not is_number(factor):
        factor = as_value(factor, "scale")
    return [binary(ROW_MUL, operand, factor) for operand in operands]


def add(left, right):
    """Return [a1 + b1, ..., an + bn], one node each; ValueError if the lengths differ."""
    cdef tuple first = operands_of(left, "add")
    cdef tuple second = operands_of(right, "add")
    cdef Py_ssize_t index
    if len(first) != len(second):
        raise ValueError(f"add needs two equally long vectors: got {len(first)} and {len(second)}")
    return [
        node_of_two(
            ROW_ADD,
            <Node *>PyTuple_GET_ITEM(<PyObject *>first, index),
            <Node *>PyTuple_GET_ITEM(<PyObject *>second, index),
        )
        for index in range(len(first))
    ]
