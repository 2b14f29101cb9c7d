/* The tape: a scope for memory, and the record that backward reads.
 *
 *     do
 *       local tape <close> = sv.tape()
 *       local loss = sv.mse_loss(net(z), x)
 *       tape:backward(loss)
 *     end                       -- all that was made here is back in the free lists
 *
 * Backward walks the nodes from the loss to the first. An op writes each wanted
 * gradient in full; where a tensor was used more than once, the second and later
 * ones are written beside it and added here, so that no op needs to know. What a
 * node held goes back to the free lists as it is passed. */
#include "../simvae.h"

#include <stdlib.h>
#include <string.h>

bool sv_recording(const sv_context *c) { return c->tape && c->tape->recording && c->no_grad == 0; }

void sv_own(sv_tape *t, sv_storage *s, lua_State *L) {
    if (t->storages == t->storage_room) {
        int room = t->storage_room ? 2 * t->storage_room : 64;
        sv_storage **grown = realloc(t->storage, (size_t)room * sizeof *grown);
        if (!grown) luaL_error(L, "out of memory");
        t->storage = grown;
        t->storage_room = room;
    }
    s->owner = t;
    s->slot = t->storages;
    t->storage[t->storages++] = s;
}

/* Keeps the tensor at index alive until the tape closes. */
static void anchor(lua_State *L, sv_tape *tape, int index) {
    index = lua_absindex(L, index);
    luaL_getmetatable(L, SV_TAPE);
    lua_rawgetp(L, -1, tape);
    lua_pushvalue(L, index);
    lua_rawsetp(L, -2, lua_touserdata(L, index));
    lua_pop(L, 2);
}

void sv_record(lua_State *L, sv_context *c, const sv_args *a, int base, sv_storage *const aux[SV_MAX_AUX]) {
    sv_tape *t = c->tape;
    if (t->count == t->room) {
        int room = t->room ? 2 * t->room : 64;
        sv_node **grown = realloc(t->nodes, (size_t)room * sizeof *grown);
        if (!grown) luaL_error(L, "out of memory");
        t->nodes = grown;
        t->room = room;
    }
    sv_node *n = malloc(sizeof *n + (size_t)a->nin * sizeof n->in[0]);
    if (!n) luaL_error(L, "out of memory");
    n->args = *a;
    memcpy(n->in, a->in, (size_t)a->nin * sizeof n->in[0]);
    n->args.in = n->in;
    memcpy(n->aux, aux, sizeof n->aux);
    n->grad = NULL;
    n->passed = false;
    a->out->needs_grad = true;
    a->out->tape = t;
    a->out->node = t->count;
    t->nodes[t->count++] = n;
    anchor(L, t, -1);
    for (int k = 0; k < a->nin; k++)
        if (a->in[k] && a->in[k]->tape != t) anchor(L, t, base + k);
}

/* ---- backward ---------------------------------------------------------------- */

static sv_storage *take(lua_State *L, sv_context *c, size_t count) {
    sv_storage *s = sv_push_storage(L, c, count, SV_SCOPED);
    lua_pop(L, 1); /* the tape anchors it */
    return s;
}

static void add_into(sv_real *to, const sv_real *from, size_t count) {
    for (size_t i = 0; i < count; i++) to[i] += from[i];
}

/* Where the gradient of input t goes. *added: it must go to a buffer of its own
 * first and be added to the result; else it is written there directly. */
static sv_real *destination(lua_State *L, sv_context *c, sv_tape *tape, sv_tensor *t, bool *added) {
    if (t->is_leaf) {
        if (!t->grad) {
            luaL_getmetatable(L, SV_TAPE); /* its anchor gives the userdata back */
            lua_rawgetp(L, -1, tape);
            lua_rawgetp(L, -1, t);
            sv_ensure_grad(L, -1);
            lua_pop(L, 3);
        }
        *added = t->grad_valid;
        t->grad_valid = true;
        return t->grad->data;
    }
    sv_node *n = tape->nodes[t->node];
    *added = n->grad != NULL;
    if (!n->grad) n->grad = take(L, c, t->count);
    return n->grad->data;
}

static void check_input(lua_State *L, const sv_tape *tape, const sv_node *n, const sv_tensor *t) {
    if (!t->is_leaf && t->tape != tape)
        luaL_error(L, "backward: an input of %s was computed under another tape", n->args.op->name);
    if (!t->is_leaf && tape->nodes[t->node]->passed)
        luaL_error(L,
                   "backward: an input of %s was already passed by an earlier backward; add the losses, "
                   "or give {retain = true} to all but the last",
                   n->args.op->name);
    sv_check_alive(L, t);
}

