"""The commands `run script.py [args]`, `run -m module`, `demo`, `race`, `examples directory`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fastgrad import __version__, engine

__all__ = ["main"]

# The exit status after Ctrl-C: 128 + the signal's number.
INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    name = name_of_command()
    result = argparse.ArgumentParser(prog=name, description=__doc__)
    result.add_argument("--version", action="version", version=version())
    commands = result.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run",
        usage=f"{name} run [-h] (script | -m module) [arguments ...]",
        help="run a micrograd program unchanged, on fastgrad",
        description="run a micrograd program unchanged, on fastgrad, with the processes that it starts by "
        "multiprocessing; other programs that it starts are run as ever",
    )
    run.add_argument("script", nargs="?", help="the path of the program, or of a notebook")
    run.add_argument("arguments", nargs=argparse.REMAINDER, help="the program's own arguments")
    run.add_argument(
        "-m",
        nargs=argparse.REMAINDER,
        dest="module",
        metavar="module",
        help="a module to run in place of a script, as by `python -m`, with its arguments: -m pytest",
    )
    run.set_defaults(refuse=run.error)

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
    demo.add_argument(
        "--watch",
        action="store_true",
        help="show the training as it goes on in the browser, where a click adds a point; writes no picture",
    )

    race = commands.add_parser("race", help="train the moons with micrograd and with fastgrad, in turn")
    race.add_argument("--seconds", type=positive, default=20, help="how long (default: 20)")
    race.add_argument("--seed", type=seed, default=1337, help="for random and numpy (default: 1337)")

    examples = commands.add_parser("examples", help="copy the example notebooks and scripts to a directory")
    examples.add_argument("directory", help="where to; it is made if need be, and nothing is overwritten")
    return result


def name_of_command() -> str:
    """Return what was typed to get here: `fastgrad`, or `python -m fastgrad`."""
    return "fastgrad" if Path(sys.argv[0]).stem == "fastgrad" else "python -m fastgrad"


def version() -> str:
    """Return the version, whether this build has assertions and whether it is no measure of speed."""
    build = "with assertions" if hasattr(engine, "_check_invariants") else "a plain build"
    if engine._is_quick:
        build += ", compiled quickly: slower than others"
    return f"fastgrad {__version__}, {build}"


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
        from fastgrad.commands.run import run_module, run_script

        if options.module:
            run_module(options.module[0], options.module[1:])
        elif options.script is not None:
            run_script(options.script, options.arguments)
        else:
            options.refuse("a script is required, or -m and a module")
    elif options.command == "examples":
        run_examples(options.directory)
    else:
        try:
            (run_race if options.command == "race" else run_demo)(options)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(INTERRUPTED)


def run_examples(directory: str) -> None:
    """Copy the examples and print where they are; exit with a message if they cannot be copied."""
    from fastgrad.commands.examples import copy_examples

    try:
        copies = copy_examples(directory)
    except OSError as error:
        sys.exit(f"{name_of_command()} examples: error: {error}")
    print(f"{len(copies)} examples are in {str(Path(directory).resolve())!r}; the notebooks:")
    for copy in copies:
        if copy.suffix == ".ipynb":
            print(f"    {copy}")


def run_demo(options: argparse.Namespace) -> None:
    """Run the demo; exit with a message and a status if it cannot run or does not finish."""
    try:
        from fastgrad.commands.demo import picture_path, train_moons, watch_moons
    except ModuleNotFoundError as error:
        sys.exit(f'the demo needs {error.name}: pip install "fastgrad[demo]"')
    if options.watch:
        try:
            watch_moons(options.steps, options.seed, options.compiled)
        except FloatingPointError as error:
            sys.exit(f"{name_of_command()} demo: error: {error}")
        return
    try:
        path = picture_path(options.output)
    except ValueError as error:
        # In the form of argparse's errors, as argparse cannot know matplotlib's formats.
        print(f"{name_of_command()} demo: error: argument --output: {error}", file=sys.stderr)
        sys.exit(2)
    try:
        finished = train_moons(options.steps, options.seed, path, options.plain, options.compiled)
    except (FloatingPointError, OSError) as error:
        sys.exit(f"{name_of_command()} demo: error: {error}")
    if not finished:
        sys.exit(INTERRUPTED)


def run_race(options: argparse.Namespace) -> None:
    """Run the race; exit with a message if something that it needs is missing."""
    try:
        from fastgrad.commands.race import race
    except ModuleNotFoundError as error:
        sys.exit(f'the race needs {error.name}: pip install micrograd "fastgrad[demo]"')
    race(options.seconds, options.seed)


if __name__ == "__main__":
    main()
