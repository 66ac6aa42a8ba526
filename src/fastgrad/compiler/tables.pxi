# Tables are the parameters that only `take` reads. A call that takes few of their numbers is sparse: it reads
# these numbers only, and adds to their gradients only. Between calls the tables' accumulators are 0.

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
    cdef int32_t operand
    self.taken_count = 0
    self.sparse = plan.tables >= max(<Py_ssize_t>FEWEST_NUMBERS, TABLE_NUMBERS * taken) and not whole
    if not self.sparse:
        self.clean = False
        return 0
    copy_indices(plan, self, rows)
    grown(<void **>&self.taken, taken, sizeof(int32_t))
    grown(<void **>&self.taken_sums, taken, sizeof(int32_t))
    for number in range(plan.lookup_count):
        lookup = &plan.lookups[number]
        wide, argument = &plan.wides[lookup.wide], &self.arguments[lookup.argument]
        for row in range(rows):
            operand = <int32_t>choice(
                argument.data + row * argument.row_step + lookup.column * argument.column_step, wide.inputs
            )
            self.taken[at] = self.taken_sums[at] = -1
            if 0 <= ~plan.table[wide.left + operand] < plan.parameters:
                self.taken[at] = ~plan.table[wide.left + operand]
            operand = plan.table[wide.left_adjoint + operand]
            if plan.purpose != FORWARD and 0 <= operand - plan.outputs < plan.table_sums:
                self.taken_sums[at] = operand
            at += 1
    self.taken_count = at
    if not self.clean:
        memset(self.total + plan.outputs, 0, plan.table_sums * sizeof(double))
        for number in range(self.parts if self.threads > 1 else 1):
            memset(
                self.part_accumulators + number * plan.sums + plan.outputs, 0,
                plan.table_sums * sizeof(double),
            )
        memset(self.gradient, 0, plan.parameters * sizeof(double))
    self.clean = True
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
    """Set the accumulators to 0, except those of tables in a sparse call, which are 0."""
    cdef Py_ssize_t first = job.outputs + job.table_sums
    if job.taken_sums == NULL:
        memset(sums, 0, job.accumulators * sizeof(double))
        return
    memset(sums, 0, job.outputs * sizeof(double))
    memset(sums + first, 0, (job.accumulators - first) * sizeof(double))


cdef void add_to_total(Job *job, double *amounts, Py_ssize_t part) noexcept nogil:
    """Add a part's accumulators to the total; leave those of tables 0 in a sparse call."""
    cdef double *total = job.total
    cdef Py_ssize_t at, lookup, row
    cdef Py_ssize_t end = job.accumulators if job.taken_sums == NULL else job.outputs
    cdef int32_t place
    for at in range(end):
        total[at] += amounts[at]
    if job.taken_sums == NULL:
        return
    for at in range(job.outputs + job.table_sums, job.accumulators):
        total[at] += amounts[at]
    for lookup in range(job.lookups):
        for row in range(
            part * job.blocks // job.parts * job.block_rows,
            min((part + 1) * job.blocks // job.parts * job.block_rows, job.rows),
        ):
            place = job.taken_sums[lookup * job.rows + row]
            if place >= 0:
                # Two rows that took the same number share an accumulator, which is added once.
                total[place] += amounts[place]
                amounts[place] = 0.0


cdef void collect_tables(Plan plan, Workspace self) noexcept nogil:
    """Move the sums for the tables to the gradients of the parameters."""
    cdef Py_ssize_t at
    cdef int32_t place
    for at in range(self.taken_count):
        place = self.taken_sums[at]
        if place >= 0:
            self.gradient[plan.accumulated[place]] += self.total[place]
            self.total[place] = 0.0


cdef int read_parameters(Plan plan, Workspace self, tuple parameters) except -1:
    """Read the leaves that the call uses."""
    if not self.sparse:
        return read_leaves(parameters, self.uniform)
    read_leaves_at(parameters, plan.dense, plan.dense_count, self.uniform)
    return read_leaves_at(parameters, self.taken, self.taken_count, self.uniform)


cdef void give_gradients(Plan plan, Workspace self, tuple parameters) noexcept:
    """Add the gradients to those of the leaves."""
    if self.sparse:
        move_gradients(parameters, plan.dense, plan.dense_count, self.gradient)
        move_gradients(parameters, self.taken, self.taken_count, self.gradient)
    else:
        add_gradients(parameters, self.gradient)
