"""Print what `import fastgrad` alone loads, and check that its modules load at their first use."""

import sys

import fastgrad

PUBLIC = ("data", "derivatives", "export", "functional", "nn", "optim", "saving", "testing", "viz")

print("loaded", *sorted(name for name in PUBLIC if f"fastgrad.{name}" in sys.modules))
print("listed", *sorted(set(PUBLIC) & set(dir(fastgrad))))
for name in PUBLIC:
    assert getattr(fastgrad, name) is sys.modules[f"fastgrad.{name}"], name
