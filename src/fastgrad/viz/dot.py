"""Graphs as graphviz records; imported only where something is drawn, as it needs the graphviz package."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    """A graphviz.Digraph whose error says how to get the `dot` program if it is missing."""

    def render(self, *arguments: Any, **options: Any) -> str:
        """Write the picture to a file: graphviz.Digraph.render."""
        try:
            return str(super().render(*arguments, **options))
        except graphviz.ExecutableNotFound as error:
            raise explained(error) from None

    def pipe(self, *arguments: Any, **options: Any) -> Any:
        """Return the picture: graphviz.Digraph.pipe."""
        try:
            return super().pipe(*arguments, **options)
        except graphviz.ExecutableNotFound as error:
            raise explained(error) from None


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
) -> Drawing:
    """Draw each node as a record, and each operation as an oval between its operands and its result."""
    picture = Drawing(format=file_format, graph_attr={"rankdir": rankdir})
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
