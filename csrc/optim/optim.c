/* optim.c: shared by the optimizers: the parameters of a step with their buffers, the parallel region over them, and
 * the table core.optim for lua/simvae/nn/optim.lua. */
#include "optim.h"

#include <string.h>

sv_tensor *sv_check_parameter(lua_State *L, int index) {
    sv_tensor *p = sv_check_tensor(L, index);
    if (!p->is_leaf || !p->grad || !p->grad_valid) return NULL; /* frozen, or not part of this loss */
    return p;
}

/* The numbers of the buffer of that name in the table on top of the stack. */
static sv_real *buffer_of(lua_State *L, const char *name, const sv_tensor *p) {
    lua_getfield(L, -1, name);
    sv_tensor *t = sv_check_tensor(L, -1);
    if (t->ndim != p->ndim || memcmp(t->shape, p->shape, (size_t)t->ndim * sizeof t->shape[0]) != 0) {
        char own[SV_MESSAGE], other[SV_MESSAGE];
        sv_format_shape(own, sizeof own, t->ndim, t->shape);
        sv_format_shape(other, sizeof other, p->ndim, p->shape);
        luaL_error(L, "optimizer: a buffer of shape %s for a parameter of shape %s", own, other);
    }
    lua_pop(L, 1);
    return t->data;
}

sv_update *sv_push_updates(lua_State *L, int list, const char *const names[SV_BUFFERS], long *count) {
    sv_check_type(L, list, LUA_TTABLE);
    lua_Integer all = (lua_Integer)lua_rawlen(L, list);
    sv_update *updates = lua_newuserdatauv(L, (size_t)(all + 1) * sizeof *updates, 0);
    *count = 0;
    for (lua_Integer k = 1; k <= all; k++) {
        lua_rawgeti(L, list, k);
        lua_getfield(L, -1, "tensor");
        const sv_tensor *p = sv_check_parameter(L, -1);
        lua_pop(L, 1);
        if (p) {
            sv_update *u = &updates[(*count)++];
            sv_note_write(p->storage);
            *u = (sv_update){.count = p->count, .p = p->data, .g = p->grad->data};
            for (int i = 0; i < SV_BUFFERS; i++)
                if (names[i]) u->buffer[i] = buffer_of(L, names[i], p);
            lua_getfield(L, -1, "steps");
            u->step = sv_check_number(L, -1) + 1;
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
    long i = 0;
    for (lua_Integer k = 1; k <= all; k++) { /* after all checks */
        lua_rawgeti(L, list, k);
        lua_getfield(L, -1, "tensor");
        if (sv_check_parameter(L, -1)) {
            lua_pushinteger(L, (lua_Integer)updates[i++].step);
            lua_setfield(L, -3, "steps");
        }
        lua_pop(L, 2);
    }
    return updates;
}

typedef struct region {
    const sv_update *updates;
    long count;
    void (*run)(const void *rule, const sv_update *u, size_t from, size_t to);
    const void *rule;
} region;

static void run_piece(void *arg, long i, int worker) {
    const region *r = arg;
    const sv_update *u = &r->updates[i % r->count];
    size_t from, to;
    (void)worker;
    sv_stripe(u->count, i / r->count, &from, &to);
    r->run(r->rule, u, from, to);
}

int sv_run_updates(lua_State *L, const sv_update *u, long count,
                   void (*run)(const void *rule, const sv_update *u, size_t from, size_t to), const void *rule) {
    sv_parallel(count * SV_STRIPES, run_piece, &(region){u, count, run, rule});
    lua_pushinteger(L, (lua_Integer)count);
    return 1;
}

void sv_open_optim(lua_State *L, int core) {
    static const luaL_Reg functions[] = {{"adam", sv_optim_adam},           {"sgd", sv_optim_sgd},
                                         {"grad_norm", sv_optim_grad_norm}, {"scale_grads", sv_optim_scale_grads},
                                         {"is_list", sv_optim_is_list},     {NULL, NULL}};
    core = lua_absindex(L, core);
    luaL_newlib(L, functions);
    lua_setfield(L, core, "optim");
}
