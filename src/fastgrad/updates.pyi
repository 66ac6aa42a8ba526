from array import array

from fastgrad.engine import Value

def sgd(
    parameters: list[Value],
    momentum_buffer: array[float] | None,
    first: bool,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
) -> None: ...
def adam(
    parameters: list[Value],
    exp_avg: array[float],
    exp_avg_sq: array[float],
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    maximize: bool,
) -> None: ...
def gradient_norm(parameters: list[Value], order: float) -> float: ...
def scale_gradients(parameters: list[Value], factor: float) -> None: ...
