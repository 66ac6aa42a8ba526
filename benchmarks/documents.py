"""The text that the character-level model reads: one document a line."""

import sys
from collections import Counter
from pathlib import Path

chosen: Path | None = None


def choose(path: Path) -> None:
    """Read documents from this file instead of the interpreter's list of its own modules."""
    global chosen
    chosen = path


def read_documents() -> list[str]:
    """Return the chosen file's lines, or the names of the standard library's modules."""
    if chosen is None:
        return sorted(sys.stdlib_module_names)
    return [line.strip() for line in chosen.read_text().splitlines() if line.strip()]


def of_common_length(documents: list[str]) -> list[str]:
    """Return the documents of the most common length, so that every training step costs the same."""
    length, _ = Counter(map(len, documents)).most_common(1)[0]
    return [document for document in documents if len(document) == length]
