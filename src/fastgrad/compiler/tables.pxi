# Tables are the parameters that only `take` reads. A call that takes few of their numbers is sparse: it reads
# these numbers only, in the order in which they are taken, and their gradients are in that order too. So a
# parameter costs a look into the tuple of leaves, and the leaf itself.

from cpython.mem cimport PyMem_RawRealloc
from libc.stdint cimport int64_t

cdef enum:
    # A call is sparse if its tables have so many numbers, and so many times more than it takes.
    FEWEST_NUMBERS = 256
    TABLE_NUMBERS = 2


cdef void *grown(void **memory, Py_ssize_t count, size_t size) except NULL:
    cdef void *found = PyMem_RawRealloc(memory[0], max(count, <Py_ssize_t>1) * size)
    if found == NULL:
        raise MemoryError("no memory for a program's tables")
    memory[0] = found
    return found


cdef int begin_tables(Plan plan, Workspace self, Py_ssize_t rows, bint whole) except -1:
    """Decide whether the call is sparse, and note which numbers it takes; with `whole` it is not sparse."""
    cdef const Lookup *lookup
    cdef const Wide *wide
    cdef const Argument *argument
    cdef Py_ssize_t taken = rows * plan.lookup_count, number, row, at = 0
    cdef int32_t chosen
    self.taken_count = 0
    self.sparse = plan.tables >= max(<Py_ssize_t>FEWEST_NUMBERS, TABLE_NUMBERS * taken) and not whole
    if not self.sparse:
        return 0
    copy_indices(plan, self, rows)
    grown(<void **>&self.taken, taken, sizeof(int32_t))
    grown(<void **>&self.taken_numbers, taken, sizeof(double))
    grown(<void **>&self.taken_gradients, taken, sizeof(double))
    for number in range(plan.lookup_count):
        lookup = &plan.lookups[number]
        wide, argument = &plan.wides[lookup.wide], &self.arguments[lookup.argument]
        for row in range(rows):
            chosen = <int32_t>choice(
                argument.data + row * argument.row_step + lookup.column * argument.column_step, wide.inputs
            )
            if lookup.first >= 0:
                self.taken[at] = lookup.first + chosen
            else:
                chosen = ~plan.table[wide.left + chosen]
                self.taken[at] = chosen if 0 <= chosen < plan.parameters else -1
            at += 1
    # A `take` without a way back writes none.
    memset(self.taken_gradients, 0, taken * sizeof(double))
    self.taken_count = at
    return 0


cdef int copy_indices(Plan plan, Workspace self, Py_ssize_t rows) except -1:
    """Copy the indices: another thread may write the caller's array, but the run must take the noted ones."""
    cdef Argument *argument
    cdef Py_ssize_t number, row, column, count = 0
    cdef int64_t *out
    for number in range(plan.arguments):
        argument = &self.arguments[number]
        if argument.kind == INDICES:
            count += rows * argument.columns
    out = <int64_t *>grown(<void **>&self.indices, count, sizeof(int64_t))
    for number in range(plan.arguments):
        argument = &self.arguments[number]
        if argument.kind != INDICES:
            continue
        for row in range(rows):
            for column in range(argument.columns):
                out[row * argument.columns + column] = (<const int64_t *>(
                    argument.data + row * argument.row_step + column * argument.column_step
                ))[0]
        argument.data = <const char *>out
        argument.row_step = argument.columns * <Py_ssize_t>sizeof(int64_t)
        argument.column_step = sizeof(int64_t)
        out += rows * argument.columns
    return 0


cdef void clear_sums(const Job *job, double *sums) noexcept nogil:
    """Set the accumulators to 0, but for those of tables in a sparse call."""
    cdef Py_ssize_t rest = job.outputs + job.table_sums
    if not job.sparse:
        memset(sums, 0, job.accumulators * sizeof(double))
        return
    memset(sums, 0, job.outputs * sizeof(double))
    memset(sums + rest, 0, (job.accumulators - rest) * sizeof(double))


cdef void add_to_total(const Job *job, const double *amounts) noexcept nogil:
    """Add a part's accumulators to the total, but for those of tables in a sparse call."""
    cdef double *total = job.total
    cdef Py_ssize_t at, rest = job.outputs + (job.table_sums if job.sparse else 0)
    for at in range(job.outputs):
        total[at] += amounts[at]
    for at in range(rest, job.accumulators):
        total[at] += amounts[at]


cdef int read_parameters(Plan plan, Workspace self, tuple parameters) except -1:
    """Read the leaves that the call uses."""
    if not self.sparse:
        return read_leaves(parameters, self.uniform)
    read_leaves_at(parameters, plan.dense, plan.dense_count, self.uniform, False)
    return read_leaves_at(parameters, self.taken, self.taken_count, self.taken_numbers, True)


cdef void give_gradients(Plan plan, Workspace self, tuple parameters) noexcept:
    """Add the gradients to those of the leaves."""
    if self.sparse:
        add_gradients_at(parameters, plan.dense, plan.dense_count, self.gradient, False)
        add_gradients_at(parameters, self.taken, self.taken_count, self.taken_gradients, True)
    else:
        add_gradients(parameters, self.gradient)
