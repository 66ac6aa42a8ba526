# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The lane kernels for one instruction set: the same source as the others, compiled with its flags."""

include "generated/row_functions.pxi"
include "lanes.pxi"
include "generated/loops.pxi"
include "module.pxi"
