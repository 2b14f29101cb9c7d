/* process.c: child processes: spawned programs and forked workers.
 *
 *   core.process.spawn { "python3", "sim.py", cwd = "folder", env = { NAME = "value", OTHER = false } }
 *       -> child, or nil, message. A program with pipes for its input, output and
 *       errors; no shell. Its environment is ours with the changes given; it leads
 *       a process group of its own, inherits no other file and no signal handler.
 *   core.process.fork(f, …)
 *       -> worker. A forked process that runs f(link, …) and exits. worker and link
 *       are the two ends of a message channel. An error of f is the reason that the
 *       worker's next receive returns. The child ignores SIGINT; its owner ends it.
 *   core.process.poll(list, timeout) -> the indices of those that are readable or have
 *       ended; empty after the timeout.
 *
 * Methods; a timeout is in seconds, nil is none. On failure: nil, "timeout" |
 * "closed" (the other side has ended) | "too long" | "interrupted" (SIGINT; Lua raises
 * it next).
 *   child:write(text, timeout) -> true
 *   child:end_input()                       closes its standard input
 *   child:read_line(timeout, limit) -> text without the line's end
 *   child:read(n, timeout) -> n bytes
 *   child:read_all(timeout, limit, keep) -> everything until the end; keep = false: discards it, returns ""
 *   child:peek(timeout) -> up to 200 bytes that arrive within the timeout (0), without consuming them
 *   child:read_numbers(kind, swapped, tensor, timeout) -> true; binary numbers, into the tensor
 *   child:errors() -> standard error since the last call (at most the last 64 KB)
 *   worker:send(text, timeout) -> true;     worker:receive(timeout) -> text
 *   any:wait(timeout) -> "exit", code | "signal", name | nil, "timeout"
 *   any:kill(name)                          "KILL" if not given; a program with its group
 *   any:close()                             kill, wait, release everything
 *   any:pid(), any:running()
 *   any:activity() -> "R", "S", "T", …, seconds of processor time (activity.c)
 *
 * Output and errors are read into memory whenever a method waits, so that the two
 * sides cannot deadlock. A running child is killed when its object is closed or
 * collected and when this process exits; on Linux also when this process is killed.
 * Nothing here raises SIGPIPE in this process. */
#define _GNU_SOURCE
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#define ERRORS_KEPT ((size_t)64 << 10)
#define CHUNK ((size_t)64 << 10)
#define LOOK_AFTER 50 /* milliseconds between checks whether a silent program has ended */

static sv_child *children;

/* ---- helpers ------------------------------------------------------------------ */

/* The time at which the timeout at this stack index ends; without one, never. */
double sv_deadline(lua_State *L, int index) {
    if (lua_isnoneornil(L, index)) return -1;
    double s = sv_check_number(L, index);
    sv_check_argument(L, s >= 0, index, "a timeout is seconds >= 0");
    return sv_now() + s;
}

int sv_milliseconds_to(double end) {
    if (end < 0) return -1;
    double ms = (end - sv_now()) * 1e3;
    return ms <= 0 ? 0 : ms > 1e9 ? 1000000000 : (int)ms + 1;
}

void sv_close_fd(int *fd) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

size_t sv_held(const sv_buffer *b) { return b->to - b->from; }

static bool make_room(sv_buffer *b, size_t extra) {
    if (b->from > 0 && (b->from == b->to || b->room - b->to < extra)) {
        memmove(b->data, b->data + b->from, sv_held(b));
        b->to -= b->from;
        b->from = 0;
    }
    if (b->room - b->to >= extra) return true;
    size_t room = 2 * b->room > b->to + extra ? 2 * b->room : b->to + extra;
    char *grown = realloc(b->data, room);
    if (!grown) return false;
    b->data = grown;
    b->room = room;
    return true;
}

