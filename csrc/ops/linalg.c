/* linalg.c: linear algebra with gradients, each matrix of a batch in double precision: cholesky, triangular_solve,
 * solve, slogdet. Gradients: Giles, "An extended collection of matrix derivative results for forward and reverse mode
 * algorithmic differentiation" (2008); of cholesky: Murray, "Differentiation of the Cholesky decomposition" (2016).
 *
 * The public functions, which take vectors and broadcast batches, are lua/simvae/linalg.lua. */
#include "linalg.h"

#include <math.h>
#include <string.h>

/* ---- batches and their work --------------------------------------------------------- */

bool sv_linalg_batch(sv_args *a, int k, const char *name, sv_batch *b) {
    const sv_tensor *t = a->in[k];
    *b = (sv_batch){0};
    if (!sv_blas_now()) return sv_fail(a, "needs OpenBLAS: call it as sv.linalg, which loads it");
    if (t->ndim < 2) return sv_fail(a, "%s must be a matrix, or a batch of them (two axes or more)", name);
    *b = (sv_batch){1, (long)t->shape[t->ndim - 2], (long)t->shape[t->ndim - 1]};
    if (b->rows < 1 || b->cols < 1 || b->rows > SV_LINALG_MAX || b->cols > SV_LINALG_MAX)
        return sv_fail(a, "%s must have 1 to %d rows and columns; got %ld x %ld", name, SV_LINALG_MAX, b->rows,
                       b->cols);
    b->count = (long)(t->count / ((size_t)b->rows * (size_t)b->cols));
    return true;
}

bool sv_linalg_square(sv_args *a, int k, const char *name, sv_batch *b) {
    if (!sv_linalg_batch(a, k, name, b)) return false;
    return b->rows == b->cols || sv_fail(a, "%s must be square; got %ld x %ld", name, b->rows, b->cols);
}

enum { LINE = 64 };

size_t sv_room(size_t bytes) { return (size_t)round_up((long)bytes, LINE) / sizeof(sv_real); }

/* Any thread may take any matrix. */
static long workers(const sv_batch *b) { return b->count > 0 ? sv_threads() : 0; }

static size_t room_of_worker(size_t doubles, size_t integers) {
    return sv_room(doubles * sizeof(double)) + sv_room(integers * sizeof(int));
}

size_t sv_linalg_work_room(const sv_batch *b, size_t doubles, size_t integers) {
    return sv_room((size_t)b->count * sizeof(int)) + (size_t)workers(b) * room_of_worker(doubles, integers);
}

int *sv_linalg_infos(sv_real *work) { return (int *)(void *)work; }

sv_linalg_work sv_linalg_worker(const sv_batch *b, sv_real *work, size_t doubles, size_t integers, int worker) {
    sv_real *own = work + sv_room((size_t)b->count * sizeof(int)) + (size_t)worker * room_of_worker(doubles, integers);
    return (sv_linalg_work){(double *)(void *)own, (int *)(void *)(own + sv_room(doubles * sizeof(double)))};
}

long sv_linalg_failed(const sv_batch *b, const int *infos) {
    for (long i = 0; i < b->count; i++)
        if (infos[i]) return i + 1;
    return 0;
}

void sv_linalg_load(long n, const sv_real *from, double *to) {
    for (long i = 0; i < n; i++) to[i] = (double)from[i];
}

void sv_linalg_store(long n, const double *from, sv_real *to) {
    for (long i = 0; i < n; i++) to[i] = (sv_real)from[i];
}

void sv_linalg_load_columns(long rows, long cols, const sv_real *from, double *to) {
    for (long i = 0; i < rows; i++)
        for (long j = 0; j < cols; j++) to[j * rows + i] = (double)from[i * cols + j];
}

void sv_linalg_store_columns(long rows, long cols, const double *from, sv_real *to) {
    for (long i = 0; i < rows; i++)
        for (long j = 0; j < cols; j++) to[i * cols + j] = (sv_real)from[j * rows + i];
}

