# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: binding=False
"""The lane kernels for one instruction set: the same source as the others, compiled with its flags."""

include "generated/row_functions.pxi"
include "lanes.pxi"
include "generated/row_loops.pxi"
include "module.pxi"

from fastgrad.compiler.kernels import avx2

# One row fills no vector: the code for AVX2 is as fast, has the same bits, and need not be here again.
kernels.forward_one = (<Kernels *><uintptr_t>avx2.address()).forward_one
kernels.backward_one = (<Kernels *><uintptr_t>avx2.address()).backward_one
