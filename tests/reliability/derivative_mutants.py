"""Mutants of the table's derivatives, as fastgrad.grad applies them: each must be found.

    python tests/reliability/derivative_mutants.py     # half a minute

A mutant is found if its numbers are not those of backward() on the grid of the tests, or if a derivative
of the second order is not that of the value. Mutants that compute the same numbers cannot be found; they are
listed.
"""

import functools
import sys
from itertools import combinations_with_replacement
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import test_derivatives as tests
from mutations import mutated

from fastgrad import Value, grad
from fastgrad.derivatives import expressions, reverse
from fastgrad.engine import apply

SMALL = "0.0 if b == 0.0 and (not {}) else b * pow(a, b - 1.0)"
SOFTPLUS = "1.0 / (1.0 + exp(-a)) if {} else exp(a) / (1.0 + exp(a))"
SILU = "(1.0 + out * exp(-a)) / (1.0 + exp(-a)) if {} else (exp(a) + out) / (1.0 + exp(a))"
ANGLE = "0.0 if {0} == 0.0 and {1} == 0.0 else {6} / hypot({2}, {3}) / hypot({4}, {5})"
EVEN = [[f"-{name}" if at == place else name for at, name in enumerate("ababab")] for place in range(6)]
EQUIVALENT = {
    "1.0 if a > 0.0 else 0.0",
    "cos(-a)",
    "0.0 if -b == 0.0 and (not fabs(a) > 1e-307) else b * pow(a, b - 1.0)",
    *map(SMALL.format, ("fabs(a) >= 1e-307", "fabs(-a) > 1e-307")),
    "0.0 if -a == 0.0 and b >= 0.0 else out * log(a)",
    # At 0 a power between -1 and 0 raises.
    "0.0 if a == 0.0 and b >= -1.0 else out * log(a)",
    "1.0 / (1.0 + exp(-a))",
    *map(SOFTPLUS.format, ("a > 0.0", "a >= 1.0", "a >= -1.0", "out >= 0.0")),
    *map(SILU.format, ("a > 0.0", "a >= 1.0", "a >= -1.0")),
    "0.0 if a >= 0.0 else a",
    # Even functions.
    "cosh(-a)",
    *("1.0 / hypot(-1.0, a)", "1.0 / hypot(1.0, -a)"),
    *(ANGLE.format(*signs, side) for side in ("b", "-a") for signs in EVEN),
    # The quotient is an integer, but for rounding.
    "-((a - out) / b)",
    # Where the result is an operand.
    "1.0 if a >= b and a <= out else 0.0",
    *("1.0 if a < out and b < c else 0.0", "1.0 if a < b and out < c else 0.0"),
    # What is equal was decided before.
    *(f"0.5 if a == b else 0.0 if {test} else 1.0" for test in ("a <= b", "a >= b")),
    *(f"0.5 if a == b else 0.0 if {test} else 1.0" for test in ("a < out", "out > b", "a > out", "out < b")),
}


@functools.cache
def exact(row, numbers, orders):
    return tests.exact(row, numbers, orders)


def found_by_backward(row) -> bool:
    try:
        tests.test_the_first_order_is_that_of_backward(row)
        if row.name == "pow":
            tests.test_a_power_with_a_negative_base()
            for exponent in (0.0, 2.0):
                for base in (0.7, 1.7):
                    tests.test_a_power_by_both_operands(base, exponent)
    except Exception:
        return True
    except BaseException as error:
        # pytest's own.
        return isinstance(error, AssertionError)
    return False


def found_at_second_order(row) -> bool:
    for numbers in list(tests.points_of(row))[:24]:
        for by in combinations_with_replacement(range(row.name == "polygamma", row.operands), 2):
            leaves = [Value(number) for number in numbers]
            orders = tuple(map(by.count, range(row.operands)))
            try:
                found = grad(grad(apply(row.name, *leaves), leaves[by[0]]), leaves[by[1]])
            except (ArithmeticError, TypeError, ValueError):
                return True
            if not tests.close(found.data, exact(row, numbers, orders), 1e-9):
                return True
    return False


def survivors(row) -> list[str]:
    """The mutants of a row that nothing finds."""
    names = (*("a", "b", "c")[: row.operands], "out")
    right, rules, kept = expressions.rules(row.name, False), expressions.rules, []
    for place, expression in enumerate(row.smooth or row.derivatives):
        for _, text in mutated(expression, names):
            if text in EQUIVALENT:
                continue
            try:
                wrong = list(right)
                wrong[place] = expressions.function_of(text, names, False)
            except ValueError:
                # There is no such row.
                continue
            mutant = tuple(wrong)
            reverse.rules = lambda name, tracing, mutant=mutant: (
                mutant if name == row.name else rules(name, tracing)
            )
            if not (found_by_backward(row) or found_at_second_order(row)):
                kept.append(text)
    reverse.rules = rules
    return kept


def main() -> int:
    alive = [f"{row.name}: {text}" for row in tests.ROWS for text in survivors(row)]
    print(*alive, sep="\n")
    print(f"{len(alive)} survive")
    return bool(alive)


if __name__ == "__main__":
    sys.exit(main())
