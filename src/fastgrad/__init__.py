"""micrograd's scalar autograd, compiled."""

from fastgrad.engine import Value

__version__ = "0.1.0"

__all__ = ["Value", "check"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastgrad.diagnosis import check


def __getattr__(name: str) -> object:
    # What few programs use is imported when it is: that halves the time of `import fastgrad`.
    if name == "check":
        from fastgrad.diagnosis import check

        return check
    raise AttributeError(f"module 'fastgrad' has no attribute {name!r}")
