/* conv_small_channels.c: convolutions from and towards at most SV_DOT_MAX channels: an encoder's first layer, a
 * decoder's last one.
 *
 * The data gradient, and so the transposed convolution, towards few channels: as phases (conv_gemm.c) each product
 * would be cin columns wide, and most of a vector empty. Here all taps are one product,
 *
 *   P [pixels of gy][kernel * kernel * cin] = gy [pixels][cout] * W,
 *
 * 48 columns wide for a 4x4 kernel and 3 channels, and P's rows are added where they overlap in x (col2im). If the
 * stride divides the kernel, the numbers of a kernel row fall into chunks of stride * cin, which line up with those of
 * the neighbours:
 *
 *   pixel 0 of gy:  | a | b |
 *   pixel 1:            | a | b |            chunk m of a row of x is the sum of
 *   pixel 2:                | a | b |        a of pixel m and b of pixel m - 1, over
 *   row of x:       | 0 | 1 | 2 | 3 |        the kernel / stride rows of gy that reach it
 *
 * The first chunk starts `pad` pixels before the image. A task computes some rows of one image, so that its part of P
 * stays in the second-level cache.
 *
 * Forward, from few channels, a patch is a few short runs: to locate them, and assemble those at the border, takes
 * about as long as the product. So rows of x are copied, with zeros around them, some at a time for the first-level
 * cache, and the micro-kernel runs over the copies.
 *
 * The weight gradient is the product of the patches' [kernel * kernel * cin][pixels of gy] and gy [pixels][cout].
 * Nothing is packed for it: one number of each patch of a row of patches is stride * cin after the last in a row of x,
 * and gy is a panel of B as it lies.
 */
#include "conv.h"
#include "gemm.h"
#include "loops.h"
#include <string.h>

enum {
    STRIP = 1 << 16,   /* numbers of P that a task holds */
    MAX_ROW = 1 << 14, /* numbers in a row of x */
    RUN = 256,         /* numbers of a row of gy read at a time */
    MAX_CHUNK = 16     /* numbers of a chunk; kernel / stride */
};

/* ---- the data gradient ---------------------------------------------------------------- */

typedef struct gather {
    const sv_conv *c;
    long overlap, chunk, columns; /* kernel / stride; stride * cin; of P */
    long down, across;            /* chunks in a column and in a row of x */
    long strips, height;          /* of an image; chunks in one */
    const sv_real *gy, *panels;
    const sv_epilogue *epilogue;
    bool bf16;
    sv_real start[MAX_CHUNK], *gx; /* start: the bias, if that is the epilogue, for a whole chunk */
} gather;

static gather plan(const sv_conv *c) {
    gather f = {.c = c, .overlap = c->kh / c->stride, .chunk = c->stride * c->cin};
    f.columns = c->kh * c->kh * c->cin;
    f.down = (c->h + c->pad_y + c->stride - 1) / c->stride;
    f.across = (c->w + c->pad_y + c->stride - 1) / c->stride;
    f.height = c->ow > 0 ? STRIP / (c->ow * f.columns) - f.overlap + 1 : 0;
    f.strips = f.height > 0 ? (f.down + f.height - 1) / f.height : 0;
    return f;
}

static bool data_suits(const sv_conv *c, bool bf16) {
    (void)bf16;
    if (!sv_conv_is_square(c) || c->cin > SV_DOT_MAX || c->cin < 1 || c->stride < 2 || c->kh % c->stride != 0)
        return false;
    if (c->stride * c->cin > MAX_CHUNK || c->kh / c->stride > MAX_CHUNK || c->cout < 1) return false;
    return (c->w + 2 * c->stride + c->pad_y) * c->cin + MAX_CHUNK <= MAX_ROW && plan(c).height > 0;
}

static void data_workspace(const sv_conv *c, bool bf16, struct sv_conv_choice *choice) {
    (void)bf16;
    choice->workspace = sv_panels_size(c->cout, c->kh * c->kh * c->cin);
}

/* W's row is an output channel, its column (tap, input channel). */
static void pack(const sv_conv *c, const sv_real *weight, sv_real *panels) {
    long taps = c->kh * c->kh, n = taps * c->cin;
    for (long j = 0; j < n; j += SV_NR) {
        long width = sv_panel_width(n, j / SV_NR), used = sv_min(n - j, width);
        for (long k = 0; k < c->cout; k++, panels += width) {
            for (long i = 0; i < used; i++)
                panels[i] = weight[(k * c->cin + (j + i) % c->cin) * taps + (j + i) / c->cin];
            for (long i = used; i < width; i++) panels[i] = 0;
        }
    }
}

