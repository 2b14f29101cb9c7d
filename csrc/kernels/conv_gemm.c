/* conv_gemm.c: convolution, its gradients, and so the transposed convolution,
 * on channels-last images.
 *
 * A convolution is a matrix product. Each output pixel has a patch of the input,
 * kernel x kernel pixels of cin numbers, and is that patch times the weights:
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
 * Channels come last in memory, so "a a a a" is one run of 4 cin numbers, and a
 * patch is four runs. kernels/gemm.c is told where the runs start and reads them in
 * place: patches are never stored. Only runs that hang over the border are put
 * together, with zeros, in a few kilobytes of scratch; runs wholly outside are a
 * shared row of zeros. Wide layers take one pixel as a run: nothing is copied.
 *
 * The gradient of x (and the transposed convolution, which is the same map) would
 * scatter each y over a patch of x. Turned round, each x gathers the y that saw
 * it. With stride 2 and a 4x4 kernel, x pixels fall into four phases (row even or
 * odd, column even or odd), and those of one phase are all seen by y through the
 * same 2x2 of the 16 weights:
 *
 *      x:  0 1 0 1 0 1      phase 0:  weights ky = 1, 3 (pad 1), kx likewise
 *          2 3 2 3 2 3      phase 1:  ky = 1, 3; kx = 0, 2
 *          0 1 0 1 0 1      ...
 *          2 3 2 3 2 3
 *
 * So it is four dense stride-1 convolutions of gy with 2x2 kernels, each writing
 * every other pixel of every other row. In general there are stride^2 phases of
 * at most ceil(kernel / stride)^2 weights (some of none, if kernel < stride).
 *
 * The gradient of the weights is gy' [cout][pixels] times the patches
 * [pixels][16 cin], cut along the pixels into a fixed number of parts that are
 * added in order.
 */
#include "../simvae.h"
#include "loops.h"
#include <string.h>

enum {
    MERGE = 256,        /* runs of a whole kernel row up to this many numbers, else of a pixel */
    MAX_PHASES = 16,    /* products in one parallel region */
    PARTS = 8,          /* of the pixels, in grad_w, when the weights are few */
    PART_MIN = 512,     /* pixels in a part */
    KEPT_PIXELS = 1024, /* of y: with more, a product outweighs its panels by far */
    HALF_MAX = 8192     /* channels of a pixel that fit a task's scratch as pairs of bfloat16 */
};

/* Row number row of images of down x across points is point (t, u) of image i. */
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

/* Patches of an image as rows of a matrix: row (image, t, u) is the kh x kw window
 * whose corner is pixel (t * stride + y0, u * stride + x0). */
typedef struct window {
    const sv_real *x;
    long h, w, channels;
    long kh, kw, stride, y0, x0;
    long down, across; /* windows in an image */
    const sv_real *zeros;
    bool merged;
} window;

/* Corners of n windows that follow each other in one row of windows. */
typedef struct stretch {
    const sv_real *image;
    long n, iy, ix, step; /* step: pixels from one corner to the next */
    long outside, inside; /* windows 0 … outside-1 hang over the left border, those from
                             `inside` on over the right one */
} stretch;

/* A run that hangs over the left or right border, with zeros for what is missing. */
static void put_together(const window *v, const sv_real *row, long ix, sv_real *to) {
    long c = v->channels, run = v->kw * c;
    long from = ix < 0 ? least(-ix, v->kw) * c : 0;
    long until = ix + v->kw > v->w ? (v->w - ix) * c : run;
    if (until < from) until = from;
    memset(to, 0, (size_t)from * sizeof *to);
    memcpy(to + from, row + ix * c + from, (size_t)(until - from) * sizeof *to);
    memset(to + until, 0, (size_t)(run - until) * sizeof *to);
}

static void find_merged(const window *v, const stretch *q, long seg, long nseg, const sv_real **at, sv_real *spare) {
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
            put_together(v, row, q->ix + r * q->step, spare + r * run);
            at[r] = spare + r * run;
        }
    }
}

