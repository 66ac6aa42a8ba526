// Functions of the C library that JavaScript's Math has not, or has with other results at special numbers.
const special = (() => {
  "use strict";
  const EULER = 0.57721566490153286;

  // C says 1 for 1**y and x**0 whatever the other is, and for (-1)**inf; Math.pow says nan.
  const pow = (a, b) => (a === 1 || (a === -1 && Math.abs(b) === Infinity) ? 1 : Math.pow(a, b));
  const signbit = (x) => x < 0 || Object.is(x, -0);
  const copysign = (x, y) => (signbit(x) === signbit(y) ? x : -x);
  // The other operand where one is nan.
  const fmax = (x, y) => (x !== x ? y : y !== y ? x : Math.max(x, y));
  const fmin = (x, y) => (x !== x ? y : y !== y ? x : Math.min(x, y));
  const hypot = (x, y) => Math.hypot(x, y);
  const fmod = (x, y) => x % y;
  const isnan = (x) => x !== x;
  const isinf = (x) => Math.abs(x) === Infinity;
  // Half away from zero; half to even.
  const round = (x) => copysign(Math.floor(Math.abs(x)) + (Math.abs(x) % 1 >= 0.5 ? 1 : 0), x);
  const rint = (x) => {
    const low = Math.floor(x);
    const near = x - low === 0.5 ? (low % 2 === 0 ? low : low + 1) : Math.round(x);
    return Math.abs(x) < 2 ** 52 ? copysign(Math.abs(near), x) : x;
  };

  // erf by its series of positive terms (Abramowitz and Stegun 7.1.6), erfc by its continued fraction (7.1.14).
  const erfSeries = (x) => {
    let term = x, sum = x;
    for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) {
      term *= (2 * x * x) / (2 * n + 1);
      sum += term;
    }
    return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
  };
  const erfcFraction = (x) => {
    let rest = x;
    for (let n = 120; n > 0; n--) rest = x + n / 2 / rest;
    return Math.exp(-x * x) / Math.sqrt(Math.PI) / rest;
  };
  const erf = (x) => {
    if (x !== x) return x;
    if (Math.abs(x) > 6) return Math.sign(x);
    return Math.abs(x) < 2 ? erfSeries(x) : Math.sign(x) * (1 - erfcFraction(Math.abs(x)));
  };
  const erfc = (x) => {
    if (x !== x) return x;
    if (x > 27.3) return 0;
    if (x < -6) return 2;
    if (x >= 2) return erfcFraction(x);
    return x <= -2 ? 2 - erfcFraction(-x) : 1 - erfSeries(x);
  };

  // zeta(k) - 1: ten terms and the rest by Euler and Maclaurin.
  const ZETA = Array.from({ length: 60 }, (_, k) => {
    if (k < 2) return 0;
    let sum = 0;
    for (let n = 2; n < 20; n++) sum += n ** -k;
    return (
      sum + 20 ** (1 - k) / (k - 1) + 20 ** -k / 2 + (k * 20 ** (-k - 1)) / 12 -
      (k * (k + 1) * (k + 2) * 20 ** (-k - 3)) / 720 +
      (k * (k + 1) * (k + 2) * (k + 3) * (k + 4) * 20 ** (-k - 5)) / 30240 -
      (k * (k + 1) * (k + 2) * (k + 3) * (k + 4) * (k + 5) * (k + 6) * 20 ** (-k - 7)) / 1209600
    );
  });
  // log(gamma(2 + z)) for |z| <= 1/2: Abramowitz and Stegun 6.1.33, which keeps its digits near the zeros.
  const lgammaNearTwo = (z) => {
    let sum = z * (1 - EULER);
    for (let k = 2; k < 60; k++) sum += (ZETA[k] * (-z) ** k) / k;
    return sum;
  };
  const STIRLING = [1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156];
  const sine = (x) => {
    const rest = x % 2;
    return Math.abs(rest) % 1 === 0 ? 0 : Math.sin(Math.PI * rest);
  };
  const lgamma = (x) => {
    if (x !== x) return x;
    if (Math.abs(x) === Infinity) return Infinity;
    if (x <= 0 && Math.floor(x) === x) return Infinity;
    if (Math.abs(x) < 1e-20) return -Math.log(Math.abs(x));
    if (x < 0) return Math.log(Math.PI / Math.abs(sine(x) * x)) - lgamma(-x);
    if (x < 0.5) return lgammaNearTwo(x) - Math.log1p(x) - Math.log(x);
    if (x < 1.5) return lgammaNearTwo(x - 1) - Math.log1p(x - 1);
    let factor = 1;
    while (x >= 2.5 && x < 12) factor *= --x;
    if (x < 2.5) return lgammaNearTwo(x - 2) + Math.log(factor);
    let sum = 0;
    for (let k = STIRLING.length; k > 0; k--) sum = (sum + STIRLING[k - 1]) / (k > 1 ? x * x : x);
    return (x - 0.5) * Math.log(x) - x + 0.91893853320467274 + sum;
  };
  const tgamma = (x) => {
    if (x === 0) return 1 / x;
    if (x === -Infinity || (x < 0 && Math.floor(x) === x)) return NaN;
    if (x > 0 && x < 171 && Math.floor(x) === x) {
      let product = 1;
      for (let n = 2; n < x; n++) product *= n;
      return product;
    }
    if (x < 0.5) return Math.PI / (sine(x) * tgamma(1 - x));
    return Math.exp(lgamma(x));
  };

  // The derivatives of lgamma: shifted to where the asymptotic series (6.3.18, 6.4.12) is exact.
  const digamma = (x) => {
    if (x !== x || x === Infinity) return x;
    if (x === -Infinity || (x < 0 && Math.floor(x) === x)) return NaN;
    if (x === 0) return -1 / x;
    if (x < 0) {
      const rest = x % 1;
      return digamma(1 - x) - Math.PI / Math.tan(Math.PI * rest);
    }
    let shift = 0;
    for (; x < 15; x++) shift += 1 / x;
    const y = 1 / (x * x);
    const series = y * (1 / 12 - y * (1 / 120 - y * (1 / 252 - y * (1 / 240 - y * (1 / 132 - (y * 691) / 32760)))));
    return Math.log(x) - 0.5 / x - series - shift;
  };
  const trigamma = (x) => {
    if (x !== x) return x;
    if (x === Infinity) return 0;
    if (x === -Infinity) return NaN;
    if (x <= 0 && Math.floor(x) === x) return Infinity;
    if (x < 0) return (Math.PI / sine(x)) ** 2 - trigamma(1 - x);
    let shift = 0;
    for (; x < 15; x++) shift += 1 / (x * x);
    const y = 1 / (x * x);
    const series = (1 / x) * y * (1 / 6 - y * (1 / 30 - y * (1 / 42 - y * (1 / 30 - (y * 5) / 66))));
    return shift + 1 / x + y / 2 + series;
  };

  return {
    copysign, digamma, erf, erfc, fmax, fmin, fmod, hypot, isinf, isnan, lgamma, pow, rint, round, signbit,
    tgamma, trigamma,
  };
})();
