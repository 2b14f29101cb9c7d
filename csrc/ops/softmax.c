/* softmax.c: softmax and its logarithm along one axis. */
#include "rows.h"

enum { AT_AXIS }; /* option */
enum { COLUMNS = 256 };

/* x seen as (outer, n, inner), the softmax along n. */
typedef struct {
    size_t outer, n, inner, blocks;
    bool log;
    const sv_real *x, *y, *g;
    sv_real *to;
} softmax_work;

static bool softmax_shape(sv_args *a) {
    int axis = 0;
    if (!sv_axis(a, (long)a->opt[AT_AXIS], a->in[0]->ndim, &axis)) return false;
    return sv_same_shape(a, a->in[0]);
}

static softmax_work plan_softmax(const sv_args *a, bool log) {
    const sv_tensor *x = a->in[0];
    softmax_work w = {.outer = 1, .inner = 1, .log = log};
    int axis = (int)a->opt[AT_AXIS] < 0 ? (int)a->opt[AT_AXIS] + x->ndim : (int)a->opt[AT_AXIS];
    for (int i = 0; i < axis; i++) w.outer *= x->shape[i];
    w.n = x->shape[axis];
    for (int i = axis + 1; i < x->ndim; i++) w.inner *= x->shape[i];
    w.blocks = (size_t)divide_up((long)w.inner, COLUMNS);
    return w;
}

/* m rows of n numbers. */
SV_LOOP(rows_softmax, (size_t m, size_t n, const sv_real *x, sv_real *y), (m, n, x, y)) {
    for (size_t r = 0; r < m; r++) {
        const sv_real most = sv_row_most(n, x + r * n, 1);
        for (size_t i = 0; i < n; i++) y[r * n + i] = x[r * n + i] - most;
    }
    for (size_t i = 0; i < m * n; i++) y[i] = sv_exp(y[i]);
    for (size_t r = 0; r < m; r++) {
        const sv_real scale = (sv_real)(1 / sv_sum(n, y + r * n));
        for (size_t i = 0; i < n; i++) y[r * n + i] *= scale;
    }
}

SV_LOOP(rows_log_softmax, (size_t m, size_t n, const sv_real *x, sv_real *y), (m, n, x, y)) {
    sv_real centre[COLUMNS], logs[COLUMNS];
    for (size_t first = 0; first < m; first += COLUMNS) {
        const size_t rows = m - first < COLUMNS ? m - first : COLUMNS;
        sv_rows_log_sum_exp(rows, n, x + first * n, centre, logs);
        for (size_t r = 0; r < rows; r++)
            for (size_t i = 0, at = (first + r) * n; i < n; i++) y[at + i] = x[at + i] - centre[r] - logs[r];
    }
}

SV_LOOP(rows_slopes, (size_t m, size_t n, const sv_real *y, const sv_real *g, bool log_wanted, sv_real *to),
        (m, n, y, g, log_wanted, to)) {
    if (log_wanted)
        for (size_t i = 0; i < m * n; i++) to[i] = sv_exp(y[i]);
    for (size_t r = 0; r < m; r++, y += n, g += n, to += n) {
        const sv_real sum = (sv_real)(log_wanted ? sv_sum(n, g) : sv_row_dot(n, g, y));
        if (log_wanted)
            for (size_t i = 0; i < n; i++) to[i] = g[i] - to[i] * sum;
        else
            for (size_t i = 0; i < n; i++) to[i] = y[i] * (g[i] - sum);
    }
}

