"""Codegen renders the table as it is meant, or refuses it with the name of the row and what is wrong."""

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from fastgrad import operations
from fastgrad.compiler import opcodes
from fastgrad.export.models import IN_ONNX, IN_TORCH
from fastgrad.nn import KIND
from fastgrad.operations import Operation, Reduction, Refusal, SeenAs

CODEGEN = Path(__file__).resolve().parents[2] / "codegen"

pytestmark = pytest.mark.skipif(not CODEGEN.exists(), reason="the tests of a wheel have no codegen")


@pytest.fixture
def codegen(monkeypatch):
    """The modules of codegen, which import one another by their bare names."""
    names = ("expressions", "table", "lanes", "javascript", "engine", "render")
    monkeypatch.syspath_prepend(str(CODEGEN))
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield SimpleNamespace(**{name: __import__(name) for name in names})
    for name in names:
        sys.modules.pop(name, None)


def one(
    name="cube",
    symbol="cube",
    method="",
    value="a * a * a",
    derivatives=("3.0 * a * a",),
    doc="A row.",
    **columns,
):
    return Operation(name, symbol, method, value, derivatives, doc, **columns)


def two(name="combine", value="a * b", derivatives=("b", "a"), **columns):
    return one(name, value=value, derivatives=derivatives, **columns)


def three(**columns):
    return one("choose", value="a * b * c", derivatives=("b * c", "a * c", "a * b"), **columns)


def fold(step="total + a", finish="total", derivative="1.0", **columns):
    return Reduction("fold", step, finish, derivative, "A row.", **columns)


def table(*, methods=(), functions=(), reductions=(), **others):
    """The table with rows added to it."""
    whole = {
        "TABLE": operations.TABLE + methods,
        "FUNCTIONS": operations.FUNCTIONS + functions,
        "REDUCTIONS": operations.REDUCTIONS + reductions,
        "ACTIVATIONS": operations.ACTIVATIONS,
    } | others
    return SimpleNamespace(**whole)


def test_the_table_that_is_built_is_accepted(codegen):
    codegen.table.verify(operations, opcodes)


@pytest.mark.parametrize(
    "rows",
    [
        {"methods": (one(method="cube"),)},
        {"functions": (two(),)},
        {"functions": (three(),)},
        {"reductions": (fold("total + a * a * a", "total", "3.0 * a * a"),)},
        {"reductions": (fold(finish="total / n / 2.0", derivative="0.5 / n", linear=True),)},
    ],
    ids=["method", "two operands", "three operands", "reduction", "linear"],
)
def test_another_row_is_accepted_and_rendered(codegen, rows):
    changed = table(**rows)
    codegen.table.verify(changed, opcodes)
    changed.BY_NAME = {o.name: o for o in changed.TABLE + changed.FUNCTIONS}
    (row,) = next(iter(rows.values()))
    assert f"ROW_{row.name.upper()}" in codegen.engine.render_ops(changed, opcodes)


