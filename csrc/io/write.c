/* write.c: atomic, durable writing: the old file is unchanged until all of the new one is on disk.
 *
 *   core.io.write(path, {string or tensor, ...}, previous) -> true, or nil, reason. The old file is kept under the
 *       name `previous`, if given, while the path always names a complete file
 *   core.io.create(path) -> writer, or nil, reason; for data that comes in parts
 *       writer:write(string or tensor, ...) -> true, or nil, reason
 *       writer:write_at(offset, string or tensor, ...) -> the offset after them, or nil, reason; of a regular file
 *       writer:commit() -> true, or nil, reason: replaces the file at the path
 *       writer:close(): discards it unless it was committed; also done when it is collected or leaves its scope
 *
 *   core.io.append(path, text) -> true: appends all of it, and creates the file if it does not exist; or nil,
 *       reason, and the file is unchanged
 *
 * Tensors are written as little-endian numbers of the build's number type, row-major.
 *
 * The new file is written without a name (Linux, O_TMPFILE) or, where that is not possible, under a new name in the
 * same folder (O_EXCL, O_NOFOLLOW: an existing file or link is neither followed nor overwritten), synced, renamed to
 * the path, and the folder synced. A killed process leaves the old file and, without O_TMPFILE, the incomplete file
 * under the other name. A new file has the permissions of the umask, a replaced file keeps its permissions. Of a
 * symbolic link to a file the target is replaced, a dangling link itself. A path that is not a regular file
 * (/dev/stdout) is written in place. */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include "../os/process.h"
#include "../simvae.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define WRITER "simvae.writer"

enum { CHUNK = 1 << 15, CHUNK_NUMBERS = CHUNK / 8, NAME_TRIES = 100 };

typedef struct {
    int fd;                        /* -1: closed */
    pid_t owner;                   /* the process that may remove the temporary file */
    bool in_place, named;          /* named: temporary is a name in the folder */
    char target[PATH_MAX];         /* final path */
    char temporary[PATH_MAX + 32]; /* path until the commit */
} writer;

static int fail(lua_State *L, const char *reason) {
    lua_pushnil(L);
    lua_pushstring(L, reason);
    return 2;
}

/* ---- the new file ------------------------------------------------------------------ */

/* The folder of a path, with its slash. */
static void folder_of(const char *path, char to[PATH_MAX]) {
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) + 1 : 0;
    memcpy(to, path, n);
    strcpy(to + n, n ? "" : "./");
}

/* An unused name in the target's folder: .PID-COUNT.tmp */
static void name_temporary(writer *w) {
    static unsigned count;
    char folder[PATH_MAX];
    folder_of(w->target, folder);
    snprintf(w->temporary, sizeof w->temporary, "%s.%ld-%u.tmp", folder, (long)getpid(), ++count);
}

static int open_unnamed(const char *target) {
#ifdef O_TMPFILE
    char folder[PATH_MAX], link[64];
    folder_of(target, folder);
    int fd = open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
    if (fd < 0) return -1;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (access(link, F_OK) == 0) return fd; /* needed to give the file a name */
    close(fd);
#else
    (void)target;
#endif
    return -1;
}

static int open_named(writer *w) {
    w->named = true;
    for (int i = 0; i < NAME_TRIES; i++) {
        name_temporary(w);
        int fd = open(w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST) return fd;
    }
    return -1;
}

/* 0, or errno */
static int start(writer *w, const char *path) {
    struct stat about;
    bool exists = stat(path, &about) == 0;
    if (exists && S_ISDIR(about.st_mode)) return EISDIR;
    w->in_place = exists && !S_ISREG(about.st_mode);
    if (strlen(path) >= sizeof w->target) return ENAMETOOLONG;
    if (!exists || !realpath(path, w->target)) strcpy(w->target, path);
    if (w->in_place)
        w->fd = open(path, O_WRONLY | O_CLOEXEC);
    else if ((w->fd = open_unnamed(w->target)) < 0)
        w->fd = open_named(w);
    if (w->fd < 0) return errno;
    if (exists && !w->in_place && fchmod(w->fd, about.st_mode & 0777) != 0) return errno;
    return 0;
}

