"""Graphs as graphviz records; imported only where something is drawn, as it needs the graphviz package."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import graphviz

from fastgrad.engine import Value

__all__ = ["draw"]

HOW_TO_GET_IT = """\
Drawing needs the Graphviz programs besides the Python package. To get them:
  Debian, Ubuntu   apt install graphviz
  macOS            brew install graphviz
  conda            conda install graphviz
  Windows          winget install graphviz, then open a new terminal"""

SPECIAL_IN_RECORDS = str.maketrans({character: "\\" + character for character in "\\{}|<>"} | {"\n": "\\n"})


class Drawing(graphviz.Digraph):  # type: ignore[misc]
    """A graphviz.Digraph that, where the program `dot` is missing, has an SVG picture made without it.

    For another format the error says how to get the program.
    """

    # The picture, where `dot` is missing.
    svg = ""

    def render(self, *arguments: Any, **options: Any) -> str:
        """Write the picture to a file: graphviz.Digraph.render."""
        try:
            return str(super().render(*arguments, **options))
        except graphviz.ExecutableNotFound as error:
            file_format = options.get("format") or self.format
            if not self.svg or file_format != "svg":
                raise explained(error) from None
        path = Path(options.get("outfile") or f"{self.filepath}.svg")
        path.write_text(self.svg, encoding="utf-8")
        if options.get("cleanup"):
            Path(self.filepath).unlink()
        return str(path)

    def pipe(self, format: str | None = None, **options: Any) -> Any:  # noqa: A002
        """Return the picture: graphviz.Digraph.pipe."""
        try:
            return super().pipe(format=format, **options)
        except graphviz.ExecutableNotFound as error:
            if not self.svg or (format or self.format) != "svg":
                raise explained(error) from None
        return self.svg if options.get("encoding") else self.svg.encode()


def explained(error: graphviz.ExecutableNotFound) -> graphviz.ExecutableNotFound:
    """Add to graphviz's own error how to get what is missing."""
    error.args = (f"{error}\n{HOW_TO_GET_IT}",)
    return error


def record(node: Value) -> str:
    """Return a node's text: its label if it has one, data and grad.

    >>> record(Value(2.0, label="x1"))
    '{ x1 | data 2.0000 | grad 0.0000 }'
    """
    label = str(node.label)
    name = f"{label.translate(SPECIAL_IN_RECORDS)} | " if label else ""
    return f"{{ {name}data {node.data:.4f} | grad {node.grad:.4f} }}"


def draw(
    nodes: Sequence[Value],
    edges: Iterable[tuple[Value, Value]],
    file_format: str,
    rankdir: str,
    svg: str = "",
) -> Drawing:
    """Draw each node as a record, and each operation as an oval between its operands and its result.

    `svg` is the picture where the program `dot` is missing.
    """
    picture = Drawing(format=file_format, graph_attr={"rankdir": rankdir})
    picture.svg = svg
    # Numbers, not addresses: the same program draws the same picture.
    names = {node: str(number) for number, node in enumerate(nodes)}
    # Where the arrows from the operands end. A node may have operands and no symbol.
    targets = {node: f"op{names[node]}" if node._op else names[node] for node in nodes}
    for node in nodes:
        colour = getattr(node, "_vis_color", None)
        filling = {} if colour is None else {"style": "filled", "fillcolor": str(colour)}
        picture.node(names[node], label=record(node), shape="record", **filling)
        if node._op:
            picture.node(targets[node], label=graphviz.escape(str(node._op)))
            picture.edge(targets[node], names[node])
    for operand, result in edges:
        picture.edge(names[operand], targets[result])
    return picture
