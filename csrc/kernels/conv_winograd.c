/* conv_winograd.c: Winograd convolution, and its data gradient, for kernels of 4x4 with stride 2 and padding 1 and of
 * 3x3 with stride 1.
 *
 * A stride-2 4x4 convolution is the sum, over the four phases of x (row even or odd, column even or odd), of stride-1
 * convolutions with 2x2 of the 16 weights. Its data gradient is, phase by phase of gx, a stride-1 convolution of gy
 * with the same 2x2 weights rotated by half a turn. Two outputs of a filter of two taps
 *
 *   y0 = d0 g0 + d1 g1        m0 = (d1 + s d0) (g1 + g0 / s) / 2      y0 = m0 + m1
 *   y1 = d1 g0 + d2 g1        m1 = (d1 - s d0) (g1 - g0 / s) / 2      y1 = m2 + s (m0 - m1)
 *                             m2 = (d2 - s s d0) g1                   for any s
 *
 * take 3 multiplications for 4; in two dimensions, F(2x2) takes 9 for 16. Four outputs take 5 for 8, so F(4x2) takes 15
 * for 32 and F(4x4) 25 for 64 (conv_winograd.h). A stride-1 3x3 convolution is one phase, of 3x3 taps, and so is its
 * data gradient, with the weights rotated: F(2x2) takes 16 for 36 and F(4x4) 36 for 144. Sums run over all channels,
 * and weights are the same for every tile, so the sums are matrix products:
 *
 *     x or gy      input transform    V[q] [tiles][depth]
 *     5x5 pixels of   ------>   x     U[q] [depth][columns]     transformed weights, panels
 *     a tile                    =     M[q] [tiles][columns]
 *                 output transform         |
 *     4x4 pixels  <------------------------+      for q of 25
 *
 * A task takes a block of tiles and of columns, and keeps its V and M in scratch, the second-level cache, over slabs of
 * the input channels; V and M never reach main memory. Where weights are few it computes all four phases of its part of
 * gx, whose pixels of gy are the same but for a row or a column: each pixel is read once, and a thread touches the same
 * images as in the previous and the next layer. Otherwise a phase's panels fill the cache. The cut depends on the
 * shapes alone. With bfloat16 (gemm_bf16.c), V and U are computed in single precision and then rounded. The weight
 * gradient is in conv_winograd_weight.c.
 */
#include "conv_winograd.h"

enum {
    PIECE = 16,                     /* inner channels of weights that a task transforms */
    WIDTH = 128,                    /* columns of a task */
    BLOCK = 32,                     /* tiles of a task, of the smallest */
    DEPTH = 2048 / sizeof(sv_real), /* of a step */
    LARGE_MIN = 2048,               /* outputs that larger tiles are worth it for; half as many, if weights are few: */
    FEW_WEIGHTS = 8,                /* of 16 numbers, for an output */
    TOGETHER = 1 << 13,             /* the same, up to which all phases of gx are one task: they stay in the cache */
    SMALL_MIN = 48                  /* tiles of 2x2 that are worth it at all */
};

/* Of 3x3 taps, tuned by build/bench/kernels winograd. */
enum {
    FEW_WEIGHTS_3 = 32, /* of 9 numbers, for an output, that larger tiles are worth it for */
    SMALL_MIN_3 = 32,   /* tiles of 2x2 that are worth it at all */
    TASKS_3 = 8,        /* aimed at */
    FEW_TILES_3 = 256   /* of fewer a task has half as many columns */
};

/* Of four phases a task has 16 tiles of 16 pixels, or twice as many of at most half as many; of one, 32 of 16. */
enum { TASK_PIXELS = 4 * BLOCK / 2 * 16 };

/* Above this many numbers (8 MiB in float) transforming weights is cheap beside the products, and memory is not. */
#define CACHE_MAX ((size_t)2 << 20)

#define FITS(phases, products, block, depth)                                                             \
    ((phases) * (products) * (block) * sizeof(sv_real) * ((depth) / (phases) + SLACK + WIDTH + SLACK) <= \
     SV_SCRATCH_BYTES)
