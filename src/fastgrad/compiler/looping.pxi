# Loops: a step's instructions run again and again on the same block of rows.
#
# On the way forward a loop keeps its state at the beginning of every segment of steps. On the way back it
# takes the segments from the last to the first: it runs the segment's steps forward, each with registers of
# its own, and then back. A loop within another's step keeps nothing: it begins its way back by going forward
# once more.
#
# What a step is given reaches it through arguments: each state, each number from outside that varies by row,
# each input, and what other loops have made. Their addresses are set before each step.

cdef struct LoopState:
    const LoopCode *code
    Worker *worker
    # The block of the step.
    Block block
    # Steps of a segment.
    Py_ssize_t segment
    # The registers of each step of a segment.
    double *frames
    # The segment whose values the frames have, or -1.
    Py_ssize_t filled
    # The state at the beginning of each segment, of this step, and its gradient.
    double *kept
    double *state
    double *state_adjoint
    # The gradients of inputs that are the same for all rows, and of what the loop makes.
    double *input_adjoint
    double *made_adjoint
    # Of the step's outputs.
    double **targets
    double **target_adjoints


# What of a loop runs once a batch.
cdef struct LoopOnce:
    const LoopCode *code
    const Instruction *once
    const Instruction *once_back
    Py_ssize_t once_count
    Py_ssize_t once_back_count
    const double *initial
    Py_ssize_t uniforms
    const int32_t *accumulated
    Py_ssize_t accumulators
    const int32_t *packed_from
    Py_ssize_t packed


cdef inline void copy_lanes(double *out, const double *numbers, Py_ssize_t lanes) noexcept nogil:
    memcpy(out, numbers, lanes * sizeof(double))


cdef inline void add_lanes(double *out, const double *numbers, Py_ssize_t lanes) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(lanes):
        out[j] += numbers[j]


cdef inline void fill_lanes(double *out, double number, Py_ssize_t lanes) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(lanes):
        out[j] = number


cdef inline double sum_lanes(const double *numbers, Py_ssize_t lanes) noexcept nogil:
    cdef double total = 0.0
    cdef Py_ssize_t j
    for j in range(lanes):
        total += numbers[j]
    return total


cdef inline double *register_of(const Block *block, Py_ssize_t number) noexcept nogil:
    return block.registers + number * block.stride


cdef inline Argument *argument_of(const Block *block, Py_ssize_t number) noexcept nogil:
    return <Argument *>block.arguments + number


cdef inline void aim(
    const Block *block, Argument *argument, const double *lanes, double *gradient
) noexcept nogil:
    """Have an argument stand for lanes of this block, and for their gradient."""
    argument.kind = REALS
    argument.data = <const char *>(lanes - block.row)
    argument.row_step = sizeof(double)
    argument.column_step = block.stride * sizeof(double)
    argument.gradient = NULL if gradient == NULL else gradient - block.row
    argument.gradient_row_step = 1
    argument.gradient_column_step = block.stride


cdef void aim_made(LoopState *self, const Block *outer) noexcept nogil:
    """Have arguments stand for what the loop makes, in the registers outside."""
    cdef const LoopCode *code = self.code
    cdef Py_ssize_t base = code.base + code.states + code.outside + code.inputs, at
    cdef double *gradient
    for at in range(code.makes):
        if code.made[at] >= 0:
            gradient = NULL
            if code.made_active[at]:
                gradient = self.made_adjoint + at * code.steps * outer.stride
            aim(outer, argument_of(outer, base + at), register_of(outer, code.made[at]), gradient)


