"""GradBench's protocol: a message of JSON a line on stdin, an answer a line on stdout.

`start` names the tool, `define` asks for a problem, `evaluate` runs one of its functions on an input; any
other message is acknowledged. A function that this tool does not have, or that fails, is an answer with
`error`.
"""

import json
import sys
import time
import traceback
from typing import Any

from benchmarks.gradbench.problems import PROBLEMS


def evaluate(message: dict[str, Any]) -> dict[str, Any]:
    """Prepare once, then repeat the function for as often and as long as the input asks."""
    function = PROBLEMS[message["module"]][message["function"]]
    given = message["input"]
    start = time.perf_counter_ns()
    run, show = function(given)
    timings = [{"name": "prepare", "nanoseconds": time.perf_counter_ns() - start}]
    elapsed = 0
    while len(timings) <= max(1, given.get("min_runs", 1)) or elapsed < given.get("min_seconds", 0) * 1e9:
        start = time.perf_counter_ns()
        result = run()
        timings.append({"name": "evaluate", "nanoseconds": time.perf_counter_ns() - start})
        elapsed += timings[-1]["nanoseconds"]
    return {"success": True, "output": show(result), "timings": timings}


def answer(message: dict[str, Any]) -> dict[str, Any]:
    """What the tool says to one message, its id aside."""
    if message["kind"] == "start":
        return {"tool": "fastgrad"}
    if message["kind"] == "define":
        known = message["module"] in PROBLEMS
        return {"success": known} if known else {"success": False, "error": f"no problem {message['module']}"}
    if message["kind"] == "evaluate":
        try:
            return evaluate(message)
        except Exception:
            return {"success": False, "error": traceback.format_exc()}
    return {}


def main() -> None:
    for line in sys.stdin:
        message = json.loads(line)
        print(json.dumps({"id": message["id"], **answer(message)}), flush=True)


if __name__ == "__main__":
    main()
