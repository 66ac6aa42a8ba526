"""ADBench's Gaussian mixtures: the log-likelihood of 1,000 points with a Wishart prior, by all parameters.

F. Srajer, Z. Kukelova, A. Fitzgibbon, "A benchmark of selected algorithmic differentiation tools" (2018),
with GradBench's corrections of its signs. A component's precision is the product of a lower triangle with
its own transpose; the triangle's diagonal is exponentiated.
"""

from math import lgamma, log, pi, sqrt

import numpy

from benchmarks.case import Case, one_step, test_agreement, test_speed  # noqa: F401
from benchmarks.field import data
from benchmarks.field.programs import Rows, on_compiled, on_jax


def constant(m: data.Mixture) -> float:
    """What does not depend on the parameters: of the likelihood, and of the prior of all components."""
    (n, d), k = m.points.shape, len(m.alphas)
    degrees = d + m.degrees + 1
    multivariate = d * (d - 1) / 4 * log(pi) + sum(lgamma((degrees - j) / 2) for j in range(d))
    return k * (degrees * d * log(m.gamma / sqrt(2)) - multivariate) - n * d / 2 * log(2 * pi)


def of_one_row(m: data.Mixture) -> Rows:
    """A point's share of the log-likelihood, with the prior's share of each point."""
    import fastgrad.functional as F
    from fastgrad import Value

    n, d = m.points.shape
    alphas = [Value(a) for a in m.alphas.tolist()]
    means = [[Value(a) for a in row] for row in m.means.tolist()]
    factors = [[Value(a) for a in row] for row in m.factors.tolist()]
    rest = constant(m) / n
    # Below the diagonal by columns: where the entry of row i and column j is.
    place = {}
    for j in range(d):
        for i in range(j + 1, d):
            place[i, j] = d + len(place)

    def likelihood(x):
        exponents = []
        sizes = 0.0
        for alpha, mean, factor in zip(alphas, means, factors):
            from_mean = [a - b for a, b in zip(x, mean)]
            diagonal = [a.exp() for a in factor[:d]]
            whitened = [
                sum((factor[place[i, j]] * from_mean[j] for j in range(i)), diagonal[i] * from_mean[i])
                for i in range(d)
            ]
            exponents.append(alpha + sum(factor[:d]) - 0.5 * sum(a * a for a in whitened))
            sizes = sizes + (sum(a * a for a in diagonal) + sum((a * a for a in factor[d:]), 0.0)) * (
                m.gamma**2 / 2
            )
            sizes = sizes - m.degrees * sum(factor[:d])
        return F.logsumexp(exponents) - F.logsumexp(alphas) - sizes / n + rest

    parameters = [*alphas, *(p for row in means for p in row), *(p for row in factors for p in row)]
    return Rows(likelihood, (m.points,), parameters, float(n))


def arrays(m: data.Mixture):
    """The indices of what is below the diagonal, by columns."""
    d = m.points.shape[1]
    columns, rows = numpy.triu_indices(d, 1)
    return d, rows, columns


def of_jax(m: data.Mixture):
    import jax
    import jax.numpy as jnp

    d, rows, columns = arrays(m)

    def likelihood(alphas, means, factors, points):
        diagonal = jnp.exp(factors[:, :d])
        triangle = jnp.zeros((len(alphas), d, d)).at[:, rows, columns].set(factors[:, d:])
        triangle = triangle + jax.vmap(jnp.diag)(diagonal)
        whitened = jnp.einsum("kij,nkj->nki", triangle, points[:, None] - means)
        traces = factors[:, :d].sum(1)
        exponents = alphas + traces - 0.5 * (whitened**2).sum(2)
        prior = m.gamma**2 / 2 * ((diagonal**2).sum() + (factors[:, d:] ** 2).sum())
        prior = prior - m.degrees * traces.sum()
        total = jax.nn.logsumexp(exponents, 1).sum() - len(points) * jax.nn.logsumexp(alphas)
        return total - prior + constant(m)

    function = jax.value_and_grad(likelihood, (0, 1, 2))
    return function, (m.alphas, m.means, m.factors, m.points)


def on_torch(m: data.Mixture):
    def prepare() -> Case:
        import torch

        d, rows, columns = arrays(m)
        alphas, means, factors = (torch.tensor(a, requires_grad=True) for a in (m.alphas, m.means, m.factors))
        points = torch.tensor(m.points)
        state = {}

        def step() -> None:
            for p in (alphas, means, factors):
                p.grad = None
            diagonal = factors[:, :d].exp()
            triangle = torch.diag_embed(diagonal)
            triangle[:, rows, columns] = factors[:, d:]
            whitened = torch.einsum("kij,nkj->nki", triangle, points[:, None] - means)
            traces = factors[:, :d].sum(1)
            exponents = alphas + traces - 0.5 * (whitened**2).sum(2)
            prior = m.gamma**2 / 2 * ((diagonal**2).sum() + (factors[:, d:] ** 2).sum())
            prior = prior - m.degrees * traces.sum()
            total = exponents.logsumexp(1).sum() - len(points) * alphas.logsumexp(0)
            value = total - prior + constant(m)
            value.backward()
            state["value"] = value.item()

        def numbers() -> list[float]:
            return [state["value"], *(x for p in (alphas, means, factors) for x in p.grad.ravel().tolist())]

        return Case({"step": step}, numbers)

    return prepare


def of_size(dimension: int, components: int):
    def mixture() -> data.Mixture:
        return data.mixture(dimension, components)

    return one_step(
        f"gmm-d{dimension}-k{components}",
        f"ADBench GMM, {dimension} dimensions, {components} components, 1,000 points",
        {
            "compiled": lambda: on_compiled(lambda: of_one_row(mixture()))(),
            "jax": lambda: on_jax(lambda: of_jax(mixture()))(),
            "torch": lambda: on_torch(mixture())(),
        },
        reference="compiled",
    )


SIZES = ((2, 5), (10, 25), (20, 50), (64, 25), (128, 25))
WORKLOADS = [of_size(*size) for size in SIZES]
