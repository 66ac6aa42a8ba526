"""Check that the included parts of the extension modules depend on one another in one direction.

    python codegen/render.py && python .ci/include_order.py

Cython pastes included files into one unit, so that nothing but this check sees who uses whose names. It
reads the text of the files in the order in which Cython meets them, finds each name that one of them defines
at its top (a function, class, struct, enum value, global or extern), and fails where a file uses a name of a
file below it, or where two files define the same name. Then no cycle is left: one would have to go up.
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
            if found and not block:
                yield found["type"] or found["name"]
        elif inside and re.match(r"    \w", line):
            found = MEMBER.match(line)
            if found:
                yield found[1]


def parts(file: Path) -> Iterator[tuple[Path, str]]:
    """Yield the file and what it includes, in the order in which Cython meets their ends."""
    text = file.read_text()
    for name in INCLUDE.findall(text):
        yield from parts((file.parent / name).resolve())
    yield file, bare(INCLUDE.sub("", text))


def complaints(module: Path) -> Iterator[str]:
    """Yield what is wrong with the parts of one module."""
    head = module.with_suffix(".pxd")
    files = dict(parts(module))
    names = {file: set(defined(text)) for file, text in files.items()}
    # What the head declares stands above everything.
    declared = set(defined(bare(head.read_text()))) if head.exists() else set()
    home: dict[str, Path] = {}
    for file, own in names.items():
        for name in sorted(own - declared):
            if name in home:
                yield f"{shown(file)} and {shown(home[name])} both define {name}"
            home.setdefault(name, file)
    order = list(files)
    for at, file in enumerate(order):
        used = set(WORD.findall(files[file])) - names[file] - declared
        for other in order[at + 1 :]:
            early = sorted(name for name in used if home.get(name) == other)
            if early:
                yield f"{shown(file)} uses {', '.join(early)}, which {shown(other)} defines below it"


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
