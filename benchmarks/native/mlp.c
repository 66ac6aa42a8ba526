/* One training step of a multi-layer perceptron with ReLU, rows of the batch side by side. Macros:
   ROWS, SIZES (inputs, then the units of each layer), ALPHA (of the L2 penalty), and HINGE or CROSS_ENTROPY.
   Weights are in micrograd's order: neuron by neuron, the weights and then the bias. */

#include <math.h>
#include <string.h>

static const int sizes[] = {SIZES};
enum { LAYERS = sizeof((int[]){SIZES}) / sizeof(int) - 1, WIDEST = 64 };

/* One row of the batch is a column here, so that every inner loop runs over rows. */
static double units[LAYERS + 1][WIDEST][ROWS], deltas[LAYERS + 1][WIDEST][ROWS];

/* Writes d loss / d output and returns the mean loss. */
static double output_deltas(const int *targets) {
    double loss = 0.0;
#ifdef HINGE
    for (int r = 0; r < ROWS; r++) {
        const double margin = 1.0 - targets[r] * units[LAYERS][0][r];
        loss += margin > 0.0 ? margin : 0.0;
        deltas[LAYERS][0][r] = margin > 0.0 ? -(double)targets[r] / ROWS : 0.0;
    }
#else
    const int classes = sizes[LAYERS];
    for (int r = 0; r < ROWS; r++) {
        double largest = units[LAYERS][0][r], total = 0.0;
        for (int c = 1; c < classes; c++)
            largest = units[LAYERS][c][r] > largest ? units[LAYERS][c][r] : largest;
        for (int c = 0; c < classes; c++) total += deltas[LAYERS][c][r] = exp(units[LAYERS][c][r] - largest);
        loss += log(total) - (units[LAYERS][targets[r]][r] - largest);
        for (int c = 0; c < classes; c++)
            deltas[LAYERS][c][r] = (deltas[LAYERS][c][r] / total - (c == targets[r])) / ROWS;
    }
#endif
    return loss / ROWS;
}

/* Returns the loss before the step; weights -= lr * gradient. */
double step(double *weights, const double *inputs, const int *targets, double lr) {
    double loss, *w = weights;
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < sizes[0]; i++) units[0][i][r] = inputs[r * sizes[0] + i];
    for (int l = 0; l < LAYERS; l++)
        for (int o = 0; o < sizes[l + 1]; o++, w += sizes[l] + 1) {
            double *out = units[l + 1][o];
            for (int r = 0; r < ROWS; r++) out[r] = w[sizes[l]];
            for (int i = 0; i < sizes[l]; i++)
                for (int r = 0; r < ROWS; r++) out[r] += w[i] * units[l][i][r];
            if (l < LAYERS - 1)
                for (int r = 0; r < ROWS; r++) out[r] = out[r] > 0.0 ? out[r] : 0.0;
        }
    loss = output_deltas(targets);
    for (double *p = weights; p < w; p++) loss += ALPHA * *p * *p;
    for (int l = LAYERS - 1; l >= 0; l--) {
        memset(deltas[l], 0, sizeof deltas[l]);
        w -= sizes[l + 1] * (sizes[l] + 1);
        for (int o = 0; o < sizes[l + 1]; o++) {
            double *neuron = w + o * (sizes[l] + 1), sum = 0.0;
            double *delta = deltas[l + 1][o];
            if (l < LAYERS - 1)
                for (int r = 0; r < ROWS; r++) delta[r] = units[l + 1][o][r] > 0.0 ? delta[r] : 0.0;
            for (int r = 0; r < ROWS; r++) sum += delta[r];
            if (l > 0)
                for (int i = 0; i < sizes[l]; i++)
                    for (int r = 0; r < ROWS; r++) deltas[l][i][r] += neuron[i] * delta[r];
            for (int i = 0; i < sizes[l]; i++) {
                double gradient = 0.0;
                for (int r = 0; r < ROWS; r++) gradient += delta[r] * units[l][i][r];
                neuron[i] -= lr * (gradient + 2.0 * ALPHA * neuron[i]);
            }
            neuron[sizes[l]] -= lr * (sum + 2.0 * ALPHA * neuron[sizes[l]]);
        }
    }
    return loss;
}