double sv_linalg_asymmetry(long n, const sv_real *a, long *row, long *col) {
    double largest = 0, difference = 0;
    for (long i = 0; i < n; i++)
        for (long j = 0; j <= i; j++) {
            double d = fabs((double)a[i * n + j] - (double)a[j * n + i]);
            largest = fmax(largest, fmax(fabs((double)a[i * n + j]), fabs((double)a[j * n + i])));
            if (d > difference) {
                difference = d;
                *row = i + 1;
                *col = j + 1;
            }
        }
    return largest > 0 ? difference / largest : 0;
}

bool sv_linalg_symmetric(sv_args *a, const sv_batch *b) {
    const double tolerance = sizeof(sv_real) == 4 ? 1e-4 : 1e-9;
    for (long i = 0; i < b->count; i++) {
        const sv_real *m = a->in[0]->data + i * b->rows * b->rows;
        long row = 0, col = 0;
        for (long k = 0; k < b->rows * b->rows; k++)
            if (!isfinite(m[k])) return sv_fail(a, "matrix %ld of the batch has an entry that is not finite", i + 1);
        double apart = sv_linalg_asymmetry(b->rows, m, &row, &col);
        if (apart > tolerance)
            return sv_fail(
                a, "matrix %ld of the batch is not symmetric: entries (%ld, %ld) and (%ld, %ld) are %g and %g", i + 1,
                row, col, col, row, (double)m[(row - 1) * b->rows + col - 1], (double)m[(col - 1) * b->rows + row - 1]);
    }
    return true;
}

/* ---- cholesky ------------------------------------------------------------------------ */

/* Argument of the parallel bodies: the op's arguments and its batch. */
typedef struct {
    sv_args *a;
    sv_batch b;
    long n, k; /* A is n x n, right-hand sides n x k */
    double *factors, *solution;
    int *pivots;
} job;

static double *doubles(sv_real *at) { return (double *)(void *)at; }

static job cholesky_job(sv_args *a) {
    job j = {.a = a, .n = (long)a->in[0]->shape[a->in[0]->ndim - 1]};
    j.b = (sv_batch){(long)a->in[0]->count / (j.n * j.n), j.n, j.n};
    j.factors = doubles(a->aux[0]);
    return j;
}

static bool cholesky_shape(sv_args *a) {
    sv_batch b;
    if (!sv_linalg_square(a, 0, "a", &b)) return false;
    a->aux_count[0] = sv_room(a->in[0]->count * sizeof(double));
    a->work_count = sv_linalg_work_room(&b, 0, 0);
    a->backward_work_count = sv_linalg_work_room(&b, 2 * (size_t)(b.rows * b.rows), 0);
    return sv_same_shape(a, a->in[0]) && sv_linalg_symmetric(a, &b);
}

static void cholesky_one(void *arg, long i, int worker) {
    (void)worker;
    const job *j = arg;
    long n = j->n;
    double *l = j->factors + i * n * n;
    sv_linalg_load(n * n, j->a->in[0]->data + i * n * n, l);
    sv_linalg_infos(j->a->work)[i] = sv_blas_now()->dpotrf((int)n, l, (int)n); /* upper there is lower here */
    for (long r = 0; r < n; r++) memset(l + r * n + r + 1, 0, (size_t)(n - r - 1) * sizeof *l);
    sv_linalg_store(n * n, l, j->a->out->data + i * n * n);
}

static void cholesky_forward(sv_args *a) {
    job j = cholesky_job(a);
    sv_parallel(j.b.count, cholesky_one, &j);
    long failed = sv_linalg_failed(&j.b, sv_linalg_infos(a->work));
    if (failed) sv_fail(a, "matrix %ld of the batch is not positive definite", failed);
}

/* Lower triangle with half of the diagonal, made symmetric. */
static void halve_and_mirror(long n, double *p) {
    for (long i = 0; i < n; i++)
        for (long k = 0; k < i; k++) {
            p[i * n + k] *= 0.5;
            p[k * n + i] = p[i * n + k];
        }
    for (long i = 0; i < n; i++) p[i * n + i] *= 0.5;
}

