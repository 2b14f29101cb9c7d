/* location_scale.c: distribution functions of truncated logistic distributions, of some columns of a state: a spline
 * flow's step to a location and a scale.
 *
 * With t = (u - m) / s, a = -m / s, b = (1 - m) / s and S the logistic function, w = (S(t) - S(a)) / (S(b) - S(a))
 * takes [0, 1] to itself, and log dw/du = log S(t) + log S(-t) - log s - log (S(b) - S(a)). The difference is taken as
 * S(b) S(-a) (1 - exp(-1 / s)), without cancellation, and S(t) - S(a) as S(t) S(-a) (1 - exp(-u / s)). Numbers pass in
 * double precision: far from the location S is smaller than single precision holds.
 *
 * Every step is a loop over a block of numbers of one column, arrays with a lane for each. */
#include "../kernels/loops.h"
#include "../kernels/vmath.h"
#include "../simvae.h"
#include "coupling.h"

#include <math.h>
#include <string.h>

enum { STATE, PARAMETERS, COLUMNS };
enum { INVERSE };    /* option */
enum { LANES = 64 }; /* rows of a block */

typedef double lanes[LANES];

/* How far beyond [0, 1] a location may lie, for densities that fall from an end, and the least scale. Parameters of 0
 * are a location of 0.5 and a scale of 1, an almost uniform density. */
#define BEYOND 0.1
#define LEAST 2e-4
#define SHIFT 0.54132485461291806 /* log(e - 1) */

#define FLAT 1e-30 /* a slope of less has no inverse: the number was clamped */

/* `each` rows of the state share one of the parameters. */
typedef struct {
    const sv_args *a;
    bool inverse;
    long rows, width, columns, each;
} job;

