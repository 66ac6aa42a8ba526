"""Turn the table of operations into the Cython and stub files that are built from it.

    python codegen/render.py        # writes next to the sources, as `setup.py` does

The files it writes are not kept in version control.
"""

import importlib.util
import sysconfig
from pathlib import Path
from types import ModuleType

from expressions import library_functions
from render_lanes import render_kernels, roles

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "fastgrad"
NOTICE = "# Generated from operations.py by codegen/render.py: edit the table, not this file.\n"
# Every module cimports ops.pxd, and so has this.
NO_FRAMES = '''
# Tracebacks end at the line of Python that called compiled code. Cython keeps a frame's code object by its
# line alone, where several files of a module have a line of the same number: its frames name functions that
# were never called. Nor do users have the sources.
cdef extern from *:
    """
    #include <frameobject.h>
    /* Cython makes a frame for nothing but a traceback, and does without if it gets none. */
    #define PyFrame_New(state, code, globals, locals) NULL
    """
'''
STUB_MARK = "    # The methods of the table of operations go here.\n"


def load_table(path: Path = PACKAGE / "operations.py") -> ModuleType:
    """Load a table by its path: the package itself cannot be imported before it is built."""
    spec = importlib.util.spec_from_file_location(f"fastgrad_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(operation) -> str:
    """The name of the row's number in ops.pxd."""
    return f"ROW_{operation.name.upper()}"


def cases(subject: str, branches: list[tuple[str, list[str]]], indent: str = "    ") -> list[str]:
    """An if/elif chain on one integer, which Cython compiles to a C switch."""
    lines = []
    for number, (value, body) in enumerate(branches):
        lines.append(f"{indent}{'el' if number else ''}if {subject} == {value}:")
        lines += [f"{indent}    {line}" for line in body]
    return lines


def inline(returns: str, name: str, arguments: str, body: list[str]) -> list[str]:
    """Define an inline function that cannot raise."""
    return ["", "", f"cdef inline {returns} {name}({arguments}) noexcept nogil:", *body]


def render_ops(table, reductions, instructions) -> str:
    """ops.pxd: the rows' numbers, values, derivatives and symbols as inline functions."""
    unary = [operation for operation in table if operation.operands == 1]
    binary = [operation for operation in table if operation.operands == 2]
    ternary = [operation for operation in table if operation.operands == 3]
    lines = [
        "# cython: cdivision=True",
        NOTICE,
        f"from libc.math cimport {', '.join(library_functions(table, reductions))}",
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
    ]
    for operation in table:
        names = ("a", "b", "c")[: operation.operands]
        operands = ", ".join(f"double {name}" for name in names)
        lines += inline("double", f"{operation.name}_value", operands, [f"    return {operation.value}"])
        for name, derivative in zip(names, operation.derivatives, strict=True):
            lines += inline(
                "double",
                f"{operation.name}_d{name}",
                f"{operands}, double out",
                [f"    return {derivative}"],
            )
    lines += inline(
        "double",
        "unary_value",
        "int row, double a",
        cases("row", [(row(o), [f"return {o.name}_value(a)"]) for o in unary]) + ["    return a"],
    )
    lines += inline(
        "double",
        "unary_derivative",
        "int row, double a, double out",
        cases("row", [(row(o), [f"return {o.name}_da(a, out)"]) for o in unary]) + ["    return 1.0"],
    )
    lines += inline(
        "double",
        "binary_value",
        "int row, double a, double b",
        cases("row", [(row(o), [f"return {o.name}_value(a, b)"]) for o in binary]) + ["    return a"],
    )
    lines += inline(
        "double",
        "left_derivative",
        "int row, double a, double b, double out",
        cases("row", [(row(o), [f"return {o.name}_da(a, b, out)"]) for o in binary]) + ["    return 1.0"],
    )
    lines += inline(
        "double",
        "right_derivative",
        "int row, double a, double b, double out",
        cases("row", [(row(o), [f"return {o.name}_db(a, b, out)"]) for o in binary]) + ["    return 1.0"],
    )
    lines += inline(
        "double",
        "ternary_value",
        "int row, double a, double b, double c",
        cases("row", [(row(o), [f"return {o.name}_value(a, b, c)"]) for o in ternary]) + ["    return a"],
    )
    for name in ("a", "b", "c"):
        lines += inline(
            "double",
            f"ternary_d{name}",
            "int row, double a, double b, double c, double out",
            cases("row", [(row(o), [f"return {o.name}_d{name}(a, b, c, out)"]) for o in ternary])
            + ["    return 1.0"],
        )
    lines += inline(
        "bint",
        "commutes",
        "int row",
        ["    return " + " or ".join(f"row == {row(o)}" for o in binary if o.commutes)],
    )
    lines += inline(
        "bint",
        "selects",
        "int row",
        ["    return " + " or ".join(f"row == {row(o)}" for o in binary + ternary if o.selects)],
    )
    for part in ("outer", "inner"):
        shown = [o for o in binary if o.seen_as is not None]
        lines += inline(
            "int",
            f"{part}_row",
            "int row",
            cases("row", [(row(o), [f"return ROW_{getattr(o.seen_as, part).upper()}"]) for o in shown])
            + ["    return ROW_LEAF"],
        )
    lines += inline(
        "double",
        "reduction_step",
        "int row, double total, double a, double shift",
        cases("row", [(row(r), [f"return {r.step}"]) for r in reductions]) + ["    return total"],
    )
    lines += inline(
        "double",
        "reduction_finish",
        "int row, double total, double n, double shift",
        cases("row", [(row(r), [f"return {r.finish}"]) for r in reductions]) + ["    return total"],
    )
    lines += inline(
        "double",
        "reduction_derivative",
        "int row, double a, double n, double out",
        cases("row", [(row(r), [f"return {r.derivative}"]) for r in reductions]) + ["    return 1.0"],
    )
    lines += inline(
        "bint",
        "needs_shift",
        "int row",
        ["    return " + " or ".join(f"row == {row(r)}" for r in reductions if "shift" in r.step)],
    )
    lines += roles(table, reductions, instructions)
    lines += inline(
        "bint",
        "refuses",
        "int row",
        ["    return " + " or ".join(f"row == {row(o)}" for o in table if o.errors)],
    )
    return "\n".join(lines) + "\n" + NO_FRAMES


def render_rules(table, reductions) -> str:
    """rules.pxi: every operation's symbol, errors and backward rule, for the engine."""
    symbols = [f"    {row(o)}: {symbol_of(o, table)!r}," for o in table]
    symbols += [f"    {row(r)}: {r.name!r}," for r in reductions]
    errors = []
    for o in table:
        for refusal in o.errors:
            errors += [
                f"    if row == {row(o)} and ({refusal.condition}):",
                f"        raise {refusal.exception}(described(row, a, b) + {': ' + refusal.reason!r})",
            ]
    pulls = []
    for o in table:
        if o.operands == 3:
            continue
        da, db = f"{o.name}_da", f"{o.name}_db"
        if o.operands == 1:
            pulls.append((f"({row(o)} << 2)", [f"to_left = {da}(a, node.data)"]))
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
            bodies = {kind: chosen(body) for kind, body in bodies.items()}
        pulls += [(f"({row(o)} << 2 | {kind})", bodies[kind]) for kind in kinds_of(o)]
    lines = [
        NOTICE,
        "cdef dict SYMBOLS = {",
        *symbols,
        "}",
        "",
        "cdef dict NAMES = {",
        *[f"    {row(o)}: {o.name!r}," for o in table],
        "}",
        "",
        "cdef dict OPERATION_ROWS = {",
        *[f"    {o.name!r}: {row(o)}," for o in table],
        "}",
        "",
        "cdef dict REDUCTION_ROWS = {",
        *[f"    {r.name!r}: {row(r)}," for r in reductions],
        "}",
        "",
        "cdef dict OPERATORS = {",
        *[f"    {row(o)}: {o.symbol!r}," for o in table if o.operands == 2 and o.method],
        "}",
        "",
        "cdef dict METHODS = {",
        *[f"    {row(o)}: {o.method!r}," for o in table if o.operands == 2 and o.method],
        "}",
        "",
        "",
        "cdef set CODES_OF_TWO = {",
        *[f"    {row(o)} << 2 | {kind}," for o in table if o.operands == 2 for kind in kinds_of(o)],
        "}",
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
        "",
        "",
        "cdef inline void pull_operation(",
        "    Node *node, int code, double g, Sweep *sweep",
        ") noexcept nogil:",
        "    cdef Node *left = <Node *>node.left",
        "    cdef Node *right = NULL",
        "    cdef double a = left.data, to_left = 0.0, to_right = 0.0",
        *cases("code", pulls),
        "    give(left, to_left * g, sweep)",
        "    if right != NULL:",
        "        give(right, to_right * g, sweep)",
    ]
    return "\n".join(lines) + "\n"


def chosen(body: list[str]) -> list[str]:
    """A rule that gives its gradient to the chosen operands alone, and reaches no other."""
    given = [
        f"give_chosen({line.split(' = ')[0][3:]}, {line.split(' = ')[0]}, g, sweep)"
        for line in body
        if line.startswith("to_")
    ]
    return [*body, *given, "return"]


def kinds_of(operation) -> list[str]:
    """The kinds of operands with which scalars.pxi makes nodes of a row of two."""
    kinds = ["NODE_NODE"]
    if operation.seen_as is None:
        kinds.append("NODE_CONSTANT")
    if not operation.commutes:
        kinds.append("CONSTANT_NODE")
    if operation.name == "pow":
        kinds.append("NODE_INTEGER")
    return kinds


def symbol_of(operation, table) -> str:
    """The symbol that inspection shows: that of the outer operation where there are two."""
    if operation.seen_as is None:
        return operation.symbol
    return next(o.symbol for o in table if o.name == operation.seen_as.outer)


def checked(operation, a: str, b: str, indent: str) -> list[str]:
    """Refuse a result that is not finite, if the operation refuses any, and operands that are unknown."""
    if not operation.errors:
        return [f"{indent}if out != out:", f"{indent}    refuse_unknown({a}, {b})"]
    # Powers may be numbers where an operand is none.
    known = f"{indent}refuse_unknown({a}, {b})"
    refused = [f"{indent}if out - out != 0.0:", f"{indent}    refuse({row(operation)}, {a}, {b})"]
    return [*refused, f"{indent}elif out == 1.0:", f"    {known}"] if operation.name == "pow" else refused


def render_methods(table) -> str:
    """methods.pxi: the base class of Value, with one method for each row."""
    lines = [
        NOTICE,
        "cdef class _Arithmetic:",
        '    """The operations of the table; Value is the only class made from it."""',
        "",
    ]
    for o in table:
        doc = f'        """{o.doc}"""'
        if o.operands == 1:
            lines += [
                f"    def {o.method}(self):",
                doc,
                "        cdef Value operand = self",
                f"        cdef double out = {o.name}_value(operand.data)",
                *checked(o, "operand.data", "0.0", "        "),
                f"        return new_unary({row(o)} << 2, out, <Node *><PyObject *>operand, 0.0)",
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
                f"            return new_binary({row(o)} << 2, out, "
                "<Node *><PyObject *>left, <Node *><PyObject *>right)",
                f"        return binary({row(o)}, left, right)",
                "",
            ]
    return "\n".join(lines[:-1]) + "\n"


def render_stub(table, template: str) -> str:
    """engine.pyi: the template with the methods of the table in it."""
    lines = []
    for o in table:
        if o.operands == 1:
            lines.append(f"    def {o.method}(self) -> Value: ...")
            continue
        extra = ", mod: None = None, /" if o.method == "__pow__" else ", /"
        reflected = o.method.replace("__", "__r", 1)
        for method in (o.method, reflected):
            lines.append(f"    def {method}(self, other: Value | _Number{extra}) -> Value: ...")
    return NOTICE + template.replace(STUB_MARK, "\n".join(lines) + "\n")


def render_memory() -> str:
    """memory.pxi: the file with the memory of nodes, for the Python that builds."""
    name = "singles" if sysconfig.get_config_var("Py_GIL_DISABLED") else "chunks"
    return f'# Written by codegen/render.py for one build of Python.\ninclude "../node/{name}.pxi"\n'


def write_if_changed(path: Path, text: str) -> None:
    """Leave an unchanged file's date alone, so that a rebuild has nothing to do."""
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def render_all(package: Path = PACKAGE) -> None:
    """Write every generated file of the package."""
    operations = load_table(package / "operations.py")
    methods, reductions = operations.TABLE, operations.REDUCTIONS
    table = methods + operations.FUNCTIONS
    instructions = load_table(package / "compiler" / "opcodes.py")
    engine, kernels = package / "engine.src" / "generated", package / "compiler" / "kernels" / "generated"
    template = Path(__file__).with_name("engine.pyi.in").read_text()
    files = {
        package / "ops.pxd": render_ops(table, reductions, instructions),
        package / "engine.pyi": render_stub(methods, template),
        engine / "rules.pxi": render_rules(table, reductions),
        engine / "memory.pxi": render_memory(),
        engine / "methods.pxi": render_methods(methods),
        kernels / "loops.pxi": render_kernels(table, reductions, instructions, NOTICE),
    }
    for path, text in files.items():
        write_if_changed(path, text)


if __name__ == "__main__":  # no cover: setup.py calls render_all itself
    render_all()
