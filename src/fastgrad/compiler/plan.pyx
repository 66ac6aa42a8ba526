# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""From steps to instructions: a register for every number and gradient while it is needed, and no longer.

Time runs forward through the steps and then back through them. A value lives from its step to the last
step, in either direction, that reads it. A gradient lives from the first contribution to it until the way
back through the step that made its value. opcodes.py says what the fields of a step are.
"""

from libc.stdint cimport int32_t
from libc.string cimport memcpy

from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc

from fastgrad.compiler.graph cimport Graph
from fastgrad.compiler.instructions cimport *
from fastgrad.compiler.memory cimport Integers, append, as_offset, zeroed
from fastgrad.compiler.lowering cimport BACKWARD, FORWARD, INPUTS, Lowering, Step, WideStep, lowered
from fastgrad.compiler.rows cimport RowProgram, any_selects
from fastgrad.ops cimport *

__all__ = []

cdef class Plan:
    """Instructions for one purpose, ready to run over any number of rows; never changed once made."""

    def __dealloc__(self):
        PyMem_RawFree(self.forward)
        PyMem_RawFree(self.backward)
        PyMem_RawFree(self.once)
        PyMem_RawFree(self.once_back)
        PyMem_RawFree(self.made)
        PyMem_RawFree(self.made_once)
        PyMem_RawFree(self.origin)
        PyMem_RawFree(self.wides)
        PyMem_RawFree(self.table)
        PyMem_RawFree(self.initial)
        PyMem_RawFree(self.accumulated)
        PyMem_RawFree(self.packed_from)

    @property
    def bytes(self):
        """The memory that the instructions take."""
        cdef Py_ssize_t forward = self.forward_count + self.once_count
        cdef Py_ssize_t backward = self.backward_count + self.once_back_count
        return (
            (forward + backward) * <Py_ssize_t>sizeof(Instruction)
            + self.wide_count * <Py_ssize_t>sizeof(Wide)
            + (forward + self.backward_count + self.table_size) * <Py_ssize_t>sizeof(int32_t)
            + (self.accumulators + self.packed) * <Py_ssize_t>sizeof(int32_t)
            + self.uniforms * <Py_ssize_t>sizeof(double)
        )


cdef class Allocation:
    """The working state of the passes over the steps; ids index the first five."""

    cdef Lowering lowering
    cdef Plan plan
    cdef int32_t *registers
    cdef int32_t *adjoint
    cdef int32_t *uniform
    cdef int32_t *accumulator
    cdef Py_ssize_t *last
    cdef Integers free_registers
    cdef Integers accumulated
    # Of one step: ids written, read on the way forward, read on the way back, given gradients.
    cdef Integers writes
    cdef Integers reads
    cdef Integers keeps
    cdef Integers targets
    cdef Py_ssize_t count
    # True while the steps that run once a batch are placed. Their registers are the uniform numbers; the
    # registers of their gradients follow.
    cdef bint once
    # Where the columns of a matrix that want a gradient are: by its `packed`, and how many.
    cdef dict transposed

    def __cinit__(self, Lowering lowering not None, Plan plan not None):
        cdef Py_ssize_t size = lowering.varying.size, index
        self.lowering = lowering
        self.plan = plan
        self.transposed = {}
        self.count = lowering.steps.size * <Py_ssize_t>sizeof(int32_t) // <Py_ssize_t>sizeof(Step)
        self.registers = <int32_t *>PyMem_RawMalloc((size + 1) * sizeof(int32_t))
        self.adjoint = <int32_t *>PyMem_RawMalloc((size + 1) * sizeof(int32_t))
        self.uniform = <int32_t *>PyMem_RawMalloc((size + 1) * sizeof(int32_t))
        self.accumulator = <int32_t *>PyMem_RawMalloc((size + 1) * sizeof(int32_t))
        self.last = <Py_ssize_t *>PyMem_RawMalloc((size + 1) * sizeof(Py_ssize_t))
        if not (self.registers and self.adjoint and self.uniform and self.accumulator and self.last):
            raise MemoryError("no memory for a program")
        for index in range(size):
            self.registers[index] = self.adjoint[index] = self.uniform[index] = self.accumulator[index] = -1
            self.last[index] = -1

    def __dealloc__(self):
        PyMem_RawFree(self.registers)
        PyMem_RawFree(self.adjoint)
        PyMem_RawFree(self.uniform)
        PyMem_RawFree(self.accumulator)
        PyMem_RawFree(self.last)
        PyMem_RawFree(self.free_registers.items)
        PyMem_RawFree(self.accumulated.items)
        PyMem_RawFree(self.writes.items)
        PyMem_RawFree(self.reads.items)
        PyMem_RawFree(self.keeps.items)
        PyMem_RawFree(self.targets.items)

    cdef Step *step(self, Py_ssize_t index) noexcept:
        return <Step *>self.lowering.steps.items + index

    cdef bint varies(self, int32_t operand) noexcept:
        return self.lowering.varying.items[operand] != 0

    cdef bint wanted(self, int32_t operand) noexcept:
        return self.lowering.purpose != FORWARD and self.lowering.active.items[operand] != 0

    cdef bint any_wanted(self, list operands) noexcept:
        for operand in operands:
            if self.wanted(operand):
                return True
        return False

    cdef int use(self, int32_t operand) except -1:
        """Note that the step reads an operand and, if a gradient is wanted, adds to its gradient."""
        if self.varies(operand):
            append(&self.reads, operand)
        if self.wanted(operand):
            append(&self.targets, operand)
        return 0

    cdef int keep(self, int32_t operand) except -1:
        if self.varies(operand):
            append(&self.keeps, operand)
        return 0

    cdef int describe(self, const Step *step) except -1:
        """Fill the four lists for a step."""
        cdef const Roles *roles = roles_of(step.opcode)
        cdef int need = 0, field
        self.writes.size = self.reads.size = self.keeps.size = self.targets.size = 0
        if roles.out:
            append(&self.writes, step.out)
        for field in range(3):
            if roles.fields[field] == ROLE_OPERAND:
                self.use(step.fields[field])
                if self.wanted(step.fields[field]):
                    need |= roles.reads[field]
            elif roles.fields[field] >= ROLE_EACH:
                self.describe_wide(self.lowering.wides[step.fields[field]], roles, step.out)
        if need & READS_LEFT:
            self.keep(step.fields[0])
        if need & READS_RIGHT:
            self.keep(step.fields[1])
        if need & READS_OUT:
            self.keep(step.out)
        return 0

    cdef int describe_wide(self, WideStep wide, const Roles *roles, int32_t out) except -1:
        cdef const int32_t *ids = self.lowering.ids.items + wide.start
        cdef int reads = roles.reads[0]
        cdef bint any_target = False, keep_all = False
        cdef Py_ssize_t at
        if wide.results is not None:
            for operand in wide.results:
                append(&self.writes, operand)
                if wide.activation and self.wanted(operand):
                    self.keep(operand)
            keep_all = self.any_wanted(wide.weights)
        for at in range(wide.size):
            self.use(ids[at])
            any_target = any_target or self.wanted(ids[at])
            if reads & READS_LEFT and self.wanted(ids[at]):
                self.keep(ids[at])
            if wide.pairs:
                self.use(ids[wide.size + at])
                if self.wanted(ids[wide.size + at]):
                    self.keep(ids[at])
                if self.wanted(ids[at]):
                    self.keep(ids[wide.size + at])
        if any_target and reads & (READS_OUT | READS_ALL):
            self.keep(out)
        if keep_all or (any_target and reads & READS_ALL):
            for at in range(wide.size):
                self.keep(ids[at])
        return 0

    cdef int32_t take_register(self) except -1:
        if self.free_registers.size:
            self.free_registers.size -= 1
            return self.free_registers.items[self.free_registers.size]
        self.plan.registers += 1
        return <int32_t>(self.plan.registers - 1)

    cdef int release(self, Integers *operands, Py_ssize_t time) except -1:
        """Give back the registers of values that are not read after this time."""
        cdef Py_ssize_t at
        cdef int32_t operand
        for at in range(operands.size):
            operand = operands.items[at]
            if self.last[operand] == time:
                self.last[operand] = -1
                append(&self.free_registers, self.registers[operand])
        return 0

    cdef int32_t uniform_of(self, int32_t operand) except -1:
        """The index of a uniform id; a computed one gets its index at its first use."""
        if self.uniform[operand] < 0:
            self.uniform[operand] = <int32_t>self.plan.uniforms
            self.plan.uniforms += 1
        return self.uniform[operand]

    cdef int32_t place(self, int32_t operand) except? -1:
        """The operand as an instruction names it: its register, or its uniform index inverted."""
        if self.once:
            return self.uniform_of(operand)
        if self.varies(operand):
            return self.registers[operand]
        return ~self.uniform_of(operand)

    cdef int32_t gradient_place(self, int32_t operand) except? -1:
        """The register or the accumulator of an operand's gradient, or -1."""
        if not self.wanted(operand):
            return -1
        if self.once:
            return <int32_t>self.plan.uniforms + self.uniform_of(operand)
        if self.varies(operand):
            return self.adjoint[operand]
        if self.accumulator[operand] < 0:
            self.accumulator[operand] = append(&self.accumulated, self.uniform_of(operand))
        return self.accumulator[operand]

    cdef int32_t begin_gradient(self, int32_t operand) except -1:
        """Give an operand's gradient a register if it needs one and has none; return 1 if so, else 0."""
        if self.once or not self.wanted(operand) or not self.varies(operand) or self.adjoint[operand] >= 0:
            return 0
        self.adjoint[operand] = self.take_register()
        return 1


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


