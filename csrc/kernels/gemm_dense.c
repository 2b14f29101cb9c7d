/* gemm_dense.c: products of dense matrices, and the backends that compute them.
 *
 *     product -> backend_of: the first backend of the table whose library is loaded and whose rules take the product
 *             -> "openblas": C is cut into blocks, each of which is one call of the library on one thread of the pool
 *             -> "ours":     gemm.c
 *
 * The choice and the cut are functions of the CPU level and of the shape alone, so results are the same bit for bit for
 * any number of threads. Libraries are not loaded here: sv_gemm_wants tells the engine when one is needed.
 *
 * A new backend is a row of the table, with its rules, in this file.
 */
#include "gemm.h"
#include "loops.h"

#include <limits.h>
#include <string.h>

/* ---- rules ---------------------------------------------------------------------------------- */

/* A library takes the products of at least these sizes at a CPU level, which its micro-kernels stand for: in double
 * precision all levels are portable. */
typedef struct rule {
    const sv_gemm_kernel *level;
    int transpose_b; /* 0, 1; -1: either */
    long m, n, k;    /* at least */
    double work;     /* m n k, at least */
    bool layers;     /* products of linear layers too */
} rule;

/* Ratios are our time over OpenBLAS's, as medians of interleaved rounds: `make bench BENCH_ARGS="--only gemm --cpu"`,
 * and such a loop in C over 90 shapes; one thread, AMD EPYC 7003, OpenBLAS 0.3.21.
 *
 * portable  Zen kernels: 1.7 to 3.5; 0.4 for n = 1, a matrix and a vector, which ours reads in place. Nehalem kernels,
 *           whose vectors have 16 bytes as NEON's: 0.8 to 1.4, half of the shapes above 1.1. A step of an MLP of width
 *           64 to 1024: 2.1 to 3.1, and 0.9 to 1.2.
 * avx2      B transposed: 1.2 to 3.1 from 4 x 128 x 128 on, but below 2^22 multiply-adds not worth loading a library.
 *           B plain: 64 x 256 x 2048 1.16, 128 x 128 x 2048 1.13, 384^3 1.1, 1024^3 1.3 (A transposed 1.4),
 * 1536^3 1.35; 256^3 1.0, 1024 x 1024 x 64 1.0, 10000 x 64 x 64 0.84. Layers keep to ours: a training gives the same
 * weights with and without OpenBLAS. avx512    1536^3 1.03 (spec/bench/RESULTS.md): no rule. */
static const rule openblas_rules[] = {
    {&sv_gemm_portable, -1, 1, 2, 1, 0, true},
#if defined(__x86_64__) && !defined(SV_DOUBLE)
    {&sv_gemm_avx2, 1, 4, 128, 128, 1 << 22, false},
    {&sv_gemm_avx2, 0, 64, 128, 256, 1 << 25, false},
#endif
};

static bool openblas_suits(const sv_gemm_shape *s) {
    for (size_t i = 0; i < sizeof openblas_rules / sizeof *openblas_rules; i++) {
        const rule *r = openblas_rules + i;
        if (r->level != sv_cpu->gemm || (s->layer && !r->layers)) continue;
        if (r->transpose_b >= 0 && r->transpose_b != s->transpose_b) continue;
        if (s->m >= r->m && s->n >= r->n && s->k >= r->k && (double)s->m * (double)s->n * (double)s->k >= r->work)
            return true;
    }
    return false;
}

static bool always(const sv_gemm_shape *s) {
    (void)s;
    return true;
}

/* ---- the table -------------------------------------------------------------------------------- */

typedef struct backend {
    const char *name;
    bool (*suits)(const sv_gemm_shape *s);
    bool is_library;         /* its gemm is set by sv_gemm_use_library, else products run in gemm.c */
    sv_gemm_library library; /* NULL: not loaded */
} backend;

static backend backends[] = {{"openblas", openblas_suits, true, NULL}, {"ours", always, false, NULL}};

enum { BACKENDS = sizeof backends / sizeof *backends };

static const backend *forced;

bool sv_gemm_force(const char *name) {
    forced = NULL;
    for (int i = 0; i < BACKENDS && name; i++)
        if (!strcmp(name, backends[i].name)) forced = backends + i;
    return forced || !name;
}

const char *sv_gemm_forced(void) { return forced ? forced->name : NULL; }

void sv_gemm_use_library(const char *name, sv_gemm_library library) {
    for (int i = 0; i < BACKENDS; i++)
        if (!strcmp(name, backends[i].name)) backends[i].library = library;
}

int sv_gemm_setting(void) {
    int setting = forced ? (int)(forced - backends) + 1 : 0;
    for (int i = 0; i < BACKENDS; i++) setting = 2 * setting + (backends[i].library != NULL);
    return setting;
}

/* LP64 libraries count in int. */
static bool countable(const sv_gemm_shape *s) {
    return s->m >= 1 && s->n >= 1 && s->k >= 1 && s->m <= INT_MAX && s->n <= INT_MAX && s->k <= INT_MAX;
}

static bool takes(const backend *b, const sv_gemm_shape *s) {
    return (forced ? b == forced : b->suits(s)) && (!b->is_library || countable(s));
}

static const backend *backend_of(const sv_gemm_shape *s) {
    for (int i = 0; i < BACKENDS - 1; i++)
        if (backends[i].library && takes(backends + i, s)) return backends + i;
    return backends + BACKENDS - 1;
}

