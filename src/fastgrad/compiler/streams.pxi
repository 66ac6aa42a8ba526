# Outputs that are larger than the caches go past them: a block writes its rows to memory of its own, and
# whole lines of the cache are copied from there, which the processor need not read before it writes them. A
# bundle adjustment's Jacobian (52 MB) took a third of its time to store, and half of that was the reading.

cdef extern from *:
    """
    #if defined(__SSE2__) || defined(_M_X64)
    #include <emmintrin.h>
    enum { fastgrad_streams = 1 };
    static void fastgrad_stream(char *out, const char *in, Py_ssize_t bytes) {
        /* The lines at both ends belong to other blocks, too. */
        Py_ssize_t at = (Py_ssize_t)(-(uintptr_t)out & 63);
        if (at > bytes) at = bytes;
        memcpy(out, in, at);
        for (; at + 64 <= bytes; at += 64)
            for (int part = 0; part < 64; part += 16)
                _mm_stream_pd((double *)(out + at + part), _mm_loadu_pd((const double *)(in + at + part)));
        memcpy(out + at, in + at, bytes - at);
    }
    /* Before another thread reads what this one has copied. */
    static void fastgrad_end_streams(void) { _mm_sfence(); }
    #else
    enum { fastgrad_streams = 0 };
    static void fastgrad_stream(char *out, const char *in, Py_ssize_t bytes) { memcpy(out, in, bytes); }
    static void fastgrad_end_streams(void) {}
    #endif
    """
    bint has_streams "fastgrad_streams"
    void copy_stream "fastgrad_stream"(char *, const char *, Py_ssize_t) noexcept nogil
    void finish_streams "fastgrad_end_streams"() noexcept nogil

cdef enum:
    # Fewer bytes of outputs may be in a cache when the caller reads them. Of 8 MB, writing takes 10 to 15 %
    # less time, and reading them 10 % more, which is a quarter as long.
    STREAMED_BYTES = 4194304
    # The most memory for a block's outputs, and its fewest rows.
    STREAMED_BLOCK = 131072
    STREAMED_LANES = 64

# Outputs side by side whose rows follow one another without a gap, and where a block writes them.
cdef struct Stream:
    Py_ssize_t first
    Py_ssize_t end
    char *target
    char *data
    Py_ssize_t row_step


cdef int prepare_streams(
    Plan plan, Workspace self, Worker *worker, Py_ssize_t rows, const Place *places
) except -1:
    """Find the outputs that are worth it, and make room for them."""
    cdef Py_ssize_t number = 0, end, block_bytes = plan.outputs * self.block_rows * sizeof(double)
    cdef const Place *place
    cdef Stream *stream
    worker.stream_count = 0
    if not has_streams or places == NULL or block_bytes > STREAMED_BLOCK or self.block_rows < STREAMED_LANES:
        return 0
    if rows * plan.outputs * <Py_ssize_t>sizeof(double) < STREAMED_BYTES:
        return 0
    if worker.streamed == NULL:
        worker.places = <Place *>self.room(plan.outputs, sizeof(Place))
        worker.streams = <Stream *>self.room(plan.outputs, sizeof(Stream))
        worker.streamed = self.numbers(plan.outputs * self.block_rows)
    memcpy(worker.places, places, plan.outputs * sizeof(Place))
    while number < plan.outputs:
        place = &places[number]
        end = number + 1
        while end < plan.outputs and places[end].row_step == place.row_step and (
            places[end].data == place.data + (end - number) * <Py_ssize_t>sizeof(double)
        ):
            end += 1
        if place.row_step == (end - number) * <Py_ssize_t>sizeof(double):
            stream = &worker.streams[worker.stream_count]
            worker.stream_count += 1
            stream.first, stream.end = number, end
            stream.target, stream.row_step = place.data, place.row_step
            stream.data = <char *>(worker.streamed + number * self.block_rows)
        number = end
    return 0


cdef void aim_streams(Worker *worker) noexcept nogil:
    """Have the outputs go to the block's own memory."""
    cdef const Stream *stream
    cdef Py_ssize_t number, at
    for number in range(worker.stream_count):
        stream = &worker.streams[number]
        for at in range(stream.first, stream.end):
            worker.places[at].data = stream.data - worker.block.row * stream.row_step \
                + (at - stream.first) * <Py_ssize_t>sizeof(double)


cdef void copy_streams(Worker *worker) noexcept nogil:
    """Copy a block's outputs to where the caller wants them."""
    cdef const Stream *stream
    cdef Py_ssize_t number
    for number in range(worker.stream_count):
        stream = &worker.streams[number]
        copy_stream(
            stream.target + worker.block.row * stream.row_step, stream.data,
            worker.block.lanes * stream.row_step,
        )