cdef void enter_loop(LoopState *self, const Block *outer) noexcept nogil:
    """Take over the block outside, and have arguments stand for the states and for what is from outside."""
    cdef const LoopCode *code = self.code
    cdef Block *block = &self.block
    cdef const Wide *operands = &outer.wides[code.operands]
    cdef const int32_t *table = outer.table
    cdef Py_ssize_t at
    cdef int32_t place, adjoint
    block.row, block.lanes = outer.row, outer.lanes
    block.accumulators = self.worker.block.accumulators + code.accumulators
    block.arguments = outer.arguments
    for at in range(code.states):
        aim(
            block, argument_of(outer, code.base + at),
            self.state + at * block.stride, self.state_adjoint + at * block.stride,
        )
    for at in range(code.outside):
        place = table[operands.left + code.states + at]
        if place >= 0:
            adjoint = table[operands.left_adjoint + code.states + at]
            aim(
                block, argument_of(outer, code.base + code.states + at), register_of(outer, place),
                NULL if not code.differentiates or adjoint < 0 else register_of(outer, adjoint),
            )
    aim_made(self, outer)


cdef void aim_inputs(LoopState *self, const Block *outer, Py_ssize_t step, bint back) noexcept nogil:
    """Have arguments stand for the inputs of a step, and for their gradients on the way back."""
    cdef const LoopCode *code = self.code
    cdef const Wide *operands = &outer.wides[code.operands]
    cdef const InputCode *given
    cdef const Argument *source
    cdef Argument *argument
    cdef Py_ssize_t at, column
    cdef int32_t place
    cdef double *gradient
    for at in range(code.inputs):
        given = &code.given[at]
        argument = argument_of(outer, code.base + code.states + code.outside + at)
        if given.argument >= 0:
            source = &outer.arguments[given.argument]
            column = given.first + step * given.stride
            argument[0] = source[0]
            argument.data = source.data + column * source.column_step
            if source.gradient != NULL:
                argument.gradient = source.gradient + column * source.gradient_column_step
            continue
        place = outer.table[operands.left + given.offset + step]
        gradient = NULL
        if place >= 0:
            if back and given.active:
                gradient = lanes_or_null(outer, outer.table[operands.left_adjoint + given.offset + step])
            aim(outer, argument, register_of(outer, place), gradient)
            if given.active and gradient == NULL:
                argument.gradient = self.input_adjoint + at * outer.stride - outer.row
        else:
            gradient = self.input_adjoint + at * outer.stride
            aim(outer, argument, outer.uniform + ~place, gradient)
            argument.data = <const char *>(outer.uniform + ~place)
            argument.row_step = 0


cdef inline double *lanes_or_null(const Block *block, int32_t place) noexcept nogil:
    return NULL if place < 0 else register_of(block, place)


cdef void aim_outputs(LoopState *self, const Block *outer, Py_ssize_t step) noexcept nogil:
    """Where a step puts what it makes; the next state always has the same place."""
    cdef const LoopCode *code = self.code
    cdef Py_ssize_t at
    for at in range(code.makes):
        if code.made[at] >= 0:
            self.targets[code.states + at] = register_of(outer, code.made[at] + step)


cdef bint run_steps(
    LoopState *self, const Block *outer, Py_ssize_t first, Py_ssize_t end, bint keep, Py_ssize_t framed
) noexcept nogil:
    """Run steps forward; return whether all of them were.

    keep: whether to keep the state at the beginning of segments. framed: the step from which on each has
    registers of its own.
    """
    cdef const LoopCode *code = self.code
    cdef Py_ssize_t stride = self.block.stride, step, since = 0
    cdef Py_ssize_t frame = code.registers * stride
    for step in range(first, end):
        since += code.forward_count + 1
        if since > STRETCH:
            since = 0
            if interrupted(self.worker):
                return False
        if keep and step % self.segment == 0:
            memcpy(
                self.kept + step // self.segment * code.states * stride, self.state,
                code.states * stride * sizeof(double),
            )
        self.block.registers = self.frames + (frame * (step - framed) if step >= framed else 0)
        aim_inputs(self, outer, step, False)
        aim_outputs(self, outer, step)
        if not run_stretches(
            self.worker, self.worker.job.run_forward, code.forward, code.forward_count, &self.block
        ):
            return False
    return True


