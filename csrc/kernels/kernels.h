/* kernels.h: loops over numbers, for ops and optimizers.
 *
 * Kernels see arrays and shapes, never Lua, whose headers are not on the include path of this folder. They do not
 * allocate, print or fail; what can be wrong is checked by the shape functions of ops. Data goes one way:
 *
 *     op -> plan (conv.c) -> algorithm (conv_winograd, conv_small_channels, conv_gemm) -> gemm -> epilogue
 *
 * Threads share one pool (parallel.c). Work is cut by shapes alone, so results are the same bit for bit for any number
 * of threads. Every kernel runs at the CPU level in use (cpu.h).
 *
 * Numbers are sv_real: float, or double with -DSV_DOUBLE.
 */
#ifndef SV_KERNELS_H
#define SV_KERNELS_H

#include "cpu.h"
#include <stdint.h>

#ifdef SV_DOUBLE
typedef double sv_real;
#define SV_REAL_NAME "double"
#else
typedef float sv_real;
#define SV_REAL_NAME "float"
#endif

/* ---- parallel.c: the thread pool -------------------------------------------------- */

/* Runs body(arg, i, worker) for i in 0 … n-1, each i once, in any order, on the pool; worker (0 …) is the number of a
 * thread, for sv_scratch. Which thread runs a piece must not matter, nor may the cut depend on the number of threads. A
 * call from inside a body runs inline. */
typedef void (*sv_body)(void *arg, long i, int worker);
void sv_parallel(long n, sv_body body, void *arg);
/* The same, but at once and by threads of the pool that have nothing else to do. arg stays as it is until the job is
 * finished, by the caller with the whole pool's help; finished again it is done again. One job at a time: while there
 * is another one, of a single thread and within a body, `started` is false, and finish does all of it. */
typedef struct sv_later {
    long n, next; /* pieces; the first that finish does */
    sv_body body;
    void *arg;
    uint64_t done, forks; /* counts of the pool when it started */
    bool started;
} sv_later;
void sv_start_later(sv_later *job, long n, sv_body body, void *arg);
void sv_finish_later(sv_later *job);
int sv_threads(void);
bool sv_set_threads(int n); /* false: less than 1 or more than SV_MAX_THREADS */
/* Processor seconds of the calling thread outside of the regions that it shared with others since timing was turned on:
 * what more threads do not shorten. */
double sv_serial_seconds(bool on);
bool sv_reserve_scratch(void); /* before sv_parallel with bodies that use sv_scratch; false: no memory */
void *sv_scratch(int worker);  /* SV_SCRATCH_BYTES, 64-byte aligned, of the calling thread alone */
#define SV_MAX_THREADS 64
#define SV_SCRATCH_BYTES (4u << 20)
#define SV_SCRATCH_PRODUCTS (3u << 20) /* of which sv_products uses the first this many */

/* ---- gemm.c: matrix products -------------------------------------------------------- */

#define SV_MR 8      /* rows of C that a micro-kernel computes */
#define SV_NR 32     /* columns of a packed panel of B; the last panel of a matrix may have 16 */
#define SV_DOT_MAX 4 /* with this many columns or fewer, products run as dot products */

/* A matrix whose rows are read where they lie: every row is `segs` runs of `run` adjacent numbers (the last run may be
 * shorter: the product knows the length of a row). locate() finds the start of runs seg … seg+nseg-1 of rows
 * row … row+n-1 (n <= SV_MR): at[(s - seg) * SV_MR + r]. A run that does not exist in memory, because it crosses the
 * border of an image, is assembled in spare, which has room for all of them. locate NULL: a dense matrix, row r at
 * base + r * ld. */
typedef struct sv_rows {
    long segs, run;
    void (*locate)(const void *arg, long row, long n, long seg, long nseg, const sv_real **at, sv_real *spare);
    const void *arg;
    const sv_real *base;
    long ld;
} sv_rows;

