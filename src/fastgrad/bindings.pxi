# Which program a call needs: by the signature of its arguments, and while names are bound as they were.

from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF

cdef extern from "Python.h":
    PyObject *PyCell_Get(object) except? NULL
    PyObject *PyDict_GetItemWithError(dict, object) except? NULL


cdef class Snapshot:
    """What cells and names contained when it was taken.

    `cells` are pairs of a closure's cell and its contents, `names` triples of a dict, a key and its value.
    """

    cdef list cells
    cdef list names

    def __init__(self, list cells, list names):
        self.cells = cells
        self.names = names

    cpdef bint is_current(self) except -1:
        """Return whether all of it is as it was."""
        cdef PyObject *found
        cdef tuple entry
        for entry in self.cells:
            found = PyCell_Get(entry[0])
            Py_XDECREF(found)
            if found != <PyObject *>entry[1]:
                return False
        for entry in self.names:
            if PyDict_GetItemWithError(<dict>entry[0], entry[1]) != <PyObject *>entry[2]:
                return False
        return True


cdef class Programs:
    """The programs of one function, by signature, and the snapshot under which they were traced."""

    cdef public tuple names
    # The options of calls that give none.
    cdef public int threads
    cdef public bint check
    cdef public Py_ssize_t block
    cdef public dict programs
    cdef public Snapshot snapshot
    cdef public Program latest

    cpdef tuple find(self, tuple arguments):
        """Return (signature, arguments ready for a call, program); None for what is to be traced.

        Raises TypeError or ValueError for a bad argument.
        """
        cdef Program program
        signature, ready = prepare_arguments(arguments, self.names)
        program = self.programs.get(signature)
        if program is not None:
            if self.snapshot.is_current():
                self.latest = program
            else:
                program = None
        return signature, ready, program

    def prepared(self, tuple arguments not None, dict options not None):
        """Return (program, arguments ready for it, threads, block), or None for all but the most common call.

        That is one without options for a signature that was traced. Raises as `find` does.
        """
        if options or self.check or len(arguments) != len(self.names):
            return None
        signature, ready, program = self.find(arguments)
        return None if program is None else (program, ready, self.threads, self.block)
