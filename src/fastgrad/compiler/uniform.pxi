# What depends on no row: computed once a batch, one number at a time, by the engine's own rules.


cdef double value_of_many(int row, const int32_t *operands, int32_t count, const double *u) noexcept nogil:
    """The value of a reduction, or of an operation of three operands."""
    cdef double shift = 0.0
    cdef double first = 0.0, second = 0.0, third = 0.0, fourth = 0.0
    cdef int32_t k = 0
    if row >= ROW_FIRST_TERNARY:
        return ternary_value(row, u[operands[0]], u[operands[1]], u[operands[2]])
    if needs_shift(row):
        shift = -INFINITY
        for k in range(count):
            if u[operands[k]] > shift:
                shift = u[operands[k]]
        if not isfinite(shift):
            shift = 0.0
        k = 0
    # Every step adds something to a total: four of them need not wait for one another.
    while k + 4 <= count:
        first = reduction_step(row, first, u[operands[k]], shift)
        second = reduction_step(row, second, u[operands[k + 1]], shift)
        third = reduction_step(row, third, u[operands[k + 2]], shift)
        fourth = reduction_step(row, fourth, u[operands[k + 3]], shift)
        k += 4
    while k < count:
        first = reduction_step(row, first, u[operands[k]], shift)
        k += 1
    return reduction_finish(row, first + second + (third + fourth), <double>count, shift)


cdef double total_of(const int32_t *terms, const double *u) noexcept nogil:
    """The sum of [pairs, singles, p1, q1, .., single1, sign1, ..]."""
    cdef double total = 0.0
    cdef int32_t pairs = terms[0], singles = terms[1], k
    terms += 2
    for k in range(pairs):
        total += u[terms[2 * k]] * u[terms[2 * k + 1]]
    terms += 2 * pairs
    for k in range(singles):
        total += u[terms[2 * k]] * terms[2 * k + 1]
    return total


cdef void run_uniform(Plan plan, double *u) noexcept nogil:
    cdef Py_ssize_t at
    cdef int row
    cdef const int32_t *step
    for at in range(plan.uniform_count):
        step = plan.uniform_steps + 4 * at
        row = step[0] >> 2
        if step[0] == CODE_TERMS:
            u[step[1]] = total_of(plan.uniform_table + step[2], u)
        elif row >= ROW_TABLE_END:
            u[step[1]] = value_of_many(row, plan.uniform_table + step[2], step[3], u)
        elif row >= ROW_FIRST_BINARY:
            u[step[1]] = binary_value(row, u[step[2]], u[step[3]])
        else:
            u[step[1]] = unary_value(row, u[step[2]])


cdef void run_uniform_back(Plan plan, const double *u, double *gradient) noexcept nogil:
    """Add to the gradients of the operands, from the last step to the first."""
    cdef Py_ssize_t at
    cdef int row
    cdef int32_t k, pairs, singles, p, q
    cdef const int32_t *step
    cdef const int32_t *terms
    cdef double g, out, a, b, c
    for at in range(plan.uniform_count - 1, -1, -1):
        step = plan.uniform_steps + 4 * at
        row = step[0] >> 2
        g, out = gradient[step[1]], u[step[1]]
        if step[0] == CODE_TERMS:
            terms = plan.uniform_table + step[2]
            pairs, singles = terms[0], terms[1]
            terms += 2
            for k in range(pairs):
                p, q = terms[2 * k], terms[2 * k + 1]
                gradient[p] += u[q] * g
                gradient[q] += u[p] * g
            terms += 2 * pairs
            for k in range(singles):
                gradient[terms[2 * k]] += g * terms[2 * k + 1]
        elif row >= ROW_FIRST_TERNARY:
            terms = plan.uniform_table + step[2]
            a, b, c = u[terms[0]], u[terms[1]], u[terms[2]]
            gradient[terms[0]] += ternary_da(row, a, b, c, out) * g
            gradient[terms[1]] += ternary_db(row, a, b, c, out) * g
            gradient[terms[2]] += ternary_dc(row, a, b, c, out) * g
        elif row >= ROW_TABLE_END:
            terms = plan.uniform_table + step[2]
            for k in range(step[3]):
                gradient[terms[k]] += reduction_derivative(row, u[terms[k]], <double>step[3], out) * g
        elif row >= ROW_FIRST_BINARY:
            p, q = step[2], step[3]
            gradient[p] += left_derivative(row, u[p], u[q], out) * g
            gradient[q] += right_derivative(row, u[p], u[q], out) * g
        else:
            gradient[step[2]] += unary_derivative(row, u[step[2]], out) * g


cdef void pack(Plan plan, const double *u, double *packed) noexcept nogil:
    """Copy the biases and weights of every matrix to where fg_matrix reads them."""
    cdef const int32_t *source = plan.packed_from
    cdef Py_ssize_t at
    for at in range(plan.packed):
        packed[at] = u[source[at]]
