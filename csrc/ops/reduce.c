/* Reductions over chosen axes.
 *
 * A reduction is planned once: axes of one are dropped and neighbours of the same
 * kind (reduced or kept) are joined, in the order of memory, so that sum over all,
 * over the last axes and over the first one are loops over one, two and two axes.
 * The innermost joined axis decides the loop: a run of adjacent numbers that goes to
 * one result, or one that is added number by number to adjacent results.
 *
 * Long reductions are cut into parts of a fixed size; the parts are kept in double
 * and put together in order, whoever computed them: results do not depend on the
 * number of threads. */
#include "axes.h"

#include <stdlib.h>

enum { OPT_AXES, OPT_KEEPDIMS, OPT_CORRECTION };
enum { COLUMNS = 256, PART = 1 << 14 };

typedef struct {
    int ndim; /* joined axes */
    bool reduced[SV_MAX_DIM];
    size_t len[SV_MAX_DIM];
    size_t out[SV_MAX_DIM];    /* step in the result; 0 where reduced */
    size_t number[SV_MAX_DIM]; /* step of the row-major index within the reduced axes; 0 where kept */
    size_t reduced_count;
} plan;

/* ---- shapes and plans ------------------------------------------------------------ */

static bool marked_axes(sv_args *a, bool *reduced) {
    const sv_tensor *x = a->in[0];
    const sv_list *axes = &a->list[OPT_AXES];
    for (int i = 0; i < SV_MAX_DIM; i++) reduced[i] = axes->n == 0;
    for (int i = 0; i < axes->n; i++) {
        int axis = 0;
        if (!sv_axis(a, axes->at[i], x->ndim, &axis)) return false;
        if (reduced[axis]) return sv_fail(a, "axis %d is given twice", axis + 1);
        reduced[axis] = true;
    }
    return true;
}

static bool reduced_shape(sv_args *a) {
    bool reduced[SV_MAX_DIM];
    const sv_tensor *x = a->in[0];
    if (!marked_axes(a, reduced)) return false;
    a->ndim = 0;
    for (int i = 0; i < x->ndim; i++)
        if (!reduced[i] || a->opt[OPT_KEEPDIMS] != 0) a->shape[a->ndim++] = reduced[i] ? 1 : x->shape[i];
    return true;
}

static plan make_plan(sv_args *a) {
    plan p = {.reduced_count = 1};
    const sv_tensor *x = a->in[0];
    bool reduced[SV_MAX_DIM];
    size_t out_step[SV_MAX_DIM], number_step[SV_MAX_DIM];
    bool last = x->layout == SV_CHANNELS_LAST, out_last = last && a->ndim == 4;
    static const int memory_order[4] = {0, 2, 3, 1};
    marked_axes(a, reduced);
    size_t step = 1;
    for (int k = x->ndim - 1; k >= 0; k--) { /* the result's memory, where it keeps x's axes */
        int axis = out_last ? memory_order[k] : k;
        out_step[axis] = reduced[axis] ? 0 : step;
        if (!reduced[axis]) step *= x->shape[axis];
    }
    for (int axis = x->ndim - 1; axis >= 0; axis--) {
        number_step[axis] = reduced[axis] ? p.reduced_count : 0;
        if (reduced[axis]) p.reduced_count *= x->shape[axis];
    }
    for (int k = 0; k < x->ndim; k++) {
        int axis = last ? memory_order[k] : k, to = p.ndim - 1;
        size_t len = x->shape[axis];
        if (len == 1) continue;
        bool joins = to >= 0 && p.reduced[to] == reduced[axis] && p.out[to] == out_step[axis] * len &&
                     p.number[to] == number_step[axis] * len;
        if (!joins) {
            to = p.ndim++;
            p.len[to] = 1;
            p.reduced[to] = reduced[axis];
        }
        p.len[to] *= len;
        p.out[to] = out_step[axis];
        p.number[to] = number_step[axis];
    }
    if (p.ndim == 0) { /* a single number */
        p.ndim = 1;
        p.reduced[0] = true;
        p.len[0] = 1;
        p.number[0] = 1;
    }
    return p;
}

