"""The table's derivatives as functions of Values.

An expression such as `-a / (b * b)` is compiled to Python with an operation of the table in the place of each
operator, so that its result can be differentiated again. A condition is decided by the operands' data. During
a trace they have no data: then both alternatives are computed, and are operands of `where`.

An operation on floats alone returns the float that C computes.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from functools import cache, partial
from typing import TypeAlias, TypeVar

from fastgrad.engine import Value, _minus, _over, _plus, apply
from fastgrad.engine import _operate as operate
from fastgrad.engine import _times as multiply
from fastgrad.operations import BY_NAME, REDUCTIONS

__all__ = ["Rule", "Scalar", "rules"]

Scalar: TypeAlias = Value | float
# During a trace it is a Value that is positive where the condition holds.
Condition: TypeAlias = Value | bool
Rule: TypeAlias = Callable[..., Scalar]
Chosen = TypeVar("Chosen", bound=Scalar)

OPERATORS = {ast.Add: "plus", ast.Sub: "minus", ast.Mult: "multiply", ast.Div: "over", ast.Pow: "power"}
ORDERS = {
    ast.Gt: "greater",
    ast.GtE: "greater_equal",
    ast.Lt: "less",
    ast.LtE: "less_equal",
    ast.Eq: "equal",
    ast.NotEq: "not_equal",
}
NUMBER = re.compile(r"-?[0-9]+\.[0-9]+")
# The rows whose functions have other names in C.
C_NAMES = {"fabs": "abs", "pow": "power", "rint": "round"}


# Operations.


def data_of(operand: Scalar) -> float:
    return operand.data if isinstance(operand, Value) else operand


def power(a: Scalar, b: Scalar) -> Scalar:
    if type(b) is float and b in (0.0, 1.0):
        return a if b else 1.0
    return operate("pow", a, b)


def negative(a: Scalar) -> Scalar:
    return multiply(-1.0, a)


# Conditions.


def where(condition: Value, then: Scalar, other: Scalar) -> Value:
    return apply("where", condition, then, other)


def choose(condition: Condition, then: Callable[[], Scalar], other: Callable[[], Scalar]) -> Scalar:
    if isinstance(condition, Value):
        return where(condition, then(), other())
    return then() if condition else other()


def both(first: Condition, second: Callable[[], Condition]) -> Condition:
    if not isinstance(first, Value):
        return first and second()
    then = second()
    return where(first, then, 0.0) if isinstance(then, Value) else then and first


def either(first: Condition, second: Callable[[], Condition]) -> Condition:
    if not isinstance(first, Value):
        return first or second()
    return where(first, 1.0, second())


def opposite(condition: Condition) -> Condition:
    return where(condition, 0.0, 1.0) if isinstance(condition, Value) else not condition


def comparison(decide: Callable[[float, float], bool]) -> Callable[[Scalar, Scalar], bool]:
    """Return a comparison of the data that the operands have now."""
    return lambda a, b: decide(data_of(a), data_of(b))


DECISIONS: dict[str, Callable[[float, float], bool]] = {
    "greater": lambda a, b: a > b,
    "greater_equal": lambda a, b: a >= b,
    "less": lambda a, b: a < b,
    "less_equal": lambda a, b: a <= b,
    "equal": lambda a, b: a == b,
    "not_equal": lambda a, b: a != b,
}


def traced(name: str) -> Callable[[Scalar, Scalar], Condition]:
    """Return a comparison for a trace: of Values it is a Value, of floats a bool."""

    def compare(a: Scalar, b: Scalar) -> Condition:
        if isinstance(a, Value) or isinstance(b, Value):
            # a > 0 holds where a is positive, so `a` is the condition itself.
            return a if name == "greater" and type(b) is float and b == 0.0 else apply(name, a, b)  # type: ignore[return-value]
        return DECISIONS[name](a, b)

    return compare


SCOPE: dict[str, object] = {
    **{name: partial(operate, name) for name in BY_NAME},
    "plus": _plus,
    "minus": _minus,
    "multiply": multiply,
    "over": _over,
    "power": power,
    "negative": negative,
    "choose": choose,
    "both": both,
    "either": either,
    "opposite": opposite,
}
NOW = {**SCOPE, **{name: comparison(decide) for name, decide in DECISIONS.items()}}
LATER = {**SCOPE, **{name: traced(name) for name in DECISIONS}}


# From text to functions.


def call(name: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), list(arguments), [])


def later(expression: ast.expr) -> ast.Lambda:
    return ast.Lambda(ast.arguments([], [], None, [], [], None, []), expression)


def is_plain(node: ast.expr) -> bool:
    """Return whether an expression is a number or `n`, the number of operands."""
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.operand, ast.Constant)
    return isinstance(node, ast.Constant) or (isinstance(node, ast.Name) and node.id == "n")


class InOperations(ast.NodeTransformer):
    """Rewrites an expression of the table with a call in the place of each operator."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        if isinstance(node.op, ast.Div) and not (is_plain(node.left) or is_plain(node.right)):
            # The operation `/` multiplies by 1 / b, which is infinite for some b where a / b is not.
            return call("quotient", self.visit(node.left), self.visit(node.right))
        return call(OPERATORS[type(node.op)], self.visit(node.left), self.visit(node.right))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        if isinstance(node.operand, ast.Constant):
            return node
        return call("opposite" if isinstance(node.op, ast.Not) else "negative", self.visit(node.operand))

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        return call(ORDERS[type(node.ops[0])], self.visit(node.left), self.visit(node.comparators[0]))

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        rest: list[ast.expr] = [self.visit(value) for value in node.values]
        last = rest.pop()
        for value in reversed(rest):
            last = call("both" if isinstance(node.op, ast.And) else "either", value, later(last))
        return last

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        return call(
            "choose", self.visit(node.test), later(self.visit(node.body)), later(self.visit(node.orelse))
        )

    def visit_Call(self, node: ast.Call) -> ast.expr:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        name = C_NAMES.get(name, name)
        if name not in SCOPE:
            raise ValueError(f"{ast.unparse(node)} cannot be differentiated: no row computes it")
        return call(name, *map(self.visit, node.args))


def function_of(expression: str, names: tuple[str, ...], tracing: bool) -> Rule | float | int:
    """Return a derivative of the table as a function of these names.

    An expression that is a number is returned as a float, one that is a name as the name's index.
    """
    if expression in names:
        return names.index(expression)
    if NUMBER.fullmatch(expression):
        return float(expression)
    written = ast.parse(f"lambda {', '.join(names)}: {expression}", mode="eval")
    tree = ast.fix_missing_locations(InOperations().visit(written))
    rule: Rule = eval(compile(tree, f"<{expression}>", "eval"), LATER if tracing else NOW)
    return rule


@cache
def rules(name: str, tracing: bool = False) -> tuple[Rule | float | int, ...]:
    """Return the derivatives of an operation, one for each operand, as function_of returns them.

    They are functions of the operands and the result. A reduction has one derivative, a function of the
    operand, the result and the number of operands.
    """
    for reduction in REDUCTIONS:
        if reduction.name == name:
            return (function_of(reduction.derivative, ("a", "out", "n"), tracing),)
    row = BY_NAME[name]
    names = (*("a", "b", "c")[: row.operands], "out")
    return tuple(function_of(each, names, tracing) for each in row.smooth or row.derivatives)
