/* The likelihoods of GARCH(1,1) and of a Kalman filter over ROWS numbers, with their derivatives by the three
   parameters: forward with the states kept, and back by hand. */
#include <math.h>
#include <stddef.h>
void garch(const double *x, double omega, double alpha, double beta, double *out) {
    static double h[ROWS + 1];
    double total = 0, d_omega = 0, d_alpha = 0, d_beta = 0, g = 0;
    h[0] = 1;
    for (ptrdiff_t t = 0; t < ROWS; t++) {
        total += log(h[t]) + x[t] * x[t] / h[t];
        h[t + 1] = omega + alpha * x[t] * x[t] + beta * h[t];
    }
    for (ptrdiff_t t = ROWS - 1; t >= 0; t--) {
        d_omega += g;
        d_alpha += g * x[t] * x[t];
        d_beta += g * h[t];
        g = g * beta + (1 - x[t] * x[t] / h[t]) / h[t];
    }
    out[0] = total; out[1] = d_omega; out[2] = d_alpha; out[3] = d_beta;
}
void kalman(const double *y, double phi, double q, double r, double *out) {
    static double m[ROWS + 1], p[ROWS + 1];
    double total = 0, d_phi = 0, d_q = 0, d_r = 0, dm = 0, dp = 0;
    m[0] = 0; p[0] = 1;
    for (ptrdiff_t t = 0; t < ROWS; t++) {
        double mean = phi * m[t], before = phi * phi * p[t] + q, v = y[t] - mean, s = before + r, k = before / s;
        total += log(s) + v * v / s;
        m[t + 1] = mean + k * v;
        p[t + 1] = (1 - k) * before;
    }
    for (ptrdiff_t t = ROWS - 1; t >= 0; t--) {
        double mean = phi * m[t], before = phi * phi * p[t] + q, v = y[t] - mean, s = before + r, k = before / s;
        double dk = dm * v - dp * before, dv = 2 * v / s + dm * k;
        double ds = (1 - v * v / s - dk * k) / s, d_before = dp * (1 - k) + dk / s + ds, d_mean = dm - dv;
        d_r += ds;
        d_q += d_before;
        d_phi += 2 * d_before * phi * p[t] + d_mean * m[t];
        dm = d_mean * phi;
        dp = d_before * phi * phi;
    }
    out[0] = total; out[1] = d_phi; out[2] = d_q; out[3] = d_r;
}
