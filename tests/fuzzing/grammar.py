"""The random programs: templates of lines, whose placeholders are filled in at random.

Operations come from the package's table, so a new one is fuzzed at once, and fails until the reference has
it, too.
"""

import random
import re

from fastgrad.operations import FUNCTIONS, REDUCTIONS, TABLE
from fuzzing.loops import LOOP_LINES, LOOP_NAMES, Loops

NAMES = {
    "value": [f"v{index}" for index in range(10)],
    "list": ["l0", "l1", "l2"],
    "layer": ["m0"],
    "network": ["m1"],
    "optimizer": ["o0"],
    "scalar_function": ["f0"],
    "row_function": ["f1"],
    "index_function": ["f2"],
    "plain_function": ["f3"],
    **LOOP_NAMES,
}
# Sums and products of these are mostly exact, and cancel often.
SIMPLE_NUMBERS = ["-3.0", "-2.0", "-1.0", "-0.5", "0.0", "0.5", "1.0", "2.0", "3.0", "2", "-1", "True"]
SPECIAL_NUMBERS = ["inf", "-inf", "nan", "-0.0", "5e-324", "-1e-310", "1e308", "-1e200", "700.0", "1e-200"]
OPERATORS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**", "mod": "%"}
# Python has no functions with the same bits.
WITHOUT_BITS = ("lgamma", "digamma", "polygamma", "cbrt")

UNARY = [
    "abs({value})" if row.method == "__abs__" else f"{{value}}.{row.method}()"
    for row in TABLE
    if row.operands == 1 and row.name not in WITHOUT_BITS
]
BINARY = [OPERATORS[row.name] for row in TABLE if row.name in OPERATORS]
NAMED = [row for row in TABLE if row.operands == 2 and row.name not in OPERATORS]
FUNCTION_CALLS = [
    f'apply("{row.name}", {", ".join(["{scalar}"] * row.operands)})'
    for row in (*FUNCTIONS, *NAMED)
    if row.name not in WITHOUT_BITS
]
REDUCTION_CALLS = [f'reduce("{row.name}", {{vector}})' for row in REDUCTIONS]

EXPRESSIONS = [
    *[(2, f"{{value}} {symbol} {{value}}") for symbol in BINARY],
    *[(1, f"{{value}} {symbol} {{number}}") for symbol in BINARY],
    *[(1, f"{{number}} {symbol} {{value}}") for symbol in BINARY],
    *[(1, call) for call in [*UNARY, *FUNCTION_CALLS, *REDUCTION_CALLS]],
    (1, "-{value}"),
    (1, "{value} * {value} + {value}"),
    (1, "sum({list})"),
    (1, "F.dot({pair}, b={scalar}, activation={activation})"),
    (1, "F.dot({pair}, activation={activation})"),
    (1, "F.dot({pair}, {scalar})"),
    (1, "F.where({scalar}, {scalar}, {scalar})"),
    (1, "F.maximum({scalar}, {scalar})"),
    (1, "F.l2({vector})"),
    (1, "F.logsumexp({vector})"),
    (1, "F.mse_loss({pair}, {reduction})"),
    (1, "F.hinge_loss({labelled})"),
    (1, "F.binary_cross_entropy_with_logits({pair})"),
    (1, "F.cross_entropy({vector}, {index})"),
    (1, "F.nll_loss({vector}, {index})"),
    (1, "F.softmax({vector})[0]"),
    (1, "F.rms_norm({vector})[0]"),
    (1, "take({vector}, {index})"),
    (4, "{network}([{value}, {scalar}])"),
    (1, "{value}.double()"),
    (1, "Value({number})"),
    (1, "Value({number}, label='x')"),
    (1, "Value({number}, label=[{value}])"),
    (1, "Value({number}, label={list})"),
    (1, "Value({number}, (), {value})"),
    (1, "Value({number}, ({value}, {value}), {value})"),
    (1, "Value({number}, ({value},), ({number},), {list})"),
    (1, "Sub({number}, ({value},), {value}, {list})"),
    (1, "Value({value})"),
    (1, "Value({number}, ({value}, {value}), '?')"),
    (1, "Value({number}, ({value}, {value}), ({number}, {number}))"),
    (3, "Value({scalar}, ({value}, {value}), ({scalar}, {scalar}))"),
    (1, "Value({number}, ({value}, 2.0), '?')"),
    (1, "Value({number}, ({value},), ({number}, 1.0))"),
    (1, "Sub({number})"),
    (1, "Sub({number}, ({value}, {value}), ({number}, {number}))"),
    (1, "Sub({value}, ({value},), ({value},))"),
    (1, "Sub({number}, ({value},), '?')"),
    (1, "Value.__new__(Value)"),
    (1, "late({number}, {value})"),
    (3, "closure({value}, {value}, then={action})"),
    (1, "closure({value})"),
    (1, "closure({value}, {value}, then='reply = {same}._children')"),
    (1, "closure({value}, {value}, then='{same}.backward()')"),
    (1, "closure({value}, {value}, then='del {same}')"),
    (1, "{value} {operator} number({number}, {action})"),
    (1, "F.dot([{scalar}, number(2.0, {action})], {list})"),
    (1, "Value(number(1.5, {action}), ({value},), (number(2.0, {action}),))"),
]

