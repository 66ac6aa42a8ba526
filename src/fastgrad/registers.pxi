# From steps to instructions: a slot for every number and gradient while it is needed, and no longer.
#
# Time runs forward through the steps and then back through them. A value lives from its step to the
# last step, in either direction, that reads it; a gradient from the first contribution to it to the
# way back through the step that made the value.

@internal
cdef class Plan:
    """Instructions for one purpose, ready to run over any number of rows; never changed once made."""

    cdef int purpose
    cdef Instruction *forward
    cdef Instruction *backward
    cdef Wide *wides
    cdef int32_t *table
    cdef Py_ssize_t forward_count
    cdef Py_ssize_t backward_count
    cdef Py_ssize_t wide_count
    cdef Py_ssize_t table_size
    cdef Py_ssize_t widest
    cdef Py_ssize_t slots
    cdef Py_ssize_t outputs
    # Uniform numbers: parameters, then arguments that are numbers, constants, and what is computed.
    cdef Py_ssize_t uniforms
    cdef Py_ssize_t parameters
    cdef Py_ssize_t arguments
    cdef double *initial
    cdef int32_t *uniform_steps
    cdef Py_ssize_t uniform_count
    cdef int32_t *uniform_table
    cdef Py_ssize_t uniform_table_size
    # Accumulators: the sums of the outputs, the gradients of uniform numbers, those of matrices; and
    # the uniform number that each of them is a gradient of.
    cdef int32_t *accumulated
    cdef Py_ssize_t accumulators
    # The biases and weights of matrices in the order in which they are used, and the numbers that they are.
    cdef Py_ssize_t packed
    cdef int32_t *packed_from
    cdef double flops
    # (argument, column, number of choices) of every index.
    cdef list ranges
    cdef list workspaces

    def __dealloc__(self):
        PyMem_RawFree(self.forward)
        PyMem_RawFree(self.backward)
        PyMem_RawFree(self.wides)
        PyMem_RawFree(self.table)
        PyMem_RawFree(self.initial)
        PyMem_RawFree(self.uniform_steps)
        PyMem_RawFree(self.uniform_table)
        PyMem_RawFree(self.accumulated)
        PyMem_RawFree(self.packed_from)

    @property
    def bytes(self):
        """The memory that the instructions take."""
        return (
            (self.forward_count + self.backward_count) * <Py_ssize_t>sizeof(Instruction)
            + self.wide_count * <Py_ssize_t>sizeof(Wide)
            + (self.table_size + self.uniform_table_size) * <Py_ssize_t>sizeof(int32_t)
            + (self.accumulators + self.packed) * <Py_ssize_t>sizeof(int32_t)
            + 4 * self.uniform_count * <Py_ssize_t>sizeof(int32_t)
            + self.uniforms * <Py_ssize_t>sizeof(double)
        )


