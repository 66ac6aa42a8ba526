# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False, binding=False
"""Replay: a plan runs over the rows of a call, in blocks of rows, parts of blocks, and threads.

Each part of the rows has its own accumulators, which are added up in the order of the parts. The number of
threads decides neither the blocks nor the parts, which follow from the program and the number of rows. So no
bit of the result depends on it.
"""

from libc.math cimport sqrt
from libc.stdint cimport int32_t, uintptr_t
from libc.string cimport memcpy, memset

from cython cimport critical_section

from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree

from fastgrad.compiler.instructions cimport *
from fastgrad.compiler.lowering cimport sums_up
from fastgrad.compiler.memory cimport zeroed
from fastgrad.compiler.plan cimport OVER_LANES, STEP_BY_STEP, STEP_LANES, STEP_STRIDE, InputCode, Lookup
from fastgrad.compiler.plan cimport LoopCode, LoopPlan, Plan, Stretch
from fastgrad.compiler.rows cimport RowGraph, RowMemory, RowState, all_finite, differentiate_row
from fastgrad.engine cimport add_gradients, add_gradients_at, read_leaves, read_leaves_at
from fastgrad.ops cimport *

__all__ = ["available_kernels", "use_kernels"]

include "kernels/choice.pxi"
include "helpers.pxi"

cdef extern from *:
    """
    /* For an int that one thread writes while others read it, without a lock; either order is right. */
    #if defined(_MSC_VER)
    #define fastgrad_read_shared(place) (*(const volatile int *)(place))
    #define fastgrad_write_shared(place, number) (*(volatile int *)(place) = (number))
    #else
    #define fastgrad_read_shared(place) __atomic_load_n(place, __ATOMIC_RELAXED)
    #define fastgrad_write_shared(place, number) __atomic_store_n(place, number, __ATOMIC_RELAXED)
    #endif
    """
    int read_shared "fastgrad_read_shared"(const int *) noexcept nogil
    void write_shared "fastgrad_write_shared"(int *, int) noexcept nogil

cdef enum:
    # The most memory for the registers of a block. Measured on a core with 1 MiB of second-level cache of its
    # own: 256 KiB is 15 to 25 % slower for programs of 1000 registers and more, the same for smaller ones.
    CACHE_BYTES = 786432
    # The fewest rows of a block, whatever its registers: an instruction of a long program, whose record comes
    # from memory as well, costs some 28 ns before its first lane. With 16 lanes 1000 steps of an integrator
    # take 4 times as long, with 64 twice.
    FEWEST_LANES = 128
    # More lanes if there are so many blocks then: 2,000 rows of a short program take 20 % less than in 16.
    FEWEST_BLOCKS = 8
    # A block has fewer rows than these if a thread's registers would take more memory than this.
    MOST_BYTES = 134217728
    # Memory for the registers of a segment's steps. Those of one row may take more than the cache: they are
    # written and read in order, which takes less time than to run the steps again.
    LOOP_BYTES = 262144
    LOOP_BYTES_OF_ONE_ROW = 8388608
    # Where the lanes are steps, a step runs again in less time than its registers take beyond the cache.
    LOOP_BYTES_OVER_STEPS = 262144
    HISTORY_BYTES = 33554432
    # The least work of a part.
    PART_WORK = 300000
    # The most work of a block, some hundredths of a second: Ctrl-C waits for its end.
    BLOCK_WORK = 100000000
    # A call is short if it does less than PART_WORK and has fewer instructions and numbers than this.
    # Releasing the GIL costs about 1 % of such a call, so short calls keep it.
    SHORT = 4096
    # Instructions between two looks for Ctrl-C: some milliseconds of the most expensive ones.
    STRETCH = 16384

cdef double SIGNAL_SECONDS = 0.03
# How many times as long a step takes on a block of few rows as in the interpreter of one row.
cdef double BLOCK_OF_FEW = 1.6


