/* recurrent.c: recurrent layers over whole series: a gated recurrent unit (Cho et al. 2014, as in PyTorch) and long
 * short-term memory (Hochreiter and Schmidhuber 1997, with the forget gate of Gers, Schmidhuber and Cummins 2000).
 *
 * gates (N, T, G H) are what the inputs give to G gates of H units each; a product with w and the bias b are added from
 * step to step. A step is one product and one pass over the units, so that a series of T steps is one op. Backward
 * goes through the steps from the last to the first (backpropagation through time); the gradient of w is one product
 * over all steps at the end.
 *
 *   GRU   r, z = S(x + h w' + b)   n = tanh(x + r * (h w' + b))   h <- (1 - z) * n + z * h
 *   LSTM  i, f, o = S(…)   g = tanh(…)   c <- f * c + i * g   h <- o * tanh(c)
 */
#include "../kernels/cpu.h"
#include "../kernels/loops.h"
#include "../kernels/vmath.h"
#include "../simvae.h"

#include <string.h>

enum { GATES, WEIGHT, BIAS };
enum { GRU = 3, LSTM = 4 }; /* gates */

/* Row (n, t) of a matrix is at (n * steps + t) * its width. kept: of each row what backward needs, of a GRU r, z, n and
 * the product of n; of an LSTM the four gates and c. */
typedef struct {
    const sv_args *a;
    long n, steps, units, gates, wide, kept_wide; /* wide: gates * units */
    const sv_real *x, *w, *b;
    sv_real *h, *kept;
    sv_real *product;     /* (n, wide) */
    const sv_real *zeros; /* units of them: the state before the first step */
    long t;
    /* backward */
    const sv_real *g;
    sv_real *carry, *carry_c; /* (n, units): gradients of the state before the step */
    sv_real *to, *inner;      /* gradients of the gates and of the products, (n, steps, wide) */
} job;

static job make_job(const sv_args *a, int gates) {
    const sv_tensor *x = a->in[GATES];
    job j = {.a = a, .n = (long)x->shape[0], .steps = (long)x->shape[1], .gates = gates, .wide = (long)x->shape[2]};
    j.units = j.wide / gates;
    j.kept_wide = (gates == GRU ? 4 : 5) * j.units;
    j.x = x->data;
    j.w = a->in[WEIGHT]->data;
    j.b = a->in[BIAS]->data;
    j.h = a->out->data;
    j.kept = a->aux[0];
    return j;
}

static bool any_shape(sv_args *a, int gates) {
    const sv_tensor *x = a->in[GATES], *w = a->in[WEIGHT], *b = a->in[BIAS];
    if (x->ndim != 3 || x->shape[2] < 1 || x->shape[2] % (size_t)gates != 0)
        return sv_fail(a, "gates must be (N, T, %d H)", gates);
    size_t wide = x->shape[2], units = wide / (size_t)gates, rows = x->shape[0] * x->shape[1];
    if (x->shape[1] < 1) return sv_fail(a, "gates must have 1 step or more");
    if (w->ndim != 2 || w->shape[0] != wide || w->shape[1] != units)
        return sv_fail(a, "w must be (%zu, %zu)", wide, units);
    if (b->ndim != 1 || b->shape[0] != wide) return sv_fail(a, "b must be (%zu,)", wide);
    a->ndim = 3;
    a->shape[0] = x->shape[0];
    a->shape[1] = x->shape[1];
    a->shape[2] = units;
    a->aux_count[0] = rows * (gates == GRU ? 4 : 5) * units;
    a->work_count = x->shape[0] * wide + units;
    /* carries, both gradients, h before each step */
    a->backward_work_count =
        2 * x->shape[0] * units + rows * (2 * wide + units) + sv_column_sums_work((long)rows, (long)wide);
    return true;
}

/* ---- forward ---------------------------------------------------------------------------- */

SV_LOOP(gru_row, (long units, const sv_real *x, const sv_real *p, const sv_real *h, sv_real *to, sv_real *kept),
        (units, x, p, h, to, kept)) {
    for (long i = 0; i < units; i++) {
        sv_real r = sv_sigmoid(x[i] + p[i]), z = sv_sigmoid(x[units + i] + p[units + i]);
        sv_real n = sv_tanh(x[2 * units + i] + r * p[2 * units + i]);
        kept[i] = r;
        kept[units + i] = z;
        kept[2 * units + i] = n;
        kept[3 * units + i] = p[2 * units + i];
        to[i] = (1 - z) * n + z * h[i];
    }
}