static void find_pixels(const window *v, const stretch *q, long seg, long nseg, const sv_real **at) {
    long ky = seg / v->kw, kx = seg % v->kw, c = v->channels;
    for (long s = 0; s < nseg; s++, at += SV_MR) {
        long y = q->iy + ky, x = q->ix + kx;
        const sv_real *row = q->image + y * v->w * c;
        if (y < 0 || y >= v->h)
            for (long r = 0; r < q->n; r++) at[r] = v->zeros;
        else
            for (long r = 0; r < q->n; r++, x += q->step) at[r] = x >= 0 && x < v->w ? row + x * c : v->zeros;
        if (++kx == v->kw) kx = 0, ky++;
    }
}

static void find_window(const void *arg, long row, long n, long seg, long nseg, const sv_real **at, sv_real *spare) {
    const window *v = arg;
    long i, t, u;
    split(row, v->down, v->across, &i, &t, &u);
    for (long r = 0; r < n;) {
        stretch q = {
            .image = v->x + i * v->h * v->w * v->channels,
            .n = least(n - r, v->across - u),
            .iy = t * v->stride + v->y0,
            .ix = u * v->stride + v->x0,
            .step = v->stride,
        };
        if (v->merged) {
            while (q.outside < q.n && q.ix + q.outside * q.step < 0) q.outside++;
            q.inside = q.n;
            while (q.inside > q.outside && q.ix + (q.inside - 1) * q.step + v->kw > v->w) q.inside--;
            find_merged(v, &q, seg, nseg, at + r, spare + r * v->kw * v->channels);
        } else {
            find_pixels(v, &q, seg, nseg, at + r);
        }
        r += q.n;
        u = 0;
        if (++t == v->down) t = 0, i++;
    }
}

static sv_rows window_rows(window *v) {
    v->merged = v->kw * v->channels <= MERGE;
    return (sv_rows){
        .segs = v->merged ? v->kh : v->kh * v->kw,
        .run = v->merged ? v->kw * v->channels : v->channels,
        .find = find_window,
        .arg = v,
    };
}

/* Where the pixels of a phase lie: row (image, t, u) is pixel
 * (t * stride + y0, u * stride + x0). */
typedef struct lattice {
    sv_real *x;
    long h, w, channels, stride, y0, x0, down, across;
} lattice;

static void place_lattice(const void *arg, long row, long n, sv_real **at) {
    const lattice *v = arg;
    long i, t, u, step = v->stride * v->channels;
    split(row, v->down, v->across, &i, &t, &u);
    for (long r = 0; r < n;) {
        long y = t * v->stride + v->y0, x = u * v->stride + v->x0;
        sv_real *to = v->x + ((i * v->h + y) * v->w + x) * v->channels;
        for (long until = least(n, r + v->across - u); r < until; r++, to += step) at[r] = to;
        u = 0;
        if (++t == v->down) t = 0, i++;
    }
}

/* The weights as panels of B. Row (tap, inner) and column outer of a panel hold
 * w[outer * outer_step + inner * inner_step + tap]. place() tells where in `panels`
 * those of the tap's product start, how many rows they have (depth), and which of them
 * is the tap's first. A forward convolution is one product of all taps; a data
 * gradient shares the taps out over its phases. */
typedef struct selection {
    const sv_real *w;
    long taps, inner, outer, inner_step, outer_step;
    long (*place)(const sv_conv *c, long tap, long inner, long *first, long *depth);
    const sv_conv *c;
    sv_real *panels;
} selection;

enum { INNER_PIECE = 64, INNER_BLOCK = 4, LOCAL_TAPS = 32 };

/* One panel, INNER_BLOCK of inner, some of the taps: turned in a local block,
 * because rows of a panel that differ by a tap are a power of two apart in memory
 * and would push each other out of the cache. */
