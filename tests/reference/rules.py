"""The meaning of every operation, that of a dot product with its activation included."""

from evidence.meanings import MEANINGS, OPERATIONS, Meaning

COMMUTING = {name for name, row in OPERATIONS.items() if row.commutes}
SELECTING = {name for name, row in OPERATIONS.items() if row.selects}
ACTIVATIONS = {"linear": "", "relu": "relu", "tanh": "tanh", "sigmoid": "sigmoid"}


def dot_rule(size, activation):
    """activation([bias +] w1 * x1 + ...); the operands are the n weights, perhaps a bias, the n inputs."""

    def value(*numbers):
        weights, inputs = numbers[:size], numbers[-size:]
        products = [w * x for w, x in zip(weights, inputs, strict=True)]
        terms = [*numbers[size:-size], *products]
        total = terms[0]
        for term in terms[1:]:
            total += term
        return OPERATIONS[activation].value(total) if activation else total

    def partials(*numbers):
        *operands, out = numbers
        slope = OPERATIONS[activation].partials(0.0, out)[0] if activation else 1.0
        weights, bias, inputs = operands[:size], operands[size:-size], operands[-size:]
        return (*(x * slope for x in inputs), *(slope for _ in bias), *(w * slope for w in weights))

    symbol = OPERATIONS[activation].symbol if activation else "+"
    return Meaning(symbol, "", partials, value)


def rule_of(name, detail):
    """The rule of an operation; that of a dot product depends on the node's detail."""
    if name == "dot":
        return dot_rule(*detail)
    return MEANINGS[name]
