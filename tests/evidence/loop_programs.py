"""Functions with loops, of a number and four columns: each kind of state, input, result and nesting."""

import fastgrad.functional as F
from fastgrad import Value, scan, while_loop

W = [Value(0.3), Value(-0.7), Value(1.1)]


def accumulate(x, u):
    """Columns as inputs, the state a dict, and what the steps make used in part."""

    def step(state, each):
        new = (state["s"] * W[0] + each * x).tanh()
        return {"s": new, "t": state["t"] + new * W[1]}, new * new

    state, ys = scan(step, {"s": x, "t": 0.0}, u)
    return state["t"] + ys[2] * ys[0]


def backwards(x, u):
    state, ys = scan(lambda s, each: (s * W[0] + each, s * x), 1.0, u, reverse=True)
    return state + ys[0] * 2.0 + ys[-1]


def elements(x, u):
    """Inputs that are numbers, parameters, arguments and computed Values, one of them twice."""
    xs = [x * W[0], W[1], 2.0, x, x, W[1] * 2.0]
    return scan(lambda s, each: ((s + each * W[2]).sin(), None), u[0], xs)[0]


def nested(x, u):
    def step(state, each):
        inner, ys = scan(lambda s, k: ((s * W[1] + k * each).tanh(), s + x), state, [x, W[2], 0.5])
        return inner * x + ys[1], inner

    state, ys = scan(step, x, u)
    return state + ys[1]


def pairs(x, u):
    """The inputs a tuple of lists, a row of two columns for each step, and no use of the last state."""
    rows = [u[0:2], u[2:4]]
    _, ys = scan(lambda s, each: (s * each[0][0], s + each[0][1] * each[1]), x, (rows, [W[0], x]))
    return ys[0] + ys[1]


def made_and_used(x, u):
    """One loop takes a part of what another makes, in reverse order."""
    _, ys = scan(lambda s, each: ((s + each).tanh(), (s * each, each)), x, u)
    first, second = ys
    state, zs = scan(lambda s, p: (s * W[0] + p[0] * p[1], s), x, (first[::-1], second))
    return scan(lambda s, z: (s + z * W[1], None), state, zs[1:])[0]


def inside_made(x, u):
    """The same in the step of a loop."""

    def step(state, each):
        last, ys = scan(lambda s, k: ((s * k).sin(), s * each), state, [x, W[2], 0.5])
        return scan(lambda s, y: (s + y * W[0], None), last, ys)[0], None

    return scan(step, x, u)[0]


def only_inputs(x, u):
    """A state that does not depend on the one before."""
    return scan(lambda s, each: (each * each, s), x, u)[1][3] * W[0]


def fixed(x, u):
    """A state that stays, a state that is a number, and one that nobody reads."""
    state, _ = scan(lambda s, each: ((s[0], 2.0, s[2] * each, s[3] + s[0] * each), None), (x, x, x, 0.0), u)
    return state[0] + state[1] + state[3]


def choosing(x, u):
    return scan(lambda s, each: (F.where(each, s * W[0] + each.relu(), (s * s + 3.0).sqrt()), None), x, u)[0]


def layers(x, u):
    """Sums of products over the state, which become matrices."""

    def step(state, each):
        return [
            F.dot([W[0], W[1], W[2]], [state[k], state[(k + 1) % 3], each]).tanh() for k in range(3)
        ], None

    return sum(scan(step, [x, 0.5, u[0]], u)[0], Value(0.0))


def until(x, u):
    """A condition that differs by row."""
    return while_loop(lambda s: 2.0 - s, lambda s: s * s * 0.5 + W[0] * u[0] + 0.5, x, limit=20)


def undefined(x, u):
    """Numbers of the state that have no value, in two loops; no result depends on them."""
    nan = float("nan")

    def step(state, each):
        inner, _ = scan(lambda s, k: ((s[0] * k, s[1] * nan), None), (state[0], state[1]), [W[0], W[1]])
        return (inner[0] + each, state[2], state[2] * nan * each), state[1]

    return scan(step, (x, x, u[0]), u)[0][0]


PROGRAMS = [
    accumulate,
    backwards,
    elements,
    nested,
    pairs,
    made_and_used,
    inside_made,
    only_inputs,
    fixed,
    choosing,
    layers,
    until,
    undefined,
]