static const struct {
    int number;
    const char *name;
} signals[] = {{SIGHUP, "HUP"},   {SIGINT, "INT"},   {SIGQUIT, "QUIT"}, {SIGILL, "ILL"},   {SIGTRAP, "TRAP"},
               {SIGABRT, "ABRT"}, {SIGBUS, "BUS"},   {SIGFPE, "FPE"},   {SIGKILL, "KILL"}, {SIGUSR1, "USR1"},
               {SIGSEGV, "SEGV"}, {SIGUSR2, "USR2"}, {SIGPIPE, "PIPE"}, {SIGALRM, "ALRM"}, {SIGTERM, "TERM"},
               {SIGCONT, "CONT"}, {SIGSTOP, "STOP"}, {SIGXCPU, "XCPU"}, {SIGSYS, "SYS"}};
enum { SIGNALS = sizeof signals / sizeof *signals };

static void push_signal(lua_State *L, int number) {
    for (int i = 0; i < SIGNALS; i++)
        if (signals[i].number == number) {
            lua_pushfstring(L, "SIG%s", signals[i].name);
            return;
        }
    lua_pushfstring(L, "signal %d", number);
}

static int check_signal(lua_State *L, int index) {
    const char *name = sv_optional_text(L, index, "KILL");
    const char *known[SIGNALS];
    if (!strncmp(name, "SIG", 3)) name += 3;
    for (int i = 0; i < SIGNALS; i++) {
        known[i] = signals[i].name;
        if (!strcmp(name, known[i])) return signals[i].number;
    }
    const char *near = sv_nearest(name, known, SIGNALS);
    return luaL_error(L, "kill: no signal is named '%s'%s%s", name, near ? "; did you mean " : "", near ? near : "");
}

sv_child *sv_check_child(lua_State *L) { return sv_check_object(L, 1, SV_PROCESS); }

sv_child *sv_push_child(lua_State *L, enum sv_process_kind kind) {
    sv_child *c = lua_newuserdatauv(L, sizeof *c, 0);
    memset(c, 0, sizeof *c);
    c->kind = kind;
    c->owner = getpid();
    c->in = c->out = c->err = -1;
    c->ended = true; /* until there is one */
    luaL_setmetatable(L, SV_PROCESS);
    return c;
}

void sv_enlist(sv_child *c, pid_t pid) {
    c->pid = pid;
    c->ended = false;
    c->next = children;
    c->at = &children;
    if (children) children->at = &c->next;
    children = c;
    if (c->kind == SV_PROGRAM) sv_watch(children);
}

static void delist(sv_child *c) {
    if (!c->at) return;
    *c->at = c->next;
    if (c->next) c->next->at = c->at;
    c->at = NULL;
    c->next = NULL;
}

static bool ours(const sv_child *c) { return c->kind != SV_LINK && c->owner == getpid(); }

static void send_signal(const sv_child *c, int number) {
    if (!ours(c) || c->ended) return;
    if (c->kind != SV_PROGRAM || kill(-c->pid, number) != 0) kill(c->pid, number); /* once: two may be told apart */
}

/* Has it ended? Blocks if asked to. */
static bool reap(sv_child *c, bool block) {
    if (c->ended || !ours(c)) return c->ended;
    pid_t got;
    do got = waitpid(c->pid, &c->status, block ? 0 : WNOHANG);
    while (got < 0 && errno == EINTR);
    if (got == 0) return false;
    if (c->kind == SV_PROGRAM) kill(-c->pid, SIGKILL); /* its child processes */
    c->ended = true;
    delist(c);
    if (c->kind == SV_WORKER) sv_remove_folders_of(c->pid);
    if (c->kind == SV_PROGRAM) sv_watch(children);
    return true;
}

static void hang_up(sv_child *c) {
    if (c->in == c->out) c->in = -1;
    sv_close_fd(&c->in);
    sv_close_fd(&c->out);
    sv_close_fd(&c->err);
}

void sv_release_child(sv_child *c) {
    send_signal(c, SIGKILL);
    reap(c, true);
    delist(c);
    hang_up(c);
    free(c->text.data);
    free(c->errors.data);
    memset(&c->text, 0, sizeof c->text);
    memset(&c->errors, 0, sizeof c->errors);
}