@internal
cdef class Allocation:
    """The working state of the passes over the steps; ids index the first five."""

    cdef Lowering lowering
    cdef Plan plan
    cdef int32_t *slot
    cdef int32_t *adjoint
    cdef int32_t *uniform
    cdef int32_t *accumulator
    cdef Py_ssize_t *last
    cdef Integers free_slots
    cdef Integers accumulated
    # Of one step: ids written, read on the way forward, read on the way back, given gradients.
    cdef Integers writes
    cdef Integers reads
    cdef Integers keeps
    cdef Integers targets
    cdef Py_ssize_t count

    def __cinit__(self, Lowering lowering, Plan plan):
        cdef Py_ssize_t size = lowering.varying.size, index
        self.lowering = lowering
        self.plan = plan
        self.count = lowering.steps.size // STEP
        self.slot = <int32_t *>PyMem_RawMalloc((size + 1) * sizeof(int32_t))
        self.adjoint = <int32_t *>PyMem_RawMalloc((size + 1) * sizeof(int32_t))
        self.uniform = <int32_t *>PyMem_RawMalloc((size + 1) * sizeof(int32_t))
        self.accumulator = <int32_t *>PyMem_RawMalloc((size + 1) * sizeof(int32_t))
        self.last = <Py_ssize_t *>PyMem_RawMalloc((size + 1) * sizeof(Py_ssize_t))
        if not (self.slot and self.adjoint and self.uniform and self.accumulator and self.last):
            raise MemoryError("no memory for a program")
        for index in range(size):
            self.slot[index] = self.adjoint[index] = self.uniform[index] = self.accumulator[index] = -1
            self.last[index] = -1

    def __dealloc__(self):
        PyMem_RawFree(self.slot)
        PyMem_RawFree(self.adjoint)
        PyMem_RawFree(self.uniform)
        PyMem_RawFree(self.accumulator)
        PyMem_RawFree(self.last)
        PyMem_RawFree(self.free_slots.items)
        PyMem_RawFree(self.accumulated.items)
        PyMem_RawFree(self.writes.items)
        PyMem_RawFree(self.reads.items)
        PyMem_RawFree(self.keeps.items)
        PyMem_RawFree(self.targets.items)

    cdef int32_t *step(self, Py_ssize_t index) noexcept:
        return self.lowering.steps.items + index * STEP

    cdef bint varies(self, int32_t operand) noexcept:
        return self.lowering.varying.items[operand] != 0

    cdef bint wanted(self, int32_t operand) noexcept:
        return self.lowering.purpose != FORWARD and self.lowering.active.items[operand] != 0

    cdef int read(self, int32_t operand) except -1:
        if self.varies(operand):
            append(&self.reads, operand)
        return 0

    cdef int target(self, int32_t operand) except -1:
        if self.wanted(operand):
            append(&self.targets, operand)
        return 0

    cdef int keep(self, int32_t operand) except -1:
        if self.varies(operand):
            append(&self.keeps, operand)
        return 0

    cdef int describe(self, int32_t *step) except -1:
        """Fill the four lists for a step."""
        cdef int32_t code = step[0], out = step[1], left = step[2], right = step[3], third = step[4]
        cdef int row = code >> 2, need
        cdef Py_ssize_t start, size, at
        cdef int32_t *ids = self.lowering.ids.items
        cdef list wide
        cdef bint kept
        self.writes.size = self.reads.size = self.keeps.size = self.targets.size = 0
        if code == CODE_OUTPUT:
            self.read(left)
            return self.target(left)
        if code != CODE_MATRIX:
            append(&self.writes, out)
        if code == CODE_LOAD:
            return 0
        if code == CODE_BROADCAST:
            return self.target(left)
        if code == CODE_MULTIPLY_ADD:
            self.read(left)
            self.target(left)
            self.target(right)
            self.target(third)
            return self.keep(left) if self.wanted(right) else 0
        if row < ROW_TABLE_END:
            self.read(left)
            self.target(left)
            need = needed_for_left(row) if self.wanted(left) else 0
            if has_two_operands(row):
                self.read(right)
                self.target(right)
                if self.wanted(right):
                    need |= needed_for_right(row)
                if need & NEEDS_RIGHT:
                    self.keep(right)
            if need & NEEDS_LEFT:
                self.keep(left)
            if need & NEEDS_OUT:
                self.keep(out)
            return 0
        wide = self.lowering.wides[left]
        start, size = wide[0], wide[1]
        if code == CODE_MATRIX:
            for operand in wide[3]:
                append(&self.writes, operand)
                if wide[6] and self.wanted(operand):
                    self.keep(operand)
            kept = any([self.wanted(weight) for weight in wide[4]])
            for at in range(start, start + size):
                self.read(ids[at])
                self.target(ids[at])
                if kept:
                    self.keep(ids[at])
            return 0
        if code == CODE_INNER:
            self.read(third)
            self.target(third)
        need = needed_for_left(row) if ROW_FIRST_REDUCTION <= row < ROW_FIRST_TERNARY else 0
        kept = False
        for at in range(start, start + size):
            self.read(ids[at])
            self.target(ids[at])
            kept = kept or self.wanted(ids[at])
            if self.wanted(ids[at]) and need & NEEDS_LEFT:
                self.keep(ids[at])
            if code == CODE_INNER:
                self.read(ids[at + size])
                self.target(ids[at + size])
                if self.wanted(ids[at + size]):
                    self.keep(ids[at])
                if self.wanted(ids[at]):
                    self.keep(ids[at + size])
        if kept and (need & NEEDS_OUT or ROW_FIRST_TERNARY <= row < ROW_END):
            self.keep(out)
        if kept and ROW_FIRST_TERNARY <= row < ROW_END:
            for at in range(start, start + size):
                self.keep(ids[at])
        return 0

    cdef int32_t take_slot(self) except -1:
        if self.free_slots.size:
            self.free_slots.size -= 1
            return self.free_slots.items[self.free_slots.size]
        self.plan.slots += 1
        return <int32_t>(self.plan.slots - 1)

    cdef int release(self, Integers *operands, Py_ssize_t time) except -1:
        """Give back the slots of values that are not read after this time."""
        cdef Py_ssize_t at
        cdef int32_t operand
        for at in range(operands.size):
            operand = operands.items[at]
            if self.last[operand] == time:
                self.last[operand] = -1
                append(&self.free_slots, self.slot[operand])
        return 0

    cdef int32_t uniform_of(self, int32_t operand) except -1:
        """The index of a uniform id, given to it at its first use if it is computed."""
        if self.uniform[operand] < 0:
            self.uniform[operand] = <int32_t>self.plan.uniforms
            self.plan.uniforms += 1
        return self.uniform[operand]

    cdef int32_t place(self, int32_t operand) except? -1:
        """The operand as an instruction names it: its slot, or its uniform index inverted."""
        if self.varies(operand):
            return self.slot[operand]
        return ~self.uniform_of(operand)

    cdef int32_t gradient_place(self, int32_t operand) except? -1:
        """The slot or the accumulator of an operand's gradient, or -1."""
        if not self.wanted(operand):
            return -1
        if self.varies(operand):
            return self.adjoint[operand]
        if self.accumulator[operand] < 0:
            self.accumulator[operand] = append(&self.accumulated, self.uniform_of(operand))
        return self.accumulator[operand]


