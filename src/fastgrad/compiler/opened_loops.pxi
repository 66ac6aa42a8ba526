# Loops that go over columns of an argument, taking these as elements in their place: then each is a leaf of
# the function, to which a gradient can be given that is the same for all rows.

cdef bint goes_over(Graph graph, set arguments) except -1:
    """Whether a loop, in whichever step, goes over columns of these arguments."""
    cdef Loop loop
    cdef Input given
    for loop in graph.loops:
        for given in loop.inputs:
            if given.kind == COLUMNS and given.source in arguments:
                return True
        if goes_over(loop.body, arguments):
            return True
    return False


cdef class Opening(Builder):
    """A builder that copies loops with elements for columns."""

    # The arguments; and of a step, the columns that it takes from outside beside what it took before.
    cdef set opened
    cdef dict more

    cdef int32_t copied_loop(self, Loop loop, list operands) except -1:
        return opened_loop(self, loop, operands)


cdef Graph opened_graph(Graph graph, set arguments, dict more):
    """The graph with elements; of a step, `more` gets the columns that it takes from outside, in order."""
    cdef Opening builder = Opening(graph)
    builder.opened, builder.more = arguments, more
    builder.copy_source()
    if graph.taken is None:
        return builder.finished(builder.outputs(), graph.parameters)
    outside, states, inputs = graph.taken
    builder.taken = (outside + len(more), states, inputs)
    return builder.finished(builder.outputs(), ())


cdef int32_t record_of_column(Opening self, tuple column) except -1:
    """The record of a column: a leaf of the function, which a step takes from outside."""
    if self.source.taken is None:
        return self.leaf(column)
    number = self.more.setdefault(column, len(self.more))
    return self.leaf((OUTSIDE, self.source.taken[0] + number))


cdef int32_t opened_loop(Opening self, Loop loop, list operands) except -1:
    """The record of a loop of the source, with elements for the columns of the arguments."""
    cdef dict more = {}
    cdef Graph body
    cdef Input given
    cdef list inputs = []
    body = opened_graph(loop.body, self.opened, more) if goes_over(loop.body, self.opened) else loop.body
    found = operands[:loop.states + loop.outside]
    found += [record_of_column(self, column) for column in more]
    for given in loop.inputs:
        if given.kind == COLUMNS and given.source in self.opened:
            inputs.append(Input(ELEMENTS, len(found)))
            found += [
                record_of_column(self, (given.source, given.first + at * given.stride))
                for at in range(loop.steps)
            ]
        elif given.kind == COLUMNS:
            inputs.append(given)
        else:
            inputs.append(Input(given.kind, len(found), given.number, given.first, given.stride))
            found += operands[given.source:given.source + (loop.steps if given.kind == ELEMENTS else 1)]
    return self.loop(
        Loop(body, loop.name, loop.steps, loop.states, loop.outside + len(more), tuple(inputs)), found
    )
