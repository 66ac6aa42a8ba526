# The operations of derivative expressions, on floats or Values; of floats alone the result is a float. Where
# the engine raises an error, the result here is inf or nan, as in backward(): the derivative of sqrt(x) at 0
# is inf.


cdef object unrefused(int row, tuple operands):
    """A node of an operation of one or two Values, made without the checks that raise errors."""
    cdef Node *left = <Node *>PyTuple_GET_ITEM(<PyObject *>operands, 0)
    cdef Node *right
    if row < ROW_FIRST_BINARY:
        return new_unary(code_for(row, 0), unary_value(row, left.data), left, 0.0)
    right = <Node *>PyTuple_GET_ITEM(<PyObject *>operands, 1)
    return new_binary(code_for(row, NODE_NODE), binary_value(row, left.data, right.data), left, right)


cdef object mixed(int row, object a, object b):
    """An operation of two floats or Values."""
    if type(a) is float and type(b) is float:
        return binary_value(row, <double>a, <double>b)
    try:
        return binary(row, a, b)
    except (ArithmeticError, ValueError):
        return unrefused(row, (as_value(a, "a derivative"), as_value(b, "a derivative")))


cdef object product(object a, object b):
    """a * b; the other of the two if one is the number 1."""
    if type(a) is float and <double>a == 1.0:
        return b
    if type(b) is float and <double>b == 1.0:
        return a
    return mixed(ROW_MUL, a, b)


def _times(a, b):
    """Return a * b of floats or Values; the other of the two if one is the number 1."""
    return product(a, b)


def _plus(a, b):
    """Return a + b of floats or Values."""
    return mixed(ROW_ADD, a, b)


def _minus(a, b):
    """Return a - b of floats or Values."""
    return mixed(ROW_SUB, a, b)


def _over(a, b):
    """Return a / b of floats or Values, infinite or undefined if b is 0."""
    return mixed(ROW_DIV, a, b)


def _operate(str operation not None, a, b=None, c=None):
    """Return an operation of the table on floats or Values, infinite or undefined where the engine raises."""
    cdef int row = OPERATION_ROWS[operation]
    if row >= ROW_FIRST_TERNARY:
        if type(a) is float and type(b) is float and type(c) is float:
            return ternary_value(row, a, b, c)
        return ternary(row, (as_value(a, operation), as_value(b, operation), as_value(c, operation)))
    if row >= ROW_FIRST_BINARY:
        return mixed(row, a, b)
    if type(a) is float:
        return unary_value(row, <double>a)
    try:
        return node_of_one(row, <Node *><PyObject *>(<Value?>a))
    except (ArithmeticError, ValueError):
        return unrefused(row, (a,))
