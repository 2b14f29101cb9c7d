/* conv_winograd.h: what the fast forms of 4x4 convolutions share: tiles, and how pixels,
 * weights and gradients become factors of products. conv_winograd.c says what it is about.
 *
 * A two-tap filter g makes n numbers y, 2 or 4, of n + 1 numbers d. Transposed that is a
 * product of polynomials, which can be had from their values at n points and at infinity
 * (Toom 1963, Cook 1966), with n + 1 multiplications in place of 2 n:
 *
 *   y = C ((E g) * (S d))          * number by number; S: spread, E: expand, C: collect
 *
 * The points are ±5/8 for n = 2; ±3/8 and ±5/4 for n = 4. Of all points, about these lose
 * the least when factors are rounded: of independent numbers the error is 1.07 and 1.68 times
 * that of the plain sum along an axis, where the common points, 0 and 1; 0, 1, -1 and 2, that
 * need few multiplications, have 1.41 and 2.53. In two dimensions these factors multiply: 1.15
 * for tiles of 2x2, 1.8 of 4x2, 2.8 of 4x4. The multiplications are hidden by the time that
 * pixels take to arrive.
 */
#ifndef SV_CONV_FAST_H
#define SV_CONV_FAST_H

#include "loops.h"

enum {
    LANES = 16,           /* numbers handled at once: channels are multiples of it */
    MOST = 5,             /* points along an axis: outputs of a tile + 1 */
    POINTS = MOST * MOST, /* products of a tile */
    WIDEST = MOST + 1,    /* pixels along an axis that some phase of a tile sees */
    SLACK = 16            /* numbers between matrices, or they would share few lines of the cache */
};

/* Images cut into tiles: tile (t, u) of an image, in its phase, sees pixels `step`
 * apart, from pixel (t * down_step + from + sign * (phase / 2), …) on. */
typedef struct sv_view {
    const sv_real *x, *zeros; /* zeros: a pixel outside */
    long h, w, channels;
    long step, from, sign;
    long down_step, across_step, down, across; /* down, across: tiles in an image */
} sv_view;

/* How a kind of tile's factors are made, in full or rounded to pairs of bfloat16. Of a
 * product q, factors lie from q * step on; channels and columns are multiples of LANES.
 *
 * spread: rows of pixels, a tile each, `phases` phases from `phase` on beside each other.
 * around: the same of a data gradient, all four phases, whose pixels are the same but for a
 *   row or a column, so that each is read once; products of a phase follow those of the one before.
 * expand: a row of weights, 2x2 taps of g[tap][SV_NR]; in pairs two rows, of which the
 *   second is at g[16 + tap].
 * steps, scatter: as spread, of all four phases, and tiles of gradients; in pairs, two rows
 *   become one of pairs, the last one with 0 where rows are odd. */
typedef struct sv_factors {
    void (*spread)(const sv_view *x, long tile, long n, long phase, long phases, long c0, long channels, sv_real *to,
                   long ld, long step);
    void (*around)(const sv_view *x, long tile, long n, long c0, long channels, sv_real *to, long ld, long step);
    void (*expand)(const sv_real (*g)[SV_NR], const long *taps, long width, sv_real *to, long step);
    void (*steps)(const sv_view *x, long tile, long n, long c0, long channels, sv_real *to, long ld, long step);
    void (*scatter)(const sv_view *gy, long tile, long n, long c0, long channels, sv_real *to, long ld, long step);
} sv_factors;

/* collect: the pixels at[], n columns, from m[q * step + …], and what follows; NULL: outside.
 * shrink: 16 taps of LANES input channels from at[phase][q * step + …]. */
typedef struct sv_form {
    long tall, wide; /* outputs of a tile */
    void (*collect)(const sv_real *m, long step, const sv_after *after, long n, sv_real *const *at);
    void (*shrink)(const sv_real *const *at, long step, sv_real *taps);
    sv_factors full;
} sv_form;

enum sv_form_name { SV_FORM_22, SV_FORM_42, SV_FORM_44, SV_FORMS };
extern const sv_form sv_forms[SV_FORMS];
extern const sv_factors sv_forms_bf16[SV_FORMS]; /* where sv_pairs_now() */

bool sv_conv_fast_suits(const sv_conv *c);
enum sv_form_name sv_conv_fast_form(long n, long down, long across, bool half); /* of n images of outputs */

/* ---- what is compiled once for floats and once for pairs ----------------------------- */

typedef sv_real vec __attribute__((vector_size(LANES * sizeof(sv_real))));
typedef struct unaligned {
    vec v;
} __attribute__((packed, aligned(sizeof(sv_real)), may_alias)) unaligned;

#define INLINE __attribute__((always_inline, unused)) static inline
#define AT(p) (((unaligned *)(void *)(p))->v)
#define FROM(p) (((const unaligned *)(const void *)(p))->v)

#define POINT ((sv_real)0.625)
#define NEAR ((sv_real)0.375)
#define FAR ((sv_real)1.25)

INLINE void spread(const long tile, const vec *d, const long from, vec *v, const long to) {
    const vec d0 = d[0], d1 = d[from], d2 = d[2 * from];
    if (tile == 2) {
        v[0] = d1 + POINT * d0;
        v[to] = d1 - POINT * d0;
        v[2 * to] = d2 - POINT * POINT * d0;
    } else {
        const vec d3 = d[3 * from], d4 = d[4 * from];
        const vec a = d3 - FAR * FAR * d1, b = d2 - FAR * FAR * d0, e = d3 - NEAR * NEAR * d1,
                  f = d2 - NEAR * NEAR * d0;
        v[0] = a + NEAR * b;
        v[to] = a - NEAR * b;
        v[2 * to] = e + FAR * f;
        v[3 * to] = e - FAR * f;
        v[4 * to] = d4 - FAR * FAR * d2 - NEAR * NEAR * b;
    }
}

