/* linear.c: linear layers whose weights fit into the second-level cache.
 *
 * For a product of 256 rows with 128 x 128 weights, the overhead of a general product (gemm.c) matters: packing an
 * operand again for every block, a parallel region for each step. Here a thread takes some rows through the whole
 * layer:
 *
 *     forward    for each panel of 32 columns of w', transposed into scratch once:
 *                y = x w' + b, then the activation of the rows that are complete
 *     backward   s = grad_y * slopes and its column sums, into scratch; then
 *                grad_x = s w, for each panel of 32 columns of w, 8 rows of s at
 *                a time; and grad_w = s' x, 8 columns of s, read where they lie
 *
 * Both cut the rows alike, so that a thread finds in its cache what it wrote there before. The rows of backward are cut
 * by the shapes alone, because the parts of grad_w and of the bias' gradient that each cut gives are added up: in
 * order, by the thread that computes the last of them. Everything else is the same for any cut, which may then follow
 * the number of threads.
 */
#include "gemm.h"
#include "loops.h"

#include <stdatomic.h>
#include <string.h>

enum {
    SIDE = 512,     /* inputs and outputs at most */
    PART = 128,     /* rows in a part of backward, and in a piece of forward, about */
    MAX_PARTS = 8,  /* more rows: more stretches in a part */
    MIN_PIECE = 16, /* rows worth transposing the weights for */
    PAD = 16,       /* numbers between rows of s: if they were a power of two apart, they would share few cache lines */
    INLINE_WORK = 1 << 18, /* multiply-adds not worth handing to other threads */
    ACTIVATION = 64,       /* multiply-adds that cost about as much as an activation */
    BLOCK = 32,            /* rows of grad_w that are added up together */
    MAX_BLOCKS = SIDE / BLOCK,
    LINE = 64 / sizeof(sv_real)
};

static long parts_of(const sv_linear *l) { return sv_max(1, sv_min(MAX_PARTS, l->rows / PART)); }

/* Where piece i of n starts: at a whole number of tiles. */
static long cut(long rows, long i, long n) { return i < n ? rows * i / n / SV_MR * SV_MR : rows; }

bool sv_linear_suits(const sv_linear *l) { return l->in <= SIDE && l->out <= SIDE && l->out > SV_DOT_MAX; }

static void run(double work, long tasks, sv_body body, void *arg) {
    if (work < INLINE_WORK)
        for (long i = 0; i < tasks; i++) body(arg, i, 0);
    else
        sv_parallel(tasks, body, arg);
}

/* C[rows <= 8][cols] (+)= A B (+ bias): number k of row r of A at a + r * lda + k * step. */
static void tile(long rows, long depth, const sv_real *a, long lda, long step, const sv_real *panel, long width,
                 long cols, bool add, const sv_real *bias, sv_real *c, long ldc) {
    const sv_real *from[SV_MR];
    sv_real *to[SV_MR];
    for (long r = 0; r < SV_MR; r++) {
        from[r] = a + (r < rows ? r : 0) * lda;
        to[r] = c + (r < rows ? r : 0) * ldc;
    }
    sv_cpu->gemm->tile(&(sv_tile){.rows = rows,
                                  .cols = cols,
                                  .segs = 1,
                                  .run = depth,
                                  .last = depth,
                                  .step = step,
                                  .a = from,
                                  .b = panel,
                                  .ldb = width,
                                  .c = to,
                                  .add = add,
                                  .bias = bias});
}

static inline void prefetch(const sv_real *x, long from, long to) {
    for (long i = from; i < to; i += LINE) __builtin_prefetch(x + i);
}

/* ---- forward --------------------------------------------------------------------- */

typedef struct forward {
    const sv_linear *l;
    const sv_real *x, *w, *bias;
    sv_real *y;
    long pieces;
} forward;

