"""Value: nodes, their operators, attributes and copies."""

import itertools
import math

from evidence.meanings import OPERATIONS, REDUCTIONS, divide
from evidence.meanings import operands_of as count_of
from reference.rules import COMMUTING, rule_of

# While a function is traced: the number of the first node made inside it, else None.
tracing_since = None
# Whether the function that is traced has a loop.
has_loop = False
births = itertools.count()


class TracingError(RuntimeError):
    """Raised where a compiled function does something that a program cannot repeat."""


def is_number(candidate):
    kind = type(candidate)
    return (hasattr(kind, "__float__") or hasattr(kind, "__index__")) and not hasattr(kind, "__len__")


def required_float(number, name):
    kind = type(number)
    if not (hasattr(kind, "__float__") or hasattr(kind, "__index__")):
        raise TypeError(f"{name} must be a real number, not {kind.__name__}")
    return float(number)


def unary_method(name):
    return lambda self: node(name, (self,))


def left_method(name):
    return lambda self, other: binary(name, self, other)


def right_method(name):
    return lambda self, other: binary(name, other, self)


class Arithmetic:
    """The operators, on a base class, so that what is assigned to Value can be deleted again."""

    __slots__ = ()


for name, row in OPERATIONS.items():
    if row.method and count_of(row) == 1:
        setattr(Arithmetic, row.method, unary_method(name))
    elif row.method:
        setattr(Arithmetic, row.method, left_method(name))
        setattr(Arithmetic, row.method.replace("__", "__r", 1), right_method(name))


class Value(Arithmetic):
    """A node: an operation's name and operands, each a Value or, where none was made yet, a number.

    `grad_bound` is the sum of the absolute contributions to `grad`. `data_bound` is that of the terms of
    `data`, if the engine may round it otherwise. The tolerance is 1e-12 of these.
    """

    __slots__ = (
        *("_data", "_grad", "grad_bound", "data_bound", "own_label"),
        *("name", "operands", "detail", "own_symbol", "own_backward", "has_passed_on", "fresh"),
        *("own_data", "in_program", "birth", "twin", "result", "__dict__", "__weakref__"),
    )
    __array_priority__ = -1.0

    def __new__(cls, *arguments, **keywords):
        self = super().__new__(cls)
        self._data = self._grad = self.grad_bound = self.data_bound = 0.0
        self.own_label = None
        self.name, self.operands, self.detail = "leaf", (), None
        self.own_symbol = self.own_backward = self.twin = self.result = None
        self.has_passed_on, self.fresh = False, True
        self.own_data = self.in_program = False
        self.birth = next(births)
        return self

    def __init__(self, data, _children=(), _op="", label=""):
        traced_result = isinstance(data, Value) and type(_op) in (tuple, list) and tracing_since is not None
        number = data._data if traced_result else required_float(data, "data")
        children = tuple(_children)
        for child in children:
            if not isinstance(child, Value):
                raise TypeError(f"a child of a Value must be a Value, not {type(child).__name__}")
        derivatives = None
        if type(_op) in (tuple, list):
            if len(_op) != len(children):
                raise ValueError(f"{len(children)} children need as many derivatives, not {len(_op)}")
            derivatives = tuple(
                derivative if isinstance(derivative, Value) else required_float(derivative, "a derivative")
                for derivative in _op
            )
            _op = ""
        if self.name != "leaf" or (children and type(self) is Value and not self.fresh):
            raise TypeError("a Value that is in use cannot be given other children")
        if label != "":
            self.label = label
        if children:
            self.name = "custom" if derivatives is None else "local"
            self.operands, self.detail = children, _op if derivatives is None else derivatives
            # In a trace, a program computes the node as it computes this.
            if self.name == "local" and tracing_since is not None:
                self.result = data if isinstance(data, Value) else Value(data)
            if type(self) is not Value:
                self.own_symbol = _op
        elif _op != "":
            self.own_symbol = _op
        self.fresh = False
        self._data, self._grad, self.grad_bound, self.data_bound = number, 0.0, 0.0, 0.0

    def __neg__(self):
        return binary("mul", self, -1.0)

    def __float__(self):
        refuse_reading(self)
        return self._data

    def __bool__(self):
        refuse_reading(self)
        return True

    def __repr__(self):
        refuse_reading(self)
        return f"Value(data={self._data}, grad={self._grad})"

    def __delattr__(self, name):
        if name in ("data", "grad", "label", "_op", "_children", "_prev", "_backward"):
            raise AttributeError(f"{name} of a Value cannot be deleted")
        super().__delattr__(name)

    @property
    def data(self):
        refuse_reading(self)
        return self._data

    @data.setter
    def data(self, number):
        refuse_setting(self)
        number = required_float(number, "data")
        if self.in_program:
            raise TracingError("that a compiled function uses cannot be set")
        self._data, self.data_bound, self.own_data = number, 0.0, self.name != "leaf"

    @property
    def grad(self):
        refuse_reading(self)
        return self._grad

    @grad.setter
    def grad(self, number):
        refuse_setting(self)
        # User code accumulates by setting.
        self._grad = required_float(number, "grad")
        self.grad_bound += abs(self._grad)

    @property
    def label(self):
        return "" if self.own_label is None else self.own_label

    @label.setter
    def label(self, label):
        self.own_label = label

    @property
    def _op(self):
        if self.own_symbol is not None:
            return self.own_symbol
        if self.name in ("leaf", "local"):
            return ""
        if self.name == "custom":
            return self.detail
        if self.name == "pow" and isinstance(self.operands[1], float):
            exponent = self.operands[1]
            return f"**{int(exponent) if self.detail == 'integer' else exponent}"
        if self.name == "dot" and len(self.operands) == 2 and not self.detail[1]:
            # A sum of one product is that product.
            return "*"
        return rule_of(self.name, self.detail).symbol

    @_op.setter
    def _op(self, symbol):
        self.own_symbol = symbol

    @property
    def _children(self):
        from reference.inspection import children_of

        return children_of(self)

    @property
    def _prev(self):
        return set(self._children)

    @_prev.setter
    def _prev(self, children):
        refuse_setting(self)
        self.name, self.operands, self.detail = "custom", tuple(children), self._op

    @property
    def _backward(self):
        return self._propagate if self.own_backward is None else self.own_backward

    @_backward.setter
    def _backward(self, function):
        if not callable(function):
            raise TypeError(f"_backward must be callable, not {type(function).__name__}")
        self.own_backward = function

    def _propagate(self):
        from reference.backward import propagate

        propagate(self)

    def backward(self):
        from reference.backward import run_backward

        run_backward(self)

    def __getstate__(self):
        if self.own_backward is not None:
            raise TypeError("a node with a _backward of its own")
        kept = [name for name in Value.__slots__ if name not in ("birth", "twin", "__dict__", "__weakref__")]
        # A copy is in use at once.
        return self.__dict__, {name: getattr(self, name) for name in kept} | {
            "fresh": False,
            "in_program": False,
        }


