/* Vectors of doubles for the lane kernels: elementary functions, sums and small matrix products.

   The kernels, and this file with them, are compiled once for each instruction set. With GCC or Clang a
   `vec` fills the target's widest registers; with other compilers it is one double, in the same code. */

#ifndef FASTGRAD_LANES_H
#define FASTGRAD_LANES_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__) && defined(__SSE2__)
#include <immintrin.h>
#elif defined(__GNUC__) && defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(_MSC_VER)
#define FG_INLINE static __forceinline
#define FG_UNROLL
/* Not `restrict` itself: the system's headers declare functions with __declspec(restrict). */
#define FG_RESTRICT __restrict
#else
#define FG_INLINE static inline __attribute__((always_inline))
#define FG_UNROLL _Pragma("GCC unroll 16")
#define FG_RESTRICT restrict
#endif

#if defined(__GNUC__)
#if defined(__AVX512F__)
#define FG_WIDTH 8
#elif defined(__AVX__)
#define FG_WIDTH 4
#else
#define FG_WIDTH 2
#endif
typedef double vec __attribute__((vector_size(8 * FG_WIDTH), aligned(8), may_alias));
FG_INLINE vec fg_all(double x) { return x - (vec){0}; }
FG_INLINE double fg_across(vec v) {
    double total = 0.0;
    FG_UNROLL
    for (int i = 0; i < FG_WIDTH; i++) total += v[i];
    return total;
}
#else
#define FG_WIDTH 1
typedef double vec;
FG_INLINE vec fg_all(double x) { return x; }
FG_INLINE double fg_across(vec v) { return v; }
#endif

/* The lanes of whole vectors, for which registers have room. A loop over a multiple of the width needs no second
   loop for single lanes, which would be half of the code. Nobody reads what is beyond the last lane. */
FG_INLINE Py_ssize_t fg_whole(Py_ssize_t lanes) { return (lanes + FG_WIDTH - 1) / FG_WIDTH * FG_WIDTH; }

/* No aliasing: the plan never gives a result the register of an operand. */
typedef double *FG_RESTRICT lane;
typedef const double *FG_RESTRICT const_lane;

#if defined(__GNUC__)
#define fg_prefetch(p) __builtin_prefetch(p)
#else
#define fg_prefetch(p) ((void)(p))
#endif

/* a * b + c, rounded once where the processor has an instruction for it. The compiler makes no such
   instruction by itself (setup.py forbids it): differences would differ from the engine's by the rounding
   of a product, and the root of x*x - y*y at x = y would be nan in half of the rows. */
FG_INLINE double fg_fma(double a, double b, double c) {
#if defined(__GNUC__) && (defined(__FMA__) || defined(__aarch64__))
    return __builtin_fma(a, b, c);
#else
    return a * b + c;
#endif
}
FG_INLINE vec fg_fma_vec(vec a, vec b, vec c) {
#if FG_WIDTH == 8
    return (vec)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c); /* no cover: not every processor has AVX-512 */
#elif FG_WIDTH == 4 && defined(__FMA__)
    return (vec)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#elif FG_WIDTH == 2 && defined(__aarch64__)
    return (vec)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
#else
    return a * b + c;
#endif
}

/* Until fg_keep_tiny, this thread takes numbers below 2.2e-308 for 0. Intel's processors need some 150 cycles for
   a product with such a number. The gradients of a softmax with one large result are full of them: a mixture of
   25 components in 64 dimensions took 7 times as long. */
#if defined(__GNUC__) && defined(__SSE2__)
FG_INLINE unsigned fg_flush_tiny(void) {
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040);
    return before;
}
FG_INLINE void fg_keep_tiny(unsigned before) { _mm_setcsr(before); }
#else
FG_INLINE unsigned fg_flush_tiny(void) { return 0; }
FG_INLINE void fg_keep_tiny(unsigned before) { (void)before; }
#endif

FG_INLINE vec fg_load(const double *p) { return *(const vec *)p; }
FG_INLINE void fg_store(double *p, vec v) { *(vec *)p = v; }

/* -- elementary functions: branch-free, so that a loop over lanes becomes vector code -------------- */

FG_INLINE uint64_t fg_bits(double x) { uint64_t b; memcpy(&b, &x, 8); return b; }
FG_INLINE double fg_double(uint64_t b) { double x; memcpy(&x, &b, 8); return x; }

/* What an amount is added to: the number there, or -0.0 if the amount is the first, as adding -0.0 changes nothing.
   It is computed from bits, because of a condition the compiler would make two loops. */
FG_INLINE uint64_t fg_kept(int32_t fresh) { return fresh ? 0 : ~(uint64_t)0; }
FG_INLINE double fg_before(double number, uint64_t keep) {
    return fg_double((fg_bits(number) & keep) | (~keep & 0x8000000000000000u));
}

/* A number plus this is rounded to an integer, which the low bits then hold. */
#define FG_MAGIC 6755399441055744.0

FG_INLINE double fg_power_of_two(double n) {
    return fg_double((fg_bits(n + FG_MAGIC) + 1023) << 52);
}

