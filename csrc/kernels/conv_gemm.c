/* conv_gemm.c: convolution and its gradients, and so the transposed convolution, as matrix products (implicit GEMM),
 * for every shape.
 *
 * Each output pixel has a patch of the input, kh x kw pixels of cin numbers, and is that patch times the
 * weights:
 *
 *        x: rows of pixels, cin numbers each
 *      . . . . . . . . .          one row of A, for a 4x4 kernel:
 *      . +-------+ . . .
 *      . |a a a a| . . .          +-------+-------+-------+-------+
 *      . |b b b b| . . .   --->   |a a a a|b b b b|c c c c|d d d d|  x  W  =  y
 *      . |c c c c| . . .          +-------+-------+-------+-------+
 *      . |d d d d| . . .          16 cin numbers            [16 cin][cout]
 *      . +-------+ . . .
 *
 * Patches are never stored: the product reads their runs in place (conv_patches.c).
 *
 * The data gradient (and the transposed convolution, which is the same map) would scatter each y over a patch of x.
 * Instead, each x gathers the y that depend on it. With stride 2 and a 4x4 kernel, x pixels fall into four phases (row
 * even or odd, column even or odd), and those of one phase all reach y through the same 2x2 of the 16 weights:
 *
 *      x:  0 1 0 1 0 1      phase 0:  weights ky = 1, 3 (pad 1), kx likewise
 *          2 3 2 3 2 3      phase 1:  ky = 1, 3; kx = 0, 2
 *          0 1 0 1 0 1      ...
 *          2 3 2 3 2 3
 *
 * So it is four dense stride-1 convolutions of gy with 2x2 kernels, each writing every other pixel of every other row.
 * In general there are stride^2 phases of at most ceil(kernel / stride)^2 weights (some of none, if kernel < stride).
 * With dilation, which takes stride 1, there is one phase, and its pixels of gy are as far apart.
 *
 * The weight gradient is gy' [cout][pixels] times the patches [pixels][16 cin], cut along the pixels into a fixed
 * number of parts that are added in order.
 */
#include "conv_patches.h"
#include "gemm.h"
#include "loops.h"

enum {
    MAX_PHASES = 16,     /* products in one parallel region */
    PARTS = 8,           /* of the pixels, in the weight gradient, when the weights are few */
    PART_MIN = 512,      /* pixels in a part */
    CACHE_PIXELS = 1024, /* of y: with more, the product takes far longer than packing its weights */
    BF16_MAX = 8192      /* channels of a pixel that fit a task's scratch as bfloat16 pairs */
};

static bool suits(const sv_conv *c, bool bf16) {
    (void)c, (void)bf16;
    return true;
}

/* Is a product of n columns with pixels of so many channels rounded? */
static bool rounded(bool bf16, long n, long channels) { return bf16 && channels <= BF16_MAX && n > SV_DOT_MAX; }

static bool worth_caching(const sv_conv *c) { return c->n * c->oh * c->ow <= CACHE_PIXELS; }

static uint64_t cache_key(const sv_conv *c, bool bf16, bool back) {
    return ((uint64_t)c->stride << 32) + (bf16 ? 2 : 0) + back;
}

static sv_patches patches_of(const sv_conv *c, const sv_real *x, const sv_real *zeros) {
    return (sv_patches){
        .x = x,
        .h = c->h,
        .w = c->w,
        .channels = c->cin,
        .kh = c->kh,
        .kw = c->kw,
        .stride = c->stride,
        .dilation = c->dilation,
        .y0 = -c->pad_y,
        .x0 = -c->pad_x,
        .down = c->oh,
        .across = c->ow,
        .zeros = zeros,
    };
}

/* ---- forward ----------------------------------------------------------------------- */

void sv_conv_forward_workspace(const sv_conv *c, bool bf16, struct sv_conv_choice *choice) {
    size_t panels = sv_panels_size(c->kh * c->kw * c->cin, c->cout);
    choice->workspace = (size_t)sv_conv_zeros(c) + panels + 16;
    choice->cache = worth_caching(c) ? panels : 0;
    choice->cache_key = cache_key(c, bf16, false);
}

static long place_forward(const sv_conv *c, long tap, long inner, long *first, long *depth) {
    *first = tap * inner;
    *depth = c->kh * c->kw * inner;
    return 0;
}

const sv_real *sv_conv_forward_panels(const sv_conv *c, const sv_conv_data *d, bool bf16, sv_real *work) {
    long taps = c->kh * c->kw;
    sv_real *panels = d->cache.numbers ? d->cache.numbers : work;
    if (d->cache.ready) return panels;
    sv_pack_weights(&(sv_weight_panels){
        .w = d->weight,
        .taps = taps,
        .inner = c->cin,
        .outer = c->cout,
        .inner_step = taps,
        .outer_step = taps * c->cin,
        .place = place_forward,
        .c = c,
        .panels = panels,
    });
    if (bf16) sv_bf16_panels(panels, taps * c->cin, c->cout);
    return panels;
}

