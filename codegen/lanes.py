"""Turn the table of operations into loops over lanes: what every kernel module includes around lanes.pxi."""

import ast
import re

from expressions import (
    OPERANDS,
    at_number,
    cases,
    doubles,
    flops,
    functions_called,
    functions_of,
    imports,
    inline,
    mask,
    nodes,
    one_of,
    row,
)
from table import SPECIAL_FUNCTIONS

HEADER = """\
from fastgrad.compiler.instructions cimport *
from fastgrad.ops cimport {numbers}

from libc.math cimport INFINITY
from libc.stdint cimport uint64_t
{imports}

cdef extern from "vector_math.h" nogil:
    ctypedef double *lane
    ctypedef const double *const_lane
    Py_ssize_t whole "fg_whole"(Py_ssize_t lanes) noexcept
    uint64_t kept "fg_kept"(int32_t fresh) noexcept
    double before "fg_before"(double, uint64_t keep) noexcept
"""
# Functions of vector_math.h that replace the C library's, which compilers do not vectorise; the number of
# operands.
OWN_FUNCTIONS = {"exp": 1, "log": 1, "log1p": 1, "tanh": 1, "pow": 2}
# Functions of vector_math.h that are right only for operands near 0. If all lanes of a block are near 0, a
# loop calls them; else the C library's are called.
NEAR_FUNCTIONS = ("sin", "cos")


# Functions that loops over lanes have as vector code, on some processors.
VECTORISED = {*OWN_FUNCTIONS, "sqrt", "fabs", "floor", "ceil", "rint"}


def is_scalar(o) -> bool:
    """Whether a row's functions are calls of the C library, which no loop of its own would speed up."""
    return o.compact and o.operands < 3 and not set(functions_called([o], [])) <= VECTORISED


def span(*expressions: str) -> str:
    """Over how many lanes a loop goes.

    Whole vectors, so that the compiler writes no second loop for the lanes that are left; the block's own
    where each lane is a call.
    """
    called = {call.func.id for expression in expressions for call in nodes(expression, ast.Call)}
    return "whole(block.lanes)" if called <= VECTORISED - {"pow"} else "block.lanes"


# The rows for which is_scalar() holds share these loops.
SCALAR_LOOPS = """

cdef void forward_scalar(const Instruction *i, const Block *block) noexcept nogil:
    cdef int row = i.opcode >> 2
    cdef lane out = lanes_of(block, i.out)
    cdef const double *a = lanes_of(block, i.left)
    cdef const double *b = a
    cdef Py_ssize_t j
    if row >= ROW_FIRST_BINARY:
        b = lanes_of(block, i.right)
    for j in range(block.lanes):
        out[j] = scalar_value(row, a[j], b[j])


cdef void backward_scalar(const Instruction *i, const Block *block) noexcept nogil:
    cdef int row = i.opcode >> 2
    cdef const_lane out = lanes_of(block, i.out)
    cdef const_lane g = lanes_of(block, i.out_adjoint)
    cdef const double *a = lanes_of(block, i.left)
    cdef const double *b = a
    cdef lane amount = block.scratch
    cdef Py_ssize_t j
    if row >= ROW_FIRST_BINARY:
        b = lanes_of(block, i.right)
    if i.left_adjoint >= 0:
        for j in range(block.lanes):
            amount[j] = scalar_da(row, a[j], b[j], out[j]) * g[j]
        give(block, i.left_adjoint, i.fresh & FRESH_LEFT, block.scratch, block.lanes)
    if row >= ROW_FIRST_BINARY and i.right_adjoint >= 0:
        for j in range(block.lanes):
            amount[j] = scalar_db(row, a[j], b[j], out[j]) * g[j]
        give(block, i.right_adjoint, i.fresh & FRESH_RIGHT, block.scratch, block.lanes)
"""


def scalar_functions(rows) -> list[str]:
    """The value and the derivatives of the rows that share loops, each as one function of the row."""
    lines = []
    for name, part, of in (
        ("scalar_value", "value", rows),
        ("scalar_da", "da", rows),
        ("scalar_db", "db", [o for o in rows if o.operands == 2]),
    ):
        out = "" if part == "value" else ", out"
        arguments = {1: f"a{out}", 2: f"a, b{out}"}
        choice = [(row(o), [f"return {o.name}_{part}({arguments[o.operands]})"]) for o in of]
        parameters = "int row, double a, double b" + (", double out" if out else "")
        lines += [
            "",
            "",
            f"cdef double {name}({parameters}) noexcept nogil:",
            *cases("row", choice),
            "    return a",
        ]
    return lines


