"""Print how many bytes more than its imports a process needs for the gradient of 100,000 steps of RK4."""

import resource
import sys

import fastgrad
from fastgrad import Value, scan

SIGMA, RHO, BETA, STEP = Value(10.0), Value(28.0), Value(8.0 / 3.0), 1e-4


def lorenz(state):
    x, y, z = state
    return [SIGMA * (y - x), x * (RHO - z) - y, x * y - BETA * z]


def runge_kutta(state, _):
    def moved(slope, by):
        return [a + by * b for a, b in zip(state, slope, strict=True)]

    k1 = lorenz(state)
    k2 = lorenz(moved(k1, STEP / 2))
    k3 = lorenz(moved(k2, STEP / 2))
    k4 = lorenz(moved(k3, STEP))
    slopes = [a + 2.0 * b + 2.0 * c + d for a, b, c, d in zip(k1, k2, k3, k4, strict=True)]
    return moved(slopes, STEP / 6), None


def peak():
    """The most memory so far, in bytes; the system counts in KiB, but for macOS."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@fastgrad.compile
def end(x, y, z):
    return scan(runge_kutta, [x, y, z], None, 100_000)[0][0]


before = peak()
end.backward(1.0, 1.0, 1.0)
assert SIGMA.grad != 0.0
print(peak() - before)
