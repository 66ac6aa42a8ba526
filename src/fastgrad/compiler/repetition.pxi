# Recognises a loop that was unrolled: the same operations again and again, each time on the results of the
# time before. Neurons side by side and sums over many terms do not count, as `scan` would not help there.

from cpython.mem cimport PyMem_RawFree

from fastgrad.compiler.memory cimport zeroed

cdef enum:
    # A graph of fewer operations is small; a step that is repeated less often may be a layer of a model.
    FEWEST_OPERATIONS = 2000
    FEWEST_STEPS = 32
    # A repetition is first recognised by so many operations.
    WINDOW = 64
    # The operands of so many steps are looked at.
    LOOKED_AT = 16

cdef struct Operations:
    # For the records that compute: their rows and numbers. For each record: its place among these.
    int32_t *rows
    int32_t *records
    int32_t *places
    Py_ssize_t count


def repeated(Graph graph not None):
    """Return (record, operations of a step, steps) if most of a large graph is one step repeated; else None.

    The record is the first that is repeated.
    """
    cdef Operations of
    cdef Py_ssize_t index, step, first, end, budget = 16 * graph.size, middle
    cdef int row
    if graph.size < FEWEST_OPERATIONS:
        return None
    of.count = 0
    of.rows = <int32_t *>zeroed(3 * graph.size, sizeof(int32_t))
    of.records, of.places = of.rows + graph.size, of.rows + 2 * graph.size
    try:
        for index in range(graph.size):
            row = graph.row(index)
            of.places[index] = -1
            if row != ROW_LEAF and row != ROW_CONSTANT:
                of.places[index] = <int32_t>of.count
                of.rows[of.count], of.records[of.count] = row, <int32_t>index
                of.count += 1
        middle = of.count // 2
        for step in range(1, of.count // FEWEST_STEPS + 1):
            if budget < 0 or of.count < FEWEST_OPERATIONS:
                break
            first = end = middle
            while end + step < of.count and of.rows[end] == of.rows[end + step]:
                end += 1
            budget -= end - middle
            if end - middle < WINDOW and end + step < of.count:
                continue
            while first > 0 and of.rows[first - 1] == of.rows[first - 1 + step]:
                first -= 1
            budget -= middle - first
            end += step
            if 4 * (end - first) >= 3 * of.count and (end - first) // step >= FEWEST_STEPS:
                if is_carried(graph, &of, middle - step * (LOOKED_AT // 2), step):
                    return of.records[first], step, (end - first) // step
        return None
    finally:
        PyMem_RawFree(of.rows)


def in_words(tuple repeats not None):
    """Return the result of repeated() in words."""
    _, operations, steps = repeats
    what = "an operation repeats" if operations == 1 else f"{operations} operations repeat"
    return (
        f"{what} {steps} times, each time from the results of the time before: "
        "fastgrad.scan would have them once"
    )


cdef bint is_carried(Graph graph, const Operations *of, Py_ssize_t first, Py_ssize_t step) except -1:
    """Whether each step goes on from the one before by more than sums."""
    cdef Py_ssize_t at, place
    cdef int32_t *depths = <int32_t *>zeroed(step * LOOKED_AT, sizeof(int32_t))
    cdef int32_t begin = 0, end = 0
    try:
        for at in range(step * LOOKED_AT):
            place = of.records[first + at]
            depths[at] = deepest(graph, of, first, place, depths)
            if not adds_up(graph.row(place)):
                depths[at] += 1
            if at < step:
                begin = max(begin, depths[at])
            end = max(end, depths[at])
        return end - begin >= LOOKED_AT - 1
    finally:
        PyMem_RawFree(depths)


cdef inline bint adds_up(int row) noexcept nogil:
    return right_sign(row) != 0.0 or row == ROW_INNER or is_linear(row)


cdef int32_t deepest(
    Graph graph, const Operations *of, Py_ssize_t first, Py_ssize_t record, const int32_t *depths
) noexcept:
    """The largest depth of those operands of a record that are in the steps looked at."""
    cdef int row = graph.row(record)
    cdef Py_ssize_t at, begin = graph.first(record), count = graph.second(record)
    cdef int32_t found = 0
    if has_many_operands(row):
        for at in range(begin + has_symbol(row), begin + count):
            found = max(found, depth_of(of, first, graph.operands[at], depths))
        return found
    found = depth_of(of, first, begin, depths)
    return max(found, depth_of(of, first, count, depths)) if has_two_operands(row) else found


cdef inline int32_t depth_of(
    const Operations *of, Py_ssize_t first, Py_ssize_t record, const int32_t *depths
) noexcept nogil:
    return depths[of.places[record] - first] if of.places[record] >= first else 0
