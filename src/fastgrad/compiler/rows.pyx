# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False, binding=False
"""A graph computed one row at a time, by the engine's own rules.

`strict=True` uses it, and so do gradients that the kernels get wrong. In the kernels, the gradient of an
operand that `where` did not choose is 0 times its derivative: nan if the derivative is infinite. The engine
does not visit such an operand. So if a gradient of a program that chooses is not finite, its rows are
computed here.
"""

from libc.math cimport INFINITY, isfinite
from libc.stdint cimport int32_t, int64_t, uintptr_t
from libc.string cimport memcpy, memset

from cpython.mem cimport PyMem_RawFree

from fastgrad.compiler.graph cimport COLUMNS, ELEMENTS, OUTSIDE, ROW_LOOP, ROW_RESULT, STATE
from fastgrad.compiler.graph cimport Graph, Input, Loop, has_many_operands, has_symbol, has_two_operands
from fastgrad.compiler.instructions cimport INDICES, REALS, Argument, choice
from fastgrad.compiler.lowering cimport INPUTS, SHARED, sums_up
from fastgrad.compiler.memory cimport zeroed
from fastgrad.ops cimport *

__all__ = []


cdef class RowProgram:
    """A graph as plain C arrays, for one purpose."""

    def __cinit__(self, Graph graph not None, int purpose, tuple kinds not None):
        cdef Py_ssize_t index, at
        cdef int32_t first, second
        cdef int row, kind
        cdef RowGraph *of = &self.of
        self.graph = graph
        of.size, of.records, of.operands = graph.size, graph.records, graph.operands
        of.leaf_count, of.output_count = len(graph.leaves), len(graph.outputs)
        of.parameter_count = len(graph.parameters)
        of.constants = <double *>zeroed(len(graph.constants), sizeof(double))
        of.leaves = <int32_t *>zeroed(3 * of.leaf_count, sizeof(int32_t))
        of.selections = <int32_t *>zeroed(2 * len(graph.selections), sizeof(int32_t))
        of.outputs = <int32_t *>zeroed(of.output_count, sizeof(int32_t))
        of.active = <char *>zeroed(of.size, 1)
        for index, number in enumerate(graph.constants):
            of.constants[index] = number
        for index, place in enumerate(graph.leaves):
            of.leaves[3 * index], of.leaves[3 * index + 1] = place_in_row(graph, place)
        for index in range(of.size):
            if has_symbol(graph.row(index)):
                at = graph.operands[graph.first(index)]
                argument, column = graph.selections[at]
                if graph.row(index) == ROW_CUSTOM:
                    argument, column = place_in_row(graph, (argument, column))
                of.selections[2 * at], of.selections[2 * at + 1] = argument, column
        self.add_loops(purpose, kinds)
        for index, output in enumerate(graph.outputs):
            of.outputs[index] = output
        for index in range(of.size):
            row, first, second = graph.row(index), graph.first(index), graph.second(index)
            if row == ROW_LEAF:
                of.leaves[3 * first + 2] = <int32_t>index
                if graph.taken is not None:
                    of.active[index] = True
                elif of.leaves[3 * first] < 0:
                    of.active[index] = sums_up(purpose)
                else:
                    kind = kinds[of.leaves[3 * first]]
                    of.active[index] = (purpose == INPUTS and kind != INDICES) or (
                        purpose == SHARED and kind != INDICES and kind != REALS
                    )
            elif row == ROW_CONSTANT:
                continue
            elif has_many_operands(row):
                # The gradients of a loop's inputs may be wanted though none of its operands' is.
                of.active[index] = row == ROW_LOOP or row == ROW_RESULT
                # ROW_LOCAL has a result and pairs of an operand and its derivative: look at the operands.
                for at in range(first + (has_symbol(row) or row == ROW_LOCAL), first + second,
                                2 if row == ROW_LOCAL else 1):
                    of.active[index] |= of.active[of.operands[at]]
            else:
                of.active[index] = of.active[first] or (has_two_operands(row) and of.active[second])

    cdef int add_loops(self, int purpose, tuple kinds) except -1:
        cdef RowLoop *row_loop
        cdef Loop loop
        cdef Input given
        cdef RowProgram body
        cdef Py_ssize_t index, at
        self.bodies = []
        self.of.loop_count = len(self.graph.loops)
        self.of.loops = <RowLoop *>zeroed(self.of.loop_count, sizeof(RowLoop))
        for index in range(self.of.loop_count):
            loop, row_loop = self.graph.loops[index], &self.of.loops[index]
            body = RowProgram(loop.body, purpose, kinds)
            self.bodies.append(body)
            row_loop.body = &body.of
            row_loop.steps, row_loop.states, row_loop.outside = loop.steps, loop.states, loop.outside
            row_loop.inputs, row_loop.makes = len(loop.inputs), loop.makes()
            row_loop.given = <RowInput *>zeroed(row_loop.inputs, sizeof(RowInput))
            for at in range(row_loop.inputs):
                given = loop.inputs[at]
                row_loop.given[at].kind, row_loop.given[at].source = given.kind, given.source
                row_loop.given[at].number, row_loop.given[at].first = given.number, given.first
                row_loop.given[at].stride = given.stride
        return 0

    def __dealloc__(self):
        cdef Py_ssize_t index
        for index in range(self.of.loop_count if self.of.loops != NULL else 0):
            PyMem_RawFree(self.of.loops[index].given)
        PyMem_RawFree(self.of.loops)
        PyMem_RawFree(self.of.constants)
        PyMem_RawFree(self.of.leaves)
        PyMem_RawFree(self.of.selections)
        PyMem_RawFree(self.of.outputs)
        PyMem_RawFree(self.of.active)


