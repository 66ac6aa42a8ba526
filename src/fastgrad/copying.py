"""Copies and pickles of Values and of the graphs below them, without recursion.

A pickle holds the nodes of a graph as one flat list, so its depth does not matter. Nodes that are pickled
together still share their operands when they are loaded. Loading a pickle can run any code, as always.
"""

from __future__ import annotations

import copy
import reprlib
import threading
from typing import Any, ClassVar, NamedTuple
from weakref import WeakValueDictionary

from fastgrad.engine import Value, _get_extras, _graph_order, _put_together, _set_extras, _take_apart

__all__ = ["copy_graph", "copy_node", "reduce_value", "restore"]
# The attributes of other classes of Values that `adopt` handles itself.
ADOPTED = {"data", "grad", "_children", "_prev", "_op", "_backward", "_local_grads"}


class Record(NamedTuple):
    """One node of a pickled graph; an operand is the index of a record or, if negative, ~index of a leaf."""

    cls: type
    operation: str
    kind: int
    data: float
    grad: float
    operands: tuple[int, ...]
    detail: Any


def own_attributes(node: Value) -> dict[str, Any] | None:
    """Return the __dict__ of an instance of a subclass; _get_extras does not return it."""
    return vars(node) if type(node) is not Value and "__dict__" in dir(type(node)) else None


def restore(node: Value, extras: tuple[Any, Any, Any] | None, attributes: dict[str, Any] | None) -> None:
    """Give a new node its label, symbol and attributes."""
    if extras is not None:
        _set_extras(node, *extras)
    if attributes:
        vars(node).update(attributes)


def set_state(node: Value, state: Any) -> None:
    """Take over a pickled state: Value.__setstate__. Raises TypeError if it is not a Value's.

    It may be the state of another class, whose name in the pickle now means this one: then it is the dict of
    its attributes, the dict of its slots, or both.
    """
    if isinstance(state, tuple) and len(state) == 2 and isinstance(state[0], tuple):
        restore(node, *state)
        return
    parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
    if all(part is None or isinstance(part, dict) for part in parts):
        found = {name: value for part in parts if part for name, value in part.items()}
        if "data" in found:
            adopt(node, found)
            return
    raise TypeError(f"the pickled state of a Value has no data in it: {reprlib.repr(state)}")


def adopt(node: Value, found: dict[str, Any]) -> None:
    """Give a new node the pickled attributes of a node of another class of Values."""
    children = tuple(found.get("_children") or found.get("_prev") or ())
    derivatives, backward = found.get("_local_grads"), found.get("_backward")
    if children and not derivatives and not callable(backward):
        raise TypeError(
            f"the pickled Value of data {found['data']!r} was computed from others, but without "
            "_local_grads or a _backward there is no way back to them: pickle its data alone"
        )
    detail = tuple(derivatives) if children and derivatives else found.get("_op", "")
    Value.__init__(node, found["data"], children, detail)
    node.grad = found.get("grad") or 0.0
    if children and not derivatives and callable(backward):
        node._backward = backward
    for name, value in found.items():
        if name not in ADOPTED:
            setattr(node, name, value)


class Pickled(threading.local):
    """The graphs that a thread is pickling, by the ids of their nodes; others may pickle the same ones."""

    def __init__(self) -> None:
        self.graphs: WeakValueDictionary[int, Graph] = WeakValueDictionary()


class Graph:
    """The computed nodes below one root, as one object of a pickle.

    It lives as long as the pickler that met the root. While it does, its nodes are pickled as parts of it,
    which keeps their identity without recursion.
    """

    pickled: ClassVar = Pickled()

    def __init__(self, root: Value) -> None:
        self.nodes = [
            node
            for node in _graph_order([root])
            if _take_apart(node)[0] != "leaf" and id(node) not in self.pickled.graphs
        ]
        self.index = {id(node): index for index, node in enumerate(self.nodes)}
        for node in self.nodes:
            self.pickled.graphs[id(node)] = self

    def __reduce__(self) -> tuple[Any, ...]:
        outside: list[Value] = []
        places: dict[int, int] = dict(self.index)
        records = []
        for node in self.nodes:
            operation, kind, operands, detail = _take_apart(node)
            for operand in operands:
                if id(operand) not in places:
                    places[id(operand)] = ~len(outside)
                    outside.append(operand)
            records.append(
                Record(
                    type(node),
                    operation,
                    kind,
                    node.data,
                    node.grad,
                    tuple(places[id(operand)] for operand in operands),
                    detail,
                )
            )
        described = [(_get_extras(node), own_attributes(node)) for node in self.nodes]
        # Attributes are restored after all nodes exist, as they may refer to nodes of the graph.
        state = {index: parts for index, parts in enumerate(described) if any(parts)}
        return load_nodes, (outside, [tuple(record) for record in records]), state, None, None, restore_all


def load_nodes(outside: list[Value], records: list[tuple[Any, ...]]) -> list[Value]:
    """Rebuild the nodes of a pickled graph; ValueError if it is damaged."""
    nodes: list[Value] = []
    for fields in records:
        record = Record(*fields)
        try:
            operands = tuple(outside[~place] if place < 0 else nodes[place] for place in record.operands)
        except IndexError:
            raise ValueError(
                f"node {len(nodes)} of the pickled graph has an operand that is not in it"
            ) from None
        node = _put_together(
            record.cls, record.operation, record.kind, record.data, record.grad, operands, record.detail
        )
        nodes.append(node)
    return nodes


def restore_all(nodes: list[Value], state: dict[int, tuple[Any, Any]]) -> None:
    """Give the nodes of a pickled graph their labels, symbols and attributes."""
    for index, parts in state.items():
        restore(nodes[index], *parts)


def load_node(nodes: list[Value], index: int) -> Value:
    """Return one node of a pickled graph."""
    return nodes[index]


def load_leaf(cls: type, data: float, grad: float) -> Value:
    """Return a new leaf."""
    return _put_together(cls, "leaf", 0, data, grad, (), None)


def reduce_value(node: Value) -> tuple[Any, ...]:
    """Return what pickle needs to rebuild a node: Value.__reduce_ex__."""
    if _take_apart(node)[0] == "leaf":
        extras, attributes = _get_extras(node), own_attributes(node)
        leaf = load_leaf, (type(node), node.data, node.grad)
        # The extras are never None: (None, dict) and (dict, dict) are states of other classes.
        own = extras or (None, None, None), attributes
        return leaf if extras is None and not attributes else (*leaf, own)
    graph = Graph.pickled.graphs.get(id(node)) or Graph(node)
    return load_node, (graph, graph.index[id(node)])


def copy_node(node: Value) -> Value:
    """Return a node with the same operands: Value.__copy__."""
    operation, kind, operands, detail = _take_apart(node)
    result = _put_together(type(node), operation, kind, node.data, node.grad, operands, detail)
    restore(result, _get_extras(node), own_attributes(node))
    return result


def copy_graph(root: Value, memo: dict[int, Any]) -> Any:
    """Return a copy of a node and of the graph below it: Value.__deepcopy__."""
    new = [node for node in _graph_order([root]) if id(node) not in memo]
    for node in new:
        operation, kind, operands, detail = _take_apart(node)
        copies = tuple(memo[id(operand)] for operand in operands)
        memo[id(node)] = _put_together(type(node), operation, kind, node.data, node.grad, copies, detail)
    for node in new:
        extras = copy.deepcopy(_get_extras(node), memo)
        restore(memo[id(node)], extras, copy.deepcopy(own_attributes(node), memo))
    return memo[id(root)]
