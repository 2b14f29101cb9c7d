/* optim.h: the optimizers' functions and what they share. Each updates one parameter
 * in one pass over its numbers, cut into fixed pieces for the pool. */
#ifndef SV_OPTIM_H
#define SV_OPTIM_H

#include "../ops/axes.h"

/* The parameter at a stack index, NULL if it is frozen or has no gradient now. */
sv_tensor *sv_check_parameter(lua_State *L, int index);
/* The numbers of a buffer of p's shape at a stack index. */
sv_real *sv_check_moment(lua_State *L, int index, const sv_tensor *p);

int sv_optim_adam(lua_State *L);
int sv_optim_sgd(lua_State *L);
int sv_optim_grad_norm(lua_State *L);
int sv_optim_scale_grads(lua_State *L);

#endif
