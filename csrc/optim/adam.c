/* adam.c: Adam (Kingma and Ba 2015, algorithm 1) and AdamW (Loshchilov and Hutter 2019,
 * algorithm 2):
 *
 *     m <- beta1 m + (1 - beta1) g            v <- beta2 v + (1 - beta2) g^2
 *     p <- p - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
 *
 * Weight decay is part of g (Adam, as L2 regularisation) or p <- (1 - lr decay) p
 * beforehand (AdamW). */
#include "optim.h"

typedef struct adam {
    sv_real beta1, beta2, eps, decay, shrink;
} adam;

enum { M, V };             /* buffers */
enum { RATE, CORRECTION }; /* factors: lr / (1 - beta1^t), 1 / sqrt(1 - beta2^t) */

SV_LOOP(adam_run, (const void *rule, const sv_update *u, size_t from, size_t to), (rule, u, from, to)) {
    const adam *a = rule;
    sv_real *restrict p = u->p, *restrict m = u->buffer[M], *restrict v = u->buffer[V];
    const sv_real *restrict g = u->g;
    const sv_real b1 = a->beta1, b2 = a->beta2, eps = a->eps, decay = a->decay, shrink = a->shrink,
                  rate = u->factor[RATE], correction = u->factor[CORRECTION];
    for (size_t i = from; i < to; i++) {
        const sv_real gi = g[i] + decay * p[i];
        const sv_real mi = b1 * m[i] + (1 - b1) * gi, vi = b2 * v[i] + (1 - b2) * gi * gi;
        m[i] = mi;
        v[i] = vi;
#ifdef SV_DOUBLE
        p[i] = p[i] * shrink - rate * mi / (sqrt(vi) * correction + eps);
#else
        p[i] = p[i] * shrink - rate * mi / (sqrtf(vi) * correction + eps);
#endif
    }
}

/* adam({{tensor=, steps=, m=, v=}, …}, lr, beta1, beta2, eps, weight_decay, decoupled) -> how many
 * had a gradient: one step of those. */
int sv_optim_adam(lua_State *L) {
    double lr = sv_check_number(L, 2), beta1 = sv_check_number(L, 3), beta2 = sv_check_number(L, 4),
           decay = sv_check_number(L, 6);
    bool decoupled = lua_toboolean(L, 7);
    adam a = {.beta1 = (sv_real)beta1,
              .beta2 = (sv_real)beta2,
              .eps = (sv_real)sv_check_number(L, 5),
              .decay = (sv_real)(decoupled ? 0 : decay),
              .shrink = (sv_real)(decoupled ? 1 - lr * decay : 1)};
    long count;
    sv_update *u = sv_push_updates(L, 1, (const char *const[SV_BUFFERS]){"m", "v"}, &count);
    for (long i = 0; i < count; i++) {
        u[i].factor[RATE] = (sv_real)(lr / (1 - pow(beta1, u[i].step)));
        u[i].factor[CORRECTION] = (sv_real)(1 / sqrt(1 - pow(beta2, u[i].step)));
    }
    return sv_run_updates(L, u, count, adam_run, &a);
}
