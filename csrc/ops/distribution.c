/* distribution.c: the normal distribution function and its inverse, and piecewise cubics, with which other quantile
 * functions are tabulated (lua/simvae/simulator/marginal.lua). Everything is computed in double precision. */
#include "../kernels/distribution.h"
#include "../kernels/loops.h"
#include "../simvae.h"

#include <math.h>
#include <string.h>

enum { PIECE = 1024 }; /* numbers of a piece of work */

static double density(double x) { return 0.39894228040143267794 * exp(-0.5 * x * x); }

/* ---- one number to one number ---------------------------------------------------------------- */

typedef double map(const void *arg, double x, double *slope);

typedef struct {
    map *f;
    const void *arg;
    const sv_real *x, *g; /* g: NULL forward */
    sv_real *to;
    long count;
} mapping;

static void map_piece(void *arg, long piece, int worker) {
    (void)worker;
    const mapping *m = arg;
    long to = (piece + 1) * PIECE < m->count ? (piece + 1) * PIECE : m->count;
    for (long i = piece * PIECE; i < to; i++) {
        double slope = 0, y = m->f(m->arg, (double)m->x[i], m->g ? &slope : NULL);
        m->to[i] = (sv_real)(m->g ? (double)m->g[i] * slope : y);
    }
}

static void run(const sv_args *a, map *f, const void *arg, const sv_real *g, sv_real *to) {
    mapping m = {f, arg, a->in[0]->data, g, to, (long)a->in[0]->count};
    sv_parallel(divide_up(m.count, PIECE), map_piece, &m);
}

static bool map_shape(sv_args *a) { return sv_same_shape(a, a->in[0]); }

static double normal_cdf(const void *arg, double x, double *slope) {
    (void)arg;
    if (slope) *slope = density(x);
    return sv_normal_below(x);
}

static double normal_quantile(const void *arg, double u, double *slope) {
    (void)arg;
    double x = sv_normal_quantile((sv_tails){u, 1 - u});
    if (slope) *slope = 1 / density(x);
    return x;
}

static void normal_cdf_forward(sv_args *a) { run(a, normal_cdf, NULL, NULL, a->out->data); }
static void normal_cdf_backward(sv_args *a) { run(a, normal_cdf, NULL, a->grad_out, a->grad_in[0]); }
static void normal_quantile_forward(sv_args *a) { run(a, normal_quantile, NULL, NULL, a->out->data); }
static void normal_quantile_backward(sv_args *a) { run(a, normal_quantile, NULL, a->grad_out, a->grad_in[0]); }

/* ---- piecewise cubics -------------------------------------------------------------------------- */

enum { LOW, HIGH }; /* options */

static bool cubic_shape(sv_args *a) {
    const sv_tensor *values = a->in[1], *slopes = a->in[2];
    if (values->ndim != 1 || values->count < 2) return sv_fail(a, "values takes two knots or more, (n,)");
    if (slopes->ndim != 1 || slopes->count != values->count)
        return sv_fail(a, "slopes has %zu numbers, values %zu", slopes->count, values->count);
    if (!(a->opt[LOW] < a->opt[HIGH])) return sv_fail(a, "low must be below high");
    return sv_same_shape(a, a->in[0]);
}

typedef struct {
    const sv_real *values, *slopes;
    size_t knots;
    double low, step;
} cubic;

static cubic cubic_of(const sv_args *a) {
    const sv_tensor *values = a->in[1];
    return (cubic){values->data, a->in[2]->data, values->count, a->opt[LOW],
                   (a->opt[HIGH] - a->opt[LOW]) / (double)(values->count - 1)};
}

/* The knot below x, and in *s the place between it and the next one, 0 to 1. */
static size_t below(const cubic *c, double x, double *s) {
    double at = (x - c->low) / c->step, last = (double)(c->knots - 1);
    at = at > 0 ? at < last ? at : last : 0; /* of NaN: 0 */
    size_t k = (size_t)at < c->knots - 2 ? (size_t)at : c->knots - 2;
    *s = at - (double)k;
    return k;
}

/* Weights of the values and, times the step, the slopes at both knots. */
static void weights(double s, double w[4]) {
    double t = 1 - s;
    w[0] = (1 + 2 * s) * t * t, w[1] = s * s * (3 - 2 * s), w[2] = s * t * t, w[3] = -s * s * t;
}

static double cubic_at(const void *arg, double x, double *slope) {
    const cubic *c = arg;
    double s, w[4];
    size_t k = below(c, x, &s);
    double v = (double)c->values[k], rise = (double)c->values[k + 1] - v;
    double d0 = (double)c->slopes[k], d1 = (double)c->slopes[k + 1];
    if (slope) {
        bool inside = x >= c->low && x <= c->low + c->step * (double)(c->knots - 1);
        *slope = inside ? 6 * s * (1 - s) * rise / c->step + d0 * (1 - s) * (1 - 3 * s) - d1 * s * (2 - 3 * s) : 0;
    }
    weights(s, w);
    return isnan(x) ? x : v + w[1] * rise + c->step * (w[2] * d0 + w[3] * d1);
}

static void cubic_forward(sv_args *a) {
    cubic c = cubic_of(a);
    run(a, cubic_at, &c, NULL, a->out->data);
}

static void cubic_backward(sv_args *a) {
    cubic c = cubic_of(a);
    if (a->grad_in[0]) run(a, cubic_at, &c, a->grad_out, a->grad_in[0]);
    sv_real *by_value = a->grad_in[1], *by_slope = a->grad_in[2];
    if (by_value) memset(by_value, 0, c.knots * sizeof *by_value);
    if (by_slope) memset(by_slope, 0, c.knots * sizeof *by_slope);
    for (size_t i = 0; (by_value || by_slope) && i < a->in[0]->count; i++) {
        double s, w[4], g = (double)a->grad_out[i];
        size_t k = below(&c, (double)a->in[0]->data[i], &s);
        weights(s, w);
        for (int end = 0; end < 2; end++) {
            if (by_value) by_value[k + (size_t)end] += (sv_real)(g * w[end]);
            if (by_slope) by_slope[k + (size_t)end] += (sv_real)(g * w[2 + end] * c.step);
        }
    }
}

const sv_op sv_ops_distribution[] = {
    {"normal_cdf", "x", map_shape, normal_cdf_forward, normal_cdf_backward, SV_OP_LAYOUT_FREE,
     "The standard normal distribution function.", "r(2, 3)"},
    {"normal_quantile", "u", map_shape, normal_quantile_forward, normal_quantile_backward, SV_OP_LAYOUT_FREE,
     "The inverse of the standard normal distribution function (Wichura 1988, AS 241): -inf at 0, inf at 1, NaN "
     "outside.",
     "(r(2, 3) * 0.1 + 0.5)"},
    {"cubic_hermite", "x, values, slopes; low:num, high:num", cubic_shape, cubic_forward, cubic_backward, 0,
     "The piecewise cubic with values (n,) and slopes (n,) at n equidistant knots from low to high, at x of any shape, "
     "clamped to [low, high] (Hermite interpolation; Fritsch and Carlson 1980).",
     "r(2, 3), r(9), r(9), -3, 3"},
    {0},
};