def loop(statement: str, lanes: str, operands, frequent, indent: str) -> list[str]:
    """A loop over the lanes; others for frequent numbers in the place of `{b}`, a uniform right operand."""

    def plain(b: str, lanes: str, deeper: str) -> list[str]:
        return [f"{deeper}for j in range({lanes}):", f"{deeper}    {statement.format(b=b)}"]

    lines, keyword = [], "if"
    for number in frequent if ("b", "uniform") in operands else ():
        lines += [f"{indent}{keyword} b == {number}:", *plain(number, "whole(block.lanes)", indent + "    ")]
        keyword = "elif"
    if not lines:
        return plain("b", lanes, indent)
    return [*lines, f"{indent}else:", *plain("b", lanes, indent + "    ")]


def near(expression: str) -> str:
    """The expression with the functions for operands near 0."""
    return re.sub(rf"\b({'|'.join(NEAR_FUNCTIONS)})\(", r"near_\1(", expression)


def loops_near(expression: str, function: str, statement: str, operands, frequent, indent: str) -> list[str]:
    """loop(), with `{f}` in the statement for the function, and before it one for operands near 0."""
    calls = [call for call in nodes(expression, ast.Call) if call.func.id in NEAR_FUNCTIONS]
    names = sorted({ast.unparse(call.args[0]) for call in calls})
    far = loop(statement.replace("{f}", function), span(expression), operands, frequent, indent)
    if not names or any((name, "lane") not in operands for name in names):
        return far
    condition = " and ".join(f"all_near({name}, block.lanes)" for name in names)
    deeper = indent + "    "
    return [
        f"{indent}if {condition}:",
        *loop(statement.replace("{f}", f"{function}_near"), "whole(block.lanes)", operands, frequent, deeper),
        f"{indent}else:",
        *[f"    {line}" for line in far],
    ]


KINDS = {
    1: {"": (("a", "lane"),)},
    2: {
        "LANE_LANE": (("a", "lane"), ("b", "lane")),
        "LANE_UNIFORM": (("a", "lane"), ("b", "uniform")),
        "UNIFORM_LANE": (("a", "uniform"), ("b", "lane")),
    },
}
SIDES = {"a": ("left", "FRESH_LEFT"), "b": ("right", "FRESH_RIGHT")}


def fetch(operands) -> list[str]:
    lines = []
    for name, place in operands:
        side = SIDES[name][0]
        if place == "lane":
            lines.append(f"    cdef const_lane {name} = lanes_of(block, i.{side})")
        else:
            lines.append(f"    cdef double {name} = block.uniform[~i.{side}]")
    return lines


def arguments(operands) -> str:
    """The operands of a row in a loop; {b} stands for a uniform right one."""
    uniform = {"a": "a", "b": "{b}"}
    return ", ".join(f"{name}[j]" if place == "lane" else uniform[name] for name, place in operands)


def kernel(name: str, body: list[str]) -> list[str]:
    """Define a function that the interpreters call."""
    return inline("void", name, "const Instruction *i, const Block *block", body)


def opcode_of(entry, kind: str = "") -> str:
    """The name of the opcode of a row and a kind of operands."""
    return f"OPCODE_{entry.name.upper()}" + (f"_{kind}" if kind not in ("", "LANE_LANE") else "")


def opcodes(entries) -> list[str]:
    """The opcodes of rows as named constants: Cython makes a switch of names, but ifs of `row << 2`."""
    lines = ["", "cdef enum:"]
    for entry in entries:
        lines.append(f"    {opcode_of(entry)} = {row(entry)} << 2")
        if getattr(entry, "operands", 0) == 2:
            lines += [
                f"    {opcode_of(entry, kind)} = {row(entry)} << 2 | {kind}" for kind in list(KINDS[2])[1:]
            ]
    return lines


def branches(entry) -> tuple[list, list]:
    """The branches of the two interpreters for a row with a single opcode."""
    code = opcode_of(entry)
    return [(code, f"forward_{entry.name}(i, block)")], [(code, f"backward_{entry.name}(i, block)")]


