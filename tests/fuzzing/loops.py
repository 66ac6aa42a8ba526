"""Loops in random programs: scan and while_loop, compiled and not, nested, and differentiated.

Every step reads all its states and inputs, and the last state is read: an operand that is not read is part of
the loop, but not of the unrolled function that the reference computes.
"""

# A step's body, with what the function has as {...}; `traced names` is an expression in these names.
COMPILED_LOOPS = [
    (3, "scan(lambda s, u: (s + u * {traced s u ...}, None), {traced ...}, {steps ...})[0]"),
    (1, "scan(lambda s, u: (u - {traced s u ...} * s, None), {traced ...}, {steps ...}, reverse=True)[0]"),
    (2, "scan(lambda s, _: (0.5 * s + {traced s ...}, None), {traced ...}, None, {count})[0]"),
    (2, "total(*scan(lambda s, u: ({traced s u ...} + s, u * s), {traced ...}, {steps ...}))"),
    (1, "last(*scan(lambda s, u: (s * {traced s u ...} + u, s + u), {traced ...}, {steps ...}))"),
    (
        2,
        "sum(scan(lambda s, u: ((s[1] + {traced s[0] u ...}, s[0] * u), None), "
        "({traced ...}, {traced ...}), {steps ...})[0])",
    ),
    (
        1,
        "scan(lambda s, u: (s + u, None), {traced ...}, "
        "scan(lambda s, u: (s + u, s * {traced s u ...} + u), {traced ...}, {steps ...})[1])[0]",
    ),
    (
        2,
        "scan(lambda s, u: (scan(lambda t, w: (t * u + w * {traced s t u ...}, None), s, "
        "[{traced s u ...}, s + u])[0], None), {traced ...}, {steps ...})[0]",
    ),
    (2, "while_loop(lambda s: s - {traced ...}, lambda s: s * 0.5 + {traced s ...}, {traced ...}, {count})"),
    (1, "scan(lambda s, u: ([s], None), {traced ...}, {steps ...})[0]"),
]
# Rows of columns, which are the steps; of real numbers, and of indices.
ROW_LOOPS = [
    (3, "scan(lambda s, u: (s + u * {traced s u}, None), {traced}, row)[0]"),
    (1, "scan(lambda s, u: (u - {traced s u} * s, None), {traced}, row, reverse=True)[0]"),
    (2, "total(*scan(lambda s, u: ({traced s u} + s, u * s), {traced}, row))"),
    (1, "scan(lambda s, u: (s + u[0] * {traced s} + u[1], None), {traced}, (row, [{traced}, {traced}]))[0]"),
]
INDEX_LOOPS = [
    (3, "scan(lambda s, k: (s * take({vector}, k) + {traced s}, None), {traced}, row)[0]"),
    (1, "scan(lambda s, k: (take([s, {traced s}], k) + s, None), {traced}, row)[0]"),
]
EAGER_LOOPS = [
    (2, "{new value} = scan(lambda s, u: (s + u * {value}, None), {scalar}, {vector})[0]"),
    (1, "{new value} = scan(lambda s, u: (s * u, u), {value}, {vector}, reverse=True)[0]"),
    (1, "{new list} = scan(lambda s, u: (s - {value}, s * u), {scalar}, [{value}, {number}])[1]"),
    (1, "{new list} = scan(lambda s, u: ([s[1], s[0] * u], None), [{scalar}, {value}], {vector})[0]"),
    (2, "{new value} = while_loop(lambda s: s - {number}, lambda s: s * 0.5, {scalar}, {count})"),
    (1, "reply = scan(lambda s, u: (s, s, s), {value}, [{number}])"),
]
LOOP_LINES = [
    *EAGER_LOOPS,
    (3, "{new loop_function} = compile(lambda x, y: {looped x y})"),
    (1, "{new loop_function} = compile(lambda x, y: [{looped x y}, {looped x y}])"),
    (2, "{new row_loop} = compile(lambda row: {looped row})"),
    (1, "{new index_loop} = compile(lambda row: {looped index})"),
    (2, "{new loop_slope} = slope_of(lambda x: x + {looped x})"),
    (3, "reply = {loop_function}{call}({array}, {array})"),
    (1, "reply = {loop_function}{call}({array}, 0.5)"),
    (4, "reply = {row_loop}{call}({rows})"),
    (3, "reply = {index_loop}{call}({index rows})"),
    (3, "reply = {loop_slope}({array})"),
]
LOOP_NAMES = {"loop_function": ["f4"], "row_loop": ["f5"], "index_loop": ["f6"], "loop_slope": ["f7"]}


class Loops:
    """The placeholders of these lines, for a generator of programs."""

    def looped(self, names, depth):
        """A loop over the placeholders with these names, or over the columns of a row."""
        loops = {"row": ROW_LOOPS, "index": INDEX_LOOPS}.get(names[0], COMPILED_LOOPS)
        found = self.filled(self.chosen(loops).replace("...", " ".join(names)), 2)
        # The loop refuses an operand that is no number, before any arithmetic would.
        return None if found is None or "'x'" in found else found

    def steps(self, names, depth):
        """What differs from step to step."""
        count = self.rng.choice([1, 2, 2, 3])
        return f"[{', '.join(self.traced(names, 2) for _ in range(count))}]"

    def count(self, depth):
        return str(self.rng.choice([1, 2, 3]))

    def index_rows(self, depth):
        rows = [[self.rng.choice(["0", "0", "0", "1", "7"]) for _ in range(2)] for _ in range(3)]
        return f"[{', '.join('[' + ', '.join(row) + ']' for row in rows)}]"
