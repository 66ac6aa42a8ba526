# From a call to its program: the signature of the arguments selects it, if all watched names are unchanged.

from types import GenericAlias

from cython cimport critical_section

from fastgrad.compiler.arguments import StructureError
from fastgrad.engine import _is_tracing, _refused


cdef int refuse_in_trace(str name, str what) except -1:
    """Raise TracingError in a function that is being traced: its program would not repeat the call."""
    if _is_tracing():
        raise _refused(
            f"{name}.{what} has no place in a function that is compiled: it would happen only once"
        )
    return 0


cdef bint has_reduction(dict options, tuple names) except -1:
    """Whether the options, other than arguments of the function, say how to reduce the rows."""
    for name in ("reduction", "row_weights"):
        if name in options and name not in names:
            return True
    return False


cdef class Programs:
    """The programs of one function, by signature, the snapshot they were traced under, and its calls."""

    # None if it was unpickled and the function cannot be found.
    cdef public object function
    cdef public str name
    cdef public tuple names
    # Whether all arguments may be given by position.
    cdef public bint by_position
    # The options, unless a call gives others.
    cdef public int threads
    cdef public bint strict
    cdef public Py_ssize_t block
    # The names of the arguments that all rows share.
    cdef public tuple shared
    cdef public dict programs
    cdef public Snapshot snapshot
    cdef public Program latest
    # For a method compiled in its class, `key` is the name under which each instance keeps its own compiled
    # copy in __dict__. A copy has `instance`, the object it is bound to, and `origin`, the class's method.
    cdef public str key
    cdef public object instance
    cdef public Programs origin

    @classmethod
    def __class_getitem__(cls, returned):
        return GenericAlias(cls, returned)

    def __get__(self, instance, owner):
        """Return the compiled method of an instance: the one that the instance keeps, or a new one."""
        cdef Programs kept
        if instance is None:
            return self
        attributes = getattr(instance, "__dict__", None)
        if self.key is not None and type(attributes) is dict:
            found = (<dict>attributes).get(self.key)
            if isinstance(found, Programs):
                kept = found
                # A copied instance has the original's entry in its __dict__.
                if kept.instance is instance and kept.origin is self:
                    return kept
        return self._method(instance, owner, attributes)

    cdef Program traced(self, list ready):
        """The program for these arguments, or None if the function must be traced."""
        cdef Program program
        cdef Snapshot snapshot
        cdef dict programs
        # Another thread may trace meanwhile. Code that can fail stays out of the section: Cython would leak
        # there.
        with critical_section(self):
            program, programs, snapshot = self.latest, self.programs, self.snapshot
        if program is None or not program.fits(ready):
            program = programs.get(signature_of(ready))
        if program is not None:
            if snapshot is None or not snapshot.is_current():
                return None
            with critical_section(self):
                self.latest = program
        return program

    def _find(self, tuple arguments not None, tuple names not None):
        """Return (signature, arguments ready for a call, program or None if the function must be traced).

        Raises TypeError or ValueError for a bad argument.
        """
        cdef list ready = prepare_arguments(arguments, names, self.shared)
        return signature_of(ready), ready, self.traced(ready)

    cdef bint is_unbound_call(self, tuple arguments) except -1:
        """Whether a method is called on its class, with the instance as the first argument."""
        return len(arguments) > 0 and isinstance(arguments[0], self.home[0]) and self._takes_instance()

    cdef tuple prepared(self, str what, tuple arguments, dict options):
        """(program, arguments ready for it, threads, block); raises as `_find` does.

        Only the most common call is quick: one without options, for a signature that was traced.
        """
        cdef list ready
        cdef Program program
        if self.key is not None and self.is_unbound_call(arguments):
            method = self.__get__(arguments[0], type(arguments[0]))
            return (<Programs?>method).prepared(what, arguments[1:], options)
        if not options and not self.strict and self.by_position and len(arguments) == len(self.names):
            ready = prepare_arguments(arguments, self.names, self.shared)
            program = self.traced(ready)
            if program is not None:
                return program, ready, self.threads, self.block
        return self._prepare(what, arguments, options)

    def _prepared(
        self, str call not None, str what not None, tuple arguments not None, dict options not None
    ):
        """Return (program, arguments ready for it, threads, block); raises as `_find` does."""
        refuse_in_trace(self.name, call)
        return self.prepared(what, arguments, options)

    def _receiver(self, tuple arguments not None):
        """Return (callable, arguments); for a method called on its class, the instance's own and the rest."""
        if self.key is not None and self.is_unbound_call(arguments):
            return self.__get__(arguments[0], type(arguments[0])), arguments[1:]
        return self, arguments

    def __call__(self, *arguments, **options):
        """Return the outputs of all rows: (N,), or (N, k) for a list of k; floats if no argument has rows.

        In another function that is being compiled: what the function itself returns.
        """
        cdef tuple call
        if _is_tracing():
            return self._inlined(arguments, options)
        try:
            call = self.prepared("outputs", arguments, options)
        except StructureError:
            return self._of_structures("outputs", arguments, options)
        return (<Program?>call[0]).outputs(call[1], call[2], call[3])

    @cython.embedsignature(True)
    def backward(self, *arguments, **options):
        """Return the mean of the output over the rows, and add its gradient to that of the parameters.

        With a list of outputs: the list of their means, and the gradient of the means' sum. With
        `reduction="sum"` sums take the place of means. `row_weights`, an array (N,), weighs the rows: the sum
        of weight * output, for the mean divided by the sum of the weights.
        """
        cdef tuple call
        refuse_in_trace(self.name, "backward")
        if options and has_reduction(options, self.names):
            try:
                return self._backward(arguments, dict(options))
            except StructureError:
                return self._of_structures("backward", arguments, options)
        try:
            call = self.prepared("backward", arguments, options)
        except StructureError:
            return self._of_structures("backward", arguments, options)
        return (<Program?>call[0]).backward(call[1], call[2], call[3])

    @cython.embedsignature(True)
    def input_gradients(self, *arguments, **options):
        """Return d output / d argument for every row, in the argument's shape.

        One array for one argument, otherwise a tuple of them, with None for integer arrays. A number
        gets one derivative a row. With k outputs the arrays have k times as many rows: (k, N) or (k, N, d).
        """
        cdef tuple call
        refuse_in_trace(self.name, "input_gradients")
        try:
            call = self.prepared("input_gradients", arguments, options)
        except StructureError:
            return self._of_structures("input_gradients", arguments, options)
        return (<Program?>call[0]).input_gradients(call[1], call[2], call[3])