/* A' = L^-T Phi(L' G) L^-1, made symmetric; Phi: the lower triangle with half of the diagonal. */
static void cholesky_gradient(void *arg, long i, int worker) {
    const job *j = arg;
    int n = (int)j->n;
    long size = j->n * j->n;
    double *g = sv_linalg_worker(&j->b, j->a->work, 2 * (size_t)size, 0, worker).own, *p = g + size;
    const double *l = j->factors + i * size;
    sv_linalg_load(size, j->a->grad_out + i * size, g);
    for (long r = 0; r < n; r++)
        for (long c = r + 1; c < n; c++) g[r * n + c] = 0;
    sv_blas_now()->dgemm(true, false, n, n, n, 1, l, n, g, n, 0, p, n);
    halve_and_mirror(n, p);
    sv_blas_now()->dtrsm(false, false, true, n, n, l, n, p, n);
    sv_blas_now()->dtrsm(true, false, false, n, n, l, n, p, n);
    sv_linalg_store(size, p, j->a->grad_in[0] + i * size);
}

static void cholesky_backward(sv_args *a) {
    job j = cholesky_job(a);
    sv_parallel(j.b.count, cholesky_gradient, &j);
}

/* ---- solving ---------------------------------------------------------------------------- */

static bool systems_shape(sv_args *a, sv_batch *m, sv_batch *rhs) {
    const sv_tensor *x = a->in[0], *y = a->in[1];
    if (!sv_linalg_square(a, 0, "a", m) || !sv_linalg_batch(a, 1, "b", rhs)) return false;
    if (rhs->rows != m->rows) return sv_fail(a, "b must have %ld rows, as a has; got %ld", m->rows, rhs->rows);
    if (x->ndim != y->ndim || memcmp(x->shape, y->shape, (size_t)(x->ndim - 2) * sizeof(size_t)) != 0)
        return sv_fail(a, "the batch axes of a and b differ");
    return sv_same_shape(a, y);
}

static job systems_job(sv_args *a) {
    const sv_tensor *y = a->in[1];
    job j = {.a = a, .n = (long)y->shape[y->ndim - 2], .k = (long)y->shape[y->ndim - 1]};
    j.b = (sv_batch){(long)y->count / (j.n * j.k), j.n, j.k};
    j.factors = doubles(a->aux[0]);
    j.solution = doubles(a->aux[1]);
    j.pivots = (int *)(void *)a->aux[2];
    return j;
}

enum { UPPER, TRANSPOSE };

static bool triangular_shape(sv_args *a) {
    sv_batch m, rhs;
    if (!systems_shape(a, &m, &rhs)) return false;
    const sv_real *x = a->in[0]->data;
    for (long i = 0; i < m.count; i++)
        for (long r = 0; r < m.rows; r++)
            if (x[(i * m.rows + r) * m.rows + r] == 0)
                return sv_fail(a, "matrix %ld of the batch is singular: entry (%ld, %ld) is 0", i + 1, r + 1, r + 1);
    a->aux_count[0] = sv_room(a->in[0]->count * sizeof(double));
    a->aux_count[1] = sv_room(a->in[1]->count * sizeof(double));
    a->backward_work_count = sv_linalg_work_room(&rhs, (size_t)(m.rows * (rhs.cols + m.rows)), 0);
    return true;
}

static void triangular_one(void *arg, long i, int worker) {
    (void)worker;
    const job *j = arg;
    long n = j->n, k = j->k;
    double *m = j->factors + i * n * n, *x = j->solution + i * n * k;
    sv_linalg_load(n * n, j->a->in[0]->data + i * n * n, m);
    sv_linalg_load(n * k, j->a->in[1]->data + i * n * k, x);
    sv_blas_now()->dtrsm(false, j->a->opt[UPPER] != 0, j->a->opt[TRANSPOSE] != 0, (int)n, (int)k, m, (int)n, x, (int)k);
    sv_linalg_store(n * k, x, j->a->out->data + i * n * k);
}

static void triangular_forward(sv_args *a) {
    job j = systems_job(a);
    sv_parallel(j.b.count, triangular_one, &j);
}

