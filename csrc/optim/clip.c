/* clip.c: global norm of gradients, and scaling (Pascanu et al. 2013). */
#include "optim.h"

/* A part of a gradient, and the sum of its squares. */
typedef struct {
    sv_real *g;
    size_t count;
    double sum;
} part;

/* All gradients, cut into parts by their shapes alone. A piece is some adjacent parts, SV_CHUNK numbers or more. */
typedef struct {
    part *parts;
    long *first; /* part of each piece, and one past the last */
    long pieces, count;
    sv_real factor;
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
    for (part *p = w->parts + w->first[i]; p < w->parts + w->first[i + 1]; p++) p->sum = squares(p->count, p->g);
}

static void scale_piece(void *arg, long i, int worker) {
    (void)worker;
    const clip_work *w = arg;
    for (const part *p = w->parts + w->first[i]; p < w->parts + w->first[i + 1]; p++)
        for (size_t k = 0; k < p->count; k++) p->g[k] *= w->factor;
}

static void add_parts(const sv_tensor *p, clip_work *w) {
    for (long i = 0, n = sv_chunks(p->count); i < n; i++) {
        size_t from, to;
        sv_chunk(p->count, i, &from, &to);
        w->parts[w->count++] = (part){.g = p->grad->data + from, .count = to - from};
    }
}

/* The gradients of the list at stack index 1; pushes the userdata that hold the result. */
static clip_work push_work(lua_State *L) {
    sv_check_type(L, 1, LUA_TTABLE);
    lua_Integer all = (lua_Integer)lua_rawlen(L, 1);
    size_t most = 0;
    for (int pass = 0;; pass++) {
        clip_work w = {0};
        if (pass == 1) {
            w.parts = lua_newuserdatauv(L, (most + 1) * sizeof *w.parts, 0);
            w.first = lua_newuserdatauv(L, (most + 2) * sizeof *w.first, 0);
        }
        for (lua_Integer k = 1; k <= all; k++) {
            lua_rawgeti(L, 1, k);
            const sv_tensor *p = sv_check_parameter(L, -1);
            if (p && pass == 0) most += (size_t)sv_chunks(p->count);
            if (p && pass == 1) add_parts(p, &w);
            lua_pop(L, 1);
        }
        if (pass == 0) continue;
        size_t numbers = SV_CHUNK;
        for (long i = 0; i < w.count; i++) {
            if (numbers >= SV_CHUNK) w.first[w.pieces++] = i, numbers = 0;
            numbers += w.parts[i].count;
        }
        w.first[w.pieces] = w.count;
        return w;
    }
}

/* grad_norm{p, …}: the square root of the sum of squares of all gradients. */
int sv_optim_grad_norm(lua_State *L) {
    clip_work w = push_work(L);
    double sum = 0;
    sv_parallel(w.pieces, norm_piece, &w);
    for (long i = 0; i < w.count; i++) sum += w.parts[i].sum;
    lua_pushnumber(L, sqrt(sum));
    return 1;
}

/* scale_grads({p, …}, factor) */
int sv_optim_scale_grads(lua_State *L) {
    double factor = sv_check_number(L, 2);
    clip_work w = push_work(L);
    w.factor = (sv_real)factor;
    sv_parallel(w.pieces, scale_piece, &w);
    return 0;
}

/* is_list(t): whether a table holds tensors at 1 to n, and nothing else. */
int sv_optim_is_list(lua_State *L) {
    lua_Integer n = 0;
    bool all = true;
    sv_check_type(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    for (lua_pushnil(L); all && lua_next(L, 1); lua_pop(L, 1), n++) all = luaL_testudata(L, -1, SV_TENSOR) != NULL;
    lua_pushboolean(L, all && n == (lua_Integer)lua_rawlen(L, 1));
    return 1;
}
