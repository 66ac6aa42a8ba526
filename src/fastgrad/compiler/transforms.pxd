"""Transforms: from the graph of a function to the graphs of its derivatives, and a loop's step divided."""

from fastgrad.compiler.graph cimport Graph, Loop

cdef enum:
    # No record: a tangent or a gradient that is 0 because nothing leads there.
    NOTHING = -1
    # In the place of a factor: the number of the state is computed step by step.
    STEPWISE = -2


cdef class Divided:
    """A loop's step in which only recurrences run step by step; recurrences.pxi says how."""

    # The outputs are the next state, what the step makes (`results` of them in all), then the leaves and the
    # factors of those numbers that do not run step by step. Each leaf comes after what its number is made of.
    cdef Graph graph
    cdef Py_ssize_t results
    # Of each output after the results, the number of the state that it belongs to.
    cdef list extra_states
    # Of each number of the state: the record that this one is multiplied by to get the next one, to which the
    # output is added; NOTHING if the next one is the output alone; or STEPWISE.
    cdef list factors
    # Of each record, whether it runs step by step; and the numbers of the state that are handed to the next
    # step after a record.
    cdef bytearray stepwise
    cdef dict stored_after


cdef Divided divided(Loop loop)

# Columns, tangents and a weight are leaves, as Graph.leaves names them: (argument, column), or
# (-1, parameter). `jacobian_graph` takes groups of columns.
cdef Graph jacobian_graph(Graph graph, tuple columns, bint values)
cdef Graph hessian_graph(Graph graph, tuple columns)
cdef Graph tangent_graph(Graph graph, tuple columns, tuple tangents)
cdef Graph weighted_graph(Graph graph, tuple weight)
cdef Graph freed_graph(Graph graph, Py_ssize_t argument)
