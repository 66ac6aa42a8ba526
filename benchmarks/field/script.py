"""microgpt's script, with its own Value class and with fastgrad's: `python -m benchmarks.field.script`.

The script is the user's file, not part of this repository; it reads input.txt, the names, in the current
folder. Only its class `Value` changes: an import takes its place.
"""

import argparse
import ast
import builtins
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

LINE = re.compile(r"step\s+(\d+) */ *(\d+) \| loss ([\d.]+)")
SAMPLE = re.compile(r"sample\s+\d+: (\w*)")


class EnoughError(Exception):
    """Raised in the script after the last step that is wanted."""


def program_of(path: Path, own: bool) -> Any:
    """The script's code, with its own class or without it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for at, part in enumerate(tree.body):
        if isinstance(part, ast.ClassDef) and part.name == "Value" and not own:
            replacement = ast.parse("from fastgrad.engine import Value").body
            tree.body[at : at + 1] = [ast.copy_location(new, part) for new in replacement]
            break
    else:
        if not own:
            raise ValueError(f"{path} has no class Value")
    return compile(ast.fix_missing_locations(tree), str(path), "exec")


def run(path: Path, names: Path, own: bool, steps: int) -> dict[str, float]:
    """Run at most so many training steps, and the sampling if these are all of the script's steps.

    Returns milliseconds a step (the median), the last loss, and the tokens a second of the sampling, which
    count the mark at the end of each name.
    """
    times: list[float] = []
    losses: list[float] = []
    tokens = 0

    def watch(*words: object, **options: Any) -> None:
        nonlocal tokens
        text = " ".join(map(str, words))
        step, sample = LINE.search(text), SAMPLE.search(text)
        if step or "inference" in text:
            times.append(time.process_time())
        if step:
            losses.append(float(step[3]))
            if len(losses) == steps < int(step[2]):
                raise EnoughError
        elif sample:
            tokens += len(sample[1]) + 1

    code = program_of(path, own)
    before, here = Path.cwd(), names.resolve()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "input.txt").symlink_to(here)
        os.chdir(folder)
        try:
            exec(code, {"__name__": "__main__", "print": watch, "__builtins__": builtins})
            end = time.process_time()
        except EnoughError:
            end = 0.0
        finally:
            os.chdir(before)
    durations = [after - first for first, after in zip(times, times[1:])]
    result = {
        "steps": len(losses),
        "step": round(1e3 * median(durations[: len(losses) - 1]), 4),
        "loss": losses[-1],
    }
    if tokens:
        result["tokens"] = round(tokens / (end - times[-1]), 1)
    return result


def compare(path: Path, names: Path, own_steps: int, steps: int = 1000) -> dict[str, dict[str, float]]:
    """Run the script with fastgrad's class, and its first steps with its own class, which is slow."""
    return {
        "fastgrad": run(path, names, False, steps),
        "own": run(path, names, True, own_steps),
        "fastgrad, as many steps": run(path, names, False, own_steps),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.field.script")
    parser.add_argument("script", type=Path, help="microgpt.py")
    parser.add_argument("names", type=Path, help="names.txt, one document a line")
    parser.add_argument("--own-steps", type=int, default=20, help="steps with the script's own class")
    options = parser.parse_args()
    json.dump(compare(options.script, options.names, options.own_steps), sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
