/* file.c: reading files, for lua/simvae/io.
 *
 * Headers are parsed in Lua, where no index can leave its string. This file reads bytes
 * at an offset of a file (source), and a sequence of bytes, deflated or not, as numbers
 * of a tensor (stream). Writing is in write.c. */
#define _XOPEN_SOURCE 700
#define _DEFAULT_SOURCE
#define _FILE_OFFSET_BITS 64
#include "../simvae.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { UV_SOURCE = 1, USER_VALUES = 1 }; /* of a stream */

#define SOURCE "simvae.source"
#define STREAM "simvae.stream"
#define MAX_READ (128 << 20) /* bytes of one read() as a string, unless the whole file is requested */

enum { CHUNK = 1 << 15, CHUNK_NUMBERS = CHUNK / 8 };

typedef struct {
    int fd;
    uint64_t size;
} source;

typedef struct {
    source *from;      /* user value 1 */
    uint64_t at, left; /* of the stored (compressed) bytes */
    bool deflated, ended;
    z_stream z;
    uint32_t crc;
    unsigned char in[CHUNK], out[CHUNK];
} stream;

static int fail(lua_State *L, const char *reason) {
    lua_pushnil(L);
    lua_pushstring(L, reason);
    return 2;
}

/* open_source(path) -> source, or nil, reason */
static int l_open_source(lua_State *L) {
    size_t length;
    const char *path = sv_check_text(L, 1, &length);
    if (strlen(path) != length) return fail(L, "a path cannot hold a zero byte");
    source *s = lua_newuserdatauv(L, sizeof *s, 0);
    s->fd = -1;
    luaL_setmetatable(L, SOURCE);
    s->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (s->fd < 0) return fail(L, strerror(errno));
    struct stat about;
    if (fstat(s->fd, &about) != 0) return fail(L, strerror(errno));
    if (S_ISDIR(about.st_mode)) return fail(L, "is a directory");
    if (!S_ISREG(about.st_mode)) return fail(L, "is not a regular file");
    s->size = (uint64_t)about.st_size;
    return 1;
}

static int l_close_source(lua_State *L) {
    source *s = sv_check_object(L, 1, SOURCE);
    if (s->fd >= 0) close(s->fd);
    s->fd = -1;
    return 0;
}

static source *check_source(lua_State *L) {
    source *s = sv_check_object(L, 1, SOURCE);
    if (s->fd < 0) luaL_error(L, "the file is closed");
    return s;
}

static int l_size(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)check_source(L)->size);
    return 1;
}

