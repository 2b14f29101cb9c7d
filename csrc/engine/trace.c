/* trace.c: lists of the ops that a function applies, for export (lua/simvae/export).
 *
 * While core.trace runs, every op adds an entry { op =, inputs =, options =, output = } to the list: with the
 * conversions between layouts, views, and ops that Lua calls through operators. What else reads or writes a tensor's
 * numbers adds one too: op = "copy" (clone, detach, buffer, parameter), "read" (item, totable, get, …) and "write"
 * (set, fill, copy), whose `by` is the function's name. Storages are not scoped meanwhile, so that all tensors of the
 * list stay alive. */
#include "signature.h"

static char list_key;

static void push_axes(lua_State *L, const sv_list *list, bool axes) {
    lua_createtable(L, list->n, 0);
    for (int i = 0; i < list->n; i++) {
        lua_pushinteger(L, list->at[i] + (axes && list->at[i] >= 0));
        lua_rawseti(L, -2, i + 1);
    }
}

/* The value of an option as Lua gives it; axes that were not given are left out. */
static void push_option(lua_State *L, const sv_option *o, double value, const sv_list *list) {
    switch (o->kind) {
    case NUM:
        lua_pushnumber(L, value);
        break;
    case INT:
        lua_pushinteger(L, (lua_Integer)value);
        break;
    case AXIS:
        lua_pushinteger(L, (lua_Integer)value + (value >= 0));
        break;
    case BOOL:
        lua_pushboolean(L, value != 0);
        break;
    case ENUM:
        lua_pushstring(L, o->choice[(int)value]);
        break;
    case AXES:
        if (list->n > 0)
            push_axes(L, list, true);
        else
            lua_pushnil(L);
        break;
    case INTS:
        push_axes(L, list, false);
        break;
    }
}

/* Appends the entry on top of the stack, which it pops. */
static void append(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &list_key);
    lua_insert(L, -2);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    lua_pop(L, 1);
}

static void push_entry(lua_State *L, const char *op) {
    lua_createtable(L, 0, 4);
    lua_pushstring(L, op);
    lua_setfield(L, -2, "op");
}

void sv_trace_op(lua_State *L, const sv_args *a, int base, int out) {
    luaL_checkstack(L, 8, NULL);
    base = lua_absindex(L, base);
    out = lua_absindex(L, out);
    push_entry(L, a->op->name);
    lua_createtable(L, a->nin, 0);
    for (int k = 0; k < a->nin; k++) {
        lua_pushvalue(L, base + k);
        lua_rawseti(L, -2, k + 1);
    }
    lua_setfield(L, -2, "inputs");
    lua_newtable(L);
    sv_read_signature(L, a->op->signature, lua_newuserdatauv(L, sizeof(sv_signature), 0));
    const sv_signature *s = lua_touserdata(L, -1);
    lua_insert(L, -2);
    for (int i = 0; i < s->nopt; i++) {
        push_option(L, &s->opt[i], a->opt[i], &a->list[i]);
        lua_setfield(L, -2, s->opt[i].name);
    }
    lua_setfield(L, -3, "options");
    lua_pop(L, 1);
    lua_pushinteger(L, a->nin);
    lua_setfield(L, -2, "count");
    lua_pushvalue(L, out);
    lua_setfield(L, -2, "output");
    append(L);
}

void sv_trace_use(lua_State *L, const char *use, const char *by, int from, int to) {
    if (!sv_get_context(L)->tracing) return;
    luaL_checkstack(L, 6, NULL);
    from = lua_absindex(L, from);
    if (to) to = lua_absindex(L, to);
    push_entry(L, use);
    lua_pushstring(L, by);
    lua_setfield(L, -2, "by");
    lua_createtable(L, 1, 0);
    lua_pushvalue(L, from);
    lua_rawseti(L, -2, 1);
    lua_setfield(L, -2, "inputs");
    if (to) {
        lua_pushvalue(L, to);
        lua_setfield(L, -2, "output");
    }
    append(L);
}

/* trace(f, …) -> list, results of f … */
static int l_trace(lua_State *L) {
    sv_context *c = sv_enter(L);
    sv_check_any(L, 1);
    if (c->tracing) return luaL_error(L, "trace: a trace is running already");
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &list_key);
    lua_insert(L, 1);
    c->tracing = true;
    int status = lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 0);
    c->tracing = false;
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &list_key);
    if (status != LUA_OK) return lua_error(L);
    return lua_gettop(L);
}

void sv_open_trace(lua_State *L, int core) {
    core = lua_absindex(L, core);
    lua_pushcfunction(L, l_trace);
    lua_setfield(L, core, "trace");
}
