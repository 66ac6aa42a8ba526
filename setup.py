"""Build the extension modules; everything else about the package is in pyproject.toml."""

import json
import os
import sys
import sysconfig
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "codegen"))

from render import render_all  # noqa: E402

render_all()

MSVC = sys.platform == "win32"
# Bits are promised: `c + a*b` must not be contracted into one fused instruction.
FLAGS = ["/O2", "/fp:precise"] if MSVC else ["-O3", "-ffp-contract=off", "-Wall", "-Wextra"]
if not MSVC:
    # A module exports its PyInit function and nothing else.
    FLAGS.append("-fvisibility=hidden")
if sys.platform == "linux":
    # Where the loop of backward() falls by chance, the same instructions take 6.8 or 8.2 ns a node.
    FLAGS += ["-falign-functions=64", "-falign-loops=32"]
MACROS = [("CYTHON_USE_TYPE_SPECS", "0")]
if os.environ.get("FASTGRAD_ASSERTIONS"):
    MACROS.append(("FASTGRAD_ASSERTIONS", "1"))

if not MSVC and not os.environ.get("FASTGRAD_ASSERTIONS"):
    # What debuggers read is four fifths of the wheel.
    FLAGS.append("-g0")

LINK_FLAGS = []
if os.environ.get("FASTGRAD_COVERAGE"):
    # Without optimisation, so that every line of C keeps a count of its own; exact under threads, too.
    # Functions that nobody calls are kept, and so are missed by the report.
    FLAGS += ["-O0", "--coverage", "-fprofile-update=atomic"]
    FLAGS += ["-fkeep-static-functions", "-DCYTHON_INLINE="]
    LINK_FLAGS.append("--coverage")

# The same kernels for each instruction set, one of which is chosen at run time. Where multiply-adds are
# fused, in matrices and elementary functions, vector_math.h says so.
# The platform built for, not that of the machine: macOS builds for both from either, and at once.
# MSVC has neither the vector types of vector_math.h nor GCC's way to ask for a processor's instruction sets.
X86 = sysconfig.get_platform().endswith(("x86_64", "amd64")) and not MSVC
KERNEL_FLAGS = ["/O2"] if MSVC else [*FLAGS, "-fno-math-errno", "-fno-trapping-math"]
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

# What runs when a program is made or printed, once: smaller by a third, as wheels have a limit.
SMALL = ["/O1"] if MSVC else [] if os.environ.get("FASTGRAD_COVERAGE") else ["-Os"]

# The modules that run no lanes, and the flags that each needs beside the common ones.
MODULES = {
    "engine": [],
    "compiler.graph": SMALL,
    "compiler.lowering": [],
    "compiler.rows": [],
    "compiler.plan": [],
    "compiler.arguments": [],
    "compiler.replay": [],
    "compiler.watch": [],
    "compiler.transforms": SMALL,
    "compiler.program": [],
    "compiler.listing": SMALL,
    "optim.updates": NO_ERRNO,
}


def extension(name, flags, macros=MACROS):
    """Return the extension module of this name, which is also its path."""
    return Extension(
        f"fastgrad.{name}",
        [f"src/fastgrad/{name.replace('.', '/')}.pyx"],
        extra_compile_args=flags,
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
modules["engine"].depends.append("src/fastgrad/engine.src/node/platform.h")
extensions = [*kernels, *modules.values()]

# A module takes ten seconds to compile, and 0.3 GB, which not every machine has for each of its cores.
JOBS = min(os.cpu_count() or 1, 3)


class BuildModules(build_ext):
    """Every module is built anew if the last build had other flags, of which a module's date says nothing."""

    def run(self) -> None:
        """Build, and write down the flags."""
        flags = [
            [extension.define_macros, extension.extra_compile_args, extension.extra_link_args]
            for extension in extensions
        ]
        flags.append([os.environ.get(name) for name in ("CC", "CFLAGS", "LDFLAGS")])
        record = Path(self.build_temp) / "flags.json"
        if not record.exists() or record.read_text() != json.dumps(flags):
            self.force = True
        # Until all are built, nobody knows which flags they have.
        record.unlink(missing_ok=True)
        super().run()
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps(flags))


setup(
    cmdclass={"build_ext": BuildModules},
    ext_modules=cythonize(extensions, include_path=["src"]),
    options={"build_ext": {"parallel": JOBS}},
)
