# What the free names of a traced function are bound to, looked at before every call.

from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF

cdef extern from "Python.h":
    PyObject *PyCell_Get(object) except? NULL
    PyObject *PyDict_GetItemWithError(dict, object) except? NULL


cdef class Snapshot:
    """What cells and names contained when it was taken.

    `cells` are pairs of a closure's cell and its contents, `names` triples of a dict, a key of it and its value.
    """

    cdef list cells
    cdef list names

    def __init__(self, list cells, list names):
        self.cells = cells
        self.names = names

    def is_current(self):
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
