"""Run the comparison and write it down: `python -m benchmarks.report`.

All implementations of a workload run in turn in one process, on one core, round after round; a figure is
the median of the rounds, and a ratio is the median of the rounds' ratios. Each workload's results are kept in
.benchmarks/report.json as soon as it is done, from where `--resume` goes on after an interruption. All of
them go to docs/benchmarks.json; the page docs/benchmarks.md, the chart docs/benchmarks.svg and the table
between the marks in README.md are made from that file, again at any time with `--render`. `--field` runs
benchmarks/field instead, the problems that others defined, and writes docs/benchmarks-field.json.
"""

import argparse
import datetime
import gc
import importlib
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

from benchmarks import documents, footprint, render
from benchmarks.case import Case, Workload
from benchmarks.field import data, script
from benchmarks.implementations import IMPLEMENTATIONS, missing, prepare_process, version
from fastgrad import engine

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
FIELD_FILES = (
    "benchmarks.field.test_ba",
    "benchmarks.field.test_gmm",
    "benchmarks.field.test_libor",
    "benchmarks.field.test_asian",
    "benchmarks.field.test_names",
    "benchmarks.field.test_logistic",
    "benchmarks.field.test_hmm",
    "benchmarks.field.test_lorenz",
    "benchmarks.field.test_arm",
    "benchmarks.field.test_lennard_jones",
    "benchmarks.field.test_embedding",
    "benchmarks.field.test_lstm",
    "benchmarks.field.test_filters",
    "benchmarks.field.test_first_call",
)
# A turn repeats its steps for this long, so that fast ones run with warm caches.
TURN_SECONDS = 0.02
# An implementation sits out the rounds after it has used this much of a workload's time.
PATIENCE_SECONDS = 6.0
# It takes no part if its first turn takes longer than this.
FIRST_TURN_SECONDS = 20.0
# Of microgpt's script with its own class.
SCRIPT_STEPS = 20
UNFINISHED = render.ROOT / ".benchmarks" / "report.json"
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