cdef Py_ssize_t end_of(Py_ssize_t offset, WideStep step) except -1:
    """The end of a wide instruction's integers, which begin at this offset."""
    cdef Py_ssize_t results = 0 if step.results is None else len(step.results)
    return offset + (6 if step.pairs else 3) * step.size + results * (4 + step.size)


cdef int lay_out_wides(Allocation self) except -1:
    """Offsets of everything that a wide instruction lists; those of equal matrices are shared."""
    cdef Plan plan = self.plan
    cdef Lowering lowering = self.lowering
    cdef int32_t number, offset = 0
    cdef Wide *wide
    cdef WideStep step
    cdef dict packed = {}
    plan.wide_count = len(lowering.wides)
    plan.wides = <Wide *>zeroed(plan.wide_count, sizeof(Wide))
    for number in range(plan.wide_count):
        wide = &plan.wides[number]
        step = lowering.wides[number]
        # The end is checked first: every part is below it.
        as_offset(end_of(offset, step))
        wide.inputs = step.size
        wide.outputs = 1 if step.results is None else len(step.results)
        wide.gradient = wide.packed = wide.transposed = -1
        wide.left = offset
        wide.left_adjoint = offset + wide.inputs
        wide.fresh_left = offset + 2 * wide.inputs
        offset += 3 * wide.inputs
        if step.pairs:
            wide.right = offset
            wide.right_adjoint = offset + wide.inputs
            wide.fresh_right = offset + 2 * wide.inputs
            offset += 3 * wide.inputs
        if step.results is not None:
            plan.widest = max(plan.widest, wide.inputs, wide.outputs)
            wide.out = offset
            wide.out_adjoint = offset + wide.outputs
            wide.bias = offset + 2 * wide.outputs
            wide.made = offset + 3 * wide.outputs
            wide.weights = offset + 4 * wide.outputs
            offset += 4 * wide.outputs + wide.outputs * wide.inputs
            wide.activation = step.activation
            same = (step.size, *step.weights, *step.biases)
            wide.packed = packed.setdefault(same, as_offset(plan.packed))
            if wide.packed == plan.packed:
                plan.packed += wide.outputs * (1 + <Py_ssize_t>wide.inputs)
    plan.table_size = offset
    plan.table = <int32_t *>zeroed(offset, sizeof(int32_t))
    return 0


