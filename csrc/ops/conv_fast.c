/* conv_fast.c: 4x4 convolutions of stride 2 and padding 1, and their data gradients (so
 * the transposed ones), with fewer multiplications.
 *
 * A stride-2 4x4 convolution is the sum, over the four phases of x (row even or odd,
 * column even or odd), of stride-1 convolutions with 2x2 of the 16 weights. Its data
 * gradient is, phase by phase of gx, a stride-1 convolution of gy with the same 2x2
 * weights turned round. Two-tap filters have a short form, after Toom and Cook, due for
 * neural networks to Lavin and Gray, "Fast algorithms for convolutional neural networks"
 * (2016). Two outputs of
 *
 *   y0 = d0 g0 + d1 g1        m0 = (d0 - d1) g0
 *   y1 = d1 g0 + d2 g1        m1 =  d1 (g0 + g1)        y0 = m0 + m1
 *                             m2 = (d2 - d1) g1         y1 = m1 + m2
 *
 * take 3 multiplications for 4; in two dimensions 2x2 outputs take 9 for 16. Four outputs
 * take 5 for 8, so 4x4 take 25 for 64: products of polynomials by their values at 0, 1,
 * -1, 2 and infinity. Sums are over thousands of channels and weights, and the same for
 * every product, so that they are matrix products:
 *
 *     x or gy         spread          V[q] [tiles][depth]
 *     5x5 pixels of   ------>   x     U[q] [depth][columns]     expanded weights, panels
 *     a tile                    =     M[q] [tiles][columns]
 *                     collect              |
 *     4x4 pixels  <------------------------+      for q of 25
 *
 * A task takes a block of tiles and of columns, and keeps its V and M in scratch, the
 * second-level cache, over slabs of the input channels; V and M never see main memory.
 * The cut depends on the shapes alone.
 */
#include "../simvae.h"
#include "loops.h"
#include <stdlib.h>
#include <string.h>

enum {
    LANES = 16,      /* numbers handled at once: channels are multiples of it */
    MOST = 5,        /* points along an axis: outputs of a tile + 1 */
    SLACK = 16,      /* numbers between matrices, or they would share few lines of the cache */
    PIECE = 16,      /* inner channels of weights that a task expands */
    WIDTH = 128,     /* columns of a task */
    DEPTH = 512,     /* of a step */
    LARGE_MIN = 128, /* tiles of 4x4 that are worth it */
    SMALL_MIN = 48   /* tiles of 2x2 that are worth it at all */
};

typedef sv_real vec __attribute__((vector_size(LANES * sizeof(sv_real))));
typedef struct unaligned {
    vec v;
} __attribute__((packed, aligned(sizeof(sv_real)), may_alias)) unaligned;

#define INLINE __attribute__((always_inline)) static inline
#define AT(p) (((unaligned *)(void *)(p))->v)
#define FROM(p) (((const unaligned *)(const void *)(p))->v)

typedef struct fast {
    long tile, points; /* outputs and products along an axis */
    bool back;         /* from gy to gx */
    const sv_real *x, *w, *bias, *zeros;
    long h, w_in, channels; /* of what is read */
    sv_real *y, *panels;
    long oh, ow, cols;        /* of what is written */
    long down, across, tiles; /* tiles in an image; in all */
    long block, width, slab;  /* tiles and columns of a task; channels of a step */
    long blocks, widths;
    long depth;                  /* of a product */
    long size;                   /* of a product's panels */
    long inner_step, outer_step; /* of w */
} fast;

static long least(long a, long b) { return a < b ? a : b; }

static long divide_up(long a, long b) { return (a + b - 1) / b; }

/* ---- along an axis ---------------------------------------------------------------- */

INLINE void spread(const long tile, const vec *d, const long from, vec *v, const long to) {
    const vec d0 = d[0], d1 = d[from], d2 = d[2 * from];
    if (tile == 2) {
        v[0] = d0 - d1;
        v[to] = d1;
        v[2 * to] = d2 - d1;
    } else {
        const vec d3 = d[3 * from], d4 = d[4 * from], e = d3 - d1;
        v[0] = 2 * (d0 - d2) + e;
        v[to] = e - (d1 + d2);
        v[2 * to] = e + 3 * (d1 - d2);
        v[3 * to] = e;
        v[4 * to] = d4 - d2 - 2 * e;
    }
}

