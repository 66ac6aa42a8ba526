"""Build the extension modules; everything else about the package is in pyproject.toml."""

import sys

# Before anything is imported that an older Python cannot read.
if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit("fastgrad needs Python 3.11 or later, and this is Python {}.{}.".format(*sys.version_info[:2]))

import atexit
import os
import re
import shutil
import sysconfig
import tempfile
from pathlib import Path

from setuptools import Extension, setup

ROOT = Path(__file__).resolve().parent
sys.path[:0] = [str(ROOT / "building"), str(ROOT / "codegen")]

from command import BuildModules, BuildPython  # noqa: E402
from index_page import description, project_urls, repository  # noqa: E402
from needs import is_writable  # noqa: E402

MSVC = sys.platform == "win32"
# The platform built for, not that of the machine: macOS builds for both of its processors from either, and at
# once; Pyodide is built for on Linux.
PLATFORM = sysconfig.get_platform()
# Bits are promised: `c + a*b` must not be contracted into one fused instruction.
FLAGS = ["/O2", "/fp:precise"] if MSVC else ["-O3", "-ffp-contract=off", "-Wall", "-Wextra"]
if not MSVC:
    # A module exports its PyInit function and nothing else.
    FLAGS.append("-fvisibility=hidden")
    # No exception passes through C: without the tables for them the modules are 5 % smaller.
    FLAGS.append("-fno-asynchronous-unwind-tables")
ALIGNED = []
FEW_COPIES = []
FEWER_COPIES = []
LOOPS = []
if PLATFORM.startswith("linux"):
    # Where the loop of backward() falls by chance, the same instructions take 6.8 or 8.2 ns a node.
    ALIGNED = ["-falign-functions=64", "-falign-loops=32"]
    # A function of CPython is called through one jump less, and needs no code of its own for that.
    FLAGS.append("-fno-plt")
    # Copies of Cython's longer helpers in each function make the engine larger by a tenth, and not faster.
    FEW_COPIES = ["--param", "max-inline-insns-single=30"]
    # Without most of them a program's call runs an eighth fewer instructions; its code is a fifth smaller.
    FEWER_COPIES = ["--param", "max-inline-insns-single=10", "--param", "inline-unit-growth=5"]
    # Loops over many numbers become vectors, and short ones, as those of matrices, are written out. What else
    # gcc's -O3 does makes the kernels larger, not faster. Its -O2 alone wants to know how long a loop is.
    LOOPS = ["-O2", "-ftree-vectorize", "-fvect-cost-model=dynamic", "-fpeel-loops"]
# A Python of 32 bits may run on a kernel of 64, whose platform it is then said to have.
WIDE = sys.maxsize > 2**32
if not MSVC and not WIDE and PLATFORM.endswith(("x86_64", "i386", "i686")):
    # The x87's registers keep more than a double has; then bits depend on where a number is kept.
    FLAGS += ["-msse2", "-mfpmath=sse"]
if PLATFORM.startswith("emscripten"):
    # Every browser of the last years has vectors of two doubles.
    FLAGS.append("-msimd128")
MACROS = [("CYTHON_USE_TYPE_SPECS", "0")]
if os.environ.get("FASTGRAD_ASSERTIONS"):
    MACROS.append(("FASTGRAD_ASSERTIONS", "1"))

if not MSVC and not os.environ.get("FASTGRAD_ASSERTIONS"):
    # Debug information would be four fifths of the wheel.
    FLAGS.append("-g0")

LINK_FLAGS = []
if PLATFORM.startswith("linux") and not os.environ.get("FASTGRAD_ASSERTIONS"):
    # The names of functions are 5 % of the wheel.
    LINK_FLAGS.append("-Wl,--strip-all")
# The last flags of every module, as the last -O counts.
COUNTING = []
if os.environ.get("FASTGRAD_COVERAGE"):
    # Without optimisation, so that every line of C keeps a count of its own; exact under threads, too.
    # Functions that nobody calls are kept, and so are missed by the report.
    COUNTING = ["-O0", "--coverage", "-fprofile-update=atomic", "-fkeep-static-functions", "-DCYTHON_INLINE="]
    LINK_FLAGS.append("--coverage")

