/* folder.c: private temporary folders.
 *
 *   core.system.temporary_folder() -> path, or nil, reason: a new empty folder, mode 0700
 *   core.system.remove_tree(path) -> true, or nil, reason: removes such a folder with its content; follows no
 *       symbolic link; succeeds if the path does not exist; refuses any other path
 *   core.system.create_file(path, text) -> true, or nil, reason: a new file; fails if the name exists, follows no link
 *
 * The folders of a process and of its forked copies lie in one root, TMPDIR/simvae-XXXXXX (TMPDIR: /tmp if it is not
 * set), named PID-N. A process removes its folders when it exits; its owner removes them when it has reaped it,
 * however it ended; the root goes with the process that made it. The root holds a file `lock`, locked (flock) by that
 * process and its copies, so that the lock ends with the last of them. Roots without a holder, left by a process that
 * was killed, are removed by the next process that makes one in the same place. */
#define _GNU_SOURCE
#include "process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROOT_PREFIX "simvae-"
#define LOCK_NAME "/lock"

enum { MAX_DEPTH = 200, ROOT_TRIES = 20 }; /* folders within folders: each level holds a file descriptor */

static struct {
    char path[PATH_MAX]; /* "": none yet */
    pid_t owner;         /* the process that made it */
    int lock;            /* descriptor of the lock file; copies share it */
} root = {"", 0, -1};

/* ---- removing ------------------------------------------------------------------ */

static int remove_entry(int parent, const char *name, int depth);

/* Removes the content of a folder; 0, or errno of the first failure. Closes fd. */
static int empty_folder(int fd, int depth) {
    DIR *d = fdopendir(fd);
    if (!d) {
        close(fd);
        return errno;
    }
    int error = 0;
    for (struct dirent *e; (e = readdir(d));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        int why = remove_entry(dirfd(d), e->d_name, depth);
        if (why && !error) error = why;
    }
    closedir(d);
    return error;
}

/* Removes a file, a link (not what it points to) or a folder with its content; 0, or errno. A folder of ours that
 * denies us access is given it back. */
static int remove_entry(int parent, const char *name, int depth) {
    struct stat s;
    if (fstatat(parent, name, &s, AT_SYMLINK_NOFOLLOW) != 0) return errno == ENOENT ? 0 : errno;
    if (!S_ISDIR(s.st_mode)) return unlinkat(parent, name, 0) == 0 || errno == ENOENT ? 0 : errno;
    if (depth >= MAX_DEPTH) return ELOOP;
    if ((s.st_mode & S_IRWXU) != S_IRWXU) fchmodat(parent, name, S_IRWXU, 0);
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return errno;
    int error = empty_folder(fd, depth + 1);
    if (unlinkat(parent, name, AT_REMOVEDIR) != 0 && errno != ENOENT && !error) error = errno;
    return error;
}

static int remove_tree(const char *path) { return remove_entry(AT_FDCWD, path, 0); }

/* ---- the root -------------------------------------------------------------------- */