/* One row of x in chunks. from[i]: P at the kernel row with which the i-th of `rows` rows of gy reaches it. Whole
 * vectors are read and written; the excess is overwritten by the next chunk, or lies in slack. */
#define SUM_CHUNKS(name, lanes)                                                                                 \
    SV_LOOP(name, (const gather *f, const sv_real *const *from, long rows, sv_real *to), (f, from, rows, to)) { \
        for (long m = 0; m < f->across; m++, to += f->chunk) {                                                  \
            sv_real sum[lanes];                                                                                 \
            for (int l = 0; l < lanes; l++) sum[l] = f->start[l];                                               \
            for (long j = m < f->c->ow ? 0 : m - f->c->ow + 1; j < f->overlap && j <= m; j++)                   \
                for (long i = 0; i < rows; i++) {                                                               \
                    const sv_real *p = from[i] + (m - j) * f->columns + j * f->chunk;                           \
                    for (int l = 0; l < lanes; l++) sum[l] += p[l];                                             \
                }                                                                                               \
            for (int l = 0; l < lanes; l++) to[l] = sum[l];                                                     \
        }                                                                                                       \
    }

SUM_CHUNKS(sum_narrow, 8)
SUM_CHUNKS(sum_wide, 16)

/* P of the rows of gy that a strip depends on. */
static void multiply(const gather *f, long image, long t0, long t1, sv_real *products) {
    const sv_conv *c = f->c;
    long run = sv_min(RUN, c->cout);
    sv_product p = {
        .m = (t1 - t0) * c->ow,
        .n = f->columns,
        .k = c->cout,
        .a = {.base = f->gy + (image * c->oh + t0) * c->ow * c->cout,
              .ld = c->cout,
              .run = run,
              .segs = divide_up(c->cout, run)},
        .panels = f->panels,
        .c = products,
        .ldc = f->columns,
        .bf16 = f->bf16,
    };
    if (t1 > t0) sv_products(&p, 1);
}

static void fill_strip(void *arg, long task, int worker) {
    const gather *f = arg;
    const sv_conv *c = f->c;
    long image = task / f->strips, m0 = task % f->strips * f->height, m1 = sv_min(f->down, m0 + f->height);
    long t0 = m0 < f->overlap ? 0 : m0 - f->overlap + 1, t1 = sv_min(c->oh, m1);
    sv_real *products = (sv_real *)(void *)((char *)sv_scratch(worker) + SV_SCRATCH_PRODUCTS);
    sv_real *row = products + STRIP + MAX_CHUNK;
    multiply(f, image, t0, t1, products);
    for (long m = m0; m < m1; m++)
        for (long r = 0; r < c->stride; r++) {
            long y = m * c->stride + r - c->pad_y, rows = 0;
            if (y < 0 || y >= c->h) continue;
            const sv_real *from[MAX_CHUNK];
            for (long i = 0; i < f->overlap; i++)
                if (m - i >= t0 && m - i < t1)
                    from[rows++] = products + (m - i - t0) * c->ow * f->columns + (i * c->stride + r) * c->kh * c->cin;
            (f->chunk > 8 ? sum_wide : sum_narrow)(f, from, rows, row);
            sv_real *gx = f->gx + (image * c->h + y) * c->w * c->cin;
            memcpy(gx, row + c->pad_y * c->cin, (size_t)(c->w * c->cin) * sizeof *row);
            if (!sv_epilogue_is_bias(f->epilogue)) sv_epilogue_rows(f->epilogue, c->w, c->cin, gx);
        }
}

static void data_gradient(const sv_conv *c, bool bf16, const sv_conv_data *d) {
    gather f = plan(c);
    f.gy = d->gy;
    f.panels = d->work;
    f.gx = d->out;
    f.epilogue = d->epilogue;
    f.bf16 = bf16;
    const sv_real *bias = sv_epilogue_bias(d->epilogue);
    for (long i = 0; i < f.chunk; i++) f.start[i] = bias ? bias[i % c->cin] : 0;
    pack(c, d->weight, d->work);
    if (bf16 && f.columns > SV_DOT_MAX) sv_bf16_panels(d->work, c->cout, f.columns);
    sv_parallel(c->n * f.strips, fill_strip, &f);
}

/* ---- forward: rows of x, with zeros around them ------------------------------------- */

enum {
    PADDED = 1 << 12, /* numbers of such rows that are read at a time */
    MAX_RUNS = 32     /* rows of gy or y, likewise */
};

typedef struct padded {
    const sv_conv *c;
    long length, rows; /* of a padded row of x; rows of y at a time */
    const sv_real *x;
} padded;

