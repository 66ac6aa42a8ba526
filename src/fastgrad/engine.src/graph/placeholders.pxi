# Support for fastgrad.compile while a function is traced.
#
# A traced function computes with placeholders, so no number in its graph means anything. While it runs, and
# in its thread only, reading a number raises TracingError, as the number would be frozen into the program,
# and operations do not raise for the numbers of their operands.
#
# The data of a placeholder is a nan whose bits name the argument: the number is "unknown". When the trace is
# over, nodes that were computed from placeholders and are still alive become unknown, too. No operation
# outside of a trace takes an unknown number.

cdef object os
import os
cdef object RLock
from _thread import RLock

cdef extern from "pythread.h":
    unsigned long PyThread_get_thread_ident() noexcept nogil

cdef extern from *:
    """
    #include <string.h>

    /* A quiet nan with these bits above the 32 that say whose it is; either sign. */
    #define FASTGRAD_UNKNOWN 0x7ffb6d67u
    static inline uint64_t fastgrad_bits(double number) {
        uint64_t bits;
        memcpy(&bits, &number, sizeof bits);
        return bits;
    }
    static inline int fastgrad_is_unknown(double number) {
        return (fastgrad_bits(number) >> 32 & 0x7fffffffu) == FASTGRAD_UNKNOWN;
    }
    static inline double fastgrad_unknown(uint32_t origin) {
        const uint64_t bits = (uint64_t)FASTGRAD_UNKNOWN << 32 | origin;
        double number;
        memcpy(&number, &bits, sizeof number);
        return number;
    }
    static PyObject *fastgrad_plain_compare(PyObject *left, PyObject *right, int operation) {
        return PyBaseObject_Type.tp_richcompare(left, right, operation);
    }
    static Py_hash_t fastgrad_plain_hash(PyObject *value) {
        return PyBaseObject_Type.tp_hash(value);
    }
    """
    bint is_unknown "fastgrad_is_unknown"(double) noexcept nogil
    double unknown "fastgrad_unknown"(uint32_t) noexcept nogil
    uint64_t bits_of "fastgrad_bits"(double) noexcept nogil
    object plain_compare "fastgrad_plain_compare"(object, object, int)
    Py_hash_t plain_hash "fastgrad_plain_hash"(object) except -1


class TracingError(RuntimeError):
    """A function given to fastgrad.compile does what a program cannot repeat for other rows.

    It reads or compares a number that is only known when the program runs, or uses a node that the
    program has no rule for.
    """


cdef unsigned long tracing_thread = 0
# One function at a time is traced; others wait.
cdef object trace_lock = RLock()
# A leaf that is older than everything the traced function makes, and keeps its chunk in place.
cdef Value first_traced = None
# Nodes of subclasses that the traced function made: no chunk lists them.
cdef list foreign_traced = []
# The first refusal: a function that catches it must not become a program that depends on one row.
cdef object first_refusal = None
# Descriptions of unknown numbers (an argument, or the function that computed it), and each one's index.
cdef list origins = []
cdef dict origin_places = {}


cdef inline bint traced_here() noexcept:
    return tracing and tracing_thread == PyThread_get_thread_ident()


cdef bint interrupts_trace() except -1:
    """Whether the interpreter, not the traced function, called the code that runs now: see interrupts()."""
    from fastgrad.compiler.tracing import interrupts

    return interrupts()


cdef bint made_inside(Node *node) noexcept:
    """Whether the traced function made a node of the pool, that is, it is younger than first_traced."""
    return in_pool(node) and is_traced(node, <Node *><PyObject *>first_traced)


cdef bint is_constant(Value value) except -1:
    """Whether a node was computed only from leaves that the traced function made."""
    cdef Node *node = <Node *><PyObject *>value
    if code_of(node) <= CODE_FRESH:
        return made_inside(node)
    for below in topological_order([value]):
        node = <Node *><PyObject *>below
        if code_of(node) <= CODE_FRESH and not made_inside(node):
            return False
    return True


