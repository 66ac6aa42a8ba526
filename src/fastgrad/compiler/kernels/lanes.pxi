# The instructions of opcodes.py over lanes: moving numbers, and sums of products.

cdef extern from "vector_math.h" nogil:
    double sum_of "fg_sum"(const double *, Py_ssize_t) noexcept
    double dot_of "fg_dot"(const double *, const double *, Py_ssize_t) noexcept
    void matrix "fg_matrix"(
        Py_ssize_t, Py_ssize_t, const double *, const double *, const int32_t *, bint,
        double **, double **, Py_ssize_t
    ) noexcept
    void add_sums "fg_sums"(Py_ssize_t, double *, double **, Py_ssize_t) noexcept
    void matrix_one "fg_matrix_one"(
        Py_ssize_t, Py_ssize_t, const double *, const double *, double *, const double *
    ) noexcept
    double fma "fg_fma"(double, double, double)
    void outer_one "fg_outer_one"(Py_ssize_t, Py_ssize_t, double *, const double *, const double *) noexcept
    void gather "fg_gather"(Py_ssize_t, double *, const double *, const int32_t *) noexcept
    void gather_added "fg_gather_added"(
        Py_ssize_t, double *, const double *, const int32_t *, const int32_t *
    ) noexcept
    void scatter "fg_scatter"(Py_ssize_t, double *, const int32_t *, const double *) noexcept
    void outer "fg_outer"(Py_ssize_t, Py_ssize_t, double *, double **, double **, Py_ssize_t) noexcept
    void rows_to_lanes "fg_rows_to_lanes"(
        int, double **, const char *, Py_ssize_t step, Py_ssize_t lanes
    ) noexcept
    void lanes_to_rows "fg_lanes_to_rows"(
        int, char *, Py_ssize_t step, double **, Py_ssize_t lanes
    ) noexcept
    unsigned int flush_tiny "fg_flush_tiny"() noexcept
    void keep_tiny "fg_keep_tiny"(unsigned int) noexcept


cdef inline double *lanes_of(const Block *block, int32_t number) noexcept nogil:
    return block.registers + number * block.stride


cdef inline void fill(lane out, double number, Py_ssize_t lanes) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(lanes):
        out[j] = number


cdef inline void give(
    const Block *block, int32_t adjoint, bint fresh, const_lane amount, Py_ssize_t lanes
) noexcept nogil:
    """Add lanes to an adjoint."""
    cdef lane target = lanes_of(block, adjoint)
    cdef Py_ssize_t j
    if fresh:
        for j in range(lanes):
            target[j] = amount[j]
    else:
        for j in range(lanes):
            target[j] += amount[j]


cdef inline void give_product(
    const Block *block, int32_t adjoint, bint fresh, const_lane a, const_lane b, Py_ssize_t lanes
) noexcept nogil:
    """Add a product of lanes to an adjoint."""
    cdef lane target = lanes_of(block, adjoint)
    cdef Py_ssize_t j
    if fresh:
        for j in range(lanes):
            target[j] = a[j] * b[j]
    else:
        for j in range(lanes):
            target[j] += a[j] * b[j]


cdef void backward_nothing(const Instruction *i, const Block *block) noexcept nogil:
    """The way back of an operation whose derivatives are 0 everywhere."""
    if i.left_adjoint >= 0 and i.fresh & FRESH_LEFT:
        fill(lanes_of(block, i.left_adjoint), 0.0, block.lanes)
    if i.right_adjoint >= 0 and i.fresh & FRESH_RIGHT:
        fill(lanes_of(block, i.right_adjoint), 0.0, block.lanes)


# -- numbers from outside and to it --------------------------------------------------------------


cdef inline void load_column(const Instruction *i, const Block *block) noexcept nogil:
    """out = argument `left`, column `right`."""
    cdef const Argument *argument = &block.arguments[i.left]
    cdef lane out = lanes_of(block, i.out)
    cdef const char *data = argument.data + block.row * argument.row_step + i.right * argument.column_step
    cdef Py_ssize_t step = argument.row_step
    cdef Py_ssize_t j
    if argument.kind == REALS:
        if step == sizeof(double):
            for j in range(block.lanes):
                out[j] = (<const double *>data)[j]
        else:
            for j in range(block.lanes):
                out[j] = (<const double *>(data + j * step))[0]
    else:
        for j in range(block.lanes):
            out[j] = <double>(<const int64_t *>(data + j * step))[0]