cdef int lifetimes(Allocation self) except -1:
    cdef Py_ssize_t time, at
    for time in range(self.count):
        self.describe(self.step(time))
        for at in range(self.writes.size):
            self.last[self.writes.items[at]] = max(self.last[self.writes.items[at]], time)
        for at in range(self.reads.size):
            self.last[self.reads.items[at]] = max(self.last[self.reads.items[at]], time)
        for at in range(self.keeps.size):
            self.last[self.keeps.items[at]] = max(self.last[self.keeps.items[at]], 2 * self.count - 1 - time)
    return 0


cdef void *zeroed(Py_ssize_t count, size_t size) except NULL:
    cdef void *memory = PyMem_RawCalloc(count + 1, size)
    if memory == NULL:
        raise MemoryError("no memory for a program")
    return memory


cdef int lay_out_wides(Allocation self) except -1:
    """Offsets of everything that a wide instruction lists."""
    cdef Plan plan = self.plan
    cdef Lowering lowering = self.lowering
    cdef int32_t offset = 0, number
    cdef Wide *wide
    cdef list source
    plan.wide_count = len(lowering.wides)
    plan.wides = <Wide *>zeroed(plan.wide_count, sizeof(Wide))
    for number in range(plan.wide_count):
        wide = &plan.wides[number]
        source = lowering.wides[number]
        wide.inputs = source[1]
        wide.outputs = 1 if source[3] is None else len(source[3])
        plan.widest = max(plan.widest, wide.inputs, wide.outputs)
        wide.gradient = wide.packed = wide.transposed = -1
        wide.left = offset
        wide.left_adjoint = offset + wide.inputs
        wide.fresh_left = offset + 2 * wide.inputs
        offset += 3 * wide.inputs
        if source[2]:
            wide.right = offset
            wide.right_adjoint = offset + wide.inputs
            wide.fresh_right = offset + 2 * wide.inputs
            offset += 3 * wide.inputs
        if source[3] is not None:
            wide.out = offset
            wide.out_adjoint = offset + wide.outputs
            wide.bias = offset + 2 * wide.outputs
            wide.weights = offset + 3 * wide.outputs
            offset += 3 * wide.outputs + wide.outputs * wide.inputs
            wide.activation = source[6]
            wide.packed = <int32_t>plan.packed
            plan.packed += wide.outputs * (1 + wide.inputs)
    plan.table_size = offset
    plan.table = <int32_t *>zeroed(offset, sizeof(int32_t))
    return 0


