"""The table of operations: one row gives an operation's symbol, value, derivatives and errors.

`setup.py` turns the rows into Cython (the inline functions, the backward rules, the methods of
`Value` and their stubs); the tests and the documentation read the same rows. CONTRIBUTING.md
says how to add one.

Expressions are written in the common subset of Python and Cython. `a`, `b` and `c` are the operands
and `out` is the result; functions are those of the C library, and `digamma`, `polygamma` and `mod` of
engine.src/arithmetic/special.h: codegen/table.py has their list.
"""

from typing import NamedTuple

__all__ = ["ACTIVATIONS", "FUNCTIONS", "REDUCTIONS", "TABLE", "Operation", "Reduction"]


class Refusal(NamedTuple):
    """A condition on the operands under which the operation raises instead of returning inf or nan.

    Conditions are looked at only when the result is not finite, in the order given.
    """

    condition: str
    exception: str
    reason: str


class SeenAs(NamedTuple):
    """How inspection shows an operation: `outer(a, inner(b, -1))`.

    micrograd has neither subtraction nor division: `a - b` is `a + (b * -1)` and `a / b` is
    `a * b**-1`. fastgrad makes one node of each and shows micrograd's two when it is inspected.
    """

    outer: str
    inner: str


class Operation(NamedTuple):
    """One row of the table; see the module's docstring for the language of the expressions.

    TABLE holds the methods of Value. FUNCTIONS holds what has no method and is called by its name,
    `fastgrad.engine.apply("maximum", a, b)`; fastgrad.functional wraps these.
    """

    name: str
    symbol: str
    # One of Python's own names is an operator; "" is none.
    method: str
    value: str
    derivatives: tuple[str, ...]
    doc: str
    errors: tuple[Refusal, ...] = ()
    commutes: bool = False
    seen_as: SeenAs | None = None
    # Whether it chooses among its operands, or is constant between its steps. An operand whose derivative is
    # 0 is then not reached: nothing that is infinite or nan below it is multiplied by that 0.
    selects: bool = False
    # The derivatives once more, for fastgrad.grad, where those above have kinks that the function has not,
    # or take a shortcut at some numbers: the derivatives of these are right there, too.
    smooth: tuple[str, ...] = ()
    # Whether a right operand that is a number is part of the symbol, an integer as one: `**2`. Inspection
    # shows that of another operation as a leaf.
    right_in_symbol: bool = False
    # The result that the operation may have although an operand is nan: 1 is x**0 and 1**x for every x.
    hides_nan: str = ""
    # What the operation is, to the last bit, where the right operand is one of these numbers: `a`, or another
    # operation with `a` on its right.
    simpler: tuple[tuple[str, str], ...] = ()
    # Of a sum: what its right operand is multiplied by, 1.0 or -1.0. The compiler makes longer sums of these.
    right_sign: str = ""
    # Numbers in the place of the right operand for which the kernels have loops of their own.
    frequent: tuple[str, ...] = ()
    # The function of kernels/vector_math.h that a matrix instruction applies to its results in registers; at
    # most one row has one. The value of another activation is a loop after it.
    fused: str = ""
    # Other names of the method: numpy's, which calls `x.arctan()` for an array of Values.
    aliases: tuple[str, ...] = ()
    # Whether few programs need it: the kernels then have one loop for its value and one for each derivative,
    # for lanes alone, and the engine's method and rule are calls. Others have loops for each form.
    compact: bool = False

    @property
    def operands(self) -> int:
        """The number of operands, 1 to 3: one for each derivative."""
        return len(self.derivatives)


def condition(name: str, symbol: str, holds: str, said: str, commutes: bool = False) -> Operation:
    """Return the row of a condition on two operands: 1 where it holds, else 0, without derivatives."""
    return Operation(
        name=name,
        symbol=symbol,
        method="",
        value=f"1.0 if {holds} else 0.0",
        derivatives=("0.0", "0.0"),
        commutes=commutes,
        selects=True,
        compact=True,
        doc=f"Return 1 where {said}, else 0; the derivatives are 0.",
    )


