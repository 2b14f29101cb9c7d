/* conv_winograd.c: 4x4 convolutions of stride 2 and padding 1, and their data gradients (so
 * the transposed ones), with fewer multiplications.
 *
 * A stride-2 4x4 convolution is the sum, over the four phases of x (row even or odd,
 * column even or odd), of stride-1 convolutions with 2x2 of the 16 weights. Its data
 * gradient is, phase by phase of gx, a stride-1 convolution of gy with the same 2x2
 * weights turned round. Two-tap filters have a short form, due for neural networks to
 * Lavin and Gray, "Fast algorithms for convolutional neural networks" (2016). Two outputs
 *
 *   y0 = d0 g0 + d1 g1        m0 = (d1 + s d0) (g1 + g0 / s) / 2      y0 = m0 + m1
 *   y1 = d1 g0 + d2 g1        m1 = (d1 - s d0) (g1 - g0 / s) / 2      y1 = m2 + s (m0 - m1)
 *                             m2 = (d2 - s s d0) g1                   for any s
 *
 * take 3 multiplications for 4; in two dimensions 2x2 outputs take 9 for 16. Four outputs
 * take 5 for 8, so 4x2 take 15 for 32 and 4x4 take 25 for 64 (conv_winograd.h). Sums are over
 * thousands of channels and weights, and the same for every product, so that they are
 * matrix products:
 *
 *     x or gy         spread          V[q] [tiles][depth]
 *     5x5 pixels of   ------>   x     U[q] [depth][columns]     expanded weights, panels
 *     a tile                    =     M[q] [tiles][columns]
 *                     collect              |
 *     4x4 pixels  <------------------------+      for q of 25
 *
 * A task takes a block of tiles and of columns, and keeps its V and M in scratch, the
 * second-level cache, over slabs of the input channels; V and M never see main memory.
 * Where weights are few it makes all four phases of its part of gx, whose windows of gy
 * are the same but for a row or a column: each pixel is read once, and a thread meets the
 * same images as in the layers before and behind. Else a phase's panels fill the cache.
 * The cut depends on the shapes alone. In pairs of bfloat16 (kernels/gemm_bf16.c), V and U
 * are made in single precision and rounded then. The weight gradient is in
 * conv_winograd_weight.c.
 */
#include "conv_winograd.h"
#include <stdlib.h>
#include <string.h>

enum {
    PIECE = 16,         /* inner channels of weights that a task expands */
    WIDTH = 128,        /* columns of a task */
    BLOCK = 32,         /* tiles of a task, of the smallest */
    DEPTH = 512,        /* of a step */
    LARGE_MIN = 2048,   /* outputs that larger tiles are worth it for; half as many, if weights are few: */
    FEW_WEIGHTS = 8,    /* of 16 numbers, for an output */
    TOGETHER = 1 << 13, /* the same, that all phases of gx are made by one task for: they stay in the cache */
    SMALL_MIN = 48      /* tiles of 2x2 that are worth it at all */
};

/* A form has 16 tiles of 16 pixels in a task, or twice as many of half as many or fewer. */
enum { PLACES = 4 * BLOCK / 2 * (MOST - 1) * (MOST - 1) };

_Static_assert(4 * POINTS * (BLOCK / 2) * sizeof(sv_real) * (DEPTH / 4 + WIDTH + 2 * SLACK) <= SV_SCRATCH_BYTES,
               "V and M of a task fit scratch, of four phases as well");

typedef struct fast {
    const sv_form *form;
    const sv_factors *factors;
    void (*product)(const sv_tile *t);
    long half; /* 2: numbers in pairs */
    bool back; /* from gy to gx */
    sv_view x;
    const sv_real *w;
    sv_after after;
    sv_real *y, *panels;
    long oh, ow, cols;               /* of what is written */
    long products, tiles;            /* of a tile; in all */
    long block, width, slab, phases; /* tiles, columns and phases of gx of a task; channels of a step */
    long blocks, widths;
    long depth;                  /* of a product, as it is stored */
    long size;                   /* of a product's panels */
    long inner_step, outer_step; /* of w */
} fast;