/* Each piece starts with another panel, the one that the last step of its thread may have left in the cache. */
static void forward_piece(void *arg, long i, int worker) {
    const forward *f = arg;
    const sv_linear *l = f->l;
    sv_real *panel = sv_scratch(worker);
    const long from = cut(l->rows, i, f->pieces), to = cut(l->rows, i + 1, f->pieces);
    const long panels = divide_up(l->out, SV_NR), first = panels * i / f->pieces;
    for (long q = 0; q < panels; q++) {
        long n = (first + q) % panels * SV_NR, next = (first + q + 1) % panels * SV_NR;
        long cols = sv_min(SV_NR, l->out - n), width = sv_panel_width(l->out, n / SV_NR);
        long ahead = q + 1 < panels ? sv_min(SV_NR, l->out - next) * l->in : 0; /* numbers of the next panel */
        sv_cpu->gemm->transpose(cols, l->in, f->w + n * l->in, l->in, panel, width);
        for (long k = 0; k < l->in && cols < width; k++)
            memset(panel + k * width + cols, 0, (size_t)(width - cols) * sizeof *panel);
        for (long m = from; m < to; m += SV_MR) {
            long rows = sv_min(SV_MR, to - m);
            sv_real *y = f->y + m * l->out;
            prefetch(f->w + next * l->in, ahead * (m - from) / (to - from), ahead * (m + rows - from) / (to - from));
            tile(rows, l->in, f->x + m * l->in, l->in, 1, panel, width, cols, false, f->bias ? f->bias + n : NULL,
                 y + n, l->out);
            if (l->act && q + 1 == panels)
                l->act((size_t)(rows * l->out), y, l->slopes ? l->slopes + m * l->out : NULL, l->opt);
        }
    }
}

void sv_linear_forward(const sv_linear *l, const sv_real *x, const sv_real *w, const sv_real *bias, sv_real *y) {
    forward f = {l, x, w, bias, y, sv_max(sv_threads(), divide_up(l->rows, PART))};
    f.pieces = sv_max(1, sv_min(f.pieces, l->rows / MIN_PIECE));
    run((double)l->rows * (double)l->out * (double)(l->in + (l->act ? ACTIVATION : 0)), f.pieces, forward_piece, &f);
}

/* ---- backward -------------------------------------------------------------------- */

/* A task is one part of the rows and, where there are more threads than parts, one slice of the work that follows s: of
 * the panels of grad_x, of the blocks of grad_w. */
typedef struct backward {
    const sv_linear *l;
    const sv_real *g, *x, *w;
    sv_real *gx, *gw, *gb;
    long parts, slices;
    double *sums;                 /* (parts, out): of the columns of s */
    sv_real *partial;             /* grad_w of each part but the first */
    atomic_long summed;           /* parts whose sums are there */
    atomic_long done[MAX_BLOCKS]; /* the same of a block of grad_w */
} backward;

static size_t sums_count(const sv_linear *l) {
    return (size_t)round_up(parts_of(l) * l->out * (long)(sizeof(double) / sizeof(sv_real)), PAD);
}

size_t sv_linear_work(const sv_linear *l) { return sums_count(l) + (size_t)((parts_of(l) - 1) * l->in * l->out); }

/* s = g * slopes (NULL: g), rows of s ld apart; sums: of its columns. */
SV_LOOP(scale,
        (long rows, long cols, const sv_real *restrict g, const sv_real *restrict slopes, sv_real *restrict s, long ld,
         sv_real *restrict sums),
        (rows, cols, g, slopes, s, ld, sums)) {
    memset(sums, 0, (size_t)cols * sizeof *sums);
    for (long r = 0; r < rows; r++, g += cols, s += ld) {
        if (slopes) {
            for (long j = 0; j < cols; j++) sums[j] += s[j] = g[j] * slopes[j];
            slopes += cols;
        } else {
            for (long j = 0; j < cols; j++) sums[j] += s[j] = g[j];
        }
    }
}

/* A row-major matrix as panels, one behind the other. */
static void pack(long depth, long n, const sv_real *from, sv_real *to) {
    const long whole = n / SV_NR * SV_NR, cols = n - whole, width = sv_panel_width(n, n / SV_NR);
    for (long k = 0; k < depth; k++, from += n) {
        for (long j = 0; j < whole; j += SV_NR) memcpy(to + j * depth + k * SV_NR, from + j, SV_NR * sizeof *to);
        if (cols == 0) continue;
        sv_real *last = to + whole * depth + k * width;
        memcpy(last, from + whole, (size_t)cols * sizeof *to);
        memset(last + cols, 0, (size_t)(width - cols) * sizeof *to);
    }
}

/* True for the last of n callers, which may then read what the others wrote before their calls. */
static bool is_last(atomic_long *count, long n) { return atomic_fetch_add(count, 1) == n - 1; }

