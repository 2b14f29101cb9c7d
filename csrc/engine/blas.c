/* blas.c: OpenBLAS as Lua sees it: which backend computes products, and loading simvae/blas.so when it is first needed.
 *
 *     core.use_blas()   by linalg, which needs it
 *     sv_load_blas      by sv_apply, for a product that it should compute; where it is missing, our kernels compute all
 *                       products, unless SV_BLAS=openblas requires it */
#define _DEFAULT_SOURCE /* setenv, mmap */
#include "../blas/blas.h"
#include "../version.h"
#include "apply.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static sv_blas table; /* a copy: that of the module belongs to a Lua state */
static const sv_blas *loaded;
static bool tried;

const sv_blas *sv_blas_now(void) { return loaded; }

#ifdef SV_DOUBLE
#define GEMM dgemm
#else
#define GEMM sgemm
#endif

static void gemm(bool transpose_a, bool transpose_b, long m, long n, long k, const sv_real *a, long lda,
                 const sv_real *b, long ldb, bool add, sv_real *c, long ldc) {
    table.GEMM(transpose_a, transpose_b, (int)m, (int)n, (int)k, 1, a, (int)lda, b, (int)ldb, add, c, (int)ldc);
}

static void use(lua_State *L, int index) {
    const sv_blas *b = sv_check_object(L, index, SV_BLAS);
    if (strcmp(b->version, SV_VERSION) != 0)
        luaL_error(L, "simvae.blas is of version %s, simvae.core of %s; install both anew", b->version, SV_VERSION);
    table = *b;
    loaded = &table;
    sv_gemm_use_library("openblas", gemm);
}

/* Bytes of addresses that OpenBLAS maps for each thread. Where it gets none it tries for ever. */
#define BUFFER ((size_t)128 << 20)

static bool has_room(void) {
    const size_t bytes = (size_t)sv_threads() * BUFFER;
    void *room = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANON, -1, 0);
    return room != MAP_FAILED && munmap(room, bytes) == 0;
}

/* Is this error of require the module's absence? Else it is an interruption, or a lack of memory. */
static bool is_absence(lua_State *L, int status) {
    size_t length;
    const char *why = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &length) : NULL;
    const size_t tail = sizeof "interrupted!" - 1;
    return status == LUA_ERRRUN && why && (length < tail || strcmp(why + length - tail, "interrupted!") != 0);
}

/* require "simvae.blas", on the stack, while OpenBLAS sees OPENBLAS_NUM_THREADS=1: it starts threads when it is loaded,
 * and interrupts the process where it cannot. */
static int call_require(lua_State *L) {
    static const char name[] = "OPENBLAS_NUM_THREADS";
    const char *given = getenv(name);
    lua_pushstring(L, given); /* a copy */
    setenv(name, "1", 1);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "simvae.blas");
    int status = lua_pcall(L, 1, 1, 0);
    if (given)
        setenv(name, lua_tostring(L, -2), 1);
    else
        unsetenv(name);
    lua_remove(L, -2);
    return status;
}

/* Loads it, once; false: it is missing, and why on the stack. */
static bool load(lua_State *L) {
    if (loaded) return true;
    luaL_checkstack(L, 4, NULL);
    if (!has_room()) {
        lua_pushliteral(L, "not enough memory");
        return false;
    }
    int status = call_require(L);
    if (status == LUA_OK)
        use(L, lua_gettop(L));
    else if (!is_absence(L, status))
        lua_error(L);
    return loaded;
}

bool sv_load_blas(lua_State *L) {
    if (loaded || tried) return loaded;
    int top = lua_gettop(L);
    if (!load(L) && sv_gemm_forced())
        luaL_error(L,
                   "SV_BLAS=%s: OpenBLAS is missing from this build; install it (Debian, Ubuntu: apt-get install "
                   "libopenblas-dev; macOS: brew install openblas) and build again with make, or unset SV_BLAS\n%s",
                   sv_gemm_forced(), lua_tostring(L, -1));
    tried = true;
    lua_settop(L, top);
    return loaded;
}

/* use_blas() -> what OpenBLAS says of itself; or nil, why it cannot be loaded */
static int l_use_blas(lua_State *L) {
    if (load(L)) {
        lua_pushstring(L, table.config);
        return 1;
    }
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
}

/* products("ours" | "openblas" | "auto") -> the backend of dense products in use, and whether OpenBLAS is loaded */
static int l_products(lua_State *L) {
    if (!lua_isnoneornil(L, 1)) {
        const char *name = sv_check_text(L, 1, NULL);
        if (!sv_gemm_force(strcmp(name, "auto") ? name : NULL))
            return luaL_error(L, "products: takes ours, openblas or auto; got %s", name);
    }
    lua_pushstring(L, sv_gemm_forced() ? sv_gemm_forced() : "auto");
    lua_pushboolean(L, loaded != NULL);
    return 2;
}

void sv_open_blas(lua_State *L, int core) {
    loaded = NULL;
    tried = false;
    sv_gemm_use_library("openblas", NULL);
    const char *name = getenv("SV_BLAS");
    if (name && !*name) name = NULL;
    if (!sv_gemm_force(name))
        luaL_error(L,
                   "SV_BLAS=%s is not a backend of products; set it to ours or openblas; or unset it for the faster "
                   "one of each product",
                   name);
    lua_pushcfunction(L, l_use_blas);
    lua_setfield(L, core, "use_blas");
    lua_pushcfunction(L, l_products);
    lua_setfield(L, core, "products");
}
