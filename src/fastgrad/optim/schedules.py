"""Learning-rate schedules, which set the 'lr' of an optimizer's groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastgrad.engine import _refuse_effect
from fastgrad.optim.optimizers import Group, Optimizer, required_number

__all__ = ["CosineAnnealingLR", "ExponentialLR", "LRScheduler", "LambdaLR", "LinearLR", "StepLR"]


class LRScheduler:
    """The base of the schedules: `step()`, called after the optimizer's, sets each group's 'lr'.

    A schedule multiplies the current rate, so several may act on one optimizer. Only LambdaLR replaces it.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        groups = groups_of(optimizer)
        for group in groups:
            group.setdefault("initial_lr", group["lr"])
        self.base_lrs: list[float] = [group["initial_lr"] for group in groups]
        self.last_epoch = -1
        self.step()

    def step(self) -> None:
        """Go on to the next epoch."""
        _refuse_effect("step() of a schedule")
        self.last_epoch += 1
        rates = [group["lr"] for group in self.optimizer.param_groups]
        for group, rate in zip(self.optimizer.param_groups, self.rates(rates), strict=True):
            group["lr"] = rate

    def get_last_lr(self) -> list[float]:
        """Return the groups' current rates."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def rates(self, rates: Sequence[float]) -> list[float]:
        """Return the groups' rates for `last_epoch`, given those of the epoch before."""
        return [self.factor() * rate for rate in rates]

    def factor(self) -> float:
        """Return the factor by which this epoch's rates differ from the last epoch's."""
        return 1.0

    def state_dict(self) -> dict[str, Any]:
        """Return the numbers of the schedule; functions are left out."""
        return {name: value for name, value in vars(self).items() if name not in ("optimizer", "lr_lambdas")}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the result of `state_dict`; the optimizer's own state has the rates."""
        vars(self).update(state_dict)


class LambdaLR(LRScheduler):
    """The initial rate times `lr_lambda(epoch)`; one function, or one for each group."""

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
    ) -> None:
        groups = len(groups_of(optimizer))
        if not callable(lr_lambda) and not isinstance(lr_lambda, Sequence):
            raise TypeError(f"lr_lambda must be a function, or one for each group, not {lr_lambda!r}")
        self.lr_lambdas = [lr_lambda] * groups if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != groups:
            raise ValueError(f"Expected {groups} lr_lambdas, but got {len(self.lr_lambdas)}")
        super().__init__(optimizer)

    def rates(self, rates: Sequence[float]) -> list[float]:
        """Return the groups' rates, computed from the initial ones."""
        return [
            base * function(self.last_epoch)
            for base, function in zip(self.base_lrs, self.lr_lambdas, strict=True)
        ]


class LinearLR(LRScheduler):
    """From `start_factor` to `end_factor` times the initial rate, in `total_iters` equal steps."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
    ) -> None:
        if not 0.0 < start_factor <= 1.0:
            raise ValueError(f"start_factor must be greater than 0 and at most 1, not {start_factor}")
        if not 0.0 <= end_factor <= 1.0:
            raise ValueError(f"end_factor must be between 0 and 1, not {end_factor}")
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer)

    def factor(self) -> float:
        """Return the ratio of two neighbouring points of the line."""
        if self.last_epoch == 0:
            return self.start_factor
        if self.last_epoch > self.total_iters:
            return 1.0
        rise = self.end_factor - self.start_factor
        return 1.0 + rise / (self.total_iters * self.start_factor + (self.last_epoch - 1) * rise)


class StepLR(LRScheduler):
    """`gamma` times the rate every `step_size` epochs."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        if step_size < 1:
            raise ValueError(f"step_size must be at least 1, not {step_size}")
        self.step_size = step_size
        self.gamma = required_number("gamma", gamma)
        super().__init__(optimizer)

    def factor(self) -> float:
        """Return gamma at a multiple of the step size, else 1."""
        return self.gamma if self.last_epoch and self.last_epoch % self.step_size == 0 else 1.0


class ExponentialLR(LRScheduler):
    """`gamma` times the rate every epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        self.gamma = required_number("gamma", gamma)
        super().__init__(optimizer)

    def factor(self) -> float:
        """Return gamma, except at the start."""
        return self.gamma if self.last_epoch else 1.0


class CosineAnnealingLR(LRScheduler):
    """Half a period of a cosine from the initial rate down to `eta_min`, in `T_max` epochs, and back up.

    The formula is from Loshchilov and Hutter, "SGDR" (2017), without their restarts.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        if T_max < 1:
            raise ValueError(f"T_max must be at least 1, not {T_max}")
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer)

    def height(self, epoch: int) -> float:
        """Return twice the height of the cosine above its lowest point."""
        return 1.0 + math.cos(math.pi * epoch / self.T_max)

    def rates(self, rates: Sequence[float]) -> list[float]:
        """Return the rates one epoch further along the cosine; at its lowest point, by the initial rates."""
        epoch = self.last_epoch
        if epoch == 0:
            return list(rates)
        if (epoch - 1 - self.T_max) % (2 * self.T_max) == 0:
            rise = self.height(epoch) / 2
            return [
                rate + (base - self.eta_min) * rise for rate, base in zip(rates, self.base_lrs, strict=True)
            ]
        ratio = self.height(epoch) / self.height(epoch - 1)
        return [ratio * (rate - self.eta_min) + self.eta_min for rate in rates]


def groups_of(optimizer: Optimizer) -> list[Group]:
    """Return an optimizer's groups; TypeError for what is none."""
    groups: list[Group] | None = getattr(optimizer, "param_groups", None)
    if groups is None:
        raise TypeError(f"a schedule needs an optimizer, not a {type(optimizer).__name__}")
    return groups
