/* gemm_block.c: one block of a product: packing, and the micro-kernel over its tiles (gemm.c has the picture). */
#include "gemm_block.h"
#include "loops.h"
#include <string.h>

enum {
    STEP = SV_GEMM_STEP,
    BLOCK = SV_GEMM_BLOCK,
    SKEW = 1,       /* rows between packed panels: if their starts were a power of two apart they would share few
                       cache lines */
    NARROW = 64,    /* columns not worth packing A for, if it is stored by columns */
    PACK_RUNS = 64, /* runs of 8 rows located at a time */
    SLACK = 16      /* numbers between rounded rows of A, for the same reason as SKEW */
};

/* The block's place in C, and its parts of scratch. */
typedef struct block {
    const sv_tiling *t;
    long m0, m1, n0, n1, groups; /* rows, columns; groups of 8 rows */
    const sv_real **at;          /* runs of A, by 8 rows */
    sv_real *spare, *a, *b;      /* assembled runs; packed A; packed B */
    sv_real *c[BLOCK];           /* rows of C */
} block;

_Static_assert(((BLOCK + SV_NR) * (STEP + SKEW) + 4 * BLOCK * SKEW + BLOCK * (STEP + SKEW) + BLOCK * STEP) *
                           sizeof(sv_real) +
                       BLOCK * STEP * sizeof(sv_real *) <=
                   (sizeof(sv_real) == 4 ? SV_SCRATCH_PRODUCTS : SV_SCRATCH_BYTES),
               "a block's parts fit scratch");

/* at[(s - seg) * SV_MR + r] for n rows; missing rows repeat the first. */
static void locate(const sv_rows *x, long row, long n, long seg, long nseg, const sv_real **at, sv_real *spare) {
    if (x->locate) {
        x->locate(x->arg, row, n, seg, nseg, at, spare);
    } else {
        for (long s = 0; s < nseg; s++)
            for (long r = 0; r < n; r++) at[s * SV_MR + r] = x->base + (row + r) * x->ld + (seg + s) * x->run;
    }
    for (long s = 0; s < nseg; s++)
        for (long r = n; r < SV_MR; r++) at[s * SV_MR + r] = at[s * SV_MR];
}

/* ---- packing --------------------------------------------------------------------------- */

/* Zeros for the columns that the last panel has more than the matrix. */
static void clear_missing(long depth, long cols, long width, sv_real *to) {
    long padded = round_up(cols, width == SV_NR ? width / 2 : width);
    if (padded == cols) return;
    long panel = cols / width, in = cols % width;
    long w = width == SV_NR ? sv_panel_width(cols, panel) : width;
    sv_real *dest = to + panel * width * (depth + SKEW);
    for (long k = 0; k < depth; k++)
        for (long i = in; i < w; i++) dest[k * w + i] = 0;
}

/* Copies columns c0 … c1-1 of x's rows first+k0 … first+k1-1 so that `width` of them are adjacent for each k: the
 * panels of B, the groups of 8 of A. Rows are taken in groups of 8, and of those as many panels at a time as lie whole
 * in a run, so that x is read sequentially; else one part of a panel. */