cdef int place_forward(Allocation self) except -1:
    """Slots of values, and the instructions of the way forward."""
    cdef Plan plan = self.plan
    cdef int32_t *ids = self.lowering.ids.items
    cdef int32_t *step
    cdef int32_t code, number
    cdef Py_ssize_t time, at, start
    cdef Instruction *instruction
    cdef Wide *wide
    cdef list source
    plan.forward_count = self.count
    plan.forward = <Instruction *>zeroed(self.count, sizeof(Instruction))
    for time in range(self.count):
        step = self.step(time)
        code = step[0]
        self.describe(step)
        for at in range(self.writes.size):
            self.slot[self.writes.items[at]] = self.take_slot()
        instruction = &plan.forward[time]
        instruction.code = code
        instruction.out_adjoint = instruction.left_adjoint = -1
        instruction.right_adjoint = instruction.third_adjoint = -1
        instruction.left, instruction.right, instruction.third = step[2], step[3], step[4]
        if code != CODE_OUTPUT and code != CODE_MATRIX:
            instruction.out = self.slot[step[1]]
        if code == CODE_OUTPUT or code == CODE_BROADCAST:
            instruction.left = self.place(step[2])
        elif code == CODE_MULTIPLY_ADD:
            instruction.left, instruction.right = self.place(step[2]), self.place(step[3])
            instruction.third = self.place(step[4])
        elif code >> 2 < ROW_TABLE_END:
            instruction.left = self.place(step[2])
            if has_two_operands(code >> 2):
                instruction.right = self.place(step[3])
        elif code != CODE_LOAD:
            if code == CODE_INNER:
                instruction.third = self.place(step[4])
            number = step[2]
            wide = &plan.wides[number]
            source = self.lowering.wides[number]
            start = source[0]
            for at in range(wide.inputs):
                plan.table[wide.left + at] = self.place(ids[start + at])
                if code == CODE_INNER:
                    plan.table[wide.right + at] = self.place(ids[start + wide.inputs + at])
            if code == CODE_TAKE:
                plan.ranges.append((step[3], step[4], wide.inputs))
            if code == CODE_MATRIX:
                for at in range(wide.outputs):
                    plan.table[wide.out + at] = self.slot[<int32_t>source[3][at]]
                    plan.table[wide.bias + at] = self.uniform_of(source[5][at])
                for at in range(wide.outputs * wide.inputs):
                    plan.table[wide.weights + at] = self.uniform_of(source[4][at])
        self.release(&self.reads, time)
        self.release(&self.writes, time)
    return 0


cdef int32_t fresh_slot(Allocation self, int32_t operand) except -1:
    """Give the gradient of an operand that varies a slot, if it has none; return whether it had none."""
    if not self.wanted(operand) or not self.varies(operand) or self.adjoint[operand] >= 0:
        return 0
    self.adjoint[operand] = self.take_slot()
    return 1


