/* What optimizers share: the checks of a parameter and its buffers, and the table
 * core.optim that lua/simvae/optim.lua is made of. */
#include "optim.h"

#include <string.h>

sv_tensor *sv_check_parameter(lua_State *L, int index) {
    sv_tensor *p = sv_check_tensor(L, index);
    if (!p->is_leaf || !p->grad || !p->grad_valid) return NULL; /* frozen, or not part of this loss */
    return p;
}

sv_real *sv_check_moment(lua_State *L, int index, const sv_tensor *p) {
    sv_tensor *t = sv_check_tensor(L, index);
    if (t->ndim != p->ndim || memcmp(t->shape, p->shape, (size_t)t->ndim * sizeof t->shape[0]) != 0) {
        char own[SV_MESSAGE], other[SV_MESSAGE];
        sv_format_shape(own, sizeof own, t->ndim, t->shape);
        sv_format_shape(other, sizeof other, p->ndim, p->shape);
        luaL_error(L, "optimizer: a buffer of shape %s for a parameter of shape %s", own, other);
    }
    return t->data;
}

void sv_open_optim(lua_State *L, int core) {
    static const luaL_Reg functions[] = {{"adam", sv_optim_adam},
                                         {"sgd", sv_optim_sgd},
                                         {"grad_norm", sv_optim_grad_norm},
                                         {"scale_grads", sv_optim_scale_grads},
                                         {NULL, NULL}};
    core = lua_absindex(L, core);
    luaL_newlib(L, functions);
    lua_setfield(L, core, "optim");
}
