# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False, binding=False
"""From steps to instructions: a register for every number and gradient while it is needed, and no longer.

Time runs forward through the steps and then back through them. A value lives from its step to the last
step, in either direction, that reads it. A gradient lives from the first contribution to it until the way
back through the step that made its value. opcodes.py says what the fields of a step are.
"""

from libc.stdint cimport int32_t
from libc.string cimport memcpy, memset

from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc

from fastgrad.compiler.graph cimport COLUMNS, ELEMENTS, Graph, Input, Loop
from fastgrad.compiler.instructions cimport *
from fastgrad.compiler.memory cimport Integers, append, as_offset, look_for_signals, zeroed
from fastgrad.compiler.memory cimport MOST_INTEGERS
from fastgrad.compiler.lowering cimport FORWARD, INPUTS, SHARED, sums_up
from fastgrad.compiler.lowering cimport Layout, LoopStep, Lowering, Scope, Step, WideStep, lowered, states_of
from fastgrad.compiler.rows cimport RowProgram, any_selects
from fastgrad.compiler.transforms cimport BACK_ONLY, BOTH_WAYS, DELAYED, FORWARD_ONLY, LINEAR
from fastgrad.compiler.transforms cimport Divided, divided
from fastgrad.ops cimport *

__all__ = []

# What an instruction costs on the way back, and over lanes for each lane, if one that runs step by step costs
# 1, some 2 ns. Measured on filters, an integrator and a pair of an LSTM, of which it tells the times to 30 %.
cdef double BACK_COST = 2.0
cdef double LANE_COST = 0.1

# A loop of fewer steps is not divided: its lanes would be too few.
cdef Py_ssize_t fewest_divided = 32


cdef list integers(const int32_t *first, Py_ssize_t count):
    cdef Py_ssize_t at
    return [first[at] for at in range(count)]


def _divide_from(Py_ssize_t steps):
    """Have loops of at least so many steps be divided, and return how many it were before; for tests."""
    global fewest_divided
    before, fewest_divided = fewest_divided, steps
    return before


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
        PyMem_RawFree(self.lookups)
        PyMem_RawFree(self.dense)
        PyMem_RawFree(self.shared)
        PyMem_RawFree(self.accumulated)
        PyMem_RawFree(self.packed_from)
        PyMem_RawFree(self.again)
        PyMem_RawFree(self.ahead)
        PyMem_RawFree(self.back)
        PyMem_RawFree(self.scaled)
        PyMem_RawFree(self.scaled_table)

    @property
    def bytes(self):
        """The memory that the instructions take."""
        cdef Py_ssize_t forward = self.forward_count + self.once_count
        cdef Py_ssize_t backward = self.backward_count + self.once_back_count
        return sum([(<LoopPlan>loop).bytes() for loop in self.loops]) + (
            (forward + backward) * <Py_ssize_t>sizeof(Instruction)
            + self.wide_count * <Py_ssize_t>sizeof(Wide)
            + (forward + self.backward_count + self.table_size) * <Py_ssize_t>sizeof(int32_t)
            + (self.accumulators + self.packed) * <Py_ssize_t>sizeof(int32_t)
            + self.uniforms * <Py_ssize_t>sizeof(double)
        )

    # The rest is for listing.py. It asks for one instruction at a time: dicts take ten times the memory.

    def _instruction(self, int way, Py_ssize_t at):
        """Return an instruction's name, whether it has a result, the roles of its fields, and all fields.

        way: 0 for those that run once a batch, 1 for those of every row, 2 for those on the way back.
        """
        cdef const Instruction *i = self.once
        cdef Py_ssize_t count = self.once_count
        cdef const Roles *roles
        if way == 1:
            i, count = self.forward, self.forward_count
        elif way == 2:
            i, count = self.backward, self.backward_count
        if not 0 <= at < count:
            raise IndexError("there is no such instruction")
        i += at
        roles = roles_of(i.opcode)
        return roles.name.decode(), roles.out, (roles.fields[0], roles.fields[1], roles.fields[2]), i[0]

    def _wide(self, Py_ssize_t number):
        """Return the fields of a list of operands."""
        if not 0 <= number < self.wide_count:
            raise IndexError("there is no such list")
        return self.wides[number]

    def _parts(self):
        """Return the lists of integers, the constants, and the (argument, column) of shared numbers."""
        cdef Py_ssize_t at, constants = self.parameters + self.shared_count
        return {
            "made_once": integers(self.made_once, self.once_count),
            "made": integers(self.made, self.forward_count),
            "origin": integers(self.origin, self.backward_count),
            "table": integers(self.table, self.table_size),
            "shared": [(self.shared[2 * at], self.shared[2 * at + 1]) for at in range(self.shared_count)],
            "constants": [self.initial[at] for at in range(constants, self.uniforms)],
        }