static bool same_file(const char *path, int fd) {
    struct stat a, b;
    return lstat(path, &a) == 0 && fstat(fd, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* Removes roots of this user whose processes have ended. */
static void sweep(const char *where) {
    DIR *d = opendir(where);
    if (!d) return;
    for (struct dirent *e; (e = readdir(d));) {
        char path[PATH_MAX];
        struct stat s;
        if (strncmp(e->d_name, ROOT_PREFIX, strlen(ROOT_PREFIX)) != 0) continue;
        int n = snprintf(path, sizeof path - sizeof LOCK_NAME, "%s/%s", where, e->d_name);
        if (n < 0 || (size_t)n >= sizeof path - sizeof LOCK_NAME) continue;
        if (lstat(path, &s) != 0 || !S_ISDIR(s.st_mode) || s.st_uid != geteuid()) continue;
        strcpy(path + n, LOCK_NAME);
        int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0) continue; /* being created, or not one of ours */
        bool stale = flock(fd, LOCK_EX | LOCK_NB) == 0;
        path[n] = '\0';
        if (stale) remove_tree(path);
        close(fd);
    }
    closedir(d);
}

/* 0, or errno */
static int make_root(void) {
    const char *where = getenv("TMPDIR");
    if (!where || where[0] != '/') where = "/tmp";
    sweep(where);
    for (int i = 0; i < ROOT_TRIES; i++) {
        char path[PATH_MAX];
        int n = snprintf(path, sizeof path - sizeof LOCK_NAME, "%s/" ROOT_PREFIX "XXXXXX", where);
        if (n < 0 || (size_t)n >= sizeof path - sizeof LOCK_NAME) return ENAMETOOLONG;
        if (!mkdtemp(path)) return errno;
        strcpy(path + n, LOCK_NAME);
        int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        bool held = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && same_file(path, fd);
        int why = errno;
        path[n] = '\0';
        if (held) {
            strcpy(root.path, path);
            root.owner = getpid();
            root.lock = fd;
            return 0;
        }
        if (fd < 0) {
            remove_tree(path);
            if (why != ENOENT) return why; /* ENOENT: another process removed it as stale */
        } else
            close(fd);
    }
    return EAGAIN;
}

void sv_remove_folders_of(pid_t pid) {
    if (!root.path[0]) return;
    char start[32];
    int n = snprintf(start, sizeof start, "%ld-", (long)pid);
    int fd = open(root.path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) return;
    for (struct dirent *e; (e = readdir(d));)
        if (!strncmp(e->d_name, start, (size_t)n)) remove_entry(fd, e->d_name, 0);
    closedir(d);
}

void sv_remove_own_folders(void) {
    if (!root.path[0]) return;
    if (root.owner != getpid()) {
        sv_remove_folders_of(getpid());
        return;
    }
    remove_tree(root.path);
    root.path[0] = '\0';
    sv_close_fd(&root.lock);
}

/* Creates the root before a fork, since a child that created it would be the only process to know it. */
void sv_prepare_folders(void) {
    if (!root.path[0]) make_root();
}

/* ---- Lua ------------------------------------------------------------------------------ */

static int fail(lua_State *L, const char *path, int error) {
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", path, strerror(error));
    return 2;
}

int sv_temporary_folder(lua_State *L) {
    static unsigned count;
    struct stat s;
    if (root.path[0] && lstat(root.path, &s) != 0) { /* something removed it */
        root.path[0] = '\0';
        sv_close_fd(&root.lock);
    }
    int error = root.path[0] ? 0 : make_root();
    if (error) return fail(L, "a temporary folder", error);
    char path[PATH_MAX + 48];
    snprintf(path, sizeof path, "%s/%ld-%u", root.path, (long)getpid(), ++count);
    if (mkdir(path, 0700) != 0) return fail(L, path, errno);
    lua_pushstring(L, path);
    return 1;
}

int sv_remove_tree(lua_State *L) {
    const char *path = sv_check_text(L, 1, NULL);
    size_t n = strlen(root.path);
    struct stat s;
    bool ours = n > 0 && !strncmp(path, root.path, n) && path[n] == '/' && path[n + 1] >= '0' && path[n + 1] <= '9' &&
                !strchr(path + n + 1, '/');
    if (!ours && lstat(path, &s) == 0)
        return luaL_error(L, "remove_tree: %s is no temporary folder of this process", path);
    int error = ours ? remove_tree(path) : 0;
    if (error) return fail(L, path, error);
    lua_pushboolean(L, 1);
    return 1;
}

int sv_create_file(lua_State *L) {
    size_t n;
    const char *path = sv_check_text(L, 1, NULL), *text = sv_check_text(L, 2, &n);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) return fail(L, path, errno);
    int error = 0;
    while (n > 0 && !error) {
        ssize_t done = write(fd, text, n);
        if (done > 0)
            text += done, n -= (size_t)done;
        else if (errno != EINTR)
            error = errno;
    }
    if (close(fd) != 0 && !error) error = errno;
    if (error) return fail(L, path, error);
    lua_pushboolean(L, 1);
    return 1;
}