/* n rows, inner numbers apart, of m columns. */
SV_LOOP(column_softmax, (size_t n, size_t m, size_t inner, const sv_real *x, bool log_wanted, sv_real *y),
        (n, m, inner, x, log_wanted, y)) {
    sv_real max[COLUMNS], sum[COLUMNS];
    memcpy(max, x, m * sizeof *x);
    memset(sum, 0, m * sizeof *sum);
    for (size_t k = 1; k < n; k++)
        for (size_t i = 0; i < m; i++) max[i] = x[k * inner + i] > max[i] ? x[k * inner + i] : max[i];
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < m; i++) {
            y[k * inner + i] = sv_exp(x[k * inner + i] - max[i]);
            sum[i] += y[k * inner + i];
        }
    for (size_t i = 0; i < m; i++) sum[i] = log_wanted ? sv_log(sum[i]) : 1 / sum[i];
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < m; i++)
            y[k * inner + i] = log_wanted ? x[k * inner + i] - max[i] - sum[i] : y[k * inner + i] * sum[i];
}

SV_LOOP(column_slopes,
        (size_t n, size_t m, size_t inner, const sv_real *y, const sv_real *g, bool log_wanted, sv_real *to),
        (n, m, inner, y, g, log_wanted, to)) {
    sv_real sum[COLUMNS];
    memset(sum, 0, m * sizeof *sum);
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < m; i++) sum[i] += g[k * inner + i] * (log_wanted ? 1 : y[k * inner + i]);
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < m; i++)
            to[k * inner + i] = log_wanted ? g[k * inner + i] - sv_exp(y[k * inner + i]) * sum[i]
                                           : y[k * inner + i] * (g[k * inner + i] - sum[i]);
}

/* Along the last axis. */
static void softmax_rows(void *arg, long i, int worker) {
    (void)worker;
    const softmax_work *w = arg;
    const size_t each = sv_rows_a_piece(w->n), first = (size_t)i * each,
                 m = w->outer - first < each ? w->outer - first : each, at = first * w->n;
    if (w->g)
        rows_slopes(m, w->n, w->y + at, w->g + at, w->log, w->to + at);
    else if (w->log)
        rows_log_softmax(m, w->n, w->x + at, w->to + at);
    else
        rows_softmax(m, w->n, w->x + at, w->to + at);
}

static void softmax_columns(void *arg, long i, int worker) {
    (void)worker;
    const softmax_work *w = arg;
    size_t from = (size_t)i % w->blocks * COLUMNS, m = w->inner - from < COLUMNS ? w->inner - from : COLUMNS;
    size_t at = (size_t)i / w->blocks * w->n * w->inner + from;
    if (w->g)
        column_slopes(w->n, m, w->inner, w->y + at, w->g + at, w->log, w->to + at);
    else
        column_softmax(w->n, m, w->inner, w->x + at, w->log, w->to + at);
}

static void run_softmax(softmax_work *w) {
    if (w->n == 0 || w->inner == 0) return;
    if (w->inner == 1)
        sv_parallel(divide_up((long)w->outer, (long)sv_rows_a_piece(w->n)), softmax_rows, w);
    else
        sv_parallel((long)(w->outer * w->blocks), softmax_columns, w);
}

static void any_softmax_forward(sv_args *a, bool log) {
    softmax_work w = plan_softmax(a, log);
    w.x = a->in[0]->data;
    w.to = a->out->data;
    run_softmax(&w);
}

static void any_softmax_backward(sv_args *a, bool log) {
    softmax_work w = plan_softmax(a, log);
    w.y = a->out->data;
    w.g = a->grad_out;
    w.to = a->grad_in[0];
    run_softmax(&w);
}

static void softmax_forward(sv_args *a) { any_softmax_forward(a, false); }
static void softmax_backward(sv_args *a) { any_softmax_backward(a, false); }
static void log_softmax_forward(sv_args *a) { any_softmax_forward(a, true); }
static void log_softmax_backward(sv_args *a) { any_softmax_backward(a, true); }

const sv_op sv_ops_softmax[] = {
    {"softmax", "x; axis:axis=-1", softmax_shape, softmax_forward, softmax_backward, 0,
     "exp(x) / sum(exp(x)) along an axis, without overflow.", "r(2, 3, 2), 2"},
    {"log_softmax", "x; axis:axis=-1", softmax_shape, log_softmax_forward, log_softmax_backward, 0,
     "x - log(sum(exp(x))) along an axis, without overflow.", "r(2, 3)"},
    {0},
};
