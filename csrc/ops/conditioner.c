/* conditioner.c: the first layer of a coupling transform's conditioner: from the context, and from the coordinates that
 * the transform passes on. Many rows may share one of the context, whose product with its weights is then taken once.
 */
#include "../kernels/loops.h"
#include "../kernels/vmath.h"
#include "../simvae.h"
#include "coupling.h"

#include <string.h>

enum { CONTEXT, STATE, WEIGHT, COLUMNS };
enum { MAX_FEATURES = 512, PARTS = 8, PIECE = 64 };

static const double TURN = 6.28318530717958647692;

/* `each` rows of the state share one of the context. */
typedef struct {
    sv_args *a;
    long rows, each, hidden, features, stride;
    long parts; /* of backward, cut at whole rows of the context */
} job;

/* Numbers that a column gives the layer: 1 of an interval, cosine and sine of a phase. */
static long features_of(const sv_tensor *columns) {
    long n = 0;
    for (size_t d = 0; d < columns->count; d++) n += (long)columns->data[d];
    return n;
}

static job make_job(sv_args *a) {
    const sv_tensor *context = a->in[CONTEXT], *state = a->in[STATE];
    job j = {.a = a, .rows = (long)state->shape[0], .hidden = (long)context->shape[1]};
    j.each = sv_coupling_each(state, context);
    j.features = features_of(a->in[COLUMNS]);
    j.stride = (long)state->shape[1];
    j.parts = sv_max(1, sv_min(PARTS, (long)context->shape[0]));
    return j;
}

static bool conditioner_shape(sv_args *a) {
    const sv_tensor *context = a->in[CONTEXT], *state = a->in[STATE], *weight = a->in[WEIGHT],
                    *columns = a->in[COLUMNS];
    if (context->ndim != 2) return sv_fail(a, "context must be (n, H)");
    if (!sv_coupling_state(a, state, columns)) return false;
    long features = features_of(columns);
    if (features < 1 || features > MAX_FEATURES) return sv_fail(a, "columns must have 1 to %d features", MAX_FEATURES);
    if (weight->ndim != 2 || weight->shape[0] != (size_t)features || weight->shape[1] != context->shape[1])
        return sv_fail(a, "weight must be (%ld, %zu)", features, context->shape[1]);
    if (!sv_coupling_rows(a, state, context, "the context")) return false;
    job j = make_job(a);
    size_t any = 0;
    for (int i = 0; i < COLUMNS; i++) any += a->in[i]->needs_grad;
    if (any) a->aux_count[0] = (size_t)(j.rows * j.hidden);
    a->backward_work_count = (size_t)(j.parts * j.features * j.hidden);
    a->ndim = 2;
    a->shape[0] = state->shape[0];
    a->shape[1] = context->shape[1];
    return true;
}

/* Features of a row, and their derivatives by its numbers (NULL: not wanted). */
static void find_features(const job *j, const sv_real *state, sv_real *f, sv_real *slope) {
    const sv_tensor *columns = j->a->in[COLUMNS];
    for (long d = 0, i = 0; d + 1 < j->stride; d++) {
        if (columns->data[d] == 1) {
            if (slope) slope[i] = 2;
            f[i++] = 2 * state[d] - 1;
        } else if (columns->data[d] == 2) {
            sv_real c = (sv_real)cos(TURN * (double)state[d]), s = (sv_real)sin(TURN * (double)state[d]);
            if (slope) slope[i] = -s * (sv_real)TURN, slope[i + 1] = c * (sv_real)TURN;
            f[i++] = c;
            f[i++] = s;
        }
    }
}

SV_LOOP(add_scaled, (long n, sv_real factor, const sv_real *restrict x, sv_real *restrict to), (n, factor, x, to)) {
    for (long i = 0; i < n; i++) to[i] += factor * x[i];
}

/* x to x sigmoid(x); slope: of it, or NULL. */
SV_LOOP(silu, (long n, sv_real *restrict x, sv_real *restrict slope), (n, x, slope)) {
    if (slope)
        for (long i = 0; i < n; i++) {
            const sv_real s = sv_sigmoid(x[i]), y = x[i] * s;
            slope[i] = s + y * (1 - s);
            x[i] = y;
        }
    else
        for (long i = 0; i < n; i++) x[i] *= sv_sigmoid(x[i]);
}

