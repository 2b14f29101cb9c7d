/* signals.c: SIGINT, SIGTERM, SIGHUP and SIGPIPE as Lua errors, while work is in progress that must be saved.
 *
 * lua.c turns the first SIGINT into the error "interrupted!", and the second one ends the process at once, even while a
 * file is being saved; SIGTERM, SIGHUP and SIGPIPE (the reader of the output is gone) always end it. A watch turns each
 * of them into that error. While the watch is held (during an update of weights), a signal is deferred until it is
 * allowed; once the watch is shielded (while saving), signals are only counted. Signals that were ignored at the start
 * (nohup) stay ignored. Code that never returns can still be ended: the third signal ends the process if PATIENCE
 * seconds have passed since the first. A watch of all signals also ignores SIGXFSZ, so that a limit on file size is an
 * error like a full disk.
 *
 * One watch may be opened within another: an evaluation in a step of a training. */
#define _GNU_SOURCE
#include "../simvae.h"
#include "process.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WATCH "simvae.watch"

enum { SIGNALS = 4 };
static const int numbers[SIGNALS] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
static const char *const names[SIGNALS] = {"INT", "TERM", "HUP", "PIPE"};

/* Seconds after the error within which another SIGINT counts as the same one. */
static const double TOGETHER = 1;

static const double PATIENCE = 5; /* seconds */

enum { SAVING = 1, ENDING };

typedef struct {
    lua_State *L;          /* where the error is raised; the watch keeps it alive */
    sig_atomic_t held;     /* the error waits for allow() */
    sig_atomic_t waiting;  /* an error is deferred */
    sig_atomic_t shielded; /* signals are only counted: SAVING, ENDING */
} mode;

typedef struct {
    bool open, caught[SIGNALS], xfsz;
    struct sigaction before[SIGNALS], before_xfsz;
    mode outer;
} watch;

static struct {
    volatile mode m;
    volatile sig_atomic_t first; /* signal, 0: none yet */
    volatile sig_atomic_t count;
    volatile double first_at, raised; /* time of the first signal, and of the last raised error */
} now;

static int depth; /* of nested watches */

static void stop(lua_State *L, lua_Debug *ar) {
    (void)ar;
    lua_sethook(L, NULL, 0, 0);
    if (now.m.shielded) return;
    if (now.m.held) {
        now.m.waiting = 1;
        return;
    }
    now.raised = sv_now();
    luaL_error(L, "interrupted!");
}