/* c: before the step; the new one is kept. */
SV_LOOP(lstm_row, (long units, const sv_real *x, const sv_real *p, const sv_real *c, sv_real *to, sv_real *kept),
        (units, x, p, c, to, kept)) {
    for (long k = 0; k < units; k++) {
        sv_real i = sv_sigmoid(x[k] + p[k]), f = sv_sigmoid(x[units + k] + p[units + k]);
        sv_real g = sv_tanh(x[2 * units + k] + p[2 * units + k]), o = sv_sigmoid(x[3 * units + k] + p[3 * units + k]);
        sv_real now = f * c[k] + i * g;
        kept[k] = i;
        kept[units + k] = f;
        kept[2 * units + k] = g;
        kept[3 * units + k] = o;
        kept[4 * units + k] = now;
        to[k] = o * sv_tanh(now);
    }
}

static void forward_sample(void *arg, long n, int worker) {
    const job *j = arg;
    (void)worker;
    long row = n * j->steps + j->t;
    sv_real *h = j->h + row * j->units, *kept = j->kept + row * j->kept_wide;
    const sv_real *before = j->t == 0 ? j->zeros : j->gates == GRU ? h - j->units : kept - j->units;
    (j->gates == GRU ? gru_row : lstm_row)(j->units, j->x + row * j->wide, j->product + n * j->wide, before, h, kept);
}

static void any_forward(sv_args *a, int gates) {
    job j = make_job(a, gates);
    sv_real *zeros = a->work;
    memset(zeros, 0, (size_t)j.units * sizeof *zeros);
    j.zeros = zeros;
    j.product = zeros + j.units;
    for (long n = 0; n < j.n; n++) memcpy(j.product + n * j.wide, j.b, (size_t)j.wide * sizeof *j.b);
    for (j.t = 0; j.t < j.steps; j.t++) {
        if (j.t > 0)
            sv_gemm(false, true, j.n, j.wide, j.units, j.h + (j.t - 1) * j.units, j.steps * j.units, j.w, j.units,
                    false, j.b, j.product, j.wide);
        sv_parallel(j.n, forward_sample, &j);
    }
}

/* ---- backward --------------------------------------------------------------------------- */

/* carry: the gradient of h behind the step, without that of the output g; becomes the part of the one before it that
 * passes by the products. */
SV_LOOP(gru_slopes,
        (long units, const sv_real *kept, const sv_real *h, const sv_real *g, sv_real *carry, sv_real *to,
         sv_real *inner),
        (units, kept, h, g, carry, to, inner)) {
    for (long i = 0; i < units; i++) {
        sv_real r = kept[i], z = kept[units + i], n = kept[2 * units + i], p = kept[3 * units + i];
        sv_real d = g[i] + carry[i], dn = d * (1 - z) * (1 - n * n);
        to[i] = inner[i] = dn * p * r * (1 - r);
        to[units + i] = inner[units + i] = d * (h[i] - n) * z * (1 - z);
        to[2 * units + i] = dn;
        inner[2 * units + i] = dn * r;
        carry[i] = d * z;
    }
}

SV_LOOP(lstm_slopes,
        (long units, const sv_real *kept, const sv_real *c, const sv_real *g, sv_real *carry, sv_real *carry_c,
         sv_real *to),
        (units, kept, c, g, carry, carry_c, to)) {
    for (long k = 0; k < units; k++) {
        sv_real i = kept[k], f = kept[units + k], q = kept[2 * units + k], o = kept[3 * units + k];
        sv_real y = sv_tanh(kept[4 * units + k]), d = g[k] + carry[k], dc = carry_c[k] + d * o * (1 - y * y);
        to[k] = dc * q * i * (1 - i);
        to[units + k] = dc * c[k] * f * (1 - f);
        to[2 * units + k] = dc * i * (1 - q * q);
        to[3 * units + k] = d * y * o * (1 - o);
        carry[k] = 0;
        carry_c[k] = dc * f;
    }
}

