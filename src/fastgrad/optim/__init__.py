"""Optimizers and learning-rate schedules over Values, with PyTorch's names, defaults and formulas.

>>> from fastgrad import Value
>>> from fastgrad.optim import SGD
>>> x = Value(3.0)
>>> optimizer = SGD([x], lr=0.1)
>>> for _ in range(50):
...     optimizer.zero_grad()
...     (x * x).backward()
...     optimizer.step()
>>> abs(x.data) < 1e-4
True
"""

from fastgrad.optim.clipping import clip_grad_norm_, clip_grad_value_
from fastgrad.optim.optimizers import SGD, Adam, AdamW, Optimizer
from fastgrad.optim.schedules import (
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    StepLR,
)

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "CosineAnnealingLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "Optimizer",
    "StepLR",
    "clip_grad_norm_",
    "clip_grad_value_",
]
