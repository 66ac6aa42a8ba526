"""compile and take: the function is traced once a signature, then evaluated row by row.

Programs add in another order than the engine does and contract multiply-adds, so each number comes
with the error that 1e-12 in every operation can make of it, derivatives included.
"""

import functools
import itertools
import math
import operator
import sys
from typing import NamedTuple

from reference import value as values_module
from reference.backward import LEAST_KNOWN, topological_order
from reference.rules import SELECTING, rule_of
from reference.value import TracingError, Value, births

RELATIVE = 1e-12
LEAST_NORMAL = sys.float_info.min
# Where they are steep, and how far they go, does not show at one point.
PERIODIC = ("sin", "cos")


class Approximate(NamedTuple):
    """A number and how far from it a correct program may be."""

    number: float
    error: float


class Record(NamedTuple):
    """One node of a traced graph; operands are the numbers of records."""

    name: str
    detail: object
    operands: tuple[int, ...] = ()


class Selection(NamedTuple):
    place: tuple[int, int]


class Index(Value):
    """What an integer argument is while its function is traced."""

    def __init__(self, place):
        super().__init__(math.nan)
        self.place = place

    def refuse(self, *_):
        raise TracingError("an index is only known when the program runs")

    __index__ = __int__ = __bool__ = refuse


def take(values, index):
    values = list(values)
    if not values:
        raise ValueError("take needs at least one value")
    if isinstance(index, Index):
        leaves = [each if isinstance(each, Value) else Value(each) for each in values]
        return Value(math.nan, leaves, Selection(index.place))
    position = operator.index(index)
    if not 0 <= position < len(values):
        raise IndexError(f"take has {len(values)} values to choose from, not number {position}")
    return values[position]


class Trace:
    """A function's graph as it was when traced, and what its free names were bound to."""

    def __init__(self, function, arguments):
        placeholders = [
            [self.placeholder(column, (number, place)) for place, column in enumerate(argument.columns)]
            for number, argument in enumerate(arguments)
        ]
        self.bindings = bindings(function)
        values_module.tracing_since = next(births)
        values_module.has_loop = False
        try:
            output = function(
                *(
                    row if argument.is_row else row[0]
                    for row, argument in zip(placeholders, arguments, strict=True)
                )
            )
            self.single = not isinstance(output, (list, tuple))
            outputs = [output] if self.single else list(output)
            if not outputs:
                raise TracingError("the function returns nothing")
            outputs = [Value(each) if isinstance(each, (int, float)) else each for each in outputs]
            if not all(isinstance(each, Value) for each in outputs):
                raise TracingError("a compiled function returns a Value or a list of Values")
            self.read(outputs, placeholders)
        except TracingError:
            if values_module.has_loop:
                # A loop reads what its step takes from outside in an order of its own.
                raise TracingError("") from None
            raise
        finally:
            values_module.tracing_since = None

    def placeholder(self, column, place):
        return Index(place) if all(type(number) is int for number in column) else Value(math.nan)

    def read(self, outputs, placeholders):
        places = {
            id(leaf): (number, place)
            for number, row in enumerate(placeholders)
            for place, leaf in enumerate(row)
        }
        self.records, self.parameters, numbers = [], [], {}
        order = topological_order(outputs)
        for node in order:
            if node.own_backward is not None:
                raise TracingError("cannot be compiled")
            if node.own_data:
                raise TracingError("whose data was set to")
            if node.name == "local" and node.result is None:
                raise TracingError("outside of the compiled function")
            if node.name == "custom" and not isinstance(node._op, Selection):
                raise TracingError("no rule that could be compiled")
            operands, held = [], node.operands
            if node.name == "local":
                pairs = zip(node.operands, node.detail, strict=True)
                held = [node.result, *itertools.chain.from_iterable(pairs)]
            for operand in held:
                if isinstance(operand, Value):
                    operands.append(numbers[id(operand)])
                else:
                    operands.append(self.append(Record("constant", operand)))
            if node.name != "leaf":
                name = "take" if node.name == "custom" else node.name
                detail = {"take": node._op, "local": None}.get(name, node.detail)
                record = Record(name, detail, tuple(operands))
            elif id(node) in places:
                record = Record("argument", places[id(node)])
            elif type(node) is Value and node.birth >= values_module.tracing_since:
                record = Record("constant", node._data)
            else:
                record = Record("parameter", node)
                self.parameters.append(node)
            numbers[id(node)] = self.append(record)
        self.outputs = [numbers[id(each)] for each in outputs]
        for node in order:
            node.in_program = node.in_program or (
                node.name != "leaf" and node.birth < values_module.tracing_since
            )

    def require_indices_in_range(self, arguments, count):
        for record in self.records:
            if record.name == "take":
                argument, column = record.detail.place
                for row in range(1 if count is None else count):
                    if not 0 <= arguments[argument].at(row, column) < len(record.operands):
                        raise IndexError("take")

    def append(self, record):
        self.records.append(record)
        return len(self.records) - 1


