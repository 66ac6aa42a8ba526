# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""Graph: the records of a traced function, with parameters, arguments and constants told apart."""

cimport cython
from libc.stdint cimport int32_t, int64_t

from fastgrad.engine import Value

__all__ = ["OPERATION_ROWS", "Graph"]

cdef enum:
    COLUMNS_END = 0x7fffffff


# The number of each operation, by the name that saved programs use.
OPERATION_ROWS = {roles_of(row << 2).name.decode(): row for row in range(1, ROW_END)}
OPERATION_ROWS.update(leaf=ROW_LEAF, constant=ROW_CONSTANT, take=ROW_CUSTOM, inner=ROW_INNER, local=ROW_LOCAL)
OPERATION_ROWS.pop("")


@cython.final
cdef class Graph:
    """Records of three integers each; the engine's records.pxi describes them.

    `numbered_here` says that the operations have the numbers of this build's table. Programs are saved
    with the operations' names: see pickling.py.
    """

    # Not in __init__, which may be called again: a graph must not change after it was checked.
    def __cinit__(
        self,
        bytes records not None,
        bytes operands not None,
        constants not None,
        tuple parameters not None,
        leaves not None,
        selections not None,
        outputs not None,
        bint numbered_here=False,
    ):
        if not numbered_here:
            raise ValueError(
                "this program was saved by an older fastgrad, by the numbers of its operations and not by "
                "their names: the numbers are not known any more; compile the function again and save that"
            )
        self.records_bytes = records
        self.operands_bytes = operands
        self.constants = tuple(constants)
        self.parameters = parameters
        self.leaves = pairs_of(leaves)
        self.selections = pairs_of(selections)
        self.outputs = tuple([<Py_ssize_t>output for output in outputs])
        self.records = <const int32_t *><const char *>self.records_bytes
        self.operands = <const int32_t *><const char *>self.operands_bytes
        self.size = len(self.records_bytes) // 12
        self.validate()

    cdef int validate(self) except -1:
        """Raise ValueError or TypeError for the graph of a damaged pickle: no later pass checks bounds."""
        cdef Py_ssize_t index
        cdef bytearray used = bytearray(self.size)
        if len(self.records_bytes) % 12 or len(self.operands_bytes) % 4 or not self.outputs:
            raise ValueError("a damaged program: its graph is incomplete")
        for output in self.outputs:
            if not 0 <= output < self.size:
                raise ValueError(f"a damaged program: output {output} is not in it")
            used[<Py_ssize_t>output] = 1
        for index in range(self.size - 1, -1, -1):
            # The way back relies on it that every node has a user or is an output.
            if not self.is_valid(index) or not (used[index] or self.row(index) == ROW_CONSTANT):
                raise ValueError(f"a damaged program: node {index} is invalid")
            self.mark_operands(index, used)
        for parameter in self.parameters:
            if not isinstance(parameter, Value):
                raise TypeError(f"a parameter of a program is a Value, not a {type(parameter).__name__}")
        for constant in self.constants:
            if type(constant) is not float:
                raise TypeError(f"a constant of a program is a float, not a {type(constant).__name__}")
        for leaf, column in self.leaves:
            if leaf < -1 or not 0 <= column < (len(self.parameters) if leaf < 0 else COLUMNS_END):
                raise ValueError(f"a damaged program: there is no leaf ({leaf}, {column})")
        return 0

    cdef bint is_valid(self, Py_ssize_t index) noexcept:
        """Whether a record refers only to what is there and, in the graph, before it."""
        cdef int row = self.row(index)
        cdef int64_t first = self.first(index), second = self.second(index), at
        if row == ROW_LEAF:
            return 0 <= first < len(self.leaves)
        if row == ROW_CONSTANT:
            return 0 <= first < len(self.constants)
        if row < ROW_CONSTANT or row >= ROW_END or row == ROW_DOT:
            return False
        if not has_many_operands(row):
            return 0 <= first < index and (not has_two_operands(row) or 0 <= second < index)
        if first < 0 or second < 1 or first + second > len(self.operands_bytes) // 4:
            return False
        if row >= ROW_FIRST_TERNARY and second != 3:
            return False
        if row == ROW_CUSTOM or row == ROW_INNER:
            if second < 2:
                return False
        if row == ROW_LOCAL and (second < 3 or second % 2 == 0):
            return False
        if row == ROW_CUSTOM:
            if not 0 <= self.operands[first] < len(self.selections):
                return False
            first, second = first + 1, second - 1
        for at in range(first, first + second):
            if not 0 <= self.operands[at] < index:
                return False
        return True

    cdef int mark_operands(self, Py_ssize_t index, bytearray used) except -1:
        """Mark the operands of a valid record as used."""
        cdef int row = self.row(index)
        cdef Py_ssize_t first = self.first(index), second = self.second(index), at
        if row == ROW_LEAF or row == ROW_CONSTANT:
            return 0
        if not has_many_operands(row):
            used[first] = 1
            if has_two_operands(row):
                used[second] = 1
            return 0
        for at in range(first + (row == ROW_CUSTOM), first + second):
            used[self.operands[at]] = 1
        return 0

    cdef tuple parts(self):
        """The arguments of Graph, but for the last; the lists are copies."""
        return (
            self.records_bytes,
            self.operands_bytes,
            list(self.constants),
            self.parameters,
            list(self.leaves),
            list(self.selections),
            list(self.outputs),
        )

    def __reduce__(self):
        raise TypeError("a graph is pickled with its program")


cdef tuple pairs_of(pairs):
    """Pairs of integers as a tuple of tuples."""
    cdef Py_ssize_t first, second
    cdef list result = []
    for first, second in pairs:
        result.append((first, second))
    return tuple(result)