cdef tuple place_in_row(Graph graph, tuple place):
    """A place as RowGraph.leaves has it: (argument, column), or (-1, number of the parameter)."""
    if place[0] >= 0 or graph.taken is None:
        return place
    outside, states, _ = graph.taken
    return -1, place[1] + (0 if place[0] == OUTSIDE else outside if place[0] == STATE else outside + states)


cdef class RowMemory:
    """Room for the numbers of one row of a program."""

    def __cinit__(self, RowProgram program not None, bint stops):
        self.owned = []
        self.stops = stops
        self.fill(&self.state, &program.of)

    def __dealloc__(self):
        for address in self.owned or ():
            PyMem_RawFree(<void *><uintptr_t>address)

    cdef void *room(self, Py_ssize_t count, size_t size) except NULL:
        cdef void *memory = zeroed(count, size)
        try:
            self.owned.append(<uintptr_t>memory)
        except MemoryError:  # no cover: in `nox -s faults`
            PyMem_RawFree(memory)
            raise
        return memory

    cdef int fill(self, RowState *state, const RowGraph *of) except -1:
        cdef const RowLoop *loop
        cdef RowLoopState *numbers
        cdef Py_ssize_t index, count
        state.stops = self.stops
        state.values = <double *>self.room(of.size, sizeof(double))
        state.gradients = <double *>self.room(of.size, sizeof(double))
        state.reached = <char *>self.room(of.size, 1)
        state.loops = <RowLoopState *>self.room(of.loop_count, sizeof(RowLoopState))
        for index in range(of.loop_count):
            loop, numbers = &of.loops[index], &state.loops[index]
            self.fill(&numbers.body, loop.body)
            count = loop.outside + loop.states + loop.inputs
            numbers.given = <double *>self.room(count, sizeof(double))
            numbers.given_gradients = <double *>self.room(count, sizeof(double))
            numbers.states = <double *>self.room((loop.steps + 1) * loop.states, sizeof(double))
            numbers.made = <double *>self.room(loop.steps * loop.makes, sizeof(double))
            numbers.last_gradients = <double *>self.room(loop.states, sizeof(double))
            numbers.made_gradients = <double *>self.room(loop.steps * loop.makes, sizeof(double))
            numbers.seeds = <double *>self.room(loop.states + loop.makes, sizeof(double))
        return 0


cdef double value_of_many(int row, const int32_t *operands, int32_t count, const double *u) noexcept nogil:
    """The value of a reduction, or of an operation of three operands."""
    cdef double shift = 0.0
    cdef double total = 0.0
    cdef int32_t k
    if row >= ROW_FIRST_TERNARY:
        return ternary_value(row, u[operands[0]], u[operands[1]], u[operands[2]])
    if needs_shift(row):
        shift = -INFINITY
        for k in range(count):
            if u[operands[k]] > shift:
                shift = u[operands[k]]
        if not isfinite(shift):
            shift = 0.0
    for k in range(count):
        total = reduction_step(row, total, u[operands[k]], shift)
    return reduction_finish(row, total, <double>count, shift)


