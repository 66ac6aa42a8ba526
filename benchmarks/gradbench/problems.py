"""GradBench's problems on compiled functions: each function takes an input and returns what to time.

It returns a call without arguments, which is timed, and a function that makes JSON of the result. Tracing is
part of the preparation, as compilation is for compiled tools. A text, a determinant or an integration is one
row, and its loops are unrolled.
"""

from collections.abc import Callable
from typing import Any

import numpy

import fastgrad
import fastgrad.functional as F
from benchmarks.field import data, test_ba, test_gmm
from fastgrad import Value
from fastgrad.derivatives import grad

Timed = tuple[Callable[[], Any], Callable[[Any], Any]]


def value_of(function: Callable[..., Any], arrays: tuple[Any, ...] = (), scale: float = 1.0) -> Timed:
    """The mean of the outputs over the rows, times `scale`."""
    program = fastgrad.compile(function)
    program(*arrays)
    return lambda: scale * float(numpy.mean(program(*arrays))), float


def gradient_of(
    function: Callable[..., Any], parameters: list[Value], arrays: tuple[Any, ...] = (), scale: float = 1.0
) -> Timed:
    """The gradient of the scaled mean by the parameters."""
    program = fastgrad.compile(function)
    program.backward(*arrays)

    def run() -> list[float]:
        for parameter in parameters:
            parameter.grad = 0.0
        program.backward(*arrays)
        return [scale * parameter.grad for parameter in parameters]

    return run, list


# Gaussian mixtures (gmm).


def mixture(given: dict[str, Any]):
    """The rows of benchmarks.field.test_gmm; the factors come as one list, or as `q` and `l`."""
    means = given.get("means", given.get("mu"))
    factors = given.get("icf") or [q + rest for q, rest in zip(given["q"], given["l"])]
    numbers = [numpy.array(part, dtype=float) for part in (given["alpha"], means, factors, given["x"])]
    return test_gmm.of_one_row(data.Mixture(*numbers, given["gamma"], given["m"]))


def gmm_objective(given: dict[str, Any]) -> Timed:
    rows = mixture(given)
    return value_of(rows.function, rows.arrays, rows.scale)


def gmm_jacobian(given: dict[str, Any]) -> Timed:
    rows = mixture(given)
    return gradient_of(rows.function, rows.parameters, rows.arrays, rows.scale)


# Bundle adjustment (ba).


def observations(given: dict[str, Any]) -> tuple[numpy.ndarray, ...]:
    record = given["cam"], given["x"], given["feat"]
    camera, point, feature = (numpy.tile(numbers, (given["p"], 1)) for numbers in record)
    return camera, point, numpy.full(given["p"], given["w"]), feature


def ba_objective(given: dict[str, Any]) -> Timed:
    errors = fastgrad.compile(test_ba.reprojection)
    arrays = observations(given)

    def show(result) -> dict[str, Any]:
        reprojection, weight = result
        return {
            "reproj_error": {"elements": reprojection[0].tolist(), "repeated": len(reprojection)},
            "w_err": {"element": float(weight[0]), "repeated": len(weight)},
        }

    errors(*arrays)
    return lambda: (errors(*arrays), 1.0 - arrays[2] ** 2), show


def ba_jacobian(given: dict[str, Any]) -> Timed:
    """The sparse Jacobian by rows: 2 x 15 numbers an observation, then one a weight."""
    errors = fastgrad.compile(test_ba.reprojection)
    arrays = observations(given)
    n, m, p = given["n"], given["m"], given["p"]
    number = numpy.arange(p)
    columns = numpy.column_stack(
        [
            (number % n)[:, None] * 11 + numpy.arange(11),
            n * 11 + (number % m)[:, None] * 3 + numpy.arange(3),
            n * 11 + m * 3 + number,
        ]
    )

    def run():
        camera, point, weight, _ = errors.input_gradients(*arrays)
        blocks = numpy.concatenate([camera, point, weight[:, :, None]], axis=2)
        values = numpy.concatenate([blocks.transpose(1, 0, 2).ravel(), -2.0 * arrays[2]])
        starts = numpy.concatenate([numpy.arange(2 * p + 1) * 15, 30 * p + 1 + number])
        return starts, numpy.concatenate([numpy.repeat(columns, 2, axis=0).ravel(), columns[:, -1]]), values

    run()
    return run, lambda result: dict(zip(("rows", "cols", "vals"), (part.tolist() for part in result)))


# Least squares (llsq) and kmeans.


def polynomial(given: dict[str, Any]):
    """A row a point of [-1, 1]: half the square of the sign less a polynomial."""
    coefficients = [Value(x) for x in given["x"]]
    t = -1.0 + 2.0 * numpy.arange(given["n"]) / (given["n"] - 1.0)
    powers = numpy.vander(t, len(coefficients), increasing=True)

    def half_square(sign, powers):
        return 0.5 * (sign - F.dot(coefficients, powers)) ** 2

    return half_square, coefficients, (numpy.sign(t), powers), float(given["n"])


