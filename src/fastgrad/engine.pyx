# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: c_api_binop_methods=True, cdivision=True, auto_pickle=False
"""Value: a scalar that remembers how it was computed, and backward() over such a graph."""

# The names that `from micrograd.engine import *` brings.
__all__ = ["Value"]

# The parts, in order of dependence: each uses only what stands above it. One C unit, as the counters of
# the pool are read by every operation: docs/decisions/one-c-unit.md.
include "engine.src/node/layout.pxi"             # nodes and chunks, as memory
include "engine.src/generated/node_memory.pxi"   # where nodes live: chunks.pxi or singles.pxi
include "engine.src/node/accessors.pxi"          # reading a node: code, operands, Extras
include "engine.src/node/references.pxi"         # what a node owns: making, tracking, changing, freeing
include "engine.src/generated/checks.pxi"        # invariants.pxi, where there is a pool
include "engine.src/generated/graph_walks.pxi"   # who needs a search: survey.pxi or collect.pxi
include "engine.src/backward/search.pxi"         # the order by depth-first search
include "engine.src/graph/placeholders.pxi"      # what a trace refuses
include "engine.src/generated/refusals.pxi"      # names and errors of the table
include "engine.src/arithmetic/numbers.pxi"      # what counts as a number
include "engine.src/arithmetic/scalars.pxi"      # operations of one and two operands
include "engine.src/arithmetic/mixed.pxi"        # the operations of derivative expressions
include "engine.src/arithmetic/vectors.pxi"      # dot products, reductions, softmax
include "engine.src/arithmetic/layers.pxi"       # the forward pass of nn
include "engine.src/backward/sweep_state.pxi"    # the state of a sweep; how a rule adds a gradient
include "engine.src/generated/rules.pxi"         # backward rules of the table
include "engine.src/backward/many.pxi"           # backward rules of many operands
include "engine.src/backward/sweep.pxi"          # backward() in reverse order of creation
include "engine.src/graph/look.pxi"              # the graph that micrograd would show
include "engine.src/value/constructor.pxi"       # Value.__init__
include "engine.src/value/attributes.pxi"        # data, grad and what a user sets
include "engine.src/generated/operators.pxi"     # the operators and methods of Value
include "engine.src/graph/parts.pxi"             # nodes taken apart and put together
include "engine.src/graph/records.pxi"           # a graph as flat arrays, for the compiler
include "engine.src/graph/chain_rule.pxi"        # derivatives that are Values
include "engine.src/graph/parameters.pxi"        # leaves, many at a time


