/* builtin.c: Lua's interface to the simulators written in C:
 *
 *     core.builtin.box.draw(z, out)   z (N, K) in units, out (N, C, H, W), written in full
 *     core.builtin.box.start(z, …)    the same by threads that have nothing else to do, to a new tensor of that shape:
 *                                     an object whose method finish() returns z and out once all is written. z is not
 *                                     written until then; both belong to the tape of the call of finish
 *     core.builtin.box.prior(rng)     one draw of its prior, a list, where it has one of its own; many of them:
 *     core.builtin.box.draw_prior(seed, before, n)   (n, K); row i of stream before + i
 *
 * Samples are drawn on the thread pool; a sample depends on its z alone.
 *
 * SV_SIMULATORS, from the Makefile, is X(NAME) for every file csrc/simulators/NAME.c. */
#include "../kernels/loops.h"
#include "sim.h"

#ifndef SV_SIMULATORS
#define SV_SIMULATORS X(box)
#endif

#define X(name) extern const sv_sim sv_sim_##name;
SV_SIMULATORS
#undef X
#define X(name) &sv_sim_##name,
static const sv_sim *const simulators[] = {SV_SIMULATORS};
#undef X

enum { ROWS = 16, MOST = 64 }; /* rows of a piece; parameters of a simulator */

typedef struct {
    const sv_sim *sim;
    const sv_tensor *z;
    sv_real *out;
    size_t each;
} drawing;

static void draw_sample(void *arg, long i, int worker) {
    (void)worker;
    const drawing *d = arg;
    double z[MOST];
    for (int k = 0; k < d->sim->nparams; k++) z[k] = (double)d->z->data[i * d->sim->nparams + k];
    d->sim->draw(z, d->out + (size_t)i * d->each);
}

/* The arguments z and out. Upvalue: the row. */
static drawing check_drawing(lua_State *L) {
    const sv_sim *sim = lua_touserdata(L, lua_upvalueindex(1));
    sv_tensor *z = sv_check_tensor(L, 1), *out = sv_check_tensor(L, 2);
    sv_check_writable(L, out);
    if (z->ndim != 2 || z->shape[1] != (size_t)sim->nparams)
        luaL_error(L, "%s: z must be (N, %d)", sim->name, sim->nparams);
    size_t each = (size_t)(sim->channels * sim->height * sim->width);
    if (out->count != z->shape[0] * each)
        luaL_error(L, "%s: out must be (%d, %d, %d, %d)", sim->name, (int)z->shape[0], sim->channels, sim->height,
                   sim->width);
    out->layout = SV_PLAIN; /* all of it is written */
    return (drawing){sim, z, out->data, each};
}

static int l_draw(lua_State *L) {
    drawing d = check_drawing(L);
    sv_parallel((long)d.z->shape[0], draw_sample, &d);
    lua_settop(L, 2);
    return 1;
}

/* ---- drawn beside other work --------------------------------------------------------- */

#define BESIDE "simvae.drawing"

typedef struct {
    drawing what; /* of the tensors in user values 1 and 2 */
    sv_later job;
    bool pending;
} beside;

static int l_start(lua_State *L) {
    sv_context *c = sv_enter(L);
    size_t shape[SV_MAX_DIM];
    const int ndim = sv_check_shape(L, 2, shape);
    lua_settop(L, 1);
    sv_push_tensor(L, ndim, shape, SV_SCOPED);
    drawing d = check_drawing(L);
    beside *b = lua_newuserdatauv(L, sizeof *b, 2);
    *b = (beside){.what = d};
    luaL_setmetatable(L, BESIDE);
    for (int i = 1; i <= 2; i++) {
        sv_keep_storage(L, c, ((sv_tensor *)lua_touserdata(L, i))->storage);
        lua_pushvalue(L, i);
        lua_setiuservalue(L, -2, i);
    }
    b->pending = true;
    sv_start_later(&b->job, (long)d.z->shape[0], draw_sample, &b->what);
    return 1;
}