/* C[m][n] (+)= op(A)[m][k] op(B)[k][n] (+ bias[n], then the epilogue). */
typedef struct sv_product {
    long m, n, k;
    sv_rows a; /* m rows of k; transpose_a: k rows of m */
    sv_rows b; /* k rows of n; transpose_b: n rows of k */
    bool transpose_a, transpose_b;
    long b_first;          /* first row of b that takes part */
    const sv_real *panels; /* B packed beforehand (sv_panels_size); then b is not used */
    void (*locate_c)(const void *arg, long row, long n, sv_real **at); /* where rows of C lie */
    const void *locate_c_arg;                                          /* locate_c NULL: row r at c + r * ldc */
    sv_real *c;
    long ldc;
    bool add;
    const sv_real *bias;
    /* Applied to a part of a row of C when it is complete, or NULL: n numbers from column col on. */
    void (*epilogue)(const void *arg, long row, long col, long n, sv_real *c);
    const void *epilogue_arg;
    bool bf16; /* factors rounded to bfloat16 (packed panels: by sv_bf16_panels); only where sv_bf16() */
} sv_product;

/* All of them in one parallel region; none may write what another one reads or writes. */
void sv_products(const sv_product *p, long count);

/* A packed B of k rows and n columns: panels of 32 columns (the last one of 16 if that is enough), each k rows of that
 * width, missing columns 0. With at most SV_DOT_MAX columns and !transpose_a: n columns of k numbers. */
size_t sv_panels_size(long k, long n);
void sv_bf16_panels(sv_real *panels, long k, long n); /* rounds them in place; n > SV_DOT_MAX */
static inline long sv_panel_width(long n, long panel) { return n - panel * SV_NR > SV_NR / 2 ? SV_NR : SV_NR / 2; }

/* A dense matrix with rows of `length` numbers; whole: each row is one run. */
sv_rows sv_dense_rows(const sv_real *x, long ld, long length, bool whole);

/* ---- gemm_dense.c: products of dense matrices, and their backends ----------------------- */

/* Row-major dense product with leading dimensions; transpose: the matrix is stored transposed. Where C lies, and the
 * rest, are still to be filled in. */
sv_product sv_dense_product(bool transpose_a, bool transpose_b, long m, long n, long k, const sv_real *a, long lda,
                            const sv_real *b, long ldb);
/* As sv_products, each through the backend that its shape asks for; p made by sv_dense_product. layers: of a linear
 * layer. */
void sv_dense_products(const sv_product *p, long count, bool layers);
void sv_gemm(bool transpose_a, bool transpose_b, long m, long n, long k, const sv_real *a, long lda, const sv_real *b,
             long ldb, bool add, const sv_real *bias, sv_real *c, long ldc);
/* count products of dense matrices, stride_ numbers apart (0: the same one each time). */
void sv_gemm_batch(long count, bool transpose_a, bool transpose_b, long m, long n, long k, const sv_real *a,
                   long stride_a, const sv_real *b, long stride_b, bool add, sv_real *c, long stride_c);

typedef struct sv_gemm_shape {
    bool transpose_a, transpose_b;
    long m, n, k;
    bool layer; /* of a linear layer */
} sv_gemm_shape;

bool sv_gemm_wants(const sv_gemm_shape *s);      /* a library that is not loaded should compute it */
bool sv_gemm_by_library(const sv_gemm_shape *s); /* a loaded one computes it */

/* A library's C (+)= op(A) op(B), on the calling thread; all sizes at least 1. NULL: it is not to be had. */
typedef void (*sv_gemm_library)(bool transpose_a, bool transpose_b, long m, long n, long k, const sv_real *a, long lda,
                                const sv_real *b, long ldb, bool add, sv_real *c, long ldc);
void sv_gemm_use_library(const char *name, sv_gemm_library library);

/* The backend of all dense products, "ours" or "openblas", or NULL: by the rules. False: no such backend. */
bool sv_gemm_force(const char *name);
const char *sv_gemm_forced(void);
int sv_gemm_setting(void); /* a number for what is forced and what is loaded */

/* ---- linear.c: linear layers whose weights fit into the second-level cache ------------ */

/* x to act(x) in place and, unless slopes is NULL, act'(x) to slopes. opt[0]: that of leaky_relu. */
typedef void (*sv_activation)(size_t n, sv_real *x, sv_real *slopes, const double *opt);

/* y (rows, out) = act(x (rows, in) w' + bias), w (out, in). slopes (rows, out): of the activation, written by forward
 * unless NULL, read by backward if there is one. */
