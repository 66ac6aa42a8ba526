# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False, binding=False
"""Which names a function reads while it is traced, and whether these, and containers, are still the same."""

import opcode

from cython cimport boundscheck

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.list cimport PyList_AsTuple
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from libc.string cimport memcmp

cimport fastgrad.ops

__all__ = ["ABSENT", "Contents", "Snapshot", "Watch", "class_table", "dotted_names"]

cdef extern from "Python.h":
    PyObject *PyCell_Get(object) except? NULL
    PyObject *PyList_GET_ITEM(list, Py_ssize_t) noexcept
    PyObject *PyDict_GetItemWithError(dict, object) except? NULL
    PyObject *PyFunction_GetCode(object) except NULL
    PyObject *PyFunction_GetDefaults(object) except? NULL
    PyObject *PyFunction_GetKwDefaults(object) except? NULL
    int PY_VERSION_HEX

cdef extern from *:
    """
    typedef int (*fastgrad_profile)(PyObject *, PyFrameObject *, int, PyObject *);

    static void fastgrad_get_profile(fastgrad_profile *function, PyObject **object) {
        PyThreadState *state = PyThreadState_Get();
        *function = state->c_profilefunc;
        *object = state->c_profileobj;
        Py_XINCREF(*object);
    }
    static PyObject *fastgrad_code_of(PyFrameObject *frame) {
        return (PyObject *)PyFrame_GetCode(frame);
    }
    /* The object that a C function is bound to; NULL for other callables. */
    static PyObject *fastgrad_bound_to(PyObject *called) {
        return PyCFunction_Check(called) ? PyCFunction_GET_SELF(called) : NULL;
    }
    static PyObject *fastgrad_table(PyObject *object) {
        PyTypeObject *type = (PyTypeObject *)object;
        PyObject *table = PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) ? type->tp_dict : Py_None;
        Py_INCREF(table);
        return table;
    }
    #ifndef Py_GIL_DISABLED
    #define FASTGRAD_BEGIN(object) {
    #define FASTGRAD_END() }
    #else
    #define FASTGRAD_BEGIN(object) Py_BEGIN_CRITICAL_SECTION(object)
    #define FASTGRAD_END() Py_END_CRITICAL_SECTION()
    #endif
    /* Whether a list has these objects. */
    static int fastgrad_same_items(PyObject *list, PyObject *kept) {
        int same;
        FASTGRAD_BEGIN(list);
        const Py_ssize_t size = PyList_GET_SIZE(list);
        same = size == PyTuple_GET_SIZE(kept) && (!size || memcmp(
            ((PyListObject *)list)->ob_item, ((PyTupleObject *)kept)->ob_item,
            size * sizeof(PyObject *)) == 0);
        FASTGRAD_END();
        return same;
    }
    /* Whether a dict has these keys and values, one after the other, in this order. */
    static int fastgrad_same_entries(PyObject *dict, PyObject *kept) {
        int same = 1;
        FASTGRAD_BEGIN(dict);
        const Py_ssize_t size = PyTuple_GET_SIZE(kept);
        Py_ssize_t place = 0, at = 0;
        PyObject *key, *value;
        while (same && PyDict_Next(dict, &place, &key, &value)) {
            same = at + 1 < size && PyTuple_GET_ITEM(kept, at) == key
                && PyTuple_GET_ITEM(kept, at + 1) == value;
            at += 2;
        }
        same = same && at == size;
        FASTGRAD_END();
        return same;
    }
    """
    bint same_items "fastgrad_same_items"(PyObject *, PyObject *) noexcept
    bint same_entries "fastgrad_same_entries"(PyObject *, PyObject *) noexcept
    ctypedef struct PyFrameObject
    ctypedef int (*Profile "fastgrad_profile")(PyObject *, PyFrameObject *, int, PyObject *) except -1
    void PyEval_SetProfile(Profile, PyObject *)
    void get_profile "fastgrad_get_profile"(Profile *, PyObject **)
    object code_of "fastgrad_code_of"(PyFrameObject *)
    PyObject *bound_to "fastgrad_bound_to"(PyObject *)
    object table_of_type "fastgrad_table"(object)
    enum:
        PyTrace_CALL
        PyTrace_C_CALL
        PyTrace_C_EXCEPTION

# Stands for the object of a name or a cell that is unbound.
ABSENT = type("Absent", (), {"__repr__": lambda self: "nothing"})()
cdef PyObject *absent = <PyObject *>ABSENT


def class_table(kind):
    """Return the dict in which a class made in Python keeps its attributes; None for one made in C."""
    if not isinstance(kind, type):
        raise TypeError(f"only a class has a table of attributes, not a {type(kind).__name__}")
    return table_of_type(kind)


cdef inline bint differs(PyObject *found, PyObject *kept) noexcept:
    return found != kept and (found != NULL or kept != absent)


