"""Run the comparison and write it down: `python -m benchmarks.report`.

All implementations of a workload run in turn in one process, on one core, round after round; a figure is
the median of the rounds, and a ratio is the median of the rounds' ratios. The results go to
docs/benchmarks.json; the page docs/benchmarks.md, the chart docs/benchmarks.svg and the table between the
marks in README.md are made from that file, again at any time with `--render`.
"""

import argparse
import datetime
import gc
import importlib
import json
import os
import platform
import sys
import time
from pathlib import Path
from statistics import median

from benchmarks import documents, footprint, render
from benchmarks.case import Case, Workload
from benchmarks.implementations import IMPLEMENTATIONS, missing, prepare_process, version

FILES = (
    "benchmarks.test_operations",
    "benchmarks.test_dot",
    "benchmarks.test_graph",
    "benchmarks.test_moons",
    "benchmarks.test_gpt",
    "benchmarks.test_digits",
    "benchmarks.test_names_gpt",
    "benchmarks.test_compiled",
)
# A turn repeats its steps for this long, so that fast ones run with warm caches.
TURN_SECONDS = 0.02
# An implementation sits out the rounds after it has used this much of a workload's time.
PATIENCE_SECONDS = 10.0


def turn(case: Case, timed: tuple[str, ...]) -> dict[str, float]:
    """Run the steps over and over for a moment; return the median seconds of each timed step."""
    times: dict[str, list[float]] = {name: [] for name in case.steps if name in timed}
    gc.collect()
    end = time.perf_counter() + TURN_SECONDS
    while True:
        for name, step in case.steps.items():
            start = time.perf_counter()
            step()
            seconds = time.perf_counter() - start
            if name in times:
                times[name].append(seconds)
        if time.perf_counter() > end:
            return {name: median(seconds) for name, seconds in times.items()}


def compare(workload: Workload) -> dict[str, dict[str, list[float | None]]]:
    """Return, by step and implementation, the time of each round in the workload's unit."""
    scale = {"ns": 1e9, "ms": 1e3}[workload.unit] / workload.operations
    cases = {name: make() for name, make in workload.cases.items() if missing(name) is None}
    used = dict.fromkeys(cases, 0.0)
    rounds: dict[str, dict[str, list[float | None]]] = {
        step: {name: [] for name, case in cases.items() if step in case.steps} for step in workload.steps
    }
    for number in range(-1, workload.rounds):
        for name, case in cases.items():
            sits_out = used[name] > PATIENCE_SECONDS
            start = time.perf_counter()
            seconds = {} if sits_out else turn(case, workload.steps)
            used[name] += time.perf_counter() - start
            # The round before the first warms up; a slow one counts it, having nothing to compile.
            if number < 0 and used[name] < PATIENCE_SECONDS:
                continue
            for step, results in rounds.items():
                if name in results:
                    results[name].append(seconds[step] * scale if step in seconds else None)
    return rounds


def machine() -> dict[str, str]:
    """Say where the figures come from."""
    processor = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "processor": processor,
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {sys.version.split()[0]}",
    }


def run(files: list[str], with_footprint: bool) -> dict:
    """Measure everything and return what docs/benchmarks.json holds."""
    installed = [name for name in IMPLEMENTATIONS if missing(name) is None]
    prepare_process(installed)
    results = {
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "versions": {name: version(name) for name in installed},
        "workloads": [],
        "footprints": [],
    }
    for file in files:
        for workload in importlib.import_module(file).WORKLOADS:
            print(workload.title, file=sys.stderr, flush=True)
            for step, rounds in compare(workload).items():
                results["workloads"].append(
                    {
                        "key": workload.key,
                        "title": workload.title,
                        "step": step,
                        "unit": workload.unit,
                        "rounds": {
                            name: [x if x is None else float(f"{x:.5g}") for x in times]
                            for name, times in rounds.items()
                        },
                    }
                )
            gc.collect()
    for figure in footprint.FOOTPRINTS if with_footprint else ():
        print(figure.title, file=sys.stderr, flush=True)
        results["footprints"].append(
            {
                "key": figure.key,
                "title": figure.title,
                "unit": figure.unit,
                "figures": {
                    name: float(f"{figure.of(name):.4g}")
                    for name in figure.implementations
                    if name in installed
                },
            }
        )
    return results


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--render", action="store_true", help="measure nothing, rewrite what is made")
    parser.add_argument("--only", nargs="+", default=FILES, help="modules to run; prints, writes nothing")
    parser.add_argument("--documents", type=Path, help="text file of one document a line, for the GPT")
    options = parser.parse_args()
    if options.documents is not None:
        documents.choose(options.documents.resolve())
    if not options.render:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        everything = tuple(options.only) == FILES
        results = run(list(options.only), with_footprint=everything)
        if not everything:
            print(render.tables(results))
            return
        render.RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    render.write_all(json.loads(render.RESULTS.read_text()))


if __name__ == "__main__":
    main()