static void backward_sample(void *arg, long n, int worker) {
    const job *j = arg;
    (void)worker;
    long row = n * j->steps + j->t, units = j->units;
    const sv_real *kept = j->kept + row * j->kept_wide, *g = j->g + row * units;
    sv_real *carry = j->carry + n * units, *to = j->to + row * j->wide;
    if (j->gates == GRU)
        gru_slopes(units, kept, j->t == 0 ? j->zeros : j->h + (row - 1) * units, g, carry, to,
                   j->inner + row * j->wide);
    else
        lstm_slopes(units, kept, j->t == 0 ? j->zeros : kept - units, g, carry, j->carry_c + n * units, to);
}

/* The gradient of w: products of what reached it, and of h before each step. */
static void weight_slopes(const job *j, sv_real *before, sv_real *to) {
    for (long n = 0; n < j->n; n++) {
        sv_real *first = before + n * j->steps * j->units;
        memset(first, 0, (size_t)j->units * sizeof *first);
        memcpy(first + j->units, j->h + n * j->steps * j->units, (size_t)((j->steps - 1) * j->units) * sizeof *first);
    }
    sv_gemm(true, false, j->wide, j->units, j->n * j->steps, j->inner, j->wide, before, j->units, false, NULL, to,
            j->units);
}

static void any_backward(sv_args *a, int gates) {
    job j = make_job(a, gates);
    size_t rows = (size_t)(j.n * j.steps), states = (size_t)(j.n * j.units);
    j.g = a->grad_out;
    j.carry = a->work;
    j.carry_c = j.carry + states;
    j.to = j.carry_c + states;
    j.inner = gates == GRU ? j.to + rows * (size_t)j.wide : j.to;
    sv_real *before = j.to + 2 * rows * (size_t)j.wide, *sums = before + rows * (size_t)j.units;
    memset(before, 0, (size_t)j.units * sizeof *before);
    j.zeros = before; /* until the gradient of w */
    memset(j.carry, 0, 2 * states * sizeof *j.carry);
    for (j.t = j.steps - 1; j.t >= 0; j.t--) {
        sv_parallel(j.n, backward_sample, &j);
        if (j.t > 0)
            sv_gemm(false, false, j.n, j.units, j.wide, j.inner + j.t * j.wide, j.steps * j.wide, j.w, j.units, true,
                    NULL, j.carry, j.units);
    }
    if (a->grad_in[GATES]) memcpy(a->grad_in[GATES], j.to, rows * (size_t)j.wide * sizeof *j.to);
    if (a->grad_in[WEIGHT]) weight_slopes(&j, before, a->grad_in[WEIGHT]);
    if (a->grad_in[BIAS]) sv_column_sums((long)rows, j.wide, j.inner, a->grad_in[BIAS], sums);
}

static bool gru_shape(sv_args *a) { return any_shape(a, GRU); }
static void gru_forward(sv_args *a) { any_forward(a, GRU); }
static void gru_backward(sv_args *a) { any_backward(a, GRU); }
static bool lstm_shape(sv_args *a) { return any_shape(a, LSTM); }
static void lstm_forward(sv_args *a) { any_forward(a, LSTM); }
static void lstm_backward(sv_args *a) { any_backward(a, LSTM); }

const sv_op sv_ops_recurrent[] = {
    {"gru", "gates, w, b", gru_shape, gru_forward, gru_backward, 0,
     "Gated recurrent unit (Cho et al. 2014), from a state of zeros: gates (N, T, 3 H), what the inputs give to r, z "
     "and "
     "n, w (3 H, H), b (3 H) -> states (N, T, H). As in PyTorch, r scales the product with w and its bias: r, z = "
     "sigmoid(x + h w' + b), n = tanh(x + r (h w' + b)), h <- (1 - z) n + z h. sv.nn.gru is a layer of it.",
     "r(2, 4, 6), r(6, 2), r(6)"},
    {"lstm", "gates, w, b", lstm_shape, lstm_forward, lstm_backward, 0,
     "Long short-term memory (Hochreiter and Schmidhuber 1997) with a forget gate, from states of zeros: gates (N, T, "
     "4 H), what the inputs give to i, f, g and o, w (4 H, H), b (4 H) -> states (N, T, H): c <- f c + i g, h <- o "
     "tanh(c). sv.nn.lstm is a layer of it.",
     "r(2, 4, 8), r(8, 2), r(8)"},
    {0},
};