/* exp: x = n log 2 + r, a polynomial in r, and two scalings so that neither overflows too early. */
FG_INLINE double fg_exp(double x) {
    const double high = 6.93147180369123816490e-01, low = 1.90821492927058770002e-10;
    double y = x > 710.0 ? 710.0 : x;
    y = y < -746.0 ? -746.0 : y;
    const double n = fg_fma(y, 1.4426950408889634, FG_MAGIC) - FG_MAGIC;
    const double half = fg_fma(n, 0.5, FG_MAGIC) - FG_MAGIC;
    const double r = fg_fma(-n, low, fg_fma(-n, high, y));
    double p = 1.0 / 6227020800.0;
    p = fg_fma(p, r, 1.0 / 479001600.0);
    p = fg_fma(p, r, 1.0 / 39916800.0);
    p = fg_fma(p, r, 1.0 / 3628800.0);
    p = fg_fma(p, r, 1.0 / 362880.0);
    p = fg_fma(p, r, 1.0 / 40320.0);
    p = fg_fma(p, r, 1.0 / 5040.0);
    p = fg_fma(p, r, 1.0 / 720.0);
    p = fg_fma(p, r, 1.0 / 120.0);
    p = fg_fma(p, r, 1.0 / 24.0);
    p = fg_fma(p, r, 1.0 / 6.0);
    p = fg_fma(p, r, 0.5);
    p = 1.0 + fg_fma(r * r, p, r);
    return p * fg_power_of_two(half) * fg_power_of_two(n - half);
}

/* log: x = 2**k m with m near 1, and log m by the series of atanh in s = (m - 1) / (m + 1). */
FG_INLINE double fg_log(double x) {
    const double high = 6.93147180369123816490e-01, low = 1.90821492927058770002e-10;
    const int tiny = x < 2.2250738585072014e-308;
    const double scaled = tiny ? x * 18014398509481984.0 : x;
    const uint64_t bits = fg_bits(scaled) + (0x3ff0000000000000u - 0x3fe6a09e667f3bcdu);
    const double k = fg_double((bits >> 52) | 0x4330000000000000u) - (4503599627370496.0 + 1023.0)
        - (tiny ? 54.0 : 0.0);
    const double m = fg_double((bits & 0x000fffffffffffffu) + 0x3fe6a09e667f3bcdu);
    const double f = m - 1.0;
    const double s = f / (2.0 + f);
    const double z = s * s;
    double p = 2.0 / 21.0;
    p = fg_fma(p, z, 2.0 / 19.0);
    p = fg_fma(p, z, 2.0 / 17.0);
    p = fg_fma(p, z, 2.0 / 15.0);
    p = fg_fma(p, z, 2.0 / 13.0);
    p = fg_fma(p, z, 2.0 / 11.0);
    p = fg_fma(p, z, 2.0 / 9.0);
    p = fg_fma(p, z, 2.0 / 7.0);
    p = fg_fma(p, z, 2.0 / 5.0);
    p = fg_fma(p, z, 2.0 / 3.0);
    const double h = 0.5 * f * f;
    double result = fg_fma(k, high, -((h - fg_fma(s, fg_fma(z, p, h), k * low)) - f));
    result = x == 0.0 ? -INFINITY : result;
    result = x < 0.0 ? NAN : result;
    return x < INFINITY ? result : x;
}

/* log1p: log u for u = 1 + x, and what the sum lost. */
FG_INLINE double fg_log1p(double x) {
    const double u = 1.0 + x;
    const double lost = x < 1.0 ? x - (u - 1.0) : 1.0 - (u - x);
    const double result = fg_log(u) + (u > 0.0 ? lost / u : 0.0);
    return x < INFINITY && x != 0.0 ? result : x;
}

/* The largest operand of fg_sin and fg_cos: the multiple of pi/2 next to it has 20 bits. */
#define FG_CIRCLE 1647099.0

/* Whether all operands are at most FG_CIRCLE in size; nan is not. */
FG_INLINE int fg_near(const double *a, Py_ssize_t lanes) {
    Py_ssize_t l = 0;
    int near = 1;
#if FG_WIDTH > 1
    typedef int64_t mask __attribute__((vector_size(8 * FG_WIDTH)));
    const vec limit = fg_all(FG_CIRCLE);
    mask inside = ~(mask){0};
    for (; l + FG_WIDTH <= lanes; l += FG_WIDTH) {
        const vec x = fg_load(a + l);
        inside &= (mask)(x <= limit) & (mask)(x >= -limit);
    }
    for (int i = 0; i < FG_WIDTH; i++) near &= inside[i] != 0;
#endif
    for (; l < lanes; l++) near &= fabs(a[l]) <= FG_CIRCLE;
    return near;
}

/* sin (quarters = 0) and cos (1): x = n pi/2 + r by Cody and Waite (1980), in parts of pi/2 of 33 bits, whose
   products with n are exact, and with what each difference loses; then the polynomials of Sun's fdlibm. */
FG_INLINE double fg_circle(double x, uint64_t quarters) {
    const double n = fg_fma(x, 0.6366197723675814, FG_MAGIC) - FG_MAGIC;
    const double first = x - n * 1.57079632673412561417e+00;
    const double part = n * 6.07710050630396597660e-11, second = first - part, back = second - first;
    const double lost = (first - (second - back)) - (part + back);
    const double rest = n * 2.02226624871116645580e-21, third = second - rest, again = third - second;
    const double low = (lost + ((second - (third - again)) - (rest + again))) - n * 8.47842766036889956997e-32;
    const double r = third + low, tail = (third - r) + low, z = r * r;
    double p = fg_fma(1.58969099521155010221e-10, z, -2.50507602534068634195e-08);
    p = fg_fma(p, z, 2.75573137070700676789e-06);
    p = fg_fma(p, z, -1.98412698298579493134e-04);
    p = fg_fma(p, z, 8.33333333332248946124e-03);
    const double cube = z * r;
    const double sine = r - ((z * (0.5 * tail - cube * p) - tail) - cube * -1.66666666666666324348e-01);
    double q = fg_fma(-1.13596475577881948265e-11, z, 2.08757232129817482790e-09);
    q = fg_fma(q, z, -2.75573143513906633035e-07);
    q = fg_fma(q, z, 2.48015872894767294178e-05);
    q = fg_fma(q, z, -1.38888888888741095749e-03);
    q = fg_fma(q, z, 4.16666666666666019037e-02);
    const double half = 0.5 * z, w = 1.0 - half;
    const double cosine = w + (((1.0 - w) - half) + (z * (z * q) - r * tail));
    const uint64_t quarter = fg_bits(n + FG_MAGIC) + quarters;
    return fg_double(fg_bits(quarter & 1 ? cosine : sine) ^ (quarter & 2) << 62);
}
FG_INLINE double fg_sin(double x) { return x == 0.0 ? x : fg_circle(x, 0); }
FG_INLINE double fg_cos(double x) { return fg_circle(x, 1); }

