/* shared.c: core.shared(shape…), a zeroed tensor in memory that is shared with the
 * processes forked later (core.process.fork). Writes are visible to all of them;
 * messages synchronise. The memory is released when the last process has collected its
 * tensor. Such a tensor belongs to no tape. */
#define _GNU_SOURCE /* MAP_ANONYMOUS */
#include "engine.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define SHARED "simvae.storage.shared"

typedef struct {
    sv_storage storage; /* first: tensors use this part alone */
    void *map;
    size_t bytes;
} shared_storage;

static int shared_gc(lua_State *L) {
    shared_storage *s = lua_touserdata(L, 1);
    if (s->map) munmap(s->map, s->bytes);
    s->map = NULL;
    s->storage.generation++; /* an older object's finalizer may still reach its tensors */
    return 0;
}

static int l_shared(lua_State *L) {
    size_t shape[SV_MAX_DIM], count;
    int ndim = sv_check_shape(L, 1, shape);
    if (!sv_count_shape(ndim, shape, &count))
        return luaL_error(L, "shared: a tensor of this shape is larger than the address space");
    shared_storage *s = lua_newuserdatauv(L, sizeof *s, 0);
    memset(s, 0, sizeof *s);
    luaL_setmetatable(L, SHARED);
    size_t bytes = (count ? count : 1) * sizeof(sv_real);
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) return luaL_error(L, "shared: %s", strerror(errno));
    s->map = map;
    s->bytes = bytes;
    s->storage.data = map;
    s->storage.count = count;
    s->storage.version = SV_FOREIGN;
    sv_push_tensor_on(L, lua_gettop(L), ndim, shape);
    return 1;
}

void sv_open_shared(lua_State *L, int core) {
    core = lua_absindex(L, core);
    sv_new_class(L, SHARED, NULL, shared_gc, NULL);
    lua_pushcfunction(L, l_shared);
    lua_setfield(L, core, "shared");
}
