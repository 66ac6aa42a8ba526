# Forward mode: the tangents of all columns side by side, each record having only those that reach it.

cdef class Tangents:
    """Of each record, the tangents that are not 0: pairs of a direction and a record."""

    cdef Py_ssize_t *start
    cdef Py_ssize_t *end
    cdef Integers pairs
    # While one record is computed: of each direction, the list of its parts, as the last of them or -1.
    cdef int32_t *last
    cdef Integers touched
    cdef Integers parts

    def __cinit__(self, Builder builder not None, list leaves not None):
        cdef Py_ssize_t records = builder.size(), directions = len(leaves), direction
        self.start = <Py_ssize_t *>zeroed(records, sizeof(Py_ssize_t))
        self.end = <Py_ssize_t *>zeroed(records, sizeof(Py_ssize_t))
        self.last = <int32_t *>zeroed(directions, sizeof(int32_t))
        for direction in range(directions):
            self.last[direction] = -1

    def __dealloc__(self):
        PyMem_RawFree(self.start)
        PyMem_RawFree(self.end)
        PyMem_RawFree(self.last)
        PyMem_RawFree(self.pairs.items)
        PyMem_RawFree(self.touched.items)
        PyMem_RawFree(self.parts.items)

    cdef int add(self, int32_t direction, int32_t part) except -1:
        """Note a part of the tangent of the record that is computed."""
        if self.last[direction] < 0:
            append(&self.touched, direction)
        append(&self.parts, part)
        self.last[direction] = append(&self.parts, self.last[direction]) - 1
        return 0

    cdef int32_t of(self, int32_t record, int32_t direction) noexcept:
        cdef Py_ssize_t at
        if record < 0:
            return NOTHING
        for at in range(self.start[record], self.end[record]):
            if self.pairs.items[2 * at] == direction:
                return self.pairs.items[2 * at + 1]
        return NOTHING

    cdef int close(self, Builder builder, int32_t record) except -1:
        """Add up the parts, and keep the sums as the record's tangents."""
        cdef Py_ssize_t at, first
        cdef int32_t direction, part, swapped
        self.start[record] = self.pairs.size // 2
        for at in range(self.touched.size):
            direction = self.touched.items[at]
            builder.many.size = 0
            part = self.last[direction]
            while part >= 0:
                append(&builder.many, self.parts.items[part])
                part = self.parts.items[part + 1]
            # The list begins with the last part.
            for first in range(builder.many.size // 2):
                swapped = builder.many.items[first]
                builder.many.items[first] = builder.many.items[builder.many.size - 1 - first]
                builder.many.items[builder.many.size - 1 - first] = swapped
            self.last[direction] = -1
            part = builder.total(builder.many.items, builder.many.size)
            append(&self.pairs, direction)
            append(&self.pairs, part)
        self.end[record] = self.pairs.size // 2
        self.touched.size = self.parts.size = 0
        return 0


cdef Tangents pushed_forward(Builder builder, list leaves, list seeds, list targets):
    """The tangents of all records that the targets need, where each leaf has a seed in its own direction.

    With one seed for each leaf and one direction for all, `seeds` are records; else None stands for 1.
    """
    cdef int32_t size = <int32_t>builder.size(), record, factor, tangent, direction, part
    cdef bint together = seeds is not None
    cdef Tangents tangents = Tangents(builder, leaves)
    cdef char *needed = <char *>zeroed(size, 1)
    cdef Py_ssize_t at, pair
    cdef int row
    cdef int32_t operand
    try:
        mark_needed(builder, needed, targets)
        for at in range(len(leaves)):
            record = leaves[at]
            if record != NOTHING and needed[record]:
                tangents.start[record] = tangents.pairs.size // 2
                append(&tangents.pairs, 0 if together else <int32_t>at)
                append(&tangents.pairs, <int32_t>seeds[at] if together else builder.constant(1.0))
                tangents.end[record] = tangents.pairs.size // 2
        for record in range(size):
            row = builder.row(record)
            if not needed[record] or row == ROW_LEAF or row == ROW_CONSTANT:
                continue
            if row == ROW_CUSTOM:
                select_tangents(builder, tangents, record)
                continue
            for at in range(builder.operand_count(record)):
                operand = builder.operand_at(record, at)
                if tangents.start[operand] == tangents.end[operand]:
                    continue
                factor = builder.share(record, at)
                if factor == NOTHING:
                    continue
                for pair in range(tangents.start[operand], tangents.end[operand]):
                    direction, tangent = tangents.pairs.items[2 * pair], tangents.pairs.items[2 * pair + 1]
                    part = builder.product(factor, tangent)
                    if selects(row) and not builder.is_constant(factor):
                        # What was not chosen counts for nothing, even if its tangent is infinite.
                        part = builder.where(factor, part, builder.constant(0.0))
                    tangents.add(direction, part)
            if tangents.touched.size:
                tangents.close(builder, record)
    finally:
        PyMem_RawFree(needed)
    return tangents


cdef int select_tangents(Builder builder, Tangents tangents, int32_t record) except -1:
    """The tangents of `take`: that of the operand that the row chose, in each direction that reaches one."""
    cdef Py_ssize_t count = builder.operand_count(record), at, pair, each
    cdef int32_t operand, direction, part, tangent
    for at in range(count):
        operand = builder.operand_at(record, at)
        for pair in range(tangents.start[operand], tangents.end[operand]):
            direction = tangents.pairs.items[2 * pair]
            if tangents.last[direction] < 0:
                tangents.last[direction] = 0
                append(&tangents.touched, direction)
    tangents.start[record] = tangents.pairs.size // 2
    for each in range(tangents.touched.size):
        direction = tangents.touched.items[each]
        tangents.last[direction] = -1
        builder.many.size = 0
        append(&builder.many, builder.operand(record, 0))
        for at in range(count):
            tangent = tangents.of(builder.operand_at(record, at), direction)
            append(&builder.many, builder.constant(0.0) if tangent == NOTHING else tangent)
        part = builder.of_many(ROW_CUSTOM, builder.many.items, builder.many.size)
        append(&tangents.pairs, direction)
        append(&tangents.pairs, part)
    tangents.end[record] = tangents.pairs.size // 2
    tangents.touched.size = 0
    return 0
