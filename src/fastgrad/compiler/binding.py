"""Compiled methods: a function compiled in a class is compiled for each instance, which keeps the result."""

from __future__ import annotations

from types import MethodType
from typing import Self, TypeVar

from fastgrad.compiler.differentiation import Differentiable

__all__ = ["Methods"]

Returned = TypeVar("Returned", covariant=True)


class Methods(Differentiable[Returned]):
    """Makes a compiled function a descriptor, so that it works as a method like any function."""

    # The class and the name that a method was defined with.
    home: tuple[type, str] | None = None

    def __set_name__(self, owner: type, name: str) -> None:
        self.home = owner, name
        self.key = f"_compiled {owner.__module__}.{owner.__qualname__}.{name}"

    def _takes_instance(self) -> bool:
        """Return whether the function gets an instance as its first argument, as methods do."""
        function = self.function
        return hasattr(type(function), "__get__") and not isinstance(function, (staticmethod, MethodType))

    def _method(self, instance: object, owner: type | None, attributes: object) -> Self:
        """Compile the function for an instance, to be kept in the instance's dict.

        Raises TypeError if the instance has no dict that can keep it, or is a class.
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
        """Find the name of this method in its class, for a method assigned after the class was made."""
        for owner in kind.__mro__:
            for name, found in vars(owner).items():
                if found is self:
                    self.__set_name__(owner, name)
                    return