LISTS = [
    (4, "[{value}, {value}, {value}]"),
    (2, "[{value}, {number}]"),
    (1, "list({value}._children)"),
    (1, "F.softmax({vector})"),
    (1, "F.log_softmax({vector})"),
    (1, "F.rms_norm({vector}, {vector})"),
    (1, "F.scale({vector}, {number})"),
    (1, "F.add({pair})"),
    (1, "F.linear({vector}, [{vector}, {vector}], activation={activation})"),
    (1, "F.linear([{value}, {scalar}], [[{scalar}, {value}], [{value}, {value}]], [{scalar}, {scalar}])"),
    (1, "F.mse_loss({pair}, 'none')"),
    (1, "{model}({vector})"),
    (8, "{layer}([{value}, {scalar}, 1.0])"),
    (1, "{network}([{value}, number({number}, {action})])"),
    (1, "{layer}([{value}, {value}, number({number}, {action})])"),
    (1, "{model}.parameters()"),
    (1, "pickle.loads(pickle.dumps({list}))"),
    (1, "copy.deepcopy([{value}, {value}])"),
]

# What user code may do in the middle of something else; the lines of a program may do it too.
ACTIONS = [
    (3, "del {value}"),
    (2, "{value}.backward()"),
    (2, "{value}.data = {number}"),
    (2, "{value}.grad = {number}"),
    (2, "reply = {value}._children"),
    (2, "reply = {value}._prev"),
    (2, "gc.collect()"),
    (2, "{new value} = {expression}"),
    (1, "del {list}"),
    (1, "{list}.clear()"),
    (1, "1 / 0"),
    (1, "raise KeyError('stop')"),
    (1, "{value}.note = {value}"),
    (1, "{value}._backward()"),
    (1, "hook({value})"),
    (1, "{value}.m += 1.0"),
    (1, "reply = copy.copy({value})"),
    (1, "reply = pickle.loads(pickle.dumps({value}))"),
    (1, "reply = [{value} * k for k in range(40)]"),
    (1, "reply = None"),
    (1, "del Value.double"),
    (1, "{layer}.neurons[0].w.clear()"),
    (1, "{layer}.neurons.clear()"),
    (1, "{network}.layers[0].neurons.pop()"),
    (1, "del {model}"),
    (1, "reply = {network}([{value}, {value}])"),
    (1, "reply = {layer}([{value}, {value}, 1.0])"),
]

# What happens when a node is freed. The engine may free it later than the reference, because layers and
# compiled functions remember nodes between calls; so these lines must leave no trace.
LAST_ACTS = [
    (3, "gc.collect()"),
    (1, "copy.copy({value})"),
    (1, "pickle.loads(pickle.dumps({value}))"),
    (1, "copy.deepcopy({list})"),
    (2, "[{value} * k for k in range(40)]"),
    (1, "closure({value}, {value}).backward"),
    (1, "F.softmax({vector})"),
    (1, "1 / 0"),
]