static void forward(const sv_conv *c, bool bf16, const sv_conv_data *d) {
    sv_real *panels = sv_conv_clear_zeros(c, d->work);
    bool half = rounded(bf16, c->cout, c->cin);
    sv_patches v = patches_of(c, d->x, d->work);
    sv_product p = {
        .m = c->n * c->oh * c->ow,
        .n = c->cout,
        .k = c->kh * c->kw * c->cin,
        .a = sv_patch_rows(&v),
        .panels = sv_conv_forward_panels(c, d, half, panels),
        .c = d->out,
        .ldc = c->cout,
        .bf16 = half,
    };
    sv_epilogue_of_product(d->epilogue, &p);
    sv_products(&p, 1);
}

/* ---- the data gradient ---------------------------------------------------------------- */

/* Along one axis: taps of the kernel that lead to x pixels of residue r, where r = (pixel + pad) mod stride. */
static long taps_of(const sv_conv *c, long kernel, long r) {
    return r < kernel ? (kernel - r + c->stride - 1) / c->stride : 0;
}

static long taps_down(const sv_conv *c, long r) { return taps_of(c, c->kh, r); }
static long taps_across(const sv_conv *c, long r) { return taps_of(c, c->kw, r); }

/* Numbers that the panels of `taps` taps take, as a product of the data gradient. */
static long panels_size(const sv_conv *c, long taps) {
    return taps > 0 ? round_up((long)sv_panels_size(taps * c->cout, c->cin), 16) : 0;
}

/* Phases are numbered by their residues; panels of the earlier ones come first. A patch of gy pairs with the taps of a
 * phase from the last to the first. */
static long phase_start(const sv_conv *c, long ry, long rx) {
    long down = sv_min(c->stride, c->kh), across = sv_min(c->stride, c->kw), at = 0; /* residues beyond have no taps */
    for (long y = 0; y <= ry && y < down; y++)
        for (long x = 0; x < (y < ry ? across : sv_min(rx, across)); x++)
            at += panels_size(c, taps_down(c, y) * taps_across(c, x));
    return at;
}

static void data_workspace(const sv_conv *c, bool bf16, struct sv_conv_choice *choice) {
    size_t panels = (size_t)phase_start(c, c->stride, 0);
    choice->workspace = (size_t)sv_conv_zeros(c) + panels + 16;
    choice->cache = worth_caching(c) ? panels : 0;
    choice->cache_key = cache_key(c, bf16, true);
}

static long place_back(const sv_conv *c, long tap, long inner, long *first, long *depth) {
    long ky = tap / c->kw, kx = tap % c->kw;
    long ry = ky % c->stride, rx = kx % c->stride;
    long down = taps_down(c, ry), across = taps_across(c, rx);
    *first = ((down - 1 - ky / c->stride) * across + across - 1 - kx / c->stride) * inner;
    *depth = down * across * inner;
    return phase_start(c, ry, rx);
}

/* Along one axis, x pixels t * stride + start, t < count, depend on y pixels t + first + k * dilation, k < taps. */
typedef struct phase {
    long start, count, taps, first;
} phase;

static phase find_phase(const sv_conv *c, long taps, long pad, long residue, long size) {
    phase p = {.taps = taps};
    p.start = (residue + c->stride - pad % c->stride) % c->stride;
    p.count = size > p.start ? (size - p.start + c->stride - 1) / c->stride : 0;
    p.first = (p.start + pad) / c->stride - (p.taps - 1) * c->dilation;
    return p;
}

/* The product of one phase; v and to are its operands. */
static sv_product phase_product(const sv_conv *c, const sv_conv_data *d, phase py, phase px, sv_patches *v,
                                sv_pixels *to) {
    *v = (sv_patches){
        .x = d->gy,
        .h = c->oh,
        .w = c->ow,
        .channels = c->cout,
        .kh = py.taps,
        .kw = px.taps,
        .stride = 1,
        .dilation = c->dilation,
        .y0 = py.first,
        .x0 = px.first,
        .down = py.count,
        .across = px.count,
        .zeros = d->work,
    };
    *to = (sv_pixels){
        .x = d->out,
        .h = c->h,
        .w = c->w,
        .channels = c->cin,
        .stride = c->stride,
        .y0 = py.start,
        .x0 = px.start,
        .down = py.count,
        .across = px.count,
    };
    sv_product p = {
        .m = c->n * py.count * px.count,
        .n = c->cin,
        .k = py.taps * px.taps * c->cout,
        .a = sv_patch_rows(v),
        .locate_c = sv_locate_pixels,
        .locate_c_arg = to,
    };
    if (p.k == 0) p.a.run = 1;
    sv_epilogue_of_product(d->epilogue, &p);
    return p;
}

