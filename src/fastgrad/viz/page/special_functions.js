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

  // The derivatives of lgamma, as in engine.src/arithmetic/special.h: reflection left of 0 (Abramowitz and Stegun
  // 6.3.7); on [1, 2] a polynomial that interpolates psi(x) / (x - root); the recurrence (6.3.5) leads there from
  // below 10, and the asymptotic series (6.3.18) serves the rest.
  const NEAR_ROOT = [
    0.95105587603183295, -0.21181371064073026, 0.060135621060193552, -0.018550615381738605,
    0.0059367952784338263, -0.0019350666647832667, 0.00063688802831907403, -0.00021074841215733007,
    6.9950204841606249e-5, -2.3258238284313759e-5, 7.7411568812537078e-6, -2.5781078482702171e-6,
    8.5913242224176664e-7, -2.8628755280038686e-7, 9.5009261929240957e-8, -3.1666180720271619e-8,
    1.1037088438854299e-8, -3.6788868183645545e-9, 8.6682573737616577e-10, -2.8893636392161113e-10,
    2.4765474440031764e-10, -8.2551297200810405e-11,
  ];
  const cotPi = (x) => {
    const part = x - rint(x), size = Math.abs(part);
    const cot = size > 0.25 ? Math.tan(Math.PI * (0.5 - size)) : 1 / Math.tan(Math.PI * size);
    return part < 0 ? -cot : cot;
  };
  const digamma = (x) => {
    if (x !== x || x === Infinity) return x;
    if (x === 0) return copysign(Infinity, -x);
    let sum = 0;
    if (x < 0) {
      if (x === Math.floor(x)) return NaN;
      sum = -Math.PI * cotPi(x);
      x = 1 - x;
    }
    if (x >= 10) {
      const z = (1 / x) ** 2;
      const series = 1 / 12 - z * (1 / 120 - z * (1 / 252 - z * (1 / 240 - z * (1 / 132 - z * (691 / 32760 - z / 12)))));
      return sum + (Math.log(x) - 0.5 / x - z * series);
    }
    if (x < 1) {
      sum -= 1 / x;
      x += 1;
    }
    let value = 0;
    while (x > 2) {
      x -= 1;
      value += 1 / x;
    }
    const near = NEAR_ROOT.reduceRight((total, coefficient) => total * (2 * x - 3) + coefficient);
    return sum + (value + near * (x - 1.4616321449683622 - 9.549995429965697e-17));
  };
  // B(2k) / (2k)!
  const BERNOULLI = [
    1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000, 1 / 74724249600,
    -3617 / 10670622842880000, 43867 / 5109094217170944000, -174611 / 802857662698291200000,
  ];
  // n! times the Hurwitz zeta function of n + 1, by Euler and Maclaurin.
  const factorialZeta = (n, x) => {
    const s = n + 1;
    let factorial = 1, sum = 0;
    for (let k = 2; k <= n; k++) factorial *= k;
    for (; x < 10 + s; x += 1) sum += Math.pow(x, -s);
    let rest = 0.5, factor = s / x;
    BERNOULLI.forEach((number, k) => {
      rest += number * factor;
      factor *= ((s + 2 * k + 1) * (s + 2 * k + 2)) / (x * x);
    });
    // Not Math.pow(x, -s) times x: that may be 0 where the product is not.
    return factorial * (sum + Math.pow(x, -n) * (1 / n + rest / x));
  };
  const polygamma = (order, x) => {
    if (order !== order || x !== x) return NaN;
    const n = order >= 0 && order <= 100 ? Math.trunc(order) : -1;
    if (n < 0 || n !== order) return NaN;
    if (n === 0) return digamma(x);
    if (x > 0) {
      const value = x < Infinity ? factorialZeta(n, x) : 0;
      return n % 2 ? value : -value;
    }
    if (x === Math.floor(x)) return n % 2 && x > -Infinity ? Infinity : NaN;
    // The derivatives of cot are polynomials in it: that of a power c^k is -k (c^(k-1) + c^(k+1)).
    let polynomial = [0, 1], scale = Math.PI;
    for (let step = 1; step <= n; step++) {
      scale *= Math.PI;
      const next = new Array(step + 2).fill(0);
      polynomial.forEach((coefficient, k) => {
        if (k > 0) next[k - 1] -= k * coefficient;
        if (k > 0) next[k + 1] -= k * coefficient;
      });
      polynomial = next;
    }
    const cot = cotPi(x);
    const value = polynomial.reduceRight((total, coefficient) => total * cot + coefficient);
    return -factorialZeta(n, 1 - x) - scale * value;
  };
  const trigamma = (x) => polygamma(1, x);
  // Python's a % b: of the sign of b.
  const mod = (a, b) => {
    const rest = a % b;
    if (rest === 0) return copysign(0, b);
    return rest < 0 === b < 0 || rest !== rest ? rest : rest + b;
  };

  return {
    copysign, digamma, erf, erfc, fmax, fmin, fmod, hypot, isinf, isnan, lgamma, mod, polygamma, pow, rint, round,
    signbit, tgamma, trigamma,
  };
})();
