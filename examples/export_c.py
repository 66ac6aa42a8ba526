"""A network trained here runs in C: examples/export_c.py writes it, compiles it with cc and compares.

python examples/export_c.py --steps 100
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import fastgrad.functional as F
from fastgrad import compile
from fastgrad.export import to_c
from fastgrad.nn import MLP
from fastgrad.optim import SGD

# What uses the network: it reads points and prints a score for each.
MAIN = """\
#include <stdio.h>

#include "score.c"

int main(void) {
    double x[2], score;
    while (scanf("%lf %lf", &x[0], &x[1]) == 2) {
        score_of(x, score_of_parameters, &score);
        printf("%.17g\\n", score);
    }
    return 0;
}
"""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--directory", help="where to write the files; a temporary directory otherwise")
    options = parser.parse_args(arguments)

    random.seed(1)
    points = [[random.uniform(-1, 1), random.uniform(-1, 1)] for _ in range(200)]
    inside = [1.0 if x * x + y * y < 0.5 else -1.0 for x, y in points]
    model = MLP(2, [8, 8, 1], activation="tanh")
    optimizer = SGD(model.parameters(), lr=0.5)
    loss = compile(lambda x, y: F.hinge_loss([model(x)], [y]))
    score_of = compile(lambda x: model(x))
    for _ in range(options.steps):
        optimizer.zero_grad()
        loss.backward(points, inside)
        optimizer.step()

    scores = [float(score) for score in score_of(points)]
    right = sum((score > 0) == (y > 0) for score, y in zip(scores, inside, strict=True)) / len(points)
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(options.directory or temporary)
        to_c(score_of, directory / "score.c", name="score_of")
        (directory / "main.c").write_text(MAIN)
        print(f"{right:.0%} of the points are right; score.c has {len(model.parameters())} parameters")
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            print("there is no C compiler here")
            return
        flags = ["-O2", "-std=c99", "-Wall", "-Wextra", "-pedantic"]
        program = directory / "score"
        subprocess.run([compiler, *flags, str(directory / "main.c"), "-o", str(program), "-lm"], check=True)
        given = "".join(f"{x!r} {y!r}\n" for x, y in points)
        printed = subprocess.run([program], input=given, capture_output=True, text=True, check=True).stdout
    largest = max(abs(float(a) - b) for a, b in zip(printed.split(), scores, strict=True))
    print(f"C gives the same scores to {largest:.0e}")


if __name__ == "__main__":
    main()
