"""The rows of the table in JavaScript, for the pages of fastgrad.viz, which compute without Python."""

import ast
import json

from expressions import OPERANDS

# The functions of the C library, as JavaScript has them or viz/page/special_functions.js defines them.
MATH = (
    "acos acosh asin asinh atan atan2 atanh cbrt ceil cos cosh exp expm1 floor log log10 log1p log2 sin sinh "
    "sqrt tan tanh trunc"
)
FUNCTIONS = {name: f"Math.{name}" for name in MATH.split()}
FUNCTIONS |= {"fabs": "Math.abs", "isfinite": "Number.isFinite"}
SPECIAL = (
    "copysign digamma erf erfc fmax fmin fmod hypot isinf isnan lgamma mod polygamma pow rint round signbit "
    "tgamma trigamma"
)
FUNCTIONS |= {name: f"special.{name}" for name in SPECIAL.split()}

OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
COMPARISONS = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "===", ast.NotEq: "!==",
}  # fmt: skip


def translate(name: str, expression: str) -> str:
    """An expression of a row in JavaScript; ValueError for a function that the pages do not have."""

    def of(node) -> str:
        match node:
            case ast.Constant():
                return repr(node.value)
            case ast.Name():
                return node.id
            case ast.BinOp() if type(node.op) in OPERATORS:
                return f"({of(node.left)} {OPERATORS[type(node.op)]} {of(node.right)})"
            case ast.UnaryOp():
                return f"({'!' if isinstance(node.op, ast.Not) else '-'}{of(node.operand)})"
            case ast.BoolOp():
                joined = " && " if isinstance(node.op, ast.And) else " || "
                return f"({joined.join(map(of, node.values))})"
            case ast.Compare():
                sides = list(map(of, [node.left, *node.comparators]))
                pairs = zip(sides, node.ops, sides[1:], strict=False)
                return "(" + " && ".join(f"{a} {COMPARISONS[type(op)]} {b}" for a, op, b in pairs) + ")"
            case ast.IfExp():
                return f"({of(node.test)} ? {of(node.body)} : {of(node.orelse)})"
            case ast.Call():
                if node.func.id not in FUNCTIONS:
                    raise ValueError(
                        f"{name}: the pages have no function {node.func.id!r}, which {expression!r} calls: "
                        "add it to FUNCTIONS in codegen/javascript.py and, unless JavaScript's Math has it, "
                        "to src/fastgrad/viz/page/special_functions.js"
                    )
                return f"{FUNCTIONS[node.func.id]}({', '.join(map(of, node.args))})"
        raise ValueError(f"{name}: {ast.unparse(node)!r} in {expression!r} has no JavaScript")

    return of(ast.parse(expression, mode="eval").body)


class AsWritten(ast.NodeTransformer):
    """An expression as a person writes it: whole numbers without a point, powers by `**`."""

    def visit_Constant(self, node):
        """Write a whole number without a point."""
        whole = node.value == int(node.value) and abs(node.value) < 1e6
        return ast.Constant(int(node.value) if whole else node.value)

    def visit_Call(self, node):
        """Write a power by its operator."""
        self.generic_visit(node)
        if node.func.id == "pow":
            return ast.BinOp(node.args[0], ast.Pow(), node.args[1])
        return node


def words(name: str, expression: str) -> str:
    """JavaScript for the text of an expression, of a condition only the branch that holds.

    It is null where a condition stands within an expression, whose text would be long.
    """

    def of(node) -> str:
        if isinstance(node, ast.IfExp):
            test = translate(name, ast.unparse(node.test))
            return f"({test} ? {of(node.body)} : {of(node.orelse)})"
        if any(isinstance(part, ast.IfExp) for part in ast.walk(node)):
            return "null"
        return json.dumps(ast.unparse(ast.fix_missing_locations(AsWritten().visit(node))))

    return of(ast.parse(expression, mode="eval").body)


def function(name: str, parameters, expression: str) -> str:
    return f"({', '.join(parameters)}) => {translate(name, expression)}"


def row_of(operation) -> list[str]:
    names = OPERANDS[: operation.operands]
    inputs = (*names, "out")
    derivatives = [function(operation.name, inputs, d) for d in operation.derivatives]
    texts = [f"({', '.join(inputs)}) => {words(operation.name, d)}" for d in operation.derivatives]
    return [
        f"  {operation.name}: {{",
        f"    symbol: {json.dumps(operation.symbol)},",
        f"    selects: {json.dumps(operation.selects)},",
        f"    value: {function(operation.name, names, operation.value)},",
        f"    derivatives: [{', '.join(derivatives)}],",
        f"    words: [{', '.join(texts)}],",
        "  },",
    ]


def reduction_of(r) -> list[str]:
    return [
        f"  {r.name}: {{",
        f"    symbol: {json.dumps(r.name)},",
        f"    step: {function(r.name, ('total', 'a', 'shift'), r.step)},",
        f"    finish: {function(r.name, ('total', 'n', 'shift'), r.finish)},",
        f"    derivative: {function(r.name, ('a', 'n', 'out'), r.derivative)},",
        f"    words: (a, n, out) => {words(r.name, r.derivative)},",
        "  },",
    ]


def render_javascript(table, reductions, notice: str) -> str:
    """arithmetic.js: values and derivatives of every row, as functions of numbers."""
    lines = [
        notice.replace("#", "//", 1),
        "const ROWS = {",
        *[line for o in table for line in row_of(o)],
        "};",
        "",
        "const REDUCTIONS = {",
        *[line for r in reductions for line in reduction_of(r)],
        "};",
    ]
    return "\n".join(lines) + "\n"
