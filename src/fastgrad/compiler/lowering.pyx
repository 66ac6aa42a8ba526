# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False, binding=False
"""From the graph to steps: what varies by row, what is fused, and in which order it runs.

An id numbers a result: it is the number of a record, or a later number for a result that fusion adds. A step
is an opcode, the id of its result, and three fields whose meaning opcodes.py gives, with ids in the place of
registers.
"""

from libc.stdint cimport int32_t
from libc.string cimport memcpy, memset

from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc

from fastgrad.compiler.graph cimport COLUMNS, ELEMENTS, INPUT, OUTSIDE, STATE, Graph, Input, Loop
from fastgrad.compiler.graph cimport ROW_LOOP, ROW_RESULT, has_many_operands, has_symbol, has_two_operands
from fastgrad.compiler.instructions cimport *
from fastgrad.compiler.memory cimport Integers, append, look_for_signals
from fastgrad.compiler.transforms cimport COUPLED, DELAYED, EVOLVED, LINEAR, STEPWISE, Divided
from fastgrad.ops cimport *

__all__ = []


cdef class WideStep:
    pass


cdef class Scope:
    cdef Scope over_steps(self, Divided divided):
        """The same of a step that is divided."""
        cdef Scope scope = Scope()
        scope.outside_varies, scope.outside_active = self.outside_varies, self.outside_active
        scope.states_active, scope.states_read = self.states_active, self.states_read
        scope.inputs_active, scope.inputs_used = self.inputs_active, self.inputs_used
        scope.made_active, scope.made_used = self.made_active, self.made_used
        scope.base, scope.divided = self.base, divided
        return scope


cdef class LoopStep:
    pass


cdef class Layout:
    pass


cdef class Lowering:
    """The passes' working state; ids index the first six arrays."""

    def __cinit__(self, Graph graph, int purpose, tuple kinds, Scope scope, Layout layout):
        self.graph = graph
        self.purpose = purpose
        self.kinds = kinds
        self.scope, self.layout = scope, layout
        self.loops = {}
        self.wides = []
        self.matrices = {}
        self.constants = {}
        self.spread = {}
        self.records = <int32_t *>PyMem_RawMalloc((graph.size * 3 + 1) * sizeof(int32_t))
        if self.records == NULL:
            raise MemoryError("no memory for a program")
        memcpy(self.records, graph.records, graph.size * 3 * sizeof(int32_t))
        for _ in range(graph.size):
            self.new_id(0, 0)

    def __dealloc__(self):
        PyMem_RawFree(self.records)
        for_each_list(self)

    cdef int32_t new_id(self, int varying, int active) except -1:
        append(&self.active, active)
        append(&self.uses, 0)
        append(&self.user, -1)
        append(&self.absorbed, 0)
        append(&self.chain, -1)
        append(&self.bundle, -1)
        append(&self.number, 0)
        append(&self.size, 0)
        return append(&self.varying, varying)

    cdef int32_t constant(self, double number) except -1:
        if number not in self.constants:
            self.constants[number] = self.new_id(0, 0)
        return self.constants[number]

    cdef int step(
        self, Integers *steps, int32_t opcode, int32_t out, int32_t left, int32_t right=0, int32_t third=0
    ) except -1:
        if steps == &self.steps:
            append(&self.stepwise, self.is_stepwise)
            append(&self.members, 0)
        append(steps, opcode)
        append(steps, out)
        append(steps, left)
        append(steps, right)
        append(steps, third)
        return 0


cdef void for_each_list(Lowering self) noexcept:
    """Free every list."""
    PyMem_RawFree(self.varying.items)
    PyMem_RawFree(self.active.items)
    PyMem_RawFree(self.uses.items)
    PyMem_RawFree(self.user.items)
    PyMem_RawFree(self.absorbed.items)
    PyMem_RawFree(self.chain.items)
    PyMem_RawFree(self.terms.items)
    PyMem_RawFree(self.steps.items)
    PyMem_RawFree(self.once.items)
    PyMem_RawFree(self.stepwise.items)
    PyMem_RawFree(self.members.items)
    PyMem_RawFree(self.bundle.items)
    PyMem_RawFree(self.number.items)
    PyMem_RawFree(self.size.items)
    PyMem_RawFree(self.ids.items)
    PyMem_RawFree(self.pairs.items)
    PyMem_RawFree(self.singles.items)
    PyMem_RawFree(self.stack.items)


cdef int simplify_powers(Lowering self) except -1:
    """Replace x**2 by x * x and x**-1 by 1 / x, as the table's rows say what they are at a number."""
    cdef Graph graph = self.graph
    cdef Py_ssize_t index
    cdef int32_t *record
    cdef int row
    cdef double number, left
    for index in range(graph.size):
        record = self.records + 3 * index
        if not has_two_operands(record[0]) or graph.row(record[2]) != ROW_CONSTANT:
            continue
        number = graph.constants[graph.first(record[2])]
        row, left = simpler_row(record[0], number), simpler_left(record[0], number)
        if row != record[0] and row != ROW_LEAF:
            record[0], record[2] = row, record[1]
            if left == left:
                record[1] = self.constant(left)
    return 0


