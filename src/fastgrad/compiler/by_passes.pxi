# Reverse-mode derivatives of programs with loops: the program's way back runs once for each output, which is
# called a pass. Forward mode and programs without loops need no passes: their derivatives are programs.

cdef tuple freed(Program self, list arguments, tuple columns):
    """(program, arguments, columns), with the parameters as an argument if they are among the columns.

    The way back gives gradients by arguments row by row, but those by parameters only summed over the rows.
    """
    cdef Py_ssize_t count = len(self.graph.parameters)
    if not any([column is not None and column[0] < 0 for column in columns]):
        return self, arguments, columns
    numbers = prepare_numbers(data_of(list(self.graph.parameters)), "parameters", True)
    return (
        self.derived(("freed",), (NUMBER + 4 * (count + 1),)),
        [*arguments, numbers],
        tuple([
            column if column is None or column[0] >= 0 else (len(self.signature), column[1])
            for column in columns
        ]),
    )


cdef list row_gradients(
    Program self, list arguments, Py_ssize_t rows, Py_ssize_t threads, Py_ssize_t block, list values
):
    """For each argument the derivatives (k, N, columns), None for indices; puts the outputs into `values`."""
    cdef Plan plan = self.plan_for(INPUTS, rows)
    cdef Workspace workspace = self.start(plan, arguments, rows, threads, block)
    cdef Results results
    cdef Prepared one
    cdef Py_ssize_t index
    cdef list found = []
    for index in range(plan.arguments):
        one = arguments[index]
        if one.kind == INDICES:
            found.append(None)
            continue
        results = Results((plan.outputs, rows, max(one.columns, 1)))
        workspace.arguments[index].gradient = results.data
        found.append(results)
    for index in range(plan.outputs):
        workspace.seeds[index] = 1.0
    self.aim_outputs(workspace, values, arguments, rows)
    run_rows(plan, workspace, rows, workspace.seeds, workspace.places if values else NULL, plan.outputs)
    plan.workspaces.append(workspace)
    return found


cdef int put(
    Results target, list gradients, tuple columns, Py_ssize_t rows, Py_ssize_t outputs, Py_ssize_t count,
    Py_ssize_t number
) except -1:
    """Put the derivatives by these columns into an array (rows, outputs, count, columns), at `number`."""
    cdef Results gradient
    cdef Py_ssize_t row, output, at, width = len(columns), step, place
    cdef double *source
    if target.size() != rows * outputs * count * width:
        raise ValueError(f"{rows * outputs * count * width} derivatives are not {target.size()}")
    for at in range(width):
        source, step = NULL, 0
        column = columns[at]
        if column is not None:
            gradient = gradients[column[0]]
            if gradient is None:
                raise ValueError(f"{column!r} is an index, by which there is no derivative")
            step, place = gradient.view.shape[2], column[1]
            if not 0 <= place < step:
                raise ValueError(f"there is no column {column!r}")
            source = gradient.data + place
        for row in range(rows):
            for output in range(outputs):
                (<double *>target.at(((row * outputs + output) * count + number) * width + at))[0] = (
                    0.0 if source == NULL else source[(output * rows + row) * step]
                )
    return 0


def gradients_by_passes(
    Program self not None, list arguments not None, Py_ssize_t threads, Py_ssize_t block,
    tuple columns not None, bint values, list shapes not None, outs=None,
):
    """Return what `fill` returns of the program derived(("jacobian", columns, values))."""
    cdef Py_ssize_t rows = self.count_rows(arguments), outputs = len(self.graph.outputs), start = 0, end
    cdef list targets = self.targets(shapes, outs, arguments, rows)
    cdef list given
    program, given, flat = freed(self, arguments, tuple([column for group in columns for column in group]))
    if len(targets) != len(columns) + values:
        raise ValueError(f"{len(columns) + values} results are not {len(targets)}")
    if values and rows and self.numbers_of_row(targets[:1], arguments, rows) != outputs:
        raise ValueError(f"the array for the values has no room for {outputs} outputs")
    if rows:
        gradients = row_gradients(program, given, rows, threads, block, targets[:1] if values else [])
        for group, target in zip(columns, targets[1:] if values else targets):
            end = start + len(group)
            put(target, gradients, flat[start:end], rows, outputs, 1, 0)
            start = end
    return self.handed_over(targets, shapes, outs, arguments)


def hessian_by_passes(
    Program self not None, list arguments not None, Py_ssize_t threads, Py_ssize_t block,
    tuple columns not None, list shapes not None, outs=None,
):
    """Return what `fill` returns of the program derived(("hessian", columns))."""
    cdef Py_ssize_t rows = self.count_rows(arguments), outputs = len(self.graph.outputs), at
    cdef Py_ssize_t count = len(columns)
    cdef list targets = self.targets(shapes, outs, arguments, rows)
    cdef Results unit = Results((count,))
    cdef Program along
    cdef list given
    if len(targets) != 1:
        raise ValueError(f"a Hessian is one array, not {len(targets)}")
    program, given, columns = freed(self, arguments, columns)
    along = program.derived(("tangent", columns), (NUMBER + 4 * (count + 1),))
    given = [*given, prepare_numbers(unit.array, "tangents", True)]
    for at in range(count if rows else 0):
        unit.data[at] = 1.0
        gradients = row_gradients(along, given, rows, threads, block, [])
        unit.data[at] = 0.0
        put(targets[0], gradients, columns, rows, outputs, count, at)
    return self.handed_over(targets, shapes, outs, arguments)[0]


def sums_by_passes(
    Program self not None, list arguments not None, Py_ssize_t threads, Py_ssize_t block, double scale,
    tuple columns not None, bint values, list shapes not None, outs=None,
):
    """Return what `sums` returns of the program derived(("jacobian", columns, values))."""
    cdef Py_ssize_t outputs = len(self.graph.outputs), start = 0, number = 0, output, at
    cdef tuple flat = tuple([column for group in columns for column in group])
    cdef Py_ssize_t count = len(flat)
    cdef Results sums = Results((outputs,))
    cdef Results found = Results((outputs * count,))
    cdef Results ordered = Results(((outputs if values else 0) + outputs * count,))
    sum_gradients(self, arguments, threads, block, scale, flat, sums.data, found.data)
    for output in range(outputs if values else 0):
        ordered.data[number] = sums.data[output]
        number += 1
    for group in columns:
        for output in range(outputs):
            for at in range(start, start + len(group)):
                ordered.data[number] = found.data[output * count + at]
                number += 1
        start += len(group)
    return shared_out(ordered, shapes, outs)
