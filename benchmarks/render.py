"""The page, the chart and the README's table, all made from docs/benchmarks.json."""

from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.goals import FIELD_GOALS, GOALS, Figure, Goal
from benchmarks.implementations import IMPLEMENTATIONS

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "benchmarks.json"
FIELD_RESULTS = ROOT / "docs" / "benchmarks-field.json"
PAGE = ROOT / "docs" / "benchmarks.md"
CHART = ROOT / "docs" / "benchmarks.svg"
README = ROOT / "README.md"
BEGIN = "<!-- benchmarks: begin; written by `python -m benchmarks.report` -->"
END = "<!-- benchmarks: end -->"

# The rows of the README's table and the bars of the chart.
HEADLINES = (
    ("mul", "run", "one `a * b`"),
    ("dot", "run", "sum of 16 products, a pair"),
    ("layered-1e5", "backward", "backward, layered graph of 1e5 nodes, a node"),
    ("moons", "step", "moons demo, a full-batch step"),
    ("gpt", "forward and backward", "scalar GPT, forward and backward of a document"),
    ("digits", "step", "digits classifier, a step of 32 images"),
)
FIELD_HEADLINES = (
    ("ba4", "step", "ADBench BA, 204,472 observations, Jacobian"),
    ("gmm-d64-k25", "step", "ADBench GMM, 53,625 parameters, gradient"),
    ("libor", "step", "LIBOR swaptions, 4,096 paths, price and 161 sensitivities"),
    ("names-32", "step", "microgpt, a step of 32 names, Adam included"),
)
README_COLUMNS = ("fastgrad", "compiled", "micrograd", "float", "torch", "jax", "c")


def shown(number: float) -> str:
    """Three significant digits, thousands apart, without an exponent."""
    if number == 0:
        return "0"
    digits = max(0, 2 - int(f"{number:e}".split("e")[1]))
    return f"{number:,.{digits}f}"


def entry_of(results: dict, key: str, step: str) -> dict | None:
    return next((e for e in results["workloads"] if (e["key"], e["step"]) == (key, step)), None)


def middle(times: list) -> float:
    """The median of the rounds that an implementation took part in."""
    return median(time for time in times if time is not None)


def number_of(results: dict, goal: Goal) -> float | None:
    """The goal's number: a median, or the median of the rounds' ratios; None if it was not measured."""
    for footprint in results["footprints"]:
        if footprint["key"] == goal.figure.workload:
            return footprint["figures"].get(goal.figure.implementation)
    times = rounds_of(results, goal.figure)
    if times is None:
        return None
    if goal.over is None:
        return middle(times)
    others = rounds_of(results, goal.over)
    if others is None:
        return None
    return median(x / y for x, y in zip(times, others) if x is not None and y is not None)


def rounds_of(results: dict, figure: Figure) -> list | None:
    entry = entry_of(results, figure.workload, figure.step)
    return None if entry is None else entry["rounds"].get(figure.implementation)


def origin(results: dict) -> str:
    """One line that says where and when the figures were taken."""
    where = results["machine"]
    clock = ", CPU time" if results.get("clock") == "cpu" else ""
    return f"{where['processor']}, {where['system']}, {where['python']}, one core, {results['date']}{clock}"


def table(header: list[str], rows: list[list[str]]) -> Iterator[str]:
    """A table of Markdown, the numbers to the right."""
    yield "| " + " | ".join(header) + " |"
    yield "|---|" + "---:|" * (len(header) - 1)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def label(entry: dict, name: str) -> str:
    """The implementation, and which share of the work it was timed on if not on all of it."""
    share = entry.get("shares", {}).get(name)
    return IMPLEMENTATIONS[name].label + (f", timed on 1/{share} of it" if share else "")


def goal_table(results: dict, goals: list[Goal]) -> Iterator[str]:
    rows = []
    for goal in goals:
        number = number_of(results, goal)
        if number is None:
            rows.append([goal.what, "", "", "not measured"])
            continue
        limit = f"{'at least' if goal.at_least else 'at most'} {goal.limit:,g} {goal.unit}"
        verdict = "reached" if goal.reached(number) else "**missed**"
        rows.append([goal.what, limit, f"{shown(number)} {goal.unit}", verdict])
    yield from table(["goal", "reach", "measured", ""], rows)


HEADS = {"fastgrad": "of fastgrad's time", "compiled": "of compiled fastgrad's time"}


