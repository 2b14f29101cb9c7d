/* reduce.c: reductions over chosen axes: sum, mean, extrema, variance, log-sum-exp, and their gradients. */
#include "reduction.h"
#include "rows.h"

#include <math.h>
#include <string.h>

enum { ROWS = 64 };

/* ---- shape and forward -------------------------------------------------- */

static bool reduce_shape(sv_args *a) {
    if (!sv_reduced_shape(a)) return false;
    sv_reduction r = sv_plan_reduction(a);
    size_t states = r.parts * r.results;
    a->work_count = (states ? states : 1) * (sizeof(sv_reduction_state) / sizeof(sv_real));
    return true;
}

static bool nonempty_shape(sv_args *a) {
    if (!reduce_shape(a)) return false;
    if (sv_plan_reduction(a).p.reduced_count == 0) return sv_fail(a, "there is nothing to reduce");
    return true;
}

static sv_reduction start(sv_args *a) {
    sv_reduction r = sv_plan_reduction(a);
    r.state = (sv_reduction_state *)(void *)a->work;
    return r;
}

static void sum_forward(sv_args *a) {
    sv_reduction r = start(a);
    sv_run_reduction(&r, SV_SUM, NULL);
    for (size_t o = 0; o < r.results; o++) a->out->data[o] = (sv_real)r.state[o].v;
}

static void mean_forward(sv_args *a) {
    sv_reduction r = start(a);
    sv_run_reduction(&r, SV_SUM, NULL);
    for (size_t o = 0; o < r.results; o++) a->out->data[o] = (sv_real)(r.state[o].v / (double)r.p.reduced_count);
}

static bool extremum_shape(sv_args *a) {
    if (!nonempty_shape(a)) return false;
    sv_reduction r = sv_plan_reduction(a);
    if (r.p.reduced_count > UINT32_MAX) return sv_fail(a, "reduces more than 2^32 numbers");
    a->aux_count[0] = r.results ? r.results : 1; /* a 32-bit index each */
    return true;
}

static void extremum_forward(sv_args *a, enum sv_reduction_kind kind) {
    sv_reduction r = start(a);
    sv_run_reduction(&r, kind, NULL);
    for (size_t o = 0; o < r.results; o++) {
        uint32_t at = (uint32_t)r.state[o].at;
        a->out->data[o] = (sv_real)r.state[o].v;
        memcpy(a->aux[0] + o, &at, sizeof at);
    }
}

static void max_forward(sv_args *a) { extremum_forward(a, SV_MAX); }
static void min_forward(sv_args *a) { extremum_forward(a, SV_MIN); }

static bool arg_shape(sv_args *a) {
    if (!nonempty_shape(a)) return false;
    if (sizeof(sv_real) == 4 && sv_plan_reduction(a).p.reduced_count > (size_t)1 << 24)
        return sv_fail(a, "an index beyond 2^24 is not a float; reduce fewer axes");
    return true;
}

static void arg_forward(sv_args *a, enum sv_reduction_kind kind) {
    sv_reduction r = start(a);
    sv_run_reduction(&r, kind, NULL);
    for (size_t o = 0; o < r.results; o++) a->out->data[o] = (sv_real)(r.state[o].at + 1);
}

static void argmax_forward(sv_args *a) { arg_forward(a, SV_MAX); }
static void argmin_forward(sv_args *a) { arg_forward(a, SV_MIN); }

static bool var_shape(sv_args *a) {
    if (!nonempty_shape(a)) return false;
    sv_reduction r = sv_plan_reduction(a);
    if (a->opt[SV_OPT_CORRECTION] < 0 || (double)r.p.reduced_count <= a->opt[SV_OPT_CORRECTION])
        return sv_fail(a, "correction %g of %zu numbers", a->opt[SV_OPT_CORRECTION], r.p.reduced_count);
    a->aux_count[0] = r.results ? r.results : 1; /* the means */
    return true;
}

static void var_forward(sv_args *a) {
    sv_reduction r = start(a);
    sv_run_reduction(&r, SV_SUM, NULL);
    for (size_t o = 0; o < r.results; o++) a->aux[0][o] = (sv_real)(r.state[o].v / (double)r.p.reduced_count);
    sv_run_reduction(&r, SV_SQUARES, a->aux[0]);
    for (size_t o = 0; o < r.results; o++)
        a->out->data[o] = (sv_real)(r.state[o].v / ((double)r.p.reduced_count - a->opt[SV_OPT_CORRECTION]));
}

