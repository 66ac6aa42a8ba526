# Layers of neurons: the fields of nn.Neuron and nn.Layer as C fields, and their forward pass.

from cpython.tuple cimport PyTuple_New

cdef extern from "Python.h":
    bint PyType_IsSubtype(PyTypeObject *, PyTypeObject *) noexcept

cdef tuple NEURON_OPERATORS = ("__add__", "__radd__", "__mul__", "__rmul__")
# Which of Value's operations the user has replaced by assignment: bit 0 for the operators, then a bit for
# each activation. Found for one version of the class (tp_version_tag). Every assignment to a class ends its
# version, and a class may have none, which is 0.
cdef int replaced = 0
cdef unsigned int replaced_version = 0


cdef bint is_replaced(str name) except -1:
    """Whether an operation of Value is another than _Arithmetic's."""
    return getattr(Value, name) is not getattr(_Arithmetic, name)


cdef int look_for_replaced() except -1:
    """Find which operations were assigned; the look-ups give the class a version."""
    global replaced, replaced_version
    cdef int found = any([is_replaced(name) for name in NEURON_OPERATORS])
    for code in range(1, len(ACTIVATIONS)):
        found |= is_replaced(ACTIVATIONS[code]) << code
    replaced = found
    replaced_version = value_type.tp_version_tag
    return 0


cdef inline bint any_replaced() except -1:
    cdef unsigned int version = value_type.tp_version_tag
    if version == 0 or version != replaced_version:
        look_for_replaced()
    return replaced != 0


cdef int set_attributes(object holder, dict values) except -1:
    for name, value in values.items():
        setattr(holder, name, value)
    return 0


cdef enum:
    WEIGHTS
    BIAS
    IS_NONLINEAR
    FUNCTION


cdef class _NeuronFields:
    """A neuron's attributes as C fields: reading 4 attributes of a dict took as long as 8 products."""

    cdef object weights
    cdef object bias
    cdef object is_nonlinear
    cdef object function

    cpdef bint _uses_replaced(self) except -1:
        """Return whether the user has assigned to Value an operation that this neuron computes with."""
        if not any_replaced():
            return False
        return replaced & (1 | 1 << (activation_code(self.function) if self.is_nonlinear else 0)) != 0

    @property
    def w(self):
        """The weights."""
        return part_of(self, WEIGHTS)

    @w.setter
    def w(self, value):
        set_part(self, WEIGHTS, value)

    @property
    def b(self):
        """The bias."""
        return part_of(self, BIAS)

    @b.setter
    def b(self, value):
        set_part(self, BIAS, value)

    @property
    def nonlin(self):
        """Whether the activation is applied."""
        return part_of(self, IS_NONLINEAR)

    @nonlin.setter
    def nonlin(self, value):
        set_part(self, IS_NONLINEAR, value)

    @property
    def activation(self):
        """The name of the activation."""
        return part_of(self, FUNCTION)

    @activation.setter
    def activation(self, value):
        set_part(self, FUNCTION, value)

    def __getstate__(self):
        return self.w, self.b, self.nonlin, self.activation, vars(self)

    def __setstate__(self, state):
        if type(state) is dict:
            # That of micrograd's class.
            self.nonlin, self.activation = True, "relu"
            set_attributes(self, state)
            return
        self.w, self.b, self.nonlin, self.activation, attributes = state
        vars(self).update(attributes)


cdef struct Setting:
    PyObject *neuron
    int part
    PyObject *value


cdef object part_at(_NeuronFields neuron, int part):
    if part == WEIGHTS:
        return neuron.weights
    if part == BIAS:
        return neuron.bias
    return neuron.is_nonlinear if part == IS_NONLINEAR else neuron.function


cdef object part_of(_NeuronFields neuron, int part):
    with critical_section(neuron):
        value = part_at(neuron, part)
    return value


cdef void carry_out_setting(void *argument) noexcept:
    cdef Setting *setting = <Setting *>argument
    cdef _NeuronFields neuron = <_NeuronFields>setting.neuron
    if setting.part == WEIGHTS:
        neuron.weights = <object>setting.value
    elif setting.part == BIAS:
        neuron.bias = <object>setting.value
    elif setting.part == IS_NONLINEAR:
        neuron.is_nonlinear = <object>setting.value
    else:
        neuron.function = <object>setting.value


cdef int set_part(_NeuronFields neuron, int part, object value) except -1:
    """Set a part; without the lock, other threads may be reading it without counting references."""
    cdef Setting setting
    setting.neuron, setting.part, setting.value = <PyObject *>neuron, part, <PyObject *>value
    with critical_section(neuron):
        # Freed only after the other threads run again: freeing may run the user's code.
        old = part_at(neuron, part)
        if POOL or old is None:
            carry_out_setting(&setting)
        else:
            run_alone(carry_out_setting, &setting)
    return 0