static void pass_view(lua_State *L, sv_context *c, sv_tape *tape, sv_node *n) {
    sv_tensor *t = n->in[0];
    if (!t->is_leaf && !tape->nodes[t->node]->grad) {
        tape->nodes[t->node]->grad = n->grad;
        n->grad = NULL;
        return;
    }
    bool added;
    sv_real *to = destination(L, c, tape, t, &added);
    if (added)
        add_into(to, n->grad->data, t->count);
    else
        memcpy(to, n->grad->data, t->count * sizeof(sv_real));
}

static void pass_node(lua_State *L, sv_context *c, sv_tape *tape, sv_node *n) {
    sv_args *a = &n->args;
    sv_real *wanted[SV_MAX_IN], *result[SV_MAX_IN];
    sv_storage *beside[SV_MAX_IN], *own = n->grad;
    a->grad_out = own->data;
    for (int k = 0; k < a->nin; k++) {
        sv_tensor *t = n->in[k];
        wanted[k] = result[k] = NULL;
        beside[k] = NULL;
        if (!t || !t->needs_grad) continue;
        if (k == 0 && (a->op->flags & SV_OP_IN_PLACE) && !t->is_leaf && !tape->nodes[t->node]->grad) {
            tape->nodes[t->node]->grad = own; /* memory that is in the cache already */
            wanted[0] = own->data;
            n->grad = NULL;
            continue;
        }
        bool added;
        result[k] = wanted[k] = destination(L, c, tape, t, &added);
        if (added) {
            beside[k] = take(L, c, t->count);
            wanted[k] = beside[k]->data;
        }
    }
    sv_storage *work = a->backward_work_count ? take(L, c, a->backward_work_count) : NULL;
    for (int k = 0; k < SV_MAX_AUX; k++) a->aux[k] = n->aux[k] ? n->aux[k]->data : NULL;
    a->work = work ? work->data : NULL;
    a->grad_in = wanted;
    a->op->backward(a);
    for (int k = 0; k < a->nin; k++)
        if (beside[k]) {
            add_into(result[k], beside[k]->data, n->in[k]->count);
            sv_release_storage(c, beside[k]);
        }
    if (work) sv_release_storage(c, work);
}

/* The storage of out, if this node made it and nobody else looks at it. */
static void release_value(sv_context *c, sv_node *n) {
    if (n->args.op->flags & SV_OP_VIEW) return;
    sv_release_storage(c, n->args.out->storage);
}

static void release_node(sv_context *c, sv_node *n, bool value) {
    for (int k = 0; k < SV_MAX_AUX; k++)
        if (n->aux[k]) sv_release_storage(c, n->aux[k]);
    memset(n->aux, 0, sizeof n->aux);
    if (value) release_value(c, n);
    n->passed = true;
}

static sv_tape *check_open(lua_State *L) {
    sv_tape *t = luaL_checkudata(L, 1, SV_TAPE);
    if (!t->open) luaL_error(L, "this tape is closed");
    return t;
}

static bool option(lua_State *L, int index, const char *name) {
    if (!lua_istable(L, index)) return false;
    lua_getfield(L, index, name);
    bool on = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return on;
}

/* tape:backward(loss, {retain = false}): gradients of every leaf that loss depends on. */
static int l_backward(lua_State *L) {
    sv_tape *tape = check_open(L);
    sv_tensor *loss = sv_check_tensor(L, 2);
    bool retain = option(L, 3, "retain");
    sv_context *c = sv_get_context(L);
    if (tape != c->tape) return luaL_error(L, "backward: a tape opened later is still open");
    if (loss->count != 1) {
        char shape[SV_MESSAGE];
        sv_format_shape(shape, sizeof shape, loss->ndim, loss->shape);
        return luaL_error(L, "backward: the loss must be one number; this has shape %s (sum or mean it)", shape);
    }
    if (!loss->needs_grad || loss->is_leaf || loss->tape != tape)
        return luaL_error(L, "backward: the loss was not computed under this tape from a tensor that needs a gradient");
    int root = loss->node;
    if (tape->nodes[root]->passed) return luaL_error(L, "backward: was already run for this loss");
    luaL_checkstack(L, 8, NULL);
    tape->nodes[root]->grad = take(L, c, 1);
    tape->nodes[root]->grad->data[0] = 1;
    for (int i = root; i >= 0; i--) {
        sv_node *n = tape->nodes[i];
        if (!n->grad) continue;
        for (int k = 0; k < n->args.nin; k++)
            if (n->in[k] && n->in[k]->needs_grad) check_input(L, tape, n, n->in[k]);
        bool same = (n->args.op->flags & SV_OP_VIEW) && n->args.out->count == n->in[0]->count;
        if (same)
            pass_view(L, c, tape, n);
        else
            pass_node(L, c, tape, n);
        if (n->grad) sv_release_storage(c, n->grad);
        n->grad = NULL;
        if (!retain) release_node(c, n, n->args.out->storage != loss->storage); /* the loss can still be read */
    }
    return 0;
}

