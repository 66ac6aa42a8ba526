"""Run an unmodified micrograd program on fastgrad: `python -m fastgrad run script.py [args]`.

Processes that the program starts with multiprocessing use fastgrad, too: however they are started, they
take over sys.path, in which a directory with a `micrograd` of its own comes after that of the script. A
`micrograd` beside the script comes before it there, and other programs that it starts are run as ever.
"""

from __future__ import annotations

import builtins
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, TracebackType

__all__ = ["install_alias", "run_script"]

# Its `micrograd` calls install_alias().
ALIASES = Path(__file__).resolve().parent / "aliases"


def install_alias() -> None:
    """Make `micrograd`, `micrograd.engine` and `micrograd.nn` resolve to fastgrad in this process."""
    from fastgrad import engine, nn

    package = ModuleType("micrograd", "fastgrad under micrograd's name.")
    # An empty path makes it a package without further submodules.
    package.__path__ = []
    package.engine = engine  # type: ignore[attr-defined]
    package.nn = nn  # type: ignore[attr-defined]
    sys.modules["micrograd"] = package
    sys.modules["micrograd.engine"] = engine
    sys.modules["micrograd.nn"] = nn


def script_frames(traceback: TracebackType | None, path: str) -> TracebackType | None:
    """Return the part of a traceback that begins in the script: what Python itself would show."""
    while traceback is not None and traceback.tb_frame.f_code.co_filename != path:
        traceback = traceback.tb_next
    return traceback


def run_script(script: str, arguments: Sequence[str]) -> None:
    """Run a script as `python script arguments` would, with micrograd resolving to fastgrad.

    sys.argv, `__main__`, `__file__`, sys.path[0], tracebacks and the exit status are Python's; sys.path
    has one entry more. Exits with status 2 if the script cannot be read.
    """
    # Not normalised, as Python leaves it.
    path = str(Path.cwd() / script)
    try:
        with io.open_code(path) as file:
            source = file.read()
    except OSError as error:
        print(
            f"{sys.executable}: can't open file {path!r}: [Errno {error.errno}] {error.strerror}",
            file=sys.stderr,
        )
        sys.exit(2)
    install_alias()

    main = ModuleType("__main__")
    main.__file__ = path
    main.__builtins__ = builtins  # type: ignore[attr-defined]
    sys.modules["__main__"] = main
    sys.argv = [script, *arguments]
    safe_path = getattr(sys.flags, "safe_path", False)
    if not safe_path:
        sys.path[0] = str(Path(path).resolve().parent)
    sys.path.insert(0 if safe_path else 1, str(ALIASES))

    previous_hook = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        shown = script_frames(traceback, path)
        previous_hook(kind, error.with_traceback(shown), shown)

    sys.excepthook = hook
    exec(compile(source, path, "exec", dont_inherit=True), vars(main))