cdef inline const double *given(const Instruction *i, const Block *block, int32_t k) noexcept nogil:
    """Where member k of a bundle is loaded from: columns side by side, or arguments."""
    cdef const Argument *argument = &block.arguments[i.left + (0 if i.third else k)]
    cdef Py_ssize_t column = i.right + (k if i.third else 0)
    return <const double *>(
        argument.data + block.row * argument.row_step + column * argument.column_step
    )


cdef inline bint is_real(const Instruction *i, const Block *block, int32_t k) noexcept nogil:
    return block.arguments[i.left + (0 if i.third else k)].kind == REALS


cdef inline double *given_back(const Instruction *i, const Block *block, int32_t k) noexcept nogil:
    """Where its gradient goes."""
    cdef const Argument *argument = &block.arguments[i.left + (0 if i.third else k)]
    cdef Py_ssize_t column = i.right + (k if i.third else 0)
    return argument.gradient + block.row * argument.gradient_row_step + column * argument.gradient_column_step


cdef void load_members(const Instruction *i, const Block *block) noexcept nogil:
    """Mostly they lie side by side. Single numbers would wait in the store buffer to be read as vectors."""
    cdef double *out = block.registers + i.out
    cdef const double *first = given(i, block, 0)
    cdef bint adjacent = True
    cdef int32_t k
    for k in range(i.members):
        adjacent = adjacent and is_real(i, block, k) and given(i, block, k) == first + k
    if adjacent:
        for k in range(i.members):
            out[k] = first[k]
        return
    for k in range(i.members):
        if is_real(i, block, k):
            out[k] = given(i, block, k)[0]
        else:
            out[k] = <double>(<const int64_t *>given(i, block, k))[0]


cdef void load_members_back(const Instruction *i, const Block *block) noexcept nogil:
    cdef const double *g = block.registers + i.out_adjoint
    cdef double *out = given_back(i, block, 0)
    cdef bint adjacent = True
    cdef int32_t k
    for k in range(i.members):
        adjacent = adjacent and given_back(i, block, k) == out + k
    if adjacent and i.fresh & FRESH_LEFT:
        for k in range(i.members):
            out[k] = g[k]
    elif adjacent:
        for k in range(i.members):
            out[k] += g[k]
    else:
        for k in range(i.members):
            out = given_back(i, block, k)
            out[0] = g[k] if i.fresh & FRESH_LEFT else out[0] + g[k]


cdef void forward_load(const Instruction *i, const Block *block) noexcept nogil:
    """out = column, for this instruction and the others of its group; see group_moves in plan.pyx."""
    cdef const Argument *argument = &block.arguments[i.left]
    cdef const char *data
    cdef double *out[8]
    cdef int32_t k
    if i.members:
        load_members(i, block)
        return
    if i.third > 1 and argument.kind == REALS and argument.column_step == sizeof(double):
        for k in range(i.third):
            out[k] = lanes_of(block, i[k].out)
        data = argument.data + block.row * argument.row_step + i.right * <Py_ssize_t>sizeof(double)
        rows_to_lanes(i.third, out, data, argument.row_step, block.lanes)
    else:
        for k in range(i.third):
            load_column(&i[k], block)


cdef inline void store_gradient(const Instruction *i, const Block *block) noexcept nogil:
    cdef const Argument *argument = &block.arguments[i.left]
    cdef const double *g
    cdef double *out
    cdef Py_ssize_t step = argument.gradient_row_step
    cdef Py_ssize_t j
    if i.out_adjoint < 0:
        return  # no cover: whatever is loaded is used, and so has a gradient where one is wanted
    g = lanes_of(block, i.out_adjoint)
    out = argument.gradient + block.row * step + i.right * argument.gradient_column_step
    if i.fresh & FRESH_LEFT:
        for j in range(block.lanes):
            out[j * step] = g[j]
    else:
        for j in range(block.lanes):
            out[j * step] += g[j]