@contextmanager
def time_limit(seconds: float, clock: str) -> Iterator[None]:
    """Raise TimeoutError in the block after so long by the clock, where the system has such a timer."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def stop(number, frame) -> None:
        raise TimeoutError(f"not done after {seconds:g} s")

    timer, number = {
        "wall": (signal.ITIMER_REAL, signal.SIGALRM),
        "cpu": (signal.ITIMER_PROF, signal.SIGPROF),
    }[clock]
    before = signal.signal(number, stop)
    signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        signal.setitimer(timer, 0.0)
        signal.signal(number, before)


def turn(case: Case, timed: tuple[str, ...], clock: str) -> dict[str, float]:
    """Run the steps over and over for a moment; return the median seconds of each timed step.

    A first pass is not timed, so that a timed step finds warm caches and the garbage of the step before it.
    Without garbage to collect, a step of micrograd takes half as long as in a training loop.
    """
    times: dict[str, list[float]] = {name: [] for name in case.steps if name in timed}
    now = CLOCKS[clock]
    gc.collect()
    for step in case.steps.values():
        step()
    end = time.perf_counter() + TURN_SECONDS
    while True:
        for name, step in case.steps.items():
            start = now()
            step()
            seconds = now() - start
            if name in times:
                times[name].append(seconds)
        if time.perf_counter() > end:
            return {name: median(seconds) for name, seconds in times.items()}


def ready(workload: Workload, clock: str) -> dict[str, Case]:
    """Return the cases after a first turn of each, without those that took too long."""
    cases = {}
    for name, make in workload.cases.items():
        if missing(name) is None:
            case = make()
            with suppress(TimeoutError), time_limit(FIRST_TURN_SECONDS, clock):
                turn(case, workload.steps, clock)
                cases[name] = case
    # Leave the modules of all implementations out of collections, which took 0.3 s a turn with them.
    gc.collect()
    gc.freeze()
    return cases


def compare(workload: Workload, clock: str) -> list[dict]:
    """Return an entry of docs/benchmarks.json for each step: the rounds' times in the workload's unit."""
    cases = ready(workload, clock)
    used = dict.fromkeys(cases, 0.0)
    scale = {"ns": 1e9, "ms": 1e3}[workload.unit] / workload.operations
    rounds: dict[str, dict[str, list[float | None]]] = {
        step: {name: [] for name, case in cases.items() if step in case.steps} for step in workload.steps
    }
    for _ in range(workload.rounds):
        for name, case in cases.items():
            start = time.perf_counter()
            seconds = {} if used[name] > PATIENCE_SECONDS else turn(case, workload.steps, clock)
            used[name] += time.perf_counter() - start
            for step, results in rounds.items():
                if name in results:
                    share = workload.shares.get(name, 1)
                    results[name].append(float(f"{seconds[step] * scale * share:.5g}") if seconds else None)
    gave_up = [name for name in workload.cases if missing(name) is None and name not in cases]
    return [
        {
            "key": workload.key,
            "title": workload.title,
            "step": step,
            "unit": workload.unit,
            "reference": workload.reference,
            "rounds": results,
            "shares": {name: share for name, share in workload.shares.items() if name in cases},
            "over": dict.fromkeys(gave_up, FIRST_TURN_SECONDS),
        }
        for step, results in rounds.items()
    ]


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


def unmeasured(clock: str) -> dict:
    """Return what docs/benchmarks.json holds before anything is measured."""
    installed = [name for name in IMPLEMENTATIONS if missing(name) is None]
    return {
        "clock": clock,
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "versions": {name: version(name) for name in installed},
        "workloads": [],
        "footprints": [],
    }


def run(results: dict, files: list[str], with_footprint: bool) -> None:
    """Measure everything that is not among the results; keep them after every workload."""
    prepare_process(results["versions"])
    done = {entry["key"] for entry in results["workloads"] + results["footprints"]}
    for file in files:
        for workload in importlib.import_module(file).WORKLOADS:
            if workload.key not in done:
                start = time.perf_counter()
                results["workloads"] += compare(workload, results["clock"])
                keep(results, f"{workload.title}: {time.perf_counter() - start:.0f} s")
                gc.collect()
    for figure in footprint.FOOTPRINTS if with_footprint else ():
        if figure.key in done:
            continue
        start = time.perf_counter()
        names = [name for name in figure.implementations if name in results["versions"]]
        results["footprints"].append(
            {
                "key": figure.key,
                "title": figure.title,
                "unit": figure.unit,
                "figures": {name: float(f"{figure.of(name):.4g}") for name in names},
            }
        )
        keep(results, f"{figure.title}: {time.perf_counter() - start:.0f} s")


def put_again(results: dict, path: Path) -> None:
    """Complete new results by the rows of the old ones that were not measured again; say when these were."""
    moment = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    for entry in results["workloads"]:
        entry["again"] = f"{moment}, {results['clock']} clock"
    old = json.loads(path.read_text())
    fresh = {entry["key"]: entry for entry in results["workloads"]}
    known = {entry["key"] for entry in old["workloads"]}
    rows = [fresh.get(entry["key"], entry) for entry in old["workloads"]]
    rows += [entry for key, entry in fresh.items() if key not in known]
    if len({(entry["key"], entry["step"]) for entry in rows}) < len(rows):
        raise ValueError("only rows of one step can be measured again")
    versions = {**old["versions"], **results["versions"]}
    results.update(
        {**old, "script": results.get("script", old.get("script")), "versions": versions, "workloads": rows}
    )


def keep(results: dict, news: str) -> None:
    """Write the unfinished results, and say what is new in them."""
    UNFINISHED.parent.mkdir(exist_ok=True)
    UNFINISHED.write_text(json.dumps(results, indent=1) + "\n")
    print(news, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--render", action="store_true", help="measure nothing, rewrite what is made")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted report")
    parser.add_argument("--only", nargs="+", default=None, help="modules to run; prints, writes nothing")
    parser.add_argument("--again", action="store_true", help="with --only: put these rows into the results")
    parser.add_argument("--documents", type=Path, help="text file of one document a line, for the GPT")
    parser.add_argument("--field", action="store_true", help="run the problems that others defined")
    parser.add_argument("--adbench", type=Path, help="folder of ADBench's data, for those problems")
    parser.add_argument("--script", type=Path, help="microgpt.py; with --field and --documents, run it, too")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: where others use the processor")
    options = parser.parse_args()
    if options.documents is not None:
        documents.choose(options.documents.resolve())
    if options.adbench is not None:
        data.choose(options.adbench.resolve())
    if not options.render:
        if engine._is_quick:
            parser.error("this build of fastgrad is less optimised: build it without FASTGRAD_QUICK")
        if hasattr(os, "sched_setaffinity") and not any("threads" in name for name in options.only or ()):
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        results = json.loads(UNFINISHED.read_text()) if options.resume else unmeasured(options.clock)
        everything = FIELD_FILES if options.field else FILES
        files = list(everything if options.only is None else options.only)
        run(results, files, with_footprint=not options.field and options.only is None)
        if options.only is not None and not options.again:
            print(render.tables(results))
            return
        if options.field and options.script is not None and options.documents is not None:
            results["script"] = script.compare(options.script, options.documents, SCRIPT_STEPS)
            UNFINISHED.write_text(json.dumps(results, indent=1) + "\n")
        if options.again:
            put_again(results, render.FIELD_RESULTS if options.field else render.RESULTS)
            UNFINISHED.write_text(json.dumps(results, indent=1) + "\n")
        UNFINISHED.replace(render.FIELD_RESULTS if options.field else render.RESULTS)
    render.write_all(*(json.loads(path.read_text()) for path in (render.RESULTS, render.FIELD_RESULTS)))


if __name__ == "__main__":
    main()
