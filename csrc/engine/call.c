/* call.c: makes the Lua function of an op from its row.
 *
 * A row's signature names its tensors and options. The function takes
 *
 *     sv.conv2d(x, w, b, 2, 1)                          options by position
 *     sv.conv2d(x, w, b, {stride = 2, padding = 1})     or by name
 *     x:conv2d(w, b, {stride = 2})                      as a method of its first tensor
 *
 * checks the arguments and applies the op (apply.c). */
#include "signature.h"

#include <limits.h>
#include <string.h>

/* ---- arguments --------------------------------------------------------------- */

static bool is_empty(lua_State *L, int index) {
    if (!lua_istable(L, index)) return false;
    lua_pushnil(L);
    if (!lua_next(L, index)) return true;
    lua_pop(L, 2);
    return false;
}

static bool is_options(lua_State *L, int index) {
    if (!lua_istable(L, index)) return false;
    lua_rawgeti(L, index, 1);
    bool list = !lua_isnil(L, -1);
    lua_pop(L, 1);
    return !list && !is_empty(L, index);
}

static lua_Integer check_range(lua_State *L, const char *op, const sv_option *o, lua_Integer v) {
    if (!sv_fits_integer(v)) luaL_error(L, "%s: %s must be from -2^53 to 2^53; got %I", op, o->name, v);
    return v;
}

static void read_list(lua_State *L, const char *op, const sv_option *o, int from, int to, sv_list *list) {
    bool table = lua_istable(L, from);
    int n = table ? sv_check_length(L, from, INT_MAX, op) : to - from + 1;
    if (n > SV_MAX_DIM) luaL_error(L, "%s: %s takes at most %d entries; got %d", op, o->name, SV_MAX_DIM, n);
    list->n = n;
    for (int i = 0; i < n; i++) {
        if (table)
            lua_rawgeti(L, from, i + 1);
        else
            lua_pushvalue(L, from + i);
        int ok;
        lua_Integer v = lua_tointegerx(L, -1, &ok);
        if (!ok) luaL_error(L, "%s: %s takes whole numbers; got %s", op, o->name, luaL_tolstring(L, -1, NULL));
        list->at[i] = (long)check_range(L, op, o, v);
        lua_pop(L, 1);
    }
}

static double read_enum(lua_State *L, const char *op, const sv_option *o, int index) {
    const char *given = lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : NULL;
    for (int i = 0; given && i < o->choices; i++)
        if (!strcmp(given, o->choice[i])) return i;
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (int i = 0; i < o->choices; i++) {
        if (i) luaL_addstring(&b, ", ");
        luaL_addstring(&b, o->choice[i]);
    }
    luaL_pushresult(&b);
    const char *choices = lua_tostring(L, -1), *got = luaL_tolstring(L, index, NULL);
    return luaL_error(L, "%s: %s is one of %s; got %s", op, o->name, choices, got);
}

/* Axes from 1-based to 0-based; negative axes count from the last and are unchanged. */
static void from_one(lua_State *L, const char *op, const sv_option *o, sv_list *list) {
    for (int i = 0; i < list->n; i++) {
        if (list->at[i] == 0) luaL_error(L, "%s: %s counts from 1 (or from -1, the last); got 0", op, o->name);
        if (list->at[i] > 0) list->at[i]--;
    }
}

static void read_option(lua_State *L, const char *op, const sv_option *o, int index, double *value, sv_list *list) {
    int ok = 1;
    switch (o->kind) {
    case NUM:
        *value = lua_tonumberx(L, index, &ok);
        break;
    case INT:
        *value = (double)check_range(L, op, o, lua_tointegerx(L, index, &ok));
        break;
    case AXIS: /* 1-based in Lua; -1 is the last */
        *value = (double)check_range(L, op, o, lua_tointegerx(L, index, &ok));
        if (ok && *value == 0) luaL_error(L, "%s: %s counts from 1 (or from -1, the last); got 0", op, o->name);
        if (*value > 0) *value -= 1;
        break;
    case BOOL:
        if (!lua_isboolean(L, index))
            luaL_error(L, "%s: %s takes true or false; got %s", op, o->name, luaL_tolstring(L, index, NULL));
        *value = lua_toboolean(L, index);
        break;
    case ENUM:
        *value = read_enum(L, op, o, index);
        break;
    case AXES:
        read_list(L, op, o, index, index, list);
        from_one(L, op, o, list);
        break;
    case INTS:
        read_list(L, op, o, index, index, list);
        break;
    }
    if (!ok)
        luaL_error(L, "%s: %s takes a %s; got %s", op, o->name, o->kind == NUM ? "number" : "whole number",
                   luaL_tolstring(L, index, NULL));
}

