"""Build the extension modules; everything else about the package is in pyproject.toml."""

import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "codegen"))

from render import render_all  # noqa: E402

render_all()

MSVC = sys.platform == "win32"
# Bits are promised: `c + a*b` must not be contracted into one fused instruction.
# Without -g0 the wheel has the debugging information that Python's own flags ask for: 1.03 MB, not 0.21.
FLAGS = ["/O2", "/fp:precise"] if MSVC else ["-O3", "-g0", "-ffp-contract=off", "-Wall", "-Wextra"]
MACROS = [("CYTHON_USE_TYPE_SPECS", "0")]
if os.environ.get("FASTGRAD_ASSERTIONS"):
    MACROS.append(("FASTGRAD_ASSERTIONS", "1"))

# Without errno, a square root is one instruction, and loops with one are vectorised.
NO_ERRNO = [] if MSVC else ["-fno-math-errno"]

extensions = [
    Extension(
        f"fastgrad.{name}",
        [f"src/fastgrad/{name}.pyx"],
        extra_compile_args=[*FLAGS, *flags],
        define_macros=MACROS,
    )
    for name, flags in {"engine": [], "updates": NO_ERRNO}.items()
]

setup(ext_modules=cythonize(extensions, include_path=["src"]))
