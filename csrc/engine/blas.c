/* blas.c: OpenBLAS as Lua sees it: which backend computes products, and loading simvae/blas.so when it is first needed.
 *
 *     core.use_blas(require "simvae.blas")   linalg, which cannot do without it
 *     load, from sv_apply                    a product whose backend it is; where it is missing, ours computes them
 * all, unless SV_BLAS asks for it by name */
#include "../blas/blas.h"
#include "../version.h"
#include "apply.h"

#include <stdlib.h>
#include <string.h>

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

/* use_blas(what require "simvae.blas" gives) -> what OpenBLAS says of itself */
static int l_use_blas(lua_State *L) {
    const sv_blas *b = sv_check_object(L, 1, SV_BLAS);
    if (strcmp(b->version, SV_VERSION) != 0)
        return luaL_error(L, "use_blas: simvae.blas is of version %s, simvae.core of %s; install both anew", b->version,
                          SV_VERSION);
    table = *b;
    loaded = &table;
    sv_gemm_use_library("openblas", gemm);
    lua_pushstring(L, b->config);
    return 1;
}

bool sv_load_blas(lua_State *L) {
    if (loaded || tried) return loaded;
    tried = true;
    int top = lua_gettop(L);
    luaL_checkstack(L, 4, NULL);
    lua_pushcfunction(L, l_use_blas);
    bool found = lua_getglobal(L, "require") == LUA_TFUNCTION;
    lua_pushliteral(L, "simvae.blas");
    found = found && lua_pcall(L, 1, 1, 0) == LUA_OK;
    if (found) lua_call(L, 1, 0);
    lua_settop(L, top);
    if (!found && sv_gemm_forced()) {
        tried = false;
        luaL_error(L,
                   "SV_BLAS=%s: OpenBLAS is missing from this build; install it (Debian, Ubuntu: apt-get install "
                   "libopenblas-dev; macOS: brew install openblas) and build again with make, or unset SV_BLAS",
                   sv_gemm_forced());
    }
    return found;
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