cdef class Contents:
    """What a container, or an object in slots, contained at one time: these objects, or these bytes."""

    cdef readonly object thing
    cdef bint lists
    cdef tuple slots
    # The items of a list; of a dict, keys and values; of an array of objects, its objects; of slots, what is
    # in them.
    cdef tuple kept
    cdef frozenset members
    cdef bytes numbers

    def __cinit__(self, thing not None, tuple slots not None=()):
        self.thing, self.slots = thing, slots
        if slots:
            self.kept = self.in_slots()
        elif isinstance(thing, list):
            self.lists = True
            self.kept = PyList_AsTuple(thing)
        elif isinstance(thing, set):
            self.members = frozenset(thing)
        elif isinstance(thing, dict):
            self.kept = tuple([each for entry in dict.items(thing) for each in entry])
        elif PyObject_CheckBuffer(thing) and hasattr(thing, "tobytes") and hasattr(thing, "tolist"):
            # Whose bytes are addresses is kept alive, so that no other object has them.
            self.kept = (thing.tolist(),) if getattr(thing, "dtype", None) == object else ()
            self.numbers = thing.tobytes()
        else:
            raise TypeError(f"contents are a container's or those of slots, not a {type(thing).__name__}'s")

    cpdef bint is_current(self) except -1:
        """Return whether the contents are still the same."""
        if self.lists:
            return same_items(<PyObject *>self.thing, <PyObject *>self.kept)
        if self.slots:
            return all([found is kept for found, kept in zip(self.in_slots(), self.kept)])
        if self.numbers is not None:
            return self.has_numbers()
        if self.members is not None:
            return set.__eq__(self.thing, self.members)
        return same_entries(<PyObject *>self.thing, <PyObject *>self.kept)

    cdef tuple in_slots(self):
        return tuple([getattr(self.thing, name, ABSENT) for name in self.slots])

    cdef bint has_numbers(self) except -1:
        cdef Py_buffer view
        cdef bint same
        try:
            # Not kept: an array that is resized would leave it behind.
            PyObject_GetBuffer(self.thing, &view, PyBUF_SIMPLE)
        except (BufferError, ValueError):
            # The numbers are not side by side.
            return self.thing.tobytes() == self.numbers
        same = view.len == len(self.numbers) and memcmp(
            view.buf, PyBytes_AS_STRING(self.numbers), view.len
        ) == 0
        PyBuffer_Release(&view)
        return same


cdef class Snapshot:
    """The contents of cells, names, functions and containers at one time.

    `cells` are triples of a closure's cell, its contents and its name; `names` are triples of a dict, a key
    and its value, ABSENT if the key is not in the dict; `functions` are (function, code, defaults, defaults
    by name), with ABSENT for no defaults; `contents` are Contents.
    """

    def __init__(
        self, list cells not None, list names not None, list functions not None, list contents not None
    ):
        if (
            any([len(entry) != 3 for entry in cells])
            or any([len(entry) != 3 for entry in names])
            or any([len(entry) != 4 for entry in functions])
            or not all([isinstance(each, Contents) for each in contents])
        ):
            raise ValueError(
                "a snapshot is of triples of cells and names, of functions in four parts, and of Contents"
            )
        self.cells = list(cells)
        self.names = list(names)
        self.functions = list(functions)
        self.contents = list(contents)

    cpdef bint is_current(self) except -1:
        """Return whether all contents are still the same objects."""
        cdef PyObject *found
        cdef tuple entry
        cdef Py_ssize_t at
        cdef PyObject *each
        for at in range(len(self.contents)):
            # There may be thousands of lists.
            each = PyList_GET_ITEM(self.contents, at)
            if (<Contents>each).lists:
                if not same_items(<PyObject *>(<Contents>each).thing, <PyObject *>(<Contents>each).kept):
                    return False
            elif not (<Contents>each).is_current():
                return False
        for entry in self.cells:
            found = PyCell_Get(entry[0])
            Py_XDECREF(found)
            if differs(found, <PyObject *>entry[1]):
                return False
        for entry in self.names:
            if differs(PyDict_GetItemWithError(<dict>entry[0], entry[1]), <PyObject *>entry[2]):
                return False
        for entry in self.functions:
            if (
                PyFunction_GetCode(entry[0]) != <PyObject *>entry[1]
                or differs(PyFunction_GetDefaults(entry[0]), <PyObject *>entry[2])
                or differs(PyFunction_GetKwDefaults(entry[0]), <PyObject *>entry[3])
            ):
                return False
        return True


cdef class Watch:
    """Sees which frames begin, and which C function fails, while it calls a function in this thread."""

    # Called with each frame that begins; returns whether it need not see this code again.
    cdef object enter
    cdef dict seen
    # The global generator of `random`, and whether one of its methods in C was called.
    cdef object generator
    cdef readonly bint drew
    # The C function that raised; None if another call has begun since.
    cdef readonly object failed
    cdef Profile previous
    cdef PyObject *previous_object

    def __init__(self, enter, generator):
        self.enter = enter
        self.generator = generator
        self.seen = {}

    def call(self, function, tuple arguments, dict named):
        """Return function(*arguments, **named)."""
        get_profile(&self.previous, &self.previous_object)
        PyEval_SetProfile(look, <PyObject *>self)
        try:
            return function(*arguments, **named)
        finally:
            PyEval_SetProfile(self.previous, self.previous_object)
            Py_XDECREF(self.previous_object)


