"""SGD, Adam and AdamW, after PyTorch's formulas."""

import math

from reference.backward import LEAST_KNOWN
from reference.value import Value


class Optimizer:
    def __init__(self, params, **options):
        self.parameters, self.options = list(params), options
        if not self.parameters:
            raise ValueError("optimizer got an empty parameter list")
        for number, parameter in enumerate(self.parameters):
            if not isinstance(parameter, Value):
                raise TypeError("optimizer can only optimize Values")
            if parameter.name != "leaf":
                raise ValueError("can't optimize a Value that was computed")
            if parameter in self.parameters[:number]:
                raise ValueError("a parameter appears more than once")
        self.moments = [{} for _ in self.parameters]

    def zero_grad(self):
        for parameter in self.parameters:
            parameter.grad = 0.0

    def step(self):
        for parameter, moments in zip(self.parameters, self.moments, strict=True):
            change = self.change(parameter._data, parameter._grad, moments, **self.options)
            parameter._data -= change
            # These are multiplied by the learning rate and a bias correction before they are divided.
            known = min((abs(each) for each in moments.values() if each), default=1.0)
            known = max(0.01 * self.options.get("lr", 1e-3) * known, 5e-324)
            parameter.data_bound = abs(parameter._data) + abs(change) * max(1.0, LEAST_KNOWN / known)


class SGD(Optimizer):
    def change(self, data, g, moments, lr=1e-3, momentum=0.0, weight_decay=0.0, nesterov=False):
        g = g + weight_decay * data if weight_decay else g
        if momentum:
            b = momentum * moments["b"] + g if moments else g
            moments["b"] = b
            g = g + momentum * b if nesterov else b
        return lr * g


class Adam(Optimizer):
    decoupled = False

    def change(self, data, g, moments, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        decay = lr * weight_decay * data if self.decoupled else 0.0
        g = g if self.decoupled else g + weight_decay * data
        step = moments["step"] = moments.get("step", 0) + 1
        m = moments["m"] = betas[0] * moments.get("m", 0.0) + (1 - betas[0]) * g
        v = moments["v"] = betas[1] * moments.get("v", 0.0) + (1 - betas[1]) * g * g
        corrected = math.sqrt(v / (1 - betas[1] ** step)) if v == v else v
        return decay + lr * (m / (1 - betas[0] ** step)) / (corrected + eps)


class AdamW(Adam):
    decoupled = True

    def __init__(self, params, weight_decay=1e-2, **options):
        super().__init__(params, weight_decay=weight_decay, **options)
