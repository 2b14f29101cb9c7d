/* gemm.c: the blocked matrix product that dense products and convolutions share.
 *
 *   C[m][n] (+)= A[m][k] B[k][n]
 *
 *        n ->                      A task owns a block of C, walks along k in
 *      +-------+--------+          steps, and for each step
 *    m |task 0 | task 1 |   k      - packs its part of B into panels of 32
 *    | +-------+--------+   |        columns, unless B came packed;
 *    v |task 2 | task 3 |   v      - finds where the rows of A lie (they are
 *      +-------+--------+            read in place), or, when A is stored by
 *                                    columns, packs those in eights;
 *                                  - calls the kernel for each panel and each
 *                                    8 rows (kernels/gemm_portable.c).
 *
 * Reading A in place is what makes a convolution a product: struct sv_rows lets
 * the rows be patches of an image, and no patch is ever copied, except those at
 * its border. The part of A (about 256 KB) and of B that a step touches stay in
 * the second-level cache; see Goto and van de Geijn, "Anatomy of high-performance
 * matrix multiplication" (2008), for the order of the loops.
 *
 * The cut into tasks and steps depends on the shapes alone, so sums are formed in
 * the same order for any number of threads.
 */
#include "loops.h"
#include <string.h>

enum {
    STEP = 256,          /* numbers of k that a step takes, or one run if it is longer */
    DOT_STEP = 1 << 14,  /* the same for dot: its B is narrow */
    BLOCK = 256,         /* rows, and columns of a B that is packed on the way */
    FOOTPRINT = 1 << 16, /* numbers of A, or of packed B, that a step may touch: 256 KB of floats */
    C_BLOCK = 1 << 17,   /* numbers of C in a block if A is stored by columns */
    SKEW = 1,            /* rows between the panels packed on the way: their starts must not be
                            a power of two apart, or they share few lines of the cache */
    NARROW = 64,         /* columns not worth packing A for, if it is stored by columns */
    IN_LINE = 1 << 18,   /* multiply-adds (2 to 5 us) not worth handing to other threads */
    FINISH = 64,         /* of these, about as dear as finishing a number of C */
    TASKS = 16,          /* aimed at: enough to balance a few threads */
    MAX_AT_ONCE = 64     /* products in one parallel region */
};

typedef struct cut {
    const sv_product *p;
    long rows, cols, step; /* of a block */
    long down, across;     /* blocks */
    long first;            /* number of the first task */
    bool dot;
    const sv_pairs *pairs; /* factors are rounded to pairs, two of k in the place of one */
} cut;

size_t sv_panels_size(long k, long n) {
    if (n <= SV_DOT_MAX) return (size_t)(k * n);
    long last = (n - 1) / SV_NR;
    return (size_t)(k * (last * SV_NR + sv_panel_width(n, last)));
}

typedef struct panels {
    sv_real *x;
    long k, n;
} panels;

static void pair_panel(void *arg, long i, int worker) {
    const panels *p = arg;
    (void)worker;
    sv_pairs_now()->rows(p->k, sv_panel_width(p->n, i), p->x + i * SV_NR * p->k);
}

void sv_pair_panels(sv_real *x, long k, long n) {
    if (k > 0) sv_parallel(divide_up(n, SV_NR), pair_panel, &(panels){x, k, n});
}

/* Halves rows or columns until there are enough blocks, but no further than `floor`. */
static void shrink(const sv_product *p, cut *c, long *side, long floor, long unit, long wanted) {
    while (*side / 2 >= floor && divide_up(p->m, c->rows) * divide_up(p->n, c->cols) < wanted)
        *side = round_up(*side / 2, unit);
}

/* A stored by rows: it is read in place, a few runs at a time, and the block is as
 * wide as B if B came packed. A stored by columns: both are packed, and B (the
 * patches, in a convolution) is costly to read, so blocks are wide, and k steps
 * short. `wanted` tasks are aimed at. */