def workload_tables(results: dict) -> Iterator[str]:
    for entry in results["workloads"]:
        reference = entry.get("reference", "fastgrad")
        ours = entry["rounds"][reference]
        rows = []
        for name, times in sorted(entry["rounds"].items(), key=lambda item: middle(item[1])):
            ratio = median(x / y for x, y in zip(times, ours) if x is not None and y is not None)
            taken = [time for time in times if time is not None]
            spread = f"{shown(min(taken))} to {shown(max(taken))}"
            rows.append([label(entry, name), shown(median(taken)), spread, f"{shown(ratio)} x"])
        for name, seconds in entry.get("over", {}).items():
            rows.append([IMPLEMENTATIONS[name].label, f"over {seconds:g} s", "", ""])
        yield f"\n### {entry['title']}: {entry['step']}\n"
        yield from table(["implementation", f"{entry['unit']}, median", "all rounds", HEADS[reference]], rows)


def footprint_tables(results: dict) -> Iterator[str]:
    for entry in results["footprints"]:
        yield f"\n### {entry['title']}\n"
        figures = sorted(entry["figures"].items(), key=lambda item: item[1])
        yield from table(
            ["implementation", entry["unit"]],
            [[IMPLEMENTATIONS[name].label, shown(number)] for name, number in figures],
        )


def tables(results: dict) -> str:
    """Every figure, as Markdown."""
    goals = [*GOALS, *FIELD_GOALS]
    measured = [goal for goal in goals if number_of(results, goal) is not None]
    return "\n".join([*goal_table(results, measured), *workload_tables(results), *footprint_tables(results)])


def ranking(results: dict) -> Iterator[str]:
    """Who is first in each workload, and by how much."""
    rows = []
    for entry in results["workloads"]:
        times = sorted((middle(rounds), name) for name, rounds in entry["rounds"].items())
        names = [IMPLEMENTATIONS[name].label for _, name in times]
        ahead = f"{shown(times[1][0] / times[0][0])} x" if len(times) > 1 else ""
        title = entry["title"] + ("" if entry["step"] == "step" else f", {entry['step']}")
        rows.append([title, names[0], ahead, names[1] if len(names) > 1 else ""])
    yield from table(["workload", "first", "ahead by", "of"], rows)


def measured_again(results: dict) -> str:
    """The rows that were measured after the others, by the moment."""
    moments: dict[str, list[str]] = {}
    for entry in results["workloads"]:
        if "again" in entry:
            moments.setdefault(entry["again"], []).append(f"`{entry['key']}`")
    lines = [f"Measured on their own, {moment}: {', '.join(keys)}.\n" for moment, keys in moments.items()]
    return "\n".join(lines)


def script_lines(results: dict) -> str:
    """What microgpt's unmodified script did with fastgrad's Value in the place of its own."""
    script = results.get("script")
    if script is None:
        return ""
    ours, own, same = script["fastgrad"], script["own"], script["fastgrad, as many steps"]
    command = "python -m benchmarks.field.script microgpt.py names.txt"
    return (
        f"microgpt's script, unmodified but for its class `Value` (`{command}`):\n"
        f"loss {ours['loss']:.4f} at step {ours['steps']:,}, {shown(ours['step'])} ms a step, the script's "
        f"own optimizer in Python included,\n{shown(ours['tokens'])} tokens a second when it samples. "
        f"Of the first {own['steps']} steps one takes {shown(same['step'])} ms,\nwith the script's own class "
        f"{shown(own['step'])} ms: {shown(own['step'] / same['step'])} x.\n"
    )


def field_section(results: dict) -> str:
    """The section of docs/benchmarks.md on the problems that others defined."""
    versions = ", ".join(
        f"{IMPLEMENTATIONS[name].label} ({number})" for name, number in results["versions"].items()
    )
    return f"""## The field's own benchmarks

Problems, sizes, constants and, where a folder of it is given, data of others: ADBench (bundle adjustment,
Gaussian mixtures, LSTM), Giles' LIBOR swaptions, microgpt on names. Our own code, in `benchmarks/field`; from
[benchmarks-field.json](benchmarks-field.json), written by

```
python -m benchmarks.report --field --adbench FOLDER --documents names.txt --clock cpu
```

{origin(results)}. {versions}.

Each result agrees with that of jax, torch, numpy or C to 1e-9, Lorenz' to 1e-8 (`pytest benchmarks/field`).
In LIBOR, "hand-written C" is an adjoint of 16 paths side by side and "a row at a time" one of a single path,
both with `-O3 -march=native -ffast-math`. `python -m benchmarks.gradbench` is a tool for
[GradBench](https://github.com/gradbench/gradbench), for its gmm, ba, llsq, kmeans, lse, det and ode; ht and
lstm are not in it.

{script_lines(results)}
{measured_again(results)}
{chr(10).join(ranking(results))}

{chr(10).join(goal_table(results, FIELD_GOALS))}
{chr(10).join(workload_tables(results))}
"""


