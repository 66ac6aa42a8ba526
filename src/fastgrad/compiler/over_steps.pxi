# Loops over steps: of one row, the lanes are steps. recurrences.pxi says which instructions run step by step.
#
# STEP_LANES steps are a chunk, with registers of its own. On the way forward a loop keeps its state at the
# beginning of every chunk, and the registers of the last chunks; on the way back it runs the others again. It
# also keeps the history, the numbers of the state that run step by step in every step, unless that takes more
# than HISTORY_BYTES. Then nothing needs to run step by step again.

cdef inline bint keeps_history(const LoopCode *code) noexcept nogil:
    return code.differentiates and code.stepwise_count * code.steps <= HISTORY_BYTES // 8


cdef inline Py_ssize_t steps_of_history(const LoopCode *code) noexcept nogil:
    return code.steps if keeps_history(code) else <Py_ssize_t>STEP_LANES


cdef void stand_for_one(
    Argument *argument, const double *number, double *gradient, Py_ssize_t step
) noexcept nogil:
    """Have an argument stand for numbers `step` apart, 0 for one that is the same in all steps."""
    argument.kind = REALS
    argument.data = <const char *>number
    argument.row_step = step * <Py_ssize_t>sizeof(double)
    argument.column_step = 0
    argument.gradient = gradient
    argument.gradient_row_step = step
    argument.gradient_column_step = 0


cdef void enter_over_steps(LoopState *self, const Block *outer) noexcept nogil:
    """Take over the block outside, and have arguments stand for the states and for what is from outside."""
    cdef const LoopCode *code = self.code
    cdef const Wide *operands = &outer.wides[code.operands]
    cdef const int32_t *table = outer.table
    cdef Py_ssize_t at
    cdef int32_t place, adjoint
    cdef double *gradient
    self.block.row = 0
    self.block.accumulators = self.worker.block.accumulators + code.accumulators
    self.block.arguments = outer.arguments
    for at in range(code.outside):
        place = table[operands.left + code.states + at]
        if place >= 0:
            adjoint = table[operands.left_adjoint + code.states + at]
            gradient = lanes_or_null(outer, adjoint) if code.differentiates else NULL
            stand_for_one(
                argument_of(outer, code.base + code.states + at), register_of(outer, place), gradient, 0
            )
    aim_made(self, outer)


cdef void aim_chunk(LoopState *self, const Block *outer, Py_ssize_t first) noexcept nogil:
    """Have arguments stand for the inputs of the steps from `first` on, and outputs go where they belong."""
    cdef const LoopCode *code = self.code
    cdef const InputCode *given
    cdef const Argument *source
    cdef Argument *argument
    cdef Py_ssize_t at, column
    self.block.lanes = min(<Py_ssize_t>STEP_LANES, code.steps - first)
    for at in range(code.states):
        if code.stepwise[at]:
            argument = argument_of(outer, code.base + at)
            stand_for_one(argument, history_of(self, at, first), self.state_adjoint + at, 1)
            argument.gradient_row_step = 0
    aim_targets(self, first, self.block.lanes)
    for at in range(code.inputs):
        given = &code.given[at]
        argument = argument_of(outer, code.base + code.states + code.outside + at)
        if given.argument < 0:
            aim_elements(self, outer, at, first)
            continue
        source = &outer.arguments[given.argument]
        if source == argument:
            continue
        column = given.first + first * given.stride
        argument.kind = source.kind
        argument.data = source.data + outer.row * source.row_step + column * source.column_step
        argument.row_step = given.stride * source.column_step
        argument.gradient = source.gradient
        if source.gradient != NULL:
            argument.gradient += outer.row * source.gradient_row_step + column * source.gradient_column_step
            argument.gradient_row_step = given.stride * source.gradient_column_step
    for at in range(code.makes):
        if code.made[at] >= 0:
            self.targets[code.states + at] = register_of(outer, code.made[at] + first)
        if code.made_active[at]:
            self.target_adjoints[code.states + at] = self.made_adjoint + at * code.steps + first


cdef void aim_elements(LoopState *self, const Block *outer, Py_ssize_t at, Py_ssize_t first) noexcept nogil:
    """Copy an input that is a list of numbers, which need not lie side by side."""
    cdef const LoopCode *code = self.code
    cdef const int32_t *places = outer.table + outer.wides[code.operands].left + code.given[at].offset + first
    cdef double *numbers = self.elements + at * STEP_STRIDE
    cdef double *gradient = self.input_adjoint + at * STEP_STRIDE
    cdef Py_ssize_t j
    for j in range(self.block.lanes):
        numbers[j] = register_of(outer, places[j])[0] if places[j] >= 0 else outer.uniform[~places[j]]
    fill_lanes(gradient, 0.0, self.block.lanes)
    stand_for_one(argument_of(outer, code.base + code.states + code.outside + at), numbers, gradient, 1)


cdef void give_elements(LoopState *self, const Block *outer, Py_ssize_t first) noexcept nogil:
    """Add the gradients of inputs that are lists to those of the numbers there."""
    cdef const LoopCode *code = self.code
    cdef const Wide *operands = &outer.wides[code.operands]
    cdef const int32_t *places
    cdef const int32_t *adjoints
    cdef const double *gradient
    cdef Py_ssize_t at, j
    for at in range(code.inputs):
        if code.given[at].argument >= 0 or not code.given[at].active:
            continue
        places = outer.table + operands.left + code.given[at].offset + first
        adjoints = outer.table + operands.left_adjoint + code.given[at].offset + first
        gradient = self.input_adjoint + at * STEP_STRIDE
        for j in range(self.block.lanes):
            if adjoints[j] >= 0 and places[j] >= 0:
                register_of(outer, adjoints[j])[0] += gradient[j]
            elif adjoints[j] >= 0:
                outer.accumulators[adjoints[j]] += gradient[j]


