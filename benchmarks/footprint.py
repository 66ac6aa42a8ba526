"""What a package costs before it computes: time to import it, bytes a node, size on disk.

Every figure is taken in a new interpreter, which has loaded nothing else.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata, resources
from pathlib import Path
from statistics import median

from benchmarks.implementations import IMPLEMENTATIONS

ROOT = Path(__file__).resolve().parent.parent
NODES = 1_000_000
SUFFIXES = (".so", ".pyd", ".py", ".pyi")
IMPORTED = {"fastgrad": "fastgrad", "micrograd": "micrograd.engine"}

BYTES_A_NODE = """
import sys
from pathlib import Path
from benchmarks.scalars import SCALARS
from benchmarks.test_graph import LEAVES, layered

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmRSS")).split()[1])

scalars = SCALARS[sys.argv[1]]()
leaves = list(map(scalars.leaf, LEAVES["layered"]))
scalars.start(leaves)
# What a first use loads and sets up belongs to no node.
scalars.backward(layered(leaves, 1000))
scalars.start(leaves)
before = resident()
graph = layered(leaves, int(sys.argv[2]))
print((resident() - before) / int(sys.argv[2]))
"""


def interpreter(*arguments: str) -> str:
    """Run a new interpreter in the project's root and return what it prints."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout


def seconds_to_run(statement: str) -> float:
    start = time.perf_counter()
    interpreter("-c", statement)
    return time.perf_counter() - start


def import_milliseconds(name: str, rounds: int = 15) -> float:
    """Return how much longer than `pass` the import runs: the median of the rounds' differences."""
    statement = f"import {IMPORTED.get(name, IMPLEMENTATIONS[name].module)}"
    seconds_to_run(statement)
    return 1e3 * median(seconds_to_run(statement) - seconds_to_run("pass") for _ in range(rounds))


def bytes_a_node(name: str) -> float:
    """Return the growth of the resident set over a layered graph of 1e6 nodes, for each node; Linux only."""
    return float(interpreter("-c", BYTES_A_NODE, name, str(NODES)))


def wheel_megabytes(name: str) -> float:
    """Return the size of the wheel built from this source tree."""
    assert name == "fastgrad", "only fastgrad's wheel can be built here"
    with tempfile.TemporaryDirectory() as directory:
        interpreter(
            *("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"),
            *("--wheel-dir", directory, str(ROOT)),
        )
        (wheel,) = Path(directory).glob("*.whl")
        return wheel.stat().st_size / 1e6


def installed_megabytes(name: str) -> float:
    """Return the size of the files of an installed package, without what it depends on."""
    module = IMPLEMENTATIONS[name].module
    try:
        listed = [Path(str(file.locate())) for file in metadata.files(module) or ()]
    except metadata.PackageNotFoundError:
        listed = []
    files = [file for file in listed if file.is_file()]
    if not any(file.suffix in SUFFIXES for file in files):
        # An editable installation or a source tree: what a wheel would hold of it.
        folder = Path(str(resources.files(module)))
        files = [file for file in folder.rglob("*") if file.suffix in SUFFIXES]
    return sum(file.stat().st_size for file in files) / 1e6


class Footprint:
    """A figure, its unit, and the implementations that have it."""

    def __init__(
        self, key: str, title: str, unit: str, of: Callable[[str], float], implementations: tuple[str, ...]
    ) -> None:
        self.key, self.title, self.unit = key, title, unit
        self.of, self.implementations = of, implementations


PACKAGES = ("fastgrad", "micrograd", "torch", "jax", "xad", "casadi")

FOOTPRINTS = [
    Footprint("import", "import, over bare Python", "ms", import_milliseconds, PACKAGES),
    Footprint("wheel", "wheel", "MB", wheel_megabytes, ("fastgrad",)),
    Footprint("installed", "installed package", "MB", installed_megabytes, PACKAGES),
]
if sys.platform == "linux":
    FOOTPRINTS.append(
        Footprint(
            "bytes",
            "memory, a node of 1e6",
            "bytes",
            bytes_a_node,
            ("fastgrad", "micrograd", "torch", "xad"),
        )
    )
