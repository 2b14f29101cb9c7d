/* linalg_factor.c: matrix factorisations: eigh (with gradient), qr, svd, lstsq. An op has one output: the factors of a
 * matrix are stacked in it by rows, transposed where that makes them fit, and lua/simvae/linalg.lua
 * separates them. Signs are made unique, so that a result does not depend on the CPU's kernels.
 */
#include "linalg.h"

#include <float.h>
#include <math.h>
#include <string.h>

typedef struct {
    sv_args *a;
    sv_batch b;
    long k;                   /* min(rows, cols) */
    size_t doubles, integers; /* of a worker */
    int lwork, liwork;
    double *values; /* eigenvalues and vectors kept for the gradient */
} job;

static long min_long(long x, long y) { return x < y ? x : y; }

static job job_of(sv_args *a) {
    const sv_tensor *t = a->in[0];
    job j = {.a = a};
    j.b = (sv_batch){1, (long)t->shape[t->ndim - 2], (long)t->shape[t->ndim - 1]};
    j.b.count = (long)t->count / (j.b.rows * j.b.cols);
    j.k = min_long(j.b.rows, j.b.cols);
    j.values = (double *)(void *)a->aux[0];
    return j;
}

/* Shape of out: that of in[0] with its last two axes replaced. */
static bool factors_shape(sv_args *a, long rows, long cols) {
    sv_same_shape(a, a->in[0]);
    a->shape[a->ndim - 2] = (size_t)rows;
    a->shape[a->ndim - 1] = (size_t)cols;
    return true;
}

static bool finite_inputs(sv_args *a) {
    for (int k = 0; k < a->nin; k++)
        for (size_t i = 0; i < a->in[k]->count; i++)
            if (!isfinite(a->in[k]->data[i]))
                return sv_fail(a, "input %d is not finite at element %zu (row-major)", k + 1, i + 1);
    return true;
}

static bool finish(const job *j, const char *what) {
    long failed = sv_linalg_failed(&j->b, sv_linalg_infos(j->a->work));
    return failed == 0 || sv_fail(j->a, "%s of matrix %ld of the batch did not converge", what, failed);
}

/* -1 if the entry of largest size among n, step apart, is negative. */
static double sign_of_largest(long n, const double *x, long step) {
    long best = 0;
    for (long i = 1; i < n; i++)
        if (fabs(x[i * step]) > fabs(x[best * step])) best = i;
    return x[best * step] < 0 ? -1 : 1;
}

static void scale(long n, double by, double *x, long step) {
    for (long i = 0; i < n; i++) x[i * step] *= by;
}

/* ---- eigenvalues of symmetric matrices ---------------------------------------------------- */

static void eigh_sizes(job *j) {
    long n = j->b.rows;
    double work = 0;
    int integers = 0;
    sv_blas_now()->dsyevd((int)n, &work, (int)n, &work, &work, -1, &integers, -1);
    j->lwork = (int)work;
    j->liwork = integers;
    j->doubles = (size_t)(n * n) + (size_t)j->lwork;
    j->integers = (size_t)j->liwork;
}

static bool eigh_shape(sv_args *a) {
    sv_batch b;
    if (!sv_linalg_square(a, 0, "a", &b) || !sv_linalg_symmetric(a, &b)) return false;
    job j = job_of(a);
    eigh_sizes(&j);
    a->work_count = sv_linalg_work_room(&b, j.doubles, j.integers);
    a->aux_count[0] = sv_room((size_t)(b.count * (b.rows + 1) * b.rows) * sizeof(double));
    a->backward_work_count = sv_linalg_work_room(&b, 3 * (size_t)(b.rows * b.rows), 0);
    return factors_shape(a, b.rows + 1, b.rows);
}

