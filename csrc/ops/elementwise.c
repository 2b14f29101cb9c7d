/* elementwise.c: element-wise ops: arithmetic with broadcasting, powers, activations.
 *
 * Broadcasting is NumPy's: shapes are aligned at their last axes; an axis of 1
 * (or a missing one) is repeated. */
#include "axes.h"

#include <string.h>
#include <tgmath.h>

/* ---- one input --------------------------------------------------------------- */

static bool unary_shape(sv_args *a) { return sv_same_shape(a, a->in[0]); }

/* A piece of work sees x (input), y (output), g (gradient of y), d (gradient of x). */
typedef struct {
    size_t count;
    const sv_real *x, *y, *g;
    sv_real *to;
    const double *opt;
    void (*body)(size_t n, const sv_real *x, const sv_real *y, const sv_real *g, sv_real *to, const double *opt);
} pieces;

static void run_piece(void *arg, long i, int worker) {
    (void)worker;
    const pieces *p = arg;
    size_t from, to;
    sv_chunk(p->count, i, &from, &to);
    p->body(to - from, p->x + from, p->y + from, p->g ? p->g + from : NULL, p->to + from, p->opt);
}

static void forward_with(const sv_args *a, void (*body)(size_t, const sv_real *, const sv_real *, const sv_real *,
                                                        sv_real *, const double *)) {
    pieces p = {a->out->count, a->in[0]->data, a->in[0]->data, NULL, a->out->data, a->opt, body};
    sv_parallel(sv_chunks(p.count), run_piece, &p);
}

static void backward_with(const sv_args *a, void (*body)(size_t, const sv_real *, const sv_real *, const sv_real *,
                                                         sv_real *, const double *)) {
    if (!a->grad_in[0]) return;
    pieces p = {a->out->count, a->in[0]->data, a->out->data, a->grad_out, a->grad_in[0], a->opt, body};
    sv_parallel(sv_chunks(p.count), run_piece, &p);
}

/* UNARY(name, value, slope): y = value and d = g * slope, as expressions in
 * x, y and the options o[0], o[1]. */
#define UNARY(name, value, slope)                                                                            \
    SV_LOOP(name##_values,                                                                                   \
            (size_t n, const sv_real *X, const sv_real *Y, const sv_real *G, sv_real *T, const double *opt), \
            (n, X, Y, G, T, opt)) {                                                                          \
        const sv_real o[2] = {(sv_real)opt[0], (sv_real)opt[1]};                                             \
        (void)o, (void)Y, (void)G;                                                                           \
        for (size_t i = 0; i < n; i++) {                                                                     \
            const sv_real x = X[i];                                                                          \
            T[i] = (value);                                                                                  \
        }                                                                                                    \
    }                                                                                                        \
    SV_LOOP(name##_slopes,                                                                                   \
            (size_t n, const sv_real *X, const sv_real *Y, const sv_real *G, sv_real *T, const double *opt), \
            (n, X, Y, G, T, opt)) {                                                                          \
        const sv_real o[2] = {(sv_real)opt[0], (sv_real)opt[1]};                                             \
        (void)o;                                                                                             \
        for (size_t i = 0; i < n; i++) {                                                                     \
            const sv_real x = X[i], y = Y[i];                                                                \
            (void)x, (void)y;                                                                                \
            T[i] = G[i] * (slope);                                                                           \
        }                                                                                                    \
    }                                                                                                        \
    static void name##_forward(sv_args *a) { forward_with(a, name##_values); }                               \
    static void name##_backward(sv_args *a) { backward_with(a, name##_slopes); }

/* The same as an activation in place; see sv_fused_activations. */
#define ACTIVATION(name, value, slope)                                                                \
    UNARY(name, value, slope)                                                                         \
    SV_LOOP(name##_in_place, (size_t n, sv_real *restrict X, sv_real *restrict S, const double *opt), \
            (n, X, S, opt)) {                                                                         \
        const sv_real o[1] = {(sv_real)opt[0]};                                                       \
        (void)o;                                                                                      \
        if (!S)                                                                                       \
            for (size_t i = 0; i < n; i++) {                                                          \
                const sv_real x = X[i];                                                               \
                X[i] = (value);                                                                       \
            }                                                                                         \
        else                                                                                          \
            for (size_t i = 0; i < n; i++) {                                                          \
                const sv_real x = X[i], y = (value);                                                  \
                S[i] = (slope);                                                                       \
                X[i] = y;                                                                             \
            }                                                                                         \
    }

