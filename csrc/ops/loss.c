/* loss.c: losses. Each computes one number for every entry (cross_entropy: for every row)
 * and averages, sums or returns them. Sums are made of fixed pieces in double. */
#include "rows.h"

enum { REDUCTION };       /* the first option of every row here, */
enum { MEAN, SUM, NONE }; /* and its choices */
enum { TILE = 512 };      /* entries computed before they are summed */

#define HALF ((sv_real)0.5)
#define HALF_LOG_2PI ((sv_real)0.91893853320467274178)

/* ---- losses of entries --------------------------------------------------------- */

/* Computes n values (or slopes times scale) into to. b may be a single number (bs 0). */
typedef void (*loss_body)(size_t n, const sv_real *a, const sv_real *b, size_t bs, const sv_real *c, sv_real scale,
                          sv_real *to);

typedef struct {
    size_t count, bs;
    const sv_real *a, *b, *c, *g; /* g: one factor per entry, or NULL */
    sv_real scale;
    sv_real *to;  /* the values, or NULL: their sums only */
    double *sums; /* one per piece, or NULL */
    loss_body body;
} loss_work;

static void loss_piece(void *arg, long i, int worker) {
    (void)worker;
    const loss_work *w = arg;
    size_t from, end;
    sv_chunk(w->count, i, &from, &end);
    double sum = 0;
    for (size_t at = from; at < end; at += TILE) {
        sv_real tile[TILE];
        size_t n = end - at < TILE ? end - at : TILE;
        sv_real *to = w->to ? w->to + at : tile;
        w->body(n, w->a + at, w->b + at * w->bs, w->bs, w->c ? w->c + at : NULL, w->scale, to);
        if (w->g)
            for (size_t k = 0; k < n; k++) to[k] *= w->g[at + k];
        if (w->sums) sum += sv_sum(n, to);
    }
    if (w->sums) w->sums[i] = sum;
}

static double total(const double *sums, long n) {
    double t = 0;
    for (long i = 0; i < n; i++) t += sums[i];
    return t;
}

/* Numbers of sv_real that hold the doubles of all pieces. */
static size_t sums_room(size_t count) { return (size_t)sv_chunks(count) * (sizeof(double) / sizeof(sv_real)); }

static bool same_shapes(const sv_tensor *x, const sv_tensor *y) {
    return x->ndim == y->ndim && !memcmp(x->shape, y->shape, (size_t)x->ndim * sizeof x->shape[0]);
}

static bool entries_shape(sv_args *a) {
    const sv_tensor *x = a->in[0], *last = a->in[a->nin - 1];
    bool number = a->nin == 3 && a->in[1]->count == 1; /* one scale for all */
    if (!same_shapes(x, last) || (a->nin == 3 && !number && !same_shapes(x, a->in[1])))
        return sv_fail(a, a->nin == 3 ? "the first and last shape must be equal; the second too, or one number"
                                      : "the shapes must be equal");
    if (x->count == 0) return sv_fail(a, "there is nothing to average");
    if (a->nin == 3 && number && a->in[1]->ndim > x->ndim) return sv_fail(a, "the scale has too many axes");
    if (a->opt[REDUCTION] == NONE) {
        sv_same_shape(a, x);
    } else {
        a->ndim = 0;
        a->work_count = sums_room(x->count);
    }
    if (a->nin == 3 && number && x->count > 1) a->backward_work_count = sums_room(x->count);
    return true;
}

static loss_work prepare(const sv_args *a, loss_body body) {
    return (loss_work){.count = a->in[0]->count,
                       .bs = a->nin < 3 || a->in[1]->count > 1,
                       .a = a->in[0]->data,
                       .b = a->in[1]->data,
                       .c = a->nin == 3 ? a->in[2]->data : NULL,
                       .scale = 1,
                       .body = body};
}

static void entries_forward(sv_args *a, loss_body body) {
    loss_work w = prepare(a, body);
    bool reduced = a->opt[REDUCTION] != NONE;
    if (reduced)
        w.sums = (double *)(void *)a->work;
    else
        w.to = a->out->data;
    sv_parallel(sv_chunks(w.count), loss_piece, &w);
    if (!reduced) return;
    double sum = total(w.sums, sv_chunks(w.count));
    a->out->data[0] = (sv_real)(a->opt[REDUCTION] == MEAN ? sum / (double)w.count : sum);
}

static void entries_backward(sv_args *a, const loss_body *slopes) {
    for (int k = 0; k < a->nin; k++) {
        if (!a->grad_in[k]) continue;
        loss_work w = prepare(a, slopes[k]);
        if (a->opt[REDUCTION] == NONE)
            w.g = a->grad_out;
        else
            w.scale = a->opt[REDUCTION] == MEAN ? a->grad_out[0] / (sv_real)w.count : a->grad_out[0];
        if (k == 1 && !w.bs && w.count > 1)
            w.sums = (double *)(void *)a->work;
        else
            w.to = a->grad_in[k];
        sv_parallel(sv_chunks(w.count), loss_piece, &w);
        if (w.sums) a->grad_in[k][0] = (sv_real)total(w.sums, sv_chunks(w.count));
    }
}