_Static_assert(FITS(4, 25, BLOCK / 2, DEPTH) && FITS(1, POINTS, BLOCK, DEPTH),
               "V and M of a task fit scratch, of four phases as well");

typedef struct winograd {
    const sv_winograd *tile;
    const sv_winograd_transforms *transforms;
    void (*micro_kernel)(const sv_tile *t);
    long pairing; /* 2: bfloat16 pairs; else 1 */
    bool back;    /* from gy to gx */
    sv_winograd_view x;
    const sv_real *w;
    sv_epilogue epilogue;
    sv_real *y, *panels;
    long oh, ow, cols;               /* of the output */
    long stride, kernel;             /* of the convolution */
    long inputs, outputs;            /* phases of x or gy that make an output; of gx, or 1 */
    long products, tiles;            /* of a tile; in all */
    long block, width, slab, phases; /* tiles, columns and phases of gx of a task; channels of a step */
    long blocks, widths;
    long depth;                  /* of a product, as it is stored */
    long size;                   /* of a product's panels */
    long inner_step, outer_step; /* of w */
} winograd;

/* ---- weights ------------------------------------------------------------------------- */

/* Row of a forward product's panels: by slabs of channels, in them by phases. */
static long row_of(const winograd *f, long channel, long phase) {
    if (f->back) return channel;
    long c0 = channel / f->slab * f->slab, n = sv_min(f->slab, f->x.channels - c0);
    return f->inputs * c0 + phase * n + channel - c0;
}

static void transform_weights(void *arg, long piece, int worker) {
    const winograd *f = arg;
    (void)worker;
    long panels = divide_up(f->cols, SV_NR), panel = piece % panels, first = piece / panels * PIECE;
    long o0 = panel * SV_NR, width = sv_panel_width(f->cols, panel);
    long taps = f->tile->taps, stride = f->stride, kernel = f->kernel;
    for (long i = first; i < sv_min(f->x.channels, first + PIECE); i += f->pairing) {
        sv_real g[2 * 16][SV_NR];
        for (long k = 0; k < f->pairing; k++)
            sv_cpu->gemm->transpose(width, kernel * kernel, f->w + o0 * f->outer_step + (i + k) * f->inner_step,
                                    f->outer_step, g[k * 16], SV_NR);
        for (long phase = 0; phase < stride * stride; phase++) {
            long numbers[TAPS];
            for (long t = 0; t < taps * taps; t++) {
                long rotated = f->back ? taps * taps - 1 - t : t;
                long ky = phase / stride + rotated / taps * stride, kx = phase % stride + rotated % taps * stride;
                numbers[t] = ky * kernel + kx;
            }
            sv_real *to = f->panels + (f->back ? phase * f->products * f->size : 0) + o0 * f->depth;
            f->transforms->weight((const sv_real(*)[SV_NR])g, numbers, width,
                                  to + row_of(f, i, phase) / f->pairing * width, f->size);
        }
    }
}

/* ---- products --------------------------------------------------------------------- */

static void locate_outputs(const winograd *f, long tile, long phase, long col, sv_real **at) {
    long tile_h = f->tile->tile_h, tile_w = f->tile->tile_w, step = f->back ? f->stride : 1;
    long u = tile % f->x.across * tile_w, rest = tile / f->x.across, t = rest % f->x.down * tile_h;
    sv_real *image = f->y + rest / f->x.down * f->oh * f->ow * f->cols + col;
    long y0 = t * step + step - 1 - phase / 2, x0 = u * step + step - 1 - phase % 2;
    for (long i = 0; i < tile_h; i++)
        for (long j = 0; j < tile_w; j++) {
            long y = y0 + i * step, x = x0 + j * step;
            *at++ = y < f->oh && x < f->ow ? image + (y * f->ow + x) * f->cols : NULL;
        }
}

/* A task: its tiles and columns, and its V and M in scratch. */
typedef struct task {
    long out;               /* first phase of gx, or 0 */
    long n0, n;             /* columns */
    long t0, tiles;         /* tiles */
    long ldv, vstep, mstep; /* of V and M: from row to row, from product to product */
    long ldm;
    sv_real *v, *m;
    const sv_real *from[BLOCK]; /* rows of the first of V */
    sv_real *to[BLOCK];         /* rows of the first of M */
    long pixels;                /* of y, for a phase */
    sv_real *at[TASK_PIXELS];   /* where they are, by phases */
} task;

