"""ADBench's diagonal LSTM over bits of characters, as GradBench defines it: a loop, and unrolled."""

import ctypes

import numpy

from benchmarks.case import Case, one_step, test_agreement, test_speed  # noqa: F401
from benchmarks.field import data
from benchmarks.field.programs import Rows, flat, on_compiled, on_jax

# Of ADBench's texts, and of what is unrolled.
CHARACTERS, UNROLLED = 1024, 32


def of_one_row(layers: int, characters: int, loop: bool) -> Rows:
    """The whole text is one row."""
    from fastgrad import Value, scan

    numbers = data.sequence(layers, characters)
    main = [[Value(a) for a in row] for row in numbers.main.tolist()]
    extra = [[Value(a) for a in row] for row in numbers.extra.tolist()]
    text = numbers.characters.tolist()
    bits = len(text[0])

    def gates(weights, bias, hidden, cell, x):
        def gate(number, operand, function):
            part = slice(number * bits, (number + 1) * bits)
            return [function(w * a + b) for w, a, b in zip(weights[part], operand, bias[part])]

        forget, enter = gate(0, x, Value.sigmoid), gate(1, hidden, Value.sigmoid)
        leave, change = gate(2, x, Value.sigmoid), gate(3, hidden, Value.tanh)
        cell = [c * f + i * d for c, f, i, d in zip(cell, forget, enter, change)]
        return [o * c.tanh() for o, c in zip(leave, cell)], cell

    def step(state, now, after):
        state, x = list(state), [w * a for w, a in zip(extra[0], now)]
        for layer in range(0, 2 * layers, 2):
            x, cell = gates(main[layer], main[layer + 1], state[layer], state[layer + 1], x)
            state[layer], state[layer + 1] = x, cell
        y = [a * w + b for a, w, b in zip(x, extra[1], extra[2])]
        norm = (sum(a.exp() for a in y) + 2.0).log()
        return state, sum(bit * (a - norm) for bit, a in zip(after, y))

    def unrolled():
        state = [[*map(Value, row)] for row in numbers.state.tolist()]
        total = 0.0
        for now, after in zip(text, text[1:]):
            state, term = step(state, now, after)
            total = total + term
        return total * (-1.0 / ((len(text) - 1) * bits))

    def scanned(row):
        """The bits of the text are the columns of one row: of each bit, those of all characters."""
        xs = (*(row[k:-bits:bits] for k in range(bits)), *(row[bits + k :: bits] for k in range(bits)))

        def of_character(carry, x):
            state, term = step(carry[0], x[:bits], x[bits:])
            return (state, carry[1] + term), None

        (_, total), _ = scan(of_character, (numbers.state.tolist(), 0.0), xs)
        return total * (-1.0 / ((len(text) - 1) * bits))

    parameters = [a for row in (*main, *extra) for a in row]
    if loop:
        return Rows(scanned, (numbers.characters.reshape(1, -1),), parameters)
    return Rows(unrolled, (), parameters)


def on_c(layers: int, characters: int):
    def prepare() -> Case:
        from benchmarks import native

        library = native.load("lstm", f"LAYERS={layers}", f"LENGTH={characters}")
        numbers = data.sequence(layers, characters)
        arrays = [
            numpy.ascontiguousarray(a)
            for a in (numbers.main, numbers.extra, numbers.state, numbers.characters)
        ]
        result = numpy.empty(1 + numbers.main.size + numbers.extra.size)

        def step() -> None:
            library.lstm(*(ctypes.c_void_p(a.ctypes.data) for a in (*arrays, result)))

        return Case({"step": step}, lambda: flat([result]))

    return prepare


def of_jax(layers: int, characters: int):
    import jax
    import jax.numpy as jnp

    numbers = data.sequence(layers, characters)
    text = jnp.asarray(numbers.characters)
    bits = text.shape[1]

    def loss(main, extra, state):
        def step(state, character):
            now, after = character
            x, changed = now * extra[0], []
            for layer in range(0, 2 * layers, 2):
                weights, bias = main[layer].reshape(4, bits), main[layer + 1].reshape(4, bits)
                hidden, cell = state[layer], state[layer + 1]
                forget, enter = (
                    jax.nn.sigmoid(x * weights[0] + bias[0]),
                    jax.nn.sigmoid(hidden * weights[1] + bias[1]),
                )
                leave, change = (
                    jax.nn.sigmoid(x * weights[2] + bias[2]),
                    jnp.tanh(hidden * weights[3] + bias[3]),
                )
                cell = cell * forget + enter * change
                x = leave * jnp.tanh(cell)
                changed += [x, cell]
            y = x * extra[1] + extra[2]
            return jnp.stack(changed), (after * (y - jnp.log(jnp.exp(y).sum() + 2))).sum()

        _, terms = jax.lax.scan(step, state, (text[:-1], text[1:]))
        return -terms.sum() / ((len(text) - 1) * bits)

    return jax.value_and_grad(loss, (0, 1)), (numbers.main, numbers.extra, numbers.state)


def of_layers(layers: int, characters: int, loop: bool):
    what = f"{layers} layers, {characters:,} characters"
    return one_step(
        f"lstm-l{layers}-c{characters}" if loop else f"lstm-l{layers}",
        f"ADBench LSTM, {what}, {'a loop' if loop else 'unrolled'}",
        {
            "compiled": on_compiled(lambda: of_one_row(layers, characters, loop)),
            "jax": on_jax(lambda: of_jax(layers, characters)),
            "c": on_c(layers, characters),
        },
        reference="compiled",
    )


WORKLOADS = [
    *[of_layers(layers, UNROLLED, False) for layers in (2, 4)],
    *[of_layers(layers, CHARACTERS, True) for layers in (2, 4)],
]