typedef struct sv_linear {
    long rows, in, out;
    sv_activation act; /* or NULL */
    const double *opt; /* of act */
    sv_real *slopes;
} sv_linear;

bool sv_linear_suits(const sv_linear *l);
void sv_linear_forward(const sv_linear *l, const sv_real *x, const sv_real *w, const sv_real *bias, sv_real *y);
size_t sv_linear_work(const sv_linear *l); /* numbers of the workspace of backward */
/* From the gradient of y; gx, gw, gb, bias may each be NULL. */
void sv_linear_backward(const sv_linear *l, const sv_real *g, const sv_real *x, const sv_real *w, sv_real *gx,
                        sv_real *gw, sv_real *gb, sv_real *work);

/* ---- epilogue.c: what is applied to a convolution's output in the same pass ------------ */

/* y = act(gain * v + bias) of the convolution v, act(u) = max(u, 0) + slope * min(u, 0). In place of a pointer to one,
 * NULL: y = v. */
typedef struct sv_epilogue {
    const sv_real *bias, *gain; /* for each channel, or NULL: 0, 1 */
    sv_real slope;              /* 1: no activation; never negative */
} sv_epilogue;

bool sv_epilogue_is_bias(const sv_epilogue *e);                                /* nothing but a bias, or nothing */
const sv_real *sv_epilogue_bias(const sv_epilogue *e);                         /* if that is all there is; or NULL */
void sv_epilogue_of_product(const sv_epilogue *e, sv_product *p);              /* sets p's bias and epilogue */
void sv_epilogue_rows(const sv_epilogue *e, long rows, long cols, sv_real *y); /* applies it to rows of pixels */
/* g: the gradient of y becomes that of v. */
void sv_epilogue_gradient(const sv_epilogue *e, long rows, long cols, const sv_real *y, sv_real *g);

/* ---- conv.c: convolutions of channels-last images ---------------------------------------- */

/* y (n, oh, ow, cout) = conv(x (n, h, w, cin)); weight is (cout, cin, kh, kw). Pixels beyond x are zeros: pad_y rows at
 * the top, pad_x columns at the left, and as many at the ends as oh and ow reach. dilation: from tap to tap, in pixels;
 * above 1 the stride is 1. A transposed convolution is the same struct seen from the other side: its input is y, its
 * output x, its forward pass the data gradient, its weight PyTorch's (Cin, Cout, KH, KW) = (cout, cin, kh, kw). */
typedef struct sv_conv {
    long n, h, w, cin, oh, ow, cout, kh, kw, stride, pad_y, pad_x, dilation;
} sv_conv;

enum sv_conv_pass {
    SV_CONV_FORWARD,         /* x and weight to y */
    SV_CONV_DATA_GRADIENT,   /* gy and weight to gx */
    SV_CONV_WEIGHT_GRADIENT, /* x and gy to gw */
    SV_CONV_PASSES
};

/* How the passes of one call run: made once, by the op's shape function, and a function of shapes, precision and CPU
 * level alone. */
typedef struct sv_conv_plan {
    sv_conv shape;
    bool bf16; /* factors rounded to bfloat16 */
    struct sv_conv_choice {
        const struct sv_conv_algorithm *algorithm;
        size_t workspace;   /* numbers */
        size_t cache;       /* numbers of preprocessed weights that are worth a cache; 0: none */
        uint64_t cache_key; /* what they depend on besides the weights */
    } pass[SV_CONV_PASSES];
} sv_conv_plan;

/* bf16: only where this CPU has products of bfloat16 (sv_bf16() in cpu.h). */
bool sv_conv_has_bf16(void);
void sv_conv_make_plan(sv_conv_plan *p, const sv_conv *shape, bool bf16);
const char *sv_conv_algorithm_name(const sv_conv_plan *p, enum sv_conv_pass pass);

/* The cache of a pass: choice.cache numbers; ready: they hold the preprocessed weights, else the pass writes them.
 * numbers NULL: in the workspace. */
typedef struct sv_conv_cache {
    sv_real *numbers;
    bool ready;
} sv_conv_cache;

