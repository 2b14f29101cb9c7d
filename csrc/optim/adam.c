/* Adam (Kingma and Ba 2015, algorithm 1) and AdamW (Loshchilov and Hutter 2019,
 * algorithm 2):
 *
 *     m <- beta1 m + (1 - beta1) g            v <- beta2 v + (1 - beta2) g^2
 *     p <- p - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
 *
 * Weight decay is part of g (Adam, as L2 regularisation) or p <- (1 - lr decay) p
 * beforehand (AdamW). */
#include "optim.h"

typedef struct {
    size_t count;
    sv_real *p, *m, *v;
    const sv_real *g;
    sv_real beta1, beta2, rate, correction, eps, decay, shrink; /* rate: lr / (1 - beta1^t) */
} adam_work;

SV_CLONES static void adam_run(const adam_work *w, size_t from, size_t to) {
    sv_real *restrict P = w->p, *restrict M = w->m, *restrict V = w->v;
    const sv_real *restrict G = w->g;
    const sv_real b1 = w->beta1, b2 = w->beta2, rate = w->rate, correction = w->correction, eps = w->eps,
                  decay = w->decay, shrink = w->shrink;
    for (size_t i = from; i < to; i++) {
        const sv_real p = P[i] * shrink, g = G[i] + decay * P[i];
        const sv_real m = b1 * M[i] + (1 - b1) * g, v = b2 * V[i] + (1 - b2) * g * g;
        M[i] = m;
        V[i] = v;
#ifdef SV_DOUBLE
        P[i] = p - rate * m / (sqrt(v) * correction + eps);
#else
        P[i] = p - rate * m / (sqrtf(v) * correction + eps);
#endif
    }
}

static void adam_piece(void *arg, long i, int worker) {
    (void)worker;
    const adam_work *w = arg;
    size_t from, to;
    sv_chunk(w->count, i, &from, &to);
    adam_run(w, from, to);
}

/* adam(p, m, v, t, lr, beta1, beta2, eps, weight_decay, decoupled): one step, p's
 * t-th (from 1). */
int sv_optim_adam(lua_State *L) {
    sv_tensor *p = sv_check_parameter(L, 1);
    if (!p) return 0;
    double t = luaL_checknumber(L, 4), lr = luaL_checknumber(L, 5), beta1 = luaL_checknumber(L, 6),
           beta2 = luaL_checknumber(L, 7), decay = luaL_checknumber(L, 9);
    bool decoupled = lua_toboolean(L, 10);
    adam_work w = {.count = p->count,
                   .p = p->data,
                   .m = sv_check_moment(L, 2, p),
                   .v = sv_check_moment(L, 3, p),
                   .g = p->grad->data,
                   .beta1 = (sv_real)beta1,
                   .beta2 = (sv_real)beta2,
                   .rate = (sv_real)(lr / (1 - pow(beta1, t))),
                   .correction = (sv_real)(1 / sqrt(1 - pow(beta2, t))),
                   .eps = (sv_real)luaL_checknumber(L, 8),
                   .decay = (sv_real)(decoupled ? 0 : decay),
                   .shrink = (sv_real)(decoupled ? 1 - lr * decay : 1)};
    sv_parallel(sv_chunks(w.count), adam_piece, &w);
    return 0;
}