/* B' = op(A)^-T G; A' = -B' X', or -X B'' where op transposes, within the triangle. */
static void triangular_gradient(void *arg, long i, int worker) {
    const job *j = arg;
    int n = (int)j->n, k = (int)j->k;
    long size = j->n * j->n, room = j->n * j->k;
    bool upper = j->a->opt[UPPER] != 0, transpose = j->a->opt[TRANSPOSE] != 0;
    double *gb = sv_linalg_worker(&j->b, j->a->work, (size_t)(room + size), 0, worker).own, *ga = gb + room;
    const double *x = j->solution + i * room;
    sv_linalg_load(room, j->a->grad_out + i * room, gb);
    sv_blas_now()->dtrsm(false, upper, !transpose, n, k, j->factors + i * size, n, gb, k);
    if (j->a->grad_in[1]) sv_linalg_store(room, gb, j->a->grad_in[1] + i * room);
    if (!j->a->grad_in[0]) return;
    sv_blas_now()->dgemm(false, true, n, n, k, -1, transpose ? x : gb, k, transpose ? gb : x, k, 0, ga, n);
    for (long r = 0; r < n; r++)
        for (long c = 0; c < n; c++)
            if (upper ? c < r : c > r) ga[r * n + c] = 0;
    sv_linalg_store(size, ga, j->a->grad_in[0] + i * size);
}

static void triangular_backward(sv_args *a) {
    job j = systems_job(a);
    sv_parallel(j.b.count, triangular_gradient, &j);
}

static bool solve_shape(sv_args *a) {
    sv_batch m, rhs;
    if (!systems_shape(a, &m, &rhs)) return false;
    a->aux_count[0] = sv_room(a->in[0]->count * sizeof(double));
    a->aux_count[1] = sv_room(a->in[1]->count * sizeof(double));
    a->aux_count[2] = sv_room((size_t)(m.count * m.rows) * sizeof(int));
    a->work_count = sv_linalg_work_room(&rhs, 0, 0);
    a->backward_work_count = sv_linalg_work_room(&rhs, (size_t)(m.rows * (rhs.cols + m.rows)), 0);
    return true;
}

/* To LAPACK a row-major A is A', so that A X = B is solved by the factors of A' transposed. */
static void solve_one(void *arg, long i, int worker) {
    (void)worker;
    const job *j = arg;
    long n = j->n, k = j->k;
    double *m = j->factors + i * n * n, *x = j->solution + i * n * k;
    int *pivots = j->pivots + i * n;
    sv_linalg_load(n * n, j->a->in[0]->data + i * n * n, m);
    sv_linalg_load_columns(n, k, j->a->in[1]->data + i * n * k, x);
    int info = sv_blas_now()->dgetrf((int)n, (int)n, m, (int)n, pivots);
    sv_linalg_infos(j->a->work)[i] = info;
    if (info) return;
    sv_blas_now()->dgetrs(true, (int)n, (int)k, m, (int)n, pivots, x, (int)n);
    sv_linalg_store_columns(n, k, x, j->a->out->data + i * n * k);
}

static void solve_forward(sv_args *a) {
    job j = systems_job(a);
    sv_parallel(j.b.count, solve_one, &j);
    long failed = sv_linalg_failed(&j.b, sv_linalg_infos(a->work));
    if (failed) sv_fail(a, "matrix %ld of the batch is singular", failed);
}

/* B' = A^-T G; A' = -B' X'. The right-hand sides are column-major, hence (k, n) to CBLAS. */
static void solve_gradient(void *arg, long i, int worker) {
    const job *j = arg;
    int n = (int)j->n, k = (int)j->k;
    long size = j->n * j->n, room = j->n * j->k;
    double *gb = sv_linalg_worker(&j->b, j->a->work, (size_t)(room + size), 0, worker).own, *ga = gb + room;
    sv_linalg_load_columns(n, k, j->a->grad_out + i * room, gb);
    sv_blas_now()->dgetrs(false, n, k, j->factors + i * size, n, j->pivots + i * n, gb, n);
    if (j->a->grad_in[1]) sv_linalg_store_columns(n, k, gb, j->a->grad_in[1] + i * room);
    if (!j->a->grad_in[0]) return;
    sv_blas_now()->dgemm(true, false, n, n, k, -1, gb, n, j->solution + i * room, n, 0, ga, n);
    sv_linalg_store(size, ga, j->a->grad_in[0] + i * size);
}

static void solve_backward(sv_args *a) {
    job j = systems_job(a);
    sv_parallel(j.b.count, solve_gradient, &j);
}

/* ---- determinants ------------------------------------------------------------------------ */

static job slogdet_job(sv_args *a) {
    job j = cholesky_job(a);
    j.pivots = (int *)(void *)a->aux[1];
    return j;
}