/* log(sum(exp(x))) of the rows of a matrix. */
typedef struct {
    size_t rows, n;
    const sv_real *x;
    sv_real *to;
} lse_rows;

SV_LOOP(rows_log_sum_exp, (size_t m, size_t n, const sv_real *x, sv_real *to), (m, n, x, to)) {
    sv_real logs[ROWS];
    for (size_t first = 0; first < m; first += ROWS) {
        const size_t rows = m - first < ROWS ? m - first : ROWS;
        sv_rows_log_sum_exp(rows, n, x + first * n, to + first, logs);
        for (size_t r = 0; r < rows; r++) to[first + r] += logs[r];
    }
}

static void lse_piece(void *arg, long i, int worker) {
    (void)worker;
    const lse_rows *w = arg;
    const size_t each = sv_rows_a_piece(w->n), first = (size_t)i * each;
    rows_log_sum_exp(w->rows - first < each ? w->rows - first : each, w->n, w->x + first * w->n, w->to + first);
}

/* Where the maximum is infinite, the sum is centred at 0: -inf and inf come out as such. */
static void logsumexp_forward(sv_args *a) {
    sv_reduction r = start(a);
    sv_real *max = a->out->data;
    const bool rows = r.p.reduced[r.p.ndim - 1] && r.p.ndim <= 2 && r.repeats == 1 && r.parts == 1;
    if (rows && (r.p.ndim == 1 || r.p.out[0] == 1)) {
        lse_rows w = {r.results, r.inner, r.x, max};
        sv_parallel(divide_up((long)w.rows, (long)sv_rows_a_piece(w.n)), lse_piece, &w);
        return;
    }
    sv_run_reduction(&r, SV_MAX, NULL);
    for (size_t o = 0; o < r.results; o++) {
        double v = r.state[o].v;
        max[o] = isinf(v) ? 0 : (sv_real)v;
    }
    sv_run_reduction(&r, SV_EXPONENTIALS, max);
    for (size_t o = 0; o < r.results; o++) max[o] = (sv_real)((double)max[o] + log(r.state[o].v));
}

/* ---- backward ----------------------------------------------------------- */

/* grad_in of n adjacent numbers x with one result each (step 1) or in all (step 0). */
typedef void (*spread_body)(size_t n, const sv_real *x, const sv_real *g, const sv_real *y, size_t step,
                            const sv_real *factor, sv_real *to);

typedef struct {
    sv_reduction_plan p;
    const sv_args *a;
    const sv_real *y; /* one per result, or NULL */
    sv_real factor;
    spread_body body;
    size_t rows, inner, each, cuts; /* outer combinations; innermost axis; rows a piece, pieces a row */
} spread_work;

static void spread_piece(void *arg, long i, int worker) {
    (void)worker;
    const spread_work *w = arg;
    const sv_reduction_plan *p = &w->p;
    size_t first = (size_t)i / w->cuts * w->each, last = first + w->each < w->rows ? first + w->each : w->rows;
    size_t from = (size_t)i % w->cuts * SV_REDUCTION_PART,
           n = w->inner - from < SV_REDUCTION_PART ? w->inner - from : SV_REDUCTION_PART;
    const size_t step = p->reduced[p->ndim - 1] ? 0 : p->out[p->ndim - 1];
    for (size_t row = first; row < last; row++) {
        size_t out = 0, rest = row;
        for (int k = p->ndim - 2; k >= 0; k--) {
            out += rest % p->len[k] * p->out[k];
            rest /= p->len[k];
        }
        size_t at = row * w->inner + from, o = out + from * step;
        w->body(n, w->a->in[0]->data + at, w->a->grad_out + o, w->y ? w->y + o : w->a->grad_out + o, step, &w->factor,
                w->a->grad_in[0] + at);
    }
}

static void spread(sv_args *a, const sv_real *y, sv_real factor, spread_body body) {
    spread_work w = {.p = sv_make_reduction_plan(a), .a = a, .y = y, .factor = factor, .body = body};
    if (!a->grad_in[0] || a->in[0]->count == 0) return;
    w.inner = w.p.len[w.p.ndim - 1];
    w.rows = a->in[0]->count / w.inner;
    w.cuts = (size_t)divide_up((long)w.inner, SV_REDUCTION_PART);
    w.each = w.cuts > 1 ? 1 : SV_REDUCTION_PART / w.inner;
    sv_parallel((long)((w.rows + w.each - 1) / w.each * w.cuts), spread_piece, &w);
}

