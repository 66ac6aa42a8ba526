"""Derivatives that are Values: to be used in a loss, looked at, or differentiated again.

`grad` differentiates a Value; the others differentiate functions, in the words of jax and torch.func, and
`custom_jvp` gives a function a derivative of its own. All of them work inside a compiled function, where they
are more of its graph.
"""

from fastgrad.derivatives.custom import custom_jvp
from fastgrad.derivatives.functions import hessian, hvp, jacobian, jvp, vjp
from fastgrad.derivatives.reverse import grad

__all__ = ["custom_jvp", "grad", "hessian", "hvp", "jacobian", "jvp", "vjp"]
