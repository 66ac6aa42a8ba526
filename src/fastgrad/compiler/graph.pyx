# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False, binding=False
"""Graph: the records of a traced function, with parameters, arguments and constants told apart."""

cimport cython
from libc.stdint cimport int32_t, int64_t

from fastgrad.engine import Value

__all__ = ["OPERATION_ROWS", "Graph", "Input", "Loop", "in_words", "repeated"]

cdef enum:
    COLUMNS_END = 0x7fffffff


# By the name that saved programs use: the row of each operation.
OPERATION_ROWS = {roles_of(row << 2).name.decode(): row for row in range(1, ROW_END)}
OPERATION_ROWS.update(leaf=ROW_LEAF, constant=ROW_CONSTANT, take=ROW_CUSTOM, inner=ROW_INNER, local=ROW_LOCAL)
OPERATION_ROWS.update(loop=ROW_LOOP, result=ROW_RESULT)
OPERATION_ROWS.pop("")


cdef class Input:
    """An input of a loop's step; graph.pxd describes the fields."""

    def __cinit__(
        self, int kind, Py_ssize_t source, Py_ssize_t number=0, Py_ssize_t first=0, Py_ssize_t stride=1
    ):
        self.kind, self.source, self.number, self.first, self.stride = kind, source, number, first, stride

    def __reduce__(self):
        return Input, (self.kind, self.source, self.number, self.first, self.stride)


cdef class Loop:
    """A step that is repeated: its graph, how often, and what its inputs are.

    In the graph that it is part of, its operands are the first state, the numbers that the step takes from
    outside, and the operands of its inputs.
    """

    def __cinit__(
        self,
        Graph body not None,
        str name not None,
        Py_ssize_t steps,
        Py_ssize_t states,
        Py_ssize_t outside,
        tuple inputs not None,
    ):
        self.body, self.name, self.steps, self.states = body, name, steps, states
        self.outside, self.inputs = outside, inputs
        if not 0 < steps < COLUMNS_END or body.taken != (outside, states, len(inputs)):
            raise ValueError("a damaged program: a loop does not fit its step")
        if len(body.outputs) < states or not all([isinstance(given, Input) for given in inputs]):
            raise ValueError("a damaged program: a loop has no step")
        for place, number in body.selections:
            # An index is read from the argument itself, so the input must be columns.
            if place == INPUT and not (0 <= number < len(inputs) and inputs[number].kind == COLUMNS):
                raise ValueError("a damaged program: an index in a loop is no column of an argument")

    def __reduce__(self):
        raise TypeError("a loop is pickled with its program")