cdef class LoopPlan:
    """A loop of a plan: the plan of its step, and where everything outside is that the step uses."""

    cdef int fill(self, LoopStep step, Plan body) except -1:
        cdef LoopCode *code = &self.code
        self.loop, self.body = step.loop, body
        code.steps, code.states, code.outside = step.loop.steps, step.loop.states, step.loop.outside
        code.inputs, code.makes = len(step.loop.inputs), step.loop.makes()
        code.given = <InputCode *>zeroed(code.inputs, sizeof(InputCode))
        code.results = <int32_t *>zeroed(code.states, sizeof(int32_t))
        code.result_adjoints = <int32_t *>zeroed(code.states, sizeof(int32_t))
        code.cleared = <char *>zeroed(code.states, 1)
        code.states_active = <char *>zeroed(code.states, 1)
        code.made = <int32_t *>zeroed(code.makes, sizeof(int32_t))
        code.made_active = <char *>zeroed(code.makes, 1)
        code.uniform = <int32_t *>zeroed(code.outside, sizeof(int32_t))
        code.inner_count = len(body.loops)
        code.inner = <int32_t *>zeroed(code.inner_count, sizeof(int32_t))
        code.parent = -1
        self.stepwise = <char *>zeroed(code.states, 1)
        return 0

    cdef Py_ssize_t bytes(self) except -1:
        return self.body.bytes + (0 if self.over_steps is None else self.over_steps.bytes)

    def _parts(self):
        """Return which arguments stand for the loop's numbers, and the registers of its results."""
        return {
            "base": self.code.base,
            "makes": self.code.makes,
            "results": integers(self.code.results, self.code.states),
        }

    def __dealloc__(self):
        PyMem_RawFree(self.code.given)
        PyMem_RawFree(self.code.results)
        PyMem_RawFree(self.code.result_adjoints)
        PyMem_RawFree(self.code.cleared)
        PyMem_RawFree(self.code.states_active)
        PyMem_RawFree(self.code.made)
        PyMem_RawFree(self.code.made_active)
        PyMem_RawFree(self.code.uniform)
        PyMem_RawFree(self.code.inner)
        PyMem_RawFree(self.stepwise)


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
    # Whether it has a gradient to pass on; local derivatives have none.
    cdef bint passes_on
    cdef Py_ssize_t count
    # The plans of loops, by record, and the number of each among all loops of the program.
    cdef dict loop_plans
    cdef list numbers
    # True while the steps that run once a batch are placed. Their registers are the uniform numbers; the
    # registers of their gradients follow.
    cdef bint once
    # Where the columns of a matrix that want a gradient are: by its `packed`, and how many.
    cdef dict transposed
    # How many members has the bundle that the step at hand computes, or 0.
    cdef int32_t members
    # Registers side by side that are free, by their number. For each id: how many steps write it, or its
    # members.
    cdef dict free_runs
    cdef Integers makers
    # Of a bundle: the first of its members' flags in `begun`, which says whether a member has a gradient yet;
    # and whether some gradients of members come one by one and others at once.
    cdef Integers flags
    cdef Integers begun
    cdef Integers mixed

    def __cinit__(self, Lowering lowering not None, Plan plan not None):
        cdef Py_ssize_t size = lowering.varying.size, index
        self.lowering = lowering
        self.plan = plan
        self.loop_plans = {}
        self.transposed = {}
        self.free_runs = {}
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
            append(&self.makers, 0)
            append(&self.mixed, 0)
            append(&self.flags, <int32_t>self.begun.size)
            for _ in range(lowering.size.items[index]):
                append(&self.begun, 0)

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
        PyMem_RawFree(self.makers.items)
        PyMem_RawFree(self.flags.items)
        PyMem_RawFree(self.begun.items)
        PyMem_RawFree(self.mixed.items)

    cdef Step *step(self, Py_ssize_t index) noexcept:
        return <Step *>self.lowering.steps.items + index

    cdef int stepwise(self, const Step *step) noexcept:
        """Whether a step of a divided loop runs step by step; see Divided.stepwise."""
        return self.lowering.stepwise.items[step - self.step(0)]

    cdef int32_t members_of(self, const Step *step) noexcept:
        return self.lowering.members.items[step - self.step(0)]

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
        self.read(operand)
        if self.wanted(operand):
            append(&self.targets, operand)
        return 0

    cdef int read(self, int32_t operand) except -1:
        if self.varies(operand):
            append(&self.reads, self.owner(operand))
        return 0

    cdef int keep(self, int32_t operand) except -1:
        if self.varies(operand):
            append(&self.keeps, self.owner(operand))
        return 0

    cdef int write(self, int32_t result) except -1:
        return append(&self.writes, self.owner(result))

    cdef int32_t owner(self, int32_t operand) noexcept:
        """Whose registers an id has: those of the bundle of which it is a member, or its own."""
        cdef int32_t bundle = self.lowering.bundle.items[operand]
        return operand if bundle < 0 else bundle

    cdef int describe(self, const Step *step) except -1:
        """Fill the four lists for a step, and find whether it passes a gradient on."""
        cdef const Roles *roles = roles_of(step.opcode)
        cdef int need = 0, field
        self.passes_on = False
        self.writes.size = self.reads.size = self.keeps.size = self.targets.size = 0
        self.members = self.members_of(step)
        if roles.out:
            self.write(step.out)
        if roles.fields[1] == ROLE_NEXT and self.stepwise(step) == FORWARD_ONLY:
            # The gradient by the next number goes through `evolve`, or through another store.
            return self.read(step.fields[0])
        for field in range(3):
            if roles.fields[field] == ROLE_OPERAND:
                self.use(step.fields[field])
                if self.wanted(step.fields[field]):
                    need |= roles.reads[field]
            elif roles.fields[field] == ROLE_RESULT:
                self.read(step.fields[field])
            elif roles.fields[field] == ROLE_STATE and self.wanted(step.out):
                need |= roles.reads[field]
            elif roles.fields[field] == ROLE_UNIFORM:
                if self.describe_uniform(self.lowering.wides[step.fields[field]]):
                    need |= roles.reads[field]
            elif roles.fields[field] == ROLE_LOOP:
                self.describe_loop(self.lowering.loops[step.out], self.lowering.wides[step.fields[0]])
            elif roles.fields[field] >= ROLE_EACH:
                self.describe_wide(self.lowering.wides[step.fields[field]], roles, step.out)
        if need & READS_LEFT:
            self.keep(step.fields[0])
        if need & READS_RIGHT:
            self.keep(step.fields[1])
        if need & READS_OUT:
            self.keep(step.out)
        if roles.fields[1] == ROLE_LOOP:
            self.passes_on = self.wanted(step.out)
        elif self.writes.size:
            # Of the results of a matrix, all have a gradient or none.
            self.passes_on = self.wanted(self.writes.items[0])
        else:
            self.passes_on = self.targets.size != 0
        if not self.passes_on:
            self.keeps.size = self.targets.size = 0
        return 0

    cdef bint describe_uniform(self, WideStep wide) except -1:
        """Whether a list of uniform numbers wants gradients."""
        cdef int32_t first = self.lowering.ids.items[wide.start]
        self.use(first)
        return self.wanted(first)

    cdef int describe_wide(self, WideStep wide, const Roles *roles, int32_t out) except -1:
        cdef const int32_t *ids = self.lowering.ids.items + wide.start
        cdef int reads = roles.reads[0]
        cdef bint any_target = False, keep_all = False
        cdef Py_ssize_t at
        if wide.results is not None:
            for operand in wide.results:
                self.write(operand)
                if wide.activation and self.wanted(operand):
                    self.keep(operand)
            keep_all = self.any_wanted(wide.weights)
        for at in range(wide.size):
            self.use(ids[at])
            any_target = any_target or self.wanted(ids[at])
            if reads & READS_LEFT and self.wanted(ids[at]):
                self.keep(ids[at])
            if roles.fields[0] == ROLE_GIVEN:
                self.read(ids[wide.size + at])
                self.keep(ids[wide.size + at])
            elif wide.pairs:
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

    cdef int describe_loop(self, LoopStep loop, WideStep wide) except -1:
        """The last state is written; the way back needs all operands again."""
        cdef const int32_t *ids = self.lowering.ids.items + wide.start
        cdef Py_ssize_t at
        for result, _ in loop.results:
            self.write(result)
        if loop.active and self.lowering.purpose != FORWARD:
            for at in range(wide.size):
                self.keep(ids[at])
        return 0

    cdef int32_t take_register(self) except -1:
        if self.free_registers.size:
            self.free_registers.size -= 1
            return self.free_registers.items[self.free_registers.size]
        self.plan.registers += 1
        return <int32_t>(self.plan.registers - 1)

    cdef int32_t take_registers(self, int32_t owner) except -1:
        """The first register for an id: of as many as the members of a bundle need, in whole vectors."""
        cdef int32_t length = in_vectors(self.lowering.size.items[owner])
        cdef list free = self.free_runs.get(length)
        if length == 0:
            return self.take_register()
        if free:
            return free.pop()
        self.plan.registers = in_vectors(as_offset(self.plan.registers)) + length
        return as_offset(self.plan.registers) - length

    cdef int free_register(self, int32_t owner, int32_t register) except -1:
        cdef int32_t length = in_vectors(self.lowering.size.items[owner])
        if length:
            self.free_runs.setdefault(length, []).append(register)
            return 0
        return append(&self.free_registers, register)

    cdef int release(self, Integers *operands, Py_ssize_t time) except -1:
        """Give back the registers of values that are not read after this time."""
        cdef Py_ssize_t at
        cdef int32_t operand
        for at in range(operands.size):
            operand = operands.items[at]
            if self.last[operand] == time:
                self.last[operand] = -1
                self.free_register(operand, self.registers[operand])
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
            return self.register_of(operand)
        return ~self.uniform_of(operand)

    cdef int32_t register_of(self, int32_t operand) noexcept:
        return self.registers[self.owner(operand)] + self.lowering.number.items[operand]

    cdef int32_t adjoint_of(self, int32_t operand) noexcept:
        cdef int32_t first = self.adjoint[self.owner(operand)]
        return first if first < 0 else first + self.lowering.number.items[operand]

    cdef int32_t gradient_place(self, int32_t operand) except? -1:
        """The register or the accumulator of an operand's gradient, or -1."""
        if not self.wanted(operand):
            return -1
        if self.once:
            return <int32_t>self.plan.uniforms + self.uniform_of(operand)
        if self.varies(operand):
            return self.adjoint_of(operand)
        if self.accumulator[operand] < 0:
            self.accumulator[operand] = append(&self.accumulated, self.uniform_of(operand))
        return self.accumulator[operand]

    cdef int32_t begin_gradient(self, int32_t operand) except -1:
        """Give an operand's gradient a register if it needs one and has none; return 1 if so, else 0."""
        cdef int32_t owner = self.owner(operand)
        if self.once or not self.wanted(operand) or not self.varies(operand):
            return 0
        if self.lowering.size.items[owner]:
            if self.adjoint[owner] < 0:
                self.adjoint[owner] = self.take_registers(owner)
            return self.begin_members(operand) == 0
        if self.adjoint[operand] >= 0:
            return 0
        self.adjoint[operand] = self.take_register()
        return 1

    cdef int32_t begin_members(self, int32_t operand) noexcept:
        """Note that the step gives gradients to members from this one on; return how many had one."""
        cdef int32_t *begun = self.begun.items + self.flags.items[self.owner(operand)]
        cdef int32_t count = 0, at, first = self.lowering.number.items[operand]
        for at in range(first, first + max(self.members, 1)):
            count += begun[at]
            begun[at] = 1
        return count