static job make_job(const sv_args *a) {
    const sv_tensor *state = a->in[STATE], *p = a->in[PARAMETERS];
    job j = {
        .a = a, .inverse = a->opt[INVERSE] != 0, .rows = (long)state->shape[0], .width = (long)state->shape[1] - 1};
    j.columns = (long)p->shape[1] / 2;
    j.each = sv_coupling_each(state, p);
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

SV_INLINE double unit(double x) { return x > 0 ? x < 1 ? x : 1 : 0; }

/* What rows with the same parameters share. */
typedef struct {
    lanes m, rate;           /* 1 / s */
    lanes log_scale;         /* log s + log (S(b) - S(a)) */
    lanes whole;             /* 1 / (S(b) (1 - exp(-1 / s))) */
    lanes below, above, gap; /* S(a), S(-b), S(b) - S(a) */
    /* of the gradients alone */
    lanes end_a, end_b; /* slopes of S at a and b, over S(b) - S(a) */
    lanes by_raw_m, by_raw_s;
} curves;

enum { OF_FORWARD = 7, OF_BACKWARD = 11 }; /* arrays */
_Static_assert(sizeof(curves) == OF_BACKWARD * sizeof(lanes), "curves are arrays alone");

SV_LOOP(find_curves, (long n, const double *restrict raw_m, const double *restrict raw_s, curves *restrict c),
        (n, raw_m, raw_s, c)) {
    for (long l = 0; l < n; l++) {
        const double far = sv_expm1_below_0(-2 * fabs(raw_m[l])), size = -far / (2 + far); /* tanh |raw_m| */
        const double bent = raw_m[l] < 0 ? -size : size, shifted = raw_s[l] + SHIFT;
        const double fallen = sv_exp_double(-fabs(shifted)); /* for softplus, and its slope */
        const double s = LEAST + (shifted > 0 ? shifted : 0) + sv_log1p_unit_double(fallen);
        const double m = 0.5 + (0.5 + BEYOND) * bent, rate = 1 / s;
        const double at_a = sv_exp_double(-m * rate), at_b = sv_exp_double((m - 1) * rate); /* exp(a), exp(-b) */
        const double fall = -sv_expm1_below_0(-rate), gap = fall / ((1 + at_a) * (1 + at_b));
        c->m[l] = m;
        c->rate[l] = rate;
        c->log_scale[l] = sv_log_double(s * gap);
        c->whole[l] = (1 + at_b) / fall;
        c->below[l] = at_a / (1 + at_a);
        c->above[l] = at_b / (1 + at_b);
        c->gap[l] = gap;
        c->end_a[l] = c->below[l] * c->whole[l];
        c->end_b[l] = c->above[l] * (1 + at_a) / fall;
        c->by_raw_m[l] = (0.5 + BEYOND) * (1 - bent * bent);
        c->by_raw_s[l] = (shifted > 0 ? 1 : fallen) / (1 + fallen);
    }
}

/* w in place of u, and log dw/du. */
SV_LOOP(pass, (long n, const curves *restrict c, double *restrict number, double *restrict log_slope),
        (n, c, number, log_slope)) {
    for (long l = 0; l < n; l++) {
        const double u = unit(number[l]), t = (u - c->m[l]) * c->rate[l], size = fabs(t);
        const double tail = sv_exp_double(-size), share = (t > 0 ? 1 : tail) / (1 + tail); /* S(t) */
        number[l] = unit(share * c->whole[l] * -sv_expm1_below_0(-u * c->rate[l]));
        log_slope[l] = -size - 2 * sv_log1p_unit_double(tail) - c->log_scale[l];
    }
}

/* u in place of w, and log du/dw. */
SV_LOOP(pass_back, (long n, const curves *restrict c, double *restrict number, double *restrict log_slope),
        (n, c, number, log_slope)) {
    for (long l = 0; l < n; l++) {
        const double w = unit(number[l]), m = c->m[l], gap = c->gap[l];
        const double odds = (c->below[l] + w * gap) / (c->above[l] + (1 - w) * gap);
        const double u = unit(m + sv_log_double(odds) / c->rate[l]), size = fabs(u - m) * c->rate[l];
        number[l] = u;
        log_slope[l] = size + 2 * sv_log1p_unit_double(sv_exp_double(-size)) + c->log_scale[l];
    }
}

/* ---- blocks ------------------------------------------------------------------------------------ */

/* The curves of n rows from row on of column c of those that pass, and so many arrays of them. Rows that share
 * parameters have them found once. */
static void curves_of(const job *j, long c, long row, long n, int arrays, curves *of) {
    const long first = row / j->each, count = (row + n - 1) / j->each - first + 1;
    const sv_real *p = j->a->in[PARAMETERS]->data + (first * j->columns + c) * 2;
    lanes raw_m, raw_s;
    curves found;
    for (long l = 0; l < count; l++, p += j->columns * 2) raw_m[l] = (double)p[0], raw_s[l] = (double)p[1];
    find_curves(count, raw_m, raw_s, j->each > 1 ? &found : of);
    if (j->each == 1) return;
    lanes *from = (lanes *)(void *)&found, *to = (lanes *)(void *)of;
    for (long l = 0; l < n;) {
        const long q = (row + l) / j->each, end = sv_min(n, (q + 1) * j->each - row);
        for (int k = 0; k < arrays; k++)
            for (long i = l; i < end; i++) to[k][i] = from[k][q - first];
        l = end;
    }
}

static void load(long n, const sv_real *from, long stride, double *to) {
    for (long l = 0; l < n; l++) to[l] = (double)from[l * stride];
}

static void forward_piece(void *arg, long piece, int worker) {
    (void)worker;
    const job *j = arg;
    const sv_real *marks = j->a->in[COLUMNS]->data;
    const long row = piece * LANES, n = sv_min(LANES, j->rows - row), stride = j->width + 1;
    sv_real *to = j->a->out->data + row * stride;
    memcpy(to, j->a->in[STATE]->data + row * stride, (size_t)(n * stride) * sizeof *to);
    for (long d = 0, c = 0; d < j->width; d++) {
        if (marks[d] != 1) continue;
        curves of;
        lanes number, log_slope;
        curves_of(j, c++, row, n, OF_FORWARD, &of);
        load(n, to + d, stride, number);
        if (j->inverse)
            pass_back(n, &of, number, log_slope);
        else
            pass(n, &of, number, log_slope);
        for (long l = 0; l < n; l++) {
            to[l * stride + d] = (sv_real)number[l];
            to[l * stride + j->width] += (sv_real)log_slope[l];
        }
    }
}

static void location_scale_forward(sv_args *a) {
    job j = make_job(a);
    sv_parallel(divide_up(j.rows, LANES), forward_piece, &j);
}

/* ---- gradients ------------------------------------------------------------------------------- */

/* Derivatives of w and of log dw/du at u, by u, m and s; by_out and by_log are the gradients of what came out. Of the
 * inverse du = (dw - w_m dm - w_s ds) / w_u, and the logarithm is -log dw/du. */
SV_LOOP(gradients,
        (bool inverse, long n, const curves *restrict c, const double *restrict given, const double *restrict by_out,
         const double *restrict by_log, double *restrict by_u, double *restrict by_m, double *restrict by_s),
        (inverse, n, c, given, by_out, by_log, by_u, by_m, by_s)) {
    for (long l = 0; l < n; l++) {
        const double u = unit(given[l]), m = c->m[l], rate = c->rate[l], t = (u - m) * rate;
        const double tail = sv_exp_double(-fabs(t)), share = (t > 0 ? 1 : tail) / (1 + tail);
        const double w = unit(share * c->whole[l] * -sv_expm1_below_0(-u * rate));
        const double curved = 1 - 2 * share, by_t = tail / ((1 + tail) * (1 + tail) * c->gap[l]);
        const double at_a = c->end_a[l], at_b = c->end_b[l];
        const double by_a = -at_a * (1 - w), by_b = -w * at_b, a = -m * rate, b = (1 - m) * rate;
        const double w_u = by_t * rate, w_m = -(by_t + by_a + by_b) * rate;
        const double w_s = -(by_t * t + by_a * a + by_b * b) * rate;
        const double log_u = curved * rate, log_m = -(curved + at_a - at_b) * rate;
        const double log_s = -(curved * t + at_a * a - at_b * b + 1) * rate;
        const double back = w_u > FLAT ? (by_out[l] - by_log[l] * log_u) / w_u : 0;
        by_u[l] = inverse ? back : by_out[l] * w_u + by_log[l] * log_u;
        by_m[l] = inverse ? -back * w_m - by_log[l] * log_m : by_out[l] * w_m + by_log[l] * log_m;
        by_s[l] = inverse ? -back * w_s - by_log[l] * log_s : by_out[l] * w_s + by_log[l] * log_s;
        by_m[l] *= c->by_raw_m[l];
        by_s[l] *= c->by_raw_s[l];
    }
}

/* Rows of parameters whose gradients a task of backward finds: as many as a block has rows. */
static long shared_of(const job *j) { return sv_max(1, LANES / sv_max(1, j->each)); }

/* Adds to the gradients of the parameters of n rows from row on, for column c. */
static void add_to_parameters(const job *j, long c, long row, long n, const double *by_m, const double *by_s) {
    sv_real *to = j->a->grad_in[PARAMETERS] + c * 2;
    for (long l = 0; l < n;) {
        const long q = (row + l) / j->each, end = sv_min(n, (q + 1) * j->each - row);
        double m = 0, s = 0;
        for (; l < end; l++) m += by_m[l], s += by_s[l];
        to[q * j->columns * 2] += (sv_real)m;
        to[q * j->columns * 2 + 1] += (sv_real)s;
    }
}

static void backward_block(const job *j, long row, long n) {
    const sv_args *a = j->a;
    const sv_real *marks = a->in[COLUMNS]->data, *x = (j->inverse ? a->out : a->in[STATE])->data;
    const long stride = j->width + 1, at = row * stride;
    sv_real *to = a->grad_in[STATE] ? a->grad_in[STATE] + at : NULL;
    lanes given, by_out, by_log, by_u, by_m, by_s;
    if (to) memcpy(to, a->grad_out + at, (size_t)(n * stride) * sizeof *to);
    load(n, a->grad_out + at + j->width, stride, by_log);
    for (long d = 0, c = 0; d < j->width; d++) {
        if (marks[d] != 1) continue;
        curves of;
        curves_of(j, c, row, n, OF_BACKWARD, &of);
        load(n, x + at + d, stride, given);
        load(n, a->grad_out + at + d, stride, by_out);
        gradients(j->inverse, n, &of, given, by_out, by_log, by_u, by_m, by_s);
        for (long l = 0; to && l < n; l++) to[l * stride + d] = (sv_real)by_u[l];
        if (a->grad_in[PARAMETERS]) add_to_parameters(j, c, row, n, by_m, by_s);
        c++;
    }
}

static void backward_task(void *arg, long i, int worker) {
    (void)worker;
    const job *j = arg;
    const long shared = shared_of(j), first = i * shared;
    const long last = sv_min(first + shared, (long)j->a->in[PARAMETERS]->shape[0]), per = 2 * j->columns;
    sv_real *parameters = j->a->grad_in[PARAMETERS];
    if (parameters) memset(parameters + first * per, 0, (size_t)((last - first) * per) * sizeof *parameters);
    for (long row = first * j->each; row < last * j->each; row += LANES)
        backward_block(j, row, sv_min(LANES, last * j->each - row));
}

static void location_scale_backward(sv_args *a) {
    job j = make_job(a);
    sv_parallel(divide_up((long)a->in[PARAMETERS]->shape[0], shared_of(&j)), backward_task, &j);
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
