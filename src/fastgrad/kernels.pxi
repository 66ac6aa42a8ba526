# Generated from operations.py by codegen/render.py: edit the table, not this file.

from fastgrad.lanes cimport *
from fastgrad.ops cimport ROW_ABS, ROW_RELU, ROW_TANH, ROW_EXP, ROW_LOG, ROW_SIGMOID, ROW_SQRT, ROW_SIN, ROW_COS, ROW_ADD, ROW_SUB, ROW_MUL, ROW_DIV, ROW_POW, ROW_SUM, ROW_MEAN, ROW_SQUARE_SUM, ROW_SQUARE_MEAN, ROW_LOGSUMEXP

from libc.math cimport INFINITY, cos, fabs, floor, isfinite, pow, sin, sqrt

cdef extern from "lanes.h" nogil:
    ctypedef double *lane
    ctypedef const double *const_lane
    double exp "fg_exp"(double) noexcept
    double log "fg_log"(double) noexcept
    double tanh "fg_tanh"(double) noexcept

include "lanes.pxi"


cdef inline double abs_value(double a) noexcept nogil:
    return fabs(a)


cdef inline double abs_da(double a, double out) noexcept nogil:
    return (1.0 if a > 0.0 else 0.0) - (1.0 if a < 0.0 else 0.0)


cdef inline double relu_value(double a) noexcept nogil:
    return 0.0 if a < 0.0 else a


cdef inline double relu_da(double a, double out) noexcept nogil:
    return 1.0 if out > 0.0 else 0.0


cdef inline double tanh_value(double a) noexcept nogil:
    return tanh(a)


cdef inline double tanh_da(double a, double out) noexcept nogil:
    return 1.0 - out * out


cdef inline double exp_value(double a) noexcept nogil:
    return exp(a)


cdef inline double exp_da(double a, double out) noexcept nogil:
    return out


cdef inline double log_value(double a) noexcept nogil:
    return log(a)


cdef inline double log_da(double a, double out) noexcept nogil:
    return 1.0 / a


cdef inline double sigmoid_value(double a) noexcept nogil:
    return 1.0 / (1.0 + exp(-a)) if a >= 0.0 else exp(a) / (1.0 + exp(a))


cdef inline double sigmoid_da(double a, double out) noexcept nogil:
    return out * (1.0 - out)


cdef inline double sqrt_value(double a) noexcept nogil:
    return sqrt(a)


cdef inline double sqrt_da(double a, double out) noexcept nogil:
    return 0.5 / out


cdef inline double sin_value(double a) noexcept nogil:
    return sin(a)


cdef inline double sin_da(double a, double out) noexcept nogil:
    return cos(a)


cdef inline double cos_value(double a) noexcept nogil:
    return cos(a)


cdef inline double cos_da(double a, double out) noexcept nogil:
    return -sin(a)


cdef inline double add_value(double a, double b) noexcept nogil:
    return a + b


cdef inline double add_da(double a, double b, double out) noexcept nogil:
    return 1.0


cdef inline double add_db(double a, double b, double out) noexcept nogil:
    return 1.0


cdef inline double sub_value(double a, double b) noexcept nogil:
    return a - b


cdef inline double sub_da(double a, double b, double out) noexcept nogil:
    return 1.0


cdef inline double sub_db(double a, double b, double out) noexcept nogil:
    return -1.0


cdef inline double mul_value(double a, double b) noexcept nogil:
    return a * b


cdef inline double mul_da(double a, double b, double out) noexcept nogil:
    return b


cdef inline double mul_db(double a, double b, double out) noexcept nogil:
    return a


cdef inline double div_value(double a, double b) noexcept nogil:
    return a * (1.0 / b)


cdef inline double div_da(double a, double b, double out) noexcept nogil:
    return 1.0 / b


cdef inline double div_db(double a, double b, double out) noexcept nogil:
    return -a * (1.0 / b) * (1.0 / b)


cdef inline double pow_value(double a, double b) noexcept nogil:
    return a * a if b == 2.0 else 1.0 / a if b == -1.0 else pow(a, b)


cdef inline double pow_da(double a, double b, double out) noexcept nogil:
    return 2.0 * a if b == 2.0 else 0.0 if b == 0.0 else b * pow(a, b - 1.0)


cdef inline double pow_db(double a, double b, double out) noexcept nogil:
    return 0.0 if a == 0.0 and b >= 0.0 else out * log(a)


cdef inline void forward_abs(const Instruction *i, const Block *block) noexcept nogil:
    cdef lane out = slot(block, i.out)
    cdef const_lane a = slot(block, i.left)
    cdef Py_ssize_t l
    for l in range(block.lanes):
        out[l] = abs_value(a[l])