cdef bint comes_from_placeholder(Value value) except -1:
    cdef Node *node = <Node *><PyObject *>value
    if is_unknown(node.data):
        return True
    if code_of(node) <= CODE_FRESH:
        return False
    return any([is_unknown((<Value>below).data) for below in topological_order([value])])


# -- what is refused in a trace -----------------------------------------------------------------


def _refused(str message):
    """Return a TracingError to raise; if the function catches it, the trace raises it at its end."""
    global first_refusal
    error = TracingError(message)
    if traced_here() and first_refusal is None and not interrupts_trace():
        first_refusal = error
    return error


def _first_refusal():
    """Return the first TracingError of this trace, or None."""
    return first_refusal


cdef int refuse_reading(Value self, str what) except -1:
    """Raise TracingError unless the number is a constant of the function, or is read by an interruption."""
    if not traced_here() or is_constant(self):
        return 0
    if interrupts_trace() and not comes_from_placeholder(self):
        return 0
    raise _refused(
        f"{what} of a Value cannot be used while its function is compiled: it would be frozen into the "
        "program. Use operations in its place: x.exp(), abs(x), and for a choice F.where, F.maximum, relu; "
        "F.softmax and F.logsumexp need no largest value, as they do not overflow"
    )


cdef int refuse_effect(str what) except -1:
    if traced_here() and not interrupts_trace():
        raise _refused(f"{what} has no place in a function that is compiled: it would happen only once")
    return 0


def _refuse_effect(str what):
    """Raise TracingError in a traced function: the effect would happen only once, at the trace."""
    refuse_effect(what)


cdef int refuse_setting(Value self, str what) except -1:
    """Raise TracingError unless the node is a leaf that the traced function made."""
    cdef Node *node = <Node *><PyObject *>self
    if not traced_here():
        return 0
    if code_of(node) > CODE_FRESH or not made_inside(node):
        if comes_from_placeholder(self):
            raise _refused(
                f"setting {what} of what depends on an argument has no place in a function that is compiled"
            )
        return refuse_effect(f"setting {what}")
    if what == "data" and is_used(node):
        raise _refused(
            "the data of a Value that was computed with cannot be set in a function that is compiled: the "
            "program would use the new number in the place of the old; make a new Value"
        )
    return 0


cdef tuple ORDERS = ("<", "<=", "==", "!=", ">", ">=")


cdef object compared(Value self, object other, int operation):
    """The result of `==`, `<` and the like: as for any object, unless a traced function asks."""
    # Equality of Values is identity; equality with a number, and every order, asks for the data.
    if tracing:
        if operation < 2 or operation > 3 or not is_value(<PyObject *>other):
            refuse_reading(self, "the order or the data")
        elif self is not other:
            refuse_equality(self)
            refuse_equality(other)
    elif (operation < 2 or operation > 3) and (
        is_value(<PyObject *>other) or isinstance(other, (int, float))
    ):
        # Arrays and other objects have an answer of their own.
        sign = ORDERS[operation]
        right = "b.data" if is_value(<PyObject *>other) else "b"
        raise TypeError(
            f"'{sign}' not supported between instances of {type(self).__name__!r} and "
            f"{type(other).__name__!r}: compare the numbers, a.data {sign} {right}, or have "
            "fastgrad.functional choose: maximum, minimum, clip, sign, where"
        )
    return plain_compare(self, other, operation)


cdef int refuse_equality(Value self) except -1:
    if traced_here() and comes_from_placeholder(self):
        raise _refused(
            "arguments, and what is computed from them, cannot be compared or looked up while their function "
            "is compiled: the answer would be that of no row. Leave the choice to an operation: where, take"
        )
    return 0


def _is_tracing():
    """Return whether this thread is tracing a function, and the function itself asks."""
    return traced_here() and not interrupts_trace()


