"""The instructions of a program, and the state of a block of rows: what the plan hands to the kernels.

A register is room for one number of each row of the block. A uniform number is the same in all rows. An
operand >= 0 is a register; an operand < 0 is ~index of a uniform number. An adjoint says where an
operand's gradient goes: a register if the operand varies by row, an accumulator if it is uniform, -1 if no
gradient is wanted.
"""

from libc.stdint cimport int32_t, int64_t

cdef enum Kind:
    LANE_LANE
    LANE_UNIFORM
    UNIFORM_LANE

cdef enum:
    FRESH_LEFT = 1 << 0
    FRESH_RIGHT = 1 << 1
    FRESH_THIRD = 1 << 2

# opcodes.py says of each opcode what left, right and third are.
cdef struct Instruction:
    int32_t opcode
    # A bit an operand: the contribution to its adjoint is the first, so it is stored and not added.
    int32_t fresh
    int32_t out
    int32_t out_adjoint
    # These three, and their adjoints, lie side by side: the compiler goes over them in loops.
    int32_t left
    int32_t right
    int32_t third
    int32_t left_adjoint
    int32_t right_adjoint
    int32_t third_adjoint

# An instruction of many operands; all but counts and flags are offsets into the table of integers.
cdef struct Wide:
    int32_t outputs
    int32_t inputs
    int32_t out
    int32_t out_adjoint
    int32_t left
    int32_t left_adjoint
    int32_t right
    int32_t right_adjoint
    int32_t fresh_left
    # Of a take: whether it is the first to add to the gradient of any operand that varies.
    int32_t any_fresh
    # Of a matrix: whether its weights, and not its bias alone, want a gradient.
    int32_t fresh_right
    # Of a matrix: how many of its operands, the first, want a gradient.
    int32_t active
    # Of a matrix: the row of the operation that each of its results goes through, or 0.
    int32_t activation
    int32_t weights
    int32_t bias
    # The ids of a matrix's results, for `print`.
    int32_t made
    # Offsets into the packed weights (-1: not wanted) and into the accumulators (-1: no gradients).
    int32_t packed
    int32_t transposed
    int32_t gradient

# The kinds of arguments in a signature. During a call every argument is REALS or INDICES.
cdef enum ArgumentKind:
    REALS
    INDICES
    NUMBER
    WHOLE_NUMBER
    # A buffer of neither float64 nor int64, until it is converted.
    UNKNOWN = -1

cdef struct Argument:
    int kind
    const char *data
    Py_ssize_t row_step
    Py_ssize_t column_step
    # Where the gradient by this argument goes, row by row, or NULL; the steps are numbers, not bytes.
    double *gradient
    Py_ssize_t gradient_row_step
    Py_ssize_t gradient_column_step
    Py_ssize_t columns

# Where an output goes, row by row.
cdef struct Place:
    char *data
    Py_ssize_t row_step

cdef struct LoopState
cdef struct Block
ctypedef void (*RunLoop)(const Instruction *, const Block *) noexcept nogil
ctypedef void (*Run)(const Instruction *, Py_ssize_t, const Block *) noexcept nogil

cdef struct Block:
    double *registers
    Py_ssize_t stride
    Py_ssize_t lanes
    # The number of the block's first row.
    Py_ssize_t row
    const double *uniform
    double *accumulators
    const double *packed
    const int32_t *table
    const Wide *wides
    const Argument *arguments
    # Of each output, or NULL if their sums over the rows are wanted.
    const Place *places
    Py_ssize_t outputs
    # d total / d output, the same for every row.
    const double *seeds
    # Room for a few lanes, and for the addresses of a wide instruction's operands, or the numbers themselves.
    double *scratch
    double **first_pointers
    double **second_pointers
    # Of a loop's step: where its outputs go, and where their gradients are; NULL for those that nobody reads.
    double **targets
    double **target_adjoints
    # What runs a loop instruction.
    RunLoop forward_loop
    RunLoop backward_loop
    LoopState *loops

cdef struct Kernels:
    Run forward
    Run backward
    # For blocks of one lane, whose registers lie side by side; a matrix needs whole vectors.
    Run forward_one
    Run backward_one


cdef inline Py_ssize_t choice(const char *index, Py_ssize_t choices) noexcept nogil:
    """A row's index for `take`. It was in range before the run; another thread may have changed it since."""
    # Volatile: the number that is compared is the number that is used.
    cdef int64_t number = (<const volatile int64_t *>index)[0]
    return number if 0 <= number < choices else 0
