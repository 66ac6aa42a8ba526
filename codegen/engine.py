"""Turn the table of operations into what the engine is built from: functions, rules, methods, stubs."""

import sysconfig

from expressions import (
    OPERANDS,
    at_number,
    cases,
    doubles,
    functions_called,
    functions_of,
    imports,
    inline,
    one_of,
    row,
)
from lanes import roles
from table import SPECIAL_FUNCTIONS, codes_of, parts_of

NOTICE = "# Generated from operations.py by codegen/render.py: edit the table, not this file.\n"
# Every module cimports ops.pxd, and so contains this.
NO_FRAMES = '''
# Tracebacks end at the line of Python that called compiled code. Cython keeps a frame's code object by its
# line alone, where several files of a module have a line of the same number: its frames name functions that
# were never called. Nor do users have the sources.
cdef extern from *:
    """
    #include <frameobject.h>
    /* Cython makes a frame for nothing but a traceback, and does without if it gets none. */
    #define PyFrame_New(state, code, globals, locals) NULL
    /* So nobody reads the names and lines that errors note: without them the modules are 4 % smaller. */
    #define PyCode_NewEmpty(file, name, line) \\
        ((void)(file), (void)(name), (void)(line), (PyCodeObject *)Py_NewRef(Py_None))
    #undef __PYX_MARK_ERR_POS
    #define __PYX_MARK_ERR_POS(file, line) \\
        { (void)__pyx_f; (void)__pyx_filename; (void)__pyx_lineno; (void)__pyx_clineno; }
    /* An exception that no line of Python has seen then has no traceback. Where an except clause ends, Cython
       gives up a reference to one without asking whether it is there: None is, and means the same. */
    static inline PyObject *fastgrad_object(PyObject *traceback) {
        if (traceback != NULL) return traceback;
        Py_INCREF(Py_None);
        return Py_None;
    }
    #if PY_VERSION_HEX >= 0x030C0000
    static inline PyObject *fastgrad_get_traceback(PyObject *error) {
        return fastgrad_object(PyException_GetTraceback(error));
    }
    #define PyException_GetTraceback fastgrad_get_traceback
    #else
    /* Cython would put None into the thread's state, where a line of Python takes it for a traceback;
       CPython's own functions know it. */
    #undef CYTHON_FAST_THREAD_STATE
    #define CYTHON_FAST_THREAD_STATE 0
    #if defined(__GNUC__)
    /* A variable of Cython's is then not used. */
    #pragma GCC diagnostic ignored "-Wunused-variable"
    #endif
    static inline void fastgrad_normalize(PyObject **type, PyObject **value, PyObject **traceback) {
        PyErr_NormalizeException(type, value, traceback);
        *traceback = fastgrad_object(*traceback);
    }
    #define PyErr_NormalizeException fastgrad_normalize
    #endif
    """
'''
# Whether this Python is free-threaded: then there is no pool of nodes.
HAS_NO_LOCK = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
STUB_MARK = "    # The methods of the table of operations go here.\n"


# The functions that choose a row's value and its derivatives, by the number of operands.
SWITCHES = {
    1: ("unary_value", ("unary_derivative",)),
    2: ("binary_value", ("left_derivative", "right_derivative")),
    3: ("ternary_value", ("ternary_da", "ternary_db", "ternary_dc")),
}


def switches(table) -> list[str]:
    """The values and derivatives of all rows with as many operands, each as one function of the row."""
    lines = []
    for count, (value, derivatives) in SWITCHES.items():
        rows, names = [o for o in table if o.operands == count], OPERANDS[:count]
        listed = ", ".join(names)
        choice = [(row(o), [f"return {o.name}_value({listed})"]) for o in rows]
        lines += inline(
            "double", value, f"int row, {doubles(names)}", [*cases("row", choice), "    return a"]
        )
        for name, derivative in zip(names, derivatives, strict=True):
            choice = [(row(o), [f"return {o.name}_d{name}({listed}, out)"]) for o in rows]
            parameters = f"int row, {doubles((*names, 'out'))}"
            lines += inline("double", derivative, parameters, [*cases("row", choice), "    return 1.0"])
    return lines


