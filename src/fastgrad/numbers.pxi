# What counts as a number: floats, ints, bools, numpy scalars, anything with __float__ or __index__,
# but nothing with a length (an array converts to float when it has one element).

from cpython.long cimport PyLong_AsDouble

cdef extern from *:
    """
    static inline int fastgrad_converts(PyObject *o) {
        PyNumberMethods *number = Py_TYPE(o)->tp_as_number;
        return number != NULL && (number->nb_float != NULL || number->nb_index != NULL);
    }
    static inline int fastgrad_has_length(PyObject *o) {
        PySequenceMethods *sequence = Py_TYPE(o)->tp_as_sequence;
        PyMappingMethods *mapping = Py_TYPE(o)->tp_as_mapping;
        return (sequence != NULL && sequence->sq_length != NULL)
            || (mapping != NULL && mapping->mp_length != NULL);
    }
    """
    bint converts "fastgrad_converts"(object) noexcept
    bint has_length "fastgrad_has_length"(object) noexcept

cdef extern from "Python.h":
    bint PyFloat_Check(object) noexcept
    bint PyLong_CheckExact(object) noexcept
    bint PyIndex_Check(object) noexcept
    double PyFloat_AsDouble(object) except? -1.0


cdef inline bint is_number(object candidate) noexcept:
    if PyFloat_Check(candidate) or PyLong_CheckExact(candidate):
        return True
    return converts(candidate) and not has_length(candidate)


cdef inline double to_double(object number) except? -1.0:
    if PyFloat_Check(number):
        return PyFloat_AS_DOUBLE(<PyObject *>number)
    if PyLong_CheckExact(number):
        return PyLong_AsDouble(number)
    return PyFloat_AsDouble(number)


cdef double required_double(object number, str name) except? -1.0:
    """The number as a double, or a TypeError that names what was being set."""
    if not converts(number):
        raise TypeError(f"{name} must be a real number, not {type(number).__name__}")
    return to_double(number)
