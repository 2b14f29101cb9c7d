/* location_scale.c: distribution functions of truncated logistic distributions, of some columns of a state: a spline
 * flow's step to a location and a scale.
 *
 * With t = (u - m) / s, a = -m / s, b = (1 - m) / s and S the logistic function, w = (S(t) - S(a)) / (S(b) - S(a))
 * takes [0, 1] to itself, and log dw/du = log S(t) + log S(-t) - log s - log (S(b) - S(a)). The difference is taken as
 * S(b) S(-a) (1 - exp(-1 / s)), without cancellation. Numbers pass in double precision: far from the location S is
 * smaller than single precision holds. */
#include "../kernels/loops.h"
#include "../simvae.h"
#include "coupling.h"

#include <math.h>
#include <string.h>

enum { STATE, PARAMETERS, COLUMNS };
enum { INVERSE }; /* option */
enum { PIECE = 64 };

/* How far beyond [0, 1] a location may lie, for densities that fall from an end, and the least scale. Parameters of 0
 * are a location of 0.5 and a scale of 1, an almost uniform density. */
static const double BEYOND = 0.1, LEAST = 2e-4, SHIFT = 0.54132485461291806 /* log(e - 1) */;

static const double FLAT = 1e-30; /* a slope of less has no inverse: the number was clamped */

/* `each` rows of the state share one of the parameters. */
typedef struct {
    const sv_args *a;
    bool inverse;
    long rows, width, columns, each, pieces;
} job;

static job make_job(const sv_args *a) {
    const sv_tensor *state = a->in[STATE], *p = a->in[PARAMETERS];
    job j = {
        .a = a, .inverse = a->opt[INVERSE] != 0, .rows = (long)state->shape[0], .width = (long)state->shape[1] - 1};
    j.columns = (long)p->shape[1] / 2;
    j.each = sv_coupling_each(state, p);
    j.pieces = divide_up((long)p->shape[0], sv_max(1, PIECE / sv_max(1, j.each)));
    return j;
}

static bool location_scale_shape(sv_args *a) {
    const sv_tensor *state = a->in[STATE], *p = a->in[PARAMETERS], *columns = a->in[COLUMNS];
    if (!sv_coupling_state(a, state, columns)) return false;
    size_t marked = 0;
    for (size_t d = 0; d < columns->count; d++) marked += columns->data[d] == 1;
    if (marked == 0) return sv_fail(a, "columns must be 1 for one column or more");
    if (p->ndim != 2 || p->shape[1] != 2 * marked) return sv_fail(a, "parameters must be (n, %zu)", 2 * marked);
    return sv_coupling_rows(a, state, p, "parameters") && sv_same_shape(a, state);
}

static double softplus(double x) { return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)); }
static double logistic(double x) { return x > 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x)); }

/* What all rows with the same parameters share. */
typedef struct {
    double m, s, a, b;
    double fall, log_fall;    /* exp(-1 / s) - 1, log -fall */
    double log_gap;           /* log (S(b) - S(a)) */
    double below, above, gap; /* S(a), S(-b), S(b) - S(a) */
    double log_s, by_raw_m, by_raw_s;
} curve;

static curve curve_of(const sv_real *raw) {
    double bent = tanh((double)raw[0]), shifted = (double)raw[1] + SHIFT;
    curve c = {.m = 0.5 + (0.5 + BEYOND) * bent, .s = LEAST + softplus(shifted)};
    c.a = -c.m / c.s;
    c.b = (1 - c.m) / c.s;
    c.fall = expm1(-1 / c.s);
    c.log_fall = log(-c.fall);
    c.log_gap = c.log_fall - softplus(-c.b) - softplus(c.a);
    c.below = logistic(c.a);
    c.above = logistic(-c.b);
    c.gap = exp(c.log_gap);
    c.log_s = log(c.s);
    c.by_raw_m = (0.5 + BEYOND) * (1 - bent * bent);
    c.by_raw_s = logistic(shifted);
    return c;
}

static double unit(double x) { return x > 0 ? x < 1 ? x : 1 : 0; }

/* log dw/du at t. */
static double log_slope(const curve *c, double t) { return -softplus(t) - softplus(-t) - c->log_s - c->log_gap; }

/* (S(t) - S(a)) / (S(b) - S(a)), S(t) - S(a) as S(t) S(-a) (1 - exp(-u / s)). */
static double share(const curve *c, double u, double t) {
    return unit(exp(softplus(-c->b) - softplus(-t)) * (expm1(-u / c->s) / c->fall));
}

static double place(const curve *c, double w) {
    return unit(c->m + c->s * (log(c->below + w * c->gap) - log(c->above + (1 - w) * c->gap)));
}

static void rows_of(const job *j, long piece, long *from, long *to) {
    long per = sv_max(1, PIECE / sv_max(1, j->each));
    *from = piece * per;
    *to = sv_min(*from + per, (long)j->a->in[PARAMETERS]->shape[0]);
}

