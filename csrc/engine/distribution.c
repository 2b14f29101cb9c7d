/* distribution.c: Lua's interface to the distributions of kernels/distribution.h, of single numbers:
 *
 *     core.distribution.cdf(name, t, …)               -> P(T <= t), P(T > t); …: the distribution's parameters
 *     core.distribution.log_density(name, t, …)       -> of t
 *     core.distribution.quantile(name, below, above, …) -> t
 */
#include "../kernels/distribution.h"
#include "engine.h"

#include <string.h>

static const sv_distribution *check(lua_State *L, int parameters, double p[2]) {
    const char *name = sv_check_text(L, 1, NULL);
    const sv_distribution *d = sv_distributions;
    while (d->name && strcmp(d->name, name) != 0) d++;
    if (!d->name) luaL_error(L, "distribution: there is no '%s'", name);
    for (int i = 0; i < d->parameters; i++) p[i] = sv_check_number(L, parameters + i);
    return d;
}

static int l_cdf(lua_State *L) {
    double p[2] = {0, 0};
    const sv_distribution *d = check(L, 3, p);
    sv_tails u = d->cdf(p, sv_check_number(L, 2));
    lua_pushnumber(L, u.below);
    lua_pushnumber(L, u.above);
    return 2;
}

static int l_log_density(lua_State *L) {
    double p[2] = {0, 0};
    const sv_distribution *d = check(L, 3, p);
    lua_pushnumber(L, d->log_density(p, sv_check_number(L, 2)));
    return 1;
}

static int l_quantile(lua_State *L) {
    double p[2] = {0, 0};
    const sv_distribution *d = check(L, 4, p);
    lua_pushnumber(L, d->quantile(p, (sv_tails){sv_check_number(L, 2), sv_check_number(L, 3)}));
    return 1;
}

void sv_open_distribution(lua_State *L, int core) {
    static const luaL_Reg functions[] = {
        {"cdf", l_cdf}, {"log_density", l_log_density}, {"quantile", l_quantile}, {NULL, NULL}};
    core = lua_absindex(L, core);
    luaL_newlib(L, functions);
    lua_setfield(L, core, "distribution");
}
