/* norm.c: batch_norm (loops in csrc/kernels/batch_norm.c) and layer_norm. */
#include "rows.h"

#include <math.h>
#include <string.h>

/* ---- batch_norm ------------------------------------------------------------------ */

enum { TRAINING, MOMENTUM, EPS, ACTIVATION, SLOPE };
enum { SCALE = 1, SHIFT, RUNNING_MEAN, RUNNING_VAR };

static sv_batch_norm norm_of(const sv_args *a) {
    const sv_tensor *x = a->in[0];
    long cols = (long)x->shape[1];
    const sv_real slope[3] = {1, 0, (sv_real)a->opt[SLOPE]};
    return (sv_batch_norm){cols ? (long)x->count / cols : 0, cols, (sv_real)a->opt[EPS], (sv_real)a->opt[MOMENTUM],
                           slope[(int)a->opt[ACTIVATION]]};
}

static bool batch_norm_shape(sv_args *a) {
    static const char *const names[] = {"x", "scale", "shift", "running_mean", "running_var"};
    const sv_tensor *x = a->in[0];
    if (x->ndim != 2 && x->ndim != 4) return sv_fail(a, "x must be (N, C) or (N, C, H, W)");
    for (int k = SCALE; k <= RUNNING_VAR; k++)
        if (a->in[k] && (a->in[k]->ndim != 1 || a->in[k]->shape[0] != x->shape[1]))
            return sv_fail(a, "%s must be (%zu,), one for each channel", names[k], x->shape[1]);
    bool training = a->opt[TRAINING] != 0;
    if (!a->in[RUNNING_MEAN] != !a->in[RUNNING_VAR]) return sv_fail(a, "give both running_mean and running_var");
    if (!training && !a->in[RUNNING_MEAN])
        return sv_fail(a, "evaluation (training = false) needs running_mean and running_var");
    sv_batch_norm b = norm_of(a);
    if (training && b.rows < 2) return sv_fail(a, "batch statistics need at least two numbers a channel");
    sv_same_shape(a, x);
    a->aux_count[0] = a->aux_count[1] = x->shape[1];
    a->work_count = a->backward_work_count = sv_batch_norm_work(&b);
    return true;
}

static sv_real *data_of(sv_tensor *t) { return t ? t->data : NULL; }

static void batch_norm_forward(sv_args *a) {
    sv_batch_norm b = norm_of(a);
    const sv_real *x = a->in[0]->data, *scale = a->in[SCALE]->data, *shift = a->in[SHIFT]->data;
    sv_real *mean = data_of(a->in[RUNNING_MEAN]), *var = data_of(a->in[RUNNING_VAR]);
    if (a->opt[TRAINING] != 0) {
        sv_batch_norm_train(&b, x, scale, shift, mean, var, a->aux[0], a->aux[1], a->out->data, a->work);
        return;
    }
    sv_batch_norm_eval(&b, x, scale, shift, mean, var, a->out->data, a->work);
    if (a->training) { /* backward reads them as they are now */
        memcpy(a->aux[0], mean, (size_t)b.cols * sizeof(sv_real));
        sv_batch_norm_inverse(&b, var, a->aux[1]);
    }
}

static void batch_norm_backward(sv_args *a) {
    sv_batch_norm b = norm_of(a);
    sv_batch_norm_backward(&b, a->opt[TRAINING] != 0, a->in[0]->data, a->grad_out, a->in[SCALE]->data,
                           a->in[SHIFT]->data, a->aux[0], a->aux[1], a->grad_in[0], a->grad_in[SCALE],
                           a->grad_in[SHIFT], a->work);
}

/* ---- batch_norm over microbatches ------------------------------------------------- */

/* Moments of one microbatch; joined over all (tree_sum.h), they are the statistics of batch_norm_by. */
static bool batch_moments_shape(sv_args *a) {
    const sv_tensor *x = a->in[0];
    if (x->ndim != 2 && x->ndim != 4) return sv_fail(a, "x must be (N, C) or (N, C, H, W)");
    sv_batch_norm b = norm_of(a);
    a->ndim = 2;
    a->shape[0] = 2;
    a->shape[1] = x->shape[1];
    a->work_count = sv_batch_norm_work(&b);
    return true;
}

static void batch_moments_forward(sv_args *a) {
    sv_batch_norm b = norm_of(a);
    sv_batch_norm_moments(&b, a->in[0]->data, a->out->data, a->work);
}