INLINE void expand(const long tile, const vec *g, const long from, vec *u, const long to) {
    const vec g0 = g[0], g1 = g[from];
    if (tile == 2) {
        const vec half = g1 / 2, n = g0 * (1 / (2 * POINT));
        u[0] = half + n;
        u[to] = half - n;
        u[2 * to] = g1;
    } else {
        const sv_real n = 1 / (2 * NEAR * (NEAR * NEAR - FAR * FAR)), k = 1 / (2 * FAR * (FAR * FAR - NEAR * NEAR));
        u[0] = NEAR * n * g1 + n * g0;
        u[to] = NEAR * n * g1 - n * g0;
        u[2 * to] = FAR * k * g1 + k * g0;
        u[3 * to] = FAR * k * g1 - k * g0;
        u[4 * to] = g1;
    }
}

/* The transpose of collect: values of a polynomial. */
INLINE void scatter(const long tile, const vec *y, const long from, vec *w, const long to) {
    const vec y0 = y[0], y1 = y[from];
    if (tile == 2) {
        w[0] = y0 + POINT * y1;
        w[to] = y0 - POINT * y1;
        w[2 * to] = y1;
    } else {
        const vec y2 = y[2 * from], y3 = y[3 * from];
        const vec a = y0 + NEAR * NEAR * y2, b = y1 + NEAR * NEAR * y3, e = y0 + FAR * FAR * y2,
                  f = y1 + FAR * FAR * y3;
        w[0] = a + NEAR * b;
        w[to] = a - NEAR * b;
        w[2 * to] = e + FAR * f;
        w[3 * to] = e - FAR * f;
        w[4 * to] = y3;
    }
}

/* Along the rows: LANES channels of the pixels at[] to t[], whose columns are then still to do. next[]: the pixels that
 * come after these. */
INLINE void spread_across(const long tall, const long wide, const sv_real *const *at, const sv_real *const *next,
                          long c, vec *t) {
    vec d[MOST];
    for (long i = 0; i <= tall; i++, at += wide + 1, next += wide + 1, t += wide + 1) {
        for (long j = 0; j <= wide; j++) {
            d[j] = FROM(at[j] + c);
            sv_bring(next[j] + c, LANES);
        }
        spread(wide, d, 1, t, 1);
    }
}

/* Along the rows of the pixels that any phase of a data gradient sees: of the phases of odd and of even columns. */
INLINE void spread_around(const long tall, const long wide, const sv_real *const *at, const sv_real *const *next,
                          long c, vec *odd, vec *even) {
    vec d[WIDEST];
    for (long i = 0; i < tall + 2; i++, at += wide + 2, next += wide + 2, odd += wide + 1, even += wide + 1) {
        for (long j = 0; j < wide + 2; j++) {
            d[j] = FROM(at[j] + c);
            sv_bring(next[j] + c, LANES);
        }
        spread(wide, d + 1, 1, odd, 1);
        spread(wide, d, 1, even, 1);
    }
}

INLINE void scatter_across(const long tall, const long wide, const sv_real *const *at, const sv_real *const *next,
                           long c, vec *t) {
    vec d[MOST];
    for (long i = 0; i < tall; i++, at += wide, next += wide, t += wide + 1) {
        for (long j = 0; j < wide; j++) {
            d[j] = FROM(at[j] + c);
            sv_bring(next[j] + c, LANES);
        }
        scatter(wide, d, 1, t, 1);
    }
}

INLINE void expand_taps(const long tall, const long wide, const sv_real (*g)[SV_NR], const long *taps, long c, vec *r) {
    vec d[4], t[2 * MOST];
    for (long i = 0; i < 4; i++) d[i] = FROM(g[taps[i]] + c);
    expand(wide, d, 1, t, 1);
    expand(wide, d + 2, 1, t + wide + 1, 1);
    for (long j = 0; j <= wide; j++) expand(tall, t + j, wide + 1, r + j, wide + 1);
}

/* Where channel c0 of the pixels of a tile's window is. Without a branch: which pixels are outside changes all along.
 */
INLINE void find_window(const sv_view *v, const long rows, const long cols, long tile, long phase, long c0,
                        const sv_real **at) {
    long u = tile % v->across, rest = tile / v->across, t = rest % v->down;
    const long pixel = v->channels * (long)sizeof *v->x, row = v->w * pixel;
    const intptr_t zeros = (intptr_t)v->zeros, image = (intptr_t)(v->x + c0) + rest / v->down * v->h * row - zeros;
    long y = t * v->down_step + v->from + v->sign * (phase / 2);
    long x = u * v->across_step + v->from + v->sign * (phase % 2);
    intptr_t col[WIDEST], inside[WIDEST];
    for (long j = 0; j < cols; j++, x += v->step) {
        col[j] = x * pixel;
        inside[j] = -(intptr_t)((unsigned long)x < (unsigned long)v->w);
    }
    for (long i = 0; i < rows; i++, y += v->step) {
        const intptr_t from = image + y * row, in = -(intptr_t)((unsigned long)y < (unsigned long)v->h);
        for (long j = 0; j < cols; j++) *at++ = (const sv_real *)(zeros + ((from + col[j]) & in & inside[j]));
    }
}

#endif
