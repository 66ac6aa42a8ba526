# In a block of one row the registers lie side by side, and the interpreters of generated/row_scalars.pxi
# compute each operation in place, without loops. `r` are the registers, `u` the uniform numbers, `sums` the
# accumulators.


cdef inline void one_give(double *r, int32_t adjoint, bint fresh, double amount) noexcept nogil:
    r[adjoint] = amount if fresh else r[adjoint] + amount


cdef void one_forward_scalar(const Instruction *i, double *r) noexcept nogil:
    """A row that only calls the C library. One without a right operand has 0 there."""
    r[i.out] = scalar_value(i.opcode >> 2, r[i.left], r[i.right])


cdef void one_backward_scalar(const Instruction *i, double *r) noexcept nogil:
    cdef int row = i.opcode >> 2
    cdef double a = r[i.left], b = r[i.right], out = r[i.out], g = r[i.out_adjoint]
    if i.left_adjoint >= 0:
        one_give(r, i.left_adjoint, i.fresh & FRESH_LEFT, scalar_da(row, a, b, out) * g)
    if i.right_adjoint >= 0:
        one_give(r, i.right_adjoint, i.fresh & FRESH_RIGHT, scalar_db(row, a, b, out) * g)


cdef inline void one_forward_load(
    const Instruction *i, const Block *block, double *r, const double *u, double *sums
) noexcept nogil:
    cdef const Argument *argument = &block.arguments[i.left]
    cdef const char *data = argument.data + block.row * argument.row_step + i.right * argument.column_step
    if argument.kind == REALS:
        r[i.out] = (<const double *>data)[0]
    else:
        r[i.out] = <double>(<const int64_t *>data)[0]


cdef inline void one_backward_load(
    const Instruction *i, const Block *block, double *r, const double *u, double *sums
) noexcept nogil:
    cdef const Argument *argument = &block.arguments[i.left]
    cdef double *out = argument.gradient + block.row * argument.gradient_row_step
    if i.out_adjoint >= 0:
        out += i.right * argument.gradient_column_step
        out[0] = r[i.out_adjoint] if i.fresh & FRESH_LEFT else out[0] + r[i.out_adjoint]


cdef inline void one_forward_store(
    const Instruction *i, const Block *block, double *r, const double *u, double *sums
) noexcept nogil:
    block.targets[i.right][0] = r[i.left] if i.left >= 0 else u[~i.left]


cdef inline void one_backward_store(
    const Instruction *i, const Block *block, double *r, const double *u, double *sums
) noexcept nogil:
    if i.left >= 0:
        one_give(r, i.left_adjoint, i.fresh & FRESH_LEFT, block.target_adjoints[i.right][0])
    else:
        sums[i.left_adjoint] += block.target_adjoints[i.right][0]


cdef inline double multiplied_out(double a, int exponent) noexcept nogil:
    """multiply_out for one lane."""
    cdef double out
    cdef int digit = 1
    while 4 * digit <= exponent:
        digit *= 2
    out = a * a * a if exponent & digit else a * a
    while digit > 1:
        digit >>= 1
        out = out * out * a if exponent & digit else out * out
    return out


cdef inline void one_forward_power(
    const Instruction *i, const Block *block, double *r, const double *u, double *sums
) noexcept nogil:
    cdef int exponent = <int>u[~i.right]
    if exponent > 0:
        r[i.out] = multiplied_out(r[i.left], exponent)
    else:
        r[i.out] = multiplied_out(1.0 / r[i.left], -exponent)


cdef inline void one_backward_power(
    const Instruction *i, const Block *block, double *r, const double *u, double *sums
) noexcept nogil:
    cdef double exponent = u[~i.right], less
    if exponent > 0.0:
        less = multiplied_out(r[i.left], <int>exponent - 1)
    else:
        less = r[i.out] / r[i.left]
    one_give(r, i.left_adjoint, i.fresh & FRESH_LEFT, exponent * less * r[i.out_adjoint])


cdef inline void one_forward_inner(
    const Instruction *i, const Block *block, double *r, const double *u, double *sums
) noexcept nogil:
    """The sum of the products in pairs, as forward_inner does it."""
    cdef const Wide *wide = &block.wides[i.left]
    cdef const int32_t *left = &block.table[wide.left]
    cdef const int32_t *right = &block.table[wide.right]
    cdef double total = r[i.third] if i.third >= 0 else u[~i.third]
    cdef Py_ssize_t k = 0
    while k + 2 <= wide.inputs:
        total += r[left[k]] * r[right[k]] + r[left[k + 1]] * r[right[k + 1]]
        k += 2
    if k < wide.inputs:
        total += r[left[k]] * r[right[k]]
    r[i.out] = total


cdef inline void one_backward_inner(
    const Instruction *i, const Block *block, double *r, const double *u, double *sums
) noexcept nogil:
    cdef const Wide *wide = &block.wides[i.left]
    cdef const int32_t *table = block.table
    cdef double g = r[i.out_adjoint], amount
    cdef Py_ssize_t k
    for k in range(wide.inputs):
        if table[wide.left_adjoint + k] >= 0:
            amount = g * r[table[wide.right + k]]
            one_give(r, table[wide.left_adjoint + k], table[wide.fresh_left + k], amount)
        if table[wide.right_adjoint + k] >= 0:
            amount = g * r[table[wide.left + k]]
            one_give(r, table[wide.right_adjoint + k], table[wide.fresh_right + k], amount)
    if i.third_adjoint >= 0:
        if i.third >= 0:
            one_give(r, i.third_adjoint, i.fresh & FRESH_THIRD, g)
        else:
            sums[i.third_adjoint] += g


