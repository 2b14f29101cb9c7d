/* spline.c: monotonic rational-quadratic splines on [0, 1], the element-wise transform of a neural spline flow.
 *
 * Durkan, Bekasov, Murray and Papamakarios, "Neural Spline Flows" (2019), eqs. 4 to 8; on the circle: Rezende et al.,
 * "Normalizing Flows on Tori and Spheres" (2020). K bins have widths and heights from softmaxes and K + 1 slopes at
 * the knots from softplus, all at least MIN. On the circle the slopes at 0 and 1 are one, and the last parameter is a
 * rotation before the spline.
 *
 * Formulas in double precision: their differences cancel. */
#include "../kernels/loops.h"
#include "../kernels/vmath.h"
#include "../simvae.h"

#include <math.h>
#include <string.h>

enum { INVERSE, MAX_BINS = 64 };

static const double MIN = 1e-3; /* of a bin's width and height, and of a slope */

/* A number's spline: knots from its 3 K + 1 parameters. */
typedef struct {
    int bins;
    bool circle;
    double width[MAX_BINS], height[MAX_BINS], slope[MAX_BINS + 1];
    double width_share[MAX_BINS], height_share[MAX_BINS]; /* softmax */
    double rotation;
} spline;

static void softmax(int n, const sv_real *x, double *share) {
    double top = (double)x[0], sum = 0;
    for (int i = 1; i < n; i++) top = (double)x[i] > top ? (double)x[i] : top;
    for (int i = 0; i < n; i++) sum += share[i] = (double)sv_exp((sv_real)((double)x[i] - top));
    for (int i = 0; i < n; i++) share[i] /= sum;
}

/* softplus, moved so that a parameter of 0 has a slope of 1. */
static const double SLOPE_SHIFT = 0.5397424172369522; /* log(exp(1 - MIN) - 1) */

static void read_spline(spline *s, int bins, bool circle, const sv_real *p) {
    s->bins = bins;
    s->circle = circle;
    softmax(bins, p, s->width_share);
    softmax(bins, p + bins, s->height_share);
    for (int k = 0; k < bins; k++) {
        s->width[k] = MIN + (1 - MIN * bins) * s->width_share[k];
        s->height[k] = MIN + (1 - MIN * bins) * s->height_share[k];
    }
    const sv_real *d = p + 2 * bins;
    int slopes = circle ? bins : bins + 1;
    for (int k = 0; k < slopes; k++) s->slope[k] = MIN + (double)sv_softplus((sv_real)((double)d[k] + SLOPE_SHIFT));
    if (circle) s->slope[bins] = s->slope[0];
    s->rotation = circle ? (double)d[bins] : 0;
}

/* Where a value lies: bin k, and the knots' x and y below it. */
typedef struct {
    int k;
    double x, y;
} place;

static place find(const spline *s, double at, bool by_height) {
    place p = {0, 0, 0};
    while (p.k < s->bins - 1 && at >= (by_height ? p.y + s->height[p.k] : p.x + s->width[p.k])) {
        p.x += s->width[p.k];
        p.y += s->height[p.k];
        p.k++;
    }
    return p;
}

/* Value, log-slope, and the derivatives of both by what they depend on. */
typedef struct {
    double y, log_slope;
    double dy[7], dl[7]; /* by x, the knot's x, width, the knot's y, height, slope below, slope above */
} value;

enum { BY_X, BY_KNOT_X, BY_WIDTH, BY_KNOT_Y, BY_HEIGHT, BY_BELOW, BY_ABOVE };

static double unit(double t) { return t < 0 ? 0 : t > 1 ? 1 : t; }

static value evaluate(const spline *s, place p, double x) {
    double w = s->width[p.k], h = s->height[p.k], below = s->slope[p.k], above = s->slope[p.k + 1];
    double t = unit((x - p.x) / w), u = t * (1 - t), v = 1 - 2 * t, rise = h / w, c = below + above - 2 * rise;
    double top = rise * t * t + below * u, bottom = rise + c * u, ratio = top / bottom;
    double middle = above * t * t + 2 * rise * u + below * (1 - t) * (1 - t);
    value r = {p.y + h * ratio, 2 * log(rise) + log(middle) - 2 * log(bottom), {0}, {0}};
    double ratio_t = (2 * rise * t + below * v - ratio * c * v) / bottom;
    double ratio_rise = (t * t - ratio * (1 - 2 * u)) / bottom;
    double log_t = (2 * above * t + 2 * rise * v - 2 * below * (1 - t)) / middle - 2 * c * v / bottom;
    double log_rise = 2 / rise + 2 * u / middle - 2 * (1 - 2 * u) / bottom;
    r.dy[BY_X] = h * ratio_t / w;
    r.dy[BY_KNOT_X] = -r.dy[BY_X];
    r.dy[BY_WIDTH] = -h * (ratio_t * t + ratio_rise * rise) / w;
    r.dy[BY_KNOT_Y] = 1;
    r.dy[BY_HEIGHT] = ratio + h * ratio_rise / w;
    r.dy[BY_BELOW] = h * (u - ratio * u) / bottom;
    r.dy[BY_ABOVE] = -h * ratio * u / bottom;
    r.dl[BY_X] = log_t / w;
    r.dl[BY_KNOT_X] = -r.dl[BY_X];
    r.dl[BY_WIDTH] = -(log_t * t + log_rise * rise) / w;
    r.dl[BY_HEIGHT] = log_rise / w;
    r.dl[BY_BELOW] = (1 - t) * (1 - t) / middle - 2 * u / bottom;
    r.dl[BY_ABOVE] = t * t / middle - 2 * u / bottom;
    return r;
}

