/* conv_small_channels.c: convolutions from and towards few channels: an encoder's first layer, a
 * decoder's last one.
 *
 * The data gradient, and so the transposed convolution, towards few channels.
 *
 * sv_conv_grad_x gives each phase of x a product of its own, cin columns wide. With
 * one to four columns most of a vector is empty. Here all taps are one product,
 *
 *   P [pixels of gy][kernel * kernel * cin] = gy [pixels][cout] * W,
 *
 * 48 columns wide for a 4x4 kernel and 3 channels, and P's rows are added up where
 * they overlap in x. If the stride divides the kernel, the numbers of a kernel row
 * fall into chunks of stride * cin, which line up with those of the neighbours:
 *
 *   pixel 0 of gy:  | a | b |
 *   pixel 1:            | a | b |            chunk m of a row of x is the sum of
 *   pixel 2:                | a | b |        a of pixel m and b of pixel m - 1, over
 *   row of x:       | 0 | 1 | 2 | 3 |        the kernel / stride rows of gy that see it
 *
 * The first chunk starts `pad` pixels before the image. A task makes some rows of one
 * image, so that its part of P stays in the second-level cache.
 *
 * From few channels, a patch is some short runs. To find them, and put those together that
 * hang over a border, takes about as long as the products do. So rows of x are copied, some
 * at a time for the first-level cache, to have zeros around them, and forward runs over them.
 *
 * The weight gradient is the product of patches' [kernel * kernel * cin][pixels of gy] and
 * gy [pixels][cout]. Nothing is packed for it: the pixels of a row of windows, seen at one of
 * their numbers, are stride * cin apart in a row of x, and gy is a panel of B as it lies.
 */
#include "loops.h"
#include "../simvae.h"
#include <string.h>

enum {
    STRIP = 1 << 16,  /* numbers of P that a task holds */
    WIDEST = 1 << 14, /* numbers in a row of x */
    RUN = 256,        /* numbers of a row of gy read at a time */
    MOST = 16         /* lanes of a chunk; kernel / stride */
};

typedef struct few {
    const sv_conv *c;
    long overlap, chunk, columns; /* kernel / stride; stride * cin; of P */
    long down, across;            /* chunks in a column and in a row of x */
    long strips, height;          /* of an image; chunks in one */
    const sv_real *gy, *panels;
    const sv_after *after;
    sv_real start[MOST], *gx; /* start: a bias that is all that follows, for a whole chunk */
} few;

static few plan(const sv_conv *c) {
    few f = {.c = c, .overlap = c->kernel / c->stride, .chunk = c->stride * c->cin};
    f.columns = c->kernel * c->kernel * c->cin;
    f.down = (c->h + c->pad + c->stride - 1) / c->stride;
    f.across = (c->w + c->pad + c->stride - 1) / c->stride;
    f.height = c->ow > 0 ? STRIP / (c->ow * f.columns) - f.overlap + 1 : 0;
    f.strips = f.height > 0 ? (f.down + f.height - 1) / f.height : 0;
    return f;
}

bool sv_conv_few(const sv_conv *c) {
    if (c->cin > SV_DOT_MAX || c->cin < 1 || c->stride < 2 || c->kernel % c->stride != 0) return false;
    if (c->stride * c->cin > MOST || c->kernel / c->stride > MOST || c->cout < 1) return false;
    return (c->w + 2 * c->stride + c->pad) * c->cin + MOST <= WIDEST && plan(c).height > 0;
}

size_t sv_conv_few_work(const sv_conv *c) { return sv_panels_size(c->cout, c->kernel * c->kernel * c->cin); }

/* W's row is an output channel, its column (tap, input channel). */
static void pack(const sv_conv *c, const sv_real *weight, sv_real *panels) {
    long taps = c->kernel * c->kernel, n = taps * c->cin;
    for (long j = 0; j < n; j += SV_NR) {
        long width = sv_panel_width(n, j / SV_NR), used = least(n - j, width);
        for (long k = 0; k < c->cout; k++, panels += width) {
            for (long i = 0; i < used; i++)
                panels[i] = weight[(k * c->cin + (j + i) % c->cin) * taps + (j + i) / c->cin];
            for (long i = used; i < width; i++) panels[i] = 0;
        }
    }
}