# The same kernels for each instruction set, one of which is chosen at run time. Where multiply-adds are
# fused, in matrices and elementary functions, vector_math.h says so.
# MSVC has neither the vector types of vector_math.h nor GCC's way to ask for a processor's instruction sets.
X86 = PLATFORM.endswith(("x86_64", "amd64")) and WIDE and not MSVC
KERNEL_FLAGS = ["/O2"] if MSVC else [*FLAGS, *LOOPS, *ALIGNED, "-fno-math-errno", "-fno-trapping-math"]
# A loop with a call in it is no vector code, and what a row of the table computes may be too large for
# the compiler to inline on its own.
KERNEL_MACROS = [("CYTHON_INLINE", "inline __attribute__((always_inline))")]
if MSVC or os.environ.get("FASTGRAD_COVERAGE"):
    KERNEL_MACROS = []
INSTRUCTION_SETS = {"baseline": []}
if X86:
    MACROS.append(("FASTGRAD_X86_KERNELS", "1"))
    INSTRUCTION_SETS["avx2"] = ["-mavx2", "-mfma"]
    INSTRUCTION_SETS["avx512"] = ["-mavx512f", "-mavx512dq", "-mavx512vl", "-mfma"]
# Without errno, a square root is one instruction, and loops with one are vectorised.
NO_ERRNO = [] if MSVC else ["-fno-math-errno"]
# Unless it is named, symbols of libm are found only if the interpreter happens to have loaded it, and
# auditwheel does not see which of glibc's versions of them are meant.
LIBRARIES = [] if MSVC else ["m"]

# For modules that run once, when a program is made: smaller by a third, as wheels have a limit.
SMALL = ["/O1"] if MSVC else ["-Os"]

# For modules that run once a call, and have few loops: smaller by a sixth.
CALLS = [] if MSVC else ["-O2"]

# The modules that run no lanes, and the flags that each needs beside the common ones.
MODULES = {
    "engine": [*ALIGNED, *FEW_COPIES],
    "compiler.graph": SMALL,
    "compiler.lowering": SMALL,
    "compiler.rows": SMALL,
    "compiler.plan": SMALL,
    "compiler.arguments": [*CALLS, *FEWER_COPIES],
    "compiler.replay": CALLS,
    "compiler.watch": SMALL,
    "compiler.transforms": SMALL,
    "compiler.program": [*CALLS, *FEWER_COPIES],
    "optim.updates": [*LOOPS, *NO_ERRNO],
}


def extension(name, flags, macros=MACROS):
    """Return the extension module of this name, which is also its path."""
    return Extension(
        f"fastgrad.{name}",
        [f"src/fastgrad/{name.replace('.', '/')}.pyx"],
        include_dirs=["src/fastgrad"],
        extra_compile_args=[*flags, *COUNTING],
        extra_link_args=LINK_FLAGS,
        define_macros=macros,
        libraries=LIBRARIES,
    )


# The kernels first: they take longest to compile.
kernels = [
    extension(f"compiler.kernels.{name}", KERNEL_FLAGS + flags, KERNEL_MACROS)
    for name, flags in INSTRUCTION_SETS.items()
]
for module in kernels:
    module.depends.append("src/fastgrad/compiler/kernels/vector_math.h")
modules = {name: extension(name, FLAGS + flags) for name, flags in MODULES.items()}
for module in (*kernels, *modules.values()):
    module.depends.append("src/fastgrad/engine.src/arithmetic/special.h")
modules["engine"].depends.append("src/fastgrad/engine.src/node/platform.h")
extensions = [*kernels, *modules.values()]

# A module takes ten seconds to compile, and 0.3 GB, which not every machine has for each of its cores.
JOBS = min(os.cpu_count() or 1, 3)

OPTIONS = {"build_ext": {"parallel": JOBS}}
if not is_writable(ROOT):
    elsewhere = tempfile.mkdtemp(prefix="fastgrad-")
    atexit.register(shutil.rmtree, elsewhere, ignore_errors=True)
    OPTIONS |= {"build": {"build_base": elsewhere}, "egg_info": {"egg_base": elsewhere}}

ADDRESS = repository(ROOT)
VERSION = re.search(
    '^__version__ = "(.+)"$', (ROOT / "src/fastgrad/__init__.py").read_text("utf-8"), re.MULTILINE
)[1]

if __name__ == "__main__":
    setup(
        long_description=description((ROOT / "README.md").read_text("utf-8"), ADDRESS, VERSION),
        long_description_content_type="text/markdown",
        project_urls=project_urls(ADDRESS),
        cmdclass={"build_ext": BuildModules, "build_py": BuildPython},
        ext_modules=extensions,
        options=OPTIONS,
    )