cdef void backward_load(const Instruction *i, const Block *block) noexcept nogil:
    """Add to an argument's gradient; the last column of a group comes first."""
    cdef const Argument *argument = &block.arguments[i.left]
    cdef double *out
    cdef double *g[8]
    cdef int32_t k
    if i.members:
        load_members_back(i, block)
        return
    if i.third > 1 and argument.gradient_column_step == 1:
        for k in range(i.third):
            g[i.third - 1 - k] = lanes_of(block, i[k].out_adjoint)
        out = argument.gradient + block.row * argument.gradient_row_step + i.right - (i.third - 1)
        lanes_to_rows(
            i.third, <char *>out, argument.gradient_row_step * <Py_ssize_t>sizeof(double), g, block.lanes
        )
    else:
        for k in range(i.third):
            store_gradient(&i[k], block)


cdef inline void put_output(const Instruction *i, const Block *block) noexcept nogil:
    """Result `right` = left, in its place."""
    cdef const double *value
    cdef char *out
    cdef Py_ssize_t step
    cdef Py_ssize_t j
    if i.left >= 0:
        value = lanes_of(block, i.left)
    else:
        fill(block.scratch, block.uniform[~i.left], block.lanes)
        value = block.scratch
    step = block.places[i.right].row_step
    out = block.places[i.right].data + block.row * step
    if step == sizeof(double):
        for j in range(block.lanes):
            (<double *>out)[j] = value[j]
    else:
        for j in range(block.lanes):
            (<double *>(out + j * step))[0] = value[j]


cdef void forward_output(const Instruction *i, const Block *block) noexcept nogil:
    """Put results where the caller wants them, or add one to the accumulator of the same number."""
    cdef const Place *place
    cdef double *value[8]
    cdef int32_t k = 0, first
    if block.places == NULL:
        if i.left >= 0:
            block.accumulators[i.right] += sum_of(lanes_of(block, i.left), block.lanes)
        else:
            fill(block.scratch, block.uniform[~i.left], block.lanes)
            block.accumulators[i.right] += sum_of(block.scratch, block.lanes)
        return
    while k < i.third:
        # A run of results that lie side by side.
        first = k
        place = &block.places[i[first].right]
        while k < i.third and place[k - first].row_step == place.row_step and (
            place[k - first].data == place.data + (k - first) * <Py_ssize_t>sizeof(double)
        ):
            value[k - first] = lanes_of(block, i[k].left)
            k += 1
        if k - first > 1:
            lanes_to_rows(
                k - first, place.data + block.row * place.row_step, place.row_step, value, block.lanes
            )
        else:
            put_output(&i[first], block)


cdef void backward_output(const Instruction *i, const Block *block) noexcept nogil:
    cdef double seed = block.seeds[i.right]
    cdef double *target
    cdef Py_ssize_t j
    if i.left < 0:
        block.accumulators[i.left_adjoint] += seed * <double>block.lanes
        return
    target = lanes_of(block, i.left_adjoint)
    if i.fresh & FRESH_LEFT:
        fill(target, seed, block.lanes)
    else:
        for j in range(block.lanes):
            target[j] += seed


cdef void forward_broadcast(const Instruction *i, const Block *block) noexcept nogil:
    fill(lanes_of(block, i.out), block.uniform[~i.left], block.lanes)


cdef void backward_broadcast(const Instruction *i, const Block *block) noexcept nogil:
    if i.left_adjoint >= 0:
        block.accumulators[i.left_adjoint] += sum_of(lanes_of(block, i.out_adjoint), block.lanes)


# -- bundles: of one row, registers side by side stand for lanes ---------------------------------


cdef void forward_gather(const Instruction *i, const Block *block) noexcept nogil:
    """The members = the operands of the list: single numbers, or uniform numbers in whole vectors."""
    cdef const Wide *wide = &block.wides[i.left]
    cdef const int32_t *places = block.table + wide.left
    cdef const_lane packed = block.packed + wide.packed
    cdef lane out = lanes_of(block, i.out)
    cdef Py_ssize_t k
    if wide.packed >= 0:
        for k in range(whole(wide.inputs)):
            out[k] = packed[k]
    else:
        for k in range(wide.inputs):
            out[k] = block.registers[places[k]] if places[k] >= 0 else block.uniform[~places[k]]