static void pack(const sv_rows *x, long first, long k0, long k1, long c0, long c1, long width, sv_real *to,
                 sv_real *spare) {
    const sv_real *at[SV_MR * PACK_RUNS];
    const sv_gemm_kernel *kernel = sv_cpu->gemm;
    long depth = k1 - k0;
    clear_missing(depth, c1 - c0, width, to);
    for (long c = c0; c < c1;) {
        long seg = c / x->run, nseg = sv_min(PACK_RUNS, divide_up(c1, x->run) - seg);
        long end = sv_min(c1, (seg + nseg) * x->run);
        for (long k = k0; k < k1; k += SV_MR) {
            long n = sv_min(SV_MR, k1 - k), s = 0, offset = c - seg * x->run;
            long panel = (c - c0) / width, in = (c - c0) % width;
            locate(x, first + k, n, seg, nseg, at, spare);
            for (long j = c; j < end;) {
                long w = width == SV_NR ? sv_panel_width(c1 - c0, panel) : width;
                long left = sv_min(x->run - offset, end - j), len = sv_min(left, w - in);
                long count = w == width && len == w ? left / w : 1;
                kernel->pack(n, at + s * SV_MR, offset, len, count,
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
static void pack_transposed(const sv_rows *x, long k0, long k1, long c0, long c1, sv_real *to) {
    long depth = k1 - k0;
    for (long c = c0; c < c1; c += SV_NR, to += SV_NR * (depth + SKEW)) {
        long n = sv_min(SV_NR, c1 - c), w = sv_panel_width(c1 - c0, (c - c0) / SV_NR);
        sv_cpu->gemm->transpose(n, depth, x->base + c * x->ld + k0, x->ld, to, w);
        for (long k = 0; n < w && k < depth; k++) memset(to + k * w + n, 0, (size_t)(w - n) * sizeof *to);
    }
}

/* B for dot(): n columns of k numbers. */
static void pack_dot(const sv_product *p, long k0, long k1, sv_real *to) {
    long depth = k1 - k0;
    if (!p->transpose_b) {
        sv_cpu->gemm->transpose(depth, p->n, p->b.base + k0 * p->b.ld, p->b.ld, to, depth);
        return;
    }
    for (long j = 0; j < p->n; j++) memcpy(to + j * depth, p->b.base + j * p->b.ld + k0, (size_t)depth * sizeof *to);
}

static void pack_b(const block *b, long k0, long k1) {
    const sv_product *p = b->t->p;
    long depth = k1 - k0;
    if (b->t->dot)
        pack_dot(p, k0, k1, b->b);
    else if (p->transpose_b)
        pack_transposed(&p->b, k0, k1, b->n0, b->n1, b->b);
    else
        pack(&p->b, p->b_first, k0, k1, b->n0, b->n1, SV_NR, b->b, b->spare);
    for (long n = b->n0; b->t->bf16 && n < b->n1; n += SV_NR)
        b->t->bf16->round_rows(depth, sv_panel_width(b->n1 - b->n0, (n - b->n0) / SV_NR),
                               b->b + (n - b->n0) * (depth + SKEW));
}

/* ---- rows of A ------------------------------------------------------------------------- */

/* A stored by columns: read in place where C is narrow, else packed in groups of 8. */
static void prepare_columns(const block *b, long k0, long k1, sv_tile *tile) {
    const sv_product *p = b->t->p;
    const sv_bf16_kernel *bf16 = b->t->bf16;
    long depth = k1 - k0;
    tile->segs = 1;
    tile->run = tile->last = depth;
    if (!bf16 && !p->a.locate && (b->n1 - b->n0 <= NARROW || p->a.ld <= NARROW)) {
        tile->step = p->a.ld;
        for (long i = 0; i < b->groups * SV_MR; i++) b->at[i] = p->a.base + k0 * p->a.ld + sv_min(b->m0 + i, b->m1 - 1);
        return;
    }
    pack(&p->a, 0, k0, k1, b->m0, b->m1, SV_MR, b->a, b->spare);
    tile->step = SV_MR;
    for (long i = 0; i < b->groups * SV_MR; i++) b->at[i] = b->a + i / SV_MR * SV_MR * (depth + SKEW) + i % SV_MR;
    for (long g = 0; bf16 && g < b->groups; g++) bf16->round_rows(depth, SV_MR, b->a + g * SV_MR * (depth + SKEW));
}

/* A group's rows of A, rounded, in scratch. */
static void round_group(const block *b, const sv_tile *tile, long row, long n, long seg, long g) {
    const sv_real **found = b->at + BLOCK;
    long depth = (tile->segs - 1) * tile->run + tile->last, ld = (depth + 1) / 2 + SLACK;
    sv_real *to = b->a + g * SV_MR * ld;
    locate(&b->t->p->a, row, n, seg, tile->segs, found, b->spare);
    b->t->bf16->round_runs(tile->segs, tile->run, tile->last, found, to, ld);
    for (long r = 0; r < SV_MR; r++) b->at[g * SV_MR + r] = to + r * ld;
}

/* A stored by rows: located, and read in place. */
static void prepare_rows(const block *b, long k0, long k1, sv_tile *tile) {
    const sv_product *p = b->t->p;
    long seg = k0 / p->a.run;
    tile->segs = divide_up(k1, p->a.run) - seg;
    tile->last = k1 - k0 - (tile->segs - 1) * p->a.run;
    for (long g = 0; g < b->groups; g++) {
        long row = b->m0 + g * SV_MR, n = sv_min(SV_MR, b->m1 - row);
        if (b->t->bf16)
            round_group(b, tile, row, n, seg, g);
        else
            locate(&p->a, row, n, seg, tile->segs, b->at + g * SV_MR * tile->segs,
                   b->spare + g * SV_MR * tile->segs * p->a.run);
    }
}

/* ---- the block --------------------------------------------------------------------------- */

/* The micro-kernel over all tiles of the block, for one step of k. */
static void run_tiles(block *b, long k0, long k1, sv_tile *tile) {
    const sv_tiling *t = b->t;
    const sv_product *p = t->p;
    long depth = k1 - k0;
    void (*micro)(const sv_tile *) = t->bf16 ? t->bf16->tile : t->dot ? sv_cpu->gemm->dot : sv_cpu->gemm->tile;
    for (long n = b->n0; n < b->n1; n += SV_NR) {
        if (t->dot) {
            tile->b = p->panels ? p->panels + k0 : b->b;
            tile->ldb = p->panels ? p->k : depth;
        } else if (p->panels) {
            tile->ldb = sv_panel_width(p->n, n / SV_NR);
            tile->b = p->panels + n * p->k + (t->bf16 ? k0 / 2 : k0) * tile->ldb;
        } else {
            tile->ldb = sv_panel_width(b->n1 - b->n0, (n - b->n0) / SV_NR);
            tile->b = b->b + (n - b->n0) * (depth + SKEW);
        }
        tile->cols = sv_min(b->n1 - n, SV_NR);
        tile->bias = p->bias && k0 == 0 ? p->bias + n : NULL;
        for (long g = 0; g < b->groups; g++) {
            sv_real *c[SV_MR];
            tile->rows = sv_min(SV_MR, b->m1 - b->m0 - g * SV_MR);
            for (long r = 0; r < tile->rows; r++) c[r] = b->c[g * SV_MR + r] + n;
            tile->a = b->at + g * SV_MR * tile->segs;
            tile->c = c;
            micro(tile);
        }
    }
}

static void locate_c(block *b) {
    const sv_product *p = b->t->p;
    for (long m = b->m0; m < b->m1; m += SV_MR) {
        long n = sv_min(SV_MR, b->m1 - m);
        sv_real **c = b->c + (m - b->m0);
        if (p->locate_c)
            p->locate_c(p->locate_c_arg, m, n, c);
        else
            for (long r = 0; r < n; r++) c[r] = p->c + (m + r) * p->ldc;
    }
}

void sv_gemm_block(const sv_tiling *t, long task, void *scratch) {
    const sv_product *p = t->p;
    block b = {.t = t, .m0 = task / t->across * t->rows, .n0 = task % t->across * t->cols};
    b.m1 = sv_min(p->m, b.m0 + t->rows);
    b.n1 = sv_min(p->n, b.n0 + t->cols);
    b.groups = divide_up(b.m1 - b.m0, SV_MR);
    b.b = scratch;
    b.a = b.b + (BLOCK + SV_NR) * (STEP + SKEW) + 4 * BLOCK * SKEW;
    b.at = (const sv_real **)(void *)(b.a + BLOCK * (STEP + SKEW));
    b.spare = (sv_real *)(void *)(b.at + BLOCK * STEP);
    locate_c(&b);
    long k0 = 0;
    do {
        long k1 = sv_min(p->k, k0 + t->step), depth = k1 - k0;
        sv_tile tile = {.step = 1, .run = p->a.run, .add = p->add || k0 > 0};
        if (depth > 0) {
            if (!p->panels) pack_b(&b, k0, k1);
            (p->transpose_a ? prepare_columns : prepare_rows)(&b, k0, k1, &tile);
            if (t->bf16) {
                tile.segs = 1;
                tile.run = tile.last = (depth + 1) / 2;
            }
        }
        run_tiles(&b, k0, k1, &tile);
        k0 = k1;
    } while (k0 < p->k);
    for (long m = b.m0; p->epilogue && m < b.m1; m++)
        p->epilogue(p->epilogue_arg, m, b.n0, b.n1 - b.n0, b.c[m - b.m0] + b.n0);
}
