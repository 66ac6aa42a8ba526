# The traced graph, as the engine's reading.pxi hands it out, with its leaves told apart.

cdef enum:
    ROW_CONSTANT = -1


cdef class Graph:
    """Records of three integers each; see reading.pxi for their meaning."""

    cdef bytes records_bytes
    cdef bytes operands_bytes
    cdef const int32_t *records
    cdef const int32_t *operands
    cdef Py_ssize_t size
    cdef list constants
    # The leaves from outside, read at each call, in the order of their first use.
    cdef tuple parameters
    # For each leaf: (argument, column), or (-1, index of the parameter).
    cdef list leaves
    # For each node of `take`: (argument, column) of its index.
    cdef list selections
    cdef list outputs

    def __init__(self, records, operands, constants, parameters, leaves, selections, outputs):
        self.records_bytes = records
        self.operands_bytes = operands
        self.constants = constants
        self.parameters = parameters
        self.leaves = leaves
        self.selections = selections
        self.outputs = outputs
        self.records = <const int32_t *><const char *>self.records_bytes
        self.operands = <const int32_t *><const char *>self.operands_bytes
        self.size = len(self.records_bytes) // 12

    def __reduce__(self):
        return Graph, (
            self.records_bytes,
            self.operands_bytes,
            self.constants,
            self.parameters,
            self.leaves,
            self.selections,
            self.outputs,
        )

    cdef inline int row(self, Py_ssize_t index) noexcept nogil:
        return self.records[3 * index]

    cdef inline int32_t first(self, Py_ssize_t index) noexcept nogil:
        return self.records[3 * index + 1]

    cdef inline int32_t second(self, Py_ssize_t index) noexcept nogil:
        return self.records[3 * index + 2]


cdef inline bint has_many_operands(int row) noexcept nogil:
    return row >= ROW_TABLE_END


cdef inline bint has_two_operands(int row) noexcept nogil:
    return ROW_FIRST_BINARY <= row < ROW_TABLE_END