/* x**0.5, which unlike the square root is 0 at -0 and inf at -inf. */
FG_INLINE double fg_root(double x) { return x == -INFINITY ? INFINITY : sqrt(x + 0.0); }

/* pow: common exponents, and those of their derivatives, by products, quotients and roots. If the exponent is
   the same in all lanes, the choice is made once: a cube then takes a sixth of the time. */
FG_INLINE double fg_pow(double x, double y) {
    if (y == 1.0) return x;
    if (y == 2.0) return x * x;
    if (y == 3.0) return x * x * x;
    if (y == 4.0) return (x * x) * (x * x);
    if (y == 0.5) return fg_root(x);
    if (y == 1.5) return fg_root(x) * fabs(x);
    if (y == -0.5) return 1.0 / fg_root(x);
    if (y == -1.5) return 1.0 / fg_root(x) / fabs(x);
    if (y == -2.0) return 1.0 / x * (1.0 / x);
    if (y == -3.0) return 1.0 / x * (1.0 / x) * (1.0 / x);
    return pow(x, y);
}

/* tanh: Cephes' rational function near 0 (Moshier 1989), 1 - 2 / (exp(2x) + 1) elsewhere. */
FG_INLINE double fg_tanh(double x) {
    const double size = fabs(x), z = x * x;
    const double numerator = fg_fma(
        fg_fma(-9.64399179425052238628e-1, z, -9.92877231001918586564e1), z, -1.61468768441708447952e3);
    const double denominator = fg_fma(
        fg_fma(z + 1.12811678491632931402e2, z, 2.23548839060100448583e3), z, 4.84406305325125486048e3);
    const double near = fg_fma(x * z, numerator / denominator, x);
    const double far = 1.0 - 2.0 / (fg_exp(2.0 * size) + 1.0);
    return size < 0.625 ? near : x < 0.0 ? -far : far;
}

/* The table's relu: nan stays nan, and -0.0 stays -0.0. */
FG_INLINE vec fg_relu(vec x) {
#if FG_WIDTH > 1
    typedef int64_t mask __attribute__((vector_size(8 * FG_WIDTH)));
    return (vec)((mask)x & ~(mask)(x < fg_all(0.0)));
#else
    return x < 0.0 ? 0.0 : x;
#endif
}

/* -- numbers of rows side by side, and lanes ------------------------------------------------------- */

/* Exchanges rows and columns of as many vectors as one has numbers. */
#if FG_WIDTH == 8
FG_INLINE void fg_transpose(vec *v) { /* no cover: not every processor has AVX-512 */
    __m512d pair[8], quad[8];
    FG_UNROLL
    for (int i = 0; i < 8; i += 2) { /* no cover: the same */
        pair[i] = _mm512_unpacklo_pd((__m512d)v[i], (__m512d)v[i + 1]); /* no cover: the same */
        pair[i + 1] = _mm512_unpackhi_pd((__m512d)v[i], (__m512d)v[i + 1]); /* no cover: the same */
    }
    FG_UNROLL
    for (int i = 0; i < 2; i++) { /* no cover: the same */
        quad[i] = _mm512_shuffle_f64x2(pair[i], pair[i + 2], 0x88); /* no cover: the same */
        quad[i + 2] = _mm512_shuffle_f64x2(pair[i], pair[i + 2], 0xdd); /* no cover: the same */
        quad[i + 4] = _mm512_shuffle_f64x2(pair[i + 4], pair[i + 6], 0x88); /* no cover: the same */
        quad[i + 6] = _mm512_shuffle_f64x2(pair[i + 4], pair[i + 6], 0xdd); /* no cover: the same */
    }
    FG_UNROLL
    for (int i = 0; i < 4; i++) { /* no cover: the same */
        v[i] = (vec)_mm512_shuffle_f64x2(quad[i], quad[i + 4], 0x88); /* no cover: the same */
        v[i + 4] = (vec)_mm512_shuffle_f64x2(quad[i], quad[i + 4], 0xdd); /* no cover: the same */
    }
} /* no cover: the same */
#elif FG_WIDTH == 4
FG_INLINE void fg_transpose(vec *v) {
    __m256d pair[4];
    FG_UNROLL
    for (int i = 0; i < 4; i += 2) {
        pair[i] = _mm256_unpacklo_pd((__m256d)v[i], (__m256d)v[i + 1]);
        pair[i + 1] = _mm256_unpackhi_pd((__m256d)v[i], (__m256d)v[i + 1]);
    }
    FG_UNROLL
    for (int i = 0; i < 2; i++) {
        v[i] = (vec)_mm256_permute2f128_pd(pair[i], pair[i + 2], 0x20);
        v[i + 2] = (vec)_mm256_permute2f128_pd(pair[i], pair[i + 2], 0x31);
    }
}
#endif

