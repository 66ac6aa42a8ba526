# Reverse mode: from one output through the records that it depends on, in the order of backward().

cdef class Adjoints:
    """For each record, linked lists of the gradients it has received and of the conditions that reach it."""

    cdef int32_t *received
    cdef int32_t *reached
    cdef Integers links

    def __cinit__(self, Builder builder not None):
        cdef Py_ssize_t records = builder.size()
        self.received = <int32_t *>zeroed(records, sizeof(int32_t))
        self.reached = <int32_t *>zeroed(records, sizeof(int32_t))
        self.clear(records)

    def __dealloc__(self):
        PyMem_RawFree(self.received)
        PyMem_RawFree(self.reached)
        PyMem_RawFree(self.links.items)

    cdef int clear(self, Py_ssize_t records) except -1:
        # Every byte of -1 is 0xff.
        memset(self.received, 0xff, records * sizeof(int32_t))
        memset(self.reached, 0xff, records * sizeof(int32_t))
        self.links.size = 0
        return 0

    cdef int give(self, int32_t *last, int32_t item) except -1:
        append(&self.links, item)
        last[0] = append(&self.links, last[0]) - 1
        return 0


cdef int32_t reached_if(Builder builder, Adjoints adjoints, int32_t record) except -3:
    """The condition under which a record is reached, or ALWAYS; made once for all of its operands."""
    cdef int32_t link = adjoints.reached[record], condition
    cdef bint always = False
    builder.many.size = 0
    while link >= 0:
        if adjoints.links.items[link] == ALWAYS:
            always = True
        else:
            append(&builder.many, adjoints.links.items[link])
        link = adjoints.links.items[link + 1]
    condition = ALWAYS if always else builder.total(builder.many.items, builder.many.size)
    adjoints.reached[record] = -1
    adjoints.give(&adjoints.reached[record], condition)
    return condition


cdef list pulled_back(
    Builder builder, Adjoints adjoints, const char *active, int32_t limit, int32_t output, list leaves,
    bint conditional
):
    """The derivative of an output by each of the leaves, NOTHING where none leads there."""
    cdef int32_t record, link, upstream, operand, factor, part, condition, chosen
    cdef Py_ssize_t at
    cdef int row
    cdef bint selecting
    cdef int32_t zero = builder.constant(0.0)
    adjoints.clear(limit)
    adjoints.give(&adjoints.received[output], builder.constant(1.0))
    adjoints.give(&adjoints.reached[output], ALWAYS)
    for record in range(output, -1, -1):
        if adjoints.received[record] < 0 or not active[record]:
            continue
        builder.many.size = 0
        link = adjoints.received[record]
        while link >= 0:
            append(&builder.many, adjoints.links.items[link])
            link = adjoints.links.items[link + 1]
        upstream = builder.total(builder.many.items, builder.many.size)
        adjoints.received[record] = -1
        adjoints.give(&adjoints.received[record], upstream)
        row = builder.row(record)
        condition = reached_if(builder, adjoints, record) if conditional else ALWAYS
        for at in range(builder.operand_count(record)):
            operand = builder.operand_at(record, at)
            if not active[operand]:
                continue
            factor = builder.share(record, at)
            if factor == NOTHING:
                continue
            part = builder.product(factor, upstream)
            if conditional:
                selecting = row == ROW_CUSTOM or selects(row)
                chosen = factor if selecting and not builder.is_constant(factor) else ALWAYS
                if chosen == ALWAYS:
                    chosen = condition
                elif condition != ALWAYS:
                    chosen = builder.where(condition, chosen, zero)
                adjoints.give(&adjoints.reached[operand], chosen)
                if chosen != ALWAYS and part != chosen and not (
                    chosen == condition and builder.is_constant(factor)
                ):
                    part = builder.where(chosen, part, zero)
            adjoints.give(&adjoints.received[operand], part)
    found = []
    for leaf in leaves:
        link = NOTHING if leaf == NOTHING else adjoints.received[<Py_ssize_t>leaf]
        found.append(NOTHING if link < 0 else adjoints.links.items[link])
    return found


cdef list gradients_of(Builder builder, list outputs, list leaves):
    """For each output the list of its derivatives by the leaves."""
    cdef int32_t limit = <int32_t>builder.size(), record
    cdef char *active = <char *>zeroed(limit, 1)
    cdef Adjoints adjoints
    cdef Py_ssize_t at
    cdef bint conditional = False
    cdef int row
    try:
        adjoints = Adjoints(builder)
        for leaf in leaves:
            if leaf != NOTHING:
                active[<Py_ssize_t>leaf] = 1
        for record in range(limit):
            row = builder.row(record)
            conditional = conditional or (row > 0 and (row == ROW_CUSTOM or selects(row)))
            for at in range(builder.operand_count(record)):
                active[record] |= active[builder.operand_at(record, at)]
        return [
            pulled_back(builder, adjoints, active, limit, output, leaves, conditional) for output in outputs
        ]
    finally:
        PyMem_RawFree(active)