def additions(fresh: str, function: str, expression: str, term: str, operands, frequent) -> list[str]:
    """Loops that add a term to the gradients `target`, or store it if it is the first.

    If the term calls a function, one loop does both: the call takes much longer than the choice.
    """
    if nodes(expression, ast.Call):
        either = f"target[j] = before(target[j], keep) + {term}"
        return [
            f"        keep = kept({fresh})",
            *loops_near(expression, function, either, operands, frequent, "        "),
        ]
    return [
        f"        if {fresh}:",
        *loops_near(expression, function, f"target[j] = {term}", operands, frequent, " " * 12),
        "        else:",
        *loops_near(expression, function, f"target[j] += {term}", operands, frequent, " " * 12),
    ]


def shared_quotient(o) -> str:
    """The quotient that the derivatives by both operands contain, or "".

    Over lanes it is computed once for both derivatives. There are still two loops: a single one reads
    gradients that it could store, which took a tenth longer in programs of many instructions, whose registers
    are in no near cache.
    """
    if o.operands != 2:
        return ""
    left, right = (
        {ast.unparse(part) for part in nodes(expression, ast.BinOp) if isinstance(part.op, ast.Div)}
        for expression in o.derivatives
    )
    return min(left & right, default="")


def with_quotient(o, quotient: str) -> list[str]:
    """Functions for the derivatives that take the quotient as an argument."""
    lines = inline("double", f"{o.name}_quotient", "double a, double b", [f"    return {quotient}"])
    for name, expression in zip("ab", o.derivatives, strict=True):
        body = ast.unparse(ast.parse(expression)).replace(f"({quotient})", quotient)
        body = body.replace(quotient, "quotient")
        parameters = "double a, double b, double out, double quotient"
        lines += inline("double", f"{o.name}_d{name}_given", parameters, [f"    return {body}"])
    return lines


def divided_once(o) -> list[str]:
    """Both gradients of lanes by lanes, for the beginning of a function."""
    given = "a[j], b[j], out[j], quotient[j]"
    lines = [
        "    cdef lane quotient = block.scratch",
        "    if i.left_adjoint >= 0 and i.right_adjoint >= 0:",
        f"        for j in range({span(*o.derivatives)}):",
        f"            quotient[j] = {o.name}_quotient(a[j], b[j])",
    ]
    for side, fresh, name in (("left", "FRESH_LEFT", "a"), ("right", "FRESH_RIGHT", "b")):
        term = f"{o.name}_d{name}_given({given}) * g[j]"
        lines += [
            f"        target = lanes_of(block, i.{side}_adjoint)",
            *additions(f"i.fresh & {fresh}", "", "0.0", term, (), ()),
        ]
    return [*lines, "        return"]


def loops(o) -> tuple[list[str], list, list]:
    """The functions of one row, and the branches of the two interpreters that call them."""
    lines, forward, backward = [], [], []
    for kind, operands in KINDS[o.operands].items():
        name = f"{o.name}_{kind.lower()}" if kind else o.name
        code = opcode_of(o, kind)
        lines += kernel(
            f"forward_{name}",
            [
                "    cdef lane out = lanes_of(block, i.out)",
                *fetch(operands),
                "    cdef Py_ssize_t j",
                *loops_near(
                    o.value,
                    f"{o.name}_value",
                    f"out[j] = {{f}}({arguments(operands)})",
                    operands,
                    o.frequent,
                    "    ",
                ),
            ],
        )
        body = [
            "    cdef const_lane out = lanes_of(block, i.out)",
            "    cdef const_lane g = lanes_of(block, i.out_adjoint)",
            *fetch(operands),
            "    cdef lane target",
            "    cdef uint64_t keep",
            "    cdef Py_ssize_t j",
        ]
        if kind == "LANE_LANE" and shared_quotient(o):
            lines += with_quotient(o, shared_quotient(o))
            body += divided_once(o)
        for (operand, place), expression in zip(operands, o.derivatives, strict=True):
            side, fresh = SIDES[operand]
            function = f"{o.name}_d{operand}"
            term = f"{{f}}({arguments(operands)}, out[j]) * g[j]"
            body.append(f"    if i.{side}_adjoint >= 0:")
            if place == "lane":
                body += [
                    f"        target = lanes_of(block, i.{side}_adjoint)",
                    *additions(f"i.fresh & {fresh}", function, expression, term, operands, o.frequent),
                ]
            else:
                body += [
                    "        target = block.scratch",
                    *loop(
                        f"target[j] = {term.replace('{f}', function)}", span(expression), (), (), "        "
                    ),
                    f"        block.accumulators[i.{side}_adjoint] += sum_of(block.scratch, block.lanes)",
                ]
        lines += kernel(f"backward_{name}", body)
        forward.append((code, f"forward_{name}(i, block)"))
        backward.append((code, f"backward_{name}(i, block)"))
    return lines, forward, backward