cdef int look(PyObject *self, PyFrameObject *frame, int event, PyObject *called) except -1:
    """The profile function: note the event, and pass it on to a profiler that was set before."""
    cdef Watch watch = <Watch>self
    if watch.previous != NULL:
        watch.previous(watch.previous_object, frame, event, called)
    if event == PyTrace_CALL:
        watch.failed = None
        code = code_of(frame)
        # By identity: comparing and hashing code objects goes through all their contents.
        key = <size_t><PyObject *>code
        if key not in watch.seen and watch.enter(<object><PyObject *>frame):
            watch.seen[key] = code
    elif event == PyTrace_C_CALL:
        watch.failed = None
        if bound_to(called) == <PyObject *>watch.generator and (<object>called).__name__ != "getstate":
            watch.drew = True
    elif event == PyTrace_C_EXCEPTION:
        watch.failed = <object>called
    return 0


cdef int opcode_of(str name):
    return opcode.opmap.get(name, -1)


cdef int EXTENDED_ARG = opcode_of("EXTENDED_ARG")
cdef int LOAD_GLOBAL = opcode_of("LOAD_GLOBAL")
cdef int LOAD_NAME = opcode_of("LOAD_NAME")
cdef int LOAD_FROM_DICT_OR_GLOBALS = opcode_of("LOAD_FROM_DICT_OR_GLOBALS")
cdef int LOAD_DEREF = opcode_of("LOAD_DEREF")
cdef int LOAD_ATTR = opcode_of("LOAD_ATTR")
cdef int LOAD_METHOD = opcode_of("LOAD_METHOD")
cdef int IMPORT_NAME = opcode_of("IMPORT_NAME")
cdef int IMPORT_FROM = opcode_of("IMPORT_FROM")
cdef int STORE_FAST = opcode_of("STORE_FAST")
cdef int STORE_FAST_LOAD_FAST = opcode_of("STORE_FAST_LOAD_FAST")
cdef set LOADS = {opcode_of(name) for name in ("LOAD_FAST", "LOAD_FAST_BORROW", "LOAD_FAST_CHECK")}
cdef set DOUBLE_LOADS = {
    opcode_of(name) for name in ("LOAD_FAST_LOAD_FAST", "LOAD_FAST_BORROW_LOAD_FAST_BORROW")
}
cdef int ATTRIBUTE_SHIFT = PY_VERSION_HEX >= 0x030c0000
# Beside the name, whether the import is lazy.
cdef int IMPORT_SHIFT = 2 * (PY_VERSION_HEX >= 0x030f0000)


@boundscheck(True)
def dotted_names(code not None):
    """Return the names that code reads: (where, name, attributes...), each once.

    `w.a.b` is ("global", "w", "a", "b"). `where` is "global"; "free" for a variable of an enclosing function;
    "local" for a variable of its own, if attributes of it are read; "import" for a module imported inside;
    "found" for what has no name, of which `layers[0].a.b` reads ("found", "a", "b").
    """
    cdef bytes text = code.co_code
    cdef const unsigned char *at = text
    cdef tuple names = code.co_names, free = code.co_freevars, variables = code.co_varnames
    cdef tuple path = None, module = None, part = None
    cdef dict found = {}, imported = {}
    cdef Py_ssize_t index, argument, extended = 0
    cdef int step
    variables += tuple([name for name in code.co_cellvars if name not in variables]) + free
    for index in range(0, len(text), 2):
        step, argument = at[index], at[index + 1] | extended
        if step == EXTENDED_ARG:
            extended = argument << 8
            continue
        extended = 0
        if step == 0:
            # The interpreter's inline cache, which follows an instruction.
            continue
        if step == LOAD_ATTR or step == LOAD_METHOD:
            path = path or ("found",)
            path += (names[argument >> ATTRIBUTE_SHIFT if step == LOAD_ATTR else argument],)
            continue
        if module is not None and step == IMPORT_FROM:
            path = None
            part = module + (names[argument],)
            found[part] = None
            continue
        if path is not None and (len(path) > 2 or (path[0] != "local" and path[0] != "free")):
            found[path] = None
        if module is not None and (step == STORE_FAST or step == STORE_FAST_LOAD_FAST):
            variable = variables[argument if step == STORE_FAST else argument >> 4]
            # `import a.b` stores a.
            imported[variable] = part or ("import", module[1].partition(".")[0])
        path = None
        if step == LOAD_GLOBAL:
            path = ("global", names[argument >> 1])
        elif step == LOAD_NAME or step == LOAD_FROM_DICT_OR_GLOBALS:
            path = ("global", names[argument])
        elif step == LOAD_DEREF:
            path = ("free" if variables[argument] in free else "local", variables[argument])
        elif step in LOADS:
            path = ("local", variables[argument])
        elif step in DOUBLE_LOADS or step == STORE_FAST_LOAD_FAST:
            path = ("local", variables[argument & 15])
        elif step == IMPORT_NAME:
            path = module = ("import", names[argument >> IMPORT_SHIFT])
            part = None
        if path is not None and path[0] == "local" and path[1] in imported:
            path = imported[path[1]]
    return list(found)
