"""An expression and its slopes; the arrow keys step through its graph."""

from fastgrad import Value

a = Value(2.0, label="a")
b = Value(-3.0, label="b")
c = Value(10.0, label="c")
f = Value(-2.0, label="f")

d = a * b + c
d.label = "d"
L = d * f
L.label = "L"
L.backward()
print(f"L is {L.data}.")
print(f"If a grows by a little h, L grows by {a.grad} * h.")

L
