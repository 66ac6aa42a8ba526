"""Run an unmodified micrograd program on fastgrad: `python -m fastgrad run script.py [args]`.

A notebook takes the name by `%load_ext fastgrad`.

Processes that the program starts with multiprocessing use fastgrad, too: they take over sys.path, where a
directory with a `micrograd` that leads to fastgrad comes after the script's own. So in those processes a
`micrograd` beside the script comes first. Other programs that it starts do not use fastgrad.
"""

from __future__ import annotations

import builtins
import io
import json
import linecache
import runpy
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from traceback import print_exception, walk_tb
from types import FrameType, ModuleType, TracebackType
from typing import Any

__all__ = ["install_alias", "run_script"]

# Its `micrograd` calls install_alias().
ALIASES = Path(__file__).resolve().parent / "aliases"


# The modules that sys.modules had under micrograd's names before the alias.
replaced: dict[str, ModuleType] = {}


def install_alias() -> None:
    """Make `micrograd`, `micrograd.engine` and `micrograd.nn` resolve to fastgrad in this process.

    Other modules of an installed `micrograd` can still be imported: a fork's `micrograd.viz` draws
    fastgrad's Values. Warns with a RuntimeWarning if micrograd was imported before.
    """
    from fastgrad import engine, nn

    if sys.modules.get("micrograd.engine") is engine:
        return
    if "micrograd.engine" in sys.modules:
        warnings.warn(
            "micrograd was imported before fastgrad took its name: objects from that import stay "
            "micrograd's, and do not mix with fastgrad's. Take the name first, or import again",
            RuntimeWarning,
            stacklevel=3,
        )
    package = ModuleType("micrograd", "fastgrad under micrograd's name.")
    package.__spec__ = ModuleSpec("micrograd", None, origin=engine.__file__, is_package=True)
    places = [place for place in sys.path if place != str(ALIASES)]
    found = PathFinder.find_spec("micrograd", places)
    package.__path__ = list(found.submodule_search_locations or ()) if found else []
    package.__spec__.submodule_search_locations = package.__path__
    package.engine = engine  # type: ignore[attr-defined]
    package.nn = nn  # type: ignore[attr-defined]
    replaced.update(forget_micrograd())
    sys.modules.update({"micrograd": package, "micrograd.engine": engine, "micrograd.nn": nn})


def remove_alias() -> None:
    """Undo install_alias: `import micrograd` means again what it meant."""
    from fastgrad import engine

    if sys.modules.get("micrograd.engine") is engine:
        forget_micrograd()
        sys.modules.update(replaced)
        replaced.clear()


def forget_micrograd() -> dict[str, ModuleType]:
    """Take micrograd and all its modules out of sys.modules; return them by name."""
    names = [name for name in sys.modules if name.partition(".")[0] == "micrograd"]
    return {name: sys.modules.pop(name) for name in names}


def load_ipython_extension(shell: object) -> None:
    """Make `import micrograd` mean fastgrad in this notebook: `%load_ext fastgrad`."""
    install_alias()


def unload_ipython_extension(shell: object) -> None:
    """Make `import micrograd` mean micrograd again: `%unload_ext fastgrad`."""
    remove_alias()


def shown_frames(
    traceback: TracebackType | None, starts: Callable[[FrameType], bool]
) -> TracebackType | None:
    """Return the part of a traceback that begins in the program, as Python itself would show it."""
    while traceback is not None and not starts(traceback.tb_frame):
        traceback = traceback.tb_next
    return traceback


def show_frames_from(starts: Callable[[FrameType], bool], show: Callable[..., object] | None = None) -> None:
    """Have the traceback of an uncaught exception begin at the first frame of the program."""
    show = show or sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        shown = shown_frames(traceback, starts)
        show(kind, error.with_traceback(shown), shown)

    sys.excepthook = hook


