"""Check that the included parts of the extension modules depend on one another in one direction.

    python codegen/render.py && python .ci/include_order.py

Cython pastes included files into one unit, so that nothing but this check sees who uses whose names. It
reads the text of the files in the order in which Cython meets it, finds each name that one of them defines
at its top (a function, class, struct, enum value, global or extern), and fails where a file uses a name of a
file below it, or where two files define the same name. So there is no cycle, which would have to go up.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

SOURCES = Path(__file__).resolve().parent.parent / "src" / "fastgrad"
INCLUDE = re.compile(r'^include "(.+?)"', re.MULTILINE)
DEFINITION = re.compile(
    r"(?:cdef|cpdef|def|ctypedef|class)\s+(?:inline\s+)?"
    r"(?:(?:class|struct|enum|union)\s+(?P<type>\w+)|(?:[\w.]+[\s*]+)*?\**(?P<name>\w+)\s*(?=[(:=]|$))"
)
POINTER = re.compile(r"ctypedef\s[^(]*\(\s*\*\s*(\w+)\s*\)")
STRUCT = re.compile(r"    (?:ctypedef\s+)?(?:struct|union|enum)\s+(\w+)")
# A method is looked up in its class: its name is no use of a function's.
METHOD = re.compile(r"^(    (?:cdef|cpdef|def)\s+(?:[\w.]+[\s*]+)*?\**)\w+(?=\()", re.MULTILINE)
MEMBER = re.compile(r'    (?:[\w.]+[\s*]+)*?\**(\w+)\s*(?:""\s*\(|\(|""\s*$|=|$)')
WORD = re.compile(r"(?<![\w.])[A-Za-z_]\w*(?!\s*=[^=])")


def bare(text: str) -> str:
    """Return the text with its docstrings, strings and comments emptied, line by line."""
    text = re.sub(r'"""(?:.|\n)*?"""', lambda match: "\n" * match[0].count("\n"), text)
    text = re.sub(r"'(?:[^'\\\n]|\\.)*'", "''", re.sub(r'"(?:[^"\\\n]|\\.)*"', '""', text))
    return re.sub(r"#.*", "", text)


def defined(text: str) -> Iterator[str]:
    """Yield the names that a file defines: at its top, and the members of externs and nameless enums."""
    inside = None
    for line in text.splitlines():
        if line[:1].strip():
            block = re.match(r"cdef (extern|enum)\b", line)
            inside = block[1] if block and line.endswith(":") else None
            found = DEFINITION.match(line)
            if pointer := POINTER.match(line):
                yield pointer[1]
            elif found and not block:
                yield found["type"] or found["name"]
        elif inside and re.match(r"    \w", line):
            found = POINTER.match(line.strip()) or STRUCT.match(line) or MEMBER.match(line)
            if found:
                yield found[1]


def parts(file: Path) -> Iterator[tuple[Path, str]]:
    """Yield the stretches of text that Cython meets, in order, each with its file."""
    text, at = file.read_text(), 0
    for include in INCLUDE.finditer(text):
        yield file, bare(text[at : include.start()])
        yield from parts((file.parent / include[1]).resolve())
        at = include.end()
    yield file, bare(text[at:])


def complaints(module: Path) -> Iterator[str]:
    """Yield what is wrong with the parts of one module."""
    head = module.with_suffix(".pxd")
    order = list(parts(module))
    # What the head declares stands above all parts.
    declared = set(defined(bare(head.read_text()))) if head.exists() else set()
    home: dict[str, int] = {}
    for at, (file, text) in enumerate(order):
        for name in sorted(set(defined(text)) - declared):
            other = order[home.setdefault(name, at)][0]
            if other != file:
                yield f"{shown(file)} and {shown(other)} both define {name}"
    for at, (file, text) in enumerate(order):
        early: dict[Path, list[str]] = {}
        for name in sorted(set(WORD.findall(METHOD.sub(r"\1", text)))):
            if home.get(name, 0) > at and order[home[name]][0] != file:
                early.setdefault(order[home[name]][0], []).append(name)
        for other, names in early.items():
            yield f"{shown(file)} uses {', '.join(names)}, which {shown(other)} defines below it"


def shown(file: Path) -> str:
    """Return the file's path inside the package."""
    return file.relative_to(SOURCES).as_posix()


def main() -> int:
    """Print what is wrong, and return whether anything is."""
    modules = [file for file in sorted(SOURCES.rglob("*.pyx")) if INCLUDE.search(file.read_text())]
    wrong = [complaint for module in modules for complaint in complaints(module)]
    print(*wrong, sep="\n", end="\n" if wrong else "")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