cdef class _LayerFields:
    """A layer's neurons, and the tuple (w1 .. wn, b) that each neuron's nodes share."""

    cdef public object neurons
    cdef Rows rows

    def __cinit__(self):
        self.rows = Rows()

    def __getstate__(self):
        return self.neurons, vars(self)

    def __setstate__(self, state):
        if type(state) is dict:
            set_attributes(self, state)
            return
        self.neurons, attributes = state
        vars(self).update(attributes)


cdef object neurons_of(_LayerFields layer):
    with critical_section(layer):
        neurons = layer.neurons
    return neurons


cdef int require_fields(object kind, PyTypeObject *base) except -1:
    """Raise TypeError unless instances of the class have the base's fields; the class may be None."""
    if kind is not None and not (isinstance(kind, type) and PyType_IsSubtype(<PyTypeObject *>kind, base)):
        raise TypeError(f"{kind!r} is no class of such neurons or layers")
    return 0


cdef bint is_plain(_LayerFields layer, PyObject *neuron_type) except -1:
    """Whether the neurons are a list, each exactly of the type whose __call__ is known here."""
    cdef object neurons = neurons_of(layer)
    cdef PyObject *neuron
    cdef Py_ssize_t index
    cdef bint some_replaced = any_replaced()
    if type(neurons) is not list:
        return False
    if not POOL:
        # Other threads may change the list.
        neurons = list(neurons)
    for index in range(PyList_GET_SIZE(neurons)):
        neuron = PyList_GET_ITEM(neurons, index)
        if <PyObject *>Py_TYPE(neuron) != neuron_type:
            return False
        if some_replaced and (<_NeuronFields>neuron)._uses_replaced():
            return False
    return True


cdef inline bint same_activation(PyObject *neuron, int code) noexcept:
    """Whether a row's code has the neuron's activation; an equal name that is another object has not."""
    cdef PyObject *activation = <PyObject *>(<_NeuronFields>neuron).function
    if (<_NeuronFields>neuron).is_nonlinear is True:
        return activation == PyTuple_GET_ITEM(<PyObject *>ACTIVATIONS, code & 3)
    return (<_NeuronFields>neuron).is_nonlinear is False and code & 3 == 0


cdef bint is_current(list of, Rows rows, PyObject *neuron_type, Py_ssize_t count, Py_ssize_t inputs) noexcept:
    """Whether there are `count` neurons, all of this type and with the weights and bias that `rows` holds.

    It counts no references: with that, it took longer than the products.
    """
    cdef PyObject **neurons = PySequence_Fast_ITEMS(<PyObject *>of)
    cdef PyObject **tuples = PySequence_Fast_ITEMS(<PyObject *>rows.tuples)
    cdef char *codes = PyByteArray_AS_STRING(rows.codes)
    cdef PyObject *w
    cdef PyObject *b
    cdef Py_ssize_t index
    if PyList_GET_SIZE(of) != count or not rows.fits(count):
        return False
    for index in range(count):
        if <PyObject *>Py_TYPE(neurons[index]) != neuron_type:
            return False
        w = <PyObject *>(<_NeuronFields>neurons[index]).weights
        b = <PyObject *>(<_NeuronFields>neurons[index]).bias
        if b == <PyObject *>None:
            return False
        if not same_activation(neurons[index], codes[index]):
            return False
        if not holds(tuples[index], w, b, inputs + 1):
            return False
    return True


cdef Rows rows_of(_LayerFields layer):
    cdef Rows rows
    with critical_section(layer):
        rows = layer.rows
    return rows


cdef bint refresh_layer(_LayerFields layer, Rows rows, Py_ssize_t inputs) except -1:
    """See every change of the neurons since the last call; return False if one has no bias.

    Raises ValueError if one has other inputs.
    """
    cdef _NeuronFields neuron
    cdef Py_ssize_t index, size
    cdef int activation
    cdef list neurons = list(layer.neurons)
    rows.resize(len(neurons))
    for index in range(len(neurons)):
        neuron = neurons[index]
        with critical_section(neuron):
            w, b, nonlin, name = neuron.weights, neuron.bias, neuron.is_nonlinear, neuron.function
        activation = activation_code(name) if nonlin else 0
        if b is None:
            return False
        size = rows.refresh(index, w, b, activation)
        if size != inputs + 1:
            raise ValueError(f"a neuron of {size - 1} inputs was given {inputs}")
    return True


cdef tuple outputs_as_before(_LayerFields layer, PyObject *neuron_type, tuple x):
    """One node a neuron, in a tuple that may be the next layer's inputs; None if any neuron has changed."""
    cdef tuple out
    cdef object neurons
    cdef Rows rows
    cdef bint current
    if any_replaced() or type(layer.neurons) is not list:
        return None
    # Allocated before the neurons are looked at: allocating may run a finaliser, which may change them.
    out = PyTuple_New(PyList_GET_SIZE(layer.neurons))
    neurons, rows = neurons_of(layer), rows_of(layer)
    if type(neurons) is not list:
        return None
    with critical_section(neurons):
        current = is_current(neurons, rows, neuron_type, len(out), len(x))
    if not current:
        return None
    rows.fill(<PyObject *>x, PySequence_Fast_ITEMS(<PyObject *>out))
    return out


