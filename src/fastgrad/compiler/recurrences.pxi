# Which part of a loop's step must run step by step.
#
# Only a recurrence must: what a number of the next state is computed from that itself depends on this number.
# Everything else can be computed for many steps at once, the steps side by side as lanes. And where the next
# number is left * number + right, with left and right from elsewhere, one tight loop does it.
#
# On the way back every recurrence is of this kind: the gradient by a number is the one by the next number
# times the derivative of that by this. So only the way forward of a recurrence runs step by step; and of
# numbers that depend on one another, the product of a small matrix on the way back.

cdef enum:
    # A step of more records than this is not divided, nor one with more numbers in its state.
    MOST_DIVIDED_RECORDS = 4096
    MOST_DIVIDED_STATES = 256
    # Of more numbers that depend on one another, all derivatives of one by another cost more than they save.
    MOST_COUPLED = 4


cdef object bit_of(Py_ssize_t state):
    """The set of one number."""
    cdef object one = 1
    return one << state


cdef class Dependencies:
    """Of a loop's step: what depends on which numbers of its state, as sets of bits."""

    # Of each record: the numbers that it depends on, and the numbers whose next ones depend on it.
    cdef list depends
    cdef list reaches
    # Of each number of the state: those that its next ones depend on, after any number of steps; and its
    # group, the numbers that depend on one another.
    cdef list ancestors
    cdef list group_of
    cdef Py_ssize_t states

    def __cinit__(self, Graph graph not None, list numbers not None, next_ones not None):
        """numbers: of each leaf of the state, the number of the state that it is, or -1.

        next_ones: the record of each number's next one.
        """
        cdef Py_ssize_t index, at, state
        cdef list depends = [0] * graph.size, reaches = [0] * graph.size
        self.states = max(numbers) + 1
        self.depends, self.reaches = depends, reaches
        for index in range(graph.size):
            if graph.row(index) == ROW_LEAF:
                place, at = graph.leaves[graph.first(index)]
                depends[index] = bit_of(numbers[at]) if place == STATE and numbers[at] >= 0 else 0
            for operand in operands_of(graph, index):
                depends[index] |= depends[operand]
        for state in range(self.states):
            reaches[<Py_ssize_t>next_ones[state]] |= bit_of(state)
        for index in range(graph.size - 1, -1, -1):
            for operand in operands_of(graph, index):
                reaches[operand] |= reaches[index]
        self.ancestors = [depends[<Py_ssize_t>next_ones[state]] for state in range(self.states)]
        for at in range(self.states):
            for state in range(self.states):
                if self.ancestors[state] & bit_of(at):
                    self.ancestors[state] |= self.ancestors[at]
        self.group_of = [bit_of(state) for state in range(self.states)]
        for state in range(self.states):
            for at in range(state):
                if self.ancestors[state] & bit_of(at) and self.ancestors[at] & bit_of(state):
                    self.group_of[state] |= bit_of(at)
                    self.group_of[at] |= bit_of(state)

    cdef bint recurs(self, Py_ssize_t state) except -1:
        """Whether a number depends on itself, after any number of steps."""
        return (self.ancestors[state] & bit_of(state)) != 0

    cdef list levels(self):
        """All groups, in lists of those that depend on none but the groups in lists before."""
        cdef dict level_of = {}
        cdef list levels = []
        cdef Py_ssize_t state
        sizes = {}
        for state in range(self.states):
            group = self.group_of[state]
            # What a group depends on, and the group, is more than the same of a group that it depends on.
            sizes[group] = (self.ancestors[state] | group).bit_count(), group
        for group in sorted(sizes, key=sizes.get):
            before = self.ancestors[group.bit_length() - 1]
            level = 0
            for other in level_of:
                if other != group and before & other:
                    level = max(level, level_of[other] + 1)
            if level == len(levels):
                levels.append([])
            level_of[group] = level
            levels[level].append(group)
        return levels


