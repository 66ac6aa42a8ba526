"""Write docs/api.md from the docstrings of the public names.

python docs/generate_api.py            # writes docs/api.md
"""

import functools
import importlib
import inspect
from pathlib import Path
from types import ModuleType

from fastgrad import functional
from fastgrad.operations import TABLE, Operation

# What a page for users lists, in the order in which they meet it. `functional` is last because its
# `sum` hides Python's from the examples after it.
MODULES = {
    "fastgrad.engine": ["Value", "apply", "zero_grad", "TracingError"],
    "fastgrad": ["check", "overfit", "compile", "scan", "take", "while_loop"],
    "fastgrad.diagnosis": ["Finding", "Overfit"],
    "fastgrad.compiler": ["Compiled"],
    "fastgrad.derivatives": None,
    "fastgrad.nn": ["Module", "Neuron", "Layer", "MLP", "Dropout"],
    "fastgrad.optim": None,
    "fastgrad.data": ["batches"],
    "fastgrad.testing": None,
    "fastgrad.viz": None,
    "fastgrad.saving": None,
    "fastgrad.export": None,
    "fastgrad.functional": [*functional.__all__, "sum"],
}
# Classes whose instances a function returns; users do not call them.
MADE_ELSEWHERE = {"Compiled", "Film", "Overfit", "Page"}
HEAD = """\
# API

Generated from the docstrings by `python docs/generate_api.py`; the tests check that it is up to date.
"""
# Value's attributes, with their text; an empty one means the docstring's.
ATTRIBUTES = {
    "data": "The number; assignable.",
    "grad": "The derivative by this node of what backward() was called on; assignable.",
    **dict.fromkeys(["_prev", "_children", "_op", "_backward"], ""),
}
CALLS = {"__add__": "left + right", "__sub__": "left - right", "__mul__": "left * right"}
CALLS |= {"__truediv__": "left / right", "__pow__": "left ** right", "__abs__": "abs(self)"}


def public_names(module: ModuleType) -> list[str]:
    """Return a module's public names in the order of their definition, file by file."""
    names = MODULES[module.__name__] or module.__all__
    # Aliases of types have no position.
    callables = [name for name in names if position(module, name) >= 0]
    return sorted(callables, key=lambda name: (getattr(module, name).__module__, position(module, name)))


@functools.cache
def listed_names() -> set[str]:
    """Return all names of the page."""
    return {name for module in MODULES for name in public_names(importlib.import_module(module))}


def position(module: ModuleType, name: str) -> int:
    """Return where a class or function is defined in its source, 0 if that is not Python; -1 for others."""
    member = getattr(module, name)
    if not (inspect.isclass(member) or inspect.isroutine(member)):
        return -1
    try:
        return inspect.getsourcelines(member)[1]
    except (OSError, TypeError):
        return 0


class Source(str):
    """An annotation that is written without quotes."""

    __repr__ = str.__str__


def signature(function: object) -> str:
    """Return a callable's parameters and result as its source has them, '' if it does not tell."""
    if inspect.isclass(function) and issubclass(function, Exception):
        # Some Pythons show the signature of the built-in base.
        return ""
    if getattr(function, "__name__", "") in MADE_ELSEWHERE:
        return ""
    try:
        found = inspect.signature(function)
    except (TypeError, ValueError):
        return ""
    parameters = [p.replace(annotation=unquoted(p.annotation)) for p in found.parameters.values()]
    result = found.empty if inspect.isclass(function) else unquoted(found.return_annotation)
    return str(found.replace(parameters=parameters, return_annotation=result))


def unquoted(annotation: object) -> object:
    """Return an annotation such that its repr is its source."""
    # NamedTuple wraps its fields'.
    annotation = getattr(annotation, "__forward_arg__", annotation)
    return Source(annotation) if isinstance(annotation, str) else annotation


def text_of(documented: object) -> list[str]:
    """Return a docstring as Markdown: examples in fences, all else as it is."""
    lines = []
    in_example = False
    for line in (inspect.getdoc(documented) or "").splitlines():
        if line.startswith(">>> ") and not in_example:
            lines.append("```python")
            in_example = True
        elif in_example and not line:
            lines.append("```")
            in_example = False
        lines.append(line)
    return [*lines, *(["```"] if in_example else []), ""]


def operation(row: Operation) -> list[str]:
    """Return the lines on an operation of the table."""
    call = CALLS.get(row.method, f"self.{row.method}()")
    return [f"- `{call}`: {row.doc}"]


def attributes(cls: type) -> list[str]:
    """Return the lines on the attributes that programs written for micrograd use."""
    return [f"- `{name}`: {text or inspect.getdoc(getattr(cls, name))}" for name, text in ATTRIBUTES.items()]


def methods(cls: type) -> list[str]:
    """Return the lines on the public methods that a class defines, or a base of it that is listed nowhere."""
    lines = []
    operations = {row.method for row in TABLE} if cls.__name__ == "Value" else set()
    inherited = {}
    for base in cls.__mro__[1:]:
        if base.__module__ == "builtins" or base.__name__ in listed_names():
            break
        inherited |= vars(base)
    for name, member in [*vars(cls).items(), *inherited.items()]:
        called = name == "__call__"
        if (name.startswith("_") and not called) or name in operations or not inspect.getdoc(member):
            continue
        if name in getattr(cls, "_fields", ()):
            # Its signature names a tuple's fields.
            continue
        if inspect.isdatadescriptor(member):
            lines += [f"#### {cls.__name__}.{name}", "", *text_of(member)]
        elif callable(member):
            # A function written in C has no signature to show.
            shown = signature(member) or "(*arguments, **options)"
            lines += [f"#### {cls.__name__}.{name}", "", f"`{name}{shown}`", "", *text_of(member)]
    return lines


def entry(module: ModuleType, name: str) -> list[str]:
    """Return the lines on one public name."""
    documented = getattr(module, name)
    kind = "class " if inspect.isclass(documented) else ""
    lines = [f"### {name}", "", f"`{kind}{name}{signature(documented)}`", "", *text_of(documented)]
    if inspect.isclass(documented):
        if name == "Value":
            lines += ["The attributes:", "", *attributes(documented), ""]
            lines += ["The operations, on Values and numbers:", ""]
            lines += [line for row in TABLE for line in operation(row)] + [""]
        lines += methods(documented)
    return lines


def generate() -> str:
    """Return the page."""
    lines = HEAD.splitlines()
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        names = public_names(module)
        lines += ["", f"## {module_name}", "", *text_of(module)]
        lines += ["```python", f">>> from {module_name} import {', '.join(names)}", "```", ""]
        for name in names:
            lines += entry(module, name)
    # One empty line separates paragraphs.
    kept = [line for number, line in enumerate(lines) if line or (number and lines[number - 1])]
    return "\n".join(kept).rstrip() + "\n"


if __name__ == "__main__":
    (Path(__file__).resolve().parent / "api.md").write_text(generate(), encoding="utf-8")
