"""Giles' LIBOR market model: 15 swaptions over paths of 40 steps and 80 forward rates, 161 sensitivities.

M. Giles, P. Glasserman, "Smoking adjoints: fast Monte Carlo Greeks", Risk 19 (2006); the portfolio and the
constants are those of Giles' test program. The price alone is measured, too: the time with sensitivities over
the time without is the adjoint factor.
"""

import ctypes

import numpy
import pytest

from benchmarks.case import Case, one_step, test_agreement, test_speed  # noqa: F401

STEPS, RATES = 40, 80
INTERVAL, RATE, VOLATILITY = 0.05, 0.05, 0.2
MATURITIES = (4, 8, 20, 28, 40)
SWAP_RATES = (0.045, 0.05, 0.055)
PATHS = 4096


def normals(paths: int) -> numpy.ndarray:
    """The paths' random numbers, one row a path."""
    return numpy.random.default_rng(11).normal(size=(paths, STEPS))


def portfolio(interval, rates, volatilities, row, root, exp, relu):
    """The discounted payoff of one path, over any scalars; `root` is the interval's square root."""
    rates = list(rates)
    for step in range(STEPS):
        drift = 0.0
        for i in range(step + 1, RATES):
            volatility = volatilities[i - step - 1]
            scale = interval * volatility
            drift = drift + scale * rates[i] / (1.0 + interval * rates[i])
            rates[i] = rates[i] * exp(scale * drift + volatility * (root * row[step] - scale * 0.5))
    bond, annuity, bonds, annuities = 1.0, 0.0, [], []
    for rate in rates[STEPS:]:
        bond = bond / (1.0 + interval * rate)
        annuity = annuity + interval * bond
        bonds.append(bond)
        annuities.append(annuity)
    payoff = 0.0
    for maturity in MATURITIES:
        for swap_rate in SWAP_RATES:
            swap = bonds[maturity - 1] + swap_rate * annuities[maturity - 1] - 1.0
            payoff = payoff + 100.0 * relu(-swap)
    for rate in rates[:STEPS]:
        payoff = payoff / (1.0 + interval * rate)
    return payoff


def on_compiled(paths: int, gradient: bool = True):
    def prepare() -> Case:
        import fastgrad
        from fastgrad import Value

        rows = normals(paths)
        interval = Value(INTERVAL)
        rates = [Value(RATE) for _ in range(RATES)]
        volatilities = [Value(VOLATILITY) for _ in range(RATES)]
        parameters = [interval, *rates, *volatilities]

        @fastgrad.compile
        def price(row):
            return portfolio(interval, rates, volatilities, row, interval.sqrt(), Value.exp, Value.relu)

        state = {}

        def step() -> None:
            if gradient:
                for parameter in parameters:
                    parameter.grad = 0.0
                state["numbers"] = [price.backward(rows), *(parameter.grad for parameter in parameters)]
            else:
                state["numbers"] = [float(numpy.mean(price(rows)))]

        return Case({"step": step}, lambda: state["numbers"])

    return prepare


def on_jax(paths: int, gradient: bool = True):
    """Rates as arrays: the drift is a cumulative sum, the steps a scan.

    Unrolled, the same program took jax two minutes to compile and ran no faster.
    """

    def prepare() -> Case:
        import jax
        import jax.numpy as jnp

        rows = jnp.asarray(normals(paths))
        maturities = jnp.repeat(jnp.array(MATURITIES), len(SWAP_RATES)) - 1
        swap_rates = jnp.tile(jnp.array(SWAP_RATES), len(MATURITIES))

        indices = jnp.arange(RATES)

        def price(market, row):
            interval, rates, volatilities = market

            def step(rates, now):
                number, normal = now
                later = indices > number
                a = jnp.where(later, volatilities[indices - number - 1], 0.0)
                scale = interval * a
                drift = jnp.cumsum(scale * rates / (1 + interval * rates))
                factor = jnp.exp(scale * drift + a * (jnp.sqrt(interval) * normal - scale / 2))
                return jnp.where(later, rates * factor, rates), None

            rates, _ = jax.lax.scan(step, rates, (jnp.arange(STEPS), row))
            bonds = jnp.cumprod(1 / (1 + interval * rates[STEPS:]))
            annuities = jnp.cumsum(interval * bonds)
            swaps = bonds[maturities] + swap_rates * annuities[maturities] - 1
            return -100 * jnp.minimum(swaps, 0).sum() / jnp.prod(1 + interval * rates[:STEPS])

        each = jax.value_and_grad(price) if gradient else price
        market = (jnp.array(INTERVAL), jnp.full(RATES, RATE), jnp.full(RATES, VOLATILITY))

        @jax.jit
        def mean(market, rows):
            return jax.tree.map(lambda numbers: numbers.mean(0), jax.vmap(each, (None, 0))(market, rows))

        state = {}

        def step() -> None:
            state["result"] = jax.block_until_ready(mean(market, rows))

        def numbers() -> list[float]:
            if not gradient:
                return [float(state["result"])]
            value, (interval, rates, volatilities) = state["result"]
            return [float(value), float(interval), *rates.tolist(), *volatilities.tolist()]

        return Case({"step": step}, numbers)

    return prepare