def folds(reductions) -> list[str]:
    """The parts of all reductions, each as one function of the row."""
    lines = []
    for part, names, otherwise in (
        ("step", ("total", "a", "shift"), "total"),
        ("finish", ("total", "n", "shift"), "total"),
        ("derivative", ("a", "n", "out"), "1.0"),
    ):
        choice = [(row(r), [f"return {getattr(r, part)}"]) for r in reductions]
        parameters = f"int row, {doubles(names)}"
        lines += inline(
            "double", f"reduction_{part}", parameters, [*cases("row", choice), f"    return {otherwise}"]
        )
    return lines


def simpler(table) -> list[str]:
    """Functions for the column `simpler`: the row that a row is, for a right operand b, and its left operand.

    The simpler row has the operand `a` on its right. On its left it has a number, or `a` too: nan says that.
    ROW_LEAF means that the result is `a` itself, and the same row that nothing is simpler.
    """
    rows, lefts = [], []
    for o in table:
        parts = [(f"b == {number}", *parts_of(expression, table)) for number, expression in o.simpler]
        rows.append((row(o), [(row(other) if other else "ROW_LEAF", where) for where, other, _ in parts]))
        lefts.append((row(o), [(left, where) for where, _, left in parts if left != "a"]))
    rows, lefts = ([each for each in found if each[1]] for found in (rows, lefts))
    return at_number("int", "simpler_row", rows, "row") + at_number("double", "simpler_left", lefts, "NAN")


CODES = """

cdef inline int code_for(int row, int form) noexcept nogil:
    \"\"\"The code of a node of this row; the form is 0 where operands have none.\"\"\"
    if row < ROW_FIRST_BINARY:
        return row + (row > ROW_LEAF)
    if row < ROW_FIRST_REDUCTION:
        return (row - ROW_FIRST_BINARY) * 4 + CODE_FIRST_BINARY | form
    return row - ROW_FIRST_REDUCTION + CODE_FIRST_REDUCTION


cdef inline int row_of(int code) noexcept nogil:
    if code < CODE_FIRST_BINARY:
        return code - (code > CODE_LEAF)
    if code < CODE_FIRST_REDUCTION:
        return (code - CODE_FIRST_BINARY >> 2) + ROW_FIRST_BINARY
    return code - CODE_FIRST_REDUCTION + ROW_FIRST_REDUCTION


cdef inline int form_of(int code) noexcept nogil:
    \"\"\"Which operands are numbers, or the activation of a sum of products.\"\"\"
    return code & 3 if CODE_FIRST_BINARY <= code < CODE_FIRST_REDUCTION else 0


cdef inline bint has_form(int row, int form) noexcept nogil:
    \"\"\"Whether a row of two operands makes nodes of a form: which of them is a number.\"\"\"
    if form == 1:
        return outer_row(row) == ROW_LEAF
    if form == 2:
        return not commutes(row)
    return form == 0 or right_in_symbol(row)


cdef inline bint is_dot(int code) noexcept nogil:
    return code & ~3 == CODE_DOT
"""
ACTIVATION = """

cdef inline int activation_row(int code) noexcept nogil:
    \"\"\"The activation of a dot product, kept in the two bits that are another operation's kind.\"\"\"
    cdef int which = code & 3
{choice}
    return ROW_LEAF


# The first before the others, so that the compiler finds a form without a branch: which way a neuron goes
# cannot be predicted (moons, forward: 120 -> 110 us).
cdef inline double activation_value(int code, double total) noexcept nogil:
    cdef double out = {first}_value(total)
    if activation_row(code) != {first_row}:
        out = other_activation_value(code & 3, total)
    return out


cdef inline double activation_derivative(int code, double out) noexcept nogil:
    cdef double derivative = {first}_da(0.0, out)
    if activation_row(code) != {first_row}:
        derivative = other_activation_derivative(code & 3, out)
    return derivative
"""


