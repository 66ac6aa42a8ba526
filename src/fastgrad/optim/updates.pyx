# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: auto_pickle=False, binding=False
"""The optimizers' loops over parameters: each reads and writes the numbers inside the Values.

The moments are arrays of doubles, one number a parameter. Formulas are PyTorch's, in its notation.
"""

from cpython.array cimport array, clone
from libc.math cimport fabs, isinf, pow, sqrt

from fastgrad.engine cimport Value, refuse_effect
cimport fastgrad.ops

__all__ = ["adam", "copy_numbers", "gradient_norm", "scale_gradients", "sgd"]

cdef extern from "Python.h":
    ctypedef struct PyObject
    PyObject *PyList_GET_ITEM(object, Py_ssize_t) noexcept
    bint PyObject_TypeCheck(PyObject *, type) noexcept

# Gradients and moments are worked on in blocks: only loops over plain arrays are vectorised.
cdef enum:
    BLOCK = 256


# These use borrowed references: counting references took as long as the arithmetic.
cdef inline double data_at(list parameters, Py_ssize_t index) noexcept:
    return (<Value>PyList_GET_ITEM(parameters, index)).data


cdef inline double grad_at(list parameters, Py_ssize_t index) noexcept:
    return (<Value>PyList_GET_ITEM(parameters, index)).grad


cdef inline void set_data(list parameters, Py_ssize_t index, double data) noexcept:
    (<Value>PyList_GET_ITEM(parameters, index)).data = data


cdef array DOUBLES = array("d")


cdef int require_moments(list parameters, array moments) except -1:
    """Raise ValueError unless there are as many as parameters."""
    if moments.ob_descr.typecode != c'd' or len(moments) != len(parameters):
        raise ValueError(f"{len(parameters)} parameters, but the optimizer's state is of {len(moments)}")
    return 0


cdef int require(list parameters, array moments) except -1:
    """Raise TypeError or ValueError unless these are Values, and as many as there are moments.

    Raises TracingError in a function that is being compiled.
    """
    cdef Py_ssize_t index
    refuse_effect("an optimizer's step, or clipping of gradients,")
    if moments is not None:
        require_moments(parameters, moments)
    for index in range(len(parameters)):
        if not PyObject_TypeCheck(PyList_GET_ITEM(parameters, index), Value):
            raise TypeError(f"a parameter must be a Value, not {type(parameters[index]).__name__}")
    return 0


def sgd(dict group not None, array momentum_buffer, bint first):
    """Do a group's step of stochastic gradient descent; `momentum_buffer` is None without momentum."""
    # Looked up here: as arguments, the options took as long as the update of a hundred parameters.
    cdef list parameters = group["params"]
    cdef double lr = group["lr"], momentum = group["momentum"], dampening = group["dampening"]
    cdef double weight_decay = group["weight_decay"]
    cdef bint nesterov = group["nesterov"]
    cdef double sign = -1.0 if group["maximize"] else 1.0
    cdef double *buffer = NULL
    cdef double g, b
    cdef Py_ssize_t index
    require(parameters, momentum_buffer)
    if momentum_buffer is not None:
        buffer = momentum_buffer.data.as_doubles
    for index in range(len(parameters)):
        g = sign * grad_at(parameters, index)
        if weight_decay != 0.0:
            g = g + weight_decay * data_at(parameters, index)
        if buffer != NULL:
            b = g if first else momentum * buffer[index] + (1.0 - dampening) * g
            buffer[index] = b
            g = g + momentum * b if nesterov else b
        set_data(parameters, index, data_at(parameters, index) - lr * g)


def adam(
    dict group not None, array exp_avg not None, array exp_avg_sq not None, Py_ssize_t step, bint decoupled
):
    """Do a group's step of Adam, or of AdamW if the weight decay is `decoupled`; steps count from 1."""
    cdef list parameters = group["params"]
    cdef double lr = group["lr"], eps = group["eps"], weight_decay = group["weight_decay"]
    cdef double beta1, beta2
    cdef double g[BLOCK]
    cdef double change[BLOCK]
    cdef double *m
    cdef double *v
    cdef double root, step_size
    cdef double shrink = 1.0 - lr * weight_decay if decoupled else 1.0
    cdef double sign = -1.0 if group["maximize"] else 1.0
    cdef Py_ssize_t start, index, size
    cdef double data
    beta1, beta2 = group["betas"]
    root = sqrt(1.0 - pow(beta2, <double>step))
    # step_size * m / (sqrt(v) / root + eps) with one division instead of two.
    step_size = root * lr / (1.0 - pow(beta1, <double>step))
    require(parameters, exp_avg)
    require_moments(parameters, exp_avg_sq)
    if decoupled:
        weight_decay = 0.0
    for start in range(0, len(parameters), BLOCK):
        size = min(<Py_ssize_t>BLOCK, len(parameters) - start)
        m = exp_avg.data.as_doubles + start
        v = exp_avg_sq.data.as_doubles + start
        for index in range(size):
            g[index] = sign * grad_at(parameters, start + index)
            if weight_decay != 0.0:
                g[index] += weight_decay * data_at(parameters, start + index)
        for index in range(size):
            # As torch's lerp: in this form, a beta of 0 gives exactly the gradient.
            if beta1 < 0.5:
                m[index] = g[index] - beta1 * (g[index] - m[index])
            else:
                m[index] = m[index] + (1.0 - beta1) * (g[index] - m[index])
            v[index] = beta2 * v[index] + (1.0 - beta2) * g[index] * g[index]
            change[index] = step_size * m[index] / (sqrt(v[index]) + root * eps)
        for index in range(size):
            data = shrink * data_at(parameters, start + index) - change[index]
            set_data(parameters, start + index, data)


def gradient_norm(list parameters not None, double order):
    """Return (|g1|**order + ... + |gn|**order) ** (1 / order) of the gradients; the largest |g| for inf."""
    cdef double total = 0.0
    cdef double g
    cdef Py_ssize_t index
    require(parameters, None)
    for index in range(len(parameters)):
        g = fabs(grad_at(parameters, index))
        if isinf(order):
            total = g if g > total or g != g else total
        elif order == 2.0:
            total += g * g
        else:
            total += pow(g, order)
    return total if isinf(order) else sqrt(total) if order == 2.0 else pow(total, 1.0 / order)


def scale_gradients(list parameters not None, double factor):
    """Multiply every gradient by the factor."""
    cdef Py_ssize_t index
    require(parameters, None)
    for index in range(len(parameters)):
        (<Value>PyList_GET_ITEM(parameters, index)).grad *= factor


def copy_numbers(list parameters not None):
    """Return an array of the parameters' data, and one of their gradients.

    1 ns a number: read as attributes, those of 337 parameters take 1.5 compiled steps of their training.
    Raises TracingError in a function that is being compiled.
    """
    refuse_effect("recording a training")
    cdef array data = clone(DOUBLES, len(parameters), zero=False)
    cdef array grads = clone(DOUBLES, len(parameters), zero=False)
    cdef Py_ssize_t index
    require(parameters, None)
    for index in range(len(parameters)):
        data.data.as_doubles[index] = data_at(parameters, index)
        grads.data.as_doubles[index] = grad_at(parameters, index)
    return data, grads
