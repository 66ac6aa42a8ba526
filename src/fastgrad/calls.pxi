# Program: the calls that a compiled function offers, for one signature.

cdef object numpy = NotImplemented


cdef object find_numpy():
    """numpy, or None where it is not installed; not imported before the first program."""
    global numpy
    if numpy is NotImplemented:
        try:
            import numpy as found
        except ImportError:
            found = None
        numpy = found
    return numpy


cdef class Results:
    """An array that a call fills: numpy's if numpy is installed, else a memoryview of doubles."""

    cdef Py_buffer view
    cdef bint held
    cdef object array
    cdef double *data

    def __cinit__(self, tuple shape):
        cdef Py_ssize_t size = 1
        if find_numpy() is not None:
            self.array = numpy.zeros(shape)
        else:
            for side in shape:
                size *= <Py_ssize_t>side
            flat = memoryview(array.array("d", bytes(8 * size)))
            # A view of no numbers cannot be given a shape.
            self.array = flat if len(shape) == 1 or size == 0 else flat.cast("B").cast("d", shape)
        PyObject_GetBuffer(self.array, &self.view, PyBUF_STRIDES)
        self.held = True
        self.data = <double *>self.view.buf

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.view)


cpdef list prepare_arguments(tuple arguments, tuple names):
    """Return the arguments ready for a call; TypeError or ValueError names a bad one."""
    cdef list ready = []
    cdef Py_ssize_t index
    for index in range(len(arguments)):
        ready.append(prepare(arguments[index], names[index]))
    return ready


cdef tuple signature_of(list ready):
    cdef list keys = []
    cdef Prepared one
    for one in ready:
        keys.append(one.key())
    return tuple(keys)


