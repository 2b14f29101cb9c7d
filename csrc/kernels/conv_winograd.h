/* conv_winograd.h: Winograd convolution of 4x4 kernels with stride 2: tiles, and the transforms of inputs, weights,
 * outputs and gradients. conv_winograd.c has the picture.
 *
 * Each of the four phases of such a convolution (row even or odd, column even or odd) is a stride-1 convolution with
 * 2x2 of the weights. Winograd's minimal filtering F(m, 2) makes m = 2 or 4 outputs y of m + 1 inputs d and a filter g
 * of two taps with m + 1 multiplications in place of 2 m (Winograd, "Arithmetic complexity of computations", 1980;
 * Lavin and Gray, "Fast algorithms for convolutional neural networks", 2016). Transposed, that is a product of
 * polynomials, which follows from their values at m points and at infinity (Toom 1963, Cook 1966):
 *
 *   y = A' ((G g) * (B' d))     * number by number; B': input, G: weight, A': output transform
 *
 * The points are ±5/8 for m = 2; ±3/8 and ±5/4 for m = 4. Of all points, about these lose the least when factors are
 * rounded: of independent numbers the error is 1.07 and 1.68 times that of the plain sum along an axis, where the
 * common points, 0 and 1; 0, 1, -1 and 2, that need few multiplications, have 1.41 and 2.53. In two dimensions these
 * factors multiply: 1.15 for tiles of F(2x2), 1.8 of F(4x2), 2.8 of F(4x4). The multiplications of the transforms are
 * hidden by the time that pixels take to arrive from memory.
 */
#ifndef SV_CONV_WINOGRAD_H
#define SV_CONV_WINOGRAD_H

#include "conv.h"
#include "gemm.h"
#include "loops.h"

enum {
    LANES = 16,                         /* numbers handled at once: channels are multiples of it */
    AXIS_POINTS = 5,                    /* points along an axis: outputs of a tile + 1, at most */
    POINTS = AXIS_POINTS * AXIS_POINTS, /* products of a tile */
    AXIS_PIXELS = AXIS_POINTS + 1,      /* pixels along an axis that the phases of a tile read */
    SLACK = 16 /* numbers between matrices: if these were a power of two apart, they would share
                  few cache lines */
};

/* Images cut into tiles: tile (t, u) of an image, in its phase, reads pixels `step` apart, from pixel
 * (t * down_step + from + sign * (phase / 2), …) on. */
typedef struct sv_winograd_view {
    const sv_real *x, *zeros; /* zeros: a pixel outside */
    long h, w, channels;
    long step, from, sign;
    long down_step, across_step, down, across; /* down, across: tiles in an image */
} sv_winograd_view;

/* The transforms of the factors of a tile's products, stored in full or rounded to bfloat16 pairs. Of product q,
 * factors start at q * step; channels and columns are multiples of LANES.
 *
 * input: rows of pixels, a tile each, `phases` phases from `phase` on side by side.
 * input_phases: the same of a data gradient, all four phases, whose pixels are the same but for a row or a column, so
 *   that each is read once; products of a phase follow those of the previous one.
 * weight: a row of weights, 2x2 taps of g[tap][SV_NR]; as pairs two rows, of which the second is at g[16 + tap].
 * input_steps, gradient: for the weight gradient: as input, of all four phases; and tiles of gradients. As pairs, two
 *   rows become one of pairs, the last one with 0 where rows are odd. */
typedef struct sv_winograd_transforms {
    void (*input)(const sv_winograd_view *x, long tile, long n, long phase, long phases, long c0, long channels,
                  sv_real *to, long ld, long step);
    void (*input_phases)(const sv_winograd_view *x, long tile, long n, long c0, long channels, sv_real *to, long ld,
                         long step);
    void (*weight)(const sv_real (*g)[SV_NR], const long *taps, long columns, sv_real *to, long step);
    void (*input_steps)(const sv_winograd_view *x, long tile, long n, long c0, long channels, sv_real *to, long ld,
                        long step);
    void (*gradient)(const sv_winograd_view *gy, long tile, long n, long c0, long channels, sv_real *to, long ld,
                     long step);
} sv_winograd_transforms;

/* A tile size. output: the pixels at[], n columns, from m[q * step + …], and the epilogue; NULL in at: outside the
 * image. weight_gradient: 16 taps of LANES input channels from at[phase][q * step + …]. */
typedef struct sv_winograd {
    long tile_h, tile_w; /* outputs of a tile */
    void (*output)(const sv_real *m, long step, const sv_epilogue *epilogue, long n, sv_real *const *at);
    void (*weight_gradient)(const sv_real *const *at, long step, sv_real *taps);
    sv_winograd_transforms full;
} sv_winograd;

enum sv_winograd_size { SV_WINOGRAD_2X2, SV_WINOGRAD_4X2, SV_WINOGRAD_4X4, SV_WINOGRAD_SIZES };
extern const sv_winograd sv_winograd_of[SV_WINOGRAD_SIZES];
extern const sv_winograd_transforms sv_winograd_bf16[SV_WINOGRAD_SIZES]; /* where sv_bf16() */

