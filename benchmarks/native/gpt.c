/* The character-level GPT of benchmarks/gpt.py: forward and backward of one document, and Adam. */

#include <math.h>
#include <string.h>

enum { CHANNELS = 16, HEADS = 4, HEAD_SIZE = 4, CONTEXT = 16, HIDDEN = 64 };

/* The weights in the order of benchmarks/gpt.py, one row an output. */
typedef struct {
    double tokens[VOCABULARY][CHANNELS];
    double positions[CONTEXT][CHANNELS];
    double query[CHANNELS][CHANNELS];
    double key[CHANNELS][CHANNELS];
    double value[CHANNELS][CHANNELS];
    double output[CHANNELS][CHANNELS];
    double expand[HIDDEN][CHANNELS];
    double contract[CHANNELS][HIDDEN];
    double logits[VOCABULARY][CHANNELS];
} Weights;

/* What the backward pass needs of one position. */
typedef struct {
    double embedded[CHANNELS], x[CHANNELS], normal[CHANNELS];
    double query[CHANNELS], key[CHANNELS], value[CHANNELS];
    double attention[HEADS][CONTEXT], mixed[CHANNELS];
    double attended[CHANNELS], attended_normal[CHANNELS], hidden[HIDDEN], last[CHANNELS];
    double probabilities[VOCABULARY];
    double embedded_scale, x_scale, attended_scale;
} Position;

static inline void linear(const double *weight, const double *x, int outputs, int inputs, double *y) {
    for (int i = 0; i < outputs; i++) {
        double sum = 0.0;
        for (int j = 0; j < inputs; j++) sum += weight[i * inputs + j] * x[j];
        y[i] = sum;
    }
}

/* Adds to the gradients of the weight and of x. */
static inline void linear_backward(const double *weight, const double *x, const double *dy, int outputs,
                                   int inputs, double *dweight, double *dx) {
    for (int i = 0; i < outputs; i++)
        for (int j = 0; j < inputs; j++) {
            dweight[i * inputs + j] += dy[i] * x[j];
            dx[j] += dy[i] * weight[i * inputs + j];
        }
}

static inline double normalise(const double *x, double *y) {
    double squares = 0.0, scale;
    for (int i = 0; i < CHANNELS; i++) squares += x[i] * x[i];
    scale = 1.0 / sqrt(squares / CHANNELS + 1e-5);
    for (int i = 0; i < CHANNELS; i++) y[i] = x[i] * scale;
    return scale;
}

/* Adds to the gradient of x. */
static inline void normalise_backward(const double *x, double scale, const double *dy, double *dx) {
    double dot = 0.0;
    for (int i = 0; i < CHANNELS; i++) dot += dy[i] * x[i];
    dot *= scale * scale * scale / CHANNELS;
    for (int i = 0; i < CHANNELS; i++) dx[i] += dy[i] * scale - x[i] * dot;
}

static inline void softmax(double *x, int size) {
    double largest = x[0], total = 0.0;
    for (int i = 1; i < size; i++) largest = x[i] > largest ? x[i] : largest;
    for (int i = 0; i < size; i++) total += x[i] = exp(x[i] - largest);
    for (int i = 0; i < size; i++) x[i] /= total;
}

