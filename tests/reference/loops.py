"""scan and while_loop as plain loops: in a compiled function, their steps are repeated as written."""

from reference import value as values_module
from reference.value import Value, apply


def shape_of(nest):
    """The shape of a state of lists and tuples."""
    if isinstance(nest, (list, tuple)):
        return type(nest), [shape_of(part) for part in nest]
    return None


def as_values(nest):
    """The nest with Values for numbers."""
    if isinstance(nest, (list, tuple)):
        return type(nest)([as_values(part) for part in nest])
    if isinstance(nest, Value):
        return nest
    if isinstance(nest, str) or not hasattr(nest, "__float__"):
        raise TypeError("is made of Values and numbers")
    return Value(float(nest))


def next_state(new, state):
    if shape_of(new) != shape_of(state):
        raise TypeError("was given the state")
    return as_values(new)


def apart(state, begun):
    """The state of an eager step: each Value is the loop's own, made since it has begun, and there once."""
    taken = set()

    def own(nest):
        if isinstance(nest, (list, tuple)):
            return type(nest)([own(part) for part in nest])
        if type(nest) is Value and (nest.birth < begun or id(nest) in taken):
            nest = apply("mul", nest, 1.0)
        taken.add(id(nest))
        return nest

    return state if values_module.tracing_since is not None else own(state)


def x_of(number):
    """A step's input: eagerly, an integer may be an index."""
    kinds = float if values_module.tracing_since is None else (float, int)
    return Value(number) if isinstance(number, kinds) else number


def scan(f, init, xs=None, length=None, reverse=False):
    values_module.has_loop = True
    state, made = as_values(init), []
    if isinstance(xs, Value):
        raise TypeError("are a list or an array, not Value")
    if isinstance(xs, tuple):
        steps = [tuple(map(x_of, each)) for each in zip(*xs, strict=True)]
    else:
        steps = [None] * length if xs is None else list(map(x_of, xs))
    begun = next(values_module.births)
    for x in reversed(steps) if reverse else steps:
        pair = f(apart(state, begun), x)
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError("must return two things")
        new, y = pair
        state = next_state(new, state)
        made.append(None if y is None else as_values(y))
    if reverse:
        made.reverse()
    return state, (None if made and made[0] is None else made)


def while_loop(cond_fun, body_fun, init_val, limit):
    state = as_values(init_val)
    values_module.has_loop = True
    if values_module.tracing_since is not None:
        for _ in range(limit):
            new = next_state(body_fun(state), state)
            state = apply("where", as_values(cond_fun(state)), new, state)
        return state
    state = apart(state, next(values_module.births))
    for _ in range(limit):
        going = cond_fun(state)
        if not (going._data if isinstance(going, Value) else going) > 0.0:
            break
        state = next_state(body_fun(state), state)
    return state