cdef bint any_selects(Graph graph) noexcept:
    """Whether the graph has an operation that chooses among its operands, such as `where`."""
    cdef Py_ssize_t index
    for index in range(graph.size):
        if graph.row(index) > 0 and selects(graph.row(index)):
            return True
    for loop in graph.loops:
        if any_selects((<Loop>loop).body):
            return True
    return False


cdef double read_argument(const Argument *argument, Py_ssize_t row, Py_ssize_t column) noexcept nogil:
    cdef const char *data = argument.data + row * argument.row_step + column * argument.column_step
    if argument.kind == INDICES:
        return <double>(<const int64_t *>data)[0]
    return (<const double *>data)[0]


cdef int32_t chosen_of(
    const RowGraph *of, const int32_t *record, const Argument *arguments, const double *parameters,
    Py_ssize_t row
) noexcept nogil:
    """The record that a node of `take` selects in a row."""
    cdef const int32_t *place = of.selections + 2 * of.operands[record[1]]
    cdef const char *data
    cdef int64_t index
    if place[0] < 0:
        # An input of a loop's step.
        index = <int64_t>parameters[place[1]]
        return of.operands[record[1] + 1 + choice(<const char *>&index, record[2] - 1)]
    data = arguments[place[0]].data
    data += row * arguments[place[0]].row_step + place[1] * arguments[place[0]].column_step
    return of.operands[record[1] + 1 + choice(data, record[2] - 1)]


cdef inline int32_t number_of_loop(const RowGraph *of, Py_ssize_t index) noexcept nogil:
    return of.selections[2 * of.operands[of.records[3 * index + 1]] + 1]


cdef inline Py_ssize_t number_of_result(const RowGraph *of, Py_ssize_t index) noexcept nogil:
    return of.selections[2 * of.operands[of.records[3 * index + 1]] + 1]


cdef inline int32_t loop_of_result(const RowGraph *of, Py_ssize_t index) noexcept nogil:
    """The record of the loop whose result a record is."""
    return of.operands[of.records[3 * index + 1] + 1]


cdef void begin_loop_in_row(const RowGraph *of, RowState *state, Py_ssize_t index) noexcept nogil:
    """The first state, and the numbers from outside."""
    cdef const RowLoop *loop = &of.loops[number_of_loop(of, index)]
    cdef RowLoopState *numbers = &state.loops[number_of_loop(of, index)]
    cdef const int32_t *operands = of.operands + of.records[3 * index + 1] + 1
    cdef Py_ssize_t at
    for at in range(loop.states):
        numbers.states[at] = state.values[operands[at]]
    for at in range(loop.outside):
        numbers.given[at] = state.values[operands[loop.states + at]]


cdef void give_step_in_row(
    const RowGraph *of, RowState *state, Py_ssize_t index, const Argument *arguments, Py_ssize_t row,
    Py_ssize_t step
) noexcept nogil:
    """The state before a step, and its inputs."""
    cdef const RowLoop *loop = &of.loops[number_of_loop(of, index)]
    cdef RowLoopState *numbers = &state.loops[number_of_loop(of, index)]
    cdef const int32_t *operands = of.operands + of.records[3 * index + 1] + 1
    cdef const RowInput *given
    cdef double *inputs = numbers.given + loop.outside + loop.states
    cdef Py_ssize_t at, column, other
    memcpy(numbers.given + loop.outside, numbers.states + step * loop.states, loop.states * sizeof(double))
    for at in range(loop.inputs):
        given = &loop.given[at]
        column = given.first + step * given.stride
        if given.kind == COLUMNS:
            inputs[at] = read_argument(&arguments[given.source], row, column)
        elif given.kind == ELEMENTS:
            inputs[at] = state.values[operands[given.source + step]]
        else:
            other = number_of_loop(of, operands[given.source])
            inputs[at] = state.loops[other].made[column * of.loops[other].makes + given.number]


cdef void end_step_in_row(
    const RowGraph *of, RowState *state, Py_ssize_t index, Py_ssize_t step
) noexcept nogil:
    """Store the state after a step, and the numbers that the step makes."""
    cdef const RowLoop *loop = &of.loops[number_of_loop(of, index)]
    cdef RowLoopState *numbers = &state.loops[number_of_loop(of, index)]
    cdef const int32_t *outputs = loop.body.outputs
    cdef Py_ssize_t at
    for at in range(loop.states):
        numbers.states[(step + 1) * loop.states + at] = numbers.body.values[outputs[at]]
    for at in range(loop.makes):
        numbers.made[step * loop.makes + at] = numbers.body.values[outputs[loop.states + at]]