/* One row of x in chunks. from[i]: P at the kernel row that the i-th of `rows` rows of gy
 * meets it with. Whole vectors are read and written; what is too much is overwritten by
 * the next chunk, or lies in slack. */
#define SUM_CHUNKS(name, lanes)                                                                    \
    SV_CLONES static void name(const few *f, const sv_real *const *from, long rows, sv_real *to) { \
        for (long m = 0; m < f->across; m++, to += f->chunk) {                                     \
            sv_real sum[lanes];                                                                    \
            for (int l = 0; l < lanes; l++) sum[l] = f->start[l];                                  \
            for (long j = m < f->c->ow ? 0 : m - f->c->ow + 1; j < f->overlap && j <= m; j++)      \
                for (long i = 0; i < rows; i++) {                                                  \
                    const sv_real *p = from[i] + (m - j) * f->columns + j * f->chunk;              \
                    for (int l = 0; l < lanes; l++) sum[l] += p[l];                                \
                }                                                                                  \
            for (int l = 0; l < lanes; l++) to[l] = sum[l];                                        \
        }                                                                                          \
    }

SUM_CHUNKS(sum_narrow, 8)
SUM_CHUNKS(sum_wide, 16)

static void fill_strip(void *arg, long task, int worker) {
    const few *f = arg;
    const sv_conv *c = f->c;
    long image = task / f->strips, m0 = task % f->strips * f->height, m1 = least(f->down, m0 + f->height);
    long t0 = m0 < f->overlap ? 0 : m0 - f->overlap + 1, t1 = least(c->oh, m1);
    sv_real *products = (sv_real *)(void *)((char *)sv_scratch(worker) + SV_SCRATCH_PRODUCTS);
    sv_real *row = products + STRIP + MOST;
    long run = least(RUN, c->cout);
    sv_product p = {
        .m = (t1 - t0) * c->ow,
        .n = f->columns,
        .k = c->cout,
        .a = {.base = f->gy + (image * c->oh + t0) * c->ow * c->cout,
              .ld = c->cout,
              .run = run,
              .segs = (c->cout + run - 1) / run},
        .panels = f->panels,
        .c = products,
        .ldc = f->columns,
        .half = sv_pairs_now() != NULL,
    };
    if (t1 > t0) sv_products(&p, 1);
    for (long m = m0; m < m1; m++)
        for (long r = 0; r < c->stride; r++) {
            long y = m * c->stride + r - c->pad, rows = 0;
            if (y < 0 || y >= c->h) continue;
            const sv_real *from[MOST];
            for (long i = 0; i < f->overlap; i++)
                if (m - i >= t0 && m - i < t1)
                    from[rows++] =
                        products + (m - i - t0) * c->ow * f->columns + (i * c->stride + r) * c->kernel * c->cin;
            (f->chunk > 8 ? sum_wide : sum_narrow)(f, from, rows, row);
            sv_real *gx = f->gx + (image * c->h + y) * c->w * c->cin;
            memcpy(gx, row + c->pad * c->cin, (size_t)(c->w * c->cin) * sizeof *row);
            if (!sv_after_plain(f->after)) sv_after_rows(f->after, c->w, c->cin, gx);
        }
}

void sv_conv_grad_x_few(const sv_conv *c, const sv_real *gy, const sv_real *weight, const sv_after *after, sv_real *gx,
                        sv_real *work) {
    few f = plan(c);
    f.gy = gy;
    f.panels = work;
    f.gx = gx;
    f.after = after;
    const sv_real *bias = sv_after_bias(after);
    for (long i = 0; i < f.chunk; i++) f.start[i] = bias ? bias[i % c->cin] : 0;
    pack(c, weight, work);
    if (sv_pairs_now() && f.columns > SV_DOT_MAX) sv_pair_panels(work, c->cout, f.columns);
    sv_parallel(c->n * f.strips, fill_strip, &f);
}

/* ---- from few channels: rows of x, with zeros around them ---------------------------- */

enum {
    PADDED = 1 << 12, /* numbers of such rows that are read at a time */
    MOST_RUNS = 32    /* rows of gy or y, likewise */
};

