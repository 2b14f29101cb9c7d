/* argument.c: errors for wrong arguments of C functions: the function, the argument, what is accepted, what was given.
 *
 * lauxlib's "bad argument #1 to 'get' (number expected, got nil)" counts the object of a method as an argument and has
 * no name for a function called by pcall. Every C source of the core uses these instead. */
#include "engine.h"

#include <string.h>

/* Pushes the name under which the table on top of the stack holds the function at an index, if it does. */
static bool push_name_in(lua_State *L, int function) {
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
        if (lua_rawequal(L, -1, function) && lua_type(L, -2) == LUA_TSTRING) {
            lua_pop(L, 1);
            return true;
        }
    return false;
}

/* Pushes the class that has the function at an index as a method, and the method's name. */
static bool push_method(lua_State *L, int function) {
    for (lua_pushnil(L); lua_next(L, LUA_REGISTRYINDEX); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || strncmp(lua_tostring(L, -2), "simvae.", 7) != 0 || !lua_istable(L, -1))
            continue;
        lua_pushstring(L, "__index");
        lua_rawget(L, -2);
        if (lua_istable(L, -1) && push_name_in(L, function)) {
            lua_pushstring(L, lua_tostring(L, -4) + 7);
            lua_insert(L, -2);
            return true;
        }
        lua_pop(L, 1);
    }
    return false;
}

/* The same for the functions of the core and of its tables, whose methods are the tensor's. */
static bool push_function(lua_State *L, int function, bool *method) {
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_getfield(L, -1, "simvae.core");
    if (!lua_istable(L, -1)) return false;
    if (push_name_in(L, function)) return true;
    lua_getfield(L, -1, "methods");
    if (push_name_in(L, function)) {
        *method = true;
        return true;
    }
    lua_pop(L, 1);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1))
        if (lua_istable(L, -1) && push_name_in(L, function)) return true;
    return false;
}

/* The name of the running C function, and the class of which it is a method, or NULL. Both stay on the stack. */
static const char *name_of_function(lua_State *L, const char **class) {
    lua_Debug ar;
    *class = NULL;
    luaL_checkstack(L, 16, NULL);
    if (!lua_getstack(L, 0, &ar)) return "?";
    lua_getinfo(L, "nf", &ar);
    int function = lua_gettop(L);
    if (push_method(L, function)) {
        *class = lua_tostring(L, -2);
        return lua_tostring(L, -1);
    }
    bool method = false;
    if (push_function(L, function, &method)) {
        if (method) *class = "tensor";
        return lua_tostring(L, -1);
    }
    return ar.name ? ar.name : "?";
}

static const char *given(lua_State *L, int index) {
    switch (lua_type(L, index)) {
    case LUA_TNONE:
    case LUA_TNIL:
        return "nothing";
    case LUA_TSTRING:
        return lua_pushfstring(L, lua_rawlen(L, index) > 60 ? "a long text" : "\"%s\"", lua_tostring(L, index));
    case LUA_TNUMBER:
    case LUA_TBOOLEAN:
        return luaL_tolstring(L, index, NULL);
    case LUA_TUSERDATA:
        if (luaL_getmetafield(L, index, "__name") == LUA_TSTRING) {
            const char *name = lua_tostring(L, -1);
            return lua_pushfstring(L, "a %s", strncmp(name, "simvae.", 7) == 0 ? name + 7 : name);
        }
    }
    return lua_pushfstring(L, "a %s", luaL_typename(L, index));
}

const char *sv_function_name(lua_State *L) {
    const char *class, *name = name_of_function(L, &class);
    return strncmp(name, "__", 2) == 0 ? name + 2 : name;
}

/* Describes the argument before pushing anything, since a pushed value could take the place of an absent argument. */
static int fail(lua_State *L, int index, const char *wanted, const char *class_wanted, const char *note) {
    index = lua_absindex(L, index);
    const char *class, *got = given(L, index), *name = name_of_function(L, &class);
    if (class && index == 1)
        return luaL_error(L, "%s: is a method, %s:%s(…) with a colon; its first argument is %s", name, class, name,
                          got);
    if (strncmp(name, "__", 2) == 0) name += 2;
    int number = class ? index - 1 : index;
    if (note) return luaL_error(L, "%s: argument %d: %s", name, number, note);
    if (!class_wanted) return luaL_error(L, "%s: argument %d must be %s; got %s", name, number, wanted, got);
    if (strncmp(class_wanted, "simvae.", 7) == 0) class_wanted += 7;
    return luaL_error(L, "%s: argument %d must be a %s; got %s", name, number, class_wanted, got);
}

int sv_argument_error(lua_State *L, int index, const char *note) { return fail(L, index, NULL, NULL, note); }

lua_Integer sv_check_integer(lua_State *L, int index) {
    int ok;
    lua_Integer n = lua_tointegerx(L, index, &ok);
    if (!ok) fail(L, index, "a whole number", NULL, NULL);
    return n;
}

lua_Number sv_check_number(lua_State *L, int index) {
    int ok;
    lua_Number n = lua_tonumberx(L, index, &ok);
    if (!ok) fail(L, index, "a number", NULL, NULL);
    return n;
}

const char *sv_check_text(lua_State *L, int index, size_t *length) {
    const char *text = lua_tolstring(L, index, length);
    if (!text) fail(L, index, "a string", NULL, NULL);
    return text;
}

const char *sv_optional_text(lua_State *L, int index, const char *otherwise) {
    return lua_isnoneornil(L, index) ? otherwise : sv_check_text(L, index, NULL);
}

lua_Integer sv_optional_integer(lua_State *L, int index, lua_Integer otherwise) {
    return lua_isnoneornil(L, index) ? otherwise : sv_check_integer(L, index);
}

lua_Number sv_optional_number(lua_State *L, int index, lua_Number otherwise) {
    return lua_isnoneornil(L, index) ? otherwise : sv_check_number(L, index);
}

int sv_check_option(lua_State *L, int index, const char *const *options) {
    const char *given_text = sv_check_text(L, index, NULL);
    for (int i = 0; options[i]; i++)
        if (strcmp(given_text, options[i]) == 0) return i;
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    luaL_addstring(&b, "is one of ");
    for (int i = 0; options[i]; i++) {
        if (i) luaL_addstring(&b, ", ");
        luaL_addstring(&b, options[i]);
    }
    luaL_addstring(&b, "; got ");
    luaL_addstring(&b, given_text);
    luaL_pushresult(&b);
    return sv_argument_error(L, index, lua_tostring(L, -1));
}

void sv_check_type(lua_State *L, int index, int type) {
    if (lua_type(L, index) != type) fail(L, index, NULL, lua_typename(L, type), NULL);
}

void sv_check_any(lua_State *L, int index) {
    if (lua_isnone(L, index)) fail(L, index, "a value", NULL, NULL);
}

void *sv_check_object(lua_State *L, int index, const char *class) {
    void *object = luaL_testudata(L, index, class);
    if (!object) fail(L, index, NULL, class, NULL);
    return object;
}