cdef struct Job:
    const Instruction *forward
    const Instruction *backward
    Py_ssize_t forward_count
    Py_ssize_t backward_count
    Run run_forward
    Run run_backward
    Py_ssize_t rows
    Py_ssize_t block_rows
    Py_ssize_t blocks
    Py_ssize_t parts
    Py_ssize_t accumulators
    # Those of tables, which a sparse call leaves out, follow the outputs'.
    Py_ssize_t outputs
    Py_ssize_t table_sums
    bint sparse
    # Each part has a set of accumulators; or each in turn clears the only one, and adds it to the total.
    double *part_accumulators
    double *total
    # A Jacobian: the way back is run once an output, each writing its own gradients.
    Py_ssize_t passes
    const Argument *arguments
    # For a graph that selects, or NULL: its rows, the first accumulator of their gradients, and whether all
    # are computed one by one.
    const RowGraph *rows_of
    Py_ssize_t by_row
    bint all_by_row
    # The lock guards the next part to run, the next to add up, which parts have run, and whether a thread is
    # adding.
    PyThread_type_lock lock
    Py_ssize_t next_part
    Py_ssize_t next_added
    char *finished
    bint adding
    # Read and written by all threads: see read_shared.
    int stop


include "streams.pxi"


cdef struct Worker:
    Job *job
    Block block
    double *seeds
    Argument *arguments
    Py_ssize_t argument_count
    # Of a graph that selects: the accumulators of one block, and the numbers of one row.
    double *block_sums
    RowState state
    Helper *helper
    # Large outputs: where they go, those that are copied from there, and the memory; see streams.pxi.
    Place *places
    Stream *streams
    Py_ssize_t stream_count
    double *streamed
    # When this thread last looked for Ctrl-C; 0 before the first time.
    double last_check
    bint main


cdef inline bint interrupted(Worker *worker) noexcept nogil:
    """Whether to stop; in the calling thread, also look for Ctrl-C now and then."""
    cdef double now
    if read_shared(&worker.job.stop):
        return True
    if worker.main:
        now = seconds()
        if worker.last_check == 0.0:
            worker.last_check = now
        if now - worker.last_check > SIGNAL_SECONDS:
            worker.last_check = now
            return look_for_signals(worker)
    return False


cdef bint look_for_signals(Worker *worker) noexcept nogil:
    # The exception stays set: the call that runs the job raises it.
    if signals_pending():
        write_shared(&worker.job.stop, True)
        return True
    return False


cdef extern from *:
    """
    static int fastgrad_signals_pending(void) {
        PyGILState_STATE state = PyGILState_Ensure();
        int pending = PyErr_CheckSignals() != 0;
        PyGILState_Release(state);
        return pending;
    }
    """
    bint signals_pending "fastgrad_signals_pending"() noexcept nogil


include "tables.pxi"


cdef void run_part(Worker *worker, Py_ssize_t part) noexcept nogil:
    cdef Job *job = worker.job
    cdef Block *block = &worker.block
    cdef double *own = block.accumulators
    cdef Py_ssize_t number, which
    cdef Py_ssize_t first = part * job.blocks // job.parts
    cdef Py_ssize_t end = (part + 1) * job.blocks // job.parts
    for number in range(first, end):
        if interrupted(worker):
            return
        block.row = number * job.block_rows
        block.lanes = min(job.block_rows, job.rows - block.row)
        if job.all_by_row:
            add_by_row(worker, own)
            continue
        if job.rows_of != NULL:
            block.accumulators = worker.block_sums
            memset(worker.block_sums, 0, job.accumulators * sizeof(double))
        aim_streams(worker)
        if not run_stretches(worker, job.run_forward, job.forward, job.forward_count, block):
            return
        copy_streams(worker)
        for which in range(job.passes):
            if job.passes > 1:
                aim_at(worker, which)
            if not run_stretches(worker, job.run_backward, job.backward, job.backward_count, block):
                return
            if job.rows_of != NULL:
                mend_rows(worker)
        if job.rows_of != NULL:
            block.accumulators = own
            add_block(worker, own)
    if worker.stream_count:
        finish_streams()