static void sync_folder(const char *path) {
    char folder[PATH_MAX];
    folder_of(path, folder);
    int fd = open(folder, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

/* Gives the unnamed file a name; 0, or errno. */
static int give_name(writer *w) {
#ifdef O_TMPFILE
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", w->fd);
    for (int i = 0; i < NAME_TRIES; i++) {
        name_temporary(w);
        if (linkat(AT_FDCWD, link, AT_FDCWD, w->temporary, AT_SYMLINK_FOLLOW) == 0) {
            w->named = true;
            return 0;
        }
        if (errno != EEXIST) return errno;
    }
#endif
    return errno;
}

static void discard(writer *w) {
    if (w->fd < 0) return;
    close(w->fd);
    w->fd = -1;
    if (w->named && w->owner == getpid()) unlink(w->temporary);
}

/* Gives the target the second name `previous` in place of what had that name. Where the file system has no links, the
 * target is renamed, and for a moment no file has its name. */
static void keep_as(const char *target, const char *previous) {
    writer w = {.fd = -1};
    if (strlen(previous) >= sizeof w.target) return;
    strcpy(w.target, previous);
    name_temporary(&w);
    if (link(target, w.temporary) == 0) {
        rename(w.temporary, previous);
        unlink(w.temporary); /* there still if rename failed, or did nothing, as between two names of one file */
    } else if (errno != ENOENT) {
        rename(target, previous);
    }
}

/* 0, or errno; the writer is closed in any case. */
static int commit(writer *w, const char *previous) {
    int error = 0;
    if (w->in_place) {
        error = close(w->fd) != 0 ? errno : 0;
        w->fd = -1;
        return error;
    }
    if (fsync(w->fd) != 0) error = errno;
    if (!error && !w->named) error = give_name(w);
    if (!error && previous) keep_as(w->target, previous);
    if (!error && rename(w->temporary, w->target) != 0) error = errno;
    if (error) {
        discard(w);
        return error;
    }
    w->named = false;
    discard(w);
    sync_folder(w->target);
    return 0;
}

/* ---- content ----------------------------------------------------------------------------- */

typedef struct {
    const char *bytes; /* or */
    const sv_real *numbers;
    size_t count;
} piece;

const sv_real *sv_plain_data(lua_State *L, int index) {
    sv_tensor *t = sv_check_tensor(L, index);
    if (t->layout == SV_PLAIN) {
        lua_pushvalue(L, index);
        return t->data;
    }
    sv_tensor *copy = sv_push_tensor(L, t->ndim, t->shape, SV_SCOPED);
    sv_to_plain((long)t->shape[0], (long)t->shape[1], (long)(t->shape[2] * t->shape[3]), t->data, copy->data);
    return copy->data;
}

/* Strings and tensors of the list at index, as pieces; what they point to is
 * anchored in a table below them on the stack. */
static piece *push_pieces(lua_State *L, int index, int *n) {
    sv_check_type(L, index, LUA_TTABLE);
    *n = (int)luaL_len(L, index);
    lua_createtable(L, *n, 0);
    piece *p = lua_newuserdatauv(L, ((size_t)*n + 1) * sizeof *p, 0);
    for (int i = 0; i < *n; i++) {
        p[i] = (piece){0};
        lua_rawgeti(L, index, i + 1);
        if (lua_type(L, -1) == LUA_TSTRING) {
            p[i].bytes = lua_tolstring(L, -1, &p[i].count);
        } else {
            p[i].numbers = sv_plain_data(L, lua_gettop(L));
            lua_remove(L, -2);
            p[i].count = ((sv_tensor *)lua_touserdata(L, -1))->count;
        }
        lua_rawseti(L, -3, i + 1);
    }
    return p;
}

/* Passes a piece to body as little-endian bytes, in chunks; stops at the first false. */
static bool in_bytes(const piece *p, bool (*body)(void *arg, const void *from, size_t n), void *arg) {
    if (p->bytes) return body(arg, p->bytes, p->count);
    unsigned char chunk[CHUNK];
    for (size_t i = 0; i < p->count;) {
        size_t n = p->count - i < CHUNK_NUMBERS ? p->count - i : CHUNK_NUMBERS;
        sv_write_numbers(p->numbers + i, n, chunk);
        if (!body(arg, chunk, n * sizeof(sv_real))) return false;
        i += n;
    }
    return true;
}

/* All n bytes, or false and errno. */
static bool write_all(int fd, const char *p, size_t n) {
    while (n > 0) {
        ssize_t done = sv_write_quietly(fd, p, n < (1u << 30) ? n : (1u << 30));
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return false;
        p += done;
        n -= (size_t)done;
    }
    return true;
}

static bool write_bytes(void *arg, const void *from, size_t n) { return write_all(((writer *)arg)->fd, from, n); }

static bool add_to_crc(void *arg, const void *from, size_t n) {
    uint32_t *crc = arg;
    const unsigned char *p = from;
    for (size_t take; n > 0; p += take, n -= take) {
        take = n < (1u << 30) ? n : (1u << 30);
        *crc = (uint32_t)crc32(*crc, p, (uInt)take);
    }
    return true;
}

/* ---- Lua ------------------------------------------------------------------------------- */

static writer *push_writer(lua_State *L) {
    writer *w = lua_newuserdatauv(L, sizeof *w, 0);
    w->fd = -1;
    w->owner = getpid();
    w->named = w->in_place = false;
    luaL_setmetatable(L, WRITER);
    return w;
}

/* 0, or errno */
static int write_pieces(writer *w, const piece *p, int n) {
    for (int i = 0; i < n; i++)
        if (!in_bytes(&p[i], write_bytes, w)) return errno;
    return 0;
}

static int l_create(lua_State *L) {
    size_t length;
    const char *path = sv_check_text(L, 1, &length);
    if (strlen(path) != length) return fail(L, "a path cannot hold a zero byte");
    writer *w = push_writer(L);
    int error = start(w, path);
    if (!error) return 1;
    discard(w);
    return fail(L, strerror(error));
}

static int l_write(lua_State *L) {
    sv_check_type(L, 2, LUA_TTABLE);
    const char *previous = sv_optional_text(L, 3, NULL);
    int results = l_create(L);
    if (results > 1) return results;
    writer *w = lua_touserdata(L, -1);
    int n;
    const piece *p = push_pieces(L, 2, &n);
    int error = write_pieces(w, p, n);
    if (!error) error = commit(w, previous);
    discard(w);
    if (error) return fail(L, strerror(error));
    lua_pushboolean(L, 1);
    return 1;
}

static writer *check_open(lua_State *L) {
    writer *w = sv_check_object(L, 1, WRITER);
    if (w->fd < 0) luaL_error(L, "the writer is closed");
    return w;
}

/* The arguments from index `first` on, as pieces. */
static piece *push_arguments(lua_State *L, int first, int *count) {
    int n = lua_gettop(L);
    lua_createtable(L, n, 0);
    for (int i = first; i <= n; i++) {
        lua_pushvalue(L, i);
        lua_rawseti(L, -2, i - first + 1);
    }
    return push_pieces(L, n + 1, count);
}

static int l_add(lua_State *L) {
    writer *w = check_open(L);
    int n;
    const piece *p = push_arguments(L, 2, &n);
    int error = write_pieces(w, p, n);
    if (error) return fail(L, strerror(error));
    lua_pushboolean(L, 1);
    return 1;
}

/* All n bytes at an offset, or false and errno. */
static bool write_all_at(int fd, const char *p, size_t n, off_t at) {
    while (n > 0) {
        ssize_t done = pwrite(fd, p, n < (1u << 30) ? n : (1u << 30), at);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return false;
        p += done;
        at += done;
        n -= (size_t)done;
    }
    return true;
}

typedef struct {
    int fd;
    off_t at;
} place;

static bool write_bytes_at(void *arg, const void *from, size_t n) {
    place *p = arg;
    if (!write_all_at(p->fd, from, n, p->at)) return false;
    p->at += (off_t)n;
    return true;
}

static int l_write_at(lua_State *L) {
    writer *w = check_open(L);
    lua_Integer at = sv_check_integer(L, 2);
    sv_check_argument(L, at >= 0, 2, "an offset is 0 or more");
    if (w->in_place) return fail(L, "is not a regular file");
    int count;
    piece *p = push_arguments(L, 3, &count);
    place to = {w->fd, (off_t)at};
    for (int i = 0; i < count; i++)
        if (!in_bytes(&p[i], write_bytes_at, &to)) return fail(L, strerror(errno));
    lua_pushinteger(L, (lua_Integer)to.at);
    return 1;
}

static int l_commit(lua_State *L) {
    int error = commit(check_open(L), NULL);
    if (error) return fail(L, strerror(error));
    lua_pushboolean(L, 1);
    return 1;
}

static int l_close(lua_State *L) {
    discard(sv_check_object(L, 1, WRITER));
    return 0;
}

static int l_append(lua_State *L) {
    size_t length, n;
    const char *path = sv_check_text(L, 1, &length), *text = sv_check_text(L, 2, &n);
    if (strlen(path) != length) return fail(L, "a path cannot hold a zero byte");
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0) return fail(L, strerror(errno));
    struct stat about;
    bool regular = fstat(fd, &about) == 0 && S_ISREG(about.st_mode);
    int error = write_all(fd, text, n) ? 0 : errno;
    if (error && regular && ftruncate(fd, about.st_size) != 0) error = errno;
    if (close(fd) != 0 && !error) error = errno;
    if (error) return fail(L, strerror(error));
    lua_pushboolean(L, 1);
    return 1;
}

/* crc32({string or tensor, …}, before) -> checksum of what write would write (ISO 3309), after bytes of the checksum
 * `before` (0) */
static int l_crc32(lua_State *L) {
    lua_Integer before = lua_isnoneornil(L, 2) ? 0 : sv_check_integer(L, 2);
    int n;
    piece *p = push_pieces(L, 1, &n);
    uint32_t crc = (uint32_t)before;
    for (int i = 0; i < n; i++) in_bytes(&p[i], add_to_crc, &crc);
    lua_pushinteger(L, crc);
    return 1;
}

/* deflate(text) -> its bytes deflated (RFC 1951), without a header */
static int l_deflate(lua_State *L) {
    enum { LEVEL = 6, MEMORY = 8 }; /* zlib's defaults */
    size_t n;
    const char *text = sv_check_text(L, 1, &n);
    if (n > UINT_MAX / 2) return luaL_error(L, "deflate takes at most 2 GB; got %I bytes", (LUAI_UACINT)n);
    z_stream z = {0};
    luaL_Buffer b;
    size_t room = compressBound((uLong)n);
    char *to = luaL_buffinitsize(L, &b, room); /* may raise: before zlib's memory */
    if (deflateInit2(&z, LEVEL, Z_DEFLATED, -MAX_WBITS, MEMORY, Z_DEFAULT_STRATEGY) != Z_OK)
        return luaL_error(L, "not enough memory to deflate");
    z.next_in = (Bytef *)(uintptr_t)text; /* zlib reads it only */
    z.avail_in = (uInt)n;
    z.next_out = (Bytef *)to;
    z.avail_out = (uInt)room;
    int code = deflate(&z, Z_FINISH);
    size_t made = room - z.avail_out;
    deflateEnd(&z);
    if (code != Z_STREAM_END) return luaL_error(L, "zlib could not deflate %I bytes", (LUAI_UACINT)n);
    luaL_pushresultsize(&b, made);
    return 1;
}

void sv_open_write(lua_State *L, int io) {
    static const luaL_Reg functions[] = {{"write", l_write}, {"create", l_create},   {"append", l_append},
                                         {"crc32", l_crc32}, {"deflate", l_deflate}, {NULL, NULL}};
    static const luaL_Reg methods[] = {
        {"write", l_add}, {"write_at", l_write_at}, {"commit", l_commit}, {"close", l_close}, {NULL, NULL}};
    io = lua_absindex(L, io);
    sv_new_class(L, WRITER, methods, l_close, NULL);
    lua_pushvalue(L, io);
    luaL_setfuncs(L, functions, 0);
    lua_pop(L, 1);
}
