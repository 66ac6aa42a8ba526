# What the two ways to run a loop share: its numbers, and how they meet those around the loop.
#
# What a step is given reaches it through arguments: each state, each number from outside that varies by row,
# each input, and what other loops have made. Their addresses are set before each step.

cdef struct LoopState:
    const LoopCode *code
    Worker *worker
    # The block of the step.
    Block block
    # Steps of a segment; of a loop over steps, the chunks of which the registers are kept.
    Py_ssize_t segment
    # The registers of each step of a segment.
    double *frames
    # The segment whose values the frames have, or -1; of a loop over steps, the first chunk.
    Py_ssize_t filled
    # The state at the beginning of each segment, of this step, and its gradient.
    double *kept
    double *state
    double *state_adjoint
    # Of a loop over steps: the numbers of inputs that are lists, and the state before each step.
    double *elements
    double *history
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


cdef inline double *lanes_or_null(const Block *block, int32_t place) noexcept nogil:
    return NULL if place < 0 else register_of(block, place)


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


cdef void begin_state(LoopState *self, const Block *outer) noexcept nogil:
    """Set the state to the first one."""
    cdef const LoopCode *code = self.code
    cdef const Wide *operands = &outer.wides[code.operands]
    cdef Py_ssize_t at
    cdef int32_t place
    for at in range(code.states):
        place = outer.table[operands.left + at]
        if place >= 0:
            copy_lanes(self.state + at * outer.stride, register_of(outer, place), outer.lanes)
        else:
            fill_lanes(self.state + at * outer.stride, outer.uniform[~place], outer.lanes)


cdef void end_state(LoopState *self, const Block *outer) noexcept nogil:
    """Hand the last state to the program around the loop."""
    cdef const LoopCode *code = self.code
    cdef Py_ssize_t at
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


cdef void end_gradients(LoopState *self, const Block *outer) noexcept nogil:
    """Add the gradient of the first state to that of the operands, and forget that of what the loop made."""
    cdef const LoopCode *code = self.code
    cdef const Wide *operands = &outer.wides[code.operands]
    cdef Py_ssize_t stride = outer.stride, at
    cdef int32_t adjoint
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
