/* What differs between platforms and builds: bits, prefetching, checks, memory. */

#ifndef FASTGRAD_PLATFORM_H
#define FASTGRAD_PLATFORM_H

#include <Python.h>
#include <stdint.h>

/* Such builds of CPython have more words before an object, or a table of all objects. */
#if defined(Py_TRACE_REFS)
#error "fastgrad's nodes have no room for what Py_TRACE_REFS keeps"
#endif

/* Without the global interpreter lock only CPython may allocate what its collector visits: a node is then an
   allocation of its own, with a chunk for itself alone. */
#if defined(Py_GIL_DISABLED)
#define FASTGRAD_POOL 0
#define FASTGRAD_FIRST_SLOT 0
#define FASTGRAD_SLOTS 1
#else
#define FASTGRAD_POOL 1
#define FASTGRAD_FIRST_SLOT 3
#define FASTGRAD_SLOTS 64
#endif

/* What the collector keeps before an object: two words. */
#define FASTGRAD_HEAD_BYTES ((int)(2 * sizeof(void *)))

/* The beginning of every object. Where there is a pool, CPython has these two fields there and no others. */
typedef union {
    PyObject object;
    struct {
        Py_ssize_t refcount;
        PyTypeObject *type;
    };
} fastgrad_head;

#if defined(_MSC_VER)
#include <intrin.h>
static inline int fastgrad_highest_bit(uint64_t word) {
    unsigned long index;
    _BitScanReverse64(&index, word);
    return (int)index;
}
static inline void fastgrad_prefetch(const void *address) { (void)address; }
static inline void fastgrad_prefetch_early(const void *address) { (void)address; }
#else
static inline void fastgrad_prefetch(const void *address) { __builtin_prefetch(address); }
/* Into the second-level cache: the first-level cache waits for at most some 20 lines at a time. */
static inline void fastgrad_prefetch_early(const void *address) { __builtin_prefetch(address, 0, 2); }
static inline int fastgrad_highest_bit(uint64_t word) {
    return 63 - __builtin_clzll(word);
}
#endif

/* Whether this build is for edits and tests, and no measure of speed. */
#if !defined(FASTGRAD_QUICK)
#define FASTGRAD_QUICK 0
#endif

/* A build with FASTGRAD_ASSERTIONS calls what invariants.pxi installs. */
#if defined(FASTGRAD_ASSERTIONS)
#define fastgrad_expect(condition, message) \
    do { if (!(condition)) Py_FatalError(message); } while (0)
#else
#define fastgrad_expect(condition, message) ((void)(condition), (void)(message))
#endif
#if defined(FASTGRAD_ASSERTIONS) && FASTGRAD_POOL
#define FASTGRAD_CHECKED 1
static struct {
    void (*made)(void *);
    void (*freed)(void *);
    void (*after_backward)(void);
} fastgrad_checks;
#define fastgrad_set_checks(of_made, of_freed, of_all) \
    (fastgrad_checks.made = (of_made), fastgrad_checks.freed = (of_freed), \
     fastgrad_checks.after_backward = (of_all))
#define fastgrad_made(node) fastgrad_checks.made(node)
#define fastgrad_freed(node) fastgrad_checks.freed(node)
#define fastgrad_after_backward() fastgrad_checks.after_backward()
static PyObject *fastgrad_owned(void *node) {
    fastgrad_made(node);
    return (PyObject *)node;
}
#else
#define FASTGRAD_CHECKED 0
#define fastgrad_set_checks(of_made, of_freed, of_all) ((void)(of_made), (void)(of_freed), (void)(of_all))
#define fastgrad_made(node) ((void)(node))
#define fastgrad_freed(node) ((void)(node))
#define fastgrad_after_backward() ((void)0)
#define fastgrad_owned(node) ((PyObject *)(node))
#endif

/* AddressSanitizer knows nothing of the pool: it is told which slots hold no node. */
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define fastgrad_forbid(memory, size) ASAN_POISON_MEMORY_REGION(memory, size)
#define fastgrad_allow(memory, size) ASAN_UNPOISON_MEMORY_REGION(memory, size)
#else
#define fastgrad_forbid(memory, size) ((void)(memory))
#define fastgrad_allow(memory, size) ((void)(memory))
#endif

#if FASTGRAD_POOL
#include <stdlib.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif
/* Aligned to its size, which is that of a huge page: a page fault for every 4 KiB costs more
   than building the 61 nodes in it (7 us on a virtual machine, 0.1 us on bare metal).

   From the system, as malloc would use a page more for its own header. Memcheck can tell what was
   never written only of what malloc gave: `nox -s valgrind` builds with FASTGRAD_ARENAS_FROM_MALLOC. */
#if defined(_WIN32)
static inline void *fastgrad_allocate_arena(size_t size) {
    return _aligned_malloc(size, size);
}
static inline void fastgrad_free_arena(void *memory, size_t size) {
    (void)size;
    _aligned_free(memory);
}
#elif defined(__linux__) && !defined(FASTGRAD_ARENAS_FROM_MALLOC)
static inline void *fastgrad_allocate_arena(size_t size) {
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    char *memory = (char *)mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, flags, -1, 0);
    size_t before;
    if ((void *)memory == MAP_FAILED) return NULL;
    before = (size_t)(-(uintptr_t)memory & (size - 1));
    if (before != 0) munmap(memory, before);
    munmap(memory + before + size, size - before);
#if defined(MADV_HUGEPAGE)
    madvise(memory + before, size, MADV_HUGEPAGE);
#endif
    return memory + before;
}
static inline void fastgrad_free_arena(void *memory, size_t size) {
    munmap(memory, size);
}
#else
static inline void *fastgrad_allocate_arena(size_t size) {
    void *memory = NULL;
    return posix_memalign(&memory, size, size) == 0 ? memory : NULL;
}
static inline void fastgrad_free_arena(void *memory, size_t size) {
    (void)size;
    free(memory);
}
#endif
#endif

#endif
