/* apply.c: one call of an op: layouts, the row's shape function, memory, forward, and a node on the tape if a gradient
 * may be needed. Errors are raised here, with the op's name and all shapes. */
#include "apply.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool sv_fail(sv_args *a, const char *format, ...) {
    va_list list;
    va_start(list, format);
    vsnprintf(a->message, sizeof a->message, format, list);
    va_end(list);
    return false;
}

bool sv_same_shape(sv_args *a, const sv_tensor *t) {
    a->ndim = t->ndim;
    memcpy(a->shape, t->shape, sizeof a->shape);
    return true;
}

static int raise(lua_State *L, const sv_args *a) {
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    luaL_addstring(&b, a->op->name);
    luaL_addstring(&b, ": ");
    luaL_addstring(&b, a->message);
    luaL_addstring(&b, " [");
    for (int k = 0; k < a->nin && k < 8; k++) {
        char shape[SV_MESSAGE] = "none";
        if (a->in[k]) sv_format_shape(shape, sizeof shape, a->in[k]->ndim, a->in[k]->shape);
        if (k) luaL_addstring(&b, ", ");
        luaL_addstring(&b, shape);
    }
    luaL_addstring(&b, a->nin > 8 ? ", …]" : "]");
    luaL_pushresult(&b);
    luaL_where(L, 1);
    lua_insert(L, -2);
    lua_concat(L, 2);
    return lua_error(L);
}

sv_tensor *sv_apply(lua_State *L, const sv_op *op, int nin, int base, const double *opt, const sv_list *list) {
    sv_context *c = sv_get_context(L);
    sv_tensor *in[SV_MAX_IN];
    sv_args a;
    memset(&a, 0, sizeof a);
    a.op = op;
    a.nin = nin;
    a.in = in;
    base = lua_absindex(L, base);
    luaL_checkstack(L, 8, NULL);
    bool needs_grad = false;
    for (int k = 0; k < nin; k++) {
        in[k] = lua_isnil(L, base + k) ? NULL : sv_check_tensor(L, base + k);
        needs_grad |= in[k] && in[k]->needs_grad;
    }
    if (opt) memcpy(a.opt, opt, sizeof a.opt);
    if (list) memcpy(a.list, list, sizeof a.list);
    enum sv_layout layout = sv_settle_layout(L, &a, base);
    if (!op->shape(&a)) raise(L, &a);
    if (a.wants_blas && sv_load_blas(L) && !op->shape(&a)) raise(L, &a);
    size_t count;
    if (!sv_count_shape(a.ndim, a.shape, &count)) {
        sv_fail(&a, "the result would have more than 2^48 numbers");
        raise(L, &a);
    }
    if (!sv_reserve_scratch()) luaL_error(L, "%s: not enough memory", op->name);
    a.training = needs_grad && c->recording && !(op->flags & SV_OP_NO_GRAD);

    if (op->flags & SV_OP_VIEW)
        a.out = sv_push_view(L, base, a.view_offset, a.ndim, a.shape);
    else
        a.out = sv_push_tensor(L, a.ndim, a.shape, SV_SCOPED);
    int out = lua_gettop(L);
    a.out->layout = a.ndim == 4 ? layout : SV_PLAIN;

    sv_storage *aux[SV_MAX_AUX] = {NULL}, *work = NULL;
    for (int k = 0; k < SV_MAX_AUX; k++)
        if (a.aux_count[k]) {
            aux[k] = sv_push_storage(L, c, a.aux_count[k], SV_SCOPED);
            a.aux[k] = aux[k]->data;
        }
    if (a.work_count) {
        work = sv_push_storage(L, c, a.work_count, SV_SCOPED);
        a.work = work->data;
    }
    if (a.cache_count[0] || a.cache_count[1]) sv_make_weight_cache(L, c, &a, base + 1);
    if (!(op->flags & SV_OP_VIEW) && count > 0) op->forward(&a);
    if (a.message[0]) raise(L, &a);
    if (work) sv_release_storage(c, work);
    lua_settop(L, out);
    if (a.training)
        sv_record(L, c, &a, base, aux);
    else
        for (int k = 0; k < SV_MAX_AUX; k++)
            if (aux[k]) sv_release_storage(c, aux[k]);
    if (c->tracing) sv_trace_op(L, &a, base, out);
    return a.out;
}
