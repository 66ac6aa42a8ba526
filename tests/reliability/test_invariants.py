"""A build with FASTGRAD_ASSERTIONS=1 finds each way in which the pool and the graph can be broken."""

import subprocess
import sys

import pytest

from fastgrad import engine

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(not hasattr(engine, "_check_invariants"), reason="not built with FASTGRAD_ASSERTIONS"),
]

# Where things are: see Chunk and Node in layout.pxi.
PRELUDE = """
import ctypes
from fastgrad import Value
from fastgrad.engine import _check_invariants

def word(address):
    return ctypes.c_uint64.from_address(address)

def byte(address):
    return ctypes.c_ubyte.from_address(address)

x = Value(1.0)
x.history = []
y = x * 2.0
z = y.tanh()
chunk = id(y) & ~4095
slot = id(y) // 64 & 63
newer, arena, leaves, codes, reached = chunk + 8, chunk + 16, chunk + 40, chunk + 64, chunk + 128
left = id(y) + 32
_check_invariants()
print("whole", flush=True)
"""

FAULTS = {
    "a chunk's count of living nodes is wrong": "byte(codes).value += 1",
    "nodes are still marked as reached": "byte(reached + slot).value = 1",
    "a node's bit among the leaves is not what its code says": "word(leaves).value ^= 1 << slot",
    "a node has a code that no operation has": "byte(codes + slot).value = 254",
    "an operand is younger than its result": "word(left).value = id(z)",
    "an operand is no Value": "word(left).value = id('text')",
    "a node is its own operand": "word(left).value = id(y)",
    "there is a chunk newer than the newest": "word(newer).value = chunk",
    "a chunk is older than it says": (
        "more = [Value(1.0) for _ in range(100)]; word((id(more[-1]) & ~4095) + 32).value = 0"
    ),
    "an arena counts another number of chunks": "word(word(arena).value + 8).value += 1",
    "the collector sees an operand but not the node": (
        "ctypes.pythonapi.PyObject_GC_UnTrack(ctypes.py_object(y))"
    ),
}


@pytest.mark.parametrize("message", FAULTS)
def test_a_broken_invariant_ends_the_process_with_its_text(message):
    script = f"{PRELUDE}\n{FAULTS[message]}\n_check_invariants()\nprint('unnoticed')\n"
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert finished.stdout == "whole\n"
    assert message in finished.stderr