#define SPREAD(name, slope)                                                                                            \
    SV_LOOP(                                                                                                           \
        name,                                                                                                          \
        (size_t n, const sv_real *X, const sv_real *G, const sv_real *Y, size_t s, const sv_real *factor, sv_real *T), \
        (n, X, G, Y, s, factor, T)) {                                                                                  \
        const sv_real f = *factor;                                                                                     \
        if (s == 0)                                                                                                    \
            for (size_t i = 0; i < n; i++) {                                                                           \
                const sv_real x = X[i], g = G[0], y = Y[0];                                                            \
                (void)x, (void)y;                                                                                      \
                T[i] = (slope);                                                                                        \
            }                                                                                                          \
        else                                                                                                           \
            for (size_t i = 0; i < n; i++) {                                                                           \
                const sv_real x = X[i], g = G[i * s], y = Y[i * s];                                                    \
                (void)x, (void)y;                                                                                      \
                T[i] = (slope);                                                                                        \
            }                                                                                                          \
    }

SPREAD(spread_sum, f *g)
SPREAD(spread_var, f *g *(x - y))
SPREAD(spread_lse, f *g *sv_exp(x - y))

static void sum_backward(sv_args *a) { spread(a, NULL, 1, spread_sum); }

static void mean_backward(sv_args *a) {
    spread(a, NULL, (sv_real)(1 / (double)sv_make_reduction_plan(a).reduced_count), spread_sum);
}

static void var_backward(sv_args *a) {
    spread(a, a->aux[0], (sv_real)(2 / ((double)sv_make_reduction_plan(a).reduced_count - a->opt[SV_OPT_CORRECTION])),
           spread_var);
}

static void logsumexp_backward(sv_args *a) { spread(a, a->out->data, 1, spread_lse); }

/* The whole gradient of a result goes to the number it is. */
static void extremum_backward(sv_args *a) {
    const sv_tensor *x = a->in[0];
    if (!a->grad_in[0]) return;
    memset(a->grad_in[0], 0, x->count * sizeof(sv_real));
    sv_reduction_plan p = sv_make_reduction_plan(a);
    size_t results = p.reduced_count ? x->count / p.reduced_count : 0;
    for (size_t o = 0; o < results; o++) {
        uint32_t number;
        memcpy(&number, a->aux[0] + o, sizeof number);
        size_t at = 0, step = 1;
        for (int k = p.ndim - 1; k >= 0; step *= p.len[k], k--)
            at += step * (p.reduced[k] ? number / p.number[k] % p.len[k] : o / p.out[k] % p.len[k]);
        a->grad_in[0][at] = a->grad_out[o];
    }
}

#define AXES "x; axes:axes?, keepdims:bool=false"
#define OVER " over `axes` (none given: all); keepdims leaves them as axes of one."

const sv_op sv_ops_reduce[] = {
    {"sum", AXES, reduce_shape, sum_forward, sum_backward, SV_OP_LAYOUT_FREE, "Sum" OVER, "r(2, 3, 4), {1, 3}"},
    {"mean", AXES, nonempty_shape, mean_forward, mean_backward, SV_OP_LAYOUT_FREE, "Mean" OVER, "r(2, 3, 4), 2, true"},
    {"max", AXES, extremum_shape, max_forward, extremum_backward, 0,
     "Largest number" OVER " The gradient goes to the first of equals; NaN is larger than any number.",
     "r(2, 3, 4), {1, 3}"},
    {"min", AXES, extremum_shape, min_forward, extremum_backward, 0,
     "Smallest number" OVER " The gradient goes to the first of equals; NaN is smaller than any number.",
     "r(2, 3, 4), 2"},
    {"argmax", AXES, arg_shape, argmax_forward, NULL, SV_OP_NO_GRAD,
     "Index, from 1 and row-major within the reduced axes, of the largest number" OVER " The first of equals.",
     "r(2, 3), 2"},
    {"argmin", AXES, arg_shape, argmin_forward, NULL, SV_OP_NO_GRAD,
     "Index, from 1 and row-major within the reduced axes, of the smallest number" OVER " The first of equals.",
     "r(2, 3), 2"},
    {"var", AXES ", correction:int=1", var_shape, var_forward, var_backward, SV_OP_LAYOUT_FREE,
     "Variance, the squared distances from the mean divided by count - correction," OVER, "r(2, 3, 4), {2, 3}"},
    {"logsumexp", AXES, nonempty_shape, logsumexp_forward, logsumexp_backward, SV_OP_LAYOUT_FREE,
     "log(sum(exp(x))), without overflow," OVER, "r(2, 3, 4), {1, 2}"},
    {0},
};