typedef struct padded {
    const sv_conv *c;
    long length, rows; /* of a padded row of x; rows of y at a time */
    const sv_real *x;
} padded;

static padded plan_rows(const sv_conv *c) {
    padded f = {.c = c, .length = ((c->ow - 1) * c->stride + c->kernel) * c->cin};
    long fit = f.length > 0 ? PADDED / f.length : 0;
    f.rows = fit < c->kernel ? 0 : least((fit - c->kernel) / c->stride + 1, MOST_RUNS);
    return f;
}

bool sv_conv_from_few(const sv_conv *c) {
    if (c->cin > SV_DOT_MAX || c->cin < 1) return false;
    return c->kernel * c->cin <= RUN && c->stride * c->cin <= RUN && plan_rows(c).rows > 0;
}

/* Those that `rows` rows of y from row t on of an image see. */
static void pad_rows(const padded *f, long image, long t, long rows, sv_real *to) {
    const sv_conv *c = f->c;
    long pixels = f->length / c->cin, left = least(c->pad, pixels), inside = least(c->w, pixels - left);
    long after = (pixels - left - inside) * c->cin;
    for (long y = t * c->stride - c->pad, end = y + (rows - 1) * c->stride + c->kernel; y < end; y++, to += f->length) {
        if (y < 0 || y >= c->h) {
            memset(to, 0, (size_t)f->length * sizeof *to);
            continue;
        }
        memset(to, 0, (size_t)(left * c->cin) * sizeof *to);
        memcpy(to + left * c->cin, f->x + (image * c->h + y) * c->w * c->cin, (size_t)(inside * c->cin) * sizeof *to);
        memset(to + f->length - after, 0, (size_t)after * sizeof *to);
    }
}

/* ---- forward ------------------------------------------------------------------------- */

typedef struct forward {
    padded p;
    long strips;                  /* of an image: p.rows rows of y each */
    const sv_real *panels, *bias; /* bias: that is all that follows, or NULL */
    const sv_after *after;
    sv_real *y;
} forward;

static void forward_strip(void *arg, long task, int worker) {
    const forward *f = arg;
    const sv_conv *c = f->p.c;
    void (*product)(const sv_tile *) = sv_kernel_now()->tile;
    long image = task / f->strips, t0 = task % f->strips * f->p.rows, rows = least(f->p.rows, c->oh - t0);
    long run = c->kernel * c->cin, depth = c->kernel * run, step = c->stride * c->cin;
    sv_real *x = sv_scratch(worker), *y = f->y + (image * c->oh + t0) * c->ow * c->cout;
    pad_rows(&f->p, image, t0, rows, x);
    const sv_real *a[SV_MR * RUN]; /* rows that are missing are read as well, and not stored */
    sv_real *to[SV_MR];
    sv_tile k = {.segs = c->kernel, .run = run, .last = run, .step = 1, .a = a, .c = to};
    for (long i = 0; i < k.segs * SV_MR; i++) a[i] = x + i / SV_MR * f->p.length + i % SV_MR * step;
    for (long r = 0; r < SV_MR; r++) to[r] = y + r * c->cout;
    /* While products are made, the rows of x that the next strip sees first are fetched, and the pixels of y that come
     * next. */
    long row = c->w * c->cin, seen = image * c->h + least(c->h, (t0 + rows - 1) * c->stride - c->pad + c->kernel);
    const sv_real *next = f->p.x + seen * row, *end = f->p.x + c->n * c->h * row;
    long share = divide_up(c->stride * row, divide_up(c->ow, SV_MR));
    for (long t = 0; t < rows; t++) {
        for (long u = 0; u < c->ow; u += SV_MR, next += share) {
            long pixel = t * c->ow + u;
            if (end - next >= share) sv_bring(next, share);
            if (u + SV_MR < c->ow || t + 1 < rows) sv_bring_to_write(y + (pixel + SV_MR) * c->cout, SV_MR * c->cout);
            k.rows = least(SV_MR, c->ow - u);
            k.a_skip = t * c->stride * f->p.length + u * step;
            for (long j = 0; j < c->cout; j += SV_NR) {
                k.c_skip = pixel * c->cout + j;
                k.cols = least(SV_NR, c->cout - j);
                k.ldb = sv_panel_width(c->cout, j / SV_NR);
                k.b = f->panels + j * depth;
                k.bias = f->bias ? f->bias + j : NULL;
                product(&k);
            }
        }
        if (!sv_after_plain(f->after)) sv_after_rows(f->after, c->ow, c->cout, y + t * c->ow * c->cout);
    }
}

