"""Limits on the size of gradients."""

from __future__ import annotations

from collections.abc import Iterable

from fastgrad.engine import Value
from fastgrad.optim.optimizers import listed, required_number
from fastgrad.optim.updates import gradient_norm, scale_gradients

__all__ = ["clip_grad_norm_", "clip_grad_value_"]


def clip_grad_norm_(parameters: Iterable[Value] | Value, max_norm: float, norm_type: float = 2.0) -> float:
    """Scale the gradients down to a norm of at most `max_norm`; return the norm they had.

    As torch.nn.utils.clip_grad_norm_, which multiplies by max_norm / (norm + 1e-6). `norm_type` may be
    inf for the largest absolute gradient. Raises ValueError for a negative `max_norm`, which would turn the
    gradients around, and for a `norm_type` that is not positive.
    """
    if not required_number("max_norm", max_norm) >= 0.0:
        raise ValueError(f"max_norm must be at least 0, not {max_norm}")
    if not required_number("norm_type", norm_type) > 0.0:
        raise ValueError(f"norm_type must be positive, not {norm_type}")
    values = [parameters] if isinstance(parameters, Value) else listed(parameters)
    norm = gradient_norm(values, norm_type)
    factor = max_norm / (norm + 1e-6)
    if not factor >= 1.0:
        scale_gradients(values, factor)
    return norm


def clip_grad_value_(parameters: Iterable[Value] | Value, clip_value: float) -> None:
    """Clamp each gradient to [-clip_value, clip_value], as torch.nn.utils.clip_grad_value_; nan stays nan."""
    for value in [parameters] if isinstance(parameters, Value) else listed(parameters):
        if not isinstance(value, Value):
            raise TypeError(f"a parameter must be a Value, not {type(value).__name__}")
        value.grad = min(max(value.grad, -clip_value), clip_value)