INLINE void expand(const long tile, const vec *g, const long from, vec *u, const long to) {
    const vec g0 = g[0], g1 = g[from];
    if (tile == 2) {
        u[0] = g0;
        u[to] = g0 + g1;
        u[2 * to] = g1;
    } else {
        u[0] = g0 / 2;
        u[to] = (g0 + g1) / -2;
        u[2 * to] = (g1 - g0) * (sv_real)(1.0 / 6);
        u[3 * to] = (g0 + 2 * g1) * (sv_real)(1.0 / 6);
        u[4 * to] = g1;
    }
}

INLINE void collect(const long tile, const vec *m, const long from, vec *y, const long to) {
    const vec m0 = m[0], m1 = m[from], m2 = m[2 * from];
    if (tile == 2) {
        y[0] = m0 + m1;
        y[to] = m1 + m2;
    } else {
        const vec m3 = m[3 * from], m4 = m[4 * from], s = m1 + m2, e = m1 - m2;
        y[0] = m0 + s + m3;
        y[to] = e + 2 * m3;
        y[2 * to] = s + 4 * m3;
        y[3 * to] = e + 8 * m3 + m4;
    }
}

/* ---- tiles ------------------------------------------------------------------------ */

/* v[q * step + …] = spread of n channels of the pixels at[]. */
INLINE void spread_tile(const long tile, const sv_real *const *at, long n, sv_real *v, long step) {
    const long points = tile + 1;
    for (long c = 0; c < n; c += LANES) {
        vec d[MOST], t[MOST * MOST], r[MOST];
        for (long i = 0; i < points; i++) {
            for (long j = 0; j < points; j++) d[j] = FROM(at[i * points + j] + c);
            spread(tile, d, 1, t + i * points, 1);
        }
        for (long j = 0; j < points; j++) {
            spread(tile, t + j, points, r, 1);
            for (long i = 0; i < points; i++) AT(v + (i * points + j) * step + c) = r[i];
        }
    }
}

SV_CLONES static void spread_2(const sv_real *const *at, long n, sv_real *v, long step) {
    spread_tile(2, at, n, v, step);
}
SV_CLONES static void spread_4(const sv_real *const *at, long n, sv_real *v, long step) {
    spread_tile(4, at, n, v, step);
}

/* The pixels at[], n columns, from m[q * step + …]; NULL: outside. */
INLINE void collect_tile(const long tile, const sv_real *m, long step, const sv_real *bias, long n,
                         sv_real *const *at) {
    const long points = tile + 1;
    for (long c = 0; c < n; c += LANES) {
        vec d[MOST], t[MOST * MOST], r[MOST];
        const vec b = bias ? FROM(bias + c) : (vec){0};
        for (long i = 0; i < points; i++) {
            for (long j = 0; j < points; j++) d[j] = FROM(m + (i * points + j) * step + c);
            collect(tile, d, 1, t + i * tile, 1);
        }
        for (long j = 0; j < tile; j++) {
            collect(tile, t + j, tile, r, 1);
            for (long i = 0; i < tile; i++)
                if (at[i * tile + j]) AT(at[i * tile + j] + c) = r[i] + b;
        }
    }
}

SV_CLONES static void collect_2(const sv_real *m, long step, const sv_real *bias, long n, sv_real *const *at) {
    collect_tile(2, m, step, bias, n, at);
}
SV_CLONES static void collect_4(const sv_real *m, long step, const sv_real *bias, long n, sv_real *const *at) {
    collect_tile(4, m, step, bias, n, at);
}

/* ---- weights ---------------------------------------------------------------------- */

/* One of the four 2x2 filters, `lanes` columns: g[tap][…] to u[q * step + …]. */
INLINE void expand_filter(const long tile, const sv_real *const *g, long n, sv_real *u, long step) {
    const long points = tile + 1;
    for (long c = 0; c < n; c += LANES) {
        vec d[4], t[2 * MOST], r[MOST];
        for (long i = 0; i < 4; i++) d[i] = FROM(g[i] + c);
        expand(tile, d, 1, t, 1);
        expand(tile, d + 2, 1, t + points, 1);
        for (long j = 0; j < points; j++) {
            expand(tile, t + j, points, r, 1);
            for (long i = 0; i < points; i++) AT(u + (i * points + j) * step + c) = r[i];
        }
    }
}

SV_CLONES static void expand_2(const sv_real *const *g, long n, sv_real *u, long step) {
    expand_filter(2, g, n, u, step);
}
SV_CLONES static void expand_4(const sv_real *const *g, long n, sv_real *u, long step) {
    expand_filter(4, g, n, u, step);
}