cdef int place_backward(Allocation self) except -1:
    """Slots of gradients, and the instructions of the way back."""
    cdef Plan plan = self.plan
    cdef int32_t *ids = self.lowering.ids.items
    cdef int32_t *step
    cdef int32_t code, operand
    cdef Py_ssize_t time, at, start
    cdef Instruction *instruction
    cdef Wide *wide
    cdef list source
    plan.backward = <Instruction *>zeroed(self.count, sizeof(Instruction))
    for time in range(self.count - 1, -1, -1):
        step = self.step(time)
        code = step[0]
        self.describe(step)
        if self.targets.size or (code == CODE_LOAD and self.wanted(step[1])):
            instruction = &plan.backward[plan.backward_count]
            plan.backward_count += 1
            instruction[0] = plan.forward[time]
            if code != CODE_OUTPUT and code != CODE_MATRIX:
                instruction.out_adjoint = self.adjoint[step[1]]
            if code == CODE_OUTPUT or code == CODE_BROADCAST or code == CODE_MULTIPLY_ADD \
                    or code >> 2 < ROW_TABLE_END:
                instruction.fresh |= FRESH_LEFT * fresh_slot(self, step[2])
                instruction.left_adjoint = self.gradient_place(step[2])
                if code == CODE_MULTIPLY_ADD or (code < CODE_LOAD and has_two_operands(code >> 2)):
                    instruction.fresh |= FRESH_RIGHT * fresh_slot(self, step[3])
                    instruction.right_adjoint = self.gradient_place(step[3])
                if code == CODE_MULTIPLY_ADD:
                    instruction.third_adjoint = self.gradient_place(step[4])
            elif code != CODE_LOAD:
                wide = &plan.wides[step[2]]
                source = self.lowering.wides[step[2]]
                start = source[0]
                if code == CODE_INNER:
                    instruction.fresh |= FRESH_THIRD * fresh_slot(self, step[4])
                    instruction.third_adjoint = self.gradient_place(step[4])
                for at in range(wide.inputs):
                    operand = ids[start + at]
                    plan.table[wide.fresh_left + at] = fresh_slot(self, operand)
                    plan.table[wide.left_adjoint + at] = self.gradient_place(operand)
                    if code == CODE_INNER:
                        operand = ids[start + wide.inputs + at]
                        plan.table[wide.fresh_right + at] = fresh_slot(self, operand)
                        plan.table[wide.right_adjoint + at] = self.gradient_place(operand)
                if code == CODE_MATRIX:
                    place_matrix(self, wide, source)
        elif code == CODE_MATRIX and self.wanted(self.writes.items[0]):
            # Only its bias, or its weights, have a gradient.
            instruction = &plan.backward[plan.backward_count]
            plan.backward_count += 1
            instruction[0] = plan.forward[time]
            wide = &plan.wides[step[2]]
            source = self.lowering.wides[step[2]]
            for at in range(wide.inputs):
                plan.table[wide.left_adjoint + at] = -1
            place_matrix(self, wide, source)
        for at in range(self.writes.size):
            operand = self.writes.items[at]
            if self.adjoint[operand] >= 0:
                append(&self.free_slots, self.adjoint[operand])
        if plan.purpose != INPUTS or plan.outputs == 1:
            # The way back of a Jacobian is run once an output, and needs the values every time.
            self.release(&self.keeps, 2 * self.count - 1 - time)
    return 0


cdef int place_matrix(Allocation self, Wide *wide, list source) except -1:
    """The way back through a matrix: its outputs' gradients, and which of its operands want one."""
    cdef Plan plan = self.plan
    cdef Py_ssize_t at
    cdef bint weights = False, bias = False
    for at in range(wide.outputs):
        plan.table[wide.out_adjoint + at] = self.adjoint[<int32_t>source[3][at]]
        bias = bias or self.wanted(source[5][at])
    for at in range(wide.outputs * wide.inputs):
        weights = weights or self.wanted(source[4][at])
    if weights or bias:
        wide.gradient = 0
    # For a matrix, whether the weights want a gradient and not the bias alone.
    wide.fresh_right = weights
    if wide.inputs and plan.table[wide.left_adjoint] >= 0:
        wide.transposed = <int32_t>plan.packed
        plan.packed += wide.outputs * wide.inputs
    return 0