cdef inline int32_t in_vectors(int32_t members) noexcept:
    return (members + 7) // 8 * 8


cdef int lifetimes(Allocation self) except -1:
    cdef Py_ssize_t time, at
    for time in range(self.count):
        self.describe(self.step(time))
        for at in range(self.writes.size):
            self.makers.items[self.writes.items[at]] += 1
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
        if step.uniform:
            wide.outputs = 0
        wide.gradient = wide.packed = wide.transposed = wide.lookup = -1
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
        elif step.uniform:
            wide.packed = as_offset(plan.packed)
            plan.packed += wide.inputs
    for number in range(<int32_t>plan.lookup_count if plan.tables else 0):
        plan.wides[plan.lookups[number].wide].lookup = number
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
        if roles.fields[field] == ROLE_OPERAND or roles.fields[field] == ROLE_RESULT:
            fields[field] = self.place(step.fields[field])
        elif roles.fields[field] == ROLE_LOOP:
            place_loop(self, step)
        elif roles.fields[field] >= ROLE_EACH or roles.fields[field] == ROLE_UNIFORM:
            place_wide(self, step.fields[field])
    return 0


cdef int place_loop(Allocation self, const Step *step) except -1:
    """Where a loop finds its operands, and puts its results."""
    cdef LoopStep loop = self.lowering.loops[step.out]
    cdef LoopPlan plan = self.loop_plans[step.out]
    cdef LoopCode *code = &plan.code
    cdef const int32_t *ids = self.lowering.ids.items + (<WideStep>self.lowering.wides[step.fields[0]]).start
    cdef Input given
    cdef Py_ssize_t at
    cdef int32_t operand
    code.operands = step.fields[0]
    for at in range(code.states):
        code.results[at] = code.result_adjoints[at] = -1
        code.states_active[at] = loop.scope.states_active[at]
    for result, number in loop.results:
        code.results[<Py_ssize_t>number] = self.register_of(result)
    for at in range(code.outside):
        operand = ids[code.states + at]
        code.uniform[at] = -1 if self.varies(operand) else self.uniform_of(operand)
    for at in range(code.makes):
        code.made[at] = -1
        code.made_active[at] = loop.scope.made_active[at] and loop.scope.made_used[at]
        code.made_active[at] = code.made_active[at] and self.lowering.purpose != FORWARD
        if loop.scope.made_used[at]:
            # Side by side, and nowhere else: an argument stands for them.
            code.made[at] = as_offset(self.plan.registers + code.steps)
            code.made[at] -= <int32_t>code.steps
            self.plan.registers += code.steps
    for at in range(code.inputs):
        given = plan.loop.inputs[at]
        code.given[at].active = loop.scope.inputs_active[at] and self.lowering.purpose != FORWARD
        code.given[at].first, code.given[at].stride = given.first, given.stride
        code.given[at].offset = as_offset(loop.offsets[at])
        if given.kind == ELEMENTS:
            code.given[at].argument = -1
        elif given.kind == COLUMNS:
            code.given[at].argument = <int32_t>given.source
        elif loop.scope.inputs_used[at]:
            code.given[at].argument = argument_of_made(self, step.out, given)
        else:
            # Nothing needs that list, so it may not have been made: the input stands for itself.
            code.given[at].argument = <int32_t>(code.base + code.states + code.outside + at)
            code.given[at].first = code.given[at].stride = 0
    for argument, column, choices in plan.body.ranges:
        self.plan.ranges += ranges_outside(plan, argument, column, choices)
    return 0


