/* layout.c: memory layouts of an op's inputs and output, and conversions between them. */
#include "apply.h"

#include <string.h>

/* Replaces the tensor at a stack slot by one in the given layout. Under a tape the converted copy of a constant is kept
 * with it for other ops that read it: an image is an input of the encoder and of the loss. */
static void convert(lua_State *L, sv_args *a, int base, int k, enum sv_layout layout) {
    sv_tensor *t = a->in[k];
    if (!t || t->ndim != 4 || t->layout == layout) return;
    uint64_t version = t->storage->version;
    bool cacheable = !t->needs_grad && version != SV_FOREIGN && sv_get_context(L)->tape;
    if (cacheable && t->converted_version == version + 1) {
        lua_getiuservalue(L, base + k, SV_UV_CONVERTED);
        sv_tensor *there = lua_touserdata(L, -1);
        if (there->layout == layout && there->generation == there->storage->generation) {
            a->in[k] = there;
            lua_replace(L, base + k);
            return;
        }
        lua_pop(L, 1);
    }
    bool same_memory = t->shape[1] == 1 || t->shape[2] * t->shape[3] == 1;
    const sv_op *op = same_memory ? &sv_op_relabel : layout == SV_PLAIN ? &sv_op_to_plain : &sv_op_to_channels_last;
    a->in[k] = sv_apply(L, op, 1, base + k, NULL, NULL);
    if (cacheable && !same_memory) {
        t->converted_version = version + 1;
        lua_pushvalue(L, -1);
        lua_setiuservalue(L, base + k, SV_UV_CONVERTED);
    }
    lua_replace(L, base + k);
}

/* Converts the inputs to a common layout; returns that of a 4-d out. */
enum sv_layout sv_settle_layout(lua_State *L, sv_args *a, int base) {
    const sv_op *op = a->op;
    if (op == &sv_op_to_plain) return SV_PLAIN;
    if (op == &sv_op_relabel) return a->in[0]->layout == SV_PLAIN ? SV_CHANNELS_LAST : SV_PLAIN;
    if (op == &sv_op_to_channels_last) return SV_CHANNELS_LAST;
    if (op->flags & SV_OP_CHANNELS_LAST) {
        convert(L, a, base, 0, SV_CHANNELS_LAST);
        for (int k = 1; k < a->nin; k++) convert(L, a, base, k, SV_PLAIN);
        return SV_CHANNELS_LAST;
    }
    bool last = false;
    for (int k = 0; k < a->nin; k++) last |= a->in[k] && a->in[k]->layout == SV_CHANNELS_LAST;
    if (!last) return SV_PLAIN;
    bool alike = (op->flags & SV_OP_LAYOUT_FREE) != 0;
    for (int k = 0; k < a->nin && alike; k++)
        if (a->in[k] && (a->in[k]->count != 1 || a->in[k]->ndim > 4))
            alike = a->in[k]->ndim == 4 && a->in[0]->ndim == 4 &&
                    !memcmp(a->in[k]->shape, a->in[0]->shape, 4 * sizeof(size_t));
    enum sv_layout layout = alike ? SV_CHANNELS_LAST : SV_PLAIN;
    for (int k = 0; k < a->nin; k++)
        if (!alike || a->in[k]->count != 1) convert(L, a, base, k, layout);
    return layout;
}
