/* readers.c: a libFuzzer target for each file reader, and the op fuzzer, in one program that embeds Lua and the core.
 * SIMVAE_FUZZ names the target: a reader of spec/fuzz/readers.lua, or a script: "ops", "seeds".
 *
 * An input becomes a file in a temporary folder (TMPDIR); the reader gets its path. It must return for any
 * content: a raised error, a crash or a sanitizer's report ends the run. See `make fuzz`. */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLLECT_EVERY = 64 }; /* inputs */

int luaopen_simvae_core(lua_State *L);
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static lua_State *state;
static char path[256]; /* of the input */

static void fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, lua_tostring(state, -1));
    abort();
}

/* Leaves the reader on the stack. */
int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    const char *target = getenv("SIMVAE_FUZZ");
    state = luaL_newstate();
    luaL_openlibs(state);
    luaL_getsubtable(state, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(state, luaopen_simvae_core);
    lua_setfield(state, -2, "simvae.core");
    lua_settop(state, 0);
    if (target && (!strcmp(target, "ops") || !strcmp(target, "seeds"))) {
        lua_pushfstring(state, "spec/fuzz/%s.lua", target);
        if (luaL_dofile(state, lua_tostring(state, -1))) fail(target);
        exit(0);
    }
    if (luaL_loadfile(state, "spec/fuzz/readers.lua")) fail("readers.lua");
    lua_pushstring(state, target ? target : "");
    if (lua_pcall(state, 1, 2, 0)) fail("readers.lua");
    snprintf(path, sizeof path, "%s", lua_tostring(state, 2));
    lua_settop(state, 1);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int count;
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0) {
        perror(path);
        abort();
    }
    lua_pushvalue(state, 1);
    lua_pushstring(state, path);
    if (lua_pcall(state, 1, 0, 0) && !strstr(lua_tostring(state, -1), "not enough memory")) fail("raised");
    lua_settop(state, 1);
    if (++count % COLLECT_EVERY == 0) lua_gc(state, LUA_GCCOLLECT);
    return 0;
}
