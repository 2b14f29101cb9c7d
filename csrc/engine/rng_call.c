/* rng_call.c: rng:call(f, …), a protected call whose random numbers depend only on the generator's seed and stream.
 *
 *   ok, … = rng:call(f, …)       as pcall
 *
 * While f runs, math.random draws from a sequence determined by (seed, stream), independent of earlier draws; its own
 * state is restored afterwards. math.randomseed() and math.randomseed(os.time()) restart that sequence, since a
 * seed from the clock would be equal for all samples of a second. A generator made before the call, other than rng
 * itself, raises when used: its numbers would depend on earlier calls in this process. f cannot
 * yield across the call.
 *
 *   core.sample_rng() -> the generator of the innermost call that is running, or nil
 *   core.sample_drew() -> whether the call that ended last drew from its generator or from math.random */
#include "../kernels/random.h"
#include "engine.h"

#include <lualib.h>
#include <string.h>
#include <time.h>

static uint64_t calls, running; /* calls so far; the number of the innermost one that runs, 0: none */
static const sv_rng *allowed;   /* its generator */
static bool drew;               /* the last call that ended drew from rng or math.random */
static const char random_key, rng_key, math_key, seed_key; /* of the registry */

uint64_t sv_rng_born(void) { return calls; }

void sv_rng_check_stream(lua_State *L, const sv_rng *r) {
    if (running == 0 || r == allowed || r->born >= running) return;
    luaL_error(L, "this generator was made outside of the function that is run for one sample: its numbers would "
                  "depend on the order of the samples; use the rng that the function is given, or make one in it");
}

/* The state of math.random, an upvalue of it in Lua 5.4; NULL where it is another function. */
static void *random_state(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &random_key);
    void *state = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return state;
}

enum { RANDOM_WORDS = 4 }; /* of 64 bits: xoshiro256** */

static void find_random_state(lua_State *L) {
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    if (lua_getfield(L, -1, LUA_MATHLIBNAME) != LUA_TTABLE) return;
    int math = lua_gettop(L);
    lua_getfield(L, math, "random");
    if (!lua_iscfunction(L, -1) || !lua_getupvalue(L, -1, 1)) return;
    if (lua_type(L, -1) != LUA_TUSERDATA || lua_rawlen(L, -1) != RANDOM_WORDS * sizeof(uint64_t)) return;
    lua_rawsetp(L, LUA_REGISTRYINDEX, &random_key);
    lua_pushvalue(L, math);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &math_key);
}

/* Block k from the end of the stream, which draws do not reach: blocks 0 and 1 seed math.random. */
static void far_block(const sv_rng *r, uint64_t k, uint64_t words[2]) {
    uint32_t c[4];
    sv_random_block(r->seed, r->stream, UINT64_MAX - k, c);
    words[0] = (uint64_t)c[0] << 32 | c[1];
    words[1] = (uint64_t)c[2] << 32 | c[3];
}

uint64_t sv_rng_sample_seed(const sv_rng *r) {
    uint64_t words[2];
    if (r->stream == 0) return r->seed;
    far_block(r, 2, words);
    return words[0];
}

static void seed_random(const sv_rng *r, uint64_t words[RANDOM_WORDS]) {
    for (uint64_t k = 0; k < RANDOM_WORDS / 2; k++) far_block(r, k, words + 2 * k);
}

/* math.randomseed while a call runs. */
static int l_randomseed(lua_State *L) {
    lua_Number seconds = sv_optional_number(L, 1, 0) - (lua_Number)time(NULL);
    uint64_t *random = random_state(L);
    if (random && allowed && (lua_isnoneornil(L, 1) || (seconds >= -1 && seconds <= 1))) {
        seed_random(allowed, random);
        return 0;
    }
    int arguments = lua_gettop(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &seed_key);
    lua_insert(L, 1);
    lua_call(L, arguments, LUA_MULTRET);
    return lua_gettop(L);
}

/* Installed by the outermost call, which restores the original afterwards. */
static void replace_randomseed(lua_State *L) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &math_key) == LUA_TTABLE) {
        lua_getfield(L, -1, "randomseed");
        lua_rawsetp(L, LUA_REGISTRYINDEX, &seed_key);
        lua_pushcfunction(L, l_randomseed);
        lua_setfield(L, -2, "randomseed");
    }
    lua_pop(L, 1);
}

static void restore_randomseed(lua_State *L) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &math_key) == LUA_TTABLE) {
        lua_rawgetp(L, LUA_REGISTRYINDEX, &seed_key);
        lua_setfield(L, -2, "randomseed");
    }
    lua_pop(L, 1);
}

int sv_rng_call(lua_State *L) {
    sv_rng *r = sv_check_object(L, 1, SV_RNG);
    sv_check_any(L, 2);
    uint64_t words[RANDOM_WORDS], seeded[RANDOM_WORDS] = {0}, outer = running, next = r->next,
                                  *random = random_state(L);
    const sv_rng *outer_rng = allowed;
    if (random) {
        memcpy(words, random, sizeof words);
        seed_random(r, seeded);
        memcpy(random, seeded, sizeof seeded);
        if (outer == 0) replace_randomseed(L);
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, &rng_key); /* under r: back in place after the call */
    lua_insert(L, 2);
    lua_pushvalue(L, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &rng_key);
    running = ++calls;
    allowed = r;
    int status = lua_pcall(L, lua_gettop(L) - 3, LUA_MULTRET, 0);
    running = outer;
    allowed = outer_rng;
    drew = r->next != next || (random && memcmp(random, seeded, sizeof seeded) != 0);
    if (random) memcpy(random, words, sizeof words);
    if (random && outer == 0) restore_randomseed(L);
    lua_pushvalue(L, 2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &rng_key);
    lua_pushboolean(L, status == LUA_OK);
    lua_replace(L, 2);
    return lua_gettop(L) - 1;
}

static int l_drew(lua_State *L) {
    lua_pushboolean(L, drew);
    return 1;
}

static int l_sample_rng(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &rng_key);
    return 1;
}

void sv_open_rng_call(lua_State *L, int core) {
    core = lua_absindex(L, core);
    int top = lua_gettop(L);
    find_random_state(L);
    lua_settop(L, top);
    lua_pushcfunction(L, l_sample_rng);
    lua_setfield(L, core, "sample_rng");
    lua_pushcfunction(L, l_drew);
    lua_setfield(L, core, "sample_drew");
}
