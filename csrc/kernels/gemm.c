/* gemm.c: the blocked matrix product that dense products and convolutions share.
 *
 *   C[m][n] (+)= A[m][k] B[k][n]
 *
 *        n ->                      A task owns a block of C, walks along k in
 *      +-------+--------+          steps, and for each step
 *    m |task 0 | task 1 |   k      - packs its part of B into panels of 32
 *    | +-------+--------+   |        columns, unless B came packed;
 *    v |task 2 | task 3 |   v      - locates the rows of A, which are read in
 *      +-------+--------+            place, or, when A is stored by columns,
 *                                    packs them in groups of 8;
 *                                  - calls the micro-kernel (gemm.h) for each
 *                                    panel and each group of 8 rows.
 *
 * Reading A in place is what makes a convolution a product (implicit GEMM): struct sv_rows lets the rows be patches of
 * an image, and no patch is copied, except those at its border. The part of A (about 256 KB) and of B that a step
 * touches stay in the second-level cache; see Goto and van de Geijn, "Anatomy of high-performance matrix
 * multiplication" (2008), for the order of the loops.
 *
 * The tiling depends on the shapes alone, so sums are formed in the same order for any number of threads.
 */
#include "gemm.h"
#include "gemm_block.h"
#include "loops.h"

enum {
    STEP = SV_GEMM_STEP,
    BLOCK = SV_GEMM_BLOCK,
    DOT_STEP = 1 << 14,    /* numbers of k in a step of dot: its B is narrow */
    FOOTPRINT = 1 << 16,   /* numbers of A, or of packed B, that a step may touch: 256 KB of floats */
    C_BLOCK = 1 << 17,     /* numbers of C in a block if A is stored by columns */
    INLINE_WORK = 1 << 18, /* multiply-adds (2 to 5 us) not worth handing to other threads */
    EPILOGUE = 64,         /* multiply-adds that cost about as much as the epilogue of a number of C */
    TASKS = 16,            /* aimed at: enough to balance a few threads */
    MAX_AT_ONCE = 64       /* products in one parallel region */
};

size_t sv_panels_size(long k, long n) {
    if (n <= SV_DOT_MAX) return (size_t)(k * n);
    long last = (n - 1) / SV_NR;
    return (size_t)(k * (last * SV_NR + sv_panel_width(n, last)));
}

typedef struct panels {
    sv_real *x;
    long k, n;
} panels;

static void round_panel(void *arg, long i, int worker) {
    const panels *p = arg;
    (void)worker;
    sv_bf16()->round_rows(p->k, sv_panel_width(p->n, i), p->x + i * SV_NR * p->k);
}

void sv_bf16_panels(sv_real *x, long k, long n) {
    if (k > 0) sv_parallel(divide_up(n, SV_NR), round_panel, &(panels){x, k, n});
}

/* ---- tiling ------------------------------------------------------------------------ */

/* Halves rows or columns until there are enough blocks, but no further than `floor`. */
static void halve(const sv_product *p, sv_tiling *t, long *side, long floor, long unit, long wanted) {
    while (*side / 2 >= floor && divide_up(p->m, t->rows) * divide_up(p->n, t->cols) < wanted)
        *side = round_up(*side / 2, unit);
}

/* A stored by rows: it is read in place, a few runs at a time, and the block is as wide as B if B came packed. A stored
 * by columns: both are packed, and B (the patches, in a convolution) is expensive to read, so blocks are wide, and k
 * steps short. `wanted` tasks are aimed at. */
static sv_tiling tile_product(const sv_product *p, long first, long wanted) {
    sv_tiling t = {.p = p, .first = first, .dot = p->n <= SV_DOT_MAX && !p->transpose_a};
    t.bf16 = p->bf16 && !t.dot ? sv_bf16() : NULL;
    if (p->m < 1 || p->n < 1) return t;
    if (p->transpose_a) {
        t.rows = sv_min(BLOCK, round_up(p->m, SV_MR));
        t.cols = sv_min(4 * BLOCK, C_BLOCK / t.rows / SV_NR * SV_NR);
        t.cols = sv_min(t.cols, round_up(p->n, SV_NR));
        halve(p, &t, &t.cols, BLOCK / 2, SV_NR, wanted);
        halve(p, &t, &t.rows, 64, SV_MR, wanted);
        halve(p, &t, &t.cols, 2 * SV_NR, SV_NR, wanted);
        t.step = sv_min(STEP, FOOTPRINT / t.cols);
        if (t.bf16) t.step -= t.step % 2;
    } else {
        long aim = t.dot ? DOT_STEP : STEP, run = p->a.run;
        t.step = run * (run < aim ? aim / run : 1);
        if (t.bf16 && t.step % 2) t.step += run;
        t.rows = sv_min(BLOCK, FOOTPRINT / sv_min(t.step, p->k > 0 ? p->k : 1) / SV_MR * SV_MR);
        if (t.rows < SV_MR) t.rows = SV_MR;
        t.cols = p->panels || t.dot ? round_up(p->n, SV_NR) : BLOCK;
        halve(p, &t, &t.rows, 64, SV_MR, wanted);
        halve(p, &t, &t.cols, 2 * SV_NR, SV_NR, wanted);
    }
    t.down = divide_up(p->m, t.rows);
    t.across = divide_up(p->n, t.cols);
    return t;
}

/* ---- running products ---------------------------------------------------------------- */

typedef struct region {
    sv_tiling tilings[MAX_AT_ONCE];
    long count;
    bool alike; /* equally many tasks each: interleaved, because the phases of a transposed
                   convolution read the same part of its input */
} region;

static void run_task(void *arg, long task, int worker) {
    const region *g = arg;
    long i = g->count - 1;
    if (g->alike) {
        i = task % g->count;
        task = g->tilings[i].first + task / g->count;
    } else {
        while (task < g->tilings[i].first) i--;
    }
    const sv_tiling *t = &g->tilings[i];
    sv_gemm_block(t, task - t->first, sv_scratch(worker));
}

static void run_region(const sv_product *p, long count) {
    region g = {.count = count, .alike = true};
    double work = 0;
    long tasks = 0, wanted = divide_up(TASKS, g.count);
    for (long i = 0; i < g.count; i++) {
        const sv_product *q = p + i;
        long n = q->n > SV_DOT_MAX ? round_up(q->n, SV_NR / 2) : q->n;
        work += (double)q->m * (double)n * (double)(q->epilogue ? q->k + EPILOGUE : q->k);
        g.tilings[i] = tile_product(q, tasks, wanted);
        tasks += g.tilings[i].down * g.tilings[i].across;
        if (tasks != (i + 1) * g.tilings[0].down * g.tilings[0].across) g.alike = false;
        if (q->transpose_a) g.alike = false;
    }
    if (work < INLINE_WORK)
        for (long i = 0; i < tasks; i++) run_task(&g, i, 0);
    else
        sv_parallel(tasks, run_task, &g);
}

void sv_products(const sv_product *p, long count) {
    for (long done = 0; done < count; done += MAX_AT_ONCE) run_region(p + done, sv_min(MAX_AT_ONCE, count - done));
}

sv_rows sv_dense_rows(const sv_real *x, long ld, long length, bool whole) {
    long run = whole || length < STEP ? length : STEP;
    if (run < 1) run = 1;
    return (sv_rows){.base = x, .ld = ld, .run = run, .segs = divide_up(length, run)};
}
