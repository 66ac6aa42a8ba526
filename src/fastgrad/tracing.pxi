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

    /* Only while tracing have Values an order of their own: at other times the slot that CPython filled
       stays in place, and costs what it costs without fastgrad.compile. */
    static void fastgrad_replace(PyTypeObject *type, richcmpfunc known, richcmpfunc by) {
        if (type->tp_richcompare == known) type->tp_richcompare = by;
    }
    static void fastgrad_guard(PyTypeObject *type, PyTypeObject *base, richcmpfunc compare) {
        if (type == base) fastgrad_plain_compare = base->tp_richcompare;
        fastgrad_replace(type, fastgrad_plain_compare, compare);
    }
    static void fastgrad_unguard(PyTypeObject *type, richcmpfunc compare) {
        fastgrad_replace(type, compare, fastgrad_plain_compare);
    }
    static PyObject *fastgrad_compare(PyObject *left, PyObject *right, int operation) {
        return fastgrad_plain_compare(left, right, operation);
    }
    """
    ctypedef PyObject *(*richcmpfunc)(PyObject *, PyObject *, int) except NULL
    void guard "fastgrad_guard"(PyTypeObject *, PyTypeObject *, richcmpfunc) noexcept
    void unguard "fastgrad_unguard"(PyTypeObject *, richcmpfunc) noexcept
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
# A function that catches what refuses it must not become a program that depends on one row.
cdef object first_refusal = None


cdef inline bint traced_here() noexcept:
    return tracing and tracing_thread == PyThread_get_thread_ident()


cdef bint made_inside(Node *node) noexcept:
    """Whether a node of the pool was made by the traced function: is younger than first_traced."""
    return in_pool(node) and is_younger(node, <Node *><PyObject *>first_traced)


def _refused(str message):
    """Return a TracingError to raise, which the trace raises in the end if the function catches it."""
    global first_refusal
    error = TracingError(message)
    if traced_here() and first_refusal is None:
        first_refusal = error
    return error


def _first_refusal():
    """Return the first TracingError of this trace, or None."""
    return first_refusal


cdef int refuse_reading(Value self, str what) except -1:
    """Raise TracingError unless the number is that of a leaf which the traced function made."""
    cdef Node *node = <Node *><PyObject *>self
    if not traced_here() or (code_of(node) <= CODE_FRESH and made_inside(node)):
        return 0
    raise _refused(
        f"{what} of a Value cannot be used while its function is compiled: it would be frozen into the "
        "program. Leave the choice to an operation: F.where, F.maximum, relu. F.softmax and F.logsumexp need "
        "no largest value: they do not overflow"
    )


cdef int refuse_effect(str what) except -1:
    if traced_here():
        raise _refused(f"{what} has no place in a function that is compiled: it would happen only once")
    return 0


cdef PyObject *compare_while_tracing(PyObject *left, PyObject *right, int operation) except NULL:
    cdef object result = compared(<object>left, <object>right, operation)
    Py_INCREF(<PyObject *>result)
    return <PyObject *>result


cdef object compared(object left, object right, int operation):
    # Equality of Values is identity; equality with a number, and every order, asks for the data.
    if operation < 2 or operation > 3 or not is_value(<PyObject *>right):
        refuse_reading(left, "the order or the data")
    return plain_compare(left, right, operation)


cdef list with_subclasses(object kind):
    """The class and, after it, all that inherit from it, each of which has a slot of its own."""
    cdef list found = [kind]
    for subclass in type.__subclasses__(kind):
        found.extend(with_subclasses(subclass))
    return found


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
    for kind in with_subclasses(Value):
        guard(<PyTypeObject *>kind, value_type, compare_while_tracing)


def _end_tracing():
    """Undo _begin_tracing; does nothing if there is nothing to undo."""
    global tracing, first_traced, first_refusal
    first_refusal = None
    if tracing:
        for kind in with_subclasses(Value):
            unguard(<PyTypeObject *>kind, compare_while_tracing)
        tracing = False
        first_traced = None


def _reset_after_fork():
    """In a new process, end what threads that are not in it were doing: tracing, freeing a graph."""
    global abandoned
    abandoned = abandoned or draining
    drain()
    if not traced_here():
        _end_tracing()  # no cover: runs in a forked child, whose counts are lost with it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