/* sin(x + quarter pi / 2), whose slope is that of the next quarter. */
#define SINE(name, quarter)                                                                                  \
    SV_LOOP(name##_values,                                                                                   \
            (size_t n, const sv_real *X, const sv_real *Y, const sv_real *G, sv_real *T, const double *opt), \
            (n, X, Y, G, T, opt)) {                                                                          \
        (void)Y, (void)G, (void)opt;                                                                         \
        sv_sines(n, X, quarter, T);                                                                          \
    }                                                                                                        \
    SV_LOOP(name##_slopes,                                                                                   \
            (size_t n, const sv_real *X, const sv_real *Y, const sv_real *G, sv_real *T, const double *opt), \
            (n, X, Y, G, T, opt)) {                                                                          \
        (void)Y, (void)opt;                                                                                  \
        sv_sines(n, X, quarter + 1, T);                                                                      \
        for (size_t i = 0; i < n; i++) T[i] *= G[i];                                                         \
    }                                                                                                        \
    static void name##_forward(sv_args *a) { forward_with(a, name##_values); }                               \
    static void name##_backward(sv_args *a) { backward_with(a, name##_slopes); }

#define HALF ((sv_real)0.5)

UNARY(neg, -x, -1)
UNARY(exp, sv_exp(x), y)
UNARY(log, sv_log(x), 1 / x)
UNARY(sqrt, sqrt(x), HALF / y)
UNARY(square, x *x, 2 * x)
UNARY(abs, fabs(x), (sv_real)((x > 0) - (x < 0)))
SINE(sin, 0)
SINE(cos, 1)
UNARY(floor, floor(x), 0)
UNARY(clamp, x<o[0] ? o[0] : x> o[1] ? o[1] : x, (sv_real)(x >= o[0] && x <= o[1]))
ACTIVATION(tanh, sv_tanh(x), 1 - y * y)
ACTIVATION(sigmoid, sv_sigmoid(x), y *(1 - y))
ACTIVATION(softplus, sv_softplus(x), sv_sigmoid(x))
ACTIVATION(relu, x > 0 ? x : 0, (sv_real)(x > 0))
ACTIVATION(leaky_relu, x > 0 ? x : o[0] * x, x > 0 ? 1 : o[0])
ACTIVATION(silu, x *sv_sigmoid(x), sv_sigmoid(x) + y * (1 - sv_sigmoid(x)))
#define NORMAL_CDF sv_normal_cdf(x, sv_normal_density(x))
ACTIVATION(gelu, x *NORMAL_CDF, NORMAL_CDF + x * sv_normal_density(x))

const sv_fused_activation sv_fused_activations[] = {
    {"none", NULL},          {"relu", relu_in_place},       {"leaky_relu", leaky_relu_in_place},
    {"tanh", tanh_in_place}, {"sigmoid", sigmoid_in_place}, {"softplus", softplus_in_place},
    {"silu", silu_in_place}, {"gelu", gelu_in_place},       {NULL, NULL},
};

/* ---- two inputs, broadcast --------------------------------------------------- */

/* The out shape with adjacent axes merged where both inputs allow it, with the step of each input along each axis (0:
 * repeated). */
typedef struct {
    int ndim;
    size_t shape[SV_MAX_DIM], step[2][SV_MAX_DIM];
} broadcast;

static bool binary_shape(sv_args *a) {
    const sv_tensor *x = a->in[0], *y = a->in[1];
    a->ndim = x->ndim > y->ndim ? x->ndim : y->ndim;
    for (int i = 1; i <= a->ndim; i++) {
        size_t p = i <= x->ndim ? x->shape[x->ndim - i] : 1, q = i <= y->ndim ? y->shape[y->ndim - i] : 1;
        if (p != q && p != 1 && q != 1) return sv_fail(a, "shapes do not broadcast");
        a->shape[a->ndim - i] = p == 1 ? q : p;
    }
    return true;
}