class Reduction(NamedTuple):
    """A row for an operation on any number of operands, as one node.

    The value is a fold: `total` starts at 0, becomes `step` for each operand `a`, and `finish` is
    the result. `n` is the number of operands and `shift` the largest of them, or 0 if that is not
    finite. The derivative by an operand may use `a`, `out` and `n`.
    """

    name: str
    step: str
    finish: str
    derivative: str
    doc: str
    # Whether the value is the sum of the operands, each times the derivative, which is the same for all. The
    # compiler makes such a sum part of longer ones, so that the kernels have no loops for it.
    linear: bool = False


REDUCTIONS: tuple[Reduction, ...] = (
    Reduction("sum", "total + a", "total", "1.0", "Return x1 + ... + xn.", linear=True),
    Reduction("mean", "total + a", "total / n", "1.0 / n", "Return (x1 + ... + xn) / n.", linear=True),
    Reduction("square_sum", "total + a * a", "total", "2.0 * a", "Return x1**2 + ... + xn**2."),
    Reduction(
        "square_mean", "total + a * a", "total / n", "2.0 * a / n", "Return (x1**2 + ... + xn**2) / n."
    ),
    Reduction(
        "logsumexp",
        "total + exp(a - shift)",
        "shift + log(total)",
        "exp(a - out)",
        "Return log(exp(x1) + ... + exp(xn)), which does not overflow.",
    ),
)

