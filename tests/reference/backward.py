"""backward(): each node's contribution to its operands, results before operands."""

from reference import inspection
from reference.rules import SELECTING, rule_of
from reference.value import Value, numbers_of, refuse_effect

# Of a product that underflowed a few bits are left: half of the smallest number is 1e-12 of this one.
LEAST_KNOWN = 5e-312


def give(operand, derivative, result):
    operand._grad += derivative * result._grad
    known = max(abs(derivative), LEAST_KNOWN)
    operand.grad_bound += known * max(result.grad_bound, abs(result._grad))


def propagate(node):
    """grad of each operand += its partial derivative * the node's grad."""
    if node.name in ("leaf", "custom"):
        partials = ()
    elif node.name == "local":
        partials = numbers_of(node.detail)
    else:
        partials = partials_of(node)
    if type(node) is Value and node.name != "leaf":
        node.has_passed_on = True
    for operand, partial in zip(node.operands, partials, strict=node.name != "custom"):
        if isinstance(operand, Value) and not (partial == 0.0 and node.name in SELECTING):
            give(operand, partial, node)


def partials_of(node):
    return rule_of(node.name, node.detail).partials(*numbers_of(node.operands), node._data)


def reached_from(node):
    """The operands that a node's gradient reaches: those that were chosen, where there is a choice."""
    if node.name not in SELECTING:
        return node.operands
    return [
        operand for operand, partial in zip(node.operands, partials_of(node), strict=True) if partial != 0.0
    ]


def topological_order(roots, chosen_only=False):
    """The nodes below the roots, operands before results, by a depth-first search in their order."""

    def below(node):
        if node.name == "local" and not chosen_only:
            return iter((*node.operands, *node.detail, node.result))
        return iter(reached_from(node) if chosen_only else node.operands)

    order, visited, stack = [], set(), []
    for root in roots:
        if root not in visited:
            visited.add(root)
            stack.append((root, below(root)))
        while stack:
            node, rest = stack[-1]
            for operand in rest:
                if isinstance(operand, Value) and operand not in visited:
                    visited.add(operand)
                    stack.append((operand, below(operand)))
                    break
            else:
                order.append(node)
                stack.pop()
    return order


def run_backward(root):
    refuse_effect()
    root._grad = root.grad_bound = 1.0
    order, expansions = [root], None
    while order:
        if inspection.expansions != expansions:
            # Also when a `_backward` has looked at a graph and so may have replaced operands in this one.
            order = topological_order(order, chosen_only=True)
            expansions = inspection.expansions
        node = order.pop()
        if type(node) is Value:
            (propagate(node) if node.own_backward is None else node.own_backward())
        else:
            node._backward()