cdef int32_t argument_of_made(Allocation self, int32_t record, Input given) except -1:
    """The argument that stands for what another loop has made."""
    cdef LoopStep other = self.lowering.loops[self.lowering.graph.loop_operand(record, given.source)]
    cdef Loop loop = other.loop
    return <int32_t>(other.scope.base + loop.states + loop.outside + len(loop.inputs) + given.number)


cdef list ranges_outside(LoopPlan self, Py_ssize_t argument, Py_ssize_t column, Py_ssize_t choices):
    """The places of an index that the step takes from an argument, in all steps."""
    cdef const InputCode *given
    cdef Py_ssize_t first = self.code.base + self.code.states + self.code.outside
    if not first <= argument < first + self.code.inputs:
        return [(argument, column, choices)]
    given = &self.code.given[argument - first]
    return [(given.argument, given.first + step * given.stride, choices) for step in range(self.code.steps)]


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
            plan.table[wide.out + at] = self.register_of(step.results[at])
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
        elif roles.fields[field] == ROLE_LOOP:
            place_loop_gradients(self, step)
        elif roles.fields[field] >= ROLE_EACH or roles.fields[field] == ROLE_UNIFORM:
            place_wide_gradients(self, step.fields[field], roles)
    if roles.fields[0] == ROLE_ARGUMENT and stores_gradient(self, step):
        instruction.fresh = FRESH_LEFT
    return 0


cdef bint stores_gradient(Allocation self, const Step *step) except -1:
    """Whether no other instruction adds to the gradient that this load does not add to, but stores."""
    cdef Scope scope = self.lowering.scope
    if scope is None:
        return not self.lowering.graph.loops
    # The state before a step; its place held the gradient of the state after it.
    return 0 <= step.fields[0] - scope.base < states_of(self.lowering)


cdef int place_loop_gradients(Allocation self, const Step *step) except -1:
    """Where a loop finds the gradients of its results."""
    cdef LoopStep loop = self.lowering.loops[step.out]
    cdef LoopPlan plan = self.loop_plans[step.out]
    cdef const Instruction *i
    cdef Py_ssize_t at, state
    for result, number in loop.results:
        plan.code.result_adjoints[<Py_ssize_t>number] = self.adjoint_of(result)
    for at in range(plan.code.states):
        plan.code.cleared[at] = plan.code.states_active[at]
    for at in range(plan.body.forward_count):
        # States that the step reads.
        i = &plan.body.forward[at]
        if roles_of(i.opcode).fields[0] == ROLE_ARGUMENT:
            if 0 <= i.left - plan.code.base < plan.code.states:
                for state in range(i.left - plan.code.base, i.left - plan.code.base + max(i.members, 1)):
                    plan.code.cleared[state] = False
    return 0


cdef int place_wide_gradients(Allocation self, int32_t number, const Roles *roles) except -1:
    cdef Plan plan = self.plan
    cdef Wide *wide = &plan.wides[number]
    cdef WideStep step = self.lowering.wides[number]
    cdef const int32_t *ids = self.lowering.ids.items + step.start
    cdef bint weights
    cdef Py_ssize_t at, active = 0
    if step.uniform:
        # As for a matrix, place_accumulators gives them accumulators side by side.
        wide.gradient = 0 if self.wanted(ids[0]) else -1
        return 0
    for at in range(wide.inputs):
        plan.table[wide.fresh_left + at] = self.begin_gradient(ids[at])
        wide.any_fresh |= plan.table[wide.fresh_left + at]
        plan.table[wide.left_adjoint + at] = self.gradient_place(ids[at])
        if roles.fields[0] == ROLE_GIVEN:
            plan.table[wide.right_adjoint + at] = -1
        elif step.pairs:
            plan.table[wide.fresh_right + at] = self.begin_gradient(ids[wide.inputs + at])
            plan.table[wide.right_adjoint + at] = self.gradient_place(ids[wide.inputs + at])
    if step.results is None:
        return 0
    for at in range(wide.outputs):
        plan.table[wide.out_adjoint + at] = self.adjoint_of(step.results[at])
    weights = self.any_wanted(step.weights)
    if weights or self.any_wanted(step.biases):
        wide.gradient = 0
    # For a matrix, whether the weights want a gradient and not the bias alone.
    wide.fresh_right = weights
    if wide.inputs and plan.table[wide.left_adjoint] >= 0:
        while active < wide.inputs and plan.table[wide.left_adjoint + active] >= 0:
            active += 1
        wide.active = <int32_t>active
        wide.transposed = self.transposed.setdefault((wide.packed, active), as_offset(plan.packed))
        if wide.transposed == plan.packed:
            plan.packed += wide.outputs * active
    return 0


cdef int place_forward(Allocation self) except -1:
    """Registers of values, and the instructions of the way forward."""
    cdef Plan plan = self.plan
    cdef const Step *step
    cdef int32_t owner
    cdef Py_ssize_t time, at
    plan.forward_count = self.count
    plan.forward = <Instruction *>zeroed(self.count, sizeof(Instruction))
    plan.made = <int32_t *>zeroed(self.count, sizeof(int32_t))
    for time in range(self.count):
        look_for_signals(time)
        step = self.step(time)
        self.describe(step)
        for at in range(self.writes.size):
            owner = self.writes.items[at]
            if self.registers[owner] < 0:
                self.registers[owner] = self.take_registers(owner)
        plan.made[time] = step.out
        plan.forward[time].members = self.members
        if roles_of(step.opcode).out:
            # A gather computes a bundle, though its operands are single numbers.
            plan.forward[time].members = max(self.members, self.lowering.size.items[step.out])
        plan.most_members = max(plan.most_members, <Py_ssize_t>self.members)
        place_operands(self, step, &plan.forward[time])
        self.release(&self.reads, time)
        self.release(&self.writes, time)
        if roles_of(step.opcode).fields[1] == ROLE_ARGUMENT:
            plan.ranges.append((step.fields[1], step.fields[2], plan.wides[step.fields[0]].inputs))
    return 0


