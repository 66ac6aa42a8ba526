# Builds a graph record by record. Equal records are one, constants fold, and records that no output needs are
# left out.

cdef list operands_of(Graph graph, Py_ssize_t index):
    """The operands of a record of a graph."""
    cdef int row = graph.row(index)
    cdef int32_t first = graph.first(index), second = graph.second(index), at
    if row == ROW_LEAF or row == ROW_CONSTANT:
        return []
    if has_many_operands(row):
        return [graph.operands[at] for at in range(first + has_symbol(row), first + second)]
    return [first, second] if has_two_operands(row) else [first]


cdef inline uint64_t mixed(uint64_t hash, int32_t number) noexcept nogil:
    hash = (hash ^ <uint64_t><unsigned int>number) * <uint64_t>0x9E3779B97F4A7C15
    return hash ^ (hash >> 29)


cdef class JointLoop:
    """A loop that computes another loop and its tangents; the results of the other have new numbers in it."""

    cdef int32_t record
    # How many numbers the state has, and how many a step makes: in the other loop, and in this one.
    cdef Py_ssize_t states
    cdef Py_ssize_t makes
    cdef Py_ssize_t all_states
    cdef Py_ssize_t all_makes
    # For each number of the state, and for each number that a step makes: its tangents' numbers, by
    # direction.
    cdef list state_tangents
    cdef list made_tangents

    cdef Py_ssize_t number_of(self, Py_ssize_t number) noexcept:
        """The number that a result of the other loop has here."""
        if number < self.states:
            return number
        number -= self.states
        return self.all_states + number // self.makes * self.all_makes + number % self.makes

    cdef dict tangents_of(self, Py_ssize_t number):
        """The numbers of a result's tangents, by direction."""
        cdef Py_ssize_t first
        if number < self.states:
            return self.state_tangents[number]
        number -= self.states
        first = self.all_states + number // self.makes * self.all_makes
        return {
            direction: first + <Py_ssize_t>at
            for direction, at in (<dict>self.made_tangents[number % self.makes]).items()
        }


