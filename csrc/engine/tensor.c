/* tensor.c: the tensor userdata for C: making and checking tensors, and shapes from and to Lua. */
#include "engine.h"

#include <stdio.h>
#include <string.h>

/* ---- making ---------------------------------------------------------------- */

/* The product of a shape, or raises; every shape from Lua passes through here. */
static size_t product(lua_State *L, int ndim, const size_t *shape) {
    size_t count;
    if (sv_count_shape(ndim, shape, &count)) return count;
    char text[SV_MESSAGE];
    sv_format_shape(text, sizeof text, ndim, shape);
    return (size_t)luaL_error(L, "a tensor of shape %s is larger than the address space", text);
}

/* Expects the storage on top of the stack; replaces it by the tensor. */
static sv_tensor *wrap(lua_State *L, sv_storage *s, size_t offset, int ndim, const size_t *shape) {
    sv_tensor *t = lua_newuserdatauv(L, sizeof *t, SV_USER_VALUES);
    memset(t, 0, sizeof *t);
    t->storage = s;
    t->data = s->data + offset;
    t->generation = s->generation;
    t->ndim = ndim;
    if (ndim > 0) memcpy(t->shape, shape, (size_t)ndim * sizeof *shape);
    t->count = product(L, ndim, shape);
    lua_insert(L, -2);
    lua_setiuservalue(L, -2, SV_UV_STORAGE);
    luaL_setmetatable(L, SV_TENSOR);
    return t;
}

sv_tensor *sv_push_tensor(lua_State *L, int ndim, const size_t *shape, enum sv_scope scope) {
    sv_context *c = sv_get_context(L);
    sv_storage *s = sv_push_storage(L, c, product(L, ndim, shape), scope);
    return wrap(L, s, 0, ndim, shape);
}

sv_tensor *sv_push_view(lua_State *L, int of, size_t offset, int ndim, const size_t *shape) {
    sv_tensor *base = lua_touserdata(L, of);
    lua_getiuservalue(L, of, SV_UV_STORAGE);
    return wrap(L, base->storage, (size_t)(base->data - base->storage->data) + offset, ndim, shape);
}

sv_tensor *sv_push_tensor_on(lua_State *L, int storage, int ndim, const size_t *shape) {
    lua_pushvalue(L, storage);
    return wrap(L, lua_touserdata(L, -1), 0, ndim, shape);
}

sv_tensor *sv_test_tensor(lua_State *L, int index) { return luaL_testudata(L, index, SV_TENSOR); }

void sv_check_alive(lua_State *L, const sv_tensor *t) {
    if (t->generation == t->storage->generation) return;
    char shape[SV_MESSAGE];
    sv_format_shape(shape, sizeof shape, t->ndim, t->shape);
    luaL_error(L,
               "this tensor of shape %s was released with its tape, or with the call of simulate that it was given to; "
               "tape:keep(t) before the tape closes (or before backward), or t:clone() outside it, keeps a value",
               shape);
}

sv_tensor *sv_check_tensor(lua_State *L, int index) {
    sv_tensor *t = sv_check_object(L, index, SV_TENSOR);
    sv_check_alive(L, t);
    return t;
}

sv_tensor *sv_ensure_grad(lua_State *L, int index) {
    sv_tensor *t = lua_touserdata(L, index);
    if (t->grad) return t->grad;
    index = lua_absindex(L, index);
    sv_tensor *g = sv_push_tensor(L, t->ndim, t->shape, SV_PERSISTENT);
    memset(g->data, 0, g->count * sizeof(sv_real));
    lua_setiuservalue(L, index, SV_UV_GRAD);
    t->grad = g;
    t->grad_valid = false;
    return g;
}

void sv_check_writable(lua_State *L, const sv_tensor *t) {
    for (const sv_tape *tape = sv_enter(L)->scopes; tape; tape = tape->older)
        for (int i = 0; i < tape->count; i++) {
            const sv_node *n = tape->nodes[i];
            if (n->passed) continue;
            bool needed = n->args.out->storage == t->storage;
            for (int k = 0; k < n->args.nin && !needed; k++) needed = n->in[k] && n->in[k]->storage == t->storage;
            if (needed)
                luaL_error(L, "an open tape needs the value of this tensor for its gradient; "
                              "change a t:clone(), or change it outside the tape");
        }
    sv_note_write(t->storage);
}

/* ---- shapes from and to Lua ------------------------------------------------ */

void sv_format_shape(char *to, size_t room, int ndim, const size_t *shape) {
    size_t at = (size_t)snprintf(to, room, "(");
    for (int i = 0; i < ndim && at < room; i++)
        at += (size_t)snprintf(to + at, room - at, i ? ", %zu" : "%zu", shape[i]);
    if (at < room) snprintf(to + at, room - at, ndim == 1 ? ",)" : ")");
}

static size_t check_extent(lua_State *L, int index) {
    int ok;
    lua_Integer n = lua_tointegerx(L, index, &ok);
    if (!ok || n < 0) {
        const char *got = luaL_tolstring(L, index, NULL);
        luaL_error(L, "%s: a shape is whole numbers >= 0, such as {64, 3}; got %s", sv_function_name(L), got);
    }
    if ((size_t)n > SV_MAX_COUNT) luaL_error(L, "an axis of %I is larger than the address space", n);
    return (size_t)n;
}

int sv_check_length(lua_State *L, int index, int maximum, const char *what) {
    lua_Integer n = luaL_len(L, index);
    if (n < 0 || n > maximum) luaL_error(L, "%s: at most %d; got a list of %I", what, maximum, n);
    return (int)n;
}

int sv_check_shape(lua_State *L, int first, size_t *shape) {
    int n;
    if (lua_istable(L, first)) {
        n = sv_check_length(L, first, SV_MAX_DIM, "axes of a tensor");
        for (int i = 0; i < n; i++) {
            lua_rawgeti(L, first, i + 1);
            shape[i] = check_extent(L, -1);
            lua_pop(L, 1);
        }
        return n;
    }
    n = lua_gettop(L) - first + 1;
    if (n < 0) n = 0;
    if (n > SV_MAX_DIM) luaL_error(L, "a tensor has at most %d axes; got %d", SV_MAX_DIM, n);
    for (int i = 0; i < n; i++) shape[i] = check_extent(L, first + i);
    return n;
}