cdef Py_ssize_t find_mixed(Allocation self) except -1:
    """Find the bundles that give some members a gradient one by one and then all at once, or not all of them.

    Whether a member's gradient is stored or added is said of all members that an instruction computes. So the
    gradients of these bundles are cleared first. Returns how many there are.
    """
    cdef const Step *step
    cdef Lowering lowering = self.lowering
    cdef Py_ssize_t time, at, found = 0
    cdef int32_t target, owner, had
    if not self.begun.size:
        return 0
    for time in range(self.count - 1, -1, -1):
        step = self.step(time)
        self.describe(step)
        for at in range(self.writes.size if self.passes_on else 0):
            owner = self.writes.items[at]
            for target in range(lowering.size.items[owner]):
                if not self.begun.items[self.flags.items[owner] + target]:
                    self.mixed.items[owner] = 1
        for at in range(self.targets.size):
            target = self.targets.items[at]
            owner = self.owner(target)
            if self.varies(target) and lowering.size.items[owner]:
                had = self.begin_members(target)
                if had and had < self.members:
                    self.mixed.items[owner] = 1
    memset(self.begun.items, 0, self.begun.size * sizeof(int32_t))
    for at in range(self.mixed.size):
        found += self.mixed.items[at]
    return found


cdef int clear_mixed(Allocation self, Py_ssize_t time) except -1:
    """Clear the gradients of such bundles before the first instruction that adds to one."""
    cdef Plan plan = self.plan
    cdef Instruction *instruction
    cdef int32_t owner, at, member
    for at in range(<int32_t>self.targets.size):
        owner = self.owner(self.targets.items[at])
        if not self.mixed.items[owner] or self.adjoint[owner] >= 0:
            continue
        self.adjoint[owner] = self.take_registers(owner)
        for member in range(self.lowering.size.items[owner]):
            self.begun.items[self.flags.items[owner] + member] = 1
        instruction = &plan.backward[plan.backward_count]
        plan.origin[plan.backward_count] = <int32_t>time
        plan.backward_count += 1
        instruction.opcode, instruction.fresh = OPCODE_CLEAR, FRESH_LEFT
        instruction.left, instruction.left_adjoint = self.registers[owner], self.adjoint[owner]
        instruction.right_adjoint = instruction.third_adjoint = instruction.out_adjoint = -1
        instruction.members = self.lowering.size.items[owner]
    return 0


cdef int place_backward(Allocation self) except -1:
    """Registers of gradients, and the instructions of the way back."""
    cdef Plan plan = self.plan
    cdef const Step *step
    cdef Instruction *instruction
    cdef int32_t operand
    cdef Py_ssize_t time, at, count
    count = self.count + find_mixed(self)
    plan.backward = <Instruction *>zeroed(count, sizeof(Instruction))
    plan.origin = <int32_t *>zeroed(count, sizeof(int32_t))
    for time in range(self.count - 1, -1, -1):
        look_for_signals(time)
        step = self.step(time)
        self.describe(step)
        if self.passes_on:
            clear_mixed(self, time)
            instruction = &plan.backward[plan.backward_count]
            plan.origin[plan.backward_count] = <int32_t>time
            plan.backward_count += 1
            instruction[0] = plan.forward[time]
            place_gradients(self, step, instruction)
        for at in range(self.writes.size):
            operand = self.writes.items[at]
            self.makers.items[operand] -= 1
            if self.adjoint[operand] >= 0 and self.makers.items[operand] == 0:
                self.free_register(operand, self.adjoint[operand])
        if not plan.repeats:
            # The way back of a Jacobian runs once an output and needs the values each time, so it keeps them.
            self.release(&self.keeps, 2 * self.count - 1 - time)
    return 0


cdef inline bint moves_lanes(const Instruction *i, Py_ssize_t arguments) noexcept:
    """Whether an instruction moves lanes from or to what the caller has."""
    cdef const Roles *roles = roles_of(i.opcode)
    if roles.fields[0] == ROLE_ARGUMENT:
        return i.left < arguments and i.members == 0
    return roles.fields[2] == ROLE_GROUP and arguments > 0 and i.left >= 0


cdef void group_moves(Instruction *first, Py_ssize_t count, Py_ssize_t arguments, int direction) noexcept:
    """Have one instruction do the work of those that move the columns, or outputs, beside its own.

    direction: 1 where the numbers of columns go up, -1 where they go down, as on the way back. The gradients
    of a group are all stored. In a loop's step, which has no arguments of the call, each moves its own.
    """
    cdef Py_ssize_t at = 0, end
    cdef Instruction *one
    cdef const Roles *roles
    while at < count:
        one = &first[at]
        roles = roles_of(one.opcode)
        end = at + 1
        if moves_lanes(one, arguments):
            while (
                end < count and end - at < 8 and moves_lanes(&first[end], arguments)
                and first[end].opcode == one.opcode and first[end].right == one.right + direction * (end - at)
                and (roles.fields[0] != ROLE_ARGUMENT or first[end].left == one.left)
                and (direction > 0 or one.fresh & first[end].fresh & FRESH_LEFT)
            ):
                end += 1
        if roles.fields[2] == ROLE_GROUP and one.members == 0:
            one.third = <int32_t>(end - at)
            for at in range(at + 1, end):
                first[at].third = 0
        at = end


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
        look_for_signals(at)
        plan.made_once[at] = steps[at].out
        place_operands(self, &steps[at], &plan.once[at])
    if sums_up(plan.purpose):
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
        if (<WideStep>self.lowering.wides[number]).uniform:
            for at in range(wide.inputs):
                append(&self.accumulated, ~plan.table[wide.left + at])
            continue
        for at in range(wide.outputs):
            append(&self.accumulated, plan.table[wide.bias + at])
        for at in range(wide.outputs * wide.inputs):
            append(&self.accumulated, plan.table[wide.weights + at])
    plan.accumulators = self.accumulated.size
    plan.accumulated = <int32_t *>zeroed(self.accumulated.size, sizeof(int32_t))
    memcpy(plan.accumulated, self.accumulated.items, self.accumulated.size * sizeof(int32_t))
    return 0


