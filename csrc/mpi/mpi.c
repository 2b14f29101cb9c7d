/* simvae/mpi.so: what ranks of a training exchange (lua/simvae/train/ranks.lua).
 *
 *     local mpi = require "simvae.mpi"
 *     mpi.start()                              -- MPI_Init in a thread of its own, once in a process
 *     mpi.ready(seconds) -> rank, size, local, threads; or false: not yet
 *     mpi.sum(t, first, count, "fp32") -> job  -- in place; "bf16"
 *     mpi.moments(t, rows) -> job
 *     mpi.rows(t, { n, … }, own) -> job        -- t gets blocks of n numbers of each rank, of which own is this one's
 *     mpi.texts(text) -> job
 *     mpi.wait(job, seconds) -> true; false: not yet; nil, text, rank: a rank ended, or MPI failed (rank nil)
 *     mpi.result(job) -> { text, … } of a job of texts
 *     mpi.tell(kind, text) -> whether it went  -- to all others; "F": a failure, which ends their waits
 *     mpi.heard(kind, seconds) -> whether another rank has told one of that kind
 *     mpi.stop(finalize)                       -- finalize: MPI_Finalize, which waits for all ranks
 *
 * A module of its own, since the core links no MPI. All ranks start the same jobs in the same order. Tensors of jobs
 * are to be kept, and not to be touched, until these have ended. */
#include <lauxlib.h>
#include <lua.h>

#include "../engine/engine.h"
#include "../version.h"
#include "thread.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

static const double TELLING = 2; /* seconds that a rank tries to tell the others something */

static const sv_ranks *ranks; /* once MPI has started */

static int l_start(lua_State *L) {
    if (sv_mpi_running()) return luaL_error(L, "mpi: it was started");
    const char *why = sv_mpi_start();
    if (why) return luaL_error(L, "mpi: %s", why);
    return 0;
}

static int failed(lua_State *L) {
    int from = -1;
    const char *text = sv_mpi_failure(&from);
    if (!text) return 0;
    lua_pushnil(L);
    lua_pushstring(L, text);
    if (from < 0) return 2;
    lua_pushinteger(L, from);
    return 3;
}

static int l_ready(lua_State *L) {
    const sv_world *w = sv_mpi_ready(luaL_checknumber(L, 1));
    if (!w) {
        lua_pushboolean(L, false);
        return 1;
    }
    int n = failed(L);
    if (n) return n;
    ranks = &w->ranks;
    lua_pushinteger(L, w->ranks.rank);
    lua_pushinteger(L, w->ranks.size);
    lua_pushinteger(L, w->local);
    lua_pushinteger(L, w->threads);
    return 4;
}

static sv_tensor *check_tensor(lua_State *L, int index) {
    sv_tensor *t = luaL_checkudata(L, index, SV_TENSOR);
    if (t->generation != t->storage->generation) luaL_error(L, "mpi: the tensor was released with its tape");
    sv_note_write(t->storage);
    return t;
}

static sv_job *new_job(lua_State *L, enum sv_job_kind kind, size_t count) {
    if (!ranks || !sv_mpi_running()) luaL_error(L, "mpi: it is not running");
    if (count > INT_MAX) luaL_error(L, "mpi: a message of more than 2^31 numbers");
    sv_job *j = sv_new_job(ranks, kind, sv_job_work(kind, count));
    if (!j) luaL_error(L, "mpi: not enough memory");
    j->count = count;
    return j;
}

static int post(lua_State *L, sv_job *j) {
    lua_pushinteger(L, sv_mpi_post(j));
    return 1;
}

static int l_sum(lua_State *L) {
    static const char *const names[] = {"fp32", "bf16", NULL};
    const sv_tensor *t = check_tensor(L, 1);
    lua_Integer first = luaL_checkinteger(L, 2), count = luaL_checkinteger(L, 3);
    bool bf16 = luaL_checkoption(L, 4, NULL, names) == 1;
    if (first < 0 || count < 0 || (size_t)first > t->count || (size_t)count > t->count - (size_t)first)
        return luaL_error(L, "mpi: the tensor has no numbers %I to %I", first + 1, first + count);
    sv_job *j = new_job(L, bf16 ? SV_JOB_BF16 : SV_JOB_SUM, (size_t)count);
    j->data = t->data + first;
    return post(L, j);
}

