"""The optimizers: what they share, SGD, Adam and AdamW."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping
from typing import Any, SupportsFloat, SupportsIndex, TypeAlias

from fastgrad.engine import Value, _refuse_effect, _take_apart, zero_grad
from fastgrad.optim.updates import adam, sgd

__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]

Group: TypeAlias = dict[str, Any]
Parameters: TypeAlias = Iterable[Value] | Iterable[Group]


class Optimizer:
    """The base of the optimizers: groups of parameters, each with options of its own.

    `param_groups` is a list of dicts with the parameters under 'params' and an entry for each option,
    which may be changed at any time. A gradient is a number, never None: a parameter that the loss did
    not reach has a gradient of 0.0, and momentum and weight decay still move it. To leave parameters out
    of a step, give them an optimizer of their own. Raises ValueError if there are no parameters, if one was
    computed or occurs twice, if a group has no 'params', and if an option is out of range; TypeError if a
    parameter is no Value or an option no number.
    """

    # The names in the state of a parameter, after the first step.
    moments: tuple[str, ...] = ()

    def __init__(self, params: Parameters, defaults: Group) -> None:
        if isinstance(params, Value):
            raise TypeError("params should be an iterable of Values or of dicts, but is a Value")
        self.defaults = defaults
        self.param_groups: list[Group] = []
        self._states: list[dict[str, Any]] = []
        groups = listed(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        known: set[Value] = set()
        for group in groups:
            self._add(group, known)

    def add_param_group(self, param_group: Group) -> None:
        """Add a dict of 'params' and of the options that differ from the optimizer's."""
        self._add(param_group, {parameter for group in self.param_groups for parameter in group["params"]})

    def _add(self, param_group: Group, known: set[Value]) -> None:
        """Add a group, and add its parameters to the known ones."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but is a {type(param_group).__name__}")
        if "params" not in param_group:
            raise ValueError(f"a group of parameters needs 'params', but has {list(param_group)}")
        params = param_group["params"]
        if isinstance(params, (set, frozenset)):
            raise TypeError("the parameters must be in an ordered collection, not in a set")
        group = {**self.defaults, **param_group}
        group["params"] = [params] if isinstance(params, Value) else listed(params)
        for parameter in group["params"]:
            if not isinstance(parameter, Value):
                raise TypeError(
                    f"optimizer can only optimize Values, but one is a {type(parameter).__name__}"
                )
            if _take_apart(parameter)[0] != "leaf":
                raise ValueError(f"can't optimize a Value that was computed: {parameter!r}")
            if parameter in known:
                raise ValueError(f"a parameter appears more than once: {parameter!r}")
            known.add(parameter)
        self._require_valid(group)
        self.param_groups.append(group)
        self._states.append({})

    def zero_grad(self) -> None:
        """Set the gradient of every parameter to 0.0."""
        for group in self.param_groups:
            zero_grad(group["params"])

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter by its gradient. A closure is called first, and its result returned."""
        _refuse_effect("step() of an optimizer")
        result = None if closure is None else closure()
        # zip(strict=True) takes longer than the update of three hundred parameters.
        for number, group in enumerate(self.param_groups):
            self._update(group, self._states[number])
        return result

    def state_dict(self) -> dict[str, Any]:
        """Return PyTorch's form of the state, of plain numbers, lists and dicts.

        'param_groups' has the options and the parameters' numbers, 'state' the moments of each number.
        """
        groups, moments, start = [], {}, 0
        for group, state in zip(self.param_groups, self._states, strict=True):
            numbers = list(range(start, start + len(group["params"])))
            start += len(numbers)
            groups.append({**group, "params": numbers})
            if state:
                for position, number in enumerate(numbers):
                    moments[number] = {
                        name: value[position] if isinstance(value, array) else value
                        for name, value in state.items()
                    }
        return {"state": moments, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the result of `state_dict`; it may have been through JSON.

        Raises ValueError, and changes nothing, if groups or their sizes differ or moments are missing.
        """
        _refuse_effect("load_state_dict()")
        try:
            self.param_groups[:], self._states = self._read_state(state_dict)
        except (KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
            raise ValueError(f"not the state of {type(self).__name__}: {error!r}") from error

    def _read_state(self, state_dict: Mapping[str, Any]) -> tuple[list[Group], list[dict[str, Any]]]:
        """Return the groups and the moments that a state_dict stands for."""
        saved = state_dict["param_groups"]
        if len(saved) != len(self.param_groups):
            raise ValueError(f"the state has {len(saved)} parameter groups, not {len(self.param_groups)}")
        moments = {
            whole("a parameter's number", number): values for number, values in state_dict["state"].items()
        }
        groups, states = [], []
        for group, other in zip(self.param_groups, saved, strict=True):
            if len(group["params"]) != len(other["params"]):
                raise ValueError(
                    f"a group of the state has {len(other['params'])} parameters, not {len(group['params'])}"
                )
            groups.append({**group, **other, "params": group["params"]})
            self._require_valid(groups[-1])
            numbers = [whole("a parameter's number", number) for number in other["params"]]
            states.append(self._joined([moments.get(number, {}) for number in numbers]))
        return groups, states

    def _joined(self, moments: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the moments of a group's parameters as arrays; the step number is the same for all."""
        names = moments[0].keys() if moments else ()
        if any(each.keys() != names for each in moments):
            raise ValueError("the state has moments for some parameters of a group only")
        if names and names != set(self.moments):
            raise ValueError(
                f"the state has {', '.join(names)}, where {type(self).__name__} has {', '.join(self.moments)}"
            )
        state: dict[str, Any] = {}
        for name in names:
            values = [each[name] for each in moments]
            if name != "step":
                state[name] = array("d", [required_number(name, value) for value in values])
                continue
            # PyTorch has a tensor for each parameter.
            steps = {whole(name, value) for value in values}
            if len(steps) > 1:
                raise ValueError("the state's parameters are not all at the same step")
            state[name] = steps.pop()
        return state

    def _require_valid(self, group: Group) -> None:
        """Raise ValueError for an option that is out of range, TypeError for one that is no number."""
        require_not_negative(group, "lr", "learning rate")
        require_not_negative(group, "weight_decay", "weight_decay value")

    def _update(self, group: Group, state: dict[str, Any]) -> None:
        """Update one group's parameters."""
        raise NotImplementedError

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for number, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {number}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name != "params"]
        return "\n".join([*lines, ")"])


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, as torch.optim.SGD; the rate is 1e-3 unless given.

    A parameter that the loss did not reach has a gradient of 0.0; momentum and weight_decay still move it,
    in every optimizer. In torch its gradient is None, and it does not move.
    """

    moments = ("momentum_buffer",)

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        options: dict[str, Any] = {"lr": lr, "momentum": momentum, "dampening": dampening}
        options |= {"weight_decay": weight_decay, "nesterov": nesterov, "maximize": maximize}
        super().__init__(params, options)

    def _require_valid(self, group: Group) -> None:
        super()._require_valid(group)
        require_not_negative(group, "momentum", "momentum value")
        required_number("dampening", group["dampening"])
        if group["nesterov"] and (group["momentum"] <= 0.0 or group["dampening"] != 0.0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")

    def _update(self, group: Group, state: dict[str, Any]) -> None:
        first = "momentum_buffer" not in state
        buffer = None
        if group["momentum"] != 0.0:
            buffer = zeros(len(group["params"])) if first else state["momentum_buffer"]
        sgd(group, buffer, first)
        if buffer is not None:
            state["momentum_buffer"] = buffer


class Adam(Optimizer):
    """Adam, as torch.optim.Adam; `weight_decay` is added to the gradient.

    Kingma and Ba, "Adam: A Method for Stochastic Optimization" (2015).
    """

    decoupled = False
    moments = ("step", "exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, options)

    def _require_valid(self, group: Group) -> None:
        super()._require_valid(group)
        require_not_negative(group, "eps", "epsilon value")
        if group.get("amsgrad"):
            raise ValueError(f"{type(self).__name__} has no amsgrad here")
        betas = group["betas"]
        if isinstance(betas, Value) or not hasattr(betas, "__len__"):
            raise TypeError(f"betas must be two numbers, not {betas!r}")
        if len(betas) != 2:
            raise ValueError(f"betas must be two numbers, not {betas}")
        for index, beta in enumerate(betas):
            if not 0.0 <= required_number("each of betas", beta) < 1.0:
                raise ValueError(f"Invalid beta parameter at index {index}: {beta}")

    def _update(self, group: Group, state: dict[str, Any]) -> None:
        if not state:
            size = len(group["params"])
            state.update(step=0, exp_avg=zeros(size), exp_avg_sq=zeros(size))
        step = state["step"] + 1
        adam(group, state["exp_avg"], state["exp_avg_sq"], step, self.decoupled)
        state["step"] = step


class AdamW(Adam):
    """Adam with decoupled weight decay, as torch.optim.AdamW.

    Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019).
    """

    decoupled = True

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, maximize=maximize)


def listed(params: Any) -> list[Any]:
    """Return the given parameters or groups as a list; raise TypeError if they are not iterable."""
    try:
        iterator = iter(params)
    except TypeError:
        hint = ": pass its .parameters()" if hasattr(params, "parameters") else ""
        raise TypeError(
            f"params should be an iterable of Values or of dicts, but is a {type(params).__name__}{hint}"
        ) from None
    return list(iterator)


def required_number(name: str, value: Any) -> Any:
    """Return the value; TypeError that names it unless it is a number."""
    if isinstance(value, Value) or not isinstance(value, (SupportsFloat, SupportsIndex)):
        raise TypeError(f"{name} must be a number, not {value!r}")
    return value


def require_not_negative(group: Group, option: str, described: str) -> None:
    """Raise ValueError if a group's option of this name is negative or nan, TypeError if it is no number."""
    if option in group and not required_number(option, group[option]) >= 0.0:
        raise ValueError(f"Invalid {described}: {group[option]}")


def whole(name: str, value: Any) -> int:
    """Return a whole number of a state, which JSON may have made text; raise TypeError if it is none."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"{name} must be a whole number, not {value!r}") from error


def zeros(size: int) -> array[float]:
    """Return an array of zeros."""
    return array("d", bytes(8 * size))
