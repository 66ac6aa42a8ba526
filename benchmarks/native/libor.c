/* Giles' LIBOR swaptions over paths, and the derivatives by the forward rates, the volatilities and the
   interval: LANES paths side by side, and the adjoint back through what was kept of every rate and step. Paths
   are a multiple of LANES. */
#include <math.h>
#include <stddef.h>
#include <string.h>
enum { RATES = 80, STEPS = 40, SWAPTIONS = 15 };
#ifndef LANES
#define LANES 16
#endif
typedef double lanes[LANES];
#define EACH for (int l = 0; l < LANES; l++)

static const int maturity[SWAPTIONS] = {4, 4, 4, 8, 8, 8, 20, 20, 20, 28, 28, 28, 40, 40, 40};
static const double swap_rate[SWAPTIONS] = {.045, .05, .055, .045, .05, .055, .045, .05,
                                            .055, .045, .05, .055, .045, .05, .055};

static lanes L[STEPS + 1][RATES], factor[STEPS][RATES], inverse[STEPS][RATES], drift[STEPS][RATES];
static lanes bond[STEPS + 1], annuity[STEPS + 1], discounted[STEPS + 1], discount[STEPS + 1], z[STEPS];

static void forward(const double *Z, double delta, const double *rates, const double *volatility, lanes payoff) {
    const double root = sqrt(delta);
    EACH for (int n = 0; n < STEPS; n++) z[n][l] = Z[l * STEPS + n];
    for (int i = 0; i < RATES; i++) EACH L[0][i][l] = rates[i];
    for (int n = 0; n < STEPS; n++) {
        lanes v;
        EACH v[l] = 0;
        for (int i = 0; i <= n; i++) EACH L[n + 1][i][l] = L[n][i][l];
        for (int i = n + 1; i < RATES; i++) {
            const double a = volatility[i - n - 1], c = delta * a;
            EACH {
                double r = 1 / (1 + delta * L[n][i][l]);
                v[l] += c * L[n][i][l] * r;
                double f = exp(c * v[l] + a * (root * z[n][l] - c / 2));
                inverse[n][i][l] = r; drift[n][i][l] = v[l]; factor[n][i][l] = f;
                L[n + 1][i][l] = L[n][i][l] * f;
            }
        }
    }
    EACH { bond[0][l] = 1; annuity[0][l] = 0; discount[0][l] = 1; payoff[l] = 0; }
    for (int n = 0; n < STEPS; n++) EACH {
        bond[n + 1][l] = bond[n][l] / (1 + delta * L[STEPS][STEPS + n][l]);
        annuity[n + 1][l] = annuity[n][l] + delta * bond[n + 1][l];
    }
    for (int k = 0; k < SWAPTIONS; k++) EACH {
        double swap = bond[maturity[k]][l] + swap_rate[k] * annuity[maturity[k]][l] - 1;
        payoff[l] -= 100 * (swap < 0 ? swap : 0);
    }
    for (int n = 0; n < STEPS; n++) EACH discount[n + 1][l] = discount[n][l] / (1 + delta * L[STEPS][n][l]);
}

void price(const double *Z, ptrdiff_t paths, double delta, const double *rates, const double *volatility,
           double *out) {
    lanes payoff;
    double total = 0;
    for (ptrdiff_t first = 0; first < paths; first += LANES) {
        forward(Z + first * STEPS, delta, rates, volatility, payoff);
        EACH total += payoff[l] * discount[STEPS][l];
    }
    out[0] = total / paths;
}

/* out: the price, by the interval, by the rates, by the volatilities. */
void gradient(const double *Z, ptrdiff_t paths, double delta, const double *rates, const double *volatility,
              double *out) {
    static lanes by_rate[RATES], by_volatility[RATES], by_bond[STEPS + 1], by_annuity[STEPS + 1];
    const double root = sqrt(delta);
    double total = 0, rate_sums[RATES] = {0};
    lanes by_delta, payoff;
    memset(by_volatility, 0, sizeof by_volatility);
    EACH by_delta[l] = 0;
    for (ptrdiff_t first = 0; first < paths; first += LANES) {
        forward(Z + first * STEPS, delta, rates, volatility, payoff);
        memset(by_rate, 0, sizeof by_rate);
        memset(by_bond, 0, sizeof by_bond);
        memset(by_annuity, 0, sizeof by_annuity);
        lanes value;
        EACH { value[l] = payoff[l] * discount[STEPS][l]; total += value[l]; }
        for (int n = 0; n < STEPS; n++) EACH {
            double r = 1 / (1 + delta * L[STEPS][n][l]);
            by_rate[n][l] -= value[l] * r * delta;
            by_delta[l] -= value[l] * r * L[STEPS][n][l];
        }
        for (int k = 0; k < SWAPTIONS; k++) EACH {
            int m = maturity[k];
            double swap = bond[m][l] + swap_rate[k] * annuity[m][l] - 1;
            double g = swap < 0 ? -100 * discount[STEPS][l] : 0;
            by_bond[m][l] += g;
            by_annuity[m][l] += swap_rate[k] * g;
        }
        for (int n = STEPS; n > 0; n--) EACH {
            double rate = L[STEPS][STEPS + n - 1][l], r = 1 / (1 + delta * rate);
            by_annuity[n - 1][l] += by_annuity[n][l];
            by_delta[l] += by_annuity[n][l] * bond[n][l];
            double g = by_bond[n][l] + by_annuity[n][l] * delta;
            by_bond[n - 1][l] += g * r;
            by_rate[STEPS + n - 1][l] -= g * bond[n][l] * r * delta;
            by_delta[l] -= g * bond[n][l] * r * rate;
        }
        for (int n = STEPS - 1; n >= 0; n--) {
            lanes by_v;
            EACH by_v[l] = 0;
            for (int i = RATES - 1; i > n; i--) {
                const double a = volatility[i - n - 1], c = delta * a;
                EACH {
                    double g = by_rate[i][l] * L[n + 1][i][l], r = inverse[n][i][l], x = L[n][i][l];
                    double v = drift[n][i][l];
                    by_v[l] += g * c;
                    double t = by_v[l] * r;
                    by_volatility[i - n - 1][l] += g * (delta * v + root * z[n][l] - c) + t * delta * x;
                    by_delta[l] += g * a * (v + z[n][l] / (2 * root) - a / 2) + t * a * x * r;
                    by_rate[i][l] = by_rate[i][l] * factor[n][i][l] + t * c * r;
                }
            }
        }
        for (int i = 0; i < RATES; i++) EACH rate_sums[i] += by_rate[i][l];
    }
    out[0] = total / paths;
    out[1] = 0;
    EACH out[1] += by_delta[l] / paths;
    for (int i = 0; i < RATES; i++) {
        out[2 + i] = rate_sums[i] / paths;
        out[2 + RATES + i] = 0;
        EACH out[2 + RATES + i] += by_volatility[i][l] / paths;
    }
}
