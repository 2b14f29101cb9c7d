/* class.c: metatables of userdata types. */
#include "engine.h"

static void set(lua_State *L, const char *field, lua_CFunction f) {
    if (!f) return;
    lua_pushcfunction(L, f);
    lua_setfield(L, -2, field);
}

void sv_new_class(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction end, lua_CFunction tostring) {
    luaL_newmetatable(L, name);
    if (methods) {
        lua_newtable(L);
        luaL_setfuncs(L, methods, 0);
        lua_setfield(L, -2, "__index");
    }
    set(L, "__gc", end);
    set(L, "__close", end);
    set(L, "__tostring", tostring);
    lua_pop(L, 1);
}

void sv_set_rows(lua_State *L, int core, const char *owner, const sv_row *rows) {
    core = lua_absindex(L, core);
    luaL_getsubtable(L, core, "docs");
    luaL_getsubtable(L, -1, owner);
    for (; rows->name; rows++) {
        lua_pushcfunction(L, rows->call);
        lua_setfield(L, -4, rows->name);
        lua_pushstring(L, rows->doc);
        lua_setfield(L, -2, rows->name);
    }
    lua_pop(L, 2);
}

void sv_set_methods(lua_State *L, int core, const char *class, const char *owner, const sv_row *rows) {
    core = lua_absindex(L, core);
    luaL_getmetatable(L, class);
    lua_newtable(L);
    sv_set_rows(L, core, owner, rows);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}

void sv_push_weak_table(lua_State *L) {
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "v");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
}
