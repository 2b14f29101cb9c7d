/* dropout.c: the mask is a pure function of (seed, step, index), so that the
 * gradient needs only those numbers. */
#include "../kernels/loops.h"
#include "../kernels/random.h"
#include "../simvae.h"

enum { P, SEED, STEP }; /* options */

static bool dropout_shape(sv_args *a) {
    if (!(a->opt[P] >= 0 && a->opt[P] < 1)) return sv_fail(a, "p must be at least 0 and below 1; got %g", a->opt[P]);
    return sv_same_shape(a, a->in[0]);
}

typedef struct {
    const sv_real *from;
    sv_real *to, scale;
    size_t count;
    uint64_t seed, step;
    uint32_t limit;
} masking;

static void mask_piece(void *arg, long piece, int worker) {
    (void)worker;
    const masking *m = arg;
    size_t from, to;
    sv_chunk(m->count, piece, &from, &to);
    sv_drop(m->seed, m->step, from, (long)(to - from), m->limit, m->scale, m->from + from, m->to + from);
}

static void apply_mask(const sv_args *a, const sv_real *from, sv_real *to) {
    double p = a->opt[P];
    masking m = {from,
                 to,
                 (sv_real)(1 / (1 - p)),
                 a->out->count,
                 (uint64_t)(int64_t)a->opt[SEED],
                 (uint64_t)(int64_t)a->opt[STEP],
                 (uint32_t)(p * 4294967296.0)};
    sv_parallel(sv_chunks(m.count), mask_piece, &m);
}

static void dropout_forward(sv_args *a) { apply_mask(a, a->in[0]->data, a->out->data); }
static void dropout_backward(sv_args *a) { apply_mask(a, a->grad_out, a->grad_in[0]); }

const sv_op sv_ops_dropout[] = {
    {"dropout", "x; p:num, seed:int=0, step:int=0", dropout_shape, dropout_forward, dropout_backward, SV_OP_LAYOUT_FREE,
     "Each number is set to 0 with probability p, the others divided by 1 - p (Srivastava et al. 2014); the choice is "
     "a function of (seed, step) alone.",
     "r(4, 5), 0.5, 3"},
    {0},
};
