"""Every row of the table, computed in JavaScript as in the pages, has the engine's values and derivatives."""

import itertools
import json
import math
import shutil
import subprocess
from pathlib import Path

import mpmath
import pytest

import fastgrad.viz
from evidence.oracles import GRID, ORDINARY, close
from fastgrad import Value
from fastgrad.engine import _number_of, _reduce, apply
from fastgrad.operations import BY_NAME, REDUCTIONS
from pages.browser import chromium

FOLDER = Path(fastgrad.viz.__file__).parent
SCRIPTS = ("page/special_functions.js", "generated/arithmetic.js", "page/tape.js")

# The answers to questions, as text: JSON has no nan.
ANSWER = """
(questions) => questions.map(({ name, numbers, reduction }) => {
  const x = numbers.map(Number);
  let value, derivatives;
  if (reduction) {
    const box = { row: name, operands: x.map((_, k) => [k]), data: 0, grad: 0, given: null };
    const leaves = x.map((data) => ({ row: "", kind: "leaf", operands: [], data, grad: 0, given: null,
    title: "x" })); const tape = makeTape({ boxes: [...leaves, { ...box, kind: "result", title: "out" }] });
    const data = tape.forward([...x, 0]); value = data[x.length]; derivatives = x.map((_, k) =>
    tape.derivative(tape.boxes[x.length], k, data, value));
  } else {
    value = ROWS[name].value(...x);
    derivatives = ROWS[name].derivatives.map((of) => of(...x, value));
  }
  return [value, ...derivatives].map(exact);
})
"""


def scripts():
    return "\n".join((FOLDER / script).read_text(encoding="utf-8") for script in SCRIPTS)


def text(number):
    """A number as JavaScript reads it."""
    return repr(number).replace("inf", "Infinity").replace("nan", "NaN")


def question(name, numbers, reduction=False):
    return {"name": name, "numbers": [text(number) for number in numbers], "reduction": reduction}


def in_node(expression, questions):
    program = f"{scripts()}\nconst asked = JSON.parse(require('fs').readFileSync(0, 'utf8'));"
    program += f"console.log(JSON.stringify(({expression})(asked)));"
    finished = subprocess.run(
        ["node", "-e", program], input=json.dumps(questions), capture_output=True, text=True, check=True
    )
    return json.loads(finished.stdout)


@pytest.fixture(scope="module")
def in_browser():
    with chromium() as browser:
        page = browser.new_page()
        page.set_content(f"<script>{scripts()}</script>")
        yield lambda expression, questions: page.evaluate(f"({expression})({json.dumps(questions)})")


@pytest.fixture(params=["node", "browser"])
def javascript(request):
    """A function that applies a JavaScript function to some data."""
    if request.param == "browser":
        return request.getfixturevalue("in_browser")
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    return in_node


def gradients(out, operands):
    out.backward()
    return [operand.grad for operand in operands]


def engine_answer(operation, numbers):
    """The value, and the derivatives unless the operation raises there."""
    operands = [Value(number) for number in numbers]
    try:
        out = apply(operation.name, *operands)
    except (ArithmeticError, ValueError):
        try:
            return [_number_of(operation.name, *numbers)]
        except (ArithmeticError, ValueError):
            return []
    # Each operand has a leaf of its own: a leaf that is used twice gets the sum of two derivatives.
    return [out.data, *gradients(out, operands)]


@pytest.mark.processes
def test_every_row_is_the_engines(javascript):
    questions = [
        question(operation.name, numbers)
        for operation in BY_NAME.values()
        for numbers in itertools.product(GRID + ORDINARY, repeat=operation.operands)
        if operation.operands < 3 or all(number in GRID[:13] for number in numbers)
    ]
    differences = []
    for asked, answer in zip(questions, javascript(ANSWER, questions), strict=True):
        expected = engine_answer(BY_NAME[asked["name"]], [float(number) for number in asked["numbers"]])
        for ours, theirs in zip(map(float, answer), expected, strict=False):
            if not close(ours, theirs):
                differences.append((asked, answer, expected))
    assert {asked["name"] for asked in questions} == set(BY_NAME)
    assert not differences, differences[:5]


REDUCED = [
    *((number,) for number in GRID),
    *itertools.product((0.0, -2.5, 1e200, 700.0, math.inf, -math.inf, math.nan), repeat=2),
    (1.0, 2.0, 3.0, -1.0, 0.5),
]


@pytest.mark.processes
def test_every_reduction_is_the_engines(javascript):
    questions = [question(row.name, numbers, True) for row in REDUCTIONS for numbers in REDUCED]
    differences = []
    for asked, answer in zip(questions, javascript(ANSWER, questions), strict=True):
        operands = [Value(float(number)) for number in asked["numbers"]]
        out = _reduce(asked["name"], operands)
        expected = [out.data, *gradients(out, operands)]
        if not all(map(close, map(float, answer), expected)):
            differences.append((asked, answer, expected))
    assert not differences, differences[:5]


FUNCTIONS = {
    "erf": mpmath.erf,
    "erfc": mpmath.erfc,
    "lgamma": lambda x: mpmath.log(abs(mpmath.gamma(x))),
    "tgamma": mpmath.gamma,
    "digamma": mpmath.digamma,
    "trigamma": lambda x: mpmath.polygamma(1, x),
}
POINTS = (
    0.5,
    1.0,
    2.0,
    3.0,
    -2.5,
    7.25,
    -0.125,
    0.1,
    1e-10,
    1.0001,
    1.9,
    2.4,
    5.5,
    12.0,
    20.0,
    100.0,
    -1.3,
    -3.5,
)


@pytest.mark.processes
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_that_javascript_has_not(name, javascript):
    points = [x for x in POINTS if not (name == "erfc" and x > 26)]
    got = javascript(f"(points) => points.map((x) => special.{name}(x))", points)
    wrong = [
        (x, ours, float(FUNCTIONS[name](x)))
        for x, ours in zip(points, got, strict=True)
        if not math.isclose(ours, float(FUNCTIONS[name](x)), rel_tol=1e-12, abs_tol=1e-15)
    ]
    assert not wrong


@pytest.mark.processes
def test_powers_are_those_of_c(javascript):
    pairs = [(1.0, "NaN"), (-1.0, "Infinity"), ("NaN", 0.0), (2.0, 3.0), (-8.0, 3.0), (0.0, -1.0)]
    got = javascript("(pairs) => pairs.map(([a, b]) => exact(special.pow(Number(a), Number(b))))", pairs)
    assert got == ["1", "1", "1", "8", "-512", "inf"]


@pytest.mark.processes
def test_numbers_are_written_as_python_writes_them(javascript):
    numbers = [0.0, 1.0, -2.5, 3.14159, 1234.4, 12346.0, 99999.0, 0.0001234, 1.234e-05, 1e-7, 1e100, -4.0e-12]
    assert javascript("(numbers) => numbers.map(short)", numbers) == [f"{number:.4g}" for number in numbers]
