"""An arithmetic Asian call over many paths of 252 steps: its price, and the derivatives by the market."""

import ctypes
from collections.abc import Mapping
from functools import cache
from math import sqrt

import numpy

from benchmarks.case import Case

STEPS = 252
STRIKE = 100.0
MARKET = (100.0, 0.03, 0.2)


@cache
def normals(paths: int) -> numpy.ndarray:
    """The paths' random numbers, one row a path, the same for every implementation."""
    return numpy.random.default_rng(7).normal(size=(paths, STEPS))


def payoff(spot, rate, volatility, row, exp, relu):
    """The discounted payoff of one path, over any scalars."""
    drift = (rate - volatility * volatility * 0.5) * (1 / STEPS)
    scale = volatility * (1 / sqrt(STEPS))
    total = 0.0
    for normal in row:
        spot = spot * exp(drift + scale * normal)
        total = total + spot
    return exp(rate * -1.0) * relu(total * (1 / STEPS) - STRIKE)


def on_values(paths: int):
    """Path by path on Values, gradients accumulating."""

    def prepare() -> Case:
        from fastgrad import Value

        rows = normals(paths)
        market = [Value(number) for number in MARKET]
        state = {}

        def step() -> None:
            for value in market:
                value.grad = 0.0
            total = 0.0
            for row in rows:
                price = payoff(*market, row.tolist(), Value.exp, Value.relu)
                price.backward()
                total += price.data
            state["price"] = total / paths

        return Case({"step": step}, lambda: [state["price"], *(value.grad / paths for value in market)])

    return prepare


def market_of_values():
    from fastgrad import Value

    return [Value(number) for number in MARKET]


def compiled_price(market):
    """The payoff of one path, compiled."""
    import fastgrad
    from fastgrad import Value

    return fastgrad.compile(lambda row: payoff(*market, row, Value.exp, Value.relu))


def on_compiled(paths: int):
    """The same payoff of one path, compiled."""

    def prepare() -> Case:
        rows, market = normals(paths), market_of_values()
        price = compiled_price(market)
        state = {}

        def step() -> None:
            for value in market:
                value.grad = 0.0
            state["price"] = price.backward(rows)

        return Case({"step": step}, lambda: [state["price"], *(value.grad for value in market)])

    return prepare


def on_jax(paths: int):
    """vmap of value_and_grad under jit, the steps of a path as one cumulative sum."""

    def prepare() -> Case:
        import jax
        import jax.numpy as jnp

        rows = jnp.asarray(normals(paths))

        def price(market, row):
            spot, rate, volatility = market
            drift = (rate - volatility * volatility * 0.5) / STEPS
            prices = spot * jnp.exp(jnp.cumsum(drift + volatility / sqrt(STEPS) * row))
            return jnp.exp(-rate) * jax.nn.relu(prices.mean() - STRIKE)

        @jax.jit
        def compiled(market, rows):
            each = jax.vmap(jax.value_and_grad(price), in_axes=(None, 0))(market, rows)
            return jax.tree.map(lambda numbers: numbers.mean(0), each)

        state = {}

        def step() -> None:
            state["result"] = jax.block_until_ready(compiled(MARKET, rows))

        return Case({"step": step}, lambda: [float(state["result"][0]), *map(float, state["result"][1])])

    return prepare


def on_casadi(paths: int):
    """One path's payoff and gradient as an expression, mapped over the paths."""

    def prepare() -> Case:
        import casadi

        market, row = casadi.SX.sym("market", 3), casadi.SX.sym("row", STEPS)
        price = payoff(
            *casadi.vertsplit(market), casadi.vertsplit(row), casadi.exp, lambda x: casadi.fmax(x, 0)
        )
        batch = casadi.Function("path", [market, row], [price, casadi.gradient(price, market)]).map(paths)
        rows = casadi.DM(normals(paths).T)
        state = {}

        def step() -> None:
            prices, gradients = batch(MARKET, rows)
            means = casadi.sum2(casadi.vertcat(prices, gradients)) / paths
            state["numbers"] = means.full().ravel().tolist()

        return Case({"step": step}, lambda: state["numbers"])

    return prepare


def on_xad(paths: int):
    """Path by path on xad's reals, gradients accumulating."""

    def prepare() -> Case:
        from benchmarks.scalars import SCALARS

        rows = normals(paths)
        scalars = SCALARS["xad"]()
        state = {}

        def step() -> None:
            totals = numpy.zeros(4)
            for row in rows:
                market = [scalars.leaf(number) for number in MARKET]
                scalars.start(market)
                price = payoff(*market, row.tolist(), scalars.exp, scalars.relu)
                scalars.backward(price)
                totals += [scalars.value(price), *map(scalars.gradient, market)]
            state["numbers"] = (totals / paths).tolist()

        return Case({"step": step}, lambda: state["numbers"])

    return prepare


def on_c(paths: int):
    """The adjoint written out in C."""

    def prepare() -> Case:
        from benchmarks import native

        library = native.load("asian", f"STEPS={STEPS}")
        rows = numpy.ascontiguousarray(normals(paths))
        result = (ctypes.c_double * 4)()
        numbers = [ctypes.c_double(number) for number in (*MARKET, STRIKE)]

        def step() -> None:
            library.asian(ctypes.c_void_p(rows.ctypes.data), ctypes.c_ssize_t(paths), *numbers, result)

        return Case({"step": step}, lambda: list(result))

    return prepare


IMPLEMENTATIONS = {
    "fastgrad": on_values,
    "compiled": on_compiled,
    "jax": on_jax,
    "xad": on_xad,
    "casadi": on_casadi,
    "c": on_c,
}


def cases(paths: int, shares: Mapping[str, int] | None = None):
    """Every implementation of the price and its gradient; those with a share take the first paths only."""
    return {name: on(paths // (shares or {}).get(name, 1)) for name, on in IMPLEMENTATIONS.items()}
