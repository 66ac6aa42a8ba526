/* What is a thread's own, what threads share, and how they change it. With the global interpreter lock all of it
   is plain C: one thread runs at a time.

   Without the lock a thread is "attached" from one point at which the interpreter may stop it to the next, and
   nothing in the engine between two operations of Python's is such a point. So what fastgrad_alone() runs
   never meets another thread in the middle of a walk over a graph. */

#ifndef FASTGRAD_THREAD_STATE_H
#define FASTGRAD_THREAD_STATE_H

#include <Python.h>
#include <stdint.h>
#include <string.h>

#if !defined(Py_GIL_DISABLED)
#define FASTGRAD_THREAD_LOCAL
#elif defined(_MSC_VER)
#define FASTGRAD_THREAD_LOCAL __declspec(thread)
#elif defined(__GLIBC__)
/* An offset from the thread's pointer, not a call for each use. */
#define FASTGRAD_THREAD_LOCAL __attribute__((tls_model("initial-exec"))) _Thread_local
#else
#define FASTGRAD_THREAD_LOCAL _Thread_local
#endif

/* The beginning is zeros in every thread. */
typedef struct fastgrad_thread {
    /* The queue of nodes to be freed, and whether they are being freed. */
    void *doomed;
    void *last_doomed;
    int draining;
    int tracing;
#if defined(Py_GIL_DISABLED)
    /* Freed nodes, for the next ones, and how many the thread may keep. */
    void *spare;
    Py_ssize_t spare_count;
    Py_ssize_t spare_limit;
    /* The numbers that are left for nodes, the first being this thread's next. */
    uint64_t next_number;
    uint64_t end_of_numbers;
    /* How many more nodes this thread has made than freed. */
    Py_ssize_t live_count;
    /* Memory for the order of a backward(): collect.pxi. */
    void **nodes;
    void **places;
    size_t room;
    size_t place_room;
    struct fastgrad_thread *next;
    /* This thread's number, from 1; 0 before its first use of the engine. */
    uint32_t id;
    /* Whether the thread may keep spare nodes, since it will be told of its end. */
    int open;
#endif
} fastgrad_thread;

static FASTGRAD_THREAD_LOCAL fastgrad_thread fastgrad_here;

#if !defined(Py_GIL_DISABLED)

static inline void fastgrad_count(Py_ssize_t *counter, Py_ssize_t change) { *counter += change; }
static inline int fastgrad_give_up(PyObject *object) { (void)object; return 0; }
static inline Py_ssize_t fastgrad_counted(const Py_ssize_t *counter) { return *counter; }
static inline PyObject *fastgrad_publish(PyObject **place, PyObject *candidate) {
    *place = candidate;
    return candidate;
}
static inline PyObject *fastgrad_published(PyObject *const *place) { return *place; }
static inline void fastgrad_add(double *place, double amount) { *place += amount; }
static inline void fastgrad_alone(void (*change)(void *), void *argument) { change(argument); }

#else

static inline void fastgrad_count(Py_ssize_t *counter, Py_ssize_t change) {
    _Py_atomic_add_ssize(counter, change);
}
static inline Py_ssize_t fastgrad_counted(const Py_ssize_t *counter) {
    return _Py_atomic_load_ssize_relaxed(counter);
}

/* Whether the caller has the last reference, which is then given up without a look at the type. What CPython
   does in Py_DECREF where no other thread has ever had one: three calls less, 10 ns. */
static inline int fastgrad_give_up(PyObject *object) {
    if (object->ob_tid == _Py_ThreadId() && object->ob_ref_local == 1
        && _Py_atomic_load_ssize_relaxed(&object->ob_ref_shared) == 0) {
        _Py_atomic_store_uint32_relaxed(&object->ob_ref_local, 0);
        return 1;
    }
    Py_DECREF(object);
    return 0;
}

/* Make a freed object one with a reference again, as PyObject_Init does; it keeps its type. */
static inline void fastgrad_revive(PyObject *object) {
    object->ob_flags = 0;
    memset(&object->ob_mutex, 0, sizeof object->ob_mutex);
    object->ob_gc_bits = 0;
    _Py_atomic_store_uintptr_relaxed(&object->ob_tid, _Py_ThreadId());
    _Py_atomic_store_uint32_relaxed(&object->ob_ref_local, 1);
    _Py_atomic_store_ssize_relaxed(&object->ob_ref_shared, 0);
}

