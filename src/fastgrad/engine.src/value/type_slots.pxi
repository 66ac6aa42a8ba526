# The slots of Value's type that Cython cannot write: the pool's allocation and deallocation, the
# collector's view of a node, construction by vectorcall, and assignment to the class.

cdef extern from *:
    """
    typedef PyObject *(*fastgrad_vectorcall)(PyObject *, PyObject *const *, size_t, PyObject *);

    static initproc fastgrad_init;
    static PySequenceMethods fastgrad_sequence;
    static PyMappingMethods fastgrad_mapping;
    static PyAsyncMethods fastgrad_async;

    /* False once the user has assigned Value.__init__ or Value.__new__. */
    static inline int fastgrad_constructor_is_ours(PyTypeObject *type, newfunc make) {
        return type->tp_init == fastgrad_init && type->tp_new == make;
    }

    static void fastgrad_install(
        PyTypeObject *type,
        newfunc make,
        destructor deallocate,
        traverseproc traverse,
        inquiry clear,
        fastgrad_vectorcall construct
    ) {
        fastgrad_init = type->tp_init;
        type->tp_new = make;
        type->tp_dealloc = deallocate;
        type->tp_traverse = traverse;
        type->tp_clear = clear;
        type->tp_vectorcall = construct;
        type->tp_flags |= Py_TPFLAGS_HAVE_GC;
        /* Without these, `Value.__getitem__ = f` would find no slot to set. */
        if (type->tp_as_sequence == NULL) type->tp_as_sequence = &fastgrad_sequence;
        if (type->tp_as_mapping == NULL) type->tp_as_mapping = &fastgrad_mapping;
        if (type->tp_as_async == NULL) type->tp_as_async = &fastgrad_async;
        /* micrograd's users write `Value.sin = sin`. */
        type->tp_flags &= ~Py_TPFLAGS_IMMUTABLETYPE;
        PyType_Modified(type);
    }

    /* A node of a subclass; object.__new__ refuses a class with abstract methods, and names them. */
    static PyObject *fastgrad_allocate(PyTypeObject *type) {
        PyObject *nothing, *refused;
        if (!PyType_HasFeature(type, Py_TPFLAGS_IS_ABSTRACT)) return type->tp_alloc(type, 0);
        nothing = PyTuple_New(0);
        if (nothing == NULL) return NULL;
        refused = PyBaseObject_Type.tp_new(type, nothing, NULL);
        Py_DECREF(nothing);
        return refused;
    }

    static PyObject *fastgrad_absent(PyObject *self, PyObject *instance, PyObject *owner) {
        (void)self, (void)instance, (void)owner;
        PyErr_SetNone(PyExc_AttributeError);
        return NULL;
    }

    static void fastgrad_make_absent(PyTypeObject *type) {
        type->tp_descr_get = fastgrad_absent;
    }

    static PyObject *fastgrad_generic_call(
        PyTypeObject *type, PyObject *const *args, size_t nargsf, PyObject *kwnames
    ) {
        Py_ssize_t count = PyVectorcall_NARGS(nargsf), index;
        PyObject *result = NULL, *keywords = NULL, *positional = PyTuple_New(count);
        if (positional == NULL) return NULL;
        for (index = 0; index < count; index++) {
            Py_INCREF(args[index]);
            PyTuple_SET_ITEM(positional, index, args[index]);
        }
        if (kwnames != NULL) {
            keywords = PyDict_New();
            if (keywords == NULL) goto done;
            for (index = 0; index < PyTuple_GET_SIZE(kwnames); index++) {
                if (PyDict_SetItem(keywords, PyTuple_GET_ITEM(kwnames, index), args[count + index]) < 0)
                    goto done;
            }
        }
        result = PyType_Type.tp_call((PyObject *)type, positional, keywords);
    done:
        Py_DECREF(positional);
        Py_XDECREF(keywords);
        return result;
    }
    """
    ctypedef PyObject *(*newfunc)(PyTypeObject *, PyObject *, PyObject *) noexcept
    Py_ssize_t PyVectorcall_NARGS(size_t) noexcept
    bint constructor_is_ours "fastgrad_constructor_is_ours"(PyTypeObject *, newfunc) noexcept
    object generic_call "fastgrad_generic_call"(PyTypeObject *, PyObject **, size_t, PyObject *)
    void install "fastgrad_install"(
        PyTypeObject *, newfunc, void (*)(PyObject *) noexcept,
        int (*)(PyObject *, visitproc, void *) noexcept, int (*)(PyObject *) noexcept, void *
    ) noexcept
    PyObject *allocate "fastgrad_allocate"(PyTypeObject *) noexcept
    void make_absent "fastgrad_make_absent"(PyTypeObject *) noexcept


cdef class _Absent:
    """A descriptor that raises AttributeError: looking up a name without an entry takes 200 ns more."""


cdef PyObject *make(PyTypeObject *type, PyObject *args, PyObject *keywords) noexcept:
    """tp_new: a fresh leaf, in the pool if it is exactly a Value."""
    if type != value_type:
        return allocate(type)
    return make_in_pool()


cdef PyObject *make_in_pool() except NULL:
    return <PyObject *>new_node(CODE_FRESH, 0.0)


cdef object construct(PyTypeObject *type, PyObject **args, size_t flags, PyObject *names):
    """tp_vectorcall: Value(number) without a tuple of arguments; everything else as type() does."""
    cdef double number
    if PyVectorcall_NARGS(flags) == 1 and names == NULL and constructor_is_ours(type, make):
        if is_number(<object>args[0]):
            number = to_double(<object>args[0])
            return owned(new_node(CODE_LEAF, number))
    return generic_call(type, args, flags, names)


value_type = <PyTypeObject *>Value
install(value_type, make, deallocate, traverse_node, clear_node, <void *>construct)
# The priority is above that of numpy's scalars, so they leave `scalar * value` to us, and below that of its
# arrays, whose operators, comparisons and functions go element by element, as for any object.
Value.__array_priority__ = -1.0
make_absent(<PyTypeObject *>_Absent)
# numpy asks for these before the priority, or wherever it makes an array.
for _name in ("__array_ufunc__", "__array__", "__array_interface__", "__array_struct__"):
    setattr(Value, _name, _Absent())
