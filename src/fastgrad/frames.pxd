"""No frames of compiled code in tracebacks, which end at the line of Python that called it.

Cython keeps a frame's code object by its line alone, where several files of a module have a line of the
same number: frames name functions that were never called. Nor do users have the sources.
"""

cdef extern from *:
    """
    #include <frameobject.h>
    /* Cython makes a frame for nothing but a traceback, and does without if it gets none. */
    #define PyFrame_New(state, code, globals, locals) NULL
    """
