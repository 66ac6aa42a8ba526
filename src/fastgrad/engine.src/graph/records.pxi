# A graph as flat arrays, for fastgrad.compiler.program: one record a node, operands before results.
#
# A record is three integers: the row of the operation, and two whose meaning depends on the row:
#     ROW_LEAF                  index into the list of leaves; nothing
#     ROW_CONSTANT              index into the constants; nothing
#     one operand               its record; nothing
#     two operands              their records
#     ROW_INNER                 offset into the operands (w1, x1, .. wn, xn, bias); their number
#     a reduction, or three     offset into the operands; their number
#     ROW_CUSTOM                offset into the operands; their number; the first is an index into the symbols
#     ROW_LOCAL                 offset into the operands (result, x1, dx1, .. xn, dxn); their number
#     a loop, its results       the same as ROW_CUSTOM, with the row that the symbol names in `_record`

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree, PyMem_RawMalloc
from libc.stdint cimport int32_t

from fastgrad.compiler.memory cimport Integers, append, as_offset

cdef struct Numbering:
    # An open-addressing table from a node's address to the number of its record.
    PyObject **keys
    int32_t *numbers
    size_t mask


cdef int make_numbering(Numbering *table, Py_ssize_t count) except -1:
    """Have room for so many nodes."""
    cdef size_t room = 64
    as_offset(count)
    while room < 2 * <size_t>count:
        room *= 2
    table.mask = room - 1
    table.keys = <PyObject **>PyMem_RawCalloc(room, sizeof(PyObject *))
    table.numbers = <int32_t *>PyMem_RawMalloc(room * sizeof(int32_t))
    if table.keys == NULL or table.numbers == NULL:
        raise MemoryError("no memory to number the nodes of a graph")  # no cover: in `nox -s faults`
    return 0


