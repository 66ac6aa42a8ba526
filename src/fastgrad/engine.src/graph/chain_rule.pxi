# fastgrad.grad: the chain rule over a graph, with derivatives that are Values, in the order of backward(). It
# visits every node once, without recursion, and asks fastgrad.derivatives for the derivatives of each row.


cdef inline bint is_new(Value result, Value first) noexcept:
    """Whether a node is younger than `first`; in a trace, where no age matters, always True."""
    if traced_here():
        return True
    if not in_pool(<PyObject *>result):
        return False
    return is_younger(<Node *><PyObject *>result, <Node *><PyObject *>first)


cdef inline object derivative_of(object rule, object a, object b, object c, int operands, object out):
    """A derivative at these operands. The rule is the number, the index of an operand, or a function."""
    cdef Py_ssize_t place
    if type(rule) is float:
        return rule
    if type(rule) is int:
        place = rule
        return out if place == operands else a if place == 0 else b if place == 1 else c
    if operands == 1:
        return rule(a, out)
    if operands == 2:
        return rule(a, b, out)
    return rule(a, b, c, out)


@internal
cdef class ChainRule:
    """One walk from the outputs down to the Values that they are differentiated by, the xs."""

    # The nodes below the outputs, operands first.
    cdef list order
    cdef Numbering table
    # For each node: whether it is one of the xs, whether an operand depends on one, and whether either holds.
    cdef char *wanted
    cdef char *passes
    cdef char *active
    # For each node, the parts of its gradient: the first and the second, or None; for more, `received` has a
    # list. Most nodes receive one or two parts, and a list for each would keep the collector busy.
    cdef list received
    cdef list second
    # By row: its derivatives as rules of `derivative_of`; None until they are asked for.
    cdef list known_rules
    cdef object rules
    cdef object choices
    # In a compiled function that chooses among operands: tells the condition under which a node is reached.
    # Else None.
    cdef object reached
    # In a compiled function: its loops; the addresses of all active nodes; and the gradients of the columns
    # that a loop reads, which are operands of no node. Else None.
    cdef object loops
    cdef set active_nodes
    cdef dict columns

    def __dealloc__(self):
        PyMem_RawFree(self.table.keys)
        PyMem_RawFree(self.table.numbers)
        PyMem_RawFree(self.wanted)
        PyMem_RawFree(self.passes)
        PyMem_RawFree(self.active)

    cdef int number(self, list outputs, list xs) except -1:
        """Order and number the nodes, and find which of them the gradient must reach."""
        cdef Py_ssize_t size, at, index, operands
        cdef size_t place
        cdef PyObject *operand
        cdef Node *node
        self.order = topological_order(outputs)
        size = len(self.order)
        self.received, self.second = [None] * size, [None] * size
        self.known_rules = [None] * ROW_END
        make_numbering(&self.table, size)
        self.wanted = <char *>PyMem_RawCalloc(size, 1)
        self.passes = <char *>PyMem_RawCalloc(size, 1)
        self.active = <char *>PyMem_RawCalloc(size, 1)
        if self.wanted == NULL or self.passes == NULL or self.active == NULL:
            raise MemoryError("no memory for derivatives")  # no cover: in `nox -s faults`
        for at in range(size):
            place = place_of(&self.table, <PyObject *>self.order[at])
            self.table.keys[place] = <PyObject *>self.order[at]
            self.table.numbers[place] = <int32_t>at
        for x in xs:
            place = place_of(&self.table, <PyObject *>x)
            if self.table.keys[place] != NULL:
                self.wanted[self.table.numbers[place]] = True
        for at in range(size):
            node = <Node *><PyObject *>self.order[at]
            operands = operands_with_gradient(node)
            index = 0
            while index < operands and not self.passes[at]:
                operand = operand_at(node, index)
                if operand == NULL:
                    break
                self.passes[at] = self.active[number_of(&self.table, operand)]
                index += 1
            if self.is_loop(at) and not self.passes[at]:
                columns = self.loops.columns(self.order[at])
                self.passes[at] = not self.active_nodes.isdisjoint(map(id, columns))
            self.active[at] = self.passes[at] or self.wanted[at]
            if self.active[at] and self.active_nodes is not None:
                self.active_nodes.add(id(self.order[at]))
        return 0

    cdef inline bint is_loop(self, Py_ssize_t at) except -1:
        if self.loops is None or code_of(<Node *><PyObject *>self.order[at]) != CODE_CUSTOM:
            return False
        return self.loops.is_loop(self.order[at])

    cdef inline bint is_taken(self, Py_ssize_t at, object upstream) except -1:
        """Whether the node is a result of a loop, whose gradient is kept until the loop itself is visited."""
        cdef Node *node = <Node *><PyObject *>self.order[at]
        if self.loops is None or code_of(node) != CODE_CUSTOM:
            return False
        return self.loops.takes(self.order[at], <tuple>node.left, upstream)

    cdef int give_back_through(self, Py_ssize_t at) except -1:
        """Give the operands of a loop, and the columns that it reads, their shares of the gradient."""
        cdef Node *node = <Node *><PyObject *>self.order[at]
        cdef size_t place
        for operand, part in self.loops.shares(self.order[at], <tuple>node.left, self.active_nodes):
            place = place_of(&self.table, <PyObject *>operand)
            if self.table.keys[place] == NULL:
                self.columns[id(operand)] = mixed(ROW_ADD, self.columns.get(id(operand), 0.0), part)
                continue
            self.receive(self.table.numbers[place], part)
            if self.reached is not None:
                self.reached.reaches(operand)
        return 0

    cdef bint chooses(self) except -1:
        """Whether an active node chooses among its operands."""
        cdef Py_ssize_t at
        cdef int row
        for at in range(len(self.order)):
            row = row_of(code_of(<Node *><PyObject *>self.order[at]))
            if self.active[at] and (row == ROW_CUSTOM or selects(row)):
                return True
        return False

    cdef inline bint wants(self, PyObject *operand) noexcept:
        return self.active[number_of(&self.table, operand)]

    cdef tuple rules_of(self, int row):
        cdef object found = self.known_rules[row]
        if found is None:
            found = <tuple?>self.rules(ROW_NAMES[row])
            count = 3 if row >= ROW_FIRST_TERNARY else 2 if ROW_FIRST_BINARY <= row < ROW_TABLE_END else 1
            if len(found) != count:
                raise ValueError(f"{ROW_NAMES[row]} needs {count} derivatives, not {len(found)}")
            self.known_rules[row] = found
        return <tuple>found

    cdef int receive(self, Py_ssize_t at, object part) except -1:
        """Add a part to a node's gradient; numbers are added up at once."""
        cdef object before = self.received[at]
        cdef object second
        if before is None:
            self.received[at] = part
        elif type(before) is list:
            (<list>before).append(part)
        elif type(before) is float and type(part) is float:
            self.received[at] = before + part
        else:
            second = self.second[at]
            if second is None:
                self.second[at] = part
            else:
                self.received[at], self.second[at] = [before, second, part], None
        return 0

    cdef object take_sum(self, Py_ssize_t at):
        """The sum of the parts that a node received, or None without any."""
        cdef object first = self.received[at], second = self.second[at]
        if first is None:
            return None
        self.received[at] = self.second[at] = None
        if second is not None:
            return mixed(ROW_ADD, first, second)
        return _reduce("sum", first) if type(first) is list else first

    cdef int give_share(
        self, Value node, Value operand, object factor, object upstream, object chosen
    ) except -1:
        """Give an operand the node's gradient times the derivative by the operand.

        chosen: for one of several choices in a compiled function, a number that is positive if it was taken.
        """
        cdef object part = product(factor, upstream)
        if self.reached is not None:
            part = self.reached.passed_to(operand, factor, chosen, node, part)
        return self.receive(number_of(&self.table, <PyObject *>operand), part)

    cdef int give_shares(self, Value value, object upstream) except -1:
        """Give each operand that is active its share of a node's gradient."""
        cdef Node *node = <Node *><PyObject *>value
        cdef PyObject *extras = extras_of(node)
        cdef int code = code_of(node)
        cdef int row = row_of(code)
        cdef Py_ssize_t index
        if code <= CODE_FRESH:
            return 0
        if (extras != NULL and (<Extras>extras).backward is not None) or (
            not in_pool(node) and type(value)._backward is not Value._backward
        ):
            raise TypeError(
                f"grad cannot differentiate the node {symbol_of(value)!r}: its _backward is Python code, "
                "which gives numbers. Write it with the operations of Value; or give its local derivatives "
                "as Values, Value(y, (a,), (dy_da,)), or its rule, with derivatives.custom_jvp"
            )
        if row == ROW_DOT or row == ROW_INNER:
            return self.give_products(value, activation_row(code), upstream)
        if row == ROW_LOCAL:
            rule = rule_of(node)
            factors = <tuple>derivatives_of(node)
            if rule is not None:
                factors = tuple(rule.derivatives(value, <tuple>node.left))
                if len(factors) != PyTuple_GET_SIZE(node.left):
                    raise ValueError(f"{len(<tuple>node.left)} operands need as many derivatives")
            for index in range(PyTuple_GET_SIZE(node.left)):
                if self.wants(PyTuple_GET_ITEM(node.left, index)):
                    operand = <object>PyTuple_GET_ITEM(node.left, index)
                    self.give_share(value, operand, factors[index], upstream, None)
            return 0
        if row == ROW_CUSTOM:
            for index, factor in zip(range(PyTuple_GET_SIZE(node.left)), self.choices(value)):
                if self.wants(PyTuple_GET_ITEM(node.left, index)):
                    operand = <object>PyTuple_GET_ITEM(node.left, index)
                    self.give_share(value, operand, factor, upstream, factor)
            return 0
        if ROW_FIRST_REDUCTION <= row < ROW_FIRST_TERNARY:
            rule = self.rules_of(row)[0]
            count = <double>PyTuple_GET_SIZE(node.left)
            for operand in <tuple>node.left:
                if self.wants(<PyObject *>operand):
                    factor = rule if type(rule) is float else rule(operand, value, count)
                    self.give_share(value, operand, factor, upstream, None)
            return 0
        return self.give_by_rules(value, row, form_of(code), upstream)

    cdef int give_products(self, Value value, int activation, object upstream) except -1:
        """The shares of a dot product; the derivative of each activation needs its result alone."""
        cdef Node *node = <Node *><PyObject *>value
        cdef Py_ssize_t size = PyTuple_GET_SIZE(node.right.node), index
        if activation != ROW_LEAF:
            upstream = product(
                derivative_of(self.rules_of(activation)[0], value, None, None, 1, value), upstream
            )
        for index in range(size):
            w = <object>PyTuple_GET_ITEM(node.left, index)
            x = <object>PyTuple_GET_ITEM(node.right.node, index)
            if self.wants(<PyObject *>w):
                self.give_share(value, w, x, upstream, None)
            if self.wants(<PyObject *>x):
                self.give_share(value, x, w, upstream, None)
        if PyTuple_GET_SIZE(node.left) > size:
            bias = <object>PyTuple_GET_ITEM(node.left, size)
            if self.wants(<PyObject *>bias):
                self.give_share(value, bias, 1.0, upstream, None)
        return 0

    cdef int give_by_rules(self, Value value, int row, int form, object upstream) except -1:
        """The shares of an operation of one to three operands, one of which may be a number."""
        cdef Node *node = <Node *><PyObject *>value
        cdef tuple rules = self.rules_of(row)
        cdef bint choosing = selects(row)
        cdef object a = <object>node.left, b = None, c = None
        cdef int operands = 2
        if row >= ROW_FIRST_TERNARY:
            a, b, c = <tuple>node.left
            operands = 3
        elif row < ROW_FIRST_BINARY:
            operands = 1
        elif form == NODE_NODE:
            b = <object>node.right.node
        elif form == CONSTANT_NODE:
            a, b = node.right.constant, a
        else:
            b = node.right.constant
        self.give_by_rule(value, rules[0], a, a, b, c, operands, upstream, choosing)
        if operands >= 2:
            self.give_by_rule(value, rules[1], b, a, b, c, operands, upstream, choosing)
        if operands == 3:
            self.give_by_rule(value, rules[2], c, a, b, c, operands, upstream, choosing)
        return 0

    cdef inline int give_by_rule(
        self, Value value, object rule, object operand, object a, object b, object c, int operands,
        object upstream, bint choosing
    ) except -1:
        cdef object factor
        if type(operand) is float or not self.wants(<PyObject *>operand):
            return 0
        factor = derivative_of(rule, a, b, c, operands, value)
        if not choosing:
            return self.give_share(value, operand, factor, upstream, None)
        if is_value(<PyObject *>factor):
            return self.give_share(value, operand, factor, upstream, factor)
        return 0 if factor == 0.0 else self.give_share(value, operand, factor, upstream, None)

    cdef list found(self, list xs, Value first):
        """The gradient by each x, as Values younger than `first`, all of them different objects."""
        cdef list results = []
        cdef set given = set()
        cdef uintptr_t address
        cdef size_t place
        for x in xs:
            place = place_of(&self.table, <PyObject *>x)
            if self.table.keys[place] != NULL:
                # A loop may give a column its share after the column was visited.
                result = self.take_sum(self.table.numbers[place])
                self.received[self.table.numbers[place]] = result
            else:
                result = None if self.columns is None else self.columns.get(id(x))
            if result is None:
                result = 0.0
            if not is_value(<PyObject *>result):
                result = Value(result)
            address = <uintptr_t><PyObject *>result
            # Setting the data or label of a shared node would change another result, or the graph.
            if address in given or not is_new(result, first):
                result = binary(ROW_MUL, result, 1.0)
            given.add(address)
            results.append(result)
        return results


