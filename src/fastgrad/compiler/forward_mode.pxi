# Forward mode: a tangent is the derivative of a record along a direction. Every column has a direction. All
# directions are computed side by side, and each record has only the tangents that are not 0.

cdef class Tangents:
    """For each record its tangents that are not 0, as pairs: the direction, and the record of the tangent."""

    cdef Py_ssize_t *start
    cdef Py_ssize_t *end
    cdef Integers pairs
    # For the record whose tangents are being computed: for each direction the last part of its linked list,
    # or -1.
    cdef int32_t *last
    cdef Integers touched
    cdef Integers parts

    def __cinit__(self, Builder builder not None, Py_ssize_t directions):
        cdef Py_ssize_t records = builder.size(), direction
        self.start = <Py_ssize_t *>zeroed(records, sizeof(Py_ssize_t))
        self.end = <Py_ssize_t *>zeroed(records, sizeof(Py_ssize_t))
        self.last = <int32_t *>zeroed(directions, sizeof(int32_t))
        for direction in range(directions):
            self.last[direction] = -1

    def __dealloc__(self):
        PyMem_RawFree(self.start)
        PyMem_RawFree(self.end)
        PyMem_RawFree(self.last)
        PyMem_RawFree(self.pairs.items)
        PyMem_RawFree(self.touched.items)
        PyMem_RawFree(self.parts.items)

    cdef int add(self, int32_t direction, int32_t part) except -1:
        """Note a part of a tangent of the record whose tangents are being computed."""
        if self.last[direction] < 0:
            append(&self.touched, direction)
        append(&self.parts, part)
        self.last[direction] = append(&self.parts, self.last[direction]) - 1
        return 0

    cdef int32_t of(self, int32_t record, int32_t direction) noexcept:
        cdef Py_ssize_t at
        if record < 0:
            return NOTHING
        for at in range(self.start[record], self.end[record]):
            if self.pairs.items[2 * at] == direction:
                return self.pairs.items[2 * at + 1]
        return NOTHING

    cdef dict all_of(self, int32_t record):
        """The tangents of a record, by direction."""
        cdef Py_ssize_t at
        return {
            self.pairs.items[2 * at]: self.pairs.items[2 * at + 1]
            for at in range(self.start[record], self.end[record])
        }

    cdef int keep(self, int32_t record, dict tangents) except -1:
        """Set the tangents of a record, by direction."""
        self.start[record] = self.pairs.size // 2
        for direction, tangent in tangents.items():
            append(&self.pairs, direction)
            append(&self.pairs, tangent)
        self.end[record] = self.pairs.size // 2
        return 0

    cdef int close(self, Builder builder, int32_t record) except -1:
        """Add up the parts, and keep the sums as the record's tangents."""
        cdef Py_ssize_t at, first
        cdef int32_t direction, part, swapped
        self.start[record] = self.pairs.size // 2
        for at in range(self.touched.size):
            direction = self.touched.items[at]
            builder.many.size = 0
            part = self.last[direction]
            while part >= 0:
                append(&builder.many, self.parts.items[part])
                part = self.parts.items[part + 1]
            # The list begins with the last part.
            for first in range(builder.many.size // 2):
                swapped = builder.many.items[first]
                builder.many.items[first] = builder.many.items[builder.many.size - 1 - first]
                builder.many.items[builder.many.size - 1 - first] = swapped
            self.last[direction] = -1
            part = builder.total(builder.many.items, builder.many.size)
            append(&self.pairs, direction)
            append(&self.pairs, part)
        self.end[record] = self.pairs.size // 2
        self.touched.size = self.parts.size = 0
        return 0


cdef Tangents along_columns(Builder builder, tuple columns, tuple seeds, list targets):
    """The tangents of the targets; each column has a direction of its own, with the tangent 1.

    With `seeds`, a leaf for each column, there is one direction, and the leaves are the tangents.
    """
    cdef dict places = {}
    cdef list seeded = []
    leaves = builder.leaf_ids(columns)
    for at, column in enumerate(columns):
        direction = at if seeds is None else 0
        places[column] = direction, None if seeds is None else seeds[at]
        if leaves[at] != NOTHING:
            seed = builder.constant(1.0) if seeds is None else builder.leaf(seeds[at])
            seeded.append((leaves[at], {direction: seed}))
    return pushed_forward(builder, seeded, places, len(columns), targets)


cdef Tangents pushed_forward(
    Builder builder, list seeded, dict columns, Py_ssize_t directions, list targets
):
    """The tangents of all records that the targets need.

    seeded: records with their tangents by direction. columns: for columns that a loop may read, by their
    place: the direction, and the place of the leaf that is the tangent, or None for 1.
    """
    cdef int32_t size = <int32_t>builder.size(), record, factor, tangent, direction, part
    cdef Tangents tangents = Tangents(builder, directions)
    cdef char *needed = <char *>zeroed(size, 1)
    cdef JointLoop joint
    cdef Py_ssize_t at, pair
    cdef int row
    cdef int32_t operand
    try:
        mark_needed(builder, needed, targets)
        for leaf, seeds in seeded:
            if needed[<Py_ssize_t>leaf]:
                tangents.keep(leaf, seeds)
        for record in range(size):
            row = builder.row(record)
            if not needed[record] or row == ROW_LEAF or row == ROW_CONSTANT:
                continue
            if row == ROW_CUSTOM:
                select_tangents(builder, tangents, record)
                continue
            if row == ROW_LOOP:
                joint = joint_loop(builder, tangents, record, columns, directions)
                if joint is not None:
                    builder.joint_loops[record] = joint
                continue
            if row == ROW_RESULT:
                operand = builder.operand_at(record, 0)
                joint = builder.joint_loops.get(operand)
                if joint is not None:
                    found = joint.tangents_of(builder.selections[builder.operand(record, 0)][1])
                    tangents.keep(record, {
                        each: builder.result(joint.record, number) for each, number in found.items()
                    })
                continue
            for at in range(builder.operand_count(record)):
                operand = builder.operand_at(record, at)
                if tangents.start[operand] == tangents.end[operand]:
                    continue
                factor = builder.share(record, at)
                if factor == NOTHING:
                    continue
                for pair in range(tangents.start[operand], tangents.end[operand]):
                    direction, tangent = tangents.pairs.items[2 * pair], tangents.pairs.items[2 * pair + 1]
                    part = builder.product(factor, tangent)
                    if selects(row) and not builder.is_constant(factor):
                        # An operand that was not chosen adds 0, even if its tangent is infinite.
                        part = builder.where(factor, part, builder.constant(0.0))
                    tangents.add(direction, part)
            if tangents.touched.size:
                tangents.close(builder, record)
    finally:
        PyMem_RawFree(needed)
    return tangents


cdef int select_tangents(Builder builder, Tangents tangents, int32_t record) except -1:
    """The tangents of `take`: that of the operand that the row chose, in each direction that reaches one."""
    cdef Py_ssize_t count = builder.operand_count(record), at, pair, each
    cdef int32_t operand, direction, part, tangent
    for at in range(count):
        operand = builder.operand_at(record, at)
        for pair in range(tangents.start[operand], tangents.end[operand]):
            direction = tangents.pairs.items[2 * pair]
            if tangents.last[direction] < 0:
                tangents.last[direction] = 0
                append(&tangents.touched, direction)
    tangents.start[record] = tangents.pairs.size // 2
    for each in range(tangents.touched.size):
        direction = tangents.touched.items[each]
        tangents.last[direction] = -1
        builder.many.size = 0
        append(&builder.many, builder.operand(record, 0))
        for at in range(count):
            tangent = tangents.of(builder.operand_at(record, at), direction)
            append(&builder.many, builder.constant(0.0) if tangent == NOTHING else tangent)
        part = builder.of_many(ROW_CUSTOM, builder.many.items, builder.many.size)
        append(&tangents.pairs, direction)
        append(&tangents.pairs, part)
    tangents.end[record] = tangents.pairs.size // 2
    tangents.touched.size = 0
    return 0


# -- loops

cdef JointLoop joint_loop(
    Builder builder, Tangents tangents, int32_t record, dict columns, Py_ssize_t directions
):
    """A joint loop: it computes another loop and its tangents. None if there are no tangents.

    Its step is the other's with tangents: those of the state are more numbers of the state.
    """
    cdef Loop loop = builder.loops[builder.selections[builder.operand(record, 0)][1]]
    cdef JointLoop joint = JointLoop()
    cdef Builder step = Builder(loop.body)
    cdef Tangents pushed
    cdef int32_t zero = builder.constant(0.0)
    first = [builder.operand_at(record, at) for at in range(loop.states)]
    outside = [builder.operand_at(record, loop.states + at) for at in range(loop.outside)]
    first_tangents = [tangents.all_of(<int32_t>operand) for operand in first]
    outside_tangents = [tangents.all_of(<int32_t>operand) for operand in outside]
    given = [input_tangents(builder, tangents, record, loop, each, columns) for each in loop.inputs]
    given_by = [directions_of(each) for each in given]
    outside_by = [directions_of(each) for each in outside_tangents]
    states_by = settled(loop, [directions_of(each) for each in first_tangents], outside_by, given_by, columns)
    step.copy_source()
    state_numbers, states = numbered(states_by, loop.states)
    outside_numbers, outsides = numbered(outside_by, loop.outside)
    input_numbers, inputs = numbered(given_by, len(loop.inputs))
    by_kind = {OUTSIDE: outside_numbers, STATE: state_numbers, INPUT: input_numbers}
    seeded = [
        (leaf, {
            direction: step.leaf((place[0], number))
            for direction, number in by_kind[place[0]][place[1]].items()
        })
        for place, leaf in list(step.leaf_records.items())
    ]
    outputs = step.outputs()
    pushed = pushed_forward(step, seeded, columns, directions, outputs)
    found = outputs[:loop.states]
    for output, numbers in zip(outputs, state_numbers):
        found += [pushed.of(<int32_t>output, direction) for direction in numbers]
    found += outputs[loop.states:]
    made = [pushed.all_of(<int32_t>output) for output in outputs[loop.states:]]
    joint.made_tangents, makes = numbered([sorted(each) for each in made], loop.makes())
    for each in made:
        found += [each[direction] for direction in sorted(each)]
    if states == loop.states and makes == loop.makes():
        return None
    operands = list(first)
    for each, numbers in zip(first_tangents, state_numbers):
        operands += [each.get(direction, zero) for direction in numbers]
    operands += outside
    for each, numbers in zip(outside_tangents, outside_numbers):
        operands += [each[direction] for direction in numbers]
    new_inputs = []
    for each in loop.inputs:
        add_input(builder, record, loop, each, operands, new_inputs)
    for each, numbers in zip(given, input_numbers):
        for direction in numbers:
            add_tangent_input(each[direction], operands, new_inputs)
    step.taken = (outsides, states, inputs)
    body = step.finished(found, ())
    joint.states, joint.makes, joint.all_states, joint.all_makes = loop.states, loop.makes(), states, makes
    joint.state_tangents = state_numbers
    joint.record = builder.loop(
        Loop(body, loop.name, loop.steps, states, outsides, tuple(new_inputs)), operands
    )
    return joint


cdef list directions_of(tangents):
    return sorted(tangents)


cdef tuple numbered(list by, Py_ssize_t count):
    """(a dict by direction for each list of directions, the new count): numbers tangents from `count` on."""
    cdef list found = []
    for directions in by:
        found.append({direction: count + at for at, direction in enumerate(directions)})
        count += len(directions)
    return found, count


cdef dict input_tangents(
    Builder builder, Tangents tangents, int32_t record, Loop loop, Input given, dict columns
):
    """The tangents of a loop's input, by direction: a list of records, an Input, or results of another loop.

    These are (record of that loop, number of the result, first, stride).
    """
    cdef dict found = {}
    cdef JointLoop other
    cdef int32_t zero = builder.constant(0.0), operand
    cdef Py_ssize_t at
    if given.kind == ELEMENTS:
        for at in range(loop.steps):
            for direction, tangent in tangents.all_of(builder.operand_at(record, given.source + at)).items():
                found.setdefault(direction, [zero] * loop.steps)[at] = tangent
    elif given.kind == MADE:
        other = builder.joint_loops.get(builder.operand_at(record, given.source))
        if other is not None:
            for direction, number in (<dict>other.made_tangents[given.number]).items():
                found[direction] = (other.record, number, given.first, given.stride)
    else:
        for at in range(loop.steps):
            seed = columns.get((given.source, given.first + at * given.stride))
            if seed is None:
                continue
            direction, place = seed
            if place is not None:
                # The tangents are columns of another argument.
                found[direction] = Input(
                    COLUMNS, place[0], 0, place[1] - at * given.stride, given.stride
                )
                break
            found.setdefault(direction, [zero] * loop.steps)[at] = builder.constant(1.0)
    return found


cdef int add_input(
    Builder builder, int32_t record, Loop loop, Input given, list operands, list inputs
) except -1:
    """Add an input of a loop to those of another, and its operands."""
    if given.kind == COLUMNS:
        inputs.append(given)
        return 0
    inputs.append(Input(given.kind, len(operands), given.number, given.first, given.stride))
    for at in range(loop.steps if given.kind == ELEMENTS else 1):
        operands.append(builder.operand_at(record, given.source + <Py_ssize_t>at))
    return 0


cdef int add_tangent_input(tangent, list operands, list inputs) except -1:
    """Add one tangent, as `input_tangents` returns it, to a loop's inputs."""
    if isinstance(tangent, Input):
        inputs.append(tangent)
    elif isinstance(tangent, list):
        inputs.append(Input(ELEMENTS, len(operands), 0, 0, 1))
        operands += tangent
    else:
        inputs.append(Input(MADE, len(operands), *tangent[1:]))
        operands.append(tangent[0])
    return 0


cdef list settled(Loop loop, list states_by, list outside_by, list given_by, dict columns):
    """For each number of a state, the directions in which it may have a tangent in some step."""
    cdef list states = [mask_of(each) for each in states_by]
    cdef list outside = [mask_of(each) for each in outside_by]
    cdef list given = [mask_of(each) for each in given_by]
    cdef bint grown = True
    while grown:
        reached = masks_of_outputs(loop.body, states, outside, given, columns)[:loop.states]
        joined = [one | other for one, other in zip(states, reached)]
        grown = joined != states
        states = joined
    return [
        [direction for direction in range((<object>mask).bit_length()) if mask >> direction & 1]
        for mask in states
    ]


cdef object mask_of(directions):
    mask = 0
    for direction in directions:
        mask |= 1 << direction
    return mask


cdef list masks_of_outputs(Graph body, list states, list outside, list given, dict columns):
    """For each output of a step, the directions that may reach it from the numbers that the step reads."""
    cdef list masks = []
    cdef Py_ssize_t index, at
    cdef int32_t first, second
    cdef int row
    cdef Input each
    for index in range(body.size):
        row, first, second = body.row(index), body.first(index), body.second(index)
        mask = 0
        if row == ROW_LEAF:
            kind, number = body.leaves[first]
            mask = (states if kind == STATE else outside if kind == OUTSIDE else given)[number]
        elif row == ROW_CONSTANT:
            pass
        elif has_many_operands(row):
            for at in range(first + has_symbol(row), first + second):
                mask |= masks[body.operands[at]]
            if row == ROW_LOOP:
                for each in body.loop_of(index).inputs:
                    if each.kind == COLUMNS:
                        for at in range(body.loop_of(index).steps):
                            seed = columns.get((each.source, each.first + at * each.stride))
                            if seed is not None:
                                mask |= 1 << seed[0]
        else:
            mask = masks[first]
            if has_two_operands(row):
                mask |= masks[second]
        masks.append(mask)
    return [masks[<Py_ssize_t>output] for output in body.outputs]