/* M of the task's i-th phase of gx, or of y: rows of V from `row` of the panels on. While products are computed, the
 * first `count` pixels of y are prefetched. */
static void multiply(const winograd *f, const task *k, long i, long row, sv_tile *tile, long count) {
    sv_real *const *at = k->at + i * k->pixels;
    for (long q = 0; q < f->products; q++) {
        const sv_real *panels = f->panels + ((k->out + i) * f->products + q) * f->size;
        long product = i * f->products + q;
        tile->a_skip = product * k->vstep;
        for (long p = count * q / f->products; p < count * (q + 1) / f->products; p++)
            if (at[p]) sv_prefetch_to_write(at[p], k->n);
        for (long j = 0; j < k->n; j += SV_NR) {
            tile->ldb = sv_panel_width(f->cols, (k->n0 + j) / SV_NR);
            tile->b = panels + (k->n0 + j) * f->depth + row * tile->ldb;
            tile->cols = sv_min(k->n - j, SV_NR);
            tile->c_skip = product * k->mstep + j;
            for (long t = 0; t < k->tiles; t += SV_MR) {
                tile->rows = sv_min(SV_MR, k->tiles - t);
                tile->a = k->from + t;
                tile->c = k->to + t;
                f->micro_kernel(tile);
            }
        }
    }
}

/* Input transform and products, slab by slab of the input channels. */
static void sum_slabs(const winograd *f, const task *k) {
    long beside = f->inputs; /* phases of x, side by side in V */
    for (long c0 = 0; c0 < f->x.channels; c0 += f->slab) {
        long channels = sv_min(f->slab, f->x.channels - c0), depth = beside * channels / f->pairing;
        bool last = c0 + channels == f->x.channels;
        if (f->phases > 1)
            f->transforms->input_phases(&f->x, k->t0, k->tiles, c0, channels, k->v, k->ldv, k->vstep);
        else
            f->transforms->input(&f->x, k->t0, k->tiles, k->out, beside, c0, channels, k->v, k->ldv, k->vstep);
        sv_tile tile = {.segs = 1, .run = depth, .last = depth, .step = 1, .add = c0 > 0};
        for (long i = 0; i < f->phases; i++) multiply(f, k, i, beside * c0 / f->pairing, &tile, last ? k->pixels : 0);
    }
}

static void run_task(void *arg, long number, int worker) {
    const winograd *f = arg;
    long block = number % f->blocks, rest = number / f->blocks;
    task k;
    k.n0 = rest % f->widths * f->width;
    k.out = rest / f->widths * f->phases;
    k.n = sv_min(f->width, f->cols - k.n0);
    k.t0 = block * f->block;
    k.tiles = sv_min(f->block, f->tiles - k.t0);
    k.ldv = f->inputs * f->slab / f->pairing + SLACK;
    k.vstep = f->block * k.ldv + SLACK;
    k.ldm = f->width + SLACK;
    k.mstep = f->block * k.ldm + SLACK;
    k.v = sv_scratch(worker);
    k.m = k.v + f->phases * f->products * k.vstep;
    long each = f->tile->tile_h * f->tile->tile_w;
    k.pixels = k.tiles * each;
    for (long i = 0; i < f->phases; i++)
        for (long t = 0; t < k.tiles; t++) locate_outputs(f, k.t0 + t, k.out + i, k.n0, k.at + i * k.pixels + t * each);
    for (long t = 0; t < round_up(k.tiles, SV_MR); t++) {
        k.from[t] = k.v + sv_min(t, k.tiles - 1) * k.ldv;
        k.to[t] = k.m + sv_min(t, k.tiles - 1) * k.ldm;
    }
    sum_slabs(f, &k);
    sv_epilogue epilogue = f->epilogue;
    if (epilogue.bias) epilogue.bias += k.n0;
    if (epilogue.gain) epilogue.gain += k.n0;
    for (long i = 0; i < f->phases; i++)
        for (long t = 0; t < k.tiles; t++)
            f->tile->output(k.m + i * f->products * k.mstep + t * k.ldm, k.mstep, &epilogue, k.n,
                            k.at + i * k.pixels + t * each);
}