cdef inline void one_forward_local(
    const Instruction *i, const Block *block, double *r, const double *u, double *sums
) noexcept nogil:
    r[i.out] = r[i.third] if i.third >= 0 else u[~i.third]


cdef inline void one_backward_local(
    const Instruction *i, const Block *block, double *r, const double *u, double *sums
) noexcept nogil:
    cdef const Wide *wide = &block.wides[i.left]
    cdef const int32_t *table = block.table
    cdef double g = r[i.out_adjoint], amount
    cdef int32_t derivative, adjoint
    cdef Py_ssize_t k
    for k in range(wide.inputs):
        derivative, adjoint = table[wide.right + k], table[wide.left_adjoint + k]
        amount = g * (r[derivative] if derivative >= 0 else u[~derivative])
        if table[wide.left + k] >= 0:
            one_give(r, adjoint, table[wide.fresh_left + k], amount)
        else:
            sums[adjoint] += amount


cdef inline void one_forward_multiply_add(
    const Instruction *i, const Block *block, double *r, const double *u, double *sums
) noexcept nogil:
    r[i.out] = u[~i.right] * r[i.left] + u[~i.third]


cdef inline void one_backward_multiply_add(
    const Instruction *i, const Block *block, double *r, const double *u, double *sums
) noexcept nogil:
    cdef double g = r[i.out_adjoint]
    if i.left_adjoint >= 0:
        one_give(r, i.left_adjoint, i.fresh & FRESH_LEFT, u[~i.right] * g)
    if i.right_adjoint >= 0:
        sums[i.right_adjoint] += g * r[i.left]
    if i.third_adjoint >= 0:
        sums[i.third_adjoint] += g


cdef inline void one_forward_matrix(
    const Instruction *i, const Block *block, double *r, const double *u, double *sums
) noexcept nogil:
    cdef const Wide *wide = &block.wides[i.left]
    cdef const int32_t *table = block.table
    cdef const double *bias = block.packed + wide.packed
    # The room for addresses is used for numbers, which take as much.
    cdef double *x = <double *>block.first_pointers
    cdef double *out = <double *>block.second_pointers
    cdef double total = bias[0]
    cdef Py_ssize_t k
    if wide.outputs == 1:
        for k in range(wide.inputs):
            total = fma(bias[1 + k], r[table[wide.left + k]], total)
        r[table[wide.out]] = activated(wide.activation, total)
        return
    gather(wide.inputs, x, r, table + wide.left)
    matrix_one(wide.outputs, wide.inputs, bias + wide.outputs, bias, out, x)
    for k in range(wide.outputs if wide.activation else 0):
        out[k] = activated(wide.activation, out[k])
    scatter(wide.outputs, r, table + wide.out, out)


cdef inline void one_backward_row(
    const Instruction *i, const Block *block, double *r, double *sums
) noexcept nogil:
    """backward_matrix for one lane, with the same bits."""
    cdef const Wide *wide = &block.wides[i.left]
    cdef const int32_t *table = block.table
    cdef const double *weights = block.packed + wide.transposed
    cdef double *gradient = sums + wide.gradient
    cdef double g = pulled(wide.activation, r[table[wide.out_adjoint]], r[table[wide.out]]), before
    cdef int32_t target
    cdef Py_ssize_t k
    if wide.gradient >= 0:
        gradient[0] += g
    for k in range(wide.inputs if wide.gradient >= 0 and wide.fresh_right else 0):
        gradient[1 + k] = fma(g, r[table[wide.left + k]], gradient[1 + k])
    for k in range(wide.inputs if wide.transposed >= 0 else 0):
        target = table[wide.left_adjoint + k]
        # The operands whose gradient is wanted are listed first.
        if target < 0:
            return
        before = 0.0 if table[wide.fresh_left + k] else r[target]
        r[target] = fma(weights[k], g, before)


cdef inline void one_backward_matrix(
    const Instruction *i, const Block *block, double *r, const double *u, double *sums
) noexcept nogil:
    cdef const Wide *wide = &block.wides[i.left]
    cdef const int32_t *table = block.table
    cdef const int32_t *adjoints = table + wide.left_adjoint
    cdef double *gradient = sums + wide.gradient
    cdef double *g = <double *>block.second_pointers
    cdef double *x = <double *>block.first_pointers
    cdef Py_ssize_t k
    if wide.outputs == 1:
        one_backward_row(i, block, r, sums)
        return
    gather(wide.outputs, g, r, table + wide.out_adjoint)
    for k in range(wide.outputs if wide.activation else 0):
        g[k] = pulled(wide.activation, g[k], r[table[wide.out + k]])
    if wide.gradient >= 0:
        for k in range(wide.outputs):
            gradient[k] += g[k]
    if wide.gradient >= 0 and wide.fresh_right:
        gather(wide.inputs, x, r, table + wide.left)
        outer_one(wide.outputs, wide.inputs, gradient + wide.outputs, g, x)
    if wide.transposed >= 0:
        # The operands whose gradient is wanted are listed first.
        gather_added(wide.active, x, r, adjoints, table + wide.fresh_left)
        matrix_one(wide.active, wide.outputs, block.packed + wide.transposed, x, x, g)
        scatter(wide.active, r, adjoints, x)
