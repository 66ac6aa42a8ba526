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

# The same kernels for each instruction set, one of which is chosen at run time. Inside them contraction
# is welcome: results agree with the engine's to 1e-12, not to the bit. Nothing is reassociated.
# The platform built for, not that of the machine: macOS builds for both from either, and at once.
# MSVC has neither the vector types of lanes.h nor GCC's way to ask for the processor's instruction sets.
X86 = sysconfig.get_platform().endswith(("x86_64", "amd64")) and not MSVC
KERNEL_FLAGS = ["/O2"] if MSVC else [*FLAGS, "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]
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

extensions = [
    *[
        Extension(
            f"fastgrad.{name}",
            [f"src/fastgrad/{name}.pyx"],
            extra_compile_args=[*FLAGS, *flags],
            extra_link_args=LINK_FLAGS,
            define_macros=MACROS,
            libraries=LIBRARIES,
        )
        for name, flags in {"engine": [], "program": [], "updates": NO_ERRNO}.items()
    ],
    *[
        Extension(
            f"fastgrad.kernels_{name}",
            [f"src/fastgrad/kernels_{name}.pyx"],
            extra_compile_args=KERNEL_FLAGS + flags,
            extra_link_args=LINK_FLAGS,
            libraries=LIBRARIES,
            depends=["src/fastgrad/lanes.h"],
        )
        for name, flags in INSTRUCTION_SETS.items()
    ],
]

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
