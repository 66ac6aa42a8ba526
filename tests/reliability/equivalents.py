"""The mutants of the table that compute the same numbers, and so cannot be killed, each with the reason."""

import ast
import re

from mutations import Mutant

BOTH_FORMULAS = "both formulas are as accurate within 1 of 0"
ONLY_SPEED = "the library's power is the same: the product is faster"
NOT_FINITE = "the condition is looked at only if the result is not finite, and is the same then"
EQUAL = "the operands are equal where the comparison differs"
INFINITE = "what an infinity makes false is also false without its test"
NAN = "the sum is nan anyway"
SIGN_OF_ZERO = "a program adds its outputs to 0, which has no sign"
CHAINS = "programs have sums and means as chains of terms, and never run these rows"
SAME_OUT = "a program's results cannot be assigned to"

LOGISTIC = "(1.0 / (1.0 + exp(-a)) if {} else exp(a) / (1.0 + exp(a))) - b"
SIGMOID = "1.0 / (1.0 + exp(-a)) if {} else exp(a) / (1.0 + exp(a))"
FRACTIONAL = "a < 0.0 and isfinite(a) and isfinite(b) and b != floor(b)"

# By row and part: the expressions, and why each is equivalent.
EVERYWHERE: dict[tuple[str, str], dict[str, str]] = {
    ("log", "error 0"): {"a <= 1.0": NOT_FINITE},
    ("sqrt", "error 0"): {"a < 1.0": NOT_FINITE, "a <= 0.0": NOT_FINITE},
    ("sigmoid", "value"): {
        SIGMOID.format(condition): BOTH_FORMULAS for condition in ("a > 0.0", "a >= 1.0", "a >= -1.0")
    },
    ("logistic", "value"): {
        "(a if a > 0.0 else 0.0) - a * b + log1p(exp(-fabs(a)))": NAN,
        "(a if a >= 0.0 or a != a else 0.0) - a * b + log1p(exp(-fabs(a)))": EQUAL,
    },
    ("logistic", "derivative 0"): {
        LOGISTIC.format(condition): BOTH_FORMULAS for condition in ("a > 0.0", "a >= 1.0", "a >= -1.0")
    },
    ("div", "error 1"): {"b == b and not isfinite(1.0 / b)": INFINITE},
    ("pow", "value"): {
        "1.0 / a if b == -1.0 else pow(a, b)": ONLY_SPEED,
        "a * a if b == 2.0 else pow(a, b)": ONLY_SPEED,
    },
    ("pow", "derivative 0"): {"0.0 if b == 0.0 else b * pow(a, b - 1.0)": ONLY_SPEED},
    ("pow", "error 0"): {
        "a == 0.0 and isfinite(b)": NOT_FINITE,
        "a == 0.0 and b <= 0.0 and isfinite(b)": NOT_FINITE,
        "a == 0.0 and b < 1.0 and isfinite(b)": NOT_FINITE,
    },
    ("pow", "error 1"): {
        FRACTIONAL.replace("a < 0.0", "a <= 0.0"): NOT_FINITE,
        FRACTIONAL.replace("isfinite(b)", "b == b"): INFINITE,
    },
    ("maximum", "value"): {"a if a >= b or a != a else b": EQUAL},
    ("maximum", "derivative 0"): {
        "0.5 if a == b else 0.0 if a <= b else 1.0": EQUAL,
        "0.5 if a == b else 0.0 if a < out else 1.0": EQUAL,
    },
    ("maximum", "derivative 1"): {
        "0.5 if a == b else 0.0 if a >= b else 1.0": EQUAL,
        "0.5 if a == b else 0.0 if out > b else 1.0": EQUAL,
    },
    ("minimum", "value"): {"a if a <= b or a != a else b": EQUAL},
    ("minimum", "derivative 0"): {
        "0.5 if a == b else 0.0 if a >= b else 1.0": EQUAL,
        "0.5 if a == b else 0.0 if a > out else 1.0": EQUAL,
    },
    ("minimum", "derivative 1"): {
        "0.5 if a == b else 0.0 if a <= b else 1.0": EQUAL,
        "0.5 if a == b else 0.0 if out < b else 1.0": EQUAL,
    },
    ("hinge", "value"): {"0.0 if 1.0 - a * b <= 0.0 else 1.0 - a * b": EQUAL},
}
IN_PROGRAMS: dict[tuple[str, str], dict[str, str]] = {
    ("relu", "value"): {"0.0 if a <= 0.0 else a": SIGN_OF_ZERO},
    ("relu", "derivative 0"): {"1.0 if a > 0.0 else 0.0": SAME_OUT},
}

# A sign that an even function, or a comparison with 0, does not see.
EVEN = (
    (r"\b(fabs|isfinite|cos)\(-(\w+)\)", r"\1(\2)"),
    (r"isfinite\((?:-\(1\.0 / b\)|-1\.0 / b|1\.0 / -b)\)", "isfinite(1.0 / b)"),
    (r"-([ab]) == 0\.0", r"\1 == 0.0"),
)


def plain(expression: str) -> str:
    """The expression without redundant brackets."""
    return ast.unparse(ast.parse(expression, mode="eval"))


def reason_of(m: Mutant, place: str) -> str:
    """Return why a mutant is equivalent in a place, or nothing."""
    for pattern, replacement in EVEN:
        if plain(re.sub(pattern, replacement, m.mutated)) == plain(m.original):
            return "a sign that nothing depends on"
    if place != "everywhere" and m.row in ("sum", "mean"):
        return CHAINS
    known = EVERYWHERE.get((m.row, m.part), {})
    if place != "everywhere":
        known = {**known, **IN_PROGRAMS.get((m.row, m.part), {})}
    return next((reason for text, reason in known.items() if plain(text) == plain(m.mutated)), "")
