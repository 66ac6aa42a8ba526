"""Mutants of the table of operations: each changes one sign, operand, constant or operator of a row."""

import ast
from collections.abc import Iterator
from typing import Any, NamedTuple

ARITHMETIC = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
COMPARISONS = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
}
LOGIC = {ast.And: ast.Or, ast.Or: ast.And}
FUNCTIONS = {
    "sin": "cos",
    "cos": "sin",
    "exp": "log1p",
    "log1p": "exp",
    "log": "sqrt",
    "sqrt": "log",
    "tanh": "sin",
}


class Mutant(NamedTuple):
    """One expression of one row, and what it becomes."""

    number: int
    row: str
    # "value", "derivative 0", "step", "error 1" ..
    part: str
    change: str
    original: str
    mutated: str

    def __str__(self):
        return f"{self.row}, {self.part}: {self.original}  ->  {self.mutated}  ({self.change})"


def parts(row) -> list[tuple[str, str]]:
    """The row's expressions, by the names of their parts."""
    if hasattr(row, "step"):
        return [("step", row.step), ("finish", row.finish), ("derivative", row.derivative)]
    return [
        ("value", row.value),
        *((f"derivative {at}", expression) for at, expression in enumerate(row.derivatives)),
        *((f"error {at}", refusal.condition) for at, refusal in enumerate(row.errors)),
    ]


def with_parts(row, change):
    """The row with `change(part, expression)` in place of each expression."""
    if hasattr(row, "step"):
        return row._replace(**{part: change(part, expression) for part, expression in parts(row)})
    return row._replace(
        value=change("value", row.value),
        derivatives=tuple(change(f"derivative {at}", text) for at, text in enumerate(row.derivatives)),
        errors=tuple(
            refusal._replace(condition=change(f"error {at}", refusal.condition))
            for at, refusal in enumerate(row.errors)
        ),
    )


def operands(row, part: str) -> tuple[str, ...]:
    """The names that an expression may use."""
    if hasattr(row, "step"):
        shift = ("shift",) if "shift" in row.step else ()
        return {
            "step": ("total", "a", *shift),
            "finish": ("total", "n", *shift),
            "derivative": ("a", "out", "n"),
        }[part]
    names = ("a", "b", "c")[: row.operands]
    return (*names, "out") if part.startswith("derivative") else names


def changes(node: ast.AST, names: tuple[str, ...]) -> Iterator[tuple[str, ast.AST]]:
    """The nodes that may take the place of a node of an expression."""
    if isinstance(node, ast.Constant):
        yield "constant", ast.Constant(node.value + 1)
        yield "constant", ast.Constant(0.0 if node.value else -1.0)
        if node.value:
            yield "constant", ast.UnaryOp(ast.USub(), node)
    elif isinstance(node, ast.Name) and node.id in names:
        for other in names:
            if other != node.id:
                yield "operand", ast.Name(other)
        yield "sign", ast.UnaryOp(ast.USub(), node)
    elif isinstance(node, ast.BinOp):
        yield "operator", ast.BinOp(node.left, ARITHMETIC[type(node.op)](), node.right)
        yield "sign", ast.UnaryOp(ast.USub(), node)
    elif isinstance(node, ast.UnaryOp):
        yield "sign" if isinstance(node.op, ast.USub) else "condition", node.operand
    elif isinstance(node, ast.Compare):
        for other in COMPARISONS[type(node.ops[0])]:
            yield "comparison", ast.Compare(node.left, [other()], node.comparators)
    elif isinstance(node, ast.BoolOp):
        yield "condition", ast.BoolOp(LOGIC[type(node.op)](), node.values)
        for at in range(len(node.values)):
            rest = node.values[:at] + node.values[at + 1 :]
            yield "condition", rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
    elif isinstance(node, ast.IfExp):
        yield "branches", ast.IfExp(node.test, node.orelse, node.body)
        yield "branch", node.body
        yield "branch", node.orelse
    elif isinstance(node, ast.Call):
        if node.func.id in FUNCTIONS:
            yield "function", ast.Call(ast.Name(FUNCTIONS[node.func.id]), node.args, [])
        if node.func.id == "isfinite":
            yield "function", ast.Compare(node.args[0], [ast.Eq()], [node.args[0]])
        else:
            yield "function", node.args[0]
            yield "sign", ast.UnaryOp(ast.USub(), node)


def mutated(expression: str, names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Every expression that differs in one node."""
    count = sum(1 for _ in ast.walk(ast.parse(expression, mode="eval")))
    seen = {ast.unparse(ast.parse(expression, mode="eval"))}
    for at in range(count):
        choices = list(changes(list(ast.walk(ast.parse(expression, mode="eval")))[at], names))
        for choice in range(len(choices)):
            tree = ast.parse(expression, mode="eval")
            target = list(ast.walk(tree))[at]
            kind, replacement = list(changes(target, names))[choice]
            text = ast.unparse(Replacement(target, replacement).visit(tree))
            if text not in seen:
                seen.add(text)
                yield kind, text


class Replacement(ast.NodeTransformer):
    """Put one node in the place of another."""

    def __init__(self, target: ast.AST, replacement: ast.AST):
        self.target = target
        self.replacement = replacement

    def visit(self, node: ast.AST) -> Any:
        return self.replacement if node is self.target else self.generic_visit(node)


def mutants(rows) -> list[Mutant]:
    """All mutants of the rows, numbered from 1."""
    found: list[Mutant] = []
    for row in rows:
        for part, expression in parts(row):
            for change, text in mutated(expression, operands(row, part)):
                found.append(Mutant(len(found) + 1, row.name, part, change, expression, text))
    return found


def switched(row, all_mutants: list[Mutant]):
    """The row with all of its mutants, among which the C variable `mutant` chooses."""

    def switch(part: str, expression: str) -> str:
        for m in all_mutants:
            if (m.row, m.part) == (row.name, part):
                expression = f"(({m.mutated}) if mutant == {m.number} else {expression})"
        return expression

    return with_parts(row, switch)


def changed(row, m: Mutant):
    """The row as one mutant has it."""
    if row.name != m.row:
        return row
    return with_parts(row, lambda part, expression: m.mutated if part == m.part else expression)
