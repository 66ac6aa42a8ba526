# Rules: the derivatives of the table as records. Each is traced once, on placeholders.

cdef class Rule:
    """The derivative of a row by one operand, as nodes of four integers: a row and up to three operands.

    An operand >= 0 is an earlier node. A negative one is ~place of an input of the derivative: the
    operation's operands, then its result; for a reduction one operand, the result and the number of operands.
    Unused operands are -1.
    """

    cdef Integers nodes
    # For each node its number if it is a constant, else 0.
    cdef list numbers
    cdef int32_t result

    def __dealloc__(self):
        PyMem_RawFree(self.nodes.items)


# By row and operand; for reductions by row alone.
cdef dict known_rules = {}


def placeholder_derivative(derivative, list leaves):
    """Return a derivative as a number, or its records if it depends on the placeholders."""
    if type(derivative) is float:
        return derivative
    found = leaves[derivative] if type(derivative) is int else derivative(*leaves)
    return _read_graph([found]) if isinstance(found, Value) else found


cdef Rule traced_rule(int row, int operand):
    """The rule of a row, traced."""
    from fastgrad.derivatives.expressions import rules

    cdef Rule rule = Rule()
    cdef Py_ssize_t at
    cdef str name = roles_of(row << 2).name.decode()
    cdef int places = 3
    if row < ROW_FIRST_REDUCTION:
        places = 3 if has_two_operands(row) else 2
    elif row >= ROW_FIRST_TERNARY:
        places = 4
    derivative = rules(name, True)[operand]
    cdef list leaves = []
    for _ in range(places):
        leaf = Value(float("nan"))
        _make_unknown(leaf, f"an operand of {name}")
        leaves.append(leaf)
    found = _traced("a derivative", placeholder_derivative, derivative, leaves)
    rule.numbers = []
    if type(found) is not tuple:
        add_node(rule, ROW_CONSTANT, -1, -1, -1, float(found))
        rule.result = 0
        return rule
    records, operands, constants, given, _, outputs, _ = found
    cdef const int32_t *record = <const int32_t *><const char *>(<bytes>records)
    cdef const int32_t *many = <const int32_t *><const char *>(<bytes>operands)
    cdef dict place_of = {id(leaf): ~place for place, leaf in enumerate(leaves)}
    cdef list moved = []
    cdef int kind
    cdef int32_t first, second
    for at in range(len(<bytes>records) // 12):
        kind, first, second = record[3 * at], record[3 * at + 1], record[3 * at + 2]
        if kind == ROW_LEAF:
            moved.append(place_of[id(given[first])])
        elif kind == ROW_CONSTANT:
            moved.append(add_node(rule, kind, -1, -1, -1, constants[first]))
        elif kind >= ROW_FIRST_TERNARY:
            moved.append(add_node(
                rule, kind, moved[many[first]], moved[many[first + 1]], moved[many[first + 2]], 0.0
            ))
        elif has_many_operands(kind):
            raise SystemError(f"the derivative of {name} is a reduction")  # no cover: no row has one
        else:
            moved.append(
                add_node(rule, kind, moved[first], moved[second] if has_two_operands(kind) else -1, -1, 0.0)
            )
    rule.result = moved[outputs[0]]
    return rule


cdef int32_t add_node(
    Rule rule, int row, int32_t left, int32_t right, int32_t third, double number
) except -1:
    append(&rule.nodes, row)
    append(&rule.nodes, left)
    append(&rule.nodes, right)
    append(&rule.nodes, third)
    rule.numbers.append(number)
    return <int32_t>(len(rule.numbers) - 1)


cdef Rule rule_of(int row, int operand):
    cdef Rule rule
    if ROW_FIRST_REDUCTION <= row < ROW_FIRST_TERNARY:
        operand = 0
    rule = known_rules.get((row, operand))
    if rule is None:
        known_rules[row, operand] = rule = traced_rule(row, operand)
    return rule
