"""The command line: `python -m fastgrad run script.py [args]` and `python -m fastgrad demo`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

# The status of a program that Ctrl-C has ended: 128 and the signal's number.
INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    result = argparse.ArgumentParser(prog="python -m fastgrad", description=__doc__)
    commands = result.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run",
        help="run a micrograd program unchanged, on fastgrad",
        description="run a micrograd program unchanged, on fastgrad, with the processes that it starts by "
        "multiprocessing; other programs that it starts are run as ever",
    )
    run.add_argument("script", help="the program's path")
    run.add_argument("arguments", nargs=argparse.REMAINDER, help="the program's own arguments")

    demo = commands.add_parser("demo", help="train micrograd's moons demo and draw its decision boundary")
    demo.add_argument("--steps", type=positive, default=100, help="full-batch steps (default: 100)")
    demo.add_argument("--seed", type=seed, default=1337, help="for random and numpy (default: 1337)")
    demo.add_argument(
        "--output",
        default="moons.png",
        help="the picture's path, .png without a suffix, numbered if there is one (default: moons.png)",
    )
    demo.add_argument("--plain", action="store_true", help="one line a step instead of a progress bar")
    demo.add_argument("--compiled", action="store_true", help="compile the loss for all rows at once")
    return result


def positive(text: str) -> int:
    """Parse a whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def seed(text: str) -> int:
    """Parse a whole number that numpy takes for a seed."""
    number = int(text)
    if not 0 <= number < 2**32:
        raise argparse.ArgumentTypeError(f"must be at least 0 and less than 2**32, not {number}")
    return number


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; exits with status 2 on wrong arguments."""
    options = parser().parse_args(arguments)
    if options.command == "run":
        from fastgrad.running import run_script

        run_script(options.script, options.arguments)
    else:
        try:
            run_demo(options)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(INTERRUPTED)


def run_demo(options: argparse.Namespace) -> None:
    """Run the demo; exits with a status and a message that fit if it cannot be run, or ends badly."""
    try:
        from fastgrad.demo import picture_path, train_moons
    except ModuleNotFoundError as error:
        sys.exit(f"the demo needs {error.name}: pip install 'fastgrad[demo]'")
    try:
        path = picture_path(options.output)
    except ValueError as error:
        # Like argparse's errors, whose parser has not matplotlib's list of formats.
        print(f"python -m fastgrad demo: error: argument --output: {error}", file=sys.stderr)
        sys.exit(2)
    try:
        finished = train_moons(options.steps, options.seed, path, options.plain, options.compiled)
    except (FloatingPointError, OSError) as error:
        sys.exit(f"python -m fastgrad demo: error: {error}")
    if not finished:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
