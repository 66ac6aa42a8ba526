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
    # A bit for each operand: set if this is the first contribution to its adjoint, which is stored, not
    # added.
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
    # Of a block of one row: 0, or how many registers side by side it computes, as if they were lanes.
    int32_t members

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
    # In a take: whether it is the first to add to the gradient of any operand that varies by row, and its
    # number among those of the program, or -1 if it reads no table.
    int32_t any_fresh
    int32_t lookup
    # In a matrix: whether the weights, and not the biases alone, want a gradient.
    int32_t fresh_right
    # In a matrix: how many of the operands want a gradient; they come first.
    int32_t active
    # In a matrix: the row of the activation that is applied to each result, or 0.
    int32_t activation
    int32_t weights
    int32_t bias
    # The ids of a matrix's results, for `print`.
    int32_t made
    # In a matrix, and in a gather of uniform numbers, of which `outputs` is 0:
    # offsets into the packed weights (-1: not wanted) and into the accumulators (-1: no gradients).
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
    # Where the gradient by this argument goes, row by row, or NULL; its strides count doubles, not bytes.
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
    # In a sparse call, else NULL: by `take` and row, of all `rows`, the parameter that is taken, or -1; its
    # number; and where its gradient goes, or NULL.
    const int32_t *taken
    const double *taken_numbers
    double *taken_gradients
    Py_ssize_t rows
    # For each output its Place, or NULL if the sums over the rows are wanted.
    const Place *places
    Py_ssize_t outputs
    # d total / d output, the same for every row.
    const double *seeds
    # Room for a few lanes, and for the addresses of a wide instruction's operands, or the numbers themselves.
    double *scratch
    double **first_pointers
    double **second_pointers
    # In a loop's step: where the outputs go, and where their gradients are; NULL for outputs that nobody
    # reads.
    double **targets
    double **target_adjoints
    # The functions that run a loop instruction, forward and back.
    RunLoop forward_loop
    RunLoop backward_loop
    # The loops over lanes, which compute bundles.
    Run forward
    Run backward
    LoopState *loops

cdef struct Kernels:
    Run forward
    Run backward
    # For blocks of one lane, whose registers lie side by side; a matrix needs whole vectors.
    Run forward_one
    Run backward_one


cdef inline Py_ssize_t choice(const char *index, Py_ssize_t choices) noexcept nogil:
    """A row's index for `take`, 0 if out of range, as another thread may have changed it after the check."""
    # Volatile, so that the number is read once: the one compared is the one used.
    cdef int64_t number = (<const volatile int64_t *>index)[0]
    return number if 0 <= number < choices else 0