cdef int analyse(Lowering self) except -1:
    """Find which ids vary by row, which of their gradients are wanted, and how often each is used."""
    cdef Graph graph = self.graph
    cdef const int32_t *operands = graph.operands
    cdef int32_t *varying = self.varying.items
    cdef int32_t *active = self.active.items
    cdef int32_t *uses = self.uses.items
    cdef Py_ssize_t at
    cdef int row, kind
    cdef int32_t index, first, second, operand
    cdef bytearray needed = bytearray(graph.size)
    cdef dict read
    for at, output in enumerate(graph.outputs):
        if is_read(self, at):
            needed[<int32_t>output] = True
    read = graph.mark_needed(needed)
    self.needed = needed
    for index in range(<int32_t>graph.size):
        row, first, second = self.records[3 * index], self.records[3 * index + 1], self.records[3 * index + 2]
        self.absorbed.items[index] = not needed[index]
        if row == ROW_LEAF and self.scope is not None:
            analyse_leaf(self, index)
        elif row == ROW_LEAF:
            argument, _ = graph.leaves[first]
            if argument < 0:
                active[index] = self.purpose == BACKWARD or self.purpose == SHARED
            else:
                kind = self.kinds[argument]
                varying[index] = self.purpose == INPUTS or kind == REALS or kind == INDICES
                active[index] = (self.purpose == INPUTS and kind != INDICES) or (
                    self.purpose == SHARED and not varying[index]
                )
        elif row == ROW_CONSTANT:
            continue
        elif has_many_operands(row):
            if has_symbol(row):
                varying[index] = 1
            for at in range(first + has_symbol(row), first + second):
                operand = operands[at]
                varying[index] |= varying[operand]
                uses[operand] += needed[index]
                if row != ROW_LOCAL or (at - first) % 2:
                    active[index] |= active[operand]
            if row == ROW_LOOP:
                analyse_loop(self, index, read.get(index, set()))
            elif row == ROW_RESULT and needed[index]:
                analyse_result(self, index)
        else:
            varying[index], active[index] = varying[first], active[first]
            uses[first] += needed[index]
            if has_two_operands(row):
                varying[index] |= varying[second]
                active[index] |= active[second]
                uses[second] += needed[index]
            elif needed[index]:
                self.user.items[first] = index
    for at, output in enumerate(graph.outputs):
        uses[<int32_t>output] += is_read(self, at)
    return 0


cdef bint is_read(Lowering self, Py_ssize_t output) except -1:
    """Whether an output is read; in the step of a loop some may not be."""
    cdef Scope scope = self.scope
    if scope is None:
        return True
    if scope.divided is not None and output >= scope.divided.results:
        if self.purpose == FORWARD and not scope.divided.has_gradient(output):
            return False
        output = scope.divided.extra_states[output - scope.divided.results]
    if output < states_of(self):
        return scope.states_read[output]
    return scope.made_used is None or scope.made_used[output - states_of(self)]


cdef int analyse_leaf(Lowering self, int32_t index) except -1:
    """Whether a leaf of a loop's step varies by row, and whether its gradient is wanted."""
    cdef Scope scope = self.scope
    place, number = self.graph.leaves[self.records[3 * index + 1]]
    if place == OUTSIDE:
        self.varying.items[index] = scope.outside_varies[number]
        self.active.items[index] = scope.outside_active[number]
    else:
        self.varying.items[index] = 1
        if place == STATE:
            # Of a divided step, the numbers of the state follow once more, without a gradient.
            self.active.items[index] = number < states_of(self) and scope.states_active[number]
        else:
            self.active.items[index] = scope.inputs_active[number]
    return 0