# The start of a reduction's fold, without and with the largest operand.
NO_SHIFT = """\
    fill(shift, 0.0, lanes)
"""
LARGEST = """\
    fill(shift, -INFINITY, lanes)
    for k in range(wide.inputs):
        a = lanes_of(block, block.table[wide.left + k])
        for j in range(lanes):
            shift[j] = a[j] if a[j] > shift[j] else shift[j]
    for j in range(lanes):
        shift[j] = shift[j] if isfinite(shift[j]) else 0.0
"""
# LARGEST for blocks of one lane.
ONE_LARGEST = """\
    shift = -INFINITY
    for k in range(wide.inputs):
        if r[table[wide.left + k]] > shift:
            shift = r[table[wide.left + k]]
    if not isfinite(shift):
        shift = 0.0
"""
REDUCTION = """

cdef inline double {name}_step(double total, double a, double shift) noexcept nogil:
    return {step}


cdef inline double {name}_finish(double total, double n, double shift) noexcept nogil:
    return {finish}


cdef inline double {name}_derivative(double a, double n, double out) noexcept nogil:
    return {derivative}


cdef inline void forward_{name}(const Instruction *i, const Block *block) noexcept nogil:
    cdef const Wide *wide = &block.wides[i.left]
    cdef lane out = lanes_of(block, i.out)
    cdef lane shift = block.scratch
    cdef const_lane a
    cdef double n = wide.inputs
    cdef Py_ssize_t lanes = whole(block.lanes), j, k
{shift}\
    fill(out, 0.0, lanes)
    for k in range(wide.inputs):
        a = lanes_of(block, block.table[wide.left + k])
        for j in range(lanes):
            out[j] = {name}_step(out[j], a[j], shift[j])
    for j in range(lanes):
        out[j] = {name}_finish(out[j], n, shift[j])


cdef inline void backward_{name}(const Instruction *i, const Block *block) noexcept nogil:
    cdef const Wide *wide = &block.wides[i.left]
    cdef const_lane out = lanes_of(block, i.out)
    cdef const_lane g = lanes_of(block, i.out_adjoint)
    cdef const_lane a
    cdef lane target
    cdef uint64_t keep
    cdef double n = wide.inputs
    cdef Py_ssize_t lanes = whole(block.lanes), j, k
    for k in range(wide.inputs):
        if block.table[wide.left_adjoint + k] < 0:
            continue
        a = lanes_of(block, block.table[wide.left + k])
        target = lanes_of(block, block.table[wide.left_adjoint + k])
        keep = kept(block.table[wide.fresh_left + k])
        for j in range(lanes):
            target[j] = before(target[j], keep) + {name}_derivative(a[j], n, out[j]) * g[j]

"""


ONE_REDUCTION = """

cdef inline double one_forward_{name}(const Wide *wide, const int32_t *table, const double *r) noexcept nogil:
    cdef double n = wide.inputs
    cdef double total = 0.0
    cdef double shift = 0.0
    cdef Py_ssize_t k
{one_shift}\
    for k in range(wide.inputs):
        total = {name}_step(total, r[table[wide.left + k]], shift)
    return {name}_finish(total, n, shift)


cdef inline void one_backward_{name}(
    const Wide *wide, const int32_t *table, double *r, double out, double g
) noexcept nogil:
    cdef double n = wide.inputs
    cdef double amount
    cdef Py_ssize_t k
    for k in range(wide.inputs):
        if table[wide.left_adjoint + k] >= 0:
            amount = {name}_derivative(r[table[wide.left + k]], n, out) * g
            one_give(r, table[wide.left_adjoint + k], table[wide.fresh_left + k], amount)
"""


def is_shifted(r) -> bool:
    """Whether a reduction needs the largest operand."""
    return "shift" in r.step or "shift" in r.finish


def reduction_loops(r) -> tuple[list[str], list, list]:
    """The functions of a reduction, and the branches of the two interpreters that call them."""
    parts = {part: getattr(r, part) for part in ("name", "step", "finish", "derivative")}
    text = REDUCTION.format(**parts, shift=LARGEST if is_shifted(r) else NO_SHIFT)
    return text.rstrip().split("\n"), *branches(r)