@cython.final
cdef class Graph:
    """Records of three integers each; the engine's records.pxi describes them.

    `numbered_here` says that the operations have the numbers of this build's table. Programs are saved
    with the operations' names: see pickling.py.
    """

    # In __cinit__, as __init__ may be called again: a graph must not change after it was checked.
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
        loops=(),
        tuple taken=None,
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
        self.loops = tuple(loops)
        self.taken = None if taken is None else tuple([<Py_ssize_t>count for count in taken])
        for loop in self.loops:
            if not isinstance(loop, Loop):
                raise TypeError(f"a loop of a program is a Loop, not a {type(loop).__name__}")
        if self.taken is not None and (len(self.taken) != 3 or min(self.taken) < 0 or self.parameters):
            raise ValueError("a damaged program: a step has parameters of its own")
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
            # The way back relies on this: every node has a user or is an output.
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
            if not self.is_valid_place(leaf, column):
                raise ValueError(f"a damaged program: there is no leaf ({leaf}, {column})")
        return 0

    def is_valid_place(self, Py_ssize_t leaf, Py_ssize_t column):
        """Whether a leaf may have this place: of an argument, a parameter or, in a step, of its numbers."""
        if leaf >= 0:
            return self.taken is None and 0 <= column < COLUMNS_END
        if self.taken is None:
            return leaf == OUTSIDE and 0 <= column < len(self.parameters)
        return leaf >= INPUT and 0 <= column < self.taken[-1 - leaf]

    def places(self):
        """Yield the place of every argument that is read, as (argument, column)."""
        yield from [place for place in self.leaves if place[0] >= 0]
        for index in range(self.size):
            if self.row(index) == ROW_CUSTOM:
                place = self.selections[self.operands[self.first(index)]]
                if place[0] >= 0:
                    yield place
        for loop in self.loops:
            for given in loop.inputs:
                if given.kind == COLUMNS:
                    yield given.source, given.first
                    yield given.source, given.first + (loop.steps - 1) * given.stride
            yield from loop.body.places()

    cdef bint is_valid(self, Py_ssize_t index) except -1:
        """Whether a record refers only to leaves and constants that exist and to records before it."""
        cdef int row = self.row(index)
        cdef int64_t first = self.first(index), second = self.second(index), at
        if row == ROW_LEAF:
            return 0 <= first < len(self.leaves)
        if row == ROW_CONSTANT:
            return 0 <= first < len(self.constants)
        if row < ROW_CONSTANT or row > ROW_RESULT or row == ROW_DOT:
            return False
        if not has_many_operands(row):
            if has_two_operands(row) and not (0 <= second < index and self.row(second) != ROW_LOOP):
                return False
            return 0 <= first < index and self.row(first) != ROW_LOOP
        if first < 0 or second < 1 or first + second > len(self.operands_bytes) // 4:
            return False
        if ROW_FIRST_TERNARY <= row < ROW_END and second != 3:
            return False
        if row == ROW_CUSTOM or row == ROW_INNER:
            if second < 2:
                return False
        if row == ROW_LOCAL and (second < 3 or second % 2 == 0):
            return False
        if has_symbol(row):
            if not 0 <= self.operands[first] < len(self.selections):
                return False
            first, second = first + 1, second - 1
        for at in range(first, first + second):
            if not 0 <= self.operands[at] < index:
                return False
            if self.row(self.operands[at]) == ROW_LOOP and row != ROW_RESULT and row != ROW_LOOP:
                return False
        if row == ROW_LOOP:
            return self.is_valid_loop(index)
        if row == ROW_RESULT:
            return self.is_valid_result(index)
        if row == ROW_CUSTOM:
            argument, column = self.selections[self.operands[self.first(index)]]
            return argument >= 0 or (
                self.taken is not None and argument == INPUT and self.is_valid_place(argument, column)
            )
        return True

    cdef bint is_valid_loop(self, Py_ssize_t index) except -1:
        """Whether a loop has the number and kinds of operands that it needs."""
        cdef Loop loop, other
        cdef Input given
        cdef Py_ssize_t count = self.second(index) - 1, at, end = 0
        cdef tuple loops = ()
        kind, number = self.selections[self.operands[self.first(index)]]
        if kind != OUTSIDE or not 0 <= number < len(self.loops):
            return False
        loop = self.loops[number]
        end = loop.states + loop.outside
        for given in loop.inputs:
            if given.kind == ELEMENTS:
                if given.source != end:
                    return False
                end += loop.steps
            elif given.kind == MADE:
                if given.source != end or end >= count:
                    return False
                if not is_some_loop(self, self.loop_operand(index, end)):
                    return False
                other = self.loop_of(self.loop_operand(index, end))
                loops += (end,)
                if not 0 <= given.number < other.makes() or not stays_below(given, loop.steps, other.steps):
                    return False
                end += 1
            elif given.kind != COLUMNS or given.source < 0 or not stays_below(given, loop.steps, COLUMNS_END):
                return False
        for at in range(min(count, end)):
            if at not in loops and self.row(self.loop_operand(index, at)) == ROW_LOOP:
                return False
        return count == end

    cdef bint is_valid_result(self, Py_ssize_t index) except -1:
        cdef Loop loop
        if self.second(index) != 2 or not is_some_loop(self, self.loop_operand(index, 0)):
            return False
        loop = self.loop_of(self.loop_operand(index, 0))
        kind, number = self.selections[self.operands[self.first(index)]]
        return kind == STATE and 0 <= number < loop.states + loop.steps * loop.makes()

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
        for at in range(first + has_symbol(row), first + second):
            used[self.operands[at]] = 1
        return 0

    cdef dict mark_needed(self, bytearray needed):
        """Mark what the marked records depend on; return the outputs of its step that each loop needs.

        Derivatives go through these alone: one that is not finite, times 0, would be nan.
        """
        cdef Py_ssize_t index
        cdef int row
        cdef Loop loop
        cdef dict read = {}
        for index in range(self.size - 1, -1, -1):
            row = self.row(index)
            if not needed[index]:
                continue
            if row == ROW_LOOP:
                self.mark_operands_of_loop(index, needed, read)
            elif row == ROW_RESULT:
                source, number = self.loop_operand(index, 0), self.result_of(index)
                loop = self.loop_of(source)
                if number >= loop.states:
                    number = loop.states + (number - loop.states) % loop.makes()
                needed[source] = True
                read.setdefault(source, set()).add(number)
            else:
                self.mark_operands(index, needed)
        return read

    cdef int mark_operands_of_loop(self, Py_ssize_t index, bytearray needed, dict read) except -1:
        cdef Loop loop = self.loop_of(index)
        cdef Graph body = loop.body
        cdef Input given
        cdef Py_ssize_t at
        cdef set outputs = read.setdefault(index, set())
        cdef bytearray used = body.needed_by(outputs)
        for at in range(loop.states):
            if at in outputs:
                needed[self.loop_operand(index, at)] = True
        for number in body.taken_from(OUTSIDE, used):
            needed[self.loop_operand(index, loop.states + number)] = True
        for number in body.taken_from(INPUT, used):
            given = loop.inputs[number]
            for at in range(loop.steps if given.kind == ELEMENTS else 1 if given.kind == MADE else 0):
                needed[self.loop_operand(index, given.source + at)] = True
            if given.kind == MADE:
                source = self.loop_operand(index, given.source)
                read.setdefault(source, set()).add(self.loop_of(source).states + given.number)
        return 0

    cdef set taken_from(self, int place, bytearray needed):
        """In a loop's step: the numbers that these records read from a place, such as OUTSIDE."""
        return {
            self.leaves[self.first(index)][1]
            for index in range(self.size)
            if needed[index] and self.row(index) == ROW_LEAF and self.leaves[self.first(index)][0] == place
        }

    cdef bytearray needed_by(self, set outputs):
        """In a loop's step: the records that these outputs depend on; adds the needed states to `outputs`."""
        cdef Py_ssize_t known = -1
        cdef bytearray needed
        while len(outputs) > known:
            known = len(outputs)
            needed = bytearray(self.size)
            for number in outputs:
                needed[<Py_ssize_t>self.outputs[number]] = True
            self.mark_needed(needed)
            outputs |= self.taken_from(STATE, needed)
        return needed

    def _read_by(self, outputs not None):
        """In a loop's step: return the outputs that these need, sorted, and the places that are read."""
        cdef set read = set(outputs)
        cdef bytearray needed = self.needed_by(read)
        return sorted(read), {
            (place, number) for place in (OUTSIDE, STATE, INPUT) for number in self.taken_from(place, needed)
        }

    def _needed_by(self, read=None):
        """Return which records these outputs (default: all) need, and the same for the steps of loops."""
        needed = bytearray(self.size)
        for number in range(len(self.outputs)):
            if read is None or number in read:
                needed[<Py_ssize_t>self.outputs[number]] = True
        return needed, self.mark_needed(needed)

    def _taken(self):
        """Return how many (numbers from outside, states, inputs) a step reads; None for a whole function."""
        return self.taken

    def _loops(self):
        """Return the loops, in the order of their numbers."""
        return self.loops

    def _parts(self):
        """Return the arguments of Graph except the last three; the lists are copies."""
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


cdef bint is_some_loop(Graph self, Py_ssize_t index) except -1:
    """Whether a record, not known to be valid yet, names a loop that exists."""
    cdef int64_t first = self.first(index), second = self.second(index)
    if self.row(index) != ROW_LOOP or first < 0 or second < 1:
        return False
    if first + second > len(self.operands_bytes) // 4:
        return False
    if not 0 <= self.operands[first] < len(self.selections):
        return False
    kind, number = self.selections[self.operands[first]]
    return kind == OUTSIDE and 0 <= number < len(self.loops)


cdef bint stays_below(Input given, Py_ssize_t steps, Py_ssize_t end) noexcept:
    """Whether the columns of all steps are from 0 to the end."""
    cdef Py_ssize_t last
    if not -COLUMNS_END < given.stride < COLUMNS_END or steps >= COLUMNS_END:
        return False
    last = given.first + (steps - 1) * given.stride
    return 0 <= given.first < end and 0 <= last < end


cdef tuple pairs_of(pairs):
    """Pairs of integers as a tuple of tuples."""
    cdef Py_ssize_t first, second
    cdef list result = []
    for first, second in pairs:
        result.append((first, second))
    return tuple(result)


include "repetition.pxi"
