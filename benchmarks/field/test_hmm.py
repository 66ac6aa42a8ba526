"""A hidden Markov model's likelihood by the forward algorithm in logarithms: 5 states, 40 observations."""

import numpy

from benchmarks.case import one_step, test_agreement, test_speed  # noqa: F401
from benchmarks.field.data import SEED
from benchmarks.field.programs import Rows, on_compiled, on_jax

STATES, STEPS, ROWS = 5, 40, 1000


def problem():
    """Sequences, logarithms of the transitions (from, to), and the means of the states' normal outputs."""
    draw = numpy.random.default_rng(SEED)
    transitions = numpy.log(draw.dirichlet(numpy.ones(STATES), size=STATES))
    return draw.normal(size=(ROWS, STEPS)), transitions, draw.normal(size=STATES)


def of_one_row() -> Rows:
    import fastgrad.functional as F
    from fastgrad import Value

    sequences, numbers, centres = problem()
    transitions = [[Value(a) for a in row] for row in numbers.tolist()]
    means = [Value(a) for a in centres.tolist()]

    def likelihood(x):
        belief = [-0.5 * (x[0] - mean) ** 2 for mean in means]
        for observation in x[1:]:
            belief = [
                F.logsumexp([belief[i] + transitions[i][j] for i in range(STATES)])
                - 0.5 * (observation - mean) ** 2
                for j, mean in enumerate(means)
            ]
        return F.logsumexp(belief)

    return Rows(likelihood, (sequences,), [*(a for row in transitions for a in row), *means])


def of_jax():
    import jax
    import jax.numpy as jnp

    def likelihood(transitions, means, x):
        def step(belief, observation):
            moved = jax.nn.logsumexp(belief[:, None] + transitions, axis=0)
            return moved - 0.5 * (observation - means) ** 2, None

        belief, _ = jax.lax.scan(step, -0.5 * (x[0] - means) ** 2, x[1:])
        return jax.nn.logsumexp(belief)

    def mean(transitions, means, sequences):
        return jnp.mean(jax.vmap(likelihood, (None, None, 0))(transitions, means, sequences))

    sequences, transitions, means = problem()
    return jax.value_and_grad(mean, (0, 1)), (transitions, means, sequences)


WORKLOADS = [
    one_step(
        "hmm",
        f"hidden Markov model by logsumexp, {ROWS:,} sequences of {STEPS}, likelihood and gradient",
        {"compiled": on_compiled(of_one_row), "jax": on_jax(of_jax)},
        reference="compiled",
    )
]
