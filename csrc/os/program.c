/* program.c: core.process.spawn, a program with pipes; documented in process.c. */
#define _GNU_SOURCE /* vfork */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif

enum { UV_STRINGS = 1, USER_VALUES = 1 }; /* of a list of C strings: the Lua strings that hold them */

enum { LOWEST_FD = 10, KINDS_OF_SIGNAL = 65 };

extern char **environ;

/* Both ends close on exec and are above the three standard descriptors. */
static bool make_pipe(int fd[2]) {
    int low[2];
    if (pipe(low) != 0) return false;
    for (int i = 0; i < 2; i++) {
        fd[i] = fcntl(low[i], F_DUPFD_CLOEXEC, LOWEST_FD);
        close(low[i]);
    }
    if (fd[0] >= 0 && fd[1] >= 0) return true;
    sv_close_fd(&fd[0]);
    sv_close_fd(&fd[1]);
    return false;
}

typedef struct {
    const char *path, *cwd;
    char **argv, **envp;
    int standard[3], report; /* report: the child writes the reason of a failed start */
    pid_t parent;
    sigset_t mask;
} launch;

/* In the child, which after vfork runs in the parent's memory until exec and must not modify it. */
static _Noreturn void become(const launch *l) {
    setpgid(0, 0);
    sv_die_with_parent(l->parent);
    for (int s = 1; s < KINDS_OF_SIGNAL; s++) {
        struct sigaction a;
        if (sigaction(s, NULL, &a) != 0 || a.sa_handler == SIG_DFL || (s == SIGHUP && a.sa_handler == SIG_IGN))
            continue;
        a.sa_handler = SIG_DFL;
        a.sa_flags = 0;
        sigaction(s, &a, NULL);
    }
    for (int i = 0; i < 3; i++) dup2(l->standard[i], i);
    int report = dup2(l->report, 3);
    fcntl(report, F_SETFD, FD_CLOEXEC);
    bool closed = false;
#ifdef SYS_close_range
    closed = syscall(SYS_close_range, 4u, ~0u, 0u) == 0;
#endif
    for (int fd = 4, maximum = (int)sysconf(_SC_OPEN_MAX); !closed && fd < maximum && fd < 65536; fd++) close(fd);
    sigprocmask(SIG_SETMASK, &l->mask, NULL);
    if (l->cwd == NULL || chdir(l->cwd) == 0) execve(l->path, l->argv, l->envp);
    int why = errno;
    ssize_t ignored = write(report, &why, sizeof why);
    (void)ignored;
    _exit(127);
}

static pid_t start(const launch *l) {
#ifdef __linux__
    pid_t pid = vfork(); /* fork would copy the page tables of a large process */
#else
    pid_t pid = fork();
#endif
    if (pid == 0) become(l);
    return pid;
}

static bool runnable(const char *path) { return access(path, X_OK) == 0; }

/* Pushes the path of the program, found as a shell does; nil if not found. */
static const char *push_program(lua_State *L, const char *name) {
    if (strchr(name, '/')) return lua_pushstring(L, name);
    const char *at = getenv("PATH");
    if (!at) at = "/usr/local/bin:/usr/bin:/bin";
    while (*at) {
        size_t n = strcspn(at, ":");
        lua_pushlstring(L, n ? at : ".", n ? n : 1);
        lua_pushfstring(L, "%s/%s", lua_tostring(L, -1), name);
        lua_remove(L, -2);
        if (runnable(lua_tostring(L, -1))) return lua_tostring(L, -1);
        lua_pop(L, 1);
        at += n + (at[n] == ':');
    }
    lua_pushnil(L);
    return NULL;
}

/* The environment with the changes of the table at index; tables on the stack keep the strings alive. */
static char **push_environment(lua_State *L, int index) {
    int n = 0, extra = 0;
    while (environ[n]) n++;
    if (lua_istable(L, index))
        for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
            if (lua_type(L, -2) != LUA_TSTRING || !(lua_isstring(L, -1) || !lua_toboolean(L, -1)))
                luaL_error(L, "spawn: env is { NAME = \"value\", OTHER = false }");
            extra++;
        }
    char **list = lua_newuserdatauv(L, (size_t)(n + extra + 1) * sizeof *list, USER_VALUES);
    lua_newtable(L); /* keeps the strings */
    int count = 0, kept = 0;
    for (int i = 0; i < n; i++) {
        bool changed = false;
        if (lua_istable(L, index)) {
            lua_pushlstring(L, environ[i], strcspn(environ[i], "="));
            changed = lua_rawget(L, index) != LUA_TNIL;
            lua_pop(L, 1);
        }
        if (!changed && !sv_of_launcher(environ[i])) list[count++] = environ[i];
    }
    if (lua_istable(L, index))
        for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
            if (!lua_isstring(L, -1)) continue;
            lua_pushvalue(L, -1);
            list[count++] = (char *)(uintptr_t)lua_pushfstring(L, "%s=%s", lua_tostring(L, -3), lua_tostring(L, -1));
            lua_rawseti(L, -5, ++kept);
            lua_pop(L, 1);
        }
    list[count] = NULL;
    lua_setiuservalue(L, -2, UV_STRINGS);
    return list;
}

