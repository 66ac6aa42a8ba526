"""Transforms: from the graph of a function to the graphs of its derivatives."""

from fastgrad.compiler.graph cimport Graph

# Columns, tangents and a weight are leaves, as Graph.leaves names them: (argument, column), or
# (-1, parameter). `jacobian_graph` takes groups of columns.
cdef Graph with_elements(Graph graph, set arguments)
cdef Graph jacobian_graph(Graph graph, tuple columns, bint values)
cdef Graph hessian_graph(Graph graph, tuple columns)
cdef Graph tangent_graph(Graph graph, tuple columns, tuple tangents)
cdef Graph weighted_graph(Graph graph, tuple weight)
cdef Graph freed_graph(Graph graph, Py_ssize_t argument)
