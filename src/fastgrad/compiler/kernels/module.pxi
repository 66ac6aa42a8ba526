# fastgrad.compiler.replay reads the address of a module's kernels.

from libc.stdint cimport uintptr_t

__all__ = ["address"]

cdef Kernels kernels
kernels.forward = run_forward
kernels.backward = run_backward


def address():
    """Return the address of this module's Kernels."""
    return <uintptr_t>&kernels
