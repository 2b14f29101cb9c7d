/* conv_patches.c: patches of channels-last images, read where they lie. Channels are last in memory, so a kernel row of
 * a patch is one run of numbers; a patch is kh runs, or kh * kw of them where a pixel is one. Only runs
 * that cross the border are assembled, with zeros, in a few kilobytes of scratch; runs wholly outside are a shared row
 * of zeros.
 */
#include "conv_patches.h"
#include "loops.h"
#include <string.h>

/* Row number `row` of images of down x across points is point (t, u) of image i. */
static void split(long row, long down, long across, long *i, long *t, long *u) {
    if (row <= 0xffffffffL && across <= 0xffff && down <= 0xffff) { /* quicker to divide */
        uint32_t rest = (uint32_t)row / (uint32_t)across;
        *u = (long)((uint32_t)row % (uint32_t)across);
        *t = (long)(rest % (uint32_t)down);
        *i = (long)(rest / (uint32_t)down);
    } else {
        *u = row % across;
        *t = row / across % down;
        *i = row / across / down;
    }
}

/* Corners of n patches that follow each other in one row of patches. */
typedef struct corners {
    const sv_real *image;
    long n, iy, ix, step; /* step: pixels from one corner to the next */
    long outside, inside; /* patches 0 … outside-1 cross the left border, those from `inside` on the right one */
} corners;

/* A run that crosses the left or right border, with zeros for what is missing. */
static void assemble_run(const sv_patches *v, const sv_real *row, long ix, sv_real *to) {
    long c = v->channels, run = v->kw * c;
    long from = ix < 0 ? sv_min(-ix, v->kw) * c : 0;
    long until = ix + v->kw > v->w ? (v->w - ix) * c : run;
    if (until < from) until = from;
    memset(to, 0, (size_t)from * sizeof *to);
    memcpy(to + from, row + ix * c + from, (size_t)(until - from) * sizeof *to);
    memset(to + until, 0, (size_t)(run - until) * sizeof *to);
}

static void locate_merged(const sv_patches *v, const corners *q, long seg, long nseg, const sv_real **at,
                          sv_real *spare) {
    long c = v->channels, run = v->kw * c, step = q->step * c;
    for (long s = 0; s < nseg; s++, at += SV_MR, spare += SV_MR * run) {
        long y = q->iy + seg + s;
        if (y < 0 || y >= v->h) {
            for (long r = 0; r < q->n; r++) at[r] = v->zeros;
            continue;
        }
        const sv_real *row = q->image + y * v->w * c;
        for (long r = q->outside; r < q->inside; r++) at[r] = row + q->ix * c + r * step;
        for (long r = 0; r < q->n; r++) {
            if (r == q->outside && q->inside > r) r = q->inside;
            if (r >= q->n) break;
            assemble_run(v, row, q->ix + r * q->step, spare + r * run);
            at[r] = spare + r * run;
        }
    }
}

static void locate_pixels(const sv_patches *v, const corners *q, long seg, long nseg, const sv_real **at) {
    long ky = seg / v->kw, kx = seg % v->kw, c = v->channels;
    for (long s = 0; s < nseg; s++, at += SV_MR) {
        long y = q->iy + ky * v->dilation, x = q->ix + kx * v->dilation;
        const sv_real *row = q->image + y * v->w * c;
        if (y < 0 || y >= v->h)
            for (long r = 0; r < q->n; r++) at[r] = v->zeros;
        else
            for (long r = 0; r < q->n; r++, x += q->step) at[r] = x >= 0 && x < v->w ? row + x * c : v->zeros;
        if (++kx == v->kw) kx = 0, ky++;
    }
}

static void locate_patches(const void *arg, long row, long n, long seg, long nseg, const sv_real **at, sv_real *spare) {
    const sv_patches *v = arg;
    long i, t, u;
    split(row, v->down, v->across, &i, &t, &u);
    for (long r = 0; r < n;) {
        corners q = {
            .image = v->x + i * v->h * v->w * v->channels,
            .n = sv_min(n - r, v->across - u),
            .iy = t * v->stride + v->y0,
            .ix = u * v->stride + v->x0,
            .step = v->stride,
        };
        if (v->merged) {
            while (q.outside < q.n && q.ix + q.outside * q.step < 0) q.outside++;
            q.inside = q.n;
            while (q.inside > q.outside && q.ix + (q.inside - 1) * q.step + v->kw > v->w) q.inside--;
            locate_merged(v, &q, seg, nseg, at + r, spare + r * v->kw * v->channels);
        } else {
            locate_pixels(v, &q, seg, nseg, at + r);
        }
        r += q.n;
        u = 0;
        if (++t == v->down) t = 0, i++;
    }
}

sv_rows sv_patch_rows(sv_patches *v) {
    v->merged = v->kw * v->channels <= SV_CONV_MERGE && v->dilation == 1;
    return (sv_rows){
        .segs = v->merged ? v->kh : v->kh * v->kw,
        .run = v->merged ? v->kw * v->channels : v->channels,
        .locate = locate_patches,
        .arg = v,
    };
}

void sv_locate_pixels(const void *arg, long row, long n, sv_real **at) {
    const sv_pixels *v = arg;
    long i, t, u, step = v->stride * v->channels;
    split(row, v->down, v->across, &i, &t, &u);
    for (long r = 0; r < n;) {
        long y = t * v->stride + v->y0, x = u * v->stride + v->x0;
        sv_real *to = v->x + ((i * v->h + y) * v->w + x) * v->channels;
        for (long until = sv_min(n, r + v->across - u); r < until; r++, to += step) at[r] = to;
        u = 0;
        if (++t == v->down) t = 0, i++;
    }
}