cdef class Builder:
    """Growing records in the format of a Graph, no two of them equal."""

    cdef Graph source
    cdef Integers records
    cdef Integers operands
    cdef double *numbers
    cdef Py_ssize_t number_room
    cdef Py_ssize_t number_count
    cdef dict constants
    cdef dict leaf_records
    cdef list leaves
    # A hash table of records; 0 is an empty slot, else it is the record + 1.
    cdef int32_t *slots
    cdef uint64_t mask
    cdef Integers many
    cdef Integers scratch
    # For each record of the source graph, its record here.
    cdef Integers moved
    # The rules used so far, by row << 2 | operand.
    cdef list rules
    # The selections, as in a Graph, each once: the first operand of `take`, a loop or a result is an index
    # here.
    cdef list selections
    cdef dict selection_numbers
    cdef list loops
    # The records of loops, by content_of() and operands; and the joint loops, by the record of the other
    # loop.
    cdef dict loop_records
    cdef dict joint_loops
    # In the step of a new loop: Graph.taken.
    cdef tuple taken

    def __cinit__(self, Graph source not None):
        self.source = source
        self.constants, self.leaf_records, self.leaves = {}, {}, []
        self.selections, self.selection_numbers, self.loops = [], {}, []
        self.loop_records, self.joint_loops = {}, {}
        self.mask = 1023
        self.slots = <int32_t *>zeroed(self.mask + 1, sizeof(int32_t))
        self.rules = [None] * (ROW_END << 2)

    def __dealloc__(self):
        PyMem_RawFree(self.records.items)
        PyMem_RawFree(self.operands.items)
        PyMem_RawFree(self.numbers)
        PyMem_RawFree(self.slots)
        PyMem_RawFree(self.many.items)
        PyMem_RawFree(self.scratch.items)
        PyMem_RawFree(self.moved.items)

    cdef inline Py_ssize_t size(self) noexcept:
        return self.records.size // 3

    cdef inline int row(self, int32_t record) noexcept:
        return self.records.items[3 * record]

    cdef inline int32_t first(self, int32_t record) noexcept:
        return self.records.items[3 * record + 1]

    cdef inline int32_t second(self, int32_t record) noexcept:
        return self.records.items[3 * record + 2]

    cdef inline int32_t operand(self, int32_t record, Py_ssize_t at) noexcept:
        """An operand of a record that has many."""
        return self.operands.items[self.first(record) + at]

    cdef inline bint is_constant(self, int32_t record) noexcept:
        return self.row(record) == ROW_CONSTANT

    cdef inline double number(self, int32_t record) noexcept:
        return self.numbers[self.first(record)]

    cdef int32_t append_record(self, int row, int32_t first, int32_t second) except -1:
        cdef int32_t record = as_offset(self.size())
        look_for_signals(record)
        if record >= MOST_RECORDS:
            raise MemoryError(
                f"these derivatives are a program of more than {MOST_RECORDS} instructions: ask for fewer "
                "at a time, or for products of the Hessian"
            )
        append(&self.records, row)
        append(&self.records, first)
        append(&self.records, second)
        return record

    cdef int32_t constant(self, double number) except -1:
        cdef Py_ssize_t room
        cdef double *grown
        cdef uint64_t bits
        memcpy(&bits, &number, sizeof(double))
        found = self.constants.get(bits)
        if found is not None:
            return found
        if self.number_count == self.number_room:
            room = 2 * self.number_room + 64
            grown = <double *>PyMem_RawRealloc(self.numbers, room * sizeof(double))
            if grown == NULL:
                raise MemoryError("no memory for a program")
            self.numbers, self.number_room = grown, room
        self.numbers[self.number_count] = number
        self.number_count += 1
        self.constants[bits] = record = self.append_record(
            ROW_CONSTANT, <int32_t>(self.number_count - 1), 0
        )
        return record

    cdef int32_t leaf(self, tuple place) except -1:
        """The record of a leaf, which is (argument, column) or (-1, parameter)."""
        found = self.leaf_records.get(place)
        if found is None:
            found = self.leaf_records[place] = self.append_record(ROW_LEAF, len(self.leaves), 0)
            self.leaves.append(place)
        return found

    # -- each record once

    cdef uint64_t hash_of(self, int row, int32_t first, int32_t second) noexcept:
        cdef uint64_t hash = mixed(0, row)
        cdef Py_ssize_t at
        if has_many_operands(row):
            for at in range(first, first + second):
                hash = mixed(hash, self.operands.items[at])
            return mixed(hash, second)
        if commutes(row) and first > second:
            first, second = second, first
        return mixed(mixed(hash, first), second)

    cdef bint is_same(self, int32_t record, int row, int32_t first, int32_t second) noexcept:
        cdef Py_ssize_t at
        if self.row(record) != row:
            return False
        if has_many_operands(row):
            if self.second(record) != second:
                return False
            for at in range(second):
                if self.operand(record, at) != self.operands.items[first + at]:
                    return False
            return True
        if self.first(record) == first and self.second(record) == second:
            return True
        return commutes(row) and self.first(record) == second and self.second(record) == first

    cdef int32_t found_or_added(self, int row, int32_t first, int32_t second) except -1:
        """The record with these fields. If it exists, its operands are removed from the end of `operands`."""
        cdef uint64_t slot = self.hash_of(row, first, second) & self.mask
        cdef int32_t record
        while self.slots[slot] != 0:
            record = self.slots[slot] - 1
            if self.is_same(record, row, first, second):
                if has_many_operands(row):
                    self.operands.size = first
                return record
            slot = (slot + 1) & self.mask
        record = self.append_record(row, first, second)
        self.slots[slot] = record + 1
        if 2 * <uint64_t>record > self.mask:
            self.grow_slots()
        return record

    cdef int grow_slots(self) except -1:
        cdef uint64_t mask = 4 * self.mask + 3, slot
        cdef int32_t *slots = <int32_t *>zeroed(mask + 1, sizeof(int32_t))
        cdef int32_t record
        cdef int row
        for record in range(<int32_t>self.size()):
            row = self.row(record)
            if row == ROW_LEAF or row == ROW_CONSTANT:
                continue
            slot = self.hash_of(row, self.first(record), self.second(record)) & mask
            while slots[slot] != 0:
                slot = (slot + 1) & mask
            slots[slot] = record + 1
        PyMem_RawFree(self.slots)
        self.slots, self.mask = slots, mask
        return 0

    # -- operations

    cdef int32_t unary(self, int row, int32_t a) except -1:
        cdef double value
        if self.is_constant(a):
            value = unary_value(row, self.number(a))
            if isfinite(value):
                return self.constant(value)
        return self.found_or_added(row, a, 0)

    cdef int32_t binary(self, int row, int32_t a, int32_t b) except -1:
        cdef double value
        if self.is_constant(b):
            if self.is_constant(a):
                value = binary_value(row, self.number(a), self.number(b))
                if isfinite(value):
                    return self.constant(value)
            elif row == ROW_MUL:
                return self.multiple(a, self.number(b))
            elif simpler_row(row, self.number(b)) == ROW_LEAF:
                return a
        elif self.is_constant(a) and row == ROW_MUL:
            return self.multiple(b, self.number(a))
        return self.found_or_added(row, a, b)

    cdef inline int32_t product(self, int32_t a, int32_t b) except -1:
        return self.binary(ROW_MUL, a, b)

    cdef int32_t multiple(self, int32_t x, double factor) except -1:
        """A product with a constant: (x * c) * d is x * (c * d)."""
        cdef int32_t inner, other
        cdef double number
        if factor == 1.0:
            return x
        if self.row(x) == ROW_MUL:
            inner, other = self.first(x), self.second(x)
            for _ in range(2):
                if self.is_constant(other):
                    number = self.number(other) * factor
                    # Neither overflow nor underflow, where the order of the products would matter.
                    if 1e-100 < fabs(number) < 1e100:
                        return self.multiple(inner, number)
                inner, other = other, inner
        return self.found_or_added(ROW_MUL, x, self.constant(factor))

    cdef int32_t where(self, int32_t condition, int32_t then, int32_t other) except -1:
        """The record of where(condition, then, other), simplified if possible."""
        cdef int32_t holds, fails, start
        if self.is_constant(condition):
            return then if self.number(condition) > 0.0 else other
        then, other = self.given(condition, then, 1), self.given(condition, other, 2)
        if then == other:
            return then
        if self.row(condition) == ROW_WHERE:
            holds, fails = self.operand(condition, 1), self.operand(condition, 2)
            if self.is_constant(holds) and self.is_constant(fails):
                if self.number(holds) > 0.0 and not self.number(fails) > 0.0:
                    return self.where(self.operand(condition, 0), then, other)
                if self.number(fails) > 0.0 and not self.number(holds) > 0.0:
                    return self.where(self.operand(condition, 0), other, then)
        start = append(&self.operands, condition)
        append(&self.operands, then)
        append(&self.operands, other)
        return self.found_or_added(ROW_WHERE, start, 3)

    cdef inline bint selects_by(self, int32_t record, int32_t condition) noexcept:
        return self.row(record) == ROW_WHERE and self.operand(record, 0) == condition

    cdef int32_t given(self, int32_t condition, int32_t record, int side) except -1:
        """A record that has the same value where the condition holds (side 1), or does not (side 2)."""
        cdef int32_t a, b
        while self.selects_by(record, condition):
            record = self.operand(record, side)
        if self.row(record) == ROW_MUL:
            a, b = self.first(record), self.second(record)
            if self.selects_by(a, condition) or self.selects_by(b, condition):
                if self.selects_by(a, condition):
                    a = self.operand(a, side)
                if self.selects_by(b, condition):
                    b = self.operand(b, side)
                return self.product(a, b)
        return record

    cdef int32_t of_many(self, int row, const int32_t *given, Py_ssize_t count) except -1:
        """A record of many operands; with a symbol, the first is the number of a selection."""
        cdef int32_t start = as_offset(self.operands.size)
        cdef Py_ssize_t at
        for at in range(count):
            append(&self.operands, given[at])
        return self.found_or_added(row, start, as_offset(count))

    cdef int32_t total(self, const int32_t *parts, Py_ssize_t count) except -1:
        """The sum of at least one part."""
        if count == 1:
            return parts[0]
        if count == 2:
            return self.binary(ROW_ADD, parts[0], parts[1])
        return self.of_many(ROW_SUM, parts, count)

    cdef int32_t selection(self, tuple place) except -1:
        """The number of a selection."""
        number = self.selection_numbers.setdefault(place, len(self.selections))
        if number == len(self.selections):
            self.selections.append(place)
        return number

    cdef int32_t loop(self, Loop loop, list operands) except -1:
        """The record of a loop; that of an equal one if it is there already."""
        key = (content_of(loop), *operands)
        found = self.loop_records.get(key)
        if found is not None:
            return found
        self.many.size = 0
        append(&self.many, self.selection((OUTSIDE, len(self.loops))))
        self.loops.append(loop)
        for operand in operands:
            append(&self.many, operand)
        self.loop_records[key] = record = self.of_many(ROW_LOOP, self.many.items, self.many.size)
        return record

    cdef int32_t copied_loop(self, Loop loop, list operands) except -1:
        """The record of a loop of the source; opened_loops.pxi has another."""
        return self.loop(loop, operands)

    cdef int32_t result(self, int32_t loop, Py_ssize_t number) except -1:
        """The record of a result of a loop."""
        cdef int32_t two[2]
        two[0], two[1] = self.selection((STATE, number)), loop
        return self.of_many(ROW_RESULT, two, 2)

    # -- the records of the source

    cdef int copy_source(self, Py_ssize_t parameters=OUTSIDE) except -1:
        """Copy the source's records; with `parameters`, its parameters become the argument of that number."""
        cdef Graph graph = self.source
        cdef Py_ssize_t index
        cdef int row
        cdef int32_t first, record
        for index in range(graph.size):
            row, first = graph.row(index), graph.first(index)
            if row == ROW_LEAF:
                place = graph.leaves[first]
                if parameters != OUTSIDE and place[0] == OUTSIDE:
                    place = (parameters, place[1])
                record = self.leaf(place)
            elif row == ROW_WHERE:
                condition, then, other = [
                    self.moved.items[<Py_ssize_t>operand] for operand in operands_of(graph, index)
                ]
                record = self.where(condition, then, other)
            elif has_many_operands(row):
                record = self.copy_of_many(index)
            elif row == ROW_CONSTANT:
                record = self.constant(graph.constants[first])
            elif has_two_operands(row):
                record = self.binary(row, self.moved.items[first], self.moved.items[graph.second(index)])
            else:
                record = self.unary(row, self.moved.items[first])
            append(&self.moved, record)
        return 0

    cdef int32_t copy_of_many(self, Py_ssize_t index) except -1:
        """The record of a record of the source that has many operands, all of which are copied already."""
        cdef Graph graph = self.source
        cdef int row = graph.row(index)
        cdef int32_t first = graph.first(index), second = graph.second(index)
        cdef Py_ssize_t at
        if row == ROW_LOOP:
            return self.copied_loop(
                graph.loop_of(index),
                [self.moved.items[graph.loop_operand(index, at)] for at in range(second - 1)],
            )
        self.many.size = 0
        for at in range(first, first + second):
            if has_symbol(row) and at == first:
                append(&self.many, self.selection(graph.selections[graph.operands[at]]))
            else:
                append(&self.many, self.moved.items[graph.operands[at]])
        return self.of_many(row, self.many.items, self.many.size)

    cdef list outputs(self):
        return [self.moved.items[<Py_ssize_t>output] for output in self.source.outputs]

    cdef list leaf_ids(self, tuple columns):
        """The record of each of these leaves, NOTHING for one that the graph does not have."""
        return [self.leaf_records.get(column, NOTHING) for column in columns]

    cdef Py_ssize_t operand_count(self, int32_t record) noexcept:
        cdef int row = self.row(record)
        if row == ROW_LEAF or row == ROW_CONSTANT:
            return 0
        if has_many_operands(row):
            return self.second(record) - has_symbol(row)
        return 2 if has_two_operands(row) else 1

    cdef int32_t operand_at(self, int32_t record, Py_ssize_t at) noexcept:
        cdef int row = self.row(record)
        if has_many_operands(row):
            return self.operand(record, at + has_symbol(row))
        return self.second(record) if at else self.first(record)

    cdef int32_t derivative(self, int32_t record, Py_ssize_t at) except -1:
        """The record of the derivative by an operand, for an operation that has a rule."""
        cdef int row = self.row(record)
        cdef bint reduces = ROW_FIRST_REDUCTION <= row < ROW_FIRST_TERNARY
        cdef Py_ssize_t key = row << 2 | (0 if reduces else at), node, count = self.operand_count(record)
        cdef Rule rule = self.rules[key]
        cdef int32_t places[5]
        cdef int32_t three[3]
        cdef const int32_t *nodes
        cdef Py_ssize_t start, each
        if rule is None:
            self.rules[key] = rule = rule_of(row, <int>at)
        if reduces:
            places[0], places[1] = self.operand_at(record, at), record
            places[2] = self.constant(<double>count)
        else:
            for each in range(count):
                places[each] = self.operand_at(record, each)
            places[count] = record
        if rule.result < 0:
            return places[~rule.result]
        start = self.scratch.size
        nodes = rule.nodes.items
        for node in range(len(rule.numbers)):
            for each in range(3):
                three[each] = nodes[4 * node + 1 + each]
                if three[each] < 0:
                    three[each] = places[~three[each]]
                elif nodes[4 * node] != ROW_CONSTANT:
                    three[each] = self.scratch.items[start + three[each]]
            append(&self.scratch, self.instance(nodes[4 * node], three, rule.numbers, node))
        node = self.scratch.items[start + rule.result]
        self.scratch.size = start
        return <int32_t>node

    cdef int32_t instance(self, int row, const int32_t *three, list numbers, Py_ssize_t node) except -1:
        if row == ROW_CONSTANT:
            return self.constant(numbers[node])
        if row == ROW_WHERE:
            return self.where(three[0], three[1], three[2])
        if row >= ROW_FIRST_TERNARY:
            return self.of_many(row, three, 3)
        if has_two_operands(row):
            return self.binary(row, three[0], three[1])
        return self.unary(row, three[0])

    cdef int32_t share(self, int32_t record, Py_ssize_t at) except -2:
        """The derivative of a record by an operand, NOTHING if it is 0.

        For `take` it is 1 if the row chose this operand.
        """
        cdef int row = self.row(record)
        cdef int32_t found, selection
        cdef Py_ssize_t count, each
        if row == ROW_INNER:
            count = self.second(record)
            if count % 2 and at == count - 1:
                return self.constant(1.0)
            return self.operand(record, at ^ 1)
        if row == ROW_LOCAL:
            # The operands are the result, which gets no gradient, then pairs of an operand and its
            # derivative.
            return self.operand(record, at + 1) if at % 2 else NOTHING
        if row == ROW_CUSTOM:
            count, selection = self.operand_count(record), self.operand(record, 0)
            each = self.many.size
            append(&self.many, selection)
            for other in range(count):
                append(&self.many, self.constant(1.0 if other == at else 0.0))
            found = self.of_many(ROW_CUSTOM, self.many.items + each, count + 1)
            self.many.size = each
            return found
        found = self.derivative(record, at)
        if self.is_constant(found) and self.number(found) == 0.0:
            return NOTHING
        return found

    # -- the result

    cdef inline int32_t standing_for(self, int32_t record):
        """The record that the finished graph has for this one: for a loop, its joint loop if there is one."""
        if self.row(record) == ROW_LOOP and self.joint_loops:
            joint = self.joint_loops.get(record)
            if joint is not None:
                return (<JointLoop>joint).record
        return record

    cdef Graph finished(self, list outputs, tuple parameters=None):
        """The graph of these outputs, without records that none of them needs; an output NOTHING is 0.

        parameters: those of the new graph; None for the source's that are needed.
        """
        cdef Py_ssize_t at, count, listed = 0
        cdef int32_t record
        cdef int32_t *places
        cdef int32_t *out
        cdef int32_t *many
        cdef Integers order
        cdef bytes records, operands
        cdef int row
        cdef int32_t first, second
        cdef dict selection_places = {}
        cdef dict parameter_places = {}
        cdef list constants = []
        cdef list leaves = []
        cdef list selections = []
        cdef list loops = []
        cdef list kept = []
        # A graph has an output, even if there is nothing to differentiate by.
        outputs = outputs or [NOTHING]
        if NOTHING in outputs:
            zero = self.constant(0.0)
            outputs = [zero if output == NOTHING else output for output in outputs]
        places = <int32_t *>zeroed(self.size(), sizeof(int32_t))
        order.items, order.size, order.room = NULL, 0, 0
        try:
            put_in_order(self, outputs, places, &order)
            count = order.size
            for at in range(count):
                if has_many_operands(self.row(order.items[at])):
                    listed += self.second(order.items[at])
            records = bytes(12 * count)
            operands = bytes(4 * listed)
            out, many = <int32_t *><char *>records, <int32_t *><char *>operands
            count = listed = 0
            for count in range(order.size):
                record = order.items[count]
                row, first, second = self.row(record), self.first(record), self.second(record)
                if row == ROW_LEAF:
                    place = self.leaves[first]
                    if parameters is None and self.source.taken is None and place[0] == OUTSIDE:
                        number = parameter_places.setdefault(place[1], len(kept))
                        if number == len(kept):
                            kept.append(self.source.parameters[place[1]])
                        place = (OUTSIDE, number)
                    leaves.append(place)
                    first = <int32_t>(len(leaves) - 1)
                elif row == ROW_CONSTANT:
                    constants.append(self.numbers[first])
                    first = <int32_t>(len(constants) - 1)
                elif has_many_operands(row):
                    for at in range(second):
                        if at == 0 and has_symbol(row):
                            place = self.selection_of(record)
                            if row == ROW_LOOP:
                                loops.append(self.loops[place[1]])
                                place = (OUTSIDE, len(loops) - 1)
                            number = selection_places.setdefault(place, len(selections))
                            if number == len(selections):
                                selections.append(place)
                            many[listed] = number
                        else:
                            many[listed + at] = places[self.standing_for(self.operands.items[first + at])]
                    first = <int32_t>listed
                    listed += second
                else:
                    first = places[first]
                    if has_two_operands(row):
                        second = places[second]
                out[3 * count], out[3 * count + 1], out[3 * count + 2] = row, first, second
            return Graph(
                records, operands, constants, tuple(kept) if parameters is None else parameters, leaves,
                selections, [places[<Py_ssize_t>output] for output in outputs], True, tuple(loops),
                self.source.taken if self.taken is None else self.taken,
            )
        finally:
            PyMem_RawFree(places)
            PyMem_RawFree(order.items)

    cdef tuple selection_of(self, int32_t record):
        """The selection of a record; a result of a joint loop has another number than in the source."""
        cdef tuple place = self.selections[self.operand(record, 0)]
        cdef JointLoop joint
        if self.row(record) == ROW_RESULT and self.joint_loops:
            joint = self.joint_loops.get(self.operand(record, 1))
            if joint is not None:
                return STATE, joint.number_of(place[1])
        return place


