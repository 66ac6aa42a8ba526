"""The table of operations, as codegen reads it."""

import importlib.util
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "fastgrad"


def load_table(path: Path = PACKAGE / "operations.py") -> ModuleType:
    """Load a table by its path: the package itself cannot be imported before it is built."""
    spec = importlib.util.spec_from_file_location(f"fastgrad_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
