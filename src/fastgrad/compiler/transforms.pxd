"""Transforms: from the graph of a function to the graphs of its derivatives, and a loop's step divided."""

from fastgrad.compiler.graph cimport Graph, Loop

cdef enum:
    # In the place of a record: a tangent or gradient that is 0 because the output does not depend on it.
    NOTHING = -1

# How the next number of the state is computed from a number.
cdef enum Recurrence:
    # factor * number + output
    LINEAR
    # The output, which does not depend on the number.
    DELAYED
    # The output, step by step, from a leaf whose gradient is not wanted: it is the factor, which is the
    # derivative, that takes the gradient back.
    EVOLVED
    # One of a few numbers that depend on one another: the same, with a factor for each of them. The output is
    # a node with these as given derivatives.
    COUPLED
    # One of many such numbers: the output, step by step, forward and back.
    STEPWISE

cdef enum:
    # Of records that run step by step: both ways, or only one way.
    BOTH_WAYS = 1
    FORWARD_ONLY = 2
    BACK_ONLY = 3


cdef class Divided:
    """A loop's step in which only recurrences run step by step; recurrences.pxi says how."""

    # Its leaves of the state are `states` numbers, and the same once more without a gradient. Each leaf comes
    # after the factor and the output of its number, unless that is STEPWISE.
    cdef Graph graph
    cdef Py_ssize_t states
    # The outputs are the next state, what the step makes (`results` of them in all), the leaves of all but
    # STEPWISE numbers, from `first_factor` on the factors, and the numbers that run step by step.
    cdef Py_ssize_t results
    cdef Py_ssize_t first_factor
    # Of each output after the results, the number of the state that it belongs to.
    cdef list extra_states
    # Of each number of the state: how it recurs, and the record of its factor or NOTHING.
    cdef list kinds
    cdef list factors
    # Of each record, whether it runs step by step. And by record, what is handed to the next step after it,
    # as (number of the state, record).
    cdef bytearray stepwise
    cdef dict stored_after

    cdef int find_stepwise(self, list passed) except -1
    cdef int find_coupled(self) except -1
    cdef bint has_gradient(self, Py_ssize_t output) except -1


cdef Divided divided(Loop loop)

# Columns, tangents and a weight are leaves, as Graph.leaves names them: (argument, column), or
# (-1, parameter). `jacobian_graph` takes groups of columns.
cdef Graph with_elements(Graph graph, set arguments)
cdef Graph jacobian_graph(Graph graph, tuple columns, bint values)
cdef Graph hessian_graph(Graph graph, tuple columns)
cdef Graph tangent_graph(Graph graph, tuple columns, tuple tangents)
cdef Graph weighted_graph(Graph graph, tuple weight)
cdef Graph freed_graph(Graph graph, Py_ssize_t argument)
