/* module.c: luaopen_simvae_core, the only file that includes all parts. */
#include "simvae.h"
#include <stdlib.h>
#include <string.h>

static const sv_op *const families[] = {sv_ops_elementwise, sv_ops_reduce,         sv_ops_shape,    sv_ops_pool,
                                        sv_ops_softmax,     sv_ops_loss,           sv_ops_matmul,   sv_ops_conv,
                                        sv_ops_norm,        sv_ops_dropout,        sv_ops_sort,     sv_ops_distribution,
                                        sv_ops_linalg,      sv_ops_linalg_factor,  sv_ops_spline,   sv_ops_conditioner,
                                        sv_ops_piecewise,   sv_ops_location_scale, sv_ops_recurrent};

static bool threads_chosen; /* by the caller or the environment */

static int l_threads(lua_State *L) {
    if (!lua_isnoneornil(L, 1)) {
        lua_Integer n = sv_check_integer(L, 1);
        if (n < 1 || n > SV_MAX_THREADS || !sv_set_threads((int)n))
            return luaL_error(L, "threads: takes 1 to %d; got %I", SV_MAX_THREADS, n);
        threads_chosen = true;
    }
    lua_pushinteger(L, sv_threads());
    return 1;
}

/* precisions() -> { "fp32"[, "bf16"] }: what convolutions can compute with here, full precision first */
static int l_precisions(lua_State *L) {
    lua_newtable(L);
    lua_pushstring(L, sizeof(sv_real) == 8 ? "fp64" : "fp32");
    lua_rawseti(L, -2, 1);
    if (!sv_conv_has_bf16()) return 1;
    lua_pushliteral(L, "bf16");
    lua_rawseti(L, -2, 2);
    return 1;
}

/* kernel() -> the name of the CPU level in use: the best one here, or SV_KERNEL's; all levels of this CPU, separated by
 * ", " */
static int l_kernel(lua_State *L) {
    char names[SV_MESSAGE];
    sv_cpu_names(names, sizeof names);
    lua_pushstring(L, sv_cpu->name);
    lua_pushstring(L, names);
    return 2;
}

static void choose_cpu(lua_State *L) {
    const char *name = getenv("SV_KERNEL");
    if (sv_cpu_choose(name)) return;
    char names[SV_MESSAGE];
    sv_cpu_names(names, sizeof names);
    luaL_error(L,
               "SV_KERNEL=%s is not a CPU level of this build and CPU; set it to one of: %s; or unset it for the best",
               name, names);
}

/* SV_THREADS, where it is set, is the number of threads. */
static void choose_threads(lua_State *L) {
    const char *given = getenv("SV_THREADS");
    if (!given || !*given) return;
    char *end;
    long n = strtol(given, &end, 10);
    if (*end || n < 1 || n > SV_MAX_THREADS || !sv_set_threads((int)n))
        luaL_error(L, "SV_THREADS=%s is not a number of threads; set it to 1 to %d, or unset it for the cores", given,
                   SV_MAX_THREADS);
    threads_chosen = true;
}

/* threads_chosen() -> whether their number is anything but the default */
static int l_threads_chosen(lua_State *L) {
    lua_pushboolean(L, threads_chosen);
    return 1;
}

/* serial_seconds(on): of spec/bench/loop.lua */
static int l_serial_seconds(lua_State *L) {
    lua_pushnumber(L, sv_serial_seconds(lua_toboolean(L, 1)));
    return 1;
}

static const sv_row functions[] = {
    {"threads", l_threads,
     "The number of threads. Results do not depend on it.\n"
     "@tparam ?integer n sets it, from 1 to 64; default: SV_THREADS, or the cores that this process may use\n"
     "@treturn integer\n"
     "@raise another number\n"
     "@usage print(sv.threads() >= 1)"},
    {0}};

/* The only exported symbol: everything else is compiled with hidden visibility. */
__attribute__((visibility("default"))) LUALIB_API int luaopen_simvae_core(lua_State *L) {
    choose_cpu(L);
    choose_threads(L);
    lua_newtable(L);
    int core = lua_gettop(L);
    lua_newtable(L);
    lua_setfield(L, core, "ops");
    sv_open_number(L, core); /* first: later modules read numbers */
    sv_open_storage(L);
    sv_open_tensor(L, core);
    sv_open_tape(L, core);
    sv_open_gradients(L, core);
    sv_open_trace(L, core);
    sv_open_rng(L, core);
    sv_open_distribution(L, core);
    sv_open_optim(L, core);
    sv_open_io(L, core);
    sv_open_system(L, core);
    sv_open_signals(L, core);
    sv_open_terminal(L, core);
    sv_open_process(L, core);
    sv_open_shared(L, core);
    sv_open_builtin(L, core);
    sv_open_parameters(L, core);
    sv_open_spice(L, core);
    sv_open_canvas(L, core);
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) sv_open_ops(L, core, families[i]);
    sv_open_blas(L, core);
    sv_open_suggest(L, core);
    sv_open_metrics(L, core);
    sv_open_trees(L, core);
    sv_set_rows(L, core, "sv", functions);
    lua_pushcfunction(L, l_precisions);
    lua_setfield(L, core, "precisions");
    lua_pushcfunction(L, l_serial_seconds);
    lua_setfield(L, core, "serial_seconds");
    lua_pushcfunction(L, l_threads_chosen);
    lua_setfield(L, core, "threads_chosen");
    lua_pushcfunction(L, l_kernel);
    lua_setfield(L, core, "kernel");
    lua_pushinteger(L, SV_MAX_THREADS);
    lua_setfield(L, core, "max_threads");
    lua_pushstring(L, SV_VERSION);
    lua_setfield(L, core, "version");
    lua_pushstring(L, SV_REAL_NAME);
    lua_setfield(L, core, "real");
    return 1;
}
