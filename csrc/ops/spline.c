/* spline.c: rational-quadratic splines (kernels/spline.h) of the numbers of a matrix, and of some of its columns: the
 * element-wise transforms of a neural spline flow. */
#include "../kernels/spline.h"
#include "../kernels/gemm.h"
#include "../kernels/loops.h"
#include "../simvae.h"
#include "coupling.h"

#include <string.h>

enum { LANES = SV_SPLINE_LANES };
enum { INVERSE }; /* option */

/* Rows of numbers, some columns of which pass splines. A row of parameters serves `each` rows. Work is cut into pieces
 * of rows; where many rows share parameters, into those of the groups that do. */
typedef struct {
    sv_args *a;
    bool inverse, coupling; /* coupling: the last column is the sum of the slopes' logarithms */
    int bins;
    long width, columns; /* columns of the matrix, and those with splines */
    long rows, each;
    long group, piece, pieces; /* rows of a group and of a piece, pieces of a group */
} job;

enum { SHARED_PIECE = 256, PIECE = 64 }; /* rows */

static bool shares(const job *j) { return j->each >= LANES; }

static job make_job(sv_args *a, bool coupling) {
    const sv_tensor *x = a->in[0], *p = a->in[1], *marks = a->in[2];
    job j = {.a = a, .inverse = a->opt[INVERSE] != 0, .coupling = coupling};
    j.rows = (long)x->shape[0];
    j.width = (long)x->shape[1] - coupling;
    j.columns = coupling ? 0 : j.width;
    for (long d = 0; coupling && d < j.width; d++) j.columns += marks->data[d] != 0;
    size_t per = coupling ? p->shape[1] / (size_t)sv_max(1, j.columns) : p->shape[2];
    j.bins = ((int)per - 1) / 3;
    j.each = sv_coupling_each(x, p);
    j.group = shares(&j) ? j.each : j.rows;
    j.piece = shares(&j) ? SHARED_PIECE : sv_max(1, j.each) * sv_max(1, PIECE / sv_max(1, j.each));
    j.pieces = divide_up(j.group, j.piece);
    return j;
}

static long groups(const job *j) { return j->group > 0 ? j->rows / j->group : 0; }

/* Blocks of lanes of a column in a piece, and rows of lanes that are kept of a block. */
static long blocks_of(const job *j) { return divide_up(sv_min(j->piece, j->group), LANES); }
static long kept_of(const job *j) { return SV_KEPT_ROWS + 2 * j->bins; }

static bool is_circle(const job *j, long d) {
    const sv_tensor *marks = j->a->in[2];
    return marks && marks->data[d] == (j->coupling ? 2 : 1);
}

static bool passes(const job *j, long d) { return !j->coupling || j->a->in[2]->data[d] != 0; }

static bool check_bins(sv_args *a, size_t per) {
    if (per >= 7 && per % 3 == 1 && (per - 1) / 3 <= SV_SPLINE_BINS) return true;
    return sv_fail(a, "parameters have 3 K + 1 numbers for K = 2 to %d bins; got %zu", SV_SPLINE_BINS, per);
}

static void plan_kept(sv_args *a, bool coupling) {
    if (!a->in[0]->needs_grad && !a->in[1]->needs_grad) return;
    job j = make_job(a, coupling);
    a->aux_count[0] = (size_t)(groups(&j) * j.pieces * j.columns * blocks_of(&j) * kept_of(&j) * LANES);
}

static bool spline_shape(sv_args *a) {
    const sv_tensor *x = a->in[0], *p = a->in[1], *circle = a->in[2];
    if (x->ndim != 2) return sv_fail(a, "x must be (N, D)");
    if (p->ndim != 3 || p->shape[0] != x->shape[0] || p->shape[1] != x->shape[1])
        return sv_fail(a, "parameters must be (%zu, %zu, 3 K + 1)", x->shape[0], x->shape[1]);
    if (!check_bins(a, p->shape[2])) return false;
    if (circle && (circle->ndim != 1 || circle->shape[0] != x->shape[1]))
        return sv_fail(a, "circle must be (%zu,)", x->shape[1]);
    plan_kept(a, false);
    a->ndim = 3;
    a->shape[0] = 2;
    a->shape[1] = x->shape[0];
    a->shape[2] = x->shape[1];
    return true;
}

