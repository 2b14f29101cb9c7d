/* tape.c: the tape, a scope for memory and the record of ops for the backward pass.
 *
 *     do
 *       local tape <close> = sv.tape()
 *       local loss = sv.mse_loss(net(z), x)
 *       tape:backward(loss)
 *     end                       -- everything allocated here returns to the free lists
 *
 * The backward pass: backward.c. */
#include "engine.h"
#include "gradients.h"

#include <stdlib.h>
#include <string.h>

enum { IDLE = 100 }; /* a free list unused for so many closed tapes is dropped */

enum { UV_COROUTINE = 1, USER_VALUES = 1 }; /* of a scope */

/* Lua's handle of a scope. */
typedef struct {
    sv_tape *tape; /* NULL: closed */
} handle;

static const char records_key = 'r'; /* registry[&records_key][tape] = the tensors of its nodes */

/* ---- which scopes are in effect ------------------------------------------------ */

bool sv_in_finalizer(lua_State *L) { return lua_gc(L, LUA_GCISRUNNING) < 0; }

/* Is the coroutine running, or waiting for one that it has resumed? */
static bool is_active(lua_State *thread) {
    lua_Debug ar;
    return lua_status(thread) == LUA_OK && lua_getstack(thread, 0, &ar);
}

/* A scope is in effect in the coroutine that opened it and in those that it resumes, as long as it has not yielded. Of
 * several tapes the coroutine's own come first, then the newest. */
static void settle(lua_State *L, sv_context *c) {
    bool silent = false;
    c->tape = NULL;
    for (sv_tape *t = c->scopes; t; t = t->older) {
        if (t->thread != L && !is_active(t->thread)) continue;
        silent |= t->no_grad;
        if (!t->no_grad && (!c->tape || (t->thread == L && c->tape->thread != L))) c->tape = t;
    }
    c->recording = c->tape && c->tape->recording && !silent;
}

void sv_push_record(lua_State *L, const sv_tape *t) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &records_key);
    lua_rawgetp(L, -1, t);
    lua_remove(L, -2);
}

/* Ends a scope. Its tape's storages return to the free lists, or, if the tape was collected while open and its tensors
 * may still be in use, to the collector. */
static void end_scope(lua_State *L, sv_context *c, sv_tape *t, bool release) {
    for (int i = 0; i < t->count; i++) {
        t->nodes[i]->args.out->tape = NULL;
        t->nodes[i]->args.out->needs_grad = false; /* tensors that are kept become constants */
        free(t->nodes[i]);
    }
    t->count = 0;
    while (t->storages > 0) {
        sv_storage *s = t->storage[t->storages - 1];
        if (release)
            sv_release_storage(c, s);
        else
            sv_keep_storage(L, c, s);
    }
    sv_tape **at = &c->scopes;
    while (*at != t) at = &(*at)->older;
    *at = t->older;
    if (c->tape == t) c->tape = NULL, c->recording = false;
    if (t->handle) *t->handle = NULL;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &records_key);
    lua_pushnil(L);
    lua_rawsetp(L, -2, t);
    lua_pop(L, 1);
    if (!t->no_grad) c->closed++;
    sv_drop_collected(t);
    free(t->nodes);
    free(t->storage);
    free(t);
}

static void drop_orphans(lua_State *L, sv_context *c) {
    c->orphans = false;
    for (sv_tape *t = c->scopes, *older; t; t = older) {
        older = t->older;
        if (!t->thread) end_scope(L, c, t, false);
    }
}

sv_context *sv_enter(lua_State *L) {
    sv_context *c = sv_get_context(L);
    if (!c->scopes || sv_in_finalizer(L)) return c;
    if (c->orphans) drop_orphans(L, c);
    settle(L, c);
    return c;
}

void sv_free_scopes(sv_context *c) {
    while (c->scopes) {
        sv_tape *t = c->scopes;
        c->scopes = t->older;
        for (int i = 0; i < t->count; i++) free(t->nodes[i]);
        sv_drop_collected(t);
        free(t->nodes);
        free(t->storage);
        free(t);
    }
    c->tape = NULL;
    c->recording = false;
}

/* ---- what a tape holds --------------------------------------------------------- */

void sv_reserve_owned(lua_State *L, sv_tape *t) {
    if (t->storages < t->storage_room) return;
    int room = t->storage_room ? 2 * t->storage_room : 64;
    sv_storage **grown = realloc(t->storage, (size_t)room * sizeof *grown);
    if (!grown) luaL_error(L, "not enough memory");
    t->storage = grown;
    t->storage_room = room;
}

void sv_own(sv_tape *t, sv_storage *s) {
    s->owner = t;
    s->slot = t->storages;
    t->storage[t->storages++] = s;
}

/* What the sizes of an op's work depend on besides its arguments. */
int sv_tape_settings(void) { return sv_gemm_setting() * (SV_MAX_THREADS + 1) + sv_threads(); }