static void pack_block(const selection *s, long panel, long i0, long i1, long tap0, long tap1) {
    sv_real block[LOCAL_TAPS][INNER_BLOCK * SV_NR];
    const sv_kernel *kernel = sv_kernel_now();
    long o0 = panel * SV_NR;
    long width = sv_panel_width(s->outer, panel), wide = least(s->outer - o0, SV_NR);
    if (wide < width) memset(block, 0, sizeof block);
    for (long i = i0; i < i1; i++)
        kernel->turn(wide, tap1 - tap0, s->w + o0 * s->outer_step + i * s->inner_step + tap0, s->outer_step,
                     &block[0][(i - i0) * width], INNER_BLOCK * SV_NR);
    for (long t = 0; t < tap1 - tap0; t++) {
        long first, depth, of = s->place(s->c, tap0 + t, s->inner, &first, &depth);
        if (s->outer > SV_DOT_MAX) {
            memcpy(s->panels + of + o0 * depth + (first + i0) * width, block[t],
                   (size_t)((i1 - i0) * width) * sizeof **block);
            continue;
        }
        for (long o = 0; o < wide; o++)
            for (long i = i0; i < i1; i++) s->panels[of + o * depth + first + i] = block[t][(i - i0) * width + o];
    }
}

static void pack_weights(void *arg, long piece, int worker) {
    const selection *s = arg;
    (void)worker;
    long panels = (s->outer + SV_NR - 1) / SV_NR;
    long panel = piece % panels, first = piece / panels * INNER_PIECE;
    long end = least(s->inner, first + INNER_PIECE);
    for (long i = first; i < end; i += INNER_BLOCK)
        for (long tap = 0; tap < s->taps; tap += LOCAL_TAPS)
            pack_block(s, panel, i, least(end, i + INNER_BLOCK), tap, least(s->taps, tap + LOCAL_TAPS));
}

static void select_weights(const selection *s) {
    long panels = (s->outer + SV_NR - 1) / SV_NR;
    long pieces = (s->inner + INNER_PIECE - 1) / INNER_PIECE;
    sv_parallel(panels * pieces, pack_weights, (void *)s);
}

static long zeros_size(const sv_conv *c) {
    long widest = c->cin > c->cout ? c->cin : c->cout;
    long run = c->kernel * widest <= MERGE ? c->kernel * widest : widest;
    if (run < MERGE) run = MERGE;
    return (run + 15) / 16 * 16;
}

/* How many parts the pixels are cut into for grad_w: enough for a few threads, no
 * more than keeps the partial sums well below the cost of making them. */
static long weight_parts(const sv_conv *c) {
    long pixels = c->n * c->oh * c->ow, width = c->kernel * c->kernel * c->cin;
    long tiles = ((width + 511) / 512) * ((c->cout + 255) / 256);
    long parts = least(PARTS / tiles, pixels / PART_MIN);
    return parts < 1 ? 1 : parts;
}

/* Numbers that the panels of `taps` taps take, as a product of the data gradient. */
static long panels_size(const sv_conv *c, long taps) {
    return taps > 0 ? ((long)sv_panels_size(taps * c->cout, c->cin) + 15) / 16 * 16 : 0;
}

size_t sv_conv_work(const sv_conv *c) {
    long taps = c->kernel * c->kernel, side = least(c->stride, c->kernel), phases = side * side;
    size_t forward = sv_panels_size(taps * c->cin, c->cout);
    size_t back = (size_t)(panels_size(c, taps) + phases * (SV_NR + 16));
    size_t most = forward > back ? forward : back, few = sv_conv_few(c) ? sv_conv_few_work(c) : 0;
    if (few > most) most = few;
    size_t fast = sv_conv_fast_work(c);
    if (fast > most) most = fast;
    size_t weight = (size_t)(weight_parts(c) * taps * c->cin * c->cout);
    if (sv_conv_fast_weight_work(c) > weight) weight = sv_conv_fast_weight_work(c);
    if (sv_conv_few_weight_work(c) > weight) weight = sv_conv_few_weight_work(c);
    return (size_t)zeros_size(c) + (most > weight ? most : weight) + 16;
}

static long phase_start(const sv_conv *c, long ry, long rx);

