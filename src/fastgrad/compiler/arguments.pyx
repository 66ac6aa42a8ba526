# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False, binding=False
"""Arguments as addresses: buffers of float64 or int64 are read in place, everything else is converted."""

import array
import numbers

from cython cimport freelist

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDES
from cpython.buffer cimport PyBuffer_Release, PyBuffer_ToContiguous, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.float cimport PyFloat_Check
from cpython.long cimport PyLong_Check
from libc.math cimport NAN
from libc.stdint cimport uintptr_t

cimport fastgrad.ops

from fastgrad.compiler.instructions cimport INDICES, NUMBER, REALS, UNKNOWN, WHOLE_NUMBER
from fastgrad.engine import Value

__all__ = ["StructureError", "describe_signature", "prepare_arguments", "prepare_numbers"]


cdef object numpy = NotImplemented


cdef object find_numpy():
    """Return numpy, or None if it is not installed; the first program imports it."""
    global numpy
    if numpy is NotImplemented:
        try:
            import numpy as found
        except ImportError:
            found = None
        numpy = found
    return numpy


@freelist(8)
cdef class Prepared:
    """One argument of a call, held for as long as the call runs."""

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.view)

    cdef int hold(self, object source) except -1:
        """Take the source's buffer, and see whether it is one of float64 or int64."""
        PyObject_GetBuffer(source, &self.view, PyBUF_STRIDES | PyBUF_FORMAT)
        self.held = True
        self.kind = UNKNOWN
        if self.view.strides == NULL:
            # The arrays of ctypes have none, against the protocol.
            return 0
        if self.view.itemsize == 8 and is_code(self.view.format, b'd'):
            self.kind = REALS
        elif self.view.itemsize == 8 and (is_code(self.view.format, b'l') or is_code(self.view.format, b'q')):
            self.kind = INDICES
        return 0

    cdef int adopt(self, str name) except -1:
        """Read the shape of the buffer."""
        if self.view.ndim == 0 or self.view.ndim > 2:
            raise ValueError(
                f"{name} must be a number, an array of one number a row or one of (rows, columns), "
                f"not of {self.view.ndim} dimensions"
            )
        self.data = <const char *>self.view.buf
        self.rows = self.view.shape[0]
        self.row_step = self.view.strides[0]
        self.columns = -1
        if self.view.ndim == 2:
            self.columns = self.view.shape[1]
            self.column_step = self.view.strides[1]
        return 0

    cdef Py_ssize_t key(self) noexcept:
        """The argument's part of the signature."""
        return self.kind + 4 * (self.columns + 1)

    @property
    def signature(self):
        """The argument's part of the signature."""
        return self.key()

    def total(self):
        """Return the sum of the numbers of an array of one dimension."""
        cdef Py_ssize_t row
        cdef double total = 0.0
        if self.kind == REALS and self.columns < 0:
            for row in range(self.rows):
                total += (<const double *>(self.data + row * self.row_step))[0]
        return total

    cdef bint overlaps(self, const char *first, const char *end) noexcept:
        """Whether any of its numbers may lie in this memory."""
        cdef const char *low = self.data
        cdef const char *high = self.data + 8
        cdef Py_ssize_t axis, count, span
        for axis in range(2):
            count = self.columns if axis else self.rows
            if count == 0:
                return False
            if count > 0:
                span = (count - 1) * (self.column_step if axis else self.row_step)
                low += min(span, <Py_ssize_t>0)
                high += max(span, <Py_ssize_t>0)
        return low < end and first < high


cdef bint is_code(const char *format, char code) noexcept:
    """Whether a buffer's format is this code in the machine's own byte order."""
    if format == NULL:
        return False  # no cover: CPython's own exporters name the format of items of 8 bytes
    if format[0] == b'@' or format[0] == b'=' or (format[0] == b'<' and NATIVE_LITTLE):
        format += 1
    return format[0] == code and format[1] == 0


cdef bint is_aligned(const Py_buffer *view) noexcept:
    """Whether C may read every item where it is: an array from a pickle may lie at any address."""
    cdef uintptr_t bits = <uintptr_t>view.buf
    cdef int index
    for index in range(view.ndim):
        bits |= <uintptr_t>view.strides[index]
    return bits % sizeof(double) == 0 or view.len == 0


cdef Prepared adopted(Prepared self, str name):
    """The buffer with its shape, or a copy of it if C may not read it where it is."""
    cdef Prepared copied = self
    if not is_aligned(&self.view):
        copied = Prepared()
        copied.hold(contiguous(&self.view, "d" if self.kind == REALS else "q"))
    copied.adopt(name)
    return copied


cdef object contiguous(Py_buffer *view, str code):
    """The items of a buffer, row by row."""
    flat = bytearray(view.len)
    cdef char *memory = flat
    PyBuffer_ToContiguous(memory, view, view.len, b'C')
    return memoryview(flat).cast(code, [view.shape[axis] for axis in range(view.ndim)])


cdef object LARGEST = 2**63 - 1
cdef bint NATIVE_LITTLE = __import__("sys").byteorder == "little"