/* Keeps the tensor at index alive until the tape closes: in the table on top of the stack. */
static void anchor(lua_State *L, int index) {
    lua_pushvalue(L, index);
    lua_rawsetp(L, -2, lua_touserdata(L, index));
}

void sv_record(lua_State *L, sv_context *c, const sv_args *a, int base, sv_storage *const aux[SV_MAX_AUX]) {
    sv_tape *t = c->tape;
    int out = lua_gettop(L);
    sv_push_record(L, t);
    anchor(L, out);
    for (int k = 0; k < a->nin; k++)
        if (a->in[k] && a->in[k]->tape != t) anchor(L, base + k);
    lua_pop(L, 1);
    if (t->count == t->room) {
        int room = t->room ? 2 * t->room : 64;
        sv_node **grown = realloc(t->nodes, (size_t)room * sizeof *grown);
        if (!grown) luaL_error(L, "not enough memory");
        t->nodes = grown;
        t->room = room;
    }
    sv_node *n = malloc(sizeof *n + (size_t)a->nin * sizeof n->in[0]);
    if (!n) luaL_error(L, "not enough memory");
    n->args = *a;
    memcpy(n->in, a->in, (size_t)a->nin * sizeof n->in[0]);
    n->args.in = n->in;
    memcpy(n->aux, aux, sizeof n->aux);
    n->grad = NULL;
    n->settings = sv_tape_settings();
    memset(n->wants, 0, sizeof n->wants);
    for (int k = 0; k < a->nin; k++)
        if (a->in[k] && a->in[k]->needs_grad) n->wants[k / 64] |= (uint64_t)1 << k % 64;
    n->half = n->passed = false;
    a->out->needs_grad = true;
    a->out->tape = t;
    a->out->node = t->count;
    t->nodes[t->count++] = n;
}

sv_tape *sv_check_tape(lua_State *L, int index) {
    const handle *h = sv_check_object(L, index, SV_TAPE);
    if (!h->tape) luaL_error(L, "this tape is closed");
    return h->tape;
}

/* ---- scope ------------------------------------------------------------------- */

/* Marks the scope only: the tape's storages may be in use by an op that this finalizer interrupts. sv_enter ends it. */
static int l_collect(lua_State *L) {
    handle *h = sv_check_object(L, 1, SV_TAPE);
    if (!h->tape) return 0;
    h->tape->thread = NULL;
    h->tape->handle = NULL;
    h->tape = NULL;
    sv_get_context(L)->orphans = true;
    return 0;
}

/* Closes a scope, and tapes that its coroutine opened under it and left open. */
static int l_close(lua_State *L) {
    handle *h = sv_check_object(L, 1, SV_TAPE);
    if (!h->tape) return 0;
    if (sv_in_finalizer(L)) return l_collect(L);
    sv_context *c = sv_enter(L);
    for (sv_tape *t = c->scopes, *older; t != h->tape; t = older) {
        older = t->older;
        if (t->thread == h->tape->thread && !t->no_grad) end_scope(L, c, t, true);
    }
    end_scope(L, c, h->tape, true);
    sv_trim_storages(L, c, IDLE);
    return 0;
}

static sv_tape *open_scope(lua_State *L) {
    sv_context *c = sv_enter(L);
    handle *h = lua_newuserdatauv(L, sizeof *h, USER_VALUES);
    h->tape = NULL;
    luaL_setmetatable(L, SV_TAPE);
    lua_pushthread(L);
    lua_setiuservalue(L, -2, UV_COROUTINE);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &records_key);
    lua_newtable(L);
    sv_tape *t = calloc(1, sizeof *t);
    if (!t) luaL_error(L, "not enough memory");
    t->older = c->scopes;
    t->thread = L;
    t->handle = &h->tape;
    h->tape = c->scopes = t;
    lua_rawsetp(L, -2, t);
    lua_pop(L, 1);
    return t;
}

static int open_tape(lua_State *L, bool recording) {
    if (sv_in_finalizer(L)) return luaL_error(L, "tape: not within a finalizer (__gc)");
    open_scope(L)->recording = recording;
    return 1;
}

static int l_tape(lua_State *L) { return open_tape(L, true); }
static int l_scope(lua_State *L) { return open_tape(L, false); }

/* tape:keep(t, …) -> t, …: they survive the tape. */
static int l_keep(lua_State *L) {
    sv_check_object(L, 1, SV_TAPE);
    sv_context *c = sv_get_context(L);
    int n = lua_gettop(L);
    for (int i = 2; i <= n; i++) sv_keep_storage(L, c, sv_check_tensor(L, i)->storage);
    return n - 1;
}

static int finish_no_grad(lua_State *L, int status, lua_KContext base) {
    (void)status;
    return lua_gettop(L) - (int)base;
}

