# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False, binding=False
"""Graphs of derivatives: the chain rule over records, with the derivative expressions of the table.

The derivative of an operation by an operand is traced once on placeholders. The records of that trace, the
rule, are copied to wherever the chain rule needs the derivative. Equal records are one, constants fold, and
records that no output needs are left out. The graph of a function that calls `grad` is simplified the same
way, as derivatives repeat much of it.

Forward mode computes the tangents of all columns side by side; each record has only those that are not 0.
Reverse mode goes through the part of the graph that one output depends on. Forward mode is used where there
are at most as many columns as outputs, and for loops: reverse mode through a loop is in lowering.pyx and
by_passes.pxi.
"""

from libc.math cimport fabs, isfinite
from libc.stdint cimport int32_t, uint64_t
from libc.string cimport memcpy, memset

from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc

from fastgrad.compiler.graph cimport COLUMNS, ELEMENTS, INPUT, MADE, OUTSIDE, ROW_LOOP, ROW_RESULT, STATE
from fastgrad.compiler.graph cimport Graph, Input, Loop, has_many_operands, has_symbol, has_two_operands
from fastgrad.compiler.memory cimport Integers, append, as_offset, look_for_signals, zeroed
from fastgrad.ops cimport *

from fastgrad.engine import Value, _make_unknown, _read_graph, _traced

__all__ = ["simplified"]

cdef enum:
    # In the place of a condition's record: the condition always holds.
    ALWAYS = -2
    # The most records that derivatives may have: their plan takes some gigabytes.
    MOST_RECORDS = 1 << 24

include "derivative_rules.pxi"
include "graph_builder.pxi"
include "opened_loops.pxi"
include "forward_mode.pxi"
include "reverse_mode.pxi"
include "recurrences.pxi"


def simplified(Graph graph not None):
    """Return a graph with the same outputs that computes equal records once."""
    cdef Builder builder = Builder(graph)
    builder.copy_source()
    return builder.finished(builder.outputs())


cdef Graph with_elements(Graph graph, set arguments):
    """The same outputs, the columns of these arguments being elements for the loops that go over them."""
    if not goes_over(graph, arguments):
        return graph
    return opened_graph(graph, arguments, {})


cdef Graph jacobian_graph(Graph graph, tuple columns, bint values):
    """The outputs, if `values`, then for each group of columns the derivatives of each output by them."""
    cdef Builder builder = Builder(graph)
    cdef Tangents tangents
    cdef Py_ssize_t start = 0
    cdef int32_t direction
    cdef tuple flat = tuple([column for group in columns for column in group])
    builder.copy_source()
    outputs = builder.outputs()
    found = list(outputs) if values else []
    if len(outputs) < len(flat):
        rows = gradients_of(builder, outputs, builder.leaf_ids(flat))
    else:
        tangents = along_columns(builder, flat, None, outputs)
        rows = [
            [tangents.of(<int32_t>output, direction) for direction in range(<int32_t>len(flat))]
            for output in outputs
        ]
    for group in columns:
        for row in rows:
            found += row[start:start + len(group)]
        start += len(group)
    return builder.finished(found, graph.parameters)


cdef Graph hessian_graph(Graph graph, tuple columns):
    """For each output its second derivatives by each pair of columns: forward over reverse mode."""
    cdef Builder builder = Builder(graph)
    cdef Tangents tangents
    cdef int32_t first, second
    cdef Py_ssize_t count = len(columns)
    cdef list found = []
    builder.copy_source()
    slopes = gradients_of(builder, builder.outputs(), builder.leaf_ids(columns))
    targets = []
    for row in slopes:
        targets += row
    tangents = along_columns(builder, columns, None, targets)
    for row in slopes:
        for first in range(<int32_t>count):
            for second in range(<int32_t>count):
                # It is symmetric: one half is computed.
                found.append(tangents.of(row[max(first, second)], min(first, second)))
    return builder.finished(found, graph.parameters)


cdef Graph tangent_graph(Graph graph, tuple columns, tuple tangents):
    """For each output its derivative along tangents; these are leaves of the new graph."""
    cdef Builder builder = Builder(graph)
    builder.copy_source()
    outputs = builder.outputs()
    found = along_columns(builder, columns, tangents, outputs)
    return builder.finished([found.of(<int32_t>output, 0) for output in outputs], graph.parameters)


cdef Graph weighted_graph(Graph graph, tuple weight):
    """For each output its product with a weight, a leaf of the new graph."""
    cdef Builder builder = Builder(graph)
    builder.copy_source()
    return builder.finished([
        builder.product(<int32_t>output, builder.leaf(weight)) for output in builder.outputs()
    ], graph.parameters)


cdef Graph freed_graph(Graph graph, Py_ssize_t argument):
    """The same outputs; the parameters become the columns of the argument with this number."""
    cdef Builder builder = Builder(graph)
    builder.copy_source(argument)
    return builder.finished(builder.outputs(), ())
