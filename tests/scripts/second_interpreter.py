"""Import fastgrad in a second interpreter three times and go on in the first; print what each import did.

argv[1] is "shared" for an interpreter under the same lock or "own" for one with a lock of its own.
"""

import sys

import fastgrad

try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

CODE = """
try:
    import fastgrad
    from fastgrad.nn import MLP
    fastgrad.compile(lambda x: fastgrad.Value(2.0) * x)([1.0])
    print("imported", flush=True)
except ImportError as error:
    print("ImportError:", error, flush=True)
"""


def create(own):
    if sys.version_info >= (3, 13):
        return interpreters.create("isolated" if own else "legacy")
    return interpreters.create(isolated=own)


for _ in range(3):
    interpreter = create(sys.argv[1] == "own")
    failure = interpreters.run_string(interpreter, CODE)
    assert failure is None, failure
    interpreters.destroy(interpreter)
x = fastgrad.Value(3.0)
(x * x).backward()
assert x.grad == 6.0
assert fastgrad.compile(lambda row: x * row)([2.0])[0] == 6.0