static padded plan_rows(const sv_conv *c) {
    padded f = {.c = c, .length = ((c->ow - 1) * c->stride + c->kh) * c->cin};
    long fit = f.length > 0 ? PADDED / f.length : 0;
    f.rows = fit < c->kh ? 0 : sv_min((fit - c->kh) / c->stride + 1, MAX_RUNS);
    return f;
}

static bool rows_suit(const sv_conv *c) {
    if (!sv_conv_is_square(c) || c->cin > SV_DOT_MAX || c->cin < 1) return false;
    return c->kh * c->cin <= RUN && c->stride * c->cin <= RUN && plan_rows(c).rows > 0;
}

/* The rows of x that `rows` rows of y from row t of an image depend on. */
static void pad_rows(const padded *f, long image, long t, long rows, sv_real *to) {
    const sv_conv *c = f->c;
    long pixels = f->length / c->cin, left = sv_min(c->pad_y, pixels), inside = sv_min(c->w, pixels - left);
    long after = (pixels - left - inside) * c->cin;
    for (long y = t * c->stride - c->pad_y, end = y + (rows - 1) * c->stride + c->kh; y < end; y++, to += f->length) {
        if (y < 0 || y >= c->h) {
            memset(to, 0, (size_t)f->length * sizeof *to);
            continue;
        }
        memset(to, 0, (size_t)(left * c->cin) * sizeof *to);
        memcpy(to + left * c->cin, f->x + (image * c->h + y) * c->w * c->cin, (size_t)(inside * c->cin) * sizeof *to);
        memset(to + f->length - after, 0, (size_t)after * sizeof *to);
    }
}

typedef struct forward {
    padded p;
    long strips;                  /* of an image: p.rows rows of y each */
    const sv_real *panels, *bias; /* bias: if that is the epilogue, or NULL */
    const sv_epilogue *epilogue;
    sv_real *y;
} forward;

/* One row of y. While products are computed, the rows of x that the next strip reads first are prefetched, and the
 * pixels of y that come next. */
static void forward_row(const forward *f, sv_tile *k, sv_real *y, long t, bool last, const sv_real **next, long share) {
    const sv_conv *c = f->p.c;
    void (*product)(const sv_tile *) = sv_cpu->gemm->tile;
    const sv_real *end = f->p.x + c->n * c->h * c->w * c->cin;
    for (long u = 0; u < c->ow; u += SV_MR, *next += share) {
        long pixel = t * c->ow + u;
        if (end - *next >= share) sv_prefetch(*next, share);
        if (u + SV_MR < c->ow || !last) sv_prefetch_to_write(y + (pixel + SV_MR) * c->cout, SV_MR * c->cout);
        k->rows = sv_min(SV_MR, c->ow - u);
        k->a_skip = t * c->stride * f->p.length + u * c->stride * c->cin;
        for (long j = 0; j < c->cout; j += SV_NR) {
            k->c_skip = pixel * c->cout + j;
            k->cols = sv_min(SV_NR, c->cout - j);
            k->ldb = sv_panel_width(c->cout, j / SV_NR);
            k->b = f->panels + j * c->kh * c->kh * c->cin;
            k->bias = f->bias ? f->bias + j : NULL;
            product(k);
        }
    }
    if (!sv_epilogue_is_bias(f->epilogue)) sv_epilogue_rows(f->epilogue, c->ow, c->cout, y + t * c->ow * c->cout);
}

static void forward_strip(void *arg, long task, int worker) {
    const forward *f = arg;
    const sv_conv *c = f->p.c;
    long image = task / f->strips, t0 = task % f->strips * f->p.rows, rows = sv_min(f->p.rows, c->oh - t0);
    long run = c->kh * c->cin, step = c->stride * c->cin;
    sv_real *x = sv_scratch(worker), *y = f->y + (image * c->oh + t0) * c->ow * c->cout;
    pad_rows(&f->p, image, t0, rows, x);
    const sv_real *a[SV_MR * RUN]; /* missing rows are read as well, and not stored */
    sv_real *to[SV_MR];
    sv_tile k = {.segs = c->kh, .run = run, .last = run, .step = 1, .a = a, .c = to};
    for (long i = 0; i < k.segs * SV_MR; i++) a[i] = x + i / SV_MR * f->p.length + i % SV_MR * step;
    for (long r = 0; r < SV_MR; r++) to[r] = y + r * c->cout;
    long row = c->w * c->cin, read = image * c->h + sv_min(c->h, (t0 + rows - 1) * c->stride - c->pad_y + c->kh);
    const sv_real *next = f->p.x + read * row;
    long share = divide_up(c->stride * row, divide_up(c->ow, SV_MR));
    for (long t = 0; t < rows; t++) forward_row(f, &k, y, t, t + 1 == rows, &next, share);
}