static void read_named(lua_State *L, const char *op, const sv_signature *s, int table, double *opt, sv_list *list,
                       bool *given) {
    lua_pushnil(L);
    while (lua_next(L, table)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        int i = 0;
        while (i < s->nopt && strcmp(key, s->opt[i].name) != 0) i++;
        if (i == s->nopt) {
            const char *known[SV_MAX_OPT];
            for (int k = 0; k < s->nopt; k++) known[k] = s->opt[k].name;
            const char *near = sv_nearest(key, known, s->nopt);
            luaL_error(L, near ? "%s: unknown option '%s'; did you mean '%s'?" : "%s: unknown option '%s'", op, key,
                       near);
        }
        read_option(L, op, &s->opt[i], lua_gettop(L), &opt[i], &list[i]);
        given[i] = true;
        lua_pop(L, 1);
    }
}

/* A number given for a tensor becomes a tensor with no axes. */
static void to_tensor(lua_State *L, const char *op, const char *name, int index) {
    if (sv_test_tensor(L, index)) {
        sv_check_alive(L, lua_touserdata(L, index));
        return;
    }
    if (lua_type(L, index) != LUA_TNUMBER)
        luaL_error(L, "%s: %s must be a tensor; got %s", op, name, luaL_typename(L, index));
    sv_real v = (sv_real)lua_tonumber(L, index);
    sv_push_tensor(L, 0, NULL, SV_SCOPED)->data[0] = v;
    lua_replace(L, index);
}

/* Pushes the tensors of a list, as in concat{a, b, …}; returns how many. */
static int push_list(lua_State *L, const sv_op *op, const sv_signature *s) {
    sv_check_type(L, 1, LUA_TTABLE);
    int n = sv_check_length(L, 1, SV_MAX_IN, op->name);
    if (n < 1) luaL_error(L, "%s: takes a list of 1 to %d tensors; got none", op->name, SV_MAX_IN);
    luaL_checkstack(L, n + 16, NULL);
    int base = lua_gettop(L) + 1;
    for (int k = 0; k < n; k++) {
        lua_rawgeti(L, 1, k + 1);
        to_tensor(L, op->name, s->in[0].name, base + k);
    }
    return n;
}

/* Pushes a tensor, or nil, for each input of the signature; returns the index of the first option argument. */
static int push_inputs(lua_State *L, const sv_op *op, const sv_signature *s, int top) {
    int base = lua_gettop(L) + 1, at = 1;
    for (int nin = 0; nin < s->nin; nin++) {
        bool none = at > top || lua_isnil(L, at);
        bool skipped = s->in[nin].optional && !none && !sv_test_tensor(L, at); /* options follow at once */
        if (none || skipped) {
            if (!s->in[nin].optional)
                luaL_error(L, "%s: %s is missing; the arguments are (%s)", op->name, s->in[nin].name, op->signature);
            lua_pushnil(L);
            if (none) at++;
            continue;
        }
        lua_pushvalue(L, at++);
        to_tensor(L, op->name, s->in[nin].name, base + nin);
    }
    return at;
}

/* Options by position, from argument `at` on. */
static void read_positional(lua_State *L, const sv_op *op, const sv_signature *s, int at, int top, double *opt,
                            sv_list *list, bool *given) {
    for (int i = 0; i < s->nopt && at <= top; i++, at++) {
        bool takes_list = s->opt[i].kind == INTS || s->opt[i].kind == AXES;
        if (lua_isnil(L, at) || (!takes_list && is_empty(L, at))) continue;
        bool rest = s->opt[i].kind == INTS || (s->opt[i].kind == AXES && i == s->nopt - 1);
        if (rest && !lua_istable(L, at)) { /* reshape(2, 3), permute(3, 1, 2): the rest of the numbers */
            read_list(L, op->name, &s->opt[i], at, top, &list[i]);
            if (s->opt[i].kind == AXES) from_one(L, op->name, &s->opt[i], &list[i]);
            at = top;
        } else if (s->opt[i].kind == AXES && !lua_istable(L, at)) {
            list[i].n = 1;
            read_option(L, op->name, &(sv_option){.kind = AXIS, .name = "axes"}, at, &opt[i], &list[i]);
            list[i].at[0] = (long)opt[i];
        } else
            read_option(L, op->name, &s->opt[i], at, &opt[i], &list[i]);
        given[i] = true;
    }
    if (at <= top) luaL_error(L, "%s: too many arguments; they are (%s)", op->name, op->signature);
}