static void data_gradient(const sv_conv *c, bool bf16, const sv_conv_data *d) {
    long taps = c->kh * c->kw, phases = c->stride * c->stride, count = 0;
    sv_real *work = sv_conv_clear_zeros(c, d->work), *panels = d->cache.numbers ? d->cache.numbers : work;
    if (!d->cache.ready)
        sv_pack_weights(&(sv_weight_panels){
            .w = d->weight,
            .taps = taps,
            .inner = c->cout,
            .outer = c->cin,
            .inner_step = taps * c->cin,
            .outer_step = taps,
            .place = place_back,
            .c = c,
            .panels = panels,
        });
    sv_product p[MAX_PHASES];
    sv_patches v[MAX_PHASES];
    sv_pixels to[MAX_PHASES];
    for (long f = 0; f < phases; f++) {
        long ry = f / c->stride, rx = f % c->stride;
        phase py = find_phase(c, taps_down(c, ry), c->pad_y, ry, c->h);
        phase px = find_phase(c, taps_across(c, rx), c->pad_x, rx, c->w);
        if (py.count * px.count > 0) {
            sv_real *own = panels + phase_start(c, ry, rx);
            p[count] = phase_product(c, d, py, px, &v[count], &to[count]);
            p[count].panels = own;
            p[count].bf16 = rounded(bf16, c->cin, c->cout);
            if (p[count].bf16 && !d->cache.ready) sv_bf16_panels(own, p[count].k, c->cin);
            count++;
        }
        if (count == MAX_PHASES || f + 1 == phases) {
            sv_products(p, count);
            count = 0;
        }
    }
}

/* ---- the weight gradient -------------------------------------------------------------- */

/* How many parts the pixels are cut into: enough for a few threads, but few enough that adding the partial sums costs
 * well below making them. */
static long weight_parts(const sv_conv *c) {
    long pixels = c->n * c->oh * c->ow, width = c->kh * c->kw * c->cin;
    long tiles = divide_up(width, 512) * divide_up(c->cout, 256);
    return sv_max(1, sv_min(PARTS / sv_max(1, tiles), pixels / PART_MIN));
}

static void weight_workspace(const sv_conv *c, bool bf16, struct sv_conv_choice *choice) {
    (void)bf16;
    long sums = weight_parts(c) * c->kh * c->kw * c->cin * c->cout;
    choice->workspace = (size_t)(sv_conv_zeros(c) + sums) + 16;
}

/* gw[co][ci][tap] = sum over parts of part[co][tap][ci]. */
typedef struct parts {
    const sv_conv *c;
    sv_real *sums;
    long count;
    sv_real *gw;
} parts;

static void add_parts(void *arg, long co, int worker) {
    const parts *p = arg;
    long taps = p->c->kh * p->c->kw, cin = p->c->cin, row = taps * cin;
    (void)worker;
    sv_real *restrict to = p->sums + co * row;
    for (long part = 1; part < p->count; part++) {
        const sv_real *restrict from = to + part * row * p->c->cout;
        for (long i = 0; i < row; i++) to[i] += from[i];
    }
    sv_cpu->gemm->transpose(taps, cin, to, cin, p->gw + co * row, taps);
}

static void weight_gradient(const sv_conv *c, bool bf16, const sv_conv_data *d) {
    sv_real *sums = sv_conv_clear_zeros(c, d->work);
    sv_patches v = patches_of(c, d->x, d->work);
    sv_rows rows = sv_patch_rows(&v);
    long pixels = c->n * c->oh * c->ow, width = c->kh * c->kw * c->cin;
    long count = weight_parts(c);
    sv_product p[PARTS];
    for (long i = 0; i < count; i++) {
        long from = pixels * i / count, until = pixels * (i + 1) / count;
        p[i] = (sv_product){
            .m = c->cout,
            .n = width,
            .k = until - from,
            .transpose_a = true,
            .a = {.base = d->gy + from * c->cout, .ld = c->cout, .run = c->cout, .segs = 1},
            .b = rows,
            .b_first = from,
            .bf16 = bf16,
            .c = sums + i * width * c->cout,
            .ldc = width,
        };
    }
    sv_products(p, count);
    parts all = {c, sums, count, d->out};
    sv_parallel(c->cout, add_parts, &all);
}

const sv_conv_algorithm sv_conv_gemm[SV_CONV_PASSES] = {
    [SV_CONV_FORWARD] = {"gemm", suits, sv_conv_forward_workspace, forward},
    [SV_CONV_DATA_GRADIENT] = {"gemm", suits, data_workspace, data_gradient},
    [SV_CONV_WEIGHT_GRADIENT] = {"gemm", suits, weight_workspace, weight_gradient},
};