cdef class Division:
    """Divides a step: a builder of the divided graph, and what the records of the source are there."""

    cdef Graph graph
    cdef Builder builder
    cdef Dependencies of
    cdef Py_ssize_t states
    # Of each number of the state: see Divided.
    cdef list kinds
    cdef list factors
    # The outputs; and what the way forward hands to the next step, which may be an operand of an output.
    cdef list next_ones
    cdef list passed

    def __cinit__(self, Graph graph not None):
        cdef Py_ssize_t at
        self.graph, self.builder, self.states = graph, Builder(graph), graph.taken[1]
        self.builder.taken = (graph.taken[0], 2 * self.states, graph.taken[2])
        self.of = Dependencies(graph, list(range(self.states)), graph.outputs)
        for at in range(graph.size):
            append(&self.builder.moved, NOTHING)
        self.kinds = [STEPWISE] * self.states
        self.factors, self.next_ones = [NOTHING] * self.states, [NOTHING] * self.states
        self.passed = [NOTHING] * self.states

    cdef int32_t moved(self, Py_ssize_t record) noexcept:
        return self.builder.moved.items[record]

    cdef int copy(self, Py_ssize_t index, Py_ssize_t offset=0) except -1:
        """Copy a record, whose operands are copied, without a change of its bits.

        offset: what is added to the numbers of the state: the first of those that have no gradient.
        """
        cdef Graph graph = self.graph
        cdef int row = graph.row(index)
        cdef int32_t first = graph.first(index), record
        if row == ROW_LEAF:
            place = graph.leaves[first]
            record = self.builder.leaf((STATE, place[1] + offset) if place[0] == STATE else place)
        elif row == ROW_CONSTANT:
            record = self.builder.constant(graph.constants[first])
        elif has_many_operands(row):
            record = self.builder.copy_of_many(index)
        elif has_two_operands(row):
            record = self.builder.found_or_added(row, self.moved(first), self.moved(graph.second(index)))
        else:
            record = self.builder.found_or_added(row, self.moved(first), 0)
        self.builder.moved.items[index] = record
        return 0

    cdef tuple linear(self, Py_ssize_t state, list records):
        """(left, right) for a next number left * number + right, or None; records: those between the two."""
        cdef dict forms = {}
        cdef Py_ssize_t index
        for index in records:
            form = self.linear_form(index, forms)
            if form is None:
                return None
            forms[index] = form
        return forms[self.graph.outputs[state]]

    cdef tuple linear_form(self, Py_ssize_t index, dict forms):
        cdef Graph graph = self.graph
        cdef Builder builder = self.builder
        cdef int row = graph.row(index)
        cdef list operands = operands_of(graph, index), parts
        cdef Py_ssize_t at
        if row == ROW_LEAF:
            return builder.constant(1.0), NOTHING
        parts = [forms.get(operand, (NOTHING, self.moved(operand))) for operand in operands]
        if right_sign(row) != 0.0:
            sign = builder.constant(right_sign(row))
            return tuple([self.sum_of(a, self.times(b, sign)) for a, b in zip(parts[0], parts[1])])
        if row == ROW_MUL:
            return self.product_of(parts[0], parts[1])
        if row == ROW_DIV and parts[1][0] == NOTHING:
            return tuple([
                NOTHING if a == NOTHING else builder.binary(ROW_DIV, a, parts[1][1]) for a in parts[0]
            ])
        if row == ROW_INNER:
            total = (NOTHING, NOTHING)
            for at in range(0, len(parts), 2):
                part = parts[at] if at + 1 == len(parts) else self.product_of(parts[at], parts[at + 1])
                if part is None:
                    return None
                total = self.sum_of(total[0], part[0]), self.sum_of(total[1], part[1])
            return total
        if is_linear(row):
            weight = builder.constant(reduction_derivative(row, 0.0, len(parts), 0.0))
            total = (NOTHING, NOTHING)
            for part in parts:
                total = self.sum_of(total[0], part[0]), self.sum_of(total[1], part[1])
            return self.times(total[0], weight), self.times(total[1], weight)
        return None

    cdef tuple product_of(self, tuple a, tuple b):
        if a[0] != NOTHING and b[0] != NOTHING:
            return None
        if a[0] == NOTHING:
            a, b = b, a
        return self.times(a[0], b[1]), self.times(a[1], b[1])

    cdef int32_t times(self, int32_t a, int32_t b) except -2:
        return NOTHING if a == NOTHING else self.builder.product(a, b)

    cdef int32_t sum_of(self, int32_t a, int32_t b) except -2:
        if a == NOTHING or b == NOTHING:
            return b if a == NOTHING else a
        return self.builder.binary(ROW_ADD, a, b)

    cdef bint divide_linear(self, object group, list between) except -1:
        """Whether a group is a number that is delayed or recurs in a linear way; note what its factor is."""
        cdef Py_ssize_t state = group.bit_length() - 1
        cdef tuple form
        if group != bit_of(state):
            return False
        if not self.of.recurs(state):
            self.kinds[state], self.next_ones[state] = DELAYED, self.moved(self.graph.outputs[state])
            return True
        form = self.linear(state, between)
        if form is None:
            return False
        self.kinds[state], self.factors[state] = LINEAR, form[0]
        self.next_ones[state] = self.builder.constant(0.0) if form[1] == NOTHING else form[1]
        return True

    cdef int divide_level(self, list groups, dict between, dict after) except -1:
        """Copy what some groups compute that do not depend on one another; between: their recurrences."""
        cdef list others = [group for group in groups if not self.divide_linear(group, between[group])]
        cdef dict states = {
            group: [state for state in range(self.states) if group & bit_of(state)] for group in others
        }
        # What runs step by step lies side by side.
        for group in others:
            for index in between[group]:
                self.copy(index, 0 if len(states[group]) > MOST_COUPLED else self.states)
            for state in states[group]:
                self.next_ones[state] = self.passed[state] = self.moved(self.graph.outputs[state])
        for group in others:
            if len(states[group]) == 1:
                self.evolve(states[group][0])
            elif len(states[group]) <= MOST_COUPLED:
                self.couple(states[group])
        # From here on, the numbers themselves.
        for group in groups:
            for index in sorted(between[group] + after[group]):
                self.copy(index)
        return 0

    cdef Tangents slopes_by(self, list states):
        """The derivatives of the next numbers by the numbers as they were, a direction for each of these."""
        cdef tuple leaves = tuple([(STATE, self.states + state) for state in states])
        return along_columns(self.builder, leaves, None, [self.passed[state] for state in states])

    cdef int evolve(self, Py_ssize_t state) except -1:
        """Note the derivative of a number's next one by the number."""
        cdef int32_t slope = self.slopes_by([state]).of(self.passed[state], 0)
        self.kinds[state] = EVOLVED
        self.factors[state] = self.builder.constant(0.0) if slope == NOTHING else slope
        return 0

    cdef int couple(self, list states) except -1:
        """Make a node of each next number, with its derivatives by each number."""
        cdef Integers *many = &self.builder.many
        cdef Tangents slopes = self.slopes_by(states)
        cdef int32_t slope, direction
        numbers = [self.builder.leaf((STATE, state)) for state in states]
        one = self.builder.constant(1.0)
        for state in states:
            many.size = 0
            append(many, self.passed[state])
            for direction in range(<int32_t>len(states)):
                slope = slopes.of(self.passed[state], direction)
                if slope != NOTHING:
                    append(many, numbers[direction])
                    append(many, slope)
            append(many, self.passed[state])
            append(many, one)
            self.kinds[state] = COUPLED
            self.next_ones[state] = self.builder.of_many(ROW_LOCAL, many.items, many.size)
        return 0

    cdef int divide(self) except -1:
        """Copy all records, each group of numbers after those that it depends on."""
        cdef list levels = self.of.levels()
        cdef list groups = [group for level in levels for group in level]
        cdef dict between = {group: [] for group in groups}, after = {group: [] for group in groups}
        cdef dict place_of = {
            state: place for place, group in enumerate(groups) for state in range(self.states)
            if group & bit_of(state)
        }
        # Of each record, the place of the last group that it depends on.
        cdef list last = []
        cdef Py_ssize_t index
        for index in range(self.graph.size):
            place = max([last[operand] for operand in operands_of(self.graph, index)], default=-1)
            if self.graph.row(index) == ROW_LEAF:
                where, number = self.graph.leaves[self.graph.first(index)]
                place = place_of[number] if where == STATE else -1
            last.append(place)
            if place < 0:
                self.copy(index)
                continue
            group = groups[place]
            recurs = self.of.reaches[index] & group and self.of.recurs(group.bit_length() - 1)
            (between if recurs else after)[group].append(index)
        for level in levels:
            self.divide_level(level, between, after)
        return 0