/* The first `count` numbers at p: fewer than a vector has, where others follow that are not to be touched. */
#if FG_WIDTH == 8
#define FG_PARTS 1
FG_INLINE vec fg_load_first(const double *p, int count) { /* no cover: not every processor has AVX-512 */
    return (vec)_mm512_maskz_loadu_pd((__mmask8)((1 << count) - 1), p); /* no cover: the same */
}
FG_INLINE void fg_store_first(double *p, vec v, int count) { /* no cover: the same */
    _mm512_mask_storeu_pd(p, (__mmask8)((1 << count) - 1), (__m512d)v); /* no cover: the same */
}
#elif FG_WIDTH == 4
/* A store of a part takes AMD's processors some 20 cycles: the numbers that fill no vector go one by one. */
#define FG_PARTS 0
FG_INLINE vec fg_load_first(const double *p, int count) { (void)count; return fg_load(p); }
FG_INLINE void fg_store_first(double *p, vec v, int count) { (void)count; fg_store(p, v); }
#endif

/* out[c][lane] = number c of the row of that lane, for at most 8 numbers of rows that are `step` bytes apart. */
static inline void fg_rows_to_lanes(
    const int count, double *const *out, const char *data, Py_ssize_t step, Py_ssize_t lanes
) {
    Py_ssize_t j = 0;
    int first = 0;
#if FG_WIDTH >= 4
    for (; j + FG_WIDTH <= lanes; j += FG_WIDTH) {
        const char *row = data + j * step;
        for (first = 0; first < count - (FG_PARTS ? 0 : FG_WIDTH - 1); first += FG_WIDTH) {
            const int part = count - first < FG_WIDTH ? count - first : FG_WIDTH;
            vec v[FG_WIDTH];
            FG_UNROLL
            for (int r = 0; r < FG_WIDTH; r++) {
                /* The next numbers: the rows are more streams than the processor prefetches by itself. */
                fg_prefetch(row + r * step + 64);
                v[r] = fg_load_first((const double *)(row + r * step) + first, part);
            }
            fg_transpose(v);
            FG_UNROLL
            for (int c = 0; c < FG_WIDTH; c++)
                if (c < part) fg_store(out[first + c] + j, v[c]);
        }
        for (; first < count; first++)
            for (int r = 0; r < FG_WIDTH; r++) out[first][j + r] = ((const double *)(row + r * step))[first];
    }
#endif
    for (; j < lanes; j++) {
        const double *row = (const double *)(data + j * step);
        fg_prefetch((const char *)row + 64);
        for (first = 0; first < count; first++) out[first][j] = row[first];
    }
}

/* The reverse: number c of a lane's row = in[c][lane]. */
static inline void fg_lanes_to_rows(
    const int count, char *data, Py_ssize_t step, double *const *in, Py_ssize_t lanes
) {
    Py_ssize_t j = 0;
    int first = 0;
#if FG_WIDTH >= 4
    for (; j + FG_WIDTH <= lanes; j += FG_WIDTH) {
        char *row = data + j * step;
        for (first = 0; first < count - (FG_PARTS ? 0 : FG_WIDTH - 1); first += FG_WIDTH) {
            const int part = count - first < FG_WIDTH ? count - first : FG_WIDTH;
            vec v[FG_WIDTH];
            FG_UNROLL
            for (int c = 0; c < FG_WIDTH; c++)
                v[c] = c < part ? fg_load(in[first + c] + j) : fg_all(0.0);
            fg_transpose(v);
            FG_UNROLL
            for (int r = 0; r < FG_WIDTH; r++)
                fg_store_first((double *)(row + r * step) + first, v[r], part);
        }
        for (; first < count; first++)
            for (int r = 0; r < FG_WIDTH; r++) ((double *)(row + r * step))[first] = in[first][j + r];
    }
#endif
    for (; j < lanes; j++) {
        double *row = (double *)(data + j * step);
        for (first = 0; first < count; first++) row[first] = in[first][j];
    }
}

/* -- sums over the lanes ------------------------------------------------------------------------- */

FG_INLINE double fg_sum(const double *a, Py_ssize_t lanes) {
    vec t0 = fg_all(0.0), t1 = t0;
    Py_ssize_t l = 0;
    double tail = 0.0;
    for (; l + 2 * FG_WIDTH <= lanes; l += 2 * FG_WIDTH) {
        t0 += fg_load(a + l);
        t1 += fg_load(a + l + FG_WIDTH);
    }
    for (; l < lanes; l++) tail += a[l];
    return fg_across(t0 + t1) + tail;
}

FG_INLINE double fg_dot(const double *a, const double *b, Py_ssize_t lanes) {
    vec t0 = fg_all(0.0), t1 = t0;
    Py_ssize_t l = 0;
    double tail = 0.0;
    for (; l + 2 * FG_WIDTH <= lanes; l += 2 * FG_WIDTH) {
        t0 = fg_fma_vec(fg_load(a + l), fg_load(b + l), t0);
        t1 = fg_fma_vec(fg_load(a + l + FG_WIDTH), fg_load(b + l + FG_WIDTH), t1);
    }
    for (; l < lanes; l++) tail = fg_fma(a[l], b[l], tail);
    return fg_across(t0 + t1) + tail;
}

/* -- products of a uniform matrix with lanes ------------------------------------------------------- */

/* How many rows of the matrix are multiplied together: 4 x 3 sums, 3 operands and a weight fill the 16
   registers of AVX2, and layers most often have a multiple of 4 units. */
#define FG_ROWS 4
/* AVX-512 has 32 registers: two panels together, for half the loads of each operand. */
#if FG_WIDTH == 8
#define FG_PANELS 2
#else
#define FG_PANELS 1
#endif