UNFUSED = tuple(row._replace(fused="") for row in operations.TABLE)
UNFIT = {
    "a name with a space": (one("two words"), "two words: a name is a lower-case identifier"),
    "a name in capitals": (one("Cube"), "Cube: a name is a lower-case identifier"),
    "a keyword": (one("lambda"), "lambda: a name is a lower-case identifier"),
    "a name twice": (one("exp"), "exp: another row has this name"),
    "an instruction's name": (one("load"), "load: another row has this name"),
    "a name of ops.pxd": (one("custom"), "custom: ops.pxd uses this name for something else"),
    "an unknown function": (one(value="airy(a)"), "cube: 'airy(a)' calls an unknown function: airy"),
    "a method call": (one(value="a.exp()"), "cube: 'a.exp()' calls an unknown function: a.exp"),
    "too many arguments": (one(value="exp(a, a)"), "cube: exp in 'exp(a, a)' takes 1 arguments"),
    "an unknown name": (one(value="a * x"), "cube: 'a * x' reads an unknown name: x"),
    "the result in the value": (one(value="a * out"), "cube: 'a * out' reads an unknown name: out"),
    "an unknown name in a derivative": (one(derivatives=("b",)), "cube: 'b' reads an unknown name: b"),
    "a derivative too few": (two(derivatives=("b",)), "combine: 'a * b' reads an unknown name: b"),
    "a derivative too many": (
        one(derivatives=("1.0", "1.0")),
        "cube: 2 derivatives, but the value does not read b",
    ),
    "no derivative": (one(derivatives=()), "cube: 0 derivatives, but an operation has 1 to 3 operands"),
    "four derivatives": (
        one(derivatives=("1.0",) * 4),
        "cube: 4 derivatives, but an operation has 1 to 3 operands",
    ),
    "no expression": (one(value="a +"), "cube: 'a +' is no expression"),
    "an integer, which C divides otherwise": (
        one(value="a * (1 / 2)"),
        "cube: 1 in 'a * (1 / 2)' must be a float",
    ),
    "a power, which C has not": (
        one(value="a**3.0"),
        "cube: 'Pow' in 'a**3.0' may mean another thing in C",
    ),
    "errors of three operands": (
        three(errors=(Refusal("a < 0.0", "ValueError", "negative"),)),
        "choose: errors of three operands would never be raised",
    ),
    "an error of an unknown operand": (
        one(errors=(Refusal("b < 0.0", "ValueError", "negative"),)),
        "cube: 'b < 0.0' reads an unknown name: b",
    ),
    "an unknown error": (
        one(errors=(Refusal("a < 0.0", "Wrong", "negative"),)),
        "cube: Wrong is no exception of Python's",
    ),
    "a choice of one": (one(selects=True), "cube: selects, but has nothing to choose from"),
    "no derivative and no choice": (
        one(derivatives=("0.0",)),
        "cube: has no derivative, and so selects none of its operands",
    ),
    "compact anyway": (three(compact=True), "choose: with three operands every row is compact"),
    "seen as two that commute": (
        two(commutes=True, seen_as=SeenAs("add", "mul")),
        "combine: what is seen as two operations cannot commute",
    ),
    "a frequent number that is none": (two(frequent=("x",)), "combine: 'x' reads an unknown name: x"),
    "simpler at a number where it is not": (
        two(simpler=(("2.0", "a / a"),)),
        "combine: is not a / a at 2.0",
    ),
    "simpler as nothing that exists": (
        two(simpler=(("2.0", "a * 2.0"),)),
        "combine: 'a * 2.0' is no operation with a on its right",
    ),
    "a sum that is none": (two(right_sign="1.0"), "combine: is no sum of its operands with this sign"),
    "a sum of one": (one(right_sign="1.0"), "cube: right_sign is for two operands"),
    "a result for nan that is none": (one(hides_nan="x"), "cube: 'x' reads an unknown name: x"),
    "commuting alone": (one(commutes=True), "cube: commutes is for two operands"),
    "an order that matters": (
        two(value="a - b", derivatives=("1.0", "-1.0"), commutes=True),
        "combine: commutes, but its value depends on the order of the operands",
    ),
    "seen as nothing that exists": (
        two(seen_as=SeenAs("mul", "exp")),
        "combine: is seen as exp, which is no operation of two operands",
    ),
    "fused with its operand": (one(fused="fg_cube"), "the table: only one row can be fused with a matrix"),
    "a method among functions": (one(method="cube"), "cube: a row of FUNCTIONS has no method"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_an_unfit_operation_is_refused(codegen, name):
    row, message = UNFIT[name]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        codegen.table.verify(table(functions=(row,)), opcodes)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (one(), "cube: a row of TABLE has a method"),
        (one(method="exp"), "exp: two rows have this method"),
        (three()._replace(method="choose"), "choose: a method has one or two operands"),
        (one(method="cube", doc='A """row""".'), "cube: the docstring cannot be quoted"),
        (one(method="cube", aliases=("to the third",)), "cube: 'to the third' is no name of a method"),
    ],
    ids=["none", "twice", "three operands", "docstring", "alias"],
)
def test_an_unfit_method_is_refused(codegen, row, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        codegen.table.verify(table(methods=(row,)), opcodes)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (fold(step="total * b"), "fold: 'total * b' reads an unknown name: b"),
        (fold(derivative="shift"), "fold: 'shift' reads an unknown name: shift"),
        (fold(finish="total + shift"), "fold: shift is computed for the step, which does not read it"),
        (fold(step="total * a", linear=True), "fold: linear, but its step is not `total + a`"),
        (fold(derivative="a", linear=True), "fold: linear, but its derivative depends on an operand"),
        (fold(finish="total / n", linear=True), "fold: linear, but its value is not that of its derivatives"),
        (
            fold(finish="total + 1.0", linear=True),
            "fold: linear, but its value is not that of its derivatives",
        ),
    ],
    ids=["step", "derivative", "shift", "product", "curved", "weight", "offset"],
)
def test_an_unfit_reduction_is_refused(codegen, row, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        codegen.table.verify(table(reductions=(row,)), opcodes)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"REDUCTIONS": ()}, "the table: no reduction"),
        (
            {"FUNCTIONS": tuple(o for o in operations.FUNCTIONS if o.operands < 3)},
            "the table: no operation of 3 operands",
        ),
        (
            {"TABLE": (*UNFUSED, one(method="cube", derivatives=("a",), fused="fg_cube"))},
            "cube: fused, but its derivative reads more than the result",
        ),
        (
            {"TABLE": (*UNFUSED, one(method="cube", derivatives=("out",), fused="no name"))},
            "cube: 'no name' is no function of C",
        ),
    ],
    ids=["no reduction", "nothing of three", "fused with more", "fused with nothing"],
)
def test_an_unfit_table_is_refused(codegen, changed, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        codegen.table.verify(table(**changed), opcodes)


@pytest.mark.parametrize(("spare", "fits"), [(0, True), (1, False)], ids=["255 codes", "256 codes"])
def test_no_more_codes_than_a_node_can_tell_apart(codegen, spare, fits):
    # A row of three operands has one code, after all others.
    used = codegen.table.codes_of(operations.TABLE + operations.FUNCTIONS, operations.REDUCTIONS)["END"]
    rows = tuple(three()._replace(name=f"blend_{number}") for number in range(255 - used + spare))
    if fits:
        codegen.table.verify(table(functions=rows), opcodes)
    else:
        with pytest.raises(ValueError, match=r"^the table: its rows need 256 codes, more than 255$"):
            codegen.table.verify(table(functions=rows), opcodes)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("relu", "tanh"), "ACTIVATIONS: the first must be linear"),
        (("linear", "tanh", "tanh"), "ACTIVATIONS: one is listed twice"),
        (("linear", "tanh", "exp", "relu", "sigmoid"), "ACTIVATIONS: two bits tell 2 to 4 of them apart"),
        (("linear", "softplus"), "softplus: an activation is no row of TABLE"),
        (("linear", "add"), "add: an activation has one operand"),
        (("linear", "log"), "log: an activation's derivative must be told by its result"),
    ],
    ids=["linear", "twice", "five", "no method", "two operands", "derivative"],
)
def test_unfit_activations_are_refused(codegen, names, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        codegen.table.verify(table(ACTIVATIONS=names), opcodes)


def test_everybody_names_the_same_activations():
    assert set(KIND) == set(operations.ACTIVATIONS)
    assert set(IN_TORCH) == set(IN_ONNX) == set(operations.ACTIVATIONS[1:])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"left": "register"}, "swap: 'register' is no role of a field"),
        ({"reads": (("left",),)}, "swap: reads are listed for left, right and third"),
        ({"reads": (("first",), (), ())}, "swap: a derivative cannot read 'first'"),
        ({"name": "load"}, "load: another row has this name"),
        ({"stands_for": "exp"}, "swap: stands for exp, which is no operation of two operands"),
        ({"stands_for": "pow", "where": "a > 0.0"}, "swap: 'a > 0.0' reads an unknown name: a"),
    ],
    ids=["role", "too few", "place", "name", "operation", "number"],
)
def test_an_unfit_instruction_is_refused(codegen, columns, message):
    row = opcodes.Instruction(**{"name": "swap", **columns})
    changed = SimpleNamespace(INSTRUCTIONS=(*opcodes.INSTRUCTIONS, row), ROLES=opcodes.ROLES)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        codegen.table.verify(operations, changed)


