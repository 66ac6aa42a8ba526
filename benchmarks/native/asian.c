/* An arithmetic Asian call over paths, and its derivatives by spot, rate and volatility: the paths in
   vectors, the adjoint in a second loop over stored prices. STEPS is given; paths are a multiple of LANES. */
#include <math.h>
#include <stddef.h>
enum { LANES = 32 };
void asian(const double *Z, ptrdiff_t paths, double s0, double r, double sigma, double strike, double *out) {
    static double z[STEPS][LANES], s[STEPS + 1][LANES];
    const double dt = 1.0 / STEPS, drift = (r - 0.5 * sigma * sigma) * dt, vol = sigma * sqrt(dt), discount = exp(-r);
    double price = 0, d_spot = 0, d_drift = 0, d_vol = 0, hits = 0;
    for (ptrdiff_t first = 0; first < paths; first += LANES) {
        double sum[LANES], adjoint[LANES], weight[LANES];
        for (int l = 0; l < LANES; l++) { s[0][l] = s0; sum[l] = 0; }
        for (int l = 0; l < LANES; l++)
            for (int t = 0; t < STEPS; t++) z[t][l] = Z[(first + l) * STEPS + t];
        for (int t = 0; t < STEPS; t++)
            for (int l = 0; l < LANES; l++) {
                s[t + 1][l] = s[t][l] * exp(drift + vol * z[t][l]);
                sum[l] += s[t + 1][l];
            }
        for (int l = 0; l < LANES; l++) {
            double payoff = sum[l] / STEPS - strike;
            price += payoff > 0 ? payoff : 0;
            weight[l] = payoff > 0 ? 1.0 / STEPS : 0;
            adjoint[l] = 0;
        }
        for (int t = STEPS; t > 0; t--)
            for (int l = 0; l < LANES; l++) {
                /* the derivative by log S_t */
                adjoint[l] += weight[l] * s[t][l];
                d_drift += adjoint[l];
                d_vol += adjoint[l] * z[t - 1][l];
            }
        for (int l = 0; l < LANES; l++) d_spot += adjoint[l] / s0;
    }
    price /= paths; d_spot /= paths; d_drift /= paths; d_vol /= paths;
    out[0] = discount * price;
    out[1] = discount * d_spot;
    out[2] = discount * (d_drift * dt - price);
    out[3] = discount * (-d_drift * sigma * dt + d_vol * sqrt(dt));
}