int sv_spawn(lua_State *L) {
    sv_check_type(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    int argc = (int)luaL_len(L, 1);
    if (argc < 1) return luaL_error(L, "spawn: names a program: { \"python3\", \"sim.py\" }");
    char **argv = lua_newuserdatauv(L, (size_t)(argc + 1) * sizeof *argv, USER_VALUES);
    lua_newtable(L);
    for (int i = 0; i < argc; i++) {
        lua_rawgeti(L, 1, i + 1);
        if (!lua_isstring(L, -1)) return luaL_error(L, "spawn: argument %d is a %s", i + 1, luaL_typename(L, -1));
        argv[i] = (char *)(uintptr_t)lua_tostring(L, -1); /* execve's type lacks a const */
        lua_rawseti(L, -2, i + 1);
    }
    argv[argc] = NULL;
    lua_setiuservalue(L, 2, UV_STRINGS);
    lua_getfield(L, 1, "cwd");
    lua_getfield(L, 1, "env");
    const char *cwd = sv_optional_text(L, 3, NULL), *path = push_program(L, argv[0]);
    if (!path) return sv_not_started(L, argv[0], "no such program in PATH");
    char **envp = push_environment(L, 4);

    sv_child *c = sv_push_child(L, SV_PROGRAM);
    int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1}, report[2] = {-1, -1};
    pid_t pid = -1;
    int why = 0;
    if (make_pipe(in) && make_pipe(out) && make_pipe(err) && make_pipe(report)) {
        launch l = {path, cwd, argv, envp, {in[0], out[1], err[1]}, report[1], getpid(), {{0}}};
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &l.mask);
        pid = start(&l);
        why = errno;
        pthread_sigmask(SIG_SETMASK, &l.mask, NULL);
    } else
        why = errno;
    sv_close_fd(&in[0]);
    sv_close_fd(&out[1]);
    sv_close_fd(&err[1]);
    sv_close_fd(&report[1]);
    c->in = in[1];
    c->out = out[0];
    c->err = err[0];
    if (pid > 0) {
        why = 0;
        ssize_t got;
        do got = read(report[0], &why, sizeof why);
        while (got < 0 && errno == EINTR);
        sv_enlist(c, pid);
    }
    sv_close_fd(&report[0]);
    if (pid <= 0 || why != 0) {
        sv_release_child(c);
        return sv_not_started(L, argv[0], strerror(why));
    }
    sv_do_not_block(c->in);
    sv_do_not_block(c->out);
    sv_do_not_block(c->err);
    return 1;
}

/* program:read_numbers(kind, swapped, out, timeout): fills a tensor from the binary
 * numbers that the program writes (kinds as of sv_read_numbers). */
int sv_read_numbers_of(lua_State *L) {
    sv_child *c = sv_check_child(L);
    const char *kind = sv_check_text(L, 2, NULL);
    bool swapped = lua_toboolean(L, 3);
    sv_tensor *out = sv_check_object(L, 4, SV_TENSOR);
    sv_check_alive(L, out);
    sv_check_writable(L, out);
    sv_check_argument(L, out->layout == SV_PLAIN, 4, "must be in row-major order: clone it");
    double end = sv_deadline(L, 5);
    size_t each = sv_number_size(kind);
    sv_check_argument(L, each > 0, 2, "unknown kind of numbers");
    for (size_t done = 0; done < out->count;) {
        size_t n = sv_held(&c->text) / each;
        if (n == 0) {
            const char *why = sv_pump(L, c, NULL, NULL, end);
            if (why) return sv_failed(L, why);
            continue;
        }
        if (n > out->count - done) n = out->count - done;
        sv_read_numbers(kind, swapped, (const unsigned char *)c->text.data + c->text.from, n, out->data + done);
        c->text.from += n * each;
        done += n;
    }
    lua_pushboolean(L, 1);
    return 1;
}