cdef void add_by_row(Worker *worker, double *own) noexcept nogil:
    """Add the gradients of a block's rows to the accumulators, row by row."""
    cdef Job *job = worker.job
    cdef Block *block = &worker.block
    cdef Py_ssize_t lane
    for lane in range(block.lanes):
        if interrupted(worker):
            return
        differentiate_row(
            job.rows_of, &worker.state, worker.arguments, block.uniform, worker.seeds, block.row + lane,
            own + job.by_row,
        )


cdef void add_block(Worker *worker, double *own) noexcept nogil:
    """Add a block's accumulators to those of its part: the outputs' sums, and gradients that are finite."""
    cdef Py_ssize_t outputs = worker.block.outputs, count = worker.job.accumulators, at
    if not all_finite(worker.block_sums + outputs, count - outputs):
        add_by_row(worker, own)
        count = outputs
    for at in range(count):
        own[at] += worker.block_sums[at]


cdef void mend_rows(Worker *worker) noexcept nogil:
    """Compute again those rows of a block whose gradients by the arguments are not all finite."""
    cdef Job *job = worker.job
    cdef Block *block = &worker.block
    cdef const Argument *argument
    cdef Py_ssize_t row, at
    cdef bint finite = True
    for at in range(worker.argument_count):
        argument = &worker.arguments[at]
        if argument.gradient != NULL:
            finite = finite and all_finite(
                argument.gradient + block.row * argument.columns, block.lanes * argument.columns
            )
    if finite:
        return
    for row in range(block.row, block.row + block.lanes):
        if interrupted(worker):
            return
        for at in range(worker.argument_count):
            argument = &worker.arguments[at]
            if argument.gradient == NULL:
                continue
            if not all_finite(argument.gradient + row * argument.columns, argument.columns):
                differentiate_row(
                    job.rows_of, &worker.state, worker.arguments, block.uniform, worker.seeds, row, NULL
                )
                break


cdef bint run_stretches(
    Worker *worker, Run run, const Instruction *first, Py_ssize_t count, const Block *block
) noexcept nogil:
    """Run the instructions on a block; return whether all of them were."""
    cdef Py_ssize_t done = 0
    while done < count:
        if done and interrupted(worker):
            return False
        run(first + done, min(<Py_ssize_t>STRETCH, count - done), block)
        done += STRETCH
    return True


cdef void aim_at(Worker *worker, Py_ssize_t output) noexcept nogil:
    """Have the next way back write the gradients of one output into that output's part of the arrays."""
    cdef Py_ssize_t at
    for at in range(worker.block.outputs):
        worker.seeds[at] = at == output
    for at in range(worker.argument_count):
        if worker.job.arguments[at].gradient != NULL:
            worker.arguments[at].gradient = worker.job.arguments[at].gradient \
                + output * worker.job.rows * worker.arguments[at].columns


cdef void run_parts(Worker *worker) noexcept nogil:
    """Run all parts in this thread."""
    cdef Job *job = worker.job
    cdef double *own = job.part_accumulators if job.parts > 1 else job.total
    cdef Py_ssize_t part
    worker.block.accumulators = own
    for part in range(job.parts):
        clear_sums(job, own)
        run_part(worker, part)
        if read_shared(&job.stop):
            return
        if job.parts > 1:
            add_to_total(job, own)


cdef void share_parts(Worker *worker) noexcept nogil:
    """Take parts until there are no more, and add up what is finished, in the order of the parts."""
    cdef Job *job = worker.job
    cdef Py_ssize_t part
    cdef double *own
    PyThread_acquire_lock(job.lock, 1)
    while job.next_part < job.parts and not read_shared(&job.stop):
        part = job.next_part
        job.next_part += 1
        PyThread_release_lock(job.lock)
        own = job.part_accumulators + part * job.accumulators
        clear_sums(job, own)
        worker.block.accumulators = own
        run_part(worker, part)
        PyThread_acquire_lock(job.lock, 1)
        job.finished[part] = not read_shared(&job.stop)
        if not job.adding:
            add_finished(job)
    PyThread_release_lock(job.lock)