static void on_signal(int number) {
    int kept = errno;
    double t = sv_now();
    if (!now.first) {
        now.first = number;
        now.first_at = t;
    }
    now.count = now.count + 1;
    if (now.count > 2 && t - now.first_at > PATIENCE) {
        signal(number, SIG_DFL);
        raise(number);
    }
    if (now.m.shielded) {
        static const char text[] = "\nsaving what was done; a moment\n";
        ssize_t ignored = now.m.shielded == ENDING || number == SIGPIPE ? 0 : write(2, text, sizeof text - 1);
        (void)ignored;
    } else if (now.m.held) {
        now.m.waiting = 1;
    } else if (t - now.raised > TOGETHER) {
        lua_sethook(now.m.L, stop, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
    }
    errno = kept;
}

enum { UV_COROUTINE = 1, USER_VALUES = 1 }; /* of a watch */

/* watch(all) -> an object to close: SIGINT is caught, with all the other signals as well. */
static int l_watch(lua_State *L) {
    bool all = lua_toboolean(L, 1);
    watch *w = lua_newuserdatauv(L, sizeof *w, USER_VALUES);
    memset(w, 0, sizeof *w);
    luaL_setmetatable(L, WATCH);
    lua_pushthread(L);
    lua_setiuservalue(L, -2, UV_COROUTINE);
    w->open = true;
    w->outer = now.m;
    now.m = (mode){.L = L};
    if (depth++ == 0) {
        now.first = now.count = 0;
        now.raised = -1e9;
    }
    struct sigaction ours, ignored;
    memset(&ours, 0, sizeof ours);
    ours.sa_handler = on_signal;
    ours.sa_flags = SA_RESTART; /* restarts read and write, which a simulator may be in */
    sigemptyset(&ours.sa_mask);
    ignored = ours;
    ignored.sa_handler = SIG_IGN;
    w->xfsz = all && sigaction(SIGXFSZ, &ignored, &w->before_xfsz) == 0;
    for (int i = 0; i < (all ? SIGNALS : 1); i++) {
        if (sigaction(numbers[i], NULL, &w->before[i]) != 0 || w->before[i].sa_handler == SIG_IGN) continue;
        w->caught[i] = sigaction(numbers[i], &ours, NULL) == 0;
    }
    return 1;
}

static void unhook(void) {
    if (now.m.L && lua_gethook(now.m.L) == stop) lua_sethook(now.m.L, NULL, 0, 0);
}

static int l_close(lua_State *L) {
    watch *w = sv_check_object(L, 1, WATCH);
    if (!w->open) return 0;
    w->open = false;
    for (int i = 0; i < SIGNALS; i++)
        if (w->caught[i]) sigaction(numbers[i], &w->before[i], NULL);
    if (w->xfsz) sigaction(SIGXFSZ, &w->before_xfsz, NULL);
    unhook();
    now.m = w->outer;
    depth--;
    return 0;
}

/* shield(watch): from now on signals are only counted. */
static int l_shield(lua_State *L) {
    sv_check_object(L, 1, WATCH);
    now.m.shielded = SAVING;
    unhook();
    return 0;
}

/* finish(watch): signals are only counted, and say nothing: no work is left to interrupt or to save. */
static int l_finish(lua_State *L) {
    l_shield(L);
    now.m.shielded = ENDING;
    return 0;
}

/* hold(watch): defers signals until allow. */
static int l_hold(lua_State *L) {
    sv_check_object(L, 1, WATCH);
    now.m.held = 1;
    return 0;
}

/* allow(watch): permits errors again; raises at once if a signal has arrived. */
static int l_allow(lua_State *L) {
    sv_check_object(L, 1, WATCH);
    now.m.held = 0;
    if (!now.m.waiting || now.m.shielded) return 0;
    now.m.waiting = 0;
    now.raised = sv_now();
    return luaL_error(L, "interrupted!");
}

/* poll(watch): raises if a signal has arrived, held or not: for waits that change nothing. */
static int l_poll(lua_State *L) {
    sv_check_object(L, 1, WATCH);
    if (!now.m.waiting || now.m.shielded) return 0;
    now.m.waiting = 0;
    now.raised = sv_now();
    return luaL_error(L, "interrupted!");
}

/* check(): raises if a signal has arrived under a watch, in case a pcall in user code has caught its error. */
static int l_check(lua_State *L) {
    if (depth == 0 || !now.first || now.m.held || now.m.shielded) return 0;
    return luaL_error(L, "interrupted!");
}

/* caught(watch) -> "INT", "TERM", "HUP" or "PIPE": the first signal, or nil */
static int l_caught(lua_State *L) {
    sv_check_object(L, 1, WATCH);
    for (int i = 0; i < SIGNALS; i++)
        if (now.first == numbers[i]) {
            lua_pushstring(L, names[i]);
            return 1;
        }
    return 0;
}

/* reset(watch): forgets the signals that have come; whoever opened the watch has dealt with them. */
static int l_reset(lua_State *L) {
    sv_check_object(L, 1, WATCH);
    unhook();
    now.first = now.count = 0;
    now.m.waiting = 0;
    now.raised = -1e9;
    return 0;
}

void sv_forget_watches(void) {
    signal(SIGINT, SIG_IGN);                                       /* the owner ends its workers */
    for (int i = 1; i < SIGNALS; i++) signal(numbers[i], SIG_DFL); /* default action, unlike the owner's */
    depth = 0;
}

/* die(name): ends the process as the signal itself would. */
static int l_die(lua_State *L) {
    const char *name = sv_check_text(L, 1, NULL);
    for (int i = 0; i < SIGNALS; i++)
        if (!strcmp(name, names[i])) {
            fflush(NULL); /* ending by a signal flushes nothing */
            signal(numbers[i], SIG_DFL);
            raise(numbers[i]);
        }
    return 0;
}

static const luaL_Reg methods[] = {{"shield", l_shield}, {"finish", l_finish}, {"hold", l_hold},
                                   {"allow", l_allow},   {"poll", l_poll},     {"caught", l_caught},
                                   {"reset", l_reset},   {"close", l_close},   {NULL, NULL}};

void sv_open_signals(lua_State *L, int core) {
    core = lua_absindex(L, core);
    sv_new_class(L, WATCH, methods, l_close, NULL);
    lua_newtable(L);
    lua_pushcfunction(L, l_watch);
    lua_setfield(L, -2, "watch");
    lua_pushcfunction(L, l_check);
    lua_setfield(L, -2, "check");
    lua_pushcfunction(L, l_die);
    lua_setfield(L, -2, "die");
    lua_setfield(L, core, "signals");
}