/* out[i][lane] = start_i + sum over k of panel[k][i] * in[k][lane], for `rows` rows at a time. The
   start is bias[i]; without bias, what is in out[i], or 0 if fresh[i]. More than FG_ROWS rows are in two panels.
   If fused, FG_FUSED, which the table names, is applied to the result: in a loop of its own that takes 3 % of a
   step of moons. */
FG_INLINE void fg_tile(
    const int rows, const int vectors, Py_ssize_t depth, const double *panel, const double *bias,
    const int32_t *fresh, const int fused, double *const *out, double *const *in, Py_ssize_t lane_index
) {
    vec total[FG_PANELS * FG_ROWS][8];
    /* Copied, because the compiler must assume that a store to a result changes the addresses in `out`. */
    double *result[FG_PANELS * FG_ROWS];
    const int height = rows < FG_ROWS ? rows : FG_ROWS;
    FG_UNROLL
    for (int i = 0; i < rows; i++) {
        result[i] = out[i] + lane_index;
        FG_UNROLL
        for (int v = 0; v < vectors; v++) {
            if (bias) total[i][v] = fg_all(bias[i]);
            else if (fresh[i]) total[i][v] = fg_all(0.0);
            else total[i][v] = fg_load(result[i] + v * FG_WIDTH);
        }
    }
    for (Py_ssize_t k = 0; k < depth; k++) {
        const double *x = in[k] + lane_index;
        vec operand[8];
        FG_UNROLL
        for (int v = 0; v < vectors; v++) operand[v] = fg_load(x + v * FG_WIDTH);
        FG_UNROLL
        for (int i = 0; i < rows; i++) {
            const vec weight = fg_all(panel[i / FG_ROWS * FG_ROWS * depth + k * height + i % FG_ROWS]);
            FG_UNROLL
            for (int v = 0; v < vectors; v++) total[i][v] = fg_fma_vec(weight, operand[v], total[i][v]);
        }
    }
    if (fused) {
        FG_UNROLL
        for (int i = 0; i < rows; i++) {
            FG_UNROLL
            for (int v = 0; v < vectors; v++) total[i][v] = FG_FUSED(total[i][v]);
        }
    }
    FG_UNROLL
    for (int i = 0; i < rows; i++) {
        FG_UNROLL
        for (int v = 0; v < vectors; v++) fg_store(result[i] + v * FG_WIDTH, total[i][v]);
    }
}

#define FG_TILES(rows, vectors)                                                                       \
    for (; left >= vectors; left -= vectors, l += vectors * FG_WIDTH)                                 \
        fg_tile(rows, vectors, depth, panel, bias, fresh, fused, out, in, l)

/* An addition to a sum waits for the one before; 8 sums at a time hide that. So the last 4 vectors are done as
   2 and 2, not as 3 and 1. */
#define FG_MANY_ROWS(rows)                                                                            \
    for (; left == 3 || left > 4; left -= 3, l += 3 * FG_WIDTH)                                       \
        fg_tile(rows, 3, depth, panel, bias, fresh, fused, out, in, l);                               \
    FG_TILES(rows, 2); FG_TILES(rows, 1)

/* Whole vectors are computed: registers have room for the lanes beyond the last. */
static inline void fg_matrix(
    Py_ssize_t height, Py_ssize_t depth, const double *packed, const double *bias,
    const int32_t *fresh, const int fused, double *const *out, double *const *in, Py_ssize_t lanes
) {
    for (Py_ssize_t row = 0, rows; row < height; row += rows) {
        const double *panel = packed + row * depth;
        Py_ssize_t l = 0, left = (lanes + FG_WIDTH - 1) / FG_WIDTH;
        rows = FG_ROWS;
#if FG_PANELS == 2
        if (height - row >= 2 * FG_ROWS) { /* no cover: not every processor has AVX-512 */
            rows = 2 * FG_ROWS; /* no cover: the same */
            FG_MANY_ROWS(2 * FG_ROWS); /* no cover: the same */
        } else
#endif
        switch (height - row) {
        case 1: FG_TILES(1, 8); FG_TILES(1, 4); FG_TILES(1, 1); break;
        case 2: FG_TILES(2, 4); FG_TILES(2, 1); break;
        case 3: FG_TILES(3, 4); FG_TILES(3, 1); break;
        default: FG_MANY_ROWS(FG_ROWS);
        }
        out += rows;
        if (bias) bias += rows;
        if (fresh) fresh += rows;
    }
}

/* The same for one lane: out[i] = start[i] + sum over k of weight[i][k] * in[k], four panels at a time, as an
   addition to a sum waits for the one before. */
FG_INLINE void fg_panels_one(
    const int panels, const int rows, Py_ssize_t depth, const double *packed, const double *start,
    double *out, const double *in
) {
    double total[4][FG_ROWS];
    FG_UNROLL
    for (int p = 0; p < panels; p++) {
        FG_UNROLL
        for (int i = 0; i < rows; i++) total[p][i] = start[p * FG_ROWS + i];
    }
    for (Py_ssize_t k = 0; k < depth; k++) {
        const double x = in[k];
        FG_UNROLL
        for (int p = 0; p < panels; p++) {
            const double *panel = packed + p * FG_ROWS * depth + k * rows;
            FG_UNROLL
            for (int i = 0; i < rows; i++) total[p][i] = fg_fma(panel[i], x, total[p][i]);
        }
    }
    FG_UNROLL
    for (int p = 0; p < panels; p++) {
        FG_UNROLL
        for (int i = 0; i < rows; i++) out[p * FG_ROWS + i] = total[p][i];
    }
}