/* ---- the loops of each kind ------------------------------------------------------- */

enum kind { SUM, SQUARES, EXPONENTIALS, MAX, MIN };

/* What is known of one result while it grows: v, and for MAX and MIN the index
 * (from 0, row-major in the reduced axes) of the number it is. */
typedef struct {
    double v;
    uint64_t at;
} state;

static state nothing(enum kind kind) {
    return (state){kind == MAX ? -INFINITY : kind == MIN ? INFINITY : 0, UINT64_MAX};
}

/* NaN wins over numbers; of equals the first does. */
static inline void compare(state *s, double v, uint64_t at, bool max) {
    bool nan = v != v, was = s->v != s->v;
    if (nan ? !was || at < s->at : !was && (v == s->v ? at < s->at : max ? v > s->v : v < s->v)) {
        s->v = v;
        s->at = at;
    }
}

static void merge(state *s, state part, enum kind kind) {
    if (kind == MAX || kind == MIN) {
        if (part.at != UINT64_MAX) compare(s, part.v, part.at, kind == MAX);
    } else
        s->v += part.v;
}

/* A run of n adjacent numbers to one result. */
SV_LOOP_DOUBLE(run_sum, (size_t n, const sv_real *x), (n, x)) { return sv_sum(n, x); }

SV_LOOP_DOUBLE(run_squares, (size_t n, const sv_real *x, sv_real centre), (n, x, centre)) {
    double sum = 0;
    sv_real tile[COLUMNS];
    for (size_t from = 0; from < n; from += COLUMNS) {
        size_t m = n - from < COLUMNS ? n - from : COLUMNS;
        for (size_t i = 0; i < m; i++) tile[i] = (x[from + i] - centre) * (x[from + i] - centre);
        sum += sv_sum(m, tile);
    }
    return sum;
}

SV_LOOP_DOUBLE(run_exponentials, (size_t n, const sv_real *x, sv_real centre), (n, x, centre)) {
    double sum = 0;
    sv_real tile[COLUMNS];
    for (size_t from = 0; from < n; from += COLUMNS) {
        size_t m = n - from < COLUMNS ? n - from : COLUMNS;
        for (size_t i = 0; i < m; i++) tile[i] = sv_exp(x[from + i] - centre);
        sum += sv_sum(m, tile);
    }
    return sum;
}

static void add_run(enum kind kind, size_t n, const sv_real *x, sv_real centre, uint64_t at, size_t step, state *s) {
    switch (kind) {
    case SUM:
        s->v += run_sum(n, x);
        break;
    case SQUARES:
        s->v += run_squares(n, x, centre);
        break;
    case EXPONENTIALS:
        s->v += run_exponentials(n, x, centre);
        break;
    case MAX:
    case MIN:
        for (size_t i = 0; i < n; i++) compare(s, (double)x[i], at + i * step, kind == MAX);
    }
}

/* n adjacent numbers, each to its own result. */
SV_LOOP(row_sum, (size_t n, const sv_real *x, double *v), (n, x, v)) {
    for (size_t i = 0; i < n; i++) v[i] += (double)x[i];
}

SV_LOOP(row_squares, (size_t n, const sv_real *x, const sv_real *centre, double *v), (n, x, centre, v)) {
    for (size_t i = 0; i < n; i++) {
        sv_real d = x[i] - centre[i];
        v[i] += (double)(d * d);
    }
}

SV_LOOP(row_exponentials, (size_t n, const sv_real *x, const sv_real *centre, double *v), (n, x, centre, v)) {
    for (size_t i = 0; i < n; i++) v[i] += (double)sv_exp(x[i] - centre[i]);
}

/* ---- running a plan ---------------------------------------------------------------- */

typedef struct {
    plan p;
    enum kind kind;
    const sv_real *x, *centre; /* centre: one per result, laid out as the results */
    size_t heads;              /* products of the outer kept axes, */
    size_t repeats;            /* of the outer reduced axes, */
    size_t inner;              /* and the innermost axis */
    size_t parts, each;        /* a result's repeats (or its one run) are cut into parts of so many */
    size_t blocks;             /* of columns, if the innermost axis is kept */
    state *state;              /* [part][result] */
    size_t results;
} reduction;