def compact_loops(o) -> tuple[list[str], list, list]:
    """One loop for the value and one for each derivative, over lanes; uniform operands are broadcast first.

    The operands of a row of three are in a list.
    """
    names = "abc"[: o.operands]
    if o.operands == 3:
        wide = ["    cdef const Wide *wide = &block.wides[i.left]"]
        places = [f"block.table[wide.left + {at}]" for at in range(3)]
        adjoints = [f"block.table[wide.left_adjoint + {at}]" for at in range(3)]
        fresh = [f"block.table[wide.fresh_left + {at}]" for at in range(3)]
    else:
        wide = []
        places = [f"i.{SIDES[name][0]}" for name in names]
        adjoints = [f"i.{SIDES[name][0]}_adjoint" for name in names]
        fresh = [f"i.fresh & {SIDES[name][1]}" for name in names]
    operands = [
        *wide,
        *[
            f"    cdef const_lane {name} = lanes_of(block, {place})"
            for name, place in zip(names, places, strict=True)
        ],
        "    cdef Py_ssize_t j",
    ]
    given = ", ".join(f"{name}[j]" for name in names)
    lines = kernel(
        f"forward_{o.name}",
        [
            "    cdef lane out = lanes_of(block, i.out)",
            *operands,
            f"    for j in range({span(o.value)}):",
            f"        out[j] = {o.name}_value({given})",
        ],
    )
    body = [
        "    cdef const_lane out = lanes_of(block, i.out)",
        "    cdef const_lane g = lanes_of(block, i.out_adjoint)",
        *operands,
        "    cdef lane amount = block.scratch",
    ]
    for name, adjoint, first, derivative in zip(names, adjoints, fresh, o.derivatives, strict=True):
        body += [
            f"    if {adjoint} >= 0:",
            f"        for j in range({span(derivative)}):",
            f"            amount[j] = {o.name}_d{name}({given}, out[j]) * g[j]",
            f"        give(block, {adjoint}, {first}, block.scratch, whole(block.lanes))",
        ]
    if all(derivative == "0.0" for derivative in o.derivatives):
        return lines, branches(o)[0], [(branches(o)[1][0][0], "backward_nothing(i, block)")]
    lines += kernel(f"backward_{o.name}", body)
    return lines, *branches(o)


def activations(table) -> list[str]:
    """Loops in place for rows whose derivative reads their result alone: over results, and over gradients."""
    fitting = [o for o in table if o.operands == 1 and mask(o.derivatives[0], ("a", "b", "out")) == 4]

    def chosen(
        name: str, rows: list, arguments: str, statement: str, results: str, pointers: str
    ) -> list[str]:
        lines, choice = [], ["    cdef Py_ssize_t k"]
        for number, o in enumerate(rows):
            lines += inline(
                "void",
                f"{name}_{o.name}",
                f"{arguments}, Py_ssize_t lanes",
                [
                    "    cdef Py_ssize_t j",
                    "    for j in range(lanes):",
                    f"        {statement.format(o.name)}",
                ],
            )
            choice += [
                f"    {'el' if number else ''}if row == {row(o)}:",
                "        for k in range(count):",
                f"            {name}_{o.name}({results}, lanes)",
            ]
        arguments = f"int row, {pointers}, Py_ssize_t count, Py_ssize_t lanes"
        return lines + inline("void", name, arguments, choice)

    value, derivative = "out[j] = {}_value(out[j])", "g[j] = {}_da(0.0, out[j]) * g[j]"
    late = [o for o in fitting if not o.fused]
    return [
        *chosen("activate", late, "lane out", value, "out[k]", "double **out"),
        *chosen(
            "pull", fitting, "lane g, const_lane out", derivative, "g[k], out[k]", "double **g, double **out"
        ),
        *one_of("is_fused", [o for o in fitting if o.fused]),
        *of_one_number("activated", fitting, "double out", "{}_value(out)", "out"),
        *of_one_number("pulled", fitting, "double g, double out", "{}_da(0.0, out) * g", "g"),
    ]


def of_one_number(name: str, rows: list, arguments: str, expression: str, otherwise: str) -> list[str]:
    """A function that computes some rows by their expressions, and `otherwise` for all others."""
    choice = []
    for o in rows:
        choice += [f"    if row == {row(o)}:", f"        return {expression.format(o.name)}"]
    return inline("double", name, f"int row, {arguments}", [*choice, f"    return {otherwise}"])