/* Returns the mean loss over the positions; adds to the gradients. */
double forward_and_backward(const Weights *w, Weights *g, const int *tokens, int length) {
    static Position positions[CONTEXT];
    static double dkeys[CONTEXT][CHANNELS], dvalues[CONTEXT][CHANNELS], dnormals[CONTEXT][CHANNELS];
    static double dxs[CONTEXT][CHANNELS];
    const double root = sqrt((double)HEAD_SIZE);
    double loss = 0.0;
    for (int t = 0; t < length; t++) {
        Position *p = &positions[t];
        for (int i = 0; i < CHANNELS; i++) p->embedded[i] = w->tokens[tokens[t]][i] + w->positions[t][i];
        p->embedded_scale = normalise(p->embedded, p->x);
        p->x_scale = normalise(p->x, p->normal);
        linear(w->query[0], p->normal, CHANNELS, CHANNELS, p->query);
        linear(w->key[0], p->normal, CHANNELS, CHANNELS, p->key);
        linear(w->value[0], p->normal, CHANNELS, CHANNELS, p->value);
        memset(p->mixed, 0, sizeof p->mixed);
        for (int h = 0; h < HEADS; h++) {
            const int start = h * HEAD_SIZE;
            for (int s = 0; s <= t; s++) {
                double sum = 0.0;
                for (int i = start; i < start + HEAD_SIZE; i++) sum += p->query[i] * positions[s].key[i];
                p->attention[h][s] = sum / root;
            }
            softmax(p->attention[h], t + 1);
            for (int s = 0; s <= t; s++)
                for (int i = start; i < start + HEAD_SIZE; i++)
                    p->mixed[i] += p->attention[h][s] * positions[s].value[i];
        }
        linear(w->output[0], p->mixed, CHANNELS, CHANNELS, p->attended);
        for (int i = 0; i < CHANNELS; i++) p->attended[i] += p->x[i];
        p->attended_scale = normalise(p->attended, p->attended_normal);
        linear(w->expand[0], p->attended_normal, HIDDEN, CHANNELS, p->hidden);
        for (int i = 0; i < HIDDEN; i++) p->hidden[i] = p->hidden[i] > 0.0 ? p->hidden[i] : 0.0;
        linear(w->contract[0], p->hidden, CHANNELS, HIDDEN, p->last);
        for (int i = 0; i < CHANNELS; i++) p->last[i] += p->attended[i];
        linear(w->logits[0], p->last, VOCABULARY, CHANNELS, p->probabilities);
        softmax(p->probabilities, VOCABULARY);
        loss -= log(p->probabilities[tokens[t + 1]]);
    }
    memset(dkeys, 0, sizeof dkeys);
    memset(dvalues, 0, sizeof dvalues);
    for (int t = length - 1; t >= 0; t--) {
        Position *p = &positions[t];
        double dlogits[VOCABULARY], dlast[CHANNELS] = {0}, dhidden[HIDDEN] = {0}, dmixed[CHANNELS] = {0};
        double dattended_normal[CHANNELS] = {0}, dattended[CHANNELS], dquery[CHANNELS] = {0};
        for (int i = 0; i < VOCABULARY; i++)
            dlogits[i] = (p->probabilities[i] - (i == tokens[t + 1])) / length;
        linear_backward(w->logits[0], p->last, dlogits, VOCABULARY, CHANNELS, g->logits[0], dlast);
        memcpy(dattended, dlast, sizeof dlast);
        linear_backward(w->contract[0], p->hidden, dlast, CHANNELS, HIDDEN, g->contract[0], dhidden);
        for (int i = 0; i < HIDDEN; i++) dhidden[i] = p->hidden[i] > 0.0 ? dhidden[i] : 0.0;
        linear_backward(w->expand[0], p->attended_normal, dhidden, HIDDEN, CHANNELS, g->expand[0],
                        dattended_normal);
        normalise_backward(p->attended, p->attended_scale, dattended_normal, dattended);
        memcpy(dxs[t], dattended, sizeof dattended);
        linear_backward(w->output[0], p->mixed, dattended, CHANNELS, CHANNELS, g->output[0], dmixed);
        for (int h = 0; h < HEADS; h++) {
            const int start = h * HEAD_SIZE;
            double dattention[CONTEXT], dot = 0.0;
            for (int s = 0; s <= t; s++) {
                dattention[s] = 0.0;
                for (int i = start; i < start + HEAD_SIZE; i++) {
                    dattention[s] += dmixed[i] * positions[s].value[i];
                    dvalues[s][i] += dmixed[i] * p->attention[h][s];
                }
                dot += dattention[s] * p->attention[h][s];
            }
            for (int s = 0; s <= t; s++) {
                const double dscore = p->attention[h][s] * (dattention[s] - dot) / root;
                for (int i = start; i < start + HEAD_SIZE; i++) {
                    dquery[i] += dscore * positions[s].key[i];
                    dkeys[s][i] += dscore * p->query[i];
                }
            }
        }
        memset(dnormals[t], 0, sizeof dnormals[t]);
        linear_backward(w->query[0], p->normal, dquery, CHANNELS, CHANNELS, g->query[0], dnormals[t]);
        /* Later positions, which alone also read this key and value, have been through here. */
        linear_backward(w->key[0], p->normal, dkeys[t], CHANNELS, CHANNELS, g->key[0], dnormals[t]);
        linear_backward(w->value[0], p->normal, dvalues[t], CHANNELS, CHANNELS, g->value[0], dnormals[t]);
        normalise_backward(p->x, p->x_scale, dnormals[t], dxs[t]);
        double dembedded[CHANNELS] = {0};
        normalise_backward(p->embedded, p->embedded_scale, dxs[t], dembedded);
        for (int i = 0; i < CHANNELS; i++) {
            g->tokens[tokens[t]][i] += dembedded[i];
            g->positions[t][i] += dembedded[i];
        }
    }
    return loss / length;
}

/* One step over all weights; sets the gradients to 0. */
void adam(double *w, double *g, double *first, double *second, double lr, double beta1, double beta2,
          double eps, int step) {
    const int size = sizeof(Weights) / sizeof(double);
    const double correct1 = 1.0 - pow(beta1, step), correct2 = 1.0 - pow(beta2, step);
    for (int i = 0; i < size; i++) {
        first[i] = beta1 * first[i] + (1.0 - beta1) * g[i];
        second[i] = beta2 * second[i] + (1.0 - beta2) * g[i] * g[i];
        w[i] -= lr * (first[i] / correct1) / (sqrt(second[i] / correct2) + eps);
        g[i] = 0.0;
    }
}
