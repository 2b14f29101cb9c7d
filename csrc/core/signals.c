/* Signals that end a program, caught while something runs that has work to save.
 *
 * lua.c turns the first SIGINT into the error "interrupted!" and lets the second end the process at once, whatever is
 * being saved then; SIGTERM and SIGHUP end it always. A watch turns each of them into that error. Once it is shielded,
 * for what has to be saved, they are only counted. Signals that the process was started to ignore (nohup) stay so. */
#define _GNU_SOURCE
#include "../simvae.h"
#include "process.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WATCH "simvae.watch"

enum { SIGNALS = 3 };
static const int numbers[SIGNALS] = {SIGINT, SIGTERM, SIGHUP};
static const char *const names[SIGNALS] = {"INT", "TERM", "HUP"};

/* Together: a second Ctrl-C within this many seconds of the error belongs to the first. */
static const double TOGETHER = 1;

typedef struct {
    bool open, caught[SIGNALS];
    struct sigaction before[SIGNALS];
} watch;

static struct {
    lua_State *L;
    volatile sig_atomic_t first; /* signal, 0: none yet */
    volatile sig_atomic_t shielded;
    volatile double raised; /* when the error was last raised */
} now;

static void stop(lua_State *L, lua_Debug *ar) {
    (void)ar;
    lua_sethook(L, NULL, 0, 0);
    if (now.shielded) return;
    now.raised = sv_now();
    luaL_error(L, "interrupted!");
}

static void on_signal(int number) {
    int kept = errno;
    if (!now.first) now.first = number;
    if (now.shielded) {
        static const char text[] = "\nsaving what was done; a moment\n";
        ssize_t ignored = write(2, text, sizeof text - 1);
        (void)ignored;
    } else if (sv_now() - now.raised > TOGETHER)
        lua_sethook(now.L, stop, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
    errno = kept;
}

/* watch(all) -> an object to close: SIGINT is caught, with all SIGTERM and SIGHUP as well. */
static int l_watch(lua_State *L) {
    bool all = lua_toboolean(L, 1);
    watch *w = lua_newuserdatauv(L, sizeof *w, 0);
    memset(w, 0, sizeof *w);
    luaL_setmetatable(L, WATCH);
    w->open = true;
    now.L = L;
    now.first = now.shielded = 0;
    now.raised = -1e9;
    struct sigaction ours;
    memset(&ours, 0, sizeof ours);
    ours.sa_handler = on_signal;
    sigemptyset(&ours.sa_mask);
    for (int i = 0; i < (all ? SIGNALS : 1); i++) {
        if (sigaction(numbers[i], NULL, &w->before[i]) != 0 || w->before[i].sa_handler == SIG_IGN) continue;
        w->caught[i] = sigaction(numbers[i], &ours, NULL) == 0;
    }
    return 1;
}

static int l_close(lua_State *L) {
    watch *w = luaL_checkudata(L, 1, WATCH);
    if (!w->open) return 0;
    w->open = false;
    for (int i = 0; i < SIGNALS; i++)
        if (w->caught[i]) sigaction(numbers[i], &w->before[i], NULL);
    return 0;
}

/* shield(watch): from now on signals are counted alone. */
static int l_shield(lua_State *L) {
    luaL_checkudata(L, 1, WATCH);
    now.shielded = 1;
    if (lua_gethook(L) == stop) lua_sethook(L, NULL, 0, 0);
    return 0;
}

/* caught(watch) -> "INT", "TERM" or "HUP": the first signal, or nil */
static int l_caught(lua_State *L) {
    luaL_checkudata(L, 1, WATCH);
    for (int i = 0; i < SIGNALS; i++)
        if (now.first == numbers[i]) {
            lua_pushstring(L, names[i]);
            return 1;
        }
    return 0;
}

/* die(name): ends the process as the signal itself would. */
static int l_die(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    for (int i = 0; i < SIGNALS; i++)
        if (!strcmp(name, names[i])) {
            signal(numbers[i], SIG_DFL);
            raise(numbers[i]);
        }
    return 0;
}

static const luaL_Reg methods[] = {{"shield", l_shield}, {"caught", l_caught}, {"close", l_close}, {NULL, NULL}};

void sv_open_signals(lua_State *L, int core) {
    core = lua_absindex(L, core);
    sv_new_class(L, WATCH, methods, l_close, NULL);
    lua_newtable(L);
    lua_pushcfunction(L, l_watch);
    lua_setfield(L, -2, "watch");
    lua_pushcfunction(L, l_die);
    lua_setfield(L, -2, "die");
    lua_setfield(L, core, "signals");
}
