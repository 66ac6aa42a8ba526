"""The first look at a node's operands, which makes the nodes that micrograd would have.

`data` of the nodes made is derived from the values at the time of the look, `grad` from what the node
has passed on.
"""

from reference.rules import rule_of
from reference.value import Value, computed, node

# How often a look has replaced a node's operands.
expansions = 0

OUTER_AND_INNER = {"sub": ("add", "mul"), "div": ("mul", "pow")}


def share(derivative, grad):
    return derivative * grad if grad != 0.0 else 0.0


def received(shown, grad):
    """Give a node made by a look its gradient; if there is any, it has been passed on as well."""
    shown._grad, shown.grad_bound = grad, abs(grad)
    shown.has_passed_on = grad != 0.0 and shown.name != "leaf"
    return shown


def shown_leaf(data, grad):
    return received(Value(data), grad)


def partials_of(self, operands):
    numbers = [operand._data if isinstance(operand, Value) else operand for operand in operands]
    return rule_of(self.name, self.detail).partials(*numbers, self._data)


def replace(self, name, operands, detail=None):
    global expansions
    expansions += 1
    self.name, self.operands, self.detail = name, tuple(operands), detail


def expand(self):
    grad = self._grad if self.has_passed_on else 0.0
    if self.name == "dot":
        expand_dot(self, grad)
    elif self.name in OUTER_AND_INNER:
        expand_two(self, grad)
    elif any(isinstance(operand, float) for operand in self.operands) and (
        # The exponent of `x**2` is in its symbol.
        self.name != "pow" or isinstance(self.operands[0], float)
    ):
        expand_constant(self, grad)


def expand_constant(self, grad):
    partials = partials_of(self, self.operands)
    shown = [
        operand if isinstance(operand, Value) else shown_leaf(operand, share(partial, grad))
        for operand, partial in zip(self.operands, partials, strict=True)
    ]
    replace(self, self.name, shown)


def expand_two(self, grad):
    outer, inner = OUTER_AND_INNER[self.name]
    left, right = self.operands
    is_constant = isinstance(left, float)
    operand = right
    data = rule_of(inner, None).value(operand._data, -1.0)
    numbers = (data, left) if is_constant else (left._data, data)
    by_left, by_right = rule_of(outer, None).partials(*numbers, self._data)
    inner_node = computed(inner, (operand, -1.0), "integer" if inner == "pow" else None, data)
    received(inner_node, share(by_left if is_constant else by_right, grad))
    if is_constant:
        replace(self, outer, (inner_node, shown_leaf(left, share(by_right, grad))))
    else:
        replace(self, outer, (left, inner_node))


def expand_dot(self, grad):
    size, activation = self.detail
    if activation:
        grad = share(rule_of(activation, None).partials(0.0, self._data)[0], grad)
    weights, bias, inputs = self.operands[:size], self.operands[size:-size], self.operands[-size:]
    products = [received(node("mul", pair), grad) for pair in zip(weights, inputs, strict=True)]
    terms = [*bias, *products]
    total = terms[0]
    for term in terms[1:-1]:
        total = received(node("add", (total, term)), grad)
    if activation:
        if len(terms) > 1:
            total = received(node("add", (total, terms[-1])), grad)
        replace(self, activation, (total,))
    elif len(terms) == 1:
        replace(self, "mul", (weights[0], inputs[0]))
    else:
        replace(self, "add", (total, terms[-1]))


def children_of(self):
    if self.name not in ("leaf", "custom", "local"):
        expand(self)
    return tuple(operand for operand in self.operands if isinstance(operand, Value))