cdef int find_again(Allocation self) except -1:
    """Of a loop's step: the instructions that compute again what the way back reads."""
    cdef Plan plan = self.plan
    cdef bytearray needed = bytearray(self.lowering.varying.size)
    cdef bytearray runs = bytearray(self.count)
    cdef bytearray loaded = bytearray(states_of(self.lowering))
    cdef Py_ssize_t time, at, kept
    cdef bint settled = False
    if plan.loops:
        # What another loop makes is read by instructions that do not name it: all run again.
        runs, settled = bytearray(b"\1") * self.count, True
    for at in range(plan.backward_count):
        self.describe(self.step(plan.origin[at]))
        for kept in range(self.keeps.size):
            needed[self.keeps.items[kept]] = True
    while not settled:
        settled = True
        for time in range(self.count - 1, -1, -1):
            if not runs[time] and is_needed(self, self.step(time), needed, loaded):
                runs[time], settled = True, False
                for at in range(self.reads.size):
                    needed[self.reads.items[at]] = True
    plan.again = <Instruction *>zeroed(self.count, sizeof(Instruction))
    for time in range(self.count):
        if runs[time]:
            plan.again[plan.again_count] = plan.forward[time]
            plan.again_count += 1
    return 0


cdef bint is_needed(Allocation self, const Step *step, bytearray needed, bytearray loaded) except -1:
    """Whether a step writes what is needed; `loaded` has the numbers of the state that are."""
    cdef Scope scope = self.lowering.scope
    cdef const Roles *roles = roles_of(step.opcode)
    cdef Py_ssize_t at, state, member
    self.describe(step)
    if roles.fields[1] == ROLE_NEXT and scope.divided is None and step.fields[1] < len(loaded):
        return any(loaded[step.fields[1]:step.fields[1] + max(self.members, 1)])
    for at in range(self.writes.size):
        if needed[self.writes.items[at]]:
            state = step.fields[0] - scope.base
            if roles.fields[0] == ROLE_ARGUMENT and 0 <= state < len(loaded):
                for member in range(max(self.members, 1)):
                    loaded[state + member] = True
            return True
    return False


cdef int cut_stretches(Allocation self) except -1:
    """Of a divided step: where what runs over all lanes and what runs step by step take turns."""
    cdef Plan plan = self.plan
    cdef Py_ssize_t at
    cdef int stepwise, way
    plan.ahead = <Stretch *>zeroed(plan.forward_count, sizeof(Stretch))
    plan.back = <Stretch *>zeroed(plan.backward_count, sizeof(Stretch))
    for at in range(plan.forward_count):
        stepwise = self.stepwise(self.step(at))
        way = OVER_LANES
        if stepwise == BOTH_WAYS or stepwise == FORWARD_ONLY:
            way = STEP_BY_STEP
            plan.stepwise += 1
        elif stepwise == BACK_ONLY and roles_of(plan.forward[at].opcode).fields[1] == ROLE_NEXT:
            # Another store passes the number on.
            way = NOT_AT_ALL
        plan.ahead_count = stretched(plan.ahead, plan.ahead_count, at, way)
    for at in range(plan.backward_count):
        stepwise = self.stepwise(self.step(plan.origin[at]))
        way = OVER_LANES
        if stepwise == BOTH_WAYS or stepwise == BACK_ONLY:
            way = STEP_BY_STEP
            plan.stepwise_back += 1
        plan.back_count = stretched(plan.back, plan.back_count, at, way)
    return 0


cdef Py_ssize_t stretched(Stretch *stretches, Py_ssize_t count, Py_ssize_t at, int way) noexcept:
    """Let the last stretch go on to an instruction, or begin one; return how many there are."""
    if count == 0 or stretches[count - 1].way != way:
        stretches[count].way = way
        count += 1
    stretches[count - 1].end = at + 1
    return count


cdef inline void scale(int32_t *place) noexcept:
    """Turn the number of a register into that of its first lane; uniform numbers are below 0."""
    if place[0] >= 0:
        place[0] *= STEP_STRIDE


cdef int add_scaled(Plan self) except -1:
    """Copies of the instructions for one lane at a time of registers that have STEP_STRIDE lanes."""
    self.scaled = <Instruction *>zeroed(self.forward_count + self.backward_count, sizeof(Instruction))
    self.scaled_table = <int32_t *>zeroed(self.table_size, sizeof(int32_t))
    memcpy(self.scaled, self.forward, self.forward_count * sizeof(Instruction))
    memcpy(
        self.scaled + self.forward_count, self.backward, self.backward_count * sizeof(Instruction)
    )
    memcpy(self.scaled_table, self.table, self.table_size * sizeof(int32_t))
    for at in range(self.forward_count + self.backward_count):
        scale_instruction(&self.scaled[at])
    for at in range(self.wide_count):
        scale_wide(self.scaled_table, &self.wides[at])
    return 0


cdef void scale_instruction(Instruction *instruction) noexcept:
    cdef const Roles *roles = roles_of(instruction.opcode)
    cdef int32_t *fields = &instruction.left
    cdef int32_t *adjoints = &instruction.left_adjoint
    cdef int field
    if roles.out:
        instruction.out *= STEP_STRIDE
        scale(&instruction.out_adjoint)
    for field in range(3):
        if roles.fields[field] == ROLE_OPERAND or roles.fields[field] == ROLE_RESULT:
            if fields[field] >= 0:
                # Of a uniform number, the adjoint is an accumulator.
                scale(&adjoints[field])
            scale(&fields[field])


cdef void scale_wide(int32_t *table, const Wide *wide) noexcept:
    cdef Py_ssize_t at
    for at in range(wide.inputs):
        if table[wide.left + at] >= 0:
            scale(&table[wide.left_adjoint + at])
        scale(&table[wide.left + at])
        if wide.right:
            if table[wide.right + at] >= 0:
                scale(&table[wide.right_adjoint + at])
            scale(&table[wide.right + at])
    for at in range(wide.outputs if wide.packed >= 0 else 0):
        scale(&table[wide.out + at])
        scale(&table[wide.out_adjoint + at])


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
    cdef Py_ssize_t number, at
    cdef const Wide *wide
    cdef const int32_t *weights
    cdef int32_t *out
    plan.packed_from = <int32_t *>zeroed(plan.packed, sizeof(int32_t))
    for number in range(plan.wide_count):
        wide = &plan.wides[number]
        if wide.packed < 0:
            continue
        out = plan.packed_from + wide.packed
        if wide.outputs == 0:
            for at in range(wide.inputs):
                out[at] = ~plan.table[wide.left + at]
            continue
        weights = plan.table + wide.weights
        memcpy(out, plan.table + wide.bias, wide.outputs * sizeof(int32_t))
        list_panels(weights, wide.outputs, wide.inputs, wide.inputs, 1, out + wide.outputs)
        if wide.transposed >= 0:
            out = plan.packed_from + wide.transposed
            list_panels(weights, wide.active, wide.outputs, 1, wide.inputs, out)
    return 0