cdef bint go_forward(LoopState *self, const Block *outer) noexcept nogil:
    """Run all steps from the first state; keep what the way back needs, and the last segment's values."""
    cdef const LoopCode *code = self.code
    cdef const Wide *operands = &outer.wides[code.operands]
    cdef Py_ssize_t at, last = code.steps
    cdef int32_t place
    for at in range(code.states):
        place = outer.table[operands.left + at]
        if place >= 0:
            copy_lanes(self.state + at * outer.stride, register_of(outer, place), outer.lanes)
        else:
            fill_lanes(self.state + at * outer.stride, outer.uniform[~place], outer.lanes)
    if code.differentiates:
        last = (code.steps - 1) // self.segment * self.segment
        self.filled = last // self.segment
    return run_steps(self, outer, 0, code.steps, code.differentiates, last)


cdef void forward_loop(const Instruction *i, const Block *outer) noexcept nogil:
    cdef LoopState *self = &outer.loops[i.right]
    cdef const LoopCode *code = self.code
    cdef Py_ssize_t at
    enter_loop(self, outer)
    if not go_forward(self, outer):
        return
    for at in range(code.states):
        if code.results[at] >= 0:
            copy_lanes(register_of(outer, code.results[at]), self.state + at * outer.stride, outer.lanes)


cdef void begin_gradients(LoopState *self, const Block *outer) noexcept nogil:
    """The gradient of the last state; 0 for those that the loop is the first to add to."""
    cdef const LoopCode *code = self.code
    cdef const Wide *operands = &outer.wides[code.operands]
    cdef Py_ssize_t at
    cdef double *gradient
    for at in range(code.states):
        gradient = self.state_adjoint + at * outer.stride
        if code.result_adjoints[at] >= 0:
            copy_lanes(gradient, register_of(outer, code.result_adjoints[at]), outer.lanes)
        else:
            fill_lanes(gradient, 0.0, outer.lanes)
    for at in range(operands.inputs):
        if outer.table[operands.fresh_left + at]:
            fill_lanes(register_of(outer, outer.table[operands.left_adjoint + at]), 0.0, outer.lanes)


cdef bint step_back(LoopState *self, const Block *outer, Py_ssize_t step, Py_ssize_t frame) noexcept nogil:
    """Run a step's way back."""
    cdef const LoopCode *code = self.code
    cdef const Wide *operands = &outer.wides[code.operands]
    cdef Py_ssize_t stride = outer.stride, lanes = outer.lanes, at
    cdef int32_t adjoint
    self.block.registers = self.frames + frame * code.registers * stride
    aim_inputs(self, outer, step, True)
    for at in range(code.inner_count):
        aim_made(&outer.loops[code.inner[at]], &self.block)
    for at in range(code.makes):
        if code.made_active[at]:
            self.target_adjoints[code.states + at] = self.made_adjoint + (at * code.steps + step) * stride
    for at in range(code.inputs):
        if code.given[at].active and code.given[at].argument < 0:
            fill_lanes(self.input_adjoint + at * stride, 0.0, lanes)
    if not run_stretches(
        self.worker, self.worker.job.run_backward, code.backward, code.backward_count, &self.block
    ):
        return False
    for at in range(code.states):
        if code.cleared[at]:
            fill_lanes(self.state_adjoint + at * stride, 0.0, lanes)
    for at in range(code.inputs):
        if code.given[at].active and code.given[at].argument < 0:
            if outer.table[operands.left + code.given[at].offset + step] < 0:
                adjoint = outer.table[operands.left_adjoint + code.given[at].offset + step]
                if adjoint >= 0:
                    outer.accumulators[adjoint] += sum_lanes(self.input_adjoint + at * stride, lanes)
    return True