size_t sv_conv_kept(const sv_conv *c, bool back, uint64_t *key) {
    if (back && sv_conv_few(c)) return 0;
    if (sv_conv_fast(c)) return sv_conv_fast_kept(c, back, key);
    if (c->n * c->oh * c->ow > KEPT_PIXELS) return 0;
    *key = ((uint64_t)c->stride << 32) + (sv_pairs_now() ? 2 : 0) + back;
    return back ? (size_t)phase_start(c, c->stride, 0) : sv_panels_size(c->kernel * c->kernel * c->cin, c->cout);
}

/* Does a product of n columns with pixels of so many channels take pairs? */
static bool in_pairs(long n, long channels) { return sv_pairs_now() && channels <= HALF_MAX && n > SV_DOT_MAX; }

static sv_real *lay_zeros(const sv_conv *c, sv_real *work) {
    memset(work, 0, (size_t)zeros_size(c) * sizeof *work);
    return work + zeros_size(c);
}

static window patches(const sv_conv *c, const sv_real *x, const sv_real *zeros) {
    return (window){
        .x = x,
        .h = c->h,
        .w = c->w,
        .channels = c->cin,
        .kh = c->kernel,
        .kw = c->kernel,
        .stride = c->stride,
        .y0 = -c->pad,
        .x0 = -c->pad,
        .down = c->oh,
        .across = c->ow,
        .zeros = zeros,
    };
}

static long place_forward(const sv_conv *c, long tap, long inner, long *first, long *depth) {
    *first = tap * inner;
    *depth = c->kernel * c->kernel * inner;
    return 0;
}

void sv_conv_forward(const sv_conv *c, const sv_real *x, const sv_real *weight, const sv_after *after, sv_real *y,
                     sv_real *work) {
    sv_real *panels = lay_zeros(c, work);
    if (sv_conv_fast(c)) {
        sv_conv_run_fast(c, false, x, weight, after, work, y, panels);
        return;
    }
    long taps = c->kernel * c->kernel;
    if (c->kept) panels = c->kept;
    selection s = {
        .w = weight,
        .taps = taps,
        .inner = c->cin,
        .outer = c->cout,
        .inner_step = taps,
        .outer_step = taps * c->cin,
        .place = place_forward,
        .c = c,
        .panels = panels,
    };
    bool half = in_pairs(c->cout, c->cin);
    if (!c->ready) {
        select_weights(&s);
        if (half) sv_pair_panels(panels, taps * c->cin, c->cout);
    }
    if (!half && c->cout > SV_DOT_MAX && sv_conv_from_few(c)) {
        sv_conv_forward_few(c, x, panels, after, y);
        return;
    }
    window v = patches(c, x, work);
    sv_product p = {
        .m = c->n * c->oh * c->ow,
        .n = c->cout,
        .k = taps * c->cin,
        .a = window_rows(&v),
        .panels = panels,
        .c = y,
        .ldc = c->cout,
        .half = half,
    };
    sv_after_product(after, &p);
    sv_products(&p, 1);
}

/* Along one axis: taps of the kernel that lead to x pixels of residue r, where
 * r = (pixel + pad) mod stride. */
static long taps_of(const sv_conv *c, long r) {
    return r < c->kernel ? (c->kernel - r + c->stride - 1) / c->stride : 0;
}

/* Phases are numbered by their residues; panels of the earlier ones come first. A
 * window of gy meets the taps of a phase from the last to the first. */
static long phase_start(const sv_conv *c, long ry, long rx) {
    long side = least(c->stride, c->kernel), at = 0; /* residues beyond have no taps */
    for (long y = 0; y <= ry && y < side; y++)
        for (long x = 0; x < (y < ry ? side : least(rx, side)); x++)
            at += panels_size(c, taps_of(c, y) * taps_of(c, x));
    return at;
}

static long place_back(const sv_conv *c, long tap, long inner, long *first, long *depth) {
    long ky = tap / c->kernel, kx = tap % c->kernel;
    long ry = ky % c->stride, rx = kx % c->stride;
    long down = taps_of(c, ry), across = taps_of(c, rx);
    *first = ((down - 1 - ky / c->stride) * across + across - 1 - kx / c->stride) * inner;
    *depth = down * across * inner;
    return phase_start(c, ry, rx);
}

