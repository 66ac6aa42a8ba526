"""The table of instructions: what a program is made of beside the operations of fastgrad.operations.

The build renders it, and an entry for each operation, into ops.pxd as `roles_of`. From it the compiler places
registers, counts, lists and differentiates programs, without knowing any instruction by its name. To add one:
a row here, two loops in kernels/lanes.pxi (`forward_` and `backward_` and its name), and the pass of
lowering.pyx that makes it.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias, get_args

__all__ = ["INSTRUCTIONS", "ROLES", "Instruction", "Role"]

# What one of the three fields of an instruction may be. A list of operands is kept beside the instructions,
# and the field has its number.
#     operand     a register or, inverted, the index of a uniform number
#     result      an operand that gets no gradient
#     each        a list of operands
#     pairs       a list of pairs of operands, which are multiplied
#     given       a list of pairs: an operand, and the derivative by it, which gets no gradient
#     matrix      a list of operands, with the results, weights and biases of a matrix
#     argument    the number of an argument of the call        column    one of its columns
#     state       in a loop's step: a number of the state
#     next        in a loop's step: what it hands on: a number of the next state or, after these, one it makes
#     output      the number of an output          loop      the number of a loop of the program
#     uniform     a list of uniform numbers, which are packed side by side, as weights are
#     group       how many instructions, from this one on, it does the work of; 0 if one before it does
Role: TypeAlias = Literal[
    "",
    "operand",
    "result",
    "argument",
    "column",
    "state",
    "next",
    "output",
    "loop",
    "group",
    "uniform",
    "each",
    "pairs",
    "given",
    "matrix",
]
ROLES: tuple[Role, ...] = get_args(Role)


class Instruction(NamedTuple):
    """One instruction: what its fields are, and what the derivatives by its operands read."""

    name: str
    left: Role = ""
    right: Role = ""
    third: Role = ""
    # Whether it writes a register of its own.
    out: bool = True
    # For left, right and third: which of "left", "right", "out" the derivative by that operand reads. Not
    # given for pairs and matrices, where the derivative by one factor reads the other. For a state: what the
    # derivative by this number of it reads.
    reads: tuple[tuple[str, ...], ...] = ((), (), ())
    # The number of arithmetic operations: for each operand of a list, or without a list in all.
    flops: int = 0
    # The operation in whose place it stands, and for which right operands, if that is one constant for all
    # rows.
    stands_for: str = ""
    where: str = ""


INSTRUCTIONS: tuple[Instruction, ...] = (
    # out = a column of an argument. Columns side by side are loaded together: rows of 8 become 8 lanes.
    Instruction("load", left="argument", right="column", third="group"),
    # Give a number to the caller, or add it to the sum over the rows.
    Instruction("output", left="operand", right="output", third="group", out=False),
    # out = a uniform number, in every lane.
    Instruction("broadcast", left="operand"),
    # Several sums of the same lanes times uniform weights; an activation may be applied to each sum.
    Instruction("matrix", left="matrix", out=False, flops=2),
    # out = third + the sum of products of lanes.
    Instruction("inner", left="pairs", third="operand", flops=2),
    # out = left * right + third, where right and third are uniform.
    Instruction(
        "multiply_add", left="operand", right="operand", third="operand", reads=((), ("left",), ()), flops=2
    ),
    # out = left ** right, by a few products.
    Instruction(
        "power",
        left="operand",
        right="operand",
        reads=(("left", "out"), (), ()),
        flops=4,
        stands_for="pow",
        where="b == rint(b) and fabs(b) >= 2.0 and fabs(b) <= 16.0",
    ),
    # out = third. The list gives the operands and the derivatives by them.
    Instruction("local", left="given", third="result"),
    # out = the operand that a column of an argument chooses.
    Instruction("take", left="each", right="argument", third="column"),
    # A step that is repeated; the operands are the first state and the numbers that it takes from outside.
    Instruction("loop", left="each", right="loop", out=False),
    # Of one row: the members of a bundle = a list of operands.
    Instruction("gather", left="each"),
    # Of one row: the members of a bundle = left * right + third, a uniform number for each member.
    Instruction(
        "affine", left="operand", right="uniform", third="uniform", reads=((), ("left",), ()), flops=2
    ),
    # Of one row, on the way back alone: the gradients of a bundle = 0, where some come one by one.
    Instruction("clear", left="operand", out=False),
    # In a loop's step: give a number to the next step, or to the program around the loop.
    Instruction("store", left="operand", right="next", out=False),
    # Where the lanes are the steps of a loop: out = number `third` of the state, which each step sets to
    # left * number + right.
    Instruction(
        "recur",
        left="operand",
        right="operand",
        third="state",
        reads=(("out",), (), ("left",)),
        flops=2,
    ),
    # The same for a number of the state that each step has set to right; left is the derivative of the next
    # number by this one.
    Instruction("evolve", left="result", right="operand", third="state", reads=((), (), ("left",)), flops=2),
    # The same for number `right` of the state, which each step sets to left.
    Instruction("delay", left="operand", right="state"),
)
