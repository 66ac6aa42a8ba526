"""Plan: instructions for one purpose, and where their numbers are."""

from libc.stdint cimport int32_t

from fastgrad.compiler.graph cimport Graph, Loop
from fastgrad.compiler.instructions cimport Instruction, Wide
from fastgrad.compiler.lowering cimport LoopStep
from fastgrad.compiler.rows cimport RowProgram
from fastgrad.compiler.transforms cimport Divided

# An input of a loop's step: columns from `first` of an argument, `stride` apart; or elements of the loop's
# operands, from `offset`, if there is no such argument (-1).
cdef struct InputCode:
    int32_t argument
    int32_t offset
    Py_ssize_t first
    Py_ssize_t stride
    bint active

cdef enum:
    # Of a divided step: the lanes, and from register to register.
    STEP_LANES = 256
    STEP_STRIDE = 264

# How instructions run where the lanes are steps.
cdef enum Way:
    OVER_LANES
    STEP_BY_STEP
    NOT_AT_ALL

# Instructions up to an end that run the same way.
cdef struct Stretch:
    Py_ssize_t end
    int way

# A loop as the replay runs it; the arrays belong to the LoopPlan.
cdef struct LoopCode:
    Py_ssize_t steps
    Py_ssize_t states
    Py_ssize_t outside
    Py_ssize_t inputs
    Py_ssize_t makes
    # The first of the arguments that stand for states, numbers from outside, inputs and what is made.
    Py_ssize_t base
    # The list of its operands: the first state, numbers from outside, elements of inputs.
    int32_t operands
    # The step's instructions.
    const Instruction *forward
    const Instruction *backward
    # Those of `forward` that compute again what the way back reads.
    const Instruction *again
    Py_ssize_t forward_count
    Py_ssize_t backward_count
    Py_ssize_t again_count
    const int32_t *table
    const Wide *wides
    Py_ssize_t registers
    # The first of the step's accumulators among all.
    Py_ssize_t accumulators
    InputCode *given
    # Registers outside: of the last state and its gradient, or -1; of what is made, all steps side by side.
    int32_t *results
    int32_t *result_adjoints
    int32_t *made
    # Whether each state's gradient is set by no instruction of the way back, and so by the loop itself.
    char *cleared
    char *states_active
    char *made_active
    # Of each number from outside: its index among the uniform numbers there, or -1 if it varies by row.
    int32_t *uniform
    # The numbers of the loops that are part of the step, and of the loop that this one is part of, or -1.
    int32_t *inner
    Py_ssize_t inner_count
    Py_ssize_t parent
    bint nested
    # Whether there is a way back, and whether it may be run more than once.
    bint differentiates
    bint repeats
    # Whether the lanes are steps, of one row. Then: the stretches of the instructions, and copies of these
    # for one lane at a time.
    bint over_steps
    const Stretch *ahead
    const Stretch *back
    Py_ssize_t ahead_count
    Py_ssize_t back_count
    const Instruction *scaled_forward
    const Instruction *scaled_backward
    const int32_t *scaled_table
    # Of each number of the state, 0, or its number among those that are computed step by step, from 1 on.
    const char *stepwise
    Py_ssize_t stepwise_count


# Where a `take` of the program finds its index, and the number of its list; the first parameter of a list of
# consecutive ones, as a column of a table is, else -1.
cdef struct Lookup:
    int32_t argument
    int32_t column
    int32_t wide
    int32_t first


cdef class Plan


cdef class LoopPlan:
    cdef readonly Loop loop
    cdef readonly Plan body
    cdef LoopCode code
    # The same over lanes that are steps, or None.
    cdef readonly Plan over_steps
    cdef Divided divided
    cdef LoopCode code_over_steps
    cdef char *stepwise
    # What a step then costs, as a share of what it costs in the interpreter of one row.
    cdef double share_over_steps

    cdef int fill(self, LoopStep step, Plan body) except -1
    cdef Py_ssize_t bytes(self) except -1


cdef class Plan:
    cdef int purpose
    # For every row, on the way forward and back; and once a batch, on numbers that are the same for all.
    cdef Instruction *forward
    cdef Instruction *backward
    cdef Instruction *once
    cdef Instruction *once_back
    cdef readonly Py_ssize_t forward_count
    cdef readonly Py_ssize_t backward_count
    cdef readonly Py_ssize_t once_count
    cdef Py_ssize_t once_back_count
    # For `print`: the id of each instruction's result, and of each backward instruction the forward one.
    cdef int32_t *made
    cdef int32_t *made_once
    cdef int32_t *origin
    cdef Wide *wides
    cdef Py_ssize_t wide_count
    cdef int32_t *table
    cdef Py_ssize_t table_size
    # The most operands or results of a matrix, and the most members of a bundle, or 0.
    cdef Py_ssize_t widest
    cdef Py_ssize_t most_members
    cdef readonly Py_ssize_t registers
    cdef Py_ssize_t outputs
    # The uniform numbers are, in this order: parameters, columns of arguments that all rows share, constants,
    # results of `once`. `shared` has (argument, column) of each of the second.
    cdef Py_ssize_t uniforms
    cdef readonly Py_ssize_t parameters
    cdef Py_ssize_t arguments
    cdef int32_t *shared
    cdef Py_ssize_t shared_count
    cdef double *initial
    # A table is parameters that only `take` reads: how many are in tables, where they are read, and which
    # parameters are in none.
    cdef Py_ssize_t tables
    cdef Lookup *lookups
    cdef Py_ssize_t lookup_count
    cdef int32_t *dense
    cdef Py_ssize_t dense_count
    # The accumulators are, in this order: sums of the outputs, gradients of tables (`table_sums` of them), of
    # other uniform numbers, of matrices. `accumulated` has the uniform number that each is the gradient of.
    # `sums` counts those of the steps of loops, too, which follow.
    cdef int32_t *accumulated
    cdef Py_ssize_t accumulators
    cdef Py_ssize_t table_sums
    cdef Py_ssize_t sums
    # The loops of this plan itself, with their numbers, and of a whole program all, outer before inner ones.
    cdef readonly list loops
    cdef readonly list loop_numbers
    cdef readonly list all_loops
    # The arguments of the call, and those that stand for what the steps of loops are given.
    cdef Py_ssize_t all_arguments
    # Whether the way back may be run more than once.
    cdef bint repeats
    # Of a loop's step: see LoopCode.
    cdef Instruction *again
    cdef Py_ssize_t again_count
    # Of a divided step: see LoopCode; and how many instructions run step by step.
    cdef Stretch *ahead
    cdef Stretch *back
    cdef Py_ssize_t ahead_count
    cdef Py_ssize_t back_count
    cdef Instruction *scaled
    cdef int32_t *scaled_table
    cdef readonly Py_ssize_t stepwise
    cdef Py_ssize_t stepwise_back
    # The biases and weights of matrices, packed in the order in which they are used; `packed_from` has the
    # uniform number of each.
    cdef Py_ssize_t packed
    cdef int32_t *packed_from
    cdef readonly double flops
    # Instructions and arithmetic operations of a row, forward, those of all steps of loops among them.
    cdef double work
    # (argument, column, number of choices) of every index.
    cdef list ranges
    cdef list workspaces
    # For a graph that selects and has a way back: the graph row by row, and the first accumulator of the
    # parameters' gradients that it computes. Else None.
    cdef RowProgram rows
    cdef Py_ssize_t by_row


cdef Plan make_plan(Graph graph, int purpose, tuple kinds, bint one_row)