# The pages' JavaScript.


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a if a > 0.0 or a != a else -b", "(((a > 0.0) || (a !== a)) ? a : (-b))"),
        ("0.0 < a < b and not isfinite(b)", "((0.0 < a && a < b) && (!Number.isFinite(b)))"),
        ("pow(a, 2.0) / exp(b)", "(special.pow(a, 2.0) / Math.exp(b))"),
    ],
)
def test_an_expression_means_the_same_in_javascript(codegen, expression, expected):
    assert codegen.javascript.translate("row", expression) == expected


def test_a_function_that_the_pages_do_not_have_raises_and_says_what_to_add(codegen):
    with pytest.raises(
        ValueError, match=r"odd: the pages have no function 'zeta'.*add it to FUNCTIONS"
    ) as caught:
        codegen.javascript.translate("odd", "zeta(a)")
    assert "special_functions.js" in str(caught.value)


def test_what_has_no_javascript_is_refused(codegen):
    with pytest.raises(ValueError, match="odd: 'a \\*\\* b' in 'a \\*\\* b' has no JavaScript"):
        codegen.javascript.translate("odd", "a ** b")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("1.0 - out * out", '"1 - out * out"'),
        ("b * pow(a, b - 1.0)", '"b * a ** (b - 1)"'),
        ("2.0 * a if b == 2.0 else 0.0", '((b === 2.0) ? "2 * a" : "0")'),
        ("b * (1.0 if a > 0.0 else 0.5)", "null"),
    ],
)
def test_a_derivative_is_written_as_a_person_does(codegen, expression, expected):
    assert codegen.javascript.words("row", expression) == expected


def test_every_function_of_the_table_is_one_of_the_pages(codegen):
    assert set(codegen.table.FUNCTIONS) <= set(codegen.javascript.FUNCTIONS)