LINES = [
    (60, "{new value} = {expression}"),
    (12, "{new list} = {list expression}"),
    (12, "{value}.backward()"),
    (6, "reply = slopes({value}, [{value}, {value}])"),
    (25, "{action line}"),
    (2, "{value} = {value}"),
    (3, "hook({value}, {action})"),
    (2, "{value}.note = {value}"),
    (2, "{value}.note = farewell('{last act}')"),
    (2, "{value}.m = {number}"),
    (2, "{value}._children[-1].note = {same}"),
    (1, "reply = {value}.note"),
    (1, "reply = {value}.m"),
    (1, "del {value}.note"),
    (1, "reply = dict(vars({value}))"),
    (1, "{value}.label = 'y'"),
    (1, "{value}.label = {value}"),
    (1, "{value}._op = '!'"),
    (1, "{value}._op = ({number}, {number})"),
    (1, "{value}._op = {value}"),
    (1, "{value}.label = {list}"),
    (2, "{list}.append({value}); {value}.label = {list}"),
    (3, "{value}.note = {value}._children"),
    (1, "{value}.owner = {model}"),
    (2, "reply = {value}._op"),
    (1, "{value}._backward = 3"),
    (1, "del {value}.data"),
    (1, "{value}.data = 'x'"),
    (1, "{value}.grad = None"),
    (1, "reply = {value} + 'x'"),
    (1, "reply = float({value})"),
    (1, "reply = {value} in [{value}, {value}]"),
    (1, "{value}.__init__({number})"),
    (1, "{value}.__init__({number}, (Value(2.0),), '?')"),
    (2, "{value}, {value} = pickle.loads(pickle.dumps(({value}, {value})))"),
    (1, "{value} = copy.copy({value})"),
    (1, "{value} = copy.deepcopy({value})"),
    (1, "{new value} = numpy.sum(numpy.array({list}))"),
    (1, "{new value} = numpy.float64({number}) {operator} {value}"),
    (2, "Value.double = lambda self: self + self"),
    (1, "Value.relu = lambda self: self * 2.0"),
    (1, "Value.__add__ = lambda self, other: self * other"),
    (1, "Value.__mul__ = lambda self, other: self - other"),
    (1, "del Value.relu"),
    (1, "del Value.__add__"),
    (1, "del Value.__mul__"),
    (1, "gc.set_threshold({threshold}); gc.enable()"),
    (2, "{list}.append({value})"),
    (1, "{list}[0] = {value}"),
    (2, "{new network} = nn.MLP(2, [3, 1], activation={activation})"),
    (4, "{new layer} = nn.Layer(3, 2, activation={activation})"),
    (1, "{network}.layers[0].neurons[0].w[1] = {value}"),
    (6, "{layer}.neurons[0].b = {value}"),
    (4, "{network}.layers[0].neurons[1].b = {value}"),
    (1, "{layer}.neurons[1].nonlin = {value}"),
    (1, "{layer}.neurons[0].activation = {activation}"),
    (1, "{layer}.neurons[0].w = ({value}, {value}, {scalar})"),
    (1, "{layer}.neurons[0].w.pop()"),
    (1, "{network}.layers[0].neurons.reverse()"),
    (1, "{network}.layers[0].neurons.append({network}.layers[0].neurons[0])"),
    (1, "{model}.zero_grad()"),
    (1, "for p in {model}.parameters(): p.data -= 0.125 * p.grad"),
    (1, "{new optimizer} = optim.SGD({parameters}, lr=0.5, momentum=0.5, weight_decay={decay})"),
    (1, "{new optimizer} = optim.SGD({parameters}, lr=0.125, momentum=0.5, nesterov=True)"),
    (1, "{new optimizer} = optim.Adam({parameters}, lr=0.125, weight_decay={decay})"),
    (1, "{new optimizer} = optim.AdamW({parameters}, lr=0.125)"),
    (3, "{optimizer}.step()"),
    (1, "{optimizer}.zero_grad()"),
    (2, "{new scalar_function} = compile(lambda x, y: {traced x y})"),
    (1, "{new scalar_function} = compile(lambda x, y: [{traced x y}, {traced x y}])"),
    (2, "{new row_function} = compile(lambda row: {traced row[0] row[1]})"),
    (2, "{new index_function} = compile(lambda i, x: take({vector}, i) {operator} {traced x i})"),
    (2, "{new plain_function} = compile(lambda: {traced})"),
    (2, "reply = {scalar_function}{call}({array}, {array})"),
    (2, "reply = {scalar_function}{call}({array}, {number})"),
    (3, "reply = {row_function}{call}({rows})"),
    (3, "reply = {index_function}{call}({indices}, {array})"),
    (3, "reply = {plain_function}{call}()"),
    (2, "reply = {scalar_function}.{derivatives}({array}, {array}{argnums})"),
    (1, "reply = {scalar_function}.{derivatives}({array}, {number}{argnums})"),
    (2, "reply = {row_function}.{derivatives}({rows}{argnums})"),
    (1, "reply = {index_function}.{derivatives}({indices}, {array}{argnums})"),
    (2, "reply = {plain_function}.{derivatives}(argnums='parameters')"),
    (1, "reply = {scalar_function}.hessian({array}, {array}{one argnum})"),
    (1, "reply = {row_function}.hessian({rows}{one argnum})"),
    (1, "reply = {row_function}.hvp((t := {rows}), tangents=t)"),
    (1, "reply = {scalar_function}.hvp((t := {array}), {array}, tangents=t)"),
    (1, "reply = {index_function}.hessian({indices}, {array}{one argnum})"),
    (1, "reply = {plain_function}.hessian(argnums='parameters')"),
    (1, "reply = {scalar_function}.backward({array}, {array}, reduction='sum')"),
    (1, "reply = {row_function}.backward({rows}, reduction='sum', row_weights={array})"),
    (1, "reply = {row_function}.get_parameters()"),
    (1, "{scalar_function}.forget()"),
    *LOOP_LINES,
]