/* Offsets of combination i of the outer axes of one kind. */
static void locate(const plan *p, bool reduced, size_t i, size_t *x, size_t *out, uint64_t *number) {
    size_t step = p->len[p->ndim - 1];
    for (int k = p->ndim - 2; k >= 0; step *= p->len[k], k--) {
        if (p->reduced[k] != reduced) continue;
        size_t at = i % p->len[k];
        i /= p->len[k];
        *x += at * step;
        *out += at * p->out[k];
        *number += at * p->number[k];
    }
}

static void reduce_run(const reduction *r, size_t head, size_t part) {
    const plan *p = &r->p;
    size_t base = 0, out = 0;
    uint64_t number = 0;
    locate(p, false, head, &base, &out, &number);
    state s = nothing(r->kind);
    sv_real centre = r->centre ? r->centre[out] : 0;
    const size_t step = p->number[p->ndim - 1];
    if (r->repeats == 1) { /* part of one run */
        size_t from = part * r->each, to = from + r->each < r->inner ? from + r->each : r->inner;
        add_run(r->kind, to - from, r->x + base + from, centre, from * step, step, &s);
    } else {
        size_t end = (part + 1) * r->each < r->repeats ? (part + 1) * r->each : r->repeats;
        for (size_t i = part * r->each; i < end; i++) {
            size_t at = base, none = 0;
            uint64_t first = 0;
            locate(p, true, i, &at, &none, &first);
            add_run(r->kind, r->inner, r->x + at, centre, first, step, &s);
        }
    }
    r->state[part * r->results + out] = s;
}

static void reduce_columns(const reduction *r, size_t head, size_t part, size_t block) {
    const plan *p = &r->p;
    size_t base = 0, out = 0, from = block * COLUMNS, n = r->inner - from < COLUMNS ? r->inner - from : COLUMNS;
    uint64_t number = 0;
    const size_t out_step = p->out[p->ndim - 1];
    locate(p, false, head, &base, &out, &number);
    double v[COLUMNS];
    uint64_t index[COLUMNS];
    sv_real centre[COLUMNS];
    for (size_t i = 0; i < n; i++) {
        state s = nothing(r->kind);
        v[i] = s.v;
        index[i] = s.at;
        centre[i] = r->centre ? r->centre[out + (from + i) * out_step] : 0;
    }
    size_t end = (part + 1) * r->each < r->repeats ? (part + 1) * r->each : r->repeats;
    for (size_t k = part * r->each; k < end; k++) {
        size_t at = base + from, none = 0;
        uint64_t first = 0;
        locate(p, true, k, &at, &none, &first);
        const sv_real *x = r->x + at;
        switch (r->kind) {
        case SUM:
            row_sum(n, x, v);
            break;
        case SQUARES:
            row_squares(n, x, centre, v);
            break;
        case EXPONENTIALS:
            row_exponentials(n, x, centre, v);
            break;
        case MAX:
        case MIN:
            for (size_t i = 0; i < n; i++) {
                state s = {v[i], index[i]};
                compare(&s, (double)x[i], first, r->kind == MAX);
                v[i] = s.v;
                index[i] = s.at;
            }
        }
    }
    for (size_t i = 0; i < n; i++) r->state[part * r->results + out + (from + i) * out_step] = (state){v[i], index[i]};
}

static void reduce_piece(void *arg, long i, int worker) {
    (void)worker;
    const reduction *r = arg;
    size_t block = (size_t)i % r->blocks, part = (size_t)i / r->blocks % r->parts,
           head = (size_t)i / r->blocks / r->parts;
    if (r->p.reduced[r->p.ndim - 1])
        reduce_run(r, head, part);
    else
        reduce_columns(r, head, part, block);
}