static void forward_piece(void *arg, long piece, int worker) {
    (void)worker;
    const job *j = arg;
    const long H = j->hidden, from = piece * PIECE, to = sv_min(j->rows, from + PIECE);
    for (long row = from; row < to; row++) {
        sv_real f[MAX_FEATURES], *y = j->a->out->data + row * H;
        find_features(j, j->a->in[STATE]->data + row * j->stride, f, NULL);
        memcpy(y, j->a->in[CONTEXT]->data + row / j->each * H, (size_t)H * sizeof *y);
        for (long i = 0; i < j->features; i++) add_scaled(H, f[i], j->a->in[WEIGHT]->data + i * H, y);
    }
    silu((to - from) * H, j->a->out->data + from * H, j->a->training ? j->a->aux[0] + from * H : NULL);
}

static void conditioner_forward(sv_args *a) {
    job j = make_job(a);
    sv_parallel(divide_up(j.rows, PIECE), forward_piece, &j);
}

SV_LOOP(scale, (long n, const sv_real *restrict slope, sv_real *restrict g), (n, slope, g)) {
    for (long i = 0; i < n; i++) g[i] *= slope[i];
}

/* Sums of products, in eight interleaved parts. */
SV_LOOP_DOUBLE(dot, (long n, const sv_real *restrict x, const sv_real *restrict y), (n, x, y)) {
    sv_real part[8] = {0}, rest = 0;
    long i = 0;
    for (; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++) part[k] += x[i + k] * y[i + k];
    for (; i < n; i++) rest += x[i] * y[i];
    for (int k = 0; k < 8; k++) rest += part[k];
    return (double)rest;
}

/* The gradient of a row's numbers, from that of its features. */
static void to_state(const job *j, const sv_real *by_feature, sv_real *to) {
    const sv_tensor *columns = j->a->in[COLUMNS];
    for (long d = 0, i = 0; d + 1 < j->stride; d++) {
        to[d] = 0;
        for (long k = (long)columns->data[d]; k > 0; k--) to[d] += by_feature[i++];
    }
    to[j->stride - 1] = 0;
}

static void backward_part(void *arg, long part, int worker) {
    (void)worker;
    const job *j = arg;
    const sv_args *a = j->a;
    const long H = j->hidden, contexts = (long)a->in[CONTEXT]->shape[0];
    const long first = contexts * part / j->parts, last = contexts * (part + 1) / j->parts;
    sv_real *weight = a->work + part * j->features * H;
    memset(weight, 0, (size_t)(j->features * H) * sizeof *weight);
    if (a->grad_in[CONTEXT]) memset(a->grad_in[CONTEXT] + first * H, 0, (size_t)((last - first) * H) * sizeof *weight);
    for (long row = first * j->each; row < last * j->each; row++) {
        sv_real f[MAX_FEATURES], slope[MAX_FEATURES], *by = a->grad_out + row * H;
        find_features(j, a->in[STATE]->data + row * j->stride, f, slope);
        scale(H, a->aux[0] + row * H, by);
        if (a->grad_in[CONTEXT]) add_scaled(H, 1, by, a->grad_in[CONTEXT] + row / j->each * H);
        if (a->grad_in[WEIGHT])
            for (long i = 0; i < j->features; i++) add_scaled(H, f[i], by, weight + i * H);
        if (!a->grad_in[STATE]) continue;
        for (long i = 0; i < j->features; i++) slope[i] *= (sv_real)dot(H, by, a->in[WEIGHT]->data + i * H);
        to_state(j, slope, a->grad_in[STATE] + row * j->stride);
    }
}

static void conditioner_backward(sv_args *a) {
    job j = make_job(a);
    sv_parallel(j.parts, backward_part, &j);
    if (a->grad_in[WEIGHT]) {
        memcpy(a->grad_in[WEIGHT], a->work, (size_t)(j.features * j.hidden) * sizeof(sv_real));
        for (long p = 1; p < j.parts; p++)
            sv_add_row(j.features * j.hidden, a->work + p * j.features * j.hidden, a->grad_in[WEIGHT]);
    }
    if (a->grad_in[COLUMNS]) memset(a->grad_in[COLUMNS], 0, a->in[COLUMNS]->count * sizeof(sv_real));
}

const sv_op sv_ops_conditioner[] = {
    {"conditioner_layer", "context, state, weight, columns", conditioner_shape, conditioner_forward,
     conditioner_backward, SV_OP_INTERNAL,
     "context (n, H), state (R, D + 1), weight (F, H), columns (D,) -> (R, H): silu(context + features weight), each "
     "row "
     "of the context for R / n rows of the state. Features are 2 x - 1 of the columns of which columns is 1, cosine "
     "and "
     "sine of 2 pi x where it is 2.",
     "r(2, 3), (r(4, 4) * 0.3 + 0.5), r(3, 3), tensor{1, 0, 2}"},
    {0},
};