# numpy.ndarray, once numpy is found: an array of exactly this class has no mask.
cdef object plain_array = None


cdef int refuse_mask(object source, str name) except -1:
    """Raise ValueError for an array with masked numbers: its buffer holds these, too, so they would count."""
    global plain_array
    if find_numpy() is None:
        return 0
    plain_array = numpy.ndarray
    if isinstance(source, numpy.ndarray) and numpy.any(getattr(source, "mask", False)):
        raise ValueError(
            f"{name} has masked numbers: give the rows without them, or {name}.filled(...)"
        )
    return 0


class StructureError(TypeError):
    """An argument is a named tuple or a dataclass of columns, where a single column is needed."""


cdef int refuse_parts(object source, str name) except -1:
    """Raise StructureError for a named tuple or a dataclass, TypeError for a sparse matrix."""
    cdef str kind = type(source).__name__
    if hasattr(source, "toarray") and not hasattr(source, "__array__"):
        raise TypeError(f"{name} is sparse, a {kind}: give {name}.toarray()")
    fields = getattr(source, "_fields", None) if isinstance(source, tuple) else None
    fields = fields or getattr(source, "__dataclass_fields__", None)
    if fields and not hasattr(source, "__array__"):
        raise StructureError(f"{name} is a {kind} with the fields {', '.join(fields)}, not a column")
    return 0


cdef Prepared prepare(object source, str name):
    """Make an argument ready for a call; raises TypeError or ValueError that names it."""
    cdef Prepared self = Prepared()
    if PyFloat_Check(source):
        return prepare_number(self, source, NUMBER, name)
    if PyLong_Check(source):
        return prepare_number(self, source, NUMBER if type(source) is bool else WHOLE_NUMBER, name)
    if PyObject_CheckBuffer(source):
        if type(source) is not plain_array:
            refuse_mask(source, name)
        try:
            self.hold(source)
        except (BufferError, ValueError):
            # Some types, such as dates, have no format of buffers.
            return convert(source, name)
        if self.view.ndim == 0:
            if not isinstance(source, numbers.Real) and not hasattr(source, "__float__"):
                raise TypeError(f"{name} must be numbers, not {type(source).__name__}")
            item = source.item() if hasattr(source, "item") else float(source)
            return prepare(real(item, name), name)
        if self.kind != UNKNOWN:
            return adopted(self, name)
    elif isinstance(source, Value):
        raise TypeError(f"{name} is a Value: the function finds its parameters itself")
    elif not hasattr(source, "__len__") and not hasattr(source, "__array__"):
        if not isinstance(source, numbers.Real) and not hasattr(source, "__float__"):
            refuse_parts(source, name)
            raise TypeError(f"{name} must be a number or an array of numbers, not {type(source).__name__}")
        require_no_gradient(source, name)
        return prepare_number(self, float(source), NUMBER, name)
    return convert(source, name)


cdef Prepared prepare_number(Prepared self, object source, int kind, str name):
    self.kind = kind
    self.rows = self.columns = -1
    try:
        self.number = source
    except OverflowError:
        raise too_large(name) from None
    if kind == WHOLE_NUMBER:
        if -(1 << 62) < source < 1 << 62:
            self.whole = source
        else:
            self.kind = NUMBER
    if self.kind == WHOLE_NUMBER:
        self.data = <const char *>&self.whole
    else:
        self.data = <const char *>&self.number
    return self


cdef int require_no_gradient(object source, str name) except -1:
    """Raise TypeError for a tensor that requires a gradient: a program would give it none."""
    if getattr(source, "requires_grad", False) is True:
        raise TypeError(
            f"{name} is a {type(source).__name__} that requires a gradient, which a program does not give: "
            "pass x.detach(); input_gradients returns derivatives by arguments"
        )
    return 0


cdef object real(object item, str name):
    """Return an item of a list as a number; raise TypeError for strings, None and other objects."""
    if isinstance(item, (int, float)):
        return item
    if isinstance(item, (str, bytes, complex, Value)) or not hasattr(item, "__float__"):
        raise TypeError(f"{name} must be numbers, not {type(item).__name__}")
    require_no_gradient(item, name)
    return int(item) if isinstance(item, numbers.Integral) else float(item)


cdef object too_deep(str name):
    return ValueError(f"{name} must have one or two dimensions, not three or more")


cdef object too_large(str name):
    return OverflowError(f"{name}: an integer too large for a float")


cdef object nested(object source, str name, int depth=0):
    """An array or any sequence as lists of Python objects."""
    if isinstance(source, (str, bytes, bytearray, dict, set, frozenset)):
        raise TypeError(f"{name} must be numbers, not a {type(source).__name__}")
    if depth > 1:
        raise too_deep(name)
    require_no_gradient(source, name)
    if hasattr(source, "tolist"):
        items = source.tolist()
        if getattr(source, "null_count", 0):
            # numpy, pandas and polars show nulls as nan.
            items = [NAN if item is None else item for item in items]
        return items
    if hasattr(source, "__array__"):
        return source.__array__().tolist()
    return [
        item if isinstance(item, (int, float)) or not hasattr(item, "__len__")
        else nested(item, name, depth + 1)
        for item in source
    ]