static int l_moments(lua_State *L) {
    const sv_tensor *t = check_tensor(L, 1);
    double rows = luaL_checknumber(L, 2);
    if (t->ndim != 2 || t->shape[0] != 2) return luaL_error(L, "mpi: moments are (2, columns)");
    sv_job *j = new_job(L, SV_JOB_MOMENTS, t->count);
    j->data = t->data;
    j->rows = rows;
    return post(L, j);
}

static int l_rows(lua_State *L) {
    const sv_tensor *t = check_tensor(L, 1), *own = check_tensor(L, 3);
    luaL_checktype(L, 2, LUA_TTABLE);
    sv_job *j = new_job(L, SV_JOB_ROWS, t->count);
    j->data = t->data;
    for (int k = 0; k < ranks->size; k++) {
        lua_rawgeti(L, 2, k + 1);
        lua_Integer n = lua_tointeger(L, -1);
        j->from[k + 1] = j->from[k] + (n < 0 ? 0 : (size_t)n);
        lua_pop(L, 1);
    }
    const size_t *block = &j->from[ranks->rank];
    if (j->from[ranks->size] != t->count || own->count != block[1] - block[0]) {
        sv_free_job(ranks, j);
        return luaL_error(L, "mpi: the blocks of rows are not the tensor");
    }
    memcpy(t->data + block[0], own->data, own->count * sizeof(sv_real));
    return post(L, j);
}

static sv_job *text_job(lua_State *L, enum sv_job_kind kind, const char *before, const char *text, size_t n) {
    size_t head = strlen(before);
    sv_job *j = new_job(L, kind, head + n);
    char *copy = malloc(head + n + 1);
    if (!copy) {
        sv_free_job(ranks, j);
        luaL_error(L, "mpi: not enough memory");
    }
    memcpy(copy, before, head);
    memcpy(copy + head, text, n);
    j->text[ranks->rank] = copy;
    j->length[ranks->rank] = (int)(head + n);
    return j;
}

static int l_texts(lua_State *L) {
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    return post(L, text_job(L, SV_JOB_TEXTS, "", text, n));
}

static int l_tell(lua_State *L) {
    size_t n;
    const char *kind = luaL_checkstring(L, 1), *text = luaL_checklstring(L, 2, &n);
    long number = sv_mpi_post(text_job(L, SV_JOB_TELL, (const char[]){kind[0], 0}, text, n));
    lua_pushboolean(L, sv_mpi_wait(number, TELLING, true));
    return 1;
}

static int l_wait(lua_State *L) {
    if (sv_mpi_wait((long)luaL_checkinteger(L, 1), luaL_checknumber(L, 2), false)) {
        lua_pushboolean(L, true);
        return 1;
    }
    int n = failed(L);
    if (n) return n;
    lua_pushboolean(L, false);
    return 1;
}

static int l_result(lua_State *L) {
    sv_job *j = sv_mpi_take((long)luaL_checkinteger(L, 1));
    if (!j) return luaL_error(L, "mpi: no texts have arrived");
    lua_createtable(L, ranks->size, 0);
    for (int k = 0; k < ranks->size; k++) {
        lua_pushlstring(L, j->text[k], (size_t)j->length[k]);
        lua_rawseti(L, -2, k + 1);
    }
    sv_free_job(ranks, j);
    return 1;
}

static int l_heard(lua_State *L) {
    const char *kind = luaL_checkstring(L, 1);
    lua_pushboolean(L, sv_mpi_heard(kind[0], luaL_checknumber(L, 2)));
    return 1;
}

static int l_stop(lua_State *L) {
    sv_mpi_stop(lua_toboolean(L, 1));
    return 0;
}

/* The state closes while MPI runs: where a training has ended, all ranks come here. */
static int l_end(lua_State *L) {
    (void)L;
    int from;
    if (sv_mpi_running()) sv_mpi_stop(!sv_mpi_failure(&from));
    return 0;
}

static const luaL_Reg functions[] = {{"start", l_start},   {"ready", l_ready}, {"sum", l_sum},   {"moments", l_moments},
                                     {"rows", l_rows},     {"texts", l_texts}, {"tell", l_tell}, {"wait", l_wait},
                                     {"result", l_result}, {"heard", l_heard}, {"stop", l_stop}, {NULL, NULL}};

__attribute__((visibility("default"))) LUALIB_API int luaopen_simvae_mpi(lua_State *L) {
    luaL_newlib(L, functions);
    lua_pushstring(L, SV_VERSION);
    lua_setfield(L, -2, "version");
    lua_newuserdatauv(L, 1, 0);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, l_end);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, functions);
    return 1;
}