def activations(operations) -> list[str]:
    """The activations of dot products, by their index."""
    rows = [operations.BY_NAME[name] for name in operations.ACTIVATIONS[1:]]
    choice = cases("which", [(str(at), [f"return {row(o)}"]) for at, o in enumerate(rows, 1)])
    text = ACTIVATION.format(choice="\n".join(choice), first=rows[0].name, first_row=row(rows[0]))
    others = list(enumerate(rows, 1))[1:]
    values = cases("which", [(str(at), [f"return {o.name}_value(total)"]) for at, o in others])
    derivatives = cases("which", [(str(at), [f"return {o.name}_da(0.0, out)"]) for at, o in others])
    others = "other_activation_value", "other_activation_derivative"
    return [
        *inline("double", others[0], "int which, double total", [*values, "    return total"]),
        *inline("double", others[1], "int which, double out", [*derivatives, "    return 1.0"]),
        *text.rstrip().split("\n"),
    ]


def render_ops(operations, instructions) -> str:
    """ops.pxd: the rows' numbers, values, derivatives and symbols as inline functions."""
    table, reductions = operations.TABLE + operations.FUNCTIONS, operations.REDUCTIONS
    unary = [operation for operation in table if operation.operands == 1]
    binary = [operation for operation in table if operation.operands == 2]
    ternary = [operation for operation in table if operation.operands == 3]
    lines = [
        "# cython: cdivision=True",
        NOTICE,
        *imports(functions_called(table, reductions), SPECIAL_FUNCTIONS),
        "from libc.math cimport NAN",
        "",
        "cdef enum Row:",
        "    # A number in a traced graph; no node has this row.",
        "    ROW_CONSTANT = -1",
        "    ROW_LEAF = 0",
        *[f"    {row(operation)}" for operation in unary + binary],
        "    ROW_TABLE_END",
        "    # The rows that engine.src/node/references.pxi describes.",
        "    ROW_CUSTOM = ROW_TABLE_END",
        "    ROW_LOCAL",
        "    ROW_DOT",
        "    ROW_INNER",
        *[f"    {row(reduction)}" for reduction in reductions],
        *[f"    {row(operation)}" for operation in ternary],
        "    ROW_END",
        f"    ROW_FIRST_REDUCTION = {row(reductions[0])}",
        f"    ROW_FIRST_BINARY = {row(binary[0])}",
        f"    ROW_FIRST_TERNARY = {row(ternary[0])}",
        "",
        "# What says of a node in memory which row made it, and of which operands.",
        "cdef enum Code:",
        *[f"    CODE_{name} = {code}" for name, code in codes_of(table, reductions).items()],
    ]
    for operation in table:
        lines += functions_of(operation)
    lines += switches(table)
    lines += one_of("commutes", [o for o in binary if o.commutes])
    lines += one_of("selects", [o for o in table if o.selects])
    lines += one_of("is_compact", [o for o in binary if o.compact])
    lines += one_of("right_in_symbol", [o for o in binary if o.right_in_symbol])
    signs = [(row(o), [f"return {o.right_sign}"]) for o in binary if o.right_sign]
    lines += inline("double", "right_sign", "int row", [*cases("row", signs), "    return 0.0"])
    lines += simpler(binary)
    for part in ("outer", "inner"):
        shown = [o for o in binary if o.seen_as is not None]
        lines += inline(
            "int",
            f"{part}_row",
            "int row",
            cases("row", [(row(o), [f"return ROW_{getattr(o.seen_as, part).upper()}"]) for o in shown])
            + ["    return ROW_LEAF"],
        )
    lines += CODES.rstrip().split("\n")
    lines += folds(reductions)
    lines += one_of("needs_shift", [r for r in reductions if "shift" in r.step])
    lines += one_of("is_linear", [r for r in reductions if r.linear])
    lines += activations(operations)
    lines += roles(table, reductions, instructions)
    lines += one_of("refuses", [o for o in table if o.errors])
    return "\n".join(lines) + "\n" + NO_FRAMES


