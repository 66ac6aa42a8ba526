"""The table of operations: loading it, and refusing a table that cannot be rendered as it is meant."""

import ast
import builtins
import importlib.util
import keyword
import math
from itertools import chain
from pathlib import Path
from types import ModuleType

from expressions import OPERANDS, names_in

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "fastgrad"
# A node's code is a byte, and the last one marks a freed node.
MOST_CODES = 255
# The rows of ops.pxd that are in no table, and what the names of other functions there begin with.
RESERVED = {
    "leaf", "constant", "custom", "local", "dot", "inner", "end", "table_end", "first_reduction",
    "first_binary", "first_ternary", "unary", "binary", "ternary", "reduction", "activation", "fresh",
}  # fmt: skip
# The functions that an expression may call, by the number of their arguments: of the C library, and of
# engine.src/arithmetic/special.h.
C_FUNCTIONS = {
    1: (
        "exp", "expm1", "log", "log1p", "log2", "log10", "sqrt", "cbrt", "fabs", "floor", "ceil", "rint",
        "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh",
        "erf", "erfc", "lgamma", "isfinite",
    ),
    2: ("pow", "atan2", "hypot", "fmod"),
}  # fmt: skip
SPECIAL_FUNCTIONS = {"digamma": 1, "polygamma": 2, "mod": 2}
FUNCTIONS = {name: count for count, names in C_FUNCTIONS.items() for name in names} | SPECIAL_FUNCTIONS
# The functions of Python's math module, to evaluate expressions of rows.
IN_PYTHON = {name: getattr(math, name) for name in FUNCTIONS if hasattr(math, name)}
# The syntax that means the same in Python and in Cython. Integers are excluded: 1 / 2 is 0 in C.
LANGUAGE = (
    ast.Expression, ast.Name, ast.Load, ast.Call, ast.Constant, ast.IfExp,
    ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.UnaryOp, ast.USub, ast.Not,
    ast.BoolOp, ast.And, ast.Or, ast.Compare, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq,
)  # fmt: skip
POINTS = ((0.75, 1.25), (1.25, 0.75), (-0.5, 2.0), (-1.5, -0.25))


