/* Functions of the table of operations that the C library has not. They return inf or nan where there is no
   result, and never set errno. */

#ifndef FASTGRAD_SPECIAL_H
#define FASTGRAD_SPECIAL_H

#include <math.h>

#define FASTGRAD_PI 3.14159265358979323846

/* Once a module: what calls them is inlined in many places. */
#if defined(_MSC_VER)
#define FASTGRAD_SPECIAL static __declspec(noinline)
#else
#define FASTGRAD_SPECIAL static __attribute__((noinline, unused))
#endif

/* Python's a % b: of the sign of b. */
FASTGRAD_SPECIAL double fastgrad_mod(double a, double b) {
    const double rest = fmod(a, b);
    if (rest == 0.0) return copysign(0.0, b);
    return (rest < 0.0) == (b < 0.0) ? rest : rest + b;
}

/* cot(pi x), to within a few ulp also where it is small: x is reduced exactly. */
FASTGRAD_SPECIAL double fastgrad_cot_pi(double x) {
    const double part = x - rint(x), size = fabs(part);
    const double cot = size > 0.25 ? tan(FASTGRAD_PI * (0.5 - size)) : 1.0 / tan(FASTGRAD_PI * size);
    return part < 0.0 ? -cot : cot;
}

/* The derivative of lgamma. Left of 0 by reflection (Abramowitz and Stegun 6.3.7); on [1, 2] a polynomial that
   interpolates psi(x) / (x - root) at Chebyshev's nodes, so that nothing is lost near the root; the recurrence
   (6.3.5) leads there from below 10, and the asymptotic series (6.3.18) serves the rest. */
FASTGRAD_SPECIAL double fastgrad_digamma(double x) {
    static const double near_root[] = {
        0.95105587603183295, -0.21181371064073026, 0.060135621060193552, -0.018550615381738605,
        0.0059367952784338263, -0.0019350666647832667, 0.00063688802831907403, -0.00021074841215733007,
        6.9950204841606249e-05, -2.3258238284313759e-05, 7.7411568812537078e-06, -2.5781078482702171e-06,
        8.5913242224176664e-07, -2.8628755280038686e-07, 9.5009261929240957e-08, -3.1666180720271619e-08,
        1.1037088438854299e-08, -3.6788868183645545e-09, 8.6682573737616577e-10, -2.8893636392161113e-10,
        2.4765474440031764e-10, -8.2551297200810405e-11,
    };
    double sum = 0.0, value, z;
    int k;
    if (x == 0.0) return copysign(INFINITY, -x);
    if (x < 0.0) {
        if (x == floor(x)) return NAN;
        sum = -FASTGRAD_PI * fastgrad_cot_pi(x);
        x = 1.0 - x;
    }
    if (!(x < 10.0)) {
        z = 1.0 / x;
        z *= z;
        value = z * (1.0 / 12 - z * (1.0 / 120 - z * (1.0 / 252 - z * (1.0 / 240 - z * (1.0 / 132
            - z * (691.0 / 32760 - z / 12))))));
        return sum + (log(x) - 0.5 / x - value);
    }
    if (x < 1.0) {
        sum -= 1.0 / x;
        x += 1.0;
    }
    for (value = 0.0; x > 2.0;) {
        x -= 1.0;
        value += 1.0 / x;
    }
    z = near_root[21];
    for (k = 20; k >= 0; k--) z = z * (2.0 * x - 3.0) + near_root[k];
    return sum + (value + z * (x - 1.4616321449683622 - 9.549995429965697e-17));
}

/* n! times the Hurwitz zeta function of n + 1, by Euler and Maclaurin (Johansson, "Rigorous high-precision
   computation of the Hurwitz zeta function", 2015, section 2), for x > 0. */
FASTGRAD_SPECIAL double fastgrad_factorial_zeta(int n, double x) {
    /* B(2k) / (2k)! */
    static const double bernoulli[] = {
        1.0 / 12, -1.0 / 720, 1.0 / 30240, -1.0 / 1209600, 1.0 / 47900160, -691.0 / 1307674368000.0,
        1.0 / 74724249600.0, -3617.0 / 10670622842880000.0, 43867.0 / 5109094217170944000.0,
        -174611.0 / 802857662698291200000.0,
    };
    const double s = n + 1.0;
    double factorial = 1.0, sum = 0.0, rest, factor;
    int k;
    for (k = 2; k <= n; k++) factorial *= k;
    for (; x < 10.0 + s; x += 1.0) sum += pow(x, -s);
    rest = 0.5;
    factor = s / x;
    for (k = 0; k < 10; k++) {
        rest += bernoulli[k] * factor;
        factor *= (s + 2 * k + 1) * (s + 2 * k + 2) / (x * x);
    }
    /* Not pow(x, -s) times x: that may be 0 where the product is not. */
    return factorial * (sum + pow(x, -(double)n) * (1.0 / n + rest / x));
}

/* The n-th derivative of digamma: nan unless n is a whole number from 0 to 100. */
FASTGRAD_SPECIAL double fastgrad_polygamma(double order, double x) {
    /* d^n cot(u) / du^n is a polynomial in cot(u). */
    double polynomial[103] = {0.0, 1.0}, cot, value, scale = FASTGRAD_PI;
    const int known = order >= 0.0 && order <= 100.0 && order == floor(order) && x == x;
    const int n = known ? (int)order : 0;
    int k, step;
    if (!known) return order != order ? order : x != x ? x : NAN;
    if (n == 0) return fastgrad_digamma(x);
    if (x > 0.0) {
        value = x < INFINITY ? fastgrad_factorial_zeta(n, x) : 0.0;
        return n % 2 ? value : -value;
    }
    if (x == floor(x)) return n % 2 && x > -INFINITY ? INFINITY : NAN;
    cot = fastgrad_cot_pi(x);
    for (step = 1; step <= n; step++) {
        scale *= FASTGRAD_PI;
        /* The derivative by u of a power c^k is -k (c^(k-1) + c^(k+1)). */
        for (k = 0; k <= step + 1; k++) {
            /* All exponents have one parity, so the other places are free for the new coefficients. */
            if ((k + step) % 2 == 0) continue;
            polynomial[k] = -((k + 1) * polynomial[k + 1] + (k > 0 ? (k - 1) * polynomial[k - 1] : 0.0));
        }
        for (k = 0; k <= step + 1; k++) {
            if ((k + step) % 2 == 0) polynomial[k] = 0.0;
        }
    }
    for (value = polynomial[n + 1], k = n; k >= 0; k--) value = value * cot + polynomial[k];
    return -fastgrad_factorial_zeta(n, 1.0 - x) - scale * value;
}

#endif