static broadcast plan(const sv_args *a) {
    broadcast b = {0};
    const sv_tensor *out = a->out;
    size_t stride[2] = {1, 1};
    size_t step[2][SV_MAX_DIM];
    for (int axis = out->ndim - 1; axis >= 0; axis--)
        for (int k = 0; k < 2; k++) {
            int own = axis - (out->ndim - a->in[k]->ndim);
            size_t extent = own >= 0 ? a->in[k]->shape[own] : 1;
            step[k][axis] = extent == 1 ? 0 : stride[k];
            stride[k] *= extent;
        }
    for (int axis = 0; axis < out->ndim; axis++) {
        size_t extent = out->shape[axis];
        if (extent == 1) continue;
        int last = b.ndim - 1;
        bool joins = last >= 0;
        for (int k = 0; k < 2 && joins; k++) joins = b.step[k][last] == step[k][axis] * extent;
        if (!joins) {
            last = b.ndim++;
            b.shape[last] = 1;
        }
        b.shape[last] *= extent;
        for (int k = 0; k < 2; k++) b.step[k][last] = step[k][axis];
    }
    if (b.ndim == 0) { /* a single number */
        b.ndim = 1;
        b.shape[0] = out->count;
    }
    return b;
}

/* Inputs of equal shape in the same layout, or with one single number, are a plan of
 * one axis in any layout; all others are in plain layout. */
static broadcast plan_any(const sv_args *a) {
    const sv_tensor *x = a->in[0], *y = a->in[1];
    if (x->count == a->out->count && y->count == x->count) return (broadcast){1, {x->count}, {{1}, {1}}};
    if (a->out->layout == SV_CHANNELS_LAST) return (broadcast){1, {a->out->count}, {{x->count > 1}, {y->count > 1}}};
    return plan(a);
}

typedef void (*binary_row)(size_t n, const sv_real *x, size_t xs, const sv_real *y, size_t ys, const sv_real *g,
                           sv_real *to);

typedef struct {
    broadcast b;
    size_t rows, inner, cut; /* rows of the outer axes; each row is divided into pieces */
    const sv_real *x, *y, *g;
    sv_real *to;
    binary_row row;
} binary_work;

static void binary_piece(void *arg, long i, int worker) {
    (void)worker;
    const binary_work *w = arg;
    size_t per_row = (size_t)sv_chunks(w->inner), first, last, from = 0, to = w->inner;
    if (per_row > 1) { /* long rows: a piece is part of one */
        first = (size_t)i / per_row;
        last = first + 1;
        sv_chunk(w->inner, (long)((size_t)i % per_row), &from, &to);
    } else { /* short rows: a piece is some of them */
        first = (size_t)i * w->cut;
        last = first + w->cut < w->rows ? first + w->cut : w->rows;
    }
    const int axis = w->b.ndim - 1;
    for (size_t r = first; r < last; r++) {
        size_t at[2] = {0, 0}, rest = r;
        for (int k = axis - 1; k >= 0; k--) {
            size_t p = rest % w->b.shape[k];
            rest /= w->b.shape[k];
            at[0] += p * w->b.step[0][k];
            at[1] += p * w->b.step[1][k];
        }
        size_t xs = w->b.step[0][axis], ys = w->b.step[1][axis], o = r * w->inner + from;
        w->row(to - from, w->x + at[0] + from * xs, xs, w->y + at[1] + from * ys, ys, w->g ? w->g + o : NULL,
               w->to + o);
    }
}

