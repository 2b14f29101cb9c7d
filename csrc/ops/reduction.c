/* reduction.c: planning and running reductions over chosen axes.
 *
 * A reduction is planned once: axes of one are dropped and neighbours of the same
 * kind (reduced or kept) are joined, in the order of memory, so that sums over all
 * axes, over the last and over the first are loops over one, two and two axes.
 * The innermost joined axis decides the loop: a run of adjacent numbers that goes to
 * one result, or one that is added number by number to adjacent results.
 *
 * Long reductions are divided into parts of a fixed size, whose partial results are
 * doubles and combined in order, so that results do not depend on the number of
 * threads. */
#include "reduction.h"
#include "rows.h"

#include <math.h>

enum { COLUMNS = 256 };

/* ---- shapes and plans ------------------------------------------------------------ */

static bool marked_axes(sv_args *a, bool *reduced) {
    const sv_tensor *x = a->in[0];
    const sv_list *axes = &a->list[SV_OPT_AXES];
    for (int i = 0; i < SV_MAX_DIM; i++) reduced[i] = axes->n == 0;
    for (int i = 0; i < axes->n; i++) {
        int axis = 0;
        if (!sv_axis(a, axes->at[i], x->ndim, &axis)) return false;
        if (reduced[axis]) return sv_fail(a, "axis %d is given twice", axis + 1);
        reduced[axis] = true;
    }
    return true;
}

bool sv_reduced_shape(sv_args *a) {
    bool reduced[SV_MAX_DIM];
    const sv_tensor *x = a->in[0];
    if (!marked_axes(a, reduced)) return false;
    a->ndim = 0;
    for (int i = 0; i < x->ndim; i++)
        if (!reduced[i] || a->opt[SV_OPT_KEEPDIMS] != 0) a->shape[a->ndim++] = reduced[i] ? 1 : x->shape[i];
    return true;
}

