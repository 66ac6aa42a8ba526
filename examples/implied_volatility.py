"""The volatility that an option's price implies: Black and Scholes' formula inverted, for many prices.

Newton's method needs the price and its derivative by the volatility; Halley's, which is used here, the second
derivative as well. A compiled function gives them for every row: one call a step for all options.

    python examples/implied_volatility.py --options 10000
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np

import fastgrad.functional as F
from fastgrad import Value, compile

# Abramowitz and Stegun, "Handbook of Mathematical Functions" (1964), 26.2.17: the error is below 7.5e-8.
COEFFICIENTS = (1.330274429, -1.821255978, 1.781477937, -0.356563782, 0.319381530)


def normal_cdf(x: Value) -> Value:
    """Return the probability that a standard normal number is below x."""
    # Not abs(x), whose derivative at 0 is 0.
    t = 1.0 / (1.0 + 0.2316419 * F.where(x, x, -x))
    polynomial: Value | float = 0.0
    for coefficient in COEFFICIENTS:
        polynomial = (polynomial + coefficient) * t
    tail = polynomial * (-0.5 * x * x).exp() / math.sqrt(2 * math.pi)
    return F.where(x, 1.0 - tail, tail)


@compile
def price(volatility: Value, spot: Value, strike: Value, years: Value, rate: Value) -> Value:
    """Return the price of the right to buy at the strike."""
    spread = volatility * years.sqrt()
    d = ((spot / strike).log() + rate * years) / spread + 0.5 * spread
    return spot * normal_cdf(d) - strike * (-rate * years).exp() * normal_cdf(d - spread)


def implied_volatility(prices: np.ndarray, *market: np.ndarray, steps: int = 12) -> np.ndarray:
    """Return the volatility at which each option has its price, by Halley's method.

    The start is where the price is steepest in the volatility (Manaster and Koehler, 1982), so that Newton's
    steps lead to the solution; Halley's go a little further or less far.
    """
    spot, strike, years, rate = market
    found = np.sqrt(2.0 * np.abs(np.log(spot / strike) + rate * years) / years).clip(0.1)
    for _ in range(steps):
        value, slope = price.value_and_grad(found, *market)
        newton = (value - prices) / slope
        curvature = price.hessian(found, *market)
        found -= newton / (1.0 - 0.5 * newton * curvature / slope).clip(0.8, 1.25)
    return found


def main(arguments: list[str] | None = None) -> None:
    """Price options, and find the volatilities again."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--options", type=int, default=10_000, help="how many (default: 10,000)")
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(0)
    market = [
        rng.uniform(low, high, options.options) for low, high in [(95, 105), (90, 110), (0.5, 2), (0, 0.05)]
    ]
    volatility = rng.uniform(0.1, 0.6, options.options)
    prices = price(volatility, *market)
    start = time.perf_counter()
    found = implied_volatility(prices, *market)
    elapsed = time.perf_counter() - start
    print(f"{options.options} volatilities in {elapsed * 1e3:.0f} ms")
    print(f"largest error of a price {abs(price(found, *market) - prices).max():.1e}")
    print(f"largest error of a volatility {abs(found - volatility).max():.1e}")


if __name__ == "__main__":
    main()