cdef int number_uniforms(Allocation self) except -1:
    """Number the uniform leaves and constants; computed numbers get an index at their first use."""
    cdef Plan plan = self.plan
    cdef Graph graph = self.lowering.graph
    cdef int32_t index
    cdef tuple taken = graph.taken
    plan.parameters = len(graph.parameters) if taken is None else taken[0]
    plan.arguments = len(self.lowering.kinds) if taken is None else 0
    plan.uniforms = plan.parameters
    plan.shared = <int32_t *>zeroed(2 * len(graph.leaves), sizeof(int32_t))
    for index in range(<int32_t>graph.size):
        if graph.row(index) == ROW_LEAF and not self.varies(index):
            # A parameter, or a number from outside of a loop's step; or a number that is an argument.
            argument, number = graph.leaves[graph.first(index)]
            if argument < 0:
                self.uniform[index] = number
            else:
                plan.shared[2 * plan.shared_count] = argument
                plan.shared[2 * plan.shared_count + 1] = number
                plan.shared_count += 1
                self.uniform_of(index)
    for index in range(<int32_t>graph.size):
        if self.varies(index):
            continue
        if graph.row(index) == ROW_CONSTANT:
            self.uniform_of(index)
    for operand in self.lowering.constants.values():
        self.uniform_of(operand)
    return 0


cdef bint is_parameter(Graph graph, int32_t index) noexcept:
    if index >= graph.size or graph.row(index) != ROW_LEAF:
        return False
    argument, _ = graph.leaves[graph.first(index)]
    return argument < 0


cdef int find_tables(Allocation self, bint any_table) except -1:
    """Find the parameters that only `take` reads; their accumulators follow the outputs'."""
    cdef Plan plan = self.plan
    cdef Graph graph = self.lowering.graph
    cdef Integers uses
    cdef WideStep wide
    cdef const Step *step
    cdef Lookup *lookup
    cdef Py_ssize_t at, time
    cdef int32_t index, number
    memset(&uses, 0, sizeof(Integers))
    plan.dense = <int32_t *>zeroed(plan.parameters, sizeof(int32_t))
    plan.lookups = <Lookup *>zeroed(self.count, sizeof(Lookup))
    try:
        for _ in range(plan.parameters):
            append(&uses, 0)
        for index in range(<int32_t>graph.size if any_table else 0):
            if is_parameter(graph, index):
                uses.items[self.uniform[index]] += self.lowering.uses.items[index]
        for time in range(self.count):
            step = self.step(time)
            if roles_of(step.opcode).fields[1] != ROLE_ARGUMENT:
                continue
            lookup = &plan.lookups[plan.lookup_count]
            plan.lookup_count += 1
            lookup.wide, lookup.argument, lookup.column = step.fields[0], step.fields[1], step.fields[2]
            wide = self.lowering.wides[step.fields[0]]
            for at in range(wide.size if any_table else 0):
                index = self.lowering.ids.items[wide.start + at]
                if is_parameter(graph, index):
                    uses.items[self.uniform[index]] -= 1
        for number in range(<int32_t>plan.parameters):
            if uses.items[number] or not any_table:
                plan.dense[plan.dense_count] = number
                plan.dense_count += 1
        plan.tables = plan.parameters - plan.dense_count
        for index in range(<int32_t>graph.size if plan.tables else 0):
            if is_parameter(graph, index) and not uses.items[self.uniform[index]] and self.wanted(index):
                self.accumulator[index] = append(&self.accumulated, self.uniform[index])
                plan.table_sums += 1
    finally:
        PyMem_RawFree(uses.items)
    return 0


cdef void find_columns(Plan plan) noexcept:
    """Find the lists of consecutive parameters: a look into a long list is a look into memory."""
    cdef Lookup *lookup
    cdef const int32_t *operands
    cdef Py_ssize_t number
    cdef int32_t at = 0
    for number in range(plan.lookup_count):
        lookup = &plan.lookups[number]
        operands = plan.table + plan.wides[lookup.wide].left
        at = 0
        while at < plan.wides[lookup.wide].inputs and 0 <= ~operands[at] < plan.parameters \
                and ~operands[at] == ~operands[0] + at:
            at += 1
        lookup.first = ~operands[0] if at == plan.wides[lookup.wide].inputs else -1


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
            total += roles.flops * max(plan.forward[at].members, 1)
            continue
        wide = &plan.wides[plan.forward[at].left]
        total += <double>roles.flops * wide.outputs * wide.inputs * max(plan.forward[at].members, 1)
        if wide.activation:
            total += <double>wide.outputs * roles_of(wide.activation << 2).flops
    for loop in plan.loops:
        total += <double>(<LoopPlan>loop).code.steps * (<LoopPlan>loop).body.flops
    return total


cdef int list_by_row(Allocation self) except -1:
    """Accumulators of the gradients that are computed row by row: of the parameters, then of all leaves."""
    cdef Graph graph = self.lowering.graph
    cdef int32_t number
    if not sums_up(self.plan.purpose):
        return 0
    for number in range(<int32_t>self.plan.parameters):
        append(&self.accumulated, number)
    if self.plan.purpose == SHARED:
        places = {graph.first(at): self.uniform[at] for at in range(graph.size) if graph.row(at) == ROW_LEAF}
        for number in range(<int32_t>len(graph.leaves)):
            # What varies by row has no gradient here, and adds nothing.
            append(&self.accumulated, max(places.get(number, 0), 0))
    return 0


cdef double count_work(Plan plan) noexcept:
    """What a row costs: flops, and an instruction without arithmetic counts as one, as it copies."""
    cdef double total = plan.flops + <double>plan.forward_count
    for loop in plan.loops:
        total += <double>(<LoopPlan>loop).code.steps * (
            (<LoopPlan>loop).body.work - (<LoopPlan>loop).body.flops
        )
    return total


cdef int plan_loops(Allocation self, tuple kinds, bint one_row) except -1:
    """The plans of all loops that are steps of this plan."""
    cdef Lowering lowering = self.lowering
    cdef const Step *step
    cdef LoopStep loop
    cdef LoopPlan plan
    cdef Plan body
    cdef Py_ssize_t time
    for time in range(self.count):
        step = self.step(time)
        if roles_of(step.opcode).fields[1] == ROLE_LOOP:
            loop = lowering.loops[step.out]
            body = plan_of(
                loop.loop.body, lowering.purpose, kinds, loop.scope, lowering.layout, self.plan.repeats,
                one_row,
            )
            self.loop_plans[step.out] = plan = LoopPlan()
            plan.fill(loop, body)
            plan_steps(self, plan, loop, kinds)
            plan.code.base = loop.scope.base
            plan.code.nested = lowering.scope is not None
            plan.code.differentiates = loop.active and lowering.purpose != FORWARD
            plan.code.repeats = self.plan.repeats
            self.plan.loops.append(plan)
            self.numbers.append(loop.number)
    return 0


