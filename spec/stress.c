/* stress.c: a Lua allocator that refuses every Nth new userdata once.
 *
 * Lua reacts to a refusal by a full collection and a second attempt (lmem.c, "emergency" collections). Objects that C
 * code keeps between two allocations without an anchor (on the stack, in a table or in a user value) are then freed at
 * once, where a normal collection would free them rarely. Only userdata are refused: the core allocates these, and a
 * collection costs milliseconds.
 *
 *   package.loadlib("stress.so", "luaopen_stress")(64)   from now on, every 64th
 */
#include <lauxlib.h>
#include <lua.h>

static lua_Alloc allocate;
static void *context;
static lua_Integer every, count;

static void *refuse_some(void *unused, void *block, size_t from, size_t to) {
    (void)unused;
    if (!block && from == LUA_TUSERDATA && ++count % every == 0) return NULL;
    return allocate(context, block, from, to);
}

LUALIB_API int luaopen_stress(lua_State *L) {
    every = luaL_checkinteger(L, 1);
    luaL_argcheck(L, every >= 2, 1, "at least 2: what is refused twice in a row is an error");
    allocate = lua_getallocf(L, &context);
    lua_setallocf(L, refuse_some, NULL);
    return 0;
}