cdef class Divided:
    def __cinit__(self, Graph graph not None):
        cdef Division division = Division(graph)
        cdef Py_ssize_t state, first_passed
        division.divide()
        self.states, self.kinds = division.states, division.kinds
        outputs = division.next_ones + [division.moved(output) for output in graph.outputs[self.states:]]
        self.results = len(outputs)
        self.extra_states, self.factors = [], division.factors
        # Leaves and factors are outputs, too, so that they stay in the graph.
        for state in range(self.states):
            if self.kinds[state] != STEPWISE:
                outputs.append(division.builder.leaf((STATE, state)))
                self.extra_states.append(state)
        self.first_factor = len(outputs)
        for state in range(self.states):
            if self.factors[state] != NOTHING:
                outputs.append(self.factors[state])
                self.extra_states.append(state)
        first_passed = len(outputs)
        for state in range(self.states):
            if division.passed[state] != NOTHING:
                outputs.append(division.passed[state])
                self.extra_states.append(state)
        self.graph = division.builder.finished(outputs)
        passed = [NOTHING] * self.states
        for at, state in enumerate(self.extra_states, self.results):
            if at >= first_passed:
                passed[state] = self.graph.outputs[at]
            elif at >= self.first_factor:
                self.factors[state] = self.graph.outputs[at]
        self.find_stepwise(passed)
        self.find_coupled()

    cdef int find_stepwise(self, list passed) except -1:
        """Mark what runs step by step on the way forward, and note what is passed on to the next step."""
        cdef Dependencies found
        cdef Py_ssize_t index
        cdef dict last = {}
        cdef list numbers = [state if kind == STEPWISE else -1 for state, kind in enumerate(self.kinds)]
        numbers += [
            state if kind == EVOLVED or kind == COUPLED else -1 for state, kind in enumerate(self.kinds)
        ]
        self.stepwise, self.stored_after = bytearray(self.graph.size), {}
        if max(numbers) < 0:
            return 0
        # A number that is not passed on depends on nothing here.
        next_ones = [record if record != NOTHING else self.graph.outputs[0] for record in passed]
        found = Dependencies(self.graph, numbers, next_ones)
        groups = set(found.group_of)
        for index in range(self.graph.size):
            depends, reaches = found.depends[index], found.reaches[index]
            for group in groups if depends and reaches else ():
                if depends & group and reaches & group:
                    kind = self.kinds[group.bit_length() - 1]
                    self.stepwise[index] = BOTH_WAYS if kind == STEPWISE else FORWARD_ONLY
                    last[group] = index
        for group, index in last.items():
            self.stored_after[index] = [
                (state, passed[state]) for state in range(found.states) if group & bit_of(state)
            ]
        return 0

    cdef int find_coupled(self) except -1:
        """Mark what takes the gradients of coupled numbers back step by step."""
        cdef Py_ssize_t state
        for state in range(self.states):
            if self.kinds[state] == COUPLED:
                output = self.graph.outputs[state]
                self.stepwise[output] = BACK_ONLY
                self.stepwise[self.graph.outputs[self.results + self.extra_states.index(state)]] = BACK_ONLY
                self.stored_after.setdefault(output, []).append((state, output))
        return 0

    cdef bint has_gradient(self, Py_ssize_t output) except -1:
        """Whether a gradient may come to an output as such: not to the derivatives of next numbers."""
        return output < self.first_factor or (
            self.kinds[self.extra_states[output - self.results]] == LINEAR
        )


cdef Divided divided(Loop loop):
    """A loop's step, divided; None where another loop is part of it, or derivatives are given."""
    cdef Graph graph = loop.body
    cdef Py_ssize_t index
    if graph.loops or graph.size > MOST_DIVIDED_RECORDS or not 0 < loop.states <= MOST_DIVIDED_STATES:
        return None
    for index in range(graph.size):
        if graph.row(index) == ROW_LOCAL:
            return None
    return Divided(graph)