cdef void values_of_step(
    const RowGraph *of, RowState *state, Py_ssize_t index, const Argument *arguments, Py_ssize_t row,
    Py_ssize_t step
) noexcept nogil:
    """Compute all records of a loop's step."""
    cdef const RowGraph *body = of.loops[number_of_loop(of, index)].body
    cdef RowLoopState *numbers = &state.loops[number_of_loop(of, index)]
    cdef Py_ssize_t at
    give_step_in_row(of, state, index, arguments, row, step)
    for at in range(body.size):
        numbers.body.values[at] = value_in_row(body, &numbers.body, at, arguments, numbers.given, row)


cdef double value_in_row(
    const RowGraph *of, RowState *state, Py_ssize_t index, const Argument *arguments,
    const double *parameters, Py_ssize_t row
) noexcept nogil:
    """The value of one record, from those before it; a loop's numbers are in the state, its value is 0."""
    cdef const double *values = state.values
    cdef const int32_t *record = of.records + 3 * index
    cdef const int32_t *operands = of.operands + record[1]
    cdef const int32_t *leaf
    cdef int kind = record[0]
    cdef int32_t at, count = record[2], number
    cdef Py_ssize_t step, place
    cdef double out
    if kind == ROW_LEAF:
        leaf = of.leaves + 3 * record[1]
        return parameters[leaf[1]] if leaf[0] < 0 else read_argument(&arguments[leaf[0]], row, leaf[1])
    if kind == ROW_CONSTANT:
        return of.constants[record[1]]
    if kind == ROW_CUSTOM:
        return values[chosen_of(of, record, arguments, parameters, row)]
    if kind == ROW_LOCAL:
        return values[operands[0]]
    if kind == ROW_LOOP:
        begin_loop_in_row(of, state, index)
        for step in range(of.loops[number_of_loop(of, index)].steps):
            values_of_step(of, state, index, arguments, row, step)
            end_step_in_row(of, state, index, step)
        return 0.0
    if kind == ROW_RESULT:
        number, place = number_of_loop(of, loop_of_result(of, index)), number_of_result(of, index)
        if place < of.loops[number].states:
            return state.loops[number].states[of.loops[number].steps * of.loops[number].states + place]
        return state.loops[number].made[place - of.loops[number].states]
    if kind == ROW_INNER:
        out = values[operands[count - 1]] if count % 2 else 0.0
        for at in range(count // 2):
            out += values[operands[2 * at]] * values[operands[2 * at + 1]]
        return out
    if has_many_operands(kind):
        return value_of_many(kind, operands, count, values)
    if has_two_operands(kind):
        return binary_value(kind, values[record[1]], values[record[2]])
    return unary_value(kind, values[record[1]])


cdef inline void give_in_row(
    const RowGraph *of, RowState *state, Py_ssize_t record, Py_ssize_t place, int32_t operand,
    double derivative, Singular *first
) noexcept nogil:
    """Add to an operand's gradient, and remember the first product that is not finite."""
    cdef double g = state.gradients[record]
    if not of.active[operand] or (derivative == 0.0 and selects(of.records[3 * record])):
        return
    if first.record < 0 and not isfinite(derivative * g):
        first.record, first.operand, first.gradient, first.derivative = record, place, g, derivative
        first.of = of
    state.gradients[operand] += derivative * g
    state.reached[operand] = True


cdef double derivative_of_many(
    const int32_t *operands, int kind, int32_t at, int32_t count, const double *values, double out
) noexcept nogil:
    """The derivative of a reduction, or of an operation of three operands, by one of them."""
    if kind < ROW_FIRST_TERNARY:
        return reduction_derivative(kind, values[operands[at]], <double>count, out)
    if at == 0:
        return ternary_da(kind, values[operands[0]], values[operands[1]], values[operands[2]], out)
    if at == 1:
        return ternary_db(kind, values[operands[0]], values[operands[1]], values[operands[2]], out)
    return ternary_dc(kind, values[operands[0]], values[operands[1]], values[operands[2]], out)


cdef void result_back_in_row(const RowGraph *of, RowState *state, Py_ssize_t index) noexcept nogil:
    """Pass a result's gradient on to the loop."""
    cdef int32_t record = loop_of_result(of, index), number = number_of_loop(of, record)
    cdef Py_ssize_t place = number_of_result(of, index)
    cdef RowLoopState *numbers = &state.loops[number]
    if place < of.loops[number].states:
        numbers.last_gradients[place] += state.gradients[index]
    else:
        numbers.made_gradients[place - of.loops[number].states] += state.gradients[index]
    state.reached[record] = True


cdef void loop_back_in_row(
    const RowGraph *of, RowState *state, Py_ssize_t index, const Argument *arguments, Py_ssize_t row,
    Singular *first
) noexcept nogil:
    """Go back through all steps of a loop, computing the values of each step again."""
    cdef const RowLoop *loop = &of.loops[number_of_loop(of, index)]
    cdef RowLoopState *numbers = &state.loops[number_of_loop(of, index)]
    cdef const RowGraph *body = loop.body
    cdef const int32_t *operands = of.operands + of.records[3 * index + 1] + 1
    cdef const int32_t *leaf
    cdef const RowInput *given
    cdef const Argument *argument
    cdef double *gradients = numbers.given_gradients
    cdef Py_ssize_t count = loop.outside + loop.states + loop.inputs, step, at, column, other
    cdef Singular found
    cdef double amount
    memset(gradients, 0, count * sizeof(double))
    memcpy(numbers.seeds, numbers.last_gradients, loop.states * sizeof(double))
    for step in range(loop.steps - 1, -1, -1):
        memcpy(
            numbers.seeds + loop.states, numbers.made_gradients + step * loop.makes,
            loop.makes * sizeof(double),
        )
        values_of_step(of, state, index, arguments, row, step)
        found = gradients_in_row(body, &numbers.body, arguments, numbers.seeds, numbers.given, row)
        if first.record < 0 and found.record >= 0:
            first[0] = found
            if first.step < 0:
                first.step = step
        if found.record >= 0 and state.stops:
            return
        memset(gradients + loop.outside, 0, (loop.states + loop.inputs) * sizeof(double))
        for at in range(body.leaf_count):
            leaf = body.leaves + 3 * at
            gradients[leaf[1]] += numbers.body.gradients[leaf[2]]
        memcpy(numbers.seeds, gradients + loop.outside, loop.states * sizeof(double))
        for at in range(loop.inputs):
            given, amount = &loop.given[at], gradients[loop.outside + loop.states + at]
            column = given.first + step * given.stride
            if given.kind == COLUMNS:
                argument = &arguments[given.source]
                if argument.gradient != NULL:
                    argument.gradient[row * argument.columns + column] += amount
            elif given.kind == ELEMENTS:
                pass_in_row(of, state, operands[given.source + step], amount)
            else:
                other = number_of_loop(of, operands[given.source])
                state.loops[other].made_gradients[column * of.loops[other].makes + given.number] += amount
                state.reached[operands[given.source]] = True
    for at in range(loop.states):
        pass_in_row(of, state, operands[at], numbers.seeds[at])
    for at in range(loop.outside):
        pass_in_row(of, state, operands[loop.states + at], gradients[at])


cdef inline void pass_in_row(
    const RowGraph *of, RowState *state, int32_t operand, double amount
) noexcept nogil:
    """Add a loop's gradient by an operand to the operand's gradient; 0 if no step has reached it."""
    if of.active[operand] and amount != 0.0:
        state.gradients[operand] += amount
        state.reached[operand] = True


cdef Singular gradients_in_row(
    const RowGraph *of, RowState *state, const Argument *arguments, const double *seeds,
    const double *parameters, Py_ssize_t row
) noexcept nogil:
    """Compute the gradients of all records from the values of a row; return the first that is not finite."""
    cdef Singular first
    cdef const int32_t *record
    cdef const int32_t *operands
    cdef const double *values = state.values
    cdef const RowLoop *loop
    cdef Py_ssize_t index
    cdef int kind
    cdef int32_t at, count
    cdef double out
    first.record, first.operand, first.gradient, first.derivative = -1, 0, 0.0, 0.0
    first.of, first.step = NULL, -1
    for index in range(of.loop_count):
        loop = &of.loops[index]
        memset(state.loops[index].last_gradients, 0, loop.states * sizeof(double))
        memset(state.loops[index].made_gradients, 0, loop.steps * loop.makes * sizeof(double))
    memset(state.gradients, 0, of.size * sizeof(double))
    memset(state.reached, 0, of.size)
    for index in range(of.output_count):
        if seeds[index] != 0.0:
            state.gradients[of.outputs[index]] += seeds[index]
            state.reached[of.outputs[index]] = True
    for index in range(of.size - 1, -1, -1):
        if not state.reached[index] or not of.active[index]:
            continue
        if first.record >= 0 and state.stops:
            return first
        record = of.records + 3 * index
        kind, count, out = record[0], record[2], values[index]
        operands = of.operands + record[1]
        if kind == ROW_LEAF:
            continue
        if kind == ROW_CUSTOM:
            at = chosen_of(of, record, arguments, parameters, row)
            give_in_row(of, state, index, 0, at, 1.0, &first)
        elif kind == ROW_LOCAL:
            for at in range(1, count, 2):
                give_in_row(of, state, index, at // 2, operands[at], values[operands[at + 1]], &first)
        elif kind == ROW_LOOP:
            loop_back_in_row(of, state, index, arguments, row, &first)
        elif kind == ROW_RESULT:
            result_back_in_row(of, state, index)
        elif kind == ROW_INNER:
            for at in range(count // 2):
                give_in_row(of, state, index, 0, operands[2 * at], values[operands[2 * at + 1]], &first)
                give_in_row(of, state, index, 0, operands[2 * at + 1], values[operands[2 * at]], &first)
            if count % 2:
                give_in_row(of, state, index, 0, operands[count - 1], 1.0, &first)
        elif has_many_operands(kind):
            for at in range(count):
                give_in_row(
                    of, state, index, at, operands[at],
                    derivative_of_many(operands, kind, at, count, values, out), &first,
                )
        elif has_two_operands(kind):
            give_in_row(
                of, state, index, 0, record[1],
                left_derivative(kind, values[record[1]], values[record[2]], out), &first,
            )
            give_in_row(
                of, state, index, 1, record[2],
                right_derivative(kind, values[record[1]], values[record[2]], out), &first,
            )
        else:
            give_in_row(
                of, state, index, 0, record[1], unary_derivative(kind, values[record[1]], out), &first
            )
    return first


cdef void clear_gradients(const RowGraph *of, const Argument *arguments, Py_ssize_t row) noexcept nogil:
    """Set the gradients of a row by all arguments that the graph reads to 0."""
    cdef const int32_t *leaf
    cdef const RowInput *given
    cdef const Argument *argument
    cdef Py_ssize_t index, at, step
    for index in range(of.leaf_count):
        leaf = of.leaves + 3 * index
        if leaf[0] >= 0 and arguments[leaf[0]].gradient != NULL:
            arguments[leaf[0]].gradient[row * arguments[leaf[0]].columns + leaf[1]] = 0.0
    for index in range(of.loop_count):
        for at in range(of.loops[index].inputs):
            given = &of.loops[index].given[at]
            argument = &arguments[given.source]
            if given.kind == COLUMNS and argument.gradient != NULL:
                for step in range(of.loops[index].steps):
                    argument.gradient[row * argument.columns + given.first + step * given.stride] = 0.0
        clear_gradients(of.loops[index].body, arguments, row)


cdef void differentiate_row(
    const RowGraph *of, RowState *state, const Argument *arguments, const double *parameters,
    const double *seeds, Py_ssize_t row, double *amounts
) noexcept nogil:
    """Add a row's gradients to those of the parameters, or store them as those of its arguments."""
    cdef const int32_t *leaf
    cdef const Argument *argument
    cdef Py_ssize_t index
    for index in range(of.size):
        state.values[index] = value_in_row(of, state, index, arguments, parameters, row)
    if amounts == NULL:
        clear_gradients(of, arguments, row)
    gradients_in_row(of, state, arguments, seeds, parameters, row)
    for index in range(of.leaf_count):
        leaf = of.leaves + 3 * index
        if not of.active[leaf[2]]:
            continue
        if leaf[0] < 0:
            amounts[leaf[1]] += state.gradients[leaf[2]]
        elif amounts != NULL:
            amounts[of.parameter_count + index] += state.gradients[leaf[2]]
        else:
            argument = &arguments[leaf[0]]
            argument.gradient[row * argument.columns + leaf[1]] += state.gradients[leaf[2]]


cdef bint all_finite(const double *numbers, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t at
    # An integer: the compiler may add these in any order, and so look at vectors of numbers.
    cdef int found = 0
    for at in range(count):
        found |= numbers[at] - numbers[at] != 0.0
    return found == 0