bool sv_conv_winograd_suits(const sv_conv *c, bool bf16);
enum sv_winograd_size sv_winograd_choose(long n, long down, long across, bool bf16); /* of n images of outputs */

/* The weight gradient (conv_winograd_weight.c). */
void sv_winograd_weight_workspace(const sv_conv *c, bool bf16, struct sv_conv_choice *choice);
void sv_winograd_weight_gradient(const sv_conv *c, bool bf16, const sv_conv_data *d);

/* ---- compiled once for floats and once for bfloat16 pairs ----------------------------- */

typedef sv_real vec __attribute__((vector_size(LANES * sizeof(sv_real))));
typedef struct unaligned {
    vec v;
} __attribute__((packed, aligned(sizeof(sv_real)), may_alias)) unaligned;

#define INLINE SV_INLINE
#define AT(p) (((unaligned *)(void *)(p))->v)
#define FROM(p) (((const unaligned *)(const void *)(p))->v)

#define POINT ((sv_real)0.625)
#define NEAR ((sv_real)0.375)
#define FAR ((sv_real)1.25)

/* B' along one axis. */
INLINE void input_transform(const long tile, const vec *d, const long from, vec *v, const long to) {
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

/* G along one axis. */
INLINE void weight_transform(const long tile, const vec *g, const long from, vec *u, const long to) {
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

/* A: the transpose of the output transform: values of a polynomial. */
INLINE void gradient_transform(const long tile, const vec *y, const long from, vec *w, const long to) {
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

/* Along the rows: LANES channels of the pixels at[] to t[]; the columns are left to do. next[]: the pixels that come
 * after these, to prefetch. */
INLINE void input_across(const long tile_h, const long tile_w, const sv_real *const *at, const sv_real *const *next,
                         long c, vec *t) {
    vec d[AXIS_POINTS];
    for (long i = 0; i <= tile_h; i++, at += tile_w + 1, next += tile_w + 1, t += tile_w + 1) {
        for (long j = 0; j <= tile_w; j++) {
            d[j] = FROM(at[j] + c);
            sv_prefetch(next[j] + c, LANES);
        }
        input_transform(tile_w, d, 1, t, 1);
    }
}

/* Along the rows of the pixels that any phase of a data gradient reads: for the phases of odd and of even columns. */
INLINE void input_phases_across(const long tile_h, const long tile_w, const sv_real *const *at,
                                const sv_real *const *next, long c, vec *odd, vec *even) {
    vec d[AXIS_PIXELS];
    for (long i = 0; i < tile_h + 2; i++, at += tile_w + 2, next += tile_w + 2, odd += tile_w + 1, even += tile_w + 1) {
        for (long j = 0; j < tile_w + 2; j++) {
            d[j] = FROM(at[j] + c);
            sv_prefetch(next[j] + c, LANES);
        }
        input_transform(tile_w, d + 1, 1, odd, 1);
        input_transform(tile_w, d, 1, even, 1);
    }
}

INLINE void gradient_across(const long tile_h, const long tile_w, const sv_real *const *at, const sv_real *const *next,
                            long c, vec *t) {
    vec d[AXIS_POINTS];
    for (long i = 0; i < tile_h; i++, at += tile_w, next += tile_w, t += tile_w + 1) {
        for (long j = 0; j < tile_w; j++) {
            d[j] = FROM(at[j] + c);
            sv_prefetch(next[j] + c, LANES);
        }
        gradient_transform(tile_w, d, 1, t, 1);
    }
}

INLINE void weight_taps(const long tile_h, const long tile_w, const sv_real (*g)[SV_NR], const long *taps, long c,
                        vec *r) {
    vec d[4], t[2 * AXIS_POINTS];
    for (long i = 0; i < 4; i++) d[i] = FROM(g[taps[i]] + c);
    weight_transform(tile_w, d, 1, t, 1);
    weight_transform(tile_w, d + 2, 1, t + tile_w + 1, 1);
    for (long j = 0; j <= tile_w; j++) weight_transform(tile_h, t + j, tile_w + 1, r + j, tile_w + 1);
}

/* Where channel c0 of the pixels of a tile is. Without a branch, since which pixels are outside changes from tile to
 * tile. */
INLINE void locate_pixels(const sv_winograd_view *v, const long rows, const long cols, long tile, long phase, long c0,
                          const sv_real **at) {
    long u = tile % v->across, rest = tile / v->across, t = rest % v->down;
    const long pixel = v->channels * (long)sizeof *v->x, row = v->w * pixel;
    const intptr_t zeros = (intptr_t)v->zeros, image = (intptr_t)(v->x + c0) + rest / v->down * v->h * row - zeros;
    long y = t * v->down_step + v->from + v->sign * (phase / 2);
    long x = u * v->across_step + v->from + v->sign * (phase % 2);
    intptr_t col[AXIS_PIXELS], inside[AXIS_PIXELS];
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
