"""What tests of compiled functions share: operations on operands that they take, and numbers compared."""

import numpy as np

from fastgrad.engine import apply
from fastgrad.operations import FUNCTIONS, TABLE

UNARY = [operation for operation in TABLE if operation.operands == 1]
BINARY = [operation for operation in (*TABLE, *FUNCTIONS) if operation.operands == 2]
# A factor and a summand that bring the operand into the domain of the operation.
INSIDE = {"asin": (0.1, -0.2), "acos": (0.1, -0.2), "atanh": (0.1, -0.2), "acosh": (0.5, 1.1)}


def applied(operation, *operands):
    """The operation, on operands that it takes."""
    factor, summand = INSIDE.get(operation.name, (1.0, 0.0))
    if operation.name == "polygamma":
        return apply("polygamma", 2.0, operands[0] * operands[1])
    return apply(operation.name, operands[0] * factor + summand, *operands[1:])


def assert_close(actual, expected, tolerance=1e-12, scale=1.0):
    """Compare arrays, or tuples of arrays, relative to the largest number; nan and inf must be the same."""
    if isinstance(expected, tuple):
        for one, other in zip(actual, expected, strict=True):
            assert_close(one, other, tolerance, scale)
        return
    actual, expected = np.asarray(actual, dtype=float), np.asarray(expected, dtype=float)
    assert actual.shape == expected.shape
    size = max(scale, np.abs(expected[np.isfinite(expected)]).max(initial=0.0))
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * size)
