"""Recognise code that Python runs on its own during a trace, such as the handler of a signal."""

from __future__ import annotations

# The functions of `signal` take 0.1 ms to make enums of what these return.
import _signal  # type: ignore[import-not-found]
import dis
import gc
import inspect
import sys
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any
from weakref import ReferenceType

__all__ = ["interrupts_run"]

# Instructions that run no code of the user's, unless they drop an object or a signal arrives.
QUIET = {
    "NOP",
    "RESUME",
    "POP_TOP",
    "STORE_FAST",
    "DELETE_FAST",
    "STORE_DEREF",
    "DELETE_DEREF",
    "STORE_FAST_STORE_FAST",
    "STORE_FAST_LOAD_FAST",
    "JUMP_FORWARD",
    "JUMP_BACKWARD",
    "RETURN_VALUE",
}


def interrupts_run(run: CodeType) -> bool:
    """Return whether the code that runs now was called by Python itself and not by the traced function.

    run: the code that calls the traced function. Python itself calls handlers of signals, finalisers,
    callbacks of the collector and of debuggers; numbers that these read do not get into the program. Where it
    is unclear, the answer is False.
    """
    frame: FrameType | None = sys._getframe(1)
    handlers = set(code_of_handlers())
    while frame is not None and frame.f_code is not run:
        if frame.f_code in handlers or ends_an_object(frame) or is_quiet(frame.f_back):
            return True
        frame = frame.f_back
    # Another stack, such as a greenlet's, does not lead to the function at all.
    return frame is None


def ends_an_object(frame: FrameType) -> bool:
    """Return whether a frame is a finaliser's, or that of a weak reference's callback."""
    code = frame.f_code
    if code.co_name == "__del__":
        return True
    given = [frame.f_locals.get(name) for name in code.co_varnames[: code.co_argcount]]
    if code.co_flags & inspect.CO_VARARGS:
        given += frame.f_locals.get(code.co_varnames[code.co_argcount + code.co_kwonlyargcount]) or ()
    # The callback gets the reference as its argument, after `self` if it is a method.
    return any(isinstance(each, ReferenceType) and each() is None for each in given[:2])


def is_quiet(frame: FrameType | None) -> bool:
    """Return whether a frame is at an instruction that calls nothing by itself."""
    if frame is None or frame.f_lasti < 0:
        return False
    return dis.opname[frame.f_code.co_code[frame.f_lasti]] in QUIET


def code_of_handlers() -> Iterator[CodeType]:
    """Yield the code of what Python calls by itself: handlers of signals, callbacks, trace functions."""
    called: list[Any] = [sys.gettrace(), sys.getprofile(), *gc.callbacks]
    called += [_signal.getsignal(number) for number in range(1, _signal.NSIG)]
    for each in called:
        while hasattr(each, "func"):
            # A partial.
            each = each.func
        if each is not None and not hasattr(each, "__code__"):
            each = getattr(type(each), "__call__", None)  # noqa: B004
        if hasattr(each, "__code__"):
            yield each.__code__
