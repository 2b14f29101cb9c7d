/* conv_winograd.h: Winograd convolution of 4x4 kernels with stride 2 and of 3x3 kernels with stride 1: tiles, and the
 * transforms of inputs, weights, outputs and gradients. conv_winograd.c has the picture.
 *
 * Each of the four phases of a 4x4 convolution with stride 2 (row even or odd, column even or odd) is a stride-1
 * convolution with 2x2 of the weights; a 3x3 convolution with stride 1 is one phase. Winograd's minimal filtering
 * F(m, r) makes m outputs y of m + r - 1 inputs d and a filter g of r taps with m + r - 1 multiplications in place of
 * r m (Winograd, "Arithmetic complexity of computations", 1980; Lavin and Gray, "Fast algorithms for convolutional
 * neural networks", 2016). Transposed, that is a product of polynomials, which follows from their values at m + r - 2
 * points and at infinity (Toom 1963, Cook 1966):
 *
 *   y = A' ((G g) * (B' d))     * number by number; B': input, G: weight, A': output transform
 *
 * The points, and by how much a rounding of the factors of independent numbers loses more than that of the plain sum
 * does, along an axis (Barabasz, Anderson, Soodhalter and Gregg, "Error analysis and improving the accuracy of Winograd
 * convolution for deep neural networks", 2020, on how points are chosen):
 *
 *   F(2, 2)   ±5/8                1.07   (0, 1: 1.41)
 *   F(4, 2)   ±3/8, ±5/4          1.68   (0, 1, -1, 2: 2.53)
 *   F(2, 3)   0, ±1               1.29
 *   F(4, 3)   0, ±5/8, ±3/2       2.19   (0, ±1, ±2: 3.28)
 *
 * Of all symmetric points of these numbers, about these lose the least; in brackets, common points, which need few
 * multiplications. In two dimensions the factors multiply: for 2x2 taps 1.15 for tiles of F(2x2), 1.8 of F(4x2), 2.8 of
 * F(4x4); for 3x3 taps 1.7 of F(2x2), 4.8 of F(4x4). The multiplications of the transforms are hidden by the time that
 * pixels take to arrive from memory.
 */
#ifndef SV_CONV_WINOGRAD_H
#define SV_CONV_WINOGRAD_H

#include "conv.h"
#include "gemm.h"
#include "loops.h"

enum {
    LANES = 16,                         /* numbers handled at once: channels are multiples of it */
    AXIS_POINTS = 6,                    /* points along an axis: outputs of a tile + taps - 1, at most */
    POINTS = AXIS_POINTS * AXIS_POINTS, /* products of a tile, at most */
    AXIS_PIXELS = 6,                    /* pixels along an axis that the four phases of a tile read, at most */
    TAPS = 9,                           /* of a phase, at most */
    SLACK = 16 /* numbers between matrices: if these were a power of two apart, they would share
                  few cache lines */
};

/* Images cut into tiles: tile (t, u) of an image, in its phase, reads pixels `step` apart, from pixel
 * (t * down_step + from_y + sign * (phase / 2), …) on. */
typedef struct sv_winograd_view {
    const sv_real *x, *zeros; /* zeros: a pixel outside */
    long h, w, channels;
    long step, from_y, from_x, sign;
    long down_step, across_step, down, across; /* down, across: tiles in an image */
} sv_winograd_view;

/* The transforms of the factors of a tile's products, stored in full or rounded to bfloat16 pairs. Of product q,
 * factors start at q * step; channels and columns are multiples of LANES.
 *
 * input: rows of pixels, a tile each, `phases` phases from `phase` on side by side.
 * input_phases: the same of a data gradient, all four phases, whose pixels are the same but for a row or a column, so
 *   that each is read once; products of a phase follow those of the previous one.
 *   Of 2x2 taps alone.
 * weight: a row of weights, the taps of a phase of g[tap][SV_NR]; as pairs two rows, the second at g[16 + tap].
 * input_steps, gradient: for the weight gradient: as input, of all phases; and tiles of gradients. As pairs, two rows
 *   become one of pairs, the last one with 0 where rows are odd. */
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
 * image. weight_gradient: all taps of LANES input channels from at[phase][q * step + …]. */
typedef struct sv_winograd {
    long tile_h, tile_w; /* outputs of a tile */
    long taps;           /* of a phase, along an axis */
    long products;       /* of a tile */
    void (*output)(const sv_real *m, long step, const sv_epilogue *epilogue, long n, sv_real *const *at);
    void (*weight_gradient)(const sv_real *const *at, long step, sv_real *taps);
    sv_winograd_transforms full;
} sv_winograd;

/* Tiles by the taps of a phase. */
enum sv_winograd_size {
    SV_WINOGRAD_2X2,
    SV_WINOGRAD_4X2,
    SV_WINOGRAD_4X4,
    SV_WINOGRAD_2X2_3TAPS,
    SV_WINOGRAD_4X4_3TAPS,
    SV_WINOGRAD_SIZES
};
extern const sv_winograd sv_winograd_of[SV_WINOGRAD_SIZES];
extern const sv_winograd_transforms sv_winograd_bf16[SV_WINOGRAD_SIZES]; /* where sv_bf16(); of 2x2 taps alone */