cdef int plan_steps(Allocation self, LoopPlan plan, LoopStep loop, tuple kinds) except -1:
    """The plan of a step over lanes that are steps, for blocks of one row, where it is quicker."""
    cdef Divided found
    cdef Plan body
    cdef double stepwise, lanes, alone
    if plan.code.steps < fewest_divided:
        return 0
    found = divided(loop.loop)
    if found is None:
        return 0
    body = plan_of(
        found.graph, self.plan.purpose, kinds, loop.scope.over_steps(found), self.lowering.layout,
        self.plan.repeats, False,
    )
    stepwise = <double>body.stepwise + BACK_COST * <double>body.stepwise_back
    lanes = body.forward_count + body.backward_count + body.again_count - body.stepwise - body.stepwise_back
    alone = <double>plan.body.forward_count + BACK_COST * <double>plan.body.backward_count
    plan.share_over_steps = (stepwise + LANE_COST * lanes) / alone
    # Tests divide everything.
    if body.registers < MOST_INTEGERS // STEP_STRIDE and (fewest_divided <= 1 or plan.share_over_steps < 0.8):
        plan.over_steps, plan.divided = body, found
    return 0


cdef Plan plan_of(
    Graph graph, int purpose, tuple kinds, Scope scope, Layout layout, bint repeats, bint one_row
):
    """Lower a graph for one purpose and place its numbers, pass by pass."""
    cdef Lowering lowering = lowered(graph, purpose, kinds, scope, layout, one_row)
    cdef Plan plan = Plan()
    cdef Allocation allocation
    plan.purpose = purpose
    plan.outputs = len(graph.outputs) if scope is None else 0
    plan.repeats = repeats
    plan.ranges = []
    plan.workspaces = []
    plan.loops = []
    plan.loop_numbers = []
    allocation = Allocation(lowering, plan)
    allocation.numbers = plan.loop_numbers
    for _ in range(plan.outputs):
        # The first accumulators are the outputs' sums and belong to no uniform number.
        append(&allocation.accumulated, -1)
    number_uniforms(allocation)
    # What selects computes the gradients of a row by all parameters.
    find_tables(allocation, scope is None and not any_selects(graph))
    plan_loops(allocation, kinds, one_row)
    lifetimes(allocation)
    lay_out_wides(allocation)
    place_forward(allocation)
    group_moves(plan.forward, plan.forward_count, plan.arguments, 1)
    if purpose != FORWARD:
        place_backward(allocation)
        group_moves(plan.backward, plan.backward_count, plan.arguments, -1)
        if scope is None and any_selects(graph):
            plan.rows = RowProgram(graph, purpose, kinds)
            plan.by_row = allocation.accumulated.size
            list_by_row(allocation)
    if allocation.begun.size:
        # Of a loop, the registers of each step begin with a whole vector.
        plan.registers = in_vectors(as_offset(plan.registers))
    if scope is not None:
        find_again(allocation)
    if scope is not None and scope.divided is not None:
        cut_stretches(allocation)
        add_scaled(plan)
    place_once(allocation)
    place_accumulators(allocation)
    list_packed(plan)
    find_columns(plan)
    fill_initial(allocation)
    plan.ranges = list(set(plan.ranges))
    plan.flops = count_flops(plan)
    plan.work = count_work(plan)
    return plan


cdef void set_instructions(LoopCode *code, Plan body) noexcept:
    """Have a loop run the instructions of a plan of its step."""
    code.forward, code.forward_count = body.forward, body.forward_count
    code.backward, code.backward_count = body.backward, body.backward_count
    code.again, code.again_count = body.again, body.again_count
    code.table, code.wides, code.registers = body.table, body.wides, body.registers


cdef int connect(Plan root, Plan outer, Py_ssize_t parent) except -1:
    """Put the loops of a plan, and those within, in their places among all loops."""
    cdef LoopPlan plan
    cdef LoopCode *code
    cdef Plan body
    cdef Py_ssize_t at
    for number, plan in zip(outer.loop_numbers, outer.loops):
        root.all_loops[number] = plan
        body, code = plan.body, &plan.code
        code.parent = parent
        set_instructions(code, body)
        code.accumulators = root.sums
        for at in range(code.inner_count):
            code.inner[at] = body.loop_numbers[at]
        if plan.over_steps is not None:
            connect_steps(plan, plan.over_steps)
            root.sums = max(root.sums, code.accumulators + plan.over_steps.accumulators)
            root.widest = max(root.widest, plan.over_steps.widest)
        root.sums = max(root.sums, code.accumulators + body.accumulators)
        root.widest = max(root.widest, body.widest)
        root.most_members = max(root.most_members, body.most_members)
        connect(root, body, number)
    return 0


cdef int connect_steps(LoopPlan self, Plan body) except -1:
    """What differs where the lanes are steps."""
    cdef LoopCode *code = &self.code_over_steps
    cdef Py_ssize_t at
    code[0] = self.code
    code.over_steps = True
    set_instructions(code, body)
    code.ahead, code.ahead_count = body.ahead, body.ahead_count
    code.back, code.back_count = body.back, body.back_count
    code.scaled_forward, code.scaled_backward = body.scaled, body.scaled + body.forward_count
    code.scaled_table = body.scaled_table
    for at in range(code.states):
        kind = self.divided.kinds[at]
        if kind != LINEAR and kind != DELAYED:
            code.stepwise_count += 1
            self.stepwise[at] = <char>code.stepwise_count
    code.stepwise = self.stepwise
    return 0


cdef Plan make_plan(Graph graph, int purpose, tuple kinds, bint one_row):
    """The plan of a whole program for one purpose; one_row: for calls of one row, whose steps it bundles."""
    cdef Layout layout = Layout()
    cdef Plan plan
    layout.arguments = len(kinds)
    plan = plan_of(graph, purpose, kinds, None, layout, purpose == INPUTS and len(graph.outputs) > 1, one_row)
    plan.sums = plan.accumulators
    plan.all_arguments = layout.arguments
    plan.all_loops = [None] * layout.loops
    connect(plan, plan, -1)
    return plan