class Argument:
    """An argument's columns, and its number of rows (None for a number)."""

    def __init__(self, source):
        array = isinstance(source, list)
        self.rows = len(source) if array else None
        self.is_row = array and isinstance(source[0], list)
        rows = source if self.is_row else [[each] for each in source] if array else [[source]]
        self.columns = [
            [each if type(each) is int else float(each) for each in column]
            for column in zip(*rows, strict=True)
        ]
        whole = all(type(each) is int for column in self.columns for each in column)
        if not whole:
            self.columns = [[float(each) for each in column] for column in self.columns]
        self.signature = (array, self.is_row and len(self.columns), whole)

    def at(self, row, column):
        return self.columns[column][0 if self.rows is None else row]


def bindings(function):
    scope = function.__globals__
    names = list(itertools.chain.from_iterable(code.co_names for code in codes(function.__code__)))
    return [(scope, name, scope[name]) for name in names if name in scope]


def codes(code):
    yield code
    for constant in code.co_consts:
        if hasattr(constant, "co_names"):
            yield from codes(constant)


class Compiled:
    def __init__(self, function):
        self.function, self.traces, self.bindings = function, {}, []

    def is_current(self):
        """Whether the function's free names are bound to what they were bound to at the last trace."""
        return all(scope.get(name) is bound for scope, name, bound in self.bindings)

    def forget(self):
        self.traces.clear()
        self.bindings = []

    def prepared(self, sources, look=lambda arguments: None):
        """Trace if need be, let `look` refuse the arguments, and evaluate every row."""
        arguments = [Argument(source) for source in sources]
        rows = {argument.rows for argument in arguments} - {None}
        signature = tuple(argument.signature for argument in arguments)
        trace = self.traces.get(signature)
        if trace is None or not self.is_current():
            if not self.is_current():
                self.traces.clear()
            new = Trace(self.function, arguments)
            self.bindings = new.bindings
            self.traces[signature] = trace = new
        look(arguments)
        if len(rows) > 1:
            raise ValueError("rows")
        count = rows.pop() if rows else None
        trace.require_indices_in_range(arguments, count)
        if any(parameter.name != "leaf" for parameter in trace.parameters):
            raise ValueError("is a leaf no more")
        evaluations = [Evaluation(trace, arguments, row) for row in range(1 if count is None else count)]
        return trace, arguments, evaluations, count

    def __call__(self, *sources):
        trace, _, evaluations, count = self.prepared(sources)
        rows = [[evaluation.result(output) for output in trace.outputs] for evaluation in evaluations]
        rows = [row[0] for row in rows] if trace.single else rows
        return rows[0] if count is None else rows

    @property
    def parameters(self):
        found = {id(each): each for trace in self.traces.values() for each in trace.parameters}
        return list(found.values())

    def get_parameters(self):
        return [each._data for each in self.parameters]

    def value_and_grad(self, *sources, argnums=0, reduction=None):
        several = isinstance(argnums, tuple)
        numbers = argnums if several else (argnums,)

        look = functools.partial(refuse_argnums, numbers, reduction)
        trace, arguments, evaluations, count = self.prepared(sources, look)
        outputs = trace.outputs
        values = [[each.result(output) for output in outputs] for each in evaluations]
        slopes = [[] for _ in numbers]
        for evaluation in evaluations:
            by_output = [[] for _ in numbers]
            for output in outputs:
                evaluation.run_backward([output])
                for found, number in zip(by_output, numbers, strict=True):
                    found.append(self.slopes(evaluation, arguments, number))
            for rows, found in zip(slopes, by_output, strict=True):
                rows.append(found[0] if trace.single else found)
        values = [row[0] for row in values] if trace.single else values
        if reduction is not None:
            values, slopes = added_up(values), [added_up(rows) for rows in slopes]
        elif count is None:
            values, slopes = values[0], [rows[0] for rows in slopes]
        return values, tuple(slopes) if several else slopes[0]

    def jacobian(self, *sources, **options):
        return self.value_and_grad(*sources, **options)[1]

    def hessian(self, *sources, argnums=0, reduction=None):
        return self.second(sources, argnums, reduction, None)

    def hvp(self, *sources, tangents, argnums=0, reduction=None):
        return self.second(sources, argnums, reduction, tangents)

    def second(self, sources, argnums, reduction, tangents):
        """The Hessian of every row, or its product with the tangents, by differences of gradients."""
        look = functools.partial(refuse_argnums, (argnums,), reduction)
        trace, arguments, _, count = self.prepared(sources, look)
        flat = False
        if argnums == "parameters":
            leaves = self.parameters
        else:
            leaves = [(argnums, place) for place in range(len(arguments[argnums].columns))]
            flat = not arguments[argnums].is_row
        rows = []
        for row in range(1 if count is None else count):
            along = tangents
            if tangents is not None and argnums != "parameters":
                along = tangents if arguments[argnums].rows is None else tangents[row]
                along = [along] if flat else along
            found = [second_derivatives(trace, arguments, row, output, leaves) for output in trace.outputs]
            if along is not None:
                # The derivatives, by each leaf, of the derivative along the tangents.
                found = [[product(line, along) for line in zip(*matrix, strict=True)] for matrix in found]
            else:
                # It is symmetric, unless derivatives are given: that by the first of the two comes last.
                found = [
                    [[matrix[max(i, j)][min(i, j)] for j in range(len(leaves))] for i in range(len(leaves))]
                    for matrix in found
                ]
                found = [[line[0] for line in matrix] if flat else matrix for matrix in found]
            found = [matrix[0] if flat else matrix for matrix in found]
            rows.append(found[0] if trace.single else found)
        if reduction is not None:
            return added_up(rows)
        return rows[0] if count is None else rows

    def slopes(self, evaluation, arguments, number):
        """What one row has of the derivatives by an argument or by the parameters."""
        if number == "parameters":
            return [evaluation.by_parameter(each) for each in self.parameters]
        argument = arguments[number]
        columns = [evaluation.gradient((number, place)) for place in range(len(argument.columns))]
        return columns if argument.is_row else columns[0]

    def backward(self, *sources, reduction="mean", row_weights=None):
        trace, _, evaluations, count = self.prepared(sources)
        if row_weights is not None:
            return self.weighted(trace, evaluations, count, row_weights)
        count = (count or 1) if reduction == "mean" else 1
        for evaluation in evaluations:
            evaluation.run_backward(trace.outputs)
        for number, record in enumerate(trace.records):
            if record.name == "parameter":
                node = record.detail
                node._grad += sum(each.grads[number] for each in evaluations) / count
                error = sum(
                    each.grad_errors[number] + RELATIVE * abs(each.grads[number]) for each in evaluations
                )
                node.grad_bound += (error / count + RELATIVE * abs(node._grad)) / RELATIVE
        means = []
        for output in trace.outputs:
            results = [each.result(output) for each in evaluations]
            mean = sum(each.number for each in results) / count
            error = sum(each.error + RELATIVE * abs(each.number) for each in results) / count
            means.append(Approximate(mean, error))
        return means[0] if trace.single else means

    def weighted(self, trace, evaluations, count, weights):
        """The sum of weight * output; its gradient is added to that of the parameters."""
        if count is not None and len(weights) != count:
            raise ValueError("rows")
        evaluations = evaluations if count is not None else evaluations * len(weights)
        sums = [Approximate(0.0, 0.0) for _ in trace.outputs]
        for weight, evaluation in zip(weights, evaluations, strict=True):
            evaluation.run_backward(trace.outputs)
            for number, record in enumerate(trace.records):
                if record.name == "parameter":
                    record.detail._grad += weight * evaluation.grads[number]
                    error = evaluation.grad_errors[number] + 4 * RELATIVE * abs(evaluation.grads[number])
                    record.detail.grad_bound += abs(weight) * error / RELATIVE + abs(record.detail._grad)
            for place, output in enumerate(trace.outputs):
                number, error = evaluation.result(output)
                sums[place] = sum_of(
                    sums[place], Approximate(weight * number, abs(weight) * (error + RELATIVE * abs(number)))
                )
        return sums[0] if trace.single else sums

    def input_gradients(self, *sources):
        trace, arguments, evaluations, count = self.prepared(sources)
        results = []
        for number, argument in enumerate(arguments):
            if argument.rows is not None and argument.signature[2]:
                results.append(None)
                continue
            by_output = []
            for output in trace.outputs:
                rows = []
                for evaluation in evaluations:
                    evaluation.run_backward([output])
                    columns = [evaluation.gradient((number, place)) for place in range(len(argument.columns))]
                    rows.append(columns if argument.is_row else columns[0])
                by_output.append(rows)
            if count is None and trace.single:
                results.append(by_output[0][0])
            else:
                results.append(by_output[0] if trace.single else by_output)
        return results[0] if len(results) == 1 else tuple(results)


