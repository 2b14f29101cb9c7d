/* sgd.c: stochastic gradient descent with momentum (Polyak 1964) or Nesterov's momentum in
 * the form of Sutskever et al. 2013, as deep-learning libraries write them:
 *
 *     g <- g + decay p,   b <- momentum b + g,   p <- p - lr b
 *     Nesterov:           p <- p - lr (g + momentum b) */
#include "optim.h"

typedef struct sgd {
    sv_real lr, momentum, decay;
    bool nesterov;
} sgd;

SV_LOOP(sgd_run, (const void *rule, const sv_update *u, size_t from, size_t to), (rule, u, from, to)) {
    const sgd *s = rule;
    sv_real *restrict p = u->p, *restrict b = u->buffer[0];
    const sv_real *restrict g = u->g;
    const sv_real lr = s->lr, momentum = s->momentum, decay = s->decay;
    if (!b)
        for (size_t i = from; i < to; i++) p[i] -= lr * (g[i] + decay * p[i]);
    else if (s->nesterov)
        for (size_t i = from; i < to; i++) {
            const sv_real gi = g[i] + decay * p[i];
            b[i] = momentum * b[i] + gi;
            p[i] -= lr * (gi + momentum * b[i]);
        }
    else
        for (size_t i = from; i < to; i++) {
            b[i] = momentum * b[i] + g[i] + decay * p[i];
            p[i] -= lr * b[i];
        }
}

/* sgd({{tensor=, steps=, momentum=}, …}, lr, momentum, nesterov, weight_decay) -> how many had a
 * gradient: one step of those. Buffers exist if momentum is not 0. */
int sv_optim_sgd(lua_State *L) {
    sgd s = {.lr = (sv_real)sv_check_number(L, 2),
             .momentum = (sv_real)sv_check_number(L, 3),
             .nesterov = lua_toboolean(L, 4),
             .decay = (sv_real)sv_check_number(L, 5)};
    long count;
    const char *const names[SV_BUFFERS] = {s.momentum != 0 ? "momentum" : NULL};
    const sv_update *u = sv_push_updates(L, 1, names, &count);
    return sv_run_updates(L, u, count, sgd_run, &s);
}