static cut cut_product(const sv_product *p, long first, long wanted) {
    cut c = {.p = p, .first = first, .dot = p->n <= SV_DOT_MAX && !p->flip_a};
    c.pairs = p->half && !c.dot ? sv_pairs_now() : NULL;
    if (p->m < 1 || p->n < 1) return c;
    if (p->flip_a) {
        c.rows = least(BLOCK, round_up(p->m, SV_MR));
        c.cols = least(4 * BLOCK, C_BLOCK / c.rows / SV_NR * SV_NR);
        c.cols = least(c.cols, round_up(p->n, SV_NR));
        shrink(p, &c, &c.cols, BLOCK / 2, SV_NR, wanted);
        shrink(p, &c, &c.rows, 64, SV_MR, wanted);
        shrink(p, &c, &c.cols, 2 * SV_NR, SV_NR, wanted);
        c.step = least(STEP, FOOTPRINT / c.cols);
        if (c.pairs) c.step -= c.step % 2;
    } else {
        long aim = c.dot ? DOT_STEP : STEP, run = p->a.run;
        c.step = run * (run < aim ? aim / run : 1);
        if (c.pairs && c.step % 2) c.step += run;
        c.rows = least(BLOCK, FOOTPRINT / least(c.step, p->k > 0 ? p->k : 1) / SV_MR * SV_MR);
        if (c.rows < SV_MR) c.rows = SV_MR;
        c.cols = p->panels || c.dot ? round_up(p->n, SV_NR) : BLOCK;
        shrink(p, &c, &c.rows, 64, SV_MR, wanted);
        shrink(p, &c, &c.cols, 2 * SV_NR, SV_NR, wanted);
    }
    c.down = divide_up(p->m, c.rows);
    c.across = divide_up(p->n, c.cols);
    return c;
}

/* at[(s - seg) * SV_MR + r] for n rows; rows that are missing repeat the first. */
static void find(const sv_rows *x, long row, long n, long seg, long nseg, const sv_real **at, sv_real *spare) {
    if (x->find) {
        x->find(x->arg, row, n, seg, nseg, at, spare);
    } else {
        for (long s = 0; s < nseg; s++)
            for (long r = 0; r < n; r++) at[s * SV_MR + r] = x->base + (row + r) * x->ld + (seg + s) * x->run;
    }
    for (long s = 0; s < nseg; s++)
        for (long r = n; r < SV_MR; r++) at[s * SV_MR + r] = at[s * SV_MR];
}

/* Copies columns c0 … c1-1 of x's rows from+k0 … from+k1-1 so that `width` of them
 * lie together for each k: the panels of B, the eights of A. Rows go by eights, and
 * of those as many panels at a time as are whole in a run, so that x is read straight
 * on; else one piece of a panel. */
static void pack_straight(const sv_rows *x, long from, long k0, long k1, long c0, long c1, long width, sv_real *to,
                          sv_real *spare) {
    const sv_real *at[SV_MR * 64];
    const sv_kernel *kernel = sv_kernel_now();
    long depth = k1 - k0, padded = round_up(c1 - c0, width == SV_NR ? width / 2 : width);
    if (padded > c1 - c0) {
        long panel = (c1 - c0) / width, in = (c1 - c0) % width;
        long w = width == SV_NR ? sv_panel_width(c1 - c0, panel) : width;
        sv_real *dest = to + panel * width * (depth + SKEW);
        for (long k = 0; k < depth; k++)
            for (long i = in; i < w; i++) dest[k * w + i] = 0;
    }
    for (long c = c0; c < c1;) {
        long seg = c / x->run, nseg = least(64, divide_up(c1, x->run) - seg);
        long end = least(c1, (seg + nseg) * x->run);
        for (long k = k0; k < k1; k += SV_MR) {
            long n = least(SV_MR, k1 - k), s = 0, offset = c - seg * x->run;
            long panel = (c - c0) / width, in = (c - c0) % width;
            find(x, from + k, n, seg, nseg, at, spare);
            for (long j = c; j < end;) {
                long w = width == SV_NR ? sv_panel_width(c1 - c0, panel) : width;
                long left = least(x->run - offset, end - j), len = least(left, w - in);
                long count = w == width && len == w ? left / w : 1;
                kernel->gather(n, at + s * SV_MR, offset, len, count,
                               to + panel * width * (depth + SKEW) + (k - k0) * w + in, w, width * (depth + SKEW));
                j += count * len, offset += count * len;
                if (offset == x->run) offset = 0, s++;
                in += len, panel += count - 1;
                if (in == w) in = 0, panel++;
            }
        }
        c = end;
    }
}