def refuse_argnums(numbers, reduction, arguments):
    """Raise what a call refuses of the arguments that these numbers name."""
    chosen = [number for number in numbers if number != "parameters"]
    for number in chosen:
        if number >= len(arguments):
            raise ValueError(f"argnums is {number}, but")
        if arguments[number].rows is not None and arguments[number].signature[2]:
            raise TypeError("has integers, by which there is no derivative")
    if reduction is not None and any(arguments[number].rows is not None for number in chosen):
        raise ValueError("differs by row")


# Of the differences that second derivatives are taken from.
STEP = 2.0**-12


def second_derivatives(trace, arguments, row, output, leaves):
    """For each leaf the derivatives by each of its derivative, with errors: infinite at kinks."""

    def gradient(moved, step):
        evaluation = Evaluation(trace, arguments, row, moved, step, base)
        evaluation.run_backward([output])
        return [
            evaluation.gradient(leaf) if isinstance(leaf, tuple) else evaluation.by_parameter(leaf)
            for leaf in leaves
        ]

    base = Evaluation(trace, arguments, row)
    columns = []
    here = gradient(None, 0.0)
    for moved in leaves:
        samples = [gradient(moved, step) for step in (STEP, STEP / 2, -STEP / 2, -STEP)]
        columns.append([differentiated(middle, *each) for middle, *each in zip(here, *samples, strict=True)])
    return [list(line) for line in zip(*columns, strict=True)]


