/* conv_few.c: the data gradient of a convolution, and so the transposed one,
 * towards few channels: a decoder's last layer.
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
 */
#include "../simvae.h"
#include "loops.h"
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
    sv_real start[MOST], *gx; /* start: the bias, for a whole chunk */
} few;

static long least(long a, long b) { return a < b ? a : b; }

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
            memcpy(f->gx + (image * c->h + y) * c->w * c->cin, row + c->pad * c->cin,
                   (size_t)(c->w * c->cin) * sizeof *row);
        }
}

void sv_conv_grad_x_few(const sv_conv *c, const sv_real *gy, const sv_real *weight, const sv_real *bias, sv_real *gx,
                        sv_real *work) {
    few f = plan(c);
    f.gy = gy;
    f.panels = work;
    f.gx = gx;
    for (long i = 0; i < f.chunk; i++) f.start[i] = bias ? bias[i % c->cin] : 0;
    pack(c, weight, work);
    if (sv_pairs_now() && f.columns > SV_DOT_MAX) sv_pair_panels(work, c->cout, f.columns);
    sv_parallel(c->n * f.strips, fill_strip, &f);
}
