/* apply.h: the parts of applying an op. */
#ifndef SV_APPLY_H
#define SV_APPLY_H

#include "engine.h"

/* Converts the inputs, at stack indices base …, to a common layout; returns that of a 4-d out. */
enum sv_layout sv_settle_layout(lua_State *L, sv_args *a, int base);
/* Allocates the weight cache of in[1], at that stack index, for a call whose shape function requests one. */
void sv_make_weight_cache(lua_State *L, const sv_context *c, sv_args *a, int weights);

#endif