cdef int mark_needed(Builder builder, char *needed, list targets) except -1:
    """Mark the targets and all records that they depend on."""
    cdef int32_t record, operand
    cdef Py_ssize_t at
    cdef bint again = True
    for target in targets:
        if target != NOTHING:
            needed[<Py_ssize_t>target] = 1
    while again:
        again = False
        for record in range(<int32_t>builder.size() - 1, -1, -1):
            if needed[record]:
                for at in range(builder.operand_count(record)):
                    operand = builder.standing_for(builder.operand_at(record, at))
                    # Only joint loops come after records that use them.
                    again = again or (operand > record and not needed[operand])
                    needed[operand] = 1
    return 0


cdef int put_in_order(Builder builder, list outputs, int32_t *places, Integers *order) except -1:
    """List the records that the outputs need, operands first, and the place of each in this list."""
    cdef int32_t size = <int32_t>builder.size(), start, record, operand
    cdef Py_ssize_t at, before
    cdef char *needed = <char *>zeroed(size, 1)
    cdef Integers stack
    stack.items, stack.size, stack.room = NULL, 0, 0
    try:
        mark_needed(builder, needed, outputs)
        for start in range(size):
            places[start] = -1
        for start in range(size):
            if not needed[start]:
                continue
            append(&stack, start)
            while stack.size:
                record, before = stack.items[stack.size - 1], stack.size
                if places[record] < 0:
                    for at in range(builder.operand_count(record)):
                        operand = builder.standing_for(builder.operand_at(record, at))
                        if places[operand] < 0:
                            append(&stack, operand)
                    if stack.size > before:
                        continue
                    places[record] = append(order, record)
                stack.size -= 1
    finally:
        PyMem_RawFree(needed)
        PyMem_RawFree(stack.items)
    return 0


cdef tuple content_of(Loop loop):
    """A key that is equal for loops which compute the same from equal operands."""
    return (
        content_of_graph(loop.body), loop.steps,
        tuple([(given.kind, given.source, given.number, given.first, given.stride) for given in loop.inputs]),
    )


cdef tuple content_of_graph(Graph graph):
    return (
        graph.records_bytes, graph.operands_bytes, tuple([number.hex() for number in graph.constants]),
        graph.leaves, graph.selections, graph.outputs, graph.taken,
        tuple([content_of(loop) for loop in graph.loops]),
    )