def interpreter(name: str, branches) -> list[str]:
    return [
        "",
        "",
        f"cdef void run_{name}(",
        "    const Instruction *first, Py_ssize_t count, const Block *block",
        ") noexcept nogil:",
        "    cdef const Instruction *i",
        "    cdef Py_ssize_t at",
        "    cdef int opcode",
        "    for at in range(count):",
        "        i = &first[at]",
        "        opcode = i.opcode",
        *cases("opcode", [(code, [call]) for code, call in branches], "        "),
    ]


def render_functions(table, reductions, instructions, notice: str) -> str:
    """row_functions.pxi, which the loops call: each row's value and derivatives, and the activations."""
    # Linear reductions are sums of products before they get here.
    numbers = ["ROW_FIRST_BINARY", *(row(o) for o in (*table, *[r for r in reductions if not r.linear]))]
    numbers += [f"OPCODE_{i.name.upper()}" for i in instructions.INSTRUCTIONS]
    numbers = "(\n    " + ",\n    ".join(numbers) + ",\n)"
    called = [name for name in functions_called(table, reductions) if name not in OWN_FUNCTIONS]
    header = HEADER.format(numbers=numbers, imports="\n".join(imports(called, SPECIAL_FUNCTIONS))).rstrip()
    own = [
        f'    double {name} "fg_{name}"({", ".join(["double"] * operands)}) noexcept'
        for name, operands in OWN_FUNCTIONS.items()
    ]
    own += [f'    double near_{name} "fg_{name}"(double) noexcept' for name in NEAR_FUNCTIONS]
    own.append('    bint all_near "fg_near"(const_lane, Py_ssize_t) noexcept')
    scalars = [line for o in table for line in (*functions_of(o), *functions_near(o))]
    shared = scalar_functions([o for o in table if is_scalar(o)])
    return "\n".join([notice, header, *own, *scalars, *shared, *activations(table)]) + "\n"


def functions_near(o) -> list[str]:
    """The functions of a row for operands near 0, if the row calls functions that are right only there."""
    names = OPERANDS[: o.operands]
    forms = [("value", names, o.value)]
    forms += [(f"d{name}", (*names, "out"), each) for name, each in zip(names, o.derivatives, strict=True)]
    return [
        line
        for form, parameters, expression in forms
        if near(expression) != expression
        for line in inline(
            "double", f"{o.name}_{form}_near", doubles(parameters), [f"    return {near(expression)}"]
        )
    ]


def render_loops(table, reductions, instructions, notice: str) -> tuple[str, str]:
    """row_loops.pxi, the loops of every row and two interpreters; row_scalars.pxi, the same of one lane."""
    lines = [notice.rstrip("\n"), *opcodes([*table, *[r for r in reductions if not r.linear]])]
    special = [i.name for i in instructions.INSTRUCTIONS]
    forward = [(f"OPCODE_{name.upper()}", f"forward_{name}(i, block)") for name in special]
    backward = [(f"OPCODE_{name.upper()}", f"backward_{name}(i, block)") for name in special]
    if any(map(is_scalar, table)):
        lines += SCALAR_LOOPS.rstrip().split("\n")
    for o in table:
        if is_scalar(o):
            code = opcode_of(o)
            forward.append((code, "forward_scalar(i, block)"))
            backward.append((code, "backward_scalar(i, block)"))
            continue
        text, ahead, back = compact_loops(o) if o.compact or o.operands == 3 else loops(o)
        lines += text
        forward += ahead
        backward += back
    folds = [r for r in reductions if not r.linear]
    for r in folds:
        text, ahead, back = reduction_loops(r)
        lines += text
        forward += ahead
        backward += back
    lines += interpreter("forward", forward)
    lines += interpreter("backward", backward)
    one_lane = [notice.rstrip("\n")]
    ahead = [branch for o in table for branch in branches_of_one_lane(o)[0]]
    back = [branch for o in table for branch in branches_of_one_lane(o)[1]]
    for r in folds:
        text, first, last = reduction_of_one_lane(r)
        one_lane += text
        ahead += first
        back += last
    one_lane += interpreter_of_one_lane("forward", ahead, forward)
    one_lane += interpreter_of_one_lane("backward", back, backward)
    return "\n".join(lines) + "\n", "\n".join(one_lane) + "\n"