TABLE: tuple[Operation, ...] = (
    Operation(
        name="abs",
        symbol="abs",
        method="__abs__",
        value="fabs(a)",
        derivatives=("(1.0 if a > 0.0 else 0.0) - (1.0 if a < 0.0 else 0.0)",),
        doc="Return |self|; the derivative at 0 is 0, as in torch.",
    ),
    Operation(
        name="relu",
        symbol="ReLU",
        method="relu",
        value="0.0 if a < 0.0 else a",
        derivatives=("1.0 if out > 0.0 else 0.0",),
        fused="fg_relu",
        doc="Return max(0, self); nan stays nan and the derivative at 0 is 0.",
    ),
    Operation(
        name="tanh",
        symbol="tanh",
        method="tanh",
        value="tanh(a)",
        derivatives=("1.0 - out * out",),
        doc="Return the hyperbolic tangent of self.",
    ),
    Operation(
        name="exp",
        symbol="exp",
        method="exp",
        value="exp(a)",
        derivatives=("out",),
        errors=(Refusal("isfinite(a)", "OverflowError", "the result is too large"),),
        doc="Return e raised to self; OverflowError above 709.78.",
    ),
    Operation(
        name="log",
        symbol="log",
        method="log",
        value="log(a)",
        derivatives=("1.0 / a",),
        errors=(Refusal("a <= 0.0", "ValueError", "the operand must be positive"),),
        aliases=("ln",),
        doc="Return the natural logarithm of self; ValueError unless self is positive.",
    ),
    Operation(
        name="sigmoid",
        symbol="sigmoid",
        method="sigmoid",
        # No exponential in one arm of a condition: a loop over lanes would have a branch.
        value="exp(a if a < 0.0 else 0.0) / (1.0 + exp(-fabs(a)))",
        derivatives=("out * (1.0 - out)",),
        doc="Return 1 / (1 + exp(-self)), computed so that neither sign overflows.",
    ),
    Operation(
        name="sqrt",
        symbol="sqrt",
        method="sqrt",
        value="sqrt(a)",
        derivatives=("0.5 / out",),
        errors=(Refusal("a < 0.0", "ValueError", "the operand must not be negative"),),
        doc="Return the square root of self; ValueError if self is negative.",
    ),
    Operation(
        name="sin",
        symbol="sin",
        method="sin",
        value="sin(a)",
        derivatives=("cos(a)",),
        errors=(Refusal("not isfinite(a) and a == a", "ValueError", "the operand must be finite"),),
        doc="Return the sine of self, in radians; ValueError if self is infinite.",
    ),
    Operation(
        name="cos",
        symbol="cos",
        method="cos",
        value="cos(a)",
        derivatives=("-sin(a)",),
        errors=(Refusal("not isfinite(a) and a == a", "ValueError", "the operand must be finite"),),
        doc="Return the cosine of self, in radians; ValueError if self is infinite.",
    ),
    Operation(
        name="tan",
        symbol="tan",
        method="tan",
        value="tan(a)",
        derivatives=("1.0 + out * out",),
        errors=(Refusal("not isfinite(a) and a == a", "ValueError", "the operand must be finite"),),
        compact=True,
        doc="Return the tangent of self, in radians; ValueError if self is infinite.",
    ),
    Operation(
        name="asin",
        symbol="asin",
        method="asin",
        value="asin(a)",
        derivatives=("1.0 / sqrt((1.0 - a) * (1.0 + a))",),
        errors=(Refusal("fabs(a) > 1.0", "ValueError", "the operand must be between -1 and 1"),),
        aliases=("arcsin",),
        compact=True,
        doc="Return the inverse sine of self, in radians; ValueError unless -1 <= self <= 1.",
    ),
    Operation(
        name="acos",
        symbol="acos",
        method="acos",
        value="acos(a)",
        derivatives=("-1.0 / sqrt((1.0 - a) * (1.0 + a))",),
        errors=(Refusal("fabs(a) > 1.0", "ValueError", "the operand must be between -1 and 1"),),
        aliases=("arccos",),
        compact=True,
        doc="Return the inverse cosine of self, in radians; ValueError unless -1 <= self <= 1.",
    ),
    Operation(
        name="atan",
        symbol="atan",
        method="atan",
        value="atan(a)",
        derivatives=("1.0 / (1.0 + a * a)",),
        aliases=("arctan",),
        compact=True,
        doc="Return the inverse tangent of self, in radians.",
    ),
    Operation(
        name="sinh",
        symbol="sinh",
        method="sinh",
        value="sinh(a)",
        derivatives=("cosh(a)",),
        errors=(Refusal("isfinite(a)", "OverflowError", "the result is too large"),),
        compact=True,
        doc="Return the hyperbolic sine of self; OverflowError beyond +-710.47.",
    ),
    Operation(
        name="cosh",
        symbol="cosh",
        method="cosh",
        value="cosh(a)",
        derivatives=("sinh(a)",),
        errors=(Refusal("isfinite(a)", "OverflowError", "the result is too large"),),
        compact=True,
        doc="Return the hyperbolic cosine of self; OverflowError beyond +-710.47.",
    ),
    Operation(
        name="asinh",
        symbol="asinh",
        method="asinh",
        value="asinh(a)",
        derivatives=("1.0 / hypot(1.0, a)",),
        aliases=("arcsinh",),
        compact=True,
        doc="Return the inverse hyperbolic sine of self.",
    ),
    Operation(
        name="acosh",
        symbol="acosh",
        method="acosh",
        value="acosh(a)",
        derivatives=("1.0 / (sqrt(a - 1.0) * sqrt(a + 1.0))",),
        errors=(Refusal("a < 1.0", "ValueError", "the operand must be at least 1"),),
        aliases=("arccosh",),
        compact=True,
        doc="Return the inverse hyperbolic cosine of self; ValueError below 1.",
    ),
    Operation(
        name="atanh",
        symbol="atanh",
        method="atanh",
        value="atanh(a)",
        derivatives=("1.0 / ((1.0 - a) * (1.0 + a))",),
        errors=(
            Refusal("fabs(a) >= 1.0", "ValueError", "the operand must be between -1 and 1, not at either"),
        ),
        aliases=("arctanh",),
        compact=True,
        doc="Return the inverse hyperbolic tangent of self; ValueError unless -1 < self < 1.",
    ),
    Operation(
        name="expm1",
        symbol="expm1",
        method="expm1",
        value="expm1(a)",
        derivatives=("exp(a)",),
        errors=(Refusal("isfinite(a)", "OverflowError", "the result is too large"),),
        compact=True,
        doc="Return exp(self) - 1, also of a small self in full; OverflowError above 709.78.",
    ),
    Operation(
        name="log1p",
        symbol="log1p",
        method="log1p",
        value="log1p(a)",
        derivatives=("1.0 / (1.0 + a)",),
        errors=(Refusal("a <= -1.0", "ValueError", "the operand must be greater than -1"),),
        compact=True,
        doc="Return log(1 + self), also of a small self in full; ValueError unless self is above -1.",
    ),
    Operation(
        name="log2",
        symbol="log2",
        method="log2",
        value="log2(a)",
        derivatives=("1.4426950408889634 / a",),
        errors=(Refusal("a <= 0.0", "ValueError", "the operand must be positive"),),
        compact=True,
        doc="Return the logarithm of self to base 2; ValueError unless self is positive.",
    ),
    Operation(
        name="log10",
        symbol="log10",
        method="log10",
        value="log10(a)",
        derivatives=("0.4342944819032518 / a",),
        errors=(Refusal("a <= 0.0", "ValueError", "the operand must be positive"),),
        compact=True,
        doc="Return the logarithm of self to base 10; ValueError unless self is positive.",
    ),
    Operation(
        name="cbrt",
        symbol="cbrt",
        method="cbrt",
        value="cbrt(a)",
        derivatives=("1.0 / (3.0 * out * out)",),
        compact=True,
        doc="Return the cube root of self, of the sign of self; the derivative at 0 is inf.",
    ),
    Operation(
        name="erf",
        symbol="erf",
        method="erf",
        value="erf(a)",
        derivatives=("1.1283791670955126 * exp(-a * a)",),
        compact=True,
        doc="Return 2 / sqrt(pi) times the integral of exp(-t**2) from 0 to self.",
    ),
    Operation(
        name="erfc",
        symbol="erfc",
        method="erfc",
        value="erfc(a)",
        derivatives=("-1.1283791670955126 * exp(-a * a)",),
        compact=True,
        doc="Return 1 - erf(self), also of a large self in full.",
    ),
    Operation(
        name="lgamma",
        symbol="lgamma",
        method="lgamma",
        value="lgamma(a)",
        derivatives=("digamma(a)",),
        errors=(
            Refusal(
                "a <= 0.0 and a == floor(a) and isfinite(a)",
                "ValueError",
                "the operand is 0 or a negative integer, a pole",
            ),
            Refusal("isfinite(a)", "OverflowError", "the result is too large"),
        ),
        compact=True,
        doc="Return the logarithm of |gamma(self)|; ValueError at 0 and negative integers.",
    ),
    Operation(
        name="digamma",
        symbol="digamma",
        method="digamma",
        value="digamma(a)",
        derivatives=("polygamma(1.0, a)",),
        errors=(
            Refusal(
                "a <= 0.0 and a == floor(a) and isfinite(a)",
                "ValueError",
                "the operand is 0 or a negative integer, a pole",
            ),
        ),
        compact=True,
        doc="Return the derivative of lgamma; ValueError at 0 and negative integers.",
    ),
    Operation(
        name="floor",
        symbol="floor",
        method="floor",
        value="floor(a)",
        derivatives=("0.0",),
        selects=True,
        aliases=("__floor__",),
        compact=True,
        doc="Return the largest integer not above self, as a Value; the derivative is 0.",
    ),
    Operation(
        name="ceil",
        symbol="ceil",
        method="ceil",
        value="ceil(a)",
        derivatives=("0.0",),
        selects=True,
        aliases=("__ceil__",),
        compact=True,
        doc="Return the smallest integer not below self, as a Value; the derivative is 0.",
    ),
    Operation(
        name="round",
        symbol="round",
        method="round",
        value="rint(a)",
        derivatives=("0.0",),
        selects=True,
        aliases=("rint",),
        compact=True,
        doc="Return the integer nearest to self, the even one of two, as a Value; the derivative is 0.",
    ),
    Operation(
        name="sign",
        symbol="sign",
        method="sign",
        value="a if a != a else (1.0 if a > 0.0 else 0.0) - (1.0 if a < 0.0 else 0.0)",
        derivatives=("0.0",),
        selects=True,
        compact=True,
        doc="Return -1, 0 or 1, the sign of self; the derivative is 0.",
    ),
    Operation(
        name="add",
        symbol="+",
        method="__add__",
        value="a + b",
        derivatives=("1.0", "1.0"),
        commutes=True,
        right_sign="1.0",
        doc="Return left + right.",
    ),
    Operation(
        name="sub",
        symbol="-",
        method="__sub__",
        value="a - b",
        derivatives=("1.0", "-1.0"),
        seen_as=SeenAs("add", "mul"),
        right_sign="-1.0",
        doc="Return left - right.",
    ),
    Operation(
        name="mul",
        symbol="*",
        method="__mul__",
        value="a * b",
        derivatives=("b", "a"),
        commutes=True,
        doc="Return left * right.",
    ),
    Operation(
        name="div",
        symbol="/",
        method="__truediv__",
        # a * b**-1, as micrograd divides, so that the two agree to the last bit or the one before.
        value="a * (1.0 / b)",
        derivatives=("1.0 / b", "-a * (1.0 / b) * (1.0 / b)"),
        errors=(
            Refusal("b == 0.0", "ZeroDivisionError", "division by zero"),
            Refusal("isfinite(b) and not isfinite(1.0 / b)", "OverflowError", "1 / right is too large"),
        ),
        seen_as=SeenAs("mul", "pow"),
        simpler=(("1.0", "a"),),
        doc="Return left / right; ZeroDivisionError if right is 0.",
    ),
    Operation(
        name="pow",
        symbol="**",
        method="__pow__",
        value="a * a if b == 2.0 else 1.0 / a if b == -1.0 else pow(a, b)",
        derivatives=(
            "2.0 * a if b == 2.0 else 0.0 if b == 0.0 else b * pow(a, b - 1.0)",
            "0.0 if a == 0.0 and b >= 0.0 else out * log(a)",
        ),
        errors=(
            Refusal(
                "a == 0.0 and b < 0.0 and isfinite(b)",
                "ZeroDivisionError",
                "zero cannot be raised to a negative power",
            ),
            Refusal(
                "a < 0.0 and isfinite(a) and isfinite(b) and b != floor(b)",
                "ValueError",
                "a negative number has no real fractional power",
            ),
            Refusal("isfinite(a) and isfinite(b)", "OverflowError", "the result is too large"),
        ),
        smooth=(
            "0.0 if b == 0.0 and not fabs(a) > 1e-307 else b * pow(a, b - 1.0)",
            "0.0 if a == 0.0 and b >= 0.0 else out * log(a)",
        ),
        right_in_symbol=True,
        hides_nan="1.0",
        # A power takes 20 times as long. At 0.5 it is no square root, which differs at -0.0 and at -inf.
        simpler=(("1.0", "a"), ("2.0", "a * a"), ("-1.0", "1.0 / a")),
        # A root of lanes takes a third of what it takes where the exponent is looked at lane by lane.
        frequent=("0.5", "-0.5", "3.0"),
        doc="Return left ** right; the derivative by the exponent is nan at a negative base, as in torch.",
    ),
    Operation(
        name="mod",
        symbol="%",
        method="__mod__",
        value="mod(a, b)",
        derivatives=("1.0", "-rint((a - out) / b)"),
        errors=(Refusal("b == 0.0", "ZeroDivisionError", "division by zero"),),
        compact=True,
        doc="Return left - right * floor(left / right); ZeroDivisionError if right is 0.",
    ),
    Operation(
        name="fmod",
        symbol="fmod",
        method="fmod",
        value="fmod(a, b)",
        derivatives=("1.0", "-rint((a - out) / b)"),
        errors=(Refusal("b == 0.0", "ZeroDivisionError", "division by zero"),),
        compact=True,
        doc="Return the remainder of self / other, of the sign of self; ZeroDivisionError if other is 0.",
    ),
    Operation(
        name="atan2",
        symbol="atan2",
        method="atan2",
        value="atan2(a, b)",
        derivatives=(
            "0.0 if a == 0.0 and b == 0.0 else b / hypot(a, b) / hypot(a, b)",
            "0.0 if a == 0.0 and b == 0.0 else -a / hypot(a, b) / hypot(a, b)",
        ),
        aliases=("arctan2",),
        compact=True,
        doc="Return the angle of the point (other, self); at the origin both derivatives are 0.",
    ),
    Operation(
        name="hypot",
        symbol="hypot",
        method="hypot",
        value="hypot(a, b)",
        derivatives=("a / out", "b / out"),
        commutes=True,
        compact=True,
        doc="Return sqrt(self**2 + other**2); at the origin both derivatives are nan, as in torch.",
    ),
)