bool sv_gemm_wants(const sv_gemm_shape *s) {
    for (int i = 0; i < BACKENDS; i++)
        if (takes(backends + i, s)) return backends[i].is_library && !backends[i].library;
    return false;
}

bool sv_gemm_by_library(const sv_gemm_shape *s) { return backend_of(s)->is_library; }

/* ---- a library's products ------------------------------------------------------------------- */

enum {
    TASKS = 16,           /* aimed at: enough to balance a few threads */
    BLOCK_WORK = 1 << 21, /* multiply-adds (about 50 us) of a block that is not worth cutting again */
    SIDE = 64,            /* of a block, at least */
    UNIT = 16             /* numbers that its sides are multiples of */
};

typedef struct blocks {
    const sv_product *p;
    sv_gemm_library library;
    long rows, cols, down, across;
} blocks;

/* Halves the longer side: square blocks read least of A and B. */
static blocks cut_into_blocks(const sv_product *p, sv_gemm_library library) {
    blocks b = {p, library, p->m, p->n, 1, 1};
    while (b.down * b.across < TASKS && (double)b.rows * (double)b.cols * (double)p->k > BLOCK_WORK) {
        long *side = b.rows >= b.cols ? &b.rows : &b.cols;
        if (*side < 2 * SIDE) break;
        *side = round_up(divide_up(*side, 2), UNIT);
        b.down = divide_up(p->m, b.rows);
        b.across = divide_up(p->n, b.cols);
    }
    return b;
}

static void run_block(void *arg, long task, int worker) {
    const blocks *b = arg;
    const sv_product *p = b->p;
    long m0 = task / b->across * b->rows, n0 = task % b->across * b->cols;
    long m = sv_min(b->rows, p->m - m0), n = sv_min(b->cols, p->n - n0);
    (void)worker;
    b->library(p->transpose_a, p->transpose_b, m, n, p->k, p->a.base + (p->transpose_a ? m0 : m0 * p->a.ld), p->a.ld,
               p->b.base + (p->transpose_b ? n0 * p->b.ld : n0), p->b.ld, p->add, p->c + m0 * p->ldc + n0, p->ldc);
    for (long r = m0; r < m0 + m; r++) {
        sv_real *c = p->c + r * p->ldc + n0;
        if (p->bias) sv_add_row(n, p->bias + n0, c);
        if (p->epilogue) p->epilogue(p->epilogue_arg, r, n0, n, c);
    }
}

static void run_library(const sv_product *p, sv_gemm_library library) {
    blocks b = cut_into_blocks(p, library);
    if (b.down * b.across == 1)
        run_block(&b, 0, 0);
    else
        sv_parallel(b.down * b.across, run_block, &b);
}

/* ---- dense products ---------------------------------------------------------------------------- */

sv_product sv_dense_product(bool transpose_a, bool transpose_b, long m, long n, long k, const sv_real *a, long lda,
                            const sv_real *b, long ldb) {
    return (sv_product){
        .m = m,
        .n = n,
        .k = k,
        .a = sv_dense_rows(a, lda, transpose_a ? m : k, transpose_a),
        .b = sv_dense_rows(b, ldb, transpose_b ? k : n, true),
        .transpose_a = transpose_a,
        .transpose_b = transpose_b,
    };
}

static const backend *backend_of_product(const sv_product *p, bool layer) {
    return backend_of(&(sv_gemm_shape){p->transpose_a, p->transpose_b, p->m, p->n, p->k, layer});
}

void sv_dense_products(const sv_product *p, long count, bool layers) {
    for (long done = 0; done < count;) {
        const backend *b = backend_of_product(p + done, layers);
        long n = 1;
        while (done + n < count && backend_of_product(p + done + n, layers) == b) n++;
        if (!b->is_library) sv_products(p + done, n);
        for (long i = 0; i < n && b->is_library; i++) run_library(p + done + i, b->library);
        done += n;
    }
}

void sv_gemm(bool transpose_a, bool transpose_b, long m, long n, long k, const sv_real *a, long lda, const sv_real *b,
             long ldb, bool add, const sv_real *bias, sv_real *c, long ldc) {
    sv_product p = sv_dense_product(transpose_a, transpose_b, m, n, k, a, lda, b, ldb);
    p.add = add;
    p.bias = bias;
    p.c = c;
    p.ldc = ldc;
    sv_dense_products(&p, 1, false);
}

typedef struct batch {
    bool transpose_a, transpose_b, add;
    long m, n, k, stride_a, stride_b, stride_c;
    const sv_real *a, *b;
    sv_real *c;
} batch;

static void run_batch(void *arg, long i, int worker) {
    const batch *b = arg;
    (void)worker;
    sv_gemm(b->transpose_a, b->transpose_b, b->m, b->n, b->k, b->a + i * b->stride_a, b->transpose_a ? b->m : b->k,
            b->b + i * b->stride_b, b->transpose_b ? b->k : b->n, b->add, NULL, b->c + i * b->stride_c, b->n);
}

/* Each of many products is one piece of work; few are cut themselves. */
void sv_gemm_batch(long count, bool transpose_a, bool transpose_b, long m, long n, long k, const sv_real *a,
                   long stride_a, const sv_real *b, long stride_b, bool add, sv_real *c, long stride_c) {
    batch g = {transpose_a, transpose_b, add, m, n, k, stride_a, stride_b, stride_c, a, b, c};
    if (count >= TASKS)
        sv_parallel(count, run_batch, &g);
    else
        for (long i = 0; i < count; i++) run_batch(&g, i, 0);
}