/* The same of a matrix that is stored by columns: a row of x is a column here. */
static void pack_flipped(const sv_rows *x, long k0, long k1, long c0, long c1, sv_real *to) {
    long depth = k1 - k0;
    for (long c = c0; c < c1; c += SV_NR, to += SV_NR * (depth + SKEW)) {
        long n = least(SV_NR, c1 - c), w = sv_panel_width(c1 - c0, (c - c0) / SV_NR);
        sv_kernel_now()->turn(n, depth, x->base + c * x->ld + k0, x->ld, to, w);
        for (long k = 0; n < w && k < depth; k++) memset(to + k * w + n, 0, (size_t)(w - n) * sizeof *to);
    }
}

/* B for dot(): n columns of k numbers. */
static void pack_dot(const sv_product *p, long k0, long k1, sv_real *to) {
    long depth = k1 - k0;
    if (!p->flip_b) {
        sv_kernel_now()->turn(depth, p->n, p->b.base + k0 * p->b.ld, p->b.ld, to, depth);
        return;
    }
    for (long j = 0; j < p->n; j++) memcpy(to + j * depth, p->b.base + j * p->b.ld + k0, (size_t)depth * sizeof *to);
}

/* What a task keeps in its scratch. */
typedef struct desk {
    const sv_real **at; /* runs of A, by 8 rows */
    sv_real *spare, *a, *b;
    sv_real *c[BLOCK]; /* rows of C */
} desk;

/* One group's rows of A as pairs, in scratch. */
static void pair_group(const cut *cut, const sv_tile *t, long row, long n, long seg, long g, desk *d) {
    enum { SLACK = 16 }; /* or rows would be a power of two apart */
    const sv_product *p = cut->p;
    const sv_real **found = d->at + BLOCK;
    long depth = (t->segs - 1) * t->run + t->last, ld = (depth + 1) / 2 + SLACK;
    sv_real *to = d->a + g * SV_MR * ld;
    find(&p->a, row, n, seg, t->segs, found, d->spare);
    cut->pairs->runs(t->segs, t->run, t->last, found, to, ld);
    for (long r = 0; r < SV_MR; r++) d->at[g * SV_MR + r] = to + r * ld;
}