/* Row of a forward product's panels: by slabs of channels, in them by phases. */
static long row_of(const fast *f, long channel, long phase) {
    if (f->back) return channel;
    long c0 = channel / f->slab * f->slab, n = least(f->slab, f->x.channels - c0);
    return 4 * c0 + phase * n + channel - c0;
}

static void expand_weights(void *arg, long piece, int worker) {
    const fast *f = arg;
    (void)worker;
    long panels = divide_up(f->cols, SV_NR), panel = piece % panels, first = piece / panels * PIECE;
    long o0 = panel * SV_NR, width = sv_panel_width(f->cols, panel);
    for (long i = first; i < least(f->x.channels, first + PIECE); i += f->half) {
        sv_real g[2 * 16][SV_NR];
        for (long k = 0; k < f->half; k++)
            sv_kernel_now()->turn(width, 16, f->w + o0 * f->outer_step + (i + k) * f->inner_step, f->outer_step,
                                  g[k * 16], SV_NR);
        for (long phase = 0; phase < 4; phase++) {
            long taps[4];
            for (long t = 0; t < 4; t++) {
                long turned = f->back ? 3 - t : t;
                taps[t] = (phase / 2 + turned / 2 * 2) * 4 + phase % 2 + turned % 2 * 2;
            }
            sv_real *to = f->panels + (f->back ? phase * f->products * f->size : 0) + o0 * f->depth;
            f->factors->expand((const sv_real(*)[SV_NR])g, taps, width, to + row_of(f, i, phase) / f->half * width,
                               f->size);
        }
    }
}

/* ---- products --------------------------------------------------------------------- */

static void find_outputs(const fast *f, long tile, long phase, long col, sv_real **at) {
    long tall = f->form->tall, wide = f->form->wide, step = f->back ? 2 : 1;
    long u = tile % f->x.across * wide, rest = tile / f->x.across, t = rest % f->x.down * tall;
    sv_real *image = f->y + rest / f->x.down * f->oh * f->ow * f->cols + col;
    long y0 = t * step + (f->back ? 1 - phase / 2 : 0), x0 = u * step + (f->back ? 1 - phase % 2 : 0);
    for (long i = 0; i < tall; i++)
        for (long j = 0; j < wide; j++) {
            long y = y0 + i * step, x = x0 + j * step;
            *at++ = y < f->oh && x < f->ow ? image + (y * f->ow + x) * f->cols : NULL;
        }
}

/* M of one phase of gx, the task's i-th, or of y: rows of V from `row` of the panels on. from, to: rows of the first of
 * V and of M. While products are made, the pixels of y that become of them are fetched: places, of which there are
 * `count`, or none. */
typedef struct rows {
    const sv_real *from[BLOCK];
    sv_real *to[BLOCK];
} rows;

static void multiply(const fast *f, long out, long i, long n0, long n, long tiles, long row, sv_tile *k, const rows *at,
                     long vstep, long mstep, sv_real *const *places, long count) {
    for (long q = 0; q < f->products; q++) {
        const sv_real *panels = f->panels + ((out + i) * f->products + q) * f->size;
        long product = i * f->products + q;
        k->a_skip = product * vstep;
        for (long p = count * q / f->products; p < count * (q + 1) / f->products; p++)
            if (places[p]) sv_bring_to_write(places[p], n);
        for (long j = 0; j < n; j += SV_NR) {
            k->ldb = sv_panel_width(f->cols, (n0 + j) / SV_NR);
            k->b = panels + (n0 + j) * f->depth + row * k->ldb;
            k->cols = least(n - j, SV_NR);
            k->c_skip = product * mstep + j;
            for (long t = 0; t < tiles; t += SV_MR) {
                k->rows = least(SV_MR, tiles - t);
                k->a = at->from + t;
                k->c = at->to + t;
                f->product(k);
            }
        }
    }
}

