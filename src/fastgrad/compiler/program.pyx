# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False, binding=False, embedsignature.format=clinic
"""Program: the calls of a compiled function for one signature, from arrays to arrays."""

import array

cimport cython

from libc.math cimport isfinite
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE
from cpython.buffer cimport PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.mem cimport PyMem_RawFree

from fastgrad.compiler.arguments cimport Prepared, find_numpy, is_aligned, is_code
from fastgrad.compiler.arguments cimport prepare_arguments, prepare_numbers, signature_of
from fastgrad.compiler.graph cimport ROW_LOOP, Graph, Loop, has_many_operands, has_two_operands
from fastgrad.compiler.instructions cimport *
from fastgrad.compiler.lowering cimport BACKWARD, FORWARD, INPUTS, SHARED
from fastgrad.compiler.memory cimport zeroed
from fastgrad.compiler.plan cimport Plan, make_plan
from fastgrad.compiler.replay cimport Workspace, begin_tables, block_bytes, chosen_kernels
from fastgrad.compiler.replay cimport give_gradients, read_parameters, run_rows, workspace_for
from fastgrad.compiler.rows cimport RowGraph, RowMemory, RowProgram, RowState, Singular
from fastgrad.compiler.rows cimport begin_loop_in_row, end_step_in_row, give_step_in_row
from fastgrad.compiler.rows cimport gradients_in_row, value_in_row
from fastgrad.compiler.transforms cimport freed_graph, hessian_graph, jacobian_graph, tangent_graph
from fastgrad.compiler.transforms cimport weighted_graph, with_elements
from fastgrad.compiler.watch cimport Snapshot
from fastgrad.engine cimport read_leaves
from fastgrad.engine import Value, _described, _refuse
from fastgrad.ops cimport *

__all__ = [
    "Program", "Programs", "data_of", "gradients_by_passes", "hessian_by_passes", "set_data",
    "sums_by_passes",
]

cdef extern from "Python.h":
    int PyErr_CheckSignals() except -1

cdef enum:
    # `_verify` looks for Ctrl-C after so many records: some milliseconds.
    VERIFIED_RECORDS = 65536
    # `input_gradients` goes back once for each of so many outputs. For more, a program of all derivatives,
    # which takes longer to make, runs once.
    MOST_PASSES = 3

cdef class Results:
    """An array that a call fills: numpy's if numpy is installed, else a memoryview of doubles.

    It is new, or the caller's own.
    """

    def __cinit__(self, tuple shape, given=None, str name="out"):
        cdef Py_ssize_t size = 1
        if given is not None:
            self.adopt(given, shape, name)
            return
        if find_numpy() is not None:
            self.array = find_numpy().zeros(shape)
        else:
            for side in shape:
                size *= <Py_ssize_t>side
            flat = memoryview(array.array("d", bytes(8 * size)))
            # A memoryview without numbers cannot be cast to a shape.
            self.array = flat if len(shape) == 1 or size == 0 else flat.cast("B").cast("d", shape)
        PyObject_GetBuffer(self.array, &self.view, PyBUF_STRIDES)
        self.held = True
        self.data = <double *>self.view.buf

    cdef int adopt(self, object given, tuple shape, str name) except -1:
        """Take an array of the caller's; TypeError or ValueError that names it."""
        cdef Py_ssize_t axis
        if not PyObject_CheckBuffer(given):
            raise TypeError(
                f"{name} must be an array of float64 that can be written, not a {type(given).__name__}"
            )
        try:
            PyObject_GetBuffer(given, &self.view, PyBUF_STRIDES | PyBUF_FORMAT | PyBUF_WRITABLE)
        except (BufferError, ValueError) as error:
            raise ValueError(f"{name} must be an array that can be written: {error}") from None
        self.held = True
        self.array, self.data = given, <double *>self.view.buf
        if self.view.strides == NULL and self.view.ndim:
            raise TypeError(f"{name} is an array without strides")  # no cover: those of ctypes
        if self.view.itemsize != 8 or not is_code(self.view.format, b"d"):
            raise TypeError(f"{name} must be an array of float64")
        found = tuple([self.view.shape[axis] for axis in range(self.view.ndim)])
        if found != shape:
            raise ValueError(f"{name} has shape {found}, but the result {shape}")
        if not is_aligned(&self.view):
            raise ValueError(f"{name} lies at an address where no float64 can be written")
        for axis in range(self.view.ndim):
            if self.view.strides[axis] == 0 and self.view.shape[axis] > 1:
                raise ValueError(f"{name} has one place for several numbers")
        return 0

    cdef void range_of(self, const char **first, const char **end) noexcept:
        """Set the first and the end address of the array's memory."""
        cdef Py_ssize_t axis, span
        first[0] = <const char *>self.view.buf
        end[0] = first[0] + (8 if self.view.len else 0)
        for axis in range(self.view.ndim if self.view.len else 0):
            span = (self.view.shape[axis] - 1) * self.view.strides[axis]
            if span < 0:
                first[0] += span
            else:
                end[0] += span

    cdef Py_ssize_t size(self) noexcept:
        cdef Py_ssize_t axis, count = 1
        for axis in range(self.view.ndim):
            count *= self.view.shape[axis]
        return count

    cdef char *at(self, Py_ssize_t flat) noexcept:
        """The place of an item, counted row by row."""
        cdef Py_ssize_t axis, offset = 0
        for axis in range(self.view.ndim - 1, -1, -1):
            offset += flat % self.view.shape[axis] * self.view.strides[axis]
            flat //= self.view.shape[axis]
        return <char *>self.view.buf + offset

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.view)