cdef int place_operands(Allocation self, const Step *step, Instruction *instruction) except -1:
    """An instruction without gradients from a step."""
    cdef const Roles *roles = roles_of(step.opcode)
    cdef int32_t *fields = &instruction.left
    cdef int32_t *adjoints = &instruction.left_adjoint
    cdef int field
    instruction.opcode = step.opcode
    instruction.out_adjoint = -1
    if roles.out:
        instruction.out = self.place(step.out)
    for field in range(3):
        adjoints[field] = -1
        fields[field] = step.fields[field]
        if roles.fields[field] == ROLE_OPERAND:
            fields[field] = self.place(step.fields[field])
        elif roles.fields[field] >= ROLE_EACH:
            place_wide(self, step.fields[field])
    return 0


cdef int place_wide(Allocation self, int32_t number) except -1:
    """The places of what a wide instruction lists."""
    cdef Plan plan = self.plan
    cdef const Wide *wide = &plan.wides[number]
    cdef WideStep step = self.lowering.wides[number]
    cdef const int32_t *ids = self.lowering.ids.items + step.start
    cdef Py_ssize_t at
    for at in range(wide.inputs):
        plan.table[wide.left + at] = self.place(ids[at])
        if step.pairs:
            plan.table[wide.right + at] = self.place(ids[wide.inputs + at])
    if step.results is not None:
        for at in range(wide.outputs):
            plan.table[wide.out + at] = self.registers[<int32_t>step.results[at]]
            plan.table[wide.made + at] = step.results[at]
            plan.table[wide.bias + at] = self.uniform_of(step.biases[at])
        for at in range(<Py_ssize_t>wide.outputs * wide.inputs):
            plan.table[wide.weights + at] = self.uniform_of(step.weights[at])
    return 0