def _chain_rule(
    list outputs not None, list seeds not None, list xs not None, rules, choices, conditions=None, loops=None
):
    """Return for each x the sum over the outputs of seed * d output / dx, as new Values.

    rules(name): the derivatives of a row; each is a function of the operands and the result, a number, or the
    index of an operand (past the last: of the result). choices(node): the factor of each operand of a node of
    `take`. In a compiled function, conditions(outputs) returns an object that tells under which condition a
    node is reached, and `loops` is the object that differentiates its loops.
    """
    cdef ChainRule self = ChainRule()
    cdef Value first = Value(0.0)
    cdef Py_ssize_t at
    require_values(outputs)
    require_values(xs)
    for output in outputs:
        refuse_unknown((<Value>output).data, 0.0)
    self.rules, self.choices = rules, choices
    if loops is not None:
        self.loops, self.active_nodes, self.columns = loops, set(map(id, xs)), {}
    self.number(outputs, xs)
    if conditions is not None and self.chooses():
        self.reached = conditions(outputs)
    for output, seed in zip(outputs, seeds):
        self.receive(number_of(&self.table, <PyObject *>output), seed)
    for at in range(len(self.order) - 1, -1, -1):
        if self.active[at] and self.is_loop(at):
            self.give_back_through(at)
            continue
        upstream = self.take_sum(at) if self.active[at] else None
        if upstream is None:
            continue
        if self.wanted[at]:
            self.received[at] = upstream
        if self.passes[at] and not self.is_taken(at, upstream):
            self.give_shares(<Value>self.order[at], upstream)
    return self.found(xs, first)
