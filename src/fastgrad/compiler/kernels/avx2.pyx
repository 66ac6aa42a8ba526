# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: binding=False
"""The lane kernels for one instruction set: the same source as the others, compiled with its flags."""

include "generated/row_functions.pxi"
include "lanes.pxi"
include "generated/row_loops.pxi"
include "one_lane.pxi"
include "generated/row_scalars.pxi"
include "module.pxi"

kernels.forward_one = run_forward_one
kernels.backward_one = run_backward_one