def computed(name, operands, detail, data):
    self = Value.__new__(Value)
    self.name, self.operands, self.detail, self._data = name, operands, detail, data
    self.fresh = False
    return self


def numbers_of(operands):
    return [operand._data if isinstance(operand, Value) else operand for operand in operands]


def evaluated(name, numbers, detail=None):
    """The value of an operation, or its refusal; while tracing, no number means anything."""
    rule = rule_of(name, detail)
    data = rule.value(*numbers)
    if not math.isfinite(data) and tracing_since is None and name in OPERATIONS:
        refuse(name, numbers)
    return data


def refuse(name, numbers):
    error = OPERATIONS[name].refusal(*numbers)
    if error is not None:
        try:
            raise error
        finally:
            # Else the frame and the exception hold each other, and the operands.
            del error


def node(name, operands, detail=None):
    return computed(name, tuple(operands), detail, evaluated(name, numbers_of(operands), detail))


def binary(name, left, right):
    """A binary operator; the constant operand of one, if any, is kept as a number."""
    if isinstance(left, Value) and isinstance(right, Value):
        return node(name, (left, right))
    constant_is_right = isinstance(left, Value)
    value, constant = (left, right) if constant_is_right else (right, left)
    if not is_number(constant):
        return NotImplemented
    integer = name == "pow" and hasattr(type(constant), "__index__")
    number = float(constant)
    if not constant_is_right and name not in COMMUTING:
        return node(name, (number, value))
    data = evaluated(name, (value._data, number))
    if name == "div" and not math.isfinite(divide(1.0, number)):
        # In a trace, too: 1 / c is a constant of the program.
        refuse("div", (value._data, number))
    if name in ("sub", "div"):
        # a - c is a + -c and a / c is a * c**-1, as in micrograd.
        name, number = ("add", -number) if name == "sub" else ("mul", divide(1.0, number))
    return computed(name, (value, number), "integer" if integer and constant_is_right else None, data)


def as_value(operand, operation):
    if isinstance(operand, Value):
        return operand
    if not is_number(operand):
        raise TypeError(f"{operation} needs Values or numbers, not {type(operand).__name__}")
    return Value(operand)


def apply(operation, *operands):
    if operation not in OPERATIONS:
        raise ValueError(f"there is no operation {operation!r}")
    count = count_of(OPERATIONS[operation])
    if len(operands) != count:
        raise TypeError(f"{operation} takes {count} operands, not {len(operands)}")
    if count != 2:
        return node(operation, [as_value(operand, operation) for operand in operands])
    left, right = operands
    if isinstance(right, Value) and not isinstance(left, Value) and is_number(left):
        return binary(operation, left, right)
    left = as_value(left, operation)
    return binary(operation, left, right if is_number(right) else as_value(right, operation))


def listed(values):
    if not hasattr(values, "__iter__"):
        raise TypeError("needs a list of Values or numbers, not")
    return list(values)


def vector(function, values):
    values = listed(values)
    if not values:
        raise ValueError(f"{function} of no values")
    return values


def operands_of(values):
    return [
        value if isinstance(value, Value) else Value(required_float(value, "an operand"))
        for value in listed(values)
    ]


def reduce(name, values):
    if name not in REDUCTIONS:
        raise KeyError(name)
    operands = operands_of(values)
    if not operands:
        raise ValueError(f"{name} of no values")
    return node(name, operands)


def is_constant(self):
    """Whether a node follows from leaves that the traced function made."""
    if self.name == "leaf":
        return type(self) is Value and self.birth >= tracing_since
    held = (*self.operands, *self.detail, self.result) if self.name == "local" else self.operands
    return all(is_constant(operand) for operand in held if isinstance(operand, Value))


def refuse_reading(self):
    if tracing_since is not None and not is_constant(self):
        raise TracingError("would be frozen into the program")


def refuse_setting(self):
    if tracing_since is not None and not (self.name == "leaf" and is_constant(self)):
        raise TracingError("has no place in a function that is compiled")


def refuse_effect():
    if tracing_since is not None:
        raise TracingError("has no place in a function that is compiled")
