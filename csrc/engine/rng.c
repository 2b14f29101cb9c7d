/* rng.c: sv.rng, random numbers from Philox4x32-10 (kernels/random.c). Number i of a stream is a pure function of
 * (seed, stream, i), so that sample i of a data set does not depend on the process that draws it or on the order. */
#include "../kernels/loops.h"
#include "../kernels/random.h"
#include "engine.h"

#include <math.h>

double sv_rng_uniform(sv_rng *r) { return sv_random_uniform(r->seed, r->stream, r->next++); }

/* Consumes two numbers of the stream, those of one block. */
double sv_rng_normal(sv_rng *r) {
    r->next += r->next & 1;
    double z = sv_random_normal(r->seed, r->stream, r->next / 2);
    r->next += 2;
    return z;
}

/* ---- Lua: sv.rng(seed) ------------------------------------------------------- */

static sv_rng *check(lua_State *L) { return sv_check_object(L, 1, SV_RNG); }

/* Of a method that draws. */
static sv_rng *check_draw(lua_State *L) {
    sv_rng *r = check(L);
    sv_rng_check_stream(L, r);
    return r;
}

static sv_rng *push(lua_State *L, uint64_t seed, uint64_t stream) {
    sv_rng *r = lua_newuserdatauv(L, sizeof *r, 0);
    *r = (sv_rng){.seed = seed, .stream = stream, .born = sv_rng_born()};
    luaL_setmetatable(L, SV_RNG);
    return r;
}

static int l_rng(lua_State *L) {
    push(L, (uint64_t)sv_optional_integer(L, 1, 0), (uint64_t)sv_optional_integer(L, 2, 0));
    return 1;
}

typedef struct {
    sv_rng r;
    double a, b;
    bool normal;
    sv_real *to;
    size_t count;
} filling;

enum { FILL = 2048 }; /* numbers of a piece: 20 us of normal draws */

static void fill_piece(void *arg, long piece, int worker) {
    (void)worker;
    const filling *f = arg;
    const size_t from = (size_t)piece * FILL, n = from + FILL < f->count ? FILL : f->count - from;
    const uint64_t first = (f->normal ? f->r.next / 2 : f->r.next) + from;
    (f->normal ? sv_fill_normal : sv_fill_uniform)(f->r.seed, f->r.stream, first, (long)n, f->a, f->b, f->to + from);
}

/* A shape at stack index 4 makes a tensor of draws a + b * unit draw, else one number. */
static int draw(lua_State *L, sv_rng *r, double a, double b, bool normal) {
    if (lua_isnoneornil(L, 4)) {
        lua_pushnumber(L, a + b * (normal ? sv_rng_normal(r) : sv_rng_uniform(r)));
        return 1;
    }
    size_t shape[SV_MAX_DIM];
    sv_enter(L);
    sv_check_type(L, 4, LUA_TTABLE);
    int ndim = sv_check_shape(L, 4, shape);
    sv_tensor *t = sv_push_tensor(L, ndim, shape, SV_SCOPED);
    if (normal) r->next += r->next & 1;
    filling f = {*r, a, b, normal, t->data, t->count};
    sv_parallel(divide_up((long)t->count, FILL), fill_piece, &f);
    r->next += normal ? 2 * t->count : t->count;
    return 1;
}

/* Moves a shape given in place of the two numbers to index 4. */
static void shape_first(lua_State *L) {
    if (lua_istable(L, 2)) {
        lua_settop(L, 2);
        lua_pushnil(L);
        lua_pushvalue(L, 2);
        lua_pushnil(L);
        lua_replace(L, 2);
    }
}

/* rng:uniform() | rng:uniform(low, high) | rng:uniform(low, high, shape) | rng:uniform(shape) */
static int l_uniform(lua_State *L) {
    sv_rng *r = check_draw(L);
    shape_first(L);
    double low = sv_optional_number(L, 2, 0), high = sv_optional_number(L, 3, 1);
    if (!isfinite(low) || !isfinite(high)) return luaL_error(L, "uniform: bounds must be finite");
    return draw(L, r, low, high - low, false);
}

/* rng:normal() | rng:normal(mean, std) | rng:normal(mean, std, shape) | rng:normal(shape) */
static int l_normal(lua_State *L) {
    sv_rng *r = check_draw(L);
    shape_first(L);
    return draw(L, r, sv_optional_number(L, 2, 0), sv_optional_number(L, 3, 1), true);
}