def on_c(paths: int, gradient: bool = True, lanes: int = 16):
    def prepare() -> Case:
        from benchmarks import native

        library = native.load("libor", f"LANES={lanes}")
        rows = numpy.ascontiguousarray(normals(paths))
        vector = ctypes.c_double * RATES
        result = (ctypes.c_double * (2 + 2 * RATES if gradient else 1))()
        function = library.gradient if gradient else library.price
        market = ctypes.c_double(INTERVAL), vector(*[RATE] * RATES), vector(*[VOLATILITY] * RATES)

        def step() -> None:
            function(ctypes.c_void_p(rows.ctypes.data), ctypes.c_ssize_t(paths), *market, result)

        return Case({"step": step}, lambda: list(result))

    return prepare


def on_values(paths: int):
    """Path by path on Values, gradients accumulating."""

    def prepare() -> Case:
        from fastgrad import Value

        rows = normals(paths).tolist()
        interval = Value(INTERVAL)
        rates = [Value(RATE) for _ in range(RATES)]
        volatilities = [Value(VOLATILITY) for _ in range(RATES)]
        parameters = [interval, *rates, *volatilities]
        state = {}

        def step() -> None:
            for parameter in parameters:
                parameter.grad = 0.0
            total = 0.0
            for row in rows:
                price = portfolio(interval, rates, volatilities, row, interval.sqrt(), Value.exp, Value.relu)
                price.backward()
                total += price.data
            state["numbers"] = [total / paths, *(parameter.grad / paths for parameter in parameters)]

        return Case({"step": step}, lambda: state["numbers"])

    return prepare


def adjoint_factor_cases(paths: int) -> dict:
    """The price alone, of each implementation: what its price and gradient are measured against."""
    return {
        "compiled": on_compiled(paths, False),
        "jax": on_jax(paths, False),
        "c": on_c(paths, False),
        "c-rows": on_c(paths, False, lanes=1),
    }


def cases(paths: int, shares=None) -> dict:
    """The price and its gradient; those with a share take the first paths only."""
    shares = shares or {}
    return {
        "fastgrad": on_values(paths // shares.get("fastgrad", 1)),
        "compiled": on_compiled(paths),
        "jax": on_jax(paths),
        "c": on_c(paths),
        "c-rows": on_c(paths, lanes=1),
    }


SHARES = {"fastgrad": 256}
WORKLOADS = [
    one_step(
        "libor",
        f"LIBOR swaptions, {PATHS} paths, price and 161 sensitivities",
        cases(PATHS, SHARES),
        shares=SHARES,
        reference="compiled",
    ),
    one_step(
        "libor-price",
        f"LIBOR swaptions, {PATHS} paths, price alone",
        adjoint_factor_cases(PATHS),
        reference="compiled",
    ),
]
# Shares of the paths have other numbers.
TIMED_ONLY = ("libor",)


@pytest.mark.parametrize("implementation", cases(1))
def test_agreement_on_a_few_paths(implementation):
    test_agreement(one_step("libor", "a few paths", cases(32), reference="compiled"), implementation)