static inline void fg_matrix_one(
    Py_ssize_t height, Py_ssize_t depth, const double *packed, const double *start, double *out,
    const double *in
) {
    Py_ssize_t row = 0;
    for (; row + 4 * FG_ROWS <= height; row += 4 * FG_ROWS)
        fg_panels_one(4, FG_ROWS, depth, packed + row * depth, start + row, out + row, in);
    for (; row + FG_ROWS <= height; row += FG_ROWS)
        fg_panels_one(1, FG_ROWS, depth, packed + row * depth, start + row, out + row, in);
    switch (height - row) {
    case 3: fg_panels_one(1, 3, depth, packed + row * depth, start + row, out + row, in); break;
    case 2: fg_panels_one(1, 2, depth, packed + row * depth, start + row, out + row, in); break;
    case 1: fg_panels_one(1, 1, depth, packed + row * depth, start + row, out + row, in); break;
    }
}

/* gradient[i * depth + k] += g[i] * in[k] */
static inline void fg_outer_one(
    Py_ssize_t height, Py_ssize_t depth, double *gradient, const double *g, const double *in
) {
    for (Py_ssize_t i = 0; i < height; i++, gradient += depth) {
        const vec amount = fg_all(g[i]);
        Py_ssize_t k = 0;
        for (; k + FG_WIDTH <= depth; k += FG_WIDTH)
            fg_store(gradient + k, fg_fma_vec(amount, fg_load(in + k), fg_load(gradient + k)));
        for (; k < depth; k++) gradient[k] = fg_fma(g[i], in[k], gradient[k]);
    }
}

/* out[k] = registers[places[k]]; the same, but 0 where the place is fresh; and the way back. */
static inline void fg_gather(
    Py_ssize_t count, double *FG_RESTRICT out, const double *FG_RESTRICT registers,
    const int32_t *FG_RESTRICT places
) {
    for (Py_ssize_t k = 0; k < count; k++) out[k] = registers[places[k]];
}
static inline void fg_gather_added(
    Py_ssize_t count, double *FG_RESTRICT out, const double *FG_RESTRICT registers,
    const int32_t *FG_RESTRICT places, const int32_t *FG_RESTRICT fresh
) {
    /* Without a branch: half of them would be mispredicted. */
    for (Py_ssize_t k = 0; k < count; k++)
        out[k] = fg_double(fg_bits(registers[places[k]]) & ((uint64_t)fresh[k] - 1));
}
static inline void fg_scatter(
    Py_ssize_t count, double *FG_RESTRICT registers, const int32_t *FG_RESTRICT places,
    const double *FG_RESTRICT in
) {
    for (Py_ssize_t k = 0; k < count; k++) registers[places[k]] = in[k];
}

/* Adds to four numbers the sums of four vectors. */
FG_INLINE void fg_add_across(double *numbers, const vec *v) {
#if defined(__AVX__) && defined(__GNUC__)
    __m256d part[4];
    FG_UNROLL
    for (int i = 0; i < 4; i++) {
#if FG_WIDTH == 8
        __m512d all = (__m512d)v[i]; /* no cover: not every processor has AVX-512 */
        part[i] = _mm256_add_pd(_mm512_castpd512_pd256(all), /* no cover: the same */
                                _mm512_extractf64x4_pd(all, 1)); /* no cover: the same */
#else
        part[i] = (__m256d)v[i];
#endif
    }
    const __m256d first = _mm256_hadd_pd(part[0], part[1]), second = _mm256_hadd_pd(part[2], part[3]);
    const __m256d low = _mm256_permute2f128_pd(first, second, 0x20);
    const __m256d high = _mm256_permute2f128_pd(first, second, 0x31);
    _mm256_storeu_pd(numbers, _mm256_add_pd(_mm256_loadu_pd(numbers), _mm256_add_pd(low, high)));
#else
    FG_UNROLL
    for (int i = 0; i < 4; i++) numbers[i] += fg_across(v[i]);
#endif
}

/* Adds to eight numbers the sums of eight vectors: each step adds halves, quarters or eighths of two vectors. */
#if FG_WIDTH == 8
FG_INLINE void fg_add_eight(double *numbers, const vec *v) { /* no cover: not every processor has AVX-512 */
    __m512d pair[4], quad[2];
    FG_UNROLL
    for (int i = 0; i < 4; i++) { /* no cover: the same */
        const __m512d a = (__m512d)v[2 * i], b = (__m512d)v[2 * i + 1]; /* no cover: the same */
        pair[i] = _mm512_add_pd(_mm512_unpacklo_pd(a, b), _mm512_unpackhi_pd(a, b)); /* no cover: the same */
    }
    FG_UNROLL
    for (int i = 0; i < 2; i++) { /* no cover: the same */
        const __m512d a = pair[2 * i], b = pair[2 * i + 1]; /* no cover: the same */
        const __m512d even = _mm512_shuffle_f64x2(a, b, 0x88); /* no cover: the same */
        quad[i] = _mm512_add_pd(even, _mm512_shuffle_f64x2(a, b, 0xdd)); /* no cover: the same */
    }
    const __m512d low = _mm512_shuffle_f64x2(quad[0], quad[1], 0x88); /* no cover: the same */
    const __m512d high = _mm512_shuffle_f64x2(quad[0], quad[1], 0xdd); /* no cover: the same */
    fg_store(numbers, fg_load(numbers) + (vec)_mm512_add_pd(low, high)); /* no cover: the same */
} /* no cover: the same */
#else
FG_INLINE void fg_add_eight(double *numbers, const vec *v) {
    fg_add_across(numbers, v);
    fg_add_across(numbers + 4, v + 4);
}
#endif