cdef inline size_t place_of(Numbering *table, PyObject *node) noexcept:
    cdef uint64_t mixed = (<uintptr_t>node // SLOT_BYTES) * <uint64_t>0x9E3779B97F4A7C15 >> 20
    cdef size_t place = <size_t>mixed & table.mask
    while table.keys[place] != NULL and table.keys[place] != node:
        place = place + 1 & table.mask
    return place


cdef inline int32_t number_of(Numbering *table, PyObject *node) noexcept:
    return table.numbers[place_of(table, node)]


cdef str shown_symbol(object symbol):
    """The symbol for a message, if it is a str: the text of another object may show numbers of the trace."""
    return repr(symbol) if type(symbol) is str else f"of type {type(symbol).__name__}"


@internal
cdef class GraphReader:
    """Collects the records; the arrays are handed out as bytes."""

    cdef Integers records
    cdef Integers operands
    cdef Numbering table
    cdef Py_ssize_t count
    cdef list leaves
    cdef list symbols
    cdef list constants
    cdef dict known_constants
    # By the number of a record that is given by its local derivatives: the rule that gives them, if any.
    cdef dict rules
    # The ids of nodes that are read as leaves: those that a loop's step takes from outside.
    cdef set captured

    def __dealloc__(self):
        PyMem_RawFree(self.records.items)
        PyMem_RawFree(self.operands.items)
        PyMem_RawFree(self.table.keys)
        PyMem_RawFree(self.table.numbers)

    cdef int32_t record(self, int row, Py_ssize_t first, Py_ssize_t second) except -1:
        append(&self.records, row)
        append(&self.records, as_offset(first))
        append(&self.records, as_offset(second))
        self.count += 1
        return <int32_t>(self.count - 1)

    cdef int32_t constant(self, double number) except -1:
        key = (number, str(number)) if number == 0.0 else number
        known = self.known_constants.get(key)
        if known is not None and number == number:
            return known
        self.constants.append(number)
        self.known_constants[key] = result = self.record(ROW_CONSTANT, len(self.constants) - 1, 0)
        return result

    cdef int take_tuple(self, PyObject *values, Py_ssize_t size) except -1:
        cdef Py_ssize_t index
        for index in range(size):
            append(&self.operands, number_of(&self.table, PyTuple_GET_ITEM(values, index)))
        return 0

    cdef int32_t read_local(self, Node *node) except -1:
        """The record of a node that is given by its local derivatives."""
        cdef PyObject *derivatives = derivatives_of(node)
        cdef Py_ssize_t size = PyTuple_GET_SIZE(node.left), start = self.operands.size, index
        cdef PyObject *derivative
        cdef int32_t number
        if PyTuple_GET_SIZE(derivatives) == size or not is_value(PyTuple_GET_ITEM(derivatives, size + 1)):
            raise TracingError(
                "a node that was given by its local derivatives outside of the compiled function cannot be "
                "used in it: its number would not change with what it was computed from; make it inside"
            )
        append(&self.operands, number_of(&self.table, PyTuple_GET_ITEM(derivatives, size + 1)))
        for index in range(size):
            derivative = PyTuple_GET_ITEM(derivatives, index)
            if is_value(derivative):
                number = number_of(&self.table, derivative)
            else:
                number = self.constant(PyFloat_AS_DOUBLE(derivative))
            append(&self.operands, number_of(&self.table, PyTuple_GET_ITEM(node.left, index)))
            append(&self.operands, number)
        number = self.record(ROW_LOCAL, start, self.operands.size - start)
        rule = rule_of(node)
        if rule is not None:
            self.rules[number] = rule
        return number

    cdef int32_t read(self, Value value) except -1:
        cdef Node *node = <Node *><PyObject *>value
        cdef PyObject *extras = extras_of(node)
        cdef int code = code_of(node)
        cdef int row = row_of(code), form = form_of(code)
        cdef Py_ssize_t start = self.operands.size
        cdef Py_ssize_t size, index
        cdef int32_t left, right, result
        if id(value) in self.captured:
            # If it cannot be compiled, the graph outside refuses it.
            self.leaves.append(value)
            return self.record(ROW_LEAF, len(self.leaves) - 1, 0)
        if extras != NULL and (<Extras>extras).backward is not None:
            raise TracingError(
                f"a node with a _backward of its own ({shown_symbol(symbol_of(value))}) cannot be compiled: "
                "write it with the operations of Value"
            )
        if extras != NULL and (<Extras>extras).own_data:
            raise TracingError(
                f"a node ({shown_symbol(symbol_of(value))}) whose data was set to {node.data} cannot be "
                "compiled: the program would compute it from its operands; give the function a leaf of that "
                "data"
            )
        if row == ROW_LEAF:
            # A placeholder of a loop's step is made inside.
            if row == ROW_LEAF and in_pool(node) and made_inside(node) and not is_unknown(node.data):
                return self.constant(node.data)
            self.leaves.append(value)
            return self.record(ROW_LEAF, len(self.leaves) - 1, 0)
        if row == ROW_CUSTOM:
            symbol = symbol_of(value)
            if not getattr(symbol, "_compiles", False):
                raise TracingError(
                    f"the node {shown_symbol(symbol)} has operands but no rule that could be compiled: "
                    "write it with the operations of Value"
                )
            self.symbols.append(symbol)
            append(&self.operands, <int32_t>(len(self.symbols) - 1))
            self.take_tuple(node.left, PyTuple_GET_SIZE(node.left))
            return self.record(getattr(symbol, "_record", row), start, self.operands.size - start)
        if row == ROW_LOCAL:
            return self.read_local(node)
        if row == ROW_DOT or row == ROW_INNER:
            size = PyTuple_GET_SIZE(node.right.node)
            for index in range(size):
                append(&self.operands, number_of(&self.table, PyTuple_GET_ITEM(node.left, index)))
                append(&self.operands, number_of(&self.table, PyTuple_GET_ITEM(node.right.node, index)))
            if PyTuple_GET_SIZE(node.left) > size:
                append(&self.operands, number_of(&self.table, PyTuple_GET_ITEM(node.left, size)))
            result = self.record(ROW_INNER, start, self.operands.size - start)
            row = activation_row(code)
            return result if row == ROW_LEAF else self.record(row, result, 0)
        if row >= ROW_FIRST_REDUCTION:
            self.take_tuple(node.left, PyTuple_GET_SIZE(node.left))
            return self.record(row, start, self.operands.size - start)
        left = number_of(&self.table, node.left)
        if row < ROW_FIRST_BINARY:
            return self.record(row, left, 0)
        if form == NODE_NODE:
            return self.record(row, left, number_of(&self.table, node.right.node))
        right = self.constant(node.right.constant)
        if form == CONSTANT_NODE:
            return self.record(row, right, left)
        return self.record(row, left, right)

    cdef int number(self, list order) except -1:
        cdef size_t place
        cdef int32_t record
        make_numbering(&self.table, len(order))
        for value in order:
            record = self.read(value)
            place = place_of(&self.table, <PyObject *>value)
            self.table.keys[place] = <PyObject *>value
            self.table.numbers[place] = record
        return 0

    cdef int keep_from_change(self, list order) except -1:
        """Forbid setting the data of nodes from outside that the program computes."""
        cdef Node *node
        for value in order:
            node = <Node *><PyObject *>value
            if code_of(node) > CODE_FRESH and not made_inside(node):
                require_extras(node).in_program = True
        return 0


def _read_graph(list outputs not None, list order=None, set captured=None):
    """Return the graph below the outputs: records, operands, constants, leaves, symbols, outputs and rules.

    The first two are bytes of 32-bit integers, described at the top of records.pxi; outputs are the record of
    each output, and rules those of nodes given by their derivatives, by record. To be called within _traced:
    a leaf that the traced function made is a constant. With an order, only its nodes are read, and those
    whose ids are captured as leaves. Raises TracingError for a node without a rule of the table's.
    """
    cdef GraphReader reader = GraphReader()
    outputs = list(outputs)
    require_values(outputs)
    if not traced_here():
        raise RuntimeError("a graph is read at the end of a trace")
    reader.leaves, reader.symbols, reader.constants, reader.known_constants = [], [], [], {}
    reader.rules = {}
    reader.captured = set() if captured is None else captured
    if order is None:
        order = topological_order(outputs)
    reader.number(order)
    if captured is None:
        # A step's nodes from outside belong to the graph around the loop.
        reader.keep_from_change(order)
    return (
        PyBytes_FromStringAndSize(<char *>reader.records.items, reader.records.size * sizeof(int32_t)),
        PyBytes_FromStringAndSize(<char *>reader.operands.items, reader.operands.size * sizeof(int32_t)),
        reader.constants,
        reader.leaves,
        reader.symbols,
        [number_of(&reader.table, <PyObject *>output) for output in outputs],
        reader.rules,
    )