sv_reduction_plan sv_make_reduction_plan(sv_args *a) {
    sv_reduction_plan p = {.reduced_count = 1};
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

static sv_reduction_state nothing(enum sv_reduction_kind kind) {
    return (sv_reduction_state){kind == SV_MAX ? -INFINITY : kind == SV_MIN ? INFINITY : 0, UINT64_MAX};
}

/* NaN wins over numbers; of equals the first does. */
static inline void compare(sv_reduction_state *s, double v, uint64_t at, bool max) {
    bool nan = v != v, was = s->v != s->v;
    if (nan ? !was || at < s->at : !was && (v == s->v ? at < s->at : max ? v > s->v : v < s->v)) {
        s->v = v;
        s->at = at;
    }
}

static void merge(sv_reduction_state *s, sv_reduction_state part, enum sv_reduction_kind kind) {
    if (kind == SV_MAX || kind == SV_MIN) {
        if (part.at != UINT64_MAX) compare(s, part.v, part.at, kind == SV_MAX);
    } else
        s->v += part.v;
}

/* A run of n adjacent numbers to one result. */
SV_LOOP_DOUBLE(run_sum, (size_t n, const sv_real *x), (n, x)) { return sv_sum(n, x); }

double sv_run_sum(size_t n, const sv_real *x) { return run_sum(n, x); }

SV_LOOP_DOUBLE(run_squares, (size_t n, const sv_real *x, sv_real centre), (n, x, centre)) {
    return sv_row_squares(n, x, centre);
}

SV_LOOP_DOUBLE(run_exponentials, (size_t n, const sv_real *x, sv_real centre), (n, x, centre)) {
    return sv_row_exponentials(n, x, centre);
}

/* The extremum of a run as the first of its equals, NaN if there is one. */
SV_LOOP(run_extremum, (size_t n, const sv_real *x, sv_real sign, size_t *at), (n, x, sign, at)) {
    const sv_real most = sv_row_most(n, x, sign);
    size_t from = 0;
    for (int nan = 1; nan >= 0; nan--)
        for (from = 0; from < n; from += COLUMNS) {
            const size_t m = n - from < COLUMNS ? n - from : COLUMNS;
            unsigned found = 0;
            for (size_t i = 0; i < m; i++) {
                const sv_real v = x[from + i];
                found |= nan ? v != v : sign * v == most;
            }
            if (!found) continue;
            for (*at = from; nan ? x[*at] == x[*at] : sign * x[*at] != most;) ++*at;
            return;
        }
}

static void add_run(enum sv_reduction_kind kind, size_t n, const sv_real *x, sv_real centre, uint64_t at, size_t step,
                    sv_reduction_state *s) {
    switch (kind) {
    case SV_SUM:
        s->v += run_sum(n, x);
        break;
    case SV_SQUARES:
        s->v += run_squares(n, x, centre);
        break;
    case SV_EXPONENTIALS:
        s->v += run_exponentials(n, x, centre);
        break;
    case SV_MAX:
    case SV_MIN: {
        size_t i = 0;
        if (n == 0) break;
        run_extremum(n, x, kind == SV_MAX ? 1 : -1, &i);
        compare(s, (double)x[i], at + i * step, kind == SV_MAX);
    }
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

/* Offsets of combination i of the outer axes of one kind. */
static void locate(const sv_reduction_plan *p, bool reduced, size_t i, size_t *x, size_t *out, uint64_t *number) {
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

static void reduce_run(const sv_reduction *r, size_t head, size_t part) {
    const sv_reduction_plan *p = &r->p;
    size_t base = 0, out = 0;
    uint64_t number = 0;
    locate(p, false, head, &base, &out, &number);
    sv_reduction_state s = nothing(r->kind);
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

/* Extrema of adjacent numbers so far, v = sign * x, and which repeat they are of; NaN stays. */
SV_LOOP(row_extremum, (size_t n, const sv_real *x, sv_real sign, uint32_t repeat, sv_real *v, uint32_t *of),
        (n, x, sign, repeat, v, of)) {
    for (size_t i = 0; i < n; i++) {
        const sv_real new = sign *x[i], old = v[i];
        const bool more = !(new <= old) && old == old;
        v[i] = more ? new : old;
        of[i] = more ? repeat : of[i];
    }
}

/* Numbers first … first + n - 1 of the innermost axis, over the repeats k … end - 1. */
typedef struct {
    size_t base, first, n, k, end;
    sv_reduction_state *to;
    size_t step; /* of to */
} columns;

static const sv_real *locate_repeat(const sv_reduction *r, const columns *c, size_t k, uint64_t *number) {
    size_t at = c->base + c->first, none = 0;
    *number = 0;
    locate(&r->p, true, k, &at, &none, number);
    return r->x + at;
}

static void column_extrema(const sv_reduction *r, const columns *c) {
    const sv_real sign = r->kind == SV_MAX ? 1 : -1;
    sv_real v[COLUMNS];
    uint32_t of[COLUMNS];
    uint64_t number;
    for (size_t k = c->k; k < c->end; k++) {
        const sv_real *x = locate_repeat(r, c, k, &number);
        if (k == c->k)
            for (size_t i = 0; i < c->n; i++) v[i] = sign * x[i], of[i] = 0;
        else
            row_extremum(c->n, x, sign, (uint32_t)(k - c->k), v, of);
    }
    for (size_t i = 0; i < c->n; i++) {
        locate_repeat(r, c, c->k + of[i], &number);
        c->to[i * c->step] = (sv_reduction_state){(double)(sign * v[i]), number};
    }
}

static void column_sums(const sv_reduction *r, const columns *c, const sv_real *centres) {
    double v[COLUMNS] = {0};
    sv_real centre[COLUMNS];
    uint64_t number;
    for (size_t i = 0; centres && i < c->n; i++) centre[i] = centres[i * c->step];
    for (size_t k = c->k; k < c->end; k++) {
        const sv_real *x = locate_repeat(r, c, k, &number);
        if (r->kind == SV_SUM)
            row_sum(c->n, x, v);
        else if (r->kind == SV_SQUARES)
            row_squares(c->n, x, centre, v);
        else
            row_exponentials(c->n, x, centre, v);
    }
    for (size_t i = 0; i < c->n; i++) c->to[i * c->step] = (sv_reduction_state){v[i], UINT64_MAX};
}

static void reduce_columns(const sv_reduction *r, size_t head, size_t part, size_t block) {
    const sv_reduction_plan *p = &r->p;
    columns c = {.first = block * COLUMNS, .k = part * r->each, .step = p->out[p->ndim - 1]};
    size_t out = 0;
    uint64_t number = 0;
    locate(p, false, head, &c.base, &out, &number);
    out += c.first * c.step;
    c.n = r->inner - c.first < COLUMNS ? r->inner - c.first : COLUMNS;
    c.end = c.k + r->each < r->repeats ? c.k + r->each : r->repeats;
    c.to = r->state + part * r->results + out;
    if (r->kind == SV_MAX || r->kind == SV_MIN)
        column_extrema(r, &c);
    else
        column_sums(r, &c, r->centre ? r->centre + out : NULL);
}

static void reduce_piece(void *arg, long i, int worker) {
    (void)worker;
    const sv_reduction *r = arg;
    size_t block = (size_t)i % r->blocks, part = (size_t)i / r->blocks % r->parts,
           head = (size_t)i / r->blocks / r->parts;
    if (r->p.reduced[r->p.ndim - 1])
        reduce_run(r, head, part);
    else
        reduce_columns(r, head, part, block);
}

sv_reduction sv_plan_reduction(sv_args *a) {
    sv_reduction r = {
        .p = sv_make_reduction_plan(a), .x = a->in[0]->data, .heads = 1, .repeats = 1, .blocks = 1, .results = 1};
    const sv_reduction_plan *p = &r.p;
    r.inner = p->len[p->ndim - 1];
    for (int k = 0; k < p->ndim - 1; k++) {
        if (p->reduced[k])
            r.repeats *= p->len[k];
        else
            r.heads *= p->len[k];
    }
    bool run = p->reduced[p->ndim - 1];
    r.results = r.heads * (run ? 1 : r.inner);
    if (!run) r.blocks = (size_t)divide_up((long)r.inner, COLUMNS);
    if (run && r.repeats == 1) {
        r.each = SV_REDUCTION_PART;
        r.parts = (size_t)divide_up((long)r.inner, SV_REDUCTION_PART);
    } else {
        size_t width = run || r.inner < COLUMNS ? r.inner : COLUMNS;
        r.each = width && width < SV_REDUCTION_PART ? SV_REDUCTION_PART / width : 1;
        r.parts = (r.repeats + r.each - 1) / r.each;
    }
    if (r.parts == 0) r.parts = 1;
    return r;
}

void sv_run_reduction(sv_reduction *r, enum sv_reduction_kind kind, const sv_real *centre) {
    r->kind = kind;
    r->centre = centre;
    sv_parallel((long)(r->heads * r->parts * r->blocks), reduce_piece, r);
    for (size_t part = 1; part < r->parts; part++)
        for (size_t o = 0; o < r->results; o++) merge(&r->state[o], r->state[part * r->results + o], kind);
}