def take_name(directory: str) -> None:
    """Take the name micrograd for a program whose own modules are in this directory."""
    if not sys.flags.safe_path:
        sys.path[0] = directory
    sys.path.insert(0 if sys.flags.safe_path else 1, str(ALIASES))
    install_alias()


def new_main(path: str) -> ModuleType:
    """Replace `__main__` by an empty module for this file."""
    main = ModuleType("__main__")
    main.__file__ = path
    main.__builtins__ = builtins  # type: ignore[attr-defined]
    sys.modules["__main__"] = main
    return main


def run_script(script: str, arguments: Sequence[str]) -> None:
    """Run a script as `python script arguments` would, with micrograd resolving to fastgrad.

    sys.argv, `__main__`, `__file__`, sys.path[0], tracebacks and the exit status are Python's; sys.path
    has one entry more. The cells of a notebook run in their order, by IPython if they have magics. Exits
    with status 2 if the script cannot be read.
    """
    # Python does not normalise the path of a script either.
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
    cells = cells_of(source, path) if path.endswith(".ipynb") else None
    take_name(str(Path(path).resolve().parent))
    sys.argv = [script, *arguments]
    main = new_main(path)
    if cells is None:
        show_frames_from(lambda frame: frame.f_code.co_filename == path)
        exec(compile(source, path, "exec", dont_inherit=True), vars(main))
    elif any(is_for_ipython(cell) for cell in cells):
        run_in_ipython(cells, main, path)
    else:
        # Python's own hook shows lines of files only.
        show_frames_from(lambda frame: frame.f_globals is vars(main), print_exception)
        for number, cell in enumerate(cells, 1):
            name = f"{path}, cell {number}"
            linecache.cache[name] = len(cell), None, cell.splitlines(keepends=True), name
            exec(compile(cell, name, "exec", dont_inherit=True), vars(main))


def run_module(module: str, arguments: Sequence[str]) -> None:
    """Run a module as `python -m module arguments` would, with micrograd resolving to fastgrad."""
    take_name(str(Path.cwd()))
    sys.argv = [module, *arguments]
    ours = sys.modules["__main__"]
    show_frames_from(
        lambda frame: frame.f_globals.get("__name__") == "__main__" and frame.f_globals is not vars(ours)
    )
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except ImportError as error:
        last = list(walk_tb(error.__traceback__))[-1][0]
        if last.f_globals.get("__name__") != "runpy":
            raise
        print(f"{sys.executable}: {error}", file=sys.stderr)
        sys.exit(1)


def cells_of(source: bytes, path: str) -> list[str]:
    """Return the code of a notebook's cells; exit with status 2 if the file is no notebook."""
    try:
        cells = [cell for cell in json.loads(source)["cells"] if cell["cell_type"] == "code"]
        return ["".join(cell["source"]) for cell in cells]
    except (ValueError, KeyError, TypeError) as error:
        print(f"{path} is no notebook of format 4: {error!r}", file=sys.stderr)
        sys.exit(2)


def is_for_ipython(cell: str) -> bool:
    """Return whether a cell has magics, shell commands or questions, and so is no Python."""
    try:
        compile(cell, "cell", "exec", dont_inherit=True)
    except SyntaxError:
        lines = [line.strip() for line in cell.splitlines()]
        return any(line.startswith(("%", "!", "?")) or line.endswith("?") for line in lines)
    return False


def run_in_ipython(cells: Sequence[str], main: ModuleType, path: str) -> None:
    """Run cells as a notebook would; exit with status 1 at the first that raises."""
    try:
        from IPython.core.interactiveshell import InteractiveShell
    except ModuleNotFoundError:
        print(
            f"{path} has lines for IPython, such as magics: pip install ipython, or begin the notebook with "
            "`%load_ext fastgrad` and run it as ever",
            file=sys.stderr,
        )
        sys.exit(2)
    shell: Any = InteractiveShell.instance(user_module=main)
    for cell in cells:
        if not shell.run_cell(cell, store_history=True).success:
            sys.exit(1)
