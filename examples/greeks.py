"""Price an option over many paths, and all its sensitivities from one adjoint run.

An arithmetic Asian call, whose payoff depends on the average of 252 daily prices, is written for ONE path in
ordinary Value arithmetic and compiled. One call of `backward` prices it over all paths and leaves the
derivatives of the price by spot, rate and volatility in `.grad`. They are checked against central differences
on the same paths, and the same program for a European call against Black and Scholes' closed form (1973).

    python examples/greeks.py --paths 100000 --threads 2
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np

from fastgrad import Value, compile
from fastgrad.engine import zero_grad

STEPS = 252
STRIKE = 100.0
YEARS = 1.0
NAMES = ("spot", "rate", "volatility")

market = [Value(100.0), Value(0.03), Value(0.2)]


def path(normals: Sequence[Value]) -> list[Value]:
    """Return the prices of one path: geometric Brownian motion, exact at the steps."""
    spot, rate, volatility = market
    step = YEARS / len(normals)
    drift = (rate - volatility * volatility * 0.5) * step
    scale = volatility * math.sqrt(step)
    prices = []
    for normal in normals:
        spot = spot * (drift + scale * normal).exp()
        prices.append(spot)
    return prices


def discounted(payoff: Value) -> Value:
    """Return the value today of what is paid at the end."""
    return (market[1] * -YEARS).exp() * payoff


@compile
def asian_call(normals):
    prices = path(normals)
    return discounted((sum(prices) * (1.0 / len(prices)) - STRIKE).relu())


@compile
def european_call(normals):
    return discounted((path(normals)[-1] - STRIKE).relu())


def price_and_sensitivities(option: Callable, normals: np.ndarray, threads: int) -> np.ndarray:
    """Return the mean payoff and its derivatives by spot, rate and volatility."""
    zero_grad(market)
    price = option.backward(normals, threads=threads)
    return np.array([price, *(value.grad for value in market)])


def central_differences(option: Callable, normals: np.ndarray, threads: int) -> np.ndarray:
    """Return the price and its derivatives by nudging each number of the market, on the same paths."""
    result = [option(normals, threads=threads).mean()]
    for value in market:
        kept = value.data
        # The payoff has a kink: a nudge moves a few paths across it, so the error falls with the nudge.
        nudge = 1e-5 * kept
        sides = []
        for sign in (1, -1):
            value.data = kept + sign * nudge
            sides.append(option(normals, threads=threads).mean())
        value.data = kept
        result.append((sides[0] - sides[1]) / (2 * nudge))
    return np.array(result)


def black_scholes() -> np.ndarray:
    """Return the price of the European call and its derivatives, in closed form."""
    spot, rate, volatility = (value.data for value in market)
    normal = statistics.NormalDist()
    spread = volatility * math.sqrt(YEARS)
    d1 = (math.log(spot / STRIKE) + (rate + volatility**2 / 2) * YEARS) / spread
    d2 = d1 - spread
    paid = STRIKE * math.exp(-rate * YEARS) * normal.cdf(d2)
    return np.array(
        [
            spot * normal.cdf(d1) - paid,
            normal.cdf(d1),
            paid * YEARS,
            spot * normal.pdf(d1) * math.sqrt(YEARS),
        ]
    )


def show(title: str, columns: dict[str, np.ndarray]) -> None:
    """Print price and sensitivities, a column a method."""
    print(title)
    print(" " * 12 + "".join(f"{name:>22}" for name in columns))
    for row, name in enumerate(("price", *NAMES)):
        print(f"{name:>12}" + "".join(f"{column[row]:22.8f}" for column in columns.values()))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--paths", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    # Each path and its mirror image: the same number of payoffs at half the variance or less.
    half = np.random.default_rng(options.seed).normal(size=((options.paths + 1) // 2, STEPS))
    normals = np.concatenate([half, -half])

    price_and_sensitivities(asian_call, normals[:100], options.threads)
    start = time.perf_counter()
    adjoint = price_and_sensitivities(asian_call, normals, options.threads)
    seconds = time.perf_counter() - start
    differences = central_differences(asian_call, normals, options.threads)
    show(
        f"Asian call, {len(normals)} paths of {STEPS} steps: price and gradient in {seconds * 1e3:.0f} ms",
        {"adjoint": adjoint, "central differences": differences},
    )
    np.testing.assert_allclose(adjoint, differences, rtol=2e-3)

    # One step is enough for a European call, and leaves only the error of sampling.
    last = normals.sum(axis=1, keepdims=True) / math.sqrt(STEPS)
    sampled = price_and_sensitivities(european_call, last, options.threads)
    exact = black_scholes()
    show("\nEuropean call", {"adjoint": sampled, "Black and Scholes": exact})
    np.testing.assert_allclose(sampled, exact, rtol=8 / math.sqrt(len(normals)))


if __name__ == "__main__":
    main()