/* Upvalues: the row, its signature. */
static int call_op(lua_State *L) {
    const sv_op *op = lua_touserdata(L, lua_upvalueindex(1));
    const sv_signature *s = lua_touserdata(L, lua_upvalueindex(2));
    double opt[SV_MAX_OPT];
    sv_list list[SV_MAX_OPT];
    bool given[SV_MAX_OPT] = {false};
    sv_enter(L);
    memset(list, 0, sizeof list);
    for (int i = 0; i < SV_MAX_OPT; i++) opt[i] = i < s->nopt ? s->opt[i].value : 0;

    int top = lua_gettop(L), at;
    if (top > 1 && s->nopt > 0 && is_options(L, top)) read_named(L, op->name, s, top, opt, list, given), top--;

    bool listed = s->nin == 1 && s->in[0].list;
    int base = lua_gettop(L) + 1, nin = listed ? push_list(L, op, s) : s->nin;
    at = listed ? 2 : push_inputs(L, op, s, top);
    read_positional(L, op, s, at, top, opt, list, given);
    for (int i = 0; i < s->nopt; i++)
        if (!given[i] && !s->opt[i].optional)
            return luaL_error(L, "%s: %s is missing; the arguments are (%s)", op->name, s->opt[i].name, op->signature);
    sv_apply(L, op, nin, base, opt, list);
    return 1;
}

/* The signature as people read it: an option of kind `fused` with its values. */
static void push_signature(lua_State *L, const sv_op *op) {
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    luaL_addstring(&b, ":enum(");
    for (const sv_fused_activation *f = sv_fused_activations; f->name; f++) {
        luaL_addstring(&b, f->name);
        luaL_addchar(&b, f[1].name ? '|' : ')');
    }
    luaL_pushresult(&b);
    luaL_gsub(L, op->signature, ":fused", lua_tostring(L, -1));
    lua_remove(L, -2);
}

/* core.fused_activations: their names. */
static void open_activations(lua_State *L, int core) {
    lua_newtable(L);
    for (int i = 1; sv_fused_activations[i].name; i++) {
        lua_pushstring(L, sv_fused_activations[i].name);
        lua_rawseti(L, -2, i);
    }
    lua_setfield(L, core, "fused_activations");
}

void sv_open_ops(lua_State *L, int core, const sv_op *rows) {
    core = lua_absindex(L, core);
    open_activations(L, core);
    lua_getfield(L, core, "methods");
    lua_getfield(L, core, "ops");
    for (const sv_op *op = rows; op->name; op++) {
        lua_pushlightuserdata(L, (void *)(uintptr_t)op);
        sv_read_signature(L, op->signature, lua_newuserdatauv(L, sizeof(sv_signature), 0));
        lua_pushcclosure(L, call_op, 2);
        if (!(op->flags & SV_OP_INTERNAL)) {
            lua_pushvalue(L, -1);
            lua_setfield(L, core, op->name);
            lua_pushvalue(L, -1);
            lua_setfield(L, -4, op->name);
        }
        lua_createtable(L, 0, 6); /* ops[name] = {…}: for sv.help and the specs */
        lua_insert(L, -2);
        lua_setfield(L, -2, "call");
        push_signature(L, op);
        lua_setfield(L, -2, "signature");
        lua_pushstring(L, op->doc);
        lua_setfield(L, -2, "doc");
        lua_pushstring(L, op->check);
        lua_setfield(L, -2, "check");
        lua_pushboolean(L, op->backward != NULL);
        lua_setfield(L, -2, "backward");
        lua_pushboolean(L, op->flags & SV_OP_NO_GRAD);
        lua_setfield(L, -2, "no_grad");
        lua_setfield(L, -2, op->name);
    }
    lua_pop(L, 2);
}