cdef int place_gradients(Allocation self, const Step *step, Instruction *instruction) except -1:
    """Where an instruction finds the gradient of its result, and adds to those of its operands."""
    cdef const Roles *roles = roles_of(step.opcode)
    cdef int32_t *adjoints = &instruction.left_adjoint
    cdef int field
    if roles.out:
        instruction.out_adjoint = self.gradient_place(step.out)
    for field in range(3):
        if roles.fields[field] == ROLE_OPERAND:
            instruction.fresh |= self.begin_gradient(step.fields[field]) << field
            adjoints[field] = self.gradient_place(step.fields[field])
        elif roles.fields[field] >= ROLE_EACH:
            place_wide_gradients(self, step.fields[field])
    return 0


cdef int place_wide_gradients(Allocation self, int32_t number) except -1:
    cdef Plan plan = self.plan
    cdef Wide *wide = &plan.wides[number]
    cdef WideStep step = self.lowering.wides[number]
    cdef const int32_t *ids = self.lowering.ids.items + step.start
    cdef bint weights
    cdef Py_ssize_t at, active = 0
    for at in range(wide.inputs):
        plan.table[wide.fresh_left + at] = self.begin_gradient(ids[at])
        plan.table[wide.left_adjoint + at] = self.gradient_place(ids[at])
        if step.pairs:
            plan.table[wide.fresh_right + at] = self.begin_gradient(ids[wide.inputs + at])
            plan.table[wide.right_adjoint + at] = self.gradient_place(ids[wide.inputs + at])
    if step.results is None:
        return 0
    for at in range(wide.outputs):
        plan.table[wide.out_adjoint + at] = self.adjoint[<int32_t>step.results[at]]
    weights = self.any_wanted(step.weights)
    if weights or self.any_wanted(step.biases):
        wide.gradient = 0
    # For a matrix, whether the weights want a gradient and not the bias alone.
    wide.fresh_right = weights
    if wide.inputs and plan.table[wide.left_adjoint] >= 0:
        while active < wide.inputs and plan.table[wide.left_adjoint + active] >= 0:
            active += 1
        wide.transposed = self.transposed.setdefault((wide.packed, active), as_offset(plan.packed))
        if wide.transposed == plan.packed:
            plan.packed += wide.outputs * active
    return 0


cdef int place_forward(Allocation self) except -1:
    """Registers of values, and the instructions of the way forward."""
    cdef Plan plan = self.plan
    cdef const Step *step
    cdef const Roles *roles
    cdef Py_ssize_t time, at
    plan.forward_count = self.count
    plan.forward = <Instruction *>zeroed(self.count, sizeof(Instruction))
    plan.made = <int32_t *>zeroed(self.count, sizeof(int32_t))
    for time in range(self.count):
        step = self.step(time)
        self.describe(step)
        for at in range(self.writes.size):
            self.registers[self.writes.items[at]] = self.take_register()
        plan.made[time] = step.out
        place_operands(self, step, &plan.forward[time])
        self.release(&self.reads, time)
        self.release(&self.writes, time)
        roles = roles_of(step.opcode)
        if roles.fields[0] == ROLE_EACH and roles.fields[1] == ROLE_ARGUMENT:
            plan.ranges.append((step.fields[1], step.fields[2], plan.wides[step.fields[0]].inputs))
    return 0


cdef int place_backward(Allocation self) except -1:
    """Registers of gradients, and the instructions of the way back."""
    cdef Plan plan = self.plan
    cdef const Step *step
    cdef Instruction *instruction
    cdef int32_t operand
    cdef Py_ssize_t time, at
    plan.backward = <Instruction *>zeroed(self.count, sizeof(Instruction))
    plan.origin = <int32_t *>zeroed(self.count, sizeof(int32_t))
    for time in range(self.count - 1, -1, -1):
        step = self.step(time)
        self.describe(step)
        # Skip steps that neither add to a gradient nor have a result with one.
        if self.targets.size or (self.writes.size and self.wanted(self.writes.items[0])):
            instruction = &plan.backward[plan.backward_count]
            plan.origin[plan.backward_count] = <int32_t>time
            plan.backward_count += 1
            instruction[0] = plan.forward[time]
            place_gradients(self, step, instruction)
        for at in range(self.writes.size):
            operand = self.writes.items[at]
            if self.adjoint[operand] >= 0:
                append(&self.free_registers, self.adjoint[operand])
        if plan.purpose != INPUTS or plan.outputs == 1:
            # The way back of a Jacobian runs once an output and needs the values each time, so it keeps them.
            self.release(&self.keeps, 2 * self.count - 1 - time)
    return 0