/* Along one axis, x pixels t * stride + start, t < count, are seen by y pixels
 * t + first … t + first + taps - 1. */
typedef struct phase {
    long start, count, taps, first;
} phase;

static phase find_phase(const sv_conv *c, long residue, long size) {
    phase p = {.taps = taps_of(c, residue)};
    p.start = (residue + c->stride - c->pad % c->stride) % c->stride;
    p.count = size > p.start ? (size - p.start + c->stride - 1) / c->stride : 0;
    p.first = (p.start + c->pad) / c->stride - (p.taps - 1);
    return p;
}

void sv_conv_grad_x(const sv_conv *c, const sv_real *gy, const sv_real *weight, const sv_after *after, sv_real *gx,
                    sv_real *work) {
    if (sv_conv_few(c)) {
        sv_conv_grad_x_few(c, gy, weight, after, gx, work);
        return;
    }
    sv_real *panels = lay_zeros(c, work);
    if (sv_conv_fast(c)) {
        sv_conv_run_fast(c, true, gy, weight, after, work, gx, panels);
        return;
    }
    long taps = c->kernel * c->kernel, phases = c->stride * c->stride, count = 0;
    if (c->kept) panels = c->kept;
    selection s = {
        .w = weight,
        .taps = taps,
        .inner = c->cout,
        .outer = c->cin,
        .inner_step = taps * c->cin,
        .outer_step = taps,
        .place = place_back,
        .c = c,
        .panels = panels,
    };
    if (!c->ready) select_weights(&s);
    sv_product p[MAX_PHASES];
    window v[MAX_PHASES];
    lattice to[MAX_PHASES];
    for (long f = 0; f < phases; f++) {
        long ry = f / c->stride, rx = f % c->stride;
        phase py = find_phase(c, ry, c->h), px = find_phase(c, rx, c->w);
        if (py.count * px.count > 0) {
            v[count] = (window){
                .x = gy,
                .h = c->oh,
                .w = c->ow,
                .channels = c->cout,
                .kh = py.taps,
                .kw = px.taps,
                .stride = 1,
                .y0 = py.first,
                .x0 = px.first,
                .down = py.count,
                .across = px.count,
                .zeros = work,
            };
            to[count] = (lattice){
                .x = gx,
                .h = c->h,
                .w = c->w,
                .channels = c->cin,
                .stride = c->stride,
                .y0 = py.start,
                .x0 = px.start,
                .down = py.count,
                .across = px.count,
            };
            p[count] = (sv_product){
                .m = c->n * py.count * px.count,
                .n = c->cin,
                .k = py.taps * px.taps * c->cout,
                .a = window_rows(&v[count]),
                .panels = panels + phase_start(c, ry, rx),
                .place = place_lattice,
                .place_arg = &to[count],
            };
            sv_after_product(after, &p[count]);
            if (p[count].k == 0) p[count].a.run = 1;
            p[count].half = in_pairs(c->cin, c->cout);
            if (p[count].half && !c->ready) sv_pair_panels(panels + phase_start(c, ry, rx), p[count].k, c->cin);
            count++;
        }
        if (count == MAX_PHASES || f + 1 == phases) {
            sv_products(p, count);
            count = 0;
        }
    }
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
    long taps = p->c->kernel * p->c->kernel, cin = p->c->cin, row = taps * cin;
    (void)worker;
    sv_real *restrict to = p->sums + co * row;
    for (long part = 1; part < p->count; part++) {
        const sv_real *restrict from = to + part * row * p->c->cout;
        for (long i = 0; i < row; i++) to[i] += from[i];
    }
    sv_kernel_now()->turn(taps, cin, to, cin, p->gw + co * row, taps);
}

