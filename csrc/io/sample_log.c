/* sample_log.c: append-only files of simulated samples.
 *
 * A header of arbitrary bytes, then records of equal size:
 *   u64 sample index, u64 attempt, z, x (little-endian, of the build's number type),
 *   u32 CRC-32 (ISO 3309) of the preceding bytes of the record.
 * A record is appended by one write(), so that a killed process leaves complete records;
 * damage by a full disk or a power failure is detected by the checksum. The writer
 * holds a lock on the file: an fcntl lock, which belongs to the process and is not
 * inherited by workers that outlive it; a file that its writer has created for itself
 * alone needs none. lua/simvae/sampler/cache.lua defines the header and handles damage. */
#define _XOPEN_SOURCE 700
#define _DEFAULT_SOURCE
#define _FILE_OFFSET_BITS 64
#include "../simvae.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define SAMPLE_LOG "simvae.sample_log"

enum { FRONT = 16, BACK = 4, MAX_HEADER = 1 << 20 };

typedef struct {
    int fd;
    bool writable;
    size_t nz, nx, bytes; /* numbers of z and of x in a record; bytes of a record */
    unsigned char record[];
} sample_log;

static const char open_key = 'o'; /* registry: "device:inode" -> the log open for writing (weak) */

static int fail(lua_State *L, const char *reason) {
    lua_pushnil(L);
    lua_pushstring(L, reason);
    return 2;
}

static sample_log *check(lua_State *L) {
    sample_log *s = sv_check_object(L, 1, SAMPLE_LOG);
    if (s->fd < 0) luaL_error(L, "the sample log is closed");
    return s;
}

static void put(unsigned char *to, uint64_t v, int bytes) {
    for (int i = 0; i < bytes; i++) to[i] = (unsigned char)(v >> 8 * i);
}

static uint64_t get(const unsigned char *from, int bytes) {
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++) v |= (uint64_t)from[i] << 8 * i;
    return v;
}

static uint32_t checksum(const unsigned char *p, size_t n) {
    uint32_t crc = 0;
    for (size_t take; n > 0; p += take, n -= take) {
        take = n < (1u << 30) ? n : (1u << 30);
        crc = (uint32_t)crc32(crc, p, (uInt)take);
    }
    return crc;
}

static off_t size_of(const sample_log *s) {
    struct stat about;
    return fstat(s->fd, &about) == 0 ? about.st_size : 0;
}

/* NULL, or why fewer than n bytes could be read at an offset. */
static const char *read_at(const sample_log *s, off_t at, unsigned char *to, size_t n) {
    while (n > 0) {
        ssize_t got = pread(s->fd, to, n, at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return strerror(errno);
        if (got == 0) return "the file ends early";
        to += got;
        at += got;
        n -= (size_t)got;
    }
    return NULL;
}

/* Appends all n bytes, or leaves the file as it was. NULL, or why not. */
static const char *add(const sample_log *s, const void *from, size_t n) {
    off_t before = size_of(s);
    ssize_t got;
    do got = write(s->fd, from, n);
    while (got < 0 && errno == EINTR);
    if (got == (ssize_t)n) return NULL;
    const char *why = got < 0 ? strerror(errno) : "the disk is full";
    if (got > 0 && ftruncate(s->fd, before) != 0)
        return "the disk is full, and an incomplete record could not be removed";
    return why;
}

/* Pushes this process's log that is open for writing on the file, or nil; returns it. An fcntl lock does not exclude
 * its own process, and closing any descriptor of a file releases the process's locks on it. */
static sample_log *push_writer(lua_State *L, const struct stat *file, char name[64]) {
    snprintf(name, 64, "%llu:%llu", (unsigned long long)file->st_dev, (unsigned long long)file->st_ino);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &open_key);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
    sample_log *s = luaL_testudata(L, -1, SAMPLE_LOG);
    return s && s->fd >= 0 ? s : NULL;
}

static void close_log(lua_State *L, sample_log *s) {
    struct stat file;
    bool known = s->fd >= 0 && fstat(s->fd, &file) == 0;
    if (s->fd >= 0) close(s->fd);
    s->fd = -1;
    if (!known) return;
    char name[64];
    const sample_log *other = push_writer(L, &file, name);
    long holder;
    if (other) sv_lock_file(other->fd, &holder);
    lua_pop(L, 1);
}

/* open_sample_log(path, nz, nx, mode) -> log, or nil, reason. mode: nil or false: read-only; true: creates the file if
 * it does not exist, and locks it; "new": creates a file that does not exist, without a lock. */