static bool forward_suits(const sv_conv *c, bool bf16) { return !bf16 && c->cout > SV_DOT_MAX && rows_suit(c); }

static void forward_pass(const sv_conv *c, bool bf16, const sv_conv_data *d) {
    forward f = {.p = plan_rows(c), .bias = sv_epilogue_bias(d->epilogue), .epilogue = d->epilogue, .y = d->out};
    f.panels = sv_conv_forward_panels(c, d, bf16, d->work);
    f.p.x = d->x;
    f.strips = divide_up(c->oh, f.p.rows);
    sv_parallel(c->n * f.strips, forward_strip, &f);
}

/* ---- the weight gradient ------------------------------------------------------------- */

enum {
    MAX_PARTS = 8,     /* of the rows of gy, whose sums are added in order */
    PART_PIXELS = 512, /* of gy, in a part */
    LANES = 16
};

typedef struct weight {
    padded p;
    long parts;
    const sv_real *gy;
    sv_real *sums; /* [part][tap][ci][co] */
} weight;

static long weight_parts(const sv_conv *c) {
    long parts = sv_min(MAX_PARTS, c->n * c->oh * c->ow / PART_PIXELS);
    return parts < 1 ? 1 : parts;
}

static bool weight_suits(const sv_conv *c, bool bf16) {
    return !bf16 && rows_suit(c) && c->cout > 0 && c->cout % LANES == 0;
}

static void weight_workspace(const sv_conv *c, bool bf16, struct sv_conv_choice *choice) {
    (void)bf16;
    choice->workspace = (size_t)(weight_parts(c) * c->kh * c->kh * c->cin * c->cout);
}

static void sum_part(void *arg, long part, int worker) {
    const weight *f = arg;
    const sv_conv *c = f->p.c;
    const sv_gemm_kernel *kernel = sv_cpu->gemm;
    long run = c->kh * c->cin, height = c->kh * run, all = c->n * c->oh;
    long row = all * part / f->parts, end = all * (part + 1) / f->parts;
    sv_real *x = sv_scratch(worker), *sums = f->sums + part * height * c->cout;
    sv_tile k = {.run = c->ow, .last = c->ow, .step = c->stride * c->cin, .ldb = c->cout};
    if (row == end) memset(sums, 0, (size_t)(height * c->cout) * sizeof *sums);
    for (; row < end; row += k.segs) {
        long t = row % c->oh;
        k.segs = sv_min(sv_min(f->p.rows, c->oh - t), end - row);
        pad_rows(&f->p, row / c->oh, t, k.segs, x);
        for (long i = 0; i < height; i += SV_MR) {
            const sv_real *a[SV_MR * MAX_RUNS];
            sv_real *to[SV_MR];
            k.rows = sv_min(SV_MR, height - i);
            for (long r = 0; r < SV_MR; r++) {
                long at = sv_min(i + r, height - 1), ky = at / run;
                for (long s = 0; s < k.segs; s++) a[s * SV_MR + r] = x + (s * c->stride + ky) * f->p.length + at % run;
            }
            for (long j = 0; j < c->cout; j += SV_NR) {
                for (long r = 0; r < SV_MR; r++) to[r] = sums + sv_min(i + r, height - 1) * c->cout + j;
                k.cols = sv_min(SV_NR, c->cout - j);
                k.b = f->gy + row * c->ow * c->cout + j;
                k.a = a;
                k.c = to;
                kernel->tile(&k);
            }
        }
        k.add = true;
    }
}

static void weight_gradient(const sv_conv *c, bool bf16, const sv_conv_data *d) {
    weight f = {.p = plan_rows(c), .parts = weight_parts(c), .gy = d->gy, .sums = d->work};
    long taps = c->kh * c->kh, size = taps * c->cin * c->cout;
    sv_real *sums = d->work;
    (void)bf16;
    f.p.x = d->x;
    sv_parallel(f.parts, sum_part, &f);
    for (long part = 1; part < f.parts; part++)
        for (long i = 0; i < size; i++) sums[i] += sums[part * size + i];
    for (long o = 0; o < c->cout; o++)
        for (long i = 0; i < c->cin; i++)
            for (long tap = 0; tap < taps; tap++)
                d->out[(o * c->cin + i) * taps + tap] = sums[(tap * c->cin + i) * c->cout + o];
}

const sv_conv_algorithm sv_conv_small_channels[SV_CONV_PASSES] = {
    [SV_CONV_FORWARD] = {"small channels", forward_suits, sv_conv_forward_workspace, forward_pass},
    [SV_CONV_DATA_GRADIENT] = {"small channels", data_suits, data_workspace, data_gradient},
    [SV_CONV_WEIGHT_GRADIENT] = {"small channels", weight_suits, weight_workspace, weight_gradient},
};