cdef int place_accumulators(Allocation self) except -1:
    """Where the sums over the rows go: single numbers first, then for every matrix bias and weights."""
    cdef Plan plan = self.plan
    cdef Py_ssize_t number, at
    cdef Wide *wide
    for number in range(plan.wide_count):
        wide = &plan.wides[number]
        if wide.packed < 0 or wide.gradient < 0:
            continue
        wide.gradient = <int32_t>self.accumulated.size
        for at in range(wide.outputs):
            append(&self.accumulated, plan.table[wide.bias + at])
        for at in range(wide.outputs * wide.inputs):
            append(&self.accumulated, plan.table[wide.weights + at])
    plan.accumulators = self.accumulated.size
    plan.accumulated = <int32_t *>zeroed(self.accumulated.size, sizeof(int32_t))
    memcpy(plan.accumulated, self.accumulated.items, self.accumulated.size * sizeof(int32_t))
    return 0


cdef extern from "lanes.h":
    Py_ssize_t PANEL_ROWS "FG_ROWS"


cdef void list_panels(
    const int32_t *weights, Py_ssize_t height, Py_ssize_t depth, Py_ssize_t row_step,
    Py_ssize_t column_step, int32_t *out
) noexcept:
    """Panels of PANEL_ROWS rows, in each of them column by column, as fg_matrix reads them."""
    cdef Py_ssize_t row = 0, rows, k, i
    while row < height:
        rows = min(PANEL_ROWS, height - row)
        for k in range(depth):
            for i in range(rows):
                out[0] = weights[(row + i) * row_step + k * column_step]
                out += 1
        row += rows


cdef int list_packed(Plan plan) except -1:
    """Of every matrix: the bias, panels of rows, and panels of the columns that want a gradient."""
    cdef Py_ssize_t number, active
    cdef const Wide *wide
    cdef const int32_t *weights
    cdef int32_t *out
    plan.packed_from = <int32_t *>zeroed(plan.packed, sizeof(int32_t))
    for number in range(plan.wide_count):
        wide = &plan.wides[number]
        if wide.packed < 0:
            continue
        weights = plan.table + wide.weights
        out = plan.packed_from + wide.packed
        memcpy(out, plan.table + wide.bias, wide.outputs * sizeof(int32_t))
        list_panels(weights, wide.outputs, wide.inputs, wide.inputs, 1, out + wide.outputs)
        if wide.transposed >= 0:
            active = 0
            while active < wide.inputs and plan.table[wide.left_adjoint + active] >= 0:
                active += 1
            list_panels(weights, active, wide.outputs, 1, wide.inputs, plan.packed_from + wide.transposed)
    return 0


cdef int number_uniforms(Allocation self) except -1:
    """The indices of the leaves and constants; what is computed gets its own at its first use."""
    cdef Plan plan = self.plan
    cdef Graph graph = self.lowering.graph
    cdef int32_t index
    plan.parameters = len(graph.parameters)
    plan.arguments = len(self.lowering.kinds)
    plan.uniforms = plan.parameters + plan.arguments
    for index in range(<int32_t>graph.size):
        if self.varies(index):
            continue
        if graph.row(index) == ROW_LEAF:
            argument, number = graph.leaves[graph.first(index)]
            self.uniform[index] = number if argument < 0 else plan.parameters + argument
        elif graph.row(index) == ROW_CONSTANT:
            self.uniform_of(index)
    for operand in self.lowering.constants.values():
        self.uniform_of(operand)
    return 0


cdef int fill_initial(Allocation self) except -1:
    """The uniform numbers before a call: the constants in their places."""
    cdef Plan plan = self.plan
    cdef Graph graph = self.lowering.graph
    cdef int32_t index
    plan.initial = <double *>zeroed(plan.uniforms, sizeof(double))
    for index in range(<int32_t>graph.size):
        if graph.row(index) == ROW_CONSTANT:
            plan.initial[self.uniform[index]] = graph.constants[graph.first(index)]
    for number, operand in self.lowering.constants.items():
        plan.initial[self.uniform[<int32_t>operand]] = number
    return 0