# -- unknown numbers ------------------------------------------------------------------------------


cdef double unknown_of(str origin) except? -1.0:
    """The unknown number of a description, which is added if it is new."""
    place = origin_places.get(origin)
    if place is None:
        place = origin_places[origin] = len(origins)
        origins.append(origin)
    return unknown(place)


def _make_unknown(Value self not None, str origin not None):
    """Make a leaf a placeholder, described for error messages."""
    self.data = unknown_of(origin)


cdef int require_known(double number) except -1:
    """Raise TracingError for an unknown number."""
    if is_unknown(number):
        origin = origins[bits_of(number) & 0xffffffff]
        raise TracingError(
            f"{origin} cannot be used here: it has a number only when that function's program runs. "
            "Return it as an output instead of keeping it"
        )
    return 0


def _require_known(Value self not None):
    """Raise TracingError for the data of a placeholder, or of a node computed from one, after the trace."""
    require_known(self.data)


cdef int refuse_unknown(double a, double b) except -1:
    """Raise TracingError for unknown operands of an operation, unless it is traced."""
    if traced_here():
        return 0
    require_known(a)
    return require_known(b)


cdef int refuse_unknown_among(tuple operands) except -1:
    """refuse_unknown() for many operands."""
    cdef Py_ssize_t index
    if not traced_here():
        for index in range(PyTuple_GET_SIZE(<PyObject *>operands)):
            require_known((<Node *>PyTuple_GET_ITEM(<PyObject *>operands, index)).data)
    return 0


cdef int make_unknown(list held, str name) except -1:
    """Of these nodes and those below them, make the data of all that depend on placeholders unknown."""
    cdef double number
    cdef PyObject *operand
    cdef Node *node
    cdef Py_ssize_t index
    if not held:
        return 0
    number = unknown_of(f"a Value that {name} computed while it was compiled")
    for value in topological_order(held):
        node = <Node *><PyObject *>value
        index = 0
        operand = operand_at(node, 0)
        while operand != NULL:
            if is_unknown((<Node *>operand).data):
                node.data = number
                break
            index += 1
            operand = operand_at(node, index)
    return 0


# -- a trace ------------------------------------------------------------------------------------


def _one_at_a_time(run, *arguments):
    """Return run(*arguments); meanwhile no other thread is in here or traces a function."""
    lock = trace_lock
    lock.acquire()
    try:
        return run(*arguments)
    finally:
        lock.release()


def _traced(str name not None, run, *arguments):
    """Return run(*arguments); while it runs, this thread traces the function of this name.

    Written in C, so that no signal's handler runs between begin_trace() and the try that ends the trace.
    """
    lock = trace_lock
    lock.acquire()
    try:
        if tracing:
            raise RuntimeError("another function is being traced")
        begin_trace()
        try:
            # Not returned from here: if end_trace() has no memory, Cython 3.3 would lose what is returned.
            found = run(*arguments)
        finally:
            end_trace(name)
    finally:
        lock.release()
    return found


cdef int begin_trace() except -1:
    global tracing, tracing_thread, first_traced, first_refusal
    first_traced = Value(0.0)
    first_refusal = None
    tracing_thread = PyThread_get_thread_ident()
    tracing = True
    return 0


cdef int end_trace(str name) except -1:
    global tracing, first_traced, foreign_traced, first_refusal
    cdef Value first = first_traced
    cdef list held = foreign_traced
    tracing = False
    first_traced = first_refusal = None
    foreign_traced = []
    return make_unknown(held + computed_since(<Node *><PyObject *>first), name)


def _reset_after_fork():
    """In a forked process, end what its lost threads were doing: tracing, freeing a graph."""
    global tracing, trace_lock
    free_after_fork()
    if not traced_here():
        # no cover: runs in a forked child, whose counts are lost with it
        tracing = False
        trace_lock = RLock()
        forget_all_traced()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