/* Row 0: eigenvalues, ascending; rows 1 … n: the eigenvectors. */
static void eigh_one(void *arg, long i, int worker) {
    const job *j = arg;
    long n = j->b.rows, size = (n + 1) * n;
    sv_linalg_work w = sv_linalg_worker(&j->b, j->a->work, j->doubles, j->integers, worker);
    double *values = j->values + i * size, *vectors = values + n;
    sv_linalg_load(n * n, j->a->in[0]->data + i * n * n, vectors);
    sv_linalg_infos(j->a->work)[i] =
        sv_blas_now()->dsyevd((int)n, vectors, (int)n, values, w.own, j->lwork, w.integers, j->liwork);
    for (long r = 0; r < n; r++) scale(n, sign_of_largest(n, vectors + r * n, 1), vectors + r * n, 1);
    sv_linalg_store(size, values, j->a->out->data + i * size);
}

static void eigh_forward(sv_args *a) {
    job j = job_of(a);
    eigh_sizes(&j);
    sv_parallel(j.b.count, eigh_one, &j);
    finish(&j, "the eigenvalues");
}

/* A' = V (diag(w') + F o (V' G)) V', F_ij = 1 / (w_j - w_i), made symmetric; with Q = V', whose rows are the vectors.
 */
static void eigh_gradient(void *arg, long i, int worker) {
    const job *j = arg;
    int n = (int)j->b.rows;
    long square = (long)n * n, size = square + n;
    const double *w = j->values + i * size, *q = w + n;
    const sv_real *given = j->a->grad_out + i * size;
    double *g = sv_linalg_worker(&j->b, j->a->work, 3 * (size_t)square, 0, worker).own;
    double *inner = g + square, *product = inner + square;
    sv_linalg_load(square, given + n, g);
    sv_blas_now()->dgemm(false, true, n, n, n, 1, q, n, g, n, 0, inner, n);
    for (long r = 0; r < n; r++)
        for (long c = 0; c < n; c++) {
            double *at = inner + r * n + c;
            if (r == c)
                *at = (double)given[r];
            else
                *at = *at == 0 ? 0 : *at / (w[c] - w[r]);
        }
    sv_blas_now()->dgemm(false, false, n, n, n, 1, inner, n, q, n, 0, product, n);
    sv_blas_now()->dgemm(true, false, n, n, n, 1, q, n, product, n, 0, g, n);
    sv_real *to = j->a->grad_in[0] + i * square;
    for (long r = 0; r < n; r++)
        for (long c = 0; c < n; c++) to[r * n + c] = (sv_real)((g[r * n + c] + g[c * n + r]) / 2);
}

static void eigh_backward(sv_args *a) {
    job j = job_of(a);
    sv_parallel(j.b.count, eigh_gradient, &j);
}

/* ---- qr ------------------------------------------------------------------------------------- */

static void qr_sizes(job *j) {
    int m = (int)j->b.rows, n = (int)j->b.cols, k = (int)j->k;
    double a = 0, b = 0;
    sv_blas_now()->dgeqrf(m, n, &a, m, &a, &a, -1);
    sv_blas_now()->dorgqr(m, k, k, &b, m, &b, &b, -1);
    j->lwork = (int)fmax(a, b);
    j->doubles = (size_t)(j->b.rows * j->b.cols + j->k + j->k * j->b.cols) + (size_t)j->lwork;
}

static bool qr_shape(sv_args *a) {
    sv_batch b;
    if (!sv_linalg_batch(a, 0, "a", &b) || !finite_inputs(a)) return false;
    job j = job_of(a);
    qr_sizes(&j);
    a->work_count = sv_linalg_work_room(&b, j.doubles, 0);
    return factors_shape(a, b.rows + b.cols, j.k);
}

/* Rows 1 … m: Q; below them R' (n, k). R's diagonal is made positive. */
static void qr_one(void *arg, long i, int worker) {
    const job *j = arg;
    long m = j->b.rows, n = j->b.cols, k = j->k;
    double *q = sv_linalg_worker(&j->b, j->a->work, j->doubles, 0, worker).own;
    double *tau = q + m * n, *r = tau + k, *work = r + k * n;
    sv_linalg_load_columns(m, n, j->a->in[0]->data + i * m * n, q);
    int info = sv_blas_now()->dgeqrf((int)m, (int)n, q, (int)m, tau, work, j->lwork);
    for (long c = 0; c < n; c++) /* r: column-major (k, n) */
        for (long p = 0; p < k; p++) r[c * k + p] = p <= c ? q[c * m + p] : 0;
    info |= sv_blas_now()->dorgqr((int)m, (int)k, (int)k, q, (int)m, tau, work, j->lwork);
    sv_linalg_infos(j->a->work)[i] = info;
    for (long p = 0; p < k; p++)
        if (r[p * k + p] < 0) {
            scale(m, -1, q + p * m, 1);
            scale(n, -1, r + p, k);
        }
    sv_real *to = j->a->out->data + i * (m + n) * k;
    sv_linalg_store_columns(m, k, q, to);
    sv_linalg_store(n * k, r, to + m * k);
}

