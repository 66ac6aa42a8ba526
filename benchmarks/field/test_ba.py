"""ADBench's bundle adjustment: the Jacobian of every observation's reprojection error, in dense blocks.

A camera is a rotation vector, a centre, a focal length, a principal point and two radial coefficients. An
observation's block has 2 x 15 derivatives, by its camera, its point and its weight. (The errors 1 - w ** 2
of the weights have the derivative -2 w, a line of numpy in any library, and are left out.)
"""

import ctypes

import numpy

from benchmarks.case import Case, one_step, test_agreement, test_speed  # noqa: F401
from benchmarks.field import data
from benchmarks.field.programs import flat


def reprojection(camera, point, weight, feature):
    """The two errors of one observation, over Values."""
    x = [a - b for a, b in zip(point, camera[3:6])]
    square = camera[0] * camera[0] + camera[1] * camera[1] + camera[2] * camera[2]
    angle = square.sqrt()
    axis = [a / angle for a in camera[:3]]
    cosine, sine = angle.cos(), angle.sin()
    along = (axis[0] * x[0] + axis[1] * x[1] + axis[2] * x[2]) * (1.0 - cosine)
    seen = [
        x[i] * cosine
        + (axis[(i + 1) % 3] * x[(i + 2) % 3] - axis[(i + 2) % 3] * x[(i + 1) % 3]) * sine
        + axis[i] * along
        for i in range(3)
    ]
    p = [seen[0] / seen[2], seen[1] / seen[2]]
    r2 = p[0] * p[0] + p[1] * p[1]
    distortion = 1.0 + camera[9] * r2 + camera[10] * r2 * r2
    return [weight * (p[i] * distortion * camera[6] + camera[7 + i] - feature[i]) for i in range(2)]


def on_compiled(adjustment):
    """Errors (N, 2), derivatives by camera (N, 2, 11), point (N, 2, 3), weight (N, 2)."""

    def prepare() -> Case:
        import fastgrad

        arrays = adjustment()
        program = fastgrad.compile(reprojection)
        rows = len(arrays.weights)
        errors, *blocks = [numpy.empty((rows, 2, *shape)) for shape in ((), (11,), (3,), ())]

        def step() -> None:
            program.value_and_grad(*arrays, argnums=(0, 1, 2), out=(errors, tuple(blocks)))

        return Case({"step": step}, lambda: flat(numpy.moveaxis(block, 1, 0) for block in blocks))

    return prepare


def on_jax(adjustment):
    def prepare() -> Case:
        import jax
        import jax.numpy as jnp

        def errors(camera, point, weight, feature):
            x = point - camera[3:6]
            angle = jnp.sqrt(camera[:3] @ camera[:3])
            axis = camera[:3] / angle
            cosine, sine = jnp.cos(angle), jnp.sin(angle)
            seen = x * cosine + jnp.cross(axis, x) * sine + axis * (axis @ x) * (1 - cosine)
            p = seen[:2] / seen[2]
            r2 = p @ p
            return weight * (
                p * (1 + camera[9] * r2 + camera[10] * r2**2) * camera[6] + camera[7:9] - feature
            )

        blocks = jax.jit(jax.vmap(jax.jacrev(errors, (0, 1, 2))))
        arrays = [jnp.asarray(a) for a in adjustment()]
        state = {}

        def step() -> None:
            state["blocks"] = jax.block_until_ready(blocks(*arrays))

        return Case({"step": step}, lambda: flat(jnp.moveaxis(b, 1, 0) for b in state["blocks"]))

    return prepare


def on_c(adjustment):
    def prepare() -> Case:
        from benchmarks import native

        library = native.load("ba")
        arrays = adjustment()
        rows = len(arrays.weights)
        errors, blocks = numpy.empty((rows, 2)), numpy.empty((rows, 2, 15))
        everything = (*arrays, errors, blocks)

        def step() -> None:
            library.adjust(ctypes.c_ssize_t(rows), *(ctypes.c_void_p(a.ctypes.data) for a in everything))

        def numbers() -> list[float]:
            by_error = numpy.moveaxis(blocks, 1, 0)
            return flat([by_error[:, :, :11], by_error[:, :, 11:14], by_error[:, :, 14]])

        return Case({"step": step}, numbers)

    return prepare


def of_size(name: str, observations: int):
    def adjustment() -> data.Adjustment:
        return data.adjustment(name, observations)

    return one_step(
        name,
        f"ADBench BA, {name}: Jacobian blocks of {observations:,} observations",
        {"compiled": on_compiled(adjustment), "jax": on_jax(adjustment), "c": on_c(adjustment)},
        reference="compiled",
    )


WORKLOADS = [of_size("ba1", 31_843), of_size("ba4", 204_472)]
# The same record again and again, so that ba1 checks it.
TIMED_ONLY = ("ba4",)