cdef void add_finished(Job *job) noexcept nogil:
    """Add up the finished parts in their order; hold the lock only to look for the next one."""
    cdef Py_ssize_t part = job.next_added
    job.adding = True
    while part < job.parts and job.finished[part]:
        PyThread_release_lock(job.lock)
        add_to_total(job, job.part_accumulators + part * job.accumulators)
        part += 1
        PyThread_acquire_lock(job.lock, 1)
    job.next_added = part
    job.adding = False


cdef inline Py_ssize_t rounded_up(Py_ssize_t number) noexcept nogil:
    return (number + 7) // 8 * 8


cdef inline Py_ssize_t stride_of(Py_ssize_t block_rows) noexcept nogil:
    """From register to register: an odd number of cache lines, so that they do not compete for one set."""
    cdef Py_ssize_t stride = rounded_up(block_rows) + 8
    return stride + 8 if stride // 8 % 2 == 0 else stride


cdef void help(void *worker) noexcept nogil:
    share_parts(<Worker *>worker)


cdef bint call_worker(Worker *worker) noexcept nogil:
    """Have another thread take parts for this worker; return whether there is one."""
    worker.helper = call_helper(help, worker)
    return worker.helper != NULL


include "loop_state.pxi"
include "looping.pxi"
include "over_steps.pxi"
include "loops.pxi"


cdef void run_once(Plan plan, Workspace workspace) noexcept nogil:
    """Compute the uniform numbers, which are the registers of these instructions."""
    cdef Block block = block_of_once(plan, workspace)
    kernels.forward_one(plan.once, plan.once_count, &block)
    run_loops_once(workspace, &block)
    pack(plan, workspace.uniform, workspace.packed)


cdef void run_once_back(Plan plan, Workspace workspace) noexcept nogil:
    """Add to the gradients of the operands, from the last instruction to the first."""
    cdef Block block = block_of_once(plan, workspace)
    if workspace.loop_count:
        collect_loops(workspace, &block, workspace.total)
        block = block_of_once(plan, workspace)
    kernels.backward_one(plan.once_back, plan.once_back_count, &block)


cdef Block block_of_once(Plan plan, Workspace workspace) noexcept nogil:
    cdef Block block
    memset(&block, 0, sizeof(Block))
    block.registers = workspace.uniform
    block.stride = block.lanes = 1
    block.uniform = workspace.uniform
    block.scratch = workspace.workers[0].block.scratch
    block.table, block.wides = plan.table, plan.wides
    return block


cdef void pack(Plan plan, const double *u, double *packed) noexcept nogil:
    """Copy the biases and weights of every matrix to where fg_matrix reads them."""
    cdef const int32_t *source = plan.packed_from
    cdef Py_ssize_t at
    for at in range(plan.packed):
        packed[at] = u[source[at]]


cdef void run_threads(Plan plan, Workspace workspace) noexcept nogil:
    """Share the parts among this thread and others, who wake up while this one prepares the weights."""
    cdef Job *job = workspace.workers[0].job
    cdef Py_ssize_t number, helpers = 0
    memset(job.finished, 0, job.parts)
    PyThread_acquire_lock(job.lock, 1)
    # If the system gives no more threads, this one does their work.
    while helpers + 1 < workspace.threads and call_worker(&workspace.workers[helpers + 1]):
        helpers += 1
    run_once(plan, workspace)
    PyThread_release_lock(job.lock)
    share_parts(&workspace.workers[0])
    for number in range(1, helpers + 1):
        await_helper(workspace.workers[number].helper)


