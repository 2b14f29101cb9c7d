/* activity.c: worker:activity() -> the state of a worker, as in /proc/PID/stat ("R" running or runnable, "S" and "D"
 * sleeping, "T" stopped, "t" stopped by a debugger), and its processor time in seconds; nil where the system has no
 * /proc, or when the worker has ended. */
#define _GNU_SOURCE
#include "process.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Fields after the command's name, which is in parentheses: the state, …, 12th and 13th the ticks in user and system
 * mode (proc(5)). */
static bool read_stat(pid_t pid, char *state, double *seconds) {
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    FILE *f = fopen(path, "re");
    if (!f) return false;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    const char *after = strrchr(text, ')');
    unsigned long user, system;
    if (!after || sscanf(after + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", state, &user, &system) != 3)
        return false;
    *seconds = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
    return true;
}

int sv_activity(lua_State *L) {
    const sv_child *c = sv_check_child(L);
    char state;
    double seconds;
    if (c->ended || !read_stat(c->pid, &state, &seconds)) {
        lua_pushnil(L);
        return 1;
    }
#ifdef __linux__
    clockid_t clock; /* finer than ticks */
    struct timespec t;
    if (clock_getcpuclockid(c->pid, &clock) == 0 && clock_gettime(clock, &t) == 0)
        seconds = (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
#endif
    lua_pushlstring(L, &state, 1);
    lua_pushnumber(L, seconds);
    return 2;
}
