"""Forces between 13 atoms by Lennard and Jones' potential, for 2,000 arrangements of them."""

import numpy

from benchmarks.case import one_step, test_agreement, test_speed  # noqa: F401
from benchmarks.field.data import SEED
from benchmarks.field.programs import Rows, on_compiled_inputs, on_jax, on_numpy

ATOMS, ROWS = 13, 2000
PAIRS = [(i, j) for i in range(ATOMS) for j in range(i)]


def arrangements() -> numpy.ndarray:
    """Places on a grid, each moved a little: (rows, 3 coordinates of each atom)."""
    grid = numpy.array([(i % 3, i // 3 % 3, i // 9) for i in range(ATOMS)]) * 1.1
    draw = numpy.random.default_rng(SEED)
    return (grid + draw.uniform(-0.1, 0.1, size=(ROWS, ATOMS, 3))).reshape(ROWS, -1)


def of_one_row() -> Rows:
    def energy(x):
        total = 0.0
        for i, j in PAIRS:
            distance = sum((x[3 * i + k] - x[3 * j + k]) ** 2 for k in range(3)).sqrt()
            total = total + 4.0 * (distance**-12 - distance**-6)
        return total

    return Rows(energy, (arrangements(),), [])


def of_jax():
    import jax
    import jax.numpy as jnp

    left, right = jnp.array(PAIRS).T

    def energy(x):
        places = x.reshape(ATOMS, 3)
        distance = jnp.sqrt(((places[left] - places[right]) ** 2).sum(1))
        return (4 * (distance**-12 - distance**-6)).sum()

    return jax.vmap(jax.grad(energy)), (arrangements(),)


def by_hand(x):
    places = x.reshape(len(x), ATOMS, 3)
    left, right = numpy.array(PAIRS).T
    between = places[:, left] - places[:, right]
    inverse = 1 / (between * between).sum(2)
    sixth = inverse * inverse * inverse
    pull = (24 * sixth * (1 - 2 * sixth) * inverse)[:, :, None] * between
    forces = numpy.zeros_like(places)
    for number, (i, j) in enumerate(PAIRS):
        forces[:, i] += pull[:, number]
        forces[:, j] -= pull[:, number]
    return (forces,)


WORKLOADS = [
    one_step(
        "lennard-jones",
        f"Lennard-Jones, {ATOMS} atoms, derivatives of {ROWS:,} energies",
        {
            "compiled": on_compiled_inputs(of_one_row),
            "jax": on_jax(of_jax),
            "numpy": lambda: on_numpy(by_hand, arrangements())(),
        },
        reference="compiled",
    )
]