def describe_signature(tuple signature):
    """Return (kind, columns) for each argument, the columns of one number a row being None.

    The kind is 'real', 'index', 'number' or 'whole number'.
    """
    return [
        (("real", "index", "number", "whole number")[key % 4], None if key // 4 == 0 else key // 4 - 1)
        for key in signature
    ]


cdef class Program:
    """One function as instructions, for one signature of its arguments.

    `print` shows it. It pickles, parameters included, and needs neither the function nor the graph.
    """

    cdef Graph graph
    cdef readonly tuple signature
    cdef tuple names
    cdef readonly str name
    # Whether the function returns one Value and not a list of them.
    cdef bint single
    cdef dict plans
    cdef tuple kinds

    def __init__(
        self, Graph graph not None, tuple signature not None, tuple names not None, str name, bint single
    ):
        choose_kernels()
        if len(names) != len(signature):
            raise ValueError(f"a program of {len(signature)} arguments has {len(names)} names")
        for argument, column in [place for place in graph.leaves if place[0] >= 0] + graph.selections:
            if not 0 <= argument < len(signature) or not 0 <= column < max(signature[argument] // 4 - 1, 1):
                raise ValueError(f"a damaged program: there is no argument ({argument}, {column})")
        self.graph = graph
        self.signature = signature
        self.names = names
        self.name = name
        self.single = single
        self.plans = {}
        self.kinds = tuple([key % 4 for key in signature])

    def __reduce__(self):
        return Program, (self.graph, self.signature, self.names, self.name, self.single)

    def __str__(self):
        return listing(self)

    @property
    def parameters(self):
        """The leaves that the program reads at each call, in a fixed order."""
        return self.graph.parameters

    cdef Plan plan_for(self, int purpose):
        plan = self.plans.get(purpose)
        if plan is None:
            self.plans[purpose] = plan = make_plan(self.graph, purpose, self.kinds)
        return plan

    cdef bint fits(self, list arguments) except -1:
        """Whether these are of the signature that the program was made for."""
        cdef Prepared one
        cdef Py_ssize_t index
        if len(arguments) != len(self.signature):
            return False
        for index in range(len(arguments)):
            one = arguments[index]
            if one is None or one.key() != <Py_ssize_t>self.signature[index]:
                return False
        return True

    cdef Py_ssize_t count_rows(self, list arguments) except -1:
        """The number of rows of a call, 1 if all arguments are numbers."""
        cdef Prepared one
        cdef Py_ssize_t rows = -1, first = 0, index
        if not self.fits(arguments):
            raise TypeError(f"{self.name}'s program was made for other arguments")
        for index in range(len(arguments)):
            one = arguments[index]
            if one.rows < 0:
                continue
            if rows >= 0 and one.rows != rows:
                raise ValueError(
                    f"{self.names[index]} has {one.rows} rows and {self.names[first]} has {rows}"
                )
            if rows < 0:
                rows, first = one.rows, index
        return rows if rows >= 0 else 1

    cdef int check_indices(self, Plan plan, list arguments, Py_ssize_t rows) except -1:
        """IndexError, before anything runs, if an index selects nothing."""
        cdef Prepared one
        cdef Py_ssize_t row, choices
        cdef int64_t index
        cdef const char *data
        for argument, column, choices in plan.ranges:
            one = arguments[argument]
            data = one.data + <Py_ssize_t>column * one.column_step
            for row in range(rows):
                index = (<const int64_t *>(data + row * one.row_step))[0]
                if index < 0 or index >= choices:
                    place = f"[{row}, {column}]" if one.columns >= 0 else f"[{row}]" if one.rows >= 0 else ""
                    raise IndexError(
                        f"{self.names[argument]}{place} is {index}: "
                        f"take() has {choices} values to choose from"
                    )
        return 0

    cdef Workspace start(
        self, Plan plan, list arguments, Py_ssize_t rows, Py_ssize_t threads, Py_ssize_t block
    ):
        """A workspace with the call's numbers and addresses in it."""
        cdef Workspace workspace
        cdef Prepared one
        cdef Argument *argument
        cdef Py_ssize_t index
        self.check_indices(plan, arguments, rows)
        workspace = workspace_for(plan, rows, block, threads)
        index = plan.parameters
        memcpy(workspace.uniform + index, plan.initial + index, (plan.uniforms - index) * sizeof(double))
        read_leaves(self.graph.parameters, workspace.uniform)
        for index in range(plan.arguments):
            one = arguments[index]
            workspace.uniform[plan.parameters + index] = one.number
            argument = &workspace.arguments[index]
            argument.kind = INDICES if one.kind == INDICES or one.kind == WHOLE_NUMBER else REALS
            argument.data = one.data
            argument.row_step, argument.column_step = one.row_step, one.column_step
            argument.columns = max(one.columns, 1)
            argument.gradient = NULL
        return workspace

    cpdef outputs(self, list arguments, Py_ssize_t threads, Py_ssize_t block):
        """Return the outputs, row by row."""
        cdef Plan plan = self.plan_for(FORWARD)
        cdef Py_ssize_t rows = self.count_rows(arguments)
        cdef Results results
        cdef Workspace workspace
        results = Results(tuple([rows] if self.single else [rows, plan.outputs]))
        if rows == 0:
            return results.array
        workspace = self.start(plan, arguments, rows, threads, block)
        run_rows(plan, workspace, rows, NULL, results.data, 1)
        plan.workspaces.append(workspace)
        return self.shaped(results, arguments)

    cdef object shaped(self, Results results, list arguments, bint by_output=False):
        """The array, or its only row as numbers if no argument had rows."""
        cdef Prepared one
        for argument in arguments:
            one = argument
            if one.rows >= 0:
                return results.array
        values = results.array.tolist()
        return [rows[0] for rows in values] if by_output else values[0]

    cpdef backward(self, list arguments, Py_ssize_t threads, Py_ssize_t block):
        """Return the outputs' means; add the gradient of their sum to the parameters'."""
        cdef Plan plan = self.plan_for(BACKWARD)
        cdef Py_ssize_t rows = self.count_rows(arguments), at
        cdef Workspace workspace
        cdef list means
        if rows == 0:
            raise ValueError(f"{self.name} has no mean: its arguments have no rows")
        workspace = self.start(plan, arguments, rows, threads, block)
        for at in range(plan.outputs):
            workspace.seeds[at] = 1.0 / <double>rows
        run_rows(plan, workspace, rows, workspace.seeds, NULL, 1)
        # The gradients come last: nothing that can fail follows.
        means = [workspace.total[at] / <double>rows for at in range(plan.outputs)]
        plan.workspaces.append(workspace)
        add_gradients(self.graph.parameters, workspace.gradient)
        return means[0] if self.single else means

    cpdef input_gradients(self, list arguments, Py_ssize_t threads, Py_ssize_t block):
        """Return d output / d argument row by row: an array an argument, None for indices."""
        cdef Plan plan = self.plan_for(INPUTS)
        cdef Py_ssize_t rows = self.count_rows(arguments), at, index
        cdef Workspace workspace = self.start(plan, arguments, rows, threads, block) if rows else None
        cdef Prepared one
        cdef Results results
        cdef list gradients = []
        cdef tuple shape
        for index in range(plan.arguments):
            one = arguments[index]
            if one.kind == INDICES:
                gradients.append(None)
                continue
            shape = tuple([rows] if one.columns < 0 else [rows, one.columns])
            results = Results(shape if self.single else (plan.outputs,) + shape)
            if rows:
                workspace.arguments[index].gradient = results.data
            gradients.append(results)
        if rows:
            for at in range(plan.outputs):
                workspace.seeds[at] = 1.0
            run_rows(plan, workspace, rows, workspace.seeds, NULL, 1 if self.single else plan.outputs)
            plan.workspaces.append(workspace)
        gradients = [
            None if results is None else self.shaped(results, arguments, not self.single)
            for results in gradients
        ]
        return gradients[0] if len(gradients) == 1 else tuple(gradients)

    def check(self, list arguments):
        """Raise what the engine would raise for the first row that it refuses.

        The message names the row, the instruction as `print` numbers it, and the operands.
        """
        cdef Plan plan = self.plan_for(FORWARD)
        cdef Py_ssize_t rows = self.count_rows(arguments), row, since = 0
        cdef Workspace workspace
        cdef double *values
        if rows == 0:
            return
        values = <double *>zeroed(self.graph.size, sizeof(double))
        try:
            workspace = self.start(plan, arguments, rows, 1, 0)
            for row in range(rows):
                since += self.graph.size
                if since > CHECKED_RECORDS:
                    since = 0
                    let_others_run()
                self.check_row(values, workspace.arguments, workspace.uniform, row)
            plan.workspaces.append(workspace)
        finally:
            PyMem_RawFree(values)

    cdef int check_row(
        self, double *values, const Argument *arguments, const double *parameters, Py_ssize_t row
    ) except -1:
        """Compute every record as the engine does."""
        cdef Graph graph = self.graph
        cdef Py_ssize_t index
        cdef int kind
        cdef int32_t first, second
        cdef double a, b, out
        cdef const char *data
        for index in range(graph.size):
            kind, first, second = graph.row(index), graph.first(index), graph.second(index)
            if kind == ROW_LEAF:
                argument, column = graph.leaves[first]
                if argument < 0:
                    out = parameters[<Py_ssize_t>column]
                else:
                    out = read_argument(&arguments[<Py_ssize_t>argument], row, column)
            elif kind == ROW_CONSTANT:
                out = graph.constants[first]
            elif kind == ROW_CUSTOM:
                argument, column = graph.selections[graph.operands[first]]
                data = arguments[<Py_ssize_t>argument].data
                data += row * arguments[<Py_ssize_t>argument].row_step
                data += <Py_ssize_t>column * arguments[<Py_ssize_t>argument].column_step
                out = values[graph.operands[first + 1 + choice(data, second - 1)]]
            elif kind == ROW_INNER:
                out = values[graph.operands[first + second - 1]] if second % 2 else 0.0
                for at in range(second // 2):
                    out += values[graph.operands[first + 2 * at]] * values[graph.operands[first + 2 * at + 1]]
            elif has_many_operands(kind):
                out = value_of_many(kind, graph.operands + first, second, values)
            else:
                a, b = values[first], 0.0
                if has_two_operands(kind):
                    b = values[second]
                    out = binary_value(kind, a, b)
                else:
                    out = unary_value(kind, a)
                if not isfinite(out) and kind in REFUSING:
                    try:
                        _refuse(kind, a, b)
                    except (ArithmeticError, ValueError) as error:
                        raise type(error)(f"row {row}, instruction v{index}: {error}") from None
            values[index] = out
        return 0


cdef int let_others_run() except -1:
    """Raise what Ctrl-C raises, and give other threads a turn."""
    PyErr_CheckSignals()
    with nogil:
        pass
    return 0


cdef double read_argument(const Argument *argument, Py_ssize_t row, Py_ssize_t column) noexcept:
    cdef const char *data = argument.data + row * argument.row_step + column * argument.column_step
    if argument.kind == INDICES:
        return <double>(<const int64_t *>data)[0]
    return (<const double *>data)[0]