/* Put an object where there is none yet; return what is there then, perhaps another thread's. */
static inline PyObject *fastgrad_publish(PyObject **place, PyObject *candidate) {
    PyObject *found = NULL;
    return _Py_atomic_compare_exchange_ptr(place, &found, candidate) ? candidate : found;
}
static inline PyObject *fastgrad_published(PyObject *const *place) {
    return (PyObject *)_Py_atomic_load_ptr_acquire(place);
}

/* Add to a number that other threads add to. */
static inline void fastgrad_add(double *place, double amount) {
    uint64_t old = _Py_atomic_load_uint64_relaxed((uint64_t *)place), sum;
    double number;
    do {
        memcpy(&number, &old, sizeof number);
        number += amount;
        memcpy(&sum, &number, sizeof sum);
    } while (!_Py_atomic_compare_exchange_uint64((uint64_t *)place, &old, sum));
}

/* Where a branch must stay one: what is computed behind it need not wait for its condition. Left to itself,
   gcc makes an assignment under a condition a choice between two values, which does. */
static inline void fastgrad_stay_a_branch(void) {
#if defined(__GNUC__)
    __asm__ volatile("");
#endif
}

typedef struct {
    void (*change)(void *);
    void *argument;
} fastgrad_change;

static int fastgrad_change_once(PyObject *first, void *argument) {
    fastgrad_change *change = (fastgrad_change *)argument;
    (void)first;
    if (change->change != NULL) {
        change->change(change->argument);
        change->change = NULL;
    }
    return 0;
}

/* Run a change while every other thread waits, by the call that is documented to stop them and to end as soon
   as the function says so. The change runs no Python code. */
static void fastgrad_alone(void (*change)(void *), void *argument) {
    fastgrad_change once;
    once.change = change;
    once.argument = argument;
    PyUnstable_GC_VisitObjects(fastgrad_change_once, &once);
    if (once.change != NULL) change(argument);
}

/* The thread's number that is there, perhaps another's. */
static inline uint32_t fastgrad_claimed(const uint32_t *place) {
    return _Py_atomic_load_uint32_relaxed(place);
}

/* Put the thread's number where there is none yet; whether it is there then. */
static inline int fastgrad_claim(uint32_t *place, uint32_t id) {
    uint32_t found = 0;
    return _Py_atomic_compare_exchange_uint32(place, &found, id) || found == id;
}

static PyMutex fastgrad_threads_lock;
/* Of the nodes that a traced function made. */
static PyMutex fastgrad_traced_lock;
static fastgrad_thread *fastgrad_threads;
/* Of threads that have ended, and of those that could not be entered into the list. */
static Py_ssize_t fastgrad_live_elsewhere;
static uint64_t fastgrad_numbers_given;
static uint32_t fastgrad_ids_given;

/* Numbers are drawn in blocks, so that threads seldom meet at the counter. */
#define FASTGRAD_NUMBERS 1048576u
static inline void fastgrad_draw_numbers(void) {
    fastgrad_here.next_number = _Py_atomic_add_uint64(&fastgrad_numbers_given, FASTGRAD_NUMBERS);
    fastgrad_here.end_of_numbers = fastgrad_here.next_number + FASTGRAD_NUMBERS;
}

/* Spare nodes, of 96 bytes: 13 MB for each thread, and 50 MB more for all of them together. A node that CPython
   allocates anew takes twice the time, and brings the next collection of garbage nearer. */
#define FASTGRAD_SPARE_NODES 131072
static Py_ssize_t fastgrad_spare_left = 4 * FASTGRAD_SPARE_NODES;

/* Whether a thread that keeps as many nodes as it may gets leave to keep more. */
static int fastgrad_may_keep_more(void) {
    if (!fastgrad_here.open) return 0;
    if (fastgrad_here.spare_limit != 0
        && _Py_atomic_add_ssize(&fastgrad_spare_left, -FASTGRAD_SPARE_NODES / 4) < FASTGRAD_SPARE_NODES / 4) {
        _Py_atomic_add_ssize(&fastgrad_spare_left, FASTGRAD_SPARE_NODES / 4);
        return 0;
    }
    fastgrad_here.spare_limit += fastgrad_here.spare_limit == 0 ? FASTGRAD_SPARE_NODES : FASTGRAD_SPARE_NODES / 4;
    return 1;
}

