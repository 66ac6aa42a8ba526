# Which objects count as numbers: floats, ints, bools, numpy scalars, and objects with __float__ or __index__
# that are not complex. An object with a length is no operand, as an array of one element would convert to
# float; a tensor without axes is one.

cdef object numbers
import numbers

from cpython.long cimport PyLong_AsDouble

cdef extern from *:
    """
    static inline int fastgrad_has_float(PyObject *o) {
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
    bint has_float "fastgrad_has_float"(object) noexcept
    bint has_length "fastgrad_has_length"(object) noexcept

cdef extern from "Python.h":
    bint PyFloat_Check(object) noexcept
    bint PyLong_CheckExact(object) noexcept
    bint PyIndex_Check(object) noexcept
    double PyFloat_AsDouble(object) except? -1.0


cdef bint is_complex(object candidate) except -1:
    """Whether float() would lose an imaginary part: numpy's complex numbers have a __float__."""
    if not hasattr(type(candidate), "__complex__"):
        return False
    return isinstance(candidate, numbers.Complex) and not isinstance(candidate, numbers.Real)


cdef inline bint is_array(object operand):
    return getattr(operand, "__array_ufunc__", None) is not None


cdef bint has_no_axes(object candidate) except -1:
    """Whether it is a tensor of a single number; numpy handles its own arrays, which may hold a Value."""
    if getattr(candidate, "ndim", None) != 0 or is_array(candidate):
        return False
    require_no_gradient(candidate)
    return True


cdef int require_no_gradient(object tensor) except -1:
    """Raise TypeError for a tensor that requires a gradient: its graph would be lost with the conversion."""
    if getattr(tensor, "requires_grad", False) is True:
        raise TypeError(
            f"a {type(tensor).__name__} that requires a gradient is no number: its gradient would be lost; "
            "use x.item() if that is meant"
        )
    return 0


cdef bint is_foreign(object candidate) except -1:
    """Whether it is another library's Value, micrograd's for example, which would convert to a number."""
    return (
        not is_value(<PyObject *>candidate)
        and (hasattr(candidate, "_prev") or hasattr(candidate, "_children"))
        and hasattr(candidate, "data")
        and hasattr(candidate, "grad")
    )


cdef str named_kind(object candidate):
    """The name of its class for a message; with the module if the name is Value."""
    cls = type(candidate)
    return f"{cls.__module__}.{cls.__qualname__}" if cls.__name__ == "Value" else cls.__name__


cdef int refuse_foreign(object candidate) except -1:
    """Raise TypeError if it is another library's Value."""
    if is_foreign(candidate):
        raise TypeError(
            f"a fastgrad.engine.Value cannot be mixed with a {named_kind(candidate)}: "
            "no gradient would pass from one to the other"
        )
    return 0


cdef inline bint converts(object candidate) except -1:
    return has_float(candidate) and (
        PyIndex_Check(candidate) or not (is_complex(candidate) or is_foreign(candidate))
    )


cdef inline bint is_number(object candidate) except -1:
    if PyFloat_Check(candidate) or PyLong_CheckExact(candidate):
        return True
    return converts(candidate) and (not has_length(candidate) or has_no_axes(candidate))


cdef inline double to_double(object number) except? -1.0:
    if PyFloat_Check(number):
        return PyFloat_AS_DOUBLE(<PyObject *>number)
    if PyLong_CheckExact(number):
        return PyLong_AsDouble(number)
    return PyFloat_AsDouble(number)


cdef double required_double(object number, str name) except? -1.0:
    """The number as a double; raises TypeError with the name of the attribute that was set."""
    if PyFloat_Check(number):
        return PyFloat_AS_DOUBLE(<PyObject *>number)
    if not converts(number):
        raise TypeError(f"{name} must be a real number, not {named_kind(number)}")
    if has_length(number):
        require_no_gradient(number)
    return to_double(number)