static bool slogdet_shape(sv_args *a) {
    sv_batch b;
    if (!sv_linalg_square(a, 0, "a", &b)) return false;
    a->ndim = a->in[0]->ndim - 1;
    memcpy(a->shape, a->in[0]->shape, sizeof a->shape);
    a->shape[a->ndim - 1] = 2;
    a->aux_count[0] = sv_room(a->in[0]->count * sizeof(double));
    a->aux_count[1] = sv_room((size_t)(b.count * b.rows) * sizeof(int));
    a->backward_work_count = sv_linalg_work_room(&b, (size_t)(b.rows * b.rows), 0);
    return true;
}

static void slogdet_one(void *arg, long i, int worker) {
    (void)worker;
    const job *j = arg;
    long n = j->n;
    double *m = j->factors + i * n * n, log_size = 0, sign = 1;
    int *pivots = j->pivots + i * n;
    sv_linalg_load(n * n, j->a->in[0]->data + i * n * n, m);
    sv_blas_now()->dgetrf((int)n, (int)n, m, (int)n, pivots);
    for (long r = 0; r < n; r++) {
        double d = m[r * n + r];
        log_size += log(fabs(d));
        if (d == 0)
            sign = 0;
        else if ((d < 0) != (pivots[r] != r + 1))
            sign = -sign;
    }
    j->a->out->data[2 * i] = (sv_real)log_size;
    j->a->out->data[2 * i + 1] = (sv_real)sign;
}

static void slogdet_forward(sv_args *a) {
    job j = slogdet_job(a);
    sv_parallel(j.b.count, slogdet_one, &j);
}

/* A' = g A^-T; the sign is constant. Of a singular matrix NaN. */
static void slogdet_gradient(void *arg, long i, int worker) {
    const job *j = arg;
    long n = j->n;
    double *inverse = sv_linalg_worker(&j->b, j->a->work, (size_t)(n * n), 0, worker).own;
    double g = (double)j->a->grad_out[2 * i];
    sv_real *to = j->a->grad_in[0] + i * n * n;
    bool singular = j->a->out->data[2 * i + 1] == 0;
    for (long k = 0; k < n * n; k++) inverse[k] = k % (n + 1) == 0 ? g : 0;
    if (!singular)
        sv_blas_now()->dgetrs(false, (int)n, (int)n, j->factors + i * n * n, (int)n, j->pivots + i * n, inverse,
                              (int)n);
    for (long k = 0; k < n * n; k++) to[k] = singular ? NAN : (sv_real)inverse[k % n * n + k / n];
}

static void slogdet_backward(sv_args *a) {
    job j = slogdet_job(a);
    sv_parallel(j.b.count, slogdet_gradient, &j);
}

const sv_op sv_ops_linalg[] = {
    {"linalg_cholesky", "a", cholesky_shape, cholesky_forward, cholesky_backward, SV_OP_INTERNAL,
     "(…, N, N) symmetric positive definite -> L, lower triangular with a = L L'.",
     "(function(x) return matmul(x, x, {transpose_y = true}) + tensor{{4, 0, 0}, {0, 3, 0}, {0, 0, 5}} end)(r(2, 3, "
     "3))"},
    {"linalg_triangular_solve", "a, b; upper:bool=false, transpose:bool=false", triangular_shape, triangular_forward,
     triangular_backward, SV_OP_INTERNAL, "a (…, N, N) triangular, b (…, N, K) -> x with a x = b, or a' x = b.",
     "r(2, 3, 3), r(2, 3, 2), {upper = true, transpose = true}"},
    {"linalg_solve", "a, b", solve_shape, solve_forward, solve_backward, SV_OP_INTERNAL,
     "a (…, N, N), b (…, N, K) -> x with a x = b.", "r(2, 3, 3) + tensor{{3, 0, 0}, {0, 3, 0}, {0, 0, 3}}, r(2, 3, 2)"},
    {"linalg_slogdet", "a", slogdet_shape, slogdet_forward, slogdet_backward, SV_OP_INTERNAL,
     "(…, N, N) -> (…, 2): the logarithm of the determinant's size, and its sign.",
     "r(2, 3, 3) + tensor{{3, 0, 0}, {0, 3, 0}, {0, 0, 3}}"},
    {0},
};