/* Fills to, of the shape of out, row by row. */
static void run_binary(const sv_args *a, const broadcast *b, const sv_real *g, sv_real *to, binary_row row) {
    binary_work w = {.b = *b, .x = a->in[0]->data, .y = a->in[1]->data, .g = g, .to = to, .row = row};
    w.inner = b->shape[b->ndim - 1];
    if (a->out->count == 0) return;
    w.rows = a->out->count / w.inner;
    w.cut = w.inner < SV_CHUNK ? SV_CHUNK / w.inner : 1;
    size_t per_row = (size_t)sv_chunks(w.inner);
    size_t n = per_row > 1 ? w.rows * per_row : (w.rows + w.cut - 1) / w.cut;
    sv_parallel((long)n, binary_piece, &w);
}

/* Sums full, of the shape of out, over the axes that input k repeats. */
static void sum_repeated(const broadcast *b, int k, const sv_real *full, sv_real *to, size_t count) {
    size_t inner = b->shape[b->ndim - 1], s = b->step[k][b->ndim - 1], rows = 1;
    for (int i = 0; i < b->ndim - 1; i++) rows *= b->shape[i];
    memset(to, 0, count * sizeof *to);
    for (size_t r = 0; r < rows; r++) {
        size_t at = 0, rest = r;
        for (int i = b->ndim - 2; i >= 0; i--) {
            at += rest % b->shape[i] * b->step[k][i];
            rest /= b->shape[i];
        }
        const sv_real *f = full + r * inner;
        if (s == 0)
            to[at] += (sv_real)sv_run_sum(inner, f);
        else
            sv_add_row((long)inner, f, to + at);
    }
}

static void binary_backward(sv_args *a, binary_row slope_x, binary_row slope_y) {
    broadcast b = plan_any(a);
    const binary_row slopes[2] = {slope_x, slope_y};
    for (int k = 0; k < 2; k++) {
        if (!a->grad_in[k]) continue;
        bool whole = a->in[k]->count == a->out->count;
        sv_real *full = whole ? a->grad_in[k] : a->work;
        run_binary(a, &b, a->grad_out, full, slopes[k]);
        if (!whole) sum_repeated(&b, k, full, a->grad_in[k], a->in[k]->count);
    }
}

static bool binary_shape_with_work(sv_args *a) {
    if (!binary_shape(a)) return false;
    size_t count = 1;
    for (int i = 0; i < a->ndim; i++) count *= a->shape[i];
    if (a->in[0]->count != count || a->in[1]->count != count) a->backward_work_count = count;
    return true;
}

/* BINARY(name, value, dx, dy): expressions in x, y and g. The loop over two full
 * rows, and over a full row and a number, are separate so that they vectorise. */
#define BINARY_ROW(name, value)                                                                                       \
    SV_LOOP(name, (size_t n, const sv_real *X, size_t xs, const sv_real *Y, size_t ys, const sv_real *G, sv_real *T), \
            (n, X, xs, Y, ys, G, T)) {                                                                                \
        if (xs == 1 && ys == 1)                                                                                       \
            for (size_t i = 0; i < n; i++) {                                                                          \
                const sv_real x = X[i], y = Y[i], g = G ? G[i] : 0;                                                   \
                (void)x, (void)y, (void)g;                                                                            \
                T[i] = (value);                                                                                       \
            }                                                                                                         \
        else                                                                                                          \
            for (size_t i = 0; i < n; i++) {                                                                          \
                const sv_real x = X[i * xs], y = Y[i * ys], g = G ? G[i] : 0;                                         \
                (void)x, (void)y, (void)g;                                                                            \
                T[i] = (value);                                                                                       \
            }                                                                                                         \
    }
