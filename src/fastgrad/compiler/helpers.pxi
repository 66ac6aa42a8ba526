# Helpers: threads that help the calling thread. They are kept for the next call: starting a thread takes the
# caller 30 us, and the thread begins 50 us later; waking one that has just stopped costs neither.

import os

from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree

cdef extern from "pythread.h" nogil:
    PyThread_type_lock PyThread_allocate_lock() noexcept
    void PyThread_free_lock(PyThread_type_lock) noexcept
    int PyThread_acquire_lock(PyThread_type_lock, int) noexcept
    void PyThread_release_lock(PyThread_type_lock) noexcept
    unsigned long PyThread_start_new_thread(void (*)(void *) noexcept nogil, void *) noexcept

cdef extern from *:
    """
    #include <time.h>
    static inline double fastgrad_seconds(void) {
        struct timespec now;
        timespec_get(&now, TIME_UTC);
        return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    }
    """
    double seconds "fastgrad_seconds"() noexcept nogil

cdef enum:
    # How long a thread spins before it sleeps: longer than the time between two steps of a training.
    LOOK_MICROSECONDS = 50

ctypedef void (*Task)(void *) noexcept nogil


cdef struct Helper:
    Helper *next
    Task task
    void *argument
    # Given by the caller when there is work, and by the helper when it is done.
    PyThread_type_lock called
    PyThread_type_lock finished


# The helpers without work, and the lock that guards the list. A helper is never freed.
cdef Helper *idle_helpers = NULL
cdef PyThread_type_lock idle_lock = NULL


cdef PyThread_type_lock new_lock() except NULL:
    cdef PyThread_type_lock lock = PyThread_allocate_lock()
    if lock == NULL:
        raise MemoryError("no lock for the threads")  # no cover: a lock that the system refuses
    return lock


cdef void wait_for(PyThread_type_lock lock) noexcept nogil:
    """Take a lock that another thread releases: spin for a while, then sleep."""
    cdef double end = seconds() + 1e-6 * LOOK_MICROSECONDS
    while not PyThread_acquire_lock(lock, 0):
        if seconds() > end:
            PyThread_acquire_lock(lock, 1)
            return


cdef void help_forever(void *argument) noexcept nogil:
    cdef Helper *helper = <Helper *>argument
    while True:
        wait_for(helper.called)
        helper.task(helper.argument)
        PyThread_release_lock(helper.finished)


cdef Helper *new_helper() noexcept nogil:
    """A helper with a thread of its own, or NULL."""
    cdef Helper *helper = <Helper *>PyMem_RawCalloc(1, sizeof(Helper))
    if helper == NULL:
        return NULL  # no cover: 32 bytes that the system refuses
    helper.called = PyThread_allocate_lock()
    helper.finished = PyThread_allocate_lock()
    if helper.called != NULL and helper.finished != NULL:
        PyThread_acquire_lock(helper.called, 1)
        PyThread_acquire_lock(helper.finished, 1)
        if PyThread_start_new_thread(help_forever, helper) != <unsigned long>-1:
            return helper
    if helper.called != NULL:
        PyThread_free_lock(helper.called)
    if helper.finished != NULL:
        PyThread_free_lock(helper.finished)
    PyMem_RawFree(helper)
    return NULL


cdef Helper *call_helper(Task task, void *argument) noexcept nogil:
    """Have another thread run a task; return its helper, for await_helper, or NULL if there is none."""
    global idle_helpers
    cdef Helper *helper
    PyThread_acquire_lock(idle_lock, 1)
    helper = idle_helpers
    if helper != NULL:
        idle_helpers = helper.next
    PyThread_release_lock(idle_lock)
    if helper == NULL:
        helper = new_helper()
    if helper != NULL:
        helper.task, helper.argument = task, argument
        PyThread_release_lock(helper.called)
    return helper


cdef void await_helper(Helper *helper) noexcept nogil:
    """Wait until a helper is done, and put it among the idle ones."""
    global idle_helpers
    wait_for(helper.finished)
    PyThread_acquire_lock(idle_lock, 1)
    helper.next = idle_helpers
    idle_helpers = helper
    PyThread_release_lock(idle_lock)


def _forget_helpers():
    """Start anew in a forked process: it has no helpers, and a lock that was held stays so."""
    global idle_helpers, idle_lock
    idle_helpers = NULL  # no cover: runs in a forked child, whose counts are lost with it
    idle_lock = new_lock()  # no cover: the same


idle_lock = new_lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_helpers)
