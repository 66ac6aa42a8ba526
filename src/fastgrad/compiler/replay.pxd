"""Replay: a plan runs over the rows of a call."""

from libc.stdint cimport int32_t, int64_t

from fastgrad.compiler.instructions cimport Argument, Place
from fastgrad.compiler.plan cimport Plan

cdef extern from "pythread.h" nogil:
    ctypedef void *PyThread_type_lock

cdef enum:
    MOST_LANES = 256
    MOST_PARTS = 32

cdef struct Worker
cdef struct LoopOnce


cdef class Workspace:
    cdef Py_ssize_t block_rows
    cdef Py_ssize_t stride
    cdef Py_ssize_t threads
    cdef Py_ssize_t parts
    cdef double *uniform
    cdef double *gradient
    cdef double *seeds
    cdef double *sums
    cdef double *packed
    cdef double *total
    cdef double *part_accumulators
    cdef Argument *arguments
    cdef Place *places
    cdef Worker *workers
    cdef PyThread_type_lock lock
    cdef char *finished
    # For every loop, by its number: the uniform numbers with their gradients, the packed weights, what runs
    # once.
    cdef double **loop_uniform
    cdef double **loop_packed
    cdef LoopOnce *loops_once
    cdef Py_ssize_t loop_count
    cdef void **owned
    cdef Py_ssize_t owned_count
    # The numbers of a row, of each thread.
    cdef list memories
    cdef Py_ssize_t bytes
    # In a sparse call: for each `take` and row the parameter, or -1, its number and its gradient; and the
    # indices.
    cdef bint sparse
    cdef int32_t *taken
    cdef double *taken_numbers
    cdef double *taken_gradients
    cdef int64_t *indices
    cdef Py_ssize_t taken_count

    cdef void *room(self, Py_ssize_t count, size_t size) except NULL
    cdef double *numbers(self, Py_ssize_t count) except NULL


cdef str chosen_kernels()
cdef Workspace workspace_for(Plan plan, Py_ssize_t rows, Py_ssize_t wanted, Py_ssize_t threads)
cdef Py_ssize_t block_bytes(Plan plan) noexcept
cdef int begin_tables(Plan plan, Workspace self, Py_ssize_t rows, bint whole) except -1
cdef int read_parameters(Plan plan, Workspace self, tuple parameters) except -1
cdef void give_gradients(Plan plan, Workspace self, tuple parameters) noexcept
cdef int run_rows(
    Plan plan, Workspace workspace, Py_ssize_t rows, const double *seeds, const Place *places,
    Py_ssize_t passes
) except -1
