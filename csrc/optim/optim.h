/* optim.h: optimizers. A step is one parallel region
 * over the numbers of all parameters, by stripes. */
#ifndef SV_OPTIM_H
#define SV_OPTIM_H

#include "../ops/axes.h"

#define SV_BUFFERS 2 /* maximum of an optimizer, for each parameter */

/* A parameter that has a gradient now. */
typedef struct sv_update {
    size_t count;
    sv_real *p, *buffer[SV_BUFFERS];
    const sv_real *g;
    double step;       /* this one's number, from 1 */
    sv_real factor[2]; /* the optimizer's, for this parameter */
} sv_update;

/* The parameter at a stack index, NULL if it is frozen or has no gradient now. */
sv_tensor *sv_check_parameter(lua_State *L, int index);
/* Those of the list {tensor = p, steps = n, BUFFER = tensor of p's shape, …}, … at a stack index that have a
 * gradient; steps counts up. names: of the buffers, NULL for none. Pushes the userdata that holds the result. */
sv_update *sv_push_updates(lua_State *L, int list, const char *const names[SV_BUFFERS], long *count);
/* run(rule, u, from, to) for numbers from … to-1 of each parameter; pushes how many parameters there are. */
int sv_run_updates(lua_State *L, const sv_update *u, long count,
                   void (*run)(const void *rule, const sv_update *u, size_t from, size_t to), const void *rule);

int sv_optim_adam(lua_State *L);
int sv_optim_sgd(lua_State *L);
int sv_optim_grad_norm(lua_State *L);
int sv_optim_scale_grads(lua_State *L);
int sv_optim_is_list(lua_State *L);

#endif