static reduction plan_reduction(sv_args *a) {
    reduction r = {.p = make_plan(a), .x = a->in[0]->data, .heads = 1, .repeats = 1, .blocks = 1, .results = 1};
    const plan *p = &r.p;
    r.inner = p->len[p->ndim - 1];
    for (int k = 0; k < p->ndim - 1; k++) {
        if (p->reduced[k])
            r.repeats *= p->len[k];
        else
            r.heads *= p->len[k];
    }
    bool run = p->reduced[p->ndim - 1];
    r.results = r.heads * (run ? 1 : r.inner);
    if (!run) r.blocks = (r.inner + COLUMNS - 1) / COLUMNS;
    if (run && r.repeats == 1) {
        r.each = PART;
        r.parts = (r.inner + PART - 1) / PART;
    } else {
        size_t width = run || r.inner < COLUMNS ? r.inner : COLUMNS;
        r.each = width && width < PART ? PART / width : 1;
        r.parts = (r.repeats + r.each - 1) / r.each;
    }
    if (r.parts == 0) r.parts = 1;
    return r;
}

/* The results, in r->state[0 … results-1]. */
static void run_reduction(reduction *r, enum kind kind, const sv_real *centre) {
    r->kind = kind;
    r->centre = centre;
    sv_parallel((long)(r->heads * r->parts * r->blocks), reduce_piece, r);
    for (size_t part = 1; part < r->parts; part++)
        for (size_t o = 0; o < r->results; o++) merge(&r->state[o], r->state[part * r->results + o], kind);
}

/* ---- reductions: shape and forward -------------------------------------------------- */

static bool reduce_shape(sv_args *a) {
    if (!reduced_shape(a)) return false;
    reduction r = plan_reduction(a);
    size_t states = r.parts * r.results;
    a->work_count = (states ? states : 1) * (sizeof(state) / sizeof(sv_real));
    return true;
}

static bool nonempty_shape(sv_args *a) {
    if (!reduce_shape(a)) return false;
    if (plan_reduction(a).p.reduced_count == 0) return sv_fail(a, "there is nothing to reduce");
    return true;
}

static reduction start(sv_args *a) {
    reduction r = plan_reduction(a);
    r.state = (state *)(void *)a->work;
    return r;
}

static void sum_forward(sv_args *a) {
    reduction r = start(a);
    run_reduction(&r, SUM, NULL);
    for (size_t o = 0; o < r.results; o++) a->out->data[o] = (sv_real)r.state[o].v;
}

static void mean_forward(sv_args *a) {
    reduction r = start(a);
    run_reduction(&r, SUM, NULL);
    for (size_t o = 0; o < r.results; o++) a->out->data[o] = (sv_real)(r.state[o].v / (double)r.p.reduced_count);
}

static bool extremum_shape(sv_args *a) {
    if (!nonempty_shape(a)) return false;
    reduction r = plan_reduction(a);
    if (r.p.reduced_count > UINT32_MAX) return sv_fail(a, "reduces more than 2^32 numbers");
    a->aux_count[0] = r.results ? r.results : 1; /* a 32-bit index each */
    return true;
}

static void extremum_forward(sv_args *a, enum kind kind) {
    reduction r = start(a);
    run_reduction(&r, kind, NULL);
    for (size_t o = 0; o < r.results; o++) {
        uint32_t at = (uint32_t)r.state[o].at;
        a->out->data[o] = (sv_real)r.state[o].v;
        memcpy(a->aux[0] + o, &at, sizeof at);
    }
}

static void max_forward(sv_args *a) { extremum_forward(a, MAX); }
static void min_forward(sv_args *a) { extremum_forward(a, MIN); }

static bool arg_shape(sv_args *a) {
    if (!nonempty_shape(a)) return false;
    if (sizeof(sv_real) == 4 && plan_reduction(a).p.reduced_count > (size_t)1 << 24)
        return sv_fail(a, "an index beyond 2^24 is not a float; reduce fewer axes");
    return true;
}

static void arg_forward(sv_args *a, enum kind kind) {
    reduction r = start(a);
    run_reduction(&r, kind, NULL);
    for (size_t o = 0; o < r.results; o++) a->out->data[o] = (sv_real)(r.state[o].at + 1);
}