cdef class Workspace:
    """The memory of a call: one piece for all threads, one for each."""

    def __cinit__(self, Plan plan, Py_ssize_t block_rows, Py_ssize_t threads, Py_ssize_t parts):
        cdef Py_ssize_t number, loops = len(plan.all_loops)
        cdef Worker *worker
        cdef RowMemory memory
        cdef double *first
        self.memories = []
        self.block_rows, self.threads, self.parts = block_rows, threads, parts
        self.stride = stride_of(block_rows) if block_rows > 1 else 1
        self.owned = <void **>zeroed(17 + 2 * loops + (15 + 10 * loops) * threads, sizeof(void *))
        self.arguments = <Argument *>self.room(plan.arguments, sizeof(Argument))
        self.places = <Place *>self.room(plan.outputs, sizeof(Place))
        # The gradients of uniform numbers follow the numbers: both are registers of what runs once.
        self.uniform = self.numbers(2 * plan.uniforms)
        self.gradient = self.uniform + plan.uniforms
        self.seeds = self.numbers(plan.outputs)
        self.sums = self.numbers(plan.outputs)
        self.packed = self.numbers(plan.packed)
        self.total = self.numbers(plan.sums)
        self.part_accumulators = self.numbers(plan.sums * (parts if threads > 1 else 1))
        self.finished = <char *>self.room(parts, 1)
        self.workers = <Worker *>self.room(threads, sizeof(Worker))
        prepare_loops(self, plan)
        for number in range(threads):
            worker = &self.workers[number]
            worker.block.registers = self.numbers(plan.registers * self.stride)
            worker.block.forward, worker.block.backward = kernels.forward, kernels.backward
            worker.block.scratch = self.numbers(max(self.stride, rounded_up(plan.most_members)))
            # Of one lane, they are the numbers themselves, which on 32 bits are wider than their addresses.
            first = <double *>self.room(2 * plan.widest, sizeof(double))
            worker.block.first_pointers = <double **>first
            worker.block.second_pointers = <double **>(first + plan.widest)
            worker.seeds = self.numbers(plan.outputs)
            worker.arguments = <Argument *>self.room(plan.all_arguments, sizeof(Argument))
            add_loops(self, plan, worker)
            if plan.rows is not None:
                worker.block_sums = self.numbers(plan.sums)
                memory = RowMemory(plan.rows, False)
                self.memories.append(memory)
                worker.state = memory.state
        if threads > 1:
            self.lock = new_lock()

    cdef void *room(self, Py_ssize_t count, size_t size) except NULL:
        cdef void *memory = zeroed(count, size)
        self.owned[self.owned_count] = memory
        self.owned_count += 1
        self.bytes += count * size
        return memory

    cdef double *numbers(self, Py_ssize_t count) except NULL:
        """Doubles from the beginning of a cache line: else every second vector would lie in two lines."""
        cdef char *memory = <char *>self.room(count + 8, sizeof(double))
        return <double *>(memory + (-<uintptr_t>memory) % 64)

    def __dealloc__(self):
        cdef Py_ssize_t number
        if self.lock != NULL:
            PyThread_free_lock(self.lock)
        PyMem_RawFree(self.taken)
        PyMem_RawFree(self.taken_numbers)
        PyMem_RawFree(self.taken_gradients)
        PyMem_RawFree(self.indices)
        if self.owned != NULL:
            for number in range(self.owned_count):
                PyMem_RawFree(self.owned[number])
        PyMem_RawFree(self.owned)