static int l_open(lua_State *L) {
    size_t length;
    const char *path = sv_check_text(L, 1, &length);
    lua_Integer nz = sv_check_integer(L, 2), nx = sv_check_integer(L, 3);
    if (strlen(path) != length) return fail(L, "a path cannot hold a zero byte");
    sv_check_argument(L, nz > 0 && nx > 0 && nz < 1 << 20 && nx < (lua_Integer)1 << 32, 2, "not the size of a sample");
    size_t bytes = FRONT + (size_t)(nz + nx) * sizeof(sv_real) + BACK;
    sample_log *s = lua_newuserdatauv(L, sizeof *s + bytes, 0);
    int index = lua_gettop(L);
    *s = (sample_log){.fd = -1, .writable = lua_toboolean(L, 4), .nz = (size_t)nz, .nx = (size_t)nx, .bytes = bytes};
    luaL_setmetatable(L, SAMPLE_LOG);
    struct stat file;
    char name[64];
    bool creates = lua_type(L, 4) == LUA_TSTRING, locks = s->writable && !creates;
    if (locks && stat(path, &file) == 0 && push_writer(L, &file, name)) return fail(L, "in use by this process");
    int flags = O_CLOEXEC | (s->writable ? O_RDWR | O_CREAT | O_APPEND : O_RDONLY) | (creates ? O_EXCL : 0);
    s->fd = open(path, flags, 0666);
    if (s->fd < 0) return fail(L, strerror(errno));
    const char *why = NULL;
    long holder;
    if (fstat(s->fd, &file) != 0)
        why = strerror(errno);
    else if (!S_ISREG(file.st_mode))
        why = "is not a regular file";
    else if (locks && !sv_lock_file(s->fd, &holder))
        why = errno != EACCES && errno != EAGAIN ? strerror(errno)
              : holder > 0 ? lua_pushfstring(L, "in use by another process (%I)", (lua_Integer)holder)
                           : "in use by another process";
    if (why) {
        close_log(L, s);
        return fail(L, why);
    }
    if (locks) {
        push_writer(L, &file, name);
        lua_rawgetp(L, LUA_REGISTRYINDEX, &open_key);
        lua_pushvalue(L, index);
        lua_setfield(L, -2, name);
    }
    lua_settop(L, index);
    return 1;
}

static int l_close(lua_State *L) {
    close_log(L, sv_check_object(L, 1, SAMPLE_LOG));
    return 0;
}

/* log:sync(): flushes all records to disk. */
static int l_sync(lua_State *L) {
    fsync(check(L)->fd);
    return 0;
}

static int l_size(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)size_of(check(L)));
    return 1;
}

/* log:record_size() -> the bytes of one record */
static int l_record_size(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)check(L)->bytes);
    return 1;
}

/* log:head(n) -> the first n bytes, fewer if the file is shorter; or nil, reason */
static int l_head(lua_State *L) {
    sample_log *s = check(L);
    lua_Integer n = sv_check_integer(L, 2), size = (lua_Integer)size_of(s);
    if (n > size) n = size;
    if (n < 0 || n > MAX_HEADER) return fail(L, "the header is too long");
    luaL_Buffer b;
    char *to = luaL_buffinitsize(L, &b, (size_t)n);
    const char *why = read_at(s, 0, (unsigned char *)to, (size_t)n);
    if (why) return fail(L, why);
    luaL_pushresultsize(&b, (size_t)n);
    return 1;
}

/* log:start(text) -> true: truncates the file and writes this header; or nil, reason */
static int l_start(lua_State *L) {
    sample_log *s = check(L);
    size_t n;
    const char *text = sv_check_text(L, 2, &n);
    if (ftruncate(s->fd, 0) != 0) return fail(L, strerror(errno));
    const char *why = add(s, text, n);
    if (why) return fail(L, why);
    lua_pushboolean(L, 1);
    return 1;
}

/* log:truncate(size) -> true; or nil, reason */
static int l_truncate(lua_State *L) {
    sample_log *s = check(L);
    if (ftruncate(s->fd, (off_t)sv_check_integer(L, 2)) != 0) return fail(L, strerror(errno));
    lua_pushboolean(L, 1);
    return 1;
}

static sv_tensor *check_part(lua_State *L, int index, size_t count) {
    sv_tensor *t = sv_check_tensor(L, index);
    if (t->count != count)
        luaL_error(L, "a record of this sample log holds %d numbers there; got %d", (int)count, (int)t->count);
    return t;
}