cdef class Program:
    """A compiled function for one signature of its arguments.

    `print` shows its instructions. It pickles with its parameters, and runs without the function.
    """

    def __cinit__(
        self, Graph graph not None, tuple signature not None, tuple names not None, str name, bint single
    ):
        chosen_kernels()
        if len(names) != len(signature):
            raise ValueError(f"a program of {len(signature)} arguments has {len(names)} names")
        if graph.taken is not None:
            raise ValueError("a damaged program: it is the step of a loop")
        for argument, column in graph.places():
            if not 0 <= argument < len(signature) or not 0 <= column < max(signature[argument] // 4 - 1, 1):
                raise ValueError(f"a damaged program: there is no argument ({argument}, {column})")
        self.graph = graph
        self.signature = signature
        self.names = names
        self.name = name
        self.single = single
        self.plans = {}
        self.relatives = {}
        self.kinds = tuple([key % 4 for key in signature])

    def __reduce__(self):
        from fastgrad.compiler.pickling import load_program, saved_program

        saved = saved_program(self.graph, self.signature, self.names, self.name, self.single)
        return load_program, (saved,)

    def __str__(self):
        # listing.py reads programs, and so stands above this file.
        from fastgrad.compiler.listing import listing

        return listing(self)

    def _graph(self):
        return self.graph

    def _names(self):
        """Return the names of the arguments."""
        return self.names

    @property
    def parameters(self):
        """The leaves that the program reads at each call, in a fixed order."""
        return self.graph.parameters

    @property
    def output_shape(self):
        """The shape of what the function returns for one row."""
        return () if self.single else (len(self.graph.outputs),)

    @property
    def size(self):
        """How many records the graph has."""
        return self.graph.size

    @property
    def has_loops(self):
        """Whether a loop is part of the program."""
        return len(self.graph.loops) > 0

    cdef Plan plan_for(self, int purpose, Py_ssize_t rows=-1):
        """The plan for one purpose. A call of one row has one of its own, if steps can be bundled."""
        cdef bint one_row = rows == 1
        cdef Plan plan = self.plans.get(2 * purpose + one_row)
        if plan is None:
            graph = self.graph
            if purpose == SHARED:
                # The gradient by a shared number is added up where it is a leaf; a loop reads columns alone.
                graph = with_elements(graph, {at for at, kind in enumerate(self.kinds) if kind == NUMBER})
            plan = make_plan(graph, purpose, self.kinds, one_row)
            if one_row and plan.most_members == 0:
                plan = self.plan_for(purpose)
            self.plans[2 * purpose + one_row] = plan
        return plan

    cdef Plan plan_shown(self, int purpose):
        """The plan that `print` shows: that for one row if no call had more."""
        one_row = 2 * purpose not in self.plans and 2 * purpose + 1 in self.plans
        return self.plan_for(purpose, 1 if one_row else -1)

    def _plans_shown(self):
        """Return what `print` shows: plans of the outputs and the gradients, a block's bytes, the kernels."""
        cdef Plan backward = self.plan_shown(BACKWARD)
        cdef Plan forward = self.plan_for(FORWARD, 1 if backward.most_members else -1)
        return forward, backward, block_bytes(backward), chosen_kernels()

    cdef bint fits(self, list arguments) except -1:
        """Whether these arguments have the signature that the program was made for."""
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

    def count_rows_of(self, list arguments not None):
        """Return the number of rows of a call; TypeError or ValueError if its arguments do not fit."""
        return self.count_rows(arguments)

    cdef list index_ranges(self):
        """(argument, column, number of choices) of every index that the function selects by."""
        cdef Py_ssize_t index
        cdef set found = set(self.ranges or ())
        for index in range(self.graph.size if self.ranges is None else 0):
            if self.graph.row(index) == ROW_CUSTOM:
                place = self.graph.selections[self.graph.operands[self.graph.first(index)]]
                found.add((*place, self.graph.second(index) - 1))
        return list(found)

    cdef int check_indices(self, list ranges, list arguments, Py_ssize_t rows) except -1:
        """Raise IndexError, before anything runs, for an index that is out of range."""
        cdef Prepared one
        cdef Py_ssize_t row, choices
        cdef int64_t index
        cdef const char *data
        for argument, column, choices in ranges:
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
        self, Plan plan, list arguments, Py_ssize_t rows, Py_ssize_t threads, Py_ssize_t block,
        bint whole=False,
    ):
        """A workspace ready for a call; `whole`: with all numbers of its tables."""
        cdef Workspace workspace
        cdef Prepared one
        cdef Argument *argument
        cdef Py_ssize_t index
        if threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        self.check_indices(plan.ranges if self.ranges is None else self.ranges, arguments, rows)
        workspace = workspace_for(plan, rows, block, threads)
        index = plan.parameters
        memcpy(workspace.uniform + index, plan.initial + index, (plan.uniforms - index) * sizeof(double))
        for index in range(plan.shared_count):
            one = arguments[plan.shared[2 * index]]
            workspace.uniform[plan.parameters + index] = one.number if one.columns < 0 else (
                <const double *>(one.data + plan.shared[2 * index + 1] * one.column_step)
            )[0]
        for index in range(plan.arguments):
            one = arguments[index]
            argument = &workspace.arguments[index]
            argument.kind = INDICES if one.kind == INDICES or one.kind == WHOLE_NUMBER else REALS
            argument.data = one.data
            argument.row_step, argument.column_step = one.row_step, one.column_step
            argument.columns = argument.gradient_row_step = max(one.columns, 1)
            argument.gradient_column_step = 1
            argument.gradient = NULL
        begin_tables(plan, workspace, rows, whole)
        read_parameters(plan, workspace, self.graph.parameters)
        return workspace

    cpdef outputs(self, list arguments, Py_ssize_t threads, Py_ssize_t block):
        """Return the outputs, row by row."""
        cdef Py_ssize_t rows = self.count_rows(arguments), at
        cdef Plan plan = self.plan_for(FORWARD, rows)
        cdef Results results
        cdef Workspace workspace
        results = Results(tuple([rows] if self.single else [rows, plan.outputs]))
        if rows == 0:
            return results.array
        workspace = self.start(plan, arguments, rows, threads, block)
        for at in range(plan.outputs):
            workspace.places[at].data = <char *>(results.data + at)
            workspace.places[at].row_step = plan.outputs * <Py_ssize_t>sizeof(double)
        run_rows(plan, workspace, rows, NULL, workspace.places, 1)
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

    cdef Workspace run(
        self, Plan plan, list arguments, Py_ssize_t rows, Py_ssize_t threads, Py_ssize_t block, double seed,
        Py_ssize_t output=-1, bint whole=False,
    ):
        """Run forward and back; the gradient of each output, or of one, is `seed`."""
        cdef Workspace workspace = self.start(plan, arguments, rows, threads, block, whole)
        cdef Py_ssize_t at
        for at in range(plan.outputs):
            workspace.seeds[at] = seed if output < 0 or at == output else 0.0
        run_rows(plan, workspace, rows, workspace.seeds, NULL, 1)
        return workspace

    cpdef backward(self, list arguments, Py_ssize_t threads, Py_ssize_t block):
        """Return the outputs' means; add the gradient of their sum to the parameters'."""
        cdef Py_ssize_t rows = self.count_rows(arguments), at
        cdef Plan plan = self.plan_for(BACKWARD, rows)
        cdef Workspace workspace
        cdef list means
        if rows == 0:
            raise ValueError(f"{self.name} has no mean output: its arguments have no rows")
        workspace = self.run(plan, arguments, rows, threads, block, 1.0 / <double>rows)
        # The gradients come last: nothing that can fail follows.
        means = [workspace.total[at] / <double>rows for at in range(plan.outputs)]
        give_gradients(plan, workspace, self.graph.parameters)
        plan.workspaces.append(workspace)
        return means[0] if self.single else means

    cpdef input_gradients(self, list arguments, Py_ssize_t threads, Py_ssize_t block):
        """Return d output / d argument row by row: an array an argument, None for indices."""
        if len(self.graph.outputs) > MOST_PASSES and not self.graph.loops:
            return self.gradients_side_by_side(arguments, threads, block)
        cdef Py_ssize_t rows = self.count_rows(arguments), at, index
        cdef Plan plan = self.plan_for(INPUTS, rows)
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
        return self.shaped_gradients(gradients, arguments)

    def derived(self, tuple key not None, tuple more not None=()):
        """Return the program of derivatives that a key describes; it is made at its first use.

        key: ("jacobian", columns, values), ("hessian", columns), ("tangent", columns), ("weighted",) or
        ("freed",). The columns are leaves: (argument, column), (-1, parameter), or None for what the program
        does not have. `more` has the signatures of the arguments that follow: a tangent for each column, the
        weight, or what takes the place of the parameters.
        """
        cdef Program program = self.relatives.get((key, more))
        cdef Graph graph
        if program is not None:
            return program
        extra = [
            (len(self.signature) + at, column)
            for at, one in enumerate(more) for column in range(one // 4 - 1 if one >= 4 else 1)
        ]
        # Unpacked, as an index is not checked here.
        kind, columns, values = (key + (None, None, None))[:3]
        if self.graph.loops and (kind == "hessian" or (kind == "jacobian" and self.needs_passes(columns))):
            raise ValueError("reverse mode through a loop takes a pass for each output")
        if kind == "jacobian":
            graph = jacobian_graph(self.graph, columns, bool(values))
        elif kind == "hessian":
            graph = hessian_graph(self.graph, columns)
        elif kind == "tangent" and len(columns) == len(extra):
            graph = tangent_graph(self.graph, columns, tuple(extra))
        elif kind == "weighted" and len(extra) == 1:
            graph = weighted_graph(self.graph, extra[0])
        elif kind == "freed" and len(extra) == len(self.graph.parameters):
            graph = freed_graph(self.graph, len(self.signature))
        else:
            raise ValueError(f"a program has no derivatives {key!r} with {len(extra)} more columns")
        more_names = {"weighted": "row_weights", "freed": "parameters"}
        names = (more_names.get(kind, "tangents"),) * len(more)
        program = Program(graph, self.signature + more, self.names + names, self.name, False)
        program.ranges = self.index_ranges()
        self.relatives[key, more] = program
        return program

    cdef Results target(self, tuple shape, object given, list arguments):
        """The array for some outputs: the caller's, or a new one without it or if it overlaps an argument."""
        cdef Results results
        cdef Prepared one
        cdef const char *first
        cdef const char *end
        if given is None:
            return Results(shape)
        results = Results(shape, given)
        results.range_of(&first, &end)
        for argument in arguments:
            one = argument
            if one.overlaps(first, end):
                return Results(shape)
        return results

    def fill(
        self, list arguments not None, Py_ssize_t threads, Py_ssize_t block, list shapes not None, outs=None
    ):
        """Return the outputs, row by row, distributed over arrays: one for each of the shapes.

        shapes: of each array in a row. outs: an array or None for each; an array is filled and returned. If
        no argument has rows, the arrays have these shapes, and a single number is a float.
        """
        cdef Py_ssize_t rows = self.count_rows(arguments), number
        cdef Plan plan = self.plan_for(FORWARD, rows)
        cdef Workspace workspace
        cdef list targets = self.targets(shapes, outs, arguments, rows)
        number = self.numbers_of_row(targets, arguments, rows)
        if number:
            if number != plan.outputs:
                raise ValueError(f"{plan.outputs} outputs are not {number}")
            workspace = self.start(plan, arguments, rows, threads, block)
            self.aim_outputs(workspace, targets, arguments, rows)
            run_rows(plan, workspace, rows, NULL, workspace.places, 1)
            plan.workspaces.append(workspace)
        else:
            # There is nothing to compute, for example by no parameters. The indices are checked all the same.
            self.check_indices(plan.ranges if self.ranges is None else self.ranges, arguments, rows)
        return self.handed_over(targets, shapes, outs, arguments)

    cdef list targets(self, list shapes, outs, list arguments, Py_ssize_t rows):
        """The arrays of a call for each of the shapes."""
        cdef list targets = []
        outs = [None] * len(shapes) if outs is None else list(outs)
        if len(outs) != len(shapes):
            raise ValueError(f"out must have {len(shapes)} arrays, not {len(outs)}")
        for shape, given in zip(shapes, outs):
            shape = (rows, *shape) if self.has_rows(arguments) else tuple(shape)
            targets.append(self.target(shape if shape or given is not None else (1,), given, arguments))
        require_apart([one for one, given in zip(targets, outs) if given is not None])
        return targets

    cdef Py_ssize_t numbers_of_row(self, list targets, list arguments, Py_ssize_t rows) except -1:
        """How many numbers the arrays have for each row."""
        cdef Results results
        cdef Py_ssize_t number = 0
        for results in targets:
            number += results.size() // (rows if self.has_rows(arguments) else 1) if rows else 0
        return number

    cdef int aim_outputs(
        self, Workspace workspace, list targets, list arguments, Py_ssize_t rows
    ) except -1:
        """Set the addresses in the arrays where the outputs go."""
        cdef Results results
        cdef bint by_row = self.has_rows(arguments)
        cdef Py_ssize_t number = 0, at
        for results in targets:
            for at in range(results.size() // (rows if by_row else 1)):
                workspace.places[number].data = results.at(at)
                workspace.places[number].row_step = results.view.strides[0] if by_row else 8
                number += 1
        return 0

    cdef list handed_over(self, list targets, list shapes, outs, list arguments):
        """The arrays as the caller gets them."""
        cdef bint by_row = self.has_rows(arguments)
        return [
            handed_over(results, given, by_row or len(shape) > 0)
            for results, given, shape in zip(targets, outs or [None] * len(shapes), shapes)
        ]

    cdef bint has_rows(self, list arguments) except -1:
        cdef Prepared one
        for argument in arguments:
            one = argument
            if one.rows >= 0:
                return True
        return False

    def sums(
        self, list arguments not None, Py_ssize_t threads, Py_ssize_t block, double scale,
        list shapes not None, outs=None,
    ):
        """Return the outputs' sums over the rows times `scale`, as an array for each of the shapes."""
        cdef Py_ssize_t rows = self.count_rows(arguments), at
        cdef Plan plan = self.plan_for(FORWARD, rows)
        cdef Results results = Results((plan.outputs,))
        cdef Workspace workspace
        if rows:
            workspace = self.start(plan, arguments, rows, threads, block)
            run_rows(plan, workspace, rows, NULL, NULL, 1)
            for at in range(plan.outputs):
                results.data[at] = workspace.total[at] * scale
            plan.workspaces.append(workspace)
        return shared_out(results, shapes, outs)

    def reduced(
        self, list arguments not None, Py_ssize_t threads, Py_ssize_t block, double scale, tuple columns,
        list shapes not None, outs=None,
    ):
        """Return the outputs' sums over the rows times `scale`, and the gradient of their sum by columns.

        columns: (argument, column) of arguments that all rows share, (-1, parameter), or None, for which the
        derivative is 0. The gradient is an array for each of the shapes. Without columns it is None, and is
        added to the gradients of the parameters.
        """
        cdef Py_ssize_t rows = self.count_rows(arguments), at
        cdef Plan plan = self.plan_for(BACKWARD if only_parameters(columns) else SHARED, rows)
        cdef list sums = [0.0] * plan.outputs
        cdef Results results = Results((0 if columns is None else len(columns),))
        cdef Workspace workspace = None
        if rows:
            workspace = self.run(plan, arguments, rows, threads, block, scale, -1, columns is not None)
            sums = [workspace.total[at] * scale for at in range(plan.outputs)]
        if columns is None:
            if rows:
                give_gradients(plan, workspace, self.graph.parameters)
                plan.workspaces.append(workspace)
            return sums, None
        if rows:
            read_gradients(plan, workspace, columns, results.data)
            plan.workspaces.append(workspace)
        return sums, shared_out(results, shapes, outs)

    def hessian_by_columns(
        self, list arguments not None, Py_ssize_t threads, Py_ssize_t block, double scale,
        tuple columns not None, list shapes not None, outs=None,
    ):
        """Return the Hessians of the outputs' sums by the columns, from products with the unit vectors."""
        cdef Py_ssize_t count = len(columns), outputs = len(self.graph.outputs), at, other, output
        cdef Results unit = Results((count,))
        cdef Results found = Results((outputs * count * count,))
        cdef Results row = Results((outputs * count,))
        cdef Program along = self.derived(("tangent", columns), (NUMBER + 4 * (count + 1),))
        cdef list given = [*arguments, prepare_numbers(unit.array, "tangents", True)]
        for at in range(count):
            unit.data[at] = 1.0
            sum_gradients(along, given, threads, block, scale, columns, NULL, row.data)
            unit.data[at] = 0.0
            for output in range(outputs):
                for other in range(count):
                    found.data[(output * count + at) * count + other] = row.data[output * count + other]
        return shared_out(found, shapes, outs)[0]

    def needs_passes(self, tuple columns not None):
        """Return whether the derivatives by these groups of columns take a pass for each output.

        They do in reverse mode through loops (see by_passes.pxi): if there are more columns than outputs.
        """
        return len(self.graph.loops) > 0 and len(self.graph.outputs) < sum([len(group) for group in columns])

    cdef object gradients_side_by_side(self, list arguments, Py_ssize_t threads, Py_ssize_t block):
        """The result of `input_gradients`, by a program of all derivatives that runs once for all outputs."""
        cdef Py_ssize_t rows = self.count_rows(arguments), index, at, column, width, number = 0
        cdef Py_ssize_t outputs = len(self.graph.outputs)
        cdef Prepared one
        cdef Results results
        cdef Workspace workspace
        cdef Plan plan
        cdef list gradients = []
        cdef list groups = []
        for index in range(len(arguments)):
            one = arguments[index]
            if one.kind == INDICES:
                gradients.append(None)
                continue
            width = max(one.columns, 1)
            groups.append(tuple([(index, column) for column in range(width)]))
            gradients.append(Results(tuple([outputs, rows] if one.columns < 0 else [outputs, rows, width])))
        if rows and groups:
            program = <Program>self.derived(("jacobian", tuple(groups), False))
            plan = program.plan_for(FORWARD, rows)
            workspace = program.start(plan, arguments, rows, threads, block)
            for index in range(len(arguments)):
                results = gradients[index]
                if results is None:
                    continue
                one = arguments[index]
                width = max(one.columns, 1)
                for at in range(outputs):
                    for column in range(width):
                        workspace.places[number].data = <char *>(results.data + at * rows * width + column)
                        workspace.places[number].row_step = width * <Py_ssize_t>sizeof(double)
                        number += 1
            run_rows(plan, workspace, rows, NULL, workspace.places, 1)
            plan.workspaces.append(workspace)
        return self.shaped_gradients(gradients, arguments)

    cdef object shaped_gradients(self, list gradients, list arguments):
        """One array for one argument, else a tuple of them."""
        shaped = [
            None if results is None else self.shaped(results, arguments, not self.single)
            for results in gradients
        ]
        return shaped[0] if len(shaped) == 1 else tuple(shaped)

    def _verify(self, list arguments, str what="outputs", locate=None):
        """Raise what the engine would raise for the first row that it refuses.

        Before `backward` and `input_gradients` it also raises FloatingPointError for the first row in which
        the product of a gradient and a derivative is not finite. The message names the row, the
        instruction as `print` numbers it, the operands, and the source line: locate(graph, record).
        """
        cdef int purpose = {"backward": BACKWARD, "input_gradients": INPUTS}.get(what, FORWARD)
        cdef Py_ssize_t rows = self.count_rows(arguments), row, since = 0, output
        cdef Plan plan = self.plan_for(FORWARD, rows)
        cdef Workspace workspace
        cdef RowProgram graph = RowProgram(self.graph, purpose, self.kinds)
        cdef RowMemory memory
        cdef double *seeds
        if rows == 0:
            return
        seeds = <double *>zeroed(plan.outputs, sizeof(double))
        try:
            memory = RowMemory(graph, True)
            workspace = self.start(plan, arguments, rows, 1, 0, True)
            for row in range(rows):
                self.verify_records(
                    graph, &memory.state, workspace.arguments, workspace.uniform, row, f"row {row}", &since,
                    locate,
                )
                # All outputs together, or each by itself, as the call differentiates them.
                for output in range(plan.outputs if purpose == INPUTS else 1 if purpose == BACKWARD else 0):
                    for at in range(plan.outputs):
                        seeds[<Py_ssize_t>at] = 1.0 if purpose == BACKWARD or at == output else 0.0
                    self.verify_gradients(
                        graph, &memory.state, workspace.arguments, workspace.uniform, seeds, row, locate
                    )
            plan.workspaces.append(workspace)
        finally:
            PyMem_RawFree(seeds)

    cdef int verify_records(
        self,
        RowProgram program,
        RowState *state,
        const Argument *arguments,
        const double *parameters,
        Py_ssize_t row,
        str place,
        Py_ssize_t *since,
        object locate,
    ) except -1:
        """Compute every record as the engine does."""
        cdef const RowGraph *of = &program.of
        cdef Graph graph = program.graph
        cdef Py_ssize_t index
        cdef int kind
        since[0] += of.size
        if since[0] > VERIFIED_RECORDS:
            since[0] = 0
            let_others_run()
        for index in range(of.size):
            kind = graph.row(index)
            if kind == ROW_LOOP:
                self.verify_loop(program, state, index, arguments, row, place, since, locate)
                continue
            state.values[index] = value_in_row(of, state, index, arguments, parameters, row)
            if not isfinite(state.values[index]) and refuses(kind):
                a, b = operands_in_row(graph, index, state.values)
                try:
                    _refuse(kind, a, b)
                except (ArithmeticError, ValueError) as error:
                    where = at_line(locate, graph, index)
                    raise type(error)(f"{place}, instruction v{index}: {error}{where}") from None
        return 0

    cdef int verify_loop(
        self,
        RowProgram program,
        RowState *state,
        Py_ssize_t index,
        const Argument *arguments,
        Py_ssize_t row,
        str place,
        Py_ssize_t *since,
        object locate,
    ) except -1:
        """Compute every step of a loop, record by record."""
        cdef Loop loop = program.graph.loop_of(index)
        cdef Py_ssize_t number = program.graph.loops.index(loop), step
        cdef RowProgram body = program.bodies[number]
        begin_loop_in_row(&program.of, state, index)
        for step in range(loop.steps):
            give_step_in_row(&program.of, state, index, arguments, row, step)
            self.verify_records(
                body, &state.loops[number].body, arguments, state.loops[number].given, row,
                f"{place}, step {step} of {loop.name}", since, locate,
            )
            end_step_in_row(&program.of, state, index, step)
        return 0

    cdef int verify_gradients(
        self,
        RowProgram program,
        RowState *state,
        const Argument *arguments,
        const double *parameters,
        const double *seeds,
        Py_ssize_t row,
        object locate,
    ) except -1:
        """Raise FloatingPointError if a wanted gradient is not finite."""
        cdef Singular first = gradients_in_row(&program.of, state, arguments, seeds, parameters, row)
        cdef Graph graph
        cdef RowProgram found
        if first.record < 0:
            return 0
        found, loops = program_of_row(program, first.of)
        graph = found.graph
        kind = graph.row(first.record)
        which = ""
        if kind == ROW_INNER:
            what = "a sum of products"
        elif kind == ROW_CUSTOM:
            what = "take"
        elif kind == ROW_LOCAL:
            what = "a node given by its local derivatives"
            which = f" by operand {first.operand + 1}"
        elif has_many_operands(kind):
            what = roles_of(kind << 2).name.decode()
            which = f" by operand {first.operand + 1}"
        else:
            a, b = operands_in_row(graph, first.record, values_of_row(program, state, first.of))
            what = _described(kind, a, b)
            if has_two_operands(kind):
                which = f" by the {'right' if first.operand else 'left'} operand"
        place = f"row {row}{f', step {first.step} of ' + loops if loops else ''}, instruction v{first.record}"
        where = at_line(locate, graph, first.record)
        if not isfinite(first.derivative):
            raise FloatingPointError(f"{place}: the derivative of {what}{which} is {first.derivative}{where}")
        raise FloatingPointError(
            f"{place}: the gradient {first.gradient} times the derivative of {what}{which}, "
            f"{first.derivative}, is {first.gradient * first.derivative}{where}"
        )


cdef str at_line(object locate, Graph graph, Py_ssize_t record):
    """The source line of a record for a message, if it can be found."""
    found = "" if locate is None else locate(graph, record)
    return f", at {found}" if found else ""


cdef bint only_parameters(tuple columns) except -1:
    for column in columns or ():
        if column is not None:
            argument, _ = column
            if argument >= 0:
                return False
    return True


cdef int read_gradients(Plan plan, Workspace workspace, tuple columns, double *out) except -1:
    """Copy the gradients by parameters and by what all rows share; 0 by None."""
    cdef Py_ssize_t at
    cdef dict places = {
        (plan.shared[2 * at], plan.shared[2 * at + 1]): plan.parameters + at
        for at in range(plan.shared_count)
    }
    for at, column in enumerate(columns):
        place = None
        if column is not None:
            argument, number = column
            place = number if argument < 0 else places.get(column)
        if place is not None and not 0 <= place < plan.parameters + plan.shared_count:
            raise ValueError(f"there is no column {column!r}")
        out[at] = 0.0 if place is None else workspace.gradient[<Py_ssize_t>place]
    return 0


cdef int sum_gradients(
    Program self, list arguments, Py_ssize_t threads, Py_ssize_t block, double scale, tuple columns,
    double *sums, double *out
) except -1:
    """Write the outputs' sums over the rows, unless NULL, and the gradient of each sum by the columns."""
    cdef Py_ssize_t rows = self.count_rows(arguments), output, count = len(columns)
    cdef Plan plan = self.plan_for(BACKWARD if only_parameters(columns) else SHARED, rows)
    cdef Workspace workspace
    for output in range(plan.outputs if rows else 0):
        workspace = self.run(plan, arguments, rows, threads, block, scale, output, True)
        if sums != NULL:
            sums[output] = workspace.total[output] * scale
        read_gradients(plan, workspace, columns, out + output * count)
        plan.workspaces.append(workspace)
    return 0


cdef int require_apart(list given) except -1:
    """Raise ValueError if two of the caller's arrays share memory."""
    cdef Results one, other
    cdef const char *first
    cdef const char *end
    cdef const char *other_first
    cdef const char *other_end
    for at, one in enumerate(given):
        one.range_of(&first, &end)
        for other in given[:at]:
            other.range_of(&other_first, &other_end)
            if first < other_end and other_first < end:
                raise ValueError("out has two arrays that share memory")
    return 0


cdef object handed_over(Results results, object given, bint is_array):
    """The result as the caller gets it: the array, or copied to the one that was given, or a number."""
    cdef Results own
    cdef Py_ssize_t at
    if given is not None and results.array is not given:
        own = Results(tuple([results.view.shape[at] for at in range(results.view.ndim)]), given)
        for at in range(own.size()):
            (<double *>own.at(at))[0] = results.data[at]
        return given
    if given is not None or is_array:
        return results.array
    return results.data[0]


cdef list shared_out(Results flat, list shapes, outs):
    """Arrays of these shapes, filled one after the other with the numbers of a flat array."""
    cdef Results results
    cdef Py_ssize_t at, number = 0
    cdef list targets = []
    outs = [None] * len(shapes) if outs is None else list(outs)
    if len(outs) != len(shapes):
        raise ValueError(f"out must have {len(shapes)} arrays, not {len(outs)}")
    for shape, given in zip(shapes, outs):
        results = Results(tuple(shape) if shape or given is not None else (1,), given)
        targets.append(results)
        number += results.size()
    require_apart([one for one, given in zip(targets, outs) if given is not None])
    if number and number != flat.size():
        raise ValueError(f"{flat.size()} numbers are not {number}")
    number = 0
    for results in targets:
        for at in range(results.size()):
            (<double *>results.at(at))[0] = flat.data[number]
            number += 1
    return [
        handed_over(results, given, bool(shape)) for results, given, shape in zip(targets, outs, shapes)
    ]


def data_of(list leaves not None):
    """Return the data of leaves as an array (p,)."""
    cdef tuple given = tuple(leaves)
    cdef Results results
    for leaf in given:
        if not isinstance(leaf, Value):
            raise TypeError(f"a parameter is a Value, not a {type(leaf).__name__}")
    results = Results((len(given),))
    read_leaves(given, results.data)
    return results.array


def set_data(list leaves not None, theta):
    """Set the data of leaves; ValueError unless `theta` has one number for each."""
    cdef Prepared numbers = prepare_numbers(theta, "theta", True)
    cdef Py_ssize_t at
    if numbers.columns != len(leaves):
        found = "a number" if numbers.columns < 0 else f"{numbers.columns} numbers"
        raise ValueError(f"theta is {found}, but there are {len(leaves)} parameters")
    cdef list data = [
        (<const double *>(numbers.data + at * numbers.column_step))[0] for at in range(numbers.columns)
    ]
    for leaf, number in zip(leaves, data):
        leaf.data = number


cdef tuple operands_in_row(Graph graph, Py_ssize_t index, const double *values):
    """The one or two operands of a row of the table."""
    right = values[graph.second(index)] if has_two_operands(graph.row(index)) else 0.0
    return values[graph.first(index)], right


cdef tuple program_of_row(RowProgram program, const RowGraph *of):
    """(program, name) of the function or the loop's step that `of` is; the name is "" for the function."""
    cdef RowProgram body
    if &program.of == of:
        return program, ""
    for body, loop in zip(program.bodies, program.graph.loops):
        found, name = program_of_row(body, of)
        if found is not None:
            return found, name or (<Loop>loop).name
    return None, ""


cdef const double *values_of_row(RowProgram program, RowState *state, const RowGraph *of) except? NULL:
    """The values of the step in whose last run the first gradient was not finite."""
    cdef const double *found
    cdef Py_ssize_t number
    if &program.of == of:
        return state.values
    for number in range(len(program.bodies)):
        found = values_of_row(program.bodies[number], &state.loops[number].body, of)
        if found != NULL:
            return found
    return NULL


cdef int let_others_run() except -1:
    """Raise KeyboardInterrupt after Ctrl-C, and give other threads a turn."""
    PyErr_CheckSignals()
    with nogil:
        pass
    return 0


include "by_passes.pxi"
include "dispatch.pxi"
