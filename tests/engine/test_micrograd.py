"""The two programs that micrograd tests itself with, written afresh: both engines against PyTorch."""

import pytest

from fastgrad import Value


def polynomial_and_relu(x):
    """A node used several times, a relu, and a product with itself."""
    z = 2 * x + 2 + x
    q = z.relu() + z * x
    h = (z * z).relu()
    return h + q + q * x


def every_operator(a, b):
    """All operators with Values and numbers on both sides, and assigning operators."""
    c = a + b
    d = a * b + b**3
    c += c + 1
    c += 1 + c + (-a)
    d += d * 2 + (b + a).relu()
    d += 3 * d + (b - a).relu()
    e = c - d
    f = e**2
    g = f / 2.0
    g += 10.0 / f
    return g


@pytest.mark.parametrize(
    ("program", "numbers"),
    [(polynomial_and_relu, (-4.0,)), (every_operator, (-4.0, 2.0))],
    ids=lambda p: getattr(p, "__name__", ""),
)
def test_program_gives_what_torch_gives(torch, program, numbers):
    ours = [Value(number) for number in numbers]
    result = program(*ours)
    result.backward()

    theirs = [torch.tensor(number, dtype=torch.float64, requires_grad=True) for number in numbers]
    expected = program(*theirs)
    expected.backward()

    assert result.data == pytest.approx(expected.item(), rel=1e-14)
    assert [x.grad for x in ours] == pytest.approx([x.grad.item() for x in theirs], rel=1e-14)


def test_the_figures_of_micrograds_readme():
    """Printed there: g is 24.7041, its gradients by a and b are 138.8338 and 645.5773."""
    a, b = Value(-4.0), Value(2.0)
    g = every_operator(a, b)
    g.backward()
    assert [f"{number:.4f}" for number in (g.data, a.grad, b.grad)] == ["24.7041", "138.8338", "645.5773"]
