"""Measure every row of the table against mpmath over the whole range of doubles.

    python tests/reliability/measure_accuracy.py                # some minutes; prints the table
    python tests/reliability/measure_accuracy.py --write        # and writes docs/accuracy.md
    python tests/reliability/measure_accuracy.py --every 20     # a twentieth of the operands

Exits with 1 if any error is larger than the bound of the row's expression.
"""

import argparse
import platform
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from evidence.backends import by_size, eager, lanes_and_uniform, lanes_of, uniform  # noqa: E402
from evidence.errors import WELL_CONDITIONED, compare, references  # noqa: E402
from evidence.operands import points  # noqa: E402
from fastgrad.compiler.replay import available_kernels  # noqa: E402
from fastgrad.operations import FUNCTIONS, REDUCTIONS, TABLE, Operation  # noqa: E402

PAGE = ROOT / "docs" / "accuracy.md"

INTRODUCTION = """\
# Accuracy

Written by `python tests/reliability/measure_accuracy.py --write` (`nox -s accuracy`), not by hand: every row
of the table of operations against mpmath at 320 bits, on {points} operands: all binades from 2**-1074 to
2**1023 with both signs, the neighbours of special points, operands that cancel. What is exact is the
mathematical definition in `tests/evidence/meanings.py` and the derivative that dual numbers make of it, not
the row's own expression.

- **max, mean**: the error in units in the last place of the exact result, where the row's expression is well
  conditioned, that is, where its error bound is at most {conditioned} ulp. **conditioned** is the share of
  such operands.
- **of the bound**: over *all* operands, the largest share that an error took of the bound that running error
  analysis (Higham 2002, section 3.3) gives for the row's expression, with 1 ulp for the C library's exp, log,
  sin, cos and pow, 2 for its log1p, 3 for its tanh, and 2 for exp, log and tanh over lanes; 1 or 2 for its
  inverse and hyperbolic functions, 4 for cbrt, lgamma and digamma, 5 for erfc, and 10 for polygamma, with 3
  more for each order. Left of 0, digamma and polygamma count ulps of the terms that cancel there.
  The check fails above 100 %. A derivative like `1 - out * out` cancels where tanh is near 1: a few ulp of
  its terms are many ulp of the result. Far from 0, the slope of erf and the value of ndtr have the error that
  rounding the exponent makes.
- **lost**: operands whose result is wrong because an intermediate result leaves the range of doubles, though
  the exact result is in it: `b * a**(b - 1)` at a subnormal a, `2 * a / n` near the largest double, a sum
  whose partial sums overflow.
- The derivative of a negative base raised to an integer of 2**53 or more is not checked: there `b - 1` is `b`
  in doubles, so its sign is wrong.
- **engine** is `Value`; programs without rows, and operands that are numbers, are held to the same bounds.
  The other columns are programs over rows with each instruction set's kernels{missing}.

Measured on {machine}, in {seconds:.0f} s.

"""


def machine() -> str:
    library = " ".join(platform.libc_ver())
    return f"{platform.machine()}, {library}, CPython {platform.python_version()}"


def measure(row, every: int, kernels: list[str]):
    """Return the spreads of the columns by name, the numbers that are wrong, and the number of points."""
    wanted = references(row, points(row, every))
    numbers = [reference.numbers for reference in wanted]
    errors = []
    columns = {}
    columns["engine"], found = compare(row, eager(row, numbers), wanted, "libm")
    errors += found
    errors += compare(row, by_size(row, numbers, uniform), wanted, "libm")[1]
    if isinstance(row, Operation) and row.operands > 1:
        for at in range(row.operands):
            errors += compare(row, eager(row, numbers, at), wanted, "libm")[1]
            errors += compare(row, lanes_and_uniform(row, numbers, at), wanted, "lanes")[1]
    for name in kernels:
        columns[name], found = compare(row, lanes_of(name, {row.name: numbers})[row.name], wanted, "lanes")
        errors += found
    return columns, errors, len(numbers)


def lines(row, columns) -> list[str]:
    """The row's lines of the table, one a quantity."""
    written = []
    for quantity, spread in columns["engine"].items():
        share = max(column[quantity].share for column in columns.values())
        cells = [
            f"`{row.name}`" if quantity == "value" else "",
            quantity,
            *(f"{column[quantity].worst:.2f}, {column[quantity].mean:.2f}" for column in columns.values()),
            f"{100 * spread.conditioned / max(spread.count, 1):.0f} %",
            f"{100 * share:.0f} %",
            str(spread.lost),
        ]
        written.append("| " + " | ".join(cells) + " |")
    return written


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1, help="take one of so many operands")
    parser.add_argument("--write", action="store_true", help="write docs/accuracy.md")
    options = parser.parse_args()
    started = time.perf_counter()
    kernels = available_kernels()
    header = [
        "row",
        "",
        *(f"{name}: max, mean" for name in ("engine", *kernels)),
        "conditioned",
        "of the bound",
        "lost",
    ]
    table = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    print("\n".join(table))
    wrong, total = [], 0
    for row in (*TABLE, *FUNCTIONS, *REDUCTIONS):
        columns, errors, count = measure(row, options.every, kernels)
        table += lines(row, columns)
        print("\n".join(lines(row, columns)), flush=True)
        wrong += [(row.name, *error) for error in errors]
        total += count
    seconds = time.perf_counter() - started
    for error in wrong[:50]:
        print("WRONG:", *error)
    print(f"{total} operands, {len(wrong)} errors beyond the bound, {seconds:.0f} s")
    if options.write:
        absent = [name for name in ("avx2", "avx512") if name not in kernels]
        PAGE.write_text(
            INTRODUCTION.format(
                points=f"{total:,}",
                conditioned=WELL_CONDITIONED,
                missing=f"; this machine has no {' and no '.join(absent)}" if absent else "",
                machine=machine(),
                seconds=seconds,
            )
            + "\n".join(table)
            + "\n"
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