cdef void backward_loop(const Instruction *i, const Block *outer) noexcept nogil:
    cdef LoopState *self = &outer.loops[i.right]
    cdef const LoopCode *code = self.code
    cdef const Wide *operands = &outer.wides[code.operands]
    cdef Py_ssize_t stride = outer.stride, segments = (code.steps - 1) // self.segment + 1
    cdef Py_ssize_t segment, first, end, step, at, since = 0
    cdef int32_t adjoint
    enter_loop(self, outer)
    begin_gradients(self, outer)
    if code.nested and not go_forward(self, outer):
        return
    for segment in range(segments - 1, -1, -1):
        first = segment * self.segment
        end = min(first + self.segment, code.steps)
        if self.filled != segment:
            memcpy(
                self.state, self.kept + segment * code.states * stride,
                code.states * stride * sizeof(double),
            )
            if not run_steps(self, outer, first, end, False, first):
                return
            self.filled = segment
        for step in range(end - 1, first - 1, -1):
            since += code.backward_count + 1
            if since > STRETCH:
                since = 0
                if interrupted(self.worker):
                    return
            if not step_back(self, outer, step, step - first):
                return
        if not code.repeats:
            # The gradients have taken the place of values.
            self.filled = -1
    for at in range(code.states):
        adjoint = outer.table[operands.left_adjoint + at]
        if adjoint < 0:
            continue
        if outer.table[operands.left + at] >= 0:
            add_lanes(register_of(outer, adjoint), self.state_adjoint + at * stride, outer.lanes)
        else:
            outer.accumulators[adjoint] += sum_lanes(self.state_adjoint + at * stride, outer.lanes)
    for at in range(code.makes):
        if code.made_active[at]:
            memset(self.made_adjoint + at * code.steps * stride, 0, code.steps * stride * sizeof(double))


cdef inline Py_ssize_t fewest_steps(const LoopCode *code) noexcept nogil:
    """The steps of a segment for which a loop needs the least memory: about the square root of all steps."""
    return min(code.steps, <Py_ssize_t>sqrt(code.steps * (<double>code.states / max(code.registers, 1))) + 1)


cdef Py_ssize_t segment_of(const LoopCode *code, Py_ssize_t stride) noexcept:
    """The steps of a segment: the more the cache has room for, the fewer are run again."""
    cdef Py_ssize_t room = LOOP_BYTES if stride > 1 or code.nested else LOOP_BYTES_OF_ONE_ROW
    if not code.differentiates:
        return 1
    room //= 8 * stride * max(code.registers, 1)
    return min(max(fewest_steps(code), room), code.steps)