def one_lane(name: str, place: str) -> str:
    """An operand of an instruction over one lane."""
    side = SIDES[name][0]
    return f"r[i.{side}]" if place == "lane" else f"u[~i.{side}]"


def branches_of_one_lane(o) -> tuple[list, list]:
    """The branches for a row of the table where the block is one lane and registers are single numbers."""
    forward, backward = [], []
    if o.operands == 3:
        given = ", ".join(f"r[table[wide.left + {at}]]" for at in range(3))
        wide = "wide = &block.wides[i.left]"
        body = [wide]
        for at, name in enumerate(OPERANDS):
            body += [
                f"if table[wide.left_adjoint + {at}] >= 0:",
                f"    amount = {o.name}_d{name}({given}, r[i.out]) * r[i.out_adjoint]",
                f"    one_give(r, table[wide.left_adjoint + {at}], table[wide.fresh_left + {at}], amount)",
            ]
        code = opcode_of(o)
        return [(code, [wide, f"r[i.out] = {o.name}_value({given})"])], [(code, body)]
    if is_scalar(o):
        code = opcode_of(o)
        return [(code, ["one_forward_scalar(i, r)"])], [(code, ["one_backward_scalar(i, r)"])]
    # The operands of compact rows are all lanes.
    for kind, operands in list(KINDS[o.operands].items())[: 1 if o.compact else None]:
        code = opcode_of(o, kind)
        given = ", ".join(one_lane(name, place) for name, place in operands)
        forward.append((code, [f"r[i.out] = {o.name}_value({given})"]))
        body = []
        for operand, place in operands:
            side, fresh = SIDES[operand]
            term = f"{o.name}_d{operand}({given}, r[i.out]) * r[i.out_adjoint]"
            target = f"r[i.{side}_adjoint]"
            if place == "lane":
                body += [
                    f"if i.{side}_adjoint >= 0:",
                    f"    amount = {term}",
                    f"    {target} = amount if i.fresh & {fresh} else {target} + amount",
                ]
            else:
                body += [f"if i.{side}_adjoint >= 0:", f"    sums[i.{side}_adjoint] += {term}"]
        backward.append((code, body))
    return forward, backward


ONE_LANE = """

cdef void run_{name}_one(const Instruction *first, Py_ssize_t count, const Block *block) noexcept nogil:
    \"\"\"The same for a block of one lane, whose registers lie side by side.

    Those that the members of a bundle have are lanes to the instructions that compute it.
    \"\"\"
    cdef double *r = block.registers
    cdef const double *u = block.uniform
    cdef double *sums = block.accumulators
    cdef const int32_t *table = block.table
    cdef const Wide *wide
    cdef const Instruction *i
    cdef double amount
    cdef Py_ssize_t at = 0
    cdef int opcode
    cdef Block bundle
    bundle.lanes = 0
    while at < count:
        i = &first[at]
        at += 1
        if i.members:
            if not bundle.lanes:
                bundle = block[0]
            bundle.lanes = i.members
            while at < count and first[at].members == i.members:
                at += 1
            block.{name}(i, first + at - i, &bundle)
            continue
        opcode = i.opcode
"""


def reduction_of_one_lane(r) -> tuple[list[str], list, list]:
    """The functions of a reduction where the block is one lane, and the branches that call them."""
    text = ONE_REDUCTION.format(name=r.name, one_shift=ONE_LARGEST if is_shifted(r) else "")
    code, wide = opcode_of(r), "&block.wides[i.left], table, r"
    forward = [f"r[i.out] = one_forward_{r.name}({wide})"]
    backward = [f"one_backward_{r.name}({wide}, r[i.out], r[i.out_adjoint])"]
    return text.rstrip().split("\n"), [(code, forward)], [(code, backward)]


def interpreter_of_one_lane(name: str, rows, rest) -> list[str]:
    """An interpreter with the rows of the table, and some instructions, written out in place."""
    own = [(f"OPCODE_{i.upper()}", [f"one_{name}_{i}(i, block, r, u, sums)"]) for i in OF_ONE_LANE]
    branches = [*rows, *own]
    known = {code for code, _ in branches}
    branches += [(code, [call]) for code, call in rest if code not in known]
    head = ONE_LANE.format(name=name).rstrip().split("\n")
    return [*head, *cases("opcode", branches, "        ")]


