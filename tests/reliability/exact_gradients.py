"""Gradients of 100,000 random rational graphs against exact fractions, eager and compiled.

    python tests/reliability/exact_gradients.py                 # some minutes
    python tests/reliability/exact_gradients.py --graphs 1000

Prints the errors of each engine, and exits with 1 if any error is larger than rounding explains.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from evidence.exact_fractions import check


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--graphs", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="the number of the first graph")
    options = parser.parse_args()
    started = time.perf_counter()
    tallies, wrong = check(options.first, options.first + options.graphs)
    for (engine, quantity), tally in tallies.items():
        print(f"{engine}, {quantity}: {tally}")
    for mistake in wrong[:50]:
        print("WRONG:", mistake)
    seconds = time.perf_counter() - started
    print(f"{options.graphs} graphs, {len(wrong)} numbers beyond the bound, {seconds:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
