# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""Program: a recorded graph as flat instructions, replayed over the rows of arrays."""

from libc.math cimport INFINITY, NAN, isfinite
from libc.stdint cimport int32_t, int64_t, uintptr_t
from libc.string cimport memcpy, memset

from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree, PyMem_RawMalloc

from fastgrad.engine cimport add_gradients, read_leaves
from fastgrad.engine import Value, _refuse
from fastgrad.integers cimport Integers, append
from fastgrad.lanes cimport *
from fastgrad.ops cimport *

include "needs.pxi"
include "dispatch.pxi"
include "graph.pxi"
include "lowering.pxi"
include "registers.pxi"
include "uniform.pxi"
include "arguments.pxi"
include "replay.pxi"
include "calls.pxi"
include "bindings.pxi"
include "listing.pxi"
