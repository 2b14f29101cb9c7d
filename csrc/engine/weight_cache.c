/* weight_cache.c: preprocessed weights (packed panels, Winograd transforms) of constant weights, from call to call. */
#include "apply.h"

enum { CACHE_ALIGNMENT = 64 };

/* Trainable weights change every step and are packed anew in every call. For constant weights, the second call with
 * the same values allocates the cache and fills it; later calls use it. A view made for one call gets no cache. */
void sv_make_weight_cache(lua_State *L, const sv_context *c, sv_args *a, int weights) {
    sv_tensor *w = a->in[1];
    uint64_t version = w->storage->version;
    if ((w->needs_grad && c->recording) || w->storage->owner || version == SV_FOREIGN) return;
    a->use_weight_cache = w->weights_version == version + 1;
    w->weights_version = version + 1;
    if (!a->use_weight_cache) return;
    for (int pass = 0; pass < 2; pass++) {
        size_t count = a->cache_count[pass];
        if (count == 0 || (w->weight_cache[pass] && w->weight_cache[pass]->count == count)) continue;
        if (pass > 0 && !(a->training && a->in[0]->needs_grad)) continue;
        sv_weight_cache *k = lua_newuserdatauv(L, sizeof *k + CACHE_ALIGNMENT - 1 + count * sizeof(sv_real), 0);
        uintptr_t numbers = ((uintptr_t)(k + 1) + CACHE_ALIGNMENT - 1) & ~(uintptr_t)(CACHE_ALIGNMENT - 1);
        *k = (sv_weight_cache){.count = count, .version = SV_FOREIGN, .numbers = (sv_real *)numbers};
        lua_setiuservalue(L, weights, SV_UV_WEIGHT_CACHE + pass);
        w->weight_cache[pass] = k;
    }
}

sv_real *sv_weight_cache_numbers(const sv_args *a, bool backward, size_t count, uint64_t key, bool *ready) {
    sv_weight_cache *k = a->use_weight_cache ? a->in[1]->weight_cache[backward] : NULL;
    if (!k || k->count != count) return NULL;
    uint64_t version = a->in[1]->storage->version;
    *ready = k->version == version && k->key == key;
    k->version = version;
    k->key = key;
    return k->numbers;
}
