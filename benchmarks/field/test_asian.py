"""The adjoint factor of benchmarks.option: the price and its gradient over the price alone."""

import numpy

from benchmarks.case import Case, Workload, test_agreement, test_speed  # noqa: F401
from benchmarks.option import MARKET, STEPS, compiled_price, market_of_values, normals

PATHS = 20_000


def on_compiled() -> Case:
    rows, market = normals(PATHS), market_of_values()
    price = compiled_price(market)
    state = {}

    def gradient() -> None:
        for value in market:
            value.grad = 0.0
        state["price"] = price.backward(rows)

    def alone() -> None:
        state["mean"] = float(numpy.mean(price(rows)))

    return Case(
        {"price": alone, "price and gradient": gradient},
        lambda: [state["mean"], state["price"], *(value.grad for value in market)],
    )


def on_jax() -> Case:
    import jax
    import jax.numpy as jnp

    rows = jnp.asarray(normals(PATHS))

    def price(market, rows):
        spot, rate, volatility = market
        drift = (rate - volatility * volatility * 0.5) / STEPS
        prices = spot * jnp.exp(jnp.cumsum(drift + volatility / STEPS**0.5 * rows, axis=1))
        return (jnp.exp(-rate) * jax.nn.relu(prices.mean(1) - 100.0)).mean()

    of_price, of_both = jax.jit(price), jax.jit(jax.value_and_grad(price))
    state = {}

    def alone() -> None:
        state["mean"] = jax.block_until_ready(of_price(MARKET, rows))

    def gradient() -> None:
        state["both"] = jax.block_until_ready(of_both(MARKET, rows))

    def numbers() -> list[float]:
        return [float(state["mean"]), float(state["both"][0]), *map(float, state["both"][1])]

    return Case({"price": alone, "price and gradient": gradient}, numbers)


WORKLOADS = [
    Workload(
        "asian-factor",
        f"Asian option, {PATHS:,} paths",
        ("price", "price and gradient"),
        1,
        "ms",
        {"compiled": on_compiled, "jax": on_jax},
        rounds=7,
        reference="compiled",
    )
]
