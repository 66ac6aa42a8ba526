/* A module that makes Python's allocator of raw memory fail, and that of objects if wanted.

   Not that of the third domain, in which lists grow: there Cython 3.3 (a list comprehension's item)
   and CPython up to 3.14 (list.append) give up a reference twice when memory runs out. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

static const PyMemAllocatorDomain DOMAINS[] = {PYMEM_DOMAIN_RAW, PYMEM_DOMAIN_OBJ};
static PyMemAllocatorEx originals[2];
static int armed = 0;
static Py_ssize_t count, first, last;

/* Whether this allocation is to fail; last is -1 for all that follow the first. */
static int fails(void) {
    Py_ssize_t number = count++;
    return number >= first && (last < 0 || number <= last);
}

static void *failing_malloc(void *context, size_t size) {
    PyMemAllocatorEx *original = context;
    return fails() ? NULL : original->malloc(original->ctx, size);
}

static void *failing_calloc(void *context, size_t items, size_t size) {
    PyMemAllocatorEx *original = context;
    return fails() ? NULL : original->calloc(original->ctx, items, size);
}

static void *failing_realloc(void *context, void *memory, size_t size) {
    PyMemAllocatorEx *original = context;
    return fails() ? NULL : original->realloc(original->ctx, memory, size);
}

static void plain_free(void *context, void *memory) {
    PyMemAllocatorEx *original = context;
    original->free(original->ctx, memory);
}

static PyObject *arm(PyObject *module, PyObject *args) {
    int index, objects;
    (void)module;
    if (armed) Py_RETURN_NONE;
    if (!PyArg_ParseTuple(args, "nnp", &first, &last, &objects)) return NULL;
    count = 0;
    for (index = 0; index < 1 + objects; index++) {
        PyMemAllocatorEx failing = {
            &originals[index], failing_malloc, failing_calloc, failing_realloc, plain_free
        };
        PyMem_GetAllocator(DOMAINS[index], &originals[index]);
        PyMem_SetAllocator(DOMAINS[index], &failing);
    }
    armed = 1 + objects;
    Py_RETURN_NONE;
}

static PyObject *disarm(PyObject *module, PyObject *unused) {
    int index;
    (void)module;
    (void)unused;
    for (index = 0; index < armed; index++)
        PyMem_SetAllocator(DOMAINS[index], &originals[index]);
    armed = 0;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"arm", arm, METH_VARARGS, "arm(first, last, objects): from now on fail these allocations."},
    {"disarm", disarm, METH_NOARGS, "disarm(): let every allocation succeed."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "failing_allocator", NULL, -1, methods, NULL, NULL, NULL, NULL
};

PyMODINIT_FUNC PyInit_failing_allocator(void) {
    return PyModule_Create(&definition);
}