def differentiated(here, far, near, other_near, other_far):
    """The derivative of five samples, and how far off it may be."""
    wide = (far.number - other_far.number) / (2 * STEP)
    narrow = (near.number - other_near.number) / STEP
    found = (4 * narrow - wide) / 3
    samples = (here, far, near, other_near, other_far)
    noise = sum(each.error + 1e-15 * abs(each.number) for each in samples) / STEP
    # At a kink or a jump, what the samples differ by does not become smaller with the step.
    bend = abs(far.number - 2 * here.number + other_far.number) / STEP
    inner = abs(near.number - 2 * here.number + other_near.number) / (STEP / 2)
    error = 4 * noise + 4 * abs(found - narrow) + 1e-6 * abs(found)
    jump = abs(narrow - wide) > 0.3 * abs(narrow) + 4 * noise
    if jump or inner > 0.75 * bend + 4 * noise or not math.isfinite(error):
        error = math.inf
    return Approximate(found, error)


def product(numbers, factors):
    """The sum of the products of numbers and factors."""
    pairs = zip(numbers, factors, strict=True)
    return added_up([Approximate(each.number * factor, each.error * abs(factor)) for each, factor in pairs])


def sum_of(left, right):
    number = left.number + right.number
    return Approximate(number, left.error + right.error + RELATIVE * (abs(left.number) + abs(right.number)))


