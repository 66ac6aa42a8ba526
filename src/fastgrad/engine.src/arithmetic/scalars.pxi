# Making nodes: the operations of the table on Values and numbers.

cdef object operator
import operator


cdef object node_of_one(int row, Node *operand):
    cdef double out = unary_value(row, operand.data)
    # A comparison has a result although the operand is nan.
    if out - out != 0.0 or operand.data != operand.data:
        refuse(row, operand.data, 0.0)
    return new_unary(code_for(row, 0), out, operand, 0.0)


cdef object node_of_two(int row, Node *left, Node *right):
    cdef double a = left.data, b = right.data
    cdef double out = binary_value(row, a, b)
    # A power may have a result although an operand is nan.
    if out - out != 0.0 or a != a or b != b:
        refuse(row, a, b)
    return new_binary(code_for(row, NODE_NODE), out, left, right)


cdef object node_and_constant(int row, Node *left, double constant, bint integer):
    cdef double a = left.data
    cdef double inner, out = binary_value(row, a, constant)
    if out - out != 0.0 or a != a:
        refuse(row, a, constant)
    if outer_row(row) != ROW_LEAF:
        # a - c is a + -c and a / c is a * c**-1, as in micrograd.
        inner = binary_value(inner_row(row), constant, -1.0)
        if inner - inner != 0.0:
            # Also in a trace: the program multiplies, and so cannot refuse the division.
            refuse_anywhere(row, a, constant)
        constant = inner
        row = outer_row(row)
    return new_unary(code_for(row, NODE_INTEGER if integer else NODE_CONSTANT), out, left, constant)


cdef object constant_and_node(int row, double constant, Node *right):
    cdef double b = right.data
    cdef double out
    if commutes(row):
        return node_and_constant(row, right, constant, False)
    out = binary_value(row, constant, b)
    if out - out != 0.0 or b != b:
        refuse(row, constant, b)
    return new_unary(code_for(row, CONSTANT_NODE), out, right, constant)


cdef object binary(int row, object left, object right):
    """A binary operator in general; either operand may be the Value."""
    if is_value(<PyObject *>left):
        if is_value(<PyObject *>right):
            return node_of_two(row, <Node *><PyObject *>left, <Node *><PyObject *>right)
        if is_number(right):
            return node_and_constant(
                row,
                <Node *><PyObject *>left,
                to_double(right),
                right_in_symbol(row) and PyIndex_Check(right),
            )
        if is_array(right):
            return over_array(row, boxed(left), right)
        refuse_foreign(right)
    elif not is_value(<PyObject *>right):
        # An operator of a class that the caller has derived from _Arithmetic.
        return NotImplemented
    elif is_number(left):
        return constant_and_node(row, to_double(left), <Node *><PyObject *>right)
    elif is_array(left):
        return over_array(row, left, boxed(right))
    else:
        refuse_foreign(left)
    return NotImplemented


cdef object of_method(int row, object left, object right):
    """binary() for a named method: Python tries no reflected method after it, so it raises TypeError."""
    result = binary(row, left, right)
    if result is NotImplemented:
        raise TypeError(f"{NAMES[row]} needs Values or numbers, not {named_kind(right)}")
    return result


cdef Value as_value(object operand, str operation):
    """The operand, as a leaf if it is a number."""
    if is_value(<PyObject *>operand):
        return operand
    if not is_number(operand):
        raise TypeError(f"{operation} needs Values or numbers, not {named_kind(operand)}")
    return owned(new_node(CODE_LEAF, to_double(operand)))


def apply(str operation, *operands):
    """Return an operation of the table on Values or numbers, for example apply('maximum', a, b).

    Raises ValueError for an unknown operation, TypeError for another number or kind of operands, and
    what the operation raises.
    """
    if operation not in OPERATION_ROWS:
        raise ValueError(f"there is no operation {operation!r}")
    cdef int row = OPERATION_ROWS[operation]
    cdef int count = 3 if row >= ROW_FIRST_TERNARY else 2 if row >= ROW_FIRST_BINARY else 1
    if len(operands) != count:
        raise TypeError(f"{operation} takes {count} operands, not {len(operands)}")
    if count == 1:
        value = as_value(operands[0], operation)
        return node_of_one(row, <Node *><PyObject *>value)
    if count == 3:
        return ternary(row, tuple([as_value(operand, operation) for operand in operands]))
    left, right = operands
    if not is_value(<PyObject *>right):
        left = as_value(left, operation)
        if not is_number(right):
            right = as_value(right, operation)
    elif not is_value(<PyObject *>left) and not is_number(left):
        left = as_value(left, operation)
    return binary(row, left, right)


cdef object ternary(int row, tuple operands):
    cdef Node *first = <Node *>PyTuple_GET_ITEM(<PyObject *>operands, 0)
    cdef Node *second = <Node *>PyTuple_GET_ITEM(<PyObject *>operands, 1)
    cdef Node *third = <Node *>PyTuple_GET_ITEM(<PyObject *>operands, 2)
    cdef Node *node
    # Looks at the operands: the result may not depend on the unknown one.
    refuse_unknown_among(operands)
    node = new_node(code_for(row, 0), ternary_value(row, first.data, second.data, third.data))
    set_operands(node, operands)
    return owned(node)


cdef object boxed(object value):
    """The Value as an array without dimensions: numpy would leave an operator with a bare Value to us."""
    import numpy

    box = numpy.empty((), dtype=object)
    box[()] = value
    return box


cdef object over_array(int row, object left, object right):
    """An operation of arrays, element by element."""
    if row in METHODS:
        return getattr(operator, METHODS[row])(left, right)
    import numpy

    return numpy.frompyfunc(lambda a, b: apply(NAMES[row], a, b), 2, 1)(left, right)


def _refuse(int row, double a, double b):
    """Raise what the operation with this row raises for these operands, if anything."""
    refuse(row, a, b)


def _described(int row, double a, double b):
    """The operation with this row and these operands, as an error shows it; ValueError for no such row."""
    if not 0 <= row < len(NAMES) or not NAMES[row]:
        raise ValueError(f"there is no operation with the row {row}")
    return described(row, a, b)
