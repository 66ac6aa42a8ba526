# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""Program: the calls of a compiled function for one signature, from arrays to arrays."""

import array

from libc.math cimport isfinite
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from cpython.buffer cimport PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer
from cpython.mem cimport PyMem_RawFree

from fastgrad.compiler.arguments cimport Prepared, find_numpy, prepare_arguments, signature_of
from fastgrad.compiler.graph cimport ROW_LOOP, Graph, Loop, has_many_operands, has_two_operands
from fastgrad.compiler.instructions cimport *
from fastgrad.compiler.lowering cimport BACKWARD, FORWARD, INPUTS
from fastgrad.compiler.memory cimport zeroed
from fastgrad.compiler.plan cimport Plan, make_plan
from fastgrad.compiler.replay cimport Workspace, chosen_kernels, run_rows, workspace_for
from fastgrad.compiler.rows cimport RowGraph, RowMemory, RowProgram, RowState, Singular
from fastgrad.compiler.rows cimport begin_loop_in_row, end_step_in_row, give_step_in_row
from fastgrad.compiler.rows cimport gradients_in_row, value_in_row
from fastgrad.compiler.watch cimport Snapshot
from fastgrad.engine cimport add_gradients, read_leaves
from fastgrad.engine import _described, _refuse
from fastgrad.ops cimport *

__all__ = ["Program", "Programs"]

cdef extern from "Python.h":
    int PyErr_CheckSignals() except -1

cdef enum:
    # The records that `_verify` computes between two looks for Ctrl-C: some milliseconds.
    VERIFIED_RECORDS = 65536

cdef class Results:
    """An array that a call fills: numpy's if numpy is installed, else a memoryview of doubles."""

    def __cinit__(self, tuple shape):
        cdef Py_ssize_t size = 1
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
        self.kinds = tuple([key % 4 for key in signature])

    def __reduce__(self):
        from fastgrad.compiler.pickling import load_program, saved_program

        saved = saved_program(self.graph, self.signature, self.names, self.name, self.single)
        return load_program, (saved,)

    def __str__(self):
        # listing.pyx reads programs, and so stands above this file.
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

    cdef Plan plan_for(self, int purpose):
        plan = self.plans.get(purpose)
        if plan is None:
            self.plans[purpose] = plan = make_plan(self.graph, purpose, self.kinds)
        return plan

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

    cdef int check_indices(self, Plan plan, list arguments, Py_ssize_t rows) except -1:
        """Raise IndexError, before anything runs, for an index that is out of range."""
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
        if threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
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
            argument.columns = argument.gradient_row_step = max(one.columns, 1)
            argument.gradient_column_step = 1
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
            raise ValueError(f"{self.name} has no mean output: its arguments have no rows")
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

    def _verify(self, list arguments, str what="outputs"):
        """Raise what the engine would raise for the first row that it refuses.

        Before `backward` and `input_gradients`, also raise FloatingPointError for the first row in which
        the product of a gradient and a derivative is not finite. The message names the row, the
        instruction as `print` numbers it, and the operands.
        """
        cdef int purpose = {"backward": BACKWARD, "input_gradients": INPUTS}.get(what, FORWARD)
        cdef Plan plan = self.plan_for(FORWARD)
        cdef Py_ssize_t rows = self.count_rows(arguments), row, since = 0, output
        cdef Workspace workspace
        cdef RowProgram graph = RowProgram(self.graph, purpose, self.kinds)
        cdef RowMemory memory
        cdef double *seeds
        if rows == 0:
            return
        seeds = <double *>zeroed(plan.outputs, sizeof(double))
        try:
            memory = RowMemory(graph, True)
            workspace = self.start(plan, arguments, rows, 1, 0)
            for row in range(rows):
                self.verify_records(
                    graph, &memory.state, workspace.arguments, workspace.uniform, row, f"row {row}", &since
                )
                # All outputs together, or each by itself, as the call differentiates them.
                for output in range(plan.outputs if purpose == INPUTS else 1 if purpose == BACKWARD else 0):
                    for at in range(plan.outputs):
                        seeds[<Py_ssize_t>at] = 1.0 if purpose == BACKWARD or at == output else 0.0
                    self.verify_gradients(
                        graph, &memory.state, workspace.arguments, workspace.uniform, seeds, row
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
                self.verify_loop(program, state, index, arguments, row, place, since)
                continue
            state.values[index] = value_in_row(of, state, index, arguments, parameters, row)
            if not isfinite(state.values[index]) and refuses(kind):
                a, b = operands_in_row(graph, index, state.values)
                try:
                    _refuse(kind, a, b)
                except (ArithmeticError, ValueError) as error:
                    raise type(error)(f"{place}, instruction v{index}: {error}") from None
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
                f"{place}, step {step} of {loop.name}", since,
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
        elif has_many_operands(kind):
            what = roles_of(kind << 2).name.decode()
            which = f" by operand {first.operand + 1}"
        else:
            a, b = operands_in_row(graph, first.record, values_of_row(program, state, first.of))
            what = _described(kind, a, b)
            if has_two_operands(kind):
                which = f" by the {'right' if first.operand else 'left'} operand"
        place = f"row {row}{f', step {first.step} of ' + loops if loops else ''}, instruction v{first.record}"
        if not isfinite(first.derivative):
            raise FloatingPointError(f"{place}: the derivative of {what}{which} is {first.derivative}")
        raise FloatingPointError(
            f"{place}: the gradient {first.gradient} times the derivative of {what}{which}, "
            f"{first.derivative}, is {first.gradient * first.derivative}"
        )


cdef tuple operands_in_row(Graph graph, Py_ssize_t index, const double *values):
    """The one or two operands of a row of the table."""
    right = values[graph.second(index)] if has_two_operands(graph.row(index)) else 0.0
    return values[graph.first(index)], right


cdef tuple program_of_row(RowProgram program, const RowGraph *of):
    """The program of a step, and the name of the step; that of the function has none."""
    cdef RowProgram body
    if &program.of == of:
        return program, ""
    for body, loop in zip(program.bodies, program.graph.loops):
        found, name = program_of_row(body, of)
        if found is not None:
            return found, name or (<Loop>loop).name
    return None, ""


cdef const double *values_of_row(RowProgram program, RowState *state, const RowGraph *of) except? NULL:
    """The values of a step in the last of its runs, the first in which a gradient is not finite."""
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

include "dispatch.pxi"