/* Adds to each of 8 or 4 numbers the sum of the lanes of its row. */
FG_INLINE void fg_sums_tile(const int rows, double *sums, double *const *g, Py_ssize_t lanes) {
    vec total[8];
    Py_ssize_t l = 0;
    FG_UNROLL
    for (int row = 0; row < rows; row++) total[row] = fg_all(0.0);
    for (; l + FG_WIDTH <= lanes; l += FG_WIDTH) {
        FG_UNROLL
        for (int row = 0; row < rows; row++) total[row] += fg_load(g[row] + l);
    }
    FG_UNROLL
    for (int row = 0; row < rows; row += 4) fg_add_across(sums + row, total + row);
    for (; l < lanes; l++) {
        FG_UNROLL
        for (int row = 0; row < rows; row++) sums[row] += g[row][l];
    }
}

/* sums[i] += sum over lanes of g[i][lane]. Eight rows at a time: the additions of four would wait for one another. */
static inline void fg_sums(Py_ssize_t count, double *sums, double *const *g, Py_ssize_t lanes) {
    Py_ssize_t i = 0;
    for (; i + 8 <= count; i += 8) fg_sums_tile(8, sums + i, g + i, lanes);
    for (; i + 4 <= count; i += 4) fg_sums_tile(4, sums + i, g + i, lanes);
    for (; i < count; i++) sums[i] += fg_sum(g[i], lanes);
}

/* gradient[i * depth + k] += sum over lanes of g[i][lane] * in[k][lane], `rows` x `columns` at a time. */
FG_INLINE void fg_outer_tile(
    const int rows, const int columns, Py_ssize_t depth, double *gradient, double *const *g,
    double *const *in, Py_ssize_t lanes
) {
    vec total[4][8];
    Py_ssize_t l = 0;
    FG_UNROLL
    for (int i = 0; i < rows; i++) {
        /* A row's sums are far from the last one's: waiting for them took a fifth of the time. */
        fg_prefetch(gradient + i * depth);
        fg_prefetch(gradient + i * depth + columns - 1);
        FG_UNROLL
        for (int k = 0; k < columns; k++) total[i][k] = fg_all(0.0);
    }
    for (; l + FG_WIDTH <= lanes; l += FG_WIDTH) {
        vec amount[4];
        FG_UNROLL
        for (int i = 0; i < rows; i++) amount[i] = fg_load(g[i] + l);
        FG_UNROLL
        for (int k = 0; k < columns; k++) {
            const vec operand = fg_load(in[k] + l);
            FG_UNROLL
            for (int i = 0; i < rows; i++) total[i][k] = fg_fma_vec(amount[i], operand, total[i][k]);
        }
    }
    FG_UNROLL
    for (int i = 0; i < rows; i++) {
        double *sums = gradient + i * depth;
        int k = 0;
        FG_UNROLL
        for (; k + 8 <= columns; k += 8) fg_add_eight(sums + k, &total[i][k]);
        FG_UNROLL
        for (; k + 4 <= columns; k += 4) fg_add_across(sums + k, &total[i][k]);
        FG_UNROLL
        for (; k < columns; k++) sums[k] += fg_across(total[i][k]);
        for (Py_ssize_t rest = l; rest < lanes; rest++) {
            FG_UNROLL
            for (k = 0; k < columns; k++) sums[k] = fg_fma(g[i][rest], in[k][rest], sums[k]);
        }
    }
}

#if FG_WIDTH == 8
/* Lanes that are turned at a time, into rows of so many numbers: 24 KiB, which the first-level cache holds. */
#define FG_TURNED_LANES 128
#define FG_TURNED 24

/* turned[lane][k] = in[k][lane], filled up with zeros to whole vectors. */
FG_INLINE void fg_turn( /* no cover: not every processor has AVX-512 */
    int columns, double *turned, double *const *in, Py_ssize_t first, Py_ssize_t lanes
) {
    for (int k = 0; k < columns; k += 8) { /* no cover: the same */
        for (Py_ssize_t l = 0; l < lanes; l += 8) { /* no cover: the same */
            vec v[8];
            FG_UNROLL
            for (int i = 0; i < 8; i++) /* no cover: the same */
                v[i] = k + i < columns ? fg_load(in[k + i] + first + l) : fg_all(0.0); /* no cover: the same */
            fg_transpose(v); /* no cover: the same */
            FG_UNROLL
            for (int i = 0; i < 8; i++) /* no cover: the same */
                fg_store(turned + (l + i) * FG_TURNED + k, v[i]); /* no cover: the same */
        }
    }
} /* no cover: the same */

/* gradient[i * depth + k] += sum over lanes of g[i][first + lane] * turned[lane][k], for `rows` rows and all k of
   some vectors, of which the last has `last` numbers. */