void sv_conv_grad_w(const sv_conv *c, const sv_real *x, const sv_real *gy, sv_real *gw, sv_real *work) {
    sv_real *sums = lay_zeros(c, work);
    if (sv_conv_fast(c)) {
        sv_conv_fast_weight(c, x, gy, work, gw, sums);
        return;
    }
    if (!sv_pairs_now() && sv_conv_few_weight_suits(c)) {
        sv_conv_few_weight(c, x, gy, gw, sums);
        return;
    }
    window v = patches(c, x, work);
    sv_rows rows = window_rows(&v);
    long pixels = c->n * c->oh * c->ow, width = c->kernel * c->kernel * c->cin;
    long count = weight_parts(c);
    sv_product p[PARTS];
    for (long i = 0; i < count; i++) {
        long from = pixels * i / count, until = pixels * (i + 1) / count;
        p[i] = (sv_product){
            .m = c->cout,
            .n = width,
            .k = until - from,
            .flip_a = true,
            .a = {.base = gy + from * c->cout, .ld = c->cout, .run = c->cout, .segs = 1},
            .b = rows,
            .b_from = from,
            .half = sv_pairs_now() != NULL,
            .c = sums + i * width * c->cout,
            .ldc = width,
        };
    }
    sv_products(p, count);
    parts all = {c, sums, count, gw};
    sv_parallel(c->cout, add_parts, &all);
}

/* Sums of columns, by blocks of rows that are added in order. A few columns are read
 * as 16 times as many of 16 times fewer rows, so that vectors are full. */
enum { SUM_ROWS = 64, SUM_BLOCKS = 64, FOLD = 16, FEW = 64 };

typedef struct column_sums {
    long rows, cols, block; /* folded; rows in a block */
    const sv_real *x, *factor;
    sv_real *scaled, *partial;
} column_sums;

static long fold(long rows, long cols) { return cols < FEW && rows % FOLD == 0 ? FOLD : 1; }

SV_CLONES void sv_add_row(long n, const sv_real *restrict x, sv_real *restrict to) {
    for (long i = 0; i < n; i++) to[i] += x[i];
}

SV_CLONES static void add_scaled_row(long n, const sv_real *restrict x, const sv_real *restrict factor,
                                     sv_real *restrict scaled, sv_real *restrict to) {
    for (long i = 0; i < n; i++) to[i] += scaled[i] = x[i] * factor[i];
}

static void sum_block(void *arg, long i, int worker) {
    const column_sums *s = arg;
    (void)worker;
    sv_real *to = s->partial + i * s->cols;
    memset(to, 0, (size_t)s->cols * sizeof *to);
    for (long r = i * s->block; r < least(s->rows, (i + 1) * s->block); r++) {
        long at = r * s->cols;
        if (s->factor)
            add_scaled_row(s->cols, s->x + at, s->factor + at, s->scaled + at, to);
        else
            sv_add_row(s->cols, s->x + at, to);
    }
}

static long sum_block_rows(long rows) {
    long even = (rows + SUM_BLOCKS - 1) / SUM_BLOCKS;
    return even > SUM_ROWS ? even : SUM_ROWS;
}

static long sum_blocks(long rows) { return (rows + sum_block_rows(rows) - 1) / sum_block_rows(rows); }

size_t sv_column_sums_work(long rows, long cols) {
    long f = fold(rows, cols);
    return (size_t)(sum_blocks(rows / f) * cols * f);
}

void sv_scaled_column_sums(long rows, long cols, const sv_real *x, const sv_real *factor, sv_real *scaled,
                           sv_real *sums, sv_real *work) {
    long f = fold(rows, cols), blocks = sum_blocks(rows / f);
    column_sums s = {rows / f, cols * f, sum_block_rows(rows / f), x, factor, scaled, work};
    sv_parallel(blocks, sum_block, &s);
    for (long j = 0; sums && j < cols; j++) {
        double sum = 0;
        for (long i = j; i < blocks * s.cols; i += cols) sum += (double)work[i];
        sums[j] = (sv_real)sum;
    }
}

void sv_column_sums(long rows, long cols, const sv_real *x, sv_real *sums, sv_real *work) {
    sv_scaled_column_sums(rows, cols, x, NULL, NULL, sums, work);
}