static bool coupling_shape(sv_args *a) {
    const sv_tensor *x = a->in[0], *p = a->in[1], *columns = a->in[2];
    if (!sv_coupling_state(a, x, columns)) return false;
    size_t marked = 0;
    for (size_t d = 0; d < columns->count; d++) marked += columns->data[d] != 0;
    if (p->ndim != 2 || marked == 0 || p->shape[1] % marked != 0)
        return sv_fail(a, "parameters must be (n, %zu (3 K + 1))", marked);
    if (!sv_coupling_rows(a, x, p, "parameters")) return false;
    if (!check_bins(a, p->shape[1] / marked)) return false;
    plan_kept(a, true);
    return sv_same_shape(a, x);
}

/* ---- blocks of a piece ----------------------------------------------------------------------- */

/* The parameters of n rows from row on, for column c of those with splines; lanes beyond n repeat the last. */
static void gather(const job *j, long c, long row, long n, sv_splines *s) {
    const int per = 3 * j->bins + 1;
    const long ld = j->columns * per;
    const sv_real *p = j->a->in[1]->data + c * per;
    if (shares(j)) {
        p += row / j->each * ld;
        for (int k = 0; k < per; k++)
            for (long l = 0; l < LANES; l++) s->raw[k][l] = p[k];
    } else if (j->each == 1) {
        sv_cpu->gemm->transpose(n, per, p + row * ld, ld, s->raw[0], LANES);
        for (int k = 0; k < per && n < LANES; k++)
            for (long l = n; l < LANES; l++) s->raw[k][l] = s->raw[k][n - 1];
    } else {
        for (long l = 0; l < LANES; l++) {
            const sv_real *own = p + (row + sv_min(l, n - 1)) / j->each * ld;
            for (int k = 0; k < per; k++) s->raw[k][l] = own[k];
        }
    }
    sv_spline_knots(s);
}

static void load(long n, const sv_real *from, long stride, sv_real *lanes) {
    for (long l = 0; l < LANES; l++) lanes[l] = from[sv_min(l, n - 1) * stride];
}

/* Rows from … to - 1 of a piece. */
static void piece_rows(const job *j, long piece, long *from, long *to) {
    *from = piece / j->pieces * j->group + piece % j->pieces * j->piece;
    *to = sv_min(*from + j->piece, (piece / j->pieces + 1) * j->group);
}

static sv_lanes *kept_at(const job *j, long piece, long c, long block) {
    sv_lanes *kept = (sv_lanes *)(void *)j->a->aux[0];
    return kept + ((piece * j->columns + c) * blocks_of(j) + block) * kept_of(j);
}

/* Where the logarithm of the slope of column d in a row is, of the results and of their gradient. */
static long log_at(const job *j, long row, long d) {
    return j->coupling ? row * (j->width + 1) + j->width : j->rows * j->width + row * j->width + d;
}

static void forward_piece(void *arg, long piece, int worker) {
    const job *j = arg;
    const sv_real *x = j->a->in[0]->data;
    sv_real *y = j->a->out->data;
    sv_splines *s = sv_scratch(worker);
    long from, to, stride = j->width + j->coupling, c = 0;
    piece_rows(j, piece, &from, &to);
    if (j->coupling) memcpy(y + from * stride, x + from * stride, (size_t)((to - from) * stride) * sizeof *y);
    s->bins = j->bins;
    for (long d = 0; d < j->width; d++) {
        if (!passes(j, d)) continue;
        s->circle = is_circle(j, d);
        for (long row = from; row < to; row += LANES) {
            long n = sv_min(LANES, to - row);
            sv_lanes in, out, log;
            if (row == from || !shares(j)) gather(j, c, row, n, s);
            load(n, x + row * stride + d, stride, in);
            sv_spline_apply(s, j->inverse, in, out, log,
                            j->a->training ? kept_at(j, piece, c, (row - from) / LANES) : NULL);
            for (long l = 0; l < n; l++) {
                y[(row + l) * stride + d] = out[l];
                y[log_at(j, row + l, d)] = (j->coupling ? y[log_at(j, row + l, d)] : 0) + log[l];
            }
        }
        c++;
    }
}

/* ---- gradients ------------------------------------------------------------------------------- */

