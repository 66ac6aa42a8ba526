"""Compile the C of every extension module with every installed compiler, for each of its targets.

    python tests/reliability/compilers.py            # with optimisation, so that every warning is found
    python tests/reliability/compilers.py --syntax   # quicker: only what the front ends find

Each target compiles as C11 without a single warning.
Python's headers are those of this interpreter, with the numbers in pyconfig.h that differ on the target.
A compiler that is not installed is named and left out; Debian has them all:

    apt-get install clang musl-tools gcc-aarch64-linux-gnu gcc-s390x-linux-gnu gcc-i686-linux-gnu \
        gcc-arm-linux-gnueabihf
"""

import argparse
import dataclasses
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "codegen"))

from render import render_all  # noqa: E402

STRICT = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-fwrapv", "-DNDEBUG"]
# As in setup.py: Cython's types without specs, and the widths of registers that the kernels are made for.
MACROS = ["-DCYTHON_USE_TYPE_SPECS=0"]
KERNEL_FLAGS = {
    "avx2": ["-mavx2", "-mfma"],
    "avx512": ["-mavx512f", "-mavx512dq", "-mavx512vl"],
}


@dataclasses.dataclass
class Target:
    """A compiler, and what it compiles for."""

    name: str
    compiler: str
    flags: tuple[str, ...] = ()
    x86: bool = False
    # The lines of pyconfig.h that are different on the target.
    bits: int = 64


TARGETS = [
    Target("gcc", "gcc", x86=True),
    Target("gcc, assertions", "gcc", ("-DFASTGRAD_ASSERTIONS=1",), x86=True),
    Target("clang", "clang", x86=True),
    Target("clang, assertions", "clang", ("-DFASTGRAD_ASSERTIONS=1",), x86=True),
    Target("musl", "musl-gcc", x86=True),
    Target("aarch64", "aarch64-linux-gnu-gcc"),
    Target("s390x, big-endian", "s390x-linux-gnu-gcc", ("-DWORDS_BIGENDIAN=1",)),
    Target("i686, 32 bits", "i686-linux-gnu-gcc", ("-msse2", "-mfpmath=sse"), bits=32),
    Target("armhf, 32 bits", "arm-linux-gnueabihf-gcc", bits=32),
]
WIDTHS = ("LONG", "PTHREAD_T", "SIZE_T", "TIME_T", "UINTPTR_T", "VOID_P", "OFF_T")


def copy_headers(bits: int, folder: Path) -> Path:
    """Python's headers with the widths of a target; they include pyconfig.h from their own folder."""
    headers = folder / f"headers-{bits}"
    if not headers.exists():
        shutil.copytree(sysconfig.get_path("include"), headers)
        shutil.copy(sysconfig.get_config_h_filename(), headers / "pyconfig.h")
        if bits == 32:
            config = (headers / "pyconfig.h").read_text()
            config = re.sub(rf"(#define SIZEOF_(?:{'|'.join(WIDTHS)})) 8", r"\1 4", config)
            (headers / "pyconfig.h").write_text(config)
    return headers


def translate(folder: Path) -> list[Path]:
    """The C of every extension module, made by Cython."""
    render_all()
    sources = sorted((ROOT / "src" / "fastgrad").rglob("*.pyx"))
    for source in sources:
        # Beside its headers, which its C names by their paths from there.
        target = folder / source.relative_to(ROOT / "src").with_suffix(".c")
        target.parent.mkdir(parents=True, exist_ok=True)
        for header in source.parent.rglob("*.h"):
            copy = target.parent / header.relative_to(source.parent)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(header, copy)
        subprocess.run(
            [sys.executable, "-m", "cython", "-3", "-I", ROOT / "src", source, "-o", target], check=True
        )
    return [folder / source.relative_to(ROOT / "src").with_suffix(".c") for source in sources]


def diagnose(target: Target, source: Path, mode: list[str], folder: Path) -> str:
    """What the compiler says about one file."""
    command = [target.compiler, *STRICT, *MACROS, *mode, *target.flags, *KERNEL_FLAGS.get(source.stem, [])]
    command += ["-I", str(source.parent), "-isystem", str(copy_headers(target.bits, folder))]
    finished = subprocess.run([*command, source], capture_output=True, text=True)
    return finished.stderr if finished.returncode or finished.stderr else ""


def check(target: Target, sources: list[Path], mode: list[str], folder: Path) -> str:
    """Nothing if every module compiles, else what the compiler says."""
    for source in sources:
        if target.x86 or source.stem not in KERNEL_FLAGS:
            said = diagnose(target, source, mode, folder)
            if said:
                return f"{source.name}:\n{said}"
    return ""


def main() -> int:
    """Check every target; the status is the number of those that fail."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--syntax", action="store_true", help="do not optimise, which finds fewer warnings")
    parser.add_argument("--only", help="only targets whose name has this in it", default="")
    arguments = parser.parse_args()
    mode = ["-fsyntax-only"] if arguments.syntax else ["-O2", "-c", "-o", "/dev/null"]
    failures = 0
    with tempfile.TemporaryDirectory() as name:
        sources = translate(Path(name))
        for target in TARGETS:
            if arguments.only not in target.name:
                continue
            if shutil.which(target.compiler) is None:
                print(f"{target.name}: {target.compiler} is not here, not checked", flush=True)
                continue
            fault = check(target, sources, mode, Path(name))
            print(f"{target.name}: {fault or 'compiles without a warning'}", flush=True)
            failures += bool(fault)
    return failures


if __name__ == "__main__":
    sys.exit(main())