__attribute__((destructor)) static void kill_all(void) {
    for (sv_child *c = children; c; c = c->next) {
        send_signal(c, SIGKILL);
        if (ours(c)) waitpid(c->pid, &c->status, 0);
    }
    sv_remove_own_folders();
}

void sv_do_not_block(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

void sv_die_with_parent(pid_t parent) {
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127);
#else
    (void)parent;
#endif
}

/* In the forked child: forgets the parent's children and closes their files. */
void sv_forget_children(void) {
    while (children) {
        sv_child *c = children;
        delist(c);
        hang_up(c);
    }
    sv_forget_watcher();
}

int sv_not_started(lua_State *L, const char *name, const char *why) {
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", name, why);
    return 2;
}

/* ---- reading and writing ------------------------------------------------------- */

/* write() that discards the signal which a failure raises in this thread: SIGPIPE where nobody reads, SIGXFSZ beyond a
 * limit on file size. */
ssize_t sv_write_quietly(int fd, const char *data, size_t n) {
    sigset_t raised, before, pending;
    sigemptyset(&raised);
    sigaddset(&raised, SIGPIPE);
    sigaddset(&raised, SIGXFSZ);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &raised, &before);
    ssize_t got = write(fd, data, n);
    int error = errno, number = error == EPIPE ? SIGPIPE : error == EFBIG ? SIGXFSZ : 0;
    if (got < 0 && number && sigismember(&pending, number) != 1) {
        sigset_t only;
        sigemptyset(&only);
        sigaddset(&only, number);
        sigpending(&pending);
        if (sigismember(&pending, number) == 1) sigwait(&only, &number);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return got;
}

static ssize_t write_some(const sv_child *c, const char *data, size_t n) {
#ifdef MSG_NOSIGNAL
    if (c->kind != SV_PROGRAM) return send(c->in, data, n, MSG_NOSIGNAL);
#endif
    return sv_write_quietly(c->in, data, n);
}

/* Reads up to CHUNK available bytes; closes at the end of the file. */
static void read_some(int *fd, sv_buffer *b, bool only_tail) {
    if (only_tail && sv_held(b) > 2 * ERRORS_KEPT) b->from = b->to - ERRORS_KEPT;
    if (!make_room(b, CHUNK)) {
        sv_close_fd(fd);
        return;
    }
    ssize_t got = read(*fd, b->data + b->to, CHUNK);
    if (got > 0)
        b->to += (size_t)got;
    else if (got == 0 || (errno != EAGAIN && errno != EINTR && errno != EWOULDBLOCK))
        sv_close_fd(fd);
}

/* Waits once until data can be read, or written if data is given, and transfers it. NULL, or the reason. */
const char *sv_pump(lua_State *L, sv_child *c, const char **data, size_t *left, double end) {
    struct pollfd p[3];
    int n = 0, in = -1, out = -1, err = -1;
    bool one_socket = c->in == c->out;
    if (c->out >= 0) p[out = n++] = (struct pollfd){.fd = c->out, .events = POLLIN};
    if (c->err >= 0) p[err = n++] = (struct pollfd){.fd = c->err, .events = POLLIN};
    if (data) {
        if (c->in < 0) return "closed";
        p[in = n++] = (struct pollfd){.fd = c->in, .events = POLLOUT};
    }
    if (n == 0 || (c->out < 0 && !data)) return "closed";
    int wait = sv_milliseconds_to(end);
    if (c->kind == SV_PROGRAM && (wait < 0 || wait > LOOK_AFTER)) wait = LOOK_AFTER;
    int got = poll(p, (nfds_t)n, wait);
    if (got == 0 && c->kind == SV_PROGRAM && reap(c, false)) { /* a child process of it still holds its pipes */
        if (poll(p, (nfds_t)n, 0) <= 0) sv_close_fd(&c->out);
        return NULL;
    }
    if (got < 0) {
        if (errno != EINTR) return "closed";
        return lua_gethook(L) ? "interrupted" : NULL;
    }
    if (got == 0) return end >= 0 && sv_now() >= end ? "timeout" : NULL;
    if (in >= 0 && p[in].revents) {
        ssize_t done = write_some(c, *data, *left);
        if (done > 0) {
            *data += done;
            *left -= (size_t)done;
        } else if (done < 0 && errno != EAGAIN && errno != EINTR && errno != EWOULDBLOCK) {
            if (one_socket)
                c->in = -1; /* data already sent can still be read */
            else
                sv_close_fd(&c->in);
        }
    }
    if (err >= 0 && p[err].revents) read_some(&c->err, &c->errors, true);
    if (out >= 0 && p[out].revents) {
        read_some(&c->out, &c->text, false);
        if (one_socket && c->out < 0) c->in = -1;
    }
    return NULL;
}