enum { MEAN = RUNNING_MEAN, VAR = RUNNING_VAR };
enum { BY_MICROBATCHES, BY_EPS, BY_ACTIVATION, BY_SLOPE };

static sv_batch_norm norm_by(const sv_args *a) {
    long cols = (long)a->in[0]->shape[1];
    const sv_real slope[3] = {1, 0, (sv_real)a->opt[BY_SLOPE]};
    return (sv_batch_norm){.rows = cols ? (long)a->in[0]->count / cols : 0,
                           .cols = cols,
                           .eps = (sv_real)a->opt[BY_EPS],
                           .slope = slope[(int)a->opt[BY_ACTIVATION]]};
}

static bool batch_norm_by_shape(sv_args *a) {
    const sv_tensor *x = a->in[0];
    if (x->ndim != 2 && x->ndim != 4) return sv_fail(a, "x must be (N, C) or (N, C, H, W)");
    for (int k = SCALE; k <= VAR; k++)
        if (a->in[k]->ndim != 1 || a->in[k]->shape[0] != x->shape[1])
            return sv_fail(a, "scale, shift, mean and var must be (%zu,), one for each channel", x->shape[1]);
    sv_batch_norm b = norm_by(a);
    if (a->opt[BY_MICROBATCHES] < 1) return sv_fail(a, "microbatches must be 1 or more");
    if ((double)b.rows * a->opt[BY_MICROBATCHES] < 2)
        return sv_fail(a, "batch statistics need at least two numbers a channel");
    sv_same_shape(a, x);
    a->aux_count[0] = a->aux_count[1] = x->shape[1];
    a->work_count = a->backward_work_count = sv_batch_norm_work(&b);
    return true;
}

static void batch_norm_by_forward(sv_args *a) {
    sv_batch_norm b = norm_by(a);
    const sv_real *mean = a->in[MEAN]->data, *var = a->in[VAR]->data;
    sv_batch_norm_eval(&b, a->in[0]->data, a->in[SCALE]->data, a->in[SHIFT]->data, mean, var, a->out->data, a->work);
    if (!a->training) return;
    memcpy(a->aux[0], mean, (size_t)b.cols * sizeof(sv_real));
    sv_batch_norm_inverse(&b, var, a->aux[1]);
}

static void batch_norm_by_backward(sv_args *a) {
    sv_batch_norm b = norm_by(a);
    const sv_real *x = a->in[0]->data, *scale = a->in[SCALE]->data, *shift = a->in[SHIFT]->data;
    const size_t bytes = (size_t)b.cols * sizeof(sv_real);
    if (a->sums_to) {
        sv_batch_norm_sums(&b, x, a->grad_out, scale, shift, a->aux[0], a->aux[1], a->sums_to, a->work);
        return;
    }
    if (a->grad_in[SHIFT]) memcpy(a->grad_in[SHIFT], a->sums[0], bytes);
    if (a->grad_in[SCALE]) memcpy(a->grad_in[SCALE], a->sums[0] + b.cols, bytes);
    for (int k = MEAN; k <= VAR; k++) /* functions of x, whose gradient is that of x */
        if (a->grad_in[k]) memset(a->grad_in[k], 0, bytes);
    if (!a->grad_in[0]) return;
    double rows = (double)b.rows * a->opt[BY_MICROBATCHES];
    sv_batch_norm_backward_by(&b, x, a->grad_out, scale, shift, a->aux[0], a->aux[1], a->sums[1], rows, a->grad_in[0],
                              a->work);
}

/* ---- layer_norm ------------------------------------------------------------------ */

/* Rows of the last axis; aux: mean and 1 / sqrt(var + eps) of each. Pieces of work are so many rows; the gradients of
 * scale and shift (2, cols) are summed over each of them first. */
typedef struct {
    size_t rows, cols, each;
    const sv_real *x, *g, *scale, *shift;
    sv_real *mean, *inverse, *to, *sums;
    double eps;
} layer;

enum { LAYER_EPS }; /* option of layer_norm */
enum { PIECE = 1 << 15, LEAST_ROWS = 4, COLS = SV_ROW_TILE };