void sv_conv_forward(const sv_conv_plan *p, const sv_real *x, const sv_real *weight, const sv_epilogue *epilogue,
                     sv_real *y, sv_conv_cache cache, sv_real *work);
void sv_conv_data_gradient(const sv_conv_plan *p, const sv_real *gy, const sv_real *weight, const sv_epilogue *epilogue,
                           sv_real *gx, sv_conv_cache cache, sv_real *work);
void sv_conv_weight_gradient(const sv_conv_plan *p, const sv_real *x, const sv_real *gy, sv_real *gw, sv_real *work);

/* ---- column_sums.c: sums over the rows of a (rows, cols) matrix ------------------------- */

void sv_add_row(long n, const sv_real *x, sv_real *to); /* to += x */
size_t sv_column_sums_work(long rows, long cols);
void sv_column_sums(long rows, long cols, const sv_real *x, sv_real *sums, sv_real *work);
/* The same of scaled = x * factor, entry by entry; sums may be NULL. */
void sv_scaled_column_sums(long rows, long cols, const sv_real *x, const sv_real *factor, sv_real *scaled,
                           sv_real *sums, sv_real *work);

/* ---- batch_norm.c: batch normalisation, channels last ----------------------------------- */

/* y = act(scale * (x - mean) / sqrt(var + eps) + shift) over the rows of a (rows, cols) matrix,
 * act(v) = max(v, 0) + slope * min(v, 0): slope 1 none, 0 relu, else leaky relu. */
typedef struct sv_batch_norm {
    long rows, cols;
    sv_real eps, momentum, slope;
} sv_batch_norm;

size_t sv_batch_norm_work(const sv_batch_norm *b);
/* Batch statistics; mean and inverse (1 / sqrt(biased var + eps)) are for the gradient; running_* (either NULL or both
 * given) move by momentum towards the batch mean and the unbiased variance. */
void sv_batch_norm_train(const sv_batch_norm *b, const sv_real *x, const sv_real *scale, const sv_real *shift,
                         sv_real *running_mean, sv_real *running_var, sv_real *mean, sv_real *inverse, sv_real *y,
                         sv_real *work);
void sv_batch_norm_eval(const sv_batch_norm *b, const sv_real *x, const sv_real *scale, const sv_real *shift,
                        const sv_real *running_mean, const sv_real *running_var, sv_real *y, sv_real *work);
/* gx, gscale, gshift may each be NULL. train: the statistics depend on x (mean and inverse from sv_batch_norm_train);
 * else they are constants (mean and inverse from sv_batch_norm_inverse of the running ones). */
void sv_batch_norm_backward(const sv_batch_norm *b, bool train, const sv_real *x, const sv_real *gy,
                            const sv_real *scale, const sv_real *shift, const sv_real *mean, const sv_real *inverse,
                            sv_real *gx, sv_real *gscale, sv_real *gshift, sv_real *work);
/* Of a batch in microbatches: mean and sum of squares about it of each column (2, cols); sums (2, cols) over the rows
 * of the gradient g of the normalised and shifted number and of g * h, h normalised; gx from those over all
 * microbatches and from the number of all rows. */
void sv_batch_norm_moments(const sv_batch_norm *b, const sv_real *x, sv_real *moments, sv_real *work);
void sv_batch_norm_sums(const sv_batch_norm *b, const sv_real *x, const sv_real *gy, const sv_real *scale,
                        const sv_real *shift, const sv_real *mean, const sv_real *inverse, sv_real *sums,
                        sv_real *work);
void sv_batch_norm_backward_by(const sv_batch_norm *b, const sv_real *x, const sv_real *gy, const sv_real *scale,
                               const sv_real *shift, const sv_real *mean, const sv_real *inverse, const sv_real *sums,
                               double rows, sv_real *gx, sv_real *work);
void sv_batch_norm_inverse(const sv_batch_norm *b, const sv_real *var, sv_real *inverse);

/* ---- layout.c: memory of images (n, c, hw) ----------------------------------------------- */

void sv_to_channels_last(long n, long c, long hw, const sv_real *plain, sv_real *last);
void sv_to_plain(long n, long c, long hw, const sv_real *last, sv_real *plain);

#endif
