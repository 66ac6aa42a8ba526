"""A graph as plain data: what the pages and pictures show, in the order in which it was computed."""

from __future__ import annotations

import heapq
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from fastgrad.engine import Value, _age, _graph_order, _has_own_backward, _put_together, _take_apart
from fastgrad.operations import BY_NAME, REDUCTIONS
from fastgrad.testing import kept_gradients
from fastgrad.viz.walking import walk

__all__ = ["Box", "Description", "Group", "describe"]

# The form, as _take_apart returns it, of an operation whose left operand is a number; and the bits of a form.
CONSTANT_LEFT = 2
FORM = 3
REDUCED = {reduction.name for reduction in REDUCTIONS}
# Characters of an expression that are shown in a box; a longer one is called by its operation and a number.
LONGEST = 22
CALLED = {"+": "sum", "-": "difference", "*": "product", "/": "quotient", "**": "power"}


class Box(NamedTuple):
    """A node as a page shows it: its title, full name, operation, and the numbers of its operands' boxes.

    The title is the label, a parameter's name in short, or the expression; for a long expression, its
    operation and a number: `exp1`. `kind` is 'leaf', 'parameter', 'constant', 'result' or 'own', which is a
    node whose data or gradients come from code of the user's. `row` is empty if the data cannot be computed
    again. A float among the operands is a number. `given` are the derivatives by the operands, if known, of a
    node that has no row of the table.
    """

    title: str
    name: str
    symbol: str
    row: str
    operands: tuple[int | float, ...]
    data: float
    grad: float
    kind: str
    given: tuple[float, ...] | None
    overwrites: bool
    group: int


class Group(NamedTuple):
    """Boxes that may be shown as one: a neuron, a layer or a network, and the group that it is part of."""

    name: str
    kind: str
    parent: int


class Description(NamedTuple):
    """The boxes, operands before results, the root being the last; `backward()` goes from the last on."""

    boxes: list[Box]
    groups: list[Group]


def describe(root: Value, names: Mapping[Value, str], nodes: Sequence[Value], run: bool) -> Description:
    """Return the graph that micrograd would show of some nodes, those below a root.

    `names` are those of parameters. With `run`, each `_backward` of the user's is called, to see what it adds
    to its operands; gradients are put back. The graph itself is left as it is.
    """
    order = in_order_of_backward(root, nodes)
    own = set(filter(_has_own_backward, order))
    gives = what_own_nodes_give(root, own) if run else {}
    copies = copies_of(order)
    shown: list[Value] = []
    # Which node of the graph each shown node is a part of.
    part_of: dict[Value, Value] = {}
    copied = set(copies.values())
    for node in order:
        for part in parts_of(copies[node], copied, node in own):
            part_of[part] = node
            shown.append(part)
    at = {part: index for index, part in enumerate(shown)}
    originals = {copy: node for node, copy in copies.items()}
    groups, group_of = groups_of(order, names)
    boxes: list[Box] = []
    # Titles such as `exp1` must differ from all labels.
    taken = {str(part.label): 0 for part in shown}
    for part in shown:
        original = originals.get(part)
        boxes.append(
            box_of(
                part,
                at,
                boxes,
                taken,
                "" if original is None else names.get(original, ""),
                is_constant=original is None,
                own=original in own,
                given=None if original is None else gives.get(original),
                group=group_of.get(part_of[part], -1),
            )
        )
    return Description(boxes, groups)


def how_made(node: Value) -> tuple[str, int, tuple[Value, ...], object]:
    """Return what _take_apart returns, with derivatives that are Values, which `_prev` hides, as numbers."""
    operation, form, operands, detail = _take_apart(node)
    if operation == "local":
        count = len(operands) - detail.count(None)
        values = iter(operands[count:])
        detail = tuple(next(values).data if each is None else each for each in detail[:count])
        operands = operands[:count]
    return operation, form, operands, detail


