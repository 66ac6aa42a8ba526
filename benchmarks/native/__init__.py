"""Hand-written C, compiled when a benchmark asks for it with the system's own compiler."""

import ctypes
import hashlib
import subprocess
import tempfile
from functools import cache
from pathlib import Path

FLAGS = ["-O3", "-march=native", "-ffast-math", "-fPIC", "-shared"]


@cache
def load(name: str, *definitions: str) -> ctypes.CDLL:
    """Compile `<name>.c` of this directory, with the macros given as NAME=VALUE, and load it."""
    source = Path(__file__).with_name(f"{name}.c")
    directory = tempfile.mkdtemp(prefix="fastgrad-benchmark-")
    mark = hashlib.sha256(" ".join(definitions).encode()).hexdigest()[:8]
    library = Path(directory) / f"{name}-{mark}.so"
    macros = [f"-D{definition}" for definition in definitions]
    subprocess.run(["cc", *FLAGS, *macros, str(source), "-o", str(library), "-lm"], check=True)
    return ctypes.CDLL(str(library))