/* The small tiles of c, and of n images of outputs those that take the least products. */
enum sv_winograd_size sv_winograd_small(const sv_conv *c);
enum sv_winograd_size sv_winograd_choose(const sv_conv *c, long down, long across, bool bf16);

/* Phases of x: four with stride 2, one with stride 1. */
static inline long sv_winograd_phases(const sv_conv *c) { return c->stride * c->stride; }

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

/* The points, by their number with infinity: 3; 5; 6. The points of 4 are 0 and ±1. */
#define POINT ((sv_real)0.625)
#define NEAR ((sv_real)0.375)
#define FAR ((sv_real)1.25)
#define NEAR_3 ((sv_real)0.625)
#define FAR_3 ((sv_real)1.5)
/* 1 over the product of a point's distances to the others. */
#define NEAR_SCALE (1 / (2 * NEAR * (NEAR * NEAR - FAR * FAR)))
#define FAR_SCALE (1 / (2 * FAR * (FAR * FAR - NEAR * NEAR)))
#define ZERO_3_SCALE (1 / (NEAR_3 * NEAR_3 * FAR_3 * FAR_3))
#define NEAR_3_SCALE (1 / (2 * NEAR_3 * NEAR_3 * (NEAR_3 * NEAR_3 - FAR_3 * FAR_3)))
#define FAR_3_SCALE (1 / (2 * FAR_3 * FAR_3 * (FAR_3 * FAR_3 - NEAR_3 * NEAR_3)))

/* B' along one axis. */
INLINE void input_transform(const long points, const vec *d, const long from, vec *v, const long to) {
    const vec d0 = d[0], d1 = d[from], d2 = d[2 * from];
    if (points == 3) {
        v[0] = d1 + POINT * d0;
        v[to] = d1 - POINT * d0;
        v[2 * to] = d2 - POINT * POINT * d0;
    } else if (points == 4) {
        const vec d3 = d[3 * from];
        v[0] = d0 - d2;
        v[to] = d1 + d2;
        v[2 * to] = d2 - d1;
        v[3 * to] = d3 - d1;
    } else if (points == 5) {
        const vec d3 = d[3 * from], d4 = d[4 * from];
        const vec a = d3 - FAR * FAR * d1, b = d2 - FAR * FAR * d0, e = d3 - NEAR * NEAR * d1,
                  f = d2 - NEAR * NEAR * d0;
        v[0] = a + NEAR * b;
        v[to] = a - NEAR * b;
        v[2 * to] = e + FAR * f;
        v[3 * to] = e - FAR * f;
        v[4 * to] = d4 - FAR * FAR * d2 - NEAR * NEAR * b;
    } else {
        const vec d3 = d[3 * from], d4 = d[4 * from], d5 = d[5 * from];
        const vec a = d3 - FAR_3 * FAR_3 * d1, b = d4 - FAR_3 * FAR_3 * d2, e = d3 - NEAR_3 * NEAR_3 * d1,
                  f = d4 - NEAR_3 * NEAR_3 * d2;
        v[0] = b - NEAR_3 * NEAR_3 * (d2 - FAR_3 * FAR_3 * d0);
        v[to] = b + NEAR_3 * a;
        v[2 * to] = b - NEAR_3 * a;
        v[3 * to] = f + FAR_3 * e;
        v[4 * to] = f - FAR_3 * e;
        v[5 * to] = d5 - FAR_3 * FAR_3 * d3 - NEAR_3 * NEAR_3 * a;
    }
}

/* G along one axis. */
INLINE void weight_transform(const long points, const vec *g, const long from, vec *u, const long to) {
    const vec g0 = g[0], g1 = g[from];
    if (points == 3) {
        const vec half = g1 / 2, n = g0 * (1 / (2 * POINT));
        u[0] = half + n;
        u[to] = half - n;
        u[2 * to] = g1;
    } else if (points == 4) {
        const vec g2 = g[2 * from], even = (g0 + g2) / 2;
        u[0] = g0;
        u[to] = even + g1 / 2;
        u[2 * to] = even - g1 / 2;
        u[3 * to] = g2;
    } else if (points == 5) {
        u[0] = NEAR * NEAR_SCALE * g1 + NEAR_SCALE * g0;
        u[to] = NEAR * NEAR_SCALE * g1 - NEAR_SCALE * g0;
        u[2 * to] = FAR * FAR_SCALE * g1 + FAR_SCALE * g0;
        u[3 * to] = FAR * FAR_SCALE * g1 - FAR_SCALE * g0;
        u[4 * to] = g1;
    } else {
        const vec g2 = g[2 * from];
        const vec a = NEAR_3_SCALE * (g0 + NEAR_3 * NEAR_3 * g2), b = NEAR_3_SCALE * NEAR_3 * g1;
        const vec e = FAR_3_SCALE * (g0 + FAR_3 * FAR_3 * g2), f = FAR_3_SCALE * FAR_3 * g1;
        u[0] = ZERO_3_SCALE * g0;
        u[to] = a + b;
        u[2 * to] = a - b;
        u[3 * to] = e + f;
        u[4 * to] = e - f;
        u[5 * to] = g2;
    }
}