cdef inline void backward_abs(const Instruction *i, const Block *block) noexcept nogil:
    cdef const_lane out = slot(block, i.out)
    cdef const_lane g = slot(block, i.out_adjoint)
    cdef const_lane a = slot(block, i.left)
    cdef lane target
    cdef Py_ssize_t l
    if i.left_adjoint >= 0:
        target = slot(block, i.left_adjoint)
        if i.fresh & FRESH_LEFT:
            for l in range(block.lanes):
                target[l] = abs_da(a[l], out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += abs_da(a[l], out[l]) * g[l]


cdef inline void forward_relu(const Instruction *i, const Block *block) noexcept nogil:
    cdef lane out = slot(block, i.out)
    cdef const_lane a = slot(block, i.left)
    cdef Py_ssize_t l
    for l in range(block.lanes):
        out[l] = relu_value(a[l])


cdef inline void backward_relu(const Instruction *i, const Block *block) noexcept nogil:
    cdef const_lane out = slot(block, i.out)
    cdef const_lane g = slot(block, i.out_adjoint)
    cdef const_lane a = slot(block, i.left)
    cdef lane target
    cdef Py_ssize_t l
    if i.left_adjoint >= 0:
        target = slot(block, i.left_adjoint)
        if i.fresh & FRESH_LEFT:
            for l in range(block.lanes):
                target[l] = relu_da(a[l], out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += relu_da(a[l], out[l]) * g[l]


cdef inline void forward_tanh(const Instruction *i, const Block *block) noexcept nogil:
    cdef lane out = slot(block, i.out)
    cdef const_lane a = slot(block, i.left)
    cdef Py_ssize_t l
    for l in range(block.lanes):
        out[l] = tanh_value(a[l])


cdef inline void backward_tanh(const Instruction *i, const Block *block) noexcept nogil:
    cdef const_lane out = slot(block, i.out)
    cdef const_lane g = slot(block, i.out_adjoint)
    cdef const_lane a = slot(block, i.left)
    cdef lane target
    cdef Py_ssize_t l
    if i.left_adjoint >= 0:
        target = slot(block, i.left_adjoint)
        if i.fresh & FRESH_LEFT:
            for l in range(block.lanes):
                target[l] = tanh_da(a[l], out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += tanh_da(a[l], out[l]) * g[l]


cdef inline void forward_exp(const Instruction *i, const Block *block) noexcept nogil:
    cdef lane out = slot(block, i.out)
    cdef const_lane a = slot(block, i.left)
    cdef Py_ssize_t l
    for l in range(block.lanes):
        out[l] = exp_value(a[l])


cdef inline void backward_exp(const Instruction *i, const Block *block) noexcept nogil:
    cdef const_lane out = slot(block, i.out)
    cdef const_lane g = slot(block, i.out_adjoint)
    cdef const_lane a = slot(block, i.left)
    cdef lane target
    cdef Py_ssize_t l
    if i.left_adjoint >= 0:
        target = slot(block, i.left_adjoint)
        if i.fresh & FRESH_LEFT:
            for l in range(block.lanes):
                target[l] = exp_da(a[l], out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += exp_da(a[l], out[l]) * g[l]


cdef inline void forward_log(const Instruction *i, const Block *block) noexcept nogil:
    cdef lane out = slot(block, i.out)
    cdef const_lane a = slot(block, i.left)
    cdef Py_ssize_t l
    for l in range(block.lanes):
        out[l] = log_value(a[l])


cdef inline void backward_log(const Instruction *i, const Block *block) noexcept nogil:
    cdef const_lane out = slot(block, i.out)
    cdef const_lane g = slot(block, i.out_adjoint)
    cdef const_lane a = slot(block, i.left)
    cdef lane target
    cdef Py_ssize_t l
    if i.left_adjoint >= 0:
        target = slot(block, i.left_adjoint)
        if i.fresh & FRESH_LEFT:
            for l in range(block.lanes):
                target[l] = log_da(a[l], out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += log_da(a[l], out[l]) * g[l]


cdef inline void forward_sigmoid(const Instruction *i, const Block *block) noexcept nogil:
    cdef lane out = slot(block, i.out)
    cdef const_lane a = slot(block, i.left)
    cdef Py_ssize_t l
    for l in range(block.lanes):
        out[l] = sigmoid_value(a[l])


cdef inline void backward_sigmoid(const Instruction *i, const Block *block) noexcept nogil:
    cdef const_lane out = slot(block, i.out)
    cdef const_lane g = slot(block, i.out_adjoint)
    cdef const_lane a = slot(block, i.left)
    cdef lane target
    cdef Py_ssize_t l
    if i.left_adjoint >= 0:
        target = slot(block, i.left_adjoint)
        if i.fresh & FRESH_LEFT:
            for l in range(block.lanes):
                target[l] = sigmoid_da(a[l], out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += sigmoid_da(a[l], out[l]) * g[l]


cdef inline void forward_sqrt(const Instruction *i, const Block *block) noexcept nogil:
    cdef lane out = slot(block, i.out)
    cdef const_lane a = slot(block, i.left)
    cdef Py_ssize_t l
    for l in range(block.lanes):
        out[l] = sqrt_value(a[l])


cdef inline void backward_sqrt(const Instruction *i, const Block *block) noexcept nogil:
    cdef const_lane out = slot(block, i.out)
    cdef const_lane g = slot(block, i.out_adjoint)
    cdef const_lane a = slot(block, i.left)
    cdef lane target
    cdef Py_ssize_t l
    if i.left_adjoint >= 0:
        target = slot(block, i.left_adjoint)
        if i.fresh & FRESH_LEFT:
            for l in range(block.lanes):
                target[l] = sqrt_da(a[l], out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += sqrt_da(a[l], out[l]) * g[l]


cdef inline void forward_sin(const Instruction *i, const Block *block) noexcept nogil:
    cdef lane out = slot(block, i.out)
    cdef const_lane a = slot(block, i.left)
    cdef Py_ssize_t l
    for l in range(block.lanes):
        out[l] = sin_value(a[l])


cdef inline void backward_sin(const Instruction *i, const Block *block) noexcept nogil:
    cdef const_lane out = slot(block, i.out)
    cdef const_lane g = slot(block, i.out_adjoint)
    cdef const_lane a = slot(block, i.left)
    cdef lane target
    cdef Py_ssize_t l
    if i.left_adjoint >= 0:
        target = slot(block, i.left_adjoint)
        if i.fresh & FRESH_LEFT:
            for l in range(block.lanes):
                target[l] = sin_da(a[l], out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += sin_da(a[l], out[l]) * g[l]


cdef inline void forward_cos(const Instruction *i, const Block *block) noexcept nogil:
    cdef lane out = slot(block, i.out)
    cdef const_lane a = slot(block, i.left)
    cdef Py_ssize_t l
    for l in range(block.lanes):
        out[l] = cos_value(a[l])


cdef inline void backward_cos(const Instruction *i, const Block *block) noexcept nogil:
    cdef const_lane out = slot(block, i.out)
    cdef const_lane g = slot(block, i.out_adjoint)
    cdef const_lane a = slot(block, i.left)
    cdef lane target
    cdef Py_ssize_t l
    if i.left_adjoint >= 0:
        target = slot(block, i.left_adjoint)
        if i.fresh & FRESH_LEFT:
            for l in range(block.lanes):
                target[l] = cos_da(a[l], out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += cos_da(a[l], out[l]) * g[l]


cdef inline void forward_add_lane_lane(const Instruction *i, const Block *block) noexcept nogil:
    cdef lane out = slot(block, i.out)
    cdef const_lane a = slot(block, i.left)
    cdef const_lane b = slot(block, i.right)
    cdef Py_ssize_t l
    for l in range(block.lanes):
        out[l] = add_value(a[l], b[l])


cdef inline void backward_add_lane_lane(const Instruction *i, const Block *block) noexcept nogil:
    cdef const_lane out = slot(block, i.out)
    cdef const_lane g = slot(block, i.out_adjoint)
    cdef const_lane a = slot(block, i.left)
    cdef const_lane b = slot(block, i.right)
    cdef lane target
    cdef Py_ssize_t l
    if i.left_adjoint >= 0:
        target = slot(block, i.left_adjoint)
        if i.fresh & FRESH_LEFT:
            for l in range(block.lanes):
                target[l] = add_da(a[l], b[l], out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += add_da(a[l], b[l], out[l]) * g[l]
    if i.right_adjoint >= 0:
        target = slot(block, i.right_adjoint)
        if i.fresh & FRESH_RIGHT:
            for l in range(block.lanes):
                target[l] = add_db(a[l], b[l], out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += add_db(a[l], b[l], out[l]) * g[l]


cdef inline void forward_add_lane_uniform(const Instruction *i, const Block *block) noexcept nogil:
    cdef lane out = slot(block, i.out)
    cdef const_lane a = slot(block, i.left)
    cdef double b = block.uniform[~i.right]
    cdef Py_ssize_t l
    for l in range(block.lanes):
        out[l] = add_value(a[l], b)


cdef inline void backward_add_lane_uniform(const Instruction *i, const Block *block) noexcept nogil:
    cdef const_lane out = slot(block, i.out)
    cdef const_lane g = slot(block, i.out_adjoint)
    cdef const_lane a = slot(block, i.left)
    cdef double b = block.uniform[~i.right]
    cdef lane target
    cdef Py_ssize_t l
    if i.left_adjoint >= 0:
        target = slot(block, i.left_adjoint)
        if i.fresh & FRESH_LEFT:
            for l in range(block.lanes):
                target[l] = add_da(a[l], b, out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += add_da(a[l], b, out[l]) * g[l]
    if i.right_adjoint >= 0:
        target = block.scratch
        for l in range(block.lanes):
            target[l] = add_db(a[l], b, out[l]) * g[l]
        block.accumulators[i.right_adjoint] += sum_of(block.scratch, block.lanes)


cdef inline void forward_add_uniform_lane(const Instruction *i, const Block *block) noexcept nogil:
    cdef lane out = slot(block, i.out)
    cdef double a = block.uniform[~i.left]
    cdef const_lane b = slot(block, i.right)
    cdef Py_ssize_t l
    for l in range(block.lanes):
        out[l] = add_value(a, b[l])


cdef inline void backward_add_uniform_lane(const Instruction *i, const Block *block) noexcept nogil:
    cdef const_lane out = slot(block, i.out)
    cdef const_lane g = slot(block, i.out_adjoint)
    cdef double a = block.uniform[~i.left]
    cdef const_lane b = slot(block, i.right)
    cdef lane target
    cdef Py_ssize_t l
    if i.left_adjoint >= 0:
        target = block.scratch
        for l in range(block.lanes):
            target[l] = add_da(a, b[l], out[l]) * g[l]
        block.accumulators[i.left_adjoint] += sum_of(block.scratch, block.lanes)
    if i.right_adjoint >= 0:
        target = slot(block, i.right_adjoint)
        if i.fresh & FRESH_RIGHT:
            for l in range(block.lanes):
                target[l] = add_db(a, b[l], out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += add_db(a, b[l], out[l]) * g[l]


cdef inline void forward_sub_lane_lane(const Instruction *i, const Block *block) noexcept nogil:
    cdef lane out = slot(block, i.out)
    cdef const_lane a = slot(block, i.left)
    cdef const_lane b = slot(block, i.right)
    cdef Py_ssize_t l
    for l in range(block.lanes):
        out[l] = sub_value(a[l], b[l])


cdef inline void backward_sub_lane_lane(const Instruction *i, const Block *block) noexcept nogil:
    cdef const_lane out = slot(block, i.out)
    cdef const_lane g = slot(block, i.out_adjoint)
    cdef const_lane a = slot(block, i.left)
    cdef const_lane b = slot(block, i.right)
    cdef lane target
    cdef Py_ssize_t l
    if i.left_adjoint >= 0:
        target = slot(block, i.left_adjoint)
        if i.fresh & FRESH_LEFT:
            for l in range(block.lanes):
                target[l] = sub_da(a[l], b[l], out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += sub_da(a[l], b[l], out[l]) * g[l]
    if i.right_adjoint >= 0:
        target = slot(block, i.right_adjoint)
        if i.fresh & FRESH_RIGHT:
            for l in range(block.lanes):
                target[l] = sub_db(a[l], b[l], out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += sub_db(a[l], b[l], out[l]) * g[l]


cdef inline void forward_sub_lane_uniform(const Instruction *i, const Block *block) noexcept nogil:
    cdef lane out = slot(block, i.out)
    cdef const_lane a = slot(block, i.left)
    cdef double b = block.uniform[~i.right]
    cdef Py_ssize_t l
    for l in range(block.lanes):
        out[l] = sub_value(a[l], b)


cdef inline void backward_sub_lane_uniform(const Instruction *i, const Block *block) noexcept nogil:
    cdef const_lane out = slot(block, i.out)
    cdef const_lane g = slot(block, i.out_adjoint)
    cdef const_lane a = slot(block, i.left)
    cdef double b = block.uniform[~i.right]
    cdef lane target
    cdef Py_ssize_t l
    if i.left_adjoint >= 0:
        target = slot(block, i.left_adjoint)
        if i.fresh & FRESH_LEFT:
            for l in range(block.lanes):
                target[l] = sub_da(a[l], b, out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += sub_da(a[l], b, out[l]) * g[l]
    if i.right_adjoint >= 0:
        target = block.scratch
        for l in range(block.lanes):
            target[l] = sub_db(a[l], b, out[l]) * g[l]
        block.accumulators[i.right_adjoint] += sum_of(block.scratch, block.lanes)


cdef inline void forward_sub_uniform_lane(const Instruction *i, const Block *block) noexcept nogil:
    cdef lane out = slot(block, i.out)
    cdef double a = block.uniform[~i.left]
    cdef const_lane b = slot(block, i.right)
    cdef Py_ssize_t l
    for l in range(block.lanes):
        out[l] = sub_value(a, b[l])


cdef inline void backward_sub_uniform_lane(const Instruction *i, const Block *block) noexcept nogil:
    cdef const_lane out = slot(block, i.out)
    cdef const_lane g = slot(block, i.out_adjoint)
    cdef double a = block.uniform[~i.left]
    cdef const_lane b = slot(block, i.right)
    cdef lane target
    cdef Py_ssize_t l
    if i.left_adjoint >= 0:
        target = block.scratch
        for l in range(block.lanes):
            target[l] = sub_da(a, b[l], out[l]) * g[l]
        block.accumulators[i.left_adjoint] += sum_of(block.scratch, block.lanes)
    if i.right_adjoint >= 0:
        target = slot(block, i.right_adjoint)
        if i.fresh & FRESH_RIGHT:
            for l in range(block.lanes):
                target[l] = sub_db(a, b[l], out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += sub_db(a, b[l], out[l]) * g[l]


cdef inline void forward_mul_lane_lane(const Instruction *i, const Block *block) noexcept nogil:
    cdef lane out = slot(block, i.out)
    cdef const_lane a = slot(block, i.left)
    cdef const_lane b = slot(block, i.right)
    cdef Py_ssize_t l
    for l in range(block.lanes):
        out[l] = mul_value(a[l], b[l])


cdef inline void backward_mul_lane_lane(const Instruction *i, const Block *block) noexcept nogil:
    cdef const_lane out = slot(block, i.out)
    cdef const_lane g = slot(block, i.out_adjoint)
    cdef const_lane a = slot(block, i.left)
    cdef const_lane b = slot(block, i.right)
    cdef lane target
    cdef Py_ssize_t l
    if i.left_adjoint >= 0:
        target = slot(block, i.left_adjoint)
        if i.fresh & FRESH_LEFT:
            for l in range(block.lanes):
                target[l] = mul_da(a[l], b[l], out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += mul_da(a[l], b[l], out[l]) * g[l]
    if i.right_adjoint >= 0:
        target = slot(block, i.right_adjoint)
        if i.fresh & FRESH_RIGHT:
            for l in range(block.lanes):
                target[l] = mul_db(a[l], b[l], out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += mul_db(a[l], b[l], out[l]) * g[l]


cdef inline void forward_mul_lane_uniform(const Instruction *i, const Block *block) noexcept nogil:
    cdef lane out = slot(block, i.out)
    cdef const_lane a = slot(block, i.left)
    cdef double b = block.uniform[~i.right]
    cdef Py_ssize_t l
    for l in range(block.lanes):
        out[l] = mul_value(a[l], b)


cdef inline void backward_mul_lane_uniform(const Instruction *i, const Block *block) noexcept nogil:
    cdef const_lane out = slot(block, i.out)
    cdef const_lane g = slot(block, i.out_adjoint)
    cdef const_lane a = slot(block, i.left)
    cdef double b = block.uniform[~i.right]
    cdef lane target
    cdef Py_ssize_t l
    if i.left_adjoint >= 0:
        target = slot(block, i.left_adjoint)
        if i.fresh & FRESH_LEFT:
            for l in range(block.lanes):
                target[l] = mul_da(a[l], b, out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += mul_da(a[l], b, out[l]) * g[l]
    if i.right_adjoint >= 0:
        target = block.scratch
        for l in range(block.lanes):
            target[l] = mul_db(a[l], b, out[l]) * g[l]
        block.accumulators[i.right_adjoint] += sum_of(block.scratch, block.lanes)


cdef inline void forward_mul_uniform_lane(const Instruction *i, const Block *block) noexcept nogil:
    cdef lane out = slot(block, i.out)
    cdef double a = block.uniform[~i.left]
    cdef const_lane b = slot(block, i.right)
    cdef Py_ssize_t l
    for l in range(block.lanes):
        out[l] = mul_value(a, b[l])


cdef inline void backward_mul_uniform_lane(const Instruction *i, const Block *block) noexcept nogil:
    cdef const_lane out = slot(block, i.out)
    cdef const_lane g = slot(block, i.out_adjoint)
    cdef double a = block.uniform[~i.left]
    cdef const_lane b = slot(block, i.right)
    cdef lane target
    cdef Py_ssize_t l
    if i.left_adjoint >= 0:
        target = block.scratch
        for l in range(block.lanes):
            target[l] = mul_da(a, b[l], out[l]) * g[l]
        block.accumulators[i.left_adjoint] += sum_of(block.scratch, block.lanes)
    if i.right_adjoint >= 0:
        target = slot(block, i.right_adjoint)
        if i.fresh & FRESH_RIGHT:
            for l in range(block.lanes):
                target[l] = mul_db(a, b[l], out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += mul_db(a, b[l], out[l]) * g[l]


cdef inline void forward_div_lane_lane(const Instruction *i, const Block *block) noexcept nogil:
    cdef lane out = slot(block, i.out)
    cdef const_lane a = slot(block, i.left)
    cdef const_lane b = slot(block, i.right)
    cdef Py_ssize_t l
    for l in range(block.lanes):
        out[l] = div_value(a[l], b[l])


cdef inline void backward_div_lane_lane(const Instruction *i, const Block *block) noexcept nogil:
    cdef const_lane out = slot(block, i.out)
    cdef const_lane g = slot(block, i.out_adjoint)
    cdef const_lane a = slot(block, i.left)
    cdef const_lane b = slot(block, i.right)
    cdef lane target
    cdef Py_ssize_t l
    if i.left_adjoint >= 0:
        target = slot(block, i.left_adjoint)
        if i.fresh & FRESH_LEFT:
            for l in range(block.lanes):
                target[l] = div_da(a[l], b[l], out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += div_da(a[l], b[l], out[l]) * g[l]
    if i.right_adjoint >= 0:
        target = slot(block, i.right_adjoint)
        if i.fresh & FRESH_RIGHT:
            for l in range(block.lanes):
                target[l] = div_db(a[l], b[l], out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += div_db(a[l], b[l], out[l]) * g[l]


cdef inline void forward_div_lane_uniform(const Instruction *i, const Block *block) noexcept nogil:
    cdef lane out = slot(block, i.out)
    cdef const_lane a = slot(block, i.left)
    cdef double b = block.uniform[~i.right]
    cdef Py_ssize_t l
    for l in range(block.lanes):
        out[l] = div_value(a[l], b)


cdef inline void backward_div_lane_uniform(const Instruction *i, const Block *block) noexcept nogil:
    cdef const_lane out = slot(block, i.out)
    cdef const_lane g = slot(block, i.out_adjoint)
    cdef const_lane a = slot(block, i.left)
    cdef double b = block.uniform[~i.right]
    cdef lane target
    cdef Py_ssize_t l
    if i.left_adjoint >= 0:
        target = slot(block, i.left_adjoint)
        if i.fresh & FRESH_LEFT:
            for l in range(block.lanes):
                target[l] = div_da(a[l], b, out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += div_da(a[l], b, out[l]) * g[l]
    if i.right_adjoint >= 0:
        target = block.scratch
        for l in range(block.lanes):
            target[l] = div_db(a[l], b, out[l]) * g[l]
        block.accumulators[i.right_adjoint] += sum_of(block.scratch, block.lanes)


cdef inline void forward_div_uniform_lane(const Instruction *i, const Block *block) noexcept nogil:
    cdef lane out = slot(block, i.out)
    cdef double a = block.uniform[~i.left]
    cdef const_lane b = slot(block, i.right)
    cdef Py_ssize_t l
    for l in range(block.lanes):
        out[l] = div_value(a, b[l])


cdef inline void backward_div_uniform_lane(const Instruction *i, const Block *block) noexcept nogil:
    cdef const_lane out = slot(block, i.out)
    cdef const_lane g = slot(block, i.out_adjoint)
    cdef double a = block.uniform[~i.left]
    cdef const_lane b = slot(block, i.right)
    cdef lane target
    cdef Py_ssize_t l
    if i.left_adjoint >= 0:
        target = block.scratch
        for l in range(block.lanes):
            target[l] = div_da(a, b[l], out[l]) * g[l]
        block.accumulators[i.left_adjoint] += sum_of(block.scratch, block.lanes)
    if i.right_adjoint >= 0:
        target = slot(block, i.right_adjoint)
        if i.fresh & FRESH_RIGHT:
            for l in range(block.lanes):
                target[l] = div_db(a, b[l], out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += div_db(a, b[l], out[l]) * g[l]


cdef inline void forward_pow_lane_lane(const Instruction *i, const Block *block) noexcept nogil:
    cdef lane out = slot(block, i.out)
    cdef const_lane a = slot(block, i.left)
    cdef const_lane b = slot(block, i.right)
    cdef Py_ssize_t l
    for l in range(block.lanes):
        out[l] = pow_value(a[l], b[l])


cdef inline void backward_pow_lane_lane(const Instruction *i, const Block *block) noexcept nogil:
    cdef const_lane out = slot(block, i.out)
    cdef const_lane g = slot(block, i.out_adjoint)
    cdef const_lane a = slot(block, i.left)
    cdef const_lane b = slot(block, i.right)
    cdef lane target
    cdef Py_ssize_t l
    if i.left_adjoint >= 0:
        target = slot(block, i.left_adjoint)
        if i.fresh & FRESH_LEFT:
            for l in range(block.lanes):
                target[l] = pow_da(a[l], b[l], out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += pow_da(a[l], b[l], out[l]) * g[l]
    if i.right_adjoint >= 0:
        target = slot(block, i.right_adjoint)
        if i.fresh & FRESH_RIGHT:
            for l in range(block.lanes):
                target[l] = pow_db(a[l], b[l], out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += pow_db(a[l], b[l], out[l]) * g[l]


cdef inline void forward_pow_lane_uniform(const Instruction *i, const Block *block) noexcept nogil:
    cdef lane out = slot(block, i.out)
    cdef const_lane a = slot(block, i.left)
    cdef double b = block.uniform[~i.right]
    cdef Py_ssize_t l
    for l in range(block.lanes):
        out[l] = pow_value(a[l], b)


cdef inline void backward_pow_lane_uniform(const Instruction *i, const Block *block) noexcept nogil:
    cdef const_lane out = slot(block, i.out)
    cdef const_lane g = slot(block, i.out_adjoint)
    cdef const_lane a = slot(block, i.left)
    cdef double b = block.uniform[~i.right]
    cdef lane target
    cdef Py_ssize_t l
    if i.left_adjoint >= 0:
        target = slot(block, i.left_adjoint)
        if i.fresh & FRESH_LEFT:
            for l in range(block.lanes):
                target[l] = pow_da(a[l], b, out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += pow_da(a[l], b, out[l]) * g[l]
    if i.right_adjoint >= 0:
        target = block.scratch
        for l in range(block.lanes):
            target[l] = pow_db(a[l], b, out[l]) * g[l]
        block.accumulators[i.right_adjoint] += sum_of(block.scratch, block.lanes)


cdef inline void forward_pow_uniform_lane(const Instruction *i, const Block *block) noexcept nogil:
    cdef lane out = slot(block, i.out)
    cdef double a = block.uniform[~i.left]
    cdef const_lane b = slot(block, i.right)
    cdef Py_ssize_t l
    for l in range(block.lanes):
        out[l] = pow_value(a, b[l])


cdef inline void backward_pow_uniform_lane(const Instruction *i, const Block *block) noexcept nogil:
    cdef const_lane out = slot(block, i.out)
    cdef const_lane g = slot(block, i.out_adjoint)
    cdef double a = block.uniform[~i.left]
    cdef const_lane b = slot(block, i.right)
    cdef lane target
    cdef Py_ssize_t l
    if i.left_adjoint >= 0:
        target = block.scratch
        for l in range(block.lanes):
            target[l] = pow_da(a, b[l], out[l]) * g[l]
        block.accumulators[i.left_adjoint] += sum_of(block.scratch, block.lanes)
    if i.right_adjoint >= 0:
        target = slot(block, i.right_adjoint)
        if i.fresh & FRESH_RIGHT:
            for l in range(block.lanes):
                target[l] = pow_db(a, b[l], out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += pow_db(a, b[l], out[l]) * g[l]


cdef inline double sum_step(double total, double a, double shift) noexcept nogil:
    return total + a


cdef inline double sum_finish(double total, double n, double shift) noexcept nogil:
    return total


cdef inline double sum_derivative(double a, double n, double out) noexcept nogil:
    return 1.0


cdef inline void forward_sum(const Instruction *i, const Block *block) noexcept nogil:
    cdef const Wide *wide = &block.wides[i.left]
    cdef lane out = slot(block, i.out)
    cdef lane shift = block.scratch
    cdef const_lane a
    cdef double n = wide.inputs
    cdef Py_ssize_t l, k
    fill(shift, 0.0, block.lanes)
    fill(out, 0.0, block.lanes)
    for k in range(wide.inputs):
        a = slot(block, block.table[wide.left + k])
        for l in range(block.lanes):
            out[l] = sum_step(out[l], a[l], shift[l])
    for l in range(block.lanes):
        out[l] = sum_finish(out[l], n, shift[l])


cdef inline void backward_sum(const Instruction *i, const Block *block) noexcept nogil:
    cdef const Wide *wide = &block.wides[i.left]
    cdef const_lane out = slot(block, i.out)
    cdef const_lane g = slot(block, i.out_adjoint)
    cdef const_lane a
    cdef lane target
    cdef double n = wide.inputs
    cdef Py_ssize_t l, k
    for k in range(wide.inputs):
        if block.table[wide.left_adjoint + k] < 0:
            continue
        a = slot(block, block.table[wide.left + k])
        target = slot(block, block.table[wide.left_adjoint + k])
        if block.table[wide.fresh_left + k]:
            for l in range(block.lanes):
                target[l] = sum_derivative(a[l], n, out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += sum_derivative(a[l], n, out[l]) * g[l]


cdef inline double mean_step(double total, double a, double shift) noexcept nogil:
    return total + a


cdef inline double mean_finish(double total, double n, double shift) noexcept nogil:
    return total / n


cdef inline double mean_derivative(double a, double n, double out) noexcept nogil:
    return 1.0 / n


cdef inline void forward_mean(const Instruction *i, const Block *block) noexcept nogil:
    cdef const Wide *wide = &block.wides[i.left]
    cdef lane out = slot(block, i.out)
    cdef lane shift = block.scratch
    cdef const_lane a
    cdef double n = wide.inputs
    cdef Py_ssize_t l, k
    fill(shift, 0.0, block.lanes)
    fill(out, 0.0, block.lanes)
    for k in range(wide.inputs):
        a = slot(block, block.table[wide.left + k])
        for l in range(block.lanes):
            out[l] = mean_step(out[l], a[l], shift[l])
    for l in range(block.lanes):
        out[l] = mean_finish(out[l], n, shift[l])


cdef inline void backward_mean(const Instruction *i, const Block *block) noexcept nogil:
    cdef const Wide *wide = &block.wides[i.left]
    cdef const_lane out = slot(block, i.out)
    cdef const_lane g = slot(block, i.out_adjoint)
    cdef const_lane a
    cdef lane target
    cdef double n = wide.inputs
    cdef Py_ssize_t l, k
    for k in range(wide.inputs):
        if block.table[wide.left_adjoint + k] < 0:
            continue
        a = slot(block, block.table[wide.left + k])
        target = slot(block, block.table[wide.left_adjoint + k])
        if block.table[wide.fresh_left + k]:
            for l in range(block.lanes):
                target[l] = mean_derivative(a[l], n, out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += mean_derivative(a[l], n, out[l]) * g[l]


cdef inline double square_sum_step(double total, double a, double shift) noexcept nogil:
    return total + a * a


cdef inline double square_sum_finish(double total, double n, double shift) noexcept nogil:
    return total


cdef inline double square_sum_derivative(double a, double n, double out) noexcept nogil:
    return 2.0 * a


cdef inline void forward_square_sum(const Instruction *i, const Block *block) noexcept nogil:
    cdef const Wide *wide = &block.wides[i.left]
    cdef lane out = slot(block, i.out)
    cdef lane shift = block.scratch
    cdef const_lane a
    cdef double n = wide.inputs
    cdef Py_ssize_t l, k
    fill(shift, 0.0, block.lanes)
    fill(out, 0.0, block.lanes)
    for k in range(wide.inputs):
        a = slot(block, block.table[wide.left + k])
        for l in range(block.lanes):
            out[l] = square_sum_step(out[l], a[l], shift[l])
    for l in range(block.lanes):
        out[l] = square_sum_finish(out[l], n, shift[l])


cdef inline void backward_square_sum(const Instruction *i, const Block *block) noexcept nogil:
    cdef const Wide *wide = &block.wides[i.left]
    cdef const_lane out = slot(block, i.out)
    cdef const_lane g = slot(block, i.out_adjoint)
    cdef const_lane a
    cdef lane target
    cdef double n = wide.inputs
    cdef Py_ssize_t l, k
    for k in range(wide.inputs):
        if block.table[wide.left_adjoint + k] < 0:
            continue
        a = slot(block, block.table[wide.left + k])
        target = slot(block, block.table[wide.left_adjoint + k])
        if block.table[wide.fresh_left + k]:
            for l in range(block.lanes):
                target[l] = square_sum_derivative(a[l], n, out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += square_sum_derivative(a[l], n, out[l]) * g[l]


cdef inline double square_mean_step(double total, double a, double shift) noexcept nogil:
    return total + a * a


cdef inline double square_mean_finish(double total, double n, double shift) noexcept nogil:
    return total / n


cdef inline double square_mean_derivative(double a, double n, double out) noexcept nogil:
    return 2.0 * a / n


cdef inline void forward_square_mean(const Instruction *i, const Block *block) noexcept nogil:
    cdef const Wide *wide = &block.wides[i.left]
    cdef lane out = slot(block, i.out)
    cdef lane shift = block.scratch
    cdef const_lane a
    cdef double n = wide.inputs
    cdef Py_ssize_t l, k
    fill(shift, 0.0, block.lanes)
    fill(out, 0.0, block.lanes)
    for k in range(wide.inputs):
        a = slot(block, block.table[wide.left + k])
        for l in range(block.lanes):
            out[l] = square_mean_step(out[l], a[l], shift[l])
    for l in range(block.lanes):
        out[l] = square_mean_finish(out[l], n, shift[l])


cdef inline void backward_square_mean(const Instruction *i, const Block *block) noexcept nogil:
    cdef const Wide *wide = &block.wides[i.left]
    cdef const_lane out = slot(block, i.out)
    cdef const_lane g = slot(block, i.out_adjoint)
    cdef const_lane a
    cdef lane target
    cdef double n = wide.inputs
    cdef Py_ssize_t l, k
    for k in range(wide.inputs):
        if block.table[wide.left_adjoint + k] < 0:
            continue
        a = slot(block, block.table[wide.left + k])
        target = slot(block, block.table[wide.left_adjoint + k])
        if block.table[wide.fresh_left + k]:
            for l in range(block.lanes):
                target[l] = square_mean_derivative(a[l], n, out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += square_mean_derivative(a[l], n, out[l]) * g[l]


cdef inline double logsumexp_step(double total, double a, double shift) noexcept nogil:
    return total + exp(a - shift)


cdef inline double logsumexp_finish(double total, double n, double shift) noexcept nogil:
    return shift + log(total)


cdef inline double logsumexp_derivative(double a, double n, double out) noexcept nogil:
    return exp(a - out)


cdef inline void forward_logsumexp(const Instruction *i, const Block *block) noexcept nogil:
    cdef const Wide *wide = &block.wides[i.left]
    cdef lane out = slot(block, i.out)
    cdef lane shift = block.scratch
    cdef const_lane a
    cdef double n = wide.inputs
    cdef Py_ssize_t l, k
    fill(shift, -INFINITY, block.lanes)
    for k in range(wide.inputs):
        a = slot(block, block.table[wide.left + k])
        for l in range(block.lanes):
            shift[l] = a[l] if a[l] > shift[l] else shift[l]
    for l in range(block.lanes):
        shift[l] = shift[l] if isfinite(shift[l]) else 0.0
    fill(out, 0.0, block.lanes)
    for k in range(wide.inputs):
        a = slot(block, block.table[wide.left + k])
        for l in range(block.lanes):
            out[l] = logsumexp_step(out[l], a[l], shift[l])
    for l in range(block.lanes):
        out[l] = logsumexp_finish(out[l], n, shift[l])


cdef inline void backward_logsumexp(const Instruction *i, const Block *block) noexcept nogil:
    cdef const Wide *wide = &block.wides[i.left]
    cdef const_lane out = slot(block, i.out)
    cdef const_lane g = slot(block, i.out_adjoint)
    cdef const_lane a
    cdef lane target
    cdef double n = wide.inputs
    cdef Py_ssize_t l, k
    for k in range(wide.inputs):
        if block.table[wide.left_adjoint + k] < 0:
            continue
        a = slot(block, block.table[wide.left + k])
        target = slot(block, block.table[wide.left_adjoint + k])
        if block.table[wide.fresh_left + k]:
            for l in range(block.lanes):
                target[l] = logsumexp_derivative(a[l], n, out[l]) * g[l]
        else:
            for l in range(block.lanes):
                target[l] += logsumexp_derivative(a[l], n, out[l]) * g[l]


cdef void run_forward(const Instruction *first, Py_ssize_t count, const Block *block) noexcept nogil:
    cdef const Instruction *i
    cdef Py_ssize_t at
    cdef int code
    for at in range(count):
        i = &first[at]
        code = i.code
        if code == CODE_LOAD:
            forward_load(i, block)
        elif code == CODE_OUTPUT:
            forward_output(i, block)
        elif code == CODE_BROADCAST:
            forward_broadcast(i, block)
        elif code == CODE_MATRIX:
            forward_matrix(i, block)
        elif code == CODE_INNER:
            forward_inner(i, block)
        elif code == CODE_MULTIPLY_ADD:
            forward_multiply_add(i, block)
        elif code == CODE_TAKE:
            forward_take(i, block)
        elif code == (ROW_ABS << 2):
            forward_abs(i, block)
        elif code == (ROW_RELU << 2):
            forward_relu(i, block)
        elif code == (ROW_TANH << 2):
            forward_tanh(i, block)
        elif code == (ROW_EXP << 2):
            forward_exp(i, block)
        elif code == (ROW_LOG << 2):
            forward_log(i, block)
        elif code == (ROW_SIGMOID << 2):
            forward_sigmoid(i, block)
        elif code == (ROW_SQRT << 2):
            forward_sqrt(i, block)
        elif code == (ROW_SIN << 2):
            forward_sin(i, block)
        elif code == (ROW_COS << 2):
            forward_cos(i, block)
        elif code == (ROW_ADD << 2 | LANE_LANE):
            forward_add_lane_lane(i, block)
        elif code == (ROW_ADD << 2 | LANE_UNIFORM):
            forward_add_lane_uniform(i, block)
        elif code == (ROW_ADD << 2 | UNIFORM_LANE):
            forward_add_uniform_lane(i, block)
        elif code == (ROW_SUB << 2 | LANE_LANE):
            forward_sub_lane_lane(i, block)
        elif code == (ROW_SUB << 2 | LANE_UNIFORM):
            forward_sub_lane_uniform(i, block)
        elif code == (ROW_SUB << 2 | UNIFORM_LANE):
            forward_sub_uniform_lane(i, block)
        elif code == (ROW_MUL << 2 | LANE_LANE):
            forward_mul_lane_lane(i, block)
        elif code == (ROW_MUL << 2 | LANE_UNIFORM):
            forward_mul_lane_uniform(i, block)
        elif code == (ROW_MUL << 2 | UNIFORM_LANE):
            forward_mul_uniform_lane(i, block)
        elif code == (ROW_DIV << 2 | LANE_LANE):
            forward_div_lane_lane(i, block)
        elif code == (ROW_DIV << 2 | LANE_UNIFORM):
            forward_div_lane_uniform(i, block)
        elif code == (ROW_DIV << 2 | UNIFORM_LANE):
            forward_div_uniform_lane(i, block)
        elif code == (ROW_POW << 2 | LANE_LANE):
            forward_pow_lane_lane(i, block)
        elif code == (ROW_POW << 2 | LANE_UNIFORM):
            forward_pow_lane_uniform(i, block)
        elif code == (ROW_POW << 2 | UNIFORM_LANE):
            forward_pow_uniform_lane(i, block)
        elif code == (ROW_SUM << 2):
            forward_sum(i, block)
        elif code == (ROW_MEAN << 2):
            forward_mean(i, block)
        elif code == (ROW_SQUARE_SUM << 2):
            forward_square_sum(i, block)
        elif code == (ROW_SQUARE_MEAN << 2):
            forward_square_mean(i, block)
        elif code == (ROW_LOGSUMEXP << 2):
            forward_logsumexp(i, block)


cdef void run_backward(const Instruction *first, Py_ssize_t count, const Block *block) noexcept nogil:
    cdef const Instruction *i
    cdef Py_ssize_t at
    cdef int code
    for at in range(count):
        i = &first[at]
        code = i.code
        if code == CODE_LOAD:
            backward_load(i, block)
        elif code == CODE_OUTPUT:
            backward_output(i, block)
        elif code == CODE_BROADCAST:
            backward_broadcast(i, block)
        elif code == CODE_MATRIX:
            backward_matrix(i, block)
        elif code == CODE_INNER:
            backward_inner(i, block)
        elif code == CODE_MULTIPLY_ADD:
            backward_multiply_add(i, block)
        elif code == CODE_TAKE:
            backward_take(i, block)
        elif code == (ROW_ABS << 2):
            backward_abs(i, block)
        elif code == (ROW_RELU << 2):
            backward_relu(i, block)
        elif code == (ROW_TANH << 2):
            backward_tanh(i, block)
        elif code == (ROW_EXP << 2):
            backward_exp(i, block)
        elif code == (ROW_LOG << 2):
            backward_log(i, block)
        elif code == (ROW_SIGMOID << 2):
            backward_sigmoid(i, block)
        elif code == (ROW_SQRT << 2):
            backward_sqrt(i, block)
        elif code == (ROW_SIN << 2):
            backward_sin(i, block)
        elif code == (ROW_COS << 2):
            backward_cos(i, block)
        elif code == (ROW_ADD << 2 | LANE_LANE):
            backward_add_lane_lane(i, block)
        elif code == (ROW_ADD << 2 | LANE_UNIFORM):
            backward_add_lane_uniform(i, block)
        elif code == (ROW_ADD << 2 | UNIFORM_LANE):
            backward_add_uniform_lane(i, block)
        elif code == (ROW_SUB << 2 | LANE_LANE):
            backward_sub_lane_lane(i, block)
        elif code == (ROW_SUB << 2 | LANE_UNIFORM):
            backward_sub_lane_uniform(i, block)
        elif code == (ROW_SUB << 2 | UNIFORM_LANE):
            backward_sub_uniform_lane(i, block)
        elif code == (ROW_MUL << 2 | LANE_LANE):
            backward_mul_lane_lane(i, block)
        elif code == (ROW_MUL << 2 | LANE_UNIFORM):
            backward_mul_lane_uniform(i, block)
        elif code == (ROW_MUL << 2 | UNIFORM_LANE):
            backward_mul_uniform_lane(i, block)
        elif code == (ROW_DIV << 2 | LANE_LANE):
            backward_div_lane_lane(i, block)
        elif code == (ROW_DIV << 2 | LANE_UNIFORM):
            backward_div_lane_uniform(i, block)
        elif code == (ROW_DIV << 2 | UNIFORM_LANE):
            backward_div_uniform_lane(i, block)
        elif code == (ROW_POW << 2 | LANE_LANE):
            backward_pow_lane_lane(i, block)
        elif code == (ROW_POW << 2 | LANE_UNIFORM):
            backward_pow_lane_uniform(i, block)
        elif code == (ROW_POW << 2 | UNIFORM_LANE):
            backward_pow_uniform_lane(i, block)
        elif code == (ROW_SUM << 2):
            backward_sum(i, block)
        elif code == (ROW_MEAN << 2):
            backward_mean(i, block)
        elif code == (ROW_SQUARE_SUM << 2):
            backward_square_sum(i, block)
        elif code == (ROW_SQUARE_MEAN << 2):
            backward_square_mean(i, block)
        elif code == (ROW_LOGSUMEXP << 2):
            backward_logsumexp(i, block)