cdef void backward_gather(const Instruction *i, const Block *block) noexcept nogil:
    cdef const Wide *wide = &block.wides[i.left]
    cdef const int32_t *places = block.table + wide.left
    cdef const int32_t *adjoints = block.table + wide.left_adjoint
    cdef const int32_t *fresh = block.table + wide.fresh_left
    cdef const_lane g = lanes_of(block, i.out_adjoint)
    cdef double *r = block.registers
    cdef Py_ssize_t k
    if wide.packed >= 0:
        add_lanes(block.accumulators + wide.gradient, g, whole(wide.inputs))
        return
    for k in range(wide.inputs):
        if adjoints[k] < 0:
            continue
        if places[k] < 0:
            block.accumulators[adjoints[k]] += g[k]
        else:
            r[adjoints[k]] = g[k] if fresh[k] else r[adjoints[k]] + g[k]


cdef inline void add_lanes(lane out, const_lane amount, Py_ssize_t lanes) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(lanes):
        out[j] += amount[j]


cdef void forward_affine(const Instruction *i, const Block *block) noexcept nogil:
    """out = left * right + third, lists of uniform numbers in whole vectors."""
    cdef const_lane weight = block.packed + block.wides[i.right].packed
    cdef const_lane bias = block.packed + block.wides[i.third].packed
    cdef const_lane a = lanes_of(block, i.left)
    cdef lane out = lanes_of(block, i.out)
    cdef Py_ssize_t j
    for j in range(whole(block.lanes)):
        out[j] = weight[j] * a[j] + bias[j]


cdef void backward_affine(const Instruction *i, const Block *block) noexcept nogil:
    cdef const Wide *weights = &block.wides[i.right]
    cdef const Wide *biases = &block.wides[i.third]
    cdef const_lane g = lanes_of(block, i.out_adjoint)
    cdef const_lane a
    cdef lane gradient
    cdef Py_ssize_t lanes = whole(block.lanes), j
    if i.left_adjoint >= 0:
        give_product(
            block, i.left_adjoint, i.fresh & FRESH_LEFT, g, block.packed + weights.packed, lanes
        )
    if weights.gradient >= 0:
        a, gradient = lanes_of(block, i.left), block.accumulators + weights.gradient
        for j in range(lanes):
            gradient[j] += g[j] * a[j]
    if biases.gradient >= 0:
        add_lanes(block.accumulators + biases.gradient, g, lanes)


cdef void forward_clear(const Instruction *i, const Block *block) noexcept nogil:
    pass  # no cover: it is an instruction of the way back


cdef void backward_clear(const Instruction *i, const Block *block) noexcept nogil:
    """-0.0 changes no number that is added to it."""
    fill(lanes_of(block, i.left_adjoint), -0.0, whole(block.lanes))


# -- loops ---------------------------------------------------------------------------------------


cdef void forward_loop(const Instruction *i, const Block *block) noexcept nogil:
    block.forward_loop(i, block)


cdef void backward_loop(const Instruction *i, const Block *block) noexcept nogil:
    block.backward_loop(i, block)


cdef inline bint side_by_side(double **places, int32_t count) noexcept nogil:
    cdef bint adjacent = True
    cdef int32_t k
    for k in range(count):
        adjacent = adjacent and places[k] == places[0] + k
    return adjacent


cdef void store_members(const Instruction *i, const Block *block) noexcept nogil:
    cdef double **targets = &block.targets[i.right]
    cdef lane out = targets[0]
    cdef const_lane value = block.registers + i.left
    cdef int32_t k
    if side_by_side(targets, i.members):
        for k in range(i.members):
            out[k] = value[k]
    else:
        for k in range(i.members):
            targets[k][0] = value[k]


cdef void store_members_back(const Instruction *i, const Block *block) noexcept nogil:
    cdef double **targets = &block.target_adjoints[i.right]
    cdef const_lane g = targets[0]
    cdef lane target = block.registers + i.left_adjoint
    cdef bint fresh = i.fresh & FRESH_LEFT
    cdef int32_t k
    if side_by_side(targets, i.members):
        give(block, i.left_adjoint, fresh, g, i.members)
    else:
        for k in range(i.members):
            target[k] = targets[k][0] if fresh else target[k] + targets[k][0]


cdef void forward_store(const Instruction *i, const Block *block) noexcept nogil:
    """Output `right` of a loop's step = left."""
    cdef double *out = block.targets[i.right]
    cdef const double *value
    cdef Py_ssize_t j
    if i.members:
        store_members(i, block)
        return
    if i.left >= 0:
        value = lanes_of(block, i.left)
        for j in range(block.lanes):
            out[j] = value[j]
    else:
        fill(out, block.uniform[~i.left], block.lanes)