def llsq_primal(given: dict[str, Any]) -> Timed:
    function, _, arrays, scale = polynomial(given)
    return value_of(function, arrays, scale)


def llsq_gradient(given: dict[str, Any]) -> Timed:
    function, coefficients, arrays, scale = polynomial(given)
    return gradient_of(function, coefficients, arrays, scale)


def clusters(given: dict[str, Any]):
    """A row a point: the squared distance from the nearest centre."""
    centres = [[Value(x) for x in row] for row in given["centroids"]]
    points = numpy.array(given["points"], dtype=float)

    def nearest(point):
        distances = [sum((a - b) ** 2 for a, b in zip(centre, point)) for centre in centres]
        while len(distances) > 1:
            pairs = zip(distances[::2], distances[1::2])
            distances = [F.minimum(a, b) for a, b in pairs] + distances[len(distances) // 2 * 2 :]
        return distances[0]

    return nearest, centres, (points,)


def kmeans_cost(given: dict[str, Any]) -> Timed:
    nearest, _, arrays = clusters(given)
    return value_of(nearest, arrays, float(len(arrays[0])))


def kmeans_direction(given: dict[str, Any]) -> Timed:
    """The gradient divided by the Hessian's diagonal.

    Each number has terms of its own, so the Hessian is diagonal: it is the gradient of the gradient's sum.
    """
    nearest, centres, arrays = clusters(given)
    parameters = [x for row in centres for x in row]
    scale = float(len(arrays[0]))
    slope, _ = gradient_of(nearest, parameters, arrays, scale)
    curvature, _ = gradient_of(lambda point: sum(grad(nearest(point), parameters)), parameters, arrays, scale)

    def run() -> numpy.ndarray:
        return (numpy.array(slope()) / curvature()).reshape(len(centres), -1)

    return run, numpy.ndarray.tolist


# Problems of one row: lse, det, ode.


def lse_primal(given: dict[str, Any]) -> Timed:
    x = [Value(number) for number in given["x"]]
    return value_of(lambda: F.logsumexp(x))


def lse_gradient(given: dict[str, Any]) -> Timed:
    x = [Value(number) for number in given["x"]]
    return gradient_of(lambda: F.logsumexp(x), x)


def determinant(rows: list[list[Value]]) -> Value:
    """By minors of the first row."""
    if len(rows) == 1:
        return rows[0][0]
    terms = [x * determinant([row[:k] + row[k + 1 :] for row in rows[1:]]) for k, x in enumerate(rows[0])]
    return sum(terms[::2]) - sum(terms[1::2])


def square(given: dict[str, Any]) -> tuple[list[Value], list[list[Value]]]:
    entries, size = [Value(number) for number in given["A"]], given["ell"]
    return entries, [entries[k : k + size] for k in range(0, len(entries), size)]


def det_primal(given: dict[str, Any]) -> Timed:
    _, rows = square(given)
    return value_of(lambda: determinant(rows))


def det_gradient(given: dict[str, Any]) -> Timed:
    entries, rows = square(given)
    return gradient_of(lambda: determinant(rows), entries)


def integrated(x: list[Value], steps: int) -> list[Value]:
    """y_0' = x_0 and y_i' = x_i y_(i-1), from 0 to 2 by Runge and Kutta's fourth order."""
    h = 2.0 / steps

    def slope(y):
        return [x[0], *(a * b for a, b in zip(x[1:], y))]

    y: list[Any] = [0.0] * len(x)
    for _ in range(steps):
        k1 = slope(y)
        k2 = slope([a + h / 2 * b for a, b in zip(y, k1)])
        k3 = slope([a + h / 2 * b for a, b in zip(y, k2)])
        k4 = slope([a + h * b for a, b in zip(y, k3)])
        y = [a + h / 6 * (p + 2.0 * q + 2.0 * r + s) for a, p, q, r, s in zip(y, k1, k2, k3, k4)]
    return y


def ode_primal(given: dict[str, Any]) -> Timed:
    x = [Value(number) for number in given["x"]]
    program = fastgrad.compile(lambda: integrated(x, given["s"]))
    program()
    return program, lambda result: numpy.ravel(numpy.asarray(result)).tolist()


def ode_gradient(given: dict[str, Any]) -> Timed:
    x = [Value(number) for number in given["x"]]
    return gradient_of(lambda: integrated(x, given["s"])[-1], x)


PROBLEMS: dict[str, dict[str, Callable[[dict[str, Any]], Timed]]] = {
    "gmm": {"objective": gmm_objective, "jacobian": gmm_jacobian},
    "ba": {"objective": ba_objective, "jacobian": ba_jacobian},
    "llsq": {"primal": llsq_primal, "gradient": llsq_gradient},
    "kmeans": {"cost": kmeans_cost, "dir": kmeans_direction},
    "lse": {"primal": lse_primal, "gradient": lse_gradient},
    "det": {"primal": det_primal, "gradient": det_gradient},
    "ode": {"primal": ode_primal, "gradient": ode_gradient},
}
