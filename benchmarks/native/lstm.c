/* ADBench's diagonal LSTM over a text of bits: the loss and its gradient by all weights, back through what was
   kept of every character. main: LAYERS pairs of 4 x BITS weights and as many biases; extra: 3 x BITS. */
#include <math.h>
#include <stddef.h>
#include <string.h>

enum { BITS = 14, GATES = 4 * BITS };
#ifndef LAYERS
#define LAYERS 2
#endif
#ifndef LENGTH
#define LENGTH 1024
#endif
#define EACH for (int k = 0; k < BITS; k++)

typedef double bits[BITS];
typedef struct { bits forget, enter, leave, change, shaped, input, hidden, cell; } Kept;
static Kept kept[LENGTH][LAYERS];
static bits last[LENGTH], scores[LENGTH];
static double norms[LENGTH];

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

/* state: of each layer hidden and cell. out: the loss, by main, by extra. */
void lstm(const double *restrict main, const double *restrict extra, const double *restrict state,
          const double *restrict text, double *restrict out) {
    double total = 0, now[LAYERS][2][BITS];
    memcpy(now, state, sizeof now);
    for (int t = 0; t + 1 < LENGTH; t++) {
        const double *seen = text + t * BITS, *after = seen + BITS;
        bits x;
        EACH x[k] = seen[k] * extra[k];
        for (int layer = 0; layer < LAYERS; layer++) {
            const double *w = main + 2 * layer * GATES, *b = w + GATES;
            Kept *s = &kept[t][layer];
            double *h = now[layer][0], *c = now[layer][1];
            EACH { s->input[k] = x[k]; s->hidden[k] = h[k]; s->cell[k] = c[k]; }
            EACH s->forget[k] = sigmoid(x[k] * w[k] + b[k]);
            EACH s->enter[k] = sigmoid(h[k] * w[BITS + k] + b[BITS + k]);
            EACH s->leave[k] = sigmoid(x[k] * w[2 * BITS + k] + b[2 * BITS + k]);
            EACH s->change[k] = tanh(h[k] * w[3 * BITS + k] + b[3 * BITS + k]);
            EACH c[k] = c[k] * s->forget[k] + s->enter[k] * s->change[k];
            EACH s->shaped[k] = tanh(c[k]);
            EACH x[k] = h[k] = s->leave[k] * s->shaped[k];
        }
        double sum = 2;
        memcpy(last[t], x, sizeof x);
        EACH scores[t][k] = x[k] * extra[BITS + k] + extra[2 * BITS + k];
        EACH sum += exp(scores[t][k]);
        norms[t] = log(sum);
        EACH total += after[k] * (scores[t][k] - norms[t]);
    }
    const double seed = -1.0 / ((LENGTH - 1) * BITS);
    double *by_main = out + 1, *by_extra = by_main + 2 * LAYERS * GATES;
    double by_state[LAYERS][2][BITS];
    memset(out, 0, (1 + 2 * LAYERS * GATES + 3 * BITS) * sizeof(double));
    memset(by_state, 0, sizeof by_state);
    out[0] = total * seed;
    for (int t = LENGTH - 2; t >= 0; t--) {
        const double *seen = text + t * BITS, *after = seen + BITS;
        double marks = 0;
        bits by_x;
        EACH marks += after[k];
        EACH {
            const double g = seed * (after[k] - marks * exp(scores[t][k] - norms[t]));
            by_extra[BITS + k] += g * last[t][k];
            by_extra[2 * BITS + k] += g;
            by_x[k] = g * extra[BITS + k];
        }
        for (int layer = LAYERS - 1; layer >= 0; layer--) {
            const double *w = main + 2 * layer * GATES;
            double *dw = by_main + 2 * layer * GATES, *db = dw + GATES;
            double *dh = by_state[layer][0], *dc = by_state[layer][1];
            const Kept *s = &kept[t][layer];
            EACH {
                const double h = by_x[k] + dh[k];
                const double cell = dc[k] + h * s->leave[k] * (1 - s->shaped[k] * s->shaped[k]);
                const double forget = cell * s->cell[k] * s->forget[k] * (1 - s->forget[k]);
                const double enter = cell * s->change[k] * s->enter[k] * (1 - s->enter[k]);
                const double leave = h * s->shaped[k] * s->leave[k] * (1 - s->leave[k]);
                const double change = cell * s->enter[k] * (1 - s->change[k] * s->change[k]);
                db[k] += forget; db[BITS + k] += enter; db[2 * BITS + k] += leave; db[3 * BITS + k] += change;
                dw[k] += forget * s->input[k];
                dw[BITS + k] += enter * s->hidden[k];
                dw[2 * BITS + k] += leave * s->input[k];
                dw[3 * BITS + k] += change * s->hidden[k];
                by_x[k] = forget * w[k] + leave * w[2 * BITS + k];
                dh[k] = enter * w[BITS + k] + change * w[3 * BITS + k];
                dc[k] = cell * s->forget[k];
            }
        }
        EACH by_extra[k] += by_x[k] * seen[k];
    }
}