def in_order_of_backward(root: Value, nodes: Iterable[Value]) -> list[Value]:
    """Return nodes, operands before results, such that backward() visits them from the last to the first.

    Where code of the user's takes part, that is depth-first order, else the order of creation.
    """
    operands_of = {node: set(how_made(node)[2]) for node in nodes}
    if any(map(_has_own_backward, operands_of)):
        return _graph_order([root])
    waiting = {node: len(operands) for node, operands in operands_of.items()}
    users = defaultdict(list)
    for node, operands in operands_of.items():
        for operand in operands:
            users[operand].append(node)
    ready = [(_age(node), id(node), node) for node, count in waiting.items() if not count]
    heapq.heapify(ready)
    order = []
    while ready:
        _, _, node = heapq.heappop(ready)
        order.append(node)
        for user in users[node]:
            waiting[user] -= 1
            if not waiting[user]:
                heapq.heappush(ready, (_age(user), id(user), user))
    return order


def copies_of(order: Iterable[Value]) -> dict[Value, Value]:
    """Return a copy of each node, to be looked at: inspection replaces nodes.

    The copies have the nodes' symbols, labels and colours, and no `_backward` of the user's.
    """
    copies: dict[Value, Value] = {}
    for node in order:
        operation, form, operands, detail = how_made(node)
        copy = _put_together(
            Value,
            operation,
            form,
            node.data,
            node.grad,
            tuple(copies[operand] for operand in operands),
            detail,
        )
        copy._op, copy.label = node._op, node.label
        if hasattr(node, "_vis_color"):
            copy._vis_color = node._vis_color
        copies[node] = copy
    return copies


def parts_of(copy: Value, copies: set[Value], own: bool) -> list[Value]:
    """Return micrograd's nodes for one node, that itself the last."""
    # The gradients from a `_backward` of the user's are known for the node's operands only.
    if own:
        return [copy]
    return walk(copy, lambda part: [operand for operand in part._children if operand not in copies], None)


def what_own_nodes_give(root: Value, own: Iterable[Value]) -> dict[Value, tuple[tuple[float, ...], bool]]:
    """Return what each node with a `_backward` of the user's adds to its operands, and whether it overwrites.

    It is found by calling the `_backward` with a gradient of 1. For an operand that occurs twice, the first
    has all of it.
    """
    found = {}
    with kept_gradients(root):
        for node in own:
            operands = how_made(node)[2]
            results = []
            for start in (0.0, 1.0):
                for operand in operands:
                    operand.grad = start
                node.grad = 1.0
                node._backward()
                results.append({operand: operand.grad - start for operand in operands})
            clean, shifted = results
            given, seen = [], set()
            for operand in operands:
                given.append(0.0 if operand in seen else clean[operand])
                seen.add(operand)
            overwrites = any(clean[operand] != 0.0 and shifted[operand] != clean[operand] for operand in seen)
            found[node] = (tuple(given), overwrites)
    return found


def box_of(
    part: Value,
    at: Mapping[Value, int],
    boxes: Sequence[Box],
    taken: dict[str, int],
    name: str,
    is_constant: bool,
    own: bool,
    given: tuple[tuple[float, ...], bool] | None,
    group: int,
) -> Box:
    """Return the box of one of micrograd's nodes; those of its operands are there already."""
    operation, form, operands, detail = _take_apart(part)
    written = ""
    places: list[int | float] = [at[operand] for operand in operands]
    if isinstance(detail, float):
        places.insert(0 if form & FORM == CONSTANT_LEFT else 1, detail)
    known = operation in BY_NAME or operation in REDUCED
    symbol = "" if part._op is None else str(part._op)
    label = str(part.label or "")
    if operation == "leaf":
        kind = "constant" if is_constant else "parameter" if name else "leaf"
        title = label or shortened_name(name) or f"{part.data:.4g}"
    else:
        kind = "result" if known and not own else "own"
        written = expression(symbol, [boxes[place] for place in places if isinstance(place, int)])
        title = label or (written if len(written) <= LONGEST else numbered(symbol, taken))
    derivatives = detail if operation == "local" else given[0] if given else None
    return Box(
        title=shortened(title),
        name=" = ".join(dict.fromkeys(filter(None, (label, name or (title if not label else ""), written)))),
        symbol=symbol or ("own" if operation in ("local", "custom") else ""),
        row=operation if known else "",
        operands=tuple(places),
        data=part.data,
        grad=part.grad,
        kind=kind,
        given=derivatives,
        overwrites=bool(given and given[1]),
        group=group,
    )