cdef int place_once(Allocation self) except -1:
    """The instructions that run once a batch: forward and, where parameters want gradients, back."""
    cdef Plan plan = self.plan
    cdef const Step *steps = <Step *>self.lowering.once.items
    cdef Py_ssize_t at
    cdef Instruction *instruction
    self.once = True
    plan.once_count = self.lowering.once.size * <Py_ssize_t>sizeof(int32_t) // <Py_ssize_t>sizeof(Step)
    plan.once = <Instruction *>zeroed(plan.once_count, sizeof(Instruction))
    plan.made_once = <int32_t *>zeroed(plan.once_count, sizeof(int32_t))
    for at in range(plan.once_count):
        plan.made_once[at] = steps[at].out
        place_operands(self, &steps[at], &plan.once[at])
    if plan.purpose == BACKWARD:
        plan.once_back = <Instruction *>zeroed(plan.once_count, sizeof(Instruction))
        for at in range(plan.once_count - 1, -1, -1):
            if self.wanted(steps[at].out):
                instruction = &plan.once_back[plan.once_back_count]
                plan.once_back_count += 1
                instruction[0] = plan.once[at]
                place_gradients(self, &steps[at], instruction)
    self.once = False
    return 0


cdef int place_accumulators(Allocation self) except -1:
    """Number the accumulators: single numbers first, then of every matrix its biases and weights."""
    cdef Plan plan = self.plan
    cdef Py_ssize_t number, at
    cdef Wide *wide
    cdef dict gradients = {}
    for number in range(plan.wide_count):
        wide = &plan.wides[number]
        if wide.packed < 0 or wide.gradient < 0:
            continue
        wide.gradient = gradients.setdefault(wide.packed, <int32_t>self.accumulated.size)
        if wide.gradient < self.accumulated.size:
            continue
        for at in range(wide.outputs):
            append(&self.accumulated, plan.table[wide.bias + at])
        for at in range(wide.outputs * wide.inputs):
            append(&self.accumulated, plan.table[wide.weights + at])
    plan.accumulators = self.accumulated.size
    plan.accumulated = <int32_t *>zeroed(self.accumulated.size, sizeof(int32_t))
    memcpy(plan.accumulated, self.accumulated.items, self.accumulated.size * sizeof(int32_t))
    return 0


cdef extern from "kernels/vector_math.h":
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
    """Number the uniform leaves and constants; computed numbers get an index at their first use."""
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


cdef double count_flops(Plan plan) noexcept:
    """Arithmetic operations a row, forward; a function of the C library counts as one."""
    cdef double total = 0.0
    cdef Py_ssize_t at
    cdef const Roles *roles
    cdef const Wide *wide
    for at in range(plan.forward_count):
        roles = roles_of(plan.forward[at].opcode)
        if roles.fields[0] < ROLE_EACH:
            total += roles.flops
            continue
        wide = &plan.wides[plan.forward[at].left]
        total += <double>roles.flops * wide.outputs * wide.inputs
        if wide.activation:
            total += <double>wide.outputs * roles_of(wide.activation << 2).flops
    return total


cdef Plan make_plan(Graph graph, int purpose, tuple kinds):
    """Lower a graph for one purpose and place its numbers, pass by pass."""
    cdef Lowering lowering = lowered(graph, purpose, kinds)
    cdef Plan plan = Plan()
    cdef Allocation allocation
    cdef Py_ssize_t number
    plan.purpose = purpose
    plan.outputs = len(graph.outputs)
    plan.ranges = []
    plan.workspaces = []
    allocation = Allocation(lowering, plan)
    for _ in range(plan.outputs):
        # The first accumulators are the outputs' sums and belong to no uniform number.
        append(&allocation.accumulated, -1)
    number_uniforms(allocation)
    lifetimes(allocation)
    lay_out_wides(allocation)
    place_forward(allocation)
    if purpose != FORWARD:
        place_backward(allocation)
        if any_selects(graph):
            plan.rows = RowProgram(graph, purpose, kinds)
            plan.by_row = allocation.accumulated.size
            for number in range(plan.parameters if purpose == BACKWARD else 0):
                append(&allocation.accumulated, <int32_t>number)
    place_once(allocation)
    place_accumulators(allocation)
    list_packed(plan)
    fill_initial(allocation)
    plan.ranges = list(set(plan.ranges))
    plan.flops = count_flops(plan)
    return plan
