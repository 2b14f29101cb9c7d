/* random.c: Philox4x32-10, a counter-based generator (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy
 * as 1, 2, 3", SC 2011), uniform numbers, and normal ones by the cosine branch of Box and Muller (1958).
 *
 * Words of LANES blocks are computed at once, word by word, so that loops are vectorised. Logarithm and cosine are
 * series of doubles, without fused multiply-adds: single numbers and many have the same bits at every CPU level. Normal
 * numbers are within 4e-15 of those by libm, relative to the larger of them and 1. */
#include "random.h"
#include "loops.h"

#include <math.h>
#include <string.h>

#ifdef __clang__
#pragma STDC FP_CONTRACT OFF /* in the functions of vmath.h too */
#endif
#include "vmath.h"

enum { LANES = 64, ROUNDS = 10 };

typedef struct {
    uint32_t word[4][LANES];
} blocks;

SV_INLINE void philox(uint64_t seed, uint64_t stream, uint64_t block, int lanes, uint32_t *restrict c0,
                      uint32_t *restrict c1, uint32_t *restrict c2, uint32_t *restrict c3) {
    for (int i = 0; i < lanes; i++) {
        uint64_t own = block + (uint64_t)i;
        c0[i] = (uint32_t)own, c1[i] = (uint32_t)(own >> 32);
        c2[i] = (uint32_t)stream, c3[i] = (uint32_t)(stream >> 32);
    }
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < lanes; i++) {
            uint64_t p = (uint64_t)c0[i] * 0xD2511F53u, q = (uint64_t)c2[i] * 0xCD9E8D57u;
            c0[i] = (uint32_t)(q >> 32) ^ c1[i] ^ k0;
            c2[i] = (uint32_t)(p >> 32) ^ c3[i] ^ k1;
            c1[i] = (uint32_t)q;
            c3[i] = (uint32_t)p;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

SV_INLINE void draw_blocks(uint64_t seed, uint64_t stream, uint64_t block, blocks *b) {
    philox(seed, stream, block, LANES, b->word[0], b->word[1], b->word[2], b->word[3]);
}

/* ---- numbers of words -------------------------------------------------------------- */

/* 53 bits; adding a half excludes 0. Signed conversions, which every level has. */
SV_INLINE double unit(uint32_t high, uint32_t low) {
    double upper = (double)(int32_t)(high ^ 0x80000000u) + 0x1p31, lower = (double)(int32_t)(low >> 11);
    return (upper * 0x1p21 + lower + 0.5) * 0x1p-53;
}

/* cos(2 pi v) = sin(2 pi d) with d = |v - 1/2| - 1/4, by its series, whose terms from the 23rd power on are below
 * 2e-18. */
SV_INLINE double cosine_of_turns(double v) {
    double d = fabs(v - 0.5) - 0.25, x = 6.28318530717958647692 * d, z = x * x;
    double p = 1.0 / 51090942171709440000.0; /* 21! */
    p = p * z - 1.0 / 121645100408832000.0;
    p = p * z + 1.0 / 355687428096000.0;
    p = p * z - 1.0 / 1307674368000.0;
    p = p * z + 1.0 / 6227020800.0;
    p = p * z - 1.0 / 39916800.0;
    p = p * z + 1.0 / 362880.0;
    p = p * z - 1.0 / 5040.0;
    p = p * z + 1.0 / 120.0;
    p = p * z - 1.0 / 6.0;
    return x + x * z * p;
}

SV_INLINE double normal(double u, double v) { return sqrt(-2 * sv_log_double(u)) * cosine_of_turns(v); }

/* ---- one ------------------------------------------------------------------------------ */

void sv_random_block(uint64_t seed, uint64_t stream, uint64_t block, uint32_t words[4]) {
    philox(seed, stream, block, 1, words, words + 1, words + 2, words + 3);
}

double sv_random_uniform(uint64_t seed, uint64_t stream, uint64_t i) {
    uint32_t c[4];
    sv_random_block(seed, stream, i >> 1, c);
    return i & 1 ? unit(c[2], c[3]) : unit(c[0], c[1]);
}

double sv_random_normal(uint64_t seed, uint64_t stream, uint64_t i) {
    uint32_t c[4];
    sv_random_block(seed, stream, i, c);
    return normal(unit(c[0], c[1]), unit(c[2], c[3]));
}

/* ---- many ----------------------------------------------------------------------------- */

/* Both halves of LANES blocks. */
SV_LOOP_UNFUSED(uniform_lanes,
                (uint64_t seed, uint64_t stream, uint64_t block, double a, double b, sv_real *restrict to),
                (seed, stream, block, a, b, to)) {
    blocks w;
    draw_blocks(seed, stream, block, &w);
    for (int i = 0; i < LANES; i++) {
        to[2 * i] = (sv_real)(a + b * unit(w.word[0][i], w.word[1][i]));
        to[2 * i + 1] = (sv_real)(a + b * unit(w.word[2][i], w.word[3][i]));
    }
}

SV_LOOP_UNFUSED(normal_lanes,
                (uint64_t seed, uint64_t stream, uint64_t block, double a, double b, sv_real *restrict to),
                (seed, stream, block, a, b, to)) {
    blocks w;
    draw_blocks(seed, stream, block, &w);
    for (int i = 0; i < LANES; i++)
        to[i] = (sv_real)(a + b * normal(unit(w.word[0][i], w.word[1][i]), unit(w.word[2][i], w.word[3][i])));
}

void sv_fill_uniform(uint64_t seed, uint64_t stream, uint64_t first, long n, double a, double b, sv_real *to) {
    long i = 0;
    if (first & 1 && n > 0) to[i++] = (sv_real)(a + b * sv_random_uniform(seed, stream, first));
    for (; i + 2 * LANES <= n; i += 2 * LANES) uniform_lanes(seed, stream, (first + (uint64_t)i) / 2, a, b, to + i);
    if (i == n) return;
    sv_real rest[2 * LANES];
    uniform_lanes(seed, stream, (first + (uint64_t)i) / 2, a, b, rest);
    memcpy(to + i, rest, (size_t)(n - i) * sizeof *to);
}

void sv_fill_normal(uint64_t seed, uint64_t stream, uint64_t first, long n, double a, double b, sv_real *to) {
    long i = 0;
    for (; i + LANES <= n; i += LANES) normal_lanes(seed, stream, first + (uint64_t)i, a, b, to + i);
    if (i == n) return;
    sv_real rest[LANES];
    normal_lanes(seed, stream, first + (uint64_t)i, a, b, rest);
    memcpy(to + i, rest, (size_t)(n - i) * sizeof *to);
}

/* Four words of LANES blocks, in their order. */
SV_LOOP_UNFUSED(words_of, (uint64_t seed, uint64_t stream, uint64_t block, uint32_t *restrict to),
                (seed, stream, block, to)) {
    blocks w;
    draw_blocks(seed, stream, block, &w);
    for (int i = 0; i < LANES; i++)
        for (int k = 0; k < 4; k++) to[4 * i + k] = w.word[k][i];
}

SV_LOOP_UNFUSED(keep_where,
                (long n, const uint32_t *word, uint32_t limit, sv_real factor, const sv_real *x, sv_real *y),
                (n, word, limit, factor, x, y)) {
    for (long i = 0; i < n; i++) y[i] = word[i] >= limit ? x[i] * factor : 0;
}

void sv_drop(uint64_t seed, uint64_t stream, uint64_t first, long n, uint32_t limit, sv_real factor, const sv_real *x,
             sv_real *y) {
    uint32_t word[4 * LANES];
    for (long i = 0; i < n; i += 4 * LANES) {
        words_of(seed, stream, (first + (uint64_t)i) / 4, word);
        keep_where(sv_min(4 * LANES, n - i), word, limit, factor, x + i, y + i);
    }
}
