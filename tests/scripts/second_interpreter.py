"""Import fastgrad in three more interpreters, one by one, and in the first; print what each import did.

argv[1] is "shared" for interpreters under the same lock or "own" for ones with locks of their own. argv[2] is
"before" if the first interpreter imports before the others, too, or "after" if only after them.
"""

import sys

try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

CODE = """
try:
    import fastgrad
    from fastgrad.nn import MLP
    x = fastgrad.Value(3.0)
    (x * x).backward()
    assert x.grad == 6.0
    assert fastgrad.compile(lambda row: x * row)([2.0])[0] == 6.0
    print("imported", flush=True)
except ImportError as error:
    print("ImportError:", error, flush=True)
"""


def create(own):
    if sys.version_info >= (3, 13):
        return interpreters.create("isolated" if own else "legacy")
    return interpreters.create(isolated=own)


if sys.argv[2] == "before":
    exec(CODE)
for _ in range(3):
    interpreter = create(sys.argv[1] == "own")
    failure = interpreters.run_string(interpreter, CODE)
    assert failure is None, failure
    interpreters.destroy(interpreter)
exec(CODE)