cdef Py_ssize_t numbers_of_loop(const LoopCode *code, Py_ssize_t segment) noexcept nogil:
    """The numbers that a loop needs for each lane, beside those outside of it."""
    cdef Py_ssize_t count = segment * code.registers + 2 * code.states + code.inputs, at
    if code.differentiates:
        count += ((code.steps - 1) // segment + 1) * code.states
    for at in range(code.makes):
        if code.made_active[at]:
            count += code.steps
    return count


cdef int add_loops(Workspace self, Plan plan, Worker *worker) except -1:
    """Room for the loops of one thread."""
    cdef LoopPlan loop
    cdef LoopState *state
    cdef const LoopCode *code
    cdef Py_ssize_t number, at, stride = self.stride
    worker.block.loops = <LoopState *>self.room(len(plan.all_loops), sizeof(LoopState))
    worker.block.forward_loop, worker.block.backward_loop = forward_loop, backward_loop
    for number in range(len(plan.all_loops)):
        loop = plan.all_loops[number]
        code, state = &loop.code, &worker.block.loops[number]
        state.code, state.worker, state.filled = code, worker, -1
        state.segment = segment_of(code, stride)
        state.frames = self.numbers(state.segment * code.registers * stride)
        state.kept = self.numbers(
            ((code.steps - 1) // state.segment + 1) * code.states * stride if code.differentiates else 0
        )
        state.state = self.numbers(code.states * stride)
        state.state_adjoint = self.numbers(code.states * stride)
        state.input_adjoint = self.numbers(code.inputs * stride)
        state.made_adjoint = NULL
        for at in range(code.makes):
            if code.made_active[at] and state.made_adjoint == NULL:
                state.made_adjoint = self.numbers(code.makes * code.steps * stride)
        state.targets = <double **>self.room(2 * (code.states + code.makes), sizeof(double *))
        state.target_adjoints = state.targets + code.states + code.makes
        for at in range(code.states):
            state.targets[at] = state.state + at * stride
            state.target_adjoints[at] = state.state_adjoint + at * stride
        state.block = worker.block
        state.block.stride = stride
        state.block.table, state.block.wides = code.table, code.wides
        state.block.targets, state.block.target_adjoints = state.targets, state.target_adjoints
        state.block.uniform, state.block.packed = self.loop_uniform[number], self.loop_packed[number]
    return 0


cdef int prepare_loops(Workspace self, Plan plan) except -1:
    """Room for the uniform numbers of all loops, and the gradients of these."""
    cdef LoopPlan loop
    cdef Plan body
    cdef LoopOnce *once
    cdef Py_ssize_t number
    self.loop_uniform = <double **>self.room(len(plan.all_loops), sizeof(double *))
    self.loop_packed = <double **>self.room(len(plan.all_loops), sizeof(double *))
    self.loops_once = <LoopOnce *>self.room(len(plan.all_loops), sizeof(LoopOnce))
    self.loop_count = len(plan.all_loops)
    for number in range(self.loop_count):
        loop = plan.all_loops[number]
        body, once = loop.body, &self.loops_once[number]
        once.code = &loop.code
        once.once, once.once_count = body.once, body.once_count
        once.once_back, once.once_back_count = body.once_back, body.once_back_count
        once.initial, once.uniforms = body.initial, body.uniforms
        once.accumulated, once.accumulators = body.accumulated, body.accumulators
        once.packed_from, once.packed = body.packed_from, body.packed
        self.loop_uniform[number] = self.numbers(2 * loop.body.uniforms)
        self.loop_packed[number] = self.numbers(loop.body.packed)
    return 0


cdef void run_loops_once(Workspace self, Block *block) noexcept nogil:
    """Compute what is the same in all rows and all steps of each loop; outer loops come before inner ones."""
    cdef const LoopCode *code
    cdef const LoopOnce *once
    cdef const double *outside
    cdef double *uniform
    cdef Py_ssize_t number, at
    for number in range(self.loop_count):
        code, once = self.loops_once[number].code, &self.loops_once[number]
        uniform = self.loop_uniform[number]
        outside = self.uniform if code.parent < 0 else self.loop_uniform[code.parent]
        memcpy(uniform, once.initial, once.uniforms * sizeof(double))
        for at in range(code.outside):
            if code.uniform[at] >= 0:
                uniform[at] = outside[code.uniform[at]]
        block.registers = block.uniform = uniform
        block.table, block.wides = code.table, code.wides
        kernels.forward_one(once.once, once.once_count, block)
        for at in range(once.packed):
            self.loop_packed[number][at] = uniform[once.packed_from[at]]


cdef void collect_loops(Workspace self, Block *block, const double *total) noexcept nogil:
    """Pass the gradients of the uniform numbers of loops on to those outside; inner loops come first."""
    cdef const LoopCode *code
    cdef const LoopOnce *once
    cdef double *gradient
    cdef double *outside
    cdef Py_ssize_t number, at
    for number in range(self.loop_count):
        code, once = self.loops_once[number].code, &self.loops_once[number]
        gradient = self.loop_uniform[number] + once.uniforms
        memset(gradient, 0, once.uniforms * sizeof(double))
        for at in range(once.accumulators):
            gradient[once.accumulated[at]] += total[code.accumulators + at]
    for number in range(self.loop_count - 1, -1, -1):
        code, once = self.loops_once[number].code, &self.loops_once[number]
        gradient = self.loop_uniform[number] + once.uniforms
        outside = self.gradient
        if code.parent >= 0:
            outside = self.loop_uniform[code.parent] + self.loops_once[code.parent].uniforms
        block.registers = block.uniform = self.loop_uniform[number]
        block.table, block.wides = code.table, code.wides
        kernels.backward_one(once.once_back, once.once_back_count, block)
        for at in range(code.outside):
            if code.uniform[at] >= 0:
                outside[code.uniform[at]] += gradient[at]