FG_INLINE void fg_turned_tile( /* no cover: not every processor has AVX-512 */
    const int rows, const int vectors, int last, Py_ssize_t depth, double *gradient, double *const *g,
    const double *turned, Py_ssize_t first, Py_ssize_t lanes
) {
    vec total[8][3];
    FG_UNROLL
    for (int i = 0; i < rows; i++) { /* no cover: the same */
        FG_UNROLL
        for (int v = 0; v < vectors; v++) { /* no cover: the same */
            /* As in fg_outer_tile. */
            fg_prefetch(gradient + i * depth + 8 * v); /* no cover: the same */
            total[i][v] = fg_all(0.0); /* no cover: the same */
        }
    }
    for (Py_ssize_t l = first; l < first + lanes; l++, turned += FG_TURNED) { /* no cover: the same */
        FG_UNROLL
        for (int i = 0; i < rows; i++) { /* no cover: the same */
            const vec amount = fg_all(g[i][l]); /* no cover: the same */
            FG_UNROLL
            for (int v = 0; v < vectors; v++) /* no cover: the same */
                total[i][v] = fg_fma_vec(amount, fg_load(turned + 8 * v), total[i][v]); /* no cover: the same */
        }
    }
    FG_UNROLL
    for (int i = 0; i < rows; i++) { /* no cover: the same */
        FG_UNROLL
        for (int v = 0; v < vectors; v++) { /* no cover: the same */
            const int count = v + 1 < vectors ? 8 : last; /* no cover: the same */
            double *sums = gradient + i * depth + 8 * v; /* no cover: the same */
            fg_store_first(sums, fg_load_first(sums, count) + total[i][v], count); /* no cover: the same */
        }
    }
} /* no cover: the same */

#define FG_TURNED_TILES(rows, vectors)                                                                \
    for (; row + rows <= height; row += rows)                                                         \
        fg_turned_tile(rows, vectors, last, depth, gradient + row * depth, g + row, turned, first, lanes)

/* The rows of fg_turned_tile, as many at a time as the registers hold sums of. */
FG_INLINE void fg_turned_rows( /* no cover: not every processor has AVX-512 */
    const int vectors, int last, Py_ssize_t height, Py_ssize_t depth, double *gradient, double *const *g,
    const double *turned, Py_ssize_t first, Py_ssize_t lanes
) {
    Py_ssize_t row = 0; /* no cover: the same */
    FG_TURNED_TILES(8, vectors); /* no cover: the same */
    FG_TURNED_TILES(4, vectors); /* no cover: the same */
    FG_TURNED_TILES(2, vectors); /* no cover: the same */
    FG_TURNED_TILES(1, vectors); /* no cover: the same */
} /* no cover: the same */

/* fg_outer on operands that are turned first. Its sums need not be added up across a vector, which takes a third of
   the time of fg_outer_tile at 128 lanes and half at 32; the turning is worth it if many rows share it. */
static inline void fg_outer_turned( /* no cover: not every processor has AVX-512 */
    Py_ssize_t height, Py_ssize_t depth, double *gradient, double *const *g,
    double *const *in, Py_ssize_t all
) {
    double turned[FG_TURNED_LANES * FG_TURNED] __attribute__((aligned(64)));
    for (Py_ssize_t first = 0; first < all; first += FG_TURNED_LANES) { /* no cover: the same */
        const Py_ssize_t left = all - first; /* no cover: the same */
        const Py_ssize_t lanes = left < FG_TURNED_LANES ? left : FG_TURNED_LANES; /* no cover: the same */
        for (Py_ssize_t k = 0; k < depth; k += FG_TURNED) { /* no cover: the same */
            const int columns = depth - k < FG_TURNED ? (int)(depth - k) : FG_TURNED; /* no cover: the same */
            const int vectors = (columns + 7) / 8, last = columns - 8 * (vectors - 1); /* no cover: the same */
            double *sums = gradient + k; /* no cover: the same */
            fg_turn(columns, turned, in + k, first, lanes); /* no cover: the same */
            switch (vectors) { /* no cover: the same */
            case 1: fg_turned_rows(1, last, height, depth, sums, g, turned, first, lanes); break; /* no cover: the same */
            case 2: fg_turned_rows(2, last, height, depth, sums, g, turned, first, lanes); break; /* no cover: the same */
            default: fg_turned_rows(3, last, height, depth, sums, g, turned, first, lanes); /* no cover: the same */
            }
        }
    }
} /* no cover: the same */
#endif

#define FG_OUTER_TILES(rows, columns)                                                                 \
    for (; left >= rows; left -= rows, row += rows)                                                   \
        fg_outer_tile(rows, columns, depth, gradient + row * depth + k, g + row, in + k, lanes)

static inline void fg_outer(
    Py_ssize_t height, Py_ssize_t depth, double *gradient, double *const *g,
    double *const *in, Py_ssize_t lanes
) {
    Py_ssize_t k = 0, row, left;
#if FG_WIDTH == 8
    if (height >= 8 && 8 * height >= lanes) { /* no cover: not every processor has AVX-512 */
        fg_outer_turned(height, depth, gradient, g, in, lanes); /* no cover: the same */
        return; /* no cover: the same */
    }
    /* 24 sums, 8 operands: half the loads of g that 3 x 4 need. */
    for (; height > 1 && k + 8 <= depth; k += 8) { /* no cover: not every processor has AVX-512 */
        row = 0, left = height; /* no cover: the same */
        FG_OUTER_TILES(3, 8); FG_OUTER_TILES(2, 8); FG_OUTER_TILES(1, 8); /* no cover: the same */
    }
#endif
    for (; height == 1 && k + 8 <= depth; k += 8) {
        row = 0, left = 1;
        FG_OUTER_TILES(1, 8);
    }
    for (; k + 4 <= depth; k += 4) {
        row = 0, left = height;
        for (; left == 3 || left > 4; left -= 3, row += 3)
            fg_outer_tile(3, 4, depth, gradient + row * depth + k, g + row, in + k, lanes);
        FG_OUTER_TILES(2, 4); FG_OUTER_TILES(1, 4);
    }
    for (; k + 2 <= depth; k += 2) {
        row = 0, left = height;
        FG_OUTER_TILES(4, 2); FG_OUTER_TILES(1, 2);
    }
    for (; k < depth; k++) {
        row = 0, left = height;
        FG_OUTER_TILES(4, 1); FG_OUTER_TILES(1, 1);
    }
}

#endif
