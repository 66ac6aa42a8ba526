# Which kernels run: the widest instruction set that the processor has.

import os

from libc.stdint cimport uintptr_t

from fastgrad.compiler.instructions cimport Kernels

cdef extern from *:
    """
    /* setup.py defines it where it builds these kernels. */
    #if defined(FASTGRAD_X86_KERNELS)
    static int fastgrad_has_avx2(void) {
        __builtin_cpu_init();
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    }
    static int fastgrad_has_avx512(void) {
        __builtin_cpu_init();
        return fastgrad_has_avx2() && __builtin_cpu_supports("avx512f")
            && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    }
    #else
    static int fastgrad_has_avx2(void) { return 0; }
    static int fastgrad_has_avx512(void) { return 0; }
    #endif
    """
    bint has_avx2 "fastgrad_has_avx2"() noexcept
    bint has_avx512 "fastgrad_has_avx512"() noexcept


def available_kernels():
    """Return the names of the kernels that this processor can run, the widest last."""
    names = ["baseline"]
    if has_avx2():
        names.append("avx2")
    if has_avx512():
        names.append("avx512")  # no cover: not every processor has AVX-512
    return names


cdef Kernels *kernels = NULL
cdef str kernels_name = ""


cdef int choose_kernels() except -1:
    """Load the kernels named by FASTGRAD_KERNELS, or the widest; ValueError for an unknown name."""
    if kernels == NULL:
        use_kernels(os.environ.get("FASTGRAD_KERNELS", ""))
    return 0


def use_kernels(str name not None):
    """Have all programs run on the kernels of this name, or the widest; the tests try each."""
    global kernels, kernels_name
    names = available_kernels()
    if not name:
        name = names[len(names) - 1]
    elif name not in names:
        raise ValueError(f"FASTGRAD_KERNELS is {name!r}; this processor has {', '.join(names)}")
    if name == "avx512":
        from fastgrad.compiler.kernels import avx512 as module  # no cover: not every processor has AVX-512
    elif name == "avx2":
        from fastgrad.compiler.kernels import avx2 as module
    else:
        from fastgrad.compiler.kernels import baseline as module
    kernels = <Kernels *><uintptr_t>module.address()
    kernels_name = name


cdef str chosen_kernels():
    """The name of the kernels that run; chooses them if nothing has run yet."""
    choose_kernels()
    return kernels_name