static layer layer_of(const sv_args *a) {
    const sv_tensor *x = a->in[0];
    const size_t cols = x->shape[x->ndim - 1];
    return (layer){.rows = x->count / cols,
                   .cols = cols,
                   .each = cols < PIECE / LEAST_ROWS ? PIECE / cols : LEAST_ROWS,
                   .x = x->data,
                   .scale = a->in[1]->data,
                   .shift = a->in[2]->data,
                   .mean = a->aux[0],
                   .inverse = a->aux[1],
                   .eps = a->opt[LAYER_EPS]};
}

static long layer_pieces(const layer *l) { return divide_up((long)l->rows, (long)l->each); }

static size_t rows_of_layer(const layer *l, long piece, size_t *from) {
    *from = (size_t)piece * l->each;
    return l->rows - *from < l->each ? l->rows - *from : l->each;
}

static bool layer_norm_shape(sv_args *a) {
    const sv_tensor *x = a->in[0];
    if (x->ndim < 1 || x->shape[x->ndim - 1] < 1) return sv_fail(a, "x needs a last axis with entries");
    size_t cols = x->shape[x->ndim - 1];
    for (int k = 1; k < 3; k++)
        if (a->in[k]->ndim != 1 || a->in[k]->shape[0] != cols)
            return sv_fail(a, "%s must be (%zu,), as the last axis of x", k == 1 ? "scale" : "shift", cols);
    sv_same_shape(a, x);
    a->aux_count[0] = a->aux_count[1] = x->count / cols;
    const layer l = layer_of(a);
    const long pieces = layer_pieces(&l);
    a->backward_work_count = 2 * cols * ((size_t)pieces + 1) + sv_column_sums_work(pieces, 2 * (long)cols);
    return true;
}

/* The mean is kept as a number and what rounding took from it: where it is large, x less the first is exact. */
SV_LOOP(layer_rows,
        (size_t m, size_t n, const sv_real *x, const sv_real *scale, const sv_real *shift, double eps, sv_real *means,
         sv_real *inverses, sv_real *y),
        (m, n, x, scale, shift, eps, means, inverses, y)) {
    for (size_t r = 0; r < m; r++, x += n, y += n) {
        const double exact = sv_sum(n, x) / (double)n;
        const sv_real mean = (sv_real)exact, rest = (sv_real)(exact - (double)mean);
        const double var = sv_row_squares(n, x, mean) / (double)n - (double)(rest * rest);
        const sv_real inverse = (sv_real)(1 / sqrt((var > 0 ? var : 0) + eps));
        means[r] = mean;
        inverses[r] = inverse;
        for (size_t i = 0; i < n; i++) y[i] = (x[i] - mean - rest) * inverse * scale[i] + shift[i];
    }
}

static void layer_piece(void *arg, long piece, int worker) {
    (void)worker;
    const layer *l = arg;
    size_t from, m = rows_of_layer(l, piece, &from);
    layer_rows(m, l->cols, l->x + from * l->cols, l->scale, l->shift, l->eps, l->mean + from, l->inverse + from,
               l->to + from * l->cols);
}

static void layer_norm_forward(sv_args *a) {
    layer l = layer_of(a);
    l.to = a->out->data;
    sv_parallel(layer_pieces(&l), layer_piece, &l);
}

/* With h = (x - mean) inverse and q = g scale: gx = inverse (q - mean(q) - h mean(q h)). */
SV_LOOP(layer_rows_slopes,
        (size_t m, size_t n, const sv_real *x, const sv_real *g, const sv_real *scale, const sv_real *means,
         const sv_real *inverses, sv_real *gx),
        (m, n, x, g, scale, means, inverses, gx)) {
    for (size_t r = 0; r < m; r++, x += n, g += n, gx += n) {
        const sv_real mean = means[r], inverse = inverses[r];
        for (size_t i = 0; i < n; i++) gx[i] = g[i] * scale[i];
        const double sum = sv_sum(n, gx);
        double with_h = 0;
        sv_real tile[COLS];
        for (size_t from = 0; from < n; from += COLS) {
            const size_t k = n - from < COLS ? n - from : COLS;
            for (size_t i = 0; i < k; i++) tile[i] = gx[from + i] * ((x[from + i] - mean) * inverse);
            with_h += sv_sum(k, tile);
        }
        const sv_real s = (sv_real)(sum / (double)n), h = (sv_real)(with_h / (double)n) * inverse;
        for (size_t i = 0; i < n; i++) gx[i] = inverse * (gx[i] - s - (x[i] - mean) * h);
    }
}

