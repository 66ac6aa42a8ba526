# Generated from operations.py by codegen/render.py: edit the table, not this file.

cdef enum:
    NEEDS_LEFT = 1
    NEEDS_RIGHT = 2
    NEEDS_OUT = 4


cdef inline int needed_for_left(int row) noexcept nogil:
    if row == ROW_ABS:
        return 1
    if row == ROW_RELU:
        return 4
    if row == ROW_TANH:
        return 4
    if row == ROW_EXP:
        return 4
    if row == ROW_LOG:
        return 1
    if row == ROW_SIGMOID:
        return 4
    if row == ROW_SQRT:
        return 4
    if row == ROW_SIN:
        return 1
    if row == ROW_COS:
        return 1
    if row == ROW_ADD:
        return 0
    if row == ROW_SUB:
        return 0
    if row == ROW_MUL:
        return 2
    if row == ROW_DIV:
        return 2
    if row == ROW_POW:
        return 3
    if row == ROW_SUM:
        return 0
    if row == ROW_MEAN:
        return 0
    if row == ROW_SQUARE_SUM:
        return 1
    if row == ROW_SQUARE_MEAN:
        return 1
    if row == ROW_LOGSUMEXP:
        return 5
    return 0


cdef inline int needed_for_right(int row) noexcept nogil:
    if row == ROW_ADD:
        return 0
    if row == ROW_SUB:
        return 0
    if row == ROW_MUL:
        return 1
    if row == ROW_DIV:
        return 3
    if row == ROW_POW:
        return 7
    return 0


cdef inline int flops_of(int row) noexcept nogil:
    if row == ROW_ABS:
        return 1
    if row == ROW_RELU:
        return 1
    if row == ROW_TANH:
        return 1
    if row == ROW_EXP:
        return 1
    if row == ROW_LOG:
        return 1
    if row == ROW_SIGMOID:
        return 8
    if row == ROW_SQRT:
        return 1
    if row == ROW_SIN:
        return 1
    if row == ROW_COS:
        return 1
    if row == ROW_ADD:
        return 1
    if row == ROW_SUB:
        return 1
    if row == ROW_MUL:
        return 1
    if row == ROW_DIV:
        return 2
    if row == ROW_POW:
        return 4
    return 2


cdef dict ROW_NAMES = {
    ROW_ABS: 'abs',
    ROW_RELU: 'relu',
    ROW_TANH: 'tanh',
    ROW_EXP: 'exp',
    ROW_LOG: 'log',
    ROW_SIGMOID: 'sigmoid',
    ROW_SQRT: 'sqrt',
    ROW_SIN: 'sin',
    ROW_COS: 'cos',
    ROW_ADD: 'add',
    ROW_SUB: 'sub',
    ROW_MUL: 'mul',
    ROW_DIV: 'div',
    ROW_POW: 'pow',
    ROW_SUM: 'sum',
    ROW_MEAN: 'mean',
    ROW_SQUARE_SUM: 'square_sum',
    ROW_SQUARE_MEAN: 'square_mean',
    ROW_LOGSUMEXP: 'logsumexp',
}

cdef set REFUSING = {ROW_EXP, ROW_LOG, ROW_SQRT, ROW_SIN, ROW_COS, ROW_DIV, ROW_POW}
