"""to_c: the file compiles without a warning, and gives the engine's numbers."""

import ctypes
import pickle
import random
import shutil
import subprocess

import numpy as np
import pytest

import fastgrad.functional as F
from evidence.loop_programs import PROGRAMS, W
from fastgrad import Value, compile, grad, scan, take
from fastgrad.derivatives import custom_jvp
from fastgrad.engine import _reduce as reduce
from fastgrad.engine import apply
from fastgrad.export import to_c
from fastgrad.export.c_expressions import c_expression, c_number
from fastgrad.nn import MLP
from fastgrad.operations import FUNCTIONS, REDUCTIONS, TABLE

COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
FLAGS = ["-O1", "-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror", "-shared", "-fPIC"]
RNG = np.random.default_rng(2)

needs_compiler = pytest.mark.skipif(not COMPILERS, reason="there is no C compiler")
pytestmark = pytest.mark.processes


def doubles(array):
    return np.ascontiguousarray(array, dtype=float).ctypes.data_as(ctypes.POINTER(ctypes.c_double))


class InC:
    """A compiled function from a shared library: outputs and gradients of one row."""

    def __init__(self, compiled, directory, compiler="gcc"):
        to_c(compiled, directory / "f.c", name="f")
        self.text = (directory / "f.c").read_text()
        library = directory / "f.so"
        command = [compiler, *FLAGS, directory / "f.c", "-o", library, "-lm"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        self.library = ctypes.CDLL(str(library))
        self.outputs, self.parameters, self.work = (
            int(self.text.split(f"F_{name} = ")[1].split(",")[0].split(" ")[0])
            for name in ("OUTPUTS", "PARAMETERS", "WORK")
        )

    def __call__(self, *row, seed=1.0):
        """Return outputs, gradients by the arguments, and by the parameters."""
        given, gradients = [], []
        for each in row:
            whole = np.issubdtype(np.asarray(each).dtype, np.integer)
            if np.ndim(each) == 0:
                given.append(ctypes.c_longlong(each) if whole else ctypes.c_double(each))
            elif whole:
                given.append(each.ctypes.data_as(ctypes.POINTER(ctypes.c_longlong)))
            else:
                given.append(doubles(each))
            if not whole:
                gradients.append(np.zeros(np.size(each)))
        p = (ctypes.c_double * max(self.parameters, 1)).in_dll(self.library, "f_parameters")
        out, again = np.zeros(self.outputs), np.zeros(self.outputs)
        dp, work = np.zeros(max(self.parameters, 1)), np.zeros(max(self.work, 1))
        end = [doubles(work)] if self.work else []
        self.library.f(*given, p, doubles(out), *end)
        seeds = np.full(self.outputs, seed)
        self.library.f_gradient(
            *given, p, doubles(seeds), doubles(again), *map(doubles, gradients), doubles(dp), *end
        )
        assert (out == again).all()
        return out, gradients, dp[: self.parameters]


def assert_same(compiled, directory, *arrays, compiler="gcc"):
    """Every row of the program, in C."""
    outputs = compiled(*arrays)
    in_c = InC(compiled, directory, compiler)
    gradients = compiled.input_gradients(*arrays)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    for p in compiled.parameters:
        p.grad = 0.0
    compiled.backward(*arrays)
    rows = len(arrays[0])
    total = np.zeros(len(compiled.parameters))
    for row in range(rows):
        out, by_argument, dp = in_c(*[a[row] for a in arrays])
        np.testing.assert_allclose(out, outputs[row], rtol=1e-12, atol=1e-12)
        wanted = [np.ravel(g[row]) for g in gradients if g is not None]
        for found, expected in zip(by_argument, wanted, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
        total += dp / rows
    np.testing.assert_allclose(total, [p.grad for p in compiled.parameters], rtol=1e-12, atol=1e-12)
    return in_c


@pytest.mark.thread_unsafe
@needs_compiler
@pytest.mark.parametrize("function", PROGRAMS, ids=lambda f: f.__name__)
def test_loops_come_out_as_loops(function, tmp_path):
    for w in W:
        w.grad = 0.0
    text = assert_same(compile(function), tmp_path, RNG.normal(size=3), RNG.normal(size=(3, 4))).text
    assert "for (long t0 = 0; t0 < " in text


@needs_compiler
@pytest.mark.parametrize("compiler", COMPILERS)
def test_every_operation(compiler, tmp_path):
    p = Value(0.4)

    def of(x, y):
        rows = (*TABLE, *FUNCTIONS)
        found = [apply(o.name, x * p + (o.name == "acosh")) for o in rows if o.operands == 1]
        # The order of polygamma is a whole number.
        found += [apply("polygamma", 1.0, y), apply("polygamma", 0.0, x * p)]
        for operation in rows:
            if operation.operands == 2 and operation.name != "polygamma":
                found += [
                    apply(operation.name, x, y),
                    apply(operation.name, x, 2.0),
                    apply(operation.name, p, y),
                ]
        found += [apply("where", x - y, x * p, y), x**2, x**-1, x**3, F.dot([x, y], [y, p])]
        found += [reduce(r.name, [x, y, p * x]) for r in REDUCTIONS]
        return sum(found, Value(0.0))

    assert_same(compile(of), tmp_path, np.array([0.7, 1.9]), np.array([1.3, 0.2]), compiler=compiler)


@custom_jvp
def rounded(x):
    return x.round()


rounded.defjvps(lambda t, ans, x: (1.0 + 0.1 * ans * x) * t)


@custom_jvp
def cube(x):
    return scan(lambda state, _: (state * x, None), 1.0, None, length=3)[0]


cube.defjvps(lambda t, ans, x: 3.0 * x * x * t)


def given(x, y):
    # The derivative is infinite at 0, where only what it is computed from would get a nan.
    return Value(x * W[0], (y,), (F.where(x, y, 1.0 / x) * 0.5,))


OWN_DERIVATIVES = {
    "a rule": lambda x, y: rounded(3.0 * x) * y[0] * W[0],
    "a rule in a step": lambda x, y: scan(lambda s, z: (rounded(s * 2.0 + z) * W[1], None), x, y)[0],
    "a loop in a body": lambda x, y: cube(x * W[0]) + y[0],
    "a loop in a body in a step": lambda x, y: scan(lambda s, z: (cube(0.5 * s + z * W[0]), None), x, y)[0],
    "a derivative that is given": lambda x, y: given(x, y[1]) * W[1],
}


@needs_compiler
@pytest.mark.parametrize("function", OWN_DERIVATIVES.values(), ids=OWN_DERIVATIVES)
def test_derivatives_of_ones_own(function, tmp_path):
    assert_same(compile(function), tmp_path, np.array([0.7, 1.9, 0.4]), RNG.normal(size=(3, 4)))


def linear(x, y):
    """The derivative of a loop is a loop, which goes over states that its own derivative does not read."""
    return scan(lambda s, z: (s * 0.5 + z * x * W[0], s), x, y)[0]


DERIVATIVES = {
    "of a loop": lambda x, y: grad(linear(x, y), x) * W[1],
    "of a loop in a step": lambda x, y: grad(scan(lambda s, z: (linear(s, y) + z, None), x, y)[0], x),
    "of states that change places": lambda x, y: grad(
        scan(lambda s, z: ((s[1], s[0] * z + x), None), (x, 2 * x), y)[0][0], x
    ),
}


@needs_compiler
@pytest.mark.parametrize("function", DERIVATIVES.values(), ids=DERIVATIVES)
def test_the_derivative_of_a_loop(function, tmp_path):
    assert_same(compile(function), tmp_path, RNG.normal(size=3), RNG.normal(size=(3, 4)))


@needs_compiler
@pytest.mark.parametrize("names", ["x, y", "gx, s", "o, made"])
def test_a_loop_in_a_step_goes_over_an_argument(names, tmp_path):
    scope = {"scan": scan, "W": W, "total": None}
    first, rows = names.split(", ")
    exec(
        f"def total({names}):\n"
        f"    def inner(u, z, each): return 0.5 * u + z * each * W[0], u\n"
        f"    def step(state, each):\n"
        f"        return scan(lambda u, z: inner(u, z, each), state, {rows}[::-1])[0], None\n"
        f"    return scan(step, {first}, {rows})[0]\n",
        scope,
    )
    assert_same(compile(scope["total"]), tmp_path, RNG.normal(size=3), RNG.normal(size=(3, 4)))


@needs_compiler
def test_a_network_with_an_embedding(tmp_path):
    random.seed(1)
    table = [[Value(random.gauss(0, 1)) for _ in range(3)] for _ in range(5)]
    model = MLP(4, [8, 2], activation="tanh")

    def of(token, x):
        return F.logsumexp(model([*take(table, token), x])) + take([x, x * x, table[0][0], x, x], token)

    assert_same(compile(of), tmp_path, np.array([0, 4, 2]), RNG.normal(size=3))


@needs_compiler
def test_an_index_in_a_loop(tmp_path):
    table = [Value(float(k)) for k in range(5)]
    compiled = compile(
        lambda tokens, x: scan(lambda s, t: (s * 0.5 + take([*table, x], t), None), x, tokens)[0]
    )
    assert_same(compiled, tmp_path, RNG.integers(0, 6, size=(3, 7)), RNG.normal(size=3))


@needs_compiler
def test_what_was_not_chosen_has_no_gradient(tmp_path):
    compiled = compile(lambda x: F.where(x, x * x, (x * 0.0).sqrt()) + F.where(x, x, (x - x).log()))
    compiled(1.0)
    assert InC(compiled, tmp_path)(10.0)[1][0][0] == 21.0


@needs_compiler
@pytest.mark.parametrize("name", ["x y", "int", "p", "v1", "2", "Größe"])
def test_names_that_c_does_not_allow(name, tmp_path):
    compiled = compile(lambda *columns: columns[0] * 2.0)
    compiled(1.0)
    with pytest.raises(ValueError, match="is no name for a function in C"):
        to_c(compiled, tmp_path / "f.c", name=name)


@needs_compiler
def test_arguments_with_the_names_of_c_get_others(tmp_path):
    def of(double, out, p, größe, v1, d_x):
        return double * out + p * größe - v1 * d_x

    assert_same(compile(of), tmp_path, *RNG.normal(size=(6, 2)))


def test_what_cannot_be_exported(tmp_path):
    compiled = compile(lambda x: x * 2.0)
    with pytest.raises(ValueError, match="has no program yet: call it first"):
        to_c(compiled, tmp_path / "f.c")
    compiled(1.0)
    compiled([1.0])
    with pytest.raises(ValueError, match="has programs for 2 kinds of arguments"):
        to_c(compiled, tmp_path / "f.c")
    with pytest.raises(TypeError, match="to_c writes a compiled function, not int"):
        to_c(3, tmp_path / "f.c")
    to_c(next(iter(compiled.programs.values())), tmp_path / "f.c")


def test_a_pickled_function_is_the_same_in_c(tmp_path):
    compiled = compile(PROGRAMS[3])
    compiled(RNG.normal(size=2), RNG.normal(size=(2, 4)))
    to_c(compiled, tmp_path / "a.c", name="f")
    to_c(pickle.loads(pickle.dumps(compiled)), tmp_path / "b.c", name="f")
    assert (tmp_path / "a.c").read_text() == (tmp_path / "b.c").read_text()


@pytest.mark.parametrize("number", [0.1, -2.5, 1.0, 0.0, -0.0, 5e-324, 1.7976931348623157e308, 1 / 3])
def test_numbers_keep_every_digit(number):
    assert float.fromhex(c_number(number).strip("()")).hex() == number.hex()


def test_special_numbers_and_expressions():
    special = [c_number(float(x)) for x in ("inf", "-inf", "nan")]
    assert special == ["INFINITY", "(-INFINITY)", "NAN"]
    assert c_expression("1.0 if a > 0.0 and not isfinite(b) else -a", {"a": "x", "b": "y"}) == (
        "(((x > 0x0p+0) && (!isfinite(y))) ? 0x1p+0 : (-x))"
    )
    with pytest.raises(ValueError, match=r"there is no C for a\[0\]"):
        c_expression("a[0]", {"a": "x"})