def render_refusals(table, reductions, activations) -> str:
    """refusals.pxi: every operation's names and errors, for the engine."""
    # In the order of the rows in ops.pxd.
    named = [o for count in (1, 2) for o in table if o.operands == count]
    named = [None, *named, *[None] * 4, *reductions, *(o for o in table if o.operands == 3)]
    names = [o.name if o else "" for o in named]
    symbols = ["" if o is None else o.name if o in reductions else symbol_of(o, table) for o in named]
    errors = []
    for o in table:
        for refusal in o.errors:
            errors += [
                f"    if row == {row(o)} and ({refusal.condition}):",
                f"        return raise_as({refusal.exception}, {refusal.reason!r}, row, a, b)",
            ]
    lines = [
        NOTICE,
        "# By row; that of a leaf, or of a node of the user's, has none.",
        f"cdef tuple SYMBOLS = {tuple(symbols)!r}",
        f"cdef tuple NAMES = {tuple(names)!r}",
        "cdef dict REDUCTION_ROWS = {",
        "    NAMES[row]: row for row in range(ROW_FIRST_REDUCTION, ROW_FIRST_TERNARY)",
        "}",
        "cdef dict OPERATION_ROWS = {",
        "    name: row for row, name in enumerate(NAMES) if name and name not in REDUCTION_ROWS",
        "}",
        "",
        "cdef dict OPERATORS = {",
        *[f"    {row(o)}: {o.symbol!r}," for o in table if is_operator(o)],
        "}",
        "",
        "cdef dict METHODS = {",
        *[f"    {row(o)}: {o.method!r}," for o in table if is_operator(o)],
        "}",
        "",
        f"cdef tuple ACTIVATIONS = {activations!r}",
        "",
        "",
        "cdef str described(int row, double a, double b):",
        '    """The operation as the user wrote it, with its operands\' values, for error messages."""',
        '    cdef str left = "..." if traced_here() else repr(a)',
        "    if row < ROW_FIRST_BINARY:",
        '        return f"{NAMES[row]}({left})"',
        "    if row not in OPERATORS:",
        '        return f"{NAMES[row]}({left}, {b!r})"',
        '    return f"{left} {OPERATORS[row]} {b!r}"',
        "",
        "",
        "cdef int raise_as(object error, str reason, int row, double a, double b) except -1:",
        '    raise error(f"{described(row, a, b)}: {reason}")',
        "",
        "",
        "cdef int refuse(int row, double a, double b) except -1:",
        "    if traced_here():",
        "        return 0",
        "    refuse_unknown(a, b)",
        "    return refuse_anywhere(row, a, b)",
        "",
        "",
        "cdef int refuse_anywhere(int row, double a, double b) except -1:",
        *errors,
        "    return 0",
    ]
    return "\n".join(lines) + "\n"


def render_rules(table) -> str:
    """rules.pxi: the backward rule of every operation of one or two operands, for the engine."""
    pulls = []
    for o in table:
        if o.operands == 3 or o.compact:
            continue
        da, db = f"{o.name}_da", f"{o.name}_db"
        if o.operands == 1:
            body = [f"to_left = {da}(a, node.data)"]
            pulls.append((code(o), chosen(body) if o.selects else body))
            continue
        both = [
            "right = <Node *>node.right.node",
            f"to_left = {da}(a, right.data, node.data)",
            f"to_right = {db}(a, right.data, node.data)",
        ]
        constant_right = [f"to_left = {da}(a, node.right.constant, node.data)"]
        constant_left = [f"to_left = {db}(node.right.constant, a, node.data)"]
        bodies = {
            "NODE_NODE": both,
            "NODE_CONSTANT": constant_right,
            "CONSTANT_NODE": constant_left,
            "NODE_INTEGER": constant_right,
        }
        if o.selects:
            bodies = {form: chosen(body) for form, body in bodies.items()}
        pulls += [(f"({code(o)} | {form})", bodies[form]) for form in forms_of(o)]
    lines = [
        NOTICE,
        *COMPACT_RULE.split("\n"),
        "cdef inline void pull_operation(",
        "    Node *node, int code, double g, Sweep *sweep",
        ") noexcept nogil:",
        "    cdef Node *left = <Node *>node.left",
        "    cdef Node *right = NULL",
        "    cdef double a = left.data, to_left = 0.0, to_right = 0.0",
        *cases("code", pulls),
        "    else:",
        "        pull_compact(node, code, g, sweep)",
        "        return",
        "    give(left, to_left * g, sweep)",
        "    if right != NULL:",
        "        give(right, to_right * g, sweep)",
    ]
    return "\n".join(lines) + "\n"