cdef tuple outputs_of_changed(_LayerFields layer, tuple x):
    """outputs_as_before() for neurons that may have changed; None if one has no bias."""
    cdef tuple out
    cdef Rows rows = rows_of(layer).own()
    if not refresh_layer(layer, rows, PyTuple_GET_SIZE(<PyObject *>x)):
        return None
    out = PyTuple_New(PyList_GET_SIZE(rows.tuples))
    rows.require(PyTuple_GET_SIZE(<PyObject *>out), PyTuple_GET_SIZE(<PyObject *>x) + 1)
    with critical_section(layer):
        layer.rows = rows
    rows.fill(<PyObject *>x, PySequence_Fast_ITEMS(<PyObject *>out))
    return out


cdef object layer_outputs(_LayerFields layer, PyObject *neuron_type, object x, bint *ours):
    """A layer's outputs for x. ours[0]: whether x is a tuple made here; on return, whether the result is."""
    cdef tuple out = None
    cdef bint converted = not ours[0]
    if ours[0]:
        out = outputs_as_before(layer, neuron_type, x)
    if out is None and is_plain(layer, neuron_type):
        x = operands_of(x, "a layer") if converted else x
        # A number's __float__ may have changed the layer.
        if x and not (converted and not is_plain(layer, neuron_type)):
            out = outputs_as_before(layer, neuron_type, x) if converted else None
            if out is None:
                out = outputs_of_changed(layer, x)
    if out is not None:
        ours[0] = PyTuple_GET_SIZE(<PyObject *>out) != 1
        return out if ours[0] else out[0]
    require_list(x, "a layer")
    x = list(x)
    ours[0] = False
    called = [neuron(x) for neuron in layer.neurons]
    return called[0] if len(called) == 1 else called


def _layer_forward(_LayerFields layer not None, neuron_type, inputs):
    """Return the list of the outputs of a layer's neurons, or the only neuron's output itself.

    Neurons exactly of the type `neuron_type` are run here, one node each: activation(b + w1 * x1 + ...
    + wn * xn), added up in that order. Other neurons are called. Raises ValueError if a neuron has
    another number of weights than there are inputs.
    """
    cdef bint ours = False
    require_fields(neuron_type, <PyTypeObject *>_NeuronFields)
    cdef object out = layer_outputs(layer, <PyObject *>neuron_type, inputs, &ours)
    return list(out) if ours else out


def _forward(layers, layer_type, neuron_type, inputs):
    """Return the outputs of the last of some layers, each applied to the outputs of the one before.

    Those that are exactly of the type `layer_type` are run as by _layer_forward, without the lists
    between them; others are called.
    """
    cdef object x = inputs
    cdef bint ours = False
    require_fields(layer_type, <PyTypeObject *>_LayerFields)
    require_fields(neuron_type, <PyTypeObject *>_NeuronFields)
    for layer in layers:
        if <PyObject *>Py_TYPE(<PyObject *>layer) == <PyObject *>layer_type:
            x = layer_outputs(layer, <PyObject *>neuron_type, x, &ours)
        else:
            x = layer(list(x) if ours else x)
            ours = False
    return list(x) if ours else x


cdef inline bint is_computed_value(PyObject *candidate) noexcept:
    return is_value(candidate) and code_of(<Node *>candidate) > CODE_FRESH


def _is_leaf(candidate):
    """Return whether this is anything but a computed Value, so that an optimizer may change it."""
    return not is_computed_value(<PyObject *>candidate)


def _flattened(neurons, neuron_type):
    """Return [*w, b] of one neuron after another, without Values that were computed.

    Of neurons not exactly of `neuron_type` it takes `parameters()`.
    """
    cdef list out = []
    require_fields(neuron_type, <PyTypeObject *>_NeuronFields)
    for neuron in neurons:
        if <PyObject *>Py_TYPE(<PyObject *>neuron) == <PyObject *>neuron_type:
            add_own_parameters(out, neuron)
        else:
            out.extend(neuron.parameters())
    return out


def _own_parameters(_NeuronFields neuron not None):
    """Return [*w, b] of a neuron, without Values that were computed."""
    cdef list out = []
    add_own_parameters(out, neuron)
    return out


cdef int add_own_parameters(list out, _NeuronFields neuron) except -1:
    """Append the weights and the bias, without those that were computed."""
    cdef Py_ssize_t index, start = PyList_GET_SIZE(out)
    out.extend(neuron.w)
    out.append(neuron.b)
    for index in range(start, PyList_GET_SIZE(out)):
        if is_computed_value(PyList_GET_ITEM(out, index)):
            out[start:] = [value for value in out[start:] if _is_leaf(value)]
            break
    return 0