/* ---- the tiling --------------------------------------------------------------------- */

enum sv_winograd_size sv_winograd_small(const sv_conv *c) {
    return c->kh == 3 ? SV_WINOGRAD_2X2_3TAPS : SV_WINOGRAD_2X2;
}

/* F(4x4), or with bfloat16, whose rounding errors it would amplify more, F(4x2): where its tiles do not cross the
 * border too much. */
enum sv_winograd_size sv_winograd_choose(const sv_conv *c, long down, long across, bool bf16) {
    enum sv_winograd_size small = sv_winograd_small(c), large = SV_WINOGRAD_4X4;
    if (small == SV_WINOGRAD_2X2_3TAPS)
        large = SV_WINOGRAD_4X4_3TAPS;
    else if (bf16)
        large = SV_WINOGRAD_4X2;
    long cost[SV_WINOGRAD_SIZES];
    for (int i = 0; i < SV_WINOGRAD_SIZES; i++) {
        const sv_winograd *tile = &sv_winograd_of[i];
        cost[i] = tile->products * c->n * divide_up(down, tile->tile_h) * divide_up(across, tile->tile_w);
    }
    return 20 * cost[large] <= 17 * cost[small] ? large : small;
}

/* Of gy, along an axis, from where the first tile of gx reads: of 4x4 kernels with stride 2 the phases begin there. */
static long back_from(const sv_conv *c, long pad) { return c->stride == 1 ? pad + 1 - c->kh : 0; }

static sv_winograd_view input_view(const sv_conv *c, bool back, const sv_winograd *tile, long down, long across) {
    long step = back ? 1 : c->stride;
    return (sv_winograd_view){
        .h = back ? c->oh : c->h,
        .w = back ? c->ow : c->w,
        .channels = back ? c->cout : c->cin,
        .step = step,
        .from_y = back ? back_from(c, c->pad_y) : -c->pad_y,
        .from_x = back ? back_from(c, c->pad_x) : -c->pad_x,
        .sign = back ? -1 : 1,
        .down = divide_up(down, tile->tile_h),
        .across = divide_up(across, tile->tile_w),
        .down_step = tile->tile_h * step,
        .across_step = tile->tile_w * step,
    };
}

/* Or transforming weights costs more than it saves. */
static bool worth_large(const sv_conv *c, long outputs) {
    long weights = c->cin * c->cout;
    if (c->kh == 3) return weights <= FEW_WEIGHTS_3 * outputs;
    return outputs >= LARGE_MIN || (outputs >= LARGE_MIN / 2 && weights <= FEW_WEIGHTS * outputs);
}

static winograd tile_pass(const sv_conv *c, bool back, bool bf16) {
    long phases = sv_winograd_phases(c), taps = c->kh * c->kw;
    long down = back ? divide_up(c->h, c->stride) : c->oh, across = back ? divide_up(c->w, c->stride) : c->ow;
    bool large = worth_large(c, c->n * down * across);
    enum sv_winograd_size size = large ? sv_winograd_choose(c, down, across, bf16) : sv_winograd_small(c);
    const sv_winograd *tile = &sv_winograd_of[size];
    winograd f = {.back = back, .tile = tile, .pairing = bf16 ? 2 : 1, .stride = c->stride, .kernel = c->kh};
    f.transforms = bf16 ? &sv_winograd_bf16[size] : &tile->full;
    f.micro_kernel = bf16 ? sv_bf16()->tile : sv_cpu->gemm->tile;
    f.products = tile->products;
    f.x = input_view(c, back, tile, down, across);
    f.oh = back ? c->h : c->oh;
    f.ow = back ? c->w : c->ow;
    f.cols = back ? c->cin : c->cout;
    f.inputs = back ? 1 : phases;
    f.outputs = back ? phases : 1;
    f.tiles = c->n * f.x.down * f.x.across;
    f.width = sv_min(tile->taps == 3 && f.tiles < FEW_TILES_3 ? WIDTH / 2 : WIDTH, f.cols);
    f.widths = divide_up(f.cols, f.width);
    f.block = size == SV_WINOGRAD_4X4 ? BLOCK / 2 : BLOCK;
    if (tile->taps == 3) f.block = sv_min(BLOCK, round_up(divide_up(f.tiles, divide_up(TASKS_3, f.widths)), SV_MR));
    f.blocks = divide_up(f.tiles, f.block);
    f.phases = back && c->cin * c->cout <= TOGETHER ? f.outputs : 1;
    f.slab = sv_min(DEPTH / (f.inputs * f.phases), f.x.channels);
    f.depth = f.inputs * f.x.channels / f.pairing;
    f.size = (long)sv_panels_size(f.depth, f.cols) + SLACK;
    f.inner_step = back ? taps * c->cin : taps;
    f.outer_step = back ? taps : taps * c->cin;
    return f;
}