COMPACT_RULE = """\
cdef void pull_compact(Node *node, int code, double g, Sweep *sweep) noexcept nogil:
    \"\"\"The rule of a row that few programs need, not in line among those of the others.\"\"\"
    cdef int row = row_of(code)
    cdef Node *left = <Node *>node.left
    cdef Node *right = NULL
    cdef double a = left.data, b, to_left, to_right
    if row < ROW_FIRST_BINARY:
        to_left = unary_derivative(row, a, node.data)
        if selects(row):
            give_chosen(left, to_left, g, sweep)
        else:
            give(left, to_left * g, sweep)
        return
    if code & 3 == CONSTANT_NODE:
        a, b, right, left = node.right.constant, a, left, NULL
    elif code & 3 == NODE_NODE:
        right = <Node *>node.right.node
        b = right.data
    else:
        b = node.right.constant
    to_left = left_derivative(row, a, b, node.data)
    to_right = right_derivative(row, a, b, node.data)
    if selects(row):
        if left != NULL:
            give_chosen(left, to_left, g, sweep)
        if right != NULL:
            give_chosen(right, to_right, g, sweep)
        return
    if left != NULL:
        give(left, to_left * g, sweep)
    if right != NULL:
        give(right, to_right * g, sweep)

"""


def code(operation) -> str:
    """The name of the code of a row's nodes, without their form."""
    return f"CODE_{operation.name.upper()}"


def is_operator(operation) -> bool:
    """Whether a row of two operands is an operator of Python's, not a named method."""
    return operation.operands == 2 and operation.method.startswith("__")


def chosen(body: list[str]) -> list[str]:
    """A rule that passes a gradient to the chosen operands alone; others are not reached."""
    given = [
        f"give_chosen({line.split(' = ')[0][3:]}, {line.split(' = ')[0]}, g, sweep)"
        for line in body
        if line.startswith("to_")
    ]
    return [*body, *given, "return"]


def forms_of(operation) -> list[str]:
    """The kinds of operands that scalars.pxi makes nodes of, for a row of two operands; see has_form()."""
    kinds = ["NODE_NODE"]
    if operation.seen_as is None:
        kinds.append("NODE_CONSTANT")
    if not operation.commutes:
        kinds.append("CONSTANT_NODE")
    if operation.right_in_symbol:
        kinds.append("NODE_INTEGER")
    return kinds


def symbol_of(operation, table) -> str:
    """The symbol that inspection shows: that of the outer operation where there are two."""
    if operation.seen_as is None:
        return operation.symbol
    return next(o.symbol for o in table if o.name == operation.seen_as.outer)


def checked(operation, a: str, b: str, indent: str) -> list[str]:
    """Code that refuses operands without a number and, if the row has errors, results that are not finite."""
    known = f"{indent}    refuse_unknown({a}, {b})"
    if operation.errors:
        lines = [f"{indent}if out - out != 0.0:", f"{indent}    refuse({row(operation)}, {a}, {b})"]
    else:
        lines = [f"{indent}if out != out:", known]
    return [*lines, f"{indent}elif out == {operation.hides_nan}:", known] if operation.hides_nan else lines


