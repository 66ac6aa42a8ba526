"""What the expressions of the table of operations say: the names, functions and arithmetic in them."""

import ast


def nodes(expression: str, kind) -> list:
    return [node for node in ast.walk(ast.parse(expression, mode="eval")) if isinstance(node, kind)]


def mask(expression: str, names) -> int:
    """Which of three names an expression reads, a bit each."""
    used = {node.id for node in nodes(expression, ast.Name)}
    return sum(bit for bit, name in zip((1, 2, 4), names, strict=True) if name in used)


def flops(expression: str) -> int:
    """Arithmetic operations of an expression, a function of the C library counting as one."""
    return max(1, len(nodes(expression, (ast.BinOp, ast.Call, ast.UnaryOp))))


def library_functions(table, reductions) -> list[str]:
    """The functions of the C library that the rows call."""
    expressions = [
        expression
        for o in table
        for expression in (o.value, *o.derivatives, *(refusal.condition for refusal in o.errors))
    ]
    expressions += [expression for r in reductions for expression in (r.step, r.finish, r.derivative)]
    return sorted({call.func.id for expression in expressions for call in nodes(expression, ast.Call)})