/* no_grad(f, …) -> f(…): nothing is recorded while f runs. It ends with f however f ends: when it returns, raises, or
 * is in a coroutine that is closed, or collected. */
static int l_no_grad(lua_State *L) {
    if (luaL_getmetafield(L, 1, "__call") == LUA_TNIL) /* a net is called as well */
        sv_check_type(L, 1, LUA_TFUNCTION);
    else
        lua_pop(L, 1);
    int base = 0;
    if (!sv_in_finalizer(L)) {
        open_scope(L)->no_grad = true;
        lua_insert(L, 1);
        lua_toclose(L, 1);
        base = 1;
    }
    lua_callk(L, lua_gettop(L) - base - 1, LUA_MULTRET, base, finish_no_grad);
    return finish_no_grad(L, LUA_OK, base);
}

static int l_is_recording(lua_State *L) {
    lua_pushboolean(L, sv_enter(L)->recording);
    return 1;
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

/* Drops every free list; the next collection releases the memory. */
static int l_release_memory(lua_State *L) {
    sv_trim_storages(L, sv_get_context(L), 0);
    return 0;
}

static int l_tape_tostring(lua_State *L) {
    const handle *h = sv_check_object(L, 1, SV_TAPE);
    if (h->tape)
        lua_pushfstring(L, "tape: %d ops, %d tensors", h->tape->count, h->tape->storages);
    else
        lua_pushliteral(L, "tape: closed");
    return 1;
}

static const sv_row tape_methods[] = {
    {"backward", sv_backward,
     "The gradient of a scalar with respect to every leaf that it depends on, added to the leaf's field grad.\n"
     "@tparam tensor loss one number, recorded under this tape\n"
     "@tparam ?table options options\n"
     "@option boolean retain keeps the record for another backward; default false\n"
     "@raise a loss of more than one number, or that does not depend on a leaf; a record that is used up\n"
     "@usage\n"
     "local w = sv.parameter { 3 }\n"
     "local tape <close> = sv.tape()\n"
     "tape:backward(sv.sum(w * w))\n"
     "print(w.grad)"},
    {"keep", l_keep,
     "Tensors that survive the tape.\n"
     "@tparam tensor ... made under it\n"
     "@treturn tensor the same ones\n"
     "@usage\n"
     "local y\n"
     "do\n"
     "  local tape <close> = sv.tape()\n"
     "  y = tape:keep(sv.ones(3) * 2)\n"
     "end\n"
     "print(y)"},
    {"close", l_close,
     "Releases everything made under the tape; leaving the block of local tape <close> does so as well.\n"
     "@usage sv.tape():close()"},
    {0}};
static const sv_row functions[] = {
    {"tape", l_tape,
     "Opens a tape: ops are recorded for tape:backward(loss), and what was made under it is released when it closes, "
     "save what tape:keep(t, …) names.\n"
     "@treturn Tape for local tape <close> = sv.tape()\n"
     "@raise a call within a finalizer\n"
     "@usage\n"
     "local w = sv.parameter { 3 }\n"
     "do\n"
     "  local tape <close> = sv.tape()\n"
     "  tape:backward(sv.sum(w * w))\n"
     "end\n"
     "print(w.grad)"},
    {"scope", l_scope,
     "A tape that records nothing: it only gives memory back when it closes.\n"
     "@treturn Tape\n"
     "@usage\n"
     "local scope <close> = sv.scope()\n"
     "local total = sv.sum(sv.ones(1000, 1000)):item()"},
    {"no_grad", l_no_grad,
     "Calls a function with nothing recorded while it runs.\n"
     "@tparam function f or a net\n"
     "@tparam any ... its arguments\n"
     "@treturn any what f returns\n"
     "@usage print(sv.no_grad(function(x) return x * 2 end, sv.parameter { 1, 2 }).needs_grad)"},
    {"is_recording", l_is_recording,
     "Whether ops are recorded: a tape is open, and neither a scope within it nor no_grad.\n"
     "@treturn boolean\n"
     "@usage print(sv.is_recording(), sv.no_grad(sv.is_recording))"},
    {"release_memory", l_release_memory,
     "Drops the free lists; the collector gives the memory back.\n"
     "@usage sv.release_memory()"},
    {0}};

void sv_open_tape(lua_State *L, int core) {
    core = lua_absindex(L, core);
    sv_new_class(L, SV_TAPE, NULL, l_close, l_tape_tostring);
    sv_set_methods(L, core, SV_TAPE, "tape", tape_methods);
    luaL_getmetatable(L, SV_TAPE);
    lua_pushcfunction(L, l_collect);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &records_key);
    lua_pushvalue(L, core);
    sv_set_rows(L, core, "sv", functions);
    lua_pushcfunction(L, l_memory);
    lua_setfield(L, core, "memory");
    lua_pop(L, 1);
}
