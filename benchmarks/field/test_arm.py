"""The Jacobian of a six-joint arm's hand: 3 coordinates by 6 angles, for 20,000 positions of the arm."""

import ctypes
from math import cos, pi, sin

import numpy

from benchmarks.case import Case, one_step, test_agreement, test_speed  # noqa: F401
from benchmarks.field.data import SEED
from benchmarks.field.programs import Rows, flat, on_compiled_inputs, on_jax

ROWS = 20_000
# Length, offset and twist of each link, by Denavit and Hartenberg.
LINKS = (
    (0.0, 0.089, pi / 2),
    (-0.425, 0.0, 0.0),
    (-0.392, 0.0, 0.0),
    (0.0, 0.109, pi / 2),
    (0.0, 0.095, -pi / 2),
    (0.0, 0.082, 0.0),
)


def angles() -> numpy.ndarray:
    return numpy.random.default_rng(SEED).uniform(-pi, pi, size=(ROWS, 6))


def hand(joints, sines, cosines):
    """Where the hand is, over any scalars: the links' transformations of its own origin, from the last."""
    x, y, z = 0.0, 0.0, 0.0
    for (length, offset, twist), s, c in reversed(list(zip(LINKS, sines, cosines))):
        u, v, w = x + length, cos(twist) * y - sin(twist) * z, sin(twist) * y + cos(twist) * z + offset
        x, y, z = c * u - s * v, s * u + c * v, w
    return [x, y, z]


def of_one_row() -> Rows:
    def position(joints):
        return hand(joints, [a.sin() for a in joints], [a.cos() for a in joints])

    return Rows(position, (angles(),), [])


def of_jax():
    import jax
    import jax.numpy as jnp

    def position(joints):
        return jnp.stack(hand(joints, jnp.sin(joints), jnp.cos(joints)))

    def blocks(joints):
        return jnp.moveaxis(jax.vmap(jax.jacrev(position))(joints), 1, 0)

    return blocks, (angles(),)


def on_c() -> Case:
    """The axes of the joints and the arms of the levers, as a textbook has it."""
    from benchmarks import native

    library = native.load("arm")
    joints, out = angles(), numpy.empty((3, ROWS, 6))
    links = (ctypes.c_double * 24)(*(n for a, d, t in LINKS for n in (a, d, sin(t), cos(t))))

    def step() -> None:
        library.jacobians(
            ctypes.c_ssize_t(ROWS),
            ctypes.c_void_p(joints.ctypes.data),
            links,
            ctypes.c_void_p(out.ctypes.data),
        )

    return Case({"step": step}, lambda: flat([out]))


WORKLOADS = [
    one_step(
        "arm",
        f"six-joint arm, {ROWS:,} Jacobians of 3 x 6",
        {"compiled": on_compiled_inputs(of_one_row), "jax": on_jax(of_jax), "c": on_c},
        reference="compiled",
    )
]
