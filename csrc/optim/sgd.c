/* Stochastic gradient descent with momentum (Polyak 1964) or Nesterov's momentum in
 * the form of Sutskever et al. 2013, as deep-learning libraries write them:
 *
 *     g <- g + decay p,   b <- momentum b + g,   p <- p - lr b
 *     Nesterov:           p <- p - lr (g + momentum b) */
#include "optim.h"

typedef struct {
    size_t count;
    sv_real *p, *b; /* b: NULL without momentum */
    const sv_real *g;
    sv_real lr, momentum, decay;
    bool nesterov;
} sgd_work;

SV_CLONES static void sgd_run(const sgd_work *w, size_t from, size_t to) {
    sv_real *restrict P = w->p, *restrict B = w->b;
    const sv_real *restrict G = w->g;
    const sv_real lr = w->lr, momentum = w->momentum, decay = w->decay;
    if (!B)
        for (size_t i = from; i < to; i++) P[i] -= lr * (G[i] + decay * P[i]);
    else if (w->nesterov)
        for (size_t i = from; i < to; i++) {
            const sv_real g = G[i] + decay * P[i];
            B[i] = momentum * B[i] + g;
            P[i] -= lr * (g + momentum * B[i]);
        }
    else
        for (size_t i = from; i < to; i++) {
            B[i] = momentum * B[i] + G[i] + decay * P[i];
            P[i] -= lr * B[i];
        }
}

static void sgd_piece(void *arg, long i, int worker) {
    (void)worker;
    const sgd_work *w = arg;
    size_t from, to;
    sv_chunk(w->count, i, &from, &to);
    sgd_run(w, from, to);
}

/* sgd(p, b or nil, lr, momentum, nesterov, weight_decay): one step. */
int sv_optim_sgd(lua_State *L) {
    sv_tensor *p = sv_check_parameter(L, 1);
    if (!p) return 0;
    sgd_work w = {.count = p->count,
                  .p = p->data,
                  .b = lua_isnil(L, 2) ? NULL : sv_check_moment(L, 2, p),
                  .g = p->grad->data,
                  .lr = (sv_real)luaL_checknumber(L, 3),
                  .momentum = (sv_real)luaL_checknumber(L, 4),
                  .nesterov = lua_toboolean(L, 5),
                  .decay = (sv_real)luaL_checknumber(L, 6)};
    sv_parallel(sv_chunks(w.count), sgd_piece, &w);
    return 0;
}