def render_methods(table) -> str:
    """operators.pxi: the base class of Value, with one method for each row."""
    lines = [
        NOTICE,
        "cdef class _Arithmetic:",
        '    """The operations of the table; Value is the only class made from it."""',
        "",
    ]
    for o in table:
        doc = f'        """{o.doc}"""'
        if o.operands == 1 and o.compact:
            lines += [
                f"    def {o.method}(self):",
                doc,
                f"        return node_of_one({row(o)}, <Node *><PyObject *>self)",
                "",
            ]
        elif o.operands == 1:
            lines += [
                f"    def {o.method}(self):",
                doc,
                "        cdef Value operand = self",
                f"        cdef double out = {o.name}_value(operand.data)",
                *checked(o, "operand.data", "0.0", "        "),
                f"        return new_unary({code(o)}, out, <Node *><PyObject *>operand, 0.0)",
                "",
            ]
        elif not is_operator(o):
            lines += [
                f"    def {o.method}(self, other):",
                doc,
                f"        return of_method({row(o)}, self, other)",
                "",
            ]
        elif o.compact:
            lines += [
                f"    def {o.method}(left, right):",
                doc,
                f"        return binary({row(o)}, left, right)",
                "",
            ]
        else:
            modulo = ", modulo" if o.method == "__pow__" else ""
            lines += [f"    def {o.method}(left, right{modulo}):", doc]
            if modulo:
                lines += [
                    "        if modulo is not None:",
                    "            return NotImplemented",
                ]
            lines += [
                "        cdef double out",
                "        if in_pool(<PyObject *>left) and in_pool(<PyObject *>right):",
                f"            out = {o.name}_value((<Value>left).data, (<Value>right).data)",
                *checked(o, "(<Value>left).data", "(<Value>right).data", "            "),
                f"            return new_binary({code(o)} | NODE_NODE, out, "
                "<Node *><PyObject *>left, <Node *><PyObject *>right)",
                f"        return binary({row(o)}, left, right)",
                "",
            ]
        for alias in o.aliases:
            lines[-1:] = [f"    {alias} = {o.method}", ""]
    return "\n".join(lines[:-1]) + "\n"


def render_stub(table, template: str) -> str:
    """engine.pyi: the template with the methods of the table in it."""
    lines = []
    for o in table:
        if o.operands == 1:
            lines += [f"    def {method}(self) -> Value: ..." for method in (o.method, *o.aliases)]
            continue
        if not is_operator(o):
            lines += [
                f"    def {method}(self, other: Value | _Number) -> Value: ..."
                for method in (o.method, *o.aliases)
            ]
            continue
        extra = ", mod: None = None, /" if o.method == "__pow__" else ", /"
        reflected = o.method.replace("__", "__r", 1)
        for method in (o.method, reflected):
            lines.append(f"    def {method}(self, other: Value | _Number{extra}) -> Value: ...")
    return NOTICE + template.replace(STUB_MARK, "\n".join(lines) + "\n")


# The parts of the engine of which a build has one of two: with the pool, and without the lock.
ALTERNATIVES = {
    "node_memory": ("node/chunks.pxi", "node/singles.pxi"),
    "node_walks": ("node/chunk_walks.pxi", "node/single_walks.pxi"),
    "graph_walks": ("backward/survey.pxi", "backward/collect.pxi"),
    "sweep_from": ("backward/chunk_sweep.pxi", "backward/numbered_sweep.pxi"),
}


def render_alternatives() -> dict[str, str]:
    """Return the file that includes one of two parts, for the Python that builds, by its name."""
    return {f"{name}.pxi": included(parts[HAS_NO_LOCK]) for name, parts in ALTERNATIVES.items()}


def render_checks() -> str:
    """checks.pxi: the invariants of the pool, for a Python that has one."""
    return "" if HAS_NO_LOCK else included("node/invariants.pxi")


def included(part: str) -> str:
    """Include a part of the engine."""
    return f'# Written by codegen/render.py for one build of Python.\ninclude "../{part}"\n'