#define BINARY(name, value, dx, dy)                           \
    BINARY_ROW(name##_values, value)                          \
    BINARY_ROW(name##_slope_x, dx)                            \
    BINARY_ROW(name##_slope_y, dy)                            \
    static void name##_forward(sv_args *a) {                  \
        broadcast b = plan_any(a);                            \
        run_binary(a, &b, NULL, a->out->data, name##_values); \
    }                                                         \
    static void name##_backward(sv_args *a) { binary_backward(a, name##_slope_x, name##_slope_y); }

BINARY(add, x + y, g, g)
BINARY(sub, x - y, g, -g)
BINARY(mul, x *y, g *y, g *x)
BINARY(div, x / y, g / y, -g *x / (y * y))
BINARY(pow, pow(x, y), y == 0 ? 0 : g * y * pow(x, y - 1), x > 0 ? g * pow(x, y) * log(x) : 0)
BINARY(atan2, sv_atan2(x, y), g *y / (x * x + y * y), -g *x / (x * x + y * y))
BINARY(maximum, x > y ? x : y, x > y ? g : x == y ? g * HALF : 0, y > x ? g : x == y ? g * HALF : 0)
BINARY(minimum, x < y ? x : y, x < y ? g : x == y ? g * HALF : 0, y < x ? g : x == y ? g * HALF : 0)

#define UNARY_ROW(name, options, doc, check) \
    { #name, "x" options, unary_shape, name##_forward, name##_backward, SV_OP_LAYOUT_FREE, doc, check }
#define BINARY_OP(name, doc, check) \
    { #name, "x, y", binary_shape_with_work, name##_forward, name##_backward, SV_OP_LAYOUT_FREE, doc, check }

const sv_op sv_ops_elementwise[] = {
    BINARY_OP(add, "x + y, broadcast.", "r(2, 3), r(3)"),
    BINARY_OP(sub, "x - y, broadcast.", "r(2, 3), r(2, 1)"),
    BINARY_OP(mul, "x * y, broadcast.", "r(2, 1, 3), r(4, 1)"),
    BINARY_OP(div, "x / y, broadcast.", "r(2, 3), r(3) + 3"),
    BINARY_OP(pow, "x to the power y, broadcast; the gradient of y is 0 where x <= 0.", "r(2, 3) + 2, r(3)"),
    BINARY_OP(atan2, "The angle of the point (y, x), in radians from -pi to pi, broadcast: atan2(sine, cosine).",
              "r(2, 3) + 2, r(3)"),
    BINARY_OP(maximum, "The larger of x and y, broadcast; ties share the gradient.", "r(2, 3), r(3)"),
    BINARY_OP(minimum, "The smaller of x and y, broadcast; ties share the gradient.", "r(2, 3), r(3)"),
    UNARY_ROW(neg, "", "-x.", "r(2, 3)"),
    UNARY_ROW(exp, "", "e to the x.", "r(2, 3)"),
    UNARY_ROW(log, "", "Natural logarithm.", "r(2, 3) + 3"),
    UNARY_ROW(sqrt, "", "Square root.", "r(2, 3) + 3"),
    UNARY_ROW(square, "", "x * x.", "r(2, 3)"),
    UNARY_ROW(abs, "", "Absolute value; the gradient at 0 is 0.", "r(2, 3)"),
    UNARY_ROW(sin, "", "Sine of x in radians.", "r(2, 3)"),
    UNARY_ROW(cos, "", "Cosine of x in radians.", "r(2, 3)"),
    UNARY_ROW(floor, "", "The largest whole number not above x; its gradient is 0.", "r(2, 3) * 0.2 + 0.5"),
    UNARY_ROW(clamp, "; low:num, high:num", "x kept within [low, high]; no gradient outside.", "r(2, 3), -0.5, 0.5"),
    UNARY_ROW(tanh, "", "Hyperbolic tangent.", "r(2, 3)"),
    UNARY_ROW(sigmoid, "", "1 / (1 + exp(-x)).", "r(2, 3)"),
    UNARY_ROW(softplus, "", "log(1 + exp(x)), without overflow.", "r(2, 3)"),
    UNARY_ROW(relu, "", "max(x, 0).", "r(2, 3)"),
    UNARY_ROW(leaky_relu, "; slope:num=0.01", "x where positive, else slope * x (Maas et al. 2013).", "r(2, 3), 0.2"),
    UNARY_ROW(silu, "", "x / (1 + exp(-x)), also called swish (Elfwing, Uchibe and Doya 2018).", "r(2, 3)"),
    UNARY_ROW(gelu, "", "x * Phi(x), Phi the normal distribution function (Hendrycks and Gimpel 2016).", "r(2, 3)"),
    {0},
};
