"""Write the Cython, stub and JavaScript files that are built from the table of operations.

    python codegen/render.py        # writes next to the sources, as `setup.py` does

The files it writes are not kept in version control.
"""

from pathlib import Path

from engine import (
    NOTICE,
    render_alternatives,
    render_checks,
    render_methods,
    render_ops,
    render_refusals,
    render_rules,
    render_stub,
)
from javascript import render_javascript
from lanes import render_functions, render_loops
from table import PACKAGE, load_table, verify


def write_if_changed(path: Path, text: str) -> None:
    """Leave an unchanged file's date alone, so that a rebuild has nothing to do."""
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def render_all(package: Path = PACKAGE) -> list[Path]:
    """Write every generated file of the package, and return their paths."""
    operations = load_table(package / "operations.py")
    methods, reductions = operations.TABLE, operations.REDUCTIONS
    table = methods + operations.FUNCTIONS
    instructions = load_table(package / "compiler" / "opcodes.py")
    verify(operations, instructions)
    engine, kernels = package / "engine.src" / "generated", package / "compiler" / "kernels" / "generated"
    loops, scalars = render_loops(table, reductions, instructions, NOTICE)
    template = Path(__file__).with_name("engine.pyi.in").read_text()
    files = {
        package / "ops.pxd": render_ops(operations, instructions),
        package / "engine.pyi": render_stub(methods, template),
        engine / "refusals.pxi": render_refusals(table, reductions, operations.ACTIVATIONS),
        engine / "rules.pxi": render_rules(table),
        **{engine / name: text for name, text in render_alternatives().items()},
        engine / "checks.pxi": render_checks(),
        engine / "operators.pxi": render_methods(methods),
        kernels / "row_functions.pxi": render_functions(table, reductions, instructions, NOTICE),
        kernels / "row_loops.pxi": loops,
        kernels / "row_scalars.pxi": scalars,
        package / "viz" / "generated" / "arithmetic.js": render_javascript(table, reductions, NOTICE),
    }
    for path, text in files.items():
        write_if_changed(path, text)
    return list(files)


if __name__ == "__main__":  # no cover: setup.py calls render_all itself
    render_all()