cdef void backward_store(const Instruction *i, const Block *block) noexcept nogil:
    cdef const double *g = block.target_adjoints[i.right]
    if i.members:
        store_members_back(i, block)
        return
    if i.left >= 0:
        give(block, i.left_adjoint, i.fresh & FRESH_LEFT, g, block.lanes)
    else:
        block.accumulators[i.left_adjoint] += sum_of(g, block.lanes)


# -- recurrences: lanes are steps of a loop, and each lane reads the state that the one before leaves -


cdef inline const double *numbers_of(
    const Block *block, int32_t operand, Py_ssize_t *step
) noexcept nogil:
    """The numbers of an operand, `step` apart: lanes, or a uniform number."""
    step[0] = operand >= 0
    if operand >= 0:
        return lanes_of(block, operand)
    return block.uniform + ~operand


cdef inline void give_any(
    const Block *block, int32_t operand, int32_t adjoint, bint fresh, const_lane amount
) noexcept nogil:
    """Add lanes to the adjoint of an operand, if that is wanted; all of them if it is a uniform number."""
    if adjoint < 0:
        return
    if operand >= 0:
        give(block, adjoint, fresh, amount, block.lanes)
    else:
        block.accumulators[adjoint] += sum_of(amount, block.lanes)


cdef void forward_recur(const Instruction *i, const Block *block) noexcept nogil:
    """out = the state before each step, state = left * state + right."""
    cdef double *state = block.targets[i.third]
    cdef double now = state[0]
    cdef lane out = lanes_of(block, i.out)
    cdef Py_ssize_t left_step, right_step, j
    cdef const double *left = numbers_of(block, i.left, &left_step)
    cdef const double *right = numbers_of(block, i.right, &right_step)
    if left_step == 0 and left[0] == 1.0:
        # A sum without a product takes half the time.
        for j in range(block.lanes):
            out[j] = now
            now = now + right[j * right_step]
    else:
        for j in range(block.lanes):
            out[j] = now
            now = left[j * left_step] * now + right[j * right_step]
    state[0] = now


cdef void backward_recur(const Instruction *i, const Block *block) noexcept nogil:
    cdef double *state = block.target_adjoints[i.third]
    cdef double g = state[0]
    cdef double *own = lanes_of(block, i.out_adjoint) if i.out_adjoint >= 0 else NULL
    cdef lane after = block.scratch
    cdef const_lane out = lanes_of(block, i.out)
    cdef Py_ssize_t step, j
    cdef const double *left = numbers_of(block, i.left, &step)
    if own == NULL:
        for j in range(block.lanes - 1, -1, -1):
            after[j] = g
            g = left[j * step] * g
    else:
        for j in range(block.lanes - 1, -1, -1):
            after[j] = g
            g = own[j] + left[j * step] * g
    state[0] = g
    give_any(block, i.right, i.right_adjoint, i.fresh & FRESH_RIGHT, after)
    if i.left_adjoint < 0:
        return
    if i.left >= 0:
        give_product(block, i.left_adjoint, i.fresh & FRESH_LEFT, after, out, block.lanes)
    else:
        block.accumulators[i.left_adjoint] += dot_of(after, out, block.lanes)


cdef void forward_evolve(const Instruction *i, const Block *block) noexcept nogil:
    """out = the state before each step: the states that steps leave, from one place earlier on."""
    cdef const double *before = block.targets[i.third] - block.lanes
    cdef lane out = lanes_of(block, i.out)
    cdef Py_ssize_t j
    for j in range(block.lanes):
        out[j] = before[j]


cdef void backward_evolve(const Instruction *i, const Block *block) noexcept nogil:
    backward_recur(i, block)


cdef void forward_delay(const Instruction *i, const Block *block) noexcept nogil:
    """out = the state before each step, state = left."""
    cdef double *state = block.targets[i.right]
    cdef lane out = lanes_of(block, i.out)
    cdef Py_ssize_t step, last = block.lanes - 1, j
    cdef const double *left = numbers_of(block, i.left, &step)
    out[0] = state[0]
    for j in range(last):
        out[j + 1] = left[j * step]
    state[0] = left[last * step]


