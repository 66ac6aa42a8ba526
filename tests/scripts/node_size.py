"""Print the resident bytes a node of a graph of argv[1] nodes, and the bytes left when it is freed."""

import os
import sys
from pathlib import Path

from fastgrad import Value


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


count = int(sys.argv[1])
x = out = Value(0.5)
before = resident()
for _ in range(count // 2):
    out = (out * x) + 1.0
print((resident() - before) / count)