/* Expressions in x, y (and z): the inputs in order. */
#define LOSS_BODY(name, value)                                                                                      \
    SV_LOOP(name,                                                                                                   \
            (size_t n, const sv_real *X, const sv_real *Y, size_t ys, const sv_real *Z, sv_real scale, sv_real *T), \
            (n, X, Y, ys, Z, scale, T)) {                                                                           \
        const sv_real *W = Z ? Z : X;                                                                               \
        if (ys)                                                                                                     \
            for (size_t i = 0; i < n; i++) {                                                                        \
                const sv_real x = X[i], y = Y[i], z = W[i];                                                         \
                (void)x, (void)y, (void)z;                                                                          \
                T[i] = scale * (value);                                                                             \
            }                                                                                                       \
        else                                                                                                        \
            for (size_t i = 0; i < n; i++) {                                                                        \
                const sv_real x = X[i], y = Y[0], z = W[i];                                                         \
                (void)x, (void)y, (void)z;                                                                          \
                T[i] = scale * (value);                                                                             \
            }                                                                                                       \
    }
#define LOSS(name, value, dx, dy, dz)                                              \
    LOSS_BODY(name##_values, value)                                                \
    LOSS_BODY(name##_dx, dx)                                                       \
    LOSS_BODY(name##_dy, dy)                                                       \
    LOSS_BODY(name##_dz, dz)                                                       \
    static void name##_forward(sv_args *a) { entries_forward(a, name##_values); }  \
    static void name##_backward(sv_args *a) {                                      \
        entries_backward(a, (const loss_body[]){name##_dx, name##_dy, name##_dz}); \
    }

#define SIGN(v) ((sv_real)(((v) > 0) - ((v) < 0)))

LOSS(mse_loss, (x - y) * (x - y), 2 * (x - y), 2 * (y - x), 0)
LOSS(l1_loss, x > y ? x - y : y - x, SIGN(x - y), SIGN(y - x), 0)
/* -(y log s + (1 - y) log(1 - s)), s = sigmoid(x), is softplus(x) - x y. */
LOSS(bce_with_logits, sv_softplus(x) - x * y, sv_sigmoid(x) - y, -x, 0)
LOSS(gaussian_nll, HALF *((z - x) * sv_exp(-y)) * ((z - x) * sv_exp(-y)) + y + HALF_LOG_2PI, (x - z) * sv_exp(-2 * y),
     1 - ((z - x) * sv_exp(-y)) * ((z - x) * sv_exp(-y)), (z - x) * sv_exp(-2 * y))
LOSS(gaussian_kl, HALF *(x *x + sv_exp(2 * y) - 1) - y, x, sv_exp(2 * y) - 1, 0)

/* ---- cross entropy --------------------------------------------------------------- */

static long row_pieces(size_t rows, size_t classes) { return divide_up((long)rows, (long)sv_rows_a_piece(classes)); }

static bool cross_entropy_shape(sv_args *a) {
    const sv_tensor *x = a->in[0], *y = a->in[1];
    if (x->ndim != 2 || y->ndim != 1 || x->shape[0] != y->shape[0])
        return sv_fail(a, "takes logits (N, C) and N class numbers");
    if (x->count == 0) return sv_fail(a, "there is nothing to average");
    for (size_t i = 0; i < y->count; i++) {
        double k = (double)y->data[i];
        if (!(k >= 1 && k <= (double)x->shape[1]) || k != floor(k))
            return sv_fail(a, "target %zu is %g; classes are whole numbers from 1 to %zu", i + 1, k, x->shape[1]);
    }
    a->ndim = a->opt[REDUCTION] == NONE;
    a->shape[0] = x->shape[0];
    a->aux_count[0] = x->shape[0]; /* log of the sum of exponentials of each row */
    a->work_count = (size_t)row_pieces(x->shape[0], x->shape[1]) * (sizeof(double) / sizeof(sv_real));
    return true;
}

enum { ROWS = 64 };

SV_LOOP(rows_log_sum_exp, (size_t m, size_t n, const sv_real *x, sv_real *centre, sv_real *logs),
        (m, n, x, centre, logs)) {
    sv_rows_log_sum_exp(m, n, x, centre, logs);
}

/* The first of the rows of piece i, and the one past its last. */
static size_t rows_of_piece(const sv_args *a, long i, size_t *end) {
    const size_t rows = a->in[0]->shape[0], each = sv_rows_a_piece(a->in[0]->shape[1]), first = (size_t)i * each;
    *end = rows - first < each ? rows : first + each;
    return first;
}

static void cross_entropy_rows(void *arg, long i, int worker) {
    (void)worker;
    const sv_args *a = arg;
    const size_t classes = a->in[0]->shape[1];
    size_t end, first = rows_of_piece(a, i, &end);
    double sum = 0;
    for (; first < end; first += ROWS) {
        sv_real centre[ROWS], logs[ROWS];
        const size_t m = end - first < ROWS ? end - first : ROWS;
        const sv_real *x = a->in[0]->data + first * classes, *target = a->in[1]->data + first;
        rows_log_sum_exp(m, classes, x, centre, logs);
        for (size_t r = 0; r < m; r++) {
            const double loss = ((double)centre[r] - (double)x[r * classes + (size_t)target[r] - 1]) + (double)logs[r];
            a->aux[0][first + r] = centre[r] + logs[r];
            if (a->opt[REDUCTION] == NONE) a->out->data[first + r] = (sv_real)loss;
            sum += loss;
        }
    }
    ((double *)(void *)a->work)[i] = sum;
}

static void cross_entropy_forward(sv_args *a) {
    const size_t rows = a->in[0]->shape[0];
    const long pieces = row_pieces(rows, a->in[0]->shape[1]);
    sv_parallel(pieces, cross_entropy_rows, a);
    if (a->opt[REDUCTION] == NONE) return;
    const double sum = total((const double *)(const void *)a->work, pieces);
    a->out->data[0] = (sv_real)(a->opt[REDUCTION] == MEAN ? sum / (double)rows : sum);
}

/* Softmax, of many rows at once as these may be short. */
SV_LOOP(rows_shares, (size_t m, size_t n, const sv_real *x, const sv_real *lse, sv_real *to), (m, n, x, lse, to)) {
    for (size_t r = 0; r < m; r++)
        for (size_t i = 0; i < n; i++) to[r * n + i] = x[r * n + i] - lse[r];
    for (size_t i = 0; i < m * n; i++) to[i] = sv_exp(to[i]);
}

SV_LOOP(scale_row, (size_t n, sv_real g, sv_real *to), (n, g, to)) {
    for (size_t i = 0; i < n; i++) to[i] *= g;
}

static void cross_entropy_slopes(void *arg, long i, int worker) {
    (void)worker;
    const sv_args *a = arg;
    const size_t rows = a->in[0]->shape[0], classes = a->in[0]->shape[1];
    size_t end, first = rows_of_piece(a, i, &end);
    sv_real *to = a->grad_in[0] + first * classes;
    rows_shares(end - first, classes, a->in[0]->data + first * classes, a->aux[0] + first, to);
    for (size_t r = first; r < end; r++, to += classes) {
        sv_real g = a->opt[REDUCTION] == NONE ? a->grad_out[r] : a->grad_out[0];
        if (a->opt[REDUCTION] == MEAN) g /= (sv_real)rows;
        scale_row(classes, g, to);
        to[(size_t)a->in[1]->data[r] - 1] -= g;
    }
}

static void cross_entropy_backward(sv_args *a) {
    const size_t rows = a->in[0]->shape[0];
    if (a->grad_in[1]) memset(a->grad_in[1], 0, rows * sizeof(sv_real)); /* class numbers */
    if (a->grad_in[0]) sv_parallel(row_pieces(rows, a->in[0]->shape[1]), cross_entropy_slopes, a);
}

#define REDUCED "; reduction:enum(mean|sum|none)=mean"
#define LOSS_ROW(name, inputs, doc, check) \
    { #name, inputs REDUCED, entries_shape, name##_forward, name##_backward, SV_OP_LAYOUT_FREE, doc, check }

const sv_op sv_ops_loss[] = {
    LOSS_ROW(mse_loss, "x, target", "Squared difference of x and target (equal shapes).", "r(2, 3), r(2, 3)"),
    LOSS_ROW(l1_loss, "x, target", "Absolute difference of x and target (equal shapes); slope 0 where they are equal.",
             "r(2, 3), r(2, 3), 'sum'"),
    LOSS_ROW(bce_with_logits, "logits, target",
             "Binary cross entropy -t log s - (1 - t) log(1 - s), s = sigmoid(logits), computed as "
             "softplus(logits) - logits t: stable for any logit. Targets in [0, 1]; equal shapes.",
             "r(2, 3), r(2, 3)"),
    LOSS_ROW(gaussian_nll, "mean, log_std, target",
             "-log N(target; mean, exp(log_std)^2), constant included. log_std: the natural logarithm of the standard "
             "deviation, one for each entry or a single number for all.",
             "r(2, 3), r(2, 3), r(2, 3), 'none'"),
    LOSS_ROW(gaussian_kl, "mean, log_std",
             "KL divergence of N(mean, exp(log_std)^2) from N(0, 1) for each entry: "
             "(mean^2 + exp(2 log_std) - 1) / 2 - log_std (Kingma and Welling 2014, appendix B).",
             "r(2, 3), r(2, 3)"),
    {"cross_entropy", "logits, target" REDUCED, cross_entropy_shape, cross_entropy_forward, cross_entropy_backward, 0,
     "-log softmax(logits)[target] of each row: logits (N, C), target N class numbers from 1.",
     "r(3, 4), tensor{2, 4, 1}"},
    {0},
};