/* Rows row … row + rows - 1 of grad_x. */
static void run_grad_x(const backward *b, long slice, long row, long rows, const sv_real *s, long ld, sv_real *panels) {
    const sv_linear *l = b->l;
    pack(l->out, l->in, b->w, panels);
    for (long n = slice * SV_NR; n < l->in; n += b->slices * SV_NR) {
        long cols = sv_min(SV_NR, l->in - n), width = sv_panel_width(l->in, n / SV_NR);
        for (long m = 0; m < rows; m += SV_MR)
            tile(sv_min(SV_MR, rows - m), l->out, s + m * ld, ld, 1, panels + n * l->out, width, cols, false, NULL,
                 b->gx + (row + m) * l->in + n, l->in);
    }
}

/* Adds these rows' share of grad_w (first, final: the first and the last rows of a part). Each part starts with the
 * block after its own: then it reaches its own last, adds that one up, and in the next step (a thread has the same part
 * again) finds the sum in its cache. */
static void run_grad_w(backward *b, long part, long slice, long row, long rows, bool first, bool final,
                       const sv_real *s, long ld, sv_real *panels) {
    const sv_linear *l = b->l;
    const long blocks = divide_up(l->out, BLOCK), count = divide_up(blocks - slice, b->slices), all = l->in * l->out;
    sv_real *to = part > 0 ? b->partial + (part - 1) * all : b->gw;
    pack(rows, l->in, b->x + row * l->in, panels);
    for (long q = 0; q < count; q++) {
        long block = slice + b->slices * ((q + divide_up((part + 1) * count, b->parts)) % count);
        long from = block * BLOCK, end = sv_min(l->out, from + BLOCK);
        for (long n = 0; n < l->in; n += SV_NR) {
            long cols = sv_min(SV_NR, l->in - n), width = sv_panel_width(l->in, n / SV_NR);
            for (long o = from; o < end; o += SV_MR)
                tile(sv_min(SV_MR, end - o), rows, s + o, 1, ld, panels + n * rows, width, cols, !first, NULL,
                     to + o * l->in + n, l->in);
        }
        if (!final || !is_last(&b->done[block], b->parts)) continue;
        for (long p = 1; p < b->parts; p++)
            sv_add_row((end - from) * l->in, b->partial + (p - 1) * all + from * l->in, b->gw + from * l->in);
    }
}

static void backward_task(void *arg, long i, int worker) {
    backward *b = arg;
    const sv_linear *l = b->l;
    const long part = i / b->slices, slice = i % b->slices, ld = round_up(l->out, PAD) + PAD;
    const long start = cut(l->rows, part, b->parts), length = cut(l->rows, part + 1, b->parts) - start;
    const long stretches = sv_max(1, divide_up(length, PART));
    double *sums = b->sums + part * l->out;
    sv_real *columns = sv_scratch(worker), *s = columns + SIDE, *panels = s + (PART + SV_MR) * (SIDE + PAD);
    for (long k = 0; k < stretches; k++) {
        long row = start + cut(length, k, stretches), rows = start + cut(length, k + 1, stretches) - row;
        scale(rows, l->out, b->g + row * l->out, l->slopes ? l->slopes + row * l->out : NULL, s, ld, columns);
        for (long j = 0; slice == 0 && j < l->out; j++) sums[j] = (k > 0 ? sums[j] : 0) + (double)columns[j];
        if (b->gx) run_grad_x(b, slice, row, rows, s, ld, panels);
        if (b->gw) run_grad_w(b, part, slice, row, rows, k == 0, k + 1 == stretches, s, ld, panels);
    }
    if (slice == 0 && b->gb && is_last(&b->summed, b->parts))
        for (long j = 0; j < l->out; j++) {
            double sum = 0;
            for (long p = 0; p < b->parts; p++) sum += b->sums[p * l->out + j];
            b->gb[j] = (sv_real)sum;
        }
}

void sv_linear_backward(const sv_linear *l, const sv_real *g, const sv_real *x, const sv_real *w, sv_real *gx,
                        sv_real *gw, sv_real *gb, sv_real *work) {
    backward b = {.l = l, .g = g, .x = x, .w = w, .gx = gx, .gw = gw, .gb = gb, .parts = parts_of(l)};
    b.slices = sv_min(divide_up(sv_threads(), b.parts), divide_up(l->out, BLOCK));
    b.sums = (double *)(void *)work;
    b.partial = work + sums_count(l);
    double products = (double)l->in * ((gx ? 1 : 0) + (gw ? 1 : 0));
    run((double)l->rows * (double)l->out * (products + ACTIVATION), b.parts * b.slices, backward_task, &b);
}