def added_up(rows):
    """The sum of the rows, which are numbers or lists of them."""
    if isinstance(rows[0], list):
        return [added_up(list(column)) for column in zip(*rows, strict=True)]
    total = rows[0]
    for row in rows[1:]:
        total = sum_of(total, row)
    return total


class Evaluation:
    """One row's values, and after `run_backward` its gradients, with their errors."""

    def __init__(self, trace, arguments, row, moved=None, step=0.0, base=None):
        # `moved` is a leaf, as gradient() and by_parameter() take it, that is moved by a step from `base`.
        self.records, self.moved, self.step, self.base = trace.records, moved, step, base
        self.values, self.errors, self.chosen = [], [], {}
        for record in trace.records:
            number, error = self.evaluate(record, arguments, row)
            self.values.append(number)
            self.errors.append(error)

    def evaluate(self, record, arguments, row):
        if record.name == "constant":
            return record.detail, 0.0
        if record.name == "parameter":
            return record.detail._data + (self.step if record.detail is self.moved else 0.0), 0.0
        if record.name == "argument":
            argument, column = record.detail
            step = self.step if record.detail == self.moved else 0.0
            return float(arguments[argument].at(row, column)) + step, 0.0
        if record.name == "take":
            argument, column = record.detail.place
            chosen = record.operands[arguments[argument].at(row, column)]
            self.chosen[len(self.values)] = chosen
            return self.values[chosen], self.errors[chosen]
        if record.name == "local":
            return self.value_of_local(record), self.errors[record.operands[0]]
        numbers = [self.values[operand] for operand in record.operands]
        rule = rule_of(record.name, record.detail)
        result = rule.value(*numbers)
        error = abs(result)
        partials = rule.partials(*numbers, result)
        slopes = self.steepest(record, rule, numbers)
        for operand, number, partial, slope in zip(record.operands, numbers, partials, slopes, strict=True):
            error += abs(partial * number) + slope * self.errors[operand] / RELATIVE
        if record.name in PERIODIC:
            error += min(self.errors[record.operands[0]], 2.0) / RELATIVE
        if record.name == "where" and self.may_be_zero(record.operands[0]):
            error += abs(numbers[1] - numbers[2]) / RELATIVE
        return result, RELATIVE * error if math.isfinite(error) else math.inf

    def value_of_local(self, record):
        """The given result; a step away from a base, what the given derivatives make of it."""
        if self.base is None:
            return self.values[record.operands[0]]
        before = self.base.values
        found = before[record.operands[0]]
        for operand, derivative in zip(record.operands[1::2], record.operands[2::2], strict=True):
            slope = (before[derivative] + self.values[derivative]) / 2
            found += slope * (self.values[operand] - before[operand])
        return found

    def steepest(self, record, rule, numbers):
        """The largest partial derivatives near the operands: that of a square is 0 at 0, not beside it."""
        near = []
        for sign in (0.0, 1.0, -1.0):
            moved = [x + sign * self.errors[each] for x, each in zip(numbers, record.operands, strict=True)]
            near.append([abs(partial) for partial in rule.partials(*moved, rule.value(*moved))])
        return [max(slopes) for slopes in zip(*near, strict=True)]

    def may_be_zero(self, number):
        return abs(self.values[number]) <= self.errors[number]

    def partials(self, record, number, sign):
        """The partial derivatives with every operand moved by its error."""
        moved = [
            self.values[each] + (sign * self.errors[each] if sign else 0.0)
            for each in (*record.operands, number)
        ]
        if record.name == "where" and sign < 0.0 and self.may_be_zero(record.operands[0]):
            moved[0] = 0.0
        return rule_of(record.name, record.detail).partials(*moved)

    def run_backward(self, outputs):
        self.grads, self.grad_errors = [0.0] * len(self.records), [0.0] * len(self.records)
        reached = set(outputs)
        for output in outputs:
            self.grads[output] += 1.0
        for number in reversed(range(len(self.records))):
            record, grad, error = self.records[number], self.grads[number], self.grad_errors[number]
            if record.name in ("constant", "parameter", "argument") or number not in reached:
                continue
            if record.name == "take":
                reached.add(self.chosen[number])
                self.grads[self.chosen[number]] += grad
                self.grad_errors[self.chosen[number]] += error
                continue
            if record.name == "local":
                self.give_local(record, grad, error, reached)
                continue
            partials = [self.partials(record, number, sign) for sign in (0.0, 1.0, -1.0)]
            for operand, partial, more, less in zip(record.operands, *partials, strict=True):
                if record.name in SELECTING and partial == more == less == 0.0:
                    continue
                reached.add(operand)
                moved = max(abs(more - partial), abs(less - partial))
                moved += RELATIVE * max(abs(partial), LEAST_KNOWN)
                if record.name in PERIODIC:
                    moved += min(self.errors[operand], 2.0)
                added = abs(partial) * error + moved * (abs(grad) + error)
                # Through a matrix, what is below the normal numbers may count as 0.
                added += abs(partial * grad) if abs(partial * grad) < LEAST_NORMAL else 0.0
                self.grads[operand] += partial * grad
                self.grad_errors[operand] += added if math.isfinite(added) else math.inf

    def give_local(self, record, grad, error, reached):
        for operand, derivative in zip(record.operands[1::2], record.operands[2::2], strict=True):
            partial = self.values[derivative]
            moved = self.errors[derivative] + RELATIVE * max(abs(partial), LEAST_KNOWN)
            added = abs(partial) * error + moved * (abs(grad) + error)
            reached.add(operand)
            self.grads[operand] += partial * grad
            self.grad_errors[operand] += added if math.isfinite(added) else math.inf

    def result(self, number):
        return Approximate(self.values[number], self.errors[number])

    def by_parameter(self, node):
        return self.of_leaf(lambda record: record.name == "parameter" and record.detail is node)

    def gradient(self, place):
        return self.of_leaf(lambda record: record == Record("argument", place))

    def of_leaf(self, is_wanted):
        for number, record in enumerate(self.records):
            if is_wanted(record):
                error = self.grad_errors[number] + RELATIVE * abs(self.grads[number])
                return Approximate(self.grads[number], error)
        return Approximate(0.0, 0.0)


def compile(function):  # noqa: A001
    return Compiled(function)


class WithSlope(Compiled):
    """A function of one argument, with its derivative beside its value."""

    def __call__(self, source):
        trace, _, evaluations, count = self.prepared([source])
        rows = []
        for evaluation in evaluations:
            evaluation.run_backward(trace.outputs)
            rows.append([evaluation.result(trace.outputs[0]), evaluation.gradient((0, 0))])
        return rows[0] if count is None else rows


def slope_of(function):
    return WithSlope(function)