void sv_conv_forward_few(const sv_conv *c, const sv_real *x, const sv_real *panels, const sv_after *after, sv_real *y) {
    forward f = {.p = plan_rows(c), .panels = panels, .bias = sv_after_bias(after), .after = after, .y = y};
    f.p.x = x;
    f.strips = (c->oh + f.p.rows - 1) / f.p.rows;
    sv_parallel(c->n * f.strips, forward_strip, &f);
}

/* ---- the weight gradient ------------------------------------------------------------- */

enum {
    MOST_PARTS = 8,    /* of the rows of gy, whose sums are added in order */
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
    long parts = least(MOST_PARTS, c->n * c->oh * c->ow / PART_PIXELS);
    return parts < 1 ? 1 : parts;
}

bool sv_conv_few_weight_suits(const sv_conv *c) { return sv_conv_from_few(c) && c->cout > 0 && c->cout % LANES == 0; }

size_t sv_conv_few_weight_work(const sv_conv *c) {
    return sv_conv_few_weight_suits(c) ? (size_t)(weight_parts(c) * c->kernel * c->kernel * c->cin * c->cout) : 0;
}

static void sum_part(void *arg, long part, int worker) {
    const weight *f = arg;
    const sv_conv *c = f->p.c;
    const sv_kernel *kernel = sv_kernel_now();
    long run = c->kernel * c->cin, height = c->kernel * run, all = c->n * c->oh;
    long row = all * part / f->parts, end = all * (part + 1) / f->parts;
    sv_real *x = sv_scratch(worker), *sums = f->sums + part * height * c->cout;
    sv_tile k = {.run = c->ow, .last = c->ow, .step = c->stride * c->cin, .ldb = c->cout};
    if (row == end) memset(sums, 0, (size_t)(height * c->cout) * sizeof *sums);
    for (; row < end; row += k.segs) {
        long t = row % c->oh;
        k.segs = least(least(f->p.rows, c->oh - t), end - row);
        pad_rows(&f->p, row / c->oh, t, k.segs, x);
        for (long i = 0; i < height; i += SV_MR) {
            const sv_real *a[SV_MR * MOST_RUNS];
            sv_real *to[SV_MR];
            k.rows = least(SV_MR, height - i);
            for (long r = 0; r < SV_MR; r++) {
                long at = least(i + r, height - 1), ky = at / run;
                for (long s = 0; s < k.segs; s++) a[s * SV_MR + r] = x + (s * c->stride + ky) * f->p.length + at % run;
            }
            for (long j = 0; j < c->cout; j += SV_NR) {
                for (long r = 0; r < SV_MR; r++) to[r] = sums + least(i + r, height - 1) * c->cout + j;
                k.cols = least(SV_NR, c->cout - j);
                k.b = f->gy + row * c->ow * c->cout + j;
                k.a = a;
                k.c = to;
                kernel->tile(&k);
            }
        }
        k.add = true;
    }
}

void sv_conv_few_weight(const sv_conv *c, const sv_real *x, const sv_real *gy, sv_real *gw, sv_real *work) {
    weight f = {.p = plan_rows(c), .parts = weight_parts(c), .gy = gy, .sums = work};
    long taps = c->kernel * c->kernel, size = taps * c->cin * c->cout;
    f.p.x = x;
    sv_parallel(f.parts, sum_part, &f);
    for (long part = 1; part < f.parts; part++)
        for (long i = 0; i < size; i++) work[i] += work[part * size + i];
    for (long o = 0; o < c->cout; o++)
        for (long i = 0; i < c->cin; i++)
            for (long tap = 0; tap < taps; tap++)
                gw[(o * c->cin + i) * taps + tap] = work[(tap * c->cin + i) * c->cout + o];
}