/* A: the transpose of the output transform: values of a polynomial. */
INLINE void gradient_transform(const long points, const vec *y, const long from, vec *w, const long to) {
    const vec y0 = y[0], y1 = y[from];
    if (points == 3) {
        w[0] = y0 + POINT * y1;
        w[to] = y0 - POINT * y1;
        w[2 * to] = y1;
    } else if (points == 4) {
        w[0] = y0;
        w[to] = y0 + y1;
        w[2 * to] = y0 - y1;
        w[3 * to] = y1;
    } else {
        const long at = points == 6 ? to : 0; /* the first point is 0, where there are 6 */
        const sv_real p = points == 6 ? NEAR_3 : NEAR, s = points == 6 ? FAR_3 : FAR;
        const vec y2 = y[2 * from], y3 = y[3 * from];
        const vec a = y0 + p * p * y2, b = y1 + p * p * y3, e = y0 + s * s * y2, f = y1 + s * s * y3;
        w[0] = y0;
        w[at] = a + p * b;
        w[at + to] = a - p * b;
        w[at + 2 * to] = e + s * f;
        w[at + 3 * to] = e - s * f;
        w[at + 4 * to] = y3;
    }
}

/* Along the rows: LANES channels of the pixels at[] to t[]; the columns are left to do. next[]: the pixels that come
 * after these, to prefetch. */
INLINE void input_across(const long points_h, const long points_w, const sv_real *const *at, const sv_real *const *next,
                         long c, vec *t) {
    vec d[AXIS_POINTS];
    for (long i = 0; i < points_h; i++, at += points_w, next += points_w, t += points_w) {
        for (long j = 0; j < points_w; j++) {
            d[j] = FROM(at[j] + c);
            sv_prefetch(next[j] + c, LANES);
        }
        input_transform(points_w, d, 1, t, 1);
    }
}

/* Along the rows of the pixels that any phase of a data gradient reads: for the phases of odd and of even columns. */
INLINE void input_phases_across(const long points_h, const long points_w, const sv_real *const *at,
                                const sv_real *const *next, long c, vec *odd, vec *even) {
    vec d[AXIS_PIXELS];
    for (long i = 0; i <= points_h; i++, at += points_w + 1, next += points_w + 1, odd += points_w, even += points_w) {
        for (long j = 0; j <= points_w; j++) {
            d[j] = FROM(at[j] + c);
            sv_prefetch(next[j] + c, LANES);
        }
        input_transform(points_w, d + 1, 1, odd, 1);
        input_transform(points_w, d, 1, even, 1);
    }
}

INLINE void gradient_across(const long tile_h, const long tile_w, const long points_w, const sv_real *const *at,
                            const sv_real *const *next, long c, vec *t) {
    vec d[AXIS_POINTS];
    for (long i = 0; i < tile_h; i++, at += tile_w, next += tile_w, t += points_w) {
        for (long j = 0; j < tile_w; j++) {
            d[j] = FROM(at[j] + c);
            sv_prefetch(next[j] + c, LANES);
        }
        gradient_transform(points_w, d, 1, t, 1);
    }
}

INLINE void weight_taps(const long points_h, const long points_w, const long taps, const sv_real (*g)[SV_NR],
                        const long *numbers, long c, vec *r) {
    vec d[TAPS], t[AXIS_POINTS * AXIS_POINTS];
    for (long i = 0; i < taps * taps; i++) d[i] = FROM(g[numbers[i]] + c);
    for (long i = 0; i < taps; i++) weight_transform(points_w, d + i * taps, 1, t + i * points_w, 1);
    for (long j = 0; j < points_w; j++) weight_transform(points_h, t + j, points_w, r + j, points_w);
}

/* Where channel c0 of the pixels of a tile is. Without a branch, since which pixels are outside changes from tile to
 * tile. */
INLINE void locate_pixels(const sv_winograd_view *v, const long rows, const long cols, long tile, long phase, long c0,
                          const sv_real **at) {
    long u = tile % v->across, rest = tile / v->across, t = rest % v->down;
    const long pixel = v->channels * (long)sizeof *v->x, row = v->w * pixel;
    const intptr_t zeros = (intptr_t)v->zeros, image = (intptr_t)(v->x + c0) + rest / v->down * v->h * row - zeros;
    long y = t * v->down_step + v->from_y + v->sign * (phase / 2);
    long x = u * v->across_step + v->from_x + v->sign * (phase % 2);
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
