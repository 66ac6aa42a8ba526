"""The expressions of the table: what they read and call, and the Cython functions that compute them."""

import ast

OPERANDS = ("a", "b", "c")


def nodes(expression: str, kind) -> list:
    return [node for node in ast.walk(ast.parse(expression, mode="eval")) if isinstance(node, kind)]


def names_in(expression: str) -> set[str]:
    """The names that an expression reads, without those of the functions it calls."""
    called = {call.func.id for call in nodes(expression, ast.Call)}
    return {node.id for node in nodes(expression, ast.Name)} - called


def mask(expression: str, names) -> int:
    """Which of three names an expression reads, a bit each."""
    used = names_in(expression)
    return sum(bit for bit, name in zip((1, 2, 4), names, strict=True) if name in used)


def flops(expression: str) -> int:
    """The number of arithmetic operations of an expression; a call of a function counts as one."""
    return max(1, len(nodes(expression, (ast.BinOp, ast.Call, ast.UnaryOp))))


def expressions_of(entry) -> list[str]:
    """Every expression of an operation or a reduction."""
    if hasattr(entry, "step"):
        return [entry.step, entry.finish, entry.derivative]
    return [entry.value, *entry.derivatives, *(refusal.condition for refusal in entry.errors)]


def functions_called(table, reductions) -> list[str]:
    """The functions that the rows call."""
    expressions = [expression for entry in (*table, *reductions) for expression in expressions_of(entry)]
    return sorted({call.func.id for expression in expressions for call in nodes(expression, ast.Call)})


def imports(called, special) -> list[str]:
    """Declare the functions that are called: the C library's, and the special ones by their operands."""
    lines = [f"from libc.math cimport {', '.join(name for name in called if name not in special)}"]
    own = [name for name in called if name in special]
    if own:
        lines += ["", 'cdef extern from "engine.src/arithmetic/special.h" nogil:']
    for name in own:
        lines.append(f'    double {name} "fastgrad_{name}"({", ".join(["double"] * special[name])}) noexcept')
    return lines


def row(operation) -> str:
    """The name of the row's number in ops.pxd."""
    return f"ROW_{operation.name.upper()}"


def doubles(names) -> str:
    """Parameters of the type double."""
    return ", ".join(f"double {name}" for name in names)


def inline(returns: str, name: str, arguments: str, body: list[str]) -> list[str]:
    """Define an inline function that cannot raise."""
    return ["", "", f"cdef inline {returns} {name}({arguments}) noexcept nogil:", *body]


def cases(subject: str, branches: list[tuple[str, list[str]]], indent: str = "    ") -> list[str]:
    """An if/elif chain on one integer, which Cython compiles to a C switch."""
    lines = []
    for number, (value, body) in enumerate(branches):
        lines.append(f"{indent}{'el' if number else ''}if {subject} == {value}:")
        lines += [f"{indent}    {line}" for line in body]
    return lines


def at_number(returns: str, name: str, rows: list[tuple[str, list]], otherwise: str) -> list[str]:
    """A function of a row and the number b on its right; `rows` has (result, condition on b) for each row."""
    choice = [
        (row, [f"return {' else '.join([*(f'{found} if {where}' for found, where in parts), otherwise])}"])
        for row, parts in rows
    ]
    return inline(returns, name, "int row, double b", [*cases("row", choice), f"    return {otherwise}"])


def one_of(name: str, rows) -> list[str]:
    """A function that tells whether a row is one of these."""
    return inline(
        "bint", name, "int row", ["    return " + (" or ".join(f"row == {row(o)}" for o in rows) or "False")]
    )


def functions_of(operation) -> list[str]:
    """The value of a row, and its derivatives by each operand, as functions."""
    names = OPERANDS[: operation.operands]
    lines = inline("double", f"{operation.name}_value", doubles(names), [f"    return {operation.value}"])
    for name, derivative in zip(names, operation.derivatives, strict=True):
        parameters = doubles((*names, "out"))
        lines += inline("double", f"{operation.name}_d{name}", parameters, [f"    return {derivative}"])
    return lines