cdef class Value(_Arithmetic):
    # CPython takes the first line for the signature.
    """Value(data, _children=(), _op='', label='', *, children=None, local_grads=None)\n--\n
A number, its gradient and the operation that made it.

    `Value(data)` is a leaf, `Value(data, children, op)` a node of the caller's own: then either its
    `_backward` is assigned afterwards, or `_op` is a tuple with the local derivative by each child.
    `children` and `local_grads` are microgpt's names for these.

    >>> x = Value(3.0)
    >>> y = x * x + 1
    >>> y.backward()
    >>> x.grad
    6.0
    """

    def __init__(self, data, _children=(), _op="", label="", *, children=None, local_grads=None):
        if children is not None:
            _children = children
        if local_grads is not None:
            _op = tuple(local_grads) if children is not None or _children else ""
        initialise(self, data, _children, _op, label)

    def pow(self, exponent):
        """Return self ** exponent."""
        return self**exponent

    def clip(self, min=None, max=None):
        """Return self, at least min and at most max, either of which may be None; max wins over min.

        The derivative by self is 1 from min to max, as torch's clamp has it, and else 0.
        """
        if min is None and max is None:
            raise TypeError("clip needs a min or a max")
        return apply("clip", self, -INFINITY if min is None else min, INFINITY if max is None else max)

    def __round__(self, ndigits=None):
        """Return self rounded to ndigits decimals, an integer without them, as a Value; half to even."""
        if ndigits is None:
            return self.round()
        if not hasattr(ndigits, "__index__"):
            raise TypeError(f"ndigits must be an integer, not {ndigits!r}")
        scale = 10.0**ndigits
        return (self * scale).round() / scale

    def conjugate(self):
        """Return self, a real number: numpy.var and numpy.std of an array of Values ask for it."""
        return self

    def item(self):
        """Return data, a float."""
        return float(self)

    def __pos__(self):
        """Return self."""
        return self

    def __neg__(self):
        """Return -self, which is self * -1 as in micrograd."""
        return binary(ROW_MUL, self, -1.0)

    def __richcmp__(self, other, int operation):
        return compared(self, other, operation)

    def __hash__(self):
        if tracing:
            refuse_equality(self)
        return plain_hash(self)

    def __bool__(self):
        """Return True, as for any object; TracingError in a function that is being compiled."""
        if tracing:
            refuse_reading(self, "the truth")
        return True

    def __float__(self):
        """Return data."""
        if tracing:
            refuse_reading(self, "the data")
        require_known(self.data)
        return self.data

    def __format__(self, str spec):
        """Return data in this format, for example f"{loss:.4f}"; without one, the Value as text."""
        if not spec:
            return str(self)
        if tracing:
            refuse_reading(self, "the text")
        require_known(self.data)
        return format(self.data, spec)

    def __repr__(self):
        if tracing:
            refuse_reading(self, "the text")
        if is_unknown(self.data):
            return f"<{origins[bits_of(self.data) & 0xffffffff]}>"
        return f"Value(data={self.data}, grad={self.grad})"

    # IPython passes include and exclude, and applies them itself.
    def _repr_mimebundle_(self, **options):
        """Return the notebook's display: text and, for a small expression, the picture of its graph."""
        from fastgrad import viz

        return viz.notebook_display(self)

    def __getattribute__(self, name):
        return get_attribute(self, name)

    def __setattr__(self, name, value):
        set_attribute(self, name, value)

    def __delattr__(self, name):
        delete_attribute(self, name)

    def backward(self):
        """Set grad to 1 and add d self / d node to the grad of every node self was computed from."""
        run_backward(self)

    def _propagate(self):
        """Add this node's contribution to its operands' grad: what `_backward` is by default."""
        propagate(<Node *>(<PyObject *>self))

    def __reduce_ex__(self, protocol):
        """Pickle self and the graph below it, however deep."""
        from fastgrad import copying

        return copying.reduce_value(self)

    def __setstate__(self, state):
        """Set a pickled state: that of a leaf, or of another class of this name, such as micrograd's."""
        from fastgrad import copying

        copying.set_state(self, state)

    def __copy__(self):
        """Return a node with the same operands."""
        from fastgrad import copying

        return copying.copy_node(self)

    def __deepcopy__(self, memo):
        """Return a copy of self and of the graph below it, however deep."""
        from fastgrad import copying

        return copying.copy_graph(self, memo)

    @property
    def label(self):
        """A name for pictures; any object, '' unless set."""
        cdef PyObject *found = extras_of(<Node *><PyObject *>self)
        cdef Extras extras
        if found == NULL:
            return ""
        extras = <Extras>found
        with critical_section(extras):
            label = extras.label
        return "" if label is None else label

    @label.setter
    def label(self, value):
        cdef Extras extras = require_extras(<Node *><PyObject *>self)
        with critical_section(extras):
            extras.label = value
        track_holder(<Node *><PyObject *>self, value)

    @property
    def _op(self):
        """The symbol of the operation that made this node, '' for a leaf."""
        return symbol_of(self)

    @_op.setter
    def _op(self, symbol):
        cdef Extras extras = require_extras(<Node *><PyObject *>self)
        with critical_section(extras):
            extras.symbol = symbol
        track_holder(<Node *><PyObject *>self, symbol)

    @property
    def _children(self):
        """The operands, in order: micrograd's graph."""
        return children_of(self)

    @property
    def _local_grads(self):
        """The derivative by each of `_children`; AttributeError where a `_backward` stands for them."""
        if tracing:
            refuse_reading(self, "the derivatives")
        return local_derivatives(self)

    @property
    def _prev(self):
        """The set of the operands; assignable on a leaf, which then is a node of the caller's own."""
        return set(children_of(self))

    @_prev.setter
    def _prev(self, children):
        set_children(self, children)

    @property
    def _backward(self):
        """A callable that adds this node's contribution to its operands' grad; assignable."""
        backward = backward_of(extras_of(<Node *><PyObject *>self))
        return self._propagate if backward is None else backward

    @_backward.setter
    def _backward(self, function):
        cdef Node *node = <Node *><PyObject *>self
        cdef Extras extras
        if not callable(function):
            raise TypeError(f"_backward must be callable, not {type(function).__name__}")
        mark_irregular(node)
        extras = require_extras(node)
        with critical_section(extras):
            extras.backward = function
        track_used(node)

    @property
    def __dict__(self):
        """The attributes that were set on this node."""
        # Whoever holds the dict can close a cycle through it.
        track_used(<Node *><PyObject *>self)
        return attributes_of(self)


include "engine.src/value/type_slots.pxi"        # what Cython cannot write: memory, the collector

# Private by name: `functional` offers them to users.
_add, _dot, _linear, _scale, _softmax = add, dot, linear, scale, softmax
del add, dot, linear, scale, softmax

# For whoever measures.
_is_quick = QUICK