def page(results: dict, field: dict) -> str:
    """docs/benchmarks.md."""
    versions = ", ".join(
        f"{IMPLEMENTATIONS[name].label} ({number})" for name, number in results["versions"].items()
    )
    return f"""# Benchmarks

Written by `python -m benchmarks.report` from [benchmarks.json](benchmarks.json); do not edit.

{origin(results)}.

{versions}.

Every row of a workload computes the same values and gradients, which `pytest benchmarks` checks to 1e-9; rows
marked "no gradients" stop at the value. All rows of a workload ran in turn, round after round, in one
process on one core; each turn began with a step that was not timed. A time is the median of the rounds; a
ratio is the median of the rounds' ratios. "Timed on 1/10 of it": the implementation did that share of the
work, in pieces that all take the same time, and the figure is ten times that. "Over 60 s": its first pass
took longer than that, so it has no figure.

![bar chart](benchmarks.svg)

## Goals

{chr(10).join(goal_table(results, GOALS))}

## Figures
{chr(10).join(workload_tables(results))}
{chr(10).join(footprint_tables(results))}

{field_section(field)}"""


def readme_table(results: dict, field: dict) -> str:
    """The README's table, with what it was measured on."""
    names = [name for name in README_COLUMNS if name in results["versions"]]
    rows = []
    found = [(title, entry_of(results, key, step)) for key, step, title in HEADLINES]
    found += [(title, entry_of(field, key, step)) for key, step, title in FIELD_HEADLINES]
    for title, entry in found:
        if entry is None:
            continue
        cells = [
            f"{shown(middle(entry['rounds'][name]))} {entry['unit']}" if name in entry["rounds"] else ""
            for name in names
        ]
        rows.append([title, *cells])
    header = ["", *(IMPLEMENTATIONS[name].label for name in names)]
    return "\n".join(
        [
            *table(header, rows),
            "",
            f"{origin(results)}. The last {len(FIELD_HEADLINES)} rows, problems that others defined:",
            f"{origin(field)};",
            "`python -m benchmarks.report --field`. All figures, goals and versions:",
            "[docs/benchmarks.md](docs/benchmarks.md).",
        ]
    )


def with_table(readme: str, results: dict, field: dict) -> str:
    """Return the README with its table replaced; unchanged if it has no marks."""
    if BEGIN not in readme or END not in readme:
        return readme
    before, rest = readme.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    return f"{before}{BEGIN}\n{readme_table(results, field)}\n{END}{after}"


def draw(results: dict, path: Path) -> None:
    """Draw the headline workloads as bars on a logarithmic scale."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "fastgrad"
    from matplotlib import pyplot

    entries = [(title, entry_of(results, key, step)) for key, step, title in HEADLINES]
    entries = [(title, entry) for title, entry in entries if entry is not None]
    figure, axes = pyplot.subplots(
        len(entries),
        figsize=(9, 2.0 + sum(0.28 * len(entry["rounds"]) + 0.55 for _, entry in entries)),
        height_ratios=[len(entry["rounds"]) + 1 for _, entry in entries],
        layout="constrained",
    )
    for axis, (title, entry) in zip(axes, entries):
        bars = sorted(((middle(times), name) for name, times in entry["rounds"].items()), reverse=True)
        axis.barh(
            [IMPLEMENTATIONS[name].label for _, name in bars],
            [number for number, _ in bars],
            color=[IMPLEMENTATIONS[name].colour for _, name in bars],
        )
        for position, (number, _) in enumerate(bars):
            axis.text(number, position, f" {shown(number)} {entry['unit']}", va="center", fontsize=8)
        axis.set_xscale("log")
        axis.set_xlim(bars[-1][0] / 2, bars[0][0] * 4)
        axis.set_title(title.replace("`", ""), loc="left", fontsize=10)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"Time, logarithmic scale; less is better\n{origin(results)}", fontsize=9)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def write_all(results: dict, field: dict) -> None:
    """Write the page, the chart and the README's table."""
    PAGE.write_text(page(results, field))
    draw(results, CHART)
    if README.exists():
        README.write_text(with_table(README.read_text(), results, field))