#define FASTGRAD_THREAD_KEY "fastgrad.engine"

static void fastgrad_forget_thread(fastgrad_thread *thread) {
    fastgrad_thread **link;
    PyMutex_Lock(&fastgrad_threads_lock);
    for (link = &fastgrad_threads; *link != NULL; link = &(*link)->next) {
        if (*link == thread) {
            *link = thread->next;
            _Py_atomic_add_ssize(&fastgrad_live_elsewhere, thread->live_count);
            thread->live_count = 0;
            break;
        }
    }
    PyMutex_Unlock(&fastgrad_threads_lock);
}

/* What frees the thread's memory when its state is cleared: the destructor of a capsule in its dict. */
static void (*fastgrad_free_spare)(void);
static void fastgrad_leave_thread(PyObject *capsule) {
    fastgrad_thread *thread = (fastgrad_thread *)PyCapsule_GetPointer(capsule, FASTGRAD_THREAD_KEY);
    /* In a new process, the states of threads that are not in it are cleared by another. */
    if (thread != &fastgrad_here) return;
    thread->open = 0;
    fastgrad_free_spare();
    if (thread->spare_limit > FASTGRAD_SPARE_NODES)
        _Py_atomic_add_ssize(&fastgrad_spare_left, thread->spare_limit - FASTGRAD_SPARE_NODES);
    thread->spare_limit = 0;
    PyMem_RawFree(thread->nodes);
    PyMem_RawFree(thread->places);
    thread->nodes = thread->places = NULL;
    thread->room = thread->place_room = 0;
    fastgrad_forget_thread(thread);
}

/* Give the thread its number, and what ends with it. Without memory it goes without spare nodes. */
static void fastgrad_enter_thread(void) {
    PyObject *raised = PyErr_GetRaisedException(), *capsule, *dict = PyThreadState_GetDict();
    fastgrad_here.id = _Py_atomic_add_uint32(&fastgrad_ids_given, 1) + 1;
    capsule = dict == NULL ? NULL
        : PyCapsule_New(&fastgrad_here, FASTGRAD_THREAD_KEY, fastgrad_leave_thread);
    if (capsule != NULL) {
        PyMutex_Lock(&fastgrad_threads_lock);
        fastgrad_here.next = fastgrad_threads;
        fastgrad_threads = &fastgrad_here;
        PyMutex_Unlock(&fastgrad_threads_lock);
        fastgrad_here.open = PyDict_SetItemString(dict, FASTGRAD_THREAD_KEY, capsule) == 0;
        Py_DECREF(capsule);
    }
    PyErr_SetRaisedException(raised);
}

static inline void fastgrad_count_node(Py_ssize_t change) {
    if (fastgrad_here.open) fastgrad_here.live_count += change;
    else _Py_atomic_add_ssize(&fastgrad_live_elsewhere, change);
}

static Py_ssize_t fastgrad_count_nodes(void) {
    Py_ssize_t count;
    fastgrad_thread *thread;
    PyMutex_Lock(&fastgrad_threads_lock);
    count = _Py_atomic_load_ssize_relaxed(&fastgrad_live_elsewhere);
    for (thread = fastgrad_threads; thread != NULL; thread = thread->next) count += thread->live_count;
    PyMutex_Unlock(&fastgrad_threads_lock);
    return count;
}

/* In a new process, forget the threads that are not in it. */
static void fastgrad_forget_other_threads(void) {
    fastgrad_thread *thread;
    memset(&fastgrad_threads_lock, 0, sizeof fastgrad_threads_lock);
    memset(&fastgrad_traced_lock, 0, sizeof fastgrad_traced_lock);
    for (thread = fastgrad_threads; thread != NULL; thread = thread->next)
        if (thread != &fastgrad_here) fastgrad_live_elsewhere += thread->live_count;
    fastgrad_threads = fastgrad_here.open ? &fastgrad_here : NULL;
    fastgrad_here.next = NULL;
}

#endif

#endif