/* ---- the algorithm ------------------------------------------------------------------- */

/* Kernels of 3x3 take at most two thirds of implicit GEMM's products, which transforms do not outweigh; those of
 * bfloat16 are left to implicit GEMM, since tiles of 4x4 would amplify their rounding errors 4.8 times. */
static bool suits(const sv_conv *c, bool bf16) {
    if (c->cin < 1 || c->cin % LANES != 0 || c->cout < 1 || c->cout % LANES != 0) return false;
    long small = c->n * divide_up(c->oh, 2) * divide_up(c->ow, 2);
    if (c->kh == 3 && c->kw == 3 && c->stride == 1 && c->dilation == 1 && !bf16) {
        winograd f = tile_pass(c, false, bf16);
        return small >= SMALL_MIN_3 && 3 * f.products * f.tiles <= 2 * TAPS * c->n * c->oh * c->ow;
    }
    return sv_conv_is_square(c) && c->kh == 4 && c->stride == 2 && c->pad_y == 1 && small >= SMALL_MIN;
}

static void workspace(const sv_conv *c, bool bf16, bool back, struct sv_conv_choice *choice) {
    winograd f = tile_pass(c, back, bf16);
    size_t panels = (size_t)(f.products * f.size * f.outputs);
    choice->workspace = (size_t)sv_conv_zeros(c) + panels + 16;
    choice->cache = panels <= CACHE_MAX ? panels : 0;
    choice->cache_key = (uint64_t)(f.tile - sv_winograd_of + 1) * 4 + (bf16 ? 2 : 0) + back;
}

static void run_pass(const sv_conv *c, bool bf16, bool back, const sv_conv_data *d) {
    winograd f = tile_pass(c, back, bf16);
    sv_real *work = sv_conv_clear_zeros(c, d->work);
    f.x.x = back ? d->gy : d->x;
    f.x.zeros = d->work;
    f.w = d->weight;
    f.epilogue = d->epilogue ? *d->epilogue : (sv_epilogue){.slope = 1};
    f.y = d->out;
    f.panels = d->cache.numbers ? d->cache.numbers : work;
    if (!d->cache.ready) sv_parallel(divide_up(f.cols, SV_NR) * divide_up(f.x.channels, PIECE), transform_weights, &f);
    sv_parallel(f.blocks * f.widths * f.outputs / f.phases, run_task, &f);
}

static void forward_workspace(const sv_conv *c, bool bf16, struct sv_conv_choice *choice) {
    workspace(c, bf16, false, choice);
}

static void data_workspace(const sv_conv *c, bool bf16, struct sv_conv_choice *choice) {
    workspace(c, bf16, true, choice);
}

static void forward(const sv_conv *c, bool bf16, const sv_conv_data *d) { run_pass(c, bf16, false, d); }

static void data_gradient(const sv_conv *c, bool bf16, const sv_conv_data *d) { run_pass(c, bf16, true, d); }

const sv_conv_algorithm sv_conv_winograd[SV_CONV_PASSES] = {
    [SV_CONV_FORWARD] = {"winograd", suits, forward_workspace, forward},
    [SV_CONV_DATA_GRADIENT] = {"winograd", suits, data_workspace, data_gradient},
    [SV_CONV_WEIGHT_GRADIENT] = {"winograd", suits, sv_winograd_weight_workspace, sv_winograd_weight_gradient},
};