cdef void backward_delay(const Instruction *i, const Block *block) noexcept nogil:
    cdef double *state = block.target_adjoints[i.right]
    cdef double *own = lanes_of(block, i.out_adjoint) if i.out_adjoint >= 0 else NULL
    cdef lane after = block.scratch
    cdef Py_ssize_t last = block.lanes - 1, j
    for j in range(last):
        after[j] = own[j + 1] if own != NULL else 0.0
    after[last] = state[0]
    state[0] = own[0] if own != NULL else 0.0
    give_any(block, i.left, i.left_adjoint, i.fresh & FRESH_LEFT, after)


# -- selection by an index -----------------------------------------------------------------------


cdef inline const char *indices(const Instruction *i, const Block *block) noexcept nogil:
    """The address of the first row's index."""
    cdef const Argument *argument = &block.arguments[i.right]
    return argument.data + block.row * argument.row_step + i.third * argument.column_step


cdef inline const int32_t *taken_by(const Wide *wide, const Block *block) noexcept nogil:
    """In a sparse call, the parameters that the rows of a block take."""
    if block.taken == NULL or wide.lookup < 0:
        return NULL
    return block.taken + wide.lookup * block.rows + block.row


cdef void forward_take(const Instruction *i, const Block *block) noexcept nogil:
    """out = operand number (argument `right`, column `third`) of the wide instruction."""
    cdef const Wide *wide = &block.wides[i.left]
    cdef const char *data = indices(i, block)
    cdef Py_ssize_t step = block.arguments[i.right].row_step
    cdef double *out = lanes_of(block, i.out)
    cdef const int32_t *taken = taken_by(wide, block)
    cdef int32_t operand
    cdef Py_ssize_t j
    for j in range(block.lanes):
        if taken != NULL and taken[j] >= 0:
            out[j] = block.taken_numbers[taken - block.taken + j]
            continue
        operand = block.table[wide.left + choice(data + j * step, wide.inputs)]
        out[j] = lanes_of(block, operand)[j] if operand >= 0 else block.uniform[~operand]


cdef void backward_take(const Instruction *i, const Block *block) noexcept nogil:
    cdef const Wide *wide = &block.wides[i.left]
    cdef const char *data = indices(i, block)
    cdef Py_ssize_t step = block.arguments[i.right].row_step
    cdef const double *g = lanes_of(block, i.out_adjoint)
    cdef const int32_t *taken = taken_by(wide, block)
    cdef int32_t adjoint
    cdef Py_ssize_t j, k, index
    for k in range(wide.inputs if wide.any_fresh else 0):
        if block.table[wide.fresh_left + k]:
            fill(lanes_of(block, block.table[wide.left_adjoint + k]), 0.0, block.lanes)
    for j in range(block.lanes):
        if taken != NULL and taken[j] >= 0:
            if block.taken_gradients != NULL:
                block.taken_gradients[taken - block.taken + j] = g[j]
            continue
        index = choice(data + j * step, wide.inputs)
        adjoint = block.table[wide.left_adjoint + index]
        if adjoint < 0:
            continue
        if block.table[wide.left + index] >= 0:
            lanes_of(block, adjoint)[j] += g[j]
        else:
            block.accumulators[adjoint] += g[j]


# -- derivatives that are given ------------------------------------------------------------------


cdef void forward_local(const Instruction *i, const Block *block) noexcept nogil:
    """out = third."""
    cdef const_lane a
    cdef lane out = lanes_of(block, i.out)
    cdef Py_ssize_t j
    if i.third < 0:
        fill(out, block.uniform[~i.third], block.lanes)
        return
    a = lanes_of(block, i.third)
    for j in range(block.lanes):
        out[j] = a[j]


cdef void backward_local(const Instruction *i, const Block *block) noexcept nogil:
    """For each of left: its gradient += its derivative, which stands beside it in right, * that of out."""
    cdef const Wide *wide = &block.wides[i.left]
    cdef const double *g = lanes_of(block, i.out_adjoint)
    cdef const int32_t *table = block.table
    cdef const double *derivative
    cdef int32_t adjoint
    cdef Py_ssize_t k
    for k in range(wide.inputs):
        adjoint = table[wide.left_adjoint + k]
        if table[wide.right + k] >= 0:
            derivative = lanes_of(block, table[wide.right + k])
        else:
            fill(block.scratch, block.uniform[~table[wide.right + k]], block.lanes)
            derivative = block.scratch
        if table[wide.left + k] >= 0:
            give_product(block, adjoint, table[wide.fresh_left + k], g, derivative, block.lanes)
        else:
            block.accumulators[adjoint] += dot_of(g, derivative, block.lanes)


