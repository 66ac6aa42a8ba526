# What fastgrad.compile needs of the engine while a function is traced.
#
# A traced function computes with placeholders, so no number in its graph means anything. For as
# long as it runs, and in its thread only, reading a number that would be frozen into the program
# is refused, and operations do not raise for the operands they happen to see.

import os

cdef extern from "pythread.h":
    unsigned long PyThread_get_thread_ident() noexcept nogil

cdef extern from *:
    """
    static richcmpfunc fastgrad_plain_compare;

    /* The truth is a slot for good: since 3.13 the interpreter remembers which types have none. */
    static void fastgrad_guard_truth(PyTypeObject *type, inquiry truth) {
        type->tp_as_number->nb_bool = truth;
    }
    /* Only while tracing has Value an order of its own: at other times the slot that CPython filled
       stays in place, and costs what it costs without fastgrad.compile. */
    static void fastgrad_guard(PyTypeObject *type, richcmpfunc compare) {
        fastgrad_plain_compare = type->tp_richcompare;
        type->tp_richcompare = compare;
    }
    static void fastgrad_unguard(PyTypeObject *type) {
        type->tp_richcompare = fastgrad_plain_compare;
    }
    static PyObject *fastgrad_compare(PyObject *left, PyObject *right, int operation) {
        return fastgrad_plain_compare(left, right, operation);
    }
    """
    void guard_truth "fastgrad_guard_truth"(PyTypeObject *, int (*)(PyObject *) except -1) noexcept
    void guard "fastgrad_guard"(
        PyTypeObject *, PyObject *(*)(PyObject *, PyObject *, int) except NULL
    ) noexcept
    void unguard "fastgrad_unguard"(PyTypeObject *) noexcept
    object plain_compare "fastgrad_compare"(object, object, int)


class TracingError(RuntimeError):
    """A function given to fastgrad.compile does what a program cannot repeat for other rows.

    It reads or compares a number that is only known when the program runs, or uses a node that the
    program has no rule for.
    """


cdef bint tracing = False
cdef unsigned long tracing_thread = 0
# A leaf that is older than everything the traced function makes, and keeps its chunk in place.
cdef Value first_traced = None


cdef inline bint traced_here() noexcept:
    return tracing and tracing_thread == PyThread_get_thread_ident()


cdef bint made_inside(Node *node) noexcept:
    """Whether a node of the pool was made by the traced function: is younger than first_traced."""
    return in_pool(node) and is_younger(node, <Node *><PyObject *>first_traced)


cdef int refuse_reading(Value self, str what) except -1:
    """Raise TracingError unless the number is that of a leaf which the traced function made."""
    cdef Node *node = <Node *><PyObject *>self
    if not traced_here() or (code_of(node) <= CODE_FRESH and made_inside(node)):
        return 0
    raise TracingError(
        f"{what} of a Value cannot be used while its function is compiled: it would be frozen into the "
        "program. Leave the choice to an operation: where, maximum, relu"
    )


cdef int refuse_effect(str what) except -1:
    if traced_here():
        raise TracingError(f"{what} has no place in a function that is compiled: it would happen only once")
    return 0


cdef int truth_while_tracing(PyObject *self) except -1:
    """True, as for any object, except while tracing."""
    if tracing:
        refuse_reading(<Value>self, "the truth")
    return 1


cdef PyObject *compare_while_tracing(PyObject *left, PyObject *right, int operation) except NULL:
    cdef object result = compared(<object>left, <object>right, operation)
    Py_INCREF(<PyObject *>result)
    return <PyObject *>result


cdef object compared(object left, object right, int operation):
    # Equality of Values is identity; equality with a number, and every order, asks for the data.
    if operation < 2 or operation > 3 or not is_value(<PyObject *>right):
        refuse_reading(left, "the order or the data")
    return plain_compare(left, right, operation)


def _is_tracing():
    """Return whether this thread is tracing a function."""
    return traced_here()


def _begin_tracing():
    """Have this thread trace; the caller sees to it that no other one does."""
    global tracing, tracing_thread, first_traced
    if tracing:
        raise RuntimeError("another function is being traced")
    first_traced = Value(0.0)
    tracing_thread = PyThread_get_thread_ident()
    tracing = True
    guard(value_type, compare_while_tracing)


def _end_tracing():
    """Undo _begin_tracing; does nothing if there is nothing to undo."""
    global tracing, first_traced
    if tracing:
        unguard(value_type)
        tracing = False
        first_traced = None


def _reset_after_fork():
    """In a new process, end what threads that are not in it were doing: tracing, freeing a graph."""
    global abandoned
    abandoned = abandoned or draining
    drain()
    if not traced_here():
        _end_tracing()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