FUNCTIONS: tuple[Operation, ...] = (
    Operation(
        name="softplus",
        symbol="softplus",
        method="",
        value="(a if a > 0.0 else 0.0 if a == a else a) + log1p(exp(-fabs(a)))",
        derivatives=("(1.0 if a >= 0.0 else exp(-fabs(a))) / (1.0 + exp(-fabs(a)))",),
        smooth=("sigmoid(a)",),
        doc="Return log(1 + exp(operand)), which does not overflow.",
    ),
    Operation(
        name="silu",
        symbol="silu",
        method="",
        value="a * ((1.0 if a >= 0.0 else exp(-fabs(a))) / (1.0 + exp(-fabs(a))))",
        derivatives=(
            "(1.0 if a >= 0.0 else exp(-fabs(a))) / (1.0 + exp(-fabs(a)))"
            " + out * ((exp(-fabs(a)) if a >= 0.0 else 1.0) / (1.0 + exp(-fabs(a))))",
        ),
        smooth=("sigmoid(a) + out * sigmoid(-a)",),
        doc="Return operand * sigmoid(operand).",
    ),
    Operation(
        name="leaky_relu",
        symbol="leaky_relu",
        method="",
        # A slope that is nan shows, though the positive side does not need it.
        value="a if a > 0.0 and b == b else a * b",
        derivatives=("1.0 if a > 0.0 else b", "0.0 if a > 0.0 else a"),
        doc="Return left where it is positive, else left * right.",
    ),
    Operation(
        name="maximum",
        symbol="maximum",
        method="",
        value="a if a > b else b if a == a else a",
        derivatives=(
            "0.5 if a == b else 0.0 if a < b else 1.0",
            "0.5 if a == b else 0.0 if a > b else 1.0",
        ),
        commutes=True,
        selects=True,
        doc="Return the larger operand; equal ones share the gradient, nan propagates.",
    ),
    Operation(
        name="minimum",
        symbol="minimum",
        method="",
        value="a if a < b else b if a == a else a",
        derivatives=(
            "0.5 if a == b else 0.0 if a > b else 1.0",
            "0.5 if a == b else 0.0 if a < b else 1.0",
        ),
        commutes=True,
        selects=True,
        doc="Return the smaller operand; equal ones share the gradient, nan propagates.",
    ),
    Operation(
        name="softmax",
        symbol="softmax",
        method="",
        value="exp(a - b)",
        derivatives=("out", "-out"),
        doc="Return exp(left - right): the softmax of left where right is the logsumexp it is part of.",
    ),
    Operation(
        name="hinge",
        symbol="hinge",
        method="",
        value="0.0 if 1.0 - a * b < 0.0 else 1.0 - a * b",
        derivatives=("-b if out > 0.0 else 0.0", "-a if out > 0.0 else 0.0"),
        commutes=True,
        doc="Return max(0, 1 - left * right): the hinge loss of a score and its label.",
    ),
    Operation(
        name="logistic",
        symbol="logistic",
        method="",
        # -b * log(sigmoid(a)) - (1 - b) * log(1 - sigmoid(a)), rewritten so that exp cannot overflow.
        value="(a if a > 0.0 else 0.0 if a == a else a) - a * b + log1p(exp(-fabs(a)))",
        derivatives=(
            "exp(a if a < 0.0 else 0.0) / (1.0 + exp(-fabs(a))) - b",
            "-a",
        ),
        smooth=("sigmoid(a) - b", "-a"),
        doc="Return the binary cross entropy of the logit left and the probability right.",
    ),
    Operation(
        name="where",
        symbol="where",
        method="",
        value="b if a > 0.0 else c",
        derivatives=("0.0", "1.0 if a > 0.0 else 0.0", "0.0 if a > 0.0 else 1.0"),
        selects=True,
        doc="Return the second operand where the first is positive, else the third.",
    ),
    Operation(
        name="ndtr",
        symbol="ndtr",
        method="",
        value="0.5 * erfc(a * -0.7071067811865476)",
        derivatives=("0.3989422804014327 * exp(-0.5 * a * a)",),
        compact=True,
        doc="Return the probability that a standard normal number is at most the operand.",
    ),
    Operation(
        name="gelu",
        symbol="gelu",
        method="",
        value="0.5 * a * erfc(a * -0.7071067811865476)",
        derivatives=("0.5 * erfc(a * -0.7071067811865476) + a * 0.3989422804014327 * exp(-0.5 * a * a)",),
        compact=True,
        doc="Return operand * ndtr(operand).",
    ),
    Operation(
        name="polygamma",
        symbol="polygamma",
        method="",
        value="polygamma(a, b)",
        derivatives=("0.0", "polygamma(a + 1.0, b)"),
        errors=(
            Refusal(
                "a < 0.0 or a > 100.0 or floor(a) < a",
                "ValueError",
                "the order must be a whole number from 0 to 100",
            ),
            Refusal(
                "a == a and b <= 0.0 and b == floor(b) and isfinite(b)",
                "ValueError",
                "the operand is 0 or a negative integer, a pole",
            ),
            Refusal("isfinite(a) and isfinite(b)", "OverflowError", "the result is too large"),
        ),
        compact=True,
        doc="Return the derivative number left of digamma at right; that by left is taken as 0.",
    ),
    Operation(
        name="quotient",
        symbol="quotient",
        method="",
        value="a / b",
        derivatives=("1.0 / b", "-out / b"),
        compact=True,
        doc="Return left / right, also where 1 / right is infinite or inexact: what derivatives divide by.",
    ),
    condition("greater", ">", "a > b", "left > right"),
    condition("greater_equal", ">=", "a >= b", "left >= right"),
    condition("less", "<", "a < b", "left < right"),
    condition("less_equal", "<=", "a <= b", "left <= right"),
    condition("equal", "==", "a == b", "left == right", commutes=True),
    condition("not_equal", "!=", "a != b", "left != right", commutes=True),
    condition(
        "logical_and", "logical_and", "a > 0.0 and b > 0.0", "both operands are positive", commutes=True
    ),
    condition(
        "logical_or", "logical_or", "a > 0.0 or b > 0.0", "one of the operands is positive", commutes=True
    ),
    Operation(
        name="logical_not",
        symbol="logical_not",
        method="",
        value="0.0 if a > 0.0 else 1.0",
        derivatives=("0.0",),
        selects=True,
        compact=True,
        doc="Return 0 where the operand is positive, else 1; the derivative is 0.",
    ),
    Operation(
        name="clip",
        symbol="clip",
        method="",
        value="a if a != a else b if b != b else c if c != c else c if a > c or b > c else b if a < b else a",
        derivatives=(
            "1.0 if a >= b and a <= c else 0.0",
            "1.0 if a < b and b < c else 0.0",
            "1.0 if a > c or c < b else 0.0",
        ),
        selects=True,
        doc="Return the first operand, at least the second and at most the third.",
    ),
)

# The activations that may follow a sum of products in the same node; "linear" is none. The index is kept in
# two bits of the node. The first after "linear" is the fastest, as the engine computes it without a branch.
ACTIVATIONS: tuple[str, ...] = ("linear", "relu", "tanh", "sigmoid")

BY_NAME: dict[str, Operation] = {operation.name: operation for operation in TABLE + FUNCTIONS}