# The instructions for which kernels/one_lane.pxi has functions of one lane.
OF_ONE_LANE = ("load", "store", "power", "local", "inner", "multiply_add", "matrix")

READS = {"left": "READS_LEFT", "right": "READS_RIGHT", "out": "READS_OUT", "all": "READS_ALL"}
# Names of an operation's operands and result, and where an instruction has them.
PLACES = (("a", "left"), ("b", "right"), ("out", "out"))


def read_by(expression: str) -> tuple[str, ...]:
    """The fields of an instruction that an operation's derivative reads."""
    used = mask(expression, ("a", "b", "out"))
    return tuple(place for bit, (_, place) in zip((1, 2, 4), PLACES, strict=True) if used & bit)


def of_operation(o, instruction):
    """The instruction that computes a row of the table over lanes."""
    if o.operands == 3:
        return instruction(o.name, left="each", reads=(("all",), (), ()), flops=flops(o.value))
    reads = [read_by(derivative) for derivative in o.derivatives] + [()] * (3 - o.operands)
    right = "operand" if o.operands == 2 else ""
    return instruction(o.name, left="operand", right=right, reads=tuple(reads), flops=flops(o.value))


def of_reduction(r, instruction):
    """The instruction that computes a reduction over lanes."""
    return instruction(r.name, left="each", reads=(read_by(r.derivative), (), ()), flops=2)


def roles(table, reductions, instructions) -> list[str]:
    """The table of instructions: their numbers, and in C what the fields of each are."""
    special, make = instructions.INSTRUCTIONS, instructions.Instruction
    one_or_two = [of_operation(o, make) for o in sorted(table, key=lambda o: o.operands) if o.operands < 3]
    three = [of_operation(o, make) for o in table if o.operands == 3]
    # In the order of the rows in ops.pxd; leaves and nodes of the user's are computed by no instruction.
    entries = [None, *one_or_two, *[None] * 4, *[of_reduction(r, make) for r in reductions], *three, *special]
    # For each row that some instruction replaces: that instruction, and the condition on the right operand.
    standing = [
        (f"ROW_{i.stands_for.upper()}", [(f"OPCODE_{i.name.upper()}", i.where)])
        for i in special
        if i.stands_for
    ]
    role_names = [f"ROLE_{(role or 'none').upper()}" for role in instructions.ROLES]
    return [
        "",
        "# Instructions that are no row of the table; a row's have the number `row << 2 | kind`.",
        "cdef enum:",
        *[f"    OPCODE_{i.name.upper()} = ROW_END * 4 + {number}" for number, i in enumerate(special)],
        "",
        "cdef enum Role:",
        *[f"    {name}" for name in role_names],
        "",
        "# What a derivative reads; all are every operand of the list, and out.",
        "cdef enum:",
        *[f"    {name} = {1 << bit}" for bit, name in enumerate(READS.values())],
        "",
        "cdef extern from *:",
        '    """',
        "    /* What vector_math.h applies to the results of a matrix. */",
        f"    #define FG_FUSED {''.join(o.fused for o in table)}",
        "    typedef struct { const char *name; int out, fields[3], reads[3], flops; } fastgrad_roles;",
        "    static inline const fastgrad_roles *fastgrad_roles_of(int opcode) {",
        "        static const fastgrad_roles table[] = {",
        *[f"            {entry(i, instructions.ROLES)}," for i in entries],
        "        };",
        f"        const int end = {len(entries) - len(special)};",
        "        return &table[opcode < end * 4 ? opcode >> 2 : opcode - end * 3];",
        "    }",
        '    """',
        '    ctypedef struct Roles "fastgrad_roles":',
        "        const char *name",
        "        bint out",
        "        # Of left, right and third.",
        "        int fields[3]",
        "        int reads[3]",
        "        int flops",
        '    const Roles *roles_of "fastgrad_roles_of"(int opcode) noexcept nogil',
        *at_number("int", "opcode_at", standing, "0"),
    ]


def entry(i, roles) -> str:
    """One instruction as C."""
    if i is None:
        return '{"", 0, {0}, {0}, 0}'
    fields = ", ".join(str(roles.index(role)) for role in (i.left, i.right, i.third))
    bits = {place: 1 << bit for bit, place in enumerate(READS)}
    reads = ", ".join(str(sum(bits[place] for place in read)) for read in i.reads)
    return f'{{"{i.name}", {int(i.out)}, {{{fields}}}, {{{reads}}}, {i.flops}}}'
