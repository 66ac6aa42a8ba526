# Loops over rows: the lanes are rows, and a step's instructions run again and again on the same block.
#
# On the way forward a loop keeps its state at the beginning of every segment of steps. On the way back it
# takes the segments from the last to the first. It runs the steps of a segment forward, each with its own
# registers, and then back. A loop within the step of another keeps nothing: before its way back it runs
# forward once more.

cdef void enter_by_rows(LoopState *self, const Block *outer) noexcept nogil:
    """Take over the rows of the block outside; arguments stand for the state and for numbers from outside."""
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


cdef void aim_outputs(LoopState *self, const Block *outer, Py_ssize_t step) noexcept nogil:
    """Where a step puts what it makes; the next state always has the same place."""
    cdef const LoopCode *code = self.code
    cdef Py_ssize_t at
    for at in range(code.makes):
        if code.made[at] >= 0:
            self.targets[code.states + at] = register_of(outer, code.made[at] + step)


cdef bint run_steps(
    LoopState *self, const Block *outer, Py_ssize_t first, Py_ssize_t end, bint again, Py_ssize_t framed
) noexcept nogil:
    """Run steps forward; return whether all of them were.

    again: whether they ran before, and now compute only what the way back reads. Else they keep the state at
    the beginning of each segment, if there is a way back. framed: from this step on, each has its own
    registers.
    """
    cdef const LoopCode *code = self.code
    cdef const Instruction *instructions = code.again if again else code.forward
    cdef Py_ssize_t count = code.again_count if again else code.forward_count
    cdef bint keep = code.differentiates and not again
    cdef Py_ssize_t stride = self.block.stride, step, since = 0
    cdef Py_ssize_t frame = code.registers * stride
    for step in range(first, end):
        since += count + 1
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
        if not run_stretches(self.worker, self.worker.job.run_forward, instructions, count, &self.block):
            return False
    return True


cdef bint forward_by_rows(LoopState *self, const Block *outer) noexcept nogil:
    """Run all steps from the first state; keep what the way back needs, and the last segment's values."""
    cdef const LoopCode *code = self.code
    cdef Py_ssize_t last = code.steps
    begin_state(self, outer)
    if code.differentiates:
        last = (code.steps - 1) // self.segment * self.segment
        self.filled = last // self.segment
    return run_steps(self, outer, 0, code.steps, False, last)


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


cdef void back_by_rows(LoopState *self, const Block *outer) noexcept nogil:
    """Run all steps back, from the last segment to the first."""
    cdef const LoopCode *code = self.code
    cdef Py_ssize_t stride = outer.stride, segments = (code.steps - 1) // self.segment + 1
    cdef Py_ssize_t segment, first, end, step, since = 0
    begin_gradients(self, outer)
    if code.nested and not forward_by_rows(self, outer):
        return
    for segment in range(segments - 1, -1, -1):
        first = segment * self.segment
        end = min(first + self.segment, code.steps)
        if self.filled != segment:
            memcpy(
                self.state, self.kept + segment * code.states * stride,
                code.states * stride * sizeof(double),
            )
            if not run_steps(self, outer, first, end, True, first):
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
    end_gradients(self, outer)
