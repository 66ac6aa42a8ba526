"""Functions with derivatives of their own, in the manner of jax.custom_jvp."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from fastgrad.derivatives.functions import Argument, Values, as_argument, flat
from fastgrad.derivatives.reverse import pull_back
from fastgrad.engine import Value, _captured, _given, _is_tracing

__all__ = ["custom_jvp"]

Jvp = TypeVar("Jvp", bound=Callable[..., object])
Term = Callable[..., object]


class Rules(threading.local):
    """The rules that run in this thread."""

    def __init__(self) -> None:
        # For each rule: its function, the operands, and the result.
        self.running: list[tuple[custom_jvp, tuple[Value, ...], Value]] = []
        # How many orders of derivatives are wanted of functions that a rule calls for its numbers; None
        # outside of such a rule. All orders of each call might never end.
        self.orders: int | None = None


rules = Rules()


@contextmanager
def running(
    function: custom_jvp, operands: tuple[Value, ...], out: Value, orders: int | None
) -> Iterator[None]:
    """In this block, calling the function with these operands returns `out`."""
    before = rules.orders
    rules.orders = orders
    rules.running.append((function, operands, out))
    try:
        yield
    finally:
        rules.running.pop()
        rules.orders = before


class Rule:
    """The rule that a custom_jvp puts into its nodes: it computes their derivatives from Values."""

    def __init__(self, function: custom_jvp, lengths: tuple[int | None, ...]) -> None:
        self.function = function
        # For each argument its length if it is a list, else None.
        self.lengths = lengths

    @property
    def __name__(self) -> str:
        return self.function.__name__

    def __reduce__(self) -> tuple[object, ...]:
        return Rule, (self.function, self.lengths)

    def arguments(self, operands: Sequence[Value]) -> tuple[Values, ...]:
        """Return the operands as the function takes them."""
        left = iter(operands)
        return tuple(
            next(left) if length is None else [next(left) for _ in range(length)] for length in self.lengths
        )

    def derivatives(
        self, out: Value, operands: tuple[Value, ...], orders: int | None = None
    ) -> tuple[Value, ...]:
        """Return the derivative by each operand, as a function of the operands and the result.

        orders: how often they are differentiated without this rule being run again.
        """
        tangents = [Value(0.0) for _ in operands]
        with running(self.function, operands, out, orders):
            found = self.function._jvp(self.arguments(operands), self.arguments(tangents))
        what = f"the rule of {self.__name__}"
        if not isinstance(found, (tuple, list)) or len(found) != 2:
            raise TypeError(f"{what} returns (result, tangent of the result), not {type(found).__name__}")
        tangent = found[1]
        if isinstance(tangent, (int, float)):
            tangent = Value(tangent)
        if not isinstance(tangent, Value):
            raise TypeError(f"{what} returns a Value as the tangent, not {type(tangent).__name__}")
        # The tangent of the result is linear in the tangents, so its derivatives by them do not depend on
        # them.
        derivatives = tuple(pull_back([tangent], [1.0], tangents))
        if depends_on(derivatives, tangents) or is_not_zero(tangent, tangents):
            raise ValueError(
                f"{what} is not linear in the tangents: it is derivative * tangent, or a sum of these"
            )
        return derivatives


def is_not_zero(tangent: Value, tangents: Sequence[Value]) -> bool:
    """Return whether the tangent of the result is not 0, though the tangents are.

    During a trace, what is computed from arguments has no number: it must depend on a tangent.
    """
    if _is_tracing() and _captured([tangent], tuple(tangents), tangents[0]) is not None:
        return not depends_on([tangent], tangents)
    return tangent.data != 0.0 and math.isfinite(tangent.data)


def depends_on(values: Sequence[Value], tangents: Sequence[Value]) -> bool:
    return bool(tangents) and any(
        _captured(list(values), (), tangents[0], tangent) is not None for tangent in tangents
    )


class custom_jvp:  # noqa: N801
    """A function of Values with a derivative that is given by a rule, not derived from its body.

    function: takes Values, or lists of Values, and returns a Value; called with numbers, it gets Values. It
    may compute by any means, with Python's numbers too, unless it is to be compiled. `defjvp` or `defjvps`
    gives the derivative, which is differentiated again for higher orders. The result is one node, in a
    compiled function one instruction beside its body; the derivative is computed with it, at the same
    operands.

    The function and its rule may not use a Value that is not an argument, whose gradient would be lost: that
    raises ValueError. A call without a rule raises TypeError.

    >>> @custom_jvp
    ... def softplus(x):
    ...     return (1.0 + x.exp()).log()
    >>> @softplus.defjvp
    ... def softplus_jvp(primals, tangents):
    ...     (x,), (dx,) = primals, tangents
    ...     return softplus(x), x.sigmoid() * dx
    >>> round(softplus(Value(0.0)).data, 6)
    0.693147
    """

    def __init__(self, function: Callable[..., object]) -> None:
        if not callable(function):
            raise TypeError(f"custom_jvp takes a function, not {type(function).__name__}")
        functools.update_wrapper(self, function)
        self.__name__: str = getattr(function, "__name__", type(function).__name__)
        self._function = function
        self._rule: Callable[..., object] | None = None

    def _jvp(self, primals: tuple[Values, ...], tangents: tuple[Values, ...]) -> object:
        if self._rule is None:
            raise TypeError(f"{self.__name__} has no rule for its derivative: give it one with defjvp")
        return self._rule(primals, tangents)

    def _set_rule(self, rule: Callable[..., object]) -> None:
        # Compiled programs would keep the old rule.
        if self._rule is not None:
            raise TypeError(f"{self.__name__} has a rule for its derivative: define the function anew")
        self._rule = rule

    def defjvp(self, jvp: Jvp) -> Jvp:
        """Give the derivative: jvp(primals, tangents) returns (result, tangent of the result).

        primals, tangents: tuples, with an entry for each argument, of its shape. The tangent is a sum of
        tangents times Values computed from the primals and the result. The function itself, called with the
        primals, is the result. Returns jvp. Raises TypeError for what cannot be called.
        """
        if not callable(jvp):
            raise TypeError(f"a rule is a function of primals and tangents, not {type(jvp).__name__}")
        self._set_rule(jvp)
        return jvp

    def defjvps(self, *jvps: Term | None) -> None:
        """Give the derivative argument by argument: jvp(t, ans, *primals) returns the term of that argument.

        t is the argument's tangent and ans the result; None stands for a derivative that is 0. Raises
        TypeError for what cannot be called, if there is a rule, and at the call for another number of
        arguments.

        >>> @custom_jvp
        ... def power(x, n):
        ...     return x**n
        >>> power.defjvps(lambda t, ans, x, n: t * n * ans / x, None)
        >>> x = Value(2.0)
        >>> power(x, 3.0).backward()
        >>> x.grad
        12.0
        """
        for jvp in jvps:
            if jvp is not None and not callable(jvp):
                raise TypeError(f"a rule is a function of t, ans and the primals, not {type(jvp).__name__}")

        def all_terms(primals: tuple[Values, ...], tangents: tuple[Values, ...]) -> tuple[object, object]:
            if len(jvps) != len(primals):
                raise TypeError(f"{self.__name__} has {len(primals)} arguments and rules for {len(jvps)}")
            ans = self(*primals)
            terms = [
                jvp(tangent, ans, *primals)
                for jvp, tangent in zip(jvps, tangents, strict=True)
                if jvp is not None
            ]
            return ans, sum(terms[1:], terms[0]) if terms else 0.0  # type: ignore[call-overload]

        self._set_rule(all_terms)

    def __call__(self, *args: Argument) -> Value:
        """Return the function's result as one node, with the derivatives by the arguments.

        Raises what the function raises, and ValueError if it or its rule uses a Value that is no argument.
        """
        arguments = [as_argument(argument) for argument in args]
        operands = tuple(value for argument in arguments for value in flat(argument, "an argument"))
        if rules.running:
            function, primals, out = rules.running[-1]
            if function is self and len(primals) == len(operands) and all(map(same, primals, operands)):
                return out
        lengths = tuple(len(argument) if isinstance(argument, list) else None for argument in arguments)
        first = Value(0.0)
        result = self._function(*arguments)
        if isinstance(result, (int, float)):
            result = Value(result)
        if not isinstance(result, Value):
            raise TypeError(f"{self.__name__} returns a Value, not {type(result).__name__}")
        if not operands:
            raise TypeError(f"{self.__name__} has no arguments to be differentiated by")
        self._refuse_captured([result], operands, first)
        orders = rules.orders
        if orders is None:
            # A program is differentiated twice, by hessian and hvp, and does not run the rule.
            orders = 2 if _is_tracing() else 1
        return self._node(result, operands, Rule(self, lengths), first, orders)

    def _node(
        self, result: Value, operands: tuple[Value, ...], rule: Rule, first: Value, orders: int
    ) -> Value:
        """Return a node of this result whose derivatives are known to so many orders."""
        if orders == 0:
            # Only grad, in the rule that runs, can ask for this derivative, and does not take these numbers.
            return _given(result, operands, (math.nan,) * len(operands), rule)
        # What the derivatives have of the result is differentiated by the rule, too, not through the body.
        out = result if orders == 1 else self._node(result, operands, rule, first, orders - 1)
        derivatives = rule.derivatives(out, operands, orders - 1)
        self._refuse_captured(list(derivatives), (*operands, result, out), first)
        if _is_tracing():
            return _given(result, operands, derivatives, rule)
        return _given(result, operands, tuple(derivative.data for derivative in derivatives), rule)

    def _refuse_captured(self, values: list[Value], own: tuple[Value, ...], first: Value) -> None:
        captured = _captured(values, own, first)
        if captured is not None:
            what = f"the Value {captured.label!r}, which" if captured.label else "a Value that"
            raise ValueError(
                f"{self.__name__} uses {what} is not among its arguments: no gradient would reach it. "
                "Make it an argument, or use its number"
            )

    def __get__(self, instance: object, owner: type | None = None) -> object:
        """Return the method of an instance, as a function does: `Value.softplus = softplus`."""
        return self if instance is None else functools.partial(self, instance)  # type: ignore[arg-type]

    def __reduce__(self) -> str:
        """Pickle by name, as functions are."""
        return str(vars(self).get("__qualname__", self.__name__))


def same(a: Value, b: Value) -> bool:
    return a is b