int sv_failed(lua_State *L, const char *why) {
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

const char *sv_write_all(lua_State *L, sv_child *c, const char *data, size_t n, double end) {
    const char *why = c->in < 0 ? "closed" : NULL;
    while (!why && n > 0) why = sv_pump(L, c, &data, &n, end);
    return why;
}

static int l_write(lua_State *L) {
    sv_child *c = sv_check_child(L);
    size_t n;
    const char *data = sv_check_text(L, 2, &n);
    const char *why = sv_write_all(L, c, data, n, sv_deadline(L, 3));
    if (why) return sv_failed(L, why);
    lua_pushboolean(L, 1);
    return 1;
}

static int l_end_input(lua_State *L) {
    sv_child *c = sv_check_child(L);
    if (c->kind == SV_PROGRAM) sv_close_fd(&c->in);
    return 0;
}

int sv_take(lua_State *L, sv_buffer *b, size_t n, size_t skip) {
    lua_pushlstring(L, n ? b->data + b->from : "", n);
    b->from += n + skip;
    return 1;
}

static int l_read_line(lua_State *L) {
    sv_child *c = sv_check_child(L);
    double end = sv_deadline(L, 2);
    size_t limit = (size_t)sv_optional_integer(L, 3, (lua_Integer)256 << 20), seen = 0;
    for (;;) {
        size_t n = sv_held(&c->text);
        const char *start = c->text.data + c->text.from;
        const char *stop = n > seen ? memchr(start + seen, '\n', n - seen) : NULL;
        if (stop) {
            size_t length = (size_t)(stop - start), cr = length > 0 && stop[-1] == '\r';
            return sv_take(L, &c->text, length - cr, 1 + cr);
        }
        seen = n;
        if (n > limit) return sv_failed(L, "too long");
        const char *why = sv_pump(L, c, NULL, NULL, end);
        if (why) return sv_failed(L, why);
    }
}

static int l_read(lua_State *L) {
    sv_child *c = sv_check_child(L);
    lua_Integer n = sv_check_integer(L, 2);
    sv_check_argument(L, n >= 0, 2, "a number of bytes");
    double end = sv_deadline(L, 3);
    while (sv_held(&c->text) < (size_t)n) {
        const char *why = sv_pump(L, c, NULL, NULL, end);
        if (why) return sv_failed(L, why);
    }
    return sv_take(L, &c->text, (size_t)n, 0);
}

static int l_read_all(lua_State *L) {
    sv_child *c = sv_check_child(L);
    double end = sv_deadline(L, 2);
    size_t limit = (size_t)sv_optional_integer(L, 3, (lua_Integer)256 << 20);
    bool keep = lua_isnoneornil(L, 4) || lua_toboolean(L, 4);
    const char *why = NULL;
    while (!why && c->out >= 0) {
        why = sv_pump(L, c, NULL, NULL, end);
        if (!keep) c->text.from = c->text.to;
        if (sv_held(&c->text) > limit) return sv_failed(L, "too long");
    }
    if (why && strcmp(why, "closed") != 0) return sv_failed(L, why);
    return sv_take(L, &c->text, sv_held(&c->text), 0);
}

/* The first bytes that are available or arrive within the timeout, without consuming them. */
static int l_peek(lua_State *L) {
    sv_child *c = sv_check_child(L);
    double end = lua_isnoneornil(L, 2) ? sv_now() : sv_deadline(L, 2);
    while (sv_held(&c->text) == 0 && !sv_pump(L, c, NULL, NULL, end)) continue;
    size_t n = sv_held(&c->text);
    return sv_take(L, &(sv_buffer){c->text.data, c->text.from, c->text.to, c->text.room}, n < 200 ? n : 200, 0);
}

/* After a program's end its last output may still be in the pipe. */
static int l_errors(lua_State *L) {
    sv_child *c = sv_check_child(L);
    struct pollfd p = {.fd = c->err, .events = POLLIN};
    while (c->err >= 0 && poll(&p, 1, 0) > 0) read_some(&c->err, &c->errors, true);
    if (sv_held(&c->errors) > ERRORS_KEPT) c->errors.from = c->errors.to - ERRORS_KEPT;
    return sv_take(L, &c->errors, sv_held(&c->errors), 0);
}

/* ---- ending children ----------------------------------------------------------------- */

static int l_wait(lua_State *L) {
    sv_child *c = sv_check_child(L);
    double end = sv_deadline(L, 2);
    long pause = 20000;
    if (!ours(c)) return luaL_error(L, "wait: only the process that started it can wait for it");
    while (!reap(c, false)) {
        if (end >= 0 && sv_now() >= end) return sv_failed(L, "timeout");
        struct timespec t = {0, pause};
        if (nanosleep(&t, NULL) != 0 && lua_gethook(L)) return sv_failed(L, "interrupted");
        if (pause < 5000000) pause *= 2;
    }
    if (WIFSIGNALED(c->status)) {
        lua_pushliteral(L, "signal");
        push_signal(L, WTERMSIG(c->status));
    } else {
        lua_pushliteral(L, "exit");
        lua_pushinteger(L, WEXITSTATUS(c->status));
    }
    return 2;
}

static int l_kill(lua_State *L) {
    sv_child *c = sv_check_child(L);
    send_signal(c, check_signal(L, 2));
    return 0;
}

static int l_close(lua_State *L) {
    sv_release_child(sv_check_child(L));
    return 0;
}

static int l_pid(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)sv_check_child(L)->pid);
    return 1;
}

