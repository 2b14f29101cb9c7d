/* gradients.h: gradients that a backward pass writes to a flat tensor instead of the leaves. */
#ifndef SV_GRADIENTS_H
#define SV_GRADIENTS_H

#include "engine.h"

/* A list of leaves and where the gradient of each starts in a flat tensor. */
typedef struct sv_gradients {
    int n;
    size_t count; /* of the flat tensor */
    struct sv_gradients_leaf {
        sv_tensor *leaf; /* kept alive by the list */
        size_t from;
    } at[];
} sv_gradients;

/* Of one backward pass. */
typedef struct sv_collected sv_collected;

/* Starts one from the options of backward at a stack index: gradients, into. */
void sv_collect(lua_State *L, sv_tape *tape, int options);
void sv_collected_expect(lua_State *L, sv_collected *c, const sv_tensor *leaf); /* one more use */
void sv_collected_start(sv_collected *c);                                       /* all are expected */
sv_real *sv_collected_destination(lua_State *L, sv_collected *c, const sv_tensor *leaf, bool *added);
void sv_collected_use(sv_collected *c, const sv_tensor *leaf); /* one of the uses is behind */
int sv_collected_next(sv_collected *c, bool *used);            /* a leaf that is complete, from 1; 0: none now */
void sv_drop_collected(sv_tape *tape);

#endif
