# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False, binding=False
"""Graphs of derivatives: the chain rule over records, with the derivative expressions of the table.

The derivative of a row by an operand is traced once on placeholders. The records of that trace, the rule, are
copied to wherever the chain rule needs the derivative. What is equal is one record, constants fold, and what
no output needs is left out.

Forward mode carries the tangents of all columns side by side, each record having only those that reach it.
Reverse mode goes through the part of the graph that one output depends on. Forward is used where there are
at most as many columns as outputs.
"""

from libc.math cimport fabs, isfinite
from libc.stdint cimport int32_t, uint64_t
from libc.string cimport memcpy, memset

from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc

from fastgrad.compiler.graph cimport ROW_LOOP, Graph, has_many_operands, has_two_operands
from fastgrad.compiler.memory cimport Integers, append, as_offset, look_for_signals, zeroed
from fastgrad.ops cimport *

from fastgrad.engine import Value, _make_unknown, _read_graph, _traced

__all__ = []

cdef enum:
    # No record: a tangent or a gradient that is 0 because nothing leads there.
    NOTHING = -1
    # Of conditions under which a node is reached: one that always holds.
    ALWAYS = -2
    # The most records that derivatives may have: their plan takes some gigabytes.
    MOST_RECORDS = 1 << 24

include "derivative_rules.pxi"
include "graph_builder.pxi"
include "forward_mode.pxi"
include "reverse_mode.pxi"


cdef list rows_of_jacobian(Builder builder, list outputs, list leaves):
    """For each output the list of its derivatives, by forward or reverse mode."""
    cdef Tangents tangents
    cdef int32_t direction
    if len(outputs) < len(leaves):
        return gradients_of(builder, outputs, leaves)
    tangents = pushed_forward(builder, leaves, None, outputs)
    return [
        [tangents.of(<int32_t>output, direction) for direction in range(<int32_t>len(leaves))]
        for output in outputs
    ]


cdef Graph jacobian_graph(Graph graph, tuple columns, bint values):
    """The outputs, if wanted, and then for each group of columns the derivatives of each output by it."""
    cdef Builder builder = Builder(graph)
    cdef Py_ssize_t start = 0
    builder.copy_source()
    outputs = builder.outputs()
    found = list(outputs) if values else []
    leaves = []
    for group in columns:
        leaves += builder.leaf_ids(group)
    rows = rows_of_jacobian(builder, outputs, leaves)
    for group in columns:
        for row in rows:
            found += row[start:start + len(group)]
        start += len(group)
    return builder.finished(found)


cdef Graph hessian_graph(Graph graph, tuple columns):
    """For each output its second derivatives by each two columns, row by row: forward over reverse mode."""
    cdef Builder builder = Builder(graph)
    cdef Tangents tangents
    cdef int32_t first, second
    cdef Py_ssize_t count = len(columns)
    cdef list found = []
    builder.copy_source()
    leaves = builder.leaf_ids(columns)
    slopes = gradients_of(builder, builder.outputs(), leaves)
    targets = []
    for row in slopes:
        targets += row
    tangents = pushed_forward(builder, leaves, None, targets)
    for row in slopes:
        for first in range(<int32_t>count):
            for second in range(<int32_t>count):
                # It is symmetric: one half is computed.
                found.append(tangents.of(row[max(first, second)], min(first, second)))
    return builder.finished(found)


cdef Graph tangent_graph(Graph graph, tuple columns, tuple tangents):
    """For each output its derivative along tangents, which are leaves, too."""
    cdef Builder builder = Builder(graph)
    builder.copy_source()
    outputs = builder.outputs()
    seeds = [builder.leaf(tangent) for tangent in tangents]
    found = pushed_forward(builder, builder.leaf_ids(columns), seeds, outputs)
    return builder.finished([found.of(<int32_t>output, 0) for output in outputs])


cdef Graph weighted_graph(Graph graph, tuple weight):
    """For each output its product with a leaf."""
    cdef Builder builder = Builder(graph)
    builder.copy_source()
    return builder.finished([
        builder.product(<int32_t>output, builder.leaf(weight)) for output in builder.outputs()
    ])
