"""Compiled methods: a function compiled in a class is compiled for each instance, which keeps the result."""

from __future__ import annotations

from types import MethodType
from typing import Self, TypeVar

from fastgrad.compiler.differentiation import Differentiable

__all__ = ["Methods"]

Returned = TypeVar("Returned", covariant=True)


class Methods(Differentiable[Returned]):
    """What a compiled function does as an attribute of a class: it is a descriptor, as functions are."""

    # The class and the name that a method was defined with.
    home: tuple[type, str] | None = None

    def __set_name__(self, owner: type, name: str) -> None:
        self.home = owner, name
        self.key = f"_compiled {owner.__module__}.{owner.__qualname__}.{name}"

    def _takes_instance(self) -> bool:
        """Return whether the instance is an argument, which it is of no object that is merely called."""
        function = self.function
        return hasattr(type(function), "__get__") and not isinstance(function, (staticmethod, MethodType))

    def _method(self, instance: object, owner: type | None, attributes: object) -> Self:
        """Compile the function of an instance, to be kept in the instance's dict.

        Raises TypeError if the instance cannot keep it, having no dict, or being a class.
        """
        if not self._takes_instance():
            return self
        if not isinstance(attributes, dict):
            raise TypeError(
                f"{type(instance).__name__!r} objects cannot keep a compiled method {self.name!r}: "
                "it needs an instance with a __dict__"
            )
        if self.home is None:
            self._find_home(type(instance))
        method = self.function.__get__(instance, owner)  # type: ignore[union-attr]
        options = self.threads, self.strict, self.block, self.shared
        bound = type(self)(method, *options)  # type: ignore[call-arg]
        if self.home is not None:
            bound.home, bound.instance, bound.origin = self.home, instance, self
            attributes[self.key] = bound
        return bound

    def _find_home(self, kind: type) -> None:
        """Look for the name by which a class has this method, which was set when the class was there."""
        for owner in kind.__mro__:
            for name, found in vars(owner).items():
                if found is self:
                    self.__set_name__(owner, name)
                    return