/* Adds the gradients of n rows' parameters. */
static void scatter(const job *j, long c, long row, long n, sv_lanes *by) {
    const int per = 3 * j->bins + 1;
    const long ld = j->columns * per;
    sv_real *first = j->a->grad_in[1] + c * per;
    if (j->each == 1) {
        sv_cpu->gemm->transpose(per, n, by[0], LANES, first + row * ld, ld);
        return;
    }
    for (long l = 0; l < n; l++) {
        sv_real *to = first + (row + l) / j->each * ld;
        for (int k = 0; k < per; k++) to[k] += by[k][l];
    }
}

static void backward_piece(const job *j, long piece, sv_lanes *by) {
    const sv_real *g = j->a->grad_out;
    sv_real *to = j->a->grad_in[0];
    long from, end, stride = j->width + j->coupling, c = 0;
    piece_rows(j, piece, &from, &end);
    if (to && j->coupling) memcpy(to + from * stride, g + from * stride, (size_t)((end - from) * stride) * sizeof *g);
    for (long d = 0; d < j->width; d++) {
        if (!passes(j, d)) continue;
        for (long row = from; row < end; row += LANES) {
            long n = sv_min(LANES, end - row);
            sv_lanes by_out, by_log, in;
            load(n, g + row * stride + d, stride, by_out);
            load(n, g + log_at(j, row, d), stride, by_log);
            sv_spline_gradient(j->bins, is_circle(j, d), j->inverse, kept_at(j, piece, c, (row - from) / LANES), by_out,
                               by_log, in, by);
            for (long l = 0; to && l < n; l++) to[(row + l) * stride + d] = in[l];
            if (j->a->grad_in[1]) scatter(j, c, row, n, by);
        }
        c++;
    }
}

/* A group that shares its parameters, or a piece. */
static void backward_task(void *arg, long i, int worker) {
    const job *j = arg;
    long from, to, first = shares(j) ? i * j->pieces : i, count = shares(j) ? j->pieces : 1;
    long per = j->columns * (3 * j->bins + 1);
    piece_rows(j, first, &from, &to);
    if (j->a->grad_in[1] && j->each > 1)
        memset(j->a->grad_in[1] + from / j->each * per, 0,
               (size_t)(divide_up(to - from, j->each) * per) * sizeof(sv_real));
    for (long p = first; p < first + count; p++) backward_piece(j, p, sv_scratch(worker));
}

static void run_forward(sv_args *a, bool coupling) {
    job j = make_job(a, coupling);
    sv_parallel(groups(&j) * j.pieces, forward_piece, &j);
}

static void run_backward(sv_args *a, bool coupling) {
    job j = make_job(a, coupling);
    sv_parallel(groups(&j) * (shares(&j) ? 1 : j.pieces), backward_task, &j);
    if (a->in[2] && a->grad_in[2]) memset(a->grad_in[2], 0, a->in[2]->count * sizeof(sv_real));
}

static void spline_forward(sv_args *a) { run_forward(a, false); }
static void spline_backward(sv_args *a) { run_backward(a, false); }
static void coupling_forward(sv_args *a) { run_forward(a, true); }
static void coupling_backward(sv_args *a) { run_backward(a, true); }

const sv_op sv_ops_spline[] = {
    {"rational_quadratic_spline", "x, parameters, circle?; inverse:bool=false", spline_shape, spline_forward,
     spline_backward, 0,
     "x (N, D) in [0, 1] (clamped), parameters (N, D, 3 K + 1) of any size -> (2, N, D): y in [0, 1], and the "
     "logarithm of dy/dx. Each number passes a monotonic rational-quadratic spline of K bins (Durkan et al. 2019): K "
     "numbers for the bins' widths, K for their heights, K + 1 for the slopes at the knots. Columns where circle (D,) "
     "is 1 are phases (Rezende et al. 2020): K slopes, and a rotation in turns. inverse: from y to x.",
     "(r(3, 2) * 0.3 + 0.5), r(3, 2, 10), tensor{0, 1}"},
    {"spline_coupling", "state, parameters, columns; inverse:bool=false", coupling_shape, coupling_forward,
     coupling_backward, SV_OP_INTERNAL,
     "state (R, D + 1): D numbers in [0, 1] and a sum, parameters (n, C (3 K + 1)), each row for R / n rows of the "
     "state -> (R, D + 1): the C columns of which columns (D,) is 1 (or 2: phases) pass a spline as of "
     "rational_quadratic_spline, the logarithms of their slopes are added to the sum.",
     "(r(4, 4) * 0.3 + 0.5), r(2, 20), tensor{1, 0, 2}"},
    {0},
};
