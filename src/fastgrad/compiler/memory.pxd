"""Memory for the passes over a program: zeroed pieces, and a growing array of 32-bit integers."""

from libc.stdint cimport int32_t

from cpython.mem cimport PyMem_RawCalloc, PyMem_RawRealloc

cdef struct Integers:
    int32_t *items
    Py_ssize_t size
    Py_ssize_t room


cdef enum:
    MOST_INTEGERS = 2147483647


cdef extern from "Python.h":
    int PyErr_CheckSignals() except -1


cdef inline int look_for_signals(Py_ssize_t at) except -1:
    """Raise KeyboardInterrupt after Ctrl-C, at each 4,096th step of a pass: some milliseconds."""
    return PyErr_CheckSignals() if at % 4096 == 0 else 0


cdef inline int32_t as_offset(Py_ssize_t number) except -1:
    """The number as a 32-bit offset; MemoryError if it does not fit."""
    if number > MOST_INTEGERS:
        raise MemoryError("a program of more than 2**31 - 1 operands")
    return <int32_t>number


cdef inline int32_t append(Integers *list, int32_t item) except -1:
    """Append an item and return its position."""
    cdef Py_ssize_t room = 2 * list.room + 256
    cdef int32_t *grown
    if list.size == list.room:
        as_offset(room)
        grown = <int32_t *>PyMem_RawRealloc(list.items, room * sizeof(int32_t))
        if grown == NULL:
            raise MemoryError("no memory for a program")
        list.items = grown
        list.room = room
    list.items[list.size] = item
    list.size += 1
    return <int32_t>(list.size - 1)


cdef inline void *zeroed(Py_ssize_t count, size_t size) except NULL:
    """Memory for this many items of a size, all of it 0."""
    cdef void *memory = PyMem_RawCalloc(count + 1, size)
    if memory == NULL:
        raise MemoryError("no memory for a program")
    return memory
