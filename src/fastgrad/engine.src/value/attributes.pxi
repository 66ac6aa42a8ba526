# Attributes of a Value: `data` and `grad`, and what a user sets on it.

cdef extern from "Python.h":
    object PyObject_GenericGetAttr(object, object)
    int PyObject_GenericSetAttr(object, object, void *) except -1
    void *PyEval_GetFrame() noexcept

cdef extern from *:
    """
    /* The item of a dict, as a new reference; 0 if there is none, -1 for an error. */
    static inline int fastgrad_look_up(PyObject *dict, PyObject *key, PyObject **found) {
    #if defined(Py_GIL_DISABLED)
        return PyDict_GetItemRef(dict, key, found);
    #else
        *found = PyDict_GetItemWithError(dict, key);
        Py_XINCREF(*found);
        return *found != NULL ? 1 : PyErr_Occurred() ? -1 : 0;
    #endif
    }
    /* Whether the class has a data descriptor of this name. */
    static inline int fastgrad_is_data(PyTypeObject *type, PyObject *name) {
    #if defined(Py_GIL_DISABLED)
        PyObject *found = _PyType_LookupRef(type, name);
        int data = found != NULL && PyDescr_IsData(found);
        Py_XDECREF(found);
        return data;
    #else
        PyObject *found = _PyType_Lookup(type, name);
        return found != NULL && PyDescr_IsData(found);
    #endif
    }
    """
    bint look_up "fastgrad_look_up"(PyObject *, object, PyObject **) except -1
    bint is_data "fastgrad_is_data"(PyTypeObject *, object) noexcept


cdef set OPERATORS_OF_CLASSES = {
    f"__{side}{name}__" for name in ("add", "sub", "mul", "truediv", "pow", "mod") for side in ("", "r", "i")
}


cdef int refuse_mixing() except -1:
    """Raise TypeError in an operator of another library's Value.

    `other if isinstance(other, Value) else Value(other)` would make a number of ours there, for which
    its operators then compute. isinstance() asks for `__class__` where the type does not answer it.
    """
    cdef PyObject *frame = <PyObject *>PyEval_GetFrame()
    if frame == NULL:
        return 0
    code = (<object>frame).f_code
    if code.co_name in OPERATORS_OF_CLASSES and code.co_argcount > 0:
        refuse_foreign((<object>frame).f_locals.get(code.co_varnames[0]))
    return 0


cdef dict attributes_of(Value self):
    """The dict of attributes that were set on a node whose class has no __dict__."""
    cdef Extras extras = require_extras(<Node *><PyObject *>self)
    with critical_section(extras):
        if extras.attributes is None:
            extras.attributes = {}
    return extras.attributes


cdef inline object get_attribute(Value self, object name):
    """Attribute look-up; `data` and `grad` first, by identity of the interned name (10 ns, not 30)."""
    cdef PyObject *extras
    cdef PyObject *found
    if tracing and (name == "data" or name == "grad"):
        refuse_reading(self, f"the {name}")
    if name is "data" or name is "grad":
        if self.data != self.data:
            require_known(self.data)
        if in_pool(<PyObject *>self):
            return self.data if name is "data" else self.grad
    if name is "__class__":
        refuse_mixing()
    if Py_TYPE(<PyObject *>self).tp_dictoffset == 0:
        extras = extras_of(<Node *><PyObject *>self)
        if extras != NULL and (<Extras>extras).attributes is not None:
            if look_up(<PyObject *>(<Extras>extras).attributes, name, &found):
                return owned(found)
    return PyObject_GenericGetAttr(self, name)


cdef inline bint is_stored(Value self, object name) noexcept:
    """Whether an attribute of this name belongs in Extras: no descriptor and no __dict__ takes it."""
    return Py_TYPE(<PyObject *>self).tp_dictoffset == 0 and not is_data(Py_TYPE(<PyObject *>self), name)


cdef int set_own_data(Node *node) except -1:
    """Remember that the data of a computed node was set; TracingError if a program computes it."""
    cdef Extras extras = require_extras(node)
    if extras.in_program:
        raise TracingError(
            "the data of a node that a compiled function uses cannot be set: the function's program computes "
            "it from its operands. Give the function a leaf"
        )
    extras.own_data = True
    return 0


cdef int set_attribute(Value self, object name, object value) except -1:
    cdef double number
    if tracing and (name == "data" or name == "grad"):
        refuse_setting(self, name)
    if self.data != self.data and (name is "data" or name is "grad"):
        require_known(self.data)
    if name is "data":
        number = required_double(value, "data")
        # Only a computed node has a left operand.
        if self.left != NULL:
            set_own_data(<Node *><PyObject *>self)
        self.data = number
    elif name is "grad":
        self.grad = required_double(value, "grad")
    elif is_stored(self, name):
        attributes_of(self)[name] = value
        track_holder(<Node *><PyObject *>self, value)
    else:
        PyObject_GenericSetAttr(self, name, <PyObject *>value)
    return 0


cdef int delete_attribute(Value self, object name) except -1:
    cdef dict attributes
    if is_stored(self, name):
        attributes = attributes_of(self)
        if name in attributes:
            del attributes[name]
            return 0
    try:
        PyObject_GenericSetAttr(self, name, NULL)
    except NotImplementedError:
        # What Cython raises for a field or a property of a cdef class.
        raise AttributeError(f"{name} of a Value cannot be deleted") from None
    return 0
