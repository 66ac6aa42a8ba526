# How fastgrad.compiler.program gets at the kernels of a module.

from libc.stdint cimport uintptr_t

cdef Kernels kernels
kernels.forward = run_forward
kernels.backward = run_backward


def address():
    """Return the address of this module's Kernels."""
    return <uintptr_t>&kernels


def evaluate(str name, uintptr_t x, uintptr_t out, Py_ssize_t count):
    """Write exp, log or tanh of the doubles at one address to another: for the tests of the three."""
    cdef const_lane a = <const double *>x
    cdef lane result = <double *>out
    cdef Py_ssize_t j
    if name == "exp":
        for j in range(count):
            result[j] = exp(a[j])
    elif name == "log":
        for j in range(count):
            result[j] = log(a[j])
    elif name == "tanh":
        for j in range(count):
            result[j] = tanh(a[j])
    else:
        raise ValueError(f"there is no vector formulation of {name!r}")