/* The x of a y in the bin at p: the root of a quadratic, eq. 8 of the paper in its stable form. */
static double invert(const spline *s, place p, double y) {
    double w = s->width[p.k], h = s->height[p.k], below = s->slope[p.k], above = s->slope[p.k + 1];
    double rise = h / w, up = y - p.y, c = below + above - 2 * rise;
    double a = h * (rise - below) + up * c, b = h * below - up * c, d = b * b + 4 * a * rise * up;
    double t = 2 * rise * up / (b + sqrt(d > 0 ? d : 0));
    return p.x + w * unit(t);
}

static double wrapped(double x) { return x - floor(x); }

/* What forward and backward share: the spline, and x and y of one number. */
static value run(const spline *s, bool inverse, double in, place *p, double *out) {
    if (!inverse) {
        double x = s->circle ? wrapped(in + s->rotation) : unit(in);
        *p = find(s, x, false);
        value v = evaluate(s, *p, x);
        *out = unit(v.y);
        return v;
    }
    double y = unit(in);
    *p = find(s, y, true);
    double x = invert(s, *p, y);
    value v = evaluate(s, *p, x);
    *out = s->circle ? wrapped(x - s->rotation) : x;
    return v;
}

typedef struct {
    sv_args *a;
    int bins, per;
    long columns;
    const sv_real *circle;
} job;

static job job_of(sv_args *a) {
    const sv_tensor *p = a->in[1];
    job j = {.a = a, .per = (int)p->shape[2], .columns = (long)a->in[0]->shape[1]};
    j.bins = (j.per - 1) / 3;
    j.circle = a->in[2] ? a->in[2]->data : NULL;
    return j;
}

static bool spline_shape(sv_args *a) {
    const sv_tensor *x = a->in[0], *p = a->in[1], *circle = a->in[2];
    if (x->ndim != 2) return sv_fail(a, "x must be (N, D)");
    if (p->ndim != 3 || p->shape[0] != x->shape[0] || p->shape[1] != x->shape[1])
        return sv_fail(a, "parameters must be (%zu, %zu, 3 K + 1)", x->shape[0], x->shape[1]);
    size_t per = p->shape[2];
    if (per < 7 || per % 3 != 1 || (per - 1) / 3 > MAX_BINS)
        return sv_fail(a, "parameters have 3 K + 1 numbers for K = 2 to %d bins; got %zu", MAX_BINS, per);
    if (circle && (circle->ndim != 1 || circle->shape[0] != x->shape[1]))
        return sv_fail(a, "circle must be (%zu,)", x->shape[1]);
    a->ndim = 3;
    a->shape[0] = 2;
    a->shape[1] = x->shape[0];
    a->shape[2] = x->shape[1];
    return true;
}

enum { PIECE = 64 }; /* numbers of a piece of work */

static void spline_forward_piece(void *arg, long piece, int worker) {
    (void)worker;
    const job *j = arg;
    const sv_args *a = j->a;
    long count = (long)a->in[0]->count, to = (piece + 1) * PIECE < count ? (piece + 1) * PIECE : count;
    for (long i = piece * PIECE; i < to; i++) {
        spline s;
        place p;
        double out;
        read_spline(&s, j->bins, j->circle && j->circle[i % j->columns] != 0, a->in[1]->data + i * j->per);
        value v = run(&s, a->opt[INVERSE] != 0, (double)a->in[0]->data[i], &p, &out);
        a->out->data[i] = (sv_real)out;
        a->out->data[count + i] = (sv_real)(a->opt[INVERSE] != 0 ? -v.log_slope : v.log_slope);
    }
}

static long pieces(const sv_args *a) { return divide_up((long)a->in[0]->count, PIECE); }