/* rng:integer(low, high): a whole number, both ends included. */
static int l_integer(lua_State *L) {
    sv_rng *r = check_draw(L);
    lua_Integer low = sv_check_integer(L, 2), high = sv_check_integer(L, 3);
    sv_check_argument(L, low <= high, 3, "integer(low, high) needs low <= high");
    uint64_t span = (uint64_t)high - (uint64_t)low, i;
    if (span < (uint64_t)SV_MAX_INTEGER) {
        i = (uint64_t)(sv_rng_uniform(r) * ((double)span + 1));
        if (i > span) i = span;
    } else { /* 64 bits; rejects values beyond the largest multiple of the range */
        uint64_t spare = span == UINT64_MAX ? 0 : (UINT64_MAX % (span + 1) + 1) % (span + 1);
        do {
            i = (uint64_t)(sv_rng_uniform(r) * 0x1p32) << 32;
            i |= (uint64_t)(sv_rng_uniform(r) * 0x1p32);
        } while (i > UINT64_MAX - spare);
        if (span < UINT64_MAX) i %= span + 1;
    }
    lua_pushinteger(L, (lua_Integer)((uint64_t)low + i));
    return 1;
}

/* rng:choice{…}: one entry of a list. */
static int l_choice(lua_State *L) {
    sv_rng *r = check_draw(L);
    sv_check_type(L, 2, LUA_TTABLE);
    lua_Integer n = luaL_len(L, 2);
    sv_check_argument(L, n > 0 && sv_fits_integer(n), 2, "choice needs a list that is not empty");
    lua_geti(L, 2, 1 + (lua_Integer)(sv_rng_uniform(r) * (double)n));
    return 1;
}

/* rng:at(i): the generator of stream i under the same seed, at its start. */
static int l_at(lua_State *L) {
    sv_rng *r = check(L);
    push(L, r->seed, (uint64_t)sv_check_integer(L, 2));
    return 1;
}

/* rng:rewind(stream): this generator, now at the start of that stream. Saves rng:at's new object in loops. */
static int l_rewind(lua_State *L) {
    sv_rng *r = check(L);
    *r = (sv_rng){r->seed, (uint64_t)sv_check_integer(L, 2), 0, sv_rng_born()};
    lua_settop(L, 1);
    return 1;
}

/* rng:take(n) -> the first of n consecutive sample indices, which are then consumed. */
static int l_take(lua_State *L) {
    sv_rng *r = check_draw(L);
    lua_pushinteger(L, (lua_Integer)r->next);
    r->next += (uint64_t)sv_check_integer(L, 2);
    return 1;
}

/* rng:samples(n) -> the seed of samples drawn by it, then as take(n): generators of one seed and different streams
 * draw different samples. */
static int l_samples(lua_State *L) {
    sv_rng *r = check_draw(L);
    lua_Integer n = sv_check_integer(L, 2);
    lua_pushinteger(L, (lua_Integer)sv_rng_sample_seed(r));
    lua_pushinteger(L, (lua_Integer)r->next);
    r->next += (uint64_t)n;
    return 2;
}

/* rng:permutation(n): a tensor of 1 … n in random order (Fisher and Yates). */
static int l_permutation(lua_State *L) {
    sv_enter(L);
    sv_rng *r = check_draw(L);
    lua_Integer n = sv_check_integer(L, 2);
    sv_check_argument(L, n >= 0 && n < 16777216, 2, "permutation takes 0 to 2^24 - 1 entries");
    sv_tensor *t = sv_push_tensor(L, 1, (size_t[]){(size_t)n}, SV_SCOPED);
    for (size_t i = 0; i < t->count; i++) t->data[i] = (sv_real)(i + 1);
    for (size_t i = t->count; i > 1; i--) {
        size_t j = (size_t)(sv_rng_uniform(r) * (double)i);
        sv_real swap = t->data[i - 1];
        t->data[i - 1] = t->data[j];
        t->data[j] = swap;
    }
    return 1;
}

/* rng:state() -> seed, stream, next;  rng:restore(seed, stream, next) */
static int l_state(lua_State *L) {
    sv_rng *r = check(L);
    lua_pushinteger(L, (lua_Integer)r->seed);
    lua_pushinteger(L, (lua_Integer)r->stream);
    lua_pushinteger(L, (lua_Integer)r->next);
    return 3;
}

static int l_restore(lua_State *L) {
    sv_rng *r = check(L);
    *r = (sv_rng){(uint64_t)sv_check_integer(L, 2), (uint64_t)sv_check_integer(L, 3), (uint64_t)sv_check_integer(L, 4),
                  sv_rng_born()};
    lua_settop(L, 1);
    return 1;
}

static int l_tostring(lua_State *L) {
    sv_rng *r = check(L);
    lua_pushfstring(L, "rng(seed %I, stream %I, %I drawn)", (lua_Integer)r->seed, (lua_Integer)r->stream,
                    (lua_Integer)r->next);
    return 1;
}