/* ---- scope ------------------------------------------------------------------- */

static void close_tape(lua_State *L, sv_tape *tape) {
    sv_context *c = sv_get_context(L);
    if (!tape->open) return;
    while (c->tape && c->tape != tape) close_tape(L, c->tape); /* inner ones that were left open */
    for (int i = 0; i < tape->count; i++) {
        tape->nodes[i]->args.out->tape = NULL;
        tape->nodes[i]->args.out->needs_grad = false; /* what is kept is a constant from now on */
        free(tape->nodes[i]);
    }
    free(tape->nodes);
    while (tape->storages > 0) sv_release_storage(c, tape->storage[tape->storages - 1]);
    free(tape->storage);
    tape->nodes = NULL;
    tape->storage = NULL;
    tape->count = tape->room = tape->storages = tape->storage_room = 0;
    tape->open = false;
    c->tape = tape->outer;
    c->closed++;
    luaL_getmetatable(L, SV_TAPE);
    lua_pushnil(L);
    lua_rawsetp(L, -2, tape);
    lua_pop(L, 1);
    sv_trim_storages(L, c, 100);
}

static int l_close(lua_State *L) {
    close_tape(L, luaL_checkudata(L, 1, SV_TAPE));
    return 0;
}

static int open_tape(lua_State *L, bool recording) {
    sv_context *c = sv_get_context(L);
    sv_tape *t = lua_newuserdatauv(L, sizeof *t, 0);
    memset(t, 0, sizeof *t);
    luaL_setmetatable(L, SV_TAPE);
    luaL_getmetatable(L, SV_TAPE); /* metatable[address] = the tensors of its nodes */
    lua_newtable(L);
    lua_rawsetp(L, -2, t);
    lua_pop(L, 1);
    t->outer = c->tape;
    t->open = true;
    t->recording = recording;
    c->tape = t;
    return 1;
}

static int l_tape(lua_State *L) { return open_tape(L, true); }
static int l_scope(lua_State *L) { return open_tape(L, false); }

/* tape:keep(t, …) -> t, …: they survive the tape. */
static int l_keep(lua_State *L) {
    luaL_checkudata(L, 1, SV_TAPE);
    sv_context *c = sv_get_context(L);
    int n = lua_gettop(L);
    for (int i = 2; i <= n; i++) sv_keep_storage(L, c, sv_check_tensor(L, i)->storage);
    return n - 1;
}

/* no_grad(f, …) -> f(…): nothing is recorded while f runs. */
static int finish_no_grad(lua_State *L, int status, lua_KContext base) {
    (void)base;
    sv_get_context(L)->no_grad--;
    if (status != LUA_OK && status != LUA_YIELD) return lua_error(L);
    return lua_gettop(L);
}

static int l_no_grad(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    sv_get_context(L)->no_grad++;
    int status = lua_pcallk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, 0, finish_no_grad);
    return finish_no_grad(L, status, 0);
}

static int l_memory(lua_State *L) {
    sv_context *c = sv_get_context(L);
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, (lua_Integer)c->live);
    lua_setfield(L, -2, "live");
    lua_pushinteger(L, (lua_Integer)c->pooled);
    lua_setfield(L, -2, "pooled");
    lua_pushinteger(L, (lua_Integer)c->peak);
    lua_setfield(L, -2, "peak");
    return 1;
}

/* Drops every free list; the next collection gives the memory back. */
static int l_release_memory(lua_State *L) {
    sv_trim_storages(L, sv_get_context(L), 0);
    return 0;
}

static int l_tape_tostring(lua_State *L) {
    sv_tape *t = luaL_checkudata(L, 1, SV_TAPE);
    lua_pushfstring(L, t->open ? "tape: %d ops, %d tensors" : "tape: closed", t->count, t->storages);
    return 1;
}

static const luaL_Reg tape_methods[] = {{"backward", l_backward}, {"keep", l_keep}, {"close", l_close}, {NULL, NULL}};
static const luaL_Reg functions[] = {{"tape", l_tape},
                                     {"scope", l_scope},
                                     {"no_grad", l_no_grad},
                                     {"memory", l_memory},
                                     {"release_memory", l_release_memory},
                                     {NULL, NULL}};

void sv_open_tape(lua_State *L, int core) {
    core = lua_absindex(L, core);
    sv_new_class(L, SV_TAPE, tape_methods, l_close, l_tape_tostring);
    lua_pushvalue(L, core);
    luaL_setfuncs(L, functions, 0);
    lua_pop(L, 1);
}