cdef int analyse_loop(Lowering self, int32_t index, set read) except -1:
    """Find the same for the step of a loop: its leaves vary and want gradients as the loop's operands do."""
    cdef Graph graph = self.graph
    cdef LoopStep step = LoopStep()
    cdef Scope scope = Scope()
    cdef Loop loop = graph.loop_of(index)
    cdef Input given
    cdef Lowering body
    cdef LoopStep other
    cdef bint settled = False
    step.loop, step.scope, step.results, step.offsets = loop, scope, [], []
    outside = [graph.loop_operand(index, loop.states + at) for at in range(loop.outside)]
    scope.outside_varies = [self.varying.items[<int32_t>operand] for operand in outside]
    scope.outside_active = [self.active.items[<int32_t>operand] for operand in outside]
    used = loop.body.taken_from(INPUT, loop.body.needed_by(read))
    scope.inputs_used = [at in used for at in range(len(loop.inputs))]
    scope.states_read = [at in read for at in range(loop.states)]
    scope.states_active = [
        self.active.items[graph.loop_operand(index, at)] and scope.states_read[at]
        for at in range(loop.states)
    ]
    scope.inputs_active = []
    for at, given in enumerate(loop.inputs):
        if not scope.inputs_used[at]:
            active = False
        elif given.kind == COLUMNS:
            active = self.purpose == INPUTS and self.kinds[given.source] != INDICES
        elif given.kind == ELEMENTS:
            active = any([
                self.active.items[graph.loop_operand(index, given.source + at)] for at in range(loop.steps)
            ])
        else:
            other = self.loops[graph.loop_operand(index, given.source)]
            other.scope.made_used[given.number] = True
            active = other.scope.made_active[given.number]
        scope.inputs_active.append(active)
    # Whether a number of the state has a gradient depends on the next state's numbers: repeat until it
    # settles.
    while not settled:
        body = Lowering(loop.body, self.purpose, self.kinds, scope, None)
        analyse(body)
        settled = True
        for at in range(loop.states):
            if scope.states_read[at] and not scope.states_active[at]:
                if body.active.items[<int32_t>loop.body.outputs[at]]:
                    scope.states_active[at], settled = True, False
    scope.made_active = [
        body.active.items[<int32_t>output] != 0 for output in loop.body.outputs[loop.states:]
    ]
    scope.made_used = [False] * len(scope.made_active)
    step.active = any(
        scope.outside_active + scope.states_active + scope.inputs_active + scope.made_active
    )
    self.active.items[index] = step.active
    self.loops[index] = step
    return 0


cdef int analyse_result(Lowering self, int32_t index) except -1:
    cdef LoopStep step = self.loops[self.graph.loop_operand(index, 0)]
    cdef Py_ssize_t number = self.graph.result_of(index)
    if number < step.loop.states:
        self.active.items[index] = step.scope.states_active[number]
        step.results.append((index, number))
    else:
        number = (number - step.loop.states) % step.loop.makes()
        self.active.items[index] = step.scope.made_active[number]
        step.scope.made_used[number] = True
    return 0


cdef bint has_given(Lowering self) noexcept:
    cdef Py_ssize_t index
    for index in range(self.graph.size):
        if self.records[3 * index] == ROW_LOCAL:
            return True
    return False


cdef int follow_gradients(Lowering self) except -1:
    """Drop the gradients of records that only given results and given derivatives use.

    A gradient goes from the outputs to the operands; into results and derivatives that are given it does not
    go.
    """
    cdef Graph graph = self.graph
    cdef const int32_t *operands = graph.operands
    cdef int32_t *active = self.active.items
    cdef int32_t *uses = self.uses.items
    cdef bytearray received = bytearray(graph.size)
    cdef Py_ssize_t at
    cdef int row
    cdef bint given
    cdef int32_t index, first, second
    cdef Divided divided = None if self.scope is None else self.scope.divided
    if not has_given(self) and divided is None:
        return 0
    for index in range(<int32_t>graph.size):
        uses[index] = 0
        self.user.items[index] = -1
    for at, output in enumerate(graph.outputs):
        if self.scope is None or is_read(self, at):
            uses[<int32_t>output] += 1
            received[<int32_t>output] |= divided is None or divided.has_gradient(at)
    for index in range(<int32_t>graph.size - 1, -1, -1):
        row, first, second = self.records[3 * index], self.records[3 * index + 1], self.records[3 * index + 2]
        active[index] = active[index] and received[index]
        if not uses[index]:
            self.absorbed.items[index] = 1
            continue
        if row == ROW_LEAF or row == ROW_CONSTANT:
            continue
        if row == ROW_LOCAL:
            uses[operands[first]] += 1
            for at in range(first + 1, first + second, 2):
                given = active[index] and active[operands[at]]
                if given:
                    received[operands[at]] = 1
                    uses[operands[at]] += 1
                    uses[operands[at + 1]] += 1
        elif has_many_operands(row):
            for at in range(first + has_symbol(row), first + second):
                uses[operands[at]] += 1
                received[operands[at]] |= active[index]
            if row == ROW_LOOP:
                (<LoopStep>self.loops[index]).active = active[index]
        else:
            uses[first] += 1
            received[first] |= active[index]
            if has_two_operands(row):
                uses[second] += 1
                received[second] |= active[index]
            elif self.user.items[first] < 0:
                self.user.items[first] = index
    return 0


# -- chains: sums of products, sums and differences --------------------------------------------------


cdef inline int push_operand(Lowering self, int32_t operand, int32_t sign) except -1:
    append(&self.stack, operand)
    append(&self.stack, sign)
    return 0