static int l_finish(lua_State *L) {
    beside *b = sv_check_object(L, 1, BESIDE);
    if (!b->pending) return luaL_error(L, "finish: it is finished");
    sv_context *c = sv_enter(L);
    b->pending = false;
    sv_finish_later(&b->job);
    lua_settop(L, 1);
    for (int i = 1; i <= 2; i++) {
        lua_getiuservalue(L, 1, i);
        lua_getiuservalue(L, -1, SV_UV_STORAGE);
        sv_adopt_storage(L, c, lua_gettop(L));
        lua_pop(L, 1);
        lua_pushnil(L);
        lua_setiuservalue(L, 1, i);
    }
    return 2;
}

/* What it writes to is freed after it. */
static int l_abandon(lua_State *L) {
    beside *b = sv_check_object(L, 1, BESIDE);
    if (b->pending) sv_finish_later(&b->job);
    b->pending = false;
    return 0;
}

/* ---- priors ------------------------------------------------------------------------ */

static int l_prior(lua_State *L) {
    const sv_sim *sim = lua_touserdata(L, lua_upvalueindex(1));
    sv_rng *r = sv_check_object(L, 1, SV_RNG);
    double z[MOST];
    sv_rng_check_stream(L, r);
    sim->prior(r, z);
    lua_createtable(L, sim->nparams, 0);
    for (int k = 0; k < sim->nparams; k++) {
        lua_pushnumber(L, z[k]);
        lua_rawseti(L, -2, k + 1);
    }
    return 1;
}

typedef struct {
    const sv_sim *sim;
    uint64_t seed, before;
    sv_real *to;
    long rows;
} draws;

static void draw_rows(void *arg, long piece, int worker) {
    (void)worker;
    const draws *d = arg;
    const long K = d->sim->nparams;
    for (long s = piece * ROWS; s < sv_min((piece + 1) * ROWS, d->rows); s++) {
        sv_rng r = {.seed = d->seed, .stream = d->before + (uint64_t)s + 1};
        double z[MOST];
        d->sim->prior(&r, z);
        for (long k = 0; k < K; k++) d->to[s * K + k] = (sv_real)z[k];
    }
}

static int l_draw_prior(lua_State *L) {
    const sv_sim *sim = lua_touserdata(L, lua_upvalueindex(1));
    sv_enter(L);
    uint64_t seed = (uint64_t)sv_check_integer(L, 1), before = (uint64_t)sv_check_integer(L, 2);
    lua_Integer n = sv_check_integer(L, 3);
    sv_check_argument(L, n >= 0, 3, "draw_prior takes 0 or more rows");
    sv_tensor *z = sv_push_tensor(L, 2, (size_t[]){(size_t)n, (size_t)sim->nparams}, SV_SCOPED);
    draws d = {sim, seed, before, z->data, (long)n};
    sv_parallel(divide_up(d.rows, ROWS), draw_rows, &d);
    return 1;
}

static void set_function(lua_State *L, const sv_sim *s, lua_CFunction f, const char *field) {
    lua_pushlightuserdata(L, (void *)(uintptr_t)s);
    lua_pushcclosure(L, f, 1);
    lua_setfield(L, -2, field);
}

void sv_open_builtin(lua_State *L, int core) {
    core = lua_absindex(L, core);
    static const luaL_Reg methods[] = {{"finish", l_finish}, {NULL, NULL}};
    sv_new_class(L, BESIDE, methods, l_abandon, NULL);
    lua_newtable(L);
    for (size_t i = 0; i < sizeof simulators / sizeof *simulators; i++) {
        const sv_sim *s = simulators[i];
        lua_createtable(L, 0, 6);
        set_function(L, s, l_draw, "draw");
        set_function(L, s, l_start, "start");
        if (s->prior) {
            set_function(L, s, l_prior, "prior");
            set_function(L, s, l_draw_prior, "draw_prior");
        }
        lua_pushstring(L, s->doc);
        lua_setfield(L, -2, "doc");
        lua_createtable(L, 3, 0);
        const int output[3] = {s->channels, s->height, s->width};
        for (int k = 0; k < 3; k++) {
            lua_pushinteger(L, output[k]);
            lua_rawseti(L, -2, k + 1);
        }
        lua_setfield(L, -2, "output");
        lua_setfield(L, -2, s->name);
    }
    lua_setfield(L, core, "builtin");
}
