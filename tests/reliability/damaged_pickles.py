"""Load pickles of Values and programs in which bytes were changed or cut off; print what came of it.

    python tests/reliability/damaged_pickles.py [--count N] [--seed N]

Each must end in an exception or in objects that can be used; the check looks for crashes. A pickle may name
any function, so only names of fastgrad are loaded here.
"""

import argparse
import collections
import faulthandler
import io
import os
import pickle
import random
import resource

from fastgrad import Value, compile, engine, scan, take  # noqa: A004
from fastgrad.compiler.arguments import prepare_arguments
from fastgrad.engine import _pool_statistics
from fastgrad.nn import MLP

MOST_MEMORY = 2**31
ROWS, INDICES = [[1.0, 2.0], [3.0, 4.0]], [0, 2]
p = Value(2.0)


class Loader(pickle.Unpickler):
    def find_class(self, module, name):
        if not module.startswith("fastgrad") or "." in name:
            raise pickle.UnpicklingError(f"{module}.{name} is not loaded here")
        return super().find_class(module, name)


@compile
def function(x, i):
    hidden = engine._linear(x, [[p, 1.0], [p * 2, p]], None, "tanh")
    state, ys = scan(lambda s, each: (s * p + each, s * x[0]), x[0], x)
    state = scan(lambda s, each: (s + each[0] * each[1], None), state, (ys, [p, x[1]]))[0]
    return engine._reduce("logsumexp", [*hidden, state]) + take([x[0], p, x[1]], i) ** 2


def graph():
    out = MLP(2, [3, 1], activation="tanh")([p, Value(3.0)]) * p + Value(1.0, (p,), (2.0,))
    out.label, out.note = "out", [1]
    return out


def use_program(program):
    ready = prepare_arguments((ROWS, INDICES), ("x", "i"))
    str(program)
    program.outputs(ready, 1, 0)
    program.backward(ready, 2, 0)
    program.input_gradients(ready, 1, 0)
    program._verify(ready)


def use_value(value):
    value.backward()
    repr(value)
    value._prev, value._op, value.label  # noqa: B018


def damaged(good, generator):
    """Return the bytes cut short, or with up to three bits or bytes changed."""
    kind = generator.randrange(3)
    if kind == 0:
        return good[: generator.randrange(len(good))]
    changed = bytearray(good)
    for _ in range(generator.randrange(1, 4)):
        place = generator.randrange(len(good))
        bit = 1 << generator.randrange(8)
        changed[place] = changed[place] ^ bit if kind == 1 else generator.randrange(256)
    return bytes(changed)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    faulthandler.enable()
    # A damaged pickle may ask for any amount of memory.
    # AddressSanitizer, which reserves all addresses, has a limit of its own.
    if "ASAN_OPTIONS" not in os.environ:
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    generator = random.Random(options.seed)
    function(ROWS, INDICES)
    kinds = [(use_value, pickle.dumps(graph())), (use_program, pickle.dumps(function.latest))]
    for use, good in kinds:
        use(pickle.loads(good))
    p.grad = 0.0
    outcomes = collections.Counter()
    for number in range(options.count):
        use, good = kinds[number % 2]
        try:
            use(Loader(io.BytesIO(damaged(good, generator))).load())
            outcomes["loaded"] += 1
        except Exception as error:
            outcomes[type(error).__name__] += 1
    print(", ".join(f"{name} {count}" for name, count in outcomes.most_common()))
    # What was loaded are other objects: this one has not changed.
    assert (p.data, p.grad) == (2.0, 0.0)
    assert _pool_statistics()["nodes"] < 1000


if __name__ == "__main__":
    main()