static void spline_forward(sv_args *a) {
    job j = job_of(a);
    sv_parallel(pieces(a), spline_forward_piece, &j);
}

/* d loss / d softmax inputs, from those of widths (or heights) and of the knot below bin k. */
static void through_softmax(const spline *s, const double *share, int k, double by_knot, double by_size, sv_real *to) {
    double scale = 1 - MIN * s->bins, mean = 0;
    for (int i = 0; i <= k; i++) mean += share[i] * (i < k ? by_knot : by_size);
    for (int i = 0; i < s->bins; i++) {
        double g = i < k ? by_knot : i == k ? by_size : 0;
        to[i] = (sv_real)(scale * share[i] * (g - mean));
    }
}

/* Gradients of one number's parameters from `by`, those of what the bin is made of. */
static void through_parameters(const spline *s, int k, const double *by, double by_rotation, const sv_real *given,
                               sv_real *to) {
    through_softmax(s, s->width_share, k, by[BY_KNOT_X], by[BY_WIDTH], to);
    through_softmax(s, s->height_share, k, by[BY_KNOT_Y], by[BY_HEIGHT], to + s->bins);
    const sv_real *d = given + 2 * s->bins;
    sv_real *slopes = to + 2 * s->bins;
    memset(slopes, 0, (size_t)(s->bins + 1) * sizeof *slopes);
    int above = s->circle && k + 1 == s->bins ? 0 : k + 1;
    slopes[k] += (sv_real)(by[BY_BELOW] * (double)sv_sigmoid((sv_real)((double)d[k] + SLOPE_SHIFT)));
    slopes[above] += (sv_real)(by[BY_ABOVE] * (double)sv_sigmoid((sv_real)((double)d[above] + SLOPE_SHIFT)));
    if (s->circle) slopes[s->bins] = (sv_real)by_rotation;
}

/* With y = f(x, c) and l = log f': the inverse has dx = (dy - f_c dc) / f', and -l changes by -(l_c dc + l_x dx). */
static void spline_backward_piece(void *arg, long piece, int worker) {
    (void)worker;
    const job *j = arg;
    sv_args *a = j->a;
    bool inverse = a->opt[INVERSE] != 0;
    long count = (long)a->in[0]->count, to = (piece + 1) * PIECE < count ? (piece + 1) * PIECE : count;
    for (long i = piece * PIECE; i < to; i++) {
        spline s;
        place p;
        double out, by[7], by_in, given = (double)a->in[0]->data[i];
        const sv_real *parameters = a->in[1]->data + i * j->per;
        read_spline(&s, j->bins, j->circle && j->circle[i % j->columns] != 0, parameters);
        value v = run(&s, inverse, given, &p, &out);
        double g = (double)a->grad_out[i], gl = (double)a->grad_out[count + i], by_rotation = 0;
        if (!inverse) {
            for (int c = 0; c < 7; c++) by[c] = g * v.dy[c] + gl * v.dl[c];
            by_in = by_rotation = by[BY_X];
        } else {
            double gx = (g - gl * v.dl[BY_X]) / v.dy[BY_X];
            for (int c = 0; c < 7; c++) by[c] = -gx * v.dy[c] - gl * v.dl[c];
            by_in = gx;
            by_rotation = -g;
        }
        if (!s.circle && (given < 0 || given > 1)) by_in = 0;
        if (a->grad_in[0]) a->grad_in[0][i] = (sv_real)by_in;
        if (a->grad_in[1]) through_parameters(&s, p.k, by, by_rotation, parameters, a->grad_in[1] + i * j->per);
    }
}

static void spline_backward(sv_args *a) {
    job j = job_of(a);
    sv_parallel(pieces(a), spline_backward_piece, &j);
    if (a->in[2] && a->grad_in[2]) memset(a->grad_in[2], 0, a->in[2]->count * sizeof(sv_real));
}

const sv_op sv_ops_spline[] = {
    {"rational_quadratic_spline", "x, parameters, circle?; inverse:bool=false", spline_shape, spline_forward,
     spline_backward, 0,
     "x (N, D) in [0, 1] (clamped), parameters (N, D, 3 K + 1) of any size -> (2, N, D): y in [0, 1], and the "
     "logarithm "
     "of dy/dx. Each number goes through a monotonic rational-quadratic spline of K bins (Durkan et al. 2019): K "
     "numbers for the bins' widths, K for their heights, K + 1 for the slopes at the knots. Columns where circle (D,) "
     "is 1 are phases (Rezende et al. 2020): K slopes, and a rotation in turns. inverse: from y to x.",
     "(r(3, 2) * 0.3 + 0.5), r(3, 2, 10), tensor{0, 1}"},
    {0},
};
