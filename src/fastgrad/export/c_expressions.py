"""The expressions of the table of operations, as C."""

from __future__ import annotations

import ast
import math
from importlib.resources import files

__all__ = ["c_expression", "c_number", "special_functions"]

# Functions of the table that the C library has not.
SPECIAL = ("digamma", "mod", "polygamma")

OPERATORS: dict[type, str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.And: "&&",
    ast.Or: "||",
    ast.USub: "-",
    ast.UAdd: "+",
    ast.Not: "!",
}


def c_number(number: float) -> str:
    """Return a number as C writes it, in hexadecimal: no digit is lost."""
    if math.isnan(number):
        return "NAN"
    if math.isinf(number):
        return "INFINITY" if number > 0 else "(-INFINITY)"
    shown = number.hex()
    for zeros in ("0" * count for count in range(13, 0, -1)):
        shown = shown.replace(f"{zeros}p", "p")
    shown = shown.replace(".p", "p")
    return f"({shown})" if shown.startswith("-") else shown


def special_functions(lines: list[str]) -> list[str]:
    """Return the lines of the engine's own functions if these lines call one; the C library lacks them."""
    if not any(f"fastgrad_{name}(" in line for line in lines for name in SPECIAL):
        return []
    header = files("fastgrad").joinpath("engine.src/arithmetic/special.h").read_text("utf-8")
    # Without the include guard and the includes.
    body = header[header.index("#include <math.h>") : header.rindex("#endif")]
    return body.splitlines()[1:]


def c_expression(expression: str, names: dict[str, str]) -> str:
    """Return an expression of the table in C, with these texts in the place of its names."""
    return rendered(ast.parse(expression, mode="eval").body, names)


def rendered(node: ast.expr, names: dict[str, str]) -> str:
    if isinstance(node, ast.Constant):
        return c_number(float(node.value))  # type: ignore[arg-type]
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, ast.BinOp):
        return f"({rendered(node.left, names)} {OPERATORS[type(node.op)]} {rendered(node.right, names)})"
    if isinstance(node, ast.UnaryOp):
        return f"({OPERATORS[type(node.op)]}{rendered(node.operand, names)})"
    if isinstance(node, ast.BoolOp):
        return "(" + f" {OPERATORS[type(node.op)]} ".join(rendered(each, names) for each in node.values) + ")"
    if isinstance(node, ast.Compare):
        sides = [rendered(each, names) for each in (node.left, *node.comparators)]
        parts = [
            f"{left} {OPERATORS[type(operator)]} {right}"
            for left, operator, right in zip(sides[:-1], node.ops, sides[1:], strict=True)
        ]
        return "(" + " && ".join(parts) + ")"
    if isinstance(node, ast.IfExp):
        return (
            f"({rendered(node.test, names)} ? {rendered(node.body, names)} : {rendered(node.orelse, names)})"
        )
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        called = f"fastgrad_{node.func.id}" if node.func.id in SPECIAL else node.func.id
        return f"{called}({', '.join(rendered(each, names) for each in node.args)})"
    raise ValueError(f"there is no C for {ast.unparse(node)}")