static void qr_forward(sv_args *a) {
    job j = job_of(a);
    qr_sizes(&j);
    sv_parallel(j.b.count, qr_one, &j);
    finish(&j, "the QR factorisation");
}

/* ---- singular values --------------------------------------------------------------------------- */

static void svd_sizes(job *j) {
    long m = j->b.rows, n = j->b.cols, k = j->k;
    double work = 0;
    int integers = 0;
    sv_blas_now()->dgesdd((int)m, (int)n, &work, (int)m, &work, &work, (int)m, &work, (int)k, &work, -1, &integers);
    j->lwork = (int)work;
    j->doubles = (size_t)(m * n + k + m * k + k * n) + (size_t)j->lwork;
    j->integers = 8 * (size_t)k;
}

static bool svd_shape(sv_args *a) {
    sv_batch b;
    if (!sv_linalg_batch(a, 0, "a", &b) || !finite_inputs(a)) return false;
    job j = job_of(a);
    svd_sizes(&j);
    a->work_count = sv_linalg_work_room(&b, j.doubles, j.integers);
    return factors_shape(a, b.rows + 1 + b.cols, j.k);
}

/* Rows 1 … m: U; a row of singular values, descending; below it V (n, k). */
static void svd_one(void *arg, long i, int worker) {
    const job *j = arg;
    long m = j->b.rows, n = j->b.cols, k = j->k;
    sv_linalg_work w = sv_linalg_worker(&j->b, j->a->work, j->doubles, j->integers, worker);
    double *x = w.own, *s = x + m * n, *u = s + k, *vt = u + m * k, *work = vt + k * n;
    sv_linalg_load_columns(m, n, j->a->in[0]->data + i * m * n, x);
    sv_linalg_infos(j->a->work)[i] =
        sv_blas_now()->dgesdd((int)m, (int)n, x, (int)m, s, u, (int)m, vt, (int)k, work, j->lwork, w.integers);
    for (long p = 0; p < k; p++) {
        double sign = sign_of_largest(m, u + p * m, 1);
        scale(m, sign, u + p * m, 1);
        scale(n, sign, vt + p, k);
    }
    sv_real *to = j->a->out->data + i * (m + 1 + n) * k;
    sv_linalg_store_columns(m, k, u, to);
    sv_linalg_store(k, s, to + m * k);
    sv_linalg_store(n * k, vt, to + (m + 1) * k); /* column-major (k, n) is row-major (n, k) */
}

static void svd_forward(sv_args *a) {
    job j = job_of(a);
    svd_sizes(&j);
    sv_parallel(j.b.count, svd_one, &j);
    finish(&j, "the singular values");
}

/* ---- least squares ------------------------------------------------------------------------------ */

static long lstsq_sizes(job *j) {
    const sv_tensor *y = j->a->in[1];
    long m = j->b.rows, n = j->b.cols, nrhs = (long)y->shape[y->ndim - 1], tall = m > n ? m : n;
    double work = 0;
    int rank, integers = 0;
    sv_blas_now()->dgelsd((int)m, (int)n, (int)nrhs, &work, (int)m, &work, (int)tall, &work, -1, &rank, &work, -1,
                          &integers);
    j->lwork = (int)work;
    j->doubles = (size_t)(m * n + tall * nrhs + j->k) + (size_t)j->lwork;
    j->integers = (size_t)integers;
    return nrhs;
}