cdef Py_ssize_t lanes_for(Plan plan, Py_ssize_t rows, Py_ssize_t wanted) noexcept:
    """The number of rows of a block: as many as fit the cache, in blocks of about equal size."""
    cdef Py_ssize_t lane_bytes = 8 * max(registers_of(plan), 1)
    cdef Py_ssize_t most, blocks
    if rows == 1 or wanted == 1 or (wanted == 0 and few_over_steps(plan, rows)):
        return 1
    if wanted > 0:
        most = max(<Py_ssize_t>(BLOCK_WORK / (work_of(plan) + 1.0)), <Py_ssize_t>MOST_LANES)
        return max(min(wanted, most, rounded_up(rows)), 2)
    most = max(CACHE_BYTES // lane_bytes, min(<Py_ssize_t>FEWEST_LANES, MOST_BYTES // lane_bytes))
    most = min(max(most // 8 * 8, 16), MOST_LANES)
    # Make enough blocks for threads to share.
    most = min(most, max(<Py_ssize_t>FEWEST_LANES, rounded_up(rows // FEWEST_BLOCKS)))
    blocks = (rows + most - 1) // most
    return rounded_up((rows + blocks - 1) // blocks)


cdef bint few_over_steps(Plan plan, Py_ssize_t rows) noexcept:
    """Whether rows are so few that they run quicker one by one, the lanes being steps of loops."""
    for loop in plan.all_loops:
        if (<LoopPlan>loop).over_steps is None or rows * (<LoopPlan>loop).share_over_steps > BLOCK_OF_FEW:
            return False
    return len(plan.all_loops) > 0


cdef Py_ssize_t registers_of(Plan plan) noexcept:
    """The registers that a block works with: its own, and those of the steps of its loops."""
    cdef Py_ssize_t count = plan.registers
    for loop in plan.all_loops:
        count += 4 * (<LoopPlan>loop).code.registers
    return count


cdef inline double work_of(Plan plan) noexcept nogil:
    """The work of a row, in operations; see count_work."""
    return plan.work


cdef inline bint is_short(Plan plan, Py_ssize_t rows) noexcept:
    """Whether a call takes only some microseconds: see SHORT."""
    return work_of(plan) * 3.0 * <double>rows < PART_WORK and plan.forward_count + plan.uniforms < SHORT


cdef Py_ssize_t parts_for(Plan plan, Py_ssize_t rows, Py_ssize_t blocks) noexcept:
    cdef double parts = work_of(plan) * 3.0 * <double>rows / PART_WORK
    return max(min(<Py_ssize_t>min(parts, <double>MOST_PARTS), blocks), 1)


cdef Workspace workspace_for(Plan plan, Py_ssize_t rows, Py_ssize_t wanted, Py_ssize_t threads):
    """A workspace that no other call uses; give it back to plan.workspaces."""
    cdef Py_ssize_t block_rows = lanes_for(plan, rows, wanted)
    cdef Py_ssize_t parts = parts_for(plan, rows, (rows + block_rows - 1) // block_rows)
    cdef Workspace found
    threads = min(threads, parts)
    while True:
        found = None
        # A `break` or `return` in here would leak a reference (Cython 3.3.1).
        with critical_section(plan):
            if plan.workspaces:
                found = plan.workspaces.pop()
        if found is None:
            return Workspace(plan, block_rows, threads, parts)
        if found.block_rows == block_rows and found.threads == threads and found.parts == parts:
            return found


cdef void collect(Plan plan, Workspace workspace) noexcept nogil:
    """Add the accumulators of the rows to the gradients of the uniform numbers."""
    cdef double *gradient = workspace.gradient
    cdef Py_ssize_t at, first = plan.outputs
    if workspace.sparse:
        for at in range(plan.dense_count):
            gradient[plan.dense[at]] = 0.0
        memset(gradient + plan.parameters, 0, (plan.uniforms - plan.parameters) * sizeof(double))
        first += plan.table_sums
    else:
        memset(gradient, 0, plan.uniforms * sizeof(double))
    for at in range(first, plan.accumulators):
        gradient[plan.accumulated[at]] += workspace.total[at]


cdef int run_rows(
    Plan plan, Workspace workspace, Py_ssize_t rows, const double *seeds, const Place *places,
    Py_ssize_t passes
) except -1:
    """Run the instructions of the batch and of all rows; a call that is not short releases the GIL.

    Afterwards workspace.total has the accumulators, workspace.gradient the parameters' gradients.
    """
    cdef Job job
    cdef Worker *worker
    cdef Py_ssize_t number
    job.forward, job.backward = plan.forward, plan.backward
    job.forward_count, job.backward_count = plan.forward_count, plan.backward_count
    job.run_forward = kernels.forward_one if workspace.stride == 1 else kernels.forward
    job.run_backward = kernels.backward_one if workspace.stride == 1 else kernels.backward
    job.rows, job.block_rows = rows, workspace.block_rows
    job.blocks = (rows + job.block_rows - 1) // job.block_rows
    job.parts = workspace.parts
    job.accumulators, job.outputs, job.table_sums = plan.sums, plan.outputs, plan.table_sums
    job.sparse = workspace.sparse
    job.part_accumulators, job.total = workspace.part_accumulators, workspace.total
    job.passes = passes
    job.arguments = workspace.arguments
    job.rows_of = NULL if plan.rows is None or seeds == NULL else &plan.rows.of
    job.by_row, job.all_by_row = plan.by_row, False
    job.next_part = job.next_added = 0
    job.finished, job.adding = workspace.finished, False
    job.stop = False
    job.lock = workspace.lock
    if job.parts > 1:
        clear_sums(&job, job.total)
    for number in range(workspace.threads):
        worker = &workspace.workers[number]
        worker.job = &job
        worker.main = number == 0
        worker.last_check = 0.0
        worker.argument_count = plan.arguments
        memcpy(worker.arguments, workspace.arguments, plan.arguments * sizeof(Argument))
        worker.block.stride = workspace.stride
        worker.block.uniform, worker.block.packed = workspace.uniform, workspace.packed
        worker.block.table, worker.block.wides = plan.table, plan.wides
        worker.block.arguments = worker.arguments
        worker.block.taken = workspace.taken if workspace.sparse else NULL
        worker.block.taken_numbers, worker.block.rows = workspace.taken_numbers, rows
        worker.block.taken_gradients = workspace.taken_gradients if sums_up(plan.purpose) else NULL
        prepare_streams(plan, workspace, worker, rows, places)
        worker.block.places = <const Place *>worker.places if worker.stream_count else places
        worker.block.outputs = plan.outputs
        worker.block.seeds = worker.seeds
        if seeds != NULL:
            memcpy(worker.seeds, seeds, plan.outputs * sizeof(double))
    if is_short(plan, rows * passes):
        run_job(plan, workspace, &job)
    else:
        with nogil:
            run_job(plan, workspace, &job)
    return -1 if job.stop else 0


cdef void run_job(Plan plan, Workspace workspace, Job *job) noexcept nogil:
    if workspace.threads > 1:
        run_threads(plan, workspace)
    else:
        run_once(plan, workspace)
        run_parts(&workspace.workers[0])
    if sums_up(plan.purpose) and not job.stop:
        collect(plan, workspace)
        run_once_back(plan, workspace)
        if job.rows_of != NULL and plan.once_count and not all_finite(
            workspace.gradient, plan.parameters + plan.shared_count
        ):
            run_all_by_row(plan, workspace, job)


cdef void run_all_by_row(Plan plan, Workspace workspace, Job *job) noexcept nogil:
    """Compute the gradients again, row by row; keep the outputs' sums.

    An instruction of `once` may select, and mend_rows() computes nothing again that runs once a batch.
    """
    memcpy(workspace.sums, job.total, plan.outputs * sizeof(double))
    memset(job.total, 0, job.accumulators * sizeof(double))
    job.all_by_row = True
    run_parts(&workspace.workers[0])
    memcpy(job.total, workspace.sums, plan.outputs * sizeof(double))
    collect(plan, workspace)


cdef Py_ssize_t block_bytes(Plan plan) noexcept:
    """The memory of a block's registers, and of what its loops keep."""
    cdef Py_ssize_t stride = stride_of(lanes_for(plan, MOST_PARTS * MOST_LANES, 0))
    cdef Py_ssize_t count = plan.registers
    for loop in plan.all_loops:
        count += numbers_of_loop(&(<LoopPlan>loop).code, segment_of(&(<LoopPlan>loop).code, stride))
    return 8 * count * stride