/* log:add(index, attempt, z, x) -> true, or nil, reason */
static int l_add(lua_State *L) {
    sample_log *s = check(L);
    check_part(L, 4, s->nz);
    check_part(L, 5, s->nx);
    put(s->record, (uint64_t)sv_check_integer(L, 2), 8);
    put(s->record + 8, (uint64_t)sv_check_integer(L, 3), 8);
    sv_write_numbers(sv_plain_data(L, 4), s->nz, s->record + FRONT);
    sv_write_numbers(sv_plain_data(L, 5), s->nx, s->record + FRONT + s->nz * sizeof(sv_real));
    put(s->record + s->bytes - BACK, checksum(s->record, s->bytes - BACK), BACK);
    const char *why = add(s, s->record, s->bytes);
    if (why) return fail(L, why);
    lua_pushboolean(L, 1);
    return 1;
}

/* NULL, or what is wrong with the record at an offset. */
static const char *load(sample_log *s, off_t at) {
    const char *why = read_at(s, at, s->record, s->bytes);
    if (why) return why;
    bool whole = get(s->record + s->bytes - BACK, BACK) == checksum(s->record, s->bytes - BACK);
    return whole ? NULL : "is damaged";
}

/* log:fetch(at, z, x) -> index and attempt of the record at that byte offset, and fills z and x; or nil, reason */
static int l_fetch(lua_State *L) {
    sample_log *s = check(L);
    sv_tensor *part[] = {check_part(L, 3, s->nz), check_part(L, 4, s->nx)};
    for (int i = 0; i < 2; i++) {
        sv_check_writable(L, part[i]);
        if (part[i]->layout != SV_PLAIN) return luaL_error(L, "fetch: takes tensors in the plain layout");
    }
    const char *why = load(s, (off_t)sv_check_integer(L, 2));
    if (why) return fail(L, why);
    const int one = 1;
    bool swapped = *(const char *)&one == 0; /* big-endian machine */
    const char *kind = sizeof(sv_real) == 4 ? "f4" : "f8";
    sv_read_numbers(kind, swapped, s->record + FRONT, s->nz, part[0]->data);
    sv_read_numbers(kind, swapped, s->record + FRONT + s->nz * sizeof(sv_real), s->nx, part[1]->data);
    lua_pushinteger(L, (lua_Integer)get(s->record, 8));
    lua_pushinteger(L, (lua_Integer)get(s->record + 8, 8));
    return 2;
}

/* log:record(at) -> the bytes of the record at that byte offset; or nil, reason */
static int l_record(lua_State *L) {
    sample_log *s = check(L);
    const char *why = load(s, (off_t)sv_check_integer(L, 2));
    if (why) return fail(L, why);
    lua_pushlstring(L, (const char *)s->record, s->bytes);
    return 1;
}

/* log:indices(at) -> { sample index, … } of the complete records from that byte offset on, whose checksums are not
 * verified; or nil, reason */
static int l_indices(lua_State *L) {
    sample_log *s = check(L);
    off_t at = (off_t)sv_check_integer(L, 2), size = size_of(s);
    lua_newtable(L);
    for (lua_Integer i = 1; at + (off_t)s->bytes <= size; i++, at += (off_t)s->bytes) {
        const char *why = read_at(s, at, s->record, 8);
        if (why) return fail(L, why);
        lua_pushinteger(L, (lua_Integer)get(s->record, 8));
        lua_rawseti(L, -2, i);
    }
    return 1;
}

/* log:scan(at) -> { sample index, or false where a record is damaged, … } of the complete records from that byte offset
 * on */
static int l_scan(lua_State *L) {
    sample_log *s = check(L);
    off_t at = (off_t)sv_check_integer(L, 2), size = size_of(s);
    lua_newtable(L);
    for (lua_Integer i = 1; at + (off_t)s->bytes <= size; i++, at += (off_t)s->bytes) {
        if (load(s, at))
            lua_pushboolean(L, 0);
        else
            lua_pushinteger(L, (lua_Integer)get(s->record, 8));
        lua_rawseti(L, -2, i);
    }
    return 1;
}

void sv_open_sample_log(lua_State *L, int io) {
    static const luaL_Reg methods[] = {{"head", l_head},
                                       {"start", l_start},
                                       {"add", l_add},
                                       {"fetch", l_fetch},
                                       {"record", l_record},
                                       {"scan", l_scan},
                                       {"indices", l_indices},
                                       {"record_size", l_record_size},
                                       {"truncate", l_truncate},
                                       {"size", l_size},
                                       {"sync", l_sync},
                                       {"close", l_close},
                                       {NULL, NULL}};
    io = lua_absindex(L, io);
    sv_new_class(L, SAMPLE_LOG, methods, l_close, NULL);
    sv_push_weak_table(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &open_key);
    lua_pushcfunction(L, l_open);
    lua_setfield(L, io, "open_sample_log");
}