static void run_block(const cut *cut, long task, desk *d) {
    const sv_product *p = cut->p;
    const sv_kernel *kernel = sv_kernel_now();
    const sv_pairs *pairs = cut->pairs;
    void (*tile)(const sv_tile *) = pairs ? pairs->tile : cut->dot ? kernel->dot : kernel->tile;
    long m0 = task / cut->across * cut->rows, m1 = least(p->m, m0 + cut->rows);
    long n0 = task % cut->across * cut->cols, n1 = least(p->n, n0 + cut->cols);
    long groups = divide_up(m1 - m0, SV_MR);
    for (long m = m0; m < m1; m += SV_MR) {
        long n = least(SV_MR, m1 - m);
        sv_real **c = d->c + (m - m0);
        if (p->place)
            p->place(p->place_arg, m, n, c);
        else
            for (long r = 0; r < n; r++) c[r] = p->c + (m + r) * p->ldc;
    }
    long k0 = 0;
    do {
        long k1 = least(p->k, k0 + cut->step), depth = k1 - k0;
        const sv_real *b = d->b;
        long panel_depth = depth;
        if (p->panels) {
            b = p->panels + (cut->dot ? k0 : n0 * p->k + k0 * SV_NR);
            panel_depth = p->k;
        } else if (depth > 0) {
            if (cut->dot)
                pack_dot(p, k0, k1, d->b);
            else if (p->flip_b)
                pack_flipped(&p->b, k0, k1, n0, n1, d->b);
            else
                pack_straight(&p->b, p->b_from, k0, k1, n0, n1, SV_NR, d->b, d->spare);
            for (long n = n0; pairs && n < n1; n += SV_NR)
                pairs->rows(depth, sv_panel_width(n1 - n0, (n - n0) / SV_NR), d->b + (n - n0) * (depth + SKEW));
        }
        sv_tile t = {.step = 1, .run = p->a.run, .add = p->add || k0 > 0};
        long seg0 = 0;
        if (depth == 0) {
            t.last = t.segs = 0;
        } else if (p->flip_a) {
            t.segs = 1;
            t.run = t.last = depth;
            if (!pairs && !p->a.find && (n1 - n0 <= NARROW || p->a.ld <= NARROW)) {
                t.step = p->a.ld;
                for (long i = 0; i < groups * SV_MR; i++) d->at[i] = p->a.base + k0 * p->a.ld + least(m0 + i, m1 - 1);
            } else {
                pack_straight(&p->a, 0, k0, k1, m0, m1, SV_MR, d->a, d->spare);
                t.step = SV_MR;
                for (long i = 0; i < groups * SV_MR; i++)
                    d->at[i] = d->a + i / SV_MR * SV_MR * (depth + SKEW) + i % SV_MR;
                for (long g = 0; pairs && g < groups; g++) pairs->rows(depth, SV_MR, d->a + g * SV_MR * (depth + SKEW));
            }
        } else {
            seg0 = k0 / p->a.run;
            t.segs = divide_up(k1, p->a.run) - seg0;
            t.last = depth - (t.segs - 1) * p->a.run;
            for (long g = 0; g < groups && pairs; g++)
                pair_group(cut, &t, m0 + g * SV_MR, least(SV_MR, m1 - m0 - g * SV_MR), seg0, g, d);
            for (long g = 0; g < groups && !pairs; g++)
                find(&p->a, m0 + g * SV_MR, least(SV_MR, m1 - m0 - g * SV_MR), seg0, t.segs, d->at + g * SV_MR * t.segs,
                     d->spare + g * SV_MR * t.segs * p->a.run);
        }
        if (pairs && depth > 0) {
            t.segs = 1;
            t.run = t.last = (depth + 1) / 2;
        }
        for (long n = n0; n < n1; n += SV_NR) {
            long width = sv_panel_width(p->n, n / SV_NR);
            if (cut->dot) {
                t.b = b;
                t.ldb = panel_depth;
            } else {
                if (!p->panels) width = sv_panel_width(n1 - n0, (n - n0) / SV_NR);
                t.ldb = width;
                t.b = p->panels ? p->panels + n * p->k + (pairs ? k0 / 2 : k0) * width : b + (n - n0) * (depth + SKEW);
            }
            t.cols = least(n1 - n, SV_NR);
            t.bias = p->bias && k0 == 0 ? p->bias + n : NULL;
            for (long g = 0; g < groups; g++) {
                sv_real *c[SV_MR];
                t.rows = least(SV_MR, m1 - m0 - g * SV_MR);
                for (long r = 0; r < t.rows; r++) c[r] = d->c[g * SV_MR + r] + n;
                t.a = d->at + g * SV_MR * t.segs;
                t.c = c;
                tile(&t);
            }
        }
        k0 = k1;
    } while (k0 < p->k);
    for (long m = m0; p->finish && m < m1; m++) p->finish(p->finish_arg, m, n0, n1 - n0, d->c[m - m0] + n0);
}

typedef struct region {
    cut cuts[MAX_AT_ONCE];
    long count;
    bool alike; /* equally many tasks each: taken in turn, because the phases of a
                   transposed convolution read the same part of its input */
} region;

