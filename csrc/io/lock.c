/* lock.c: locks between processes, on files.
 *
 * fcntl locks (POSIX.1-2017) belong to the process: the system releases them when the process ends in any way, and a
 * forked worker that outlives it does not hold them. They work on NFS where its lock service runs. A table of locked
 * files excludes a second holder within one process. Closing any descriptor of a file releases the process's locks on
 * it, so that lock files are opened here alone. */
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

enum { UV_PATH = 1, USER_VALUES = 1 }; /* of a lock */

#define LOCK "simvae.lock"

typedef struct {
    int fd; /* -1: released */
    pid_t owner;
} lock;

static const char held_key = 'h'; /* registry: "device:inode" -> lock of this process (weak) */

bool sv_lock_file(int fd, long *holder) {
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    *holder = 0;
    if (fcntl(fd, F_SETLK, &whole) == 0) return true;
    int error = errno;
    if ((error == EACCES || error == EAGAIN) && fcntl(fd, F_GETLK, &whole) == 0 && whole.l_type != F_UNLCK)
        *holder = whole.l_pid;
    errno = error;
    return false;
}

/* Pushes the table of locks that this process holds, and the name of a file in it. */
static void push_held(lua_State *L, const struct stat *file) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &held_key);
    lua_pushfstring(L, "%I:%I", (lua_Integer)file->st_dev, (lua_Integer)file->st_ino);
}

/* The lock that this process holds on a file, or NULL. */
static const lock *held_here(lua_State *L, const struct stat *file) {
    push_held(L, file);
    lua_rawget(L, -2);
    const lock *l = luaL_testudata(L, -1, LOCK);
    lua_pop(L, 2);
    return l && l->fd >= 0 && l->owner == getpid() ? l : NULL;
}

/* Is the file of this descriptor still the one at the path? */
static bool still_there(int fd, const char *path, struct stat *file) {
    struct stat now;
    return fstat(fd, file) == 0 && stat(path, &now) == 0 && now.st_dev == file->st_dev && now.st_ino == file->st_ino;
}

static int refused(lua_State *L, const char *reason, const char *kind) {
    lua_pushnil(L);
    lua_pushstring(L, reason);
    lua_pushstring(L, kind);
    return 3;
}

/* "process 123 on host name", as the holder wrote it into the file; else by what the system knows of it. */
static void push_holder(lua_State *L, int fd, long pid) {
    char text[200];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    long written;
    char host[100];
    if (sscanf(text, "%ld %99s", &written, host) == 2)
        lua_pushfstring(L, "process %I on %s", (lua_Integer)written, host);
    else if (pid > 0)
        lua_pushfstring(L, "process %I", (lua_Integer)pid);
    else
        lua_pushliteral(L, "another process");
}

static void write_holder(int fd) {
    char host[80] = "an unknown host", text[120];
    gethostname(host, sizeof host - 1);
    int n = snprintf(text, sizeof text, "%ld %s\n", (long)getpid(), host);
    if (ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)n, 0) != n)
        errno = 0; /* the holder's name is for messages only */
}

/* lock(path) -> lock; or nil, reason, kind: "held" (the reason names the holder), "unsupported" (by the file system)
 * or "system". The file is created if it does not exist and removed with the lock. */
static int l_lock(lua_State *L) {
    size_t length;
    const char *path = sv_check_text(L, 1, &length);
    if (strlen(path) != length) return refused(L, "a path cannot hold a zero byte", "system");
    lock *l = lua_newuserdatauv(L, sizeof *l, USER_VALUES);
    int index = lua_gettop(L);
    *l = (lock){.fd = -1, .owner = getpid()};
    luaL_setmetatable(L, LOCK);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, index, UV_PATH);
    struct stat file;
    for (;;) {
        if (stat(path, &file) == 0 && held_here(L, &file)) return refused(L, "this process", "held");
        l->fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (l->fd < 0) return refused(L, strerror(errno), "system");
        long pid;
        if (!sv_lock_file(l->fd, &pid)) {
            int error = errno;
            bool held = error == EACCES || error == EAGAIN;
            if (held) push_holder(L, l->fd, pid);
            close(l->fd);
            l->fd = -1;
            return refused(L, held ? lua_tostring(L, -1) : strerror(error), held ? "held" : "unsupported");
        }
        if (still_there(l->fd, path, &file)) break;
        close(l->fd); /* its last holder removed it after it was opened here */
        l->fd = -1;
    }
    write_holder(l->fd);
    push_held(L, &file);
    lua_pushvalue(L, index);
    lua_rawset(L, -3);
    lua_settop(L, index);
    return 1;
}

/* lock:close() releases it. */
static int l_close(lua_State *L) {
    lock *l = sv_check_object(L, 1, LOCK);
    if (l->fd < 0) return 0;
    struct stat file;
    lua_getiuservalue(L, 1, UV_PATH);
    const char *path = lua_tostring(L, -1);
    bool there = l->owner == getpid() && still_there(l->fd, path, &file);
    const lock *other = there ? held_here(L, &file) : NULL; /* a newer lock has replaced this one */
    if (other == l) other = NULL;
    if (there && !other) unlink(path);
    close(l->fd);
    l->fd = -1;
    long holder;
    if (other) sv_lock_file(other->fd, &holder);
    return 0;
}

void sv_open_lock(lua_State *L, int io) {
    static const luaL_Reg methods[] = {{"close", l_close}, {NULL, NULL}};
    io = lua_absindex(L, io);
    sv_new_class(L, LOCK, methods, l_close, NULL);
    sv_push_weak_table(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &held_key);
    lua_pushcfunction(L, l_lock);
    lua_setfield(L, io, "lock");
}