cdef int translate_uniform_steps(Allocation self) except -1:
    """The uniform steps with indices in the place of ids."""
    cdef Plan plan = self.plan
    cdef Lowering lowering = self.lowering
    cdef Integers *steps = &lowering.uniform_steps
    cdef Integers table
    cdef Py_ssize_t at, k, count = steps.size // 4
    cdef int32_t code, out, left, right
    cdef int32_t *terms
    table.items, table.size, table.room = NULL, 0, 0
    plan.uniform_steps = <int32_t *>zeroed(4 * count, sizeof(int32_t))
    plan.uniform_count = count
    for at in range(count):
        code, out = steps.items[4 * at], steps.items[4 * at + 1]
        left, right = steps.items[4 * at + 2], steps.items[4 * at + 3]
        if code == CODE_TERMS:
            terms = lowering.terms.items + left
            left = append(&table, terms[0])
            append(&table, terms[1])
            for k in range(2 * terms[0]):
                append(&table, self.uniform_of(terms[2 + k]))
            for k in range(terms[1]):
                append(&table, self.uniform_of(terms[2 + 2 * terms[0] + 2 * k]))
                append(&table, terms[3 + 2 * terms[0] + 2 * k])
        elif has_many_operands(code >> 2):
            terms = <int32_t *>lowering.graph.operands + left
            left = <int32_t>table.size
            for k in range(right):
                append(&table, self.uniform_of(terms[k]))
        else:
            left = self.uniform_of(left)
            if has_two_operands(code >> 2):
                right = self.uniform_of(right)
        plan.uniform_steps[4 * at] = code
        plan.uniform_steps[4 * at + 1] = self.uniform_of(out)
        plan.uniform_steps[4 * at + 2] = left
        plan.uniform_steps[4 * at + 3] = right
    plan.uniform_table = table.items
    plan.uniform_table_size = table.size
    return 0


cdef double count_flops(Plan plan) noexcept:
    """Arithmetic operations a row, forward; a function of the C library counts as one."""
    cdef double total = 0.0
    cdef Py_ssize_t at
    cdef int code
    cdef const Wide *wide
    for at in range(plan.forward_count):
        code = plan.forward[at].code
        if code == CODE_MATRIX:
            wide = &plan.wides[plan.forward[at].left]
            total += 2.0 * wide.outputs * wide.inputs
            if wide.activation:
                total += wide.outputs * flops_of(wide.activation)
        elif code == CODE_INNER or ROW_FIRST_REDUCTION <= code >> 2 < ROW_END:
            total += 2.0 * plan.wides[plan.forward[at].left].inputs
        elif code == CODE_MULTIPLY_ADD:
            total += 2.0
        elif code >> 2 < ROW_TABLE_END:
            total += flops_of(code >> 2)
    return total


cdef Plan make_plan(Graph graph, int purpose, tuple kinds):
    """Lower a graph for one purpose."""
    cdef Lowering lowering = Lowering(graph, purpose, kinds)
    cdef Plan plan = Plan()
    cdef Allocation allocation
    cdef Py_ssize_t number
    simplify_powers(lowering)
    analyse(lowering)
    find_chains(lowering)
    emit_steps(lowering)
    plan.purpose = purpose
    plan.outputs = len(graph.outputs)
    plan.ranges = []
    plan.workspaces = []
    allocation = Allocation(lowering, plan)
    for number in range(plan.outputs):
        # The first accumulators are the outputs' sums and belong to no uniform number.
        append(&allocation.accumulated, -1)
    number_uniforms(allocation)
    lifetimes(allocation)
    lay_out_wides(allocation)
    place_forward(allocation)
    if purpose != FORWARD:
        place_backward(allocation)
    place_accumulators(allocation)
    list_packed(plan)
    translate_uniform_steps(allocation)
    fill_initial(allocation)
    plan.ranges = list(set(plan.ranges))
    plan.flops = count_flops(plan)
    return plan