TRACED = [
    *[(3, f"({{traced}} {symbol} {{traced}})") for symbol in ("+", "-", "*")],
    (1, "({traced} / {number})"),
    (1, "({traced} ** 2)"),
    (1, "({traced} ** 3.0)"),
    (1, "{traced}.relu()"),
    (1, "{traced}.tanh()"),
    (1, "{traced}.sigmoid()"),
    (1, "{traced}.sin()"),
    (1, "abs({traced})"),
    (1, "F.maximum({traced}, {traced})"),
    (1, "F.where({traced}, {traced}, {traced})"),
    (1, "F.dot([{value}, {traced}], [{traced}, {traced}])"),
    (1, "F.sum([{traced}, {traced}])"),
    (1, "F.logsumexp([{traced}, {traced}])"),
    (1, "{network}([{traced}, {traced}])"),
    (2, "Value({traced}, ({traced}, {traced}), ({traced}, {number}))"),
    (1, "-{traced}"),
]
TRACED_ODDITIES = ["{value}.data", "float({value})", "{value}.backward()", "'x'"]


def chosen(rng, weighted):
    return rng.choices([template for _, template in weighted], [weight for weight, _ in weighted])[0]


class Generator(Loops):
    """Makes programs. It follows roughly which names exist at a line, so that few lines fail."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.known = {kind: [] for kind in NAMES}

    def chosen(self, weighted):
        return chosen(self.rng, weighted)

    def program(self):
        lines = [f"v{index} = Value({self.rng.choice(SIMPLE_NUMBERS)})" for index in range(3)]
        self.known["value"] = ["v0", "v1", "v2"]
        length = self.rng.randrange(10, 60)
        while len(lines) < length:
            lines.append(self.line())
        return lines

    def line(self):
        while True:
            line = self.filled(chosen(self.rng, LINES))
            if line is not None:
                return line

    def filled(self, template, depth=0):
        """The template with its placeholders filled; None if it needs a name that does not exist."""
        parts = []
        for part in re.split(r"(\{[^{}]+\})", template):
            if part.startswith("{") and part.endswith("}"):
                part = self.part(part[1:-1], depth)
            if part is None:
                return None
            parts.append(part)
        return "".join(parts)

    def part(self, what, depth):
        rng = self.rng
        if what.startswith("new "):
            kind = what[4:]
            name = rng.choice(NAMES[kind])
            if name in self.known[kind]:
                self.known[kind].remove(name)
            self.known[kind].append(name)
            return name
        if what in NAMES:
            return self.name(self.known[what])
        if what.startswith(("traced", "looped", "steps")):
            which, *names = what.split()
            return getattr(self, which)(names, depth)
        method = getattr(self, what.replace(" ", "_"))
        return method(depth)

    def model(self, depth):
        return self.part(self.rng.choice(["layer", "network"]), depth)

    def name(self, known):
        """One of the names, often of the latest, so that graphs grow deep."""
        if not known:
            return None
        self.latest = self.rng.choice(known[-3:] if self.rng.random() < 0.4 else known)
        return self.latest

    def same(self, depth):
        """The name that the template used last."""
        return self.latest

    def number(self, depth):
        if self.rng.random() < 0.1:
            return self.rng.choice(SPECIAL_NUMBERS)
        if self.rng.random() < 0.3:
            return repr(round(self.rng.uniform(-2.0, 2.0), 3))
        return self.rng.choice(SIMPLE_NUMBERS)

    def scalar(self, depth):
        return self.part("value" if self.rng.random() < 0.7 else "number", depth)

    def operator(self, depth):
        return self.rng.choice(BINARY)

    def vector(self, depth):
        if self.known["list"] and self.rng.random() < 0.3:
            return self.part("list", depth)
        count = self.rng.choice([1, 2, 2, 3, 3, 4, 0])
        return f"[{', '.join(self.scalar(depth) for _ in range(count))}]"

    def pair(self, depth):
        if self.rng.random() < 0.1:
            return f"{self.vector(depth)}, {self.vector(depth)}"
        count = self.rng.randrange(1, 5)
        return ", ".join(f"[{', '.join(self.scalar(depth) for _ in range(count))}]" for _ in range(2))

    def labelled(self, depth):
        count = self.rng.randrange(1, 5)
        scores = [self.scalar(depth) for _ in range(count)]
        labels = [self.rng.choice(["-1", "1", "1", "-1.0", self.scalar(depth)]) for _ in range(count)]
        return f"[{', '.join(scores)}], [{', '.join(labels)}]"

    def index(self, depth):
        return str(self.rng.choice([0, 0, 0, 1, 1, 2, 5, -1]))

    def activation(self, depth):
        return repr(self.rng.choice(["linear", "relu", "tanh", "sigmoid"]))

    def reduction(self, depth):
        return repr(self.rng.choice(["mean", "sum", "most"]))

    def decay(self, depth):
        return self.rng.choice(["0.0", "0.25"])

    def threshold(self, depth):
        return str(self.rng.choice([1, 5, 20]))

    def parameters(self, depth):
        if self.rng.random() < 0.4:
            return self.filled("{model}.parameters()")
        return f"[{self.part('value', depth)}, {self.part('value', depth)}]"

    def expression(self, depth):
        return self.filled(chosen(self.rng, EXPRESSIONS), depth)

    def list_expression(self, depth):
        return self.filled(chosen(self.rng, LISTS), depth)

    def action_line(self, depth):
        return self.filled(chosen(self.rng, ACTIONS), depth)

    def last_act(self, depth):
        return self.filled(chosen(self.rng, LAST_ACTS), depth + 1)

    def action(self, depth):
        """A statement as a string, for user code to run."""
        if depth >= 2 or self.rng.random() < 0.3:
            return "''"
        line = self.filled(chosen(self.rng, ACTIONS), depth + 1)
        return None if line is None else repr(line)

    def traced(self, names, depth):
        """An expression in the placeholders with these names, and in what the program has."""
        rng = self.rng
        if rng.random() < 0.01:
            return self.filled(rng.choice(TRACED_ODDITIES), depth)
        if depth >= 3 or rng.random() < 0.15 * depth:
            if names and rng.random() < 0.6:
                return rng.choice(names)
            return self.part("number" if rng.random() < 0.2 else "value", depth)
        template = chosen(rng, TRACED).replace("{traced}", "{" + " ".join(["traced", *names]) + "}")
        return self.filled(template, depth + 1) or self.part("value", depth)

    def call(self, depth):
        return self.rng.choice(["", ".backward", ".backward", ".input_gradients"])

    def derivatives(self, depth):
        return self.rng.choice(["value_and_grad", "jacobian"])

    def argnums(self, depth):
        return self.rng.choice(
            [
                "",
                ", argnums=1",
                ", argnums=(0, 1)",
                ", argnums='parameters'",
                ", argnums='parameters', reduction='sum'",
                ", reduction='sum'",
            ]
        )

    def one_argnum(self, depth):
        return self.rng.choice(
            [
                "",
                ", argnums=1",
                ", argnums='parameters'",
                ", argnums='parameters', reduction='sum'",
                ", reduction='sum'",
            ]
        )

    def row_numbers(self, count):
        return [self.rng.choice(["-1.5", "0.0", "0.5", "1.0", "2.0", "3.0", "-0.25"]) for _ in range(count)]

    def array(self, depth):
        return f"[{', '.join(self.row_numbers(self.rng.choice([2, 2, 2, 2, 9, 1])))}]"

    def rows(self, depth):
        count = self.rng.choice([1, 2, 3, 9])
        return f"[{', '.join('[' + ', '.join(self.row_numbers(2)) + ']' for _ in range(count))}]"

    def indices(self, depth):
        return f"[{', '.join(self.rng.choice(['0', '0', '1', '1', '2', '7']) for _ in range(2))}]"


def program(seed):
    return Generator(seed).program()