static void run_task(void *arg, long task, int worker) {
    const fast *f = arg;
    long block = task % f->blocks, rest = task / f->blocks;
    long n0 = rest % f->widths * f->width, out = rest / f->widths * f->phases;
    long n = least(f->width, f->cols - n0), t0 = block * f->block, tiles = least(f->block, f->tiles - t0);
    long beside = f->back ? 1 : 4;
    long ldv = beside * f->slab / f->half + SLACK, vstep = f->block * ldv + SLACK, ldm = f->width + SLACK;
    long mstep = f->block * ldm + SLACK;
    sv_real *v = sv_scratch(worker), *m = v + f->phases * f->products * vstep;
    sv_real *places[PLACES];
    long each = f->form->tall * f->form->wide, all = tiles * each;
    for (long i = 0; i < f->phases; i++)
        for (long t = 0; t < tiles; t++) find_outputs(f, t0 + t, out + i, n0, places + i * all + t * each);
    rows at;
    for (long t = 0; t < round_up(tiles, SV_MR); t++) {
        at.from[t] = v + least(t, tiles - 1) * ldv;
        at.to[t] = m + least(t, tiles - 1) * ldm;
    }
    for (long c0 = 0; c0 < f->x.channels; c0 += f->slab) {
        long channels = least(f->slab, f->x.channels - c0), depth = beside * channels / f->half;
        bool last = c0 + channels == f->x.channels;
        if (f->phases > 1)
            f->factors->around(&f->x, t0, tiles, c0, channels, v, ldv, vstep);
        else
            f->factors->spread(&f->x, t0, tiles, out, beside, c0, channels, v, ldv, vstep);
        sv_tile k = {.segs = 1, .run = depth, .last = depth, .step = 1, .add = c0 > 0};
        for (long i = 0; i < f->phases; i++)
            multiply(f, out, i, n0, n, tiles, beside * c0 / f->half, &k, &at, vstep, mstep, places + i * all,
                     last ? all : 0);
    }
    sv_after after = f->after;
    if (after.bias) after.bias += n0;
    if (after.gain) after.gain += n0;
    for (long i = 0; i < f->phases; i++)
        for (long t = 0; t < tiles; t++)
            f->form->collect(m + i * f->products * mstep + t * ldm, mstep, &after, n, places + i * all + t * each);
}

/* Tiles of 4x4, or in pairs of bfloat16, whose rounding they would make more of, of 4x2: where
 * they do not hang over the border too much. */
enum sv_form_name sv_conv_fast_form(long n, long down, long across, bool half) {
    enum sv_form_name large = half ? SV_FORM_42 : SV_FORM_44;
    long cost[SV_FORMS];
    for (int i = 0; i < SV_FORMS; i++) {
        long tall = sv_forms[i].tall, wide = sv_forms[i].wide;
        cost[i] = (tall + 1) * (wide + 1) * n * divide_up(down, tall) * divide_up(across, wide);
    }
    return 20 * cost[large] <= 17 * cost[SV_FORM_22] ? large : SV_FORM_22;
}