static bool lstsq_shape(sv_args *a) {
    sv_batch b, rhs;
    const sv_tensor *x = a->in[0], *y = a->in[1];
    if (!sv_linalg_batch(a, 0, "a", &b) || !sv_linalg_batch(a, 1, "b", &rhs) || !finite_inputs(a)) return false;
    if (rhs.rows != b.rows) return sv_fail(a, "b must have %ld rows, as a has; got %ld", b.rows, rhs.rows);
    if (x->ndim != y->ndim || memcmp(x->shape, y->shape, (size_t)(x->ndim - 2) * sizeof(size_t)) != 0)
        return sv_fail(a, "the batch axes of a and b differ");
    job j = job_of(a);
    long nrhs = lstsq_sizes(&j);
    a->work_count = sv_linalg_work_room(&b, j.doubles, j.integers);
    return factors_shape(a, b.cols + 1, nrhs);
}

/* Rows 1 … n: x; below them the rank. */
enum { RCOND }; /* option of lstsq */

static void lstsq_one(void *arg, long i, int worker) {
    const job *j = arg;
    const sv_args *a = j->a;
    long m = j->b.rows, n = j->b.cols, tall = m > n ? m : n, nrhs = (long)a->in[1]->shape[a->in[1]->ndim - 1];
    sv_linalg_work w = sv_linalg_worker(&j->b, a->work, j->doubles, j->integers, worker);
    double *x = w.own, *y = x + m * n, *s = y + tall * nrhs, *work = s + j->k;
    double cutoff =
        a->opt[RCOND] < 0 ? (double)tall * (sizeof(sv_real) == 4 ? FLT_EPSILON : DBL_EPSILON) : a->opt[RCOND];
    const sv_real *given = a->in[1]->data + i * m * nrhs;
    sv_real *to = a->out->data + i * (n + 1) * nrhs;
    int rank = 0;
    sv_linalg_load_columns(m, n, a->in[0]->data + i * m * n, x);
    for (long c = 0; c < nrhs; c++)
        for (long r = 0; r < m; r++) y[c * tall + r] = (double)given[r * nrhs + c];
    sv_linalg_infos(a->work)[i] = sv_blas_now()->dgelsd((int)m, (int)n, (int)nrhs, x, (int)m, y, (int)tall, s, cutoff,
                                                        &rank, work, j->lwork, w.integers);
    for (long c = 0; c < nrhs; c++) {
        for (long r = 0; r < n; r++) to[r * nrhs + c] = (sv_real)y[c * tall + r];
        to[n * nrhs + c] = (sv_real)rank;
    }
}

static void lstsq_forward(sv_args *a) {
    job j = job_of(a);
    lstsq_sizes(&j);
    sv_parallel(j.b.count, lstsq_one, &j);
    finish(&j, "the least squares");
}

const sv_op sv_ops_linalg_factor[] = {
    {"linalg_eigh", "a", eigh_shape, eigh_forward, eigh_backward, SV_OP_INTERNAL,
     "(…, N, N) symmetric -> (…, N + 1, N): eigenvalues, ascending, then the eigenvectors as rows.",
     "(function(x) return x + transpose(x) + tensor{{3, 0, 0}, {0, 1, 0}, {0, 0, -4}} end)(r(2, 3, 3))"},
    {"linalg_qr", "a", qr_shape, qr_forward, NULL, SV_OP_INTERNAL | SV_OP_NO_GRAD,
     "(…, M, N) -> (…, M + N, K): Q, then R transposed; K = min(M, N).", "r(2, 4, 3)"},
    {"linalg_svd", "a", svd_shape, svd_forward, NULL, SV_OP_INTERNAL | SV_OP_NO_GRAD,
     "(…, M, N) -> (…, M + 1 + N, K): U, the singular values, V; K = min(M, N).", "r(2, 4, 3)"},
    {"linalg_lstsq", "a, b; rcond:num=-1", lstsq_shape, lstsq_forward, NULL, SV_OP_INTERNAL | SV_OP_NO_GRAD,
     "a (…, M, N), b (…, M, K) -> (…, N + 1, K): the least squares solution, then the rank.", "r(2, 4, 3), r(2, 4, 2)"},
    {0},
};