static void run_task(void *arg, long task, int worker) {
    const region *g = arg;
    long i = g->count - 1;
    if (g->alike) {
        i = task % g->count;
        task = g->cuts[i].first + task / g->count;
    } else {
        while (task < g->cuts[i].first) i--;
    }
    const cut *c = &g->cuts[i];
    desk d;
    char *at = sv_scratch(worker);
    d.b = (sv_real *)at;
    d.a = d.b + (BLOCK + SV_NR) * (STEP + SKEW) + 4 * BLOCK * SKEW;
    d.at = (const sv_real **)(d.a + BLOCK * (STEP + SKEW));
    d.spare = (sv_real *)(d.at + BLOCK * STEP);
    run_block(c, task - c->first, &d);
}

void sv_products(const sv_product *p, long count) {
    sv_kernel_now();
    for (long done = 0; done < count; done += MAX_AT_ONCE) {
        region g = {.count = least(MAX_AT_ONCE, count - done), .alike = true};
        double work = 0;
        long tasks = 0, wanted = divide_up(TASKS, g.count);
        for (long i = 0; i < g.count; i++) {
            const sv_product *q = p + done + i;
            long n = q->n > SV_DOT_MAX ? round_up(q->n, SV_NR / 2) : q->n;
            work += (double)q->m * (double)n * (double)(q->finish ? q->k + FINISH : q->k);
            g.cuts[i] = cut_product(q, tasks, wanted);
            tasks += g.cuts[i].down * g.cuts[i].across;
            if (tasks != (i + 1) * g.cuts[0].down * g.cuts[0].across) g.alike = false;
            if (q->flip_a) g.alike = false;
        }
        if (work < IN_LINE)
            for (long i = 0; i < tasks; i++) run_task(&g, i, 0);
        else
            sv_parallel(tasks, run_task, &g);
    }
}

static sv_rows dense(const sv_real *x, long ld, long length, bool whole) {
    long run = whole || length < STEP ? length : STEP;
    if (run < 1) run = 1;
    return (sv_rows){.base = x, .ld = ld, .run = run, .segs = divide_up(length, run)};
}

sv_product sv_dense_product(bool flip_a, bool flip_b, long m, long n, long k, const sv_real *a, long lda,
                            const sv_real *b, long ldb) {
    return (sv_product){
        .m = m,
        .n = n,
        .k = k,
        .a = dense(a, lda, flip_a ? m : k, flip_a),
        .b = dense(b, ldb, flip_b ? k : n, true),
        .flip_a = flip_a,
        .flip_b = flip_b,
    };
}

void sv_gemm(bool flip_a, bool flip_b, long m, long n, long k, const sv_real *a, long lda, const sv_real *b, long ldb,
             bool add, const sv_real *bias, sv_real *c, long ldc) {
    sv_product p = sv_dense_product(flip_a, flip_b, m, n, k, a, lda, b, ldb);
    p.add = add;
    p.bias = bias;
    p.c = c;
    p.ldc = ldc;
    sv_products(&p, 1);
}

typedef struct batch {
    bool flip_a, flip_b, add;
    long m, n, k, stride_a, stride_b, stride_c;
    const sv_real *a, *b;
    sv_real *c;
} batch;

static void run_batch(void *arg, long i, int worker) {
    const batch *b = arg;
    (void)worker;
    sv_gemm(b->flip_a, b->flip_b, b->m, b->n, b->k, b->a + i * b->stride_a, b->flip_a ? b->m : b->k,
            b->b + i * b->stride_b, b->flip_b ? b->k : b->n, b->add, NULL, b->c + i * b->stride_c, b->n);
}

/* Many products are shared out whole, a few are cut each. */
void sv_gemm_batch(long count, bool flip_a, bool flip_b, long m, long n, long k, const sv_real *a, long stride_a,
                   const sv_real *b, long stride_b, bool add, sv_real *c, long stride_c) {
    batch g = {flip_a, flip_b, add, m, n, k, stride_a, stride_b, stride_c, a, b, c};
    if (count >= TASKS)
        sv_parallel(count, run_batch, &g);
    else
        for (long i = 0; i < count; i++) run_batch(&g, i, 0);
}