cdef inline double *history_of(const LoopState *self, Py_ssize_t state, Py_ssize_t first) noexcept nogil:
    """A number of the state before a chunk's first step; all chunks share it if the history is not kept."""
    cdef Py_ssize_t place = (self.code.stepwise[state] - 1) * (steps_of_history(self.code) + 1)
    return self.history + place + (first if keeps_history(self.code) else 0)


cdef inline void aim_targets(LoopState *self, Py_ssize_t first, Py_ssize_t lane) noexcept nogil:
    """Have what runs step by step be stored as the state before the step of a lane."""
    cdef Py_ssize_t at
    for at in range(self.code.states):
        if self.code.stepwise[at]:
            self.targets[at] = history_of(self, at, first) + lane


cdef inline void advance_targets(LoopState *self) noexcept nogil:
    """Have it be stored as the state before the step after."""
    cdef Py_ssize_t at
    for at in range(self.code.states):
        self.targets[at] += self.code.stepwise[at] != 0


cdef Block block_of_one_step(const LoopState *self) noexcept nogil:
    """The block of one step of a chunk; its registers are the first step's."""
    cdef Block block = self.block
    block.stride = block.lanes = 1
    block.table = self.code.scaled_table
    return block


cdef void run_chunk(LoopState *self, Py_ssize_t first, bint back) noexcept nogil:
    """Run the instructions of the chunk that begins with a step, as the stretches say, forward or back."""
    cdef const LoopCode *code = self.code
    cdef const Stretch *stretches = code.back if back else code.ahead
    cdef const Instruction *instructions = code.backward if back else code.forward
    cdef const Instruction *scaled = code.scaled_backward if back else code.scaled_forward
    cdef Run run = kernels.backward if back else kernels.forward
    cdef Run run_one = kernels.backward_one if back else kernels.forward_one
    cdef Block one = block_of_one_step(self)
    cdef Py_ssize_t lanes = self.block.lanes, at, begin = 0, end, j
    for at in range(code.back_count if back else code.ahead_count):
        end = stretches[at].end
        if stretches[at].way == OVER_LANES:
            run(instructions + begin, end - begin, &self.block)
        elif stretches[at].way == STEP_BY_STEP and not back:
            aim_targets(self, first, 0)
        for j in range(lanes if stretches[at].way == STEP_BY_STEP else 0):
            one.row = lanes - 1 - j if back else j
            one.registers = self.block.registers + one.row
            if not back:
                advance_targets(self)
            run_one(scaled + begin, end - begin, &one)
        begin = end


cdef void go_through(LoopState *self, Py_ssize_t first) noexcept nogil:
    """Run a chunk from the state on, and have the state be that after it."""
    cdef const LoopCode *code = self.code
    cdef Py_ssize_t at
    for at in range(code.states):
        if code.stepwise[at]:
            history_of(self, at, first)[0] = self.state[at]
    run_chunk(self, first, False)
    for at in range(code.states):
        if code.stepwise[at]:
            self.state[at] = self.targets[at][0]


cdef inline double *frame_of(const LoopState *self, Py_ssize_t chunk) noexcept nogil:
    """The registers of a chunk: those of the last ones are kept, the others take turns in one place."""
    cdef Py_ssize_t kept = chunk - (chunks_of(self.code) - self.segment)
    return self.frames + max(kept + 1, <Py_ssize_t>0) * self.code.registers * STEP_STRIDE


cdef inline Py_ssize_t chunks_of(const LoopCode *code) noexcept nogil:
    return (code.steps - 1) // STEP_LANES + 1


cdef bint forward_over_steps(LoopState *self, const Block *outer) noexcept nogil:
    """Run all steps from the first state; return whether all of them were."""
    cdef const LoopCode *code = self.code
    cdef Py_ssize_t chunk
    begin_state(self, outer)
    self.filled = chunks_of(code) - self.segment
    for chunk in range(chunks_of(code)):
        if interrupted(self.worker):
            return False
        if code.differentiates:
            memcpy(self.kept + chunk * code.states, self.state, code.states * sizeof(double))
        self.block.registers = frame_of(self, chunk)
        aim_chunk(self, outer, chunk * STEP_LANES)
        go_through(self, chunk * STEP_LANES)
    return True


cdef void back_over_steps(LoopState *self, const Block *outer) noexcept nogil:
    """Run all steps back, from the last chunk to the first."""
    cdef const LoopCode *code = self.code
    cdef Py_ssize_t chunk
    begin_gradients(self, outer)
    if code.nested and not forward_over_steps(self, outer):
        return
    for chunk in range(chunks_of(code) - 1, -1, -1):
        if interrupted(self.worker):
            return
        self.block.registers = frame_of(self, chunk)
        aim_chunk(self, outer, chunk * STEP_LANES)
        if chunk < self.filled:
            memcpy(self.state, self.kept + chunk * code.states, code.states * sizeof(double))
            if keeps_history(code):
                kernels.forward(code.again, code.again_count, &self.block)
            else:
                go_through(self, chunk * STEP_LANES)
        run_chunk(self, chunk * STEP_LANES, True)
        give_elements(self, outer, chunk * STEP_LANES)
    if not code.repeats:
        # The gradients have taken the place of values.
        self.filled = chunks_of(code)
    end_gradients(self, outer)