def load_table(path: Path = PACKAGE / "operations.py") -> ModuleType:
    """Load a table by its path: the package itself cannot be imported before it is built."""
    spec = importlib.util.spec_from_file_location(f"fastgrad_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def require(condition, entry, what: str) -> None:
    """Raise ValueError with the name of the row unless the condition holds."""
    if not condition:
        raise ValueError(f"{getattr(entry, 'name', entry)}: {what}")


def verify(operations, instructions) -> None:
    """Raise ValueError, with the row's name and what is wrong, for a table that cannot be rendered."""
    table = operations.TABLE + operations.FUNCTIONS
    rows = (*table, *operations.REDUCTIONS)
    codes = codes_of(table, operations.REDUCTIONS)["END"]
    require(codes <= MOST_CODES, "the table", f"its rows need {codes} codes, more than {MOST_CODES}")
    for count in (1, 2, 3):
        require(any(o.operands == count for o in table), "the table", f"no operation of {count} operands")
    require(operations.REDUCTIONS, "the table", "no reduction")
    require(sum(bool(o.fused) for o in table) < 2, "the table", "only one row can be fused with a matrix")
    verify_names(rows, instructions.INSTRUCTIONS)
    for o in table:
        verify_operation(o, table)
    for o in operations.TABLE:
        verify_method(o)
    for o in operations.FUNCTIONS:
        require(not o.method, o, "a row of FUNCTIONS has no method")
    for r in operations.REDUCTIONS:
        verify_reduction(r)
    verify_activations(operations)
    for i in instructions.INSTRUCTIONS:
        verify_instruction(i, instructions.ROLES, table)


def codes_of(table, reductions) -> dict[str, int]:
    """The codes of nodes by their names: one a row; four if its operands have forms, or its sums activations.

    Those with forms begin at a multiple of four, so that the form is the last two bits of a code.
    """
    rows = {count: [o.name.upper() for o in table if o.operands == count] for count in (1, 2, 3)}
    codes = {"LEAF": 0, "FRESH": 1}
    codes |= {name: 2 + at for at, name in enumerate(rows[1])}
    first = codes["FIRST_BINARY"] = (2 + len(rows[1]) + 3) // 4 * 4
    codes |= {name: first + 4 * at for at, name in enumerate([*rows[2], "CUSTOM", "LOCAL", "DOT", "INNER"])}
    codes["TABLE_END"] = codes["CUSTOM"]
    first = codes["FIRST_REDUCTION"] = codes["INNER"] + 4
    codes |= {r.name.upper(): first + at for at, r in enumerate(reductions)}
    first = codes["FIRST_TERNARY"] = first + len(reductions)
    codes |= {name: first + at for at, name in enumerate(rows[3])}
    codes["END"] = first + len(rows[3])
    return codes


def verify_names(rows, instructions) -> None:
    """Refuse names that clash: each name begins the names of its row's C functions, and of no other's."""
    seen = set()
    for entry in chain(rows, instructions):
        fits = entry.name.isidentifier() and entry.name.islower() and not keyword.iskeyword(entry.name)
        require(fits, entry, "a name is a lower-case identifier")
        require(entry.name not in seen, entry, "another row has this name")
        seen.add(entry.name)
    for entry in rows:
        require(entry.name not in RESERVED, entry, "ops.pxd uses this name for something else")
    methods = [entry.method for entry in rows if getattr(entry, "method", "")]
    methods += [alias for entry in rows for alias in getattr(entry, "aliases", ())]
    for method in methods:
        require(methods.count(method) == 1, method, "two rows have this method")


def verify_expression(entry, expression: str, names) -> None:
    """Refuse what is not in the common subset of Python and Cython, or reads other names than these."""
    try:
        tree = ast.parse(expression, mode="eval")
    except SyntaxError as error:
        raise ValueError(f"{entry.name}: {expression!r} is no expression") from error
    for node in ast.walk(tree):
        shown = ast.unparse(node) if isinstance(node, ast.expr) else type(node).__name__
        require(isinstance(node, LANGUAGE), entry, f"{shown!r} in {expression!r} may mean another thing in C")
        if isinstance(node, ast.Constant):
            require(type(node.value) is float, entry, f"{shown} in {expression!r} must be a float")
        if isinstance(node, ast.Call):
            known = isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS
            require(known, entry, f"{expression!r} calls an unknown function: {ast.unparse(node.func)}")
            count = FUNCTIONS[node.func.id]
            fits = len(node.args) == count and not node.keywords
            require(fits, entry, f"{node.func.id} in {expression!r} takes {count} arguments")
    for name in sorted(names_in(expression) - set(names)):
        raise ValueError(f"{entry.name}: {expression!r} reads an unknown name: {name}")


def evaluate(expression: str, **names: float) -> float:
    """The value of an expression that was verified."""
    return eval(expression, {"__builtins__": {}}, IN_PYTHON | names)


def verify_operation(o, table) -> None:
    """Refuse columns that contradict one another, or that have no effect."""
    require(
        1 <= o.operands <= len(OPERANDS), o, f"{o.operands} derivatives, but an operation has 1 to 3 operands"
    )
    names = OPERANDS[: o.operands]
    verify_expression(o, o.value, names)
    for name in sorted(set(names) - names_in(o.value)):
        raise ValueError(f"{o.name}: {o.operands} derivatives, but the value does not read {name}")
    for derivative in o.derivatives:
        verify_expression(o, derivative, (*names, "out"))
    require(not o.errors or o.operands < 3, o, "errors of three operands would never be raised")
    for refusal in o.errors:
        verify_expression(o, refusal.condition, names)
        kind = getattr(builtins, refusal.exception, None)
        known = isinstance(kind, type) and issubclass(kind, Exception)
        require(known, o, f"{refusal.exception} is no exception of Python's")
    passes_nothing = all(derivative == "0.0" for derivative in o.derivatives)
    require(o.selects or not passes_nothing, o, "has no derivative, and so selects none of its operands")
    require(o.operands > 1 or o.selects == passes_nothing, o, "selects, but has nothing to choose from")
    require(not o.compact or o.operands < 3, o, "with three operands every row is compact")
    for column in ("commutes", "seen_as", "right_in_symbol", "frequent", "simpler", "right_sign"):
        require(not getattr(o, column) or o.operands == 2, o, f"{column} is for two operands")
    require(not o.seen_as or not o.commutes, o, "what is seen as two operations cannot commute")
    if o.commutes:
        same = all(evaluate(o.value, a=a, b=b) == evaluate(o.value, a=b, b=a) for a, b in POINTS)
        require(same, o, "commutes, but its value depends on the order of the operands")
    if o.seen_as:
        for name in o.seen_as:
            found = any(other.name == name and other.operands == 2 for other in table)
            require(found, o, f"is seen as {name}, which is no operation of two operands")
    for number in (*o.frequent, *filter(None, [o.hides_nan, o.right_sign])):
        verify_expression(o, number, ())
    for number, expression in o.simpler:
        verify_expression(o, number, ())
        verify_expression(o, expression, ("a",))
        same = all(evaluate(o.value, a=a, b=evaluate(number)) == evaluate(expression, a=a) for a, _ in POINTS)
        require(same, o, f"is not {expression} at {number}")
        require(parts_of(expression, table), o, f"{expression!r} is no operation with a on its right")
    if o.right_sign:
        sign = evaluate(o.right_sign)
        same = sign in (1.0, -1.0) and all(evaluate(o.value, a=a, b=b) == a + sign * b for a, b in POINTS)
        require(same, o, "is no sum of its operands with this sign")
    if o.fused:
        in_place = o.operands == 1 and names_in(o.derivatives[0]) == {"out"}
        require(in_place, o, "fused, but its derivative reads more than the result")
        require(o.fused.isidentifier(), o, f"{o.fused!r} is no function of C")


def parts_of(expression: str, table) -> tuple | None:
    """The row and the left operand of `1.0 / a` or `a * a`; of `a`, no row. None if it is neither."""
    tree = ast.parse(expression, mode="eval").body
    if isinstance(tree, ast.Name):
        return None, "a"
    if not isinstance(tree, ast.BinOp) or ast.unparse(tree.right) != "a":
        return None
    left, symbol = ast.unparse(tree.left), ast.unparse(tree).split()[-2]
    rows = [o for o in table if o.symbol == symbol and o.operands == 2]
    return (rows[0], left) if rows and isinstance(tree.left, (ast.Name, ast.Constant)) else None


def verify_method(o) -> None:
    """Refuse a row of TABLE that is no method, or whose reflected method would have no name."""
    require(o.method.isidentifier() and not keyword.iskeyword(o.method), o, "a row of TABLE has a method")
    require(o.operands < 3, o, "a method has one or two operands")
    for alias in o.aliases:
        require(alias.isidentifier() and not keyword.iskeyword(alias), o, f"{alias!r} is no name of a method")
    require(o.doc and '"""' not in o.doc and "\\" not in o.doc, o, "the docstring cannot be quoted")


def verify_reduction(r) -> None:
    """Refuse a fold that reads other names, or a linear one that is no sum."""
    verify_expression(r, r.step, ("total", "a", "shift"))
    verify_expression(r, r.finish, ("total", "n", "shift"))
    verify_expression(r, r.derivative, ("a", "n", "out"))
    shifted = "shift" in names_in(r.step) or "shift" not in names_in(r.finish)
    require(shifted, r, "shift is computed for the step, which does not read it")
    if r.linear:
        require(r.step == "total + a", r, "linear, but its step is not `total + a`")
        require(names_in(r.derivative) <= {"n"}, r, "linear, but its derivative depends on an operand")
        for total, n in ((3.0, 1.0), (-2.5, 4.0), (0.0, 3.0)):
            value = evaluate(r.finish, total=total, n=n, shift=0.0)
            share = total * evaluate(r.derivative, n=n)
            require(math.isclose(value, share), r, "linear, but its value is not that of its derivatives")


def verify_activations(operations) -> None:
    """The activations fit into two bits of a dot product's code, and are differentiated in place."""
    names = operations.ACTIVATIONS
    require(2 <= len(names) <= 4, "ACTIVATIONS", "two bits tell 2 to 4 of them apart")
    require(names[0] == "linear", "ACTIVATIONS", "the first must be linear")
    require(len(set(names)) == len(names), "ACTIVATIONS", "one is listed twice")
    for name in names[1:]:
        rows = [o for o in operations.TABLE if o.name == name]
        require(rows, name, "an activation is no row of TABLE")
        require(rows[0].operands == 1, name, "an activation has one operand")
        in_place = names_in(rows[0].derivatives[0]) <= {"out"}
        require(in_place, name, "an activation's derivative must be told by its result")


def verify_instruction(i, roles, table) -> None:
    """Refuse roles that the compiler does not know, and derivatives that read no field."""
    for role in (i.left, i.right, i.third):
        require(role in roles, i, f"{role!r} is no role of a field")
    require(len(i.reads) == 3, i, "reads are listed for left, right and third")
    for place in chain(*i.reads):
        require(place in ("left", "right", "out", "all"), i, f"a derivative cannot read {place!r}")
    if i.stands_for:
        known = any(o.name == i.stands_for and o.operands == 2 for o in table)
        require(known, i, f"stands for {i.stands_for}, which is no operation of two operands")
        verify_expression(i, i.where, ("b",))