static const sv_row rng_methods[] = {
    {"uniform", l_uniform,
     "Uniform numbers: rng:uniform(), rng:uniform(low, high), rng:uniform(low, high, shape), rng:uniform(shape).\n"
     "@tparam ?number|table low 0; or the shape\n"
     "@tparam ?number high 1\n"
     "@tparam ?table shape of a tensor; nil: one number\n"
     "@treturn number|tensor in [low, high)\n"
     "@overload fun(self: rng, low?: number, high?: number): number\n"
     "@overload fun(self: rng, shape: table): tensor\n"
     "@overload fun(self: rng, low: number, high: number, shape: table): tensor\n"
     "@raise bounds that are not finite\n"
     "@usage print(sv.rng(1):uniform(-1, 1, { 2, 3 }))"},
    {"normal", l_normal,
     "Normally distributed numbers: rng:normal(), rng:normal(mean, std), rng:normal(mean, std, shape), "
     "rng:normal(shape).\n"
     "@tparam ?number|table mean 0; or the shape\n"
     "@tparam ?number std 1\n"
     "@tparam ?table shape of a tensor; nil: one number\n"
     "@treturn number|tensor with mean and std\n"
     "@overload fun(self: rng, mean?: number, std?: number): number\n"
     "@overload fun(self: rng, shape: table): tensor\n"
     "@overload fun(self: rng, mean: number, std: number, shape: table): tensor\n"
     "@usage print(sv.rng(1):normal { 2, 3 })"},
    {"integer", l_integer,
     "A whole number, both ends included.\n"
     "@tparam integer low\n"
     "@tparam integer high\n"
     "@treturn integer\n"
     "@raise high below low\n"
     "@usage print(sv.rng(1):integer(1, 6))"},
    {"choice", l_choice,
     "One entry of a list.\n"
     "@tparam table list of anything, not empty\n"
     "@treturn any\n"
     "@raise an empty list\n"
     "@usage print(sv.rng(1):choice { \"heart\", \"square\", \"ellipse\" })"},
    {"at", l_at,
     "The generator of another stream under the same seed, at its start.\n"
     "@tparam integer stream\n"
     "@treturn rng\n"
     "@usage print(sv.rng(1):at(7):uniform())"},
    {"rewind", l_rewind,
     "Moves this generator to the start of a stream. Saves the new object of rng:at in loops.\n"
     "@tparam integer stream\n"
     "@treturn rng itself\n"
     "@usage\n"
     "local rng = sv.rng(1)\n"
     "rng:uniform()\n"
     "print(rng:rewind(0))"},
    {"take", l_take,
     "Consumes consecutive sample indices.\n"
     "@tparam integer n how many\n"
     "@treturn integer the first of them\n"
     "@usage print(sv.rng(1):take(64))"},
    {"samples", l_samples,
     "The seed of samples that this generator draws, and consumes their indices: generators of one seed and different "
     "streams draw different samples.\n"
     "@tparam integer n how many\n"
     "@treturn integer seed of the samples\n"
     "@treturn integer index of the first\n"
     "@usage print(sv.rng(1):samples(64))"},
    {"call", sv_rng_call,
     "Calls a function with math.random seeded by this generator, as it is inside a simulator's simulate.\n"
     "@tparam function f what is called\n"
     "@tparam any ... its arguments\n"
     "@treturn boolean whether f returned\n"
     "@treturn any what f returned, or its error\n"
     "@usage print(sv.rng(1):call(math.random, 6))"},
    {"permutation", l_permutation,
     "The numbers 1 to n in random order (Fisher and Yates).\n"
     "@tparam integer n from 0 to 2^24 - 1\n"
     "@treturn tensor (n,)\n"
     "@raise another n\n"
     "@usage print(sv.rng(1):permutation(5))"},
    {"state", l_state,
     "What restore takes.\n"
     "@treturn integer seed\n"
     "@treturn integer stream\n"
     "@treturn integer how many numbers were drawn\n"
     "@usage print(sv.rng(1):state())"},
    {"restore", l_restore,
     "Continues where state was read.\n"
     "@tparam integer seed\n"
     "@tparam integer stream\n"
     "@tparam integer drawn how many numbers were drawn\n"
     "@treturn rng itself\n"
     "@usage\n"
     "local rng = sv.rng(1)\n"
     "local seed, stream, drawn = rng:state()\n"
     "local first = rng:uniform()\n"
     "print(first == rng:restore(seed, stream, drawn):uniform())"},
    {0}};
static const sv_row functions[] = {{"rng", l_rng,
                                    "A random number generator (Philox, counter-based; Salmon et al. 2011): number i "
                                    "of a stream under a seed depends on nothing else.\n"
                                    "@tparam ?integer seed 0\n"
                                    "@tparam ?integer stream 0\n"
                                    "@treturn rng\n"
                                    "@usage\n"
                                    "local rng = sv.rng(1)\n"
                                    "print(rng:uniform(), rng:normal(), rng:integer(1, 6))"},
                                   {0}};

void sv_open_rng(lua_State *L, int core) {
    core = lua_absindex(L, core);
    sv_new_class(L, SV_RNG, NULL, NULL, l_tostring);
    sv_set_methods(L, core, SV_RNG, "rng", rng_methods);
    lua_pushvalue(L, core);
    sv_set_rows(L, core, "sv", functions);
    lua_pop(L, 1);
    sv_open_rng_call(L, core);
}