def expression(symbol: str, operands: Sequence[Box]) -> str:
    """Return the operation as it is written, on the titles of its operands."""
    texts = [operand.title for operand in operands]
    if symbol in ("+", "*", "-", "/", "%") and len(texts) == 2:
        if symbol != "+":
            texts = [f"({text})" if re.search(r"[^(]* [-+] ", text) else text for text in texts]
        return f" {symbol} ".join(texts) if symbol in "+-" else symbol.join(texts)
    if symbol.startswith("**") and texts:
        texts = [f"({text})" if re.search(r"[-+* ]", text) else text for text in texts]
        return symbol.join(texts) if len(texts) > 1 else texts[0] + symbol
    return f"{symbol or 'own'}({', '.join(texts)})"


def numbered(symbol: str, taken: dict[str, int]) -> str:
    """Return a short name for the next node of an operation, such as `sum3`, that is not taken."""
    word = (
        CALLED.get("**" if symbol.startswith("**") else symbol) or re.sub(r"\W", "", symbol).lower() or "own"
    )
    while True:
        taken[word] = taken.get(word, 0) + 1
        if f"{word}{taken[word]}" not in taken:
            return f"{word}{taken[word]}"


def shortened(text: str) -> str:
    """Return a text, or its beginning and its end."""
    half = (LONGEST - 1) // 2
    return text if len(text) <= LONGEST else f"{text[:half].rstrip()}…{text[-half:].lstrip()}"


def shortened_name(name: str) -> str:
    """Return a parameter's name with its path as letters: `l0.n1.w0` of `layers.0.neurons.1.w.0`."""
    *path, last = re.findall(r"[^.]+(?:\.\d+)*", name) or [""]
    letters = [re.sub(r"^([A-Za-z])[A-Za-z_]*\.(?=\d)", r"\1", word) for word in path]
    return ".".join([*letters, re.sub(r"\.(?=\d+$)", "", last)])


def groups_of(order: Sequence[Value], names: Mapping[Value, str]) -> tuple[list[Group], dict[Value, int]]:
    """Return the neurons, layers and networks of a graph, and the group of each node that is in one.

    A neuron is a dot product, a layer the neurons of the same inputs, and a network the layers of which each
    reads just what another one gives. A leaf that nothing else uses belongs to its neuron.
    """
    neurons: dict[Value, tuple[tuple[Value, ...], tuple[Value, ...]]] = {}
    users: dict[Value, set[Value]] = defaultdict(set)
    for node in order:
        operation, _, operands, detail = _take_apart(node)
        for operand in operands:
            users[operand].add(node)
        if operation in ("dot", "inner"):
            neurons[node] = operands[:detail], operands[detail:]
    layers: dict[tuple[Value, ...], list[Value]] = defaultdict(list)
    for node, (_, inputs) in neurons.items():
        layers[inputs].append(node)
    below = {tuple(outputs): inputs for inputs, outputs in layers.items()}
    groups: list[Group] = []
    network_of: dict[tuple[Value, ...], int] = {}
    layer_of: dict[tuple[Value, ...], int] = {}
    group_of: dict[Value, int] = {}

    for inputs, outputs in layers.items():
        network = -1
        if inputs in below:
            network = network_of.get(below[inputs], -1)
        elif any(above == tuple(outputs) for above in layers):
            groups.append(Group("network", "network", -1))
            network = len(groups) - 1
        network_of[inputs] = network
        layer_of[inputs] = network
        if len(outputs) > 1:
            name = re.sub(r"\.neurons\.\d+$", "", module_of(neurons[outputs[0]][0][0], names)) or "layer"
            groups.append(Group(f"{name}: {len(outputs)} neurons", "layer", network))
            layer_of[inputs] = len(groups) - 1
        for node in outputs:
            groups.append(
                Group(module_of(neurons[node][0][0], names) or "neuron", "neuron", layer_of[inputs])
            )
            group_of[node] = len(groups) - 1
            for weight in neurons[node][0]:
                if users[weight] == {node} and _take_apart(weight)[0] == "leaf":
                    group_of[weight] = group_of[node]
    return groups, group_of


def module_of(weight: Value, names: Mapping[Value, str]) -> str:
    """Return the name of the module that a weight is a parameter of, if it is known."""
    return re.sub(r"\.\w+(\.\d+)*$", "", names.get(weight, ""))
