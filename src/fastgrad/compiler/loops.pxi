# The loops of a program: how each runs, what memory it needs, and which of its numbers are made once a batch.

cdef void forward_loop(const Instruction *i, const Block *outer) noexcept nogil:
    cdef LoopState *self = &outer.loops[i.right]
    cdef bint whole
    if self.code.over_steps:
        enter_over_steps(self, outer)
        whole = forward_over_steps(self, outer)
    else:
        enter_by_rows(self, outer)
        whole = forward_by_rows(self, outer)
    if whole:
        end_state(self, outer)


cdef void backward_loop(const Instruction *i, const Block *outer) noexcept nogil:
    cdef LoopState *self = &outer.loops[i.right]
    if self.code.over_steps:
        enter_over_steps(self, outer)
        back_over_steps(self, outer)
    else:
        enter_by_rows(self, outer)
        back_by_rows(self, outer)


cdef inline const LoopCode *code_of(LoopPlan loop, Py_ssize_t stride) noexcept:
    """How a loop runs in blocks of this stride: a block of one row may have steps as lanes."""
    return &loop.code_over_steps if stride == 1 and loop.over_steps is not None else &loop.code


cdef inline Py_ssize_t fewest_steps(const LoopCode *code) noexcept nogil:
    """The steps of a segment for which a loop needs the least memory: about the square root of all steps."""
    return min(code.steps, <Py_ssize_t>sqrt(code.steps * (<double>code.states / max(code.registers, 1))) + 1)


cdef Py_ssize_t segment_of(const LoopCode *code, Py_ssize_t stride) noexcept:
    """The steps of a segment: as many as the cache has room for, as fewer then run again."""
    cdef Py_ssize_t room = LOOP_BYTES if stride > 1 or code.nested else LOOP_BYTES_OF_ONE_ROW
    if code.over_steps:
        room = LOOP_BYTES_OVER_STEPS // (8 * STEP_STRIDE * max(code.registers, 1))
        return min(max(room, <Py_ssize_t>1), chunks_of(code)) if code.differentiates else 1
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
    cdef Py_ssize_t number, at, stride = self.stride, lanes, frames, segments
    worker.block.loops = <LoopState *>self.room(len(plan.all_loops), sizeof(LoopState))
    worker.block.forward_loop, worker.block.backward_loop = forward_loop, backward_loop
    for number in range(len(plan.all_loops)):
        loop = plan.all_loops[number]
        code, state = code_of(loop, stride), &worker.block.loops[number]
        state.code, state.worker, state.filled = code, worker, -1
        state.segment = segment_of(code, stride)
        lanes, frames, segments = stride, state.segment, (code.steps - 1) // state.segment + 1
        if code.over_steps:
            lanes, frames, segments = STEP_STRIDE, state.segment + 1, chunks_of(code)
        state.frames = self.numbers(frames * code.registers * lanes)
        state.kept = self.numbers(segments * code.states * stride if code.differentiates else 0)
        state.state = self.numbers(code.states * stride)
        state.state_adjoint = self.numbers(code.states * stride)
        state.input_adjoint = self.numbers(code.inputs * lanes)
        state.elements = self.numbers(code.inputs * lanes if code.over_steps else 0)
        if code.over_steps:
            state.history = self.numbers(code.stepwise_count * (steps_of_history(code) + 1))
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
        state.block.stride = lanes
        if code.over_steps:
            state.block.scratch = self.numbers(lanes)
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
        once = &self.loops_once[number]
        once.code = code_of(loop, self.stride)
        body = loop.over_steps if once.code.over_steps else loop.body
        once.once, once.once_count = body.once, body.once_count
        once.once_back, once.once_back_count = body.once_back, body.once_back_count
        once.initial, once.uniforms = body.initial, body.uniforms
        once.accumulated, once.accumulators = body.accumulated, body.accumulators
        once.packed_from, once.packed = body.packed_from, body.packed
        self.loop_uniform[number] = self.numbers(2 * body.uniforms)
        self.loop_packed[number] = self.numbers(body.packed)
    return 0


cdef void run_loops_once(Workspace self, Block *block) noexcept nogil:
    """Compute what is the same in all rows and steps of a loop, for outer loops before those within them."""
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
    """Pass gradients of loops' uniform numbers on to those outside, for outer loops after those within."""
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