# -- powers --------------------------------------------------------------------------------------


cdef inline void multiply_out(lane out, const_lane a, int exponent, Py_ssize_t lanes) noexcept nogil:
    """out = a ** exponent, at least 2: a square for each binary digit after the first, and * a for a 1."""
    cdef int digit = 1
    cdef Py_ssize_t j
    while 4 * digit <= exponent:
        digit *= 2
    if exponent & digit:
        for j in range(lanes):
            out[j] = a[j] * a[j] * a[j]
    else:
        for j in range(lanes):
            out[j] = a[j] * a[j]
    while digit > 1:
        digit >>= 1
        if exponent & digit:
            for j in range(lanes):
                out[j] = out[j] * out[j] * a[j]
        else:
            for j in range(lanes):
                out[j] = out[j] * out[j]


cdef void forward_power(const Instruction *i, const Block *block) noexcept nogil:
    """out = left ** uniform right, a whole number."""
    cdef const_lane a = lanes_of(block, i.left)
    cdef lane inverse = block.scratch
    cdef int exponent = <int>block.uniform[~i.right]
    cdef Py_ssize_t lanes = whole(block.lanes), j
    if exponent > 0:
        multiply_out(lanes_of(block, i.out), a, exponent, lanes)
        return
    # Powers of 1 / a, not 1 / a power: that may be infinite where the result is not 0 yet.
    for j in range(lanes):
        inverse[j] = 1.0 / a[j]
    multiply_out(lanes_of(block, i.out), inverse, -exponent, lanes)


cdef void backward_power(const Instruction *i, const Block *block) noexcept nogil:
    cdef const_lane a = lanes_of(block, i.left)
    cdef const_lane out = lanes_of(block, i.out)
    cdef const_lane g = lanes_of(block, i.out_adjoint)
    cdef lane less = block.scratch
    cdef lane target = lanes_of(block, i.left_adjoint)
    cdef double exponent = block.uniform[~i.right]
    cdef Py_ssize_t lanes = whole(block.lanes), j
    # a ** (exponent - 1).
    if exponent > 0.0:
        multiply_out(less, a, <int>exponent - 1, lanes)
    else:
        for j in range(lanes):
            less[j] = out[j] / a[j]
    if i.fresh & FRESH_LEFT:
        for j in range(lanes):
            target[j] = exponent * less[j] * g[j]
    else:
        for j in range(lanes):
            target[j] += exponent * less[j] * g[j]


# -- sums of products ----------------------------------------------------------------------------


cdef void forward_multiply_add(const Instruction *i, const Block *block) noexcept nogil:
    """out = left * uniform right + uniform third."""
    cdef const_lane a = lanes_of(block, i.left)
    cdef lane out = lanes_of(block, i.out)
    cdef double weight = block.uniform[~i.right]
    cdef double bias = block.uniform[~i.third]
    cdef Py_ssize_t j
    for j in range(whole(block.lanes)):
        out[j] = weight * a[j] + bias


cdef void backward_multiply_add(const Instruction *i, const Block *block) noexcept nogil:
    cdef const_lane g = lanes_of(block, i.out_adjoint)
    cdef lane target
    cdef double weight = block.uniform[~i.right]
    cdef Py_ssize_t j
    if i.left_adjoint >= 0:
        target = lanes_of(block, i.left_adjoint)
        if i.fresh & FRESH_LEFT:
            for j in range(whole(block.lanes)):
                target[j] = weight * g[j]
        else:
            for j in range(whole(block.lanes)):
                target[j] += weight * g[j]
    if i.right_adjoint >= 0:
        block.accumulators[i.right_adjoint] += dot_of(g, lanes_of(block, i.left), block.lanes)
    if i.third_adjoint >= 0:
        block.accumulators[i.third_adjoint] += sum_of(g, block.lanes)