static fast plan(const sv_conv *c, bool back, bool half) {
    long down = back ? divide_up(c->h, 2) : c->oh, across = back ? divide_up(c->w, 2) : c->ow;
    long outputs = c->n * down * across, weights = c->cin * c->cout;
    /* Or expanded weights cost more than they save. */
    bool many = outputs >= LARGE_MIN || (outputs >= LARGE_MIN / 2 && weights <= FEW_WEIGHTS * outputs);
    enum sv_form_name name = many ? sv_conv_fast_form(c->n, down, across, half) : SV_FORM_22;
    const sv_form *form = &sv_forms[name];
    fast f = {.back = back, .form = form, .half = half ? 2 : 1};
    f.factors = half ? &sv_forms_bf16[name] : &form->full;
    f.products = (form->tall + 1) * (form->wide + 1);
    f.x = (sv_view){
        .h = back ? c->oh : c->h,
        .w = back ? c->ow : c->w,
        .channels = back ? c->cout : c->cin,
        .step = back ? 1 : 2,
        .from = back ? 0 : -1,
        .sign = back ? -1 : 1,
        .down = divide_up(down, form->tall),
        .across = divide_up(across, form->wide),
    };
    f.x.down_step = form->tall * f.x.step;
    f.x.across_step = form->wide * f.x.step;
    f.oh = back ? c->h : c->oh;
    f.ow = back ? c->w : c->ow;
    f.cols = back ? c->cin : c->cout;
    f.tiles = c->n * f.x.down * f.x.across;
    f.block = f.products == POINTS ? BLOCK / 2 : BLOCK;
    f.width = least(WIDTH, f.cols);
    f.phases = back && weights <= TOGETHER ? 4 : 1;
    f.slab = least(back ? DEPTH / f.phases : DEPTH / 4, f.x.channels);
    f.blocks = divide_up(f.tiles, f.block);
    f.widths = divide_up(f.cols, f.width);
    f.depth = (back ? 1 : 4) * f.x.channels / f.half;
    f.size = (long)sv_panels_size(f.depth, f.cols) + SLACK;
    f.inner_step = back ? 16 * c->cin : 16;
    f.outer_step = back ? 16 : 16 * c->cin;
    return f;
}

bool sv_conv_fast_suits(const sv_conv *c) {
    if (c->kernel != 4 || c->stride != 2 || c->pad != 1 || c->cin % LANES != 0 || c->cout % LANES != 0) return false;
    return c->n * divide_up(c->oh, 2) * divide_up(c->ow, 2) >= SMALL_MIN && c->cin > 0 && c->cout > 0;
}

/* SV_CONV=plain turns it off. */
bool sv_conv_fast(const sv_conv *c) {
    const char *way = getenv("SV_CONV");
    return sv_conv_fast_suits(c) && !(way && strcmp(way, "plain") == 0);
}

/* Above this many numbers (8 MiB in float) expanding is cheap beside the products, and the memory is dear. */
#define KEPT_MOST ((size_t)2 << 20)

size_t sv_conv_fast_kept(const sv_conv *c, bool back, uint64_t *key) {
    fast f = plan(c, back, sv_pairs_now() != NULL);
    *key = (uint64_t)(f.form - sv_forms + 1) * 4 + (f.half > 1 ? 2 : 0) + back;
    size_t size = (size_t)(f.products * f.size * (back ? 4 : 1));
    return size <= KEPT_MOST ? size : 0;
}

/* Precision may change before the backward pass. */
size_t sv_conv_fast_work(const sv_conv *c) {
    if (!sv_conv_fast_suits(c)) return 0;
    long most = 0;
    for (int i = 0; i < 4; i++) {
        bool back = i % 2 > 0;
        fast f = plan(c, back, i / 2 > 0);
        long size = f.products * f.size * (back ? 4 : 1);
        if (size > most) most = size;
    }
    return (size_t)most;
}

void sv_conv_run_fast(const sv_conv *c, bool back, const sv_real *x, const sv_real *weight, const sv_after *after,
                      const sv_real *zeros, sv_real *y, sv_real *work) {
    const sv_pairs *pairs = sv_pairs_now();
    fast f = plan(c, back, pairs != NULL);
    f.product = pairs ? pairs->tile : sv_kernel_now()->tile;
    f.x.x = x;
    f.x.zeros = zeros;
    f.w = weight;
    f.after = after ? *after : (sv_after){.slope = 1};
    f.y = y;
    f.panels = c->kept ? c->kept : work;
    if (!c->ready) sv_parallel(divide_up(f.cols, SV_NR) * divide_up(f.x.channels, PIECE), expand_weights, &f);
    sv_parallel(f.blocks * f.widths * (back ? 4 : 1) / f.phases, run_task, &f);
}