cdef inline double weight_of(Lowering self, int32_t index) noexcept:
    """The factor by which a linear reduction multiplies each of its operands."""
    return reduction_derivative(self.records[3 * index], 0.0, self.records[3 * index + 2], 0.0)


cdef inline bint is_sum(Lowering self, int32_t index) noexcept:
    cdef int row = self.records[3 * index] if index < self.graph.size else ROW_CONSTANT
    if is_linear(row):
        return weight_of(self, index) == 1.0
    return right_sign(row) != 0.0 or row == ROW_INNER


cdef int expand_sum(Lowering self, int32_t index, int32_t sign) except -1:
    """Put the operands of a sum on the stack, its products among the pairs."""
    cdef int row = self.records[3 * index]
    cdef int32_t first = self.records[3 * index + 1], second = self.records[3 * index + 2]
    cdef const int32_t *operands = self.graph.operands
    cdef int32_t at
    if right_sign(row) < 0.0 and is_sum(self, first):
        # The difference may cancel the sum. The result is then the sum's rounding, so keep its order.
        push_operand(self, second, -sign)
        append(&self.singles, first)
        append(&self.singles, sign)
    elif right_sign(row) != 0.0:
        push_operand(self, second, sign if right_sign(row) > 0.0 else -sign)
        push_operand(self, first, sign)
    elif row == ROW_INNER:
        for at in range(second // 2):
            append(&self.pairs, operands[first + 2 * at])
            append(&self.pairs, operands[first + 2 * at + 1])
        if second % 2:
            push_operand(self, operands[first + second - 1], sign)
    elif weight_of(self, index) != 1.0:
        for at in range(second):
            append(&self.pairs, self.constant(weight_of(self, index)))
            append(&self.pairs, operands[first + at])
    else:
        for at in range(first + second - 1, first - 1, -1):
            push_operand(self, operands[at], sign)
    return 0


cdef int find_chain(Lowering self, int32_t root) except -1:
    """Record the terms of the sum that ends at this root, through sums and products with no other user."""
    cdef int32_t index, sign, row
    self.pairs.size = self.singles.size = self.stack.size = 0
    expand_sum(self, root, 1)
    while self.stack.size:
        self.stack.size -= 2
        index, sign = self.stack.items[self.stack.size], self.stack.items[self.stack.size + 1]
        row = self.records[3 * index] if index < self.graph.size else ROW_CONSTANT
        if row > 0 and self.uses.items[index] == 1 and self.varying.items[index] == self.varying.items[root]:
            # A sum that is subtracted is not taken apart either.
            if sign > 0 and is_sum(self, index):
                self.absorbed.items[index] = 1
                expand_sum(self, index, sign)
                continue
            if row == ROW_MUL and sign > 0:
                self.absorbed.items[index] = 1
                append(&self.pairs, self.records[3 * index + 1])
                append(&self.pairs, self.records[3 * index + 2])
                continue
        append(&self.singles, index)
        append(&self.singles, sign)
    row = self.records[3 * root]
    if right_sign(row) != 0.0 and self.pairs.size == 0 and self.singles.size == 4:
        # A plain sum of two records is no chain, unless one of them was absorbed (a sum of one number).
        if self.singles.items[0] == self.records[3 * root + 1]:
            if self.singles.items[2] == self.records[3 * root + 2]:
                return 0
    self.chain.items[root] = save_terms(self, &self.pairs, &self.singles)
    return 0


cdef int32_t save_terms(Lowering self, Integers *pairs, Integers *singles) except -1:
    cdef int32_t start = append(&self.terms, <int32_t>(pairs.size // 2))
    cdef Py_ssize_t at
    append(&self.terms, <int32_t>(singles.size // 2))
    for at in range(pairs.size):
        append(&self.terms, pairs.items[at])
    for at in range(singles.size):
        append(&self.terms, singles.items[at])
    return start


cdef int find_chains(Lowering self) except -1:
    cdef int32_t index
    cdef int row
    for index in range(<int32_t>self.graph.size - 1, -1, -1):
        look_for_signals(index)
        row = self.records[3 * index]
        if self.absorbed.items[index]:
            continue
        if is_sum(self, index) or is_linear(row):
            find_chain(self, index)
    return 0


# -- steps -------------------------------------------------------------------------------------------


cdef int sum_once(Lowering self, int32_t out, Integers *pairs, Integers *singles) except -1:
    """A sum of uniform terms as products, in this order; a single number is multiplied by its sign."""
    cdef list left = [pairs.items[at] for at in range(0, pairs.size, 2)]
    cdef list right = [pairs.items[at] for at in range(1, pairs.size, 2)]
    cdef Py_ssize_t at
    for at in range(0, singles.size, 2):
        left.append(singles.items[at])
        right.append(self.constant(singles.items[at + 1]))
    return self.step(&self.once, OPCODE_INNER, out, new_wide(self, left, right), 0, self.constant(0.0))


cdef int32_t uniform_total(Lowering self, Integers *pairs, Integers *singles, bint wanted) except -1:
    """The id of a sum of uniform terms, computed once a batch; wanted: whether it is given a gradient."""
    cdef int32_t out
    cdef Py_ssize_t at
    if pairs.size == 0 and singles.size == 0:
        return self.constant(0.0)
    if pairs.size == 0 and singles.size == 2 and singles.items[1] > 0:
        return singles.items[0]
    out = self.new_id(0, 0)
    for at in range(pairs.size if wanted else 0):
        self.active.items[out] |= self.active.items[pairs.items[at]]
    for at in range(0, singles.size if wanted else 0, 2):
        self.active.items[out] |= self.active.items[singles.items[at]]
    sum_once(self, out, pairs, singles)
    return out


cdef int sum_chain_once(Lowering self, int32_t root) except -1:
    """A chain of which no term varies by row."""
    cdef int32_t *terms = self.terms.items + self.chain.items[root]
    cdef int32_t pairs = terms[0], singles = terms[1], at
    self.pairs.size = self.singles.size = 0
    for at in range(2 * pairs):
        append(&self.pairs, terms[2 + at])
    for at in range(2 * singles):
        append(&self.singles, terms[2 + 2 * pairs + at])
    return sum_once(self, root, &self.pairs, &self.singles)


cdef int emit_chain(Lowering self, int32_t root) except -1:
    """A sum whose terms vary by row: a row of a matrix with uniform weights, products of lanes, or both."""
    cdef int32_t start = self.chain.items[root]
    cdef int32_t *terms = self.terms.items + start
    cdef int32_t pairs = terms[0], singles = terms[1]
    cdef int32_t at, p, q, bias, base
    cdef int32_t *varying = self.varying.items
    cdef list products = []
    cdef list linear = []
    cdef list lanes = []
    cdef Integers *uniform_pairs = &self.pairs
    cdef Integers *uniform_singles = &self.singles
    uniform_pairs.size = uniform_singles.size = 0
    for at in range(pairs):
        p, q = terms[2 + 2 * at], terms[3 + 2 * at]
        if varying[p] and varying[q]:
            products.append((p, q))
        elif varying[p]:
            linear.append((q, p))
        elif varying[q]:
            linear.append((p, q))
        else:
            append(uniform_pairs, p)
            append(uniform_pairs, q)
    for at in range(singles):
        p, q = terms[2 + 2 * pairs + 2 * at], terms[3 + 2 * pairs + 2 * at]
        if varying[p]:
            lanes.append((q, p))
        else:
            append(uniform_singles, p)
            append(uniform_singles, q)
    bias = uniform_total(self, uniform_pairs, uniform_singles, self.active.items[root])
    # New ids below may move the arrays.
    if not products and len(lanes) == 1 and len(linear) >= 4:
        return emit_sum_with(self, root, linear, bias, lanes[0])
    if not products:
        linear += [(self.constant(sign), x) for sign, x in lanes]
        return emit_linear(self, root, linear, bias)
    if not linear and len(lanes) == 1 and lanes[0][0] == 1 and bias == self.constants.get(0.0):
        base = lanes[0][1]
    elif linear or lanes:
        linear += [(self.constant(sign), x) for sign, x in lanes]
        base = weighted_sum(self, root, linear, bias)
    else:
        base = bias
    left = [pair[0] for pair in products]
    right = [pair[1] for pair in products]
    return self.step(&self.steps, OPCODE_INNER, root, new_wide(self, left, right), 0, base)


cdef int emit_sum_with(Lowering self, int32_t root, list linear, int32_t bias, tuple single) except -1:
    """A weighted sum, and a number that is added to it or subtracted, as of a residual connection.

    Apart, the weighted sums of a layer read the same operands, and so become one matrix: of 16 channels it
    takes a third of the time of 16 rows of 17 operands. The bits are those of a sum that ends in this number.
    """
    cdef int32_t base = weighted_sum(self, root, linear, bias)
    sign, x = single
    return self.step(&self.steps, (ROW_ADD if sign > 0 else ROW_SUB) << 2 | LANE_LANE, root, base, x)


cdef int32_t weighted_sum(Lowering self, int32_t root, list linear, int32_t bias) except -1:
    """The id of a weighted sum that is part of the sum that ends at this root."""
    cdef int32_t base = self.new_id(1, 0)
    for weight, x in linear:
        self.active.items[base] |= self.active.items[<int32_t>weight] | self.active.items[<int32_t>x]
    self.active.items[base] |= self.active.items[bias]
    self.active.items[base] = self.active.items[base] and self.active.items[root]
    emit_linear(self, base, linear, bias)
    return base


cdef int32_t new_wide(Lowering self, list left, list right=None) except -1:
    """Keep these ids as the operands of a step, and return the number of the list."""
    cdef WideStep wide = WideStep()
    wide.start, wide.size, wide.pairs = self.ids.size, len(left), right is not None
    for operand in left:
        append(&self.ids, operand)
    if right is not None:
        for operand in right:
            append(&self.ids, operand)
    self.wides.append(wide)
    return <int32_t>(len(self.wides) - 1)


cdef int activation_of(Lowering self, int32_t out) noexcept:
    """The row of the operation that is an id's only user, if it can run in place; else 0.

    It can if its derivative reads its result alone, as that of tanh or relu does.
    """
    cdef int32_t user = self.user.items[out]
    cdef int row = self.records[3 * user] if user >= 0 and self.uses.items[out] == 1 else 0
    return row if row and roles_of(row << 2).reads[0] == READS_OUT else 0


cdef int emit_linear(Lowering self, int32_t out, list linear, int32_t bias) except -1:
    """out = bias + sum of weight * lanes; several such sums over the same lanes become one matrix.

    If the only user of the result is a relu, tanh or the like, it becomes part of the instruction.
    """
    cdef dict weights = {}
    cdef list ordered
    cdef WideStep wide
    for weight, x in linear:
        if x in weights:
            # Add the two weights, so that no lanes are listed twice.
            self.pairs.size = self.singles.size = 0
            for part in (weights[x], weight):
                append(&self.singles, part)
                append(&self.singles, 1)
            weight = uniform_total(self, &self.pairs, &self.singles, self.active.items[out])
        weights[x] = weight
    if len(weights) == 1:
        # Not by items(): CPython 3.11 crashes if there is no memory for the tuple of that iterator.
        [x] = weights
        return self.step(&self.steps, OPCODE_MULTIPLY_ADD, out, x, weights[x], bias)
    ordered = [x for x in weights if self.active.items[<int32_t>x]]
    ordered += [x for x in weights if not self.active.items[<int32_t>x]]
    activation = activation_of(self, out)
    if activation:
        out = self.user.items[out]
        self.absorbed.items[out] = 1
    key = (activation, self.active.items[out] != 0, *ordered)
    wide = self.matrices.get(key)
    if wide is None:
        number = new_wide(self, ordered)
        self.matrices[key] = wide = self.wides[number]
        wide.results, wide.weights, wide.biases, wide.activation = [], [], [], activation
        self.step(&self.steps, OPCODE_MATRIX, 0, number)
    wide.results.append(out)
    wide.weights.extend([weights[x] for x in ordered])
    wide.biases.append(bias)
    return 0


cdef int32_t broadcast(Lowering self, int32_t operand, bint active) except -1:
    """The id of lanes that all hold a uniform number, for instructions that take no uniform numbers."""
    cdef int32_t lanes = self.new_id(1, active)
    self.step(&self.steps, OPCODE_BROADCAST, lanes, operand)
    return lanes


cdef int emit_local(Lowering self, Integers *steps, int32_t index) except -1:
    """The step of a record given by its local derivatives, with the operands that want a gradient."""
    cdef const int32_t *operands = self.graph.operands + self.records[3 * index + 1]
    cdef int32_t count = self.records[3 * index + 2], at
    cdef list wanted = []
    cdef list derivatives = []
    for at in range(1, count, 2):
        if self.active.items[index] and self.active.items[operands[at]]:
            wanted.append(operands[at])
            derivatives.append(operands[at + 1])
    return self.step(steps, OPCODE_LOCAL, index, new_wide(self, wanted, derivatives), 0, operands[0])


cdef tuple place_of(Lowering self, tuple place):
    """(argument, column) of a place; for a number of a loop's step, of the argument that stands for it."""
    cdef Py_ssize_t states, outside
    if place[0] >= 0:
        return place
    outside, states = self.graph.taken[0], states_of(self)
    first = (0, states, states + outside)[(STATE, OUTSIDE, INPUT).index(place[0])]
    return self.scope.base + (place[1] % states if place[0] == STATE else place[1]) + first, 0


cdef int32_t factor_of(Lowering self, Divided divided, Py_ssize_t state) except -1:
    """The record of a factor; without a way back, derivatives are not computed."""
    if self.purpose == FORWARD and divided.kinds[state] == EVOLVED:
        return self.constant(0.0)
    return divided.factors[state]


cdef int32_t operand_of_loop(Lowering self, Py_ssize_t index, Py_ssize_t at) except -1:
    """The id of an operand of a loop; the number 0 in the place of one that no result needs."""
    cdef int32_t operand = self.graph.loop_operand(index, at)
    return operand if self.needed[operand] else self.constant(0.0)


cdef int emit_loop(Lowering self, int32_t index) except -1:
    cdef LoopStep step = self.loops[index]
    cdef Loop loop = step.loop
    cdef Input given
    cdef list operands = [operand_of_loop(self, index, at) for at in range(loop.states + loop.outside)]
    step.number = self.layout.loops
    self.layout.loops += 1
    step.scope.base = self.layout.arguments
    self.layout.arguments += loop.states + loop.outside + len(loop.inputs) + loop.makes()
    for given in loop.inputs:
        step.offsets.append(len(operands))
        if given.kind == ELEMENTS:
            operands += [operand_of_loop(self, index, given.source + at) for at in range(loop.steps)]
    return self.step(&self.steps, OPCODE_LOOP, index, new_wide(self, operands), step.number)


cdef int emit_result(Lowering self, int32_t index) except -1:
    """The step of a loop's result: a y is loaded like an argument; a last state is in a register already."""
    cdef LoopStep step = self.loops[self.graph.loop_operand(index, 0)]
    cdef Py_ssize_t number = self.graph.result_of(index) - step.loop.states, at
    if number < 0:
        return 0
    at = step.scope.base + step.loop.states + step.loop.outside + len(step.loop.inputs)
    at += number % step.loop.makes()
    return self.step(&self.steps, OPCODE_LOAD, index, <int32_t>at, <int32_t>(number // step.loop.makes()))


cdef dict leaves_side_by_side(Lowering self):
    """Of each argument, and each 8 of its columns: the leaves that vary and are used, by their columns."""
    cdef Graph graph = self.graph
    cdef dict groups = {}
    cdef int32_t index
    for index in range(<int32_t>graph.size):
        if self.records[3 * index] == ROW_LEAF and self.varying.items[index] and self.uses.items[index]:
            argument, column = graph.leaves[self.records[3 * index + 1]]
            if argument >= 0 and not self.absorbed.items[index]:
                groups.setdefault((argument, column // 8), []).append((column, index))
    return groups


cdef int emit_leaf(Lowering self, int32_t index) except -1:
    """Load a leaf; of a function, also those in the columns beside it, see group_moves in plan.pyx.

    A number of a divided step's state that does not run step by step is a recurrence in place of a load.
    """
    cdef int32_t next_one
    cdef int kind
    place, number = self.graph.leaves[self.records[3 * index + 1]]
    argument, column = place_of(self, (place, number))
    if self.scope is None:
        for column, leaf in sorted(self.leaves.pop((argument, column // 8), [])):
            self.step(&self.steps, OPCODE_LOAD, leaf, argument, column)
        return 0
    kind = recurrence_of(self, place, number)
    if kind == STEPWISE or kind == COUPLED:
        return self.step(&self.steps, OPCODE_LOAD, index, argument, column)
    next_one = self.graph.outputs[number]
    if kind == DELAYED:
        return self.step(&self.steps, OPCODE_DELAY, index, next_one, number)
    return self.step(
        &self.steps, OPCODE_RECUR if kind == LINEAR else OPCODE_EVOLVE, index,
        factor_of(self, self.scope.divided, number), next_one, number,
    )


cdef int recurrence_of(Lowering self, Py_ssize_t place, Py_ssize_t number) except -1:
    """How a leaf of a loop's step recurs; STEPWISE of all that are loaded."""
    cdef Divided divided = self.scope.divided
    if divided is None or place != STATE or number >= divided.states:
        return STEPWISE
    return divided.kinds[number]


cdef int kind_of(Lowering self, int32_t left, int32_t right) noexcept:
    """The form of an operation of two operands."""
    if not self.varying.items[right]:
        return LANE_UNIFORM
    return LANE_LANE if self.varying.items[left] else UNIFORM_LANE


cdef int emit_varying(Lowering self, int32_t index) except -1:
    """The steps of one record that varies by row."""
    cdef Graph graph = self.graph
    cdef int row = self.records[3 * index]
    cdef int32_t first = self.records[3 * index + 1], second = self.records[3 * index + 2]
    cdef int32_t at, operand
    cdef int special
    cdef bint active
    cdef list operands
    if self.chain.items[index] >= 0:
        return emit_chain(self, index)
    if row == ROW_LEAF:
        return emit_leaf(self, index)
    if row == ROW_LOOP:
        return emit_loop(self, index)
    if row == ROW_RESULT:
        return emit_result(self, index)
    if row == ROW_CUSTOM:
        operands = [graph.operands[at] for at in range(first + 1, first + second)]
        argument, column = place_of(self, graph.selections[graph.operands[first]])
        return self.step(&self.steps, OPCODE_TAKE, index, new_wide(self, operands), argument, column)
    if row == ROW_LOCAL:
        return emit_local(self, &self.steps, index)
    if has_many_operands(row):
        operands = []
        for at in range(first, first + second):
            operand = graph.operands[at]
            active = self.active.items[operand] and self.active.items[index]
            operands.append(operand if self.varying.items[operand] else broadcast(self, operand, active))
        return self.step(&self.steps, row << 2, index, new_wide(self, operands))
    if not has_two_operands(row):
        return self.step(&self.steps, row << 2, index, first)
    if is_compact(row):
        if not self.varying.items[second]:
            second = broadcast(self, second, self.active.items[second])
        elif not self.varying.items[first]:
            first = broadcast(self, first, self.active.items[first])
        return self.step(&self.steps, row << 2 | LANE_LANE, index, first, second)
    if graph.row(second) == ROW_CONSTANT:
        special = opcode_at(row, graph.constants[graph.first(second)])
        if special:
            return self.step(&self.steps, special, index, first, second)
    return self.step(&self.steps, row << 2 | kind_of(self, first, second), index, first, second)


cdef int emit_once(Lowering self, int32_t index) except -1:
    """The step of one record that is the same for all rows."""
    cdef int row = self.records[3 * index]
    cdef int32_t first = self.records[3 * index + 1], second = self.records[3 * index + 2], at
    if row == ROW_LOCAL:
        return emit_local(self, &self.once, index)
    if has_many_operands(row):
        operands = [self.graph.operands[at] for at in range(first, first + second)]
        return self.step(&self.once, row << 2, index, new_wide(self, operands))
    return self.step(&self.once, row << 2 | LANE_LANE, index, first, second if has_two_operands(row) else 0)


cdef int emit_steps(Lowering self) except -1:
    cdef Divided divided = None if self.scope is None else self.scope.divided
    cdef int32_t index
    cdef int row
    cdef dict outputs = {}
    cdef dict missing = {}
    for number, output in enumerate(self.graph.outputs):
        outputs.setdefault(output, []).append(number)
        missing[number // 8] = missing.get(number // 8, 0) + 1
    self.leaves = leaves_side_by_side(self) if self.scope is None else {}
    for index in range(<int32_t>self.graph.size):
        look_for_signals(index)
        row = self.records[3 * index]
        self.is_stepwise = 0 if divided is None else divided.stepwise[index]
        if self.absorbed.items[index]:
            pass
        elif self.varying.items[index]:
            if self.uses.items[index]:
                emit_varying(self, index)
        elif self.chain.items[index] >= 0:
            sum_chain_once(self, index)
        elif row != ROW_LEAF and row != ROW_CONSTANT:
            emit_once(self, index)
        if self.scope is None and self.purpose == FORWARD and index in outputs:
            # Soon, so that little is kept that only the caller needs; see group_moves for 8 at once.
            for number in outputs.pop(index):
                missing[number // 8] -= 1
                if not missing[number // 8]:
                    emit_outputs(self, number // 8 * 8)
        if divided is not None and index in divided.stored_after:
            # Before the next step loads them.
            for number, record in divided.stored_after[index]:
                emit_store(self, number, record)
    self.is_stepwise = 0
    for number, output in enumerate(self.graph.outputs):
        if output not in outputs:
            continue
        if self.scope is None:
            self.step(&self.steps, OPCODE_OUTPUT, 0, output, number)
        elif divided is None or divided.states <= number < divided.results:
            emit_store(self, number, output)
    return 0


cdef int emit_store(Lowering self, Py_ssize_t number, int32_t record) except -1:
    """Hand an output of a loop's step on, if anybody reads it."""
    if is_read(self, number):
        self.step(&self.steps, OPCODE_STORE, 0, record, <int32_t>number)
    return 0


cdef int emit_outputs(Lowering self, Py_ssize_t first) except -1:
    """The steps of eight outputs, all of which have been computed.

    They are stored together if all are lanes. Of a sparse Hessian most are the number 0: stored one by one,
    they took half of its time.
    """
    cdef list outputs = [output_lanes(self, output) for output in self.graph.outputs[first:first + 8]]
    for number, output in enumerate(outputs, first):
        self.step(&self.steps, OPCODE_OUTPUT, 0, output, number)
    return 0


cdef int32_t output_lanes(Lowering self, int32_t output) except -1:
    """The id of an output, or, if it is a uniform number among several outputs, of lanes that hold it."""
    if self.varying.items[output] or len(self.graph.outputs) == 1:
        return output
    if output not in self.spread:
        self.spread[output] = broadcast(self, output, False)
    return self.spread[output]


include "bundles.pxi"


cdef Lowering lowered(Graph graph, int purpose, tuple kinds, Scope scope, Layout layout, bint one_row):
    """Run the passes over the records, in their order; one_row: for calls of one row."""
    cdef Lowering self = Lowering(graph, purpose, kinds, scope, layout)
    simplify_powers(self)
    analyse(self)
    follow_gradients(self)
    find_chains(self)
    emit_steps(self)
    if one_row and (scope is None or scope.divided is None):
        find_bundles(self)
    return self