cdef void forward_inner(const Instruction *i, const Block *block) noexcept nogil:
    """out = third + sum of left * right."""
    cdef const Wide *wide = &block.wides[i.left]
    cdef lane out = lanes_of(block, i.out)
    cdef const_lane a
    cdef const_lane b
    cdef const_lane c
    cdef const_lane d
    cdef Py_ssize_t lanes = whole(block.lanes), j, k = 0
    if i.third >= 0:
        a = lanes_of(block, i.third)
        for j in range(lanes):
            out[j] = a[j]
    else:
        fill(out, block.uniform[~i.third], lanes)
    while k + 2 <= wide.inputs:
        a, b = lanes_of(block, block.table[wide.left + k]), lanes_of(block, block.table[wide.right + k])
        c = lanes_of(block, block.table[wide.left + k + 1])
        d = lanes_of(block, block.table[wide.right + k + 1])
        for j in range(lanes):
            out[j] += a[j] * b[j] + c[j] * d[j]
        k += 2
    if k < wide.inputs:
        a, b = lanes_of(block, block.table[wide.left + k]), lanes_of(block, block.table[wide.right + k])
        for j in range(lanes):
            out[j] += a[j] * b[j]


cdef void backward_inner(const Instruction *i, const Block *block) noexcept nogil:
    # In the order of the fields: the first contribution to a gradient is stored, others are added.
    cdef const Wide *wide = &block.wides[i.left]
    cdef const double *g = lanes_of(block, i.out_adjoint)
    cdef const int32_t *table = block.table
    cdef Py_ssize_t lanes = whole(block.lanes), k
    for k in range(wide.inputs):
        if table[wide.left_adjoint + k] >= 0:
            give_product(
                block, table[wide.left_adjoint + k], table[wide.fresh_left + k],
                g, lanes_of(block, table[wide.right + k]), lanes,
            )
        if table[wide.right_adjoint + k] >= 0:
            give_product(
                block, table[wide.right_adjoint + k], table[wide.fresh_right + k],
                g, lanes_of(block, table[wide.left + k]), lanes,
            )
    if i.third_adjoint >= 0:
        if i.third >= 0:
            give(block, i.third_adjoint, i.fresh & FRESH_THIRD, g, lanes)
        else:
            block.accumulators[i.third_adjoint] += sum_of(g, block.lanes)


cdef void forward_matrix(const Instruction *i, const Block *block) noexcept nogil:
    """out_j = activation(bias_j + sum over k of weight_jk * left_k), with uniform weights."""
    cdef const Wide *wide = &block.wides[i.left]
    cdef const double *bias = block.packed + wide.packed
    cdef Py_ssize_t k
    for k in range(wide.inputs):
        block.first_pointers[k] = lanes_of(block, block.table[wide.left + k])
    for k in range(wide.outputs):
        block.second_pointers[k] = lanes_of(block, block.table[wide.out + k])
    matrix(
        wide.outputs, wide.inputs, bias + wide.outputs, bias, NULL, is_fused(wide.activation),
        block.second_pointers, block.first_pointers, block.lanes,
    )
    if wide.activation and not is_fused(wide.activation):
        activate(wide.activation, block.second_pointers, wide.outputs, whole(block.lanes))


cdef void backward_matrix(const Instruction *i, const Block *block) noexcept nogil:
    cdef const Wide *wide = &block.wides[i.left]
    cdef double *gradient = block.accumulators + wide.gradient
    cdef unsigned int mode = flush_tiny()
    cdef Py_ssize_t k
    for k in range(wide.outputs):
        block.second_pointers[k] = lanes_of(block, block.table[wide.out_adjoint + k])
    if wide.activation:
        # No other instruction reads these gradients, so those of the sums may take their place.
        for k in range(wide.outputs):
            block.first_pointers[k] = lanes_of(block, block.table[wide.out + k])
        pull(
            wide.activation, block.second_pointers, block.first_pointers, wide.outputs, whole(block.lanes)
        )
    if wide.gradient >= 0:
        add_sums(wide.outputs, gradient, block.second_pointers, block.lanes)
    if wide.gradient >= 0 and wide.fresh_right:
        for k in range(wide.inputs):
            block.first_pointers[k] = lanes_of(block, block.table[wide.left + k])
        outer(
            wide.outputs, wide.inputs, gradient + wide.outputs,
            block.second_pointers, block.first_pointers, block.lanes,
        )
    if wide.transposed >= 0:
        # The operands whose gradient is wanted are listed first.
        for k in range(wide.active):
            block.first_pointers[k] = lanes_of(block, block.table[wide.left_adjoint + k])
        matrix(
            wide.active, wide.outputs, block.packed + wide.transposed, NULL, &block.table[wide.fresh_left],
            False, block.first_pointers, block.second_pointers, block.lanes,
        )
    keep_tiny(mode)