/* Row of a forward product's panels: by slabs of channels, in them by phases. */
static long row_of(const fast *f, long channel, long phase) {
    if (f->back) return channel;
    long c0 = channel / f->slab * f->slab, n = least(f->slab, f->channels - c0);
    return 4 * c0 + phase * n + channel - c0;
}

static void expand_weights(void *arg, long piece, int worker) {
    const fast *f = arg;
    (void)worker;
    long panels = divide_up(f->cols, SV_NR), n = f->points * f->points;
    long panel = piece % panels, first = piece / panels * PIECE, o0 = panel * SV_NR;
    long width = sv_panel_width(f->cols, panel);
    for (long i = first; i < least(f->channels, first + PIECE); i++) {
        sv_real g[16][SV_NR];
        sv_kernel_now()->turn(width, 16, f->w + o0 * f->outer_step + i * f->inner_step, f->outer_step, g[0], SV_NR);
        for (long phase = 0; phase < 4; phase++) {
            const sv_real *at[4];
            for (long t = 0; t < 4; t++) {
                long turned = f->back ? 3 - t : t;
                at[t] = g[(phase / 2 + turned / 2 * 2) * 4 + phase % 2 + turned % 2 * 2];
            }
            sv_real *to = f->panels + (f->back ? phase * n * f->size : 0) + o0 * f->depth + row_of(f, i, phase) * width;
            (f->tile == 2 ? expand_2 : expand_4)(at, width, to, f->size);
        }
    }
}

/* ---- products --------------------------------------------------------------------- */

/* Where the pixels of a tile's window are. */
static void find_window(const fast *f, long tile, long phase, const sv_real **at) {
    long u = tile % f->across * f->tile, t = tile / f->across % f->down * f->tile, image = tile / f->across / f->down;
    long step = f->back ? 1 : 2, from = f->back ? 0 : -1, sign = f->back ? -1 : 1;
    long y0 = t * step + from + sign * (phase / 2), x0 = u * step + from + sign * (phase % 2);
    for (long i = 0; i < f->points; i++)
        for (long j = 0; j < f->points; j++) {
            long y = y0 + i * step, x = x0 + j * step;
            *at++ = y >= 0 && y < f->h && x >= 0 && x < f->w_in
                        ? f->x + ((image * f->h + y) * f->w_in + x) * f->channels
                        : f->zeros;
        }
}

static void find_outputs(const fast *f, long tile, long phase, long col, sv_real **at) {
    long u = tile % f->across * f->tile, t = tile / f->across % f->down * f->tile, image = tile / f->across / f->down;
    long step = f->back ? 2 : 1;
    long y0 = t * step + (f->back ? 1 - phase / 2 : 0), x0 = u * step + (f->back ? 1 - phase % 2 : 0);
    for (long i = 0; i < f->tile; i++)
        for (long j = 0; j < f->tile; j++) {
            long y = y0 + i * step, x = x0 + j * step;
            *at++ = y < f->oh && x < f->ow ? f->y + ((image * f->oh + y) * f->ow + x) * f->cols + col : NULL;
        }
}

static void run_task(void *arg, long task, int worker) {
    const fast *f = arg;
    long block = task % f->blocks, rest = task / f->blocks;
    long n0 = rest % f->widths * f->width, out = rest / f->widths;
    long n = least(f->width, f->cols - n0), t0 = block * f->block, tiles = least(f->block, f->tiles - t0);
    long q2 = f->points * f->points, phases = f->back ? 1 : 4;
    long ldv = phases * f->slab + SLACK, vstep = f->block * ldv + SLACK, ldm = f->width + SLACK;
    long mstep = f->block * ldm + SLACK;
    sv_real *v = sv_scratch(worker), *m = v + q2 * vstep;
    const sv_kernel *kernel = sv_kernel_now();
    for (long c0 = 0; c0 < f->channels; c0 += f->slab) {
        long channels = least(f->slab, f->channels - c0), depth = phases * channels;
        for (long t = 0; t < tiles; t++)
            for (long phase = 0; phase < phases; phase++) {
                const sv_real *at[MOST * MOST];
                find_window(f, t0 + t, phases == 1 ? out : phase, at);
                for (long q = 0; q < q2; q++) at[q] += c0;
                (f->tile == 2 ? spread_2 : spread_4)(at, channels, v + t * ldv + phase * channels, vstep);
            }
        sv_tile k = {.segs = 1, .run = depth, .last = depth, .step = 1, .add = c0 > 0};
        for (long q = 0; q < q2; q++) {
            const sv_real *panels = f->panels + (out * q2 + q) * f->size;
            for (long j = 0; j < n; j += SV_NR) {
                k.ldb = sv_panel_width(f->cols, (n0 + j) / SV_NR);
                k.b = panels + (n0 + j) * f->depth + phases * c0 * k.ldb;
                k.cols = least(n - j, SV_NR);
                for (long t = 0; t < tiles; t += SV_MR) {
                    const sv_real *a[SV_MR];
                    sv_real *c[SV_MR];
                    k.rows = least(SV_MR, tiles - t);
                    for (long r = 0; r < SV_MR; r++) {
                        long row = least(t + r, tiles - 1);
                        a[r] = v + q * vstep + row * ldv;
                        c[r] = m + q * mstep + row * ldm + j;
                    }
                    k.a = a;
                    k.c = c;
                    kernel->tile(&k);
                }
            }
        }
    }
    for (long t = 0; t < tiles; t++) {
        sv_real *at[(MOST - 1) * (MOST - 1)];
        find_outputs(f, t0 + t, out, n0, at);
        (f->tile == 2 ? collect_2 : collect_4)(m + t * ldm, mstep, f->bias ? f->bias + n0 : NULL, n, at);
    }
}