static void forward_piece(void *arg, long piece, int worker) {
    (void)worker;
    const job *j = arg;
    const sv_real *p = j->a->in[PARAMETERS]->data, *marks = j->a->in[COLUMNS]->data;
    long from, to, stride = j->width + 1, c = 0;
    rows_of(j, piece, &from, &to);
    size_t size = (size_t)((to - from) * j->each * stride) * sizeof(sv_real);
    memcpy(j->a->out->data + from * j->each * stride, j->a->in[STATE]->data + from * j->each * stride, size);
    for (long d = 0; d < j->width; d++) {
        if (marks[d] != 1) continue;
        for (long q = from; q < to; q++) {
            curve k = curve_of(p + (q * j->columns + c) * 2);
            sv_real *row = j->a->out->data + q * j->each * stride;
            for (long r = 0; r < j->each; r++, row += stride) {
                double given = unit((double)row[d]), u = j->inverse ? place(&k, given) : given, t = (u - k.m) / k.s;
                row[d] = (sv_real)(j->inverse ? u : share(&k, u, t));
                row[j->width] += (sv_real)(j->inverse ? -log_slope(&k, t) : log_slope(&k, t));
            }
        }
        c++;
    }
}

/* ---- gradients ------------------------------------------------------------------------------- */

/* Derivatives of w and of log dw/du at u, by u, m and s. */
typedef struct {
    double w_u, w_m, w_s, log_u, log_m, log_s;
} slopes;

/* Slopes of S at a and b, over S(b) - S(a). */
typedef struct {
    double a, b;
} ends;

static ends ends_of(const curve *c) {
    return (ends){.a = exp(softplus(-c->b) - softplus(-c->a) - c->log_fall),
                  .b = exp(softplus(c->a) - softplus(c->b) - c->log_fall)};
}

static slopes slopes_at(const curve *c, const ends *at, double u) {
    double t = (u - c->m) / c->s, w = share(c, u, t), by_t = exp(log_slope(c, t) + c->log_s);
    double by_a = -at->a * (1 - w), by_b = -w * at->b, curved = 1 - 2 * logistic(t);
    return (slopes){
        .w_u = by_t / c->s,
        .w_m = -(by_t + by_a + by_b) / c->s,
        .w_s = -(by_t * t + by_a * c->a + by_b * c->b) / c->s,
        .log_u = curved / c->s,
        .log_m = -(curved + at->a - at->b) / c->s,
        .log_s = -(curved * t + at->a * c->a - at->b * c->b + 1) / c->s,
    };
}

static void backward_piece(void *arg, long piece, int worker) {
    (void)worker;
    const job *j = arg;
    const sv_args *a = j->a;
    const sv_real *marks = a->in[COLUMNS]->data;
    sv_real *to_state = a->grad_in[STATE], *to_parameters = a->grad_in[PARAMETERS];
    long from, to, stride = j->width + 1, c = 0;
    rows_of(j, piece, &from, &to);
    size_t size = (size_t)((to - from) * j->each * stride) * sizeof(sv_real);
    if (to_state) memcpy(to_state + from * j->each * stride, a->grad_out + from * j->each * stride, size);
    for (long d = 0; d < j->width; d++) {
        if (marks[d] != 1) continue;
        for (long q = from; q < to; q++) {
            long at = (q * j->columns + c) * 2;
            curve k = curve_of(a->in[PARAMETERS]->data + at);
            ends slope = ends_of(&k);
            double by_m = 0, by_s = 0;
            for (long r = q * j->each; r < (q + 1) * j->each; r++) {
                double by_out = (double)a->grad_out[r * stride + d],
                       by_log = (double)a->grad_out[r * stride + j->width];
                double given = (double)(j->inverse ? a->out : a->in[STATE])->data[r * stride + d], by_u = by_out;
                slopes g = slopes_at(&k, &slope, unit(given));
                if (j->inverse) { /* du = (dw - w_m dm - w_s ds) / w_u, and the logarithm is -log dw/du */
                    by_u = g.w_u > FLAT ? (by_out - by_log * g.log_u) / g.w_u : 0;
                    by_m -= by_u * g.w_m + by_log * g.log_m;
                    by_s -= by_u * g.w_s + by_log * g.log_s;
                } else {
                    by_u = by_out * g.w_u + by_log * g.log_u;
                    by_m += by_out * g.w_m + by_log * g.log_m;
                    by_s += by_out * g.w_s + by_log * g.log_s;
                }
                if (to_state) to_state[r * stride + d] = (sv_real)by_u;
            }
            if (to_parameters) {
                to_parameters[at] = (sv_real)(by_m * k.by_raw_m);
                to_parameters[at + 1] = (sv_real)(by_s * k.by_raw_s);
            }
        }
        c++;
    }
}

static void location_scale_forward(sv_args *a) {
    job j = make_job(a);
    sv_parallel(j.pieces, forward_piece, &j);
}

static void location_scale_backward(sv_args *a) {
    job j = make_job(a);
    sv_parallel(j.pieces, backward_piece, &j);
    if (a->grad_in[COLUMNS]) memset(a->grad_in[COLUMNS], 0, a->in[COLUMNS]->count * sizeof(sv_real));
}

const sv_op sv_ops_location_scale[] = {
    {"location_scale", "state, parameters, columns; inverse:bool=false", location_scale_shape, location_scale_forward,
     location_scale_backward, SV_OP_INTERNAL,
     "state (R, D + 1): D numbers in [0, 1] and a sum, parameters (n, 2 C), each row for R / n rows of the state -> "
     "(R, D + 1): the C columns of which columns (D,) is 1 pass the distribution function of a logistic distribution, "
     "truncated to [0, 1], with a location and a scale; the logarithms of its slopes are added to the sum.",
     "(r(4, 4) * 0.3 + 0.5), r(2, 4), tensor{1, 0, 1}"},
    {0},
};