/* NULL, or the error. */
static const char *read_at(const source *s, uint64_t at, void *to, size_t n) {
    if (s->fd < 0) return "the file is closed";
    unsigned char *p = to;
    while (n > 0) {
        ssize_t got = pread(s->fd, p, n < (1u << 30) ? n : (1u << 30), (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return strerror(errno);
        if (got == 0) return "the file ends early";
        p += got;
        at += (uint64_t)got;
        n -= (size_t)got;
    }
    return NULL;
}

/* source:read(at, n) -> string, or nil, reason; at counts from 0 */
static int l_read(lua_State *L) {
    source *s = check_source(L);
    lua_Integer at = sv_check_integer(L, 2), n = sv_check_integer(L, 3);
    if (at < 0 || n < 0 || (uint64_t)at > s->size || (uint64_t)n > s->size - (uint64_t)at)
        return fail(L, "the file ends early");
    luaL_Buffer b;
    char *to = luaL_buffinitsize(L, &b, (size_t)n);
    const char *reason = read_at(s, (uint64_t)at, to, (size_t)n);
    if (reason) return fail(L, reason);
    luaL_pushresultsize(&b, (size_t)n);
    return 1;
}

/* source:take(at, dtype, swapped, shape, {i, …}) -> tensor (n, shape…) of the entries i
 * (from 1) of an array that starts at byte at and whose entries have that shape, or nil, reason */
static int l_take(lua_State *L) {
    sv_enter(L);
    source *s = check_source(L);
    uint64_t at = (uint64_t)sv_check_integer(L, 2);
    const char *dtype = sv_check_text(L, 3, NULL);
    bool swapped = lua_toboolean(L, 4);
    size_t shape[SV_MAX_DIM + 1], each = sv_number_size(dtype), count = 1;
    sv_check_type(L, 5, LUA_TTABLE);
    sv_check_type(L, 6, LUA_TTABLE);
    int ndim = sv_check_shape(L, 5, shape + 1) + 1;
    shape[0] = (size_t)luaL_len(L, 6);
    if (!each || ndim > SV_MAX_DIM) return luaL_error(L, "unknown kind of numbers '%s', or too many axes", dtype);
    for (int i = 1; i < ndim; i++) count *= shape[i];
    sv_tensor *to = sv_push_tensor(L, ndim, shape, SV_SCOPED);
    unsigned char *row = lua_newuserdatauv(L, count * each, 0);
    for (size_t i = 0; i < shape[0]; i++) {
        lua_rawgeti(L, 6, (lua_Integer)i + 1);
        uint64_t index = (uint64_t)sv_check_integer(L, -1) - 1;
        lua_pop(L, 1);
        const char *reason = read_at(s, at + index * count * each, row, count * each);
        if (reason) return fail(L, reason);
        sv_read_numbers(dtype, swapped, row, count, to->data + i * count);
    }
    lua_pop(L, 1);
    return 1;
}

/* ---- streams ----------------------------------------------------------------- */

/* source:stream(at, stored, deflated) -> stream over the stored bytes from at on */
static int l_stream(lua_State *L) {
    lua_settop(L, 4);
    source *s = check_source(L);
    lua_Integer at = sv_check_integer(L, 2), stored = sv_check_integer(L, 3);
    if (at < 0 || stored < 0 || (uint64_t)at > s->size || (uint64_t)stored > s->size - (uint64_t)at)
        return fail(L, "the file ends early");
    stream *t = lua_newuserdatauv(L, sizeof *t, USER_VALUES);
    memset(t, 0, offsetof(stream, in));
    t->from = s;
    t->at = (uint64_t)at;
    t->left = (uint64_t)stored;
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, UV_SOURCE);
    if (lua_toboolean(L, 4)) {
        if (inflateInit2(&t->z, -MAX_WBITS) != Z_OK) return fail(L, "not enough memory to inflate");
        t->deflated = true;
    }
    luaL_setmetatable(L, STREAM);
    return 1;
}

static int l_end_stream(lua_State *L) {
    stream *t = sv_check_object(L, 1, STREAM);
    if (t->deflated) inflateEnd(&t->z);
    t->deflated = false;
    t->left = 0;
    return 0;
}

static const char *inflate_into(stream *t, unsigned char *to, size_t n) {
    t->z.next_out = to;
    t->z.avail_out = (uInt)n;
    while (t->z.avail_out > 0) {
        if (t->ended) return "its deflated data end early";
        if (t->z.avail_in == 0 && t->left > 0) {
            size_t take = t->left < CHUNK ? (size_t)t->left : CHUNK;
            const char *reason = read_at(t->from, t->at, t->in, take);
            if (reason) return reason;
            t->at += take;
            t->left -= take;
            t->z.next_in = t->in;
            t->z.avail_in = (uInt)take;
        }
        int code = inflate(&t->z, Z_NO_FLUSH);
        if (code == Z_STREAM_END)
            t->ended = true;
        else if (code == Z_BUF_ERROR)
            return "its deflated data end early";
        else if (code != Z_OK)
            return "its deflated data are damaged";
    }
    return NULL;
}

/* The next n bytes (at most CHUNK), all of them, or the error. */
static const char *pull(stream *t, unsigned char *to, size_t n) {
    const char *reason;
    if (t->deflated)
        reason = inflate_into(t, to, n);
    else if (n > t->left)
        reason = "its data end early";
    else {
        reason = read_at(t->from, t->at, to, n);
        t->at += n;
        t->left -= n;
    }
    if (!reason) t->crc = (uint32_t)crc32(t->crc, to, (uInt)n);
    return reason;
}

/* stream:read(n) -> string, or nil, reason */
static int l_stream_read(lua_State *L) {
    stream *t = sv_check_object(L, 1, STREAM);
    lua_Integer n = sv_check_integer(L, 2);
    if (n < 0 || n > MAX_READ) return fail(L, "too many bytes at once");
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    while (n > 0) {
        size_t take = n < CHUNK ? (size_t)n : CHUNK;
        const char *reason = pull(t, t->out, take);
        if (reason) return fail(L, reason);
        luaL_addlstring(&b, (const char *)t->out, take);
        n -= (lua_Integer)take;
    }
    luaL_pushresult(&b);
    return 1;
}

/* to (row-major) from numbers whose first axis varies fastest. */
static void reverse_order(const sv_tensor *from, sv_tensor *to) {
    size_t at[SV_MAX_DIM] = {0}, step[SV_MAX_DIM], all = 1, where = 0;
    for (int k = 0; k < to->ndim; k++) {
        step[k] = all;
        all *= to->shape[k];
    }
    for (size_t i = 0; i < to->count; i++) {
        to->data[i] = from->data[where];
        for (int k = to->ndim - 1; k >= 0; k--) {
            where += step[k];
            if (++at[k] < to->shape[k]) break;
            where -= step[k] * to->shape[k];
            at[k] = 0;
        }
    }
}

/* stream:tensor(dtype, swapped, fortran, shape) -> tensor of the next numbers, or
 * nil, reason. dtype as in sv_read_numbers; swapped: in the other byte order; fortran: the first axis varies fastest.
 */
static int l_stream_tensor(lua_State *L) {
    sv_enter(L);
    stream *t = sv_check_object(L, 1, STREAM);
    const char *dtype = sv_check_text(L, 2, NULL);
    bool swapped = lua_toboolean(L, 3), fortran = lua_toboolean(L, 4);
    size_t shape[SV_MAX_DIM];
    sv_check_type(L, 5, LUA_TTABLE);
    int ndim = sv_check_shape(L, 5, shape);
    size_t each = sv_number_size(dtype);
    if (!each) return luaL_error(L, "unknown kind of numbers '%s'", dtype);
    sv_tensor *to = sv_push_tensor(L, ndim, shape, SV_SCOPED);
    for (size_t i = 0; i < to->count;) {
        size_t n = to->count - i < CHUNK_NUMBERS ? to->count - i : CHUNK_NUMBERS;
        const char *reason = pull(t, t->out, n * each);
        if (reason) return fail(L, reason);
        sv_read_numbers(dtype, swapped, t->out, n, to->data + i);
        i += n;
    }
    if (fortran && ndim > 1) {
        sv_tensor *ordered = sv_push_tensor(L, ndim, shape, SV_SCOPED);
        reverse_order(to, ordered);
    }
    return 1;
}

/* stream:finish() -> CRC-32 of all bytes read; nil, reason if bytes are left */
static int l_finish(lua_State *L) {
    stream *t = sv_check_object(L, 1, STREAM);
    uint32_t crc = t->crc;
    if (t->deflated && !t->ended) {
        t->z.next_out = t->out;
        if (!pull(t, t->out, 1)) return fail(L, "it holds more than it declares");
        if (!t->ended) return fail(L, "its deflated data end early");
    }
    if (t->left + t->z.avail_in > 0) return fail(L, "it holds more than it declares");
    lua_pushinteger(L, crc);
    return 1;
}

void sv_open_io(lua_State *L, int core) {
    static const luaL_Reg functions[] = {{"open_source", l_open_source}, {NULL, NULL}};
    static const luaL_Reg of_source[] = {{"size", l_size}, {"read", l_read},          {"stream", l_stream},
                                         {"take", l_take}, {"close", l_close_source}, {NULL, NULL}};
    static const luaL_Reg of_stream[] = {
        {"read", l_stream_read}, {"tensor", l_stream_tensor}, {"finish", l_finish}, {NULL, NULL}};
    sv_new_class(L, SOURCE, of_source, l_close_source, NULL);
    sv_new_class(L, STREAM, of_stream, l_end_stream, NULL);
    lua_newtable(L);
    luaL_setfuncs(L, functions, 0);
    sv_open_numbers(L, lua_gettop(L));
    sv_open_fill(L, lua_gettop(L));
    sv_open_write(L, lua_gettop(L));
    sv_open_png(L, lua_gettop(L));
    sv_open_lock(L, lua_gettop(L));
    sv_open_sample_log(L, lua_gettop(L));
    lua_setfield(L, core, "io");
}