/* Tiles of 4x4 where they are enough to be worth expanding the weights so far, and do not
 * hang over the border too much. */
static long choose_tile(long n, long down, long across) {
    long small = n * divide_up(down, 2) * divide_up(across, 2), large = n * divide_up(down, 4) * divide_up(across, 4);
    return large >= LARGE_MIN && 25 * large * 5 <= 9 * small * 4 ? 4 : 2;
}

static fast plan(const sv_conv *c, bool back) {
    long down = back ? divide_up(c->h, 2) : c->oh, across = back ? divide_up(c->w, 2) : c->ow;
    fast f = {.back = back, .tile = choose_tile(c->n, down, across)};
    f.points = f.tile + 1;
    f.h = back ? c->oh : c->h;
    f.w_in = back ? c->ow : c->w;
    f.channels = back ? c->cout : c->cin;
    f.oh = back ? c->h : c->oh;
    f.ow = back ? c->w : c->ow;
    f.cols = back ? c->cin : c->cout;
    f.down = divide_up(down, f.tile);
    f.across = divide_up(across, f.tile);
    f.tiles = c->n * f.down * f.across;
    f.block = f.tile == 2 ? 32 : 16;
    f.width = least(WIDTH, f.cols);
    f.slab = least(back ? DEPTH : DEPTH / 4, f.channels);
    f.blocks = divide_up(f.tiles, f.block);
    f.widths = divide_up(f.cols, f.width);
    f.depth = (back ? 1 : 4) * f.channels;
    f.size = (long)sv_panels_size(f.depth, f.cols) + SLACK;
    f.inner_step = back ? 16 * c->cin : 16;
    f.outer_step = back ? 16 : 16 * c->cin;
    return f;
}

static bool suits(const sv_conv *c) {
    if (c->kernel != 4 || c->stride != 2 || c->pad != 1 || c->cin % LANES != 0 || c->cout % LANES != 0) return false;
    return c->n * divide_up(c->oh, 2) * divide_up(c->ow, 2) >= SMALL_MIN && c->cin > 0 && c->cout > 0;
}

/* SV_CONV=plain turns it off. Factors in pairs of bfloat16 would be rounded after they
 * were spread: the plain way there as well. */
bool sv_conv_fast(const sv_conv *c) {
    const char *way = getenv("SV_CONV");
    return suits(c) && !sv_pairs_now() && !(way && strcmp(way, "plain") == 0);
}

/* By shape alone: what is chosen may change before the backward pass. */
size_t sv_conv_fast_work(const sv_conv *c) {
    if (!suits(c)) return 0;
    fast f = plan(c, false), b = plan(c, true);
    long most = f.size > 4 * b.size ? f.size : 4 * b.size;
    return (size_t)(f.points * f.points > b.points * b.points ? f.points * f.points : b.points * b.points) *
           (size_t)most;
}

void sv_conv_run_fast(const sv_conv *c, bool back, const sv_real *x, const sv_real *weight, const sv_real *bias,
                      const sv_real *zeros, sv_real *y, sv_real *work) {
    fast f = plan(c, back);
    f.x = x;
    f.w = weight;
    f.bias = bias;
    f.zeros = zeros;
    f.y = y;
    f.panels = work;
    sv_parallel(divide_up(f.cols, SV_NR) * divide_up(f.channels, PIECE), expand_weights, &f);
    sv_parallel(f.blocks * f.widths * (back ? 4 : 1), run_task, &f);
}
