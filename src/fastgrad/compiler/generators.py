"""The states of generators of random numbers: that a function drew from one is seen by its other state."""

from __future__ import annotations

import random
import sys
from types import FrameType
from typing import Any

__all__ = ["comparable", "draws_from_system", "numpy_state", "state_of"]


def numpy_state() -> Any:
    """Return the state of numpy's global generator in a form that compares, None if numpy is not loaded."""
    numpy = sys.modules.get("numpy")
    generator = getattr(numpy, "random", None) if numpy else None
    if generator is None:
        return None
    # Only one of numpy's generators has the legacy form.
    return comparable(generator.get_state(legacy=False))


def state_of(thing: Any) -> Any:
    """Return the state of a generator of Python's, numpy's or torch's in a form that compares, else None."""
    if isinstance(thing, random.Random):
        return None if isinstance(thing, random.SystemRandom) else thing.getstate()
    kind = type(thing)
    module = str(getattr(kind, "__module__", None)).partition(".")[0]
    if module == "numpy" and hasattr(kind, "bit_generator"):
        return comparable(thing.bit_generator.state)
    if module == "numpy" and kind.__name__ == "RandomState":
        return comparable(thing.get_state(legacy=False))
    if module == "torch" and kind.__name__ == "Generator":
        return thing.get_state().numpy().tobytes()
    return None


def comparable(state: Any) -> Any:
    """Return a generator's state, dicts of numbers and arrays, with bytes for the arrays."""
    if isinstance(state, dict):
        return {name: comparable(part) for name, part in state.items()}
    return state.tobytes() if hasattr(state, "tobytes") else state


def draws_from_system(frame: FrameType) -> bool:
    """Return whether a frame of the module `random` draws from the system, or takes a seed from there.

    `numpy.random.default_rng()` and `random.Random()` do. Not so while a module is imported; and
    `numpy.random.RandomState(0)` draws a seed that it does not use.
    """
    generator = frame.f_locals.get("self")
    seeds = frame.f_code.co_name == "seed" and frame.f_locals.get("a") is None
    if not seeds and not isinstance(generator, random.SystemRandom):
        return False
    caller = frame.f_back
    if caller is not None and "RandomState" in caller.f_code.co_names:
        return False
    while caller is not None:
        if str(caller.f_globals.get("__name__")).startswith("importlib."):
            return False
        caller = caller.f_back
    return True
