/* worker.c: core.process.fork, a forked process at the other end of a message channel. A message is its length in 8
 * bytes, then its bytes. Documented in process.c. */
#define _GNU_SOURCE
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define RAISED ((uint64_t)1 << 63) /* flag of a length: the message is an error */

static const char *send_message(lua_State *L, sv_child *c, const char *data, uint64_t n, uint64_t flag, double end) {
    uint64_t header = n | flag;
    char small[1024]; /* small messages go in one write */
    if (n + sizeof header <= sizeof small) {
        memcpy(small, &header, sizeof header);
        memcpy(small + sizeof header, data, n);
        return sv_write_all(L, c, small, n + sizeof header, end);
    }
    const char *why = sv_write_all(L, c, (const char *)&header, sizeof header, end);
    return why ? why : sv_write_all(L, c, data, n, -1); /* no timeout within a message */
}

int sv_send(lua_State *L) {
    sv_child *c = sv_check_child(L);
    sv_check_argument(L, c->kind != SV_PROGRAM, 1, "a program takes write and read_line");
    size_t n;
    const char *data = sv_check_text(L, 2, &n);
    const char *why = send_message(L, c, data, n, 0, sv_deadline(L, 3));
    if (why) return sv_failed(L, why);
    lua_pushboolean(L, 1);
    return 1;
}

int sv_receive(lua_State *L) {
    sv_child *c = sv_check_child(L);
    sv_check_argument(L, c->kind != SV_PROGRAM, 1, "a program takes write and read_line");
    double end = sv_deadline(L, 2);
    uint64_t header = 0;
    for (;;) {
        if (sv_held(&c->text) >= sizeof header) {
            memcpy(&header, c->text.data + c->text.from, sizeof header);
            if (sv_held(&c->text) - sizeof header >= (header & ~RAISED)) break;
        }
        const char *why = sv_pump(L, c, NULL, NULL, end);
        if (why) return sv_failed(L, why);
    }
    c->text.from += sizeof header;
    if (header & RAISED) lua_pushnil(L);
    sv_take(L, &c->text, header & ~RAISED, 0);
    return header & RAISED ? 2 : 1;
}

/* poll(list, timeout) */
int sv_poll(lua_State *L) {
    sv_check_type(L, 1, LUA_TTABLE);
    double end = sv_deadline(L, 2);
    int n = (int)luaL_len(L, 1), ready = 0;
    struct pollfd *p = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *p, 0);
    for (int i = 0; i < n; i++) {
        lua_rawgeti(L, 1, i + 1);
        sv_child *c = sv_check_object(L, -1, SV_PROCESS);
        p[i] = (struct pollfd){.fd = c->out, .events = POLLIN};
        if (c->out < 0 || sv_held(&c->text) > 0) {
            p[i].fd = -1;
            p[i].revents = POLLIN;
            ready++;
        }
        lua_pop(L, 1);
    }
    lua_newtable(L);
    int found = 0;
    for (int i = 0; ready && i < n; i++)
        if (p[i].fd < 0) {
            lua_pushinteger(L, i + 1);
            lua_rawseti(L, -2, ++found);
        }
    for (;;) {
        int got = poll(p, (nfds_t)n, ready ? 0 : sv_milliseconds_to(end));
        if (got < 0 && errno == EINTR && !lua_gethook(L)) continue;
        for (int i = 0; got > 0 && i < n; i++)
            if (p[i].fd >= 0 && p[i].revents) {
                lua_pushinteger(L, i + 1);
                lua_rawseti(L, -2, ++found);
            }
        return 1;
    }
}

static _Noreturn void run_worker(lua_State *L, int socket, pid_t parent) {
    sv_forget_children();
    sv_die_with_parent(parent);
    sv_forget_watches();
    sv_leave_launcher();
    sv_child *link = sv_push_child(L, SV_LINK);
    link->pid = parent;
    link->in = link->out = socket;
    lua_replace(L, 2); /* f, link, … */
    int code = 0;
    if (lua_pcall(L, lua_gettop(L) - 1, 0, 0) != LUA_OK) {
        size_t n;
        const char *message = luaL_tolstring(L, -1, &n);
        send_message(L, link, message, n, RAISED, sv_now() + 10);
        code = 1;
    }
    sv_remove_own_folders();
    fflush(NULL);
    _exit(code); /* without finalizing the parent's objects */
}

int sv_fork(lua_State *L) {
    sv_check_type(L, 1, LUA_TFUNCTION);
    sv_child *c = sv_push_child(L, SV_WORKER);
    lua_insert(L, 2); /* f, worker, … */
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return sv_not_started(L, "fork", strerror(errno));
    for (int i = 0; i < 2; i++) {
        fcntl(pair[i], F_SETFD, FD_CLOEXEC);
        sv_do_not_block(pair[i]);
#ifdef SO_NOSIGPIPE
        setsockopt(pair[i], SOL_SOCKET, SO_NOSIGPIPE, &(int){1}, sizeof(int));
#endif
    }
    fflush(NULL); /* else the child would write buffered output again */
    sv_prepare_folders();
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        close(pair[0]);
        run_worker(L, pair[1], parent);
    }
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        return sv_not_started(L, "fork", strerror(errno));
    }
    c->in = c->out = pair[0];
    sv_enlist(c, pid);
    lua_settop(L, 2);
    return 1;
}
