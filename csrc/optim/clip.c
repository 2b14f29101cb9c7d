/* clip.c: global norm of gradients, and scaling (Pascanu et al. 2013). */
#include "optim.h"

enum { TILE = 512 };

typedef struct {
    size_t count;
    sv_real *g;
    sv_real factor;
    double *sums; /* one per piece */
} clip_work;

SV_LOOP_DOUBLE(squares, (size_t n, const sv_real *g), (n, g)) {
    double part[8] = {0};
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++) part[k] += (double)g[i + k] * (double)g[i + k];
    for (; i < n; i++) part[0] += (double)g[i] * (double)g[i];
    return ((part[0] + part[4]) + (part[1] + part[5])) + ((part[2] + part[6]) + (part[3] + part[7]));
}

static void norm_piece(void *arg, long i, int worker) {
    (void)worker;
    const clip_work *w = arg;
    size_t from, to;
    sv_chunk(w->count, i, &from, &to);
    w->sums[i] = squares(to - from, w->g + from);
}

static void scale_piece(void *arg, long i, int worker) {
    (void)worker;
    const clip_work *w = arg;
    size_t from, to;
    sv_chunk(w->count, i, &from, &to);
    for (size_t k = from; k < to; k++) w->g[k] *= w->factor;
}

/* grad_norm{p, …}: the square root of the sum of squares of all gradients. */
int sv_optim_grad_norm(lua_State *L) {
    sv_check_type(L, 1, LUA_TTABLE);
    double sum = 0;
    for (lua_Integer k = 1; k <= (lua_Integer)lua_rawlen(L, 1); k++) {
        lua_rawgeti(L, 1, k);
        sv_tensor *p = sv_check_parameter(L, -1);
        if (p) {
            long n = sv_chunks(p->count);
            double *sums = lua_newuserdatauv(L, (size_t)n * sizeof(double) + 1, 0);
            clip_work w = {.count = p->count, .g = p->grad->data, .sums = sums};
            sv_parallel(n, norm_piece, &w);
            for (long i = 0; i < n; i++) sum += sums[i];
        }
        lua_settop(L, 1);
    }
    lua_pushnumber(L, sqrt(sum));
    return 1;
}

/* scale_grads({p, …}, factor) */
int sv_optim_scale_grads(lua_State *L) {
    sv_check_type(L, 1, LUA_TTABLE);
    double factor = sv_check_number(L, 2);
    for (lua_Integer k = 1; k <= (lua_Integer)lua_rawlen(L, 1); k++) {
        lua_rawgeti(L, 1, k);
        sv_tensor *p = sv_check_parameter(L, -1);
        if (p) {
            clip_work w = {.count = p->count, .g = p->grad->data, .factor = (sv_real)factor};
            sv_parallel(sv_chunks(p->count), scale_piece, &w);
        }
        lua_settop(L, 2);
    }
    return 0;
}