cdef object packed(list flat, str name):
    """Numbers as an array of int64 if all of them are integers that fit, else of float64."""
    if flat and all([isinstance(item, int) and not isinstance(item, bool) for item in flat]):
        try:
            return array.array("q", flat)
        except OverflowError:
            pass
    try:
        return array.array("d", flat)
    except OverflowError:
        raise too_large(name) from None


cdef Prepared convert(object source, str name):
    """Copy anything that holds numbers to float64, or to int64 if all of them are integers."""
    cdef Prepared self = Prepared()
    cdef list rows
    cdef Py_ssize_t columns = -1
    cdef list flat
    cdef str kind = getattr(getattr(source, "dtype", None), "kind", "")
    if kind and kind in "mM":
        # For dates in some units `tolist` gives whole numbers.
        raise TypeError(f"{name} must be numbers, not {source.dtype}")
    if kind and hasattr(source, "__array__"):
        import numpy

        if not isinstance(source, numpy.ndarray):
            # A column of a table, or an array of JAX, whose `astype` gives float32 when asked for float64.
            return prepare(numpy.asarray(source), name)
        if kind in "iufb":
            # An array of another size or byte order.
            fits = kind != "u" or source.itemsize < 8 or not source.size or source.max() <= LARGEST
            self.hold(source.astype("=i8" if kind in "iu" and fits else "=f8", subok=False))
            self.adopt(name)
            return self
    refuse_parts(source, name)
    items = nested(source, name)
    if not isinstance(items, list):
        # It was a tensor without axes.
        return prepare(real(items, name), name)
    rows = items
    if any([isinstance(row, list) for row in rows]):
        flat = []
        for number, row in enumerate(rows):
            if not isinstance(row, list):
                raise ValueError(f"{name} is ragged: row {number} is a number, others are lists")
            if columns >= 0 and len(row) != columns:
                raise ValueError(
                    f"{name} is ragged: row {number} has {len(row)} numbers, row 0 has {columns}"
                )
            columns = len(row)
            for item in row:
                if isinstance(item, list):
                    raise too_deep(name)
                flat.append(real(item, name))
    else:
        flat = [real(item, name) for item in rows]
    self.hold(packed(flat, name))
    self.adopt(name)
    if columns >= 0:
        self.rows, self.columns = len(rows), columns
        self.row_step, self.column_step = columns * 8, 8
    return self


cdef Prepared as_floats(Prepared self):
    """The argument with its integers, if it has any, converted to float64."""
    cdef Prepared converted = self
    cdef Py_ssize_t row, column, columns = max(self.columns, 1)
    cdef const char *at
    if self.kind == WHOLE_NUMBER:
        self.kind, self.data = NUMBER, <const char *>&self.number
    elif self.kind == INDICES:
        flat = array.array("d", bytes(8 * self.rows * columns))
        converted = Prepared()
        converted.hold(flat)
        converted.rows, converted.columns, converted.kind = self.rows, self.columns, REALS
        converted.data = <const char *>converted.view.buf
        converted.row_step, converted.column_step = 8 * columns, 8
        for row in range(self.rows):
            for column in range(columns):
                at = self.data + row * self.row_step + (column * self.column_step if self.columns >= 0 else 0)
                (<double *>converted.view.buf)[row * columns + column] = <double>(<const int64_t *>at)[0]
    return converted


cpdef Prepared prepare_numbers(object source, str name, bint shared):
    """Return an argument of floats; one that is `shared` by all rows is a number or has one dimension."""
    cdef Prepared self = as_floats(prepare(source, name))
    if shared and self.rows >= 0:
        if self.columns >= 0:
            raise ValueError(
                f"{name} is shared by all rows: it must be a number or have one dimension, not two"
            )
        self.kind = NUMBER
        self.columns, self.column_step = self.rows, self.row_step
        self.rows, self.row_step = -1, 0
    return self


cpdef list prepare_arguments(tuple arguments, tuple names, tuple shared=()):
    """Return the arguments ready for a call; TypeError or ValueError names a bad one.

    shared: the names of those that are the same in all rows.
    """
    cdef list ready = []
    cdef Py_ssize_t index
    if len(arguments) != len(names):
        raise TypeError(f"{len(arguments)} arguments for the names {names!r}")
    for index in range(len(arguments)):
        if shared and names[index] in shared:
            ready.append(prepare_numbers(arguments[index], names[index], True))
        else:
            ready.append(prepare(arguments[index], names[index]))
    return ready


cdef tuple signature_of(list ready):
    cdef list keys = []
    cdef Prepared one
    for one in ready:
        keys.append(one.key())
    return tuple(keys)


def describe_signature(tuple signature):
    """Return (kind, columns) for each argument; the columns are None if a row has one number.

    The kind is 'real', 'index', 'number' or 'whole number'.
    """
    return [
        (("real", "index", "number", "whole number")[key % 4], None if key // 4 == 0 else key // 4 - 1)
        for key in signature
    ]
