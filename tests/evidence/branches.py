"""Functions that do not choose one of their operands, whose derivative must then not be reached."""

import math

import fastgrad.functional as F

# At x = 0, each function does not choose the operand whose derivative there is infinite; so x.grad is finite.
NOT_CHOSEN = {
    "where": (lambda x: F.where(x, x.sqrt(), 3.0), 0.0),
    "where's condition": (lambda x: F.where(x.sqrt(), x, 3 * x), 3.0),
    "maximum": (lambda x: F.maximum(x.sqrt(), 1.0), 0.0),
    "minimum": (lambda x: F.minimum(x + 1, x.sqrt() + 2), 1.0),
    "below what is not chosen": (lambda x: F.where(x, (x**0.5 * 2 + 1).tanh() * x, 2 * x), 2.0),
    "one in another": (lambda x: F.where(x, F.where(x + 1, x.sqrt(), 1.0), 5 * x), 5.0),
    "shared by two": (lambda x: (lambda s: F.where(x, s, 0.0) + F.where(x, 2 * s, x))(x.sqrt()), 1.0),
    "chosen, of two": (lambda x: F.where(x + 1, 2 * x, x.sqrt()), 2.0),
    "a sum of products": (lambda x: F.where(x, F.dot([x.sqrt(), x], [x.sqrt(), x + math.inf]), x), 1.0),
    "a reduction": (lambda x: F.where(x, F.logsumexp([x.sqrt(), x]), x), 1.0),
    "a missing number": (lambda x: F.where(x, (x * math.nan - 1) ** 2, x), 1.0),
}