static void argmax_forward(sv_args *a) { arg_forward(a, MAX); }
static void argmin_forward(sv_args *a) { arg_forward(a, MIN); }

static bool var_shape(sv_args *a) {
    if (!nonempty_shape(a)) return false;
    reduction r = plan_reduction(a);
    if (a->opt[OPT_CORRECTION] < 0 || (double)r.p.reduced_count <= a->opt[OPT_CORRECTION])
        return sv_fail(a, "correction %g of %zu numbers", a->opt[OPT_CORRECTION], r.p.reduced_count);
    a->aux_count[0] = r.results ? r.results : 1; /* the means */
    return true;
}

static void var_forward(sv_args *a) {
    reduction r = start(a);
    run_reduction(&r, SUM, NULL);
    for (size_t o = 0; o < r.results; o++) a->aux[0][o] = (sv_real)(r.state[o].v / (double)r.p.reduced_count);
    run_reduction(&r, SQUARES, a->aux[0]);
    for (size_t o = 0; o < r.results; o++)
        a->out->data[o] = (sv_real)(r.state[o].v / ((double)r.p.reduced_count - a->opt[OPT_CORRECTION]));
}

/* Where the maximum is infinite, the sum is centred at 0: -inf and inf come out as such. */
static void logsumexp_forward(sv_args *a) {
    reduction r = start(a);
    sv_real *max = a->out->data;
    run_reduction(&r, MAX, NULL);
    for (size_t o = 0; o < r.results; o++) {
        double v = r.state[o].v;
        max[o] = isinf(v) ? 0 : (sv_real)v;
    }
    run_reduction(&r, EXPONENTIALS, max);
    for (size_t o = 0; o < r.results; o++) max[o] = (sv_real)((double)max[o] + log(r.state[o].v));
}

/* ---- reductions: backward ----------------------------------------------------------- */

/* grad_in of n adjacent numbers x with one result each (step 1) or in all (step 0). */
typedef void (*spread_body)(size_t n, const sv_real *x, const sv_real *g, const sv_real *y, size_t step,
                            const sv_real *factor, sv_real *to);

typedef struct {
    plan p;
    const sv_args *a;
    const sv_real *y; /* one per result, or NULL */
    sv_real factor;
    spread_body body;
    size_t rows, inner, each, cuts; /* outer combinations; innermost axis; rows a piece, pieces a row */
} spread_work;

static void spread_piece(void *arg, long i, int worker) {
    (void)worker;
    const spread_work *w = arg;
    const plan *p = &w->p;
    size_t first = (size_t)i / w->cuts * w->each, last = first + w->each < w->rows ? first + w->each : w->rows;
    size_t from = (size_t)i % w->cuts * PART, n = w->inner - from < PART ? w->inner - from : PART;
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
    spread_work w = {.p = make_plan(a), .a = a, .y = y, .factor = factor, .body = body};
    if (!a->grad_in[0] || a->in[0]->count == 0) return;
    w.inner = w.p.len[w.p.ndim - 1];
    w.rows = a->in[0]->count / w.inner;
    w.cuts = (w.inner + PART - 1) / PART;
    w.each = w.cuts > 1 ? 1 : PART / w.inner;
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
    spread(a, NULL, (sv_real)(1 / (double)make_plan(a).reduced_count), spread_sum);
}

static void var_backward(sv_args *a) {
    spread(a, a->aux[0], (sv_real)(2 / ((double)make_plan(a).reduced_count - a->opt[OPT_CORRECTION])), spread_var);
}

static void logsumexp_backward(sv_args *a) { spread(a, a->out->data, 1, spread_lse); }

/* The whole gradient of a result goes to the number it is. */
static void extremum_backward(sv_args *a) {
    const sv_tensor *x = a->in[0];
    if (!a->grad_in[0]) return;
    memset(a->grad_in[0], 0, x->count * sizeof(sv_real));
    plan p = make_plan(a);
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