static int l_running(lua_State *L) {
    sv_child *c = sv_check_child(L);
    lua_pushboolean(L, ours(c) && !reap(c, false));
    return 1;
}

static int l_tostring(lua_State *L) {
    sv_child *c = sv_check_child(L);
    static const char *const kinds[] = {"program", "worker", "link to the process that started this one,"};
    lua_pushfstring(L, "%s %d%s", kinds[c->kind], (int)c->pid, ours(c) && c->ended ? " (ended)" : "");
    return 1;
}

static const luaL_Reg methods[] = {{"write", l_write},
                                   {"end_input", l_end_input},
                                   {"read_line", l_read_line},
                                   {"read", l_read},
                                   {"read_numbers", sv_read_numbers_of},
                                   {"read_all", l_read_all},
                                   {"peek", l_peek},
                                   {"errors", l_errors},
                                   {"send", sv_send},
                                   {"receive", sv_receive},
                                   {"wait", l_wait},
                                   {"kill", l_kill},
                                   {"close", l_close},
                                   {"pid", l_pid},
                                   {"running", l_running},
                                   {"activity", sv_activity},
                                   {NULL, NULL}};
static const luaL_Reg functions[] = {{"spawn", sv_spawn}, {"fork", sv_fork}, {"poll", sv_poll}, {NULL, NULL}};

void sv_open_process(lua_State *L, int core) {
    core = lua_absindex(L, core);
    sv_new_class(L, SV_PROCESS, methods, l_close, l_tostring);
    luaL_newlib(L, functions);
    lua_setfield(L, core, "process");
}