/* Adds g h and g, row by row, to sums (2, n). */
SV_LOOP(layer_column_sums,
        (size_t m, size_t n, const sv_real *x, const sv_real *g, const sv_real *means, const sv_real *inverses,
         sv_real *restrict sums),
        (m, n, x, g, means, inverses, sums)) {
    for (size_t r = 0; r < m; r++, x += n, g += n) {
        const sv_real mean = means[r], inverse = inverses[r];
        for (size_t i = 0; i < n; i++) {
            sums[i] += g[i] * ((x[i] - mean) * inverse);
            sums[n + i] += g[i];
        }
    }
}

static void layer_piece_backward(void *arg, long piece, int worker) {
    (void)worker;
    const layer *l = arg;
    size_t from, m = rows_of_layer(l, piece, &from);
    const sv_real *x = l->x + from * l->cols, *g = l->g + from * l->cols, *mean = l->mean + from,
                  *inverse = l->inverse + from;
    if (l->to) layer_rows_slopes(m, l->cols, x, g, l->scale, mean, inverse, l->to + from * l->cols);
    if (!l->sums) return;
    sv_real *sums = l->sums + (size_t)piece * 2 * l->cols;
    memset(sums, 0, 2 * l->cols * sizeof *sums);
    layer_column_sums(m, l->cols, x, g, mean, inverse, sums);
}

static void layer_norm_backward(sv_args *a) {
    layer l = layer_of(a);
    sv_real *const to[2] = {a->grad_in[1], a->grad_in[2]};
    const size_t width = 2 * l.cols;
    const long pieces = layer_pieces(&l);
    sv_real *total = a->work + width * (size_t)pieces;
    l.g = a->grad_out;
    l.to = a->grad_in[0];
    l.sums = to[0] || to[1] ? a->work : NULL;
    sv_parallel(pieces, layer_piece_backward, &l);
    if (!l.sums) return;
    sv_column_sums(pieces, (long)width, l.sums, total, total + width);
    for (int k = 0; k < 2; k++)
        if (to[k]) memcpy(to[k], total + (size_t)k * l.cols, l.cols * sizeof *total);
}

const sv_op sv_ops_norm[] = {
    {"batch_norm",
     "x, scale, shift, running_mean?, running_var?; training:bool=true, momentum:num=0.1, eps:num=1e-5, "
     "activation:enum(none|relu|leaky_relu)=none, slope:num=0.2",
     batch_norm_shape, batch_norm_forward, batch_norm_backward, SV_OP_CHANNELS_LAST | SV_OP_IN_PLACE,
     "x (N, C) or (N, C, H, W), normalised over all axes but C, scaled, shifted (Ioffe and Szegedy 2015) and, in the "
     "same pass, activated. In training by the batch's mean and biased variance, moving the running ones; else by "
     "the running ones.",
     "r(3, 2, 4, 4), r(2), r(2)"},
    {"batch_moments", "x", batch_moments_shape, batch_moments_forward, NULL,
     SV_OP_CHANNELS_LAST | SV_OP_NO_GRAD | SV_OP_INTERNAL,
     "Mean and sum of squares about it of each channel of x (N, C) or (N, C, H, W): (2, C).", "r(3, 2, 4, 4)"},
    {"batch_norm_by",
     "x, scale, shift, mean, var; microbatches:int=1, eps:num=1e-5, activation:enum(none|relu|leaky_relu)=none, "
     "slope:num=0.2",
     batch_norm_by_shape, batch_norm_by_forward, batch_norm_by_backward,
     SV_OP_CHANNELS_LAST | SV_OP_IN_PLACE | SV_OP_SUMS | SV_OP_INTERNAL,
     "batch_norm in training by the mean and biased variance of all microbatches of a batch, of which x is one; the "
     "gradient of x takes them as the functions of x that they are.",
     "(function(x) return x, r(2), r(2), mean(x, {1, 3, 4}):detach(), var(x, {1, 3, 4}, false, 0):detach() end)(r(3, "
     "2, "
     "4, 4))"},
    {"layer_norm", "x, scale, shift; eps:num=1e-5", layer_norm_shape, layer_norm_forward, layer_norm_backward, 0,
     "x (…, D) normalised over its last axis, scaled and shifted by (D) (Ba, Kiros and Hinton 2016).",
     "r(3, 5), r(5), r(5)"},
    {0},
};
